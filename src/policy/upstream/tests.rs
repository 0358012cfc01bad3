//! The upstream's conditions: what causes, ends and slows them.

use super::*;
use crate::policy::canary::Route;
use crate::policy::class::{Class, Verdict};
use crate::policy::ending::Contact;
use crate::policy::judge::{Rules, Try, judge};
use crate::policy::order_tag::OrderTag;
use crate::policy::pause::{AFTER_OUTAGE, FIRST};
use crate::policy::probe::ProbeEnd;
use crate::policy::retry_state::RetryState;

const PACE: Pace = Pace {
    concurrency: 4,
    max_pause: Duration::from_mins(1),
    min_gap: Duration::ZERO,
    probe_idle: None,
    ordering: Ordering::Key,
};

struct Bench {
    upstream: Upstream,
    now: Moment,
    random: fastrand::Rng,
    pace: Pace,
}

impl Bench {
    fn new() -> Self {
        let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(0) };
        let mut upstream = Upstream::new(now);
        upstream.start(now);
        Self { upstream, now, random: fastrand::Rng::with_seed(3), pace: PACE }
    }

    fn online() -> Self {
        let mut bench = Self::new();
        bench.probe(&answered());
        bench
    }

    fn offline() -> Self {
        let mut bench = Self::online();
        bench.end(Class::Unreachable, Contact::Doubtful);
        bench.probe(&silence());
        bench
    }

    fn pass(&mut self, wait: Duration) {
        self.now = Moment { agent: self.now.agent.after(wait), wall: self.now.wall.after(wait) };
    }

    fn probe(&mut self, end: &ProbeEnd) {
        assert!(self.upstream.probe_due(self.now.agent, self.pace), "no probe is due");
        self.upstream.probe_sent(self.now.agent, 100);
        self.pass(Duration::from_millis(10));
        self.upstream.probed(self.now, end, self.pace, &mut self.random);
    }

    fn end(&mut self, class: Class, contact: Contact) {
        self.end_with(class, contact, None, "a");
    }

    fn end_with(&mut self, class: Class, contact: Contact, retry_after: Option<Duration>, key: &str) {
        let canary = self.upstream.is_shut();
        let route = Route { entity_type: "SALE".into(), action: "CREATE".into() };
        let dispatch_kind = self.upstream.sent(self.now.agent, canary, &route, self.pace);
        let sent_at = self.now.agent;
        self.pass(Duration::from_millis(20));
        let verdict =
            Verdict { class, error: String::from("x"), retry_after, contact, unreadable: false, stalled: false };
        let end = Try {
            retry_state: &RetryState::fresh(),
            order: &OrderTag::new(key),
            recorded_at: AgentTime::ZERO,
            attempt: 1,
            sent_at,
            dispatch_kind,
            verdict: &verdict,
            newest: 100,
        };
        let rules = Rules { retry: &crate::config::Retry::default(), pace: self.pace };
        judge(&end, &mut self.upstream, rules, self.now, &mut self.random);
    }

    /// A request that was sent earlier ends now.
    fn end_sent_at(&mut self, sent_at: AgentTime, dispatch_kind: DispatchKind, class: Class) {
        let verdict = Verdict {
            class,
            error: String::new(),
            retry_after: None,
            contact: Contact::Answered,
            unreadable: false,
            stalled: false,
        };
        let end = Try {
            retry_state: &RetryState::fresh(),
            order: &OrderTag::new("a"),
            recorded_at: AgentTime::ZERO,
            attempt: 1,
            sent_at,
            dispatch_kind,
            verdict: &verdict,
            newest: 100,
        };
        let rules = Rules { retry: &crate::config::Retry::default(), pace: self.pace };
        judge(&end, &mut self.upstream, rules, self.now, &mut self.random);
    }

    /// The network changes, and a probe ends.
    fn probe_again_after(&mut self, end: &ProbeEnd, wait: Duration) {
        self.pass(wait);
        self.upstream.clock_stepped(self.now.agent);
        self.probe(end);
    }

    fn slots(&self) -> usize {
        self.upstream.slots(self.now.agent, self.pace)
    }

    fn state(&self) -> &'static str {
        self.upstream.state(self.now.agent)
    }

    fn deadline(&self) -> Option<Duration> {
        self.upstream.deadline(self.now.agent, true, self.pace).map(|at| at.since(self.now.agent))
    }

    fn deadline_of_probe(&self) -> Duration {
        let at = self.upstream.deadline(self.now.agent, false, self.pace).expect("a probe is planned");
        at.since(self.now.agent)
    }

    fn pass_the_wait(&mut self) {
        if let Some(wait) = self.deadline() {
            self.pass(wait);
        }
    }
}

fn answered() -> ProbeEnd {
    ProbeEnd::Answered { status: 200, took: Duration::from_millis(30) }
}

fn silence() -> ProbeEnd {
    ProbeEnd::Silence { reason: "connection refused".into() }
}

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

// ---- outages and recovery

#[test]
fn nothing_is_sent_before_the_first_contact() {
    let mut bench = Bench::new();
    assert_eq!((bench.slots(), bench.state()), (0, "unknown"));
    bench.probe(&answered());
    assert!(bench.upstream.sweep.is_none(), "a start is no opening");
    assert_eq!((bench.slots(), bench.state()), (1, "online"));
    assert_eq!(bench.upstream.contact_seq, 100);
}

#[test]
fn a_refused_connection_asks_the_probe_at_once_and_silence_shuts() {
    let mut bench = Bench::online();
    bench.end(Class::Unreachable, Contact::Doubtful);
    bench.pass(MINUTE);
    assert_eq!(bench.slots(), 0, "the probe's answer is waited for");
    bench.probe(&silence());
    assert_eq!((bench.state(), bench.upstream.reason()), ("offline", Some("connection refused")));
}

#[test]
fn silence_asks_the_probe_at_the_third_time_in_a_row() {
    let mut bench = Bench::online();
    for (n, asks) in [(1, false), (2, false), (3, true)] {
        bench.end(Class::Unsure, Contact::Silent);
        assert_eq!(bench.upstream.probe_due(bench.now.agent, PACE), asks, "after {n}");
    }
    let mut bench = Bench::online();
    for _ in 0..10 {
        bench.end(Class::Unsure, Contact::Silent);
        bench.end(Class::Failed, Contact::Answered);
    }
    assert!(!bench.upstream.probe_due(bench.now.agent, PACE), "answers in between");
}

#[test]
fn offline_ends_with_any_answer_of_a_canary_and_an_acceptance_opens() {
    let mut bench = Bench::offline();
    bench.pass(HOUR);
    assert!(bench.upstream.canary_due(bench.now.agent));
    bench.end(Class::Busy, Contact::Answered);
    assert!(!bench.upstream.is_shut());
    assert!(bench.upstream.sweep.is_some());
    assert_eq!(bench.upstream.pause(), AFTER_OUTAGE, "a rejection does not change the pacing");

    let mut bench = Bench::online();
    bench.end(Class::Misconfigured, Contact::Answered);
    assert_eq!((bench.state(), bench.slots()), ("blocked", 0));
    bench.pass(HOUR);
    bench.end(Class::Failed, Contact::Answered);
    assert_eq!(bench.state(), "blocked");
    bench.pass(HOUR);
    bench.end(Class::Delivered, Contact::Answered);
    assert!(!bench.upstream.is_shut() && bench.upstream.sweep.is_some());
    assert!(bench.upstream.pause() <= Duration::from_secs(5), "the upstream was always reachable");
}

#[test]
fn a_canary_passes_the_pause_but_neither_a_retry_after_nor_a_person() {
    let mut bench = Bench::online();
    bench.end_with(Class::Throttled, Contact::Answered, Some(Duration::from_secs(50)), "a");
    bench.end(Class::Misconfigured, Contact::Answered);
    bench.pass(Duration::from_secs(40));
    assert!(!bench.upstream.canary_due(bench.now.agent));
    bench.pass(MINUTE);
    assert!(bench.upstream.canary_due(bench.now.agent));
    bench.upstream.suspend(bench.now);
    assert!(!bench.upstream.canary_due(bench.now.agent));
}

#[test]
fn the_gap_between_probes_follows_the_outage() {
    let mut bench = Bench::new();
    let mut gaps = Vec::new();
    for _ in 0..200 {
        bench.probe(&silence());
        let before = bench.now.agent;
        let planned = bench.upstream.deadline(before, false, PACE).expect("a probe is planned");
        bench.pass(planned.since(before));
        gaps.push((bench.now.agent.since(AgentTime::ZERO), planned.since(before)));
    }
    for (outage, gap) in gaps {
        assert!(gap >= Duration::from_secs(1), "{gap:?}");
        assert!(gap <= (outage / 10).max(Duration::from_secs(1)) && gap <= PACE.max_pause, "{gap:?} at {outage:?}");
    }
}

#[test]
fn an_outage_ends_with_a_pause_and_the_first_goes_at_once() {
    let mut bench = Bench::offline();
    bench.pass(4 * HOUR);
    bench.probe(&answered());
    assert!(bench.upstream.sweep.is_some());
    assert_eq!(bench.upstream.pause(), AFTER_OUTAGE);
    assert_eq!(bench.slots(), 1, "the probe says that we are alone");
    let (start, mut sent) = (bench.now.agent, 0);
    while bench.upstream.pause() > Duration::ZERO {
        bench.pass_the_wait();
        assert_eq!(bench.slots(), 1);
        bench.end(Class::Delivered, Contact::Answered);
        sent += 1;
    }
    assert!((8..=12).contains(&sent), "halves each time: {sent}");
    assert!(bench.now.agent.since(start) < MINUTE);
}

#[test]
fn a_slow_probe_means_others_are_there_too() {
    let mut bench = Bench::offline();
    bench.pass(HOUR);
    bench.probe(&ProbeEnd::Answered { status: 200, took: Duration::from_secs(4) });
    assert_eq!((bench.slots(), bench.state()), (0, "waiting"));
}

// ---- unreliable probes

#[test]
fn probes_that_go_unanswered_after_an_acceptance_are_not_believed() {
    let mut bench = Bench::offline();
    bench.pass(HOUR);
    bench.end(Class::Delivered, Contact::Answered);
    bench.probe(&silence());
    assert!(bench.upstream.is_deaf() && !bench.upstream.is_offline());
    let text = serde_json::to_string(&bench.upstream).expect("it serialises");
    bench.upstream = serde_json::from_str(&text).expect("it comes back");
    bench.upstream.start(bench.now);
    bench.probe(&silence());
    assert!(!bench.upstream.is_offline(), "nor after a restart");
    bench.pass(MINUTE);
    assert_eq!(bench.slots(), 1);
    bench.upstream.clock_stepped(bench.now.agent);
    bench.probe(&answered());
    assert!(!bench.upstream.is_deaf());
}

#[test]
fn a_web_page_is_a_portal_until_it_comes_after_an_acceptance() {
    let page = ProbeEnd::Page { status: 200, took: Duration::from_millis(30) };
    let mut bench = Bench::new();
    bench.probe(&page);
    assert_eq!(bench.state(), "offline");
    bench.pass(HOUR);
    bench.end(Class::Delivered, Contact::Answered);
    bench.probe(&page);
    assert!(!bench.upstream.is_offline());
    bench.upstream.clock_stepped(bench.now.agent);
    bench.probe(&page);
    assert!(!bench.upstream.is_offline(), "it is the upstream's own");
}

#[test]
fn an_answer_to_a_try_is_worth_more_than_a_probe_that_began_before_it() {
    let mut bench = Bench::online();
    bench.upstream.clock_stepped(bench.now.agent);
    bench.upstream.probe_sent(bench.now.agent, 100);
    bench.end(Class::Delivered, Contact::Answered);
    bench.upstream.probed(bench.now, &silence(), PACE, &mut bench.random);
    assert!(!bench.upstream.is_offline());
}

#[test]
fn records_ask_for_probes_at_most_every_two_seconds_and_not_while_offline() {
    let mut bench = Bench::online();
    bench.upstream.hint(bench.now.agent);
    assert!(!bench.upstream.probe_due(bench.now.agent, PACE), "the first probe was just now");
    bench.pass(Duration::from_secs(2));
    bench.probe(&silence());
    let planned = bench.upstream.deadline(bench.now.agent, false, PACE);
    bench.upstream.hint(bench.now.agent);
    assert_eq!(bench.upstream.deadline(bench.now.agent, false, PACE), planned);
}

/// An answered probe proves that probes work, even if it was in flight at the acceptance: a timeout of the next one
/// is trusted.
#[test]
fn an_answered_probe_ends_the_doubt_whether_probes_are_heard() {
    let mut bench = Bench::offline();
    bench.pass(HOUR);
    bench.upstream.probe_sent(bench.now.agent, 100);
    bench.end(Class::Delivered, Contact::Answered);
    bench.upstream.probed(bench.now, &answered(), bench.pace, &mut bench.random);
    bench.pass(Duration::from_millis(10));
    bench.probe(&silence());
    assert!(!bench.upstream.is_deaf() && bench.upstream.is_offline());
}

/// An address or a route may come seconds after its link.
#[test]
fn a_link_that_goes_on_changing_is_asked_once_more_behind_the_last_change() {
    let mut bench = Bench::offline();
    bench.pass(HOUR);
    bench.probe(&silence());
    bench.upstream.link_changed(bench.now.agent, &mut bench.random);
    bench.pass(Duration::from_millis(1900));
    bench.upstream.link_changed(bench.now.agent, &mut bench.random);
    let last_change = bench.now.agent;
    bench.pass(Duration::from_millis(600));
    bench.probe(&silence());
    let next = bench.upstream.deadline(bench.now.agent, false, PACE).expect("one more");
    let wait = next.since(last_change);
    assert!(wait >= Duration::from_secs(2) && wait <= Duration::from_millis(2500), "{wait:?}");
}

#[test]
fn a_link_event_brings_the_probe_forward_at_once_and_those_after_it_are_joined() {
    for answers in [false, true] {
        let mut bench = Bench::offline();
        bench.pass(4 * HOUR);
        bench.probe(&silence());
        for _ in 0..20 {
            bench.upstream.link_changed(bench.now.agent, &mut bench.random);
        }
        let wait = bench.deadline_of_probe();
        assert!((100..=600).contains(&wait.as_millis()), "{wait:?}");
        bench.pass(wait);
        bench.probe(&if answers { answered() } else { silence() });
        if answers {
            assert_eq!(bench.upstream.deadline(bench.now.agent, false, PACE), None, "it is known to be there");
        } else {
            let next = wait + bench.deadline_of_probe();
            assert!((2000..=2600).contains(&next.as_millis()), "{next:?}");
        }
    }
}

/// A link that comes and goes every few seconds is used each time.
#[test]
fn a_link_that_flaps_is_probed_each_time_that_it_comes_up() {
    let mut bench = Bench::offline();
    bench.pass(4 * HOUR);
    for _ in 0..10 {
        bench.probe(&silence());
        bench.pass(Duration::from_secs(3));
        bench.upstream.link_changed(bench.now.agent, &mut bench.random);
        let wait = bench.deadline_of_probe();
        assert!(wait.as_millis() <= 600, "{wait:?}");
        bench.pass(wait);
    }
}

#[test]
fn an_idle_upstream_is_probed_when_that_is_wanted() {
    let mut bench = Bench::online();
    bench.pass(24 * HOUR);
    assert!(!bench.upstream.probe_due(bench.now.agent, PACE));
    bench.pace.probe_idle = Some(MINUTE);
    bench.probe(&answered());
    assert_eq!(bench.upstream.deadline(bench.now.agent, false, bench.pace), Some(bench.now.agent.after(MINUTE)));
}

// ---- pace

#[test]
fn yeses_widen_the_window_up_to_the_concurrency_but_not_under_strict_order() {
    let mut bench = Bench::online();
    (0..20).for_each(|_| bench.end(Class::Delivered, Contact::Answered));
    assert_eq!(bench.slots(), 4);
    bench.pace.ordering = Ordering::Strict;
    assert_eq!(bench.slots(), 1);
}

#[test]
fn max_rate_is_a_gap_between_starts() {
    let mut bench = Bench::online();
    (0..20).for_each(|_| bench.end(Class::Delivered, Contact::Answered));
    bench.pace.min_gap = Duration::from_millis(500);
    assert_eq!(bench.slots(), 1);
    bench.end(Class::Delivered, Contact::Answered);
    assert_eq!((bench.slots(), bench.deadline()), (0, Some(Duration::from_millis(480))));
}

#[test]
fn noes_double_the_pause() {
    let mut bench = Bench::online();
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        bench.end(Class::Busy, Contact::Answered);
        assert_eq!(bench.upstream.pause(), Duration::from_secs(expected));
        bench.pass_the_wait();
    }
    assert_eq!(bench.upstream.pause(), 60 * FIRST);
}

/// An overloaded upstream is protected by a bound on the ratio of offered to accepted requests.
#[test]
fn an_error_among_acceptances_leaves_the_others_at_full_speed() {
    let mut bench = Bench::online();
    (0..200).for_each(|_| bench.end(Class::Delivered, Contact::Answered));
    assert_eq!(bench.slots(), 4);
    for slots in [3, 2, 1, 1] {
        bench.end(Class::Busy, Contact::Answered);
        assert_eq!((bench.upstream.pause(), bench.slots()), (Duration::ZERO, slots));
    }
    (0..6).for_each(|_| bench.end(Class::Busy, Contact::Answered));
    assert_eq!(bench.upstream.pause(), Duration::ZERO, "ten errors after many acceptances");
    bench.end(Class::Busy, Contact::Answered);
    assert_eq!(bench.upstream.pause(), FIRST, "from the eleventh on it is an overload");
    for _ in 0..3 {
        bench.pass_the_wait();
        bench.end(Class::Delivered, Contact::Answered);
    }
    assert_eq!(bench.upstream.pause(), Duration::ZERO, "most attempts are accepted again");
}

/// However few of the recent attempts are errors, one that comes sooner than all accepted ones is no sporadic error.
#[test]
fn a_rejection_that_came_too_soon_is_a_rate_limit() {
    let mut bench = Bench::online();
    for _ in 0..9 {
        bench.pass(Duration::from_secs(1));
        bench.end(Class::Delivered, Contact::Answered);
    }
    (0..3).for_each(|_| bench.end(Class::Throttled, Contact::Answered));
    assert_eq!((bench.upstream.pause(), bench.slots()), (Duration::ZERO, 1), "first there are fewer at a time");
    let mut after = |ms: u64, class: Class| {
        bench.pass(Duration::from_millis(ms));
        bench.end(class, Contact::Answered);
        u64::try_from(bench.upstream.pause().as_millis()).expect("it is short")
    };
    assert_eq!(after(300, Class::Throttled), 1000, "the gap that was long enough");
    assert_eq!(after(1000, Class::Delivered), 500, "by half where that is longer than what was too short");
    assert_eq!(after(500, Class::Delivered), 450, "then by a tenth");
    assert_eq!(after(200, Class::Throttled), 900);
    assert_eq!(after(900, Class::Unsure), 1000, "another error is no rate limit");
    assert_eq!(after(1000, Class::Delivered), 0, "and most attempts are accepted");
}

#[test]
fn a_retry_after_is_obeyed_however_many_are_accepted() {
    let mut bench = Bench::online();
    (0..20).for_each(|_| bench.end(Class::Delivered, Contact::Answered));
    bench.end_with(Class::Throttled, Contact::Answered, Some(Duration::from_secs(40)), "a");
    assert_eq!((bench.upstream.pause(), bench.slots()), (FIRST, 0));
}

/// After an outage the errors are those of a chain that comes back.
#[test]
fn after_an_outage_an_error_doubles_the_pause_unless_very_few_are_errors() {
    let mut bench = Bench::offline();
    bench.pass(4 * HOUR);
    bench.probe(&answered());
    bench.pass_the_wait();
    (0..3).for_each(|_| bench.end(Class::Delivered, Contact::Answered));
    let before = bench.upstream.pause();
    bench.pass_the_wait();
    bench.end(Class::Busy, Contact::Answered);
    assert_eq!(bench.upstream.pause(), 2 * before);
}

/// A request that was delayed by an outage of seconds does not look like an overload.
#[test]
fn a_request_that_an_outage_held_up_is_not_slow() {
    let mut bench = Bench::online();
    (0..20).for_each(|_| bench.end(Class::Delivered, Contact::Answered));
    let route = Route { entity_type: "SALE".into(), action: "CREATE".into() };
    let dispatch_kind = bench.upstream.sent(bench.now.agent, false, &route, PACE);
    let sent_at = bench.now.agent;
    bench.end(Class::Unreachable, Contact::Doubtful);
    bench.probe(&silence());
    bench.probe_again_after(&silence(), Duration::from_secs(20));
    bench.probe_again_after(&answered(), Duration::from_secs(7));
    assert!(bench.upstream.pause() > FIRST);
    bench.end_sent_at(sent_at, dispatch_kind, Class::Delivered);
    assert_eq!((bench.upstream.pause(), bench.slots()), (Duration::ZERO, 1), "it is full speed again at once");
}

/// On a lossy link a few timeouts in a row are no outage, nor is a probe that is lost with them.
#[test]
fn what_the_share_of_errors_explains_is_no_outage() {
    let mut bench = Bench::online();
    for n in 0..200 {
        let lost = [1, 4, 7].contains(&(n % 10));
        let (class, contact) =
            if lost { (Class::Unsure, Contact::Silent) } else { (Class::Delivered, Contact::Answered) };
        bench.end(class, contact);
    }
    let mut silent = 0;
    while !bench.upstream.probe_due(bench.now.agent, PACE) {
        bench.end(Class::Unsure, Contact::Silent);
        silent += 1;
    }
    assert!((4..=8).contains(&silent), "{silent} in a row");
    bench.probe(&silence());
    assert_eq!(bench.state(), "offline", "this number is not explained by chance");
}

// ---- operators

#[test]
fn a_persons_pause_holds_until_the_resume() {
    let mut bench = Bench::online();
    bench.upstream.suspend(bench.now);
    assert_eq!((bench.slots(), bench.state(), bench.deadline()), (0, "paused", None));
    bench.upstream.resume(bench.now, 100);
    assert_eq!(bench.slots(), 1);
}

#[test]
fn a_resume_ends_a_block_and_the_waiting_but_no_retry_after() {
    let mut bench = Bench::online();
    (0..5).for_each(|_| bench.end(Class::Busy, Contact::Answered));
    bench.end(Class::Misconfigured, Contact::Answered);
    bench.upstream.resume(bench.now, 100);
    assert_eq!((bench.slots(), bench.state()), (1, "online"));
    assert!(bench.upstream.sweep.is_some());
    bench.end_with(Class::Throttled, Contact::Answered, Some(Duration::from_secs(40)), "a");
    bench.upstream.resume(bench.now, 100);
    bench.pass(Duration::from_secs(39));
    assert_eq!((bench.slots(), bench.state()), (0, "throttled"));
}

#[test]
fn a_resume_while_offline_probes_at_once_and_opens_without_a_pause() {
    let mut bench = Bench::offline();
    bench.pass(4 * HOUR);
    bench.probe(&silence());
    bench.upstream.resume(bench.now, 100);
    bench.probe(&answered());
    assert_eq!((bench.upstream.pause(), bench.slots()), (Duration::ZERO, 1));
}

#[test]
fn what_is_stored_comes_back() {
    let mut bench = Bench::online();
    bench.end(Class::Busy, Contact::Answered);
    bench.end(Class::Misconfigured, Contact::Answered);
    bench.upstream.suspend(bench.now);
    let text = serde_json::to_string(&bench.upstream).expect("it serialises");
    let mut again: Upstream = serde_json::from_str(&text).expect("it comes back");
    again.start(bench.now);
    assert_eq!((again.pause(), again.reason()), (FIRST, Some("x")));
    let conditions = again.conditions(bench.now.agent);
    assert_eq!(conditions, [Condition::Paused, Condition::Blocked, Condition::Waiting, Condition::Unknown]);
}

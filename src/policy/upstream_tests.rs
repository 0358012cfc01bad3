//! The upstream's conditions: what opens, closes and slows it.

use super::*;

const PACE: Pace = Pace { concurrency: 4, max_pause: Duration::from_secs(60) };

struct Bench {
    upstream: Upstream,
    now: Moment,
    random: fastrand::Rng,
}

impl Bench {
    fn new() -> Self {
        let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(0) };
        let mut upstream = Upstream::new(now);
        upstream.start(now);
        Self { upstream, now, random: fastrand::Rng::with_seed(3) }
    }

    fn online() -> Self {
        let mut bench = Self::new();
        bench.probe(&answered());
        bench
    }

    fn pass(&mut self, wait: Duration) {
        self.now = Moment { agent: self.now.agent.after(wait), wall: self.now.wall.after(wait) };
    }

    fn probe(&mut self, end: &ProbeEnd) {
        assert!(self.upstream.probe_due(self.now.agent), "no probe is due");
        self.upstream.probe_sent(self.now.agent, 100);
        self.upstream.probed(self.now, end, PACE, &mut self.random);
    }

    fn try_once(&mut self, class: Class, contact: Contact) {
        self.try_with(class, contact, None);
    }

    fn try_with(&mut self, class: Class, contact: Contact, retry_after: Option<Duration>) {
        let verdict = Verdict { class, error: String::from("x"), retry_after, contact };
        let sent_at = self.now.agent;
        self.upstream.sent();
        self.pass(Duration::from_millis(20));
        self.upstream.ended(self.now, sent_at, &verdict, PACE, &mut self.random);
    }

    fn slots(&self) -> usize {
        self.upstream.slots(self.now.agent, PACE)
    }

    fn pass_the_wait(&mut self) {
        if let Some(at) = self.upstream.deadline(self.now.agent, true) {
            self.pass(at.since(self.now.agent));
        }
    }
}

fn answered() -> ProbeEnd {
    ProbeEnd::Answered { status: 200, took: Duration::from_millis(30) }
}

fn silence() -> ProbeEnd {
    ProbeEnd::Silence { reason: "connection refused".into() }
}

#[test]
fn nothing_is_sent_before_the_first_contact() {
    let mut bench = Bench::new();
    assert_eq!((bench.slots(), bench.upstream.state(bench.now.agent)), (0, "unknown"));
    bench.probe(&answered());
    assert!(!bench.upstream.sweeping, "a start is no opening");
    assert_eq!((bench.slots(), bench.upstream.state(bench.now.agent)), (1, "online"));
    assert_eq!(bench.upstream.contact_seq, 100);
}

#[test]
fn yeses_widen_the_window_up_to_the_concurrency() {
    let mut bench = Bench::online();
    for _ in 0..20 {
        bench.try_once(Class::Delivered, Contact::Answered);
    }
    assert_eq!(bench.slots(), 4);
    bench.upstream.sent();
    assert_eq!(bench.slots(), 3);
}

#[test]
fn a_refused_connection_asks_the_probe_at_once_and_silence_shuts() {
    let mut bench = Bench::online();
    bench.try_once(Class::Unreachable, Contact::Doubtful);
    bench.probe(&silence());
    assert_eq!(bench.upstream.state(bench.now.agent), "offline");
    assert_eq!(bench.upstream.reason(), Some("connection refused"));
    assert_eq!(bench.slots(), 0);
}

#[test]
fn silence_asks_the_probe_at_the_third_time_in_a_row() {
    let mut bench = Bench::online();
    for (n, asks) in [(1, false), (2, false), (3, true)] {
        bench.try_once(Class::Unsure, Contact::Silent);
        assert_eq!(bench.upstream.probe_due(bench.now.agent), asks, "after {n}");
    }
    let mut bench = Bench::online();
    for _ in 0..10 {
        bench.try_once(Class::Unsure, Contact::Silent);
        bench.try_once(Class::Failed, Contact::Answered);
    }
    assert!(!bench.upstream.probe_due(bench.now.agent), "answers in between");
}

#[test]
fn the_gap_between_probes_follows_the_outage() {
    let mut bench = Bench::new();
    let mut gaps = Vec::new();
    for _ in 0..200 {
        bench.probe(&silence());
        let before = bench.now.agent;
        bench.pass_the_wait();
        gaps.push((bench.now.agent.since(AgentTime::ZERO), bench.now.agent.since(before)));
    }
    for (outage, gap) in gaps {
        assert!(gap >= Duration::from_secs(1), "{gap:?}");
        assert!(gap <= (outage / 10).max(Duration::from_secs(1)) && gap <= PACE.max_pause, "{gap:?} at {outage:?}");
    }
}

#[test]
fn an_outage_ends_with_a_pause_and_the_first_goes_at_once() {
    let mut bench = Bench::online();
    bench.try_once(Class::Unreachable, Contact::Doubtful);
    bench.probe(&silence());
    bench.pass(Duration::from_secs(4 * 3600));
    bench.probe(&answered());
    assert!(bench.upstream.sweeping);
    assert_eq!(bench.upstream.pause(), OUTAGE_PAUSE);
    assert_eq!(bench.slots(), 1, "the probe says that we are alone");
    let start = bench.now.agent;
    let mut sent = 0;
    while bench.upstream.pause() > Duration::ZERO {
        bench.pass_the_wait();
        assert_eq!(bench.slots(), 1);
        bench.try_once(Class::Delivered, Contact::Answered);
        sent += 1;
    }
    assert!((8..=12).contains(&sent), "halves each time: {sent}");
    assert!(bench.now.agent.since(start) < Duration::from_secs(60));
}

#[test]
fn a_slow_probe_means_others_are_there_too() {
    let mut bench = Bench::online();
    bench.try_once(Class::Unreachable, Contact::Doubtful);
    bench.probe(&silence());
    bench.pass(Duration::from_secs(3600));
    bench.probe(&ProbeEnd::Answered { status: 200, took: Duration::from_secs(4) });
    assert_eq!((bench.slots(), bench.upstream.state(bench.now.agent)), (0, "waiting"));
}

#[test]
fn noes_double_the_pause_once_for_all_that_was_under_way() {
    let mut bench = Bench::online();
    for _ in 0..20 {
        bench.try_once(Class::Delivered, Contact::Answered);
    }
    let (sent_at, busy) = (
        bench.now.agent,
        Verdict { class: Class::Busy, error: String::new(), retry_after: None, contact: Contact::Answered },
    );
    (0..4).for_each(|_| bench.upstream.sent());
    bench.pass(Duration::from_millis(50));
    for _ in 0..4 {
        bench.upstream.ended(bench.now, sent_at, &busy, PACE, &mut bench.random);
    }
    assert_eq!(bench.upstream.pause(), FIRST_PAUSE);
    for expected in [2, 4, 8, 16, 32, 60, 60] {
        bench.pass_the_wait();
        bench.try_once(Class::Busy, Contact::Answered);
        assert_eq!(bench.upstream.pause(), Duration::from_secs(expected));
    }
}

#[test]
fn retry_after_is_a_floor_that_a_resume_does_not_shorten() {
    let mut bench = Bench::online();
    bench.try_with(Class::Throttled, Contact::Answered, Some(Duration::from_secs(40)));
    assert_eq!(bench.upstream.state(bench.now.agent), "throttled");
    bench.upstream.resume(bench.now);
    bench.pass(Duration::from_secs(39));
    assert_eq!(bench.slots(), 0);
    bench.pass(Duration::from_secs(41));
    assert_eq!(bench.slots(), 1);
}

#[test]
fn a_persons_pause_holds_until_the_resume() {
    let mut bench = Bench::online();
    bench.upstream.suspend(bench.now);
    assert_eq!((bench.slots(), bench.upstream.state(bench.now.agent)), (0, "paused"));
    assert_eq!(bench.upstream.deadline(bench.now.agent, true), None, "no wake-ups");
    bench.upstream.resume(bench.now);
    assert_eq!(bench.slots(), 1);
}

#[test]
fn records_ask_for_probes_at_most_every_two_seconds_and_not_while_offline() {
    let mut bench = Bench::online();
    let start = bench.now.agent;
    bench.upstream.hint(bench.now.agent);
    assert!(!bench.upstream.probe_due(bench.now.agent), "the first probe was just now");
    bench.pass_the_wait();
    assert_eq!(bench.now.agent.since(start), HINT_GAP);
    assert!(bench.upstream.probe_due(bench.now.agent));
    bench.probe(&silence());
    let planned = bench.upstream.deadline(bench.now.agent, false);
    bench.upstream.hint(bench.now.agent);
    assert_eq!(bench.upstream.deadline(bench.now.agent, false), planned);
}

#[test]
fn what_is_stored_comes_back() {
    let mut bench = Bench::online();
    bench.try_once(Class::Busy, Contact::Answered);
    bench.upstream.suspend(bench.now);
    let text = serde_json::to_string(&bench.upstream).expect("it serialises");
    let mut again: Upstream = serde_json::from_str(&text).expect("it comes back");
    again.start(bench.now);
    assert_eq!(again.pause(), FIRST_PAUSE);
    assert_eq!(again.conditions(bench.now.agent), [Condition::Paused, Condition::Waiting, Condition::Unknown]);
}

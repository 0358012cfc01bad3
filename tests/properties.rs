//! Properties of the policy that hold after any sequence of events; a counterexample is shrunk to a
//! minimal one. `PROPTEST_CASES=100000 cargo test --test properties` checks more sequences.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use resyncd::config::Retry;
use resyncd::config::upstream::Ordering;
use resyncd::config::upstream::{AnswerRule, Expect, Meaning, Upstream as UpstreamConfig};
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::answer_rules::Reading;
use resyncd::policy::canary::Route;
use resyncd::policy::class::{Class, Verdict, classify};
use resyncd::policy::ending::Answer;
use resyncd::policy::ending::Contact;
use resyncd::policy::ending::Ending;
use resyncd::policy::ending::Target;
use resyncd::policy::judge::{Decision, Judgement, Rules, Try, judge};
use resyncd::policy::order_tag::OrderTag;
use resyncd::policy::pace::Pace;
use resyncd::policy::probe::ProbeEnd;
use resyncd::policy::retry_state::{RetryState, Standing};
use resyncd::policy::upstream::{DispatchKind, Upstream};
use resyncd::record::Status;
use std::time::Duration;

/// Some seconds of one processor, unless the environment says otherwise.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(3000)
}

/// Number of failures; each has its own order key.
const FAILURES: usize = 3;

/// An event of an upstream.
#[derive(Clone, Debug)]
enum Happening {
    Pass(Duration),
    /// A failure's request starts, if it may.
    Send(usize),
    /// The oldest request in flight ends.
    End(Class, Option<Duration>),
    /// A probe that is due starts and is answered, or not.
    Probe(bool),
    Suspend,
    Resume,
    Flush,
    Hint,
    LinkChanged,
    ClockStepped,
    Login(bool),
    /// The process is killed and started again.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let class = proptest::sample::select(Class::ALL.to_vec());
    let wait = option::weighted(0.2, (0_u64..=3600).prop_map(Duration::from_secs));
    prop_oneof![
        4 => (0_u64..200_000).prop_map(|ms| Happening::Pass(Duration::from_millis(ms))),
        6 => (0..FAILURES).prop_map(Happening::Send),
        6 => (class, wait).prop_map(|(class, wait)| Happening::End(class, wait)),
        2 => any::<bool>().prop_map(Happening::Probe),
        1 => prop_oneof![
            Just(Happening::Suspend), Just(Happening::Resume), Just(Happening::Flush), Just(Happening::Hint),
            Just(Happening::LinkChanged), Just(Happening::ClockStepped), Just(Happening::Restart),
            any::<bool>().prop_map(Happening::Login),
        ],
    ]
}

fn pace() -> impl Strategy<Value = Pace> {
    let ordering = proptest::sample::select(vec![Ordering::Key, Ordering::Strict, Ordering::None]);
    (1_usize..6, 1_u64..=3600, 0_u64..2_000, ordering).prop_map(|(concurrency, max_pause, min_gap, ordering)| Pace {
        concurrency,
        max_pause: Duration::from_secs(max_pause),
        min_gap: Duration::from_millis(min_gap),
        probe_idle: None,
        ordering,
    })
}

/// An upstream, its failures, and the requests in flight.
struct Stage {
    upstream: Upstream,
    pace: Pace,
    retry: Retry,
    now: Moment,
    random: fastrand::Rng,
    failures: Vec<RetryState>,
    in_flight: Vec<(usize, AgentTime, DispatchKind)>,
}

impl Stage {
    fn new(pace: Pace, seed: u64) -> Self {
        let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_754_123) };
        let mut upstream = Upstream::new(now);
        upstream.start(now);
        let failures = vec![RetryState::fresh(); FAILURES];
        let random = fastrand::Rng::with_seed(seed);
        Self { upstream, pace, retry: Retry::default(), now, random, failures, in_flight: Vec::new() }
    }

    fn happens(&mut self, what: &Happening) -> Result<(), TestCaseError> {
        let now = self.now;
        match what {
            Happening::Pass(wait) => {
                self.now = Moment { agent: now.agent.after(*wait), wall: now.wall.after(*wait) };
            }
            Happening::Send(failure) => self.send(*failure),
            Happening::End(class, wait) => self.end(*class, *wait)?,
            Happening::Probe(answered) => self.probe(*answered),
            Happening::Suspend => self.upstream.suspend(now),
            Happening::Resume => self.upstream.resume(now, 9),
            Happening::Flush => self.upstream.flush(now.agent, 9),
            Happening::Hint => self.upstream.hint(now.agent),
            Happening::LinkChanged => self.upstream.link_changed(now.agent, &mut self.random),
            Happening::ClockStepped => self.upstream.clock_stepped(now.agent),
            Happening::Login(is) => self.upstream.logging_in(*is && !self.in_flight.is_empty()),
            Happening::Restart => self.restart(),
        }
        Ok(())
    }

    fn send(&mut self, failure: usize) {
        let free = self.failures[failure].standing.status() == Status::Pending
            && self.in_flight.iter().all(|(other, ..)| *other != failure);
        let canary = self.upstream.canary_due(self.now.agent);
        if free && (canary || self.upstream.slots(self.now.agent, self.pace) > 0) {
            let route = Route { entity_type: "SALE".into(), action: "CREATE".into() };
            let dispatch_kind = self.upstream.sent(self.now.agent, canary, &route, self.pace);
            self.in_flight.push((failure, self.now.agent, dispatch_kind));
        }
    }

    fn end(&mut self, class: Class, wait: Option<Duration>) -> Result<(), TestCaseError> {
        if self.in_flight.is_empty() {
            return Ok(());
        }
        let (failure, sent_at, dispatch_kind) = self.in_flight.remove(0);
        let contact = match class {
            Class::Unreachable => Contact::Doubtful,
            Class::Unsure => Contact::Silent,
            _ => Contact::Answered,
        };
        let verdict =
            Verdict { class, error: "words".into(), retry_after: wait, contact, unreadable: false, stalled: false };
        let before = self.failures[failure].clone();
        let was_shut = self.upstream.is_shut();
        let order = OrderTag::new(failure.to_string());
        let end = Try {
            retry_state: &before,
            order: &order,
            recorded_at: AgentTime::ZERO,
            attempt: 1,
            sent_at,
            dispatch_kind,
            verdict: &verdict,
            newest: 9,
        };
        let rules = Rules { retry: &self.retry, pace: self.pace };
        let judgement = judge(&end, &mut self.upstream, rules, self.now, &mut self.random);
        judged(&before, class, was_shut, &judgement)?;
        if let Some(refund) = judgement.refund {
            for other in &mut self.failures {
                if let Some(back) = refund.of(other) {
                    given_back(other, &back)?;
                    *other = back;
                }
            }
        }
        self.failures[failure] =
            if judgement.decision == Decision::Accepted { RetryState::fresh() } else { judgement.retry_state };
        Ok(())
    }

    fn probe(&mut self, answered: bool) {
        if !self.upstream.probe_due(self.now.agent, self.pace) {
            return;
        }
        self.upstream.probe_sent(self.now.agent, 9);
        let end = if answered {
            ProbeEnd::Answered { status: 200, took: Duration::from_millis(20) }
        } else {
            ProbeEnd::Silence { reason: "nobody".into() }
        };
        self.upstream.probed(self.now, &end, self.pace, &mut self.random);
    }

    fn restart(&mut self) {
        let text = serde_json::to_string(&self.upstream).expect("it has its JSON");
        self.upstream = serde_json::from_str(&text).expect("what was written is read");
        let retry_states = serde_json::to_string(&self.failures).expect("they have their JSON");
        self.failures = serde_json::from_str(&retry_states).expect("what was written is read");
        self.in_flight.clear();
        self.upstream.start(self.now);
    }

    /// The invariants that hold at any time.
    fn holds(&self) -> Result<(), TestCaseError> {
        let (upstream, now) = (&self.upstream, self.now.agent);
        let slots = upstream.slots(now, self.pace);
        prop_assert!(slots + self.in_flight.len() <= self.pace.concurrency.max(self.in_flight.len()));
        let conditions = upstream.conditions(now);
        prop_assert!(slots == 0 || conditions.is_empty(), "{conditions:?} and {slots} may go");
        let first = conditions.first().map_or("online", |condition| condition.as_str());
        prop_assert_eq!(upstream.state(now), first);
        prop_assert!(!upstream.canary_due(now) || (upstream.is_shut() && self.in_flight.is_empty()));
        prop_assert!(upstream.pause() <= self.pace.max_pause);
        for waits in [true, false] {
            prop_assert!(upstream.deadline(now, waits, self.pace).is_none_or(|at| at > now), "a deadline behind us");
        }
        let text = serde_json::to_string(upstream).expect("it has its JSON");
        let read: Upstream = serde_json::from_str(&text).expect("what was written is read");
        prop_assert_eq!(serde_json::to_string(&read).expect("it has its JSON"), text);
        Ok(())
    }
}

/// The budget: an attempt uses at most one retry, and none while the upstream is unavailable,
/// unless it was rejected.
fn judged(before: &RetryState, class: Class, was_shut: bool, judgement: &Judgement) -> Result<(), TestCaseError> {
    let counted = match judgement.decision {
        Decision::Counted { .. } => true,
        Decision::NeedsPerson { counted, .. } => counted,
        Decision::Accepted | Decision::Uncounted { .. } => false,
    };
    prop_assert_eq!(judgement.decision == Decision::Accepted, class == Class::Delivered);
    prop_assert!(class != Class::Unreachable || !counted, "an outage cost a retry");
    prop_assert!(!was_shut || !counted || class == Class::Refused, "{:?} cost a retry while it was shut", class);
    if class == Class::Refused {
        prop_assert_eq!(judgement.decision, Decision::NeedsPerson { counted: true, provisional: false });
    }
    if judgement.refund.is_none() {
        prop_assert_eq!(judgement.retry_state.retry_count, before.retry_count + u32::from(counted));
    }
    Ok(())
}

/// A refund only reduces the count, and the same counts are refunded once.
fn given_back(before: &RetryState, after: &RetryState) -> Result<(), TestCaseError> {
    prop_assert!(after.retry_count <= before.retry_count);
    prop_assert!(matches!(after.standing, Standing::Pending | Standing::Held));
    prop_assert_eq!(after.standing == Standing::Held, before.standing == Standing::Held);
    Ok(())
}

/// A rule on the status, the text, the JSON, or several of these.
fn rule() -> impl Strategy<Value = AnswerRule> {
    let pointer =
        || option::of(proptest::sample::select(vec!["/error", "/rows/*/state", "/id"]).prop_map(str::to_owned));
    let status = proptest::sample::subsequence(vec![200_u16, 201, 409, 500], 0..=3);
    let text = option::weighted(0.3, proptest::sample::select(vec!["OK", "error", "Warning"]).prop_map(str::to_owned));
    (status, pointer(), pointer(), text, proptest::sample::select(Class::ALL.to_vec())).prop_map(
        |(status, present, nonempty, contains, class)| AnswerRule {
            status,
            json: Vec::new(),
            present,
            nonempty,
            contains,
            is: Meaning::Is(class),
            message: None,
        },
    )
}

/// Bodies as back ends send them, and possible transmission damage.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = proptest::sample::select(vec![
        r#"{"error":"no such SKU"}"#,
        r#"{"id":"the-id","rows":[{"state":"ok"},{"state":"bad"}]}"#,
        "{}",
        "[]",
        "OK",
        "",
    ]);
    let before = proptest::sample::select(vec![
        "",
        "",
        "",
        "\u{feff}",
        "\nWarning: x in y on line 1\n",
        "callback(",
        "\u{1f}\u{8b}",
    ]);
    let behind = proptest::sample::select(vec!["", "", "", "\n", ")", "<!-- 3 ms -->", "\0"]);
    (before, json, behind, option::weighted(0.2, 0_usize..40), option::weighted(0.1, any::<u8>())).prop_map(
        |(before, json, behind, cut, odd)| {
            let mut bytes = [before, json, behind].concat().into_bytes();
            bytes.truncate(cut.unwrap_or(usize::MAX));
            bytes.extend(odd);
            bytes
        },
    )
}

/// Whether a rule or a proof that needs this body may have failed to read it; written independently of the code.
fn is_in_the_dark(upstream: &UpstreamConfig, answer: &Answer) -> bool {
    let bytes = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
    let readable = answer.encoding.is_none() && serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    let text = String::from_utf8_lossy(bytes);
    for rule in &upstream.answers {
        let concerned = rule.status.is_empty() || rule.status.contains(&answer.status);
        let said = rule.contains.as_ref().is_none_or(|part| text.contains(part.as_str()));
        let looks = rule.present.is_some() || rule.nonempty.is_some();
        match (concerned && said, looks) {
            (false, _) => {}
            (true, false) => return false,
            // A status without a body says that there is nothing to read.
            (true, true) if matches!(answer.status, 204 | 205) && answer.body.is_empty() => {}
            (true, true) if !readable => return true,
            // The rule can be evaluated; if it holds, it decides.
            (true, true) => {
                let json: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
                let found = |pointer: &Option<String>| pointer.as_ref().is_none_or(|p| json.pointer(p).is_some());
                if rule.present.iter().chain(&rule.nonempty).all(|p| !p.contains('*'))
                    && found(&rule.present)
                    && found(&rule.nonempty)
                {
                    return false;
                }
            }
        }
    }
    // Only a 2xx has to prove something.
    !readable && answer.status / 100 == 2 && (upstream.expect == Expect::Json || upstream.expect_id.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn whatever_happens_the_gates_and_the_budget_hold(
        pace in pace(),
        seed: u64,
        good in 0_usize..20,
        happenings in vec(happening(), 1..120),
    ) {
        let mut stage = Stage::new(pace, seed);
        stage.holds()?;
        // A good hour first: only then more than one request is in flight.
        let met = [Happening::Pass(Duration::from_secs(1)), Happening::Probe(true)];
        let delivered = [Happening::Send(0), Happening::End(Class::Delivered, None), met[0].clone()];
        for what in met.iter().chain(delivered.iter().cycle().take(3 * good)) {
            stage.happens(what)?;
        }
        for what in &happenings {
            stage.happens(what)?;
            stage.holds()?;
        }
    }

    #[test]
    fn a_wait_is_its_step_and_at_most_its_jitter_more(
        steps in vec((0_u64..100_000).prop_map(Duration::from_secs), 1..6),
        jitter in 0.0..=1.0_f64,
        counted: u32,
        seed: u64,
    ) {
        let retry = Retry { steps: steps.clone(), jitter, ..Retry::default() };
        let index = usize::try_from(counted).unwrap_or(usize::MAX).min(steps.len() - 1);
        let wait = retry.wait(counted, &mut fastrand::Rng::with_seed(seed));
        prop_assert!(wait >= steps[index]);
        prop_assert!(wait <= steps[index].mul_f64(1.0 + jitter) + Duration::from_nanos(1));
    }
    /// A rule or a proof that cannot be evaluated never ends in a delivery, and nothing is counted for it.
    #[test]
    fn what_cannot_be_read_is_never_a_delivery(
        rules in vec(rule(), 0..4),
        proof in 0..3_u8,
        https: bool,
        status in proptest::sample::select(vec![200_u16, 201, 204, 299, 400, 404, 422, 500]),
        body in body(),
        coded in proptest::bool::weighted(0.1),
        kind in option::of(proptest::sample::select(vec!["application/json", "text/html", "text/plain", ""])),
    ) {
        let url = if https { "https://hq.example/sync" } else { "http://hq.example/sync" };
        let mut upstream = UpstreamConfig::with_url("hq", url);
        upstream.answers = rules;
        upstream.expect = if proof == 1 { Expect::Json } else { Expect::Any };
        upstream.expect_id = (proof == 2).then(|| "/id".to_owned());
        let answer = Answer {
            status,
            content_type: kind.map(str::to_owned),
            encoding: coded.then(|| "gzip".to_owned()),
            body,
            ..Answer::default()
        };
        let reading = Reading { upstream: &upstream, route: None, id: "the-id", key: "the-key" };
        let dark = is_in_the_dark(&upstream, &answer);
        let verdict = classify(&Ending::Answered(answer.clone()), &Target::of(url), &reading, WallTime::from_millis(0));
        let conclusive = matches!(verdict.class, Class::Delivered | Class::Refused | Class::Failed);
        prop_assert!(!dark || !conclusive, "{:?} {:?}", upstream.answers, answer);
        prop_assert!(!verdict.unreadable || verdict.class == Class::Unsure);
        prop_assert!(!verdict.unreadable || !verdict.error.is_empty(), "the reason says why");
    }
}

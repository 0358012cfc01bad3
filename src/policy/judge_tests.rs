//! Single decisions; sequences of them are tested in `tests/`.

use super::*;
use crate::moment::WallTime;
use crate::policy::canary::Route;
use crate::policy::probe::ProbeEnd;
use crate::policy::retry_state::Chance;

/// An available upstream, and failures by name.
struct Court {
    upstream: Upstream,
    now: Moment,
    random: fastrand::Rng,
    retry: Retry,
    pace: Pace,
    recorded_at: AgentTime,
    attempt: u32,
}

impl Court {
    fn new() -> Self {
        let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(0) };
        let pace = Pace {
            concurrency: 4,
            max_pause: Duration::from_mins(1),
            min_gap: Duration::ZERO,
            probe_idle: None,
            ordering: Ordering::Key,
        };
        let mut upstream = Upstream::new(now);
        let mut random = fastrand::Rng::with_seed(1);
        upstream.start(now);
        upstream.probe_sent(now.agent, 0);
        let answered = ProbeEnd::Answered { status: 200, took: Duration::ZERO };
        upstream.probed(now, &answered, pace, &mut random);
        Self { upstream, now, random, retry: Retry::default(), pace, recorded_at: AgentTime::ZERO, attempt: 1 }
    }

    fn pass(&mut self, wait: Duration) {
        self.now = Moment { agent: self.now.agent.after(wait), wall: self.now.wall.after(wait) };
    }

    fn end(&mut self, order: &str, retry_state: &RetryState, class: Class) -> Judgement {
        self.end_with(order, retry_state, class, None)
    }

    fn end_with(&mut self, order: &str, retry_state: &RetryState, class: Class, wait: Option<Duration>) -> Judgement {
        let contact = match class {
            Class::Unreachable => Contact::Doubtful,
            Class::Unsure => Contact::Silent,
            _ => Contact::Answered,
        };
        let verdict =
            Verdict { class, error: "HTTP".into(), retry_after: wait, contact, unreadable: false, stalled: false };
        let canary = self.upstream.is_shut();
        let route = Route { entity_type: "SALE".into(), action: "CREATE".into() };
        let dispatch_kind = self.upstream.sent(self.now.agent, canary, &route, self.pace);
        let end = Try {
            retry_state,
            order: &OrderTag::new(order),
            recorded_at: self.recorded_at,
            attempt: self.attempt,
            sent_at: self.now.agent,
            dispatch_kind,
            verdict: &verdict,
            newest: 9,
        };
        let rules = Rules { retry: &self.retry, pace: self.pace };
        judge(&end, &mut self.upstream, rules, self.now, &mut self.random)
    }

    /// Another failure is accepted.
    fn accept(&mut self) {
        let judgement = self.end("another", &RetryState::fresh(), Class::Delivered);
        assert_eq!((judgement.decision, judgement.why), (Decision::Accepted, Why::Accepted));
    }
}

const HOUR: Duration = Duration::from_hours(1);

fn counted(judgement: &Judgement) -> u32 {
    judgement.retry_state.retry_count
}

#[test]
fn the_line_never_costs_a_retry() {
    for class in [Class::Unreachable, Class::Throttled, Class::Busy, Class::Unsure, Class::Misconfigured] {
        let mut court = Court::new();
        let mut retry_state = RetryState::fresh();
        for _ in 0..1000 {
            let judgement = court.end("a", &retry_state, class);
            assert!(matches!(judgement.decision, Decision::Uncounted { .. }), "{class:?}: {judgement:?}");
            retry_state = judgement.retry_state;
            court.pass(Duration::from_mins(1));
        }
        assert_eq!(retry_state.retry_count, 0, "{class:?}");
    }
}

#[test]
fn an_answer_about_the_failure_costs_a_retry_and_the_third_needs_a_person() {
    let mut court = Court::new();
    let first = court.end("a", &RetryState::fresh(), Class::Failed);
    let Decision::Counted { wait, provisional: true } = first.decision else { panic!("{first:?}") };
    assert!(wait >= Duration::from_mins(15) && wait <= Duration::from_mins(18), "{wait:?}");
    let second = court.end_with("a", &first.retry_state, Class::Failed, Some(HOUR));
    assert!(matches!(second.decision, Decision::Counted { wait, .. } if wait == HOUR), "a longer Retry-After holds");
    let third = court.end("a", &second.retry_state, Class::Failed);
    assert_eq!(third.decision, Decision::NeedsPerson { counted: true, provisional: true });
    assert_eq!((third.why, counted(&third)), (Why::LastRetry, 3));
}

#[test]
fn two_keys_without_an_acceptance_are_the_upstream_and_get_their_counts_back() {
    let mut court = Court::new();
    let a = court.end("a", &RetryState::fresh(), Class::Failed).retry_state;
    let b = court.end("b", &RetryState::fresh(), Class::Failed);
    assert_eq!((b.why, counted(&b)), (Why::UpstreamFailing, 0));
    assert!(matches!(b.decision, Decision::Uncounted { .. }));
    assert_eq!(court.upstream.state(court.now.agent), "failing");
    let back = b.refund.and_then(|refund| refund.of(&a)).expect("a is given back too");
    assert_eq!(back.retry_count, 0);
    // While it is failing, only a rejection counts.
    assert_eq!(counted(&court.end("a", &back, Class::Failed)), 0);
    assert_eq!(court.end("c", &RetryState::fresh(), Class::Refused).why, Why::Refused);
}

#[test]
fn an_acceptance_in_between_confirms() {
    let mut court = Court::new();
    let a = court.end("a", &RetryState::fresh(), Class::Failed).retry_state;
    court.accept();
    let b = court.end("b", &RetryState::fresh(), Class::Failed);
    assert_eq!(b.refund, None);
    let c = court.end("c", &RetryState::fresh(), Class::Failed);
    let refund = c.refund.expect("b and c are two");
    assert_eq!(refund.of(&a), None, "that was confirmed");
    assert_eq!(refund.of(&b.retry_state).map(|back| back.retry_count), Some(0));
}

#[test]
fn one_without_its_chance_is_neither_given_back_nor_one_of_the_two() {
    let mut court = Court::new();
    let used = RetryState { chance: Chance::UsedIn(court.upstream.evidence().epoch()), ..RetryState::fresh() };
    let a = court.end("a", &used, Class::Failed);
    assert_eq!((counted(&a), a.refund), (1, None));
    assert!(matches!(a.decision, Decision::Counted { provisional: false, .. }));
    assert_eq!(court.end("b", &RetryState::fresh(), Class::Failed).refund, None);
    court.accept();
    // Accepted after a bad response: the upstream was at fault, and all failures have an extra attempt again.
    let bad = court.end("c", &RetryState::fresh(), Class::Unsure).retry_state;
    court.end("c", &bad, Class::Delivered);
    assert!(used.chance.is_left(court.upstream.evidence().epoch()));
}

#[test]
fn contrast_counts_what_cannot_be_bad_luck() {
    let mut court = Court::new();
    let mut retry_state = RetryState::fresh();
    let mut tries = 0;
    while retry_state.retry_count == 0 {
        court.accept();
        court.attempt = 4; // Only first attempts enter the share.
        retry_state = court.end("a", &retry_state, Class::Busy).retry_state;
        court.attempt = 1;
        tries += 1;
        assert!(tries < 100, "never counted");
    }
    assert_eq!(tries, 10, "0.05 to the tenth is less than 1e-12");
    assert_eq!(retry_state.unclear.tries, 0, "the count starts again");
}

#[test]
fn without_an_acceptance_since_its_previous_try_there_is_no_contrast() {
    let mut court = Court::new();
    let mut retry_state = RetryState::fresh();
    for _ in 0..50 {
        court.accept();
        for _ in 0..2 {
            let judgement = court.end("a", &retry_state, Class::Unreachable);
            assert_eq!(counted(&judgement), 0);
            retry_state = judgement.retry_state;
        }
    }
    let mut lonely = RetryState::fresh();
    (0..50).for_each(|_| lonely = court.end("b", &lonely, Class::Busy).retry_state);
    assert_eq!((lonely.retry_count, lonely.unclear.tries), (0, 5));
}

#[test]
fn misconfigured_blocks_and_counts_at_the_second_time_without_blocking() {
    let mut court = Court::new();
    let first = court.end("a", &RetryState::fresh(), Class::Misconfigured);
    assert_eq!((first.why, court.upstream.state(court.now.agent)), (Why::Misconfigured, "blocked"));
    court.accept();
    let second = court.end("a", &first.retry_state, Class::Misconfigured);
    assert_eq!((second.why, counted(&second)), (Why::Contrast, 1));
    assert!(!court.upstream.is_shut());
}

#[test]
fn a_throttled_one_that_is_singled_out_waits_alone_until_it_is_a_day_old() {
    let mut court = Court::new();
    let throttled = RetryState {
        unclear: crate::policy::retry_state::InconclusiveAttempts { tries: 12, ..Default::default() },
        ..RetryState::fresh()
    };
    let seen = RetryState { seen: Some(court.upstream.evidence().accepted()), ..throttled };
    court.accept();
    let young = court.end("a", &seen, Class::Throttled);
    assert_eq!(young.why, Why::SingledOut);
    assert_eq!(young.retry_state.retry_after_until, Some(court.now.agent.after(SINGLED_OUT_WAIT)));
    court.pass(25 * HOUR);
    court.accept();
    let old = court.end("a", &young.retry_state, Class::Throttled);
    assert_eq!((old.why, counted(&old)), (Why::Contrast, 1));
}

#[test]
fn a_long_retry_after_binds_its_failure_and_everybody_only_with_a_second_key() {
    let mut court = Court::new();
    let first = court.end_with("a", &RetryState::fresh(), Class::Throttled, Some(HOUR));
    assert_eq!(first.retry_state.retry_after_until, Some(court.now.agent.after(HOUR)));
    assert!(court.upstream.reopens_at(court.now.agent) <= court.now.agent.after(Duration::from_secs(121)));
    court.end_with("b", &RetryState::fresh(), Class::Throttled, Some(HOUR));
    assert!(court.upstream.reopens_at(court.now.agent) >= court.now.agent.after(HOUR));
}

#[test]
fn the_one_more_try_does_not_count_and_is_the_last() {
    let mut court = Court::new();
    let mut retry_state = RetryState::fresh();
    (0..3).for_each(|_| retry_state = court.end("a", &retry_state, Class::Failed).retry_state);
    assert_eq!(court.upstream.chances, crate::policy::upstream::Chances::Waiting);
    court.accept();
    assert_eq!(court.upstream.chances, crate::policy::upstream::Chances::Due);
    let again = retry_state.second_chance(court.upstream.evidence()).expect("it has one");
    let unreached = court.end("a", &again, Class::Unreachable);
    assert_eq!(unreached.retry_state.standing, Standing::SecondChance, "no upstream was reached");
    for class in [Class::Failed, Class::Busy, Class::Unsure, Class::Throttled, Class::Misconfigured] {
        let last = Court::new().end("a", &again, class);
        assert_eq!(last.decision, Decision::NeedsPerson { counted: false, provisional: false }, "{class:?}");
        assert_eq!((last.why, counted(&last)), (Why::LastChance, 3));
        assert_eq!(last.retry_state.second_chance(court.upstream.evidence()), None);
    }
}

#[test]
fn a_persons_one_shot_counts_when_it_fails() {
    let mut court = Court::new();
    let mut retry_state = RetryState::fresh();
    (0..3).for_each(|_| retry_state = court.end("a", &retry_state, Class::Failed).retry_state);
    retry_state.ask();
    let busy = court.end("a", &retry_state, Class::Busy);
    assert_eq!((counted(&busy), busy.retry_state.asked), (3, Asked::OneShot), "the connection was at fault");
    let shot = court.end("a", &busy.retry_state, Class::Failed);
    assert_eq!((shot.why, counted(&shot)), (Why::OneShot, 4));
    assert!(matches!(shot.decision, Decision::NeedsPerson { counted: true, .. }));
}

#[test]
fn refusals_need_a_person_at_once_and_ten_keys_in_a_row_stop_the_upstream() {
    let mut court = Court::new();
    for n in 0..10 {
        assert!(!court.upstream.is_shut());
        let refused = court.end(&n.to_string(), &RetryState::fresh(), Class::Refused);
        assert_eq!(refused.decision, Decision::NeedsPerson { counted: true, provisional: false });
    }
    assert_eq!(court.upstream.state(court.now.agent), "failing");
    // A route's `on_refused = "retry"` turns a rejection into an ordinary error, which the class expresses.
    assert_eq!(Court::new().end("a", &RetryState::fresh(), Class::Failed).why, Why::Failed);
}

#[test]
fn under_strict_order_three_tries_of_the_head_are_the_upstream_again_and_again() {
    let mut court = Court::new();
    court.pace.ordering = Ordering::Strict;
    let mut retry_state = RetryState::fresh();
    for round in 0..3 {
        (0..2).for_each(|_| retry_state = court.end("a", &retry_state, Class::Failed).retry_state);
        let third = court.end("a", &retry_state, Class::Failed);
        assert_eq!((third.why, counted(&third)), (Why::UpstreamFailing, 0), "round {round}");
        retry_state = third.retry_state;
        court.upstream.resume(court.now, 9);
    }
}

/// Among acceptances an error delays only the failure that got it.
#[test]
fn a_sporadic_error_makes_its_failure_wait_and_nobody_else() {
    let mut court = Court::new();
    for n in 0..20 {
        court.end(&n.to_string(), &RetryState::fresh(), Class::Delivered);
    }
    let mut retry_state = RetryState::fresh();
    for class in [Class::Busy, Class::Unsure, Class::Unreachable] {
        let judgement = court.end("a", &retry_state, class);
        retry_state = judgement.retry_state;
        let Decision::Uncounted { due_at } = judgement.decision else { panic!("{:?}", judgement.decision) };
        let wait = due_at.since(court.now.agent);
        let most = [1, 1, 1][retry_state.sporadic as usize - 1];
        assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_secs(most), "{class:?}: {wait:?}");
        assert_eq!(court.upstream.pause(), Duration::ZERO);
    }
    assert_eq!(retry_state.sporadic, 3);
    retry_state.count(court.upstream.evidence().accepted());
    assert_eq!(retry_state.sporadic, 0, "a counted attempt begins a new row");
}

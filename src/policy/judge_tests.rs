//! Single judgements, by the sentences of `spec/03`; what comes of many is in `tests/`.

use super::*;
use crate::moment::WallTime;
use crate::policy::canary::Route;
use crate::policy::dossier::Chance;
use crate::policy::probe::ProbeEnd;

/// An upstream that is open, and failures by name.
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

    fn end(&mut self, order: &str, dossier: &Dossier, class: Class) -> Judgement {
        self.end_with(order, dossier, class, None)
    }

    fn end_with(&mut self, order: &str, dossier: &Dossier, class: Class, wait: Option<Duration>) -> Judgement {
        let contact = match class {
            Class::Unreachable => Contact::Doubtful,
            Class::Unsure => Contact::Silent,
            _ => Contact::Answered,
        };
        let verdict = Verdict { class, error: "HTTP".into(), retry_after: wait, contact };
        let canary = self.upstream.is_shut();
        let route = Route { entity_type: "SALE".into(), action: "CREATE".into() };
        let errand = self.upstream.sent(self.now.agent, canary, &route, self.pace);
        let end = Try {
            dossier,
            order: &OrderTag::new(order),
            recorded_at: self.recorded_at,
            attempt: self.attempt,
            sent_at: self.now.agent,
            errand,
            verdict: &verdict,
            newest: 9,
        };
        let rules = Rules { retry: &self.retry, pace: self.pace };
        judge(&end, &mut self.upstream, rules, self.now, &mut self.random)
    }

    /// Something else is accepted.
    fn accept(&mut self) {
        let judgement = self.end("another", &Dossier::fresh(), Class::Delivered);
        assert_eq!((judgement.decision, judgement.why), (Decision::Accepted, Why::Accepted));
    }
}

const HOUR: Duration = Duration::from_hours(1);

fn counted(judgement: &Judgement) -> u32 {
    judgement.dossier.retry_count
}

#[test]
fn the_line_never_costs_a_retry() {
    for class in [Class::Unreachable, Class::Throttled, Class::Busy, Class::Unsure, Class::Misconfigured] {
        let mut court = Court::new();
        let mut dossier = Dossier::fresh();
        for _ in 0..1000 {
            let judgement = court.end("a", &dossier, class);
            assert!(matches!(judgement.decision, Decision::Uncounted { .. }), "{class:?}: {judgement:?}");
            dossier = judgement.dossier;
            court.pass(Duration::from_mins(1));
        }
        assert_eq!(dossier.retry_count, 0, "{class:?}");
    }
}

#[test]
fn an_answer_about_the_failure_costs_a_retry_and_the_third_needs_a_person() {
    let mut court = Court::new();
    let first = court.end("a", &Dossier::fresh(), Class::Failed);
    let Decision::Counted { wait, provisional: true } = first.decision else { panic!("{first:?}") };
    assert!(wait >= Duration::from_mins(15) && wait <= Duration::from_mins(18), "{wait:?}");
    let second = court.end_with("a", &first.dossier, Class::Failed, Some(HOUR));
    assert!(matches!(second.decision, Decision::Counted { wait, .. } if wait == HOUR), "a longer Retry-After holds");
    let third = court.end("a", &second.dossier, Class::Failed);
    assert_eq!(third.decision, Decision::NeedsPerson { counted: true, provisional: true });
    assert_eq!((third.why, counted(&third)), (Why::LastRetry, 3));
}

#[test]
fn two_keys_without_an_acceptance_are_the_upstream_and_get_their_counts_back() {
    let mut court = Court::new();
    let a = court.end("a", &Dossier::fresh(), Class::Failed).dossier;
    let b = court.end("b", &Dossier::fresh(), Class::Failed);
    assert_eq!((b.why, counted(&b)), (Why::UpstreamFailing, 0));
    assert!(matches!(b.decision, Decision::Uncounted { .. }));
    assert_eq!(court.upstream.state(court.now.agent), "failing");
    let back = b.give_back.and_then(|give_back| give_back.of(&a)).expect("a is given back too");
    assert_eq!(back.retry_count, 0);
    // While it is failing nothing counts, but a refusal.
    assert_eq!(counted(&court.end("a", &back, Class::Failed)), 0);
    assert_eq!(court.end("c", &Dossier::fresh(), Class::Refused).why, Why::Refused);
}

#[test]
fn an_acceptance_in_between_confirms() {
    let mut court = Court::new();
    let a = court.end("a", &Dossier::fresh(), Class::Failed).dossier;
    court.accept();
    let b = court.end("b", &Dossier::fresh(), Class::Failed);
    assert_eq!(b.give_back, None);
    let c = court.end("c", &Dossier::fresh(), Class::Failed);
    let give_back = c.give_back.expect("b and c are two");
    assert_eq!(give_back.of(&a), None, "that was confirmed");
    assert_eq!(give_back.of(&b.dossier).map(|back| back.retry_count), Some(0));
}

#[test]
fn one_without_its_chance_is_neither_given_back_nor_one_of_the_two() {
    let mut court = Court::new();
    let used = Dossier { chance: Chance::UsedIn(court.upstream.evidence().epoch()), ..Dossier::fresh() };
    let a = court.end("a", &used, Class::Failed);
    assert_eq!((counted(&a), a.give_back), (1, None));
    assert!(matches!(a.decision, Decision::Counted { provisional: false, .. }));
    assert_eq!(court.end("b", &Dossier::fresh(), Class::Failed).give_back, None);
    court.accept();
    // Accepted after a bad answer: it was the upstream, and everybody has a chance again.
    let bad = court.end("c", &Dossier::fresh(), Class::Unsure).dossier;
    court.end("c", &bad, Class::Delivered);
    assert!(used.chance.is_left(court.upstream.evidence().epoch()));
}

#[test]
fn contrast_counts_what_cannot_be_bad_luck() {
    let mut court = Court::new();
    let mut dossier = Dossier::fresh();
    let mut tries = 0;
    while dossier.retry_count == 0 {
        court.accept();
        court.attempt = 4; // Only first tries enter the share.
        dossier = court.end("a", &dossier, Class::Busy).dossier;
        court.attempt = 1;
        tries += 1;
        assert!(tries < 100, "never counted");
    }
    assert_eq!(tries, 10, "0.05 to the tenth is less than 1e-12");
    assert_eq!(dossier.unclear.tries, 0, "it begins anew");
}

#[test]
fn without_an_acceptance_since_its_previous_try_there_is_no_contrast() {
    let mut court = Court::new();
    let mut dossier = Dossier::fresh();
    for _ in 0..50 {
        court.accept();
        for _ in 0..2 {
            let judgement = court.end("a", &dossier, Class::Unreachable);
            assert_eq!(counted(&judgement), 0);
            dossier = judgement.dossier;
        }
    }
    let mut lonely = Dossier::fresh();
    (0..50).for_each(|_| lonely = court.end("b", &lonely, Class::Busy).dossier);
    assert_eq!((lonely.retry_count, lonely.unclear.tries), (0, 5));
}

#[test]
fn misconfigured_blocks_and_counts_at_the_second_time_without_blocking() {
    let mut court = Court::new();
    let first = court.end("a", &Dossier::fresh(), Class::Misconfigured);
    assert_eq!((first.why, court.upstream.state(court.now.agent)), (Why::Misconfigured, "blocked"));
    court.accept();
    let second = court.end("a", &first.dossier, Class::Misconfigured);
    assert_eq!((second.why, counted(&second)), (Why::Contrast, 1));
    assert!(!court.upstream.is_shut());
}

#[test]
fn a_throttled_one_that_is_singled_out_waits_alone_until_it_is_a_day_old() {
    let mut court = Court::new();
    let throttled =
        Dossier { unclear: crate::policy::dossier::Unclear { tries: 12, ..Default::default() }, ..Dossier::fresh() };
    let seen = Dossier { seen: Some(court.upstream.evidence().accepted()), ..throttled };
    court.accept();
    let young = court.end("a", &seen, Class::Throttled);
    assert_eq!(young.why, Why::SingledOut);
    assert_eq!(young.dossier.bound_until, Some(court.now.agent.after(SINGLED_OUT_WAIT)));
    court.pass(25 * HOUR);
    court.accept();
    let old = court.end("a", &young.dossier, Class::Throttled);
    assert_eq!((old.why, counted(&old)), (Why::Contrast, 1));
}

#[test]
fn a_long_retry_after_binds_its_failure_and_everybody_only_with_a_second_key() {
    let mut court = Court::new();
    let first = court.end_with("a", &Dossier::fresh(), Class::Throttled, Some(HOUR));
    assert_eq!(first.dossier.bound_until, Some(court.now.agent.after(HOUR)));
    assert!(court.upstream.reopens_at(court.now.agent) <= court.now.agent.after(Duration::from_secs(121)));
    court.end_with("b", &Dossier::fresh(), Class::Throttled, Some(HOUR));
    assert!(court.upstream.reopens_at(court.now.agent) >= court.now.agent.after(HOUR));
}

#[test]
fn the_one_more_try_does_not_count_and_is_the_last() {
    let mut court = Court::new();
    let mut dossier = Dossier::fresh();
    (0..3).for_each(|_| dossier = court.end("a", &dossier, Class::Failed).dossier);
    assert_eq!(court.upstream.chances, crate::policy::upstream::Chances::Waiting);
    court.accept();
    assert_eq!(court.upstream.chances, crate::policy::upstream::Chances::Due);
    let again = dossier.second_chance(court.upstream.evidence()).expect("it has one");
    let unreached = court.end("a", &again, Class::Unreachable);
    assert_eq!(unreached.dossier.standing, Standing::SecondChance, "nobody was reached");
    for class in [Class::Failed, Class::Busy, Class::Unsure, Class::Throttled, Class::Misconfigured] {
        let last = Court::new().end("a", &again, class);
        assert_eq!(last.decision, Decision::NeedsPerson { counted: false, provisional: false }, "{class:?}");
        assert_eq!((last.why, counted(&last)), (Why::LastChance, 3));
        assert_eq!(last.dossier.second_chance(court.upstream.evidence()), None);
    }
}

#[test]
fn a_persons_one_shot_counts_when_it_fails() {
    let mut court = Court::new();
    let mut dossier = Dossier::fresh();
    (0..3).for_each(|_| dossier = court.end("a", &dossier, Class::Failed).dossier);
    dossier.ask();
    let busy = court.end("a", &dossier, Class::Busy);
    assert_eq!((counted(&busy), busy.dossier.asked), (3, Asked::OneShot), "the line was at fault");
    let shot = court.end("a", &busy.dossier, Class::Failed);
    assert_eq!((shot.why, counted(&shot)), (Why::OneShot, 4));
    assert!(matches!(shot.decision, Decision::NeedsPerson { counted: true, .. }));
}

#[test]
fn refusals_need_a_person_at_once_and_ten_keys_in_a_row_stop_the_upstream() {
    let mut court = Court::new();
    for n in 0..10 {
        assert!(!court.upstream.is_shut());
        let refused = court.end(&n.to_string(), &Dossier::fresh(), Class::Refused);
        assert_eq!(refused.decision, Decision::NeedsPerson { counted: true, provisional: false });
    }
    assert_eq!(court.upstream.state(court.now.agent), "failing");
    // A route's `on_refused = "retry"` makes it an answer like others, which the class says.
    assert_eq!(Court::new().end("a", &Dossier::fresh(), Class::Failed).why, Why::Failed);
}

#[test]
fn under_strict_order_three_tries_of_the_head_are_the_upstream_again_and_again() {
    let mut court = Court::new();
    court.pace.ordering = Ordering::Strict;
    let mut dossier = Dossier::fresh();
    for round in 0..3 {
        (0..2).for_each(|_| dossier = court.end("a", &dossier, Class::Failed).dossier);
        let third = court.end("a", &dossier, Class::Failed);
        assert_eq!((third.why, counted(&third)), (Why::UpstreamFailing, 0), "round {round}");
        dossier = third.dossier;
        court.upstream.resume(court.now, 9);
    }
}

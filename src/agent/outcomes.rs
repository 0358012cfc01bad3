//! What comes back: the end of a try, judged once and written until a commit succeeds.
//!
//! Its failure stays in flight until then, so that neither it nor a successor is sent while the disk
//! does not know.

use super::{Agent, Finding, Step, StepKind, filing, routing};
use crate::config::route::OnUnsure;
use crate::ids::Seq;
use crate::limits::cut;
use crate::moment::{Moment, WallTime};
use crate::policy::backoff::LINE_WAIT;
use crate::policy::class::{Answer, Class, Ending, Target, Verdict, classify};
use crate::policy::dossier::{Dossier, Standing};
use crate::policy::judge::{Decision, Judgement, Rules, Try, judge};
use crate::policy::probe::ProbeEnd;
use crate::policy::reading::Reading;
use crate::policy::upstream::Errand;
use crate::policy::why::Why;
use crate::record::{Asked, Failure, Leaving, Trigger};
use crate::store::StoreError;
use crate::store::attempts::Attempt;
use crate::store::failures::{AfterTry, Successor};
use std::rc::Rc;
use std::time::Duration;

/// A failure whose request is under way. Memory only: after a crash it is pending again.
#[derive(Debug)]
pub(super) struct InFlight {
    /// As it was claimed, without its payload.
    pub(super) failure: Rc<Failure>,
    /// What is remembered of it; a giving back reaches it here too.
    pub(super) dossier: Dossier,
    pub(super) upstream: usize,
    /// When it was sent; before that, when it was claimed.
    pub(super) sent_at: Moment,
    pub(super) errand: Errand,
    /// It is held ready, and was not sent yet ([`ahead`](super::ahead)).
    pub(super) ahead: bool,
}

/// A try that has ended, judged.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) failure: Rc<Failure>,
    pub(super) upstream: usize,
    ended_at: Moment,
    /// One row of the history each.
    pub(super) tries: Vec<Tried>,
    verdict: Verdict,
    http_status: Option<u16>,
    pub(super) judgement: Judgement,
    /// May it have arrived?
    unsure: bool,
}

/// A step of a try, for the history.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) trigger: Trigger,
    started_at: WallTime,
    pub(super) took: Duration,
    http_status: Option<u16>,
    response: Option<String>,
    pub(super) class: Class,
    error: String,
    why: &'static str,
}

impl Agent {
    pub(super) fn tried(&mut self, now: Moment, seq: Seq, steps: &[Step]) {
        // Whoever sent it without a word of its beginning sent it now at the latest.
        self.begun(now, seq, now.agent);
        // An end that nobody waits for belongs to a request of before; the failure has been judged.
        let Some(outcome) = self.judged(now, seq, steps) else { return };
        // Retries given back concern what is in flight as well.
        if let Some(give_back) = outcome.judgement.give_back {
            for flight in self.in_flight.values_mut().filter(|flight| flight.upstream == outcome.upstream) {
                if let Some(back) = give_back.of(&flight.dossier) {
                    flight.dossier = back;
                }
            }
        }
        report(&self.lines[outcome.upstream].config.name, &outcome);
        self.watch.stir();
        if outcome.judgement.decision.counts() {
            self.watch.counted(now.agent, &outcome.failure.entity_type, &outcome.failure.entity_id);
        }
        if self.settle.refusal().is_some() {
            self.unsettled.push(outcome);
            return;
        }
        // The error is kept by the round; the outcome is written again after it.
        let _ = self.write(|agent| agent.write_outcome(&outcome, true));
        self.round.outcomes.push(outcome);
    }

    /// Requests that could not be built end at once.
    pub(super) fn end_unbuilt(&mut self, now: Moment) {
        for (seq, ending) in std::mem::take(&mut self.unbuilt) {
            self.tried(now, seq, &[Step { kind: StepKind::Deliver, ending, took: Duration::ZERO }]);
        }
    }

    fn judged(&mut self, now: Moment, seq: Seq, steps: &[Step]) -> Option<Outcome> {
        let flight = self.in_flight.get(&seq)?;
        let last = steps.last()?;
        let route = routing::by(&self.config, &flight.failure);
        let order = filing::order_tag(&flight.failure, self.lines[flight.upstream].pace.ordering);
        let newest = self.store.ledger().newest_seq();
        let line = &mut self.lines[flight.upstream];
        if let Ending::Answered(Answer { date: Some(date), .. }) = &last.ending {
            line.state.clock_seen(*date, now.wall);
        }
        let reading =
            Reading { upstream: &line.config, route, id: flight.failure.id.as_str(), key: flight.failure.key() };
        let verdict = verdict_of(last, &reading, &line.target, now.wall);
        let end = Try {
            dossier: &flight.dossier,
            order: &order,
            recorded_at: flight.failure.recorded_at,
            attempt: flight.failure.attempts + 1,
            sent_at: flight.sent_at.agent,
            errand: flight.errand,
            verdict: &verdict,
            newest,
        };
        let rules = Rules { retry: &self.config.retry, pace: line.pace };
        let was = line.state.state(now.agent);
        let mut judgement = if last.kind == StepKind::Verify(Finding::There) {
            line.state.verified(now, flight.sent_at.agent, newest, line.pace, &mut self.random);
            Judgement::found(flight.dossier.clone())
        } else {
            judge(&end, &mut line.state, rules, now, &mut self.random)
        };
        announce(&line.config.name, was, line.state.state(now.agent), line.state.reason());
        let unsure = verdict.class == Class::Unsure || (flight.failure.unsure && !settles(steps));
        let holds = route.is_some_and(|route| route.on_unsure == OnUnsure::Hold);
        if holds && verdict.class == Class::Unsure && judgement.dossier.standing == Standing::Pending {
            judgement.dossier.standing = Standing::Held;
        }
        let tries = steps.iter().map(|step| tried_step(step, flight, &verdict, &judgement, now)).collect();
        Some(Outcome {
            tries,
            failure: Rc::clone(&flight.failure),
            upstream: flight.upstream,
            ended_at: now,
            http_status: status_of(&last.ending),
            verdict,
            judgement,
            unsure,
        })
    }

    pub(super) fn probed(&mut self, now: Moment, upstream: usize, end: &ProbeEnd, date: Option<WallTime>) {
        let Some(line) = self.lines.get_mut(upstream) else { return };
        let was = line.state.state(now.agent);
        line.state.probed(now, end, line.pace, &mut self.random);
        if let Some(date) = date {
            line.state.clock_seen(date, now.wall);
        }
        announce(&line.config.name, was, line.state.state(now.agent), line.state.reason());
    }

    // ---- what is written

    pub(super) fn write_outcome(&mut self, outcome: &Outcome, with_history: bool) -> Result<(), StoreError> {
        if with_history {
            self.write_tries(outcome)?;
        }
        let (failure, now, judgement) = (&outcome.failure, outcome.ended_at, &outcome.judgement);
        if judgement.decision == Decision::Accepted {
            let next = self.store.remove(failure, Leaving::Delivered, now.wall)?;
            self.round.deleted = true;
            return self.promote(now, next);
        }
        let filed = filing::filed(&judgement.dossier);
        let counted = (outcome.verdict.error.as_str(), outcome.http_status, outcome.verdict.class.as_str());
        let (due_at, next_retry_at, counted) = match judgement.decision {
            Decision::Accepted => return Ok(()),
            Decision::Uncounted { due_at } => (Some(due_at), None, None),
            Decision::Counted { wait, .. } => (Some(now.agent.after(wait)), Some(now.wall.after(wait)), Some(counted)),
            Decision::NeedsPerson { counted: true, .. } => (None, None, Some(counted)),
            Decision::NeedsPerson { counted: false, .. } => (None, None, None),
        };
        let after = AfterTry { filed: &filed, due_at, next_retry_at, unsure: outcome.unsure, counted };
        self.store.after_try(failure, now.wall, &after)?;
        let Some(give_back) = judgement.give_back else { return Ok(()) };
        let name = self.lines[outcome.upstream].config.name.clone();
        for other in self.store.counted_under(&name, give_back.accepted.0)? {
            if let Some(back) = give_back.of(&filing::dossier(&other)) {
                self.store.refile(other.seq, now, &filing::filed(&back))?;
            }
        }
        Ok(())
    }

    fn write_tries(&mut self, outcome: &Outcome) -> Result<(), StoreError> {
        let (counted, provisional) = match outcome.judgement.decision {
            Decision::Counted { provisional, .. } => (true, provisional),
            Decision::NeedsPerson { counted, provisional } => (counted, provisional),
            Decision::Accepted | Decision::Uncounted { .. } => (false, false),
        };
        let upstream = self.lines[outcome.upstream].config.name.clone();
        for (n, tried) in outcome.tries.iter().enumerate() {
            let decides = n + 1 == outcome.tries.len();
            self.store.keep_attempt(&Attempt {
                failure: &outcome.failure,
                trigger: tried.trigger,
                upstream: &upstream,
                started_at: tried.started_at,
                took: tried.took,
                http_status: tried.http_status,
                class: tried.class,
                error: (tried.class != Class::Delivered).then_some(tried.error.as_str()),
                response: tried.response.as_deref(),
                counted: counted && decides,
                provisional: provisional && decides,
                why: tried.why,
            })?;
        }
        Ok(())
    }

    /// The next of an order key becomes its head, and due when something made it so while it was
    /// blocked.
    pub(super) fn promote(&mut self, now: Moment, next: Option<Successor>) -> Result<(), StoreError> {
        let Some(next) = next.filter(|next| !next.head) else { return Ok(()) };
        let line = self.lines.iter().find(|line| Some(&line.config.name) == next.upstream.as_ref());
        let due_at = match line.map(|line| &line.state) {
            Some(state) if next.uncounted && next.due_at.is_some() && next.seq.0 <= state.opened_seq => Some(now.agent),
            Some(state) if next.due_at.is_none() && next.seq.0 <= state.contact_seq => {
                Some(next.recorded_at.after(LINE_WAIT).max(now.agent))
            }
            _ => next.due_at,
        };
        self.store.promote(next.seq, due_at)
    }

    /// Stores where upstreams stand, where that has changed.
    pub(super) fn keep_lines(&mut self, now: Moment) {
        for index in 0..self.lines.len() {
            let line = &self.lines[index];
            if line.stored.as_ref() == Some(&line.state) {
                continue;
            }
            let text = serde_json::to_string(&line.state).expect("a struct of numbers and texts has its JSON");
            let (name, ordering) = (line.config.name.clone(), line.ordering_word());
            let kept = self.write(|agent| agent.store.keep_upstream(&name, &text, ordering, now.wall));
            if kept.is_ok() {
                let line = &mut self.lines[index];
                line.stored = Some(line.state.clone());
            }
        }
    }
}

/// A step as the history keeps it.
fn tried_step(step: &Step, flight: &InFlight, verdict: &Verdict, judgement: &Judgement, now: Moment) -> Tried {
    let response = match &step.ending {
        Ending::Answered(answer) => Some(String::from_utf8_lossy(&answer.body).into_owned()),
        _ => None,
    };
    let trigger = match (step.kind, flight.errand) {
        (StepKind::Verify(_), _) => Trigger::Verify,
        (_, Errand::Canary { .. }) => Trigger::Probe,
        _ if flight.dossier.asked != Asked::No => Trigger::Manual,
        _ => Trigger::Auto,
    };
    let (class, error, why) = match step.kind {
        StepKind::Verify(Finding::There) => (Class::Delivered, String::new(), Why::Found),
        StepKind::Verify(Finding::NotThere) => (Class::Unsure, "it was not there yet".to_owned(), Why::NotThere),
        StepKind::Verify(Finding::NoWord) | StepKind::Deliver => (verdict.class, verdict.error.clone(), judgement.why),
    };
    Tried {
        trigger,
        started_at: now.wall.before(step.took).max(flight.sent_at.wall),
        took: step.took,
        http_status: status_of(&step.ending),
        response,
        class,
        error,
        why: why.as_str(),
    }
}

/// What the last step says. A question that could not be asked is no word about the failure, whatever
/// its status.
fn verdict_of(last: &Step, reading: &Reading, target: &Target, wall: WallTime) -> Verdict {
    let verdict = classify(&last.ending, target, reading, wall);
    match (last.kind, verdict.class) {
        (StepKind::Verify(Finding::NoWord), Class::Failed | Class::Refused | Class::Delivered) => {
            Verdict { class: Class::Unsure, ..verdict }
        }
        _ => verdict,
    }
}

/// Does a step tell that no earlier try had arrived?
fn settles(steps: &[Step]) -> bool {
    steps.iter().any(|step| step.kind == StepKind::Verify(Finding::NotThere))
}

fn status_of(ending: &Ending) -> Option<u16> {
    match ending {
        Ending::Answered(answer) => Some(answer.status),
        _ => None,
    }
}

fn announce(name: &str, was: &str, is: &str, reason: Option<&str>) {
    // A pause comes and goes with every no; it is not news.
    let quiet = |state: &str| matches!(state, "waiting" | "throttled" | "logging_in" | "online");
    if was != is && !(quiet(was) && quiet(is)) {
        log::info!("event=upstream upstream={name} state={is} was={was} reason={:?}", reason.unwrap_or_default());
    }
}

/// One line of the log a try; never a payload.
fn report(upstream: &str, outcome: &Outcome) {
    let (failure, why) = (&outcome.failure, outcome.judgement.why.as_str());
    let status = outcome.http_status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let (id, seq, class) = (&failure.id, failure.seq, outcome.verdict.class.as_str());
    let ms: u128 = outcome.tries.iter().map(|tried| tried.took.as_millis()).sum();
    let error = || cut(&outcome.verdict.error, 200);
    match outcome.judgement.decision {
        Decision::Accepted => {
            log::info!("event=delivered id={id} seq={seq} upstream={upstream} status={status} ms={ms}");
        }
        Decision::NeedsPerson { .. } => log::warn!(
            "event=critical id={id} seq={seq} upstream={upstream} status={status} class={class} retry_count={} why={why} error={:?}",
            outcome.judgement.dossier.retry_count,
            error()
        ),
        Decision::Counted { .. } | Decision::Uncounted { .. } => log::debug!(
            "event=not_delivered id={id} seq={seq} upstream={upstream} status={status} class={class} why={why} error={:?}",
            error()
        ),
    }
}

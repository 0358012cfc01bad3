//! Results: the end of an attempt is judged once, and its outcome is written until a commit succeeds.
//!
//! The failure stays in flight until then, so that neither it nor a successor is sent before the outcome is on disk.

use super::{Agent, Finding, Step, StepKind, retry_columns, routing};
use crate::config::route::OnUnsure;
use crate::ids::Seq;
use crate::limits::{MAX_ERROR, cut};
use crate::moment::{Moment, WallTime};
use crate::policy::answer_rules::Reading;
use crate::policy::backoff::CONTACT_GRACE;
use crate::policy::body::Body;
use crate::policy::class::{Class, Forwarded, Verdict, classify, error_text};
use crate::policy::ending::Answer;
use crate::policy::ending::Ending;
use crate::policy::ending::Target;
use crate::policy::judge::{Decision, Judgement, Rules, Try, judge};
use crate::policy::probe::ProbeEnd;
use crate::policy::retry_state::{RetryState, Standing};
use crate::policy::upstream::DispatchKind;
use crate::policy::why::Why;
use crate::record::{Asked, Disposition, Failure, Status, Trigger};
use crate::store::StoreError;
use crate::store::attempts::Attempt;
use crate::store::failures::{AttemptUpdate, Successor};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A failure whose request is in flight. In memory only: after a crash it is pending again.
#[derive(Debug)]
pub(super) struct InFlight {
    /// The failure as claimed, without its payload.
    pub(super) failure: Rc<Failure>,
    /// Its retry state; refunds update it while it is in flight.
    pub(super) retry_state: RetryState,
    pub(super) upstream: usize,
    /// When it was sent; until then, when it was claimed.
    pub(super) sent_at: Moment,
    pub(super) dispatch_kind: DispatchKind,
    /// It is prefetched and not yet sent ([`prefetch`](super::prefetch)).
    pub(super) ahead: bool,
}

/// The judged result of an attempt.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) failure: Rc<Failure>,
    pub(super) upstream: usize,
    pub(super) ended_at: Moment,
    /// The rows for the history, one per step.
    pub(super) tries: Vec<AttemptEnded>,
    verdict: Verdict,
    http_status: Option<u16>,
    pub(super) judgement: Judgement,
    /// The failure may have arrived.
    unsure: bool,
    /// Of one that was accepted: its line is made, so that a second write of this outcome makes no second one.
    pub(super) archived: Cell<bool>,
}

/// A step of an attempt, for the history.
#[derive(Debug)]
pub(super) struct AttemptEnded {
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
        // A sender that did not report the start must have sent the request by now.
        self.begun(now, seq, now.agent);
        // A result without a failure in flight belongs to an earlier request, which has been judged.
        let Some(outcome) = self.judged(now, seq, steps) else { return };
        // Refunds apply to failures in flight too.
        if let Some(refund) = outcome.judgement.refund {
            for flight in self.in_flight.values_mut().filter(|flight| flight.upstream == outcome.upstream) {
                if let Some(back) = refund.of(&flight.retry_state) {
                    flight.retry_state = back;
                }
            }
        }
        report(&self.upstreams[outcome.upstream].config.name, &outcome);
        self.watch.stir();
        // Outcomes are written in the order of arrival, because one may refund what another has counted.
        if self.write_recovery.refusal().is_some() || !self.unwritten_outcomes.is_empty() {
            self.unwritten_outcomes.push(outcome);
            return;
        }
        // The round keeps the error, and the outcome is written again afterwards.
        let _ = self.write(|agent| agent.write_outcome(&outcome, true));
        self.round.outcomes.push(outcome);
    }

    /// Ends requests that could not be built.
    pub(super) fn end_unbuilt(&mut self, now: Moment) {
        for (seq, ending) in std::mem::take(&mut self.unbuilt) {
            self.tried(now, seq, &[Step { kind: StepKind::Deliver, ending, took: Duration::ZERO }]);
        }
    }

    fn judged(&mut self, now: Moment, seq: Seq, steps: &[Step]) -> Option<Outcome> {
        let flight = self.in_flight.get(&seq)?;
        let last = steps.last()?;
        let route = routing::by(&self.config, &flight.failure);
        let order = retry_columns::order_tag(&flight.failure, self.upstreams[flight.upstream].pace.ordering);
        let newest = self.store.ledger().newest_seq();
        let line = &mut self.upstreams[flight.upstream];
        line.state.under_way.retain(|announced| *announced != seq);
        if let Ending::Answered(Answer { date: Some(date), .. }) = &last.ending {
            line.state.clock_seen(*date, now.wall);
        }
        let reading =
            Reading { upstream: &line.config, route, id: flight.failure.id.as_str(), key: flight.failure.key() };
        let verdict = verdict_of(last, &reading, &line.target, now.wall);
        let end = Try {
            retry_state: &flight.retry_state,
            order: &order,
            recorded_at: flight.failure.recorded_at,
            attempt: flight.failure.attempts + 1,
            sent_at: flight.sent_at.agent,
            dispatch_kind: flight.dispatch_kind,
            verdict: &verdict,
            newest,
        };
        let rules = Rules { retry: &self.config.retry, pace: line.pace };
        let was = line.state.state(now.agent);
        let mut judgement = if last.kind == StepKind::Verify(Finding::There) {
            line.state.verified(now, flight.sent_at.agent, newest, line.pace, &mut self.random);
            Judgement::found(flight.retry_state.clone())
        } else {
            judge(&end, &mut line.state, rules, now, &mut self.random)
        };
        if judgement.why == Why::Accepted && flight.failure.is_handed_over() {
            judgement.why = Why::HandedOver;
        }
        announce(&line.config.name, was, line.state.state(now.agent), line.state.reason());
        let (in_doubt, holds) = doubt(route.map(|route| route.on_unsure), last, verdict.class);
        let unsure = in_doubt || (flight.failure.unsure && !settles(steps));
        // Also on a second chance, and when the next one would only come later.
        if holds {
            judgement.retry_state.standing = Standing::Held;
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
            archived: Cell::new(false),
        })
    }

    pub(super) fn probed(&mut self, now: Moment, upstream: usize, end: &ProbeEnd, date: Option<WallTime>) {
        let Some(line) = self.upstreams.get_mut(upstream) else { return };
        let was = line.state.state(now.agent);
        line.state.probed(now, end, line.pace, &mut self.random);
        if let Some(date) = date {
            line.state.clock_seen(date, now.wall);
        }
        announce(&line.config.name, was, line.state.state(now.agent), line.state.reason());
    }

    // ---- writing

    pub(super) fn write_outcome(&mut self, outcome: &Outcome, with_history: bool) -> Result<(), StoreError> {
        if with_history {
            self.write_tries(outcome)?;
        }
        let (failure, now, judgement) = (&outcome.failure, outcome.ended_at, &outcome.judgement);
        if judgement.decision == Decision::Accepted {
            self.keep_delivered(outcome)?;
            let next = self.store.remove(failure, Disposition::Delivered, now.wall)?;
            self.round.deleted = true;
            return self.promote(now, next);
        }
        let retry_columns = retry_columns::retry_columns(&judgement.retry_state);
        let counted = (outcome.verdict.error.as_str(), outcome.http_status, outcome.verdict.class.as_str());
        let (due_at, next_retry_at, counted) = match judgement.decision {
            Decision::Accepted => return Ok(()),
            Decision::Uncounted { due_at } if retry_columns.status == Status::Pending => {
                (Some(due_at), Some(now.wall.after(due_at.since(now.agent))), None)
            }
            Decision::Counted { wait, .. } => (Some(now.agent.after(wait)), Some(now.wall.after(wait)), Some(counted)),
            Decision::NeedsPerson { counted: true, .. } => (None, None, Some(counted)),
            // The failure is held or critical.
            Decision::Uncounted { .. } | Decision::NeedsPerson { counted: false, .. } => (None, None, None),
        };
        let after =
            AttemptUpdate { retry_columns: &retry_columns, due_at, next_retry_at, unsure: outcome.unsure, counted };
        self.store.record_attempt_result(failure, now.wall, &after)?;
        let Some(refund) = judgement.refund else { return Ok(()) };
        let name = self.upstreams[outcome.upstream].config.name.clone();
        for other in self.store.refundable_under(&name, refund.accepted.0)? {
            if let Some(back) = refund.of(&retry_columns::retry_state(&other)) {
                self.store.update_retry_state(other.seq, now, &retry_columns::retry_columns(&back))?;
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
        let upstream = self.upstreams[outcome.upstream].config.name.clone();
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
                // The response to an accepted attempt is never needed later and would fill the history.
                response: tried.response.as_deref().filter(|_| tried.class != Class::Delivered),
                counted: counted && decides,
                provisional: provisional && decides,
                why: tried.why,
            })?;
        }
        Ok(())
    }

    /// Makes the next failure of an order key its head, and due if something made it due while it was blocked.
    pub(super) fn promote(&mut self, now: Moment, next: Option<Successor>) -> Result<(), StoreError> {
        let Some(next) = next.filter(|next| !next.head) else { return Ok(()) };
        let line = self.upstreams.iter().find(|line| Some(&line.config.name) == next.upstream.as_ref());
        if line.is_none() && next.upstream.is_some() && !self.upstreams.is_empty() {
            // Its upstream is not configured.
            if let Some(failure) = self.store.by_seq(next.seq)? {
                self.rehome(now, &failure)?;
            }
            return Ok(());
        }
        let due_at = match line.map(|line| &line.state) {
            Some(state) if next.uncounted && next.due_at.is_some() && state.has_swept(next.seq, next.last_sent_at) => {
                Some(next.retry_after_until.map_or(now.agent, |bound| bound.max(now.agent)))
            }
            Some(state) if next.due_at.is_none() && next.seq.0 <= state.contact_seq => {
                Some(next.recorded_at.after(CONTACT_GRACE).max(now.agent))
            }
            _ => next.due_at,
        };
        self.store.promote(next.seq, due_at)
    }

    /// Stores the upstreams whose state has changed.
    pub(super) fn keep_lines(&mut self, now: Moment) {
        for index in 0..self.upstreams.len() {
            let line = &self.upstreams[index];
            if line.stored.as_ref() == Some(&line.state) {
                continue;
            }
            // The round keeps the error.
            let _ = self.write(|agent| agent.keep_line(now, index));
        }
    }

    /// Stores the state of one upstream.
    pub(super) fn keep_line(&mut self, now: Moment, index: usize) -> Result<(), StoreError> {
        let line = &mut self.upstreams[index];
        let text = serde_json::to_string(&line.state).expect("a struct of numbers and texts has its JSON");
        self.store.keep_upstream(&line.config.name, &text, line.ordering_word(), now.wall)?;
        line.stored = Some(line.state.clone());
        Ok(())
    }
}

/// Converts a step to its history row.
fn tried_step(step: &Step, flight: &InFlight, verdict: &Verdict, judgement: &Judgement, now: Moment) -> AttemptEnded {
    let response = match &step.ending {
        Ending::Answered(answer) => Some(String::from_utf8_lossy(&answer.body).into_owned()),
        _ => None,
    };
    let trigger = match (step.kind, flight.dispatch_kind) {
        (StepKind::Verify(_), _) => Trigger::Verify,
        (_, DispatchKind::Canary { .. }) => Trigger::Probe,
        _ if flight.retry_state.asked != Asked::No => Trigger::Manual,
        _ => Trigger::Auto,
    };
    let (class, error, why) = match step.kind {
        StepKind::Verify(Finding::There) => (Class::Delivered, String::new(), Why::Found),
        StepKind::Verify(Finding::NotThere) => (Class::Unsure, "it was not there yet".to_owned(), Why::NotThere),
        StepKind::Verify(Finding::Inconclusive) | StepKind::Deliver => {
            (verdict.class, verdict.error.clone(), judgement.why)
        }
    };
    AttemptEnded {
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

/// The verdict on the last step. A failed query never counts against the failure, whatever its status.
fn verdict_of(last: &Step, reading: &Reading, target: &Target, wall: WallTime) -> Verdict {
    let verdict = classify(&last.ending, target, reading, wall);
    let (StepKind::Verify(Finding::Inconclusive), Class::Failed | Class::Refused | Class::Delivered) =
        (last.kind, verdict.class)
    else {
        return verdict;
    };
    let read = match &last.ending {
        Ending::Answered(answer) if answer.status / 100 == 2 => {
            Body::of(answer).json().map(drop).map_err(str::to_owned)
        }
        _ => Ok(()),
    };
    match read {
        Ok(()) => {
            // An answer with 2xx that is no result has no error of the table.
            let said = || match &last.ending {
                Ending::Answered(answer) => error_text(&Body::of(answer)),
                _ => String::new(),
            };
            let error = if verdict.error.is_empty() { said() } else { verdict.error };
            let error = cut(&format!("the answer to the verify question is an error: {error}"), MAX_ERROR);
            Verdict { class: Class::Unsure, error, ..verdict }
        }
        Err(why) => {
            let error = cut(&format!("the answer to the verify question cannot be read: {why}"), MAX_ERROR);
            Verdict { class: Class::Unsure, error, unreadable: true, ..verdict }
        }
    }
}

/// Returns whether the request may have arrived, and whether its route holds it for that. A gateway's time-out is one; what
/// a gateway may have passed on otherwise matters only where the route asks or holds.
fn doubt(on_unsure: Option<OnUnsure>, last: &Step, class: Class) -> (bool, bool) {
    let gateways = last.kind == StepKind::Deliver && class == Class::Busy;
    let forwarded = if gateways { Forwarded::by(status_of(&last.ending)) } else { Forwarded::Unknown };
    let asks_or_holds = matches!(on_unsure, Some(OnUnsure::Verify | OnUnsure::Hold));
    let is_unanswered = class == Class::Unsure || forwarded == Forwarded::Unanswered;
    let in_doubt = is_unanswered || (asks_or_holds && forwarded == Forwarded::Perhaps);
    (in_doubt, is_unanswered && on_unsure == Some(OnUnsure::Hold))
}

/// Returns whether a step shows that no earlier attempt had arrived.
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
    // Backoff begins and ends with every failed attempt, so it is not reported.
    let quiet = |state: &str| matches!(state, "waiting" | "throttled" | "logging_in" | "online");
    if was != is && !(quiet(was) && quiet(is)) {
        log::info!("event=upstream upstream={name} state={is} was={was} reason={:?}", reason.unwrap_or_default());
    }
}

/// Logs an attempt as one line, without its payload.
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
            outcome.judgement.retry_state.retry_count,
            error()
        ),
        Decision::Counted { .. } | Decision::Uncounted { .. } => log::debug!(
            "event=delivery_failed id={id} seq={seq} upstream={upstream} status={status} class={class} why={why} error={:?}",
            error()
        ),
    }
}

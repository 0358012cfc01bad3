//! Claiming what is due, and what becomes of a try.
//!
//! A try's end is *decided* once, when it comes in ([`Outcome`]), and *written* until a commit
//! succeeds. Its failure stays in flight until then, so that neither it nor a successor is sent
//! while the disk does not know.

use super::{Agent, Dispatch, Effect, Line};
use crate::ids::Seq;
use crate::limits::cut;
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::backoff::LINE_WAIT;
use crate::policy::class::{Class, Ending, Verdict, classify};
use crate::policy::probe::ProbeEnd;
use crate::record::{Asked, Failure, Leaving, Status, Trigger};
use crate::store::StoreError;
use crate::store::attempts::Attempt;
use crate::store::failures::{AfterTry, Count, Successor};
use crate::wire::envelope::envelope;
use crate::wire::fields::{Code, Rejection};
use std::time::Duration;

/// A failure whose request is under way. Memory only: after a crash it is pending again.
#[derive(Debug)]
pub(super) struct InFlight {
    /// As it was claimed, without its payload.
    failure: Failure,
    upstream: usize,
    sent_at: Moment,
}

/// A try that has ended, decided.
#[derive(Debug)]
pub(super) struct Outcome {
    failure: Failure,
    upstream: String,
    started_at: WallTime,
    took: Duration,
    ended_at: Moment,
    http_status: Option<u16>,
    response: Option<String>,
    verdict: Verdict,
    decision: Decision,
}

/// What becomes of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// It leaves.
    Accepted,
    /// It cost no retry.
    Uncounted(Excuse),
    /// It cost a retry; it waits.
    Counted { retry_count: u32, wait: Duration },
    /// It cost a retry; a person has to act.
    NeedsPerson { retry_count: u32 },
}

/// Why a try was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excuse {
    /// The answer, or its absence, says nothing about the failure.
    Line,
    /// The upstream is offline: what was under way when it went is not held against anybody.
    Offline,
}

impl Decision {
    /// As it is kept with the attempt; `show` has the words for it.
    fn why(self, class: Class) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Uncounted(Excuse::Line) => "line",
            Self::Uncounted(Excuse::Offline) => "offline",
            Self::Counted { .. } | Self::NeedsPerson { .. } if class == Class::Refused => "refused",
            Self::Counted { .. } => "failed",
            Self::NeedsPerson { .. } => "last_retry",
        }
    }
}

/// Writing the outcomes whose commit failed: when to try again, and what is said meanwhile.
#[derive(Debug, Default)]
pub(super) struct Settling {
    failures: u32,
    next: Option<AgentTime>,
    /// The file has to be opened anew first.
    reopen: bool,
    without_history: bool,
}

impl Settling {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(10);

    /// What a record gets while the file has to be opened anew.
    pub(super) fn refusal(&self) -> Option<Rejection> {
        self.reopen.then(|| {
            Rejection::new(Code::Storage, "the database failed and is being opened again; send it again shortly")
        })
    }

    /// Is anything still to be written, or the file to be opened anew?
    pub(super) fn refuses(&self) -> bool {
        self.next.is_some()
    }

    fn postpone(&mut self, now: AgentTime) {
        let wait = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures += 1;
        self.next = Some(now.after(wait));
    }
}

impl Agent {
    // ---- what comes back

    pub(super) fn tried(&mut self, now: Moment, seq: Seq, ending: &Ending, took: Duration) {
        // An end that nobody waits for belongs to a request of before; the failure has been judged.
        let Some(flight) = self.in_flight.get(&seq) else { return };
        let Some(line) = self.lines.get_mut(flight.upstream) else { return };
        let verdict = classify(ending, &line.target, now.wall);
        let was_offline = line.state.is_offline();
        line.state.ended(now, flight.sent_at.agent, &verdict, line.pace, &mut self.random);
        let (http_status, response) = match ending {
            Ending::Answered(answer) => {
                if let Some(date) = answer.date {
                    line.state.clock_seen(date, now.wall);
                }
                (Some(answer.status), Some(String::from_utf8_lossy(&answer.body).into_owned()))
            }
            _ => (None, None),
        };
        let outcome = Outcome {
            decision: decide(&self.retry, &flight.failure, &verdict, was_offline, &mut self.random),
            failure: flight.failure.clone(),
            upstream: line.config.name.clone(),
            started_at: flight.sent_at.wall,
            took,
            ended_at: now,
            http_status,
            response,
            verdict,
        };
        report(&outcome);
        // The error is kept by the round; the outcome is written again after it.
        let _ = self.write(|agent| agent.write_outcome(&outcome, true));
        self.round.outcomes.push(outcome);
    }

    pub(super) fn probed(&mut self, now: Moment, upstream: usize, end: &ProbeEnd, date: Option<WallTime>) {
        let Some(line) = self.lines.get_mut(upstream) else { return };
        let before = line.state.state(now.agent);
        line.state.probed(now, end, line.pace, &mut self.random);
        if let Some(date) = date {
            line.state.clock_seen(date, now.wall);
        }
        let after = line.state.state(now.agent);
        if before != after {
            let reason = line.state.reason().unwrap_or_default();
            log::info!("event=upstream upstream={} state={after} was={before} reason={reason:?}", line.config.name);
        }
    }

    // ---- what is written

    fn write_outcome(&mut self, outcome: &Outcome, with_history: bool) -> Result<(), StoreError> {
        if with_history {
            self.write_attempt(outcome)?;
        }
        let (failure, now) = (&outcome.failure, outcome.ended_at);
        let counted = |retry_count| Count {
            retry_count,
            error: &outcome.verdict.error,
            http_status: outcome.http_status,
            error_class: outcome.verdict.class.as_str(),
        };
        let after = match outcome.decision {
            Decision::Accepted => {
                let next = self.store.remove(failure, Leaving::Delivered, now.wall)?;
                self.round.deleted = true;
                return self.promote(now, next);
            }
            // Due again at once; the upstream's pause decides when that is.
            Decision::Uncounted(_) => {
                AfterTry { status: Status::Pending, due_at: Some(now.agent), next_retry_at: None, count: None }
            }
            Decision::Counted { retry_count, wait } => AfterTry {
                status: Status::Pending,
                due_at: Some(now.agent.after(wait)),
                next_retry_at: Some(now.wall.after(wait)),
                count: Some(counted(retry_count)),
            },
            Decision::NeedsPerson { retry_count } => AfterTry {
                status: Status::Critical,
                due_at: None,
                next_retry_at: None,
                count: Some(counted(retry_count)),
            },
        };
        self.store.after_try(failure.seq, now.wall, &after)
    }

    fn write_attempt(&mut self, outcome: &Outcome) -> Result<(), StoreError> {
        let class = outcome.verdict.class;
        self.store.keep_attempt(&Attempt {
            failure: &outcome.failure,
            trigger: if outcome.failure.asked == Asked::No { Trigger::Auto } else { Trigger::Manual },
            upstream: &outcome.upstream,
            started_at: outcome.started_at,
            took: outcome.took,
            http_status: outcome.http_status,
            class,
            error: (outcome.decision != Decision::Accepted).then_some(outcome.verdict.error.as_str()),
            response: outcome.response.as_deref(),
            counted: matches!(outcome.decision, Decision::Counted { .. } | Decision::NeedsPerson { .. }),
            why: outcome.decision.why(class),
        })
    }

    /// The next of an order key becomes its head, and due when something made it so while it was
    /// blocked.
    pub(super) fn promote(&mut self, now: Moment, next: Option<Successor>) -> Result<(), StoreError> {
        let Some(next) = next else { return Ok(()) };
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

    /// The round's outcomes are on disk.
    pub(super) fn land(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.in_flight.remove(&outcome.failure.seq);
        }
        if self.settle.next.is_none() {
            self.settle = Settling::default();
        }
    }

    /// The round was not committed: its outcomes are tried again alone.
    pub(super) fn fail(&mut self, now: Moment, outcomes: Vec<Outcome>, error: &StoreError) {
        self.unsettled.extend(outcomes);
        for line in &mut self.lines {
            line.stored.clear(); // Whatever of it was written in this round is not there.
        }
        match error {
            // Giving up the attempt's row lets the deletion through at the hard limit.
            StoreError::Full(_) => self.settle.without_history = self.settle.failures > 0,
            StoreError::Locked(_) => {}
            StoreError::Failed(_) => self.settle.reopen = true,
        }
        self.settle.postpone(now.agent);
    }

    /// Opens the file again where that is needed, and writes what could not be written.
    pub(super) fn settle_again(&mut self, now: Moment) {
        let due = self.settle.next.is_some_and(|at| at <= now.agent);
        if !due || self.round.failed.is_some() {
            return;
        }
        if self.settle.reopen && !self.store.in_round() {
            if let Err(error) = self.store.reopen(now.wall) {
                log::error!("event=reopen_failed error={:?}", error.to_string());
                self.settle.postpone(now.agent);
                return;
            }
            log::warn!("event=reopened");
            self.settle.reopen = false;
        }
        if self.settle.reopen {
            return;
        }
        self.settle.next = None;
        let outcomes = std::mem::take(&mut self.unsettled);
        let with_history = !self.settle.without_history;
        let written =
            self.write(|agent| outcomes.iter().try_for_each(|outcome| agent.write_outcome(outcome, with_history)));
        if written.is_ok() {
            self.settle.without_history = false;
        }
        self.round.outcomes.extend(outcomes);
    }

    /// Stores where upstreams stand, where that has changed.
    pub(super) fn keep_lines(&mut self, now: Moment) {
        for index in 0..self.lines.len() {
            let line = &self.lines[index];
            let text = serde_json::to_string(&line.state).expect("a struct of numbers and texts has its JSON");
            if text == line.stored {
                continue;
            }
            let kept = self.write(|agent| agent.store.keep_upstream(&agent.lines[index].config.name, &text, now.wall));
            if kept.is_ok() {
                self.lines[index].stored = text;
            }
        }
    }

    // ---- what goes out

    /// Claims what may be sent now, probes, and says when to come back. Reads only.
    pub(super) fn schedule(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let mut next: Vec<AgentTime> = self.settle.next.into_iter().chain(self.upkeep_due(now.agent)).collect();
        if !self.stopping && self.unsettled.is_empty() && !self.settle.reopen {
            for index in 0..self.lines.len() {
                match self.claim(now, index, effects) {
                    Ok(deadline) => next.extend(deadline),
                    Err(error) => {
                        log::error!("event=claim_failed error={:?}", error.to_string());
                        self.settle.reopen = matches!(error, StoreError::Failed(_));
                        self.settle.postpone(now.agent);
                        next.extend(self.settle.next);
                    }
                }
            }
        }
        self.next = next.into_iter().min();
    }

    /// Claims for one upstream; when to look again.
    fn claim(&mut self, now: Moment, index: usize, effects: &mut Vec<Effect>) -> Result<Option<AgentTime>, StoreError> {
        let line = &self.lines[index];
        let slots = line.state.slots(now.agent, line.pace);
        let mut deadlines = Vec::new();
        if slots > 0 {
            let found = self.due(now, index, slots)?;
            let sent = found.len();
            for failure in found {
                effects.push(self.dispatch(now, index, failure));
            }
            if sent == self.retry.batch {
                deadlines.push(now.agent); // There may be more.
            } else if sent < slots {
                let line = &self.lines[index];
                deadlines.extend(self.store.next_due(&line.config.name, now.agent)?);
                deadlines.extend(
                    self.store
                        .next_by_line(&line.config.name, line.state.contact_seq, now.agent.before(LINE_WAIT))?
                        .map(|at| at.after(LINE_WAIT)),
                );
            }
        }
        let newest = self.store.ledger().newest_seq();
        let line = &mut self.lines[index];
        if self.store.waits_for_line(&line.config.name, line.state.contact_seq)? {
            line.state.overtaken(now.agent);
        }
        if line.state.probe_due(now.agent) {
            line.state.probe_sent(now.agent, newest);
            effects.push(Effect::Probe { upstream: index });
        }
        deadlines.extend(line.state.deadline(now.agent, true));
        Ok(deadlines.into_iter().min())
    }

    /// The next `slots` failures that may go, by the time at which they became due.
    fn due(&self, now: Moment, index: usize, slots: usize) -> Result<Vec<Failure>, StoreError> {
        let line = &self.lines[index];
        let name = &line.config.name;
        // Those in flight stand in the index too.
        let slots = slots.min(self.retry.batch);
        let limit = slots + self.in_flight.len();
        let mut found = self.store.due(name, now.agent, limit)?;
        found.extend(self.store.due_by_line(name, line.state.contact_seq, now.agent.before(LINE_WAIT), limit)?);
        found.retain(|failure| !self.in_flight.contains_key(&failure.seq));
        found.sort_by_key(|failure| {
            (failure.due_at.unwrap_or_else(|| failure.recorded_at.after(LINE_WAIT)), failure.seq)
        });
        found.truncate(slots);
        Ok(found)
    }

    fn dispatch(&mut self, now: Moment, index: usize, mut failure: Failure) -> Effect {
        let line: &mut Line = &mut self.lines[index];
        line.state.sent();
        let (seq, request) = (failure.seq, envelope(&failure, &line.config.url));
        failure.payload = None;
        self.in_flight.insert(seq, InFlight { failure, upstream: index, sent_at: now });
        Effect::Send(Box::new(Dispatch { seq, upstream: index, request }))
    }
}

/// The count of `spec/03`: an answer about the failure costs a retry, everything else does not.
fn decide(
    retry: &crate::config::Retry,
    failure: &Failure,
    verdict: &Verdict,
    offline: bool,
    random: &mut fastrand::Rng,
) -> Decision {
    let retry_count = failure.retry_count.saturating_add(1);
    match verdict.class {
        Class::Delivered => Decision::Accepted,
        Class::Refused => Decision::NeedsPerson { retry_count },
        Class::Failed if offline => Decision::Uncounted(Excuse::Offline),
        Class::Failed if retry.used_up(retry_count) || failure.asked == Asked::OneShot => {
            Decision::NeedsPerson { retry_count }
        }
        Class::Failed => {
            let step = retry.wait(retry_count, random);
            Decision::Counted { retry_count, wait: step.max(verdict.retry_after.unwrap_or_default()) }
        }
        Class::Unreachable | Class::Throttled | Class::Busy | Class::Unsure | Class::Misconfigured => {
            Decision::Uncounted(Excuse::Line)
        }
    }
}

/// One line of the log a try; never a payload.
fn report(outcome: &Outcome) {
    let (failure, upstream, ms) = (&outcome.failure, &outcome.upstream, outcome.took.as_millis());
    let status = outcome.http_status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let (id, seq, class) = (&failure.id, failure.seq, outcome.verdict.class.as_str());
    match outcome.decision {
        Decision::Accepted => {
            log::info!("event=delivered id={id} seq={seq} upstream={upstream} status={status} ms={ms}");
        }
        Decision::NeedsPerson { retry_count } => log::warn!(
            "event=critical id={id} seq={seq} upstream={upstream} status={status} class={class} retry_count={retry_count} error={:?}",
            cut(&outcome.verdict.error, 200)
        ),
        Decision::Counted { .. } | Decision::Uncounted(_) => log::debug!(
            "event=not_delivered id={id} seq={seq} upstream={upstream} status={status} class={class} why={} error={:?}",
            outcome.decision.why(outcome.verdict.class),
            cut(&outcome.verdict.error, 200)
        ),
    }
}

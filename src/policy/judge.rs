//! Was it the record or the upstream? Decides what the end of an attempt changes for its failure and its upstream.
//!
//! [`judge`] is called once for each attempt that ends. The class says what happened. A response about the failure
//! uses a retry; any other result does not, unless the upstream accepted others meanwhile and chance cannot explain
//! it (contrast). While the upstream is unavailable, only a rejection counts. When counted attempts of a second order
//! key follow without an acceptance in between, the upstream is at fault and the retries are refunded.
//!
//! The upstream is changed in place. What becomes of the failure is returned as a value, with the one thing that
//! concerns others ([`Refund`]). All other effects on others (confirmed counts, renewed chances, a sweep after
//! recovery, the extra attempt of critical failures) follow from numbers in the upstream and change no rows now.

use crate::config::Retry;
use crate::config::upstream::Ordering;
use crate::limits::cut;
use crate::moment::{AgentTime, Moment};
use crate::policy::class::{Class, Verdict};
use crate::policy::ending::Contact;
use crate::policy::evidence::Fault;
use crate::policy::order_tag::OrderTag;
use crate::policy::pace::Pace;
use crate::policy::retry_state::{Cause, Refund, RetryState, Standing};
use crate::policy::upstream::attempts::AttemptSummary;
use crate::policy::upstream::{DispatchKind, Upstream};
use crate::policy::why::Why;
use crate::record::Asked;
use std::time::Duration;

/// A throttled failure is counted by contrast only when it is older, because a daily quota is not its fault.
const THROTTLED_AGE: Duration = Duration::from_hours(24);
/// Maximum length of the error text that is stored with a failure that the upstream defers.
const MOST_WORDS: usize = 300;
/// Minimum delay between attempts of a failure that the upstream defers, until it reaches that age.
const SINGLED_OUT_WAIT: Duration = Duration::from_mins(5);
/// This many misconfigured responses, while others are accepted, show that the record is at fault.
const MISCONFIGURED_TIMES: u32 = 2;

/// The end of one attempt, as input to [`judge`].
#[derive(Clone, Copy, Debug)]
pub struct Try<'a> {
    /// Retry state of the failure.
    pub retry_state: &'a RetryState,
    /// Order key of the failure.
    pub order: &'a OrderTag,
    /// Time of recording.
    pub recorded_at: AgentTime,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Time of sending.
    pub sent_at: AgentTime,
    /// Why it was sent, as returned by [`Upstream::sent`].
    pub dispatch_kind: DispatchKind,
    /// Classification of its result.
    pub verdict: &'a Verdict,
    /// The newest sequence number: the upper bound of a sweep after recovery.
    pub newest: i64,
}

/// The configuration that applies.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The section `[retry]`.
    pub retry: &'a Retry,
    /// The upstream's section.
    pub pace: Pace,
}

/// The decision about the failure of an attempt that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The new retry state; irrelevant if the failure was accepted.
    pub retry_state: RetryState,
    /// What becomes of the failure.
    pub decision: Decision,
    /// The reason, for the history.
    pub why: Why,
    /// The upstream was at fault: retries of others are refunded in the same transaction.
    pub refund: Option<Refund>,
}

impl Judgement {
    /// A verification found that an earlier attempt had arrived.
    #[must_use]
    pub fn found(retry_state: RetryState) -> Self {
        Self { retry_state, decision: Decision::Accepted, why: Why::Found, refund: None }
    }
}

/// What becomes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is removed as delivered.
    Accepted,
    /// No retry was used; it is sent again at this time or when the upstream recovers.
    Uncounted {
        /// The earliest time, as far as currently known.
        due_at: AgentTime,
    },
    /// A retry was used; it waits.
    Counted {
        /// Delay until the next attempt.
        wait: Duration,
        /// The retry may be refunded.
        provisional: bool,
    },
    /// It needs an operator.
    NeedsPerson {
        /// A retry was used.
        counted: bool,
        /// The retry may be refunded.
        provisional: bool,
    },
}

impl Decision {
    /// Returns whether a retry was used.
    #[must_use]
    pub fn counts(self) -> bool {
        match self {
            Self::Counted { .. } => true,
            Self::NeedsPerson { counted, .. } => counted,
            Self::Accepted | Self::Uncounted { .. } => false,
        }
    }
}

/// Decides about one attempt and updates the upstream. `now` is the time at which the attempt ended.
pub fn judge(end: &Try, upstream: &mut Upstream, rules: Rules, now: Moment, random: &mut fastrand::Rng) -> Judgement {
    let was_shut = upstream.is_shut();
    let canary = matches!(end.dispatch_kind, DispatchKind::Canary { .. });
    let heard = AttemptSummary { sent_at: end.sent_at, attempt: end.attempt, verdict: end.verdict, newest: end.newest };
    upstream.heard(now, heard, rules.pace, random);

    let accepted = upstream.evidence().accepted();
    let others_got_through = end.retry_state.others_got_through(accepted);
    let mut retry_state = end.retry_state.clone();
    retry_state.note(end.verdict.class, end.sent_at, accepted);
    let mut case = Case {
        end,
        heard,
        rules,
        now,
        nothing_counts: was_shut || canary,
        last_chance: retry_state.standing == Standing::SecondChance,
        others_got_through,
        own_wait: None,
        retry_state,
        upstream,
        random,
        refund: None,
    };
    let (decision, why) = match end.verdict.class {
        Class::Delivered => case.delivered(),
        Class::Refused => case.refused(),
        Class::Failed => case.failed(),
        Class::Unreachable => case.unreachable(),
        Class::Throttled | Class::Busy | Class::Unsure | Class::Misconfigured => case.unclear(),
    };
    let Case { mut retry_state, refund, .. } = case;
    retry_state.bound_by = retry_state.retry_after_until.map(|_| cut(&end.verdict.error, MOST_WORDS));
    if canary {
        upstream.canary_ended(now.agent, random);
    }
    Judgement { retry_state, decision, why, refund }
}

/// Working state of one call of [`judge`].
struct Case<'a> {
    end: &'a Try<'a>,
    heard: AttemptSummary<'a>,
    rules: Rules<'a>,
    now: Moment,
    /// The upstream was unavailable, or this attempt was a canary.
    nothing_counts: bool,
    /// It was the extra attempt of a failure whose retries are exhausted.
    last_chance: bool,
    /// The upstream has accepted another failure since the previous attempt of this one.
    others_got_through: bool,
    /// Only this failure waits, until this time, because the upstream accepts most of the others.
    own_wait: Option<AgentTime>,
    retry_state: RetryState,
    upstream: &'a mut Upstream,
    random: &'a mut fastrand::Rng,
    refund: Option<Refund>,
}

type Outcome = (Decision, Why);

impl Case<'_> {
    // ---- class by class

    fn delivered(&mut self) -> Outcome {
        let badly = self.end.retry_state.had_error_response;
        self.upstream.accepted(self.now, self.heard, badly, self.rules.pace, self.random);
        (Decision::Accepted, Why::Accepted)
    }

    /// It counts even while the upstream is unavailable, and is never refunded.
    fn refused(&mut self) -> Outcome {
        self.retry_state.count_for_good();
        self.retry_state.standing = Standing::Critical(Cause::Hopeless);
        let decision = Decision::NeedsPerson { counted: true, provisional: false };
        if self.end.verdict.contact == Contact::None {
            return (decision, Why::InvalidRequest); // Nothing was sent, so this is no evidence about the upstream.
        }
        self.upstream.yes(self.now.agent, self.end.sent_at, self.rules.pace, self.random);
        if self.upstream.evidence_mut().refuse(self.end.order) == Fault::Upstream {
            self.fail_upstream("it refused ten failures in a row, each with another order key");
        }
        (decision, Why::Refused)
    }

    fn failed(&mut self) -> Outcome {
        self.upstream.yes(self.now.agent, self.end.sent_at, self.rules.pace, self.random);
        if self.nothing_counts {
            return self.uncounted(Why::Shut);
        }
        if self.last_chance {
            return self.critical_again();
        }
        let why = if self.retry_state.asked == Asked::OneShot { Why::OneShot } else { Why::Failed };
        let outcome = self.count(why, Why::LastRetry);
        let suspicious = self.has_chance() || self.rules.pace.ordering == Ordering::Strict;
        if suspicious
            && self.upstream.evidence_mut().suspect(self.end.order, self.rules.pace.ordering) == Fault::Upstream
        {
            let reason = format!("nothing is accepted any more; the last answer was: {}", self.end.verdict.error);
            return self.fail_upstream(&reason);
        }
        outcome
    }

    fn unreachable(&mut self) -> Outcome {
        self.no();
        // The upstream was not reached, so an extra attempt is not used up either.
        self.waits(Why::Unreachable)
    }

    /// Inconclusive responses. They count by contrast only.
    fn unclear(&mut self) -> Outcome {
        if self.end.verdict.unreadable {
            return self.unreadable();
        }
        let class = self.end.verdict.class;
        let contrast = self.is_contrast();
        let young = self.now.agent.since(self.end.recorded_at) <= THROTTLED_AGE;
        match class {
            Class::Throttled if contrast && young => {
                self.no();
                let wait = self.end.verdict.retry_after.unwrap_or_default().max(SINGLED_OUT_WAIT);
                self.retry_state.retry_after_until = Some(self.now.agent.after(wait));
                self.waits(Why::SingledOut)
            }
            _ if contrast => {
                self.upstream.neither(self.now.agent, self.random);
                self.count(Why::Contrast, Why::LastByContrast)
            }
            Class::Misconfigured => {
                self.upstream.block(self.now, &self.end.verdict.error, self.random);
                self.uncounted(Why::Misconfigured)
            }
            Class::Throttled => {
                self.no();
                self.uncounted(Why::Throttled)
            }
            Class::Unsure => {
                self.no();
                self.uncounted(Why::Unsure)
            }
            _ => {
                self.no();
                self.uncounted(Why::Busy)
            }
        }
    }

    /// The failure may have been accepted or rejected, but the response cannot be read. The record is never at
    /// fault for that, so it does not count by contrast either. If it persists, an operator has to act.
    fn unreadable(&mut self) -> Outcome {
        self.no();
        if self.upstream.evidence_mut().unreadable(self.end.order) == Fault::Upstream {
            let reason = format!("its answers cannot be understood: {}", self.end.verdict.error);
            self.upstream.block(self.now, &reason, self.random);
        }
        self.uncounted(Why::Unreadable)
    }

    // ---- what they have in common

    /// The upstream accepts others, and chance cannot explain this result.
    fn is_contrast(&self) -> bool {
        if !self.others_got_through || self.nothing_counts || self.last_chance {
            return false;
        }
        match self.end.verdict.class {
            Class::Misconfigured => self.retry_state.unclear.misconfigured >= MISCONFIGURED_TIMES,
            _ => self.upstream.evidence().is_significant(self.retry_state.unclear.tries),
        }
    }

    /// A signal to slow down. An occasional error among acceptances delays only this failure, unless the
    /// upstream sent Retry-After. A canary that was sent while the upstream was unreachable is inconclusive
    /// about the pace, so it does not change it. A requested delay always applies.
    fn no(&mut self) {
        let (now, pace) = (self.now.agent, self.rules.pace);
        if self.end.verdict.retry_after.is_none() && !self.nothing_counts {
            let answered = self.end.verdict.contact == Contact::Answered;
            let sporadic = self.upstream.sporadic(now, self.end.sent_at, answered, self.random);
            // A failure that waits alone continues to do so: the next error must not shorten its delay.
            if sporadic || self.retry_state.sporadic > 0 {
                self.retry_state.sporadic = self.retry_state.sporadic.saturating_add(1);
                self.own_wait = Some(self.upstream.own_wait(now, self.retry_state.sporadic, pace, self.random));
            }
            if sporadic {
                return;
            }
        }
        if self.end.dispatch_kind != (DispatchKind::Canary { offline: true }) {
            self.upstream.no(now, self.end.sent_at, pace, self.random);
        }
        if let Some(wait) = self.end.verdict.retry_after {
            let who = (self.end.order, self.others_got_through);
            self.retry_state.retry_after_until = self.upstream.asked_to_wait(now, wait, who, pace, self.random);
        }
    }

    /// Uses no retry. If this was the extra attempt, the failure is critical again, whatever the result.
    fn uncounted(&mut self, why: Why) -> Outcome {
        if self.last_chance && !self.nothing_counts {
            return self.critical_again();
        }
        self.waits(if self.nothing_counts { Why::Shut } else { why })
    }

    fn waits(&mut self, why: Why) -> Outcome {
        let open = self.upstream.reopens_at(self.now.agent);
        let due_at = open.max(self.own_wait.max(self.retry_state.retry_after_until).unwrap_or(open));
        (Decision::Uncounted { due_at }, why)
    }

    fn critical_again(&mut self) -> Outcome {
        self.give_up();
        (Decision::NeedsPerson { counted: false, provisional: false }, Why::LastChance)
    }

    /// Uses a retry.
    fn count(&mut self, why: Why, last: Why) -> Outcome {
        let one_shot = self.retry_state.asked == Asked::OneShot;
        self.retry_state.count(self.upstream.evidence().accepted());
        let provisional = self.has_chance() || self.rules.pace.ordering == Ordering::Strict;
        if self.rules.retry.used_up(self.retry_state.retry_count) || one_shot {
            self.give_up();
            return (Decision::NeedsPerson { counted: true, provisional }, if one_shot { why } else { last });
        }
        let step = self.rules.retry.wait(self.retry_state.retry_count, self.random);
        let wait = step.max(self.end.verdict.retry_after.unwrap_or_default());
        (Decision::Counted { wait, provisional }, why)
    }

    /// Makes it critical, or schedules its extra attempt.
    fn give_up(&mut self) {
        self.retry_state.standing = Standing::Critical(Cause::Counted { at: self.now.agent });
        if self.has_chance() {
            self.upstream.owes_extra_attempt();
        }
    }

    fn has_chance(&self) -> bool {
        self.retry_state.chance.is_left(self.upstream.evidence().epoch())
    }

    /// The upstream was at fault: refunds the retries of this failure and of others.
    fn fail_upstream(&mut self, reason: &str) -> Outcome {
        self.upstream.fail(self.now, reason, self.random);
        let evidence = self.upstream.evidence();
        let (accepted, epoch) = (evidence.accepted(), evidence.epoch());
        let refund = Refund { accepted, epoch, ordering: self.rules.pace.ordering };
        if let Some(back) = refund.of(&self.retry_state) {
            self.retry_state = back;
        }
        self.refund = Some(refund);
        (Decision::Uncounted { due_at: self.now.agent }, Why::UpstreamFailing)
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

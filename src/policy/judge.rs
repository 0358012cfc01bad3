//! Was it the record or the line? What the end of a try makes of its failure and of the upstream
//! (`spec/03`, the chapter of that name).
//!
//! [`judge`] is called once for each try that ends. It reads as the chapter does: the class says
//! what happened; an answer about the failure costs it a retry, everything else does not, unless
//! others got through meanwhile and it cannot be bad luck (contrast). While the upstream is shut
//! nothing counts but a refusal. When counted tries of a second order key come without an acceptance
//! in between, it was the upstream after all, and what was counted is given back.
//!
//! The upstream is changed in place; what becomes of the failure is returned as a value, with the
//! one thing that concerns others ([`GiveBack`]). Everything else that others get from it (confirmed
//! counts, renewed chances, a sweep after opening, the one more try of critical ones) follows from
//! numbers in the upstream and costs their rows nothing now.

use crate::config::Retry;
use crate::moment::{AgentTime, Moment};
use crate::policy::class::{Class, Contact, Verdict};
use crate::policy::dossier::{Cause, Dossier, GiveBack, OrderTag, Standing};
use crate::policy::evidence::Fault;
use crate::policy::upstream::tries::Heard;
use crate::policy::upstream::{Errand, Ordering, Pace, Upstream};
use crate::policy::why::Why;
use crate::record::Asked;
use std::time::Duration;

/// A throttled failure is counted by contrast only when it is older: a daily quota is no fault.
const THROTTLED_AGE: Duration = Duration::from_hours(24);
/// Until then it waits at least so long from one try to the next.
const SINGLED_OUT_WAIT: Duration = Duration::from_mins(5);
/// Answers of this class prove the record's fault at the second time.
const MISCONFIGURED_TIMES: u32 = 2;

/// What a try's end is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Try<'a> {
    /// What is remembered of the failure.
    pub dossier: &'a Dossier,
    /// Its order key.
    pub order: &'a OrderTag,
    /// When it was recorded.
    pub recorded_at: AgentTime,
    /// Which of its tries this was, from 1.
    pub attempt: u32,
    /// When it was sent.
    pub sent_at: AgentTime,
    /// On whose account; as [`Upstream::sent`] said.
    pub errand: Errand,
    /// How it ended.
    pub verdict: &'a Verdict,
    /// The newest insertion number: what an opening sweeps.
    pub newest: i64,
}

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The section `[retry]`.
    pub retry: &'a Retry,
    /// The upstream's section.
    pub pace: Pace,
}

/// What a try's end makes of its failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What is remembered from now on; of no use when it was accepted.
    pub dossier: Dossier,
    /// What becomes of it.
    pub decision: Decision,
    /// For people.
    pub why: Why,
    /// It was the upstream: others get counts back, in the same transaction.
    pub give_back: Option<GiveBack>,
}

impl Judgement {
    /// An earlier try had arrived.
    #[must_use]
    pub fn found(dossier: Dossier) -> Self {
        Self { dossier, decision: Decision::Accepted, why: Why::Found, give_back: None }
    }
}

/// What becomes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It leaves.
    Accepted,
    /// The try cost nothing; it goes again, at this time or when the upstream opens.
    Uncounted {
        /// As far as that is known now.
        due_at: AgentTime,
    },
    /// The try cost a retry; it waits.
    Counted {
        /// So long.
        wait: Duration,
        /// It may be given back.
        provisional: bool,
    },
    /// It needs a person.
    NeedsPerson {
        /// The try cost a retry.
        counted: bool,
        /// Which may be given back.
        provisional: bool,
    },
}

impl Decision {
    /// Did the try cost a retry?
    #[must_use]
    pub fn counts(self) -> bool {
        match self {
            Self::Counted { .. } => true,
            Self::NeedsPerson { counted, .. } => counted,
            Self::Accepted | Self::Uncounted { .. } => false,
        }
    }
}

/// See the file's head. `now` is when the try ended.
pub fn judge(end: &Try, upstream: &mut Upstream, rules: Rules, now: Moment, random: &mut fastrand::Rng) -> Judgement {
    let was_shut = upstream.is_shut();
    let canary = matches!(end.errand, Errand::Canary { .. });
    let heard = Heard { sent_at: end.sent_at, attempt: end.attempt, verdict: end.verdict, newest: end.newest };
    upstream.heard(now, heard, rules.pace, random);

    let accepted = upstream.evidence().accepted();
    let others_got_through = end.dossier.others_got_through(accepted);
    let mut dossier = end.dossier.clone();
    dossier.note(end.verdict.class, end.sent_at, accepted);
    let mut case = Case {
        end,
        heard,
        rules,
        now,
        nothing_counts: was_shut || canary,
        last_chance: dossier.standing == Standing::SecondChance,
        others_got_through,
        dossier,
        upstream,
        random,
        give_back: None,
    };
    let (decision, why) = match end.verdict.class {
        Class::Delivered => case.delivered(),
        Class::Refused => case.refused(),
        Class::Failed => case.failed(),
        Class::Unreachable => case.unreachable(),
        Class::Throttled | Class::Busy | Class::Unsure | Class::Misconfigured => case.unclear(),
    };
    let Case { dossier, give_back, .. } = case;
    if canary {
        upstream.canary_ended(now.agent, random);
    }
    Judgement { dossier, decision, why, give_back }
}

/// One try's end before the judge.
struct Case<'a> {
    end: &'a Try<'a>,
    heard: Heard<'a>,
    rules: Rules<'a>,
    now: Moment,
    /// The upstream was shut, or this was a canary.
    nothing_counts: bool,
    /// It was the one more try of a failure whose budget is used up.
    last_chance: bool,
    /// The upstream has accepted another since this failure's previous try.
    others_got_through: bool,
    dossier: Dossier,
    upstream: &'a mut Upstream,
    random: &'a mut fastrand::Rng,
    give_back: Option<GiveBack>,
}

type Outcome = (Decision, Why);

impl Case<'_> {
    // ---- class by class

    fn delivered(&mut self) -> Outcome {
        let badly = self.end.dossier.answered_badly;
        self.upstream.accepted(self.now, self.heard, badly, self.rules.pace, self.random);
        (Decision::Accepted, Why::Accepted)
    }

    /// It counts even while the upstream is shut, for good.
    fn refused(&mut self) -> Outcome {
        self.dossier.count_for_good();
        self.dossier.standing = Standing::Critical(Cause::Hopeless);
        let decision = Decision::NeedsPerson { counted: true, provisional: false };
        if self.end.verdict.contact == Contact::None {
            return (decision, Why::Unbuildable); // Nothing was sent, so it says nothing about anybody.
        }
        self.upstream.yes(self.now.agent, self.end.sent_at, self.rules.pace, self.random);
        if self.upstream.evidence_mut().refuse(self.end.order) == Fault::Upstream {
            self.fail_upstream("it refused ten in a row, each for another order key");
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
        let why = if self.dossier.asked == Asked::OneShot { Why::OneShot } else { Why::Failed };
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
        // Nobody was reached: a last chance is not used up either.
        self.waits(Why::Unreachable)
    }

    /// Answers that say nothing for certain. They count by contrast only.
    fn unclear(&mut self) -> Outcome {
        let class = self.end.verdict.class;
        let contrast = self.is_contrast();
        let young = self.now.agent.since(self.end.recorded_at) <= THROTTLED_AGE;
        match class {
            Class::Throttled if contrast && young => {
                self.no();
                let wait = self.end.verdict.retry_after.unwrap_or_default().max(SINGLED_OUT_WAIT);
                self.dossier.bound_until = Some(self.now.agent.after(wait));
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

    // ---- what they have in common

    /// The upstream accepts others, and it cannot be bad luck.
    fn is_contrast(&self) -> bool {
        if !self.others_got_through || self.nothing_counts || self.last_chance {
            return false;
        }
        match self.end.verdict.class {
            Class::Misconfigured => self.dossier.unclear.misconfigured >= MISCONFIGURED_TIMES,
            _ => self.upstream.evidence().beyond_luck(self.dossier.unclear.tries),
        }
    }

    /// A no for the upstream's pace. What a canary brings that was sent while nobody answered says
    /// nothing about the pace: it went out in an outage's silence. A wait that was asked for holds.
    fn no(&mut self) {
        let (now, pace) = (self.now.agent, self.rules.pace);
        if self.end.errand != (Errand::Canary { offline: true }) {
            self.upstream.no(now, self.end.sent_at, pace, self.random);
        }
        if let Some(wait) = self.end.verdict.retry_after {
            let who = (self.end.order, self.others_got_through);
            self.dossier.bound_until = self.upstream.asked_to_wait(now, wait, who, pace, self.random);
        }
    }

    /// Costs nothing, unless it was the last chance: then it is critical again, whatever it brought.
    fn uncounted(&mut self, why: Why) -> Outcome {
        if self.last_chance && !self.nothing_counts {
            return self.critical_again();
        }
        self.waits(if self.nothing_counts { Why::Shut } else { why })
    }

    fn waits(&mut self, why: Why) -> Outcome {
        let open = self.upstream.reopens_at(self.now.agent);
        let due_at = self.dossier.bound_until.map_or(open, |bound| bound.max(open));
        (Decision::Uncounted { due_at }, why)
    }

    fn critical_again(&mut self) -> Outcome {
        self.give_up();
        (Decision::NeedsPerson { counted: false, provisional: false }, Why::LastChance)
    }

    /// Costs a retry.
    fn count(&mut self, why: Why, last: Why) -> Outcome {
        let one_shot = self.dossier.asked == Asked::OneShot;
        self.dossier.count(self.upstream.evidence().accepted());
        let provisional = self.has_chance() || self.rules.pace.ordering == Ordering::Strict;
        if self.rules.retry.used_up(self.dossier.retry_count) || one_shot {
            self.give_up();
            return (Decision::NeedsPerson { counted: true, provisional }, if one_shot { why } else { last });
        }
        let step = self.rules.retry.wait(self.dossier.retry_count, self.random);
        let wait = step.max(self.end.verdict.retry_after.unwrap_or_default());
        (Decision::Counted { wait, provisional }, why)
    }

    /// It needs a person, or its second chance.
    fn give_up(&mut self) {
        self.dossier.standing = Standing::Critical(Cause::Counted { at: self.now.agent });
        if self.has_chance() {
            self.upstream.owes_chance();
        }
    }

    fn has_chance(&self) -> bool {
        self.dossier.chance.is_left(self.upstream.evidence().epoch())
    }

    /// It was the upstream: this failure's counts and those of others are given back.
    fn fail_upstream(&mut self, reason: &str) -> Outcome {
        self.upstream.fail(self.now, reason, self.random);
        let evidence = self.upstream.evidence();
        let (accepted, epoch) = (evidence.accepted(), evidence.epoch());
        let give_back = GiveBack { accepted, epoch, ordering: self.rules.pace.ordering };
        if let Some(back) = give_back.of(&self.dossier) {
            self.dossier = back;
        }
        self.give_back = Some(give_back);
        (Decision::Uncounted { due_at: self.now.agent }, Why::UpstreamFailing)
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

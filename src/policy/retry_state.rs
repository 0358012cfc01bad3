//! The policy's state of one failure: everything that its next attempt is judged by.
//!
//! A [`RetryState`] is stored with its failure, so that a crash loses only attempts in flight. It is a value:
//! [`judge`](super::judge) derives a new one from it, and so do the few other events of a failure
//! ([`Refund`], [`RetryState::second_chance`], operations).
//!
//! Two of its fields record a number of the upstream instead of being updated when it changes: counts are
//! confirmed by a higher acceptance number, and a used extra attempt is renewed by a higher epoch. So an
//! acceptance never has to touch the rows of other failures.

use crate::config::upstream::Ordering;
use crate::moment::AgentTime;
use crate::policy::class::Class;
use crate::policy::evidence::{AcceptanceNo, ChanceEpoch, Evidence};
use crate::record::{Asked, Status};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A critical failure gets its extra attempt after this time, even if nothing was accepted in between.
pub const CHANCE_AFTER: Duration = Duration::from_hours(4);
/// Maximum number of inconclusive attempts between two acceptances that weigh against a failure. An outage may
/// cause a thousand, and the first acceptance after it must not turn them into proof.
const MOST_BETWEEN_ACCEPTANCES: u32 = 5;

/// Retry state of one failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryState {
    /// Delivery state.
    pub standing: Standing,
    /// Number of counted attempts, as shown.
    pub retry_count: u32,
    /// How many of those are not confirmed yet.
    pub provisional: UnconfirmedRetries,
    /// Whether its extra attempt has been used.
    pub chance: Chance,
    /// Uncounted attempts since the last counted one.
    pub unclear: InconclusiveAttempts,
    /// The upstream's acceptance number at the last attempt, counted or not.
    pub seen: Option<AcceptanceNo>,
    /// An earlier response was `failed` or `unsure`: if the failure is accepted after all, the upstream was at fault.
    pub had_error_response: bool,
    /// Errors in a row since the first that delayed only this failure, because others were accepted.
    #[serde(default)]
    pub sporadic: u32,
    /// Whether an operator requested the next counted attempt.
    pub asked: Asked,
    /// The upstream deferred this failure until then: no sweep, canary or `flush` sends it earlier.
    pub retry_after_until: Option<AgentTime>,
    /// The error with which it was deferred.
    #[serde(default)]
    pub bound_by: Option<String>,
    /// When its last attempt was sent.
    pub last_sent_at: Option<AgentTime>,
}

/// Delivery state of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Sent automatically.
    Pending,
    /// Pending again after its retries were exhausted, for one extra attempt that does not count.
    SecondChance,
    /// An operator put it on hold.
    Held,
    /// It needs an operator.
    Critical(Cause),
}

/// Why a failure needs an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its retries are exhausted.
    Counted {
        /// Since this time.
        at: AgentTime,
    },
    /// It was rejected, or has no route: another attempt cannot succeed.
    Hopeless,
}

impl Standing {
    /// The status that is stored and shown.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Pending | Self::SecondChance => Status::Pending,
            Self::Held => Status::Held,
            Self::Critical(_) => Status::Critical,
        }
    }
}

/// Counts that are refunded if the upstream proves to be at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnconfirmedRetries {
    /// All counts are final.
    None,
    /// The counts beyond `confirmed` were made under this acceptance number, and become final as soon as the
    /// upstream's is higher.
    Since {
        /// The acceptance number when they were made.
        accepted: AcceptanceNo,
        /// The number of counts without them.
        confirmed: u32,
    },
}

/// The extra attempt of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chance {
    /// Available.
    Unused,
    /// Used in this epoch; available again in any later one.
    UsedIn(ChanceEpoch),
}

impl Chance {
    /// Returns whether it is available.
    #[must_use]
    pub fn is_left(self, epoch: ChanceEpoch) -> bool {
        match self {
            Self::Unused => true,
            Self::UsedIn(used) => used < epoch,
        }
    }
}

/// Inconclusive attempts since the last counted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InconclusiveAttempts {
    /// Their number, at most five between two acceptances.
    pub tries: u32,
    /// How many of them were `misconfigured`.
    pub misconfigured: u32,
    /// How many there were since the upstream's last acceptance.
    pub since_acceptance: u32,
}

impl RetryState {
    /// The state of a failure without attempts: just recorded, edited, or given a new retry budget by an operator.
    #[must_use]
    pub fn fresh() -> Self {
        Self {
            standing: Standing::Pending,
            retry_count: 0,
            provisional: UnconfirmedRetries::None,
            chance: Chance::Unused,
            unclear: InconclusiveAttempts::default(),
            seen: None,
            had_error_response: false,
            sporadic: 0,
            asked: Asked::No,
            retry_after_until: None,
            bound_by: None,
            last_sent_at: None,
        }
    }

    /// An operator requests an attempt now. A critical failure gets a single attempt, which counts if it fails;
    /// a second request does not add another.
    pub fn ask(&mut self) {
        self.asked = match (self.standing, self.asked) {
            (Standing::Critical(_) | Standing::SecondChance, _) | (_, Asked::OneShot) => Asked::OneShot,
            (Standing::Pending | Standing::Held, _) => Asked::Sooner,
        };
        if self.standing != Standing::Held {
            self.standing = Standing::Pending;
        }
        (self.retry_after_until, self.bound_by) = (None, None);
    }

    /// The state with its extra attempt; `None` unless it is critical with retries exhausted and has one available.
    #[must_use]
    pub fn second_chance(&self, evidence: &Evidence) -> Option<Self> {
        let by_counting = matches!(self.standing, Standing::Critical(Cause::Counted { .. }));
        (by_counting && self.chance.is_left(evidence.epoch())).then(|| Self {
            standing: Standing::SecondChance,
            chance: Chance::UsedIn(evidence.epoch()),
            asked: Asked::No,
            ..self.clone()
        })
    }

    /// The state for another upstream, where numbers of the old one are meaningless. Its counts are kept and
    /// become final.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self {
            standing: self.standing,
            retry_count: self.retry_count,
            asked: self.asked,
            last_sent_at: self.last_sent_at,
            ..Self::fresh()
        }
    }

    /// The number of counts that are final.
    #[must_use]
    pub fn confirmed(&self, now: AcceptanceNo) -> u32 {
        match self.provisional {
            UnconfirmedRetries::Since { accepted, confirmed } if accepted == now => confirmed,
            UnconfirmedRetries::Since { .. } | UnconfirmedRetries::None => self.retry_count,
        }
    }

    /// Returns whether the upstream has accepted another failure since the previous attempt of this one.
    #[must_use]
    pub(super) fn others_got_through(&self, accepted: AcceptanceNo) -> bool {
        self.seen.is_some_and(|seen| seen < accepted)
    }

    /// Records the end of an attempt.
    pub(super) fn note(&mut self, class: Class, sent_at: AgentTime, accepted: AcceptanceNo) {
        if self.others_got_through(accepted) {
            self.unclear.since_acceptance = 0;
        }
        self.seen = Some(accepted);
        self.last_sent_at = Some(sent_at);
        (self.retry_after_until, self.bound_by) = (None, None);
        self.had_error_response |= matches!(class, Class::Failed | Class::Unsure);
        let unclear = matches!(class, Class::Throttled | Class::Busy | Class::Unsure | Class::Misconfigured);
        if unclear && self.unclear.since_acceptance < MOST_BETWEEN_ACCEPTANCES {
            self.unclear.since_acceptance += 1;
            self.unclear.tries += 1;
        }
        self.unclear.misconfigured += u32::from(class == Class::Misconfigured);
    }

    /// Counts an attempt; the count may be refunded later.
    pub(super) fn count(&mut self, accepted: AcceptanceNo) {
        let confirmed = self.confirmed(accepted);
        self.provisional = UnconfirmedRetries::Since { accepted, confirmed };
        self.add_one();
    }

    /// Counts an attempt; the count is final.
    pub(super) fn count_for_good(&mut self) {
        self.provisional = UnconfirmedRetries::None;
        self.add_one();
    }

    fn add_one(&mut self) {
        self.retry_count = self.retry_count.saturating_add(1);
        self.unclear = InconclusiveAttempts::default();
        self.sporadic = 0;
        self.asked = Asked::No;
    }
}

/// The upstream was at fault: every unconfirmed count is refunded.
///
/// The store finds the affected failures by acceptance number, through a partial index, and replaces the
/// retry states for which [`Refund::of`] returns a new one; those failures are due at once. Dossiers of failures
/// in flight are updated in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The current acceptance number of the upstream; counts made under it are affected.
    pub accepted: AcceptanceNo,
    pub(super) epoch: ChanceEpoch,
    pub(super) ordering: Ordering,
}

impl Refund {
    /// The retry state without its unconfirmed counts; `None` if it is unaffected.
    #[must_use]
    pub fn of(&self, retry_state: &RetryState) -> Option<RetryState> {
        let confirmed = match retry_state.provisional {
            UnconfirmedRetries::Since { accepted, confirmed } if accepted == self.accepted => confirmed,
            UnconfirmedRetries::Since { .. } | UnconfirmedRetries::None => return None,
        };
        // Under strict order the head must not stay blocked, so it is refunded every time.
        if !retry_state.chance.is_left(self.epoch) && self.ordering != Ordering::Strict {
            return None;
        }
        let standing = match retry_state.standing {
            Standing::Held => Standing::Held,
            Standing::Pending | Standing::SecondChance | Standing::Critical(_) => Standing::Pending,
        };
        Some(RetryState {
            standing,
            retry_count: confirmed,
            provisional: UnconfirmedRetries::None,
            chance: Chance::UsedIn(self.epoch),
            ..retry_state.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refund(accepted: i64) -> Refund {
        Refund { accepted: AcceptanceNo(accepted), epoch: ChanceEpoch(1), ordering: Ordering::Key }
    }

    #[test]
    fn a_later_acceptance_confirms_counts_without_touching_them() {
        let mut retry_state = RetryState::fresh();
        retry_state.count(AcceptanceNo(7));
        retry_state.count(AcceptanceNo(7));
        assert_eq!((retry_state.confirmed(AcceptanceNo(7)), retry_state.confirmed(AcceptanceNo(8))), (0, 2));
        retry_state.count(AcceptanceNo(8));
        assert_eq!((retry_state.confirmed(AcceptanceNo(8)), retry_state.retry_count), (2, 3));
        assert_eq!(refund(8).of(&retry_state).map(|back| back.retry_count), Some(2));
        assert_eq!(refund(7).of(&retry_state), None);
    }

    #[test]
    fn a_chance_is_used_once_an_epoch() {
        let mut retry_state = RetryState::fresh();
        retry_state.count(AcceptanceNo(7));
        retry_state.standing = Standing::Critical(Cause::Counted { at: AgentTime::ZERO });
        let mut back = refund(7).of(&retry_state).expect("its count is not confirmed");
        assert_eq!(back.standing, Standing::Pending);
        back.count(AcceptanceNo(7));
        assert_eq!(refund(7).of(&back), None);
        assert!(Refund { epoch: ChanceEpoch(2), ..refund(7) }.of(&back).is_some());
        assert!(Refund { ordering: Ordering::Strict, ..refund(7) }.of(&back).is_some());
    }

    #[test]
    fn held_stays_held_and_what_was_edited_is_left_alone() {
        let mut retry_state = RetryState::fresh();
        retry_state.count(AcceptanceNo(7));
        retry_state.standing = Standing::Held;
        assert_eq!(refund(7).of(&retry_state).map(|back| back.standing), Some(Standing::Held));
        assert_eq!(refund(7).of(&RetryState::fresh()), None);
    }

    #[test]
    fn a_shot_that_is_asked_for_twice_stays_one() {
        let mut retry_state = RetryState { standing: Standing::Critical(Cause::Hopeless), ..RetryState::fresh() };
        (0..2).for_each(|_| retry_state.ask());
        assert_eq!((retry_state.standing, retry_state.asked), (Standing::Pending, Asked::OneShot));
        let mut pending = RetryState::fresh();
        (0..2).for_each(|_| pending.ask());
        assert_eq!(pending.asked, Asked::Sooner);
    }

    #[test]
    fn only_what_is_critical_by_counting_gets_one_more_try() {
        let evidence = Evidence::none();
        let with = |standing| RetryState { standing, ..RetryState::fresh() };
        let exhausted = with(Standing::Critical(Cause::Counted { at: AgentTime::ZERO }));
        let again = exhausted.second_chance(&evidence).expect("it has a chance");
        assert_eq!((again.standing, again.standing.status()), (Standing::SecondChance, Status::Pending));
        assert!(!again.chance.is_left(evidence.epoch()));
        for standing in [Standing::Critical(Cause::Hopeless), Standing::Held, Standing::Pending] {
            assert_eq!(with(standing).second_chance(&evidence), None, "{standing:?}");
        }
    }

    #[test]
    fn unclear_tries_count_five_between_two_acceptances() {
        let mut retry_state = RetryState::fresh();
        (0..9).for_each(|_| retry_state.note(Class::Busy, AgentTime::ZERO, AcceptanceNo(1)));
        assert_eq!(retry_state.unclear.tries, 5);
        retry_state.note(Class::Unreachable, AgentTime::ZERO, AcceptanceNo(2));
        assert_eq!(retry_state.unclear.tries, 5, "no upstream was reached");
        (0..3).for_each(|_| retry_state.note(Class::Failed, AgentTime::ZERO, AcceptanceNo(2)));
        assert_eq!(retry_state.unclear.tries, 5, "one that does not count, while the upstream fails, is no evidence");
        (0..3).for_each(|_| retry_state.note(Class::Misconfigured, AgentTime::ZERO, AcceptanceNo(2)));
        assert_eq!((retry_state.unclear.tries, retry_state.unclear.misconfigured), (8, 3));
    }
}

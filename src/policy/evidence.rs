//! What the responses of an upstream have shown so far; used to decide whether record or upstream is at fault.
//!
//! - *Acceptances* are numbered. A failure that stores the number at its last attempt shows whether others were
//!   accepted since (contrast), and a count that stores its number is confirmed by a higher one. Neither
//!   updates the rows of other failures.
//! - *One or two.* While all counted attempts since the last acceptance belong to one order key, the record is
//!   at fault; with a second order key, the upstream is.
//! - *Extra attempts* are renewed for all failures by a new epoch, again without updating rows.
//! - *Significance.* The share of inconclusive responses gives the probability that a valid failure gets a run
//!   of them.
//!
//! It does not decide anything; `judge` does.

use crate::config::upstream::Ordering;
use crate::policy::class::Class;
use crate::policy::order_tag::OrderTag;
use serde::{Deserialize, Serialize};

/// Number of failures that the upstream has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AcceptanceNo(pub i64);

/// Number of times that extra attempts were renewed. The first epoch is 1, so that a store can use 0 for an
/// extra attempt that was never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChanceEpoch(pub i64);

/// Counted attempts of one failure under strict order that make the upstream failing.
const STRICT_TRIES: u32 = 3;
/// Order keys rejected since the last acceptance that make the upstream failing.
const REFUSED_KEYS: usize = 10;
/// Number of unreadable responses in a row, for two order keys, that block the upstream.
const UNREADABLE_ANSWERS: u32 = 3;
/// The same for a single order key.
const UNREADABLE_ANSWERS_OF_ONE: u32 = 10;
/// Weight of a new response in the smoothed share.
const WEIGHT: f64 = 1.0 / 50.0;
/// Number of attempts of one failure that enter the share: a single bad failure with a thousand attempts must
/// not make the upstream look bad.
const SAMPLED_TRIES: u32 = 3;
/// Lower bound of the share in calculations.
const LEAST_SHARE: f64 = 0.05;
/// Below this probability the record is blamed. At a million failures a day in a chain, it remains unlikely
/// that a valid failure is counted.
const NO_LUCK: f64 = 1e-12;

/// State of the fault attribution for one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    accepted: AcceptanceNo,
    epoch: ChanceEpoch,
    suspect: Option<SuspectKey>,
    /// Distinct order keys rejected since the last acceptance, at most [`REFUSED_KEYS`].
    refused: Vec<OrderTag>,
    unclear_share: f64,
    /// Run of responses that had to be read but could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unreadable: Option<Unreadable>,
}

/// Run of unreadable responses; used by [`Evidence::unreadable`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unreadable {
    answers: u32,
    /// The order key of the first of them.
    order: OrderTag,
    /// Another order key got one as well.
    several: bool,
}

/// The only order key with counted attempts since the last acceptance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SuspectKey {
    order: OrderTag,
    tries: u32,
}

/// What counted attempts are attributed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// To the record: only one order key is affected so far.
    Record,
    /// To the upstream.
    Upstream,
}

impl Evidence {
    pub(super) fn none() -> Self {
        Self {
            accepted: AcceptanceNo(0),
            epoch: ChanceEpoch(1),
            suspect: None,
            refused: Vec::new(),
            unclear_share: 0.0,
            unreadable: None,
        }
    }

    /// The number of the last acceptance.
    #[must_use]
    pub fn accepted(&self) -> AcceptanceNo {
        self.accepted
    }

    /// The current epoch of extra attempts.
    #[must_use]
    pub fn epoch(&self) -> ChanceEpoch {
        self.epoch
    }

    /// The smoothed share of inconclusive responses, `p`, with its lower bound applied.
    #[must_use]
    pub fn unclear_share(&self) -> f64 {
        self.unclear_share.max(LEAST_SHARE)
    }

    /// Records whether an attempt got a response; `attempt` is its number within the failure, from 1.
    pub(super) fn sample(&mut self, class: Class, attempt: u32) {
        if attempt > SAMPLED_TRIES || class == Class::Unreachable {
            return;
        }
        let unclear = matches!(class, Class::Throttled | Class::Busy | Class::Unsure);
        self.unclear_share += (f64::from(u8::from(unclear)) - self.unclear_share) * WEIGHT;
    }

    /// Returns whether so many inconclusive responses in a row are too improbable for a valid failure.
    pub(super) fn is_significant(&self, unclear: u32) -> bool {
        let exponent = i32::try_from(unclear).unwrap_or(i32::MAX);
        self.unclear_share().powi(exponent) < NO_LUCK
    }

    /// Records an acceptance. If the failure had got a bad response before, the upstream was at fault then, and
    /// all failures have an extra attempt again. Returns whether that is the case.
    pub(super) fn accept(&mut self, had_error_response: bool) -> bool {
        self.accepted.0 += 1;
        self.suspect = None;
        self.refused.clear();
        if had_error_response {
            self.epoch.0 += 1;
        }
        had_error_response
    }

    /// Records an attempt that was counted, but not by contrast, of a failure that can be refunded.
    pub(super) fn suspect(&mut self, order: &OrderTag, ordering: Ordering) -> Fault {
        let suspect = match self.suspect.take() {
            None => SuspectKey { order: order.clone(), tries: 1 },
            Some(known) if known.order == *order => SuspectKey { tries: known.tries + 1, ..known },
            Some(_) => return Fault::Upstream,
        };
        if ordering == Ordering::Strict && suspect.tries >= STRICT_TRIES {
            return Fault::Upstream;
        }
        self.suspect = Some(suspect);
        Fault::Record
    }

    /// Records a response that was needed as a proof or by a rule but cannot be read. This repeats until the
    /// configuration or the upstream is changed.
    pub(super) fn unreadable(&mut self, order: &OrderTag) -> Fault {
        let before = self.unreadable.take().unwrap_or(Unreadable { answers: 0, order: order.clone(), several: false });
        let several = before.several || before.order != *order;
        let now = Unreadable { answers: before.answers.saturating_add(1), several, ..before };
        let most = if several { UNREADABLE_ANSWERS } else { UNREADABLE_ANSWERS_OF_ONE };
        let fault = if now.answers >= most { Fault::Upstream } else { Fault::Record };
        self.unreadable = Some(now);
        fault
    }

    /// Records a response that was read.
    pub(super) fn readable(&mut self) {
        self.unreadable = None;
    }

    /// Records a rejection.
    pub(super) fn refuse(&mut self, order: &OrderTag) -> Fault {
        if !self.refused.contains(order) {
            self.refused.push(order.clone());
        }
        if self.refused.len() < REFUSED_KEYS {
            return Fault::Record;
        }
        self.refused.clear();
        self.suspect = None;
        Fault::Upstream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_unclear_answers_are_no_luck_at_the_least_share_and_more_are_needed_in_bad_times() {
        let mut evidence = Evidence::none();
        assert!(!evidence.is_significant(9));
        assert!(evidence.is_significant(10));
        (0..200).for_each(|_| evidence.sample(Class::Busy, 1));
        assert!(evidence.unclear_share() > 0.95);
        assert!(!evidence.is_significant(500));
        (0..500).for_each(|_| evidence.sample(Class::Busy, 4));
        (0..500).for_each(|_| evidence.sample(Class::Delivered, 1));
        assert!(evidence.is_significant(10), "only first attempts enter the share");
    }

    #[test]
    fn one_key_is_the_record_two_are_the_upstream_and_an_acceptance_between_them_resets() {
        let (a, b) = (OrderTag::new("a"), OrderTag::new("b"));
        let mut evidence = Evidence::none();
        for _ in 0..5 {
            assert_eq!(evidence.suspect(&a, Ordering::Key), Fault::Record);
        }
        evidence.accept(false);
        assert_eq!(evidence.suspect(&b, Ordering::Key), Fault::Record);
        assert_eq!(evidence.suspect(&a, Ordering::Key), Fault::Upstream);
        assert_eq!(evidence.suspect(&a, Ordering::Key), Fault::Record, "what was found out is forgotten");
    }

    #[test]
    fn under_strict_order_three_tries_of_the_head_are_the_upstream() {
        let head = OrderTag::new("head");
        let mut evidence = Evidence::none();
        let faults: Vec<Fault> = (0..3).map(|_| evidence.suspect(&head, Ordering::Strict)).collect();
        assert_eq!(faults, [Fault::Record, Fault::Record, Fault::Upstream]);
    }

    #[test]
    fn ten_keys_refused_in_a_row_are_the_upstream() {
        let mut evidence = Evidence::none();
        for n in 0..9 {
            let order = OrderTag::new(n.to_string());
            assert_eq!(evidence.refuse(&order), Fault::Record);
            assert_eq!(evidence.refuse(&order), Fault::Record, "the same again is no tenth");
        }
        assert_eq!(evidence.refuse(&OrderTag::new("9")), Fault::Upstream);
    }
    #[test]
    fn three_answers_that_cannot_be_read_are_the_upstream_with_two_keys_and_ten_with_one() {
        let (a, b) = (OrderTag::new("a"), OrderTag::new("b"));
        let mut evidence = Evidence::none();
        for _ in 0..9 {
            assert_eq!(evidence.unreadable(&a), Fault::Record);
        }
        assert_eq!(evidence.unreadable(&a), Fault::Upstream);
        evidence.readable();
        assert_eq!([&a, &b, &a].map(|key| evidence.unreadable(key)), [Fault::Record, Fault::Record, Fault::Upstream]);
        evidence.readable();
        assert_eq!([&a, &b].map(|key| evidence.unreadable(key)), [Fault::Record, Fault::Record], "in a row");
    }
}

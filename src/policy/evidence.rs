//! What an upstream's answers have shown so far: what counts are weighed against (`spec/03`, Was it
//! the record or the line?).
//!
//! - *Acceptances* are numbered. A failure that remembers the number of its last try knows whether
//!   others got through since (contrast), and a count that remembers its number is confirmed as soon
//!   as there is a higher one. Neither takes an update of anybody else's row.
//! - *One or two.* As long as counted tries since the last acceptance belong to one order key it was
//!   the record; with a second one it was the upstream.
//! - *Second chances* are renewed for everybody by a new epoch, again without touching a row.
//! - *Luck.* The share of unclear answers tells how likely it is that a good failure got so many.
//!
//! It decides nothing; `judge` does.

use crate::policy::class::Class;
use crate::policy::dossier::OrderTag;
use crate::policy::upstream::Ordering;
use serde::{Deserialize, Serialize};

/// How many failures the upstream had accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AcceptanceNo(pub i64);

/// How often second chances were renewed. The first epoch is 1, so that a store may keep 0 for a
/// chance that was never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChanceEpoch(pub i64);

/// Counted tries of one failure under strict order that make the upstream failing.
const STRICT_TRIES: u32 = 3;
/// Order keys refused since the last acceptance that make the upstream failing.
const REFUSED_KEYS: usize = 10;
/// Weight of a new answer in the smoothed share.
const WEIGHT: f64 = 1.0 / 50.0;
/// Of a failure's tries only so many enter the share: a single bad one that is tried a thousand
/// times must not make the upstream look bad.
const SAMPLED_TRIES: u32 = 3;
/// The least share that is reckoned with.
const LEAST_SHARE: f64 = 0.05;
/// What is less likely than this is no bad luck. With a million failures in a chain's day it stays
/// unlikely that one healthy failure is counted.
const NO_LUCK: f64 = 1e-12;

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    accepted: AcceptanceNo,
    epoch: ChanceEpoch,
    suspect: Option<Suspect>,
    /// Distinct order keys refused since the last acceptance, at most [`REFUSED_KEYS`].
    refused: Vec<OrderTag>,
    unclear_share: f64,
}

/// The one order key whose tries were counted since the last acceptance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Suspect {
    order: OrderTag,
    tries: u32,
}

/// Whose fault counted tries were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// One order key's, so far.
    Record,
    /// It was the upstream.
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
        }
    }

    /// The number of the last acceptance.
    #[must_use]
    pub fn accepted(&self) -> AcceptanceNo {
        self.accepted
    }

    /// The present epoch of second chances.
    #[must_use]
    pub fn epoch(&self) -> ChanceEpoch {
        self.epoch
    }

    /// The smoothed share of unclear answers, `p`, as it is reckoned with.
    #[must_use]
    pub fn unclear_share(&self) -> f64 {
        self.unclear_share.max(LEAST_SHARE)
    }

    /// A try of a failure was answered, or not; `attempt` counts its tries from 1.
    pub(super) fn sample(&mut self, class: Class, attempt: u32) {
        if attempt > SAMPLED_TRIES || class == Class::Unreachable {
            return;
        }
        let unclear = matches!(class, Class::Throttled | Class::Busy | Class::Unsure);
        self.unclear_share += (f64::from(u8::from(unclear)) - self.unclear_share) * WEIGHT;
    }

    /// Could a good failure have got so many unclear answers?
    pub(super) fn beyond_luck(&self, unclear: u32) -> bool {
        let exponent = i32::try_from(unclear).unwrap_or(i32::MAX);
        self.unclear_share().powi(exponent) < NO_LUCK
    }

    /// The upstream accepted a failure. When it had answered that one badly before, it was the
    /// upstream then, and everybody gets a second chance again. Says whether that is so.
    pub(super) fn accept(&mut self, answered_badly: bool) -> bool {
        self.accepted.0 += 1;
        self.suspect = None;
        self.refused.clear();
        if answered_badly {
            self.epoch.0 += 1;
        }
        answered_badly
    }

    /// A try was counted, not by contrast, of a failure that can be given back.
    pub(super) fn suspect(&mut self, order: &OrderTag, ordering: Ordering) -> Fault {
        let suspect = match self.suspect.take() {
            None => Suspect { order: order.clone(), tries: 1 },
            Some(known) if known.order == *order => Suspect { tries: known.tries + 1, ..known },
            Some(_) => return Fault::Upstream,
        };
        if ordering == Ordering::Strict && suspect.tries >= STRICT_TRIES {
            return Fault::Upstream;
        }
        self.suspect = Some(suspect);
        Fault::Record
    }

    /// A failure was refused.
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
        assert!(!evidence.beyond_luck(9));
        assert!(evidence.beyond_luck(10));
        (0..200).for_each(|_| evidence.sample(Class::Busy, 1));
        assert!(evidence.unclear_share() > 0.95);
        assert!(!evidence.beyond_luck(500));
        (0..500).for_each(|_| evidence.sample(Class::Busy, 4));
        (0..500).for_each(|_| evidence.sample(Class::Delivered, 1));
        assert!(evidence.beyond_luck(10), "only first tries enter the share");
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
}

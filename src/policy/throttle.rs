//! What the upstream asked for with `Retry-After`, and whom that binds (`spec/03`, A no).
//!
//! A short wait is a floor for everybody. A long one (over `max_pause`) may be about a single
//! record, and an hour for one bad record must not close the till's line: it binds the failure that
//! got it, and the upstream only when a second order key gets one before anything is accepted.
//!
//! The pause beside it has its own file; the longer of the two holds.

use crate::moment::AgentTime;
use crate::policy::dossier::OrderTag;
use crate::policy::upstream::Pace;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The waits that an upstream asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    until: AgentTime,
    long: LongWaits,
}

/// Order keys that were asked for a long wait since the last acceptance. More than two need not be
/// told apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum LongWaits {
    #[default]
    Nobody,
    One(OrderTag),
    Several,
}

/// One `Retry-After`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// What it says; at most `MAX_RETRY_AFTER`.
    pub(super) wait: Duration,
    /// Whose request got it.
    pub(super) order: &'a OrderTag,
    /// The upstream has accepted something since this failure's previous try: then the wait is
    /// likely about this one and speaks for nobody else.
    pub(super) singled_out: bool,
}

impl Throttle {
    /// Nothing was asked for.
    #[must_use]
    pub fn none(now: AgentTime) -> Self {
        Self { until: now, long: LongWaits::Nobody }
    }

    /// Nothing starts before.
    #[must_use]
    pub fn until(&self) -> AgentTime {
        self.until
    }

    /// An answer asked to wait; until when that binds the failure itself, where it does.
    pub(super) fn asked(
        &mut self,
        now: AgentTime,
        asked: Asked,
        pause: Duration,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) -> Option<AgentTime> {
        let longest = pace.max_pause;
        let is_long = asked.wait > longest;
        if is_long && !asked.singled_out {
            self.long.add(asked.order);
        }
        let full = !is_long || self.long == LongWaits::Several;
        let (floor, spread) = if full { (asked.wait, pause.max(asked.wait.min(longest))) } else { (longest, longest) };
        self.until = self.until.max(now.after(floor + spread.mul_f64(random.f64())));
        is_long.then(|| now.after(asked.wait))
    }

    /// The upstream accepted something.
    pub(super) fn accepted(&mut self) {
        self.long = LongWaits::Nobody;
    }
}

impl LongWaits {
    fn add(&mut self, order: &OrderTag) {
        *self = match self {
            Self::Nobody => Self::One(order.clone()),
            Self::One(first) if first == order => return,
            Self::One(_) | Self::Several => Self::Several,
        };
    }
}

//! Delays that the upstream requested with `Retry-After`, and whom they bind.
//!
//! A short delay is a minimum for all failures. A long one (over `max_pause`) may concern a single record, and an
//! hour for one bad record must not stop all sending: beyond `max_pause` it binds only the failure that got it, and
//! the upstream only when a second order key gets one before anything is accepted.
//!
//! The pacing delay is in `pause`; the longer of the two applies.

use crate::moment::AgentTime;
use crate::policy::order_tag::OrderTag;
use crate::policy::pace::Pace;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The delays that an upstream requested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    until: AgentTime,
    long: LongWaits,
}

/// Order keys with a long delay since the last acceptance. Two or more need not be distinguished.
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
    /// The requested delay; at most `MAX_RETRY_AFTER`.
    pub(super) wait: Duration,
    /// The order key of the request.
    pub(super) order: &'a OrderTag,
    /// The upstream has accepted something since the previous attempt of this failure, so the delay likely
    /// concerns only this failure.
    pub(super) singled_out: bool,
}

impl Throttle {
    /// No delay.
    #[must_use]
    pub fn none(now: AgentTime) -> Self {
        Self { until: now, long: LongWaits::Nobody }
    }

    /// Earliest start of the next request.
    #[must_use]
    pub fn until(&self) -> AgentTime {
        self.until
    }

    /// Records a `Retry-After`. Returns until when it binds the failure itself, if it does.
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

    /// Records an acceptance.
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

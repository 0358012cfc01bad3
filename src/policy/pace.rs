//! How fast an upstream may be sent to, as configured.

use crate::config::upstream::Ordering;
use std::time::Duration;

/// The configuration of an upstream's pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Maximum requests in flight, at full speed.
    pub concurrency: usize,
    /// Maximum pacing delay, and maximum gap between probes while offline.
    pub max_pause: Duration,
    /// Minimum time from the start of one request to the start of the next (`max_rate`).
    pub min_gap: Duration,
    /// An available upstream is probed after this idle time; `None`: never.
    pub probe_idle: Option<Duration>,
    /// Which failures wait for others.
    pub ordering: Ordering,
}

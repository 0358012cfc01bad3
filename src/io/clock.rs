//! The only place where clocks are read.
#![expect(clippy::disallowed_methods, reason = "this is where they are read")]

use crate::moment::{AgentTime, Moment, WallTime};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Agent time advances with the boot-time clock, which includes suspend and cannot be set.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: AgentTime,
    boot: Duration,
}

impl Clock {
    /// A clock whose agent time is `start` now.
    #[must_use]
    pub fn starting_at(start: AgentTime) -> Self {
        Self { base: start, boot: since_boot() }
    }

    /// The current time on both clocks.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment { agent: self.base.after(since_boot().saturating_sub(self.boot)), wall: wall() }
    }
}

/// The terminal's wall clock.
#[must_use]
pub fn wall() -> WallTime {
    let ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    };
    WallTime::from_millis(ms)
}

/// Time since the machine started, including suspend.
#[must_use]
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

//! The pause: how long after an answer the next request may start (`spec/03`, The upstream).
//!
//! One length `d`; 0 is full speed. A *no* doubles it, a *yes* takes a share of it away, an outage
//! leaves some of itself behind. While it is not 0, one request is in flight; at 0 one more for each
//! round of successes. That is all that keeps ten thousand terminals from trampling a head office:
//! the numbers come from simulating such a chain (`tests/chain.rs`).
//!
//! It knows neither failures nor conditions, and nothing of `Retry-After` (that is `throttle`).

use super::passing::Passing;
use crate::moment::AgentTime;
use crate::policy::upstream::Pace;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The least pause after a no.
pub const FIRST: Duration = Duration::from_secs(1);
/// Under it a pause is none.
const NONE: Duration = Duration::from_millis(50);
/// The longest pause that an outage of the line leaves behind.
pub const AFTER_OUTAGE: Duration = Duration::from_secs(30);
/// The longest that a block or a failing state leaves behind: then the line was there all the time,
/// and so were the others.
pub const AFTER_BLOCK: Duration = Duration::from_secs(5);
/// An answer that took longer shortens no pause and adds no concurrency.
const SLOW: Duration = Duration::from_secs(5);

/// The pause of one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    length_ms: u64,
    /// After an outage, until the first no: a yes halves it.
    recovering: bool,
    /// Nothing starts before.
    until: AgentTime,
    last_no_at: Option<AgentTime>,
    /// How many may be in flight at full speed: learned anew after every start.
    #[serde(skip)]
    window: Passing<Window>,
}

#[derive(Clone, Debug)]
struct Window {
    width: usize,
    /// Yeses of the present round; a full one widens the window.
    round: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { width: 1, round: 0 }
    }
}

impl Pause {
    /// Full speed, beginning with one request.
    #[must_use]
    pub fn none(now: AgentTime) -> Self {
        Self { length_ms: 0, recovering: false, until: now, last_no_at: None, window: Passing::default() }
    }

    /// The present length, `d`.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_millis(self.length_ms)
    }

    /// Is it full speed?
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.length_ms == 0
    }

    /// When the next request may start.
    #[must_use]
    pub fn until(&self) -> AgentTime {
        self.until
    }

    /// How many requests may be in flight.
    #[must_use]
    pub fn width(&self, concurrency: usize) -> usize {
        if self.is_none() { self.window.width.min(concurrency) } else { 1 }
    }

    /// The upstream has dealt with a request, and it took so long.
    pub(super) fn yes(&mut self, now: AgentTime, took: Duration, pace: Pace, random: &mut fastrand::Rng) {
        let fast = took <= SLOW;
        if self.is_none() {
            if fast {
                self.recovering = false;
                self.widen(pace.concurrency);
            }
        } else if fast {
            self.shorten(pace.max_pause);
        }
        self.wait(now, random);
    }

    /// The upstream could not, or nobody answered.
    pub(super) fn no(&mut self, now: AgentTime, sent_at: AgentTime, pace: Pace, random: &mut fastrand::Rng) {
        // Requests that were under way when the last no came say nothing new.
        if self.last_no_at.is_none_or(|last| sent_at >= last) {
            self.set(self.length().saturating_mul(2).max(FIRST).min(pace.max_pause));
        }
        self.last_no_at = Some(now);
        self.recovering = false;
        self.window = Passing::default();
        self.wait(now, random);
    }

    /// The wait after any answer; the jitter is applied after every bound, so that no two terminals
    /// keep step.
    pub(super) fn wait(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        self.until = now.after(self.length().mul_f64(0.5 + random.f64()));
    }

    /// Something that kept everybody from sending has ended: a tenth of how long it took stays, at
    /// most `longest`.
    pub(super) fn recover(&mut self, outage: Duration, longest: Duration, pace: Pace) {
        let rest = (outage / 10).min(longest).min(pace.max_pause);
        if rest >= NONE && rest > self.length() {
            self.set(rest);
        }
        self.recovering = true;
        self.window = Passing::default();
    }

    /// When the first failure after an outage goes: at once when the upstream is well, else
    /// somewhere within the pause.
    pub(super) fn first(&mut self, now: AgentTime, well: bool, random: &mut fastrand::Rng) {
        let wait = if well { Duration::ZERO } else { self.length().mul_f64(random.f64()) };
        self.until = now.after(wait);
    }

    /// A person wants it to go on.
    pub(super) fn end(&mut self, now: AgentTime) {
        *self = Self { last_no_at: self.last_no_at, ..Self::none(now) };
    }

    fn shorten(&mut self, max_pause: Duration) {
        let length = self.length().as_secs_f64();
        let share = if self.recovering { 0.5 } else { (length / max_pause.as_secs_f64()).clamp(0.1, 1.0 / 3.0) };
        let shorter = Duration::from_secs_f64(length * (1.0 - share));
        self.set(if shorter < NONE { Duration::ZERO } else { shorter });
        self.window = Passing::default();
    }

    fn widen(&mut self, concurrency: usize) {
        let Window { width, round } = &mut *self.window;
        *round += 1;
        if *round >= *width {
            *round = 0;
            *width = (*width + 1).min(concurrency);
        }
    }

    fn set(&mut self, length: Duration) {
        self.length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    }
}

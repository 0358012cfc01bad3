//! The pacing delay: how long after a response the next request may start.
//!
//! One length `d`; 0 is full speed. A slow-down signal doubles it, a speed-up signal reduces it by a share, and
//! an outage leaves a tenth of its duration behind. While `d` is not 0, one request is in flight; at 0 one more
//! after each round of successes. This keeps ten thousand terminals from overrunning a head office: the
//! constants come from simulating such a chain (`tests/chain.rs`).
//!
//! Not every error is a signal to slow down. While most recent attempts are accepted ([`Share`]), an error is
//! *sporadic*: `d` is unchanged, the window of requests in flight shrinks by one, and only the failure that got
//! the error waits. Where errors are so frequent that chance alone causes a run of them, `d` occasionally
//! leaves 0, so a delay that began at full speed is *light*: speed-up signals halve it, and it ends as soon as
//! most attempts are accepted again. A delay after an outage is not light, because there the errors are those
//! of a chain that comes back.
//!
//! A *rate limit* without `Retry-After` is found by the gaps between accepted requests ([`Spacing`]). Then a light
//! delay grows by doubling, shrinks by a tenth near the gap that was too short, and does not end because of the ratio.
//!
//! It is independent of failures, conditions and `Retry-After` (which is in `throttle`).

use super::share::Share;
use super::spacing::Spacing;
use super::transient::Passing;
use crate::moment::AgentTime;
use crate::policy::pace::Pace;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Minimum delay after a failed attempt.
pub const FIRST: Duration = Duration::from_secs(1);
/// A shorter delay is rounded to none.
const NONE: Duration = Duration::from_millis(50);
/// The same while a rate limit is respected: it may allow many requests a second.
const NONE_AT_A_LIMIT: Duration = Duration::from_millis(5);
/// At full speed an error is sporadic while the ratio of attempts to acceptances is below this.
const SPORADIC: f64 = 2.0;
/// While there is a delay, the limit is closer to the ratio which an overloaded chain of terminals reaches in
/// balance (1.3 to 1.5): with the greater limit such a chain would never slow down further.
const SPORADIC_PACED: f64 = 1.2;
/// Below this ratio the upstream accepts enough that a light delay does not grow beyond [`FIRST`].
const SERVED: f64 = 3.0;
/// After a shorter outage few failures wait, here and at other terminals, so its delay is light.
const LONG_OUTAGE: Duration = Duration::from_mins(1);
/// Maximum delay after an outage of the connection.
pub const AFTER_OUTAGE: Duration = Duration::from_secs(30);
/// Maximum delay after a block or a failing state: the upstream was reachable all the time, and so it was for
/// other terminals.
pub const AFTER_BLOCK: Duration = Duration::from_secs(5);

/// The pacing delay of one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    length_ms: u64,
    /// After an outage, until the first failed attempt: a success halves the delay.
    recovering: bool,
    /// It began at full speed, or with a short outage.
    #[serde(default)]
    light: bool,
    /// Until this time a new delay is not light: a chain may be coming back from the same outage.
    #[serde(default)]
    returning_until: Option<AgentTime>,
    /// Earliest start of the next request.
    until: AgentTime,
    last_no_at: Option<AgentTime>,
    /// Results of recent attempts.
    #[serde(skip)]
    share: Passing<Share>,
    /// The gaps of recent acceptances.
    #[serde(skip)]
    spacing: Passing<Spacing>,
    /// Maximum requests in flight at full speed: starts at one in every run.
    #[serde(skip)]
    window: Passing<Window>,
}

#[derive(Clone, Debug)]
struct Window {
    width: usize,
    /// Successes in the current round; a full round widens the window.
    round: usize,
    /// When it last shrank.
    narrowed_at: Option<AgentTime>,
}

impl Default for Window {
    fn default() -> Self {
        Self { width: 1, round: 0, narrowed_at: None }
    }
}

impl Pause {
    /// Full speed, beginning with one request.
    #[must_use]
    pub fn none(now: AgentTime) -> Self {
        Self {
            length_ms: 0,
            recovering: false,
            light: false,
            returning_until: None,
            until: now,
            last_no_at: None,
            share: Passing::default(),
            spacing: Passing::default(),
            window: Passing::default(),
        }
    }

    /// The current length, `d`.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_millis(self.length_ms)
    }

    /// Returns whether there is no delay.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.length_ms == 0
    }

    /// When the next request may start.
    #[must_use]
    pub fn until(&self) -> AgentTime {
        self.until
    }

    /// Maximum number of requests in flight.
    #[must_use]
    pub fn width(&self, concurrency: usize) -> usize {
        if self.is_none() { self.window.width.min(concurrency) } else { 1 }
    }

    /// Records the end of an attempt, whatever its result.
    pub(super) fn attempted(&mut self) {
        self.share.attempt();
    }

    /// Records that the upstream processed the request of the attempt that has just ended. `slow`: it took so
    /// long that the load must not grow.
    pub(super) fn yes(
        &mut self,
        now: AgentTime,
        sent_at: AgentTime,
        slow: bool,
        pace: Pace,
        random: &mut fastrand::Rng,
    ) {
        self.share.accept();
        self.spacing.accept(sent_at);
        match (slow, self.is_none()) {
            (true, _) => {}
            (false, true) => {
                self.recovering = false;
                self.widen(pace.concurrency);
            }
            (false, false) if self.light && self.spacing.too_short().is_none() && self.share.is_below(SPORADIC) => {
                self.share.forgive();
                self.set(Duration::ZERO);
                self.window = Passing::default();
            }
            (false, false) => self.shorten(pace.max_pause),
        }
        self.wait(now, random);
    }

    /// Returns whether the attempt that has just ended is a sporadic error. If so, only its failure waits, and
    /// at full speed the window shrinks by one. While there is a delay, a timeout is never sporadic: an
    /// upstream that lets requests queue signals overload by timeouts alone, and late.
    pub(super) fn sporadic(
        &mut self,
        now: AgentTime,
        sent_at: AgentTime,
        answered: bool,
        random: &mut fastrand::Rng,
    ) -> bool {
        let limited = answered && self.is_limited(now, sent_at);
        let sporadic = if self.is_none() {
            self.share.is_below(SPORADIC) && !limited
        } else {
            answered && self.share.is_below(SPORADIC_PACED) && self.share.is_established()
        };
        if sporadic {
            self.recovering &= self.is_none();
            self.narrow(now, sent_at);
            self.wait(now, random);
        }
        sporadic
    }

    /// Returns whether a rate limit explains the rejection of the attempt that has just ended. Not while several
    /// requests are in flight, because the window shrinks first; and not while a chain may be coming back, because its
    /// terminals overload an upstream together.
    fn is_limited(&mut self, now: AgentTime, sent_at: AgentTime) -> bool {
        let light = self.light || (self.is_none() && self.is_alone(now));
        let limited = self.spacing.reject(sent_at) && light && self.window.width == 1;
        if !limited {
            self.spacing.forget_limit();
        }
        limited
    }

    /// No chain may be coming back from the same outage.
    fn is_alone(&self, now: AgentTime) -> bool {
        self.returning_until.is_none_or(|until| now >= until)
    }

    /// Returns whether the share of errors explains so many in a row.
    pub(super) fn explains(&self, errors: u32) -> bool {
        self.share.explains(errors)
    }

    /// Records that the upstream was unavailable or did not respond, if that is not sporadic.
    pub(super) fn no(&mut self, now: AgentTime, sent_at: AgentTime, pace: Pace, random: &mut fastrand::Rng) {
        // Requests that were in flight at the last failed attempt add no information.
        if self.last_no_at.is_none_or(|last| sent_at >= last) {
            if !self.spacing.explains(sent_at) {
                self.spacing.forget_limit();
            }
            self.light |= self.is_none() && self.is_alone(now);
            let limit = self.spacing.too_short();
            let may_be_chance = self.share.is_below(SERVED) || self.share.is_young();
            let longest =
                if self.light && limit.is_none() && may_be_chance { FIRST.max(self.length()) } else { pace.max_pause };
            let least = match (limit, self.is_none()) {
                (None, _) => FIRST,
                // The gap that was long enough for the others.
                (Some(_), true) => self.spacing.shortest_accepted().map_or(FIRST, |gap| gap.min(FIRST)),
                (Some(_), false) => Duration::ZERO,
            };
            self.set(self.length().saturating_mul(2).max(least).min(longest.min(pace.max_pause)));
        }
        self.last_no_at = Some(now);
        self.recovering = false;
        self.window = Passing::default();
        self.wait(now, random);
    }

    /// Sets the delay after a response. Jitter is applied after every bound, so that terminals do not
    /// synchronize.
    pub(super) fn wait(&mut self, now: AgentTime, random: &mut fastrand::Rng) {
        self.until = now.after(self.length().mul_f64(0.5 + random.f64()));
    }

    /// Ends an outage: a tenth of its duration, at most `longest`, remains as the delay.
    pub(super) fn recover(&mut self, now: AgentTime, outage: Duration, longest: Duration, pace: Pace) {
        if outage >= LONG_OUTAGE {
            self.returning_until = Some(now.after(outage / 10));
        }
        let rest = (outage / 10).min(longest).min(pace.max_pause);
        if rest >= NONE && rest > self.length() {
            self.light = outage < LONG_OUTAGE && (self.light || self.is_none());
            self.set(rest);
        }
        self.recovering = true;
        self.spacing.forget_limit();
        self.window = Passing::default();
    }

    /// Sets when the first failure after an outage is sent: at once if the upstream is healthy, otherwise at a
    /// random time within the delay.
    pub(super) fn first(&mut self, now: AgentTime, well: bool, random: &mut fastrand::Rng) {
        let wait = if well { Duration::ZERO } else { self.length().mul_f64(random.f64()) };
        self.until = now.after(wait);
    }

    /// An operator resumed the upstream: the delay ends.
    pub(super) fn end(&mut self, now: AgentTime) {
        let (share, spacing) = (self.share.clone(), self.spacing.clone());
        *self = Self { last_no_at: self.last_no_at, share, spacing, ..Self::none(now) };
        self.spacing.forget_limit();
    }

    fn shorten(&mut self, max_pause: Duration) {
        let length = self.length().as_secs_f64();
        let halves = self.recovering || self.light;
        let (share, none) = match self.spacing.too_short() {
            // Close to the limit; a rejection doubles the delay, so one in seven requests is rejected in balance.
            Some(gap) if self.length() / 2 <= gap => (0.1, NONE_AT_A_LIMIT),
            Some(_) => (0.5, NONE_AT_A_LIMIT),
            None if halves => (0.5, NONE),
            None => ((length / max_pause.as_secs_f64()).clamp(0.1, 1.0 / 3.0), NONE),
        };
        let shorter = Duration::from_secs_f64(length * (1.0 - share));
        if shorter < none {
            self.spacing.forget_limit();
            self.set(Duration::ZERO);
        } else {
            self.set(shorter);
        }
        self.window = Passing::default();
    }

    fn widen(&mut self, concurrency: usize) {
        let Window { width, round, .. } = &mut *self.window;
        *round += 1;
        if *round >= *width {
            *round = 0;
            *width = (*width + 1).min(concurrency);
        }
    }

    /// Requests that were in flight when the window last shrank add no information.
    fn narrow(&mut self, now: AgentTime, sent_at: AgentTime) {
        let Window { width, round, narrowed_at } = &mut *self.window;
        if narrowed_at.is_none_or(|at| sent_at >= at) {
            (*width, *round, *narrowed_at) = ((*width - 1).max(1), 0, Some(now));
        }
    }

    fn set(&mut self, length: Duration) {
        self.length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    }
}

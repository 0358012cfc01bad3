//! How long acceptances of an upstream usually take; the reference for slow responses.
//!
//! A slow response may mean that the upstream is overloaded, and then the load must not grow. But some
//! upstreams are always slow (six seconds for a posting in an ERP), and waiting for them to become faster would
//! send one request at a time for ever. So slow is relative: more than twice the usual latency. The usual
//! latency is the lowest smoothed one of the last day, so that an overload of hours does not become usual, and
//! a permanent change does after a day.
//!
//! What is learned while requests are paced may be the latency of an overload, so it counts as at most five
//! seconds until it has lasted for hours.

use crate::moment::AgentTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Responses that take no longer than this are never slow.
const NEVER_SLOW: Duration = Duration::from_secs(5);
/// A response that takes more than this multiple of the usual latency is slow.
const TIMES_USUAL: u32 = 2;
/// Weight of a new latency in the smoothed one: a single quick response must not make the others slow.
const WEIGHT: f64 = 1.0 / 8.0;
/// Number of acceptances that form the first smoothed latency.
const FIRST: u32 = 10;
/// The day is divided into periods of this length, each with its own lowest latency.
const PERIOD: Duration = Duration::from_hours(4);
/// The current period, and a whole day before it.
const PERIODS: usize = 7;

/// Smoothed latency of acceptances, and its minima.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    smoothed_ms: f64,
    /// Number of acceptances that went into it, at most [`FIRST`].
    learned: u32,
    /// The lowest smoothed latency of each period, the current one last.
    lowest: Vec<Lowest>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lowest {
    since: AgentTime,
    ms: u64,
    /// No value of this period was learned at full speed.
    paced: bool,
}

impl Latency {
    /// Records the duration of an acceptance. `paced`: not at full speed.
    pub(super) fn learn(&mut self, now: AgentTime, took: Duration, paced: bool) {
        let ms = took.as_secs_f64() * 1e3;
        self.learned = (self.learned + 1).min(FIRST);
        // The first ones have equal weights.
        let weight = if self.learned < FIRST { 1.0 / f64::from(self.learned) } else { WEIGHT };
        self.smoothed_ms += (ms - self.smoothed_ms) * weight;
        if self.learned == FIRST {
            self.note(now, paced);
        }
    }

    fn note(&mut self, now: AgentTime, paced: bool) {
        let ms =
            u64::try_from(Duration::from_secs_f64(self.smoothed_ms.max(0.0) / 1e3).as_millis()).unwrap_or(u64::MAX);
        match self.lowest.last_mut().filter(|last| now.since(last.since) < PERIOD) {
            Some(last) => {
                last.ms = last.ms.min(ms);
                last.paced &= paced;
            }
            None => self.lowest.push(Lowest { since: now, ms, paced }),
        }
        let most = PERIOD * u32::try_from(PERIODS).unwrap_or(u32::MAX);
        // The newest period counts until there is another, however old it is.
        while self.lowest.len() > 1 && (self.lowest.len() > PERIODS || now.since(self.lowest[0].since) > most) {
            self.lowest.remove(0);
        }
    }

    /// The usual latency; `None` before there are enough acceptances.
    #[must_use]
    pub fn usual(&self, now: AgentTime) -> Option<Duration> {
        let counted = |lowest: &Lowest| {
            let took = Duration::from_millis(lowest.ms);
            let doubtful = lowest.paced && now.since(lowest.since) < PERIOD;
            if doubtful { took.min(NEVER_SLOW) } else { took }
        };
        self.lowest.iter().map(counted).min()
    }

    /// Returns whether a response took so long that the upstream may be overloaded. `paced`: it was overloaded
    /// or unavailable a moment ago; then a long response is slow unless it is known to be usual.
    pub(super) fn is_slow(&self, now: AgentTime, took: Duration, paced: bool) -> bool {
        took > NEVER_SLOW && self.usual(now).map_or(paced, |usual| took > usual.saturating_mul(TIMES_USUAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_hours(1);

    fn at(after: Duration) -> AgentTime {
        AgentTime::ZERO.after(after)
    }

    #[test]
    fn slow_is_twice_the_usual_and_never_less_than_five_seconds() {
        let mut latency = Latency::default();
        (0..10).for_each(|_| latency.learn(at(SECOND), SECOND / 10, false));
        assert_eq!(latency.usual(at(SECOND)), Some(SECOND / 10));
        assert!(!latency.is_slow(at(SECOND), 5 * SECOND, false) && latency.is_slow(at(SECOND), 6 * SECOND, false));

        let mut latency = Latency::default();
        for n in 0..10 {
            assert_eq!(latency.usual(at(SECOND)), None, "after {n}");
            assert!(!latency.is_slow(at(SECOND), 6 * SECOND, false), "it is being learned");
            assert!(latency.is_slow(at(SECOND), 6 * SECOND, true), "there was an overload");
            latency.learn(at(SECOND), 6 * SECOND, false);
        }
        assert!(!latency.is_slow(at(SECOND), 12 * SECOND, true) && latency.is_slow(at(SECOND), 13 * SECOND, true));
    }

    #[test]
    fn an_overload_of_hours_does_not_become_usual_and_a_change_for_good_does() {
        let mut latency = Latency::default();
        (0..10).for_each(|_| latency.learn(at(SECOND), SECOND / 10, false));
        for hour in 1..24 {
            (0..20).for_each(|_| latency.learn(at(hour * HOUR), 8 * SECOND, true));
            assert!(latency.is_slow(at(hour * HOUR), 8 * SECOND, true), "in hour {hour}");
        }
        (24..34).for_each(|hour| (0..20).for_each(|_| latency.learn(at(hour * HOUR), 8 * SECOND, true)));
        assert!(!latency.is_slow(at(34 * HOUR), 8 * SECOND, true));
        assert!(latency.lowest.len() <= PERIODS);
    }

    #[test]
    fn what_is_learned_under_an_overload_counts_little_until_it_lasts() {
        let mut latency = Latency::default();
        (0..10).for_each(|_| latency.learn(at(SECOND), 20 * SECOND, true));
        assert!(latency.is_slow(at(HOUR), 20 * SECOND, true) && !latency.is_slow(at(HOUR), 9 * SECOND, true));
        assert!(!latency.is_slow(at(5 * HOUR), 20 * SECOND, true));
    }
}

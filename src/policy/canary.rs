//! The canary: one failure at a time that is sent although the upstream is unavailable.
//!
//! An upstream that is offline, blocked or failing recovers with an acceptance, so something has to be sent.
//! [`Canary`] decides when; [`Routes`] helps to choose the failure. Always choosing the oldest would starve the
//! others behind a hundred heads of one broken route, so the least recently attempted route comes first, and of
//! its heads the least recently attempted one.
//!
//! A canary never counts, except when it is rejected; otherwise its result is judged like that of any attempt.

use crate::moment::AgentTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// First delay while the upstream is reachable: the fault may be over in a moment.
const FIRST_SHUT: Duration = Duration::from_secs(2);
/// Maximum delay while the upstream is reachable.
const LONGEST_SHUT: Duration = Duration::from_mins(2);
/// First delay while offline: probes are quicker and cheaper; canaries are for upstreams whose probes are unreliable.
const FIRST_OFFLINE: Duration = Duration::from_mins(1);
/// Maximum delay while offline, before jitter.
const LONGEST_OFFLINE: Duration = Duration::from_mins(5);

/// When the next canary is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Canary {
    /// Never: the upstream is available.
    Off,
    /// The upstream is unavailable.
    Armed {
        /// Number of canaries scheduled before this one during this outage.
        n: u32,
        /// Earliest time.
        at: AgentTime,
    },
}

/// Why a canary is needed, which decides its pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The upstream is unreachable.
    Offline,
    /// Blocked or failing: reachable, but accepting nothing.
    Shut,
}

impl Canary {
    /// The time at which the next canary is due.
    #[must_use]
    pub fn at(&self) -> Option<AgentTime> {
        match self {
            Self::Off => None,
            Self::Armed { at, .. } => Some(*at),
        }
    }

    /// The upstream became unavailable, or the reason changed: the delays start again from the first.
    pub(super) fn arm(&mut self, now: AgentTime, need: Need, random: &mut fastrand::Rng) {
        *self = Self::Armed { n: 0, at: now.after(wait(0, need, random)) };
    }

    /// A canary ended without recovery.
    pub(super) fn again(&mut self, now: AgentTime, need: Need, random: &mut fastrand::Rng) {
        let n = match self {
            Self::Off => 0,
            Self::Armed { n, .. } => n.saturating_add(1),
        };
        *self = Self::Armed { n, at: now.after(wait(n, need, random)) };
    }

    /// Number of canaries scheduled before the next one.
    pub(super) fn planned(&self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Armed { n, .. } => *n,
        }
    }

    /// The previous outage has returned: the delays continue after `n` canaries.
    pub(super) fn arm_behind(&mut self, n: u32, now: AgentTime, need: Need, random: &mut fastrand::Rng) {
        let n = n.saturating_add(1);
        *self = Self::Armed { n, at: now.after(wait(n, need, random)) };
    }

    /// The upstream has recovered.
    pub(super) fn stop(&mut self) {
        *self = Self::Off;
    }
}

fn wait(n: u32, need: Need, random: &mut fastrand::Rng) -> Duration {
    let doubled = |first: Duration, longest: Duration| first.saturating_mul(1 << n.min(20)).min(longest);
    match need {
        Need::Shut => doubled(FIRST_SHUT, LONGEST_SHUT).mul_f64(0.8 + 0.4 * random.f64()),
        Need::Offline => doubled(FIRST_OFFLINE, LONGEST_OFFLINE).mul_f64(0.5 + random.f64()),
    }
}

/// The unit of fairness among canaries: entity type and action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `RETURN`, `SALE`, …
    pub entity_type: String,
    /// `CREATE`, `UPDATE`, …
    pub action: String,
}

/// The most recently attempted routes, the latest last. In memory only and bounded: a route that is missing was
/// attempted before all others, or never in this run.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    tried: VecDeque<Route>,
}

impl Routes {
    /// Maximum number of remembered routes.
    const MOST: usize = 64;

    pub(super) fn tried(&mut self, route: &Route) {
        self.tried.retain(|known| known != route);
        self.tried.push_back(route.clone());
        if self.tried.len() > Self::MOST {
            self.tried.pop_front();
        }
    }

    /// How recently a route was attempted: a smaller number is longer ago, 0 is never.
    #[must_use]
    pub fn recency(&self, route: &Route) -> usize {
        self.tried.iter().position(|known| known == route).map_or(0, |place| place + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound() {
        let mut random = fastrand::Rng::with_seed(1);
        for (need, first, longest, low, high) in
            [(Need::Shut, 2.0, 120.0, 0.8, 1.2), (Need::Offline, 60.0, 300.0, 0.5, 1.5)]
        {
            let mut canary = Canary::Off;
            canary.arm(AgentTime::ZERO, need, &mut random);
            let mut base: f64 = first;
            for n in 0..12 {
                let Canary::Armed { n: planned, at } = canary else { panic!("not armed") };
                let waits = at.since(AgentTime::ZERO).as_secs_f64();
                assert_eq!(planned, n);
                assert!(waits >= base * low && waits <= base * high + 0.001, "{need:?} {n}: {waits}");
                base = (base * 2.0).min(longest);
                canary.again(AgentTime::ZERO, need, &mut random);
            }
        }
    }

    #[test]
    fn routes_are_ordered_by_their_last_try() {
        let route = |name: &str| Route { entity_type: name.into(), action: "CREATE".into() };
        let mut routes = Routes::default();
        for name in ["a", "b", "a"] {
            routes.tried(&route(name));
        }
        let mut found = [route("a"), route("b"), route("new")];
        found.sort_by_key(|candidate| routes.recency(candidate));
        assert_eq!(found, [route("new"), route("b"), route("a")]);
        (0..1000).for_each(|n| routes.tried(&route(&n.to_string())));
        assert_eq!(routes.tried.len(), Routes::MOST);
    }
}

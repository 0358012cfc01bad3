//! The canary: one failure at a time that is tried though the upstream is shut (`spec/03`, Canary).
//!
//! Offline, blocked or failing, an upstream opens by an acceptance, and something has to be sent for
//! that. [`Canary`] says when; [`Routes`] helps to choose which: always the oldest would starve
//! behind a hundred heads of one broken route, so the route that was tried longest ago comes first,
//! and of its heads the one that was tried longest ago.
//!
//! A canary never counts, except when it is refused; what it brings is judged like any other try.

use crate::moment::AgentTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// The first wait while the line is there: the fault may be over in a moment.
const FIRST_SHUT: Duration = Duration::from_secs(2);
/// The longest wait while the line is there.
const LONGEST_SHUT: Duration = Duration::from_mins(2);
/// The first wait while offline: probes are quicker and cheaper, the canary is for where they lie.
const FIRST_OFFLINE: Duration = Duration::from_mins(1);
/// The longest base of a wait while offline.
const LONGEST_OFFLINE: Duration = Duration::from_mins(5);

/// When the next canary is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Canary {
    /// The upstream is open.
    Off,
    /// The upstream is shut.
    Armed {
        /// Canaries planned before this one since it was shut.
        n: u32,
        /// Not before.
        at: AgentTime,
    },
}

/// Why a canary is needed, which decides its pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nobody answers.
    Offline,
    /// Blocked or failing: it answers, but takes nothing.
    Shut,
}

impl Canary {
    /// When it is due.
    #[must_use]
    pub fn at(&self) -> Option<AgentTime> {
        match self {
            Self::Off => None,
            Self::Armed { at, .. } => Some(*at),
        }
    }

    /// The upstream was shut, or is shut for another reason now: the waits begin anew.
    pub(super) fn arm(&mut self, now: AgentTime, need: Need, random: &mut fastrand::Rng) {
        *self = Self::Armed { n: 0, at: now.after(wait(0, need, random)) };
    }

    /// One has come back and has not opened it.
    pub(super) fn again(&mut self, now: AgentTime, need: Need, random: &mut fastrand::Rng) {
        let n = match self {
            Self::Off => 0,
            Self::Armed { n, .. } => n.saturating_add(1),
        };
        *self = Self::Armed { n, at: now.after(wait(n, need, random)) };
    }

    /// The upstream is open.
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

/// What shares a way through the upstream: entity type and action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `RETURN`, `SALE`, …
    pub entity_type: String,
    /// `CREATE`, `UPDATE`, …
    pub action: String,
}

/// The routes that were tried last, the latest at the end. Memory only and bounded: a route that is
/// not in it was tried longest ago, or never in this run.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    tried: VecDeque<Route>,
}

impl Routes {
    /// So many are told apart.
    const MOST: usize = 64;

    pub(super) fn tried(&mut self, route: &Route) {
        self.tried.retain(|known| known != route);
        self.tried.push_back(route.clone());
        if self.tried.len() > Self::MOST {
            self.tried.pop_front();
        }
    }

    /// How recently a route was tried: smaller is longer ago, 0 is never.
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

//! Chooses a failure's upstream and route. The choice is made when the failure is recorded, and stored; a changed
//! configuration repeats it.

use super::Agent;
use crate::config::{Config, Route, route};
use crate::record::Failure;

/// The result of routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Use this upstream.
    To(usize),
    /// Routes exist and none matches: an operator has to act.
    NoRoute,
    /// No upstream is configured yet: the failure waits for one.
    NoUpstream,
}

pub(super) use crate::store::failures::NO_ROUTE;

impl Agent {
    pub(super) fn way(&self, entity_type: &str, action: &str) -> Way {
        if self.upstreams.is_empty() {
            return Way::NoUpstream;
        }
        if self.config.routes.is_empty() {
            return Way::To(0);
        }
        let route = route::first(&self.config.routes, entity_type, action);
        let line = route.and_then(|route| self.upstreams.iter().position(|line| line.config.name == route.upstream));
        line.map_or(Way::NoRoute, Way::To)
    }

    /// The configuration that routing depends on, as one text.
    pub(super) fn routes_word(&self) -> String {
        let any = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
        let word = |route: &Route| format!("{} {} {}", any(&route.entity_type), any(&route.action), route.upstream);
        self.config.routes.iter().map(word).collect::<Vec<_>>().join("\n")
    }

    /// The route by which a failure goes to its upstream; `None`: as an envelope.
    pub(super) fn route(&self, failure: &Failure) -> Option<&Route> {
        by(&self.config, failure)
    }
}

/// The route of this configuration by which a failure goes to its upstream.
pub(super) fn by<'c>(config: &'c Config, failure: &Failure) -> Option<&'c Route> {
    let upstream = failure.upstream.as_ref();
    let mut routes = config.routes.iter().filter(|route| Some(&route.upstream) == upstream);
    routes.find(|route| route.matches(&failure.entity_type, &failure.action))
}

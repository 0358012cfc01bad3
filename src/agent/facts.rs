//! What a query's answer needs from the agent's memory, because no table holds it.

use super::retry_columns;
use crate::figures::Known;
use crate::figures::UpstreamFigures;
use crate::figures::series::Kept;
use crate::ids::{FailureId, Seq};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::alert::Alert;
use crate::policy::upstream::Upstream;
use crate::record::{Failure, Status};
use crate::store::StoreError;
use crate::store::reader::Reader;
use crate::wire::reply::{RetryAfter, UpstreamView};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Facts that are in the agent's memory and not in the table.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When the query was made; `None` without a running agent.
    pub now: Option<Moment>,
    /// The same by the wall clock; set without an agent too.
    pub wall: Option<WallTime>,
    /// The failures in flight.
    pub in_flight: Vec<Seq>,
    /// For upstreams with strict order: the oldest live failure, which is sent before all others.
    pub fronts: BTreeMap<String, (Seq, FailureId)>,
    /// Per upstream, the number up to which failures need not wait for contact.
    pub contact: BTreeMap<String, i64>,
    /// The upstreams' states.
    pub upstreams: Vec<UpstreamView>,
    /// When an upstream last accepted a failure.
    pub last_delivery_at: Option<WallTime>,
    /// Free bytes of the file system.
    pub disk_free: Option<u64>,
    /// An upstream's clock minus ours, in milliseconds.
    pub clock_skew_ms: Option<i64>,
    /// Why recording is currently refused.
    pub refusing: Option<String>,
    /// What keeps clients from connecting.
    pub socket_trouble: Vec<String>,
    /// A damaged database is being salvaged while recording continues.
    pub not_back_yet: Option<String>,
    /// Set for the metrics only.
    pub known: Option<Box<Known>>,
    /// The alerts on the board.
    pub alerts: Arc<Vec<Alert>>,
    /// Why a changed configuration is not in force.
    pub refused_reload: Option<String>,
    /// Set for the series only: when it was queried, and the counts that the table lacks.
    pub series: Option<(Moment, Vec<Kept>)>,
}

impl Facts {
    /// The facts that are known without a running agent.
    pub fn without_agent(reader: &Reader, now: Moment) -> Result<Self, StoreError> {
        let stored = reader.upstreams()?;
        let last_delivery_at = stored.iter().filter_map(|(_, state)| state.last_delivery_at).max();
        Ok(Self {
            fronts: reader.fronts()?,
            contact: stored.iter().map(|(name, state)| (name.clone(), state.contact_seq)).collect(),
            upstreams: stored.iter().map(|(name, state)| upstream_view(name, state, now)).collect(),
            last_delivery_at,
            known: Some(Box::new(known_without_agent(now.agent, &stored))),
            alerts: Arc::new(reader.alerts()?),
            series: Some((now, Vec::new())),
            wall: Some(now.wall),
            ..Self::default()
        })
    }

    /// The state of a failure as clients see it, derived from its row and its upstream.
    pub(super) fn state(&self, failure: &Failure) -> &'static str {
        match failure.status {
            Status::Held => return "held",
            Status::Critical => return "critical",
            Status::Pending if !failure.head || self.in_front_of(failure).is_some() => return "blocked",
            Status::Pending => {}
        }
        let line_there = || {
            let newest = failure.upstream.as_ref().and_then(|name| self.contact.get(name));
            newest.is_some_and(|newest| failure.seq.0 <= *newest)
        };
        match (failure.due_at, self.now) {
            _ if self.in_flight.contains(&failure.seq) => "in_flight",
            (Some(at), Some(now)) if at > now.agent => "scheduled",
            (None, _) if !line_there() => "scheduled",
            _ => "due",
        }
    }
}

impl Facts {
    /// The failure that must be removed before this one: the head of its order key, or the front of a strict order.
    pub(super) fn blocked_by<'a>(&'a self, failure: &Failure, head: Option<&'a FailureId>) -> Option<&'a FailureId> {
        head.or_else(|| self.in_front_of(failure))
    }

    /// A `Retry-After` that the upstream set for this failure alone.
    pub(super) fn asked_to_wait(&self, failure: &Failure) -> Option<RetryAfter> {
        let now = self.now.filter(|_| failure.status == Status::Pending)?;
        RetryAfter::of(&retry_columns::retry_state(failure), failure.upstream.as_deref(), now)
    }

    pub(super) fn in_front_of(&self, failure: &Failure) -> Option<&FailureId> {
        let (seq, id) = self.fronts.get(failure.upstream.as_deref()?)?;
        (*seq < failure.seq).then_some(id)
    }
}

/// The state of an upstream as clients see it.
pub(super) fn upstream_view(name: &str, state: &Upstream, now: Moment) -> UpstreamView {
    UpstreamView {
        name: name.to_owned(),
        state: state.state(now.agent),
        since: state.since().rfc3339(),
        next_try_at: state.next_try_at(now).map(WallTime::rfc3339),
        conditions: state.conditions(now.agent).iter().map(|condition| condition.as_str()).collect(),
        reason: state.reason().map(str::to_owned),
        latency_ms: state.latency().map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// The figures of an upstream that its stored state knows.
pub(super) fn line_figures(name: &str, state: &Upstream) -> UpstreamFigures {
    UpstreamFigures {
        upstream: name.to_owned(),
        last_delivery_at: state.last_delivery_at,
        ..UpstreamFigures::default()
    }
}

/// The metrics that are known without a running agent.
fn known_without_agent(now: AgentTime, stored: &[(String, Upstream)]) -> Known {
    let lines = stored.iter().map(|(name, state)| line_figures(name, state)).collect();
    Known { now, counters: None, lines, alerts: Vec::new(), disk_free: None }
}

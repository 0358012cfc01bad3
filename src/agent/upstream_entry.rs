//! A configured upstream at run time: its configuration, its state, and what the agent remembers of it.

use crate::config::upstream::Ordering;
use crate::config::{Config, Upstream as UpstreamConfig};
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment};
use crate::policy::ending::Target;
use crate::policy::pace::Pace;
use crate::policy::upstream::Upstream;
use crate::store::{Store, StoreError};
use std::time::Duration;

/// An upstream's run-time entry.
#[derive(Debug)]
pub(super) struct UpstreamEntry {
    pub(super) config: UpstreamConfig,
    pub(super) pace: Pace,
    pub(super) target: Target,
    pub(super) state: Upstream,
    /// The state as last stored; `None`: the stored state is unknown.
    pub(super) stored: Option<Upstream>,
    /// Number of its prefetched requests.
    pub(super) ahead: usize,
    /// Under strict order: no live failure of the upstream has a smaller number.
    pub(super) front: Seq,
    /// The route of the last canary; the next search starts after it.
    pub(super) canary_after: (String, String),
    /// When a critical failure gets its second chance though nothing was accepted; `None`: not computed since a failure
    /// became critical.
    pub(super) next_chance: Option<AgentTime>,
}

impl UpstreamEntry {
    /// All configured upstreams, each with its stored state.
    pub(super) fn all(store: &Store, config: &Config, now: Moment) -> Result<Vec<Self>, StoreError> {
        let line = |upstream: &UpstreamConfig| Ok(Self::new(upstream, store.upstream(&upstream.name)?, now));
        config.upstreams.iter().map(line).collect()
    }

    /// An upstream not contacted in this run, with its stored state if there is one.
    pub(super) fn new(upstream: &UpstreamConfig, known: Option<Upstream>, now: Moment) -> Self {
        let mut state = known.unwrap_or_else(|| Upstream::new(now));
        state.start(now);
        Self {
            pace: Pace {
                concurrency: upstream.concurrency,
                max_pause: upstream.max_pause,
                min_gap: upstream.max_rate.map_or(Duration::ZERO, |rate| rate.gap),
                probe_idle: upstream.probe.idle,
                ordering: upstream.ordering,
            },
            target: Target::of(&upstream.url),
            config: upstream.clone(),
            state,
            stored: None,
            ahead: 0,
            front: Seq(0),
            canary_after: <(String, String)>::default(),
            next_chance: None,
        }
    }

    /// How heads are marked, in stored form.
    pub(super) fn ordering_word(&self) -> &'static str {
        match self.pace.ordering {
            Ordering::Key => "key",
            Ordering::Strict => "strict",
            Ordering::None => "none",
        }
    }
}

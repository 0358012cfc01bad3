//! One configured upstream and where it stands, with what the agent remembers of it.

use crate::config::upstream::Ordering;
use crate::config::{Config, Upstream as UpstreamConfig};
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment};
use crate::policy::class::Target;
use crate::policy::upstream::{Pace, Upstream};
use crate::store::{Store, StoreError};
use std::time::Duration;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) config: UpstreamConfig,
    pub(super) pace: Pace,
    pub(super) target: Target,
    pub(super) state: Upstream,
    /// As it was last stored; `None`: what the file says of it is not known.
    pub(super) stored: Option<Upstream>,
    /// Requests that are held ready for it.
    pub(super) ahead: usize,
    /// Under strict order: nothing live of it has a smaller number.
    pub(super) front: Seq,
    /// When a critical failure gets its second chance though nothing was accepted; `None`: it was
    /// not looked at since one became critical.
    pub(super) next_chance: Option<AgentTime>,
}

impl Line {
    /// The configured ones, each from where it stood.
    pub(super) fn all(store: &Store, config: &Config, now: Moment) -> Result<Vec<Self>, StoreError> {
        let line = |upstream: &UpstreamConfig| Ok(Self::new(upstream, store.upstream(&upstream.name)?, now));
        config.upstreams.iter().map(line).collect()
    }

    /// One that is met anew, from where it stood.
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
            next_chance: None,
        }
    }

    /// How heads are marked, as it is stored.
    pub(super) fn ordering_word(&self) -> &'static str {
        match self.pace.ordering {
            Ordering::Key => "key",
            Ordering::Strict => "strict",
            Ordering::None => "none",
        }
    }
}

//! The reply to `series`, written by the agent and read by clients.

use super::series::{Point, Series, Tally};
use serde::{Deserialize, Serialize};

/// The reply to `series`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesReply {
    pub step_seconds: u64,
    pub points: Vec<PointView>,
}

/// One point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointView {
    pub at: String,
    #[serde(flatten)]
    pub all: TallyView,
    pub pending: u64,
    pub critical: u64,
    pub held: u64,
    pub upstreams: Vec<UpstreamTallyView>,
}

/// Counts of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamTallyView {
    pub name: String,
    #[serde(flatten)]
    pub tally: TallyView,
}

/// Counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallyView {
    pub recorded: u64,
    pub delivered: u64,
    pub failed: u64,
    pub refused: u64,
    pub offline_seconds: u64,
    pub shut_seconds: u64,
}

impl From<Tally> for TallyView {
    fn from(tally: Tally) -> Self {
        let Tally { recorded, delivered, failed, refused, offline_ms, shut_ms } = tally;
        let seconds = |ms: u64| (ms + 500) / 1000;
        Self {
            recorded,
            delivered,
            failed,
            refused,
            offline_seconds: seconds(offline_ms),
            shut_seconds: seconds(shut_ms),
        }
    }
}

impl From<&Series> for SeriesReply {
    fn from(series: &Series) -> Self {
        let point = |point: &Point| PointView {
            at: point.at.rfc3339(),
            all: point.all().into(),
            pending: point.live.pending,
            critical: point.live.critical,
            held: point.live.held,
            upstreams: point
                .upstreams
                .iter()
                .map(|(name, tally)| UpstreamTallyView { name: name.clone(), tally: (*tally).into() })
                .collect(),
        };
        Self { step_seconds: series.step.as_secs(), points: series.points.iter().map(point).collect() }
    }
}

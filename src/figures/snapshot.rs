//! A snapshot of a terminal, combined from the replies of its agent.
//!
//! One model for all displays, so that a screen, a report and a line of text cannot differ. It is built from
//! replies that any client may request, and contains only stored data. Parts that were not requested are empty.

use super::ByStatus;
use super::digest::Digest;
use super::told::SeriesReply;
use crate::moment::WallTime;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// Maximum failures of a kind in a snapshot.
const HEAD: usize = 20;

/// A part of a snapshot: one request, one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The `health` reply.
    Health,
    /// The oldest failures that need an operator.
    Critical,
    /// The oldest failures on hold.
    Held,
    /// Active and recently ended alerts.
    Alerts,
    /// The results of failures recorded in the last day.
    Statistics,
    /// The series of the last day.
    Day,
    /// The series of the last month.
    Month,
    /// The summary of the last month's attempts.
    Digest,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 8] = [
        Self::Health,
        Self::Critical,
        Self::Held,
        Self::Alerts,
        Self::Statistics,
        Self::Day,
        Self::Month,
        Self::Digest,
    ];

    /// The request for this part.
    #[must_use]
    pub fn question(self, now: WallTime) -> Value {
        let since = |span: Duration| now.before(span).rfc3339();
        match self {
            Self::Health => json!({"op": "health"}),
            Self::Critical => json!({"op": "list", "status": "critical", "limit": HEAD}),
            Self::Held => json!({"op": "list", "status": "held", "limit": HEAD}),
            Self::Alerts => json!({"op": "alerts"}),
            Self::Statistics => json!({"op": "stats"}),
            Self::Day => json!({"op": "series", "since": since(DAY)}),
            Self::Month => json!({"op": "series", "since": since(MONTH)}),
            Self::Digest => json!({"op": "digest", "since": since(MONTH)}),
        }
    }
}

/// The combined replies.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// True if a running agent replied; false if the store was read.
    pub running: bool,
    /// Why none replied, where more is known than that none runs.
    pub absence: Option<Absence>,
    /// The `health` reply.
    pub health: Health,
    /// The oldest failures that need an operator.
    pub critical: Failures,
    /// The oldest failures on hold.
    pub held: Failures,
    /// Alerts, active ones first.
    pub alerts: Alerts,
    /// The results of failures recorded in the last day.
    pub statistics: Statistics,
    /// The series of the last day.
    pub day: SeriesReply,
    /// The series of the last month.
    pub month: SeriesReply,
    /// The summary of the last month's attempts.
    pub digest: Digest,
}

impl Snapshot {
    /// Adds a reply; the error describes an invalid one.
    pub fn take(&mut self, part: Part, reply: Value) -> Result<(), String> {
        let wrong = |error: serde_json::Error| format!("the reply to {part:?} is not understood: {error}");
        let mut read = |reply: Value| -> Result<(), serde_json::Error> {
            match part {
                Part::Health => self.health = serde_json::from_value(reply)?,
                Part::Critical => self.critical = serde_json::from_value(reply)?,
                Part::Held => self.held = serde_json::from_value(reply)?,
                Part::Alerts => self.alerts = serde_json::from_value(reply)?,
                Part::Statistics => self.statistics = serde_json::from_value(reply)?,
                Part::Day => self.day = serde_json::from_value(reply)?,
                Part::Month => self.month = serde_json::from_value(reply)?,
                Part::Digest => self.digest = serde_json::from_value(reply)?,
            }
            Ok(())
        };
        read(reply).map_err(wrong)
    }
}

/// An agent that does not reply, although its process or its service is there.
#[derive(Clone, Debug)]
pub struct Absence {
    /// What is known of it.
    pub what: String,
    /// What to run.
    pub next: String,
}

/// The `health` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Health {
    pub state: String,
    pub reasons: Vec<String>,
    pub upstreams: Vec<Upstream>,
    #[serde(flatten)]
    pub live: ByStatus,
    pub version: String,
    #[serde(deserialize_with = "time")]
    pub oldest_created_at: Option<WallTime>,
    #[serde(deserialize_with = "time")]
    pub last_delivery_at: Option<WallTime>,
    pub database_bytes: u64,
    pub disk_free_bytes: Option<u64>,
    pub clock_skew_ms: Option<i64>,
    #[serde(default)]
    pub refusing: Option<String>,
    #[serde(default)]
    pub lost: u64,
    #[serde(default)]
    pub removed: Option<Removed>,
}

/// Failures removed undelivered in the last 30 days.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Removed {
    pub count: u64,
    #[serde(deserialize_with = "time")]
    pub first_at: Option<WallTime>,
    #[serde(deserialize_with = "time")]
    pub last_at: Option<WallTime>,
}

/// An upstream of the `health` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Upstream {
    pub name: String,
    pub state: String,
    #[serde(deserialize_with = "time")]
    pub since: Option<WallTime>,
    #[serde(deserialize_with = "time")]
    pub next_try_at: Option<WallTime>,
    pub conditions: Vec<String>,
    pub reason: Option<String>,
    pub latency_ms: Option<u64>,
    /// Who paused it, when and why, in words; no reply has it, the audit tells.
    #[serde(skip)]
    pub paused_by: Option<String>,
}

/// The `list` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Failures {
    /// The first page of the list.
    pub failures: Vec<Failure>,
    /// Total number of matches.
    pub total: Option<u64>,
    /// Cursor of the next page.
    pub next: Option<String>,
}

impl Failures {
    /// Parses a reply; the error describes an invalid one.
    pub fn read(reply: Value) -> Result<Self, String> {
        serde_json::from_value(reply).map_err(|error| format!("the reply to list is not understood: {error}"))
    }
}

/// A failure of the `list` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Failure {
    pub id: String,
    pub seq: i64,
    pub entity_type: String,
    pub entity_id: String,
    pub order_key: Option<String>,
    pub action: String,
    pub error: String,
    pub payload_kind: Option<String>,
    pub status: String,
    pub state: String,
    pub retry_count: u32,
    #[serde(default)]
    pub attempts: u64,
    pub http_status: Option<u16>,
    pub error_class: Option<String>,
    pub upstream: Option<String>,
    pub blocked_by: Option<String>,
    #[serde(deserialize_with = "time")]
    pub created_at: Option<WallTime>,
    #[serde(deserialize_with = "time")]
    pub next_retry_at: Option<WallTime>,
}

/// The `alerts` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Alerts {
    /// Alerts, active ones first.
    pub alerts: Vec<Alert>,
}

/// An alert of the `alerts` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Alert {
    pub kind: String,
    pub subject: Option<String>,
    pub active: bool,
    #[serde(deserialize_with = "time")]
    pub since: Option<WallTime>,
    #[serde(deserialize_with = "time")]
    pub cleared_at: Option<WallTime>,
    pub message: String,
}

/// The `stats` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Statistics {
    pub recorded: u64,
    pub delivered: u64,
    pub discarded: u64,
    pub cleaned: u64,
    pub groups: Vec<Group>,
}

/// A group of the `stats` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Group {
    pub entity_type: String,
    pub action: String,
    pub total_failures: u64,
    pub avg_retries: f64,
    pub max_retries: u32,
}

/// A time in a reply, or `null`.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WallTime>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|text| WallTime::parse(&text)))
}

//! A snapshot of a terminal: what the replies of its agent say, put together, for whoever shows it.
//!
//! One model for all of them, so that a screen, a report and a line of text cannot tell different things.
//! It is gathered from replies that anybody may ask for; nothing is in it that is not stored. What was
//! not asked for is empty.

use super::ByStatus;
use super::digest::Digest;
use super::told::SeriesReply;
use crate::moment::WallTime;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// Failures of a kind that a snapshot has at most.
const HEAD: usize = 20;

/// A part of it: one question, one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// How it stands.
    Health,
    /// The newest that need a person.
    Critical,
    /// The newest that a person has stopped.
    Held,
    /// The oldest that are live.
    Oldest,
    /// What is wrong now, and was of late.
    Alerts,
    /// What became of what was recorded in the last day.
    Statistics,
    /// The series of the last day.
    Day,
    /// The series of the last month.
    Month,
    /// What the tries of the last month come to.
    Digest,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Health,
        Self::Critical,
        Self::Held,
        Self::Oldest,
        Self::Alerts,
        Self::Statistics,
        Self::Day,
        Self::Month,
        Self::Digest,
    ];

    /// The request that asks for it.
    #[must_use]
    pub fn question(self, now: WallTime) -> Value {
        let since = |span: Duration| now.before(span).rfc3339();
        match self {
            Self::Health => json!({"op": "health"}),
            Self::Critical => json!({"op": "list", "status": "critical", "order": "desc", "limit": HEAD}),
            Self::Held => json!({"op": "list", "status": "held", "order": "desc", "limit": HEAD}),
            Self::Oldest => json!({"op": "list", "limit": HEAD}),
            Self::Alerts => json!({"op": "alerts"}),
            Self::Statistics => json!({"op": "stats"}),
            Self::Day => json!({"op": "series", "since": since(DAY)}),
            Self::Month => json!({"op": "series", "since": since(MONTH)}),
            Self::Digest => json!({"op": "digest", "since": since(MONTH)}),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The agent has said so itself; else it was read from its store.
    pub running: bool,
    /// How it stands.
    pub health: Health,
    /// The newest that need a person.
    pub critical: Failures,
    /// The newest that a person has stopped.
    pub held: Failures,
    /// The oldest that are live.
    pub oldest: Failures,
    /// Active ones first.
    pub alerts: Alerts,
    /// What became of what was recorded in the last day.
    pub statistics: Statistics,
    /// The series of the last day.
    pub day: SeriesReply,
    /// The series of the last month.
    pub month: SeriesReply,
    /// What the tries of the last month come to.
    pub digest: Digest,
}

impl Snapshot {
    /// Takes a reply; the error says what is wrong with it.
    pub fn take(&mut self, part: Part, reply: Value) -> Result<(), String> {
        let wrong = |error: serde_json::Error| format!("the reply to {part:?} is not understood: {error}");
        let mut read = |reply: Value| -> Result<(), serde_json::Error> {
            match part {
                Part::Health => self.health = serde_json::from_value(reply)?,
                Part::Critical => self.critical = serde_json::from_value(reply)?,
                Part::Held => self.held = serde_json::from_value(reply)?,
                Part::Oldest => self.oldest = serde_json::from_value(reply)?,
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

/// The `health` reply.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields of spec/02 and spec/07")]
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
    pub lost: u64,
}

/// An upstream in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields of spec/02 and spec/07")]
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
}

/// The `list` reply.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Failures {
    /// The head of the list.
    pub failures: Vec<Failure>,
    /// How many there are.
    pub total: Option<u64>,
    /// After which one the list goes on.
    pub next: Option<String>,
}

impl Failures {
    /// Reads a reply; the error says what is wrong with it.
    pub fn read(reply: Value) -> Result<Self, String> {
        serde_json::from_value(reply).map_err(|error| format!("the reply to list is not understood: {error}"))
    }
}

/// A failure in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields of spec/02 and spec/07")]
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
    /// Active ones first.
    pub alerts: Vec<Alert>,
}

/// An alert in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields of spec/07")]
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
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct Statistics {
    pub recorded: u64,
    pub delivered: u64,
    pub discarded: u64,
    pub cleaned: u64,
    pub groups: Vec<Group>,
}

/// A group in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct Group {
    pub entity_type: String,
    pub action: String,
    pub total_failures: u64,
    pub avg_retries: f64,
    pub max_retries: u32,
}

/// A time of a reply, or `null`.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WallTime>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|text| WallTime::parse(&text)))
}

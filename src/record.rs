//! A failure: what an application hands over, and what the agent stores for it.
//!
//! Data types only. Values are validated at the boundary (`wire`), so they are valid by construction here;
//! decisions about them are made in `policy`.

use crate::ids::{FailureId, Seq};
use crate::moment::{AgentTime, WallTime};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::borrow::Cow;

/// How a payload was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// An object, array, number or boolean, kept as its JSON text.
    Json,
    /// A string, kept as its contents.
    Text,
    /// Arbitrary bytes: base64 in memory, as in every reply; raw bytes in the table.
    Bytes,
}

impl PayloadKind {
    /// The name that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }

    /// Encodes bytes the way a payload is kept in memory.
    #[must_use]
    pub fn of_bytes<'t>(bytes: &[u8]) -> (Cow<'t, str>, Self) {
        (Cow::Owned(BASE64_STANDARD.encode(bytes)), Self::Bytes)
    }

    /// The bytes of a payload of this kind that are sent to the upstream.
    #[must_use]
    pub fn bytes_of(self, kept: &str) -> Cow<'_, [u8]> {
        match self {
            Self::Json | Self::Text => Cow::Borrowed(kept.as_bytes()),
            // The agent encoded this text, so it decodes.
            Self::Bytes => Cow::Owned(BASE64_STANDARD.decode(kept).unwrap_or_default()),
        }
    }

    /// Parses what [`as_str`](Self::as_str) returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Json, Self::Text, Self::Bytes].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Stored status of a live failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Sent automatically.
    Pending,
    /// An operator put it on hold.
    Held,
    /// Rejected, or its retries are exhausted: it needs an operator.
    Critical,
}

impl Status {
    /// All statuses, in the order of the life cycle.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Held, Self::Critical];

    /// The name that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Critical => "critical",
        }
    }

    /// Parses what [`as_str`](Self::as_str) returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// How a failure left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Its upstream accepted it.
    Delivered,
    /// An operator discarded it.
    Discarded,
    /// Retention removed it: it needed an operator for longer than it is kept.
    Cleaned,
}

impl Disposition {
    /// The name that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Discarded => "discarded",
            Self::Cleaned => "cleaned",
        }
    }

    /// Parses what [`as_str`](Self::as_str) returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Delivered, Self::Discarded, Self::Cleaned].into_iter().find(|how| how.as_str() == text)
    }

    /// The operation under which the audit lists it.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Self::Delivered => "deliver",
            Self::Discarded => "discard",
            Self::Cleaned => "cleanup",
        }
    }
}

/// Whether an operator requested the next counted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Asked {
    /// No operator did.
    No,
    /// Earlier than scheduled; the retry budget is unchanged.
    Sooner,
    /// Although its retries were exhausted: if the attempt fails, it is critical again.
    OneShot,
}

/// What triggered an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// It was due.
    Auto,
    /// An operator requested it.
    Manual,
    /// It tests whether the upstream accepts requests again.
    Probe,
    /// It verifies whether an earlier attempt arrived.
    Verify,
}

impl Trigger {
    /// The name that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
            Self::Probe => "probe",
            Self::Verify => "verify",
        }
    }
}

/// How the application's own attempt ended; decides the first delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAttempt {
    /// No response, or one that is inconclusive about the failure.
    Inconclusive,
    /// A response about the failure: it counts as the first attempt.
    Answered,
    /// There was no attempt: the failure is to be sent now.
    None,
}

/// A validated failure from an application; its texts still borrow from the request line.
#[derive(Clone, Debug)]
pub struct NewFailure<'a> {
    /// `RETURN`, `SALE`, …
    pub entity_type: Cow<'a, str>,
    /// Id of the entity.
    pub entity_id: Cow<'a, str>,
    /// `CREATE`, `UPDATE`, `DELETE`, …
    pub action: Cow<'a, str>,
    /// Error message, truncated to its limit.
    pub error: Cow<'a, str>,
    /// The payload to send.
    pub payload: Option<(Cow<'a, str>, PayloadKind)>,
    /// Status of the application's own attempt; 0 without a response.
    pub http_status: Option<u16>,
    /// Idempotency key of the application's own request.
    pub idempotency_key: Option<Cow<'a, str>>,
    /// Failures with the same order key are delivered in the order of recording; default: the entity.
    pub order_key: Option<Cow<'a, str>>,
    /// Decides the first delay.
    pub client_attempt: ClientAttempt,
    /// The application made an attempt, whatever first delay it requests; without a status it is unknown
    /// whether that attempt arrived.
    pub tried: bool,
}

/// What failures of one delivery order share: an explicit key, or the entity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrderKey {
    /// Given with the record.
    Given(String),
    /// `entity_type` and `entity_id`.
    Entity(String, String),
}

/// Whether a failure's content is what the agent stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It is, or this is not known.
    Sound,
    /// Another program changed it, or the disk corrupted it.
    Altered,
    /// Altered, and part of it cannot be read.
    Unreadable,
}

/// A live failure with all its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Its id.
    pub id: FailureId,
    /// Its sequence number.
    pub seq: Seq,
    /// `RETURN`, `SALE`, …
    pub entity_type: String,
    /// Id of the entity.
    pub entity_id: String,
    /// `CREATE`, `UPDATE`, `DELETE`, …
    pub action: String,
    /// Error of the last counted attempt, or of the application's own.
    pub error: String,
    /// The payload to send.
    pub payload: Option<(String, PayloadKind)>,
    /// Number of counted retries.
    pub retry_count: u32,
    /// End of the last counted retry, as text.
    pub last_retry_at: Option<String>,
    /// Time of recording, as text, for display and the envelope.
    pub created_at: String,
    /// Time of the last change.
    pub updated_at: String,
    /// Stored status.
    pub status: Status,
    /// Time of the next attempt, as text.
    pub next_retry_at: Option<String>,
    /// When it is due; `None` while it waits for the upstream to be reachable.
    pub due_at: Option<AgentTime>,
    /// Time of recording, in agent time.
    pub recorded_at: AgentTime,
    /// Whether the content is what the agent stored.
    pub content: Content,
    /// Destination; `None` if no upstream is configured.
    pub upstream: Option<String>,
    /// Order key given by the application.
    pub order_key: Option<String>,
    /// Idempotency key given by the application; without one the id is sent.
    pub idempotency_key: Option<String>,
    /// HTTP status of the last counted attempt, or of the application's own.
    pub http_status: Option<u16>,
    /// Class of the last counted attempt.
    pub error_class: Option<String>,
    /// Uid of the process that recorded it.
    pub source_uid: Option<u32>,
    /// Pid of the process that recorded it.
    pub source_pid: Option<u32>,
    /// The terminal that recorded it.
    pub terminal_id: String,
    /// The store of that terminal.
    pub store_id: Option<String>,
    /// No older live failure has the same order key.
    pub head: bool,
    /// Never attempted, or the last attempt was not counted.
    pub uncounted: bool,
    /// Number of attempts so far.
    pub attempts: u32,
    /// An attempt may have arrived without a conclusive response.
    pub unsure: bool,
    /// The policy's state of it, serialized; `None` if there is none yet.
    pub retry_state: Option<String>,
}

/// Error text of a failure that the application handed over without an attempt of its own.
pub const NOT_SENT_YET: &str = "not sent yet";

impl Failure {
    /// Returns whether it was handed over and no attempt has failed yet. An attempt that may have arrived
    /// counts as failed.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.attempts == 0 && self.http_status.is_none() && !self.unsure && self.error == NOT_SENT_YET
    }

    /// The idempotency key sent with every attempt.
    #[must_use]
    pub fn key(&self) -> &str {
        self.idempotency_key.as_deref().unwrap_or(self.id.as_str())
    }

    /// The order key, or the entity in place of one.
    #[must_use]
    pub fn order(&self) -> OrderKey {
        match &self.order_key {
            Some(key) => OrderKey::Given(key.clone()),
            None => OrderKey::Entity(self.entity_type.clone(), self.entity_id.clone()),
        }
    }
}

/// Converts a time in SQLite's format to RFC 3339; text that is not a valid time is returned unchanged.
#[must_use]
pub fn wire_time(stored: &str) -> String {
    WallTime::parse(stored).map_or_else(|| stored.to_owned(), WallTime::rfc3339)
}

/// Classification of an attempt's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The upstream accepted it.
    Delivered,
    /// The upstream was not reached.
    Unreachable,
    /// The upstream rate-limited the request.
    Throttled,
    /// The upstream was temporarily unavailable.
    Busy,
    /// The upstream may have accepted it.
    Unsure,
    /// Credentials, address or clock are misconfigured; no record is at fault.
    Misconfigured,
    /// The upstream rejects this failure permanently.
    Refused,
    /// The upstream did not accept this failure.
    Failed,
}

impl Class {
    /// All classes, in the order of the classification table.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Unreachable,
        Self::Throttled,
        Self::Busy,
        Self::Unsure,
        Self::Misconfigured,
        Self::Refused,
        Self::Failed,
    ];

    /// The name that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Unsure => "unsure",
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// Parses what [`as_str`](Self::as_str) returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

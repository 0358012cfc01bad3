//! A failure: what an application hands over, and what is kept of it.
//!
//! Values only. What is read here has been checked where it came in (`wire`), so nothing in it can
//! be wrong inside; what is decided about it is in `policy`.

use crate::ids::{FailureId, Seq};
use crate::moment::{AgentTime, WallTime};
use std::borrow::Cow;

/// How a payload was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// An object, array, number or boolean: kept as its JSON text.
    Json,
    /// A string: kept as its contents.
    Text,
}

impl PayloadKind {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Json, Self::Text].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where a live failure stands, as it is stored (`spec/03`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// To be sent by itself.
    Pending,
    /// A person stopped it.
    Held,
    /// Its budget is used up or it was refused: it needs a person.
    Critical,
}

impl Status {
    /// All of them, in the order of the life cycle.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Held, Self::Critical];

    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Critical => "critical",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// How a failure left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Its upstream accepted it.
    Delivered,
    /// A person gave it up.
    Discarded,
    /// It was old and needed a person, and none came.
    Cleaned,
}

impl Leaving {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Discarded => "discarded",
            Self::Cleaned => "cleaned",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Delivered, Self::Discarded, Self::Cleaned].into_iter().find(|how| how.as_str() == text)
    }

    /// The operation that the audit has of it.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Self::Delivered => "deliver",
            Self::Discarded => "discard",
            Self::Cleaned => "cleanup",
        }
    }
}

/// Did a person ask for the next counted try?
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Asked {
    /// Nobody did.
    No,
    /// Sooner than it would have been; the budget stays what it was.
    Sooner,
    /// Though its budget was used up: when it fails it is critical again.
    OneShot,
}

/// What made a try happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// It was due.
    Auto,
    /// A person asked for it.
    Manual,
    /// It looked whether the upstream takes anything again.
    Probe,
    /// It asked whether an earlier try had arrived.
    Verify,
}

impl Trigger {
    /// As it is stored and shown.
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

/// What the application's own try got, which decides the first wait (`spec/03`, When).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTry {
    /// No answer, or one that says nothing about the failure.
    NoWord,
    /// An answer about the failure: that was its first try.
    Answered,
    /// There was none: it wants to be sent now.
    None,
}

/// One failure as an application hands it over, checked, with its texts still in the request line.
#[derive(Clone, Debug)]
pub struct NewFailure<'a> {
    /// `RETURN`, `SALE`, …
    pub entity_type: Cow<'a, str>,
    /// Which one.
    pub entity_id: Cow<'a, str>,
    /// `CREATE`, `UPDATE`, `DELETE`, …
    pub action: Cow<'a, str>,
    /// What went wrong, cut to its bound.
    pub error: Cow<'a, str>,
    /// What was to be sent.
    pub payload: Option<(Cow<'a, str>, PayloadKind)>,
    /// What the application's own try got; 0 for no answer.
    pub http_status: Option<u16>,
    /// The key that the application used for its own request.
    pub idempotency_key: Option<Cow<'a, str>>,
    /// Failures with the same one are delivered in order of recording; default: the entity.
    pub order_key: Option<Cow<'a, str>>,
    /// Decides the first wait.
    pub own_try: OwnTry,
    /// The application has tried, whatever wait it wants; nobody knows whether that has arrived when
    /// it got no status.
    pub tried: bool,
}

/// What shares an order of delivery: an explicit key, or the entity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrderKey {
    /// Given with the record.
    Given(String),
    /// `entity_type` and `entity_id`.
    Entity(String, String),
}

/// A live failure, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Its id.
    pub id: FailureId,
    /// Its insertion number.
    pub seq: Seq,
    /// `RETURN`, `SALE`, …
    pub entity_type: String,
    /// Which one.
    pub entity_id: String,
    /// `CREATE`, `UPDATE`, `DELETE`, …
    pub action: String,
    /// The last error that counted.
    pub error: String,
    /// What is to be sent.
    pub payload: Option<(String, PayloadKind)>,
    /// Retries that failed and counted.
    pub retry_count: u32,
    /// When the last of them ended, for people.
    pub last_retry_at: Option<String>,
    /// When it was recorded, for people and for the envelope.
    pub created_at: String,
    /// When anything of it changed.
    pub updated_at: String,
    /// Where it stands.
    pub status: Status,
    /// When it goes next, for people.
    pub next_retry_at: Option<String>,
    /// When it is due; `None` while it waits for the line.
    pub due_at: Option<AgentTime>,
    /// When it was recorded, in agent time.
    pub recorded_at: AgentTime,
    /// Where it is to go; `None` without any upstream.
    pub upstream: Option<String>,
    /// The order key that came with it.
    pub order_key: Option<String>,
    /// The key that came with it; without one its id is sent.
    pub idempotency_key: Option<String>,
    /// The last answer's status that counted, or the application's own.
    pub http_status: Option<u16>,
    /// Class of the last counted try.
    pub error_class: Option<String>,
    /// Who recorded it.
    pub source_uid: Option<u32>,
    /// From which process.
    pub source_pid: Option<u32>,
    /// The terminal that recorded it.
    pub terminal_id: String,
    /// The store it stands in.
    pub store_id: Option<String>,
    /// No older live failure has its order key.
    pub head: bool,
    /// Never tried, or its last try was not counted.
    pub uncounted: bool,
    /// All tries so far.
    pub attempts: u32,
    /// A try may have arrived without our knowing.
    pub unsure: bool,
    /// What the policy remembers of it, as it is stored; `None`: nothing yet.
    pub dossier: Option<String>,
}

impl Failure {
    /// The key under which every try of it goes out.
    #[must_use]
    pub fn key(&self) -> &str {
        self.idempotency_key.as_deref().unwrap_or(self.id.as_str())
    }

    /// What it shares its order with.
    #[must_use]
    pub fn order(&self) -> OrderKey {
        match &self.order_key {
            Some(key) => OrderKey::Given(key.clone()),
            None => OrderKey::Entity(self.entity_type.clone(), self.entity_id.clone()),
        }
    }
}

/// A time as SQLite keeps it, as RFC 3339; what is no time stays as it is.
#[must_use]
pub fn wire_time(stored: &str) -> String {
    WallTime::parse(stored).map_or_else(|| stored.to_owned(), WallTime::rfc3339)
}

/// What a try's end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The upstream has it.
    Delivered,
    /// Nothing of the upstream was reached.
    Unreachable,
    /// It asked for less.
    Throttled,
    /// It could not just now.
    Busy,
    /// It may have it or not.
    Unsure,
    /// Something between us is set up wrongly; no record is at fault.
    Misconfigured,
    /// It will never take this one.
    Refused,
    /// It did not take this one.
    Failed,
}

impl Class {
    /// All of them, in the table's order.
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

    /// As it is stored and shown.
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

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

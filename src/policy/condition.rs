//! The conditions of an upstream, by the names that people and programs see (`spec/07`).

use crate::moment::AgentTime;
use serde::{Deserialize, Serialize};

/// What keeps an upstream from being sent to; in the order in which the first is its `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// A person stopped it.
    Paused,
    /// Nobody answers.
    Offline,
    /// The way to it is set up wrongly.
    Blocked,
    /// It fails whatever it is sent.
    Failing,
    /// It asked for less.
    Throttled,
    /// The pause runs.
    Waiting,
    /// A login is under way.
    LoggingIn,
    /// No contact yet in this run.
    Unknown,
}

impl Condition {
    /// As it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Offline => "offline",
            Self::Blocked => "blocked",
            Self::Failing => "failing",
            Self::Throttled => "throttled",
            Self::Waiting => "waiting",
            Self::LoggingIn => "logging_in",
            Self::Unknown => "unknown",
        }
    }
}

/// Since when, and why, an upstream is offline, blocked or failing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shut {
    pub(super) since: AgentTime,
    pub(super) reason: String,
}

impl Shut {
    pub(super) fn new(since: AgentTime, reason: &str) -> Self {
        Self { since, reason: reason.to_owned() }
    }
}

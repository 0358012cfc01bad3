//! The conditions of an upstream, by the names that operators and programs see.

use crate::moment::AgentTime;
use serde::{Deserialize, Serialize};

/// Why nothing can be sent to an upstream. The first that holds, in this order, is its `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// An operator paused it.
    Paused,
    /// It is unreachable.
    Offline,
    /// Credentials, address or clock are misconfigured.
    Blocked,
    /// It fails on every request.
    Failing,
    /// It rate-limits this terminal.
    Throttled,
    /// The pacing delay is running.
    Waiting,
    /// A login is in progress.
    LoggingIn,
    /// Not contacted yet in this run.
    Unknown,
}

impl Condition {
    /// The name that is shown.
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

    /// Returns whether a response with this status caused the outage. None did if the reason names no status
    /// (an expired certificate, a login). Neither did a success, as its status cannot distinguish a web page.
    pub(super) fn is_by(&self, status: u16) -> bool {
        let named = self.reason.strip_prefix("HTTP ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        let redirects = |status: u16| status / 100 == 3;
        named.is_some_and(|named| status / 100 != 2 && (named == status || (redirects(named) && redirects(status))))
    }
}

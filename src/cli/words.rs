//! Sentences for people, in one place, so that a second language can follow.
//!
//! What the agent stores are words for programs (`unreachable`, `line`); what a technician reads is
//! here.

use crate::policy::why::Why;
use serde_json::Value;

/// What a state of a failure means, and what happens next.
#[must_use]
pub fn state(state: &str) -> &'static str {
    match state {
        "due" => "is due; it goes as soon as the upstream lets it",
        "scheduled" => "waits for its next try",
        "blocked" => "waits behind an older one of the same order",
        "in_flight" => "is being sent right now",
        "held" => "was stopped by a person",
        "critical" => "needs a person",
        _ => "",
    }
}

/// Why a try cost a retry or did not: what it is called in a table.
#[must_use]
pub fn counted(entry: &Value) -> &'static str {
    match (entry["counted"].as_bool(), entry["provisional"].as_bool()) {
        (Some(true), Some(true)) => "yes, for now",
        (Some(true), _) => "yes",
        _ => "no",
    }
}

/// The same in a sentence.
#[must_use]
pub fn why(code: &str) -> &'static str {
    Why::parse(code).map_or("", Why::words)
}

/// What to do about a failure that needs a person, by the class of its last counted try.
#[must_use]
pub fn next_step(class: Option<&str>) -> &'static str {
    match class {
        Some("refused") => "The head office will not take it as it is. Have it put right there, then:",
        Some("failed") => "The head office failed on it repeatedly. Have it looked at there, then:",
        Some("misconfigured") => {
            "The head office does not let this one in, though it takes others. Have the rights put right, then:"
        }
        Some("busy" | "throttled" | "unsure") => {
            "The head office takes others and never this one. Have it looked at there, then:"
        }
        _ => "When the cause is gone:",
    }
}

/// What a state of an upstream means.
#[must_use]
pub fn upstream(state: &str) -> &'static str {
    match state {
        "online" => "online",
        "offline" => "no line",
        "blocked" => "lets nothing in",
        "failing" => "fails on everything",
        "paused" => "paused by a person",
        "throttled" => "asked for less",
        "waiting" => "makes a pause",
        "logging_in" => "logs in",
        "unknown" => "not met yet",
        _ => "",
    }
}

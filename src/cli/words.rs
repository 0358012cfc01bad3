//! Sentences for people, in one place, so that a second language can follow.
//!
//! What the agent stores are words for programs (`unreachable`, `line`); what a technician reads is
//! here.

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

/// Why a try cost a retry or did not.
#[must_use]
pub fn why(why: &str) -> &'static str {
    match why {
        "accepted" => "accepted",
        "line" => "not counted: it says nothing about this failure",
        "offline" => "not counted: the line was down",
        "refused" => "counted: refused for good",
        "failed" => "counted: answered about this failure",
        "last_retry" => "counted: the last retry",
        _ => "",
    }
}

/// What to do about a failure that needs a person, by the class of its last counted try.
#[must_use]
pub fn next_step(class: Option<&str>) -> &'static str {
    match class {
        Some("refused") => "The head office will not take it as it is. Have it put right there, then:",
        Some("failed") => "The head office failed on it repeatedly. Have it looked at there, then:",
        _ => "When the cause is gone:",
    }
}

/// What a state of an upstream means.
#[must_use]
pub fn upstream(state: &str) -> &'static str {
    match state {
        "online" => "online",
        "offline" => "no line",
        "paused" => "paused by a person",
        "throttled" => "asked for less",
        "waiting" => "makes a pause",
        "unknown" => "not met yet",
        _ => "",
    }
}

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

/// What a class of tries is, and what to do about it.
#[must_use]
pub fn advice(class: &str) -> &'static str {
    match class {
        "unreachable" => {
            "The head office was not reached; costs no retry. Check line, name lookup, certificate: resyncd doctor."
        }
        "throttled" => "The head office asked for less; costs no retry. If it lasts: max_rate, or more room there.",
        "busy" => {
            "The head office could not just then; costs no retry while others fail too. If it lasts: tell head office."
        }
        "unsure" => "It may have arrived: the answer was lost, or proves nothing. It is sent again under the same key.",
        "misconfigured" => {
            "The head office lets nothing in as it is set up: credentials, certificate, clock. resyncd doctor looks."
        }
        "refused" => {
            "The head office will not take it as it is. Put it right there, or: resyncd edit; then: resyncd retry."
        }
        "failed" => {
            "The head office failed on this one, and each time costs a retry. Have it looked at there; then: resyncd retry."
        }
        _ => "",
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

/// `status`, `top`: nobody is there to send.
pub const NOT_RUNNING: &str = "The agent is not running: failures are kept, nothing is sent.";
/// `status`, `top`: nothing to send to.
pub const NO_UPSTREAM: &str = "No upstream is configured: failures are recorded, nothing is sent.";

/// `top`: the keys of its list, in 80 columns.
pub const TOP_KEYS: &str = "arrows choose  Enter show  r send again  h hold  / filter  ? help  q quit";
/// `top`: the keys of a failure's page.
pub const TOP_PAGE_KEYS: &str = "arrows scroll  r send again  h hold, release  Esc back  q quit";
/// `top`: all that it understands.
pub const TOP_HELP: &str = "\
Up Down PgUp PgDn Home End   choose a failure, or scroll its page
Enter                        all that is known of the chosen failure; Esc: back
r                            send it again now (as: resyncd retry)
h                            hold it, or release one that is held
/                            show only some; Esc: show all again
Ctrl-L                       draw the screen anew
q  Ctrl-C                    quit

r and h ask first, and for a reason. Enter does it, Esc does not; who and why
are kept in the audit, as with the commands.

A filter is a status (critical, held, pending), name=value with the names
type, entity, action, upstream, class, status, since (2h, 06:12), until,
or any other words: those are looked for in what is shown of a failure.

Pending ones are sent by themselves. Critical ones need a person. Held ones
were stopped by a person. Nothing of all that is lost when this is closed.";

/// `check --closing`: nothing waits.
pub const ALL_SENT: &str = "ALL SENT. You can switch off; nothing is lost.";
const KEPT: &str = "Switching off loses nothing: it is all kept, and goes out when the till is on again.";

/// So many things of one type, or of several, as a cashier calls them.
#[must_use]
pub fn things(count: u64, entity_type: Option<&str>) -> String {
    let (one, many) = match entity_type.map(str::to_ascii_uppercase).as_deref() {
        Some("SALE") => ("sale", "sales"),
        Some("RETURN") => ("return", "returns"),
        Some("INVOICE") => ("invoice", "invoices"),
        Some("PAYMENT") => ("payment", "payments"),
        _ => ("entry", "entries"),
    };
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `check --closing`: waiting may help.
#[must_use]
pub fn still_going_out(things: &str, shut: &[(&str, &str)]) -> String {
    format!("{things} still going out, leave it on. {}{KEPT}", in_the_way(shut))
}

/// `check --closing`: waiting will not help.
#[must_use]
pub fn needs_support(stuck: u64, going: Option<&str>, shut: &[(&str, &str)]) -> String {
    let verb = if stuck == 1 { "needs" } else { "need" };
    let going = going.map_or_else(String::new, |things| format!("{things} still going out. {}", in_the_way(shut)));
    format!("{stuck} {verb} support, waiting will not help. {going}{KEPT}")
}

/// Why what goes out may take long: the upstreams by name, and their states.
fn in_the_way(shut: &[(&str, &str)]) -> String {
    let sentence = |(name, state): &(&str, &str)| {
        let what = match *state {
            "paused" => "Sending was paused by a person",
            "offline" => "There is no line at present",
            "blocked" => "The head office lets nothing in; tell support",
            _ => "The head office has a fault at present",
        };
        format!("{what} ({name}). ")
    };
    shut.iter().map(sentence).collect()
}

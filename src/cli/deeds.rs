//! Who stopped something, when and why, and how a failure left: what the audit and the history say, in a clause.
//!
//! Only the admin socket, or the store itself, answers these questions. Where they cannot be asked the clause is
//! missing, and the rest of the answer stays.

use super::render::{clock, sanitize, spoken, text, time};
use super::session::Session;
use crate::figures::snapshot::{Health, Upstream};
use crate::io::clock::wall;
use crate::text::deeds as words;
use serde_json::{Value, json};
use std::time::Duration;

/// Entries that are read to find an operation; it is the newest of a failure, or the oldest of a pause.
const LOOKED_THROUGH: usize = 200;

/// `at 10:33:22 by anna: the price is wrong`
fn clause(entry: &Value, reason: &str) -> String {
    let uid =
        || entry["actor_uid"].as_u64().map_or_else(|| words::unknown_user().to_owned(), |uid| format!("uid {uid}"));
    let user = entry["actor_name"].as_str().map_or_else(uid, sanitize);
    let who = match entry["claimed_by"].as_str().map(sanitize) {
        Some(claimed) if claimed != user => words::claimed(&claimed, &user),
        _ => user,
    };
    let at = time(entry, "at").map(|at| clock(at, wall()));
    words::clause(at.as_deref(), &who, &spoken(reason))
}

fn entries(reply: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    reply["entries"].as_array().into_iter().flatten()
}

/// Who paused an upstream, when and why. `ask` puts a request to the agent or its store.
pub(super) fn pause(upstream: &Upstream, ask: &mut dyn FnMut(&Value) -> Option<Value>) -> Option<String> {
    /// The audit's time and the upstream's may differ by the round in which both were written.
    const SLACK: Duration = Duration::from_secs(2);
    let since = upstream.since?.before(SLACK).rfc3339();
    let reply = ask(&json!({"op": "history", "since": since, "order": "asc", "limit": LOOKED_THROUGH}))?;
    let name = upstream.name.as_str();
    // The audit has no column for an upstream; the reason begins with its name.
    let reason = |entry: &Value| {
        let rest = entry["reason"].as_str()?.strip_prefix(name)?;
        if rest.is_empty() { Some(String::new()) } else { rest.strip_prefix(": ").map(str::to_owned) }
    };
    let paused = entries(&reply).filter(|entry| entry["operation"] == "pause");
    paused.rev().find_map(|entry| Some(clause(entry, &reason(entry)?)))
}

/// Adds to each paused upstream who did it.
pub(super) fn name_pauses(health: &mut Health, ask: &mut dyn FnMut(&Value) -> Option<Value>) {
    for upstream in health.upstreams.iter_mut().filter(|upstream| upstream.state == "paused") {
        upstream.paused_by = pause(upstream, ask);
    }
}

/// Who put a failure on hold, when and why.
pub(super) fn hold(session: &Session, id: &str) -> Option<String> {
    let request = json!({"op": "history", "id": id, "order": "desc", "limit": LOOKED_THROUGH});
    let reply = session.quietly(&request).ok()?.value;
    let held = entries(&reply).find(|entry| entry["operation"] == "hold")?;
    Some(clause(held, held["reason"].as_str().unwrap_or_default()))
}

/// How the failure left with this entry, if it did.
pub(super) fn left(entry: &Value) -> Option<String> {
    match (entry["class"].as_str(), entry["operation"].as_str()) {
        (Some("delivered"), _) => Some(words::delivered(&text(entry, "upstream"))),
        (_, Some("discard")) => Some(words::discarded().to_owned()),
        (_, Some("cleanup")) => Some(words::cleaned_up().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::WallTime;

    fn paused() -> Upstream {
        let since = WallTime::parse("2026-11-30T10:33:22.000Z");
        Upstream { name: "hq".into(), state: "paused".into(), since, ..Upstream::default() }
    }

    #[test]
    fn a_pause_is_found_by_the_name_that_its_reason_begins_with() {
        let entry = |operation: &str, reason: &str| {
            json!({"kind": "operation", "operation": operation, "reason": reason, "actor_name": "root", "actor_uid": 0,
                "claimed_by": "anna", "at": "2026-11-30T10:33:22.000Z"})
        };
        let found = |entries: &[Value]| pause(&paused(), &mut |_| Some(json!({"entries": entries})));
        let told = found(&[entry("pause", "hq: maintenance"), entry("pause", "hq2: other"), entry("resume", "hq")]);
        assert!(told.as_deref().is_some_and(|told| told.ends_with("by anna (as root): maintenance")), "{told:?}");
        assert!(found(&[entry("pause", "hq")]).is_some_and(|told| told.ends_with("by anna (as root)")));
        assert_eq!(found(&[entry("pause", "hq2"), entry("pause", "hq2: hq")]), None);
        assert_eq!(pause(&paused(), &mut |_| None), None);
    }
}

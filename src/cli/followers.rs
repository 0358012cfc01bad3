//! What becomes of the failures behind those that leave.

use super::choose::Choice;
use super::render::sanitize;
use super::session::Session;
use crate::text::operate as text;
use serde_json::{Value, json};

/// What becomes of the failures behind those that are to be discarded; empty, or a line for each fate. Of a long selection
/// the first are looked at.
#[must_use]
pub(super) fn left_behind(session: &Session, choice: &Choice, let_followers: bool) -> String {
    let Ok(leaving) = choice.some(session) else { return String::new() };
    let leaves = |id: &Value| leaving.iter().any(|failure| failure["id"] == *id);
    let (mut held, mut sent): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for failure in leaving.iter().filter(|failure| failure["state"] != "in_flight") {
        for follower in behind(session, failure) {
            // A follower waits for the first of its order. Where that one leaves, the rest is held.
            let first_leaves = leaves(&follower["blocked_by"]);
            let fate = if first_leaves && !let_followers { &mut held } else { &mut sent };
            let number = follower["seq"].to_string();
            if follower["status"] == "pending" && !leaves(&follower["id"]) && !fate.contains(&number) {
                fate.push(number);
            }
        }
    }
    let line = |fate: &str, numbers: &[String]| match numbers {
        [] => String::new(),
        numbers => text::left_behind(fate, &shortened(numbers)) + "\n",
    };
    line("held", &held) + &line("sent", &sent)
}

/// The later failures of the same order that wait, whichever they wait for; at most a page of them.
fn behind(session: &Session, failure: &Value) -> Vec<Value> {
    const PAGE: usize = 50;
    let mut request = json!({"op": "list", "after": failure["seq"].to_string(), "limit": PAGE, "total": false});
    let same: &[&str] = if failure["order_key"].is_null() { &["entity_type", "entity_id"] } else { &["order_key"] };
    for name in same {
        request[*name] = failure[*name].clone();
    }
    let Ok(mut reply) = session.quietly(&request) else { return Vec::new() };
    let mut later = reply.value["failures"].as_array_mut().map(std::mem::take).unwrap_or_default();
    later.retain(|other| other["order_key"] == failure["order_key"] && !other["blocked_by"].is_null());
    later
}

/// The beginning of a list of numbers.
fn shortened(numbers: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = if numbers.len() > SHOWN { ", …" } else { "" };
    numbers.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ") + more
}

/// Lists the failures that were put on hold because the one before them was discarded, and the next steps.
#[must_use]
pub(super) fn held(session: &Session, reply: &Value) -> String {
    /// Maximum number listed; `list --status held` shows all.
    const SHOWN: usize = 10;
    let held = reply["followers_held"].as_array().map(Vec::as_slice).unwrap_or_default();
    if held.is_empty() {
        return String::new();
    }
    let total = reply["followers_held_total"].as_u64().unwrap_or_default();
    let number = |id: &str| {
        let found = session.quietly(&json!({"op": "get", "id": id})).ok()?;
        Some(found.value["failure"]["seq"].to_string())
    };
    let numbers: Vec<String> =
        held.iter().take(SHOWN).filter_map(Value::as_str).filter_map(number).map(|no| sanitize(&no)).collect();
    let more = if held.len() > SHOWN { " …" } else { "" };
    let numbers = numbers.join(" ");
    format!("\n{}", text::followers(total, &format!("{numbers}{more}"), &numbers))
}

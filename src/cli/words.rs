//! Chooses the shared texts for the codes and numbers of a reply. The texts are in [`crate::text::words`].
//!
//! The agent stores codes for programs (`unreachable`, `held`).

use super::render::{date, sanitize, text as field};
use crate::figures::snapshot::Removed;
use crate::record::NOT_SENT_YET;
use crate::store::history::MOST_REMOVED;
use crate::text::phrases::of_attempt;
use crate::text::words as text;
pub(crate) use crate::text::words::{advice, no_upstream, not_running, state, status_name, upstream};
use serde_json::Value;
use std::borrow::Cow;

/// The state of a failure, as a table shows it; an unknown one by its code.
#[must_use]
pub(crate) fn state_name(code: &str) -> &str {
    Some(text::state_name(code)).filter(|name| !name.is_empty()).unwrap_or(code)
}

/// A failure's error, as people read it. The error that stands for "not sent yet" stays stored while no attempt is
/// counted, and after an attempt it would be untrue.
#[must_use]
pub fn error(error: &str, attempts: u64) -> Cow<'_, str> {
    match (error, attempts) {
        (NOT_SENT_YET, 0) => Cow::Borrowed(text::not_sent_yet()),
        (NOT_SENT_YET, _) => Cow::Owned(text::not_accepted_yet(attempts)),
        _ => of_attempt(error),
    }
}

/// The same, of a failure in a reply.
#[must_use]
pub fn error_of(failure: &Value) -> String {
    let attempts = failure["attempts"].as_u64().unwrap_or_default();
    sanitize(&error(failure["error"].as_str().unwrap_or_default(), attempts))
}

/// A failure as one line.
#[must_use]
pub fn one_line(failure: &Value) -> String {
    let [id, kind, entity, action, state] =
        ["id", "entity_type", "entity_id", "action", "state"].map(|name| field(failure, name));
    format!("  {}  {id}  {kind} {entity} {action}  {}  {}", failure["seq"], state_name(&state), error_of(failure))
}

/// An action of an operator; an unknown one by its code.
#[must_use]
pub(crate) fn operation(code: &str) -> &str {
    Some(text::operation(code)).filter(|name| !name.is_empty()).unwrap_or(code)
}

/// What triggered an attempt; an unknown one by its code.
#[must_use]
pub(crate) fn trigger(code: &str) -> &str {
    Some(text::trigger(code)).filter(|name| !name.is_empty()).unwrap_or(code)
}

/// Whether an attempt used up a retry, as a table shows it.
#[must_use]
pub fn counted(entry: &Value) -> &'static str {
    text::counted(match (entry["counted"].as_bool(), entry["provisional"].as_bool()) {
        (Some(true), Some(true)) => "provisional",
        (Some(true), _) => "yes",
        _ => "no",
    })
}

/// What to do about a critical failure, by the class of its last counted attempt.
#[must_use]
pub fn next_step(class: Option<&str>) -> &'static str {
    text::next_step(class.unwrap_or_default())
}

/// `check --closing`: nothing waits; undelivered removals are named.
#[must_use]
pub fn all_sent(removed: Option<&Removed>) -> String {
    removed
        .map_or_else(|| text::closing_all_sent().to_owned(), |removed| text::closing_all_sent_but(&archived(removed)))
}

/// The number of undelivered removals, and how to list them.
#[must_use]
pub fn archived(removed: &Removed) -> String {
    let [first, last] = [removed.first_at, removed.last_at].map(|at| at.map(date).unwrap_or_default());
    match (removed.count, first == last) {
        (count, _) if count >= MOST_REMOVED as u64 => text::archived_or_more(count, &last),
        (count, true) => text::archived_on(count, &last),
        (count, false) => text::archived_until(count, &last),
    }
}

/// A number of failures of one type, or of several, in a cashier's words.
#[must_use]
pub fn things(count: u64, entity_type: Option<&str>) -> String {
    match entity_type.map(str::to_ascii_uppercase).as_deref() {
        Some("SALE") => text::sales(count),
        Some("RETURN") => text::returns(count),
        Some("INVOICE") => text::invoices(count),
        Some("PAYMENT") => text::payments(count),
        _ => text::entries(count),
    }
}

/// `check --closing`: waiting may help. `shut` is the unavailable upstreams and their states.
#[must_use]
pub fn still_going_out(things: &str, shut: &[(&str, &str)]) -> String {
    let kept = text::switching_off_loses_nothing().to_owned();
    sentences([text::still_to_send(things)].into_iter().chain(in_the_way(shut)).chain([kept]))
}

/// `check --closing`: waiting will not help.
#[must_use]
pub fn needs_support(stuck: u64, behind: u64, going: Option<&str>, shut: &[(&str, &str)]) -> String {
    let behind = (behind > 0).then(|| text::waits_behind(behind));
    let going = going.map(|things| [text::also_to_send(things)].into_iter().chain(in_the_way(shut)));
    let kept = text::switching_off_loses_nothing().to_owned();
    sentences([text::needs_support(stuck)].into_iter().chain(behind).chain(going.into_iter().flatten()).chain([kept]))
}

fn in_the_way(shut: &[(&str, &str)]) -> impl Iterator<Item = String> {
    shut.iter().map(|(name, state)| text::in_the_way(state, name))
}

fn sentences(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join(" ")
}

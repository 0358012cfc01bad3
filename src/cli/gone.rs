//! Failures that are no longer live: when and how they left, and how to send delivered ones again, or why that is not
//! possible.
//!
//! Where the history is not kept any more, the archive of deliveries answers.

use super::Failure;
use super::archived::{Archived, Meant};
use super::deeds;
use super::render::{ago, sanitize, span, text, time};
use super::session::{Session, meanings};
use crate::ids::FailureName;
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::text::{deeds as clauses, moments, replay as words};
use serde_json::{Value, json};

/// Newest entries of a history that are searched.
const LAST_ENTRIES: usize = 20;

/// How it left, by its history, newest entry first.
pub(super) fn how(entries: &[Value]) -> Option<String> {
    let when = |entry: &Value| time(entry, "at").map(|at| moments::at(&ago(at, wall())));
    entries.iter().find_map(|entry| {
        let left = deeds::left(entry)?;
        Some(when(entry).map_or_else(|| left.clone(), |when| format!("{left} {when}")))
    })
}

/// How to send a delivered failure again, or why that is not possible; `None` if it was not delivered.
pub(super) fn replay(session: &Session, entries: &[Value]) -> Option<String> {
    let left = |entry: &&Value| {
        entry["class"] == "delivered" || matches!(entry["operation"].as_str(), Some("discard" | "cleanup"))
    };
    let last = entries.iter().find(left).filter(|entry| entry["class"] == "delivered")?;
    let kept = session.config.retention.delivered;
    let since = time(last, "at");
    let meant = Meant { since, id: last["failure_id"].as_str().map(str::to_owned), ..Meant::default() };
    let archived = match Archived::look(&session.config, &meant) {
        Ok(archived) => archived,
        Err(failure) => return Some(words::not_known(failure)),
    };
    let line = archived.found.last().and_then(|place| Some((place.left_at, archived.value(place).ok()?)));
    Some(match line {
        Some((left_at, line)) => {
            let (kind, entity) = (text(&line, "entity_type"), text(&line, "entity_id"));
            words::how(&kind, &entity, &command(left_at, &kind, &entity))
        }
        None if kept.is_zero() => words::never_kept().to_owned(),
        None => words::no_longer_kept(&span(kept)),
    })
}

/// The command that replays the deliveries of an entity from that time on.
fn command(since: WallTime, entity_type: &str, entity: &str) -> String {
    let (kind, entity) = (option("type", entity_type), option("entity", entity));
    format!("resyncd replay --since {} {kind} {entity} --reason \"...\"", since.rfc3339())
}

/// An option and its value, which may look like an option itself.
pub(super) fn option(name: &str, value: &str) -> String {
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("--{name}{between}{}", shell(value))
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The history, newest entry first, of the failure that a person's name means and that is not live any more: by its number
/// or id, or the last one of the entity with this id.
pub(super) fn of(session: &Session, name: &str) -> Option<Vec<Value>> {
    let by_entity = json!({"entity_id": name});
    let all = || meanings(name).into_iter().chain([by_entity.clone()]);
    let named = all().find_map(|meaning| newest(session, meaning, 1)?.into_iter().next());
    let named = named.or_else(|| all().find_map(|meaning| archived(session, &meaning)))?;
    let id = named["failure_id"].as_str()?.to_owned();
    if session.quietly(&json!({"op": "get", "id": id})).is_ok() {
        return None;
    }
    let entries = newest(session, json!({"id": id}), LAST_ENTRIES).unwrap_or_default();
    Some(with_delivery(session, &id, entries))
}

/// The history of a failure that is not live, newest entry first; with its delivery from the archive, where the history does
/// not say how it left.
pub(super) fn with_delivery(session: &Session, id: &str, mut entries: Vec<Value>) -> Vec<Value> {
    if !entries.iter().any(|entry| deeds::left(entry).is_some()) {
        entries.extend(archived(session, &json!({"id": id})));
    }
    entries
}

/// The last delivery in the archive of what a request names, as an entry of the history. An archive that cannot be read
/// has no answer; `replay` says why.
fn archived(session: &Session, named: &Value) -> Option<Value> {
    let text = |name: &str| named[name].as_str().map(str::to_owned);
    let seq = named["id"].as_i64().or_else(|| Some(FailureName::numbered(named["id"].as_str()?)?.0));
    let id = text("id").filter(|_| seq.is_none());
    let meant = Meant { id, seq, entity_id: text("entity_id"), ..Meant::default() };
    let archived = Archived::look(&session.config, &meant).ok()?;
    let last = archived.found.iter().max_by_key(|place| place.left_at)?;
    archived.entry(last).ok()
}

fn newest(session: &Session, mut named: Value, limit: usize) -> Option<Vec<Value>> {
    named["op"] = json!("history");
    named["order"] = json!("desc");
    named["limit"] = json!(limit);
    let mut reply = session.quietly(&named).ok()?.value;
    let entries = reply["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Some(entries).filter(|entries| !entries.is_empty())
}

impl Session {
    /// As [`resolve`](Self::resolve), where a failure is to be changed: of one that has left it says when and how, and how
    /// it is sent again.
    pub fn live(&self, name: &str) -> Result<String, Failure> {
        self.resolve(name).map_err(|failure| match failure {
            Failure::NotFound(told) => Failure::NotFound(with_how(self, name, told)),
            other => other,
        })
    }
}

/// Why a name means no live failure: what it meant has left.
fn with_how(session: &Session, name: &str, told: String) -> String {
    let Some(entries) = of(session, name) else { return told };
    let (Some(how), Some(about)) = (how(&entries), entries.iter().find(|entry| !entry["entity_type"].is_null())) else {
        return told;
    };
    let [kind, entity, action] = ["entity_type", "entity_id", "action"].map(|field| text(about, field));
    let id = sanitize(about["failure_id"].as_str().unwrap_or_default());
    let replay = replay(session, &entries).map_or_else(String::new, |advice| format!("\n{advice}"));
    format!("{told}\n{}{replay}", clauses::was(&kind, &entity, &action, &about["seq"], &how, &id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_any_word_as_it_is() {
        for (word, quoted) in [
            ("r-17", "r-17"),
            ("", "''"),
            ("Sales Invoice", "'Sales Invoice'"),
            ("it's", "'it'\\''s'"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(shell(word), quoted);
        }
    }
}

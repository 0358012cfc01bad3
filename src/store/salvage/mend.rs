//! A failure of which something is damaged, made one that the agent can hold.
//!
//! What only tells people more (an error, a time) gets a value that says so. What decides whether it
//! may be sent as it is (payload, keys) makes it critical when it is lost: a person has to look, and
//! nothing goes out under another key than before.

use super::Terms;
use super::tables::Row;
use crate::config::route::OnUnsure;
use crate::limits::MAX_KEY;
use crate::moment::WallTime;
use crate::policy::dossier::Dossier;
use crate::record::{PayloadKind, Status};
use rusqlite::types::Value;

/// `error_class` of a failure that needs a person because a part of it is lost.
const DAMAGED: &str = "damaged";

/// Bytes of a key: `limits::MAX_KEY` characters.
const LONGEST_KEY: usize = 4 * MAX_KEY;

/// Columns without which a try would not be the try of before.
const TELLING: [&str; 5] = ["payload", "payload_kind", "order_key", "idempotency_key", "status"];

/// See the module; `whole`: its number was as it should be. What it was may have been sent without our knowing, so it is as after an unsure
/// try.
pub(super) fn mend(row: &mut Row, whole: bool, terms: &Terms) {
    for name in ["order_key", "idempotency_key"] {
        if row.text(name).is_some_and(|key| key.is_empty() || key.len() > LONGEST_KEY || key.contains(char::is_control))
        {
            row.lose(name);
        }
    }
    let whole = whole && TELLING.iter().all(|name| row.get(name).is_some()) && payload_is_sound(row);
    fill_what_tells(row, terms);
    fill_what_decides(row);
    if !whole {
        row.set("status", Status::Critical.as_str().to_owned());
        row.set("error_class", DAMAGED.to_owned());
        row.set("due_at", Value::Null);
        row.set("payload_kind", PayloadKind::Text.as_str().to_owned());
    } else if row.text("status") == Some(Status::Pending.as_str()) && terms.holds(row) {
        row.set("status", Status::Held.as_str().to_owned());
        row.set("due_at", Value::Null);
    }
    row.set("unsure", 1);
}

fn payload_is_sound(row: &Row) -> bool {
    let kind = match row.get("payload_kind") {
        Some(Value::Text(kind)) => PayloadKind::parse(kind),
        _ => None,
    };
    match (row.text("payload"), kind) {
        (Some(text), Some(PayloadKind::Json)) => serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(),
        (Some(_), None) => row.get("payload_kind") == Some(&Value::Null),
        (Some(_), Some(PayloadKind::Text)) | (None, _) => true,
    }
}

fn fill_what_tells(row: &mut Row, terms: &Terms) {
    if row.text("error").is_none() {
        row.set("error", "lost when the database was damaged".to_owned());
    }
    for name in ["created_at", "updated_at"] {
        if row.text(name).and_then(WallTime::parse).is_none() {
            row.set(name, terms.now.sql());
        }
    }
    if row.text("terminal_id").is_none() {
        row.set("terminal_id", String::new());
    }
    for name in ["http_status", "source_uid", "source_pid"] {
        let most = if name == "http_status" { i64::from(u16::MAX) } else { i64::from(u32::MAX) };
        if row.integer(name).is_some_and(|number| !(0..=most).contains(&number)) {
            row.set(name, Value::Null);
        }
    }
}

fn fill_what_decides(row: &mut Row) {
    for name in ["retry_count", "attempts"] {
        if row.integer(name).is_none_or(|number| u32::try_from(number).is_err()) {
            row.set(name, 0);
        }
    }
    for (name, otherwise) in [("uncounted", 1), ("head", 0)] {
        if row.integer(name).is_none_or(|flag| !(0..=1).contains(&flag)) {
            row.set(name, otherwise);
        }
    }
    if row.integer("recorded_at").is_none() {
        row.set("recorded_at", 0);
    }
    // Lost is not NULL, which would wait for the line.
    if row.get("due_at").is_none() {
        row.set("due_at", row.integer("recorded_at").unwrap_or(0));
    }
    // Without a dossier it is judged by the counts that its row shows.
    if row.text("dossier").is_none_or(|text| serde_json::from_str::<Dossier>(text).is_err()) {
        for name in ["dossier", "counted_under", "counted_out_at", "bound_until"] {
            row.set(name, Value::Null);
        }
    }
    if row.text("status").and_then(Status::parse).is_none() {
        row.set("status", Status::Critical.as_str().to_owned());
    }
}

impl Terms {
    /// Does the route of such a failure hold what may have arrived?
    fn holds(&self, row: &Row) -> bool {
        let text = |name| row.text(name).unwrap_or_default();
        let route = self.routes.iter().find(|route| route.matches(text("entity_type"), text("action")));
        route.is_some_and(|route| route.on_unsure == OnUnsure::Hold)
    }
}

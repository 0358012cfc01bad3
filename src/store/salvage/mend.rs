//! Repairs a partly damaged failure so that the agent can store it.
//!
//! Columns that are only displayed (an error, a time) get a placeholder. Columns that decide whether the failure may be
//! sent unchanged (payload, keys) make it critical if they are lost: an operator has to check it, and nothing is sent
//! under another key than before.

use super::Terms;
use super::tables::Row;
use crate::config::route::OnUnsure;
use crate::limits::MAX_KEY;
use crate::moment::WallTime;
use crate::policy::retry_state::RetryState;
use crate::record::{PayloadKind, Status};
use rusqlite::types::Value;

/// `error_class` of a failure that is critical because a part of it is lost.
const DAMAGED: &str = "damaged";

/// Bytes of a key: `limits::MAX_KEY` characters.
const LONGEST_KEY: usize = 4 * MAX_KEY;

/// Columns without which an attempt would differ from the earlier ones.
const TELLING: [&str; 5] = ["payload", "payload_kind", "order_key", "idempotency_key", "status"];

/// Repairs a row; `whole`: its number was intact. The failure may have been sent without a stored result, so it is
/// treated as after an unsure attempt.
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
        let kind =
            if matches!(row.get("payload"), Some(Value::Blob(_))) { PayloadKind::Bytes } else { PayloadKind::Text };
        row.set("payload_kind", kind.as_str().to_owned());
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
        (Some(_), Some(PayloadKind::Text | PayloadKind::Bytes)) | (None, _) => true,
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
    for (name, otherwise) in [("uncounted", 1), ("head", 0), ("strict", 0)] {
        if row.integer(name).is_none_or(|flag| !(0..=1).contains(&flag)) {
            row.set(name, otherwise);
        }
    }
    if row.integer("recorded_at").is_none() {
        row.set("recorded_at", 0);
    }
    // A lost time must not become NULL, which means waiting for contact.
    if row.get("due_at").is_none() {
        row.set("due_at", row.integer("recorded_at").unwrap_or(0));
    }
    // Without a retry state, the counts of its row apply.
    if row.text("retry_state").is_none_or(|text| serde_json::from_str::<RetryState>(text).is_err()) {
        for name in ["retry_state", "refundable_under", "exhausted_at", "retry_after_until"] {
            row.set(name, Value::Null);
        }
    }
    if row.text("status").and_then(Status::parse).is_none() {
        row.set("status", Status::Critical.as_str().to_owned());
    }
}

impl Terms {
    /// Returns whether the route of such a failure holds failures that may have arrived.
    fn holds(&self, row: &Row) -> bool {
        let text = |name| row.text(name).unwrap_or_default();
        let route = self.routes.iter().find(|route| route.matches(text("entity_type"), text("action")));
        route.is_some_and(|route| route.on_unsure == OnUnsure::Hold)
    }
}

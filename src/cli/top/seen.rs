//! What the live screen shows: the answers to one round of questions, put together. Values only.

use crate::cli::render::{text, time};
use crate::cli::status::Standing;
use crate::moment::WallTime;
use serde_json::Value;
use std::collections::HashMap;

/// One look at the agent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Whose screen it is.
    pub(super) terminal: String,
    /// Health, and the newest failure that needs a person.
    pub(super) standing: Standing,
    /// The failures that are shown, those that need a person first.
    pub(super) failures: Vec<Value>,
    /// How many there are of this kind, shown or not; `None` where nobody can say.
    pub(super) matching: Option<u64>,
    /// What changes slowly.
    pub(super) slowly: Slowly,
}

/// What is not asked for in every round.
#[derive(Clone, Debug, Default)]
pub(super) struct Slowly {
    /// Active alerts.
    pub(super) alerts: Vec<Value>,
    /// Tries that failed of late, alike ones together, the newest first.
    pub(super) errors: Vec<Alike>,
    /// Failures that others wait behind.
    pub(super) blocking: Vec<Blocking>,
}

/// Tries that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alike {
    pub(super) times: usize,
    pub(super) class: String,
    pub(super) error: String,
    /// When the last one was.
    pub(super) last: WallTime,
    /// … and of which failure.
    pub(super) number: i64,
}

/// A failure that others wait behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocking {
    pub(super) number: i64,
    pub(super) what: String,
    pub(super) state: String,
    /// How many wait.
    pub(super) behind: usize,
    /// … and perhaps more.
    pub(super) or_more: bool,
}

/// Puts alike tries together; `entries` are a history's, the newest first.
pub(super) fn alike(entries: &[Value]) -> Vec<Alike> {
    let mut found: Vec<Alike> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry["kind"] == "attempt" && entry["class"] != "delivered") {
        let Some(last) = time(entry, "at") else { continue };
        let (class, error) = (text(entry, "class"), text(entry, "error"));
        let place = *places.entry((class.clone(), error.clone())).or_insert(found.len());
        if place == found.len() {
            let number = entry["seq"].as_i64().unwrap_or_default();
            found.push(Alike { times: 0, class, error, last, number });
        }
        found[place].times += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn alike_errors_stand_together_with_the_newest_of_them() {
        let entry = |seq: i64, class: &str, error: &str| json!({"kind": "attempt", "at": format!("2026-11-24T06:12:{seq:02}.000Z"), "seq": seq, "class": class, "error": error});
        let entries = [
            entry(5, "refused", "HTTP 422: unknown SKU"),
            json!({"kind": "operation", "at": "2026-11-24T06:12:04.000Z", "operation": "retry"}),
            entry(4, "delivered", ""),
            entry(3, "failed", "HTTP 500: oops"),
            entry(2, "refused", "HTTP 422: unknown SKU"),
        ];
        let found = alike(&entries);
        let told: Vec<_> = found.iter().map(|one| (one.times, one.class.as_str(), one.number)).collect();
        assert_eq!(told, [(2, "refused", 5), (1, "failed", 3)]);
        assert_eq!(found[0].last.rfc3339(), "2026-11-24T06:12:05.000Z");
    }
}

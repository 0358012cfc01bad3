//! A key that was used twice: by a failure of the damaged file, and by a record that came during the salvage. The
//! client got an error when the damage was found and sent its record again, although the first one had been stored.
//!
//! Nothing is delivered during a salvage, so the second record has not been sent. Its treatment is decided after all
//! failures were restored:
//!
//! | the first one | the second record |
//! |---|---|
//! | is lost | stays, and has the key |
//! | is live or has left, with the same content | is the same failure, and is removed |
//! | is live or has left, with other content | becomes critical: it would be sent under a key that is taken |

use super::Terms;
use super::tables::Row;
use crate::record::Status;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

/// `error_class` of a record whose key is taken.
const TAKEN: &str = "damaged";

/// A key of a failure of the damaged file that a later record has as well.
#[derive(Debug)]
pub(super) struct Clash {
    uid: i64,
    key: String,
    first: String,
    content: Value,
    outcome: Value,
    left_at: Value,
    second: String,
}

impl Clash {
    /// Returns the clash, if the key of this row now belongs to another failure.
    pub(super) fn of(into: &Connection, row: &Row) -> rusqlite::Result<Option<Self>> {
        let (Some(uid), Some(key), Some(first)) = (row.integer("source_uid"), row.text("key"), row.text("failure_id"))
        else {
            return Ok(None);
        };
        let holder = "SELECT failure_id FROM idempotency_keys WHERE source_uid = ?1 AND key = ?2";
        let holder: Option<String> =
            into.prepare_cached(holder)?.query_row(params![uid, key], |row| row.get(0)).optional()?;
        let value = |name: &str| row.get(name).cloned().unwrap_or(Value::Null);
        Ok(holder.filter(|second| second != first).map(|second| Self {
            uid,
            key: key.to_owned(),
            first: first.to_owned(),
            content: value("sha256"),
            outcome: value("outcome"),
            left_at: value("left_at"),
            second,
        }))
    }

    /// Resolves the clash; returns the number of rows removed.
    fn settle(&self, into: &Connection, floor: i64, terms: &Terms) -> rusqlite::Result<i64> {
        let live = "SELECT 1 FROM sync_failures WHERE id = ?1";
        let left = self.outcome != Value::Null;
        let is_second = "SELECT 1 FROM sync_failures WHERE id = ?1 AND rowid >= ?2";
        let second = into.prepare_cached(is_second)?.exists(params![self.second, floor])?;
        let holds = "SELECT 1 FROM idempotency_keys WHERE source_uid = ?1 AND key = ?2 AND failure_id = ?3";
        // The first failure is found by its row and by its key's, but handled once.
        let second = second && into.prepare_cached(holds)?.exists(params![self.uid, self.key, self.second])?;
        if !second || !(left || into.prepare_cached(live)?.exists([&self.first])?) {
            return Ok(0);
        }
        let same = "SELECT 1 FROM idempotency_keys WHERE source_uid = ?1 AND key = ?2 AND sha256 = ?3";
        let same = into.prepare_cached(same)?.exists(params![self.uid, self.key, self.content])?;
        let reason = if same {
            into.prepare_cached("DELETE FROM sync_failures WHERE id = ?1")?.execute([&self.second])?;
            format!(
                "quarantine/{}: it is failure {}, which was recorded before under the same key",
                terms.name, self.first
            )
        } else {
            let person = "UPDATE sync_failures SET status = ?2, error_class = ?3, due_at = NULL, next_retry_at = NULL \
                          WHERE id = ?1";
            into.prepare_cached(person)?.execute(params![self.second, Status::Critical.as_str(), TAKEN])?;
            format!("quarantine/{}: its key was used before for other content, by failure {}", terms.name, self.first)
        };
        let key = "UPDATE idempotency_keys SET failure_id = ?3, sha256 = ?4, outcome = ?5, left_at = ?6, left_by = NULL \
                   WHERE source_uid = ?1 AND key = ?2";
        let Self { uid, key: name, first, content, outcome, left_at, .. } = self;
        into.prepare_cached(key)?.execute(params![uid, name, first, content, outcome, left_at])?;
        let told = "INSERT INTO audit_log (at, actor_name, operation, failure_id, reason) \
                    VALUES (?1, 'resyncd', 'quarantine', ?2, ?3)";
        into.prepare_cached(told)?.execute(params![terms.now.sql(), self.second, reason])?;
        Ok(i64::from(same))
    }
}

/// Resolves all clashes after the failures were restored; returns the number of records removed.
pub(super) fn settle(into: &Connection, clashes: &[Clash], terms: &Terms) -> rusqlite::Result<i64> {
    let Some(floor) = terms.floor else { return Ok(0) };
    clashes.iter().try_fold(0, |removed, clash| Ok(removed + clash.settle(into, floor, terms)?))
}

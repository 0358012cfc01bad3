//! Attempts and operator actions on one time line: of a failure, of an entity over all its failures, or of all since a
//! time. It outlives the failures.
//!
//! The two kinds are stored in two tables. Each returns its next entries along an index, and the two are merged. A page
//! begins after the last entry of the previous one, so no page skips or repeats an entry.

use super::StoreError;
use super::cells::{text, text_or_null};
use super::reader::Reader;
use super::rows::as_limit;
use crate::ids::{FailureId, Seq};
use crate::limits::MAX_PAGE_BYTES;
use crate::moment::WallTime;
use crate::question::{Direction, EntryCursor};
use rusqlite::types::Value;
use rusqlite::{Row, params, params_from_iter};
use std::fmt::Write as _;

/// Scope of a history, with names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryScope {
    /// One failure.
    Failure(FailureId),
    /// An entity: type and id.
    Entity(String, String),
    /// Of all entities with this id.
    EntityId(String),
    /// All failures.
    All,
    /// Removals of undelivered failures that were not restored since.
    Removed,
    /// Attempts that were accepted.
    Delivered,
}

/// Undelivered failures that were removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Number of failures, at most [`MOST_REMOVED`].
    pub count: u64,
    /// When the first of them was removed.
    pub first_at: String,
    /// When the last of them was removed.
    pub last_at: String,
}

/// Maximum number of removed failures that are counted: each takes a few lookups, and `health` is called often.
pub const MOST_REMOVED: usize = 1000;

/// The audit row of a removal that ended the last life of its failure. A failure that has left lives again only by an
/// import or a replay, and both are audited: no such row follows, nor another removal. A delivery is of an earlier life if
/// the failure had come back before this removal. If it had not, another copy of the database had the failure still live,
/// and it was delivered from there.
pub(super) const LAST_REMOVAL: &str = "operation IN ('discard', 'cleanup') \
    AND NOT EXISTS (SELECT 1 FROM sync_failures WHERE id = audit_log.failure_id) \
    AND NOT EXISTS (SELECT 1 FROM audit_log AS later WHERE later.failure_id = audit_log.failure_id \
        AND later.id > audit_log.id AND later.operation IN ('discard', 'cleanup', 'import', 'replay')) \
    AND (EXISTS (SELECT 1 FROM audit_log AS back WHERE back.failure_id = audit_log.failure_id \
            AND back.id < audit_log.id AND back.operation IN ('import', 'replay')) \
        OR NOT EXISTS (SELECT 1 FROM sync_attempts WHERE failure_id = audit_log.failure_id AND class = 'delivered'))";

/// Selects a page of a history.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Earliest time, inclusive.
    pub since: Option<WallTime>,
    /// The entry before the page.
    pub after: Option<&'a EntryCursor>,
    /// Maximum number of entries.
    pub limit: usize,
    /// Direction in time.
    pub direction: Direction,
}

/// A page of a history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    /// The entries in the page's direction.
    pub entries: Vec<Entry>,
    /// The last entry, from which the next page continues.
    pub next: Option<EntryCursor>,
}

/// One entry of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Position on the time line.
    pub place: EntryCursor,
    /// The attempt or action.
    pub what: What,
}

/// The kinds of entries.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An attempt.
    Attempt(AttemptEntry),
    /// An operator action.
    Operation(OperationEntry),
}

/// An attempt as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptEntry {
    pub failure: FailureId,
    pub seq: Seq,
    pub entity_type: String,
    pub entity_id: String,
    pub action: String,
    pub attempt: u32,
    pub trigger: String,
    pub upstream: String,
    pub duration_ms: i64,
    pub http_status: Option<u16>,
    pub class: String,
    pub error: Option<String>,
    pub response: Option<String>,
    pub counted: bool,
    pub provisional: bool,
    pub why: Option<String>,
}

/// An operator action as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationEntry {
    pub failure: Option<FailureId>,
    pub seq: Option<Seq>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub action: Option<String>,
    pub operation: String,
    pub actor_uid: Option<u32>,
    pub actor_name: Option<String>,
    pub claimed_by: Option<String>,
    pub reason: Option<String>,
    pub changes: Option<String>,
    pub sha256_before: Option<String>,
    pub sha256_after: Option<String>,
}

/// A condition and its bound values.
type Condition = (String, Vec<Value>);

impl Reader {
    /// Reads a page of a history.
    pub fn history(&self, whose: &HistoryScope, part: Part) -> Result<Entries, StoreError> {
        let mut all = self.attempts(whose, part)?;
        all.extend(self.operations(whose, part)?);
        all.sort_by(|a, b| a.place.cmp(&b.place));
        if part.direction == Direction::Descending {
            all.reverse();
        }
        let mut bytes = 0;
        let fitting = all.iter().take(part.limit).take_while(|entry| {
            bytes += entry.weight();
            bytes <= MAX_PAGE_BYTES
        });
        let count = fitting.count().max(1);
        let more = all.len() > count;
        all.truncate(count);
        let next = all.last().filter(|_| more).map(|last| last.place.clone());
        Ok(Entries { entries: all, next })
    }

    /// Undelivered failures removed since then; `None` if there are none.
    pub fn removed(&self, since: WallTime) -> Result<Option<Removed>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT count(*), min(at), max(at) FROM (SELECT at FROM audit_log WHERE at >= ?1 AND {LAST_REMOVAL} \
             ORDER BY at DESC LIMIT ?2)"
        ))?;
        let read = |row: &Row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?));
        let (count, first, last) = statement.query_row(params![since.sql(), as_limit(MOST_REMOVED)], read)?;
        Ok(first.zip(last).map(|(first_at, last_at)| Removed { count, first_at, last_at }))
    }

    fn attempts(&self, whose: &HistoryScope, part: Part) -> Result<Vec<Entry>, StoreError> {
        let scope = match whose {
            HistoryScope::Failure(id) => ("failure_id = ?".to_owned(), texts([id.as_str()])),
            HistoryScope::Entity(kind, which) => ("entity_type = ? AND entity_id = ?".to_owned(), texts([kind, which])),
            HistoryScope::EntityId(which) => {
                (format!("entity_type IN ({}) AND entity_id = ?", all_types("sync_attempts")), texts([which]))
            }
            HistoryScope::All => ("1".to_owned(), Vec::new()),
            HistoryScope::Removed => return Ok(Vec::new()),
            HistoryScope::Delivered => ("class = 'delivered'".to_owned(), Vec::new()),
        };
        // An action of the same millisecond comes first.
        let (condition, values) = within(scope, "started_at", part, i64::MIN, true);
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, started_at, failure_id, seq, entity_type, entity_id, action, attempt, trigger, upstream, duration_ms, \
             http_status, class, error, response, counted, provisional, why FROM sync_attempts WHERE {condition}"
        ))?;
        let read = |row: &Row| {
            let place = EntryCursor { at: text(row, 1)?, attempt: true, row: row.get(0)? };
            Ok(Entry { place, what: What::Attempt(attempt(row)?) })
        };
        let entries = statement.query_map(params_from_iter(values), |row| self.odd.read_elsewhere(read(row)))?;
        Ok(entries.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    fn operations(&self, whose: &HistoryScope, part: Part) -> Result<Vec<Entry>, StoreError> {
        let scope = match whose {
            HistoryScope::Failure(id) => ("audit_log.failure_id = ?".to_owned(), texts([id.as_str()])),
            // Includes actions on its failures while they belonged to another entity, or before the audit stored the
            // entity.
            HistoryScope::Entity(kind, which) => (
                "(audit_log.entity_type = ? AND audit_log.entity_id = ? OR audit_log.failure_id IN \
                 (SELECT failure_id FROM sync_attempts WHERE entity_type = ? AND entity_id = ? \
                 UNION SELECT id FROM sync_failures WHERE entity_type = ? AND entity_id = ?))"
                    .to_owned(),
                texts([kind, which, kind, which, kind, which]),
            ),
            HistoryScope::EntityId(which) => {
                let types = all_types("audit_log");
                (format!("audit_log.entity_type IN ({types}) AND audit_log.entity_id = ?"), texts([which]))
            }
            HistoryScope::All => ("1".to_owned(), Vec::new()),
            HistoryScope::Removed => (LAST_REMOVAL.to_owned(), Vec::new()),
            HistoryScope::Delivered => return Ok(Vec::new()),
        };
        let (condition, values) = within(scope, "at", part, i64::MAX, false);
        let mut statement = self.connection.prepare(&format!(
            "SELECT audit_log.id, at, failure_id, coalesce(audit_log.seq, live.seq), \
             coalesce(audit_log.entity_type, live.entity_type), coalesce(audit_log.entity_id, live.entity_id), \
             coalesce(audit_log.action, live.action), operation, actor_uid, actor_name, claimed_by, reason, changes, \
             sha256_before, sha256_after \
             FROM audit_log LEFT JOIN sync_failures AS live ON live.id = failure_id WHERE {condition}"
        ))?;
        let read = |row: &Row| {
            let place = EntryCursor { at: text(row, 1)?, attempt: false, row: row.get(0)? };
            Ok(Entry { place, what: What::Operation(operation(row)?) })
        };
        let entries = statement.query_map(params_from_iter(values), |row| self.odd.read_elsewhere(read(row)))?;
        Ok(entries.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }
}

impl Entry {
    /// Approximate bytes of the entry in a reply.
    fn weight(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        400 + match &self.what {
            What::Attempt(attempt) => length(&attempt.error) + length(&attempt.response) + attempt.entity_id.len(),
            What::Operation(operation) => length(&operation.reason) + length(&operation.changes),
        }
    }
}

/// The entity types that a table has, each found by one step along its index, which begins with them.
fn all_types(table: &str) -> String {
    format!(
        "WITH RECURSIVE types (name) AS (SELECT min(entity_type) FROM {table} WHERE entity_id IS NOT NULL UNION ALL \
         SELECT (SELECT min(entity_type) FROM {table} WHERE entity_id IS NOT NULL AND entity_type > name) FROM types \
         WHERE name IS NOT NULL) SELECT name FROM types WHERE name IS NOT NULL"
    )
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<Value> {
    texts.map(|text| Value::from(text.to_owned())).into()
}

/// The part of a table that a page needs; `beside` is where the table continues after an entry of the other table with
/// the same time.
fn within((scope, mut values): Condition, at: &str, part: Part, beside: i64, attempts: bool) -> Condition {
    let table = if attempts { "sync_attempts" } else { "audit_log" };
    let (beyond, order) = match part.direction {
        Direction::Ascending => (">", "ASC"),
        Direction::Descending => ("<", "DESC"),
    };
    let mut sql = scope;
    if let Some(since) = part.since {
        // Writing to a String cannot fail.
        let _ = write!(sql, " AND {at} >= ?");
        values.push(Value::from(since.sql()));
    }
    if let Some(after) = part.after {
        let _ = write!(sql, " AND ({at}, {table}.id) {beyond} (?, ?)");
        values.push(Value::from(after.at.clone()));
        values.push(Value::from(if after.attempt == attempts { after.row } else { beside }));
    }
    let _ = write!(sql, " ORDER BY {at} {order}, {table}.id {order} LIMIT ?");
    values.push(Value::from(as_limit(part.limit + 1)));
    (sql, values)
}

fn attempt(row: &Row) -> rusqlite::Result<AttemptEntry> {
    Ok(AttemptEntry {
        failure: FailureId::new(text(row, 2)?),
        seq: Seq(row.get(3)?),
        entity_type: text(row, 4)?,
        entity_id: text(row, 5)?,
        action: text(row, 6)?,
        attempt: row.get(7)?,
        trigger: text(row, 8)?,
        upstream: text(row, 9)?,
        duration_ms: row.get(10)?,
        http_status: row.get(11)?,
        class: text(row, 12)?,
        error: text_or_null(row, 13)?,
        response: text_or_null(row, 14)?,
        counted: row.get(15)?,
        provisional: row.get(16)?,
        why: text_or_null(row, 17)?,
    })
}

fn operation(row: &Row) -> rusqlite::Result<OperationEntry> {
    Ok(OperationEntry {
        failure: text_or_null(row, 2)?.map(FailureId::new),
        seq: row.get::<_, Option<i64>>(3)?.map(Seq),
        entity_type: text_or_null(row, 4)?,
        entity_id: text_or_null(row, 5)?,
        action: text_or_null(row, 6)?,
        operation: text(row, 7)?,
        actor_uid: row.get(8)?,
        actor_name: text_or_null(row, 9)?,
        claimed_by: text_or_null(row, 10)?,
        reason: text_or_null(row, 11)?,
        changes: text_or_null(row, 12)?,
        sha256_before: text_or_null(row, 13)?,
        sha256_after: text_or_null(row, 14)?,
    })
}

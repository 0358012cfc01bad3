//! What was tried and done, in one time line: of a failure, of an entity over all its failures, or of
//! everybody since a time. It outlives the failures.
//!
//! Tries and deeds stand in two tables; each gives its next entries along an index, and the two are
//! merged. A page begins where the last one ended, by the entry, so that no page skips or repeats one.

use super::StoreError;
use super::reader::Reader;
use super::rows::as_limit;
use crate::ids::{FailureId, Seq};
use crate::limits::MAX_PAGE_BYTES;
use crate::moment::WallTime;
use crate::question::{Direction, EntryCursor};
use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use std::fmt::Write as _;

/// Whose history, with names looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// One failure's.
    Failure(FailureId),
    /// An entity's: type and id.
    Entity(String, String),
    /// Everybody's.
    All,
}

/// Which part of it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Then or later.
    pub since: Option<WallTime>,
    /// Beyond this entry.
    pub after: Option<&'a EntryCursor>,
    /// At most so many.
    pub limit: usize,
    /// Which way.
    pub direction: Direction,
}

/// A page of a history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    /// In the page's direction.
    pub entries: Vec<Entry>,
    /// Where the next page begins.
    pub next: Option<EntryCursor>,
}

/// One entry of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it stands in the time line.
    pub place: EntryCursor,
    /// What it was.
    pub what: What,
}

/// What was tried or done.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A try.
    Attempt(AttemptEntry),
    /// Something a person did.
    Operation(OperationEntry),
}

/// A try, as it was kept.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns of sync_attempts, named in spec/07")]
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

/// A person's deed, as it was kept.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns of audit_log, named in spec/07")]
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

/// A condition and what is bound to its marks.
type Condition = (String, Vec<Value>);

impl Reader {
    /// A page of a history.
    pub fn history(&self, whose: &Whose, part: Part) -> Result<Entries, StoreError> {
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

    fn attempts(&self, whose: &Whose, part: Part) -> Result<Vec<Entry>, StoreError> {
        let scope = match whose {
            Whose::Failure(id) => ("failure_id = ?".to_owned(), texts([id.as_str()])),
            Whose::Entity(kind, which) => ("entity_type = ? AND entity_id = ?".to_owned(), texts([kind, which])),
            Whose::All => ("1".to_owned(), Vec::new()),
        };
        // A deed of the same millisecond comes first.
        let (condition, values) = within(scope, "started_at", part, i64::MIN, true);
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, started_at, failure_id, seq, entity_type, entity_id, action, attempt, trigger, upstream, duration_ms, \
             http_status, class, error, response, counted, provisional, why FROM sync_attempts WHERE {condition}"
        ))?;
        let entries = statement.query_map(params_from_iter(values), |row| {
            Ok(Entry {
                place: EntryCursor { at: row.get(1)?, attempt: true, row: row.get(0)? },
                what: What::Attempt(attempt(row)?),
            })
        })?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    fn operations(&self, whose: &Whose, part: Part) -> Result<Vec<Entry>, StoreError> {
        let scope = match whose {
            Whose::Failure(id) => ("audit_log.failure_id = ?".to_owned(), texts([id.as_str()])),
            // Also what was done to its failures while they were another entity's, or before the audit
            // said whose they were.
            Whose::Entity(kind, which) => (
                "(audit_log.entity_type = ? AND audit_log.entity_id = ? OR audit_log.failure_id IN \
                 (SELECT failure_id FROM sync_attempts WHERE entity_type = ? AND entity_id = ? \
                 UNION SELECT id FROM sync_failures WHERE entity_type = ? AND entity_id = ?))"
                    .to_owned(),
                texts([kind, which, kind, which, kind, which]),
            ),
            Whose::All => ("1".to_owned(), Vec::new()),
        };
        let (condition, values) = within(scope, "at", part, i64::MAX, false);
        let mut statement = self.connection.prepare(&format!(
            "SELECT audit_log.id, at, failure_id, coalesce(audit_log.seq, live.seq), \
             coalesce(audit_log.entity_type, live.entity_type), coalesce(audit_log.entity_id, live.entity_id), \
             coalesce(audit_log.action, live.action), operation, actor_uid, actor_name, claimed_by, reason, changes, \
             sha256_before, sha256_after \
             FROM audit_log LEFT JOIN sync_failures AS live ON live.id = failure_id WHERE {condition}"
        ))?;
        let entries = statement.query_map(params_from_iter(values), |row| {
            Ok(Entry {
                place: EntryCursor { at: row.get(1)?, attempt: false, row: row.get(0)? },
                what: What::Operation(operation(row)?),
            })
        })?;
        Ok(entries.collect::<Result<_, _>>()?)
    }
}

impl Entry {
    /// About what it takes in a reply.
    fn weight(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        400 + match &self.what {
            What::Attempt(attempt) => length(&attempt.error) + length(&attempt.response) + attempt.entity_id.len(),
            What::Operation(operation) => length(&operation.reason) + length(&operation.changes),
        }
    }
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<Value> {
    texts.map(|text| Value::from(text.to_owned())).into()
}

/// The part of a table that a page asks for; `beside` is where the table goes on behind an entry of the
/// other one with the same time.
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
        failure: FailureId::new(row.get::<_, String>(2)?),
        seq: Seq(row.get(3)?),
        entity_type: row.get(4)?,
        entity_id: row.get(5)?,
        action: row.get(6)?,
        attempt: row.get(7)?,
        trigger: row.get(8)?,
        upstream: row.get(9)?,
        duration_ms: row.get(10)?,
        http_status: row.get(11)?,
        class: row.get(12)?,
        error: row.get(13)?,
        response: row.get(14)?,
        counted: row.get(15)?,
        provisional: row.get(16)?,
        why: row.get(17)?,
    })
}

fn operation(row: &Row) -> rusqlite::Result<OperationEntry> {
    Ok(OperationEntry {
        failure: row.get::<_, Option<String>>(2)?.map(FailureId::new),
        seq: row.get::<_, Option<i64>>(3)?.map(Seq),
        entity_type: row.get(4)?,
        entity_id: row.get(5)?,
        action: row.get(6)?,
        operation: row.get(7)?,
        actor_uid: row.get(8)?,
        actor_name: row.get(9)?,
        claimed_by: row.get(10)?,
        reason: row.get(11)?,
        changes: row.get(12)?,
        sha256_before: row.get(13)?,
        sha256_after: row.get(14)?,
    })
}

//! Queries and deletions of retention, each a bounded step along an index.
//!
//! **Age is agent time.** The history's rows contain wall-clock times, which may jump by years. So marks store up to
//! which row everything was written by which agent time ([`Store::mark_history`]), and a row is old if it is below an
//! old mark.

use super::cells::{is_odd, text};
use super::rows::{as_limit, order_condition};
use super::{Store, StoreError};
use crate::ids::Seq;
use crate::moment::AgentTime;
use crate::record::{OrderKey, Status};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, Rows, params, params_from_iter};

/// The properties of a live failure that decide whether it may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// Number of the failure.
    pub seq: Seq,
    /// Status of the failure.
    pub status: Status,
    /// Number of counted attempts.
    pub retry_count: u32,
    /// When it was recorded, or imported with a new age.
    pub since: AgentTime,
    /// Bytes of its payload.
    pub bytes: usize,
    /// Whether it is a head.
    pub head: bool,
}

/// The schedule of retention runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanUps {
    /// When the last one ended.
    pub ended_at: Option<AgentTime>,
    /// Earliest time of the next one.
    pub not_before: Option<AgentTime>,
}

/// History rows up to these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryMark {
    /// Number in `sync_attempts`.
    pub attempt: i64,
    /// Number in `audit_log`.
    pub audit: i64,
}

const AGED: &str =
    "rowid, status, retry_count, coalesce(imported_at, recorded_at), coalesce(octet_length(payload), 0), head";

fn aged(row: &Row) -> rusqlite::Result<Aged> {
    let status = text(row, 1)?;
    Ok(Aged {
        seq: Seq(row.get(0)?),
        // A status that another program wrote is never removed by retention.
        status: Status::parse(&status).unwrap_or(Status::Pending),
        retry_count: row.get(2)?,
        since: AgentTime::from_millis(row.get(3)?),
        bytes: row.get(4)?,
        head: row.get(5)?,
    })
}

impl Store {
    /// Held or critical failures after `after`, ordered by number.
    pub fn needing_persons(&self, status: Status, after: Seq, limit: usize) -> Result<Vec<Aged>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {AGED} FROM sync_failures INDEXED BY sync_failures_person \
             WHERE status <> 'pending' AND status = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3"
        ))?;
        self.all_aged(statement.query(params![status.as_str(), after.0, as_limit(limit)])?)
    }

    /// Failures of an order key from `from` on, ordered by number.
    pub fn order_from(&self, order: &OrderKey, from: Seq, limit: usize) -> Result<Vec<Aged>, StoreError> {
        self.along(order, ">=", from, "ASC", limit)
    }

    /// The newest failures of an order key.
    pub fn order_from_its_end(&self, order: &OrderKey, limit: usize) -> Result<Vec<Aged>, StoreError> {
        self.along(order, "<=", Seq(i64::MAX), "DESC", limit)
    }

    fn along(
        &self,
        order: &OrderKey,
        beyond: &str,
        from: Seq,
        direction: &str,
        limit: usize,
    ) -> Result<Vec<Aged>, StoreError> {
        let (condition, values) = order_condition(order);
        let mut all: Vec<Value> = values.into_iter().map(|value| Value::from(value.to_owned())).collect();
        all.extend([Value::from(from.0), Value::from(as_limit(limit))]);
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {AGED} FROM sync_failures WHERE {condition} AND rowid {beyond} ? ORDER BY rowid {direction} LIMIT ?"
        ))?;
        self.all_aged(statement.query(params_from_iter(all))?)
    }

    /// An unreadable row ends the list, because what may be removed depends on it.
    fn all_aged(&self, mut rows: Rows) -> Result<Vec<Aged>, StoreError> {
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let read = aged(row);
            if read.as_ref().is_err_and(is_odd) {
                self.odd.note(row.get(0)?);
            }
            found.push(read?);
        }
        Ok(found)
    }

    /// The stored schedule.
    pub fn clean_ups(&self) -> Result<CleanUps, StoreError> {
        let read = |row: &Row| {
            let time = |at: Option<i64>| at.map(AgentTime::from_millis);
            Ok(CleanUps { ended_at: time(row.get(0)?), not_before: time(row.get(1)?) })
        };
        let mut statement = self.connection.prepare_cached("SELECT ended_at, not_before FROM clean_up WHERE id = 1")?;
        let read = |row: &Row| self.odd.read_elsewhere(read(row));
        Ok(statement.query_row([], read).optional()?.flatten().unwrap_or_default())
    }

    /// Stores the schedule.
    pub fn keep_clean_ups(&mut self, clean_ups: CleanUps) -> Result<(), StoreError> {
        let time = |at: Option<AgentTime>| at.map(AgentTime::as_millis);
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO clean_up (id, ended_at, not_before) VALUES (1, ?1, ?2)")?
            .execute(params![time(clean_ups.ended_at), time(clean_ups.not_before)])?;
        Ok(())
    }

    // ---- history

    /// Sets a mark, unless the last one is newer than `unless_since`, and deletes those older than `needless`.
    pub fn mark_history(
        &mut self,
        now: AgentTime,
        unless_since: AgentTime,
        needless: AgentTime,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO history_marks (agent_time, attempt_id, audit_id) \
                 SELECT ?1, (SELECT coalesce(max(id), 0) FROM sync_attempts), (SELECT coalesce(max(id), 0) FROM audit_log) \
                 WHERE NOT EXISTS (SELECT 1 FROM history_marks WHERE agent_time > ?2)",
            )?
            .execute(params![now.as_millis(), unless_since.as_millis()])?;
        // The newest of them determines which rows are old.
        self.connection
            .prepare_cached(
                "DELETE FROM history_marks WHERE agent_time < \
                 (SELECT agent_time FROM history_marks WHERE agent_time <= ?1 ORDER BY agent_time DESC LIMIT 1)",
            )?
            .execute([needless.as_millis()])?;
        Ok(())
    }

    /// The history that is older than `before`.
    pub fn history_before(&self, before: AgentTime) -> Result<Option<HistoryMark>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT attempt_id, audit_id FROM history_marks WHERE agent_time <= ?1 ORDER BY agent_time DESC LIMIT 1",
        )?;
        let read = |row: &Row| Ok(HistoryMark { attempt: row.get(0)?, audit: row.get(1)? });
        let read = |row: &Row| self.odd.read_elsewhere(read(row));
        Ok(statement.query_row([before.as_millis()], read).optional()?.flatten())
    }

    /// Deletes the oldest attempts up to a number; returns how many.
    pub fn forget_attempts(&mut self, up_to: i64, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM sync_attempts WHERE id IN \
                   (SELECT id FROM sync_attempts WHERE id <= ?1 ORDER BY id LIMIT ?2)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![up_to, as_limit(limit)])?)
    }

    /// Deletes the oldest `limit` attempts to make space for live failures; returns how many. The audit is kept,
    /// because operators rely on it, and so are the outcomes of keys.
    pub fn shorten_history(&mut self, limit: usize) -> Result<usize, StoreError> {
        self.forget_attempts(i64::MAX, limit)
    }

    /// Of the next `limit` audit rows after `after`, deletes those up to a number: up to `up_to.0` all except removals
    /// of undelivered failures, which the archive needs, and returns of failures, which show that an earlier removal or
    /// delivery is not the last one; up to `up_to.1` those too. Returns where to continue; `None` at the end.
    pub fn forget_audit(&mut self, after: i64, up_to: (i64, i64), limit: usize) -> Result<Option<i64>, StoreError> {
        let last: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT max(id) FROM (SELECT id FROM audit_log WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3)",
            )?
            .query_row(params![after, up_to.0.max(up_to.1), as_limit(limit)], |row| row.get(0))?;
        let Some(last) = last else { return Ok(None) };
        self.connection
            .prepare_cached(
                "DELETE FROM audit_log WHERE id > ?1 AND id <= ?2 AND \
                 ((id <= ?3 AND operation NOT IN ('discard', 'cleanup', 'import', 'replay')) OR \
                 (id <= ?4 AND operation IN ('discard', 'cleanup', 'import', 'replay')))",
            )?
            .execute(params![after, last, up_to.0, up_to.1])?;
        Ok(Some(last))
    }

    /// Stores for keys of removed failures that they were removed by now; returns how many.
    pub fn age_keys(&mut self, now: AgentTime, limit: usize) -> Result<usize, StoreError> {
        let sql = "UPDATE idempotency_keys SET left_by = ?1 WHERE (key, source_uid) IN \
                   (SELECT key, source_uid FROM idempotency_keys INDEXED BY idempotency_keys_left \
                   WHERE outcome IS NOT NULL AND left_by IS NULL LIMIT ?2)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![now.as_millis(), as_limit(limit)])?)
    }

    /// Deletes keys whose failures had been removed by then, and never those of live failures; returns how many.
    pub fn forget_keys(&mut self, left_by: AgentTime, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM idempotency_keys WHERE (key, source_uid) IN \
                   (SELECT key, source_uid FROM idempotency_keys INDEXED BY idempotency_keys_left \
                   WHERE outcome IS NOT NULL AND left_by <= ?1 LIMIT ?2)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![left_by.as_millis(), as_limit(limit)])?)
    }
}

//! What the clean-up asks, and how history is forgotten: each a bounded step along an index.
//!
//! **Age is agent time.** The history's rows bear the wall clock's time, which may jump by years. So
//! marks say up to which row everything was written by which agent time ([`Store::mark_history`]), and
//! a row is old when it stands below an old mark.

use super::rows::{as_limit, order_condition};
use super::{Store, StoreError};
use crate::ids::Seq;
use crate::moment::AgentTime;
use crate::record::{OrderKey, Status};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};

/// Of a live failure what decides whether it may be cleaned up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// Its number.
    pub seq: Seq,
    /// Where it stands.
    pub status: Status,
    /// Counted tries.
    pub retry_count: u32,
    /// When it was recorded.
    pub recorded_at: AgentTime,
    /// Bytes of its payload.
    pub bytes: usize,
}

/// What is remembered of clean-ups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanUps {
    /// When the last one ended.
    pub ended_at: Option<AgentTime>,
    /// Before this there is to be none.
    pub not_before: Option<AgentTime>,
}

/// Rows of the history up to these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryMark {
    /// Of `sync_attempts`.
    pub attempt: i64,
    /// Of `audit_log`.
    pub audit: i64,
}

const AGED: &str = "rowid, status, retry_count, recorded_at, coalesce(octet_length(payload), 0)";

fn aged(row: &Row) -> rusqlite::Result<Aged> {
    let status: String = row.get(1)?;
    Ok(Aged {
        seq: Seq(row.get(0)?),
        // What a hand has written is not cleaned up.
        status: Status::parse(&status).unwrap_or(Status::Pending),
        retry_count: row.get(2)?,
        recorded_at: AgentTime::from_millis(row.get(3)?),
        bytes: row.get(4)?,
    })
}

impl Store {
    /// Failures that are held or critical, beyond `after`, in the order of their numbers.
    pub fn needing_persons(&self, status: Status, after: Seq, limit: usize) -> Result<Vec<Aged>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {AGED} FROM sync_failures INDEXED BY sync_failures_person \
             WHERE status <> 'pending' AND status = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3"
        ))?;
        let found = statement.query_map(params![status.as_str(), after.0, as_limit(limit)], aged)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Those of an order key from `from` on, in the order of their numbers.
    pub fn order_from(&self, order: &OrderKey, from: Seq, limit: usize) -> Result<Vec<Aged>, StoreError> {
        self.along(order, ">=", from, "ASC", limit)
    }

    /// The newest of an order key.
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
        let found = statement.query_map(params_from_iter(all), aged)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// What is remembered of clean-ups.
    pub fn clean_ups(&self) -> Result<CleanUps, StoreError> {
        let read = |row: &Row| {
            let time = |at: Option<i64>| at.map(AgentTime::from_millis);
            Ok(CleanUps { ended_at: time(row.get(0)?), not_before: time(row.get(1)?) })
        };
        let mut statement = self.connection.prepare_cached("SELECT ended_at, not_before FROM clean_up WHERE id = 1")?;
        Ok(statement.query_row([], read).optional()?.unwrap_or_default())
    }

    /// Remembers it.
    pub fn keep_clean_ups(&mut self, clean_ups: CleanUps) -> Result<(), StoreError> {
        let time = |at: Option<AgentTime>| at.map(AgentTime::as_millis);
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO clean_up (id, ended_at, not_before) VALUES (1, ?1, ?2)")?
            .execute(params![time(clean_ups.ended_at), time(clean_ups.not_before)])?;
        Ok(())
    }

    // ---- history

    /// Sets a mark, unless the last one is from after `unless_since`, and forgets those from before
    /// `needless`.
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
        // The newest of them is the one that tells what is old.
        self.connection
            .prepare_cached(
                "DELETE FROM history_marks WHERE agent_time < \
                 (SELECT agent_time FROM history_marks WHERE agent_time <= ?1 ORDER BY agent_time DESC LIMIT 1)",
            )?
            .execute([needless.as_millis()])?;
        Ok(())
    }

    /// Up to where the history is from before this.
    pub fn history_before(&self, before: AgentTime) -> Result<Option<HistoryMark>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT attempt_id, audit_id FROM history_marks WHERE agent_time <= ?1 ORDER BY agent_time DESC LIMIT 1",
        )?;
        let read = |row: &Row| Ok(HistoryMark { attempt: row.get(0)?, audit: row.get(1)? });
        Ok(statement.query_row([before.as_millis()], read).optional()?)
    }

    /// Forgets the oldest tries up to a number; how many.
    pub fn forget_attempts(&mut self, up_to: i64, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM sync_attempts WHERE id IN \
                   (SELECT id FROM sync_attempts WHERE id <= ?1 ORDER BY id LIMIT ?2)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![up_to, as_limit(limit)])?)
    }

    /// Of the next `limit` people's actions beyond `after` forgets those up to a number: up to
    /// `up_to.0` all but how failures left undelivered, which the archive needs, and up to `up_to.1`
    /// those too. Returns where it has come; `None` at the end.
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
                 ((id <= ?3 AND operation NOT IN ('discard', 'cleanup')) OR \
                 (id <= ?4 AND operation IN ('discard', 'cleanup')))",
            )?
            .execute(params![after, last, up_to.0, up_to.1])?;
        Ok(Some(last))
    }

    /// Says of keys whose failures have left that they have by now; how many.
    pub fn age_keys(&mut self, now: AgentTime, limit: usize) -> Result<usize, StoreError> {
        let sql = "UPDATE idempotency_keys SET left_by = ?1 WHERE (source_uid, key) IN \
                   (SELECT source_uid, key FROM idempotency_keys INDEXED BY idempotency_keys_left \
                   WHERE outcome IS NOT NULL AND left_by IS NULL LIMIT ?2)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![now.as_millis(), as_limit(limit)])?)
    }

    /// Forgets keys whose failures had left by then; those of live ones never. How many.
    pub fn forget_keys(&mut self, left_by: AgentTime, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM idempotency_keys WHERE (source_uid, key) IN \
                   (SELECT source_uid, key FROM idempotency_keys INDEXED BY idempotency_keys_left \
                   WHERE outcome IS NOT NULL AND left_by <= ?1 LIMIT ?2)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![left_by.as_millis(), as_limit(limit)])?)
    }
}

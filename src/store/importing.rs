//! What only a failure has that comes from elsewhere, or from the archive: a past.

use super::cells::text_or_null;
use super::history::LAST_REMOVAL;
use super::{Store, StoreError};
use crate::ids::{FailureId, Seq};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::record::{Failure, OrderKey};
use rusqlite::{OptionalExtension, params};

/// `error_class` of a failure that is held until the rest of a replay is back.
pub const AWAITS_REPLAY: &str = "awaits_replay";

/// The failure's past at its origin.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// Number of counted failed attempts.
    pub retry_count: u32,
    /// When the last of them ended.
    pub last_retry_at: Option<WallTime>,
    /// When it was recorded.
    pub created_at: WallTime,
    /// When it last changed.
    pub updated_at: WallTime,
    /// When it was recorded, in our agent's time, computed from `created_at`.
    pub recorded_at: AgentTime,
    /// When its age for retention begins; `None`: when it was recorded.
    pub imported_at: Option<AgentTime>,
}

impl Store {
    /// Sets the past of a failure that was just inserted.
    pub fn set_history(&mut self, seq: Seq, past: &Past) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET retry_count = ?2, last_retry_at = ?3, created_at = ?4, updated_at = ?5, \
                 recorded_at = ?6, imported_at = ?7 WHERE rowid = ?1",
            )?
            .execute(params![
                seq.0,
                past.retry_count,
                past.last_retry_at.map(WallTime::sql),
                past.created_at.sql(),
                past.updated_at.sql(),
                past.recorded_at.as_millis(),
                past.imported_at.map(AgentTime::as_millis),
            ])?;
        Ok(())
    }

    /// Gives a failure that has come back what else it had: its attempts, so that the next one gets a number above all
    /// of its earlier lives, and the key that it was recorded under, where an edit has replaced that.
    pub fn give_attempts(&mut self, seq: Seq, attempts: u32, recorded_key: Option<&str>) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE sync_failures SET attempts = ?2, recorded_key = ?3 WHERE rowid = ?1")?
            .execute(params![seq.0, attempts, recorded_key])?;
        Ok(())
    }

    /// The key that a failure was recorded under, where an edit has replaced it.
    pub fn recorded_key(&self, seq: Seq) -> Result<Option<String>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT recorded_key FROM sync_failures WHERE rowid = ?1")?;
        let key = statement.query_row([seq.0], |row| self.odd.read_elsewhere(text_or_null(row, 0)));
        Ok(key.optional()?.flatten().flatten())
    }

    /// The number of the last attempt of a failure that the history has, over all its lives.
    pub fn attempts_of(&self, id: &FailureId) -> Result<u32, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT coalesce(max(attempt), 0) FROM sync_attempts WHERE failure_id = ?1")?;
        Ok(statement.query_row([id.as_str()], |row| self.odd.read_elsewhere(row.get(0)))?.unwrap_or(0))
    }

    /// Did a failure leave undelivered, and has it not come back since?
    pub fn is_given_up(&self, id: &FailureId) -> Result<bool, StoreError> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM audit_log WHERE failure_id = ?1 AND {LAST_REMOVAL})");
        Ok(self.connection.prepare_cached(&sql)?.query_row([id.as_str()], |row| row.get(0))?)
    }

    /// The next live failure of an order behind this number, without its payload.
    pub fn next_in_order(&self, order: &OrderKey, after: Seq) -> Result<Option<Failure>, StoreError> {
        let next = self.order_from(order, Seq(after.0 + 1), 1)?;
        next.first().map_or(Ok(None), |next| self.light_by_seq(next.seq))
    }

    /// Something older has come back: this one is no longer the first of its order.
    pub fn step_back(&mut self, seq: Seq) -> Result<(), StoreError> {
        self.connection.prepare_cached("UPDATE sync_failures SET head = 0 WHERE rowid = ?1")?.execute([seq.0])?;
        Ok(())
    }

    /// Holds a pending failure until the rest of a replay is back.
    pub fn await_replay(&mut self, seq: Seq) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET status = 'held', error_class = ?2, due_at = NULL, next_retry_at = NULL \
                 WHERE rowid = ?1 AND status = 'pending'",
            )?
            .execute(params![seq.0, AWAITS_REPLAY])?;
        Ok(())
    }

    /// Ends that: the failure is due now, or at the end of a `Retry-After` that the upstream set for it.
    pub fn replay_is_whole(&mut self, seq: Seq, now: Moment) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET status = 'pending', error_class = NULL, \
                 due_at = max(?3, coalesce(retry_after_until, 0)), next_retry_at = ?4 \
                 WHERE rowid = ?1 AND status = 'held' AND error_class = ?2",
            )?
            .execute(params![seq.0, AWAITS_REPLAY, now.agent.as_millis(), now.wall.sql()])?;
        Ok(())
    }

    /// The number of a failure whose last life ended with its delivery from here.
    pub fn seq_of_delivered(&self, id: &FailureId) -> Result<Option<Seq>, StoreError> {
        if self.is_given_up(id)? {
            return Ok(None);
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT seq FROM sync_attempts WHERE failure_id = ?1 AND class = 'delivered' ORDER BY id DESC LIMIT 1",
        )?;
        let seq = statement.query_row([id.as_str()], |row| self.odd.read_elsewhere(row.get(0).map(Seq)));
        Ok(seq.optional()?.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::store::StoreSettings;

    #[test]
    fn the_last_leaving_decides_whether_a_failure_is_given_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let store = Store::open(settings, WallTime::from_millis(0)).expect("a store");
        let id = FailureId::new("f");
        for (life, given_up) in [
            (&[][..], false),
            (&["delivered"], false),
            (&["discard"], true),
            (&["cleanup", "import", "delivered"], false),
            (&["cleanup", "import", "discard"], true),
            (&["delivered", "replay", "discard"], true),
            (&["delivered", "replay", "delivered"], false),
            (&["delivered", "replay", "cleanup", "import", "delivered"], false),
            (&["discard", "import", "delivered", "replay", "discard"], true),
            // Discarded here, and delivered by another copy of the database before the two were merged.
            (&["discard", "delivered"], false),
        ] {
            store.connection.execute_batch("DELETE FROM audit_log; DELETE FROM sync_attempts").expect("no history");
            for (attempt, event) in (1..).zip(life) {
                // The wall clock goes backwards: times do not matter.
                let at = format!("2026-11-24 06:12:{:02}.000", 59 - attempt);
                if *event == "delivered" {
                    let sql = "INSERT INTO sync_attempts (failure_id, seq, entity_type, entity_id, action, attempt, \
                               trigger, upstream, started_at, duration_ms, class, counted) \
                               VALUES ('f', 7, 'SALE', 's', 'CREATE', ?1, 'auto', 'hq', ?2, 3, 'delivered', 0)";
                    store.connection.execute(sql, params![attempt, at]).expect("an attempt");
                } else {
                    let sql = "INSERT INTO audit_log (at, operation, failure_id) VALUES (?1, ?2, 'f')";
                    store.connection.execute(sql, params![at, event]).expect("an action");
                }
            }
            assert_eq!(store.is_given_up(&id).expect("a look"), given_up, "{life:?}");
            let delivered = life.contains(&"delivered") && !given_up;
            assert_eq!(store.seq_of_delivered(&id).expect("a look"), delivered.then_some(Seq(7)), "{life:?}");
        }
    }
}

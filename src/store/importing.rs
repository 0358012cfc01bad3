//! What only a failure has that comes from elsewhere: a past.

use super::{Store, StoreError};
use crate::ids::{FailureId, Seq};
use crate::moment::{AgentTime, WallTime};
use rusqlite::{OptionalExtension, params};

/// What happened to it there.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// Retries that failed and counted.
    pub retry_count: u32,
    /// When the last of them ended.
    pub last_retry_at: Option<WallTime>,
    /// When it was recorded.
    pub created_at: WallTime,
    /// When anything of it changed.
    pub updated_at: WallTime,
    /// When it was recorded, in our agent's time: its age follows from `created_at`.
    pub recorded_at: AgentTime,
}

impl Store {
    /// Gives a failure that was just inserted its past.
    pub fn give_past(&mut self, seq: Seq, past: &Past) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET retry_count = ?2, last_retry_at = ?3, created_at = ?4, updated_at = ?5, \
                 recorded_at = ?6 WHERE rowid = ?1",
            )?
            .execute(params![
                seq.0,
                past.retry_count,
                past.last_retry_at.map(WallTime::sql),
                past.created_at.sql(),
                past.updated_at.sql(),
                past.recorded_at.as_millis()
            ])?;
        Ok(())
    }

    /// The number of a failure that was delivered from here.
    pub fn seq_of_delivered(&self, id: &FailureId) -> Result<Option<Seq>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq FROM sync_attempts WHERE failure_id = ?1 AND class = 'delivered' LIMIT 1")?;
        Ok(statement.query_row([id.as_str()], |row| row.get(0).map(Seq)).optional()?)
    }
}

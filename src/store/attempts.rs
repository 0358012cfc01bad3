//! The attempts' table: rows outlive their failure.

use super::cells::readable;
use super::{Store, StoreError};
use crate::ids::{FailureId, Seq};
use crate::limits::{MAX_EXCERPT, cut};
use crate::moment::WallTime;
use crate::policy::class::Class;
use crate::record::{Failure, Trigger};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// An attempt and its result.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// The failure as it was sent.
    pub failure: &'a Failure,
    /// Why it was made.
    pub trigger: Trigger,
    /// Name of the upstream.
    pub upstream: &'a str,
    /// Start of the attempt.
    pub started_at: WallTime,
    /// Its duration.
    pub took: Duration,
    /// Status of the response, if there was one.
    pub http_status: Option<u16>,
    /// Class of the result.
    pub class: Class,
    /// The error in words; `None` if the attempt was accepted.
    pub error: Option<&'a str>,
    /// Excerpt from the beginning of the response.
    pub response: Option<&'a str>,
    /// Whether it used a retry.
    pub counted: bool,
    /// Whether that retry may still be refunded.
    pub provisional: bool,
    /// Why it was counted or not.
    pub why: &'a str,
}

impl Store {
    /// Stores an attempt.
    pub fn keep_attempt(&mut self, attempt: &Attempt) -> Result<(), StoreError> {
        let failure = attempt.failure;
        self.connection
            .prepare_cached(
                "INSERT INTO sync_attempts (failure_id, seq, entity_type, entity_id, action, attempt, trigger, upstream, \
                 started_at, duration_ms, http_status, class, error, response, counted, provisional, why) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
            )?
            .execute(params![
                failure.id.as_str(),
                failure.seq.0,
                failure.entity_type,
                failure.entity_id,
                failure.action,
                failure.attempts + 1,
                attempt.trigger.as_str(),
                attempt.upstream,
                attempt.started_at.sql(),
                i64::try_from(attempt.took.as_millis()).unwrap_or(i64::MAX),
                attempt.http_status,
                attempt.class.as_str(),
                attempt.error,
                attempt.response.map(|text| cut(text, MAX_EXCERPT)),
                attempt.counted,
                attempt.provisional,
                attempt.why,
            ])?;
        let texts = attempt.error.map_or(0, str::len) + attempt.response.map_or(0, |text| text.len().min(MAX_EXCERPT));
        self.spend(texts);
        self.wrote(1, texts);
        Ok(())
    }

    /// Returns whether the history contains this attempt of a failure. A failure that was removed and imported again
    /// counts its attempts on, but only from those that the history still has; `seq` distinguishes all of them.
    pub fn is_attempt_kept(&self, failure: &FailureId, seq: Seq, attempt: u32) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sync_attempts WHERE failure_id = ?1 AND attempt = ?2 AND seq = ?3)",
        )?;
        Ok(statement.query_row(params![failure.as_str(), attempt, seq.0], |row| row.get(0))?)
    }
}

/// The excerpt of the last response to a failure under its current number.
pub(super) fn last_response(connection: &Connection, id: &FailureId, seq: Seq) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT response FROM sync_attempts WHERE failure_id = ?1 AND seq = ?2 ORDER BY id DESC LIMIT 1",
    )?;
    Ok(statement.query_row(params![id.as_str(), seq.0], |row| readable(row, 0)).optional()?.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::store::{Room, StoreSettings};

    #[test]
    fn history_fills_the_quota_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = Limits { max_database: 1 << 20, ..Limits::default() };
        let mut store =
            Store::open(StoreSettings::new(dir.path(), &limits), WallTime::from_millis(0)).expect("a store");
        let sql = "INSERT INTO sync_failures (rowid, id, entity_type, entity_id, action, error, seq, status, due_at, \
                   recorded_at, created_at, updated_at, terminal_id, head, uncounted) VALUES (1, 'f', 'SALE', 's', 'CREATE', 'x', 1, \
                   'pending', 0, 0, '2026-11-24 06:12:34.123', '2026-11-24 06:12:34.123', 'till', 1, 0)";
        store.connection.execute(sql, []).expect("a failure");
        let failure = store.by_seq(Seq(1)).expect("a look").expect("it is there");
        assert_eq!(store.room().expect("a look"), Room::Enough);
        let answer = "x".repeat(MAX_EXCERPT);
        store.begin().expect("a round");
        for _ in 0..(1 << 20) / MAX_EXCERPT {
            let attempt = Attempt {
                failure: &failure,
                trigger: Trigger::Auto,
                upstream: "hq",
                started_at: WallTime::from_millis(0),
                took: Duration::ZERO,
                http_status: Some(503),
                class: Class::Unsure,
                error: None,
                response: Some(&answer),
                counted: false,
                provisional: false,
                why: "test",
            };
            store.keep_attempt(&attempt).expect("it is kept");
        }
        assert_eq!(store.room().expect("a look"), Room::TooLarge);
    }
}

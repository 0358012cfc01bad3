//! The table `sync_failures`: recording, claiming, and what a try makes of a failure.
//!
//! **Order.** `head` marks the oldest live failure of each order key. Only heads stand in the index
//! of what is due, so that claiming is a walk along that index, also with a million rows blocked
//! behind one. Whoever takes a head away makes the next one head in the same transaction.

use super::rows::{Found, as_limit, by_id, by_seq, columns, failure, first_of, look};
use super::{Store, StoreError};
use crate::ids::{FailureId, FailureName, Seq};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::record::{Asked, Failure, Leaving, NewFailure, OrderKey, Status};
use rusqlite::{OptionalExtension, Row, params};
use std::time::Duration;

/// What a record gets besides what it says.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    /// Its id.
    pub id: &'a FailureId,
    /// Its status: pending, or critical when it can never be sent.
    pub upstream: Option<&'a str>,
    /// When it is due; `None`: when the line is there.
    pub due_at: Option<AgentTime>,
    /// The same for people.
    pub next_retry_at: Option<WallTime>,
    /// The recording user and process.
    pub source: (u32, u32),
    /// This terminal.
    pub terminal_id: &'a str,
    /// Its store.
    pub store_id: Option<&'a str>,
}

/// What a counted or uncounted try makes of a failure that stays.
#[derive(Clone, Debug)]
pub struct AfterTry<'a> {
    /// Where it stands now.
    pub status: Status,
    /// When it is due next.
    pub due_at: Option<AgentTime>,
    /// The same for people.
    pub next_retry_at: Option<WallTime>,
    /// What the count changes; `None` for a try that was not counted.
    pub count: Option<Count<'a>>,
}

/// What a counted try changes besides.
#[derive(Clone, Debug)]
pub struct Count<'a> {
    /// The new count.
    pub retry_count: u32,
    /// The last error.
    pub error: &'a str,
    /// The answer's status.
    pub http_status: Option<u16>,
    /// The class's name.
    pub error_class: &'a str,
}

/// The next of an order key, as far as its promotion asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Its number.
    pub seq: Seq,
    /// Its upstream.
    pub upstream: Option<String>,
    /// When it is due.
    pub due_at: Option<AgentTime>,
    /// When it was recorded.
    pub recorded_at: AgentTime,
    /// Never tried, or its last try was not counted.
    pub uncounted: bool,
}

macro_rules! insert {
    ($same_order:literal) => {
        concat!(
            "INSERT INTO sync_failures (id, entity_type, entity_id, action, error, payload, payload_kind, retry_count, \
             created_at, updated_at, seq, status, next_retry_at, due_at, recorded_at, upstream, order_key, idempotency_key, \
             http_status, source_uid, source_pid, terminal_id, store_id, uncounted, head) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?14, 1, \
             NOT EXISTS (SELECT 1 FROM sync_failures WHERE ",
            $same_order,
            "))"
        )
    };
}
const INSERT_UNDER_KEY: &str = insert!("order_key = ?16");
const INSERT_UNDER_ENTITY: &str = insert!("entity_type = ?2 AND entity_id = ?3 AND order_key IS NULL");

impl Store {
    /// Records a failure; its number comes back.
    pub fn insert(&mut self, now: Moment, new: &NewFailure, placed: &Placement) -> Result<Seq, StoreError> {
        let seq = self.ledger.take_seq();
        let at = now.wall.sql();
        let payload = new.payload.as_ref();
        let statement = if new.order_key.is_some() { INSERT_UNDER_KEY } else { INSERT_UNDER_ENTITY };
        self.connection.prepare_cached(statement)?.execute(params![
            placed.id.as_str(),
            new.entity_type,
            new.entity_id,
            new.action,
            new.error,
            payload.map(|(text, _)| text),
            payload.map(|(_, kind)| kind.as_str()),
            at,
            seq.0,
            Status::Pending.as_str(),
            placed.next_retry_at.map(WallTime::sql),
            placed.due_at.map(AgentTime::as_millis),
            now.agent.as_millis(),
            placed.store_id,
            placed.upstream,
            new.order_key,
            new.idempotency_key,
            new.http_status,
            placed.source.0,
            placed.source.1,
            placed.terminal_id,
        ])?;
        self.ledger.live += 1;
        Ok(seq)
    }

    /// The failure with this number.
    pub fn by_seq(&self, seq: Seq) -> Result<Option<Failure>, StoreError> {
        Ok(by_seq(&self.connection, seq)?)
    }

    /// The failure with this id.
    pub fn by_id(&self, id: &str) -> Result<Option<Failure>, StoreError> {
        Ok(by_id(&self.connection, id)?)
    }

    /// The live failure that a name means.
    pub fn look(&self, name: &FailureName) -> Result<Found, StoreError> {
        Ok(look(&self.connection, name)?)
    }

    /// Heads of an upstream whose time has come, earliest first.
    pub fn due(&self, upstream: &str, now: AgentTime, limit: usize) -> Result<Vec<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM sync_failures INDEXED BY sync_failures_due \
             WHERE head = 1 AND status = 'pending' AND upstream = ?1 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3"
        ))?;
        let found = statement.query_map(params![upstream, now.as_millis(), as_limit(limit)], failure)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Heads that waited for the line and need not any longer: recorded up to number `newest`, and
    /// not after `recorded_by`.
    pub fn due_by_line(
        &self,
        upstream: &str,
        newest: i64,
        recorded_by: AgentTime,
        limit: usize,
    ) -> Result<Vec<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM sync_failures INDEXED BY sync_failures_due \
             WHERE head = 1 AND status = 'pending' AND upstream = ?1 AND due_at IS NULL AND seq <= ?2 \
             AND recorded_at <= ?3 ORDER BY seq LIMIT ?4"
        ))?;
        let found =
            statement.query_map(params![upstream, newest, recorded_by.as_millis(), as_limit(limit)], failure)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// When the next head of an upstream becomes due, after `now`.
    pub fn next_due(&self, upstream: &str, now: AgentTime) -> Result<Option<AgentTime>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT due_at FROM sync_failures INDEXED BY sync_failures_due \
             WHERE head = 1 AND status = 'pending' AND upstream = ?1 AND due_at > ?2 ORDER BY due_at LIMIT 1",
        )?;
        let next =
            statement.query_row(params![upstream, now.as_millis()], |row| row.get(0).map(AgentTime::from_millis));
        Ok(next.optional()?)
    }

    /// When the first head was recorded that waits for the line, need not (its number is at most
    /// `newest`), and was recorded after `after`.
    pub fn next_by_line(&self, upstream: &str, newest: i64, after: AgentTime) -> Result<Option<AgentTime>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT recorded_at FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
             AND upstream = ?1 AND due_at IS NULL AND seq <= ?2 AND recorded_at > ?3 ORDER BY seq LIMIT 1",
        )?;
        let at = statement
            .query_row(params![upstream, newest, after.as_millis()], |row| row.get(0).map(AgentTime::from_millis));
        Ok(at.optional()?)
    }

    /// Does a head wait for the line with a number above `after`?
    pub fn waits_for_line(&self, upstream: &str, after: i64) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
             AND upstream = ?1 AND due_at IS NULL AND seq > ?2)",
        )?;
        Ok(statement.query_row(params![upstream, after], |row| row.get(0))?)
    }

    /// Takes away a failure that has left, and tells who is next in its order.
    pub fn remove(&mut self, failure: &Failure, how: Leaving, at: WallTime) -> Result<Option<Successor>, StoreError> {
        let gone =
            self.connection.prepare_cached("DELETE FROM sync_failures WHERE seq = ?1")?.execute([failure.seq.0])?;
        self.ledger.live = self.ledger.live.saturating_sub(gone as u64);
        if let (Some(uid), Some(key)) = (failure.source_uid, &failure.idempotency_key) {
            self.key_left(uid, key, how, at)?;
        }
        self.successor(&failure.order())
    }

    fn successor(&self, order: &OrderKey) -> Result<Option<Successor>, StoreError> {
        let read = |row: &Row| {
            Ok(Successor {
                seq: Seq(row.get(0)?),
                upstream: row.get(1)?,
                due_at: row.get::<_, Option<i64>>(2)?.map(AgentTime::from_millis),
                recorded_at: AgentTime::from_millis(row.get(3)?),
                uncounted: row.get(4)?,
            })
        };
        Ok(first_of(&self.connection, "seq, upstream, due_at, recorded_at, uncounted", order, read)?)
    }

    /// Makes a failure the head of its order key, due at this time.
    pub fn promote(&mut self, seq: Seq, due_at: Option<AgentTime>) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE sync_failures SET head = 1, due_at = ?2 WHERE seq = ?1")?
            .execute(params![seq.0, due_at.map(AgentTime::as_millis)])?;
        Ok(())
    }

    /// A try has ended and the failure stays. A try that did not count leaves `error`,
    /// `retry_count` and `last_retry_at` as they are (`spec/01`).
    pub fn after_try(&mut self, seq: Seq, now: WallTime, after: &AfterTry) -> Result<(), StoreError> {
        let (due_at, next) = (after.due_at.map(AgentTime::as_millis), after.next_retry_at.map(WallTime::sql));
        match &after.count {
            None => self
                .connection
                .prepare_cached(
                    "UPDATE sync_failures SET status = ?2, due_at = ?3, next_retry_at = ?4, updated_at = ?5, uncounted = 1, \
                     attempts = attempts + 1 WHERE seq = ?1",
                )?
                .execute(params![seq.0, after.status.as_str(), due_at, next, now.sql()])?,
            Some(count) => self
                .connection
                .prepare_cached(
                    "UPDATE sync_failures SET status = ?2, due_at = ?3, next_retry_at = ?4, updated_at = ?5, uncounted = 0, \
                     attempts = attempts + 1, asked = 0, last_retry_at = ?5, retry_count = ?6, error = ?7, http_status = ?8, \
                     error_class = ?9 WHERE seq = ?1",
                )?
                .execute(params![
                    seq.0,
                    after.status.as_str(),
                    due_at,
                    next,
                    now.sql(),
                    count.retry_count,
                    count.error,
                    count.http_status,
                    count.error_class
                ])?,
        };
        Ok(())
    }

    /// A person wants it sent now; with `reset` on a fresh budget.
    pub fn send_now(&mut self, seq: Seq, now: Moment, asked: Asked, reset: bool) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET status = 'pending', due_at = ?2, next_retry_at = ?3, updated_at = ?3, asked = ?4, \
                 retry_count = CASE WHEN ?5 THEN 0 ELSE retry_count END, uncounted = CASE WHEN ?5 THEN 1 ELSE uncounted END \
                 WHERE seq = ?1",
            )?
            .execute(params![seq.0, now.agent.as_millis(), now.wall.sql(), asked.code(), reset])?;
        Ok(())
    }

    /// Makes due a failure whose step still runs.
    pub fn due_now(&mut self, seq: Seq, now: Moment) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE sync_failures SET due_at = ?2, next_retry_at = ?3 WHERE seq = ?1")?
            .execute(params![seq.0, now.agent.as_millis(), now.wall.sql()])?;
        Ok(())
    }

    /// Of the heads whose step runs until after `from`, at most `limit` that were never tried or
    /// whose last try was not counted: made due now. Returns where to go on, `None` at the end.
    pub fn sweep(
        &mut self,
        upstream: &str,
        now: Moment,
        from: AgentTime,
        limit: usize,
    ) -> Result<Option<AgentTime>, StoreError> {
        let found: Vec<(i64, i64)> = {
            let mut statement = self.connection.prepare_cached(
                "SELECT seq, due_at FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
                 AND upstream = ?1 AND due_at >= ?2 AND uncounted = 1 ORDER BY due_at LIMIT ?3",
            )?;
            let from = from.max(now.agent.after(Duration::from_millis(1)));
            let rows = statement.query_map(params![upstream, from.as_millis(), as_limit(limit)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            rows.collect::<Result<_, _>>()?
        };
        for (seq, _) in &found {
            self.due_now(Seq(*seq), now)?;
        }
        Ok(found.last().filter(|_| found.len() == limit).map(|(_, due)| AgentTime::from_millis(*due)))
    }

    /// Was anything recorded while there was no upstream?
    pub fn any_homeless(&self) -> Result<bool, StoreError> {
        let sql =
            "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_homeless WHERE upstream IS NULL)";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Looks at the next `limit` failures beyond `after`: those without an upstream, or of one that
    /// is not this, become this one's. Returns where to go on, `None` at the end.
    pub fn rehome(&mut self, upstream: &str, after: Seq, limit: usize) -> Result<Option<Seq>, StoreError> {
        let seen: Vec<(i64, Option<String>)> = {
            let mut statement = self
                .connection
                .prepare_cached("SELECT seq, upstream FROM sync_failures WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
            let rows = statement.query_map(params![after.0, as_limit(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        for (seq, home) in &seen {
            if home.as_deref() != Some(upstream) {
                self.connection
                    .prepare_cached("UPDATE sync_failures SET upstream = ?2 WHERE seq = ?1")?
                    .execute(params![seq, upstream])?;
            }
        }
        Ok(seen.last().filter(|_| seen.len() == limit).map(|(seq, _)| Seq(*seq)))
    }

    /// The number of a failure that has left, by its tries.
    pub fn seq_of_gone(&self, id: &FailureId) -> Result<Option<Seq>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT seq FROM sync_attempts WHERE failure_id = ?1 LIMIT 1")?;
        Ok(statement.query_row([id.as_str()], |row| row.get(0).map(Seq)).optional()?)
    }
}

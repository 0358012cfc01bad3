//! The table `sync_failures`: recording, claiming, and what a try makes of a failure.
//!
//! **Order.** `head` marks the oldest live failure of each order key. Only heads stand in the index
//! of what is due, so that claiming is a walk along that index, also with a million rows blocked
//! behind one. Whoever takes a head away makes the next one head in the same transaction.

use super::rows::{Found, Numbered, as_limit, by_id, by_seq, by_seqs, columns, failure, first_of, head_of, look};
use super::{Store, StoreError};
use crate::ids::{FailureId, FailureName, Seq};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::record::{Failure, Leaving, NewFailure, OrderKey, Status};
use rusqlite::{OptionalExtension, Row, params};
use std::time::Duration;

/// What a record gets besides what it says.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    /// Its id.
    pub id: &'a FailureId,
    /// Pending; held when it may have arrived and a person wants to look; critical without a route.
    pub status: Status,
    /// Why it is critical from the start.
    pub error_class: Option<&'a str>,
    /// May the application's own try have arrived?
    pub unsure: bool,
    /// Does nothing have to leave before it (`ordering = "none"`)?
    pub free: bool,
    /// Where it is to go.
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

/// What the policy makes of a failure: its dossier, and of that what stands in columns.
#[derive(Clone, Debug)]
pub struct Filed {
    /// Where it stands.
    pub status: Status,
    /// Counted tries.
    pub retry_count: u32,
    /// The dossier as JSON.
    pub dossier: String,
    /// The acceptance number of counts that may be given back.
    pub counted_under: Option<i64>,
    /// When its budget was used up.
    pub counted_out_at: Option<AgentTime>,
    /// Until when the upstream asked it to wait.
    pub bound_until: Option<AgentTime>,
    /// When it was last sent.
    pub last_sent_at: Option<AgentTime>,
}

/// What a try makes of a failure that stays.
#[derive(Clone, Debug)]
pub struct AfterTry<'a> {
    /// What is remembered of it.
    pub filed: &'a Filed,
    /// When it is due next; `None`: not by itself.
    pub due_at: Option<AgentTime>,
    /// The same for people.
    pub next_retry_at: Option<WallTime>,
    /// May it have arrived?
    pub unsure: bool,
    /// It counted: the last error, its status and its class.
    pub counted: Option<(&'a str, Option<u16>, &'a str)>,
}

/// Where a failure stands after its configuration has changed.
#[derive(Clone, Debug)]
pub struct NewPlace<'a> {
    /// Where it is to go.
    pub upstream: Option<&'a str>,
    /// Is it a head?
    pub head: bool,
    /// Where it stands.
    pub status: Status,
    /// Why, when that is so from the start.
    pub error_class: Option<&'a str>,
    /// When it is due.
    pub due_at: Option<AgentTime>,
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
    /// Is it a head already?
    pub head: bool,
}

macro_rules! insert {
    ($same_order:literal) => {
        concat!(
            "INSERT INTO sync_failures (rowid, id, entity_type, entity_id, action, error, payload, payload_kind, retry_count, \
             created_at, updated_at, seq, status, next_retry_at, due_at, recorded_at, upstream, order_key, idempotency_key, \
             http_status, source_uid, source_pid, terminal_id, store_id, error_class, unsure, uncounted, head) \
             VALUES (?9, ?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?14, ?22, ?23, 1, \
             ?24 OR NOT EXISTS (SELECT 1 FROM sync_failures WHERE ",
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
            placed.status.as_str(),
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
            placed.error_class,
            placed.unsure,
            placed.free,
        ])?;
        self.ledger.live += 1;
        self.spend(new.error.len() + payload.map_or(0, |(text, _)| text.len()));
        Ok(seq)
    }

    fn numbered(&self) -> Numbered<'_> {
        Numbered::new(&self.connection)
    }

    /// The failure with this number.
    pub fn by_seq(&self, seq: Seq) -> Result<Option<Failure>, StoreError> {
        Ok(by_seq(self.numbered(), seq)?)
    }

    /// The failures with these numbers that are there, until their payloads have `most` bytes or more.
    pub fn by_seqs(&self, seqs: &[Seq], most: usize) -> Result<Vec<Failure>, StoreError> {
        Ok(by_seqs(self.numbered(), seqs, most)?)
    }

    /// The failure with this id.
    pub fn by_id(&self, id: &str) -> Result<Option<Failure>, StoreError> {
        Ok(by_id(self.numbered(), id)?)
    }

    /// The live failure that a name means.
    pub fn look(&self, name: &FailureName) -> Result<Found, StoreError> {
        Ok(look(self.numbered(), name)?)
    }

    /// The oldest live failure of an order key.
    pub fn head_of(&self, order: &OrderKey) -> Result<Option<FailureId>, StoreError> {
        Ok(head_of(self.numbered(), order)?)
    }

    /// Heads of an upstream whose time has come, and when that was, earliest first. The index tells it all.
    pub fn due(&self, upstream: &str, now: AgentTime, limit: usize) -> Result<Vec<(Seq, AgentTime)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT rowid, due_at FROM sync_failures INDEXED BY sync_failures_due \
             WHERE head = 1 AND status = 'pending' AND upstream = ?1 AND due_at <= ?2 ORDER BY due_at, rowid LIMIT ?3",
        )?;
        let found = statement.query_map(params![upstream, now.as_millis(), as_limit(limit)], seq_and_time)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Heads that waited for the line and need not any longer, and when they were recorded: up to number
    /// `newest`, and not after `recorded_by`.
    pub fn due_by_line(
        &self,
        upstream: &str,
        newest: i64,
        recorded_by: AgentTime,
        limit: usize,
    ) -> Result<Vec<(Seq, AgentTime)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT rowid, recorded_at FROM sync_failures INDEXED BY sync_failures_due \
             WHERE head = 1 AND status = 'pending' AND upstream = ?1 AND due_at IS NULL AND rowid <= ?2 \
             AND recorded_at <= ?3 ORDER BY rowid LIMIT ?4",
        )?;
        let found =
            statement.query_map(params![upstream, newest, recorded_by.as_millis(), as_limit(limit)], seq_and_time)?;
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
             AND upstream = ?1 AND due_at IS NULL AND rowid <= ?2 AND recorded_at > ?3 ORDER BY rowid LIMIT 1",
        )?;
        let at = statement
            .query_row(params![upstream, newest, after.as_millis()], |row| row.get(0).map(AgentTime::from_millis));
        Ok(at.optional()?)
    }

    /// Does a head wait for the line with a number above `after`?
    pub fn waits_for_line(&self, upstream: &str, after: i64) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
             AND upstream = ?1 AND due_at IS NULL AND rowid > ?2)",
        )?;
        Ok(statement.query_row(params![upstream, after], |row| row.get(0))?)
    }

    /// Takes away a failure that has left, and tells who is next in its order.
    pub fn remove(&mut self, failure: &Failure, how: Leaving, at: WallTime) -> Result<Option<Successor>, StoreError> {
        // Its row still tells the key that it was recorded under.
        if let (Some(uid), Some(key)) = (failure.source_uid, &failure.idempotency_key) {
            self.key_left(uid, key, failure.seq, how, at)?;
        }
        let sql = "DELETE FROM sync_failures WHERE rowid = ?1 AND id = ?2";
        let gone = self.connection.prepare_cached(sql)?.execute(params![failure.seq.0, failure.id.as_str()])?;
        self.ledger.live = self.ledger.live.saturating_sub(gone as u64);
        self.successor(&failure.order())
    }

    pub(super) fn successor(&self, order: &OrderKey) -> Result<Option<Successor>, StoreError> {
        let read = |row: &Row| {
            Ok(Successor {
                seq: Seq(row.get(0)?),
                upstream: row.get(1)?,
                due_at: row.get::<_, Option<i64>>(2)?.map(AgentTime::from_millis),
                recorded_at: AgentTime::from_millis(row.get(3)?),
                uncounted: row.get(4)?,
                head: row.get(5)?,
            })
        };
        Ok(first_of(self.numbered(), "rowid, upstream, due_at, recorded_at, uncounted, head", order, read)?)
    }

    /// Makes a failure the head of its order key, due at this time.
    pub fn promote(&mut self, seq: Seq, due_at: Option<AgentTime>) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE sync_failures SET head = 1, due_at = ?2 WHERE rowid = ?1")?
            .execute(params![seq.0, due_at.map(AgentTime::as_millis)])?;
        Ok(())
    }

    /// A try has ended and the failure stays. A try that did not count leaves `error` and
    /// `last_retry_at` as they are (`spec/01`).
    pub fn after_try(&mut self, failure: &Failure, now: WallTime, after: &AfterTry) -> Result<(), StoreError> {
        let (filed, counted) = (after.filed, after.counted);
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET status = ?2, retry_count = ?3, dossier = ?4, counted_under = ?5, counted_out_at = ?6, \
                 bound_until = ?7, last_sent_at = ?8, due_at = ?9, next_retry_at = ?10, updated_at = ?11, unsure = ?12, \
                 uncounted = ?13, attempts = attempts + 1, last_retry_at = CASE WHEN ?13 THEN last_retry_at ELSE ?11 END, \
                 error = coalesce(?14, error), http_status = CASE WHEN ?13 THEN http_status ELSE ?15 END, \
                 error_class = coalesce(?16, error_class) WHERE rowid = ?1 AND id = ?17",
            )?
            .execute(params![
                failure.seq.0,
                filed.status.as_str(),
                filed.retry_count,
                filed.dossier,
                filed.counted_under,
                filed.counted_out_at.map(AgentTime::as_millis),
                filed.bound_until.map(AgentTime::as_millis),
                filed.last_sent_at.map(AgentTime::as_millis),
                after.due_at.map(AgentTime::as_millis),
                after.next_retry_at.map(WallTime::sql),
                now.sql(),
                after.unsure,
                counted.is_none(),
                counted.map(|(error, ..)| error),
                counted.and_then(|(_, status, _)| status),
                counted.map(|(.., class)| class),
                failure.id.as_str(),
            ])?;
        Ok(())
    }

    /// Something other than a try has changed what is remembered of a failure: it is due now.
    pub fn refile(&mut self, seq: Seq, now: Moment, filed: &Filed) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET status = ?2, retry_count = ?3, dossier = ?4, counted_under = ?5, counted_out_at = ?6, \
                 bound_until = ?7, due_at = ?8, next_retry_at = ?9, updated_at = ?9, uncounted = 1 WHERE rowid = ?1",
            )?
            .execute(params![
                seq.0,
                filed.status.as_str(),
                filed.retry_count,
                filed.dossier,
                filed.counted_under,
                filed.counted_out_at.map(AgentTime::as_millis),
                filed.bound_until.map(AgentTime::as_millis),
                now.agent.as_millis(),
                now.wall.sql(),
            ])?;
        Ok(())
    }

    /// Failures of an upstream with counts under this acceptance number: those of two order keys at
    /// most.
    pub fn counted_under(&self, upstream: &str, accepted: i64) -> Result<Vec<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM sync_failures INDEXED BY sync_failures_counted WHERE upstream = ?1 AND counted_under = ?2"
        ))?;
        let found = statement.query_map(params![upstream, accepted], failure)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Failures of an upstream that are critical by counting, beyond `after`.
    pub fn counted_out(&self, upstream: &str, after: Seq, limit: usize) -> Result<Vec<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM sync_failures INDEXED BY sync_failures_chance WHERE upstream = ?1 AND counted_out_at IS NOT NULL \
             AND rowid > ?2 ORDER BY rowid LIMIT ?3"
        ))?;
        let found = statement.query_map(params![upstream, after.0, as_limit(limit)], failure)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Makes due a failure whose step still runs.
    pub fn due_now(&mut self, seq: Seq, now: Moment) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE sync_failures SET due_at = ?2, next_retry_at = ?3 WHERE rowid = ?1")?
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
                "SELECT rowid, due_at FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
                 AND upstream = ?1 AND due_at >= ?2 AND uncounted = 1 AND (bound_until IS NULL OR bound_until <= ?4) \
                 ORDER BY due_at LIMIT ?3",
            )?;
            let from = from.max(now.agent.after(Duration::from_millis(1)));
            let rows = statement
                .query_map(params![upstream, from.as_millis(), as_limit(limit), now.agent.as_millis()], |row| {
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

    /// The next `limit` failures beyond `after`, in the order of their numbers.
    pub fn next_after(&self, after: Seq, limit: usize) -> Result<Vec<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM sync_failures WHERE rowid > ?1 ORDER BY rowid LIMIT ?2"
        ))?;
        let found = statement.query_map(params![after.0, as_limit(limit)], failure)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// A changed configuration has given a failure another place.
    pub fn place(&mut self, seq: Seq, place: &NewPlace) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE sync_failures SET upstream = ?2, head = ?3, status = ?4, error_class = ?5, due_at = ?6 WHERE rowid = ?1",
            )?
            .execute(params![
                seq.0,
                place.upstream,
                place.head,
                place.status.as_str(),
                place.error_class,
                place.due_at.map(AgentTime::as_millis)
            ])?;
        Ok(())
    }

    /// The oldest live failure of an upstream from this number on: the front of a strict order.
    pub fn front(&self, upstream: &str, from: Seq) -> Result<Option<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM sync_failures WHERE rowid >= ?2 AND upstream = ?1 ORDER BY rowid LIMIT 1"
        ))?;
        Ok(statement.query_row(params![upstream, from.0], failure).optional()?)
    }

    /// The routes (type and action) that an upstream's pending heads have, at most `limit`.
    pub fn head_routes(&self, upstream: &str, limit: usize) -> Result<Vec<(String, String)>, StoreError> {
        // Each step skips a whole route along the index.
        let mut statement = self.connection.prepare_cached(
            "SELECT entity_type, action FROM sync_failures INDEXED BY sync_failures_canary WHERE head = 1 AND status = 'pending' \
             AND upstream = ?1 AND (entity_type, action) > (?2, ?3) ORDER BY entity_type, action LIMIT 1",
        )?;
        let mut routes: Vec<(String, String)> = Vec::new();
        while routes.len() < limit {
            let (kind, action) = routes.last().map_or(("", ""), |(kind, action)| (kind, action));
            let next = statement
                .query_row(params![upstream, kind, action], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some(next) = next else { break };
            routes.push(next);
        }
        Ok(routes)
    }

    /// Of a route's pending heads those that were tried longest ago, without those that the upstream
    /// asked to wait.
    pub fn longest_untried(
        &self,
        upstream: &str,
        (entity_type, action): (&str, &str),
        now: AgentTime,
        limit: usize,
    ) -> Result<Vec<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM sync_failures INDEXED BY sync_failures_canary WHERE head = 1 AND status = 'pending' AND upstream = ?1 \
             AND entity_type = ?2 AND action = ?3 AND (bound_until IS NULL OR bound_until <= ?4) \
             ORDER BY last_sent_at, rowid LIMIT ?5"
        ))?;
        let found =
            statement.query_map(params![upstream, entity_type, action, now.as_millis(), as_limit(limit)], failure)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The number of a failure that has left, by its tries.
    pub fn seq_of_gone(&self, id: &FailureId) -> Result<Option<Seq>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq FROM sync_attempts WHERE failure_id = ?1 ORDER BY id DESC LIMIT 1")?;
        Ok(statement.query_row([id.as_str()], |row| row.get(0).map(Seq)).optional()?)
    }
}

fn seq_and_time(row: &Row) -> rusqlite::Result<(Seq, AgentTime)> {
    Ok((Seq(row.get(0)?), AgentTime::from_millis(row.get(1)?)))
}

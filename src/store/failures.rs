//! The table `sync_failures`: recording, claiming, and updates after attempts.
//!
//! **Order.** `head` marks the oldest live failure of each order key. The index of due failures contains heads only, so
//! claiming walks along that index, even with a million rows blocked behind one. The transaction that removes a head
//! also marks the next failure as one.

use super::cells::{text, text_or_null, unless_odd};
use super::checksum::Checked;
use super::rows::{
    FailureDetail, Found, as_limit, by_id, by_seq, by_seqs, columns, first_of, head_of, light_by_seq, light_columns,
    look, noted_failure, number_of, part, readable, stored_payload,
};
use super::{Store, StoreError, checksum};
use crate::ids::{FailureId, FailureName, Seq};
use crate::limits::MAX_ROUTES;
use crate::moment::{AgentTime, Moment, WallTime};
use crate::record::{Disposition, Failure, NewFailure, OrderKey, Status};
use rusqlite::{OptionalExtension, Row, Rows, params};

/// What a new row contains besides the record.
#[derive(Clone, Debug)]
pub struct InsertFields<'a> {
    /// The failure's id.
    pub id: &'a FailureId,
    /// Pending; held if it may have arrived and its route holds such failures; critical without a route.
    pub status: Status,
    /// Why it is critical from the start.
    pub error_class: Option<&'a str>,
    /// Whether the application's own attempt may have arrived.
    pub unsure: bool,
    /// Whether it waits for no other failure (`ordering = "none"`).
    pub free: bool,
    /// Does its upstream keep one order for all (`ordering = "strict"`)?
    pub strict: bool,
    /// Name of the upstream.
    pub upstream: Option<&'a str>,
    /// When it is due; `None`: on contact with the upstream.
    pub due_at: Option<AgentTime>,
    /// The same by the wall clock, for display.
    pub next_retry_at: Option<WallTime>,
    /// User id and process id of the recording client.
    pub source: (u32, u32),
    /// Id of this terminal.
    pub terminal_id: &'a str,
    /// Id of its store.
    pub store_id: Option<&'a str>,
    /// The number that it had here before; `None`: the next one.
    pub number: Option<Seq>,
}

/// The policy's result for a failure: its retry state, and the columns derived from it.
#[derive(Clone, Debug)]
pub struct RetryColumns {
    /// Status of the failure.
    pub status: Status,
    /// Number of counted attempts.
    pub retry_count: u32,
    /// The retry state as JSON.
    pub retry_state: String,
    /// The acceptance number under which refundable attempts were counted.
    pub refundable_under: Option<i64>,
    /// When its retries were used up.
    pub exhausted_at: Option<AgentTime>,
    /// End of the `Retry-After` that the upstream set for it.
    pub retry_after_until: Option<AgentTime>,
    /// When it was last sent.
    pub last_sent_at: Option<AgentTime>,
}

/// The update of a failure that stays after an attempt.
#[derive(Clone, Debug)]
pub struct AttemptUpdate<'a> {
    /// The policy's result.
    pub retry_columns: &'a RetryColumns,
    /// When it is due next; `None`: not automatically.
    pub due_at: Option<AgentTime>,
    /// The same by the wall clock, for display.
    pub next_retry_at: Option<WallTime>,
    /// The failure may have arrived.
    pub unsure: bool,
    /// For a counted attempt: the error, its status and its class.
    pub counted: Option<(&'a str, Option<u16>, &'a str)>,
}

/// A failure's columns after its configuration has changed.
#[derive(Clone, Debug)]
pub struct Routing<'a> {
    /// Name of the upstream.
    pub upstream: Option<&'a str>,
    /// Whether it is a head.
    pub head: bool,
    /// Does its upstream keep one order for all?
    pub strict: bool,
    /// Where it stands.
    pub status: Status,
    /// Why it is critical from the start.
    pub error_class: Option<&'a str>,
    /// When it is due.
    pub due_at: Option<AgentTime>,
}

impl Routing<'_> {
    /// Without a matching route: critical.
    #[must_use]
    pub fn lost(head: bool) -> Self {
        Self {
            upstream: None,
            head,
            strict: false,
            status: Status::Critical,
            error_class: Some(NO_ROUTE),
            due_at: None,
        }
    }
}

/// The class of a failure without a route.
pub const NO_ROUTE: &str = "no_route";

/// The next failure of an order key, with the columns that its promotion needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Number of the failure.
    pub seq: Seq,
    /// Name of the upstream.
    pub upstream: Option<String>,
    /// When it is due.
    pub due_at: Option<AgentTime>,
    /// When it was recorded.
    pub recorded_at: AgentTime,
    /// It has no attempt, or its last attempt was not counted.
    pub uncounted: bool,
    /// When it was last sent.
    pub last_sent_at: Option<AgentTime>,
    /// End of the `Retry-After` that the upstream set for it.
    pub retry_after_until: Option<AgentTime>,
    /// Whether it is a head already.
    pub head: bool,
}

/// Failures, and the number after which the next part begins; `None` at the end.
pub type Part = (Vec<Failure>, Option<Seq>);

impl Successor {
    /// Reads a row with number, upstream, times and marks.
    pub(super) fn read(row: &Row) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: Seq(row.get(0)?),
            upstream: text_or_null(row, 1)?,
            due_at: row.get::<_, Option<i64>>(2)?.map(AgentTime::from_millis),
            recorded_at: AgentTime::from_millis(row.get(3)?),
            uncounted: row.get(4)?,
            head: row.get(5)?,
            last_sent_at: row.get::<_, Option<i64>>(6)?.map(AgentTime::from_millis),
            retry_after_until: row.get::<_, Option<i64>>(7)?.map(AgentTime::from_millis),
        })
    }
}

macro_rules! insert {
    ($same_order:literal) => {
        concat!(
            "INSERT INTO sync_failures (rowid, id, entity_type, entity_id, action, error, payload, payload_kind, retry_count, \
             created_at, updated_at, seq, status, next_retry_at, due_at, recorded_at, upstream, order_key, idempotency_key, \
             http_status, source_uid, source_pid, terminal_id, store_id, error_class, unsure, content_checksum, strict, uncounted, head) \
             VALUES (?9, ?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?14, ?22, ?23, ?25, ?26, 1, \
             ?24 OR NOT EXISTS (SELECT 1 FROM sync_failures WHERE ",
            $same_order,
            " AND rowid < ?9))"
        )
    };
}
const INSERT_UNDER_KEY: &str = insert!("order_key = ?16");
const INSERT_UNDER_ENTITY: &str = insert!("entity_type = ?2 AND entity_id = ?3 AND order_key IS NULL");

const FRONT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM sync_failures INDEXED BY sync_failures_strict \
      WHERE strict = 1 AND upstream = ?1 AND rowid >= ?2 ORDER BY rowid LIMIT 1"
);

impl Store {
    /// Inserts a failure and returns its number.
    pub fn insert(&mut self, now: Moment, new: &NewFailure, placed: &InsertFields) -> Result<Seq, StoreError> {
        let seq = placed.number.unwrap_or_else(|| self.ledger.take_seq());
        let at = now.wall.sql();
        let payload = new.payload.as_ref();
        let statement = if new.order_key.is_some() { INSERT_UNDER_KEY } else { INSERT_UNDER_ENTITY };
        let inserted = self.connection.prepare_cached(statement)?.execute(params![
            placed.id.as_str(),
            new.entity_type,
            new.entity_id,
            new.action,
            new.error,
            payload.map(|(text, kind)| stored_payload(text, *kind)),
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
            checksum::of(&Checked {
                id: placed.id.as_str(),
                key: new.idempotency_key.as_deref(),
                names: [&new.entity_type, &new.entity_id, &new.action],
                payload: payload.map(|(text, kind)| (text.as_ref(), *kind)),
            }),
            placed.strict,
        ])?;
        if inserted != 1 {
            return Err(StoreError::failed("the database did not take the row"));
        }
        self.ledger.live += 1;
        let texts = new.error.len() + payload.map_or(0, |(text, _)| text.len());
        self.spend(texts);
        self.wrote(1, texts);
        Ok(seq)
    }

    /// The failure with this number.
    pub fn by_seq(&self, seq: Seq) -> Result<Option<Failure>, StoreError> {
        Ok(by_seq(&self.connection, seq, &self.odd)?)
    }

    /// The existing failures with these numbers, until their payloads reach `most` bytes.
    pub fn by_seqs(&self, seqs: &[Seq], most: usize) -> Result<Vec<Failure>, StoreError> {
        Ok(by_seqs(&self.connection, seqs, most, &self.odd)?)
    }

    /// The failure with this number, without its payload. Its content is not checked: nothing is sent from it.
    pub fn light_by_seq(&self, seq: Seq) -> Result<Option<Failure>, StoreError> {
        Ok(light_by_seq(&self.connection, seq, &self.odd)?)
    }

    /// The failure with this id.
    pub fn by_id(&self, id: &str) -> Result<Option<Failure>, StoreError> {
        Ok(by_id(&self.connection, id, &self.odd)?)
    }

    /// The live failure that a name identifies.
    pub fn look(&self, name: &FailureName) -> Result<Found<Box<FailureDetail>>, StoreError> {
        Ok(look(&self.connection, name, &self.odd)?)
    }

    /// The number of the live failure that a name identifies, without reading the failure.
    pub fn number_of(&self, name: &FailureName) -> Result<Found<Seq>, StoreError> {
        Ok(number_of(&self.connection, name)?)
    }

    /// The oldest live failure of an order key.
    pub fn head_of(&self, order: &OrderKey) -> Result<Option<FailureId>, StoreError> {
        Ok(head_of(&self.connection, order)?)
    }

    /// Due heads of an upstream and when they became due, earliest first. Reads the index only.
    pub fn due(&self, upstream: &str, now: AgentTime, limit: usize) -> Result<Vec<(Seq, AgentTime)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT rowid, due_at FROM sync_failures INDEXED BY sync_failures_due \
             WHERE head = 1 AND status = 'pending' AND upstream = ?1 AND due_at <= ?2 ORDER BY due_at, rowid LIMIT ?3",
        )?;
        self.seqs_and_times(statement.query(params![upstream, now.as_millis(), as_limit(limit)])?)
    }

    /// Due heads of an upstream without an attempt, and when they became due: at most `limit` of the oldest of each
    /// route are read. The result is unordered.
    pub fn due_untried(
        &self,
        upstream: &str,
        now: AgentTime,
        limit: usize,
    ) -> Result<Vec<(Seq, AgentTime)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, due_at FROM (SELECT rowid AS number, due_at FROM sync_failures INDEXED BY sync_failures_canary \
             WHERE head = 1 AND status = 'pending' AND upstream = ?1 AND entity_type = ?2 AND action = ?3 \
             AND last_sent_at IS NULL ORDER BY rowid LIMIT ?5) WHERE due_at <= ?4",
        )?;
        let mut all = Vec::new();
        for (entity_type, action) in self.head_routes(upstream, &<(String, String)>::default(), MAX_ROUTES)? {
            let values = params![upstream, entity_type, action, now.as_millis(), as_limit(limit)];
            for found in statement.query_map(values, seq_and_time)? {
                all.push(found?);
            }
        }
        Ok(all)
    }

    /// Heads that waited for contact and no longer have to, and when they were recorded: up to number `newest`, and not
    /// after `recorded_by`.
    pub fn due_after_contact(
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
        self.seqs_and_times(statement.query(params![upstream, newest, recorded_by.as_millis(), as_limit(limit)])?)
    }

    /// When the next head of an upstream becomes due, after `now`.
    pub fn next_due(&self, upstream: &str, now: AgentTime) -> Result<Option<AgentTime>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT due_at FROM sync_failures INDEXED BY sync_failures_due \
             WHERE head = 1 AND status = 'pending' AND upstream = ?1 AND due_at > ?2 ORDER BY due_at LIMIT 1",
        )?;
        self.time(statement.query(params![upstream, now.as_millis()])?)
    }

    /// When the first head was recorded that waits for contact but no longer has to (its number is at most `newest`),
    /// and was recorded after `after`.
    pub fn next_after_contact(
        &self,
        upstream: &str,
        newest: i64,
        after: AgentTime,
    ) -> Result<Option<AgentTime>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT recorded_at FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
             AND upstream = ?1 AND due_at IS NULL AND rowid <= ?2 AND recorded_at > ?3 ORDER BY rowid LIMIT 1",
        )?;
        self.time(statement.query(params![upstream, newest, after.as_millis()])?)
    }

    /// Returns whether a head with a number above `after` waits for contact.
    pub fn any_awaiting_contact(&self, upstream: &str, after: i64) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
             AND upstream = ?1 AND due_at IS NULL AND rowid > ?2)",
        )?;
        Ok(statement.query_row(params![upstream, after], |row| row.get(0))?)
    }

    /// Removes a failure; returns the next one of its order.
    pub fn remove(
        &mut self,
        failure: &Failure,
        how: Disposition,
        at: WallTime,
    ) -> Result<Option<Successor>, StoreError> {
        // The row still contains the key that it was recorded under.
        if let (Some(uid), Some(key)) = (failure.source_uid, &failure.idempotency_key) {
            self.key_left(uid, key, (failure.seq, &failure.id), how, at)?;
        }
        let sql = "DELETE FROM sync_failures WHERE rowid = ?1 AND id = ?2";
        let gone = self.connection.prepare_cached(sql)?.execute(params![failure.seq.0, failure.id.as_str()])?;
        self.ledger.live = self.ledger.live.saturating_sub(gone as u64);
        self.wrote(gone, 0);
        self.successor(&failure.order())
    }

    /// The first failure of an order. An unreadable one is handled when it is moved out of the way.
    pub(super) fn successor(&self, order: &OrderKey) -> Result<Option<Successor>, StoreError> {
        let read = |row: &Row| self.odd.read(row, 0, Successor::read(row));
        let columns = "rowid, upstream, due_at, recorded_at, uncounted, head, last_sent_at, retry_after_until";
        Ok(first_of(&self.connection, columns, order, read)?.flatten())
    }

    /// Numbers and times of the readable rows.
    fn seqs_and_times(&self, mut rows: Rows) -> Result<Vec<(Seq, AgentTime)>, StoreError> {
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let read = seq_and_time(row);
            found.extend(self.odd.read(row, 0, read)?);
        }
        Ok(found)
    }

    /// The time in the first row, if it is readable.
    fn time(&self, mut rows: Rows) -> Result<Option<AgentTime>, StoreError> {
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(self.odd.read_elsewhere(row.get(0).map(AgentTime::from_millis))?)
    }

    /// Marks a failure as the head of its order key, due at this time.
    pub fn promote(&mut self, seq: Seq, due_at: Option<AgentTime>) -> Result<(), StoreError> {
        let sql = "UPDATE sync_failures SET head = 1, due_at = ?2 WHERE rowid = ?1";
        let values = params![seq.0, due_at.map(AgentTime::as_millis)];
        let changed = self.connection.prepare_cached(sql)?.execute(values)?;
        self.wrote(changed, 0);
        Ok(())
    }

    /// Counts a failure that bulk work has changed by another statement: [`is_round_full`](Self::is_round_full).
    pub fn weigh(&mut self, seq: Seq) -> Result<(), StoreError> {
        let sql = "SELECT octet_length(payload) FROM sync_failures WHERE rowid = ?1";
        self.rewrite(sql, [seq.0])
    }

    /// Updates a failure that stays after an attempt. An attempt that was not counted leaves `error` and
    /// `last_retry_at` unchanged.
    pub fn record_attempt_result(
        &mut self,
        failure: &Failure,
        now: WallTime,
        after: &AttemptUpdate,
    ) -> Result<(), StoreError> {
        let (retry_columns, counted) = (after.retry_columns, after.counted);
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE sync_failures SET status = ?2, retry_count = ?3, retry_state = ?4, refundable_under = ?5, exhausted_at = ?6, \
                 retry_after_until = ?7, last_sent_at = ?8, due_at = ?9, next_retry_at = ?10, updated_at = ?11, unsure = ?12, \
                 uncounted = ?13, attempts = attempts + 1, last_retry_at = CASE WHEN ?13 THEN last_retry_at ELSE ?11 END, \
                 error = coalesce(?14, error), http_status = CASE WHEN ?13 THEN http_status ELSE ?15 END, \
                 error_class = coalesce(?16, error_class) WHERE rowid = ?1 AND id = ?17",
            )?
            .execute(params![
                failure.seq.0,
                retry_columns.status.as_str(),
                retry_columns.retry_count,
                retry_columns.retry_state,
                retry_columns.refundable_under,
                retry_columns.exhausted_at.map(AgentTime::as_millis),
                retry_columns.retry_after_until.map(AgentTime::as_millis),
                retry_columns.last_sent_at.map(AgentTime::as_millis),
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
        self.wrote(changed, retry_columns.retry_state.len() + counted.map_or(0, |(error, ..)| error.len()));
        Ok(())
    }

    /// Marks a failure as unsure before its request is sent, because a crash may lose the result.
    pub fn may_have_arrived(&mut self, seq: Seq) -> Result<(), StoreError> {
        self.connection.prepare_cached("UPDATE sync_failures SET unsure = 1 WHERE rowid = ?1")?.execute([seq.0])?;
        Ok(())
    }

    /// Stores a change of the policy's memory that is not due to an attempt. A pending failure becomes due now, or at
    /// the end of a `Retry-After` that the upstream set for it.
    pub fn update_retry_state(
        &mut self,
        seq: Seq,
        now: Moment,
        retry_columns: &RetryColumns,
    ) -> Result<(), StoreError> {
        let bound = retry_columns.retry_after_until.map_or(now.agent, |bound| bound.max(now.agent));
        let due_at = (retry_columns.status == Status::Pending).then_some(bound);
        self.rewrite(
            "UPDATE sync_failures SET status = ?2, retry_count = ?3, retry_state = ?4, refundable_under = ?5, exhausted_at = ?6, \
             retry_after_until = ?7, due_at = ?8, next_retry_at = ?9, updated_at = ?10, uncounted = 1 WHERE rowid = ?1 \
             RETURNING octet_length(payload)",
            params![
                seq.0,
                retry_columns.status.as_str(),
                retry_columns.retry_count,
                retry_columns.retry_state,
                retry_columns.refundable_under,
                retry_columns.exhausted_at.map(AgentTime::as_millis),
                retry_columns.retry_after_until.map(AgentTime::as_millis),
                due_at.map(AgentTime::as_millis),
                due_at.map(|at| now.wall.after(at.since(now.agent)).sql()),
                now.wall.sql(),
            ],
        )
    }

    /// Failures of an upstream with counts under this acceptance number, without payloads. They belong to at most two
    /// order keys.
    pub fn refundable_under(&self, upstream: &str, accepted: i64) -> Result<Vec<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            light_columns!(),
            " FROM sync_failures INDEXED BY sync_failures_counted WHERE upstream = ?1 AND refundable_under = ?2"
        ))?;
        Ok(readable(statement.query(params![upstream, accepted])?, &self.odd)?)
    }

    /// Failures of an upstream that are critical by counting, after `after`, without payloads; and the next `after`,
    /// `None` at the end.
    pub fn exhausted(&self, upstream: &str, after: Seq, limit: usize) -> Result<Part, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            light_columns!(),
            " FROM sync_failures INDEXED BY sync_failures_chance WHERE upstream = ?1 AND exhausted_at IS NOT NULL \
             AND rowid > ?2 ORDER BY rowid LIMIT ?3"
        ))?;
        Ok(part(statement.query(params![upstream, after.0, as_limit(limit)])?, limit, &self.odd)?)
    }

    /// Makes a failure with a running delay due now.
    pub fn due_now(&mut self, seq: Seq, now: Moment) -> Result<(), StoreError> {
        self.rewrite(
            "UPDATE sync_failures SET due_at = ?2, next_retry_at = ?3 WHERE rowid = ?1 RETURNING octet_length(payload)",
            params![seq.0, now.agent.as_millis(), now.wall.sql()],
        )
    }

    /// Reads the next `limit` heads whose own time comes after `from`. Those without an attempt and with a number up to
    /// `up_to`, and those whose last attempt began by `since` and was not counted, become due now, unless the upstream
    /// set a `Retry-After` for them. Returns where to continue, `None` at the end.
    pub fn sweep(
        &mut self,
        upstream: &str,
        now: Moment,
        from: (AgentTime, Seq),
        (up_to, since): (i64, AgentTime),
        limit: usize,
    ) -> Result<Option<(AgentTime, Seq)>, StoreError> {
        let (mut looked, mut last) = (0, None);
        let mut meant = Vec::new();
        {
            let mut statement = self.connection.prepare_cached(
                "SELECT rowid, due_at, uncounted = 1 AND (retry_after_until IS NULL OR retry_after_until <= ?4) \
                 AND CASE WHEN last_sent_at IS NULL THEN rowid <= ?5 ELSE last_sent_at <= ?6 END \
                 FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
                 AND upstream = ?1 AND (due_at, rowid) > (?2, ?3) ORDER BY due_at, rowid LIMIT ?7",
            )?;
            let values = params![
                upstream,
                from.0.as_millis(),
                from.1.0,
                now.agent.as_millis(),
                up_to,
                since.as_millis(),
                as_limit(limit)
            ];
            let mut rows = statement.query(values)?;
            while let Some(row) = rows.next()? {
                looked += 1;
                let read = seq_and_time(row).and_then(|(seq, due_at)| Ok((seq, due_at, row.get(2)?)));
                if let Some((seq, due_at, is_meant)) = self.odd.read(row, 0, read)? {
                    last = Some((due_at, seq));
                    meant.extend(Some((due_at, seq)).filter(|_| is_meant));
                }
            }
        }
        for (due_at, seq) in meant {
            self.due_now(seq, now)?;
            if self.is_round_full() {
                return Ok(Some((due_at, seq)));
            }
        }
        Ok(last.filter(|_| looked == limit))
    }

    /// The upstreams of pending heads, at most `limit`.
    pub fn bound_for(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        // Each step skips a whole upstream along the index.
        let mut names: Vec<String> = Vec::new();
        while names.len() < limit {
            let (beyond, last) = names.last().map_or((">=", ""), |last| (">", last));
            let mut statement = self.connection.prepare_cached(&format!(
                "SELECT upstream FROM sync_failures INDEXED BY sync_failures_due WHERE head = 1 AND status = 'pending' \
                 AND upstream {beyond} ?1 ORDER BY upstream LIMIT 1"
            ))?;
            let next = statement.query_row([last], |row| self.odd.read_elsewhere(text(row, 0)));
            let Some(next) = next.optional()?.flatten() else { break };
            names.push(next);
        }
        Ok(names)
    }

    /// Returns whether a failure was recorded while there was no upstream. (A failure without a route is critical.)
    pub fn any_unrouted(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_unrouted \
                   WHERE upstream IS NULL AND status = 'pending')";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The next `limit` failures after `after`, ordered by number; and the next `after`, `None` at the end.
    pub fn next_after(&self, after: Seq, limit: usize) -> Result<Part, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            light_columns!(),
            " FROM sync_failures WHERE rowid > ?1 ORDER BY rowid LIMIT ?2"
        ))?;
        Ok(part(statement.query(params![after.0, as_limit(limit)])?, limit, &self.odd)?)
    }

    /// Stores a failure's routing after a change of configuration.
    pub fn place(&mut self, seq: Seq, place: &Routing) -> Result<(), StoreError> {
        self.rewrite(
            "UPDATE sync_failures SET upstream = ?2, head = ?3, status = ?4, error_class = ?5, due_at = ?6, strict = ?7, \
                 next_retry_at = CASE WHEN ?6 IS NULL THEN NULL ELSE next_retry_at END WHERE rowid = ?1 \
             RETURNING octet_length(payload)",
            params![
                seq.0,
                place.upstream,
                place.head,
                place.status.as_str(),
                place.error_class,
                place.due_at.map(AgentTime::as_millis),
                place.strict,
            ],
        )
    }

    /// A changed configuration has changed the order of an upstream's failures.
    pub fn mark_strict(&mut self, seq: Seq, strict: bool) -> Result<(), StoreError> {
        self.rewrite(
            "UPDATE sync_failures SET strict = ?2 WHERE rowid = ?1 AND strict <> ?2 RETURNING octet_length(payload)",
            params![seq.0, strict],
        )
    }

    /// Stores the policy's memory of a failure that goes to another upstream. Its due time does not change.
    pub fn remember_elsewhere(&mut self, seq: Seq, retry_columns: &RetryColumns) -> Result<(), StoreError> {
        self.rewrite(
            "UPDATE sync_failures SET retry_state = ?2, refundable_under = ?3, retry_after_until = ?4 WHERE rowid = ?1 \
             RETURNING octet_length(payload)",
            params![
                seq.0,
                retry_columns.retry_state,
                retry_columns.refundable_under,
                retry_columns.retry_after_until.map(AgentTime::as_millis)
            ],
        )
    }

    /// The oldest live failure of an upstream from this number on: the front of a strict order.
    pub fn front(&self, upstream: &str, from: Seq) -> Result<Option<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(FRONT)?;
        Ok(statement.query_row(params![upstream, from.0], |row| noted_failure(row, &self.odd)).optional()?)
    }

    /// The routes (type and action) of an upstream's pending heads, at most `limit`: those after `after`, then from the
    /// first one on, up to `after`.
    pub fn head_routes(
        &self,
        upstream: &str,
        after: &(String, String),
        limit: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        // Each step skips a whole route along the index.
        let mut statement = self.connection.prepare_cached(
            "SELECT entity_type, action FROM sync_failures INDEXED BY sync_failures_canary WHERE head = 1 AND status = 'pending' \
             AND upstream = ?1 AND (entity_type, action) > (?2, ?3) ORDER BY entity_type, action LIMIT 1",
        )?;
        let mut routes: Vec<(String, String)> = Vec::new();
        let (mut from, mut again) = (after.clone(), false);
        while routes.len() < limit {
            let read = |row: &Row| Ok((text(row, 0)?, text(row, 1)?));
            let next = statement.query_row(params![upstream, from.0, from.1], |row| Ok(unless_odd(read(row))));
            match next.optional()?.transpose()?.map(Option::unwrap_or_default) {
                Some(next) if again && next > *after => break,
                Some(next) if next == <(String, String)>::default() => break,
                Some(next) => {
                    from.clone_from(&next);
                    routes.push(next);
                }
                None if again || *after == <(String, String)>::default() => break,
                None => (from, again) = (<(String, String)>::default(), true),
            }
        }
        Ok(routes)
    }

    /// The least recently attempted pending heads of a route, without those for which the upstream set a `Retry-After`,
    /// without their payloads.
    pub fn least_recently_attempted(
        &self,
        upstream: &str,
        (entity_type, action): (&str, &str),
        now: AgentTime,
        limit: usize,
    ) -> Result<Vec<Failure>, StoreError> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            light_columns!(),
            " FROM sync_failures INDEXED BY sync_failures_canary WHERE head = 1 AND status = 'pending' AND upstream = ?1 \
             AND entity_type = ?2 AND action = ?3 AND (retry_after_until IS NULL OR retry_after_until <= ?4) \
             ORDER BY last_sent_at, rowid LIMIT ?5"
        ))?;
        let rows = statement.query(params![upstream, entity_type, action, now.as_millis(), as_limit(limit)])?;
        Ok(readable(rows, &self.odd)?)
    }

    /// The number under which a failure was removed, according to its attempts and audit; the highest, if it was
    /// removed more than once. `None` if its history is no longer kept.
    pub fn seq_from_history(&self, id: &FailureId) -> Result<Option<Seq>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT max(coalesce((SELECT seq FROM sync_attempts WHERE failure_id = ?1 ORDER BY id DESC LIMIT 1), 0), \
             coalesce((SELECT seq FROM audit_log WHERE failure_id = ?1 AND seq IS NOT NULL ORDER BY id DESC LIMIT 1), 0))",
        )?;
        let seq = statement.query_row([id.as_str()], |row| self.odd.read_elsewhere(row.get::<_, i64>(0)))?;
        Ok(seq.filter(|seq| *seq > 0).map(Seq))
    }
}

fn seq_and_time(row: &Row) -> rusqlite::Result<(Seq, AgentTime)> {
    Ok((Seq(row.get(0)?), AgentTime::from_millis(row.get(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::store::StoreSettings;
    use rusqlite::StatementStatus;

    /// A strict upstream searches its front with every round and every `get`, even when it has no failures and another
    /// upstream has many.
    #[test]
    fn the_front_of_an_upstream_is_found_beside_many_of_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let store = Store::open(settings, WallTime::from_millis(0)).expect("a store");
        let sql = "INSERT INTO sync_failures (id, entity_type, entity_id, action, error, seq, status, due_at, recorded_at, \
                   created_at, updated_at, terminal_id, head, uncounted, upstream, strict) \
                   WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                   SELECT 'f' || i, 'SALE', 's' || i, 'CREATE', 'x', i, 'pending', 0, 0, '2026-11-24', '2026-11-24', 'till', \
                   1, 0, 'other', 1 FROM n";
        store.connection.execute(sql, []).expect("failures");
        assert_eq!(store.front("hq", Seq(0)).expect("a front"), None);
        assert_eq!(store.front("other", Seq(7)).expect("a front").map(|front| front.seq), Some(Seq(7)));
        let statement = store.connection.prepare_cached(FRONT).expect("SQL");
        let steps = statement.get_status(StatementStatus::VmStep);
        assert!(steps < 200, "{steps} steps for two queries");
    }

    /// While the pacing delay runs, failures without an attempt come first, however many were attempted before them and
    /// are due earlier.
    #[test]
    fn what_was_never_attempted_is_found_behind_any_number_of_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let store = Store::open(settings, WallTime::from_millis(0)).expect("a store");
        let insert = |numbers: &str, entity_type: &str, sent: &str, due_at: u32| {
            let sql = format!(
                "INSERT INTO sync_failures (id, entity_type, entity_id, action, error, seq, status, due_at, recorded_at, \
                 created_at, updated_at, terminal_id, head, uncounted, upstream, strict, last_sent_at) \
                 WITH RECURSIVE n (i, last) AS (VALUES ({numbers}) UNION ALL SELECT i + 1, last FROM n WHERE i < last) \
                 SELECT 'f' || i, '{entity_type}', 's' || i, 'CREATE', 'x', i, 'pending', {due_at}, 0, '2026-11-24', \
                 '2026-11-24', 'till', 1, 1, 'hq', 0, {sent} FROM n"
            );
            store.connection.execute(&sql, []).expect("failures");
        };
        insert("1, 500", "SALE", "5", 10);
        insert("501, 502", "SALE", "NULL", 20);
        insert("503, 503", "RETURN", "NULL", 30);
        insert("504, 504", "RETURN", "NULL", 9_999);
        let found = store.due_untried("hq", AgentTime::from_millis(100), 64).expect("a search");
        let mut seqs: Vec<i64> = found.into_iter().map(|(seq, _)| seq.0).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [501, 502, 503]);
    }
}

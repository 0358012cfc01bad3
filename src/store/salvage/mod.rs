//! What can be read of a quarantined file, brought into the present one.
//!
//! ```text
//! pages ──→ records ──→ tables ──→ mend ──→ the present file
//! (file     (cells of    (whose row,  (what is
//!  and log)  each page)   by columns)  half lost)
//! ```
//!
//! SQLite cannot read behind a damaged root or first page, so the pages are read one by one, without
//! it: every page that can be read gives its records, whatever became of the pages that led to it.
//! Pages that the file's own map calls free are left out; what stands there was deleted.
//!
//! - A failure keeps its id, keys, content, counts and number. It is as after an unsure try, because
//!   what became of its last one may be what was lost.
//! - The file may have rows already: it was put there by somebody else, or an earlier salvage was cut
//!   short. What is there by its id stays. Salvaged failures keep their numbers, because requests that
//!   are under way know them by these; others that have one of them are numbered behind all, in their
//!   own order.
//! - What the history calls delivered does not come back.
//! - Lost is what the index of numbers knows and no page had, or what the agent's count says more.
//!
//! Doing it twice does nothing twice. It is durable when [`salvage`] has returned.

mod mend;
mod pages;
mod records;
mod tables;

#[cfg(test)]
#[path = "../salvage_tests.rs"]
mod tests;

use super::keys;
use crate::config::Route;
use crate::ids::Seq;
use crate::moment::WallTime;
use crate::policy::upstream::Upstream;
use crate::record::{Leaving, PayloadKind};
use pages::Pages;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use tables::{Known, Row, Table, Tables};

/// How a salvage goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// The quarantine's name, for the audit.
    pub(super) name: &'a str,
    /// When.
    pub(super) now: WallTime,
    /// Routes that hold what may have arrived.
    pub(super) routes: &'a [Route],
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Failures that are live again.
    pub salvaged: u64,
    /// Failures that there were and that could not be read.
    pub lost: u64,
}

/// Why it could not be done; nothing is lost by that, it is done again.
#[derive(Debug)]
pub(super) enum SalvageError {
    /// The quarantined file could not be opened.
    Read(io::Error),
    /// The present file did not take it.
    Write(rusqlite::Error),
}

impl From<rusqlite::Error> for SalvageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Write(error)
    }
}

/// Salvages a file and its log; see the module.
pub(super) fn salvage(file: &Path, log: &Path, into: &Connection, terms: &Terms) -> Result<Tally, SalvageError> {
    let pages = Pages::open(file, log).map_err(SalvageError::Read)?;
    into.execute_batch("BEGIN IMMEDIATE")?;
    let done = Salvage::begin(&pages, into, terms).and_then(Salvage::run);
    match done {
        Ok(_) => into.execute_batch("COMMIT")?,
        // The error is what counts; a rollback that fails as well leaves nothing behind either.
        Err(_) => drop(into.execute_batch("ROLLBACK")),
    }
    Ok(done?)
}

/// Where a failure's record stands: its number, where that is known, comes first.
type Place = (Option<Seq>, u32, usize);

struct Salvage<'a> {
    pages: &'a Pages,
    into: &'a Connection,
    terms: &'a Terms<'a>,
    tables: Tables,
    failures: Vec<Place>,
    /// Rows by the index of numbers.
    numbers: BTreeMap<i64, Seq>,
    agent: Option<Row>,
    /// The highest number seen anywhere.
    newest: i64,
    /// The latest agent time that a failure tells of.
    latest: i64,
    /// Failures that the history calls delivered.
    delivered: u64,
    /// Rows so far.
    written: u32,
}

impl<'a> Salvage<'a> {
    fn begin(pages: &'a Pages, into: &'a Connection, terms: &'a Terms<'a>) -> rusqlite::Result<Self> {
        let newest: i64 = into.query_row("SELECT next_seq - 1 FROM agent WHERE id = 1", [], |row| row.get(0))?;
        Ok(Self {
            pages,
            into,
            terms,
            tables: Tables::of(into)?,
            failures: Vec::new(),
            numbers: BTreeMap::new(),
            agent: None,
            newest,
            latest: 0,
            delivered: 0,
            written: 0,
        })
    }

    fn run(mut self) -> rusqlite::Result<Tally> {
        let merges: bool = self.into.query_row("SELECT EXISTS (SELECT 1 FROM sync_failures)", [], |row| row.get(0))?;
        self.survey()?;
        self.forget_delivered()?;
        let salvaged = self.bring_failures()?;
        self.put_in_order()?;
        self.keep_agents_row(merges)?;
        let tally = Tally { salvaged, lost: self.lost(salvaged) };
        self.audit(tally)?;
        Ok(tally)
    }

    /// Goes through all pages: failures are found, everything else is brought over.
    fn survey(&mut self) -> rusqlite::Result<()> {
        for page in 1..=self.pages.count() {
            for (cell, record) in records::records(self.pages, page).into_iter().enumerate() {
                match self.tables.know(&record) {
                    Some(Known::Number { seq, rowid }) => {
                        self.newest = self.newest.max(seq.0);
                        self.numbers.insert(rowid, seq);
                    }
                    Some(Known::Row(Table::Failures)) => {
                        let row = self.tables.row(Table::Failures, record);
                        self.failures.push((row.integer("seq").map(Seq), page, cell));
                    }
                    Some(Known::Row(table)) => {
                        let rowid = record.rowid;
                        let row = self.tables.row(table, record);
                        self.bring(table, rowid, row)?;
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn bring(&mut self, table: Table, rowid: Option<i64>, mut row: Row) -> rusqlite::Result<()> {
        self.breathe()?;
        self.newest = self.newest.max(row.integer("seq").unwrap_or(0));
        match table {
            Table::Attempts | Table::Audit => {
                if !self.is_told(table, &row)? {
                    row.set("id", rowid.map_or(Value::Null, Value::Integer));
                    if !row.insert(self.into)? {
                        row.set("id", Value::Null);
                        row.insert(self.into)?;
                    }
                }
            }
            Table::Keys => {
                if !row.insert(self.into)? {
                    self.close_key(&row)?;
                }
            }
            Table::Upstreams => {
                if serde_json::from_str::<Upstream>(row.text("state").unwrap_or_default()).is_ok() {
                    row.insert(self.into)?;
                }
            }
            Table::Agent => self.agent = Some(row),
            Table::Failures => {}
        }
        Ok(())
    }

    /// Commits now and then, so that the log stays small.
    fn breathe(&mut self) -> rusqlite::Result<()> {
        const CHUNK: u32 = 10_000;
        self.written += 1;
        if self.written.is_multiple_of(CHUNK) {
            self.into.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
        }
        Ok(())
    }

    /// Is this part of the history there already?
    fn is_told(&self, table: Table, row: &Row) -> rusqlite::Result<bool> {
        let (sql, names) = if table == Table::Attempts {
            (
                "SELECT 1 FROM sync_attempts WHERE failure_id = ?1 AND attempt = ?2 AND trigger = ?3 AND started_at = ?4",
                ["failure_id", "attempt", "trigger", "started_at"],
            )
        } else {
            (
                "SELECT 1 FROM audit_log WHERE failure_id IS ?1 AND at = ?2 AND operation = ?3 AND reason IS ?4",
                ["failure_id", "at", "operation", "reason"],
            )
        };
        let values = names.map(|name| row.get(name).unwrap_or(&Value::Null));
        self.into.prepare_cached(sql)?.exists(values)
    }

    /// A key that is there keeps its failure; how that one left may be news.
    fn close_key(&self, row: &Row) -> rusqlite::Result<()> {
        let sql = "UPDATE idempotency_keys SET outcome = ?4, left_at = ?5 \
                   WHERE source_uid = ?1 AND key = ?2 AND failure_id = ?3 AND outcome IS NULL";
        let (uid, key, id) = (row.integer("source_uid"), row.text("key"), row.text("failure_id"));
        self.into.prepare_cached(sql)?.execute(params![uid, key, id, row.text("outcome"), row.text("left_at")])?;
        Ok(())
    }

    /// What the history calls delivered is not live, also where an older file says so.
    fn forget_delivered(&self) -> rusqlite::Result<()> {
        let sql = "DELETE FROM sync_failures WHERE EXISTS (SELECT 1 FROM sync_attempts \
                   WHERE failure_id = sync_failures.id AND sync_attempts.seq = sync_failures.seq AND class = ?1)";
        self.into.execute(sql, [Leaving::Delivered.as_str()])?;
        Ok(())
    }

    /// Brings the failures over, in their order; how many are live of them.
    fn bring_failures(&mut self) -> rusqlite::Result<u64> {
        let mut places = std::mem::take(&mut self.failures);
        self.newest = self.newest.max(self.highest()?);
        self.newest = places.iter().filter_map(|(seq, ..)| *seq).map(|seq| seq.0).fold(self.newest, i64::max);
        if let Some(row) = &self.agent {
            self.newest = self.newest.max(row.integer("next_seq").unwrap_or(0) - 1);
        }
        // Those that have lost their number come last.
        places.sort_unstable_by_key(|(seq, page, cell)| (seq.is_none(), *seq, *page, *cell));
        let mut live = 0;
        for (_, page, cell) in places {
            self.breathe()?;
            let Some(record) = records::records(self.pages, page).into_iter().nth(cell) else { continue };
            let indexed = record.rowid.and_then(|rowid| self.numbers.get(&rowid).copied());
            let mut row = self.tables.row(Table::Failures, record);
            let own = row.integer("seq").map(Seq).filter(|seq| seq.0 > 0);
            // Where the index knows better, the end of the row, with the number in it, is garbage.
            let whole = own.is_some() && indexed.is_none_or(|indexed| Some(indexed) == own);
            live += u64::from(self.bring_failure(&mut row, indexed.or(own), whole)?);
        }
        Ok(live)
    }

    /// Brings one over; is it live now?
    fn bring_failure(&mut self, row: &mut Row, seq: Option<Seq>, whole: bool) -> rusqlite::Result<bool> {
        let id = row.text("id").unwrap_or_default().to_owned();
        let delivered = "SELECT 1 FROM sync_attempts WHERE failure_id = ?1 AND seq = ?2 AND class = ?3";
        let known = params![id, seq.map(|seq| seq.0), Leaving::Delivered.as_str()];
        if self.into.prepare_cached(delivered)?.exists(known)? {
            self.delivered += 1;
            return Ok(false);
        }
        let number = match seq {
            Some(seq) => self.make_room(&id, seq)?,
            None => self.newest + 1,
        };
        self.newest = self.newest.max(number);
        let there = "UPDATE sync_failures SET unsure = 1, seq = ?2 WHERE id = ?1";
        if self.into.prepare_cached(there)?.execute(params![id, number])? > 0 {
            return Ok(true);
        }
        row.set("seq", number);
        mend::mend(row, whole, self.terms);
        for name in ["recorded_at", "last_sent_at", "counted_out_at"] {
            self.latest = self.latest.max(row.integer(name).unwrap_or(0));
        }
        let inserted = row.insert(self.into)?;
        if inserted {
            self.keep_key(row)?;
        }
        Ok(inserted)
    }

    /// Frees a number. Failures come in the order of theirs, so whoever has it or a higher one was
    /// there before.
    fn make_room(&mut self, id: &str, seq: Seq) -> rusqlite::Result<i64> {
        let taken = "SELECT 1 FROM sync_failures WHERE seq = ?1 AND id <> ?2";
        if self.into.prepare_cached(taken)?.exists(params![seq.0, id])? {
            let far = self.newest - seq.0 + 1;
            self.into.execute("UPDATE sync_failures SET seq = seq + ?2 WHERE seq >= ?1", [seq.0, far])?;
            self.newest = self.highest()?;
        }
        Ok(seq.0)
    }

    fn highest(&self) -> rusqlite::Result<i64> {
        self.into.query_row("SELECT coalesce(max(seq), 0) FROM sync_failures", [], |row| row.get(0))
    }

    /// A failure's key, where its own row is lost.
    fn keep_key(&self, row: &Row) -> rusqlite::Result<()> {
        let (Some(uid), Some(key)) = (row.integer("source_uid"), row.text("idempotency_key")) else { return Ok(()) };
        let text = |name| row.text(name).unwrap_or_default();
        let kind = PayloadKind::parse(text("payload_kind")).unwrap_or(PayloadKind::Text);
        let payload = row.text("payload").map(|payload| (payload, kind));
        let content = keys::digest(text("entity_type"), text("entity_id"), text("action"), payload);
        let sql =
            "INSERT OR IGNORE INTO idempotency_keys (source_uid, key, failure_id, sha256) VALUES (?1, ?2, ?3, ?4)";
        self.into.prepare_cached(sql)?.execute(params![uid, key, text("id"), content])?;
        Ok(())
    }

    /// Heads are the oldest of their orders again, and a key whose failure is lost can be used again.
    fn put_in_order(&self) -> rusqlite::Result<()> {
        self.into.execute_batch(
            "UPDATE sync_failures SET head = 1 WHERE head = 0 AND CASE WHEN order_key IS NULL \
             THEN NOT EXISTS (SELECT 1 FROM sync_failures AS older WHERE older.entity_type = sync_failures.entity_type \
                  AND older.entity_id = sync_failures.entity_id AND older.order_key IS NULL AND older.seq < sync_failures.seq) \
             ELSE NOT EXISTS (SELECT 1 FROM sync_failures AS older WHERE older.order_key = sync_failures.order_key \
                  AND older.seq < sync_failures.seq) END; \
             UPDATE sync_failures SET head = 0 WHERE head = 1 \
             AND NOT EXISTS (SELECT 1 FROM upstreams WHERE name = upstream AND ordering = 'none') AND CASE WHEN order_key IS NULL \
             THEN EXISTS (SELECT 1 FROM sync_failures AS older WHERE older.entity_type = sync_failures.entity_type \
                  AND older.entity_id = sync_failures.entity_id AND older.order_key IS NULL AND older.seq < sync_failures.seq) \
             ELSE EXISTS (SELECT 1 FROM sync_failures AS older WHERE older.order_key = sync_failures.order_key \
                  AND older.seq < sync_failures.seq) END; \
             DELETE FROM idempotency_keys WHERE outcome IS NULL \
             AND NOT EXISTS (SELECT 1 FROM sync_failures WHERE id = failure_id)",
        )
    }

    /// Agent time goes on from where it was, and no number is given twice.
    fn keep_agents_row(&self, merges: bool) -> rusqlite::Result<()> {
        /// Numbers that may have been given without a trace, where the agent's row is lost.
        const UNSEEN: i64 = 10_000;
        let read = self.agent.as_ref();
        let integer = |name: &str| read.and_then(|row| row.integer(name));
        let agent_time = integer("agent_time").unwrap_or(self.latest);
        let wall_time = integer("wall_time").unwrap_or(self.terms.now.as_millis());
        let next_seq = self.newest + 1 + if read.is_some() { 0 } else { UNSEEN };
        // Failures of two files have their places by different configurations, perhaps.
        let routes = if merges { None } else { read.and_then(|row| row.text("routes")) };
        self.into.execute(
            "UPDATE agent SET wall_time = CASE WHEN agent_time < ?1 THEN ?2 ELSE wall_time END, \
             agent_time = max(agent_time, ?1), next_seq = max(next_seq, ?3), routes = coalesce(?4, ''), \
             live = (SELECT COUNT(*) FROM sync_failures) WHERE id = 1",
            params![agent_time, wall_time, next_seq, routes],
        )?;
        Ok(())
    }

    fn lost(&self, salvaged: u64) -> u64 {
        let live = self.agent.as_ref().and_then(|row| row.integer("live"));
        let known = u64::try_from(self.numbers.len()).unwrap_or(u64::MAX);
        let live = live.and_then(|live| u64::try_from(live).ok()).unwrap_or(0);
        known.max(live).saturating_sub(salvaged + self.delivered)
    }

    fn audit(&self, tally: Tally) -> rusqlite::Result<()> {
        let Tally { salvaged, lost } = tally;
        let reason = format!("quarantine/{}: {salvaged} salvaged, {lost} lost", self.terms.name);
        let told = "SELECT 1 FROM audit_log WHERE operation = 'quarantine' AND reason = ?1";
        let told = self.into.query_row(told, [&reason], |_| Ok(())).optional()?.is_some();
        if !told {
            let sql =
                "INSERT INTO audit_log (at, actor_name, operation, reason) VALUES (?1, 'resyncd', 'quarantine', ?2)";
            self.into.execute(sql, params![self.terms.now.sql(), reason])?;
        }
        Ok(())
    }
}

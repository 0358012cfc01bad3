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
//! - A failure's number stands in its row twice: as the row's own and in a column; and in every index.
//!   Files of before schema 4 have it in the column and in an index of numbers.
//! - Lost is what an index of all failures knows and no page had, or what the agent's count says more.
//!
//! It goes step by step, each a transaction, so that whoever waits can be told so meanwhile. Doing it
//! twice does nothing twice; so one that was cut short begins again.

mod mend;
mod pages;
mod records;
mod size;
mod tables;

#[cfg(test)]
#[path = "../salvage_tests.rs"]
mod tests;

use super::keys;
use super::open::drain;
use crate::config::Route;
use crate::ids::Seq;
use crate::moment::WallTime;
use crate::policy::upstream::Upstream;
use crate::record::{Leaving, PayloadKind};
use pages::Pages;
use records::Record;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use tables::{Known, Row, Table, Tables};

/// How a salvage goes.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// The quarantine's name, for the audit.
    pub(super) name: String,
    /// When.
    pub(super) now: WallTime,
    /// Routes that hold what may have arrived.
    pub(super) routes: Vec<Route>,
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

/// Pages that are read, or rows that are written, in one step.
const STEP: u32 = 1000;

/// Where a failure's record stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// What its column says; once all pages are seen, its number, as far as that is known.
    seq: Option<Seq>,
    rowid: i64,
    page: u32,
    cell: usize,
}

/// Rows are the failures' own numbers from this schema on.
const NUMBERED_ROWS: i64 = 4;

/// What is done next.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// All pages are gone through from this one on: failures are found, everything else comes over.
    Survey { page: u32 },
    /// Failures come over in their order, from this place on.
    Failures { place: usize },
    /// Heads are the oldest of their orders again, from behind this number on.
    Order { after: i64 },
    /// Everything is there, and is made durable.
    End,
}

/// A salvage under way; see the module.
pub(super) struct Salvage {
    pages: Pages,
    terms: Terms,
    tables: Tables,
    phase: Phase,
    /// The present file had failures already.
    merges: bool,
    failures: Vec<Place>,
    /// The page that was read last, and its records.
    page: (u32, Vec<Record>),
    /// Rows and their numbers, by an index. Until [`sort`](Self::sort) by the index of numbers, if there is
    /// one, and with what the index of migrations says, whose entries look the same.
    numbers: BTreeSet<(i64, Seq)>,
    /// Rows in which failures were live, by another index.
    live: BTreeSet<i64>,
    /// The newest migration of the file; `None`: its page is lost.
    version: Option<i64>,
    /// A failure's number is its row's own.
    by_row: bool,
    agent: Option<Row>,
    /// The highest number seen anywhere.
    newest: i64,
    /// The latest agent time that a failure tells of.
    latest: i64,
    /// Failures that the history calls delivered.
    delivered: u64,
    /// Failures that are live again.
    salvaged: u64,
}

impl Salvage {
    /// Begins with a file and its log.
    pub(super) fn begin(file: &Path, log: &Path, into: &Connection, terms: Terms) -> Result<Self, SalvageError> {
        let number = |sql: &str| into.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Self {
            pages: Pages::open(file, log).map_err(SalvageError::Read)?,
            terms,
            tables: Tables::of(into)?,
            phase: Phase::Survey { page: 1 },
            merges: number("SELECT EXISTS (SELECT 1 FROM sync_failures)")? != 0,
            failures: Vec::new(),
            page: (0, Vec::new()),
            numbers: BTreeSet::new(),
            live: BTreeSet::new(),
            version: None,
            by_row: false,
            agent: None,
            newest: number("SELECT max(next_seq - 1, coalesce((SELECT max(rowid) FROM sync_failures), 0)) FROM agent")?,
            latest: 0,
            delivered: 0,
            salvaged: 0,
        })
    }

    /// One step; at the end what came of it all. After an error it begins again, with another
    /// connection.
    pub(super) fn step(&mut self, into: &Connection) -> Result<Option<Tally>, SalvageError> {
        // Until the end nothing needs to be durable, for a salvage that was cut short begins again; the
        // last commit syncs all of it.
        let last = matches!(self.phase, Phase::End);
        drain(into, if last { "PRAGMA synchronous = EXTRA" } else { "PRAGMA synchronous = NORMAL" })?;
        into.execute_batch("BEGIN IMMEDIATE")?;
        let done = self.advance(into);
        match done {
            Ok(_) => into.execute_batch("COMMIT")?,
            // The error is what counts; a rollback that fails as well leaves nothing behind either.
            Err(_) => drop(into.execute_batch("ROLLBACK")),
        }
        Ok(done?)
    }

    fn advance(&mut self, into: &Connection) -> rusqlite::Result<Option<Tally>> {
        self.phase = match self.phase {
            Phase::Survey { page } => {
                let end = page.saturating_add(STEP).min(self.pages.count().saturating_add(1));
                for page in page..end {
                    self.survey(into, page)?;
                }
                if end <= self.pages.count() {
                    Phase::Survey { page: end }
                } else {
                    self.sort(into)?;
                    Phase::Failures { place: 0 }
                }
            }
            Phase::Failures { place } => {
                let end = (place + STEP as usize).min(self.failures.len());
                for place in place..end {
                    self.bring_failure(into, self.failures[place])?;
                }
                if end < self.failures.len() { Phase::Failures { place: end } } else { Phase::Order { after: 0 } }
            }
            Phase::Order { after } => match order_heads(into, after)? {
                Some(last) => Phase::Order { after: last },
                None => Phase::End,
            },
            Phase::End => return self.end(into).map(Some),
        };
        Ok(None)
    }

    /// Goes through a page.
    fn survey(&mut self, into: &Connection, page: u32) -> rusqlite::Result<()> {
        for (cell, record) in records::records(&self.pages, page).into_iter().enumerate() {
            match self.tables.know(&record) {
                Some(Known::Number { seq, rowid }) => {
                    self.newest = self.newest.max(seq.0);
                    self.numbers.insert((rowid, seq));
                }
                Some(Known::Live { rowid }) => drop(self.live.insert(rowid)),
                Some(Known::Migration(version)) => self.version = self.version.max(Some(version)),
                Some(Known::Row(Table::Failures)) => {
                    let rowid = record.rowid.unwrap_or(0);
                    let row = self.tables.row(Table::Failures, record);
                    self.failures.push(Place { seq: row.integer("seq").map(Seq), rowid, page, cell });
                }
                Some(Known::Row(table)) => {
                    let rowid = record.rowid;
                    let row = self.tables.row(table, record);
                    self.bring(into, table, rowid, row)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// All pages have been seen: what the history calls delivered is not live, and failures are put
    /// in their order. Those that have lost their number come last.
    fn sort(&mut self, into: &Connection) -> rusqlite::Result<()> {
        let sql = "DELETE FROM sync_failures WHERE EXISTS (SELECT 1 FROM sync_attempts \
                   WHERE failure_id = sync_failures.id AND sync_attempts.seq = sync_failures.seq AND class = ?1)";
        into.execute(sql, [Leaving::Delivered.as_str()])?;
        // Migrations come one behind the other, so their rows are the same in every file.
        let mut migrations = into.prepare("SELECT rowid, version FROM refinery_schema_history")?;
        for pair in migrations.query_map([], |row| Ok((row.get(0)?, row.get(1).map(Seq)?)))? {
            self.numbers.remove(&pair?);
        }
        self.know_numbers();
        let given = self.agent.as_ref().and_then(|row| row.integer("next_seq")).map(|next| next - 1);
        let seen = self.failures.iter().filter_map(|place| place.seq).map(|seq| seq.0);
        self.newest = seen.chain(given).fold(self.newest, i64::max);
        self.failures.sort_unstable_by_key(|place| (place.seq.is_none(), place.seq, place.page, place.cell));
        Ok(())
    }

    /// Whether rows have the failures' own numbers, and what follows from that. Where a stranger has
    /// numbered the rows anew, most of them say so.
    fn know_numbers(&mut self) {
        let own = |place: &&Place| place.seq.is_some_and(|seq| seq.0 == place.rowid);
        let other = |place: &&Place| place.seq.is_some_and(|seq| seq.0 != place.rowid);
        let most = self.failures.iter().filter(own).count() >= self.failures.iter().filter(other).count();
        let newer = self.version.map_or(self.numbers.is_empty(), |version| version >= NUMBERED_ROWS);
        self.by_row = newer && most;
        let live = std::mem::take(&mut self.live);
        if newer {
            self.numbers = live.into_iter().filter(|_| most).map(|rowid| (rowid, Seq(rowid))).collect();
        }
        let newest = self.numbers.last().map(|(_, seq)| seq.0);
        self.newest = self.newest.max(newest.unwrap_or(0));
        if self.by_row {
            for place in &mut self.failures {
                place.seq = Some(Seq(place.rowid));
            }
        }
    }

    /// All failures are there.
    fn end(&mut self, into: &Connection) -> rusqlite::Result<Tally> {
        // A key whose failure is lost can be used again.
        let lost_keys = "DELETE FROM idempotency_keys WHERE outcome IS NULL \
                         AND NOT EXISTS (SELECT 1 FROM sync_failures WHERE id = failure_id)";
        into.execute(lost_keys, [])?;
        self.keep_agents_row(into)?;
        let tally = Tally { salvaged: self.salvaged, lost: self.lost() };
        self.audit(into, tally)?;
        Ok(tally)
    }

    fn bring(&mut self, into: &Connection, table: Table, rowid: Option<i64>, mut row: Row) -> rusqlite::Result<()> {
        self.newest = self.newest.max(row.integer("seq").unwrap_or(0));
        match table {
            Table::Attempts | Table::Audit => {
                if !is_told(into, table, &row)? {
                    row.set("id", rowid.map_or(Value::Null, Value::Integer));
                    if !row.insert(into)? {
                        row.set("id", Value::Null);
                        row.insert(into)?;
                    }
                }
            }
            Table::Keys => {
                if !row.insert(into)? {
                    close_key(into, &row)?;
                }
            }
            Table::Upstreams => {
                if serde_json::from_str::<Upstream>(row.text("state").unwrap_or_default()).is_ok() {
                    row.insert(into)?;
                }
            }
            Table::Alerts => drop(row.insert(into)?),
            Table::Agent => self.agent = Some(row),
            Table::Failures => {}
        }
        Ok(())
    }

    fn bring_failure(&mut self, into: &Connection, Place { page, cell, .. }: Place) -> rusqlite::Result<()> {
        if self.page.0 != page {
            self.page = (page, records::records(&self.pages, page));
        }
        let Some(record) = self.page.1.get(cell).cloned() else { return Ok(()) };
        let indexed = record.rowid.and_then(|rowid| self.number_of(rowid));
        let mut row = self.tables.row(Table::Failures, record);
        let own = row.integer("seq").map(Seq).filter(|seq| seq.0 > 0);
        // Where the index knows better, the end of the row, with the number in it, is garbage.
        let whole = own.is_some() && indexed.is_none_or(|indexed| Some(indexed) == own);
        let seq = indexed.or(own);
        let id = row.text("id").unwrap_or_default().to_owned();
        let delivered = "SELECT 1 FROM sync_attempts WHERE failure_id = ?1 AND seq = ?2 AND class = ?3";
        let known = params![id, seq.map(|seq| seq.0), Leaving::Delivered.as_str()];
        if into.prepare_cached(delivered)?.exists(known)? {
            self.delivered += 1;
            return Ok(());
        }
        let number = match seq {
            Some(seq) => self.make_room(into, &id, seq)?,
            None => self.newest + 1,
        };
        self.newest = self.newest.max(number);
        let there = "UPDATE sync_failures SET unsure = 1, rowid = ?2, seq = ?2 WHERE id = ?1";
        if into.prepare_cached(there)?.execute(params![id, number])? > 0 {
            self.salvaged += 1;
            return Ok(());
        }
        row.set("seq", number);
        mend::mend(&mut row, whole, &self.terms);
        for name in ["recorded_at", "last_sent_at", "counted_out_at"] {
            self.latest = self.latest.max(row.integer(name).unwrap_or(0));
        }
        if row.insert(into)? {
            self.salvaged += 1;
            keep_key(into, &row)?;
        }
        Ok(())
    }

    /// Frees a number. Failures come in the order of theirs, so whoever has it or a higher one was
    /// there before.
    fn make_room(&mut self, into: &Connection, id: &str, seq: Seq) -> rusqlite::Result<i64> {
        let taken = "SELECT 1 FROM sync_failures WHERE rowid = ?1 AND id <> ?2";
        if into.prepare_cached(taken)?.exists(params![seq.0, id])? {
            let far = self.newest - seq.0 + 1;
            let behind = "UPDATE sync_failures SET rowid = rowid + ?2, seq = seq + ?2 WHERE rowid >= ?1";
            into.execute(behind, [seq.0, far])?;
            self.newest = into.query_row("SELECT max(rowid) FROM sync_failures", [], |row| row.get(0))?;
        }
        Ok(seq.0)
    }

    /// Agent time goes on from where it was, and no number is given twice.
    fn keep_agents_row(&self, into: &Connection) -> rusqlite::Result<()> {
        /// Numbers that may have been given without a trace, where the agent's row is lost.
        const UNSEEN: i64 = 10_000;
        let read = self.agent.as_ref();
        let integer = |name: &str| read.and_then(|row| row.integer(name));
        let agent_time = integer("agent_time").unwrap_or(self.latest);
        let wall_time = integer("wall_time").unwrap_or(self.terms.now.as_millis());
        let next_seq = self.newest + 1 + if read.is_some() { 0 } else { UNSEEN };
        // Failures of two files have their places by different configurations, perhaps.
        let routes = if self.merges { None } else { read.and_then(|row| row.text("routes")) };
        into.execute(
            "UPDATE agent SET wall_time = CASE WHEN agent_time < ?1 THEN ?2 ELSE wall_time END, \
             agent_time = max(agent_time, ?1), next_seq = max(next_seq, ?3), routes = coalesce(?4, ''), \
             live = (SELECT COUNT(*) FROM sync_failures) WHERE id = 1",
            params![agent_time, wall_time, next_seq, routes],
        )?;
        Ok(())
    }

    /// What an index says of a row, or the row itself.
    fn number_of(&self, rowid: i64) -> Option<Seq> {
        if self.by_row {
            return Some(Seq(rowid)).filter(|seq| seq.0 > 0);
        }
        let mut entries = self.numbers.range((rowid, Seq(i64::MIN))..=(rowid, Seq(i64::MAX)));
        entries.next().map(|(_, seq)| *seq)
    }

    fn lost(&self) -> u64 {
        let live = self.agent.as_ref().and_then(|row| row.integer("live"));
        let known = u64::try_from(self.numbers.len()).unwrap_or(u64::MAX);
        let live = live.and_then(|live| u64::try_from(live).ok()).unwrap_or(0);
        known.max(live).saturating_sub(self.salvaged + self.delivered)
    }

    fn audit(&self, into: &Connection, tally: Tally) -> rusqlite::Result<()> {
        let Tally { salvaged, lost } = tally;
        let reason = format!("quarantine/{}: {salvaged} salvaged, {lost} lost", self.terms.name);
        let told = "SELECT 1 FROM audit_log WHERE operation = 'quarantine' AND reason = ?1";
        let told = into.query_row(told, [&reason], |_| Ok(())).optional()?.is_some();
        if !told {
            let sql =
                "INSERT INTO audit_log (at, actor_name, operation, reason) VALUES (?1, 'resyncd', 'quarantine', ?2)";
            into.execute(sql, params![self.terms.now.sql(), reason])?;
        }
        Ok(())
    }
}

/// Is this part of the history there already?
fn is_told(into: &Connection, table: Table, row: &Row) -> rusqlite::Result<bool> {
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
    into.prepare_cached(sql)?.exists(values)
}

/// A key that is there keeps its failure; how that one left may be news.
fn close_key(into: &Connection, row: &Row) -> rusqlite::Result<()> {
    let sql = "UPDATE idempotency_keys SET outcome = ?4, left_at = ?5 \
               WHERE source_uid = ?1 AND key = ?2 AND failure_id = ?3 AND outcome IS NULL";
    let (uid, key, id) = (row.integer("source_uid"), row.text("key"), row.text("failure_id"));
    into.prepare_cached(sql)?.execute(params![uid, key, id, row.text("outcome"), row.text("left_at")])?;
    Ok(())
}

/// A failure's key, where its own row is lost.
fn keep_key(into: &Connection, row: &Row) -> rusqlite::Result<()> {
    let text = |name| row.text(name).unwrap_or_default();
    // The application's own, where an edit has given it another one.
    let key = row.text("recorded_key").or(row.text("idempotency_key"));
    let (Some(uid), Some(key)) = (row.integer("source_uid"), key) else { return Ok(()) };
    let kind = PayloadKind::parse(text("payload_kind")).unwrap_or(PayloadKind::Text);
    let payload = row.text("payload").map(|payload| (payload, kind));
    let content = keys::digest(text("entity_type"), text("entity_id"), text("action"), payload);
    // A key whose own row was cut through may lead to nobody.
    let sql = "INSERT INTO idempotency_keys (source_uid, key, failure_id, sha256) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (source_uid, key) DO UPDATE SET failure_id = excluded.failure_id, sha256 = excluded.sha256 \
               WHERE outcome IS NULL AND NOT EXISTS (SELECT 1 FROM sync_failures WHERE id = idempotency_keys.failure_id)";
    into.prepare_cached(sql)?.execute(params![uid, key, text("id"), content])?;
    Ok(())
}

/// Makes the oldest of each order its head among the failures behind `after`, and no other; the last
/// number that was looked at, `None` at the end.
fn order_heads(into: &Connection, after: i64) -> rusqlite::Result<Option<i64>> {
    let last =
        "SELECT max(number) FROM (SELECT rowid AS number FROM sync_failures WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)";
    let Some(last) = into.prepare_cached(last)?.query_row(params![after, STEP], |row| row.get::<_, Option<i64>>(0))?
    else {
        return Ok(None);
    };
    into.prepare_cached(
        "UPDATE sync_failures SET head = (SELECT count(*) FROM upstreams WHERE name = upstream AND ordering = 'none') > 0 \
         OR CASE WHEN order_key IS NULL THEN NOT EXISTS (SELECT 1 FROM sync_failures AS older \
              WHERE older.entity_type = sync_failures.entity_type AND older.entity_id = sync_failures.entity_id \
              AND older.order_key IS NULL AND older.rowid < sync_failures.rowid) \
         ELSE NOT EXISTS (SELECT 1 FROM sync_failures AS older \
              WHERE older.order_key = sync_failures.order_key AND older.rowid < sync_failures.rowid) END \
         WHERE rowid > ?1 AND rowid <= ?2",
    )?
    .execute([after, last])?;
    Ok(Some(last))
}

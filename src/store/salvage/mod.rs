//! Copies the readable content of a quarantined file into the present one.
//!
//! ```text
//! pages ──→ records ──→ tables ──→ mend ──→ the present file
//! (file     (cells of    (whose row,  (what is
//!  and log)  each page)   by columns)  half lost)
//! ```
//!
//! SQLite cannot read past a damaged root or first page, so the pages are read one by one without it: every readable
//! page yields its records, whatever happened to the pages that lead to it. Pages that the file's own map marks as free
//! are skipped, because their content was deleted.
//!
//! - A failure keeps its id, keys, content, counts and number. It is treated as after an unsure attempt, because
//!   the result of its last one may be lost.
//! - The file may have rows already: another program put it there, or an earlier salvage was interrupted.
//!   An existing id stays unchanged. Salvaged failures keep their numbers, because requests in flight refer to
//!   them; other failures with one of these numbers are renumbered above all others, in their own order.
//! - A failure that the history calls delivered is not restored. Attempts of a failure are counted on when it comes back
//!   by replay or import, so only an attempt after those that its row counts has ended its present life.
//! - New failures may be recorded meanwhile, with numbers from [`Terms::floor`] on, which no salvaged failure
//!   gets. A client whose record was refused when the damage was found sends it again before its key is
//!   known: such a second record gives way to the first one ([`clash`]).
//! - A failure's number is stored twice in its row, as the rowid and in a column, and as the rowid in every
//!   index. If another program has renumbered the rows, the column prevails.
//! - Lost failures are those that an index contains and no page, or by which the agent's count is higher.
//!
//! It runs step by step, each a short transaction, between other rounds. All steps are idempotent, so an interrupted
//! salvage starts over.

mod clash;
mod mend;
mod pages;
mod records;
mod tables;

#[cfg(test)]
#[path = "../salvage_tests.rs"]
mod tests;

use super::agent_row::Ledger;
use super::keys;
use super::pragma::drain;
use crate::config::Route;
use crate::ids::Seq;
use crate::moment::WallTime;
use crate::policy::upstream::Upstream;
use crate::record::{Disposition, PayloadKind};
use clash::Clash;
use pages::Pages;
use records::Record;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use tables::{Known, Row, Table, Tables};

/// Parameters of a salvage.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// The quarantine's name, for the audit.
    pub(super) name: String,
    /// Time of the salvage.
    pub(super) now: WallTime,
    /// The configured routes; some hold failures that may have arrived.
    pub(super) routes: Vec<Route>,
    /// Numbers from this one on belong to failures recorded meanwhile; `None`: there are none.
    pub(super) floor: Option<i64>,
    /// The state directory does not say which database was here; its own row may.
    pub(super) is_nameless: bool,
}

impl Terms {
    /// Returns whether a salvaged failure can have this number.
    fn is_old(&self, number: i64) -> bool {
        self.floor.is_none_or(|floor| number < floor)
    }
}

/// Result of a salvage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of failures that are live again.
    pub salvaged: u64,
    /// Number of failures that could not be read.
    pub lost: u64,
}

/// Why a salvage failed. Nothing is lost; it is repeated.
#[derive(Debug)]
pub(super) enum SalvageError {
    /// The quarantined file could not be opened.
    Read(io::Error),
    /// The present file could not be written.
    Write(rusqlite::Error),
}

impl From<rusqlite::Error> for SalvageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Write(error)
    }
}

/// Pages read or rows written in one step, which takes a few milliseconds because clients wait.
const STEP: u32 = 128;

/// Position of a failure's record.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The value of its column; once all pages are read, its number, if known.
    seq: Option<Seq>,
    rowid: i64,
    page: u32,
    cell: usize,
}

/// The next step of a salvage.
#[derive(Clone, Debug)]
enum Phase {
    /// Read all pages from this one on: locate failures, copy everything else.
    Survey { page: u32 },
    /// Copy failures in their order, from this position on.
    Failures { place: usize },
    /// Release the keys of lost failures, after this user's key.
    Keys { after: (i64, String) },
    /// Mark the oldest failures of their orders as heads, after this number.
    Order { after: i64 },
    /// Make everything durable.
    End,
}

/// A salvage in progress.
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
    /// Rowids of live failures, from an index; empty if the rows were renumbered.
    live: BTreeSet<i64>,
    /// Rowids are the failures' numbers: no other program has renumbered the rows.
    by_row: bool,
    agent: Option<Row>,
    /// The highest number seen anywhere.
    newest: i64,
    /// The latest agent time of any failure.
    latest: i64,
    /// Number of failures that the history calls delivered.
    delivered: u64,
    /// Number of failures that are live again.
    salvaged: u64,
    /// Number of rows added, minus those removed.
    added: i64,
    /// Records that came meanwhile with keys that were used before.
    clashes: Vec<Clash>,
}

impl Salvage {
    /// Starts with a file and its WAL.
    pub(super) fn begin(file: &Path, log: &Path, into: &Connection, terms: Terms) -> Result<Self, SalvageError> {
        let number = |sql: &str| into.query_row(sql, [], |row| row.get::<_, i64>(0));
        let there = "SELECT EXISTS (SELECT 1 FROM sync_failures WHERE rowid < ?1)";
        let floor = terms.floor.unwrap_or(i64::MAX);
        Ok(Self {
            pages: Pages::open(file, log).map_err(SalvageError::Read)?,
            terms,
            tables: Tables::of(into)?,
            phase: Phase::Survey { page: 1 },
            merges: into.query_row(there, [floor], |row| row.get(0))?,
            failures: Vec::new(),
            page: (0, Vec::new()),
            live: BTreeSet::new(),
            by_row: true,
            agent: None,
            newest: number("SELECT max(next_seq - 1, coalesce((SELECT max(rowid) FROM sync_failures), 0)) FROM agent")?,
            latest: 0,
            delivered: 0,
            salvaged: 0,
            added: 0,
            clashes: Vec::new(),
        })
    }

    /// Does one step; returns the result at the end. The agent's row equals `ledger` before and after it. After an
    /// error the salvage starts over.
    pub(super) fn step(&mut self, into: &Connection, ledger: &mut Ledger) -> Result<Option<Tally>, SalvageError> {
        // Nothing needs to be durable before the end, because an interrupted salvage starts over; the last commit syncs
        // all of it.
        let last = matches!(self.phase, Phase::End);
        if !last {
            drain(into, "PRAGMA synchronous = NORMAL")?;
        }
        let mut after = ledger.clone();
        self.newest = self.newest.max(ledger.newest_seq());
        let done = into.execute_batch("BEGIN IMMEDIATE").and_then(|()| self.advance(into, &mut after));
        let done = match done {
            Ok(tally) => into.execute_batch("COMMIT").map(|()| tally),
            Err(error) => {
                // The first error is returned; a failed rollback leaves no changes either.
                drop(into.execute_batch("ROLLBACK"));
                Err(error)
            }
        };
        // Records between two steps must be durable.
        drain(into, "PRAGMA synchronous = EXTRA")?;
        let done = done?;
        *ledger = after;
        Ok(done)
    }

    fn advance(&mut self, into: &Connection, ledger: &mut Ledger) -> rusqlite::Result<Option<Tally>> {
        let before = self.added;
        self.phase = match std::mem::replace(&mut self.phase, Phase::End) {
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
                if end < self.failures.len() {
                    Phase::Failures { place: end }
                } else {
                    self.added -= clash::settle(into, &self.clashes, &self.terms)?;
                    Phase::Keys { after: (i64::MIN, String::new()) }
                }
            }
            Phase::Keys { after } => match free_lost_keys(into, &after)? {
                Some(last) => Phase::Keys { after: last },
                None => Phase::Order { after: 0 },
            },
            Phase::Order { after } => match order_heads(into, after)? {
                Some(last) => Phase::Order { after: last },
                None => Phase::End,
            },
            Phase::End => {
                let tally = self.end(into)?;
                let of_file = Ledger::load(into)?;
                (ledger.live, ledger.next_seq) = (of_file.live, ledger.next_seq.max(of_file.next_seq));
                return Ok(Some(tally));
            }
        };
        ledger.live = ledger.live.saturating_add_signed(self.added - before);
        ledger.next_seq = ledger.next_seq.max(self.newest + 1);
        ledger.save_counts(into)?;
        Ok(None)
    }

    /// Reads a page.
    fn survey(&mut self, into: &Connection, page: u32) -> rusqlite::Result<()> {
        for (cell, record) in records::records(&self.pages, page).into_iter().enumerate() {
            match self.tables.know(&record) {
                Some(Known::Live { rowid }) => drop(self.live.insert(rowid)),
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

    /// After all pages were read: removes failures that the history calls delivered, and sorts the others by number.
    /// Those without a known number come last.
    fn sort(&mut self, into: &Connection) -> rusqlite::Result<()> {
        if self.merges && self.terms.floor.is_none() {
            let sql = "DELETE FROM sync_failures WHERE EXISTS (SELECT 1 FROM sync_attempts \
                       WHERE failure_id = sync_failures.id AND sync_attempts.seq = sync_failures.seq \
                       AND attempt > sync_failures.attempts AND class = ?1)";
            into.execute(sql, [Disposition::Delivered.as_str()])?;
        }
        self.know_numbers();
        let given = self.agent.as_ref().and_then(|row| row.integer("next_seq")).map(|next| next - 1);
        for place in &mut self.failures {
            place.seq = place.seq.filter(|seq| self.terms.is_old(seq.0));
        }
        let seen = self.failures.iter().filter_map(|place| place.seq).map(|seq| seq.0);
        self.newest = seen.chain(given).fold(self.newest, i64::max);
        self.failures.sort_unstable_by_key(|place| (place.seq.is_none(), place.seq, place.page, place.cell));
        Ok(())
    }

    /// Determines whether rowids are the failures' numbers, and the numbers that follow. If another program has
    /// renumbered the rows, most of them differ from their columns.
    fn know_numbers(&mut self) {
        let own = |place: &&Place| place.seq.is_some_and(|seq| seq.0 == place.rowid);
        let other = |place: &&Place| place.seq.is_some_and(|seq| seq.0 != place.rowid);
        self.by_row = self.failures.iter().filter(own).count() >= self.failures.iter().filter(other).count();
        if self.by_row {
            for place in &mut self.failures {
                place.seq = Some(Seq(place.rowid));
            }
        } else {
            self.live.clear();
        }
        self.newest = self.newest.max(self.live.last().copied().unwrap_or(0));
    }

    /// Finishes after all failures were copied.
    fn end(&mut self, into: &Connection) -> rusqlite::Result<Tally> {
        self.keep_agents_row(into)?;
        let tally = Tally { salvaged: self.salvaged, lost: self.lost() };
        self.audit(into, tally)?;
        Ok(tally)
    }

    fn bring(&mut self, into: &Connection, table: Table, rowid: Option<i64>, mut row: Row) -> rusqlite::Result<()> {
        self.newest = self.newest.max(row.integer("seq").filter(|seq| self.terms.is_old(*seq)).unwrap_or(0));
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
                    self.clashes.extend(Clash::of(into, &row)?);
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
        // If the index disagrees, the end of the row, which contains the number, is damaged.
        let whole = own.is_some() && indexed.is_none_or(|indexed| Some(indexed) == own);
        let seq = indexed.or(own).filter(|seq| self.terms.is_old(seq.0));
        let id = row.text("id").unwrap_or_default().to_owned();
        // Without its number of attempts, a delivery may be of an earlier life: sending again under the same key is safe,
        // losing is not.
        let delivered =
            "SELECT 1 FROM sync_attempts WHERE failure_id = ?1 AND seq = ?2 AND class = ?3 AND attempt > ?4";
        let known = params![id, seq.map(|seq| seq.0), Disposition::Delivered.as_str(), row.integer("attempts")];
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
        for name in ["recorded_at", "last_sent_at", "exhausted_at"] {
            self.latest = self.latest.max(row.integer(name).unwrap_or(0));
        }
        if row.insert(into)? {
            self.salvaged += 1;
            self.added += 1;
            if let Some(key) = keep_key(into, &row)? {
                self.clashes.extend(Clash::of(into, &key)?);
            }
        }
        Ok(())
    }

    /// Frees a number. Failures are copied in the order of their numbers, so a row that has this one or a higher one is
    /// an earlier row of the present file.
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

    /// Writes the agent's row: agent time continues, and no number is used twice.
    fn keep_agents_row(&self, into: &Connection) -> rusqlite::Result<()> {
        /// Numbers that may have been used without a trace, if the agent's row is lost.
        const UNSEEN: i64 = 10_000;
        let read = self.agent.as_ref();
        let integer = |name: &str| read.and_then(|row| row.integer(name));
        // With a floor, the next number is already above all that were used.
        let unseen = if read.is_some() || self.terms.floor.is_some() { 0 } else { UNSEEN };
        let agent_time = integer("agent_time").unwrap_or(self.latest);
        let wall_time = integer("wall_time").unwrap_or(self.terms.now.as_millis());
        let next_seq = self.newest + 1 + unseen;
        // Failures of two files may have been routed by different configurations.
        let routes = if self.merges { None } else { read.and_then(|row| row.text("routes")) };
        into.execute(
            "UPDATE agent SET wall_time = CASE WHEN agent_time < ?1 THEN ?2 ELSE wall_time END, \
             agent_time = max(agent_time, ?1), next_seq = max(next_seq, ?3), routes = coalesce(?4, ''), \
             live = (SELECT COUNT(*) FROM sync_failures) WHERE id = 1",
            params![agent_time, wall_time, next_seq, routes],
        )?;
        // The numbers continue, so the archive's lines are still those of this database.
        if let Some(id) = read.and_then(|row| row.text("instance")).filter(|id| Ledger::is_instance(id))
            && self.terms.is_nameless
            && !self.merges
        {
            Ledger::name_instance(into, Some(id))?;
        }
        Ok(())
    }

    /// The number that follows from a rowid.
    fn number_of(&self, rowid: i64) -> Option<Seq> {
        (self.by_row && rowid > 0).then_some(Seq(rowid))
    }

    fn lost(&self) -> u64 {
        let live = self.agent.as_ref().and_then(|row| row.integer("live"));
        let known = u64::try_from(self.live.len()).unwrap_or(u64::MAX);
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

/// Returns whether this history row exists already.
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

/// An existing key keeps its failure, but gets the outcome.
fn close_key(into: &Connection, row: &Row) -> rusqlite::Result<()> {
    let sql = "UPDATE idempotency_keys SET outcome = ?4, left_at = ?5 \
               WHERE source_uid = ?1 AND key = ?2 AND failure_id = ?3 AND outcome IS NULL";
    let (uid, key, id) = (row.integer("source_uid"), row.text("key"), row.text("failure_id"));
    into.prepare_cached(sql)?.execute(params![uid, key, id, row.text("outcome"), row.text("left_at")])?;
    Ok(())
}

/// Restores a failure's key if its own row is lost; returns the row if the key belongs to another failure.
fn keep_key(into: &Connection, row: &Row) -> rusqlite::Result<Option<Row>> {
    let text = |name| row.text(name).unwrap_or_default();
    // The application's own key, even if an edit has replaced it.
    let key = row.text("recorded_key").or(row.text("idempotency_key"));
    let (Some(uid), Some(key)) = (row.integer("source_uid"), key) else { return Ok(None) };
    let kind = PayloadKind::parse(text("payload_kind")).unwrap_or(PayloadKind::Text);
    let bytes = match row.get("payload") {
        Some(Value::Blob(bytes)) => Some(PayloadKind::of_bytes(bytes)),
        _ => None,
    };
    let payload = row.text("payload").map(|payload| (payload, kind));
    let payload = payload.or(bytes.as_ref().map(|(kept, kind)| (kept.as_ref(), *kind)));
    let content = keys::digest(text("entity_type"), text("entity_id"), text("action"), payload);
    // A key row that was cut off may refer to no failure.
    let sql = "INSERT INTO idempotency_keys (source_uid, key, failure_id, sha256) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (source_uid, key) DO UPDATE SET failure_id = excluded.failure_id, sha256 = excluded.sha256 \
               WHERE outcome IS NULL AND NOT EXISTS (SELECT 1 FROM sync_failures WHERE id = idempotency_keys.failure_id)";
    let kept = into.prepare_cached(sql)?.execute(params![uid, key, text("id"), content])?;
    Ok((kept == 0).then(|| Row::of_key(uid, key, text("id"), &content)))
}

/// Releases the next keys whose failures are lost; returns the last key that was checked, `None` at the end.
fn free_lost_keys(into: &Connection, (uid, key): &(i64, String)) -> rusqlite::Result<Option<(i64, String)>> {
    let last = "SELECT source_uid, key FROM (SELECT source_uid, key FROM idempotency_keys \
                WHERE (key, source_uid) > (?2, ?1) ORDER BY key, source_uid LIMIT ?3) \
                ORDER BY key DESC, source_uid DESC LIMIT 1";
    let read = |row: &rusqlite::Row| Ok((row.get(0)?, row.get::<_, String>(1)?));
    let last = into.prepare_cached(last)?.query_row(params![uid, key, STEP], read).optional()?;
    if let Some((to_uid, to_key)) = &last {
        let orphans = "DELETE FROM idempotency_keys WHERE (key, source_uid) > (?2, ?1) AND (key, source_uid) <= (?4, ?3) \
                    AND outcome IS NULL AND NOT EXISTS (SELECT 1 FROM sync_failures WHERE id = failure_id)";
        into.prepare_cached(orphans)?.execute(params![uid, key, to_uid, to_key])?;
    }
    Ok(last)
}

/// Marks the oldest of each order as its head, and no other, among the failures after `after`; returns the last number
/// that was checked, `None` at the end.
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
              WHERE older.order_key = sync_failures.order_key AND older.rowid < sync_failures.rowid) END, \
         strict = (SELECT count(*) FROM upstreams WHERE name = upstream AND ordering = 'strict') > 0 \
         WHERE rowid > ?1 AND rowid <= ?2",
    )?
    .execute([after, last])?;
    Ok(Some(last))
}

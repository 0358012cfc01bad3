//! Rows that cannot be read, or whose content is not what was recorded: moved out of the way one by one, so that
//! everything else continues.
//!
//! ```text
//! a reader meets one ──┐                                      ┌→ mended in its place (a failure: critical,
//!                      ├→ noted → copied to quarantine/…jsonl ┤   class `damaged`, for a person)
//! a search finds one ──┘           (synced)                   └→ removed (a failure: counted as lost)
//! ```
//!
//! Damage that SQLite itself detects concerns the whole file and is handled by [`quarantine`](super::quarantine). Here
//! the file is sound and a value is not: another program wrote it, or a bit has changed in a page.
//!
//! - A search reads all tables after the file was opened, after another program has written, and after a
//!   statement met an unreadable value. It reads a bounded number of rows at a time. It does not read
//!   payloads: these are compared with their hash before each attempt.
//! - Text that was stored as a BLOB becomes text again; nothing else is changed then.
//! - A failure keeps its place in the order if its id, entity and order can be read. It becomes critical, and
//!   blocks the failures behind it as every critical one does.

use super::cells::{Cell, OddRows};
use super::checksum::{self, Checked, Checksum};
use super::failures::Successor;
use super::files::give_to_owner;
use super::keys;
use super::open_error::OpenError;
use super::shape::{AGENT, FAILURES, Holds, KEYS, SHAPES, Shape, UPSTREAMS};
use super::{Store, StoreError, StoreSettings, numbers};
use crate::ids::{FailureId, Seq};
use crate::moment::{Moment, WallTime};
use crate::record::{OrderKey, PayloadKind};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;

/// `error_class` of a failure that is critical because a part of it is damaged.
pub const DAMAGED: &str = "damaged";

/// Maximum number of rows that one step of a search reads, and bytes of payloads that it may have to skip.
const SEARCHED: usize = 1000;
const PASSED_OVER: usize = 1 << 20;
/// Number of rows moved out of the way in one transaction.
const AT_ONCE: usize = 100;

/// A row, identified by its primary key or its rowid.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    shape: &'static Shape,
    key: Vec<Cell>,
}

/// Progress of a search.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Index into [`SHAPES`]; `None`: no search is running.
    table: Option<usize>,
    /// The last row read.
    after: Option<Vec<Cell>>,
    found: Vec<Place>,
    wrong_heads: WrongHeads,
    /// Rows that the open round moves out of the way, and how many of them come from `found`.
    taken: (Vec<Place>, usize),
}

/// Failures that are wrongly marked as heads, or wrongly not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WrongHeads {
    /// The first of an order is not marked.
    pub missing: bool,
    /// One is marked that is not the first.
    pub extra: bool,
}

/// The rows moved out of the way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TakenOut {
    /// The file below `quarantine/` with the original rows.
    pub file: String,
    /// Number of failures that became critical.
    pub salvaged: u64,
    /// Number of failures removed because they could not be identified.
    pub lost: u64,
    /// Number of rows of other tables.
    pub others: u64,
    /// Failures that must be routed again.
    pub touched: Vec<Seq>,
    /// Failures that follow a removed one.
    pub next: Vec<Successor>,
    /// The order key of a removed failure is unknown.
    pub reorder: bool,
    /// The routes or the ordering by which failures were placed are unknown.
    pub rehome: bool,
}

impl TakenOut {
    fn is_nothing(&self) -> bool {
        self.salvaged + self.lost + self.others == 0 && self.touched.is_empty() && !self.rehome
    }
}

/// A row with all its cells, in the order of its shape's columns.
struct Raw {
    place: Place,
    cells: Vec<Cell>,
}

/// A row to be repaired.
struct Repair {
    raw: Raw,
    /// Columns with invalid values.
    odd: Vec<&'static str>,
    /// Nothing is lost: texts were stored as BLOBs.
    plain: bool,
    /// The key that the failure was recorded under, from the table of keys.
    key: Option<String>,
}

impl Raw {
    fn cell(&self, name: &str) -> &Cell {
        let at = self.place.shape.columns.iter().position(|column| column.name == name);
        at.map_or(&Cell::Null, |at| &self.cells[at])
    }

    /// Returns whether this is a failure whose payload is binary, which is stored as a BLOB.
    fn holds_bytes(&self) -> bool {
        let is_bytes = self.cell("payload_kind").text() == Some(PayloadKind::Bytes.as_str());
        self.place.shape == &FAILURES && is_bytes && matches!(self.cell("payload"), Cell::Blob(_))
    }

    /// The names of columns with invalid values.
    fn odd(&self) -> Vec<&'static str> {
        let odd = |(column, cell): (&super::shape::Column, &Cell)| {
            if column.name == "payload" && self.holds_bytes() {
                return None;
            }
            let read = rusqlite::types::ToSql::to_sql(cell).ok();
            let takes = read.is_some_and(|read| match read {
                rusqlite::types::ToSqlOutput::Borrowed(value) => column.takes(value),
                _ => false,
            });
            (!takes).then_some(column.name)
        };
        self.place.shape.columns.iter().zip(&self.cells).filter_map(odd).collect()
    }

    /// The original row as one line of JSON.
    fn line(&self, now: WallTime, odd: &[&str]) -> String {
        let columns = self.place.shape.columns.iter().zip(&self.cells);
        let values: Map<String, Value> = columns.map(|(column, cell)| (column.name.to_owned(), shown(cell))).collect();
        let key: Vec<Value> = self.place.key.iter().map(shown).collect();
        let line = json!({"at": now.rfc3339(), "table": self.place.shape.name, "key": key, "odd": odd, "row": values});
        format!("{line}\n")
    }
}

/// Bytes that are not UTF-8 are written as `{"text_hex": …}` or `{"blob_hex": …}`.
fn shown(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => json!(number),
        Cell::Real(number) => json!({"real": number.to_string()}),
        Cell::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({"text_hex": hex(bytes)}),
        },
        Cell::Blob(bytes) => json!({"blob_hex": hex(bytes)}),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Appends rows to a file below `quarantine/`, synced; returns its name.
pub(super) fn keep_lines(settings: &StoreSettings, now: WallTime, lines: &str) -> Result<String, OpenError> {
    let name = format!("{}-rows.jsonl", now.rfc3339().replace(':', "-"));
    let (root, disk) = (settings.dir.join("quarantine"), &settings.disk);
    let file = root.join(&name);
    let keep = || -> io::Result<()> {
        if !root.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
            give_to_owner(&root, &settings.dir).map_err(io::Error::other)?;
        }
        (disk.sync_dir)(&settings.dir)?;
        (disk.append)(&file, lines.as_bytes())?;
        (disk.sync_dir)(&root)
    };
    keep().map_err(|why| OpenError::io("writing", &file, why))?;
    Ok(name)
}

/// Like [`keep_lines`], for one row of a table that is repaired while the file is opened.
pub(super) fn keep_row(
    settings: &StoreSettings,
    now: WallTime,
    table: &str,
    row: &[(&str, Cell)],
) -> Result<String, OpenError> {
    let values: Map<String, Value> = row.iter().map(|(name, cell)| ((*name).to_owned(), shown(cell))).collect();
    let line = json!({"at": now.rfc3339(), "table": table, "row": values});
    let name = keep_lines(settings, now, &format!("{line}\n"))?;
    log::error!("event=row_damaged table={table} kept=quarantine/{name}");
    Ok(name)
}

impl Store {
    /// Starts a search of all tables for unreadable rows.
    pub fn begin_search(&mut self) {
        (self.search.table, self.search.after) = (Some(0), None);
    }

    /// Returns whether a search is running.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.search.table.is_some()
    }

    /// Returns whether the search has not passed all failures yet, so that one that is wrongly marked as a head may be
    /// unknown.
    #[must_use]
    pub fn is_searching_failures(&self) -> bool {
        self.search.table.is_some_and(|table| SHAPES[table] == &FAILURES)
    }

    /// Takes what the search has found of wrong marks. The agent marks heads in the transaction that changes them, so
    /// another program has written.
    pub fn take_wrong_heads(&mut self) -> WrongHeads {
        std::mem::take(&mut self.search.wrong_heads)
    }

    /// Returns whether a row was noted that has to be moved out of the way.
    #[must_use]
    pub fn has_odd_rows(&self) -> bool {
        !self.odd.is_empty() || !self.search.found.is_empty()
    }

    /// Notes failures that a reader could not read; with an empty list, all tables are searched.
    pub fn note_odd(&mut self, failures: &[i64]) {
        failures.iter().for_each(|rowid| self.odd.note(*rowid));
        if failures.is_empty() {
            self.odd.note_elsewhere();
        }
    }

    /// Does one step of a search.
    pub fn search(&mut self) -> Result<(), StoreError> {
        if self.odd.take_elsewhere() {
            self.begin_search();
        }
        let mut left = SEARCHED;
        while let (Some(table), true) = (self.search.table, left > 0) {
            let shape = SHAPES[table];
            let from = self.search.after.clone();
            let (read, last) = self.search_table(shape, left)?;
            if shape == &FAILURES {
                self.compare_marks(number_in(from), number_in(last.clone()))?;
            }
            left = left.saturating_sub(read.max(1));
            self.search.after = last;
            if self.search.after.is_none() {
                self.search.table = Some(table + 1).filter(|next| *next < SHAPES.len());
            }
        }
        Ok(())
    }

    /// Searches rows of one table; returns how many were read, and the last one, if the table has more.
    fn search_table(&mut self, shape: &'static Shape, limit: usize) -> Result<(usize, Option<Vec<Cell>>), StoreError> {
        let sql = search_sql(shape, self.search.after.is_some());
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut values = self.search.after.clone().unwrap_or_default();
        let keys = key_of(shape).len();
        values.push(Cell::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        let mut rows = statement.query(params_from_iter(&values))?;
        let (mut read, mut passed, mut last) = (0, 0, None);
        while let Some(row) = rows.next()? {
            read += 1;
            let key = (0..keys).map(|n| row.get_ref(n).map(Cell::of)).collect::<rusqlite::Result<Vec<_>>>()?;
            let passed_over: i64 = row.get(keys)?;
            passed += usize::try_from(passed_over).unwrap_or(0);
            if !is_sound(shape, row, keys + 1)? {
                match &key[..] {
                    [Cell::Integer(rowid)] if shape == &FAILURES => self.odd.note(*rowid),
                    _ => self.search.found.push(Place { shape, key: key.clone() }),
                }
            }
            last = Some(key);
            if passed > PASSED_OVER || self.search.found.len() > AT_ONCE {
                return Ok((SEARCHED, last));
            }
        }
        Ok((read, last.filter(|_| read == limit)))
    }

    /// Notes whether a failure after the first number, up to the second, is marked as a head and is none, or the other
    /// way round, or has a number that is not its rowid. Without an order every failure is a head.
    fn compare_marks(&mut self, after: Option<i64>, up_to: Option<i64>) -> Result<(), StoreError> {
        let sql = "SELECT coalesce(max(head = 0), 0), coalesce(max(head = 1), 0), \
             EXISTS (SELECT 1 FROM sync_failures WHERE rowid > ?1 AND rowid <= ?2 AND rowid IS NOT seq \
             AND typeof(seq) = 'integer' AND seq BETWEEN 1 AND ?3) FROM sync_failures AS this WHERE rowid > ?1 AND rowid <= ?2 \
             AND head = CASE WHEN order_key IS NULL THEN EXISTS (SELECT 1 FROM sync_failures AS older \
             WHERE older.entity_type = this.entity_type AND older.entity_id = this.entity_id AND older.order_key IS NULL \
             AND older.rowid < this.rowid) ELSE EXISTS (SELECT 1 FROM sync_failures AS older \
             WHERE older.order_key = this.order_key AND older.rowid < this.rowid) END \
             AND NOT (head = 1 AND EXISTS (SELECT 1 FROM upstreams WHERE name = this.upstream AND ordering = 'none'))";
        let range = params![after.unwrap_or(i64::MIN), up_to.unwrap_or(i64::MAX), numbers::HIGHEST];
        let read = |row: &Row| Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?));
        let (missing, extra, misnumbered) = self.connection.prepare_cached(sql)?.query_row(range, read)?;
        self.search.wrong_heads.missing |= missing;
        self.search.wrong_heads.extra |= extra;
        if misnumbered {
            self.doubt_numbers();
        }
        Ok(())
    }

    /// Moves some of the noted rows out of the way; no round is open. Failures that are `busy`, because a request of
    /// them is in flight, are left for later. The round stays open for the work that follows, until
    /// [`taken_out`](Self::taken_out). `None`: there was nothing to do, and no round is open.
    pub fn take_out(&mut self, now: Moment, busy: impl Fn(Seq) -> bool) -> Result<Option<TakenOut>, StoreError> {
        let failures = self.odd.failures().into_iter().filter(|rowid| !busy(Seq(*rowid))).take(AT_ONCE);
        let mut places: Vec<Place> =
            failures.map(|rowid| Place { shape: &FAILURES, key: vec![Cell::Integer(rowid)] }).collect();
        let more = self.search.found.len().min(AT_ONCE);
        places.extend_from_slice(&self.search.found[..more]);
        if places.is_empty() {
            return Ok(None);
        }
        self.begin()?;
        let out = self.take_out_in_round(now, &places)?;
        if out.is_nothing() {
            self.rollback();
            self.search.found.drain(..more);
            places.iter().for_each(|place| settle(&self.odd, place));
            return Ok(None);
        }
        self.search.taken = (places, more);
        Ok(Some(out))
    }

    /// Ends the round of [`take_out`](Self::take_out).
    pub fn taken_out(&mut self, now: Moment) -> Result<(), StoreError> {
        let (places, more) = std::mem::take(&mut self.search.taken);
        self.commit(now)?;
        self.search.found.drain(..more);
        places.iter().for_each(|place| settle(&self.odd, place));
        Ok(())
    }

    fn take_out_in_round(&mut self, now: Moment, places: &[Place]) -> Result<TakenOut, StoreError> {
        let (mut out, mut lines, mut rows) = (TakenOut::default(), String::new(), Vec::new());
        for place in places {
            let Some(raw) = self.raw(place)? else { continue };
            let (odd, altered) = (raw.odd(), is_altered(&raw));
            if odd.is_empty() && !altered {
                continue;
            }
            let plain = !altered && odd.iter().all(|name| is_text_in_blob(&raw, name));
            if !plain {
                let changed = altered.then_some("content_checksum");
                lines.push_str(&raw.line(now.wall, &odd.iter().copied().chain(changed).collect::<Vec<_>>()));
            }
            rows.push(Repair { raw, odd, plain, key: None });
        }
        self.look_up_keys(&mut rows)?;
        if !lines.is_empty() {
            out.file =
                keep_lines(&self.settings, now.wall, &lines).map_err(|error| StoreError::NotKept(Box::new(error)))?;
        }
        for repair in &rows {
            self.put_right(now, repair, &mut out)?;
        }
        Ok(out)
    }

    /// A row's cells; `None` if it no longer exists.
    fn raw(&self, place: &Place) -> Result<Option<Raw>, StoreError> {
        let names = place.shape.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {names} FROM {} WHERE {}", place.shape.name, is_row(place.shape, 1));
        let read = |row: &Row| (0..place.shape.columns.len()).map(|n| row.get_ref(n).map(Cell::of)).collect();
        let mut statement = self.connection.prepare_cached(&sql)?;
        let cells: Option<Vec<Cell>> = statement.query_row(params_from_iter(&place.key), read).optional()?;
        Ok(cells.map(|cells| Raw { place: place.clone(), cells }))
    }

    fn put_right(&mut self, now: Moment, repair: &Repair, out: &mut TakenOut) -> Result<(), StoreError> {
        let Repair { raw, odd, plain, .. } = repair;
        let shape = raw.place.shape;
        if shape == &FAILURES {
            return self.put_failure_right(now, repair, out);
        }
        if shape == &AGENT && !odd.contains(&"id") {
            // All columns but one are written with each commit.
            self.keep_routes("")?;
            out.rehome = true;
        } else {
            let kept = if shape == &KEYS && !*plain { self.mended_key(raw, odd)? } else { mended(raw, odd) };
            out.rehome |= !self.write_back(raw, kept.as_deref())? && shape == &UPSTREAMS;
        }
        if !plain {
            out.others += 1;
            log::error!("event=row_damaged table={} columns={odd:?} kept=quarantine/{}", shape.name, out.file);
        }
        Ok(())
    }

    /// Writes a row's cells, or removes it; `false` if it was removed.
    fn write_back(&mut self, raw: &Raw, cells: Option<&[Cell]>) -> Result<bool, StoreError> {
        let (shape, key) = (raw.place.shape, &raw.place.key);
        if let Some(cells) = cells {
            let set = |(n, column): (usize, &super::shape::Column)| format!("{} = ?{}", column.name, n + 1);
            let set = shape.columns.iter().enumerate().map(set).collect::<Vec<_>>().join(", ");
            let row = is_row(shape, cells.len() + 1);
            // If the repaired key equals that of another row, the row is removed.
            let sql = format!("UPDATE OR IGNORE {} SET {set} WHERE {row}", shape.name);
            let written = self.connection.prepare_cached(&sql)?.execute(params_from_iter(cells.iter().chain(key)))? > 0;
            // The column's affinity may have converted the value.
            if written && self.raw(&place_after(&raw.place, cells))?.is_some_and(|now| now.odd().is_empty()) {
                return Ok(true);
            }
        }
        let sql = format!("DELETE FROM {} WHERE {}", shape.name, is_row(shape, 1));
        self.connection.prepare_cached(&sql)?.execute(params_from_iter(key))?;
        Ok(false)
    }

    // ---- failures

    fn put_failure_right(&mut self, now: Moment, repair: &Repair, out: &mut TakenOut) -> Result<(), StoreError> {
        let Repair { raw, odd, plain, .. } = repair;
        let [Cell::Integer(rowid)] = raw.place.key[..] else { return Ok(()) };
        let cells = if *plain { mended(raw, odd) } else { self.salvaged(now, rowid, repair)? };
        let id = raw.cell("id").text().unwrap_or_default().to_owned();
        if self.write_back(raw, cells.as_deref())? {
            out.touched.push(Seq(rowid));
        } else {
            self.ledger.live = self.ledger.live.saturating_sub(1);
            self.free_key(raw)?;
            match order_of(raw) {
                Some(order) => out.next.extend(self.successor(&order)?),
                None => out.reorder = true,
            }
            out.lost += 1;
            log::error!("event=failure_lost seq={rowid} id={id:?} columns={odd:?} kept=quarantine/{}", out.file);
        }
        if *plain {
            return Ok(());
        }
        if out.touched.last() == Some(&Seq(rowid)) {
            out.salvaged += 1;
            log::error!("event=failure_damaged seq={rowid} id={id:?} columns={odd:?} kept=quarantine/{}", out.file);
        }
        let what = if odd.is_empty() { "content".to_owned() } else { odd.join(", ") };
        let reason = format!("quarantine/{}: damaged: {what}", out.file);
        let sql = "INSERT INTO audit_log (at, actor_name, operation, failure_id, reason, seq, entity_type, entity_id, action) \
                   VALUES (?1, 'resyncd', 'quarantine', ?2, ?3, ?4, ?5, ?6, ?7)";
        let text = |name| raw.cell(name).lossy();
        let id = Some(id).filter(|id| !id.is_empty());
        let row = params![now.wall.sql(), id, reason, rowid, text("entity_type"), text("entity_id"), text("action")];
        self.connection.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    /// The cells of a failure that becomes critical; `None` if it cannot be identified.
    fn salvaged(&self, now: Moment, rowid: i64, repair: &Repair) -> Result<Option<Vec<Cell>>, StoreError> {
        let Repair { raw, odd, .. } = repair;
        if raw.cell("id").text().is_none_or(str::is_empty) {
            return Ok(None);
        }
        let is_lost = |name: &str| odd.contains(&name) && !is_text_in_blob(raw, name);
        if is_lost("order_key") {
            return Ok(None);
        }
        let Some(mut cells) = mended(raw, odd) else { return Ok(None) };
        let mut set = |name: &str, cell: Cell| {
            if let Some(at) = FAILURES.columns.iter().position(|column| column.name == name) {
                cells[at] = cell;
            }
        };
        let words = |text: &str| Cell::Text(text.as_bytes().to_vec());
        let Some(key) = key_after(repair) else { return Ok(None) };
        set("idempotency_key", key.clone());
        if odd.contains(&"seq") {
            set("seq", Cell::Integer(rowid));
        }
        if odd.contains(&"strict") {
            let sql = "SELECT EXISTS (SELECT 1 FROM upstreams WHERE name = ?1 AND ordering = 'strict')";
            let strict: bool = self.connection.query_row(sql, [raw.cell("upstream").text()], |row| row.get(0))?;
            set("strict", Cell::Integer(strict.into()));
        }
        if is_lost("recorded_key") {
            set("recorded_key", Cell::Null);
        }
        for name in ["created_at", "updated_at"] {
            if is_lost(name) {
                set(name, words(&now.wall.sql()));
            }
        }
        if raw.cell("error").text().is_none() {
            set("error", words("lost: the database was damaged"));
        }
        if raw.cell("action").text().is_none_or(str::is_empty) {
            set("action", words("UNKNOWN"));
        }
        for name in ["due_at", "next_retry_at", "refundable_under", "exhausted_at"] {
            set(name, Cell::Null);
        }
        if is_lost("retry_state") {
            set("retry_state", Cell::Null);
        }
        let (kind, sum) = content_after(raw, odd, key.text());
        set("payload_kind", kind);
        set("content_checksum", sum);
        set("status", words("critical"));
        set("error_class", words(DAMAGED));
        set("unsure", Cell::Integer(1));
        Ok(Some(cells))
    }

    /// Looks up the keys that damaged failures were recorded under. The table of keys has no index by failure, so it is
    /// read once for all of them.
    fn look_up_keys(&self, rows: &mut [Repair]) -> Result<(), StoreError> {
        let is_lost = |row: &&mut Repair| row.raw.place.shape == &FAILURES && !row.plain;
        let mut lost: Vec<&mut Repair> = rows.iter_mut().filter(is_lost).collect();
        let sql =
            "SELECT EXISTS (SELECT 1 FROM idempotency_keys WHERE key = ?1 AND failure_id = ?2 AND outcome IS NULL)";
        let mut intact = self.connection.prepare_cached(sql)?;
        for row in &mut lost {
            let (key, id) = (row.raw.cell("idempotency_key").text(), row.raw.cell("id").text());
            if key.is_some() && intact.query_row(params![key, id], |found| found.get(0))? {
                row.key = key.map(str::to_owned);
            }
        }
        lost.retain(|row| row.key.is_none());
        let ids: Vec<&str> = lost.iter().filter_map(|row| row.raw.cell("id").text()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let marks = vec!["?"; ids.len()].join(", ");
        let sql =
            format!("SELECT failure_id, key FROM idempotency_keys WHERE outcome IS NULL AND failure_id IN ({marks})");
        let mut statement = self.connection.prepare(&sql)?;
        let mut found = statement.query(params_from_iter(&ids))?;
        while let Some(row) = found.next()? {
            let (id, key) = (Cell::of(row.get_ref(0)?), Cell::of(row.get_ref(1)?).lossy());
            if let Some(row) = lost.iter_mut().find(|row| row.raw.cell("id").text() == id.text()) {
                row.key = key;
            }
        }
        Ok(())
    }

    /// Makes the key of a lost failure available again.
    fn free_key(&mut self, raw: &Raw) -> Result<(), StoreError> {
        let Some(id) = raw.cell("id").text() else { return Ok(()) };
        let sql = "DELETE FROM idempotency_keys WHERE failure_id = ?1 AND outcome IS NULL";
        self.connection.execute(sql, [id])?;
        Ok(())
    }

    // ---- keys

    /// The cells of a damaged key; `None` if it can no longer be used.
    fn mended_key(&self, raw: &Raw, odd: &[&str]) -> Result<Option<Vec<Cell>>, StoreError> {
        let Some(id) = raw.cell("failure_id").text() else { return Ok(None) };
        let live = self.connection.prepare_cached("SELECT rowid FROM sync_failures WHERE id = ?1")?;
        let mut live = live;
        let live: Option<i64> = live.query_row([id], |row| row.get(0)).optional()?;
        let mut raw = Raw { place: raw.place.clone(), cells: raw.cells.clone() };
        let mut set = |name: &str, cell: Cell| {
            if let Some(at) = KEYS.columns.iter().position(|column| column.name == name) {
                raw.cells[at] = cell;
            }
        };
        if odd.contains(&"sha256") {
            let place = live.map(|rowid| Place { shape: &FAILURES, key: vec![Cell::Integer(rowid)] });
            let failure = place.map(|place| self.raw(&place)).transpose()?.flatten();
            let Some(content) = failure.as_ref().and_then(|raw| {
                content_by(raw, kind_of(raw)?, |[kind, which, action], payload| {
                    keys::digest(kind, which, action, payload)
                })
            }) else {
                return Ok(None);
            };
            set("sha256", Cell::Blob(content.to_vec()));
        }
        if odd.contains(&"outcome") {
            let delivered = self.seq_of_delivered(&FailureId::new(id))?.is_some();
            match (live, delivered) {
                (Some(_), _) => set("outcome", Cell::Null),
                (None, true) => set("outcome", Cell::Text(b"delivered".to_vec())),
                (None, false) => return Ok(None),
            }
        }
        let odd = raw.odd();
        Ok(mended(&raw, &odd))
    }

    /// Repairs or removes one key, in the open round, because a client uses it.
    pub fn mend_key(&mut self, now: Moment, uid: u32, key: &str) -> Result<(), StoreError> {
        let place = Place { shape: &KEYS, key: vec![Cell::Text(key.as_bytes().to_vec()), Cell::Integer(uid.into())] };
        let out = self.take_out_in_round(now, &[place])?;
        self.told.push(out);
        Ok(())
    }

    /// Takes the rows moved out of the way other than by [`take_out`](Self::take_out), to be reported.
    pub fn take_told(&mut self) -> Vec<TakenOut> {
        std::mem::take(&mut self.told)
    }

    /// Failures after `after` that are first in their order and not heads; and the next `after`, `None` at the end.
    pub fn headless(&self, after: Seq, limit: usize) -> Result<(Vec<Successor>, Option<Seq>), StoreError> {
        let last = "SELECT max(number) FROM (SELECT rowid AS number FROM sync_failures WHERE rowid > ?1 \
                    ORDER BY rowid LIMIT ?2)";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let last: Option<i64> =
            self.connection.prepare_cached(last)?.query_row(params![after.0, limit], |row| row.get(0))?;
        let Some(last) = last else { return Ok((Vec::new(), None)) };
        let mut statement = self.connection.prepare_cached(
            "SELECT rowid, upstream, due_at, recorded_at, uncounted, head, last_sent_at, retry_after_until FROM sync_failures AS this \
             WHERE rowid > ?1 AND rowid <= ?2 AND head = 0 AND CASE WHEN order_key IS NULL THEN NOT EXISTS \
             (SELECT 1 FROM sync_failures AS older WHERE older.entity_type = this.entity_type \
             AND older.entity_id = this.entity_id AND older.order_key IS NULL AND older.rowid < this.rowid) \
             ELSE NOT EXISTS (SELECT 1 FROM sync_failures AS older \
             WHERE older.order_key = this.order_key AND older.rowid < this.rowid) END",
        )?;
        let mut rows = statement.query([after.0, last])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.extend(self.odd.read(row, 0, Successor::read(row))?);
        }
        Ok((found, Some(Seq(last))))
    }
}

/// The place of a row after its cells were written.
fn place_after(place: &Place, cells: &[Cell]) -> Place {
    let of =
        |name: &&str| place.shape.columns.iter().position(|column| column.name == *name).map(|at| cells[at].clone());
    let key = if place.shape.has_rowid() { None } else { place.shape.key.iter().map(of).collect() };
    Place { shape: place.shape, key: key.unwrap_or_else(|| place.key.clone()) }
}

/// The number of a failure's row.
fn number_in(key: Option<Vec<Cell>>) -> Option<i64> {
    match key?[..] {
        [Cell::Integer(rowid)] => Some(rowid),
        _ => None,
    }
}

fn settle(odd: &OddRows, place: &Place) {
    if let ([Cell::Integer(rowid)], true) = (&place.key[..], place.shape == &FAILURES) {
        odd.settled(*rowid);
    }
}

fn key_of(shape: &Shape) -> Vec<&'static str> {
    if shape.has_rowid() { vec!["rowid"] } else { shape.key.to_vec() }
}

/// The condition that selects one row, its parameters numbered from `first`.
fn is_row(shape: &Shape, first: usize) -> String {
    let term = |(n, name): (usize, &&str)| format!("{name} IS ?{}", first + n);
    key_of(shape).iter().enumerate().map(term).collect::<Vec<_>>().join(" AND ")
}

/// Selects the key, the bytes that are skipped, and all columns; of long texts only their type.
fn search_sql(shape: &Shape, goes_on: bool) -> String {
    let key = key_of(shape).join(", ");
    let is_long = |holds: Holds| holds == Holds::LongText;
    let long = shape.columns.iter().filter(|column| is_long(column.holds));
    let passed = long.fold("0".to_owned(), |sum, column| format!("{sum} + coalesce(octet_length({}), 0)", column.name));
    let column = |column: &super::shape::Column| {
        if column.name == "payload" {
            "CASE WHEN payload IS NULL THEN NULL WHEN typeof(payload) = 'text' \
             OR (typeof(payload) = 'blob' AND payload_kind IS 'bytes') THEN '' ELSE x'' END"
                .to_owned()
        } else if is_long(column.holds) {
            format!("CASE typeof({0}) WHEN 'text' THEN '' WHEN 'null' THEN NULL ELSE x'' END", column.name)
        } else {
            column.name.to_owned()
        }
    };
    let columns = shape.columns.iter().map(column).collect::<Vec<_>>().join(", ");
    let marks = vec!["?"; key_of(shape).len()].join(", ");
    let beyond = if goes_on { format!("WHERE ({key}) > ({marks})") } else { String::new() };
    format!("SELECT {key}, {passed}, {columns} FROM {} {beyond} ORDER BY {key} LIMIT ?", shape.name)
}

fn is_sound(shape: &Shape, row: &Row, first: usize) -> rusqlite::Result<bool> {
    for (n, column) in shape.columns.iter().enumerate() {
        if !column.takes(row.get_ref(first + n)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether this column holds a text that was stored as a BLOB.
fn is_text_in_blob(raw: &Raw, name: &str) -> bool {
    let column = raw.place.shape.columns.iter().find(|column| column.name == name);
    column.is_some_and(|column| column.as_text(raw.cell(name)).is_some())
}

/// The cells with replacements for invalid ones; `None`: the row is removed.
fn mended(raw: &Raw, odd: &[&str]) -> Option<Vec<Cell>> {
    let cell = |(column, cell): (&super::shape::Column, &Cell)| {
        if odd.contains(&column.name) { column.mended(cell) } else { Some(cell.clone()) }
    };
    raw.place.shape.columns.iter().zip(&raw.cells).map(cell).collect()
}

fn order_of(raw: &Raw) -> Option<OrderKey> {
    match raw.cell("order_key") {
        Cell::Null => {
            let (kind, which) = (raw.cell("entity_type").text()?, raw.cell("entity_id").text()?);
            Some(OrderKey::Entity(kind.to_owned(), which.to_owned()))
        }
        cell => cell.text().map(|key| OrderKey::Given(key.to_owned())),
    }
}

fn kind_of(raw: &Raw) -> Option<PayloadKind> {
    PayloadKind::parse(raw.cell("payload_kind").text().unwrap_or("text"))
}

/// What `of` makes of entity type, entity id and action, and of the payload as if it were of this kind; `None` where
/// the content cannot be read.
fn content_by<T>(raw: &Raw, kind: PayloadKind, of: impl Fn([&str; 3], Option<(&str, PayloadKind)>) -> T) -> Option<T> {
    let text = |name: &str| raw.cell(name).text();
    let payload = match (raw.cell("payload"), kind) {
        (Cell::Null, _) => None,
        (Cell::Blob(bytes) | Cell::Text(bytes), PayloadKind::Bytes) => Some(PayloadKind::of_bytes(bytes).0),
        (payload, _) => Some(payload.text()?.into()),
    };
    let payload = payload.as_deref().map(|payload| (payload, kind));
    Some(of([text("entity_type")?, text("entity_id")?, text("action")?], payload))
}

/// The checksum of a failure under this key.
fn checksum_by(raw: &Raw, kind: PayloadKind, key: Option<&str>) -> Option<Checksum> {
    let id = raw.cell("id").text()?;
    content_by(raw, kind, |names, payload| checksum::of(&Checked { id, key, names, payload }))
}

/// Returns whether a failure's content can be read and is not what was recorded.
fn is_altered(raw: &Raw) -> bool {
    let (Cell::Integer(stored), true) = (raw.cell("content_checksum"), raw.place.shape == &FAILURES) else {
        return false;
    };
    let is = || checksum_by(raw, kind_of(raw)?, raw.cell("idempotency_key").text());
    *stored != checksum::UNREADABLE && is().is_some_and(|is| is != *stored)
}

/// The cell for the key of a salvaged failure; `None` if the key is not known. The failure may have arrived under its
/// key, and must not be sent under another one.
fn key_after(repair: &Repair) -> Option<Cell> {
    let Repair { raw, odd, key: recorded, .. } = repair;
    let recorded = recorded.as_ref().map(|key| Cell::Text(key.as_bytes().to_vec()));
    let key = raw.cell("idempotency_key");
    if odd.contains(&"idempotency_key") && !is_text_in_blob(raw, "idempotency_key") {
        // If no application gave it a key, it was always sent under its id.
        return recorded.or_else(|| (key.text() == Some("")).then_some(Cell::Null));
    }
    // Unless an edit has replaced the application's key, it is the one in the table of keys.
    let may_be_recorded = raw.cell("recorded_key") == &Cell::Null;
    recorded.filter(|_| may_be_recorded).or_else(|| Some(key.text().map_or(Cell::Null, |key| Cell::Text(key.into()))))
}

/// Kind and checksum of a salvaged failure's payload. A person may send what can be read; where that is only a part,
/// the checksum is that of no content, so that it is not sent before an edit has corrected it.
fn content_after(raw: &Raw, odd: &[&str], key: Option<&str>) -> (Cell, Cell) {
    let words = |kind: PayloadKind| Cell::Text(kind.as_str().as_bytes().to_vec());
    let stored = match raw.cell("content_checksum") {
        Cell::Integer(stored) => Some(*stored),
        _ => None,
    };
    let sum_as = |kind| checksum_by(raw, kind, key);
    let cell = |sum: Option<Checksum>| sum.map_or(Cell::Null, Cell::Integer);
    let is_lost = |name: &str| odd.contains(&name) && !is_text_in_blob(raw, name);
    let text = raw.cell("payload").text();
    if is_lost("payload") || is_lost("action") || stored == Some(checksum::UNREADABLE) {
        return (words(PayloadKind::Text), Cell::Integer(checksum::UNREADABLE));
    }
    if raw.holds_bytes() {
        return (words(PayloadKind::Bytes), cell(sum_as(PayloadKind::Bytes)));
    }
    let Some(text) = text else {
        return (Cell::Null, cell(sum_as(PayloadKind::Text)));
    };
    let recorded = raw.cell("payload_kind").text().and_then(PayloadKind::parse);
    // Where the kind is lost, the checksum tells which it was.
    let by_sum =
        [PayloadKind::Json, PayloadKind::Text].into_iter().find(|kind| stored.is_some() && sum_as(*kind) == stored);
    let is_json = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    let kind = match by_sum.or(recorded) {
        Some(PayloadKind::Json) | None if is_json => PayloadKind::Json,
        _ => PayloadKind::Text,
    };
    (words(kind), cell(sum_as(kind)))
}

/// Returns whether the file has a table of this name.
pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    connection.query_row(sql, [name], |row| row.get(0))
}

//! The read-only side: queries over the whole table, beside the loop or without a daemon.
//!
//! A [`Reader`] has its own connection; WAL lets it read a consistent state while the writer continues. Its
//! transactions end with each query, so that it never blocks a checkpoint for long.

use super::agent_row::Ledger;
use super::cells::{OddRows, readable, text, text_or_null, unless_odd};
use super::filter::{Condition, condition};
use super::open_error::OpenError;
use super::rows::{
    CREATED_AT, FailureDetail, Found, ROWID, as_limit, columns, head_of, id_of, look, noted_failure, order_condition,
};
use super::{StoreError, StoreSettings};
use crate::figures::ByStatus;
use crate::ids::{FailureId, FailureName, Seq};
use crate::limits::{BUSY_TIMEOUT, MAX_PAGE_BYTES, MAX_UNSENT_TYPES};
use crate::policy::upstream::Upstream;
use crate::question::{Direction, Filter, ListCursor, ListQuery};
use crate::record::{Failure, OrderKey, Status};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, params_from_iter};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// Maximum failures that need a person in memory at once.
const FEW_STUCK: usize = 10_000;

/// Values of other types than text are not times.
pub(super) const OLDEST: &str = "SELECT retry_count, created_at, rowid FROM sync_failures \
                                 INDEXED BY sync_failures_retry WHERE retry_count > ?1 AND created_at > '' \
                                 ORDER BY retry_count, created_at LIMIT 1";

/// A read-only connection.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    /// Rows that could not be read.
    pub(super) odd: OddRows,
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// The failures, each with the head of its order key if that is another failure.
    pub failures: Vec<(Failure, Option<FailureId>)>,
    /// Number of matching failures on all pages, if requested.
    pub total: Option<u64>,
    /// The last failure, after which the next page begins.
    pub next: Option<ListCursor>,
}

/// Summary of failures that were not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Live failures by type, of the first [`MAX_UNSENT_TYPES`] types.
    pub by_type: Vec<(String, u64)>,
    /// Live failures of all other types.
    pub of_others: u64,
    /// Number of critical and held failures, and of those behind them.
    pub needs_person: u64,
    /// When the oldest was recorded.
    pub oldest_created_at: Option<String>,
}

impl Reader {
    /// Opens the file, which must exist, for reading.
    pub fn open(settings: &StoreSettings) -> Result<Self, OpenError> {
        let file = settings.file();
        let opened = |why| OpenError::sqlite("opening", &file, why);
        let connection =
            Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(opened)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(opened)?;
        super::pragma::drain(&connection, "PRAGMA temp_store = MEMORY").map_err(opened)?;
        super::pragma::drain(&connection, "PRAGMA trusted_schema = OFF").map_err(opened)?;
        Ok(Self { connection, odd: OddRows::default() })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The noted unreadable rows, as an error from which the agent learns of them.
    #[must_use]
    pub fn odd_rows(&self) -> Option<StoreError> {
        if self.odd.is_empty() {
            return None;
        }
        let failures = if self.odd.take_elsewhere() { Vec::new() } else { self.odd.failures() };
        Some(StoreError::Odd { why: "a column holds a value that is not its own".to_owned(), failures })
    }

    /// `list`
    pub fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let filter = condition(&query.filter);
        let count = format!("SELECT COUNT(*) FROM sync_failures WHERE {}", filter.sql);
        let count = || self.connection.query_row(&count, params_from_iter(&filter.values), |row| row.get(0));
        let total = if query.total { Some(count()?) } else { None };
        let (sql, values) = page_of(query, filter);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut page = Page { total, ..Page::default() };
        let (mut bytes, mut read, mut last) = (0, 0, None);
        while let Some(row) = rows.next()? {
            read += 1;
            let at = if query.is_by_time() { Some(readable(row, CREATED_AT)?.unwrap_or_default()) } else { None };
            let before = last.replace(ListCursor { at, seq: Seq(row.get(ROWID)?) });
            let Some(mut found) = unless_odd(noted_failure(row, &self.odd))? else { continue };
            if let (false, Some((text, _))) = (query.payload, &mut found.payload) {
                *text = String::new(); // Its kind is still shown, and its memory is free.
            }
            bytes += weight(&found);
            if page.failures.len() == query.limit || (bytes > MAX_PAGE_BYTES && !page.failures.is_empty()) {
                page.next = before;
                break;
            }
            let head = if found.head { None } else { head_of(&self.connection, &found.order())? };
            page.failures.push((found, head));
        }
        // If rows were skipped, there may be more.
        if page.next.is_none() && read > query.limit {
            page.next = last;
        }
        Ok(page)
    }

    /// The oldest live failure of each upstream with strict order.
    pub fn fronts(&self) -> Result<BTreeMap<String, (Seq, FailureId)>, StoreError> {
        let mut statement = self.connection.prepare("SELECT name FROM upstreams WHERE ordering = 'strict'")?;
        let names = statement.query_map([], |row| self.odd.read_elsewhere(text(row, 0)))?;
        let names: Vec<String> = names.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let oldest = "SELECT id, rowid FROM sync_failures INDEXED BY sync_failures_strict \
                      WHERE strict = 1 AND upstream = ?1 ORDER BY rowid LIMIT 1";
        let mut oldest = self.connection.prepare_cached(oldest)?;
        let mut fronts = BTreeMap::new();
        for name in names {
            let read = |row: &Row| Ok((Seq(row.get(1)?), id_of(row)?));
            if let Some(front) = oldest.query_row([&name], read).optional()? {
                fronts.insert(name, front);
            }
        }
        Ok(fronts)
    }

    /// The live failure that a name identifies.
    pub fn look(&self, name: &FailureName) -> Result<Found<Box<FailureDetail>>, StoreError> {
        Ok(look(&self.connection, name, &self.odd)?)
    }

    /// The agent's own row.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        Ok(Ledger::load(&self.connection)?)
    }

    /// Selects the numbers for a bulk operation.
    pub fn select(&self, filter: &Filter, after: Seq, limit: usize) -> Result<Vec<Seq>, StoreError> {
        self.numbers(filter, "rowid > ? ORDER BY rowid", after, limit)
    }

    /// Like [`select`](Self::select), from the newest on.
    pub fn select_before(&self, filter: &Filter, before: Seq, limit: usize) -> Result<Vec<Seq>, StoreError> {
        self.numbers(filter, "rowid < ? ORDER BY rowid DESC", before, limit)
    }

    fn numbers(&self, filter: &Filter, order: &str, from: Seq, limit: usize) -> Result<Vec<Seq>, StoreError> {
        let filter = condition(filter);
        let mut values: Vec<Value> = filter.values.into_iter().map(Value::from).collect();
        values.push(Value::from(from.0));
        values.push(Value::from(as_limit(limit)));
        let sql = format!("SELECT rowid FROM sync_failures WHERE {} AND {order} LIMIT ?", filter.sql);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let seqs = statement.query_map(params_from_iter(values), |row| row.get(0).map(Seq))?;
        Ok(seqs.collect::<Result<_, _>>()?)
    }

    /// Number of live failures by status.
    pub fn counts(&self) -> Result<ByStatus, StoreError> {
        let count =
            |sql: &str| -> Result<u64, StoreError> { Ok(self.connection.query_row(sql, [], |row| row.get(0))?) };
        let critical = count("SELECT COUNT(*) FROM sync_failures WHERE status <> 'pending' AND status = 'critical'")?;
        let held = count("SELECT COUNT(*) FROM sync_failures WHERE status <> 'pending' AND status = 'held'")?;
        let all = count("SELECT COUNT(*) FROM sync_failures")?;
        Ok(ByStatus { pending: all.saturating_sub(critical + held), critical, held })
    }

    /// The number of the live failure with the earliest time of recording, and that time. An imported failure may be
    /// older than those with smaller numbers.
    pub(super) fn oldest(&self) -> Result<Option<(Seq, String)>, StoreError> {
        // Each step finds the earliest of the next count along the index; there are as many counts as retries.
        let mut statement = self.connection.prepare_cached(OLDEST)?;
        let (mut oldest, mut above): (Option<(Seq, String)>, i64) = (None, i64::MIN);
        let read = |row: &Row| Ok((row.get::<_, i64>(0)?, Seq(row.get(2)?), text(row, 1)?));
        while let Some(Some((count, seq, at))) =
            statement.query_row([above], |row| self.odd.read(row, 2, read(row))).optional()?
        {
            above = count;
            if oldest.as_ref().is_none_or(|(_, earliest)| at < *earliest) {
                oldest = Some((seq, at));
            }
        }
        Ok(oldest)
    }

    /// When the oldest live failure was recorded.
    pub fn oldest_created_at(&self) -> Result<Option<String>, StoreError> {
        Ok(self.oldest()?.map(|(_, at)| at))
    }

    /// `unsent`
    pub fn unsent(&self) -> Result<Unsent, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT entity_type, COUNT(*) FROM sync_failures INDEXED BY sync_failures_entity GROUP BY entity_type",
        )?;
        let mut unsent = Unsent::default();
        let mut rows = statement.query([])?;
        // An application may record a million different types.
        while let Some(row) = rows.next()? {
            if unsent.by_type.len() < MAX_UNSENT_TYPES {
                unsent.by_type.push((readable(row, 0)?.unwrap_or_default(), row.get(1)?));
            } else {
                unsent.of_others += row.get::<_, u64>(1)?;
            }
        }
        Ok(Unsent { needs_person: self.needs_person()?, oldest_created_at: self.oldest_created_at()?, ..unsent })
    }

    /// Number of critical and held failures, and of all that wait for one of them: by their order key, or because their
    /// upstream has a strict order.
    fn needs_person(&self) -> Result<u64, StoreError> {
        self.stuck(FEW_STUCK)
    }

    /// The same. Up to `few` of them are held in memory, each with its order key; where there are more, all live
    /// failures are read.
    fn stuck(&self, few: usize) -> Result<u64, StoreError> {
        let person = "FROM sync_failures INDEXED BY sync_failures_person WHERE status <> 'pending'";
        let first = self.connection.query_row(&format!("SELECT min(rowid) {person}"), [], |row| row.get(0))?;
        let Some(first): Option<i64> = first else { return Ok(0) };
        let strict = self.ordered("strict")?;
        if !strict.is_empty() {
            return self.stuck_from(first, &strict);
        }
        let free = !self.ordered("none")?.is_empty();
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT rowid, entity_type, entity_id, order_key {person} LIMIT ?1"))?;
        let mut rows = statement.query([as_limit(few + 1)])?;
        let (mut stuck, mut read): (Vec<(i64, OrderKey)>, usize) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            read += 1;
            if let Some(order) = self.odd.read(row, 0, order_of(row, 1))? {
                stuck.push((row.get(0)?, order));
            }
        }
        if read > few {
            drop(stuck);
            return Ok(self.stuck_by_key(free)? + self.stuck_by_entity(free)?);
        }
        stuck.sort_unstable_by_key(|(seq, _)| *seq);
        let (mut seen, mut behind) = (HashSet::new(), 0);
        for (seq, order) in &stuck {
            if seen.insert(order) {
                behind += self.count_from(order, *seq, free)?;
            }
        }
        Ok(behind)
    }

    /// Those with an order key of their own, one key after the other in the order of the index.
    fn stuck_by_key(&self, free: bool) -> Result<u64, StoreError> {
        let sql = "SELECT rowid, status, head, entity_type, entity_id, order_key FROM sync_failures \
                   INDEXED BY sync_failures_order WHERE order_key IS NOT NULL ORDER BY order_key, rowid";
        self.stuck_in_turn(sql, free)
    }

    /// The others, one entity after the other.
    fn stuck_by_entity(&self, free: bool) -> Result<u64, StoreError> {
        let sql = "SELECT rowid, status, head, entity_type, entity_id, order_key FROM sync_failures \
                   INDEXED BY sync_failures_entity WHERE order_key IS NULL \
                   ORDER BY entity_type, entity_id, order_key, rowid";
        self.stuck_in_turn(sql, free)
    }

    /// Of each order those from the first on that needs a person. The statement reads one order after the other.
    fn stuck_in_turn(&self, sql: &str, free: bool) -> Result<u64, StoreError> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let (mut stuck, mut count): (Option<OrderKey>, u64) = (None, 0);
        while let Some(row) = rows.next()? {
            let read = || Ok((text(row, 1)?, row.get::<_, bool>(2)?, order_of(row, 3)?));
            let Some((status, head, order)) = self.odd.read(row, 0, read())? else { continue };
            let pending = status == Status::Pending.as_str();
            if stuck.as_ref() != Some(&order) {
                if pending {
                    continue;
                }
                stuck = Some(order);
            }
            if !(free && pending && head) {
                count += 1;
            }
        }
        Ok(count)
    }

    /// The upstreams with this ordering.
    fn ordered(&self, ordering: &str) -> Result<HashSet<String>, StoreError> {
        let mut statement = self.connection.prepare("SELECT name FROM upstreams WHERE ordering = ?1")?;
        Ok(statement.query_map([ordering], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Number of waiting failures of an order key from `seq` on. If an upstream has no order, a pending failure that is
    /// a head behind another does not wait.
    fn count_from(&self, order: &OrderKey, seq: i64, free: bool) -> Result<u64, StoreError> {
        let (condition, values) = order_condition(order);
        let mut all: Vec<Value> = values.into_iter().map(|value| Value::from(value.to_owned())).collect();
        all.push(Value::from(seq));
        let waits = if free { " AND (head = 0 OR status <> 'pending')" } else { "" };
        let sql = format!("SELECT COUNT(*) FROM sync_failures WHERE {condition} AND rowid >= ?{waits}");
        Ok(self.connection.prepare_cached(&sql)?.query_row(params_from_iter(all), |row| row.get(0))?)
    }

    /// Number of failures that wait from the first critical or held one on, where upstreams are strict. Only older
    /// failures can block a failure, so one pass in the order of the numbers finds all, also where order keys lead from
    /// one upstream to another.
    fn stuck_from(&self, first: i64, strict: &HashSet<String>) -> Result<u64, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT status, head, upstream, entity_type, entity_id, order_key FROM sync_failures WHERE rowid >= ? \
             ORDER BY rowid",
        )?;
        let mut rows = statement.query([first])?;
        // Hashes use bounded memory instead of the keys, of which there may be a million.
        let (mut orders, mut upstreams, mut count) = (HashSet::<u64>::new(), HashSet::<String>::new(), 0);
        let hashes = BuildHasherDefault::<DefaultHasher>::default();
        while let Some(row) = rows.next()? {
            let read =
                || Ok((text(row, 0)?, row.get(1)?, text_or_null(row, 2)?.unwrap_or_default(), order_of(row, 3)?));
            let Some((status, head, upstream, order)) = unless_odd(read())? else { continue };
            let (order, head): (u64, bool) = (hashes.hash_one(order), head);
            let behind = upstreams.contains(&upstream) || (!head && orders.contains(&order));
            if status != Status::Pending.as_str() || behind {
                count += 1;
                orders.insert(order);
                if strict.contains(&upstream) {
                    upstreams.insert(upstream);
                }
            }
        }
        Ok(count)
    }

    /// The ids that a name may identify, live or removed, at most `limit`.
    pub fn named(&self, name: &FailureName, limit: usize) -> Result<Vec<FailureId>, StoreError> {
        let id = id_of;
        match name {
            FailureName::Number(seq) => {
                let mut live = self.connection.prepare_cached("SELECT id FROM sync_failures WHERE rowid = ?1")?;
                let live = live.query_row([seq.0], id).optional()?;
                let gone = "SELECT failure_id FROM sync_attempts WHERE seq = ?1 \
                            UNION ALL SELECT failure_id FROM audit_log WHERE seq = ?1 LIMIT 1";
                Ok(match live {
                    Some(found) => vec![found],
                    None => self.connection.query_row(gone, [seq.0], id).optional()?.into_iter().collect(),
                })
            }
            FailureName::Id(text) | FailureName::Beginning(text) => {
                let whole = matches!(name, FailureName::Id(_)) || text.len() < FailureName::SHORTEST_PREFIX;
                let above = if whole { format!("{text}\0") } else { format!("{text}\u{10ffff}") };
                let mut statement = self.connection.prepare(
                    "SELECT id FROM sync_failures WHERE id >= ?1 AND id < ?2 \
                     UNION SELECT failure_id FROM sync_attempts WHERE failure_id >= ?1 AND failure_id < ?2 \
                     UNION SELECT failure_id FROM audit_log WHERE failure_id >= ?1 AND failure_id < ?2 LIMIT ?3",
                )?;
                let ids =
                    statement.query_map(params![text, above, as_limit(limit)], id)?.collect::<Result<Vec<_>, _>>()?;
                // A complete id is exact, even if another id begins with it.
                Ok(match ids.iter().find(|id| id.as_str() == text) {
                    Some(exact) => vec![exact.clone()],
                    None => ids,
                })
            }
        }
    }

    /// The upstreams' stored states, for commands without the daemon.
    pub fn upstreams(&self) -> Result<Vec<(String, Upstream)>, StoreError> {
        let mut statement = self.connection.prepare("SELECT name, state FROM upstreams ORDER BY name")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let read = || Ok((text(row, 0)?, text(row, 1)?));
            let Some((name, state)) = self.odd.read_elsewhere(read())? else { continue };
            if let Ok(upstream) = serde_json::from_str(&state) {
                found.push((name, upstream));
            }
        }
        Ok(found)
    }

    /// Bytes of the pages in use, without the reserve for a full disk.
    pub fn database_bytes(&self) -> Result<u64, StoreError> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, u64>(0));
        let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        let reserve = number("SELECT coalesce(sum(length(room)), 0) FROM reserve")?;
        Ok((pages * number("PRAGMA page_size")?).saturating_sub(reserve))
    }
}

/// The order key in these columns: type, id and key.
fn order_of(row: &Row, from: usize) -> rusqlite::Result<OrderKey> {
    Ok(match text_or_null(row, from + 2)? {
        Some(key) => OrderKey::Given(key),
        None => OrderKey::Entity(text(row, from)?, text(row, from + 1)?),
    })
}

/// The statement of a page of a list, with one failure more, and its values.
fn page_of(query: &ListQuery, filter: Condition) -> (String, Vec<Value>) {
    let (beyond, order) = match query.direction {
        Direction::Ascending => (">", "ASC"),
        Direction::Descending => ("<", "DESC"),
    };
    let mut values: Vec<Value> = filter.values.into_iter().map(Value::from).collect();
    let mut sql = concat!("SELECT ", columns!(), " FROM sync_failures").to_owned();
    let place = if query.is_by_time() {
        sql.push_str(" INDEXED BY sync_failures_cases");
        ["created_at", "rowid"].as_slice()
    } else {
        &["rowid"]
    };
    sql.push_str(" WHERE ");
    sql.push_str(&filter.sql);
    if let Some(ListCursor { at, seq }) = &query.after {
        values.extend(at.clone().filter(|_| query.is_by_time()).map(Value::from));
        values.push(Value::from(seq.0));
        let marks = vec!["?"; place.len()].join(", ");
        // Writing to a String cannot fail.
        let _ = write!(sql, " AND ({}) {beyond} ({marks})", place.join(", "));
    }
    let _ = write!(sql, " ORDER BY {} {order} LIMIT ?", place.join(&format!(" {order}, ")));
    values.push(Value::from(as_limit(query.limit + 1)));
    (sql, values)
}

/// Approximate bytes of a failure in a reply.
fn weight(failure: &Failure) -> usize {
    let payload = failure.payload.as_ref().map_or(0, |(text, _)| text.len());
    payload + failure.error.len() + failure.entity_id.len() + failure.order_key.as_ref().map_or(0, String::len) + 700
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::moment::WallTime;
    use crate::store::Store;

    /// Cases are listed by their age along an index, however many there are.
    #[test]
    fn no_page_of_cases_is_sorted() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        drop(Store::open(settings.clone(), WallTime::from_millis(0)).expect("a store"));
        let reader = Reader::open(&settings).expect("a reader");
        for status in [Some(Status::Held), Some(Status::Critical)] {
            for direction in [Direction::Ascending, Direction::Descending] {
                let filter = Filter { status, entity_type: Some("SALE".into()), ..Filter::default() };
                let after = Some(ListCursor { at: Some("2026-11-24".into()), seq: Seq(7) });
                let query = ListQuery { filter, after, direction, ..ListQuery::default() };
                let (sql, values) = page_of(&query, condition(&query.filter));
                let mut statement = reader.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(&sql);
                let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).expect(&sql);
                for step in steps.map(|step| step.expect("a step")) {
                    assert!(!step.contains("TEMP B-TREE"), "{sql}: {step}");
                }
            }
        }
    }

    /// However few of them are held in memory, the same number needs a person.
    #[test]
    fn those_who_need_a_person_are_counted_the_same_with_little_memory() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        drop(Store::open(settings.clone(), WallTime::from_millis(1_795_500_000_000)).expect("a store"));
        let writer = Connection::open(settings.file()).expect("the file");
        let mut random = fastrand::Rng::with_seed(7);
        let reader = Reader::open(&settings).expect("a reader");
        for ordering in ["key", "none"] {
            let upstream =
                "INSERT OR REPLACE INTO upstreams (name, state, ordering, updated_at) VALUES ('hq', '{}', ?1, 'x')";
            writer.execute(upstream, [ordering]).expect("an upstream");
            for _ in 0..20 {
                writer.execute("DELETE FROM sync_failures", []).expect("none is left");
                for seq in 1..=200_i64 {
                    let status = ["pending", "pending", "pending", "held", "critical"][random.usize(..5)];
                    let entity = random.u32(..30).to_string();
                    let key = (random.u8(..3) == 0).then(|| random.u32(..10).to_string());
                    let sql = "INSERT INTO sync_failures (rowid, seq, id, entity_type, entity_id, action, error, \
                               status, recorded_at, order_key, terminal_id, head, uncounted, upstream) \
                               VALUES (?1, ?1, 'id-' || ?1, 'SALE', ?2, 'CREATE', 'e', ?3, 0, ?4, 't', ?5, 0, 'hq')";
                    writer.execute(sql, params![seq, entity, status, key, random.bool()]).expect("a row");
                }
                let all = reader.stuck(1000).expect("a count");
                assert!(all > 0);
                assert_eq!((reader.stuck(0).expect("a count"), reader.stuck(1).expect("a count")), (all, all));
            }
        }
    }
}

//! The read-only side: questions over the whole table, beside the loop or without a daemon.
//!
//! A [`Reader`] has its own connection; WAL lets it read a consistent state while the writer goes
//! on. No transaction of it outlives a question, so that it never holds up a checkpoint for long.

use super::filter::condition;
use super::ledger::Ledger;
use super::open::OpenError;
use super::rows::{Found, Numbered, as_limit, columns, failure, head_of, look, order_condition};
use super::{StoreError, StoreSettings};
use crate::figures::ByStatus;
use crate::ids::{FailureId, FailureName, Seq};
use crate::limits::{BUSY_PATIENCE, MAX_PAGE_BYTES};
use crate::policy::upstream::Upstream;
use crate::question::{Direction, Filter, ListQuery};
use crate::record::{Failure, OrderKey};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, params_from_iter};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};

/// A read-only connection.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    /// See [`Numbered`]; asked of the file once.
    by_seq: OnceCell<bool>,
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// The failures, each with the head of its order key when that is another one.
    pub failures: Vec<(Failure, Option<FailureId>)>,
    /// How many match, whatever the page, when that was asked.
    pub total: Option<u64>,
    /// Where the next page begins.
    pub next: Option<Seq>,
}

/// What has not been sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Live failures by type.
    pub by_type: Vec<(String, u64)>,
    /// Critical, held, and those behind them.
    pub needs_person: u64,
    /// When the oldest was recorded.
    pub oldest_created_at: Option<String>,
}

impl Reader {
    /// Opens the file for reading; it must be there.
    pub fn open(settings: &StoreSettings) -> Result<Self, OpenError> {
        let file = settings.file();
        let opened = |why| OpenError::sqlite("opening", &file, why);
        let connection =
            Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(opened)?;
        connection.busy_timeout(BUSY_PATIENCE).map_err(opened)?;
        super::open::drain(&connection, "PRAGMA temp_store = MEMORY").map_err(opened)?;
        super::open::drain(&connection, "PRAGMA trusted_schema = OFF").map_err(opened)?;
        Ok(Self { connection, by_seq: OnceCell::new() })
    }

    /// For statements in which numbers of failures occur. Without a daemon the file may be of an older
    /// version still.
    pub(super) fn numbered(&self) -> Result<Numbered<'_>, StoreError> {
        let by_seq = if let Some(known) = self.by_seq.get() {
            *known
        } else {
            let older = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'sync_failures_seq')";
            let found = self.connection.query_row(older, [], |row| row.get(0))?;
            *self.by_seq.get_or_init(|| found)
        };
        Ok(Numbered { connection: &self.connection, by_seq })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// `list`
    pub fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let filter = condition(&query.filter);
        let count = format!("SELECT COUNT(*) FROM sync_failures WHERE {}", filter.sql);
        let count = || self.connection.query_row(&count, params_from_iter(&filter.values), |row| row.get(0));
        let total = if query.total { Some(count()?) } else { None };
        let (beyond, order) = match query.direction {
            Direction::Ascending => (">", "ASC"),
            Direction::Descending => ("<", "DESC"),
        };
        let start = query.after.map_or(if beyond == ">" { i64::MIN } else { i64::MAX }, |seq| seq.0);
        let mut values: Vec<Value> = filter.values.into_iter().map(Value::from).collect();
        values.push(Value::from(start));
        values.push(Value::from(as_limit(query.limit + 1)));
        let mut statement = self.numbered()?.prepare(&format!(
            "SELECT {} FROM sync_failures WHERE {} AND rowid {beyond} ? ORDER BY rowid {order} LIMIT ?",
            columns!(),
            filter.sql
        ))?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut page = Page { total, ..Page::default() };
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let mut found = failure(row)?;
            if let (false, Some((text, _))) = (query.payload, &mut found.payload) {
                text.clear(); // Its kind is shown all the same.
            }
            bytes += weight(&found);
            if page.failures.len() == query.limit || (bytes > MAX_PAGE_BYTES && !page.failures.is_empty()) {
                page.next = page.failures.last().map(|(last, _)| last.seq);
                break;
            }
            let head = if found.head { None } else { head_of(self.numbered()?, &found.order())? };
            page.failures.push((found, head));
        }
        Ok(page)
    }

    /// Of each upstream with strict order the oldest live failure.
    pub fn fronts(&self) -> Result<BTreeMap<String, (Seq, FailureId)>, StoreError> {
        let mut statement = self.connection.prepare("SELECT name FROM upstreams WHERE ordering = 'strict'")?;
        let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let oldest = "SELECT rowid, id FROM sync_failures WHERE upstream = ?1 ORDER BY rowid LIMIT 1";
        let mut oldest = self.numbered()?.prepare(oldest)?;
        let mut fronts = BTreeMap::new();
        for name in names {
            let read = |row: &Row| Ok((Seq(row.get(0)?), FailureId::new(row.get::<_, String>(1)?)));
            if let Some(front) = oldest.query_row([&name], read).optional()? {
                fronts.insert(name, front);
            }
        }
        Ok(fronts)
    }

    /// The live failure that a name means.
    pub fn look(&self, name: &FailureName) -> Result<Found, StoreError> {
        Ok(look(self.numbered()?, name)?)
    }

    /// The agent's own row.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        Ok(Ledger::load(&self.connection)?)
    }

    /// Numbers of the failures that a bulk operation means.
    pub fn select(&self, filter: &Filter, after: Seq, limit: usize) -> Result<Vec<Seq>, StoreError> {
        self.numbers(filter, "rowid > ? ORDER BY rowid", after, limit)
    }

    /// The same, from the newest on.
    pub fn select_before(&self, filter: &Filter, before: Seq, limit: usize) -> Result<Vec<Seq>, StoreError> {
        self.numbers(filter, "rowid < ? ORDER BY rowid DESC", before, limit)
    }

    fn numbers(&self, filter: &Filter, order: &str, from: Seq, limit: usize) -> Result<Vec<Seq>, StoreError> {
        let filter = condition(filter);
        let mut values: Vec<Value> = filter.values.into_iter().map(Value::from).collect();
        values.push(Value::from(from.0));
        values.push(Value::from(as_limit(limit)));
        let sql = format!("SELECT rowid FROM sync_failures WHERE {} AND {order} LIMIT ?", filter.sql);
        let mut statement = self.numbered()?.prepare(&sql)?;
        let seqs = statement.query_map(params_from_iter(values), |row| row.get(0).map(Seq))?;
        Ok(seqs.collect::<Result<_, _>>()?)
    }

    /// How many are live, by status.
    pub fn counts(&self) -> Result<ByStatus, StoreError> {
        let count =
            |sql: &str| -> Result<u64, StoreError> { Ok(self.connection.query_row(sql, [], |row| row.get(0))?) };
        let critical = count("SELECT COUNT(*) FROM sync_failures WHERE status <> 'pending' AND status = 'critical'")?;
        let held = count("SELECT COUNT(*) FROM sync_failures WHERE status <> 'pending' AND status = 'held'")?;
        let all = count("SELECT COUNT(*) FROM sync_failures")?;
        Ok(ByStatus { pending: all.saturating_sub(critical + held), critical, held })
    }

    /// When the oldest live failure was recorded.
    pub fn oldest_created_at(&self) -> Result<Option<String>, StoreError> {
        let mut oldest = self.numbered()?.prepare("SELECT created_at FROM sync_failures ORDER BY rowid LIMIT 1")?;
        Ok(oldest.query_row([], |row| row.get(0)).optional()?)
    }

    /// `unsent`
    pub fn unsent(&self) -> Result<Unsent, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT entity_type, COUNT(*) FROM sync_failures INDEXED BY sync_failures_entity GROUP BY entity_type",
        )?;
        let by_type = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<_>, _>>()?;
        Ok(Unsent { by_type, needs_person: self.needs_person()?, oldest_created_at: self.oldest_created_at()? })
    }

    /// Critical and held ones, and all that stand behind the first of them in their order.
    fn needs_person(&self) -> Result<u64, StoreError> {
        let mut statement = self.numbered()?.prepare(
            "SELECT rowid, entity_type, entity_id, order_key FROM sync_failures INDEXED BY sync_failures_person \
             WHERE status <> 'pending'",
        )?;
        let mut rows = statement.query([])?;
        let mut stuck: Vec<(i64, OrderKey)> = Vec::new();
        while let Some(row) = rows.next()? {
            let order = match row.get::<_, Option<String>>(3)? {
                Some(key) => OrderKey::Given(key),
                None => OrderKey::Entity(row.get(1)?, row.get(2)?),
            };
            stuck.push((row.get(0)?, order));
        }
        stuck.sort_unstable_by_key(|(seq, _)| *seq);
        let (mut seen, mut behind) = (HashSet::new(), 0);
        for (seq, order) in &stuck {
            if seen.insert(order) {
                behind += self.count_from(order, *seq)?;
            }
        }
        Ok(behind)
    }

    fn count_from(&self, order: &OrderKey, seq: i64) -> Result<u64, StoreError> {
        let (condition, values) = order_condition(order);
        let mut all: Vec<Value> = values.into_iter().map(|value| Value::from(value.to_owned())).collect();
        all.push(Value::from(seq));
        let sql = format!("SELECT COUNT(*) FROM sync_failures WHERE {condition} AND rowid >= ?");
        Ok(self.numbered()?.prepare(&sql)?.query_row(params_from_iter(all), |row| row.get(0))?)
    }

    /// The ids that a name may mean, live or gone, at most `limit`.
    pub fn named(&self, name: &FailureName, limit: usize) -> Result<Vec<FailureId>, StoreError> {
        let id = |row: &Row| row.get::<_, String>(0).map(FailureId::new);
        match name {
            FailureName::Number(seq) => {
                let mut live = self.numbered()?.prepare("SELECT id FROM sync_failures WHERE rowid = ?1")?;
                let live = live.query_row([seq.0], id).optional()?;
                let gone = "SELECT failure_id FROM sync_attempts WHERE seq = ?1 \
                            UNION ALL SELECT failure_id FROM audit_log WHERE seq = ?1 LIMIT 1";
                Ok(match live {
                    Some(found) => vec![found],
                    None => self.connection.query_row(gone, [seq.0], id).optional()?.into_iter().collect(),
                })
            }
            FailureName::Text(text) => {
                let above = if text.len() < FailureName::SHORTEST_PREFIX {
                    format!("{text}\0")
                } else {
                    format!("{text}\u{10ffff}")
                };
                let mut statement = self.connection.prepare(
                    "SELECT id FROM sync_failures WHERE id >= ?1 AND id < ?2 \
                     UNION SELECT failure_id FROM sync_attempts WHERE failure_id >= ?1 AND failure_id < ?2 \
                     UNION SELECT failure_id FROM audit_log WHERE failure_id >= ?1 AND failure_id < ?2 LIMIT ?3",
                )?;
                let ids =
                    statement.query_map(params![text, above, as_limit(limit)], id)?.collect::<Result<Vec<_>, _>>()?;
                // A whole id is meant, also when another one begins with it.
                Ok(match ids.iter().find(|id| id.as_str() == text) {
                    Some(exact) => vec![exact.clone()],
                    None => ids,
                })
            }
        }
    }

    /// The upstreams' stored states, for a look without the daemon.
    pub fn upstreams(&self) -> Result<Vec<(String, Upstream)>, StoreError> {
        let mut statement = self.connection.prepare("SELECT name, state FROM upstreams ORDER BY name")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut found = Vec::new();
        for row in rows {
            let (name, state) = row?;
            if let Ok(upstream) = serde_json::from_str(&state) {
                found.push((name, upstream));
            }
        }
        Ok(found)
    }

    /// Bytes of the pages in use.
    pub fn database_bytes(&self) -> Result<u64, StoreError> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, u64>(0));
        let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        Ok(pages * number("PRAGMA page_size")?)
    }
}

/// About what a failure takes in a reply.
fn weight(failure: &Failure) -> usize {
    let payload = failure.payload.as_ref().map_or(0, |(text, _)| text.len());
    payload + failure.error.len() + failure.entity_id.len() + failure.order_key.as_ref().map_or(0, String::len) + 700
}

//! The metrics' queries of the table: counts over indexes, each read once from end to end, none of them sorted.

use super::StoreError;
use super::cells::readable;
use super::reader::Reader;
use crate::figures::{ByStatus, OTHER, TableFigures};
use crate::limits::MAX_TYPES;
use crate::moment::AgentTime;
use rusqlite::{OptionalExtension, Row};
use std::collections::BTreeMap;
use std::time::Duration;

const BY_TYPE: &str =
    "SELECT entity_type, COUNT(*) FROM sync_failures INDEXED BY sync_failures_entity GROUP BY entity_type";
const PERSON: &str = "SELECT status, entity_type FROM sync_failures INDEXED BY sync_failures_person \
                      WHERE status <> 'pending'";
/// The newest failure of each entity that has several.
const ENTITIES: &str = "SELECT MAX(rowid) FROM sync_failures INDEXED BY sync_failures_entity \
                        WHERE order_key IS NULL GROUP BY entity_type, entity_id HAVING COUNT(*) > 1";
/// The newest failure of each order key that has several.
const ORDER_KEYS: &str = "SELECT MAX(rowid) FROM sync_failures INDEXED BY sync_failures_order \
                          WHERE order_key IS NOT NULL GROUP BY order_key HAVING COUNT(*) > 1";
const RETRIES: &str = "SELECT AVG(retry_count) FROM sync_failures INDEXED BY sync_failures_retry";
const RECORDED_AT: &str = "SELECT recorded_at FROM sync_failures WHERE rowid = ?1";

impl Reader {
    /// The table's part of the metrics, from one snapshot. Types in `known` keep their names; others get the names that
    /// are left.
    pub fn table_figures(&self, known: &[String], now: AgentTime) -> Result<TableFigures, StoreError> {
        // One snapshot for all queries, or the counts would not agree.
        let _one_state = self.connection().unchecked_transaction()?;
        let oldest = match self.oldest()? {
            None => None,
            Some((seq, _)) => {
                let read = |row: &Row| self.odd.read_elsewhere(row.get(0));
                self.connection().prepare_cached(RECORDED_AT)?.query_row([seq.0], read).optional()?.flatten()
            }
        };
        Ok(TableFigures {
            failures: self.by_type(known)?,
            oldest_age: oldest.map_or(Duration::ZERO, |at| now.since(AgentTime::from_millis(at))),
            blocked: self.blocked()?,
            retries_mean: self.connection().query_row(RETRIES, [], |row| row.get::<_, Option<f64>>(0))?.unwrap_or(0.0),
            database_bytes: self.database_bytes()?,
        })
    }

    fn by_type(&self, known: &[String]) -> Result<Vec<(String, ByStatus)>, StoreError> {
        let mut named: BTreeMap<String, ByStatus> =
            known.iter().map(|name| (name.clone(), ByStatus::default())).collect();
        let mut other = ByStatus::default();
        let mut statement = self.connection().prepare(BY_TYPE)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name = readable(row, 0)?.unwrap_or_default();
            let room = named.len() < MAX_TYPES || named.contains_key(&name);
            let counted = if room { named.entry(name).or_default() } else { &mut other };
            counted.pending += row.get::<_, u64>(1)?;
        }
        let mut statement = self.connection().prepare(PERSON)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (status, name) = (row.get_ref(0)?, readable(row, 1)?.unwrap_or_default());
            let counted = named.get_mut(&name).unwrap_or(&mut other);
            counted.pending = counted.pending.saturating_sub(1);
            match status.as_bytes() {
                Ok(b"held") => counted.held += 1,
                _ => counted.critical += 1,
            }
        }
        let rest = (other != ByStatus::default()).then(|| (OTHER.to_owned(), other));
        Ok(named.into_iter().chain(rest).collect())
    }

    /// Number of entities and order keys in which one failure waits for another. Where an upstream has no order,
    /// failures of one entity need not wait; then each newest one is checked.
    fn blocked(&self) -> Result<u64, StoreError> {
        let unordered = "SELECT EXISTS (SELECT 1 FROM upstreams WHERE ordering = 'none')";
        let unordered: bool = self.connection().query_row(unordered, [], |row| row.get(0))?;
        let mut look = self.connection().prepare_cached("SELECT head FROM sync_failures WHERE rowid = ?1")?;
        let mut blocked = 0;
        for several in [ENTITIES, ORDER_KEYS] {
            let mut statement = self.connection().prepare_cached(several)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let free = unordered
                    && look
                        .query_row([row.get::<_, i64>(0)?], |row| self.odd.read_elsewhere(row.get(0)))?
                        .unwrap_or(false);
                blocked += u64::from(!free);
            }
        }
        Ok(blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::moment::WallTime;
    use crate::store::reader::OLDEST;
    use crate::store::{Store, StoreSettings};
    use rusqlite::types::Null;

    fn opened() -> (tempfile::TempDir, Store, Reader) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let store = Store::open(settings.clone(), WallTime::from_millis(0)).unwrap_or_else(|error| panic!("{error}"));
        let reader = Reader::open(&settings).unwrap_or_else(|error| panic!("{error}"));
        (dir, store, reader)
    }

    /// With a million rows, each of these reads an index, the critical and held failures, or one row; a sort would cost
    /// memory and time beside the loop.
    #[test]
    fn no_question_of_the_metrics_sorts_or_reads_the_table() {
        let (_dir, _store, reader) = opened();
        for sql in [BY_TYPE, PERSON, ENTITIES, ORDER_KEYS, RETRIES, OLDEST, RECORDED_AT] {
            let mut statement = reader.connection().prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
            let values = (0..statement.parameter_count()).map(|_| Null);
            let steps =
                statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).expect("steps");
            for step in steps {
                let step = step.expect("a step");
                assert!(step.contains(" USING ") && !step.contains("TEMP B-TREE"), "{sql}: {step}");
            }
        }
    }

    #[test]
    fn an_empty_table_has_its_figures_too() {
        let (_dir, _store, reader) = opened();
        let figures = reader.table_figures(&["SALE".into()], AgentTime::from_millis(5)).expect("figures");
        assert_eq!(figures.failures, [("SALE".to_owned(), ByStatus::default())]);
        assert_eq!((figures.oldest_age, figures.blocked), (Duration::ZERO, 0));
        assert!(figures.retries_mean.abs() < f64::EPSILON && figures.database_bytes > 0);
    }
}

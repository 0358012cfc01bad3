//! Statistics of a span of time: its live failures, and what became of the others.

use super::StoreError;
use super::cells::text;
use super::reader::Reader;
use crate::moment::WallTime;
use crate::record::Class;
use rusqlite::params;
use std::collections::BTreeMap;

/// Maximum number of groups; a terminal has some dozen. The rest forms one group without a name.
const MOST_GROUPS: usize = 1000;

/// Statistics since a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Start of the span.
    pub since: WallTime,
    /// Failures recorded in it, whatever became of them; one that was replayed counts once.
    pub recorded: u64,
    /// Deliveries in it; a failure that was replayed counts each time.
    pub delivered: u64,
    /// Failures discarded by operators in it.
    pub discarded: u64,
    /// Failures removed by retention in it.
    pub cleaned: u64,
    /// Groups of live failures recorded in it, the largest first.
    pub groups: Vec<Group>,
}

/// Live failures of one type and action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub entity_type: String,
    pub action: String,
    pub total_failures: u64,
    pub retries: u64,
    pub max_retries: u32,
}

impl Reader {
    /// `stats`
    pub fn statistics(&self, since: WallTime) -> Result<Statistics, StoreError> {
        let groups = self.groups(since)?;
        let live: u64 = groups.iter().map(|group| group.total_failures).sum();
        let at = since.sql();
        let gone = |operations: &str| -> Result<u64, StoreError> {
            let sql = format!("SELECT COUNT(*) FROM audit_log WHERE at >= ?1 AND operation IN ({operations})");
            Ok(self.connection.query_row(&sql, [&at], |row| row.get(0))?)
        };
        let sql = "SELECT COUNT(*) FROM sync_attempts WHERE started_at >= ?1 AND class = ?2";
        let delivered = self.connection.query_row(sql, params![at, Class::Delivered.as_str()], |row| row.get(0))?;
        Ok(Statistics {
            since,
            recorded: live + self.recorded_and_gone(since)?,
            delivered,
            discarded: gone("'discard'")?,
            cleaned: gone("'cleanup'")?,
            groups,
        })
    }

    /// By type and action. Counted row by row, because a GROUP BY would sort the table.
    fn groups(&self, since: WallTime) -> Result<Vec<Group>, StoreError> {
        let sql = "SELECT entity_type, action, retry_count FROM sync_failures WHERE created_at >= ?1";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([since.sql()])?;
        let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let read = || Ok((text(row, 0)?, text(row, 1)?, row.get::<_, u32>(2)?));
            let Some((kind, action, retries)) = self.odd.read_elsewhere(read())? else { continue };
            let mut key = (kind, action);
            if groups.len() >= MOST_GROUPS && !groups.contains_key(&key) {
                key = (String::new(), String::new());
            }
            let group = groups.entry(key).or_default();
            group.total_failures += 1;
            group.retries += u64::from(retries);
            group.max_retries = group.max_retries.max(retries);
        }
        let named = |((entity_type, action), group)| Group { entity_type, action, ..group };
        let mut groups: Vec<Group> = groups.into_iter().map(named).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.total_failures));
        Ok(groups)
    }

    /// Number of failures recorded since then and removed, each counted once however often it was replayed or imported. The
    /// time of recording is taken from the id, which begins with it (a UUID of version 7).
    fn recorded_and_gone(&self, since: WallTime) -> Result<u64, StoreError> {
        let ms = format!("{:012x}", since.as_millis().max(0));
        let first_id = format!("{}-{}", &ms[..8], &ms[8..12]);
        // Of several lives the last one counts; of one that is live none does.
        let sql = "SELECT (SELECT COUNT(*) FROM sync_attempts AS one WHERE started_at >= ?1 AND class = 'delivered' \
                   AND failure_id >= ?2 AND substr(failure_id, 15, 1) = '7' \
                   AND NOT EXISTS (SELECT 1 FROM sync_failures WHERE id = one.failure_id) \
                   AND NOT EXISTS (SELECT 1 FROM sync_attempts AS later WHERE later.failure_id = one.failure_id \
                   AND later.id > one.id AND later.class = 'delivered') \
                   AND NOT EXISTS (SELECT 1 FROM audit_log WHERE failure_id = one.failure_id \
                   AND operation IN ('discard', 'cleanup'))) \
                   + (SELECT COUNT(*) FROM audit_log AS one WHERE at >= ?1 AND operation IN ('discard', 'cleanup') \
                   AND failure_id >= ?2 AND substr(failure_id, 15, 1) = '7' \
                   AND NOT EXISTS (SELECT 1 FROM sync_failures WHERE id = one.failure_id) \
                   AND NOT EXISTS (SELECT 1 FROM audit_log AS later WHERE later.failure_id = one.failure_id \
                   AND later.id > one.id AND later.operation IN ('discard', 'cleanup')))";
        Ok(self.connection.query_row(sql, [since.sql(), first_id], |row| row.get(0))?)
    }
}

//! Figures over a span of time: what is live of it, and what became of the rest.

use super::StoreError;
use super::reader::Reader;
use crate::moment::WallTime;
use crate::record::Class;
use rusqlite::params;
use std::collections::BTreeMap;

/// Groups that are told apart; a terminal has some dozen. The rest is one group without a name.
const MOST_GROUPS: usize = 1000;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The span's beginning.
    pub since: WallTime,
    /// Recorded in it, whatever became of them.
    pub recorded: u64,
    /// Accepted in it.
    pub delivered: u64,
    /// Taken away by people in it.
    pub discarded: u64,
    /// Taken away by the rules in it.
    pub cleaned: u64,
    /// Live ones that were recorded in it, most failures first.
    pub groups: Vec<Group>,
}

/// Live failures of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the figures of spec/01")]
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

    /// By type and action. Counted row by row, for a GROUP BY would sort the table.
    fn groups(&self, since: WallTime) -> Result<Vec<Group>, StoreError> {
        let sql = "SELECT entity_type, action, retry_count FROM sync_failures WHERE created_at >= ?1";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([since.sql()])?;
        let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (kind, action): (String, String) = (row.get(0)?, row.get(1)?);
            let retries: u32 = row.get(2)?;
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

    /// Failures that were recorded since then and have left. When one was recorded stands in its id,
    /// which begins with the time (a UUID of version 7).
    fn recorded_and_gone(&self, since: WallTime) -> Result<u64, StoreError> {
        let ms = format!("{:012x}", since.as_millis().max(0));
        let first_id = format!("{}-{}", &ms[..8], &ms[8..12]);
        let sql = "SELECT (SELECT COUNT(*) FROM sync_attempts WHERE started_at >= ?1 AND class = 'delivered' \
                   AND failure_id >= ?2 AND substr(failure_id, 15, 1) = '7') \
                   + (SELECT COUNT(*) FROM audit_log WHERE at >= ?1 AND operation IN ('discard', 'cleanup') \
                   AND failure_id >= ?2 AND substr(failure_id, 15, 1) = '7')";
        Ok(self.connection.query_row(sql, [since.sql(), first_id], |row| row.get(0))?)
    }
}

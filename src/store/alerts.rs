//! Alerts, over a restart: at most some hundreds of rows, of which one is written when it changes.

use super::reader::Reader;
use super::rows::as_limit;
use super::{Store, StoreError};
use crate::moment::{AgentTime, WallTime};
use crate::policy::alert::{Alert, Kind};
use crate::record::Class;
use rusqlite::{Connection, Row, params};

impl Store {
    /// All that are stored.
    pub fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        all(&self.connection)
    }

    /// Stores one as it is.
    pub fn keep_alert(&mut self, alert: &Alert) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO alerts (kind, subject, active, since, cleared_at, message, amount, changed_at, \
                 untold, told_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                alert.kind.as_str(),
                alert.subject,
                alert.active,
                alert.since.sql(),
                alert.cleared_at.map(WallTime::sql),
                alert.message,
                i64::try_from(alert.amount).unwrap_or(i64::MAX),
                alert.changed_at.as_millis(),
                alert.untold,
                alert.told_at.map(AgentTime::as_millis),
            ])?;
        Ok(())
    }

    /// Forgets one.
    pub fn forget_alert(&mut self, kind: Kind, subject: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM alerts WHERE kind = ?1 AND subject = ?2";
        self.connection.prepare_cached(sql)?.execute([kind.as_str(), subject])?;
        Ok(())
    }
}

/// Rows that say nothing to this version (a later one's kind, a hand that wrote) are passed over.
fn all(connection: &Connection) -> Result<Vec<Alert>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT kind, subject, active, since, cleared_at, message, amount, changed_at, untold, told_at FROM alerts \
         ORDER BY kind, subject",
    )?;
    let found = statement.query_map([], |row| Ok(alert(row)))?;
    let rows: Vec<Option<Alert>> = found.collect::<Result<_, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn alert(row: &Row) -> Option<Alert> {
    let time = |text: String| WallTime::parse(&text);
    Some(Alert {
        kind: Kind::parse(&row.get::<_, String>(0).ok()?)?,
        subject: row.get(1).ok()?,
        active: row.get(2).ok()?,
        since: time(row.get(3).ok()?)?,
        cleared_at: row.get::<_, Option<String>>(4).ok()?.and_then(time),
        message: row.get(5).ok()?,
        amount: u64::try_from(row.get::<_, i64>(6).ok()?).unwrap_or(0),
        changed_at: AgentTime::from_millis(row.get(7).ok()?),
        untold: row.get(8).ok()?,
        told_at: row.get::<_, Option<i64>>(9).ok()?.map(AgentTime::from_millis),
    })
}

/// What happened of late, for the counting that starts anew with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// To this entity's type,
    pub entity_type: String,
    /// and id.
    pub entity_id: String,
    /// A failure of it was recorded; otherwise a try of one was counted.
    pub recorded: bool,
    /// When: agent time where that is known, else the terminal's.
    pub at: When,
}

/// A time on the clock that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Agent time.
    Agent(AgentTime),
    /// The terminal's clock.
    Wall(WallTime),
}

impl Store {
    /// The newest live failures, and what of the newest tries counted or ended a failure that has left; at
    /// most `most` of each, oldest first: the kernel reads ahead, and not back.
    pub fn happened_of_late(&self, most: usize) -> Result<Vec<Happened>, StoreError> {
        let live = "SELECT entity_type, entity_id, recorded_at FROM sync_failures WHERE rowid >= \
                    (SELECT MIN(rowid) FROM (SELECT rowid FROM sync_failures ORDER BY rowid DESC LIMIT ?1)) ORDER BY rowid";
        let mut statement = self.connection.prepare(live)?;
        let read = |row: &Row| {
            let at = When::Agent(AgentTime::from_millis(row.get(2)?));
            Ok(Happened { entity_type: row.get(0)?, entity_id: row.get(1)?, recorded: true, at })
        };
        let mut all = statement.query_map([as_limit(most)], read)?.collect::<Result<Vec<_>, _>>()?;
        let tried = "SELECT entity_type, entity_id, started_at, class, counted FROM sync_attempts \
                     WHERE id > (SELECT MAX(id) FROM sync_attempts) - ?1 ORDER BY id";
        let mut statement = self.connection.prepare(tried)?;
        let read = |row: &Row| {
            let at = WallTime::parse(&row.get::<_, String>(2)?);
            let (delivered, counted) = (row.get::<_, String>(3)? == Class::Delivered.as_str(), row.get::<_, bool>(4)?);
            let happened = |at| {
                Ok::<_, rusqlite::Error>(Happened {
                    entity_type: row.get(0)?,
                    entity_id: row.get(1)?,
                    recorded: delivered,
                    at: When::Wall(at),
                })
            };
            at.filter(|_| delivered || counted).map(happened).transpose()
        };
        for happened in statement.query_map([as_limit(most)], read)? {
            all.extend(happened?);
        }
        Ok(all)
    }

    /// Does any failure need a person?
    pub fn any_critical(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_person \
                   WHERE status <> 'pending' AND status = 'critical')";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// How many do, counted to `most`.
    pub fn count_critical(&self, most: usize) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM sync_failures INDEXED BY sync_failures_person \
                   WHERE status <> 'pending' AND status = 'critical' LIMIT ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([as_limit(most)], |row| row.get(0))?)
    }

    /// Does anything wait for this upstream?
    pub fn any_pending(&self, upstream: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_due \
                   WHERE head = 1 AND status = 'pending' AND upstream = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([upstream], |row| row.get(0))?)
    }

    /// Has this entity a live failure?
    pub fn any_of_entity(&self, entity_type: &str, entity_id: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_entity \
                   WHERE entity_type = ?1 AND entity_id = ?2)";
        Ok(self.connection.prepare_cached(sql)?.query_row([entity_type, entity_id], |row| row.get(0))?)
    }
}

impl Reader {
    /// All alerts that are stored; none in a file of an older version.
    pub fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'alerts')";
        let there: bool = self.connection().query_row(sql, [], |row| row.get(0))?;
        if there { all(self.connection()) } else { Ok(Vec::new()) }
    }

    /// How many counted tries live failures have on average; 0 when nothing is live.
    pub fn mean_retries(&self) -> Result<f64, StoreError> {
        let number = |sql: &str| self.connection().query_row(sql, [], |row| row.get::<_, f64>(0));
        // Counting a million of them would read 20 MB at each start, while the first clients wait for the disk.
        let live = number("SELECT live FROM agent")?;
        let retries = number("SELECT TOTAL(retry_count) FROM sync_failures WHERE retry_count > 0")?;
        Ok(if live > 0.0 { retries / live } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::store::StoreSettings;

    #[test]
    fn the_newest_happenings_are_found_oldest_first_also_where_numbers_are_missing() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let store = Store::open(settings, WallTime::from_millis(0)).expect("a store");
        let found = |most: usize| -> Vec<String> {
            let all = store.happened_of_late(most).expect("a look");
            all.into_iter().map(|happened| happened.entity_id).collect()
        };
        assert!(found(3).is_empty());
        for number in [2, 30, 31, 50] {
            let sql = "INSERT INTO sync_failures (rowid, id, entity_type, entity_id, action, error, seq, status, due_at, \
                       recorded_at, idempotency_key, payload_kind, head, terminal_id, uncounted) VALUES (?1, 'f' || ?1, \
                       'SALE', 's-' || ?1, 'CREATE', 'x', ?1, 'pending', 0, 0, 'k' || ?1, 'json', 1, 'till', 0)";
            store.connection.execute(sql, [number]).expect("a failure");
            let sql = "INSERT INTO sync_attempts (failure_id, seq, entity_type, entity_id, action, attempt, trigger, \
                       upstream, started_at, duration_ms, class, counted) VALUES ('f' || ?1, ?1, 'SALE', 't-' || ?1, \
                       'CREATE', 1, 'auto', 'hq', '2026-11-24 06:12:34.123', 1, 'failed', 1)";
            store.connection.execute(sql, [number]).expect("a try");
        }
        assert_eq!(found(3), ["s-30", "s-31", "s-50", "t-30", "t-31", "t-50"]);
        assert_eq!(found(9).len(), 8);
    }
}

//! The alerts' table: at most some hundreds of rows, each written when its alert changes.

use super::cells::{text, text_or_null};
use super::reader::Reader;
use super::rows::as_limit;
use super::{Store, StoreError};
use crate::ids::FailureId;
use crate::moment::{AgentTime, WallTime};
use crate::policy::alert::{Alert, Kind};
use crate::record::{Class, NOT_SENT_YET};
use rusqlite::{Connection, Row, params};

impl Store {
    /// All stored alerts.
    pub fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        all(&self.connection)
    }

    /// Stores an alert.
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

    /// Deletes an alert.
    pub fn forget_alert(&mut self, kind: Kind, subject: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM alerts WHERE kind = ?1 AND subject = ?2";
        self.connection.prepare_cached(sql)?.execute([kind.as_str(), subject])?;
        Ok(())
    }
}

/// Skips rows that this version cannot interpret, such as a later version's kind or another program's row.
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
        kind: Kind::parse(&text(row, 0).ok()?)?,
        subject: text(row, 1).ok()?,
        active: row.get(2).ok()?,
        since: time(text(row, 3).ok()?)?,
        cleared_at: text_or_null(row, 4).ok()?.and_then(time),
        message: text(row, 5).ok()?,
        amount: u64::try_from(row.get::<_, i64>(6).ok()?).unwrap_or(0),
        changed_at: AgentTime::from_millis(row.get(7).ok()?),
        untold: row.get(8).ok()?,
        told_at: row.get::<_, Option<i64>>(9).ok()?.map(AgentTime::from_millis),
    })
}

/// A recent event, for counters that start at zero with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Type of the entity.
    pub entity_type: String,
    /// Id of the entity.
    pub entity_id: String,
    /// True if a failure was recorded, false if an attempt was counted.
    pub recorded: bool,
    /// In agent time where that is known, otherwise by the terminal's clock.
    pub at: When,
}

/// A time on the clock that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Agent time.
    Agent(AgentTime),
    /// The terminal's clock.
    Wall(WallTime),
}

impl Store {
    /// The newest live failures, and of the newest attempts those that counted, and the recording of the failures that
    /// they delivered, as far as their ids tell its time; at most `most` of each, oldest first, because the kernel reads ahead and not back.
    pub fn happened_of_late(&self, most: usize) -> Result<Vec<Happened>, StoreError> {
        // A handed-over failure without an attempt has not failed.
        let live = format!(
            "SELECT entity_type, entity_id, recorded_at FROM sync_failures WHERE rowid >= \
             (SELECT MIN(rowid) FROM (SELECT rowid FROM sync_failures ORDER BY rowid DESC LIMIT ?1)) \
             AND NOT (attempts = 0 AND http_status IS NULL AND unsure = 0 AND error = '{NOT_SENT_YET}') ORDER BY rowid"
        );
        let mut statement = self.connection.prepare(&live)?;
        let read = |row: &Row| {
            let at = When::Agent(AgentTime::from_millis(row.get(2)?));
            Ok(Happened { entity_type: text(row, 0)?, entity_id: text(row, 1)?, recorded: true, at })
        };
        let rows = statement.query_map([as_limit(most)], |row| self.odd.read_elsewhere(read(row)))?;
        let mut all = rows.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
        let tried = "SELECT entity_type, entity_id, started_at, class, counted, failure_id FROM sync_attempts \
                     WHERE id > (SELECT MAX(id) FROM sync_attempts) - ?1 AND why IS NOT 'handed_over' ORDER BY id";
        let mut statement = self.connection.prepare(tried)?;
        let read = |row: &Row| {
            let (delivered, counted) = (text(row, 3)? == Class::Delivered.as_str(), row.get::<_, bool>(4)?);
            // What was delivered just now may have been recorded long before.
            let at = if delivered { FailureId::new(text(row, 5)?).made_at() } else { WallTime::parse(&text(row, 2)?) };
            let happened = |at| {
                Ok::<_, rusqlite::Error>(Happened {
                    entity_type: text(row, 0)?,
                    entity_id: text(row, 1)?,
                    recorded: delivered,
                    at: When::Wall(at),
                })
            };
            at.filter(|_| delivered || counted).map(happened).transpose()
        };
        for happened in statement.query_map([as_limit(most)], |row| self.odd.read_elsewhere(read(row)))? {
            all.extend(happened?.flatten());
        }
        Ok(all)
    }

    /// Returns whether a failure is critical.
    pub fn any_critical(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_person \
                   WHERE status <> 'pending' AND status = 'critical')";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Number of critical failures, counted up to `most`.
    pub fn count_critical(&self, most: usize) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM sync_failures INDEXED BY sync_failures_person \
                   WHERE status <> 'pending' AND status = 'critical' LIMIT ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([as_limit(most)], |row| row.get(0))?)
    }

    /// Returns whether a pending failure is routed to this upstream.
    pub fn any_pending(&self, upstream: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_due \
                   WHERE head = 1 AND status = 'pending' AND upstream = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([upstream], |row| row.get(0))?)
    }

    /// Returns whether this entity has a live failure.
    pub fn any_of_entity(&self, entity_type: &str, entity_id: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync_failures INDEXED BY sync_failures_entity \
                   WHERE entity_type = ?1 AND entity_id = ?2)";
        Ok(self.connection.prepare_cached(sql)?.query_row([entity_type, entity_id], |row| row.get(0))?)
    }
}

impl Reader {
    /// All stored alerts; none in a file of an older version.
    pub fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'alerts')";
        let there: bool = self.connection().query_row(sql, [], |row| row.get(0))?;
        if there { all(self.connection()) } else { Ok(Vec::new()) }
    }

    /// Mean of counted attempts over live failures; 0 if there are none.
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

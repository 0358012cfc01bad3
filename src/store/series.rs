//! The time series' table: adding to an interval, reading, deleting.
//!
//! It is for display only; no decision depends on it. The series of a damaged file is not salvaged.

use super::cells::text;
use super::reader::Reader;
use super::rows::as_limit;
use super::{Store, StoreError};
use crate::figures::ByStatus;
use crate::figures::series::{Bucket, Counted, Kept, Tally};
use crate::moment::WallTime;
use crate::record::Status;
use rusqlite::{OptionalExtension, Row, params};

/// Critical and held failures are counted up to this number, because the loop runs the query.
const MOST_COUNTED: usize = 10_000;

const LAST: &str = "SELECT pending, critical, held FROM series WHERE bucket < ?1 AND upstream = '' \
                    ORDER BY bucket DESC LIMIT 1";

fn live(row: &Row, from: usize) -> rusqlite::Result<ByStatus> {
    Ok(ByStatus { pending: row.get(from)?, critical: row.get(from + 1)?, held: row.get(from + 2)? })
}

impl Store {
    /// Number of live failures by status; critical and held ones are counted up to 10,000 each.
    pub fn live_by_status(&self) -> Result<ByStatus, StoreError> {
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM sync_failures INDEXED BY sync_failures_person \
                   WHERE status <> 'pending' AND status = ?1 LIMIT ?2)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut count = |status: Status| -> Result<u64, StoreError> {
            Ok(statement.query_row(params![status.as_str(), as_limit(MOST_COUNTED)], |row| row.get(0))?)
        };
        let (critical, held) = (count(Status::Critical)?, count(Status::Held)?);
        Ok(ByStatus { pending: self.ledger.live.saturating_sub(critical + held), critical, held })
    }

    /// Live failures when the series was last written.
    pub fn last_of_series(&self) -> Result<Option<ByStatus>, StoreError> {
        let mut statement = self.connection.prepare_cached(LAST)?;
        Ok(statement.query_row([i64::MAX], |row| self.odd.read_elsewhere(live(row, 0))).optional()?.flatten())
    }

    /// Adds counts to an interval; the number of live failures is replaced.
    pub fn add_to_series(&mut self, kept: &Kept) -> Result<(), StoreError> {
        let Kept { bucket, wall, live, counted } = kept;
        self.connection
            .prepare_cached(
                "INSERT INTO series (bucket, upstream, wall_time, recorded, pending, critical, held) \
                 VALUES (?1, '', ?2, ?3, ?4, ?5, ?6) ON CONFLICT (bucket, upstream) DO UPDATE SET \
                 recorded = recorded + excluded.recorded, pending = excluded.pending, \
                 critical = excluded.critical, held = excluded.held",
            )?
            .execute(params![bucket.0, wall.as_millis(), counted.recorded, live.pending, live.critical, live.held])?;
        for (name, tally) in counted.upstreams() {
            let Tally { recorded, delivered, failed, refused, offline_ms, shut_ms } = tally;
            self.connection
                .prepare_cached(
                    "INSERT INTO series (bucket, upstream, recorded, delivered, failed, refused, offline_ms, shut_ms) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (bucket, upstream) DO UPDATE SET \
                     recorded = recorded + excluded.recorded, delivered = delivered + excluded.delivered, \
                     failed = failed + excluded.failed, refused = refused + excluded.refused, \
                     offline_ms = offline_ms + excluded.offline_ms, shut_ms = shut_ms + excluded.shut_ms",
                )?
                .execute(params![bucket.0, name, recorded, delivered, failed, refused, offline_ms, shut_ms])?;
        }
        Ok(())
    }

    /// Deletes the oldest rows of intervals before this one; returns how many.
    pub fn forget_series(&mut self, before: Bucket, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM series WHERE (bucket, upstream) IN \
                   (SELECT bucket, upstream FROM series WHERE bucket < ?1 ORDER BY bucket LIMIT ?2)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![before.0, as_limit(limit)])?)
    }
}

impl Reader {
    /// Live failures when this interval began, and the rows from it on.
    pub fn series(&self, from: Bucket) -> Result<(Option<ByStatus>, Vec<Kept>), StoreError> {
        let _one_state = self.connection().unchecked_transaction()?;
        let before = self.connection().query_row(LAST, [from.0], |row| self.odd.read_elsewhere(live(row, 0)));
        let before = before.optional()?.flatten();
        let mut statement = self.connection().prepare(
            "SELECT bucket, upstream, wall_time, recorded, delivered, failed, refused, offline_ms, shut_ms, \
             pending, critical, held FROM series WHERE bucket >= ?1 ORDER BY bucket, upstream",
        )?;
        let mut rows = statement.query([from.0])?;
        let mut found: Vec<Kept> = Vec::new();
        while let Some(row) = rows.next()? {
            self.odd.read_elsewhere(add(row, &mut found))?;
        }
        Ok((before, found))
    }
}

/// Adds a row to the result.
fn add(row: &Row, found: &mut Vec<Kept>) -> rusqlite::Result<()> {
    let bucket = Bucket(row.get(0)?);
    let name = text(row, 1)?;
    if name.is_empty() {
        let counted = Counted::recorded(row.get(3)?);
        let wall = WallTime::from_millis(row.get::<_, Option<i64>>(2)?.unwrap_or_default());
        found.push(Kept { bucket, wall, live: live(row, 9)?, counted });
    } else if let Some(kept) = found.last_mut().filter(|kept| kept.bucket == bucket) {
        *kept.counted.at(&name) = Tally {
            recorded: row.get(3)?,
            delivered: row.get(4)?,
            failed: row.get(5)?,
            refused: row.get(6)?,
            offline_ms: row.get(7)?,
            shut_ms: row.get(8)?,
        };
    }
    Ok(())
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;

//! Summary of the history, read once along its index, and of the failures that block others.

use super::StoreError;
use super::cells::{self, text, text_or_null};
use super::reader::Reader;
use super::rows::{as_limit, order_condition};
use crate::figures::digest::{Blocking, BulkAction, Digest, Gathering, Seen};
use crate::limits::MAX_DIGEST;
use crate::moment::WallTime;
use crate::record::{OrderKey, wire_time};
use rusqlite::types::Value;
use rusqlite::{Row, params, params_from_iter};

/// Maximum numbers of critical or held failures that are counted, and that are listed.
const MOST_HEADS: usize = 1000;
const MOST_TOLD: usize = 20;
/// Maximum numbers of audit rows that are read, and of actions that are listed.
const MOST_AUDITED: usize = 20_000;
const MOST_DEEDS: usize = 100;
/// Followers of one failure are counted up to this number.
const MOST_BEHIND: usize = 10_000;

impl Reader {
    /// `digest`: of a million attempts, the newest 200,000 are read, and the reply says so.
    pub fn digest(&self, from: WallTime) -> Result<Digest, StoreError> {
        let _one_state = self.connection().unchecked_transaction()?;
        let mut statement = self.connection().prepare(
            "SELECT started_at, duration_ms, failure_id, seq, entity_type, action, upstream, class, error, counted \
             FROM sync_attempts WHERE started_at >= ?1 ORDER BY started_at DESC LIMIT ?2",
        )?;
        let mut rows = statement.query(params![from.sql(), as_limit(MAX_DIGEST + 1)])?;
        let (mut gathering, mut oldest, mut looked) = (Gathering::default(), from.rfc3339(), 0);
        let mut whole = true;
        while let Some(row) = rows.next()? {
            if looked == MAX_DIGEST {
                whole = false;
                break;
            }
            looked += 1;
            let text = |column| text_of(row, column);
            let (at, counted, seq) = (text(0), row.get(9), row.get(3));
            let Some(((started_at, counted), seq)) =
                self.odd.read_elsewhere(at.and_then(|at| Ok(((at, counted?), seq?))))?
            else {
                continue;
            };
            let wait_ms = recorded_at(text(2)?).and_then(|recorded| {
                let ended = WallTime::parse(started_at)?.as_millis().checked_add(row.get::<_, i64>(1).ok()?)?;
                ended.checked_sub(recorded)
            });
            let at = wire_time(started_at);
            gathering.see(&Seen {
                entity_type: text(4)?,
                action: text(5)?,
                upstream: text(6)?,
                class: text(7)?,
                error: text(8)?,
                counted,
                at: &at,
                seq,
                wait_ms,
            });
            oldest = at;
        }
        let since = if whole { from.rfc3339() } else { oldest };
        let (blocking, blocked) = self.blocking()?;
        Ok(Digest { since, whole, blocking, blocked, deeds: self.deeds(from)?, ..gathering.digest() })
    }

    /// Operator actions and retention runs, newest first. An action on many failures has a row for each; consecutive
    /// rows with the same content are merged.
    fn deeds(&self, from: WallTime) -> Result<Vec<BulkAction>, StoreError> {
        let mut statement = self.connection().prepare(
            "SELECT at, operation, actor_name, actor_uid, claimed_by, reason, seq, entity_type, entity_id FROM audit_log \
             WHERE at >= ?1 ORDER BY at DESC LIMIT ?2",
        )?;
        let mut rows = statement.query(params![from.sql(), as_limit(MOST_AUDITED)])?;
        let mut deeds: Vec<BulkAction> = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(deed) = self.odd.read_elsewhere(deed(row))? else { continue };
            if let Some(last) = deeds.last_mut().filter(|last| last.is_like(&deed)) {
                last.times += 1;
                continue;
            }
            if deeds.len() == MOST_DEEDS {
                break;
            }
            deeds.push(deed);
        }
        Ok(deeds)
    }

    fn blocking(&self) -> Result<(Vec<Blocking>, (u64, u64)), StoreError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT rowid, entity_type, entity_id, action, status, created_at, order_key FROM sync_failures \
             INDEXED BY sync_failures_person WHERE status <> 'pending' AND head = 1 LIMIT ?1",
        )?;
        let mut rows = statement.query([as_limit(MOST_HEADS)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let Some((blocking, order)) = self.odd.read(row, 0, blocking(row))? else { continue };
            let waiting = self.behind(&order, blocking.seq)?;
            found.push(Blocking { waiting, ..blocking });
        }
        found.retain(|blocking| blocking.waiting > 0);
        found.sort_by_key(|blocking| std::cmp::Reverse(blocking.waiting));
        let all = (found.len() as u64, found.iter().map(|blocking| blocking.waiting).sum());
        found.truncate(MOST_TOLD);
        Ok((found, all))
    }

    /// Number of the failure's followers that are not heads themselves. Without an order all are heads.
    fn behind(&self, order: &OrderKey, seq: i64) -> Result<u64, StoreError> {
        let (condition, values) = order_condition(order);
        let mut all: Vec<Value> = values.into_iter().map(|value| Value::from(value.to_owned())).collect();
        all.extend([Value::from(seq), Value::from(as_limit(MOST_BEHIND))]);
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM sync_failures WHERE {condition} AND rowid > ? AND head = 0 LIMIT ?)"
        );
        Ok(self.connection().prepare_cached(&sql)?.query_row(params_from_iter(all), |row| row.get(0))?)
    }
}

fn deed(row: &Row) -> rusqlite::Result<BulkAction> {
    Ok(BulkAction {
        at: wire_time(text_of(row, 0)?),
        operation: text(row, 1)?,
        actor: text_or_null(row, 2)?,
        actor_uid: row.get(3)?,
        claimed_by: text_or_null(row, 4)?,
        reason: text_or_null(row, 5)?,
        seq: row.get(6)?,
        entity_type: text_or_null(row, 7)?,
        entity_id: text_or_null(row, 8)?,
        times: 1,
    })
}

fn blocking(row: &Row) -> rusqlite::Result<(Blocking, OrderKey)> {
    let blocking = Blocking {
        seq: row.get(0)?,
        entity_type: text(row, 1)?,
        entity_id: text(row, 2)?,
        action: text(row, 3)?,
        status: text(row, 4)?,
        created_at: wire_time(&text(row, 5)?),
        waiting: 0,
    };
    let order = match text_or_null(row, 6)? {
        Some(key) => OrderKey::Given(key),
        None => OrderKey::Entity(blocking.entity_type.clone(), blocking.entity_id.clone()),
    };
    Ok((blocking, order))
}

/// The text of a column; empty if there is none or it cannot be read.
fn text_of<'a>(row: &'a Row, column: usize) -> rusqlite::Result<&'a str> {
    Ok(cells::text_of(row.get_ref(column)?).unwrap_or_default())
}

/// When a failure was recorded, taken from its id if that is a UUID of version 7.
fn recorded_at(id: &str) -> Option<i64> {
    let (first, second) = (id.get(..8)?, id.get(9..13)?);
    (id.get(14..15)? == "7").then(|| i64::from_str_radix(&format!("{first}{second}"), 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_that_tells_a_time_tells_one() {
        assert_eq!(recorded_at("01943c2a-7b40-7000-8000-000000000000"), Some(0x0194_3c2a_7b40));
        for other in
            ["", "x", "01943c2a-7b40-4000-8000-000000000000", "ä1943c2a-7b40-7000-8000-0000", "zzzzzzzz-7b40-7000"]
        {
            assert_eq!(recorded_at(other), None, "{other}");
        }
    }
}

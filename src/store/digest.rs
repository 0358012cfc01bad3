//! The history read once, along its index, and those that others wait behind.

use super::StoreError;
use super::reader::Reader;
use super::rows::{as_limit, order_condition};
use crate::figures::digest::{Blocking, Deed, Digest, Gathering, Seen};
use crate::limits::MAX_DIGEST;
use crate::moment::WallTime;
use crate::record::{OrderKey, wire_time};
use rusqlite::types::Value;
use rusqlite::{Row, params, params_from_iter};

/// Failures that need a person are looked at so far, and told of so far.
const MOST_HEADS: usize = 1000;
const MOST_TOLD: usize = 20;
/// Rows of the audit that are looked at, and deeds that are told of.
const MOST_AUDITED: usize = 20_000;
const MOST_DEEDS: usize = 100;
/// Those behind one of them are counted so far.
const MOST_BEHIND: usize = 10_000;

impl Reader {
    /// `digest`: of a million tries the newest 200,000 are looked at, and it says so.
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
            let started_at: &str = text(0)?;
            let wait_ms = recorded_at(text(2)?).and_then(|recorded| {
                let ended = WallTime::parse(started_at)?.as_millis() + row.get::<_, i64>(1).ok()?;
                Some(ended - recorded)
            });
            let at = wire_time(started_at);
            gathering.see(&Seen {
                entity_type: text(4)?,
                action: text(5)?,
                upstream: text(6)?,
                class: text(7)?,
                error: text(8)?,
                counted: row.get(9)?,
                at: &at,
                seq: row.get(3)?,
                wait_ms,
            });
            oldest = at;
        }
        let since = if whole { from.rfc3339() } else { oldest };
        let (blocking, blocked) = self.blocking()?;
        Ok(Digest { since, whole, blocking, blocked, deeds: self.deeds(from)?, ..gathering.digest() })
    }

    /// What people did, and the agent's clean-up, the newest first. A deed to many failures has a row of
    /// each; rows that follow each other and say the same are one here.
    fn deeds(&self, from: WallTime) -> Result<Vec<Deed>, StoreError> {
        let mut statement = self.connection().prepare(
            "SELECT at, operation, actor_name, actor_uid, claimed_by, reason, seq, entity_type, entity_id FROM audit_log \
             WHERE at >= ?1 ORDER BY at DESC LIMIT ?2",
        )?;
        let mut rows = statement.query(params![from.sql(), as_limit(MOST_AUDITED)])?;
        let mut deeds: Vec<Deed> = Vec::new();
        while let Some(row) = rows.next()? {
            let deed = Deed {
                at: wire_time(text_of(row, 0)?),
                operation: row.get(1)?,
                actor: row.get(2)?,
                actor_uid: row.get(3)?,
                claimed_by: row.get(4)?,
                reason: row.get(5)?,
                seq: row.get(6)?,
                entity_type: row.get(7)?,
                entity_id: row.get(8)?,
                times: 1,
            };
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
        let mut statement = self.numbered()?.prepare(
            "SELECT rowid, entity_type, entity_id, action, status, created_at, order_key FROM sync_failures \
             INDEXED BY sync_failures_person WHERE status <> 'pending' AND head = 1 LIMIT ?1",
        )?;
        let mut rows = statement.query([as_limit(MOST_HEADS)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let blocking = Blocking {
                seq: row.get(0)?,
                entity_type: row.get(1)?,
                entity_id: row.get(2)?,
                action: row.get(3)?,
                status: row.get(4)?,
                created_at: wire_time(&row.get::<_, String>(5)?),
                waiting: 0,
            };
            let order = match row.get::<_, Option<String>>(6)? {
                Some(key) => OrderKey::Given(key),
                None => OrderKey::Entity(blocking.entity_type.clone(), blocking.entity_id.clone()),
            };
            let waiting = self.behind(&order, blocking.seq)?;
            found.push(Blocking { waiting, ..blocking });
        }
        found.retain(|blocking| blocking.waiting > 0);
        found.sort_by_key(|blocking| std::cmp::Reverse(blocking.waiting));
        let all = (found.len() as u64, found.iter().map(|blocking| blocking.waiting).sum());
        found.truncate(MOST_TOLD);
        Ok((found, all))
    }

    /// How many stand behind it and are no heads themselves, as they are where nothing keeps an order.
    fn behind(&self, order: &OrderKey, seq: i64) -> Result<u64, StoreError> {
        let (condition, values) = order_condition(order);
        let mut all: Vec<Value> = values.into_iter().map(|value| Value::from(value.to_owned())).collect();
        all.extend([Value::from(seq), Value::from(as_limit(MOST_BEHIND))]);
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM sync_failures WHERE {condition} AND rowid > ? AND head = 0 LIMIT ?)"
        );
        Ok(self.numbered()?.prepare(&sql)?.query_row(params_from_iter(all), |row| row.get(0))?)
    }
}

/// A column's text; nothing where there is none.
fn text_of<'a>(row: &'a Row, column: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str_or_null()?.unwrap_or_default())
}

/// When a failure was recorded stands in its id, where that is a UUID of version 7.
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

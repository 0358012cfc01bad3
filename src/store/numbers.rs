//! Whether each failure's row has the failure's number, and putting it right where it has not.
//!
//! The agent writes `rowid` and `seq` as one ([`rows`](super::rows)). Others may part them: the table has
//! no `INTEGER PRIMARY KEY`, so SQLite may number its rows anew. `VACUUM` does not, because it copies the
//! indexes with the table; a dump that is read in again does, as does a program that makes the table anew
//! with other columns. What counts then is `seq`: people have read it, and the history has it.
//!
//! Looking at every row takes seconds where there are a million. Rows that were numbered anew in their
//! order have the numbers from 1 without a gap; the last of them has its own number only if they all
//! have. In another order both ends may be right by chance, so rows between them are looked at too. A
//! single one in the middle that a hand has moved is not found; the agent then takes its rowid for its
//! number everywhere, and nothing else comes of it.

use super::ledger::Ledger;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Rows that are looked at between the first and the last.
const BETWEEN: i64 = 30;
/// No number that others wrote may be higher: programs that read JSON hold no more in one of theirs.
const HIGHEST: i64 = 1 << 53;

/// Has each row that is looked at its own number?
pub(super) fn agree(connection: &Connection) -> rusqlite::Result<bool> {
    let ends = "SELECT coalesce((SELECT min(rowid) FROM sync_failures), 1), \
                coalesce((SELECT max(rowid) FROM sync_failures), 1)";
    let (first, last): (i64, i64) = connection.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if first < 1 {
        return Ok(false);
    }
    let sql = "SELECT rowid IS seq FROM sync_failures WHERE rowid >= ?1 ORDER BY rowid LIMIT 1";
    let mut look = connection.prepare_cached(sql)?;
    let step = (last - first) / (BETWEEN + 1);
    for from in (0..=BETWEEN).map(|n| first + n * step).chain([last]) {
        if !look.query_row([from], |row| row.get(0)).optional()?.unwrap_or(true) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives each row the number that its `seq` says; how many had another. One whose `seq` is no number, or
/// is that of another row too, gets a new one behind all; `next_seq` is the next that is given, and kept.
/// In a transaction of the caller's.
pub(super) fn put_right(connection: &Connection, next_seq: &mut i64) -> rusqlite::Result<usize> {
    let moves = moves(connection, next_seq)?;
    let free = connection.query_row("SELECT min(0, min(rowid)) FROM sync_failures", [], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0))
    })?;
    let mut taken = connection.prepare("SELECT 1 FROM sync_failures WHERE rowid = ?1")?;
    let mut go = connection.prepare("UPDATE sync_failures SET rowid = ?2 WHERE rowid = ?1")?;
    let mut waiting = Vec::new();
    // From the highest on: who goes up, as is usual, finds a free place.
    for (n, (rowid, number)) in (1..).zip(&moves) {
        if taken.exists([number])? {
            go.execute([rowid, &(free - n)])?;
            waiting.push((free - n, *number));
        } else {
            go.execute([rowid, number])?;
        }
    }
    for (rowid, number) in waiting {
        go.execute([rowid, number])?;
    }
    // With the rows that got new ones, or a kill before the next round's end has them given again.
    Ledger::save_next_seq(connection, *next_seq)?;
    log::warn!("event=numbers_put_right rows={}", moves.len());
    Ok(moves.len())
}

/// Rows with another number than their own, and theirs, the highest first.
fn moves(connection: &Connection, next_seq: &mut i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    let number = |row: &Row| row.get_ref(1).map(|seq| seq.as_i64().ok().filter(|seq| (1..=HIGHEST).contains(seq)));
    let sql = "SELECT rowid, seq FROM sync_failures WHERE rowid IS NOT seq OR rowid < 1";
    let mut statement = connection.prepare(sql)?;
    let wrong = statement.query_map([], |row| Ok((row.get(0)?, number(row)?)))?;
    let mut wrong: Vec<(i64, Option<i64>)> = wrong.collect::<Result<_, _>>()?;
    wrong.sort_unstable_by_key(|(rowid, seq)| (*seq, *rowid));
    let mut own = connection.prepare("SELECT 1 FROM sync_failures WHERE rowid = ?1 AND seq = ?1")?;
    let right = "SELECT rowid FROM sync_failures WHERE rowid IS seq ORDER BY rowid DESC LIMIT 1";
    let newest = connection.query_row(right, [], |row| row.get(0)).optional()?.unwrap_or(0);
    *next_seq = wrong.iter().filter_map(|(_, seq)| *seq).fold(newest, i64::max).saturating_add(1).max(*next_seq);
    let mut renamed = connection.prepare("UPDATE sync_failures SET seq = ?2 WHERE rowid = ?1")?;
    let (mut moves, mut last) = (Vec::with_capacity(wrong.len()), None);
    for (rowid, seq) in wrong {
        let is_free = seq.is_some() && seq != last && !own.exists([seq])?;
        last = seq;
        let number = if let Some(seq) = seq.filter(|_| is_free) {
            seq
        } else {
            *next_seq += 1;
            renamed.execute(params![rowid, *next_seq - 1])?;
            *next_seq - 1
        };
        moves.push((rowid, number));
    }
    moves.sort_unstable_by_key(|(_, number)| std::cmp::Reverse(*number));
    Ok(moves)
}

#[cfg(test)]
#[path = "numbers_tests.rs"]
mod tests;

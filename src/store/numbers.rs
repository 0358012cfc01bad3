//! Checks `rowid == seq` for every failure's row, and repairs rows where they differ.
//!
//! The agent writes `rowid` and `seq` as one number ([`rows`](super::rows)). Other programs may change one of them: the
//! table has no `INTEGER PRIMARY KEY`, so SQLite may renumber its rows. `VACUUM` does not, because it copies the
//! indexes with the table; restoring a dump does, as does a program that creates the table again with other columns.
//! Then `seq` is decisive, because operators have seen it and the history contains it.
//!
//! Checking every row takes seconds with a million rows. Rows that were renumbered in order have the numbers from 1
//! without a gap; then the last one has its own number only if all have. In another order both ends may match by
//! chance, so rows between them are checked too. The search after a start and after a foreign write
//! ([`odd`](super::odd)) compares all rows, before anything is sent.

use super::agent_row::Ledger;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Number of rows checked between the first and the last.
const BETWEEN: i64 = 30;
/// Highest number accepted from other programs: larger ones exceed the exact integers of many JSON parsers.
pub(super) const HIGHEST: i64 = 1 << 52;
/// Where rows are repaired, those above this number get a new one: half of what is accepted, so that our own numbers, which
/// continue after the highest, are never among them.
const KEPT: i64 = HIGHEST / 2;

/// Returns whether each checked row has its own number.
pub(super) fn agree(connection: &Connection) -> rusqlite::Result<bool> {
    let ends = "SELECT coalesce((SELECT min(rowid) FROM sync_failures), 1), \
                coalesce((SELECT max(rowid) FROM sync_failures), 1)";
    let (first, last): (i64, i64) = connection.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if first < 1 || last > HIGHEST {
        return Ok(false);
    }
    // One that is no number is a damaged cell, which costs its failure no place.
    let sql = "SELECT rowid IS seq OR typeof(seq) <> 'integer' OR seq NOT BETWEEN 1 AND ?2 \
               FROM sync_failures WHERE rowid >= ?1 ORDER BY rowid LIMIT 1";
    let mut look = connection.prepare_cached(sql)?;
    let step = ((last - first) / (BETWEEN + 1)).max(1);
    for from in (0..=BETWEEN).map(|n| first + n * step).chain([last]) {
        if !look.query_row([from, HIGHEST], |row| row.get(0)).optional()?.unwrap_or(true) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives each row the number of its `seq`; returns how many had another. A row whose `seq` is not a number, or is also
/// that of another row, gets a new one above all others; `next_seq` is then raised and stored. Runs in the caller's
/// transaction.
pub(super) fn put_right(connection: &Connection, next_seq: &mut i64) -> rusqlite::Result<usize> {
    let moves = moves(connection, next_seq)?;
    let free = connection.query_row("SELECT min(0, min(rowid)) FROM sync_failures", [], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0))
    })?;
    let mut taken = connection.prepare("SELECT 1 FROM sync_failures WHERE rowid = ?1")?;
    let mut go = connection.prepare("UPDATE sync_failures SET rowid = ?2 WHERE rowid = ?1")?;
    let mut waiting = Vec::new();
    // From the highest on: a row that moves up, the usual case, finds its number free.
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
    // Stored together with the new numbers; otherwise a kill before the next round's end would reuse them.
    Ledger::save_next_seq(connection, *next_seq)?;
    log::warn!("event=rowids_realigned rows={}", moves.len());
    Ok(moves.len())
}

/// Rows with a wrong number, and their right ones, the highest first.
fn moves(connection: &Connection, next_seq: &mut i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    let number = |row: &Row| row.get_ref(1).map(|seq| seq.as_i64().ok().filter(|seq| (1..=KEPT).contains(seq)));
    let sql = "SELECT rowid, seq FROM sync_failures WHERE rowid IS NOT seq OR rowid < 1 OR rowid > ?1";
    let mut statement = connection.prepare(sql)?;
    let wrong = statement.query_map([KEPT], |row| Ok((row.get(0)?, number(row)?)))?;
    let mut wrong: Vec<(i64, Option<i64>)> = wrong.collect::<Result<_, _>>()?;
    wrong.sort_unstable_by_key(|(rowid, seq)| (*seq, *rowid));
    let mut own = connection.prepare("SELECT 1 FROM sync_failures WHERE rowid = ?1 AND seq = ?1")?;
    let right = "SELECT rowid FROM sync_failures WHERE rowid IS seq AND rowid <= ?1 ORDER BY rowid DESC LIMIT 1";
    let newest = connection.query_row(right, [KEPT], |row| row.get(0)).optional()?.unwrap_or(0);
    let given = if *next_seq > KEPT { 0 } else { *next_seq };
    *next_seq = wrong.iter().filter_map(|(_, seq)| *seq).fold(newest, i64::max).saturating_add(1).max(given);
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

//! The agent's own row: agent time, the next number, and the number of live failures.
//!
//! It is held in memory and written with every round, in the same transaction as the rows that it counts, so that it is
//! never wrong after a crash.

use super::cells::Cell;
use super::shape::AGENT;
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment, WallTime, resume};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Agent times in other tables: of the newest failure, the last mark of the history, the last interval.
const TOLD_TIMES: [&str; 3] = [
    "SELECT recorded_at FROM sync_failures ORDER BY rowid DESC LIMIT 1",
    "SELECT max(agent_time) FROM history_marks",
    "SELECT bucket * 300000 FROM series ORDER BY bucket DESC LIMIT 1",
];
/// A number above all that were used, some of which may have left no trace.
const NEWEST: &str = "SELECT 10000 + max( \
    coalesce((SELECT max(rowid) FROM sync_failures WHERE rowid < 1 << 53), 0), \
    coalesce((SELECT max(seq) FROM sync_attempts WHERE typeof(seq) = 'integer' AND seq < 1 << 53), 0), \
    coalesce((SELECT max(seq) FROM audit_log WHERE typeof(seq) = 'integer' AND seq < 1 << 53), 0))";

/// The cells of a repaired row before the repair, by column.
type AsItWas = Vec<(&'static str, Cell)>;

/// Higher numbers are damage.
const MOST_NUMBER: i64 = 1 << 53;

/// The times, latest first.
fn told_times(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut told = Vec::new();
    for sql in TOLD_TIMES {
        let time = connection.query_row(sql, [], |row| Ok(Cell::of(row.get_ref(0)?))).optional()?;
        if let Some(Cell::Integer(time)) = time
            && (0..MOST_NUMBER).contains(&time)
        {
            told.push(time);
        }
    }
    told.sort_unstable_by_key(|time| std::cmp::Reverse(*time));
    Ok(told)
}

/// The agent's own row in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// When it was last written, on both clocks.
    pub at: Moment,
    /// The next insertion number.
    pub next_seq: i64,
    /// Number of rows of `sync_failures`.
    pub live: u64,
}

impl Ledger {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        Self::load_or_mend(connection).map(|(ledger, _)| ledger)
    }

    /// Loads the row. Cells that cannot be read are reconstructed from the other tables, and the original row is
    /// returned too.
    pub(super) fn load_or_mend(connection: &Connection) -> rusqlite::Result<(Self, Option<AsItWas>)> {
        let names = AGENT.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {names} FROM agent WHERE id = 1");
        let read = |row: &Row| {
            let mut cells = Vec::with_capacity(AGENT.columns.len());
            let mut sound = true;
            for (n, column) in AGENT.columns.iter().enumerate() {
                let value = row.get_ref(n)?;
                sound &= column.takes(value);
                cells.push((column, Cell::of(value)));
            }
            Ok((cells, sound))
        };
        let (cells, sound) = connection.prepare_cached(&sql)?.query_row([], read)?;
        let whole = |n: usize| match &cells[n] {
            (column, Cell::Integer(number)) if column.takes(ValueRef::Integer(*number)) => Some(*number),
            _ => None,
        };
        let or = |number: Option<i64>, sql: &str| match number {
            Some(number) => Ok(number),
            None => connection.query_row(sql, [], |row| row.get(0)),
        };
        let told = told_times(connection)?;
        // Agent time never decreases. One later time may be damage itself; two that agree are taken as valid.
        let least = if whole(1).is_some() { told.get(1) } else { told.first() };
        let at = Moment {
            agent: AgentTime::from_millis(whole(1).unwrap_or(0).max(least.copied().unwrap_or(0))),
            wall: WallTime::from_millis(whole(2).unwrap_or(0)),
        };
        let live = or(whole(4), "SELECT COUNT(*) FROM sync_failures")?;
        let ledger = Self { at, next_seq: or(whole(3), NEWEST)?, live: u64::try_from(live).unwrap_or(0) };
        let before = (!sound).then(|| cells.into_iter().map(|(column, cell)| (column.name, cell)).collect());
        Ok((ledger, before))
    }

    /// Raises the next number above that of any failure.
    pub(super) fn pass_all(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let newest: i64 =
            connection.query_row("SELECT coalesce(max(rowid), 0) FROM sync_failures", [], |row| row.get(0))?;
        if newest < MOST_NUMBER {
            self.next_seq = self.next_seq.max(newest + 1);
        }
        Ok(())
    }

    /// Writes a repaired row; its routes are cleared, so that failures are routed again.
    pub(super) fn save_mended(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute("UPDATE agent SET routes = '' WHERE id = 1", [])?;
        self.save(connection)
    }

    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("UPDATE agent SET agent_time = ?1, wall_time = ?2, next_seq = ?3, live = ?4 WHERE id = 1")?
            .execute(params![self.at.agent.as_millis(), self.at.wall.as_millis(), self.next_seq, self.live])?;
        Ok(())
    }

    /// Stores only the next number, in the caller's transaction.
    pub(super) fn save_next_seq(connection: &Connection, next_seq: i64) -> rusqlite::Result<()> {
        connection.execute("UPDATE agent SET next_seq = ?1 WHERE id = 1", [next_seq])?;
        Ok(())
    }

    /// The id of the database; `None` if its cell does not hold one, for example because it is damaged.
    pub(super) fn instance(connection: &Connection) -> rusqlite::Result<Option<String>> {
        let cell = |row: &Row| Ok(Cell::of(row.get_ref(0)?));
        let cell = connection.query_row("SELECT instance FROM agent WHERE id = 1", [], cell)?;
        let Cell::Text(bytes) = cell else { return Ok(None) };
        Ok(String::from_utf8(bytes).ok().filter(|text| Self::is_instance(text)))
    }

    /// Returns whether a text can be the id of a database.
    pub(super) fn is_instance(text: &str) -> bool {
        text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// Gives the database an id: this one, or a random one.
    pub(super) fn name_instance(connection: &Connection, id: Option<&str>) -> rusqlite::Result<String> {
        let sql =
            "UPDATE agent SET instance = coalesce(?1, lower(hex(randomblob(16)))) WHERE id = 1 RETURNING instance";
        connection.query_row(sql, [id], |row| row.get(0))
    }

    /// Stores only the two counts, in the caller's transaction.
    pub(super) fn save_counts(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("UPDATE agent SET next_seq = ?1, live = ?2 WHERE id = 1")?
            .execute(params![self.next_seq, self.live])?;
        Ok(())
    }

    /// Advances agent time, which never decreases.
    pub(super) fn advance(&mut self, now: Moment) {
        self.at = Moment { agent: self.at.agent.max(now.agent), wall: now.wall };
    }

    pub(super) fn take_seq(&mut self) -> Seq {
        let seq = Seq(self.next_seq);
        self.next_seq = self.next_seq.saturating_add(1);
        seq
    }

    /// The newest number used so far.
    #[must_use]
    pub fn newest_seq(&self) -> i64 {
        self.next_seq - 1
    }

    /// Agent time of a start at this wall time.
    #[must_use]
    pub fn resumed(&self, wall: WallTime) -> AgentTime {
        resume(self.at, wall)
    }
}

//! The agent's own row: how long it has lived, which number comes next, how many failures are live.
//!
//! It is held in memory and written with every round, in the same transaction as what it counts, so
//! that it is never wrong after a crash.

use crate::ids::Seq;
use crate::moment::{AgentTime, Moment, WallTime, resume};
use rusqlite::{Connection, params};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// When it was last written, on both clocks.
    pub at: Moment,
    /// The next insertion number.
    pub next_seq: i64,
    /// Rows of `sync_failures`.
    pub live: u64,
}

impl Ledger {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        connection.query_row("SELECT agent_time, wall_time, next_seq, live FROM agent WHERE id = 1", [], |row| {
            let at = Moment { agent: AgentTime::from_millis(row.get(0)?), wall: WallTime::from_millis(row.get(1)?) };
            Ok(Self { at, next_seq: row.get(2)?, live: row.get(3)? })
        })
    }

    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("UPDATE agent SET agent_time = ?1, wall_time = ?2, next_seq = ?3, live = ?4 WHERE id = 1")?
            .execute(params![self.at.agent.as_millis(), self.at.wall.as_millis(), self.next_seq, self.live])?;
        Ok(())
    }

    /// Keeps the next number by itself, in a transaction of the caller's.
    pub(super) fn save_next_seq(connection: &Connection, next_seq: i64) -> rusqlite::Result<()> {
        connection.execute("UPDATE agent SET next_seq = ?1 WHERE id = 1", [next_seq])?;
        Ok(())
    }

    /// Agent time never goes back.
    pub(super) fn advance(&mut self, now: Moment) {
        self.at = Moment { agent: self.at.agent.max(now.agent), wall: now.wall };
    }

    pub(super) fn take_seq(&mut self) -> Seq {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        seq
    }

    /// The newest number given so far.
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

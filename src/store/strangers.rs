//! Another program has written to the file. Only the agent may; what it holds in memory (how many
//! failures are live, which number comes next) is read anew, rows that got other numbers than their own
//! are put right, and who asks is told.
//!
//! SQLite counts the commits of other connections (`PRAGMA data_version`). Readers are no strangers:
//! they leave it as it is.

use super::{Store, StoreError, numbers};
use rusqlite::Connection;

/// What is known of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strangers {
    /// SQLite's count at the last look; `None`: the file was just opened, and everything read.
    version: Option<i64>,
    /// They wrote, and nobody was told yet.
    untold: bool,
    /// They wrote, and what is held in memory was not read anew yet.
    doubtful: bool,
}

impl Store {
    /// Has somebody else written since this was asked last? Their rows are counted by then; what they
    /// did to the order of deliveries is the caller's to mend.
    pub fn strangers_wrote(&mut self) -> Result<bool, StoreError> {
        if self.before.is_none() {
            self.look_for_strangers()?;
            if !self.take_stock()? {
                // A round begins with numbers that are right, and this one with nothing else.
                let begun = self.begin();
                self.rollback();
                begun?;
            }
        }
        Ok(std::mem::take(&mut self.strangers.untold))
    }

    /// In an open round nobody else writes, so what is found then holds to its end.
    pub(super) fn look_for_strangers(&mut self) -> Result<(), StoreError> {
        let version = version(&self.connection)?;
        let known = self.strangers.version.replace(version);
        if known.is_some_and(|known| known != version) {
            (self.strangers.untold, self.strangers.doubtful) = (true, true);
            self.spare = 0;
        }
        Ok(())
    }

    /// Reads anew what strangers may have changed. `false`: they gave rows other numbers than their own,
    /// which is to be put right before.
    pub(super) fn take_stock(&mut self) -> Result<bool, StoreError> {
        if self.strangers.doubtful {
            if !numbers::agree(&self.connection)? {
                return Ok(false);
            }
            let live = self.number("SELECT COUNT(*) FROM sync_failures")?;
            let newest = self.number("SELECT coalesce(MAX(rowid), 0) FROM sync_failures")?;
            self.ledger.live = u64::try_from(live).unwrap_or(0);
            self.ledger.next_seq = self.ledger.next_seq.max(newest.saturating_add(1));
            self.strangers.doubtful = false;
        }
        Ok(true)
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

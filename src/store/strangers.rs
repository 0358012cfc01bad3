//! Another program has written to the file. Only the agent may; what it holds in memory (how many
//! failures are live, which number comes next) is read anew, and who asks is told.
//!
//! SQLite counts the commits of other connections (`PRAGMA data_version`). Readers are no strangers:
//! they leave it as it is.

use super::{Store, StoreError};
use rusqlite::Connection;

/// What is known of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strangers {
    /// SQLite's count at the last look; `None`: the file was just opened, and everything read.
    version: Option<i64>,
    /// They wrote, and nobody was told yet.
    untold: bool,
}

impl Store {
    /// Has somebody else written since this was asked last? Their rows are counted by then; what they
    /// did to the order of deliveries is the caller's to mend.
    pub fn strangers_wrote(&mut self) -> Result<bool, StoreError> {
        if self.before.is_none() {
            self.look_for_strangers()?;
        }
        Ok(std::mem::take(&mut self.strangers.untold))
    }

    /// In an open round nobody else writes, so what is found then holds to its end.
    pub(super) fn look_for_strangers(&mut self) -> Result<(), StoreError> {
        let version = version(&self.connection)?;
        let known = self.strangers.version.replace(version);
        if known.is_some_and(|known| known != version) {
            self.strangers.untold = true;
            let live = self.number("SELECT COUNT(*) FROM sync_failures")?;
            let newest = self.number("SELECT coalesce(MAX(seq), 0) FROM sync_failures")?;
            self.ledger.live = u64::try_from(live).unwrap_or(0);
            self.ledger.next_seq = self.ledger.next_seq.max(newest + 1);
        }
        Ok(())
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

//! Detects commits by other programs. Only the agent may write to the file; after a foreign write it reads again what
//! it holds in memory (the number of live failures, the next number), repairs renumbered rows, and reports the write to
//! its caller.
//!
//! SQLite counts the commits of other connections (`PRAGMA data_version`). Other readers do not change that count.

use super::{Store, StoreError, numbers};
use rusqlite::Connection;

/// What is known of foreign writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ForeignWrites {
    /// SQLite's count at the last check; `None`: the file was just opened and read completely.
    version: Option<i64>,
    /// A foreign write that was not reported yet.
    untold: bool,
    /// A foreign write after which the values in memory were not read again yet.
    doubtful: bool,
}

impl ForeignWrites {
    /// The state at a start; `wrote`: another program wrote while no agent was running.
    pub(super) fn at_start(wrote: bool) -> Self {
        Self { version: None, untold: wrote, doubtful: wrote }
    }
}

impl Store {
    /// Treats a mismatch between rows and memory like a foreign write.
    pub fn doubt(&mut self) {
        self.strangers = ForeignWrites { version: self.strangers.version, ..ForeignWrites::at_start(true) };
    }

    /// Returns whether another program has written since the last call. Its rows are counted by then; the caller must
    /// restore the order of deliveries.
    pub fn take_foreign_write(&mut self) -> Result<bool, StoreError> {
        if self.before.is_none() {
            self.check_foreign_writes()?;
            if !self.reload_counters()? {
                // A round starts with repaired numbers, and this one does nothing else.
                let begun = self.begin();
                self.rollback();
                begun?;
            }
        }
        Ok(std::mem::take(&mut self.strangers.untold))
    }

    /// In an open round no other program can write, so the result holds to its end.
    pub(super) fn check_foreign_writes(&mut self) -> Result<(), StoreError> {
        let version = version(&self.connection)?;
        let known = self.strangers.version.replace(version);
        if known.is_some_and(|known| known != version) {
            (self.strangers.untold, self.strangers.doubtful) = (true, true);
            self.spare = 0;
            self.written.forget();
        }
        Ok(())
    }

    /// Reads again the values that a foreign write may have changed. `false`: rows were renumbered and must be repaired
    /// first.
    pub(super) fn reload_counters(&mut self) -> Result<bool, StoreError> {
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

//! Detects commits by other programs. Only the agent may write to the file; after a foreign write it reads again what
//! it holds in memory (the number of live failures, the next number), repairs renumbered rows, and reports the write to
//! its caller.
//!
//! SQLite counts the commits of other connections (`PRAGMA data_version`). Other readers do not change that count.

use super::{Store, StoreError, foreign_objects, numbers};
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
    /// A row was found whose number is not its rowid.
    misnumbered: bool,
    /// Number of failures that are gone without the agent's doing, not reported yet.
    gone: u64,
}

impl ForeignWrites {
    /// The state at a start; `wrote`: another program wrote while no agent was running.
    pub(super) fn at_start(wrote: bool) -> Self {
        Self { untold: wrote, doubtful: wrote, ..Self::default() }
    }

    /// The state after the file was opened again: failures that are gone are still to be reported.
    pub(super) fn reopened(self, wrote: bool) -> Self {
        Self { untold: wrote || self.gone > 0, gone: self.gone, ..Self::at_start(wrote) }
    }
}

impl Store {
    /// Treats a mismatch between rows and memory like a foreign write.
    pub fn doubt(&mut self) {
        (self.strangers.untold, self.strangers.doubtful) = (true, true);
    }

    /// The same, because a row was found whose number is not its rowid.
    pub(super) fn doubt_numbers(&mut self) {
        self.strangers.misnumbered = true;
        self.doubt();
    }

    /// Returns the number of failures that are gone if another program has written since the last call. Its rows are
    /// counted by then; the caller must restore the order of deliveries.
    pub fn take_foreign_write(&mut self) -> Result<Option<u64>, StoreError> {
        if self.before.is_none() {
            self.check_foreign_writes()?;
            if !self.reload_counters()? {
                // A round starts with repaired numbers, and this one does nothing else.
                let begun = self.begin();
                self.rollback();
                begun?;
            }
        }
        // In an open round its rows are not counted yet.
        let wrote = !self.strangers.doubtful && std::mem::take(&mut self.strangers.untold);
        Ok(wrote.then(|| std::mem::take(&mut self.strangers.gone)))
    }

    /// In an open round no other program can write, so the result holds to its end.
    pub(super) fn check_foreign_writes(&mut self) -> Result<(), StoreError> {
        let version = version(&self.connection)?;
        let known = self.strangers.version.replace(version);
        if known.is_some_and(|known| known != version) {
            self.doubt();
            self.spare = 0;
            self.written.forget();
        }
        Ok(())
    }

    /// Reads again the values that a foreign write may have changed. `false`: [`repair`](Self::repair) comes first.
    pub(super) fn reload_counters(&mut self) -> Result<bool, StoreError> {
        if self.strangers.doubtful {
            if self.strangers.misnumbered
                || !numbers::agree(&self.connection)?
                || !foreign_objects::found(&self.connection, &self.settings)?.is_empty()
            {
                return Ok(false);
            }
            let live = self.number("SELECT COUNT(*) FROM sync_failures")?;
            let newest = self.number("SELECT coalesce(MAX(rowid), 0) FROM sync_failures")?;
            let live = u64::try_from(live).unwrap_or(0);
            self.strangers.gone += self.ledger.live.saturating_sub(live);
            self.ledger.live = live;
            self.ledger.next_seq = self.ledger.next_seq.max(newest.saturating_add(1));
            self.strangers.doubtful = false;
        }
        Ok(true)
    }

    /// Repairs what another program has changed and no round may start with, in the caller's transaction.
    pub(super) fn repair(&mut self) -> Result<(), StoreError> {
        foreign_objects::remove(&self.connection, &self.settings)?;
        if self.strangers.misnumbered || !numbers::agree(&self.connection)? {
            numbers::put_right(&self.connection, &mut self.ledger.next_seq)?;
            self.strangers.misnumbered = false;
        }
        Ok(())
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

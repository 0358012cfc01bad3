//! Integrity check: every page of a table and of its indexes, and whether the two agree.
//!
//! With a million live failures it takes seconds. So it runs table by table, and can be interrupted.

use super::StoreError;
use super::reader::Reader;
use rusqlite::{Error, ErrorCode, InterruptHandle};

/// Result of checking one table.
#[derive(Debug)]
pub enum Finding {
    /// No damage.
    Sound,
    /// Damage.
    Damaged(StoreError),
    /// The check was interrupted.
    Interrupted,
}

impl Reader {
    /// Returns whether the table agrees with the agent's row, which is written with it. A row that another program
    /// inserted while no agent was running may differ in nothing else.
    pub fn counts_agree(&self) -> Result<bool, StoreError> {
        // All counts come from one snapshot of the file.
        let sql = "SELECT live = (SELECT COUNT(*) FROM sync_failures) \
                   AND next_seq > (SELECT coalesce(max(rowid), 0) FROM sync_failures) FROM agent";
        Ok(self.connection().query_row(sql, [], |row| row.get(0))?)
    }

    /// A handle that interrupts this reader from another thread.
    #[must_use]
    pub fn interrupt(&self) -> InterruptHandle {
        self.connection().get_interrupt_handle()
    }

    /// The tables to check.
    pub fn tables(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
        let mut statement = self.connection().prepare(sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// The problems that SQLite reports. A value that is invalid for its column is not damage of the file: the search
    /// for such rows finds it.
    fn findings(&self, sql: &str) -> Result<Vec<String>, Error> {
        let of_a_row = ["NULL value in ", "CHECK constraint failed in ", "ok"];
        let mut statement = self.connection().prepare(sql)?;
        let said = statement.query_map([], |row| row.get::<_, String>(0))?;
        let grave = |said: &Result<String, Error>| {
            said.as_ref().map_or(true, |said| !of_a_row.iter().any(|words| said.starts_with(words)))
        };
        said.filter(grave).take(3).collect()
    }

    /// Checks one table.
    pub fn check(&self, table: &str) -> Result<Finding, StoreError> {
        let sql = format!("PRAGMA integrity_check('{}')", table.replace('\'', "''"));
        match self.findings(&sql).map_err(StoreError::from) {
            Ok(said) if said.is_empty() => Ok(Finding::Sound),
            Ok(said) => {
                let said = said.join("; ").lines().take(3).collect::<Vec<_>>().join("; ");
                Ok(Finding::Damaged(StoreError::damaged(&said)))
            }
            Err(error @ StoreError::Damaged(_)) => Ok(Finding::Damaged(error)),
            Err(StoreError::Failed(error)) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                Ok(Finding::Interrupted)
            }
            Err(error) => Err(error),
        }
    }
}

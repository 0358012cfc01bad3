//! Looking for damage that nobody has met yet: every page of a table and of its indexes, and whether
//! the two agree.
//!
//! It takes seconds where a million failures are live. So it goes table by table, and ends early when
//! the writer wants the file for itself.

use super::StoreError;
use super::reader::Reader;
use rusqlite::{Error, ErrorCode, InterruptHandle};

/// What a look at one table found.
#[derive(Debug)]
pub enum Finding {
    /// Nothing.
    Sound,
    /// Damage.
    Damaged(StoreError),
    /// It was cut short.
    Interrupted,
}

impl Reader {
    /// Ends from another thread what this reader does.
    #[must_use]
    pub fn interrupt(&self) -> InterruptHandle {
        self.connection().get_interrupt_handle()
    }

    /// The tables to look at.
    pub fn tables(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
        let mut statement = self.connection().prepare(sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Looks at one of them.
    pub fn check(&self, table: &str) -> Result<Finding, StoreError> {
        let sql = format!("PRAGMA integrity_check('{}')", table.replace('\'', "''"));
        let said: Result<String, Error> = self.connection().query_row(&sql, [], |row| row.get(0));
        match said.map_err(StoreError::from) {
            Ok(said) if said == "ok" => Ok(Finding::Sound),
            Ok(said) => {
                let said = said.lines().take(3).collect::<Vec<_>>().join("; ");
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

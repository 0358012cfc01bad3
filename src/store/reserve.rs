//! Space for outcomes inside our own files, where no other program can use it: on a disk that another program keeps
//! filling, delivered failures can still be removed.
//!
//! Three things need space, and each gets it in advance:
//!
//! - SQLite's WAL is extended to `journal_size_limit` when the file is opened, and keeps its blocks: after a checkpoint
//!   SQLite overwrites it from the beginning.
//! - The pages that a commit adds to the file are allocated before the commit ([`Store::reserve_growth`]), so a
//!   checkpoint never fails for lack of space.
//! - Pages for an outcome's rows are held by the table `reserve`, as rows of zeros. When outcomes cannot be written,
//!   the rows are deleted, and their pages are free inside the file.
//!
//! Without space for the first two, a commit fails before anything is written. The third is released for outcomes alone
//! and refilled when the disk has space; until then nothing is recorded. When it is used up, the oldest history is
//! deleted, so that outcomes find space as long as there is history.
//!
//! A file system that cannot allocate in advance, or that writes every block to a new place (copy on write), gives none
//! of these guarantees; there only the ballast file helps.

use super::{Store, StoreError, ballast, pragma};
use crate::limits::{BUSY_TIMEOUT, RESERVE};
use rusqlite::{Connection, params};
use std::io;
use std::time::Duration;

/// Bytes of one row of the table.
const ROW: u64 = 64 << 10;
/// Bytes by which the file grows at once.
const GROWTH: u64 = 1 << 20;
/// Number of history rows deleted at once.
const HISTORY: usize = 500;

/// State of the reserve.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reserve {
    rows: u64,
    /// There is none, or no log of full length, or the file could not grow because the disk was full.
    missing: bool,
    /// Bytes that were given up last.
    given_up: u64,
    /// The file system cannot reserve blocks.
    promises_nothing: bool,
}

impl Reserve {
    /// The state of an open file.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let rows = connection.query_row("SELECT COUNT(*) FROM reserve", [], |row| row.get(0))?;
        Ok(Self { rows, ..Self::default() })
    }

    /// Bytes of the file that the reserve uses.
    pub(super) fn bytes(self) -> u64 {
        self.rows * ROW
    }

    pub(super) fn is_missing(self) -> bool {
        self.missing
    }
}

impl Store {
    /// Extends the WAL to its full length, if the disk has space for it.
    pub(super) fn reserve_log(&mut self) {
        let file = self.settings.log_file();
        let reserved = match (self.settings.disk.length)(&file) {
            // SQLite holds no locks on its WAL.
            Some(length) if length < pragma::LOG_ROOM => {
                (self.settings.disk.reserve)(&file, pragma::LOG_ROOM, &mut None)
            }
            _ => return,
        };
        self.reserve_ended(reserved);
    }

    /// Allocates the disk blocks for the pages that the open round adds; on an error the round must not be committed.
    pub(super) fn reserve_growth(&mut self, most: Option<u64>) -> Result<(), StoreError> {
        if self.reserve.promises_nothing || most.is_some_and(|most| self.written.fits(most)) {
            return Ok(());
        }
        let file = self.settings.file();
        let pages = u64::try_from(self.number("PRAGMA page_count")?).unwrap_or(0);
        let needed = pages * u64::from(self.page_size);
        self.extent = needed;
        let length = (self.settings.disk.length)(&file);
        if length.is_none_or(|length| length >= needed) {
            self.written.counted(length.unwrap_or(0), needed);
            return Ok(());
        }
        let more = (self.settings.disk.reserve)(&file, needed + GROWTH, &mut self.growth);
        // If the larger amount does not fit, the amount needed now may.
        self.written.counted(if more.is_ok() { needed + GROWTH } else { 0 }, needed);
        let reserved = if more.is_err() { (self.settings.disk.reserve)(&file, needed, &mut self.growth) } else { more };
        let full = reserved.as_ref().is_err_and(is_full);
        self.reserve_ended(reserved);
        if full {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            return Err(StoreError::Full(rusqlite::Error::SqliteFailure(code, None)));
        }
        Ok(())
    }

    fn reserve_ended(&mut self, reserved: io::Result<bool>) {
        match reserved {
            Ok(true) => {}
            Ok(false) => {
                self.reserve.promises_nothing = true;
                log::info!("event=no_reserve message=\"this file system cannot reserve room inside a file\"");
            }
            Err(error) if is_full(&error) => self.reserve.missing = true,
            // SQLite gets the same error when it writes there, and reports it in more detail.
            Err(error) => log::warn!("event=not_reserved error={:?}", error.to_string()),
        }
    }

    /// Makes the reserve, or makes it larger, when this many bytes are free; and the log has its full length again.
    /// Does not wait for locks.
    pub(super) fn keep_reserve(&mut self, free: u64) {
        // During a salvage, only new failures are written.
        if self.before.is_some() || !self.recovery.is_over() {
            return;
        }
        let log = (self.settings.disk.length)(&self.settings.log_file());
        let lacks = log.map_or(0, |length| pragma::LOG_ROOM.saturating_sub(length));
        // Whoever lets the log or the file grow says so where there is still no room.
        if free >= GROWTH + 2 * lacks {
            self.reserve.missing = false;
            self.reserve_log();
        }
        if let Some(bytes) = ballast::size(free, self.reserve.bytes(), self.reserve.given_up, RESERVE) {
            self.make_reserve(bytes / ROW);
        }
        self.reserve.missing |= self.reserve.rows == 0;
    }

    fn make_reserve(&mut self, rows: u64) {
        let before = self.reserve.rows;
        let filled = self.connection.busy_timeout(Duration::ZERO).map_err(StoreError::from);
        let filled = filled.and_then(|()| self.fill_reserve(rows));
        if let Err(error) = self.connection.busy_timeout(BUSY_TIMEOUT).map_err(StoreError::from).and(filled) {
            self.reserve.rows = before;
            self.undo_open_statement();
            self.reserve.missing |= matches!(error, StoreError::Full(_));
            if !matches!(error, StoreError::Locked(_)) {
                log::warn!("event=reserve_not_made error={:?}", error.to_string());
            }
        }
    }

    fn fill_reserve(&mut self, rows: u64) -> Result<(), StoreError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        while self.reserve.rows < rows {
            let sql = "INSERT INTO reserve (room) VALUES (zeroblob(?1))";
            self.connection.prepare_cached(sql)?.execute(params![i64::try_from(ROW).unwrap_or(0)])?;
            self.reserve.rows += 1;
        }
        self.reserve_growth(None)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.written.commits(None);
        log::info!("event=reserve_made bytes={}", self.reserve.bytes());
        Ok(())
    }

    fn undo_open_statement(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            log::error!("event=rollback_failed error={:?}", error.to_string());
        }
    }

    /// Gives up the reserve, or some of the history; false if there is neither. No round is open.
    pub(super) fn give_up_reserve(&mut self) -> bool {
        if !self.recovery.is_over() {
            return false;
        }
        let had = self.reserve.rows > 0;
        match self.free_pages(had) {
            Ok(freed) if freed => {
                if had {
                    self.reserve.given_up = self.reserve.bytes();
                }
                (self.reserve.rows, self.reserve.missing) = (0, true);
                log::warn!("event={}", if had { "reserve_given_up" } else { "history_given_up" });
                true
            }
            Ok(_) => false,
            Err(error) => {
                log::warn!("event=reserve_not_given_up error={:?}", error.to_string());
                self.undo_open_statement();
                false
            }
        }
    }

    fn free_pages(&mut self, had_reserve: bool) -> Result<bool, StoreError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let freed = if had_reserve {
            self.connection.prepare_cached("DELETE FROM reserve")?.execute([])?
        } else {
            self.shorten_history(HISTORY)?
        };
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.written.commits(None);
        Ok(freed > 0)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

//! A consistent copy of the live file, by SQLite's own `VACUUM INTO`.
//!
//! It reads one state of the file, as any reader does, so the writer continues meanwhile; and it writes a complete file
//! that needs no WAL. (SQLite's incremental backup restarts with every write of another process: beside a busy agent it
//! never ends.) The copy is written without locks, which some file systems do not support, because no other process
//! knows its name yet.

use super::StoreError;
use super::reader::Reader;
use rusqlite::{Connection, OpenFlags};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Reader {
    /// Copies the committed state into an empty file.
    pub fn copy_into(&self, file: &Path) -> Result<(), StoreError> {
        self.connection().execute("VACUUM INTO ?1", [uri(file, "nolock=1")])?;
        Ok(())
    }
}

/// Checks a copy's integrity; returns the number of its live failures.
pub fn examine(copy: &Path) -> Result<u64, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(copy, "immutable=1"), flags)?;
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(StoreError::damaged(&said));
    }
    Ok(connection.query_row("SELECT COUNT(*) FROM sync_failures", [], |row| row.get(0))?)
}

/// A path as an SQLite URI with a parameter; characters with another meaning are escaped.
fn uri(file: &Path, parameter: &str) -> String {
    let mut uri = "file:".to_owned();
    for byte in file.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02x}").expect("a String takes everything");
        }
    }
    format!("{uri}?{parameter}")
}

#[cfg(test)]
mod tests {
    use super::uri;
    use std::path::Path;

    #[test]
    fn a_path_says_nothing_but_where_it_is() {
        assert_eq!(uri(Path::new("/mnt/usb 1/a?b#c%.db"), "x=1"), "file:/mnt/usb%201/a%3fb%23c%25.db?x=1");
    }
}

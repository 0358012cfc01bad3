//! Why a state directory could not be opened, with what the reader of the message can do.

use super::{StoreError, damaged};
use crate::access::standing;
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why a state directory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another agent holds its lock.
    Held {
        /// The state directory.
        dir: PathBuf,
        /// Process id of the other agent, if known.
        pid: Option<u32>,
    },
    /// The file was written by a newer resyncd.
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file has several names (hard links). An agent at another one would not see this one's lock and log.
    Linked {
        /// The file.
        file: PathBuf,
        /// Number of names.
        names: u64,
    },
    /// A query is reading the file; reopening will soon be possible.
    Read,
    /// The file is damaged or not a database.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The evidence.
        why: String,
    },
    /// A file operation failed.
    Io {
        /// The operation.
        doing: &'static str,
        /// Its file or directory.
        path: PathBuf,
        /// The error.
        why: io::Error,
    },
    /// An SQLite call failed.
    Sqlite {
        /// The operation.
        doing: &'static str,
        /// Its file.
        path: PathBuf,
        /// SQLite's message.
        why: String,
        /// The corresponding file system error.
        kind: io::ErrorKind,
    },
}

impl OpenError {
    pub(super) fn io(doing: &'static str, path: &Path, why: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), why }
    }

    /// Returns whether the disk or the database is full.
    #[must_use]
    pub fn is_for_want_of_room(&self) -> bool {
        match self {
            Self::Io { why, .. } => why.kind() == io::ErrorKind::StorageFull,
            Self::Sqlite { kind, .. } => *kind == io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
    pub(super) fn sqlite(doing: &'static str, path: &Path, why: rusqlite::Error) -> Self {
        let (path, text) = (path.to_owned(), why.to_string());
        let kind = match why.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                io::ErrorKind::PermissionDenied
            }
            Some(ErrorCode::DiskFull) => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        if damaged(&why) { Self::Damaged { path, why: text } } else { Self::Sqlite { doing, path, why: text, kind } }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { dir, pid: Some(pid) } => write!(
                f,
                "another resyncd (pid {pid}) holds {}; a directory has one agent. To stop that one: systemctl stop \
                 resyncd, or: kill {pid}",
                dir.display()
            ),
            Self::Held { dir, pid: None } => {
                write!(f, "another resyncd holds {}; a directory has one agent", dir.display())
            }
            Self::Newer { file, found, known } => write!(
                f,
                "{} was written by a newer resyncd (schema {found}, this one knows {known}); it is left untouched. \
                 Install that version again, or move the file away to start with an empty one",
                file.display()
            ),
            Self::Linked { file, names } => write!(
                f,
                "{0} has {names} names (hard links): another agent may use it under another name, and the two would \
                 damage it. Remove the other names (find them: find / -samefile {0}), or make this one a file of \
                 its own: cp -p {0} {0}.copy && mv {0}.copy {0}",
                file.display()
            ),
            Self::Read => f.write_str("a question is being answered from the file"),
            Self::Damaged { path, why } => {
                write!(
                    f,
                    "{} is damaged ({why}); the daemon moves it away and salvages what can be read",
                    path.display()
                )
            }
            Self::Io { doing, path, why } => {
                write!(f, "{doing} {}: {why}{}", path.display(), standing(path, why.kind()))
            }
            Self::Sqlite { doing, path, why, kind } => {
                write!(f, "{doing} {}: {why}{}", path.display(), standing(path, *kind))
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// Converts to the error of a statement that needed the open file.
impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        let words = error.to_string();
        if matches!(error, OpenError::Damaged { .. }) {
            return Self::damaged(&words);
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        Self::Failed(rusqlite::Error::SqliteFailure(code, Some(words)))
    }
}

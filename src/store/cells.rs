//! Reading of cells. SQLite stores any value in any column, so damage or another program can put a value there that the
//! agent never wrote. Values are therefore checked: an unreadable row is noted ([`OddRows`]) and skipped, the others
//! are read, and the writer moves it out of the way ([`odd`](super::odd)).

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Error, Row};
use std::cell::{Cell as Shared, RefCell};
use std::collections::BTreeSet;

/// A value as stored in the file, including text that is not UTF-8. (`rusqlite::types::Value` cannot hold that, and
/// panics.)
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Cell {
    pub(super) fn of(value: ValueRef) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }

    fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }

    /// The text of a text or BLOB value, if it is UTF-8.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) | Self::Blob(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A readable form of the value, with replacements where it is not UTF-8.
    pub(super) fn lossy(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Integer(number) => Some(number.to_string()),
            Self::Real(number) => Some(number.to_string()),
            Self::Text(bytes) | Self::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.as_ref()))
    }
}

/// Text, also where another program stored its bytes as a BLOB (`readfile` of the `sqlite3` shell does).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl FromSql for Text {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        text_of(value).map(|text| Self(text.to_owned()))
    }
}

/// Like [`Text`], borrowed.
pub(super) fn text_of(value: ValueRef<'_>) -> FromSqlResult<&str> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => std::str::from_utf8(bytes).map_err(FromSqlError::other),
        _ => Err(FromSqlError::InvalidType),
    }
}

pub(super) fn text(row: &Row, column: usize) -> rusqlite::Result<String> {
    row.get(column).map(|Text(text)| text)
}

pub(super) fn text_or_null(row: &Row, column: usize) -> rusqlite::Result<Option<String>> {
    row.get::<_, Option<Text>>(column).map(|text| text.map(|Text(text)| text))
}

/// A readable form of a text; `None` if there is none.
pub(super) fn readable(row: &Row, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(Cell::of(row.get_ref(column)?).lossy())
}

/// Returns whether this error means that a cell holds a value that is invalid for its column.
pub(super) fn is_odd(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
            | Error::InvalidColumnType(..)
    )
}

/// The value; `None` if a cell is invalid.
pub(super) fn unless_odd<T>(read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_odd(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Rows that could not be read, until they are moved out of the way.
#[derive(Debug, Default)]
pub(super) struct OddRows {
    /// Rowids of failures.
    failures: RefCell<BTreeSet<i64>>,
    /// Rows in other tables, or failures without a known rowid, are affected: all tables must be searched.
    elsewhere: Shared<bool>,
}

impl OddRows {
    /// Further rows are left to a search.
    const MOST: usize = 1000;

    pub(super) fn note(&self, rowid: i64) {
        let mut failures = self.failures.borrow_mut();
        if failures.len() < Self::MOST {
            failures.insert(rowid);
        } else {
            self.note_elsewhere();
        }
    }

    pub(super) fn note_elsewhere(&self) {
        self.elsewhere.set(true);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.failures.borrow().is_empty() && !self.elsewhere.get()
    }

    pub(super) fn failures(&self) -> Vec<i64> {
        self.failures.borrow().iter().copied().collect()
    }

    pub(super) fn settled(&self, rowid: i64) {
        self.failures.borrow_mut().remove(&rowid);
    }

    pub(super) fn take_elsewhere(&self) -> bool {
        self.elsewhere.replace(false)
    }

    /// A failure whose rowid is in this column; `None`, and noted, if it cannot be read.
    pub(super) fn read<T>(&self, row: &Row, rowid: usize, read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
        let read = unless_odd(read)?;
        if read.is_none() {
            self.note(row.get(rowid)?);
        }
        Ok(read)
    }

    /// A row of another table; `None`, and noted, if it cannot be read.
    pub(super) fn read_elsewhere<T>(&self, read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
        let read = unless_odd(read)?;
        if read.is_none() {
            self.note_elsewhere();
        }
        Ok(read)
    }
}

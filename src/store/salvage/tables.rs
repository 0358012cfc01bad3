//! Identifies the table of a record by its shape, and its columns by name.
//!
//! The damaged file's own schema is not used, because it may be damaged. A migration appends columns, so a record of an
//! older schema has the first columns of the present one.

use super::records::Record;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// A table that is salvaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Failures,
    Attempts,
    Audit,
    Keys,
    Upstreams,
    Agent,
    Alerts,
}

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failures => "sync_failures",
            Self::Attempts => "sync_attempts",
            Self::Audit => "audit_log",
            Self::Keys => "idempotency_keys",
            Self::Upstreams => "upstreams",
            Self::Agent => "agent",
            Self::Alerts => "alerts",
        }
    }

    /// Number of columns in the table's first version.
    fn first_columns(self) -> usize {
        match self {
            Self::Failures => 38,
            Self::Attempts => 18,
            Self::Audit => 16,
            Self::Keys | Self::Agent => 7,
            Self::Upstreams => 4,
            Self::Alerts => 10,
        }
    }

    /// Returns whether the columns that distinguish this table from all others have valid values.
    fn fits(self, record: &Record) -> bool {
        let column = |n: usize| record.values.get(n).and_then(Option::as_ref);
        let text = |n| matches!(column(n), Some(Value::Text(text)) if !text.is_empty());
        let integer = |n| matches!(column(n), Some(Value::Integer(_)));
        let is_row_number = |n| matches!(column(n), Some(Value::Null));
        (self == Self::Keys) == record.rowid.is_none()
            && match self {
                Self::Failures => (0..4).all(text),
                Self::Attempts => is_row_number(0) && text(1) && integer(2),
                Self::Audit => is_row_number(0) && text(1) && text(5),
                Self::Keys => text(0) && integer(1) && text(2) && matches!(column(3), Some(Value::Blob(_))),
                Self::Upstreams => text(0) && text(1),
                Self::Agent => is_row_number(0) && (1..5).all(integer),
                Self::Alerts => text(0) && integer(2) && text(3) && text(5) && integer(7),
            }
    }
}

/// The meaning of a record.
pub(super) enum Known {
    /// A row of a table.
    Row(Table),
    /// An entry of the index on counts and times: a failure was live in this row.
    Live { rowid: i64 },
}

/// The tables of the present schema.
pub(super) struct Tables(Vec<(Table, Vec<Column>)>);

struct Column {
    name: String,
    declared: String,
}

impl Tables {
    /// Reads them from a file with the present schema.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        use Table::{Agent, Alerts, Attempts, Audit, Failures, Keys, Upstreams};
        let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?1) ORDER BY cid")?;
        let mut tables = Vec::new();
        for table in [Failures, Attempts, Audit, Keys, Upstreams, Agent, Alerts] {
            let columns = statement
                .query_map([table.name()], |row| Ok(Column { name: row.get(0)?, declared: row.get(1)? }))?
                .collect::<rusqlite::Result<_>>()?;
            tables.push((table, columns));
        }
        Ok(Self(tables))
    }

    /// Identifies a record; `None` if it is not one of ours.
    pub(super) fn know(&self, record: &Record) -> Option<Known> {
        use Value::{Integer, Text};
        if let (None, [Some(Integer(_)), Some(Text(_)), Some(Integer(rowid))]) = (record.rowid, &record.values[..]) {
            return Some(Known::Live { rowid: *rowid });
        }
        let width = record.values.len();
        let fits = |(table, columns): &&(Table, Vec<Column>)| {
            (table.first_columns()..=columns.len()).contains(&width) && table.fits(record)
        };
        self.0.iter().find(fits).map(|(table, _)| Known::Row(*table))
    }

    /// A record's columns. A value that is invalid for its column becomes `None`, like a lost one.
    pub(super) fn row(&self, table: Table, record: Record) -> Row {
        let columns = self.0.iter().find(|(known, _)| *known == table).map_or(&[][..], |(_, columns)| columns);
        let sound = |(column, value): (&Column, Option<Value>)| {
            let value = value.filter(|value| is_of(value, &column.declared));
            (column.name.clone(), value)
        };
        Row { table, columns: columns.iter().zip(record.values).map(sound).collect() }
    }
}

fn is_of(value: &Value, declared: &str) -> bool {
    match value {
        Value::Null => true,
        Value::Integer(_) => declared == "INTEGER",
        Value::Text(_) => matches!(declared, "TEXT" | "TIMESTAMP"),
        Value::Blob(_) => declared == "BLOB",
        Value::Real(_) => false,
    }
}

/// A row by its columns' names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    table: Table,
    columns: Vec<(String, Option<Value>)>,
}

impl Row {
    /// The row of a live failure's key.
    pub(super) fn of_key(uid: i64, key: &str, failure: &str, content: &[u8]) -> Self {
        let column = |name: &str, value| (name.to_owned(), Some(value));
        let columns = vec![
            column("key", Value::Text(key.to_owned())),
            column("source_uid", Value::Integer(uid)),
            column("failure_id", Value::Text(failure.to_owned())),
            column("sha256", Value::Blob(content.to_vec())),
        ];
        Self { table: Table::Keys, columns }
    }

    /// A column; `None` if it is lost, `Some(Null)` if it is NULL.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.columns.iter().find(|(column, _)| column == name)?.1.as_ref()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        if let Some((_, column)) = self.columns.iter_mut().find(|(column, _)| column == name) {
            *column = Some(value.into());
        }
    }

    /// Marks a column's value as lost.
    pub(super) fn lose(&mut self, name: &str) {
        if let Some((_, column)) = self.columns.iter_mut().find(|(column, _)| column == name) {
            *column = None;
        }
    }

    /// Inserts the row, unless its table rejects it or has it already. A failure's number becomes its rowid.
    pub(super) fn insert(&self, into: &Connection) -> rusqlite::Result<bool> {
        let number = Value::from(self.integer("seq"));
        let number = (self.table == Table::Failures).then_some(("rowid", &number));
        let columns = self.columns.iter().map(|(name, value)| (name.as_str(), value.as_ref().unwrap_or(&Value::Null)));
        let (names, values): (Vec<&str>, Vec<&Value>) = columns.chain(number).unzip();
        let marks = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT OR IGNORE INTO {} ({}) VALUES ({marks})", self.table.name(), names.join(", "));
        Ok(into.prepare_cached(&sql)?.execute(params_from_iter(values))? > 0)
    }
}

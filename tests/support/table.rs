//! The database as other programs see it: read only, beside the running agent.

use super::Agent;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::time::Duration;

impl Agent {
    /// The live file, opened read only, with the settings recommended for other programs.
    pub(crate) fn reading(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.database(), flags).expect("the live file opens");
        connection.busy_timeout(Duration::from_secs(5)).expect("a time-out is set");
        connection
    }

    /// The rows that a SELECT returns.
    #[track_caller]
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        let connection = self.reading();
        let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let width = statement.column_count();
        let mut rows = statement.query([]).expect("a query without parameters");
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap_or_else(|error| panic!("{sql}: {error}")) {
            found.push((0..width).map(|n| value(row.get_ref(n).expect("a column"))).collect());
        }
        found
    }

    /// The single value that a SELECT returns.
    #[track_caller]
    pub(crate) fn cell(&self, sql: &str) -> Value {
        let rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: one row was expected, found {rows:?}");
        rows[0][0].clone()
    }

    /// The first column of the result of a SELECT.
    #[track_caller]
    pub(crate) fn column(&self, sql: &str) -> Vec<Value> {
        self.rows(sql).into_iter().map(|mut row| row.swap_remove(0)).collect()
    }
}

fn value(value: ValueRef) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(std::str::from_utf8(text).expect("text is UTF-8")),
        ValueRef::Blob(bytes) => json!(bytes),
    }
}

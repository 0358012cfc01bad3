//! Valid values for each column of each table, and replacements for invalid ones.
//!
//! The agent's own statements write valid values only. Others come from another program or a damaged disk
//! ([`odd`](super::odd)). A new column must be added here; a test compares the two. The table `reserve` is not
//! included, because its rows' content is never read.

use super::cells::Cell;
use crate::moment::WallTime;
use rusqlite::types::ValueRef;

/// The shape of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    /// The columns of its primary key, if it has no rowid.
    pub(super) key: &'static [&'static str],
    pub(super) columns: &'static [Column],
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    pub(super) may_be_null: bool,
    pub(super) otherwise: Otherwise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Text in UTF-8.
    Text,
    /// The same, not empty: an empty key names nothing.
    Key,
    /// The same, but so long that a search only checks its type.
    LongText,
    /// A time as text. The column's affinity converts numeric text to a number.
    FileVersion,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A number in this range.
    Whole(i64, i64),
    /// A SHA-256.
    Digest,
}

/// The replacement for an invalid value. (Failures have rules of their own.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    Null,
    Whole(i64),
    /// The readable part of it.
    Readable,
    /// The first second of 1970.
    Never,
    /// The row is useless without it and is removed.
    Removed,
}

/// Larger numbers are neither times (in milliseconds) nor insertion numbers.
const MOST: i64 = 1 << 53;
const FLAG: Holds = Holds::Whole(0, 1);
const COUNT: Holds = Holds::Whole(0, u32::MAX as i64);
const AMOUNT: Holds = Holds::Whole(0, MOST);
/// Agent time; imported failures may be older than the agent.
const TIME: Holds = Holds::Whole(-MOST, MOST);
const SEQ: Holds = Holds::Whole(1, MOST);
const HTTP: Holds = Holds::Whole(0, u16::MAX as i64);

const fn column(name: &'static str, holds: Holds, otherwise: Otherwise) -> Column {
    Column { name, holds, may_be_null: false, otherwise }
}

const fn nullable(name: &'static str, holds: Holds) -> Column {
    let otherwise = if matches!(holds, Holds::Text | Holds::LongText) { Otherwise::Readable } else { Otherwise::Null };
    Column { name, holds, may_be_null: true, otherwise }
}

use Holds::{Digest, FileVersion, Key, LongText, Text, Whole, Word};
use Otherwise::{Readable, Removed};

pub(super) const FAILURES: Shape = Shape {
    name: "sync_failures",
    key: &[],
    columns: &[
        column("id", Text, Removed),
        column("entity_type", Text, Removed),
        column("entity_id", Text, Removed),
        column("action", Text, Readable),
        column("error", Text, Readable),
        nullable("payload", LongText),
        column("retry_count", COUNT, Otherwise::Whole(0)),
        nullable("last_retry_at", FileVersion),
        column("created_at", FileVersion, Otherwise::Never),
        column("updated_at", FileVersion, Otherwise::Never),
        column("seq", SEQ, Otherwise::Null),
        column("status", Word(&["pending", "held", "critical"]), Otherwise::Null),
        nullable("next_retry_at", FileVersion),
        nullable("due_at", TIME),
        column("recorded_at", TIME, Otherwise::Whole(0)),
        nullable("upstream", Text),
        nullable("order_key", Text),
        nullable("idempotency_key", Key),
        nullable("payload_kind", Word(&["json", "text", "bytes"])),
        nullable("http_status", HTTP),
        nullable("error_class", Text),
        nullable("source_uid", COUNT),
        nullable("source_pid", COUNT),
        column("terminal_id", Text, Readable),
        nullable("store_id", Text),
        column("head", FLAG, Otherwise::Whole(0)),
        column("uncounted", FLAG, Otherwise::Whole(1)),
        column("attempts", COUNT, Otherwise::Whole(0)),
        column("unsure", FLAG, Otherwise::Whole(1)),
        nullable("retry_state", Text),
        nullable("refundable_under", TIME),
        nullable("exhausted_at", TIME),
        nullable("retry_after_until", TIME),
        nullable("last_sent_at", TIME),
        nullable("recorded_key", Key),
        nullable("content_checksum", Holds::Whole(i64::MIN, i64::MAX)),
        nullable("imported_at", TIME),
        column("strict", FLAG, Otherwise::Whole(0)),
    ],
};

const ATTEMPTS: Shape = Shape {
    name: "sync_attempts",
    key: &[],
    columns: &[
        column("failure_id", Text, Removed),
        column("seq", Whole(-MOST, MOST), Otherwise::Whole(0)),
        column("entity_type", Text, Readable),
        column("entity_id", Text, Readable),
        column("action", Text, Readable),
        column("attempt", COUNT, Otherwise::Whole(0)),
        column("trigger", Text, Readable),
        column("upstream", Text, Readable),
        column("started_at", FileVersion, Removed),
        column("duration_ms", AMOUNT, Otherwise::Whole(0)),
        nullable("http_status", HTTP),
        column("class", Text, Removed),
        nullable("error", Text),
        nullable("response", Text),
        column("counted", FLAG, Otherwise::Whole(0)),
        column("provisional", FLAG, Otherwise::Whole(0)),
        nullable("why", Text),
    ],
};

const AUDIT: Shape = Shape {
    name: "audit_log",
    key: &[],
    columns: &[
        column("at", FileVersion, Removed),
        nullable("actor_uid", COUNT),
        nullable("actor_name", Text),
        nullable("claimed_by", Text),
        column("operation", Text, Removed),
        nullable("failure_id", Text),
        nullable("reason", Text),
        nullable("sha256_before", Text),
        nullable("sha256_after", Text),
        nullable("old_payload", LongText),
        nullable("seq", Whole(-MOST, MOST)),
        nullable("entity_type", Text),
        nullable("entity_id", Text),
        nullable("action", Text),
        nullable("changes", Text),
    ],
};

pub(super) const KEYS: Shape = Shape {
    name: "idempotency_keys",
    key: &["key", "source_uid"],
    columns: &[
        column("key", Text, Removed),
        column("source_uid", COUNT, Removed),
        column("failure_id", Text, Removed),
        column("sha256", Digest, Removed),
        nullable("outcome", Word(&["delivered", "discarded", "cleaned"])),
        nullable("left_at", FileVersion),
        nullable("left_by", TIME),
    ],
};

pub(super) const UPSTREAMS: Shape = Shape {
    name: "upstreams",
    key: &[],
    columns: &[
        column("name", Text, Removed),
        // An upstream with an invalid state starts over without one.
        column("state", Text, Readable),
        column("ordering", Word(&["key", "strict", "none"]), Removed),
        column("updated_at", FileVersion, Otherwise::Never),
    ],
};

/// Its only row is read and repaired when the file is opened.
pub(super) const AGENT: Shape = Shape {
    name: "agent",
    key: &[],
    columns: &[
        column("id", Whole(1, 1), Removed),
        column("agent_time", Whole(0, MOST), Otherwise::Null),
        column("wall_time", TIME, Otherwise::Null),
        column("next_seq", SEQ, Otherwise::Null),
        column("live", Whole(0, MOST), Otherwise::Null),
        column("routes", Text, Readable),
        column("instance", Text, Readable),
    ],
};

const ALERTS: Shape = Shape {
    name: "alerts",
    key: &[],
    columns: &[
        column("kind", Text, Removed),
        column("subject", Text, Removed),
        column("active", FLAG, Removed),
        column("since", FileVersion, Removed),
        nullable("cleared_at", FileVersion),
        column("message", Text, Readable),
        column("amount", AMOUNT, Otherwise::Whole(0)),
        column("changed_at", TIME, Removed),
        column("untold", FLAG, Otherwise::Whole(0)),
        nullable("told_at", TIME),
    ],
};

const MARKS: Shape = Shape {
    name: "history_marks",
    key: &[],
    columns: &[
        column("agent_time", TIME, Removed),
        column("attempt_id", Whole(0, i64::MAX), Removed),
        column("audit_id", Whole(0, i64::MAX), Removed),
    ],
};

const ARCHIVE_FILES: Shape = Shape {
    name: "archive_files",
    key: &[],
    columns: &[column("name", Text, Removed), column("written_at", TIME, Removed)],
};

const CLEAN_UP: Shape = Shape {
    name: "clean_up",
    key: &[],
    columns: &[column("id", Whole(1, 1), Removed), nullable("ended_at", TIME), nullable("not_before", TIME)],
};

const SERIES: Shape = Shape {
    name: "series",
    key: &["bucket", "upstream"],
    columns: &[
        column("bucket", TIME, Removed),
        column("upstream", Text, Removed),
        nullable("wall_time", TIME),
        column("recorded", AMOUNT, Removed),
        column("delivered", AMOUNT, Removed),
        column("failed", AMOUNT, Removed),
        column("refused", AMOUNT, Removed),
        column("offline_ms", AMOUNT, Removed),
        column("shut_ms", AMOUNT, Removed),
        column("pending", AMOUNT, Removed),
        column("critical", AMOUNT, Removed),
        column("held", AMOUNT, Removed),
    ],
};

/// All tables that are searched, in this order.
pub(super) const SHAPES: [&Shape; 11] =
    [&FAILURES, &UPSTREAMS, &KEYS, &ALERTS, &AGENT, &CLEAN_UP, &MARKS, &ARCHIVE_FILES, &SERIES, &ATTEMPTS, &AUDIT];

impl Shape {
    pub(super) fn has_rowid(&self) -> bool {
        self.key.is_empty()
    }
}

impl Column {
    /// Returns whether the value is valid for this column.
    pub(super) fn takes(&self, value: ValueRef) -> bool {
        match (self.holds, value) {
            (_, ValueRef::Null) => self.may_be_null,
            (Text | LongText | FileVersion, ValueRef::Text(bytes)) => std::str::from_utf8(bytes).is_ok(),
            (Key, ValueRef::Text(bytes)) => !bytes.is_empty() && std::str::from_utf8(bytes).is_ok(),
            (Word(words), ValueRef::Text(bytes)) => words.iter().any(|word| word.as_bytes() == bytes),
            (Whole(least, most), ValueRef::Integer(number)) => (least..=most).contains(&number),
            (Digest, ValueRef::Blob(bytes)) => bytes.len() == 32,
            _ => false,
        }
    }

    /// The text of a BLOB, if this column holds text.
    pub(super) fn as_text<'a>(&self, cell: &'a Cell) -> Option<&'a str> {
        let Cell::Blob(bytes) = cell else { return None };
        let text = std::str::from_utf8(bytes).ok()?;
        let holds = match self.holds {
            Text | Key | LongText | Word(_) => self.takes(ValueRef::Text(bytes)),
            FileVersion => WallTime::parse(text).is_some(),
            Whole(..) | Digest => false,
        };
        holds.then_some(text)
    }

    /// The replacement; `None`: the row is removed.
    pub(super) fn mended(&self, cell: &Cell) -> Option<Cell> {
        if let Some(text) = self.as_text(cell) {
            return Some(Cell::Text(text.into()));
        }
        match self.otherwise {
            Otherwise::Null => Some(Cell::Null),
            Otherwise::Whole(number) => Some(Cell::Integer(number)),
            Otherwise::Never => Some(Cell::Text(WallTime::from_millis(0).sql().into_bytes())),
            Readable => Some(match cell.lossy() {
                Some(text) => Cell::Text(text.into_bytes()),
                None if self.may_be_null => Cell::Null,
                None => Cell::Text(Vec::new()),
            }),
            Removed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::store::{Store, StoreSettings};
    use std::collections::BTreeSet;

    #[test]
    fn every_column_of_every_table_has_its_shape() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let store = Store::open(settings, WallTime::from_millis(0)).expect("a store");
        let sql = "SELECT tables.name || '.' || columns.name FROM pragma_table_list AS tables, \
                   pragma_table_xinfo(tables.name) AS columns WHERE tables.schema = 'main' \
                   AND tables.name NOT LIKE 'sqlite%' AND tables.name NOT IN ('refinery_schema_history', 'reserve') \
                   AND NOT (columns.name = 'id' AND tables.name IN ('sync_attempts', 'audit_log'))";
        let mut statement = store.connection.prepare(sql).expect("SQL");
        let there = statement.query_map([], |row| row.get::<_, String>(0)).expect("columns");
        let there: BTreeSet<String> = there.collect::<Result<_, _>>().expect("columns");
        let shaped = SHAPES.iter().flat_map(|shape| shape.columns.iter().map(move |column| (shape.name, column.name)));
        let shaped: BTreeSet<String> = shaped.map(|(table, column)| format!("{table}.{column}")).collect();
        assert_eq!(there, shaped);
    }
}

//! The file as another program sees it. The checks of the simulation read it through their own
//! connection, so that "committed" does not depend on what the agent reports.
//!
//! Commits that fail as a whole also originate here: a trigger makes the last statement before each
//! fail. (Realistic disk faults are in [`crate::disk`].)

use crate::edits::Edited;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The columns of a `sync_failures` row that the model checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) retry_count: u32,
    pub(crate) attempts: u32,
    pub(crate) payload: Option<String>,
    /// It is held until the rest of a replay is back.
    pub(crate) awaits_replay: bool,
}

const COLUMNS: &str = "seq, id, status, retry_count, attempts, payload, \
                       status = 'held' AND error_class IS 'awaits_replay'";

fn row(row: &rusqlite::Row) -> rusqlite::Result<Row> {
    Ok(Row {
        seq: row.get(0)?,
        id: row.get(1)?,
        status: row.get(2)?,
        retry_count: row.get(3)?,
        attempts: row.get(4)?,
        payload: row.get(5)?,
        awaits_replay: row.get(6)?,
    })
}

/// A read-only view of the file.
#[derive(Debug)]
pub(crate) struct Table(Connection, PathBuf);

impl Table {
    pub(crate) fn open(file: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let archive = file.with_file_name("archive");
        Self(Connection::open_with_flags(file, flags).expect("the file can be read"), archive)
    }

    /// Keeps the state of this moment readable until it is dropped.
    pub(crate) fn reading(file: &Path) -> Self {
        let table = Self::open(file);
        table.0.execute_batch("BEGIN; SELECT COUNT(*) FROM sync_failures").expect("a state of the file");
        table
    }

    pub(crate) fn row(&self, seq: i64) -> Option<Row> {
        let sql = format!("SELECT {COLUMNS} FROM sync_failures WHERE seq = ?1");
        let mut statement = self.0.prepare_cached(&sql).expect("SQL");
        statement.query_row([seq], row).optional().expect("a row")
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let sql = format!("SELECT {COLUMNS} FROM sync_failures ORDER BY seq");
        let mut statement = self.0.prepare_cached(&sql).expect("SQL");
        statement.query_map([], row).expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    /// Attempts of a failure, and how many of them counted.
    pub(crate) fn attempts(&self, id: &str) -> (u32, u32) {
        let mut statement = self
            .0
            .prepare_cached("SELECT COUNT(*), COALESCE(SUM(counted), 0) FROM sync_attempts WHERE failure_id = ?1")
            .expect("SQL");
        statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).expect("two numbers")
    }

    /// The same for every live failure that was attempted.
    pub(crate) fn all_attempts(&self) -> BTreeMap<String, (u32, u32)> {
        let mut statement = self
            .0
            .prepare_cached(
                "SELECT failure_id, COUNT(*), SUM(counted) FROM sync_attempts \
                 WHERE failure_id IN (SELECT id FROM sync_failures) GROUP BY failure_id",
            )
            .expect("SQL");
        let tries = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).expect("rows");
        tries.collect::<Result<_, _>>().expect("rows")
    }

    /// Order keys without exactly one head, or whose head is not their oldest.
    pub(crate) fn wrong_heads(&self) -> Vec<String> {
        let mut statement = self
            .0
            .prepare_cached(
                "SELECT COALESCE('k:' || order_key, 'e:' || entity_type || '/' || entity_id) AS own FROM sync_failures \
                 GROUP BY own HAVING SUM(head) <> 1 OR MIN(seq) <> SUM(head * seq)",
            )
            .expect("SQL");
        statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    /// The agent's own count of live failures.
    pub(crate) fn live(&self) -> usize {
        self.0.query_row("SELECT live FROM agent", [], |row| row.get(0)).expect("the agent's row")
    }

    /// Lines of the audit.
    pub(crate) fn audited(&self) -> i64 {
        self.0.query_row("SELECT COUNT(*) FROM audit_log", [], |row| row.get(0)).expect("a count")
    }

    /// Lines of the audit with this reason.
    pub(crate) fn audited_for(&self, reason: &str) -> u64 {
        let sql = "SELECT COUNT(*) FROM audit_log WHERE reason = ?1";
        self.0.query_row(sql, [reason], |row| row.get(0)).expect("a count")
    }

    /// Rows of the space reserved for outcomes.
    pub(crate) fn reserve(&self) -> u64 {
        self.0.query_row("SELECT COUNT(*) FROM reserve", [], |row| row.get(0)).expect("a count")
    }

    /// The audit after this line: the number, operation, failure and time of each line.
    pub(crate) fn audit_behind(&self, line: i64) -> Vec<(i64, String, String, String)> {
        let sql =
            "SELECT id, operation, failure_id, at FROM audit_log WHERE id > ?1 AND failure_id IS NOT NULL ORDER BY id";
        let mut statement = self.0.prepare_cached(sql).expect("SQL");
        let rows = statement.query_map([line], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        rows.expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    /// The line of a failure that was delivered at this attempt.
    pub(crate) fn delivered_line(&self, id: &str, attempts: u32) -> Option<Value> {
        let files = std::fs::read_dir(&self.1).ok()?.map(|entry| entry.expect("an entry").path());
        let files =
            files.filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().contains("delivered")));
        let texts: Vec<String> = files.map(|file| std::fs::read_to_string(file).expect("a file")).collect();
        let start = format!("{{\"id\":\"{id}\"");
        let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with(&start));
        let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["attempts"] == attempts)
    }

    /// Whether the archive has a complete line saying that the failure left at this time.
    pub(crate) fn is_archived(&self, id: &str, at: &str) -> bool {
        let month = self.1.join(format!("{}.jsonl", &at[..7]));
        let text = std::fs::read(month).unwrap_or_default();
        let left_at = format!("{}Z", at.replace(' ', "T"));
        text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).any(|line| {
            let line: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
            line["id"] == id && line["left_at"] == left_at
        })
    }

    /// Whether the audit, after this many lines, has an operator's retry of this failure.
    pub(crate) fn is_retried_since(&self, lines: i64, id: &str) -> bool {
        let sql = "SELECT EXISTS (SELECT 1 FROM audit_log WHERE id > ?1 AND failure_id = ?2 AND operation = 'retry')";
        self.0.query_row(sql, rusqlite::params![lines, id], |row| row.get(0)).expect("an answer")
    }

    /// Edits after this line of the audit: their lines and failures.
    pub(crate) fn edits_since(&self, line: i64) -> Vec<(i64, String)> {
        let sql = "SELECT id, failure_id FROM audit_log WHERE id > ?1 AND operation = 'edit' ORDER BY failure_id, id";
        let mut statement = self.0.prepare_cached(sql).expect("SQL");
        let lines = statement.query_map([line], |row| Ok((row.get(0)?, row.get(1)?))).expect("lines");
        lines.collect::<Result<_, _>>().expect("lines")
    }

    /// A failure as an edit has left it.
    pub(crate) fn edited(&self, id: &str) -> Option<Edited> {
        let sql = "SELECT seq, payload, idempotency_key, entity_id, \
                   COALESCE('k:' || order_key, 'e:' || entity_type || '/' || entity_id) FROM sync_failures WHERE id = ?1";
        let mut statement = self.0.prepare_cached(sql).expect("SQL");
        let edited = statement.query_row([id], |row| {
            Ok(Edited {
                seq: row.get(0)?,
                payload: row.get(1)?,
                key: row.get(2)?,
                entity_id: row.get(3)?,
                order: row.get(4)?,
            })
        });
        edited.optional().expect("a row")
    }

    /// Everything that a round could change, in one text.
    pub(crate) fn everything(&self) -> String {
        const PARTS: [&str; 4] = [
            "SELECT agent_time || ' ' || wall_time || ' ' || next_seq || ' ' || live FROM agent",
            "SELECT group_concat(seq || status || attempts || retry_count || head || updated_at || coalesce(due_at, '-')) \
             FROM (SELECT * FROM sync_failures ORDER BY seq)",
            "SELECT (SELECT COUNT(*) FROM sync_attempts) || ' ' || (SELECT COUNT(*) FROM audit_log)",
            "SELECT group_concat(name || state) FROM upstreams",
        ];
        let part = |sql: &str| -> Option<String> {
            self.0
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                .expect("a text")
        };
        PARTS.map(|sql| part(sql).unwrap_or_default()).join("\n")
    }

    pub(crate) fn integrity(&self) -> String {
        self.0.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict")
    }
}

/// Releases all free pages and shrinks the file to its pages, as far as readers allow.
pub(crate) fn without_slack(file: &Path) {
    let connection = Connection::open(file).expect("the file can be written");
    for pragma in ["PRAGMA incremental_vacuum", "PRAGMA wal_checkpoint(PASSIVE)"] {
        let mut statement = connection.prepare(pragma).expect("SQL");
        let mut rows = statement.query([]).expect("rows");
        while rows.next().expect("a step").is_some() {}
    }
}

/// Makes every commit fail, or ends that.
pub(crate) fn break_commits(file: &Path, broken: bool) {
    let connection = Connection::open(file).expect("the file can be written");
    let sql = if broken {
        "CREATE TRIGGER simulated_fault BEFORE UPDATE ON agent BEGIN SELECT RAISE(ABORT, 'simulated fault'); END"
    } else {
        "DROP TRIGGER IF EXISTS simulated_fault"
    };
    connection.execute_batch(sql).expect("the trigger");
}

//! The migrations under `migrations/`, as refinery's runner expects them.
//!
//! `refinery::embed_migrations!` parses the file names at every start with a regular expression, which adds half a
//! megabyte to the program. Here versions and names are constants. So are refinery's checksums (of name, version and
//! text), which every database stores with the migration: the test below detects a file that was changed after its
//! release.

use super::StoreSettings;
use super::cells::Cell;
use super::odd::{self, TakenOut};
use super::open_error::OpenError;
use crate::moment::WallTime;
use refinery::{Migration, Runner};
use rusqlite::{Connection, params};
use serde_json::json;
use std::collections::BTreeSet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One file under `migrations/`.
struct Step {
    version: i32,
    name: &'static str,
    checksum: u64,
    sql: &'static str,
}

const STEPS: [Step; 1] = [Step {
    version: 1,
    name: "sync_failures",
    checksum: 17_396_645_058_954_413_745,
    sql: include_str!("../../migrations/V1__sync_failures.sql"),
}];

impl Step {
    fn migration(&self) -> Migration {
        let Self { version, name, checksum, sql } = self;
        let parts = json!({
            "state": "Unapplied", "prefix": "Versioned", "version": version, "name": name, "checksum": checksum,
            "sql": sql, "applied_on": null,
        });
        serde_json::from_value(parts).expect("a migration has these parts")
    }
}

/// Repairs refinery's rows about completed migrations before refinery reads them, because refinery panics on unreadable
/// values, and refuses a different name or checksum. Each migration has a fixed row number, so a damaged row can be
/// attributed. `None`: nothing had to be done.
pub(super) fn mend(
    connection: &Connection,
    settings: &StoreSettings,
    now: WallTime,
) -> Result<Option<TakenOut>, OpenError> {
    let file = settings.file();
    let failed = |why| OpenError::sqlite("reading the schema's version in", &file, why);
    // A file without its tables is new, or not ours: refinery decides.
    if !odd::has_table(connection, "sync_failures").map_err(failed)? {
        return Ok(None);
    }
    connection.execute_batch(HISTORY).map_err(failed)?;
    let wrong = wrong_rows(connection).map_err(failed)?;
    if wrong.is_empty() {
        return Ok(None);
    }
    let mut out = TakenOut::default();
    for (_, row) in &wrong {
        let named: Vec<_> =
            ["rowid", "version", "name", "applied_on", "checksum"].into_iter().zip(row.clone()).collect();
        out.file = odd::keep_row(settings, now, "refinery_schema_history", &named)?;
        out.others += 1;
    }
    let rewrite = || -> rusqlite::Result<()> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for (_, row) in &wrong {
            connection.execute("DELETE FROM refinery_schema_history WHERE rowid = ?1", [&row[0]])?;
        }
        for step in wrong.iter().filter_map(|(step, _)| *step) {
            let sql = "INSERT OR REPLACE INTO refinery_schema_history (rowid, version, name, applied_on, checksum) \
                       VALUES (?1, ?1, ?2, ?3, ?4)";
            let values = params![step.version, step.name, now.rfc3339(), step.checksum.to_string()];
            connection.execute(sql, values)?;
        }
        connection.execute_batch("COMMIT")
    };
    rewrite().map_err(failed)?;
    Ok(Some(out))
}

/// The definition that refinery uses.
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS refinery_schema_history \
    (version int4 PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), checksum VARCHAR(255))";

/// A row that refinery cannot read, and its migration.
type Wrong = (Option<&'static Step>, Vec<Cell>);

/// Rows that differ from what was written. The first migration is included if its tables exist and its row does not.
fn wrong_rows(connection: &Connection) -> rusqlite::Result<Vec<Wrong>> {
    let mut statement =
        connection.prepare("SELECT rowid, version, name, applied_on, checksum FROM refinery_schema_history")?;
    let mut rows = statement.query([])?;
    let (mut wrong, mut first) = (Vec::new(), false);
    while let Some(row) = rows.next()? {
        let cells = (0..5).map(|n| row.get_ref(n).map(Cell::of)).collect::<rusqlite::Result<Vec<_>>>()?;
        let [Cell::Integer(rowid), version, ..] = &cells[..] else { continue };
        let step_of = |number: i64| STEPS.iter().find(|step| i64::from(step.version) == number);
        let by_version = if let Cell::Integer(version) = version { step_of(*version) } else { None };
        let step = by_version.or_else(|| step_of(*rowid));
        first |= step.is_some_and(|step| step.version == 1);
        let same = |n: usize, is: &str| matches!(&cells[n], Cell::Text(_)) && cells[n].text() == Some(is);
        let sound = by_version.is_some_and(|step| same(2, step.name) && same(4, &step.checksum.to_string()))
            && matches!(&cells[3], Cell::Text(_))
            && cells[3].text().is_some_and(|at| OffsetDateTime::parse(at, &Rfc3339).is_ok());
        if !sound {
            wrong.push((step, cells));
        }
    }
    if !first {
        wrong.push((Some(&STEPS[0]), vec![Cell::Null; 5]));
    }
    Ok(wrong)
}

/// Returns whether a migration creates an index of this name.
pub(super) fn define_index(name: &str) -> bool {
    STEPS.iter().any(|step| step.sql.contains(&format!("CREATE INDEX {name} ON ")))
}

/// Returns whether a migration creates a table of this name.
pub(super) fn define_table(name: &str) -> bool {
    // A trigger keeps the name as it was written.
    let name = name.to_ascii_lowercase();
    name == "refinery_schema_history" || STEPS.iter().any(|step| step.sql.contains(&format!("CREATE TABLE {name} (")))
}

/// A part of the schema that is missing or differs from the migrations; `None`: all is right. Additions are ignored.
pub(super) fn schema_damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let right = Connection::open_in_memory()?;
    for step in &STEPS {
        right.execute_batch(step.sql)?;
    }
    let (is, should) = (parts(connection)?, parts(&right)?);
    let missing = should.difference(&is).next();
    Ok(missing.map(|part| format!("its schema lacks {part}")))
}

/// Columns and indexes of a schema, one text each.
fn parts(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT 'the column ' || tables.name || '.' || columns.name || ' ' || columns.cid || ' ' || columns.type || ' ' \
               || columns.\"notnull\" || ' ' || coalesce(columns.dflt_value, '') || ' ' || columns.pk || ' ' || tables.wr \
               FROM pragma_table_list AS tables, pragma_table_info(tables.name) AS columns WHERE tables.schema = 'main' \
               AND tables.type = 'table' AND tables.name NOT LIKE 'sqlite%' \
               UNION ALL SELECT 'the index ' || sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let parts = statement.query_map([], |row| row.get_ref(0).map(|part| Cell::of(part).lossy().unwrap_or_default()))?;
    parts.collect()
}

/// The runner that migrates a file to the newest version.
pub(super) fn runner() -> Runner {
    let steps: Vec<Migration> = STEPS.iter().map(Step::migration).collect();
    // A migration and its row are one transaction: between two, a power cut left tables that the next start could not
    // create again.
    Runner::new(&steps).set_grouped(true)
}

/// The newest schema version that this program knows.
#[must_use]
pub fn newest_version() -> i64 {
    STEPS.iter().map(|step| i64::from(step.version)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_files_and_bear_refinerys_checksums() {
        let mut files = refinery::load_sql_migrations("migrations").expect("the files");
        files.sort();
        let runner = runner();
        let told = |step: &Migration| (step.to_string(), step.checksum(), step.sql().map(str::to_owned));
        let steps: Vec<_> = runner.get_migrations().iter().map(told).collect();
        assert_eq!(steps, files.iter().map(told).collect::<Vec<_>>());
    }
}

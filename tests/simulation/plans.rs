//! Checks the plan of every statement that the agent runs on the loop's connection.
//!
//! No statement scans `sync_failures` completely, and none sorts it, whatever grows. A hand-written
//! list would forget one, so SQLite reports which statements run. A simulated life runs all of
//! them, because every kind of event happens in it.

use crate::run;
use crate::trace::Trace;
use resyncd::limits::Limits;
use resyncd::moment::WallTime;
use resyncd::store::{Store, StoreSettings};
use rusqlite::{Connection, OpenFlags, ffi};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Once;

thread_local! {
    /// Statements of this thread's connections that may write; `None` while nothing is recorded.
    static RAN: RefCell<Option<BTreeSet<String>>> = const { RefCell::new(None) };
}

/// Called by SQLite for each connection that is opened.
unsafe extern "C" fn opened(db: *mut ffi::sqlite3, _: *mut *mut c_char, _: *const ffi::sqlite3_api_routines) -> c_int {
    if RAN.with_borrow(Option::is_none) {
        return ffi::SQLITE_OK;
    }
    // SAFETY: the connection is SQLite's own and open; it is the context of its own trace.
    unsafe { ffi::sqlite3_trace_v2(db, ffi::SQLITE_TRACE_STMT, Some(ran), db.cast()) }
}

/// Called by SQLite for each statement that begins.
unsafe extern "C" fn ran(_: c_uint, db: *mut c_void, statement: *mut c_void, _: *mut c_void) -> c_int {
    // SAFETY: both are what `opened` registered for, and live during the call.
    let (reads_only, sql) = unsafe {
        let text = ffi::sqlite3_sql(statement.cast());
        (ffi::sqlite3_db_readonly(db.cast(), c"main".as_ptr()) == 1, CStr::from_ptr(text).to_string_lossy())
    };
    if !reads_only {
        RAN.with_borrow_mut(|ran| ran.as_mut().map(|ran| ran.insert(sql.into_owned())));
    }
    ffi::SQLITE_OK
}

/// The statements of the loop's connection in the lives of these seeds.
fn statements(seeds: std::ops::Range<u64>) -> BTreeSet<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function has the signature that SQLite documents for it, and lives as long as the program.
        let code = unsafe { ffi::sqlite3_auto_extension(Some(opened)) };
        assert_eq!(code, ffi::SQLITE_OK);
    });
    RAN.set(Some(BTreeSet::new()));
    for seed in seeds {
        run(seed, Trace::none());
    }
    RAN.take().expect("it was set above")
}

/// The steps of a statement's plan.
fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
    let parameters = (0..statement.parameter_count()).map(|_| rusqlite::types::Null);
    let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3)).expect(sql);
    rows.collect::<Result<_, _>>().expect(sql)
}

/// Whether this step reads every row of the table, or sorts what may be all of it. A scan along an
/// index or in the table's own order that ends after the first rows does not.
fn grows(sql: &str, step: &str) -> bool {
    let in_order = step.contains(" USING ") || sql.contains(" ORDER BY rowid ");
    let ends_early = in_order && (sql.contains(" LIMIT ") || sql.contains("EXISTS (SELECT 1"));
    step.starts_with("USE TEMP B-TREE") || (step.starts_with("SCAN sync_failures") && !ends_early)
}

/// After another program's write the number of rows is unknown: counting them is the only full scan.
const AFTER_A_STRANGER: &str = "SELECT COUNT(*) FROM sync_failures";

#[test]
fn no_statement_of_the_loop_walks_the_table_or_sorts_it() {
    let ran = statements(1..5);
    let dir = tempfile::tempdir().expect("a directory");
    let settings = StoreSettings::new(dir.path(), &Limits::default());
    drop(Store::open(settings.clone(), WallTime::from_millis(1_795_500_000_000)).expect("a store"));
    let connection = Connection::open_with_flags(settings.file(), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("its file");
    let asks = |sql: &&String| ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|word| sql.starts_with(word));
    let of_failures: Vec<&String> = ran.iter().filter(asks).filter(|sql| sql.contains("sync_failures")).collect();
    assert!(of_failures.len() > 30, "only {} statements of the table were seen", of_failures.len());
    for sql in of_failures.into_iter().filter(|sql| *sql != AFTER_A_STRANGER) {
        let plan = plan(&connection, sql);
        assert!(!plan.iter().any(|step| grows(sql, step)), "{sql}\n{plan:#?}");
    }
}

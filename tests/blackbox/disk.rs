//! What a power cut leaves beside the file, a full disk, a log that
//! a foreign reader keeps from ending.

use crate::support::{Agent, Plan, id_of, record};
use rusqlite::Connection;
use serde_json::json;
use std::fs;

/// The power goes in the very first start, before the file has its write-ahead log: SQLite's rollback
/// journal lies beside it, and whoever only reads cannot roll back. The agent said "attempt to write a
/// readonly database" at every start from then on.
#[test]
fn a_power_cut_in_the_first_start_needs_no_hand() {
    let mut agent = Agent::prepare(&Plan::default());
    fs::create_dir(agent.state_dir()).expect("a state directory");
    let making = agent.state_dir().join("making.db");
    let connection = Connection::open(&making).expect("a file in the making");
    connection.execute_batch("PRAGMA page_size = 4096; PRAGMA cache_size = 1; CREATE TABLE half (x)").expect("a table");
    connection
        .execute_batch("BEGIN; INSERT INTO half SELECT randomblob(2000) FROM (VALUES (1),(2),(3),(4),(5),(6),(7),(8))")
        .expect("more than the cache holds");
    let journal = agent.state_dir().join("making.db-journal");
    fs::copy(&making, agent.database()).expect("a copy of the file as it is at this moment");
    fs::copy(&journal, agent.state_dir().join("sync_failures.db-journal")).expect("a copy of its journal");
    drop(connection);
    agent.up();
    id_of(&agent.call(&record("s-1", &json!({}))));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM half"), 0, "what was half written is undone");
}

/// The disk fills up, or the power goes, between a migration and the row that says it was made: both
/// are one transaction. They were two, and every start from then on ended with "table `sync_failures`
/// already exists".
#[test]
fn a_migration_that_was_cut_off_is_made_again() {
    let mut agent = Agent::prepare(&Plan::default());
    fs::create_dir(agent.state_dir()).expect("a state directory");
    let database = agent.database();
    let file = |sql| Connection::open(&database).expect("the file").execute_batch(sql);
    file(
        "CREATE TABLE refinery_schema_history
             (version INTEGER PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), checksum VARCHAR(255));
         CREATE TRIGGER fault BEFORE INSERT ON refinery_schema_history BEGIN SELECT RAISE(ABORT, 'fault'); END",
    )
    .expect("a file whose history cannot be written");
    let (status, said) = agent.run_to_its_end(&[]);
    assert_eq!(status, Some(1), "{said}");
    file("DROP TRIGGER fault").expect("it can be again");
    agent.up();
    id_of(&agent.call(&record("s-1", &json!({}))));
}

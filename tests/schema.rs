//! A database of every released schema is kept under `tests/schemas/`, and opens.
//!
//! When a migration is added: `RESYNCD_KEEP_SCHEMA=1 cargo test --test schema` writes the file of
//! the new version. Existing files are never rewritten.

use resyncd::agent::{Agent, ClientId, Effect, Event, Peer};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::ids::{FailureName, Seq};
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::question::{Direction, ListCursor, ListQuery};
use resyncd::store::open::newest_version;
use resyncd::store::reader::Reader;
use resyncd::store::rows::Found;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::request::Socket;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

const RECORDS: [&str; 3] = [
    r#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"HTTP 500: x","payload":{"total":12.50}}"#,
    r#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"UPDATE","error":"connect ETIMEDOUT","payload":"<x/>"}"#,
    r#"{"op":"record","entity_type":"RETURN","entity_id":"r-1","action":"CREATE","error":"x","idempotency_key":"k","order_key":"o"}"#,
];

/// Without an agent, a file is read unchanged.
fn read(dir: &Path) {
    let reader = Reader::open(&StoreSettings::new(dir, &Limits::default())).unwrap_or_else(|error| panic!("{error}"));
    let query = ListQuery { direction: Direction::Descending, after: ListCursor::parse("3"), ..ListQuery::default() };
    let page = reader.list(&query).expect("a list");
    let numbers: Vec<_> = page.failures.iter().map(|(failure, _)| failure.seq).collect();
    assert_eq!(numbers, [Seq(2), Seq(1)]);
    let Found::One(found) = reader.look(&FailureName::Number(Seq(2))).expect("a look") else { panic!("no number 2") };
    assert_eq!((found.failure.seq, found.failure.action.as_str()), (Seq(2), "UPDATE"));
    assert!(found.head.is_some(), "number 1 is before it");
}

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas")
}

fn now(ms: i64) -> Moment {
    Moment { agent: AgentTime::from_millis(ms), wall: WallTime::from_millis(1_795_500_754_123 + ms) }
}

fn open(dir: &Path) -> Store {
    let settings = StoreSettings::new(dir, &Limits::default());
    Store::open(settings, now(0).wall).unwrap_or_else(|error| panic!("{error}"))
}

/// Records [`RECORDS`]. Returns the replies.
fn record(store: Store, seed: u64) -> Vec<String> {
    let config = Config::load(
        None,
        &Overrides::default(),
        &Environment { host_name: "till-07".into(), ..Environment::default() },
    );
    let mut agent = Agent::start(store, &config.expect("the defaults"), seed, now(0)).expect("an agent");
    let peer = Peer { uid: 1000, pid: 1, name: None };
    for line in RECORDS {
        agent.handle(
            now(1),
            Event::Line { client: ClientId(16), socket: Socket::App, peer: &peer, line: line.as_bytes() },
        );
    }
    let replies = agent.finish_round(now(1)).into_iter().filter_map(|effect| match effect {
        Effect::Reply { line, .. } => Some(String::from_utf8(line).expect("UTF-8")),
        _ => None,
    });
    let replies = replies.collect();
    agent.close().expect("the store closes");
    replies
}

/// Writes the file of the current version, if requested and missing.
fn keep(version: i64) {
    let file = schemas().join(format!("v{version}.db"));
    if std::env::var_os("RESYNCD_KEEP_SCHEMA").is_none() || file.exists() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    record(open(dir.path()), 1);
    fs::create_dir_all(schemas()).expect("the directory is made");
    fs::copy(dir.path().join("sync_failures.db"), file).expect("the file is kept");
}

#[test]
fn a_database_of_every_schema_opens_and_goes_on() {
    keep(newest_version());
    for version in 1..=newest_version() {
        let file = schemas().join(format!("v{version}.db"));
        assert!(file.exists(), "no database of schema {version} is kept; see the top of this file");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let copy = dir.path().join("sync_failures.db");
        fs::copy(&file, &copy).expect("a copy");
        read(dir.path());
        let store = open(dir.path());
        let old = store.by_seq(Seq(1)).expect("a look").expect("the first failure");
        assert_eq!(old.payload.map(|(text, _)| text).as_deref(), Some(r#"{"total":12.50}"#));
        assert_eq!(store.ledger().live, 3);
        let replies = record(store, 2);
        assert!(replies[0].contains("\"seq\":4"), "numbers go on: {}", replies[0]);
        assert!(replies[2].contains("\"seq\":3") && replies[2].contains("\"duplicate\":true"), "{}", replies[2]);
    }
}

/// A file of a newer version is left unchanged, byte for byte.
#[test]
fn a_newer_database_is_refused_untouched() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    record(open(dir.path()), 1);
    let file = dir.path().join("sync_failures.db");
    let future = newest_version() + 1;
    let connection = Connection::open(&file).expect("the file");
    let sql = "INSERT INTO refinery_schema_history VALUES (?1, 'future', '2030-01-01T00:00:00Z', '1')";
    connection.execute(sql, [future]).expect("a row");
    drop(connection);
    let before = fs::read(&file).expect("the file");
    let settings = StoreSettings::new(dir.path(), &Limits::default());
    let refused = Store::open(settings, now(0).wall).expect_err("a newer schema").to_string();
    assert!(refused.contains("newer resyncd"), "{refused}");
    assert!(before == fs::read(&file).expect("the file"), "its bytes have changed");
}

/// The first ten columns are the contract, in this order.
#[test]
fn the_ten_columns_come_first() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    record(open(dir.path()), 1);
    let connection = Connection::open(dir.path().join("sync_failures.db")).expect("the file");
    let mut statement =
        connection.prepare("SELECT name FROM pragma_table_info('sync_failures') LIMIT 10").expect("a statement");
    let names: Vec<String> =
        statement.query_map([], |row| row.get(0)).expect("rows").map(|name| name.expect("a name")).collect();
    let contract = [
        "id",
        "entity_type",
        "entity_id",
        "action",
        "error",
        "payload",
        "retry_count",
        "last_retry_at",
        "created_at",
        "updated_at",
    ];
    assert_eq!(names, contract);
    let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a row");
    assert_eq!(text("SELECT created_at FROM sync_failures WHERE seq = 1"), "2026-11-24 06:12:34.124");
    assert_eq!(text("PRAGMA integrity_check"), "ok");
}

/// A crash between the tables and the row that records them would keep the agent from ever starting
/// again. Here the row is refused instead.
#[test]
fn a_migration_and_its_row_are_one_transaction() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = StoreSettings::new(dir.path(), &Limits::default());
    let file = Connection::open(settings.file()).expect("a file");
    let refused = "CREATE TABLE refinery_schema_history (version INTEGER PRIMARY KEY, name TEXT, applied_on TEXT, checksum TEXT); \
                   CREATE TRIGGER fault BEFORE INSERT ON refinery_schema_history BEGIN SELECT RAISE(ABORT, 'fault'); END";
    file.execute_batch(refused).expect("a history that takes nothing");
    let error = Store::open(settings.clone(), now(0).wall).expect_err("no migration").to_string();
    assert!(error.contains("fault"), "{error}");
    let tables: i64 = file
        .query_row("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'sync_failures'", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(tables, 0);
    file.execute_batch("DROP TRIGGER fault").expect("it is mended");
    drop(Store::open(settings, now(0).wall).unwrap_or_else(|error| panic!("{error}")));
}

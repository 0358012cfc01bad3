//! Damage that SQLite does not notice: every column of every table with every wrong kind of value,
//! and random bits of the file. Whatever the file contains, the agent starts, records, delivers all
//! other failures, and replies; unreadable rows are in the quarantine and counted.
//!
//! The agent runs in this process, on a clock of the test. `RESYNCD_FLIPS=N` runs N files with a changed bit.

use resyncd::agent::questions::{Answer, answer};
use resyncd::agent::{Agent, ClientId, Effect, Event, Peer, Step, StepKind};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::ending::{self, Ending};
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::check::Finding;
use resyncd::store::disk::Disk;
use resyncd::store::open_error::OpenError;
use resyncd::store::reader::Reader;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::delivery::BodyPart;
use resyncd::wire::request::Socket;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Failures that are live before the damage, each of its own entity except the first two.
const LIVE: usize = 7;
/// Agent time within which everything else continues.
const PATIENCE_MS: i64 = 10_000;

/// Wrong values for a column, as SQL.
const WRONG: [&str; 10] =
    ["NULL", "7", "9223372036854775807", "'odd'", "CAST(x'ff41' AS TEXT)", "x'ff00'", "x'6f6464'", "-3", "2.5", "''"];

/// Prints the agent's log, to help explain a failed test.
struct Printed;

impl log::Log for Printed {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        println!("{} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

struct Till {
    agent: Agent,
    at_ms: i64,
    start_ms: i64,
    dir: std::path::PathBuf,
    /// Numbers and bodies of accepted failures.
    accepted: BTreeMap<i64, Vec<String>>,
    open: bool,
}

fn moment(ms: i64) -> Moment {
    Moment { agent: AgentTime::from_millis(ms), wall: WallTime::from_millis(1_795_500_754_123 + ms) }
}

fn config() -> Config {
    let overrides = Overrides { upstream: Some(("http://127.0.0.1:9/sync".into(), "a test")), ..Overrides::default() };
    let surroundings = Environment { host_name: "till-07".into(), ..Environment::default() };
    Config::load(None, &overrides, &surroundings).expect("the defaults")
}

/// These tests do not concern power cuts, so nothing is synced.
fn settings(dir: &Path) -> StoreSettings {
    #[expect(clippy::unnecessary_wraps, reason = "the signature is the disk's")]
    fn nothing(_: &Path) -> io::Result<()> {
        Ok(())
    }
    let disk = Disk { evict: nothing, sync_dir: nothing, ..Disk::default() };
    StoreSettings { disk, ..StoreSettings::new(dir, &Limits::default()) }
}

/// In memory where that is possible, because hundreds of agents are started.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a directory")
}

impl Till {
    fn start(dir: &Path, open: bool) -> Result<Self, String> {
        if std::env::var_os("RESYNCD_TEST_LOG").is_some() {
            let _ = log::set_logger(&Printed).map(|()| log::set_max_level(log::LevelFilter::Info));
        }
        let wall = moment(60_000).wall;
        let store = Store::open(settings(dir), wall).map_err(|error: OpenError| error.to_string())?;
        let start_ms = store.ledger().resumed(wall).as_millis();
        let now = Moment { agent: AgentTime::from_millis(start_ms), wall };
        let agent = Agent::start(store, &config(), 7, now).map_err(|error| error.to_string())?;
        Ok(Self { agent, at_ms: 0, start_ms, dir: dir.to_owned(), accepted: BTreeMap::new(), open })
    }

    fn now(&self) -> Moment {
        let wall = moment(60_000 + self.at_ms).wall;
        Moment { agent: AgentTime::from_millis(self.start_ms + self.at_ms), wall }
    }

    /// Runs rounds until nothing is left to do at this moment. Returns the replies.
    fn settle(&mut self) -> Vec<Value> {
        let mut replies = Vec::new();
        for _ in 0..1000 {
            self.agent.tick(self.now());
            let effects = self.agent.finish_round(self.now());
            let events: Vec<Event> =
                effects.into_iter().filter_map(|effect| self.carry_out(effect, &mut replies)).collect();
            let due = self.agent.next_deadline().is_some_and(|at| at <= self.now().agent);
            let idle = events.is_empty() && !due;
            for event in events {
                self.agent.handle(self.now(), event);
            }
            if idle {
                return replies;
            }
        }
        let (now, next) = (self.now().agent, self.agent.next_deadline());
        panic!("the agent never comes to rest: it is {now:?}, and the next deadline {next:?}");
    }

    fn carry_out(&mut self, effect: Effect, replies: &mut Vec<Value>) -> Option<Event<'static>> {
        let read = |line: &[u8]| serde_json::from_slice(line).expect("a reply is JSON");
        match effect {
            Effect::Reply { line, .. } => replies.push(read(&line)),
            Effect::Send(dispatch) => {
                let text = |part: &BodyPart| match part {
                    BodyPart::Bytes(bytes) => String::from_utf8(bytes.clone()).expect("a body is text"),
                    BodyPart::Secret(name) => panic!("a secret {name}"),
                };
                let body: String = dispatch.request.body.iter().map(text).collect();
                self.accepted.entry(dispatch.seq.0).or_default().push(body);
                let body = b"{}".to_vec();
                let content_type = Some("application/json".to_owned());
                let ending = Ending::Answered(ending::Answer { status: 200, content_type, body, ..Default::default() });
                let took = Duration::from_millis(5);
                let steps = vec![Step { kind: StepKind::Deliver, ending, took }];
                return Some(Event::AttemptEnded { seq: dispatch.seq, steps });
            }
            Effect::Probe { upstream } => {
                let end = if self.open {
                    ProbeEnd::Answered { status: 200, took: Duration::from_millis(5) }
                } else {
                    ProbeEnd::Silence { reason: "Connection refused".into() }
                };
                return Some(Event::Probed { upstream, end, date: None });
            }
            Effect::Ask(inquiry) => {
                let reader = match Reader::open(&settings(&self.dir)) {
                    Ok(reader) => reader,
                    Err(error) => panic!("{error}"),
                };
                match answer(&reader, &inquiry) {
                    Answer::Line(line) => replies.push(read(&line)),
                    Answer::Selected(found) => return Some(Event::Selected { client: inquiry.client, found }),
                    Answer::MeanRetries(mean) => return Some(Event::MeanRetries(mean)),
                    Answer::Damaged(line, error) => {
                        replies.push(read(&line));
                        return Some(Event::Damaged(error));
                    }
                }
            }
            _ => {}
        }
        None
    }

    /// Lets time pass, from one deadline of the agent to the next.
    fn pass(&mut self, ms: i64) {
        let end = self.at_ms + ms;
        loop {
            self.settle();
            let next = self.agent.next_deadline().map(|at| at.as_millis() - self.start_ms);
            match next.filter(|at| *at <= end) {
                Some(at) => self.at_ms = at.max(self.at_ms),
                None => break,
            }
        }
        self.at_ms = end;
    }

    /// The daemon's background check of the pages after each start.
    fn check(&mut self) {
        let found = Reader::open(&settings(&self.dir)).map(|reader| {
            let tables = reader.tables().unwrap_or_default();
            tables.iter().find_map(|table| match reader.check(table) {
                Ok(Finding::Damaged(error)) | Err(error) => Some(error),
                Ok(_) => None,
            })
        });
        if let Some(error) = found.expect("the file opens") {
            self.agent.handle(self.now(), Event::Damaged(error));
        }
        self.settle();
    }

    fn ask(&mut self, request: &Value) -> Value {
        let peer = Peer { uid: 1000, pid: 1, name: Some("ana".into()) };
        let line = request.to_string();
        let event = Event::Line { client: ClientId(16), socket: Socket::Admin, peer: &peer, line: line.as_bytes() };
        self.agent.handle(self.now(), event);
        self.settle().into_iter().next().unwrap_or_else(|| panic!("no reply to {request}"))
    }

    fn close(mut self) {
        self.agent.handle(self.now(), Event::Stop);
        self.settle();
        self.agent.close().expect("the store closes");
    }
}

impl Till {
    /// The reply to a request that may be refused for some seconds, while a file is salvaged.
    fn soon(&mut self, request: &Value, what: &str) -> Value {
        let mut reply = self.ask(request);
        for _ in 0..PATIENCE_MS / 500 {
            if reply["ok"] == true {
                break;
            }
            self.pass(500);
            reply = self.ask(request);
        }
        assert_eq!(reply["ok"], true, "{what}: {request} was answered {reply}");
        reply
    }
}

fn record(entity: &str, key: &str) -> Value {
    let payload = json!({"entity": entity, "note": "x".repeat(900)});
    json!({"op": "record", "entity_type": "SALE", "entity_id": entity, "action": "CREATE", "retry": "now",
           "error": "HTTP 500: x", "idempotency_key": key, "payload": payload})
}

/// A database with something in every table: failures that left, failures that wait, actions of operators.
fn prepared(dir: &Path) {
    let mut till = Till::start(dir, true).expect("an agent");
    for n in 0..3 {
        assert_eq!(till.ask(&record(&format!("gone-{n}"), &format!("gone-{n}")))["ok"], true);
    }
    till.pass(30_000);
    assert_eq!(till.accepted.len(), 3, "the first ones are delivered");
    assert_eq!(till.ask(&json!({"op": "pause", "reason": "a test"}))["ok"], true);
    for n in 0..LIVE {
        let mut request = record(&format!("s-{}", n.saturating_sub(1)), &format!("k-{n}"));
        if n == LIVE - 1 {
            request["order_key"] = json!("o");
        }
        assert_eq!(till.ask(&request)["ok"], true);
    }
    let edit = json!({"op": "edit", "id": 4, "payload": {"entity": "s-0", "edited": true}, "reason": "a test"});
    let edited = till.ask(&edit);
    assert_eq!(edited["ok"], true, "{edited}");
    till.pass(400_000);
    assert_eq!(till.ask(&json!({"op": "cleanup"}))["ok"], true);
    till.agent.close().expect("the store closes");
    let file = Connection::open(dir.join("sync_failures.db")).expect("the file");
    file.execute_batch(
        "INSERT OR IGNORE INTO archive_files VALUES ('2026-11.jsonl', 5); \
         INSERT OR IGNORE INTO history_marks VALUES (5, 1, 1); \
         INSERT OR IGNORE INTO alerts VALUES ('high_retries', '', 1, '2026-11-24 06:12:34.123', NULL, 'm', 1, 5, 0, NULL);",
    )
    .expect("rows");
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a directory");
    fs::copy(from.join("sync_failures.db"), to.join("sync_failures.db")).expect("a copy");
}

fn number(dir: &Path, sql: &str) -> i64 {
    let file = Connection::open(dir.join("sync_failures.db")).expect("the file");
    file.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Rowids of live failures before the damage.
fn live(dir: &Path) -> Vec<i64> {
    let file = Connection::open(dir.join("sync_failures.db")).expect("the file");
    let mut statement = file.prepare("SELECT rowid FROM sync_failures ORDER BY rowid").expect("SQL");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("numbers")
}

/// An agent on a damaged file, whose upstream is no longer paused: it records, delivers all but what the damage
/// explains, replies, counts.
fn goes_on(till: &mut Till, before: &[i64], hurt: &[i64], what: &str) {
    till.soon(&json!({"op": "resume"}), what);
    let reply = till.soon(&record("new", "new"), what);
    till.pass(PATIENCE_MS);
    for seq in before.iter().filter(|seq| !hurt.contains(seq)) {
        let sent = till.accepted.get(seq).map_or(0, Vec::len);
        assert_eq!(sent, 1, "{what}: number {seq} was sent {sent} times");
    }
    let new = reply["seq"].as_i64().expect("a number");
    assert!(till.accepted.contains_key(&new), "{what}: the new one was not sent");
    for request in [
        json!({"op": "list"}),
        json!({"op": "list", "payload": true, "total": true}),
        json!({"op": "history", "since": "2026-01-01"}),
        json!({"op": "digest"}),
        json!({"op": "stats"}),
        json!({"op": "series"}),
        json!({"op": "health"}),
        json!({"op": "metrics"}),
        json!({"op": "unsent"}),
        json!({"op": "alerts"}),
    ] {
        till.soon(&request, what);
    }
    till.pass(1000);
}

/// The tables and their columns, without the reserve, whose contents are never read.
fn columns(dir: &Path) -> Vec<(String, String)> {
    let file = Connection::open(dir.join("sync_failures.db")).expect("the file");
    let sql = "SELECT tables.name, columns.name FROM pragma_table_list AS tables, \
               pragma_table_xinfo(tables.name) AS columns \
               WHERE tables.schema = 'main' AND tables.name NOT LIKE 'sqlite%' AND tables.name <> 'reserve'";
    let mut statement = file.prepare(sql).expect("SQL");
    let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("columns");
    let columns: Vec<(String, String)> = columns.collect::<Result<_, _>>().expect("columns");
    assert!(columns.len() > 120, "all tables are found");
    columns
}

fn try_cells(running: bool) {
    let base = directory();
    prepared(base.path());
    let before = live(base.path());
    assert_eq!(before.len(), LIVE);
    let place = directory();
    for (table, column) in &columns(base.path()) {
        let wrong: &[&str] = match (table.as_str(), running) {
            ("sync_failures", _) => &WRONG,
            (_, false) => &WRONG[..6],
            (_, true) => &WRONG[4..7],
        };
        for value in wrong {
            let what = format!("{table}.{column} = {value}, running: {running}");
            try_cell(base.path(), place.path(), &before, (table, column, value), running, &what);
        }
    }
}

#[test]
fn an_odd_cell_found_at_the_start_costs_no_more_than_its_row() {
    try_cells(false);
}

#[test]
fn an_odd_cell_written_beside_the_agent_costs_no_more_than_its_row() {
    try_cells(true);
}

fn try_cell(
    base: &Path,
    place: &Path,
    before: &[i64],
    (table, column, value): (&str, &str, &str),
    running: bool,
    what: &str,
) {
    println!("{what}");
    copy(base, place);
    let file = place.join("sync_failures.db");
    let start = || Till::start(place, true).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut till = running.then(|| {
        let mut till = start();
        till.settle();
        till
    });
    // The second entity of the failures, so that no other failure waits for it; or the first row.
    let which = match table {
        "sync_failures" => format!("rowid = {}", before[3]),
        "idempotency_keys" => "key = 'k-3'".to_owned(),
        "series" => "(bucket, upstream) = (SELECT bucket, upstream FROM series LIMIT 1)".to_owned(),
        table => format!("rowid = (SELECT min(rowid) FROM {table})"),
    };
    let connection = Connection::open(&file).expect("the file");
    connection.execute_batch("PRAGMA ignore_check_constraints = ON").expect("a setting");
    // Values that the schema itself refuses (NOT NULL, duplicates) can only come from the disk; the random bits
    // cover those.
    let changed = connection.execute(&format!("UPDATE OR FAIL {table} SET {column} = {value} WHERE {which}"), []);
    drop(connection);
    let Ok(changed) = changed else { return };
    assert_eq!(changed, 1, "{what}: the row does not exist");
    let mut till = till.take().unwrap_or_else(start);
    let hurt: &[i64] = if table == "sync_failures" { &before[3..4] } else { &[] };
    goes_on(&mut till, before, hurt, what);
    let sent = till.accepted.get(&before[3]).map_or(0, Vec::len);
    assert!(sent <= 1, "{what}: sent {sent} times");
    let health = till.ask(&json!({"op": "health"}));
    let lost = health["lost"].as_u64().unwrap_or(0);
    till.close();
    let left = number(place, "SELECT COUNT(*) FROM sync_failures");
    let few = |count: u64| i64::try_from(count).expect("few");
    assert_eq!(few(sent as u64) + left + few(lost), 1, "{what}: sent, live or counted as lost");
    assert_eq!(number(place, "SELECT live FROM agent"), left, "{what}: the count of live failures");
    if left == 1 {
        assert_eq!(
            number(place, "SELECT COUNT(*) FROM sync_failures WHERE status = 'critical' AND error_class = 'damaged'"),
            1,
            "{what}"
        );
    }
    // The history may contain an unknown word; it is only displayed.
    let sound =
        "SELECT COUNT(*) FROM pragma_integrity_check WHERE integrity_check = 'ok' OR integrity_check LIKE 'CHECK%'";
    assert_eq!(number(place, sound), 1, "{what}");
}

/// Bits of a page change on the way to the disk or on it: nothing panics, readable failures are
/// delivered as recorded, and the rest is counted.
#[test]
fn a_changed_bit_stops_nothing() {
    let flips = std::env::var("RESYNCD_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let base = directory();
    prepared(base.path());
    let before = live(base.path());
    let bytes = fs::read(base.path().join("sync_failures.db")).expect("the file");
    let right = contents(base.path());
    let place = directory();
    let first = std::env::var("RESYNCD_FIRST_FLIP").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in first..first + flips {
        let mut random = fastrand::Rng::with_seed(seed);
        let (at, bit) = (random.usize(..bytes.len()), random.u8(..8));
        let around = String::from_utf8_lossy(&bytes[at.saturating_sub(40)..(at + 40).min(bytes.len())]).into_owned();
        let what = format!("seed {seed}: bit {bit} of byte {at}, in the middle of {around:?}");
        println!("{what}");
        copy(base.path(), place.path());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        fs::write(place.path().join("sync_failures.db"), flipped).expect("the file");
        // A version number that means "newer" leads to a clear refusal.
        let mut till = match Till::start(place.path(), true) {
            Ok(till) => till,
            Err(error) if error.contains("newer resyncd") => continue,
            Err(error) => panic!("{what}: {error}"),
        };
        till.check();
        goes_on(&mut till, &[], &[], &what);
        till.pass(60_000);
        for (seq, bodies) in &till.accepted {
            let Some(content) = right.get(seq) else { continue };
            assert!(bodies.iter().all(|body| body.contains(content)), "{what}: number {seq} was sent as {bodies:?}");
            assert_eq!(bodies.len(), 1, "{what}: number {seq} was sent more than once");
        }
        let sent = before.iter().filter(|seq| till.accepted.contains_key(seq)).count();
        let lost = usize::try_from(till.ask(&json!({"op": "health"}))["lost"].as_u64().unwrap_or(0)).expect("few");
        till.close();
        let left = usize::try_from(number(place.path(), "SELECT COUNT(*) FROM sync_failures")).expect("few");
        assert!(sent + left + lost >= LIVE, "{what}: {sent} sent, {left} live, {lost} counted as lost");
    }
}

/// The digest of a key compares payloads by value, and is not the checksum of the stored bytes.
#[test]
fn a_key_whose_digest_was_damaged_still_knows_its_content() {
    let (base, dir) = (directory(), directory());
    prepared(base.path());
    copy(base.path(), dir.path());
    let file = Connection::open(dir.path().join("sync_failures.db")).expect("the file");
    let changed = file.execute("UPDATE idempotency_keys SET sha256 = x'00' WHERE key = 'k-2'", []).expect("damage");
    assert_eq!(changed, 1);
    file.close().expect("it closes");
    let mut till = Till::start(dir.path(), true).expect("an agent");
    let again = till.soon(&record("s-1", "k-2"), "the same record again");
    assert_eq!(again["duplicate"], true, "{again}");
    let other = till.ask(&record("s-7", "k-2"));
    assert_eq!(other["error"]["code"], "conflict", "{other}");
}

/// The payload of each live failure, by its number.
fn contents(dir: &Path) -> BTreeMap<i64, String> {
    let file = Connection::open(dir.join("sync_failures.db")).expect("the file");
    let mut statement = file.prepare("SELECT rowid, payload FROM sync_failures").expect("SQL");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("payloads")
}

/// The id in the file is damaged: the file is still the one that the state directory remembers.
#[test]
fn a_database_that_lost_its_id_has_not_vanished() {
    let base = directory();
    prepared(base.path());
    let id = |dir: &Path| {
        let file = Connection::open(dir.join("sync_failures.db")).expect("the file");
        file.query_row("SELECT CAST(instance AS BLOB) FROM agent", [], |row| row.get::<_, Vec<u8>>(0)).expect("an id")
    };
    let before = id(base.path());
    for wrong in ["CAST(x'ff41' AS TEXT)", "x'6f6464'", "'odd'", "''"] {
        let file = Connection::open(base.path().join("sync_failures.db")).expect("the file");
        file.execute_batch(&format!("UPDATE agent SET instance = {wrong}")).expect("damage");
        drop(file);
        let mut till = Till::start(base.path(), false).expect("an agent");
        till.settle();
        let file = Connection::open(base.path().join("sync_failures.db")).expect("the file");
        let told = "SELECT COUNT(*) FROM alerts WHERE kind = 'database_replaced'";
        assert_eq!(file.query_row(told, [], |row| row.get::<_, i64>(0)).expect("a count"), 0, "{wrong}");
        drop(file);
        till.close();
        assert_eq!(id(base.path()), before, "{wrong}");
    }
    // Without that record it gets a new one.
    fs::remove_file(base.path().join("instance")).expect("it was there");
    let file = Connection::open(base.path().join("sync_failures.db")).expect("the file");
    file.execute_batch("UPDATE agent SET instance = x'00'").expect("damage");
    drop(file);
    Till::start(base.path(), false).expect("an agent").close();
    assert_ne!(id(base.path()), before);
    assert_eq!(id(base.path()).len(), 32);
}

//! Work that must not grow with the table: a start and a round beside many unrelated failures.

use resyncd::agent::questions::{Answer, answer};
use resyncd::agent::{Agent, ClientId, Effect, Event, Flow, Peer};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::reader::Reader;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::request::Socket;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const TWO: &str = "[upstream.hq]\nurl = \"https://hq.example/\"\n\
                   [[route]]\nentity_type = \"SALE\"\nupstream = \"hq\"\npath = \"/sales\"\n";

fn config() -> Config {
    let config = Config::load(Some(("bounded", TWO)), &Overrides::default(), &Environment::default());
    config.expect("a right configuration")
}

fn start(dir: &Path, now: Moment) -> Agent {
    let store = Store::open(StoreSettings::new(dir, &Limits::default()), now.wall).expect("a store");
    Agent::start(store, &config(), 1, now).expect("it starts")
}

fn round(agent: &mut Agent, now: Moment) -> Vec<Effect> {
    agent.tick(now);
    agent.finish_round(now)
}

fn record(agent: &mut Agent, now: Moment, entity_type: &str, n: usize) {
    let line = json!({"op": "record", "entity_type": entity_type, "entity_id": n.to_string(), "action": "CREATE",
        "retry": "now"});
    let line = line.to_string();
    let event = Event::Line { client: ClientId(1), socket: Socket::App, peer: &Peer::default(), line: line.as_bytes() };
    assert_eq!(agent.handle(now, event), Flow::Go);
}

/// A failure without a route is critical with `no_route` and is not sent. A start with such
/// failures does not examine the whole table before it sends.
#[test]
fn failures_without_a_route_delay_no_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_754_123) };
    let mut agent = start(dir.path(), now);
    (0..10).for_each(|n| record(&mut agent, now, "OTHER", n));
    record(&mut agent, now, "SALE", 0);
    while agent.next_deadline() == Some(now.agent) {
        round(&mut agent, now);
    }
    agent.close().expect("it closes");

    let mut agent = start(dir.path(), now);
    agent.goes_in_parts_of(1);
    let met = round(&mut agent, now);
    assert!(met.iter().any(|effect| matches!(effect, Effect::Probe { .. })), "{met:?}");
    let end = ProbeEnd::Answered { status: 200, took: Duration::ZERO };
    agent.handle(now, Event::Probed { upstream: 0, end, date: None });
    let sent = round(&mut agent, now);
    assert!(sent.iter().any(|effect| matches!(effect, Effect::Send(_))), "the sale waits for nothing: {sent:?}");
}

/// Near the quota the oldest attempts are deleted in chunks, with an alert; recording stops only
/// when live failures fill the quota. The outcomes of keys stay.
#[test]
fn history_gives_way_to_live_failures() {
    const QUOTA: u64 = 3 << 20;
    let dir = tempfile::tempdir().expect("a directory");
    let limits = Limits { max_database: QUOTA, min_free_disk: 0, ..Limits::default() };
    let open = |now: Moment| {
        let config = Config { limits: limits.clone(), ..config() };
        let store = Store::open(StoreSettings::new(dir.path(), &limits), now.wall).expect("a store");
        let mut agent = Agent::start(store, &config, 1, now).expect("it starts");
        agent.keep_watch(now);
        agent
    };
    let file = || rusqlite::Connection::open(dir.path().join("sync_failures.db")).expect("the file");
    let number = |sql: &str| -> i64 { file().query_row(sql, [], |row| row.get(0)).expect("a number") };
    let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_754_123) };
    open(now).close().expect("it closes");
    // Deliveries of a month, as an earlier version stored them.
    file()
        .execute_batch(
            "INSERT INTO sync_attempts (failure_id, seq, entity_type, entity_id, action, attempt, trigger, upstream, \
             started_at, duration_ms, http_status, class, response, counted) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1800) \
             SELECT 'gone-' || i, i, 'SALE', 's-' || i, 'CREATE', 1, 'auto', 'hq', '2026-11-01 10:00:00.000', 5, 201, \
             'delivered', replace(hex(zeroblob(1000)), '00', 'x') || i, 0 FROM n; \
             INSERT INTO idempotency_keys (source_uid, key, failure_id, sha256, outcome) \
             VALUES (0, 'k', 'gone-1', zeroblob(32), 'delivered'); \
             INSERT INTO audit_log (at, actor_uid, operation, reason) \
             VALUES ('2026-11-01 10:00:00.000', 0, 'pause', 'stocktaking')",
        )
        .expect("a history");
    let used = || (number("PRAGMA page_count") - number("PRAGMA freelist_count")) * number("PRAGMA page_size");
    assert!(used() > i64::try_from(QUOTA * 3 / 4).expect("small"), "{} bytes of history", used());

    let mut agent = open(now);
    let sale = |agent: &mut Agent, n: usize| -> serde_json::Value {
        let line = json!({"op": "record", "entity_type": "SALE", "entity_id": format!("live-{n}"), "action": "CREATE",
            "error": "HTTP 500: x", "payload": "x".repeat(20_000)});
        let line = line.to_string();
        let event =
            Event::Line { client: ClientId(1), socket: Socket::App, peer: &Peer::default(), line: line.as_bytes() };
        agent.handle(now, event);
        let effects = round(agent, now);
        let reply = effects.into_iter().find_map(|effect| match effect {
            Effect::Reply { line, .. } => serde_json::from_slice(&line).ok(),
            _ => None,
        });
        reply.expect("a reply")
    };
    let mut recorded = 0;
    let refused = loop {
        let reply = sale(&mut agent, recorded);
        if reply["ok"] != true {
            break reply;
        }
        recorded += 1;
        assert!(recorded < 1000, "the quota holds");
    };
    assert_eq!(refused["error"]["code"], "full", "{refused}");
    // Two pages of each large record are not full.
    let live = recorded * 20_000;
    assert!(live as u64 > QUOTA * 3 / 4, "{live} bytes of live failures fill {QUOTA}");
    assert_eq!(number("SELECT COUNT(*) FROM sync_attempts"), 0);
    assert_eq!(number("SELECT COUNT(*) FROM idempotency_keys WHERE outcome = 'delivered'"), 1);
    assert_eq!(number("SELECT COUNT(*) FROM audit_log WHERE reason = 'stocktaking'"), 1);
    assert_eq!(number("SELECT COUNT(*) FROM alerts WHERE kind = 'history_shortened' AND active"), 1);
    assert_eq!(number("SELECT COUNT(*) FROM alerts WHERE kind = 'database_full' AND active"), 1);
}

/// A burst fills the disk and leaves. Its pages go back to the file system although nothing else is deleted: the agent
/// itself would otherwise hold the room without which it refuses new failures.
#[test]
fn what_a_burst_has_left_is_given_back_while_the_disk_is_low() {
    let dir = tempfile::tempdir().expect("a directory");
    let limits = Limits { min_free_disk: 64 << 20, ..Limits::default() };
    let mut now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_754_123) };
    let store = Store::open(StoreSettings::new(dir.path(), &limits), now.wall).expect("a store");
    let mut agent = Agent::start(store, &Config { limits, ..config() }, 1, now).expect("it starts");
    agent.keep_watch(now);
    let say = |agent: &mut Agent, socket, line: &serde_json::Value, now| {
        let line = line.to_string();
        agent.handle(now, Event::Line { client: ClientId(1), socket, peer: &Peer::default(), line: line.as_bytes() });
    };
    for n in 0..200 {
        let failure = json!({"op": "record", "entity_type": "OTHER", "entity_id": n.to_string(), "action": "CREATE",
            "error": "HTTP 500", "payload": "x".repeat(100_000)});
        say(&mut agent, Socket::App, &failure, now);
        round(&mut agent, now);
    }
    let ids: Vec<i64> = (1..=200).collect();
    say(&mut agent, Socket::Admin, &json!({"op": "discard", "ids": ids, "reason": "x"}), now);
    let file = rusqlite::Connection::open(dir.path().join("sync_failures.db")).expect("the file");
    let number = |sql: &str| -> i64 { file.query_row(sql, [], |row| row.get(0)).expect("a number") };
    let mut settle = |agent: &mut Agent, low: bool| {
        for _ in 0..100 {
            now = Moment { agent: now.agent.after(Duration::from_secs(2)), wall: now.wall };
            if low {
                agent.handle(now, Event::DiskFree(16 << 20));
            }
            round(agent, now);
        }
    };
    settle(&mut agent, false);
    assert_eq!(number("SELECT count(*) FROM sync_failures"), 0);
    let free = || number("PRAGMA freelist_count") * number("PRAGMA page_size");
    assert!(free() > 4 << 20, "the test needs free pages, there are {} bytes", free());
    settle(&mut agent, true);
    assert!(free() <= 1 << 20, "{} bytes are still held", free());
    let version = number("PRAGMA data_version");
    settle(&mut agent, true);
    assert_eq!(number("PRAGMA data_version"), version, "a low disk with nothing to return writes nothing");
}

/// Failures that fill a round after five of them.
const LARGE: usize = 250_000;

/// An agent whose rounds are counted: how many rows one of them changes.
struct Rounds {
    dir: tempfile::TempDir,
    now: Moment,
    agent: Agent,
}

impl Rounds {
    fn say(&mut self, socket: Socket, line: &serde_json::Value) {
        let (client, peer, line) = (ClientId(1), &Peer::default(), line.to_string());
        self.agent.handle(self.now, Event::Line { client, socket, peer, line: line.as_bytes() });
    }

    fn number(&self, sql: &str) -> i64 {
        let file = rusqlite::Connection::open(self.dir.path().join("sync_failures.db")).expect("the file");
        file.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// Runs rounds, of which none may change more rows than fill it, as `done` counts them; the last reply.
    fn settle(&mut self, done: &str) -> Option<serde_json::Value> {
        let settings = StoreSettings::new(self.dir.path(), &Limits::default());
        let reader = Reader::open(&settings).unwrap_or_else(|error| panic!("{error}"));
        let (mut reply, mut before) = (None, self.number(done));
        for _ in 0..100 {
            let mut selected = None;
            for effect in round(&mut self.agent, self.now) {
                match effect {
                    Effect::Reply { line, .. } => reply = serde_json::from_slice(&line).ok(),
                    Effect::Ask(inquiry) => {
                        let Answer::Selected(found) = answer(&reader, &inquiry) else { panic!("no selection") };
                        selected = Some(Event::Selected { client: inquiry.client, found });
                    }
                    _ => {}
                }
            }
            let after = self.number(done);
            assert!((after - before).abs() <= 5, "{} rows were changed in one round", (after - before).abs());
            before = after;
            selected.into_iter().for_each(|event| {
                self.agent.handle(self.now, event);
            });
        }
        reply
    }
}

/// SQLite writes a row as a whole when its status changes. So bulk work on large failures is limited by bytes as well as
/// by rows, whether the failures are named, selected by a filter, or moved to another upstream.
#[test]
fn bulk_work_on_large_failures_goes_in_parts() {
    const FAILURES: i64 = 20;
    let dir = tempfile::tempdir().expect("a directory");
    let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_754_123) };
    let agent = start(dir.path(), now);
    let mut rounds = Rounds { dir, now, agent };
    for n in 0..FAILURES {
        let failure = json!({"op": "record", "entity_type": "SALE", "entity_id": n.to_string(), "action": "CREATE",
            "error": "HTTP 500", "payload": "x".repeat(LARGE)});
        rounds.say(Socket::App, &failure);
        round(&mut rounds.agent, now);
    }
    let held = "SELECT count(*) FROM sync_failures WHERE status = 'held'";
    let (ids, filter) = (json!((1..=FAILURES).collect::<Vec<_>>()), json!({"entity_type": "SALE"}));
    for (op, field, scope, counted, expected) in [
        ("hold", "ids", &ids, "changed", FAILURES),
        ("release", "filter", &filter, "changed", 0),
        ("hold", "filter", &filter, "changed", FAILURES),
        ("retry", "ids", &ids, "skipped", FAILURES),
        ("release", "ids", &ids, "changed", 0),
    ] {
        rounds.say(Socket::Admin, &json!({"op": op, "reason": "stocktaking", field: scope}));
        let reply = rounds.settle(held).expect("a reply");
        assert_eq!((&reply["matched"], &reply[counted]), (&json!(FAILURES), &json!(FAILURES)), "{op} {scope}: {reply}");
        assert_eq!(rounds.number(held), expected, "{op} {scope}");
    }
    rounds.agent.close().expect("it closes");
    let other = TWO.replace("hq", "new");
    let config = Config::load(Some(("bounded", &other)), &Overrides::default(), &Environment::default());
    let store = Store::open(StoreSettings::new(rounds.dir.path(), &Limits::default()), now.wall).expect("a store");
    rounds.agent = Agent::start(store, &config.expect("a right configuration"), 1, now).expect("it starts");
    let moved = "SELECT count(*) FROM sync_failures WHERE upstream = 'new'";
    rounds.settle(moved);
    assert_eq!(rounds.number(moved), FAILURES);
}

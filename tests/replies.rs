//! Replies describe what is on disk: for every operation, and for every point at which the disk can
//! fail it, the reply says what another program finds in the database afterwards.
//!
//! The whole agent runs over its real store on the machine of `tests/vfs`. An operation is requested, the
//! disk fails at its n-th step from then on, once or permanently, and the agent works until its client has
//! the reply. Then the agent is killed, with or without a power cut, and the database is opened again:
//!
//! - `ok` with a number: exactly that many failures were changed.
//! - An error: exactly as many were changed as it says (none where it has no number). Only
//!   `storage` leaves the last chunk in doubt, because a failed commit may have reached the disk.
//!
//! Each n is tested, until the operation takes fewer disk steps than n.

use resyncd::agent::questions::{Answer, answer};
use resyncd::agent::{Agent, ClientId, Dispatch, Effect, Event, Peer, ReaderRequest, Step, StepKind};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::ids::Seq;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::ending::Answer as HttpAnswer;
use resyncd::policy::ending::Ending;
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::reader::Reader;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::request::Socket;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;
use vfs::fault::{Fault, Plan};
use vfs::image::Draft;
use vfs::machine::{Machine, on};

#[path = "vfs/mod.rs"]
#[expect(dead_code, reason = "the power-cut test looks into the disk more closely")]
mod vfs;

const WALL: i64 = 1_795_500_754_123;
/// Failures on the terminal, two of each entity, and the size of an operation's chunk: four chunks.
const FAILURES: usize = 10;
const PART: usize = 3;
const ASKER: ClientId = ClientId(7);

/// A terminal on a machine in memory.
struct Terminal {
    agent: Option<Agent>,
    config: Config,
    settings: StoreSettings,
    now: Moment,
    /// Queries that the reader has not answered yet.
    asked: Vec<ReaderRequest>,
    replies: Vec<(ClientId, Value)>,
    sent: Vec<Dispatch>,
    _dir: TempDir,
}

impl Terminal {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        Self::on_disk(more, false)
    }

    /// On a file system that can reserve space inside files, or not.
    fn on_disk(more: &str, reserves: bool) -> Self {
        vfs::install();
        let dir = tempfile::tempdir().expect("a directory");
        on(|machine| {
            *machine = Machine::new(dir.path().to_owned());
            machine.random = Some(fastrand::Rng::with_seed(1));
            machine.reserves = reserves;
        });
        let text = format!("[upstream.hq]\nurl = \"https://hq.example/sync\"\n{more}");
        let around = Environment { root: true, ..Environment::default() };
        let config = Config::load(Some(("replies", &text)), &Overrides::default(), &around);
        let mut config = config.expect("a right configuration");
        config.agent.state_dir = dir.path().to_owned();
        let settings = StoreSettings { disk: vfs::under(), ..StoreSettings::of(&config) };
        let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(WALL) };
        let (asked, replies, sent) = (Vec::new(), Vec::new(), Vec::new());
        let mut terminal = Self { agent: None, config, settings, now, asked, replies, sent, _dir: dir };
        terminal.start();
        terminal
    }

    fn start(&mut self) {
        let store = Store::open(self.settings.clone(), self.now.wall).expect("a store");
        let mut agent = Agent::start(store, &self.config, 1, self.now).expect("it starts");
        agent.keep_watch(self.now);
        agent.goes_in_parts_of(PART);
        self.agent = Some(agent);
        self.round();
        let end = ProbeEnd::Answered { status: 200, took: Duration::ZERO };
        let now = self.now;
        self.agent().handle(now, Event::Probed { upstream: 0, end, date: None });
        self.round();
    }

    fn agent(&mut self) -> &mut Agent {
        self.agent.as_mut().expect("it runs")
    }

    fn pass(&mut self, wait: Duration) {
        self.now = Moment { agent: self.now.agent.after(wait), wall: self.now.wall.after(wait) };
    }

    /// The reader answers its queries, then a round passes.
    fn round(&mut self) {
        self.pass(Duration::from_millis(20));
        let now = self.now;
        for inquiry in std::mem::take(&mut self.asked) {
            let found = match Reader::open(&self.settings) {
                Ok(reader) => answer(&reader, &inquiry),
                Err(error) => Answer::Selected(Err(error.into())),
            };
            if let Answer::Selected(found) = found {
                self.agent().handle(now, Event::Selected { client: inquiry.client, found });
            }
        }
        self.agent().tick(now);
        for effect in self.agent().finish_round(now) {
            match effect {
                Effect::Reply { client, line } => {
                    self.replies.push((client, serde_json::from_slice(&line).expect("a reply is JSON")));
                }
                Effect::Ask(inquiry) => self.asked.push(*inquiry),
                Effect::Send(dispatch) => self.sent.push(*dispatch),
                _ => {}
            }
        }
    }

    fn say(&mut self, socket: Socket, line: &Value) {
        let (now, line) = (self.now, line.to_string());
        let event = Event::Line { client: ASKER, socket, peer: &Peer::default(), line: line.as_bytes() };
        self.agent().handle(now, event);
    }

    /// The reply to the last line.
    fn reply(&mut self) -> Value {
        for _ in 0..200 {
            self.round();
            if let Some(at) = self.replies.iter().rposition(|(client, _)| *client == ASKER) {
                let (_, reply) = self.replies.swap_remove(at);
                self.replies.clear();
                return reply;
            }
        }
        panic!("no reply came")
    }

    fn order(&mut self, line: &Value) -> Value {
        self.say(Socket::Admin, line);
        self.reply()
    }

    fn record(&mut self, n: usize) {
        self.say(Socket::App, &sale(n));
        let reply = self.reply();
        assert_eq!(reply["ok"], true, "{reply}");
    }

    /// The upstream has answered.
    fn answered(&mut self, seq: Seq, status: u16) {
        let body = "x".repeat(2048).into_bytes();
        let ending = Ending::Answered(HttpAnswer { status, body, ..HttpAnswer::default() });
        let steps = vec![Step { kind: StepKind::Deliver, ending, took: Duration::ZERO }];
        let now = self.now;
        self.agent().handle(now, Event::AttemptEnded { seq, steps });
    }

    /// The agent dies; with a power cut, unsynced data may be lost too. Returns the database as the
    /// next start finds it.
    fn die(&mut self, power: Option<u64>) -> Connection {
        on(Machine::kill);
        drop(self.agent.take());
        on(|machine| {
            machine.revive();
            machine.plan = None;
        });
        if let Some(seed) = power {
            let mut random = fastrand::Rng::with_seed(seed);
            on(|machine| {
                let image = Rc::new(Draft::draw(&machine.medium, &mut random).build());
                machine.boot(&image);
            });
        }
        let store = Store::open(self.settings.clone(), self.now.wall).expect("the store opens again");
        store.close().expect("it closes");
        self.file()
    }

    fn file(&self) -> Connection {
        Connection::open(self.settings.file()).expect("the file")
    }
}

/// Waits for its backoff of five minutes.
fn sale(n: usize) -> Value {
    json!({"op": "record", "entity_type": "SALE", "entity_id": format!("s-{}", n / 2), "action": "CREATE",
        "error": "HTTP 500: it broke", "payload": {"n": n}})
}

/// An operation, its preparation, and how its effect is found on disk.
struct Case {
    name: &'static str,
    before: Option<Value>,
    line: Value,
    /// SQL that counts the failures (or upstreams) it has changed.
    changed: &'static str,
    /// The most that it changes in one round.
    part: i64,
    admin: bool,
}

fn cases() -> Vec<Case> {
    let admin = |name, line, changed, part| Case { name, before: None, line, changed, part, admin: true };
    let part = i64::try_from(PART).expect("few");
    let held = "SELECT COUNT(*) FROM sync_failures WHERE status = 'held'";
    let audited = "SELECT COUNT(*) FROM audit_log WHERE operation = ";
    let said = |operation: &str| -> &'static str { Box::leak(format!("{audited}'{operation}'").into_boxed_str()) };
    let row = json!({"id": "4711", "entity_type": "SALE", "entity_id": "x", "action": "CREATE", "error": "e"});
    let left = "SELECT 10 - COUNT(*) FROM sync_failures";
    let released = "SELECT 10 - COUNT(*) FROM sync_failures WHERE status = 'held'";
    vec![
        Case {
            admin: false,
            ..admin("record", sale(20), "SELECT COUNT(*) FROM sync_failures WHERE entity_id = 's-10'", 1)
        },
        admin("hold all", json!({"op": "hold", "all": true}), held, part),
        admin("hold three", json!({"op": "hold", "ids": [1, 4, 6]}), held, 3),
        Case {
            before: Some(json!({"op": "hold", "all": true})),
            ..admin("release all", json!({"op": "release", "filter": {"status": "held"}}), released, part)
        },
        admin("retry all", json!({"op": "retry", "all": true, "reset": true}), said("retry"), part),
        admin("flush", json!({"op": "flush"}), said("flush"), part),
        admin("discard all", json!({"op": "discard", "all": true, "reason": "r"}), left, part),
        admin("discard one", json!({"op": "discard", "ids": [1], "reason": "r"}), left, 1),
        admin(
            "edit",
            json!({"op": "edit", "id": 3, "payload": {"new": 1}}),
            "SELECT COUNT(*) FROM sync_failures WHERE payload LIKE '%new%'",
            1,
        ),
        admin("import", json!({"op": "import", "row": row}), "SELECT COUNT(*) FROM sync_failures WHERE id = '4711'", 1),
        admin("pause", json!({"op": "pause"}), said("pause"), 1),
    ]
}

/// The number of changes that a reply reports.
fn said(reply: &Value) -> i64 {
    if reply["ok"] == true {
        return reply["changed"].as_i64().unwrap_or(1);
    }
    reply["error"]["changed"].as_i64().unwrap_or(0)
}

/// One operation, with a disk that fails at its `n`-th step. Returns false if it took fewer steps.
fn fails(case: &Case, fault: Fault, times: u64, n: u64) -> bool {
    let mut terminal = Terminal::new();
    (0..FAILURES).for_each(|n| terminal.record(n));
    if let Some(before) = &case.before {
        let reply = terminal.order(before);
        assert_eq!(reply["ok"], true, "{reply}");
    }
    on(|machine| machine.plan = Some(Plan { fault, from: machine.operations + 1 + n, times }));
    let struck = on(|machine| machine.struck);
    terminal.say(if case.admin { Socket::Admin } else { Socket::App }, &case.line);
    let reply = terminal.reply();
    let has_struck = on(|machine| machine.struck) > struck;
    let file = terminal.die(n.is_multiple_of(2).then_some(n));
    let found: i64 = file.query_row(case.changed, [], |row| row.get(0)).expect("a count");
    let code = reply["error"]["code"].as_str().unwrap_or_default();
    let doubt = if code == "storage" { case.part } else { 0 };
    let said = said(&reply);
    let Case { name, .. } = case;
    let right = (said..=said + doubt).contains(&found);
    assert!(right, "{name}, {fault:?} at step {n}, {times} times: {found} were changed, and the reply is {reply}");
    has_struck
}

/// Every case on its own thread, with its own machine.
#[test]
fn a_reply_says_what_a_fresh_reader_finds() {
    const MOST: u64 = 400;
    let tried = |case: &Case| {
        for (kind, fault) in (0..).zip(Fault::ALL) {
            // Each step fails once in some of the ways; permanently, where that changes what the next attempt finds.
            let for_good = matches!(fault, Fault::Io | Fault::Full);
            for (times, every) in [(1, 2), (u64::MAX, 5)].into_iter().take(1 + usize::from(for_good)) {
                let mut steps = (kind % every..MOST).step_by(usize::try_from(every).expect("few"));
                let last = steps.find(|n| !fails(case, fault, times, *n));
                assert!(last.is_some_and(|last| last > 2), "{}: the disk was asked for {last:?} steps", case.name);
            }
        }
    };
    let (cases, next) = (cases(), std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    tried(case);
                }
            });
        }
    });
}

/// A client's operation continues after it disconnects: the rest of the failures are changed too.
#[test]
fn what_was_begun_for_a_client_that_has_gone_is_completed() {
    let held = |terminal: &Terminal| -> i64 {
        let sql = "SELECT COUNT(*) FROM sync_failures WHERE status = 'held'";
        terminal.file().query_row(sql, [], |row| row.get(0)).expect("a count")
    };
    let mut terminal = Terminal::new();
    (0..FAILURES).for_each(|n| terminal.record(n));
    terminal.say(Socket::Admin, &json!({"op": "hold", "all": true}));
    terminal.round();
    terminal.agent().client_disconnected(ASKER);
    (0..10).for_each(|_| terminal.round());
    assert_eq!(held(&terminal), 10);

    // The followers of a discarded head are held, in chunks as well.
    let mut terminal = Terminal::new();
    for n in 0..FAILURES {
        let mut line = sale(n);
        line["entity_id"] = json!("s-0");
        terminal.say(Socket::App, &line);
        terminal.reply();
    }
    terminal.say(Socket::Admin, &json!({"op": "discard", "ids": [1], "reason": "it was nothing"}));
    terminal.round();
    terminal.agent().client_disconnected(ASKER);
    (0..10).for_each(|_| terminal.round());
    assert_eq!(held(&terminal), 9);

    // A query without changes is dropped.
    terminal.replies.clear();
    terminal.say(Socket::Admin, &json!({"op": "retry", "all": true, "dry_run": true}));
    terminal.round();
    terminal.agent().client_disconnected(ASKER);
    (0..10).for_each(|_| terminal.round());
    assert!(terminal.asked.is_empty() && terminal.replies.is_empty(), "{:?}", terminal.replies);
}

/// An outcome may refund what an earlier one has counted, so outcomes are written in their order,
/// also when some of them fail and others arrive meanwhile.
#[test]
fn outcomes_that_could_not_be_written_keep_their_order() {
    let mut terminal = Terminal::with("concurrency = 10");
    for n in 0..10 * FAILURES {
        let mut line = sale(2 * n);
        line["retry"] = json!("now");
        line.as_object_mut().expect("an object").remove("error");
        terminal.say(Socket::App, &line);
    }
    // Each acceptance allows more requests at once.
    terminal.round();
    while terminal.agent().in_flight() < FAILURES {
        for dispatch in std::mem::take(&mut terminal.sent) {
            terminal.answered(dispatch.seq, 201);
        }
        terminal.round();
    }
    let sent: Vec<Seq> = terminal.sent.iter().map(|dispatch| dispatch.seq).collect();
    assert_eq!(sent.len(), FAILURES);
    let fails = |fault| on(|machine| machine.plan = Some(Plan { fault, from: machine.operations + 1, times: 1 }));
    // The first eight end together and find the disk full; the first portion of them meets another error.
    fails(Fault::Full);
    sent[..8].iter().for_each(|seq| terminal.answered(*seq, 400));
    terminal.round();
    assert_eq!(terminal.agent().unwritten_outcomes(), 8);
    terminal.answered(sent[8], 400);
    fails(Fault::Io);
    terminal.pass(Duration::from_secs(1));
    terminal.round();
    assert_eq!(terminal.agent().unwritten_outcomes(), 9);
    terminal.answered(sent[9], 400);
    for _ in 0..10 {
        terminal.pass(Duration::from_secs(1));
        terminal.round();
    }
    assert_eq!(terminal.agent().unwritten_outcomes(), 0);
    let file = terminal.file();
    let mut attempts =
        file.prepare("SELECT seq FROM sync_attempts WHERE class <> 'delivered' ORDER BY id").expect("SQL");
    let written = attempts.query_map([], |row| row.get(0).map(Seq)).expect("rows");
    assert_eq!(written.collect::<Result<Vec<_>, _>>().expect("rows"), sent);
}

/// What people change on a full disk takes none of the room for outcomes. Returns how often they asked: once.
fn people_are_refused(terminal: &mut Terminal) -> usize {
    let written = "SELECT (SELECT COUNT(*) FROM sync_failures WHERE status = 'held') + \
                   (SELECT COUNT(*) FROM audit_log WHERE operation <> 'pause' AND operation <> 'resume')";
    for op in ["retry", "hold", "release", "flush"] {
        let mut line = json!({"op": op});
        if op != "flush" {
            line["all"] = json!(true);
        }
        let reply = terminal.order(&line);
        assert_eq!(reply["error"]["code"], "disk_full", "{op}: {reply}");
    }
    let rows: i64 = terminal.file().query_row(written, [], |row| row.get(0)).expect("a count");
    assert_eq!(rows, 0, "nothing was written for them");
    1
}

/// Another program keeps filling the disk and takes all released space. Outcomes are still written,
/// into space inside the agent's own files; operators and applications get `disk_full`, and their
/// requests are not carried out, also while the backlog is delivered: that space is for outcomes alone.
#[test]
fn delivery_goes_on_while_another_program_fills_the_disk() {
    const SALES: usize = 600;
    let mut terminal = Terminal::on_disk("[limits]\nmin_free_disk = \"0B\"\n", true);
    let free = |terminal: &mut Terminal, bytes: u64| {
        let now = terminal.now;
        terminal.agent().handle(now, Event::DiskFree(bytes));
    };
    free(&mut terminal, 1 << 40);
    assert_eq!(terminal.order(&json!({"op": "pause"}))["ok"], true);
    let due_sale = |n: usize| -> Value {
        json!({"op": "record", "entity_type": "SALE", "entity_id": n.to_string(), "action": "CREATE", "retry": "now",
            "payload": "x".repeat(1000)})
    };
    for n in 0..SALES {
        terminal.say(Socket::App, &due_sale(n));
    }
    terminal.round();
    terminal.replies.clear();
    let count = |terminal: &Terminal, sql: &str| -> usize {
        terminal.file().query_row(sql, [], |row| row.get(0)).expect("a count")
    };
    assert_eq!(count(&terminal, "SELECT COUNT(*) FROM sync_failures"), SALES);

    on(|machine| machine.full = true);
    free(&mut terminal, 0);
    assert_eq!(terminal.order(&json!({"op": "resume"}))["ok"], true);
    let pending = "SELECT COUNT(*) FROM sync_failures WHERE status = 'pending'";
    let mut refused = 0;
    for _ in 0..4000 {
        for dispatch in std::mem::take(&mut terminal.sent) {
            terminal.answered(dispatch.seq, if dispatch.seq.0 % 2 == 0 { 201 } else { 422 });
        }
        terminal.pass(Duration::from_millis(300));
        free(&mut terminal, 0);
        terminal.round();
        if count(&terminal, pending) < SALES / 2 {
            refused += people_are_refused(&mut terminal);
        }
        if count(&terminal, pending) == 0 {
            break;
        }
    }
    assert_eq!(
        (count(&terminal, pending), terminal.agent().unwritten_outcomes()),
        (0, 0),
        "all have been answered for"
    );
    assert!(refused > 1, "they asked while there was a backlog: {refused} times");
    assert_eq!(count(&terminal, "SELECT COUNT(*) FROM sync_failures WHERE status = 'critical'"), SALES / 2);
    for line in [json!({"op": "retry", "all": true}), json!({"op": "discard", "all": true, "reason": "r"})] {
        let reply = terminal.order(&line);
        assert_eq!(reply["error"]["code"], "disk_full", "{reply}");
    }
    terminal.say(Socket::App, &due_sale(SALES));
    assert_eq!(terminal.reply()["error"]["code"], "disk_full");

    on(|machine| machine.full = false);
    free(&mut terminal, 1 << 40);
    terminal.say(Socket::App, &due_sale(SALES));
    assert_eq!(terminal.reply()["ok"], true);
    assert!(count(&terminal, "SELECT COUNT(*) FROM reserve") > 0, "there is room for the next time");
    let integrity: String =
        terminal.file().query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
    assert_eq!(integrity, "ok");
}

/// Recording goes on as soon as the disk has room again, also where less is free than there was at the start: whether
/// or not what is held back for outcomes had to be given up meanwhile. What it has left is not taken for room.
#[test]
fn recording_goes_on_where_less_is_free_than_before() {
    let free = |terminal: &mut Terminal, bytes: u64| {
        let now = terminal.now;
        terminal.agent().handle(now, Event::DiskFree(bytes));
    };
    let count = |terminal: &Terminal, sql: &str| -> usize {
        terminal.file().query_row(sql, [], |row| row.get(0)).expect("a count")
    };
    for given_up in [false, true] {
        let mut terminal = Terminal::on_disk("[limits]\nmin_free_disk = \"0B\"\n", true);
        free(&mut terminal, 24 << 20);
        assert_eq!(terminal.order(&json!({"op": "pause"}))["ok"], true);
        let mut n = 0;
        let mut record = |terminal: &mut Terminal| {
            let mut line = sale(2 * n);
            (line["payload"], line["retry"]) = (json!("x".repeat(1000)), json!("now"));
            n += 1;
            terminal.say(Socket::App, &line);
            terminal.reply()["error"]["code"].as_str().unwrap_or("ok").to_owned()
        };
        (0..600).for_each(|_| assert_eq!(record(&mut terminal), "ok"));
        on(|machine| machine.full = true);
        free(&mut terminal, 0);
        let refused = (0..2000).any(|_| record(&mut terminal) == "disk_full");
        assert!(refused, "the file cannot grow without an end");
        let reserve = "SELECT COUNT(*) FROM reserve";
        if given_up {
            assert_eq!(terminal.order(&json!({"op": "resume"}))["ok"], true);
            for _ in 0..4000 {
                for dispatch in std::mem::take(&mut terminal.sent) {
                    terminal.answered(dispatch.seq, 422);
                }
                terminal.pass(Duration::from_millis(300));
                terminal.round();
                if count(&terminal, reserve) == 0 {
                    break;
                }
            }
        }
        assert_eq!(count(&terminal, reserve) == 0, given_up);
        for bytes in [0, 1 << 20] {
            free(&mut terminal, bytes);
            if bytes == 0 || given_up {
                assert_eq!(record(&mut terminal), "disk_full", "{bytes} are free, given up: {given_up}");
            }
        }
        on(|machine| machine.full = false);
        free(&mut terminal, 15 << 20);
        terminal.pass(Duration::from_secs(11));
        terminal.round();
        assert_eq!(record(&mut terminal), "ok", "given up: {given_up}");
        assert!(count(&terminal, reserve) > 0);
    }
}

/// The archive of deliveries is history and gives way to recording, the oldest day first; that of undelivered failures
/// is their only copy.
#[test]
fn archives_of_deliveries_give_way_on_a_full_disk_and_those_of_undelivered_failures_never() {
    let config = "[limits]\nmin_free_disk = \"1MiB\"\n[retention]\ndelivered = \"7d\"\n";
    let mut terminal = Terminal::on_disk(config, true);
    let dir = terminal.config.agent.state_dir.join("archive");
    std::fs::create_dir_all(&dir).expect("a directory");
    let names = ["2020-01.jsonl", "delivered-2026-11-20.jsonl", "delivered-2026-11-21.jsonl"];
    names.iter().for_each(|name| std::fs::write(dir.join(name), "{}\n").expect("a file"));
    let mut left = |bytes: u64| {
        let now = terminal.now;
        terminal.agent().handle(now, Event::DiskFree(bytes));
        terminal.round();
        names.into_iter().filter(|name| dir.join(name).exists()).collect::<Vec<_>>()
    };
    assert_eq!(left(1 << 30), names);
    assert_eq!(left(1 << 20), names, "that is enough");
    assert_eq!(left((1 << 20) - 1), ["2020-01.jsonl", "delivered-2026-11-21.jsonl"]);
    assert_eq!(left(1 << 30), ["2020-01.jsonl", "delivered-2026-11-21.jsonl"], "it has helped");
    for _ in 0..3 {
        assert_eq!(left(0), ["2020-01.jsonl"]);
    }
    let sql = "SELECT message FROM alerts WHERE kind = 'history_shortened' AND active";
    let message: String = terminal.file().query_row(sql, [], |row| row.get(0)).expect("an alert");
    assert!(message.contains("archive/delivered-2026-11-2") && message.contains("disk is full"), "{message}");
}

/// A round that is not committed counts for no alert, and what was counted before it is still known.
#[test]
fn alerts_do_not_count_what_could_not_be_recorded() {
    let mut terminal = Terminal::new();
    let many = |terminal: &mut Terminal| -> bool {
        (0..3).for_each(|_| terminal.round());
        let sql = "SELECT COUNT(*) FROM alerts WHERE kind = 'many_failures' AND active";
        terminal.file().query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count") > 0
    };
    // The alert begins with more than ten within an hour. Ten are recorded; thirty more are not.
    (0..FAILURES).for_each(|n| terminal.record(n));
    on(|machine| machine.plan = Some(Plan { fault: Fault::Full, from: machine.operations + 1, times: 1 }));
    for n in 0..30 {
        terminal.say(Socket::App, &sale(n));
    }
    assert_eq!(terminal.reply()["error"]["code"], "disk_full");
    terminal.pass(Duration::from_secs(2));
    assert!(!many(&mut terminal), "ten are not more than ten");
    // The earlier ones still count after the failed ones.
    terminal.record(40);
    assert!(many(&mut terminal), "eleven are");
}

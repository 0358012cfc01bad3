//! The agent between a failed write and the reopening of the file, step by step: the pure core over
//! its real store, with a trigger that makes statements fail.

use resyncd::agent::{Agent, ClientId, Dispatch, Effect, Event, Peer, Step, StepKind};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::ending::Answer;
use resyncd::policy::ending::Ending;
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::{Store, StoreError, StoreSettings};
use resyncd::wire::request::Socket;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use tempfile::TempDir;

const SALE: &str = r#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","retry":"now"}"#;
const RETURN: &str = r#"{"op":"record","entity_type":"RETURN","entity_id":"r-1","action":"CREATE","retry":"now"}"#;
const PAUSE: &str = r#"{"op":"pause"}"#;

/// A running agent whose upstream has answered a probe.
struct Bench {
    agent: Agent,
    now: Moment,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with("")
    }

    /// With further tables in its configuration.
    fn with(more: &str) -> Self {
        let text = format!("[upstream.hq]\nurl = \"https://hq.example/sync\"\n{more}");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
        let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_754_123) };
        let settings = StoreSettings { keep_triggers: true, ..StoreSettings::new(dir.path(), &Limits::default()) };
        let store = Store::open(settings, now.wall).expect("a new store");
        let mut agent = Agent::start(store, &config.expect("a right configuration"), 1, now).expect("it starts");
        agent.keep_watch(now);
        let mut bench = Self { agent, now, dir };
        let effects = bench.round();
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Probe { .. })), "{effects:?}");
        let end = ProbeEnd::Answered { status: 200, took: Duration::ZERO };
        bench.agent.handle(bench.now, Event::Probed { upstream: 0, end, date: None });
        bench.round();
        bench
    }

    fn round(&mut self) -> Vec<Effect> {
        self.agent.tick(self.now);
        self.agent.finish_round(self.now)
    }

    /// One request in its own round: the reply, and what is sent then.
    fn ask(&mut self, socket: Socket, line: &str) -> (Value, Vec<Dispatch>) {
        let event = Event::Line { client: ClientId(1), socket, peer: &Peer::default(), line: line.as_bytes() };
        self.agent.handle(self.now, event);
        let (mut reply, mut sent) = (Value::Null, Vec::new());
        for effect in self.round() {
            match effect {
                Effect::Reply { line, .. } => reply = serde_json::from_slice(&line).expect("JSON"),
                Effect::Send(dispatch) => sent.push(*dispatch),
                Effect::Ask(_)
                | Effect::Tell(_)
                | Effect::Probe { .. }
                | Effect::Advance { .. }
                | Effect::Recall { .. }
                | Effect::LogInAgain { .. }
                | Effect::Reread(_)
                | Effect::Reconfigured { .. } => {}
            }
        }
        (reply, sent)
    }

    fn accepted(&mut self, dispatch: &Dispatch) {
        let ending = Ending::Answered(Answer { status: 201, ..Answer::default() });
        let steps = vec![Step { kind: StepKind::Deliver, ending, took: Duration::ZERO }];
        self.agent.handle(self.now, Event::AttemptEnded { seq: dispatch.seq, steps });
    }

    fn pass(&mut self, wait: Duration) {
        self.now = Moment { agent: self.now.agent.after(wait), wall: self.now.wall.after(wait) };
    }

    fn file(&self) -> Connection {
        Connection::open(self.dir.path().join("sync_failures.db")).expect("the file")
    }

    /// Makes this statement fail from now on.
    fn fails(&self, statement: &str) {
        let sql = format!("CREATE TRIGGER fault BEFORE {statement} BEGIN SELECT RAISE(ABORT, 'fault'); END");
        self.file().execute_batch(&sql).expect("a trigger");
    }

    fn mended(&self) {
        self.file().execute_batch("DROP TRIGGER fault").expect("a trigger");
    }

    fn live(&self) -> u64 {
        self.file().query_row("SELECT COUNT(*) FROM sync_failures", [], |row| row.get(0)).expect("a count")
    }
}

/// After a failed write, the file is reopened before the next one. Data that the kernel reports as
/// written may be lost, so no reply says ok, and an outcome waits.
#[test]
fn nothing_is_written_before_the_file_is_opened_anew() {
    let mut bench = Bench::new();
    let (_, sent) = bench.ask(Socket::App, SALE);
    let [dispatch] = &sent[..] else { panic!("one request, not {sent:?}") };

    bench.fails("UPDATE ON agent");
    let (reply, _) = bench.ask(Socket::App, RETURN);
    assert_eq!(reply["error"]["code"], json!("storage"), "{reply}");
    bench.mended();

    bench.accepted(dispatch);
    let (reply, sent) = bench.ask(Socket::Admin, PAUSE);
    assert_eq!(reply["error"]["code"], json!("storage"), "{reply}");
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!((bench.live(), bench.agent.unwritten_outcomes()), (1, 1), "the outcome waits for the file");

    bench.pass(Duration::from_secs(1));
    bench.round();
    assert_eq!((bench.live(), bench.agent.unwritten_outcomes()), (0, 0), "it is written then");
    let (reply, _) = bench.ask(Socket::App, RETURN);
    assert_eq!(reply["ok"], json!(true), "{reply}");
}

/// A foreign reader prevents the log from being reset. At 256 MiB recording stops; once the reader
/// is gone, the agent itself truncates the log, because no other write would.
#[test]
fn a_log_that_grows_without_an_end_stops_recording_until_its_reader_has_gone() {
    const FULL: u64 = 256 << 20;
    let mut bench = Bench::new();
    let log = bench.dir.path().join("sync_failures.db-wal");
    let reader = bench.file();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM sync_failures").expect("a reader");
    let (reply, _) = bench.ask(Socket::App, SALE);
    assert_eq!(reply["ok"], json!(true), "{reply}");
    bench.agent.handle(bench.now, Event::LogSize(FULL - 1));
    let (reply, _) = bench.ask(Socket::App, RETURN);
    assert_eq!(reply["ok"], json!(true), "an alert is no refusal: {reply}");
    bench.agent.handle(bench.now, Event::LogSize(FULL));
    let (reply, _) = bench.ask(Socket::App, RETURN);
    assert_eq!(reply["error"]["code"], json!("disk_full"), "{reply}");
    let (reply, _) = bench.ask(Socket::Admin, PAUSE);
    assert_eq!(reply["ok"], json!(true), "everything else goes on: {reply}");

    reader.execute_batch("COMMIT").expect("it ends");
    bench.agent.handle(bench.now, Event::LogSize(FULL));
    let text = std::fs::read(&log).expect("the log");
    assert!(text.iter().all(|byte| *byte == 0), "what was in it is in the file; the blocks are kept");
    assert_eq!(text.len(), 4_096_000);
    let (reply, _) = bench.ask(Socket::App, RETURN);
    assert_eq!(reply["ok"], json!(true), "{reply}");
    assert_eq!(bench.live(), 3);
}

/// The space for outcomes on a full disk is reserved while space is free; without that reserve
/// nothing is recorded.
#[test]
fn what_room_there_is_without_a_ballast_belongs_to_outcomes() {
    let mut bench = Bench::new();
    let ballast = bench.dir.path().join("ballast");
    bench.agent.handle(bench.now, Event::DiskFree(1 << 30));
    let made = std::fs::metadata(&ballast).expect("the ballast");
    assert!(made.blocks() * 512 >= 1 << 20, "it is no hole: {} blocks", made.blocks());
    assert_eq!(made.mode() & 0o777, 0o600);
    assert_eq!(bench.ask(Socket::App, SALE).0["ok"], json!(true));

    let mut bench = Bench::with("[limits]\nmin_free_disk = \"0B\"");
    bench.agent.handle(bench.now, Event::DiskFree(100 << 10));
    let (reply, _) = bench.ask(Socket::App, SALE);
    assert_eq!(reply["error"]["code"], json!("disk_full"), "{reply}");
    bench.agent.handle(bench.now, Event::DiskFree(1 << 30));
    assert_eq!(bench.ask(Socket::App, SALE).0["ok"], json!(true));
}

/// A foreign write lock delays no client longer than a second. Earlier it delayed every round while
/// it was held, and a client whose request spanned several reads waited as many seconds.
#[test]
fn a_foreign_lock_is_not_tried_again_by_every_round() {
    let mut bench = Bench::new();
    let foreign = bench.file();
    foreign.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    assert_eq!(bench.ask(Socket::App, SALE).0["error"]["code"], json!("storage"));
    foreign.execute_batch("COMMIT").expect("it is free again");
    // No check was due yet: the next attempt comes after the wait and a pause.
    bench.pass(Duration::from_secs(1));
    let (reply, _) = bench.ask(Socket::App, SALE);
    assert_eq!(reply["error"]["code"], json!("storage"), "{reply}");
    assert_eq!(bench.live(), 0);
    bench.pass(Duration::from_millis(250));
    bench.round();
    assert_eq!(bench.ask(Socket::App, SALE).0["ok"], json!(true));
}

/// The file shrinks with deletions, inside their round. Earlier every round did it, with its own
/// transaction and fsync; under a foreign lock each waited a second for it.
#[test]
fn a_round_without_deletions_does_not_shrink_the_file() {
    let mut bench = Bench::new();
    let payload = "x".repeat(200_000);
    let mut waiting = Vec::new();
    for n in 0..40 {
        let sale = SALE.replace("s-1", &format!("s-{n}")).replace('}', &format!(",\"payload\":\"{payload}\"}}"));
        waiting.extend(bench.ask(Socket::App, &sale).1);
    }
    while !waiting.is_empty() {
        waiting.drain(..).for_each(|dispatch| bench.accepted(&dispatch));
        let sent = bench.round().into_iter();
        waiting
            .extend(sent.filter_map(|effect| if let Effect::Send(dispatch) = effect { Some(*dispatch) } else { None }));
    }
    assert_eq!(bench.live(), 0);
    let pragma = |bench: &Bench, name: &str| -> i64 {
        bench.file().query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).expect("a number")
    };
    assert!(pragma(&bench, "freelist_count") > 256, "there is something to give back");
    let pages = pragma(&bench, "page_count");
    bench.round();
    assert_eq!(pragma(&bench, "page_count"), pages);
}

/// A pause that was reported as failed has not happened: the upstream is not paused.
#[test]
fn a_pause_that_could_not_be_audited_is_none() {
    a_pause_that_failed_is_none("INSERT ON audit_log");
}

/// The same when the statements succeeded, and the commit failed.
#[test]
fn a_pause_whose_commit_failed_is_none() {
    a_pause_that_failed_is_none("UPDATE ON agent");
}

fn a_pause_that_failed_is_none(fault: &str) {
    let mut bench = Bench::new();
    bench.fails(fault);
    let (reply, _) = bench.ask(Socket::Admin, PAUSE);
    assert_eq!(reply["error"]["code"], json!("storage"), "{reply}");
    bench.mended();
    bench.pass(Duration::from_secs(1));
    bench.round();
    let (reply, sent) = bench.ask(Socket::App, SALE);
    assert_eq!((&reply["ok"], sent.len()), (&json!(true), 1), "{reply}");
}

/// While the quarantined file is restored, step by step, replies say so and nothing is sent; a
/// request that was under way during that time ends normally.
#[test]
fn a_quarantine_is_brought_back_between_the_rounds() {
    let mut bench = Bench::new();
    let (_, sent) = bench.ask(Socket::App, SALE);
    let [dispatch] = &sent[..] else { panic!("one request, not {sent:?}") };
    let line =
        |n: usize| RETURN.replace("r-1", &format!("r-{n}")).replace("\"retry\":\"now\"", "\"error\":\"HTTP 500: x\"");
    for n in 0..2500 {
        let line = line(n);
        let (client, peer) = (ClientId(1), &Peer::default());
        bench.agent.handle(bench.now, Event::Line { client, socket: Socket::App, peer, line: line.as_bytes() });
    }
    bench.round();
    assert_eq!(bench.live(), 2501);

    bench.agent.handle(bench.now, Event::Damaged(StoreError::damaged("a page")));
    bench.pass(Duration::from_secs(1));
    let mut rounds = 0;
    loop {
        let (reply, sent) = bench.ask(Socket::App, &line(9000 + rounds));
        assert!(sent.is_empty(), "{sent:?}");
        // The first request finds that the file must be reopened.
        assert_eq!(reply["ok"] == json!(true), rounds > 0, "{reply}");
        assert!(rounds == 0 || reply["seq"].as_i64() > Some(2501), "{reply}");
        let (reply, _) = bench.ask(Socket::App, r#"{"op":"get","id":"nobody"}"#);
        let code = &reply["error"]["code"];
        if rounds > 0 && *code == json!("not_found") {
            break;
        }
        assert!(rounds == 0 || *code == json!("storage"), "the table is not whole: {reply}");
        if rounds == 3 {
            bench.accepted(dispatch);
        }
        rounds += 1;
        assert!(rounds < 1000, "it comes to an end");
    }
    assert!(rounds >= 20, "{rounds} rounds");
    while bench.agent.unwritten_outcomes() > 0 || bench.agent.in_flight() > 0 {
        bench.round();
        rounds += 1;
        assert!(rounds < 1000, "it comes to an end");
    }
    let newer = u64::try_from(rounds).expect("few");
    let count: u64 = bench
        .file()
        .query_row("SELECT COUNT(*) FROM sync_failures WHERE seq > 2501", [], |row| row.get(0))
        .expect("a count");
    assert!(count <= newer);
    assert_eq!(bench.agent.in_flight(), 0, "its outcome finds its row");
    let heads = "SELECT COUNT(*) FROM sync_failures WHERE seq = 1";
    let gone: u64 = bench.file().query_row(heads, [], |row| row.get(0)).expect("a count");
    assert_eq!(gone, 0, "it was delivered");
    let integrity: String = bench.file().query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a word");
    assert_eq!(integrity, "ok");
}

/// While the upstream is blocked and has set a `Retry-After` on every failure, the first of these
/// ends with its own deadline, not when something else happens to wake the agent.
#[test]
fn a_canary_goes_when_the_first_wait_that_was_asked_for_ends() {
    let mut bench = Bench::new();
    let answered = |bench: &mut Bench, dispatch: &Dispatch, answer: Answer| {
        let steps = vec![Step { kind: StepKind::Deliver, ending: Ending::Answered(answer), took: Duration::ZERO }];
        bench.agent.handle(bench.now, Event::AttemptEnded { seq: dispatch.seq, steps });
        bench.round();
    };
    let (_, sent) = bench.ask(Socket::App, SALE);
    answered(&mut bench, &sent[0], Answer { status: 503, retry_after: Some("777".into()), ..Answer::default() });
    let free = bench.now.agent.after(Duration::from_secs(777));

    // The upstream itself waits for two minutes at most.
    bench.pass(Duration::from_secs(121));
    let (reply, sent) = bench.ask(Socket::App, RETURN);
    answered(&mut bench, &sent[0], Answer { status: 401, ..Answer::default() });
    let hold = json!({"op": "hold", "ids": [reply["id"]]}).to_string();
    let (reply, _) = bench.ask(Socket::Admin, &hold);
    assert_eq!(reply["ok"], json!(true), "{reply}");

    let sent_at = loop {
        let next = bench.agent.next_deadline().expect("there is always something to come back for");
        bench.pass(next.since(bench.now.agent));
        if bench.round().iter().any(|effect| matches!(effect, Effect::Send(_))) {
            break bench.now.agent;
        }
        assert!(bench.now.agent <= free.after(Duration::from_mins(5)), "it is never sent");
    };
    assert_eq!(sent_at, free);
}

//! The time series of an agent whose clock the test holds: what is told after an hour, a stop, a kill.

use resyncd::agent::questions::{Answer, answer};
use resyncd::agent::{Agent, ClientId, Effect, Event, Peer, Step, StepKind};
use resyncd::config::{Config, Overrides, Surroundings};
use resyncd::figures::told::{PointView, SeriesReply};
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::class::{self, Ending, LineFault};
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::reader::Reader;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::request::Socket;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

/// An agent, its directory, and the time.
struct Terminal {
    dir: TempDir,
    config: Config,
    agent: Agent,
    at_ms: i64,
    /// Is the upstream there, and with which status does it answer?
    answers: Option<u16>,
    rounds: u64,
}

impl Terminal {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let overrides =
            Overrides { upstream: Some(("http://127.0.0.1:9/sync".into(), "a test")), ..Overrides::default() };
        let surroundings = Surroundings { host_name: "till-07".into(), ..Surroundings::default() };
        let config = Config::load(None, &overrides, &surroundings).expect("the defaults");
        let agent = start(&dir, &config, 0);
        Self { dir, config, agent, at_ms: 0, answers: Some(200), rounds: 0 }
    }

    fn now(&self) -> Moment {
        now(self.at_ms)
    }

    /// As the daemon does: ends rounds, answers what is sent and asked, until the agent has nothing to do.
    fn settle(&mut self) -> Vec<Value> {
        let mut replies = Vec::new();
        loop {
            self.agent.tick(self.now());
            self.rounds += 1;
            let effects = self.agent.finish_round(self.now());
            let mut events = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Reply { line, .. } => replies.push(serde_json::from_slice(&line).expect("JSON")),
                    Effect::Send(dispatch) => events.push(Event::Tried { seq: dispatch.seq, steps: vec![self.step()] }),
                    Effect::Probe { upstream } => {
                        events.push(Event::Probed { upstream, end: self.probe(), date: None });
                    }
                    Effect::Ask(inquiry) => {
                        let settings = StoreSettings::new(self.dir.path(), &Limits::default());
                        let reader = Reader::open(&settings).unwrap_or_else(|error| panic!("{error}"));
                        if let Answer::Line(line) = answer(&reader, &inquiry) {
                            replies.push(serde_json::from_slice(&line).expect("JSON"));
                        }
                    }
                    _ => {}
                }
            }
            let idle = events.is_empty() && self.agent.next_deadline().is_none_or(|at| at.as_millis() > self.at_ms);
            for event in events {
                self.agent.handle(self.now(), event);
            }
            if idle {
                return replies;
            }
        }
    }

    fn step(&self) -> Step {
        let took = Duration::from_millis(40);
        let ending = match self.answers {
            Some(status) => Ending::Answered(class::Answer { status, ..class::Answer::default() }),
            None => Ending::NotSent(LineFault::NoConnection, "Connection refused".into()),
        };
        Step { kind: StepKind::Deliver, ending, took }
    }

    fn probe(&self) -> ProbeEnd {
        match self.answers {
            Some(status) => ProbeEnd::Answered { status, took: Duration::from_millis(40) },
            None => ProbeEnd::Silence { reason: "Connection refused".into() },
        }
    }

    /// Lets time pass, from one deadline of the agent's to the next.
    fn pass(&mut self, minutes: i64) {
        let end = self.at_ms + minutes * 60_000;
        loop {
            self.settle();
            match self.agent.next_deadline().map(AgentTime::as_millis).filter(|at| *at <= end) {
                Some(at) => self.at_ms = at.max(self.at_ms),
                None => break,
            }
        }
        self.at_ms = end;
    }

    fn ask(&mut self, request: &Value) -> Value {
        let peer = Peer { uid: 0, pid: 1, name: None };
        let line = request.to_string();
        let event = Event::Line { client: ClientId(16), socket: Socket::Admin, peer: &peer, line: line.as_bytes() };
        self.agent.handle(self.now(), event);
        self.settle().into_iter().next().unwrap_or_else(|| panic!("no reply to {request}"))
    }

    fn record(&mut self, entity: &str) {
        let reply = self.ask(&json!({
            "op": "record", "entity_type": "SALE", "entity_id": entity, "action": "CREATE", "retry": "now", "error": "x"
        }));
        assert_eq!(reply["ok"], true, "{reply}");
    }

    fn series(&mut self) -> SeriesReply {
        serde_json::from_value(self.ask(&json!({"op": "series"}))).expect("a series")
    }

    /// Of each point that is not like the one before.
    fn told(&mut self, of: fn(&PointView) -> u64) -> Vec<u64> {
        self.series().points.iter().map(of).collect()
    }

    /// Kills the agent and starts it again on what is on disk.
    fn kill(self, minutes_away: i64) -> Self {
        let Self { dir, config, agent, at_ms, answers, rounds } = self;
        drop(agent);
        let at_ms = at_ms + minutes_away * 60_000;
        let agent = start(&dir, &config, at_ms);
        Self { dir, config, agent, at_ms, answers, rounds }
    }

    /// What the table says.
    fn sum(&self, column: &str) -> i64 {
        let file = Connection::open(self.dir.path().join("sync_failures.db")).expect("the file");
        let sql = format!("SELECT coalesce(sum({column}), 0) FROM series");
        file.query_row(&sql, [], |row| row.get(0)).expect("a sum")
    }
}

fn now(ms: i64) -> Moment {
    Moment { agent: AgentTime::from_millis(ms), wall: WallTime::from_millis(1_795_500_000_000 + ms) }
}

fn start(dir: &TempDir, config: &Config, at_ms: i64) -> Agent {
    let settings = StoreSettings::new(dir.path(), &Limits::default());
    let store = Store::open(settings, now(at_ms).wall).unwrap_or_else(|error| panic!("{error}"));
    Agent::start(store, config, 7, now(at_ms)).expect("an agent")
}

#[test]
fn an_hour_is_told_as_it_was() {
    let mut terminal = Terminal::new();
    terminal.record("a");
    terminal.pass(10);
    terminal.answers = None;
    for entity in ["b", "c"] {
        terminal.record(entity);
    }
    terminal.pass(20);
    terminal.answers = Some(200);
    terminal.pass(10);
    let recorded = terminal.told(|point| point.all.recorded);
    assert_eq!(recorded, [1, 0, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(terminal.told(|point| point.pending), [0, 0, 2, 2, 2, 2, 0, 0, 0]);
    let delivered = terminal.told(|point| point.all.delivered);
    assert_eq!(delivered.iter().sum::<u64>(), 3);
    assert!(delivered[..2] == [1, 0] && delivered[2..6] == [0; 4], "{delivered:?}");
    let offline = terminal.told(|point| point.all.offline_seconds);
    assert!(offline[..2] == [0, 0] && offline[7..] == [0, 0], "{offline:?}");
    assert!(offline[2] > 0 && offline[3..6] == [300; 3], "{offline:?}");
    let failed: u64 = terminal.told(|point| point.all.failed).iter().sum();
    assert!(failed > 0, "the tries during the outage");
}

/// A person has paused it, and nothing happens for hours.
#[test]
fn a_long_pause_is_told_though_nothing_was_written_in_it() {
    let mut terminal = Terminal::new();
    terminal.record("a");
    terminal.pass(5);
    terminal.ask(&json!({"op": "pause"}));
    terminal.pass(60);
    let shut = terminal.told(|point| point.all.shut_seconds);
    assert_eq!((shut.len(), shut[0], shut.iter().sum::<u64>()), (14, 0, 3600), "{shut:?}");
    terminal.ask(&json!({"op": "resume"}));
    let shut = terminal.told(|point| point.all.shut_seconds);
    assert_eq!(shut.iter().sum::<u64>(), 3600, "the same when it is on disk: {shut:?}");
}

/// What was live at an interval's end is known before the next round changes it, hours later.
#[test]
fn an_idle_time_keeps_what_was_live_at_its_beginning() {
    let mut terminal = Terminal::new();
    terminal.answers = Some(422);
    for entity in ["a", "b", "c"] {
        terminal.record(entity);
    }
    terminal.pass(3);
    let discarded = terminal.ask(&json!({"op": "discard", "ids": ["1"], "reason": "entered twice"}));
    assert_eq!(discarded["changed"], 1, "{discarded}");
    terminal.pass(57);
    terminal.ask(&json!({"op": "discard", "ids": ["2"], "reason": "entered twice"}));
    terminal.pass(6);
    let critical = terminal.told(|point| point.critical);
    assert_eq!(critical, [[2; 12].as_slice(), &[1, 1]].concat());
    assert_eq!(terminal.told(|point| point.all.refused).iter().sum::<u64>(), 3);
}

#[test]
fn a_stop_loses_nothing_and_a_kill_at_most_the_last_minute_and_nothing_of_what_is_live() {
    let mut terminal = Terminal::new();
    terminal.pass(1);
    terminal.answers = Some(503);
    for entity in ["a", "b"] {
        terminal.record(entity);
        terminal.record(&format!("{entity}2"));
        terminal.at_ms += 61_000;
    }
    let mut terminal = terminal.kill(0);
    assert_eq!(
        terminal.sum("CASE upstream WHEN '' THEN recorded END"),
        3,
        "the last came within a minute of the third"
    );
    terminal.at_ms += 3_600_000;
    assert_eq!(terminal.told(|point| point.pending).last(), Some(&4));
    terminal.record("c");
    terminal.record("d");
    terminal.agent.handle(terminal.now(), Event::Stop);
    terminal.settle();
    assert_eq!(terminal.sum("CASE upstream WHEN '' THEN recorded END"), 5, "all since the kill");
}

/// After a kill the last interval in which something was written says what was live then.
#[test]
fn what_was_live_at_a_kill_is_told_of_the_time_after_it() {
    let mut terminal = Terminal::new();
    terminal.answers = Some(422);
    terminal.record("a");
    terminal.pass(2);
    terminal.record("b");
    terminal.record("c");
    terminal.ask(&json!({"op": "discard", "ids": ["1"], "reason": "entered twice"}));
    let mut terminal = terminal.kill(60);
    terminal.answers = Some(200);
    terminal.record("d");
    terminal.pass(1);
    assert_eq!(terminal.told(|point| point.critical), [2; 13]);
}

/// An agent with nothing to do writes nothing for the series' sake, and is not woken for it.
#[test]
fn nothing_is_written_and_nobody_is_woken_while_nothing_happens() {
    let mut terminal = Terminal::new();
    terminal.record("a");
    terminal.pass(125); // Two clean-ups, and the next one is in an hour.
    let (rounds, rows) = (terminal.rounds, terminal.sum("1"));
    let version = |terminal: &Terminal| {
        let file = std::fs::metadata(terminal.dir.path().join("sync_failures.db-wal")).expect("the log");
        (file.len(), file.modified().expect("a time"))
    };
    let before = version(&terminal);
    terminal.pass(40);
    assert_eq!((terminal.rounds - rounds, terminal.sum("1")), (1, rows), "one round, the test's own");
    assert_eq!(version(&terminal), before);
}

//! The time series of an agent whose clock is controlled by the test: its contents after an hour, a stop, a kill.

#[path = "report/terminal.rs"]
mod terminal;

use resyncd::figures::told::{PointView, SeriesReply};
use resyncd::moment::WallTime;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use terminal::{Office, Terminal, answered, record, refused};

/// A terminal in its own directory.
struct Held {
    dir: TempDir,
    inner: Terminal,
}

impl Held {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let inner = Terminal::new(dir.path(), WallTime::from_millis(1_795_500_000_000), |_, _| answered(200, ""));
        Self { dir, inner }
    }

    fn office(&mut self, office: Office) {
        self.inner.office = office;
    }

    fn record(&mut self, entity: &str) {
        let reply = self.inner.ask(&record(entity));
        assert_eq!(reply["ok"], true, "{reply}");
    }

    fn told(&mut self, of: fn(&PointView) -> u64) -> Vec<u64> {
        let reply = self.inner.ask(&json!({"op": "series"}));
        let series: SeriesReply = serde_json::from_value(reply).expect("a series");
        series.points.iter().map(of).collect()
    }

    fn kill(self, minutes_away: i64) -> Self {
        Self { dir: self.dir, inner: self.inner.kill(minutes_away) }
    }

    /// The number of recorded failures in the table.
    fn recorded(&self) -> i64 {
        self.sum("CASE upstream WHEN '' THEN recorded END")
    }

    fn sum(&self, column: &str) -> i64 {
        let file = Connection::open(self.dir.path().join("sync_failures.db")).expect("the file");
        let sql = format!("SELECT coalesce(sum({column}), 0) FROM series");
        file.query_row(&sql, [], |row| row.get(0)).expect("a sum")
    }
}

#[test]
fn an_hour_is_told_as_it_was() {
    let mut terminal = Held::new();
    terminal.record("a");
    terminal.inner.pass(10);
    terminal.office(|_, _| refused());
    for entity in ["b", "c"] {
        terminal.record(entity);
    }
    terminal.inner.pass(20);
    terminal.office(|_, _| answered(200, ""));
    terminal.inner.pass(10);
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
    assert!(failed > 0, "the attempts during the outage");
}

/// An operator has paused it, and nothing happens for hours.
#[test]
fn a_long_pause_is_told_though_nothing_was_written_in_it() {
    let mut terminal = Held::new();
    terminal.record("a");
    terminal.inner.pass(5);
    terminal.inner.ask(&json!({"op": "pause"}));
    terminal.inner.pass(60);
    let shut = terminal.told(|point| point.all.shut_seconds);
    assert_eq!((shut.len(), shut[0], shut.iter().sum::<u64>()), (14, 0, 3600), "{shut:?}");
    terminal.inner.ask(&json!({"op": "resume"}));
    let shut = terminal.told(|point| point.all.shut_seconds);
    assert_eq!(shut.iter().sum::<u64>(), 3600, "the same when it is on disk: {shut:?}");
}

/// What was live at an interval's end is known before the next round changes it, hours later.
#[test]
fn an_idle_time_keeps_what_was_live_at_its_beginning() {
    let mut terminal = Held::new();
    terminal.office(|_, _| answered(422, ""));
    for entity in ["a", "b", "c", "d"] {
        terminal.record(entity);
    }
    terminal.inner.pass(3);
    // The second comes within a minute, so that its round has no row.
    for id in [1, 2] {
        let discarded = terminal.inner.ask(&json!({"op": "discard", "ids": [id], "reason": "entered twice"}));
        assert_eq!(discarded["changed"], 1, "{discarded}");
        terminal.inner.at_ms += 1000;
    }
    terminal.inner.pass(57);
    terminal.inner.ask(&json!({"op": "discard", "ids": [3], "reason": "entered twice"}));
    terminal.inner.pass(6);
    let critical = terminal.told(|point| point.critical);
    assert_eq!(critical, [[2; 12].as_slice(), &[1, 1]].concat());
    assert_eq!(terminal.told(|point| point.all.refused).iter().sum::<u64>(), 4);
}

#[test]
fn a_stop_loses_nothing_and_a_kill_at_most_the_last_minute_and_nothing_of_what_is_live() {
    let mut terminal = Held::new();
    terminal.inner.pass(1);
    terminal.office(|_, _| answered(503, ""));
    for entity in ["a", "b"] {
        terminal.record(entity);
        terminal.record(&format!("{entity}2"));
        terminal.inner.at_ms += 61_000;
    }
    let mut terminal = terminal.kill(0);
    assert_eq!(terminal.recorded(), 3, "the last came within a minute of the third");
    terminal.inner.at_ms += 3_600_000;
    assert_eq!(terminal.told(|point| point.pending).last(), Some(&4));
    terminal.record("c");
    terminal.record("d");
    let Held { dir, inner } = terminal;
    inner.stop();
    let file = Connection::open(dir.path().join("sync_failures.db")).expect("the file");
    let sum = "SELECT sum(recorded) FROM series WHERE upstream = ''";
    assert_eq!(file.query_row(sum, [], |row| row.get::<_, i64>(0)).expect("a sum"), 5, "all since the kill");
}

/// After a kill, the last interval with a row gives the live failures of the time that follows.
#[test]
fn what_was_live_at_a_kill_is_told_of_the_time_after_it() {
    let mut terminal = Held::new();
    terminal.office(|_, _| answered(422, ""));
    terminal.record("a");
    terminal.inner.pass(2);
    terminal.record("b");
    terminal.record("c");
    terminal.inner.ask(&json!({"op": "discard", "ids": [1], "reason": "entered twice"}));
    let mut terminal = terminal.kill(60);
    terminal.office(|_, _| answered(200, ""));
    terminal.record("d");
    terminal.inner.pass(1);
    assert_eq!(terminal.told(|point| point.critical), [2; 13]);
}

/// An idle agent writes nothing for the series, and is not woken for it.
#[test]
fn nothing_is_written_and_nobody_is_woken_while_nothing_happens() {
    let mut terminal = Held::new();
    terminal.record("a");
    terminal.inner.pass(125); // Two clean-ups, and the next one is in an hour.
    let (rounds, rows) = (terminal.inner.rounds, terminal.sum("1"));
    let version = |terminal: &Held| {
        let file = std::fs::metadata(terminal.inner.dir.join("sync_failures.db-wal")).expect("the log");
        (file.len(), file.modified().expect("a time"))
    };
    let before = version(&terminal);
    terminal.inner.pass(40);
    assert_eq!((terminal.inner.rounds - rounds, terminal.sum("1")), (1, rows), "one round, the test's own");
    assert_eq!(version(&terminal), before);
}

//! Tests of the time series' table.

use super::*;
use crate::limits::Limits;
use crate::moment::{AgentTime, Moment};
use crate::store::StoreSettings;

fn opened() -> (tempfile::TempDir, Store, Reader) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = StoreSettings::new(dir.path(), &Limits::default());
    let store = Store::open(settings.clone(), WallTime::from_millis(0)).unwrap_or_else(|error| panic!("{error}"));
    let reader = Reader::open(&settings).unwrap_or_else(|error| panic!("{error}"));
    (dir, store, reader)
}

fn now() -> Moment {
    Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(0) }
}

fn row(bucket: i64, pending: u64, names: &[&str]) -> Kept {
    let mut counted = Counted::recorded(2);
    for name in names {
        *counted.at(name) =
            Tally { recorded: 1, delivered: 2, failed: 3, refused: 4, offline_ms: 150_000, shut_ms: 60_000 };
    }
    let live = ByStatus { pending, critical: 1, held: 3 };
    Kept { bucket: Bucket(bucket), wall: WallTime::from_millis(1_795_500_000_000 + bucket), live, counted }
}

#[test]
fn what_is_added_twice_is_counted_twice_and_is_live_as_it_was_last() {
    let (_dir, mut store, reader) = opened();
    store.begin().expect("a round");
    for kept in [row(3, 9, &[]), row(7, 5, &["hq", "erp"]), row(7, 4, &["erp"])] {
        store.add_to_series(&kept).expect("a row");
    }
    store.commit(now()).expect("on disk");
    let (before, kept) = reader.series(Bucket(4)).expect("a look");
    assert_eq!(before.map(|live| live.pending), Some(9));
    let mut expected = row(7, 4, &["erp", "hq"]);
    expected.counted.recorded = 4;
    *expected.counted.at("erp") =
        Tally { recorded: 2, delivered: 4, failed: 6, refused: 8, offline_ms: 300_000, shut_ms: 120_000 };
    assert_eq!(kept, [expected]);
    assert_eq!(store.last_of_series().expect("a look").map(|live| live.pending), Some(4));
    assert_eq!(store.forget_series(Bucket(7), 500).expect("a clean-up"), 1);
}

/// A month with events in each interval, and the only upstream offline all the time.
#[test]
fn the_worst_month_of_one_upstream_takes_a_few_hundred_kibibytes() {
    let (_dir, mut store, reader) = opened();
    let before = reader.database_bytes().expect("a size");
    store.begin().expect("a round");
    for bucket in 0..30 * 288 {
        store.add_to_series(&row(6_000_000 + bucket, 100, &["hq"])).expect("a row");
    }
    store.commit(now()).expect("on disk");
    let bytes = reader.database_bytes().expect("a size") - before;
    println!("a month takes {} KiB", bytes / 1024);
    assert!(bytes < 640 * 1024, "{bytes}");
}

/// The loop runs these: each uses the key, and none sorts or scans the table.
#[test]
fn no_statement_of_the_loop_reads_the_whole_series() {
    let (_dir, store, _reader) = opened();
    let forget = "SELECT bucket, upstream FROM series WHERE bucket < ?1 ORDER BY bucket LIMIT ?2";
    for sql in [LAST, forget] {
        let mut statement = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3)).collect::<Vec<_>>();
        for step in steps {
            let step = step.expect("a step");
            assert!(step.starts_with("SEARCH series USING PRIMARY KEY (bucket<?)"), "{sql}: {step}");
        }
    }
}

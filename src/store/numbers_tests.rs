//! Rows that other programs renumbered, in every detectable way: each has its own number again before any other work.

use super::*;
use crate::ids::Seq;
use crate::limits::Limits;
use crate::moment::{AgentTime, Moment, WallTime};
use crate::store::reader::Reader;
use crate::store::{Store, StoreSettings};
use std::collections::BTreeMap;
use tempfile::TempDir;

const NOW: Moment = Moment { agent: AgentTime::from_millis(9000), wall: WallTime::from_millis(1_795_500_754_123) };

/// A state directory whose failures have these numbers.
struct Till {
    dir: TempDir,
}

impl Till {
    fn with(numbers: impl IntoIterator<Item = i64>) -> Self {
        let till = Self { dir: tempfile::tempdir().expect("a directory") };
        let store = till.open();
        let file = till.file();
        for n in numbers {
            insert(&file, n, n);
        }
        file.execute("UPDATE agent SET live = (SELECT COUNT(*) FROM sync_failures), next_seq = 100", [])
            .expect("a row");
        drop(store);
        till
    }

    fn settings(&self) -> StoreSettings {
        StoreSettings::new(self.dir.path(), &Limits::default())
    }

    fn open(&self) -> Store {
        Store::open(self.settings(), NOW.wall).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens the database as another program would.
    fn file(&self) -> Connection {
        Connection::open(self.settings().file()).expect("the file")
    }

    fn change(&self, sql: &str) {
        self.file().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Ids and numbers; each row must have its number and be found by it.
    fn numbers(&self) -> BTreeMap<String, i64> {
        let file = self.file();
        let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a word");
        assert_eq!(sound, "ok");
        let mut statement = file.prepare("SELECT id, seq, rowid FROM sync_failures").expect("a query");
        let rows = statement.query_map([], |row| {
            let (seq, rowid): (i64, i64) = (row.get(1)?, row.get(2)?);
            assert_eq!(seq, rowid);
            Ok((row.get(0)?, seq))
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("a row")
    }
}

fn insert(file: &Connection, rowid: i64, seq: i64) {
    let sql = "INSERT INTO sync_failures (rowid, id, entity_type, entity_id, action, error, payload, created_at, updated_at, \
               seq, recorded_at, upstream, terminal_id, head, uncounted) VALUES (?1, 'id-' || ?2, 'SALE', 's', 'CREATE', 'x', \
               hex(zeroblob(2000)), '2026-11-24 06:12:34.123', '2026-11-24 06:12:34.123', ?2, 5000, 'hq', 'till', 0, 1)";
    file.execute(sql, [rowid, seq]).expect("a failure");
}

fn as_they_were(numbers: impl IntoIterator<Item = i64>) -> BTreeMap<String, i64> {
    numbers.into_iter().map(|n| (format!("id-{n}"), n)).collect()
}

/// Restores a dump.
const ANEW: &str = "CREATE TEMP TABLE kept AS SELECT * FROM sync_failures ORDER BY rowid; \
                    DELETE FROM sync_failures; INSERT INTO sync_failures SELECT * FROM kept";

/// Correctness does not depend on this, but otherwise every `VACUUM` would slow down a start.
#[test]
fn a_vacuum_keeps_the_numbers() {
    let till = Till::with([3, 4, 9, 17, 18, 80]);
    till.change("VACUUM");
    assert_eq!(till.numbers(), as_they_were([3, 4, 9, 17, 18, 80]));
    let copy = till.dir.path().join("copy.db");
    Reader::open(&till.settings()).unwrap_or_else(|error| panic!("{error}")).copy_into(&copy).expect("a copy");
    let parted = "SELECT COUNT(*) FROM sync_failures WHERE rowid <> seq";
    let parted: i64 = Connection::open(copy).expect("it").query_row(parted, [], |row| row.get(0)).expect("a count");
    assert_eq!(parted, 0);
}

#[test]
fn rows_that_were_numbered_anew_are_put_right_at_a_start() {
    let numbers: Vec<i64> = (1..=90).filter(|n| n % 7 > 2).collect();
    let sparse = [5, 6, 70];
    let ways: [(&str, &str, &[i64]); 7] = [
        ("a dump", ANEW, &numbers),
        ("a dump of few", ANEW, &sparse),
        ("behind", "UPDATE sync_failures SET rowid = rowid + 1000", &numbers),
        ("below nothing", "UPDATE sync_failures SET rowid = rowid - 40 WHERE rowid < 40", &numbers),
        (
            "in another order",
            "UPDATE sync_failures SET rowid = -rowid; UPDATE sync_failures SET rowid = rowid + 91",
            &numbers,
        ),
        ("the first", "UPDATE sync_failures SET rowid = 4 WHERE rowid = 5", &sparse),
        ("the last", "UPDATE sync_failures SET rowid = 77 WHERE rowid = 70", &sparse),
    ];
    for (how, sql, numbers) in ways {
        let till = Till::with(numbers.iter().copied());
        till.change(sql);
        assert!(!agree(&till.file()).expect("a look"), "{how}");
        let store = till.open();
        assert_eq!(till.numbers(), as_they_were(numbers.iter().copied()), "{how}");
        assert_eq!((store.ledger().next_seq, store.ledger().live), (100, numbers.len() as u64), "{how}");
        for n in numbers {
            let found = store.by_seq(Seq(*n)).expect("a look").expect(how);
            assert_eq!((found.seq, found.id.as_str()), (Seq(*n), &*format!("id-{n}")), "{how}");
        }
    }
}

/// In the middle of many rows, with both ends correct.
#[test]
fn rows_in_another_order_between_the_ends_are_found() {
    let till = Till::with(1..=90);
    let shuffled = "UPDATE sync_failures SET rowid = -(2 + (rowid * 37) % 88) WHERE rowid BETWEEN 2 AND 89; \
                    UPDATE sync_failures SET rowid = -rowid WHERE rowid < 0";
    till.change(shuffled);
    drop(till.open());
    assert_eq!(till.numbers(), as_they_were(1..=90));
}

#[test]
fn what_has_no_number_of_its_own_gets_one_behind_all() {
    let till = Till::with([1, 2, 3, 4, 5, 6]);
    till.change(
        "UPDATE sync_failures SET seq = 'six' WHERE rowid = 6; UPDATE sync_failures SET seq = -1 WHERE rowid = 5; \
         UPDATE sync_failures SET seq = 1 WHERE rowid IN (3, 4); UPDATE sync_failures SET seq = 200 WHERE rowid = 2",
    );
    let mut store = till.open();
    let numbers = till.numbers();
    assert_eq!((numbers["id-1"], numbers["id-2"]), (1, 200));
    let mut new: Vec<i64> = ["id-3", "id-4", "id-5", "id-6"].map(|id| numbers[id]).to_vec();
    new.sort_unstable();
    assert_eq!(new, [201, 202, 203, 204]);
    assert_eq!(store.ledger().next_seq, 205);
    store.begin().expect("a round");
    store.commit(NOW).expect("a commit");
    drop(store);
    assert_eq!(till.open().ledger().next_seq, 205, "no number is given twice");
}

/// A kill may come before any round has ended.
#[test]
fn numbers_that_were_given_are_known_before_the_first_round_ends() {
    let till = Till::with([1, 2, 3]);
    till.change(
        "UPDATE sync_failures SET seq = 150 WHERE rowid = 2; UPDATE sync_failures SET seq = 'three' WHERE rowid = 3",
    );
    drop(till.open());
    assert_eq!(till.numbers()["id-3"], 151);
    assert_eq!(till.open().ledger().next_seq, 152, "the next failure finds its number free");
}

/// The agent's round may fail after the repair, but the repair stays.
#[test]
fn a_foreign_write_is_put_right_before_the_round() {
    let till = Till::with([5, 6, 70]);
    let mut store = till.open();
    assert_eq!(store.take_foreign_write().expect("a look"), None);
    till.change(ANEW);
    store.begin().expect("a round");
    store.rollback();
    assert_eq!(till.numbers(), as_they_were([5, 6, 70]));
    assert_eq!(store.take_foreign_write().expect("a look"), Some(0));
    till.change("UPDATE sync_failures SET rowid = 300 WHERE seq = 6; DELETE FROM sync_failures WHERE seq = 5");
    assert_eq!(store.take_foreign_write().expect("a look"), Some(1));
    assert!(!store.is_in_round());
    assert_eq!(till.numbers(), as_they_were([6, 70]));
    assert_eq!(store.ledger().live, 2);
    // As an integrator's own tool would insert: the number in the column, the rowid left to SQLite.
    let own = "INSERT INTO sync_failures (id, entity_type, entity_id, action, error, seq, recorded_at, terminal_id, head, \
               uncounted) VALUES ('id-7', 'SALE', 's', 'CREATE', 'x', 7, 5000, 'till', 0, 1)";
    till.change(own);
    assert_eq!(store.take_foreign_write().expect("a look"), Some(0));
    assert_eq!(till.numbers(), as_they_were([6, 7, 70]));
    assert_eq!(store.ledger().next_seq, 100);
}

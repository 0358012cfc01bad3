//! Damages one page after the other, each in every distinguishable way: no more is lost than the page contained, and
//! restored rows equal the original ones.

use super::records::records;
use super::*;
use crate::limits::Limits;
use crate::store::open::connect;
use crate::store::pragma::PAGE_SIZE;
use crate::store::{Store, StoreSettings};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;
use tempfile::TempDir;

const NOW: WallTime = WallTime::from_millis(1_795_500_754_123);
const ROWS: i64 = 120;

/// A database's bytes: its file and its WAL.
struct Image {
    file: Vec<u8>,
    log: Vec<u8>,
}

impl Image {
    /// A file with a history, as a kill leaves it: half of it is in the WAL.
    fn lived() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let file = connect(&settings, NOW).unwrap_or_else(|error| panic!("{error}")).connection;
        for n in 1..=ROWS {
            insert(&file, n, n);
            if n == ROWS / 2 {
                file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
            }
        }
        let changes = "DELETE FROM sync_failures WHERE seq % 7 = 0; \
                       UPDATE idempotency_keys SET outcome = 'delivered' WHERE failure_id NOT IN (SELECT id FROM sync_failures); \
                       UPDATE sync_failures SET error = error || ' and more', retry_count = 1 WHERE seq % 5 = 0; \
                       UPDATE agent SET agent_time = 77000, wall_time = 1795500754000, next_seq = 121, \
                       live = (SELECT COUNT(*) FROM sync_failures)";
        file.execute_batch(changes).expect("changes");
        let read = |path| fs::read(path).expect("a file");
        Self { file: read(settings.file()), log: read(settings.log_file()) }
    }

    /// The same, completely in the file.
    fn checkpointed() -> Self {
        Self::lived().changed("SELECT 1")
    }

    /// Changed by another program's SQL, completely in the file.
    fn changed(&self, sql: &str) -> Self {
        let dir = self.put();
        let file = Connection::open(dir.path().join("sync_failures.db")).expect("it opens");
        file.execute_batch(sql).expect("changes");
        file.close().expect("it closes");
        Self { file: fs::read(dir.path().join("sync_failures.db")).expect("a file"), log: Vec::new() }
    }

    /// An empty image.
    fn none() -> Self {
        Self { file: Vec::new(), log: Vec::new() }
    }

    fn put(&self) -> TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("sync_failures.db"), &self.file).expect("a file");
        fs::write(dir.path().join("sync_failures.db-wal"), &self.log).expect("a log");
        dir
    }

    fn pages(&self) -> usize {
        self.file.len() / PAGE_SIZE as usize
    }

    fn with_page(&self, page: usize, damage: impl Fn(&mut [u8])) -> Self {
        let mut file = self.file.clone();
        let size = PAGE_SIZE as usize;
        damage(&mut file[(page - 1) * size..page * size]);
        Self { file, log: self.log.clone() }
    }
}

fn insert(into: &Connection, rowid: i64, n: i64) {
    let payload = match n % 9 {
        0 => "\"long\"".repeat(700),
        1 => "\"longer\"".repeat(900),
        _ => format!("{{\"n\":{n},\"note\":\"{}\"}}", "x".repeat(usize::try_from(n % 50).expect("small"))),
    };
    let kind = if n % 9 < 2 { "text" } else { "json" };
    let sql = "INSERT INTO sync_failures (rowid, id, entity_type, entity_id, action, error, payload, payload_kind, created_at, \
               updated_at, seq, due_at, recorded_at, upstream, order_key, idempotency_key, source_uid, source_pid, \
               terminal_id, head, uncounted) VALUES (?4, 'id-' || ?1, 'SALE', 's-' || (?1 % 11), 'CREATE', 'HTTP 500', ?2, ?3, \
               '2026-11-24 06:12:34.123', '2026-11-24 06:12:34.123', ?1, 5000, ?1, 'hq', iif(?1 % 4 = 0, 'o', NULL), \
               'k-' || ?1, 1000, 7, 'till-07', 0, 1)";
    into.execute(sql, params![n, payload, kind, rowid]).expect("a failure");
    let kind = PayloadKind::parse(kind).expect("a kind");
    let content = keys::digest("SALE", &format!("s-{}", n % 11), "CREATE", Some((&payload, kind)));
    let key =
        "INSERT INTO idempotency_keys (source_uid, key, failure_id, sha256) VALUES (1000, 'k-' || ?1, 'id-' || ?1, ?2)";
    into.execute(key, params![n, content]).expect("a key");
    let attempt = "INSERT INTO sync_attempts (failure_id, seq, entity_type, entity_id, action, attempt, trigger, upstream, \
                   started_at, duration_ms, class, counted) VALUES ('id-' || ?1, ?1, 'SALE', 's', 'CREATE', 1, 'auto', 'hq', \
                   '2026-11-24 06:12:34.123', 3, 'failed', 0)";
    into.execute(attempt, [n]).expect("an attempt");
}

/// The file of a new store.
fn empty() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let store = Store::open(settings.clone(), NOW).unwrap_or_else(|error| panic!("{error}"));
        store.close().expect("it closes");
        fs::read(settings.file()).expect("a file")
    })
}

/// A store with the salvaged rows of an image, and the result.
struct Saved {
    tally: Tally,
    store: Connection,
    _dir: TempDir,
}

impl Saved {
    fn of(image: &Image) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("sync_failures.db");
        fs::write(&file, empty()).expect("a file");
        let store = Connection::open(&file).expect("an empty store");
        // Durability is tested elsewhere.
        store.execute_batch("PRAGMA synchronous = OFF").expect("a word");
        Self { tally: Self::bring(image, &store), store, _dir: dir }
    }

    fn bring(image: &Image, store: &Connection) -> Tally {
        Self::bring_beside(image, store, None)
    }

    /// Salvages while failures are recorded with numbers from `floor` on.
    fn bring_beside(image: &Image, store: &Connection, floor: Option<i64>) -> Tally {
        let from = image.put();
        let terms = Terms { name: "then".into(), now: NOW, routes: Vec::new(), floor, is_nameless: false };
        let (file, log) = (from.path().join("sync_failures.db"), from.path().join("sync_failures.db-wal"));
        let begun = Salvage::begin(&file, &log, store, terms);
        let mut salvage = begun.unwrap_or_else(|error| panic!("{error:?}"));
        let mut ledger = Ledger::load(store).expect("a row");
        let mut step = || salvage.step(store, &mut ledger).unwrap_or_else(|error| panic!("{error:?}"));
        let tally = std::iter::repeat_with(&mut step).find_map(|tally| tally).expect("it ends");
        let sound: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a word");
        assert_eq!(sound, "ok");
        tally
    }

    /// The essential columns of each failure, by its number; critical ones are marked.
    fn failures(&self) -> BTreeMap<i64, String> {
        let sql = "SELECT seq, CASE error_class WHEN 'damaged' THEN 'damaged' ELSE concat_ws('|', id, entity_type, entity_id, \
                   action, error, payload, payload_kind, created_at, status, retry_count, due_at, upstream, order_key, \
                   idempotency_key, source_uid) END FROM sync_failures";
        let mut statement = self.store.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.map(|row| row.expect("a row")).collect()
    }

    fn number(&self, sql: &str) -> i64 {
        self.store.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Invariants that hold however much was lost.
    fn assert_in_order(&self, what: &str) {
        let heads = "SELECT COUNT(*) FROM sync_failures WHERE head <> (seq IN (SELECT min(seq) FROM sync_failures \
                     GROUP BY coalesce(order_key, entity_type || ' ' || entity_id)))";
        assert_eq!(self.number(heads), 0, "{what}: heads are the oldest of their orders");
        assert_eq!(self.number("SELECT live - (SELECT COUNT(*) FROM sync_failures) FROM agent"), 0, "{what}");
        assert!(
            self.number("SELECT next_seq FROM agent") > self.number("SELECT max(seq) FROM sync_failures"),
            "{what}"
        );
        let back = "SELECT (SELECT agent_time FROM agent) < max(recorded_at) FROM sync_failures";
        assert_eq!(self.number(back), 0, "{what}: agent time went back");
        let keys = "SELECT COUNT(*) FROM sync_failures LEFT JOIN idempotency_keys ON failure_id = id \
                    WHERE outcome IS NOT NULL OR failure_id IS NULL AND error_class IS NULL";
        assert_eq!(self.number(keys), 0, "{what}: every failure has its key");
        assert_eq!(self.number("SELECT COUNT(*) FROM sync_failures WHERE unsure = 0"), 0, "{what}");
    }
}

fn live() -> BTreeSet<i64> {
    (1..=ROWS).filter(|n| n % 7 != 0).collect()
}

#[test]
fn all_of_a_sound_file_comes_back_also_what_is_only_in_its_log() {
    for image in [Image::lived(), Image::checkpointed()] {
        let saved = Saved::of(&image);
        let from = image.put();
        let whole = Connection::open(from.path().join("sync_failures.db")).expect("it opens");
        let whole = Saved { tally: Tally::default(), store: whole, _dir: from };
        assert_eq!(saved.failures(), whole.failures());
        assert_eq!(saved.failures().keys().copied().collect::<BTreeSet<_>>(), live());
        assert_eq!(saved.tally, Tally { salvaged: live().len() as u64, lost: 0 });
        for table in ["sync_attempts", "idempotency_keys"] {
            let count = format!("SELECT COUNT(*) FROM {table}");
            assert_eq!(saved.number(&count), whole.number(&count), "{table}");
        }
        assert_eq!(saved.number("SELECT agent_time FROM agent"), 77_000);
        assert_eq!(saved.number("SELECT next_seq FROM agent"), 121);
        saved.assert_in_order("sound");
        assert_eq!(Saved::bring(&image, &saved.store), saved.tally, "a second time");
        assert_eq!(saved.failures(), whole.failures());
        assert_eq!(saved.number("SELECT COUNT(*) FROM sync_attempts"), ROWS);
    }
}

/// Number of failures with a part in this page of a sound file.
fn in_page(pages: &Pages, tables: &Tables, page: u32) -> usize {
    let failure = |record: &Record| matches!(tables.know(record), Some(Known::Row(Table::Failures)));
    records(pages, page).iter().filter(|record| failure(record)).count()
}

type Damage<'a> = &'a dyn Fn(&mut [u8]);

#[test]
fn a_damaged_page_loses_no_more_than_what_stood_in_it() {
    damage_each_page("whole", &Image::checkpointed(), 3);
    // A row contains its number, even if no index does and the end of the row is lost.
    damage_each_page("no index", &Image::checkpointed().changed("DROP INDEX sync_failures_retry"), 1);
}

/// Damages each page in the first `ways` ways.
fn damage_each_page(name: &str, image: &Image, ways: usize) {
    let sound = Saved::of(image);
    let (all, tables) = (sound.failures(), Tables::of(&sound.store).expect("tables"));
    let from = image.put();
    let pages = Pages::open(&from.path().join("sync_failures.db"), &from.path().join("none")).expect("pages");
    let mut seed = fastrand::Rng::with_seed(7);
    let garbage: Vec<u8> = (0..PAGE_SIZE).map(|_| seed.u8(..)).collect();
    let zero = |bytes: &mut [u8]| bytes.fill(0);
    let noise = |bytes: &mut [u8]| bytes.copy_from_slice(&garbage);
    let first = |bytes: &mut [u8]| bytes[0] ^= 0xff;
    for page in 1..=image.pages() {
        let damages: [(&str, Damage); 3] = [("zero", &zero), ("noise", &noise), ("its first byte", &first)];
        let most = in_page(&pages, &tables, u32::try_from(page).expect("few"));
        for (how, damage) in damages.into_iter().take(ways) {
            let what = format!("{name}, page {page}, {how}");
            let saved = Saved::of(&image.with_page(page, damage));
            let failures = saved.failures();
            let changed: Vec<_> = failures.iter().filter(|(seq, row)| all.get(seq) != Some(row)).collect();
            assert!(failures.keys().all(|seq| all.contains_key(seq)), "{what}: what was deleted is back");
            let gone = all.len() - failures.len();
            assert!(changed.iter().all(|(_, row)| *row == "damaged"), "{what}: {changed:?}");
            assert!(changed.len() <= 1, "{what}: a page is the rest of one record at most: {changed:?}");
            assert!(gone <= most, "{what}: {gone} are gone, {most} stood there");
            assert_eq!(saved.tally.lost, gone as u64, "{what}");
            saved.assert_in_order(&what);
        }
    }
}

/// An index shows which failures there were, even without the agent's row.
#[test]
fn what_is_lost_is_known_without_the_agents_count() {
    let image = Image::checkpointed().changed("UPDATE agent SET live = 0");
    let sound = Saved::of(&image);
    let (all, tables) = (sound.failures().len() as u64, Tables::of(&sound.store).expect("tables"));
    let from = image.put();
    let pages = Pages::open(&from.path().join("sync_failures.db"), &from.path().join("none")).expect("pages");
    let page = |n: &usize| in_page(&pages, &tables, u32::try_from(*n).expect("few")) > 0;
    let leaf = (1..=image.pages()).rfind(page).expect("a leaf");
    let saved = Saved::of(&image.with_page(leaf, |bytes| bytes.fill(0)));
    let there = saved.failures().len() as u64;
    assert!(there < all);
    assert_eq!(saved.tally, Tally { salvaged: there, lost: all - there });
}

/// No index or count contains them any longer.
#[test]
fn failures_that_left_long_ago_are_not_lost() {
    let gone =
        "DELETE FROM sync_failures WHERE seq <= 20; UPDATE agent SET live = (SELECT COUNT(*) FROM sync_failures)";
    let saved = Saved::of(&Image::checkpointed().changed(gone));
    assert_eq!(saved.tally, Tally { salvaged: saved.failures().len() as u64, lost: 0 });
}

/// Page 1, which contains the page size, and the map of pages after it are lost together.
#[test]
fn the_first_pages_are_not_needed() {
    let mut image = Image::checkpointed();
    image.file[..8192].fill(0);
    let saved = Saved::of(&image);
    assert!(saved.tally.salvaged > 90, "{:?}", saved.tally);
}

/// For example after restoring a dump: operators know the number in the column.
#[test]
fn rows_that_a_stranger_has_numbered_keep_the_numbers_that_they_had() {
    let image = Image::checkpointed();
    let all = Saved::of(&image).failures();
    let saved = Saved::of(&image.changed("UPDATE sync_failures SET rowid = rowid + 1000"));
    assert_eq!((saved.failures(), saved.tally), (all.clone(), Tally { salvaged: all.len() as u64, lost: 0 }));
    saved.assert_in_order("renumbered");
}

#[test]
fn a_truncated_file_has_what_is_before_its_end() {
    let image = Image::checkpointed();
    let all = Saved::of(&image).failures();
    let mut before = 0;
    for length in (0..=image.file.len()).step_by(12 * 1024 + 1000) {
        let saved = Saved::of(&Image { file: image.file[..length].to_vec(), ..Image::none() });
        let failures = saved.failures();
        assert!(failures.iter().all(|(seq, row)| row == "damaged" || all.get(seq) == Some(row)), "{length}");
        assert!(failures.len() >= before, "{length}: fewer than of a shorter one");
        before = failures.len();
        if before > 0 {
            saved.assert_in_order(&format!("{length} bytes"));
        }
    }
    assert!(before > 0);
}

/// The file is missing or empty, but its WAL exists.
#[test]
fn a_log_alone_gives_its_pages() {
    let saved = Saved::of(&Image { log: Image::lived().log, ..Image::none() });
    assert!(saved.tally.salvaged > 30, "{:?}", saved.tally);
    saved.assert_in_order("a log alone");
}

/// Another database replaced a deleted one: failures in both are restored once, conflicting numbers are changed, and
/// delivered failures are not restored, unless they were replayed since.
#[test]
fn rows_that_are_there_already_give_way_and_keep_their_order() {
    let saved = Saved::of(&Image::none());
    insert(&saved.store, 3, 3);
    insert(&saved.store, 14, 14);
    for (id, seq) in [("stranger-1", 5), ("stranger-2", 6), ("stranger-3", 300)] {
        insert(&saved.store, seq, 1000 + seq);
        let sql = "UPDATE sync_failures SET id = ?1, idempotency_key = NULL, seq = ?2 WHERE rowid = ?2";
        saved.store.execute(sql, params![id, seq]).expect("a stranger");
    }
    insert(&saved.store, 8, 8);
    let sent = "UPDATE sync_attempts SET class = 'delivered' WHERE seq = 8; DELETE FROM sync_failures WHERE seq = 8; \
                UPDATE idempotency_keys SET outcome = 'delivered' WHERE failure_id = 'id-8'";
    saved.store.execute_batch(sent).expect("a delivery");
    // Both were delivered by their first attempt and replayed; one is there already.
    insert(&saved.store, 21, 21);
    let replayed = "UPDATE sync_attempts SET class = 'delivered' WHERE seq IN (16, 21); \
                    UPDATE sync_failures SET attempts = 1 WHERE seq IN (16, 21)";
    saved.store.execute_batch(replayed).expect("a replay");
    let sent = format!("UPDATE sync_attempts SET class = 'delivered', attempt = 2 WHERE seq = 14; {replayed}");
    let image = Image::lived().changed(&sent);
    let tally = Saved::bring(&image, &saved.store);
    assert_eq!(tally, Tally { salvaged: live().len() as u64 - 1, lost: 0 });
    let seq = |id: &str| saved.number(&format!("SELECT coalesce(sum(seq), 0) FROM sync_failures WHERE id = '{id}'"));
    assert_eq!((seq("id-3"), seq("id-5"), seq("id-14"), seq("id-8")), (3, 5, 0, 0));
    assert_eq!((seq("id-16"), seq("id-21") > 0), (16, true));
    assert!(seq("stranger-1") > ROWS && seq("stranger-1") < seq("stranger-2"), "{}", seq("stranger-1"));
    assert!(seq("stranger-2") < seq("stranger-3"));
    let heads = "SELECT COUNT(*) FROM sync_failures WHERE head = 1 AND seq > 120";
    assert_eq!(saved.number(heads), 0, "they wait behind those that were salvaged");
}

#[test]
fn what_may_not_be_sent_as_it_is_needs_a_person() {
    let hurt = "UPDATE sync_failures SET payload = '{\"n\":' WHERE seq = 2; \
                UPDATE sync_failures SET idempotency_key = x'00' WHERE seq = 3; \
                UPDATE sync_failures SET retry_state = '{', retry_count = -4, error = x'ff' WHERE seq = 4";
    let saved = Saved::of(&Image::checkpointed().changed(hurt));
    assert_eq!(saved.tally.lost, 0);
    let status = |seq: i64| saved.number(&format!("SELECT status = 'critical' FROM sync_failures WHERE seq = {seq}"));
    assert_eq!([1, 2, 3, 4, 5].map(status), [0, 1, 1, 0, 0]);
    let four = "SELECT retry_count = 0 AND retry_state IS NULL AND error LIKE 'lost%' FROM sync_failures WHERE seq = 4";
    assert_eq!(saved.number(four), 1);
}

/// Records that come during a salvage, with numbers from `floor` on. One is a repetition, one has an earlier key with
/// other content, one has the key of a delivered failure, and one is new.
#[test]
fn what_is_recorded_meanwhile_stays_behind_and_is_not_doubled() {
    const FLOOR: i64 = 500;
    let saved = Saved::of(&Image::none());
    let image = Image::lived();
    let new = |rowid: i64, n: i64, sql: &str| {
        insert(&saved.store, rowid, n);
        let renamed = "UPDATE sync_failures SET id = 'new-' || rowid, seq = rowid WHERE rowid = ?1";
        saved.store.execute(renamed, [rowid]).expect("a record");
        let key = "UPDATE idempotency_keys SET failure_id = 'new-' || ?1 WHERE key = 'k-' || ?2";
        saved.store.execute(key, [rowid, n]).expect("its key");
        saved.store.execute_batch(&format!("DELETE FROM sync_attempts; {sql}")).expect("a change");
    };
    new(FLOOR, 3, "");
    new(FLOOR + 1, 4, "UPDATE idempotency_keys SET sha256 = x'00' WHERE key = 'k-4'");
    new(FLOOR + 2, 7, "");
    new(FLOOR + 3, 900, "");
    saved.store.execute("UPDATE agent SET next_seq = ?1, live = 4", [FLOOR + 4]).expect("the agent's row");
    let tally = Saved::bring_beside(&image, &saved.store, Some(FLOOR));
    assert_eq!(tally, Tally { salvaged: live().len() as u64, lost: 0 });
    let status = |id: &str| {
        let sql = "SELECT status FROM sync_failures WHERE id = ?1";
        saved.store.query_row(sql, [id], |row| row.get::<_, String>(0)).optional().expect("a look")
    };
    let [repeated, other, delivered, fresh] = [0, 1, 2, 3].map(|n| status(&format!("new-{}", FLOOR + n)));
    assert_eq!((repeated, delivered), (None, None), "they are failures of before");
    assert_eq!((other.as_deref(), fresh.as_deref()), (Some("critical"), Some("pending")));
    assert_eq!(status("id-3").as_deref(), Some("pending"));
    let holder =
        |key: &str| saved.number(&format!("SELECT failure_id LIKE 'id-%' FROM idempotency_keys WHERE key = '{key}'"));
    assert_eq!([holder("k-3"), holder("k-4"), holder("k-7"), holder("k-900")], [1, 1, 1, 0]);
    assert_eq!(saved.number("SELECT COUNT(*) FROM sync_failures WHERE seq >= 500"), 2);
    assert_eq!(saved.number("SELECT next_seq FROM agent"), FLOOR + 4);
    assert_eq!(saved.number("SELECT live - (SELECT COUNT(*) FROM sync_failures) FROM agent"), 0);
    let heads = "SELECT COUNT(*) FROM sync_failures WHERE head <> (seq IN (SELECT min(seq) FROM sync_failures \
                 GROUP BY coalesce(order_key, entity_type || ' ' || entity_id)))";
    assert_eq!(saved.number(heads), 0);
    assert_eq!(Saved::bring_beside(&image, &saved.store, Some(FLOOR)), tally, "a second time");
    assert_eq!(saved.number("SELECT COUNT(*) FROM sync_failures WHERE seq >= 500"), 2);
}

/// The first one could not be read, so the repetition is the only copy.
#[test]
fn a_repetition_of_a_failure_that_is_lost_stays() {
    let saved = Saved::of(&Image::none());
    insert(&saved.store, 500, 3);
    saved
        .store
        .execute_batch(
            "UPDATE sync_failures SET id = 'new-500', seq = 500; UPDATE idempotency_keys SET failure_id = 'new-500'; \
         DELETE FROM sync_attempts; UPDATE agent SET next_seq = 501, live = 1",
        )
        .expect("a record");
    let image = Image::checkpointed().changed("DELETE FROM sync_failures WHERE seq = 3");
    Saved::bring_beside(&image, &saved.store, Some(500));
    let kept = "SELECT failure_id = 'new-500' FROM idempotency_keys WHERE key = 'k-3'";
    assert_eq!(saved.number(kept), 1);
    assert_eq!(saved.number("SELECT COUNT(*) FROM sync_failures WHERE id = 'new-500' AND status = 'pending'"), 1);
}

//! One page damaged after the other, each in every way that tells: what is lost is never more than
//! what stood there, and what comes back is what it was.

use super::records::records;
use super::*;
use crate::limits::Limits;
use crate::store::open::{PAGE_SIZE, connect};
use crate::store::{Store, StoreSettings};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;
use tempfile::TempDir;

const NOW: WallTime = WallTime::from_millis(1_795_500_754_123);
const ROWS: i64 = 120;

/// Files of these forms are met.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// As they are now.
    New,
    /// Of before schema 4: larger pages, numbers in an index, rowids of their own.
    Old,
}

const FORMS: [Form; 2] = [Form::New, Form::Old];

impl Form {
    fn page(self) -> usize {
        match self {
            Self::New => PAGE_SIZE as usize,
            Self::Old => 4096,
        }
    }

    fn open(self, settings: &StoreSettings) -> Connection {
        match self {
            Self::New => connect(settings, NOW).unwrap_or_else(|error| panic!("{error}")).connection,
            Self::Old => {
                let file = Connection::open(settings.file()).expect("a file");
                let steps = [
                    "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL",
                    "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255), \
                     applied_on VARCHAR(255), checksum VARCHAR(255))",
                    include_str!("../../migrations/V1__sync_failures.sql"),
                    include_str!("../../migrations/V2__technician.sql"),
                    include_str!("../../migrations/V3__series.sql"),
                    "INSERT INTO refinery_schema_history VALUES (1, 'sync_failures', '2026-11-24T06:12:34Z', '1'), \
                     (2, 'technician', '2026-11-24T06:12:34Z', '2'), (3, 'series', '2026-11-24T06:12:34Z', '3')",
                ];
                steps.iter().for_each(|sql| file.execute_batch(sql).expect("a schema"));
                file
            }
        }
    }

    /// The row of a number.
    fn rowid(self, n: i64) -> i64 {
        match self {
            Self::New => n,
            Self::Old => n + 30,
        }
    }
}

/// A database's bytes: its file and its log.
struct Image {
    form: Form,
    file: Vec<u8>,
    log: Vec<u8>,
}

impl Image {
    /// A file with a history, as a kill leaves it: half of it is in the log.
    fn lived(form: Form) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let file = form.open(&settings);
        for n in 1..=ROWS {
            insert(&file, form.rowid(n), n);
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
        Self { form, file: read(settings.file()), log: read(settings.log_file()) }
    }

    /// The same, all in the file.
    fn checkpointed(form: Form) -> Self {
        Self::lived(form).changed("SELECT 1")
    }

    /// As somebody's SQL makes it, all in the file.
    fn changed(&self, sql: &str) -> Self {
        let dir = self.put();
        let file = Connection::open(dir.path().join("sync_failures.db")).expect("it opens");
        file.execute_batch(sql).expect("changes");
        file.close().expect("it closes");
        Self { file: fs::read(dir.path().join("sync_failures.db")).expect("a file"), log: Vec::new(), ..*self }
    }

    /// Nothing.
    fn none() -> Self {
        Self { form: Form::New, file: Vec::new(), log: Vec::new() }
    }

    fn put(&self) -> TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("sync_failures.db"), &self.file).expect("a file");
        fs::write(dir.path().join("sync_failures.db-wal"), &self.log).expect("a log");
        dir
    }

    fn pages(&self) -> usize {
        self.file.len() / self.form.page()
    }

    fn with_page(&self, page: usize, damage: impl Fn(&mut [u8])) -> Self {
        let mut file = self.file.clone();
        let size = self.form.page();
        damage(&mut file[(page - 1) * size..page * size]);
        Self { file, log: self.log.clone(), ..*self }
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

/// What is salvaged of an image, and how.
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
        // What is on disk is another test's matter.
        store.execute_batch("PRAGMA synchronous = OFF").expect("a word");
        Self { tally: Self::bring(image, &store), store, _dir: dir }
    }

    fn bring(image: &Image, store: &Connection) -> Tally {
        let from = image.put();
        let terms = Terms { name: "then".into(), now: NOW, routes: Vec::new() };
        let (file, log) = (from.path().join("sync_failures.db"), from.path().join("sync_failures.db-wal"));
        let begun = Salvage::begin(&file, &log, store, terms);
        let mut salvage = begun.unwrap_or_else(|error| panic!("{error:?}"));
        let mut step = || salvage.step(store).unwrap_or_else(|error| panic!("{error:?}"));
        let tally = std::iter::repeat_with(&mut step).find_map(|tally| tally).expect("it ends");
        let sound: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a word");
        assert_eq!(sound, "ok");
        tally
    }

    /// What counts of each failure, by its number; those that have to be looked at are marked.
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

    /// What holds however much was lost.
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
        assert_eq!(self.number(back), 0, "{what}: agent time has gone back");
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
    for image in FORMS.into_iter().flat_map(|form| [Image::lived(form), Image::checkpointed(form)]) {
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

/// The numbers of the failures that have a part in this page of a sound file.
fn in_page(pages: &Pages, tables: &Tables, page: u32) -> usize {
    let failure = |record: &Record| matches!(tables.know(record), Some(Known::Row(Table::Failures)));
    records(pages, page).iter().filter(|record| failure(record)).count()
}

type Damage<'a> = &'a dyn Fn(&mut [u8]);

#[test]
fn a_damaged_page_loses_no_more_than_what_stood_in_it() {
    for form in FORMS {
        damage_each_page(&format!("{form:?}"), &Image::checkpointed(form), 3);
    }
    // A row knows its number, also where no index does and the end of the row is lost.
    damage_each_page("no index", &Image::checkpointed(Form::New).changed("DROP INDEX sync_failures_retry"), 1);
}

/// In so many ways.
fn damage_each_page(name: &str, image: &Image, ways: usize) {
    let sound = Saved::of(image);
    let (all, tables) = (sound.failures(), Tables::of(&sound.store).expect("tables"));
    let from = image.put();
    let pages = Pages::open(&from.path().join("sync_failures.db"), &from.path().join("none")).expect("pages");
    let mut seed = fastrand::Rng::with_seed(7);
    let garbage: Vec<u8> = (0..image.form.page()).map(|_| seed.u8(..)).collect();
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

/// An index knows what the agent's row does not: which failures there were.
#[test]
fn what_is_lost_is_known_without_the_agents_count() {
    for form in FORMS {
        let image = Image::checkpointed(form).changed("UPDATE agent SET live = 0");
        let sound = Saved::of(&image);
        let (all, tables) = (sound.failures().len() as u64, Tables::of(&sound.store).expect("tables"));
        let from = image.put();
        let pages = Pages::open(&from.path().join("sync_failures.db"), &from.path().join("none")).expect("pages");
        let page = |n: &usize| in_page(&pages, &tables, u32::try_from(*n).expect("few")) > 0;
        let leaf = (1..=image.pages()).rfind(page).expect("a leaf");
        let saved = Saved::of(&image.with_page(leaf, |bytes| bytes.fill(0)));
        let there = saved.failures().len() as u64;
        assert!(there < all, "{form:?}");
        assert_eq!(saved.tally, Tally { salvaged: there, lost: all - there }, "{form:?}");
    }
}

/// The index of migrations looks like the index of numbers, and its rows have the first numbers.
#[test]
fn failures_that_left_long_ago_are_not_lost() {
    let gone =
        "DELETE FROM sync_failures WHERE seq <= 20; UPDATE agent SET live = (SELECT COUNT(*) FROM sync_failures)";
    for form in FORMS {
        let saved = Saved::of(&Image::checkpointed(form).changed(gone));
        assert_eq!(saved.tally, Tally { salvaged: saved.failures().len() as u64, lost: 0 }, "{form:?}");
    }
}

/// What looks like the index of numbers says nothing in a newer file: here one that a stranger has made.
#[test]
fn a_file_that_has_become_a_newer_one_is_read_as_that() {
    let newer = concat!(
        include_str!("../../migrations/V4__numbers.sql"),
        "INSERT INTO refinery_schema_history VALUES (4, 'numbers', '2026-11-24T06:12:34Z', '4'); \
         CREATE INDEX strange ON sync_failures (source_pid)"
    );
    let old = Image::checkpointed(Form::Old);
    let (was, is) = (Saved::of(&old), Saved::of(&old.changed(newer)));
    assert_eq!((is.failures(), is.tally), (was.failures(), was.tally));
}

/// The map of pages stands behind the first page, and goes with it where a disk loses so much at once.
#[test]
fn the_size_of_pages_is_known_without_the_first_ones() {
    for form in FORMS {
        let mut image = Image::checkpointed(form);
        image.file[..8192].fill(0);
        let saved = Saved::of(&image);
        assert!(saved.tally.salvaged > 90, "{form:?}: {:?}", saved.tally);
    }
}

/// By a dump that was read in again, for one: what people know is the number in the column.
#[test]
fn rows_that_a_stranger_has_numbered_keep_the_numbers_that_they_had() {
    let image = Image::checkpointed(Form::New);
    let all = Saved::of(&image).failures();
    let saved = Saved::of(&image.changed("UPDATE sync_failures SET rowid = rowid + 1000"));
    assert_eq!((saved.failures(), saved.tally), (all.clone(), Tally { salvaged: all.len() as u64, lost: 0 }));
    saved.assert_in_order("numbered anew");
}

#[test]
fn a_truncated_file_has_what_is_before_its_end() {
    let image = Image::checkpointed(Form::New);
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

/// The file is gone or empty, and what its log holds is there.
#[test]
fn a_log_alone_gives_its_pages() {
    for form in FORMS {
        let saved = Saved::of(&Image { log: Image::lived(form).log, ..Image::none() });
        assert!(saved.tally.salvaged > 30, "{form:?}: {:?}", saved.tally);
        saved.assert_in_order("a log alone");
    }
}

/// Somebody put another database in the place of a deleted one: what is in both is there once, what
/// has the number of another gives way, and what was delivered does not come back.
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
    let sent = "UPDATE sync_attempts SET class = 'delivered', attempt = 2 WHERE seq = 14";
    let image = Image::lived(Form::New).changed(sent);
    let tally = Saved::bring(&image, &saved.store);
    assert_eq!(tally, Tally { salvaged: live().len() as u64 - 1, lost: 0 });
    let seq = |id: &str| saved.number(&format!("SELECT coalesce(sum(seq), 0) FROM sync_failures WHERE id = '{id}'"));
    assert_eq!((seq("id-3"), seq("id-5"), seq("id-14"), seq("id-8")), (3, 5, 0, 0));
    assert!(seq("stranger-1") > ROWS && seq("stranger-1") < seq("stranger-2"), "{}", seq("stranger-1"));
    assert!(seq("stranger-2") < seq("stranger-3"));
    let heads = "SELECT COUNT(*) FROM sync_failures WHERE head = 1 AND seq > 120";
    assert_eq!(saved.number(heads), 0, "they stand behind those that were salvaged");
}

#[test]
fn what_may_not_be_sent_as_it_is_needs_a_person() {
    let hurt = "UPDATE sync_failures SET payload = '{\"n\":' WHERE seq = 2; \
                UPDATE sync_failures SET idempotency_key = x'00' WHERE seq = 3; \
                UPDATE sync_failures SET dossier = '{', retry_count = -4, error = x'ff' WHERE seq = 4";
    let saved = Saved::of(&Image::checkpointed(Form::New).changed(hurt));
    assert_eq!(saved.tally.lost, 0);
    let status = |seq: i64| saved.number(&format!("SELECT status = 'critical' FROM sync_failures WHERE seq = {seq}"));
    assert_eq!([1, 2, 3, 4, 5].map(status), [0, 1, 1, 0, 0]);
    let four = "SELECT retry_count = 0 AND dossier IS NULL AND error LIKE 'lost%' FROM sync_failures WHERE seq = 4";
    assert_eq!(saved.number(four), 1);
}

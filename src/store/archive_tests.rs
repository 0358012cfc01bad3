//! Tests of the archive's files: their ends, their errors, their age.

use super::*;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::store::disk::Disk;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

fn at(text: &str) -> WallTime {
    WallTime::parse(text).expect("a time")
}

fn open(dir: &Path, disk: Disk) -> Store {
    let settings = StoreSettings { disk, ..StoreSettings::new(dir, &Limits::default()) };
    Store::open(settings, at("2026-11-24")).expect("a store")
}

#[test]
fn lines_stand_in_the_file_of_their_month_and_only_the_owner_reads_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), Disk::default());
    for (day, line) in [("2026-11-24", "a\n"), ("2026-11-30T23:59:59.999Z", "b\n"), ("2026-12-01", "c\n")] {
        store.archive(at(day), line.as_bytes()).expect("it is added");
    }
    let file = |name: &str| dir.path().join("archive").join(name);
    assert_eq!(fs::read_to_string(file("2026-11.jsonl")).expect("a file"), "a\nb\n");
    assert_eq!(fs::read_to_string(file("2026-12.jsonl")).expect("a file"), "c\n");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&file("2026-12.jsonl")), mode(&dir.path().join("archive"))), (0o600, 0o700));
}

#[test]
fn a_torn_last_line_is_cut_at_a_start_and_before_the_next_line() {
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path(), Disk::default()).archive(at("2026-11-24"), b"whole\n").expect("it is added");
    let file = dir.path().join("archive/2026-11.jsonl");
    let torn = format!("whole\n{}", "x".repeat(200_000));
    fs::write(&file, &torn).expect("a torn line");
    let store = open(dir.path(), Disk::default());
    assert_eq!(fs::read_to_string(&file).expect("a file"), "whole\n", "at the start");
    fs::write(&file, &torn).expect("a torn line");
    store.archive(at("2026-11-25"), b"next\n").expect("it is added");
    assert_eq!(fs::read_to_string(&file).expect("a file"), "whole\nnext\n", "before the next");
    fs::write(&file, "never whole").expect("a torn line");
    drop(store);
    open(dir.path(), Disk::default());
    assert_eq!(fs::read_to_string(&file).expect("a file"), "");
}

#[test]
fn an_error_names_the_file_and_says_that_nothing_was_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    let full = Disk { append: |_, _| Err(io::ErrorKind::StorageFull.into()), ..Disk::default() };
    let error = open(dir.path(), full).archive(at("2026-11-24"), b"x\n").expect_err("no room");
    assert!(error.is_full());
    let text = error.to_string();
    assert!(text.contains("archive/2026-11.jsonl") && text.contains("nothing was deleted"), "{text}");
}

#[test]
fn a_file_is_forgotten_by_the_age_of_its_last_line_in_agent_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), Disk::default());
    let day = |n: i64| AgentTime::from_millis(n * 86_400_000);
    // The clock was ten years behind for a while.
    for wall in ["2016-11-24", "2026-11-24"] {
        store.archive(at(wall), b"x\n").expect("it is added");
    }
    let mut round = |work: &dyn Fn(&mut Store)| {
        store.begin().expect("a round");
        work(&mut store);
        store.commit(Moment { agent: day(1), wall: at("2026-11-24") }).expect("it is committed");
        files(&dir.path().join("archive"), Part::Undelivered).expect("files").len()
    };
    round(&|store| store.keep_archived(Part::Undelivered, at("2026-11-24"), day(1)).expect("it is kept"));
    assert_eq!(
        round(&|store| store.forget_archive(Part::Undelivered, day(1), day(2)).expect("a look")),
        2,
        "none is old"
    );
    assert_eq!(round(&|store| store.forget_archive(Part::Undelivered, day(2), day(3)).expect("a look")), 1, "one is");
    assert!(dir.path().join("archive/2016-11.jsonl").exists(), "this one was not reported");
    assert_eq!(round(&|store| store.forget_archive(Part::Undelivered, day(3), day(4)).expect("a look")), 0);
}

#[test]
fn deliveries_have_a_file_a_day_and_cost_one_sync() {
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    static LINES: AtomicUsize = AtomicUsize::new(0);
    let disk = Disk {
        append: |file, lines| {
            LINES.fetch_add(1, Ordering::Relaxed);
            (Disk::default().append)(file, lines)
        },
        sync_dir: |dir| {
            NAMES.fetch_add(1, Ordering::Relaxed);
            (Disk::default().sync_dir)(dir)
        },
        ..Disk::default()
    };
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), disk);
    let mut add = |day: &str, lines: &[u8]| {
        let before = (LINES.load(Ordering::Relaxed), NAMES.load(Ordering::Relaxed));
        store.archive_delivered(at(day), lines).expect("it is added");
        (LINES.load(Ordering::Relaxed) - before.0, NAMES.load(Ordering::Relaxed) - before.1)
    };
    let file = |name: &str| dir.path().join("archive").join(name);
    assert_eq!(add("2026-11-24", b"a\n"), (1, 2), "a new file has a name");
    assert_eq!(add("2026-11-24T23:59:59.999Z", b"b\nc\n"), (1, 0));
    assert_eq!(add("2026-11-25", b"d\n"), (1, 2));
    assert_eq!(fs::read_to_string(file("delivered-2026-11-24.jsonl")).expect("a file"), "a\nb\nc\n");
    // What is not as it was left is looked at: its end may be torn.
    let torn = file("delivered-2026-11-25.jsonl");
    fs::write(&torn, "d\nto").expect("a torn line");
    assert_eq!(add("2026-11-25", b"e\n"), (1, 2));
    assert_eq!(fs::read_to_string(&torn).expect("a file"), "d\ne\n");
    fs::remove_file(&torn).expect("it goes");
    assert_eq!(add("2026-11-25", b"f\n"), (1, 2));
    assert_eq!(fs::metadata(&torn).expect("a file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_parts_of_the_archive_age_each_for_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), Disk::default());
    store.archive(at("2026-11-24"), b"x\n").expect("it is added");
    store.archive_delivered(at("2026-11-24"), b"y\n").expect("it is added");
    let now = AgentTime::from_millis(1000);
    store.begin().expect("a round");
    for part in [Part::Undelivered, Part::Delivered] {
        store.keep_archived(part, at("2026-11-24"), now).expect("it is kept");
    }
    store.forget_archive(Part::Delivered, now, now).expect("a look");
    assert_eq!(delivered_files(dir.path(), None).expect("files").len(), 1, "it is not older than that");
    let later = AgentTime::from_millis(2000);
    store.forget_archive(Part::Delivered, later, later).expect("a look");
    assert_eq!(delivered_files(dir.path(), None).expect("files"), Vec::<PathBuf>::new());
    assert!(dir.path().join("archive/2026-11.jsonl").exists());
}

#[test]
fn what_is_known_of_a_file_goes_with_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), Disk::default());
    let now = AgentTime::from_millis(1);
    for day in ["2026-11-24", "2026-11-25"] {
        store.archive_delivered(at(day), b"x\n").expect("it is added");
        store.begin().expect("a round");
        store.keep_archived(Part::Delivered, at(day), now).expect("it is kept");
        store.commit(Moment { agent: now, wall: at(day) }).expect("it is committed");
    }
    let given_up = store.give_up_delivered().expect("it goes");
    assert_eq!(given_up.as_deref(), Some("delivered-2026-11-24.jsonl"));
    store.begin().expect("a round");
    store.forget_archive(Part::Undelivered, now, now).expect("a look");
    assert_eq!(store.archived_names().expect("names").len(), 2, "they belong to the other part");
    store.forget_archive(Part::Delivered, now, now).expect("a look");
    assert_eq!(store.archived_names().expect("names"), ["delivered-2026-11-25.jsonl"]);
}

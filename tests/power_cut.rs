//! The power fails at every disk operation, in a thousand ways, under the shipped agent.
//!
//! Each run drives `resyncd::agent::Agent` and `Store::open` unchanged over a machine in memory
//! ([`vfs`]) that is SQLite's default file system here. Its trace holds everything that reached the
//! disk and everything that was known outside. Crash images are derived from it: unsynced sectors
//! dropped, torn and reordered, names not synced. Each is opened as after a power cut, and must hold
//! what was promised by then (durability, refusal, integrity, keys, history, the audit, heads).
//!
//! - [`course`]: the events, with faults and kills. [`till`]: what is recorded and known.
//! - [`promise`]: what must be there. [`contents`]: the contents of an image. [`explore`]: compares the two.
//!
//! | form | command |
//! |---|---|
//! | quick | `cargo test --test power_cut` |
//! | CI | `RESYNCD_POWER_CUT_STATES=2000000 cargo test --release --test power_cut -- --nocapture` |
//! | long | `RESYNCD_POWER_CUT_STATES=100000000 RESYNCD_POWER_CUT_FIRST=1000000 cargo test --release …` |
//! | one seed | `RESYNCD_POWER_CUT_SEED=7 cargo test --test power_cut` |
//!
//! `RESYNCD_POWER_CUT_DRAWS` sets how many states are derived at each operation.

#[path = "vfs/mod.rs"]
#[expect(dead_code, reason = "the simulation asks the machine more")]
mod vfs;

mod power_cut {
    //! The parts.
    #[path = "../power_cut/contents.rs"]
    pub(crate) mod contents;
    #[path = "../power_cut/course.rs"]
    pub(crate) mod course;
    #[path = "../power_cut/explore.rs"]
    pub(crate) mod explore;
    #[path = "../power_cut/promise.rs"]
    pub(crate) mod promise;
    #[path = "../power_cut/till.rs"]
    pub(crate) mod till;
}

use power_cut::contents::wake;
use power_cut::course::{Course, Trace};
use power_cut::explore::{Broken, Explorer, Figures};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::limits::Limits;
use resyncd::moment::WallTime;
use resyncd::store::{Store, StoreSettings};
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use vfs::fault::{Fault, Plan};
use vfs::machine::{Machine, on};
use vfs::medium::{Image, Op};

/// States of a normal run: a few seconds on two processors, unoptimised.
const STATES: u64 = 100_000;
/// States derived at each operation.
const DRAWS: u64 = 6;

const FIRST_START: WallTime = WallTime::from_millis(1_795_000_000_000);

/// SQLite has one random generator per process: a test that needs the same bytes twice runs alone.
static ALONE: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    ALONE.read().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread needs for its machine.
struct Bench {
    dir: TempDir,
    config: Config,
    settings: StoreSettings,
    /// A disk with an empty store on it.
    installed: Image,
}

impl Bench {
    fn new() -> Self {
        vfs::install();
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a directory");
        let text = "[upstream.hq]\nurl = \"https://hq.example/sync\"\n";
        let config = Config::load(Some(("power cut", text)), &Overrides::default(), &Environment::default());
        let settings = StoreSettings { disk: vfs::under(), ..StoreSettings::new(dir.path(), &Limits::default()) };
        let mut bench =
            Self { config: config.expect("a right configuration"), settings, installed: Image::default(), dir };
        let _shared = shared();
        bench.installed = bench.install();
        bench
    }

    fn install(&self) -> Image {
        let dir = self.dir.path().to_owned();
        on(|machine| *machine = Machine::new(dir));
        let store = wake(&Image::default(), &self.settings, FIRST_START);
        store.expect("a new store").close().expect("it closes");
        on(|machine| machine.whole())
    }

    /// One seed in four begins with an empty disk, the others with an empty store.
    fn course(&self, seed: u64) -> Trace {
        let nothing = Image::default();
        let begins_with = if is_first_start(seed) { &nothing } else { &self.installed };
        Course::run(seed, begins_with, &self.config, &self.settings)
    }

    fn first_start(&self) -> Trace {
        on(|machine| {
            *machine = Machine::new(self.dir.path().to_owned());
            machine.trace = Some(Vec::new());
        });
        drop(Store::open(self.settings.clone(), FIRST_START).expect("a new store"));
        let ops = on(|machine| machine.trace.take()).expect("it was wanted");
        Trace { ops, ..Trace::default() }
    }

    fn explore(&self, trace: &Trace, draws: u64) -> Result<Figures, Broken> {
        Explorer::run(trace, draws, &self.config, &self.settings)
    }
}

fn is_first_start(seed: u64) -> bool {
    seed.is_multiple_of(4)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn report(broken: &Broken) -> String {
    let Broken { seed, operation, what } = broken;
    // Payloads may be long.
    let what: String = what.chars().take(900).collect();
    format!("seed {seed}, operation {operation}, {what}\n  RESYNCD_POWER_CUT_SEED={seed} cargo test --test power_cut")
}

#[test]
fn what_was_promised_is_there_after_a_power_cut() {
    let draws = variable("RESYNCD_POWER_CUT_DRAWS").unwrap_or(DRAWS);
    let one = variable("RESYNCD_POWER_CUT_SEED");
    let first = one.or(variable("RESYNCD_POWER_CUT_FIRST")).unwrap_or(1);
    let states = if one.is_some() { 1 } else { variable("RESYNCD_POWER_CUT_STATES").unwrap_or(STATES) };
    let (next, enough) = (AtomicU64::new(first), AtomicBool::new(false));
    let (all, broken) = (Mutex::new(Figures::default()), Mutex::new(Vec::new()));
    let work = || {
        let bench = Bench::new();
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let explored = {
                let _shared = shared();
                let trace = bench.course(seed);
                if one.is_some() {
                    print!("{trace}");
                }
                bench.explore(&trace, draws)
            };
            match explored {
                Ok(figures) => {
                    let mut all = all.lock().expect("no thread panics with it");
                    all.add(figures);
                    enough.fetch_or(all.states >= states, Ordering::Relaxed);
                }
                Err(one) => {
                    let mut broken = broken.lock().expect("no thread panics with it");
                    broken.push(one);
                    enough.fetch_or(broken.len() >= 5, Ordering::Relaxed);
                }
            }
            enough.fetch_or(one.is_some(), Ordering::Relaxed);
        }
    };
    let threads = if one.is_some() { 1 } else { thread::available_parallelism().map_or(1, usize::from).min(4) };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    println!("{:?}", all.into_inner().expect("no thread panics with it"));
    let broken = broken.into_inner().expect("no thread panics with it");
    let reports: Vec<String> = broken.iter().map(report).collect();
    assert!(reports.is_empty(), "promises were broken:\n{}", reports.join("\n"));
}

/// The first start creates the file with a rollback journal, which a read-only reader cannot roll
/// back: such a terminal failed to start until an operator deleted the file.
#[test]
fn the_first_start_survives_a_power_cut_at_any_operation() {
    let bench = Bench::new();
    let _shared = shared();
    let trace = bench.first_start();
    if let Err(broken) = bench.explore(&trace, 10) {
        panic!("{}", report(&broken));
    }
}

/// A file that could not be created completely must not be used: with a journal other than the
/// requested one, acknowledged records were lost.
#[test]
fn a_fault_at_any_operation_of_the_first_start_loses_nothing() {
    let bench = Bench::new();
    let _shared = shared();
    let nothing = Image::default();
    for from in 1.. {
        let mut course = Course::begin(from, &nothing, &bench.config, &bench.settings);
        on(|machine| machine.plan = Some(Plan { fault: Fault::Io, from, times: 1 }));
        course.start();
        if on(|machine| machine.struck) == 0 {
            break; // It started before that.
        }
        for _ in 0..3 {
            course.record_something();
            course.round();
            course.accept_all();
            course.round();
        }
        let trace = course.ended(from, &nothing);
        if let Err(broken) = bench.explore(&trace, 1) {
            panic!("with a fault at operation {from}: {}\n{trace}", report(&broken));
        }
    }
}

/// A COMMIT whose fsync failed after all data was written has taken effect. Its outcome must not be
/// written a second time when the file is open again: the history listed the attempt twice, and the
/// next one got a number too high.
#[test]
fn an_outcome_whose_failed_commit_has_happened_is_written_once() {
    let bench = Bench::new();
    let _shared = shared();
    let mut course = Course::begin(1, &bench.installed, &bench.config, &bench.settings);
    course.start();
    course.record_something();
    course.round();
    // The second fault keeps the closing connection from checkpointing the log as it knows it.
    on(|machine| machine.plan = Some(Plan { fault: Fault::SyncReached, from: 0, times: 2 }));
    course.accept_all();
    course.round();
    course.pass(Duration::from_secs(1));
    course.round();
    let stranger = Connection::open(bench.settings.file()).expect("the file");
    let count = |table: &str| -> i64 {
        stranger.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).expect("a count")
    };
    assert_eq!((count("sync_failures"), count("sync_attempts")), (0, 1), "it has left, after one try");
    assert_eq!(on(|machine| machine.struck), 2, "the commit has failed");
}

#[test]
fn one_seed_replays_exactly() {
    let bench = Bench::new();
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    for seed in 1..12 {
        let (once, again) = (bench.course(seed), bench.course(seed));
        assert!(once.ops.len() > 20, "seed {seed} does next to nothing");
        assert_eq!(once.ops.len(), again.ops.len(), "seed {seed}");
        // The migrations' own table holds the real time of its creation.
        let same = |a: &Op, b: &Op| a == b || (is_first_start(seed) && a.place() == b.place());
        let other = once.ops.iter().zip(&again.ops).position(|(a, b)| !same(a, b));
        assert_eq!(other, None, "seed {seed} went another way the second time, at this operation");
        assert_eq!((once.facts, once.submissions), (again.facts, again.submissions), "seed {seed}");
    }
}

//! Simulates the whole agent for thousands of days in a world where everything can fail.
//!
//! The pure core (`resyncd::agent::Agent`) runs over its real store with virtual time, and one seed
//! determines everything: applications record, operators interfere, the upstream changes its
//! behaviour, the disk fails, the clock jumps, the agent is killed and the power fails, between any
//! two steps and any two disk operations. A plain model observes the agent from outside and checks
//! the invariants (durability, refusal, order, one key, budget, progress).
//!
//! - [`world`]: time, events, kills. [`round`]: input events, commit, effects.
//! - [`tills`], [`people`], [`upstream`]: the applications, operators and server around the agent.
//! - [`disk`]: the in-memory disk under the store, and its faults.
//! - `tests/several.rs`: a second simulation, with several upstreams, their own order rules, reloads and
//!   operators.
//! - [`model`]: what was promised; [`leaving`]: failures removed undelivered. [`table`]: what another program
//!   reads in the file.
//!
//! `RESYNCD_SIM_SEED=7 cargo test --test simulation -- --nocapture` replays one seed and prints its
//! events; `RESYNCD_SIM_RUNS=1000` runs more seeds, `RESYNCD_SIM_FIRST=5000` others.

/// Panics with the name of the violated invariant.
macro_rules! promise {
    ($holds:expr, $name:literal, $($words:tt)+) => {
        if !$holds {
            panic!("{}: {}", $name, format_args!($($words)+));
        }
    };
}

#[path = "simulation/disk.rs"]
mod disk;
#[path = "simulation/edits.rs"]
mod edits;
#[path = "simulation/leaving.rs"]
mod leaving;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/people.rs"]
mod people;
#[path = "simulation/plans.rs"]
mod plans;
#[path = "simulation/round.rs"]
mod round;
#[path = "simulation/table.rs"]
mod table;
#[path = "simulation/tills.rs"]
mod tills;
#[path = "simulation/trace.rs"]
mod trace;
#[path = "simulation/upstream.rs"]
mod upstream;
#[path = "vfs/mod.rs"]
#[expect(dead_code, reason = "the power-cut test looks into the disk more closely")]
mod vfs;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use trace::Trace;
use world::{DAY, HOUR, World};

/// Seeds of a normal run: 10 to 20 seconds on two processors, unoptimised.
const RUNS: u64 = 40;

/// Figures of one run.
#[derive(Debug, Default)]
struct Ran {
    /// Virtual time from the first start to the end.
    hours: i64,
    rounds: u64,
    recorded: usize,
    sent: u64,
    delivered: u64,
    replayed: u64,
    trace: Vec<String>,
}

/// One terminal from its first start to the day when everything is delivered.
fn run(seed: u64, trace: Trace) -> Ran {
    let mut world = World::new(seed, trace);
    let span = world.random.i64(6 * HOUR..6 * DAY);
    world.live_for(span);
    world.calm_for(HOUR);
    world.resume();
    world.settle_down();
    world.model.all_done(&world.upstream);
    world.retry_all();
    world.settle_down();
    world.model.only_poisoned_is_left(&world.upstream);
    world.record_last_sale();
    promise!(world.integrity() == "ok", "integrity", "PRAGMA integrity_check says {}", world.integrity());
    Ran {
        hours: world.time / HOUR,
        rounds: world.rounds,
        recorded: world.model.known.len(),
        sent: world.model.sent,
        delivered: world.model.delivered,
        replayed: world.model.replayed,
        trace: world.trace.lines(),
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn promises_hold_whatever_happens() {
    if let Some(seed) = variable("RESYNCD_SIM_SEED") {
        run(seed, Trace::printed());
        return;
    }
    let first = variable("RESYNCD_SIM_FIRST").unwrap_or(1);
    let last = first + variable("RESYNCD_SIM_RUNS").unwrap_or(RUNS);
    let (next, broken, all) = (AtomicU64::new(first), Mutex::new(Vec::new()), Mutex::new(Ran::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last {
                return;
            }
            if let Ok(ran) = catch_unwind(AssertUnwindSafe(|| run(seed, Trace::none()))) {
                let mut all = all.lock().expect("no run panics inside");
                all.hours += ran.hours;
                all.rounds += ran.rounds;
                all.recorded += ran.recorded;
                all.sent += ran.sent;
                all.delivered += ran.delivered;
                all.replayed += ran.replayed;
            } else {
                eprintln!("seed {seed} has broken a promise");
                broken.lock().expect("no run panics inside").push(seed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(work);
        }
    });
    let all = all.into_inner().expect("no run panics inside");
    println!("{} days: {all:?}", all.hours / 24);
    assert!(last - first < RUNS || all.replayed > 0, "nothing was sent again: {all:?}");
    let mut broken = broken.into_inner().expect("no run panics inside");
    broken.sort_unstable();
    assert!(broken.is_empty(), "promises were broken (see above); replay with RESYNCD_SIM_SEED, one of {broken:?}");
}

#[test]
fn one_seed_decides_everything() {
    for seed in [3, 4] {
        let trace = || run(seed, Trace::kept()).trace.iter().map(|line| comparable(line)).collect::<Vec<_>>();
        let (once, again) = (trace(), trace());
        assert!(once.len() > 100, "seed {seed} does next to nothing");
        let other = once.iter().zip(&again).find(|(a, b)| a != b);
        assert_eq!(other, None, "seed {seed} went another way the second time");
        assert_eq!(once.len(), again.len(), "seed {seed}");
    }
}

/// A line of a trace without what differs between two runs of one seed: the random id of the database, and the name of
/// the temporary directory.
fn comparable(line: &str) -> String {
    let mut text = line.to_owned();
    for (name, length) in [(r#""instance":""#, 32), ("/.tmp", 6)] {
        let mut from = 0;
        while let Some(at) = text[from..].find(name) {
            let begin = from + at + name.len();
            text.replace_range(begin..begin + length, "…");
            from = begin;
        }
    }
    text
}

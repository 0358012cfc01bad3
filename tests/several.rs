//! Several upstreams with their own order rules, with reloads that reroute failures, kills and
//! operators (`simulation/several.rs`). A separate process, because its files are on the real file
//! system: the other simulation replaces the VFS that SQLite uses by default.
//!
//! `RESYNCD_SIM_SEED=7 cargo test --test several -- --nocapture` replays one seed and prints its
//! events; `RESYNCD_SIM_RUNS=1000` runs more seeds, `RESYNCD_SIM_FIRST=5000` others.

/// Panics with the name of the violated invariant.
macro_rules! promise {
    ($holds:expr, $name:literal, $($words:tt)+) => {
        if !$holds {
            panic!("{}: {}", $name, format_args!($($words)+));
        }
    };
}

#[path = "simulation/several.rs"]
mod several;

use std::panic::{AssertUnwindSafe, catch_unwind};

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Seeds of a normal run.
const SEVERAL_RUNS: u64 = 24;

#[test]
fn gates_hold_with_several_upstreams() {
    if let Some(seed) = variable("RESYNCD_SIM_SEED") {
        several::run(seed, true);
        return;
    }
    let first = variable("RESYNCD_SIM_FIRST").unwrap_or(1);
    let last = first + variable("RESYNCD_SIM_RUNS").unwrap_or(SEVERAL_RUNS);
    let (mut broken, mut sent) = (Vec::new(), 0);
    for seed in first..last {
        match catch_unwind(AssertUnwindSafe(|| several::run(seed, false))) {
            Ok(count) => sent += count,
            Err(_) => broken.push(seed),
        }
    }
    println!("{sent} requests");
    assert!(broken.is_empty(), "promises were broken (see above); replay with RESYNCD_SIM_SEED, one of {broken:?}");
}

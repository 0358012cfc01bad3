//! The speed of the agent beside its peers, in one run on one machine: `tests/bench/run.sh` builds
//! everything and starts this; `packaging/doc/performance.md` explains each cell.
//!
//! It is not a test: figures depend on the machine. A check may only fail on whether it works at
//! all and whether commits are shared (`--quick`).

// Counts and times of a measurement fit any of these types.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]

mod acknowledgements;
mod backlog;
mod delivery;
mod drive;
mod histogram;
mod idle;
mod load;
mod machine;
mod nginx;
mod plot;
mod postgres;
mod protocol;
mod report;
mod rounds;
mod server;
mod stored;

use report::{Head, Row};
use rounds::Bench;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::Programs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

/// A group of cells: its name on the command line, and its function.
type Group = (&'static str, fn(&mut Bench) -> Result<Vec<Row>, String>);

const GROUPS: [Group; 5] = [
    ("acknowledgements", acknowledgements::run),
    ("stored", stored::run),
    ("delivery", delivery::run),
    ("backlog", backlog::run),
    ("idle", idle::run),
];

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    // Cargo passes --bench to every benchmark.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == drive::NAME) {
        return drive::run(&arguments[1..]).map(|()| ExitCode::SUCCESS);
    }
    let mut quick = false;
    let mut wanted = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "--quick" => quick = true,
            group if GROUPS.iter().any(|(name, _)| *name == group) => wanted.push(group.to_owned()),
            other => return Err(format!("{other} is no group of cells; there are {}", names())),
        }
    }
    let out = PathBuf::from(env::var_os("BENCH_OUT").unwrap_or_else(|| "target/bench".into()));
    let patience = env::var("BENCH_PATIENCE").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(30);
    let agent = PathBuf::from(env::var_os("BENCH_AGENT").unwrap_or_else(|| "target/release/resyncd".into()));
    let agent = agent.canonicalize().map_err(|error| format!("{}: {error}", agent.display()))?;
    let postgres = env::var_os("BENCH_POSTGRES").unwrap_or_else(|| "/usr/lib/postgresql/15/bin".into()).into();
    raise_open_files()?;
    let work = Work::make()?;
    let shapes = env::var_os("BENCH_SHAPES").map(PathBuf::from);
    let packages = env::var("BENCH_PACKAGES").ok().and_then(|count| count.trim().parse().ok());
    let patience = Duration::from_secs(patience);
    let mut bench =
        Bench { programs: Programs { agent, postgres, shapes }, dir: work.0.clone(), quick, patience, packages };
    let mut rows = Vec::new();
    for (name, measure) in GROUPS {
        if wanted.is_empty() || wanted.iter().any(|group| group == name) {
            rows.extend(measure(&mut bench)?);
        }
    }
    let head = head(&bench);
    write(&out, &head, &rows)?;
    Ok(if quick { worth(&rows) } else { ExitCode::SUCCESS })
}

/// A thousand idle clients need two thousand descriptors, half of them in the agent, which inherits
/// the limit.
fn raise_open_files() -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| format!("raising the limit of open files: {error}"))
}

fn names() -> String {
    GROUPS.map(|(name, _)| name).join(" ")
}

fn head(bench: &Bench) -> Head {
    let kernel = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let now = time::OffsetDateTime::now_utc();
    Head {
        date: now.date().to_string(),
        machine: format!(
            "{cores} cores ({}), Linux {}, {}",
            model.trim_start_matches([' ', '\t', ':']),
            kernel.release().to_string_lossy(),
            file_system(&bench.dir)
        ),
        how: "Medians of rounds in which each server had its turn; records of 600 bytes; each answer after an fsync."
            .to_owned(),
    }
}

/// The file system of the databases: in memory an fsync costs nothing, and the figures are meaningless.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let on = |line: &&str| line.split(' ').nth(1).is_some_and(|at| dir.starts_with(at));
    let deepest = mounts.lines().filter(on).max_by_key(|line| line.split(' ').nth(1).map_or(0, str::len));
    deepest.and_then(|line| line.split(' ').nth(2)).unwrap_or("unknown file system").to_owned()
}

fn write(out: &Path, head: &Head, rows: &[Row]) -> Result<(), String> {
    let fails = |error: std::io::Error| format!("writing to {}: {error}", out.display());
    fs::create_dir_all(out).map_err(fails)?;
    let table = report::table(head, rows);
    print!("{table}");
    if let Some(plot) = plot::svg(head, rows) {
        fs::write(out.join("plot.svg"), plot).map_err(fails)?;
    }
    fs::write(out.join("table.md"), &table).map_err(fails)?;
    fs::write(out.join("figures.json"), report::figures(head, rows)).map_err(fails)
}

/// The check of a quick run, valid on any machine: records of many clients share their commits.
fn worth(rows: &[Row]) -> ExitCode {
    let rate = |key: &str| rows.iter().find(|row| row.key == key).and_then(|row| row.figure(0));
    match (rate("acks.1"), rate("acks.64")) {
        (Some(one), Some(many)) if many < 2.0 * one => {
            eprintln!("bench: 64 clients get {many:.0} answers a second, one gets {one:.0}: commits are not shared");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// A directory, removed when the run ends. A socket's path is limited to 107 bytes: not below a
/// long TMPDIR.
struct Work(PathBuf);

impl Work {
    fn make() -> Result<Self, String> {
        let parent = PathBuf::from(env::var_os("BENCH_DIR").unwrap_or_else(|| "/var/tmp".into()));
        let dir = parent.join(format!("resyncd-bench.{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(|error| format!("making {}: {error}", dir.display()))?;
        let kind = file_system(&dir);
        let work = Self(dir);
        if matches!(kind.as_str(), "tmpfs" | "ramfs" | "overlay") {
            return Err(format!("{} is on {kind}: nothing is synced there; set BENCH_DIR", parent.display()));
        }
        Ok(work)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // The system's own clean-up removes the rest.
        let _ = fs::remove_dir_all(&self.0);
    }
}

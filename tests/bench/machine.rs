//! Figures of processes and of the machine: CPU, memory, bytes written, wake-ups; and whether other
//! processes use the cores, because then a figure is meaningless.

use std::fs;
use std::time::Duration;

/// A tick of `/proc`: `USER_HZ` is 100 on every Linux that resyncd supports.
const TICK: Duration = Duration::from_millis(10);

fn read(path: &str) -> String {
    // A process that has just ended has no figures.
    fs::read_to_string(path).unwrap_or_default()
}

/// The number after a name in files such as `/proc/PID/io`.
fn named(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Fields of a process's `stat` after its name, from the third on.
fn stat(text: &str) -> Vec<&str> {
    text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
}

fn ticks(fields: &[&str], places: std::ops::RangeInclusive<usize>) -> u64 {
    fields.get(places).unwrap_or_default().iter().filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// CPU time of a process, of all its threads, in user and kernel mode.
pub(crate) fn cpu(pid: u32) -> Duration {
    TICK * u32::try_from(ticks(&stat(&read(&format!("/proc/{pid}/stat"))), 11..=12)).unwrap_or(u32::MAX)
}

/// A process and its children that live now.
pub(crate) fn family(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        let text = read(&format!("/proc/{pid}/stat"));
        stat(&text).get(1).and_then(|of| of.parse().ok()) == Some(parent)
    };
    std::iter::once(parent).chain(pids.filter(is_child)).collect()
}

/// Bytes that a process made the kernel write: whole pages, once for each time that a page became
/// dirty. A page that is changed twice before it is synced counts once; the file system's own
/// journal, which the kernel writes, does not count.
pub(crate) fn written(pid: u32) -> u64 {
    let text = read(&format!("/proc/{pid}/io"));
    named(&text, "write_bytes:").unwrap_or(0)
}

/// Memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// All resident memory, in bytes.
    pub(crate) resident: u64,
    /// Private memory that no file backs, in bytes.
    pub(crate) anonymous: u64,
}

pub(crate) fn memory(pid: u32) -> Memory {
    let text = read(&format!("/proc/{pid}/smaps_rollup"));
    let bytes = |name| named(&text, name).unwrap_or(0) << 10;
    Memory { resident: bytes("Rss:"), anonymous: bytes("Anonymous:") }
}

/// How often threads of a process voluntarily went to sleep, and hence woke up.
pub(crate) fn sleeps(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of = |thread: fs::DirEntry| {
        named(&read(&thread.path().join("status").to_string_lossy()), "voluntary_ctxt_switches:").unwrap_or(0)
    };
    threads.flatten().map(of).sum()
}

/// The machine's counters when a measurement began.
pub(crate) struct Watch {
    begun: std::time::Instant,
    others: Duration,
}

impl Watch {
    pub(crate) fn begin(ours: &[u32]) -> Self {
        Self { begun: std::time::Instant::now(), others: others(ours) }
    }

    /// How many cores other processes have used since.
    pub(crate) fn cores_of_others(&self, ours: &[u32]) -> f64 {
        others(ours).saturating_sub(self.others).as_secs_f64() / self.begun.elapsed().as_secs_f64().max(0.001)
    }
}

/// CPU time used neither by us nor by the kernel's work for us (its threads and interrupts): all
/// that was used or stolen, less these processes and this one.
fn others(ours: &[u32]) -> Duration {
    let all = read("/proc/stat");
    // user nice system idle iowait irq softirq steal
    let fields: Vec<u64> = all
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let used = [0, 1, 2, 7].iter().filter_map(|place| fields.get(*place)).sum::<u64>();
    let own = ours.iter().copied().chain([std::process::id()]).map(cpu).sum::<Duration>();
    let used = TICK * u32::try_from(used).unwrap_or(u32::MAX);
    used.saturating_sub(own + kernel_threads())
}

/// CPU time of the kernel's threads, which write our pages to the disk.
fn kernel_threads() -> Duration {
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let Ok(all) = fs::read_dir("/proc") else { return Duration::ZERO };
    let mut sum = 0;
    for entry in all.flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        let text = read(&entry.path().join("stat").to_string_lossy());
        let fields = stat(&text);
        if fields.get(6).and_then(|flags| flags.parse::<u64>().ok()).is_some_and(|flags| flags & KERNEL_THREAD != 0) {
            sum += ticks(&fields, 11..=12);
        }
    }
    TICK * u32::try_from(sum).unwrap_or(u32::MAX)
}

//! PostgreSQL as a peer: the same promise as the agent (a reply after a sync, and a row that SQL finds), the columns and
//! indexes that the table has on a server. pgbench sends prepared INSERTs over its Unix socket.
//!
//! Rates, latencies and CPU time are those of a span in the middle of pgbench's run, without its connecting.

use crate::acknowledgements::Turn;
use crate::histogram::Histogram;
use crate::load::Driven;
use crate::machine::{self, Watch};
use crate::protocol::payload;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a start, a stop or a program of PostgreSQL may take.
const PATIENCE: Duration = Duration::from_secs(60);
const TABLE: &str = "DROP TABLE IF EXISTS sync_failures; CREATE TABLE sync_failures (id TEXT PRIMARY KEY, \
    entity_type TEXT NOT NULL, entity_id TEXT NOT NULL, action TEXT NOT NULL, error TEXT NOT NULL, payload TEXT, \
    retry_count INTEGER DEFAULT 0, last_retry_at TIMESTAMP, created_at TIMESTAMP, updated_at TIMESTAMP); \
    CREATE INDEX ON sync_failures (entity_type, entity_id); CREATE INDEX ON sync_failures (retry_count, created_at);";
/// Each record is an entity of its own, as in the requests to the other servers.
const INSERT: &str = "\\set n :n + 1\nINSERT INTO sync_failures (id, entity_type, entity_id, action, error, payload, \
    created_at, updated_at) VALUES (gen_random_uuid()::text, 'SALE', 's-' || :client_id::text || '-' || :n::text, \
    'CREATE', 'network timeout', :payload, now(), now());\n";

/// A cluster of its own, which runs only while it is measured.
pub(crate) struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
}

impl Cluster {
    pub(crate) fn make(bin: &Path, dir: &Path) -> Result<Self, String> {
        let cluster = Self { bin: bin.to_owned(), dir: dir.to_owned() };
        if geteuid().is_root() {
            // PostgreSQL refuses to run as root; its user must get to the directory.
            finish(Command::new("chmod").arg("711").args(dir.parent()), "chmod")?;
            let owned = ["-d", "-o", "postgres", "-g", "postgres"];
            finish(Command::new("install").args(owned).arg(dir), "install")?;
        } else {
            fs::create_dir_all(dir).map_err(|error| format!("making {}: {error}", dir.display()))?;
        }
        let mut initdb = cluster.unprivileged("initdb");
        initdb.args(["-U", "bench", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"]).arg(cluster.data());
        finish(&mut initdb, "initdb")?;
        Ok(cluster)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A program of PostgreSQL, run as its own user where this one is root.
    fn unprivileged(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.dir);
        command
    }

    /// A client program, which connects to the cluster.
    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(&self.dir).arg("-h").arg(&self.dir).args(["-U", "bench"]);
        command
    }

    fn start(&self) -> Result<Running, String> {
        let log = self.dir.join("log");
        let fails = |error: std::io::Error| format!("starting PostgreSQL: {error}");
        let output = File::create(&log).map_err(fails)?;
        let mut command = self.unprivileged("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.dir);
        command.args(["-c", "listen_addresses=", "-c", "fsync=on", "-c", "synchronous_commit=on"]);
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(fails)?).stderr(output);
        let mut running = Running { child: command.spawn().map_err(fails)? };
        let begun = Instant::now();
        loop {
            let mut psql = self.client("psql");
            psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-c", TABLE, "-c", "CHECKPOINT", "postgres"]);
            let Err(why) = finish(&mut psql, "psql") else { return Ok(running) };
            if running.has_ended() || begun.elapsed() > PATIENCE {
                return Err(format!(
                    "PostgreSQL does not answer ({why}): {}",
                    fs::read_to_string(log).unwrap_or_default()
                ));
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Starts it with an empty table, loads it, and stops it. Also returns how many cores others used.
    pub(crate) fn turn(&self, clients: usize, warm_up: Duration, span: Duration) -> Result<(Turn, f64), String> {
        let mut server = self.start()?;
        let logs = self.dir.join("pgbench");
        let mut pgbench = self.pgbench(&logs, clients)?;
        let log = logs.join(format!("latency.{}", pgbench.pid()));
        // The first page of its log is written after all clients have connected.
        pgbench.until(&logs, || latest(&log) > 0)?;
        sleep(warm_up);
        let theirs = machine::family(server.pid());
        let ours: Vec<u32> = theirs.iter().copied().chain([pgbench.pid()]).collect();
        let cpu = || theirs.iter().copied().map(machine::cpu).sum::<Duration>();
        let written = || theirs.iter().copied().map(machine::written).sum::<u64>();
        let (watch, first, cpu_before, written_before) = (Watch::begin(&ours), now(), cpu(), written());
        sleep(span);
        let (last, others) = (now(), watch.cores_of_others(&ours));
        let (cpu, written) = (cpu().saturating_sub(cpu_before), written().saturating_sub(written_before));
        // What it has not written to its log is lost when it is ended.
        pgbench.until(&logs, || latest(&log) > last)?;
        pgbench.stop(Signal::TERM)?;
        let driven = driven(&log, first, last)?;
        // PostgreSQL's fast shutdown.
        server.stop(Signal::INT)?;
        Ok((Turn { driven, cpu, written }, others))
    }

    /// Starts pgbench, with a log of each transaction; it runs until it is stopped.
    fn pgbench(&self, logs: &Path, clients: usize) -> Result<Running, String> {
        let fails = |error: std::io::Error| format!("starting pgbench: {error}");
        // It may not exist.
        let _ = fs::remove_dir_all(logs);
        fs::create_dir(logs).and_then(|()| fs::write(logs.join("insert.sql"), INSERT)).map_err(fails)?;
        let mut command = self.client("pgbench");
        command.current_dir(logs).args(["-n", "-M", "prepared", "-f", "insert.sql", "-l", "--log-prefix=latency"]);
        command.args(["-c", &clients.to_string(), "-T", "600", "-D", "n=0"]);
        command.arg("-D").arg(format!("payload={}", payload())).arg("postgres");
        let output = File::create(logs.join("log")).map_err(fails)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(fails)?).stderr(output);
        Ok(Running { child: command.spawn().map_err(fails)? })
    }
}

/// Microseconds of the wall clock, in which pgbench writes its log.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

/// The transactions that ended in a span.
fn driven(log: &Path, first: u128, last: u128) -> Result<Driven, String> {
    let text = fs::read_to_string(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let (mut latency, mut acked) = (Histogram::default(), 0);
    for (took, at) in text.lines().filter_map(transaction) {
        if (first..last).contains(&at) {
            latency.add(Duration::from_micros(took), 1);
            acked += 1;
        }
    }
    if acked == 0 {
        return Err("pgbench inserted nothing".to_owned());
    }
    Ok(Driven { acked, took: Duration::from_micros((last - first) as u64), latency })
}

/// When the last transaction in pgbench's log ended; 0 without one.
fn latest(log: &Path) -> u128 {
    let text = fs::read_to_string(log).unwrap_or_default();
    // The last line is not complete until the next page is written.
    let line = text.rsplit('\n').nth(1).unwrap_or_default();
    transaction(line).map_or(0, |(_, at)| at)
}

/// How long a transaction took, and when it ended, both in microseconds, from a line of pgbench's log: client, number,
/// microseconds, script, second, microsecond.
fn transaction(line: &str) -> Option<(u64, u128)> {
    let fields: Vec<u64> = line.split(' ').map_while(|field| field.parse().ok()).collect();
    let [_, _, took, _, second, micros, ..] = fields[..] else { return None };
    Some((took, u128::from(second) * 1_000_000 + u128::from(micros)))
}

/// Runs a program to its end.
fn finish(command: &mut Command, name: &str) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("starting {name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
}

/// A process, which a failed measurement does not leave running.
struct Running {
    child: Child,
}

impl Running {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for a condition, while it runs.
    fn until(&mut self, logs: &Path, condition: impl Fn() -> bool) -> Result<(), String> {
        let begun = Instant::now();
        while !condition() {
            if self.has_ended() || begun.elapsed() > PATIENCE {
                return Err(format!("pgbench: {}", fs::read_to_string(logs.join("log")).unwrap_or_default()));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Sends a signal, and waits for the end.
    fn stop(&mut self, signal: Signal) -> Result<(), String> {
        // One that has ended already needs no signal.
        let _ = kill_process(Pid::from_child(&self.child), signal);
        let begun = Instant::now();
        while !self.has_ended() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("process {} does not end", self.pid()));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            // PostgreSQL ends its children and itself at once; pgbench has no handler for it.
            let _ = self.stop(Signal::QUIT);
        }
    }
}

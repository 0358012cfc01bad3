//! The servers: each is started with the same promise (a reply means that it is synced) and
//! stopped. Each works in its own directory and listens on a Unix socket.

use crate::load::{Load, Until, drive};
use crate::protocol::{Body, Kind, Requests};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a start or a stop may take, also with millions of records.
const PATIENCE: Duration = Duration::from_secs(120);
/// The agent's limits, raised so that they do not end a measurement.
const LIMITS: &str = "[limits]\nmax_failures = 100000000\nmax_database = \"64GiB\"\nmax_connections = 2000\n";

/// The paths of the programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The agent's release binary.
    pub(crate) agent: PathBuf,
    /// The directory of PostgreSQL's programs.
    pub(crate) postgres: PathBuf,
    /// The program that measures the store from inside.
    pub(crate) shapes: Option<PathBuf>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) socket: PathBuf,
    /// From its start to its first acknowledgement.
    pub(crate) first_answer: Duration,
    child: Child,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The agent's configuration beyond its limits.
    pub(crate) config: String,
    /// Whether a reply means that it is synced; false only while a peer is filled for a later measurement.
    pub(crate) synced: bool,
}

impl Default for Start {
    /// An unreachable upstream: no process listens at the discard port of this machine.
    fn default() -> Self {
        Self { config: upstream("http://127.0.0.1:9/sync", 4), synced: true }
    }
}

/// A configuration with one upstream.
pub(crate) fn upstream(url: &str, concurrency: usize) -> String {
    format!("[upstream.office]\nurl = \"{url}\"\nconcurrency = {concurrency}\n")
}

/// Numbers of records that only test whether a server replies, above all others.
const PROBE: u64 = 9_000_000_000;

impl Server {
    pub(crate) fn start(programs: &Programs, kind: Kind, dir: &Path, how: &Start) -> Result<Self, String> {
        let socket = dir.join("socket");
        let fails = |doing: &str, error: &dyn std::fmt::Display| format!("{doing} {}: {error}", kind.name());
        fs::create_dir_all(dir).map_err(|error| fails("making a directory for", &error))?;
        // A stale socket would refuse clients, or lead them to another server.
        let _ = fs::remove_file(&socket);
        let mut command = command(programs, kind, dir, &socket, how).map_err(|error| fails("preparing", &error))?;
        let log = File::options().create(true).append(true).open(dir.join("log"));
        let log = log.map_err(|error| fails("making a log for", &error))?;
        let also = log.try_clone().map_err(|error| fails("making a log for", &error))?;
        command.current_dir(dir).stdin(Stdio::null()).stdout(log).stderr(also);
        let begun = Instant::now();
        let child = command.spawn().map_err(|error| fails("starting", &error))?;
        let mut server = Self { kind, socket, first_answer: Duration::ZERO, child };
        server.wait_for_an_answer(begun, dir)?;
        Ok(server)
    }

    fn wait_for_an_answer(&mut self, begun: Instant, dir: &Path) -> Result<(), String> {
        let requests = Requests::new(self.kind, Body::OwnEntity);
        loop {
            let mut number = PROBE;
            let once =
                drive(&self.socket, &requests, Load { clients: 1, in_flight: 1 }, Until::Records(1), &mut number);
            let Err(why) = once else { break };
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(format!("{} does not answer ({why}): {}", self.kind.name(), end.join(" / ")));
            }
            sleep(Duration::from_micros(200));
        }
        self.first_answer = begun.elapsed();
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as its operator would, and waits for its exit.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.end(Signal::TERM)
    }

    fn end(&mut self, signal: Signal) -> Result<(), String> {
        let pid = Pid::from_child(&self.child);
        // One that has ended already needs no signal.
        let _ = kill_process(pid, signal);
        let begun = Instant::now();
        while self.child.try_wait().map_err(|error| error.to_string())?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} does not stop", self.kind.name()));
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // No server of a failed measurement may keep running.
            let _ = self.end(Signal::KILL);
        }
    }
}

fn command(programs: &Programs, kind: Kind, dir: &Path, socket: &Path, how: &Start) -> std::io::Result<Command> {
    match kind {
        Kind::Agent => {
            let config = dir.join("resyncd.toml");
            fs::write(&config, format!("{LIMITS}{}", how.config))?;
            let mut command = Command::new(&programs.agent);
            command.args(["run", "--log", "warn", "--config"]).arg(config);
            command.arg("--state-dir").arg(dir.join("state")).arg("--socket").arg(socket);
            command.arg("--admin-socket").arg(dir.join("admin"));
            Ok(command)
        }
        Kind::Redis => {
            let mut command = Command::new("redis-server");
            // Neither a snapshot nor a rewrite of its log runs during the measurement.
            command.args(["--port", "0", "--save", "", "--auto-aof-rewrite-percentage", "0", "--appendonly", "yes"]);
            command.args(["--appendfsync", if how.synced { "always" } else { "no" }]);
            command.arg("--dir").arg(dir).arg("--unixsocket").arg(socket);
            Ok(command)
        }
        Kind::Beanstalkd => {
            let mut command = Command::new("beanstalkd");
            command.arg(if how.synced { "-f0" } else { "-F" });
            command.arg("-b").arg(dir).arg("-l").arg(format!("unix:{}", socket.display()));
            Ok(command)
        }
    }
}

//! The configuration as values: what is in force, checked, with every default filled in.
//!
//! [`Config::load`] puts the layers together (flag or environment, files, default). The files become
//! one document in `sources`; it is walked by `read`, [`upstream`], [`route`] and [`sections`] with
//! the tools of `table`, which say what is wrong with it, all at once and with its place; [`problem`]
//! is how that looks; [`value`] reads durations, sizes and URLs, [`template`] paths and bodies.
//!
//! It reads no file and no environment itself: the text and the surroundings come in, so that the
//! same function serves the daemon, `config check` and the tests.

pub mod problem;
mod read;
pub mod route;
pub mod sections;
pub mod shown;
mod sources;
mod table;
pub mod template;
pub mod upstream;
pub mod value;

use crate::limits::Limits;
use problem::{Place, Problem};
pub use route::Route;
pub use sections::{Alerts, Heartbeat, Metrics, Retention};
pub use sources::Origins;
use std::path::PathBuf;
use std::time::Duration;
use table::Document;
pub use upstream::Upstream;

/// Everything that is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The section `[agent]`.
    pub agent: Agent,
    /// The section `[retry]`.
    pub retry: Retry,
    /// `[upstream.NAME]`; none: failures are recorded, nothing is delivered.
    pub upstreams: Vec<Upstream>,
    /// `[[route]]`; none: everything goes to the only upstream, as an envelope.
    pub routes: Vec<Route>,
    /// The section `[retention]`.
    pub retention: Retention,
    /// The section `[alerts]`.
    pub alerts: Alerts,
    /// The section `[heartbeat]`.
    pub heartbeat: Heartbeat,
    /// The section `[limits]`.
    pub limits: Limits,
    /// The section `[metrics]`.
    pub metrics: Metrics,
}

/// The section `[agent]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Stored with each failure and sent with each request.
    pub terminal_id: String,
    /// The same.
    pub store_id: Option<String>,
    /// `error`, `warn`, `info`, `debug` or `trace`, or what `env_logger` understands.
    pub log: String,
    /// Where the database is.
    pub state_dir: PathBuf,
    /// The socket of local applications.
    pub socket: PathBuf,
    /// The socket of root and the agent's user.
    pub admin_socket: PathBuf,
}

/// The section `[retry]`; what it means is in `policy::backoff`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// What retry 1, 2, 3 … waits; the last one repeats. 1 to 20 steps of 0 s to 7 days.
    pub steps: Vec<Duration>,
    /// Counted tries after which a person has to act, 1 to 1,000,000.
    pub max_retries: u32,
    /// Up to this share of a step is added to it, 0 to 1.
    pub jitter: f64,
    /// How many due failures are claimed at a time, 1 to 1000.
    pub batch: usize,
}

impl Default for Retry {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self { steps: vec![minutes(5), minutes(15), minutes(30)], max_retries: 3, jitter: 0.2, batch: 10 }
    }
}

/// What defaults follow from.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The host's name.
    pub host_name: String,
    /// Runs as root.
    pub root: bool,
    /// `$HOME`
    pub home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`
    pub state_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
}

/// What flags and environment say; each with what it is called, for messages.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--state-dir`, `RESYNCD_STATE_DIR`
    pub state_dir: Option<(PathBuf, &'static str)>,
    /// `--socket`, `RESYNCD_SOCKET`
    pub socket: Option<(PathBuf, &'static str)>,
    /// `--admin-socket`, `RESYNCD_ADMIN_SOCKET`
    pub admin_socket: Option<(PathBuf, &'static str)>,
    /// `--upstream`, `RESYNCD_UPSTREAM`
    pub upstream: Option<(String, &'static str)>,
    /// `--log`, `RESYNCD_LOG`
    pub log: Option<(String, &'static str)>,
}

/// The name of the upstream that a URL alone defines.
pub const DEFAULT_UPSTREAM: &str = "default";
/// The packaged file: it explains every key and sets the defaults.
pub const EXAMPLE: &str = include_str!("../../packaging/resyncd.toml");
/// The longest path that a socket's address holds (`sun_path` less its end).
pub const MAX_SOCKET_PATH: usize = 107;

impl Config {
    /// Puts the layers together, of one file or none: its name, for messages, and its text.
    pub fn load(
        file: Option<(&str, &str)>,
        overrides: &Overrides,
        around: &Surroundings,
    ) -> Result<Self, Vec<Problem>> {
        Self::load_files(file.as_slice(), overrides, around).map(|(config, _)| config)
    }

    /// Puts the layers together, of several files, the main one first; also which of them sets what.
    pub fn load_files(
        files: &[(&str, &str)],
        overrides: &Overrides,
        around: &Surroundings,
    ) -> Result<(Self, Origins), Vec<Problem>> {
        let (config, origins, problems) = Self::read_files(files, overrides, around);
        if problems.is_empty() { Ok((config, origins)) } else { Err(problems) }
    }

    /// The same with whatever is wrong beside it: where a value could not be read its default stands.
    /// Good enough to find a running agent by, for nothing else.
    #[must_use]
    pub fn read_files(
        files: &[(&str, &str)],
        overrides: &Overrides,
        around: &Surroundings,
    ) -> (Self, Origins, Vec<Problem>) {
        let mut document = Document::parse(files);
        let origins = document.origins();
        let mut config = document.config(around);
        apply(&mut config, overrides, &mut document);
        check_sockets(&config.agent, &mut document);
        (config, origins, document.problems)
    }
}

impl Agent {
    /// The defaults of `spec/04`: a packaged root, or a user's own directories.
    fn default_for(around: &Surroundings, state_dir: Option<PathBuf>) -> Self {
        let state_dir = state_dir.unwrap_or_else(|| default_state_dir(around));
        let sockets = match &around.runtime_dir {
            _ if around.root => PathBuf::from("/run/resyncd"),
            Some(runtime) => runtime.join("resyncd"),
            None => state_dir.clone(),
        };
        Self {
            terminal_id: around.host_name.clone(),
            store_id: None,
            log: "info".to_owned(),
            socket: sockets.join("resyncd.sock"),
            admin_socket: sockets.join("admin.sock"),
            state_dir,
        }
    }
}

fn default_state_dir(around: &Surroundings) -> PathBuf {
    if around.root {
        return PathBuf::from("/var/lib/resyncd");
    }
    let own = around.state_home.clone().or_else(|| Some(around.home.as_ref()?.join(".local/state")));
    own.unwrap_or_else(|| PathBuf::from("/var/lib")).join("resyncd")
}

fn apply(config: &mut Config, overrides: &Overrides, document: &mut Document) {
    if let Some((socket, _)) = &overrides.socket {
        config.agent.socket.clone_from(socket);
    }
    if let Some((socket, _)) = &overrides.admin_socket {
        config.agent.admin_socket.clone_from(socket);
    }
    if let Some((log, _)) = &overrides.log {
        config.agent.log.clone_from(log);
    }
    if let Some((url, given)) = &overrides.upstream {
        if let Err(wrong) = value::url(url, false) {
            document.report(Place::Given(given), format!("{url:?}: {wrong}"));
        }
        config.upstreams = vec![Upstream::with_url(DEFAULT_UPSTREAM, url)];
        config.routes = Vec::new();
    }
    if let Some((dir, _)) = &overrides.state_dir {
        config.agent.state_dir.clone_from(dir);
    }
}

fn check_sockets(agent: &Agent, document: &mut Document) {
    for (name, path) in [("socket", &agent.socket), ("admin_socket", &agent.admin_socket)] {
        let bytes = path.as_os_str().len();
        if bytes > MAX_SOCKET_PATH {
            let message = format!("{} has {bytes} bytes; a socket's path may have {MAX_SOCKET_PATH}", path.display());
            document.report(Place::Key(name), message);
        }
    }
    if agent.socket == agent.admin_socket {
        document.report(Place::Key("admin_socket"), format!("is the same path as socket: {}", agent.socket.display()));
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

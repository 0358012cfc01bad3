//! The configuration as validated values, with every default filled in.
//!
//! [`Config::load`] merges the layers (flag or environment, files, default). The files become one document in
//! `document`, which is read by `read`, [`upstream`], [`route`] and [`sections`] with the functions of `table`;
//! these collect all errors with their locations. [`problem`] formats errors; [`value`] parses durations, sizes and
//! URLs, [`template`] paths and bodies.
//!
//! It does not read files or the environment itself: both are passed in, so that the same function serves the
//! daemon, `config check` and the tests.

mod document;
pub mod effective;
pub mod filling;
pub mod problem;
mod read;
pub mod route;
pub mod sections;
mod source;
mod syntax;
mod table;
pub mod template;
pub mod upstream;
pub mod value;

use crate::limits::Limits;
use crate::text::Language;
pub use document::Origins;
use problem::{Place, Problem};
pub use route::Route;
pub use sections::{Alerts, Heartbeat, Metrics, Retention};
use std::path::PathBuf;
use std::time::Duration;
use table::Document;
pub use upstream::Upstream;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The section `[agent]`.
    pub agent: Agent,
    /// The section `[retry]`.
    pub retry: Retry,
    /// `[upstream.NAME]`; without any, failures are recorded but not delivered.
    pub upstreams: Vec<Upstream>,
    /// `[[route]]`; without any, all failures are sent to the only upstream, as envelopes.
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
    /// Identifies the terminal; stored with each failure and sent with each request.
    pub terminal_id: String,
    /// Identifies the store; used like `terminal_id`.
    pub store_id: Option<String>,
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter of `env_logger`.
    pub log: String,
    /// Directory of the database.
    pub state_dir: PathBuf,
    /// The socket for local applications.
    pub socket: PathBuf,
    /// The socket for root and the agent's user.
    pub admin_socket: PathBuf,
    /// The language of what the agent says on its own; `None`: that of its environment (`auto`).
    pub language: Option<Language>,
}

/// The section `[retry]`; applied by `policy::backoff`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Delay before retry 1, 2, 3 …; the last one repeats. 1 to 20 steps of 0 s to 7 days.
    pub steps: Vec<Duration>,
    /// Counted attempts after which an operator has to act, 1 to 1,000,000.
    pub max_retries: u32,
    /// Maximum share of a step that is added at random, 0 to 1.
    pub jitter: f64,
    /// Number of due failures that are claimed at a time, 1 to 1000.
    pub batch: usize,
}

impl Default for Retry {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self { steps: vec![minutes(5), minutes(15), minutes(30)], max_retries: 3, jitter: 0.2, batch: 10 }
    }
}

/// The environment that defaults depend on.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The host's name.
    pub host_name: String,
    /// Whether the process runs as root.
    pub root: bool,
    /// `$HOME`
    pub home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`
    pub state_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
    /// `$STATE_DIRECTORY`, which systemd sets for a service.
    pub service_state: Option<PathBuf>,
    /// `$RUNTIME_DIRECTORY`, likewise.
    pub service_runtime: Option<PathBuf>,
    /// A system-wide agent is installed, and neither a flag nor the environment names other paths: every command of
    /// every user refers to that agent, so that no failure is recorded in a directory without an agent.
    pub installed: bool,
}

/// The state directory of a system-wide agent.
pub const SYSTEM_STATE_DIR: &str = "/var/lib/resyncd";
/// The directory of its sockets.
pub const SYSTEM_RUNTIME_DIR: &str = "/run/resyncd";

/// Values of flags and environment variables, each with the name of its source for messages.
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

/// The name of an upstream that is defined by a URL only.
pub const DEFAULT_UPSTREAM: &str = "default";
/// The packaged file, which explains every key and sets the defaults.
pub const EXAMPLE: &str = include_str!("../../packaging/resyncd.toml");
/// `[agent] language`: the language of the agent's environment.
pub const AUTO: &str = "auto";
/// Maximum length of a socket's path (`sun_path` without its end).
pub const MAX_SOCKET_PATH: usize = 107;

impl Config {
    /// Merges the layers, with at most one file, given by its name for messages and its text.
    pub fn load(file: Option<(&str, &str)>, overrides: &Overrides, around: &Environment) -> Result<Self, Vec<Problem>> {
        Self::load_files(file.as_slice(), overrides, around).map(|(config, _)| config)
    }

    /// Merges the layers, with several files, the main one first; also returns which file sets what.
    pub fn load_files(
        files: &[(&str, &str)],
        overrides: &Overrides,
        around: &Environment,
    ) -> Result<(Self, Origins), Vec<Problem>> {
        let (config, origins, problems) = Self::read_files(files, overrides, around);
        if problems.is_empty() { Ok((config, origins)) } else { Err(problems) }
    }

    /// The same, with errors returned besides: an unreadable value keeps its default. Only suitable for finding a
    /// running agent.
    #[must_use]
    pub fn read_files(
        files: &[(&str, &str)],
        overrides: &Overrides,
        around: &Environment,
    ) -> (Self, Origins, Vec<Problem>) {
        let mut document = Document::parse(files);
        let origins = document.origins();
        let mut config = document.config(around);
        apply(&mut config, overrides, &mut document);
        check_sockets(&config.agent, overrides, &mut document);
        (config, origins, document.into_problems())
    }
}

impl Agent {
    /// The directories that systemd names; or the system's, for root and if an agent is installed; or the user's
    /// own.
    fn default_for(around: &Environment, state_dir: Option<PathBuf>) -> Self {
        let state_dir = state_dir.unwrap_or_else(|| default_state_dir(around));
        let sockets = match (&around.service_runtime, &around.runtime_dir) {
            (Some(service), _) => service.clone(),
            _ if around.root || around.installed => PathBuf::from(SYSTEM_RUNTIME_DIR),
            (None, Some(runtime)) => runtime.join("resyncd"),
            (None, None) => state_dir.clone(),
        };
        Self {
            terminal_id: around.host_name.clone(),
            store_id: None,
            log: "info".to_owned(),
            socket: sockets.join("resyncd.sock"),
            admin_socket: sockets.join("admin.sock"),
            language: None,
            state_dir,
        }
    }
}

fn default_state_dir(around: &Environment) -> PathBuf {
    if let Some(dir) = &around.service_state {
        return dir.clone();
    }
    if around.root || around.installed {
        return PathBuf::from(SYSTEM_STATE_DIR);
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
    if let Some((log, given)) = &overrides.log {
        if let Err(wrong) = value::log_filter(log) {
            document.report(Place::Given(given), wrong);
        }
        config.agent.log.clone_from(log);
    }
    if let Some((url, given)) = &overrides.upstream {
        if let Err(wrong) = value::base_url(url, false) {
            document.report(Place::Given(given), format!("{url:?}: {wrong}"));
        }
        config.upstreams = vec![Upstream::with_url(DEFAULT_UPSTREAM, url)];
        config.routes = Vec::new();
    }
    if let Some((dir, _)) = &overrides.state_dir {
        config.agent.state_dir.clone_from(dir);
    }
}

fn check_sockets(agent: &Agent, overrides: &Overrides, document: &mut Document) {
    let given = |path: &Option<(PathBuf, &'static str)>| path.as_ref().map(|(_, name)| Place::Given(name));
    // Where nothing sets a socket it is beside the database, or in a directory of the system.
    let place = |key: &str, given: Option<Place>, document: &Document| {
        given.or_else(|| document.spans.get(key).cloned().map(Place::Span))
    };
    let dir = place("agent.state_dir", given(&overrides.state_dir), document);
    let socket = place("agent.socket", given(&overrides.socket), document);
    let admin = place("agent.admin_socket", given(&overrides.admin_socket), document);
    let of_both = admin.clone().or_else(|| socket.clone());
    for (name, path, place) in [("socket", &agent.socket, socket), ("admin_socket", &agent.admin_socket, admin)] {
        let bytes = path.as_os_str().len();
        if bytes > MAX_SOCKET_PATH {
            let path = path.display();
            let message = format!("{name}: {path} has {bytes} bytes; a socket's path may have {MAX_SOCKET_PATH}");
            document.report(place.or_else(|| dir.clone()).unwrap_or(Place::Given(name)), message);
        }
    }
    if agent.socket == agent.admin_socket {
        let message = format!("admin_socket: the same path as socket, {}", agent.socket.display());
        document.report(of_both.unwrap_or(Place::Given("admin_socket")), message);
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

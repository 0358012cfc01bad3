//! Builds the configuration from command line, environment and files; and starts `run`.

use super::args::{Global, RunArgs};
use super::{Failure, language};
use crate::access::standing;
use crate::config::problem::Problem;
use crate::config::{Config, Environment, Origins, Overrides, SYSTEM_RUNTIME_DIR, SYSTEM_STATE_DIR};
use crate::daemon;
use crate::io::log_queue::Sink;
use crate::text::config::not_read;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Read if it exists and no other file is named.
pub const DEFAULT_FILE: &str = "/etc/resyncd/resyncd.toml";
/// The directory beside the file whose `*.toml` are read as well.
const PIECES: &str = "resyncd.d";

/// The configuration in force.
pub fn config(global: &Global, run: &RunArgs) -> Result<Config, Failure> {
    config_and_origins(global, run).map(|(config, _)| config)
}

/// The same, and the file that sets each value.
pub fn config_and_origins(global: &Global, run: &RunArgs) -> Result<(Config, Origins), Failure> {
    load(global, run).map_err(|problems| Failure::Usage(tell(&problems)))
}

/// The part of an invalid configuration that is needed to find a running agent.
#[must_use]
pub fn readable(global: &Global) -> Option<Config> {
    let files = files(global).ok()?;
    let named: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let overrides = overrides(global, &RunArgs::default());
    let (config, ..) = Config::read_files(&named, &overrides, &surroundings(global, &overrides));
    Some(config)
}

/// The configuration in force and its origins, or all problems.
fn load(global: &Global, run: &RunArgs) -> Result<(Config, Origins), Vec<Problem>> {
    let files = files(global)?;
    let named: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let overrides = overrides(global, run);
    Config::load_files(&named, &overrides, &surroundings(global, &overrides))
}

/// The main file, empty if there is none, and the pieces beside it, each with its name and text.
fn files(global: &Global) -> Result<Vec<(String, String)>, Vec<Problem>> {
    let main = global.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let mut paths = pieces(&main.with_file_name(PIECES)).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut files = Vec::new();
    if global.config.is_some() || main.exists() {
        paths.insert(0, main);
    } else {
        // The pieces override the first file.
        files.push((main.display().to_string(), String::new()));
    }
    for path in &paths {
        match fs::read(path).map(text) {
            Ok(Ok(text)) => files.push((path.display().to_string(), text)),
            Ok(Err(wrong)) => problems.push(Problem {
                place: format!("{}:{}", path.display(), wrong.0),
                message: wrong.1,
                excerpt: None,
            }),
            Err(error) => problems.push(unread(path, &error)),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// Files beside the pieces that are not read, because their names do not end in `.toml`.
pub(super) fn ignored(global: &Global) -> Vec<String> {
    let main = global.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let entries = fs::read_dir(main.with_file_name(PIECES)).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| !is_piece(path)).collect();
    paths.sort();
    paths.iter().map(|path| not_read(path.display())).collect()
}

fn is_piece(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "toml")
}

/// `resyncd.d/*.toml`, ordered by name; none without the directory.
fn pieces(dir: &Path) -> Result<Vec<PathBuf>, Problem> {
    let failed = |error: io::Error| unread(dir, &error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| is_piece(path));
    paths.sort();
    Ok(paths)
}

/// The text of a file; where it is not UTF-8, the line, and what the file seems to be.
fn text(bytes: Vec<u8>) -> Result<String, (usize, String)> {
    String::from_utf8(bytes).map_err(|wrong| {
        let at = wrong.utf8_error().valid_up_to();
        let bytes = wrong.as_bytes();
        let line = memchr::memchr_iter(b'\n', &bytes[..at]).count() + 1;
        let seems = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it seems to be UTF-16",
            _ if bytes.contains(&0) => "it seems to be no text",
            _ => "it seems to be Latin-1 (ISO 8859-1)",
        };
        (line, format!("is not UTF-8; {seems}. Save the file as UTF-8"))
    })
}

fn unread(path: &Path, error: &io::Error) -> Problem {
    let how = standing(path, error.kind());
    Problem {
        place: format!("reading the configuration {}", path.display()),
        message: format!("{error}{how}"),
        excerpt: None,
    }
}

fn tell(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The values from flags and environment.
#[must_use]
pub fn overrides(global: &Global, run: &RunArgs) -> Overrides {
    let path = |flag: &Option<PathBuf>, name, variable| match flag {
        Some(path) => Some((path.clone(), name)),
        None => env::var_os(variable).filter(|value| !value.is_empty()).map(|value| (PathBuf::from(value), variable)),
    };
    let text = |flag: &Option<String>, name, variable| match flag {
        Some(text) => Some((text.clone(), name)),
        None => env::var(variable).ok().filter(|value| !value.is_empty()).map(|value| (value, variable)),
    };
    Overrides {
        state_dir: path(&run.state_dir, "--state-dir", "RESYNCD_STATE_DIR"),
        socket: path(&global.socket, "--socket", "RESYNCD_SOCKET"),
        admin_socket: path(&global.admin_socket, "--admin-socket", "RESYNCD_ADMIN_SOCKET"),
        upstream: text(&run.upstream, "--upstream", "RESYNCD_UPSTREAM"),
        log: text(&run.log, "--log", "RESYNCD_LOG"),
    }
}

fn surroundings(global: &Global, overrides: &Overrides) -> Environment {
    let absolute = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let own_paths = overrides.state_dir.is_some()
        || env::var_os("STATE_DIRECTORY").is_some()
        || global.config.as_ref().is_some_and(|file| file != Path::new(DEFAULT_FILE));
    Environment {
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        root: rustix::process::geteuid().is_root(),
        home: absolute("HOME"),
        state_home: absolute("XDG_STATE_HOME"),
        runtime_dir: absolute("XDG_RUNTIME_DIR"),
        service_state: absolute("STATE_DIRECTORY"),
        service_runtime: absolute("RUNTIME_DIRECTORY"),
        installed: !own_paths && is_installed(),
    }
}

/// Returns whether a system-wide agent is installed: its sockets, or its state directory.
fn is_installed() -> bool {
    let runtime = Path::new(SYSTEM_RUNTIME_DIR);
    [runtime.join("resyncd.sock"), runtime.join("admin.sock"), PathBuf::from(SYSTEM_STATE_DIR)]
        .iter()
        .any(|path| path.symlink_metadata().is_ok())
}

/// `run`
pub fn daemon(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let config = config(global, args)?;
    language::of_agent(global, config.agent.language)?.set();
    start_log(&config.agent.log)?;
    let again = (global.clone(), args.clone());
    let read_again = move || load(&again.0, &again.1).map(|(config, _)| config);
    daemon::run(&config, Box::new(read_again)).map_err(|error| Failure::Failed(error.to_string()))
}

/// Logs one line per event to standard error. Under journald it begins with the priority, without a time; elsewhere
/// with the time.
fn start_log(level: &str) -> Result<(), Failure> {
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Warn);
    let filters = if level.contains(['=', ',']) { level.to_owned() } else { format!("resyncd={level}") };
    builder.parse_filters(&filters);
    builder.format(move |out, record| {
        let text = escape(&record.args().to_string());
        if journal {
            writeln!(out, "<{}>{text}", priority(record.level()))
        } else {
            writeln!(out, "{} {} {text}", crate::io::clock::wall().rfc3339(), record.level())
        }
    });
    builder.target(env_logger::Target::Pipe(Box::new(Sink)));
    builder.try_init().map_err(|error| Failure::Failed(error.to_string()))
}

fn priority(level: log::Level) -> u8 {
    match level {
        log::Level::Error => 3,
        log::Level::Warn => 4,
        log::Level::Info => 6,
        log::Level::Debug | log::Level::Trace => 7,
    }
}

/// An event is always one line.
fn escape(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

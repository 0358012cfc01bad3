//! From the command line, the environment and the file to a configuration; and `run`.

use super::Failure;
use super::args::{Global, RunArgs};
use crate::access::standing;
use crate::config::problem::Problem;
use crate::config::{Config, Origins, Overrides, Surroundings};
use crate::daemon;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Read when no file is named, if it is there.
pub const DEFAULT_FILE: &str = "/etc/resyncd/resyncd.toml";
/// The directory beside the file whose `*.toml` are read as well.
const PIECES: &str = "resyncd.d";

/// The configuration in force.
pub fn config(global: &Global, run: &RunArgs) -> Result<Config, Failure> {
    config_and_origins(global, run).map(|(config, _)| config)
}

/// The same, and which file sets what.
pub fn config_and_origins(global: &Global, run: &RunArgs) -> Result<(Config, Origins), Failure> {
    load(global, run).map_err(|problems| Failure::Usage(tell(&problems)))
}

/// Enough of a wrong configuration to find a running agent by.
#[must_use]
pub fn readable(global: &Global) -> Option<Config> {
    let files = files(global).ok()?;
    let named: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (config, ..) = Config::read_files(&named, &overrides(global, &RunArgs::default()), &surroundings());
    Some(config)
}

/// The same as the configuration in force, or all that is wrong.
fn load(global: &Global, run: &RunArgs) -> Result<(Config, Origins), Vec<Problem>> {
    let files = files(global)?;
    let named: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Config::load_files(&named, &overrides(global, run), &surroundings())
}

/// The file, where there is one, and the pieces beside it, each with its name and text.
fn files(global: &Global) -> Result<Vec<(String, String)>, Vec<Problem>> {
    let main = global.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let mut paths = pieces(&main.with_file_name(PIECES)).map_err(|problem| vec![problem])?;
    if global.config.is_some() || main.exists() {
        paths.insert(0, main);
    }
    let mut problems = Vec::new();
    let mut files = Vec::new();
    for path in &paths {
        match fs::read_to_string(path) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(error) => problems.push(unread(path, &error)),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// `resyncd.d/*.toml`, in order of name. No such directory: no pieces.
fn pieces(dir: &Path) -> Result<Vec<PathBuf>, Problem> {
    let failed = |error: io::Error| unread(dir, &error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    Ok(paths)
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

/// What flags and environment say.
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

fn surroundings() -> Surroundings {
    let absolute = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    Surroundings {
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        root: rustix::process::geteuid().is_root(),
        home: absolute("HOME"),
        state_home: absolute("XDG_STATE_HOME"),
        runtime_dir: absolute("XDG_RUNTIME_DIR"),
    }
}

/// `run`
pub fn daemon(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let config = config(global, args)?;
    start_log(&config.agent.log)?;
    let again = (global.clone(), args.clone());
    let read_again = move || load(&again.0, &again.1).map(|(config, _)| config);
    daemon::run(&config, Box::new(read_again)).map_err(|error| Failure::Failed(error.to_string()))
}

/// One line an event on standard error. Under journald it begins with the priority, and the time is
/// journald's; elsewhere with the time.
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
    // A log pipe that somebody closed must not stop the agent.
    builder.target(env_logger::Target::Pipe(Box::new(Careless)));
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

/// An event is one line, whatever stands in it.
fn escape(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Standard error that takes everything and never fails.
struct Careless;

impl Write for Careless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

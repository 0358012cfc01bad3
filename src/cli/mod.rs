//! The command-line layer. One file per command; [`run`] dispatches.
//!
//! Answers go to standard output, everything else to standard error. [`client`] talks to the agent; without one,
//! queries and `record` open the store themselves ([`offline`]).

mod advice;
pub mod alerts;
mod archived;
pub mod args;
pub mod backup;
pub mod check;
mod check_agent;
mod check_closing;
pub mod choose;
pub mod cleanup;
pub mod client;
pub mod command;
pub mod config;
mod deeds;
pub mod demo;
mod diff;
pub mod discard;
pub mod doctor;
pub mod edit;
mod editor;
pub mod export;
mod followers;
mod gone;
pub mod history;
pub mod import;
mod language;
pub mod list;
pub mod load_config;
pub mod manual;
pub mod metrics;
mod named_files;
pub mod offline;
pub mod operate;
pub mod payload;
pub mod record;
pub mod reload;
pub mod render;
pub mod replay;
pub mod report;
pub mod rows;
pub mod session;
pub mod show;
pub mod statistics;
pub mod status;
pub mod stream;
pub mod times;
pub mod top;
pub mod trial;
mod unreachable;
pub mod words;

use crate::io::system;
use crate::text::phrases::of_agent;
use clap::CommandFactory;
use command::{Cli, Command};
use operate::Many;
use std::borrow::Cow;
use std::fmt;
use std::io::Write;

/// Why a command failed, and its exit status.
#[derive(Debug)]
pub enum Failure {
    /// 1: it failed; the reason, and what to try next.
    Failed(String),
    /// 1: no failure or upstream has this name.
    NotFound(String),
    /// 1: the agent rejected the request.
    Rejected(String),
    /// 2: wrong usage or configuration.
    Usage(String),
    /// 3: the agent cannot be reached.
    Unreachable(String),
    /// Any status: the answer was printed, and this is its exit status.
    Said(u8),
    /// The reader of our output has closed it, which is not an error.
    ClosedPipe,
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Failed(_) | Self::NotFound(_) | Self::Rejected(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Said(status) => *status,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text)
            | Self::NotFound(text)
            | Self::Rejected(text)
            | Self::Usage(text)
            | Self::Unreachable(text) => f.write_str(text),
            Self::Said(_) | Self::ClosedPipe => Ok(()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Runs a command.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let global = &cli.global;
    match (language::of_command(global), &cli.command) {
        (Ok(language), _) => language.set(),
        (Err(wrong), Some(Command::Check(_))) => return check::unknown(&wrong.to_string(), global.json),
        (Err(wrong), _) => return Err(wrong),
    }
    system::hide_memory();
    match &cli.command {
        None => status::brief(global),
        Some(Command::Run(args)) => load_config::daemon(global, args),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::Record(args)) => record::run(global, args),
        Some(Command::Import(args)) => import::run(global, args),
        Some(Command::Replay(args)) => replay::run(global, args),
        Some(Command::Completions(args)) => manual::completions(args, Cli::command()),
        Some(Command::Man(args)) => manual::pages(args, Cli::command()),
        Some(Command::Try(args)) => trial::run(global, args),
        Some(Command::Status) => status::screen(global),
        Some(Command::Top) => top::run(global),
        Some(Command::Report(args)) => report::run(global, args),
        Some(Command::Alerts) => alerts::run(global),
        Some(Command::List(args)) => list::run(global, args),
        Some(Command::Backup(args)) => backup::run(global, args),
        Some(Command::Check(args)) => check::run(global, args),
        Some(Command::Doctor) => doctor::run(global),
        Some(Command::Metrics) => metrics::run(global),
        Some(Command::Critical) => list::critical(global),
        Some(Command::Show(args)) => show::run(global, args),
        Some(Command::History(args)) => history::run(global, args),
        Some(Command::Stats(args)) => statistics::run(global, args),
        Some(Command::Edit(args)) => edit::run(global, args),
        Some(Command::Retry(args)) => operate::many(global, &args.bulk, Many::Retry { reset: args.reset }),
        Some(Command::Hold(args)) => operate::many(global, args, Many::Hold),
        Some(Command::Release(args)) => operate::many(global, args, Many::Release),
        Some(Command::Discard(args)) => discard::run(global, args),
        Some(Command::Cleanup(args)) => cleanup::run(global, args),
        Some(Command::Flush(args)) => operate::flush(global, args),
        Some(Command::Pause(args)) => operate::gate(global, args, "pause"),
        Some(Command::Resume(args)) => operate::gate(global, args, "resume"),
        Some(Command::Export(args)) => export::run(global, args),
        Some(Command::Reload(args)) => reload::run(global, args),
        Some(Command::Config(command)) => config::run(global, command),
    }
}

/// Prints lines on standard error, in the width of the terminal; excerpts of files are not changed.
pub(crate) fn note(text: &str) {
    let shown = format!("resyncd: {text}");
    let width = render::width_of_errors();
    let fits = |line| match width.filter(|_| !str::starts_with(line, "  ")) {
        Some(width) => Cow::Owned(render::folded(line, width, 0, 2)),
        None => Cow::Borrowed(line),
    };
    let lines: Vec<Cow<str>> = shown.lines().map(fits).collect();
    // Standard error may be closed; there is nowhere left to say so.
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
}

/// Prints a command's error on standard error. With `--json` an error of the agent was printed as its reply already,
/// and its message follows here as well.
pub fn report(failure: &Failure) {
    let text = failure.to_string();
    if !text.is_empty() {
        note(&of_agent(&text));
    }
}

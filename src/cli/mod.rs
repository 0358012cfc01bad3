//! Floor 7: the command line. One file a command; [`run`] chooses.
//!
//! Answers go to standard output, everything else to standard error. [`client`] speaks to the
//! agent; where there is none, reads and `record` open the store themselves ([`direct`]).

pub mod alerts;
pub mod args;
pub mod backup;
pub mod check;
pub mod choose;
pub mod cleanup;
pub mod client;
mod closing;
pub mod config;
pub mod demo;
mod diff;
pub mod direct;
pub mod discard;
pub mod doctor;
pub mod edit;
mod editor;
pub mod export;
pub mod history;
pub mod import;
pub mod list;
pub mod manual;
pub mod metrics;
pub mod operate;
pub mod record;
pub mod reload;
pub mod render;
pub mod report;
pub mod session;
pub mod setup;
pub mod show;
pub mod statistics;
pub mod status;
pub mod stream;
pub mod times;
pub mod top;
pub mod trial;
pub mod words;

use crate::io::system;
use args::{Cli, Command};
use operate::Many;
use std::fmt;
use std::io::Write;

/// Why a command did not do what was asked, and with which status it ends (`spec/04`).
#[derive(Debug)]
pub enum Failure {
    /// 1: it failed; the reason, and what to try next.
    Failed(String),
    /// 1: there is no such failure or upstream.
    NotFound(String),
    /// 1: the agent did not take the request as it was.
    Rejected(String),
    /// 2: wrong usage or configuration.
    Usage(String),
    /// 3: the agent cannot be reached.
    Unreachable(String),
    /// Any status: the answer was given, and this is its exit status.
    Said(u8),
    /// Whoever read our output has gone: nothing to say, and no fault.
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
    system::hide_memory();
    match &cli.command {
        None => status::brief(global),
        Some(Command::Run(args)) => setup::daemon(global, args),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::Record(args)) => record::run(global, args),
        Some(Command::Import(args)) => import::run(global, args),
        Some(Command::Completions(args)) => manual::completions(args),
        Some(Command::Man(args)) => manual::pages(args),
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

/// Says on standard error why a command ended as it did. With `--json` an error of the agent was
/// printed as its reply already, and the words follow here all the same.
pub fn report(failure: &Failure) {
    let text = failure.to_string();
    if !text.is_empty() {
        // Standard error may be closed; there is nowhere left to say so.
        let _ = writeln!(std::io::stderr(), "resyncd: {text}");
    }
}

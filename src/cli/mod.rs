//! Floor 7: the command line. One file a command; [`run`] chooses.
//!
//! Answers go to standard output, everything else to standard error. [`client`] speaks to the
//! agent; where there is none, reads and `record` open the store themselves ([`direct`]).

pub mod args;
pub mod client;
pub mod setup;

use args::{Cli, Command};
use std::fmt;

/// Why a command did not do what was asked, and with which status it ends (`spec/04`).
#[derive(Debug)]
pub enum Failure {
    /// 1: it failed; the reason, and what to try next.
    Failed(String),
    /// 2: wrong usage or configuration.
    Usage(String),
    /// 3: the agent cannot be reached.
    Unreachable(String),
    /// Whoever read our output has gone: nothing to say, and no fault.
    ClosedPipe,
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::Unreachable(text) => f.write_str(text),
            Self::ClosedPipe => Ok(()),
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
    match &cli.command {
        Some(Command::Run(args)) => setup::daemon(&cli.global, args),
        _ => Err(Failure::Usage("not yet".into())),
    }
}

/// Says on standard error why a command ended as it did. With `--json` an error of the agent was
/// printed as its reply already, and the words follow here all the same.
pub fn report(_global: &args::Global, failure: &Failure) {
    use std::io::Write;
    let text = failure.to_string();
    if !text.is_empty() {
        // Standard error may be closed; there is nowhere left to say so.
        let _ = writeln!(std::io::stderr(), "resyncd: {text}");
    }
}

//! Parse, run, print the error, exit code.
#![forbid(unsafe_code)]

use clap::Parser;
use resyncd::cli::{self, args::Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => cli::run(&cli),
        Err(wrong) => cli::check::wrong_usage(&wrong, std::env::args_os().skip(1)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::report(&failure);
            ExitCode::from(failure.status())
        }
    }
}

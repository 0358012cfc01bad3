//! Parse, run, print the error, exit code.
#![forbid(unsafe_code)]

use clap::Parser;
use resyncd::cli::{self, args::Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::report(&failure);
            ExitCode::from(failure.status())
        }
    }
}

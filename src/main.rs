//! Parse, run, print the error, set the exit status.
#![forbid(unsafe_code)]

use resyncd::cli::{self, command::Cli};
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let done = match Cli::read(&typed) {
        Ok(cli) => cli::run(&cli),
        Err(wrong) => cli::check::wrong_usage(&wrong, typed.into_iter().skip(1)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::report(&failure);
            ExitCode::from(failure.status())
        }
    }
}

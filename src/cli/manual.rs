//! `completions` and `man`: shell completions and manual pages, generated from the command line.

use super::Failure;
use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// The manual's section for administration commands.
const SECTION: &str = "8";

/// `completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// `man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Target directory; created if it is missing
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Prints the completions.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    let mut text = Vec::new();
    generate(args.shell, &mut command, "resyncd", &mut text);
    io::stdout().lock().write_all(&text)?;
    Ok(())
}

/// Writes `resyncd.8` and a page for each command.
pub fn pages(args: &ManArgs, mut all: Command) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("writing to {}: {error}", args.dir.display()));
    fs::create_dir_all(&args.dir).map_err(failed)?;
    all.build();
    let mut left = vec![all];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|below| !below.is_hide_set()).cloned());
        let name = command.get_display_name().unwrap_or("resyncd").to_owned();
        let mut page = Vec::new();
        Man::new(command).section(SECTION).manual("resyncd").date("").render(&mut page).map_err(failed)?;
        fs::write(args.dir.join(format!("{name}.{SECTION}")), page).map_err(failed)?;
    }
    Ok(())
}

//! `config check`, `config show`, `config example`: about the configuration, without the agent.

use super::Failure;
use super::args::{Global, RunArgs};
use super::load_config;
use super::named_files::{Reader, examine};
use super::render::sanitize;
use crate::config::effective::{Setting, settings};
use crate::config::route::hidden;
use crate::config::{Config, EXAMPLE, Origins, Overrides};
use crate::io::system::is_in_memory;
use crate::limits::Limits;
use crate::text::config as text;
use crate::text::files;
use crate::text::numbers::size;
use clap::{Args, Subcommand};
use serde_json::json;
use std::env;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

/// `config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with it and with the files that it names
    Check(CheckArgs),
    /// Print every value in force and where it came from, secrets masked
    Show(RunArgs),
    /// Print a configuration file that explains every key and sets the defaults
    Example,
}

/// `config check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Check the text alone, for a machine that does not have the files it names
    #[arg(long)]
    pub syntax: bool,
}

/// Runs the command.
pub fn run(global: &Global, command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(args) => check(global, args),
        ConfigCommand::Show(args) => show(global, args),
        ConfigCommand::Example => Ok(io::stdout().lock().write_all(EXAMPLE.as_bytes())?),
    }
}

fn check(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    let (config, origins) = load_config::config_and_origins(global, &RunArgs::default())?;
    let mut notes = load_config::ignored(global);
    for (n, earlier) in hidden(&config.routes) {
        let [place, earlier] = [n, earlier].map(|n| origins.beginning(&format!("route[{n}].")).unwrap_or("[[route]]"));
        notes.push(text::hidden_route(place, earlier));
    }
    if !args.syntax {
        let found = examine(&config, Reader::of(&config).as_ref())?;
        let mut faults: Vec<String> =
            found.faults.iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
        faults.extend(contradictions(&config));
        let faults: Vec<String> = faults.iter().map(|fault| placed(fault, &origins)).collect();
        if !faults.is_empty() {
            notes.extend(faults);
            return Err(Failure::Failed(notes.join("\n")));
        }
        if !found.passed_on.is_empty() {
            notes.push(text::passed_on(&found.passed_on.join(", ")));
        }
    }
    notes.iter().for_each(|note| super::note(&sanitize(note)));
    if !global.quiet {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text::valid())?;
        match (&config.upstreams[..], config.routes.len()) {
            ([], _) => writeln!(out, "{}", text::no_upstream())?,
            ([one], 0) => writeln!(out, "{}", text::one_upstream(&one.name, &one.url))?,
            (several, routes) => writeln!(out, "{}", text::upstreams_and_routes(several.len(), routes))?,
        }
    }
    Ok(())
}

/// A fault that begins with its key, `[limits] max_line: …`, with the file and line that set it.
fn placed(fault: &str, origins: &Origins) -> String {
    let place = || {
        let (table, rest) = fault.strip_prefix('[')?.split_once(']')?;
        let key = rest.split_once(':')?.0.trim();
        match key {
            // It is about several keys of the table.
            "" => origins.beginning(&format!("{table}.")),
            key => origins.of(&format!("{table}.{key}")),
        }
    };
    place().map_or_else(|| fault.to_owned(), |place| format!("{place}: {fault}"))
}

/// Values that are right each, and cannot work together or in their place.
pub(super) fn contradictions(config: &Config) -> Vec<String> {
    let Limits { max_line, max_payload, .. } = &config.limits;
    let mut found = Vec::new();
    if max_payload > max_line {
        let [payload, line] = [max_payload, max_line].map(|bytes| size(*bytes as u64));
        found.push(text::payload_above_line(&payload, &line));
    }
    let dir = &config.agent.state_dir;
    if dir.exists() && !dir.is_dir() {
        found.push(format!("[agent] state_dir: {}", files::not_a_directory(dir.display())));
    }
    for (key, socket) in [("socket", &config.agent.socket), ("admin_socket", &config.agent.admin_socket)] {
        let dir = socket.parent().unwrap_or(Path::new("/"));
        if dir.exists() && !dir.is_dir() {
            found.push(format!("[agent] {key}: {}", files::not_a_directory(dir.display())));
        }
    }
    // What is below the directory for temporary files is meant to be lost.
    if is_in_memory(dir) && !dir.starts_with(env::temp_dir()) {
        found.push(text::state_in_memory(dir.display()));
    }
    found
}

/// Prints a file that could be read again, except for masked values; with `--json` one line per key.
fn show(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let (config, origins) = load_config::config_and_origins(global, args)?;
    let overrides = load_config::overrides(global, args);
    let mut out = io::stdout().lock();
    if global.json {
        for Setting { path, value, origin, .. } in &settings(&config, &origins, &overrides) {
            writeln!(out, "{}", json!({"key": path, "value": value, "origin": origin}))?;
        }
        return Ok(());
    }
    Ok(out.write_all(as_file(&config, &origins, &overrides).as_bytes())?)
}

/// The text of [`show`].
pub(super) fn as_file(config: &Config, origins: &Origins, overrides: &Overrides) -> String {
    let mut file = String::new();
    let mut table = None;
    let settings = settings(config, origins, overrides);
    for Setting { header, path, key, value, origin } in &settings {
        let now = path.strip_suffix(key.as_str());
        // Writing to a String cannot fail.
        if table != Some(now) {
            let gap = if table.is_some() { "\n" } else { "" };
            let _ = writeln!(file, "{gap}{}", sanitize(header));
            table = Some(now);
        }
        let said = match value {
            Some(value) => format!("{key} = {value}"),
            None => format!("#{key} ="),
        };
        let _ = writeln!(file, "{:<60} # {}", sanitize(&said), sanitize(origin));
    }
    file
}

//! `config check`, `config show`, `config example`: about the configuration, without the agent.

use super::Failure;
use super::args::{Global, RunArgs};
use super::render::harmless;
use super::setup;
use crate::config::shown::{Setting, settings};
use crate::config::{Config, EXAMPLE, Origins, Overrides};
use clap::Subcommand;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, Write};

/// `config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with it, without starting
    Check,
    /// Print every value in force and where it came from, secrets masked
    Show(RunArgs),
    /// Print a configuration file that explains every key and sets the defaults
    Example,
}

/// See the file's head.
pub fn run(global: &Global, command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check => check(global),
        ConfigCommand::Show(args) => show(global, args),
        ConfigCommand::Example => Ok(io::stdout().lock().write_all(EXAMPLE.as_bytes())?),
    }
}

fn check(global: &Global) -> Result<(), Failure> {
    let config = setup::config(global, &RunArgs::default())?;
    if !global.quiet {
        let mut out = io::stdout().lock();
        writeln!(out, "The configuration is right.")?;
        match (&config.upstreams[..], config.routes.len()) {
            ([], _) => writeln!(out, "No upstream is configured: failures are recorded, nothing is delivered.")?,
            ([one], 0) => writeln!(out, "Everything is delivered to {}, {}.", one.name, one.url)?,
            (several, routes) => writeln!(out, "Upstreams: {}. Routes: {routes}.", several.len())?,
        }
    }
    Ok(())
}

/// As a file that could be read again, but for what is masked; with `--json` one line a key.
fn show(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let (config, origins) = setup::config_and_origins(global, args)?;
    let overrides = setup::overrides(global, args);
    let mut out = io::stdout().lock();
    if global.json {
        for Setting { path, value, origin, .. } in &settings(&config, &origins, &overrides) {
            writeln!(out, "{}", json!({"key": path, "value": value, "origin": origin}))?;
        }
        return Ok(());
    }
    Ok(out.write_all(as_file(&config, &origins, &overrides).as_bytes())?)
}

/// See [`show`].
pub(super) fn as_file(config: &Config, origins: &Origins, overrides: &Overrides) -> String {
    let mut file = String::new();
    let mut table = None;
    let settings = settings(config, origins, overrides);
    for Setting { header, path, key, value, origin } in &settings {
        let now = path.strip_suffix(key.as_str());
        // Writing to a String cannot fail.
        if table != Some(now) {
            let gap = if table.is_some() { "\n" } else { "" };
            let _ = writeln!(file, "{gap}{}", harmless(header));
            table = Some(now);
        }
        let said = match value {
            Some(value) => format!("{key} = {value}"),
            None => format!("#{key} ="),
        };
        let _ = writeln!(file, "{:<60} # {}", harmless(&said), harmless(origin));
    }
    file
}

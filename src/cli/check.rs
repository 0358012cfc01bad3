//! `check`: the agent's health for a monitoring system, as a Nagios plugin: one line with performance
//! data, and 0, 1, 2 or 3 (ok, warning, critical, unknown). `--closing` asks for the cashier instead,
//! whether the till may be closed.
//!
//! Whatever keeps it from knowing is 3, with the reason on the same line: wrong usage, a wrong
//! configuration, an agent that is not there or does not answer. It never looks into the store
//! itself, because a store whose agent is dead is not well.

use super::args::{Cli, Global};
use super::client::{Client, Door};
use super::render::harmless;
use super::session::Session;
use super::{Failure, closing};
use crate::config::value;
use crate::io::clock::wall;
use crate::limits::{CHECK_PATIENCE, Limits};
use crate::moment::WallTime;
use clap::{Args, CommandFactory};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

/// `check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Is it safe to close the till? Sends what waits first
    #[arg(long)]
    pub closing: bool,
    /// With --closing: watch for so long until all is sent
    #[arg(long, value_name = "TIME", requires = "closing", value_parser = value::duration, default_value = "2s")]
    pub wait: Duration,
}

/// The plugin's exit statuses.
pub(super) const OK: u8 = 0;
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;
const UNKNOWN: u8 = 3;

/// Runs the command.
pub fn run(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    let status = Session::new(global)
        .and_then(|session| if args.closing { closing::run(&session, args.wait) } else { health(&session) });
    match status {
        Ok(OK) => Ok(()),
        Ok(status) => Err(Failure::Said(status)),
        Err(Failure::ClosedPipe) => Err(Failure::ClosedPipe),
        Err(failure) => unknown(&failure.to_string(), global.json),
    }
}

fn unknown(why: &str, as_json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{}", json!({"ok": false, "error": {"code": "unknown", "message": why}}))?;
    } else {
        writeln!(out, "RESYNCD UNKNOWN - {}", plain(why))?;
    }
    Err(Failure::Said(UNKNOWN))
}

/// A wrong command line. For `check` that is unknown too: 2 would say that something is critical.
/// What clap has to say otherwise goes where clap puts it, with its status.
pub fn wrong_usage(error: &clap::Error, words: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let words = words.map(|word| word.to_string_lossy().into_owned());
    if error.use_stderr() && is_check(words) {
        let text = error.to_string();
        return unknown(text.lines().next().unwrap_or_default().trim_start_matches("error: "), false);
    }
    error.print()?;
    match error.exit_code() {
        0 => Ok(()),
        status => Err(Failure::Said(u8::try_from(status).unwrap_or(2))),
    }
}

/// Is `check` the command? Words that belong to an option before it are none.
fn is_check(mut words: impl Iterator<Item = String>) -> bool {
    let options = Cli::command();
    let takes_value = |word: &str| {
        let option = options.get_arguments().find(|arg| word.strip_prefix("--") == arg.get_long());
        option.is_some_and(|arg| arg.get_action().takes_values())
    };
    while let Some(word) = words.next() {
        if takes_value(&word) {
            words.next();
        } else if !word.starts_with('-') {
            return word == "check";
        }
    }
    false
}

/// A connection to whichever socket this user may use, and whether it is the admin's.
pub(super) fn connect(session: &Session) -> Result<(Client, Door), Failure> {
    let agent = &session.config.agent;
    let (client, door) = match Client::connect(&agent.admin_socket, Door::Admin) {
        Ok(client) => (client, Door::Admin),
        Err(_) => (Client::connect(&agent.socket, Door::App)?, Door::App),
    };
    client.patience(CHECK_PATIENCE)?;
    Ok((client, door))
}

/// A request's reply, which has to be a good one.
pub(super) fn call(client: &mut Client, request: &Value) -> Result<Value, Failure> {
    let line = client.call(request)?;
    let reply: Value = serde_json::from_slice(&line)
        .map_err(|error| Failure::Failed(format!("the agent's answer is no JSON: {error}")))?;
    if reply["ok"] == true {
        return Ok(reply);
    }
    Err(Failure::Failed(harmless(reply["error"]["message"].as_str().unwrap_or("it gave no reason"))))
}

fn health(session: &Session) -> Result<u8, Failure> {
    let (mut client, _) = connect(session)?;
    let health = call(&mut client, &json!({"op": "health"}))?;
    let (status, word) = match health["state"].as_str() {
        Some("ok") => (OK, "OK"),
        Some("degraded") => (WARNING, "WARNING"),
        Some("critical") => (CRITICAL, "CRITICAL"),
        other => return Err(Failure::Failed(format!("the agent's state {other:?} means nothing to this version"))),
    };
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{health}")?;
    } else {
        let figures = figures(&health, &session.config.limits, wall()).join(" ");
        writeln!(out, "RESYNCD {word} - {} | {figures}", in_words(&health))?;
    }
    Ok(status)
}

fn in_words(health: &Value) -> String {
    let reasons: Vec<&str> = health["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (&reasons[..], health["pending"].as_u64().unwrap_or_default()) {
        ([], 0) => "all sent".to_owned(),
        ([], pending) => format!("{pending} waiting, on their way"),
        (reasons, pending) => format!("{}; {pending} waiting", plain(&reasons.join("; "))),
    }
}

/// On one line, and without the bar behind which the performance data begins.
fn plain(text: &str) -> String {
    harmless(text).replace('|', "/")
}

/// `'label'=value[UOM];warn;crit;min;max`, the thresholds where health has them too.
fn figures(health: &Value, limits: &Limits, now: WallTime) -> Vec<String> {
    /// From here on a clock is called wrong (`spec/03`, `clock_wrong`).
    const WRONG_CLOCK_S: u64 = 300;
    let number = |name: &str| health[name].as_u64();
    let counted = |name: &str, thresholds: &str| number(name).map(|n| format!("'{name}'={n};{thresholds};0"));
    let oldest = health["oldest_created_at"].as_str().and_then(WallTime::parse);
    let age = oldest.map_or(0, |at| now.since(at).as_secs());
    let (least, most) = (limits.min_free_disk, limits.max_database);
    [
        counted("pending", ";"),
        counted("held", "0;"),
        counted("critical", ";0"),
        Some(format!("'oldest_age'={age}s;;;0")),
        number("database_bytes").map(|bytes| format!("'database'={bytes}B;;;0;{most}")),
        number("disk_free_bytes").map(|bytes| format!("'disk_free'={bytes}B;{}:;{least}:;0", least.saturating_mul(2))),
        health["clock_skew_ms"].as_i64().map(|ms| {
            let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
            format!("'clock_skew'={sign}{}.{:03}s;-{WRONG_CLOCK_S}:{WRONG_CLOCK_S};;", ms / 1000, ms % 1000)
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_found_behind_options_and_their_values() {
        let is = |words: &str| is_check(words.split(' ').map(str::to_owned));
        assert!(is("check --what") && is("--config a.toml -q --json check"));
        assert!(!is("record --type check") && !is("--config check status") && !is("--json"));
    }

    #[test]
    fn performance_data_has_labels_units_thresholds_and_bounds() {
        let health = json!({"pending": 3, "held": 0, "critical": 1, "oldest_created_at": "2026-11-24T06:12:34.123Z",
            "database_bytes": 4096, "disk_free_bytes": 10, "clock_skew_ms": -1500});
        let now = WallTime::parse("2026-11-24T06:13:35.000Z").expect("a time");
        let limits = Limits { min_free_disk: 5, max_database: 9000, ..Limits::default() };
        assert_eq!(
            figures(&health, &limits, now).join(" "),
            "'pending'=3;;;0 'held'=0;0;;0 'critical'=1;;0;0 'oldest_age'=60s;;;0 'database'=4096B;;;0;9000 \
             'disk_free'=10B;10:;5:;0 'clock_skew'=-1.500s;-300:300;;"
        );
    }

    #[test]
    fn a_reason_cannot_forge_performance_data_or_a_second_line() {
        let health = json!({"reasons": ["a|'x'=1\nb\u{1b}[2J"], "pending": 0});
        assert_eq!(in_words(&health), "a/'x'=1 b\\u{1b}[2J; 0 waiting");
    }
}

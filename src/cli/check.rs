//! `check`: the agent's health for a monitoring system, as a Nagios plugin: one line with performance data, and 0, 1, 2
//! or 3 (ok, warning, critical, unknown). `--closing` is for the cashier and checks whether the till may be closed.
//!
//! If the health is unknown, the status is 3, with the reason on the same line: wrong usage or configuration, an agent
//! that is not running or does not answer. It never reads the store itself, because a store whose agent is dead is not
//! healthy.

use super::args::Global;
use super::check_agent::{OK, call, connect, removed_in};
use super::render::sanitize;
use super::session::Session;
use super::{Failure, check_closing, words};
use crate::config::value;
use crate::io::clock::wall;
use crate::limits::Limits;
use crate::moment::WallTime;
use crate::text::check as text;
use crate::text::phrases::of_agent;
use clap::Args;
use clap::error::ErrorKind;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

/// `check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Is it safe to close the till? Sends what waits first
    #[arg(long)]
    pub closing: bool,
    /// With --closing: wait up to this long until all is sent
    #[arg(long, value_name = "TIME", requires = "closing", value_parser = value::duration, default_value = "2s")]
    pub wait: Duration,
}

/// The plugin's exit statuses.
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;
const UNKNOWN: u8 = 3;

/// Runs the command.
pub fn run(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    let status = Session::new(global)
        .and_then(|session| if args.closing { check_closing::run(&session, args.wait) } else { health(&session) });
    match status {
        Ok(OK) => Ok(()),
        Ok(status) => Err(Failure::Said(status)),
        Err(Failure::ClosedPipe) => Err(Failure::ClosedPipe),
        Err(failure) => unknown(&failure.to_string(), global.json),
    }
}

/// Says that the health is not known, and why.
pub(super) fn unknown(why: &str, as_json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{}", json!({"ok": false, "error": {"code": "unknown", "message": why}}))?;
    } else {
        writeln!(out, "RESYNCD UNKNOWN - {}", plain(&of_agent(why)))?;
    }
    Err(Failure::Said(UNKNOWN))
}

/// Handles a wrong command line. For `check` this means unknown, because 2 would mean critical. Otherwise clap prints
/// its message and sets the status.
pub fn wrong_usage(error: &clap::Error, words: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let typed: Vec<OsString> = words.collect();
    if error.use_stderr() && is_check(typed.iter().map(|word| word.to_string_lossy().into_owned())) {
        let message = error.to_string();
        return unknown(message.lines().next().unwrap_or_default().trim_start_matches("error: "), false);
    }
    let unreadable = typed.iter().position(|word| word.to_str().is_none());
    let said = match (error.kind(), unreadable) {
        (ErrorKind::InvalidUtf8, Some(at)) => Some(not_utf8(&typed, at)),
        _ => None,
    };
    let whole = said.clone().unwrap_or_else(|| error.to_string());
    if error.use_stderr() && typed.iter().any(|word| word == "--json") {
        let message = whole.trim_start_matches("error: ").lines().next().unwrap_or_default();
        writeln!(io::stdout(), "{}", json!({"ok": false, "error": {"code": "bad_request", "message": message}}))?;
    }
    match said {
        Some(said) => writeln!(io::stderr(), "resyncd: {said}")?,
        None => error.print()?,
    }
    match error.exit_code() {
        0 => Ok(()),
        status => Err(Failure::Said(u8::try_from(status).unwrap_or(2))),
    }
}

/// Names, ids and reasons must be UTF-8; only an error and a file name may contain other bytes.
fn not_utf8(typed: &[OsString], at: usize) -> String {
    let shown = typed[at].to_string_lossy();
    let option = at.checked_sub(1).and_then(|before| typed[before].to_str()).filter(|word| word.starts_with("--"));
    let what = match (option, shown.split_once('=')) {
        (_, Some((option, value))) if option.starts_with("--") => format!("the value {value:?} of {option}"),
        (Some(option), _) => format!("the value {shown:?} of {option}"),
        _ => format!("{shown:?}"),
    };
    format!(
        "{what} is not UTF-8. Set the program or the terminal that calls resyncd to UTF-8; only --error may have other bytes"
    )
}

/// Returns whether `check` is the command. Values of options before it do not count.
fn is_check(mut words: impl Iterator<Item = String>) -> bool {
    let options = Global::augment_args(clap::Command::new("resyncd"));
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

fn health(session: &Session) -> Result<u8, Failure> {
    let (mut client, _) = connect(session)?;
    let health = call(&mut client, &json!({"op": "health"}))?;
    let (status, word) = match health["state"].as_str() {
        Some("ok") => (OK, "OK"),
        Some("degraded") => (WARNING, "WARNING"),
        Some("critical") => (CRITICAL, "CRITICAL"),
        other => return Err(Failure::Failed(text::unknown_state(other.unwrap_or_default()))),
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
    let reasons: Vec<Cow<str>> =
        health["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).map(of_agent).collect();
    match (&reasons[..], health["pending"].as_u64().unwrap_or_default()) {
        ([], 0) => match removed_in(health) {
            None => text::all_sent().to_owned(),
            Some(removed) => text::all_sent_but(&words::archived(&removed)),
        },
        ([], pending) => text::on_their_way(pending),
        (reasons, pending) => text::reasons(&plain(&reasons.join("; ")), pending),
    }
}

/// Puts the text on one line, without the bar that would start the performance data.
fn plain(text: &str) -> String {
    sanitize(text).replace('|', "/")
}

/// `'label'=value[UOM];warn;crit;min;max`, with thresholds where health has them too.
fn figures(health: &Value, limits: &Limits, now: WallTime) -> Vec<String> {
    /// Seconds from which a clock counts as wrong.
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

//! `status`, and the three lines of the bare command.

use super::args::Global;
use super::client::{Client, Door};
use super::render::{Tone, ago, clock, count, harmless, span, text, time};
use super::session::Session;
use super::{Failure, direct, words};
use crate::io::clock::wall;
use crate::limits::bytes;
use crate::moment::WallTime;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::time::Duration;

/// Above this the alert `clock_wrong` fires.
const WRONG_CLOCK_MS: u64 = 5 * 60 * 1000;

/// What both forms tell.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The `health` reply.
    pub(super) health: Value,
    /// The newest failure that needs a person, where this user may see it.
    pub(super) critical: Option<Value>,
    /// The agent has said so itself; else it was read from its store.
    pub(super) running: bool,
}

/// `status`
pub fn screen(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let standing = ask(&session)?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", standing.health)?;
        return Ok(());
    }
    Ok(write_screen(&session, &mut out, &standing)?)
}

/// The bare command.
pub fn brief(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let standing = ask(&session)?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", standing.health)?;
        return Ok(());
    }
    let (tone, line) = verdict(&standing, wall());
    writeln!(out, "{}", session.screen.paint(tone, &line))?;
    for line in upstreams(&standing, wall()) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", next(&standing))?;
    Ok(())
}

/// From whichever side this user may ask.
fn ask(session: &Session) -> Result<Standing, Failure> {
    let health = json!({"op": "health"});
    let critical = json!({"op": "list", "status": "critical", "order": "desc", "limit": 1});
    let first = |reply: &Value| reply["failures"].get(0).cloned();
    let agent = &session.config.agent;
    if let Ok(mut client) = Client::connect(&agent.admin_socket, Door::Admin) {
        let (health, critical) = (parse(&client.call(&health)?)?, parse(&client.call(&critical)?)?);
        return Ok(Standing { health, critical: first(&critical), running: true });
    }
    match Client::connect(&agent.socket, Door::App) {
        Ok(mut client) => Ok(Standing { health: parse(&client.call(&health)?)?, critical: None, running: true }),
        Err(_) if direct::exists(&session.config) => {
            let ask = |request: &Value| -> Result<Value, Failure> {
                let line = direct::ask(&session.config, request.to_string().as_bytes())?;
                parse(&line.unwrap_or_default())
            };
            Ok(Standing { health: ask(&health)?, critical: first(&ask(&critical)?), running: false })
        }
        Err(no) => Err(no.into()),
    }
}

fn parse(line: &[u8]) -> Result<Value, Failure> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| Failure::Failed(format!("the agent's answer is no JSON: {error}")))?;
    if value["ok"] == true {
        return Ok(value);
    }
    Err(Failure::Failed(harmless(value["error"]["message"].as_str().unwrap_or("it gave no reason"))))
}

pub(super) fn number(health: &Value, name: &str) -> u64 {
    health[name].as_u64().unwrap_or_default()
}

/// The first line: what it comes to.
pub(super) fn verdict(standing: &Standing, now: WallTime) -> (Tone, String) {
    let health = &standing.health;
    let [pending, critical, held] = ["pending", "critical", "held"].map(|name| number(health, name));
    let oldest = time(health, "oldest_created_at").map(|at| format!(" (oldest {})", span(now.since(at))));
    let oldest = oldest.unwrap_or_default();
    let held = if held > 0 { format!(", {} held", count(held)) } else { String::new() };
    let last = time(health, "last_delivery_at");
    let losses = match number(health, "lost") {
        0 => "Nothing is lost.".to_owned(),
        number => format!("{} LOST with a damaged database.", count(number)),
    };
    match (critical, pending) {
        (0, 0) if held.is_empty() && number(health, "lost") == 0 => {
            let last = last.map_or_else(
                || "Nothing was sent yet.".to_owned(),
                |at| format!("Last delivery {} ago.", span(now.since(at))),
            );
            (Tone::Good, format!("ALL SENT. {last}"))
        }
        (0, waiting) => (Tone::Warning, format!("{} WAITING{held}{oldest}. {losses}", count(waiting))),
        (1, waiting) => (Tone::Bad, format!("1 NEEDS A PERSON, {} waiting{held}{oldest}. {losses}", count(waiting))),
        (n, waiting) => {
            (Tone::Bad, format!("{} NEED A PERSON, {} waiting{held}{oldest}. {losses}", count(n), count(waiting)))
        }
    }
}

/// A line for each upstream.
pub(super) fn upstreams(standing: &Standing, now: WallTime) -> Vec<String> {
    if !standing.running {
        return vec![words::NOT_RUNNING.to_owned()];
    }
    let all = standing.health["upstreams"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return vec![words::NO_UPSTREAM.to_owned()];
    }
    let anything = number(&standing.health, "pending") > 0;
    all.iter().map(|one| upstream(one, anything, now)).collect()
}

/// An upstream's line: how it stands, since when, why, and when it is tried next.
pub(super) fn upstream(upstream: &Value, anything_waits: bool, now: WallTime) -> String {
    let name = harmless(upstream["name"].as_str().unwrap_or_default());
    // A pause that nothing waits for is nobody's concern.
    let state = match upstream["state"].as_str().unwrap_or_default() {
        "waiting" if !anything_waits => "online",
        state => state,
    };
    let since = time(upstream, "since").map_or_else(String::new, |at| format!(" since {}", clock(at, now)));
    let reason = upstream["reason"].as_str().map_or_else(String::new, |why| format!(" ({})", harmless(why)));
    let latency = upstream["latency_ms"].as_u64().map_or_else(String::new, |ms| format!(", {ms} ms"));
    let next = time(upstream, "next_try_at")
        .filter(|at| *at > now)
        .map(|at| format!(" Next try in {}.", span(at.since(now) + Duration::from_millis(999))));
    let next = next.unwrap_or_default();
    let says = words::upstream(state);
    match state {
        "online" => format!("{name}: {says}{latency}."),
        "offline" | "paused" | "blocked" | "failing" => format!("{name}: {says}{since}{reason}.{next}"),
        _ => format!("{name}: {says}{reason}.{next}"),
    }
}

/// The last line: what to do.
pub(super) fn next(standing: &Standing) -> String {
    if !standing.running {
        return "Next: systemctl start resyncd, or: resyncd run".to_owned();
    }
    let critical = number(&standing.health, "critical");
    let reason = standing.health["reasons"].get(0).and_then(Value::as_str).map(harmless);
    if let Some(failure) = &standing.critical {
        let class = failure["error_class"].as_str().map_or_else(String::new, |class| format!(", {}", harmless(class)));
        let error = text(failure, "error");
        let error = error.strip_prefix("HTTP ").unwrap_or(&error);
        return format!(
            "Next: resyncd show {}   {} {}{class}: {error}",
            failure["seq"],
            text(failure, "entity_type"),
            text(failure, "entity_id")
        );
    }
    if critical == 0 && number(&standing.health, "lost") > 0 {
        return "Next: compare with the tills' own records; the log names the quarantine (event=quarantined)"
            .to_owned();
    }
    let is = |state: &'static str| move |upstream: &&Value| upstream["state"] == state;
    let name = |upstream: &Value| harmless(upstream["name"].as_str().unwrap_or_default());
    let upstreams = standing.health["upstreams"].as_array().map(Vec::as_slice).unwrap_or_default();
    if critical > 0 {
        "Next: sudo resyncd critical".to_owned()
    } else if let Some(upstream) = upstreams.iter().find(is("paused")) {
        format!("Next: resyncd resume {}", name(upstream))
    } else if let Some(upstream) = upstreams.iter().find(is("blocked")) {
        format!(
            "Next: put right why it lets nothing in (resyncd doctor looks), then: resyncd resume {}",
            name(upstream)
        )
    } else if let ("critical", Some(why)) = (standing.health["state"].as_str().unwrap_or_default(), reason) {
        format!("Next: resyncd alerts   {why}")
    } else if standing.health["clock_skew_ms"].as_i64().is_some_and(|ms| ms.unsigned_abs() > WRONG_CLOCK_MS) {
        format!("Next: set the clock, it is {}", skew(standing.health["clock_skew_ms"].as_i64()))
    } else if upstreams.is_empty() {
        "Next: configure an upstream, or: resyncd run --upstream https://…".to_owned()
    } else if number(&standing.health, "held") > 0 {
        "Next: resyncd list --status held; when they may go: resyncd release NR".to_owned()
    } else {
        "Nothing to do.".to_owned()
    }
}

fn write_screen(session: &Session, out: &mut impl Write, standing: &Standing) -> io::Result<()> {
    let (health, now) = (&standing.health, wall());
    let (tone, line) = verdict(standing, now);
    writeln!(out, "{}", session.screen.paint(tone, &line))?;
    writeln!(out)?;
    for line in upstreams(standing, now) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    for name in ["pending", "critical", "held"] {
        writeln!(out, "{name:<15}{}", count(number(health, name)))?;
    }
    let when = |name: &str, never: &str| time(health, name).map_or_else(|| never.to_owned(), |at| ago(at, now));
    writeln!(out, "{:<15}{}", "oldest", when("oldest_created_at", "nothing is here"))?;
    writeln!(out, "{:<15}{}", "last delivery", when("last_delivery_at", "none yet"))?;
    let free = health["disk_free_bytes"].as_u64().map_or_else(|| "unknown".to_owned(), bytes);
    writeln!(out, "{:<15}{}, disk free {free}", "database", bytes(number(health, "database_bytes")))?;
    writeln!(out, "{:<15}{}", "clock", skew(health["clock_skew_ms"].as_i64()))?;
    let reasons: Vec<String> =
        health["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).map(harmless).collect();
    let state = health["state"].as_str().unwrap_or_default();
    writeln!(out, "{:<15}{state}{}{}", "health", if reasons.is_empty() { "" } else { ": " }, reasons.join("; "))?;
    writeln!(out)?;
    writeln!(out, "{}", next(standing))
}

/// What the upstream's clock says more than ours; its dates have whole seconds.
pub(super) fn skew(ms: Option<i64>) -> String {
    match ms {
        None => "not compared yet".to_owned(),
        Some(-2000..=2000) => "right, by the upstream's".to_owned(),
        Some(ahead @ 1..) => format!("{} behind the upstream's", span(Duration::from_millis(ahead.unsigned_abs()))),
        Some(behind) => format!("{} ahead of the upstream's", span(Duration::from_millis(behind.unsigned_abs()))),
    }
}

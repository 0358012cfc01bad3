//! `status`, and the three lines of the bare command.

use super::args::Global;
use super::client::{Client, Door};
use super::render::{Tone, ago, clock, count, harmless, span};
use super::session::Session;
use super::{Failure, direct, words};
use crate::figures::snapshot::{Part, Snapshot, Upstream};
use crate::io::clock::wall;
use crate::limits::bytes;
use crate::moment::WallTime;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::time::Duration;

/// Above this the alert `clock_wrong` fires.
const WRONG_CLOCK_MS: u64 = 5 * 60 * 1000;

/// `status`
pub fn screen(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let (reply, snapshot) = ask(&session)?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{reply}")?;
        return Ok(());
    }
    Ok(write_screen(&session, &mut out, &snapshot)?)
}

/// The bare command.
pub fn brief(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let (reply, snapshot) = ask(&session)?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{reply}")?;
        return Ok(());
    }
    let (tone, line) = verdict(&snapshot, wall());
    writeln!(out, "{}", session.screen.paint(tone, &line))?;
    for line in upstreams(&snapshot, wall()) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", next(&snapshot))?;
    Ok(())
}

/// From whichever side this user may ask: the `health` reply as it came, and what both forms tell. The
/// newest failure that needs a person is in it where this user may see it.
fn ask(session: &Session) -> Result<(Value, Snapshot), Failure> {
    let health = Part::Health.question(wall());
    let critical = json!({"op": "list", "status": "critical", "order": "desc", "limit": 1});
    let read = |line: Vec<u8>| Session::judge(line, false).map(|reply| reply.value);
    let agent = &session.config.agent;
    let mut snapshot = Snapshot { running: true, ..Snapshot::default() };
    let (health, critical) = if let Ok(mut client) = Client::connect(&agent.admin_socket, Door::Admin) {
        (read(client.call(&health)?)?, Some(read(client.call(&critical)?)?))
    } else {
        match Client::connect(&agent.socket, Door::App) {
            Ok(mut client) => (read(client.call(&health)?)?, None),
            Err(_) if direct::exists(&session.config) => {
                snapshot.running = false;
                let ask = |request: &Value| {
                    let line = direct::ask(&session.config, request.to_string().as_bytes())?;
                    read(line.unwrap_or_default())
                };
                (ask(&health)?, Some(ask(&critical)?))
            }
            Err(no) => return Err(no.into()),
        }
    };
    snapshot.take(Part::Health, health.clone()).map_err(Failure::Failed)?;
    if let Some(critical) = critical {
        snapshot.take(Part::Critical, critical).map_err(Failure::Failed)?;
    }
    Ok((health, snapshot))
}

/// The first line: what it comes to.
pub(super) fn verdict(snapshot: &Snapshot, now: WallTime) -> (Tone, String) {
    let health = &snapshot.health;
    let oldest = health.oldest_created_at.map(|at| format!(" (oldest {})", span(now.since(at)))).unwrap_or_default();
    let held = if health.live.held > 0 { format!(", {} held", count(health.live.held)) } else { String::new() };
    let losses = match health.lost {
        0 => "Nothing is lost.".to_owned(),
        number => format!("{} LOST with a damaged database.", count(number)),
    };
    match (health.live.critical, health.live.pending) {
        (0, 0) if held.is_empty() && health.lost == 0 => {
            let last = health.last_delivery_at.map_or_else(
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
pub(super) fn upstreams(snapshot: &Snapshot, now: WallTime) -> Vec<String> {
    let health = &snapshot.health;
    if !snapshot.running {
        return vec![words::NOT_RUNNING.to_owned()];
    }
    if health.upstreams.is_empty() {
        return vec![words::NO_UPSTREAM.to_owned()];
    }
    health.upstreams.iter().map(|one| upstream(one, health.live.pending > 0, now)).collect()
}

/// An upstream's line: how it stands, since when, why, and when it is tried next.
pub(super) fn upstream(upstream: &Upstream, anything_waits: bool, now: WallTime) -> String {
    let name = harmless(&upstream.name);
    // A pause that nothing waits for is nobody's concern.
    let state = match upstream.state.as_str() {
        "waiting" if !anything_waits => "online",
        state => state,
    };
    let since = upstream.since.map_or_else(String::new, |at| format!(" since {}", clock(at, now)));
    let reason = upstream.reason.as_ref().map_or_else(String::new, |why| format!(" ({})", harmless(why)));
    let latency = upstream.latency_ms.map_or_else(String::new, |ms| format!(", {ms} ms"));
    let next = upstream
        .next_try_at
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
pub(super) fn next(snapshot: &Snapshot) -> String {
    let health = &snapshot.health;
    if !snapshot.running {
        return "Next: systemctl start resyncd, or: resyncd run".to_owned();
    }
    if let Some(failure) = snapshot.critical.failures.first() {
        let class = failure.error_class.as_ref().map_or_else(String::new, |class| format!(", {}", harmless(class)));
        let error = harmless(&failure.error);
        let error = error.strip_prefix("HTTP ").unwrap_or(&error);
        let [kind, entity] = [&failure.entity_type, &failure.entity_id].map(|text| harmless(text));
        return format!("Next: resyncd show {}   {kind} {entity}{class}: {error}", failure.seq);
    }
    if health.live.critical == 0 && health.lost > 0 {
        return "Next: compare with the tills' own records; the log names the quarantine (event=quarantined)"
            .to_owned();
    }
    let first = |state: &str| health.upstreams.iter().find(|one| one.state == state).map(|one| harmless(&one.name));
    if health.live.critical > 0 {
        "Next: sudo resyncd critical".to_owned()
    } else if let Some(name) = first("paused") {
        format!("Next: resyncd resume {name}")
    } else if let Some(name) = first("blocked") {
        format!("Next: put right why it lets nothing in (resyncd doctor looks), then: resyncd resume {name}")
    } else if let ("critical", Some(why)) = (health.state.as_str(), health.reasons.first()) {
        format!("Next: resyncd alerts   {}", harmless(why))
    } else if health.clock_skew_ms.is_some_and(|ms| ms.unsigned_abs() > WRONG_CLOCK_MS) {
        format!("Next: set the clock, it is {}", skew(health.clock_skew_ms))
    } else if health.upstreams.is_empty() {
        "Next: configure an upstream, or: resyncd run --upstream https://…".to_owned()
    } else if health.live.held > 0 {
        "Next: resyncd list --status held; when they may go: resyncd release NR".to_owned()
    } else {
        "Nothing to do.".to_owned()
    }
}

fn write_screen(session: &Session, out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    let (health, now) = (&snapshot.health, wall());
    let (tone, line) = verdict(snapshot, now);
    writeln!(out, "{}", session.screen.paint(tone, &line))?;
    writeln!(out)?;
    for line in upstreams(snapshot, now) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    for (name, number) in health.live.named() {
        writeln!(out, "{name:<15}{}", count(number))?;
    }
    let when = |at: Option<WallTime>, never: &str| at.map_or_else(|| never.to_owned(), |at| ago(at, now));
    writeln!(out, "{:<15}{}", "oldest", when(health.oldest_created_at, "nothing is here"))?;
    writeln!(out, "{:<15}{}", "last delivery", when(health.last_delivery_at, "none yet"))?;
    let free = health.disk_free_bytes.map_or_else(|| "unknown".to_owned(), bytes);
    writeln!(out, "{:<15}{}, disk free {free}", "database", bytes(health.database_bytes))?;
    writeln!(out, "{:<15}{}", "clock", skew(health.clock_skew_ms))?;
    let reasons: Vec<String> = health.reasons.iter().map(|reason| harmless(reason)).collect();
    let colon = if reasons.is_empty() { "" } else { ": " };
    writeln!(out, "{:<15}{}{colon}{}", "health", health.state, reasons.join("; "))?;
    writeln!(out)?;
    writeln!(out, "{}", next(snapshot))
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

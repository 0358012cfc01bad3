//! `status`, and the three lines of the bare command.

use super::args::Global;
use super::client::{Client, NoAgent};
use super::render::{Tone, ago, clock, count, sanitize, span, spoken, spoken_by_agent};
use super::session::Session;
use super::{Failure, advice, deeds, offline, unreachable, words};
use crate::figures::snapshot::{Part, Snapshot, Upstream};
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::policy::alert::Kind;
use crate::text::Count;
use crate::text::moments;
use crate::text::numbers::size;
use crate::text::status as text;
use crate::wire::request::Socket;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::time::Duration;

/// Columns of the label before a value.
const LABEL: usize = 15;
/// The alert `clock_wrong` starts above this difference.
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
    let screen = session.screen;
    let (tone, line) = verdict(&snapshot, wall());
    writeln!(out, "{}", screen.paint(tone, &screen.folded(&line, 0, 2)))?;
    for line in upstreams(&snapshot, wall()) {
        writeln!(out, "{}", screen.folded(&line, 0, 2))?;
    }
    writeln!(out, "{}", screen.folded(&next(&snapshot, wall()), 0, 2))?;
    Ok(())
}

/// Puts a question about the audit; an application's socket answers none.
type Audit<'a> = Box<dyn FnMut(&Value) -> Option<Value> + 'a>;

/// Queries the socket that this user may use: the unchanged `health` reply, and the data for both formats. It includes
/// the oldest failure that needs a person, if this user may see it.
fn ask(session: &Session) -> Result<(Value, Snapshot), Failure> {
    let health = Part::Health.question(wall());
    let critical = json!({"op": "list", "status": "critical", "limit": 1});
    let read = |line: Vec<u8>| Session::judge(line, false).map(|reply| reply.value);
    let agent = &session.config.agent;
    let mut snapshot = Snapshot { running: true, ..Snapshot::default() };
    let connected = match Client::connect(&agent.admin_socket, Socket::Admin) {
        Ok(client) => Ok((client, Socket::Admin)),
        // Waiting for one socket that does not answer is enough.
        Err(silent @ NoAgent::Silent(_)) => Err(silent),
        Err(_) => Client::connect(&agent.socket, Socket::App).map(|client| (client, Socket::App)),
    };
    let mut audit: Audit = Box::new(|_| None);
    let (health, critical) = match connected {
        Ok((mut client, Socket::Admin)) => {
            let told = (read(client.call(&health)?)?, Some(read(client.call(&critical)?)?));
            audit = Box::new(move |request| client.call(request).ok().and_then(|line| read(line).ok()));
            told
        }
        Ok((mut client, Socket::App)) => (read(client.call(&health)?)?, None),
        Err(no) if offline::exists(&session.config) => {
            let silent = matches!(no, NoAgent::Silent(_));
            snapshot.absence = unreachable::absence(&session.config, silent);
            if let NoAgent::Silent(told) = no {
                super::note(&told);
            }
            snapshot.running = false;
            let ask = |request: &Value| {
                let line = offline::ask(&session.config, request.to_string().as_bytes())?;
                read(line.unwrap_or_default())
            };
            let told = (ask(&health)?, Some(ask(&critical)?));
            audit = Box::new(move |request| ask(request).ok());
            told
        }
        Err(no) => return Err(no.into()),
    };
    snapshot.take(Part::Health, health.clone()).map_err(Failure::Failed)?;
    deeds::name_pauses(&mut snapshot.health, &mut audit);
    if let Some(critical) = critical {
        snapshot.take(Part::Critical, critical).map_err(Failure::Failed)?;
    }
    Ok((health, snapshot))
}

/// The first line: the verdict.
pub(super) fn verdict(snapshot: &Snapshot, now: WallTime) -> (Tone, String) {
    let (tone, line) = state_of_queue(snapshot, now);
    match &snapshot.health.refusing {
        Some(why) => (Tone::Bad, text::not_recording(&sanitize(why)) + " " + &line),
        None => (tone, line),
    }
}

fn state_of_queue(snapshot: &Snapshot, now: WallTime) -> (Tone, String) {
    let health = &snapshot.health;
    let oldest = health.oldest_created_at.map(|at| text::oldest(&span(now.since(at)))).unwrap_or_default();
    let held = if health.live.held > 0 { text::held(health.live.held) } else { String::new() };
    let losses = if health.lost == 0 { text::nothing_is_lost().to_owned() } else { text::lost(health.lost) };
    match (health.live.critical, health.live.pending) {
        (0, 0) if held.is_empty() && health.lost == 0 => {
            let last = health
                .last_delivery_at
                .map_or_else(|| text::nothing_was_sent().to_owned(), |at| text::last_delivery(&span(now.since(at))));
            match &health.removed {
                None if snapshot.running && health.upstreams.is_empty() => {
                    (Tone::Warning, text::not_sending().to_owned())
                }
                None if health.last_delivery_at.is_none() => (Tone::Good, text::nothing_to_send().to_owned()),
                None => (Tone::Good, text::all_sent(&last)),
                Some(removed) => (Tone::Warning, text::all_sent_but(&words::archived(removed), &last)),
            }
        }
        (0, waiting) => (Tone::Warning, text::waiting(waiting, &held, &oldest, &losses)),
        (critical, waiting) => (Tone::Bad, text::need_a_person(critical, Count(waiting), &held, &oldest, &losses)),
    }
}

/// A line for each upstream.
pub(super) fn upstreams(snapshot: &Snapshot, now: WallTime) -> Vec<String> {
    let health = &snapshot.health;
    if !snapshot.running {
        let absence = snapshot.absence.as_ref().map(|absence| absence.what.clone());
        return vec![absence.unwrap_or_else(|| words::not_running().to_owned())];
    }
    if health.upstreams.is_empty() {
        return vec![words::no_upstream().to_owned()];
    }
    health.upstreams.iter().map(|one| upstream(one, health.live.pending > 0, now)).collect()
}

/// An upstream's line: its state, since when, why, and when its next attempt is.
pub(super) fn upstream(upstream: &Upstream, anything_waits: bool, now: WallTime) -> String {
    let name = sanitize(&upstream.name);
    // A backoff without waiting failures is not worth showing.
    let state = match upstream.state.as_str() {
        "waiting" if !anything_waits => "online",
        state => state,
    };
    let since = upstream.since.map_or_else(String::new, |at| format!(" {}", moments::since(&clock(at, now))));
    let reason = upstream.reason.as_ref().map_or_else(String::new, |why| format!(" ({})", spoken(why)));
    let latency = upstream.latency_ms.map_or_else(String::new, |ms| format!(", {ms} ms"));
    let next = upstream
        .next_try_at
        .filter(|at| *at > now)
        .map(|at| text::next_attempt(&span(at.since(now) + Duration::from_millis(999))));
    let next = next.unwrap_or_default();
    let says = words::upstream(state);
    match (state, &upstream.paused_by) {
        ("online", _) if anything_waits && !reason.is_empty() => text::online_but(&name, &latency, &reason) + &next,
        ("online", _) => format!("{name}: {says}{latency}."),
        ("paused", Some(deed)) => text::paused(&name, deed),
        ("offline" | "paused" | "blocked" | "failing", _) => format!("{name}: {says}{since}{reason}.{next}"),
        _ => format!("{name}: {says}{reason}.{next}"),
    }
}

/// A line for each upstream of these that a person or a fault keeps from being sent to, with what to run.
pub(super) fn upstreams_that_stop(session: &Session, among: &dyn Fn(&str) -> bool) -> Vec<String> {
    let (mut snapshot, now) = (Snapshot::default(), wall());
    if session.fill(&mut snapshot, Part::Health, &Part::Health.question(now)).is_err() || !snapshot.running {
        return Vec::new();
    }
    deeds::name_pauses(&mut snapshot.health, &mut |request| session.quietly(request).ok().map(|reply| reply.value));
    let stops = |one: &&Upstream| {
        matches!(one.state.as_str(), "paused" | "offline" | "blocked" | "failing" | "throttled") && among(&one.name)
    };
    let line = |one: &Upstream| {
        let remedy = match one.state.as_str() {
            "paused" => text::how_to_resume(&sanitize(&one.name)),
            _ if advice::needs_a_person(one, now) => text::what_to_do().to_owned(),
            _ => String::new(),
        };
        upstream(one, true, now) + &remedy
    };
    snapshot.health.upstreams.iter().filter(stops).map(line).collect()
}

/// The last line: what to do.
pub(super) fn next(snapshot: &Snapshot, now: WallTime) -> String {
    let health = &snapshot.health;
    if !snapshot.running {
        let absence = snapshot.absence.as_ref().map(|absence| absence.next.clone());
        return absence.unwrap_or_else(|| text::next_start().to_owned());
    }
    // Every record is refused: no other fault costs more.
    if health.refusing.is_some() {
        return text::next_record_again().to_owned();
    }
    if let Some((_, unit)) = health.reasons.iter().find_map(|reason| reason.rsplit_once(RESTART)) {
        return text::next_command(&format!("{}{unit}", RESTART.trim_start()));
    }
    // What keeps everything back comes before a single failure: correcting that one would not get it through.
    let stuck = health.upstreams.iter().find(|one| advice::takes_nothing(one));
    match stuck.map(|one| (one.state.as_str(), sanitize(&one.name))) {
        Some(("blocked", name)) => return text::next_unblock(&name),
        Some((_, name)) => return text::next_doctor(&name),
        None => {}
    }
    if let Some(failure) = snapshot.critical.failures.first() {
        let class = failure.error_class.as_ref().map_or_else(String::new, |class| format!(", {}", sanitize(class)));
        let error = sanitize(&words::error(&failure.error, failure.attempts));
        let error = error.strip_prefix("HTTP ").unwrap_or(&error);
        let [kind, entity] = [&failure.entity_type, &failure.entity_id].map(|text| sanitize(text));
        return text::next_show(failure.seq, &format!("{kind} {entity}{class}: {error}"));
    }
    if health.live.critical == 0 && health.lost > 0 {
        return text::next_compare().to_owned();
    }
    let first = |state: &str| health.upstreams.iter().find(|one| one.state == state).map(|one| sanitize(&one.name));
    if health.live.critical > 0 {
        text::next_critical().to_owned()
    } else if let Some(name) = first("paused") {
        text::next_resume(&name)
    } else if let ("critical", Some(why)) = (health.state.as_str(), health.reasons.first()) {
        text::next_doctor_because(&spoken_by_agent(why))
    } else if health.upstreams.is_empty() {
        text::next_configure().to_owned()
    } else if let Some(upstream) = health.upstreams.iter().find(|one| advice::needs_a_person(one, now)) {
        text::next_doctor(&sanitize(&upstream.name))
    } else if health.clock_skew_ms.is_some_and(|ms| ms.unsigned_abs() > WRONG_CLOCK_MS) {
        text::next_set_clock(&skew(health.clock_skew_ms))
    } else if let Some(reason) = health.reasons.iter().find(|reason| asks_for_something(reason)) {
        if reason.contains(CONFIG_CHECK) {
            text::next_config_check().to_owned()
        } else {
            text::next_doctor_because(&spoken_by_agent(reason))
        }
    } else if health.live.held > 0 {
        text::next_release().to_owned()
    } else {
        text::nothing_to_do().to_owned()
    }
}

/// The command in the reason that names a socket which systemd has to make again.
const RESTART: &str = " systemctl restart ";
/// The command that the reason names after a reload of an invalid configuration.
const CONFIG_CHECK: &str = "resyncd config check";

/// Returns whether a reason of the health asks an operator to do something that nothing else on the screen says.
pub(super) fn asks_for_something(reason: &str) -> bool {
    match reason.split_once(": ").and_then(|(kind, _)| Kind::parse(kind)) {
        // They end with the outage or with the failures that cause them, or the upstream's own line says it.
        Some(
            Kind::ManyFailures
            | Kind::EntityFailing
            | Kind::HighRetries
            | Kind::CriticalFailures
            | Kind::UpstreamOffline
            | Kind::UpstreamBlocked
            | Kind::UpstreamFailing
            | Kind::UpstreamPaused,
        ) => false,
        Some(_) => true,
        None => reason.contains(CONFIG_CHECK),
    }
}

fn write_screen(session: &Session, out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    let (health, now) = (&snapshot.health, wall());
    let screen = session.screen;
    let (tone, line) = verdict(snapshot, now);
    writeln!(out, "{}", screen.paint(tone, &screen.folded(&line, 0, 2)))?;
    writeln!(out)?;
    for line in upstreams(snapshot, now) {
        writeln!(out, "{}", screen.folded(&line, 0, 2))?;
    }
    writeln!(out)?;
    for (name, number) in health.live.named() {
        writeln!(out, "{:<LABEL$}{}", words::status_name(name), count(number))?;
    }
    let mut row =
        |name: &str, value: &str| writeln!(out, "{:<LABEL$}{}", text::label(name), screen.folded(value, LABEL, LABEL));
    let when = |at: Option<WallTime>, never: &str| at.map_or_else(|| never.to_owned(), |at| ago(at, now));
    row("oldest", &when(health.oldest_created_at, text::none_waits()))?;
    row("last delivery", &when(health.last_delivery_at, text::none_yet()))?;
    let free = health.disk_free_bytes.map_or_else(|| text::unknown().to_owned(), size);
    row("database", &text::sizes(&size(health.database_bytes), &free))?;
    row("clock", &skew(health.clock_skew_ms))?;
    let reasons: Vec<String> = health.reasons.iter().map(|reason| spoken_by_agent(reason)).collect();
    let colon = if reasons.is_empty() { "" } else { ": " };
    row("health", &format!("{}{colon}{}", text::health(&health.state), reasons.join("; ")))?;
    writeln!(out)?;
    writeln!(out, "{}", screen.folded(&next(snapshot, now), 0, 2))
}

/// The upstream's clock minus ours; its dates have whole seconds.
pub(super) fn skew(ms: Option<i64>) -> String {
    match ms {
        None => text::clock_unknown().to_owned(),
        Some(-2000..=2000) => text::clock_right().to_owned(),
        Some(ahead @ 1..) => text::clock_behind(&span(Duration::from_millis(ahead.unsigned_abs()))),
        Some(behind) => text::clock_ahead(&span(Duration::from_millis(behind.unsigned_abs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(upstream: &Value) -> String {
        let health = json!({"ok": true, "state": "degraded", "reasons": [], "upstreams": [upstream],
            "pending": 1, "critical": 0, "held": 0, "version": "0.1.0", "oldest_created_at": null,
            "last_delivery_at": null, "database_bytes": 0, "disk_free_bytes": null, "clock_skew_ms": null});
        let mut snapshot = Snapshot { running: true, ..Snapshot::default() };
        snapshot.take(Part::Health, health).expect("a health reply");
        next(&snapshot, WallTime::parse("2026-11-30T12:00:00.000Z").expect("a time"))
    }

    fn upstream(state: &str, since: &str, reason: &str) -> Value {
        json!({"name": "hq", "state": state, "since": since, "next_try_at": null, "conditions": [state],
            "reason": reason, "latency_ms": null})
    }

    #[test]
    fn a_reason_of_health_that_asks_for_something_is_not_passed_over() {
        for (reason, told) in [
            ("wal_large: the database's WAL has grown to 1 GiB", "Next: sudo resyncd doctor   (wal_large: "),
            ("the old one in force; see: resyncd config check", "Next: resyncd config check "),
            ("nobody can connect: systemctl restart resyncd.socket", "Next: systemctl restart resyncd.socket"),
            ("many_failures: more than 10", "Nothing to do."),
            ("hq offline", "Nothing to do."),
        ] {
            let mut snapshot = Snapshot { running: true, ..Snapshot::default() };
            snapshot.health.upstreams.push(Upstream { state: "online".into(), ..Upstream::default() });
            snapshot.health.reasons.push(reason.to_owned());
            assert!(next(&snapshot, wall()).starts_with(told), "{reason}: {}", next(&snapshot, wall()));
        }
        let mut snapshot = Snapshot { running: true, ..Snapshot::default() };
        snapshot.health.upstreams.push(Upstream { state: "online".into(), ..Upstream::default() });
        snapshot.health.clock_skew_ms = Some(-31_536_000_000);
        assert!(next(&snapshot, wall()).starts_with("Next: sudo timedatectl set-ntp true   (the clock is 365 d ahead"));
        assert!(asks_for_something("database_full: x") && !asks_for_something("entity_failing: x"));
    }

    #[test]
    fn nothing_is_to_do_only_where_waiting_helps() {
        let short = "2026-11-30T11:50:00.000Z";
        assert_eq!(advice(&upstream("offline", short, "Connection refused")), "Nothing to do.");
        assert_eq!(advice(&upstream("online", short, "")), "Nothing to do.");
        for (state, since, reason) in [
            ("offline", "2026-11-30T11:44:00.000Z", "Connection refused"),
            ("offline", short, "invalid peer certificate: UnknownIssuer"),
            ("offline", short, "reading /etc/resyncd/ca.crt: No such file or directory"),
            ("failing", short, "HTTP 403: Forbidden"),
            ("waiting", short, "HTTP 407: Proxy Authentication Required"),
            ("offline", short, "HTTP 301: redirects to https://hq.example/sync"),
            ("offline", short, "HTTP 200: somebody else answers (a login page of the network?)"),
        ] {
            let told = advice(&upstream(state, since, reason));
            assert!(told.starts_with("Next: sudo resyncd doctor"), "{state} {reason}: {told}");
        }
    }
}

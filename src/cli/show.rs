//! `show`: one failure, why it is where it is, what blocks it, what happens next, and all tries.

use super::args::{Global, ShowArgs};
use super::render::{Tone, ago, clock, harmless};
use super::session::{Reply, Session};
use super::{Failure, words};
use crate::io::clock::wall;
use crate::moment::WallTime;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Runs the command.
pub fn run(global: &Global, args: &ShowArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let live = match session.resolve(&args.id) {
        Ok(id) => Some(session.ask(&json!({"op": "get", "id": id}))?),
        // It may have left; its history is kept.
        Err(Failure::NotFound(told)) => {
            let history = session.ask(&json!({"op": "history", "id": args.id}));
            return match history {
                Ok(history) => gone(&session, &history),
                Err(Failure::NotFound(_)) => Err(Failure::Failed(told)),
                Err(other) => Err(other),
            };
        }
        Err(other) => return Err(other),
    };
    let Some(Reply { value, .. }) = live else { return Ok(()) };
    let failure = &value["failure"];
    let history = session
        .ask(&json!({"op": "history", "id": failure["id"]}))
        .map_or(Value::Null, |reply| reply.value["entries"].clone());
    let mut out = io::stdout().lock();
    if session.json {
        let mut shown = failure.clone();
        if let (false, Some(fields)) = (args.payload, shown.as_object_mut()) {
            fields.remove("payload");
            fields.remove("response");
        }
        writeln!(out, "{}", json!({"failure": shown, "history": history}))?;
        return Ok(());
    }
    tell(&session, &mut out, failure)?;
    tries(&session, &mut out, &history)?;
    if args.payload {
        let payload = failure["payload"].as_str().unwrap_or("(none)");
        writeln!(out, "\nPayload:\n{}", payload.lines().map(harmless).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(())
}

fn text(value: &Value, name: &str) -> String {
    harmless(value[name].as_str().unwrap_or_default())
}

fn time(value: &Value, name: &str) -> Option<WallTime> {
    value[name].as_str().and_then(WallTime::parse)
}

fn tell(session: &Session, out: &mut impl Write, failure: &Value) -> io::Result<()> {
    let (now, state) = (wall(), text(failure, "state"));
    let title = format!("{} {} {}", text(failure, "entity_type"), text(failure, "entity_id"), text(failure, "action"));
    let tone = if state == "critical" { Tone::Bad } else { Tone::Plain };
    writeln!(out, "{}   no. {}   {}", session.screen.paint(Tone::Strong, &title), failure["seq"], text(failure, "id"))?;
    writeln!(out, "{}: it {}.", session.screen.paint(tone, &state), words::state(&state))?;
    if let Some(at) = time(failure, "created_at") {
        writeln!(out, "Recorded   {} on {}", ago(at, now), text(failure, "terminal_id"))?;
    }
    writeln!(out, "Error      {}", text(failure, "error"))?;
    writeln!(out, "Retries    {} counted", failure["retry_count"])?;
    if let Some(upstream) = failure["upstream"].as_str() {
        writeln!(out, "Upstream   {}", harmless(upstream))?;
    } else if failure["error_class"] == "no_route" {
        writeln!(out, "Upstream   none: no route of the configuration is for it")?;
    } else {
        writeln!(out, "Upstream   none is configured; it is kept until there is one")?;
    }
    let key = failure["idempotency_key"].as_str().or(failure["id"].as_str()).unwrap_or_default();
    writeln!(out, "Key        {}", harmless(key))?;
    if let Some(order) = failure["order_key"].as_str() {
        writeln!(out, "Order key  {}", harmless(order))?;
    }
    next(out, failure, &state, now)
}

fn next(out: &mut impl Write, failure: &Value, state: &str, now: WallTime) -> io::Result<()> {
    match state {
        "critical" if failure["error_class"] == "no_route" => {
            writeln!(
                out,
                "Next       add a route for it to the configuration and restart the agent; it goes by itself then"
            )
        }
        "critical" => {
            let step = words::next_step(failure["error_class"].as_str());
            writeln!(out, "Next       {step} resyncd retry {}", failure["seq"])
        }
        "blocked" => {
            let head = text(failure, "blocked_by");
            writeln!(out, "Next       it goes when {head} has left: resyncd show {head}")
        }
        "scheduled" => match time(failure, "next_retry_at") {
            Some(at) => writeln!(out, "Next       {}, or when the line comes back after an outage", ago(at, now)),
            None => writeln!(out, "Next       as soon as the upstream answers a probe"),
        },
        "held" => writeln!(out, "Next       when it may be sent: resyncd release {}", failure["seq"]),
        _ => Ok(()),
    }
}

fn tries(session: &Session, out: &mut impl Write, history: &Value) -> io::Result<()> {
    let entries = history.as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        return writeln!(out, "\nIt has not been tried yet.");
    }
    let now = wall();
    let rows: Vec<Vec<String>> = entries.iter().map(|entry| row(entry, now)).collect();
    writeln!(out)?;
    session.screen.table(out, &["WHEN", "WHAT", "STATUS", "CLASS", "COUNTED", "ANSWER"], &rows)?;
    let last = entries.iter().rev().find(|entry| entry["kind"] == "attempt");
    match last.and_then(|entry| entry["why"].as_str()).map(words::why) {
        Some(why) if !why.is_empty() => writeln!(out, "\nThe last try: {why}."),
        _ => Ok(()),
    }
}

fn row(entry: &Value, now: WallTime) -> Vec<String> {
    let when = time(entry, "at").map_or_else(String::new, |at| clock(at, now));
    if entry["kind"] == "operation" {
        let who = entry["actor_name"].as_str().map_or_else(|| entry["actor_uid"].to_string(), harmless);
        let claimed = entry["claimed_by"].as_str().map_or_else(String::new, |by| format!(" (says: {})", harmless(by)));
        let what = format!("{} by {who}{claimed}", text(entry, "operation"));
        return vec![when, what, String::new(), String::new(), String::new(), text(entry, "reason")];
    }
    let status = entry["http_status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
    let counted = words::counted(entry);
    vec![
        when,
        format!("try {} ({}), {} ms", entry["attempt"], text(entry, "trigger"), entry["duration_ms"]),
        status,
        text(entry, "class"),
        counted.to_owned(),
        text(entry, "error"),
    ]
}

/// A failure that has left: its tries tell how.
fn gone(session: &Session, history: &Reply) -> Result<(), Failure> {
    let entries = &history.value["entries"];
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", json!({"failure": Value::Null, "history": entries}))?;
        return Ok(());
    }
    let last = entries.as_array().and_then(|entries| entries.iter().rev().find(|entry| entry["kind"] == "attempt"));
    if let Some(last) = last {
        let title = format!("{} {} {}", text(last, "entity_type"), text(last, "entity_id"), text(last, "action"));
        let left = match (last["class"].as_str(), time(last, "at")) {
            (Some("delivered"), Some(at)) => format!("delivered to {}: {}", text(last, "upstream"), ago(at, wall())),
            _ => "is not live any more".to_owned(),
        };
        writeln!(
            out,
            "{}   no. {}   {}",
            session.screen.paint(Tone::Strong, &title),
            last["seq"],
            text(last, "failure_id")
        )?;
        writeln!(out, "{}.", session.screen.paint(Tone::Good, &left))?;
    }
    Ok(tries(session, &mut out, entries)?)
}

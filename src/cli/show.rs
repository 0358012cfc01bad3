//! `show`: one failure, why it is where it is, what blocks it, what happens next, and all tries.

use super::args::{Global, ShowArgs};
use super::history::table;
use super::render::{Tone, ago, harmless, text, time};
use super::session::Session;
use super::status::upstream;
use super::{Failure, words};
use crate::figures::snapshot::{Part, Snapshot};
use crate::io::clock::wall;
use crate::moment::WallTime;
use serde_json::{Value, json};
use std::io::{self, Write};

/// So many entries of its history are shown, the newest; there may be thousands after an outage.
const LAST_ENTRIES: usize = 20;
/// So many of those that wait behind it are looked at.
const FOLLOWERS: usize = 50;

/// Runs the command.
pub fn run(global: &Global, args: &ShowArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let id = match session.resolve(&args.id) {
        Ok(id) => id,
        // It may have left, or have another number since it was edited; its history is kept.
        Err(Failure::NotFound(told)) => {
            let Ok(known) = session.quietly(&history(&args.id, 1)) else { return Err(Failure::Failed(told)) };
            let id = text(&known.value["entries"][0], "failure_id");
            if session.quietly(&json!({"op": "get", "id": id})).is_err() {
                return gone(&session, &mut io::stdout().lock(), &id);
            }
            id
        }
        Err(other) => return Err(other),
    };
    let mut out = io::stdout().lock();
    let Ok(found) = session.quietly(&json!({"op": "get", "id": id})) else { return gone(&session, &mut out, &id) };
    let failure = &found.value["failure"];
    if session.json {
        let mut shown = failure.clone();
        if let (false, Some(fields)) = (args.payload, shown.as_object_mut()) {
            fields.remove("payload");
            fields.remove("response");
        }
        return Ok(writeln!(out, "{}", json!({"failure": shown, "history": whole_history(&session, &id)?}))?);
    }
    live(&session, &mut out, failure)?;
    if args.payload {
        let payload = failure["payload"].as_str().unwrap_or("(none)");
        writeln!(out, "\nPayload:\n{}", payload.lines().map(harmless).collect::<Vec<_>>().join("\n"))?;
        if let Some(response) = failure["response"].as_str() {
            let lines = response.lines().map(harmless).collect::<Vec<_>>();
            writeln!(out, "\nThe last answer:\n{}", lines.join("\n"))?;
        }
    }
    Ok(())
}

/// All that is told of a failure by its id, live or gone.
pub(super) fn page(session: &Session, out: &mut impl Write, id: &str) -> Result<(), Failure> {
    match session.quietly(&json!({"op": "get", "id": id})) {
        Ok(found) => live(session, out, &found.value["failure"]),
        Err(Failure::NotFound(_)) => gone(session, out, id),
        Err(other) => Err(other),
    }
}

fn live(session: &Session, out: &mut impl Write, failure: &Value) -> Result<(), Failure> {
    tell(session, out, failure)?;
    behind(session, out, failure)?;
    tries(session, out, &text(failure, "id"))
}

/// The question for the newest entries of a failure.
fn history(id: &str, limit: usize) -> Value {
    json!({"op": "history", "id": id, "order": "desc", "limit": limit})
}

/// All entries of a failure, oldest first.
fn whole_history(session: &Session, id: &str) -> Result<Vec<Value>, Failure> {
    let (mut entries, mut request) = (Vec::new(), json!({"op": "history", "id": id}));
    loop {
        let mut page = match session.quietly(&request) {
            Ok(page) => page.value,
            // Nothing was tried or done yet.
            Err(Failure::NotFound(_)) => return Ok(entries),
            Err(other) => return Err(other),
        };
        entries.extend(page["entries"].as_array_mut().map(std::mem::take).unwrap_or_default());
        if page["next"].is_null() {
            return Ok(entries);
        }
        request["after"] = page["next"].take();
    }
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
    next(session, out, failure, &state, now)
}

/// How an upstream stands, in words; its name where nobody can say.
fn standing(session: &Session, name: &str) -> String {
    let (mut snapshot, now) = (Snapshot::default(), wall());
    // Where the answer fails there is no upstream in it.
    let _ = session.fill(&mut snapshot, Part::Health, &Part::Health.question(now));
    let all = &snapshot.health.upstreams;
    all.iter().find(|one| one.name == name).map_or_else(|| harmless(name), |one| upstream(one, true, now))
}

fn next(session: &Session, out: &mut impl Write, failure: &Value, state: &str, now: WallTime) -> io::Result<()> {
    match state {
        "critical" if failure["error_class"] == "no_route" => {
            writeln!(
                out,
                "Next       add a route for it to the configuration and restart the agent; it goes by itself then"
            )
        }
        "critical" => {
            let step = words::next_step(failure["error_class"].as_str());
            writeln!(out, "Next       {step} resyncd retry {}", failure["seq"])?;
            writeln!(out, "           Or put it right here: resyncd edit {} --reason …", failure["seq"])
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
        "due" => {
            let upstream = failure["upstream"].as_str().map_or_else(String::new, |name| standing(session, name));
            writeln!(out, "Next       now, as soon as the upstream lets it. {upstream}")
        }
        _ => Ok(()),
    }
}

/// What waits until this one has left.
fn behind(session: &Session, out: &mut impl Write, failure: &Value) -> Result<(), Failure> {
    let mut request = json!({"op": "list", "after": failure["seq"].to_string(), "limit": FOLLOWERS});
    let same: &[&str] = if failure["order_key"].is_null() { &["entity_type", "entity_id"] } else { &["order_key"] };
    for name in same {
        request[*name] = failure[*name].clone();
    }
    let later = session.ask(&request)?.value;
    let waits = |other: &&Value| other["blocked_by"] == failure["id"];
    let blocked: Vec<&Value> = later["failures"].as_array().into_iter().flatten().filter(waits).collect();
    let numbers: Vec<String> = blocked.iter().take(10).map(|other| other["seq"].to_string()).collect();
    match (blocked.len(), later["next"].is_null()) {
        (0, _) => {}
        (count, true) if count == numbers.len() => writeln!(out, "Blocks     {}", numbers.join(", "))?,
        (count, true) => writeln!(out, "Blocks     {}, … ({count} in all)", numbers.join(", "))?,
        (count, false) => writeln!(out, "Blocks     {}, … ({count} or more)", numbers.join(", "))?,
    }
    Ok(())
}

fn tries(session: &Session, out: &mut impl Write, id: &str) -> Result<(), Failure> {
    let mut page = match session.quietly(&history(id, LAST_ENTRIES)) {
        Ok(page) => page.value,
        Err(Failure::NotFound(_)) => Value::Null,
        Err(other) => return Err(other),
    };
    let mut entries = page["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
    entries.reverse();
    if !entries.iter().any(|entry| entry["kind"] == "attempt") {
        writeln!(out, "\nIt has not been tried yet.")?;
    }
    if entries.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    if !page["next"].is_null() {
        writeln!(out, "The last {LAST_ENTRIES}; all: resyncd history {id}")?;
    }
    table(session, out, &entries, false)?;
    let last = entries.iter().rev().find(|entry| entry["kind"] == "attempt");
    match last.and_then(|entry| entry["why"].as_str()).map(words::why) {
        Some(why) if !why.is_empty() => Ok(writeln!(out, "\nThe last try: {why}.")?),
        _ => Ok(()),
    }
}

/// A failure that has left: its history tells how.
fn gone(session: &Session, out: &mut impl Write, id: &str) -> Result<(), Failure> {
    if session.json {
        let history = whole_history(session, id)?;
        return Ok(writeln!(out, "{}", json!({"failure": Value::Null, "history": history}))?);
    }
    let page = session.ask(&history(id, LAST_ENTRIES))?.value;
    let entries = page["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(last) = entries.iter().find(|entry| !entry["entity_type"].is_null()) {
        let title = format!("{} {} {}", text(last, "entity_type"), text(last, "entity_id"), text(last, "action"));
        writeln!(out, "{}   no. {}   {id}", session.screen.paint(Tone::Strong, &title), last["seq"])?;
    }
    let when = |entry: &Value| time(entry, "at").map_or_else(String::new, |at| format!(": {}", ago(at, wall())));
    let left = entries.iter().find_map(|entry| match (entry["class"].as_str(), entry["operation"].as_str()) {
        (Some("delivered"), _) => Some(format!("delivered to {}{}", text(entry, "upstream"), when(entry))),
        (_, Some("discard")) => Some(format!("discarded by a person{}", when(entry))),
        (_, Some("cleanup")) => Some(format!("taken away by the clean-up{}", when(entry))),
        _ => None,
    });
    let left = left.unwrap_or_else(|| "is not live any more".to_owned());
    writeln!(out, "{}.", session.screen.paint(Tone::Good, &left))?;
    tries(session, out, id)
}

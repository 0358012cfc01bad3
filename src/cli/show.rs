//! `show`: one failure, why it is in its state, what blocks it, what happens next, and all attempts.

use super::args::{Global, ShowArgs};
use super::history::table;
use super::render::{Tone, ago, sanitize, text as field, time};
use super::session::{Session, meanings};
use super::status::upstream;
use super::{Failure, advice, deeds, words};
use crate::figures::snapshot::{Part, Snapshot};
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::record::NOT_SENT_YET;
use crate::store::importing::AWAITS_REPLAY;
use crate::text::{show as text, why};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Number of history entries shown, the newest; there may be thousands after an outage.
const LAST_ENTRIES: usize = 20;
/// Columns of the label before a line.
const LABEL: usize = 11;
/// Maximum number of followers that are read.
const FOLLOWERS: usize = 50;

/// Runs the command.
pub fn run(global: &Global, args: &ShowArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let id = match session.resolve(&args.id) {
        Ok(id) => id,
        // It may have been removed, or renumbered by an edit; its history is kept.
        Err(Failure::NotFound(told)) => {
            let known = meanings(&args.id).into_iter().find_map(|meaning| session.quietly(&history(meaning, 1)).ok());
            let known = known.map(|known| known.value["entries"][0].clone());
            // Or it is the id of an entity: its last failure is meant.
            let last = || super::gone::of(&session, &args.id)?.into_iter().next();
            let Some(known) = known.or_else(last) else { return Err(Failure::Failed(told)) };
            let id = field(&known, "failure_id");
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
            fields.remove("payload_base64");
            fields.remove("response");
        }
        return Ok(writeln!(out, "{}", json!({"failure": shown, "history": whole_history(&session, &id)?}))?);
    }
    live(&session, &mut out, failure)?;
    if args.payload {
        let is_bytes = failure["payload_kind"] == "bytes";
        let payload = failure["payload_base64"].as_str().or(failure["payload"].as_str()).unwrap_or(text::none());
        let heading = if is_bytes { text::payload_bytes() } else { text::payload() };
        writeln!(out, "\n{heading}:\n{}", payload.lines().map(sanitize).collect::<Vec<_>>().join("\n"))?;
        if let Some(response) = failure["response"].as_str() {
            let lines = response.lines().map(sanitize).collect::<Vec<_>>();
            writeln!(out, "\n{}:\n{}", text::last_response(), lines.join("\n"))?;
        }
    }
    Ok(())
}

/// Shows a failure by its id, live or removed.
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
    let under_way = failure["state"] == "in_flight";
    attempts(session, out, &field(failure, "id"), failure["retry_count"].as_u64().unwrap_or_default(), under_way)
}

/// The query for a failure's newest history entries; `named` contains the fields that identify it.
fn history(mut named: Value, limit: usize) -> Value {
    named["op"] = json!("history");
    named["order"] = json!("desc");
    named["limit"] = json!(limit);
    named
}

/// All history entries of a failure, oldest first.
fn whole_history(session: &Session, id: &str) -> Result<Vec<Value>, Failure> {
    let (mut entries, mut request) = (Vec::new(), json!({"op": "history", "id": id}));
    loop {
        let mut page = match session.quietly(&request) {
            Ok(page) => page.value,
            // It has no attempt or action yet.
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

/// A line with its label; an empty label continues the line before.
fn line(session: &Session, out: &mut impl Write, label: &str, value: &str) -> io::Result<()> {
    writeln!(out, "{label:<LABEL$}{}", session.screen.folded(value, LABEL, LABEL))
}

fn title(session: &Session, failure: &Value, id: &str) -> String {
    let name = ["entity_type", "entity_id", "action"].map(|part| field(failure, part)).join(" ");
    text::title(&session.screen.paint(Tone::Strong, &name), &failure["seq"].to_string(), id)
}

fn tell(session: &Session, out: &mut impl Write, failure: &Value) -> io::Result<()> {
    let (now, state) = (wall(), field(failure, "state"));
    let tone = if state == "critical" { Tone::Bad } else { Tone::Plain };
    writeln!(out, "{}", title(session, failure, &field(failure, "id")))?;
    let part = failure["error_class"] == AWAITS_REPLAY && state == "held";
    let stopped = (state == "held" && !part).then(|| deeds::hold(session, &field(failure, "id"))).flatten();
    let meaning = match stopped {
        None if part => text::part_of_a_replay().to_owned(),
        Some(by) => text::put_on_hold(&by),
        None => words::state(&state).to_owned(),
    };
    let name = words::state_name(&state);
    let meaning = session.screen.folded(&format!("{meaning}."), name.chars().count() + 2, 2);
    writeln!(out, "{}: {meaning}", session.screen.paint(tone, name))?;
    if let Some(at) = time(failure, "created_at") {
        line(session, out, text::label("recorded"), &text::recorded(&ago(at, now), &field(failure, "terminal_id")))?;
    }
    let [retries, attempts] = ["retry_count", "attempts"].map(|name| failure[name].as_u64().unwrap_or_default());
    // Below, the history says whether one that was handed over has been attempted.
    if failure["error"] != NOT_SENT_YET || attempts > 0 {
        line(session, out, text::label("error"), &words::error_of(failure))?;
    }
    let used = text::retries(retries);
    let used = if attempts > retries { format!("{used}, {}", text::attempts(attempts)) } else { used };
    line(session, out, text::label("retries"), &used)?;
    let upstream = match failure["upstream"].as_str() {
        Some(upstream) => sanitize(upstream),
        None if failure["error_class"] == "no_route" => text::no_route().to_owned(),
        None => text::no_upstream().to_owned(),
    };
    line(session, out, text::label("upstream"), &upstream)?;
    let key = failure["idempotency_key"].as_str().or(failure["id"].as_str()).unwrap_or_default();
    line(session, out, text::label("key"), &sanitize(key))?;
    if let Some(order) = failure["order_key"].as_str() {
        line(session, out, text::label("order_key"), &sanitize(order))?;
    }
    next(session, out, failure, &state, now)
}

/// How its upstream stands, in words, and when the failure is sent.
fn when_due(session: &Session, name: &str) -> String {
    let (mut snapshot, now) = (Snapshot::default(), wall());
    // If the query fails, the snapshot contains no upstream.
    let _ = session.fill(&mut snapshot, Part::Health, &Part::Health.question(now));
    deeds::name_pauses(&mut snapshot.health, &mut |request| session.quietly(request).ok().map(|reply| reply.value));
    let shown = sanitize(name);
    if !snapshot.running {
        return text::when_started().to_owned();
    }
    let Some(one) = snapshot.health.upstreams.iter().find(|one| one.name == name) else {
        return text::when_accepting(&shown);
    };
    let state = match one.state.as_str() {
        "offline" if advice::needs_a_person(one, now) => "blocked",
        "failing" => "blocked",
        state => state,
    };
    text::when(state, &shown, &upstream(one, true, now))
}

fn next(session: &Session, out: &mut impl Write, failure: &Value, state: &str, now: WallTime) -> io::Result<()> {
    let seq = failure["seq"].to_string();
    let what = match state {
        "critical" if failure["error_class"] == "no_route" => text::add_a_route().to_owned(),
        "critical" => {
            let step = words::next_step(failure["error_class"].as_str());
            line(session, out, text::label("next"), &format!("{step} resyncd retry {seq}"))?;
            return line(session, out, "", &text::or_edit(&seq));
        }
        "blocked" => {
            let head = session.quietly(&json!({"op": "get", "id": failure["blocked_by"]}));
            match head.map(|reply| reply.value["failure"].clone()) {
                Ok(head) => text::after(head["status"].as_str().unwrap_or_default(), &head["seq"].to_string()),
                Err(_) => text::after_the_one_before().to_owned(),
            }
        }
        "scheduled" if !failure["retry_after"].is_null() => {
            text::asked_to_wait(&super::operate::retry_after(&failure["retry_after"]), &seq)
        }
        "scheduled" => {
            let upstream = || failure["upstream"].as_str().map_or_else(|| why::the_upstream().to_owned(), sanitize);
            let at = time(failure, "next_retry_at").map(|at| text::at_a_time(&ago(at, now)));
            at.unwrap_or_else(|| text::when_answering(&upstream()))
        }
        "held" if failure["error_class"] == AWAITS_REPLAY => {
            line(session, out, text::label("next"), text::when_the_replay_continues())?;
            return line(session, out, "", &text::to_release_alone(&seq));
        }
        "held" => text::to_release(&seq),
        "due" => match failure["upstream"].as_str() {
            Some(name) => when_due(session, name),
            None => text::when_configured().to_owned(),
        },
        _ => return Ok(()),
    };
    line(session, out, text::label("next"), &what)
}

/// The failures that wait for this one.
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
    let shown = numbers.join(", ");
    let told = match (blocked.len(), later["next"].is_null()) {
        (0, _) => return Ok(()),
        (count, true) if count == numbers.len() => shown,
        (count, true) => text::in_all(&shown, count),
        (count, false) => text::or_more(&shown, count),
    };
    Ok(line(session, out, text::label("blocks"), &told)?)
}

/// The newest entries of the history; `retries`: how many of its retries are used; `under_way`: it is being sent.
fn attempts(session: &Session, out: &mut impl Write, id: &str, retries: u64, under_way: bool) -> Result<(), Failure> {
    let mut page = match session.quietly(&history(json!({"id": id}), LAST_ENTRIES)) {
        Ok(page) => page.value,
        Err(Failure::NotFound(_)) => Value::Null,
        Err(other) => return Err(other),
    };
    let mut entries = page["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
    entries.reverse();
    // The agent itself puts on hold only what was being sent when it ended, of which no attempt is stored.
    let cut_off = |entry: &Value| entry["operation"] == "hold" && entry["actor_uid"].is_null();
    if !entries.iter().any(|entry| entry["kind"] == "attempt") {
        let told = match (entries.iter().any(cut_off), retries) {
            _ if under_way => text::first_attempt_under_way(),
            (true, _) => text::cut_off(),
            (false, 0) => text::not_attempted(),
            (false, _) => text::attempted_elsewhere(),
        };
        writeln!(out, "\n{}", session.screen.folded(told, 0, 0))?;
    }
    if entries.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    if !page["next"].is_null() {
        let number = entries[0]["seq"].as_i64().map_or_else(|| id.to_owned(), |seq| seq.to_string());
        writeln!(out, "{}", text::last_entries(LAST_ENTRIES, &number))?;
    }
    table(session, out, &entries, false)?;
    let Some(last) = entries.iter().rev().find(|entry| entry["kind"] == "attempt") else { return Ok(()) };
    let upstream = Some(field(last, "upstream")).filter(|name| !name.is_empty());
    let upstream = upstream.unwrap_or_else(|| why::the_upstream().to_owned());
    let told = match last["why"].as_str() {
        _ if last["provisional"] == true => why::provisional(&upstream),
        Some(code) => why::last_attempt(code, &upstream),
        None => String::new(),
    };
    if told.is_empty() {
        return Ok(());
    }
    Ok(writeln!(out, "\n{}", session.screen.folded(&told, 0, 0))?)
}

/// Shows a removed failure from its history, or from the archive of deliveries.
fn gone(session: &Session, out: &mut impl Write, id: &str) -> Result<(), Failure> {
    if session.json {
        let newest_first = whole_history(session, id)?.into_iter().rev().collect();
        let mut history = super::gone::with_delivery(session, id, newest_first);
        history.reverse();
        return Ok(writeln!(out, "{}", json!({"failure": Value::Null, "history": history}))?);
    }
    let (entries, why) = match session.quietly(&history(json!({"id": id}), LAST_ENTRIES)) {
        Ok(mut page) => (page.value["entries"].as_array_mut().map(std::mem::take).unwrap_or_default(), None),
        Err(Failure::NotFound(why)) => (Vec::new(), Some(why)),
        Err(other) => return Err(other),
    };
    let entries = super::gone::with_delivery(session, id, entries);
    if let (true, Some(why)) = (entries.is_empty(), why) {
        return Err(Failure::NotFound(why));
    }
    if let Some(last) = entries.iter().find(|entry| !entry["entity_type"].is_null()) {
        writeln!(out, "{}", title(session, last, id))?;
    }
    let left = super::gone::how(&entries);
    let left = left.unwrap_or_else(|| text::no_longer_waiting().to_owned());
    writeln!(out, "{}.", session.screen.paint(Tone::Good, &left))?;
    if let Some(advice) = super::gone::replay(session, &entries) {
        writeln!(out, "{}", session.screen.folded(&advice, 0, 2))?;
    }
    if let Some(archived) = entries.iter().find(|entry| entry["archived"] == true) {
        let count = archived["attempt"].as_u64().unwrap_or_default();
        return Ok(writeln!(out, "\n{}", text::attempts_forgotten(count))?);
    }
    attempts(session, out, id, 0, false)
}

//! `list` and `critical`: failures that are not delivered.

use super::args::{Filters, Global, ListArgs};
use super::check_agent::removed_in;
use super::choose::filter;
use super::render::{Tone, sanitize, span};
use super::session::Session;
use super::status::upstreams_that_stop;
use super::{Failure, deeds, words};
use crate::figures::snapshot::{self, Failures};
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::record::NOT_SENT_YET;
use crate::text::{Count, list as text};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Held failures of a page whose audit is looked up.
const MOST_EXPLAINED: usize = 20;

/// Number of failures that `critical` lists.
const MOST_CRITICAL: usize = 20;

/// `list`
pub fn run(global: &Global, args: &ListArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if args.payload && !session.json {
        return Err(Failure::Usage(text::payload_needs_json().into()));
    }
    let mut request = filter(&args.filters)?;
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            request.insert(name.to_owned(), value);
        }
    };
    put("order_key", args.order_key.clone().map(Value::from));
    put("limit", args.limit.map(Value::from));
    put("after", args.after.clone().map(Value::from));
    put("order", args.order.clone().map(Value::from));
    put("payload", args.payload.then_some(Value::Bool(true)));
    print(&session, request, None)
}

/// `critical`
pub fn critical(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = filter(&Filters { status: Some("critical".into()), ..Filters::default() })?;
    request.insert("order".into(), json!("desc"));
    request.insert("limit".into(), json!(MOST_CRITICAL));
    print(&session, request, Some(text::nothing_needs_a_person()))
}

fn print(session: &Session, mut request: Map<String, Value>, none: Option<&str>) -> Result<(), Failure> {
    request.insert("op".into(), json!("list"));
    let reply = session.ask(&Value::Object(request))?.value;
    let mut out = io::stdout().lock();
    if session.json {
        let mut failures = reply["failures"].as_array().into_iter().flatten();
        return Ok(failures.try_for_each(|failure| writeln!(out, "{failure}"))?);
    }
    let Failures { failures, total, next } = Failures::read(reply).map_err(Failure::Failed)?;
    if failures.is_empty() {
        let nothing = none.map_or_else(|| nothing_matches(session), |none| Ok(none.to_owned()))?;
        writeln!(out, "{}", session.screen.folded(&nothing, 0, 2))?;
        return Ok(());
    }
    let now = wall();
    let mut rows: Vec<Vec<String>> = failures.iter().map(|failure| row(failure, now)).collect();
    let held = failures.iter().zip(&mut rows).filter(|(failure, _)| failure.status == "held");
    for (failure, row) in held.take(MOST_EXPLAINED) {
        if let (Some(by), Some(error)) = (deeds::hold(session, &failure.id), row.last_mut()) {
            // The reason then says whether a request was sent.
            let handed_over = failure.error == NOT_SENT_YET && failure.attempts == 0;
            *error = if handed_over { text::on_hold_unsent(&by) } else { text::on_hold(&by, error) };
        }
    }
    let tones = failures.iter().map(|failure| match failure.status.as_str() {
        "critical" => Tone::Bad,
        "held" => Tone::Warning,
        _ => Tone::Plain,
    });
    let rows: Vec<(Tone, &[String])> = tones.zip(rows.iter().map(Vec::as_slice)).collect();
    session.screen.toned_table(&mut out, &text::headings(), &expendable(), &rows)?;
    if let Some(next) = next {
        let [shown, total] = [failures.len() as u64, total.unwrap_or_default()].map(Count);
        writeln!(out, "{}", text::more(shown, total, &next))?;
    }
    if failures.iter().any(|failure| failure.status == "pending") {
        let stopped =
            upstreams_that_stop(session, &|name| failures.iter().any(|one| one.upstream.as_deref() == Some(name)));
        stopped.iter().try_for_each(|line| writeln!(out, "{}", session.screen.folded(line, 0, 2)))?;
    }
    Ok(())
}

/// Without live failures, some may still have been removed undelivered.
fn nothing_matches(session: &Session) -> Result<String, Failure> {
    let health = session.ask(&json!({"op": "health"}))?.value;
    Ok(match removed_in(&health) {
        None => text::nothing_matches().to_owned(),
        Some(removed) => text::nothing_matches_but(&words::archived(&removed)),
    })
}

/// Columns that a narrow screen does without; `show` has them.
pub(super) fn expendable() -> [&'static str; 2] {
    let [_, _, _, _, retries, age, ..] = text::headings();
    [age, retries]
}

/// A failure's cells, in the columns of the catalogue's headings.
pub(super) fn row(failure: &snapshot::Failure, now: WallTime) -> Vec<String> {
    let next = match (failure.state.as_str(), failure.next_retry_at) {
        ("scheduled", Some(at)) => text::in_span(&span(at.since(now))),
        ("scheduled", None) => text::on_reconnection().to_owned(),
        _ => "-".to_owned(),
    };
    vec![
        failure.seq.to_string(),
        sanitize(&format!("{} {}", failure.entity_type, failure.entity_id)),
        sanitize(&failure.action),
        sanitize(words::state_name(&failure.state)),
        failure.retry_count.to_string(),
        failure.created_at.map_or_else(String::new, |at| span(now.since(at))),
        next,
        sanitize(&words::error(&failure.error, failure.attempts)),
    ]
}

//! `list` and `critical`: failures that are not delivered.

use super::Failure;
use super::args::{Filters, Global, ListArgs};
use super::choose::filter;
use super::render::{count, harmless, span};
use super::session::Session;
use crate::figures::snapshot::{self, Failures};
use crate::io::clock::wall;
use crate::moment::WallTime;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// So many are `critical`'s (`spec/01`).
const MOST_CRITICAL: usize = 20;

/// `list`
pub fn run(global: &Global, args: &ListArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if args.payload && !session.json {
        return Err(Failure::Usage(
            "--payload goes with --json; to read the payload of one failure: resyncd show ID --payload".into(),
        ));
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
    print(&session, request, "No failures match. Everything of that kind has been sent.")
}

/// `critical`
pub fn critical(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = filter(&Filters { status: Some("critical".into()), ..Filters::default() })?;
    request.insert("order".into(), json!("desc"));
    request.insert("limit".into(), json!(MOST_CRITICAL));
    print(&session, request, "Nothing needs a person.")
}

fn print(session: &Session, mut request: Map<String, Value>, none: &str) -> Result<(), Failure> {
    request.insert("op".into(), json!("list"));
    let reply = session.ask(&Value::Object(request))?.value;
    let mut out = io::stdout().lock();
    if session.json {
        let mut failures = reply["failures"].as_array().into_iter().flatten();
        return Ok(failures.try_for_each(|failure| writeln!(out, "{failure}"))?);
    }
    let Failures { failures, total, next } = Failures::read(reply).map_err(Failure::Failed)?;
    if failures.is_empty() {
        writeln!(out, "{none}")?;
        return Ok(());
    }
    let now = wall();
    let rows: Vec<Vec<String>> = failures.iter().map(|failure| row(failure, now)).collect();
    session.screen.table(&mut out, &HEADING, &rows)?;
    if let Some(next) = next {
        writeln!(out, "{} of {}. Go on with: --after {next}", failures.len(), count(total.unwrap_or_default()))?;
    }
    Ok(())
}

/// What stands above the columns of [`row`].
pub(super) const HEADING: [&str; 8] = ["NR", "ENTITY", "ACTION", "STATE", "RETRIES", "AGE", "NEXT", "ERROR"];

/// A failure's cells.
pub(super) fn row(failure: &snapshot::Failure, now: WallTime) -> Vec<String> {
    let next = match (failure.state.as_str(), failure.next_retry_at) {
        ("scheduled", Some(at)) => format!("in {}", span(at.since(now))),
        ("scheduled", None) => "with the line".to_owned(),
        _ => "-".to_owned(),
    };
    vec![
        failure.seq.to_string(),
        harmless(&format!("{} {}", failure.entity_type, failure.entity_id)),
        harmless(&failure.action),
        harmless(&failure.state),
        failure.retry_count.to_string(),
        failure.created_at.map_or_else(String::new, |at| span(now.since(at))),
        next,
        harmless(&failure.error),
    ]
}

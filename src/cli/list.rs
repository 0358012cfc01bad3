//! `list`: failures that are not delivered.

use super::Failure;
use super::args::{Filters, Global, ListArgs};
use super::render::{count, harmless, span};
use super::session::Session;
use crate::io::clock::wall;
use crate::moment::WallTime;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Runs the command.
pub fn run(global: &Global, args: &ListArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = filter(&args.filters);
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            request.insert(name.to_owned(), value);
        }
    };
    put("op", Some(json!("list")));
    put("order_key", args.order_key.clone().map(Value::from));
    put("limit", args.limit.map(Value::from));
    put("after", args.after.clone().map(Value::from));
    put("order", args.order.clone().map(Value::from));
    put("payload", args.payload.then_some(Value::Bool(true)));
    let reply = session.ask(&Value::Object(request))?.value;
    let failures = reply["failures"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = io::stdout().lock();
    if session.json {
        return Ok(failures.iter().try_for_each(|failure| writeln!(out, "{failure}"))?);
    }
    if failures.is_empty() {
        writeln!(out, "No failures match. Everything of that kind has been sent.")?;
        return Ok(());
    }
    let now = wall();
    let rows: Vec<Vec<String>> = failures.iter().map(|failure| row(failure, now)).collect();
    session.screen.table(&mut out, &["NR", "ENTITY", "ACTION", "STATE", "RETRIES", "AGE", "NEXT", "ERROR"], &rows)?;
    let total = reply["total"].as_u64().unwrap_or_default();
    if let Some(next) = reply["next"].as_str() {
        writeln!(out, "{} of {}. Go on with: --after {next}", failures.len(), count(total))?;
    }
    Ok(())
}

fn row(failure: &Value, now: WallTime) -> Vec<String> {
    let text = |name: &str| harmless(failure[name].as_str().unwrap_or_default());
    let time = |name: &str| failure[name].as_str().and_then(WallTime::parse);
    let next = match (failure["state"].as_str(), time("next_retry_at")) {
        (Some("scheduled"), Some(at)) => format!("in {}", span(at.since(now))),
        (Some("scheduled"), None) => "with the line".to_owned(),
        _ => "-".to_owned(),
    };
    vec![
        failure["seq"].to_string(),
        format!("{} {}", text("entity_type"), text("entity_id")),
        text("action"),
        text("state"),
        failure["retry_count"].to_string(),
        time("created_at").map_or_else(String::new, |at| span(now.since(at))),
        next,
        text("error"),
    ]
}

/// Filters as the protocol names them.
#[must_use]
pub fn filter(filters: &Filters) -> Map<String, Value> {
    let named = [
        ("status", &filters.status),
        ("entity_type", &filters.entity_type),
        ("entity_id", &filters.entity),
        ("action", &filters.action),
        ("upstream", &filters.upstream),
        ("error_class", &filters.error_class),
        ("since", &filters.since),
        ("until", &filters.until),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))).collect()
}

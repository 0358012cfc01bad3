//! `stats`: the numbers of failures by type, action and outcome.

use super::Failure;
use super::args::Global;
use super::render::{ago, count, text, time};
use super::session::Session;
use super::times::{Edge, instant};
use crate::io::clock::wall;
use crate::text::numbers::decimal;
use crate::text::statistics as words;
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, Write};

/// `stats`
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// From then on: 24h (ago), 06:12, 2026-11-24
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub since: String,
}

/// Runs the command.
pub fn run(global: &Global, args: &StatsArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let reply = session.ask(&json!({"op": "stats", "since": instant("since", &args.since, Edge::Start)?}))?.value;
    let groups = reply["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = io::stdout().lock();
    if session.json {
        let mut totals = reply.clone();
        if let Some(fields) = totals.as_object_mut() {
            fields.remove("groups");
            fields.remove("ok");
        }
        groups.iter().try_for_each(|group| writeln!(out, "{group}"))?;
        return Ok(writeln!(out, "{totals}")?);
    }
    let number = |value: &Value, name: &str| count(value[name].as_u64().unwrap_or_default());
    if let Some(since) = time(&reply, "since") {
        writeln!(out, "{}", words::since(&ago(since, wall())))?;
    }
    let outcomes = words::outcomes();
    let width = outcomes.iter().map(|outcome| outcome.chars().count()).max().unwrap_or_default() + 2;
    for (outcome, name) in outcomes.iter().zip(["recorded", "delivered", "discarded", "cleaned"]) {
        writeln!(out, "{outcome:<width$}{}", number(&reply, name))?;
    }
    writeln!(out)?;
    if groups.is_empty() {
        writeln!(out, "{}", words::none_left())?;
        return Ok(());
    }
    writeln!(out, "{}", words::still_here())?;
    let row = |group: &Value| {
        vec![
            text(group, "entity_type"),
            text(group, "action"),
            number(group, "total_failures"),
            decimal(group["avg_retries"].as_f64().unwrap_or_default(), 1),
            number(group, "max_retries"),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    Ok(session.screen.table(&mut out, &words::headings(), &rows)?)
}

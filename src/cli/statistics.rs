//! `stats`: how many of what kind, and what became of them.

use super::Failure;
use super::args::Global;
use super::render::{ago, count, text, time};
use super::session::Session;
use super::times::{Edge, instant};
use crate::io::clock::wall;
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
        writeln!(out, "Since {}:", ago(since, wall()))?;
    }
    for name in ["recorded", "delivered", "discarded", "cleaned"] {
        writeln!(out, "{name:<11}{}", number(&reply, name))?;
    }
    writeln!(out)?;
    if groups.is_empty() {
        writeln!(out, "Nothing that was recorded since then is still here.")?;
        return Ok(());
    }
    writeln!(out, "Still here, of what was recorded since then:")?;
    let row = |group: &Value| {
        vec![
            text(group, "entity_type"),
            text(group, "action"),
            number(group, "total_failures"),
            format!("{:.1}", group["avg_retries"].as_f64().unwrap_or_default()),
            number(group, "max_retries"),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    Ok(session.screen.table(&mut out, &["TYPE", "ACTION", "FAILURES", "RETRIES (MEAN)", "(MOST)"], &rows)?)
}

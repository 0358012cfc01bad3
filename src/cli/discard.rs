//! `discard`: permanently removes failures. They are archived, and the failures behind them are held.

use super::Failure;
use super::args::{BulkArgs, Global};
use super::operate::{self, Many};
use super::render::sanitize;
use super::session::Session;
use crate::text::operate as text;
use clap::Args;
use serde_json::{Value, json};

/// `discard`
#[derive(Debug, Args)]
pub struct DiscardArgs {
    /// Selection, operator and reason.
    #[command(flatten)]
    pub bulk: BulkArgs,
    /// Send those behind a discarded failure without it, instead of holding them
    #[arg(long)]
    pub let_followers: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: &DiscardArgs) -> Result<(), Failure> {
    let reason = args.bulk.reason.as_deref().unwrap_or_default();
    if reason.trim().is_empty() && !args.bulk.dry_run {
        return Err(Failure::Usage(text::say_why().into()));
    }
    operate::many(global, &args.bulk, Many::Discard { let_followers: args.let_followers })
}

/// Lists the failures that were put on hold because the one before them was discarded, and the next steps.
#[must_use]
pub(super) fn followers(session: &Session, reply: &Value) -> String {
    /// Maximum number listed; `list --status held` shows all.
    const SHOWN: usize = 10;
    let held = reply["followers_held"].as_array().map(Vec::as_slice).unwrap_or_default();
    if held.is_empty() {
        return String::new();
    }
    let total = reply["followers_held_total"].as_u64().unwrap_or_default();
    let number = |id: &str| {
        let found = session.quietly(&json!({"op": "get", "id": id})).ok()?;
        Some(found.value["failure"]["seq"].to_string())
    };
    let numbers: Vec<String> =
        held.iter().take(SHOWN).filter_map(Value::as_str).filter_map(number).map(|no| sanitize(&no)).collect();
    let more = if held.len() > SHOWN { " …" } else { "" };
    let numbers = numbers.join(" ");
    format!("\n{}", text::followers(total, &format!("{numbers}{more}"), &numbers))
}

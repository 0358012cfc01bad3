//! `discard`: failures that nobody wants any more. They are archived, and those behind them held.

use super::Failure;
use super::args::{BulkArgs, Global};
use super::operate::{self, Many};
use super::render::{count, harmless};
use clap::Args;
use serde_json::Value;

/// `discard`
#[derive(Debug, Args)]
pub struct DiscardArgs {
    /// Which, who and why.
    #[command(flatten)]
    pub bulk: BulkArgs,
    /// Let those behind a discarded one go out without it, instead of holding them
    #[arg(long)]
    pub let_followers: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: &DiscardArgs) -> Result<(), Failure> {
    let reason = args.bulk.reason.as_deref().unwrap_or_default();
    if reason.trim().is_empty() && !args.bulk.dry_run {
        return Err(Failure::Usage("say why, for the audit: --reason \"entered twice\"".into()));
    }
    operate::many(global, &args.bulk, Many::Discard { let_followers: args.let_followers })
}

/// Who was held because what stood before is gone, and what to do about it.
#[must_use]
pub(super) fn followers(reply: &Value) -> String {
    /// More than a person wants to read; `list --status held` has them all.
    const SHOWN: usize = 10;
    let held = reply["followers_held"].as_array().map(Vec::as_slice).unwrap_or_default();
    if held.is_empty() {
        return String::new();
    }
    let total = count(reply["followers_held_total"].as_u64().unwrap_or_default());
    let ids: Vec<String> = held.iter().take(SHOWN).filter_map(Value::as_str).map(harmless).collect();
    let more = if held.len() > SHOWN { " …" } else { "" };
    format!(
        "\n{total} behind them are held, for they may make no sense alone. Send them all the same: resyncd release; \
         or give them up: resyncd discard\n  {}{more}",
        ids.join("\n  ")
    )
}

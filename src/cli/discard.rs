//! `discard`: permanently removes failures. They are archived, and the failures behind them are held.

use super::Failure;
use super::args::{BulkArgs, Global};
use super::operate::{self, Many};
use crate::text::operate as text;
use clap::Args;

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

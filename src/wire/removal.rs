//! Removal of undelivered failures by an operator: `discard` and `cleanup`, as requests and replies.

use super::fields::{Fields, Rejection};
use super::operation::{RequestedBy, Scope, scope, signature};
use serde::Serialize;

/// `discard`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discard {
    /// Which failures.
    pub scope: Scope,
    /// Send the followers of a discarded head without it.
    pub let_followers: bool,
    /// Only count.
    pub dry_run: bool,
    /// Who requested it, and why: the reason is required unless it is a dry run.
    pub by: RequestedBy,
}

/// `cleanup`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanUp {
    /// Only count.
    pub dry_run: bool,
    /// Who requested it, and why.
    pub by: RequestedBy,
}

pub(super) fn discard(mut fields: Fields) -> Result<Discard, Rejection> {
    let discard = Discard {
        scope: scope(&mut fields)?,
        let_followers: fields.flag("let_followers")?,
        dry_run: fields.flag("dry_run")?,
        by: signature(&mut fields)?,
    };
    fields.finish(&["ids", "filter", "all", "let_followers", "dry_run", "reason", "by"])?;
    match &discard.by.reason {
        _ if discard.dry_run => Ok(discard),
        Some(reason) if !reason.trim().is_empty() => Ok(discard),
        _ => Err(Rejection::field("reason", "reason is missing: say why they are given up")),
    }
}

pub(super) fn clean_up(mut fields: Fields) -> Result<CleanUp, Rejection> {
    let clean_up = CleanUp { dry_run: fields.flag("dry_run")?, by: signature(&mut fields)? };
    fields.finish(&["dry_run", "reason", "by"])?;
    Ok(clean_up)
}

/// The reply to `discard`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Discarded {
    pub matched: u64,
    pub changed: u64,
    pub skipped: u64,
    /// The first [`MAX_IDS`](crate::limits::MAX_IDS) of them.
    pub followers_held: Vec<String>,
    /// Their total number.
    pub followers_held_total: u64,
}

/// The reply to `cleanup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    pub matched: u64,
    pub changed: u64,
}

//! `replay`: brings back delivered failures from their lines in the archive.
//!
//! The rows of a request are one sequence: all that the archive has of an order key, or of an upstream with strict order, in
//! their order, or a part of that. `more` says that the next part follows; `after` names the failure that was held at the
//! end of the previous part.

use super::fields::{Fields, Rejection, missing};
use super::import::{Imported, row, short, small, time};
use super::operation::{RequestedBy, signature};
use crate::ids::Seq;
use crate::limits::{Limits, MAX_REPLAYED};
use crate::record::Disposition;
use serde::Serialize;

/// A part of a sequence of delivered failures to bring back.
#[derive(Debug)]
pub struct Replay<'a> {
    /// The lines, in the order in which they are to be sent; or why one of them cannot be used.
    pub rows: Vec<Result<Row<'a>, Rejection>>,
    /// Later failures of the sequence follow in another request.
    pub more: bool,
    /// The failure that is held because these rows were still to come.
    pub after: Option<String>,
    /// Only say what would become of them.
    pub dry_run: bool,
    /// Who, and why: the reason is there, unless nothing is changed.
    pub by: RequestedBy,
}

/// One delivered failure.
#[derive(Debug)]
pub struct Row<'a> {
    /// What its line says. It comes back with a fresh budget, so what it had counted is left out.
    pub row: Imported<'a>,
    /// Its number when it was delivered.
    pub seq: Seq,
    /// The database that gave it that number.
    pub instance: Option<String>,
    /// All attempts that it had.
    pub attempts: u32,
    /// The key that the application gave, where an edit has replaced it.
    pub recorded_key: Option<String>,
}

/// The operation `replay`.
pub(super) fn replay<'a>(mut fields: Fields<'a>, limits: &Limits) -> Result<Replay<'a>, Rejection> {
    let (dry_run, more, by) = (fields.flag("dry_run")?, fields.flag("more")?, signature(&mut fields)?);
    let after = short(&mut fields, "after")?;
    let lines = fields.list("rows", MAX_REPLAYED)?.ok_or_else(|| missing("rows"))?;
    fields.finish(&["rows", "more", "after", "dry_run", "reason", "by"])?;
    if !dry_run && by.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(Rejection::field("reason", "reason is missing: say why they are sent again"));
    }
    let rows = lines.into_iter().map(|line| one(Fields::nested("rows", line)?, limits)).collect();
    Ok(Replay { rows, more, after, dry_run, by })
}

fn one<'a>(mut line: Fields<'a>, limits: &Limits) -> Result<Row<'a>, Rejection> {
    if line.text("outcome")?.as_deref() != Some(Disposition::Delivered.as_str()) {
        let message = "outcome must be delivered: what was discarded or cleaned comes back by import";
        return Err(Rejection::field("outcome", message));
    }
    time(&mut line, "left_at")?;
    let seq = line.number("seq", 1..=i64::MAX.unsigned_abs())?.ok_or_else(|| missing("seq"))?;
    let attempts = small(&mut line, "attempts", u32::MAX)?.unwrap_or(0);
    let instance = short(&mut line, "instance")?;
    let recorded_key = short(&mut line, "recorded_key")?;
    let mut row = row(line, limits)?;
    (row.status, row.finished, row.retry_count) = (None, None, 0);
    (row.last_retry_at, row.error_class) = (None, None);
    let seq = Seq(i64::try_from(seq).unwrap_or(i64::MAX));
    Ok(Row { row, seq, instance, attempts, recorded_key })
}

/// The reply to `replay`.
#[derive(Debug, Serialize)]
pub struct ReplayReply {
    /// What became of each row, in their order.
    pub rows: Vec<ImportOutcome>,
    /// The failure that is held until the rest of the sequence is back: the next request names it in `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// What became of a row.
#[derive(Debug, Default, Serialize)]
pub struct ImportOutcome {
    /// The failure; `None`: its line does not say.
    pub id: Option<String>,
    /// `replayed`; `live`: it is, under its id or its key; `refused`; or `later`: send it again, with all rows behind it.
    pub result: &'static str,
    /// Its number here; of a dry run the one that it would have, `None` for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// Where it stands; `None`: it was not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// It has a new number, and goes behind what was live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<bool>,
    /// Why it is not live, as in an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Why>,
}

/// Why a row is not live.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    /// The code.
    pub code: &'static str,
    /// In words.
    pub message: String,
    /// The field concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Why {
    /// The same as an error reply has it.
    #[must_use]
    pub fn of(rejection: &Rejection) -> Self {
        let Rejection { code, message, field } = rejection.clone();
        Self { code: code.as_str(), message, field }
    }
}

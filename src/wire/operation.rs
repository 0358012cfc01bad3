//! Requests of operators: which failures, what is done to them, by whom and why.

use super::fields::{Fields, Rejection, missing, string};
use crate::ids::{FailureName, Seq};
use crate::limits::{DEFAULT_PAGE, MAX_IDS, MAX_PAGE, MAX_REASON};
use crate::moment::WallTime;
use crate::question::{Direction, Filter, ListCursor, ListQuery};
use crate::record::Status;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An operation on many failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// What is done.
    pub bulk_action: BulkAction,
    /// To which failures.
    pub scope: Scope,
    /// Only count.
    pub dry_run: bool,
    /// Who requested it, and why.
    pub by: RequestedBy,
}

/// The action on each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkAction {
    /// Send it again by request of an operator, if `reset` with a new retry budget.
    Retry {
        /// With a new retry budget.
        reset: bool,
    },
    /// Do not send it until it is released.
    Hold,
    /// Send it again in its turn; a critical one as with a retry.
    Release,
    /// Make it due now, if it is pending.
    Flush,
}

impl BulkAction {
    /// The name in requests and in the audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Flush => "flush",
        }
    }
}

/// Which failures are selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// These.
    Named(Vec<FailureName>),
    /// All that match; the empty filter matches all.
    Matching(Filter),
}

/// Who requested an operation, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedBy {
    /// The reason.
    pub reason: Option<String>,
    /// The person that the operator claims to act for.
    pub claimed_by: Option<String>,
}

pub(super) fn named(mut fields: Fields) -> Result<FailureName, Rejection> {
    let name = name_or_beginning(&mut fields)?.ok_or_else(|| missing("id"))?;
    fields.finish(&["id", "prefix"])?;
    Ok(name)
}

/// `id`, and `prefix`: whether it may be the prefix of an id. Only operations that read accept a prefix, because
/// its meaning changes with the failures in the queue.
pub(super) fn name_or_beginning(fields: &mut Fields) -> Result<Option<FailureName>, Rejection> {
    let prefix = fields.flag("prefix")?;
    let name = fields.raw("id").map(|value| failure_name("id", value)).transpose()?;
    Ok(match name {
        Some(FailureName::Id(text)) if prefix => Some(FailureName::Beginning(text)),
        name => name,
    })
}

/// A JSON string is an exact id; a JSON number, or a string of `#` and digits, is a sequence number.
pub(super) fn failure_name(field: &str, value: &RawValue) -> Result<FailureName, Rejection> {
    if let Some(text) = string(value) {
        let number = FailureName::numbered(&text).map(FailureName::Number);
        return Ok(number.unwrap_or_else(|| FailureName::Id(text.into_owned())));
    }
    let number = value.get().parse().map(|seq| FailureName::Number(Seq(seq)));
    number.map_err(|_| Rejection::field(field, format!("{field} must be an id as a string, or a whole number")))
}

pub(super) fn list(mut fields: Fields) -> Result<ListQuery, Rejection> {
    let query = ListQuery {
        filter: filter(&mut fields)?,
        limit: fields
            .number("limit", 1..=MAX_PAGE as u64)?
            .map_or(DEFAULT_PAGE, |limit| usize::try_from(limit).unwrap_or(MAX_PAGE)),
        after: cursor(&mut fields)?,
        direction: match fields.text("order")?.as_deref() {
            None | Some("asc") => Direction::Ascending,
            Some("desc") => Direction::Descending,
            Some(_) => return Err(Rejection::field("order", "order must be \"asc\" or \"desc\"")),
        },
        payload: fields.flag("payload")?,
        total: fields.flag_or("total", true)?,
    };
    if query.after.as_ref().is_some_and(|after| after.at.is_some() != query.is_by_time()) {
        return Err(Rejection::field("after", WRONG_CURSOR));
    }
    fields.finish(&[&FILTERS[..], &["limit", "after", "order", "payload", "total"]].concat())?;
    Ok(query)
}

/// `next` of the previous page.
fn cursor(fields: &mut Fields) -> Result<Option<ListCursor>, Rejection> {
    let Some(text) = fields.text("after")? else { return Ok(None) };
    ListCursor::parse(&text).map(Some).ok_or_else(|| Rejection::field("after", WRONG_CURSOR))
}

const WRONG_CURSOR: &str = "after must be the `next` of an earlier page of the same list";

const FILTERS: [&str; 9] =
    ["status", "entity_type", "entity_id", "order_key", "action", "upstream", "error_class", "since", "until"];

fn filter(fields: &mut Fields) -> Result<Filter, Rejection> {
    let status = match fields.text("status")? {
        None => None,
        Some(text) => Some(
            Status::parse(&text)
                .ok_or_else(|| Rejection::field("status", "status must be pending, held or critical"))?,
        ),
    };
    let entity_id = fields.text_or_integer("entity_id")?.map(Cow::into_owned);
    let mut text = |name| fields.text(name).map(|text| text.map(Cow::into_owned));
    Ok(Filter {
        status,
        entity_type: text("entity_type")?,
        entity_id,
        order_key: text("order_key")?,
        action: text("action")?,
        upstream: text("upstream")?,
        error_class: text("error_class")?,
        since: time(fields, "since")?,
        until: time(fields, "until")?,
    })
}

pub(super) fn time(fields: &mut Fields, name: &str) -> Result<Option<WallTime>, Rejection> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let wrong = || Rejection::field(name, format!("{name} must be a time such as 2026-11-24T06:12:34Z or 2026-11-24"));
    WallTime::parse(&text).map(Some).ok_or_else(wrong)
}

pub(super) fn bulk(mut fields: Fields, bulk_action: BulkAction) -> Result<Bulk, Rejection> {
    let scope = scope(&mut fields)?;
    let bulk = Bulk { bulk_action, scope, dry_run: fields.flag("dry_run")?, by: signature(&mut fields)? };
    fields.finish(&["ids", "filter", "all", "reset", "dry_run", "reason", "by"])?;
    Ok(bulk)
}

pub(super) fn flush(mut fields: Fields) -> Result<Bulk, Rejection> {
    let upstream = fields.text("upstream")?.map(Cow::into_owned);
    let scope = Scope::Matching(Filter { status: Some(Status::Pending), upstream, ..Filter::default() });
    let bulk = Bulk { bulk_action: BulkAction::Flush, scope, dry_run: false, by: signature(&mut fields)? };
    fields.finish(&["upstream", "reason", "by"])?;
    Ok(bulk)
}

/// Exactly one of `ids`, `filter` and `all`.
pub(super) fn scope(fields: &mut Fields) -> Result<Scope, Rejection> {
    let ids = fields.list("ids", MAX_IDS)?;
    let narrowed = match fields.object("filter")? {
        None => None,
        Some(mut inner) => {
            let filter = filter(&mut inner)?;
            inner.finish(&FILTERS)?;
            Some(filter)
        }
    };
    match (ids, narrowed, fields.flag("all")?) {
        (Some(ids), None, false) => {
            Ok(Scope::Named(ids.into_iter().map(|id| failure_name("ids", id)).collect::<Result<_, _>>()?))
        }
        (None, Some(filter), false) if filter != Filter::default() => Ok(Scope::Matching(filter)),
        (None, Some(_), false) => Err(Rejection::field("filter", "an empty filter means all; say all:true")),
        (None, None, true) => Ok(Scope::Matching(Filter::default())),
        _ => Err(Rejection::field("ids", "say which: one of ids, filter, all")),
    }
}

pub(super) fn upstream(mut fields: Fields) -> Result<(Option<String>, RequestedBy), Rejection> {
    let upstream = fields.text("upstream")?.map(Cow::into_owned);
    let by = signature(&mut fields)?;
    fields.finish(&["upstream", "reason", "by"])?;
    Ok((upstream, by))
}

/// An operation without parameters, except by whom and why.
pub(super) fn signed(mut fields: Fields) -> Result<RequestedBy, Rejection> {
    let by = signature(&mut fields)?;
    fields.finish(&["reason", "by"])?;
    Ok(by)
}

pub(super) fn signature(fields: &mut Fields) -> Result<RequestedBy, Rejection> {
    let mut text = |name: &str| -> Result<Option<String>, Rejection> {
        match fields.text(name)? {
            Some(text) if text.chars().count() > MAX_REASON => {
                Err(Rejection::field(name, format!("{name} is longer than {MAX_REASON} characters")))
            }
            other => Ok(other.map(Cow::into_owned)),
        }
    };
    Ok(RequestedBy { reason: text("reason")?, claimed_by: text("by")? })
}

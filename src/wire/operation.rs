//! What technicians ask for: which failures, what is done to them, by whom and why (`spec/02`).

use super::fields::{Fields, Rejection, missing, string};
use crate::ids::{FailureName, Seq};
use crate::limits::{DEFAULT_PAGE, MAX_IDS, MAX_PAGE, MAX_REASON};
use crate::moment::WallTime;
use crate::question::{Direction, Filter, ListQuery};
use crate::record::Status;
use std::borrow::Cow;

/// An operation on many failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// What is done.
    pub deed: Deed,
    /// To which.
    pub scope: Scope,
    /// Only count.
    pub dry_run: bool,
    /// Who and why.
    pub by: Signature,
}

/// What is done to each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Sent once more, by a person's wish; with a fresh budget.
    Retry {
        /// A fresh budget.
        reset: bool,
    },
    /// Not sent until it is released.
    Hold,
    /// Sent again when its turn comes; a critical one as by a retry.
    Release,
    /// Due now, if pending.
    Flush,
}

impl Deed {
    /// As it is asked for and audited.
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

/// Which failures are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// These.
    Named(Vec<FailureName>),
    /// All that match; the empty filter is all.
    Matching(Filter),
}

/// What a person says of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Why.
    pub reason: Option<String>,
    /// Whom the person claims to be.
    pub claimed_by: Option<String>,
}

pub(super) fn named(mut fields: Fields) -> Result<FailureName, Rejection> {
    let Some(value) = fields.raw("id") else { return Err(missing("id")) };
    let text = string(value).unwrap_or(Cow::Borrowed(value.get()));
    fields.finish(&["id"])?;
    Ok(FailureName::parse(&text))
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
    fields.finish(&[&FILTERS[..], &["limit", "after", "order", "payload", "total"]].concat())?;
    Ok(query)
}

/// `next` of the page before.
fn cursor(fields: &mut Fields) -> Result<Option<Seq>, Rejection> {
    let Some(text) = fields.text("after")? else { return Ok(None) };
    let wrong = || Rejection::field("after", "after must be the `next` of an earlier page");
    text.parse().map(|number| Some(Seq(number))).map_err(|_| wrong())
}

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
    let mut text = |name| fields.text(name).map(|text| text.map(Cow::into_owned));
    Ok(Filter {
        status,
        entity_type: text("entity_type")?,
        entity_id: text("entity_id")?,
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

pub(super) fn bulk(mut fields: Fields, deed: Deed) -> Result<Bulk, Rejection> {
    let scope = scope(&mut fields)?;
    let bulk = Bulk { deed, scope, dry_run: fields.flag("dry_run")?, by: signature(&mut fields)? };
    fields.finish(&["ids", "filter", "all", "reset", "dry_run", "reason", "by"])?;
    Ok(bulk)
}

pub(super) fn flush(mut fields: Fields) -> Result<Bulk, Rejection> {
    let upstream = fields.text("upstream")?.map(Cow::into_owned);
    let scope = Scope::Matching(Filter { status: Some(Status::Pending), upstream, ..Filter::default() });
    let bulk = Bulk { deed: Deed::Flush, scope, dry_run: false, by: signature(&mut fields)? };
    fields.finish(&["upstream", "reason", "by"])?;
    Ok(bulk)
}

/// Exactly one of `ids`, `filter` and `all`.
pub(super) fn scope(fields: &mut Fields) -> Result<Scope, Rejection> {
    let ids = fields.texts("ids", MAX_IDS)?;
    let narrowed = match fields.object("filter")? {
        None => None,
        Some(mut inner) => {
            let filter = filter(&mut inner)?;
            inner.finish(&FILTERS)?;
            Some(filter)
        }
    };
    match (ids, narrowed, fields.flag("all")?) {
        (Some(ids), None, false) => Ok(Scope::Named(ids.iter().map(|id| FailureName::parse(id)).collect())),
        (None, Some(filter), false) if filter != Filter::default() => Ok(Scope::Matching(filter)),
        (None, Some(_), false) => Err(Rejection::field("filter", "an empty filter means all; say all:true")),
        (None, None, true) => Ok(Scope::Matching(Filter::default())),
        _ => Err(Rejection::field("ids", "say which: one of ids, filter, all")),
    }
}

pub(super) fn upstream(mut fields: Fields) -> Result<(Option<String>, Signature), Rejection> {
    let upstream = fields.text("upstream")?.map(Cow::into_owned);
    let by = signature(&mut fields)?;
    fields.finish(&["upstream", "reason", "by"])?;
    Ok((upstream, by))
}

/// An operation of which nothing is said but by whom and why.
pub(super) fn signed(mut fields: Fields) -> Result<Signature, Rejection> {
    let by = signature(&mut fields)?;
    fields.finish(&["reason", "by"])?;
    Ok(by)
}

pub(super) fn signature(fields: &mut Fields) -> Result<Signature, Rejection> {
    let mut text = |name: &str| -> Result<Option<String>, Rejection> {
        match fields.text(name)? {
            Some(text) if text.chars().count() > MAX_REASON => {
                Err(Rejection::field(name, format!("{name} is longer than {MAX_REASON} characters")))
            }
            other => Ok(other.map(Cow::into_owned)),
        }
    };
    Ok(Signature { reason: text("reason")?, claimed_by: text("by")? })
}

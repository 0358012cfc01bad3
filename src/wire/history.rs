//! `history` and `stats`: requests and replies about attempts and operations.

use super::fields::{Fields, Rejection, missing};
use super::operation::{name_or_beginning, time};
use crate::limits::MAX_PAGE;
use crate::moment::WallTime;
use crate::question::{Direction, EntryCursor, HistoryOf, HistoryQuery};
use serde::Serialize;
use serde_json::value::RawValue;

pub(super) fn history(mut fields: Fields) -> Result<HistoryQuery, Rejection> {
    const KNOWN: [&str; 10] =
        ["id", "prefix", "entity_type", "entity_id", "removed", "delivered", "since", "limit", "after", "order"];
    let id = name_or_beginning(&mut fields)?;
    let entity = (fields.text("entity_type")?, fields.text_or_integer("entity_id")?);
    let since = time(&mut fields, "since")?;
    let (removed, delivered) = (fields.flag("removed")?, fields.flag("delivered")?);
    let of = match (id, entity) {
        _ if removed && delivered => {
            return Err(Rejection::field("delivered", "removed and delivered exclude each other"));
        }
        (None, (None, None)) if removed => HistoryOf::Removed,
        (None, (None, None)) if delivered => HistoryOf::Delivered,
        _ if removed || delivered => {
            let field = if removed { "removed" } else { "delivered" };
            return Err(Rejection::field(field, format!("{field} is about all failures, not about one of them")));
        }
        (Some(id), (None, None)) => HistoryOf::Failure(id),
        (None, (Some(kind), Some(which))) => HistoryOf::Entity(kind.into_owned(), which.into_owned()),
        (None, (None, None)) if since.is_some() => HistoryOf::All,
        (None, (Some(_), None)) => return Err(missing("entity_id")),
        (None, (None, Some(which))) => HistoryOf::EntityId(which.into_owned()),
        _ => {
            let message = "say whose: one of id, entity_id (with entity_type), removed, delivered, since";
            return Err(Rejection::field("id", message));
        }
    };
    let wrong = || Rejection::field("after", "after must be the `next` of an earlier page");
    let query = HistoryQuery {
        of,
        since,
        after: fields.text("after")?.map(|text| EntryCursor::parse(&text).ok_or_else(wrong)).transpose()?,
        limit: fields
            .number("limit", 1..=MAX_PAGE as u64)?
            .map_or(MAX_PAGE, |limit| usize::try_from(limit).unwrap_or(MAX_PAGE)),
        direction: match fields.text("order")?.as_deref() {
            None | Some("asc") => Direction::Ascending,
            Some("desc") => Direction::Descending,
            Some(_) => return Err(Rejection::field("order", "order must be \"asc\" or \"desc\"")),
        },
    };
    fields.finish(&KNOWN)?;
    Ok(query)
}

pub(super) fn statistics(mut fields: Fields) -> Result<Option<WallTime>, Rejection> {
    let since = time(&mut fields, "since")?;
    fields.finish(&["since"])?;
    Ok(since)
}

/// The reply to `stats`.
#[derive(Clone, Debug, Serialize)]
pub struct StatisticsReply {
    pub since: String,
    pub recorded: u64,
    pub delivered: u64,
    pub discarded: u64,
    pub cleaned: u64,
    pub groups: Vec<GroupView>,
}

/// One group of `stats`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupView {
    pub entity_type: String,
    pub action: String,
    pub total_failures: u64,
    pub avg_retries: f64,
    pub max_retries: u32,
}

/// The reply to `history`.
#[derive(Clone, Debug, Serialize)]
pub struct HistoryReply<'a> {
    pub entries: Vec<EntryView<'a>>,
    pub next: Option<String>,
}

/// One entry of a history.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EntryView<'a> {
    Attempt {
        at: String,
        failure_id: &'a str,
        seq: i64,
        entity_type: &'a str,
        entity_id: &'a str,
        action: &'a str,
        attempt: u32,
        trigger: &'a str,
        upstream: &'a str,
        duration_ms: i64,
        http_status: Option<u16>,
        class: &'a str,
        error: Option<&'a str>,
        response: Option<&'a str>,
        counted: bool,
        provisional: bool,
        why: Option<&'a str>,
    },
    Operation {
        at: String,
        failure_id: Option<&'a str>,
        seq: Option<i64>,
        entity_type: Option<&'a str>,
        entity_id: Option<&'a str>,
        action: Option<&'a str>,
        operation: &'a str,
        actor_uid: Option<u32>,
        actor_name: Option<&'a str>,
        claimed_by: Option<&'a str>,
        reason: Option<&'a str>,
        /// What an edit changed besides the payload: old and new value by name.
        #[serde(skip_serializing_if = "Option::is_none")]
        changes: Option<&'a RawValue>,
        /// Hashes of the payload before and after an edit.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256_before: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256_after: Option<&'a str>,
    },
}

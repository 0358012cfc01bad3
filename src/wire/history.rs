//! `history` and `stats`: what was tried and done, as it is asked for and answered (`spec/02`, 07).

use super::fields::{Fields, Rejection, missing, string};
use super::operation::time;
use crate::ids::FailureName;
use crate::limits::MAX_PAGE;
use crate::moment::WallTime;
use crate::question::{Direction, EntryCursor, HistoryOf, HistoryQuery};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

pub(super) fn history(mut fields: Fields) -> Result<HistoryQuery, Rejection> {
    const KNOWN: [&str; 7] = ["id", "entity_type", "entity_id", "since", "limit", "after", "order"];
    let id = fields.raw("id").map(|value| string(value).unwrap_or(Cow::Borrowed(value.get())));
    let entity = (fields.text("entity_type")?, fields.text("entity_id")?);
    let since = time(&mut fields, "since")?;
    let of = match (id, entity) {
        (Some(id), (None, None)) => HistoryOf::Failure(FailureName::parse(&id)),
        (None, (Some(kind), Some(which))) => HistoryOf::Entity(kind.into_owned(), which.into_owned()),
        (None, (None, None)) if since.is_some() => HistoryOf::All,
        (None, (Some(_), None)) => return Err(missing("entity_id")),
        (None, (None, Some(_))) => return Err(missing("entity_type")),
        _ => return Err(Rejection::field("id", "say whose: one of id, entity_type with entity_id, since")),
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
#[expect(missing_docs, reason = "the fields of spec/02")]
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
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct GroupView {
    pub entity_type: String,
    pub action: String,
    pub total_failures: u64,
    pub avg_retries: f64,
    pub max_retries: u32,
}

/// The reply to `history`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/07")]
pub struct HistoryReply<'a> {
    pub entries: Vec<EntryView<'a>>,
    pub next: Option<String>,
}

/// One entry of a history.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(missing_docs, reason = "the fields of spec/07")]
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
        /// What an edit changed beside the payload: to each name the old and the new value.
        #[serde(skip_serializing_if = "Option::is_none")]
        changes: Option<&'a RawValue>,
        /// Of an edit's payloads.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256_before: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256_after: Option<&'a str>,
    },
}

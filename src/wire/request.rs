//! A request of the socket protocol, parsed from a line.

use super::content::{idempotency_key, key, name, payload};
use super::edit::{Edit, edit};
use super::fields::{Code, Fields, Rejection, missing};
use super::history::{history, statistics};
use super::import::{Import, import};
use super::operation::{Bulk, BulkAction, RequestedBy, bulk, flush, list, named, signed, upstream};
use super::removal::{CleanUp, Discard, clean_up, discard};
use super::replay::{Replay, replay};
use crate::ids::FailureName;
use crate::limits::{Limits, MAX_ERROR, cut, quote};
use crate::moment::WallTime;
use crate::policy::backoff::client_attempt;
use crate::question::{HistoryQuery, ListQuery};
use crate::record::{ClientAttempt, NOT_SENT_YET, NewFailure};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The socket that a line came from, which decides the allowed operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// For local applications.
    App,
    /// For root and the agent's own user.
    Admin,
}

/// A parsed line.
#[derive(Debug)]
pub struct Line<'a> {
    /// The value that is returned in the reply.
    pub reference: Option<&'a RawValue>,
    /// The request.
    pub request: Result<Request<'a>, Rejection>,
}

/// The requests of clients.
#[derive(Debug)]
pub enum Request<'a> {
    Hello,
    Record(Box<NewFailure<'a>>),
    Get(FailureName),
    Unsent,
    Health,
    Alerts,
    List(ListQuery),
    Metrics,
    History(HistoryQuery),
    Stats { since: Option<WallTime> },
    Series { since: Option<WallTime> },
    Digest { since: Option<WallTime> },
    Bulk(Bulk),
    Edit(Box<Edit<'a>>),
    Discard(Discard),
    CleanUp(CleanUp),
    Pause { upstream: Option<String>, by: RequestedBy },
    Resume { upstream: Option<String>, by: RequestedBy },
    Import(Box<Import<'a>>),
    Replay(Box<Replay<'a>>),
    Reload(RequestedBy),
}

/// Operations of the app socket.
pub const APP_OPS: [&str; 5] = ["hello", "record", "get", "unsent", "health"];
/// Further operations, of the admin socket only.
pub const ADMIN_OPS: &[&str] = &[
    "list", "history", "stats", "series", "digest", "alerts", "metrics", "retry", "hold", "release", "discard", "edit",
    "flush", "pause", "resume", "cleanup", "import", "replay", "reload",
];

/// Parses a line; invalid UTF-8 was made [`legible`](super::fields::legible) before.
#[must_use]
pub fn parse<'a>(line: &'a [u8], socket: Socket, limits: &Limits) -> Line<'a> {
    match Fields::read(line) {
        Err(rejection) => Line { reference: None, request: Err(rejection) },
        Ok(mut fields) => {
            let judged = fields.judge_names();
            // If a reference is given twice, it is unknown which one is meant.
            let known = judged.as_ref().err().is_none_or(|wrong| wrong.field.as_deref() != Some("ref"));
            let reference = fields.present("ref").filter(|_| known);
            Line { reference, request: judged.and_then(|()| request(fields, socket, limits)) }
        }
    }
}

fn request<'a>(mut fields: Fields<'a>, socket: Socket, limits: &Limits) -> Result<Request<'a>, Rejection> {
    let op = fields.required_text("op")?;
    if socket == Socket::App && ADMIN_OPS.contains(&&*op) {
        return Err(Rejection::new(Code::Forbidden, format!("{op} is an operation of the admin socket")));
    }
    match &*op {
        "hello" => fields.finish(&[]).map(|()| Request::Hello),
        "record" => record(fields, limits).map(|new| Request::Record(Box::new(new))),
        "get" => named(fields).map(Request::Get),
        "unsent" => fields.finish(&[]).map(|()| Request::Unsent),
        "health" => fields.finish(&[]).map(|()| Request::Health),
        "alerts" => fields.finish(&[]).map(|()| Request::Alerts),
        "list" => list(fields).map(Request::List),
        "history" => history(fields).map(Request::History),
        "stats" => statistics(fields).map(|since| Request::Stats { since }),
        "series" => statistics(fields).map(|since| Request::Series { since }),
        "digest" => statistics(fields).map(|since| Request::Digest { since }),
        "metrics" => fields.finish(&[]).map(|()| Request::Metrics),
        "retry" => {
            let bulk_action = BulkAction::Retry { reset: fields.flag("reset")? };
            bulk(fields, bulk_action).map(Request::Bulk)
        }
        "hold" => bulk(fields, BulkAction::Hold).map(Request::Bulk),
        "release" => bulk(fields, BulkAction::Release).map(Request::Bulk),
        "edit" => edit(fields, limits.max_payload).map(|edit| Request::Edit(Box::new(edit))),
        "discard" => discard(fields).map(Request::Discard),
        "cleanup" => clean_up(fields).map(Request::CleanUp),
        "flush" => flush(fields).map(Request::Bulk),
        "pause" => upstream(fields).map(|(upstream, by)| Request::Pause { upstream, by }),
        "import" => import(fields, limits).map(|import| Request::Import(Box::new(import))),
        "replay" => replay(fields, limits).map(|replay| Request::Replay(Box::new(replay))),
        "reload" => signed(fields).map(Request::Reload),
        "resume" => upstream(fields).map(|(upstream, by)| Request::Resume { upstream, by }),
        _ => {
            let known =
                if socket == Socket::App { APP_OPS.join(" ") } else { [&APP_OPS[..], ADMIN_OPS].concat().join(" ") };
            let message = format!("unknown operation {}; known: {known}", quote(&op));
            Err(Rejection::new(Code::UnknownOp, message).about("op"))
        }
    }
}

fn record<'a>(mut fields: Fields<'a>, limits: &Limits) -> Result<NewFailure<'a>, Rejection> {
    const KNOWN: [&str; 14] = [
        "entity_type",
        "entity_id",
        "action",
        "error",
        "payload",
        "payload_base64",
        "payload_kind",
        "http_status",
        "idempotency_key",
        "order_key",
        "retry",
        "ref",
        "retry_count",
        "last_retry_at",
    ];
    without_past(&mut fields)?;
    let entity_type = name(&mut fields, "entity_type")?.ok_or_else(|| missing("entity_type"))?;
    let entity_id = key(&mut fields, "entity_id")?.ok_or_else(|| missing("entity_id"))?;
    let action = name(&mut fields, "action")?.ok_or_else(|| missing("action"))?;
    let wants_now = match fields.text("retry")?.as_deref() {
        None | Some("auto") => false,
        Some("now") => true,
        Some(_) => return Err(Rejection::field("retry", "retry must be \"auto\" or \"now\"")),
    };
    let error = fields.lossy_text("error")?;
    let tried = error.is_some();
    let error = match error {
        Some(text) if text.len() > MAX_ERROR => Cow::Owned(cut(&text, MAX_ERROR)),
        Some(text) => text,
        None if wants_now => Cow::Borrowed(NOT_SENT_YET),
        None => return Err(missing("error")),
    };
    let given = fields.number("http_status", 0..=999)?.and_then(|status| u16::try_from(status).ok());
    let http_status = given.or_else(|| status_in(&error));
    let new = NewFailure {
        entity_type,
        entity_id,
        action,
        payload: payload(&mut fields, limits.max_payload)?,
        idempotency_key: idempotency_key(&mut fields)?,
        order_key: key(&mut fields, "order_key")?,
        tried,
        client_attempt: if wants_now { ClientAttempt::None } else { client_attempt(http_status) },
        http_status,
        error,
    };
    fields.finish(&KNOWN)?;
    Ok(new)
}

/// Accepts the fields with which a new row of a server-side table states that it was not retried yet.
fn without_past(fields: &mut Fields) -> Result<(), Rejection> {
    for (name, nothing) in [("retry_count", "0"), ("last_retry_at", "null")] {
        if fields.present(name).is_some_and(|value| ![nothing, "null"].contains(&value.get())) {
            let message = format!("{name} may only be {nothing} in a record; a failure with a past comes in by import");
            return Err(Rejection::field(name, message));
        }
    }
    Ok(())
}

/// The status at the beginning of an error text: `HTTP 500: Internal Server Error`.
fn status_in(error: &str) -> Option<u16> {
    let digits = error.strip_prefix("HTTP ")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 3 { digits[..end].parse().ok() } else { None }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

//! A request of the socket protocol: what a line asks for (`spec/02`).

use super::edit::{Edit, edit};
use super::fields::{Code, Fields, Rejection, missing, string};
use super::history::{history, statistics};
use super::import::{Import, import};
use super::leaving::{CleanUp, Discard, clean_up, discard};
use super::operation::{Bulk, Deed, Signature, bulk, flush, list, named, signed, upstream};
use crate::ids::FailureName;
use crate::limits::{Limits, MAX_ERROR, MAX_IDEMPOTENCY_KEY, MAX_KEY, MAX_NAME, cut};
use crate::moment::WallTime;
use crate::policy::backoff::own_try;
use crate::question::{HistoryQuery, ListQuery};
use crate::record::{NewFailure, OwnTry, PayloadKind};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Which socket a line came from, and so what it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// Local applications.
    App,
    /// Root and the agent's own user.
    Admin,
}

/// A line, read.
#[derive(Debug)]
pub struct Line<'a> {
    /// The value that comes back in the reply.
    pub reference: Option<&'a RawValue>,
    /// What it asks for.
    pub request: Result<Request<'a>, Rejection>,
}

/// What a client may ask for.
#[derive(Debug)]
#[expect(missing_docs, reason = "spec/02 has their meaning")]
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
    Pause { upstream: Option<String>, by: Signature },
    Resume { upstream: Option<String>, by: Signature },
    Import(Box<Import<'a>>),
    Reload(Signature),
}

/// Operations of the app socket, and of the admin socket beside them.
pub const APP_OPS: [&str; 5] = ["hello", "record", "get", "unsent", "health"];
/// See [`APP_OPS`].
pub const ADMIN_OPS: &[&str] = &[
    "list", "history", "stats", "series", "digest", "alerts", "metrics", "retry", "hold", "release", "discard", "edit",
    "flush", "pause", "resume", "cleanup", "import", "reload",
];

/// Reads a line.
#[must_use]
pub fn parse<'a>(line: &'a [u8], socket: Socket, limits: &Limits) -> Line<'a> {
    match Fields::parse(line) {
        Err(rejection) => Line { reference: None, request: Err(rejection) },
        Ok(mut fields) => {
            let reference = fields.present("ref");
            Line { reference, request: request(fields, socket, limits) }
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
            let deed = Deed::Retry { reset: fields.flag("reset")? };
            bulk(fields, deed).map(Request::Bulk)
        }
        "hold" => bulk(fields, Deed::Hold).map(Request::Bulk),
        "release" => bulk(fields, Deed::Release).map(Request::Bulk),
        "edit" => edit(fields, limits.max_payload).map(|edit| Request::Edit(Box::new(edit))),
        "discard" => discard(fields).map(Request::Discard),
        "cleanup" => clean_up(fields).map(Request::CleanUp),
        "flush" => flush(fields).map(Request::Bulk),
        "pause" => upstream(fields).map(|(upstream, by)| Request::Pause { upstream, by }),
        "import" => import(fields, limits).map(|import| Request::Import(Box::new(import))),
        "reload" => signed(fields).map(Request::Reload),
        "resume" => upstream(fields).map(|(upstream, by)| Request::Resume { upstream, by }),
        _ => {
            let known =
                if socket == Socket::App { APP_OPS.join(" ") } else { [&APP_OPS[..], ADMIN_OPS].concat().join(" ") };
            let message = format!("unknown operation {}; there are {known}", cut(&op, 100));
            Err(Rejection::new(Code::UnknownOp, message).about("op"))
        }
    }
}

fn record<'a>(mut fields: Fields<'a>, limits: &Limits) -> Result<NewFailure<'a>, Rejection> {
    const KNOWN: [&str; 10] = [
        "entity_type",
        "entity_id",
        "action",
        "error",
        "payload",
        "http_status",
        "idempotency_key",
        "order_key",
        "retry",
        "ref",
    ];
    let entity_type = name(&mut fields, "entity_type")?.ok_or_else(|| missing("entity_type"))?;
    let entity_id = key(&mut fields, "entity_id")?.ok_or_else(|| missing("entity_id"))?;
    let action = name(&mut fields, "action")?.ok_or_else(|| missing("action"))?;
    let wants_now = match fields.text("retry")?.as_deref() {
        None | Some("auto") => false,
        Some("now") => true,
        Some(_) => return Err(Rejection::field("retry", "retry must be \"auto\" or \"now\"")),
    };
    let error = fields.text("error")?;
    let tried = error.is_some();
    let error = match error {
        Some(text) if text.len() > MAX_ERROR => Cow::Owned(cut(&text, MAX_ERROR)),
        Some(text) => text,
        None if wants_now => Cow::Borrowed("not sent yet"),
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
        own_try: if wants_now { OwnTry::None } else { own_try(http_status) },
        http_status,
        error,
    };
    fields.finish(&KNOWN)?;
    Ok(new)
}

/// An entity type or an action.
pub(super) fn name<'a>(fields: &mut Fields<'a>, field: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(Some(text));
    }
    Err(Rejection::field(field, format!("{field} must be 1 to {MAX_NAME} characters of A-Z a-z 0-9 _ . -")))
}

/// An entity id or an order key.
pub(super) fn key<'a>(fields: &mut Fields<'a>, field: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    let length = text.chars().take(MAX_KEY + 1).count();
    if (1..=MAX_KEY).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(Some(text));
    }
    Err(Rejection::field(field, format!("{field} must be 1 to {MAX_KEY} characters, none of them a control character")))
}

pub(super) fn idempotency_key<'a>(fields: &mut Fields<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
    const FIELD: &str = "idempotency_key";
    let Some(text) = fields.text(FIELD)? else { return Ok(None) };
    if (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Some(text));
    }
    Err(Rejection::field(FIELD, format!("{FIELD} must be 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters")))
}

/// A string is kept as its contents; anything else as its text, byte for byte.
pub(super) fn payload<'a>(
    fields: &mut Fields<'a>,
    most: usize,
) -> Result<Option<(Cow<'a, str>, PayloadKind)>, Rejection> {
    let Some(value) = fields.raw("payload") else { return Ok(None) };
    let (text, kind) = if value.get().starts_with('"') {
        let text = string(value).ok_or_else(|| Rejection::field("payload", "payload is no valid Unicode text"))?;
        (text, PayloadKind::Text)
    } else {
        (Cow::Borrowed(value.get()), PayloadKind::Json)
    };
    if text.len() > most {
        return Err(Rejection::field(
            "payload",
            format!("payload has {} bytes; limits.max_payload is {most}", text.len()),
        ));
    }
    Ok(Some((text, kind)))
}

/// The status that an error text begins with: `HTTP 500: Internal Server Error`.
fn status_in(error: &str) -> Option<u16> {
    let digits = error.strip_prefix("HTTP ")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 3 { digits[..end].parse().ok() } else { None }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

//! A request of the socket protocol, parsed from a line.

use super::edit::{Edit, edit};
use super::fields::{Code, Fields, Rejection, missing, string};
use super::history::{history, statistics};
use super::import::{Import, import};
use super::operation::{Bulk, BulkAction, RequestedBy, bulk, flush, list, named, signed, upstream};
use super::removal::{CleanUp, Discard, clean_up, discard};
use super::replay::{Replay, replay};
use crate::ids::FailureName;
use crate::limits::{Limits, MAX_ERROR, MAX_IDEMPOTENCY_KEY, MAX_KEY, MAX_NAME, cut, quote};
use crate::moment::WallTime;
use crate::policy::backoff::client_attempt;
use crate::question::{HistoryQuery, ListQuery};
use crate::record::{ClientAttempt, NOT_SENT_YET, NewFailure, PayloadKind};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::IgnoredAny;
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

/// An entity type or an action.
pub(super) fn name<'a>(fields: &mut Fields<'a>, field: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    if (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control) && text.trim() == text {
        return Ok(Some(text));
    }
    Err(Rejection::field(
        field,
        format!(
            "{field} must be 1 to {MAX_NAME} characters, none of them a control character, with no blank at either end"
        ),
    ))
}

/// An entity id or an order key.
pub(super) fn key<'a>(fields: &mut Fields<'a>, field: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let text = if field == "entity_id" { fields.text_or_integer(field)? } else { fields.text(field)? };
    let Some(text) = text else { return Ok(None) };
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

/// A payload in any form, and its kind: a string is kept as its contents, unless `payload_kind` declares them to be
/// JSON; any other value is kept as its text, byte for byte; `payload_base64` holds arbitrary bytes.
pub(super) fn payload<'a>(
    fields: &mut Fields<'a>,
    most: usize,
) -> Result<Option<(Cow<'a, str>, PayloadKind)>, Rejection> {
    let unknown = || Rejection::field("payload_kind", "payload_kind must be json, text or bytes");
    let kind = fields.text("payload_kind")?.map(|kind| PayloadKind::parse(&kind).ok_or_else(unknown)).transpose()?;
    let encoded = fields.text("payload_base64")?;
    let plain = plain_payload(fields)?;
    let (payload, bytes) = match (plain, encoded, kind) {
        (None, None, _) => return Ok(None),
        (Some(_), Some(_), _) => {
            return Err(Rejection::field("payload_base64", "payload and payload_base64 exclude each other"));
        }
        (None, Some(encoded), None | Some(PayloadKind::Bytes)) => {
            let wrong = || Rejection::field("payload_base64", "payload_base64 is not base64");
            let bytes = decoded(&encoded).ok_or_else(wrong)?;
            (PayloadKind::of_bytes(&bytes), bytes.len())
        }
        (None, Some(_), Some(_)) => {
            return Err(Rejection::field("payload_kind", "what payload_base64 stands for is of the kind bytes"));
        }
        (Some(_), None, Some(PayloadKind::Bytes)) => {
            return Err(Rejection::field("payload_kind", "a payload of the kind bytes belongs in payload_base64"));
        }
        (Some((text, PayloadKind::Text)), None, Some(PayloadKind::Json)) => {
            if serde_json::from_str::<IgnoredAny>(&text).is_err() {
                return Err(Rejection::field("payload", "payload is not valid JSON, although payload_kind says so"));
            }
            let bytes = text.len();
            ((text, PayloadKind::Json), bytes)
        }
        (Some((text, kind)), None, _) => {
            let bytes = text.len();
            ((text, kind), bytes)
        }
    };
    if bytes > most {
        return Err(Rejection::field("payload", format!("payload has {bytes} bytes; limits.max_payload is {most}")));
    }
    Ok(Some(payload))
}

fn plain_payload<'a>(fields: &mut Fields<'a>) -> Result<Option<(Cow<'a, str>, PayloadKind)>, Rejection> {
    let Some(value) = fields.raw("payload") else { return Ok(None) };
    if !value.get().starts_with('"') {
        return Ok(Some((Cow::Borrowed(value.get()), PayloadKind::Json)));
    }
    let wrong = "payload is not valid Unicode text; other bytes belong in payload_base64";
    let text = string(value).ok_or_else(|| Rejection::field("payload", wrong))?;
    Ok(Some((text, PayloadKind::Text)))
}

/// The bytes of a base64 text, with or without padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    ENGINE.decode(text).ok()
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

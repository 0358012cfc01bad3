//! A failure that comes from elsewhere: an export line, an archive line, or a row of the server-side
//! table that integrators come from (`spec/01`, `spec/07`).
//!
//! All three are one shape, with more or fewer fields; names in `snake_case` or `camelCase`. What is
//! needed is `id entity_type entity_id action error`. What only describes where the failure stood at
//! home (`seq state blocked_by upstream next_retry_at response`, who archived it and why) is known, and
//! not taken over: here it gets a number, a place and an upstream of its own.

use super::fields::{Code, Fields, Rejection, missing, string};
use super::operation::{Signature, signature};
use super::request;
use crate::ids::FailureId;
use crate::limits::{Limits, MAX_ERROR, MAX_ID, MAX_NAME, cut};
use crate::moment::WallTime;
use crate::record::{Leaving, NewFailure, OwnTry, PayloadKind, Status};
use std::borrow::Cow;

/// One row to bring in.
#[derive(Debug)]
pub struct Import<'a> {
    /// What it says.
    pub row: Imported<'a>,
    /// Also when our own archive's line is void.
    pub force: bool,
    /// Who brings it.
    pub by: Signature,
}

/// A failure as it was elsewhere.
#[derive(Debug)]
pub struct Imported<'a> {
    /// Its id, whatever its form; also the key under which it goes out, when it has no other.
    pub id: FailureId,
    /// What a record says; the application's own try was made there.
    pub new: NewFailure<'a>,
    /// Where it stood; `None`: the row does not say.
    pub status: Option<Status>,
    /// Retries that failed and counted.
    pub retry_count: u32,
    /// When the last of them ended.
    pub last_retry_at: Option<WallTime>,
    /// When it was recorded; `None`: the row does not say.
    pub created_at: Option<WallTime>,
    /// When anything of it changed.
    pub updated_at: Option<WallTime>,
    /// Class of the last counted try.
    pub error_class: Option<String>,
    /// Who recorded it, on the terminal it comes from.
    pub source: (Option<u32>, Option<u32>),
    /// That terminal; `None`: the row is the server's.
    pub terminal_id: Option<String>,
    /// The store that one stands in.
    pub store_id: Option<String>,
    /// An archive line says how and when it left.
    pub left: Option<(Leaving, WallTime)>,
}

const KNOWN: [&str; 32] = [
    "id",
    "seq",
    "entity_type",
    "entity_id",
    "order_key",
    "action",
    "error",
    "payload",
    "payload_kind",
    "status",
    "state",
    "retry_count",
    "next_retry_at",
    "last_retry_at",
    "http_status",
    "error_class",
    "upstream",
    "idempotency_key",
    "blocked_by",
    "created_at",
    "updated_at",
    "terminal_id",
    "store_id",
    "source_uid",
    "source_pid",
    "response",
    "left_at",
    "outcome",
    "actor_uid",
    "actor_name",
    "claimed_by",
    "reason",
];
/// Known, and of no use here.
const LEFT_AT_HOME: [&str; 11] = [
    "seq",
    "state",
    "next_retry_at",
    "upstream",
    "blocked_by",
    "response",
    "actor_uid",
    "actor_name",
    "claimed_by",
    "reason",
    "payload_kind",
];

/// The operation `import`.
pub(super) fn import<'a>(mut fields: Fields<'a>, limits: &Limits) -> Result<Import<'a>, Rejection> {
    let force = fields.flag("force")?;
    let by = signature(&mut fields)?;
    let inner = fields.object("row")?.ok_or_else(|| missing("row"))?;
    fields.finish(&["row", "force", "reason", "by"])?;
    Ok(Import { row: row(inner, limits)?, force, by })
}

/// Reads a line by itself: would it be taken?
pub fn parse<'a>(line: &'a [u8], limits: &Limits) -> Result<Imported<'a>, Rejection> {
    row(Fields::parse(line)?, limits)
}

fn row<'a>(mut fields: Fields<'a>, limits: &Limits) -> Result<Imported<'a>, Rejection> {
    let id = id(&mut fields)?;
    let payload = payload(&mut fields, limits.max_payload)?;
    let http_status = fields.number("http_status", 0..=999)?.and_then(|status| u16::try_from(status).ok());
    let new = NewFailure {
        entity_type: request::name(&mut fields, "entity_type")?.ok_or_else(|| missing("entity_type"))?,
        entity_id: request::key(&mut fields, "entity_id")?.ok_or_else(|| missing("entity_id"))?,
        action: request::name(&mut fields, "action")?.ok_or_else(|| missing("action"))?,
        error: Cow::Owned(cut(&fields.required_text("error")?, MAX_ERROR)),
        payload,
        http_status,
        idempotency_key: request::idempotency_key(&mut fields)?,
        order_key: request::key(&mut fields, "order_key")?,
        own_try: OwnTry::None,
        tried: true,
    };
    let status = status(&mut fields)?;
    let imported = Imported {
        id,
        new,
        status,
        retry_count: small(&mut fields, "retry_count", 1_000_000)?.unwrap_or(0),
        last_retry_at: time(&mut fields, "last_retry_at")?,
        created_at: time(&mut fields, "created_at")?,
        updated_at: time(&mut fields, "updated_at")?,
        error_class: short(&mut fields, "error_class")?,
        source: (small(&mut fields, "source_uid", u32::MAX)?, small(&mut fields, "source_pid", u32::MAX)?),
        terminal_id: short(&mut fields, "terminal_id")?,
        store_id: short(&mut fields, "store_id")?,
        left: left(&mut fields)?,
    };
    for name in LEFT_AT_HOME {
        fields.present(name);
    }
    fields.finish(&KNOWN)?;
    Ok(imported)
}

/// A text, or the number that some tables have as a key.
fn id(fields: &mut Fields) -> Result<FailureId, Rejection> {
    let value = fields.raw("id").ok_or_else(|| missing("id"))?;
    let text = string(value).unwrap_or(Cow::Borrowed(value.get()));
    if (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(FailureId::new(text));
    }
    Err(Rejection::field("id", format!("id must be 1 to {MAX_ID} visible ASCII characters")))
}

/// In an export line it is a string, and `payload_kind` says what it was; in a row of a table it is
/// what it is.
fn payload<'a>(fields: &mut Fields<'a>, most: usize) -> Result<Option<(Cow<'a, str>, PayloadKind)>, Rejection> {
    let kind = match fields.text("payload_kind")? {
        None => None,
        Some(kind) => Some(
            PayloadKind::parse(&kind)
                .ok_or_else(|| Rejection::field("payload_kind", "payload_kind must be json or text"))?,
        ),
    };
    let payload = request::payload(fields, most)?;
    Ok(match (payload, kind) {
        (Some((text, PayloadKind::Text)), Some(PayloadKind::Json)) => {
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err() {
                return Err(Rejection::field("payload", "payload is no JSON, and payload_kind says so"));
            }
            Some((text, PayloadKind::Json))
        }
        (payload, _) => payload,
    })
}

/// Where it stood; a status that no live failure has says as much as none.
fn status(fields: &mut Fields) -> Result<Option<Status>, Rejection> {
    Ok(fields.text("status")?.and_then(|text| Status::parse(&text)))
}

fn left(fields: &mut Fields) -> Result<Option<(Leaving, WallTime)>, Rejection> {
    let at = time(fields, "left_at")?;
    let how = match fields.text("outcome")? {
        None => None,
        Some(text) => Some(Leaving::parse(&text).ok_or_else(|| {
            Rejection::field("outcome", "outcome must be discarded or cleaned, as in an archive line")
        })?),
    };
    match (how, at) {
        (Some(Leaving::Delivered), _) => {
            Err(Rejection::new(Code::Conflict, "it was delivered; there is nothing to bring back").about("outcome"))
        }
        (Some(how), Some(at)) => Ok(Some((how, at))),
        (None, None) => Ok(None),
        _ => Err(Rejection::field("left_at", "left_at and outcome belong together")),
    }
}

fn time(fields: &mut Fields, name: &str) -> Result<Option<WallTime>, Rejection> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let wrong = || Rejection::field(name, format!("{name} must be a time such as 2026-11-24T06:12:34Z"));
    WallTime::parse(&text).map(Some).ok_or_else(wrong)
}

fn small(fields: &mut Fields, name: &str, most: u32) -> Result<Option<u32>, Rejection> {
    Ok(fields.number(name, 0..=u64::from(most))?.and_then(|number| u32::try_from(number).ok()))
}

fn short(fields: &mut Fields, name: &str) -> Result<Option<String>, Rejection> {
    match fields.text(name)? {
        Some(text) if text.chars().count() > MAX_NAME * 4 => {
            Err(Rejection::field(name, format!("{name} is longer than {} characters", MAX_NAME * 4)))
        }
        text => Ok(text.map(Cow::into_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Imported<'_> {
        parse(line.as_bytes(), &Limits::default()).unwrap_or_else(|wrong| panic!("{line}: {wrong:?}"))
    }

    fn wrong(line: &str) -> (Code, String) {
        let wrong = parse(line.as_bytes(), &Limits::default()).expect_err(line);
        (wrong.code, wrong.field.unwrap_or_default())
    }

    #[test]
    fn a_row_of_the_server_in_camel_case() {
        let row = read(
            r#"{"id":42,"entityType":"SALE","entityId":"s-1","action":"CREATE","error":"HTTP 500","payload":{"a": 1.50},
            "retryCount":2,"lastRetryAt":"2026-11-01T00:00:00.000Z","createdAt":"2026-10-31T23:00:00+01:00","updatedAt":null}"#,
        );
        assert_eq!((row.id.as_str(), row.retry_count, row.status), ("42", 2, None));
        assert_eq!(row.new.payload, Some((Cow::Borrowed("{\"a\": 1.50}"), PayloadKind::Json)));
        assert_eq!(row.created_at.map(WallTime::rfc3339).as_deref(), Some("2026-10-31T22:00:00.000Z"));
        assert!(row.left.is_none() && row.terminal_id.is_none());
    }

    #[test]
    fn an_export_line_keeps_what_its_payload_was() {
        let start = r#"{"id":"a-1","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","#;
        let line = format!(r#"{start}"payload":"{{\"a\": 1}}","payload_kind":"json","status":"held"}}"#);
        let row = read(&line);
        assert_eq!(row.new.payload, Some((Cow::Borrowed("{\"a\": 1}"), PayloadKind::Json)));
        assert_eq!(row.status, Some(Status::Held));
        let line = format!(r#"{start}"payload":"{{\"a\": 1}}","payload_kind":"text"}}"#);
        assert_eq!(read(&line).new.payload.map(|(_, kind)| kind), Some(PayloadKind::Text));
        let broken = format!(r#"{start}"payload":"{{","payload_kind":"json"}}"#);
        assert_eq!(wrong(&broken), (Code::BadRequest, "payload".into()));
    }

    #[test]
    fn what_is_missing_unknown_or_delivered_refuses_the_line() {
        let start = r#"{"id":"a-1","entity_type":"SALE","entity_id":"s-1","action":"CREATE""#;
        assert_eq!(wrong(&format!("{start}}}")), (Code::BadRequest, "error".into()));
        assert_eq!(wrong(&format!(r#"{start},"error":"x","paylod":1}}"#)), (Code::BadRequest, "paylod".into()));
        assert_eq!(
            wrong(&format!(r#"{start},"error":"x","left_at":"2026-01-01"}}"#)),
            (Code::BadRequest, "left_at".into())
        );
        let delivered = format!(r#"{start},"error":"x","left_at":"2026-01-01","outcome":"delivered"}}"#);
        assert_eq!(wrong(&delivered), (Code::Conflict, "outcome".into()));
        assert_eq!(wrong("[]").0, Code::BadJson);
    }
}

//! A failure from another source: an export line, an archive line, or a row of a server-side table that an
//! integrator migrates from.
//!
//! All three have one format, with more or fewer fields; names are in `snake_case` or `camelCase`. Required are
//! `id entity_type entity_id action error`. Fields that describe only the state at the source
//! (`seq state blocked_by upstream next_retry_at response`, who archived it and why) are accepted but ignored: the
//! failure gets a new number, position and upstream here.

use super::content;
use super::fields::{Code, Fields, Rejection, missing, string};
use super::operation::{RequestedBy, signature};
use crate::ids::{FailureId, FailureName};
use crate::limits::{Limits, MAX_ERROR, MAX_ID, MAX_NAME, cut};
use crate::moment::WallTime;
use crate::record::{ClientAttempt, Disposition, NewFailure, Status};
use std::borrow::Cow;

/// A request to import one row.
#[derive(Debug)]
pub struct Import<'a> {
    /// The row.
    pub row: Imported<'a>,
    /// Import even a void line of this agent's archive.
    pub force: bool,
    /// Retention uses the original time of recording, not that of the import.
    pub keep_age: bool,
    /// Who requested it.
    pub by: RequestedBy,
}

/// A failure as it was at its source.
#[derive(Debug)]
pub struct Imported<'a> {
    /// Its id, in any format; also the idempotency key, unless it has another one.
    pub id: FailureId,
    /// The fields of a record; the application's own attempt was made at the source.
    pub new: NewFailure<'a>,
    /// Its status there; `None` if the row has none.
    pub status: Option<Status>,
    /// A status that no live failure has: it is finished there, whatever the result.
    pub finished: Option<String>,
    /// Number of counted retries.
    pub retry_count: u32,
    /// End of the last counted retry.
    pub last_retry_at: Option<WallTime>,
    /// Time of recording; `None` if the row has none.
    pub created_at: Option<WallTime>,
    /// Time of the last change.
    pub updated_at: Option<WallTime>,
    /// Class of the last counted attempt.
    pub error_class: Option<String>,
    /// Uid and pid of the process that recorded it, on its terminal.
    pub source: (Option<u32>, Option<u32>),
    /// Its terminal; `None` for a row of a server.
    pub terminal_id: Option<String>,
    /// The store of its terminal.
    pub store_id: Option<String>,
    /// How and when it was removed, from an archive line.
    pub left: Option<(Disposition, WallTime)>,
}

const KNOWN: [&str; 35] = [
    "id",
    "seq",
    "entity_type",
    "entity_id",
    "order_key",
    "action",
    "error",
    "payload",
    "payload_base64",
    "payload_kind",
    "status",
    "state",
    "retry_count",
    "attempts",
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
    "retry_after",
    "left_at",
    "outcome",
    "actor_uid",
    "actor_name",
    "claimed_by",
    "reason",
];
/// Known fields that are ignored.
const LEFT_AT_HOME: [&str; 12] = [
    "seq",
    "state",
    "attempts",
    "next_retry_at",
    "upstream",
    "blocked_by",
    "response",
    "retry_after",
    "actor_uid",
    "actor_name",
    "claimed_by",
    "reason",
];

/// The operation `import`.
pub(super) fn import<'a>(mut fields: Fields<'a>, limits: &Limits) -> Result<Import<'a>, Rejection> {
    let (force, keep_age) = (fields.flag("force")?, fields.flag("keep_age")?);
    let by = signature(&mut fields)?;
    let inner = fields.object("row")?.ok_or_else(|| missing("row"))?;
    fields.finish(&["row", "force", "keep_age", "reason", "by"])?;
    Ok(Import { row: row(inner, limits)?, force, keep_age, by })
}

/// Checks a single line: returns the row, or why it would be rejected.
pub fn parse<'a>(line: &'a [u8], limits: &Limits) -> Result<Imported<'a>, Rejection> {
    row(Fields::parse(line)?, limits)
}

/// The values that decide the position of a row among others. Errors in the rest of the row are reported when it is
/// imported.
#[must_use]
pub fn place(line: &[u8]) -> Place {
    let Ok(mut fields) = Fields::parse(line) else { return Place::default() };
    let seq = fields.number("seq", 0..=i64::MAX.unsigned_abs()).ok().flatten();
    let written = fields.raw("created_at").and_then(string);
    let without_zone = written.as_ref().is_some_and(|text| text.len() > 10 && !WallTime::has_zone(text));
    let at = match written {
        Some(text) => any_time(&text),
        None => fields.number("created_at", 0..=MAX_EPOCH).ok().flatten().map(epoch),
    };
    Place { seq, created_at: at, without_zone }
}

/// Result of [`place`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its number, if it has one.
    pub seq: Option<u64>,
    /// Time of recording, if it has one.
    pub created_at: Option<WallTime>,
    /// That time has no offset, so UTC was assumed.
    pub without_zone: bool,
}

pub(super) fn row<'a>(mut fields: Fields<'a>, limits: &Limits) -> Result<Imported<'a>, Rejection> {
    let id = id(&mut fields)?;
    let payload = content::payload(&mut fields, limits.max_payload)?;
    let http_status = fields.number("http_status", 0..=999)?.and_then(|status| u16::try_from(status).ok());
    let new = NewFailure {
        entity_type: content::name(&mut fields, "entity_type")?.ok_or_else(|| missing("entity_type"))?,
        entity_id: content::key(&mut fields, "entity_id")?.ok_or_else(|| missing("entity_id"))?,
        action: content::name(&mut fields, "action")?.ok_or_else(|| missing("action"))?,
        error: Cow::Owned(cut(&fields.lossy_text("error")?.ok_or_else(|| missing("error"))?, MAX_ERROR)),
        payload,
        http_status,
        idempotency_key: content::idempotency_key(&mut fields)?,
        order_key: content::key(&mut fields, "order_key")?,
        client_attempt: ClientAttempt::None,
        tried: true,
    };
    let (status, finished) = status(&mut fields)?;
    let imported = Imported {
        id,
        new,
        status,
        finished,
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

/// A text, or an integer, as some tables use for keys.
fn id(fields: &mut Fields) -> Result<FailureId, Rejection> {
    let text = fields.text_or_integer("id")?.ok_or_else(|| missing("id"))?;
    if !(1..=MAX_ID).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Rejection::field("id", format!("id must be 1 to {MAX_ID} visible ASCII characters")));
    }
    if FailureName::numbered(&text).is_some() {
        return Err(Rejection::field("id", "id must not be # and digits: that names an insertion number"));
    }
    Ok(FailureId::new(text))
}

/// The status at the source, or one that no live failure has. Tables use either case.
fn status(fields: &mut Fields) -> Result<(Option<Status>, Option<String>), Rejection> {
    let text = fields.text("status")?.unwrap_or_default();
    let status = Status::parse(&text.trim().to_ascii_lowercase());
    let finished = (status.is_none() && !text.trim().is_empty()).then(|| cut(&text, MAX_NAME));
    Ok((status, finished))
}

fn left(fields: &mut Fields) -> Result<Option<(Disposition, WallTime)>, Rejection> {
    let at = time(fields, "left_at")?;
    let how = match fields.text("outcome")? {
        None => None,
        Some(text) => Some(Disposition::parse(&text).ok_or_else(|| {
            Rejection::field("outcome", "outcome must be discarded or cleaned, as in an archive line")
        })?),
    };
    match (how, at) {
        (Some(Disposition::Delivered), _) => {
            let message = "it was delivered; if the head office has lost it, bring it back by replay";
            Err(Rejection::new(Code::Conflict, message).about("outcome"))
        }
        (Some(how), Some(at)) => Ok(Some((how, at))),
        (None, None) => Ok(None),
        _ => Err(Rejection::field("left_at", "left_at and outcome belong together")),
    }
}

/// Milliseconds since 1970 up to the year 9999.
const MAX_EPOCH: u64 = 253_402_300_799_999;

pub(super) fn time(fields: &mut Fields, name: &str) -> Result<Option<WallTime>, Rejection> {
    let Some(value) = fields.raw(name) else { return Ok(None) };
    let at = match string(value) {
        Some(text) => any_time(&text),
        None => value.get().parse().ok().filter(|ms| *ms <= MAX_EPOCH).map(epoch),
    };
    let wrong =
        || Rejection::field(name, format!("{name} must be a time such as 2026-11-24T06:12:34Z, or milliseconds"));
    at.map(Some).ok_or_else(wrong)
}

/// A time, or milliseconds as digits, as in tables with text columns.
fn any_time(text: &str) -> Option<WallTime> {
    let text = text.trim();
    WallTime::parse(text).or_else(|| text.parse().ok().filter(|ms| text.len() >= 12 && *ms <= MAX_EPOCH).map(epoch))
}

fn epoch(ms: u64) -> WallTime {
    WallTime::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
}

pub(super) fn small(fields: &mut Fields, name: &str, most: u32) -> Result<Option<u32>, Rejection> {
    Ok(fields.number(name, 0..=u64::from(most))?.and_then(|number| u32::try_from(number).ok()))
}

pub(super) fn short(fields: &mut Fields, name: &str) -> Result<Option<String>, Rejection> {
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
    use crate::record::PayloadKind;

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
    fn ids_times_and_statuses_of_other_tables() {
        let row =
            |more: &str| format!(r#"{{"entity_type":"SALE","entity_id":7,"action":"CREATE","error":"x",{more}}}"#);
        let at = |time: &str| {
            read(&row(&format!(r#""id":"a","created_at":{time}"#)))
                .created_at
                .map(WallTime::rfc3339)
                .unwrap_or_default()
        };
        for time in
            [r#""2026-11-24 07:12:34.123+01""#, "1795500754123", r#""1795500754123""#, r#""2026-11-24 06:12:34.123""#]
        {
            assert_eq!(at(time), "2026-11-24T06:12:34.123Z", "{time}");
        }
        for time in [r#""soon""#, "-1", "1e3", "{}", r#""2026""#] {
            assert_eq!(wrong(&row(&format!(r#""id":"a","created_at":{time}"#))).1, "created_at", "{time}");
        }
        for id in [r#"{"a":1}"#, r#""\ud800""#, "1.5", "true", "[]", r#""""#, r##""#7""##, r#""é""#] {
            assert_eq!(wrong(&row(&format!(r#""id":{id}"#))).1, "id", "{id}");
        }
        let known = read(&row(r#""id":-7,"status":"HELD","error_class":null"#)).status;
        assert_eq!(known, Some(Status::Held));
        for (status, finished) in
            [("null", None), (r#""""#, None), (r#""delivered""#, Some("delivered")), (r#""DONE""#, Some("DONE"))]
        {
            assert_eq!(read(&row(&format!(r#""id":"a","status":{status}"#))).finished.as_deref(), finished, "{status}");
        }
        let place = place(row(r#""id":"a","seq":9,"created_at":"2026-11-24 06:12:34""#).as_bytes());
        assert_eq!((place.seq, place.without_zone), (Some(9), true));
        assert!(place.created_at.is_some());
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

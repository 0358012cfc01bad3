//! Replies of the socket protocol, as lines.
//!
//! Compact JSON, `ok` first; an absent value is `null`. Values that the view may not see are left out.

use super::fields::{Code, Rejection};
use crate::ids::{FailureId, Seq};
use crate::moment::Moment;
use crate::policy::retry_state::RetryState;
use crate::question::View;
use crate::record::{Failure, PayloadKind, wire_time};
use serde::Serialize;
use serde_json::value::RawValue;

/// `{"ok":true, …}` with these fields, and the request's reference.
#[must_use]
pub fn ok(fields: &impl Serialize, reference: Option<&RawValue>) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(b"{\"ok\":true");
    let from = line.len();
    serde_json::to_writer(&mut line, fields).expect("replies are structs of texts and numbers");
    // Removes the fields' own braces: the opening one becomes a comma, or nothing if there are no fields.
    line.pop();
    if line.len() > from + 1 {
        line[from] = b',';
    } else {
        line.truncate(from);
    }
    end(line, reference)
}

/// `{"ok":false,"error":{…}}`, and the request's reference.
#[must_use]
pub fn error(rejection: &Rejection, reference: Option<&RawValue>) -> Vec<u8> {
    error_line(rejection, None, reference)
}

/// The error that ended an operation on many failures, with the number of failures that were durably changed
/// before.
#[must_use]
pub fn error_after(rejection: &Rejection, changed: u64, reference: Option<&RawValue>) -> Vec<u8> {
    error_line(rejection, Some(changed), reference)
}

fn error_line(rejection: &Rejection, changed: Option<u64>, reference: Option<&RawValue>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        changed: Option<u64>,
    }
    let (code, message, field) = (rejection.code.as_str(), &rejection.message, rejection.field.as_deref());
    let error = Error { code, message, field, changed };
    let mut line = b"{\"ok\":false,\"error\":".to_vec();
    serde_json::to_writer(&mut line, &error).expect("texts and a number have their JSON");
    end(line, reference)
}

/// Adds a reference to a finished reply.
#[must_use]
pub fn referring(line: &[u8], reference: Option<&RawValue>) -> Vec<u8> {
    let fields = line.strip_suffix(b"}\n").unwrap_or(line);
    end(fields.to_vec(), reference)
}

/// The error code of a reply line; `None` if it is not an error.
#[must_use]
pub fn code_of(line: &[u8]) -> Option<Code> {
    let code = line.strip_prefix(b"{\"ok\":false,\"error\":{\"code\":\"")?;
    let known = |known: &Code| code.strip_prefix(known.as_str().as_bytes()).is_some_and(|rest| rest.starts_with(b"\""));
    Code::ALL.into_iter().find(known)
}

fn end(mut line: Vec<u8>, reference: Option<&RawValue>) -> Vec<u8> {
    if let Some(reference) = reference {
        line.extend_from_slice(b",\"ref\":");
        line.extend_from_slice(reference.get().as_bytes());
    }
    line.extend_from_slice(b"}\n");
    line
}

/// `import`
#[derive(Debug, Serialize)]
pub struct ImportReply<'a> {
    pub id: &'a str,
    /// `None` if it is not live here, or its number is no longer known.
    pub seq: Option<Seq>,
    /// Only for one that is imported now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    pub result: &'static str,
    /// Only for one that is finished at its source: its status there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<&'a str>,
}

/// The reply to `record`.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    pub id: String,
    pub seq: Option<i64>,
    pub status: String,
    pub duplicate: bool,
}

/// The reply to `hello`.
#[derive(Clone, Debug, Serialize)]
pub struct Hello<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub protocol: u32,
    pub terminal_id: &'a str,
    pub ops: Vec<&'a str>,
}

/// A failure as shown.
#[derive(Clone, Debug, Serialize)]
pub struct FailureView<'a> {
    pub id: &'a str,
    pub seq: Seq,
    pub entity_type: &'a str,
    pub entity_id: &'a str,
    pub order_key: Option<&'a str>,
    pub action: &'a str,
    pub error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Option<&'a str>>,
    /// Only for a payload of the kind `bytes`, whose `payload` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<&'a str>,
    pub payload_kind: Option<&'a str>,
    pub status: &'a str,
    pub state: &'a str,
    pub retry_count: u32,
    /// Number of attempts of the agent so far, counted or not. Left out where a failure is exported or archived: those
    /// lines are about another life, and have a number of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    pub next_retry_at: Option<String>,
    pub last_retry_at: Option<String>,
    pub http_status: Option<u16>,
    pub error_class: Option<&'a str>,
    pub upstream: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    pub blocked_by: Option<&'a str>,
    pub created_at: String,
    pub updated_at: String,
    pub terminal_id: &'a str,
    pub store_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_uid: Option<Option<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_pid: Option<Option<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Option<&'a str>>,
    /// Left out if the upstream has not deferred this failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfter>,
}

impl<'a> FailureView<'a> {
    /// A failure for this view, without payload and response.
    #[must_use]
    pub fn new(failure: &'a Failure, state: &'a str, blocked_by: Option<&'a FailureId>, view: View) -> Self {
        let admin = view == View::Admin;
        Self {
            id: failure.id.as_str(),
            seq: failure.seq,
            entity_type: &failure.entity_type,
            entity_id: &failure.entity_id,
            order_key: failure.order_key.as_deref(),
            action: &failure.action,
            error: &failure.error,
            payload: None,
            payload_base64: None,
            payload_kind: failure.payload.as_ref().map(|(_, kind)| kind.as_str()),
            status: failure.status.as_str(),
            state,
            retry_count: failure.retry_count,
            attempts: Some(failure.attempts),
            next_retry_at: failure.next_retry_at.as_deref().map(wire_time),
            last_retry_at: failure.last_retry_at.as_deref().map(wire_time),
            http_status: failure.http_status,
            error_class: failure.error_class.as_deref(),
            upstream: failure.upstream.as_deref(),
            idempotency_key: failure.idempotency_key.as_deref(),
            blocked_by: blocked_by.map(FailureId::as_str),
            created_at: wire_time(&failure.created_at),
            updated_at: wire_time(&failure.updated_at),
            terminal_id: &failure.terminal_id,
            store_id: failure.store_id.as_deref(),
            source_uid: admin.then_some(failure.source_uid),
            source_pid: admin.then_some(failure.source_pid),
            response: None,
            retry_after: None,
        }
    }

    /// Adds the payload.
    #[must_use]
    pub fn with_payload(mut self, failure: &'a Failure) -> Self {
        (self.payload, self.payload_base64) = match &failure.payload {
            Some((encoded, PayloadKind::Bytes)) => (Some(None), Some(encoded.as_str())),
            payload => (Some(payload.as_ref().map(|(text, _)| text.as_str())), None),
        };
        self
    }
}

/// The reply to `get`.
#[derive(Clone, Debug, Serialize)]
pub struct Got<'a> {
    pub failure: FailureView<'a>,
}

/// The reply to `list`.
#[derive(Clone, Debug, Serialize)]
pub struct Listed<'a> {
    pub failures: Vec<FailureView<'a>>,
    /// `None` if it was not requested.
    pub total: Option<u64>,
    pub next: Option<String>,
}

/// The reply to `unsent`.
#[derive(Clone, Debug, Serialize)]
pub struct UnsentReply {
    pub unsent: u64,
    pub on_their_way: u64,
    pub needs_person: u64,
    pub by_type: Vec<TypeCount>,
    pub oldest_created_at: Option<String>,
}

/// The reply to `metrics`.
#[derive(Clone, Debug, Serialize)]
pub struct MetricsReply {
    pub text: String,
}

/// One type of `unsent`.
#[derive(Clone, Debug, Serialize)]
pub struct TypeCount {
    pub entity_type: String,
    pub count: u64,
}

/// The reply to `health`.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    pub state: &'static str,
    pub reasons: Vec<String>,
    pub upstreams: Vec<UpstreamView>,
    pub pending: u64,
    pub critical: u64,
    pub held: u64,
    pub version: &'static str,
    pub oldest_created_at: Option<String>,
    pub last_delivery_at: Option<String>,
    pub database_bytes: u64,
    pub disk_free_bytes: Option<u64>,
    pub clock_skew_ms: Option<i64>,
    /// Why every record is refused at present; left out while records are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusing: Option<String>,
    /// Failures lost in quarantines of the last day; left out if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Failures removed undelivered in the last 30 days and not restored; left out if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<RemovedView>,
}

/// Failures removed undelivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovedView {
    pub count: u64,
    pub first_at: String,
    pub last_at: String,
}

/// An upstream as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamView {
    pub name: String,
    pub state: &'static str,
    pub since: String,
    pub next_try_at: Option<String>,
    pub conditions: Vec<&'static str>,
    pub reason: Option<String>,
    pub latency_ms: Option<u64>,
}

/// The delay that an upstream requested for one failure (`Retry-After`); only a `retry` shortens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetryAfter {
    /// Earliest time of the next attempt.
    pub until: String,
    /// The upstream that requested it.
    pub upstream: Option<String>,
    /// The error with which it was requested.
    pub words: String,
}

impl RetryAfter {
    /// The deferral in a failure's state, while it lasts.
    #[must_use]
    pub fn of(retry_state: &RetryState, upstream: Option<&str>, now: Moment) -> Option<Self> {
        let until = retry_state.retry_after_until.filter(|until| *until > now.agent)?;
        Some(Self {
            until: now.wall.after(until.since(now.agent)).rfc3339(),
            upstream: upstream.map(str::to_owned),
            words: retry_state.bound_by.clone().unwrap_or_default(),
        })
    }
}

/// Failures that an operation left waiting, because their upstream deferred them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AskedToWait {
    /// Their number.
    pub failures: u64,
    /// The longest delay among them.
    #[serde(flatten)]
    pub longest: RetryAfter,
}

/// The reply to a bulk operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub matched: u64,
    pub changed: u64,
    pub skipped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_to_wait: Option<AskedToWait>,
}

impl Tally {
    /// Counts a failure that was left waiting.
    pub fn asked(&mut self, asked: RetryAfter) {
        let (failures, longest) = match self.asked_to_wait.take() {
            // Times in the same format compare as texts.
            Some(AskedToWait { failures, longest }) => {
                (failures + 1, if longest.until >= asked.until { longest } else { asked })
            }
            None => (1, asked),
        };
        self.asked_to_wait = Some(AskedToWait { failures, longest });
    }
}

/// The reply to `edit`.
#[derive(Clone, Debug, Serialize)]
pub struct EditReply<'a> {
    pub id: &'a str,
    pub seq: Seq,
    pub status: &'a str,
    pub idempotency_key: &'a str,
    /// An attempt may have arrived, so the key that the upstream may know is kept.
    pub key_kept: bool,
}

/// The reply to `pause` and `resume`.
#[derive(Clone, Debug, Serialize)]
pub struct Upstreams {
    pub upstreams: Vec<String>,
}

/// The reply to `reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    pub changed: Vec<String>,
    pub needs_restart: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Nothing {}

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).expect("replies are UTF-8")
    }

    #[test]
    fn an_error_is_known_by_its_line_and_nothing_else_is_one() {
        for code in Code::ALL {
            assert_eq!(code_of(&error(&Rejection::new(code, "busy"), None)), Some(code));
        }
        let forged = RawValue::from_string(r#"{"ok":false,"error":{"code":"busy"}}"#.into()).expect("JSON");
        assert_eq!(code_of(&ok(&Nothing {}, Some(&forged))), None);
    }

    #[test]
    fn replies_are_compact_with_ok_first_and_the_reference_last() {
        let reference = RawValue::from_string(r#"{"n": 1}"#.into()).expect("JSON");
        let tally = Tally { matched: 2, changed: 1, skipped: 1, asked_to_wait: None };
        assert_eq!(text(ok(&tally, None)), "{\"ok\":true,\"matched\":2,\"changed\":1,\"skipped\":1}\n");
        assert_eq!(text(ok(&Nothing {}, Some(&reference))), "{\"ok\":true,\"ref\":{\"n\": 1}}\n");
        let rejection = Rejection::field("entity_id", "entity_id is missing");
        assert_eq!(
            text(error(&rejection, None)),
            "{\"ok\":false,\"error\":{\"code\":\"bad_request\",\"message\":\"entity_id is missing\",\"field\":\"entity_id\"}}\n"
        );
        assert_eq!(
            text(error(&Rejection::new(Code::Busy, "x"), None)),
            "{\"ok\":false,\"error\":{\"code\":\"busy\",\"message\":\"x\"}}\n"
        );
        assert_eq!(
            text(error_after(&Rejection::new(Code::DiskFull, "x"), 500, None)),
            "{\"ok\":false,\"error\":{\"code\":\"disk_full\",\"message\":\"x\",\"changed\":500}}\n"
        );
    }
}

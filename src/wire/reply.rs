//! Replies of the socket protocol, as lines (`spec/02`, `spec/07`).
//!
//! Compact JSON, `ok` first, an absent value is `null`. What a view may not see is left out.

use super::fields::{Code, Rejection};
use crate::ids::{FailureId, Seq};
use crate::question::View;
use crate::record::{Failure, wire_time};
use serde::Serialize;
use serde_json::value::RawValue;

/// `{"ok":true, …}` with these fields, and the request's reference.
#[must_use]
pub fn ok(fields: &impl Serialize, reference: Option<&RawValue>) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(b"{\"ok\":true");
    let from = line.len();
    serde_json::to_writer(&mut line, fields).expect("replies are structs of texts and numbers");
    // The fields' own braces: the opening one becomes a comma, or nothing when there is no field.
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
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'a str>,
    }
    let error = Error { code: rejection.code.as_str(), message: &rejection.message, field: rejection.field.as_deref() };
    let mut line = b"{\"ok\":false,\"error\":".to_vec();
    serde_json::to_writer(&mut line, &error).expect("three texts have their JSON");
    end(line, reference)
}

/// Why a reply line says no; `None`: it does not.
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
#[expect(missing_docs, reason = "spec/07 has their meaning")]
pub struct ImportReply<'a> {
    pub id: &'a str,
    pub seq: Seq,
    pub result: &'static str,
}

/// The reply to `record`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct Recorded {
    pub id: String,
    pub seq: Option<i64>,
    pub status: String,
    pub duplicate: bool,
}

/// The reply to `hello`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct Hello<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub protocol: u32,
    pub terminal_id: &'a str,
    pub ops: Vec<&'a str>,
}

/// A failure as it is shown.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02 and spec/07")]
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
    pub payload_kind: Option<&'a str>,
    pub status: &'a str,
    pub state: &'a str,
    pub retry_count: u32,
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
}

impl<'a> FailureView<'a> {
    /// A failure for this view, without payload and answer.
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
            payload_kind: failure.payload.as_ref().map(|(_, kind)| kind.as_str()),
            status: failure.status.as_str(),
            state,
            retry_count: failure.retry_count,
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
        }
    }

    /// With its payload.
    #[must_use]
    pub fn with_payload(mut self, failure: &'a Failure) -> Self {
        self.payload = Some(failure.payload.as_ref().map(|(text, _)| text.as_str()));
        self
    }
}

/// The reply to `get`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct Got<'a> {
    pub failure: FailureView<'a>,
}

/// The reply to `list`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct Listed<'a> {
    pub failures: Vec<FailureView<'a>>,
    /// `None` when that was not asked.
    pub total: Option<u64>,
    pub next: Option<String>,
}

/// The reply to `unsent`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct UnsentReply {
    pub unsent: u64,
    pub on_their_way: u64,
    pub needs_person: u64,
    pub by_type: Vec<TypeCount>,
    pub oldest_created_at: Option<String>,
}

/// The reply to `metrics`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the field of spec/07")]
pub struct MetricsReply {
    pub text: String,
}

/// One type of `unsent`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct TypeCount {
    pub entity_type: String,
    pub count: u64,
}

/// The reply to `health`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02 and spec/07")]
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
    /// Failures that no quarantine of the last day gave back; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}

/// An upstream as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02 and spec/07")]
pub struct UpstreamView {
    pub name: String,
    pub state: &'static str,
    pub since: String,
    pub next_try_at: Option<String>,
    pub conditions: Vec<&'static str>,
    pub reason: Option<String>,
    pub latency_ms: Option<u64>,
}

/// The reply to a bulk operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct Tally {
    pub matched: u64,
    pub changed: u64,
    pub skipped: u64,
}

/// The reply to `edit`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/07")]
pub struct EditReply<'a> {
    pub id: &'a str,
    pub seq: Seq,
    pub status: &'a str,
    pub idempotency_key: &'a str,
    /// It may have arrived, so it goes out under the key that the upstream may know.
    pub key_kept: bool,
}

/// The reply to `pause` and `resume`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/07")]
pub struct Upstreams {
    pub upstreams: Vec<String>,
}

/// The reply to `reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields of spec/07")]
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
        let tally = Tally { matched: 2, changed: 1, skipped: 1 };
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
    }
}

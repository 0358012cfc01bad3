//! The envelope: a failure as one JSON object, with the same bytes on every attempt.

use crate::record::{Failure, PayloadKind, wire_time};
use serde_json::value::RawValue;

/// Name and version of the program, as sent to upstreams.
pub const USER_AGENT: &str = concat!("resyncd/", env!("CARGO_PKG_VERSION"));

/// The envelope of a failure.
#[must_use]
pub fn envelope(failure: &Failure) -> Vec<u8> {
    let size = failure.payload.as_ref().map_or(0, |(text, _)| text.len());
    let mut json = Vec::with_capacity(size + size / 8 + 512);
    json.extend_from_slice(b"{\"id\":");
    put_quoted(&mut json, failure.id.as_str());
    for (name, text) in [
        (&b",\"entity_type\":"[..], &failure.entity_type),
        (b",\"entity_id\":", &failure.entity_id),
        (b",\"action\":", &failure.action),
    ] {
        json.extend_from_slice(name);
        put_quoted(&mut json, text);
    }
    json.extend_from_slice(b",\"payload\":");
    match &failure.payload {
        None => json.extend_from_slice(b"null"),
        Some((encoded, PayloadKind::Bytes)) => {
            json.extend_from_slice(b"null,\"payload_base64\":");
            put_quoted(&mut json, encoded);
        }
        Some((text, kind)) if stands_raw(text, *kind) => json.extend_from_slice(text.as_bytes()),
        Some((text, _)) => put_quoted(&mut json, text),
    }
    json.extend_from_slice(b",\"created_at\":");
    put_quoted(&mut json, &wire_time(&failure.created_at));
    json.extend_from_slice(b",\"terminal_id\":");
    put_quoted(&mut json, &failure.terminal_id);
    json.extend_from_slice(b",\"store_id\":");
    match &failure.store_id {
        None => json.extend_from_slice(b"null"),
        Some(store) => put_quoted(&mut json, store),
    }
    json.push(b'}');
    json
}

fn put_quoted(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a text has its JSON, and memory takes it");
}

/// Returns whether the payload is inserted as JSON: it was sent as JSON, or is text with a JSON object or array.
fn stands_raw(text: &str, kind: PayloadKind) -> bool {
    kind == PayloadKind::Json
        || (text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(text).is_ok())
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text has its JSON")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::{FailureId, Seq};
    use crate::moment::AgentTime;
    use crate::record::{Content, Status};

    pub(in crate::wire) fn failure(payload: Option<(&str, PayloadKind)>) -> Failure {
        Failure {
            id: FailureId::new("019a"),
            seq: Seq(7),
            entity_type: "SALE".into(),
            entity_id: "s 1\r\nX: y".into(),
            action: "CREATE".into(),
            error: "x".into(),
            payload: payload.map(|(text, kind)| (text.to_owned(), kind)),
            retry_count: 0,
            last_retry_at: None,
            created_at: "2026-11-24 06:12:34.123".into(),
            updated_at: "2026-11-24 06:12:34.123".into(),
            status: Status::Pending,
            next_retry_at: None,
            due_at: None,
            recorded_at: AgentTime::ZERO,
            content: Content::Sound,
            upstream: None,
            order_key: None,
            idempotency_key: Some("sale-1".into()),
            http_status: None,
            error_class: None,
            source_uid: None,
            source_pid: None,
            terminal_id: "till-07".into(),
            store_id: None,
            head: true,
            uncounted: true,
            attempts: 2,
            unsure: false,
            retry_state: None,
        }
    }

    #[test]
    fn the_payload_stands_raw_when_it_is_json() {
        let payload = |text, kind| {
            let body = String::from_utf8(envelope(&failure(Some((text, kind))))).expect("UTF-8");
            let start = body.find("\"payload\":").expect("a payload") + 10;
            body[start..body.find(",\"created_at\"").expect("a time")].to_owned()
        };
        assert_eq!(payload("12.50", PayloadKind::Json), "12.50");
        assert_eq!(payload(r#"{"total": 12.50}"#, PayloadKind::Json), r#"{"total": 12.50}"#);
        assert_eq!(payload(" [1]", PayloadKind::Text), " [1]");
        assert_eq!(payload("{not json", PayloadKind::Text), "\"{not json\"");
        assert_eq!(payload("12.50", PayloadKind::Text), "\"12.50\"");
        assert_eq!(payload("/wA=", PayloadKind::Bytes), "null,\"payload_base64\":\"/wA=\"");
        assert!(String::from_utf8(envelope(&failure(None))).expect("UTF-8").contains("\"payload\":null"));
    }

    #[test]
    fn the_envelope_is_json() {
        let json: serde_json::Value = serde_json::from_slice(&envelope(&failure(None))).expect("JSON");
        assert_eq!(json["entity_id"], "s 1\r\nX: y");
        assert_eq!(json["created_at"], "2026-11-24T06:12:34.123Z");
    }
}

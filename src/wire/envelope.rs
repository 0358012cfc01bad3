//! The request to an upstream: the same bytes on every try of a failure; what changes stands in
//! headers (`spec/03`, The request).

use crate::record::{Failure, PayloadKind, wire_time};
use serde_json::value::RawValue;
use std::fmt::Write;

/// A request, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `POST`, …
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// In order; values are visible ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// The program's name and version, as it calls itself on the wire.
pub const USER_AGENT: &str = concat!("resyncd/", env!("CARGO_PKG_VERSION"));

/// The envelope of a failure, to an upstream without routes.
#[must_use]
pub fn envelope(failure: &Failure, url: &str) -> HttpRequest {
    let mut headers = vec![
        ("Content-Type", String::from("application/json")),
        ("Idempotency-Key", header_value(failure.key())),
        ("Resync-Id", header_value(failure.id.as_str())),
        ("Resync-Entity-Type", header_value(&failure.entity_type)),
        ("Resync-Entity-Id", header_value(&failure.entity_id)),
        ("Resync-Action", header_value(&failure.action)),
        ("Resync-Attempt", (failure.attempts + 1).to_string()),
        ("Resync-Terminal", header_value(&failure.terminal_id)),
        ("User-Agent", USER_AGENT.to_owned()),
    ];
    if let Some(store) = &failure.store_id {
        headers.push(("Resync-Store", header_value(store)));
    }
    HttpRequest { method: "POST", url: url.to_owned(), headers, body: body(failure).into_bytes() }
}

fn body(failure: &Failure) -> String {
    let payload = match &failure.payload {
        None => "null".to_owned(),
        Some((text, kind)) if stands_raw(text, *kind) => text.clone(),
        Some((text, _)) => quoted(text),
    };
    format!(
        "{{\"id\":{},\"entity_type\":{},\"entity_id\":{},\"action\":{},\"payload\":{payload},\"created_at\":{},\"terminal_id\":{},\"store_id\":{}}}",
        quoted(failure.id.as_str()),
        quoted(&failure.entity_type),
        quoted(&failure.entity_id),
        quoted(&failure.action),
        quoted(&wire_time(&failure.created_at)),
        quoted(&failure.terminal_id),
        failure.store_id.as_deref().map_or_else(|| "null".to_owned(), quoted),
    )
}

/// JSON stands raw in the envelope: what came as JSON, and text that is a JSON object or array.
fn stands_raw(text: &str, kind: PayloadKind) -> bool {
    kind == PayloadKind::Json
        || (text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(text).is_ok())
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text has its JSON")
}

/// A header's value: what is no visible ASCII is percent-encoded, so that nothing can end the line.
fn header_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x21..=0x7e).contains(&byte) {
            value.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{FailureId, Seq};
    use crate::moment::AgentTime;
    use crate::record::{Asked, Status};

    fn failure(payload: Option<(&str, PayloadKind)>) -> Failure {
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
            asked: Asked::No,
        }
    }

    #[test]
    fn the_payload_stands_raw_when_it_is_json() {
        let payload = |text, kind| {
            let body = body(&failure(Some((text, kind))));
            let start = body.find("\"payload\":").expect("a payload") + 10;
            body[start..body.find(",\"created_at\"").expect("a time")].to_owned()
        };
        assert_eq!(payload("12.50", PayloadKind::Json), "12.50");
        assert_eq!(payload(r#"{"total": 12.50}"#, PayloadKind::Json), r#"{"total": 12.50}"#);
        assert_eq!(payload(" [1]", PayloadKind::Text), " [1]");
        assert_eq!(payload("{not json", PayloadKind::Text), "\"{not json\"");
        assert_eq!(payload("12.50", PayloadKind::Text), "\"12.50\"");
        assert!(body(&failure(None)).contains("\"payload\":null"));
    }

    #[test]
    fn the_envelope_is_json_and_no_value_forges_a_header() {
        let request = envelope(&failure(None), "http://hq/");
        let json: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(json["entity_id"], "s 1\r\nX: y");
        assert_eq!(json["created_at"], "2026-11-24T06:12:34.123Z");
        let header = |name| request.headers.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str());
        assert_eq!(header("Resync-Entity-Id"), Some("s%201%0D%0AX:%20y"));
        assert_eq!(header("Idempotency-Key"), Some("sale-1"));
        assert_eq!(header("Resync-Attempt"), Some("3"));
        assert_eq!(header("Resync-Store"), None);
    }
}

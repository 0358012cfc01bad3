//! The envelope: a failure as one JSON object, the same bytes on every try (`spec/03`, The request).

use crate::record::{Failure, PayloadKind, wire_time};
use serde_json::value::RawValue;

/// The program's name and version, as it calls itself on the wire.
pub const USER_AGENT: &str = concat!("resyncd/", env!("CARGO_PKG_VERSION"));

/// The envelope of a failure.
#[must_use]
pub fn envelope(failure: &Failure) -> String {
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

pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text has its JSON")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::{FailureId, Seq};
    use crate::moment::AgentTime;
    use crate::record::Status;

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
            dossier: None,
        }
    }

    #[test]
    fn the_payload_stands_raw_when_it_is_json() {
        let payload = |text, kind| {
            let body = envelope(&failure(Some((text, kind))));
            let start = body.find("\"payload\":").expect("a payload") + 10;
            body[start..body.find(",\"created_at\"").expect("a time")].to_owned()
        };
        assert_eq!(payload("12.50", PayloadKind::Json), "12.50");
        assert_eq!(payload(r#"{"total": 12.50}"#, PayloadKind::Json), r#"{"total": 12.50}"#);
        assert_eq!(payload(" [1]", PayloadKind::Text), " [1]");
        assert_eq!(payload("{not json", PayloadKind::Text), "\"{not json\"");
        assert_eq!(payload("12.50", PayloadKind::Text), "\"12.50\"");
        assert!(envelope(&failure(None)).contains("\"payload\":null"));
    }

    #[test]
    fn the_envelope_is_json() {
        let json: serde_json::Value = serde_json::from_str(&envelope(&failure(None))).expect("JSON");
        assert_eq!(json["entity_id"], "s 1\r\nX: y");
        assert_eq!(json["created_at"], "2026-11-24T06:12:34.123Z");
    }
}

//! Requests of applications, valid and invalid.

use super::*;
use crate::ids::Seq;
use crate::moment::WallTime;
use crate::question::{Direction, Filter, ListCursor};
use crate::record::PayloadKind;
use crate::record::Status;
use crate::wire::operation::Scope;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

fn read(line: &str) -> Line<'_> {
    parse(line.as_bytes(), Socket::Admin, &Limits::default())
}

fn recorded(line: &str) -> NewFailure<'_> {
    match read(line).request {
        Ok(Request::Record(new)) => *new,
        other => panic!("{line}: {other:?}"),
    }
}

fn rejected(line: &str) -> (Code, Option<String>) {
    let rejection = read(line).request.expect_err(line);
    (rejection.code, rejection.field)
}

fn with(more: &str) -> String {
    format!(r#"{{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x"{more}}}"#)
}

#[test]
fn a_payload_survives_byte_for_byte() {
    for json in [
        r#"{"total": 12.50,"n":123456789012345678901234567890}"#,
        "[1,  2]",
        "true",
        "12.50",
        r#"{"a":1,"a":2}"#,
        r#"{"x":"\ud800"}"#,
    ] {
        let line = with(&format!(",\"payload\":{json}"));
        let payload = recorded(&line).payload.expect("a payload");
        assert_eq!((&*payload.0, payload.1), (json, PayloadKind::Json));
    }
    let line = with(r#","payload":"{\"a\": 1}\n<x/>""#);
    assert_eq!(recorded(&line).payload, Some((Cow::from("{\"a\": 1}\n<x/>"), PayloadKind::Text)));
    assert_eq!(recorded(&with(",\"payload\":null")).payload, None);
    assert_eq!(recorded(&with("")).payload, None);
    assert_eq!(recorded(&with(",\"payload\":\"\"")).payload, Some((Cow::from(""), PayloadKind::Text)));
}

#[test]
fn the_applications_status_stands_in_a_field_or_in_the_error() {
    let status = |error: &str| {
        let line = format!(r#"{{"op":"record","entity_type":"SALE","entity_id":"s","action":"A","error":"{error}"}}"#);
        recorded(&line).http_status
    };
    assert_eq!(status("HTTP 500: Internal Server Error"), Some(500));
    assert_eq!(status("HTTP 422"), Some(422));
    assert_eq!(status("HTTP 5000"), None);
    assert_eq!(status("HTTP x"), None);
    assert_eq!(status("connect ETIMEDOUT"), None);
    let line = with(",\"http_status\":0").replace("\"x\"", "\"HTTP 500: …\"");
    assert_eq!(recorded(&line).http_status, Some(0), "the field is asked first");
}

#[test]
fn an_error_may_be_left_out_only_when_it_is_to_be_sent_now() {
    let line = r#"{"op":"record","entity_type":"SALE","entity_id":"s","action":"A","retry":"now"}"#;
    let new = recorded(line);
    assert_eq!((&*new.error, new.client_attempt), ("not sent yet", ClientAttempt::None));
    assert_eq!(rejected(&line.replace("now", "auto")), (Code::BadRequest, Some("error".into())));
    assert_eq!(rejected(&line.replace("now", "soon")), (Code::BadRequest, Some("retry".into())));
}

#[test]
fn long_errors_are_cut() {
    let line = with("").replace("\"x\"", &format!("\"{}\"", "ä".repeat(5000)));
    let error = recorded(&line).error.into_owned();
    assert!(error.len() <= MAX_ERROR && error.ends_with('…'));
}

#[test]
fn camel_case_is_as_good() {
    let line = r#"{"op":"record","entityType":"SALE","entityId":"s-1","action":"CREATE","error":"x","idempotencyKey":"k","orderKey":"o","httpStatus":500}"#;
    let new = recorded(line);
    assert_eq!(
        (new.idempotency_key.as_deref(), new.order_key.as_deref(), new.http_status),
        (Some("k"), Some("o"), Some(500))
    );
}

#[test]
fn fields_out_of_bounds_are_named() {
    let long = "x".repeat(257);
    for (more, field) in [
        (",\"paylod\":1".to_owned(), "paylod"),
        (format!(",\"order_key\":\"{long}\""), "order_key"),
        (",\"order_key\":\"\"".into(), "order_key"),
        (",\"order_key\":\"a\\nb\"".into(), "order_key"),
        (",\"order_key\":7".into(), "order_key"),
        (",\"idempotency_key\":\"a b\"".into(), "idempotency_key"),
        (",\"idempotency_key\":\"ä\"".into(), "idempotency_key"),
        (format!(",\"idempotency_key\":\"{long}\""), "idempotency_key"),
        (",\"http_status\":\"500\"".into(), "http_status"),
        (",\"http_status\":1000".into(), "http_status"),
        (",\"http_status\":-1".into(), "http_status"),
        (format!(",\"payload\":\"{}\"", "x".repeat((256 << 10) + 1)), "payload"),
        (",\"error\":\"again\"".into(), "error"),
        (",\"action\":\"again\"".into(), "action"),
    ] {
        assert_eq!(rejected(&with(&more)), (Code::BadRequest, Some(field.into())), "{more:.60}");
    }
    for (name, value) in [("SALE", ""), ("SALE", "SALE "), ("SALE", "\u{2003}S"), ("s-1", ""), ("CREATE", "a\\tb")] {
        assert_eq!(rejected(&with("").replace(name, value)).0, Code::BadRequest, "{name} as {value}");
    }
}

#[test]
fn types_and_actions_are_words_of_any_language() {
    let long = "é".repeat(64);
    for name in ["Sales Invoice", "Venta/Devolución", "売上", &long] {
        let line = format!(
            r#"{{"op":"record","entity_type":"{name}","entity_id":17,"action":"{name}","error":"x","retryCount":0,"lastRetryAt":null}}"#
        );
        let Ok(Request::Record(new)) = read(&line).request else { panic!("{line}") };
        assert_eq!((&*new.entity_type, &*new.action, &*new.entity_id), (name, name, "17"));
    }
    for (more, field) in [
        (r#","retry_count":1"#, "retry_count"),
        (r#","last_retry_at":"2026-11-01""#, "last_retry_at"),
        (r#","entityId":1.5"#, "entity_id"),
        (r#","entityId":true"#, "entity_id"),
    ] {
        let line = format!(r#"{{"op":"record","entity_type":"A","action":"B","error":"x"{more}}}"#);
        assert_eq!(rejected(&line), (Code::BadRequest, Some(field.into())), "{line}");
    }
}

#[test]
fn a_payload_may_be_any_bytes() {
    let payload = |more: &str| {
        let line = format!(r#"{{"op":"record","entity_type":"A","entity_id":"1","action":"B","error":"x",{more}}}"#);
        match parse(line.as_bytes(), Socket::App, &Limits::default()).request {
            Ok(Request::Record(new)) => Ok(new.payload.map(|(text, kind)| (text.into_owned(), kind))),
            Ok(other) => panic!("{other:?}"),
            Err(wrong) => Err(wrong.field.unwrap_or_default()),
        }
    };
    let bytes = |text: &str| Ok(Some((text.to_owned(), PayloadKind::Bytes)));
    assert_eq!(payload(r#""payload_base64":"/+8=""#), bytes("/+8="));
    assert_eq!(payload(r#""payloadBase64":"/+8","payloadKind":"bytes","payload":null"#), bytes("/+8="));
    assert_eq!(payload(r#""payload_base64":"""#), bytes(""));
    assert_eq!(
        payload(r#""payload":"{\"a\":\n1}","payload_kind":"json""#),
        Ok(Some(("{\"a\":\n1}".into(), PayloadKind::Json)))
    );
    for (wrong, field) in [
        (r#""payload_base64":"/+8=","payload":1"#, "payload_base64"),
        (r#""payload_base64":"*""#, "payload_base64"),
        (r#""payload_base64":7"#, "payload_base64"),
        (r#""payload_base64":"AA==","payload_kind":"json""#, "payload_kind"),
        (r#""payload":"x","payload_kind":"bytes""#, "payload_kind"),
        (r#""payload":"{","payload_kind":"json""#, "payload"),
        (r#""payload":"x","payload_kind":"xml""#, "payload_kind"),
    ] {
        assert_eq!(payload(wrong), Err(field.to_owned()), "{wrong}");
    }
    let most = BASE64_STANDARD.encode(vec![0; 256 << 10]);
    assert!(payload(&format!(r#""payload_base64":"{most}""#)).is_ok());
    assert_eq!(payload(&format!(r#""payload_base64":"AAAA{most}""#)), Err("payload".into()));
}

#[test]
fn operations() {
    assert_eq!(rejected("{}"), (Code::BadRequest, Some("op".into())));
    assert_eq!(rejected(r#"{"op":"drop"}"#).0, Code::UnknownOp);
    for op in ADMIN_OPS {
        let line = format!("{{\"op\":\"{op}\"}}");
        let app = parse(line.as_bytes(), Socket::App, &Limits::default());
        assert_eq!(app.request.expect_err(op).code, Code::Forbidden);
    }
    for op in ["hello", "unsent", "health"] {
        let line = format!("{{\"op\":\"{op}\",\"x\":1}}");
        assert_eq!(rejected(&line), (Code::BadRequest, Some("x".into())));
    }
}

#[test]
fn a_reference_comes_along_also_with_an_error() {
    let twice = read(r#"{"op":"hello","a":1,"a":2,"ref":7}"#);
    assert_eq!(twice.reference.map(RawValue::get), Some("7"));
    assert_eq!(twice.request.expect_err("a name given twice").field.as_deref(), Some("a"));
    assert!(read(r#"{"op":"hello","ref":7,"ref":8}"#).reference.is_none());
    let line = read(r#"{"ref":{"n": 1},"op":"nothing"}"#);
    assert_eq!(line.reference.map(RawValue::get), Some(r#"{"n": 1}"#));
    assert!(line.request.is_err());
}

#[test]
fn bulk_operations_say_which() {
    let bulk = |line: &str| match read(line).request {
        Ok(Request::Bulk(bulk)) => bulk,
        other => panic!("{line}: {other:?}"),
    };
    let some = bulk(r##"{"op":"retry","ids":[1042,"#7","1042","019abc"],"reset":true,"reason":"fixed","by":"ana"}"##);
    assert_eq!(some.bulk_action, BulkAction::Retry { reset: true });
    assert_eq!(
        some.scope,
        Scope::Named(vec![
            FailureName::Number(Seq(1042)),
            FailureName::Number(Seq(7)),
            FailureName::Id("1042".into()),
            FailureName::Id("019abc".into())
        ])
    );
    assert_eq!(some.by, RequestedBy { reason: Some("fixed".into()), claimed_by: Some("ana".into()) });
    let all = bulk(r#"{"op":"retry","all":true,"dry_run":true}"#);
    assert_eq!((all.scope, all.dry_run), (Scope::Matching(Filter::default()), true));
    let critical = bulk(r#"{"op":"retry","filter":{"status":"critical","entityType":"SALE"}}"#);
    let expected = Filter { status: Some(Status::Critical), entity_type: Some("SALE".into()), ..Filter::default() };
    assert_eq!(critical.scope, Scope::Matching(expected));
    for line in [
        r#"{"op":"retry"}"#,
        r#"{"op":"retry","all":true,"ids":["1"]}"#,
        r#"{"op":"retry","filter":{}}"#,
        r#"{"op":"retry","filter":{"x":1}}"#,
    ] {
        assert_eq!(rejected(line).0, Code::BadRequest, "{line}");
    }
}

#[test]
fn lists() {
    let Ok(Request::List(query)) = read(r#"{"op":"list","status":"critical","limit":5,"after":"2026-11-24T06:12:34.123Z~17","order":"desc","payload":true,"since":"2026-11-24"}"#).request else {
        panic!("a list");
    };
    assert_eq!(
        (query.limit, query.after, query.direction, query.payload),
        (5, Some(ListCursor { at: Some("2026-11-24 06:12:34.123".into()), seq: Seq(17) }), Direction::Descending, true)
    );
    assert_eq!(query.filter.since.map(WallTime::sql).as_deref(), Some("2026-11-24 00:00:00.000"));
    for wrong in [
        r#""limit":0"#,
        r#""limit":1001"#,
        r#""after":"x""#,
        r#""after":"x~17""#,
        r#""status":"critical","after":"17""#,
        r#""order":"up""#,
        r#""status":"gone""#,
        r#""since":"now""#,
    ] {
        assert_eq!(rejected(&format!("{{\"op\":\"list\",{wrong}}}")).0, Code::BadRequest, "{wrong}");
    }
}

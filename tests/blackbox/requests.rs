//! Fields and their bounds, names, who may ask for what.

use crate::support::{Agent, Plan, code, id_of, record};
use serde_json::{Value, json};

/// The field that an error names.
#[track_caller]
fn bad_field(reply: &Value) -> &str {
    assert_eq!(code(reply), "bad_request", "{reply}");
    reply["error"]["field"].as_str().expect("the field is named")
}

/// `hello`: name, version, protocol, terminal and the operations of this socket.
#[test]
fn hello_says_who_is_there_and_what_may_be_asked() {
    let agent = Agent::start(&Plan::default());
    let app = agent.call(&json!({"op": "hello"}));
    assert_eq!(
        (&app["name"], &app["protocol"], &app["terminal_id"]),
        (&json!("resyncd"), &json!(1), &json!("till-07"))
    );
    assert_eq!(app["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(app["ops"], json!(["hello", "record", "get", "unsent", "health"]));
    let admin = agent.ask(&json!({"op": "hello"}));
    let ops = admin["ops"].as_array().expect("a list");
    assert!(app["ops"].as_array().expect("a list").iter().all(|op| ops.contains(op)), "{admin}");
    assert!(["list", "retry", "pause", "resume", "flush", "history"].iter().all(|op| ops.contains(&json!(op))));
}

/// Replies are compact, `ok` first.
#[test]
fn a_reply_is_compact_and_begins_with_ok() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    app.line(&record("s-1", &json!({})).to_string());
    let text = app.text().expect("a reply");
    assert!(
        text.starts_with("{\"ok\":true,\"id\":\"") && text.ends_with(",\"status\":\"pending\",\"duplicate\":false}"),
        "{text}"
    );
    app.line("{\"op\":\"record\",\"entity_type\":\"RETURN\"}");
    assert_eq!(
        app.text().expect("a reply"),
        r#"{"ok":false,"error":{"code":"bad_request","message":"entity_id is missing","field":"entity_id"}}"#
    );
}

/// An operation that there is not is `unknown_op`; an admin operation on the app socket `forbidden`.
#[test]
fn what_may_not_be_asked_is_refused() {
    let agent = Agent::start(&Plan::default());
    for op in ["nonsense", "RECORD", ""] {
        assert_eq!(code(&agent.call(&json!({"op": op}))), "unknown_op", "{op:?}");
        assert_eq!(code(&agent.ask(&json!({"op": op}))), "unknown_op", "{op:?}");
    }
    for op in ["list", "history", "retry", "flush", "pause", "resume"] {
        assert_eq!(code(&agent.call(&json!({"op": op}))), "forbidden", "{op}");
    }
    assert_eq!(bad_field(&agent.call(&json!({}))), "op");
    assert_eq!(bad_field(&agent.call(&json!({"op": 7}))), "op");
}

/// 02 lists them all as operations of the admin socket: whatever this version knows of them, the app
/// socket is not the place to ask.
#[test]
fn no_admin_operation_is_done_on_the_app_socket() {
    let agent = Agent::start(&Plan::default());
    for op in agent.ask(&json!({"op": "hello"}))["ops"].as_array().expect("a list") {
        if !["hello", "record", "get", "unsent", "health"].contains(&op.as_str().expect("a text")) {
            assert_eq!(code(&agent.call(&json!({"op": op}))), "forbidden", "{op}");
        }
    }
}

/// An unknown field is named, with the one that was meant: a misspelt one must not lose a payload.
#[test]
fn an_unknown_field_is_named_and_nothing_is_recorded() {
    let agent = Agent::start(&Plan::default());
    let reply = agent.call(&record("s-1", &json!({"payload": null, "paylod": {"a": 1}})));
    assert_eq!(bad_field(&reply), "paylod");
    assert!(reply["error"]["message"].as_str().expect("a text").contains("payload"), "{reply}");
    for (wrong, meant) in
        [("idempotencykey", "idempotency_key"), ("orderkey", "order_key"), ("http_state", "http_status")]
    {
        let reply = agent.call(&record("s-1", &json!({wrong: "x"})));
        assert_eq!(bad_field(&reply), wrong);
        assert!(reply["error"]["message"].as_str().expect("a text").contains(meant), "{reply}");
    }
    assert_eq!(bad_field(&agent.call(&json!({"op": "hello", "payload": 1}))), "payload");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 0, "refused means absent");
}

/// `camelCase` names are accepted; both spellings at once, or a name given twice, are `bad_request`.
#[test]
fn camel_case_is_accepted_and_no_name_twice() {
    let agent = Agent::start(&Plan::default());
    let request = json!({
        "op": "record", "entityType": "SALE", "entityId": "s-1", "action": "CREATE", "error": "x",
        "httpStatus": 500, "idempotencyKey": "k-1", "orderKey": "o-1", "payload": {"camelCase": "stays"},
    });
    let id = id_of(&agent.call(&request));
    let shown = agent.failure(&id).expect("it is live");
    let expected = json!(["SALE", "s-1", 500, "k-1", "o-1", "{\"camelCase\":\"stays\"}"]);
    let names = ["entity_type", "entity_id", "http_status", "idempotency_key", "order_key", "payload"];
    assert_eq!(json!(names.map(|name| &shown[name])), expected);
    assert_eq!(bad_field(&agent.call(&record("s-1", &json!({"entityId": "s-1"})))), "entity_id");
    let mut app = agent.app();
    app.line(r#"{"op":"record","entity_type":"A","entity_id":"1","action":"B","error":"x","payload":1,"payload":2}"#);
    assert_eq!(bad_field(&app.reply()), "payload");
    app.line(r#"{"op":"hello","op":"hello"}"#);
    assert_eq!(bad_field(&app.reply()), "op");
}

/// The bounds of every field of `record`; what is refused is not recorded.
#[test]
fn every_field_has_its_bounds() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    let long = |n: usize| "x".repeat(n);
    let wrong = [
        ("entity_type", json!("")),
        ("entity_type", json!(long(65))),
        ("entity_type", json!("SALE ")),
        ("entity_type", json!("S\u{9c}LE")),
        ("entity_type", json!(7)),
        ("action", json!("")),
        ("action", json!("\u{a0}CREATE")),
        ("action", json!(long(65))),
        ("entity_id", json!("")),
        ("entity_id", json!("\u{e4}".repeat(257))),
        ("entity_id", json!("a\nb")),
        ("entity_id", json!("a\u{1b}[2J")),
        ("entity_id", json!("a\u{0}")),
        ("entity_id", json!(17.5)),
        ("order_key", json!("")),
        ("order_key", json!(long(257))),
        ("order_key", json!("a\rb")),
        ("retry", json!("later")),
        ("retry", json!(true)),
        ("http_status", json!(-1)),
        ("http_status", json!("500")),
        ("http_status", json!(500.5)),
        ("error", json!({"code": 1})),
    ];
    for (field, value) in &wrong {
        let reply = app.call(&record("s-1", &json!({*field: value})));
        assert_eq!(bad_field(&reply), *field, "{value}");
    }
    for field in ["entity_type", "entity_id", "action", "error"] {
        assert_eq!(bad_field(&app.call(&record("s-1", &json!({field: null})))), field);
    }
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 0, "refused means absent");
    let right = [
        ("entity_type", json!("Sales Invoice/\u{c4}")),
        ("entity_type", json!(long(64))),
        ("entity_id", json!("\u{1f600}".repeat(256))),
        ("entity_id", json!("../../etc/passwd?#%2F \u{202e}")),
        ("order_key", json!("\u{e4}".repeat(256))),
        ("http_status", json!(0)),
        ("error", json!("")),
    ];
    for (field, value) in right {
        let id = id_of(&app.call(&record("s-1", &json!({field: value}))));
        assert_eq!(agent.failure(&id).expect("it is live")[field], value);
    }
}

/// `error` may be left out with `retry:"now"`; over 8 KiB it is cut at a character boundary with `…`.
#[test]
fn an_error_is_left_out_only_with_now_and_cut_when_long() {
    let agent = Agent::start(&Plan::default());
    let id = id_of(&agent.call(&record("s-1", &json!({"error": null, "retry": "now"}))));
    assert_eq!(agent.failure(&id).expect("it is live")["error"], "not sent yet");
    let long = "\u{20ac}".repeat(4000);
    let id = id_of(&agent.call(&record("s-1", &json!({"error": long}))));
    let shown = agent.failure(&id).expect("it is live")["error"].as_str().expect("a text").to_owned();
    let kept = shown.strip_suffix('…').expect("it says that it was cut");
    assert!(long.starts_with(kept) && shown.len() <= 8 << 10 && shown.len() > (8 << 10) - 6, "{} bytes", shown.len());
}

/// `source_uid` and `source_pid` come from the socket, are kept, and are for admins.
#[test]
fn who_recorded_is_kept_and_shown_to_admins() {
    let agent = Agent::start(&Plan::default());
    let id = id_of(&agent.call(&record("s-1", &json!({}))));
    let (uid, pid) = (rustix::process::getuid().as_raw(), std::process::id());
    let kept = agent.rows("SELECT source_uid, source_pid, terminal_id, store_id FROM sync_failures");
    assert_eq!(json!(kept), json!([[uid, pid, "till-07", "0042"]]));
    let shown = agent.failure(&id).expect("it is live");
    assert_eq!((&shown["source_uid"], &shown["source_pid"]), (&json!(uid), &json!(pid)));
    let app = agent.call(&json!({"op": "get", "id": id}));
    assert!(app["failure"].get("source_uid").is_none() && app["failure"].get("source_pid").is_none(), "{app}");
}

/// `get` on the app socket has no payload and no answer of the upstream; absent values are `null`.
#[test]
fn get_shows_the_payload_to_admins_only() {
    let agent = Agent::start(&Plan::default());
    let recorded = agent.call(&record("s-1", &json!({})));
    let id = id_of(&recorded);
    let app = agent.call(&json!({"op": "get", "id": id}))["failure"].clone();
    assert!(app.get("payload").is_none() && app.get("response").is_none(), "{app}");
    let fields = "id seq entity_type entity_id order_key action error payload_kind status retry_count next_retry_at \
                  last_retry_at http_status error_class upstream idempotency_key blocked_by created_at updated_at \
                  state terminal_id store_id";
    for name in fields.split_whitespace() {
        assert!(app.get(name).is_some(), "{name} is missing: {app}");
    }
    assert_eq!(
        (&app["order_key"], &app["payload_kind"], &app["seq"]),
        (&Value::Null, &json!("json"), &recorded["seq"])
    );
    let admin = agent.failure(&id).expect("it is live");
    assert_eq!((&admin["payload"], &admin["response"]), (&json!("{\"total\":12.5}"), &Value::Null), "{admin}");
}

/// A string is an id, exactly; a number, or `#` and digits, is a number; a unique prefix of 6 or more characters only where
/// the request says that it is one.
#[test]
fn a_failure_is_found_by_id_seq_and_prefix() {
    let agent = Agent::start(&Plan::default());
    let recorded = agent.call(&record("s-1", &json!({})));
    let (id, seq) = (id_of(&recorded), recorded["seq"].as_i64().expect("a number"));
    for name in [json!(id), json!(seq), json!(format!("#{seq}"))] {
        assert_eq!(agent.ask(&json!({"op": "get", "id": name}))["failure"]["id"], json!(id), "{name}");
    }
    let begins = |name: &str| agent.ask(&json!({"op": "get", "id": name, "prefix": true}));
    for name in [&id, &id[..30], &id[..6]] {
        assert_eq!(begins(name)["failure"]["id"], json!(id), "{name}");
    }
    for name in [json!(id[..30]), json!(seq.to_string()), json!("#4711"), json!(4711), json!("")] {
        assert_eq!(code(&agent.ask(&json!({"op": "get", "id": name}))), "not_found", "{name}");
    }
    for name in [&id[..5], "ffffffffffff", ""] {
        assert_eq!(code(&begins(name)), "not_found", "{name}");
    }
    for name in [json!({"a": 1}), json!(true), json!(1.5), json!([1])] {
        assert_eq!(code(&agent.ask(&json!({"op": "get", "id": name}))), "bad_request", "{name}");
    }
    // The beginning of two ids: both are named.
    let second = id_of(&agent.call(&record("s-2", &json!({}))));
    let reply = begins(&id[..6]);
    assert_eq!(reply["ok"], false);
    let message = reply["error"]["message"].as_str().expect("a text");
    assert!(message.contains(&id) && message.contains(&second), "{reply}");
}

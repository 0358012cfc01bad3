//! A payload is kept and sent byte for byte.

use crate::support::{Agent, Plan, Upstream, code, id_of};
use serde_json::{Value, json};

const MAX: usize = 256 << 10;

/// A `record` line with this payload, verbatim.
fn line(entity: &str, payload: &str) -> String {
    format!(
        "{{\"op\":\"record\",\"entity_type\":\"SALE\",\"entity_id\":\"{entity}\",\"action\":\"CREATE\",\"retry\":\"now\",\
         \"payload\":{payload}}}"
    )
}

/// Records a payload and returns the text and the kind in the file, the text in an administrator's `get`,
/// and its form in the HTTP body.
fn kept_and_sent(agent: &Agent, upstream: &Upstream, entity: &str, payload: &str) -> (Value, Value, Value, String) {
    agent.ask(&json!({"op": "pause"}));
    let mut app = agent.app();
    app.line(&line(entity, payload));
    let id = id_of(&app.reply());
    let row = agent.rows(&format!("SELECT payload, payload_kind FROM sync_failures WHERE id = '{id}'")).remove(0);
    let shown = agent.failure(&id).expect("it is live")["payload"].clone();
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    let sent = upstream.deliveries_of(entity).remove(0);
    let text = sent.text();
    let from = text.find("\"payload\":").expect("an envelope has a payload") + "\"payload\":".len();
    let to = text.rfind(",\"created_at\":").expect("an envelope has a time");
    (row[0].clone(), row[1].clone(), shown, text[from..to].to_owned())
}

/// JSON is kept as its text: large numbers, key order, spacing and escapes survive, in the file, in
/// replies and in the HTTP body.
#[test]
fn a_json_payload_survives_byte_for_byte() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let payloads = [
        r#"{ "z" : 1.50 ,"a":[ 1e400, -0.0, 12345678901234567890123 ],  "é":"\u00e9\/ü" , "a":null}"#,
        r"[]",
        r"[1,  2 ,3]",
        r"12.50",
        r"-1E+5",
        r"true",
        "{\"tab\":\t1,\r\"smile\":\"😀\",\"nul\":\"\\u0000\",\"script\":\"</script>\\\"\"}",
    ];
    for (n, payload) in payloads.into_iter().enumerate() {
        let (kept, kind, shown, sent) = kept_and_sent(&agent, &upstream, &format!("s-{n}"), payload);
        assert_eq!((kept, kind), (json!(payload), json!("json")));
        assert_eq!(shown, json!(payload), "in replies a payload is a JSON string");
        assert_eq!(sent, payload, "it stands raw in the body");
    }
}

/// A string is kept as its contents; in the body it stands raw when they are a JSON object or array,
/// else as a JSON string.
#[test]
fn a_text_payload_is_kept_as_its_contents() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    for (n, contents) in [
        "",
        "plain",
        "<sale>\n\t<total>12.50</total>\r\n</sale>",
        "a\u{0}b\u{1b}[2J",
        "\u{1f600}\u{2028}\u{202e}\"\\/",
        "12.50",
        "null",
        "{not json",
    ]
    .into_iter()
    .enumerate()
    {
        let payload = json!(contents).to_string();
        let (kept, kind, shown, sent) = kept_and_sent(&agent, &upstream, &format!("s-{n}"), &payload);
        assert_eq!((kept, kind, shown), (json!(contents), json!("text"), json!(contents)));
        assert_eq!(serde_json::from_str::<Value>(&sent).expect("JSON"), json!(contents), "as a JSON string");
    }
    for (n, contents) in ["{\"total\" : 12.50}", " [1, 2]"].into_iter().enumerate() {
        let payload = json!(contents).to_string();
        let (kept, kind, _, sent) = kept_and_sent(&agent, &upstream, &format!("j-{n}"), &payload);
        assert_eq!((kept, kind), (json!(contents), json!("text")));
        assert_eq!(sent, contents, "it stands raw");
    }
    // Escapes in the request are the same contents.
    let (kept, ..) = kept_and_sent(&agent, &upstream, "escaped", r#""\u0041\ud83d\ude00\n\/""#);
    assert_eq!(kept, "A\u{1f600}\n/");
}

/// Absent or null is NULL, and `null` in the body.
#[test]
fn no_payload_is_null() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let (kept, kind, shown, sent) = kept_and_sent(&agent, &upstream, "s-1", "null");
    assert_eq!((kept, kind, shown, sent.as_str()), (Value::Null, Value::Null, Value::Null, "null"));
}

/// At most `limits.max_payload` stored bytes, 256 KiB; more is `bad_request`.
#[test]
fn a_payload_of_256_kib_is_taken_and_no_byte_more() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let json_of = |bytes: usize| format!("[\"{}\"]", "x".repeat(bytes - 4));
    let text_of = |bytes: usize| format!("\"{}\"", "\\n".repeat(bytes));
    for (name, of) in [("json", &json_of as &dyn Fn(usize) -> String), ("text", &text_of)] {
        let mut app = agent.app();
        app.line(&line(name, &of(MAX + 1)));
        let reply = app.reply();
        assert_eq!((code(&reply), &reply["error"]["field"]), ("bad_request", &json!("payload")), "{name}");
        app.line(&line(name, &of(MAX)));
        let id = id_of(&app.reply());
        agent.wait_gone(&id);
        let body: Value = serde_json::from_slice(&upstream.deliveries_of(name)[0].body).expect("JSON");
        let expected = if name == "json" { json!(["x".repeat(MAX - 4)]) } else { json!("\n".repeat(MAX)) };
        assert!(body["payload"] == expected, "{name}: it arrived whole");
    }
}

/// A string that is no Unicode text (half a surrogate) is refused, not mended.
#[test]
fn half_a_surrogate_is_refused() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    app.line(&line("s-1", r#""\ud800""#));
    let reply = app.reply();
    assert_eq!((code(&reply), &reply["error"]["field"]), ("bad_request", &json!("payload")), "{reply}");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 0);
}

/// Hostile content: no header or line is forged, wherever it stands.
#[test]
fn hostile_text_forges_no_header_and_no_line() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let entity = "../../x?y#z%2F \u{e4}\u{2028}\u{202e}";
    let error = "HTTP 500: \r\nX-Forged: 1\r\n\r\n\u{1b}[2J event=forged";
    let request = json!({
        "op": "record", "entity_type": "SALE", "entity_id": entity, "action": "..", "error": error, "retry": "now",
        "payload": "a\r\nX-Forged: 1",
    });
    let id = id_of(&agent.call(&request));
    agent.wait_gone(&id);
    let sent = &upstream.deliveries()[0];
    assert_eq!(sent.path, "/sync");
    assert_eq!(sent.entity(), "../../x?y#z%252F%20%C3%A4%E2%80%A8%E2%80%AE");
    assert_eq!(sent.header("X-Forged"), None);
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    assert_eq!((&body["entity_id"], &body["payload"]), (&json!(entity), &json!("a\r\nX-Forged: 1")));
    let log = agent.log();
    assert!(!log.contains('\u{1b}') && !log.lines().any(|line| line.starts_with("X-Forged")), "{log}");
}

/// Payload, key and token never appear in the log or in `list`, whatever happens to the failure.
#[test]
fn a_payload_never_stands_in_the_log() {
    let upstream = Upstream::start(|_| crate::support::Answer::status(422));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let secret = "hunter2-in-the-payload";
    let request = json!({
        "op": "record", "entity_type": "SALE", "entity_id": "s-1", "action": "CREATE", "retry": "now",
        "payload": {"card": secret}, "idempotency_key": "hunter2-in-the-key",
    });
    let id = id_of(&agent.call(&request));
    agent.wait_critical(&id);
    agent.call(&json!({"op": "record", "payload": {"card": secret}, "paylod": secret}));
    agent.app().line(&format!("{{\"op\":\"record\",\"payload\":\"{secret}"));
    let listed = agent.ask(&json!({"op": "list"}));
    assert_eq!(listed["total"], 1);
    assert!(!listed.to_string().contains(secret), "{listed}");
    assert!(agent.log().contains(&id) && !agent.log().contains("hunter2"), "{}", agent.log());
}

//! `export`: what leaves the terminal as lines, with and without the daemon.

use super::command_line::{out, resyncd};
use crate::support::{Agent, Plan, id_of, lines, record};
use serde_json::{Value, json};

fn exported(agent: &Agent, more: &[&str]) -> Vec<Value> {
    let output = resyncd(agent, &[&["export"], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    out(&output).lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn seqs(lines: &[Value]) -> Vec<i64> {
    lines.iter().map(|line| line["seq"].as_i64().expect("a number")).collect()
}

/// One line a live failure with payload, user and process; payloads are JSON strings, byte for byte.
#[test]
fn every_live_failure_is_exported_whole_and_in_order() {
    let mut agent = Agent::start(&Plan::default());
    let raw = r#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","payload":{"n": 12.50,"big":12345678901234567890},"idempotency_key":"k-1","order_key":"o"}"#;
    let mut app = agent.app();
    app.line(raw);
    let first = id_of(&app.reply());
    app.call(&record("r-1", &json!({"entity_type": "RETURN", "payload": "<x a=\"1\"/>\n"})));
    app.call(&record("s-2", &json!({"payload": null, "action": "UPDATE"})));
    let with = exported(&agent, &[]);
    assert_eq!(seqs(&with), [1, 2, 3]);
    assert_eq!(with[0]["payload"], r#"{"n": 12.50,"big":12345678901234567890}"#);
    assert_eq!(
        (&with[0]["id"], &with[0]["idempotency_key"], &with[0]["order_key"]),
        (&json!(first), &json!("k-1"), &json!("o"))
    );
    assert_eq!((&with[1]["payload"], &with[1]["payload_kind"]), (&json!("<x a=\"1\"/>\n"), &json!("text")));
    assert_eq!((&with[2]["payload"], &with[2]["payload_kind"]), (&Value::Null, &Value::Null));
    let uid = rustix::process::getuid().as_raw();
    assert_eq!((&with[0]["source_uid"], &with[0]["source_pid"]), (&json!(uid), &json!(std::process::id())));
    assert_eq!((&with[0]["terminal_id"], &with[0]["store_id"]), (&json!("till-07"), &json!("0042")));
    assert_eq!(seqs(&exported(&agent, &["--type", "SALE"])), [1, 3]);
    assert_eq!(seqs(&exported(&agent, &["--order-key", "o"])), [1]);
    assert_eq!(exported(&agent, &["--status", "critical"]), Vec::<Value>::new());
    assert!(agent.stop().success());
    assert_eq!(exported(&agent, &[]), with, "without the daemon the same");
}

/// The pages of `list` are behind it: none is left out, none comes twice, also where a page ends by
/// its bytes.
#[test]
fn an_export_goes_over_many_pages() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    let payload = "x".repeat(3000);
    app.send(lines((0..2500).map(|n| record(&format!("s-{n}"), &json!({"payload": payload})))));
    app.half_close();
    assert!(app.rest().iter().all(|reply| reply["ok"] == true));
    assert_eq!(seqs(&exported(&agent, &[])), (1..=2500).collect::<Vec<i64>>());
}

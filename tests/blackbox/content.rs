//! What is sent is what was handed over, in whatever encoding; and no sale is refused for its error's.

use super::command_line::{out, resyncd, told};
use crate::support::{Agent, Plan, Upstream, code, id_of, record};
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The command line with arguments that need not be UTF-8.
fn typed(agent: &Agent, args: &[&[u8]]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
    command.env("LC_ALL", "C.UTF-8").env_remove("RESYNCD_LANG");
    command.arg("--socket").arg(agent.app_path()).arg("--admin-socket").arg(agent.admin_path());
    let words: Vec<OsString> = args.iter().map(|word| OsStr::from_bytes(word).to_owned()).collect();
    command.args(words).env_remove("RESYNCD_CONFIG").output().expect("the command runs")
}

fn file(dir: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("payload");
    fs::write(&path, bytes).expect("a file is written");
    path
}

fn record_file<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let start = ["record", "--type", "SALE", "--entity", "s-1", "--action", "CREATE", "--error", "x", "--payload-file"];
    [&start[..], &[file], more].concat()
}

/// Half an emoji, Latin-1: an error says what it can, and the sale is kept.
#[test]
fn no_sale_is_refused_for_the_encoding_of_its_error() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    let line = |error: &[u8]| {
        [
            br#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","ref":7,"error":""#,
            error,
            b"\"}\n",
        ]
        .concat()
    };
    for error in [&br"cut \ud83d"[..], b"caf\xe9", b"\xff\xfe"] {
        app.send(line(error));
        assert_eq!(app.reply()["ok"], true, "{error:?}");
    }
    assert_eq!(
        agent.column("SELECT error FROM sync_failures ORDER BY seq"),
        [json!("cut \u{fffd}"), json!("caf\u{fffd}"), json!("\u{fffd}\u{fffd}")]
    );
    // Nowhere else: a payload that was changed would be another one.
    let wrong = [
        br#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","payload":""#,
        &b"caf\xe9"[..],
        b"\"}\n",
    ]
    .concat();
    app.send(wrong);
    assert_eq!(code(&app.reply()), "bad_json");
    let done = typed(
        &agent,
        &[b"record", b"--type", b"SALE", b"--entity", b"s-2", b"--action", b"CREATE", b"--error", b"caf\xe9"],
    );
    assert!(done.status.success(), "{}", told(&done));
    assert_eq!(agent.cell("SELECT error FROM sync_failures WHERE entity_id = 's-2'"), "caf\u{fffd}");
    let wrong = typed(
        &agent,
        &[
            b"--json",
            b"record",
            b"--type",
            b"SALE",
            b"--entity",
            b"M\xfcller",
            b"--action",
            b"CREATE",
            b"--error",
            b"x",
        ],
    );
    assert_eq!(wrong.status.code(), Some(2));
    assert!(told(&wrong).contains("--entity") && told(&wrong).contains("UTF-8"), "{}", told(&wrong));
    let said: Value = serde_json::from_str(&out(&wrong)).expect("JSON on standard output");
    assert!(said["error"]["message"].as_str().is_some_and(|message| message.contains("--entity")), "{said}");
}

/// A fiscal document in ISO-8859-1 arrives as it was signed, however it travels until then.
#[test]
fn any_bytes_arrive_as_they_are() {
    let upstream = Upstream::willing();
    let routes = "[[route]]\nbody = \"payload\"\ncontent_type = \"text/xml\"\n";
    let agent = Agent::start(&Plan::with(upstream.url(), routes));
    agent.ask(&json!({"op": "pause"}));
    let dir = tempfile::tempdir().expect("a directory");
    let xml = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>caf\xe9\0</a>";
    let path = file(&dir, xml);
    let path = path.to_str().expect("UTF-8");
    let refused = resyncd(&agent, &record_file(path, &[]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(told(&refused).contains("--payload-type bytes"), "{}", told(&refused));
    let done = resyncd(&agent, &record_file(path, &["--payload-type", "bytes"]));
    assert!(done.status.success(), "{}", told(&done));
    let id = out(&done).trim().to_owned();
    assert_eq!(
        agent.cell("SELECT payload_kind || typeof(payload) || length(payload) FROM sync_failures"),
        format!("bytesblob{}", xml.len())
    );
    let exported = out(&resyncd(&agent, &["export"]));
    let line: Value = serde_json::from_str(&exported).expect("a line");
    assert_eq!((&line["payload"], &line["payload_kind"]), (&Value::Null, &json!("bytes")));
    // It leaves, comes back, and is edited.
    assert_eq!(agent.ask(&json!({"op": "discard", "ids": [id], "reason": "x"}))["changed"], 1);
    assert_eq!(agent.ask(&json!({"op": "import", "row": line}))["result"], "imported");
    let edited = agent.ask(&json!({"op": "edit", "id": id, "payload_base64": line["payload_base64"], "reason": "x"}));
    assert_eq!(code(&edited), "bad_request", "it is the same");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries()[0].body, xml);
    let second = [xml, &b" "[..]].concat();
    agent.ask(&json!({"op": "pause"}));
    let id = id_of(&agent.call(&record("s-2", &json!({"payload": "text", "retry": "now"}))));
    let path = file(&dir, &second);
    let path = path.to_str().expect("UTF-8");
    let edit = ["edit", &id, "--payload-file", path, "--payload-type", "bytes", "--reason", "x", "--yes"];
    let done = resyncd(&agent, &edit);
    assert!(done.status.success() && told(&done).contains("+ payload: "), "{}", told(&done));
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries()[1].body, second);
    assert_eq!(agent.cell("SELECT old_payload FROM audit_log WHERE operation = 'edit'"), "text");
}

/// The envelope holds them in base64.
#[test]
fn the_envelope_holds_bytes_in_base64() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    id_of(&agent.call(&record("s-1", &json!({"payload": null, "payload_base64": "/+8=", "retry": "now"}))));
    let sent: Value = serde_json::from_slice(&upstream.wait_deliveries(1)[0].body).expect("an envelope");
    assert_eq!((&sent["payload"], &sent["payload_base64"]), (&Value::Null, &json!("/+8=")));
}

/// `record` and `edit` reject a payload that was meant to be JSON and is not; an edit shows what it changes.
#[test]
fn a_payload_file_is_looked_at_before_it_is_sent() {
    let agent = Agent::start(&Plan::default());
    let dir = tempfile::tempdir().expect("a directory");
    for (wrong, said) in [(&b"{\"sku\":\"A2\",}"[..], "line 1"), (b"\xef\xbb\xbf{}", "byte order mark"), (b"", "empty")]
    {
        let path = file(&dir, wrong);
        let path = path.to_str().expect("UTF-8");
        let refused = resyncd(&agent, &record_file(path, &[]));
        assert_eq!(refused.status.code(), Some(2));
        assert!(told(&refused).contains(said), "{}", told(&refused));
    }
    let text = "{\n  \"sku\": \"A1\"\n}\n";
    let path = file(&dir, text.as_bytes());
    let path = path.to_str().expect("UTF-8");
    assert!(resyncd(&agent, &record_file(path, &[])).status.success());
    assert_eq!(agent.cell("SELECT payload || payload_kind FROM sync_failures"), format!("{text}json"));
    file(&dir, b"{\"sku\":\"A2\",}");
    let edit = ["edit", "1", "--payload-file", path, "--reason", "x", "--yes"];
    assert_eq!(resyncd(&agent, &edit).status.code(), Some(2));
    file(&dir, b"plain text");
    let other = resyncd(&agent, &edit);
    assert!(other.status.code() == Some(2) && told(&other).contains("--payload-type"), "{}", told(&other));
    file(&dir, b"{\"sku\":\"A2\"}");
    let done = resyncd(&agent, &edit);
    assert!(done.status.success(), "{}", told(&done));
    assert!(
        told(&done).contains("-   \"sku\": \"A1\"") && told(&done).contains("+   \"sku\": \"A2\""),
        "{}",
        told(&done)
    );
    assert_eq!(agent.cell("SELECT payload || payload_kind FROM sync_failures"), "{\"sku\":\"A2\"}json");
}

/// A payload that was serialised again is the same content; the first one is sent.
#[test]
fn the_same_json_under_a_key_is_the_same_content() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    let mut say = |payload: &str| {
        app.line(&format!(
            r#"{{"op":"record","entity_type":"Sales Invoice","entity_id":"s-1","action":"CREATE","error":"x","idempotency_key":"k","payload":{payload}}}"#
        ));
        app.reply()
    };
    id_of(&say(r#"{"total":12.50,"lines":[1,2],"note":"caf\u00e9"}"#));
    let same = r#"{"lines": [1, 2], "note": "café", "total": 1250e-2}"#;
    assert_eq!(say(same)["duplicate"], true);
    for other in
        [r#"{"total":12.51,"lines":[1,2],"note":"café"}"#, r#"{"total":12.5,"lines":[2,1],"note":"café"}"#, "null"]
    {
        assert_eq!(code(&say(other)), "conflict", "{other}");
    }
    assert_eq!(agent.cell("SELECT payload FROM sync_failures"), r#"{"total":12.50,"lines":[1,2],"note":"caf\u00e9"}"#);
}

/// Nothing but the integrator's configuration chooses where credentials go, and it is looked at.
#[test]
fn a_configuration_that_would_send_elsewhere_is_refused() {
    let upstream = |lines: &str| format!("[upstream.hq]\nurl = \"https://hq.example\"\n{lines}");
    for (wrong, said) in [
        (upstream("[[route]]\npath = \"sales\""), "begins with one slash"),
        (upstream("[[route]]\npath = \"{entity_id}\""), "begins with one slash"),
        (upstream("[[route]]\npath = \"//evil.example/\""), "begins with one slash"),
        (upstream("[[route]]\nbody = \"template\"\ntemplate = '{\"id\":\"{entity_id}\"}'"), "{entity_id:string}"),
        (upstream("[[route]]\nbody = \"template\"\ntemplate = '<id>{action}</id>'"), "{action:xml}"),
        ("[upstream.hq]\nurl = \"https://hq.example/?tenant=1\"\n".to_owned(), "query"),
        ("[upstream.hq]\nurl = \"https://hq.example/#x\"\n".to_owned(), "fragment"),
        ("[upstream.hq]\nurl = \"https://hq.example:99999/\"\n".to_owned(), "port"),
        ("[upstream.hq]\nurl = \"https://hq.example:/\"\n".to_owned(), "port"),
        ("[upstream.\"a\\u0000b\"]\nurl = \"https://hq.example/\"\n".to_owned(), "control character"),
    ] {
        let agent = Agent::prepare(&Plan::of(wrong.clone()));
        let checked = resyncd(&agent, &["config", "check"]);
        assert_eq!(checked.status.code(), Some(2), "{wrong}");
        assert!(
            told(&checked).contains(said) || out(&checked).contains(said),
            "{wrong}: {}{}",
            told(&checked),
            out(&checked)
        );
    }
}

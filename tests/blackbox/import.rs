//! `import`: failures from elsewhere, as lines.

use super::command_line::{out, resyncd, resyncd_reading, told};
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record};
use serde_json::{Value, json};
use std::process::Output;

fn import(agent: &Agent, lines: &str, more: &[&str]) -> Output {
    resyncd_reading(agent, &[&["import", "-", "--yes"], more].concat(), lines)
}

fn row(id: &str, more: &Value) -> Value {
    let mut row = json!({"id": id, "entity_type": "SALE", "entity_id": "s-1", "action": "CREATE", "error": "HTTP 500"});
    row.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    row
}

/// A USB stick carries failures from a dead terminal to another; the head office sees each under the
/// key that it may have seen before, and importing twice posts nothing twice.
#[test]
fn a_stick_carries_failures_to_another_terminal_without_a_double_posting() {
    let dead = Agent::start(&Plan::default());
    let first = id_of(&dead.call(&record("s-1", &json!({"payload": {"n": 12.50}, "idempotency_key": "app-1"}))));
    let second = id_of(&dead.call(&record("s-1", &json!({"payload": "<x/>", "action": "UPDATE"}))));
    let stick = out(&resyncd(&dead, &["export"]));
    drop(dead);

    let upstream = Upstream::start(|_| Answer::status(200));
    let other = Agent::start(&Plan::to(upstream.url()));
    let done = import(&other, &stick, &["--by", "anna", "--reason", "till 07 is dead"]);
    assert!(done.status.success(), "{}", told(&done));
    assert_eq!(out(&done), "2 imported, 0 were here already.\n");
    let arrived = upstream.wait_deliveries(2);
    let header = |n: usize, name: &str| arrived[n].header(name).map(str::to_owned);
    assert_eq!(header(0, "Idempotency-Key").as_deref(), Some("app-1"));
    assert_eq!(header(0, "Resync-Id"), Some(first.clone()));
    assert_eq!(
        header(1, "Idempotency-Key"),
        Some(second.clone()),
        "without a key its id is the key, wherever it goes out"
    );
    other.wait_gone(&first);
    other.wait_gone(&second);
    assert_eq!(out(&import(&other, &stick, &[])), "0 imported, 2 were here already.\n", "it was delivered from here");
    assert_eq!(
        other.cell("SELECT group_concat(operation || claimed_by || reason) FROM audit_log"),
        "importannatill 07 is dead,importannatill 07 is dead"
    );
}

/// Rows of the server-side table, in camelCase, keep id, counts and times; with no budget left they
/// need a person, and the SQL that integrators know is right about them.
#[test]
fn rows_of_the_server_side_table_keep_their_counts_and_times() {
    let agent = Agent::start(&Plan::to("http://127.0.0.1:9/".into()));
    let lines = [
        r#"{"id":"c1","entityType":"RETURN","entityId":"r-1","action":"CREATE","error":"HTTP 500","payload":{"n": 1},"retryCount":3,"lastRetryAt":"2026-10-01T10:00:00Z","createdAt":"2026-10-01T09:00:00Z","updatedAt":"2026-10-01T10:00:00Z"}"#,
        r#"{"id":7,"entity_type":"RETURN","entity_id":"r-2","action":"CREATE","error":"x","retry_count":1,"created_at":"2026-10-02 09:00:00"}"#,
    ];
    let done = import(&agent, &lines.join("\n"), &["--json"]);
    assert!(done.status.success(), "{}", told(&done));
    let replies: Vec<Value> = out(&done).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        (&replies[0]["result"], &replies[0]["id"], &replies[1]["id"]),
        (&json!("imported"), &json!("c1"), &json!("7"))
    );
    let critical = "SELECT group_concat(id || ' ' || created_at || ' ' || last_retry_at) FROM sync_failures WHERE retry_count >= 3";
    assert_eq!(agent.cell(critical), "c1 2026-10-01 09:00:00.000 2026-10-01 10:00:00.000");
    let shown = agent.failure("c1").expect("it is here");
    assert_eq!((&shown["status"], &shown["payload"]), (&json!("critical"), &json!("{\"n\": 1}")));
    assert_eq!(
        agent.cell("SELECT status || retry_count || coalesce(payload, '-') FROM sync_failures WHERE id = '7'"),
        "pending1-"
    );
}

/// A line that cannot be taken is refused, the others go on, then exit 1; `--dry-run` says which.
#[test]
fn a_wrong_line_is_refused_and_the_others_go_on() {
    let mut agent = Agent::start(&Plan::default());
    let lines = format!(
        "{}\n{{broken\n\n{}\n{}\n",
        row("a", &json!({})),
        row("b", &json!({"paylod": 1})),
        row("c", &json!({}))
    );
    let looked = resyncd_reading(&agent, &["import", "-", "--dry-run"], &lines);
    assert_eq!(looked.status.code(), Some(1));
    assert!(out(&looked).contains("2 lines can be imported, 2 cannot"), "{}", out(&looked));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 0);
    let unconfirmed = resyncd_reading(&agent, &["import", "-", "--force"], &lines);
    assert_eq!(unconfirmed.status.code(), Some(2), "{}", told(&unconfirmed));
    let done = import(&agent, &lines, &[]);
    assert_eq!(done.status.code(), Some(1), "{}", told(&done));
    assert!(out(&done).contains("line 4: refused: unknown field paylod; did you mean payload?"), "{}", out(&done));
    assert_eq!(agent.cell("SELECT group_concat(id) FROM sync_failures"), "a,c");
    assert!(agent.stop().success());
    let offline = import(&agent, &format!("{}\n{}\n", row("c", &json!({})), row("d", &json!({"status": "held"}))), &[]);
    assert_eq!(
        out(&offline),
        "1 imported, 1 were here already.\n1 of them needs a person: resyncd critical\n",
        "without the daemon: {}",
        told(&offline)
    );
    assert_eq!(agent.cell("SELECT group_concat(id || status) FROM sync_failures"), "apending,cpending,dheld");
}

/// The terminal that wrote an archive line refuses it when the failure did not leave then.
#[test]
fn a_void_line_of_our_own_archive_needs_force() {
    let agent = Agent::start(&Plan::default());
    let left = json!({"terminal_id": "till-07", "left_at": "2026-11-01T00:00:00Z", "outcome": "discarded"});
    let line = row("gone", &left).to_string();
    let refused = import(&agent, &line, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(out(&refused).contains("void"), "{}", out(&refused));
    assert!(import(&agent, &line, &["--force"]).status.success());
    let mut elsewhere = row("other", &left);
    elsewhere["terminal_id"] = json!("till-08");
    assert!(
        import(&agent, &elsewhere.to_string(), &[]).status.success(),
        "what another one archived is the operator's word"
    );
}

/// What was discarded by mistake comes back from the archive, once, under its own key.
#[test]
fn what_was_discarded_comes_back_from_the_archive() {
    let agent = Agent::start(&Plan::default());
    let id = id_of(&agent.call(&record("s-1", &json!({"payload": {"n": 1}, "idempotency_key": "app-1"}))));
    let gone = resyncd(&agent, &["discard", &id, "--reason", "the wrong one"]);
    assert!(gone.status.success(), "{}", told(&gone));
    assert!(agent.failure(&id).is_none());
    let months = std::fs::read_dir(agent.state_dir().join("archive")).expect("an archive");
    let archive = months.map(|month| month.expect("a month").path()).next().expect("a file");
    let lines = std::fs::read_to_string(archive).expect("it can be read");
    assert_eq!(out(&import(&agent, &lines, &[])), "1 imported, 0 were here already.\n");
    assert_eq!(agent.failure(&id).expect("it is back")["idempotency_key"], "app-1");
    let again = agent.call(&record("s-1", &json!({"payload": {"n": 1}, "idempotency_key": "app-1"})));
    assert_eq!((&again["id"], &again["duplicate"]), (&json!(id), &json!(true)), "its key is its own again");
    assert_eq!(out(&import(&agent, &lines, &[])), "0 imported, 1 were here already.\n");
}

/// The same key with other content is a conflict, with the same content it is here already.
#[test]
fn a_key_that_is_known_here_is_not_taken_twice() {
    let agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("s-1", &json!({"payload": {"n": 1}, "idempotency_key": "app-1"}))));
    let uid = rustix::process::getuid().as_raw();
    let line = |payload: &str| {
        row("x", &json!({"idempotency_key": "app-1", "source_uid": uid, "payload": payload, "payload_kind": "json"}))
            .to_string()
    };
    assert_eq!(out(&import(&agent, &line("{\"n\":1}"), &[])), "0 imported, 1 were here already.\n");
    let other = import(&agent, &line("{\"n\":2}"), &[]);
    assert_eq!(other.status.code(), Some(1));
    assert!(out(&other).contains("other content"), "{}", out(&other));
}

//! An imported failure may have lived here before. Its earlier life is never taken for its present one.

use super::command_line::{out, resyncd, resyncd_reading, told};
use crate::support::{Agent, Answer, Gate, Plan, Upstream, code, id_of, record, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::sync::Arc;

fn row(id: &str, more: &Value) -> Value {
    let mut row = json!({"id": id, "entity_type": "SALE", "entity_id": "s-1", "action": "CREATE", "error": "HTTP 500"});
    row.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    row
}

fn import(agent: &Agent, row: &Value) -> Value {
    agent.ask(&json!({"op": "import", "row": row}))
}

fn discard(agent: &Agent, id: &str) {
    assert_eq!(agent.ask(&json!({"op": "discard", "ids": [id], "reason": "x"}))["changed"], 1);
}

/// Its first write of the outcome fails on a foreign lock. The attempt of the same number of its earlier life is not taken
/// for the one whose outcome waits: it is delivered once, and its row goes.
#[test]
fn the_outcome_of_an_imported_failure_is_not_taken_for_one_of_its_earlier_life() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let upstream = Upstream::start(move |request| {
        if request.nth > 1 {
            shut.pass();
        }
        if request.nth == 1 { Answer::status(500) } else { Answer::status(200) }
    });
    let agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::to(upstream.url()) });
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now"}))));
    agent.wait_for_failure(&id, "it was tried", |failure| failure["retry_count"] == 1);
    discard(&agent, &id);
    assert_eq!(import(&agent, &row(&id, &json!({})))["result"], "imported");
    upstream.wait_deliveries(2);
    let other = Connection::open(agent.database()).expect("the database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    gate.open();
    wait_until("the lock to be met", || agent.log().contains("lock"));
    other.execute_batch("ROLLBACK").expect("the lock is given back");
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries().len(), 2);
    assert_eq!(agent.cell("SELECT count(*) FROM sync_attempts WHERE class = 'delivered'"), 1);
}

/// An attempt of an earlier life that was refused does not say that the present one, which may have arrived elsewhere, has
/// not: its key stays.
#[test]
fn what_an_upstream_refused_in_an_earlier_life_may_have_arrived_since() {
    let upstream = Upstream::start(|request| Answer::status(if request.nth == 1 { 422 } else { 503 }));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now"}))));
    agent.wait_critical(&id);
    discard(&agent, &id);
    agent.ask(&json!({"op": "pause"}));
    import(&agent, &row(&id, &json!({})));
    let edited = agent.ask(&json!({"op": "edit", "id": id, "payload": {"n": 2}, "reason": "x"}));
    assert_eq!((&edited["key_kept"], &edited["idempotency_key"]), (&json!(true), &json!(id)));
    assert_eq!(agent.failure(&id).expect("it is live")["response"], Value::Null);
}

/// It may have arrived from where it comes, also if this upstream has refused it since: that may mean "exists already".
#[test]
fn a_refusal_after_an_import_keeps_the_key() {
    let upstream = Upstream::start(|_| Answer::json(422, r#"{"message":"exists already"}"#));
    let agent = Agent::start(&Plan::to(upstream.url()));
    import(&agent, &row("x", &json!({"terminal_id": "till-08"})));
    agent.wait_critical("x");
    let edited = agent.ask(&json!({"op": "edit", "id": "x", "payload": {"n": 2}, "reason": "x"}));
    assert_eq!((&edited["key_kept"], &edited["idempotency_key"]), (&json!(true), &json!("x")), "{edited}");
}

/// The age of a key counts from the last time its failure left. The key of a delivered failure is known as long as
/// it is kept.
#[test]
fn a_key_that_came_back_is_forgotten_by_its_last_leaving() {
    let agent = Agent::start(&Plan::default());
    let known = json!({"idempotency_key": "app-1", "payload": {"n": 1}});
    let id = id_of(&agent.call(&record("s-1", &known)));
    discard(&agent, &id);
    agent.ask(&json!({"op": "cleanup"}));
    assert_eq!(agent.cell("SELECT left_by IS NULL FROM idempotency_keys"), 0, "its first leaving has an age");
    let uid = rustix::process::getuid().as_raw();
    let line = row(&id, &json!({"idempotency_key": "app-1", "source_uid": uid, "payload": {"n": 1}}));
    assert_eq!(import(&agent, &line)["result"], "imported");
    assert_eq!(agent.cell("SELECT coalesce(left_by, outcome, left_at) FROM idempotency_keys"), Value::Null);
}

/// The history of a delivery may be forgotten while its key is still known; then the number is not, and it is here all the
/// same.
#[test]
fn a_delivered_key_is_known_without_its_attempts() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let known = json!({"idempotency_key": "app-1", "payload": {"n": 1}, "retry": "now"});
    let id = id_of(&agent.call(&record("s-1", &known)));
    agent.wait_gone(&id);
    assert!(agent.stop().success());
    Connection::open(agent.database())
        .expect("it")
        .execute("DELETE FROM sync_attempts", [])
        .expect("they are forgotten");
    agent.up();
    let uid = rustix::process::getuid().as_raw();
    let line = row("other", &json!({"idempotency_key": "app-1", "source_uid": uid, "payload": {"n": 1}}));
    let reply = import(&agent, &line);
    assert_eq!((&reply["result"], &reply["seq"]), (&json!("present"), &Value::Null));
    assert_eq!(upstream.deliveries().len(), 1);
}

/// A repeated key of a failure that left untried is answered with its number.
#[test]
fn the_key_of_a_discarded_failure_that_was_never_tried_tells_its_number() {
    let agent = Agent::start(&Plan::default());
    let again = record("s-1", &json!({"idempotency_key": "app-1"}));
    let id = id_of(&agent.call(&again));
    discard(&agent, &id);
    let reply = agent.call(&again);
    assert_eq!((&reply["seq"], &reply["status"], &reply["duplicate"]), (&json!(1), &json!("discarded"), &json!(true)));
}

/// A row that was delivered, resolved or given up where it comes from is not sent.
#[test]
fn rows_that_are_finished_stay_out() {
    let agent = Agent::start(&Plan::default());
    let statuses = ["delivered", "resolved", "DONE", "SUCCESS", "discarded", "pending", "Held", "CRITICAL", ""];
    let lines: Vec<String> =
        statuses.iter().map(|status| row(&format!("id-{status}"), &json!({"status": status})).to_string()).collect();
    let done = resyncd_reading(&agent, &["import", "-"], &lines.join("\n"));
    assert!(done.status.success(), "{}", told(&done));
    let said = out(&done);
    assert!(said.starts_with("4 imported, 0 were here already.\n5 already finished"), "{said}");
    assert!(said.contains("1 delivered") && said.contains("1 DONE"), "{said}");
    assert_eq!(
        agent.cell("SELECT group_concat(id || ' ' || status) FROM sync_failures"),
        "id-pending pending,id-Held held,id-CRITICAL critical,id- pending"
    );
    let reply = import(&agent, &row("x", &json!({"status": "delivered"})));
    assert_eq!(
        (&reply["result"], &reply["seq"], &reply["was"]),
        (&json!("finished"), &Value::Null, &json!("delivered"))
    );
}

/// An id must be a string or an integer.
#[test]
fn ids_are_texts_or_integers() {
    let agent = Agent::start(&Plan::default());
    for id in ["{\"a\":1}", "\"\\ud800\"", "1.5", "[1]", "true", "\"#7\""] {
        let mut admin = agent.admin();
        let line = row("?", &json!({})).to_string().replace("\"?\"", id);
        admin.line(&format!("{{\"op\":\"import\",\"row\":{line}}}"));
        assert_eq!(code(&admin.reply()), "bad_request", "{id}");
    }
    assert_eq!(import(&agent, &row("x", &json!({"id": 42, "entity_id": 43})))["id"], "42");
}

/// Old rows that need a person are what a person imports them for: they do not go with the next clean-up, unless that is
/// asked for. What went undelivered is named wherever it is said that everything is sent.
#[test]
fn old_imported_failures_stay_and_what_was_removed_is_named() {
    let agent = Agent::start(&Plan::default());
    let old =
        |id: &str, status: &str| row(id, &json!({"status": status, "created_at": "2020-01-01T00:00:00Z"})).to_string();
    let lines = [old("a", "critical"), old("b", "held"), old("c", "pending")].join("\n");
    let done = resyncd_reading(&agent, &["import", "-"], &lines);
    let said = out(&done);
    assert!(said.contains("2 of them need a person") && said.contains("2 are older than [retention] keeps"), "{said}");
    assert_eq!(agent.ask(&json!({"op": "cleanup"}))["changed"], 0);
    let kept = resyncd_reading(&agent, &["import", "-", "--keep-age"], &old("d", "held").replace("s-1", "s-2"));
    assert!(out(&kept).contains("next clean-up"), "{}", out(&kept));
    assert_eq!(agent.ask(&json!({"op": "cleanup"}))["changed"], 1);
    for id in ["c", "b", "a"] {
        discard(&agent, id);
    }
    let said = "4 archived undelivered on 20";
    for command in [&["status"][..], &[], &["check"], &["check", "--closing"], &["list"]] {
        let output = out(&resyncd(&agent, command));
        assert!(output.contains(said) && output.contains("resyncd history --removed"), "{command:?}: {output}");
    }
    let removed = out(&resyncd(&agent, &["history", "--removed", "--json"]));
    assert_eq!(removed.lines().count(), 4, "{removed}");
    // A failure that came back is no longer listed as removed.
    import(&agent, &row("a", &json!({})));
    assert_eq!(agent.ask(&json!({"op": "health"}))["removed"]["count"], 3);
}

/// A table gives updated rows last; the order of delivery is the order of recording.
#[test]
fn rows_are_numbered_by_their_times_whatever_their_format() {
    let agent = Agent::start(&Plan::default());
    let rows = [("u", "UPDATE", "2026-11-02 00:00:00+01"), ("c", "CREATE", "2026-11-01 00:00:00+01")]
        .map(|(id, action, at)| row(id, &json!({"action": action, "created_at": at, "error": "say \"x\""})));
    let copied = rows.iter().map(|row| row.to_string().replace('\\', "\\\\") + "\n").collect::<String>();
    let done = resyncd_reading(&agent, &["import", "-"], &copied);
    assert!(done.status.success(), "{}", told(&done));
    let shown =
        "SELECT group_concat(id || ' ' || head || ' ' || error) FROM (SELECT * FROM sync_failures ORDER BY seq)";
    assert_eq!(agent.cell(shown), "c 1 say \"x\",u 0 say \"x\"");
    let array =
        serde_json::to_string_pretty(&json!(rows)).expect("JSON").replace("\"u\"", "\"u2\"").replace("\"c\"", "\"c2\"");
    let done = resyncd_reading(&agent, &["import", "-"], &array.replace("+01", ""));
    assert!(done.status.success() && told(&done).contains("read as UTC"), "{}", told(&done));
    assert_eq!(agent.cell("SELECT group_concat(id) FROM (SELECT * FROM sync_failures ORDER BY seq)"), "c,u,c2,u2");
    let dump = resyncd_reading(&agent, &["import", "-"], "-- PostgreSQL database dump\nSET x = 1;\n");
    assert_eq!(dump.status.code(), Some(1));
    assert!(told(&dump).contains("SQL") && told(&dump).contains("row_to_json"), "{}", told(&dump));
    let nonsense = resyncd_reading(&agent, &["import", "-"], &"nonsense\n".repeat(50));
    assert_eq!(out(&nonsense).lines().filter(|line| line.starts_with("line ")).count(), 10, "{}", out(&nonsense));
}

/// Numbers are given in the order of arrival; what was imported may be older. The oldest is the earliest recorded, and
/// what needs a person is listed by its age.
#[test]
fn the_oldest_is_the_earliest_recorded_whatever_its_number() {
    let agent = Agent::start(&Plan::default());
    let aged = |id: &str, days: u64, more: &Value| {
        let age = std::time::Duration::from_secs(days * 24 * 3600);
        let mut row = row(id, more);
        row["created_at"] = json!(resyncd::io::clock::wall().before(age).rfc3339());
        assert_eq!(import(&agent, &row)["result"], "imported");
    };
    id_of(&agent.call(&record("s-2", &json!({}))));
    aged("pending", 100, &json!({"retry_count": 1}));
    for (id, days) in [("b", 3), ("d", 1), ("a", 4), ("c", 2)] {
        aged(id, days, &json!({"entity_id": id, "retry_count": 3, "status": "critical"}));
        aged(&format!("held-{id}"), days, &json!({"entity_id": format!("h-{id}"), "status": "held"}));
    }
    let pending = agent.failure("pending").expect("it is live");
    for question in ["health", "unsent"] {
        assert_eq!(agent.ask(&json!({"op": question}))["oldest_created_at"], pending["created_at"], "{question}");
    }
    let metrics = agent.ask(&json!({"op": "metrics"}))["text"].to_string();
    let age = metrics.split("\\nresyncd_oldest_age_seconds ").nth(1).and_then(|rest| rest.split("\\n").next());
    let age: f64 = age.and_then(|age| age.parse().ok()).unwrap_or_else(|| panic!("{metrics}"));
    assert!((99.0..101.0).contains(&(age / 86_400.0)), "{age}");
    let listed = |status: &str, order: &str, limit: usize| {
        let (mut ids, mut after) = (Vec::new(), Value::Null);
        loop {
            let request = json!({"op": "list", "status": status, "order": order, "limit": limit, "after": after});
            let page = agent.ask(&request);
            let failures = page["failures"].as_array().unwrap_or_else(|| panic!("{page}"));
            ids.extend(failures.iter().map(|failure| failure["id"].as_str().expect("an id").to_owned()));
            after = page["next"].clone();
            if after.is_null() {
                return ids;
            }
        }
    };
    for limit in [1, 2, 4] {
        assert_eq!(listed("critical", "asc", limit), ["a", "b", "c", "d"]);
        assert_eq!(listed("critical", "desc", limit), ["d", "c", "b", "a"]);
        assert_eq!(listed("held", "asc", limit), ["held-a", "held-b", "held-c", "held-d"]);
    }
    let number = agent.failure("a").expect("it is live")["seq"].to_string();
    let status = out(&resyncd(&agent, &["status"]));
    assert!(status.contains(&format!("Next: resyncd show {number} ")) && status.contains("oldest 100 d"), "{status}");
}

/// Its retries were used on the server, so `show` does not say that it was never attempted.
#[test]
fn an_imported_failure_with_retries_is_not_said_to_be_new() {
    let agent = Agent::start(&Plan::default());
    import(&agent, &row("old", &json!({"retry_count": 6, "status": "critical"})));
    import(&agent, &row("new", &json!({"entity_id": "s-2"})));
    let shown = out(&resyncd(&agent, &["show", "old"]));
    assert!(shown.contains("Its retries were used before it was imported."), "{shown}");
    let shown = out(&resyncd(&agent, &["show", "new"]));
    assert!(shown.contains("It has not been attempted yet."), "{shown}");
}

//! A database that changed while no agent was running: rows written by hand are adopted, and one that was
//! removed, emptied or exchanged is no first start.

use crate::damage::{fill, quarantines};
use crate::support::{Agent, Answer, Gate, Plan, Upstream, id_of, lines, record, record_now, wait_for, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;

fn alerts(agent: &Agent) -> Vec<Value> {
    let reply = agent.ask(&json!({"op": "alerts"}));
    reply["alerts"].as_array().unwrap_or_else(|| panic!("{reply}")).clone()
}

/// The alert of this kind, once there is one.
fn wait_alert(agent: &Agent, kind: &str) -> Value {
    wait_for(&format!("the alert {kind}"), || alerts(agent).into_iter().find(|alert| alert["kind"] == kind))
}

fn seq_of(reply: &Value) -> i64 {
    reply["seq"].as_i64().unwrap_or_else(|| panic!("a number, not {reply}"))
}

/// As a person would write it: the next number in the column, the rowid left to SQLite.
const BY_HAND: &str = "INSERT INTO sync_failures (id, entity_type, entity_id, action, error, payload, payload_kind, seq, \
                       created_at, updated_at, recorded_at, terminal_id, head, uncounted) \
                       VALUES ('by-hand', 'SALE', 's-1', 'CREATE', 'x', '{}', 'json', \
                       (SELECT coalesce(max(seq), 0) + 1 FROM sync_failures), '2026-11-24 06:12:34.123', \
                       '2026-11-24 06:12:34.123', 0, 'till', 1, 1)";

fn change(agent: &Agent, sql: &str) {
    let file = Connection::open(agent.database()).expect("the file opens");
    file.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[test]
fn a_row_written_by_hand_while_the_agent_is_stopped_is_adopted() {
    for killed in [false, true] {
        let mut upstream = Upstream::willing();
        upstream.down();
        let mut agent = Agent::start(&Plan::impatient(upstream.url()));
        let first = id_of(&agent.call(&record_now("s-1")));
        if killed {
            agent.kill9();
        } else {
            assert!(agent.stop().success());
        }
        change(&agent, BY_HAND);
        agent.up();
        assert!(seq_of(&agent.call(&record_now("s-2"))) > 2, "recording goes on");
        wait_alert(&agent, "database_foreign_write");
        wait_until("the row being no head", || agent.cell("SELECT head FROM sync_failures WHERE id = 'by-hand'") == 0);
        assert_eq!(agent.cell("SELECT live FROM agent"), 3, "killed: {killed}");
        upstream.up();
        agent.wait_gone("by-hand");
        let order: Vec<String> = upstream.deliveries_of("s-1").iter().map(|sent| sent.id().to_owned()).collect();
        assert_eq!(order, [first, "by-hand".to_owned()]);
    }
}

/// Its number was given before, to a failure that has been delivered: only the count tells.
#[test]
fn a_row_under_a_number_of_before_is_adopted() {
    for killed in [false, true] {
        let upstream = Upstream::willing();
        let mut agent = Agent::start(&Plan::impatient(upstream.url()));
        for n in 0..3 {
            agent.wait_gone(&id_of(&agent.call(&record_now(&format!("s-{n}")))));
        }
        if killed {
            agent.kill9();
        } else {
            assert!(agent.stop().success());
        }
        change(&agent, BY_HAND);
        agent.up();
        wait_alert(&agent, "database_foreign_write");
        assert_eq!(seq_of(&agent.call(&record_now("s-9"))), 4);
        agent.wait_gone("by-hand");
        wait_until("the count being right", || agent.cell("SELECT live FROM agent") == 0);
    }
}

/// The file was not written: nothing is reported.
#[test]
fn an_untouched_file_raises_no_alarm() {
    let mut agent = Agent::start(&Plan::default());
    fill(&agent, 10);
    for killed in [false, true, false] {
        if killed {
            agent.kill9();
        } else {
            assert!(agent.stop().success());
        }
        let rows: i64 = Connection::open(agent.database())
            .and_then(|file| file.query_row("SELECT COUNT(*) FROM sync_failures", [], |row| row.get(0)))
            .expect("a count");
        assert_eq!(rows, 10);
        agent.up();
        wait_until("the look for damage being over", || agent.log().contains("event=checked"));
        assert_eq!(alerts(&agent), Vec::<Value>::new());
    }
}

/// Makes the database vanish: removed, emptied, or exchanged for another program's.
fn vanish(agent: &Agent, how: &str) {
    for part in ["-wal", "-shm"] {
        let _ = fs::remove_file(agent.state_dir().join(format!("sync_failures.db{part}")));
    }
    match how {
        "removed" => fs::remove_file(agent.database()).expect("it is removed"),
        "emptied" => fs::write(agent.database(), "").expect("it is emptied"),
        _ => {
            fs::remove_file(agent.database()).expect("it is removed");
            change(agent, "CREATE TABLE notes (text TEXT)");
        }
    }
}

#[test]
fn a_database_that_has_vanished_is_no_first_start() {
    for (killed, how) in
        [(false, "removed"), (false, "emptied"), (true, "emptied"), (true, "removed"), (false, "foreign")]
    {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 40);
        if killed {
            // What is known is at most a second old.
            wait_until("the count being kept", || {
                fs::read_to_string(agent.state_dir().join("instance")).is_ok_and(|text| text.contains("live=40\n"))
            });
            agent.kill9();
        } else {
            assert!(agent.stop().success());
        }
        vanish(&agent, how);
        // A kill right after the start does not suppress the alert.
        agent.up();
        agent.restart_after_kill();
        let alert = wait_alert(&agent, "database_replaced");
        let message = alert["message"].as_str().expect("a text");
        let health = agent.call(&json!({"op": "health"}));
        assert_eq!(health["state"], "critical", "{how}: {health}");
        assert_eq!(health["lost"], 40, "{how}: {health}");
        assert!(message.contains("40 failures were waiting"), "{how}: {message}");
        let seq = seq_of(&agent.call(&record("s-1", &json!({}))));
        assert!(if killed { seq > 40 } else { seq == 41 }, "{how}: number {seq}");
        assert!(quarantines(&agent).is_empty());
        // From now on this is the database.
        assert!(agent.stop().success());
        agent.up();
        assert_eq!(seq_of(&agent.call(&record("s-1", &json!({})))), seq + 1);
        assert_eq!(agent.log().matches("event=alert kind=database_replaced").count(), 1, "{how}");
    }
}

#[test]
fn an_older_copy_of_the_database_is_told_of_and_its_numbers_are_not_given_again() {
    let mut agent = Agent::start(&Plan::default());
    fill(&agent, 10);
    assert!(agent.stop().success());
    let copy = fs::read(agent.database()).expect("a copy");
    agent.up();
    let mut app = agent.app();
    app.send(lines((0..20).map(|n| record(&format!("later-{n}"), &json!({})))));
    (0..20).for_each(|_| drop(id_of(&app.reply())));
    assert!(agent.stop().success());
    fs::write(agent.database(), copy).expect("it is put back");
    agent.up();
    let alert = wait_alert(&agent, "database_replaced");
    let message = alert["message"].as_str().expect("a text");
    assert!(message.contains("older copy") && message.contains("30 failures") && message.contains("10 are"), "{alert}");
    assert_eq!(agent.call(&json!({"op": "health"}))["lost"], 20);
    assert_eq!(seq_of(&agent.call(&record("s-1", &json!({})))), 31);
}

/// A header without a value is no key, by which the upstream could recognise the failure.
#[test]
fn an_emptied_key_is_never_sent() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    let [keyed, keyless] = [json!({"idempotency_key": "app-1"}), json!({})].map(|key| {
        let entity = if key["idempotency_key"].is_null() { "s-1" } else { "s-2" };
        id_of(&agent.call(&record(entity, &key)))
    });
    assert!(agent.stop().success());
    change(&agent, "UPDATE sync_failures SET idempotency_key = ''");
    agent.up();
    for id in [&keyed, &keyless] {
        assert_eq!(agent.wait_critical(id)["error_class"], "damaged");
    }
    agent.ask(&json!({"op": "resume"}));
    assert_eq!(agent.ask(&json!({"op": "retry", "ids": [keyed, keyless]}))["changed"], 2);
    [&keyed, &keyless].iter().for_each(|id| agent.wait_gone(id));
    let mut keys: Vec<String> = upstream.deliveries().iter().map(|sent| sent.key().to_owned()).collect();
    keys.sort();
    assert_eq!(keys, [keyless, "app-1".to_owned()]);
}

/// Two keys are exchanged, one is removed, an id is changed, a failure is copied: nothing is sent under a key that it was
/// not recorded with. The table of keys says what they were.
#[test]
fn keys_and_ids_that_another_program_wrote_are_never_sent() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    let ids: Vec<String> = ["app-0", "app-1", "app-2"]
        .iter()
        .map(|key| id_of(&agent.call(&record(key, &json!({"idempotency_key": key})))))
        .collect();
    let plain = id_of(&agent.call(&record("plain", &json!({}))));
    assert!(agent.stop().success());
    change(
        &agent,
        "UPDATE sync_failures SET idempotency_key = CASE entity_id WHEN 'app-0' THEN 'app-1' WHEN 'app-1' THEN 'app-0' END;
         CREATE TEMP TABLE copied AS SELECT * FROM sync_failures WHERE entity_id = 'plain';
         UPDATE copied SET id = 'a-copy', seq = 90;
         INSERT INTO sync_failures SELECT * FROM copied;
         UPDATE sync_failures SET id = 'another' WHERE id NOT IN ('a-copy') AND entity_id = 'plain';",
    );
    agent.up();
    agent.ask(&json!({"op": "resume"}));
    for id in ids.iter().map(String::as_str).chain(["another"]) {
        assert_eq!(agent.wait_critical(id)["error_class"], "damaged", "{id}");
    }
    assert!(upstream.deliveries().is_empty(), "{:?} {plain}", upstream.deliveries());
    // The copy follows what it was made from.
    agent.ask(&json!({"op": "discard", "ids": ["another"], "reason": "made by hand"}));
    agent.ask(&json!({"op": "retry", "ids": ["a-copy"]}));
    assert_eq!(agent.wait_critical("a-copy")["error_class"], "damaged");
    agent.ask(&json!({"op": "retry", "ids": ids}));
    ids.iter().for_each(|id| agent.wait_gone(id));
    let mut sent: Vec<(String, String)> =
        upstream.deliveries().iter().map(|sent| (sent.id().to_owned(), sent.key().to_owned())).collect();
    sent.sort();
    let mut recorded: Vec<(String, String)> =
        ids.iter().zip(["app-0", "app-1", "app-2"]).map(|(id, key)| (id.clone(), key.to_owned())).collect();
    recorded.sort();
    assert_eq!(sent, recorded);
}

/// A head that is none would be sent before its time, and one that is not marked would never be sent.
#[test]
fn marks_of_heads_that_another_program_wrote_are_put_right() {
    for (killed, mark) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let mut upstream = Upstream::willing();
        upstream.down();
        let mut agent = Agent::start(&Plan::impatient(upstream.url()));
        let ids: Vec<String> = (0..4).map(|_| id_of(&agent.call(&record_now("s-1")))).collect();
        if killed {
            agent.kill9();
        } else {
            assert!(agent.stop().success());
        }
        change(&agent, &format!("UPDATE sync_failures SET head = {mark}"));
        upstream.up();
        agent.up();
        ids.iter().for_each(|id| agent.wait_gone(id));
        let mut order: Vec<String> = upstream.deliveries_of("s-1").iter().map(|sent| sent.id().to_owned()).collect();
        order.dedup();
        assert_eq!(order, ids, "killed: {killed}, mark: {mark}");
        wait_alert(&agent, "database_foreign_write");
    }
}

/// Its rows are lost, and nothing else: what needs it works again without a restart.
#[test]
fn a_table_that_is_dropped_under_a_running_agent_is_made_again() {
    for table in ["idempotency_keys", "sync_attempts", "audit_log", "upstreams", "alerts", "series", "history_marks"] {
        let mut upstream = Upstream::willing();
        upstream.down();
        let agent = Agent::start(&Plan::impatient(upstream.url()));
        let first = id_of(&agent.call(&record("s-1", &json!({"idempotency_key": "app-1", "retry": "now"}))));
        change(&agent, &format!("DROP TABLE {table}"));
        wait_until("the salvage being over", || agent.log().contains("event=salvaged"));
        assert_eq!(agent.cell(&format!("SELECT count(*) FROM sqlite_schema WHERE name = '{table}'")), 1);
        upstream.up();
        agent.wait_gone(&first);
        let next = id_of(&agent.call(&record("s-2", &json!({"idempotency_key": "app-2", "retry": "now"}))));
        agent.wait_gone(&next);
        assert_eq!(upstream.deliveries_of("s-1").last().map(|sent| sent.key().to_owned()), Some("app-1".to_owned()));
    }
}

/// A trigger of another program can drop a row that is then acknowledged, or keep one that was delivered, and an index
/// can refuse it. They are removed, before a round and at a start.
#[test]
fn triggers_and_indexes_of_other_programs_are_removed() {
    const OBJECTS: [&str; 8] = [
        "CREATE TRIGGER other BEFORE INSERT ON sync_failures BEGIN SELECT raise(IGNORE); END",
        "CREATE TRIGGER other AFTER INSERT ON sync_failures BEGIN DELETE FROM sync_failures WHERE id = new.id; END",
        "CREATE TRIGGER other BEFORE DELETE ON sync_failures BEGIN SELECT raise(IGNORE); END",
        "CREATE TRIGGER other BEFORE INSERT ON sync_attempts BEGIN SELECT raise(ABORT, 'no'); END",
        "CREATE UNIQUE INDEX other ON sync_attempts (upstream)",
        "CREATE TRIGGER other BEFORE DELETE ON SYNC_FAILURES BEGIN SELECT raise(IGNORE); END",
        "CREATE TABLE notes (failure TEXT REFERENCES sync_failures (id), seq REFERENCES sync_failures (seq))",
        "CREATE INDEX other ON sync_failures (length(entity_id) + abs(error))",
    ];
    for (n, object) in OBJECTS.iter().enumerate() {
        let upstream = Upstream::willing();
        let mut agent = Agent::start(&Plan::impatient(upstream.url()));
        agent.wait_gone(&id_of(&agent.call(&record_now("s-0"))));
        if n % 2 == 0 {
            change(&agent, object);
        } else {
            assert!(agent.stop().success());
            change(&agent, object);
            agent.up();
        }
        let ids: Vec<String> = (1..4).map(|n| id_of(&agent.call(&record_now(&format!("s-{n}"))))).collect();
        ids.iter().for_each(|id| agent.wait_gone(id));
        assert_eq!(upstream.deliveries().len(), 4, "{object}: once each");
        assert_eq!(agent.cell("SELECT count(*) FROM sync_failures"), 0, "{object}");
        assert_eq!(agent.cell("SELECT count(*) FROM sqlite_schema WHERE name = 'other'"), 0, "{object}");
        wait_alert(&agent, "database_foreign_write");
    }
    // One that only makes reading faster stays.
    let agent = Agent::start(&Plan::default());
    change(&agent, "CREATE INDEX mine ON sync_attempts (http_status)");
    id_of(&agent.call(&record("s-1", &json!({}))));
    wait_alert(&agent, "database_foreign_write");
    assert_eq!(agent.cell("SELECT count(*) FROM sqlite_schema WHERE name = 'mine'"), 1);
}

/// Whichever rows another program has moved: each gets its number back before anything is sent.
#[test]
fn moved_rows_get_their_numbers_back_before_they_are_sent() {
    for stopped in [false, true] {
        let mut upstream = Upstream::willing();
        upstream.down();
        let mut agent = Agent::start(&Plan::impatient(upstream.url()));
        let ids: Vec<String> =
            (0..16).map(|n| id_of(&agent.call(&record_now(if n % 4 == 1 { "s-1" } else { "s-2" })))).collect();
        if stopped {
            assert!(agent.stop().success());
        }
        change(
            &agent,
            "UPDATE sync_failures SET rowid = 102 WHERE seq = 2; UPDATE sync_failures SET rowid = 2 WHERE seq = 14;
             UPDATE sync_failures SET rowid = 14 WHERE seq = 2;",
        );
        if stopped {
            agent.up();
        }
        upstream.up();
        ids.iter().for_each(|id| agent.wait_gone(id));
        let mut order: Vec<String> = upstream.deliveries_of("s-1").iter().map(|sent| sent.id().to_owned()).collect();
        order.dedup();
        assert_eq!(order, [1, 5, 9, 13].map(|n| ids[n].clone()), "stopped: {stopped}");
    }
}

/// The largest number that SQLite has leaves none for the next failure.
#[test]
fn a_row_with_the_largest_number_stops_nothing() {
    for stopped in [false, true] {
        let mut agent = Agent::start(&Plan::default());
        let first = id_of(&agent.call(&record("s-1", &json!({}))));
        if stopped {
            assert!(agent.stop().success());
        }
        change(&agent, &format!("UPDATE sync_failures SET rowid = {0}, seq = {0}", i64::MAX));
        if stopped {
            agent.up();
        }
        let next = agent.call(&record("s-2", &json!({})));
        assert!(seq_of(&next) < 1 << 53, "{next}");
        let found = agent.ask(&json!({"op": "get", "id": first}));
        assert!(found["failure"]["seq"].as_i64() < next["seq"].as_i64(), "{found}");
    }
}

/// The order that the row says now counts, also for what followed the failure while it was sent.
#[test]
fn followers_of_a_failure_whose_order_changed_in_flight_are_sent() {
    let gate = Arc::new(Gate::default());
    let upstream = Upstream::start({
        let gate = Arc::clone(&gate);
        move |_| {
            gate.pass();
            Answer::status(201)
        }
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let ids: Vec<String> = (0..3).map(|_| id_of(&agent.call(&record_now("s-1")))).collect();
    agent.wait_for_failure(&ids[0], "the failure being in flight", |failure| failure["state"] == "in_flight");
    change(&agent, &format!("UPDATE sync_failures SET order_key = 'moved' WHERE id = '{}'", ids[0]));
    wait_alert(&agent, "database_foreign_write");
    gate.open();
    ids.iter().for_each(|id| agent.wait_gone(id));
}

/// What another program deletes is not sent, and is said to be gone.
#[test]
fn rows_that_another_program_deletes_are_counted() {
    for stopped in [false, true] {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 5);
        if stopped {
            assert!(agent.stop().success());
        }
        change(&agent, "DELETE FROM sync_failures WHERE seq > 2");
        if stopped {
            agent.up();
        }
        let alert = wait_alert(&agent, "database_foreign_write");
        assert!(alert["message"].as_str().is_some_and(|text| text.contains("3 failures are gone")), "{alert}");
        assert_eq!(agent.call(&json!({"op": "health"}))["lost"], 3, "stopped: {stopped}");
    }
}

/// The index of the log is mapped into memory: when it is cut off, the kernel ends the process. A restart makes it again.
#[test]
fn an_index_of_the_log_that_is_cut_off_costs_a_restart_and_no_failure() {
    let mut agent = Agent::start(&Plan::default());
    fill(&agent, 10);
    fs::write(agent.state_dir().join("sync_failures.db-shm"), "").expect("it is cut off");
    let mut app = agent.app();
    app.line(&record("s-1", &json!({})).to_string());
    agent.kill9();
    agent.up();
    assert!(agent.cell("SELECT count(*) FROM sync_failures").as_i64() >= Some(10));
    id_of(&agent.call(&record("s-2", &json!({}))));
}

/// Without an upstream nothing depends on the marks of heads: they are noticed once, and again when there is one.
#[test]
fn wrong_marks_without_an_upstream_keep_nobody_busy() {
    let agent = Agent::start(&Plan::default());
    let ids: Vec<String> = (0..3).map(|_| id_of(&agent.call(&record("s-1", &json!({}))))).collect();
    change(&agent, "UPDATE sync_failures SET head = 1 - head");
    wait_alert(&agent, "database_foreign_write");
    ids.iter().for_each(|id| assert!(agent.failure(id).is_some()));
    for n in 0..20 {
        id_of(&agent.call(&record(&format!("t-{n}"), &json!({}))));
    }
    let told = agent.log().matches("event=foreign_write").count();
    assert_eq!(told, 1, "{}", agent.log());
}

//! A salvage that takes a while: failures are recorded beside it, under numbers behind all others, and delivered
//! when the order is known. Nothing that is said meanwhile is about a table that is not whole.

use crate::damage::{overwrite, quarantines, wait_salvaged};
use crate::support::{Agent, Plan, Upstream, code, id_of, record, record_now, stays, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const MANY: i64 = 5000;

/// Limits under which records are taken and a salvage waits for room: what is free now is less than twice what a
/// salvage leaves free.
fn little_room(agent: &Agent) -> &'static str {
    let disk = rustix::fs::statvfs(agent.state_dir()).expect("a file system");
    let free = disk.f_bavail * disk.f_frsize;
    Box::leak(format!("min_free_disk = \"{}MiB\"", (free >> 20) / 10 * 7).into_boxed_str())
}

/// A stopped agent with as many failures, of a hundred entities.
fn many(plan: &Plan) -> Agent {
    let mut agent = Agent::start(plan);
    id_of(
        &agent.call(&record(
            "s-0",
            &json!({"payload": "x".repeat(100), "idempotency_key": "k-1", "error": "HTTP 500: x"}),
        )),
    );
    assert!(agent.stop().success());
    let database = Connection::open(agent.database()).expect("the file");
    let more = "INSERT INTO sync_failures (id, entity_type, entity_id, action, error, payload, payload_kind, retry_count, \
                created_at, updated_at, seq, due_at, recorded_at, upstream, idempotency_key, source_uid, terminal_id, head, uncounted) \
                WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1) \
                SELECT id || value, entity_type, 's-' || (value % 100), action, error, payload, payload_kind, retry_count, \
                created_at, updated_at, seq + value, due_at, recorded_at, upstream, 'k-' || (value + 1), source_uid, terminal_id, \
                value < 100, uncounted FROM sync_failures, n";
    database.execute(more, [MANY - 1]).expect("many rows");
    database.execute("UPDATE agent SET live = ?1, next_seq = ?1 + 1", [MANY]).expect("the agent's row");
    drop(database);
    // A run of its own, so that the state directory knows of them.
    agent.up();
    assert!(agent.stop().success());
    agent
}

fn is_salvaged(agent: &Agent) -> bool {
    quarantines(agent).iter().any(|place: &PathBuf| place.join("salvaged").exists())
}

#[test]
fn failures_are_recorded_before_the_others_are_back() {
    let mut upstream = Upstream::willing();
    upstream.down();
    let mut agent = many(&Plan::impatient(upstream.url()));
    overwrite(&agent, 1);
    agent.configure(&Plan { limits: little_room(&agent), ..Plan::impatient(upstream.url()) });
    agent.up();
    let again = record("s-0", &json!({"payload": "x".repeat(100), "idempotency_key": "k-1", "error": "HTTP 500: x"}));
    let repeated = agent.call(&again);
    let new = agent.call(&record_now("s-5"));
    assert!(!is_salvaged(&agent), "it waits for room");
    assert!(new["seq"].as_i64() > Some(MANY), "{new}");
    let health = agent.call(&json!({"op": "health"}));
    assert_eq!(health["state"], "critical", "{health}");
    assert!(health["reasons"].to_string().contains("is being brought back"), "{health}");
    for question in [json!({"op": "unsent"}), json!({"op": "get", "id": "nobody"})] {
        assert_eq!(code(&agent.call(&question)), "storage", "{question}");
    }
    assert_eq!(code(&agent.ask(&json!({"op": "hold", "all": true}))), "storage");

    // After a kill it begins again, and what was recorded meanwhile is there.
    agent.kill9();
    agent.configure(&Plan::impatient(upstream.url()));
    agent.up();
    let newer = agent.call(&record_now("s-6"));
    assert!(newer["seq"].as_i64() > new["seq"].as_i64(), "{newer}");
    assert_eq!(wait_salvaged(&agent, 1), format!("salvaged={MANY} lost=0\n"));
    wait_until("all being whole", || agent.call(&json!({"op": "unsent"}))["unsent"] == MANY + 2);
    assert_eq!(agent.cell("SELECT live FROM agent"), MANY + 2);
    assert_eq!(agent.cell("PRAGMA integrity_check"), "ok");
    let first = agent.call(&again);
    assert_eq!((&first["duplicate"], &first["seq"]), (&json!(true), &json!(1)), "not {repeated}");
    let heads = "SELECT COUNT(*) FROM sync_failures WHERE head <> (seq IN (SELECT min(seq) FROM sync_failures GROUP BY entity_id))";
    assert_eq!(agent.cell(heads), 0);
    assert_eq!(agent.log().matches("event=foreign_write").count(), 1, "only this test has written to it");
}

/// The new ones of an entity go after the old ones of it, however soon they were recorded.
#[test]
fn nothing_is_sent_before_the_order_is_known() {
    let mut upstream = Upstream::willing();
    upstream.down();
    let mut agent = many(&Plan::impatient(upstream.url()));
    overwrite(&agent, 1);
    upstream.up();
    agent.configure(&Plan { limits: little_room(&agent), ..Plan::impatient(upstream.url()) });
    agent.up();
    let new = id_of(&agent.call(&record_now("s-5")));
    stays("nothing is sent", Duration::from_millis(700), || upstream.deliveries().is_empty());
    assert!(!is_salvaged(&agent), "it waits for room");
    agent.kill9();
    agent.configure(&Plan::impatient(upstream.url()));
    agent.up();
    wait_salvaged(&agent, 1);
    agent.wait_gone(&new);
    let of_entity = upstream.deliveries_of("s-5");
    let place = of_entity.iter().position(|sent| sent.id() == new).expect("it was sent");
    assert_eq!(place, usize::try_from(MANY / 100).expect("few"), "all others of its entity went before it");
    let keys: Vec<&str> = of_entity.iter().map(|sent| sent.key()).collect();
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len(), "each once");
}

/// Operators' decisions are salvaged as well.
#[test]
fn a_pause_holds_although_a_salvage_comes_first() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    let id = id_of(&agent.call(&record_now("s-1")));
    assert!(agent.stop().success());
    overwrite(&agent, 1);
    agent.up();
    let new = id_of(&agent.call(&record_now("s-2")));
    wait_salvaged(&agent, 1);
    agent.wait_upstream("paused");
    assert!(agent.failure(&id).is_some() && agent.failure(&new).is_some());
    assert_eq!(upstream.deliveries().len(), 0);
    let status: Value = agent.ask(&json!({"op": "resume"}));
    assert_eq!(status["ok"], true, "{status}");
    agent.wait_gone(&id);
    agent.wait_gone(&new);
}

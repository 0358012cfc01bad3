//! The SQL that integrators know gives right answers on the live file, read by another
//! program while the agent runs.

use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now};
use serde_json::{Value, json};
use std::process::Command;

/// "pending": fewer than three retries, and never retried or the wait is over; oldest first.
const PENDING: &str = "SELECT id FROM sync_failures WHERE retry_count < 3 AND (last_retry_at IS NULL OR last_retry_at <= \
     datetime('now', CASE retry_count WHEN 0 THEN '-5 minutes' WHEN 1 THEN '-15 minutes' ELSE '-30 minutes' END)) \
     ORDER BY created_at ASC, seq LIMIT 10";
/// "statistics".
const STATISTICS: &str = "SELECT entity_type, action, COUNT(*) AS total_failures, AVG(retry_count) AS avg_retries, \
     MAX(retry_count) AS max_retries FROM sync_failures WHERE created_at > datetime('now', '-24 hours') \
     GROUP BY entity_type, action ORDER BY total_failures DESC";
/// "critical".
const CRITICAL: &str =
    "SELECT id, retry_count, error FROM sync_failures WHERE retry_count >= 3 ORDER BY created_at DESC LIMIT 20";
/// "clean-up".
const CLEAN_UP: &str = "SELECT COUNT(*) FROM sync_failures WHERE (retry_count > 5 AND created_at < datetime('now', '-7 days')) \
     OR (status IN ('critical', 'held') AND created_at < datetime('now', '-30 days'))";
/// "alerts".
const LAST_HOUR: &str = "SELECT COUNT(*) FROM sync_failures WHERE created_at > datetime('now', '-1 hour')";
const REPEATED: &str = "SELECT entity_id, COUNT(*) FROM sync_failures GROUP BY entity_id HAVING COUNT(*) > 3";
const AVERAGE: &str = "SELECT AVG(retry_count) FROM sync_failures";

/// A table with all that the SQL of 01 tells apart.
struct Mixed {
    agent: Agent,
    _upstream: Upstream,
    critical: String,
    waiting: String,
    fresh: Vec<String>,
}

/// One that used its budget up, one that waits after its first retry, and 13 that were never tried
/// (four of one entity).
fn mixed() -> Mixed {
    let upstream = Upstream::start(|request| Answer::status(if request.entity() == "fine" { 200 } else { 500 }));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let critical = id_of(&app.call(&record("bad-1", &json!({"entity_type": "RETURN", "retry": "now"}))));
    for count in 1..3 {
        agent.wait_for_failure(&critical, "a counted try", |failure| failure["retry_count"] == count);
        assert_eq!(agent.ask(&json!({"op": "retry", "ids": [critical]}))["changed"], 1);
    }
    agent.wait_critical(&critical);
    // An acceptance in between: two that fail in a row would be the upstream's fault.
    let fine = id_of(&app.call(&record_now("fine")));
    agent.wait_gone(&fine);
    let waiting = id_of(&app.call(&record_now("bad-2")));
    agent.wait_for_failure(&waiting, "a counted try", |failure| failure["retry_count"] == 1);
    agent.ask(&json!({"op": "pause"}));
    let mut fresh: Vec<String> = (0..9).map(|n| id_of(&app.call(&record(&format!("s-{n}"), &json!({}))))).collect();
    for action in ["CREATE", "UPDATE", "UPDATE", "DELETE"] {
        fresh.push(id_of(&app.call(&record("often", &json!({"action": action})))));
    }
    Mixed { agent, _upstream: upstream, critical, waiting, fresh }
}

/// Every row of its table, through another SQLite in this process, read only.
#[test]
fn the_sql_that_integrators_know_gives_right_answers() {
    let Mixed { agent, critical, waiting, fresh, .. } = mixed();
    assert_eq!(json!(agent.column(PENDING)), json!(fresh[..10]), "the ten oldest that were never tried");
    let statistics = json!([
        ["SALE", "CREATE", 11, 1.0 / 11.0, 1],
        ["SALE", "UPDATE", 2, 0.0, 0],
        ["RETURN", "CREATE", 1, 3.0, 3],
        ["SALE", "DELETE", 1, 0.0, 0],
    ]);
    let mut found = agent.rows(STATISTICS);
    assert_eq!(found[0][2], 11, "most failures first");
    found.sort_by_key(|row| (std::cmp::Reverse(row[2].as_i64()), row[0].to_string()));
    assert_eq!(json!(found), statistics);
    let rows = agent.rows(CRITICAL);
    assert_eq!(json!(rows), json!([[critical, 3, "HTTP 500: {}"]]));
    assert_eq!(agent.cell(CLEAN_UP), 0, "nothing is old");
    assert_eq!(agent.cell(LAST_HOUR), 15);
    assert_eq!(json!(agent.rows(REPEATED)), json!([["often", 4]]));
    assert_eq!(agent.cell(AVERAGE), json!(4.0 / 15.0));
    let step = "SELECT (julianday(next_retry_at) - julianday(last_retry_at)) * 1440 FROM sync_failures WHERE id = ";
    let step = agent.cell(&format!("{step}'{waiting}'")).as_f64().expect("a number");
    assert!((14.99..=18.01).contains(&step), "after the first failed retry 15 min are waited, not {step}");
}

/// After a failed retry the count, the time and the message move; what was not retried has none.
#[test]
fn a_failed_retry_moves_count_time_and_message() {
    let Mixed { agent, waiting, fresh, .. } = mixed();
    let row = |id: &str| {
        let columns =
            "retry_count, error, last_retry_at IS NULL, last_retry_at > datetime('now', '-10 minutes'), status";
        json!(agent.rows(&format!("SELECT {columns} FROM sync_failures WHERE id = '{id}'"))[0])
    };
    assert_eq!(row(&waiting), json!([1, "HTTP 500: {}", 0, 1, "pending"]));
    assert_eq!(row(&fresh[0]), json!([0, "connect ETIMEDOUT", 1, null, "pending"]));
    let times = agent.column("SELECT created_at FROM sync_failures UNION SELECT updated_at FROM sync_failures");
    for time in times {
        let time = time.as_str().expect("a text").to_owned();
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00 00:00:00.000", "SQLite's own form with milliseconds: {time}");
    }
    assert_eq!(
        agent.cell("SELECT ABS(julianday('now') - julianday(created_at)) * 1440 < 5 FROM sync_failures LIMIT 1"),
        1,
        "UTC"
    );
}

/// The ten columns by their names and in their order, and those of 07 behind them.
#[test]
fn the_columns_have_their_names_for_good() {
    let agent = Agent::start(&Plan::default());
    let columns: Vec<Value> = agent.column("SELECT name FROM pragma_table_info('sync_failures') ORDER BY cid");
    let ten = json!([
        "id",
        "entity_type",
        "entity_id",
        "action",
        "error",
        "payload",
        "retry_count",
        "last_retry_at",
        "created_at",
        "updated_at"
    ]);
    assert_eq!(json!(columns[..10]), ten);
    let has = |table: &str, names: &str| {
        let found = agent.column(&format!("SELECT name FROM pragma_table_info('{table}')"));
        for name in names.split_whitespace() {
            assert!(found.contains(&json!(name)), "{table} has no {name}: {found:?}");
        }
    };
    has(
        "sync_failures",
        "seq status next_retry_at due_at recorded_at upstream order_key idempotency_key payload_kind http_status \
         error_class source_uid source_pid terminal_id store_id",
    );
    has(
        "sync_attempts",
        "id failure_id seq entity_type entity_id action attempt trigger upstream started_at duration_ms http_status \
         class error response counted provisional why",
    );
    has(
        "audit_log",
        "id at actor_uid actor_name claimed_by operation failure_id reason sha256_before sha256_after old_payload",
    );
    has("idempotency_keys", "source_uid key failure_id sha256 outcome left_at");
    for leading in [["entity_type", "entity_id"], ["retry_count", "created_at"]] {
        let sql = format!(
            "SELECT COUNT(*) FROM pragma_index_list('sync_failures') AS list WHERE \
             (SELECT name FROM pragma_index_info(list.name) WHERE seqno = 0) = '{}' AND \
             (SELECT name FROM pragma_index_info(list.name) WHERE seqno = 1) = '{}'",
            leading[0], leading[1]
        );
        assert!(agent.cell(&sql).as_i64() >= Some(1), "an index on {leading:?}");
    }
}

/// The same answers through the `sqlite3` that people type into, where it is installed.
#[test]
fn the_sqlite3_program_gives_the_same_answers() {
    if Command::new("sqlite3").arg("-version").output().is_err() {
        eprintln!("sqlite3 is not installed; nothing to compare");
        return;
    }
    let Mixed { agent, .. } = mixed();
    for sql in [PENDING, STATISTICS, CRITICAL, CLEAN_UP, LAST_HOUR, REPEATED, AVERAGE] {
        let mut command = Command::new("sqlite3");
        command.arg("-readonly").arg("-json").arg(agent.database()).arg(sql);
        let output = command.output().expect("sqlite3 starts");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| json!([]));
        let printed = printed.as_array().expect("a list of rows").clone();
        let ours = agent.rows(sql);
        assert_eq!(printed.len(), ours.len(), "{sql}");
        for (theirs, ours) in printed.iter().zip(&ours) {
            for value in ours {
                let same = |their: &Value| match (their.as_f64(), value.as_f64()) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                    _ => their == value,
                };
                assert!(theirs.as_object().expect("a row").values().any(same), "{sql}: {theirs} {ours:?}");
            }
        }
    }
}

/// Only the agent writes; a write by another program makes it rebuild its memory. Deleting a
/// head with `sqlite3` would otherwise leave a follower that is never sent.
#[test]
fn a_foreign_write_is_noticed_and_strands_nobody() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    let [head, next, other] = [("s-1", "CREATE"), ("s-1", "UPDATE"), ("s-2", "CREATE")]
        .map(|(entity, action)| id_of(&agent.call(&record(entity, &json!({"action": action, "retry": "now"})))));
    let sql = format!("DELETE FROM sync_failures WHERE id = '{head}'");
    let done = Command::new("sqlite3").arg(agent.database()).arg(sql).status().expect("sqlite3 is installed");
    assert!(done.success());
    agent.ask(&json!({"op": "resume"}));
    [&next, &other].iter().for_each(|id| agent.wait_gone(id));
    assert!(agent.log().contains("event=foreign_write"), "{}", agent.log());
    assert!(upstream.deliveries().iter().all(|request| request.id() != head));
    assert_eq!(agent.call(&json!({"op": "health"}))["pending"], 0);
    assert_eq!(agent.cell("SELECT live FROM agent"), 0);
}

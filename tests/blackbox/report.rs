//! `report` beside a running agent and without it: the same page, whatever applications have told.
//! `tests/report.rs` has the page of a month.

#[path = "../report/fault.rs"]
mod fault;

use crate::command_line::{out, resyncd, told};
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record};
use fault::{LARGEST, fault};
use rusqlite::Connection;
use serde_json::json;

const HOSTILE: &str = "\"><script>hit()</script><img src=x onerror=hit()>\u{202e}";

fn page(agent: &Agent) -> String {
    let output = resyncd(agent, &["report", "-o", "-", "--payloads"]);
    assert!(output.status.success(), "{}", told(&output));
    out(&output)
}

#[test]
fn the_page_is_the_same_with_and_without_the_agent_and_nothing_in_it_runs() {
    let upstream = Upstream::start(|request| match request.entity() {
        "fine" => Answer::status(200),
        _ => Answer::json(422, &json!({"message": HOSTILE}).to_string()),
    });
    let mut agent = Agent::start(&Plan::impatient(upstream.url()));
    let fine = id_of(&agent.call(&record("fine", &json!({"retry": "now"}))));
    agent.wait_gone(&fine);
    let bad = json!({"retry": "now", "error": HOSTILE, "payload": HOSTILE});
    let bad = id_of(&agent.call(&record("<b onload=hit()>", &bad)));
    agent.wait_critical(&bad);
    let with = page(&agent);
    assert!(agent.stop().success());
    let without = page(&agent);
    for (page, line) in [(&with, "hq: online"), (&without, "The agent is not running")] {
        assert_eq!(fault(page), None);
        for told in [
            line,
            "<h1>resyncd on till-07, store 0042</h1>",
            "2 recorded, 1 delivered, 1 refused",
            "SALE &lt;b onload=hit()&gt; CREATE",
            "&lt;script&gt;hit()&lt;/script&gt;",
        ] {
            assert!(page.contains(told), "{told} in\n{page}");
        }
    }
}

/// The page has a bound, and the operations behind it too.
#[test]
#[ignore = "fills a million rows; run it with --include-ignored"]
fn the_page_of_a_million_failures_and_tries_is_as_small() {
    let mut agent = Agent::start(&Plan { limits: "max_failures = 2000000", ..Plan::default() });
    id_of(&agent.call(&record("s-0", &json!({"error": HOSTILE}))));
    assert!(agent.stop().success());
    let database = Connection::open(agent.database()).expect("the file");
    let numbers = "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 999999)";
    let failures = format!(
        "INSERT INTO sync_failures (id, entity_type, entity_id, action, error, retry_count, created_at, updated_at, seq, \
         recorded_at, terminal_id, head, uncounted, status) {numbers} SELECT id || value, entity_type, \
         entity_id || value, action, error, 3, created_at, updated_at, seq + value, recorded_at, terminal_id, 1, 0, \
         'critical' FROM sync_failures, n"
    );
    database.execute(&failures, []).expect("many rows");
    let tries = format!(
        "INSERT INTO sync_attempts (failure_id, seq, entity_type, entity_id, action, attempt, trigger, upstream, \
         started_at, duration_ms, class, error, counted) {numbers} SELECT id || value, value, 'T' || (value % 500), \
         entity_id, action, 1, 'auto', 'hq', created_at, 5, 'failed', error || hex(value % 300), 1 \
         FROM (SELECT * FROM sync_failures WHERE seq = 1), n"
    );
    database.execute(&tries, []).expect("many rows");
    database.execute("UPDATE agent SET live = 1000000, next_seq = 1000001", []).expect("the agent's row");
    drop(database);
    for with_agent in [false, true] {
        if with_agent {
            agent.up();
        }
        let page = page(&agent);
        assert_eq!(fault(&page), None);
        assert!(page.contains("Over the newest 200,000 attempts"));
        println!("{} of {LARGEST} bytes", page.len());
    }
}

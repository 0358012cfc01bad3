//! A million failures: reading them all takes little memory and delays no client. Slow to fill, so these
//! run only with `--ignored`.

use super::command_line::told;
use crate::support::{Agent, Plan, id_of, record};
use rusqlite::Connection;
use serde_json::json;
use std::process::{Command, Output, Stdio};

/// An agent over a million live failures of as many entities.
fn million() -> Agent {
    let mut agent = Agent::start(&Plan { limits: "max_failures = 2000000", ..Plan::default() });
    id_of(&agent.call(&record("s-0", &json!({"payload": "x".repeat(200)}))));
    assert!(agent.stop().success());
    let database = Connection::open(agent.database()).expect("the file");
    let more = "INSERT INTO sync_failures (id, entity_type, entity_id, action, error, payload, payload_kind, retry_count, \
                created_at, updated_at, seq, recorded_at, terminal_id, head, uncounted) \
                WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 999999) \
                SELECT id || value, entity_type, entity_id || value, action, error, payload, payload_kind, retry_count, \
                created_at, updated_at, seq + value, recorded_at, terminal_id, head, uncounted FROM sync_failures, n";
    database.execute(more, []).expect("many rows");
    database.execute("UPDATE agent SET live = 1000000, next_seq = 1000001", []).expect("the agent's row");
    drop(database);
    agent.up();
    agent
}

/// A command that may use so much memory at most, all of its address space.
fn within(mebibytes: u32, agent: &Agent, args: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -v {} && exec \"$0\" \"$@\"", mebibytes << 10));
    shell.arg(env!("CARGO_BIN_EXE_resyncd")).args(args);
    shell.env("RESYNCD_CONFIG", agent.state_dir().with_file_name("resyncd.toml"));
    shell.stdin(Stdio::null()).output().expect("a shell")
}

/// Issue of the technician: flat memory, with and without the daemon; an acknowledgement waits for no
/// question over all rows.
#[test]
#[ignore = "fills a million rows; run it with --include-ignored"]
fn all_of_a_million_are_read_in_little_memory_and_nobody_waits() {
    let mut agent = million();
    let mut asking = agent.admin();
    for question in ["metrics", "stats"] {
        asking.line(&json!({"op": question}).to_string());
        for n in 0..5 {
            id_of(&agent.call(&record(&format!("{question}-{n}"), &json!({}))));
        }
        assert!(!asking.has_reply(), "{question} was answered first: over so few rows nothing is shown");
        assert_eq!(asking.reply()["ok"], true);
    }
    for with_daemon in [true, false] {
        if !with_daemon {
            assert!(agent.stop().success());
        }
        let output = within(64, &agent, &["export"]);
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(output.stdout.split(|byte| *byte == b'\n').count(), 1_000_011);
    }
}

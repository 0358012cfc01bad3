//! `backup`: whole, private, examined, beside a busy agent and without one.

use crate::command_line::{out, resyncd};
use crate::support::{Agent, Plan, record};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What the program sqlite3 says.
#[track_caller]
fn sqlite3(file: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3").arg(file).arg(sql).output().expect("sqlite3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_backup_is_whole_private_and_alone_with_and_without_an_agent() {
    let mut agent = Agent::start(&Plan::default());
    for n in 0..20 {
        agent.call(&record(&format!("s-{n}"), &json!({"payload": {"secret": "s3cr3t"}})));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["running.db", "it's ? 100% #1.db"] {
        let copy = dir.path().join(name);
        let output = resyncd(&agent, &["backup", &copy.display().to_string(), "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let reply: Value = serde_json::from_str(&out(&output)).expect("one line of JSON");
        assert_eq!((&reply["ok"], &reply["failures"]), (&json!(true), &json!(20)));
        assert_eq!(sqlite3(&copy, "PRAGMA integrity_check"), "ok");
        assert_eq!(sqlite3(&copy, "SELECT COUNT(*) FROM sync_failures WHERE payload LIKE '%s3cr3t%'"), "20");
        assert_eq!(fs::metadata(&copy).expect("its mode").permissions().mode() & 0o777, 0o600);
        if name == "running.db" {
            agent.stop();
        }
    }
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 2, "nothing beside the copies");
    // What was copied is a store: an agent goes on with it.
    fs::copy(dir.path().join("running.db"), agent.database()).expect("the copy put back");
    agent.up();
    assert_eq!(agent.ask(&json!({"op": "unsent"}))["unsent"], 20);
}

#[test]
fn a_file_that_is_there_is_only_replaced_when_that_is_wanted() {
    let agent = Agent::start(&Plan::default());
    agent.call(&record("s-1", &json!({})));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copy = dir.path().join("copy.db");
    let path = copy.display().to_string();
    fs::write(&copy, "precious").expect("a file");
    let refused = resyncd(&agent, &["backup", &path]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(fs::read(&copy).expect("the file"), b"precious");
    assert_eq!(resyncd(&agent, &["backup", "--force", &path]).status.code(), Some(0));
    assert_eq!(sqlite3(&copy, "SELECT COUNT(*) FROM sync_failures"), "1");
    let own = agent.database().display().to_string();
    assert_eq!(resyncd(&agent, &["backup", "--force", &own]).status.code(), Some(2), "the database itself");
    let nowhere = dir.path().join("missing/copy.db").display().to_string();
    assert_eq!(resyncd(&agent, &["backup", &nowhere]).status.code(), Some(1));
    assert_eq!(agent.ask(&json!({"op": "unsent"}))["unsent"], 1);
}

/// One state of the file, while records go on: every copy is whole, and no record is refused.
#[test]
fn backups_beside_a_busy_agent_are_consistent_and_hold_nobody_up() {
    let agent = Agent::start(&Plan::default());
    let done = AtomicBool::new(false);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recorded = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut app, mut count) = (agent.app(), 0_u64);
            while !done.load(Ordering::Relaxed) {
                let reply = app.call(&record(&format!("s-{count}"), &json!({"payload": "x".repeat(2000)})));
                assert_eq!(reply["ok"], true, "{reply}");
                count += 1;
            }
            count
        });
        let mut before = 0;
        for n in 0..3 {
            let copy = dir.path().join(format!("{n}.db"));
            let output = resyncd(&agent, &["backup", &copy.display().to_string()]);
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(sqlite3(&copy, "PRAGMA integrity_check"), "ok");
            let both = sqlite3(&copy, "SELECT (SELECT live FROM agent), (SELECT COUNT(*) FROM sync_failures)");
            let (live, rows) = both.split_once('|').expect("two numbers");
            assert_eq!(live, rows, "the agent's own row agrees with the table");
            let rows: u64 = rows.parse().expect("a number");
            assert!(rows >= before, "a later copy has no less");
            before = rows;
        }
        done.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ends well")
    });
    assert_eq!(agent.ask(&json!({"op": "unsent"}))["unsent"], recorded);
}

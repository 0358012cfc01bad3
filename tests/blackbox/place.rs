//! The files under a running agent: removed, exchanged or cut off by another program, one by one and all
//! together. What was acknowledged is saved where the open files still have it, and what is lost is counted.

use crate::damage::{fill, live, quarantines};
use crate::support::{Agent, Plan, code, id_of, record, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const PARTS: [&str; 3] = ["", "-wal", "-shm"];

fn part(agent: &Agent, ending: &str) -> PathBuf {
    agent.state_dir().join(format!("sync_failures.db{ending}"))
}

/// Every set of the three files but the empty one.
fn subsets() -> impl Iterator<Item = Vec<&'static str>> {
    (1..8).map(|set| (0..3).filter(|n| set >> n & 1 == 1).map(|n| PARTS[n]).collect())
}

/// Records until that succeeds; everything that is said meanwhile is `storage`.
#[track_caller]
fn record_again(agent: &Agent, what: &str) -> Value {
    let request = record("s-again", &json!({"idempotency_key": "again"}));
    let mut last = Value::Null;
    wait_until(&format!("{what}: a record"), || {
        last = agent.call(&request);
        assert!(last["ok"] == true || code(&last) == "storage", "{what}: {last}");
        last["ok"] == true
    });
    last
}

/// What was live is live, nothing is said to be lost, and what was acknowledged since survives a kill.
#[track_caller]
fn assert_all_is_saved(
    agent: &mut Agent,
    before: &std::collections::BTreeMap<String, (String, Value, Value)>,
    what: &str,
) {
    let again = record_again(agent, what);
    assert!(again["seq"].as_i64() > Some(100), "{what}: {again}");
    agent.restart_after_kill();
    // What was quarantined is brought back beside the recording.
    wait_until(&format!("{what}: all are back"), || {
        let now = live(agent);
        before.keys().all(|key| now.contains_key(key))
    });
    let now = live(agent);
    for (key, failure) in before {
        assert_eq!(now.get(key), Some(failure), "{what}: {key}");
    }
    assert!(now.contains_key("again"), "{what}: it was acknowledged");
    assert_eq!(agent.cell("PRAGMA integrity_check"), "ok", "{what}");
    let health = agent.call(&json!({"op": "health"}));
    assert_eq!(health["lost"], Value::Null, "{what}: {health}");
}

#[test]
fn whatever_of_the_files_is_deleted_all_is_saved_in_one_quarantine() {
    for parts in subsets() {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 100);
        let before = live(&agent);
        parts.iter().for_each(|ending| fs::remove_file(part(&agent, ending)).expect("it is removed"));
        assert_all_is_saved(&mut agent, &before, &format!("{parts:?} deleted"));
        let expected = usize::from(parts.contains(&""));
        assert_eq!(quarantines(&agent).len(), expected, "{parts:?}: {:?}", quarantines(&agent));
    }
}

/// Half of the rows in the file, half in the log; then the agent stops without another write.
#[test]
fn whatever_is_deleted_before_a_stop_is_there_at_the_next_start() {
    for parts in subsets().filter(|parts| parts.contains(&"")) {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 100);
        let before = live(&agent);
        parts.iter().for_each(|ending| fs::remove_file(part(&agent, ending)).expect("it is removed"));
        assert!(agent.stop().success());
        agent.up();
        assert_all_is_saved(&mut agent, &before, &format!("{parts:?} deleted, then a stop"));
        assert_eq!(quarantines(&agent).len(), 1, "{parts:?}");
    }
}

#[test]
fn whatever_of_the_files_is_replaced_all_is_saved() {
    for parts in subsets() {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 100);
        let before = live(&agent);
        for ending in &parts {
            let other = agent.state_dir().join("other");
            fs::write(&other, "no database ".repeat(1000)).expect("a file is written");
            fs::rename(other, part(&agent, ending)).expect("it is replaced");
        }
        assert_all_is_saved(&mut agent, &before, &format!("{parts:?} replaced"));
    }
}

/// The file that is there now is another agent's, and its log is ours: that one must not be read into it.
#[test]
fn an_exchanged_file_does_not_get_the_log_of_the_other() {
    let agent = Agent::start(&Plan::default());
    fill(&agent, 40);
    let before = live(&agent);
    let mut other = Agent::start(&Plan::default());
    let strange = id_of(&other.call(&record("other", &json!({}))));
    assert!(other.stop().success());
    fs::rename(other.database(), agent.database()).expect("it is replaced");
    record_again(&agent, "exchanged");
    assert_eq!(agent.cell("PRAGMA integrity_check"), "ok");
    let now = live(&agent);
    assert!(before.keys().all(|key| now.contains_key(key)), "{now:?}");
    assert_eq!(agent.cell(&format!("SELECT COUNT(*) FROM sync_failures WHERE id = '{strange}'")), 1);
    assert_eq!(agent.call(&json!({"op": "health"}))["lost"], Value::Null);
    assert_eq!(quarantines(&agent).len(), 1);
}

/// Cut off in place: what stood there is gone for good, and no record is acknowledged into a hole.
#[test]
fn whatever_of_the_files_is_cut_off_what_is_lost_is_counted() {
    // An index that is cut off ends the process, because it is mapped into memory.
    for parts in [&[""][..], &["-wal"], &["", "-wal"]] {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 100);
        let cut = |ending: &&str| {
            let open = fs::OpenOptions::new().write(true).open(part(&agent, ending));
            open.expect("it opens").set_len(0).expect("it is cut off");
        };
        parts.iter().for_each(cut);
        let again = record_again(&agent, &format!("{parts:?} cut off"));
        assert!(again["seq"].as_i64() > Some(100), "{parts:?}: {again}");
        agent.restart_after_kill();
        wait_until(&format!("{parts:?}: the end of the salvage"), || {
            !agent.call(&json!({"op": "health"}))["reasons"].to_string().contains("being brought back")
        });
        let now = live(&agent);
        assert!(now.contains_key("again"), "{parts:?}: it was acknowledged");
        assert_eq!(agent.cell("PRAGMA integrity_check"), "ok", "{parts:?}");
        let lost = 101 - i64::try_from(now.len()).expect("few");
        let health = agent.call(&json!({"op": "health"}));
        assert_eq!(health["lost"].as_i64().unwrap_or(0), lost, "{parts:?}: {health}");
    }
}

/// A question is enough to look: nothing need be written.
#[test]
fn a_deleted_database_is_noticed_before_anything_is_written() {
    let agent = Agent::start(&Plan::default());
    fill(&agent, 10);
    let before = live(&agent);
    fs::remove_file(agent.database()).expect("it is removed");
    wait_until("its being there again", || {
        assert_eq!(agent.call(&json!({"op": "hello"}))["ok"], true);
        agent.database().exists() && agent.log().contains("event=quarantined")
    });
    assert_eq!(live(&agent), before);
}

/// A directory that was moved away takes its files with it; what was acknowledged is in the new one as well.
#[test]
fn a_directory_that_is_moved_away_is_made_again() {
    let mut agent = Agent::start(&Plan::default());
    fill(&agent, 100);
    let before = live(&agent);
    fs::rename(agent.state_dir(), agent.state_dir().with_extension("moved")).expect("it is moved");
    assert_all_is_saved(&mut agent, &before, "moved away");
}

#[test]
fn a_removed_lock_file_lets_no_second_agent_in_and_is_made_again() {
    let first = Agent::start(&Plan::default());
    let lock = first.state_dir().join("lock");
    fs::remove_file(&lock).expect("it is removed");
    let mut second = Agent::prepare(&Plan::default());
    let state_dir = first.state_dir().display().to_string();
    let (status, said) = second.run_to_its_end(&["--state-dir", &state_dir]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("another resyncd"), "{said}");
    wait_until("the lock file naming its holder again", || {
        assert_eq!(first.call(&json!({"op": "hello"}))["ok"], true);
        fs::read_to_string(&lock).is_ok_and(|text| text.trim() == first.pid().to_string())
    });
    let (status, said) = second.run_to_its_end(&["--state-dir", &state_dir]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&format!("another resyncd (pid {}) holds", first.pid())), "{said}");
}

/// As a backup that was copied back by hand.
#[test]
fn a_database_that_others_may_read_is_closed_to_them_at_the_start() {
    let mut agent = Agent::start(&Plan::default());
    fill(&agent, 3);
    assert!(agent.stop().success());
    let open_to_all = fs::Permissions::from_mode(0o644);
    fs::set_permissions(agent.database(), open_to_all).expect("its mode is set");
    agent.up();
    let mode = fs::metadata(agent.database()).expect("it is there").permissions().mode();
    assert_eq!(format!("{:o}", mode & 0o777), "600");
    assert_eq!(live(&agent).len(), 3);
    let rows = Connection::open(agent.database())
        .and_then(|file| file.query_row("SELECT COUNT(*) FROM sync_failures", [], |row| row.get::<_, i64>(0)));
    assert_eq!(rows.expect("a count"), 3);
}

/// To open a pipe waits for a writer, which never comes.
#[test]
fn a_pipe_in_the_place_of_a_file_stops_nothing() {
    for ending in ["", "-wal"] {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 3);
        agent.kill9();
        let (path, aside) = (part(&agent, ending), agent.state_dir().join("aside"));
        fs::rename(&path, &aside).expect("it is moved");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        let (status, said) = agent.run_to_its_end(&[]);
        assert!(status == Some(1) && said.contains("no regular file"), "{ending:?}: {status:?} {said}");
        fs::remove_file(&path).expect("it is removed");
        fs::rename(aside, path).expect("it is moved back");
        agent.up();
        assert_eq!(live(&agent).len(), 3, "{ending:?}");
    }
}

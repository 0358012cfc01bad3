//! The next
//! start brings it to its end, and nothing is there twice.

use crate::damage::{assert_live, fill, live, overwrite, quarantines, stopped, wait_salvaged};
use crate::support::{Agent, Plan, record};
use rusqlite::Connection;
use serde_json::json;
use std::fs;

/// A power cut at any moment of a quarantine: each state that it goes through, made by hand.
#[test]
fn a_quarantine_that_was_cut_short_is_brought_to_its_end() {
    let states: [&[&str]; 4] = [&[], &["-wal"], &["-wal", ""], &["-wal", "", "whole"]];
    for moved in states {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 60);
        let before = live(&agent);
        agent.kill9();
        let place = agent.state_dir().join("quarantine/2026-11-24T06-12-34.123Z.moving");
        fs::create_dir_all(&place).expect("a directory");
        for part in moved.iter().filter(|part| **part != "whole") {
            let name = format!("sync_failures.db{part}");
            fs::rename(agent.state_dir().join(&name), place.join(&name)).expect("it moves");
        }
        if moved.ends_with(&["whole"]) {
            fs::rename(&place, place.with_extension("")).expect("it is whole");
        }
        agent.up();
        assert_eq!(wait_salvaged(&agent, 1), "salvaged=60 lost=0\n", "{moved:?}");
        assert_live(&agent, &before);
        assert_eq!(quarantines(&agent), [place.with_extension("")], "{moved:?}");
    }
}

/// kill -9 in every system call by which a quarantine goes on, and by which a new file is made.
#[test]
#[ignore = "needs strace; run it with --include-ignored"]
fn a_quarantine_that_is_killed_at_any_step_loses_nothing() {
    let (mut agent, before) = stopped(300);
    overwrite(&agent, 1);
    let damaged = fs::read(agent.database()).expect("the file is read");
    let mut kills = 0;
    // Each call is counted separately.
    for call in ["rename", "fsync", "fdatasync", "unlink", "mkdir", "ftruncate"] {
        for nth in 1.. {
            fs::remove_dir_all(agent.state_dir()).expect("it is removed");
            fs::create_dir(agent.state_dir()).expect("a directory");
            fs::write(agent.database(), &damaged).expect("the file is written");
            if !agent.is_killed_in_start(call, nth) {
                break;
            }
            agent.up();
            assert_eq!(wait_salvaged(&agent, 1), "salvaged=300 lost=0\n", "killed at {call} {nth}");
            assert_live(&agent, &before);
            agent.kill9();
            kills += 1;
        }
    }
    assert!(kills >= 15, "{kills} steps");
}

/// A power cut in the middle of a salvage, after half of the rows: it begins again, and nothing is
/// there twice.
#[test]
fn a_salvage_that_was_cut_short_is_done_again() {
    let (mut agent, before) = stopped(200);
    overwrite(&agent, 1);
    agent.up();
    wait_salvaged(&agent, 1);
    assert!(agent.stop().success());
    fs::remove_file(quarantines(&agent)[0].join("salvaged")).expect("it did not say so yet");
    let file = Connection::open(agent.database()).expect("the file opens");
    let half = "DELETE FROM sync_failures WHERE seq > 100; DELETE FROM idempotency_keys WHERE key LIKE 'k-1%'; \
                UPDATE agent SET agent_time = 0, wall_time = 0, next_seq = 1, live = 0";
    file.execute_batch(half).expect("half of it");
    file.close().expect("it closes");
    agent.up();
    assert_eq!(wait_salvaged(&agent, 1), "salvaged=200 lost=0\n");
    assert_live(&agent, &before);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM idempotency_keys"), 200);
    let reply = agent.call(&record("s-new", &json!({"idempotency_key": "again"})));
    assert_eq!(reply["seq"], 201, "no number is used twice: {reply}");
}

/// A power cut while an open file was being copied: the part that was copied is recovered.
#[test]
fn a_copy_that_was_cut_short_is_salvaged_as_far_as_it_goes() {
    let (mut agent, before) = stopped(200);
    let place = agent.state_dir().join("quarantine/2026-11-24T06-12-34.123Z.copying");
    fs::create_dir_all(&place).expect("a directory");
    fs::rename(agent.database(), place.join("sync_failures.db")).expect("it moves");
    agent.up();
    assert_eq!(wait_salvaged(&agent, 1), "salvaged=200 lost=0\n");
    assert_live(&agent, &before);
}

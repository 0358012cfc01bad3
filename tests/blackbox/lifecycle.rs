//! How the agent starts, what it refuses to start over, how it ends.

use crate::command_line::{out, resyncd};
use crate::support::{Agent, Answer, Gate, Plan, Upstream, code, id_of, record, record_now, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("the file is there").permissions().mode() & 0o7777
}

/// Who may connect, who may read.
#[test]
fn files_have_the_modes_that_guard_them() {
    let agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("s-1", &json!({}))));
    assert_eq!(format!("{:o}", mode(&agent.app_path())), "660");
    assert_eq!(format!("{:o}", mode(&agent.admin_path())), "600");
    assert_eq!(format!("{:o}", mode(&agent.database())), "600");
    for entry in fs::read_dir(agent.state_dir()).expect("the state directory is there") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path) & 0o077, 0, "{} is closed to others", path.display());
    }
}

/// SIGTERM and SIGINT: exit 0, sockets removed, and what was recorded is there at the next start.
#[test]
fn a_signal_ends_it_with_0_and_removes_the_sockets() {
    let mut agent = Agent::start(&Plan::default());
    let id = id_of(&agent.call(&record("s-1", &json!({}))));
    for signal in [Signal::TERM, Signal::INT] {
        agent.signal(signal);
        assert_eq!(agent.wait_for_exit().code(), Some(0), "{signal:?}");
        assert!(!agent.app_path().exists() && !agent.admin_path().exists(), "{signal:?}: the sockets are removed");
        agent.up();
        assert!(agent.failure(&id).is_some());
    }
}

/// A clean stop leaves one file that can simply be copied, also during an integrity check.
#[test]
fn a_stop_amid_the_look_for_damage_leaves_one_file() {
    let mut agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("s-1", &json!({}))));
    agent.stop();
    let file = rusqlite::Connection::open(agent.database()).expect("the file opens");
    let much = "INSERT INTO sync_attempts (failure_id, seq, entity_type, entity_id, action, attempt, trigger, upstream,
            started_at, duration_ms, class, counted)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
        SELECT printf('%032d', i), i, 'SALE', 's', 'CREATE', 1, 'auto', 'hq', '2026-01-01T00:00:00.000Z', 1, 'busy', 0 FROM n";
    file.execute(much, []).expect("rows are written");
    file.close().expect("the file closes");
    let before = agent.log().len();
    agent.up();
    wait_until("the look's beginning", || agent.log()[before..].contains("event=checking"));
    assert!(agent.stop().success());
    assert!(
        !agent.log()[before..].contains("event=checked"),
        "the look was over before the stop: the test needs more rows"
    );
    for part in ["sync_failures.db-wal", "sync_failures.db-shm"] {
        assert!(!agent.state_dir().join(part).exists(), "{part} is left");
    }
}

/// No new work, requests in flight may end, `shutting_down` to records meanwhile.
#[test]
fn a_request_in_flight_may_end_and_nothing_new_begins() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| {
        shut.pass();
        Answer::status(200)
    });
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let first = id_of(&app.call(&record_now("s-1")));
    let second = id_of(&app.call(&record("s-1", &json!({"action": "UPDATE", "retry": "now"}))));
    upstream.wait_deliveries(1);
    agent.signal(Signal::TERM);
    wait_until("records being refused", || {
        let reply = app.call(&record("s-9", &json!({"idempotency_key": "k-9"})));
        reply["ok"] == false && code(&reply) == "shutting_down"
    });
    gate.open();
    assert_eq!(agent.wait_for_exit().code(), Some(0));
    assert_eq!(app.text(), None, "the connection is closed");
    agent.configure(&Plan::default());
    agent.up();
    assert_eq!(agent.failure(&first), None, "its acceptance was read and committed");
    assert!(agent.failure(&second).is_some(), "its successor did not begin");
    assert_eq!(upstream.deliveries().len(), 1);
}

/// Requests in flight get up to 10 s; what did not end is pending, and the exit status is 0.
#[test]
fn what_does_not_end_within_10_s_is_pending() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    upstream.wait_deliveries(1);
    let begun = std::time::Instant::now();
    assert_eq!(agent.stop().code(), Some(0));
    assert!((9..20).contains(&begun.elapsed().as_secs()), "it took {:?}", begun.elapsed());
    assert!(!agent.app_path().exists() && !agent.admin_path().exists(), "the sockets are removed");
    agent.configure(&Plan::default());
    agent.up();
    let shown = agent.failure(&id).expect("it is kept");
    assert_eq!((&shown["status"], &shown["retry_count"]), (&json!("pending"), &json!(0)), "{shown}");
}

/// A stop that cuts a request off leaves the same doubt as a crash: on such routes the next start verifies or holds, and
/// an edit keeps the key.
#[test]
fn what_a_stop_cuts_off_is_verified_or_held() {
    let routes = [
        ("on_unsure = \"hold\"", "held"),
        ("on_unsure = \"verify\"\nverify = { path = \"/find/{key}\", found = \"/id\" }", "verified"),
    ];
    for (route, then) in routes {
        let upstream = Upstream::start(|_| Answer::Silence);
        let mut agent = Agent::start(&Plan { more: format!("[[route]]\n{route}\n"), ..Plan::to(upstream.url()) });
        let id =
            id_of(&agent.call(&record("s-1", &json!({"retry": "now", "error": null, "idempotency_key": "pos-1"}))));
        upstream.wait_deliveries(1);
        let mut app = agent.app();
        agent.signal(Signal::TERM);
        wait_until("the agent stopping", || app.call(&record("s-2", &json!({"order_key": "x"})))["ok"] == false);
        agent.signal(Signal::TERM);
        agent.wait_for_exit();
        upstream.on_delivery(|request| {
            if request.method == "GET" { Answer::json(200, "{\"id\":7}") } else { Answer::status(200) }
        });
        agent.up();
        if then == "held" {
            wait_until("the hold", || agent.failure(&id).is_some_and(|failure| failure["status"] == "held"));
            let listed = out(&resyncd(&agent, &["list"]));
            assert!(!listed.contains("not sent yet"), "{listed}");
            let edit = json!({"op": "edit", "id": id, "payload": "b", "reason": "x"});
            let edited = agent.admin().call(&edit);
            assert_eq!((&edited["key_kept"], &edited["idempotency_key"]), (&json!(true), &json!("pos-1")), "{edited}");
        } else {
            agent.wait_gone(&id);
        }
        let posts = upstream.deliveries().iter().filter(|request| request.method == "POST").count();
        assert_eq!(posts, 1, "{then}: it was not sent again");
    }
}

/// What did not end within 10 s is pending; a second signal does not wait for it.
#[test]
fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let id = id_of(&app.call(&record_now("s-1")));
    upstream.wait_deliveries(1);
    agent.signal(Signal::TERM);
    wait_until("the agent stopping", || app.call(&record("s-2", &json!({"order_key": "x"})))["ok"] == false);
    let begun = std::time::Instant::now();
    agent.signal(Signal::TERM);
    agent.wait_for_exit();
    assert!(begun.elapsed().as_secs() < 8, "it took {:?}", begun.elapsed());
    upstream.on_delivery(|_| Answer::status(200));
    agent.up();
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries_of("s-1").len(), 2);
}

/// A stale socket file is replaced.
#[test]
fn stale_sockets_are_replaced() {
    let mut agent = Agent::start(&Plan::default());
    agent.kill9();
    let is_socket = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    assert!(is_socket(&agent.app_path()) && is_socket(&agent.admin_path()), "a crash leaves them behind");
    agent.up();
    assert_eq!(agent.call(&json!({"op": "hello"}))["ok"], true);
}

/// A live socket is never stolen.
#[test]
fn a_live_socket_is_not_stolen() {
    for which in [Agent::app_path, Agent::admin_path] {
        let mut agent = Agent::prepare(&Plan::default());
        let path = which(&agent);
        let owner = UnixListener::bind(&path).expect("the path is free");
        let (status, said) = agent.run_to_its_end(&[]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(&path.display().to_string()), "the message names it: {said}");
        drop(std::os::unix::net::UnixStream::connect(&path).expect("its owner still has it"));
        drop(owner);
    }
}

/// Something that is not a socket is never removed.
#[test]
fn what_is_no_socket_is_left_alone() {
    for which in [Agent::app_path, Agent::admin_path] {
        let mut agent = Agent::prepare(&Plan::default());
        let path = which(&agent);
        fs::write(&path, "the only copy").expect("a file is written");
        let (status, said) = agent.run_to_its_end(&[]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(&path.display().to_string()), "the message names it: {said}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "the only copy");
    }
}

/// A second agent on the same state directory exits with 1 and names the holder.
#[test]
fn a_second_agent_on_the_same_directory_is_refused() {
    let first = Agent::start(&Plan::default());
    let id = id_of(&first.call(&record("s-1", &json!({}))));
    let mut second = Agent::prepare(&Plan::default());
    let state_dir = first.state_dir().display().to_string();
    let (status, said) = second.run_to_its_end(&["--state-dir", &state_dir]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&format!("another resyncd (pid {}) holds", first.pid())), "{said}");
    assert!(said.contains(&state_dir), "{said}");
    assert!(first.failure(&id).is_some(), "the first one goes on");
}

/// Started beside a running agent by mistake, with the same configuration: it says at once who is there, and exits
/// without waiting for a lock that is not released.
#[test]
fn a_second_agent_of_the_same_configuration_exits_and_names_the_first() {
    let first = Agent::start(&Plan::default());
    let config = first.state_dir().with_file_name("resyncd.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
    command.env_remove("RESYNCD_STATE_DIR").env_remove("NOTIFY_SOCKET");
    let output = command.arg("run").arg("--config").arg(config).output().expect("the binary runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(output.status.code(), Some(1), "{told:?}");
    for line in [told.first(), told.last()] {
        let line = line.expect("two lines");
        assert!(line.contains(&format!("pid {}", first.pid())) && line.contains("systemctl stop resyncd"), "{told:?}");
    }
    // For an agent that does not answer, because it is stopping, it would wait longer.
    assert!(told[0].contains("event=lock_held wait_s=1 "), "{told:?}");
    assert_eq!(first.call(&json!({"op": "hello"}))["ok"], true);
}

/// All files of the database with their contents.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("the directory is there").map(|entry| entry.expect("an entry"));
    let database = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("sync_failures.db"));
    let named = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
    database.map(named).map(|(name, path)| (name, fs::read(path).expect("a file is read"))).collect()
}

/// A database from a newer version is refused with a clear error, bytes untouched.
#[test]
fn a_newer_database_is_refused_and_untouched() {
    let mut agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("s-1", &json!({}))));
    assert!(agent.stop().success());
    let newer = rusqlite::Connection::open(agent.database()).expect("the file opens");
    let history = "INSERT INTO refinery_schema_history SELECT 9999, 'from_the_future', applied_on, checksum \
                   FROM refinery_schema_history LIMIT 1";
    assert_eq!(newer.execute(history, []).expect("a row is added"), 1);
    newer.close().expect("the file closes");
    let before = contents(&agent.state_dir());
    let (status, said) = agent.run_to_its_end(&[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("newer") && said.contains(&agent.database().display().to_string()), "{said}");
    // SQLite may leave its -shm and an empty -wal; neither contains data.
    let after = contents(&agent.state_dir());
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)), "the bytes are as they were");
    assert!(after.get("sync_failures.db-wal").is_none_or(Vec::is_empty), "nothing was written to a log");
}

/// As above, with something in the log that is not in the file yet, as after a crash.
#[test]
fn a_newer_database_with_a_log_is_refused_and_untouched() {
    let mut agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("s-1", &json!({}))));
    agent.kill9();
    let newer = rusqlite::Connection::open(agent.database()).expect("the file opens");
    let history = "INSERT INTO refinery_schema_history SELECT 9999, 'from_the_future', applied_on, checksum \
                   FROM refinery_schema_history LIMIT 1";
    assert_eq!(newer.execute(history, []).expect("a row is added"), 1);
    // As a crash leaves it: copied away while it is open, and put back when it is closed.
    let crashed = contents(&agent.state_dir());
    newer.close().expect("the file closes");
    let kept = |name: &String| !name.ends_with("-shm");
    for (name, bytes) in crashed.iter().filter(|(name, _)| kept(name)) {
        fs::write(agent.state_dir().join(name), bytes).expect("a file is written");
    }
    let before = contents(&agent.state_dir());
    assert!(before.keys().any(|name| name.ends_with("-wal")), "{:?}", before.keys());
    let (status, said) = agent.run_to_its_end(&[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("newer"), "{said}");
    let after = contents(&agent.state_dir());
    for (name, bytes) in &before {
        assert!(after.get(name) == Some(bytes), "{name} was touched");
    }
}

/// A kill in the middle of the very first transaction, before there was a log: what SQLite left
/// beside the file is rolled back, and it starts.
#[test]
fn a_first_start_that_was_cut_short_is_done_again() {
    let mut agent = Agent::prepare(&Plan::default());
    let dir = tempfile::tempdir().expect("a directory");
    let other = rusqlite::Connection::open(dir.path().join("sync_failures.db")).expect("the file opens");
    // So few pages in memory that an open transaction reaches the file.
    let open = "PRAGMA cache_size = 2; CREATE TABLE t (x); BEGIN; WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                WHERE i < 500) INSERT INTO t SELECT zeroblob(1000) FROM n";
    other.execute_batch(open).expect("an open transaction");
    let crashed = contents(dir.path());
    assert!(crashed.get("sync_failures.db-journal").is_some_and(|journal| journal.len() > 512), "{:?}", crashed.keys());
    fs::create_dir_all(agent.state_dir()).expect("a directory");
    for (name, bytes) in &crashed {
        fs::write(agent.state_dir().join(name), bytes).expect("a file is written");
    }
    agent.up();
    id_of(&agent.call(&record("s-1", &json!({}))));
    assert_eq!(agent.cell("PRAGMA integrity_check"), "ok");
    assert!(!agent.state_dir().join("quarantine").exists(), "it was no damage");
}

/// A clear error that names path, owner, mode and remedy; exit 1 at start.
#[test]
fn a_state_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let mut agent = Agent::prepare(&Plan::default());
    fs::write(agent.state_dir(), "a file in the way").expect("a file is written");
    let (status, said) = agent.run_to_its_end(&[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&agent.state_dir().display().to_string()), "{said}");
    assert_eq!(fs::read_to_string(agent.state_dir()).expect("it is there"), "a file in the way");
}

/// An error of the configuration is exit 2, with the place and what was meant.
#[test]
fn a_wrong_configuration_is_exit_2() {
    let mut agent = Agent::prepare(&Plan { limits: "max_failurs = 3\nmax_line = 7", ..Plan::default() });
    let (status, said) = agent.run_to_its_end(&[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("max_failurs") && said.contains("max_failures") && said.contains("max_line"), "{said}");
    assert!(said.contains("resyncd.toml:"), "{said}");
}

/// A lock holds a directory. Where the database has a second name in another one, an agent there would use another log.
#[test]
fn a_database_with_a_second_name_is_refused() {
    let first = Agent::start(&Plan::default());
    id_of(&first.call(&record("s-1", &json!({}))));
    let mut second = Agent::prepare(&Plan::default());
    fs::create_dir(second.state_dir()).expect("a directory");
    fs::hard_link(first.database(), second.database()).expect("a second name");
    let (status, said) = second.run_to_its_end(&[]);
    assert_eq!(status, Some(1), "{said}");
    let name = second.database().display().to_string();
    assert!(said.contains(&format!("{name} has 2 names (hard links)")), "{said}");
    id_of(&first.call(&record("s-2", &json!({}))));
    fs::remove_file(second.database()).expect("the name is removed");
    second.up();
    assert_eq!(first.cell("SELECT COUNT(*) FROM sync_failures"), 2);
}

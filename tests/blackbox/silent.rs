//! A socket in front of an agent that does not run, as systemd holds it: connections are accepted, and nothing
//! answers on them. Every command ends, says so, and reads from the database where it may.

use super::command_line::{out, resyncd, told};
use crate::support::{Agent, Plan};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;

/// An agent that has recorded one failure and was killed, and sockets that no process serves.
fn mute() -> (Agent, [UnixListener; 2]) {
    let mut agent = Agent::start(&Plan::default());
    let sale = json!({"op": "record", "entity_type": "SALE", "entity_id": "s-1", "action": "CREATE", "error": "x"});
    assert_eq!(agent.call(&sale)["ok"], true);
    agent.kill9();
    let listen = |path| {
        std::fs::remove_file(&path).expect("a killed agent leaves its socket");
        let listener = UnixListener::bind(&path).expect("the path is free");
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("the test owns it");
        listener
    };
    let listeners = [listen(agent.app_path()), listen(agent.admin_path())];
    (agent, listeners)
}

#[test]
fn no_command_waits_without_an_end() {
    let (agent, _listeners) = mute();
    let agent = &agent;
    thread::scope(|scope| {
        for (words, status) in [
            (&["status"][..], 0),
            (&[], 0),
            (&["list"], 0),
            (&["show", "1"], 0),
            (&["history", "1"], 0),
            (&["stats"], 0),
            (&["check"], 3),
            (&["check", "--closing"], 3),
            (&["record", "--type", "SALE", "--entity", "s-2", "--action", "CREATE", "--error", "x"], 3),
            (&["retry", "1", "--reason", "again"], 3),
            (&["pause"], 3),
            (&["reload"], 3),
            (&["doctor"], 1),
        ] {
            scope.spawn(move || {
                let output = resyncd(agent, words);
                let said = told(&output) + &out(&output);
                assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
                assert!(said.contains("no agent answered at"), "{words:?}: {said}");
            });
        }
    });
    // The recorded sale is shown from the file, and the one that was not accepted is not in it.
    let listed = out(&resyncd(agent, &["list", "--json"]));
    assert!(listed.contains("s-1") && !listed.contains("s-2"), "{listed}");
}

#[test]
fn lines_that_nobody_answers_end_with_exit_status_3() {
    let (agent, _listeners) = mute();
    let line = "{\"entity_type\":\"SALE\",\"entity_id\":\"s-3\",\"action\":\"CREATE\",\"error\":\"x\"}\n";
    let output = super::command_line::resyncd_reading(&agent, &["record", "-"], line);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    assert!(told(&output).contains("no agent answered at"), "{}", told(&output));
}

#[test]
fn a_full_backlog_is_not_waited_for_without_an_end() {
    let (agent, listeners) = mute();
    drop(listeners);
    // A listener with the smallest backlog, and as many connections as it takes.
    let path = agent.app_path();
    std::fs::remove_file(&path).expect("the socket's file is left");
    let address = rustix::net::SocketAddrUnix::new(&path).expect("a short path");
    let socket = |flags| {
        use rustix::net::{AddressFamily, SocketType, socket_with};
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a socket")
    };
    let listener = socket(rustix::net::SocketFlags::CLOEXEC);
    rustix::net::bind(&listener, &address).expect("the path is free");
    rustix::net::listen(&listener, 0).expect("it listens");
    let mut held = Vec::new();
    loop {
        let client = socket(rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK);
        if rustix::net::connect(&client, &address).is_err() {
            break;
        }
        held.push(client);
    }
    let output =
        resyncd(&agent, &["record", "--type", "SALE", "--entity", "s-2", "--action", "CREATE", "--error", "x"]);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
}

/// An agent that stops closes its connections: here the first one, after `hello`, with or without having read the request.
fn served(listener: &UnixListener, reads: bool) -> Vec<Value> {
    let reply = |stream: &mut BufReader<UnixStream>, text: &str| {
        stream.get_mut().write_all(text.as_bytes()).expect("the client reads");
    };
    let mut lines = Vec::new();
    for connection in 0.. {
        let (stream, _) = listener.accept().expect("a connection");
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        if stream.read_line(&mut line).expect("hello") == 0 {
            break;
        }
        reply(&mut stream, "{\"ok\":true,\"name\":\"resyncd\"}\n");
        if connection == 0 && !reads {
            // The request is there, and is not read.
            poll(&mut [PollFd::new(stream.get_ref(), PollFlags::IN)], None).expect("it comes");
            continue;
        }
        line.clear();
        if stream.read_line(&mut line).expect("a line") == 0 {
            break;
        }
        lines.push(serde_json::from_str(&line).expect("JSON"));
        if connection > 0 {
            reply(&mut stream, "{\"ok\":true,\"id\":\"a-1\",\"seq\":1,\"text\":\"up 1\"}\n");
            break;
        }
    }
    lines
}

/// The request is sent once more where that cannot do it twice.
#[test]
fn a_request_on_a_connection_that_is_closed_is_repeated_if_that_is_safe() {
    const RECORD: [&str; 9] = ["record", "--type", "SALE", "--entity", "s-2", "--action", "CREATE", "--error", "x"];
    let keyed = [&RECORD[..], &["--key", "k-1"]].concat();
    let metrics = ["metrics"];
    for (words, reads, requests, status) in [
        (&keyed[..], false, 1, 0),
        (&keyed, true, 2, 0),
        (&RECORD, false, 1, 0),
        // It may have been recorded, and nothing would recognise it.
        (&RECORD, true, 1, 3),
        (&metrics, false, 1, 0),
        (&metrics, true, 1, 3),
    ] {
        let (agent, [app, admin]) = mute();
        let listener = if words[0] == "record" { app } else { admin };
        let (agent, listener) = (&agent, &listener);
        thread::scope(|scope| {
            let served = scope.spawn(move || served(listener, reads));
            let output = resyncd(agent, words);
            // The server waits for a second connection, whoever makes it.
            drop(UnixStream::connect(if words[0] == "record" { agent.app_path() } else { agent.admin_path() }));
            assert_eq!(output.status.code(), Some(status), "{words:?} {reads}: {} {}", out(&output), told(&output));
            let lines = served.join().expect("it ends");
            assert_eq!(lines.len(), requests, "{words:?} {reads}: {lines:?}");
            assert!(lines.iter().all(|line| *line == lines[0]), "{lines:?}");
        });
    }
}

/// A process that hangs, and whose sockets are gone, is not called stopped: it holds the database, and starting another
/// one would not help. What is printed does.
#[test]
fn a_process_that_does_not_reply_is_told_from_none() {
    let mut agent = Agent::start(&Plan::default());
    agent.signal(Signal::STOP);
    for path in [agent.app_path(), agent.admin_path()] {
        std::fs::remove_file(path).expect("it was there");
    }
    let brief = out(&resyncd(&agent, &[]));
    let pid = agent.pid();
    assert!(brief.contains(&format!("runs as process {pid}, but does not reply")), "{brief}");
    assert!(!brief.contains("not running") && brief.contains(&format!("kill -9 {pid}")), "{brief}");
    let doctor = out(&resyncd(&agent, &["doctor"]));
    assert_eq!(doctor.matches(&format!("kill -9 {pid}")).count(), 2, "{doctor}");
    agent.restart_after_kill();
    assert!(out(&resyncd(&agent, &[])).contains("no upstream is configured"));
    agent.kill9();
    assert!(out(&resyncd(&agent, &[])).contains("The agent is not running"));
}

/// The packaged sockets, with systemd's tools that say what a file says. Needs its own `/run`, and so root.
#[test]
fn what_systemd_knows_of_the_service_is_told_with_the_command_that_helps() {
    const SCRIPT: &str = r#"
        set -e
        mount -t tmpfs tmpfs /run
        mkdir -p /run/systemd/system /run/resyncd
        printf '[agent]\nstate_dir = "%s/state"\n' "$DIR" > "$DIR/c.toml"
        for tool in systemctl journalctl; do
            printf '#!/bin/sh\ncat "%s/%s.says"\n' "$DIR" $tool > "$DIR/$tool"
            chmod 755 "$DIR/$tool"
        done
        echo 'unknown key timout' > "$DIR/journalctl.says"
        "$BIN" run 2> "$DIR/log" &
        pid=$!
        trap 'kill -9 $pid' EXIT
        until "$BIN" list > /dev/null 2>&1; do sleep 0.05; done
        kill -STOP $pid
        echo "--- silent and failed"
        printf 'ActiveState=failed\nSubState=failed\nResult=exit-code\n' > "$DIR/systemctl.says"
        "$BIN"
        echo "--- removed and active"
        rm /run/resyncd/*.sock
        printf 'ActiveState=active\nSubState=running\nResult=success\n' > "$DIR/systemctl.says"
        "$BIN"
        "$BIN" doctor || true
    "#;
    let dir = tempfile::tempdir().expect("a directory");
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespace without root");
        return;
    }
    let mut command = Command::new("unshare");
    for name in ["STATE_DIR", "SOCKET", "ADMIN_SOCKET", "UPSTREAM", "LOG", "LANG"] {
        command.env_remove(format!("RESYNCD_{name}"));
    }
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").expect("a path"));
    command.env("PATH", path).env("DIR", dir.path()).env("BIN", env!("CARGO_BIN_EXE_resyncd"));
    command.env("RESYNCD_CONFIG", dir.path().join("c.toml")).env("LC_ALL", "C.UTF-8").env_remove("NOTIFY_SOCKET");
    let output = command.args(["-m", "sh", "-c", SCRIPT]).stdin(Stdio::null()).output().expect("unshare runs");
    let text = out(&output);
    let (failed, removed) = text.split_once("--- removed").unwrap_or_else(|| panic!("{text}{}", told(&output)));
    assert!(failed.contains("does not start") && failed.contains("failed (failed, exit-code)"), "{failed}");
    assert!(failed.contains("unknown key timout"), "the unit's last message: {failed}");
    assert!(failed.contains("Next: resyncd config check; then: systemctl restart resyncd\n"), "{failed}");
    assert!(removed.contains("The agent runs, but nobody can connect to it"), "{removed}");
    let restart = "Next: systemctl restart resyncd.socket resyncd-admin.socket";
    assert_eq!(removed.matches(restart).count(), 3, "status, and doctor for each of the sockets: {removed}");
    assert!(!text.contains("The agent is not running"), "{text}");
}

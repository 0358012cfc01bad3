//! The files of the two sockets, while the agent runs: removed, moved, occupied, wanted by two agents.

use crate::support::{Agent, Client, Plan, id_of, record, wait_for, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn is_answered(path: &Path) -> bool {
    let hello = json!({"op": "hello"});
    let reply = Client::try_connect(path.to_owned()).and_then(|mut client| client.try_call(&hello));
    reply.is_some_and(|reply| reply["ok"] == true)
}

fn health(agent: &Agent) -> Value {
    agent.ask(&json!({"op": "health"}))
}

/// A socket whose file is removed or moved is made again at once, with its mode, and the clients that are connected
/// stay so.
#[test]
fn a_removed_socket_is_made_again() {
    let agent = Agent::start(&Plan::default());
    let mut connected = agent.app();
    id_of(&connected.call(&record("s-1", &json!({}))));
    for _ in 0..3 {
        fs::remove_file(agent.app_path()).expect("it is there");
        wait_until("the app socket being there again", || is_answered(&agent.app_path()));
        fs::rename(agent.admin_path(), agent.admin_path().with_extension("away")).expect("it is there");
        wait_until("the admin socket being there again", || is_answered(&agent.admin_path()));
    }
    assert_eq!((mode(&agent.app_path()), mode(&agent.admin_path())), (0o660, 0o600));
    id_of(&connected.call(&record("s-2", &json!({}))));
    assert_eq!(health(&agent)["state"], "ok");
    assert!(agent.log().contains("event=socket_made_again"), "{}", agent.log());
}

/// A file in the place of a socket is left alone; `health` says that no client can connect, until it is removed.
#[test]
fn a_socket_that_cannot_be_made_again_is_told_of() {
    let agent = Agent::start(&Plan::default());
    fs::remove_file(agent.app_path()).expect("it is there");
    wait_until("the app socket being there again", || is_answered(&agent.app_path()));
    let beside = agent.app_path().with_extension("new");
    fs::write(&beside, "somebody's").expect("a file");
    fs::rename(&beside, agent.app_path()).expect("it takes its place");
    let told = wait_for("health being critical", || {
        let health = health(&agent);
        (health["state"] == "critical").then_some(health)
    });
    let path = agent.app_path().display().to_string();
    assert!(told["reasons"].to_string().contains(&format!("nobody can connect to {path}")), "{told}");
    assert_eq!(fs::read_to_string(agent.app_path()).expect("a file"), "somebody's");
    fs::remove_file(agent.app_path()).expect("it is there");
    wait_until("the app socket being there again", || is_answered(&agent.app_path()));
    wait_until("health being right again", || health(&agent)["state"] == "ok");
}

/// Of several agents with their own directories and the same abandoned sockets, one gets the sockets, and the
/// others end. None of them removes a socket that another one serves.
#[test]
fn one_of_many_agents_gets_a_stale_socket() {
    for _ in 0..3 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("app.sock");
        drop(UnixListener::bind(&path).expect("a socket that nobody is behind"));
        let start = |n: usize| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
            command.arg("run").arg("--state-dir").arg(dir.path().join(format!("state-{n}")));
            command.arg("--socket").arg(&path).arg("--admin-socket").arg(dir.path().join(format!("admin-{n}.sock")));
            for name in ["NOTIFY_SOCKET", "RESYNCD_CONFIG", "RESYNCD_UPSTREAM", "RESYNCD_STATE_DIR"] {
                command.env_remove(name);
            }
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("the binary starts")
        };
        let mut agents = Started((0..5).map(start).collect());
        wait_until("all but one having ended", || agents.running() == 1);
        wait_until("the one that is left answering", || is_answered(&path));
        assert_eq!(agents.running(), 1);
    }
}

/// Agents that end with the test.
struct Started(Vec<Child>);

impl Started {
    fn running(&mut self) -> usize {
        self.0.iter_mut().filter_map(|child| child.try_wait().ok()).filter(Option::is_none).count()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

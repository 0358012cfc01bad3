//! Sockets passed by the service manager, which keeps them while the agent is
//! stopped. No client is refused during a restart, and the agent never removes them.

use crate::support::{Client, code, id_of, record, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A service manager in small: two listening sockets, and an agent that is started with them.
struct Manager {
    dir: TempDir,
    app: UnixListener,
    admin: UnixListener,
    child: Option<Child>,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bind = |name: &str| UnixListener::bind(dir.path().join(name)).expect("a socket is bound");
        let (app, admin) = (bind("app.sock"), bind("admin.sock"));
        Self { dir, app, admin, child: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Starts the agent with the admin socket as descriptor 3 and the app socket as 4: it is the names
    /// that count. A shell moves them there, because it keeps its process number when it becomes the agent.
    fn start(&mut self, names: &str, pid: &str) {
        let script = format!(
            "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_FDS=2 LISTEN_PID={pid} LISTEN_FDNAMES={names}; exec \"$@\""
        );
        let hand_on = |socket: &UnixListener| Stdio::from(OwnedFd::from(socket.try_clone().expect("a descriptor")));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_resyncd"), "run", "--state-dir"]);
        command.arg(self.path("state")).arg("--socket").arg(self.path("app.sock"));
        command.arg("--admin-socket").arg(self.path("admin.sock"));
        command.env_remove("NOTIFY_SOCKET").env_remove("RESYNCD_CONFIG").env_remove("RESYNCD_UPSTREAM");
        command.stdin(hand_on(&self.admin)).stdout(hand_on(&self.app));
        command.stderr(fs::File::options().create(true).append(true).open(self.path("log")).expect("a log"));
        self.child = Some(command.spawn().expect("a shell starts"));
    }

    fn end(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        wait_for("its end", || child.try_wait().expect("a child can be asked")).code()
    }

    fn stop(&mut self) -> Option<i32> {
        let pid = Pid::from_child(self.child.as_ref().expect("it runs"));
        kill_process(pid, Signal::TERM).expect("it can be signalled");
        self.end()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client that connects before the agent starts, or while it is stopped, is served once it runs.
#[test]
fn who_comes_while_the_agent_is_away_is_served_when_it_is_back() {
    let mut manager = Manager::new();
    let mut before = Client::connect(manager.path("app.sock"));
    before.line(&record("s-1", &json!({})).to_string());
    manager.start("admin:app", "$$");
    id_of(&before.reply());
    drop(before);
    assert_eq!(manager.stop(), Some(0), "{}", manager.log());
    let mut between = Client::connect(manager.path("app.sock"));
    between.line(&record("s-2", &json!({})).to_string());
    manager.start("admin:app", "$$");
    id_of(&between.reply());
    let mut admin = Client::connect(manager.path("admin.sock"));
    assert_eq!(admin.call(&json!({"op": "list"}))["total"], 2);
    assert_eq!(code(&between.call(&json!({"op": "list"}))), "forbidden", "the app socket is the app's");
}

/// Sockets that were passed to another process are that one's; and one that answers is not stolen.
#[test]
fn sockets_that_were_passed_to_another_process_are_not_taken() {
    let mut manager = Manager::new();
    manager.start("admin:app", "1");
    assert_eq!(manager.end(), Some(1));
    assert!(manager.log().contains("another program answers at"), "{}", manager.log());
}

/// One of them is enough: the other is bound, and removed at the end, as without a manager.
#[test]
fn what_is_not_passed_is_bound_and_what_is_unknown_is_said() {
    let mut manager = Manager::new();
    fs::remove_file(manager.path("admin.sock")).expect("it is there");
    manager.start("other:app", "$$");
    let mut app = Client::connect(manager.path("app.sock"));
    assert_eq!(app.call(&json!({"op": "hello"}))["ok"], true);
    let mut admin = Client::connect(manager.path("admin.sock"));
    assert_eq!(admin.call(&json!({"op": "stats"}))["ok"], true);
    assert_eq!(manager.stop(), Some(0));
    let log = manager.log();
    assert!(log.contains("activation_socket_unused") && log.contains("other"), "{log}");
    assert!(manager.path("app.sock").exists(), "the manager's");
    assert!(!manager.path("admin.sock").exists(), "our own");
}

/// A passed socket whose file is removed is the service manager's to make again: `health` names its unit.
#[test]
fn a_removed_socket_of_the_manager_is_told_of_with_its_unit() {
    let mut manager = Manager::new();
    manager.start("admin:app", "$$");
    let mut admin = Client::connect(manager.path("admin.sock"));
    assert_eq!(admin.call(&json!({"op": "health"}))["state"], "ok");
    fs::remove_file(manager.path("app.sock")).expect("it is there");
    let told = wait_for("health being critical", || {
        let health = admin.call(&json!({"op": "health"}));
        (health["state"] == "critical").then_some(health)
    });
    assert!(told["reasons"].to_string().contains("systemctl restart resyncd.socket"), "{told}");
    assert!(!manager.path("app.sock").exists(), "it is not made in the manager's place");
    assert_eq!(manager.stop(), Some(0));
}

//! Permissions, the log, the home directory, the service
//! manager; and that no other process can read the agent's memory.

use crate::support::{Agent, Plan, id_of, record, wait_for, wait_until};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// An unprivileged user, for tests that root runs.
const NOBODY: u32 = 65534;

/// A place where [`NOBODY`] may run the binary.
struct Guest {
    dir: TempDir,
    binary: PathBuf,
    root: bool,
}

impl Guest {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = rustix::process::geteuid().is_root();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
        let binary = dir.path().join("resyncd");
        fs::copy(env!("CARGO_BIN_EXE_resyncd"), &binary).expect("the binary is copied");
        Self { dir, binary, root }
    }

    /// A directory that belongs to the guest.
    fn own(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).expect("a directory is made");
        if self.root {
            chown(&dir, Some(NOBODY), Some(NOBODY)).expect("root may give away");
        }
        dir
    }

    /// `resyncd run` as the guest, with its sockets in `run` and this state directory.
    fn command(&self, run: &Path, state: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        let (app, admin) = (run.join("app.sock"), run.join("admin.sock"));
        command.env_clear().current_dir("/").arg("run").arg("--state-dir").arg(state);
        command.arg("--socket").arg(app).arg("--admin-socket").arg(admin);
        if self.root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

/// Wrong owner, or a mode that shuts it out: path, owner, mode and remedy, exit 1.
#[test]
fn a_directory_that_is_shut_is_an_error_with_its_owner_and_the_remedy() {
    let guest = Guest::new();
    let run = guest.own("run");
    let state = guest.dir.path().join("state");
    fs::create_dir(&state).expect("a directory is made");
    fs::set_permissions(&state, Permissions::from_mode(0o500)).expect("ours");
    let owner = fs::metadata(&state).expect("it is there").uid();
    let ended = guest.command(&run, &state).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    for part in [&state.display().to_string(), &format!("belongs to uid {owner}"), "mode 0500", "runs as uid"] {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
    assert!(said.contains("install -d -o") || said.contains("chmod"), "no remedy: {said}");
    assert!(!said.contains("chown"), "another user's directory is not given away: {said}");
}

/// A core dump holds no payload: the kernel makes none of this process, and lets no other process
/// of the same user look into it.
#[test]
fn its_memory_is_in_no_core_dump() {
    let guest = Guest::new();
    let (run, state) = (guest.own("run"), guest.own("state"));
    let mut child = guest.command(&run, &state).stderr(Stdio::null()).spawn().expect("the binary starts");
    wait_until("the admin socket", || run.join("admin.sock").exists());
    // The kernel gives what belongs to a process that must not be dumped to root.
    let owner = fs::metadata(format!("/proc/{}/mem", child.id())).map(|meta| meta.uid());
    child.kill().expect("a child can be killed");
    child.wait().expect("it ends");
    assert_eq!(owner.expect("the process ran"), 0);
}

/// Log pipe closed, no HOME, no directory for temporary files, umask 000: it goes on, and what it
/// makes is as closed as ever.
#[test]
fn it_goes_on_without_a_log_a_home_and_a_umask() {
    let guest = Guest::new();
    let (run, state) = (guest.own("run"), guest.own("state"));
    let mut shell = Command::new("sh");
    let script = r#"umask 000; exec "$@" 2>&1 | true"#;
    let agent = guest.command(&run, &state);
    shell.env_clear().env("TMPDIR", "/nowhere").env("PATH", "/usr/bin:/bin").current_dir("/");
    shell.args(["-c", script, "sh"]).arg(agent.get_program()).args(agent.get_args());
    let mut child = shell.process_group(0).spawn().expect("a shell starts");
    let app = run.join("app.sock");
    let mut client = wait_for("the app socket", || crate::support::Client::try_connect(app.clone()));
    // Each is a line of the log, which no process reads.
    for n in 0..20 {
        id_of(&client.call(&record(&format!("s-{n}"), &json!({}))));
    }
    for (name, mode) in [("sync_failures.db", 0o600), ("sync_failures.db-wal", 0o600), ("lock", 0o600)] {
        let meta = fs::metadata(state.join(name)).expect("the file is there");
        assert_eq!(format!("{:o}", meta.permissions().mode() & 0o777), format!("{mode:o}"), "{name}");
    }
    assert_eq!(fs::metadata(&app).expect("the socket is there").permissions().mode() & 0o777, 0o660);
    let group = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).expect("it runs");
    child.wait().expect("the shell ends");
}

/// The service manager is notified when clients are served, that the loop still runs, also when there is
/// nothing to do, and when it stops.
#[test]
fn the_service_manager_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(crate::support::PATIENCE)).expect("a time-out is set");
    let mut agent = Agent::prepare(&Plan::default());
    agent.up_with(&[("NOTIFY_SOCKET", path.to_str().expect("UTF-8")), ("WATCHDOG_USEC", "200000")]);
    let told = || {
        let mut buffer = [0; 64];
        let count = manager.recv(&mut buffer).expect("the manager is told something");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    (0..5).for_each(|_| assert_eq!(told(), "WATCHDOG=1"));
    assert_eq!(agent.stop().code(), Some(0));
    wait_until("the word that it stops", || told() == "STOPPING=1");
}

/// A watchdog that is meant for another process is not fed.
#[test]
fn a_watchdog_of_another_process_is_none_of_ours() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(crate::support::PATIENCE)).expect("a time-out is set");
    let socket = path.to_str().expect("UTF-8").to_owned();
    let mut agent = Agent::prepare(&Plan::default());
    agent.up_with(&[("NOTIFY_SOCKET", &socket), ("WATCHDOG_USEC", "200000"), ("WATCHDOG_PID", "1")]);
    agent.stop();
    let mut all = Vec::new();
    while all.last().is_none_or(|last| last != "STOPPING=1") {
        let mut buffer = [0; 64];
        let count = manager.recv(&mut buffer).expect("the manager is told something");
        all.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
    }
    assert_eq!(all, ["READY=1", "STOPPING=1"]);
}

//! Root in a state directory of another user: whatever that user put there, root writes nowhere else and gives
//! nothing away. And what the agent may not write is said at the start.

use crate::command_line::resyncd;
use crate::support::{Agent, Plan, code, id_of, record, wait_until};
use rustix::process::geteuid;
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};

const NOBODY: u32 = 65_534;

/// Everything that the agent keeps in its directory; `*` is the present month.
const NAMES: [&str; 17] = [
    "lock",
    "sync_failures.db",
    "sync_failures.db-wal",
    "sync_failures.db-shm",
    "sync_failures.db-journal",
    "ballast",
    "archive",
    "quarantine",
    "alert.json",
    "alert.json.new",
    "archive/*.jsonl",
    "archive/2026-01.jsonl",
    "quarantine/2026-01-01T00-00-00.000Z/sync_failures.db",
    "quarantine/2026-01-01T00-00-00.000Z/sync_failures.db-wal",
    "quarantine/2026-01-01T00-00-00.000Z/salvaged",
    "quarantine/2026-01-01T00-00-00.000Z/untold",
    "quarantine/2026-01-01T00-00-00.000Z.moving/sync_failures.db",
];

/// An agent's configuration, whose state directory belongs to another user.
fn of_nobody() -> Agent {
    let agent = Agent::prepare(&Plan::default());
    let dir = agent.state_dir();
    fs::create_dir(&dir).expect("a directory");
    fs::set_permissions(dir.parent().expect("a parent"), Permissions::from_mode(0o755)).expect("a mode");
    chown(&dir, Some(NOBODY), Some(NOBODY)).expect("it is given away");
    agent
}

fn commands(agent: &Agent) -> Vec<Output> {
    let record = ["record", "--type", "SALE", "--entity", "s-1", "--action", "CREATE", "--error", "x"];
    let discard = ["discard", "--all", "--reason", "r", "--yes"];
    let all: [&[&str]; 7] =
        [&record, &["list"], &discard, &["cleanup", "--yes"], &["doctor"], &["export"], &["status"]];
    all.iter().map(|words| resyncd(agent, words)).collect()
}

/// Puts a link in the place of a file of the agent's.
fn plant(agent: &Agent, name: &str, victim: &Path) {
    let month = Command::new("date").args(["-u", "+%Y-%m"]).output().expect("the month").stdout;
    let name = name.replace('*', String::from_utf8_lossy(&month).trim());
    let (dir, path) = (agent.state_dir(), agent.state_dir().join(name));
    for parent in path.ancestors().skip(1).take_while(|parent| **parent != dir).collect::<Vec<_>>().into_iter().rev() {
        if fs::symlink_metadata(parent).is_err() {
            fs::create_dir(parent).expect("a directory");
            chown(parent, Some(NOBODY), Some(NOBODY)).expect("it is given away");
        }
    }
    let made = path.with_extension("planted");
    symlink(victim, &made).expect("a link");
    // What is there is exchanged; a directory is moved away.
    if path.is_dir() {
        fs::rename(&path, path.with_extension("away")).expect("it is moved");
    }
    fs::rename(&made, &path).expect("it is put there");
}

#[test]
fn root_follows_no_link_of_the_agents_user() {
    if !geteuid().is_root() {
        return;
    }
    for (name, dangling) in NAMES.iter().flat_map(|name| [false, true].map(|dangling| (*name, dangling))) {
        // An agent that root starts runs as the directory's user.
        for runs in [false, true] {
            let mut agent = of_nobody();
            if runs {
                let home = agent.state_dir().parent().expect("a parent").to_owned();
                fs::set_permissions(home, Permissions::from_mode(0o777)).expect("a mode");
                agent.up();
            }
            let outside = agent.state_dir().parent().expect("a parent").join("outside");
            fs::create_dir(&outside).expect("a directory");
            let victim = outside.join("victim");
            if !dangling {
                fs::write(&victim, "precious").expect("a file");
                fs::set_permissions(&victim, Permissions::from_mode(0o600)).expect("a mode");
            }
            plant(&agent, name, &victim);
            let said = commands(&agent);
            let what = format!("{name}, dangling: {dangling}, with an agent: {runs}: {said:?}");
            if dangling {
                assert!(fs::symlink_metadata(&victim).is_err(), "made through {what}");
            } else {
                assert_eq!(fs::read_to_string(&victim).expect("it"), "precious", "{what}");
                assert_eq!(fs::metadata(&victim).expect("it").uid(), 0, "given away: {what}");
            }
            assert_eq!(fs::read_dir(&outside).expect("it").count(), usize::from(!dangling), "{what}");
        }
    }
}

#[test]
fn what_root_records_belongs_to_the_agents_user() {
    if !geteuid().is_root() {
        return;
    }
    let agent = of_nobody();
    let said = commands(&agent);
    assert!(said[0].status.success(), "{said:?}");
    for entry in fs::read_dir(agent.state_dir()).expect("it") {
        let path = entry.expect("an entry").path();
        assert_eq!(fs::symlink_metadata(&path).expect("it").uid(), NOBODY, "{}", path.display());
    }
}

#[test]
fn what_the_agent_may_not_write_is_said_at_the_start() {
    if !geteuid().is_root() {
        return;
    }
    for (name, mode) in [("", 0o500), ("", 0o000), ("sync_failures.db", 0o400), ("lock", 0o400), ("quarantine", 0o500)]
    {
        let agent = of_nobody();
        let dir = agent.state_dir();
        assert!(commands(&agent)[0].status.success());
        let path = if name.is_empty() { dir.clone() } else { dir.join(name) };
        if name == "quarantine" {
            fs::create_dir(&path).expect("a directory");
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("it is given away");
        }
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        // Root takes on the owner's ids, for whom the mode counts.
        let run = run_once(&agent);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(1), "{name} {mode:o}: {said}");
        assert!(said.contains(&path.display().to_string()) && said.contains(&format!("mode {mode:04o}")), "{said}");
        assert!(said.contains("chmod u+rwX") && !said.contains("chown"), "{said}");
        let looked = resyncd(&agent, &["doctor"]);
        let told = String::from_utf8_lossy(&looked.stdout).into_owned();
        assert!(told.contains("FIX state"), "{name} {mode:o}: {told}");
    }
}

/// A directory that its agent may not look into any more is not a deleted database: nothing is acknowledged meanwhile,
/// everybody is told why, and when it can be used again the agent goes on with the same file, without a restart.
#[test]
fn a_directory_that_is_shut_under_the_agent_is_named_and_used_again() {
    if !geteuid().is_root() {
        return;
    }
    let mut agent = of_nobody();
    let dir = agent.state_dir();
    fs::set_permissions(dir.parent().expect("a parent"), Permissions::from_mode(0o777)).expect("a mode");
    agent.up();
    id_of(&agent.call(&record("s-1", &json!({}))));
    fs::set_permissions(&dir, Permissions::from_mode(0o000)).expect("a mode");
    let request = record("s-2", &json!({"idempotency_key": "k-2"}));
    let is_clear = |text: &str| text.contains("mode 0000") && text.contains("chmod u+rwX");
    wait_until("the words about it", || {
        let reply = agent.call(&request);
        assert_eq!(code(&reply), "storage", "{reply}");
        is_clear(&reply.to_string()) && reply.to_string().contains("cannot be opened")
    });
    for (command, words) in [("status", "mode 0000"), ("doctor", "FIX state")] {
        let done = resyncd(&agent, &[command]);
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(!done.status.success() && said.contains(words), "{command}: {said}");
    }
    assert!(is_clear(&agent.log()), "{}", agent.log());
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).expect("a mode");
    wait_until("records being taken again", || agent.call(&request)["ok"] == true);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 2);
    assert!(!dir.join("quarantine").exists() && !agent.log().contains("event=database_replaced"), "{}", agent.log());
}

/// A `record` without an agent opens the store as the agent does.
fn run_once(agent: &Agent) -> Output {
    resyncd(agent, &["record", "--type", "SALE", "--entity", "s-2", "--action", "CREATE", "--error", "x"])
}

/// No advice suggests changing the owner of a system directory.
#[test]
fn no_advice_gives_away_what_is_not_the_agents() {
    if !geteuid().is_root() {
        return;
    }
    let run = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_resyncd")])
        .args(["record", "--type", "SALE", "--entity", "s-2", "--action", "CREATE", "--error", "x"])
        .env("RESYNCD_STATE_DIR", "/var/lib/resyncd-of-a-test")
        .env("RESYNCD_SOCKET", "/nonexistent/app.sock")
        .output();
    let Ok(run) = run else { return };
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(3), "{said}");
    assert!(said.contains("no agent answers at /nonexistent/app.sock") && !said.contains("chown"), "{said}");
    assert!(!Path::new("/var/lib/resyncd-of-a-test").exists());
}

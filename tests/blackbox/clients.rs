//! The clients of `packaging/examples/`, one file a language, each built and run as its first line says,
//! against the real agent: what it prints must be what the protocol page says is to be done.
//!
//! A language that is not installed is left out, loudly; with `RESYNCD_NEED_CLIENTS=1` it is an error.

use crate::support::{Agent, Client, Plan, Upstream, code, id_of, record, wait_for};
use rustix::net::listen;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, thread};

/// A client: its file, what it needs, how it is built, how it is started.
struct Language {
    /// Followed by `:` and the kind, where a file is run in several ways.
    file: &'static str,
    needs: &'static [&'static str],
    build: &'static str,
    run: &'static str,
    /// It is given the whole request; else the sale's entity and key.
    takes_request: bool,
}

const LANGUAGES: [Language; 11] = [
    of_ids("record.py", &["python3"], "", "python3 $E/record.py"),
    of_ids("record.js", &["node"], "", "node $E/record.js"),
    of_ids("record.js:module", &["node"], "cp $E/record.js record.mjs", "node record.mjs"),
    // Started from its source it would be compiled each time.
    of_request("record.java", &["java", "javac"], "javac -d . $E/record.java", "java Record"),
    of_request("record.c", &["cc"], "cc -Wall -Werror -o record_c $E/record.c", "./record_c"),
    of_ids("record.php", &["php"], "", "php $E/record.php"),
    of_request("record.go", &["go"], "go build -o record_go $E/record.go", "./record_go"),
    of_ids("record.rb", &["ruby"], "", "ruby $E/record.rb"),
    of_ids("record.pl", &["perl"], "", "perl $E/record.pl"),
    of_ids("record.sh", &["timeout"], "", "sh $E/record.sh"),
    of_request("record.cs", &["mcs", "mono"], "mcs -warnaserror -out:record.exe $E/record.cs", "mono record.exe"),
];

const fn of_ids(
    file: &'static str,
    needs: &'static [&'static str],
    build: &'static str,
    run: &'static str,
) -> Language {
    Language { file, needs, build, run, takes_request: false }
}

const fn of_request(
    file: &'static str,
    needs: &'static [&'static str],
    build: &'static str,
    run: &'static str,
) -> Language {
    Language { file, needs, build, run, takes_request: true }
}

/// The request that the others make of an entity and a key.
fn sale(entity: &str, key: &str) -> String {
    json!({
        "op": "record", "entity_type": "SALE", "entity_id": entity, "action": "CREATE",
        "error": "connect ETIMEDOUT", "payload": {"total": 12.5}, "idempotency_key": key,
    })
    .to_string()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples")
}

/// Runs a line in a directory, where `$E` are the examples and `resyncd` is the real one.
fn shell(dir: &Path, line: &str, socket: &Path) -> (bool, String) {
    let binary = Path::new(env!("CARGO_BIN_EXE_resyncd"));
    let programs =
        format!("{}:{}", binary.parent().expect("a directory").display(), env::var("PATH").unwrap_or_default());
    let mut command = Command::new("timeout");
    // A client that waits for ever is the fault that is looked for.
    command.args(["60", "sh", "-c", line]).current_dir(dir).stdin(Stdio::null());
    for name in ["RESYNCD_CONFIG", "RESYNCD_ADMIN_SOCKET", "RESYNCD_UPSTREAM"] {
        command.env_remove(name);
    }
    // Without an agent, the command line would write the record itself: here it has no directory for that either.
    command.env("RESYNCD_SOCKET", socket).env("RESYNCD_STATE_DIR", "/proc/none/resyncd").env("PATH", programs);
    command.env("E", examples()).env("GOCACHE", dir.join("go")).env("HOME", dir);
    let output = command.output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

fn is_there(tool: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().is_ok_and(|found| found.status.success())
}

/// The languages of this machine.
fn languages() -> Vec<&'static Language> {
    let (there, missing): (Vec<_>, Vec<_>) =
        LANGUAGES.iter().partition(|language| language.needs.iter().all(|tool| is_there(tool)));
    for language in missing {
        let what = format!("{} was NOT run: it needs {}", language.file, language.needs.join(", "));
        assert!(env::var_os("RESYNCD_NEED_CLIENTS").is_none(), "{what}");
        // Directly to the terminal: the output of a test that passes is hidden.
        writeln!(io::stderr(), "\n{what}").expect("standard error takes a line");
    }
    there
}

/// A listener in the place of the agent.
struct Stranger {
    dir: tempfile::TempDir,
    listener: UnixListener,
    /// Those who wait to be let in.
    queue: Vec<UnixStream>,
}

impl Stranger {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(dir.path().join("app.sock")).expect("a socket");
        Self { dir, listener, queue: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("app.sock")
    }

    /// Accepts no further connections.
    fn fill(&mut self) {
        listen(&self.listener, 0).expect("a shorter queue");
        self.queue.push(UnixStream::connect(self.path()).expect("the one that still gets a place"));
    }

    /// Reads a request from each client and replies with this, or closes the connection without a reply.
    fn says(self, word: Option<&'static str>) -> PathBuf {
        let path = self.path();
        thread::spawn(move || {
            let _dir = self.dir;
            for stream in self.listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut asked = String::new();
                let _ = BufReader::new(&stream).read_line(&mut asked);
                if let Some(code) = word {
                    let _ = writeln!(stream, "{}", json!({"ok": false, "error": {"code": code, "message": "…"}}));
                }
            }
        });
        path
    }
}

/// Every kind of peer that a client may meet.
struct World {
    willing: Agent,
    full: Agent,
    no_room: Agent,
    silent: Stranger,
    shut: Stranger,
    failing: PathBuf,
    stopping: PathBuf,
    hanging_up: PathBuf,
}

impl World {
    fn new() -> Self {
        let limited = |limits| Agent::start(&Plan { limits, ..Plan::default() });
        let full = limited("max_failures = 1");
        id_of(&full.call(&record("s-0", &json!({}))));
        let no_room = limited("min_free_disk = \"8000GiB\"");
        wait_for("the disk being looked at", || {
            let reply = no_room.call(&record("s-0", &json!({})));
            (reply["ok"] == false && code(&reply) == "disk_full").then_some(())
        });
        let mut shut = Stranger::new();
        shut.fill();
        Self {
            willing: Agent::start(&Plan::default()),
            full,
            no_room,
            silent: Stranger::new(),
            shut,
            failing: Stranger::new().says(Some("storage")),
            stopping: Stranger::new().says(Some("shutting_down")),
            hanging_up: Stranger::new().says(None),
        }
    }
}

/// An agent that has no place left, and those who hold the places.
fn too_many_jobs() -> (Agent, Vec<Client>) {
    let agent = Agent::start(&Plan { limits: "max_connections = 2", ..Plan::default() });
    let crowd = (0..2).map(|_| holding_a_place(&agent)).collect();
    (agent, crowd)
}

/// A connection that is not closed in favour of another one. The agent may still be closing the connection
/// through which its start was watched, and has no place for a new one until then.
pub(super) fn holding_a_place(agent: &Agent) -> Client {
    let mut client = wait_for("a place for a connection", || {
        let mut client = Client::try_connect(agent.app_path())?;
        (client.try_call(&json!({"op": "hello"}))?["ok"] == true).then_some(client)
    });
    // A client in the middle of a line is not idle.
    client.send("{\"op\":");
    client
}

fn meets_everybody(language: &Language, world: &World) {
    let file = language.file;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let nobody = dir.path().join("nobody.sock");
    if !language.build.is_empty() {
        let (built, said) = shell(dir.path(), language.build, &nobody);
        assert!(built, "{file} is not built: {said}");
    }
    let (entity, key) = (format!("s-{file}"), format!("till-07-{file}"));
    let check = |todo: &str, socket: &Path, entity: &str, key: &str| {
        let given = if language.takes_request { sale(entity, key) } else { format!("{entity}' '{key}") };
        let (ended, said) = shell(dir.path(), &format!("{} '{given}'", language.run), socket);
        assert!(ended, "{file} at {}: {said}", socket.display());
        let verdict = said.split_whitespace().next().unwrap_or_default();
        assert_eq!(verdict, todo, "{file} with {entity} {key} at {}: {said}", socket.display());
    };
    let willing = world.willing.app_path();
    check("recorded", &willing, &entity, &key);
    check("recorded", &willing, &entity, &key);
    let mut rows = world.willing.rows(&format!(
        "SELECT entity_type, action, error, payload, idempotency_key FROM sync_failures WHERE entity_id = '{entity}'"
    ));
    for row in &mut rows {
        let payload: Value = serde_json::from_str(row[3].as_str().expect("a payload")).expect("JSON");
        row[3] = payload["total"].clone();
    }
    assert_eq!(json!(rows), json!([["SALE", "CREATE", "connect ETIMEDOUT", 12.5, key]]), "{file}: recorded once");
    // The same key with other content is a conflict; a key with a blank is a bad request.
    check("fix", &willing, "another", &key);
    check("fix", &willing, &entity, "no key");
    check("alert", &world.full.app_path(), &entity, &key);
    check("alert", &world.no_room.app_path(), &entity, &key);
    let (busy, _crowd) = too_many_jobs();
    check("again", &busy.app_path(), &entity, &key);
    check("again", &world.failing, &entity, &key);
    check("again", &world.stopping, &entity, &key);
    check("again", &world.hanging_up, &entity, &key);
    check("again", &nobody, &entity, &key);
    check("again", &world.silent.path(), &entity, &key);
    check("again", &world.shut.path(), &entity, &key);
}

#[test]
fn every_client_says_what_is_to_be_done() {
    let world = World::new();
    let languages = languages();
    // Most of the time they wait for a peer that does not answer.
    thread::scope(|scope| {
        let runs: Vec<_> = languages.iter().map(|language| scope.spawn(|| meets_everybody(language, &world))).collect();
        let failed = runs.into_iter().filter_map(|run| run.join().err()).count();
        assert_eq!(failed, 0, "clients that do not say what is to be done");
    });
}

/// Beside what only imports, and brackets that stand alone.
fn lines_of_code(text: &str) -> Vec<&str> {
    let is_code = |line: &&str| {
        let line = line.trim();
        let only_brackets = line.chars().all(|c| "{}()[];".contains(c));
        let imports =
            ["//", "#", "import ", "using ", "use strict;", "require ", "package ", "<?php", "class Record {"];
        !only_brackets && !imports.iter().any(|word| line.starts_with(word))
    };
    text.lines().filter(is_code).collect()
}

#[test]
fn a_client_is_ten_lines_and_says_what_each_error_means() {
    let mut files: Vec<_> = fs::read_dir(examples())
        .expect("the examples")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("record."))
        .collect();
    files.sort();
    let mut known: Vec<_> = LANGUAGES.iter().filter_map(|language| language.file.split(':').next()).collect();
    known.sort_unstable();
    known.dedup();
    assert_eq!(files, known, "each example is run");
    for file in files {
        let text = fs::read_to_string(examples().join(&file)).expect("an example");
        let code = lines_of_code(&text);
        assert!(code.len() <= 10, "{file} has {} lines:\n{}", code.len(), code.join("\n"));
        assert!(text.lines().all(|line| line.chars().count() <= 128), "{file} has a line over 128 characters");
        for word in ["again", "alert", "fix", "storage", "disk_full", "bad_request", "conflict", "with the same key"] {
            assert!(text.contains(word), "{file} does not say {word}");
        }
    }
    assert_eq!(lines_of_code("import x\n\n  }\na = 1\n# why\n").len(), 1);
}

/// Where no agent runs, the command line writes the record itself, and the agent that starts later delivers it.
#[test]
fn the_shell_client_needs_no_agent() {
    let upstream = Upstream::willing();
    let mut agent = Agent::prepare(&Plan::to(upstream.url()));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = format!("RESYNCD_STATE_DIR='{}'", agent.state_dir().display());
    let (_, said) = shell(dir.path(), &format!("{state} sh $E/record.sh s-1 till-07-1"), &agent.app_path());
    assert!(said.starts_with("recorded"), "{said}");
    agent.up();
    let sent = upstream.wait_deliveries(1);
    assert_eq!((sent[0].entity(), sent[0].key()), ("s-1", "till-07-1"));
}

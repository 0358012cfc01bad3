//! The command line as people and scripts use it: exit statuses, what is printed where, with and
//! without a daemon.

use crate::support::{Agent, Answer, Plan, Upstream, wait_until};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a command against an agent's configuration, with something on standard input.
pub(crate) fn resyncd_reading(agent: &Agent, args: &[&str], input: &str) -> Output {
    resyncd_with(agent, args, input, &[])
}

/// The same with these variables in its environment.
pub(crate) fn resyncd_with(agent: &Agent, args: &[&str], input: &str, env: &[(&str, &str)]) -> Output {
    let dir = agent.state_dir();
    let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
    for name in ["STATE_DIR", "SOCKET", "ADMIN_SOCKET", "UPSTREAM", "LOG", "LANG"] {
        command.env_remove(format!("RESYNCD_{name}"));
    }
    command
        .env("LC_ALL", "C.UTF-8")
        .env("RESYNCD_CONFIG", dir.with_file_name("resyncd.toml"))
        .env_remove("SUDO_USER")
        .env_remove("COLUMNS")
        .args(args);
    command.envs(env.iter().copied());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    // Beside reading what it prints, or both ends wait for each other. A command that does not read
    // its input may have ended already.
    let (mut pipe, input) = (child.stdin.take().expect("a pipe"), input.to_owned());
    std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    child.wait_with_output().expect("it ends")
}

pub(crate) fn resyncd(agent: &Agent, args: &[&str]) -> Output {
    resyncd_reading(agent, args, "")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("answers are UTF-8")
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const RECORD: [&str; 9] =
    ["record", "--type", "SALE", "--entity", "s-1", "--action", "CREATE", "--error", "connect ETIMEDOUT"];

/// Reads and `record` work without the daemon; everything else says how to start it.
#[test]
fn without_a_daemon_records_are_kept_and_read() {
    let mut agent = Agent::prepare(&Plan::default());
    assert_eq!(resyncd(&agent, &[]).status.code(), Some(3), "neither agent nor store");
    let recorded = resyncd(&agent, &RECORD);
    assert_eq!(recorded.status.code(), Some(0), "{}", told(&recorded));
    let listed = resyncd(&agent, &["list", "--json"]);
    let failure: Value = serde_json::from_str(out(&listed).trim()).expect("one line of JSON");
    assert_eq!(failure["id"], out(&recorded).trim());
    assert_eq!(resyncd(&agent, &["show", "1"]).status.code(), Some(0));
    assert!(out(&resyncd(&agent, &["status"])).contains("not running"));
    let retried = resyncd(&agent, &["retry", "1"]);
    assert_eq!(retried.status.code(), Some(3));
    assert!(told(&retried).contains("resyncd run"), "{}", told(&retried));
    agent.up();
    assert_eq!(agent.ask(&json!({"op": "unsent"}))["unsent"], 1, "the daemon has it");
}

/// Replies in order, `op` may be left out, goes on after an error, then exit 1.
#[test]
fn a_stream_of_records_gets_one_reply_line_each() {
    let stream = |agent: &Agent| {
        let input = "{\"entity_type\":\"A\",\"entity_id\":\"1\",\"action\":\"X\",\"error\":\"e\",\"ref\":1}\n\n\
             nonsense\n{\"op\":\"record\",\"entity_type\":\"A\",\"entity_id\":\"2\",\"action\":\"X\",\"error\":\"e\",\"ref\":3}\n";
        let output = resyncd_reading(agent, &["record", "-"], input);
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        let replies: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(replies.len(), 3, "{replies:#?}");
        assert_eq!((&replies[0]["ref"], &replies[2]["ref"]), (&json!(1), &json!(3)));
        assert_eq!(replies[1]["error"]["code"], "bad_json");
    };
    let mut agent = Agent::prepare(&Plan::default());
    stream(&agent);
    agent.up();
    stream(&agent);
    assert_eq!(agent.ask(&json!({"op": "unsent"}))["unsent"], 4);
}

/// 20,000 records through one pipe, all kept.
#[test]
fn a_long_stream_loses_nothing() {
    let agent = Agent::start(&Plan::default());
    let input: String = (0..20_000)
        .map(|n| format!("{{\"entity_type\":\"A\",\"entity_id\":\"{n}\",\"action\":\"X\",\"error\":\"e\"}}\n"))
        .collect();
    let output = resyncd_reading(&agent, &["record", "-"], &input);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(out(&output).lines().count(), 20_000);
    assert_eq!(agent.ask(&json!({"op": "unsent"}))["unsent"], 20_000);
}

#[test]
fn a_payload_file_is_kept_byte_for_byte() {
    let agent = Agent::start(&Plan::default());
    let payload = "{\n  \"total\": 12.50,\t\"note\": \"añ — \u{1f600}\"\n}\n";
    let args = [&RECORD[..], &["--payload-file", "-"]].concat();
    assert_eq!(resyncd_reading(&agent, &args, payload).status.code(), Some(0));
    assert_eq!(agent.ask(&json!({"op": "get", "id": 1}))["failure"]["payload"], payload);
    let missing = resyncd(&agent, &[&RECORD[..], &["--payload-file", "/no/such/file"]].concat());
    assert_eq!(missing.status.code(), Some(2));
}

/// Exit 2 for wrong usage or configuration, with what was meant.
#[test]
fn wrong_usage_and_configuration_are_exit_2() {
    let agent = Agent::start(&Plan::default());
    for (args, word) in [
        (&["lst"][..], "list"),
        (&["record", "--type", "SALE"], "--entity"),
        (&["record", "--type", "SALE ", "--entity", "1", "--action", "C", "--error", "e"], "entity_type"),
        (&["retry"], "--status"),
        (&["flush", "12"], "retry 12"),
        (&["--config", "/no/such.toml", "list"], "/no/such.toml"),
    ] {
        let output = resyncd(&agent, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", told(&output));
        assert!(told(&output).contains(word), "{args:?}: {}", told(&output));
    }
    resyncd(&agent, &RECORD);
    let unconfirmed = resyncd(&agent, &["retry", "--all"]);
    assert_eq!(unconfirmed.status.code(), Some(2), "nobody is there to confirm");
    assert!(told(&unconfirmed).contains("--yes"));
    assert_eq!(resyncd(&agent, &["retry", "--all", "--yes"]).status.code(), Some(0));
    assert_eq!(resyncd(&agent, &["show", "99"]).status.code(), Some(1));
    assert_eq!(resyncd(&agent, &["pause", "nobody"]).status.code(), Some(1));
}

/// All problems of a configuration are reported at once, each with its place.
#[test]
fn config_check_says_everything() {
    let agent = Agent::prepare(&Plan { limits: "max_lin = \"1MiB\"\nmax_payload = \"lots\"", ..Plan::default() });
    let output = resyncd(&agent, &["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    let text = told(&output);
    for part in ["max_lin", "did you mean max_line?", "max_payload: expected a size", "resyncd.toml:"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// `show` says why, what comes next, and lists all attempts; also for a failure that has left.
#[test]
fn show_tells_the_story_of_a_failure() {
    let upstream = Upstream::start(|request| match (request.attempt(), request.header("resync-action")) {
        (1, Some("CREATE")) => Answer::json(422, r#"{"message":"unknown SKU\u001b[2J"}"#),
        _ => Answer::status(201),
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    resyncd(&agent, &[&RECORD[..], &["--now"]].concat());
    resyncd(&agent, &["record", "--type", "SALE", "--entity", "s-1", "--action", "UPDATE", "--error", "e"]);
    wait_until("it needs a person", || agent.ask(&json!({"op": "health"}))["critical"] == 1);
    let shown = out(&resyncd(&agent, &["show", "1"]));
    for part in [
        "SALE s-1 CREATE",
        "needs a person",
        "resyncd retry 1",
        "rejects it as it is",
        "HTTP 422: unknown SKU\\u{1b}[2J",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(out(&resyncd(&agent, &["show", "2"])).contains("waiting for an earlier change with the same order key"));
    let brief = out(&resyncd(&agent, &[]));
    assert!(brief.starts_with("1 NEEDS A PERSON, 1 waiting"), "{brief}");
    assert!(brief.contains("resyncd show 1   SALE s-1, refused"), "{brief}");
    assert_eq!(resyncd(&agent, &["retry", "1", "--reason", "fixed"]).status.code(), Some(0));
    wait_until("all is sent", || agent.ask(&json!({"op": "unsent"}))["unsent"] == 0);
    let gone = out(&resyncd(&agent, &["show", "1"]));
    for part in ["delivered to hq", "retry by", "fixed", "manual"] {
        assert!(gone.contains(part), "{part} in {gone}");
    }
    assert!(out(&resyncd(&agent, &[])).starts_with("ALL SENT."));
}

/// A closed pipe is no panic and no error.
#[test]
fn a_closed_pipe_is_no_fault() {
    let agent = Agent::start(&Plan::default());
    let input: String = (0..500)
        .map(|n| {
            format!(
                "{{\"entity_type\":\"A\",\"entity_id\":\"{n}\",\"action\":\"X\",\"error\":\"{}\"}}\n",
                "e".repeat(500)
            )
        })
        .collect();
    resyncd_reading(&agent, &["record", "-"], &input);
    let config = agent.state_dir().with_file_name("resyncd.toml");
    let line = format!("{} list --limit 500 --json | head -1", env!("CARGO_BIN_EXE_resyncd"));
    let output = Command::new("sh").args(["-c", &line]).env("RESYNCD_CONFIG", config).output().expect("a shell");
    assert_eq!((out(&output).lines().count(), told(&output)), (1, String::new()));
}

/// The main job on real input: exit 0 only if all of it really happened.
#[test]
fn the_demo_really_happens() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_resyncd")).args(["demo", "--lang", "en"]).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(0), "{}\n{}", out(&output), told(&output));
    for part in ["$ resyncd status", "$ kill -9", "accepted, the response was lost", "known by its key", "ALL SENT."] {
        assert!(out(&output).contains(part), "{part}");
    }
}

/// `completions SHELL`, `man DIR`, both of every command that there is.
#[test]
fn completions_and_manual_pages_know_every_command() {
    let agent = Agent::prepare(&Plan::default());
    let pages = agent.state_dir().with_file_name("man");
    let written = resyncd(&agent, &["man", pages.to_str().expect("UTF-8")]);
    assert!(written.status.success(), "{}", told(&written));
    let help = out(&resyncd(&agent, &["--help"]));
    // The commands stand indented below their groups' headings, above the options.
    let (_, groups) = help.split_once("\nLook:\n").expect("the first group of commands");
    let (groups, _) = groups.split_once("\nOptions:\n").expect("the options");
    let commands: Vec<&str> =
        groups.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    assert!(commands.len() > 15, "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&resyncd(&agent, &["completions", shell]));
        for command in &commands {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    for command in commands {
        let page = std::fs::read_to_string(pages.join(format!("resyncd-{command}.8"))).expect(command);
        assert!(page.contains(".TH") && page.contains(command), "{page}");
    }
}

//! The configuration as a person meets it: several files, what is said of wrong ones, what
//! is shown, the example; and card numbers, which `limits.card_numbers` decides about.

use super::command_line::{out, resyncd};
use crate::support::{Agent, Plan, Upstream, code, id_of, record};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Puts a piece into `resyncd.d` beside an agent's file.
fn piece(agent: &Agent, name: &str, text: &str) -> PathBuf {
    let dir = agent.state_dir().with_file_name("resyncd.d");
    fs::create_dir_all(&dir).expect("a directory");
    let path = dir.join(name);
    fs::write(&path, text).expect("a file");
    path
}

fn told(agent: &Agent, args: &[&str]) -> (Option<i32>, String) {
    let output = resyncd(agent, args);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn pieces_are_read_in_order_of_name_and_only_those() {
    let upstream = Upstream::willing();
    let mut agent = Agent::prepare(&Plan::impatient(upstream.url()));
    piece(&agent, "20-b.toml", "[[route]]\npath = \"/second\"\n");
    piece(&agent, "10-a.toml", "[[route]]\nentity_type = \"SALE\"\npath = \"/first\"\n");
    piece(&agent, "30-c.toml.bak", "nonsense");
    agent.up();
    for (kind, path) in [("SALE", "/sync/first"), ("RETURN", "/sync/second")] {
        let id = id_of(&agent.call(&record("e-1", &json!({"entity_type": kind, "retry": "now"}))));
        agent.wait_gone(&id);
        assert_eq!(upstream.deliveries().last().expect("it was sent").path, path);
    }
}

#[test]
fn all_that_is_wrong_in_several_files_is_told_at_once() {
    let mut agent = Agent::prepare(&Plan { retry: "max_retries = 4", ..Plan::default() });
    let a = piece(&agent, "a.toml", "[retry]\nmax_retries = 5\n").display().to_string();
    let b = "[retention]\n interval = \"0s\"\nhistry = \"1d\"\n[retry]\nmax_retries = 6\n";
    let b = piece(&agent, "b.toml", b).display().to_string();
    let (status, said) = told(&agent, &["config", "check"]);
    assert_eq!(status, Some(2), "{said}");
    for wanted in [
        format!("{b}:5:1: max_retries is already set at {a}:2"),
        format!("{b}:2:13: interval: expected"),
        "\n  2 |  interval = \"0s\"\n".to_owned(),
        format!("{b}:3:1: unknown key histry in [retention]; did you mean history?"),
    ] {
        assert!(said.contains(&wanted), "{wanted} is not in:\n{said}");
    }
    let (status, said) = agent.run_to_its_end(&[]);
    assert_eq!(status, Some(2), "the daemon does not start with it");
    assert!(said.contains("already set") && said.contains("did you mean history?"), "{said}");
    fs::remove_file(a).expect("it was there");
    piece(&agent, "b.toml", "[retention]\nhistory = \"1d\"\n");
    assert_eq!(told(&agent, &["config", "check"]).0, Some(0));
}

#[test]
fn what_is_in_force_is_shown_with_where_it_came_from() {
    let agent = Agent::prepare(&Plan {
        url: Some("https://hq.example/sync".into()),
        upstream: "headers = { Authorization = \"Bearer hush-hush\", X-Tenant = \"acme\" }",
        ..Plan::default()
    });
    let piece = piece(&agent, "a.toml", "[alerts]\nhigh_retries = 3\n").display().to_string();
    let shown = resyncd(&agent, &["config", "show", "--log", "warn"]);
    assert_eq!(shown.status.code(), Some(0));
    let shown = out(&shown);
    let line = |beginning: &str| {
        shown.lines().find(|line| line.starts_with(beginning)).unwrap_or_else(|| panic!("no {beginning} in:\n{shown}"))
    };
    assert!(line("log = \"warn\"").ends_with("# --log"), "{shown}");
    assert!(line("high_retries = 3.0").ends_with(&format!("# {piece}:2")), "{shown}");
    assert!(line("max_retries = 3").ends_with("# default"), "{shown}");
    assert!(line("headers.X-Tenant = \"acme\"").contains("resyncd.toml:"), "{shown}");
    assert!(line("headers.Authorization = \"***\"").contains("resyncd.toml:"), "{shown}");
    assert!(!shown.contains("hush-hush"), "{shown}");
    let lines = out(&resyncd(&agent, &["config", "show", "--json"]));
    let keys: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let url = keys.iter().find(|line| line["key"] == "upstream.hq.url").expect("the url");
    assert_eq!(url["value"], "\"https://hq.example/sync\"");
}

#[test]
fn the_example_is_a_right_configuration() {
    let agent = Agent::prepare(&Plan::default());
    let example = out(&resyncd(&agent, &["config", "example"]));
    fs::write(agent.state_dir().with_file_name("resyncd.toml"), &example).expect("a file");
    assert_eq!(told(&agent, &["config", "check"]), (Some(0), String::new()));
    let shown = out(&resyncd(&agent, &["config", "show", "--json"]));
    assert!(shown.lines().count() > 30, "{shown}");
}

const CARD: &str = "4111 1111 1111 1111";

fn with_card(entity: &str) -> Value {
    record(entity, &json!({"payload": {"card": CARD, "total": 12.5}}))
}

fn never_shown(agent: &Agent, replies: &[&Value]) {
    let log = agent.log();
    assert!(
        !log.contains("1111 1111") && replies.iter().all(|reply| !reply.to_string().contains("1111 1111")),
        "{log}"
    );
}

#[test]
fn a_card_number_is_warned_of_once_a_minute() {
    let agent = Agent::start(&Plan::default());
    let replies = ["s-1", "s-2", "s-3"].map(|entity| agent.call(&with_card(entity)));
    replies.iter().for_each(|reply| drop(id_of(reply)));
    let log = agent.log();
    assert_eq!(log.matches("event=card_number field=payload").count(), 1, "{log}");
    never_shown(&agent, &replies.each_ref());
}

#[test]
fn a_card_number_is_refused_where_that_is_wanted() {
    let agent = Agent::start(&Plan { limits: "card_numbers = \"refuse\"", ..Plan::default() });
    let in_payload = agent.call(&with_card("s-1"));
    let in_text = agent.call(&record("s-1", &json!({"payload": "<pan>4111111111111111</pan>"})));
    let in_error = agent.call(&record("s-1", &json!({"error": "HTTP 500: no card 4111111111111111"})));
    for (reply, field) in [(&in_payload, "payload"), (&in_text, "payload"), (&in_error, "error")] {
        assert_eq!((code(reply), reply["error"]["field"].as_str()), ("bad_request", Some(field)), "{reply}");
        assert!(reply["error"]["message"].as_str().expect("a message").contains("last four digits"), "{reply}");
    }
    never_shown(&agent, &[&in_payload, &in_text, &in_error]);
    assert_eq!(agent.call(&json!({"op": "unsent"}))["unsent"], 0, "nothing was recorded");
    id_of(&agent.call(&record("s-1", &json!({"payload": {"ean": 4_006_381_333_931_u64, "card": "****1111"}}))));
}

#[test]
fn nobody_looks_for_card_numbers_where_that_is_off() {
    let agent = Agent::start(&Plan { limits: "card_numbers = \"off\"", ..Plan::default() });
    id_of(&agent.call(&with_card("s-1")));
    assert!(!agent.log().contains("event=card_number"));
}

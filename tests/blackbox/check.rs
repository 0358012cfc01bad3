//! `check` as a monitoring system calls it, and `check --closing` as a cashier does.

use crate::command_line::{out, resyncd};
use crate::support::{Agent, Answer, Gate, Plan, Upstream, record, record_now, wait_until};
use serde_json::{Value, json};
use std::sync::Arc;

/// The exit status, and the one line.
#[track_caller]
fn check(agent: &Agent, args: &[&str]) -> (Option<i32>, String) {
    let output = resyncd(agent, &[&["check"], args].concat());
    let text = out(&output);
    assert_eq!(text.lines().count(), 1, "one line:\n{text}");
    (output.status.code(), text.trim_end().to_owned())
}

/// The performance data as a plugin's reader takes it apart: label, value with unit, four bounds.
#[track_caller]
fn performance(line: &str) -> Vec<(String, String)> {
    let (_, data) = line.split_once(" | ").unwrap_or_else(|| panic!("no performance data in {line}"));
    let figures = data.split(' ').map(|figure| {
        let (label, rest) = figure.split_once('=').expect("label=value");
        let label = label.strip_prefix('\'').and_then(|label| label.strip_suffix('\'')).expect("a quoted label");
        let value = rest.split(';').next().expect("a value");
        let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        assert!(number.parse::<f64>().is_ok(), "{figure}");
        assert!(matches!(&value[number.len()..], "" | "s" | "B"), "{figure}");
        assert!(rest.split(';').count() <= 5, "{figure}");
        (label.to_owned(), number.to_owned())
    });
    figures.collect()
}

#[test]
fn check_follows_the_agents_health() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.wait_upstream("online");
    let (status, line) = check(&agent, &[]);
    assert_eq!((status, line.split(" | ").next()), (Some(0), Some("RESYNCD OK - all sent")));
    agent.ask(&json!({"op": "pause"}));
    let (status, line) = check(&agent, &[]);
    assert!(status == Some(1) && line.starts_with("RESYNCD WARNING - hq paused"), "{line}");
    agent.ask(&json!({"op": "resume"}));
    let refused = agent.call(&record_now("s-1"));
    agent.wait_critical(refused["id"].as_str().expect("an id"));
    let (status, line) = check(&agent, &[]);
    assert!(status == Some(2) && line.starts_with("RESYNCD CRITICAL - 1 need"), "{line}");
    let figures = performance(&line);
    assert!(figures.contains(&("critical".to_owned(), "1".to_owned())), "{figures:?}");
    for label in ["pending", "held", "oldest_age", "database", "disk_free"] {
        assert!(figures.iter().any(|(found, _)| found == label), "{label} in {line}");
    }
    let reply: Value = serde_json::from_str(&check(&agent, &["--json"]).1).expect("the reply");
    assert_eq!(reply["state"], "critical");
}

/// The sentence is Spanish: its reasons are the agent's, in the agent's language. What a monitoring system reads is not.
#[test]
fn check_says_in_spanish_what_is_wrong() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan { agent: "language = \"es\"", ..Plan::to(upstream.url()) });
    agent.wait_upstream("online");
    let said = |line: &str| line.split(" | ").next().map(str::to_owned);
    assert_eq!(said(&check(&agent, &["--lang", "es"]).1).as_deref(), Some("RESYNCD OK - todo enviado"));
    agent.ask(&json!({"op": "pause"}));
    let (status, line) = check(&agent, &["--lang", "es"]);
    assert_eq!((status, said(&line).as_deref()), (Some(1), Some("RESYNCD WARNING - hq en pausa; 0 en espera")));
    assert!(performance(&line).contains(&("pending".to_owned(), "0".to_owned())), "{line}");
}

/// Exit 3 also for wrong usage and a wrong configuration: 2 means critical and would page an operator.
#[test]
fn whatever_keeps_check_from_knowing_is_unknown_on_one_line() {
    let mut agent = Agent::prepare(&Plan::default());
    for args in [&[][..], &["--closing"], &["--no-such-flag"], &["--wait", "1s"], &["--closing", "--wait", "soon"]] {
        let (status, line) = check(&agent, args);
        assert!(status == Some(3) && line.starts_with("RESYNCD UNKNOWN - "), "{args:?}: {status:?} {line}");
    }
    agent.configure(&Plan { retry: "max_retrys = 3", ..Plan::default() });
    let (status, line) = check(&agent, &[]);
    assert!(status == Some(3) && line.contains("max_retrys"), "{line}");
    agent.configure(&Plan::default());
    agent.up();
    assert_eq!(check(&agent, &[]).0, Some(0));
    agent.kill9();
    let (status, line) = check(&agent, &[]);
    assert!(status == Some(3) && line.contains("no agent answers"), "a dead agent's store is not asked: {line}");
    assert_eq!(resyncd(&agent, &["status", "--no-such-flag"]).status.code(), Some(2), "of others it is 2");
    assert_eq!(resyncd(&agent, &["check", "--help"]).status.code(), Some(0));
}

/// An agent that hangs is not waited for without an end.
#[test]
fn an_agent_that_does_not_answer_is_unknown() {
    let agent = Agent::start(&Plan::default());
    agent.signal(rustix::process::Signal::STOP);
    let (status, line) = check(&agent, &[]);
    agent.signal(rustix::process::Signal::CONT);
    assert!(status == Some(3) && line.contains("no agent answered at"), "{line}");
}

#[test]
fn closing_sends_what_waits_for_its_time_and_says_that_all_is_sent() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::to(upstream.url()) });
    agent.wait_upstream("online");
    agent.call(&record("s-1", &json!({"error": "HTTP 500: x"})));
    let (status, line) = check(&agent, &["--closing", "--wait", "30s"]);
    assert_eq!((status, line.as_str()), (Some(0), "ALL SENT. You can switch off; nothing is lost."));
    assert_eq!(upstream.deliveries().len(), 1);
    assert_eq!(check(&agent, &["--closing"]).0, Some(0));
}

#[test]
fn closing_waits_for_what_is_going_out() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| {
        shut.pass();
        Answer::status(200)
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.call(&record_now("s-1"));
    agent.call(&record_now("s-2"));
    upstream.wait_deliveries(1);
    let (status, line) = check(&agent, &["--closing", "--wait", "0s"]);
    assert!(status == Some(1) && line.starts_with("2 sales still to be sent; leave the till on."), "{line}");
    assert!(line.contains("Switching off loses nothing"), "{line}");
    gate.open();
    assert_eq!(check(&agent, &["--closing", "--wait", "30s"]).0, Some(0));
}

#[test]
fn closing_says_when_waiting_will_not_help() {
    let upstream = Upstream::start(|request| match request.entity() {
        "bad" => Answer::status(422),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let bad = agent.call(&record_now("bad"));
    agent.wait_critical(bad["id"].as_str().expect("an id"));
    agent.call(&record_now("good"));
    let (status, line) = check(&agent, &["--closing", "--wait", "30s"]);
    assert!(status == Some(2) && line.starts_with("1 entry needs support; waiting will not help."), "{line}");
    assert!(line.contains("Switching off loses nothing"), "{line}");
    wait_until("the good one having been sent", || upstream.deliveries_of("good").len() == 1);
}

#[test]
fn closing_names_a_line_that_is_down() {
    let mut upstream = Upstream::willing();
    upstream.down();
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.call(&record_now("s-1"));
    agent.wait_upstream("offline");
    let (status, line) = check(&agent, &["--closing", "--wait", "0s"]);
    assert!(status == Some(1) && line.contains("There is no connection to hq"), "{line}");
}

/// Where nothing can be changed, the cashier still learns what is unsent.
#[test]
fn closing_gives_its_verdict_although_the_flush_is_refused() {
    let upstream = Upstream::start(|_| Answer::status(503));
    let agent = Agent::start(&Plan::to(upstream.url()));
    assert_eq!(agent.call(&record("s-1", &json!({})))["ok"], true);
    let other = rusqlite::Connection::open(agent.database()).expect("the database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the write lock is free");
    let refused = agent.ask(&json!({"op": "flush", "reason": "x"}));
    assert_eq!(refused["error"]["code"], "storage", "{refused}");
    let output = resyncd(&agent, &["check", "--closing", "--wait", "0s"]);
    other.execute_batch("ROLLBACK").expect("it ends");
    assert_eq!((output.status.code(), out(&output).starts_with("1 sale still")), (Some(1), true), "{}", out(&output));
}

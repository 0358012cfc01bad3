//! Bounds over all clients together: memory, rounds and questions, while many of them misbehave at once.

use crate::support::{Agent, Client, Plan, id_of, lines, record, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// Megabytes of memory that the agent takes up.
fn memory(agent: &Agent) -> u64 {
    megabytes(agent, "VmRSS:")
}

/// Megabytes of one line of the process's status.
fn megabytes(agent: &Agent, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("the agent runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("its memory is told");
    let kilobytes: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    kilobytes / 1024
}

/// Holds the agent still while many clients send, so that it finds everything at once.
fn all_at_once<T>(agent: &Agent, send: impl FnOnce() -> T) -> T {
    agent.signal(Signal::STOP);
    let done = send();
    agent.signal(Signal::CONT);
    done
}

/// A byte that has come of the next line does not keep the memory of the long line before it.
#[test]
fn the_beginning_of_a_line_keeps_no_long_lines_memory() {
    let agent = Agent::start(&Plan::default());
    agent.call(&json!({"op": "hello"}));
    let before = memory(&agent);
    let line = "x".repeat(1_000_000);
    let mut clients: Vec<Client> = (0..60).map(|_| agent.app()).collect();
    for client in &mut clients {
        client.send(format!("{line}\n{{"));
        assert_eq!(client.reply()["ok"], false);
    }
    let grown = memory(&agent).saturating_sub(before);
    assert!(grown < 30, "60 clients hold a byte each, and the agent has grown by {grown} MB");
}

/// Clients that do not read their replies take no memory from other clients, on either socket.
#[test]
fn unread_replies_keep_nobody_from_sending_long_lines() {
    let agent = Agent::start(&Plan::default());
    let before = memory(&agent);
    let line = format!("{}\n", json!({"op": "hello", "ref": "x".repeat(3000)}));
    let mut deaf: Vec<Client> = (0..100).map(|_| agent.app()).collect();
    let mut app = agent.app();
    for round in 0..2 {
        for client in &mut deaf {
            client.write_timeout(Duration::from_millis(10));
            // Some of them are closed meanwhile.
            let _ = client.send_what_it_takes(line.repeat(130).as_bytes());
        }
        for n in 0..10 {
            let long = record(&format!("s-{round}-{n}"), &json!({"payload": "x".repeat(100_000)}));
            id_of(&app.call(&long));
            assert_eq!(agent.ask(&json!({"op": "list", "limit": 1}))["ok"], true);
        }
    }
    let grown = memory(&agent).saturating_sub(before);
    assert!(grown < 64, "the agent has grown by {grown} MB");
}

/// A round takes lines from all clients in turn: whoever has one line waits for a part of what the others sent at
/// the same time, not for all of it.
#[test]
fn one_line_does_not_wait_for_a_flood_of_others() {
    let agent = Agent::start(&Plan::default());
    let (clients, each) = (40, 200);
    let mut flood: Vec<Client> = (0..clients).map(|_| agent.app()).collect();
    let mut honest = agent.app();
    all_at_once(&agent, || {
        for (n, client) in flood.iter_mut().enumerate() {
            client.send(format!("{}\n", record(&format!("f-{n}"), &json!({}))).repeat(each));
        }
        honest.line(&record("honest", &json!({})).to_string());
    });
    let place = honest.reply()["seq"].as_u64().expect("a number");
    assert!(place <= 4200, "{place} records were taken before it, of {}", clients * each);
    for client in &mut flood {
        (0..each).for_each(|_| drop(id_of(&client.reply())));
    }
}

/// However many applications ask at once, all are answered, and so is an administrator.
#[test]
fn many_questions_at_once_are_all_answered() {
    let agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("s-1", &json!({}))));
    let mut apps: Vec<Client> = (0..150).map(|_| agent.app()).collect();
    let mut admin = agent.admin();
    all_at_once(&agent, || {
        for (n, client) in apps.iter_mut().enumerate() {
            let op = if n % 2 == 0 { "unsent" } else { "health" };
            client.line(&json!({"op": op, "ref": n}).to_string());
        }
        admin.line(&json!({"op": "list"}).to_string());
    });
    assert_eq!(admin.reply()["ok"], true);
    for (n, client) in apps.iter_mut().enumerate() {
        let reply = client.reply();
        assert_eq!((&reply["ok"], &reply["ref"]), (&json!(true), &json!(n)), "{reply}");
        let counted = if n % 2 == 0 { &reply["unsent"] } else { &reply["pending"] };
        assert_eq!(counted, &json!(1), "{reply}");
    }
}

/// Replies that an administrator asks for all at once are made one after the other.
#[test]
fn many_whole_failures_are_not_in_memory_at_once() {
    let agent = Agent::start(&Plan::default());
    // Six bytes of JSON for each byte.
    let payload = "\u{1}".repeat(170_000);
    let id = id_of(&agent.call(&record("s-1", &json!({"payload": payload}))));
    let before = memory(&agent);
    let mut admin = agent.admin();
    admin.send(format!("{}\n", json!({"op": "get", "id": id})).repeat(200));
    let mut most = 0;
    for _ in 0..200 {
        let reply: Value = admin.reply();
        assert_eq!(reply["ok"], true);
        most = most.max(memory(&agent).saturating_sub(before));
    }
    assert!(most < 40, "the agent has grown by {most} MB");
}

/// Half-closed or not, what a client sent before it went is handed on in its turn.
#[test]
fn what_was_sent_before_the_end_is_recorded() {
    let agent = Agent::start(&Plan::default());
    let clients: Vec<Client> = (0..30).map(|_| agent.app()).collect();
    all_at_once(&agent, || {
        for (n, mut client) in clients.into_iter().enumerate() {
            client.send(format!("{}\n", record(&format!("s-{n}"), &json!({}))).repeat(150));
            drop(client);
        }
    });
    wait_until("all records being there", || agent.cell("SELECT COUNT(*) FROM sync_failures") == 30 * 150);
}

/// An application that makes up a type for each failure makes no reply long.
#[test]
fn unsent_names_no_more_than_a_thousand_types() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    for part in 0..3 {
        let types = (0..500).map(|n| record("s-1", &json!({"entity_type": format!("T{part}-{n}")})));
        app.send(lines(types));
        (0..500).for_each(|_| drop(id_of(&app.reply())));
    }
    let unsent = app.call(&json!({"op": "unsent"}));
    assert_eq!((&unsent["unsent"], &unsent["on_their_way"]), (&json!(1500), &json!(1500)), "all are counted");
    assert_eq!(unsent["by_type"].as_array().map(Vec::len), Some(1000));
}

/// A list shows no payloads, and keeps none of them in memory.
#[test]
fn a_list_keeps_no_payloads_in_memory() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    for n in 0..250 {
        let large = json!({"payload": "x".repeat(200_000)});
        id_of(&app.call(&record(&format!("s-{n}"), &large)));
    }
    let before = megabytes(&agent, "VmHWM:");
    let listed = agent.ask(&json!({"op": "list", "limit": 1000}));
    assert_eq!(listed["failures"].as_array().map(Vec::len), Some(250));
    let grown = megabytes(&agent, "VmHWM:").saturating_sub(before);
    assert!(grown < 24, "{grown} MB for a list of failures with 50 MB of payloads");
}

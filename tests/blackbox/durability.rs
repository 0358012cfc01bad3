//! What was acknowledged is there after any crash, and repeating it is safe.

use crate::support::{Agent, Client, Plan, Upstream, id_of, record, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What one client got acknowledged before the agent died: the request and the id.
type Acknowledged = Vec<(Value, String)>;

/// Records as fast as answers come, until the agent is gone. The request without an answer comes back
/// as well.
fn storm(path: PathBuf, name: &str, count: &AtomicUsize) -> (Acknowledged, Value) {
    let mut client = Client::connect(path);
    let mut done = Acknowledged::new();
    loop {
        let n = done.len();
        // Every other one stays for its step; the others are delivered meanwhile.
        let (retry, error) = if n.is_multiple_of(2) { ("now", "connect ETIMEDOUT") } else { ("auto", "HTTP 500: no") };
        let more =
            json!({"retry": retry, "error": error, "idempotency_key": format!("{name}-{n}"), "payload": {"n": n}});
        // An entity has either kind, so that nothing that goes now waits behind one that does not.
        let request = record(&format!("{name}-{retry}-{}", n % 14), &more);
        match client.try_call(&request) {
            Some(reply) => done.push((request, id_of(&reply))),
            None => return (done, request),
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets four clients record until `enough`, kills the agent, and returns what they know.
fn storm_until_killed(agent: &mut Agent, round: usize, enough: impl Fn(usize) -> bool) -> Vec<(Acknowledged, Value)> {
    let count = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let (path, count) = (agent.app_path(), Arc::clone(&count));
            thread::spawn(move || storm(path, &format!("r{round}-c{n}"), &count))
        })
        .collect();
    wait_until("a storm in full swing", || enough(count.load(Ordering::Relaxed)));
    agent.kill9();
    clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
}

/// Recording the same key again answers `duplicate`.
#[test]
fn nothing_that_was_acknowledged_is_lost_by_kill_9() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let (mut acknowledged, mut open) = (Acknowledged::new(), Vec::new());
    for round in 0..3 {
        let known = upstream.deliveries().len();
        let storms =
            storm_until_killed(&mut agent, round, |count| count >= 100 && upstream.deliveries().len() >= known + 10);
        agent.up();
        for (done, last) in storms {
            acknowledged.extend(done);
            open.push(last);
        }
        // What is live is asked for first: it leaves only when the upstream has it.
        let live: BTreeSet<String> = ids(&agent.column("SELECT id FROM sync_failures"));
        let delivered: BTreeSet<String> = upstream.deliveries().iter().map(|request| request.id().to_owned()).collect();
        for (request, id) in &acknowledged {
            assert!(live.contains(id) || delivered.contains(id), "acknowledged and lost: {id}, {request}");
        }
        assert_eq!(agent.cell("PRAGMA integrity_check"), "ok", "integrity");
    }
    let mut app = agent.app();
    for (request, id) in &acknowledged {
        let again = app.call(request);
        assert_eq!((&again["duplicate"], &again["id"]), (&json!(true), &json!(id)), "{again}");
    }
    // What was not acknowledged may or may not be there; either way repeating it is right.
    for request in &open {
        let first = app.call(request);
        assert_eq!(app.call(request)["id"], json!(id_of(&first)));
    }
    all_that_may_go_arrives(&agent, &upstream);
}

/// Every failure whose turn it is gets delivered, and all its attempts are identical.
fn all_that_may_go_arrives(agent: &Agent, upstream: &Upstream) {
    wait_until("everything that waits for nothing being delivered", || {
        agent.cell("SELECT COUNT(*) FROM sync_failures WHERE http_status IS NULL") == 0
    });
    let mut first = std::collections::BTreeMap::new();
    for request in upstream.deliveries() {
        let (key, body) = (request.key().to_owned(), request.text().to_owned());
        let seen = first.entry(request.id().to_owned()).or_insert_with(|| (key.clone(), body.clone()));
        assert_eq!(*seen, (key, body), "two tries of {} differ", request.id());
    }
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE counted <> 0"), 0);
}

fn ids(values: &[Value]) -> BTreeSet<String> {
    values.iter().map(|value| value.as_str().expect("an id is a text").to_owned()).collect()
}

/// Half-close, and a client that disconnects before the reply; what it sent may be recorded,
/// and here it must be, because the agent got all of it.
#[test]
fn a_client_that_leaves_before_the_reply_is_recorded_once() {
    let agent = Agent::start(&Plan::default());
    let request = record("s-1", &json!({"idempotency_key": "k-1"}));
    let mut client = agent.app();
    client.line(&request.to_string());
    drop(client);
    wait_until("its record being in the table", || agent.cell("SELECT COUNT(*) FROM sync_failures") == 1);
    assert_eq!(agent.call(&request)["duplicate"], true);
}

/// `seq` is persisted and never used twice, also when the newest row has left before a crash.
#[test]
fn a_seq_is_never_used_twice() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let mut last = 0;
    for n in 0..3 {
        let reply = agent.call(&record(&format!("s-{n}"), &json!({"retry": "now"})));
        let seq = reply["seq"].as_i64().expect("a number");
        assert!(seq > last, "{seq} after {last}");
        last = seq;
        agent.wait_gone(&id_of(&reply));
        agent.restart_after_kill();
    }
}

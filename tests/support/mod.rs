//! The parts of black-box tests: a real agent ([`Agent`]), a client of its sockets ([`Client`]), an
//! upstream with programmable responses ([`Upstream`]), and a view of the database ([`table`]).
//!
//! Tests wait for conditions, with [`wait_for`]; nothing here sleeps in place of one. Every test
//! has its own directory, port and processes, so that all can run concurrently.

pub(crate) mod agent;
pub(crate) mod client;
pub(crate) mod table;
pub(crate) mod upstream;

pub(crate) use agent::{Agent, Plan};
pub(crate) use client::Client;
pub(crate) use upstream::{Answer, Upstream};

use serde_json::{Value, json};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long any expected event may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is checked.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `look` returns something; fails with `what` after [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_up_to(PATIENCE, what, look)
}

/// As [`wait_for`], for what is promised to take longer.
#[track_caller]
pub(crate) fn wait_up_to<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < patience, "waited {} s in vain for: {what}", patience.as_secs());
        thread::sleep(LOOK);
    }
}

/// Waits until `holds` returns true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// Checks continuously, for this time, that something does not happen. Only for promises about time.
#[track_caller]
pub(crate) fn stays(what: &str, time: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    wait_until(what, || {
        assert!(holds(), "it did not stay so that {what}; {} ms after the beginning", begun.elapsed().as_millis());
        begun.elapsed() >= time
    });
}

/// A `record` of an entity, whose application's own attempt got no response; `more` adds or
/// replaces fields, and `null` removes one.
pub(crate) fn record(entity_id: &str, more: &Value) -> Value {
    let mut request = json!({
        "op": "record", "entity_type": "SALE", "entity_id": entity_id, "action": "CREATE",
        "error": "connect ETIMEDOUT", "payload": {"total": 12.5},
    });
    for (name, value) in more.as_object().expect("more fields are an object") {
        match value {
            Value::Null => drop(request.as_object_mut().expect("an object").remove(name)),
            value => request[name] = value.clone(),
        }
    }
    request
}

/// A `record` that is sent as soon as its turn comes.
pub(crate) fn record_now(entity_id: &str) -> Value {
    record(entity_id, &json!({"retry": "now"}))
}

/// Requests as lines, to be sent in one write.
pub(crate) fn lines(requests: impl IntoIterator<Item = Value>) -> String {
    requests.into_iter().flat_map(|request| [request.to_string(), "\n".to_owned()]).collect()
}

/// The code of an error reply.
pub(crate) fn code(reply: &Value) -> &str {
    assert_eq!(reply["ok"], false, "an error was expected: {reply}");
    reply["error"]["code"].as_str().expect("an error has a code")
}

/// The id in an accepting reply to `record`.
#[track_caller]
pub(crate) fn id_of(reply: &Value) -> String {
    assert_eq!(reply["ok"], true, "refused: {reply}");
    reply["id"].as_str().expect("an acknowledged record has an id").to_owned()
}

/// A gate that blocks threads until it is opened.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Lets all threads through from now on.
    pub(crate) fn open(&self) {
        *self.open.lock().expect("no holder panics") = true;
        self.opened.notify_all();
    }

    /// Waits at the gate; gives up like [`wait_for`], so that no thread stays for ever.
    pub(crate) fn pass(&self) {
        let open = self.open.lock().expect("no holder panics");
        drop(self.opened.wait_timeout_while(open, PATIENCE, |open| !*open).expect("no holder panics"));
    }
}

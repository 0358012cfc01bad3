//! Shared by the tests of recipes: a recipe's file with other hosts and secrets, a business
//! system's books, and the checks that each recipe must pass.

use crate::support::upstream::Request;
use crate::support::{Agent, Answer, Plan, Upstream, id_of, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// `packaging/recipes`
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/recipes"))
}

/// A recipe for an agent. The secrets live as long as this value.
pub(crate) struct Recipe {
    text: String,
    secrets: TempDir,
}

impl Recipe {
    /// Reads a recipe such as `odoo/resyncd.toml`.
    #[track_caller]
    pub(crate) fn read(file: &str) -> Self {
        let path = folder().join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { text, secrets: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Replaces a host of the recipe by this port.
    #[track_caller]
    pub(crate) fn host(mut self, host: &str, port: u16) -> Self {
        assert!(self.text.contains(host), "the recipe knows no {host}");
        self.text = self.text.replace(host, &format!("http://127.0.0.1:{port}"));
        self
    }

    /// Replaces the file `/etc/resyncd/NAME` by this one.
    #[track_caller]
    pub(crate) fn secret(mut self, name: &str, contents: &str) -> Self {
        let (there, here) = (format!("/etc/resyncd/{name}"), self.secrets.path().join(name));
        assert!(self.text.contains(&there), "the recipe knows no {there}");
        self.put(name, contents);
        self.text = self.text.replace(&there, &here.display().to_string());
        self
    }

    /// Changes a secret, as an editor does.
    pub(crate) fn put(&self, name: &str, contents: &str) {
        let new = self.secrets.path().join("new");
        fs::write(&new, format!("{contents}\n")).expect("a file is written");
        fs::rename(new, self.secrets.path().join(name)).expect("a file is renamed");
    }

    /// An agent with this recipe, and without backoff.
    #[track_caller]
    pub(crate) fn serve(&self) -> Agent {
        let set = self.text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert!(!set.contains(".example") && !set.contains("/etc/resyncd"), "a place is left as it was:\n{set}");
        Agent::start(&Plan::of(self.text.clone()))
    }
}

/// The keys that a business system has booked, in order.
#[derive(Clone, Default)]
pub(crate) struct Books(Arc<Mutex<Vec<String>>>);

impl Books {
    pub(crate) fn book(&self, key: &str) {
        self.0.lock().expect("no holder panics").push(key.to_owned());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("no holder panics").clone()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.all().iter().any(|booked| booked == key)
    }

    /// Books the request, and responds; the first response to `lost-after` is lost, and the first
    /// request of `lost-before`.
    pub(crate) fn take(&self, request: &Request, key: &str, answer: Answer) -> Answer {
        let first = request.attempt() == 1;
        if request.entity() == "lost-before" && first {
            return Answer::Lost;
        }
        self.book(key);
        if request.entity() == "lost-after" && first { Answer::Lost } else { answer }
    }
}

/// The failure of a sale whose first attempt, by the application, got a "busy".
pub(crate) fn sale(entity: &str, payload: &Value) -> Value {
    json!({
        "op": "record", "entity_type": "SALE", "entity_id": entity, "action": "CREATE", "error": "HTTP 503: busy",
        "retry": "now", "idempotency_key": key_of(entity), "payload": payload,
    })
}

/// The key of that sale, with characters that need quoting.
pub(crate) fn key_of(entity: &str) -> String {
    format!("till-07/{entity}")
}

/// A port without a listener, which the system assigns to no other process meanwhile.
pub(crate) fn quiet_port() -> u16 {
    let mut holder = Upstream::willing();
    holder.down();
    holder.port()
}

/// PHP with this extension; `None` where it is missing and not required.
pub(crate) fn php(extension: &str) -> Option<Command> {
    let asked = Command::new("php").args(["-r", &format!("exit(extension_loaded('{extension}') ? 0 : 1);")]).status();
    let there = asked.is_ok_and(|status| extension.is_empty() || status.success());
    let needed = std::env::var_os("RESYNCD_NEED_PHP").is_some_and(|value| value == "1");
    assert!(there || !needed, "there is no php with {extension:?}");
    if !there {
        eprintln!("there is no php with {extension:?} here: that part was not run");
    }
    there.then(|| Command::new("php"))
}

/// Class and count of all attempts, in order.
pub(crate) fn tries(agent: &Agent) -> Value {
    json!(agent.rows("SELECT class, counted FROM sync_attempts ORDER BY id"))
}

/// Waits until it has left, and ends the agent's pauses, as an operator can; other tests check
/// their length.
#[track_caller]
pub(crate) fn wait_gone_in_a_hurry(agent: &Agent, id: &str) {
    wait_until("the failure leaving the table", || {
        if agent.call(&json!({"op": "health"}))["upstreams"][0]["state"] == "waiting" {
            agent.ask(&json!({"op": "resume"}));
        }
        agent.failure(id).is_none()
    });
}

/// Checks that it is delivered, and booked once under its key.
#[track_caller]
pub(crate) fn delivers(agent: &Agent, books: &Books, payload: &Value) {
    let id = id_of(&agent.call(&sale("s-1", payload)));
    agent.wait_gone(&id);
    assert_eq!(books.all(), [key_of("s-1")]);
    assert_eq!(tries(agent), json!([["delivered", 0]]));
}

/// Checks that it is rejected at once, and that the operator sees these words.
#[track_caller]
pub(crate) fn refuses(agent: &Agent, books: &Books, payload: &Value, words: &str) {
    let id = id_of(&agent.call(&sale("bad", payload)));
    let shown = agent.wait_critical(&id);
    assert_eq!((&shown["error_class"], &shown["error"]), (&json!("refused"), &json!(words)), "{shown}");
    assert_eq!(books.all(), [""; 0]);
}

/// Checks that it waits, uncounted, with this class; then it is delivered.
#[track_caller]
pub(crate) fn waits(agent: &Agent, books: &Books, entity: &str, payload: &Value, class: &str, words: &str) {
    let id = id_of(&agent.call(&sale(entity, payload)));
    agent.wait_gone(&id);
    assert_eq!(tries(agent), json!([[class, 0], ["delivered", 0]]));
    assert_eq!(agent.column("SELECT error FROM sync_attempts ORDER BY id LIMIT 1"), [json!(words)]);
    assert_eq!(books.all(), [key_of(entity)]);
}

/// After a lost response, the sale is looked up, found, and not sent again. After a lost request, it is
/// looked up, not found, and sent again. The same holds after an inconclusive attempt of the application.
#[track_caller]
pub(crate) fn looks_before_it_sends_again(agent: &Agent, books: &Books, payload: &Value) {
    for (entity, after) in [("lost-after", json!(["delivered"])), ("lost-before", json!(["unsure", "delivered"]))] {
        let before = agent.cell("SELECT COUNT(*) FROM sync_attempts").as_i64().expect("a number");
        let id = id_of(&agent.call(&sale(entity, payload)));
        wait_gone_in_a_hurry(agent, &id);
        let sql = format!("SELECT class FROM sync_attempts ORDER BY id LIMIT -1 OFFSET {}", before + 1);
        assert_eq!(json!(agent.column(&sql)), after, "{entity}");
    }
    let mut own = sale("own-try", payload);
    own["error"] = json!("read ECONNRESET");
    books.book(&key_of("own-try"));
    wait_gone_in_a_hurry(agent, &id_of(&agent.call(&own)));
    assert_eq!(books.all(), ["lost-after", "lost-before", "own-try"].map(key_of), "each is there once");
    assert_eq!(agent.cell("SELECT SUM(counted) FROM sync_attempts"), 0);
}

/// Checks that a wrong setup blocks the upstream and uses no retry of the sale.
#[track_caller]
pub(crate) fn blocks(agent: &Agent, payload: &Value) -> String {
    let id = id_of(&agent.call(&sale("s-1", payload)));
    agent.wait_upstream("blocked");
    wait_until("the attempt's end", || agent.failure(&id).is_some_and(|shown| shown["state"] != "in_flight"));
    let shown = agent.failure(&id).expect("it waits");
    assert_eq!((&shown["status"], &shown["retry_count"]), (&json!("pending"), &json!(0)), "{shown}");
    id
}

/// A request's JSON.
#[track_caller]
pub(crate) fn json_of(request: &Request) -> Value {
    serde_json::from_str(request.text()).unwrap_or_else(|error| panic!("{error}: {}", request.text()))
}

/// A path's value between `start` and `end`, decoded.
pub(crate) fn asked_for(path: &str, start: &str, end: &str) -> Option<String> {
    let value = path.strip_prefix(start)?.strip_suffix(end)?;
    Some(value.replace("%2F", "/").replace("%20", " "))
}

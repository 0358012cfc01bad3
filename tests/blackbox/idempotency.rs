//! `spec/02`, `idempotency_key`: recording again is safe as long as the history is kept.

use crate::support::{Agent, Answer, Plan, Upstream, code, id_of, record};
use serde_json::{Value, json};

fn keyed(more: &Value) -> Value {
    let mut request = record("s-1", &json!({"idempotency_key": "sale-1"}));
    for (name, value) in more.as_object().expect("an object") {
        request[name] = value.clone();
    }
    request
}

/// The same content under the same key is the first one, whatever the error says this time.
#[test]
fn the_same_again_is_the_first_one() {
    let agent = Agent::start(&Plan::default());
    let first = agent.call(&keyed(&json!({})));
    assert_eq!((&first["duplicate"], &first["status"]), (&json!(false), &json!("pending")));
    for more in [json!({}), json!({"error": "HTTP 500: other"}), json!({"retry": "now"}), json!({"order_key": "x"})] {
        let again = agent.call(&keyed(&more));
        let expected =
            json!({"ok": true, "id": first["id"], "seq": first["seq"], "status": "pending", "duplicate": true});
        assert_eq!(again, expected, "{more}");
    }
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 1);
    assert_eq!(agent.cell("SELECT error FROM sync_failures"), "connect ETIMEDOUT", "the first one is kept");
}

/// Other content under the same key is `conflict`, and nothing is recorded.
#[test]
fn other_content_under_the_same_key_is_a_conflict() {
    let agent = Agent::start(&Plan::default());
    id_of(&agent.call(&keyed(&json!({}))));
    for other in [
        json!({"payload": {"total": 12.6}}),
        json!({"payload": null}),
        json!({"payload": "{\"total\":12.5}"}),
        json!({"action": "UPDATE"}),
        json!({"entity_id": "s-2"}),
        json!({"entity_type": "RETURN"}),
    ] {
        let reply = agent.call(&keyed(&other));
        assert_eq!(code(&reply), "conflict", "{other}: {reply}");
    }
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 1);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM idempotency_keys"), 1);
}

/// The key was the application's own for its request: it is sent upstream on every try, and known
/// after delivery, after a restart too.
#[test]
fn a_key_is_sent_and_still_known_after_delivery() {
    let upstream = Upstream::start(|request| if request.nth == 1 { Answer::Lost } else { Answer::status(200) });
    let mut agent = Agent::start(&Plan::impatient(upstream.url()));
    let request = keyed(&json!({"retry": "now"}));
    let first = agent.call(&request);
    let id = id_of(&first);
    agent.wait_gone(&id);
    assert!(upstream.deliveries().iter().all(|request| request.key() == "sale-1" && request.id() == id));
    let delivered = json!({"ok": true, "id": id, "seq": first["seq"], "status": "delivered", "duplicate": true});
    assert_eq!(agent.call(&request), delivered);
    assert_eq!(code(&agent.call(&keyed(&json!({"payload": 1})))), "conflict");
    agent.restart_after_kill();
    assert_eq!(agent.call(&request), delivered);
    assert_eq!(upstream.deliveries().len(), 2, "nothing was sent again");
}

/// Its present status comes back, also `critical`.
#[test]
fn a_duplicate_tells_the_present_status() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let request = keyed(&json!({"retry": "now"}));
    let id = id_of(&agent.call(&request));
    agent.wait_critical(&id);
    let again = agent.call(&request);
    assert_eq!((&again["id"], &again["status"], &again["duplicate"]), (&json!(id), &json!("critical"), &json!(true)));
}

/// Two at once, in one write and over two connections: one is recorded.
#[test]
fn the_same_key_twice_at_once_is_recorded_once() {
    let agent = Agent::start(&Plan::default());
    let line = format!("{}\n", keyed(&json!({})));
    let mut clients = [agent.app(), agent.app()];
    for client in &mut clients {
        client.send(line.repeat(20));
    }
    let replies: Vec<Value> =
        clients.iter_mut().flat_map(|client| (0..20).map(|_| client.reply()).collect::<Vec<_>>()).collect();
    assert_eq!(replies.iter().filter(|reply| reply["duplicate"] == false).count(), 1);
    assert!(replies.iter().all(|reply| reply["id"] == replies[0]["id"] && reply["ok"] == true));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 1);
}

/// Without a key nothing is a duplicate.
#[test]
fn without_a_key_each_record_is_its_own() {
    let agent = Agent::start(&Plan::default());
    let [one, two] = [0, 1].map(|_| id_of(&agent.call(&record("s-1", &json!({})))));
    assert_ne!(one, two);
}

/// 1 to 255 visible ASCII characters.
#[test]
fn a_key_has_its_bounds() {
    let agent = Agent::start(&Plan::default());
    for wrong in
        [String::new(), "k".repeat(256), "with blank".into(), "new\nline".into(), "\u{e4}".into(), "\u{7f}".into()]
    {
        let reply = agent.call(&keyed(&json!({"idempotency_key": wrong})));
        assert_eq!((code(&reply), &reply["error"]["field"]), ("bad_request", &json!("idempotency_key")), "{wrong:?}");
    }
    for right in ["!".into(), "k".repeat(255), "~\"\\{}".into()] {
        let right: String = right;
        assert_eq!(agent.call(&keyed(&json!({"idempotency_key": right})))["ok"], true, "{right:?}");
    }
}

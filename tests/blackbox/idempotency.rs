//! Recording again is safe as long as the history is kept.

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

/// The application used this key for its own request: it is sent upstream on every attempt, and known
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

/// A row of another user, as it comes from another terminal.
fn import(agent: &Agent, id: &str, more: &Value) -> Value {
    let mut row = json!({"id": id, "entity_type": "SALE", "entity_id": "s-9", "action": "CREATE", "error": "HTTP 500",
        "payload": {"n": 1}, "source_uid": OTHER_USER});
    row.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    agent.ask(&json!({"op": "import", "row": row}))
}

const OTHER_USER: u32 = 4_000_000;

/// The upstream sees the key and not the user. It would take the second failure for a repetition of the first, and drop
/// it; so would it if the key is the id of a failure that was recorded without one.
#[test]
fn a_key_that_another_failure_is_sent_under_is_a_conflict() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    let keyless = id_of(&agent.call(&record("s-2", &json!({"retry": "now"}))));
    assert_eq!(import(&agent, "f-9", &json!({"idempotency_key": "sale-1"}))["result"], "imported");
    assert_eq!(import(&agent, "17", &json!({"entity_id": "s-17"}))["result"], "imported");
    let conflicts = |when: &str| {
        for key in ["sale-1", &keyless, &format!("{keyless}-r2"), "17", "17-r3", "f-9"] {
            let reply = agent.call(&keyed(&json!({"idempotency_key": key})));
            assert_eq!(
                (code(&reply), &reply["error"]["field"]),
                ("conflict", &json!("idempotency_key")),
                "{when} {key}"
            );
        }
    };
    conflicts("live:");
    agent.ask(&json!({"op": "resume"}));
    [keyless.as_str(), "f-9", "17"].iter().for_each(|id| agent.wait_gone(id));
    conflicts("delivered:");
    let free = id_of(&agent.call(&keyed(&json!({"idempotency_key": "17-r", "retry": "now"}))));
    agent.wait_gone(&free);
    let mut keys: Vec<String> = upstream.deliveries().iter().map(|sent| sent.key().to_owned()).collect();
    keys.sort();
    let mut expected = [keyless, "sale-1".into(), "17".into(), "17-r".into()];
    expected.sort();
    assert_eq!(keys, expected);
}

/// Two users may record the same thing: the upstream recognises it by the key, as it should.
#[test]
fn the_same_content_under_the_key_of_another_user_is_recorded() {
    let agent = Agent::start(&Plan::default());
    let same = json!({"idempotency_key": "sale-1", "entity_id": "s-1", "payload": {"total": 12.5}});
    assert_eq!(import(&agent, "f-9", &same)["result"], "imported");
    let reply = agent.call(&keyed(&json!({})));
    assert_eq!((&reply["ok"], &reply["duplicate"]), (&json!(true), &json!(false)), "{reply}");
}

/// An imported failure keeps its id, and is sent under it if it has no key. It may have arrived under it, so it is not
/// sent under another one.
#[test]
fn an_imported_failure_whose_key_is_taken_is_a_conflict() {
    let agent = Agent::start(&Plan::default());
    id_of(&agent.call(&keyed(&json!({}))));
    let keyless = id_of(&agent.call(&record("s-2", &json!({}))));
    for (id, more) in [
        ("sale-1", json!({})),
        ("f-1", json!({"idempotency_key": "sale-1"})),
        ("f-2", json!({"idempotency_key": keyless})),
        (&format!("{keyless}-r2"), json!({})),
    ] {
        let reply = import(&agent, id, &more);
        assert_eq!((code(&reply), &reply["error"]["field"]), ("conflict", &json!("idempotency_key")), "{id}: {reply}");
    }
    assert_eq!(import(&agent, "sale-1", &json!({"idempotency_key": "f-3"}))["result"], "imported");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 3);
}

/// The key of an edit is not one that an application has given to another failure before.
#[test]
fn the_key_of_an_edit_is_not_that_of_another_failure() {
    let agent = Agent::start(&Plan::default());
    for key in ["17-r2", "17-r3"] {
        id_of(&agent.call(&record(key, &json!({"idempotency_key": key}))));
    }
    assert_eq!(import(&agent, "17", &json!({}))["result"], "imported");
    let edit = json!({"op": "edit", "id": "17", "payload": {"n": 2}, "new_key": true, "reason": "x"});
    assert_eq!(agent.ask(&edit)["idempotency_key"], "17-r4");
}

//! `edit`: what an operator may change of a failure, under which key it is sent afterwards,
//! and its place in the order.

use crate::support::{Agent, Answer, Gate, Plan, Upstream, code, id_of, record, record_now, wait_for, wait_until};
use serde_json::{Value, json};
use std::sync::Arc;

fn edit(id: &str, more: &Value) -> Value {
    let mut request = json!({"op": "edit", "id": id, "reason": "wrong SKU"});
    for (name, value) in more.as_object().expect("fields") {
        request[name] = value.clone();
    }
    request
}

/// An upstream that refuses whatever has the word `bad` in its payload.
fn picky() -> Upstream {
    Upstream::start(|request| {
        if request.text().contains("\"bad\"") {
            Answer::json(422, r#"{"message":"unknown SKU"}"#)
        } else {
            Answer::status(201)
        }
    })
}

/// A fresh budget, due now, under a new key; the old payload and both digests are kept.
#[test]
fn an_edited_payload_is_delivered_under_a_new_key_and_the_old_one_is_kept() {
    let upstream = picky();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let more = json!({"retry": "now", "payload": {"sku": "bad"}, "idempotency_key": "pos-1", "error": null});
    let id = id_of(&agent.call(&record("s-1", &more)));
    agent.wait_critical(&id);
    let reply = agent.ask(&edit(&id, &json!({"payload": {"sku": 4711, "price": 12.50}, "by": "anna"})));
    let key = format!("{id}-r2");
    assert_eq!(
        reply,
        json!({"ok": true, "id": id, "seq": 1, "status": "pending", "idempotency_key": key, "key_kept": false})
    );
    agent.wait_gone(&id);
    let sent = upstream.deliveries();
    assert_eq!((sent[0].key(), sent[1].key(), sent.len()), ("pos-1", key.as_str(), 2));
    assert!(sent[1].text().contains(r#""payload":{"price":12.5,"sku":4711}"#), "{}", sent[1].text());
    let audit = "SELECT operation, reason, claimed_by, old_payload, sha256_before, sha256_after, entity_id, changes FROM audit_log";
    let row = &agent.rows(audit)[0];
    assert_eq!(row[..4], [json!("edit"), json!("wrong SKU"), json!("anna"), json!(r#"{"sku":"bad"}"#)]);
    // sha256sum of the two texts.
    assert_eq!(row[4], "fa5b29b6877ff34460bd0e42e1a3a00b0c9e8e897c33dbdbc91e2dbf0c4549f2");
    assert_eq!(row[5], "1d8a8ba3ca2b4300a70cdd53b5aa22530176e6a02e2eda1d0b5c480e78c718cf");
    assert_eq!(row[6], "s-1");
    assert_eq!(row[7], json!({"idempotency_key": ["pos-1", key]}).to_string());
    // The application's own key still means this failure.
    let again = agent.call(&record("s-1", &more));
    assert_eq!((&again["duplicate"], &again["status"], &again["id"]), (&json!(true), &json!("delivered"), &json!(id)));
}

/// After an unsure try the key stays, unless a new one is asked for; each edit has its own.
#[test]
fn what_may_have_arrived_keeps_its_key() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    // The application's own attempt got no answer: it may have arrived.
    let id = id_of(&agent.call(&record("s-1", &json!({"idempotency_key": "pos-1"}))));
    let kept = agent.ask(&edit(&id, &json!({"payload": "a"})));
    assert_eq!((&kept["idempotency_key"], &kept["key_kept"]), (&json!("pos-1"), &json!(true)), "{kept}");
    let new = agent.ask(&edit(&id, &json!({"payload": "b", "new_key": true})));
    assert_eq!((&new["idempotency_key"], &new["key_kept"]), (&json!(format!("{id}-r2")), &json!(false)), "{new}");
    agent.restart_after_kill();
    let next = agent.ask(&edit(&id, &json!({"payload": "c"})));
    assert_eq!(next["idempotency_key"], format!("{id}-r3"), "nothing was tried under -r2: {next}");
    let shown = agent.failure(&id).expect("it is live");
    assert_eq!(
        (&shown["payload"], &shown["payload_kind"], &shown["retry_count"]),
        (&json!("c"), &json!("text"), &json!(0))
    );
}

/// A refusal does not tell that nothing had arrived before ("exists already" is one): the key stays, and the
/// reply says so. A new one can be asked for.
#[test]
fn a_refusal_after_a_lost_answer_keeps_the_key() {
    let upstream = picky();
    let agent = Agent::start(&Plan::to(upstream.url()));
    // A lost answer of the application's own attempt, then a refusal of ours.
    let bad = json!({"retry": "now", "payload": "bad", "idempotency_key": "pos-1"});
    let id = id_of(&agent.call(&record("s-1", &bad)));
    agent.wait_critical(&id);
    let reply = agent.ask(&edit(&id, &json!({"payload": "good"})));
    assert_eq!((&reply["idempotency_key"], &reply["key_kept"]), (&json!("pos-1"), &json!(true)), "{reply}");
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries().iter().map(|sent| sent.key().to_owned()).collect::<Vec<_>>(), ["pos-1", "pos-1"]);
    let more = json!({"retry": "now", "payload": "bad", "idempotency_key": "pos-2"});
    let other = id_of(&agent.call(&record("s-2", &more)));
    agent.wait_critical(&other);
    let reply = agent.ask(&edit(&other, &json!({"payload": "good", "new_key": true})));
    assert_eq!(
        (&reply["idempotency_key"], &reply["key_kept"]),
        (&json!(format!("{other}-r2")), &json!(false)),
        "{reply}"
    );
    agent.wait_gone(&other);
}

/// Where the application gave no key, its lost request had none that the upstream could know.
#[test]
fn a_refusal_after_the_applications_lost_answer_without_a_key_gives_a_new_one() {
    let upstream = picky();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "payload": "bad"}))));
    agent.wait_critical(&id);
    let reply = agent.ask(&edit(&id, &json!({"payload": "good"})));
    assert_eq!(reply["idempotency_key"], format!("{id}-r2"), "{reply}");
    agent.wait_gone(&id);
}

/// The same, where the lost answer was our own.
#[test]
fn a_refusal_after_our_own_lost_answer_keeps_the_key() {
    let upstream = Upstream::start(|request| match request.nth {
        1 => Answer::Lost,
        2 => Answer::json(422, r#"{"message":"exists already"}"#),
        _ => Answer::status(201),
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "error": null}))));
    agent.wait_critical(&id);
    let reply = agent.ask(&edit(&id, &json!({"payload": "good"})));
    assert_eq!((&reply["idempotency_key"], &reply["key_kept"]), (&json!(id), &json!(true)), "{reply}");
    agent.wait_gone(&id);
    assert!(upstream.deliveries().iter().all(|sent| sent.key() == id));
}

/// The lost answer counts also after an edit that gave the failure another number.
#[test]
fn a_refusal_under_a_new_number_after_a_lost_answer_keeps_the_key() {
    let upstream = Upstream::start(|request| match request.entity() {
        "s-1" => Answer::Lost,
        _ if request.text().contains("good") => Answer::status(201),
        _ => Answer::json(422, r#"{"message":"exists already"}"#),
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "error": null}))));
    wait_until("a lost answer", || agent.cell("SELECT count(*) > 0 FROM sync_attempts") == 1);
    // While it is in flight it cannot be edited.
    let moved = wait_for("an edit", || {
        Some(agent.ask(&edit(&id, &json!({"entity_id": "s-2"})))).filter(|reply| reply["ok"] == true)
    });
    assert_eq!((&moved["seq"], &moved["key_kept"]), (&json!(2), &json!(true)), "{moved}");
    agent.wait_critical(&id);
    let reply = agent.ask(&edit(&id, &json!({"payload": "good"})));
    assert_eq!((&reply["idempotency_key"], &reply["key_kept"]), (&json!(id), &json!(true)), "{reply}");
    agent.wait_gone(&id);
    assert!(upstream.deliveries().iter().all(|sent| sent.key() == id));
}

/// Another entity means a new number, behind all that were recorded before; what it blocked goes.
#[test]
fn an_edit_of_the_entity_goes_to_the_end_of_the_new_order_and_frees_the_old_one() {
    let upstream = picky();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let bad = id_of(&app.call(&record("s-1", &json!({"retry": "now", "payload": "bad"}))));
    agent.wait_critical(&bad);
    let behind = id_of(&app.call(&record("s-1", &json!({"retry": "now", "action": "UPDATE"}))));
    agent.ask(&json!({"op": "pause"}));
    let older = id_of(&app.call(&record_now("s-2")));
    let reply = agent.ask(&edit(&bad, &json!({"entity_id": "s-2", "payload": "good"})));
    assert_eq!((&reply["ok"], &reply["seq"]), (&json!(true), &json!(4)), "{reply}");
    agent.restart_after_kill();
    let moved = agent.failure(&bad).expect("it is live");
    assert_eq!((&moved["state"], &moved["blocked_by"]), (&json!("blocked"), &json!(older)), "{moved}");
    assert_eq!(agent.failure(&behind).expect("it is live")["state"], "due", "nothing is before it any more");
    assert_eq!(
        agent.cell("SELECT changes FROM audit_log WHERE operation = 'edit'"),
        json!({"entity_id": ["s-1", "s-2"], "idempotency_key": [bad, format!("{bad}-r2")]}).to_string()
    );
    agent.ask(&json!({"op": "resume"}));
    for id in [&behind, &older, &bad] {
        agent.wait_gone(id);
    }
    let sent: Vec<String> = upstream.deliveries().iter().skip(1).map(|sent| sent.id().to_owned()).collect();
    let place = |id: &String| sent.iter().position(|sent| sent == id).expect("it was sent");
    assert!(place(&older) < place(&bad), "{sent:?}");
    assert_eq!(sent.len(), 3);
}

/// Under an order key of its own the failure stays there, and goes to its end.
#[test]
fn an_edit_of_the_entity_under_an_order_key_goes_to_its_end() {
    let upstream = picky();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let under = |entity, payload| record(entity, &json!({"order_key": "o", "retry": "now", "payload": payload}));
    let first = id_of(&app.call(&under("s-1", "bad")));
    agent.wait_critical(&first);
    let second = id_of(&app.call(&under("s-2", "good")));
    agent.ask(&edit(&first, &json!({"entity_id": "s-3", "payload": "good"})));
    agent.wait_gone(&second);
    agent.wait_gone(&first);
    let sent: Vec<String> = upstream.deliveries().iter().map(|sent| sent.entity().to_owned()).collect();
    assert_eq!(sent, ["s-1", "s-2", "s-3"]);
}

/// A change of payload or action alone keeps the number and the place.
#[test]
fn an_edit_of_the_action_keeps_its_place() {
    let upstream = picky();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let head = id_of(&app.call(&record("s-1", &json!({"retry": "now", "payload": "bad"}))));
    agent.wait_critical(&head);
    let next = id_of(&app.call(&record_now("s-1")));
    let reply = agent.ask(&edit(&head, &json!({"action": "UPSERT", "payload": "good"})));
    assert_eq!(reply["seq"], 1, "{reply}");
    agent.wait_gone(&next);
    let actions: Vec<String> =
        upstream.deliveries().iter().map(|sent| sent.header("Resync-Action").expect("an action").to_owned()).collect();
    assert_eq!(actions, ["CREATE", "UPSERT", "CREATE"]);
}

/// What is in flight is a conflict; what is held stays held.
#[test]
fn what_is_in_flight_is_not_edited_and_what_is_held_stays_held() {
    let gate = Arc::new(Gate::default());
    let upstream = Upstream::start({
        let gate = Arc::clone(&gate);
        move |_| {
            gate.pass();
            Answer::status(201)
        }
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let flying = id_of(&agent.call(&record_now("s-1")));
    let next = id_of(&agent.call(&record_now("s-1")));
    agent.wait_for_failure(&flying, "the failure being in flight", |failure| failure["state"] == "in_flight");
    assert_eq!(code(&agent.ask(&edit(&flying, &json!({"payload": "x"})))), "conflict");
    assert_eq!(agent.ask(&json!({"op": "hold", "ids": [next]}))["changed"], 1);
    let held = agent.ask(&edit(&next, &json!({"payload": "changed"})));
    assert_eq!((&held["ok"], &held["status"]), (&json!(true), &json!("held")), "{held}");
    gate.open();
    agent.wait_gone(&flying);
    assert_eq!(agent.failure(&next).expect("it is live")["state"], "held");
    agent.ask(&json!({"op": "release", "ids": [next]}));
    agent.wait_gone(&next);
    assert!(upstream.deliveries()[1].text().contains("changed"));
}

/// `editable = false`; and a failure without a route gets one by being edited.
#[test]
fn routes_say_what_may_be_edited_and_an_edit_finds_its_route() {
    let upstream = Upstream::willing();
    let routes = "[[route]]\nentity_type = \"FISCAL\"\neditable = false\n[[route]]\nentity_type = \"SALE\"\n";
    let agent = Agent::start(&Plan::with(upstream.url(), routes));
    agent.ask(&json!({"op": "pause"}));
    let fiscal = id_of(&agent.call(&record("f-1", &json!({"entity_type": "FISCAL"}))));
    let lost = id_of(&agent.call(&record("x-1", &json!({"entity_type": "SAEL"}))));
    assert_eq!(agent.wait_critical(&lost)["error_class"], "no_route");
    assert_eq!(code(&agent.ask(&edit(&fiscal, &json!({"payload": "x"})))), "conflict");
    assert_eq!(code(&agent.ask(&edit(&lost, &json!({"entity_type": "FISCAL"})))), "conflict");
    let still = agent.ask(&edit(&lost, &json!({"entity_type": "SALES"})));
    assert_eq!(still["status"], "critical", "there is no route for that either: {still}");
    assert_eq!(agent.failure(&lost).expect("it is live")["error_class"], "no_route");
    let found = agent.ask(&edit(&lost, &json!({"entity_type": "SALE"})));
    assert_eq!(found["status"], "pending", "{found}");
    let shown = agent.failure(&lost).expect("it is live");
    assert_eq!((&shown["upstream"], &shown["error_class"]), (&json!("hq"), &Value::Null));
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&lost);
}

#[test]
fn an_edit_that_says_nothing_or_too_much_is_refused() {
    let agent = Agent::start(&Plan { limits: "max_payload = \"1KiB\"", ..Plan::default() });
    let id = id_of(&agent.call(&record("s-1", &json!({"payload": {"a": 1}}))));
    for wrong in [
        json!({}),
        json!({"payload": {"a": 1}}),
        json!({"entity_id": "s-1"}),
        json!({"payload": "x".repeat(1025)}),
        json!({"entity_type": "S A "}),
        json!({"action": ""}),
        json!({"paylod": "x"}),
    ] {
        assert_eq!(code(&agent.ask(&edit(&id, &wrong))), "bad_request", "{wrong}");
    }
    assert_eq!(code(&agent.ask(&edit("unknown-id", &json!({"payload": "x"})))), "not_found");
    assert_eq!(code(&agent.call(&edit(&id, &json!({"payload": "x"})))), "forbidden");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM audit_log"), 0);
}

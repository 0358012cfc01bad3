//! The first wait, the budget, the order, the request.

use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now, wait_until};
use serde_json::{Value, json};

/// Method, path, type, the envelope, the headers.
#[test]
fn a_request_is_the_envelope_with_its_headers() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record("r-17", &json!({"entity_type": "RETURN", "retry": "now"}))));
    agent.wait_gone(&id);
    let sent = &upstream.deliveries()[0];
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/sync"));
    let header = |name| sent.header(name).unwrap_or_else(|| panic!("header {name} is missing"));
    assert_eq!(header("Content-Type"), "application/json");
    assert_eq!((sent.key(), sent.id(), sent.entity(), sent.attempt()), (id.as_str(), id.as_str(), "r-17", 1));
    assert_eq!((header("Resync-Entity-Type"), header("Resync-Action")), ("RETURN", "CREATE"));
    assert_eq!((header("Resync-Terminal"), header("Resync-Store")), ("till-07", "0042"));
    assert!(header("User-Agent").starts_with("resyncd/"));
    let body: Value = serde_json::from_slice(&sent.body).expect("an envelope is JSON");
    let names: Vec<&String> = body.as_object().expect("an object").keys().collect();
    let mut promised = ["id", "entity_type", "entity_id", "action", "payload", "created_at", "terminal_id", "store_id"];
    promised.sort_unstable();
    assert_eq!(names, promised);
    assert_eq!((&body["id"], &body["payload"]), (&json!(id), &json!({"total": 12.5})));
    assert_eq!((&body["terminal_id"], &body["store_id"]), (&json!("till-07"), &json!("0042")));
}

/// The application's own attempt was the first, so the agent waits for the first step: 5 min and up to
/// 20 %. The status is read from an error that begins with `HTTP nnn`, unless it was given.
#[test]
fn an_answer_to_the_applications_own_try_waits_the_first_step() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let read = agent.call(&record("s-1", &json!({"error": "HTTP 500: Internal Server Error"})));
    let given = agent.call(&record("s-2", &json!({"error": "not found", "http_status": 404})));
    for (reply, status) in [(&read, 500), (&given, 404)] {
        let id = id_of(reply);
        let shown = agent.failure(&id).expect("it waits");
        assert_eq!((&shown["http_status"], &shown["state"]), (&json!(status), &json!("scheduled")), "{shown}");
        assert!(shown["next_retry_at"].is_string(), "{shown}");
        let wait = agent.cell(&format!(
            "SELECT (julianday(next_retry_at) - julianday(created_at)) * 86400 FROM sync_failures WHERE id = '{id}'"
        ));
        let wait = wait.as_f64().expect("a number");
        assert!((299.9..=360.1).contains(&wait), "next_retry_at is {wait} s after created_at");
    }
    let now = id_of(&agent.call(&record_now("s-3")));
    agent.wait_gone(&now);
    assert_eq!(upstream.deliveries().len(), 1, "those that wait have not been sent");
}

/// Three counted tries, and a person has to act; a person's retry is one shot that counts.
#[test]
fn three_failed_retries_need_a_person_whose_retry_counts_too() {
    let upstream = Upstream::start(|_| Answer::json(500, r#"{"message":"no such till"}"#));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    let shown = agent.wait_critical(&id);
    assert_eq!((&shown["retry_count"], &shown["error_class"]), (&json!(3), &json!("failed")), "{shown}");
    assert_eq!((&shown["error"], &shown["http_status"]), (&json!("HTTP 500: no such till"), &json!(500)));
    assert_eq!(shown["response"], r#"{"message":"no such till"}"#);
    assert_eq!(shown["next_retry_at"], Value::Null, "nothing happens by itself any more: {shown}");
    assert!(upstream.deliveries().iter().all(|request| request.key() == id));
    assert_eq!(upstream.deliveries().len(), 3, "exactly three requests");
    let rows = "SELECT attempt, trigger, class, counted, http_status FROM sync_attempts ORDER BY id";
    let three = json!([[1, "auto", "failed", 1, 500], [2, "auto", "failed", 1, 500], [3, "auto", "failed", 1, 500]]);
    assert_eq!(json!(agent.rows(rows)), three);

    let reply = agent.ask(&json!({"op": "retry", "ids": [id], "reason": "till was added", "by": "ada"}));
    assert_eq!((&reply["matched"], &reply["changed"], &reply["skipped"]), (&json!(1), &json!(1), &json!(0)), "{reply}");
    agent.wait_for_failure(&id, "the person's retry failing", |failure| {
        failure["retry_count"] == 4 && failure["status"] == "critical"
    });
    let tries = upstream.deliveries();
    assert_eq!(tries.len(), 4, "one more request");
    assert!(tries[3].key() == id && tries[3].body == tries[0].body && tries[3].attempt() == 4);
    assert_eq!(json!(agent.rows(rows)[3]), json!([4, "manual", "failed", 1, 500]));
    let audit = agent.rows("SELECT operation, failure_id, reason, claimed_by, actor_uid FROM audit_log");
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(json!(audit), json!([["retry", id, "till was added", "ada", uid]]));
}

/// `--reset` starts a fresh budget, due now.
#[test]
fn a_retry_with_reset_starts_a_fresh_budget() {
    let upstream = Upstream::start(|_| Answer::status(500));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_critical(&id);
    assert_eq!(agent.ask(&json!({"op": "retry", "ids": [id], "reset": true}))["changed"], 1);
    wait_until("three more tries", || upstream.deliveries().len() >= 6);
    let shown = agent.wait_critical(&id);
    assert_eq!(shown["retry_count"], 3, "{shown}");
    assert_eq!(upstream.deliveries().len(), 6, "exactly three more");
}

/// A counted try waits its step, and `error`, `retry_count`, `last_retry_at` move with it.
#[test]
fn a_counted_try_waits_the_next_step() {
    let upstream = Upstream::start(|_| Answer::status(500));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    let shown = agent.wait_for_failure(&id, "a counted try", |failure| failure["retry_count"] == 1);
    assert_eq!((&shown["status"], &shown["state"]), (&json!("pending"), &json!("scheduled")), "{shown}");
    assert!(shown["error"].as_str().expect("a text").starts_with("HTTP 500: "), "{shown}");
    let wait = agent.cell("SELECT (julianday(next_retry_at) - julianday(last_retry_at)) * 86400 FROM sync_failures");
    let wait = wait.as_f64().expect("a number");
    assert!((899.9..=1080.1).contains(&wait), "retry 2 waits 15 min and up to 20 %, not {wait} s");
}

/// A refused failure needs an operator at once. It holds back its own order key and no other,
/// and its followers continue in order when it has left.
#[test]
fn a_refused_head_holds_back_its_own_entity_only() {
    let upstream = Upstream::start(|request| match request.entity() {
        "s-1" => Answer::json(422, r#"{"detail":"unknown SKU 4711"}"#),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let [head, second, third] = ["CREATE", "UPDATE", "DELETE"]
        .map(|action| id_of(&app.call(&record("s-1", &json!({"action": action, "retry": "now"})))));
    let other = id_of(&app.call(&record_now("s-2")));
    agent.wait_gone(&other);
    let shown = agent.wait_critical(&head);
    assert_eq!((&shown["retry_count"], &shown["error_class"]), (&json!(1), &json!("refused")), "{shown}");
    assert_eq!(shown["error"], "HTTP 422: unknown SKU 4711");
    assert_eq!(shown["blocked_by"], Value::Null);
    for follower in [&second, &third] {
        let shown = agent.failure(follower).expect("it waits behind the head");
        assert_eq!((&shown["state"], &shown["status"]), (&json!("blocked"), &json!("pending")), "{shown}");
        assert_eq!(shown["blocked_by"], json!(head), "{shown}");
    }
    assert_eq!(upstream.deliveries_of("s-1").len(), 1);

    upstream.on_delivery(|_| Answer::status(200));
    assert_eq!(agent.ask(&json!({"op": "retry", "ids": [head]}))["changed"], 1);
    agent.wait_gone(&third);
    let arrived: Vec<String> = upstream.deliveries_of("s-1").iter().map(|request| request.id().to_owned()).collect();
    assert_eq!(arrived, [head.clone(), head, second, third]);
}

/// The statuses that say "never": critical at once, after one request.
#[test]
fn every_refusal_is_final_after_one_request() {
    const REFUSALS: [u16; 7] = [400, 411, 413, 414, 415, 422, 431];
    let upstream = Upstream::start(|request| Answer::status(request.entity().parse().expect("a status")));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let ids = REFUSALS.map(|status| (status, id_of(&agent.call(&record_now(&status.to_string())))));
    for (status, id) in &ids {
        let shown = agent.wait_critical(id);
        assert_eq!((&shown["error_class"], &shown["http_status"]), (&json!("refused"), &json!(status)), "{shown}");
    }
    assert_eq!(upstream.deliveries().len(), REFUSALS.len());
}

/// Failures with the same order key are delivered in the order of their recording, also across
/// entities; across order keys in parallel.
#[test]
fn an_order_key_binds_entities_together() {
    let upstream = Upstream::start(|request| Answer::status(if request.entity() == "sale" { 422 } else { 200 }));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let mut send =
        |entity: &str, order: &str| id_of(&app.call(&record(entity, &json!({"retry": "now", "order_key": order}))));
    let sale = send("sale", "receipt-9");
    let returned = send("return", "receipt-9");
    let other = send("return", "receipt-10");
    agent.wait_gone(&other);
    agent.wait_critical(&sale);
    let shown = agent.failure(&returned).expect("it must not overtake its sale");
    assert_eq!((&shown["blocked_by"], &shown["order_key"]), (&json!(sale), &json!("receipt-9")), "{shown}");
    assert!(upstream.deliveries().iter().all(|request| request.id() != returned));
}

/// Without an upstream the agent records; what was recorded then is matched when there is one.
#[test]
fn what_was_recorded_without_an_upstream_goes_when_there_is_one() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::default());
    let id = id_of(&agent.call(&record_now("s-1")));
    assert_eq!(agent.failure(&id).expect("it is kept")["upstream"], Value::Null);
    assert!(agent.stop().success());
    agent.configure(&Plan::to(upstream.url()));
    agent.up();
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries().len(), 1);
}

//! An unreachable or overloaded upstream: nothing is lost, nothing
//! counts, and no other answer is taken for a delivery.

use crate::support::{Agent, Answer, Gate, Plan, Upstream, id_of, record, record_now, stays, wait_for, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Attempts of a failure: number, class, counted.
fn attempts(agent: &Agent, id: &str) -> Vec<Vec<Value>> {
    agent.rows(&format!("SELECT attempt, class, counted FROM sync_attempts WHERE failure_id = '{id}' ORDER BY id"))
}

/// The failure is unchanged: an attempt that did not count changes none of these columns.
#[track_caller]
fn assert_untouched(failure: &Value) {
    assert_eq!(failure["status"], "pending", "{failure}");
    assert_eq!(failure["retry_count"], 0, "{failure}");
    assert_eq!(failure["last_retry_at"], Value::Null, "{failure}");
    assert_eq!(failure["error"], "connect ETIMEDOUT", "{failure}");
    assert_eq!(failure["error_class"], Value::Null, "{failure}");
}

/// An outage is the line's fault and costs a failure nothing; order, keys, the budget and progress hold.
#[test]
fn what_failed_in_an_outage_arrives_once_in_order_and_uncounted() {
    const ENTITIES: u32 = 5;
    let mut upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.wait_upstream("online");
    upstream.down();

    let mut app = agent.app();
    let mut ids = BTreeSet::new();
    for n in 0..25 {
        let entity = format!("s-{}", n % ENTITIES);
        // Failures of one entity, sent at once, so that they are attempted while no upstream answers.
        let retry = if n % ENTITIES == 0 { "now" } else { "auto" };
        ids.insert(id_of(&app.call(&record(&entity, &json!({"retry": retry, "payload": {"n": n}})))));
    }
    agent.wait_upstream("offline");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 25);
    assert!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class = 'unreachable'").as_i64() > Some(0));
    upstream.up();

    let moved = "SELECT COUNT(*) FROM sync_failures WHERE retry_count <> 0 OR last_retry_at IS NOT NULL";
    wait_until("the table being empty", || {
        assert_eq!(agent.cell(moved), 0, "an outage has cost a retry");
        agent.cell("SELECT COUNT(*) FROM sync_failures") == 0
    });
    let arrived = upstream.deliveries();
    assert_eq!(arrived.len(), 25, "each exactly once");
    assert_eq!(arrived.iter().map(|request| request.id().to_owned()).collect::<BTreeSet<_>>(), ids);
    assert!(arrived.iter().all(|request| request.key() == request.id()), "the id is the key");
    for entity in 0..ENTITIES {
        let numbers: Vec<u64> = upstream.deliveries_of(&format!("s-{entity}")).iter().map(number).collect();
        assert_eq!(numbers, (0..5).map(|n| u64::from(n * ENTITIES + entity)).collect::<Vec<_>>(), "in order");
    }
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE counted <> 0"), 0);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class = 'delivered'"), 25);
}

/// `n` of the payload in an envelope.
fn number(request: &crate::support::upstream::Request) -> u64 {
    let body: Value = serde_json::from_slice(&request.body).expect("an envelope is JSON");
    body["payload"]["n"].as_u64().expect("the payload that was recorded")
}

/// Accepted, but the answer is lost: sent again under the same key, with the same bytes.
#[test]
fn a_lost_answer_is_repeated_under_the_same_key_with_the_same_bytes() {
    let upstream = Upstream::start(|request| if request.nth <= 2 { Answer::Lost } else { Answer::status(200) });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&id);

    let tries = upstream.deliveries();
    assert_eq!(tries.len(), 3);
    for (n, again) in tries.iter().enumerate() {
        assert_eq!(again.key(), id);
        assert_eq!((&again.method, &again.path), (&tries[0].method, &tries[0].path));
        assert_eq!(again.text(), tries[0].text(), "one key: byte for byte");
        assert_eq!(again.attempt() as usize, n + 1);
    }
    let rows = attempts(&agent, &id);
    assert_eq!(json!(rows), json!([[1, "unsure", 0], [2, "unsure", 0], [3, "delivered", 0]]));
}

/// A time-out after the request was sent is unsure, costs nothing, and is tried again.
#[test]
fn an_answer_that_never_comes_costs_nothing() {
    let upstream = Upstream::start(|request| if request.nth == 1 { Answer::Silence } else { Answer::status(200) });
    let agent = Agent::start(&Plan { upstream: "timeout = \"500ms\"", ..Plan::impatient(upstream.url()) });
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&id);
    assert_eq!(json!(attempts(&agent, &id)), json!([[1, "unsure", 0], [2, "delivered", 0]]));
    let tries = upstream.deliveries();
    assert!(tries.iter().all(|again| again.key() == id && again.body == tries[0].body));
}

/// During a request the failure is `in_flight`; a crash makes it pending again, and
/// it is sent under the same key, with the same bytes.
#[test]
fn what_was_in_flight_at_a_crash_goes_again_under_the_same_key() {
    let upstream = Upstream::start(|request| if request.nth == 1 { Answer::Silence } else { Answer::status(200) });
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "idempotency_key": "pos-17"}))));
    upstream.wait_deliveries(1);
    agent.wait_for_failure(&id, "the failure being in flight", |failure| failure["state"] == "in_flight");
    agent.restart_after_kill();
    agent.wait_gone(&id);
    let tries = upstream.deliveries();
    assert_eq!(tries.len(), 2);
    assert!(tries.iter().all(|again| again.key() == "pos-17" && again.id() == id && again.body == tries[0].body));
}

/// A throttled upstream: nothing counted, and at least the time it asked for is waited.
fn waits_as_asked(status: u16) {
    const ASKED: Duration = Duration::from_secs(2);
    let upstream = Upstream::start(move |request| match request.nth {
        1 => Answer::status(status).with("Retry-After", &ASKED.as_secs().to_string()),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "error": "connect ETIMEDOUT"}))));
    let shown = agent.wait_upstream("throttled");
    assert!(shown["next_try_at"].is_string(), "{shown}");
    assert_untouched(&agent.failure(&id).expect("it waits"));
    // Others have to wait as well: it is the upstream that asked.
    let other = id_of(&agent.call(&record_now("s-2")));
    agent.wait_gone(&id);
    agent.wait_gone(&other);
    let tries = upstream.deliveries();
    assert!(tries[1].at - tries[0].at >= ASKED, "waited {:?}", tries[1].at - tries[0].at);
    assert_eq!(json!(attempts(&agent, &id)), json!([[1, "throttled", 0], [2, "delivered", 0]]));
}

/// 503 with Retry-After.
#[test]
fn a_503_with_retry_after_is_obeyed_and_costs_nothing() {
    waits_as_asked(503);
}

/// 429.
#[test]
fn a_429_with_retry_after_is_obeyed_and_costs_nothing() {
    waits_as_asked(429);
}

/// 502, 503, 504 without Retry-After are `busy`; a Retry-After of nonsense is none.
#[test]
fn a_busy_upstream_costs_nothing() {
    let upstream = Upstream::start(|request| match request.nth {
        1 => Answer::status(502),
        2 => Answer::status(503).with("Retry-After", "soon, perhaps"),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_for_failure(&id, "a try that was not counted", |failure| {
        assert_untouched(failure);
        !attempts(&agent, &id).is_empty()
    });
    agent.wait_gone(&id);
    assert_eq!(json!(attempts(&agent, &id)), json!([[1, "busy", 0], [2, "busy", 0], [3, "delivered", 0]]));
}

/// 2xx HTML over plain http is `unreachable`, no delivery; and where no acceptance was ever seen
/// with such a probe, HTML in answer to a probe means a captive portal: offline.
#[test]
fn a_captive_portals_200_is_no_delivery() {
    let upstream = Upstream::start(|_| Answer::html(200));
    upstream.on_probe(|_| Answer::html(200));
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.wait_upstream("offline");
    let id = id_of(&agent.call(&record_now("s-1")));
    assert_untouched(&agent.failure(&id).expect("it is kept"));
    upstream.on_delivery(|_| Answer::status(200));
    upstream.on_probe(|_| Answer::status(200));
    agent.wait_gone(&id);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE counted <> 0"), 0);
}

/// As above, where probes are answered well: the login page in answer to the delivery is enough.
#[test]
fn a_web_page_instead_of_an_answer_is_no_delivery() {
    let upstream = Upstream::start(|request| if request.nth == 1 { Answer::html(200) } else { Answer::status(200) });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_for_failure(&id, "a try that was not counted", |failure| {
        assert_untouched(failure);
        !attempts(&agent, &id).is_empty()
    });
    agent.wait_gone(&id);
    assert_eq!(json!(attempts(&agent, &id)), json!([[1, "unreachable", 0], [2, "delivered", 0]]));
}

/// A redirect to another host is `unreachable`, in answer to a probe a captive portal; redirects
/// are never followed.
#[test]
fn a_redirect_to_another_host_is_no_delivery_and_never_followed() {
    let portal = Upstream::willing();
    let elsewhere = format!("http://localhost:{}/login", portal.port());
    let (to_delivery, to_probe) = (elsewhere.clone(), elsewhere);
    let upstream = Upstream::start(move |_| Answer::status(302).with("Location", &to_delivery));
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.wait_upstream("online");
    upstream.on_probe(move |_| Answer::status(302).with("Location", &to_probe));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("offline");
    assert_untouched(&agent.failure(&id).expect("it is kept"));
    assert_eq!(json!(attempts(&agent, &id)), json!([[1, "unreachable", 0]]));
    upstream.on_delivery(|_| Answer::status(200));
    upstream.on_probe(|_| Answer::status(200));
    agent.wait_gone(&id);
    assert_eq!(portal.requests().len(), 0, "a redirect was followed");
}

/// With no answer of its own, a failure is due when a probe that began after the recording
/// has been answered, at the earliest after 2 s.
#[test]
fn what_got_no_answer_goes_when_a_probe_is_answered_and_not_before_2_s() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.wait_upstream("online");
    let before = upstream.requests().len();
    let begun = std::time::Instant::now();
    let id = id_of(&agent.call(&record("s-1", &json!({}))));
    agent.wait_gone(&id);
    let after = &upstream.requests()[before..];
    let at = after.iter().position(|request| request.method != "HEAD").expect("a delivery");
    assert!(at > 0, "a probe went first: {after:?}");
    assert!(after[at].at - begun >= Duration::from_millis(1999), "sent after {:?}", after[at].at - begun);
}

/// As above: while that probe is not answered, the failure stays; `retry:"now"` needs no probe.
#[test]
fn what_got_no_answer_waits_for_the_probe_and_now_does_not() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.wait_upstream("online");
    let (gate, held) =
        (Arc::new(Gate::default()), wait_for("the first probe", || upstream.requests().into_iter().next()));
    assert_eq!(held.method, "HEAD");
    let shut = Arc::clone(&gate);
    upstream.on_probe(move |_| {
        shut.pass();
        Answer::status(200)
    });
    let waits = id_of(&agent.call(&record("s-1", &json!({}))));
    let now = id_of(&agent.call(&record_now("s-2")));
    agent.wait_gone(&now);
    let shown = agent.failure(&waits).expect("it waits");
    assert_eq!((&shown["state"], &shown["next_retry_at"]), (&json!("scheduled"), &Value::Null), "{shown}");
    stays("the failure waits for its probe", Duration::from_millis(2500), || upstream.deliveries().len() == 1);
    gate.open();
    agent.wait_gone(&waits);
    assert_eq!(upstream.deliveries()[1].id(), waits);
}

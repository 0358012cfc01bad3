//! Who gets what, who
//! waits for whom, and where failures go when the configuration has changed at a restart.

use crate::support::{Agent, Answer, Gate, Plan, Upstream, id_of, record, record_now, stays, wait_for, wait_until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// `[upstream.NAME]`
fn upstream_table(name: &str, upstream: &Upstream) -> String {
    format!("[upstream.{name}]\nurl = {:?}\n", upstream.url())
}

/// SALE to `pos`, RETURN to `back`.
const ROUTES: &str = "[[route]]\nentity_type = \"SALE\"\nupstream = \"pos\"\n\
                      [[route]]\nentity_type = \"RETURN\"\nupstream = \"back\"\n";

fn both(pos: &Upstream, back: &Upstream) -> Plan {
    Plan::of(upstream_table("pos", pos) + &upstream_table("back", back) + ROUTES)
}

fn returned(entity: &str) -> Value {
    record(entity, &json!({"entity_type": "RETURN", "retry": "now"}))
}

/// Under this order key.
fn under(key: &str, mut request: Value) -> Value {
    request["order_key"] = json!(key);
    request
}

/// What `health` says of an upstream.
fn health_of(agent: &Agent, name: &str) -> Value {
    let health = agent.call(&json!({"op": "health"}));
    let all = health["upstreams"].as_array().expect("a list");
    all.iter().find(|upstream| upstream["name"] == name).unwrap_or_else(|| panic!("no {name}: {health}")).clone()
}

fn wait_state(agent: &Agent, name: &str, state: &str) {
    wait_until(&format!("{name} being {state}"), || health_of(agent, name)["state"] == state);
}

/// Payloads' entities in the order of their coming.
fn entities(upstream: &Upstream) -> Vec<String> {
    upstream.deliveries().iter().map(|request| request.entity().to_owned()).collect()
}

/// An upstream whose first delivery waits for the gate.
fn gated() -> (Upstream, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let upstream = Upstream::start(move |request| {
        if request.nth == 1 {
            shut.pass();
        }
        Answer::status(200)
    });
    (upstream, gate)
}

/// Routes choose; an upstream that is away stops its own failures only.
#[test]
fn each_upstream_gets_its_own_and_stands_for_itself() {
    let (pos, mut back) = (Upstream::willing(), Upstream::willing());
    let agent = Agent::start(&both(&pos, &back));
    wait_state(&agent, "back", "online");
    back.down();
    let waiting = id_of(&agent.call(&returned("r-1")));
    wait_state(&agent, "back", "offline");
    let sale = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&sale);
    assert_eq!(health_of(&agent, "pos")["state"], "online");
    let shown = agent.failure(&waiting).expect("it waits");
    assert_eq!((&shown["upstream"], &shown["retry_count"]), (&json!("back"), &json!(0)), "{shown}");
    back.up();
    agent.wait_gone(&waiting);
    assert_eq!((entities(&pos), entities(&back)), (vec!["s-1".to_owned()], vec!["r-1".to_owned()]));
}

/// One upstream fails at everything: that is inconclusive about the other.
#[test]
fn a_failing_upstream_says_nothing_about_the_other() {
    let (pos, back) = (Upstream::willing(), Upstream::start(|_| Answer::status(404)));
    let agent = Agent::start(&both(&pos, &back));
    for n in 0..3 {
        agent.call(&returned(&format!("r-{n}")));
    }
    wait_state(&agent, "back", "failing");
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    assert_eq!(health_of(&agent, "pos")["state"], "online");
    assert_eq!(agent.cell("SELECT MAX(retry_count) FROM sync_failures"), 0);
}

/// A person's pause of one upstream stops that one.
#[test]
fn a_pause_of_one_upstream_stops_that_one() {
    let (pos, back) = (Upstream::willing(), Upstream::willing());
    let agent = Agent::start(&both(&pos, &back));
    assert_eq!(agent.ask(&json!({"op": "pause", "upstream": "pos"}))["upstreams"], json!(["pos"]));
    let [sale, back_id] = [record_now("s-1"), returned("r-1")].map(|request| id_of(&agent.call(&request)));
    agent.wait_gone(&back_id);
    assert_eq!((health_of(&agent, "pos")["state"].clone(), pos.deliveries().len()), (json!("paused"), 0));
    agent.ask(&json!({"op": "resume", "upstream": "pos"}));
    agent.wait_gone(&sale);
}

/// Order spans upstreams: what follows on another upstream waits until its predecessor has left.
#[test]
fn order_spans_upstreams() {
    let ((pos, gate), back) = (gated(), Upstream::willing());
    let agent = Agent::start(&both(&pos, &back));
    let first = id_of(&agent.call(&under("receipt-9", record_now("e-1"))));
    pos.wait_deliveries(1);
    let second = id_of(&agent.call(&under("receipt-9", returned("e-1"))));
    let other = id_of(&agent.call(&returned("e-2")));
    agent.wait_gone(&other);
    let shown = agent.failure(&second).expect("it waits");
    assert_eq!((&shown["state"], &shown["blocked_by"]), (&json!("blocked"), &json!(first)), "{shown}");
    stays("the follower waits", Duration::from_millis(300), || entities(&back) == ["e-2"]);
    gate.open();
    agent.wait_gone(&second);
    assert_eq!(entities(&back), ["e-2", "e-1"]);
}

/// `ordering = "strict"`: one at a time, all in order, across entities.
#[test]
fn strict_order_is_one_at_a_time_in_the_order_of_recording() {
    let (upstream, gate) = gated();
    let agent = Agent::start(&Plan { upstream: "ordering = \"strict\"", ..Plan::impatient(upstream.url()) });
    let mut app = agent.app();
    let names: Vec<String> = (0..12).map(|n| format!("s-{}", (n * 7) % 12)).collect();
    let ids: Vec<String> = names.iter().map(|entity| id_of(&app.call(&record_now(entity)))).collect();
    upstream.wait_deliveries(1);
    stays("one is in flight", Duration::from_millis(300), || upstream.deliveries().len() == 1);
    gate.open();
    agent.wait_gone(&ids[11]);
    assert_eq!(entities(&upstream), names);
}

/// A head that needs a person holds everything back; under strict order three counted tries of the
/// head mean the upstream, so it takes a refusal.
#[test]
fn a_refused_head_holds_a_strict_order_back() {
    let upstream = Upstream::start(|request| Answer::status(if request.entity() == "s-0" { 422 } else { 200 }));
    let agent = Agent::start(&Plan { upstream: "ordering = \"strict\"", ..Plan::impatient(upstream.url()) });
    let ids = ["s-0", "s-1", "s-2"].map(|entity| id_of(&agent.call(&record_now(entity))));
    agent.wait_critical(&ids[0]);
    stays("nobody passes the head", Duration::from_millis(300), || entities(&upstream) == ["s-0"]);
    let shown = agent.failure(&ids[1]).expect("it waits");
    assert_eq!(shown["status"], "pending", "{shown}");
    let listed = &agent.ask(&json!({"op": "list", "after": shown["seq"].to_string()}))["failures"][0];
    for waiting in [&shown, listed] {
        assert_eq!((&waiting["state"], &waiting["blocked_by"]), (&json!("blocked"), &json!(ids[0])), "{waiting}");
    }
    upstream.on_delivery(|_| Answer::status(200));
    agent.ask(&json!({"op": "retry", "ids": [ids[0]]}));
    agent.wait_gone(&ids[2]);
    assert_eq!(entities(&upstream), ["s-0", "s-0", "s-1", "s-2"]);
}

/// Strict: a head that gets 500 three times is the upstream's fault: failing, and given back.
#[test]
fn three_counted_tries_of_a_strict_head_are_the_upstreams_fault() {
    let upstream = Upstream::start(|_| Answer::status(500));
    let agent = Agent::start(&Plan { upstream: "ordering = \"strict\"", ..Plan::impatient(upstream.url()) });
    let ids = ["s-0", "s-1"].map(|entity| id_of(&agent.call(&record_now(entity))));
    agent.wait_upstream("failing");
    let head = agent.failure(&ids[0]).expect("it is kept");
    assert_eq!((&head["status"], &head["retry_count"]), (&json!("pending"), &json!(0)), "{head}");
    upstream.on_delivery(|_| Answer::status(200));
    agent.wait_gone(&ids[1]);
    let seen = entities(&upstream);
    assert!(seen[..seen.len() - 1].iter().all(|entity| entity == "s-0"), "{seen:?}");
}

/// `ordering = "none"`: not even the same entity waits, neither for one in flight nor for one that
/// needs a person.
#[test]
fn without_order_nobody_waits_for_anybody() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let upstream = Upstream::start(move |request| match request.header("Resync-Action") {
        Some("WAIT") => {
            shut.pass();
            Answer::status(200)
        }
        Some("BAD") => Answer::status(422),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan { upstream: "ordering = \"none\"", ..Plan::impatient(upstream.url()) });
    let mut app = agent.app();
    let mut send = |action: &str| id_of(&app.call(&record("s-1", &json!({"action": action, "retry": "now"}))));
    // An acceptance first: before it, one at a time is sent.
    let warm = send("CREATE");
    agent.wait_gone(&warm);
    let (bad, slow, fast) = (send("BAD"), send("WAIT"), send("UPDATE"));
    agent.wait_gone(&fast);
    agent.wait_critical(&bad);
    assert!(agent.failure(&slow).is_some_and(|shown| shown["state"] == "in_flight"));
    assert_eq!(agent.failure(&bad).expect("it is kept")["blocked_by"], Value::Null);
    gate.open();
    agent.wait_gone(&slow);
}

/// `max_rate`: no two requests closer together.
#[test]
fn a_maximum_rate_is_kept() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan { upstream: "max_rate = \"5/s\"", ..Plan::impatient(upstream.url()) });
    let mut app = agent.app();
    let ids: Vec<String> = (0..8).map(|n| id_of(&app.call(&record_now(&format!("s-{n}"))))).collect();
    ids.iter().for_each(|id| agent.wait_gone(id));
    let seen = upstream.deliveries();
    for pair in seen.windows(2) {
        let gap = pair[1].at - pair[0].at;
        // The upstream's reading may have come late for the first of two.
        assert!(gap >= Duration::from_millis(150), "two requests {gap:?} apart");
    }
    assert!(seen[7].at - seen[0].at >= Duration::from_millis(1350), "eight took {:?}", seen[7].at - seen[0].at);
}

/// A choice between several needs routes: exit 2, naming them.
#[test]
fn several_upstreams_need_routes() {
    let (pos, back) = (Upstream::willing(), Upstream::willing());
    let mut agent = Agent::prepare(&Plan::of(upstream_table("pos", &pos) + &upstream_table("back", &back)));
    let (exit, said) = agent.run_to_its_end(&[]);
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("pos") && said.contains("back") && said.contains("route"), "{said}");
}

/// An agent with failures waiting under one configuration, started again under another.
fn moved(before: &Plan, requests: &[Value], after: &Plan) -> (Agent, Vec<String>) {
    let mut agent = Agent::start(before);
    agent.ask(&json!({"op": "pause"}));
    let ids = requests.iter().map(|request| id_of(&agent.call(request))).collect();
    assert!(agent.stop().success());
    agent.configure(after);
    agent.up();
    agent.ask(&json!({"op": "resume"}));
    (agent, ids)
}

/// An upstream's name has changed: what waits for the old one goes to the new one, in order.
#[test]
fn what_waits_for_an_upstream_that_has_gone_goes_to_the_new_one() {
    let (old, new) = (Upstream::willing(), Upstream::willing());
    let requests = ["s-1", "s-2", "s-1", "s-1"].map(record_now);
    let (agent, ids) = moved(&Plan::of(upstream_table("old", &old)), &requests, &Plan::of(upstream_table("new", &new)));
    ids.iter().for_each(|id| agent.wait_gone(id));
    assert_eq!(old.deliveries().len(), 0);
    let seen = new.deliveries_of("s-1");
    assert_eq!(seen.iter().map(|request| request.id()).collect::<Vec<_>>(), [&ids[0], &ids[2], &ids[3]]);
    let health = agent.call(&json!({"op": "health"}));
    assert_eq!(health["upstreams"].as_array().map(Vec::len), Some(1), "the old one is forgotten: {health}");
}

/// A route has been added for what had none.
#[test]
fn what_had_no_route_goes_when_there_is_one() {
    let upstream = Upstream::willing();
    let sales = "[[route]]\nentity_type = \"SALE\"\n";
    let all = format!("{sales}[[route]]\npath = \"/rest\"\n");
    let requests = [under("receipt-9", returned("r-1")), under("receipt-9", record_now("s-1"))];
    let (agent, ids) = moved(&Plan::with(upstream.url(), sales), &requests, &Plan::with(upstream.url(), all));
    ids.iter().for_each(|id| agent.wait_gone(id));
    let seen: Vec<String> = upstream.deliveries().iter().map(|request| request.path.clone()).collect();
    assert_eq!(seen, ["/sync/rest", "/sync"]);
}

/// The route of a failure was removed: it is matched again, finds none, and needs an operator. It is never
/// sent in a form that was not configured.
#[test]
fn what_loses_its_route_needs_a_person() {
    let upstream = Upstream::willing();
    let sales = "[[route]]\nentity_type = \"SALE\"\npath = \"/sales\"\n";
    let both = format!("{sales}[[route]]\nentity_type = \"RETURN\"\npath = \"/returns\"\n");
    let requests = [returned("r-1"), record_now("s-1")];
    let (agent, ids) = moved(&Plan::with(upstream.url(), both), &requests, &Plan::with(upstream.url(), sales));
    agent.wait_gone(&ids[1]);
    let shown = wait_for("a decision about the other", || {
        let shown = agent.failure(&ids[0]);
        assert!(shown.is_some(), "sent as {:?}", upstream.deliveries().iter().map(|r| &r.path).collect::<Vec<_>>());
        shown.filter(|shown| shown["status"] == "critical")
    });
    assert_eq!((&shown["error_class"], &shown["upstream"]), (&json!("no_route"), &Value::Null), "{shown}");
    assert_eq!(upstream.deliveries().len(), 1);
}

/// The route of a failure leads to another upstream now, and both exist: its own route was removed, so
/// it follows.
#[test]
fn what_is_routed_elsewhere_now_goes_there() {
    let (pos, back) = (Upstream::willing(), Upstream::willing());
    let swapped = ROUTES.replace("\"pos\"", "\"x\"").replace("\"back\"", "\"pos\"").replace("\"x\"", "\"back\"");
    let after = Plan::of(upstream_table("pos", &pos) + &upstream_table("back", &back) + &swapped);
    let (agent, ids) = moved(&both(&pos, &back), &[record_now("s-1"), returned("r-1")], &after);
    ids.iter().for_each(|id| agent.wait_gone(id));
    assert_eq!((entities(&pos), entities(&back)), (vec!["r-1".to_owned()], vec!["s-1".to_owned()]));
}

/// The order has been given up: what waited behind one that needs a person goes.
#[test]
fn another_ordering_counts_for_what_waits_already() {
    let upstream = Upstream::start(|request| match request.header("Resync-Action") {
        Some("BAD") => Answer::status(422),
        _ => Answer::status(200),
    });
    let mut agent = Agent::start(&Plan::impatient(upstream.url()));
    let bad = id_of(&agent.call(&record("s-1", &json!({"action": "BAD", "retry": "now"}))));
    agent.wait_critical(&bad);
    let behind = id_of(&agent.call(&record_now("s-1")));
    assert_eq!(agent.failure(&behind).expect("it waits")["blocked_by"], json!(bad));
    assert!(agent.stop().success());
    agent.configure(&Plan { upstream: "ordering = \"none\"", ..Plan::impatient(upstream.url()) });
    agent.up();
    agent.wait_gone(&behind);
}

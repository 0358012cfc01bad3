//! What counts when one of them
//! fails, when all do, and when nothing was wrong with any of them.

use crate::support::{
    Agent, Answer, PATIENCE, Plan, Upstream, id_of, record, record_now, stays, wait_for, wait_until, wait_up_to,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

const ALL: usize = 6;

/// Failures of this many entities, due now; those of one type after those of the other.
fn many(agent: &Agent, count: usize) -> Vec<String> {
    let mut app = agent.app();
    (0..count).map(|n| id_of(&app.call(&record_now(&format!("s-{n}"))))).collect()
}

/// Everything has been delivered, and none of it has cost a retry that was not given back.
#[track_caller]
fn assert_all_delivered(agent: &Agent, upstream: &Upstream, ids: &[String]) {
    wait_until("the table being empty", || {
        assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures WHERE status <> 'pending'"), 0, "one was given up");
        agent.cell("SELECT COUNT(*) FROM sync_failures") == 0
    });
    let accepted: Vec<Value> = agent.column("SELECT failure_id FROM sync_attempts WHERE class = 'delivered'");
    let accepted: BTreeSet<String> = accepted.iter().map(|id| id.as_str().expect("a text").to_owned()).collect();
    assert_eq!(accepted, ids.iter().cloned().collect());
    assert!(upstream.deliveries().iter().all(|request| request.key() == request.id()));
}

/// No live failure has lost a retry.
#[track_caller]
fn assert_nothing_counted(agent: &Agent) {
    let counted =
        "SELECT entity_id, retry_count, status FROM sync_failures WHERE retry_count <> 0 OR status <> 'pending'";
    assert_eq!(agent.rows(counted), Vec::<Vec<Value>>::new());
}

/// A 401 for everything is the set-up's fault: blocked, an alert for people, one canary at a time,
/// nothing counted; an acceptance opens.
#[test]
fn a_401_for_everything_blocks_and_costs_nothing() {
    let upstream = Upstream::start(|_| Answer::status(401));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let ids = many(&agent, ALL);
    let shown = agent.wait_upstream("blocked");
    assert!(shown["reason"].as_str().is_some_and(|reason| reason.contains("401")), "{shown}");
    assert_eq!(agent.call(&json!({"op": "health"}))["state"], "degraded");
    upstream.wait_deliveries(3);
    assert_nothing_counted(&agent);
    upstream.on_delivery(|_| Answer::status(200));
    assert_all_delivered(&agent, &upstream, &ids);
    agent.wait_upstream("online");

    let tries = agent.rows("SELECT trigger, class, counted FROM sync_attempts ORDER BY id");
    assert_eq!(json!(tries[0]), json!(["auto", "misconfigured", 0]));
    assert_eq!(json!(tries[1]), json!(["probe", "misconfigured", 0]));
    assert_eq!(json!(tries.iter().find(|row| row[1] == "delivered")), json!(["probe", "delivered", 0]));
    assert!(tries.iter().all(|row| row[2] == 0));
    // A canary goes 2 s after the block, within a fifth.
    let seen = upstream.deliveries();
    let wait = seen[1].at - seen[0].at;
    assert!((1550..4000).contains(&wait.as_millis()), "the first canary went after {wait:?}");
}

/// A person who has mended it need not wait for the canary.
#[test]
fn a_resume_ends_a_block_at_once() {
    let upstream = Upstream::start(|_| Answer::status(401));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let ids = many(&agent, ALL);
    upstream.wait_deliveries(3); // The next canary goes in 8 s.
    agent.wait_upstream("blocked");
    upstream.on_delivery(|_| Answer::status(200));
    let begun = std::time::Instant::now();
    agent.ask(&json!({"op": "resume"}));
    upstream.wait_deliveries(4);
    assert!(begun.elapsed() < Duration::from_secs(2), "tried {:?} after the resume", begun.elapsed());
    assert_all_delivered(&agent, &upstream, &ids);
}

/// A bad deploy answers 404 to everything: it was the upstream, and what was counted is given back.
#[test]
fn a_404_for_everything_is_the_upstreams_fault_and_given_back() {
    let upstream = Upstream::start(|_| Answer::status(404));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let ids = many(&agent, ALL);
    agent.wait_upstream("failing");
    assert_nothing_counted(&agent);
    upstream.wait_deliveries(4);
    assert_nothing_counted(&agent);
    upstream.on_delivery(|_| Answer::status(200));
    assert_all_delivered(&agent, &upstream, &ids);
    agent.wait_upstream("online");
    assert!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE trigger = 'probe'").as_i64() > Some(0));
    let why = agent.column("SELECT DISTINCT why FROM sync_attempts WHERE class = 'failed' AND counted = 0");
    assert!(why.contains(&json!("upstream_failing")), "{why:?}");
}

/// The power goes while it is failing: the state and what was given back are on disk.
#[test]
fn a_crash_while_failing_forgets_nothing_and_counts_nothing() {
    let upstream = Upstream::start(|_| Answer::status(500));
    let mut agent = Agent::start(&Plan::impatient(upstream.url()));
    let ids = many(&agent, ALL);
    for _ in 0..3 {
        agent.wait_upstream("failing");
        assert_nothing_counted(&agent);
        agent.restart_after_kill();
        assert!(agent.wait_upstream("failing")["reason"].is_string());
        assert_nothing_counted(&agent);
    }
    upstream.on_delivery(|_| Answer::status(200));
    agent.ask(&json!({"op": "resume"}));
    assert_all_delivered(&agent, &upstream, &ids);
}

/// … and so is a block, with its reason.
#[test]
fn a_crash_while_blocked_leaves_it_blocked() {
    let upstream = Upstream::start(|_| Answer::status(401));
    let mut agent = Agent::start(&Plan::impatient(upstream.url()));
    let ids = many(&agent, 2);
    let before = agent.wait_upstream("blocked");
    agent.restart_after_kill();
    let after = agent.wait_upstream("blocked");
    assert_eq!(before["reason"], after["reason"]);
    upstream.on_delivery(|_| Answer::status(200));
    agent.ask(&json!({"op": "resume"}));
    assert_all_delivered(&agent, &upstream, &ids);
}

/// A counted try is counted once, however often the power goes; its step goes on.
#[test]
fn a_crash_keeps_counts_and_steps() {
    let upstream = Upstream::start(|_| Answer::status(500));
    let mut agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::impatient(upstream.url()) });
    let id = id_of(&agent.call(&record_now("s-1")));
    let before = agent.wait_for_failure(&id, "a counted try", |shown| shown["retry_count"] == 1);
    for _ in 0..3 {
        agent.restart_after_kill();
        let after = agent.failure(&id).expect("it is kept");
        for field in ["retry_count", "next_retry_at", "last_retry_at", "status", "error", "error_class"] {
            assert_eq!(after[field], before[field], "{field}");
        }
    }
    assert_eq!(upstream.deliveries().len(), 1);
}

/// One poisoned failure among good ones becomes critical after its second chance; the others are
/// delivered at their first attempt.
#[test]
fn one_poisoned_failure_ends_critical_and_the_others_do_not_notice() {
    let upstream = Upstream::start(|request| Answer::status(if request.entity() == "bad" { 500 } else { 200 }));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let bad = id_of(&agent.call(&record_now("bad")));
    let shown = agent.wait_critical(&bad);
    assert_eq!(shown["retry_count"], 3, "{shown}");
    let ids = many(&agent, ALL);
    ids.iter().for_each(|id| agent.wait_gone(id));
    // The acceptance gives it one more, uncounted try.
    wait_until("the second chance being used", || upstream.deliveries_of("bad").len() >= 4);
    let shown = agent.wait_critical(&bad);
    assert_eq!((&shown["retry_count"], &shown["error_class"]), (&json!(3), &json!("failed")), "{shown}");
    let rows = "SELECT attempt, counted FROM sync_attempts WHERE entity_id = 'bad' ORDER BY id";
    assert_eq!(json!(agent.rows(rows)), json!([[1, 1], [2, 1], [3, 1], [4, 0]]));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE entity_id <> 'bad'"), ALL, "one try each");
    // Once more it has none.
    agent.wait_gone(&id_of(&agent.call(&record_now("s-99"))));
    agent.wait_gone(&id_of(&agent.call(&record_now("s-98"))));
    assert_eq!(upstream.deliveries_of("bad").len(), 4);
    agent.wait_upstream("online");
}

/// A failure that was given up in a bad hour gets its second chance when things are better.
#[test]
fn a_single_failure_that_was_given_up_arrives_when_things_are_better() {
    let upstream = Upstream::start(|_| Answer::status(500));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_critical(&id);
    upstream.on_delivery(|_| Answer::status(200));
    agent.wait_gone(&id_of(&agent.call(&record_now("s-2"))));
    agent.wait_gone(&id);
}

/// A failure whose every answer is lost, and one that gets 500, delay no other failure.
#[test]
fn bad_ones_hold_up_their_own_entities_only() {
    let upstream = Upstream::start(|request| match request.entity() {
        "lost" => Answer::Lost,
        "bad" => Answer::status(500),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::impatient(upstream.url()) });
    let [lost, bad] = ["lost", "bad"].map(|entity| id_of(&agent.call(&record_now(entity))));
    let behind = id_of(&agent.call(&record_now("bad")));
    let ids = many(&agent, ALL);
    ids.iter().for_each(|id| agent.wait_gone(id));
    assert_eq!(agent.failure(&lost).expect("it is kept")["retry_count"], 0);
    agent.wait_for_failure(&bad, "the count", |shown| shown["retry_count"] == 1 && shown["status"] == "pending");
    assert_eq!(agent.failure(&behind).expect("it waits")["blocked_by"], json!(bad));
}

/// A single forbidden route: it blocks the upstream once, the canary of another route opens it, and the
/// second answer counts against the failure, which blocks no other. With one retry, that makes it critical.
#[test]
fn a_route_that_alone_is_forbidden_ends_critical_by_contrast() {
    let upstream = Upstream::start(|request| match request.header("Resync-Entity-Type") {
        Some("RETURN") => Answer::status(401),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan { retry: "max_retries = 1", ..Plan::impatient(upstream.url()) });
    let bad = id_of(&agent.call(&record("r-1", &json!({"entity_type": "RETURN", "retry": "now"}))));
    agent.wait_upstream("blocked");
    let ids = many(&agent, ALL);
    ids.iter().for_each(|id| agent.wait_gone(id));
    let shown = agent.wait_critical(&bad);
    assert_eq!((&shown["error_class"], &shown["retry_count"]), (&json!("misconfigured"), &json!(1)), "{shown}");
    let rows = agent.rows("SELECT counted, why FROM sync_attempts WHERE entity_id = 'r-1' ORDER BY id");
    let counted: Vec<&Vec<Value>> = rows.iter().filter(|row| row[0] == 1).collect();
    assert_eq!(json!(counted), json!([[1, "last_by_contrast"]]), "{rows:?}");
    agent.wait_gone(&id_of(&agent.call(&record_now("s-99"))));
    let open = wait_up_to(Duration::from_secs(15), "the upstream being open again", || {
        let shown = agent.call(&json!({"op": "health"}))["upstreams"][0].clone();
        (shown["state"] == "online").then_some(shown)
    });
    assert_eq!(open["state"], "online");
}

/// One that breaks the back end (502), and one whose every answer is lost, while others get through
/// all the time: the tenth such try cannot be bad luck any more, and is counted by contrast. The
/// others cost nothing, and the upstream stays open.
#[test]
fn one_that_breaks_the_back_end_ends_critical_by_contrast() {
    thread::scope(|scope| {
        for (class, answer) in [("busy", Answer::status(502)), ("unsure", Answer::Lost)] {
            scope.spawn(move || breaks_the_back_end(class, &answer));
        }
    });
}

fn breaks_the_back_end(class: &str, answer: &Answer) {
    let answer = answer.clone();
    let upstream =
        Upstream::start(move |request| if request.entity() == "bad" { answer.clone() } else { Answer::status(200) });
    let plan = Plan { retry: "max_retries = 1", upstream: "max_pause = \"1s\"", ..Plan::impatient(upstream.url()) };
    let agent = Agent::start(&plan);
    let bad = id_of(&agent.call(&record_now("bad")));
    let (mut others, mut app) = (0, agent.app());
    let shown = wait_up_to(PATIENCE * 3, "the failure becoming critical", || {
        agent.wait_gone(&id_of(&app.call(&record_now(&format!("s-{others}")))));
        others += 1;
        agent.failure(&bad).filter(|shown| shown["status"] == "critical")
    });
    assert_eq!((&shown["error_class"], &shown["retry_count"]), (&json!(class), &json!(1)), "{shown}");
    let rows = agent.rows("SELECT class, counted, why FROM sync_attempts WHERE entity_id = 'bad' ORDER BY id");
    let counted = rows.iter().position(|row| row[1] == 1).expect("one was counted");
    assert!(counted >= 9, "counted at try {} already: {rows:?}", counted + 1);
    assert_eq!(json!(rows[counted]), json!([class, 1, "last_by_contrast"]), "{rows:?}");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE entity_id <> 'bad'"), others, "one try each");
    assert!(!agent.log().contains("state=failing") && !agent.log().contains("state=offline"), "{}", agent.log());
}

/// A Retry-After longer than `max_pause` binds the failure that got it; the others go on.
#[test]
fn a_long_retry_after_binds_the_failure_that_got_it() {
    let upstream = Upstream::start(|request| match request.entity() {
        "bound" => Answer::status(429).with("Retry-After", "120"),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan { upstream: "max_pause = \"1s\"", ..Plan::impatient(upstream.url()) });
    let bound = id_of(&agent.call(&record_now("bound")));
    upstream.wait_deliveries(1);
    let begun = std::time::Instant::now();
    let ids = many(&agent, ALL);
    ids.iter().for_each(|id| agent.wait_gone(id));
    assert!(begun.elapsed() < Duration::from_secs(10), "the others waited {:?}", begun.elapsed());
    let seen = upstream.deliveries();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1), "the upstream waits max_pause itself");
    let shown = agent.failure(&bound).expect("it waits");
    assert_eq!((&shown["status"], &shown["state"]), (&json!("pending"), &json!("scheduled")), "{shown}");
    assert_eq!(shown["retry_count"], 0, "{shown}");
    assert_eq!(upstream.deliveries_of("bound").len(), 1);
}

/// A refusal counts also while the upstream is shut, and for good.
#[test]
fn a_refusal_of_a_canary_needs_a_person() {
    let upstream = Upstream::start(|_| Answer::status(401));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("blocked");
    upstream.on_delivery(|_| Answer::status(422));
    let shown = agent.wait_critical(&id);
    assert_eq!((&shown["error_class"], &shown["retry_count"]), (&json!("refused"), &json!(1)), "{shown}");
    let last = wait_for("both tries", || agent.rows("SELECT trigger, class, counted FROM sync_attempts").pop());
    assert_eq!(json!(last), json!(["probe", "refused", 1]));
}

/// Ten order keys in a row that are refused: the upstream is failing, and nothing more is burnt.
#[test]
fn ten_refusals_in_a_row_stop_the_burning() {
    let upstream = Upstream::start(|_| Answer::status(400));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    many(&agent, 30);
    agent.ask(&json!({"op": "resume"}));
    agent.wait_upstream("failing");
    let critical = agent.cell("SELECT COUNT(*) FROM sync_failures WHERE status = 'critical'");
    // Up to `concurrency` were under way.
    assert!((10..=14).contains(&critical.as_i64().expect("a number")), "{critical} were burnt");
}

/// Who was given up gets its second chance again when the upstream accepts one that it had answered
/// badly: that proves that it was the upstream.
#[test]
fn an_upstream_that_changes_its_mind_renews_everybodys_chance() {
    let upstream = Upstream::start(|request| match (request.entity(), request.attempt()) {
        ("given-up", 1..=4) | ("proof", 1) => Answer::status(500),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("given-up")));
    agent.wait_critical(&id);
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    wait_until("its second chance being used", || upstream.deliveries_of("given-up").len() == 4);
    agent.wait_critical(&id);
    agent.wait_gone(&id_of(&agent.call(&record_now("s-2"))));
    assert_eq!(upstream.deliveries_of("given-up").len(), 4, "an acceptance alone brings it nothing now");
    agent.wait_gone(&id_of(&agent.call(&record_now("proof"))));
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries_of("given-up").len(), 5);
}

/// A canary is never one whose route holds when unsure; another route's opens for it.
#[test]
fn a_canary_is_none_whose_route_holds() {
    let upstream = Upstream::start(|_| Answer::status(401));
    let routes = "[[route]]\nentity_type = \"FISCAL\"\non_unsure = \"hold\"\n[[route]]\n";
    let agent = Agent::start(&Plan::with(upstream.url(), routes));
    let more = json!({"entity_type": "FISCAL", "retry": "now", "error": "HTTP 503: busy"});
    let fiscal = id_of(&agent.call(&record("f-1", &more)));
    agent.wait_upstream("blocked");
    upstream.on_delivery(|_| Answer::status(200));
    stays("no canary goes", Duration::from_secs(4), || upstream.deliveries().len() == 1);
    let sale = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&sale);
    agent.wait_gone(&fiscal);
}

/// Seconds from now to this time.
fn seconds_to(agent: &Agent, time: &Value) -> f64 {
    let time = time.as_str().unwrap_or_else(|| panic!("a time, not {time}"));
    agent.cell(&format!("SELECT (julianday('{time}') - julianday('now')) * 86400")).as_f64().expect("a number")
}

/// The answer counts, and asks to wait longer than the step.
#[test]
fn a_failed_try_waits_as_long_as_it_was_asked_to() {
    let upstream = Upstream::start(|_| Answer::status(500).with("Retry-After", "600"));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    let shown = agent.wait_for_failure(&id, "a counted try", |shown| shown["retry_count"] == 1);
    let wait = seconds_to(&agent, &shown["next_retry_at"]);
    assert!((580.0..=600.0).contains(&wait), "waits {wait} s");
    // The upstream itself is not held back by that.
    agent.wait_upstream("online");
}

/// Two order keys were asked to wait longer than `max_pause`: the upstream waits the full time, and a
/// `resume` does not shorten it.
#[test]
fn two_long_retry_afters_bind_the_upstream() {
    let upstream = Upstream::start(|_| Answer::status(503).with("Retry-After", "300"));
    let agent = Agent::start(&Plan { upstream: "max_pause = \"1s\"", ..Plan::impatient(upstream.url()) });
    many(&agent, ALL);
    upstream.wait_deliveries(2);
    let wait = wait_for("the upstream waiting the full time", || {
        let shown = agent.wait_upstream("throttled");
        Some(seconds_to(&agent, &shown["next_try_at"])).filter(|wait| *wait > 10.0)
    });
    assert!((280.0..=301.5).contains(&wait), "waits {wait} s");
    agent.ask(&json!({"op": "resume"}));
    stays("nothing is sent", Duration::from_millis(500), || upstream.deliveries().len() == 2);
    assert_nothing_counted(&agent);
}

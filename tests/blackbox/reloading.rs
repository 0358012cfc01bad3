//! `reload` and SIGHUP: what a changed configuration changes while
//! the agent works, what becomes of requests under way, and that a wrong one changes nothing.

use super::command_line::{out, resyncd};
use crate::support::upstream::Request;
use crate::support::{Agent, Answer, Gate, Plan, Upstream, code, id_of, record_now, stays, wait_for, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const RELOAD: &str = r#"{"op":"reload"}"#;

fn reload(agent: &Agent) -> Value {
    agent.ask(&json!({"op": "reload"}))
}

/// As a wrong file would be written, beside what `Plan` knows.
fn write_config(agent: &Agent, text: &str) {
    fs::write(agent.state_dir().with_file_name("resyncd.toml"), text).expect("the file is written");
}

fn health(agent: &Agent) -> Value {
    agent.call(&json!({"op": "health"}))
}

/// An upstream that answers deliveries when the gate opens.
fn gated() -> (Upstream, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| {
        shut.pass();
        Answer::status(200)
    });
    (upstream, gate)
}

fn entities(upstream: &Upstream) -> Vec<String> {
    upstream.deliveries().iter().map(|request| request.entity().to_owned()).collect()
}

#[test]
fn a_reload_says_what_changed_and_what_needs_a_restart() {
    let (old, new) = (Upstream::willing(), Upstream::willing());
    let plan = Plan::impatient(old.url());
    let agent = Agent::start(&plan);
    assert_eq!(reload(&agent), json!({"ok": true, "changed": [], "needs_restart": []}));
    agent.configure(&Plan {
        url: Some(new.url()),
        retry: "max_retries = 5",
        limits: "max_payload = \"1KiB\"",
        more: "[heartbeat]\nevery = \"1h\"\n[metrics]\ntextfile = \"/tmp/x.prom\"\n[[route]]\nbody = \"payload\""
            .into(),
        ..plan
    });
    let changed = ["upstream.hq", "route", "retry", "heartbeat"];
    let reply = reload(&agent);
    assert_eq!(reply, json!({"ok": true, "changed": changed, "needs_restart": ["limits", "metrics"]}));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&id);
    assert_eq!((entities(&old).len(), entities(&new)), (0, vec!["s-1".to_owned()]));
    let again = json!({"ok": true, "changed": [], "needs_restart": ["limits", "metrics"]});
    assert_eq!(reload(&agent), again, "what needs a restart is not forgotten");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM audit_log WHERE operation = 'reload'"), 3);
    assert_eq!(code(&agent.call(&json!({"op": "reload"}))), "forbidden", "not for applications");
}

#[test]
fn a_wrong_file_is_refused_and_the_old_one_stays_in_force() {
    let upstream = Upstream::willing();
    let plan = Plan::impatient(upstream.url());
    let agent = Agent::start(&plan);
    agent.wait_upstream("online");
    agent.configure(&Plan {
        upstream: "timout = \"5s\"\nheaders = { X-Tenant = 7, X-Secret = \"hush-hush\u{7f}\" }",
        ..plan.clone()
    });
    let reply = reload(&agent);
    assert_eq!(code(&reply), "bad_request");
    let told = reply["error"]["message"].as_str().expect("a message");
    assert!(told.contains("did you mean timeout?") && told.contains("X-Tenant"), "all errors at once: {told}");
    let sick = health(&agent);
    assert_eq!(sick["state"], "degraded", "{sick}");
    assert!(sick["reasons"][0].as_str().expect("a reason").contains("old one in force"), "{sick}");
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&id);
    assert!(!agent.log().contains("hush-hush"), "no line of the file is in the log");
    let status = resyncd(&agent, &["status"]);
    assert_eq!(status.status.code(), Some(0), "the command line goes on as well");
    assert!(out(&status).contains("old one in force"), "{}", out(&status));
    let by_command = resyncd(&agent, &["reload"]);
    assert_eq!(by_command.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&by_command.stderr).contains("did you mean timeout?"));
    agent.configure(&plan);
    assert_eq!(resyncd(&agent, &["reload"]).status.code(), Some(0));
    assert_eq!(health(&agent)["state"], "ok");
}

#[test]
fn a_file_that_is_gone_is_refused() {
    let agent = Agent::start(&Plan::default());
    fs::remove_file(agent.state_dir().with_file_name("resyncd.toml")).expect("it was there");
    let reply = reload(&agent);
    assert_eq!(code(&reply), "bad_request");
    assert!(reply["error"]["message"].as_str().expect("a message").contains("resyncd.toml"), "{reply}");
}

#[test]
fn a_signal_reloads_as_well() {
    let (old, new) = (Upstream::willing(), Upstream::willing());
    let agent = Agent::start(&Plan::impatient(old.url()));
    write_config(&agent, "[retry]\nbackoff = 5\n");
    agent.signal(Signal::HUP);
    wait_until("a refused reload", || health(&agent)["state"] == "degraded");
    agent.configure(&Plan::impatient(new.url()));
    agent.signal(Signal::HUP);
    wait_until("a good reload", || health(&agent)["state"] == "ok");
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    assert_eq!(entities(&new), ["s-1"]);
}

/// What is in flight ends where it was sent; the reply comes, and the next one goes, after that.
#[test]
fn a_request_in_flight_ends_under_the_configuration_it_was_sent_by() {
    let ((old, gate), new) = (gated(), Upstream::willing());
    let agent = Agent::start(&Plan::impatient(old.url()));
    let first = id_of(&agent.call(&record_now("s-1")));
    let second = id_of(&agent.call(&record_now("s-1")));
    old.wait_deliveries(1);
    agent.configure(&Plan::impatient(new.url()));
    let mut admin = agent.admin();
    admin.line(RELOAD);
    let other = id_of(&agent.call(&record_now("s-2")));
    stays("nothing is sent before", Duration::from_millis(300), || new.deliveries().is_empty());
    gate.open();
    assert_eq!(admin.reply()["changed"], json!(["upstream.hq"]));
    [first, second, other].iter().for_each(|id| agent.wait_gone(id));
    assert_eq!((entities(&old), new.deliveries_of("s-1").len(), new.deliveries().len()), (vec!["s-1".into()], 1, 2));
}

/// Only what changes has to wait.
#[test]
fn other_upstreams_go_on_while_one_waits_for_its_requests() {
    let ((pos, gate), back) = (gated(), Upstream::willing());
    let plan = |more: &str| {
        Plan::of(format!(
            "[upstream.pos]\nurl = {:?}\n{more}\n[upstream.back]\nurl = {:?}\n[[route]]\nentity_type = \"SALE\"\n\
             upstream = \"pos\"\n[[route]]\nupstream = \"back\"\n",
            pos.url(),
            back.url()
        ))
    };
    let agent = Agent::start(&plan(""));
    let stuck = id_of(&agent.call(&record_now("s-1")));
    pos.wait_deliveries(1);
    agent.configure(&plan("timeout = \"20s\""));
    let mut admin = agent.admin();
    admin.line(RELOAD);
    let mut returned = record_now("r-1");
    returned["entity_type"] = json!("RETURN");
    agent.wait_gone(&id_of(&agent.call(&returned)));
    assert!(agent.failure(&stuck).is_some(), "still in flight");
    gate.open();
    assert_eq!(admin.reply()["changed"], json!(["upstream.pos"]));
    agent.wait_gone(&stuck);
}

#[test]
fn failures_go_where_the_new_routes_lead() {
    let (mut old, new) = (Upstream::willing(), Upstream::willing());
    old.down();
    let table = |name: &str, upstream: &Upstream| format!("[upstream.{name}]\nurl = {:?}\n", upstream.url());
    let sales = |name: &str| format!("[[route]]\nentity_type = \"SALE\"\nupstream = {name:?}\n");
    let agent = Agent::start(&Plan::of(table("old", &old) + &sales("old")));
    let sale = id_of(&agent.call(&record_now("s-1")));
    let mut lost = record_now("x-1");
    lost["entity_type"] = json!("OTHER");
    let lost = id_of(&agent.call(&lost));
    assert_eq!(agent.wait_critical(&lost)["error_class"], "no_route");
    // Another name, and a route for what had none.
    agent.configure(&Plan::of(table("new", &new) + &sales("new") + "[[route]]\n"));
    assert_eq!(reload(&agent)["changed"], json!(["upstream.old", "upstream.new", "route"]));
    [&sale, &lost].iter().for_each(|id| agent.wait_gone(id));
    assert_eq!(entities(&new), ["s-1", "x-1"]);
    // No route any more: a person has to act. No upstream at all: it waits.
    agent.configure(&Plan::of(table("new", &new) + &sales("new").replace("SALE", "NONE")));
    reload(&agent);
    let third = id_of(&agent.call(&record_now("s-3")));
    assert_eq!(agent.wait_critical(&third)["upstream"], Value::Null);
    agent.configure(&Plan::of(""));
    assert_eq!(reload(&agent)["changed"], json!(["upstream.new", "route"]));
    assert_eq!(health(&agent)["upstreams"], json!([]));
    agent.configure(&Plan::of(table("new", &new)));
    reload(&agent);
    agent.wait_gone(&third);
}

/// Heads are determined again: a failure that waited behind another entity's failure, or its own, no longer waits.
#[test]
fn another_ordering_counts_from_the_reload_on() {
    let upstream = Upstream::start(|request| Answer::status(if request.entity() == "s-0" { 422 } else { 200 }));
    let ordered = |ordering| Plan { upstream: ordering, ..Plan::impatient(upstream.url()) };
    let agent = Agent::start(&ordered("ordering = \"strict\""));
    let [refused, follower, other] = ["s-0", "s-0", "s-1"].map(|entity| id_of(&agent.call(&record_now(entity))));
    agent.wait_critical(&refused);
    agent.configure(&ordered("ordering = \"key\""));
    reload(&agent);
    agent.wait_gone(&other);
    assert_eq!(agent.failure(&follower).expect("it waits")["state"], "blocked");
    agent.configure(&ordered("ordering = \"none\""));
    reload(&agent);
    agent.wait_critical(&follower);
}

/// A mended upstream is tried at once, and a person's pause stays.
#[test]
fn a_changed_upstream_is_met_anew_and_a_pause_stays() {
    let (closed, open) = (Upstream::start(|_| Answer::status(401)), Upstream::willing());
    let agent = Agent::start(&Plan::impatient(closed.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("blocked");
    agent.ask(&json!({"op": "pause"}));
    agent.configure(&Plan::impatient(open.url()));
    reload(&agent);
    stays("a pause is a person's", Duration::from_millis(300), || open.deliveries().is_empty());
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
}

/// While a reload waits for requests, a stop and a power cut find nothing half done.
#[test]
fn an_end_in_the_middle_of_a_reload_loses_nothing() {
    let ((old, gate), new) = (gated(), Upstream::willing());
    let mut agent = Agent::start(&Plan::impatient(old.url()));
    let [first, second] = ["s-1", "s-1"].map(|entity| id_of(&agent.call(&record_now(entity))));
    old.wait_deliveries(1);
    agent.configure(&Plan::impatient(new.url()));
    let mut admin = agent.admin();
    admin.line(RELOAD);
    assert_eq!(agent.call(&json!({"op": "health"}))["ok"], true, "a round later");
    agent.restart_after_kill();
    [&first, &second].iter().for_each(|id| agent.wait_gone(id));
    gate.open();
    assert_eq!(new.deliveries().iter().map(Request::id).collect::<Vec<_>>(), [&first, &second]);
    assert_eq!(new.deliveries()[0].key(), old.deliveries()[0].key(), "the same key under both");
}

/// Each request gets its one reply, also that of a reload which a stop overtakes.
#[test]
fn a_reload_that_a_stop_overtakes_is_told_so() {
    let (old, gate) = gated();
    let mut agent = Agent::start(&Plan::impatient(old.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    old.wait_deliveries(1);
    agent.configure(&Plan { upstream: "timeout = \"9s\"", ..Plan::impatient(old.url()) });
    let mut admin = agent.admin();
    admin.line(RELOAD);
    assert_eq!(agent.call(&json!({"op": "health"}))["ok"], true, "a round later");
    agent.signal(Signal::TERM);
    assert_eq!(code(&admin.reply()), "shutting_down");
    gate.open();
    assert_eq!(agent.wait_for_exit().code(), Some(0));
    agent.up();
    agent.wait_gone(&id);
}

/// One till that never rests, and a technician who never stops changing: another address, another
/// name, other routes, another order. Nothing is lost, nothing goes twice, no entity is overtaken.
#[test]
fn under_load_no_reload_loses_doubles_or_overtakes_anything() {
    const ENTITIES: usize = 12;
    let slow = || {
        Upstream::start(|_| {
            thread::sleep(Duration::from_millis(2));
            Answer::status(200)
        })
    };
    let upstreams = [slow(), slow(), slow()];
    let url = |n: usize| upstreams[n % 3].url();
    let plans: Vec<Plan> = vec![
        Plan::impatient(url(0)),
        Plan::impatient(url(1)),
        Plan::of(format!("[upstream.other]\nurl = {:?}\n", url(2))),
        Plan::of(format!(
            "[upstream.hq]\nurl = {:?}\n[upstream.other]\nurl = {:?}\n[[route]]\naction = \"UPDATE\"\nupstream = \"hq\"\n\
             [[route]]\nupstream = \"other\"\n",
            url(0),
            url(1)
        )),
        Plan { upstream: "ordering = \"strict\"", ..Plan::impatient(url(2)) },
        Plan { upstream: "timeout = \"9s\"\nconcurrency = 8", ..Plan::impatient(url(2)) },
    ];
    let agent = Agent::start(&plans[0]);
    let (stop, mut recorded) = (AtomicBool::new(false), Vec::new());
    thread::scope(|scope| {
        let till = scope.spawn(|| {
            let (mut app, mut ids) = (agent.app(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let mut sale = record_now(&format!("s-{}", ids.len() % ENTITIES));
                sale["action"] = json!(if ids.len() % 5 == 0 { "UPDATE" } else { "CREATE" });
                ids.push(id_of(&app.call(&sale)));
            }
            ids
        });
        for plan in plans.iter().cycle().skip(1).take(5 * plans.len()) {
            agent.configure(plan);
            let before: usize = upstreams.iter().map(|upstream| upstream.deliveries().len()).sum();
            let reply = reload(&agent);
            assert_eq!(reply["ok"], true, "{reply}");
            wait_until("some deliveries between two changes", || {
                upstreams.iter().map(|upstream| upstream.deliveries().len()).sum::<usize>() > before + 5
            });
        }
        stop.store(true, Ordering::Relaxed);
        recorded = till.join().expect("the till's thread ends");
    });
    wait_for("an empty table", || (agent.call(&json!({"op": "unsent"}))["unsent"] == 0).then_some(()));
    let mut sent: Vec<Request> = upstreams.iter().flat_map(Upstream::deliveries).collect();
    sent.sort_by_key(|request| request.at);
    let place: BTreeMap<&str, usize> = recorded.iter().enumerate().map(|(n, id)| (id.as_str(), n)).collect();
    assert_eq!(sent.len(), recorded.len(), "each was sent once");
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    for request in &sent {
        let at = *place.get(request.id()).expect("nothing else is sent");
        assert_eq!((request.key(), request.attempt()), (request.id(), 1));
        let before = newest.insert(request.entity().to_owned(), at);
        assert!(before.is_none_or(|before| before < at), "{} was overtaken", request.entity());
    }
}

//! What was delivered is kept in the archive when that is configured, and `replay` sends it once more: under the same
//! keys, in the old order.

use super::command_line::{out, resyncd, resyncd_with, told};
use super::damage::wait_salvaged;
use crate::support::upstream::Request;
use crate::support::{Agent, Answer, Gate, Plan, Upstream, code, id_of, lines, record, wait_for, wait_until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

const KEPT: &str = "[retention]\ndelivered = \"7d\"\n";
const REPLAY: [&str; 6] = ["replay", "--since", "1h", "--yes", "--reason", "a backup was restored"];

/// The files of deliveries.
fn files(agent: &Agent) -> Vec<PathBuf> {
    let entries = fs::read_dir(agent.state_dir().join("archive")).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("delivered-")));
    files.sort();
    files
}

fn archived(agent: &Agent) -> Vec<Value> {
    let texts = files(agent).into_iter().map(|file| fs::read_to_string(file).expect("a file"));
    let texts: String = texts.collect();
    texts.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

fn now(entity: &str, action: &str, more: &Value) -> Value {
    let mut request = record(entity, &json!({"retry": "now", "action": action}));
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    request
}

/// Hands these over and waits until all of them are delivered; their ids.
fn deliver(agent: &Agent, all: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut app = agent.app();
    app.send(lines(all));
    app.half_close();
    let ids: Vec<String> = app.rest().iter().map(id_of).collect();
    wait_until("everything being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
    ids
}

fn an_agent(more: &str) -> (Upstream, Agent) {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), format!("{KEPT}{more}")));
    (upstream, agent)
}

fn replay(agent: &Agent, more: &[&str]) -> Output {
    let done = resyncd(agent, &[&REPLAY, more].concat());
    assert_eq!(done.status.code(), Some(0), "{} {}", out(&done), told(&done));
    done
}

/// What the upstream has got for each entity, in its order: key, id, action.
fn by_entity(deliveries: &[Request]) -> BTreeMap<String, Vec<(String, String, String)>> {
    let mut all: BTreeMap<String, Vec<(String, String, String)>> = BTreeMap::new();
    for request in deliveries {
        let envelope: Value = serde_json::from_slice(&request.body).expect("an envelope");
        let action = envelope["action"].as_str().expect("an action").to_owned();
        let one = (request.key().to_owned(), request.id().to_owned(), action);
        all.entry(request.entity().to_owned()).or_default().push(one);
    }
    all
}

#[test]
fn without_the_setting_nothing_is_kept_and_the_commands_say_so() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    deliver(&agent, [now("r-1", "CREATE", &json!({}))]);
    assert!(!agent.state_dir().join("archive").exists());
    let none = resyncd(&agent, &REPLAY);
    assert_eq!(none.status.code(), Some(1));
    assert!(told(&none).contains("[retention] delivered = \"7d\""), "{}", told(&none));
    for shown in [out(&resyncd(&agent, &["show", "1"])), told(&resyncd(&agent, &["retry", "1"]))] {
        assert!(shown.contains("delivered to hq") && shown.contains("cannot be sent again"), "{shown}");
        assert!(shown.contains("[retention] delivered is \"0d\""), "{shown}");
    }
}

#[test]
fn what_was_delivered_has_its_line_and_only_the_owner_reads_it() {
    let (_upstream, agent) = an_agent("");
    let more = json!({"idempotency_key": "k-1", "payload": {"total": 12.5}});
    let ids = deliver(
        &agent,
        [now("r-1", "CREATE", &more), now("r-2", "CREATE", &json!({"payload": null, "payload_base64": "/w=="}))],
    );
    let all = archived(&agent);
    assert_eq!(all.len(), 2, "{all:?}");
    let line = all.iter().find(|line| line["id"] == ids[0].as_str()).expect("the first");
    for (field, value) in [
        ("payload", json!("{\"total\":12.5}")),
        ("idempotency_key", json!("k-1")),
        ("outcome", json!("delivered")),
        ("upstream", json!("hq")),
        ("attempts", json!(1)),
        ("instance", agent.cell("SELECT instance FROM agent")),
        ("source_uid", json!(rustix::process::getuid().as_raw())),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert!(all.iter().any(|line| line["payload_base64"] == "/w=="), "{all:?}");
    let file = files(&agent).pop().expect("one");
    let day = line["left_at"].as_str().expect("a time")[..10].to_owned();
    assert_eq!(file.file_name().expect("a name").to_string_lossy(), format!("delivered-{day}.jsonl"));
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let import = resyncd(&agent, &["import", file.to_str().expect("a path")]);
    assert!(out(&import).contains("bring it back by replay"), "{}", out(&import));
}

/// The head office has lost everything since the morning: it gets it again under the same keys, each entity in its order.
#[test]
fn everything_goes_out_again_under_the_same_keys_in_the_old_order() {
    let (upstream, agent) = an_agent("");
    let entity = |n: usize| format!("r-{}", n % 7);
    let action = |n: usize| ["CREATE", "UPDATE", "DELETE"][n / 7 % 3];
    let keyed = |n: usize| if n.is_multiple_of(2) { json!({"idempotency_key": format!("k-{n}")}) } else { json!({}) };
    deliver(&agent, (0..21).map(|n| now(&entity(n), action(n), &keyed(n))));
    let before = by_entity(&upstream.deliveries());
    let told_before = upstream.deliveries().len();
    let said = out(&replay(&agent, &[]));
    assert!(said.contains("21 are sent again"), "{said}");
    let all = upstream.wait_deliveries(told_before + 21);
    assert_eq!(by_entity(&all[told_before..]), before);
    assert!(all[told_before..].iter().all(|request| request.attempt() == 2), "attempts count on");
    wait_until("everything being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
    let audited = agent.rows("SELECT DISTINCT operation, reason FROM audit_log");
    assert_eq!(audited, [[json!("replay"), json!("a backup was restored")]]);
    assert_eq!(agent.cell("SELECT count(*) FROM audit_log"), 21);
    assert_eq!(agent.cell("SELECT max(seq) FROM sync_attempts"), 21, "the numbers are the same");
    // A second restore: of the two lines of each the last one counts.
    assert_eq!(archived(&agent).len(), 42);
    let said = out(&replay(&agent, &[]));
    assert!(said.contains("21 are sent again"), "{said}");
    let all = upstream.wait_deliveries(told_before + 42);
    assert_eq!(by_entity(&all[told_before + 21..]), before);
}

#[test]
fn twice_changes_nothing_and_a_repeated_record_is_the_live_one() {
    let (upstream, agent) = an_agent("");
    let keyed = now("r-1", "CREATE", &json!({"idempotency_key": "k-1"}));
    let ids = deliver(&agent, [keyed.clone(), now("r-2", "CREATE", &json!({}))]);
    assert_eq!(agent.call(&keyed)["status"], "delivered");
    agent.ask(&json!({"op": "pause"}));
    replay(&agent, &[]);
    let table = "SELECT seq, id, attempts, head, status, due_at FROM sync_failures ORDER BY seq";
    let (live, deeds) = (agent.rows(table), agent.cell("SELECT count(*) FROM audit_log"));
    let said = out(&replay(&agent, &[]));
    assert!(said.contains("0 are sent again") && said.contains("2 are live already"), "{said}");
    assert_eq!((agent.rows(table), agent.cell("SELECT count(*) FROM audit_log")), (live, deeds));
    let again = agent.call(&keyed);
    assert_eq!(
        (&again["status"], &again["duplicate"], &again["id"]),
        (&json!("pending"), &json!(true), &json!(ids[0]))
    );
    let imported = agent.ask(&json!({"op": "replay", "rows": [archived(&agent)[0]], "reason": " "}));
    assert_eq!(code(&imported), "bad_request", "without a reason");
    agent.ask(&json!({"op": "resume"}));
    upstream.wait_deliveries(4);
    wait_until("both being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
    assert_eq!(agent.call(&keyed)["status"], "delivered");
}

#[test]
fn filters_choose_and_a_dry_run_changes_nothing() {
    let (upstream, agent) = an_agent("");
    deliver(&agent, [now("r-1", "CREATE", &json!({})), now("r-1", "UPDATE", &json!({}))]);
    deliver(&agent, [now("r-2", "CREATE", &json!({})), now("s 3", "CREATE", &json!({"entity_type": "RETURN"}))]);
    let said = |more: &[&str]| out(&replay(&agent, more));
    assert!(said(&["--dry-run"]).contains("4 would be sent again"), "{}", said(&["--dry-run"]));
    for (more, count) in [
        (&["--entity", "r-1"][..], 2),
        (&["--entity", "r-1", "--action", "UPDATE"], 1),
        (&["--type", "RETURN"], 1),
        (&["--upstream", "hq"], 4),
        (&["--upstream", "sap"], 0),
        (&["--until", "2020-01-01"], 0),
    ] {
        let said = said(&[more, &["--dry-run"]].concat());
        let right = if count == 0 { "No delivered failure matches".into() } else { format!("{count} would be sent") };
        assert!(said.contains(&right), "{more:?}: {said}");
    }
    assert_eq!((upstream.deliveries().len(), agent.cell("SELECT count(*) FROM audit_log")), (4, json!(0)));
    // Nobody is there to confirm it.
    let asked = resyncd(&agent, &["replay", "--since", "1h", "--reason", "x"]);
    assert_eq!(asked.status.code(), Some(2));
    let told = told(&asked);
    assert!(
        told.contains("4 delivered failures match") && told.contains("--yes") && told.contains("r-1 CREATE"),
        "{told}"
    );
    replay(&agent, &["--entity", "r-2"]);
    assert_eq!(upstream.wait_deliveries(5)[4].entity(), "r-2");
}

/// A filter may bring back a part, and the rest later: numbers keep the order that they had.
#[test]
fn what_comes_back_goes_before_what_was_recorded_after_it() {
    let (upstream, agent) = an_agent("");
    let steps = ["CREATE", "UPDATE", "DELETE"];
    deliver(&agent, steps.map(|action| now("r-1", action, &json!({}))));
    agent.ask(&json!({"op": "pause"}));
    id_of(&agent.call(&now("r-1", "CORRECT", &json!({}))));
    for action in ["UPDATE", "DELETE", "CREATE"] {
        replay(&agent, &["--action", action]);
    }
    let heads = agent.rows("SELECT seq, head FROM sync_failures ORDER BY seq");
    assert_eq!(heads, [[1, 1], [2, 0], [3, 0], [4, 0]].map(|row| row.map(|n| json!(n))));
    agent.ask(&json!({"op": "resume"}));
    let all = by_entity(&upstream.wait_deliveries(7)[3..]);
    let order: Vec<&str> = all["r-1"].iter().map(|(.., action)| action.as_str()).collect();
    assert_eq!(order, ["CREATE", "UPDATE", "DELETE", "CORRECT"]);
}

#[test]
fn under_strict_order_what_comes_back_is_the_front_again() {
    let upstream = Upstream::willing();
    let plan = Plan { upstream: "ordering = \"strict\"", ..Plan::with(upstream.url(), KEPT) };
    let agent = Agent::start(&plan);
    deliver(&agent, (0..5).map(|n| now(&format!("r-{n}"), "CREATE", &json!({}))));
    let entities = |from: usize| -> Vec<String> {
        upstream.deliveries()[from..].iter().map(|request| request.entity().to_owned()).collect()
    };
    let before = entities(0);
    replay(&agent, &[]);
    upstream.wait_deliveries(10);
    assert_eq!(entities(5), before);
}

/// A request cannot be called back: what was recorded before it waits until it has ended.
#[test]
fn while_a_later_one_is_being_sent_it_waits() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let upstream = Upstream::start(move |request| {
        if request.nth == 3 {
            shut.pass();
        }
        Answer::status(200)
    });
    let agent = Agent::start(&Plan::with(upstream.url(), KEPT));
    deliver(&agent, [now("r-1", "CREATE", &json!({})), now("r-2", "CREATE", &json!({}))]);
    let later = id_of(&agent.call(&now("r-1", "UPDATE", &json!({}))));
    agent.wait_for_failure(&later, "it is being sent", |failure| failure["state"] == "in_flight");
    let line = archived(&agent).into_iter().find(|line| line["entity_id"] == "r-1").expect("its line");
    let reply = agent.ask(&json!({"op": "replay", "rows": [line], "reason": "x"}));
    assert_eq!(reply["rows"][0]["error"]["code"], "busy", "{reply}");
    std::thread::scope(|scope| {
        let command = scope.spawn(|| replay(&agent, &[]));
        wait_until("the other one being sent again", || upstream.deliveries_of("r-2").len() == 2);
        assert_eq!(upstream.deliveries_of("r-1").len(), 2, "the first one waits");
        gate.open();
        let said = out(&command.join().expect("it ends"));
        assert!(said.contains("2 are sent again"), "{said}");
    });
    wait_until("everything being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
    let all = by_entity(&upstream.deliveries());
    let order: Vec<&str> = all["r-1"].iter().map(|(.., action)| action.as_str()).collect();
    assert_eq!(order, ["CREATE", "UPDATE", "CREATE"]);
}

/// A route that holds what may have arrived holds what comes back, because the head office may still have it.
#[test]
fn a_route_that_holds_puts_it_on_hold() {
    let route = "[[route]]\nentity_type = \"SALE\"\nupstream = \"hq\"\non_unsure = \"hold\"\n";
    let (upstream, agent) = an_agent(route);
    // Without an attempt of the application's own, which may have arrived.
    let ids = deliver(&agent, [now("r-1", "CREATE", &json!({"error": null}))]);
    let said = out(&replay(&agent, &[]));
    assert!(said.contains("on hold") && said.contains("resyncd list --status held"), "{said}");
    assert_eq!(agent.failure(&ids[0]).expect("it is live")["status"], "held");
    assert_eq!(resyncd(&agent, &["release", "1"]).status.code(), Some(0));
    let all = upstream.wait_deliveries(2);
    assert_eq!(all[0].key(), all[1].key());
}

/// What was delivered, came back and was given up stays given up: its old line is not its last word.
#[test]
fn what_was_given_up_since_does_not_come_back() {
    let (upstream, agent) = an_agent("");
    let id = deliver(&agent, [now("r-1", "CREATE", &json!({}))])[0].clone();
    upstream.on_delivery(|_| Answer::status(422));
    replay(&agent, &[]);
    agent.wait_critical(&id);
    assert_eq!(agent.ask(&json!({"op": "discard", "ids": [id], "reason": "x"}))["changed"], 1);
    let refused = resyncd(&agent, &REPLAY);
    assert_eq!(refused.status.code(), Some(1));
    assert!(out(&refused).contains("no. 1: it came back after this delivery and was given up"), "{}", out(&refused));
    assert!(agent.failure(&id).is_none());
    let shown = out(&resyncd(&agent, &["show", "1"]));
    assert!(shown.contains("discarded at") && !shown.contains("resyncd replay"), "{shown}");
}

/// The database is lost while replayed failures wait: their earlier deliveries do not end their present life.
#[test]
fn what_was_replayed_is_salvaged_like_any_live_failure() {
    for deleted in [true, false] {
        let (upstream, mut agent) = an_agent("");
        let ids = deliver(&agent, (0..3).map(|n| now(&format!("r-{n}"), "CREATE", &json!({}))));
        agent.ask(&json!({"op": "pause"}));
        replay(&agent, &[]);
        if deleted {
            for part in ["", "-wal", "-shm"] {
                fs::remove_file(agent.state_dir().join(format!("sync_failures.db{part}"))).expect("it is removed");
            }
            assert!(agent.stop().success());
        } else {
            assert!(agent.stop().success());
            let file = fs::OpenOptions::new().write(true).open(agent.database()).expect("the file opens");
            file.write_all_at(&[0; 100], 0).expect("the header is overwritten");
        }
        agent.up();
        assert_eq!(wait_salvaged(&agent, 1), "salvaged=3 lost=0\n", "deleted: {deleted}");
        let live = agent.rows("SELECT id, seq, attempts FROM sync_failures ORDER BY seq");
        let right: Vec<Vec<Value>> = (1..).zip(&ids).map(|(n, id)| vec![json!(id), json!(n), json!(1)]).collect();
        assert_eq!(live, right, "deleted: {deleted}");
        agent.ask(&json!({"op": "resume"}));
        let all = upstream.wait_deliveries(6);
        let keys = |some: &[Request]| some.iter().map(|one| one.key().to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(keys(&all[3..]), keys(&all[..3]));
    }
}

/// The database is damaged or lost after the deliveries: what comes back still goes before what was recorded since.
#[test]
fn a_replay_keeps_its_order_over_the_loss_of_the_database() {
    for way in ["damaged", "damaged, and the directory does not say which it was", "lost"] {
        let (upstream, mut agent) = an_agent("");
        deliver(&agent, ["CREATE", "UPDATE"].map(|action| now("r-1", action, &json!({}))));
        let instance = agent.cell("SELECT instance FROM agent");
        assert!(agent.stop().success());
        if way == "lost" {
            fs::remove_file(agent.database()).expect("it is removed");
        } else {
            let file = fs::OpenOptions::new().write(true).open(agent.database()).expect("the file opens");
            file.write_all_at(&[0; 100], 0).expect("the header is overwritten");
            if way != "damaged" {
                fs::remove_file(agent.state_dir().join("instance")).expect("it is removed");
            }
        }
        agent.up();
        if way != "lost" {
            wait_salvaged(&agent, 1);
            // The numbers continue, so it is the same database.
            wait_until("its name", || agent.cell("SELECT instance FROM agent") == instance);
        }
        agent.ask(&json!({"op": "pause"}));
        id_of(&agent.call(&now("r-1", "DELETE", &json!({}))));
        let said = out(&replay(&agent, &[]));
        assert!(said.contains("2 are sent again") && !said.contains("new numbers"), "{way}: {said}");
        agent.ask(&json!({"op": "resume"}));
        let all = by_entity(&upstream.wait_deliveries(5)[2..]);
        let order: Vec<&str> = all["r-1"].iter().map(|(.., action)| action.as_str()).collect();
        assert_eq!(order, ["CREATE", "UPDATE", "DELETE"], "{way}");
    }
}

/// A sequence comes back in parts, and anything may happen between two of them: nothing newer is sent before the rest.
#[test]
fn nothing_newer_goes_between_two_parts_of_a_sequence() {
    for (ordering, entities) in [("entity", ["r-1"; 4]), ("strict", ["r-1", "r-2", "r-3", "r-4"])] {
        let upstream = Upstream::willing();
        let line = if ordering == "strict" { "ordering = \"strict\"" } else { "" };
        let mut agent = Agent::start(&Plan { upstream: line, ..Plan::with(upstream.url(), KEPT) });
        let ids: Vec<String> =
            (0..3).flat_map(|n| deliver(&agent, [now(entities[n], &format!("A{n}"), &json!({}))])).collect();
        let lines: Vec<Value> = ids
            .iter()
            .map(|id| archived(&agent).into_iter().find(|line| line["id"] == id.as_str()).expect("it"))
            .collect();
        let part = |rows: &[Value], more: bool, after: Option<&str>| {
            agent.ask(&json!({"op": "replay", "rows": rows, "more": more, "after": after, "reason": "x"}))
        };
        let reply = part(&lines[..2], true, None);
        assert_eq!((&reply["held"], &reply["rows"][1]["status"]), (&json!(ids[1]), &json!("held")), "{reply}");
        let newer = id_of(&agent.call(&now(entities[3], "A3", &json!({}))));
        upstream.wait_deliveries(4);
        agent.wait_gone(&ids[0]);
        let shown = out(&resyncd(&agent, &["show", "2"]));
        assert!(shown.contains("still to be replayed") && shown.contains("resyncd release 2"), "{shown}");
        agent.kill9();
        agent.up();
        // Whatever is sent of this entity is sent after the agent has looked at the table.
        deliver_another(&upstream, &agent, ordering);
        assert!(agent.failure(&newer).is_some(), "{ordering}: it waits for the rest");
        let part = |rows: &[Value], more: bool, after: Option<&str>| {
            agent.ask(&json!({"op": "replay", "rows": rows, "more": more, "after": after, "reason": "x"}))
        };
        // The reply to the first part may have been lost, so it is sent again.
        let reply = part(&lines[1..2], true, None);
        assert_eq!((&reply["held"], &reply["rows"][0]["result"]), (&json!(ids[1]), &json!("live")), "{reply}");
        let reply = part(&lines[2..], false, Some(&ids[1]));
        assert_eq!(reply["held"], Value::Null, "{reply}");
        agent.wait_gone(&newer);
        let all = upstream.deliveries();
        let all = all.iter().filter(|request| request.entity() != "another").skip(3);
        let sent: Vec<String> = all.map(|request| request.id().to_owned()).collect();
        assert_eq!(sent.iter().collect::<Vec<_>>(), [&ids[0], &ids[1], &ids[2], &newer], "{ordering}");
    }
}

/// Without an order for all, another entity is delivered meanwhile.
fn deliver_another(upstream: &Upstream, agent: &Agent, ordering: &str) {
    if ordering == "entity" {
        id_of(&agent.call(&now("another", "CREATE", &json!({}))));
        wait_until("another one being delivered", || upstream.deliveries_of("another").len() == 1);
    } else {
        wait_until("the agent having looked", || agent.ask(&json!({"op": "health"}))["ok"] == true);
    }
}

/// The rest never comes: an operator releases what is held for it.
#[test]
fn the_rest_of_a_replay_can_be_given_up() {
    let (upstream, agent) = an_agent("");
    let ids = deliver(&agent, ["CREATE", "UPDATE"].map(|action| now("r-1", action, &json!({}))));
    let line = archived(&agent).into_iter().find(|line| line["id"] == ids[0].as_str()).expect("its line");
    let reply = agent.ask(&json!({"op": "replay", "rows": [line], "more": true, "reason": "x"}));
    assert_eq!(reply["held"], json!(ids[0]), "{reply}");
    assert_eq!(resyncd(&agent, &["release", "1"]).status.code(), Some(0));
    upstream.wait_deliveries(3);
    agent.wait_gone(&ids[0]);
}

/// The terminal of the operator is gone in the middle of it. The command that was printed first goes on, and then changes
/// nothing more.
#[test]
fn a_replay_that_was_killed_goes_on_with_the_command_that_it_printed() {
    let (upstream, agent) = an_agent("");
    let more = json!({"order_key": "till"});
    let ids = deliver(&agent, (0..600).map(|n| now(&format!("r-{n}"), "CREATE", &more)));
    agent.ask(&json!({"op": "pause"}));
    let config = agent.state_dir().with_file_name("resyncd.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
    command.env("RESYNCD_CONFIG", config).args(REPLAY).stdin(Stdio::null()).stdout(Stdio::null());
    let mut command = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
    wait_until("some of it being live", || agent.call(&json!({"op": "unsent"}))["unsent"] != 0);
    command.kill().expect("it is killed, or has ended");
    let killed = command.wait_with_output().expect("it ends");
    let said = told(&killed);
    let printed = said.lines().find(|line| line.starts_with("resyncd replay")).unwrap_or_else(|| panic!("{said}"));
    // What is back is delivered meanwhile, and not sent for the third time.
    agent.ask(&json!({"op": "resume"}));
    upstream.wait_deliveries(601);
    let done = in_a_shell(&agent, printed);
    assert_eq!(done.status.code(), Some(0), "{} {}", out(&done), told(&done));
    wait_until("everything being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
    let sent: Vec<String> = upstream.deliveries()[600..].iter().map(|request| request.id().to_owned()).collect();
    assert_eq!(sent, ids);
    let again = out(&in_a_shell(&agent, printed));
    assert!(again.contains("No delivered failure matches"), "{again}");
    assert_eq!(upstream.deliveries().len(), 1200);
}

/// The history is kept for a shorter time than the archive of deliveries.
#[test]
fn what_left_the_history_is_told_from_the_archive() {
    let (upstream, agent) = an_agent("history = \"1s\"\ninterval = \"1s\"\n");
    let id = deliver(&agent, [now("r-1", "CREATE", &json!({}))])[0].clone();
    wait_until("the attempt leaving the history", || agent.cell("SELECT count(*) FROM sync_attempts") == 0);
    let listed = out(&resyncd(&agent, &["history", "--delivered"]));
    assert!(listed.contains("SALE r-1 CREATE") && listed.contains("hq"), "{listed}");
    for way in [&["show", "1"][..], &["show", &id], &["show", "r-1"], &["retry", "1"]] {
        let said = resyncd(&agent, way);
        let said = out(&said) + &told(&said);
        assert!(said.contains("delivered to hq") && said.contains("resyncd replay --since"), "{way:?}: {said}");
    }
    replay(&agent, &[]);
    upstream.wait_deliveries(2);
}

#[test]
fn a_failure_that_was_replayed_is_recorded_once() {
    let (upstream, agent) = an_agent("");
    deliver(&agent, (0..3).map(|n| now(&format!("r-{n}"), "CREATE", &json!({}))));
    let numbers = || {
        let said = out(&resyncd(&agent, &["stats", "--json"]));
        let totals: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
        [&totals["recorded"], &totals["delivered"]].map(|number| number.as_u64().expect("a number"))
    };
    assert_eq!(numbers(), [3, 3]);
    replay(&agent, &[]);
    upstream.wait_deliveries(6);
    wait_until("everything being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
    assert_eq!(numbers(), [3, 6]);
    agent.ask(&json!({"op": "pause"}));
    replay(&agent, &[]);
    assert_eq!(numbers(), [3, 6], "they are live again");
    assert_eq!(agent.ask(&json!({"op": "discard", "all": true, "reason": "x"}))["changed"], 3);
    assert_eq!(numbers(), [3, 6], "they were given up after all");
}

/// The lines of what was discarded or cleaned up.
fn undelivered(agent: &Agent) -> String {
    let entries = fs::read_dir(agent.state_dir().join("archive")).expect("an archive");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| !name.to_string_lossy().starts_with("delivered-")));
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].to_str().expect("a path").to_owned()
}

/// Delivered, replayed and then discarded: its last leaving counts, everywhere.
#[test]
fn what_was_given_up_after_a_replay_is_named_and_can_be_imported() {
    let (upstream, agent) = an_agent("");
    let keyed = now("r-1", "CREATE", &json!({"idempotency_key": "k-1"}));
    let id = deliver(&agent, [keyed])[0].clone();
    for round in 0..2 {
        agent.ask(&json!({"op": "pause"}));
        replay(&agent, &[]);
        assert_eq!(agent.ask(&json!({"op": "discard", "ids": [id], "reason": "x"}))["changed"], 1);
        let removed = out(&resyncd(&agent, &["history", "--removed", "--json"]));
        let removed: Vec<Value> = removed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(removed.len(), 1, "round {round}: {removed:?}");
        assert_eq!(removed[0]["failure_id"], json!(id));
        for command in [&["status"][..], &["check", "--closing"]] {
            let said = out(&resyncd(&agent, command));
            assert!(said.contains("1 archived undelivered on 20"), "round {round}, {command:?}: {said}");
        }
        let refused = resyncd(&agent, &REPLAY);
        assert!(out(&refused).contains("import brings it back"), "{}", out(&refused));
        let import = || out(&resyncd(&agent, &["import", &undelivered(&agent)]));
        let said = import();
        // The second time the file has two lines of it.
        let present = format!("1 imported, {round} were here already.");
        assert!(said.contains(&present), "round {round}: {said}");
        assert_eq!(agent.failure(&id).expect("it is live")["idempotency_key"], "k-1");
        let none = |said: &str| said.contains("Nothing was removed undelivered");
        assert!(none(&out(&resyncd(&agent, &["history", "--removed"]))), "it is live");
        agent.ask(&json!({"op": "resume"}));
        agent.wait_gone(&id);
        assert!(none(&out(&resyncd(&agent, &["history", "--removed"]))), "it is delivered");
        let said = import();
        assert!(said.contains("0 imported"), "it is delivered: {said}");
    }
    let all = upstream.wait_deliveries(3);
    assert!(all.iter().all(|request| request.key() == "k-1"));
    let attempts: Vec<u32> = all.iter().map(Request::attempt).collect();
    assert_eq!(attempts, [1, 2, 3], "attempts are counted over all lives");
}

/// The attempts of a life that ended undelivered do not hide the delivery of the next one.
#[test]
fn what_was_discarded_imported_and_delivered_is_replayed() {
    let (upstream, agent) = an_agent("");
    upstream.on_delivery(|_| Answer::status(422));
    let id = id_of(&agent.call(&now("r-1", "CREATE", &json!({}))));
    agent.wait_critical(&id);
    agent.ask(&json!({"op": "retry", "ids": [id]}));
    upstream.wait_deliveries(2);
    agent.wait_critical(&id);
    assert_eq!(agent.ask(&json!({"op": "discard", "ids": [id], "reason": "x"}))["changed"], 1);
    upstream.on_delivery(|_| Answer::status(200));
    let said = out(&resyncd(&agent, &["import", &undelivered(&agent)]));
    assert!(said.contains("1 imported"), "{said}");
    agent.ask(&json!({"op": "retry", "ids": [id]}));
    agent.wait_gone(&id);
    for n in 3..6 {
        let all = upstream.wait_deliveries(n);
        assert_eq!((all.len(), all[n - 1].attempt()), (n, u32::try_from(n).expect("few")));
        if n < 5 {
            let said = out(&replay(&agent, &[]));
            assert!(said.contains("1 is sent again"), "{said}");
            upstream.wait_deliveries(n + 1);
            agent.wait_gone(&id);
        }
    }
}

/// The head office had it, so a refusal of the replayed failure may mean that it still has it.
#[test]
fn an_edit_after_a_replay_and_a_refusal_keeps_the_key() {
    let (upstream, agent) = an_agent("");
    let id = deliver(&agent, [now("r-1", "CREATE", &json!({"payload": {"n": 1}}))])[0].clone();
    upstream.on_delivery(|_| Answer::json(422, r#"{"message":"exists already"}"#));
    replay(&agent, &[]);
    agent.wait_critical(&id);
    upstream.on_delivery(|_| Answer::status(200));
    let edited = agent.ask(&json!({"op": "edit", "id": id, "payload": {"n": 2}, "reason": "x"}));
    assert_eq!((&edited["key_kept"], &edited["idempotency_key"]), (&json!(true), &json!(id)), "{edited}");
    agent.wait_gone(&id);
    assert!(upstream.deliveries().iter().all(|request| request.key() == id));
}

/// There is no room for all at once. The message has the command for the next run, which leaves out what this one has
/// brought back, although it was delivered again.
#[test]
fn a_replay_that_meets_the_quota_goes_on_with_the_printed_command() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan { limits: "max_failures = 3", ..Plan::with(upstream.url(), KEPT) });
    let ids: Vec<String> =
        (0..7).flat_map(|n| deliver(&agent, [now(&format!("o'neil {n}"), "CREATE", &json!({}))])).collect();
    let mut run = resyncd(&agent, &[&REPLAY[..], &["--type", "SALE"]].concat());
    for runs in 1..=3 {
        let said = told(&run);
        if runs == 3 {
            assert_eq!(run.status.code(), Some(0), "{said}");
            break;
        }
        agent.ask(&json!({"op": "resume"}));
        assert_eq!(run.status.code(), Some(1), "run {runs}: {said}");
        upstream.wait_deliveries(7 + 3 * runs);
        wait_until("everything being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
        agent.ask(&json!({"op": "pause"}));
        let command = said.lines().find_map(|line| Some(&line[line.find("resyncd replay")?..]));
        let command = command.unwrap_or_else(|| panic!("no command: {said}"));
        assert!(command.contains("--until") && command.contains("--type SALE"), "{command}");
        run = in_a_shell(&agent, command);
    }
    agent.ask(&json!({"op": "resume"}));
    upstream.wait_deliveries(14);
    wait_until("everything being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
    for id in ids {
        assert_eq!(upstream.deliveries().iter().filter(|request| request.key() == id).count(), 2, "{id}");
    }
}

/// The keys of an edited failure are the one that it is sent under, and the one that the application knows.
#[test]
fn an_edited_failure_keeps_both_of_its_keys() {
    let upstream = Upstream::start(|request| Answer::status(if request.nth == 1 { 422 } else { 200 }));
    let agent = Agent::start(&Plan::with(upstream.url(), KEPT));
    let keyed = now("r-1", "CREATE", &json!({"idempotency_key": "k-1", "payload": {"n": 1}}));
    let id = id_of(&agent.call(&keyed));
    agent.wait_critical(&id);
    let edited = agent.ask(&json!({"op": "edit", "id": id, "payload": {"n": 2}, "reason": "x"}));
    assert_eq!(edited["ok"], true, "{edited}");
    agent.wait_gone(&id);
    agent.ask(&json!({"op": "pause"}));
    replay(&agent, &[]);
    let known = agent.call(&keyed);
    assert_eq!((&known["status"], &known["id"]), (&json!("pending"), &json!(id)), "{known}");
    agent.ask(&json!({"op": "resume"}));
    let all = upstream.wait_deliveries(3);
    assert_eq!((all[1].key(), all[1].text()), (all[2].key(), all[2].text()));
    agent.wait_gone(&id);
    assert_eq!(agent.call(&keyed)["status"], "delivered");
}

/// Runs a command as the product prints it.
fn as_printed(agent: &Agent, printed: &str) -> Output {
    in_a_shell(agent, &format!("{} --yes", printed.replace("\"...\"", "\"it was lost\"")))
}

fn in_a_shell(agent: &Agent, command: &str) -> Output {
    let binary = env!("CARGO_BIN_EXE_resyncd");
    let script = format!("resyncd() {{ '{binary}' \"$@\"; }}\n{command}");
    let config = agent.state_dir().with_file_name("resyncd.toml");
    Command::new("sh").args(["-c", &script]).env("RESYNCD_CONFIG", config).output().expect("a shell")
}

/// Whoever asks for one that was delivered learns when that was, and the command that is printed helps.
#[test]
fn the_advice_for_a_delivered_failure_helps() {
    let (upstream, agent) = an_agent("");
    let id = deliver(&agent, [now("o'neil 7", "CREATE", &json!({})), now("r-2", "CREATE", &json!({}))])[0].clone();
    let ways: [&[&str]; 7] = [
        &["show", "1"],
        &["show", &id],
        &["show", "o'neil 7"],
        &["retry", "1"],
        &["retry", "o'neil 7"],
        &["hold", "1"],
        &["edit", "1", "--reason", "x"],
    ];
    for (n, way) in ways.into_iter().enumerate() {
        let said = resyncd(&agent, way);
        assert_eq!(said.status.code(), Some(i32::from(way[0] != "show")), "{way:?}: {}", told(&said));
        let said = out(&said) + &told(&said);
        assert!(said.contains("delivered to hq") && said.contains("SALE o'neil 7 CREATE"), "{way:?}: {said}");
        let command = said.lines().find_map(|line| Some(&line[line.find("resyncd replay")?..]));
        let command = command.unwrap_or_else(|| panic!("{way:?} gives no command: {said}"));
        let done = as_printed(&agent, command);
        assert_eq!(done.status.code(), Some(0), "{command}: {}", told(&done));
        let all = upstream.wait_deliveries(3 + n);
        assert_eq!((all[2 + n].key(), all.len()), (id.as_str(), 3 + n), "{command} has brought back that one alone");
        agent.wait_gone(&id);
    }
    for file in files(&agent) {
        fs::remove_file(file).expect("the file goes");
    }
    let said = told(&resyncd(&agent, &["retry", "1"]));
    assert!(said.contains("cannot be sent again") && said.contains("7 d"), "{said}");
}

#[test]
fn deliveries_are_listed() {
    let (_upstream, agent) = an_agent("");
    let ids = deliver(&agent, (0..3).map(|n| now(&format!("r-{n}"), "CREATE", &json!({}))));
    let listed = resyncd_with(&agent, &["history", "--delivered", "--since", "1h"], "", &[("COLUMNS", "80")]);
    let text = out(&listed);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("hq") && text.contains("200") && text.contains("SALE r-2 CREATE"), "{text}");
    let json = out(&resyncd(&agent, &["history", "--delivered", "--since", "1h", "--json"]));
    let listed: BTreeSet<String> = json
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["failure_id"].as_str().expect("id").to_owned())
        .collect();
    assert_eq!(listed, ids.into_iter().collect());
    let none = out(&resyncd(&agent, &["history", "--delivered", "--since", "2999-01-01"]));
    assert!(none.contains("Nothing was delivered"), "{none}");
}

#[test]
fn old_files_of_the_archive_are_deleted() {
    let upstream = Upstream::willing();
    let retention = "[retention]\ndelivered = \"1s\"\ninterval = \"1s\"\n";
    let mut agent = Agent::start(&Plan::with(upstream.url(), retention));
    deliver(&agent, [now("r-1", "CREATE", &json!({}))]);
    wait_until("the file being deleted", || files(&agent).is_empty());
    deliver(&agent, [now("r-2", "CREATE", &json!({}))]);
    assert!(agent.log().contains("event=archive_expired"));
    // Whoever does not keep it any more finds nothing left of it.
    assert!(agent.stop().success());
    agent.configure(&Plan::with(upstream.url(), KEPT));
    agent.up();
    deliver(&agent, [now("r-3", "CREATE", &json!({}))]);
    assert_eq!(files(&agent).len(), 1);
    assert!(agent.stop().success());
    agent.configure(&Plan::with(upstream.url(), "[retention]\ninterval = \"1s\"\n"));
    agent.up();
    wait_until("the file being deleted", || files(&agent).is_empty());
}

/// A link in its place leads nowhere, and delivery goes on: what is missing in the archive is named.
#[test]
fn a_link_is_not_followed_and_delivery_does_not_wait_for_the_archive() {
    let (upstream, agent) = an_agent("");
    deliver(&agent, [now("r-1", "CREATE", &json!({}))]);
    let file = files(&agent).pop().expect("one");
    let elsewhere = agent.state_dir().with_file_name("elsewhere");
    for there in [true, false] {
        fs::remove_file(&file).expect("the file goes");
        if there {
            fs::write(&elsewhere, "mine").expect("a file");
        } else {
            fs::remove_file(&elsewhere).expect("it goes");
        }
        symlink(&elsewhere, &file).expect("a link");
        let id = deliver(&agent, [now("r-2", "CREATE", &json!({}))])[0].clone();
        let left = fs::read_to_string(&elsewhere).unwrap_or_default();
        assert_eq!((left.as_str(), elsewhere.exists()), (if there { "mine" } else { "" }, there));
        assert!(agent.log().contains(&format!("event=not_archived id={id}")), "{}", agent.log());
    }
    assert_eq!(upstream.deliveries().len(), 3);
    let alerts = agent.ask(&json!({"op": "alerts"}))["alerts"].clone();
    let alert = alerts.as_array().expect("alerts").iter().find(|alert| alert["kind"] == "delivered_not_archived");
    let message = alert.unwrap_or_else(|| panic!("{alerts}"))["message"].as_str().expect("words").to_owned();
    assert!(message.contains("2 delivered failures are not in the archive"), "{message}");
    let refused = resyncd(&agent, &REPLAY);
    assert_eq!(refused.status.code(), Some(1), "a reader follows no link either: {}", out(&refused));
}

/// A power cut has torn the last line: it is cut before the next one, and a reader passes over it.
#[test]
fn a_torn_line_is_passed_over_and_repaired() {
    let (_upstream, mut agent) = an_agent("");
    deliver(&agent, [now("r-1", "CREATE", &json!({}))]);
    agent.kill9();
    let file = files(&agent).pop().expect("one");
    let whole = fs::read_to_string(&file).expect("a file");
    fs::write(&file, format!("{whole}{}", &whole[..whole.len() / 2])).expect("a torn line");
    agent.up();
    let said = out(&replay(&agent, &["--dry-run"]));
    assert!(said.contains("1 would be sent again"), "{said}");
    deliver(&agent, [now("r-2", "CREATE", &json!({}))]);
    let left = archived(&agent);
    assert_eq!(left.iter().map(|line| &line["entity_id"]).collect::<Vec<_>>(), ["r-1", "r-2"]);
}

/// Kill -9 between deliveries: what has left the table is in the archive.
#[test]
fn a_kill_leaves_nothing_delivered_without_its_line() {
    let (upstream, mut agent) = an_agent("");
    for kills in 1..=4 {
        let mut app = agent.app();
        app.send(lines((0..150).map(|n| now(&format!("r-{kills}-{n}"), "CREATE", &json!({})))));
        app.half_close();
        let ids: Vec<String> = app.rest().iter().map(id_of).collect();
        let before = upstream.deliveries().len();
        upstream.wait_deliveries(before + 20);
        agent.kill9();
        agent.up();
        // In this order: it goes on delivering.
        let live = agent.column("SELECT id FROM sync_failures");
        let whole = files(&agent).into_iter().map(|file| fs::read_to_string(file).expect("a file"));
        let kept: BTreeSet<String> = whole
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .map(|line| line["id"].as_str().expect("an id").to_owned())
            .collect();
        let lost = ids.iter().find(|id| !live.contains(&json!(id)) && !kept.contains(*id));
        assert_eq!(lost, None, "it has left without its line");
    }
}

/// Without an agent it is done on the database itself; the agent sends it when it is back.
#[test]
fn without_an_agent_it_is_done_on_the_database() {
    let (upstream, mut agent) = an_agent("");
    deliver(&agent, (0..3).map(|n| now(&format!("r-{n}"), "CREATE", &json!({}))));
    assert!(agent.stop().success());
    let said = out(&replay(&agent, &[]));
    assert!(said.contains("3 are sent again"), "{said}");
    agent.up();
    let keys = |from: usize| -> BTreeSet<String> {
        upstream.wait_deliveries(from + 3)[from..].iter().map(|request| request.key().to_owned()).collect()
    };
    assert_eq!(keys(3), keys(0).into_iter().take(3).collect::<BTreeSet<_>>());
}

/// Kill -9 in the middle, again and again: in the end everything went out again, under its key and in its order.
#[test]
fn a_kill_in_the_middle_of_a_replay_loses_nothing() {
    let (upstream, mut agent) = an_agent("");
    let entity = |n: usize| format!("r-{}", n % 200);
    let ids = deliver(&agent, (0..800).map(|n| now(&entity(n), &format!("A{}", n / 200), &json!({}))));
    let before = by_entity(&upstream.deliveries());
    agent.ask(&json!({"op": "pause"}));
    for kills in 0.. {
        let live = || agent.call(&json!({"op": "unsent"}))["unsent"].as_u64().expect("a number");
        let were = live();
        let config = agent.state_dir().with_file_name("resyncd.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
        command.env("RESYNCD_CONFIG", config).args(REPLAY).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut command = command.stderr(Stdio::null()).spawn().expect("the binary starts");
        if kills == 3 {
            assert!(command.wait().expect("it ends").success());
            break;
        }
        wait_until("some more being live", || live() > were || were == 800);
        agent.kill9();
        // On a busy machine it may have ended before.
        command.wait().expect("it ends");
        agent.up();
    }
    assert_eq!(agent.call(&json!({"op": "unsent"}))["unsent"], 800);
    let rows = agent.column("SELECT id FROM sync_failures ORDER BY seq");
    assert_eq!(rows, ids.iter().map(|id| json!(id)).collect::<Vec<_>>());
    agent.ask(&json!({"op": "resume"}));
    let all = wait_for("everything being sent again", || Some(upstream.deliveries()).filter(|all| all.len() >= 1600));
    assert_eq!(by_entity(&all[800..]), before);
}

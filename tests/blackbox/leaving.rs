//! What leaves undelivered: discarded by a person, or cleaned up. Never without its line in the archive and its row in the audit.

use super::command_line::{out, resyncd};
use crate::support::{Agent, Answer, Plan, Upstream, code, id_of, lines, record, record_now, wait_for, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The archive's lines, of all its files.
fn archived(agent: &Agent) -> Vec<Value> {
    let Ok(files) = fs::read_dir(agent.state_dir().join("archive")) else { return Vec::new() };
    let files = files.map(|entry| entry.expect("an entry").path());
    // One may be forgotten just now.
    let texts = files.filter_map(|file| fs::read_to_string(file).ok());
    let texts: String = texts.collect();
    texts.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// Who left by an operation, as the audit has it.
fn audited(agent: &Agent, operation: &str) -> Vec<Value> {
    agent.column(&format!("SELECT failure_id FROM audit_log WHERE operation = '{operation}' ORDER BY id"))
}

/// An agent whose upstream refuses every request.
fn refused(more: &str) -> (Upstream, Agent) {
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::with(upstream.url(), more));
    (upstream, agent)
}

/// A critical head with two behind it.
fn a_chain(agent: &Agent, entity: &str) -> [String; 3] {
    let head = id_of(&agent.call(&record_now(entity)));
    agent.wait_critical(&head);
    let behind = ["UPDATE", "DELETE"].map(|action| id_of(&agent.call(&record(entity, &json!({"action": action})))));
    [head, behind[0].clone(), behind[1].clone()]
}

/// Makes some of an agent's failures older, while it does not run.
fn age(agent: &mut Agent, days: i64, which: &str) {
    assert!(agent.stop().success());
    let file = rusqlite::Connection::open(agent.database()).expect("the file");
    let sql = format!("UPDATE sync_failures SET recorded_at = recorded_at - {days} * 86400000 WHERE {which}");
    assert!(file.execute(&sql, []).expect("an update") > 0, "{which}");
    drop(file);
    agent.up();
}

fn tally(reply: &Value) -> Value {
    json!([reply["matched"], reply["changed"], reply["skipped"]])
}

/// Archived with who and why, audited, gone; a repeated key says so; who stood behind is named
/// and held.
#[test]
fn a_discarded_head_is_archived_and_those_behind_it_are_held() {
    let (upstream, mut agent) = refused("");
    let keyed = record("s-1", &json!({"retry": "now", "idempotency_key": "k-1", "payload": {"total": 12.5}}));
    let head = id_of(&agent.call(&keyed));
    agent.wait_critical(&head);
    let behind = ["UPDATE", "DELETE"].map(|action| id_of(&agent.call(&record("s-1", &json!({"action": action})))));
    assert_eq!(code(&agent.ask(&json!({"op": "discard", "ids": [head]}))), "bad_request", "without a reason");
    assert_eq!(code(&agent.ask(&json!({"op": "discard", "ids": [head], "reason": " "}))), "bad_request");
    assert_eq!(code(&agent.call(&json!({"op": "discard", "ids": [head], "reason": "x"}))), "forbidden");
    let dry = agent.ask(&json!({"op": "discard", "ids": [head], "reason": "x", "dry_run": true}));
    assert_eq!((tally(&dry), archived(&agent).len()), (json!([1, 0, 0]), 0));
    let asked = json!({"op": "discard", "ids": [head], "reason": "entered twice", "by": "anna", "ref": 7});
    let reply = agent.ask(&asked);
    assert_eq!((tally(&reply), &reply["ref"]), (json!([1, 1, 0]), &json!(7)), "{reply}");
    assert_eq!(reply["followers_held"], json!(behind), "in their order");
    let gone = archived(&agent);
    assert_eq!(gone.len(), 1);
    let uid = rustix::process::getuid().as_raw();
    for (field, value) in [
        ("id", json!(head)),
        ("payload", json!("{\"total\":12.5}")),
        ("idempotency_key", json!("k-1")),
        ("status", json!("critical")),
        ("outcome", json!("discarded")),
        ("actor_uid", json!(uid)),
        ("claimed_by", json!("anna")),
        ("reason", json!("entered twice")),
        ("source_uid", json!(uid)),
    ] {
        assert_eq!(gone[0][field], value, "{field} of {}", gone[0]);
    }
    let at = agent.cell("SELECT at FROM audit_log WHERE operation = 'discard'");
    assert_eq!(gone[0]["left_at"].as_str().expect("a time").replace('T', " ").trim_end_matches('Z'), at);
    assert_eq!(audited(&agent, "hold"), json!(behind).as_array().expect("two").clone());
    agent.restart_after_kill();
    assert!(agent.failure(&head).is_none());
    for id in &behind {
        assert_eq!(agent.failure(id).expect("it is there")["status"], "held");
    }
    let again = agent.call(&keyed);
    assert_eq!((&again["status"], &again["duplicate"]), (&json!("discarded"), &json!(true)), "{again}");
    upstream.on_delivery(|_| Answer::status(200));
    assert_eq!(agent.ask(&json!({"op": "release", "ids": behind}))["changed"], 2);
    behind.iter().for_each(|id| agent.wait_gone(id));
}

/// … unless `--release-blocked` is given. A failure with no predecessor is no follower.
#[test]
fn followers_go_out_when_a_person_lets_them() {
    let (upstream, agent) = refused("");
    let chain = a_chain(&agent, "s-1");
    // Discarding one in the middle releases none: the head still blocks them.
    let reply = agent.ask(&json!({"op": "discard", "ids": [chain[1]], "reason": "x"}));
    assert_eq!((tally(&reply), &reply["followers_held"]), (json!([1, 1, 0]), &json!([])));
    upstream.on_delivery(|_| Answer::status(200));
    let reply = agent.ask(&json!({"op": "discard", "ids": [chain[0]], "reason": "x", "let_followers": true}));
    assert_eq!(reply["followers_held"], json!([]), "{reply}");
    agent.wait_gone(&chain[2]);
    assert_eq!(upstream.deliveries().last().expect("one").id(), chain[2]);
    assert_eq!(archived(&agent).len(), 2);
}

/// By filter, in chunks, newest first; those behind that are meant as well are not held first.
#[test]
fn many_are_discarded_in_chunks() {
    let (_upstream, mut agent) = refused("");
    agent.ask(&json!({"op": "pause"}));
    let mut app = agent.app();
    let entity = |n: usize| format!("s-{}", n % 300);
    app.send(lines((0..1300).map(|n| record(&entity(n), &json!({})))));
    app.send(lines((0..700).map(|_| record("chain", &json!({"entity_type": "RETURN"})))));
    app.half_close();
    let ids: Vec<String> = app.rest().iter().map(id_of).collect();
    let reply = agent.ask(&json!({"op": "discard", "filter": {"entity_type": "SALE"}, "reason": "test data"}));
    assert_eq!((tally(&reply), &reply["followers_held"]), (json!([1300, 1300, 0]), &json!([])));
    assert_eq!(agent.call(&json!({"op": "unsent"}))["unsent"], 700);
    // One head with 699 behind it: all are held, more than a chunk.
    let reply = agent.ask(&json!({"op": "discard", "ids": [ids[1300]], "reason": "test data"}));
    let held: Vec<Value> = reply["followers_held"].as_array().expect("ids").clone();
    assert_eq!((held, &reply["followers_held_total"]), (ids[1301..].iter().map(|id| json!(id)).collect(), &json!(699)));
    assert_eq!(
        agent.ask(&json!({"op": "list", "filter": {}, "status": "held", "limit": 1}))["error"]["field"],
        "filter"
    );
    assert_eq!(agent.ask(&json!({"op": "list", "status": "held", "limit": 1}))["total"], 699);
    let gone: Vec<Value> = archived(&agent).into_iter().map(|line| line["id"].clone()).collect();
    assert_eq!((gone.len(), &gone), (1301, &audited(&agent, "discard")), "each line has its row");
    let file = fs::read_dir(agent.state_dir().join("archive")).expect("it is there").next().expect("one").expect("one");
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(agent.stop().success());
    assert_eq!(agent.cell("SELECT live FROM agent"), 699);
}

/// What is in flight is left alone.
#[test]
fn what_is_in_flight_is_not_discarded() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_for_failure(&id, "the failure being in flight", |failure| failure["state"] == "in_flight");
    assert_eq!(code(&agent.ask(&json!({"op": "discard", "ids": [id], "reason": "x"}))), "conflict");
    let reply = agent.ask(&json!({"op": "discard", "all": true, "reason": "x"}));
    assert_eq!(tally(&reply), json!([1, 0, 1]), "{reply}");
    assert!(archived(&agent).is_empty() && agent.failure(&id).is_some());
}

/// An archive that cannot be written: nothing is deleted, and the error names it.
#[test]
fn without_an_archive_nothing_is_deleted() {
    let (_upstream, agent) = refused("[retention]\nmax_age = \"1s\"\ninterval = \"1h\"\n");
    let chain = a_chain(&agent, "s-1");
    fs::write(agent.state_dir().join("archive"), "in the way").expect("a file");
    let reply = agent.ask(&json!({"op": "discard", "ids": chain, "reason": "x"}));
    let text = reply["error"]["message"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned();
    assert!(code(&reply) == "storage" && text.contains("/archive/") && text.contains("nothing was deleted"), "{text}");
    wait_until("the chain being old, and refused by the archive", || {
        agent.ask(&json!({"op": "cleanup"}))["error"]["code"] == "storage"
    });
    assert!(chain.iter().all(|id| agent.failure(id).is_some()));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM audit_log"), 0);
    // Others are not disturbed.
    id_of(&agent.call(&record("s-2", &json!({}))));
    fs::remove_file(agent.state_dir().join("archive")).expect("the file goes");
    assert_eq!(agent.ask(&json!({"op": "discard", "ids": chain, "reason": "x"}))["changed"], 3);
}

/// The two rules: what is critical and old leaves, with all behind it; a pending one never does;
/// a head with a young one behind it stays, and so does that.
#[test]
fn a_clean_up_takes_what_is_old_and_needs_a_person() {
    let (_upstream, mut agent) = refused("");
    let chain = a_chain(&agent, "s-1");
    let alone = id_of(&agent.call(&record_now("s-2")));
    agent.wait_critical(&alone);
    let young = id_of(&agent.call(&record("s-2", &json!({"action": "UPDATE"}))));
    agent.ask(&json!({"op": "pause"}));
    let pending = id_of(&agent.call(&record("s-3", &json!({}))));
    assert_eq!(agent.ask(&json!({"op": "cleanup"})), json!({"ok": true, "matched": 0, "changed": 0}), "none is old");
    age(&mut agent, 31, &format!("id <> '{young}'"));
    let dry = agent.ask(&json!({"op": "cleanup", "dry_run": true}));
    assert_eq!(dry, json!({"ok": true, "matched": 3, "changed": 0}), "a young one keeps s-2 whole");
    assert_eq!(agent.ask(&json!({"op": "cleanup", "by": "anna"})), json!({"ok": true, "matched": 3, "changed": 3}));
    let gone = archived(&agent);
    let newest_first: Vec<Value> = chain.iter().rev().map(|id| json!(id)).collect();
    assert_eq!(gone.iter().map(|line| line["id"].clone()).collect::<Vec<_>>(), newest_first);
    assert!(gone.iter().all(|line| line["outcome"] == "cleaned" && line["reason"] == "older than 30 d"), "{gone:?}");
    assert_eq!(audited(&agent, "cleanup"), newest_first);
    assert_eq!(agent.cell("SELECT DISTINCT claimed_by FROM audit_log WHERE operation = 'cleanup'"), "anna");
    for id in [&alone, &young, &pending] {
        assert!(agent.failure(id).is_some(), "{id} stays");
    }
    age(&mut agent, 31, &format!("id = '{young}'"));
    assert_eq!(agent.ask(&json!({"op": "cleanup"}))["changed"], 2);
    assert!(agent.failure(&pending).is_some() && agent.failure(&alone).is_none());
}

/// A wall clock ten years ahead at a start makes nothing old: nothing is cleaned up.
#[test]
fn a_clock_that_jumped_cleans_nothing_up() {
    let (_upstream, mut agent) = refused("[retention]\ninterval = \"1s\"\n");
    let chain = a_chain(&agent, "s-1");
    age(&mut agent, 28, "1");
    assert!(agent.stop().success());
    // The clock was ten years behind when the agent last wrote: to it that is a jump by as much.
    let file = rusqlite::Connection::open(agent.database()).expect("the file");
    file.execute("UPDATE agent SET wall_time = wall_time - 3652 * 86400000", []).expect("an update");
    drop(file);
    agent.up();
    for _ in 0..2 {
        let reply = agent.ask(&json!({"op": "cleanup"}));
        let text = reply["error"]["message"].as_str().unwrap_or_else(|| panic!("{reply}"));
        assert!(code(&reply) == "conflict" && text.contains("the clock has jumped"), "{text}");
        agent.restart_after_kill();
    }
    // It is older than 30 days by agent time, the jump included.
    let age = "SELECT (agent_time - recorded_at) / 86400000 FROM agent, sync_failures WHERE seq = 1";
    assert_eq!(agent.cell(age), 31);
    assert!(chain.iter().all(|id| agent.failure(id).is_some()) && archived(&agent).is_empty());
}

/// The automatic clean-up, every `retention.interval`, under the agent's own name; and the first rule.
#[test]
fn the_agent_cleans_up_by_itself() {
    let retention = "[retention]\nexhausted = { retries = 0, age = \"1s\" }\ninterval = \"1s\"\n";
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::with(upstream.url(), retention));
    let counted = id_of(&agent.call(&record_now("counted")));
    agent.wait_gone(&counted);
    assert_eq!(archived(&agent)[0]["id"], counted);
    let row = agent.rows("SELECT actor_uid, actor_name, operation, reason FROM audit_log");
    let reason = "more than 0 retries and older than 1 s";
    assert_eq!(row, [[Value::Null, json!("resyncd"), json!("cleanup"), json!(reason)]]);
}

/// A chain longer than a chunk leaves whole, from its end; with a young one at its end not at all.
#[test]
fn a_long_chain_is_cleaned_up_whole() {
    let (_upstream, mut agent) = refused("");
    let head = id_of(&agent.call(&record_now("s-1")));
    agent.wait_critical(&head);
    let mut app = agent.app();
    app.send(lines((0..1200).map(|n| record("s-1", &json!({"action": format!("A{n}")})))));
    app.half_close();
    assert!(app.rest().iter().all(|reply| reply["ok"] == true));
    age(&mut agent, 31, "seq <= 1200");
    assert_eq!(agent.ask(&json!({"op": "cleanup"})), json!({"ok": true, "matched": 0, "changed": 0}));
    age(&mut agent, 31, "seq = 1201");
    assert_eq!(agent.ask(&json!({"op": "cleanup", "dry_run": true}))["matched"], 1201);
    assert_eq!(agent.ask(&json!({"op": "cleanup"})), json!({"ok": true, "matched": 1201, "changed": 1201}));
    let seqs: Vec<i64> = archived(&agent).iter().map(|line| line["seq"].as_i64().expect("a number")).collect();
    assert_eq!(seqs, (1..=1201).rev().collect::<Vec<_>>());
    assert_eq!(agent.call(&json!({"op": "unsent"}))["unsent"], 0);
}

/// History, keys and the archive are bounded; the keys of live failures never go.
#[test]
fn old_history_is_forgotten_and_live_keys_are_not() {
    let upstream = Upstream::willing();
    let retention = "[retention]\nhistory = \"1s\"\narchive = \"1s\"\ninterval = \"1s\"\n";
    let agent = Agent::start(&Plan::with(upstream.url(), retention));
    let keyed = |entity: &str| record(entity, &json!({"retry": "now", "idempotency_key": entity}));
    let sent = id_of(&agent.call(&keyed("sent")));
    agent.wait_gone(&sent);
    agent.ask(&json!({"op": "pause"}));
    let live = id_of(&agent.call(&keyed("live")));
    let discarded = id_of(&agent.call(&keyed("discarded")));
    agent.ask(&json!({"op": "discard", "ids": [discarded], "reason": "x"}));
    wait_until("history and keys being forgotten", || {
        agent.column("SELECT key FROM idempotency_keys") == [json!("live")]
            && agent.cell("SELECT COUNT(*) FROM sync_attempts") == 0
    });
    wait_until("the archive being forgotten", || archived(&agent).is_empty());
    // The audit row is kept a month longer than its archive file.
    assert_eq!(agent.column("SELECT operation FROM audit_log WHERE operation = 'discard'").len(), 1);
    wait_until("the pause being forgotten", || agent.cell("SELECT COUNT(*) FROM audit_log") == 1);
    assert_eq!(agent.call(&keyed("live"))["id"], live);
    let anew = agent.call(&keyed("sent"));
    assert_eq!(anew["duplicate"], false, "nobody knows the key any more: {anew}");
}

/// A removal is remembered longer than the delivery that followed it, and so is that the failure came back in between.
#[test]
fn a_failure_that_came_back_is_not_listed_as_removed_when_its_delivery_is_forgotten() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), "[retention]\nhistory = \"1s\"\ninterval = \"1s\"\n"));
    agent.ask(&json!({"op": "pause"}));
    let id = id_of(&agent.call(&record("s-1", &json!({}))));
    assert_eq!(agent.ask(&json!({"op": "discard", "ids": [id], "reason": "x"}))["changed"], 1);
    let back = agent.ask(&json!({"op": "import", "row": archived(&agent)[0]}));
    assert_eq!(back["result"], "imported", "{back}");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    wait_until("the rest of the history being forgotten", || {
        let rest = "SELECT (SELECT COUNT(*) FROM sync_attempts) \
                    + (SELECT COUNT(*) FROM audit_log WHERE operation IN ('pause', 'resume'))";
        agent.cell(rest) == 0
    });
    assert_eq!(agent.cell("SELECT COUNT(*) FROM audit_log WHERE operation = 'discard'"), 1);
    let said = out(&resyncd(&agent, &["history", "--removed"]));
    assert!(said.contains("Nothing was removed undelivered"), "{said}");
}

/// Kill -9 in the middle of a long discard: each failure is live, or has its line and its row.
#[test]
fn a_kill_in_the_middle_of_a_discard_loses_nothing() {
    let (_upstream, mut agent) = refused("");
    agent.ask(&json!({"op": "pause"}));
    let mut app = agent.app();
    let payload = "x".repeat(2000);
    app.send(lines((0..4000).map(|n| record(&format!("s-{n}"), &json!({"payload": payload})))));
    app.half_close();
    let ids: Vec<String> = app.rest().iter().map(id_of).collect();
    for lives in 0.. {
        let size = || -> u64 {
            let files = fs::read_dir(agent.state_dir().join("archive")).into_iter().flatten();
            files.map(|file| file.expect("an entry").metadata().expect("a file").len()).sum()
        };
        let before = size();
        let mut admin = agent.admin();
        admin.line(&json!({"op": "discard", "all": true, "reason": "x"}).to_string());
        wait_until("another chunk in the archive", || {
            size() > before || agent.call(&json!({"op": "unsent"}))["unsent"] == 0
        });
        agent.kill9();
        agent.up();
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for line in archived(&agent) {
            *lines.entry(line["id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        let live = agent.column("SELECT id FROM sync_failures");
        let rows = audited(&agent, "discard");
        for id in &ids {
            let (live, row) = (live.contains(&json!(id)), rows.contains(&json!(id)));
            assert!(live != row, "{id} is live ({live}) or audited ({row})");
            assert!(live || lines.contains_key(id), "{id} has gone without its line");
        }
        if live.is_empty() {
            assert!(lives > 0, "it was killed in the middle at least once");
            break;
        }
    }
}

/// The commands: what they ask for, what they print, and `cleanup` without the daemon.
#[test]
fn discard_and_cleanup_on_the_command_line() {
    let (_upstream, mut agent) = refused("[retention]\nmax_age = \"1s\"\ninterval = \"1h\"\n");
    let chain = a_chain(&agent, "s-1");
    let told = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let run = |agent: &Agent, args: &[&str]| resyncd(agent, args);
    let unsaid = run(&agent, &["discard", "1"]);
    assert!(unsaid.status.code() == Some(2) && told(&unsaid).contains("--reason"), "{}", told(&unsaid));
    let unconfirmed = run(&agent, &["discard", "--all", "--reason", "x"]);
    assert!(unconfirmed.status.code() == Some(2) && told(&unconfirmed).contains("--yes"), "{}", told(&unconfirmed));
    let dry = run(&agent, &["discard", "--all", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{}", told(&dry));
    let done = run(&agent, &["discard", "1", "--reason", "entered twice"]);
    assert_eq!(done.status.code(), Some(0), "{}", told(&done));
    let text = out(&done);
    assert!(text.starts_with("SALE s-1 CREATE, no. 1: discarded, a copy is in the archive."), "{text}");
    assert!(text.contains("On hold, because they come behind it: 2 (2 3)"), "{text}");
    assert!(chain.iter().all(|id| !text.contains(id)), "a person is shown numbers: {text}");
    wait_for("the followers being old", || {
        let dry = run(&agent, &["cleanup", "--dry-run", "--json"]);
        let reply: Value = serde_json::from_slice(&dry.stdout).expect("a reply");
        (reply["matched"] == 2).then_some(())
    });
    let unconfirmed = run(&agent, &["cleanup"]);
    assert!(unconfirmed.status.code() == Some(2) && told(&unconfirmed).contains("--yes"), "{}", told(&unconfirmed));
    assert!(agent.stop().success());
    let done = run(&agent, &["cleanup", "--yes", "--reason", "year's end"]);
    assert_eq!(done.status.code(), Some(0), "{}", told(&done));
    assert!(out(&done).starts_with("2 old failures were archived"), "{}", out(&done));
    assert_eq!(archived(&agent).len(), 3);
    assert_eq!(archived(&agent)[2]["reason"], "year's end (older than 1 s)");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 0);
}

//! What can be read of it is
//! live again, under the same ids, keys and numbers, and what cannot is counted.

use crate::command_line::{out, resyncd};
use crate::support::{Agent, Plan, Upstream, code, id_of, lines, record, wait_for, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

const PAGE: usize = 2048;

/// The key that the application gave, and the id that it got.
pub(crate) type Recorded = BTreeMap<String, String>;

fn request(n: usize) -> Value {
    let note = "x".repeat(200 + n % 7 * 300);
    let more = json!({"idempotency_key": format!("k-{n}"), "error": "HTTP 500: no", "payload": {"n": n, "note": note}});
    record(&format!("s-{}", n % 20), &more)
}

/// Records so many failures, of twenty entities.
pub(crate) fn fill(agent: &Agent, count: usize) -> Recorded {
    let mut app = agent.app();
    app.send(lines((0..count).map(request)));
    (0..count).map(|n| (format!("k-{n}"), id_of(&app.reply()))).collect()
}

/// What is live: by its key the id, the number and the payload.
pub(crate) fn live(agent: &Agent) -> BTreeMap<String, (String, Value, Value)> {
    let rows =
        agent.rows("SELECT idempotency_key, id, seq, payload FROM sync_failures WHERE idempotency_key IS NOT NULL");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    rows.iter().map(|row| (text(&row[0]), (text(&row[1]), row[2].clone(), row[3].clone()))).collect()
}

/// A stopped agent with failures, all in its file; and what is live.
pub(crate) fn stopped(count: usize) -> (Agent, BTreeMap<String, (String, Value, Value)>) {
    let mut agent = Agent::start(&Plan::default());
    fill(&agent, count);
    assert!(agent.stop().success());
    let live = live(&agent);
    assert_eq!(live.len(), count);
    (agent, live)
}

/// The leaves of a table or an index.
fn leaves(agent: &Agent, name: &str) -> Vec<u64> {
    let file = Connection::open(agent.database()).expect("the file opens");
    let mut statement = file
        .prepare("SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY pageno")
        .expect("a query");
    let pages = statement.query_map([name], |row| row.get::<_, i64>(0)).expect("pages");
    pages.map(|page| u64::try_from(page.expect("a page")).expect("a number")).collect()
}

pub(crate) fn overwrite(agent: &Agent, page: u64) {
    let file = fs::OpenOptions::new().write(true).open(agent.database()).expect("the file opens");
    file.write_all_at(&[0xa5; PAGE], (page - 1) * PAGE as u64).expect("the page is written");
}

/// The whole quarantines, oldest first.
pub(crate) fn quarantines(agent: &Agent) -> Vec<PathBuf> {
    let root = agent.state_dir().join("quarantine");
    let entries = fs::read_dir(root).map(|entries| entries.map(|entry| entry.expect("an entry").path()).collect());
    let mut found: Vec<PathBuf> = entries.unwrap_or_default();
    found.sort();
    found
}

/// Waits until there are so many quarantines that were salvaged; what the last one says.
#[track_caller]
pub(crate) fn wait_salvaged(agent: &Agent, count: usize) -> String {
    wait_for("a salvaged quarantine", || {
        let said = |place: &PathBuf| fs::read_to_string(place.join("salvaged")).ok();
        let said: Vec<String> = quarantines(agent).iter().filter_map(said).collect();
        (said.len() == count).then(|| said[count - 1].clone())
    })
}

/// Waits until records are taken again.
#[track_caller]
fn wait_recording(agent: &Agent) {
    let request = record("s-again", &json!({"idempotency_key": "again"}));
    wait_until("records being taken again", || {
        let reply = agent.call(&request);
        reply["ok"] == true || code(&reply) != "storage"
    });
}

/// What was live is live, with what it was, as after an unsure try.
#[track_caller]
pub(crate) fn assert_live(agent: &Agent, before: &BTreeMap<String, (String, Value, Value)>) {
    let now = live(agent);
    for (key, failure) in before {
        assert_eq!(now.get(key), Some(failure), "{key}");
    }
    let sure = "SELECT COUNT(*) FROM sync_failures WHERE unsure = 0 AND idempotency_key <> 'again'";
    assert_eq!(agent.cell(sure), 0);
    assert_eq!(agent.cell("PRAGMA integrity_check"), "ok");
}

#[test]
fn a_file_of_garbage_is_quarantined_and_a_new_one_made() {
    let (mut agent, _) = stopped(3);
    fs::write(agent.database(), "no database ".repeat(1000)).expect("a file is written");
    agent.up();
    assert_eq!(wait_salvaged(&agent, 1), "salvaged=0 lost=0\n");
    let kept = fs::read_to_string(quarantines(&agent)[0].join("sync_failures.db")).expect("it is kept");
    assert!(kept.starts_with("no database no database"));
    id_of(&agent.call(&record("s-1", &json!({}))));
    assert_eq!(agent.cell("PRAGMA integrity_check"), "ok");
}

/// No query touches the damaged page: the integrity check finds it. The lost failures are counted, and their keys
/// are free.
#[test]
fn a_damaged_page_is_found_after_the_start_and_costs_what_stood_in_it() {
    let (mut agent, before) = stopped(400);
    let pages = leaves(&agent, "sync_failures");
    overwrite(&agent, pages[pages.len() / 2]);
    agent.up();
    let said = wait_salvaged(&agent, 1);
    wait_recording(&agent);
    let now = live(&agent);
    let lost: Vec<&String> = before.keys().filter(|key| !now.contains_key(*key)).collect();
    assert!((1..=12).contains(&lost.len()), "a page's worth, not {}", lost.len());
    assert_eq!(said, format!("salvaged={} lost={}\n", 400 - lost.len(), lost.len()));
    let mut rest = before.clone();
    rest.retain(|key, _| now.contains_key(key));
    assert_live(&agent, &rest);
    let n = |key: &String| key[2..].parse().expect("a number");
    for key in &lost {
        assert_eq!(agent.call(&request(n(key)))["duplicate"], false, "{key} can be recorded again");
    }
    for key in rest.keys().take(20) {
        let again = agent.call(&request(n(key)));
        assert_eq!((&again["duplicate"], &again["id"]), (&json!(true), &json!(rest[key].0)), "{again}");
    }
    let health = agent.call(&json!({"op": "health"}));
    assert_eq!(health["state"], "critical", "{health}");
    assert!(health["reasons"].to_string().contains(&format!("{} lost", lost.len())), "{health}");
    assert_eq!(health["lost"], lost.len(), "{health}");
    let told = "SELECT COUNT(*) FROM audit_log WHERE operation = 'quarantine' AND actor_name = 'resyncd'";
    assert_eq!(agent.cell(told), 1);
    let said = out(&resyncd(&agent, &[]));
    assert!(said.contains(&format!("{} LOST with a damaged or changed database.", lost.len())), "{said}");
    assert!(!said.contains("Nothing is lost") && !said.contains("Nothing to do"), "{said}");
}

/// A start after that finds nothing more to do, and the quarantine is kept.
#[test]
fn a_quarantine_is_salvaged_once_and_kept() {
    let (mut agent, before) = stopped(50);
    overwrite(&agent, 1);
    agent.up();
    assert_eq!(wait_salvaged(&agent, 1), "salvaged=50 lost=0\n");
    // Until the alert is stored, the next start tells of it again.
    wait_told(&agent);
    // A kill loses what the log has not written yet.
    wait_until("it being logged", || agent.log().contains("event=quarantined"));
    agent.restart_after_kill();
    assert_live(&agent, &before);
    assert_eq!(quarantines(&agent).len(), 1);
    assert_eq!(agent.log().matches("event=quarantined").count(), 1, "{}", agent.log());
}

fn wait_told(agent: &Agent) {
    wait_until("the alert being stored", || quarantines(agent).iter().all(|place| !place.join("untold").exists()));
}

/// Whoever has salvaged a database may be killed before anybody is told of it. The next agent tells of it, once.
#[test]
fn what_was_salvaged_and_not_told_is_told_at_the_next_start() {
    let (mut agent, before) = stopped(50);
    overwrite(&agent, 1);
    agent.up();
    assert_eq!(wait_salvaged(&agent, 1), "salvaged=50 lost=0\n");
    wait_told(&agent);
    agent.kill9();
    // As a kill before the alert was stored leaves it.
    let file = Connection::open(agent.database()).expect("the file");
    file.execute("DELETE FROM alerts", []).expect("no alert is stored");
    drop(file);
    fs::write(quarantines(&agent)[0].join("untold"), "").expect("nobody was told");
    let before_that = agent.log().matches("event=quarantined").count();
    agent.up();
    wait_told(&agent);
    let alerts = agent.ask(&json!({"op": "alerts"}))["alerts"].to_string();
    assert!(alerts.contains("database_corrupt") && alerts.contains("50 failures salvaged, 0 lost"), "{alerts}");
    wait_until("it being logged", || agent.log().matches("event=quarantined").count() > before_that);
    agent.restart_after_kill();
    assert_live(&agent, &before);
    assert_eq!(agent.log().matches("event=quarantined").count(), before_that + 1, "{}", agent.log());
}

/// The first page tells where all others are; the root of the table leads to all rows.
#[test]
fn rows_behind_a_damaged_first_page_or_root_are_all_there() {
    for root in ["sync_failures", "sqlite_schema"] {
        let (mut agent, before) = stopped(300);
        overwrite(&agent, root_of(&agent, root));
        agent.up();
        assert_eq!(wait_salvaged(&agent, 1), "salvaged=300 lost=0\n", "{root}");
        wait_recording(&agent);
        assert_live(&agent, &before);
    }
}

fn root_of(agent: &Agent, name: &str) -> u64 {
    let file = Connection::open(agent.database()).expect("the file opens");
    let sql = "SELECT pageno FROM dbstat WHERE name = ?1 AND path = '/'";
    let page: i64 = file.query_row(sql, [name], |row| row.get(0)).expect("a root");
    u64::try_from(page).expect("a number")
}

/// Damage that the start meets does not prevent the start.
#[test]
fn damage_of_what_a_start_reads_loses_no_failure() {
    for table in ["upstreams", "agent", "refinery_schema_history"] {
        let mut upstream = Upstream::willing();
        upstream.down();
        let mut agent = Agent::start(&Plan::to(upstream.url()));
        fill(&agent, 100);
        assert!(agent.stop().success());
        let before = live(&agent);
        overwrite(&agent, root_of(&agent, table));
        agent.up();
        assert_eq!(wait_salvaged(&agent, 1), "salvaged=100 lost=0\n", "{table}");
        assert_live(&agent, &before);
        let reply = agent.call(&record("s-new", &json!({"idempotency_key": "again"})));
        assert!(reply["seq"].as_i64().is_some_and(|seq| seq > 100), "{table}: {reply}");
    }
}

#[test]
fn damage_of_an_index_loses_nothing() {
    for index in ["sync_failures_retry", "sync_failures_entity", "sync_attempts_failure"] {
        let (mut agent, before) = stopped(300);
        overwrite(&agent, leaves(&agent, index)[0]);
        agent.up();
        assert_eq!(wait_salvaged(&agent, 1), "salvaged=300 lost=0\n", "{index}");
        wait_recording(&agent);
        assert_live(&agent, &before);
    }
}

/// What the file holds back for outcomes on a full disk.
const RESERVE: u64 = 1 << 20;

#[test]
fn a_truncated_file_gives_what_is_left_of_it() {
    let (mut agent, before) = stopped(300);
    let file = fs::OpenOptions::new().write(true).open(agent.database()).expect("the file opens");
    let length = file.metadata().expect("a length").len();
    // In the middle of the pages behind the reserve for a full disk.
    file.set_len(u64::midpoint(RESERVE, length) + 100).expect("it is cut");
    agent.up();
    let said = wait_salvaged(&agent, 1);
    let now = live(&agent);
    assert!(now.len() > 50 && now.len() < 300, "{} of 300", now.len());
    let salvaged = agent.cell("SELECT COUNT(*) FROM sync_failures"); // One cut through has lost its key.
    assert!(said.starts_with(&format!("salvaged={salvaged} lost=")), "{said}");
    let mut rest = before;
    rest.retain(|key, _| now.contains_key(key));
    let critical = agent.column("SELECT id FROM sync_failures WHERE error_class = 'damaged'");
    rest.retain(|_, (id, ..)| !critical.contains(&json!(id)));
    assert!(rest.len() > 50, "{} are whole", rest.len());
    assert_live(&agent, &rest);
}

/// SQLite would throw away the log of an empty file, and of none.
#[test]
fn a_log_without_its_file_gives_its_rows() {
    for empty in [true, false] {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 100);
        let before = live(&agent);
        agent.kill9();
        fs::remove_file(agent.database()).expect("it is removed");
        if empty {
            fs::write(agent.database(), "").expect("an empty file");
        }
        agent.up();
        assert_eq!(wait_salvaged(&agent, 1), "salvaged=100 lost=0\n");
        assert_live(&agent, &before);
    }
}

/// SQLite takes a log without a valid header for an empty one, and overwrites it.
#[test]
fn a_log_with_a_damaged_header_gives_its_rows() {
    for (damaged, bytes) in [("header", 32), ("first sector", 512)] {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 100);
        let before = live(&agent);
        agent.kill9();
        let log = agent.state_dir().join("sync_failures.db-wal");
        let file = fs::OpenOptions::new().write(true).open(log).expect("a killed agent leaves its log");
        file.write_all_at(&vec![0; bytes], 0).expect("it is damaged");
        agent.up();
        assert_eq!(wait_salvaged(&agent, 1), "salvaged=100 lost=0\n", "{damaged}");
        assert_live(&agent, &before);
    }
}

/// Operators' decisions survive: a held failure stays held, a pause continues, and the audit has both.
#[test]
fn what_people_have_done_is_salvaged() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    agent.ask(&json!({"op": "pause", "reason": "stock-taking"}));
    fill(&agent, 10);
    let held = id_of(&agent.call(&record("held", &json!({}))));
    assert_eq!(agent.ask(&json!({"op": "hold", "ids": [held]}))["changed"], 1);
    assert!(agent.stop().success());
    let deeds = agent.rows("SELECT at, operation, failure_id, reason FROM audit_log ORDER BY id");
    overwrite(&agent, 1);
    agent.up();
    assert_eq!(wait_salvaged(&agent, 1), "salvaged=11 lost=0\n");
    assert_eq!(agent.failure(&held).expect("it is there")["status"], "held");
    agent.wait_upstream("paused");
    let told = "SELECT at, operation, failure_id, reason FROM audit_log WHERE operation <> 'quarantine' ORDER BY id";
    assert_eq!(agent.rows(told), deeds);
}

/// `on_unsure = "hold"`: it may have been sent, and no evidence is left.
#[test]
fn salvaged_failures_of_a_route_that_holds_unsure_ones_are_held() {
    let upstream = Upstream::willing();
    let routes = "[[route]]\nentity_type = \"FISCAL\"\non_unsure = \"hold\"\n[[route]]\n";
    let mut agent = Agent::start(&Plan::with(upstream.url(), routes));
    agent.ask(&json!({"op": "pause"}));
    let more = json!({"error": "HTTP 500: no", "entity_type": "FISCAL"});
    let fiscal = id_of(&agent.call(&record("f-1", &more)));
    let sale = id_of(&agent.call(&record("s-1", &json!({"error": "HTTP 500: no"}))));
    assert!(agent.stop().success());
    overwrite(&agent, 1);
    agent.up();
    wait_salvaged(&agent, 1);
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&sale);
    assert_eq!(agent.failure(&fiscal).expect("it is there")["status"], "held");
    assert!(upstream.deliveries_of("f-1").is_empty());
}

/// It is not looked for any more, and a question meets it.
#[test]
fn a_statement_that_meets_damage_leads_to_the_quarantine() {
    let (mut agent, before) = stopped(400);
    let pages = leaves(&agent, "sync_failures");
    agent.up();
    wait_until("the look for damage being over", || agent.log().contains("event=checked"));
    overwrite(&agent, pages[pages.len() / 2]);
    let reply = agent.ask(&json!({"op": "list", "limit": 1000, "payload": true}));
    assert_eq!(code(&reply), "storage", "{reply}");
    let said = wait_salvaged(&agent, 1);
    wait_recording(&agent);
    let now = live(&agent);
    let mut rest = before;
    rest.retain(|key, _| now.contains_key(key));
    assert!(rest.len() >= 388, "{said}");
    assert_live(&agent, &rest);
}

/// What is no damage is left alone.
#[test]
fn a_file_that_cannot_be_opened_is_not_quarantined() {
    let mut agent = Agent::prepare(&Plan::default());
    fs::create_dir_all(agent.database()).expect("a directory in the way");
    let (status, said) = agent.run_to_its_end(&[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&agent.database().display().to_string()), "{said}");
    assert!(agent.database().is_dir() && quarantines(&agent).is_empty());
}

fn remove(agent: &Agent, parts: &[&str]) {
    for part in parts {
        fs::remove_file(agent.state_dir().join(format!("sync_failures.db{part}"))).expect("it is removed");
    }
}

/// Nothing is acknowledged into the void, and what only the open file still has is saved.
#[test]
fn a_file_deleted_under_a_running_agent_is_made_again_with_all_rows() {
    for parts in [&["", "-wal", "-shm"][..], &[""], &["-wal"]] {
        let mut agent = Agent::start(&Plan::default());
        fill(&agent, 100);
        let before = live(&agent);
        remove(&agent, parts);
        let reply = agent.call(&record("s-again", &json!({"idempotency_key": "again"})));
        assert_eq!(code(&reply), "storage", "{parts:?}: {reply}");
        wait_recording(&agent);
        // Recording resumes before the salvage is over, so the kill may come in the middle of it.
        agent.restart_after_kill();
        if parts.contains(&"") {
            wait_salvaged(&agent, 1);
        }
        let now = live(&agent);
        for (key, failure) in &before {
            assert_eq!(now.get(key), Some(failure), "{parts:?}: {key}");
        }
        assert!(now.contains_key("again"), "{parts:?}: it was acknowledged");
        assert_eq!(agent.cell("PRAGMA integrity_check"), "ok");
    }
}

/// The agent ends without another write: its contents are there at the next start.
#[test]
fn a_file_deleted_under_an_idle_agent_is_there_after_a_stop() {
    let mut agent = Agent::start(&Plan::default());
    fill(&agent, 100);
    let before = live(&agent);
    remove(&agent, &["", "-wal", "-shm"]);
    assert!(agent.stop().success());
    agent.up();
    assert_eq!(wait_salvaged(&agent, 1), "salvaged=100 lost=0\n");
    assert_live(&agent, &before);
}

/// The file that is there now is opened; what both have is there once.
#[test]
fn a_file_replaced_under_a_running_agent_is_merged_with_what_was_open() {
    let agent = Agent::start(&Plan::default());
    fill(&agent, 40);
    let mut other = Agent::start(&Plan::default());
    let strangers: BTreeSet<String> =
        (0..5).map(|n| id_of(&other.call(&record(&format!("other-{n}"), &json!({}))))).collect();
    assert!(other.stop().success());
    let before = live(&agent);
    remove(&agent, &["-wal", "-shm"]);
    fs::rename(other.database(), agent.database()).expect("it is replaced");
    let reply = agent.call(&record("s-again", &json!({"idempotency_key": "again"})));
    assert_eq!(code(&reply), "storage", "{reply}");
    wait_recording(&agent);
    wait_salvaged(&agent, 1);
    let ids = agent.column("SELECT id FROM sync_failures");
    assert_eq!(ids.len(), 46);
    assert!(strangers.iter().all(|id| ids.contains(&json!(id))));
    assert_live(&agent, &before);
}

/// Over a quarantine: in order, under the same keys, and what was delivered stays so.
#[test]
fn order_and_keys_hold_over_a_quarantine() {
    let mut upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::impatient(upstream.url()));
    let gone: Vec<String> =
        (0..20).map(|n| id_of(&agent.call(&record(&format!("gone-{n}"), &json!({"retry": "now"}))))).collect();
    gone.iter().for_each(|id| agent.wait_gone(id));
    upstream.down();
    fill(&agent, 200);
    let before = live(&agent);
    assert!(agent.stop().success());
    let pages = leaves(&agent, "sync_failures");
    overwrite(&agent, pages[pages.len() / 2]);
    overwrite(&agent, 1);
    agent.up();
    wait_salvaged(&agent, 1);
    let rest = live(&agent);
    assert!(rest.len() < 200 && rest.len() > 185, "{}", rest.len());
    let known = upstream.deliveries().len();
    upstream.up();
    wait_until("all being delivered", || agent.cell("SELECT COUNT(*) FROM sync_failures") == 0);
    let deliveries = upstream.deliveries().split_off(known);
    let mut newest = BTreeMap::new();
    for delivery in &deliveries {
        let (id, seq, _) = before.get(delivery.key()).expect("a key of before");
        assert_eq!(delivery.id(), id);
        let seq = seq.as_i64().expect("a number");
        let last = newest.insert(delivery.entity().to_owned(), seq).unwrap_or(0);
        assert!(seq >= last, "{} went after a later one", delivery.key());
    }
    let keys: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.key()).collect();
    assert_eq!(keys, rest.keys().map(String::as_str).collect());
    assert_eq!(upstream.deliveries_of("gone-3").len(), 1);
}

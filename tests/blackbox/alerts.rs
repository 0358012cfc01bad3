//! Alerts, notices, the heartbeat, and what `health` makes of them.

use crate::command_line::{out, resyncd};
use crate::support::{Agent, Answer, Plan, Upstream, id_of, lines, record, record_now, wait_for, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All alerts of a kind.
fn alerts(agent: &Agent, kind: &str) -> Vec<Value> {
    let reply = agent.ask(&json!({"op": "alerts"}));
    let all = reply["alerts"].as_array().unwrap_or_else(|| panic!("{reply}")).clone();
    all.into_iter().filter(|alert| alert["kind"] == kind).collect()
}

#[track_caller]
fn wait_alert(agent: &Agent, kind: &str, active: bool) -> Value {
    let what = format!("the alert {kind} being {}", if active { "active" } else { "over" });
    wait_for(&what, || alerts(agent, kind).into_iter().find(|alert| alert["active"] == active))
}

/// A program that keeps every notice in a file of its own, and the directory of these.
fn keeper(agent: &Agent) -> (PathBuf, String) {
    let kept = agent.state_dir().with_file_name("notices");
    fs::create_dir_all(&kept).expect("a directory");
    let program = kept.with_file_name("keeper");
    let script = "#!/bin/sh\ncat > \"$1/new\" && mv \"$1/new\" \"$1/$(ls \"$1\" | wc -l).json\"\n";
    fs::write(&program, script).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it may run");
    let table =
        format!("[alerts]\ncommand = [{:?}, {:?}]\n", program.display().to_string(), kept.display().to_string());
    (kept, table)
}

/// The notices that were kept, in their order.
fn notices(kept: &Path) -> Vec<Value> {
    (1..)
        .map_while(|n| fs::read_to_string(kept.join(format!("{n}.json"))).ok())
        .map(|text| serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

fn notices_of(kept: &Path, kind: &str) -> Vec<Value> {
    notices(kept).into_iter().filter(|notice| notice["kind"] == kind).collect()
}

/// Starts an agent with a keeper of notices and further lines of `[alerts]`.
fn watched(url: &str, more: &str) -> (Agent, PathBuf) {
    let plan = |table: String| Plan { backoff: &["0s"], ..Plan::with(url.to_owned(), table) };
    let mut agent = Agent::prepare(&plan(String::new()));
    let (kept, table) = keeper(&agent);
    agent.configure(&plan(format!("{table}{more}")));
    agent.up();
    (agent, kept)
}

/// A path of an upstream's.
fn at(upstream: &Upstream, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", upstream.port())
}

fn state_file(agent: &Agent) -> Value {
    let text = fs::read_to_string(agent.state_dir().join("alert.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// An alert has its edge, its line in the log, its notice with all fields, its place in the
/// file and in `health`; and a clearing, which its kind's hour holds back from people but not from the
/// file.
#[test]
fn a_failure_that_needs_a_person_is_told_and_so_is_that_none_does() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let (agent, kept) = watched(&upstream.url(), "");
    let id = id_of(&agent.call(&record_now("s-1")));
    let alert = wait_alert(&agent, "critical_failures", true);
    assert_eq!((&alert["subject"], &alert["cleared_at"]), (&Value::Null, &Value::Null), "{alert}");
    assert_eq!(alert["message"], "1 failure needs a person");
    assert!(alert["since"].as_str().is_some_and(|at| at.ends_with('Z')), "{alert}");
    let notice = wait_for("a notice", || notices_of(&kept, "critical_failures").pop());
    assert_eq!((&notice["terminal_id"], &notice["store_id"]), (&json!("till-07"), &json!("0042")), "{notice}");
    assert_eq!(notice["alerts"], json!([alert]));
    wait_until("the file saying so", || state_file(&agent)["alerts"] == json!([alert]));
    assert_eq!(state_file(&agent)["ok"], true);
    assert_eq!(agent.call(&json!({"op": "health"}))["state"], "critical");
    assert!(agent.log().contains("event=alert kind=critical_failures"), "{}", agent.log());

    upstream.on_delivery(|_| Answer::status(200));
    agent.ask(&json!({"op": "retry", "ids": [id]}));
    let over = wait_alert(&agent, "critical_failures", false);
    assert!(over["cleared_at"].is_string(), "{over}");
    wait_until("the file saying so", || state_file(&agent)["alerts"] == json!([over]));
    let health = agent.call(&json!({"op": "health"}));
    assert_eq!((&health["state"], &health["reasons"]), (&json!("ok"), &json!([])), "{health}");
    assert_eq!(notices_of(&kept, "critical_failures").len(), 1, "its kind has spoken within the hour");
}

/// Alerts survive restarts and kills: an active one stays active, and none is notified twice.
#[test]
fn a_restart_repeats_no_notice() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let (mut agent, kept) = watched(&upstream.url(), "");
    agent.call(&record_now("s-1"));
    let alert = wait_alert(&agent, "critical_failures", true);
    wait_until("a notice", || notices_of(&kept, "critical_failures").len() == 1);
    for killed in [true, false] {
        if killed {
            agent.restart_after_kill();
        } else {
            agent.stop();
            agent.up();
        }
        let still = wait_alert(&agent, "critical_failures", true);
        assert_eq!(still["since"], alert["since"], "it began when it began");
        // Notices are handed over before the replies of the round; a second notice would come behind the first.
        agent.call(&record("x", &json!({"entity_type": if killed { "A" } else { "B" }, "retry": "now"})));
        wait_until("one more needing a person", || {
            agent.call(&json!({"op": "health"}))["critical"] == if killed { 2 } else { 3 }
        });
        assert_eq!(notices(&kept).len(), 1);
    }
    let stored = agent.rows("SELECT kind, active, untold FROM alerts");
    assert!(stored.contains(&vec![json!("critical_failures"), json!(1), json!(0)]), "{stored:?}");
}

/// `many_failures`: above its count, and over when fewer are left of its time.
#[test]
fn many_failures_are_told_above_the_threshold_and_end_below_it() {
    let upstream = Upstream::willing();
    let (agent, kept) = watched(&upstream.url(), "many_failures = { count = 5, window = \"2s\" }\n");
    let requests =
        |from: usize, count: usize| lines((from..from + count).map(|n| record(&format!("s-{n}"), &json!({}))));
    let mut app = agent.app();
    app.send(requests(0, 6));
    (0..6).for_each(|_| assert_eq!(app.reply()["ok"], true));
    let alert = wait_for("the alert", || alerts(&agent, "many_failures").pop());
    assert_eq!(alert["message"], "more than 5 failures were recorded within 2 s");
    let over = wait_alert(&agent, "many_failures", false);
    assert_eq!(over["message"], alert["message"]);
    wait_until("one notice", || notices_of(&kept, "many_failures").len() == 1);
}

/// `entity_failing`: several failures or counted attempts of one entity. It ends when the entity has none left. Names
/// of entities are shown verbatim.
#[test]
fn an_entity_that_fails_again_and_again_is_named() {
    let upstream = Upstream::start(|_| Answer::status(500));
    let (agent, kept) = watched(&upstream.url(), "entity_failing = { count = 2, window = \"1h\" }\n");
    let ids = ["r 17 §", "s-1"].map(|entity| id_of(&agent.call(&record_now(entity))));
    agent.call(&json!({"op": "health"}));
    // One failure and two counted tries. (The second entity's are given back, for it was the upstream.)
    let alert = wait_for("the alert", || {
        agent.ask(&json!({"op": "resume"}));
        alerts(&agent, "entity_failing").into_iter().find(|alert| alert["subject"] == "SALE r 17 §")
    });
    assert!(alert["message"].as_str().is_some_and(|text| text.starts_with("SALE r 17 §: more than 2 ")), "{alert}");
    wait_until("a notice", || !notices_of(&kept, "entity_failing").is_empty());
    upstream.on_delivery(|_| Answer::status(200));
    for id in &ids {
        wait_until("it leaves", || {
            agent.ask(&json!({"op": "resume"}));
            agent.ask(&json!({"op": "retry", "all": true}));
            agent.failure(id).is_none()
        });
    }
    wait_until("nothing of it being left", || {
        alerts(&agent, "entity_failing").iter().all(|alert| alert["active"] == false)
    });
}

/// `high_retries`: the mean of live failures, which the reader tells.
#[test]
fn a_high_mean_of_retries_is_told() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let (agent, _) = watched(&upstream.url(), "high_retries = 0.5\n");
    agent.call(&record_now("s-1"));
    let alert = wait_alert(&agent, "high_retries", true);
    assert_eq!(alert["message"], "live failures have used 1.0 retries on average");
    assert_eq!(alert["subject"], Value::Null);
}

/// An outage is reported after its delay, with the reason. It ends when a request was accepted; while failures wait, a
/// reachable upstream alone does not end it.
#[test]
fn an_outage_is_told_and_ends_with_an_acceptance() {
    let mut upstream = Upstream::willing();
    upstream.down();
    let (mut agent, kept) = watched(&upstream.url(), "upstream_offline = \"1s\"\n");
    agent.wait_upstream("offline");
    let alert = wait_alert(&agent, "upstream_offline", true);
    assert_eq!(alert["subject"], "hq");
    assert!(alert["message"].as_str().is_some_and(|text| text.contains("refused")), "{alert}");
    let health = agent.call(&json!({"op": "health"}));
    assert_eq!(health["state"], "degraded", "{health}");
    assert!(health["reasons"].to_string().contains("upstream_offline: "), "{health}");
    agent.restart_after_kill();
    assert_eq!(wait_alert(&agent, "upstream_offline", true)["since"], alert["since"]);
    let id = id_of(&agent.call(&record_now("s-1")));
    upstream.on_delivery(|_| Answer::status(503));
    upstream.up();
    wait_until("a try in vain", || !upstream.deliveries().is_empty());
    assert_eq!(wait_alert(&agent, "upstream_offline", true)["since"], alert["since"], "nothing was accepted yet");
    upstream.on_delivery(|_| Answer::status(200));
    agent.wait_gone(&id);
    wait_alert(&agent, "upstream_offline", false);
    assert_eq!(notices_of(&kept, "upstream_offline").len(), 1);
}

/// While nothing waits, a reachable upstream ends it.
#[test]
fn an_outage_that_nobody_waits_for_ends_with_the_line() {
    let mut upstream = Upstream::willing();
    upstream.down();
    let (agent, _) = watched(&upstream.url(), "upstream_offline = \"1s\"\n");
    wait_alert(&agent, "upstream_offline", true);
    upstream.up();
    wait_alert(&agent, "upstream_offline", false);
    assert!(upstream.deliveries().is_empty());
}

/// A blocked upstream is reported when the block begins and when it ends.
#[test]
fn a_block_is_told_at_once() {
    let upstream = Upstream::start(|_| Answer::status(401));
    let (agent, kept) = watched(&upstream.url(), "");
    let id = id_of(&agent.call(&record_now("s-1")));
    let alert = wait_alert(&agent, "upstream_blocked", true);
    assert!(alert["subject"] == "hq" && alert["message"].to_string().contains("401"), "{alert}");
    wait_until("a notice", || notices_of(&kept, "upstream_blocked").len() == 1);
    upstream.on_delivery(|_| Answer::status(200));
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    wait_alert(&agent, "upstream_blocked", false);
}

/// `clock_wrong`: the upstream's `Date`.
#[test]
fn a_clock_that_differs_from_the_upstreams_is_told() {
    let date = |date: &'static str| move |_: &_| Answer::status(200).with("Date", date);
    let upstream = Upstream::start(date("Tue, 24 Nov 2020 06:12:34 GMT"));
    upstream.on_probe(date("Tue, 24 Nov 2020 06:12:34 GMT"));
    let (agent, _) = watched(&upstream.url(), "");
    let alert = wait_alert(&agent, "clock_wrong", true);
    assert_eq!(alert["subject"], "hq");
    assert_eq!(agent.call(&json!({"op": "health"}))["state"], "degraded");
}

/// 03 `disk_low` and `database_full`; `health` is critical with either.
#[test]
fn a_low_disk_and_a_full_quota_are_told() {
    let upstream = Upstream::willing();
    let stat = rustix::fs::statvfs(std::env::temp_dir()).expect("a file system");
    // Enough to record, and less than twice that.
    let least = stat.f_bavail * stat.f_frsize / 4 * 3 / 1024;
    let limits = format!("min_free_disk = \"{least}KiB\"").leak();
    let agent = Agent::start(&Plan { limits, ..Plan::to(upstream.url()) });
    assert_eq!(agent.call(&record("s-1", &json!({})))["ok"], true);
    let alert = wait_alert(&agent, "disk_low", true);
    assert!(alert["message"].as_str().is_some_and(|text| text.contains("are free on the disk")), "{alert}");
    let health = agent.call(&json!({"op": "health"}));
    assert!(health["state"] == "critical" && health["reasons"].to_string().contains("disk_low: "), "{health}");

    let agent = Agent::start(&Plan { limits: "max_failures = 1", ..Plan::to(upstream.url()) });
    agent.ask(&json!({"op": "pause"}));
    let id = id_of(&agent.call(&record("s-1", &json!({}))));
    assert_eq!(alerts(&agent, "database_full"), Vec::<Value>::new());
    assert_eq!(agent.call(&record("s-2", &json!({})))["error"]["code"], "full");
    wait_alert(&agent, "database_full", true);
    assert_eq!(agent.call(&json!({"op": "health"}))["state"], "critical");
    agent.ask(&json!({"op": "resume"}));
    agent.ask(&json!({"op": "flush"}));
    agent.wait_gone(&id);
    wait_alert(&agent, "database_full", false);
}

/// A damaged database and a write by another program are reported, and remembered across a restart.
#[test]
fn what_happened_to_the_database_is_told_over_a_restart() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    agent.stop();
    fs::write(agent.database(), "no database ".repeat(1000)).expect("a file is written");
    agent.up();
    let alert = wait_alert(&agent, "database_corrupt", true);
    assert!(alert["message"].as_str().is_some_and(|text| text.contains("0 failures salvaged, 0 lost")), "{alert}");
    let health = agent.call(&json!({"op": "health"}));
    assert!(health["state"] == "critical" && health["reasons"].to_string().contains("quarantine/"), "{health}");
    agent.restart_after_kill();
    assert_eq!(wait_alert(&agent, "database_corrupt", true), alert);
    assert_eq!(agent.call(&json!({"op": "health"}))["state"], "critical");

    let hand = rusqlite::Connection::open(agent.database()).expect("the file");
    hand.execute_batch("PRAGMA user_version = 7").expect("a stranger writes");
    wait_alert(&agent, "database_foreign_write", true);
}

/// The database is deleted under the agent: its contents come back, and the deletion is reported
/// by its own event.
#[test]
fn a_database_that_was_taken_away_is_told_of() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    for part in ["", "-wal", "-shm"] {
        let path = format!("{}{part}", agent.database().display());
        fs::remove_file(path).expect("somebody deletes it");
    }
    wait_for("a record being taken again", || {
        let reply = agent.call(&record("s-1", &json!({"idempotency_key": "k"})));
        (reply["ok"] == true).then_some(())
    });
    wait_alert(&agent, "database_replaced", true);
    assert_eq!(alerts(&agent, "database_corrupt"), Vec::<Value>::new());
}

/// An alert command that hangs is killed with all that it began, and nothing else is late.
#[test]
fn a_command_that_hangs_harms_nobody() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::with(upstream.url(), "[alerts]\ncommand = [\"/bin/sleep\", \"1000\"]\n"));
    let bad = id_of(&agent.call(&record_now("s-1")));
    agent.wait_critical(&bad);
    wait_alert(&agent, "critical_failures", true);
    upstream.on_delivery(|_| Answer::status(200));
    let good = id_of(&agent.call(&record_now("s-2")));
    agent.wait_gone(&good);
    wait_until("its end being logged", || agent.log().contains("killed after 10 s"));
    let left = Command::new("ps").args(["-o", "comm=", "--ppid", &agent.pid().to_string()]).output().expect("ps runs");
    assert!(!String::from_utf8_lossy(&left.stdout).contains("sleep"));
}

/// A command that cannot run is logged.
#[test]
fn a_command_that_is_not_there_is_logged() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::with(upstream.url(), "[alerts]\ncommand = [\"/no/such/program\"]\n"));
    agent.call(&record_now("s-1"));
    wait_until("that being logged", || agent.log().contains("event=alert_command_failed"));
    assert_eq!(agent.call(&record_now("s-2"))["ok"], true);
}

/// Once the upstream is reachable again, the current state is posted, without a backlog.
#[test]
fn the_present_state_is_posted_when_the_line_is_back() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let mut office = Upstream::willing();
    office.down();
    let more = format!("[alerts]\nurl = \"{}\"\n", at(&office, "/alerts"));
    let agent = Agent::start(&Plan::with(upstream.url(), more));
    let id = id_of(&agent.call(&record_now("s-1")));
    wait_alert(&agent, "critical_failures", true);
    wait_until("a post in vain", || agent.log().contains("event=alert_post_failed to=alerts-url"));
    upstream.on_delivery(|_| Answer::status(200));
    agent.ask(&json!({"op": "retry", "ids": [id]}));
    wait_alert(&agent, "critical_failures", false);
    office.up();
    let posts = office.wait_deliveries(1);
    let body: Value = serde_json::from_slice(&posts[0].body).expect("JSON");
    assert_eq!((&body["terminal_id"], &body["store_id"]), (&json!("till-07"), &json!("0042")), "{body}");
    let posted: Vec<_> = body["alerts"].as_array().expect("a list").iter().collect();
    let critical = posted.iter().find(|alert| alert["kind"] == "critical_failures").expect("it is there");
    assert_eq!(critical["active"], false, "the present, not what was to be told then: {body}");
    assert_eq!(posts[0].header("Content-Type"), Some("application/json"));
}

/// What the upstream is sent with, its alerts' URL at the same place is sent with too; another is not.
#[test]
fn the_upstreams_token_goes_to_its_own_place_only() {
    let own = Upstream::start(|request| Answer::status(if request.path == "/alerts" { 200 } else { 422 }));
    let other = Upstream::willing();
    let mut agent = Agent::prepare(&Plan::default());
    let token = agent.state_dir().with_file_name("token");
    fs::write(&token, "secret").expect("a token");
    let upstream = format!("[upstream.hq]\nurl = \"{}\"\ntoken_file = {:?}\n", own.url(), token.display().to_string());
    for (alerts, beats) in [(&own, &other), (&other, &own)] {
        let tables = format!(
            "{upstream}[alerts]\nurl = \"{}\"\n[heartbeat]\nurl = \"{}\"\nevery = \"1s\"\n",
            at(alerts, "/alerts"),
            at(beats, "/alerts")
        );
        agent.configure(&Plan { more: tables, ..Plan::default() });
        agent.up();
        agent.call(&record_now("s-1"));
        wait_until("both being told", || {
            [&own, &other].iter().all(|office| office.requests().iter().any(|request| request.path == "/alerts"))
        });
        agent.stop();
    }
    let told = |office: &Upstream| {
        let all = office.requests().into_iter().filter(|request| request.path == "/alerts");
        all.map(|request| request.header("Authorization").map(str::to_owned)).collect::<Vec<_>>()
    };
    assert!(told(&own).iter().all(|header| header.as_deref() == Some("Bearer secret")), "{:?}", told(&own));
    assert!(told(&other).iter().all(Option::is_none), "{:?}", told(&other));
}

/// The heartbeat posts `health` again and again, and a head office that is away harms nothing.
#[test]
fn the_heartbeat_goes_on_whatever_happens_to_it() {
    let upstream = Upstream::willing();
    let mut office = Upstream::willing();
    let more = format!("[heartbeat]\nurl = \"{}\"\nevery = \"1s\"\n", at(&office, "/beat"));
    let agent = Agent::start(&Plan::with(upstream.url(), more));
    let beats = office.wait_deliveries(2);
    let body: Value = serde_json::from_slice(&beats[0].body).expect("JSON");
    assert_eq!(
        (&body["ok"], &body["terminal_id"], &body["store_id"]),
        (&json!(true), &json!("till-07"), &json!("0042"))
    );
    for field in ["state", "version", "oldest_created_at", "database_bytes", "clock_skew_ms", "upstreams"] {
        assert!(body.get(field).is_some(), "{field} in {body}");
    }
    assert_eq!((beats[0].path.as_str(), beats[0].method.as_str()), ("/beat", "POST"));
    office.down();
    wait_until("one in vain", || agent.log().contains("event=alert_post_failed to=heartbeat"));
    let before = office.requests().len();
    office.up();
    office.wait_deliveries(before + 1);
    assert_eq!(agent.call(&record_now("s-1"))["ok"], true);
}

/// `resyncd alerts`, for people and as lines, with the agent and without it.
#[test]
fn the_command_tells_alerts_with_and_without_the_agent() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    let run = |agent: &Agent, more: &[&str]| {
        let ran = resyncd(agent, &[&["alerts"], more].concat());
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        out(&ran)
    };
    assert_eq!(run(&agent, &[]), "No alerts, now or in the last 24 hours.\n");
    assert_eq!(run(&agent, &["--json"]), "");
    agent.call(&record_now("s-1"));
    let alert = wait_alert(&agent, "critical_failures", true);
    for stopped in [false, true] {
        if stopped {
            agent.stop();
        }
        let lines = run(&agent, &["--json"]);
        let critical = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        assert!(critical.into_iter().any(|line| line == alert), "{lines}");
        let text = run(&agent, &[]);
        assert!(text.contains("critical_failures") && text.contains("1 failure needs a person"), "{text}");
    }
}

/// Alerts are the admin socket's.
#[test]
fn applications_may_not_ask_for_alerts() {
    let agent = Agent::start(&Plan::default());
    assert_eq!(agent.call(&json!({"op": "alerts"}))["error"]["code"], "forbidden");
    assert_eq!(agent.ask(&json!({"op": "alerts"})), json!({"ok": true, "alerts": []}));
}

/// After a reload, nothing is posted to the old URL, and what was not posted there goes to the new one.
#[test]
fn a_reload_leaves_one_thread_that_posts_and_it_posts_what_is_owed() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let (mut away, other) = (Upstream::willing(), Upstream::willing());
    away.down();
    let alerts = |office: &Upstream, path| format!("[alerts]\nurl = \"{}\"\n", at(office, path));
    let agent = Agent::start(&Plan::with(upstream.url(), alerts(&away, "/first")));
    id_of(&agent.call(&record_now("s-1")));
    wait_until("a post in vain", || agent.log().contains("event=alert_post_failed to=alerts-url"));
    for path in ["/second", "/third", "/fourth"] {
        agent.configure(&Plan::with(upstream.url(), alerts(&away, path)));
        assert_eq!(agent.ask(&json!({"op": "reload"}))["ok"], true);
    }
    agent.configure(&Plan::with(upstream.url(), alerts(&other, "/alerts")));
    assert_eq!(agent.ask(&json!({"op": "reload"}))["ok"], true);
    let post = other.wait_deliveries(1).remove(0);
    assert!(String::from_utf8_lossy(&post.body).contains("critical_failures"), "the notice is not lost");
    let posting = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).expect("the agent runs");
        let name = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        tasks.filter_map(Result::ok).filter(|task| name(task).trim() == "alerts-url").count()
    };
    wait_until("one thread being left", || posting() == 1);
    away.up();
    assert!(away.requests().is_empty(), "nothing goes to the old place");
}

//! How the agent waits: for what is due by the clock that goes on in a suspend, and without needless wake-ups.

use crate::command_line::{out, resyncd, resyncd_with};
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now, wait_until};
use serde_json::json;
use std::fs;

/// The agent's timers, as the kernel reports them.
fn timers(agent: &Agent) -> Vec<String> {
    let dir = format!("/proc/{}/fdinfo", agent.pid());
    let entries = fs::read_dir(dir).expect("the agent runs").filter_map(Result::ok);
    // A descriptor may be closed meanwhile.
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter(|text| text.contains("clockid:")).collect()
}

/// What falls due while the machine is suspended is done when it wakes up: the wait is one of the boot-time clock,
/// number 7, and not a time-out, whose clock stands still.
#[test]
fn the_wait_for_what_is_due_goes_on_in_a_suspend() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::to(upstream.url()) });
    id_of(&agent.call(&record("s-1", &json!({"error": "HTTP 500"}))));
    wait_until("a timer of the boot-time clock that is set", || {
        timers(&agent).iter().any(|text| text.contains("clockid: 7") && !text.contains("it_value: (0, 0)"))
    });
}

/// A log that no process reads stops neither records nor deliveries, and does not keep the agent from ending.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let upstream = Upstream::willing();
    // A pipe that is open for reading, too, takes 64 KiB and then nothing more.
    let through = ["sh", "-c", "mkfifo stuck && exec \"$@\" 2<>stuck", "sh"].map(str::to_owned).to_vec();
    let mut agent = Agent::start(&Plan { through, ..Plan::impatient(upstream.url()) });
    let mut app = agent.app();
    for n in 0..900 {
        // An event of each delivery has more than a hundred bytes.
        id_of(&app.call(&record_now(&format!("sale-with-a-long-number-{n:020}"))));
    }
    wait_until("all being delivered", || agent.cell("SELECT COUNT(*) FROM sync_failures") == 0);
    assert_eq!(app.call(&json!({"op": "hello"}))["ok"], true);
    assert!(agent.stop().success(), "it ends as ever");
}

/// What was handed over has no error of its own. Attempts that cost it nothing were made all the same, and nobody is
/// told that there were none.
#[test]
fn attempts_that_do_not_count_are_told_wherever_a_failure_is_shown() {
    let upstream = Upstream::start(|_| Answer::status(503));
    let agent = Agent::start(&Plan { upstream: "max_pause = \"1s\"", ..Plan::impatient(upstream.url()) });
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "error": null}))));
    assert!(out(&resyncd(&agent, &["list"])).contains("SALE s-1"));
    let attempts = || agent.failure(&id).expect("it waits")["attempts"].as_u64().expect("a number");
    wait_until("two attempts", || attempts() >= 2);
    // Without further attempts all of them say the same.
    resyncd(&agent, &["pause"]);
    wait_until("the end of the last one", || agent.failure(&id).is_some_and(|failure| failure["state"] != "in_flight"));
    let (number, shown) = (attempts(), agent.failure(&id).expect("it waits"));
    assert_eq!((&shown["error"], &shown["retry_count"]), (&json!("not sent yet"), &json!(0)), "{shown}");
    let told = format!("not accepted yet, {number} attempts");
    resyncd(&agent, &["hold", "1", "--reason", "x", "--yes"]);
    for command in [&["list"][..], &["show", "1"], &["report", "--text"], &["list", "--status", "held"]] {
        let text = out(&resyncd(&agent, command)).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&told) && !text.contains("not sent yet"), "{command:?}: {text}");
    }
    let show = out(&resyncd(&agent, &["show", "1"]));
    assert!(show.contains(&format!("0 used, {number} attempts")), "{show}");
    let spanish = out(&resyncd_with(&agent, &["show", "1"], "", &[("RESYNCD_LANG", "es")]));
    assert!(spanish.contains(&format!("sin aceptar todavía, {number} intentos")), "{spanish}");
}

//! Work on many failures reads their rows without payloads, or one at a time: the agent's memory does not grow with
//! the total size of many large failures.

use crate::support::{Agent, Plan, record};
use serde_json::{Value, json};
use std::fs;

/// Together 30 MB, which the agent must never hold at once.
const FAILURES: usize = 120;
const PAYLOAD: usize = 250_000;
/// What the agent may need beyond what it had before.
const MOST_MORE_KB: u64 = 16_000;

/// The largest amount of memory that the process has had since the peak was last reset.
fn peak_kb(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("its peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

fn forget_peak(agent: &Agent) -> u64 {
    fs::write(format!("/proc/{}/clear_refs", agent.pid()), "5").expect("the peak can be forgotten");
    peak_kb(agent)
}

#[test]
fn memory_does_not_grow_with_the_number_of_large_failures() {
    let mut agent = Agent::start(&Plan::with(
        "https://127.0.0.1:1/".to_owned(),
        "[[route]]\nentity_type = \"SALE\"\nupstream = \"hq\"\npath = \"/a\"\n",
    ));
    let mut app = agent.app();
    for n in 0..FAILURES {
        let reply = app.call(&record(&format!("s-{n}"), &json!({"payload": "x".repeat(PAYLOAD)})));
        assert_eq!(reply["ok"], true, "{reply}");
    }
    drop(app);
    let before = forget_peak(&agent);
    let grown = |agent: &Agent, by: &str| {
        let more = peak_kb(agent).saturating_sub(before);
        assert!(more < MOST_MORE_KB, "{by} took {more} kB more");
    };

    let ids: Vec<usize> = (1..=FAILURES).collect();
    let reply = agent.ask(&json!({"op": "hold", "ids": ids, "dry_run": true}));
    assert_eq!(reply["matched"], FAILURES, "{reply}");
    grown(&agent, "a bulk operation");

    // Every failure is looked at for a changed configuration.
    agent.configure(&Plan::with(
        "https://127.0.0.1:1/".to_owned(),
        "[[route]]\nentity_type = \"SALE\"\naction = \"CREATE\"\nupstream = \"hq\"\npath = \"/b\"\n",
    ));
    let reply: Value = agent.ask(&json!({"op": "reload"}));
    assert_eq!(reply["ok"], true, "{reply}");
    assert_eq!(agent.ask(&json!({"op": "list", "limit": 1}))["total"], FAILURES);
    grown(&agent, "a reload");
    agent.stop();
}

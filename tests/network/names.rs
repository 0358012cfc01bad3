//! Name resolution without a response.

use crate::line::{Line, figure};
use crate::nameserver::{NAME, Nameserver};
use crate::sales::{Sales, assert_untouched, classes, first_delivery};
use crate::support::{Agent, Answer, PATIENCE, wait_up_to};
use serde_json::json;
use std::fs;
use std::time::Instant;

/// A lookup takes longer (4 s here) than the agent waits for it, so lookups could pile up.
const PLAN: &str = "insecure = true\nconnect_timeout = \"500ms\"\nmax_pause = \"1s\"";

/// Threads of the agent that are resolving a name.
fn look_ups(agent: &Agent) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", agent.pid())).expect("the agent runs");
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "lookup").count()
}

/// DNS is down; a DNS failure is `unreachable` and never counted.
#[test]
fn a_name_server_that_is_silent_costs_nothing_and_gathers_no_threads() {
    let Some(line) = Line::lay() else { return };
    let nameserver = Nameserver::silent(&line);
    let upstream = line.upstream(|_| Answer::status(200));
    let agent = Agent::start(&line.plan(NAME, PLAN));
    let shown = agent.wait_upstream("offline");
    let reason = shown["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("name lookup fails"), "{shown}");

    let begun = Instant::now();
    let sales = Sales::record_now(&agent, 20, 4);
    figure("20 records answered while no name is found", begun.elapsed());
    let mut most = 0;
    // The first canary is sent after 30 to 90 s.
    wait_up_to(4 * PATIENCE, "an attempt of a failure", || {
        most = most.max(look_ups(&agent));
        assert!(most <= 1, "{most} look-ups at a time");
        (!classes(&agent).is_empty()).then_some(())
    });
    assert_eq!(most, 1, "look-ups were seen");
    assert_eq!(json!(classes(&agent)), json!(["unreachable"]));
    assert!(nameserver.asked() > 0, "the name server was asked");
    assert_untouched(&agent);

    let (before, begun) = (upstream.requests().len(), Instant::now());
    nameserver.speaks(true);
    figure("name server back, first delivery after", first_delivery(&upstream, before, begun, PATIENCE));
    sales.assert_delivered(&agent, &upstream, 2 * PATIENCE);
    assert_eq!(upstream.deliveries().len(), 20, "none of them twice");
}

/// Deliveries use the address that a probe has found, even if the name server stops responding.
#[test]
fn an_address_that_a_probe_has_found_is_not_looked_up_again() {
    let Some(line) = Line::lay() else { return };
    let nameserver = Nameserver::silent(&line);
    nameserver.speaks(true);
    let upstream = line.upstream(|_| Answer::status(200));
    let agent = Agent::start(&line.plan(NAME, PLAN));
    agent.wait_upstream("online");
    nameserver.speaks(false);
    let sales = Sales::record_now(&agent, 4, 4);
    sales.assert_delivered(&agent, &upstream, PATIENCE);
    assert_eq!(
        json!(classes(&agent)),
        json!(["delivered", "delivered", "delivered", "delivered"]),
        "at the first attempt"
    );
}

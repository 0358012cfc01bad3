//! A line that drops packets silently: before a connection, and in the middle of an exchange.

use crate::line::{FAR, Line, figure};
use crate::sales::{Sales, assert_untouched, classes, first_delivery};
use crate::support::{Agent, Answer, PATIENCE};
use serde_json::json;
use std::time::Instant;

/// Short time-outs, so that the loss is noticed within the test's patience.
const QUICK_TO_CONNECT: &str = "insecure = true\nconnect_timeout = \"500ms\"";
const QUICK: &str = "insecure = true\nconnect_timeout = \"500ms\"\ntimeout = \"2s\"";

/// Packets are dropped: the third consecutive connect time-out starts a probe.
#[test]
fn connections_that_vanish_cost_nothing_and_the_third_says_offline() {
    let Some(line) = Line::lay() else { return };
    let upstream = line.upstream(|_| Answer::status(200));
    let agent = Agent::start(&line.plan(FAR, QUICK_TO_CONNECT));
    agent.wait_upstream("online");
    line.office.filter("drop", "");
    let begun = Instant::now();
    let sales = Sales::record_now(&agent, 12, 4);
    agent.wait_upstream("offline");
    figure("a black hole is noticed after", begun.elapsed());
    assert_eq!(json!(classes(&agent)), json!(["unreachable", "unreachable", "unreachable"]));
    assert_eq!(
        json!(agent.column("SELECT DISTINCT error FROM sync_attempts")),
        json!(["no connection in time"]),
        "connect time-outs"
    );
    assert_untouched(&agent);

    let (before, begun) = (upstream.requests().len(), Instant::now());
    line.office.pass();
    figure("a hole ends, first delivery after", first_delivery(&upstream, before, begun, PATIENCE));
    sales.assert_delivered(&agent, &upstream, 2 * PATIENCE);
    assert_eq!(upstream.deliveries().len(), 12, "none of them twice");
}

/// Accepted, but the response is lost: `unsure`, and sent again under the same key.
#[test]
fn an_answer_that_vanishes_is_unsure_and_sent_again_under_the_same_key() {
    let Some(line) = Line::lay() else { return };
    let office = line.office.clone();
    let upstream = line.upstream(move |request| {
        if request.nth == 1 {
            office.filter("", "drop");
        }
        Answer::status(200)
    });
    let agent = Agent::start(&line.plan(FAR, QUICK));
    agent.wait_upstream("online");
    let sales = Sales::record_now(&agent, 1, 1);
    agent.wait_upstream("offline");
    assert_eq!(json!(classes(&agent)), json!(["unsure", "unreachable", "unreachable"]));
    assert_untouched(&agent);

    let (before, begun) = (upstream.requests().len(), Instant::now());
    line.office.pass();
    figure("a lost answer's hole ends, delivered again after", first_delivery(&upstream, before, begun, PATIENCE));
    sales.assert_delivered(&agent, &upstream, PATIENCE);
    let tries = upstream.deliveries();
    assert_eq!(tries.len(), 2, "the upstream has seen it twice");
    assert_eq!((tries[0].key(), tries[0].attempt()), (tries[1].key(), 1));
    assert_eq!(tries[1].attempt(), 4, "tries that got nowhere have numbers too");
}

/// As above, where the request itself is lost, on a connection that has just carried a delivery.
#[test]
fn a_request_that_vanishes_on_a_kept_connection_is_unsure_and_costs_nothing() {
    let Some(line) = Line::lay() else { return };
    let office = line.office.clone();
    let upstream = line.upstream(move |request| {
        // The response still leaves the office; later packets to it are dropped.
        if request.nth == 1 {
            office.filter("drop", "");
        }
        Answer::status(200)
    });
    let agent = Agent::start(&line.plan(FAR, QUICK));
    agent.wait_upstream("online");
    let sales = Sales::record_now(&agent, 2, 1);
    agent.wait_upstream("offline");
    assert_eq!(json!(classes(&agent)), json!(["delivered", "unsure", "unreachable", "unreachable"]));
    assert_untouched(&agent);
    line.office.pass();
    sales.assert_delivered(&agent, &upstream, PATIENCE);
}

//! A device on the path resets connections: new ones, and established ones.

use crate::line::{FAR, Line, figure};
use crate::sales::{Sales, assert_untouched, classes, first_delivery};
use crate::support::{Agent, Answer, PATIENCE};
use serde_json::json;
use std::time::Instant;

/// A refused connection starts a probe at once.
#[test]
fn connections_that_are_refused_cost_nothing_and_the_first_says_offline() {
    let Some(line) = Line::lay() else { return };
    let upstream = line.upstream(|_| Answer::status(200));
    let agent = Agent::start(&line.plan(FAR, "insecure = true"));
    agent.wait_upstream("online");
    line.office.filter("tcp flags & (syn | ack) == syn reject with tcp reset", "");
    let begun = Instant::now();
    let sales = Sales::record_now(&agent, 12, 4);
    agent.wait_upstream("offline");
    figure("a refused connection is noticed after", begun.elapsed());
    assert_eq!(json!(classes(&agent)), json!(["unreachable"]));
    assert_untouched(&agent);

    let (before, begun) = (upstream.requests().len(), Instant::now());
    line.office.pass();
    figure("refusing ends, first delivery after", first_delivery(&upstream, before, begun, PATIENCE));
    sales.assert_delivered(&agent, &upstream, 2 * PATIENCE);
    assert_eq!(upstream.deliveries().len(), 12, "none of them twice");
}

/// A reset after the request was sent is `unsure`, and the third in a row starts a probe.
#[test]
fn connections_that_break_off_cost_nothing_and_the_third_says_offline() {
    let Some(line) = Line::lay() else { return };
    let upstream = line.upstream(|_| Answer::status(200));
    let agent = Agent::start(&line.plan(FAR, "insecure = true"));
    agent.wait_upstream("online");
    // Like a firewall that has lost its connection table: packets with data are reset.
    line.office.filter("tcp flags & psh == psh reject with tcp reset", "");
    let sales = Sales::record_now(&agent, 12, 4);
    agent.wait_upstream("offline");
    assert_eq!(json!(classes(&agent)), json!(["unsure", "unsure", "unsure"]));
    let errors = agent.column("SELECT DISTINCT error FROM sync_attempts");
    assert!(errors.iter().all(|error| error.as_str().is_some_and(|text| text.contains("reset"))), "{errors:?}");
    assert_untouched(&agent);

    let (before, begun) = (upstream.requests().len(), Instant::now());
    line.office.pass();
    figure("breaking off ends, first delivery after", first_delivery(&upstream, before, begun, PATIENCE));
    sales.assert_delivered(&agent, &upstream, 2 * PATIENCE);
}

/// As above, on a connection that has just carried a delivery and is kept for the next one.
#[test]
fn a_kept_connection_that_is_reset_costs_nothing() {
    let Some(line) = Line::lay() else { return };
    let office = line.office.clone();
    let upstream = line.upstream(|_| Answer::status(200));
    let agent = Agent::start(&line.plan(FAR, "insecure = true"));
    agent.wait_upstream("online");
    // The firewall loses its table while the first of two is answered: the second finds the connection open.
    upstream.on_delivery(move |request| {
        if request.nth == 1 {
            office.filter("tcp flags & psh == psh reject with tcp reset", "");
        }
        Answer::status(200)
    });
    let sales = Sales::record_now(&agent, 2, 1);
    agent.wait_upstream("offline");
    assert_eq!(json!(classes(&agent)), json!(["delivered", "unsure", "unsure", "unsure"]));
    assert_untouched(&agent);
    line.office.pass();
    sales.assert_delivered(&agent, &upstream, PATIENCE);
    let tries: Vec<_> = upstream.deliveries().iter().map(crate::support::upstream::Request::attempt).collect();
    assert_eq!(tries, [1, 4], "the upstream never saw what was reset");
}

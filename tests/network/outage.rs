//! A single till was offline, with the shipped configuration: it must catch up soon, because no sign indicates
//! that other tills compete with it.

use crate::line::{Line, NEAR, figure};
use crate::sales::{Sales, first_delivery, switch_off_for};
use crate::support::{Agent, Answer, PATIENCE};
use std::time::Instant;

#[test]
fn a_single_till_delivers_two_hundred_failures_after_its_own_outage() {
    let Some(line) = Line::lay() else { return };
    let upstream = line.upstream(|_| Answer::status(200));
    let mut agent = Agent::start(&line.plan(NEAR, "insecure = true"));
    agent.wait_upstream("online");
    switch_off_for(&mut agent, 4);
    line.till.ip("link set line down");
    agent.up();
    agent.wait_upstream("offline");
    let sales = Sales::record_offline(&agent, 200, 40);

    let (before, begun) = (upstream.requests().len(), Instant::now());
    line.till.ip("link set line up");
    let first = first_delivery(&upstream, before, begun, 3 * PATIENCE);
    figure("a single till after 4 h, link up, first delivery after", first);
    sales.assert_delivered(&agent, &upstream, 10 * PATIENCE);
    let last = upstream.deliveries().last().expect("they have arrived").at;
    figure("a single till after 4 h, link up, all 200 delivered after", last.saturating_duration_since(begun));
    assert_eq!(upstream.deliveries().len(), 200, "none of them twice");
}

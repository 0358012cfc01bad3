//! A line that loses a fifth of all packets, each way.

use crate::line::{FAR, Line, figure};
use crate::sales::{Sales, classes};
use crate::support::{Agent, Answer};
use std::time::{Duration, Instant};

const LOSS: &str = "numgen random mod 100 < 20 drop";
/// Shorter than the retransmission of a lost SYN, so that attempts do fail; no long pause after one, because
/// that is not what is tested here.
const LOSSY: &str = "insecure = true\nconnect_timeout = \"400ms\"\ntimeout = \"400ms\"\nmax_pause = \"1s\"";

/// Order, one key, the budget and progress hold.
#[test]
fn hundreds_of_failures_get_through_a_line_that_loses_a_fifth_both_ways() {
    let Some(line) = Line::lay() else { return };
    let upstream = line.upstream(|_| Answer::status(200));
    let agent = Agent::start(&line.plan(FAR, LOSSY));
    agent.wait_upstream("online");
    line.till.filter(LOSS, "");
    line.office.filter(LOSS, "");
    let begun = Instant::now();
    let sales = Sales::record_now(&agent, 300, 60);
    sales.assert_delivered(&agent, &upstream, Duration::from_secs(300));
    figure("300 failures through 20 % loss both ways", begun.elapsed());
    let (tries, delivered) = (classes(&agent).len(), upstream.deliveries().len());
    assert!(tries > 300, "no try failed: {tries} tries, {delivered} requests seen");
}

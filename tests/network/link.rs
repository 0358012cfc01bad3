//! The kernel reports when a link, an address or a route returns, and that brings the probe forward. After
//! four hours without contact the next probe is at least 12 minutes away, so a delivery within the test's
//! patience must come from the kernel's notice. (A canary may come before; it has another trigger.)

use crate::line::{FAR, Line, NEAR, Place, ROUTE, figure};
use crate::sales::{Sales, assert_untouched, first_delivery, switch_off_for};
use crate::support::{Agent, Answer, PATIENCE, wait_until};
use serde_json::json;
use std::time::{Duration, Instant};

/// How soon the delivery must come; nothing planned before comes as soon.
const SOON: Duration = Duration::from_secs(20);

/// Cuts and restores the line: the namespace, and the arguments of `ip`.
struct Fault<'a> {
    place: &'a Place,
    cut: &'a str,
    mend: &'a str,
}

/// Waits until neither a probe nor a canary is planned soon, including the probe for the notice of the cut.
#[track_caller]
fn wait_until_nothing_is_planned_soon(agent: &Agent) {
    wait_until("the next attempt being far away", || {
        let next = agent.wait_upstream("offline")["next_try_at"].clone();
        let seconds = agent.cell(&format!("SELECT unixepoch('{}') - unixepoch('now')", next.as_str().unwrap_or("now")));
        seconds.as_u64() > Some(SOON.as_secs())
    });
}

/// Checks a delivery soon after the connection is restored; `what` names the figure.
#[track_caller]
fn mending_delivers(what: &str, line: &Line, host: &str, Fault { place, cut, mend }: &Fault) {
    let upstream = line.upstream(|_| Answer::status(200));
    let mut agent = Agent::start(&line.plan(host, "insecure = true\nmax_pause = \"1h\"\nconnect_timeout = \"1s\""));
    agent.wait_upstream("online");
    switch_off_for(&mut agent, 4);
    place.ip(cut);
    agent.up();
    wait_until_nothing_is_planned_soon(&agent);
    let sales = Sales::record_offline(&agent, 6, 2);

    let (before, begun) = (upstream.requests().len(), Instant::now());
    place.ip(mend);
    figure(&format!("{what} back, first delivery after"), first_delivery(&upstream, before, begun, SOON));
    assert_eq!(upstream.requests()[before].method, "HEAD", "a probe went before");
    assert_untouched(&agent);
    // The others come with the pause that such an outage leaves; the operator ends it.
    assert_eq!(agent.ask(&json!({"op": "resume", "upstream": "hq"}))["ok"], true);
    sales.assert_delivered(&agent, &upstream, 2 * PATIENCE);
    assert_eq!(json!(agent.column("SELECT DISTINCT trigger FROM sync_attempts")), json!(["auto"]), "no canary");
}

#[test]
fn a_link_that_comes_up_brings_the_probe_forward() {
    let Some(line) = Line::lay() else { return };
    let fault = Fault { place: &line.till, cut: "link set line down", mend: "link set line up" };
    mending_delivers("link", &line, NEAR, &fault);
}

/// The other end goes down: the interface stays up and loses its carrier.
#[test]
fn a_cable_that_is_plugged_in_brings_the_probe_forward() {
    let Some(line) = Line::lay() else { return };
    let fault = Fault { place: &line.office, cut: "link set line down", mend: "link set line up" };
    mending_delivers("carrier", &line, NEAR, &fault);
}

#[test]
fn an_address_that_is_given_brings_the_probe_forward() {
    let Some(line) = Line::lay() else { return };
    let (cut, mend) = ("addr del 192.0.2.1/30 dev line", "addr add 192.0.2.1/30 dev line");
    mending_delivers("address", &line, NEAR, &Fault { place: &line.till, cut, mend });
}

#[test]
fn a_route_that_is_added_brings_the_probe_forward() {
    let Some(line) = Line::lay() else { return };
    mending_delivers("route", &line, FAR, &Fault { place: &line.till, cut: "route del default", mend: ROUTE });
}

//! Requests that are held ready for the next commit: never more under way than are allowed, and none
//! after a no, a person's pause or a stop.

use crate::support::{Agent, Answer, Plan, Upstream, lines, record_now, wait_for, wait_until};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// The default `concurrency`.
const CONCURRENCY: usize = 4;
/// The number of consecutive refusals that halves the smoothed count of acceptances, whatever came before:
/// 0.9375¹¹ < 1/2. Then the upstream gets a pause.
const REFUSALS: usize = 11;

/// An agent with a backlog that a person has stopped.
fn backlog(upstream: &Upstream, count: usize) -> Agent {
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.wait_upstream("online");
    agent.ask(&json!({"op": "pause"}));
    let mut app = agent.app();
    app.send(lines((0..count).map(|n| record_now(&format!("s-{n}")))));
    for _ in 0..count {
        assert_eq!(app.reply()["ok"], true);
    }
    agent
}

#[test]
fn nothing_goes_ahead_of_its_turn_after_a_no() {
    const WELL: usize = 200;
    let upstream = Upstream::start(|request| Answer::status(if request.nth <= WELL { 200 } else { 503 }));
    let agent = backlog(&upstream, 2 * WELL);
    agent.ask(&json!({"op": "resume"}));
    // The pause after a no is half a second at least.
    let pause = Duration::from_millis(400);
    let since_no = |upstream: &Upstream| -> Vec<Duration> {
        let requests = upstream.deliveries();
        let first = requests.get(WELL).map(|request| request.at);
        requests.iter().skip(WELL).filter_map(|request| Some(request.at.duration_since(first?))).collect()
    };
    let after = wait_for("a try after the pause", || {
        let after = since_no(&upstream);
        after.iter().any(|after| *after > pause).then_some(after)
    });
    let beside = after.iter().filter(|after| **after < pause).count();
    // Each refusal takes one from the concurrency, which is one by the last: nothing else is under way then.
    assert!(beside <= REFUSALS, "{beside} requests came with and after the first refusal: {after:?}");
    // What was held ready is pending as before, and goes when all is well.
    upstream.on_delivery(|_| Answer::status(200));
    agent.ask(&json!({"op": "resume"}));
    wait_until("everything being sent", || agent.ask(&json!({"op": "unsent"}))["unsent"] == 0);
}

#[test]
fn never_more_than_allowed_are_under_way_and_a_pause_stops_what_is_held_ready() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let upstream = Upstream::start(move |_| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // The upstream's work, which takes longer than a commit.
        sleep(Duration::from_millis(3));
        now.fetch_sub(1, Ordering::SeqCst);
        Answer::status(200)
    });
    let agent = backlog(&upstream, 2000);
    agent.ask(&json!({"op": "resume"}));
    wait_until("a part being sent", || upstream.deliveries().len() > 100);
    agent.ask(&json!({"op": "pause"}));
    let sent = upstream.deliveries().len();
    wait_until("what was under way having ended", || {
        let left = agent.ask(&json!({"op": "list", "limit": 500}));
        left["failures"].as_array().expect("failures").iter().all(|failure| failure["state"] != "in_flight")
    });
    let more = upstream.deliveries().len() - sent;
    assert!(more <= CONCURRENCY, "{more} requests began after the pause");
    assert_eq!(most.load(Ordering::SeqCst), CONCURRENCY, "as many as are allowed, and no more");
}

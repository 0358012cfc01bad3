//! One terminal at an upstream that limits the rate of requests and sends no `Retry-After`.
//!
//! A bound on the ratio of requests to acceptances protects such an upstream: at most two requests for each that it
//! accepts.

use crate::sporadic::{Course, shipped_to};
use resyncd::policy::ending::Answer;
use resyncd::policy::ending::Ending;

/// nginx's `limit_req` with `nodelay`: a bucket that leaks `rate` requests a second and holds `burst` beyond one.
#[derive(Clone, Copy, Debug)]
struct Limiter {
    rate: f64,
    burst: f64,
    /// The status of a rejection.
    status: u16,
    /// From the start of a request to its response.
    takes_s: f64,
}

impl Limiter {
    /// The least time in which it accepts so many, of at most two requests in flight.
    fn least_s(&self, count: usize) -> f64 {
        let count = count as f64;
        f64::max((count - 1.0 - self.burst) / self.rate, count * self.takes_s / 2.0)
    }
}

/// The deliveries, and the number of rejections.
fn deliver(limiter: Limiter, count: usize, seed: u64) -> (Course, usize) {
    let (mut last, mut rejected) = (None, 0);
    let answers = |sent_s: f64, _: &mut fastrand::Rng| {
        let now_s = sent_s + limiter.takes_s / 2.0;
        let excess = last.map_or(0.0, |(at_s, excess)| f64::max(0.0, excess - limiter.rate * (now_s - at_s) + 1.0));
        let accepted = excess <= limiter.burst;
        if accepted {
            last = Some((now_s, excess));
        } else {
            rejected += 1;
        }
        let status = if accepted { 201 } else { limiter.status };
        (Ending::Answered(Answer { status, ..Answer::default() }), limiter.takes_s)
    };
    let course = shipped_to(answers, (4, seed), &vec![0.0; count], 3600.0);
    (course, rejected)
}

/// A limit of five requests a second without a burst, as `tests/real` has it, and others.
#[test]
fn a_rate_limit_without_retry_after_gets_at_most_two_requests_for_each_that_it_accepts() {
    const RUNS: u64 = 20;
    /// Rejections until there is a delay.
    const BEGINNING: usize = 4;
    for status in [429, 503] {
        for (rate, burst) in [(0.5, 0.0), (2.0, 0.0), (5.0, 0.0), (20.0, 0.0), (2.0, 5.0), (5.0, 5.0), (2.0, 20.0)] {
            for (takes_s, count) in [(0.001, 25), (0.001, 150), (0.05, 150), (0.25, 150)] {
                let limiter = Limiter { rate, burst, status, takes_s };
                let (mut all_s, mut all_rejected) = (0.0, 0);
                for seed in 0..RUNS {
                    let (course, rejected) = deliver(limiter, count, seed);
                    assert!(
                        rejected <= count + BEGINNING,
                        "{limiter:?}, seed {seed}: {rejected} rejections of {count}"
                    );
                    assert_eq!((course.delivered_s.len(), course.charged), (count, 0), "{limiter:?}, seed {seed}");
                    (all_s, all_rejected) = (all_s + course.until(1.0), all_rejected + rejected);
                }
                let (mean_s, least_s) = (all_s / RUNS as f64, limiter.least_s(count));
                let ratio = 1.0 + all_rejected as f64 / (RUNS as f64 * count as f64);
                println!(
                    "{limiter:?}, {count}: {ratio:.2} requests for each delivery, {mean_s:.1} s of {least_s:.1} s"
                );
                let allowed_s = 3.0 * least_s + 10.0;
                assert!(mean_s <= allowed_s, "{limiter:?}: {mean_s} s for {count}, at most {allowed_s} s");
            }
        }
    }
}

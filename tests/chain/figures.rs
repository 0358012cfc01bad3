//! The trace of a run, and the figures derived from it.

use crate::office::Office;
use crate::{Chain, Simulation};
use std::fmt::Write as _;

/// Events in each second after the outage.
pub(crate) struct Trace {
    up_s: f64,
    /// Failures recorded before that; how many of them are delivered, and when the last one was.
    total: u64,
    delivered: u64,
    last_s: f64,
    /// Requests that arrived at the office.
    pub(crate) offered: Vec<u32>,
    /// Earlier failures that were delivered.
    pub(crate) good: Vec<u32>,
    /// Terminals that delivered their last earlier failure.
    pub(crate) done: Vec<u32>,
}

impl Trace {
    pub(crate) fn new(up_s: f64, total: u64) -> Self {
        Self { up_s, total, delivered: 0, last_s: 0.0, offered: Vec::new(), good: Vec::new(), done: Vec::new() }
    }

    pub(crate) fn offered(&mut self, now_s: f64) {
        bump(&mut self.offered, now_s - self.up_s);
    }

    /// An earlier failure is delivered; `last`: it was the last one of its terminal.
    pub(crate) fn accepted(&mut self, now_s: f64, last: bool) {
        let after = now_s - self.up_s;
        self.delivered += 1;
        self.last_s = self.last_s.max(after);
        bump(&mut self.good, after);
        if last {
            bump(&mut self.done, after);
        }
    }

    /// When all were delivered.
    pub(crate) fn all_s(&self) -> Option<f64> {
        (self.delivered == self.total).then_some(self.last_s)
    }

    /// A line for each second: what was offered, what was accepted, and how many terminals had their first delivery and
    /// their last one in it.
    pub(crate) fn csv(&self, firsts: impl Iterator<Item = f64>) -> String {
        let mut first = Vec::new();
        firsts.for_each(|at_s| bump(&mut first, at_s));
        let at = |of: &[u32], second: usize| of.get(second).copied().unwrap_or(0);
        let mut text = "second,offered,accepted,first,done\n".to_owned();
        for second in 0..self.good.len() {
            let (offered, good) = (at(&self.offered, second), at(&self.good, second));
            writeln!(text, "{second},{offered},{good},{},{}", at(&first, second), at(&self.done, second)).unwrap();
        }
        text
    }

    /// The figures that the trace alone gives.
    pub(crate) fn result(&self, office: &Office, ideal_s: f64) -> Result {
        let served = |from: usize, to: usize| -> f64 {
            (from..to).map(|second| office.capacity_at(self.up_s + second as f64 + 0.5)).sum()
        };
        let sum = |of: &[u32], from: usize, to: usize| -> f64 {
            of.get(from..to.min(of.len())).unwrap_or_default().iter().map(|n| f64::from(*n)).sum()
        };
        let nine_tenths = self.total as f64 * 0.9;
        let mut running = 0.0;
        let till = self.good.iter().position(|n| {
            running += f64::from(*n);
            running >= nine_tenths
        });
        let till = till.map_or(self.good.len(), |second| second + 1).max(11);
        let tens = (10..self.offered.len()).step_by(10);
        Result {
            goodput: sum(&self.good, 10, till) / served(10, till),
            offered_first: sum(&self.offered, 0, 10) / served(0, 10),
            offered_worst: tens
                .map(|from| sum(&self.offered, from, from + 10) / served(from, from + 10))
                .fold(0.0, f64::max),
            offered_mean: sum(&self.offered, 10, till) / served(10, till),
            all: self.all_s().unwrap_or(f64::INFINITY) / ideal_s,
            undelivered: (self.total - self.delivered) as usize,
            ..Result::default()
        }
    }
}

fn bump(seconds: &mut Vec<u32>, at_s: f64) {
    let second = at_s.max(0.0) as usize;
    if seconds.len() <= second {
        seconds.resize(second + 1, 0);
    }
    seconds[second] += 1;
}

pub(crate) fn share(sorted: &[f64], share: f64) -> f64 {
    sorted.get(((sorted.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(0.0)
}

/// The figures of a run; times in seconds after the outage.
#[derive(Debug, Default)]
pub(crate) struct Result {
    /// Deliveries relative to the capacity, from 10 s until nine tenths are delivered.
    pub(crate) goodput: f64,
    /// Requests relative to the capacity: in the first 10 s, in the worst later 10 s, on average.
    pub(crate) offered_first: f64,
    pub(crate) offered_worst: f64,
    pub(crate) offered_mean: f64,
    /// Time until all are delivered, relative to the least possible.
    pub(crate) all: f64,
    /// Time to the first delivery of 99 % of the terminals, and of the last.
    pub(crate) first_99: f64,
    pub(crate) first_last: f64,
    /// Time from recording to delivery of failures recorded after the recovery, 99th percentile.
    pub(crate) new_99: f64,
    pub(crate) charged: usize,
    pub(crate) undelivered: usize,
}

/// Limits: the time to deliver everything relative to the ideal time, and the offered load in any
/// later 10 s relative to the capacity.
pub(crate) struct Allowed {
    pub(crate) all: f64,
    pub(crate) offered_worst: f64,
}

pub(crate) const USUAL: Allowed = Allowed { all: 1.15, offered_worst: 2.0 };

pub(crate) fn check(chain: Chain, allowed: &Allowed) {
    let result = Simulation::new(chain).run();
    println!(
        "{:?} {:?} keys={} mixed={} halves={}: {result:.2?}",
        chain.manner, chain.back, chain.keys, chain.mixed, chain.halves
    );
    let told = format!("{chain:?}: {result:?}");
    assert_eq!((result.charged, result.undelivered), (0, 0), "{told}");
    assert!(result.goodput >= 0.95, "goodput; {told}");
    assert!(result.offered_first <= 3.0, "offered in the first 10 s; {told}");
    assert!(result.offered_worst <= allowed.offered_worst, "offered in any later 10 s; {told}");
    assert!(result.offered_mean <= 1.5, "offered on average; {told}");
    assert!(result.all <= allowed.all, "all delivered; {told}");
    assert!(result.first_99 <= 300.0 && result.first_last <= 720.0, "first deliveries; {told}");
    assert!(result.new_99 <= 3.0, "those recorded afterwards; {told}");
}

/// A table for readers with one line per run; loads and goodput are relative to the capacity.
pub(crate) fn table(rows: &[(&str, &Result, &Trace)]) -> String {
    let mut text = format!(
        "{:<10}{:>20}{:>15}{:>10}{:>16}\n",
        "terminals", "offered, first 10 s", "mean offered", "goodput", "until all done"
    );
    for (name, result, trace) in rows {
        let all = trace.all_s().map_or("never".into(), |all| format!("{all:.0} s"));
        writeln!(
            text,
            "{name:<10}{:>19.2}x{:>14.2}x{:>9.2}x{all:>16}",
            result.offered_first, result.offered_mean, result.goodput
        )
        .unwrap();
    }
    text
}

//! The baseline for the policy: terminals that retry a second after each rejection, with one
//! request in flight each, and never give up.

use crate::figures::{Result, Trace};
use crate::office::{End, Office};
use crate::{Simulation, TIMEOUT};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const RETRY_S: f64 = 1.0;

struct Naive {
    left: usize,
    /// One-way delay to the office.
    way_s: f64,
}

/// The same terminals with the same backlogs at the same office. Their retries during the outage
/// are not synchronised, so each begins at some moment of the first second.
pub(crate) fn run(beside: &Simulation) -> (Trace, Result) {
    let chain = beside.chain;
    let mut random = fastrand::Rng::with_seed(chain.seed);
    let mut office = Office::new(chain.manner, chain.capacity, beside.office.halves_at);
    let of = beside.terminals.iter();
    let mut terminals: Vec<Naive> = of.map(|t| Naive { left: t.backlog, way_s: t.rtt_s / 2.0 }).collect();
    let mut trace = Trace::new(beside.up_s, terminals.iter().map(|terminal| terminal.left as u64).sum());

    let in_us = |at_s: f64| (at_s * 1e6).round() as u64;
    let mut arrivals: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    for (index, terminal) in terminals.iter().enumerate().filter(|(_, terminal)| terminal.left > 0) {
        arrivals.push(Reverse((in_us(beside.up_s + random.f64() * RETRY_S + terminal.way_s), index)));
    }
    while let Some(Reverse((at_us, index))) = arrivals.pop() {
        let at_s = at_us as f64 / 1e6;
        if at_s > beside.longest_s() {
            break;
        }
        trace.offered(at_s);
        let terminal = &mut terminals[index];
        let (ended_s, end) = office.answers(at_s, terminal.way_s, at_s - terminal.way_s, TIMEOUT);
        let pause_s = if end == End::Ok { 0.0 } else { RETRY_S };
        if end == End::Ok {
            terminal.left -= 1;
            trace.accepted(ended_s, terminal.left == 0);
        }
        if terminal.left > 0 {
            arrivals.push(Reverse((in_us(ended_s + pause_s + terminal.way_s), index)));
        }
    }
    let result = trace.result(&office, beside.ideal_s);
    (trace, result)
}

//! The measure is a chain, not a till (`spec/03`, The upstream): all terminals come back at once to
//! a head office that cannot serve them all, on the shipped policy.
//!
//! The small form runs with every test. The full one:
//! `TERMINALS=10000 CAPACITY=500 cargo test --release --test chain -- --nocapture --test-threads=1`.
//! Further: `BACKLOG=200`, `OUTAGE_HOURS=4`, `SEED=1`, `PROBE_TIMEOUT=30` (seconds).

// Times and counts of a simulation fit any of these types.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
// A test may unwrap (rule 11 of the house).
#![allow(clippy::unwrap_used)]

#[path = "chain/office.rs"]
mod office;
#[path = "chain/terminal.rs"]
mod terminal;

use office::{End, Fate, Manner, Office, ending};
use resyncd::config::{Config, Overrides, Retry, Surroundings};
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::canary::Route;
use resyncd::policy::class::{Target, classify};
use resyncd::policy::dossier::OrderTag;
use resyncd::policy::probe::ProbeEnd;
use resyncd::policy::reading::Reading;
use resyncd::policy::upstream::{Errand, Ordering, Pace};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use terminal::{Terminal, Wish};

/// How the terminals learn that the line is back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Return {
    /// By a link event within so many seconds.
    Link(f64),
    /// By probing.
    Probing,
    /// They are switched on within so many seconds.
    SwitchedOn(f64),
}

#[derive(Clone, Copy, Debug)]
struct Chain {
    terminals: usize,
    backlog: usize,
    capacity: f64,
    outage_s: f64,
    seed: u64,
    probe_timeout_s: f64,
    manner: Manner,
    back: Return,
    /// Order keys of each backlog; 0: as many as failures.
    keys: usize,
    /// Backlogs from 0 to 2,000, exponentially distributed.
    mixed: bool,
    /// The office halves midway.
    halves: bool,
}

impl Chain {
    fn of(manner: Manner, back: Return) -> Self {
        let number = |name: &str, default: f64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
        Self {
            terminals: number("TERMINALS", 500.0) as usize,
            backlog: number("BACKLOG", 200.0) as usize,
            capacity: number("CAPACITY", 25.0),
            outage_s: number("OUTAGE_HOURS", 4.0) * 3600.0,
            seed: number("SEED", 1.0) as u64,
            probe_timeout_s: number("PROBE_TIMEOUT", TIMEOUT),
            manner,
            back,
            keys: 0,
            mixed: false,
            halves: false,
        }
    }
}

/// What came of it; times in seconds after the line was back.
#[derive(Debug, Default)]
struct Result {
    /// Delivered of what could be served, from 10 s until nine tenths are delivered.
    goodput: f64,
    /// Requests of what could be served, in the first 10 s, in the worst later 10 s, on average.
    offered_first: f64,
    offered_worst: f64,
    offered_mean: f64,
    /// All delivered, in times of the least possible.
    all: f64,
    /// First deliveries: 99 % of the terminals, and the last.
    first_99: f64,
    first_last: f64,
    /// Failures recorded when all was over: from recording to delivery, 99 %.
    new_99: f64,
    charged: usize,
    undelivered: usize,
}

#[derive(Clone, Copy)]
enum What {
    Wake,
    Link,
    SwitchOn,
    Record,
    Arrives { failure: Option<u32>, sent_at: AgentTime, errand: Errand },
    Returns { failure: Option<u32>, sent_at: AgentTime, errand: Errand, end: End },
}

const TIMEOUT: f64 = 30.0;
const CONNECT_TIMEOUT: f64 = 5.0;
/// The line goes down a minute after all were switched on.
const DOWN: f64 = 660.0;

struct Simulation {
    chain: Chain,
    office: Office,
    terminals: Vec<Terminal>,
    events: BinaryHeap<Reverse<(u64, u64, u32)>>,
    whats: Vec<What>,
    free: Vec<u32>,
    count: u64,
    up_s: f64,
    ideal_s: f64,
    total: u64,
    delivered: u64,
    all_s: Option<f64>,
    offered: Vec<u32>,
    good: Vec<u32>,
    new: Vec<f64>,
    retry: Retry,
    orders: Vec<OrderTag>,
    route: Route,
    target: Target,
    config: resyncd::config::Upstream,
    random: fastrand::Rng,
}

impl Simulation {
    fn new(chain: Chain) -> Self {
        let mut random = fastrand::Rng::with_seed(chain.seed);
        let pace = Pace {
            concurrency: 4,
            max_pause: Duration::from_mins(1),
            min_gap: Duration::ZERO,
            probe_idle: None,
            ordering: Ordering::Key,
        };
        let mut total = 0;
        let mut terminals = Vec::with_capacity(chain.terminals);
        for _ in 0..chain.terminals {
            let exponential = -(1.0 - random.f64()).ln() * chain.backlog as f64;
            let backlog = if chain.mixed { (exponential as usize).min(2000) } else { chain.backlog };
            total += backlog as u64;
            terminals.push(Terminal::new(moment(0.0), pace, backlog, chain.keys, random.u64(..)));
            terminals.last_mut().unwrap().left = backlog;
        }
        let up_s = DOWN + chain.outage_s;
        let plain = total as f64 / chain.capacity;
        let halves_at = chain.halves.then_some(up_s + plain / 2.0);
        let mut simulation = Self {
            chain,
            office: Office::new(chain.manner, chain.capacity, halves_at),
            terminals,
            events: BinaryHeap::new(),
            whats: Vec::new(),
            free: Vec::new(),
            count: 0,
            up_s,
            ideal_s: if chain.halves { plain * 1.5 } else { plain },
            total,
            delivered: 0,
            all_s: None,
            offered: Vec::new(),
            good: Vec::new(),
            new: Vec::new(),
            retry: Retry::default(),
            orders: (0..20_000).map(|n| OrderTag::new(n.to_string())).collect(),
            route: Route { entity_type: "SALE".into(), action: "CREATE".into() },
            target: Target::of("https://hq.example/sync"),
            config: plain_upstream(),
            random,
        };
        simulation.begin();
        simulation
    }

    /// All are switched on within ten minutes, get their backlog while the line is down, and learn
    /// that it is back.
    fn begin(&mut self) {
        for terminal in 0..self.chain.terminals {
            let on = self.random.f64() * 600.0;
            self.at(on, terminal, What::SwitchOn);
            let backlog = self.terminals[terminal].left;
            self.terminals[terminal].left = 0;
            for n in 0..backlog {
                let place = (n as f64 + self.random.f64()) / backlog as f64;
                self.at(DOWN + self.chain.outage_s * place, terminal, What::Record);
            }
            match self.chain.back {
                Return::Link(within) => {
                    let at = self.up_s + self.random.f64() * within;
                    self.at(at, terminal, What::Link);
                }
                Return::SwitchedOn(within) => {
                    let at = self.up_s + self.random.f64() * within;
                    self.at(at, terminal, What::SwitchOn);
                }
                Return::Probing => {}
            }
        }
    }

    fn at(&mut self, at_s: f64, terminal: usize, what: What) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.whats.push(What::Wake);
            self.whats.len() as u32 - 1
        });
        self.whats[slot as usize] = what;
        self.count += 1;
        let key = (self.count << 20) | terminal as u64;
        self.events.push(Reverse(((at_s * 1e6).round() as u64, key, slot)));
    }

    fn run(mut self) -> Result {
        let longest = self.up_s + self.ideal_s * 3.0 + 7200.0;
        while let Some(Reverse((at_us, key, slot))) = self.events.pop() {
            let now_s = at_us as f64 / 1e6;
            let what = self.whats[slot as usize];
            self.free.push(slot);
            let over = self.all_s.is_some_and(|all| now_s > self.up_s + all + 4200.0);
            if over || now_s > longest {
                break;
            }
            let terminal = (key & 0xf_ffff) as usize;
            if matches!(what, What::Wake) && self.terminals[terminal].wake_us != at_us {
                continue; // It was moved.
            }
            self.happens(now_s, terminal, what);
        }
        self.result()
    }

    fn happens(&mut self, now_s: f64, index: usize, what: What) {
        let now = moment(now_s);
        let terminal = &mut self.terminals[index];
        match what {
            What::Wake => terminal.wake_us = u64::MAX,
            What::Link => terminal.upstream.link_changed(now.agent, &mut terminal.random),
            What::SwitchOn => terminal.upstream.start(now),
            What::Record => {
                terminal.record(now.agent);
            }
            What::Arrives { failure, sent_at, errand } => return self.arrives(now_s, index, failure, sent_at, errand),
            What::Returns { failure: None, sent_at, end, .. } => {
                let took = now.agent.since(sent_at);
                let end = match end {
                    End::Ok => ProbeEnd::Answered { status: 200, took },
                    End::Busy | End::RetryAfter(_) => ProbeEnd::Answered { status: 503, took },
                    End::Refused | End::NoConnection | End::Timeout => ProbeEnd::Silence { reason: "silence".into() },
                };
                terminal.upstream.probed(now, &end, terminal.pace, &mut terminal.random);
            }
            What::Returns { failure: Some(failure), sent_at, errand, end } => {
                let reading = Reading { upstream: &self.config, route: None, id: "", key: "" };
                let verdict = classify(&ending(end), &self.target, &reading, now.wall);
                let first = !terminal.failures[failure as usize].delivered;
                if terminal.tried(now, failure, (sent_at, errand), &verdict, &self.retry, &self.orders) && first {
                    self.delivered_one(now_s, index, failure);
                }
            }
        }
        self.pump(now_s, index);
    }

    fn delivered_one(&mut self, now_s: f64, index: usize, failure: u32) {
        let after = now_s - self.up_s;
        let terminal = &mut self.terminals[index];
        let recorded_s = terminal.failures[failure as usize].recorded_at.as_millis() as f64 / 1e3;
        if recorded_s < self.up_s {
            self.delivered += 1;
            bump(&mut self.good, after);
            terminal.first_delivery_s.get_or_insert(after);
            if self.delivered == self.total {
                self.all_s = Some(after);
            }
        } else if terminal.rtt_s < 1.0 && self.all_s.is_some_and(|all| recorded_s - self.up_s > all) {
            // (Those 2 s away need 4 s for a probe and a request, whatever the policy.)
            self.new.push(now_s - recorded_s);
        }
        // From then on it records one an hour.
        if terminal.left == 0 {
            let at = now_s - (1.0 - self.random.f64()).ln() * 3600.0;
            self.at(at, index, What::Record);
        }
    }

    fn arrives(&mut self, now_s: f64, index: usize, failure: Option<u32>, sent_at: AgentTime, errand: Errand) {
        let half = self.terminals[index].rtt_s / 2.0;
        let sent_s = sent_at.as_millis() as f64 / 1e3;
        let (at, end) = if (DOWN..self.up_s).contains(&now_s) {
            (now_s + half, End::NoConnection)
        } else {
            if now_s >= self.up_s {
                bump(&mut self.offered, now_s - self.up_s);
            }
            let patience = if failure.is_some() { TIMEOUT } else { self.chain.probe_timeout_s };
            match self.office.arrives(now_s) {
                Fate::Served(done) if done + half - sent_s > patience => (sent_s + patience, End::Timeout),
                Fate::Served(done) => (done + half, End::Ok),
                Fate::Ignored => (sent_s + CONNECT_TIMEOUT, End::Refused),
                Fate::TurnedAway => match self.office.manner {
                    Manner::RetryAfter(wait) => (now_s + half, End::RetryAfter(wait)),
                    Manner::Busy | Manner::Queue(_) => (now_s + half, End::Busy),
                },
            }
        };
        self.at(at.max(now_s), index, What::Returns { failure, sent_at, errand, end });
    }

    fn pump(&mut self, now_s: f64, index: usize) {
        let now = moment(now_s);
        let (wishes, wake) = self.terminals[index].pump(now, &self.route);
        let arrives = now_s + self.terminals[index].rtt_s / 2.0;
        for wish in wishes {
            let (failure, errand) = match wish {
                Wish::Send { failure, errand } => (Some(failure), errand),
                Wish::Probe => (None, Errand::Turn),
            };
            self.at(arrives, index, What::Arrives { failure, sent_at: now.agent, errand });
        }
        if let Some(wake) = wake {
            let at = wake.as_millis() as f64 / 1e3;
            let wake_us = (at * 1e6).round() as u64;
            if self.terminals[index].wake_us != wake_us {
                self.terminals[index].wake_us = wake_us;
                self.at(at, index, What::Wake);
            }
        }
    }

    fn result(&self) -> Result {
        let served = |from: usize, to: usize| -> f64 {
            (from..to).map(|second| self.office.capacity_at(self.up_s + second as f64 + 0.5)).sum()
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
        let firsts = self.terminals.iter().filter(|terminal| terminal.failures.len() > 1);
        let mut firsts: Vec<f64> = firsts.map(|terminal| terminal.first_delivery_s.unwrap_or(f64::INFINITY)).collect();
        firsts.sort_by(f64::total_cmp);
        let mut new = self.new.clone();
        new.sort_by(f64::total_cmp);
        Result {
            goodput: sum(&self.good, 10, till) / served(10, till),
            offered_first: sum(&self.offered, 0, 10) / served(0, 10),
            offered_worst: tens
                .map(|from| sum(&self.offered, from, from + 10) / served(from, from + 10))
                .fold(0.0, f64::max),
            offered_mean: sum(&self.offered, 10, till) / served(10, till),
            all: self.all_s.unwrap_or(f64::INFINITY) / self.ideal_s,
            first_99: share(&firsts, 0.99),
            first_last: share(&firsts, 1.0),
            new_99: share(&new, 0.99),
            charged: self.terminals.iter().map(Terminal::charged).sum(),
            undelivered: (self.total - self.delivered) as usize,
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

fn share(sorted: &[f64], share: f64) -> f64 {
    sorted.get(((sorted.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(0.0)
}

fn moment(at_s: f64) -> Moment {
    let ms = (at_s * 1e3 + 0.01) as i64; // A wake-up at a whole millisecond must not come before it.
    Moment { agent: AgentTime::from_millis(ms), wall: WallTime::from_millis(ms) }
}

// ---- the figures of spec/03

/// How many times the ideal time delivering everything may take, and how many times its capacity the
/// office may be offered in any later 10 s.
struct Allowed {
    all: f64,
    offered_worst: f64,
}

const USUAL: Allowed = Allowed { all: 1.15, offered_worst: 2.0 };

fn check(chain: Chain, allowed: &Allowed) {
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

/// (a), (b), (c) and (d) of the chapter.
const MANNERS: [Manner; 4] = [Manner::Busy, Manner::RetryAfter(10), Manner::Queue(10.0), Manner::Queue(60.0)];

#[test]
fn all_hear_of_the_line_at_once() {
    for manner in MANNERS {
        check(Chain::of(manner, Return::Link(1.0)), &USUAL);
    }
}

#[test]
fn all_find_the_line_by_probing() {
    for manner in MANNERS {
        check(Chain::of(manner, Return::Probing), &USUAL);
    }
}

#[test]
fn all_are_switched_on_within_a_minute() {
    for manner in MANNERS {
        check(Chain::of(manner, Return::SwitchedOn(60.0)), &USUAL);
    }
}

#[test]
fn with_twenty_order_keys_a_terminal() {
    for manner in MANNERS {
        check(Chain { keys: 20, ..Chain::of(manner, Return::Link(1.0)) }, &USUAL);
    }
}

/// The largest backlog is ten times the mean, so that the last terminal is alone for a while.
#[test]
fn with_backlogs_from_none_to_two_thousand() {
    for (manner, keys) in [(Manner::Busy, 0), (Manner::Queue(10.0), 0), (Manner::Busy, 2), (Manner::Queue(10.0), 2)] {
        let allowed = if keys == 2 { Allowed { all: 1.3, ..USUAL } } else { USUAL };
        check(Chain { mixed: true, keys, ..Chain::of(manner, Return::Link(1.0)) }, &allowed);
    }
}

#[test]
fn when_the_office_halves_midway() {
    for manner in MANNERS {
        let allowed = Allowed { offered_worst: 2.6, ..USUAL };
        check(Chain { halves: true, ..Chain::of(manner, Return::Link(1.0)) }, &allowed);
    }
}

/// A single terminal after its own outage.
#[test]
fn a_terminal_alone_is_not_held_back() {
    for seed in 0..20 {
        for (back, first) in [(Return::Link(0.0), 3.0), (Return::Probing, 60.0)] {
            let chain = Chain { terminals: 1, capacity: 50.0, seed, ..Chain::of(Manner::Busy, back) };
            let result = Simulation::new(chain).run();
            assert!(result.first_last <= first, "{seed} {back:?}: first {}", result.first_last);
            let all = result.all * chain.backlog as f64 / chain.capacity;
            assert!(
                all <= 60.0 + if back == Return::Probing { result.first_last } else { 0.0 },
                "{seed} {back:?}: all {all}"
            );
            assert_eq!((result.charged, result.undelivered), (0, 0));
        }
    }
}

/// An upstream that says nothing of its own about its answers.
fn plain_upstream() -> resyncd::config::Upstream {
    let text = "[upstream.hq]\nurl = \"http://localhost/sync\"";
    let config = Config::load(Some(("resyncd.toml", text)), &Overrides::default(), &Surroundings::default());
    config.expect("a right configuration").upstreams.remove(0)
}

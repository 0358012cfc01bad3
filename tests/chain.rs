//! Measures a chain instead of one till: all terminals recover at once and use the shipped policy
//! towards a head office that cannot serve them all.
//!
//! The small form runs with every test. The full one:
//! `TERMINALS=10000 CAPACITY=500 cargo test --release --test chain -- --nocapture --test-threads=1`.
//! Other variables: `BACKLOG=200`, `OUTAGE_HOURS=4`, `SEED=1`, `PROBE_TIMEOUT=30`, `MAX_PAUSE=60` (seconds).
//!
//! A plot of it, beside terminals that retry every second:
//! ```sh
//! CHAIN_PLOT=chain.svg TERMINALS=10000 CAPACITY=500 cargo test --release --test chain -- --ignored --nocapture a_plot_of_the_chain
//! ```
//!
//! `sporadic` measures the same policy on one terminal whose healthy upstream returns random
//! errors. A plot of that, beside a plain sender and the former policy:
//! ```sh
//! SPORADIC_PLOT=packaging/doc/sporadic.svg cargo test --locked --test chain -- --ignored --nocapture a_plot_of_sporadic_errors
//! ```

// Times and counts of a simulation fit any of these types.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
// A test may unwrap.
#![allow(clippy::unwrap_used)]

#[path = "chain/figures.rs"]
mod figures;
#[path = "chain/limited.rs"]
mod limited;
#[path = "chain/naive.rs"]
mod naive;
#[path = "chain/office.rs"]
mod office;
#[path = "chain/plot.rs"]
mod plot;
#[path = "chain/sporadic.rs"]
mod sporadic;
#[path = "chain/sporadic_plot.rs"]
mod sporadic_plot;
#[path = "chain/terminal.rs"]
mod terminal;

use figures::{Allowed, Result, Trace, USUAL, check, share, table};
use office::{End, Manner, Office, ending};
use resyncd::config::upstream::Ordering;
use resyncd::config::{Config, Environment, Overrides, Retry};
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::answer_rules::Reading;
use resyncd::policy::canary::Route;
use resyncd::policy::class::classify;
use resyncd::policy::ending::Target;
use resyncd::policy::order_tag::OrderTag;
use resyncd::policy::pace::Pace;
use resyncd::policy::probe::ProbeEnd;
use resyncd::policy::upstream::DispatchKind;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use terminal::{Terminal, Wish};

/// How the terminals learn that the upstream is reachable again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Return {
    /// By a link event within this many seconds.
    Link(f64),
    /// By probing.
    Probing,
    /// They are switched on within this many seconds.
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
    max_pause_s: f64,
    manner: Manner,
    back: Return,
    /// Number of order keys in each backlog; 0: one per failure.
    keys: usize,
    /// Exponentially distributed backlogs from 0 to 2,000.
    mixed: bool,
    /// The office's capacity halves midway.
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
            max_pause_s: number("MAX_PAUSE", 60.0),
            manner,
            back,
            keys: 0,
            mixed: false,
            halves: false,
        }
    }
}

#[derive(Clone, Copy)]
enum What {
    Wake,
    Link,
    SwitchOn,
    Record,
    Arrives { failure: Option<u32>, sent_at: AgentTime, dispatch_kind: DispatchKind },
    Returns { failure: Option<u32>, sent_at: AgentTime, dispatch_kind: DispatchKind, end: End },
}

const TIMEOUT: f64 = 30.0;
/// The connection fails a minute after all were switched on.
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
    trace: Trace,
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
            max_pause: Duration::from_secs_f64(chain.max_pause_s),
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
            trace: Trace::new(up_s, total),
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

    /// All terminals are switched on within ten minutes, receive their backlog during the outage,
    /// and learn that it is over.
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

    /// No run lasts longer than this.
    fn longest_s(&self) -> f64 {
        self.up_s + self.ideal_s * 3.0 + 7200.0
    }

    fn run(&mut self) -> Result {
        while let Some(Reverse((at_us, key, slot))) = self.events.pop() {
            let now_s = at_us as f64 / 1e6;
            let what = self.whats[slot as usize];
            self.free.push(slot);
            let over = self.trace.all_s().is_some_and(|all| now_s > self.up_s + all + 4200.0);
            if over || now_s > self.longest_s() {
                break;
            }
            let terminal = (key & 0xf_ffff) as usize;
            if matches!(what, What::Wake) && self.terminals[terminal].wake_us != at_us {
                continue; // It was rescheduled.
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
            What::Arrives { failure, sent_at, dispatch_kind } => {
                return self.arrives(now_s, index, failure, sent_at, dispatch_kind);
            }
            What::Returns { failure: None, sent_at, end, .. } => {
                let took = now.agent.since(sent_at);
                let end = match end {
                    End::Ok => ProbeEnd::Answered { status: 200, took },
                    End::Busy | End::RetryAfter(_) => ProbeEnd::Answered { status: 503, took },
                    End::Refused | End::NoConnection | End::Timeout => ProbeEnd::Silence { reason: "silence".into() },
                };
                terminal.upstream.probed(now, &end, terminal.pace, &mut terminal.random);
            }
            What::Returns { failure: Some(failure), sent_at, dispatch_kind, end } => {
                let reading = Reading { upstream: &self.config, route: None, id: "", key: "" };
                let verdict = classify(&ending(end), &self.target, &reading, now.wall);
                let first = !terminal.failures[failure as usize].delivered;
                if terminal.tried(now, failure, (sent_at, dispatch_kind), &verdict, &self.retry, &self.orders) && first
                {
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
            self.trace.accepted(now_s, terminal.left == 0);
            terminal.first_delivery_s.get_or_insert(after);
        } else if terminal.rtt_s < 1.0 && self.trace.all_s().is_some_and(|all| recorded_s - self.up_s > all) {
            // (For terminals 2 s away, a probe and a request take 4 s, whatever the policy.)
            self.new.push(now_s - recorded_s);
        }
        // From then on it records one failure an hour.
        if terminal.left == 0 {
            let at = now_s - (1.0 - self.random.f64()).ln() * 3600.0;
            self.at(at, index, What::Record);
        }
    }

    fn arrives(
        &mut self,
        now_s: f64,
        index: usize,
        failure: Option<u32>,
        sent_at: AgentTime,
        dispatch_kind: DispatchKind,
    ) {
        let half = self.terminals[index].rtt_s / 2.0;
        let sent_s = sent_at.as_millis() as f64 / 1e3;
        let (at, end) = if (DOWN..self.up_s).contains(&now_s) {
            (now_s + half, End::NoConnection)
        } else {
            if now_s >= self.up_s {
                self.trace.offered(now_s);
            }
            let patience = if failure.is_some() { TIMEOUT } else { self.chain.probe_timeout_s };
            self.office.answers(now_s, half, sent_s, patience)
        };
        self.at(at.max(now_s), index, What::Returns { failure, sent_at, dispatch_kind, end });
    }

    fn pump(&mut self, now_s: f64, index: usize) {
        let now = moment(now_s);
        let (wishes, wake) = self.terminals[index].pump(now, &self.route);
        let arrives = now_s + self.terminals[index].rtt_s / 2.0;
        for wish in wishes {
            let (failure, dispatch_kind) = match wish {
                Wish::Send { failure, dispatch_kind } => (Some(failure), dispatch_kind),
                Wish::Probe => (None, DispatchKind::Turn),
            };
            self.at(arrives, index, What::Arrives { failure, sent_at: now.agent, dispatch_kind });
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
        let firsts = self.terminals.iter().filter(|terminal| terminal.failures.len() > 1);
        let mut firsts: Vec<f64> = firsts.map(|terminal| terminal.first_delivery_s.unwrap_or(f64::INFINITY)).collect();
        firsts.sort_by(f64::total_cmp);
        let mut new = self.new.clone();
        new.sort_by(f64::total_cmp);
        Result {
            first_99: share(&firsts, 0.99),
            first_last: share(&firsts, 1.0),
            new_99: share(&new, 0.99),
            charged: self.terminals.iter().map(Terminal::charged).sum(),
            ..self.trace.result(&self.office, self.ideal_s)
        }
    }
}

fn moment(at_s: f64) -> Moment {
    let ms = (at_s * 1e3 + 0.01) as i64; // A wake-up at a whole millisecond must not come before it.
    Moment { agent: AgentTime::from_millis(ms), wall: WallTime::from_millis(ms) }
}

/// The four behaviours of an overloaded office that are compared.
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

/// The largest backlog is ten times the mean, so the last terminal is alone for a while.
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

/// For inspection: the shipped policy beside terminals that retry every second, with a busy office
/// and all terminals notified at once.
#[test]
#[ignore = "writes a picture; its command is in this file's head"]
fn a_plot_of_the_chain() {
    let mut shipped = Simulation::new(Chain::of(Manner::Busy, Return::Link(1.0)));
    let (naive, naive_result) = naive::run(&shipped);
    let result = shipped.run();
    print!("{}", table(&[("shipped", &result, &shipped.trace), ("naive", &naive_result, &naive)]));
    let path = std::env::var("CHAIN_PLOT").unwrap_or_else(|_| "target/chain.svg".into());
    if let Some(folder) = std::path::Path::new(&path).parent() {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(&path, plot::svg(&shipped.chain, &shipped.trace, &naive)).unwrap();
    println!("{path} is written.");
}

/// What happens in each second, for a plot beside real processes (`tests/recipes/chain.sh`): an office that answers
/// with `Retry-After` of `RETRY_AFTER` seconds (2), where all hear of the line at once.
#[test]
#[ignore = "writes a table for the plot of tests/recipes/chain.sh"]
fn a_trace_of_the_chain() {
    let wait = std::env::var("RETRY_AFTER").map_or(2, |text| text.parse().unwrap());
    let mut simulation = Simulation::new(Chain::of(Manner::RetryAfter(wait), Return::Link(1.0)));
    let result = simulation.run();
    print!("{}", table(&[("shipped", &result, &simulation.trace)]));
    let firsts = simulation.terminals.iter().filter_map(|terminal| terminal.first_delivery_s);
    let path = std::env::var("CHAIN_TRACE").unwrap_or_else(|_| "target/chain.csv".into());
    std::fs::write(&path, simulation.trace.csv(firsts)).unwrap();
    println!("{path} is written.");
}

/// For the eye: deliveries over time at four shares of errors.
#[test]
#[ignore = "writes a picture; its command is in this file's head"]
fn a_plot_of_sporadic_errors() {
    let path = std::env::var("SPORADIC_PLOT").unwrap_or_else(|_| "target/sporadic.svg".into());
    std::fs::write(&path, sporadic_plot::svg()).unwrap();
    println!("{path} is written.");
}

/// An upstream whose configuration has no rules for responses.
fn plain_upstream() -> resyncd::config::Upstream {
    let text = "[upstream.hq]\nurl = \"http://localhost/sync\"";
    let config = Config::load(Some(("resyncd.toml", text)), &Overrides::default(), &Environment::default());
    config.expect("a right configuration").upstreams.remove(0)
}

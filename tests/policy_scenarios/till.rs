//! A till in virtual time: the shipped policy, with failures in a vector instead of a database.
//!
//! This file holds the till and its events; its own work, in place of agent and store, is in
//! [`agent`]. A crash loses requests in flight and everything that the policy does not serialise.

#[path = "agent.rs"]
mod agent;

use crate::world::{Kind, Mode};
use resyncd::config::upstream::Ordering;
use resyncd::config::{Config, Environment, Overrides, Retry};
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::answer_rules::Reading;
use resyncd::policy::canary::Route;
use resyncd::policy::class::{Class, classify};
use resyncd::policy::ending::Ending;
use resyncd::policy::ending::Target;
use resyncd::policy::judge::{Decision, Rules, Try, judge};
use resyncd::policy::order_tag::OrderTag;
use resyncd::policy::pace::Pace;
use resyncd::policy::probe::ProbeEnd;
use resyncd::policy::retry_state::{RetryState, Standing};
use resyncd::policy::upstream::{DispatchKind, Upstream};
use resyncd::policy::why::Why;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

/// More events than any run needs; reaching this limit means a busy loop.
const MOST_EVENTS: u64 = 2_000_000;

/// When a failure may be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Due {
    At(AgentTime),
    /// When a probe that began after the recording was answered.
    Line,
}

/// The flags are independent of each other.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Failure {
    pub(crate) key: u32,
    pub(crate) kind: Kind,
    pub(crate) upstream: usize,
    pub(crate) recorded_ms: u64,
    /// An operator acted on it.
    pub(crate) human: bool,
    pub(crate) gone_ms: Option<u64>,
    pub(crate) first_critical_ms: Option<u64>,
    pub(crate) attempts: u32,
    pub(crate) retry_state: RetryState,
    pub(crate) last_why: Option<Why>,
    pub(crate) max_count: u32,
    answered_by_app: bool,
    order: OrderTag,
    route_no: u32,
    route: Route,
    due: Due,
    uncounted: bool,
    in_flight: bool,
    live: bool,
}

pub(crate) struct Line {
    pub(crate) upstream: Upstream,
    pub(crate) pace: Pace,
    pub(crate) times_failing: u32,
    pub(crate) times_blocked: u32,
    phases: Vec<(u64, Mode)>,
    /// Live failures in order, for strict order.
    queue: VecDeque<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Person {
    Retry(usize),
    Reset(usize),
    Hold(usize),
    Release(usize),
    Discard(usize),
    Resume(usize),
}

#[expect(clippy::large_enum_variant, reason = "there are few at once")]
enum Event {
    Record(usize),
    TryEnded { failure: usize, ending: Ending, sent_ms: u64, dispatch_kind: DispatchKind, run: u64 },
    ProbeEnded { line: usize, end: ProbeEnd, run: u64 },
    Timer,
    Crash { down_ms: u64 },
    Start,
    Person(Person),
}

pub(crate) struct Till {
    pub(crate) failures: Vec<Failure>,
    pub(crate) lines: Vec<Line>,
    /// When requests were sent that were not accepted.
    pub(crate) bad_requests: Vec<u64>,
    pub(crate) probes: Vec<u64>,
    pub(crate) violations: Vec<String>,
    pub(crate) trace: bool,
    now_ms: u64,
    recorded: i64,
    up: bool,
    run: u64,
    timer_ms: u64,
    keys: BTreeMap<u32, VecDeque<usize>>,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Event>>,
    retry: Retry,
    target: Target,
    config: resyncd::config::Upstream,
    chance: fastrand::Rng,
    world: fastrand::Rng,
}

impl Till {
    pub(crate) fn new(seed: u64, phases: Vec<Vec<(u64, Mode)>>, strict: &[usize]) -> Self {
        let zero = moment(0);
        let lines = phases.into_iter().enumerate().map(|(index, phases)| Line {
            upstream: Upstream::new(zero),
            pace: Pace {
                concurrency: 1 + usize::try_from(seed % 4).unwrap(),
                max_pause: Duration::from_mins(1),
                min_gap: Duration::ZERO,
                probe_idle: None,
                ordering: if strict.contains(&index) { Ordering::Strict } else { Ordering::Key },
            },
            times_failing: 0,
            times_blocked: 0,
            phases,
            queue: VecDeque::new(),
        });
        let mut till = Self {
            failures: Vec::new(),
            lines: lines.collect(),
            bad_requests: Vec::new(),
            probes: Vec::new(),
            violations: Vec::new(),
            trace: false,
            now_ms: 0,
            recorded: 0,
            up: true,
            run: 0,
            timer_ms: u64::MAX,
            keys: BTreeMap::new(),
            events: BinaryHeap::new(),
            slots: Vec::new(),
            retry: Retry::default(),
            target: Target::of("http://hq.example/sync"),
            config: plain_upstream(),
            chance: fastrand::Rng::with_seed(seed),
            world: fastrand::Rng::with_seed(seed ^ 0x5eed),
        };
        till.at(0, Event::Start);
        till
    }

    // ---- the plot

    /// Records a failure; the application's own attempt got a response, or was inconclusive.
    pub(crate) fn record(&mut self, at_ms: u64, key: u32, route: u32, kind: Kind, upstream: usize, answered: bool) {
        let failure = Failure {
            key,
            kind,
            upstream,
            recorded_ms: at_ms,
            human: false,
            gone_ms: None,
            first_critical_ms: None,
            attempts: 0,
            retry_state: RetryState::fresh(),
            last_why: None,
            max_count: 0,
            answered_by_app: answered,
            order: OrderTag::new(key.to_string()),
            route_no: route,
            route: Route { entity_type: format!("T{route}"), action: "CREATE".into() },
            due: Due::Line,
            uncounted: true,
            in_flight: false,
            live: false,
        };
        self.failures.push(failure);
        self.at(at_ms, Event::Record(self.failures.len() - 1));
    }

    pub(crate) fn crash(&mut self, at_ms: u64, down_ms: u64) {
        self.at(at_ms, Event::Crash { down_ms });
    }

    pub(crate) fn person(&mut self, at_ms: u64, person: Person) {
        self.at(at_ms, Event::Person(person));
    }

    pub(crate) fn run(&mut self, until_ms: u64) {
        let mut events = 0;
        while let Some(Reverse((at, _, slot))) = self.events.pop() {
            if at > until_ms {
                break;
            }
            self.now_ms = at;
            events += 1;
            if events > MOST_EVENTS {
                self.violations.push("hot loop".into());
                break;
            }
            let event = self.slots[slot].take().expect("an event happens once");
            self.happens(event);
            if self.up {
                self.pump();
            }
        }
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.slots.push(Some(event));
        self.events.push(Reverse((at_ms, self.slots.len() as u64, self.slots.len() - 1)));
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>10.1} {}", self.now_ms as f64 / 1000.0, text());
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Record(_) if !self.up => self.at(self.now_ms + 1000, event),
            Event::Record(failure) => self.recorded(failure),
            Event::TryEnded { failure, ending, sent_ms, dispatch_kind, run } if run == self.run => {
                self.tried(failure, &ending, sent_ms, dispatch_kind);
            }
            Event::ProbeEnded { line, end, run } if run == self.run => {
                let (now, line) = (moment(self.now_ms), &mut self.lines[line]);
                line.upstream.probed(now, &end, line.pace, &mut self.chance);
            }
            Event::TryEnded { .. } | Event::ProbeEnded { .. } => {}
            Event::Timer => self.timer_ms = u64::MAX,
            Event::Crash { down_ms } => {
                self.up = false;
                self.run += 1;
                self.at(self.now_ms + down_ms, Event::Start);
            }
            Event::Start => self.start(),
            Event::Person(_) if !self.up => {}
            Event::Person(person) => self.person_acts(person),
        }
    }

    /// Restores everything as it was stored, and nothing else.
    fn start(&mut self) {
        self.up = true;
        let now = moment(self.now_ms);
        for line in &mut self.lines {
            let stored = serde_json::to_string(&line.upstream).expect("it serialises");
            line.upstream = serde_json::from_str(&stored).expect("it comes back");
            line.upstream.start(now);
        }
        for failure in &mut self.failures {
            let stored = serde_json::to_string(&failure.retry_state).expect("it serialises");
            failure.retry_state = serde_json::from_str(&stored).expect("it comes back");
            failure.in_flight = false;
        }
    }

    fn recorded(&mut self, index: usize) {
        let now = AgentTime::from_millis(self.now_ms as i64);
        let failure = &mut self.failures[index];
        failure.live = true;
        self.recorded = self.recorded.max(seq(index));
        self.keys.entry(failure.key).or_default().push_back(index);
        self.lines[failure.upstream].queue.push_back(index);
        if failure.answered_by_app {
            failure.due = Due::At(now.after(self.retry.wait(0, &mut self.chance)));
            failure.uncounted = true; // never tried by the agent
        } else {
            self.lines[failure.upstream].upstream.hint(now);
        }
    }

    fn person_acts(&mut self, person: Person) {
        let now = moment(self.now_ms);
        let newest = self.recorded;
        let index = match person {
            Person::Resume(line) => return self.lines[line].upstream.resume(now, newest),
            Person::Retry(i) | Person::Reset(i) | Person::Hold(i) | Person::Release(i) | Person::Discard(i) => i,
        };
        let failure = &mut self.failures[index];
        if failure.in_flight || !failure.live {
            return;
        }
        failure.human = true;
        let held = failure.retry_state.standing == Standing::Held;
        match person {
            Person::Retry(_) if held => return,
            Person::Hold(_) => failure.retry_state.standing = Standing::Held,
            Person::Discard(_) => return self.leaves(index),
            Person::Reset(_) => failure.retry_state = RetryState::fresh(),
            Person::Release(_) if held => failure.retry_state.standing = Standing::Pending,
            Person::Retry(_) | Person::Release(_) => failure.retry_state.ask(),
            Person::Resume(_) => {}
        }
        failure.due = Due::At(now.agent);
    }

    // ---- the policy's decisions, carried out

    fn tried(&mut self, index: usize, ending: &Ending, sent_ms: u64, dispatch_kind: DispatchKind) {
        let now = moment(self.now_ms);
        let failure = &mut self.failures[index];
        failure.in_flight = false;
        let reading = Reading { upstream: &self.config, route: None, id: "", key: "" };
        let verdict = classify(ending, &self.target, &reading, now.wall);
        if verdict.class != Class::Delivered {
            self.bad_requests.push(sent_ms);
        }
        let line = &mut self.lines[failure.upstream];
        let (was_failing, was_blocked) = (conditions(line, now, "failing"), conditions(line, now, "blocked"));
        let end = Try {
            retry_state: &failure.retry_state,
            order: &failure.order,
            recorded_at: AgentTime::from_millis(failure.recorded_ms as i64),
            attempt: failure.attempts,
            sent_at: AgentTime::from_millis(sent_ms as i64),
            dispatch_kind,
            verdict: &verdict,
            newest: self.recorded,
        };
        let rules = Rules { retry: &self.retry, pace: line.pace };
        let judgement = judge(&end, &mut line.upstream, rules, now, &mut self.chance);
        line.times_failing += u32::from(!was_failing && conditions(line, now, "failing"));
        line.times_blocked += u32::from(!was_blocked && conditions(line, now, "blocked"));

        failure.retry_state = judgement.retry_state;
        failure.last_why = Some(judgement.why);
        failure.max_count = failure.max_count.max(failure.retry_state.retry_count);
        match judgement.decision {
            Decision::Accepted => self.leaves(index),
            Decision::Uncounted { due_at } => (failure.due, failure.uncounted) = (Due::At(due_at), true),
            Decision::Counted { wait, .. } => {
                (failure.due, failure.uncounted) = (Due::At(now.agent.after(wait)), false);
            }
            Decision::NeedsPerson { .. } => {
                failure.first_critical_ms.get_or_insert(self.now_ms);
            }
        }
        if let Some(refund) = judgement.refund {
            let upstream = self.failures[index].upstream;
            for failure in self.failures.iter_mut().filter(|f| f.live && f.upstream == upstream) {
                if let Some(back) = refund.of(&failure.retry_state) {
                    failure.retry_state = back;
                    (failure.due, failure.uncounted) = (Due::At(now.agent), true);
                }
            }
        }
        let (failure, state) =
            (&self.failures[index], self.lines[self.failures[index].upstream].upstream.state(now.agent));
        self.say(|| {
            format!(
                "#{index} k{} {:?} {dispatch_kind:?} {:?} -> {:?} rc={} {:?} {state}",
                failure.key,
                failure.kind,
                verdict.class,
                judgement.why,
                failure.retry_state.retry_count,
                judgement.decision
            )
        });
    }

    fn leaves(&mut self, index: usize) {
        let failure = &mut self.failures[index];
        failure.live = false;
        failure.gone_ms = Some(self.now_ms);
        let (key, upstream) = (failure.key, failure.upstream);
        if let Some(queue) = self.keys.get_mut(&key) {
            queue.retain(|i| *i != index);
        }
        self.lines[upstream].queue.retain(|i| *i != index);
    }
}

fn conditions(line: &Line, now: Moment, name: &str) -> bool {
    line.upstream.conditions(now.agent).iter().any(|condition| condition.as_str() == name)
}

fn mode_at(phases: &[(u64, Mode)], at_ms: u64) -> Mode {
    phases.iter().take_while(|(from, _)| *from <= at_ms).last().map_or(Mode::Good, |(_, mode)| *mode)
}

fn seq(index: usize) -> i64 {
    index as i64 + 1
}

pub(crate) fn moment(ms: u64) -> Moment {
    let ms = ms as i64;
    Moment { agent: AgentTime::from_millis(ms), wall: WallTime::from_millis(ms) }
}

/// An upstream whose configuration has no rules for responses.
fn plain_upstream() -> resyncd::config::Upstream {
    let text = "[upstream.hq]\nurl = \"http://localhost/sync\"";
    let config = Config::load(Some(("resyncd.toml", text)), &Overrides::default(), &Environment::default());
    config.expect("a right configuration").upstreams.remove(0)
}

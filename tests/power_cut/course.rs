//! One run, determined by a seed: a till records, the upstream responds, operators interfere, and
//! the machine under the shipped agent has faults, is killed, loses its power.
//!
//! The result is the trace of everything that reached the disk, with a mark wherever a client, an
//! operator or the upstream learned something.

use crate::power_cut::till::{Clients, Fact, Submission, Waits};
use crate::vfs::fault::{Fault, Plan};
use crate::vfs::image::Draft;
use crate::vfs::machine::{Machine, on};
use crate::vfs::medium::{Image, Medium, Op};
use fastrand::Rng;
use resyncd::agent::{Agent, Dispatch, Effect, Event, Peer, Step, StepKind};
use resyncd::config::Config;
use resyncd::ids::Seq;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::ending::Answer;
use resyncd::policy::ending::Ending;
use resyncd::policy::ending::InterruptKind;
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::delivery::{BodyPart, HeaderValue};
use resyncd::wire::request::Socket;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// 2026-11-24.
const WALL: i64 = 1_795_500_754_123;
/// How many starts may fail in a row before the run ends.
const MOST_STARTS: u32 = 8;

/// The observations of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) seed: u64,
    pub(crate) begins_with: Image,
    pub(crate) ops: Vec<Op>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) submissions: Vec<Submission>,
    /// Faults that have occurred.
    pub(crate) struck: u64,
    /// Whether the disk was ever full, so that history may be missing.
    pub(crate) was_full: bool,
}

/// Prints one operation per line, for a replay.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, op) in self.ops.iter().enumerate() {
            match op {
                Op::Write { inode, offset, bytes } => writeln!(f, "{n:5} write {inode} at {offset} +{}", bytes.len())?,
                Op::Mark(known) => writeln!(f, "{n:5} {:?}", self.facts[known - 1])?,
                Op::PowerCut(image) => writeln!(f, "{n:5} power cut, {:?} are left", image.files.keys())?,
                other => writeln!(f, "{n:5} {other:?}")?,
            }
        }
        Ok(())
    }
}

/// The faults that this seed allows.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    kills: bool,
    power_cuts: bool,
    stops: bool,
    strangers: bool,
    fault: Option<Fault>,
    /// How often the fault occurs; `u64::MAX`: until the end.
    times: u64,
}

impl Weather {
    fn draw(random: &mut Rng) -> Self {
        let fault = random.choice(Fault::ALL).filter(|_| random.u8(0..4) > 0);
        // A program that checkpoints a log which only seems to be written corrupts the file; the agent discards
        // its view first, another program cannot know. The invariants assume that only the agent writes.
        let lies = matches!(fault, Some(Fault::SyncLost | Fault::SyncPartly));
        Self {
            kills: random.bool(),
            power_cuts: random.u8(0..4) == 0,
            stops: random.bool(),
            strangers: random.u8(0..4) > 0 && !lies,
            fault,
            times: random.choice([1, 2, 2, 3, u64::MAX]).expect("one"),
        }
    }
}

/// A run in progress.
pub(crate) struct Course<'a> {
    random: Rng,
    weather: Weather,
    config: &'a Config,
    settings: &'a StoreSettings,
    agent: Option<Agent>,
    now: Moment,
    clients: Clients,
    /// Sent, without a response yet.
    in_flight: Vec<(Seq, usize)>,
    /// Outcomes that were handed in and are not known to be on disk.
    unwritten_outcomes: Vec<(usize, bool)>,
    paused: bool,
    submissions: Vec<Submission>,
    facts: Vec<Fact>,
    was_full: bool,
}

impl<'a> Course<'a> {
    /// Executes a seed's run on this thread's machine.
    pub(crate) fn run(seed: u64, begins_with: &Image, config: &'a Config, settings: &'a StoreSettings) -> Trace {
        let mut course = Self::begin(seed, begins_with, config, settings);
        course.weather = Weather::draw(&mut course.random);
        course.all();
        course.ended(seed, begins_with)
    }

    /// Ends the run and returns its trace.
    pub(crate) fn ended(mut self, seed: u64, begins_with: &Image) -> Trace {
        on(Machine::kill);
        drop(self.agent.take());
        let (ops, struck) = on(|machine| (machine.trace.take().unwrap_or_default(), machine.struck));
        let Self { facts, submissions, was_full, .. } = self;
        Trace { seed, begins_with: begins_with.clone(), ops, facts, submissions, struck, was_full }
    }

    /// A machine without faults, on which nothing runs yet.
    pub(crate) fn begin(seed: u64, begins_with: &Image, config: &'a Config, settings: &'a StoreSettings) -> Self {
        let mut random = Rng::with_seed(seed);
        crate::vfs::sqlite::forget_randomness();
        on(|machine| {
            *machine = Machine::new(settings.dir.clone());
            machine.random = Some(random.fork());
            machine.trace = Some(Vec::new());
            machine.boot(begins_with);
            machine.medium = Medium::of(begins_with);
        });
        Self {
            weather: Weather::default(),
            random,
            config,
            settings,
            agent: None,
            now: Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(WALL) },
            clients: Clients::default(),
            in_flight: Vec::new(),
            unwritten_outcomes: Vec::new(),
            paused: false,
            submissions: Vec::new(),
            facts: Vec::new(),
            was_full: false,
        }
    }

    fn all(&mut self) {
        let most = self.random.usize(8..=40);
        if self.random.u8(0..4) == 0 {
            self.arm();
        }
        self.start();
        while self.agent.is_some() && self.submissions.len() < most {
            self.step();
        }
        // Requests in flight end.
        for _ in 0..3 {
            self.end_tries(4);
            self.round();
            self.pass(Duration::from_secs(20));
        }
    }

    fn step(&mut self) {
        match self.random.u8(0..20) {
            0 if self.weather.kills => self.death(),
            1 if self.weather.power_cuts => self.power_cut(),
            2 if self.weather.stops => self.stop(),
            3 | 4 if self.weather.strangers => self.stranger_checkpoints(),
            5 if self.weather.kills => {
                let soon = self.random.u64(1..60);
                on(|machine| machine.dies_at = Some(machine.operations + soon));
            }
            6 | 7 => self.arm(),
            8 | 9 => {
                let seconds = self.random.u64(1..900);
                self.pass(Duration::from_secs(seconds));
                self.round();
            }
            _ => self.busy_round(),
        }
    }

    /// Plans a fault, if this seed has any and none is planned.
    fn arm(&mut self) {
        let (soon, times) = (self.random.u64(1..80), self.weather.times);
        let Some(fault) = self.weather.fault else { return };
        self.was_full |= matches!(fault, Fault::Full | Fault::Short);
        on(|machine| {
            if machine.plan.is_none_or(|plan| plan.times == 0) {
                machine.plan = Some(Plan { fault, from: machine.operations + soon, times });
            }
        });
    }

    // ---- events

    fn busy_round(&mut self) {
        for _ in 0..self.random.usize(0..4) {
            match self.one_with_a_key().filter(|_| self.random.u8(0..4) == 0) {
                Some(n) => self.record(n),
                None => self.record_something(),
            }
        }
        self.end_tries(3);
        match self.random.u8(0..6) {
            0 => self.hold_or_release(),
            1 => self.pause_or_resume(),
            _ => {}
        }
        self.round();
    }

    fn one_with_a_key(&mut self) -> Option<usize> {
        let newest = self.submissions.len();
        let with_key: Vec<usize> =
            (newest.saturating_sub(12)..newest).filter(|&n| self.submissions[n].key.is_some()).collect();
        self.random.choice(with_key)
    }

    pub(crate) fn record_something(&mut self) {
        let n = self.submissions.len();
        self.submissions.push(Submission::draw(n, &mut self.random));
        self.record(n);
    }

    fn record(&mut self, n: usize) {
        self.learn(Fact::Submitted(n));
        let Submission { line, uid, .. } = self.submissions[n].clone();
        self.say(Waits::Record(n), Socket::App, uid, &line);
    }

    fn hold_or_release(&mut self) {
        let known: Vec<(usize, i64)> = self.facts.iter().filter_map(acknowledged).collect();
        let Some((n, seq)) = self.random.choice(known) else { return };
        let held = self.random.u8(0..3) > 0;
        let reason = format!("because {}", self.facts.len());
        let op = if held { "hold" } else { "release" };
        self.learn(Fact::Touched(n));
        self.learn(Fact::Asked(reason.clone()));
        let line = json!({"op": op, "ids": [seq], "reason": reason}).to_string();
        self.say(Waits::Hold { n, reason, held }, Socket::Admin, 0, &line);
    }

    fn pause_or_resume(&mut self) {
        let paused = !self.paused && self.random.bool();
        self.paused = paused;
        let reason = format!("because {}", self.facts.len());
        let op = if paused { "pause" } else { "resume" };
        self.learn(Fact::GateTouched);
        self.learn(Fact::Asked(reason.clone()));
        let line = json!({"op": op, "upstream": "hq", "reason": reason}).to_string();
        self.say(Waits::Gate { reason, paused }, Socket::Admin, 0, &line);
    }

    fn say(&mut self, waits: Waits, socket: Socket, uid: u32, line: &str) {
        let client = self.clients.wait(waits);
        let peer = Peer { uid, pid: 7, name: None };
        if let Some(agent) = &mut self.agent {
            agent.handle(self.now, Event::Line { client, socket, peer: &peer, line: line.as_bytes() });
        }
    }

    /// Some requests in flight end.
    fn end_tries(&mut self, most: usize) {
        for _ in 0..self.in_flight.len().min(self.random.usize(0..=most)) {
            let (seq, n) = self.in_flight.swap_remove(self.random.usize(0..self.in_flight.len()));
            let (ending, accepted) = match self.random.u8(0..8) {
                0 => (Ending::Answered(Answer { status: 422, ..Answer::default() }), false),
                1 => (Ending::Answered(Answer { status: 500, ..Answer::default() }), false),
                2 => (Ending::Broken(InterruptKind::Reset, "reset".into()), false),
                _ => (Ending::Answered(Answer { status: 201, ..Answer::default() }), true),
            };
            self.end(seq, n, ending, accepted);
        }
    }

    /// The upstream accepts everything in flight.
    pub(crate) fn accept_all(&mut self) {
        for (seq, n) in std::mem::take(&mut self.in_flight) {
            self.end(seq, n, Ending::Answered(Answer { status: 201, ..Answer::default() }), true);
        }
    }

    fn end(&mut self, seq: Seq, n: usize, ending: Ending, accepted: bool) {
        self.learn(Fact::Ended { n, accepted });
        self.unwritten_outcomes.push((n, accepted));
        let steps = vec![Step { kind: StepKind::Deliver, ending, took: Duration::from_millis(20) }];
        if let Some(agent) = &mut self.agent {
            agent.handle(self.now, Event::AttemptEnded { seq, steps });
        }
    }

    /// Ends a round, and carries out its effects if the agent has survived it.
    pub(crate) fn round(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        agent.tick(self.now);
        let effects = agent.finish_round(self.now);
        if on(|machine| machine.is_dead()) {
            self.death();
            return;
        }
        if agent.unwritten_outcomes() == 0 {
            for (n, accepted) in std::mem::take(&mut self.unwritten_outcomes) {
                self.learn(Fact::Settled { n, accepted });
            }
        }
        for effect in effects {
            match effect {
                Effect::Reply { client, line } => {
                    let reply: Value = serde_json::from_slice(&line).expect("a reply is JSON");
                    let waits = self.clients.served(client);
                    self.told(waits, &reply);
                }
                Effect::Send(dispatch) => {
                    let (n, id) = (number_of(&dispatch), id_of(&dispatch));
                    self.learn(Fact::Sent { n, id, seq: dispatch.seq.0 });
                    self.in_flight.push((dispatch.seq, n));
                }
                Effect::Probe { upstream } => {
                    let end = ProbeEnd::Answered { status: 200, took: Duration::from_millis(9) };
                    if let Some(agent) = &mut self.agent {
                        agent.handle(self.now, Event::Probed { upstream, end, date: None });
                    }
                }
                // Nothing is prefetched here.
                Effect::Advance { .. }
                | Effect::Recall { .. }
                | Effect::Ask(_)
                | Effect::Tell(_)
                | Effect::LogInAgain { .. }
                | Effect::Reread(_)
                | Effect::Reconfigured { .. } => {}
            }
        }
    }

    fn told(&mut self, waits: Waits, reply: &Value) {
        let (ok, in_doubt) = (reply["ok"] == true, reply["error"]["code"] == "storage");
        match waits {
            Waits::Record(n) if ok => {
                let (id, seq) = (reply["id"].as_str().expect("an id"), reply["seq"].as_i64());
                let known = self.facts.iter().filter_map(acknowledged).find(|(known, _)| *known == n);
                let seq = seq.or(known.map(|(_, seq)| seq)).expect("a number");
                self.learn(Fact::Acknowledged { n, id: id.to_owned(), seq });
            }
            Waits::Record(n) if in_doubt => self.learn(Fact::Doubtful(n)),
            Waits::Record(n) => self.learn(Fact::Refused(n)),
            Waits::Hold { n, reason, held } if ok => {
                self.learn(Fact::Done(reason));
                if held {
                    self.learn(Fact::Held(n));
                }
            }
            Waits::Gate { reason, paused } if ok => {
                self.learn(Fact::Done(reason));
                self.learn(Fact::Paused(paused));
            }
            Waits::Hold { reason, .. } | Waits::Gate { reason, .. } if !in_doubt => self.learn(Fact::Denied(reason)),
            Waits::Hold { .. } | Waits::Gate { .. } => {}
        }
    }

    pub(crate) fn pass(&mut self, wait: Duration) {
        self.now = Moment { agent: self.now.agent.after(wait), wall: self.now.wall.after(wait) };
    }

    fn learn(&mut self, fact: Fact) {
        self.facts.push(fact);
        on(|machine| machine.mark(self.facts.len()));
    }

    // ---- kills and restarts

    /// kill -9, now or when the machine decided; then the agent starts again.
    fn death(&mut self) {
        on(Machine::kill);
        self.bury();
        self.start();
        self.repeat_some();
    }

    fn power_cut(&mut self) {
        let image = Rc::new(on(|machine| Draft::draw(&machine.medium, &mut self.random).build()));
        on(|machine| {
            machine.happens(Op::PowerCut(image.clone()));
            machine.boot(&image);
            machine.kill();
        });
        self.bury();
        self.start();
        self.repeat_some();
    }

    /// SIGTERM: the log is checkpointed into the file.
    fn stop(&mut self) {
        let agent = self.agent.take();
        let closed = agent.map(Agent::close);
        // Remaining handles have no owner.
        on(Machine::kill);
        drop(closed);
        self.bury();
        self.start();
    }

    fn bury(&mut self) {
        drop(self.agent.take());
        self.clients.leave();
        self.in_flight.clear();
        self.unwritten_outcomes.clear();
        self.learn(Fact::Died);
    }

    pub(crate) fn start(&mut self) {
        for _ in 0..MOST_STARTS {
            on(Machine::revive);
            if let Some(agent) = self.try_start() {
                self.agent = Some(agent);
                self.round();
                return;
            }
            on(Machine::kill);
            self.pass(Duration::from_secs(5));
        }
    }

    fn try_start(&mut self) -> Option<Agent> {
        let store = Store::open(self.settings.clone(), self.now.wall).ok()?;
        self.now.agent = store.ledger().resumed(self.now.wall);
        let mut agent = Agent::start(store, self.config, self.random.u64(..), self.now).ok()?;
        agent.keep_watch(self.now);
        Some(agent)
    }

    /// Applications repeat submissions that got no reply.
    fn repeat_some(&mut self) {
        if self.agent.is_some() && self.random.u8(0..4) > 0 {
            for _ in 0..2 {
                if let Some(n) = self.one_with_a_key() {
                    self.record(n);
                }
            }
            self.round();
        }
    }

    /// Another program opens the file and checkpoints the log.
    fn stranger_checkpoints(&mut self) {
        let mode = self.random.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]).expect("one");
        if let Ok(stranger) = Connection::open(self.settings.file()) {
            let _ = stranger.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
        }
        if on(|machine| machine.is_dead()) {
            self.death();
        }
    }
}

fn acknowledged(fact: &Fact) -> Option<(usize, i64)> {
    match fact {
        Fact::Acknowledged { n, seq, .. } => Some((*n, *seq)),
        _ => None,
    }
}

/// The submission that is sent.
fn number_of(dispatch: &Dispatch) -> usize {
    let body: Vec<u8> = dispatch.request.body.iter().flat_map(bytes_of).copied().collect();
    let envelope: Value = serde_json::from_slice(&body).expect("an envelope");
    let n = envelope["payload"]["n"].as_u64().expect("the number in the payload");
    usize::try_from(n).expect("a small number")
}

fn bytes_of(part: &BodyPart) -> &[u8] {
    match part {
        BodyPart::Bytes(bytes) => bytes,
        BodyPart::Secret(name) => panic!("a secret {name}"),
    }
}

fn id_of(dispatch: &Dispatch) -> String {
    match dispatch.request.headers.iter().find(|(name, _)| *name == "Resync-Id") {
        Some((_, HeaderValue::Text(id))) => id.clone(),
        other => panic!("a request with {other:?} as its id"),
    }
}

//! Several upstreams with their own order rules, with reloads that reroute failures, kills within
//! requests that verify or hold, and operators who pause, resume, flush, hold, release and retry.
//!
//! The other simulation examines one upstream from all sides. This one has three at a time and
//! checks only the gates: which failures may be sent, which an operator or an upstream holds back,
//! which are verified first. Expectations follow from the requests, the responses, the
//! configuration, and the rows of the file as another program reads them.

use fastrand::Rng;
use resyncd::agent::questions::{Answer as Found, answer};
use resyncd::agent::{Agent, ClientId, Dispatch, Effect, Event, Finding, Peer, Step, StepKind};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::ids::Seq;
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::ending::Answer;
use resyncd::policy::ending::ConnectError;
use resyncd::policy::ending::Ending;
use resyncd::policy::ending::InterruptKind;
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::disk::Disk;
use resyncd::store::reader::Reader;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::request::Socket;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const NAMES: [&str; 3] = ["a", "b", "c"];
const TYPES: [&str; 4] = ["SALE", "RETURN", "NOTE", "FISCAL"];
const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    Says(u16),
    /// With this `Retry-After`, in seconds.
    Later(u16, u32),
    Lost,
    NoConnection,
    Silent,
    /// Either a 401, which blocks the upstream, or a `Retry-After`.
    ShutOrLater,
}

const MOODS: [Mood; 13] = [
    Mood::Good,
    Mood::Good,
    Mood::Good,
    Mood::Says(500),
    Mood::Says(502),
    Mood::Says(401),
    Mood::Later(503, 600),
    Mood::Later(429, 1800),
    Mood::Lost,
    Mood::NoConnection,
    Mood::Silent,
    Mood::ShutOrLater,
    Mood::ShutOrLater,
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OnUnsure {
    #[default]
    Resend,
    Verify,
    Hold,
}

/// The part of the configuration that is checked here.
#[derive(Clone, Debug)]
struct Plan {
    orderings: [&'static str; 3],
    /// For each type, its upstream and the `on_unsure` setting.
    routes: [Option<(usize, OnUnsure)>; 4],
    max_pause: &'static str,
}

impl Plan {
    fn random(random: &mut Rng) -> Self {
        let ordering = |random: &mut Rng| random.choice(["key", "strict", "none"]).expect("one");
        let orderings = [ordering(random), ordering(random), ordering(random)];
        let mut routes = [None; 4];
        for route in &mut routes {
            let on_unsure = random.choice([OnUnsure::Resend, OnUnsure::Resend, OnUnsure::Verify, OnUnsure::Hold]);
            *route = Some((random.usize(0..3), on_unsure.expect("one")));
        }
        if random.bool() {
            routes[random.usize(0..4)] = None;
        }
        Self { orderings, routes, max_pause: random.choice(["1s", "60s", "1h"]).expect("one") }
    }

    /// Gives every type a route.
    fn completed(mut self) -> Self {
        for route in &mut self.routes {
            route.get_or_insert((0, OnUnsure::Resend));
        }
        self
    }

    fn config(&self, dir: &Path) -> Config {
        let mut text = "[agent]\nterminal_id = \"till-07\"\n".to_owned();
        for (name, ordering) in NAMES.iter().zip(self.orderings) {
            let max_pause = self.max_pause;
            let table = format!("[upstream.{name}]\nurl = \"https://{name}.example/\"\nordering = \"{ordering}\"\n");
            text.extend([table, format!("max_pause = \"{max_pause}\"\n")]);
        }
        for (kind, route) in TYPES.iter().zip(&self.routes) {
            let Some((upstream, on_unsure)) = route else { continue };
            text.extend([format!("[[route]]\nentity_type = \"{kind}\"\nupstream = \"{}\"\n", NAMES[*upstream])]);
            text += match on_unsure {
                OnUnsure::Resend => "",
                OnUnsure::Hold => "on_unsure = \"hold\"\n",
                OnUnsure::Verify => {
                    "on_unsure = \"verify\"\nverify = { method = \"GET\", path = \"/q?k={key}\", found = \"/value/0\" }\n"
                }
            };
        }
        let config = Config::load(Some(("several", &text)), &Overrides::default(), &Environment::default());
        let mut config = config.unwrap_or_else(|problems| panic!("{problems:?}: {text}"));
        config.agent.state_dir = dir.to_owned();
        config
    }

    /// `on_unsure` for this type at this upstream; `Resend` for a type that is not routed there.
    fn on_unsure(&self, kind: &str, upstream: usize) -> OnUnsure {
        let at = TYPES.iter().position(|name| *name == kind).expect("a type");
        self.routes[at].filter(|(to, _)| *to == upstream).map_or(OnUnsure::Resend, |(_, on_unsure)| on_unsure)
    }
}

/// A row as another program reads it.
#[derive(Clone, Debug)]
struct Row {
    seq: i64,
    kind: String,
    order: String,
    status: String,
    upstream: Option<usize>,
    head: bool,
    uncounted: bool,
    due_at: Option<i64>,
    retry_after_until: Option<i64>,
    last_sent_at: Option<i64>,
}

/// What the world knows of a failure.
#[derive(Clone, Debug, Default)]
struct Known {
    kind: String,
    /// A request may have arrived, and it was neither decided by an operator nor verified since.
    doubtful: bool,
    /// … at this upstream, whose route has been `Hold` since then.
    undecided_at: Option<usize>,
    /// The upstream's `Retry-After` for it ends then, in agent time.
    bound: i64,
    bound_by: usize,
    /// The upstreams that have taken it.
    taken: BTreeSet<usize>,
    accepted: bool,
}

impl Known {
    /// A request to this upstream may have arrived.
    fn doubt(&mut self, plan: &Plan, upstream: usize) {
        self.doubtful = true;
        let holds = plan.on_unsure(&self.kind, upstream) == OnUnsure::Hold;
        self.undecided_at = if holds { Some(upstream) } else { self.undecided_at };
    }
}

#[derive(Debug)]
struct World {
    random: Rng,
    agent: Option<Agent>,
    plan: Plan,
    /// The configuration that takes effect when requests have ended.
    next_plan: Option<Plan>,
    now: Moment,
    moods: [Mood; 3],
    probe: [bool; 3],
    known: BTreeMap<i64, Known>,
    /// Requests in flight: their upstream, and whether they verify first.
    in_flight: BTreeMap<i64, usize>,
    /// The results of requests, by their time.
    ends: BTreeMap<(i64, i64), Vec<Step>>,
    replies: Vec<Value>,
    recorded: u32,
    sent: u64,
    paused: [bool; 3],
    dir: TempDir,
    file: Option<Connection>,
    printed: bool,
}

fn deliver(ending: Ending) -> Step {
    Step { kind: StepKind::Deliver, ending, took: Duration::from_millis(5) }
}

fn says(status: u16) -> Ending {
    Ending::Answered(Answer { status, ..Answer::default() })
}

impl World {
    fn new(seed: u64, printed: bool) -> Self {
        let mut random = Rng::with_seed(seed);
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a directory");
        let plan = Plan::random(&mut random);
        let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_754_123) };
        let mut world = Self {
            random,
            agent: None,
            plan,
            next_plan: None,
            now,
            moods: [Mood::Good; 3],
            probe: [true; 3],
            known: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            ends: BTreeMap::new(),
            replies: Vec::new(),
            recorded: 0,
            sent: 0,
            paused: [false; 3],
            dir,
            file: None,
            printed,
        };
        world.start();
        world
    }

    fn tell(&self, words: impl FnOnce() -> String) {
        if self.printed {
            println!("{:>10} {}", self.now.agent.as_millis(), words());
        }
    }

    fn settings(&self, config: &Config) -> StoreSettings {
        let limits = Limits::default();
        StoreSettings {
            disk: Disk::default(),
            keep_triggers: true,
            ..StoreSettings { routes: config.routes.clone(), ..StoreSettings::new(self.dir.path(), &limits) }
        }
    }

    fn start(&mut self) {
        let config = self.plan.config(self.dir.path());
        let store = Store::open(self.settings(&config), self.now.wall).expect("the store opens");
        self.now.agent = store.ledger().resumed(self.now.wall);
        let mut agent = Agent::start(store, &config, self.random.u64(..), self.now).expect("the agent starts");
        agent.keep_watch(self.now);
        self.agent = Some(agent);
        self.file = Some(Connection::open(self.dir.path().join("sync_failures.db")).expect("the file"));
        self.tell(|| format!("started: {:?}", self.plan));
        self.settle();
    }

    fn kill(&mut self) {
        self.tell(|| format!("killed with {:?}", self.in_flight));
        drop(self.agent.take());
        self.file = None;
        for (seq, upstream) in std::mem::take(&mut self.in_flight) {
            let took_it = self.random.bool();
            let known = self.known.get_mut(&seq).expect("known");
            // On other routes the file does not record that it was in flight.
            if self.plan.on_unsure(&known.kind, upstream) != OnUnsure::Resend {
                known.doubt(&self.plan, upstream);
            }
            if took_it {
                known.taken.insert(upstream);
            }
        }
        self.ends.clear();
        if let Some(plan) = self.next_plan.take() {
            self.move_to(plan);
        } else if self.random.bool() {
            let plan = Plan::random(&mut self.random);
            self.move_to(plan);
        }
        self.pass_by(self.random.clone().i64(SECOND..HOUR));
        self.start();
    }

    /// Puts this configuration into force.
    fn move_to(&mut self, plan: Plan) {
        self.tell(|| format!("configured: {plan:?}"));
        self.plan = plan;
        for known in self.known.values_mut() {
            let still = |upstream: &usize| self.plan.on_unsure(&known.kind, *upstream) == OnUnsure::Hold;
            known.undecided_at = known.undecided_at.filter(still);
        }
    }

    fn pass_by(&mut self, ms: i64) {
        let wait = Duration::from_millis(ms.unsigned_abs());
        self.now = Moment { agent: self.now.agent.after(wait), wall: self.now.wall.after(wait) };
    }

    // ---- rounds

    fn settle(&mut self) {
        for _ in 0..5_000 {
            let agent = self.agent.as_mut().expect("it runs");
            agent.tick(self.now);
            let effects = agent.finish_round(self.now);
            let mut busy = false;
            for effect in effects {
                busy |= self.carry_out(effect);
            }
            let agent = self.agent.as_ref().expect("it runs");
            if !busy && agent.next_deadline().is_none_or(|at| at > self.now.agent) {
                return self.look();
            }
        }
        panic!("progress: it never rests: {:?}", self.agent);
    }

    fn carry_out(&mut self, effect: Effect) -> bool {
        let now = self.now;
        match effect {
            Effect::Reply { line, .. } => self.replies.push(serde_json::from_slice(&line).expect("JSON")),
            Effect::Send(dispatch) => self.sends(&dispatch),
            Effect::Probe { upstream } => {
                let end = if self.probe[upstream] {
                    ProbeEnd::Answered { status: 200, took: Duration::from_millis(9) }
                } else {
                    ProbeEnd::Silence { reason: "connection refused".to_owned() }
                };
                self.agent.as_mut().expect("it runs").handle(now, Event::Probed { upstream, end, date: None });
                return true;
            }
            Effect::Ask(inquiry) => {
                let config = self.plan.config(self.dir.path());
                let reader = Reader::open(&self.settings(&config)).expect("the file can be read");
                let agent = self.agent.as_mut().expect("it runs");
                match answer(&reader, &inquiry) {
                    Found::Line(line) => self.replies.push(serde_json::from_slice(&line).expect("JSON")),
                    Found::Selected(found) => {
                        agent.handle(now, Event::Selected { client: inquiry.client, found });
                    }
                    Found::MeanRetries(mean) => {
                        agent.handle(now, Event::MeanRetries(mean));
                    }
                    Found::Damaged(_, error) => panic!("disk: {error}"),
                }
                return true;
            }
            Effect::Reconfigured { .. } => {
                if let Some(plan) = self.next_plan.take() {
                    self.move_to(plan);
                }
                return true;
            }
            Effect::Tell(_)
            | Effect::Advance { .. }
            | Effect::Recall { .. }
            | Effect::LogInAgain { .. }
            | Effect::Reread(_) => {}
        }
        false
    }

    fn rows(&self) -> Vec<Row> {
        let sql = "SELECT seq, entity_type, coalesce('k' || order_key, 'e' || entity_type || '/' || entity_id), status, \
                   upstream, head, uncounted, due_at, retry_after_until, last_sent_at FROM sync_failures ORDER BY seq";
        let mut statement = self.file.as_ref().expect("open").prepare_cached(sql).expect("SQL");
        let rows = statement.query_map([], |row| {
            let upstream: Option<String> = row.get(4)?;
            Ok(Row {
                seq: row.get(0)?,
                kind: row.get(1)?,
                order: row.get(2)?,
                status: row.get(3)?,
                upstream: upstream.and_then(|name| NAMES.iter().position(|known| *known == name)),
                head: row.get(5)?,
                uncounted: row.get(6)?,
                due_at: row.get(7)?,
                retry_after_until: row.get(8)?,
                last_sent_at: row.get(9)?,
            })
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    /// Checks whether this request may be sent.
    fn sends(&mut self, dispatch: &Dispatch) {
        let (seq, upstream, now) = (dispatch.seq.0, dispatch.upstream, self.now.agent.as_millis());
        let rows = self.rows();
        let Some(row) = rows.iter().find(|row| row.seq == seq) else {
            panic!("durability: {seq} is sent, and is in no row")
        };
        self.tell(|| format!("sends {seq} to {} asking {}: {row:?}", NAMES[upstream], dispatch.verify.is_some()));
        promise!(row.status == "pending", "budget", "{seq} is sent and is {}", row.status);
        promise!(row.upstream == Some(upstream), "budget", "{seq} is sent to {upstream}: {row:?}");
        promise!(!self.paused[upstream], "gate", "{seq} is sent to a paused upstream");
        promise!(self.in_flight.insert(seq, upstream).is_none(), "order", "{seq} is sent twice at once");
        let ordering = self.plan.orderings[upstream];
        for older in rows.iter().filter(|older| older.seq < seq) {
            let same = ordering != "none" && older.order == row.order;
            promise!(!same, "order", "{seq} is sent before {older:?} has left");
            let before = ordering == "strict" && older.upstream == Some(upstream);
            promise!(!before, "order", "{seq} is sent out of a strict order, before {older:?}");
        }
        let beside = self.in_flight.values().filter(|other| **other == upstream).count();
        promise!(ordering != "strict" || beside == 1, "order", "{seq} is sent beside another of a strict order");
        let on_unsure = self.plan.on_unsure(&row.kind, upstream);
        let known = self.known.entry(seq).or_default();
        promise!(
            known.bound_by != upstream || known.bound <= now,
            "gate",
            "{seq} is sent {} ms before its own Retry-After ends",
            known.bound - now
        );
        match on_unsure {
            OnUnsure::Hold => promise!(
                known.undecided_at != Some(upstream),
                "unsure",
                "{seq} may have arrived, and no operator has decided"
            ),
            OnUnsure::Verify => {
                promise!(!known.doubtful || dispatch.verify.is_some(), "unsure", "{seq} may have arrived: not asked");
            }
            OnUnsure::Resend => {}
        }
        self.sent += 1;
        let found = known.taken.contains(&upstream);
        let verify = dispatch.verify.is_some();
        let (steps, after) = self.fate(upstream, verify.then_some(found));
        self.ends.insert((now + after, seq), steps);
    }

    /// The steps and end time of a request. `asked`: the result of its verification, if it verifies first.
    fn fate(&mut self, upstream: usize, asked: Option<bool>) -> (Vec<Step>, i64) {
        let random = &mut self.random;
        let after = if random.u8(0..4) == 0 { random.i64(1..40) * SECOND } else { random.i64(5..400) };
        let mood = match self.moods[upstream] {
            Mood::ShutOrLater if random.bool() => Mood::Says(401),
            Mood::ShutOrLater => Mood::Later(503, 600),
            mood => mood,
        };
        let ending = match mood {
            Mood::Good => says(200),
            Mood::Says(status) => says(status),
            Mood::Later(status, seconds) => {
                Ending::Answered(Answer { status, retry_after: Some(seconds.to_string()), ..Answer::default() })
            }
            Mood::Lost | Mood::Silent => Ending::Broken(InterruptKind::Timeout, "no answer".to_owned()),
            Mood::NoConnection | Mood::ShutOrLater => {
                Ending::NotSent(ConnectError::NoConnection, "connection refused".to_owned())
            }
        };
        let after = if mood == Mood::Silent { 30 * SECOND } else { after };
        let verify = |finding| Step { kind: StepKind::Verify(finding), ..deliver(says(200)) };
        let steps = match (asked, mood) {
            (None, _) => vec![deliver(ending)],
            (Some(_), Mood::Good) if asked == Some(true) => vec![verify(Finding::There)],
            (Some(_), Mood::Good) => vec![verify(Finding::NotThere), deliver(ending)],
            (Some(_), _) => vec![Step { kind: StepKind::Verify(Finding::Inconclusive), ..deliver(ending) }],
        };
        (steps, after)
    }

    /// A request ends.
    fn ended(&mut self, seq: i64, steps: Vec<Step>) {
        let upstream = self.in_flight.remove(&seq).expect("it was under way");
        let lost = self.random.bool();
        let now = self.now.agent.as_millis();
        let max_pause = match self.plan.max_pause {
            "1s" => SECOND,
            "60s" => MINUTE,
            _ => HOUR,
        };
        let known = self.known.get_mut(&seq).expect("known");
        for step in &steps {
            match (step.kind, &step.ending) {
                (StepKind::Verify(Finding::NotThere), _) => known.doubtful = false,
                (StepKind::Verify(Finding::There), _) => known.accepted = true,
                (StepKind::Deliver, Ending::Broken(..)) => {
                    known.doubt(&self.plan, upstream);
                    if lost {
                        known.taken.insert(upstream);
                    }
                }
                (StepKind::Deliver, Ending::Answered(answer)) if answer.status == 200 => {
                    known.taken.insert(upstream);
                    known.accepted = true;
                }
                (_, Ending::Answered(answer)) => {
                    let asked = answer.retry_after.as_ref().and_then(|text| text.parse::<i64>().ok());
                    let long = asked.map(|seconds| seconds * SECOND).filter(|wait| *wait > max_pause);
                    (known.bound, known.bound_by) = (long.map_or(0, |wait| now + wait), upstream);
                }
                _ => {}
            }
        }
        self.tell(|| format!("{seq} ends with {:?}", steps.last().map(|step| &step.ending)));
        let event = Event::AttemptEnded { seq: Seq(seq), steps };
        self.agent.as_mut().expect("it runs").handle(self.now, event);
    }

    // ---- checks of a settled agent

    fn look(&mut self) {
        let rows = self.rows();
        let live: BTreeSet<i64> = rows.iter().map(|row| row.seq).collect();
        for (seq, known) in &self.known {
            promise!(
                live.contains(seq) || known.accepted,
                "durability",
                "{seq} was removed, and no upstream accepted it"
            );
        }
        for row in rows.iter().filter(|row| row.status == "pending") {
            promise!(
                row.upstream.is_some(),
                "progress",
                "nothing will ever send {row:?}, and it is said to be on its way"
            );
        }
    }

    /// The number of failures that wait for an operator, by the rules of each upstream's order.
    fn stuck(&self) -> u64 {
        let rows = self.rows();
        let mut stuck: Vec<&Row> = Vec::new();
        for row in &rows {
            let ordering = row.upstream.map_or("key", |upstream| self.plan.orderings[upstream]);
            let waits = |other: &&Row| {
                (ordering != "none" && other.order == row.order)
                    || (ordering == "strict" && other.upstream == row.upstream)
            };
            if row.status != "pending" || stuck.iter().any(waits) {
                stuck.push(row);
            }
        }
        stuck.len() as u64
    }

    // ---- operators

    fn ask(&mut self, socket: Socket, request: &Value) -> Value {
        self.tell(|| format!("→ {request}"));
        self.replies.clear();
        let line = request.to_string();
        let event = Event::Line { client: ClientId(7), socket, peer: &Peer::default(), line: line.as_bytes() };
        self.agent.as_mut().expect("it runs").handle(self.now, event);
        self.settle();
        let reply = self.replies.first().cloned().unwrap_or_else(|| panic!("protocol: no reply to {line}"));
        self.tell(|| format!("← {reply}"));
        reply
    }

    fn record(&mut self) {
        self.recorded += 1;
        let kind = self.random.choice(TYPES).expect("one");
        let entity = format!("e-{}", self.random.u8(0..4));
        let mut request = json!({"op": "record", "entity_type": kind, "entity_id": entity, "action": "CREATE",
            "payload": {"n": self.recorded}});
        match self.random.u8(0..5) {
            0 => request["error"] = json!("connect ETIMEDOUT"),
            1 => request["error"] = json!("HTTP 500: x"),
            2 => (request["error"], request["retry"]) = (json!("HTTP 503: x"), json!("now")),
            _ => request["retry"] = json!("now"),
        }
        if self.random.u8(0..3) == 0 {
            request["order_key"] = json!(format!("receipt {}", self.random.u8(0..3)));
        }
        let own_word = request["error"] == "connect ETIMEDOUT";
        self.tell(|| format!("→ {request}"));
        self.replies.clear();
        let line = request.to_string();
        let event =
            Event::Line { client: ClientId(7), socket: Socket::App, peer: &Peer::default(), line: line.as_bytes() };
        let agent = self.agent.as_mut().expect("it runs");
        agent.handle(self.now, event);
        // The number is noted first, because the failure may be sent in the same round.
        let next: i64 = self.cell("SELECT next_seq FROM agent");
        self.known.insert(next, Known { kind: kind.to_owned(), doubtful: own_word, ..Known::default() });
        self.settle();
        let reply = self.replies.first().cloned().expect("a reply");
        promise!(reply["seq"] == next, "protocol", "{reply} is not {next}");
    }

    fn cell(&self, sql: &str) -> i64 {
        self.file.as_ref().expect("open").query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// An operator has decided about all of these.
    fn decided(&mut self, which: impl Fn(&Row) -> bool, retries: bool) {
        let concerned: Vec<i64> = self.rows().iter().filter(|row| which(row)).map(|row| row.seq).collect();
        for seq in concerned.iter().filter(|seq| !self.in_flight.contains_key(seq)) {
            let Some(known) = self.known.get_mut(seq) else { continue };
            known.bound = if retries { 0 } else { known.bound };
            // The agent may still verify first.
            (known.doubtful, known.undecided_at) = (false, None);
        }
    }

    fn somebody_acts(&mut self) {
        match self.random.u8(0..12) {
            0 => {
                let upstream = self.random.usize(0..3);
                let reply = self.ask(Socket::Admin, &json!({"op": "pause", "upstream": NAMES[upstream]}));
                self.paused[upstream] = reply["ok"] == true;
            }
            1..=4 => self.resume(),
            5 => drop(self.ask(Socket::Admin, &json!({"op": "flush"}))),
            6 => drop(self.ask(Socket::Admin, &json!({"op": "hold", "all": true}))),
            7 | 8 => self.release(),
            9 => {
                self.decided(|row| row.status == "critical", true);
                self.ask(Socket::Admin, &json!({"op": "retry", "filter": {"status": "critical"}}));
            }
            10 => {
                let plan = Plan::random(&mut self.random);
                let found = Ok(Box::new(plan.config(self.dir.path())));
                self.tell(|| format!("to be configured: {plan:?}"));
                self.next_plan = Some(plan);
                self.agent.as_mut().expect("it runs").handle(self.now, Event::Reread { asker: None, found });
                self.settle();
            }
            _ => {
                let expected = self.stuck();
                let reply = self.ask(Socket::App, &json!({"op": "unsent"}));
                let live = self.cell("SELECT COUNT(*) FROM sync_failures").unsigned_abs();
                let said = (reply["needs_person"].as_u64(), reply["on_their_way"].as_u64());
                // Requests that were under way have changed the state; then no comparison is possible.
                if expected == self.stuck() {
                    promise!(said == (Some(expected), Some(live - expected)), "unsent", "{expected} wait: {reply}");
                }
            }
        }
    }

    fn release(&mut self) {
        self.decided(|row| row.status == "held", false);
        self.ask(Socket::Admin, &json!({"op": "release", "filter": {"status": "held"}}));
    }

    /// Resuming ends the pacing delay.
    fn resume(&mut self) {
        let now = self.now.agent.as_millis();
        let moves = self.next_plan.is_some();
        // The effects of the reply are visible in the same round.
        self.paused = [false; 3];
        self.ask(Socket::Admin, &json!({"op": "resume"}));
        for row in self.rows() {
            let waits = row.status == "pending" && row.head && row.uncounted && row.due_at.is_some_and(|at| at > now);
            let bound = row.retry_after_until.is_some_and(|until| until > now);
            let tried = row.last_sent_at.is_some_and(|at| at < now);
            let free = waits && !bound && tried && !self.in_flight.contains_key(&row.seq);
            promise!(!free || moves, "resume", "{row:?} waits on, {} ms", row.due_at.unwrap_or(now) - now);
        }
    }

    // ---- a life

    fn live_for(&mut self, span: i64, most_wait: i64) {
        let end = self.now.agent.as_millis() + span;
        while self.now.agent.as_millis() < end {
            let next_act = self.now.agent.as_millis() + self.random.i64(1..most_wait);
            self.until(next_act.min(end));
            match self.random.u8(0..12) {
                0..=4 => self.record(),
                5 | 6 => {
                    let upstream = self.random.usize(0..3);
                    self.moods[upstream] = self.random.choice(MOODS).expect("one");
                    self.probe[upstream] = self.moods[upstream] != Mood::NoConnection;
                    self.tell(|| format!("{} is {:?}", NAMES[upstream], self.moods[upstream]));
                }
                7 if self.random.u8(0..3) == 0 => self.kill(),
                _ => self.somebody_acts(),
            }
        }
    }

    /// Lives on until `end`.
    fn until(&mut self, end: i64) {
        loop {
            let now = self.now.agent.as_millis();
            let deadline = self.agent.as_ref().and_then(Agent::next_deadline).map(AgentTime::as_millis);
            let ends = self.ends.first_key_value().map(|((at, _), _)| *at);
            let next = deadline.into_iter().chain(ends).min().unwrap_or(end).min(end).max(now);
            self.pass_by(next - now);
            while let Some(entry) = self.ends.first_entry().filter(|entry| entry.key().0 <= next) {
                let ((_, seq), steps) = entry.remove_entry();
                self.ended(seq, steps);
            }
            self.settle();
            if next >= end {
                return;
            }
        }
    }

    /// All faults end, operators have decided, and every type has a route: everything is delivered.
    fn settle_down(&mut self) {
        (self.moods, self.probe) = ([Mood::Good; 3], [true; 3]);
        let plan = self.plan.clone().completed();
        let config = plan.config(self.dir.path());
        self.next_plan = Some(plan);
        self.agent
            .as_mut()
            .expect("it runs")
            .handle(self.now, Event::Reread { asker: None, found: Ok(Box::new(config)) });
        self.settle();
        for _ in 0..30 {
            self.resume();
            self.release();
            self.decided(|row| row.status == "critical", true);
            self.ask(Socket::Admin, &json!({"op": "retry", "filter": {"status": "critical"}}));
            self.until(self.now.agent.as_millis() + HOUR);
        }
        let rows = self.rows();
        promise!(rows.is_empty(), "progress", "all is well, and these are here: {rows:?}");
    }
}

/// One life. Returns the number of requests sent.
pub(crate) fn run(seed: u64, printed: bool) -> u64 {
    let mut world = World::new(seed, printed);
    let most_wait = world.random.choice([10 * SECOND, 5 * MINUTE, 40 * MINUTE]).expect("one");
    world.live_for(60 * most_wait, most_wait);
    world.settle_down();
    world.sent
}

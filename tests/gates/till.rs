//! An agent in virtual time, with an upstream whose responses come from a function. It exposes what
//! is sent when, and the contents of the file. A restart may be a kill, with requests under way.

use resyncd::agent::questions::{Answer as Found, answer};
use resyncd::agent::{Agent, ClientId, Dispatch, Effect, Event, Peer, Step, StepKind};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::ending::Answer;
use resyncd::policy::ending::ConnectError;
use resyncd::policy::ending::Ending;
use resyncd::policy::ending::InterruptKind;
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::reader::Reader;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::delivery::HeaderValue;
use resyncd::wire::request::Socket;
use rusqlite::Connection;
use rusqlite::types::FromSql;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// A request that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: AgentTime,
    pub(crate) seq: i64,
    pub(crate) key: String,
    /// It first verifies whether the failure has arrived.
    pub(crate) asks: bool,
    /// How many were sent before it.
    pub(crate) nth: usize,
}

/// The response; `None`: none yet.
type Office = Box<dyn FnMut(&Sent) -> Option<Ending>>;

/// An agent with its upstream, its clock and its state directory.
pub(crate) struct Till {
    agent: Option<Agent>,
    config: Config,
    pub(crate) now: Moment,
    pub(crate) office: Office,
    /// The status that answers probes; `None`: no response.
    pub(crate) probe: Option<u16>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) probes: usize,
    replies: Vec<Value>,
    dir: TempDir,
}

pub(crate) fn status(status: u16) -> Ending {
    Ending::Answered(Answer { status, ..Answer::default() })
}

pub(crate) fn later(status: u16, seconds: u32) -> Ending {
    let body = br#"{"message":"closed until 08:00"}"#.to_vec();
    let content_type = Some("application/json".to_owned());
    let retry_after = Some(seconds.to_string());
    Ending::Answered(Answer { status, retry_after, body, content_type, ..Answer::default() })
}

pub(crate) fn refused_connection() -> Ending {
    Ending::NotSent(ConnectError::NoConnection, "connection refused".to_owned())
}

pub(crate) fn lost() -> Ending {
    Ending::Broken(InterruptKind::Reset, "connection reset".to_owned())
}

fn configured(text: &str, dir: &TempDir) -> Config {
    let config = Config::load(Some(("gates", text)), &Overrides::default(), &Environment::default());
    let mut config = config.expect("a right configuration");
    config.agent.state_dir = dir.path().to_owned();
    config
}

impl Till {
    /// A till with this configuration, an upstream that accepts, and probes that are answered.
    pub(crate) fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = configured(text, &dir);
        let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_754_123) };
        let mut till = Self {
            agent: None,
            config,
            now,
            office: Box::new(|_| Some(status(200))),
            probe: Some(200),
            sent: Vec::new(),
            probes: 0,
            replies: Vec::new(),
            dir,
        };
        till.start();
        till
    }

    /// One upstream `hq`, with further lines and tables.
    pub(crate) fn hq(more: &str) -> Self {
        Self::new(&format!("[upstream.hq]\nurl = \"https://hq.example/sync\"\n{more}"))
    }

    fn start(&mut self) {
        let settings = StoreSettings { keep_triggers: true, ..StoreSettings::of(&self.config) };
        let store = Store::open(settings, self.now.wall).expect("the store opens");
        self.now.agent = store.ledger().resumed(self.now.wall);
        let mut agent = Agent::start(store, &self.config, 7, self.now).expect("the agent starts");
        agent.keep_watch(self.now);
        self.agent = Some(agent);
        self.settle();
    }

    /// Kills the agent, and starts it again after this time.
    pub(crate) fn kill(&mut self, away: Duration) {
        drop(self.agent.take());
        self.now.wall = self.now.wall.after(away);
        self.start();
    }

    /// The same, with another configuration.
    pub(crate) fn kill_and_configure(&mut self, text: &str) {
        self.config = configured(text, &self.dir);
        self.kill(SECOND);
    }

    /// Takes responses from this function from now on.
    pub(crate) fn answers(&mut self, office: impl FnMut(&Sent) -> Option<Ending> + 'static) {
        self.office = Box::new(office);
    }

    /// Runs rounds until nothing is left to do now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let agent = self.agent.as_mut().expect("it runs");
            agent.tick(self.now);
            let effects = agent.finish_round(self.now);
            let mut busy = false;
            for effect in effects {
                busy |= self.carry_out(effect);
            }
            let agent = self.agent.as_ref().expect("it runs");
            if !busy && agent.next_deadline().is_none_or(|at| at > self.now.agent) {
                return;
            }
        }
        panic!("it never rests: {:?}", self.agent);
    }

    fn carry_out(&mut self, effect: Effect) -> bool {
        let agent = self.agent.as_mut().expect("it runs");
        match effect {
            Effect::Reply { line, .. } => self.replies.push(serde_json::from_slice(&line).expect("JSON")),
            Effect::Send(dispatch) => return self.send(&dispatch),
            Effect::Probe { upstream } => {
                self.probes += 1;
                let end = match self.probe {
                    Some(status) => ProbeEnd::Answered { status, took: Duration::from_millis(20) },
                    None => ProbeEnd::Silence { reason: "connection refused".to_owned() },
                };
                agent.handle(self.now, Event::Probed { upstream, end, date: None });
                return true;
            }
            Effect::Ask(inquiry) => {
                let reader = Reader::open(&StoreSettings::of(&self.config)).expect("the file can be read");
                match answer(&reader, &inquiry) {
                    Found::Line(line) => self.replies.push(serde_json::from_slice(&line).expect("JSON")),
                    Found::Selected(found) => {
                        agent.handle(self.now, Event::Selected { client: inquiry.client, found });
                    }
                    Found::MeanRetries(mean) => drop(agent.handle(self.now, Event::MeanRetries(mean))),
                    Found::Damaged(_, error) => panic!("{error}"),
                }
                return true;
            }
            Effect::Tell(_)
            | Effect::Advance { .. }
            | Effect::Recall { .. }
            | Effect::LogInAgain { .. }
            | Effect::Reread(_)
            | Effect::Reconfigured { .. } => {}
        }
        false
    }

    fn send(&mut self, dispatch: &Dispatch) -> bool {
        let found = dispatch.request.headers.iter().find(|(name, _)| *name == "Idempotency-Key");
        let Some((_, HeaderValue::Text(key))) = found else { panic!("a request without a key") };
        let sent = Sent {
            at: self.now.agent,
            seq: dispatch.seq.0,
            key: key.clone(),
            asks: dispatch.verify.is_some(),
            nth: self.sent.len(),
        };
        let ending = (self.office)(&sent);
        self.sent.push(sent);
        let Some(ending) = ending else { return false };
        self.ends(dispatch.seq.0, ending);
        true
    }

    /// Ends the request of this failure that is under way.
    pub(crate) fn ends(&mut self, seq: i64, ending: Ending) {
        let steps = vec![Step { kind: StepKind::Deliver, ending, took: Duration::from_millis(5) }];
        let agent = self.agent.as_mut().expect("it runs");
        agent.handle(self.now, Event::AttemptEnded { seq: resyncd::ids::Seq(seq), steps });
    }

    /// Lets this time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.agent.after(time);
        loop {
            self.settle();
            let next = self.agent.as_ref().and_then(Agent::next_deadline).filter(|at| *at < end).unwrap_or(end);
            let wait = next.since(self.now.agent);
            self.now = Moment { agent: self.now.agent.after(wait), wall: self.now.wall.after(wait) };
            if next >= end {
                return self.settle();
            }
        }
    }

    /// One request on the admin socket, and its reply.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        self.said(Socket::Admin, request)
    }

    pub(crate) fn said(&mut self, socket: Socket, request: &Value) -> Value {
        self.replies.clear();
        let line = request.to_string();
        let event = Event::Line { client: ClientId(7), socket, peer: &Peer::default(), line: line.as_bytes() };
        self.agent.as_mut().expect("it runs").handle(self.now, event);
        self.settle();
        self.replies.first().cloned().unwrap_or_else(|| panic!("no reply to {line}"))
    }

    /// Records a failure, with these fields instead of the usual ones. Returns its number.
    pub(crate) fn record(&mut self, entity: &str, more: &Value) -> i64 {
        let mut request = json!({"op": "record", "entity_type": "SALE", "entity_id": entity, "action": "CREATE",
            "error": "HTTP 503: busy", "retry": "now", "payload": {"n": 1}});
        for (name, value) in more.as_object().expect("fields") {
            request[name] = value.clone();
            if value.is_null() {
                request.as_object_mut().expect("an object").remove(name);
            }
        }
        let reply = self.said(Socket::App, &request);
        reply["seq"].as_i64().unwrap_or_else(|| panic!("{request} got {reply}"))
    }

    pub(crate) fn failure(&mut self, seq: i64) -> Value {
        self.ask(&json!({"op": "get", "id": seq}))["failure"].clone()
    }

    /// The single value that a SELECT returns.
    pub(crate) fn cell<T: FromSql>(&self, sql: &str) -> T {
        let file = Connection::open(self.dir.path().join("sync_failures.db")).expect("the file");
        file.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Changes the file as an operator could by hand.
    pub(crate) fn change(&self, sql: &str) {
        let file = Connection::open(self.dir.path().join("sync_failures.db")).expect("the file");
        file.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The disk was looked at: so many bytes are free.
    pub(crate) fn disk_has(&mut self, bytes: u64) {
        self.agent.as_mut().expect("it runs").handle(self.now, Event::DiskFree(bytes));
        self.settle();
    }

    /// Whether an alert of this kind is active.
    pub(crate) fn is_told(&mut self, kind: &str) -> bool {
        let alerts = self.ask(&json!({"op": "alerts"}));
        let all = alerts["alerts"].as_array().unwrap_or_else(|| panic!("{alerts}"));
        all.iter().any(|alert| alert["kind"] == kind && alert["active"] == true)
    }

    pub(crate) fn state(&mut self) -> String {
        self.state_of(0)
    }

    pub(crate) fn state_of(&mut self, upstream: usize) -> String {
        let health = self.said(Socket::App, &json!({"op": "health"}));
        health["upstreams"][upstream]["state"].as_str().unwrap_or_else(|| panic!("{health}")).to_owned()
    }

    /// Numbers of the failures that were sent, in their order.
    pub(crate) fn seqs(&self) -> Vec<i64> {
        self.sent.iter().map(|sent| sent.seq).collect()
    }
}

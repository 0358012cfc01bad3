//! An agent whose clock and head office are controlled by the test, which carries out its effects like the daemon.

#![allow(dead_code, reason = "two test programs use it, each a part")]

use resyncd::agent::questions::{Answer, answer};
use resyncd::agent::{Agent, ClientId, Effect, Event, Peer, Step, StepKind};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::policy::ending::{self, ConnectError, Ending};
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::reader::Reader;
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::delivery::BodyPart;
use resyncd::wire::request::Socket;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The head office's response to this request at this agent time; `None`: to a probe.
pub(crate) type Office = fn(i64, Option<&str>) -> Ending;

/// An agent in virtual time.
pub(crate) struct Terminal {
    pub(crate) dir: PathBuf,
    config: Config,
    pub(crate) agent: Agent,
    pub(crate) at_ms: i64,
    pub(crate) office: Office,
    pub(crate) rounds: u64,
    /// The wall clock when the agent's time begins.
    born: WallTime,
}

impl Terminal {
    /// An agent that starts for the first time in this directory, at this time.
    pub(crate) fn new(dir: &Path, born: WallTime, office: Office) -> Self {
        let overrides =
            Overrides { upstream: Some(("http://127.0.0.1:9/sync".into(), "a test")), ..Overrides::default() };
        let surroundings = Environment { host_name: "till-07".into(), ..Environment::default() };
        let config = Config::load(None, &overrides, &surroundings).expect("the defaults");
        let agent = start(dir, &config, moment(born, 0));
        Self { dir: dir.to_owned(), config, agent, at_ms: 0, office, rounds: 0, born }
    }

    pub(crate) fn now(&self) -> Moment {
        moment(self.born, self.at_ms)
    }

    /// Runs rounds, answers requests and queries, until the agent has nothing to do. Returns the replies.
    pub(crate) fn settle(&mut self) -> Vec<Value> {
        let mut replies = Vec::new();
        loop {
            self.agent.tick(self.now());
            self.rounds += 1;
            let effects = self.agent.finish_round(self.now());
            let events: Vec<Event> =
                effects.into_iter().filter_map(|effect| self.carry_out(effect, &mut replies)).collect();
            let idle = events.is_empty() && self.agent.next_deadline().is_none_or(|at| at.as_millis() > self.at_ms);
            for event in events {
                self.agent.handle(self.now(), event);
            }
            if idle {
                return replies;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, replies: &mut Vec<Value>) -> Option<Event<'static>> {
        let read = |line: &[u8]| serde_json::from_slice(line).expect("JSON");
        match effect {
            Effect::Reply { line, .. } => replies.push(read(&line)),
            Effect::Send(dispatch) => {
                let text = |part: &BodyPart| match part {
                    BodyPart::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    BodyPart::Secret(name) => panic!("a secret {name}"),
                };
                let body: String = dispatch.request.body.iter().map(text).collect();
                let ending = (self.office)(self.at_ms, Some(&body));
                let took = Duration::from_millis(30 + u64::try_from(self.at_ms % 97).expect("positive"));
                let steps = vec![Step { kind: StepKind::Deliver, ending, took }];
                return Some(Event::AttemptEnded { seq: dispatch.seq, steps });
            }
            Effect::Probe { upstream } => {
                let end = match (self.office)(self.at_ms, None) {
                    Ending::Answered(answer) => {
                        ProbeEnd::Answered { status: answer.status, took: Duration::from_millis(40) }
                    }
                    _ => ProbeEnd::Silence { reason: "Connection refused".into() },
                };
                return Some(Event::Probed { upstream, end, date: None });
            }
            Effect::Ask(inquiry) => {
                let settings = StoreSettings::new(&self.dir, &Limits::default());
                let reader = Reader::open(&settings).unwrap_or_else(|error| panic!("{error}"));
                match answer(&reader, &inquiry) {
                    Answer::Line(line) => replies.push(read(&line)),
                    Answer::Selected(found) => return Some(Event::Selected { client: inquiry.client, found }),
                    Answer::MeanRetries(mean) => return Some(Event::MeanRetries(mean)),
                    Answer::Damaged(_, error) => panic!("{error}"),
                }
            }
            _ => {}
        }
        None
    }

    /// Lets time pass, from one deadline of the agent to the next.
    pub(crate) fn pass(&mut self, minutes: i64) {
        let end = self.at_ms + minutes * 60_000;
        loop {
            self.settle();
            match self.agent.next_deadline().map(AgentTime::as_millis).filter(|at| *at <= end) {
                Some(at) => self.at_ms = at.max(self.at_ms),
                None => break,
            }
        }
        self.at_ms = end;
    }

    /// A request on the admin socket, and the reply.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        let peer = Peer { uid: 0, pid: 1, name: Some("ana".into()) };
        let line = request.to_string();
        let event = Event::Line { client: ClientId(16), socket: Socket::Admin, peer: &peer, line: line.as_bytes() };
        self.agent.handle(self.now(), event);
        self.settle().into_iter().next().unwrap_or_else(|| panic!("no reply to {request}"))
    }

    /// Kills the agent and starts it again on what is on disk.
    pub(crate) fn kill(self, minutes_away: i64) -> Self {
        let Self { dir, config, agent, at_ms, office, rounds, born } = self;
        drop(agent);
        let at_ms = at_ms + minutes_away * 60_000;
        let agent = start(&dir, &config, moment(born, at_ms));
        Self { dir, config, agent, at_ms, office, rounds, born }
    }

    /// An orderly end.
    pub(crate) fn stop(mut self) {
        self.agent.handle(self.now(), Event::Stop);
        self.settle();
        self.agent.close().expect("the store closes");
    }
}

/// A response with this status, and a body that is JSON if it is not empty.
pub(crate) fn answered(status: u16, body: &str) -> Ending {
    let content_type = (!body.is_empty()).then(|| "application/json".to_owned());
    Ending::Answered(ending::Answer { status, content_type, body: body.into(), ..ending::Answer::default() })
}

/// The connection is refused.
pub(crate) fn refused() -> Ending {
    Ending::NotSent(ConnectError::NoConnection, "connecting to 127.0.0.1:9: Connection refused".into())
}

/// A `record` that is sent when its turn comes.
pub(crate) fn record(entity: &str) -> Value {
    json!({"op": "record", "entity_type": "SALE", "entity_id": entity, "action": "CREATE", "retry": "now", "error": "x"})
}

fn moment(born: WallTime, ms: i64) -> Moment {
    let since = Duration::from_millis(ms.unsigned_abs());
    Moment { agent: AgentTime::from_millis(ms), wall: born.after(since) }
}

fn start(dir: &Path, config: &Config, now: Moment) -> Agent {
    let settings = StoreSettings::new(dir, &Limits::default());
    let store = Store::open(settings, now.wall).unwrap_or_else(|error| panic!("{error}"));
    Agent::start(store, config, 7, now).expect("an agent")
}

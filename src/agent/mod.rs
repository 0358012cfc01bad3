//! Floor 4: the agent, a state machine that ties policy to the store.
//!
//! ```text
//!            ┌────────────────────── a round ───────────────────────┐
//! events ──→ │ handle … handle → tick → one COMMIT → answers, claims │ ──→ effects
//!            └──────────────────────────────────────────────────────┘
//! ```
//!
//! Whoever drives it (the daemon's loop, a simulation, a command without a daemon) hands in events
//! with the time at which they happened, ends the round with [`Agent::finish_round`], and carries
//! out the effects that come back. The agent has no clock, network, thread or randomness of its own:
//! the same events at the same times give the same effects.
//!
//! **After the commit, not before.** Replies, and the claim of what is sent next, come after the
//! round's commit has returned. So an acknowledged failure is on disk, and a failure is first sent
//! when the leaving of its predecessor is.
//!
//! **When a commit fails** the records of the round are answered with an error, and its outcomes are
//! kept and written alone until that succeeds ([`delivery`]); until then nothing is sent.
//!
//! - [`recording`]: one record, from the request to its place in the table.
//! - [`delivery`]: claiming what is due, and what becomes of a try.
//! - [`operations`]: what people ask for.
//! - [`questions`]: what is only read.
//! - [`upkeep`]: work in chunks, between the rounds of others.

pub mod delivery;
pub mod operations;
pub mod questions;
pub mod recording;
pub mod upkeep;

use crate::config::{Config, Retry, Upstream as UpstreamConfig};
use crate::ids::{FailureName, IdSource, Seq};
use crate::limits::{BULK_CHUNK, Limits, MAX_QUESTIONS};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::class::{Ending, Target};
use crate::policy::probe::ProbeEnd;
use crate::policy::upstream::{Pace, Upstream};
use crate::question::{Filter, Question, View};
use crate::store::audit::Actor;
use crate::store::{Room, Store, StoreError};
use crate::wire::envelope::HttpRequest;
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply;
use crate::wire::request::{self, Request, Signature, Socket};
use delivery::{InFlight, Outcome};
use operations::Campaign;
use questions::Facts;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use upkeep::{Chunk, Upkeep};

/// A client, as the driver names it; replies come back under the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The user, as the socket proves it.
    pub uid: u32,
    /// The process that connected.
    pub pid: u32,
    /// The user's name, where it is known.
    pub name: Option<String>,
}

/// What happens to the agent.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client sent a line.
    Line {
        /// Who.
        client: ClientId,
        /// Through which socket.
        socket: Socket,
        /// Who that is.
        peer: &'a Peer,
        /// Without its end.
        line: &'a [u8],
    },
    /// A request has ended.
    Tried {
        /// Of which failure.
        seq: Seq,
        /// How.
        ending: Ending,
        /// How long it took.
        took: Duration,
    },
    /// A probe has ended.
    Probed {
        /// Of which upstream.
        upstream: usize,
        /// How.
        end: ProbeEnd,
        /// The upstream's clock, where it told.
        date: Option<WallTime>,
    },
    /// The reader has found what a bulk operation means.
    Selected {
        /// For whom.
        client: ClientId,
        /// The next numbers, fewer than asked for at the end; or why it could not.
        found: Result<Vec<Seq>, String>,
    },
    /// The free space of the file system.
    DiskFree(u64),
    /// No new work from now on.
    Stop,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Send a reply line to a client.
    Reply {
        /// To whom.
        client: ClientId,
        /// With its end.
        line: Vec<u8>,
    },
    /// Have the reader answer.
    Ask(Box<Inquiry>),
    /// Send a request.
    Send(Box<Dispatch>),
    /// Ask an upstream whether it is there.
    Probe {
        /// Which.
        upstream: usize,
    },
}

/// A question for the reader.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// Who asks.
    pub client: ClientId,
    /// What.
    pub question: Question,
    /// How much it may see.
    pub view: View,
    /// What comes back in the reply.
    pub reference: Option<Box<RawValue>>,
    /// What only the agent knows.
    pub facts: Facts,
}

/// A request for a sender.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Of which failure.
    pub seq: Seq,
    /// To which upstream.
    pub upstream: usize,
    /// The request.
    pub request: HttpRequest,
}

/// May the client's next line be handed in?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Go,
    /// Not before this one has been answered, so that replies keep the order of their requests.
    Wait,
}

/// One configured upstream and where it stands.
#[derive(Debug)]
struct Line {
    config: UpstreamConfig,
    pace: Pace,
    target: Target,
    state: Upstream,
    /// As it was last stored.
    stored: String,
}

/// What a client waits for until the round is committed.
#[derive(Debug)]
enum Pending {
    /// A line that says what was stored, or the rejection when it could not be.
    Stored { line: Vec<u8>, reference: Option<Box<RawValue>> },
    /// A line that depends on nothing.
    Ready(Vec<u8>),
    /// A failure as it is after the commit.
    Get { name: FailureName, view: View, reference: Option<Box<RawValue>> },
    /// A question for the reader, who sees what is committed.
    Ask { question: Question, view: View, reference: Option<Box<RawValue>> },
}

/// What has happened since the last commit.
#[derive(Debug, Default)]
struct Round {
    replies: Vec<(ClientId, Pending)>,
    outcomes: Vec<Outcome>,
    /// The first statement that failed; nothing more is written in this round.
    failed: Option<StoreError>,
    /// What the quota said at the round's first record.
    room: Option<Room>,
    /// The chunk of upkeep that was done.
    chunk: Option<Chunk>,
    /// Something was deleted, so there may be pages to give back.
    deleted: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Agent {
    store: Store,
    terminal_id: String,
    store_id: Option<String>,
    limits: Limits,
    retry: Retry,
    lines: Vec<Line>,
    ids: IdSource,
    random: fastrand::Rng,
    in_flight: BTreeMap<Seq, InFlight>,
    /// Outcomes whose commit failed.
    unsettled: Vec<Outcome>,
    settle: delivery::Settling,
    campaigns: BTreeMap<ClientId, Campaign>,
    upkeep: VecDeque<Upkeep>,
    round: Round,
    disk_free: Option<u64>,
    stopping: bool,
    next: Option<AgentTime>,
}

impl Agent {
    /// An agent over an open store. Two agents with the same seed, store and events do the same.
    pub fn start(store: Store, config: &Config, seed: u64, now: Moment) -> Result<Self, StoreError> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut lines = Vec::new();
        for upstream in config.upstream.as_slice() {
            let known = store.upstream(&upstream.name)?;
            let mut state = known.unwrap_or_else(|| Upstream::new(now));
            state.start(now);
            lines.push(Line {
                pace: Pace { concurrency: upstream.concurrency, max_pause: upstream.max_pause },
                target: Target::of(&upstream.url),
                config: upstream.clone(),
                state,
                stored: String::new(),
            });
        }
        let mut agent = Self {
            store,
            terminal_id: config.agent.terminal_id.clone(),
            store_id: config.agent.store_id.clone(),
            limits: config.limits.clone(),
            retry: config.retry.clone(),
            lines,
            ids: IdSource::new(random.u64(..)),
            random,
            in_flight: BTreeMap::new(),
            unsettled: Vec::new(),
            settle: delivery::Settling::default(),
            campaigns: BTreeMap::new(),
            upkeep: VecDeque::new(),
            round: Round::default(),
            disk_free: None,
            stopping: false,
            next: Some(now.agent),
        };
        agent.plan_upkeep()?;
        Ok(agent)
    }

    /// Takes one event. What it changes is only certain after the round.
    pub fn handle(&mut self, now: Moment, event: Event) -> Flow {
        match event {
            Event::Line { client, socket, peer, line } => return self.line(now, client, socket, peer, line),
            Event::Tried { seq, ending, took } => self.tried(now, seq, &ending, took),
            Event::Probed { upstream, end, date } => self.probed(now, upstream, &end, date),
            Event::Selected { client, found } => self.selected(now, client, found),
            Event::DiskFree(bytes) => self.disk_free = Some(bytes),
            Event::Stop => self.stopping = true,
        }
        Flow::Go
    }

    /// Does what is due by itself: outcomes that could not be written, upkeep.
    pub fn tick(&mut self, now: Moment) {
        self.settle_again(now);
        self.upkeep(now);
    }

    /// Commits the round, and tells what is to be done now.
    pub fn finish_round(&mut self, now: Moment) -> Vec<Effect> {
        self.keep_lines(now);
        let committed = self.commit(now);
        let round = std::mem::take(&mut self.round);
        self.chunk_ended(round.chunk, committed.is_ok());
        let rejection = match committed {
            Ok(()) => {
                self.land(&round.outcomes);
                None
            }
            Err(error) => {
                log::error!("event=commit_failed error={:?}", error.to_string());
                self.fail(now, round.outcomes, &error);
                Some(rejection_of(&error))
            }
        };
        let mut effects = Vec::with_capacity(round.replies.len());
        self.answer(now, round.replies, rejection.as_ref(), &mut effects);
        self.schedule(now, &mut effects);
        effects
    }

    fn commit(&mut self, now: Moment) -> Result<(), StoreError> {
        if let Some(error) = self.round.failed.take() {
            self.store.rollback();
            return Err(error);
        }
        if let (true, Err(error)) = (self.round.deleted, self.store.shrink()) {
            self.store.rollback();
            return Err(error);
        }
        self.store.commit(now)
    }

    /// When to come back without an event; `None`: never.
    #[must_use]
    pub fn next_deadline(&self) -> Option<AgentTime> {
        self.next
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Outcomes that are not on disk yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// The configured upstreams, by the numbers of the effects.
    pub fn upstreams(&self) -> impl Iterator<Item = &UpstreamConfig> {
        self.lines.iter().map(|line| &line.config)
    }

    /// Ends the agent and closes its store.
    pub fn close(self) -> Result<(), StoreError> {
        self.store.close()
    }

    // ---- lines

    fn line(&mut self, now: Moment, client: ClientId, socket: Socket, peer: &Peer, line: &[u8]) -> Flow {
        let line = request::parse(line, socket, &self.limits);
        let reference = line.reference;
        let kept = || reference.map(ToOwned::to_owned);
        let view = if socket == Socket::Admin { View::Admin } else { View::Application };
        let ask = |question| Pending::Ask { question, view, reference: kept() };
        let (pending, flow) = match line.request {
            Err(rejection) => (Pending::Ready(reply::error(&rejection, reference)), Flow::Go),
            Ok(Request::Hello) => (Pending::Ready(self.hello(socket, reference)), Flow::Go),
            Ok(Request::Record(new)) => (self.record(now, peer, &new, reference), Flow::Go),
            Ok(Request::Get(name)) => (Pending::Get { name, view, reference: kept() }, Flow::Go),
            Ok(Request::Unsent) => (ask(Question::Unsent), Flow::Wait),
            Ok(Request::Health) => (ask(Question::Health), Flow::Wait),
            Ok(Request::List(query)) => (ask(Question::List(query)), Flow::Wait),
            Ok(Request::History(name)) => (ask(Question::History(name)), Flow::Wait),
            Ok(Request::Bulk(bulk)) => {
                return self.bulk(now, client, peer, bulk, reference);
            }
            Ok(Request::Pause { upstream, by }) => {
                (self.gate(now, peer, &by, upstream.as_deref(), operations::Gate::Pause, reference), Flow::Go)
            }
            Ok(Request::Resume { upstream, by }) => {
                (self.gate(now, peer, &by, upstream.as_deref(), operations::Gate::Resume, reference), Flow::Go)
            }
        };
        self.round.replies.push((client, pending));
        flow
    }

    /// Sends what the round's clients wait for; `failed` says why nothing of it was stored.
    fn answer(
        &mut self,
        now: Moment,
        replies: Vec<(ClientId, Pending)>,
        failed: Option<&Rejection>,
        effects: &mut Vec<Effect>,
    ) {
        for (client, pending) in replies {
            let line = match (pending, failed) {
                (Pending::Ready(line) | Pending::Stored { line, .. }, None) | (Pending::Ready(line), Some(_)) => line,
                (Pending::Stored { reference, .. }, Some(rejection)) => reply::error(rejection, reference.as_deref()),
                (Pending::Get { name, view, reference }, _) => self.get(now, &name, view, reference.as_deref()),
                (Pending::Ask { question, view, reference }, _) => {
                    let facts = self.facts(now);
                    effects.push(Effect::Ask(Box::new(Inquiry { client, question, view, reference, facts })));
                    continue;
                }
            };
            effects.push(Effect::Reply { client, line });
        }
    }

    /// Runs statements of the open round; the first that fails ends the round's writing.
    fn write<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, Rejection> {
        if let Some(error) = &self.round.failed {
            return Err(rejection_of(error));
        }
        let done = self.store.begin().and_then(|()| work(self));
        done.map_err(|error| {
            let rejection = rejection_of(&error);
            self.round.failed = Some(error);
            rejection
        })
    }
}

/// What a failed statement or commit is to a client.
fn rejection_of(error: &StoreError) -> Rejection {
    match error {
        StoreError::Full(_) => Rejection::new(Code::DiskFull, "the disk is full, or the database is at its hard limit"),
        StoreError::Locked(_) => Rejection::new(Code::Storage, format!("{error}; nothing was stored")),
        StoreError::Failed(_) => {
            Rejection::new(Code::Storage, format!("{error}; send it again with the same idempotency_key"))
        }
    }
}

/// Who did it, for the audit.
fn actor(peer: &Peer, by: &Signature) -> Actor {
    Actor { uid: Some(peer.uid), name: peer.name.clone(), claimed_by: by.claimed_by.clone() }
}

/// The question that finds the next chunk of a bulk operation.
fn selection(filter: &Filter, after: Seq) -> Question {
    Question::Select { filter: filter.clone(), after, limit: BULK_CHUNK }
}

/// Is there room for one more bulk operation?
fn crowded(campaigns: usize) -> bool {
    campaigns >= MAX_QUESTIONS
}

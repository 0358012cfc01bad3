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
//! kept and written alone until that succeeds (`settling`); until then nothing is sent.
//!
//! - [`events`]: what goes in and what comes out.
//! - `recording`: one record, from the request to its place in the table; `importing`: one that comes
//!   from elsewhere; `cards`: card numbers in them.
//! - `line`: one upstream and where it stands.
//! - `claiming`: what goes out, `ahead` of its turn as well; `outcomes`: what comes back; `routing`: where to; `filing`:
//!   what the policy remembers of a failure, in its row.
//! - `operations`: what people ask for; `editing`: what they change.
//! - [`questions`]: what is only read; `accounts`: what was tried and done; `measuring`: what is counted
//!   on the way; `sampling`: the time series.
//! - `leaving`: what leaves undelivered, by a person's word or by `cleaning`, the clean-up.
//! - `upkeep`: work in chunks, between the rounds of others.
//! - [`alerting`]: what people are told of.
//! - `adopting`: what the store has become when it was opened.
//! - `reloading`: a changed configuration comes into force.

mod accounts;
mod adopting;
mod ahead;
pub mod alerting;
mod cards;
mod claiming;
mod cleaning;
mod editing;
pub mod events;
mod filing;
mod importing;
mod leaving;
mod line;
mod measuring;
mod operations;
mod outcomes;
pub mod questions;
mod recording;
mod reloading;
mod routing;
mod sampling;
mod settling;
mod upkeep;

use crate::config::{Config, Upstream as UpstreamConfig};
use crate::ids::{FailureName, IdSource, Seq};
use crate::limits::{BULK_CHUNK, Limits, MAX_QUESTIONS};
use crate::moment::{AgentTime, Moment};
use crate::policy::class::Ending;
use crate::question::{self, Filter, View};
use crate::store::audit::Actor;
use crate::store::open::OpenError;
use crate::store::{Room, Store, StoreError};
use crate::wire::fields::{Code, Rejection};
use crate::wire::operation::Signature;
use crate::wire::reply;
use crate::wire::request::{self, Request, Socket};
pub use alerting::Telling;
use alerting::Watch;
use cards::CardWarnings;
use cleaning::CleaningPlan;
pub use events::{Asker, ClientId, Dispatch, Effect, Event, Finding, Flow, Inquiry, Peer, Question, Step, StepKind};
use leaving::Exodus;
use line::Line;
use measuring::Counting;
use operations::{Campaign, Gate};
use outcomes::{InFlight, Outcome};
use reloading::Reload;
use serde_json::value::RawValue;
use settling::Settling;
use std::collections::{BTreeMap, VecDeque};
use upkeep::{Chunk, Upkeep};

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
    Ask { question: question::Question, view: View, reference: Option<Box<RawValue>> },
    /// The configuration's files, which the driver reads.
    Reload { reference: Option<Box<RawValue>> },
}

/// What has happened since the last commit.
#[derive(Debug, Default)]
struct Round {
    replies: Vec<(ClientId, Pending)>,
    outcomes: Vec<Outcome>,
    /// Upstreams that a person pauses or resumes; done with the commit.
    gates: Vec<(usize, Gate)>,
    /// The first statement that failed; nothing more is written in this round.
    failed: Option<StoreError>,
    /// What the quota said at the round's first record.
    room: Option<Room>,
    /// The chunk of upkeep that was done.
    chunk: Option<Chunk>,
    /// What has left a chunk of failures; `true`: that was all of it.
    exodus: Option<(Exodus, bool)>,
    /// Alerts were stored with it.
    keeps_alerts: bool,
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
    lines: Vec<Line>,
    ids: IdSource,
    random: fastrand::Rng,
    in_flight: BTreeMap<Seq, InFlight>,
    /// Requests held ready by senders, for each that may be under way.
    ahead_each: usize,
    /// Outcomes whose commit failed.
    unsettled: Vec<Outcome>,
    settle: Settling,
    /// Failures of which no request could be built.
    unbuilt: Vec<(Seq, Ending)>,
    campaigns: BTreeMap<ClientId, Campaign>,
    upkeep: VecDeque<Upkeep>,
    cleaning: CleaningPlan,
    exodus: VecDeque<Exodus>,
    round: Round,
    disk_free: Option<u64>,
    log_size: u64,
    counting: Counting,
    watch: Watch,
    card_warnings: CardWarnings,
    /// What is in force.
    config: Config,
    /// What comes into force when the requests that it concerns have ended.
    reload: Option<Reload>,
    /// What `health` says of a changed configuration that was wrong.
    refused_reload: Option<String>,
    stopping: bool,
    next: Option<AgentTime>,
}

impl Agent {
    /// An agent over an open store. Two agents with the same seed, store and events do the same.
    pub fn start(mut store: Store, config: &Config, seed: u64, now: Moment) -> Result<Self, StoreError> {
        let mut random = fastrand::Rng::with_seed(seed);
        let lines = match Line::all(&store, config, now) {
            Err(error @ StoreError::Damaged(_)) => {
                let fails = |why: &OpenError| log::error!("event=reopen_failed error={:?}", why.to_string());
                let mut open = || {
                    store.reopen(now.wall, true)?;
                    while !store.recover(now.wall)? {}
                    Ok(())
                };
                open().inspect_err(fails).map_err(|_| error)?;
                Line::all(&store, config, now)?
            }
            lines => lines?,
        };
        let mut agent = Self {
            store,
            terminal_id: config.agent.terminal_id.clone(),
            store_id: config.agent.store_id.clone(),
            limits: config.limits.clone(),
            lines,
            ids: IdSource::new(random.u64(..)),
            random,
            in_flight: BTreeMap::new(),
            ahead_each: 0,
            unsettled: Vec::new(),
            settle: Settling::default(),
            unbuilt: Vec::new(),
            campaigns: BTreeMap::new(),
            upkeep: VecDeque::new(),
            cleaning: CleaningPlan::default(),
            exodus: VecDeque::new(),
            round: Round::default(),
            disk_free: None,
            log_size: 0,
            counting: Counting::default(),
            watch: Watch::new(&config.alerts, &config.heartbeat),
            card_warnings: CardWarnings::default(),
            config: config.clone(),
            reload: None,
            refused_reload: None,
            stopping: false,
            next: Some(now.agent),
        };
        if let Err(error) = agent.adopt(now).and_then(|()| agent.plan_cleaning(now)) {
            agent.settle.met(now.agent, &error);
            if agent.settle.refusal().is_none() {
                return Err(error);
            }
        }
        Ok(agent)
    }

    /// Takes one event. What it changes is only certain after the round.
    pub fn handle(&mut self, now: Moment, event: Event) -> Flow {
        self.turn_series(now.agent);
        match event {
            Event::Line { client, socket, peer, line } => return self.line(now, client, socket, peer, line),
            Event::Tried { seq, steps } => self.tried(now, seq, &steps),
            Event::Begun { seq, at } => self.begun(now, seq, at),
            Event::Unsent(seqs) => self.unsent(now, &seqs),
            Event::Probed { upstream, end, date } => self.probed(now, upstream, &end, date),
            Event::LoggingIn { upstream, is } => self.lines[upstream].state.logging_in(is),
            Event::Selected { client, found } => self.selected(now, client, found),
            Event::MeanRetries(mean) => self.watch.mean_is(mean),
            Event::Damaged(error) => self.settle.met(now.agent, &error),
            Event::DiskFree(bytes) => {
                self.disk_free = Some(bytes);
                self.store.disk_has(bytes);
            }
            Event::LogSize(bytes) => self.log_is(bytes),
            Event::LinkChanged => {
                for line in &mut self.lines {
                    line.state.link_changed(now.agent, &mut self.random);
                }
            }
            Event::ClockStepped => self.lines.iter_mut().for_each(|line| line.state.clock_stepped(now.agent)),
            Event::Answered { took, rejected } => self.answered(took, rejected),
            Event::Reread { asker, found } => self.reread(asker, found),
            Event::Stop => self.stopping = true,
        }
        Flow::Go
    }

    /// Does what is due by itself: outcomes that could not be written, upkeep.
    pub fn tick(&mut self, now: Moment) {
        self.turn_series(now.agent);
        self.settle_again(now);
        self.look_for_strangers(now);
        self.end_unbuilt(now);
        self.upkeep(now);
        self.leave(now);
    }

    /// Commits the round, and tells what is to be done now.
    pub fn finish_round(&mut self, now: Moment) -> Vec<Effect> {
        let before = self.turn_gates(now);
        self.keep_lines(now);
        self.keep_cleaning();
        let committed = self.commit(now);
        let mut round = std::mem::take(&mut self.round);
        self.chunk_ended(round.chunk.take(), committed.is_ok());
        self.alerts_kept(round.keeps_alerts, committed.is_ok());
        self.count_round(&round.outcomes, committed.is_ok());
        let rejection = match committed {
            Ok(()) => {
                self.land(&round.outcomes);
                None
            }
            Err(error) => {
                log::error!("event=commit_failed error={:?}", error.to_string());
                self.turn_back(before);
                self.fail(now, std::mem::take(&mut round.outcomes), &error);
                Some(rejection_of(&error))
            }
        };
        self.chunk_left(&mut round, rejection.as_ref());
        let mut effects = Vec::with_capacity(round.replies.len());
        self.answer(now, round.replies, rejection.as_ref(), &mut effects);
        self.schedule(now, &mut effects);
        effects
    }

    fn commit(&mut self, now: Moment) -> Result<(), StoreError> {
        self.judge_alerts(now);
        self.keep_series(now);
        if let Some(error) = self.round.failed.take() {
            self.store.rollback();
            return Err(error);
        }
        if self.round.deleted
            && let Err(error) = self.store.shrink()
        {
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

    /// Is there something to commit?
    #[must_use]
    pub fn is_in_round(&self) -> bool {
        self.store.is_in_round()
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
            Ok(Request::Unsent) => (ask(question::Question::Unsent), Flow::Wait),
            Ok(Request::Health) => (ask(question::Question::Health), Flow::Wait),
            Ok(Request::Alerts) => (ask(question::Question::Alerts), Flow::Wait),
            Ok(Request::List(query)) => (ask(question::Question::List(query)), Flow::Wait),
            Ok(Request::Metrics) => (ask(question::Question::Metrics), Flow::Wait),
            Ok(Request::History(query)) => (ask(question::Question::History(query)), Flow::Wait),
            Ok(Request::Stats { since }) => (ask(question::Question::statistics(since, now.wall)), Flow::Wait),
            Ok(Request::Series { since }) => (ask(question::Question::series(since, now.wall)), Flow::Wait),
            Ok(Request::Digest { since }) => (ask(question::Question::digest(since, now.wall)), Flow::Wait),
            Ok(Request::Bulk(bulk)) => {
                return self.bulk(now, client, peer, bulk, reference);
            }
            Ok(Request::Edit(edit)) => (self.edit(now, peer, &edit, reference), Flow::Go),
            Ok(Request::Import(import)) => (self.import(now, peer, &import, reference), Flow::Go),
            Ok(Request::Discard(discard)) => return self.discard(client, peer, discard, reference),
            Ok(Request::CleanUp(asked)) => return self.clean_up(now, client, peer, asked, reference),
            Ok(Request::Pause { upstream, by }) => {
                (self.gate(now, peer, &by, upstream.as_deref(), Gate::Pause, reference), Flow::Go)
            }
            Ok(Request::Resume { upstream, by }) => {
                (self.gate(now, peer, &by, upstream.as_deref(), Gate::Resume, reference), Flow::Go)
            }
            Ok(Request::Reload(by)) => (self.reload(now, peer, &by, reference), Flow::Wait),
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
                (Pending::Stored { reference, .. } | Pending::Reload { reference }, Some(rejection)) => {
                    reply::error(rejection, reference.as_deref())
                }
                (Pending::Get { name, view, reference }, _) => {
                    let found = self.store.look(&name);
                    if let Err(error) = &found {
                        self.settle.met(now.agent, error);
                    }
                    self.get(now, &name, view, found, reference.as_deref())
                }
                (Pending::Reload { reference }, None) => {
                    effects.push(Effect::Reread(Asker { client, reference }));
                    continue;
                }
                (Pending::Ask { question, view, reference }, _) => {
                    let facts = self.facts_for(&question, now);
                    effects.push(Effect::Ask(Box::new(Inquiry { client, question, view, reference, facts })));
                    continue;
                }
            };
            effects.push(Effect::Reply { client, line });
        }
    }

    /// Runs statements of the open round; the first that fails ends the round's writing. Nothing is
    /// written to a file that has to be opened anew first.
    fn write<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, Rejection> {
        if let Some(refusal) = self.settle.refusal() {
            return Err(refusal);
        }
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
        StoreError::Failed(_) | StoreError::Damaged(_) | StoreError::Replaced => {
            Rejection::new(Code::Storage, format!("{error}; send it again with the same idempotency_key"))
        }
    }
}

/// Who did it, for the audit.
fn actor(peer: &Peer, by: &Signature) -> Actor {
    Actor { uid: Some(peer.uid), name: peer.name.clone(), claimed_by: by.claimed_by.clone() }
}

/// The question that finds the next chunk of a bulk operation.
fn selection(filter: &Filter, after: Seq) -> question::Question {
    question::Question::Select { filter: filter.clone(), after, limit: BULK_CHUNK }
}

/// Is there room for one more bulk operation?
fn crowded(campaigns: usize) -> bool {
    campaigns >= MAX_QUESTIONS
}

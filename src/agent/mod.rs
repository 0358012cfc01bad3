//! The agent layer: a state machine that connects policy and store.
//!
//! ```text
//!            ┌────────────────────── a round ───────────────────────┐
//! events ──→ │ handle … handle → tick → one COMMIT → answers, claims │ ──→ effects
//!            └──────────────────────────────────────────────────────┘
//! ```
//!
//! The driver (the daemon's loop, a simulation, a command without a daemon) hands in events with the time at which they
//! happened, ends the round with [`Agent::finish_round`], and performs the effects that it returns. The agent has no
//! clock, network, thread or randomness of its own: the same events at the same times give the same effects.
//!
//! **Effects follow the commit.** Replies, and the claim of the next requests, come after the round's commit has
//! returned. So an acknowledged failure is on disk, and a failure is first sent when its predecessor's removal is on
//! disk.
//!
//! **When a commit fails** the records of the round are answered with an error, and its outcomes are kept and written
//! alone until that succeeds (`write_recovery`); until then nothing is sent.
//!
//! - [`events`]: inputs and outputs.
//! - `recording`: one record, from the request to its place in the table; `importing`: one that comes
//!   from elsewhere; `replaying`: one that was delivered and comes back; `cards`: card numbers in them.
//! - `upstream_entry`: one upstream at run time.
//! - `dispatch`: starts requests, `prefetch` before their turn as well; `outcomes`: their results; `routing`: the
//!   upstream of a failure; `retry_columns`: what the policy remembers of a failure, in its row.
//! - `operations`: what people ask for; `editing`: what they change.
//! - [`questions`]: what is only read; `accounts`: what was tried and done; `counters`: what is counted
//!   on the way; `timeseries`: the time series.
//! - `delivered`: what leaves delivered, into the archive. `removal`: what leaves undelivered, by a person's word or by
//!   `retention`, the clean-up.
//! - `odd`: rows that cannot be read are taken out of the way.
//! - `maintenance`: work in chunks, between the rounds of others.
//! - [`alerting`] evaluates alerts.
//! - `store_reopened`: what the store has become when it was opened.
//! - `reloading`: a changed configuration comes into force.

mod accounts;
pub mod alerting;
mod cards;
mod counters;
mod delivered;
mod dispatch;
mod editing;
pub mod events;
pub mod facts;
mod importing;
mod maintenance;
mod named;
mod odd;
mod operations;
mod outcomes;
mod prefetch;
pub mod questions;
mod recording;
mod reloading;
mod removal;
mod removal_job;
mod replaying;
mod retention;
mod retry_columns;
mod routing;
mod store_reopened;
mod timeseries;
mod upstream_entry;
mod write_recovery;

use crate::config::{Config, Upstream as UpstreamConfig};
use crate::ids::{FailureName, IdSource, Seq};
use crate::limits::{BULK_CHUNK, Limits, MAX_QUESTIONS};
use crate::moment::{AgentTime, Moment};
use crate::policy::ending::Ending;
use crate::question::{self, Filter, View};
use crate::store::audit::Actor;
use crate::store::open_error::OpenError;
use crate::store::rows::Found;
use crate::store::{Room, Store, StoreError};
use crate::wire::fields::{Code, Rejection, legible};
use crate::wire::operation::RequestedBy;
use crate::wire::reply;
use crate::wire::request::{self, Request, Socket};
pub use alerting::Notification;
use alerting::Watch;
use cards::CardWarnings;
use counters::Counting;
use delivered::Delivered;
pub use events::{
    Asker, ClientId, Dispatch, Effect, Event, Finding, Flow, Peer, Question, ReaderRequest, Step, StepKind,
};
use maintenance::{Chunk, MaintenanceJob};
use operations::{BulkJob, Gate};
use outcomes::{InFlight, Outcome};
use reloading::Reload;
use removal_job::RemovalJob;
use retention::RetentionSchedule;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use upstream_entry::UpstreamEntry;
use write_recovery::WriteRecovery;

/// A reply that waits for the round's commit.
#[derive(Debug)]
enum Pending {
    /// An encoded reply that depends on stored data, the open round included. If the round is not committed, the client
    /// gets its rejection instead.
    Stored { line: Vec<u8>, reference: Option<Box<RawValue>> },
    /// An encoded reply that does not depend on the open round.
    Ready(Vec<u8>),
    /// A part of a bulk operation, and the query that selects the next part.
    Part { job: Box<BulkJob>, rest: Option<question::Question> },
    /// A failure as of after the commit.
    Get { name: FailureName, view: View, reference: Option<Box<RawValue>> },
    /// A query for the reader, which sees committed data.
    Ask { question: question::Question, view: View, reference: Option<Box<RawValue>> },
    /// A reload, for which the driver reads the configuration files.
    Reload { reference: Option<Box<RawValue>> },
}

/// The changes since the last commit.
#[derive(Debug, Default)]
struct Round {
    replies: Vec<(ClientId, Pending)>,
    outcomes: Vec<Outcome>,
    /// Upstreams that an operator pauses or resumes, applied with the commit.
    gates: Vec<(usize, Gate)>,
    /// The first statement that failed; nothing more is written in this round.
    failed: Option<StoreError>,
    /// The quota's state at the round's first record.
    room: Option<Room>,
    /// The chunk of upkeep that was done.
    chunk: Option<Chunk>,
    /// The removal job of this round; `true`: it is complete.
    removal: Option<(RemovalJob, bool)>,
    /// The round stores alerts.
    keeps_alerts: bool,
    /// Number of history rows deleted to make space for live failures.
    shortened: usize,
    /// Rows were deleted, so the file may shrink.
    deleted: bool,
}

/// The state machine of the agent layer.
#[derive(Debug)]
pub struct Agent {
    store: Store,
    terminal_id: String,
    store_id: Option<String>,
    limits: Limits,
    upstreams: Vec<UpstreamEntry>,
    ids: IdSource,
    random: fastrand::Rng,
    in_flight: BTreeMap<Seq, InFlight>,
    /// Those that were in flight at a foreign write: their order may not be that of their row any more.
    doubtful_in_flight: BTreeSet<Seq>,
    /// Requests that senders prefetch for each that may be in flight.
    prefetch_per_slot: usize,
    /// Outcomes whose commit failed.
    unwritten_outcomes: Vec<Outcome>,
    write_recovery: WriteRecovery,
    delivered: Delivered,
    /// Failures of which no request could be built.
    unbuilt: Vec<(Seq, Ending)>,
    /// Requests to send once the disk records them.
    announced: Vec<Dispatch>,
    /// When to retry moving unreadable rows; `None`: at once.
    odd_again: Option<AgentTime>,
    bulk_jobs: BTreeMap<ClientId, BulkJob>,
    /// Maximum number of failures that an operation changes in one round.
    chunk: usize,
    upkeep: VecDeque<MaintenanceJob>,
    cleaning: RetentionSchedule,
    removals: VecDeque<RemovalJob>,
    round: Round,
    disk_free: Option<u64>,
    log_size: u64,
    /// What keeps clients from connecting, for `health`.
    socket_trouble: Vec<String>,
    counting: Counting,
    watch: Watch,
    card_warnings: CardWarnings,
    /// The configuration in force.
    config: Config,
    /// A configuration that comes into force when the requests that it affects have ended.
    reload: Option<Reload>,
    /// The `health` message for a changed configuration that was refused.
    refused_reload: Option<String>,
    stopping: bool,
    next: Option<AgentTime>,
}

impl Agent {
    /// Starts an agent on an open store. Agents with the same seed, store and events behave identically.
    pub fn start(mut store: Store, config: &Config, seed: u64, now: Moment) -> Result<Self, StoreError> {
        let mut random = fastrand::Rng::with_seed(seed);
        let lines = match UpstreamEntry::all(&store, config, now) {
            Err(error @ StoreError::Damaged(_)) => {
                let fails = |why: &OpenError| log::error!("event=reopen_failed error={:?}", why.to_string());
                let mut open = || {
                    store.reopen_at_length(now.wall, true)?;
                    while !store.is_beside() && !store.recover(now.wall)? {}
                    Ok(())
                };
                open().inspect_err(fails).map_err(|_| error)?;
                UpstreamEntry::all(&store, config, now)?
            }
            lines => lines?,
        };
        let mut agent = Self {
            store,
            terminal_id: config.agent.terminal_id.clone(),
            store_id: config.agent.store_id.clone(),
            limits: config.limits.clone(),
            upstreams: lines,
            ids: IdSource::new(random.u64(..)),
            random,
            in_flight: BTreeMap::new(),
            doubtful_in_flight: BTreeSet::new(),
            prefetch_per_slot: 0,
            unwritten_outcomes: Vec::new(),
            write_recovery: WriteRecovery::default(),
            delivered: Delivered::default(),
            unbuilt: Vec::new(),
            announced: Vec::new(),
            odd_again: None,
            bulk_jobs: BTreeMap::new(),
            chunk: BULK_CHUNK,
            upkeep: VecDeque::new(),
            cleaning: RetentionSchedule::default(),
            removals: VecDeque::new(),
            round: Round::default(),
            disk_free: None,
            log_size: 0,
            socket_trouble: Vec::new(),
            counting: Counting::default(),
            watch: Watch::new(&config.alerts, &config.heartbeat),
            card_warnings: CardWarnings::default(),
            config: config.clone(),
            reload: None,
            refused_reload: None,
            stopping: false,
            next: Some(now.agent),
        };
        if agent.store.is_beside() {
            agent.write_recovery.salvages_beside(now.agent, true);
        }
        if let Err(error) = agent.adopt(now).and_then(|()| agent.plan_cleaning(now)) {
            agent.write_recovery.met(now.agent, &error);
            if agent.write_recovery.refusal().is_none() && !matches!(error, StoreError::Odd { .. }) {
                return Err(error);
            }
        }
        Ok(agent)
    }

    /// Applies one event. Its effects become durable when the round commits.
    pub fn handle(&mut self, now: Moment, event: Event) -> Flow {
        self.roll_interval(now.agent);
        match event {
            Event::Line { client, socket, peer, line } => return self.line(now, client, socket, peer, line),
            Event::AttemptEnded { seq, steps } => self.tried(now, seq, &steps),
            Event::Begun { seq, at } => self.begun(now, seq, at),
            Event::Unsent(seqs) => self.unsent(now, &seqs),
            Event::Probed { upstream, end, date } => self.probed(now, upstream, &end, date),
            Event::LoggingIn { upstream, is } => self.upstreams[upstream].state.logging_in(is),
            Event::Selected { client, found } => self.selected(now, client, found),
            Event::MeanRetries(mean) => self.watch.mean_is(mean),
            Event::Damaged(StoreError::Odd { failures, .. }) => self.store.note_odd(&failures),
            Event::Damaged(error) => self.write_recovery.met(now.agent, &error),
            // The table is incomplete during a salvage; it is recounted at the end.
            Event::Miscounted if self.store.is_beside() => {}
            Event::Miscounted => self.store.doubt(),
            Event::DiskFree(bytes) => {
                self.disk_free = Some(bytes);
                self.store.disk_has(bytes);
                self.plan_shrinking(now, bytes);
                self.give_up_archive(now);
                self.look_at_place(now);
            }
            Event::LogSize(bytes) => self.log_is(now, bytes),
            Event::LinkChanged => {
                for line in &mut self.upstreams {
                    line.state.link_changed(now.agent, &mut self.random);
                }
            }
            Event::ClockStepped => self.upstreams.iter_mut().for_each(|line| line.state.clock_stepped(now.agent)),
            Event::Sockets(trouble) => self.socket_trouble = trouble,
            Event::Answered { took, rejected } => self.answered(took, rejected),
            Event::Reread { asker, found } => self.reread(asker, found),
            Event::Stop => self.stopping = true,
        }
        Flow::Go
    }

    /// Runs time-driven work: retries unwritten outcomes, and does chunks of upkeep.
    pub fn tick(&mut self, now: Moment) {
        self.roll_interval(now.agent);
        self.store.remember(now.agent);
        self.retry_unwritten(now);
        self.check_foreign_writes(now);
        self.end_unbuilt(now);
        self.upkeep(now);
        self.leave(now);
    }

    /// Commits the round and returns the effects that the driver must perform.
    pub fn finish_round(&mut self, now: Moment) -> Vec<Effect> {
        let resumed = self.logins_to_repeat();
        let before = self.apply_pauses(now);
        self.keep_lines(now);
        self.save_schedule();
        let committed = self.commit(now);
        let mut round = std::mem::take(&mut self.round);
        self.chunk_ended(round.chunk.take(), committed.is_ok());
        self.alerts_kept(round.keeps_alerts, committed.is_ok());
        self.watch.round_ended(now.agent, committed.is_ok());
        self.count_round(&round.outcomes, committed.is_ok());
        let rejection = match committed {
            Ok(()) => {
                self.tell_shortened(now, round.shortened);
                self.land(now, &round.outcomes);
                // The round is on disk, but the file must be reopened before the next write.
                if let Some(error) = self.store.take_trouble() {
                    self.write_recovery.failed(now.agent, &error);
                }
                None
            }
            Err(error) => {
                log::error!("event=commit_failed error={:?}", error.to_string());
                self.revert_pauses(before);
                self.fail(now, std::mem::take(&mut round.outcomes), &error);
                Some(rejection_of(&error))
            }
        };
        self.chunk_left(&mut round, rejection.as_ref());
        let mut effects = Vec::new();
        self.answer(now, round.replies, rejection.as_ref(), &mut effects);
        if rejection.is_none() {
            // Before the requests that the resume triggers.
            effects.extend(resumed.into_iter().map(|upstream| Effect::LogInAgain { upstream }));
        }
        self.bring_back(now);
        self.clear_the_way(now);
        self.schedule(now, &mut effects);
        effects
    }

    fn commit(&mut self, now: Moment) -> Result<(), StoreError> {
        self.judge_alerts(now);
        self.write_interval(now);
        if let Some(error) = self.round.failed.take() {
            self.store.rollback();
            return Err(error);
        }
        if let Err(error) = self.archive_delivered(now) {
            self.store.rollback();
            return Err(error);
        }
        if self.round.deleted
            && let Err(error) = self.store.shrink(now.agent)
        {
            self.store.rollback();
            return Err(error);
        }
        self.store.commit(now)
    }

    /// When `tick` must run even if no event arrives; `None`: never.
    #[must_use]
    pub fn next_deadline(&self) -> Option<AgentTime> {
        self.next
    }

    /// Returns whether there is something to commit.
    #[must_use]
    pub fn is_in_round(&self) -> bool {
        self.store.is_in_round()
    }

    /// Number of requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Number of outcomes that are not on disk yet.
    #[must_use]
    pub fn unwritten_outcomes(&self) -> usize {
        self.unwritten_outcomes.len()
    }

    /// The configured upstreams; effects refer to them by index.
    pub fn upstreams(&self) -> impl Iterator<Item = &UpstreamConfig> {
        self.upstreams.iter().map(|line| &line.config)
    }

    /// Ends the agent and closes its store.
    pub fn close(self) -> Result<(), StoreError> {
        self.store.close()
    }

    // ---- request lines

    fn line(&mut self, now: Moment, client: ClientId, socket: Socket, peer: &Peer, line: &[u8]) -> Flow {
        let line = legible(line);
        let line = request::parse(&line, socket, &self.limits);
        let reference = line.reference;
        let kept = || reference.map(ToOwned::to_owned);
        let view = if socket == Socket::Admin { View::Admin } else { View::Application };
        let ask = |question| Pending::Ask { question, view, reference: kept() };
        let (pending, flow) = match line.request {
            Err(rejection) => (Pending::Ready(reply::error(&rejection, reference)), Flow::Go),
            Ok(Request::Hello) => (Pending::Ready(self.hello(socket, reference)), Flow::Go),
            Ok(Request::Record(new)) => (self.record(now, peer, &new, reference), Flow::Go),
            // An administrator's reply contains the payload; the next is built only after this one was sent.
            Ok(Request::Get(name)) => {
                let flow = if view == View::Admin { Flow::Wait } else { Flow::Look };
                (Pending::Get { name, view, reference: kept() }, flow)
            }
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
            Ok(Request::Replay(replay)) => (self.replay(now, peer, &replay, reference), Flow::Go),
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

    /// Emits the round's replies; `failed`: why the round was not committed.
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
                (Pending::Part { job, rest }, failed) => match self.part_ended(client, *job, rest, failed) {
                    Effect::Reply { line, .. } => line,
                    ask => {
                        effects.push(ask);
                        continue;
                    }
                },
                (Pending::Get { reference, .. } | Pending::Ask { reference, .. }, _) if self.store.is_copying() => {
                    // What is at the file's path now is not what it held.
                    let refusal = Rejection::new(Code::Storage, BEING_SAVED);
                    reply::error(&refusal, reference.as_deref())
                }
                (Pending::Get { name, view, reference }, _) => {
                    let found = self.store.look(&name);
                    if let Err(error) = &found {
                        self.write_recovery.met(now.agent, error);
                    }
                    match (&found, self.write_recovery.not_back_yet()) {
                        (Ok(Found::Nothing), Some(refusal)) => reply::error(&refusal, reference.as_deref()),
                        _ => self.get(now, &name, view, found, reference.as_deref()),
                    }
                }
                (Pending::Reload { reference }, None) => {
                    effects.push(Effect::Reread(Asker { client, reference }));
                    continue;
                }
                (Pending::Ask { question, view, reference }, _) => {
                    // During a salvage the table is incomplete, and so would the answer be.
                    if let (question::Question::Unsent | question::Question::List(_), Some(refusal)) =
                        (&question, self.write_recovery.not_back_yet())
                    {
                        let line = reply::error(&refusal, reference.as_deref());
                        effects.push(Effect::Reply { client, line });
                        continue;
                    }
                    let facts = self.facts_for(&question, now);
                    effects.push(Effect::Ask(Box::new(ReaderRequest { client, question, view, reference, facts })));
                    continue;
                }
            };
            effects.push(Effect::Reply { client, line });
        }
    }

    /// The query that selects the next part of a bulk operation.
    fn selection(&self, filter: &Filter, after: Seq) -> question::Question {
        question::Question::Select { filter: filter.clone(), after, limit: self.chunk }
    }

    /// Limits the parts of bulk operations and upkeep to `failures` each. For simulations, whose terminals have few
    /// failures.
    pub fn goes_in_parts_of(&mut self, failures: usize) {
        self.chunk = failures.clamp(1, BULK_CHUNK);
    }

    /// Runs statements of the open round. After the first error, the round writes nothing more. Refused while the file
    /// must be reopened first or a salvage runs.
    fn write<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, Rejection> {
        self.write_recovery.not_back_yet().map_or_else(|| self.write_new(work), Err)
    }

    /// Like [`Self::write`], for a new failure, which also works during a salvage.
    fn write_new<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, Rejection> {
        if let Some(refusal) = self.write_recovery.refusal_of_records() {
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

/// Converts an error of a statement or commit to a client's rejection.
fn rejection_of(error: &StoreError) -> Rejection {
    match error {
        StoreError::Full(_) => Rejection::new(Code::DiskFull, "the disk is full, or the database is at its hard limit"),
        StoreError::Locked(_) => Rejection::new(Code::Storage, format!("{error}; nothing was stored")),
        StoreError::Odd { .. } | StoreError::NotKept(_) => {
            Rejection::new(Code::Storage, format!("{error}; nothing was stored; send it again shortly"))
        }
        StoreError::Failed(_) | StoreError::Damaged(_) | StoreError::Replaced => {
            Rejection::new(Code::Storage, format!("{error}; send it again with the same idempotency_key"))
        }
    }
}

/// What is said while the open file is copied, because it was deleted or replaced.
const BEING_SAVED: &str =
    "the database was deleted or replaced by another program; what it held is being saved; try again shortly";

/// The audit's actor for a request.
fn actor(peer: &Peer, by: &RequestedBy) -> Actor {
    Actor { uid: Some(peer.uid), name: peer.name.clone(), claimed_by: by.claimed_by.clone() }
}

/// A reply that holds if the round is committed.
fn stored(line: Vec<u8>, reference: Option<&RawValue>) -> Pending {
    Pending::Stored { line, reference: reference.map(ToOwned::to_owned) }
}

/// Returns whether there are too many bulk operations for another.
fn too_many_jobs(bulk_jobs: usize) -> bool {
    bulk_jobs >= MAX_QUESTIONS
}

//! Failures that leave undelivered: what people discard, and what the clean-up takes.
//!
//! Each goes the same way, a chunk a round: chosen → its line in the archive, synced → deleted, with its
//! audit row, in the round's transaction. When the archive cannot be written nothing is deleted. When
//! the transaction fails the line is void, and the work ends with an error instead of being tried
//! again: on a full disk each try would take more of it.
//!
//! **Newest first.** A head leaves after all behind it that leave too. So a head that leaves finds only
//! those that stay, and what it leaves behind is held, unless a person lets it go: an UPDATE must not go
//! out without its CREATE.

use super::cleaning::Cleaning;
use super::questions::found_one;
use super::{Agent, ClientId, Flow, Peer, Pending, Round, actor, crowded, filing, rejection_of};
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::limits::{ARCHIVE_PIECE, BULK_CHUNK, MAX_IDS};
use crate::moment::{AgentTime, Moment};
use crate::policy::dossier::Standing;
use crate::question::{Filter, Question, View};
use crate::record::{Failure, Leaving, OrderKey, Status};
use crate::store::StoreError;
use crate::store::audit::Actor;
use crate::wire::fields::{Code, Rejection};
use crate::wire::leaving::{CleanUp, Cleaned, Discard, Discarded};
use crate::wire::operation::Scope;
use crate::wire::portable::{Departure, archive_line};
use crate::wire::reply;
use serde_json::value::RawValue;
use std::collections::VecDeque;

/// Who asked for it, and waits for the reply.
#[derive(Debug)]
struct Asker {
    client: ClientId,
    reference: Option<Box<RawValue>>,
}

/// A piece of work that goes on from where it stands.
#[derive(Debug)]
pub(super) struct Exodus {
    asker: Option<Asker>,
    pub(super) actor: Actor,
    pub(super) reason: Option<String>,
    pub(super) dry_run: bool,
    pub(super) task: Task,
    /// The reader is looking for more of it.
    waits: bool,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Task {
    Discard(Box<Discarding>),
    CleanUp(Cleaning),
}

/// What a person discards.
#[derive(Debug)]
pub(super) struct Discarding {
    /// The next, the newest last.
    found: Vec<Seq>,
    /// Where older ones are found, and below which number.
    rest: Option<(Filter, Seq)>,
    let_followers: bool,
    /// Those behind what has left, from this number on, are still to be held.
    holding: VecDeque<(OrderKey, Seq, Seq)>,
    told: Discarded,
}

/// One that leaves now.
#[derive(Debug)]
pub(super) struct Leaver {
    pub(super) failure: Failure,
    pub(super) how: Leaving,
    pub(super) reason: Option<String>,
}

impl Agent {
    // ---- what people ask for

    /// `discard`
    pub(super) fn discard(
        &mut self,
        client: ClientId,
        peer: &Peer,
        discard: Discard,
        reference: Option<&RawValue>,
    ) -> Flow {
        let (found, rest) = match discard.scope {
            Scope::Named(names) => {
                let mut seqs = Vec::new();
                for name in &names {
                    match found_one(name, self.store.look(name)) {
                        Ok(looked) => seqs.push(looked.failure.seq),
                        Err(rejection) => return self.refuse(client, &rejection, reference),
                    }
                }
                if let [only] = &seqs[..]
                    && self.in_flight.contains_key(only)
                {
                    let message = format!("failure {only} is in flight; ask again when its request has ended");
                    return self.refuse(client, &Rejection::new(Code::Conflict, message), reference);
                }
                seqs.sort_unstable();
                seqs.dedup();
                (seqs, None)
            }
            Scope::Matching(filter) => (Vec::new(), Some((filter, Seq(i64::MAX)))),
        };
        let told = Discarded::default();
        let holding = VecDeque::new();
        let task =
            Task::Discard(Box::new(Discarding { found, rest, let_followers: discard.let_followers, holding, told }));
        let asker = Some(Asker { client, reference: reference.map(ToOwned::to_owned) });
        let (actor, reason) = (actor(peer, &discard.by), discard.by.reason);
        self.begin_exodus(Exodus { asker, actor, reason, dry_run: discard.dry_run, task, waits: false })
    }

    /// `cleanup`
    pub(super) fn clean_up(
        &mut self,
        now: Moment,
        client: ClientId,
        peer: &Peer,
        wish: CleanUp,
        reference: Option<&RawValue>,
    ) -> Flow {
        if let Some(rejection) = self.clean_up_is_put_off(now.agent) {
            return self.refuse(client, &rejection, reference);
        }
        let asker = Some(Asker { client, reference: reference.map(ToOwned::to_owned) });
        let (actor, reason) = (actor(peer, &wish.by), wish.by.reason);
        let task = Task::CleanUp(Cleaning::new());
        self.begin_exodus(Exodus { asker, actor, reason, dry_run: wish.dry_run, task, waits: false })
    }

    /// The agent's own clean-up.
    pub(super) fn clean_up_by_itself(&mut self) {
        let actor = Actor { name: Some("resyncd".to_owned()), ..Actor::default() };
        let task = Task::CleanUp(Cleaning::new());
        self.exodus.push_back(Exodus { asker: None, actor, reason: None, dry_run: false, task, waits: false });
    }

    fn begin_exodus(&mut self, exodus: Exodus) -> Flow {
        let Some(asker) = &exodus.asker else { return Flow::Go };
        let (client, reference) = (asker.client, asker.reference.clone());
        if crowded(self.campaigns.len() + self.exodus.len()) {
            let rejection = Rejection::new(Code::Busy, "too many operations at once; send it again shortly");
            return self.refuse(client, &rejection, reference.as_deref());
        }
        if let (Some(refusal), false) = (self.why_nothing_leaves(), exodus.dry_run) {
            return self.refuse(client, &refusal, reference.as_deref());
        }
        self.exodus.push_back(exodus);
        Flow::Wait
    }

    fn refuse(&mut self, client: ClientId, rejection: &Rejection, reference: Option<&RawValue>) -> Flow {
        self.round.replies.push((client, Pending::Ready(reply::error(rejection, reference))));
        Flow::Go
    }

    /// What room there is on a full disk belongs to outcomes, and each line takes some.
    pub(super) fn why_nothing_leaves(&self) -> Option<Rejection> {
        if self.settle.is_full() || self.store.lacks_room() {
            let message = "the disk is full, and the archive has no room; nothing was deleted";
            return Some(Rejection::new(Code::DiskFull, message));
        }
        self.settle.refusal()
    }

    /// A client has gone; what it asked for and is not done yet ends here.
    pub(super) fn asker_gone(&mut self, client: ClientId) {
        self.exodus.retain(|exodus| exodus.asker.as_ref().is_none_or(|asker| asker.client != client));
    }

    // ---- a chunk a round

    /// When there is a chunk to do.
    pub(super) fn leaving_due(&self, now: AgentTime) -> Option<AgentTime> {
        if self.settle.next().is_some() {
            return None;
        }
        let ready = self.exodus.iter().any(|exodus| !exodus.waits);
        if ready { Some(now) } else { Some(self.next_clean_up()).filter(|_| !self.stopping) }
    }

    /// Does one chunk, between the rounds of others.
    pub(super) fn leave(&mut self, now: Moment) {
        self.plan_clean_up(now);
        if self.settle.next().is_some() || self.round.failed.is_some() {
            return;
        }
        let Some(next) = self.exodus.iter().position(|exodus| !exodus.waits) else { return };
        let Some(mut exodus) = self.exodus.remove(next) else { return };
        let done = match &mut exodus.task {
            Task::Discard(_) => self.discard_chunk(now, &mut exodus),
            Task::CleanUp(_) => self.clean_up_chunk(now, &mut exodus),
        };
        match done {
            Ok(over) => self.round.exodus = Some((exodus, over)),
            Err(rejection) => {
                let told = exodus.tell(Err(&rejection));
                self.round.replies.extend(told);
            }
        }
    }

    /// The round is on disk, or it is not: the work goes on, or ends.
    pub(super) fn chunk_left(&mut self, round: &mut Round, failed: Option<&Rejection>) {
        let Some((mut exodus, over)) = round.exodus.take() else { return };
        match (failed, over) {
            (Some(rejection), _) => round.replies.extend(exodus.tell(Err(rejection))),
            (None, true) => round.replies.extend(exodus.tell(Ok(()))),
            (None, false) => {
                if let Some(question) = exodus.question()
                    && let Some(asker) = &exodus.asker
                {
                    exodus.waits = true;
                    let ask = Pending::Ask { question, view: View::Admin, reference: None };
                    round.replies.push((asker.client, ask));
                }
                self.exodus.push_back(exodus);
            }
        }
    }

    /// The reader has found more of what is to leave.
    pub(super) fn more_leave(&mut self, now: Moment, client: ClientId, found: Result<Vec<Seq>, StoreError>) {
        let asked = |exodus: &Exodus| exodus.waits && exodus.asker.as_ref().is_some_and(|asker| asker.client == client);
        let Some(at) = self.exodus.iter().position(asked) else { return };
        match found {
            Ok(seqs) => {
                if let Some(exodus) = self.exodus.get_mut(at)
                    && let Task::Discard(discarding) = &mut exodus.task
                {
                    exodus.waits = false;
                    discarding.take(seqs);
                }
            }
            Err(error) => {
                self.settle.met(now.agent, &error);
                if let Some(exodus) = self.exodus.remove(at) {
                    self.round.replies.extend(exodus.tell(Err(&rejection_of(&error))));
                }
            }
        }
    }

    /// The next of what a person discards; `true`: that was all.
    fn discard_chunk(&mut self, now: Moment, exodus: &mut Exodus) -> Result<bool, Rejection> {
        let Task::Discard(discarding) = &mut exodus.task else { return Ok(true) };
        let by = (&exodus.actor, exodus.reason.as_deref());
        if !discarding.holding.is_empty() {
            self.write(|agent| agent.hold_followers(now, discarding, by))?;
            return Ok(discarding.is_over());
        }
        let (mut leavers, mut bytes) = (Vec::new(), 0);
        while leavers.len() < BULK_CHUNK && bytes < ARCHIVE_PIECE {
            let Some(seq) = discarding.found.pop() else { break };
            let read = self.store.by_seq(seq).map_err(|error| self.unread(now, &error))?;
            let Some(failure) = read else { continue };
            discarding.told.matched += 1;
            if exodus.dry_run {
                continue;
            }
            if self.in_flight.contains_key(&seq) {
                discarding.told.skipped += 1;
                continue;
            }
            bytes += failure.payload.as_ref().map_or(0, |(text, _)| text.len());
            leavers.push(Leaver { failure, how: Leaving::Discarded, reason: exodus.reason.clone() });
        }
        if !leavers.is_empty() {
            self.depart(now, &leavers, by.0)?;
            self.write(|agent| {
                for Leaver { failure, .. } in leavers {
                    discarding.told.changed += 1;
                    if failure.head && !discarding.let_followers && !agent.is_free(&failure) {
                        discarding.holding.push_back((failure.order(), Seq(0), failure.seq));
                    }
                }
                // The next head must not go out between this round and the next.
                agent.hold_followers(now, discarding, by)
            })?;
        }
        Ok(discarding.is_over())
    }

    /// Holds those that are left behind, at most a chunk of them, but each new head.
    fn hold_followers(
        &mut self,
        now: Moment,
        discarding: &mut Discarding,
        (actor, reason): (&Actor, Option<&str>),
    ) -> Result<(), StoreError> {
        let (mut room, mut left) = (BULK_CHUNK, VecDeque::new());
        for (order, from, head) in std::mem::take(&mut discarding.holding) {
            let limit = if from == Seq(0) { room.max(1) } else { room };
            let behind = if limit == 0 { Vec::new() } else { self.store.order_from(&order, from, limit)? };
            let mut next = if limit == 0 { Some(from) } else { None };
            if behind.len() == limit {
                next = behind.last().map(|last| Seq(last.seq.0 + 1)).or(next);
            }
            room = room.saturating_sub(behind.len());
            for follower in behind.iter().filter(|follower| follower.status == Status::Pending) {
                let Some(failure) = self.store.by_seq(follower.seq)? else { continue };
                if self.in_flight.contains_key(&failure.seq) {
                    continue;
                }
                let mut dossier = filing::dossier(&failure);
                dossier.standing = Standing::Held;
                self.store.refile(failure.seq, now, &filing::filed(&dossier))?;
                let why = format!("behind no. {head}, discarded: {}", reason.unwrap_or_default());
                self.store.audit(now.wall, actor, "hold", Some(&failure.id), Some(&why))?;
                discarding.told.followers_held_total += 1;
                if discarding.told.followers_held.len() < MAX_IDS {
                    discarding.told.followers_held.push(failure.id.as_str().to_owned());
                }
            }
            left.extend(next.map(|next| (order, next, head)));
        }
        discarding.holding = left;
        Ok(())
    }

    /// Archives these, then deletes them in the open round, each with its audit row. They come newest
    /// first.
    pub(super) fn depart(&mut self, now: Moment, leavers: &[Leaver], actor: &Actor) -> Result<(), Rejection> {
        if let Some(refusal) = self.why_nothing_leaves() {
            return Err(refusal);
        }
        // Nothing of a round that cannot be written needs a line.
        self.write(|_| Ok(()))?;
        let facts = self.facts(now);
        let mut lines = Vec::new();
        for Leaver { failure, how, reason } in leavers {
            let head = if failure.head { Ok(None) } else { self.store.head_of(&failure.order()) };
            let head = head.map_err(|error| self.unread(now, &error))?;
            let departure = Departure {
                at: now.wall,
                how: *how,
                actor_uid: actor.uid,
                actor_name: actor.name.as_deref(),
                claimed_by: actor.claimed_by.as_deref(),
                reason: reason.as_deref(),
            };
            lines.extend(archive_line(
                failure,
                facts.state(failure),
                facts.blocked_by(failure, head.as_ref()),
                &departure,
            ));
        }
        self.store.archive(now.wall, &lines).map_err(|error| {
            log::error!("event=archive_failed error={:?}", error.to_string());
            let code = if error.is_full() { Code::DiskFull } else { Code::Storage };
            Rejection::new(code, error.to_string())
        })?;
        self.write(|agent| {
            agent.store.keep_archived(now.wall, now.agent)?;
            for Leaver { failure, how, reason } in leavers {
                agent.store.audit(now.wall, actor, how.operation(), Some(&failure.id), reason.as_deref())?;
                let next = agent.store.remove(failure, *how, now.wall)?;
                agent.promote(now, next)?;
                match how {
                    Leaving::Cleaned => agent.counting.counters.cleaned(&failure.entity_type),
                    Leaving::Discarded => agent.counting.counters.discarded(&failure.entity_type),
                    Leaving::Delivered => {}
                }
                let (id, seq, how) = (&failure.id, failure.seq, how.as_str());
                log::info!("event={how} id={id} seq={seq}");
            }
            agent.watch.stir();
            agent.round.deleted = true;
            Ok(())
        })
    }

    /// Nothing waits for it, whatever its order key is.
    pub(super) fn is_free(&self, failure: &Failure) -> bool {
        let line = self.lines.iter().find(|line| Some(&line.config.name) == failure.upstream.as_ref());
        line.is_some_and(|line| line.pace.ordering == Ordering::None)
    }

    /// A look into the file has failed.
    pub(super) fn unread(&mut self, now: Moment, error: &StoreError) -> Rejection {
        self.settle.met(now.agent, error);
        rejection_of(error)
    }
}

impl Discarding {
    fn is_over(&self) -> bool {
        self.found.is_empty() && self.rest.is_none() && self.holding.is_empty()
    }

    /// The reader has found these, newest first.
    fn take(&mut self, seqs: Vec<Seq>) {
        self.rest = match (self.rest.take(), seqs.last()) {
            (Some((filter, _)), Some(last)) if seqs.len() == BULK_CHUNK => Some((filter, *last)),
            _ => None,
        };
        self.found = seqs;
        self.found.reverse();
    }
}

impl Exodus {
    /// What the reader is to look for.
    fn question(&self) -> Option<Question> {
        let Task::Discard(discarding) = &self.task else { return None };
        if !discarding.found.is_empty() || !discarding.holding.is_empty() {
            return None;
        }
        let (filter, before) = discarding.rest.clone()?;
        Some(Question::SelectBefore { filter, before, limit: BULK_CHUNK })
    }

    /// The reply to whoever asked.
    fn tell(&self, done: Result<(), &Rejection>) -> Option<(ClientId, Pending)> {
        let asker = self.asker.as_ref()?;
        let reference = asker.reference.as_deref();
        let line = match (done, &self.task) {
            (Err(rejection), _) => reply::error(rejection, reference),
            (Ok(()), Task::Discard(discarding)) => reply::ok(&discarding.told, reference),
            (Ok(()), Task::CleanUp(cleaning)) => {
                reply::ok(&Cleaned { matched: cleaning.matched, changed: cleaning.changed }, reference)
            }
        };
        Some((asker.client, Pending::Ready(line)))
    }

    /// Nobody asked for it.
    pub(super) fn is_our_own(&self) -> bool {
        self.asker.is_none()
    }
}

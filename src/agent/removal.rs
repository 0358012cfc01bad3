//! Removal of undelivered failures, by `discard` or by retention.
//!
//! Both run in chunks, one per round: select → append to the archive and sync → delete, with an audit row, in the
//! round's transaction. If the archive cannot be written, nothing is deleted. If the transaction fails, the archive
//! line is void, and the job ends with an error instead of being repeated: on a full disk each attempt would use more
//! space.
//!
//! **Newest first.** A head is removed after all its followers that are removed too. So the followers that are left
//! when a head goes are those that stay; they are held, unless the operator lets them go: an UPDATE must not be sent
//! without its CREATE.

use super::named::found_one;
use super::removal_job::{Asker, Cleaning, Discarding, Removal, RemovalJob, Task};
use super::{Agent, ClientId, Flow, Peer, Pending, Round, actor, rejection_of, retry_columns, stored, too_many_jobs};
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::limits::{MAX_IDS, ROUND_PAYLOADS};
use crate::moment::{AgentTime, Moment};
use crate::policy::retry_state::Standing;
use crate::question::View;
use crate::record::{Disposition, Failure, Status};
use crate::store::StoreError;
use crate::store::archive::Part;
use crate::store::audit::Actor;
use crate::wire::fields::{Code, Rejection};
use crate::wire::operation::Scope;
use crate::wire::portable::{RemovalRecord, archive_line};
use crate::wire::removal::{CleanUp, Discard, Discarded};
use crate::wire::reply;
use serde_json::value::RawValue;
use std::collections::VecDeque;

impl Agent {
    // ---- requests

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
                    match found_one(name, self.store.number_of(name)) {
                        Ok(seq) => seqs.push(seq),
                        Err(rejection) => return self.found_wrong(client, &rejection, reference),
                    }
                }
                if let [only] = &seqs[..]
                    && self.in_flight.contains_key(only)
                {
                    let message = format!("failure {only} is in flight; try again when its request has ended");
                    return self.found_wrong(client, &Rejection::new(Code::Conflict, message), reference);
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
        self.begin_removal(RemovalJob {
            asker,
            actor,
            reason,
            dry_run: discard.dry_run,
            task,
            waits: false,
            settled: 0,
        })
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
        self.begin_removal(RemovalJob { asker, actor, reason, dry_run: wish.dry_run, task, waits: false, settled: 0 })
    }

    /// Starts a retention run of the agent's own.
    pub(super) fn clean_up_by_itself(&mut self) {
        let actor = Actor { name: Some("resyncd".to_owned()), ..Actor::default() };
        let task = Task::CleanUp(Cleaning::new());
        let none = RemovalJob { asker: None, actor, reason: None, dry_run: false, task, waits: false, settled: 0 };
        self.removals.push_back(none);
    }

    fn begin_removal(&mut self, job: RemovalJob) -> Flow {
        let Some(asker) = &job.asker else { return Flow::Go };
        let (client, reference) = (asker.client, asker.reference.clone());
        if too_many_jobs(self.bulk_jobs.len() + self.removals.len()) {
            let rejection = Rejection::new(Code::Busy, "too many operations at once; send it again shortly");
            return self.refuse(client, &rejection, reference.as_deref());
        }
        if let (Some(refusal), false) = (self.why_nothing_leaves(), job.dry_run) {
            return self.refuse(client, &refusal, reference.as_deref());
        }
        self.removals.push_back(job);
        Flow::Wait
    }

    pub(super) fn refuse(&mut self, client: ClientId, rejection: &Rejection, reference: Option<&RawValue>) -> Flow {
        self.round.replies.push((client, Pending::Ready(reply::error(rejection, reference))));
        Flow::Go
    }

    /// A rejection that depends on stored data, the open round included.
    fn found_wrong(&mut self, client: ClientId, rejection: &Rejection, reference: Option<&RawValue>) -> Flow {
        self.round.replies.push((client, stored(reply::error(rejection, reference), reference)));
        Flow::Go
    }

    /// Refuses removals on a full disk: archive lines would use the space reserved for outcomes.
    pub(super) fn why_nothing_leaves(&self) -> Option<Rejection> {
        if self.write_recovery.is_full() || self.store.is_reserved_for_outcomes() {
            let message = "the disk is full, and the archive has no room; nothing was deleted";
            return Some(Rejection::new(Code::DiskFull, message));
        }
        self.write_recovery.refusal()
    }

    /// A client has disconnected. Its removals are completed and followers are held, but a dry run ends here.
    pub(super) fn asker_disconnected(&mut self, client: ClientId) {
        let asked = |job: &RemovalJob| job.asker.as_ref().is_some_and(|asker| asker.client == client);
        self.removals.retain(|job| !job.dry_run || !asked(job));
    }

    // ---- chunks

    /// When the next chunk is due.
    pub(super) fn leaving_due(&self, now: AgentTime) -> Option<AgentTime> {
        let recovering = self.write_recovery.next().is_some();
        let ready = self.removals.iter().any(|job| !job.waits && (job.dry_run || !recovering));
        if ready { Some(now) } else { Some(self.next_clean_up()).filter(|_| !self.stopping && !recovering) }
    }

    /// Does one chunk, between other rounds. While outcomes cannot be written, only dry runs continue.
    pub(super) fn leave(&mut self, now: Moment) {
        self.plan_clean_up(now);
        if self.round.failed.is_some() {
            return;
        }
        let recovering = self.write_recovery.next().is_some();
        if recovering {
            self.end_stopped_removals();
        }
        let goes_on = |job: &RemovalJob| !job.waits && (job.dry_run || !recovering);
        let Some(next) = self.removals.iter().position(goes_on) else { return };
        let Some(mut job) = self.removals.remove(next) else { return };
        let done = match &mut job.task {
            Task::Discard(_) => self.discard_chunk(now, &mut job),
            Task::CleanUp(_) => self.clean_up_chunk(now, &mut job),
        };
        match done {
            Ok(over) => self.round.removal = Some((job, over)),
            Err(rejection) => {
                let told = job.tell(Err(&rejection));
                self.round.replies.extend(told);
            }
        }
    }

    /// Ends the removals that operators wait for while nothing can be removed. It may stay so for long, and the
    /// operator has to learn why.
    fn end_stopped_removals(&mut self) {
        let (nothing_leaves, unreadable) = (self.why_nothing_leaves(), self.write_recovery.refusal());
        for job in std::mem::take(&mut self.removals) {
            let refusal = if job.dry_run { &unreadable } else { &nothing_leaves };
            match refusal {
                Some(refusal) if job.asker.is_some() && !job.waits => {
                    self.round.replies.extend(job.tell(Err(refusal)));
                }
                _ => self.removals.push_back(job),
            }
        }
    }

    /// Continues the job if the round was committed; otherwise ends it.
    pub(super) fn chunk_left(&mut self, round: &mut Round, failed: Option<&Rejection>) {
        let Some((mut job, over)) = round.removal.take() else { return };
        match (failed, over) {
            (Some(rejection), _) => round.replies.extend(job.tell(Err(rejection))),
            (None, true) => round.replies.extend(job.tell(Ok(()))),
            (None, false) => {
                job.settled = job.changed();
                if let Some(question) = job.question(self.chunk)
                    && let Some(asker) = &job.asker
                {
                    job.waits = true;
                    let ask = Pending::Ask { question, view: View::Admin, reference: None };
                    round.replies.push((asker.client, ask));
                }
                self.removals.push_back(job);
            }
        }
    }

    /// The reader has selected more failures to remove.
    pub(super) fn more_leave(&mut self, now: Moment, client: ClientId, found: Result<Vec<Seq>, StoreError>) {
        let asked = |job: &RemovalJob| job.waits && job.asker.as_ref().is_some_and(|asker| asker.client == client);
        let Some(at) = self.removals.iter().position(asked) else { return };
        match found {
            Ok(seqs) => {
                if let Some(job) = self.removals.get_mut(at)
                    && let Task::Discard(discarding) = &mut job.task
                {
                    job.waits = false;
                    discarding.take(seqs, self.chunk);
                }
            }
            Err(error) => {
                self.write_recovery.met(now.agent, &error);
                if let Some(job) = self.removals.remove(at) {
                    self.round.replies.extend(job.tell(Err(&rejection_of(&error))));
                }
            }
        }
    }

    /// Does the next chunk of a `discard`; `true`: the job is complete.
    fn discard_chunk(&mut self, now: Moment, job: &mut RemovalJob) -> Result<bool, Rejection> {
        let Task::Discard(discarding) = &mut job.task else { return Ok(true) };
        let by = (&job.actor, job.reason.as_deref());
        if !discarding.holding.is_empty() {
            self.write(|agent| agent.hold_followers(now, discarding, by))?;
            return Ok(discarding.is_over());
        }
        let (mut leaving, mut bytes) = (Vec::new(), 0);
        while leaving.len() < self.chunk && bytes < ROUND_PAYLOADS {
            let Some(seq) = discarding.found.pop() else { break };
            if job.dry_run {
                let read = self.store.light_by_seq(seq).map_err(|error| self.unread(now, &error))?;
                discarding.told.matched += u64::from(read.is_some());
                discarding.told.skipped += u64::from(read.is_some() && self.in_flight.contains_key(&seq));
                continue;
            }
            let read = self.store.by_seq(seq).map_err(|error| self.unread(now, &error))?;
            let Some(failure) = read else { continue };
            discarding.told.matched += 1;
            if self.in_flight.contains_key(&seq) {
                discarding.told.skipped += 1;
                continue;
            }
            bytes += failure.payload.as_ref().map_or(0, |(text, _)| text.len());
            leaving.push(Removal { failure, how: Disposition::Discarded, reason: job.reason.clone() });
        }
        if !leaving.is_empty() {
            self.archive_and_delete(now, &leaving, by.0)?;
            self.write(|agent| {
                for Removal { failure, .. } in leaving {
                    discarding.told.changed += 1;
                    if failure.head && !discarding.let_followers && !agent.is_free(&failure) {
                        discarding.holding.push_back((failure.order(), Seq(0), failure.seq));
                    }
                }
                // The next head must not be sent between this round and the next.
                agent.hold_followers(now, discarding, by)
            })?;
        }
        Ok(discarding.is_over())
    }

    /// Holds the followers that stay, at most a chunk of them, but always each new head.
    fn hold_followers(
        &mut self,
        now: Moment,
        discarding: &mut Discarding,
        (actor, reason): (&Actor, Option<&str>),
    ) -> Result<(), StoreError> {
        let (mut room, mut left) = (self.chunk, VecDeque::new());
        for (order, from, head) in std::mem::take(&mut discarding.holding) {
            if self.store.is_round_full() {
                room = 0;
            }
            let limit = if from == Seq(0) { room.max(1) } else { room };
            let behind = if limit == 0 { Vec::new() } else { self.store.order_from(&order, from, limit)? };
            let mut next = if limit == 0 { Some(from) } else { None };
            if behind.len() == limit {
                next = behind.last().map(|last| Seq(last.seq.0 + 1)).or(next);
            }
            room = room.saturating_sub(behind.len());
            for follower in behind.iter().filter(|follower| follower.status == Status::Pending) {
                let Some(failure) = self.store.light_by_seq(follower.seq)? else { continue };
                if self.in_flight.contains_key(&failure.seq) {
                    continue;
                }
                let mut retry_state = retry_columns::retry_state(&failure);
                retry_state.standing = Standing::Held;
                self.store.update_retry_state(failure.seq, now, &retry_columns::retry_columns(&retry_state))?;
                let why = format!("behind no. {head}, discarded: {}", reason.unwrap_or_default());
                self.store.audit(now.wall, actor, "hold", Some(&failure.id), Some(&why))?;
                discarding.told.followers_held_total += 1;
                if discarding.told.followers_held.len() < MAX_IDS {
                    discarding.told.followers_held.push(failure.id.as_str().to_owned());
                }
                if self.store.is_round_full() {
                    next = Some(Seq(failure.seq.0 + 1));
                    break;
                }
            }
            left.extend(next.map(|next| (order, next, head)));
        }
        discarding.holding = left;
        Ok(())
    }

    /// Archives these failures, then deletes them in the open round, each with an audit row. They come newest first.
    pub(super) fn archive_and_delete(
        &mut self,
        now: Moment,
        leaving: &[Removal],
        actor: &Actor,
    ) -> Result<(), Rejection> {
        if let Some(refusal) = self.why_nothing_leaves() {
            return Err(refusal);
        }
        // If the round cannot be written, archive nothing.
        self.write(|_| Ok(()))?;
        let facts = self.facts(now);
        let mut lines = Vec::new();
        for Removal { failure, how, reason } in leaving {
            let head = if failure.head { Ok(None) } else { self.store.head_of(&failure.order()) };
            let head = head.map_err(|error| self.unread(now, &error))?;
            let departure = RemovalRecord {
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
            agent.store.keep_archived(Part::Undelivered, now.wall, now.agent)?;
            for Removal { failure, how, reason } in leaving {
                agent.store.audit(now.wall, actor, how.operation(), Some(&failure.id), reason.as_deref())?;
                let next = agent.store.remove(failure, *how, now.wall)?;
                agent.promote(now, next)?;
                match how {
                    Disposition::Cleaned => agent.counting.counters.cleaned(&failure.entity_type),
                    Disposition::Discarded => agent.counting.counters.discarded(&failure.entity_type),
                    Disposition::Delivered => {}
                }
                let (id, seq, how) = (&failure.id, failure.seq, how.as_str());
                log::info!("event={how} id={id} seq={seq}");
            }
            agent.watch.stir();
            agent.round.deleted = true;
            Ok(())
        })
    }

    /// Returns whether no failure waits for this one, whatever its order key is.
    pub(super) fn is_free(&self, failure: &Failure) -> bool {
        let line = self.upstreams.iter().find(|line| Some(&line.config.name) == failure.upstream.as_ref());
        line.is_some_and(|line| line.pace.ordering == Ordering::None)
    }

    /// Turns a failed read into a rejection and notes the error.
    pub(super) fn unread(&mut self, now: Moment, error: &StoreError) -> Rejection {
        self.write_recovery.met(now.agent, error);
        rejection_of(error)
    }
}

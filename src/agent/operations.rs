//! Operators' requests: retry, flush, hold, release, pause, resume. Each is recorded in the audit.
//!
//! An operation on many failures is a [`BulkJob`]: the reader selects the next numbers and the agent changes them in
//! one round, until none is left. So a selection over a million rows delays no acknowledgement, and the loop's
//! connection never scans.
//!
//! An operation that names its failures is done in one round, too, unless their payloads are large: SQLite writes a
//! row as a whole when its status changes. Then the rest is handed back by the reader, like a selection.
//!
//! A bulk job continues only after a part that was committed. When a part fails, the bulk job ends with that error, and
//! the reply says how many failures had been changed for certain. When the client disconnects, the bulk job is
//! completed.
//!
//! On a full disk the remaining space is reserved for outcomes: operations that change failures are refused.

use super::facts::Facts;
use super::named::found_one;
use super::routing::Way;
use super::{
    Agent, ClientId, Effect, Flow, Peer, Pending, ReaderRequest, UpstreamEntry, actor, retry_columns, stored,
    too_many_jobs,
};
use crate::ids::{FailureName, Seq};
use crate::limits::quote;
use crate::moment::Moment;
use crate::policy::retry_state::{Cause, RetryState, Standing};
use crate::policy::upstream::Upstream;
use crate::question::{Filter, Question, View};
use crate::record::{Content, Failure, Status};
use crate::store::StoreError;
use crate::store::audit::Actor;
use crate::store::failures::Routing;
use crate::wire::fields::{Code, Rejection};
use crate::wire::operation::{Bulk, BulkAction, RequestedBy, Scope};
use crate::wire::reply::{self, RetryAfter, Tally, Upstreams};
use serde_json::value::RawValue;

/// A bulk operation in progress.
#[derive(Debug)]
pub(super) struct BulkJob {
    bulk_action: BulkAction,
    /// Selects its failures; `None`: they were named.
    filter: Option<Filter>,
    dry_run: bool,
    actor: Actor,
    reason: Option<String>,
    reference: Option<Box<RawValue>>,
    /// Totals, including the part in the open round.
    tally: Tally,
    /// Number of failures changed by committed parts.
    settled: u64,
}

/// An operator's action on an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Pause,
    Resume,
    /// Failures no longer wait for a probe, and a probe is sent at once.
    Flush,
}

/// The effect of an operation on one failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Changed,
    /// The failure was already in the requested state.
    Unchanged,
    /// The failure is in flight, or its state does not allow the operation.
    Skipped,
}

impl Agent {
    /// Starts a bulk operation.
    pub(super) fn bulk(
        &mut self,
        now: Moment,
        client: ClientId,
        peer: &Peer,
        bulk: Bulk,
        reference: Option<&RawValue>,
    ) -> Flow {
        let job = BulkJob {
            bulk_action: bulk.bulk_action,
            filter: None,
            dry_run: bulk.dry_run,
            actor: actor(peer, &bulk.by),
            reason: bulk.by.reason,
            reference: reference.map(ToOwned::to_owned),
            tally: Tally::default(),
            settled: 0,
        };
        if let Some(refusal) = self.why_nothing_changes().filter(|_| !bulk.dry_run) {
            return self.refuse(client, &refusal, reference);
        }
        let (pending, flow) = match bulk.scope {
            Scope::Named(names) => {
                let pending = self.named_bulk(now, &names, job, reference);
                let flow = if matches!(pending, Pending::Part { .. }) { Flow::Wait } else { Flow::Go };
                (pending, flow)
            }
            Scope::Matching(_) if too_many_jobs(self.bulk_jobs.len()) => {
                let rejection = Rejection::new(Code::Busy, "too many operations at once; send it again shortly");
                (Pending::Ready(reply::error(&rejection, reference)), Flow::Go)
            }
            Scope::Matching(filter) => {
                if bulk.bulk_action == BulkAction::Flush && !bulk.dry_run {
                    let named =
                        |line: &UpstreamEntry| filter.upstream.as_ref().is_none_or(|name| *name == line.config.name);
                    let meant = (0..self.upstreams.len()).filter(|&n| named(&self.upstreams[n]));
                    self.round.gates.extend(meant.map(|n| (n, Gate::Flush)));
                }
                let rest = Some(self.selection(&filter, Seq(0)));
                let job = Box::new(BulkJob { filter: Some(filter), ..job });
                (Pending::Part { job, rest }, Flow::Wait)
            }
        };
        self.round.replies.push((client, pending));
        flow
    }

    /// Starts an operation on failures named one by one. All names are resolved before anything is changed.
    fn named_bulk(
        &mut self,
        now: Moment,
        names: &[FailureName],
        mut job: BulkJob,
        reference: Option<&RawValue>,
    ) -> Pending {
        let found = if let [name] = names {
            self.one_named(name, job.bulk_action).map(|seq| vec![seq])
        } else {
            names.iter().map(|name| found_one(name, self.store.number_of(name))).collect()
        };
        let mut seqs = match found {
            Ok(seqs) => seqs,
            Err(rejection) => return stored(reply::error(&rejection, reference), reference),
        };
        match self.do_part(now, &mut job, &seqs) {
            Ok(done) if done < seqs.len() => {
                let rest = Some(Question::Rest(seqs.split_off(done)));
                Pending::Part { job: Box::new(job), rest }
            }
            Ok(_) => stored(reply::ok(&job.tally, reference), reference),
            Err(rejection) => stored(reply::error_after(&rejection, 0, reference), reference),
        }
    }

    /// The only failure of an operation, which is refused if the failure does not allow it.
    fn one_named(&mut self, name: &FailureName, bulk_action: BulkAction) -> Result<Seq, Rejection> {
        let failure = found_one(name, self.store.look(name))?.failure;
        self.note_content(&failure);
        match self.refusal_reason(bulk_action, &failure) {
            Some(why) => Err(Rejection::new(Code::Conflict, format!("failure {} {why}", failure.seq))),
            None => Ok(failure.seq),
        }
    }

    /// Refuses changes on a full disk: the remaining space is reserved for outcomes. (Pause, resume and reload are not
    /// refused: they control delivery and take one audit row.)
    pub(super) fn why_nothing_changes(&self) -> Option<Rejection> {
        if self.write_recovery.is_full() || self.store.is_reserved_for_outcomes() {
            let message = "the disk is full, and the remaining space is reserved for delivery results; \
                nothing was changed. Free some space, then send it again";
            return Some(Rejection::new(Code::DiskFull, message));
        }
        self.write_recovery.refusal()
    }

    /// Changes these failures, or only counts them in a dry run. Returns how many of them were done: the others are for
    /// the next round.
    fn do_part(&mut self, now: Moment, job: &mut BulkJob, seqs: &[Seq]) -> Result<usize, Rejection> {
        if job.dry_run {
            return self.apply_chunk(now, job, seqs).map_err(|error| self.unread(now, &error));
        }
        match self.why_nothing_changes() {
            Some(refusal) => Err(refusal),
            None => self.write(|agent| agent.apply_chunk(now, job, seqs)),
        }
    }

    /// Why the operation is not possible on this failure, in words.
    fn refusal_reason(&self, bulk_action: BulkAction, failure: &Failure) -> Option<&'static str> {
        if self.in_flight.contains_key(&failure.seq) {
            return Some("is in flight; try again when its request has ended");
        }
        match (bulk_action, failure.status) {
            (BulkAction::Retry { .. } | BulkAction::Release, _) if failure.content == Content::Unreadable => {
                Some("is damaged, and a part of its content is lost; give it the right one: resyncd edit")
            }
            (BulkAction::Retry { .. } | BulkAction::Release, _) if failure.content == Content::Altered => Some(
                "was changed after it was recorded, by another program or a damaged disk; look at its payload. \
                 Then repeat this to send it unchanged, or edit it",
            ),
            (BulkAction::Retry { .. }, Status::Held) => Some("is held; release it"),
            (BulkAction::Hold, Status::Held) => Some("is held already"),
            (BulkAction::Hold, Status::Critical) => {
                Some("needs a person and is not sent automatically; there is nothing to hold")
            }
            (BulkAction::Release, Status::Pending) => Some("is not held"),
            (BulkAction::Retry { .. } | BulkAction::Release, Status::Critical) if failure.upstream.is_none() => {
                Some("has no route; add one to the configuration and reload it: resyncd reload")
            }
            _ => None,
        }
    }

    /// Takes the numbers that the reader selected for a bulk job.
    pub(super) fn selected(&mut self, now: Moment, client: ClientId, found: Result<Vec<Seq>, StoreError>) {
        let Some(mut job) = self.bulk_jobs.remove(&client) else { return self.more_leave(now, client, found) };
        let done = match found {
            Ok(seqs) => {
                let full = seqs.len() == self.chunk;
                self.do_part(now, &mut job, &seqs).map(|done| match &job.filter {
                    Some(filter) if full || done < seqs.len() => {
                        done.checked_sub(1).map(|last| self.selection(filter, seqs[last]))
                    }
                    None if done < seqs.len() => Some(Question::Rest(seqs[done..].to_vec())),
                    _ => None,
                })
            }
            Err(error) => Err(self.unread(now, &error)),
        };
        let pending = match done {
            Ok(rest) => Pending::Part { job: Box::new(job), rest },
            Err(rejection) => Pending::Ready(reply::error_after(&rejection, job.settled, job.reference.as_deref())),
        };
        self.round.replies.push((client, pending));
    }

    /// Ends the round of a bulk job's part; `failed`: why it was not committed. The job continues with the next
    /// query, or its client gets the reply.
    pub(super) fn part_ended(
        &mut self,
        client: ClientId,
        mut job: BulkJob,
        rest: Option<Question>,
        failed: Option<&Rejection>,
    ) -> Effect {
        let reference = job.reference.as_deref();
        match (failed.filter(|_| !job.dry_run), rest) {
            (Some(rejection), _) => {
                Effect::Reply { client, line: reply::error_after(rejection, job.settled, reference) }
            }
            (None, None) => Effect::Reply { client, line: reply::ok(&job.tally, reference) },
            (None, Some(question)) => {
                job.settled = job.tally.changed;
                self.bulk_jobs.insert(client, job);
                let (view, facts) = (View::Admin, Facts::default());
                Effect::Ask(Box::new(ReaderRequest { client, question, view, reference: None, facts }))
            }
        }
    }

    /// A client has disconnected. Its changes are completed, but a dry run ends here.
    pub fn client_disconnected(&mut self, client: ClientId) {
        self.bulk_jobs.retain(|asker, job| *asker != client || !job.dry_run);
        self.asker_disconnected(client);
    }

    /// Returns how many of the failures were done before the round was full. Their payloads are not read: content that
    /// was altered is found before it is sent.
    fn apply_chunk(&mut self, now: Moment, job: &mut BulkJob, seqs: &[Seq]) -> Result<usize, StoreError> {
        self.watch.stir();
        for (done, seq) in seqs.iter().enumerate() {
            if self.store.is_round_full() && !job.dry_run && done > 0 {
                return Ok(done);
            }
            let failure = match self.store.light_by_seq(*seq) {
                // Moved out of the way after the round.
                Err(StoreError::Odd { .. }) => {
                    job.tally.matched += 1;
                    job.tally.skipped += 1;
                    continue;
                }
                found => found?,
            };
            let Some(failure) = failure else { continue };
            job.tally.matched += 1;
            let done = match self.refusal_reason(job.bulk_action, &failure) {
                Some(_) => Done::Skipped,
                // What would change is what is not skipped.
                None if job.dry_run => Done::Unchanged,
                None => self.act(now, job, &failure)?,
            };
            match done {
                Done::Changed => job.tally.changed += 1,
                Done::Skipped => job.tally.skipped += 1,
                Done::Unchanged => {}
            }
        }
        Ok(seqs.len())
    }

    /// Notes altered content. It is kept unchanged, and may be sent after an operator's retry.
    fn note_content(&mut self, failure: &Failure) {
        if failure.content == Content::Altered && !self.in_flight.contains_key(&failure.seq) {
            self.store.note_odd(&[failure.seq.0]);
        }
    }

    fn act(&mut self, now: Moment, job: &mut BulkJob, failure: &Failure) -> Result<Done, StoreError> {
        match job.bulk_action {
            // Without a matching route the failure is critical, not pending.
            BulkAction::Release if failure.status == Status::Held && self.has_no_route(failure) => {
                let mut retry_state = retry_columns::retry_state(failure);
                retry_state.standing = Standing::Critical(Cause::Hopeless);
                self.store.update_retry_state(failure.seq, now, &retry_columns::retry_columns(&retry_state))?;
                self.store.place(failure.seq, &Routing::lost(failure.head))?;
            }
            BulkAction::Hold | BulkAction::Release
                if !(job.bulk_action == BulkAction::Release && failure.status == Status::Critical) =>
            {
                let mut retry_state = retry_columns::retry_state(failure);
                retry_state.standing =
                    if job.bulk_action == BulkAction::Hold { Standing::Held } else { Standing::Pending };
                self.store.update_retry_state(failure.seq, now, &retry_columns::retry_columns(&retry_state))?;
            }
            BulkAction::Hold | BulkAction::Release | BulkAction::Retry { .. } => {
                let reset = job.bulk_action == BulkAction::Retry { reset: true };
                let mut retry_state = if reset { RetryState::fresh() } else { retry_columns::retry_state(failure) };
                retry_state.ask();
                self.store.update_retry_state(failure.seq, now, &retry_columns::retry_columns(&retry_state))?;
            }
            BulkAction::Flush => match failure.due_at {
                Some(due) if due > now.agent => {
                    match RetryAfter::of(&retry_columns::retry_state(failure), failure.upstream.as_deref(), now) {
                        None => self.store.due_now(failure.seq, now)?,
                        Some(asked) => {
                            job.tally.asked(asked);
                            return Ok(Done::Skipped);
                        }
                    }
                }
                // It waited for contact; the gate has already ended that for all.
                None => return Ok(Done::Changed),
                Some(_) => return Ok(Done::Unchanged),
            },
        }
        let operation = job.bulk_action.as_str();
        self.store.audit(now.wall, &job.actor, operation, Some(&failure.id), job.reason.as_deref())?;
        Ok(Done::Changed)
    }

    /// Returns whether routes exist and none matches the failure.
    fn has_no_route(&self, failure: &Failure) -> bool {
        failure.upstream.is_none() && self.way(&failure.entity_type, &failure.action) == Way::NoRoute
    }

    /// `pause` and `resume`, of one upstream or all of them.
    pub(super) fn gate(
        &mut self,
        now: Moment,
        peer: &Peer,
        by: &RequestedBy,
        upstream: Option<&str>,
        gate: Gate,
        reference: Option<&RawValue>,
    ) -> Pending {
        let meant: Vec<usize> = (0..self.upstreams.len())
            .filter(|&n| upstream.is_none_or(|name| name == self.upstreams[n].config.name))
            .collect();
        if let (Some(name), true) = (upstream, meant.is_empty()) {
            let rejection = Rejection::new(Code::NotFound, format!("no upstream {}", quote(name))).about("upstream");
            return Pending::Ready(reply::error(&rejection, reference));
        }
        let actor = actor(peer, by);
        let operation = if gate == Gate::Pause { "pause" } else { "resume" };
        let names: Vec<String> = meant.iter().map(|&n| self.upstreams[n].config.name.clone()).collect();
        let written = self.write(|agent| {
            for &n in &meant {
                // The audit has no column for an upstream, so its reason names it.
                let name = &agent.upstreams[n].config.name;
                let reason = by.reason.as_ref().map_or_else(|| name.clone(), |reason| format!("{name}: {reason}"));
                agent.store.audit(now.wall, &actor, operation, None, Some(&reason))?;
            }
            Ok(())
        });
        match written {
            Ok(()) => {
                self.round.gates.extend(meant.into_iter().map(|n| (n, gate)));
                Pending::Stored {
                    line: reply::ok(&Upstreams { upstreams: names }, reference),
                    reference: reference.map(ToOwned::to_owned),
                }
            }
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// The upstreams resumed in this round, for which a refused login is retried.
    pub(super) fn logins_to_repeat(&self) -> Vec<usize> {
        let resumed = self.round.gates.iter().filter(|(_, gate)| *gate == Gate::Resume).map(|(n, _)| *n);
        resumed.filter(|n| self.upstreams[*n].config.credentials.login.is_some()).collect()
    }

    /// Applies the round's pauses and resumes, after all other changes to upstreams. Returns the states before, for the
    /// case that the round is not committed.
    pub(super) fn apply_pauses(&mut self, now: Moment) -> Vec<(usize, Upstream)> {
        let newest = self.store.ledger().newest_seq();
        let gates = std::mem::take(&mut self.round.gates);
        let before = gates.iter().map(|(n, _)| (*n, self.upstreams[*n].state.clone())).collect();
        for (n, gate) in gates {
            match gate {
                Gate::Pause => self.upstreams[n].state.suspend(now),
                Gate::Resume => self.upstreams[n].state.resume(now, newest),
                Gate::Flush => self.upstreams[n].state.flush(now.agent, newest),
            }
        }
        before
    }

    /// Restores the states after a failed commit, because operators get an error.
    pub(super) fn revert_pauses(&mut self, before: Vec<(usize, Upstream)>) {
        for (n, state) in before {
            self.upstreams[n].state = state;
        }
    }
}

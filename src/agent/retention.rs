//! Retention: runs every `retention.interval`, and when an operator requests it.
//!
//! It first removes failures by the rules of [`crate::policy::retention`], archiving them as `discard` does
//! (`leaving`); then history, keys and the archive's own files, by their ages. All of it runs in chunks between other
//! rounds, and all ages are in agent time.
//!
//! **A clock that jumped** adds at most three days to agent time, at a start ([`crate::moment::resume`]). A gap that
//! long may be a jump or a terminal that was off, and the agent cannot distinguish the two. So after such a start
//! nothing is removed until the agent has run three more days, in one run or several: what is old then is old without
//! the jump too.

use super::Agent;
use super::removal_job::{Long, Removal, RemovalJob, Stage, Task};
use crate::config::Retention;
use crate::figures::series::Bucket;
use crate::ids::Seq;
use crate::limits::{BULK_CHUNK, ROUND_PAYLOADS, SERIES_KEPT};
use crate::moment::{AgentTime, LONGEST_ABSENCE, Moment};
use crate::policy::retention::Rule;
use crate::record::{Disposition, Status};
use crate::store::StoreError;
use crate::store::archive::Part;
use crate::store::retention::{Aged, CleanUps};
use crate::wire::fields::{Code, Rejection};
use std::collections::BTreeSet;
use std::time::Duration;

/// Delay between a start and the first due run; other work needs the first minute more.
const AFTER_START: Duration = Duration::from_secs(60);
/// An archive file may hold lines older than its last one by a month.
const MONTH: Duration = Duration::from_secs(32 * 24 * 3600);

/// The schedule of automatic runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RetentionSchedule {
    next: AgentTime,
    known: CleanUps,
    /// The decision to suspend retention is not on disk yet.
    unsaved: bool,
    audit: AuditSeen,
}

/// Up to which row the audit was scanned, and up to which row all of it was old enough to delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct AuditSeen {
    up_to: i64,
    older: i64,
}

impl Agent {
    /// Restores the schedule of the last run.
    pub(super) fn plan_cleaning(&mut self, now: Moment) -> Result<(), StoreError> {
        let mut known = self.store.clean_ups()?;
        let away = now.agent.since(self.store.ledger().at.agent);
        let unsaved = away >= LONGEST_ABSENCE;
        if unsaved {
            // The rest of an earlier suspension is continued, not restarted: a terminal that is off for days between
            // short runs would never remove anything.
            let stopped = self.store.ledger().at.agent;
            let left = known.not_before.filter(|at| *at > stopped).map(|at| at.since(stopped));
            known.not_before = Some(now.agent.after(left.unwrap_or(LONGEST_ABSENCE)));
        }
        let interval = self.config.retention.interval;
        let last = known.ended_at.unwrap_or(now.agent.before(interval));
        let soonest = now.agent.after(AFTER_START.min(interval));
        let next = last.after(interval).max(soonest);
        self.cleaning = RetentionSchedule { next, known, unsaved, audit: AuditSeen::default() };
        Ok(())
    }

    /// When the next automatic run is due, in agent time.
    #[must_use]
    pub fn next_clean_up(&self) -> AgentTime {
        self.cleaning.next
    }

    /// After a change of the interval, moves a run that is now too far away forward.
    pub(super) fn clean_up_within_the_interval(&mut self, now: Moment) {
        let at = now.agent.after(self.config.retention.interval);
        self.cleaning.next = self.cleaning.next.min(at);
    }

    /// Stores a suspension after a clock jump with the first round, because that round makes the jump a part of agent
    /// time.
    pub(super) fn save_schedule(&mut self) {
        if self.cleaning.unsaved {
            let known = self.cleaning.known;
            self.cleaning.unsaved = self.write(|agent| agent.store.keep_clean_ups(known)).is_err();
        }
    }

    /// Why retention may not run now, whoever requests it.
    pub(super) fn clean_up_is_put_off(&self, now: AgentTime) -> Option<Rejection> {
        let until = self.cleaning.known.not_before.filter(|at| now < *at)?;
        let hours = until.since(now).as_secs().div_ceil(3600);
        let message = format!(
            "the clock has jumped, or the agent was off for days: nothing is cleaned up for another {hours} h, so that \
             nothing is removed because of that alone"
        );
        Some(Rejection::new(Code::Conflict, message))
    }

    /// Starts a run that is due.
    pub(super) fn plan_clean_up(&mut self, now: Moment) {
        let under_way = self.removals.iter().any(RemovalJob::is_our_own);
        if now.agent < self.cleaning.next || under_way || self.stopping {
            return;
        }
        self.cleaning.next = now.agent.after(self.config.retention.interval);
        if self.clean_up_is_put_off(now.agent).is_some() {
            // Written each time, so that the disk records how long the agent has run.
            self.cleaning.unsaved = true;
        } else if self.why_nothing_leaves().is_none() {
            self.clean_up_by_itself();
        }
    }

    /// Does the next chunk of a run; `true`: the run is complete.
    pub(super) fn clean_up_chunk(&mut self, now: Moment, job: &mut RemovalJob) -> Result<bool, Rejection> {
        let Task::CleanUp(cleaning) = &job.task else { return Ok(true) };
        let stage = match cleaning.stage {
            Stage::Heads { status, after } => Some(self.clean_heads(now, job, status, after)?),
            Stage::Proving { long, seen } => Some(self.prove(now, job, long, seen)?),
            Stage::Disposition { long } => Some(self.clean_from_the_end(now, job, long)?),
            _ if job.dry_run => None,
            history => self.write(|agent| agent.forget(now, history))?,
        };
        if let (Some(stage), Task::CleanUp(cleaning)) = (stage, &mut job.task) {
            cleaning.stage = stage;
            return Ok(false);
        }
        if !job.dry_run {
            let known = CleanUps { ended_at: Some(now.agent), ..self.cleaning.known };
            self.write(|agent| agent.store.keep_clean_ups(known))?;
            self.cleaning.known = known;
            log::debug!("event=cleaned_up");
        }
        Ok(true)
    }

    // ---- failures

    /// Removes the old ones among the next critical or held heads, each with all its followers.
    fn clean_heads(
        &mut self,
        now: Moment,
        job: &mut RemovalJob,
        status: Status,
        after: Seq,
    ) -> Result<Stage, Rejection> {
        let found = self.store.needing_persons(status, after, BULK_CHUNK).map_err(|error| self.unread(now, &error))?;
        let (mut chosen, mut rows, mut bytes) = (Vec::new(), 0, 0);
        let mut next = match (status, found.last()) {
            (_, Some(last)) if found.len() == BULK_CHUNK => Stage::Heads { status, after: last.seq },
            (Status::Critical, _) => Stage::Heads { status: Status::Held, after: Seq(0) },
            _ => Stage::Attempts,
        };
        let mut before = after;
        let mut leaves_already = BTreeSet::new();
        for aged in &found {
            if leaves_already.contains(&aged.seq) {
                before = aged.seq;
                continue;
            }
            let age = now.agent.since(aged.since);
            let rule = Rule::of(&self.config.retention, aged.status, aged.retry_count, age);
            let Some(rule) = rule else {
                before = aged.seq;
                continue;
            };
            let most = BULK_CHUNK + 1;
            let chain = self.chain(aged.seq, most).map_err(|error| self.unread(now, &error))?;
            let weight: usize = chain.iter().map(|one| one.bytes).sum();
            let long = aged.head && (chain.len() == most || weight > ROUND_PAYLOADS);
            if !aged.head && (chain.len() == most || weight > ROUND_PAYLOADS) {
                before = aged.seq; // Its followers are removed first; then it is checked again.
                continue;
            }
            if long && chosen.is_empty() {
                next = Stage::Proving { long: Long { head: aged.seq, rule, status }, seen: Seq(0) };
                break;
            }
            if long || rows + chain.len() > BULK_CHUNK || bytes + weight > ROUND_PAYLOADS {
                next = Stage::Heads { status, after: before };
                break;
            }
            before = aged.seq;
            if self.all_expired(now, &chain, rule, aged.head) {
                rows += chain.len();
                bytes += weight;
                leaves_already.extend(chain.iter().map(|one| one.seq));
                chosen.push((chain, rule));
            }
        }
        self.clean(now, job, &chosen)?;
        Ok(next)
    }

    /// A failure and its followers, at most `limit` in all.
    fn chain(&self, seq: Seq, limit: usize) -> Result<Vec<Aged>, StoreError> {
        let Some(failure) = self.store.light_by_seq(seq)? else { return Ok(Vec::new()) };
        // Where no failure waits for it, it is removed alone.
        let limit = if self.is_free(&failure) { 1 } else { limit };
        self.store.order_from(&failure.order(), seq, limit)
    }

    /// Returns whether all are old enough and none is in flight. Behind a failure that is not a head, all must be
    /// critical or held: a pending failure is removed only with its head.
    fn all_expired(&self, now: Moment, chain: &[Aged], rule: Rule, from_head: bool) -> bool {
        let least = rule.age(&self.config.retention);
        let old = |one: &Aged| now.agent.since(one.since) > least && !self.in_flight.contains_key(&one.seq);
        let leaves = |one: &Aged| old(one) && (from_head || one.status != Status::Pending);
        !chain.is_empty() && chain.iter().all(leaves)
    }

    /// Removes these chains, each from its end; they are ordered by number.
    fn clean(&mut self, now: Moment, job: &mut RemovalJob, chains: &[(Vec<Aged>, Rule)]) -> Result<(), Rejection> {
        let Task::CleanUp(cleaning) = &mut job.task else { return Ok(()) };
        cleaning.matched += chains.iter().map(|(chain, _)| chain.len() as u64).sum::<u64>();
        if job.dry_run || chains.is_empty() {
            return Ok(());
        }
        let mut leaving = Vec::new();
        for (chain, rule) in chains {
            let why = rule.words(&self.config.retention);
            let reason = job.reason.as_ref().map_or_else(|| why.clone(), |reason| format!("{reason} ({why})"));
            for one in chain.iter().rev() {
                let read = self.store.by_seq(one.seq).map_err(|error| self.unread(now, &error))?;
                let removal = |failure| Removal { failure, how: Disposition::Cleaned, reason: Some(reason.clone()) };
                leaving.extend(read.map(removal));
            }
        }
        self.archive_and_delete(now, &leaving, &job.actor)?;
        cleaning.changed += leaving.len() as u64;
        Ok(())
    }

    /// Checks the next part of a long chain.
    fn prove(&mut self, now: Moment, job: &mut RemovalJob, long: Long, seen: Seq) -> Result<Stage, Rejection> {
        let onward = Stage::Heads { status: long.status, after: long.head };
        let Some(head) = self.store.light_by_seq(long.head).map_err(|error| self.unread(now, &error))? else {
            return Ok(onward);
        };
        let part = self.store.order_from(&head.order(), seen.max(long.head), BULK_CHUNK);
        let part = part.map_err(|error| self.unread(now, &error))?;
        if !self.all_expired(now, &part, long.rule, true) {
            return Ok(onward);
        }
        if let Task::CleanUp(cleaning) = &mut job.task
            && job.dry_run
        {
            cleaning.matched += part.len() as u64;
        }
        Ok(match part.last() {
            Some(last) if part.len() == BULK_CHUNK => Stage::Proving { long, seen: Seq(last.seq.0 + 1) },
            _ if job.dry_run => onward,
            _ => Stage::Disposition { long },
        })
    }

    /// Removes the end of a long chain, as long as its head may still be removed and no younger failure has joined it.
    fn clean_from_the_end(&mut self, now: Moment, job: &mut RemovalJob, long: Long) -> Result<Stage, Rejection> {
        let onward = Stage::Heads { status: long.status, after: long.head };
        let head = self.store.light_by_seq(long.head).map_err(|error| self.unread(now, &error))?;
        let Some(head) = head.filter(|head| head.head && head.status != Status::Pending) else { return Ok(onward) };
        let end = self.store.order_from_its_end(&head.order(), BULK_CHUNK);
        let mut end = end.map_err(|error| self.unread(now, &error))?;
        let mut bytes = 0;
        let fits = end.iter().take_while(|one| {
            let first = bytes == 0;
            bytes += one.bytes.max(1);
            first || bytes <= ROUND_PAYLOADS
        });
        end.truncate(fits.count());
        end.reverse();
        if !self.all_expired(now, &end, long.rule, true) {
            return Ok(onward);
        }
        let done = end.first().is_some_and(|one| one.seq <= long.head);
        self.clean(now, job, &[(end, long.rule)])?;
        Ok(if done { onward } else { Stage::Disposition { long } })
    }

    // ---- history, keys, files

    /// Does one step and returns the next.
    fn forget(&mut self, now: Moment, stage: Stage) -> Result<Option<Stage>, StoreError> {
        let Retention { history, archive, delivered, .. } = self.config.retention;
        // The history of undelivered failures is kept as long as the archive's files.
        let told = history.max(archive.saturating_add(MONTH));
        let old = self.store.history_before(now.agent.before(history))?;
        Ok(match stage {
            Stage::Attempts => {
                let gap = (history / 16).max(archive / 512);
                self.store.mark_history(now.agent, now.agent.before(gap), now.agent.before(told))?;
                let gone = old.map_or(Ok(0), |old| self.store.forget_attempts(old.attempt, BULK_CHUNK))?;
                self.round.deleted |= gone > 0;
                let older = self.store.history_before(now.agent.before(told))?.map_or(0, |mark| mark.audit);
                if self.cleaning.audit.older != older {
                    self.cleaning.audit = AuditSeen { up_to: 0, older };
                }
                if gone == BULK_CHUNK { Some(stage) } else { Some(Stage::Audit { after: self.cleaning.audit.up_to }) }
            }
            Stage::Audit { after } => {
                let up_to = (old.map_or(0, |old| old.audit), self.cleaning.audit.older);
                let seen = self.store.forget_audit(after, up_to, BULK_CHUNK)?;
                // Audit rows that are kept for the archive are not scanned again each hour.
                self.cleaning.audit.up_to = after;
                Some(seen.map_or(Stage::Keys, |last| Stage::Audit { after: last }))
            }
            Stage::Keys => {
                let aged = self.store.age_keys(now.agent, BULK_CHUNK)?;
                let gone = self.store.forget_keys(now.agent.before(history), BULK_CHUNK)?;
                self.store.forget_series(Bucket::of(now.agent.before(SERIES_KEPT)), BULK_CHUNK)?;
                self.round.deleted |= gone > 0;
                if aged == BULK_CHUNK || gone == BULK_CHUNK { Some(stage) } else { Some(Stage::Files) }
            }
            Stage::Files => {
                self.store.forget_archive(Part::Undelivered, now.agent.before(archive), now.agent)?;
                self.store.forget_archive(Part::Delivered, now.agent.before(delivered), now.agent)?;
                None
            }
            Stage::Heads { .. } | Stage::Proving { .. } | Stage::Disposition { .. } => None,
        })
    }
}

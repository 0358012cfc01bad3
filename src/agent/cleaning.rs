//! The clean-up: by itself every `retention.interval`, and when a person asks for it.
//!
//! First failures, by the rules of [`crate::policy::retention`], archived like what a person discards
//! (`leaving`); then history, keys and the archive's own files, by their ages. All of it in chunks
//! between the rounds of others, and all ages in agent time.
//!
//! **A clock that jumped** adds at most three days to agent time, at a start ([`crate::moment::resume`]).
//! Whoever was away that long has seen a jump or has been switched off; nobody can tell. So after such
//! a start nothing is cleaned up until the agent has lived three days more: what is old then is old
//! without the jump too.

use super::Agent;
use super::leaving::{Exodus, Leaver, Task};
use crate::config::Retention;
use crate::figures::series::Bucket;
use crate::ids::Seq;
use crate::limits::{ARCHIVE_PIECE, BULK_CHUNK, SERIES_KEPT};
use crate::moment::{AgentTime, LONGEST_ABSENCE, Moment};
use crate::policy::retention::Rule;
use crate::record::{Leaving, Status};
use crate::store::StoreError;
use crate::store::retention::{Aged, CleanUps};
use crate::wire::fields::{Code, Rejection};
use std::time::Duration;

/// So long after a start the first clean-up begins, if one is due: others need the first minute more.
const AFTER_START: Duration = Duration::from_secs(60);
/// An archive's file may hold lines that are older than its last one by a month.
const MONTH: Duration = Duration::from_secs(32 * 24 * 3600);

/// When the agent cleans up by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CleaningPlan {
    next: AgentTime,
    known: CleanUps,
    /// That there is to be none for a while is not on disk yet.
    unsaved: bool,
    audit: AuditSeen,
}

/// Up to where the audit was looked through, and up to where it was old enough to be forgotten whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct AuditSeen {
    up_to: i64,
    older: i64,
}

/// A clean-up that is under way.
#[derive(Debug)]
pub(super) struct Cleaning {
    stage: Stage,
    /// How many may leave.
    pub(super) matched: u64,
    /// How many have left.
    pub(super) changed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Looks for heads that need a person and are old, beyond this number.
    Heads {
        status: Status,
        after: Seq,
    },
    /// A head with more behind it than fit a chunk: are they all old? Seen up to this number.
    Proving {
        long: Long,
        seen: Seq,
    },
    /// They are, and leave from the newest on.
    Leaving {
        long: Long,
    },
    Attempts,
    Audit {
        after: i64,
    },
    Keys,
    Files,
}

/// A head with many behind it.
#[derive(Clone, Copy, Debug)]
struct Long {
    head: Seq,
    rule: Rule,
    status: Status,
}

impl Cleaning {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Heads { status: Status::Critical, after: Seq(0) }, matched: 0, changed: 0 }
    }
}

impl Agent {
    /// As the last run left it.
    pub(super) fn plan_cleaning(&mut self, now: Moment) -> Result<(), StoreError> {
        let mut known = self.store.clean_ups()?;
        let away = now.agent.since(self.store.ledger().at.agent);
        let unsaved = away >= LONGEST_ABSENCE;
        if unsaved {
            known.not_before = Some(now.agent.after(LONGEST_ABSENCE));
        }
        let interval = self.config.retention.interval;
        let last = known.ended_at.unwrap_or(now.agent.before(interval));
        let soonest = now.agent.after(AFTER_START.min(interval));
        let next = last.after(interval).max(soonest).max(known.not_before.unwrap_or(soonest));
        self.cleaning = CleaningPlan { next, known, unsaved, audit: AuditSeen::default() };
        Ok(())
    }

    /// When the agent cleans up next by itself, in agent time.
    #[must_use]
    pub fn next_clean_up(&self) -> AgentTime {
        self.cleaning.next
    }

    /// The interval has changed: one that is now too far away comes sooner.
    pub(super) fn clean_up_within_the_interval(&mut self, now: Moment) {
        let at =
            now.agent.after(self.config.retention.interval).max(self.cleaning.known.not_before.unwrap_or(now.agent));
        self.cleaning.next = self.cleaning.next.min(at);
    }

    /// What a jump of the clock has put off stays put off: it goes with the first round, which makes
    /// the jump a part of agent time.
    pub(super) fn keep_cleaning(&mut self) {
        if self.cleaning.unsaved {
            let known = self.cleaning.known;
            self.cleaning.unsaved = self.write(|agent| agent.store.keep_clean_ups(known)).is_err();
        }
    }

    /// Why nothing may be cleaned up now, by anybody.
    pub(super) fn clean_up_is_put_off(&self, now: AgentTime) -> Option<Rejection> {
        let until = self.cleaning.known.not_before.filter(|at| now < *at)?;
        let hours = until.since(now).as_secs().div_ceil(3600);
        let message = format!(
            "the clock has jumped, or the agent was away for days: nothing is cleaned up for another {hours} h, \
             until what is old is old without that too"
        );
        Some(Rejection::new(Code::Conflict, message))
    }

    /// Begins one that is due.
    pub(super) fn plan_clean_up(&mut self, now: Moment) {
        let under_way = self.exodus.iter().any(Exodus::is_our_own);
        if now.agent < self.cleaning.next || under_way || self.stopping {
            return;
        }
        self.cleaning.next = now.agent.after(self.config.retention.interval);
        if self.why_nothing_leaves().is_none() && self.clean_up_is_put_off(now.agent).is_none() {
            self.clean_up_by_itself();
        }
    }

    /// The next of a clean-up; `true`: that was all.
    pub(super) fn clean_up_chunk(&mut self, now: Moment, exodus: &mut Exodus) -> Result<bool, Rejection> {
        let Task::CleanUp(cleaning) = &exodus.task else { return Ok(true) };
        let stage = match cleaning.stage {
            Stage::Heads { status, after } => Some(self.clean_heads(now, exodus, status, after)?),
            Stage::Proving { long, seen } => Some(self.prove(now, exodus, long, seen)?),
            Stage::Leaving { long } => Some(self.clean_from_the_end(now, exodus, long)?),
            _ if exodus.dry_run => None,
            history => self.write(|agent| agent.forget(now, history))?,
        };
        if let (Some(stage), Task::CleanUp(cleaning)) = (stage, &mut exodus.task) {
            cleaning.stage = stage;
            return Ok(false);
        }
        if !exodus.dry_run {
            let known = CleanUps { ended_at: Some(now.agent), ..self.cleaning.known };
            self.write(|agent| agent.store.keep_clean_ups(known))?;
            self.cleaning.known = known;
            log::debug!("event=cleaned_up");
        }
        Ok(true)
    }

    // ---- failures

    /// Of the next that need a person those that are old, with all behind them.
    fn clean_heads(
        &mut self,
        now: Moment,
        exodus: &mut Exodus,
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
        for aged in &found {
            let age = now.agent.since(aged.recorded_at);
            let rule = Rule::of(&self.config.retention, aged.status, aged.retry_count, age);
            let Some(rule) = rule else {
                before = aged.seq;
                continue;
            };
            let most = BULK_CHUNK + 1;
            let chain = self.chain(aged.seq, most).map_err(|error| self.unread(now, &error))?;
            let weight: usize = chain.iter().map(|one| one.bytes).sum();
            let long = chain.len() == most || weight > ARCHIVE_PIECE;
            if long && chosen.is_empty() {
                next = Stage::Proving { long: Long { head: aged.seq, rule, status }, seen: Seq(0) };
                break;
            }
            if long || rows + chain.len() > BULK_CHUNK || bytes + weight > ARCHIVE_PIECE {
                next = Stage::Heads { status, after: before };
                break;
            }
            before = aged.seq;
            if self.may_all_leave(now, &chain, rule) {
                rows += chain.len();
                bytes += weight;
                chosen.push((chain, rule));
            }
        }
        self.clean(now, exodus, &chosen)?;
        Ok(next)
    }

    /// A head and those behind it, at most so many; none for one that is no head.
    fn chain(&self, seq: Seq, limit: usize) -> Result<Vec<Aged>, StoreError> {
        let Some(failure) = self.store.by_seq(seq)?.filter(|failure| failure.head) else { return Ok(Vec::new()) };
        // Where nothing waits for it, it leaves alone.
        let limit = if self.is_free(&failure) { 1 } else { limit };
        self.store.order_from(&failure.order(), seq, limit)
    }

    /// Are all of them old enough, and none under way?
    fn may_all_leave(&self, now: Moment, chain: &[Aged], rule: Rule) -> bool {
        let least = rule.age(&self.config.retention);
        let old = |one: &Aged| now.agent.since(one.recorded_at) > least && !self.in_flight.contains_key(&one.seq);
        !chain.is_empty() && chain.iter().all(old)
    }

    /// These chains leave, each from its end; they come in the order of their numbers.
    fn clean(&mut self, now: Moment, exodus: &mut Exodus, chains: &[(Vec<Aged>, Rule)]) -> Result<(), Rejection> {
        let Task::CleanUp(cleaning) = &mut exodus.task else { return Ok(()) };
        cleaning.matched += chains.iter().map(|(chain, _)| chain.len() as u64).sum::<u64>();
        if exodus.dry_run || chains.is_empty() {
            return Ok(());
        }
        let mut leavers = Vec::new();
        for (chain, rule) in chains {
            let why = rule.words(&self.config.retention);
            let reason = exodus.reason.as_ref().map_or_else(|| why.clone(), |reason| format!("{reason} ({why})"));
            for one in chain.iter().rev() {
                let read = self.store.by_seq(one.seq).map_err(|error| self.unread(now, &error))?;
                let leaver = |failure| Leaver { failure, how: Leaving::Cleaned, reason: Some(reason.clone()) };
                leavers.extend(read.map(leaver));
            }
        }
        self.depart(now, &leavers, &exodus.actor)?;
        cleaning.changed += leavers.len() as u64;
        Ok(())
    }

    /// Looks at the next part of a long chain.
    fn prove(&mut self, now: Moment, exodus: &mut Exodus, long: Long, seen: Seq) -> Result<Stage, Rejection> {
        let onward = Stage::Heads { status: long.status, after: long.head };
        let Some(head) = self.store.by_seq(long.head).map_err(|error| self.unread(now, &error))? else {
            return Ok(onward);
        };
        let part = self.store.order_from(&head.order(), seen.max(long.head), BULK_CHUNK);
        let part = part.map_err(|error| self.unread(now, &error))?;
        if !self.may_all_leave(now, &part, long.rule) {
            return Ok(onward);
        }
        if let Task::CleanUp(cleaning) = &mut exodus.task
            && exodus.dry_run
        {
            cleaning.matched += part.len() as u64;
        }
        Ok(match part.last() {
            Some(last) if part.len() == BULK_CHUNK => Stage::Proving { long, seen: Seq(last.seq.0 + 1) },
            _ if exodus.dry_run => onward,
            _ => Stage::Leaving { long },
        })
    }

    /// The end of a long chain leaves, as long as its head still does and nothing young has come.
    fn clean_from_the_end(&mut self, now: Moment, exodus: &mut Exodus, long: Long) -> Result<Stage, Rejection> {
        let onward = Stage::Heads { status: long.status, after: long.head };
        let head = self.store.by_seq(long.head).map_err(|error| self.unread(now, &error))?;
        let Some(head) = head.filter(|head| head.head && head.status != Status::Pending) else { return Ok(onward) };
        let end = self.store.order_from_its_end(&head.order(), BULK_CHUNK);
        let mut end = end.map_err(|error| self.unread(now, &error))?;
        let mut bytes = 0;
        let fits = end.iter().take_while(|one| {
            let first = bytes == 0;
            bytes += one.bytes.max(1);
            first || bytes <= ARCHIVE_PIECE
        });
        end.truncate(fits.count());
        end.reverse();
        if !self.may_all_leave(now, &end, long.rule) {
            return Ok(onward);
        }
        let done = end.first().is_some_and(|one| one.seq <= long.head);
        self.clean(now, exodus, &[(end, long.rule)])?;
        Ok(if done { onward } else { Stage::Leaving { long } })
    }

    // ---- history, keys, files

    /// Does one step, and says which is next.
    fn forget(&mut self, now: Moment, stage: Stage) -> Result<Option<Stage>, StoreError> {
        let Retention { history, archive, .. } = self.config.retention;
        // Those who left undelivered are told of as long as the archive's files are there.
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
                // What is kept of it for the archive's sake need not be looked at each hour.
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
                self.store.forget_archive(now.agent.before(archive), now.agent)?;
                None
            }
            Stage::Heads { .. } | Stage::Proving { .. } | Stage::Leaving { .. } => None,
        })
    }
}

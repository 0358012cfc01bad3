//! Recovery from failed writes: when to retry, how requests are rejected meanwhile, and reopening the file.
//!
//! The outcomes of a round whose commit failed are kept ([`Agent::fail`]) and written alone until that succeeds
//! ([`Agent::retry_unwritten`]); until then nothing is sent. The rest depends on the cause:
//!
//! | | |
//! |---|---|
//! | no room | the ballast is given up; nothing is recorded before outcomes alone could be written |
//! | a foreign lock | nothing is written before the next attempt, because each blocks the loop for a second |
//! | anything else | the file is reopened first: pages that the kernel reports as written may not be |
//! | damage | the same, and what can be read of the file is salvaged, a part per round |
//!
//! Where possible, the salvage runs while recording continues: new failures get higher numbers than all others. Nothing
//! else is written until it ends, and nothing is sent, because the order is not known before.

use super::Agent;
use super::outcomes::Outcome;
use super::upstream_entry::UpstreamEntry;
use crate::limits::BUSY_TIMEOUT;
use crate::moment::{AgentTime, Moment};
use crate::store::StoreError;
use crate::store::open_error::OpenError;
use crate::wire::fields::{Code, Rejection};
use std::time::Duration;

/// Number of outcomes written per round while the disk is full; few, so that each commit fits into the remaining space.
const PORTION: usize = 4;

/// State of the recovery.
#[derive(Debug, Default)]
pub(super) struct WriteRecovery {
    failures: u32,
    next: Option<AgentTime>,
    /// The file must be reopened first.
    reopen: bool,
    /// Why that did not succeed.
    unopened: Option<String>,
    /// Another process holds the write lock. Each attempt to get it blocks the loop.
    locked: bool,
    /// The file is damaged; reopening moves it to the quarantine.
    damaged: bool,
    /// The file was reopened, and quarantined data is being restored.
    recovering: bool,
    /// Data is being restored while failures are recorded.
    beside: Option<Beside>,
    /// A row could not be read.
    odd: bool,
    without_history: bool,
    /// The disk is full: nothing is recorded until outcomes alone could be written.
    full: bool,
}

/// A salvage that runs while recording continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beside {
    /// The agent started during it, so the upstreams' states are read when it ends.
    from_start: bool,
}

impl WriteRecovery {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(10);
    /// The fourth delay for a lock, 2 s, is the longest: attempts then block a third of the time, and after the lock is
    /// released few requests are still refused.
    const MOST_FOR_A_LOCK: u32 = 3;

    /// The rejection of requests that write, while the file is to be reopened, is locked, or is being salvaged.
    pub(super) fn refusal(&self) -> Option<Rejection> {
        self.refusal_of_records().or_else(|| self.not_back_yet())
    }

    /// The rejection of a new failure.
    pub(super) fn refusal_of_records(&self) -> Option<Rejection> {
        let message = match (self.reopen, &self.unopened, self.locked) {
            (true, Some(why), _) => {
                format!("the database cannot be opened, and nothing is recorded until it can: {why}")
            }
            (true, None, _) => "the database failed and is being opened again; send it again shortly".to_owned(),
            (false, _, true) => "another program holds the database's write lock; send it again shortly".to_owned(),
            (false, _, false) => return None,
        };
        Some(Rejection::new(Code::Storage, message))
    }

    /// The rejection of everything else during a salvage, because it may concern data that is not restored yet.
    pub(super) fn not_back_yet(&self) -> Option<Rejection> {
        self.beside.map(|_| Rejection::new(Code::Storage, NOT_BACK_YET))
    }

    /// When to retry, if there is anything to retry.
    pub(super) fn next(&self) -> Option<AgentTime> {
        self.next
    }

    /// Takes the note that a row could not be read.
    pub(super) fn take_odd(&mut self) -> bool {
        std::mem::take(&mut self.odd)
    }

    /// Returns whether the last round failed for lack of space.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Records a failed commit or statement.
    pub(super) fn failed(&mut self, now: AgentTime, error: &StoreError) {
        let mut ended = now;
        match error {
            StoreError::Full(_) => self.full = true,
            StoreError::Locked(_) => {
                self.locked = true;
                // The round began before it waited for the lock; the delay starts afterwards.
                ended = now.after(BUSY_TIMEOUT);
                self.failures = self.failures.min(Self::MOST_FOR_A_LOCK);
            }
            // The row is moved out of the way before the next attempt (`odd`); the file itself is sound.
            StoreError::Odd { .. } => self.odd = true,
            StoreError::NotKept(_) => {}
            StoreError::Failed(_) | StoreError::Replaced => (self.reopen, self.recovering) = (true, false),
            StoreError::Damaged(_) => (self.reopen, self.damaged, self.recovering) = (true, true, false),
        }
        self.postpone(ended);
    }

    /// Records a failed read; damage is handled as for a failed write.
    pub(super) fn met(&mut self, now: AgentTime, error: &StoreError) {
        self.odd |= matches!(error, StoreError::Odd { .. });
        if let (StoreError::Damaged(_), false) = (error, self.damaged) {
            self.failed(now, error);
        }
    }

    /// Notes that a salvage runs while recording continues.
    pub(super) fn salvages_beside(&mut self, now: AgentTime, from_start: bool) {
        (self.beside, self.next) = (Some(Beside { from_start }), Some(now));
    }

    fn opened(&mut self) {
        (self.reopen, self.damaged, self.recovering) = (false, false, false);
        self.unopened = None;
    }

    fn postpone(&mut self, now: AgentTime) {
        let wait = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures += 1;
        self.next = Some(now.after(wait));
    }
}

/// The message during a salvage.
const NOT_BACK_YET: &str = "the database was damaged, and what it held is being brought back; failures are recorded meanwhile; try again shortly";

/// How often it is looked whether the copy of a deleted file is done.
const COPY_LOOK: Duration = Duration::from_millis(50);

/// Delay before a salvage checks again for sufficient disk space.
const ROOM_LOOK: Duration = Duration::from_secs(5);

impl Agent {
    /// Detects a deleted database before the next write.
    pub(super) fn look_at_place(&mut self, now: Moment) {
        if self.write_recovery.refusal().is_some() || self.round.failed.is_some() {
            return;
        }
        if let Err(error) = self.store.look_at_place() {
            log::error!("event=not_in_place error={:?}", error.to_string());
            self.write_recovery.failed(now.agent, &error);
        }
    }

    /// The round's outcomes are on disk.
    pub(super) fn land(&mut self, now: Moment, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.watch.stir();
            self.watch.ended(now.agent, &outcome.failure, outcome.judgement.decision);
            self.in_flight.remove(&outcome.failure.seq);
        }
        if self.write_recovery.next.is_none() {
            self.write_recovery = WriteRecovery { odd: self.write_recovery.odd, ..WriteRecovery::default() };
        }
    }

    /// The commit failed: its outcomes are kept and retried alone.
    pub(super) fn fail(&mut self, now: Moment, outcomes: Vec<Outcome>, error: &StoreError) {
        // They are older than those not tried yet, and are written first.
        let later = std::mem::replace(&mut self.unwritten_outcomes, outcomes);
        self.unwritten_outcomes.extend(later);
        for line in &mut self.upstreams {
            line.stored = None; // What this round wrote of it is lost.
        }
        // A round of outcomes alone did not fit either: since the round before, nothing was recorded and operators
        // changed nothing. The reserve is used for nothing else.
        let outcomes_wait = !self.unwritten_outcomes.is_empty();
        let no_room = matches!(error, StoreError::Full(_));
        if self.write_recovery.is_full() && no_room && outcomes_wait {
            if self.store.make_room() {
                self.write_recovery.failures = 0;
            } else {
                // Omitting the attempts' rows makes the deletions possible at the hard limit.
                self.write_recovery.without_history = true;
            }
        }
        self.write_recovery.failed(now.agent, error);
    }

    /// Reopens the file if necessary, and writes the outcomes that could not be written.
    pub(super) fn retry_unwritten(&mut self, now: Moment) {
        let due = self.write_recovery.next.is_some_and(|at| at <= now.agent);
        if !due || self.round.failed.is_some() {
            return;
        }
        if self.write_recovery.reopen {
            match self.reopen_store(now) {
                Ok(true) => log::warn!("event=reopened"),
                Ok(false) => {
                    // The rest of it in the next round, or when the copy of the last file is done.
                    let wait = if self.store.is_copying() { COPY_LOOK } else { Duration::ZERO };
                    self.write_recovery.next = Some(now.agent.after(wait));
                    return;
                }
                Err(error) => {
                    let why = error.to_string();
                    log::error!("event=reopen_failed error={why:?}");
                    // A reader holds the file only for a moment, so the error is not reported.
                    self.write_recovery.unopened = (!matches!(error, OpenError::Read)).then_some(why);
                    self.write_recovery.recovering = false;
                    self.write_recovery.postpone(now.agent);
                    return;
                }
            }
            self.write_recovery.opened();
            let before = self.write_recovery.beside.take();
            let recalled = if self.store.is_beside() {
                self.write_recovery.salvages_beside(now.agent, before.is_some_and(|beside| beside.from_start));
                Ok(())
            } else {
                self.recall_lines(now, before)
            };
            if let Err(error) = recalled.and_then(|()| self.adopt(now)) {
                self.write_recovery.failed(now.agent, &error);
                return;
            }
        }
        if self.write_recovery.beside.is_some() {
            // Also retry records that were refused for lack of space.
            (self.write_recovery.next, self.write_recovery.locked, self.write_recovery.full) =
                (Some(now.agent), false, false);
            return;
        }
        (self.write_recovery.next, self.write_recovery.locked) = (None, false);
        let mut outcomes = std::mem::take(&mut self.unwritten_outcomes);
        if self.write_recovery.full && outcomes.len() > PORTION {
            self.unwritten_outcomes = outcomes.split_off(PORTION);
            self.write_recovery.next = Some(now.agent); // The others are written in the next round.
        }
        let with_history = !self.write_recovery.without_history;
        let written = self.write(|agent| {
            outcomes.iter().try_for_each(|outcome| {
                if agent.is_stored(outcome)? { Ok(()) } else { agent.write_outcome(outcome, with_history) }
            })
        });
        if written.is_ok() && self.unwritten_outcomes.is_empty() {
            self.write_recovery.without_history = false;
        }
        self.round.outcomes.extend(outcomes);
    }

    /// Returns whether a commit that reported an error is on disk: a failed fsync may have written everything.
    fn is_stored(&self, outcome: &Outcome) -> Result<bool, StoreError> {
        let (failure, attempt) = (&outcome.failure, outcome.failure.attempts + 1);
        let live = self.store.light_by_seq(failure.seq)?;
        Ok(live.is_some_and(|live| live.attempts >= attempt)
            || self.store.is_attempt_kept(&failure.id, failure.seq, attempt)?)
    }

    /// Reopens the file, then restores quarantined data, a part per round; `true` when that is complete.
    fn reopen_store(&mut self, now: Moment) -> Result<bool, OpenError> {
        if !self.write_recovery.recovering {
            if !self.store.reopen(now.wall, self.write_recovery.damaged)? {
                return Ok(false);
            }
            (self.write_recovery.recovering, self.write_recovery.damaged) = (true, false);
        }
        if self.store.is_beside() { Ok(true) } else { self.store.recover(now.wall) }
    }

    /// Restores a part of the quarantined data while recording continues. No round is open.
    pub(super) fn bring_back(&mut self, now: Moment) {
        let Some(beside) = self.write_recovery.beside else { return };
        let due = self.write_recovery.next.is_some_and(|at| at <= now.agent) && !self.write_recovery.reopen;
        if !due || self.store.is_in_round() {
            return;
        }
        // The remaining space is reserved for records and outcomes.
        let least = self.limits.min_free_disk.saturating_mul(2);
        if self.write_recovery.full
            || self.store.is_reserved_for_outcomes()
            || self.disk_free.is_some_and(|free| free < least)
        {
            self.write_recovery.next = Some(now.agent.after(ROOM_LOOK));
            return;
        }
        match self.store.recover(now.wall) {
            Ok(false) => self.write_recovery.next = Some(now.agent),
            Ok(true) => {
                (self.write_recovery.beside, self.write_recovery.next) = (None, Some(now.agent));
                log::warn!("event=salvaged");
                if let Err(error) = self.recall_lines(now, Some(beside)).and_then(|()| self.adopt(now)) {
                    self.write_recovery.failed(now.agent, &error);
                }
            }
            Err(error) => {
                log::error!("event=salvage_failed error={:?}", error.to_string());
                self.write_recovery.reopen = !error.is_for_want_of_room();
                self.write_recovery.recovering = false;
                self.write_recovery.postpone(now.agent);
            }
        }
    }

    /// After a salvage that was running when the agent started: restores the upstreams' stored states.
    fn recall_lines(&mut self, now: Moment, ended: Option<Beside>) -> Result<(), StoreError> {
        if !ended.is_some_and(|beside| beside.from_start) {
            return Ok(());
        }
        for index in 0..self.upstreams.len() {
            let name = &self.upstreams[index].config.name;
            if let Some(known) = self.store.upstream(name)? {
                self.upstreams[index] = UpstreamEntry::new(&self.upstreams[index].config, Some(known), now);
            }
        }
        Ok(())
    }
}

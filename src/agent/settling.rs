//! What could not be written: when it is tried again, what is said meanwhile, and the file that has to
//! be opened anew first.
//!
//! The outcomes of a round whose commit failed are kept ([`Agent::fail`]) and written alone until that
//! succeeds ([`Agent::settle_again`]); until then nothing is sent. What else happens depends on why it
//! failed:
//!
//! | | |
//! |---|---|
//! | no room | the ballast is given up; nothing is recorded before outcomes alone could be written |
//! | a foreign lock | nothing is written before the next try, because each stalls everybody for a second |
//! | anything else | the file is opened anew first: what the kernel calls written may not be |
//! | damage | the same, and what can be read of it is salvaged, a part a round |

use super::Agent;
use super::outcomes::Outcome;
use crate::limits::BUSY_PATIENCE;
use crate::moment::{AgentTime, Moment};
use crate::store::StoreError;
use crate::store::open::OpenError;
use crate::wire::fields::{Code, Rejection};
use std::time::Duration;

/// Outcomes that are written in one round while the disk is full: few, so that the room that there is
/// suffices for them.
const PORTION: usize = 4;

/// Writing the outcomes whose commit failed: when to try again, and what is said meanwhile.
#[derive(Debug, Default)]
pub(super) struct Settling {
    failures: u32,
    next: Option<AgentTime>,
    /// The file has to be opened anew first.
    reopen: bool,
    /// Somebody else holds the write lock; each try to get it stalls everybody.
    locked: bool,
    /// It is damaged, and goes to the quarantine then.
    damaged: bool,
    /// It was opened, and what was quarantined is being brought back.
    recovering: bool,
    without_history: bool,
    /// The disk is full: nothing is recorded until outcomes alone could be written.
    full: bool,
}

impl Settling {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(10);
    /// The fourth wait for a lock, 2 s, is the longest: it stalls a third of the time then, and when the
    /// lock has gone nobody is refused for long.
    const MOST_FOR_A_LOCK: u32 = 3;

    /// What a request that writes gets while the file has to be opened anew, or is left alone.
    pub(super) fn refusal(&self) -> Option<Rejection> {
        let message = match (self.reopen, self.locked) {
            (true, _) => "the database failed and is being opened again; send it again shortly",
            (false, true) => "another program holds the database's write lock; send it again shortly",
            (false, false) => return None,
        };
        Some(Rejection::new(Code::Storage, message))
    }

    /// When to try again, if there is anything to try.
    pub(super) fn next(&self) -> Option<AgentTime> {
        self.next
    }

    /// Was there no room for the last round?
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// A commit, or a statement, has failed.
    pub(super) fn failed(&mut self, now: AgentTime, error: &StoreError) {
        let mut ended = now;
        match error {
            // Giving up the attempt's row lets the deletion through at the hard limit.
            StoreError::Full(_) => {
                self.without_history = self.failures > 0;
                self.full = true;
            }
            StoreError::Locked(_) => {
                self.locked = true;
                // The round began before it waited for the lock; the pause comes after that.
                ended = now.after(BUSY_PATIENCE);
                self.failures = self.failures.min(Self::MOST_FOR_A_LOCK);
            }
            StoreError::Failed(_) | StoreError::Replaced => self.reopen = true,
            StoreError::Damaged(_) => (self.reopen, self.damaged, self.recovering) = (true, true, false),
        }
        self.postpone(ended);
    }

    /// A statement that only reads has failed; when it met damage, that counts the same.
    pub(super) fn met(&mut self, now: AgentTime, error: &StoreError) {
        if let (StoreError::Damaged(_), false) = (error, self.damaged) {
            self.failed(now, error);
        }
    }

    fn opened(&mut self) {
        (self.reopen, self.damaged, self.recovering) = (false, false, false);
    }

    fn postpone(&mut self, now: AgentTime) {
        let wait = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures += 1;
        self.next = Some(now.after(wait));
    }
}

impl Agent {
    /// The round's outcomes are on disk.
    pub(super) fn land(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.in_flight.remove(&outcome.failure.seq);
        }
        if self.settle.next.is_none() {
            self.settle = Settling::default();
        }
    }

    /// The round was not committed: its outcomes are tried again alone.
    pub(super) fn fail(&mut self, now: Moment, outcomes: Vec<Outcome>, error: &StoreError) {
        self.unsettled.extend(outcomes);
        for line in &mut self.lines {
            line.stored = None; // Whatever of it was written in this round is not there.
        }
        // Outcomes alone did not go in either: nothing was recorded since the round before.
        if self.settle.is_full() && matches!(error, StoreError::Full(_)) && self.store.make_room() {
            self.settle.failures = 0;
        }
        self.settle.failed(now.agent, error);
    }

    /// Opens the file again where that is needed, and writes what could not be written.
    pub(super) fn settle_again(&mut self, now: Moment) {
        let due = self.settle.next.is_some_and(|at| at <= now.agent);
        if !due || self.round.failed.is_some() {
            return;
        }
        if self.settle.reopen {
            match self.open_anew(now) {
                Ok(true) => log::warn!("event=reopened"),
                Ok(false) => {
                    self.settle.next = Some(now.agent); // The rest of it in the next round.
                    return;
                }
                Err(error) => {
                    log::error!("event=reopen_failed error={:?}", error.to_string());
                    self.settle.recovering = false;
                    self.settle.postpone(now.agent);
                    return;
                }
            }
            self.settle.opened();
            if let Err(error) = self.adopt(now) {
                self.settle.failed(now.agent, &error);
                return;
            }
        }
        (self.settle.next, self.settle.locked) = (None, false);
        let mut outcomes = std::mem::take(&mut self.unsettled);
        if self.settle.full && outcomes.len() > PORTION {
            self.unsettled = outcomes.split_off(PORTION);
            self.settle.next = Some(now.agent); // The others in the next round.
        }
        let with_history = !self.settle.without_history;
        let written = self.write(|agent| {
            outcomes.iter().try_for_each(|outcome| {
                if agent.is_stored(outcome)? { Ok(()) } else { agent.write_outcome(outcome, with_history) }
            })
        });
        if written.is_ok() && self.unsettled.is_empty() {
            self.settle.without_history = false;
        }
        self.round.outcomes.extend(outcomes);
    }

    /// Has the commit that failed happened all the same? A failed fsync may have written everything
    /// (`spec/05`).
    fn is_stored(&self, outcome: &Outcome) -> Result<bool, StoreError> {
        let (failure, attempt) = (&outcome.failure, outcome.failure.attempts + 1);
        let live = self.store.by_seq(failure.seq)?;
        Ok(live.is_some_and(|live| live.attempts >= attempt) || self.store.is_attempt_kept(&failure.id, attempt)?)
    }

    /// Opens the file, and brings back what was quarantined, a part a round; `true` at the end.
    fn open_anew(&mut self, now: Moment) -> Result<bool, OpenError> {
        if !self.settle.recovering {
            self.store.reopen(now.wall, self.settle.damaged)?;
            (self.settle.recovering, self.settle.damaged) = (true, false);
        }
        self.store.recover(now.wall)
    }
}

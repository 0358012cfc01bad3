//! Requests that are handed out ahead of their turn, so that senders need not wait for a commit.
//!
//! An outcome is on disk only after its round's commit, and what is sent next is claimed after that.
//! A sender that is done within a tenth of a commit's time would wait for the other nine. So at full speed
//! some requests more than may be under way are held ready with the senders:
//!
//! ```text
//! claimed ── its turn ──────────────────────────────────→ under way ──→ tried
//!    └────── held ready ──→ one was accepted in its place ──↑
//!                    └────→ anything else: given back, pending as before
//! ```
//!
//! - Each goes in the place of one that was accepted, on the same thread: never are more requests under
//!   way than the upstream is allowed. At the first end that is no acceptance all of them come back, before the
//!   agent knows of it.
//! - They are heads of their order keys like all that is claimed: a successor is a head only after the
//!   commit of its predecessor's leaving.
//! - To people and to other claims they are in flight, because nobody knows at which moment they are sent. After a
//!   crash they are pending.
//! - Whoever drives the agent says how many his senders hold ([`Agent::sends_ahead`]); without a word it
//!   is none.

use super::claiming::{Turn, route_of};
use super::{Agent, Effect};
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment};
use crate::store::StoreError;

/// Bytes of payloads that are held ready for one upstream, the last one not counted.
const MOST_BYTES: usize = 1 << 20;
/// Requests that are held ready for one upstream at most: their ends may come all in one round, and clients wait
/// for that round.
const MOST: usize = 64;
/// No more are held ready than go within so many milliseconds, some commits of a slow disk: what is held
/// ready can be neither edited nor held by a person, and a far upstream's answers take longer than a commit.
const WITHIN_MS: usize = 100;

impl Agent {
    /// At most so many requests for each that may be under way are held ready by the senders.
    pub fn sends_ahead(&mut self, each: usize) {
        self.ahead_each = each;
    }

    /// Requests that are held ready, by the last word of who holds them.
    #[must_use]
    pub fn held_ready(&self) -> usize {
        self.lines.iter().map(|line| line.ahead).sum()
    }

    /// May requests be held ready for this upstream? While it is at full speed, and nothing but its answers
    /// says when the next one goes.
    pub(super) fn looks_ahead(&self, now: Moment, index: usize) -> bool {
        let line = &self.lines[index];
        // A login is a matter of one request at a time; and proof that only a failure's own names give is not
        // looked for by a sender.
        let plain = line.config.credentials.login.is_none() && line.config.expect_id.is_none();
        // On a full disk few outcomes at a time find the room that they need.
        let has_room = !self.settle.is_full() && !self.store.lacks_room();
        self.ahead_each > 0 && plain && has_room && line.state.is_at_full_speed(now.agent, line.pace)
    }

    /// Claims what is held ready, when half of it has gone.
    pub(super) fn hold_ready(
        &mut self,
        now: Moment,
        index: usize,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let line = &self.lines[index];
        let latency = line.state.latency().map_or(1, |took| usize::try_from(took.as_millis()).unwrap_or(usize::MAX));
        let each = (WITHIN_MS / latency.max(1)).clamp(1, self.ahead_each.max(1));
        let most = (each * line.pace.concurrency).min(MOST);
        let full = line.state.slots(now.agent, line.pace) == 0;
        if line.ahead > most / 2 || !full || !self.looks_ahead(now, index) {
            return Ok(());
        }
        let seqs = self.due_seqs(now, index, most - line.ahead)?;
        for failure in self.store.by_seqs(&seqs, MOST_BYTES)? {
            self.dispatch(now, index, failure, Turn::Ahead, effects);
        }
        Ok(())
    }

    /// Asks for what is held ready.
    pub(super) fn recall(&self, index: usize, effects: &mut Vec<Effect>) {
        if self.lines[index].ahead > 0 {
            effects.push(Effect::Recall { upstream: index });
        }
    }

    /// A request that was held ready is under way.
    pub(super) fn begun(&mut self, now: Moment, seq: Seq, at: AgentTime) {
        let Some(flight) = self.in_flight.get_mut(&seq).filter(|flight| flight.ahead) else { return };
        let line = &mut self.lines[flight.upstream];
        flight.ahead = false;
        flight.sent_at = Moment { agent: at, wall: now.wall.before(now.agent.since(at)) };
        flight.errand = line.state.sent(at, false, &route_of(&flight.failure), line.pace);
        line.ahead -= 1;
    }

    /// Requests that were held ready are not sent.
    pub(super) fn unsent(&mut self, now: Moment, seqs: &[Seq]) {
        for seq in seqs {
            let Some(flight) = self.in_flight.get(seq).filter(|flight| flight.ahead) else { continue };
            self.lines[flight.upstream].ahead -= 1;
            self.in_flight.remove(seq);
        }
        // What they kept waiting goes on.
        self.next = Some(now.agent);
    }
}

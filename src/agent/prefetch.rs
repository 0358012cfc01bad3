//! Prefetching: requests that senders receive before their turn, so that they need not wait for a commit.
//!
//! An outcome is on disk only after its round's commit, and the next request is claimed after that. A sender that
//! finishes within a tenth of a commit's time would idle for the other nine tenths. So at full speed, senders hold some
//! requests beyond those that may be in flight:
//!
//! ```text
//! claimed ── its turn ──────────────────────────────────→ under way ──→ tried
//!    └────── held ready ──→ one was accepted in its place ──↑
//!                    └────→ anything else: given back, pending as before
//! ```
//!
//! - Each takes the slot of an accepted request, on the same thread, so the upstream's concurrency limit always
//!   holds. At the first result that is not an acceptance all of them are returned, before the agent learns of
//!   that result.
//! - Like all claimed failures they are heads of their order keys: a successor becomes a head only after the
//!   commit that removes its predecessor.
//! - Operators and other claims see them as in flight, because the agent does not know the moment at which each is
//!   sent. After a crash they are pending.
//! - The driver sets how many its senders hold ([`Agent::set_prefetch`]); the default is none.

use super::dispatch::{Turn, route_of};
use super::{Agent, Effect};
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment};
use crate::store::StoreError;

/// Limit on the payload bytes prefetched for one upstream; the last request may exceed it.
const MOST_BYTES: usize = 1 << 20;
/// Maximum number of prefetched requests per upstream. All of them may end in one round, and clients wait for that
/// round.
const MOST: usize = 64;
/// No more requests are prefetched than can be sent within this time, a few commits of a slow disk. An operator can
/// neither edit nor hold a prefetched failure, and a distant upstream responds more slowly than a commit anyway.
const WITHIN_MS: usize = 100;

impl Agent {
    /// Sets how many requests senders prefetch for each request that may be in flight.
    pub fn set_prefetch(&mut self, each: usize) {
        self.prefetch_per_slot = each;
    }

    /// Number of prefetched requests, as senders last reported it.
    #[must_use]
    pub fn held_ready(&self) -> usize {
        self.upstreams.iter().map(|line| line.ahead).sum()
    }

    /// Returns whether requests may be prefetched for this upstream: it runs at full speed, and only its responses
    /// determine when the next request starts.
    pub(super) fn may_prefetch(&self, now: Moment, index: usize) -> bool {
        let line = &self.upstreams[index];
        // With a login, requests may have to wait for it; and senders do not check a response for the failure's own id
        // (`expect_id`).
        let plain = line.config.credentials.login.is_none() && line.config.expect_id.is_none();
        // On a full disk only few outcomes fit into a round.
        let has_room = !self.write_recovery.is_full() && !self.store.is_reserved_for_outcomes();
        self.prefetch_per_slot > 0 && plain && has_room && line.state.is_at_full_speed(now.agent, line.pace)
    }

    /// Refills the prefetched requests once half of them have been used.
    pub(super) fn prefetch_ready(
        &mut self,
        now: Moment,
        index: usize,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let line = &self.upstreams[index];
        let latency = line.state.latency().map_or(1, |took| usize::try_from(took.as_millis()).unwrap_or(usize::MAX));
        let each = (WITHIN_MS / latency.max(1)).clamp(1, self.prefetch_per_slot.max(1));
        let most = (each * line.pace.concurrency).min(MOST);
        let full = line.state.slots(now.agent, line.pace) == 0;
        if line.ahead > most / 2 || !full || !self.may_prefetch(now, index) {
            return Ok(());
        }
        let seqs = self.due_seqs(now, index, most - line.ahead)?;
        for failure in self.store.by_seqs(&seqs, MOST_BYTES)? {
            // A failure that must be stored as unsure before it is sent waits for its turn.
            if self.is_announced(&failure) {
                continue;
            }
            self.dispatch(now, index, failure, Turn::Ahead, effects);
        }
        Ok(())
    }

    /// Recalls the prefetched requests.
    pub(super) fn recall(&self, index: usize, effects: &mut Vec<Effect>) {
        if self.upstreams[index].ahead > 0 {
            effects.push(Effect::Recall { upstream: index });
        }
    }

    /// A prefetched request has started.
    pub(super) fn begun(&mut self, now: Moment, seq: Seq, at: AgentTime) {
        let Some(flight) = self.in_flight.get_mut(&seq).filter(|flight| flight.ahead) else { return };
        let line = &mut self.upstreams[flight.upstream];
        flight.ahead = false;
        flight.sent_at = Moment { agent: at, wall: now.wall.before(now.agent.since(at)) };
        flight.dispatch_kind = line.state.sent(at, false, &route_of(&flight.failure), line.pace);
        line.ahead -= 1;
    }

    /// Prefetched requests were returned unsent.
    pub(super) fn unsent(&mut self, now: Moment, seqs: &[Seq]) {
        for seq in seqs {
            let Some(flight) = self.in_flight.get(seq).filter(|flight| flight.ahead) else { continue };
            self.upstreams[flight.upstream].ahead -= 1;
            self.in_flight.remove(seq);
        }
        // Failures that waited for these can proceed.
        self.next = Some(now.agent);
    }
}

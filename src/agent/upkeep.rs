//! Work that is too long for one round: done in chunks, one a round, between the rounds of others.

use super::Agent;
use crate::ids::Seq;
use crate::limits::BULK_CHUNK;
use crate::moment::{AgentTime, Moment};
use crate::store::StoreError;

/// A piece of work that goes on from where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Failures without an upstream, or of one that is not configured any more, get the present one.
    Rehome { after: Seq },
    /// An upstream has opened: what was never tried, or whose last try was not counted, is due.
    Sweep { upstream: usize, from: AgentTime, opened_seq: i64 },
}

/// A chunk that was done in the open round, and what it leaves to do.
#[derive(Debug)]
pub(super) struct Chunk {
    done: Upkeep,
    left: Option<Upkeep>,
}

impl Agent {
    /// What the last run left, and what a changed configuration asks for.
    pub(super) fn plan_upkeep(&mut self) -> Result<(), StoreError> {
        let Some(line) = self.lines.first() else { return Ok(()) };
        let gone = self.store.upstream_names()?.iter().any(|name| *name != line.config.name);
        if gone || self.store.any_homeless()? {
            self.upkeep.push_back(Upkeep::Rehome { after: Seq(0) });
        }
        Ok(())
    }

    /// Is there something to do at once?
    pub(super) fn upkeep_due(&self, now: AgentTime) -> Option<AgentTime> {
        let any = !self.upkeep.is_empty() || self.lines.iter().any(|line| line.state.sweeping);
        (any && !self.settle.refuses()).then_some(now)
    }

    /// One chunk.
    pub(super) fn upkeep(&mut self, now: Moment) {
        if self.settle.refuses() {
            return;
        }
        for upstream in 0..self.lines.len() {
            let planned =
                self.upkeep.iter().any(|work| matches!(work, Upkeep::Sweep { upstream: at, .. } if *at == upstream));
            let state = &self.lines[upstream].state;
            if state.sweeping && !planned {
                self.upkeep.push_back(Upkeep::Sweep { upstream, from: now.agent, opened_seq: state.opened_seq });
            }
        }
        let Some(done) = self.upkeep.pop_front() else { return };
        match self.write(|agent| agent.do_chunk(now, &done)) {
            Ok(left) => self.round.chunk = Some(Chunk { done, left }),
            // The round knows why; the chunk is done again.
            Err(_) => self.upkeep.push_front(done),
        }
    }

    /// The round is on disk, or it is not: the work goes on behind its chunk, or with it again.
    pub(super) fn chunk_ended(&mut self, chunk: Option<Chunk>, committed: bool) {
        let Some(Chunk { done, left }) = chunk else { return };
        if !committed {
            self.upkeep.push_front(done);
            return;
        }
        if let (Upkeep::Sweep { upstream, opened_seq, .. }, None) = (&done, &left) {
            let state = &mut self.lines[*upstream].state;
            // When it has opened once more meanwhile, there is more to sweep.
            state.sweeping = state.opened_seq != *opened_seq;
        }
        self.upkeep.extend(left);
    }

    /// Does a chunk; what is left of the work.
    fn do_chunk(&mut self, now: Moment, work: &Upkeep) -> Result<Option<Upkeep>, StoreError> {
        match *work {
            Upkeep::Sweep { upstream, from, opened_seq } => {
                let name = &self.lines[upstream].config.name;
                let next = self.store.sweep(name, now, from, BULK_CHUNK)?;
                Ok(next.map(|from| Upkeep::Sweep { upstream, from, opened_seq }))
            }
            Upkeep::Rehome { after } => {
                let Some(line) = self.lines.first() else { return Ok(None) };
                let name = line.config.name.clone();
                let next = self.store.rehome(&name, after, BULK_CHUNK)?;
                if next.is_none() {
                    for gone in self.store.upstream_names()?.iter().filter(|known| **known != name) {
                        self.store.forget_upstream(gone)?;
                    }
                }
                Ok(next.map(|after| Upkeep::Rehome { after }))
            }
        }
    }
}

//! Work that is too long for one round: done in chunks, one a round, between the rounds of others.

use super::routing::{NO_ROUTE, Way};
use super::{Agent, filing};
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::limits::{BULK_CHUNK, LARGE_LOG};
use crate::moment::{AgentTime, Moment};
use crate::policy::dossier::{CHANCE_AFTER, Cause, Standing};
use crate::policy::upstream::Chances;
use crate::record::{Failure, Status};
use crate::store::StoreError;
use crate::store::failures::NewPlace;

/// A piece of work that goes on from where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// The configuration has changed: every failure gets its place anew.
    Rehome { after: Seq },
    /// An upstream has opened: what was never tried, or whose last try was not counted, is due.
    Sweep { upstream: usize, from: AgentTime, opened_seq: i64 },
    /// Critical failures that have their second chance left get it: all of them, or those that have
    /// waited long enough.
    Chances { upstream: usize, after: Seq, all: bool, next: Option<AgentTime> },
}

/// A chunk that was done in the open round, and what it leaves to do.
#[derive(Debug)]
pub(super) struct Chunk {
    done: Upkeep,
    left: Option<Upkeep>,
    /// When the next second chance comes, of all that were looked at.
    next_chance: Option<AgentTime>,
}

impl Agent {
    /// SQLite's log has this size. A large one is made empty as soon as nobody reads from it; otherwise
    /// nothing would, because recording stops.
    pub(super) fn log_is(&mut self, bytes: u64) {
        let was = std::mem::replace(&mut self.log_size, bytes);
        if bytes < LARGE_LOG {
            return;
        }
        match self.store.empty_log() {
            Ok(true) => self.log_size = 0,
            Ok(false) if was < LARGE_LOG => log::warn!(
                "event=wal_large bytes={bytes} message=\"another program reads the database without an end; end it\""
            ),
            Ok(false) => {}
            Err(error) => log::warn!("event=log_not_emptied error={:?}", error.to_string()),
        }
    }

    /// What the last run left, and what a changed configuration asks for.
    pub(super) fn plan_upkeep(&mut self) -> Result<(), StoreError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let stored = self.store.upstream_names()?;
        let same = |(name, ordering): &(String, String)| {
            self.lines.iter().any(|line| line.config.name == *name && line.ordering_word() == ordering)
        };
        let routed = self.store.routes()? == self.routes_word();
        if !routed || !stored.iter().all(same) || self.store.any_homeless()? {
            self.upkeep.push_back(Upkeep::Rehome { after: Seq(0) });
        }
        Ok(())
    }

    /// Until every failure has its place nothing is sent: it might go the old way.
    pub(super) fn moves(&self) -> bool {
        self.upkeep.iter().any(|work| matches!(work, Upkeep::Rehome { .. }))
    }

    /// When there is something to do.
    pub(super) fn upkeep_due(&self, now: AgentTime) -> Option<AgentTime> {
        if self.settle.next().is_some() {
            return None;
        }
        let at_once = !self.upkeep.is_empty()
            || self.lines.iter().any(|line| line.state.sweeping || line.state.chances == Chances::Due);
        if at_once {
            return Some(now);
        }
        let waiting = self.lines.iter().filter(|line| line.state.chances == Chances::Waiting);
        // Without a time it was not looked at yet.
        waiting.map(|line| line.next_chance.unwrap_or(now)).min()
    }

    /// One chunk.
    pub(super) fn upkeep(&mut self, now: Moment) {
        if self.settle.next().is_some() || self.round.failed.is_some() {
            return;
        }
        self.plan_lines(now);
        let Some(done) = self.upkeep.pop_front() else { return };
        self.watch.stir();
        match self.write(|agent| agent.do_chunk(now, &done)) {
            Ok((left, next_chance)) => self.round.chunk = Some(Chunk { done, left, next_chance }),
            // The round knows why; the chunk is done again.
            Err(_) => self.upkeep.push_front(done),
        }
    }

    /// Work that the upstreams' states ask for, unless it is planned.
    fn plan_lines(&mut self, now: Moment) {
        for upstream in 0..self.lines.len() {
            let line = &self.lines[upstream];
            let planned =
                |wanted: fn(&Upkeep) -> Option<usize>| self.upkeep.iter().any(|work| wanted(work) == Some(upstream));
            let sweeps = planned(|work| if let Upkeep::Sweep { upstream, .. } = work { Some(*upstream) } else { None });
            let chances =
                planned(|work| if let Upkeep::Chances { upstream, .. } = work { Some(*upstream) } else { None });
            if line.state.sweeping && !sweeps {
                let opened_seq = line.state.opened_seq;
                self.upkeep.push_back(Upkeep::Sweep { upstream, from: now.agent, opened_seq });
            }
            let line = &self.lines[upstream];
            let ripe = match line.state.chances {
                Chances::None => None,
                Chances::Due => Some(true),
                Chances::Waiting => line.next_chance.is_none_or(|at| at <= now.agent).then_some(false),
            };
            if let (Some(all), false) = (ripe, chances) {
                self.upkeep.push_back(Upkeep::Chances { upstream, after: Seq(0), all, next: None });
            }
        }
    }

    /// The round is on disk, or it is not: the work goes on behind its chunk, or with it again.
    pub(super) fn chunk_ended(&mut self, chunk: Option<Chunk>, committed: bool) {
        let Some(Chunk { done, left, next_chance }) = chunk else { return };
        if !committed {
            self.upkeep.push_front(done);
            return;
        }
        match (&done, &left) {
            // When it has opened once more meanwhile, there is more to sweep.
            (Upkeep::Sweep { upstream, opened_seq, .. }, None) => {
                let state = &mut self.lines[*upstream].state;
                state.sweeping = state.opened_seq != *opened_seq;
            }
            (Upkeep::Chances { upstream, all, .. }, None) => {
                let line = &mut self.lines[*upstream];
                line.next_chance = next_chance;
                line.state.chances = match line.state.chances {
                    // Some may have become critical behind the work: it is looked once more.
                    Chances::Due if *all => Chances::Waiting,
                    // An acceptance has made all of them due meanwhile.
                    Chances::Due => Chances::Due,
                    Chances::Waiting if *all || next_chance.is_some() => Chances::Waiting,
                    Chances::Waiting | Chances::None => Chances::None,
                };
            }
            _ => {}
        }
        self.upkeep.extend(left);
    }

    /// Does a chunk; what is left of the work, and when the next second chance comes.
    fn do_chunk(&mut self, now: Moment, work: &Upkeep) -> Result<(Option<Upkeep>, Option<AgentTime>), StoreError> {
        match *work {
            Upkeep::Sweep { upstream, from, opened_seq } => {
                let name = &self.lines[upstream].config.name;
                let next = self.store.sweep(name, now, from, BULK_CHUNK)?;
                Ok((next.map(|from| Upkeep::Sweep { upstream, from, opened_seq }), None))
            }
            Upkeep::Chances { upstream, after, all, next } => self.give_chances(now, upstream, (after, all, next)),
            Upkeep::Rehome { after } => {
                let failures = self.store.next_after(after, BULK_CHUNK)?;
                for failure in &failures {
                    self.rehome(now, failure)?;
                }
                let more = failures.last().filter(|_| failures.len() == BULK_CHUNK);
                if more.is_none() {
                    self.forget_what_has_gone()?;
                }
                Ok((more.map(|last| Upkeep::Rehome { after: last.seq }), None))
            }
        }
    }

    fn give_chances(
        &mut self,
        now: Moment,
        upstream: usize,
        (after, all, mut next): (Seq, bool, Option<AgentTime>),
    ) -> Result<(Option<Upkeep>, Option<AgentTime>), StoreError> {
        let name = self.lines[upstream].config.name.clone();
        let critical = self.store.counted_out(&name, after, BULK_CHUNK)?;
        for failure in &critical {
            let dossier = filing::dossier(failure);
            let Standing::Critical(Cause::Counted { at }) = dossier.standing else { continue };
            let Some(again) = dossier.second_chance(self.lines[upstream].state.evidence()) else { continue };
            let ripe_at = at.after(CHANCE_AFTER);
            if all || ripe_at <= now.agent {
                self.store.refile(failure.seq, now, &filing::filed(&again))?;
            } else {
                next = Some(next.map_or(ripe_at, |next| next.min(ripe_at)));
            }
        }
        let more = critical.last().filter(|_| critical.len() == BULK_CHUNK);
        Ok((more.map(|last| Upkeep::Chances { upstream, after: last.seq, all, next }), next))
    }

    /// Gives a failure its place by the present configuration.
    fn rehome(&mut self, now: Moment, failure: &Failure) -> Result<(), StoreError> {
        let stays = self.lines.iter().position(|line| Some(&line.config.name) == failure.upstream.as_ref());
        let stays = stays.filter(|_| self.config.routes.is_empty() || self.route(failure).is_some());
        let way = stays.map_or_else(|| self.way(&failure.entity_type, &failure.action), Way::To);
        let line = match way {
            Way::To(index) => Some(&self.lines[index]),
            Way::NoRoute | Way::NoUpstream => None,
        };
        let lost = failure.error_class.as_deref() == Some(NO_ROUTE);
        let (status, error_class, due_at) = match (way, failure.status) {
            (Way::NoRoute, Status::Pending) => (Status::Critical, Some(NO_ROUTE), None),
            (Way::To(_), Status::Critical) if lost => (Status::Pending, None, Some(now.agent)),
            (_, status) => (status, failure.error_class.as_deref(), failure.due_at),
        };
        let free = line.is_some_and(|line| line.pace.ordering == Ordering::None);
        let head = free || self.store.head_of(&failure.order())?.as_ref() == Some(&failure.id);
        let upstream = line.map(|line| line.config.name.as_str());
        let place = NewPlace { upstream, head, status, error_class, due_at };
        let same = upstream == failure.upstream.as_deref() && head == failure.head && status == failure.status;
        if same { Ok(()) } else { self.store.place(failure.seq, &place) }
    }

    fn forget_what_has_gone(&mut self) -> Result<(), StoreError> {
        for (name, _) in self.store.upstream_names()? {
            match self.lines.iter().find(|line| line.config.name == name).map(super::Line::ordering_word) {
                Some(ordering) => self.store.ordered(&name, ordering)?,
                None => self.store.forget_upstream(&name)?,
            }
        }
        let routes = self.routes_word();
        self.store.keep_routes(&routes)?;
        self.forget_front();
        Ok(())
    }
}

//! Work that is too long for one round: done in chunks, one per round, between other rounds.

use super::routing::{NO_ROUTE, Way};
use super::{Agent, retry_columns};
use crate::config::route::OnUnsure;
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::limits::{BULK_CHUNK, LARGE_LOG};
use crate::moment::{AgentTime, Moment};
use crate::policy::alert::Kind;
use crate::policy::retry_state::{CHANCE_AFTER, Cause, Standing};
use crate::policy::upstream::{Chances, Sweep};
use crate::record::{Failure, Status};
use crate::store::StoreError;
use crate::store::audit::Actor;
use crate::store::failures::Routing;
use crate::text::alerts as text;
use crate::text::numbers::size;

/// A job, which continues where its last chunk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MaintenanceJob {
    /// The last run ended with requests in flight whose routes hold: they may have arrived.
    CutOff,
    /// The configuration has changed: route every failure again.
    Rehome { after: Seq },
    /// A removed failure may have been the first of an order: mark the next one as its head.
    Promote { after: Seq },
    /// An upstream has recovered, or an operator has ended the waiting: mark the failures that this makes due.
    Sweep { upstream: usize, from: (AgentTime, Seq), sweep: Sweep },
    /// Give critical failures their second chance: all that have not had it, or those that have waited long enough.
    Chances { upstream: usize, after: Seq, all: bool, next: Option<AgentTime> },
    /// The database approaches its quota: delete the oldest history until there is space.
    Shorten,
    /// Free space is low: return the free pages of the database to the file system.
    Shrink,
}

/// A chunk done in the open round, and the rest of its job.
#[derive(Debug)]
pub(super) struct Chunk {
    done: MaintenanceJob,
    left: Option<MaintenanceJob>,
    /// When the next second chance comes, of all failures checked.
    next_chance: Option<AgentTime>,
}

impl Agent {
    /// Updates the size of SQLite's WAL. A large WAL is truncated as soon as no reader holds it; nothing else would do
    /// that, because recording stops.
    pub(super) fn log_is(&mut self, now: Moment, size: u64) {
        let was = std::mem::replace(&mut self.log_size, size);
        if size < LARGE_LOG {
            return;
        }
        match self.store.truncate_wal() {
            Ok(true) => self.log_size = 0,
            Ok(false) if was < LARGE_LOG => log::warn!(
                "event=wal_large bytes={size} message=\"another program reads the database without an end; end it\""
            ),
            Ok(false) => {}
            Err(error) => {
                log::warn!("event=wal_truncate_failed error={:?}", error.to_string());
                if !matches!(error, StoreError::Full(_) | StoreError::Locked(_)) {
                    self.write_recovery.failed(now.agent, &error);
                }
            }
        }
    }

    /// Plans the work that the last run left and that a changed configuration requires.
    pub(super) fn plan_upkeep(&mut self) -> Result<(), StoreError> {
        if self.upstreams.is_empty() {
            return Ok(());
        }
        let stored = self.store.upstream_names()?;
        if !self.cut_off(&stored)?.is_empty() && !self.upkeep.contains(&MaintenanceJob::CutOff) {
            self.upkeep.push_front(MaintenanceJob::CutOff);
        }
        let same = |(name, ordering): &(String, String)| {
            self.upstreams.iter().any(|line| line.config.name == *name && line.ordering_word() == ordering)
        };
        let routed = self.store.routes()? == self.routes_word();
        // A failure routed to an unknown upstream would wait for ever.
        let known = |name: &String| self.upstreams.iter().any(|line| line.config.name == *name);
        let strays = !self.store.bound_for(self.upstreams.len() + 1)?.iter().all(known);
        // Damage may have destroyed the row that says how its failures are marked.
        let marked = |line: &super::UpstreamEntry| {
            line.pace.ordering == Ordering::Key || stored.iter().any(|(name, _)| line.config.name == *name)
        };
        let unmarked = !self.upstreams.iter().all(marked);
        if !routed || !stored.iter().all(same) || unmarked || strays || self.store.any_unrouted()? {
            self.reroute();
        }
        Ok(())
    }

    /// Plans to route every failure again and to mark the heads. A rerouting under way begins again, because what it has
    /// passed may be wrong now. Without an upstream there is nothing to do before one is configured.
    pub(super) fn reroute(&mut self) {
        if !self.upstreams.is_empty() {
            self.upkeep.retain(|job| !matches!(job, MaintenanceJob::Rehome { .. }));
            self.upkeep.push_back(MaintenanceJob::Rehome { after: Seq(0) });
        }
    }

    /// Nothing is sent until routing is complete, because a failure might use its previous route.
    pub(super) fn moves(&self) -> bool {
        self.upkeep.iter().any(|work| matches!(work, MaintenanceJob::Rehome { .. } | MaintenanceJob::CutOff))
    }

    /// Failures stored as possibly sent, whose result the last run did not store.
    fn cut_off(&self, stored: &[(String, String)]) -> Result<Vec<Seq>, StoreError> {
        let mut found = Vec::new();
        for (name, _) in stored {
            match self.upstreams.iter().find(|line| line.config.name == *name) {
                Some(line) => found.extend(&line.state.under_way),
                None => found.extend(self.store.upstream(name)?.map(|state| state.under_way).unwrap_or_default()),
            }
        }
        found.retain(|seq| !self.in_flight.contains_key(seq));
        Ok(found)
    }

    /// These failures may have arrived. Where the route holds such failures, an operator decides; where it verifies,
    /// the row already says that the upstream must be queried first.
    fn hold_cut_off(&mut self, now: Moment) -> Result<(), StoreError> {
        let actor = Actor { name: Some("resyncd".to_owned()), ..Actor::default() };
        let why = "its request was cut off when the agent ended, and may have arrived (on_unsure = \"hold\")";
        for seq in self.cut_off(&self.store.upstream_names()?)? {
            let Some(failure) = self.store.light_by_seq(seq)?.filter(|failure| failure.status == Status::Pending)
            else {
                continue;
            };
            let known = self.upstreams.iter().any(|line| Some(&line.config.name) == failure.upstream.as_ref());
            let holds = if known {
                self.route(&failure).is_some_and(|route| route.on_unsure == OnUnsure::Hold)
            } else {
                self.holds_unsure(&failure.entity_type, &failure.action)
            };
            if holds {
                let mut retry_state = retry_columns::retry_state(&failure);
                retry_state.standing = Standing::Held;
                self.store.update_retry_state(seq, now, &retry_columns::retry_columns(&retry_state))?;
                self.store.audit(now.wall, &actor, "hold", Some(&failure.id), Some(why))?;
            }
        }
        Ok(())
    }

    /// When there is work to do.
    pub(super) fn upkeep_due(&self, now: AgentTime) -> Option<AgentTime> {
        if self.write_recovery.next().is_some() {
            return None;
        }
        let at_once = !self.upkeep.is_empty()
            || self.store.may_be_crowded()
            || self.upstreams.iter().any(|line| line.state.sweep.is_some() || line.state.chances == Chances::Due);
        if at_once {
            return Some(now);
        }
        let waiting = self.upstreams.iter().filter(|line| line.state.chances == Chances::Waiting);
        // Without a time, the upstream was not checked yet.
        waiting.map(|line| line.next_chance.unwrap_or(now)).min()
    }

    /// Does one chunk.
    pub(super) fn upkeep(&mut self, now: Moment) {
        // Unreadable rows would be skipped, so the search for them comes first.
        if self.write_recovery.next().is_some() || self.round.failed.is_some() || self.store.is_searching() {
            return;
        }
        self.schedule_jobs(now);
        self.plan_shortening(now);
        let Some(done) = self.upkeep.pop_front() else { return };
        self.watch.stir();
        match self.write(|agent| agent.do_chunk(now, &done)) {
            Ok((left, next_chance)) => self.round.chunk = Some(Chunk { done, left, next_chance }),
            // The round keeps the error; the chunk is repeated.
            Err(_) => self.repeat_chunk(done),
        }
    }

    /// Does a chunk again that was not committed. Shrinking is planned again by the next report of the free space.
    fn repeat_chunk(&mut self, done: MaintenanceJob) {
        if done != MaintenanceJob::Shrink {
            self.upkeep.push_front(done);
        }
    }

    /// Plans to shrink the database while the disk lacks space that its free pages hold. Without this, a burst that
    /// was delivered would keep its room for ever, and new failures would be refused.
    pub(super) fn plan_shrinking(&mut self, now: Moment, free: u64) {
        let low = free < self.limits.min_free_disk.saturating_mul(2) || self.store.is_reserved_for_outcomes();
        if !low || self.write_recovery.next().is_some() || self.upkeep.contains(&MaintenanceJob::Shrink) {
            return;
        }
        // A chunk is a commit, so it is planned only if there is something to return.
        match self.store.may_shrink() {
            Ok(true) => self.upkeep.push_back(MaintenanceJob::Shrink),
            Ok(false) => {}
            Err(error) => self.write_recovery.met(now.agent, &error),
        }
    }

    /// Deletes the oldest archive of deliveries while the disk is too full to record, one file for each report of the
    /// free space: like other history, it gives way to new failures. The archive of undelivered failures never does.
    pub(super) fn give_up_archive(&mut self, now: Moment) {
        if !self.lacks_disk() {
            return;
        }
        match self.store.give_up_delivered() {
            Ok(None) => {}
            Ok(Some(name)) => {
                log::warn!("event=history_shortened file={name:?}");
                self.watch.happen(now, Kind::HistoryShortened, "", || (text::archive_shortened(&name), 0));
                self.watch.stir();
            }
            Err(error) => log::warn!("event=archive_not_forgotten error={:?}", error.to_string()),
        }
    }

    /// Returns whether nothing is recorded because the disk is too full.
    pub(super) fn lacks_disk(&self) -> bool {
        self.store.is_reserved_for_outcomes() || self.disk_free.is_some_and(|free| free < self.limits.min_free_disk)
    }

    /// Plans the deletion of history where it must give way, unless that is planned already.
    fn plan_shortening(&mut self, now: Moment) {
        if !self.store.may_be_crowded() || self.upkeep.contains(&MaintenanceJob::Shorten) {
            return;
        }
        match self.store.is_crowded() {
            Ok(true) => self.upkeep.push_back(MaintenanceJob::Shorten),
            Ok(false) => {}
            Err(error) => self.write_recovery.met(now.agent, &error),
        }
    }

    /// Deletes a part of the history; false when none is left.
    pub(super) fn shorten(&mut self) -> Result<bool, StoreError> {
        let gone = self.store.shorten_history(self.chunk)?;
        self.round.shortened += gone;
        self.round.deleted |= gone > 0;
        Ok(gone > 0)
    }

    /// Raises the alert for history that the committed round has deleted.
    pub(super) fn tell_shortened(&mut self, now: Moment, rows: usize) {
        if rows == 0 {
            return;
        }
        log::warn!("event=history_shortened rows={rows}");
        let quota = self.limits.max_database;
        self.watch.happen(now, Kind::HistoryShortened, "", || (text::history_shortened(&size(quota)), 0));
        self.watch.stir();
    }

    /// Plans work that the upstreams' states require, unless it is planned already.
    fn schedule_jobs(&mut self, now: Moment) {
        for upstream in 0..self.upstreams.len() {
            let line = &self.upstreams[upstream];
            let planned = |wanted: fn(&MaintenanceJob) -> Option<usize>| {
                self.upkeep.iter().any(|work| wanted(work) == Some(upstream))
            };
            let sweeps =
                planned(|work| if let MaintenanceJob::Sweep { upstream, .. } = work { Some(*upstream) } else { None });
            let chances =
                planned(
                    |work| if let MaintenanceJob::Chances { upstream, .. } = work { Some(*upstream) } else { None },
                );
            if let (Some(sweep), false) = (line.state.sweep, sweeps) {
                self.upkeep.push_back(MaintenanceJob::Sweep { upstream, from: (now.agent, Seq(i64::MAX)), sweep });
            }
            let line = &self.upstreams[upstream];
            let ripe = match line.state.chances {
                Chances::None => None,
                Chances::Due => Some(true),
                Chances::Waiting => line.next_chance.is_none_or(|at| at <= now.agent).then_some(false),
            };
            if let (Some(all), false) = (ripe, chances) {
                self.upkeep.push_back(MaintenanceJob::Chances { upstream, after: Seq(0), all, next: None });
            }
        }
    }

    /// Continues after the chunk if the round was committed, otherwise repeats it.
    pub(super) fn chunk_ended(&mut self, chunk: Option<Chunk>, committed: bool) {
        let Some(Chunk { done, left, next_chance }) = chunk else { return };
        if !committed {
            self.repeat_chunk(done);
            return;
        }
        match (&done, &left) {
            (MaintenanceJob::CutOff, None) => {
                for line in &mut self.upstreams {
                    line.state.under_way.retain(|seq| self.in_flight.contains_key(seq));
                }
            }
            // A different sweep requested meanwhile stays pending.
            (MaintenanceJob::Sweep { upstream, sweep, .. }, None) => {
                let state = &mut self.upstreams[*upstream].state;
                state.sweep = state.sweep.filter(|pending| pending != sweep);
            }
            (MaintenanceJob::Chances { upstream, all, .. }, None) => {
                let line = &mut self.upstreams[*upstream];
                line.next_chance = next_chance;
                line.state.chances = match line.state.chances {
                    // Failures may have become critical after the job passed them, so it runs once more.
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

    /// Does a chunk; returns the rest of the job, and when the next second chance comes.
    fn do_chunk(
        &mut self,
        now: Moment,
        work: &MaintenanceJob,
    ) -> Result<(Option<MaintenanceJob>, Option<AgentTime>), StoreError> {
        match *work {
            MaintenanceJob::CutOff => self.hold_cut_off(now).map(|()| (None, None)),
            MaintenanceJob::Sweep { upstream, from, sweep } => {
                let name = &self.upstreams[upstream].config.name;
                let next = self.store.sweep(name, now, from, (sweep.up_to, sweep.since), BULK_CHUNK)?;
                Ok((next.map(|from| MaintenanceJob::Sweep { upstream, from, sweep }), None))
            }
            MaintenanceJob::Chances { upstream, after, all, next } => {
                self.grant_extra_attempts(now, upstream, (after, all, next))
            }
            MaintenanceJob::Shorten => {
                let more = self.shorten()? && self.store.is_crowded()?;
                Ok((more.then_some(MaintenanceJob::Shorten), None))
            }
            MaintenanceJob::Shrink => {
                let more = self.store.shrink(now.agent)?;
                Ok((more.then_some(MaintenanceJob::Shrink), None))
            }
            MaintenanceJob::Rehome { after } => {
                let (failures, mut more) = self.store.next_after(after, BULK_CHUNK)?;
                for failure in &failures {
                    self.rehome(now, failure)?;
                    if self.store.is_round_full() {
                        more = Some(failure.seq);
                        break;
                    }
                }
                if more.is_none() {
                    self.drop_removed_upstreams()?;
                }
                Ok((more.map(|after| MaintenanceJob::Rehome { after }), None))
            }
            MaintenanceJob::Promote { after } => {
                let (headless, mut more) = self.store.headless(after, BULK_CHUNK)?;
                for next in headless {
                    let seq = next.seq;
                    self.promote(now, Some(next))?;
                    self.store.weigh(seq)?;
                    if self.store.is_round_full() {
                        more = Some(seq);
                        break;
                    }
                }
                if more.is_none() && !self.moves() {
                    let routes = self.routes_word();
                    self.store.keep_routes(&routes)?;
                }
                Ok((more.map(|after| MaintenanceJob::Promote { after }), None))
            }
        }
    }

    fn grant_extra_attempts(
        &mut self,
        now: Moment,
        upstream: usize,
        (after, all, mut next): (Seq, bool, Option<AgentTime>),
    ) -> Result<(Option<MaintenanceJob>, Option<AgentTime>), StoreError> {
        let name = self.upstreams[upstream].config.name.clone();
        let (critical, mut more) = self.store.exhausted(&name, after, BULK_CHUNK)?;
        for failure in &critical {
            let retry_state = retry_columns::retry_state(failure);
            let Standing::Critical(Cause::Counted { at }) = retry_state.standing else { continue };
            let Some(again) = retry_state.second_chance(self.upstreams[upstream].state.evidence()) else { continue };
            let ripe_at = at.after(CHANCE_AFTER);
            if all || ripe_at <= now.agent {
                self.store.update_retry_state(failure.seq, now, &retry_columns::retry_columns(&again))?;
                if self.store.is_round_full() {
                    more = Some(failure.seq);
                    break;
                }
            } else {
                next = Some(next.map_or(ripe_at, |next| next.min(ripe_at)));
            }
        }
        Ok((more.map(|after| MaintenanceJob::Chances { upstream, after, all, next }), next))
    }

    /// Routes a failure by the current configuration.
    pub(super) fn rehome(&mut self, now: Moment, failure: &Failure) -> Result<(), StoreError> {
        let stays = self.upstreams.iter().position(|line| Some(&line.config.name) == failure.upstream.as_ref());
        let stays = stays.filter(|_| self.config.routes.is_empty() || self.route(failure).is_some());
        let way = stays.map_or_else(|| self.way(&failure.entity_type, &failure.action), Way::To);
        let line = match way {
            Way::To(index) => Some(&self.upstreams[index]),
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
        let leaves = failure.upstream.is_some() && upstream != failure.upstream.as_deref();
        let due_at = if leaves && failure.uncounted && failure.attempts > 0 {
            due_at.map(|at| at.min(now.agent)) // It waited for the backoff of the upstream that it leaves.
        } else {
            due_at
        };
        let strict = line.is_some_and(|line| line.pace.ordering == Ordering::Strict);
        let place = Routing { upstream, head, strict, status, error_class, due_at };
        let same = upstream == failure.upstream.as_deref() && head == failure.head && status == failure.status;
        if same {
            return self.store.mark_strict(failure.seq, strict);
        }
        let index = self.upstreams.iter().position(|line| Some(line.config.name.as_str()) == upstream);
        self.store.place(failure.seq, &place)?;
        if leaves && failure.retry_state.is_some() {
            let retry_state = retry_columns::retry_state(failure).elsewhere();
            self.store.remember_elsewhere(failure.seq, &retry_columns::retry_columns(&retry_state))?;
            if let (Standing::Critical(Cause::Counted { .. }), Some(index)) = (retry_state.standing, index) {
                self.upstreams[index].state.owes_extra_attempt();
            }
        }
        Ok(())
    }

    fn drop_removed_upstreams(&mut self) -> Result<(), StoreError> {
        for (name, _) in self.store.upstream_names()? {
            match self.upstreams.iter().find(|line| line.config.name == name).map(super::UpstreamEntry::ordering_word) {
                Some(ordering) => self.store.ordered(&name, ordering)?,
                None => self.store.forget_upstream(&name)?,
            }
        }
        let routes = self.routes_word();
        self.store.keep_routes(&routes)?;
        self.reset_strict_head();
        Ok(())
    }
}

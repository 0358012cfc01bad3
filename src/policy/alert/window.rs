//! Counts recent events in bounded memory. Each call must be cheap: every recorded failure passes through here,
//! fifty thousand times a second.

use crate::limits::MAX_ENTITY_EVENTS;
use crate::moment::AgentTime;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What noting an event changed, so that it can be undone if the round is not committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change<T> {
    came: Option<T>,
    went: Option<T>,
}

/// The times of the most recent events: enough to decide whether there were more than a threshold, not how many more.
#[derive(Clone, Debug)]
pub struct Recent {
    most: usize,
    times: VecDeque<AgentTime>,
}

impl Recent {
    /// Counts up to one more than the threshold.
    #[must_use]
    pub fn above(threshold: u64) -> Self {
        let most = usize::try_from(threshold).unwrap_or(usize::MAX).saturating_add(1);
        Self { most, times: VecDeque::new() }
    }

    /// Adds the events of another counter.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        for at in &other.times {
            self.note(*at);
        }
        self
    }

    /// Notes an event; its time may be earlier than that of others.
    pub fn note(&mut self, at: AgentTime) -> Change<AgentTime> {
        let full = self.times.len() == self.most;
        if full && self.times.front().is_some_and(|first| at < *first) {
            return Change::default();
        }
        let went = if full { self.times.pop_front() } else { None };
        self.times.insert(self.times.partition_point(|other| *other <= at), at);
        Change { came: Some(at), went }
    }

    /// Undoes [`note`](Self::note). The most recent note has to be undone first.
    pub fn undo(&mut self, change: Change<AgentTime>) {
        if let Some(at) = change.came.and_then(|came| self.times.iter().rposition(|at| *at == came)) {
            self.times.remove(at);
        }
        if let Some(went) = change.went {
            self.times.push_front(went);
        }
    }

    /// Number of events in the last `window`, at most one more than the threshold.
    pub fn count(&mut self, now: AgentTime, window: Duration) -> u64 {
        while self.times.front().is_some_and(|at| now.since(*at) >= window) {
            self.times.pop_front();
        }
        self.times.len() as u64
    }

    /// The time from which fewer than `count` events lie in the window, if no more occur; `None` if that is
    /// already so.
    #[must_use]
    pub fn under_at(&self, count: u64, window: Duration) -> Option<AgentTime> {
        let kept = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        let last_too_many = self.times.len().checked_sub(kept.saturating_add(1))?;
        self.times.get(last_too_many).map(|at| at.after(window))
    }
}

/// Hash of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityTag(u64);

impl EntityTag {
    /// Entities with equal hashes would be counted as one; with 64 bits this is negligible.
    #[must_use]
    pub fn of(entity_type: &str, entity_id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (entity_type, entity_id).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Number of events per entity, among the most recent events of all entities. In a flood the oldest are
/// forgotten; other alerts report a flood.
#[derive(Clone, Debug, Default)]
pub struct Entities {
    log: VecDeque<(AgentTime, EntityTag)>,
    /// The map is never iterated, so its order has no effect.
    counts: HashMap<EntityTag, u32, BuildHasherDefault<DefaultHasher>>,
}

impl Entities {
    /// Notes an event of this entity; its time may be earlier than that of others. Returns how many there were
    /// in the last `window`, including this one.
    pub fn note(
        &mut self,
        at: AgentTime,
        entity: EntityTag,
        window: Duration,
    ) -> (u64, Change<(AgentTime, EntityTag)>) {
        self.forget(at, window);
        let full = self.log.len() == MAX_ENTITY_EVENTS;
        if full && self.log.front().is_some_and(|(first, _)| at < *first) {
            return (self.counts.get(&entity).copied().map_or(0, u64::from), Change { came: None, went: None });
        }
        let went = if full { self.pop() } else { None };
        self.log.insert(self.log.partition_point(|(other, _)| *other <= at), (at, entity));
        let count = self.counts.entry(entity).or_default();
        *count += 1;
        (u64::from(*count), Change { came: Some((at, entity)), went })
    }

    /// Undoes [`note`](Self::note). The most recent note has to be undone first.
    pub fn undo(&mut self, change: Change<(AgentTime, EntityTag)>) {
        if let Some((came, at)) =
            change.came.and_then(|came| Some((came, self.log.iter().rposition(|it| *it == came)?)))
        {
            self.log.remove(at);
            self.less(came.1);
        }
        if let Some(went) = change.went {
            self.log.push_front(went);
            *self.counts.entry(went.1).or_default() += 1;
        }
    }

    /// Number of events of this entity in the last `window`.
    pub fn count(&mut self, now: AgentTime, entity: EntityTag, window: Duration) -> u64 {
        self.forget(now, window);
        self.counts.get(&entity).copied().map_or(0, u64::from)
    }

    fn forget(&mut self, now: AgentTime, window: Duration) {
        while self.log.front().is_some_and(|(at, _)| now.since(*at) >= window) {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<(AgentTime, EntityTag)> {
        let gone = self.log.pop_front()?;
        self.less(gone.1);
        Some(gone)
    }

    fn less(&mut self, entity: EntityTag) {
        if let Some(count) = self.counts.get_mut(&entity) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&entity);
            }
        }
    }
}

//! Counting what happened of late, in bounded memory, for next to nothing a time: a record goes
//! through here fifty thousand times a second.

use crate::limits::REMEMBERED_HAPPENINGS;
use crate::moment::AgentTime;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The last so many happenings: enough to tell whether there were more than a threshold, not how many
/// more.
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

    /// With what another one counted.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        other.times.iter().for_each(|at| self.note(*at));
        self
    }

    /// One more.
    pub fn note(&mut self, at: AgentTime) {
        if self.times.len() == self.most {
            self.times.pop_front();
        }
        self.times.push_back(at);
    }

    /// The last ones have not happened after all.
    pub fn take_back(&mut self, count: usize) {
        self.times.truncate(self.times.len().saturating_sub(count));
    }

    /// How many there were in this time, at most one more than the threshold.
    pub fn count(&mut self, now: AgentTime, window: Duration) -> u64 {
        while self.times.front().is_some_and(|at| now.since(*at) >= window) {
            self.times.pop_front();
        }
        self.times.len() as u64
    }

    /// When fewer than `count` will have happened in this time, if nothing more does; `None`: now.
    #[must_use]
    pub fn under_at(&self, count: u64, window: Duration) -> Option<AgentTime> {
        let kept = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        let last_too_many = self.times.len().checked_sub(kept.saturating_add(1))?;
        self.times.get(last_too_many).map(|at| at.after(window))
    }
}

/// An entity, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityTag(u64);

impl EntityTag {
    /// Two entities with one tag would be counted as one; with 64 bits that is nobody's lot.
    #[must_use]
    pub fn of(entity_type: &str, entity_id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (entity_type, entity_id).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// How often something happened to each entity, of the last so many happenings to all of them. In a
/// flood the oldest are forgotten; other alerts tell of a flood.
#[derive(Clone, Debug, Default)]
pub struct Entities {
    log: VecDeque<(AgentTime, EntityTag)>,
    /// Nobody goes through it, so its order decides nothing.
    counts: HashMap<EntityTag, u32, BuildHasherDefault<DefaultHasher>>,
}

impl Entities {
    /// One more happening to this entity; how many there were in this time, this one included.
    pub fn note(&mut self, at: AgentTime, entity: EntityTag, window: Duration) -> u64 {
        self.forget(at, window);
        if self.log.len() == REMEMBERED_HAPPENINGS {
            self.pop();
        }
        self.log.push_back((at, entity));
        let count = self.counts.entry(entity).or_default();
        *count += 1;
        u64::from(*count)
    }

    /// The last ones have not happened after all.
    pub fn take_back(&mut self, count: usize) {
        for _ in 0..count {
            let Some((_, entity)) = self.log.pop_back() else { return };
            self.less(entity);
        }
    }

    /// How many there were in this time.
    pub fn count(&mut self, now: AgentTime, entity: EntityTag, window: Duration) -> u64 {
        self.forget(now, window);
        self.counts.get(&entity).copied().map_or(0, u64::from)
    }

    fn forget(&mut self, now: AgentTime, window: Duration) {
        while self.log.front().is_some_and(|(at, _)| now.since(*at) >= window) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, entity)) = self.log.pop_front() {
            self.less(entity);
        }
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

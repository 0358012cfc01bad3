//! The time series: what happened in each five minutes, and how it is told.
//!
//! Intervals are those of agent time, so that a wall clock that jumps neither loses nor doubles one.
//! Only intervals in which something happened are kept; [`Series::of`] fills in the others, and gathers
//! several into one where a long span is asked for, so that its answer has a bound.

use super::ByStatus;
use crate::limits::MAX_POINTS;
use crate::moment::{AgentTime, Moment, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;

const BUCKET_MS: i64 = 300_000;

/// How long an interval is.
pub const INTERVAL: Duration = Duration::from_millis(BUCKET_MS.unsigned_abs());

/// An interval, by its number since the agent's first moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(pub i64);

impl Bucket {
    /// The one in which this lies.
    #[must_use]
    pub fn of(at: AgentTime) -> Self {
        Self(at.as_millis().div_euclid(BUCKET_MS))
    }

    /// Its first moment.
    #[must_use]
    pub fn begins(self) -> AgentTime {
        AgentTime::from_millis(self.0.saturating_mul(BUCKET_MS))
    }

    /// The wall clock's time of its first moment, as the wall clock is now.
    #[must_use]
    pub fn wall(self, now: Moment) -> WallTime {
        now.wall.before(now.agent.since(self.begins())).after(self.begins().since(now.agent))
    }
}

/// What was counted at one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Failures that are bound for it.
    pub recorded: u64,
    /// Failures that it accepted.
    pub delivered: u64,
    /// Tries that did not deliver and were not refused.
    pub failed: u64,
    /// Tries that were refused for good.
    pub refused: u64,
    /// How long nobody answered there, in milliseconds.
    pub offline_ms: u64,
    /// How long it was reached, and blocked, failing or paused.
    pub shut_ms: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.recorded += other.recorded;
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.refused += other.refused;
        self.offline_ms += other.offline_ms;
        self.shut_ms += other.shut_ms;
    }
}

/// What was counted in an interval, or in a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Failures, whatever they are bound for.
    pub recorded: u64,
    /// By the upstreams' names; few, so that looking one up is a walk.
    upstreams: Vec<(String, Tally)>,
}

impl Counted {
    /// So many failures, and nothing at any upstream.
    #[must_use]
    pub fn recorded(recorded: u64) -> Self {
        Self { recorded, ..Self::default() }
    }

    /// What is counted at this upstream.
    pub fn at(&mut self, name: &str) -> &mut Tally {
        let place = self.upstreams.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.upstreams.push((name.to_owned(), Tally::default()));
            self.upstreams.len() - 1
        });
        &mut self.upstreams[place].1
    }

    /// Upstreams at which something was counted.
    pub fn upstreams(&self) -> impl Iterator<Item = (&str, Tally)> {
        let some = self.upstreams.iter().filter(|(_, tally)| *tally != Tally::default());
        some.map(|(name, tally)| (name.as_str(), *tally))
    }

    /// Was nothing counted?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recorded == 0 && self.upstreams().next().is_none()
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.recorded += other.recorded;
        for (name, tally) in other.upstreams() {
            self.at(name).add(tally);
        }
    }

    /// Counts from nothing again; the names stay.
    pub fn clear(&mut self) {
        self.recorded = 0;
        self.upstreams.iter_mut().for_each(|(_, tally)| *tally = Tally::default());
    }
}

/// An interval as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub bucket: Bucket,
    /// What the wall clock said at its beginning.
    pub wall: WallTime,
    /// What was live at its end.
    pub live: ByStatus,
    /// What was counted.
    pub counted: Counted,
}

/// A point of the series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// When it begins, by the wall clock as it is now.
    pub at: WallTime,
    /// Failures recorded.
    pub recorded: u64,
    /// The most that were live at the end of one of its intervals.
    pub live: ByStatus,
    /// What was counted at each upstream at which something was.
    pub upstreams: Vec<(String, Tally)>,
}

impl Point {
    /// Over all upstreams; the times are those of the upstream that was away longest.
    #[must_use]
    pub fn all(&self) -> Tally {
        let mut all = Tally::default();
        for (_, tally) in &self.upstreams {
            let (offline_ms, shut_ms) = (all.offline_ms.max(tally.offline_ms), all.shut_ms.max(tally.shut_ms));
            all.add(*tally);
            (all.offline_ms, all.shut_ms) = (offline_ms, shut_ms);
        }
        Tally { recorded: self.recorded, ..all }
    }
}

/// The whole of what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// From point to point.
    pub step: Duration,
    /// Without a gap, oldest first; the last one lasts until now.
    pub points: Vec<Point>,
}

impl Series {
    /// From the intervals that are kept, in their order, and what is live `now`. `before` is what was live
    /// when they begin; without it the series begins with the first of them.
    #[must_use]
    pub fn of(since: AgentTime, now: Moment, before: Option<ByStatus>, kept: &[Kept], live: ByStatus) -> Self {
        let last = Bucket::of(now.agent);
        let first = Bucket::of(since).min(last);
        let first = if before.is_some() { first } else { kept.first().map_or(last, |kept| kept.bucket.max(first)) };
        let length = last.0 - first.0 + 1;
        let gathered = [1, 3, 6, 12, 36, 72, 144, 288].into_iter().find(|size| length <= size * MAX_POINTS);
        let size = gathered.unwrap_or(length);
        let start = first.0.div_euclid(size) * size;
        let counted = spread(kept, first, last);
        let mut stands = before.unwrap_or_default();
        let mut ends = kept.iter().filter(|kept| kept.bucket >= first).peekable();
        let mut points = Vec::new();
        for begins in (start..=last.0).step_by(usize::try_from(size).unwrap_or(usize::MAX)) {
            let mut point =
                Point { at: Bucket(begins).wall(now), recorded: 0, live: ByStatus::default(), upstreams: Vec::new() };
            let mut all = Counted::default();
            for bucket in begins.max(first.0)..(begins + size).min(last.0 + 1) {
                if let Some(end) = ends.next_if(|kept| kept.bucket.0 == bucket) {
                    stands = end.live;
                }
                stands = if bucket == last.0 { live } else { stands };
                point.live = most(point.live, stands);
                counted.get(&bucket).into_iter().for_each(|counted| all.add(counted));
            }
            point.recorded = all.recorded;
            point.upstreams = all.upstreams().map(|(name, tally)| (name.to_owned(), tally)).collect();
            points.push(point);
        }
        Self { step: INTERVAL.saturating_mul(u32::try_from(size).unwrap_or(u32::MAX)), points }
    }
}

fn most(a: ByStatus, b: ByStatus) -> ByStatus {
    ByStatus { pending: a.pending.max(b.pending), held: a.held.max(b.held), critical: a.critical.max(b.critical) }
}

/// What was counted by interval; times that reach back go to the intervals in which they were.
fn spread(kept: &[Kept], first: Bucket, last: Bucket) -> BTreeMap<i64, Counted> {
    let full = BUCKET_MS.unsigned_abs();
    let mut spread: BTreeMap<i64, Counted> = BTreeMap::new();
    for kept in kept.iter().filter(|kept| kept.bucket <= last) {
        spread.entry(kept.bucket.0).or_default().recorded += kept.counted.recorded;
        for (name, tally) in kept.counted.upstreams() {
            let (mut offline, mut shut) = (tally.offline_ms, tally.shut_ms);
            let counts = Tally { offline_ms: 0, shut_ms: 0, ..tally };
            spread.entry(kept.bucket.0).or_default().at(name).add(counts);
            let mut bucket = kept.bucket.0;
            while offline + shut > 0 && bucket >= first.0 {
                let there = spread.entry(bucket).or_default().at(name);
                let room = full.saturating_sub(there.offline_ms + there.shut_ms);
                let shut_here = shut.min(room);
                let offline_here = offline.min(room - shut_here);
                there.add(Tally { offline_ms: offline_here, shut_ms: shut_here, ..Tally::default() });
                (offline, shut) = (offline - offline_here, shut - shut_here);
                bucket -= 1;
            }
        }
    }
    spread
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;

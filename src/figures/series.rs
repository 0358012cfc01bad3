//! The time series: counts per five minutes, and how they are reported.
//!
//! Intervals are in agent time, so that a wall clock that jumps neither loses nor duplicates one. Only intervals
//! with a count are stored; [`Series::of`] fills in the others, and combines several for a long period, so that the
//! reply is bounded.

use super::ByStatus;
use crate::limits::MAX_POINTS;
use crate::moment::{AgentTime, Moment, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;

const BUCKET_MS: i64 = 300_000;

/// Length of an interval.
pub const INTERVAL: Duration = Duration::from_millis(BUCKET_MS.unsigned_abs());

/// An interval, by its number since the beginning of agent time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(pub i64);

impl Bucket {
    /// The interval that contains this time.
    #[must_use]
    pub fn of(at: AgentTime) -> Self {
        Self(at.as_millis().div_euclid(BUCKET_MS))
    }

    /// Its beginning.
    #[must_use]
    pub fn begins(self) -> AgentTime {
        AgentTime::from_millis(self.0.saturating_mul(BUCKET_MS))
    }

    /// The wall time of its beginning, by the current wall clock.
    #[must_use]
    pub fn wall(self, now: Moment) -> WallTime {
        now.wall.before(now.agent.since(self.begins())).after(self.begins().since(now.agent))
    }
}

/// Counts of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Failures recorded for it.
    pub recorded: u64,
    /// Failures that it accepted.
    pub delivered: u64,
    /// Attempts that neither delivered nor were rejected.
    pub failed: u64,
    /// Attempts that were rejected permanently.
    pub refused: u64,
    /// How long it was unreachable, in milliseconds.
    pub offline_ms: u64,
    /// How long it was reachable, but blocked, failing or paused.
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

/// Counts of an interval, or of a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Failures recorded for any destination.
    pub recorded: u64,
    /// By upstream name; so few that a linear search is enough.
    upstreams: Vec<(String, Tally)>,
}

impl Counted {
    /// A number of recorded failures without counts of upstreams.
    #[must_use]
    pub fn recorded(recorded: u64) -> Self {
        Self { recorded, ..Self::default() }
    }

    /// The counts of this upstream.
    pub fn at(&mut self, name: &str) -> &mut Tally {
        let place = self.upstreams.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.upstreams.push((name.to_owned(), Tally::default()));
            self.upstreams.len() - 1
        });
        &mut self.upstreams[place].1
    }

    /// Upstreams with a count.
    pub fn upstreams(&self) -> impl Iterator<Item = (&str, Tally)> {
        let some = self.upstreams.iter().filter(|(_, tally)| *tally != Tally::default());
        some.map(|(name, tally)| (name.as_str(), *tally))
    }

    /// Returns whether there are no counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recorded == 0 && self.upstreams().next().is_none()
    }

    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        self.recorded += other.recorded;
        for (name, tally) in other.upstreams() {
            self.at(name).add(tally);
        }
    }

    /// Resets all counts; the names stay.
    pub fn clear(&mut self) {
        self.recorded = 0;
        self.upstreams.iter_mut().for_each(|(_, tally)| *tally = Tally::default());
    }
}

/// A stored interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub bucket: Bucket,
    /// Wall time at its beginning.
    pub wall: WallTime,
    /// Live failures at its end.
    pub live: ByStatus,
    /// Its counts.
    pub counted: Counted,
}

/// A point of the series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its beginning, by the current wall clock.
    pub at: WallTime,
    /// Failures recorded.
    pub recorded: u64,
    /// Maximum of the live failures at the ends of its intervals.
    pub live: ByStatus,
    /// Counts of each upstream that has any.
    pub upstreams: Vec<(String, Tally)>,
}

impl Point {
    /// Total of all upstreams; the times are those of the upstream with the longest outage.
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

/// The series for the requested period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Time between two points.
    pub step: Duration,
    /// Without gaps, oldest first; the last one lasts until now.
    pub points: Vec<Point>,
}

impl Series {
    /// Builds the series from the stored intervals, in their order, and the failures that are live `now`. `before`
    /// is what was live at the beginning; without it the series begins with the first stored interval.
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

/// Counts by interval; times that began earlier are assigned to the intervals in which they passed.
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

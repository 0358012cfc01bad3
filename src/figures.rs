//! Counters and measurements of an agent, as values.
//!
//! The agent counts, the reader queries the table, `wire::metrics` formats both. Counters begin with the process
//! and are never stored. All labels are bounded here, because names come from applications.

pub mod digest;
pub mod series;
pub mod snapshot;
pub mod told;

use crate::limits::MAX_TYPES;
use crate::moment::{AgentTime, WallTime};
use crate::record::Class;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The name under which types beyond the bound are combined.
pub const OTHER: &str = "other";

/// Upper bounds, in seconds, of the buckets for acknowledgements: from a fast disk that syncs a group to one that
/// hangs.
const ACKNOWLEDGED: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// The same for deliveries: from the same building to the longest common timeout.
const DELIVERED: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A histogram of durations.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds; the last one has no bound.
    counts: Vec<u64>,
    sum: Duration,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: Duration::ZERO }
    }

    /// Records `times` events of this duration.
    pub fn observe(&mut self, took: Duration, times: u32) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[bucket] += u64::from(times);
        self.sum = self.sum.saturating_add(took.saturating_mul(times));
    }

    /// Each bound with the number of events up to it.
    pub fn up_to(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.bounds.iter().copied().zip(sums)
    }

    /// Number of events.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// The types with series of their own in the metrics: the first ones seen.
#[derive(Clone, Debug, Default)]
struct Types(Vec<String>);

impl Types {
    /// The index after all names is that of [`OTHER`].
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.0.iter().position(|known| known == name) {
            return place;
        }
        if self.0.len() < MAX_TYPES {
            self.0.push(name.to_owned());
            return self.0.len() - 1;
        }
        MAX_TYPES
    }
}

/// A counter per type. Counts of a round become final when it is committed.
#[derive(Clone, Debug)]
struct ByType {
    sure: [u64; MAX_TYPES + 1],
    open: [u64; MAX_TYPES + 1],
    counts: bool,
}

impl Default for ByType {
    fn default() -> Self {
        Self { sure: [0; MAX_TYPES + 1], open: [0; MAX_TYPES + 1], counts: false }
    }
}

impl ByType {
    fn add(&mut self, place: usize) {
        self.open[place] += 1;
        self.counts = true;
    }

    fn round_ended(&mut self, committed: bool) {
        if std::mem::take(&mut self.counts) {
            for (sure, open) in self.sure.iter_mut().zip(&mut self.open) {
                *sure += if committed { *open } else { 0 };
                *open = 0;
            }
        }
    }

    /// The types with a count.
    fn named<'a>(&'a self, types: &'a Types) -> impl Iterator<Item = (&'a str, u64)> {
        let names = types.0.iter().map(String::as_str);
        let own = names.zip(self.sure);
        own.chain([(OTHER, self.sure[MAX_TYPES])]).filter(|(_, count)| *count > 0)
    }
}

/// Counters of one upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct AtUpstream {
    attempts: [u64; Class::ALL.len()],
    /// Failures that it has accepted.
    pub delivered: u64,
    /// Durations of accepted requests.
    pub took: Histogram,
}

impl Default for AtUpstream {
    fn default() -> Self {
        Self { attempts: [0; Class::ALL.len()], delivered: 0, took: Histogram::new(&DELIVERED) }
    }
}

impl AtUpstream {
    /// Counts an attempt by its result.
    pub fn tried(&mut self, class: Class) {
        let place = Class::ALL.iter().position(|known| *known == class);
        self.attempts[place.expect("ALL has every class")] += 1;
    }

    /// Number of attempts by result.
    pub fn attempts(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.into_iter().zip(self.attempts)
    }
}

/// What the agent has counted since its start.
#[derive(Clone, Debug)]
pub struct Counters {
    types: Types,
    recorded: ByType,
    discarded: ByType,
    cleaned: ByType,
    rejected: BTreeMap<&'static str, u64>,
    upstreams: BTreeMap<String, AtUpstream>,
    acknowledged: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            types: Types::default(),
            recorded: ByType::default(),
            discarded: ByType::default(),
            cleaned: ByType::default(),
            rejected: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            acknowledged: Histogram::new(&ACKNOWLEDGED),
        }
    }
}

impl Counters {
    // ---- counted in a round, final when it is committed

    /// A failure of this type was recorded.
    pub fn recorded(&mut self, entity_type: &str) {
        let place = self.types.place(entity_type);
        self.recorded.add(place);
    }

    /// An operator discarded one.
    pub fn discarded(&mut self, entity_type: &str) {
        let place = self.types.place(entity_type);
        self.discarded.add(place);
    }

    /// Retention removed one.
    pub fn cleaned(&mut self, entity_type: &str) {
        let place = self.types.place(entity_type);
        self.cleaned.add(place);
    }

    /// The round was committed, or nothing of it was.
    pub fn round_ended(&mut self, committed: bool) {
        for counter in [&mut self.recorded, &mut self.discarded, &mut self.cleaned] {
            counter.round_ended(committed);
        }
    }

    // ---- counted at once

    /// Counts requests that were rejected with this error.
    pub fn rejected(&mut self, code: &'static str, times: u64) {
        *self.rejected.entry(code).or_default() += times;
    }

    /// Counts acknowledged records, each with this duration.
    pub fn acknowledged(&mut self, took: Duration, times: u32) {
        self.acknowledged.observe(took, times);
    }

    /// The counters of this upstream.
    pub fn at(&mut self, upstream: &str) -> &mut AtUpstream {
        if !self.upstreams.contains_key(upstream) {
            self.upstreams.insert(upstream.to_owned(), AtUpstream::default());
        }
        self.upstreams.get_mut(upstream).expect("it was put there")
    }

    // ---- reading

    /// Types with series of their own, at most 50.
    #[must_use]
    pub fn types(&self) -> &[String] {
        &self.types.0
    }

    /// Recorded failures by type, then discarded and removed ones.
    #[must_use]
    pub fn by_type(&self) -> [Vec<(&str, u64)>; 3] {
        [&self.recorded, &self.discarded, &self.cleaned].map(|counter| counter.named(&self.types).collect())
    }

    /// Errors by their codes.
    #[must_use]
    pub fn rejections(&self) -> &BTreeMap<&'static str, u64> {
        &self.rejected
    }

    /// Upstreams by name.
    #[must_use]
    pub fn upstreams(&self) -> &BTreeMap<String, AtUpstream> {
        &self.upstreams
    }

    /// Durations of acknowledgements.
    #[must_use]
    pub fn acknowledgements(&self) -> &Histogram {
        &self.acknowledged
    }
}

/// State of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamFigures {
    /// Its name.
    pub upstream: String,
    /// Its state; `None` if no agent is running.
    pub state: Option<&'static str>,
    /// Time of its last acceptance.
    pub last_delivery_at: Option<WallTime>,
    /// Its clock minus the terminal's, in ms.
    pub clock_skew_ms: Option<i64>,
}

/// The agent's figures that need no query of the table.
#[derive(Clone, Debug)]
pub struct Known {
    /// Time of the request.
    pub now: AgentTime,
    /// Its counters; `None` if no agent is running.
    pub counters: Option<Counters>,
    /// State of its upstreams.
    pub lines: Vec<UpstreamFigures>,
    /// The kinds of alerts, and whether one of that kind is active.
    pub alerts: Vec<(&'static str, bool)>,
    /// Free bytes of the file system.
    pub disk_free: Option<u64>,
}

/// Number of live failures by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ByStatus {
    /// Sent automatically.
    pub pending: u64,
    /// On hold by an operator.
    pub held: u64,
    /// Waiting for an operator.
    pub critical: u64,
}

impl ByStatus {
    /// With the names that are shown.
    #[must_use]
    pub fn named(self) -> [(&'static str, u64); 3] {
        [("pending", self.pending), ("critical", self.critical), ("held", self.held)]
    }
}

/// Figures from the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableFigures {
    /// Live failures by type, at most 50 and [`OTHER`].
    pub failures: Vec<(String, ByStatus)>,
    /// Age of the oldest live failure; zero if there is none.
    pub oldest_age: Duration,
    /// Entities, or order keys, in which a failure waits behind another.
    pub blocked: u64,
    /// The mean of `retry_count`; zero if nothing is live.
    pub retries_mean: f64,
    /// Bytes of the pages in use.
    pub database_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_a_bound_into_its_own_bucket() {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        histogram.observe(Duration::from_millis(100), 2);
        histogram.observe(Duration::from_millis(101), 1);
        histogram.observe(Duration::from_secs(5), 1);
        assert_eq!(histogram.up_to().collect::<Vec<_>>(), [(0.1, 2), (1.0, 3)]);
        assert_eq!((histogram.count(), histogram.sum()), (4, Duration::from_millis(5301)));
    }

    #[test]
    fn what_was_not_committed_is_not_counted() {
        let mut counters = Counters::default();
        counters.recorded("SALE");
        counters.round_ended(false);
        counters.recorded("SALE");
        counters.discarded("SALE");
        counters.round_ended(true);
        assert_eq!(counters.by_type(), [vec![("SALE", 1)], vec![("SALE", 1)], vec![]]);
    }

    #[test]
    fn types_beyond_the_bound_are_counted_together() {
        let mut counters = Counters::default();
        for n in 0..MAX_TYPES + 7 {
            counters.recorded(&format!("T{n}"));
        }
        counters.recorded("T0");
        counters.round_ended(true);
        let [recorded, ..] = counters.by_type();
        assert_eq!(recorded.len(), MAX_TYPES + 1);
        assert_eq!((recorded[0], recorded[MAX_TYPES]), (("T0", 2), (OTHER, 7)));
    }
}

//! The agent's counts for the time series.
//!
//! Counting costs a few additions. An interval's row is written in a round that is committed anyway: in the first after
//! the interval's end, in one a minute, in the one that sends the last waiting failure, and at a stop. So a kill loses
//! the counts of at most a minute; the number of live failures is then read from the table at the next start, and is
//! correct.

use super::outcomes::Outcome;
use super::{Agent, UpstreamEntry};
use crate::figures::ByStatus;
use crate::figures::series::{Bucket, Counted, Kept};
use crate::moment::{AgentTime, Moment};
use crate::policy::judge::Decision;
use crate::record::Class;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::time::Duration;

/// Minimum time between writes of the current interval.
const GAP: Duration = Duration::from_secs(60);

/// Counts that are not yet rows of the series.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    /// Counts of committed rounds that are not yet written as rows.
    unwritten: BTreeMap<Bucket, Counted>,
    /// Counts of the open round.
    round: Counted,
    /// The upstreams' availability when a round last wrote, and that time.
    away: Vec<(String, Availability)>,
    since: AgentTime,
    /// The interval of the last event.
    bucket: Bucket,
    /// Live failures when they were last counted, and as written in the last row.
    live: ByStatus,
    written: ByStatus,
    /// The table has changed since they were counted.
    changed: bool,
    written_at: Option<AgentTime>,
    /// The open round writes.
    in_round: bool,
    /// Live failures as written in the open round's rows, if it has rows.
    writes: Option<ByStatus>,
}

/// Whether an upstream accepts nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Availability {
    No,
    /// It is unreachable.
    Offline,
    /// It is blocked, failing or paused.
    Shut,
}

impl Availability {
    fn of(line: &UpstreamEntry, now: AgentTime) -> Self {
        if line.state.is_offline() {
            return Self::Offline;
        }
        if line.state.is_shut() || line.state.state(now) == "paused" { Self::Shut } else { Self::No }
    }
}

impl Sampler {
    /// Counts a recorded failure that is routed to this upstream.
    pub(super) fn recorded(&mut self, upstream: Option<&str>) {
        self.round.recorded += 1;
        if let Some(name) = upstream {
            self.round.at(name).recorded += 1;
        }
    }

    /// Adds the upstreams' downtime until now. Time before the current interval counts for the previous one, however
    /// long it is.
    fn away_until(&self, now: AgentTime, unwritten: &mut BTreeMap<Bucket, Counted>) {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let bucket = Bucket::of(now);
        let here = millis(now.since(self.since).min(now.since(bucket.begins())));
        let before = millis(now.since(self.since)) - here;
        for (bucket, span) in [(Bucket(bucket.0 - 1), before), (bucket, here)] {
            for (name, away) in self.away.iter().filter(|_| span > 0) {
                let tally = match away {
                    Availability::No => continue,
                    Availability::Offline => &mut unwritten.entry(bucket).or_default().at(name).offline_ms,
                    Availability::Shut => &mut unwritten.entry(bucket).or_default().at(name).shut_ms,
                };
                *tally += span;
            }
        }
    }

    /// Settles the round's counts: keeps them if the round was committed, else drops them.
    pub(super) fn round_ended(&mut self, committed: bool) {
        let (rows, in_round) = (self.writes.take(), std::mem::take(&mut self.in_round));
        if committed && let Some(live) = rows {
            self.unwritten.clear();
            (self.live, self.written, self.changed) = (live, live, false);
            self.written_at = Some(self.since);
        } else if committed && in_round {
            self.unwritten.entry(Bucket::of(self.since)).or_default().add(&self.round);
            self.changed = true;
        }
        self.round.clear();
    }

    /// Returns whether counts must be written before a stop.
    fn is_left(&self, now: AgentTime) -> bool {
        let away = !self.away.is_empty() && now.since(self.since) >= Duration::from_secs(1);
        self.changed || away || !self.unwritten.is_empty()
    }

    /// Returns whether this round should write.
    fn is_due(&self, now: AgentTime, live: u64) -> bool {
        let was_live = self.written.pending + self.written.held + self.written.critical;
        self.written_at.is_none_or(|at| now.since(at) >= GAP)
            || self.unwritten.keys().any(|bucket| *bucket < Bucket::of(now))
            || (live == 0 && was_live > 0)
    }
}

impl Agent {
    /// The store was opened, perhaps another file, and perhaps after a kill. The last written interval holds the number
    /// of live failures at its end.
    pub(super) fn adopt_series(&mut self) -> Result<(), StoreError> {
        let (live, told) = (self.store.live_by_status()?, self.store.last_of_series()?);
        let sampling = &mut self.counting.sampling;
        (sampling.live, sampling.changed) = (live, false);
        sampling.written = told.unwrap_or_default();
        if live != sampling.written {
            sampling.unwritten.entry(Bucket::of(self.store.ledger().at.agent)).or_default();
        }
        Ok(())
    }

    /// Starts a new interval: live failures at the end of the last one are counted before anything changes.
    pub(super) fn roll_interval(&mut self, now: AgentTime) {
        let sampling = &mut self.counting.sampling;
        let bucket = Bucket::of(now);
        if std::mem::replace(&mut sampling.bucket, bucket) == bucket || !sampling.changed {
            return;
        }
        if self.write_recovery.refusal().is_none() {
            match self.store.live_by_status() {
                Ok(live) => (sampling.live, sampling.changed) = (live, false),
                Err(error) => self.write_recovery.met(now, &error),
            }
        }
    }

    /// Writes the series in the open round if it is due.
    pub(super) fn write_interval(&mut self, now: Moment) {
        let sampling = &self.counting.sampling;
        let leaves = self.stopping && sampling.is_left(now.agent);
        if self.round.failed.is_some() || !(self.store.is_in_round() || leaves) {
            return;
        }
        self.counting.sampling.in_round = true;
        self.count_time_away(now.agent);
        self.count_tries();
        let due = self.stopping || self.counting.sampling.is_due(now.agent, self.store.ledger().live);
        let outcomes_first = self.write_recovery.next().is_some()
            || self.write_recovery.is_full()
            || self.store.is_reserved_for_outcomes();
        if due && !outcomes_first {
            // The round keeps the error.
            let _ = self.write(|agent| agent.write_series(now));
        }
    }

    fn count_time_away(&mut self, now: AgentTime) {
        let sampling = &mut self.counting.sampling;
        if !sampling.away.is_empty() {
            let mut unwritten = std::mem::take(&mut sampling.unwritten);
            sampling.away_until(now, &mut unwritten);
            sampling.unwritten = unwritten;
        }
        sampling.since = now;
        sampling.away.clear();
        let away = self.upstreams.iter().map(|line| (line, Availability::of(line, now)));
        sampling.away.extend(
            away.filter(|(_, away)| *away != Availability::No).map(|(line, away)| (line.config.name.clone(), away)),
        );
    }

    fn count_tries(&mut self) {
        for outcome in &self.round.outcomes {
            let at = self.counting.sampling.round.at(&self.upstreams[outcome.upstream].config.name);
            match ended(outcome) {
                Ended::Delivered => at.delivered += 1,
                Ended::Refused => at.refused += 1,
                Ended::Failed => at.failed += 1,
            }
        }
    }

    fn write_series(&mut self, now: Moment) -> Result<(), StoreError> {
        let live = self.store.live_by_status()?;
        let sampling = &mut self.counting.sampling;
        let present = Bucket::of(now.agent);
        let mut rows: Vec<Kept> = Vec::new();
        for (bucket, counted) in &sampling.unwritten {
            let live = if *bucket < present { sampling.live } else { live };
            rows.push(Kept { bucket: *bucket, wall: bucket.wall(now), live, counted: counted.clone() });
        }
        match rows.last_mut().filter(|last| last.bucket == present) {
            Some(last) => last.counted.add(&sampling.round),
            None => rows.push(Kept { bucket: present, wall: present.wall(now), live, counted: sampling.round.clone() }),
        }
        let mut told = sampling.written;
        for row in rows {
            if row.live != told || !row.counted.is_empty() {
                self.store.add_to_series(&row)?;
                told = row.live;
            }
        }
        self.counting.sampling.writes = Some(live);
        Ok(())
    }

    /// The counts that the table does not contain yet.
    pub(super) fn unwritten_series(&self, now: Moment) -> Vec<Kept> {
        let sampling = &self.counting.sampling;
        let mut unwritten = sampling.unwritten.clone();
        sampling.away_until(now.agent, &mut unwritten);
        let row = |(bucket, counted): (Bucket, Counted)| Kept {
            bucket,
            wall: bucket.wall(now),
            live: sampling.live,
            counted,
        };
        unwritten.into_iter().map(row).collect()
    }
}

enum Ended {
    Delivered,
    Refused,
    Failed,
}

fn ended(outcome: &Outcome) -> Ended {
    match outcome.judgement.decision {
        Decision::Accepted => Ended::Delivered,
        _ if outcome.tries.last().is_some_and(|last| last.class == Class::Refused) => Ended::Refused,
        _ => Ended::Failed,
    }
}

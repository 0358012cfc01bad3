//! The time series, as the agent counts it.
//!
//! Counting costs a few additions. An interval's row is written in a round that is committed anyway, and
//! of those only in the first behind the interval's end, in one a minute, and in the one that sends the
//! last of what waits; and at a stop. So a kill loses the counts of at most a minute; what was live then
//! is read from the table at the next start, and is right.

use super::outcomes::Outcome;
use super::{Agent, Line};
use crate::figures::ByStatus;
use crate::figures::series::{Bucket, Counted, Kept};
use crate::moment::{AgentTime, Moment};
use crate::policy::judge::Decision;
use crate::record::Class;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::time::Duration;

/// An interval that goes on is written at most this often.
const GAP: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    /// What is on disk as what was counted, and not yet as a row.
    unwritten: BTreeMap<Bucket, Counted>,
    /// What the open round has counted.
    round: Counted,
    /// Where the upstreams stood at the last round that was written, and when that was.
    away: Vec<(String, Away)>,
    since: AgentTime,
    /// The interval of the last event.
    bucket: Bucket,
    /// What was live when it was last counted, and as it stands in the last row.
    live: ByStatus,
    written: ByStatus,
    /// Something was written since it was counted.
    changed: bool,
    written_at: Option<AgentTime>,
    /// The open round writes.
    in_round: bool,
    /// It has rows in it, with this as what is live.
    writes: Option<ByStatus>,
}

/// Does an upstream take nothing?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    No,
    /// Nobody answers.
    Offline,
    /// It is blocked, failing or paused.
    Shut,
}

impl Away {
    fn of(line: &Line, now: AgentTime) -> Self {
        if line.state.is_offline() {
            return Self::Offline;
        }
        if line.state.is_shut() || line.state.state(now) == "paused" { Self::Shut } else { Self::No }
    }
}

impl Sampling {
    /// A failure was recorded, bound for this upstream.
    pub(super) fn recorded(&mut self, upstream: Option<&str>) {
        self.round.recorded += 1;
        if let Some(name) = upstream {
            self.round.at(name).recorded += 1;
        }
    }

    /// How long upstreams were away until now. What reaches over the interval's beginning is told of the
    /// interval before, however long it is.
    fn away_until(&self, now: AgentTime, unwritten: &mut BTreeMap<Bucket, Counted>) {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let bucket = Bucket::of(now);
        let here = millis(now.since(self.since).min(now.since(bucket.begins())));
        let before = millis(now.since(self.since)) - here;
        for (bucket, span) in [(Bucket(bucket.0 - 1), before), (bucket, here)] {
            for (name, away) in self.away.iter().filter(|_| span > 0) {
                let tally = match away {
                    Away::No => continue,
                    Away::Offline => &mut unwritten.entry(bucket).or_default().at(name).offline_ms,
                    Away::Shut => &mut unwritten.entry(bucket).or_default().at(name).shut_ms,
                };
                *tally += span;
            }
        }
    }

    /// The round has ended, on disk or not at all.
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

    /// Is there something to write before a stop?
    fn is_left(&self, now: AgentTime) -> bool {
        let away = !self.away.is_empty() && now.since(self.since) >= Duration::from_secs(1);
        self.changed || away || !self.unwritten.is_empty()
    }

    /// Is this a round to write in?
    fn is_due(&self, now: AgentTime, live: u64) -> bool {
        let was_live = self.written.pending + self.written.held + self.written.critical;
        self.written_at.is_none_or(|at| now.since(at) >= GAP)
            || self.unwritten.keys().any(|bucket| *bucket < Bucket::of(now))
            || (live == 0 && was_live > 0)
    }
}

impl Agent {
    /// The store is open, perhaps another file, and perhaps after a kill: the last interval in which it was
    /// written says what was live at its end.
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

    /// A new interval begins: what was live at the end of the last one is counted before anything changes.
    pub(super) fn turn_series(&mut self, now: AgentTime) {
        let sampling = &mut self.counting.sampling;
        let bucket = Bucket::of(now);
        if std::mem::replace(&mut sampling.bucket, bucket) == bucket || !sampling.changed {
            return;
        }
        if self.settle.refusal().is_none() {
            match self.store.live_by_status() {
                Ok(live) => (sampling.live, sampling.changed) = (live, false),
                Err(error) => self.settle.met(now, &error),
            }
        }
    }

    /// Adds to the series with the open round, if this is one to write in.
    pub(super) fn keep_series(&mut self, now: Moment) {
        let sampling = &self.counting.sampling;
        let leaves = self.stopping && sampling.is_left(now.agent);
        if self.round.failed.is_some() || !(self.store.is_in_round() || leaves) {
            return;
        }
        self.counting.sampling.in_round = true;
        self.count_time_away(now.agent);
        self.count_tries();
        let due = self.stopping || self.counting.sampling.is_due(now.agent, self.store.ledger().live);
        let outcomes_first = self.settle.next().is_some() || self.settle.is_full() || self.store.lacks_room();
        if due && !outcomes_first {
            // The round knows an error.
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
        let away = self.lines.iter().map(|line| (line, Away::of(line, now)));
        sampling
            .away
            .extend(away.filter(|(_, away)| *away != Away::No).map(|(line, away)| (line.config.name.clone(), away)));
    }

    fn count_tries(&mut self) {
        for outcome in &self.round.outcomes {
            let at = self.counting.sampling.round.at(&self.lines[outcome.upstream].config.name);
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

    /// What the table does not say yet.
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

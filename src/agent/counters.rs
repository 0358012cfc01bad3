//! The agent's counters, and the metrics on request.
//!
//! Counting costs the loop a few additions per record. Acknowledgement times come from the driver once a round, because
//! the agent has no clock. The reader queries what needs the table.

use super::Agent;
use super::facts::{Facts, line_figures};
use super::outcomes::Outcome;
use super::timeseries::Sampler;
use crate::figures::{Counters, Known, UpstreamFigures};
use crate::moment::Moment;
use crate::policy::alert::Kind;
use crate::policy::judge::Decision;
use crate::record::{Class, Trigger};
use crate::store::StoreError;
use crate::store::reader::Reader;
use crate::wire::fields::Code;
use crate::wire::metrics;
use std::collections::BTreeMap;
use std::time::Duration;

/// The counters; records of the open round that get an `ok` with its commit; and those of the last round, whose
/// acknowledgement time is not known yet.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) counters: Counters,
    pub(super) acknowledging: u32,
    acknowledged: u32,
    pub(super) sampling: Sampler,
}

impl Agent {
    /// Settles the round's counts: keeps them if the round was committed, else drops them.
    pub(super) fn count_round(&mut self, outcomes: &[Outcome], committed: bool) {
        self.counting.counters.round_ended(committed);
        self.counting.sampling.round_ended(committed);
        let acknowledging = std::mem::take(&mut self.counting.acknowledging);
        if !committed {
            return;
        }
        self.counting.acknowledged += acknowledging;
        for outcome in outcomes {
            self.count_outcome(outcome);
        }
    }

    fn count_outcome(&mut self, outcome: &Outcome) {
        let at = self.counting.counters.at(&self.upstreams[outcome.upstream].config.name);
        outcome.tries.iter().for_each(|tried| at.tried(tried.class));
        if outcome.judgement.decision == Decision::Accepted {
            at.delivered += 1;
            let sent = outcome.tries.last().filter(|last| last.class == Class::Delivered);
            if let Some(last) = sent.filter(|last| last.trigger != Trigger::Verify) {
                at.took.observe(last.took, 1);
            }
        }
    }

    /// The last round's replies were handed out, `took` after their requests were read, with these errors.
    pub(super) fn answered(&mut self, took: Duration, rejected: BTreeMap<Code, u64>) {
        let acknowledged = std::mem::take(&mut self.counting.acknowledged);
        if acknowledged > 0 {
            self.counting.counters.acknowledged(took, acknowledged);
        }
        for (code, times) in rejected {
            self.counting.counters.rejected(code.as_str(), times);
        }
    }

    /// The metrics that need no table.
    pub(super) fn counted_so_far(&self, now: Moment) -> Known {
        let mut counters = self.counting.counters.clone();
        for line in &self.upstreams {
            counters.at(&line.config.name); // From its configuration on, not from its first request.
        }
        let stands = self.upstreams.iter().map(|line| {
            let clock_skew_ms = line.state.clock_skew_ms();
            let state = Some(line.state.state(now.agent));
            UpstreamFigures { state, clock_skew_ms, ..line_figures(&line.config.name, &line.state) }
        });
        // One series for each kind, not for each subject: Prometheus rejects a text with duplicate series. Kinds that
        // were never active are 0 and not absent.
        let shown = self.watch.shown();
        let active = |kind: &Kind| shown.iter().any(|alert| alert.kind == *kind && alert.active);
        Known {
            now: now.agent,
            counters: Some(counters),
            lines: stands.collect(),
            alerts: Kind::ALL.iter().map(|kind| (kind.as_str(), active(kind))).collect(),
            disk_free: self.disk_free,
        }
    }
}

/// The metrics as text: the agent's figures and those of the table.
pub(super) fn text(reader: &Reader, facts: &Facts) -> Result<String, StoreError> {
    let known = facts.known.as_ref().expect("a metrics request carries the agent's figures");
    let types = known.counters.as_ref().map(Counters::types).unwrap_or_default();
    let table = reader.table_figures(types, known.now)?;
    Ok(metrics::text(&Known { disk_free: facts.disk_free, ..Known::clone(known) }, &table))
}

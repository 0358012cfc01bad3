//! Moves rows that cannot be read, or whose content is not what was recorded, out of the way between two rounds, in a
//! transaction of their own; everything else continues.
//!
//! Reads skip such a row and note it. All tables are searched after the store was opened, after another program has
//! written, and after an error that does not identify the unreadable row.

use super::Agent;
use super::maintenance::MaintenanceJob;
use crate::ids::Seq;
use crate::moment::Moment;
use crate::policy::alert::Kind;
use crate::store::StoreError;
use crate::store::odd::{TakenOut, WrongHeads};
use crate::text::{Count, alerts as text};
use std::time::Duration;

/// Delay before the next attempt, when the disk was full or a request of such a failure was in flight.
const AGAIN: Duration = Duration::from_millis(500);

impl Agent {
    /// Searches a part of the tables, and moves the rows found out of the way. No round is open.
    pub(super) fn clear_the_way(&mut self, now: Moment) {
        if self.write_recovery.take_odd() && !self.store.has_odd_rows() && !self.store.is_searching() {
            self.store.note_odd(&[]);
        }
        let waits = self.odd_again.is_some_and(|at| at > now.agent);
        if self.write_recovery.refusal().is_some() || self.store.is_in_round() || waits {
            return;
        }
        self.odd_again = None;
        if let Err(error) = self.store.search() {
            log::error!("event=search_failed error={:?}", error.to_string());
            self.write_recovery.met(now.agent, &error);
            self.odd_again = Some(now.agent.after(AGAIN));
        }
        let wrong = self.store.take_wrong_heads();
        if wrong != WrongHeads::default() && !self.corrects(wrong) {
            self.store.doubt();
        }
        if !self.store.has_odd_rows() {
            return;
        }
        match self.take_out(now) {
            Ok(Some(out)) => self.taken_out(now, &out),
            Ok(None) => {}
            Err(error) => {
                self.store.rollback();
                log::error!("event=row_not_quarantined error={:?}", error.to_string());
                self.write_recovery.met(now.agent, &error);
            }
        }
        if self.store.has_odd_rows() {
            self.odd_again = Some(now.agent.after(AGAIN));
        }
    }

    /// Returns whether a planned job corrects these marks. Without an upstream nothing depends on them.
    fn corrects(&self, wrong: WrongHeads) -> bool {
        let planned = |is: fn(&MaintenanceJob) -> bool| self.upkeep.iter().any(is);
        self.upstreams.is_empty()
            || planned(|job| matches!(job, MaintenanceJob::Rehome { .. }))
            || (!wrong.extra && planned(|job| matches!(job, MaintenanceJob::Promote { .. })))
    }

    fn take_out(&mut self, now: Moment) -> Result<Option<TakenOut>, StoreError> {
        let ended = |seq: &Seq| self.unwritten_outcomes.iter().any(|outcome| outcome.failure.seq == *seq);
        let busy = |seq: Seq| self.in_flight.contains_key(&seq) && !ended(&seq);
        let Some(mut out) = self.store.take_out(now, busy)? else { return Ok(None) };
        for seq in std::mem::take(&mut out.touched) {
            if let Some(failure) = self.store.by_seq(seq)? {
                self.rehome(now, &failure)?;
            }
        }
        for next in std::mem::take(&mut out.next) {
            self.promote(now, Some(next))?;
        }
        if out.reorder || out.rehome {
            // If the process stops before this, the next start repeats the rerouting.
            self.store.keep_routes("")?;
        }
        self.store.taken_out(now)?;
        Ok(Some(out))
    }

    /// Reports the removal and schedules the work that follows.
    fn taken_out(&mut self, now: Moment, out: &TakenOut) {
        self.tell_taken_out(now, out);
        self.reset_strict_head();
        self.watch.stir();
        if out.rehome {
            for line in &mut self.upstreams {
                line.stored = None;
            }
            self.reroute();
        }
        if out.reorder {
            self.upkeep.push_back(MaintenanceJob::Promote { after: Seq(0) });
        }
    }

    /// Raises the alert, unless nothing was lost.
    pub(super) fn tell_taken_out(&mut self, now: Moment, out: &TakenOut) {
        if !out.file.is_empty() {
            self.watch.happen(now, Kind::DatabaseCorrupt, &out.file, || (in_words(out), out.lost));
        }
    }
}

fn in_words(out: &TakenOut) -> String {
    let TakenOut { file, salvaged, lost, others, .. } = out;
    let mut parts = Vec::new();
    if salvaged + lost > 0 {
        parts.push(text::damaged_failures(*salvaged, Count(*lost)));
    }
    if *others > 0 {
        parts.push(text::damaged_others(*others));
    }
    text::rows_damaged(file, &parts.join("; "))
}

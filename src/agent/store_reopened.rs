//! Synchronises the agent with its store after the store was opened, at a start or later: it may be another file, with
//! what was salvaged from the last one, or another program may have changed it.
//!
//! Requests in flight stay in flight: salvaged failures keep their numbers, and an outcome whose failure was lost finds
//! no row and changes none.

use super::Agent;
use super::maintenance::MaintenanceJob;
use crate::ids::Seq;
use crate::moment::Moment;
use crate::policy::alert::{Kind, Words};
use crate::store::StoreError;
use crate::store::instance::Vanished;
use crate::store::quarantine::Quarantined;
use crate::text::{Count, alerts as text};

impl Agent {
    /// Reads the current state of the store into memory.
    pub(super) fn adopt(&mut self, now: Moment) -> Result<(), StoreError> {
        self.adopt_alerts()?;
        self.store.begin_search();
        for out in self.store.take_told() {
            self.tell_taken_out(now, &out);
        }
        self.adopt_series()?;
        for quarantined in self.store.take_quarantined() {
            let kind = if quarantined.replaced { Kind::DatabaseReplaced } else { Kind::DatabaseCorrupt };
            let name = quarantined.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.watch.happen(now, kind, &name, || (in_words(&quarantined, &name), quarantined.tally.lost));
        }
        if let Some(vanished) = self.store.take_vanished() {
            self.watch.happen(now, Kind::DatabaseReplaced, "", || vanished_in_words(&vanished));
        }
        for line in &mut self.upstreams {
            line.stored = None;
            line.front = Seq(0);
            line.next_chance = None;
        }
        if self.store.is_beside() {
            return Ok(()); // Continued when the salvage has ended.
        }
        self.plan_upkeep()
    }

    /// After another program has written, all failures are routed again and heads are recomputed: a head may have been
    /// deleted, or another failure marked as one.
    pub(super) fn check_foreign_writes(&mut self, now: Moment) {
        if self.write_recovery.refusal().is_some() || self.round.failed.is_some() {
            return;
        }
        if self.has_landed_doubtful() {
            // What followed them under the order that was written into their rows has no head yet.
            self.doubtful_in_flight.clear();
            self.upkeep.push_back(MaintenanceJob::Promote { after: Seq(0) });
        }
        let mended = match self.store.take_foreign_write() {
            Ok(None) => return,
            Ok(Some(gone)) => {
                log::warn!("event=foreign_write gone={gone} message=\"another program has written to the database\"");
                let words = || match gone {
                    0 => (text::foreign_write().to_owned(), 0),
                    gone => (text::foreign_removal(gone), gone),
                };
                self.watch.happen(now, Kind::DatabaseForeignWrite, "", words);
                self.doubtful_in_flight = self.in_flight.keys().copied().collect();
                self.adopt(now)
            }
            Err(error) => Err(error),
        };
        match mended {
            Ok(()) => self.reroute(),
            Err(error) => self.write_recovery.failed(now.agent, &error),
        }
    }

    /// Returns whether all failures that were in flight at a foreign write have ended.
    pub(super) fn has_landed_doubtful(&self) -> bool {
        !self.doubtful_in_flight.is_empty()
            && !self.doubtful_in_flight.iter().any(|seq| self.in_flight.contains_key(seq))
    }
}

fn vanished_in_words(vanished: &Vanished) -> Words {
    let live = vanished.live;
    match vanished.older_copy {
        Some(there) => (text::older_copy(live, Count(there)), live.saturating_sub(there)),
        None => (text::vanished(live), live),
    }
}

fn in_words(quarantined: &Quarantined, name: &str) -> String {
    let tally = quarantined.tally;
    let words = if quarantined.replaced { text::replaced } else { text::damaged };
    words(tally.salvaged, name, Count(tally.lost))
}

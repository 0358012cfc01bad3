//! Writes delivered failures to the archive, when `retention.delivered` is set.
//!
//! ```text
//! outcome judged → its line is built, its row is deleted in the open round
//!                → the round ends: all lines are written with one sync → COMMIT
//! ```
//!
//! So every delivered failure that is no longer in the table is in the archive. When the commit fails, the failures of
//! these lines are still live. Their outcomes are committed later without a second line. A crash before that leads to a
//! second line with the same content.
//!
//! **Outcomes take precedence.** When a line cannot be built or written, the outcome is committed without it. On a full disk
//! no line is written, because the remaining space is reserved for outcomes. The log names each failure that was not
//! archived, and an alert gives their number.

use super::Agent;
use super::outcomes::Outcome;
use crate::ids::{FailureId, Seq};
use crate::limits::ROUND_PAYLOADS;
use crate::moment::Moment;
use crate::policy::alert::Kind;
use crate::store::StoreError;
use crate::store::archive::Part;
use crate::text::alerts as text;
use crate::text::phrases::of_agent;
use crate::wire::portable::{Delivery, delivered_line};

/// Lines to be written before the next commit.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    lines: Vec<u8>,
    /// Their failures.
    of: Vec<(FailureId, Seq)>,
    /// Failures that were not archived since the alert began.
    missed: u64,
}

impl Agent {
    /// Builds the line of an accepted failure that is about to be deleted.
    pub(super) fn keep_delivered(&mut self, outcome: &Outcome) -> Result<(), StoreError> {
        if self.config.retention.delivered.is_zero() || outcome.archived.get() {
            return Ok(());
        }
        let (seq, now) = (outcome.failure.seq, outcome.ended_at);
        // The claimed failure has no payload.
        let failure = match self.store.by_seq(seq) {
            Err(StoreError::Odd { why, .. }) => {
                self.not_archived(now, &[(outcome.failure.id.clone(), seq)], &why);
                outcome.archived.set(true);
                return Ok(());
            }
            found => found?,
        };
        let Some(failure) = failure.filter(|failure| failure.id == outcome.failure.id) else { return Ok(()) };
        let recorded_key = self.store.recorded_key(seq)?;
        let delivery = Delivery {
            at: now.wall,
            attempts: failure.attempts + 1,
            instance: self.store.instance(),
            recorded_key: recorded_key.as_deref(),
        };
        self.delivered.lines.extend(delivered_line(&failure, &delivery));
        self.delivered.of.push((failure.id, seq));
        outcome.archived.set(true);
        if self.delivered.lines.len() >= ROUND_PAYLOADS { self.archive_delivered(now) } else { Ok(()) }
    }

    /// Writes the lines to the archive, before the commit that deletes their failures.
    pub(super) fn archive_delivered(&mut self, now: Moment) -> Result<(), StoreError> {
        if self.delivered.of.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.delivered.lines);
        let of = std::mem::take(&mut self.delivered.of);
        if self.write_recovery.is_full() || self.lacks_disk() {
            self.not_archived(now, &of, "the disk is full, and the remaining space is reserved for delivery results");
            return Ok(());
        }
        match self.store.archive_delivered(now.wall, &lines) {
            Ok(()) => {
                self.store.begin()?;
                self.store.keep_archived(Part::Delivered, now.wall, now.agent)
            }
            Err(error) => {
                self.not_archived(now, &of, &error.to_string());
                Ok(())
            }
        }
    }

    fn not_archived(&mut self, now: Moment, of: &[(FailureId, Seq)], why: &str) {
        for (id, seq) in of {
            log::error!("event=not_archived id={id} seq={seq} error={why:?}");
        }
        if !self.watch.is_active(Kind::DeliveredNotArchived) {
            self.delivered.missed = 0;
        }
        self.delivered.missed += of.len() as u64;
        let missed = self.delivered.missed;
        let words = || (text::not_archived(missed, &of_agent(why)), missed);
        self.watch.happen(now, Kind::DeliveredNotArchived, "", words);
        self.watch.stir();
    }
}

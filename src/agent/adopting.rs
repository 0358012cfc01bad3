//! What the store has become when it was opened, at a start or anew: perhaps another file, with what
//! was salvaged of the last one; or by the hand of a stranger.
//!
//! Requests under way stay under way: salvaged failures keep their numbers, and an outcome whose
//! failure was lost finds no row and changes none.

use super::Agent;
use super::upkeep::Upkeep;
use crate::ids::Seq;
use crate::moment::Moment;
use crate::policy::alert::Kind;
use crate::store::StoreError;
use crate::store::quarantine::Quarantined;

impl Agent {
    /// Takes the store as it is now.
    pub(super) fn adopt(&mut self, now: Moment) -> Result<(), StoreError> {
        self.adopt_alerts()?;
        self.adopt_series()?;
        for quarantined in self.store.take_quarantined() {
            let kind = if quarantined.replaced { Kind::DatabaseReplaced } else { Kind::DatabaseCorrupt };
            let name = quarantined.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let words = (in_words(&quarantined, &name), quarantined.tally.lost);
            self.watch.happen(now, kind, &name, words);
        }
        for line in &mut self.lines {
            line.stored = None;
            line.front = Seq(0);
            line.next_chance = None;
        }
        self.plan_upkeep()
    }

    /// Another program has written: every failure gets its place anew, for a head may have gone, or
    /// been given to somebody who is none.
    pub(super) fn look_for_strangers(&mut self, now: Moment) {
        if self.settle.refusal().is_some() || self.round.failed.is_some() {
            return;
        }
        let mended = match self.store.strangers_wrote() {
            Ok(false) => return,
            Ok(true) => {
                let message = "another program has written to the database; only the agent may";
                log::warn!("event=foreign_write message={message:?}");
                self.watch.happen(now, Kind::DatabaseForeignWrite, "", (message.to_owned(), 0));
                self.adopt(now)
            }
            Err(error) => Err(error),
        };
        match mended {
            Ok(()) if self.moves() || self.lines.is_empty() => {}
            Ok(()) => self.upkeep.push_back(Upkeep::Rehome { after: Seq(0) }),
            Err(error) => self.settle.failed(now.agent, &error),
        }
    }
}

fn in_words(quarantined: &Quarantined, name: &str) -> String {
    let tally = quarantined.tally;
    let why = if quarantined.replaced { "was deleted or replaced, what it held" } else { "was damaged, it" };
    format!("the database {why} went to quarantine/{name}: {} failures salvaged, {} lost", tally.salvaged, tally.lost)
}

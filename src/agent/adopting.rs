//! What the store has become when it was opened, at a start or anew: perhaps another file, with what
//! was salvaged of the last one; or by the hand of a stranger.
//!
//! Requests under way stay under way: salvaged failures keep their numbers, and an outcome whose
//! failure was lost finds no row and changes none.

use super::Agent;
use super::upkeep::Upkeep;
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment};
use crate::store::StoreError;
use crate::store::quarantine::Quarantined;
use std::time::Duration;

/// How long `health` speaks of a quarantine.
const TOLD_FOR: Duration = Duration::from_hours(24);
/// Of how many at most.
const MOST_TOLD: usize = 5;

impl Agent {
    /// Takes the store as it is now.
    pub(super) fn adopt(&mut self, now: Moment) -> Result<(), StoreError> {
        for quarantined in self.store.take_quarantined() {
            self.quarantined.push_back((now.agent, quarantined));
        }
        while self.quarantined.len() > MOST_TOLD {
            self.quarantined.pop_front();
        }
        for line in &mut self.lines {
            line.stored.clear();
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
                log::warn!(
                    "event=foreign_write message=\"another program has written to the database; only the agent may\""
                );
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

    /// What `health` says of quarantines: each in words, and how many were lost.
    pub(super) fn told_quarantines(&self, now: AgentTime) -> Vec<(String, u64)> {
        let recent = self.quarantined.iter().filter(|(at, _)| now.since(*at) < TOLD_FOR);
        recent.map(|(_, quarantined)| (in_words(quarantined), quarantined.tally.lost)).collect()
    }
}

fn in_words(quarantined: &Quarantined) -> String {
    let name = quarantined.path.file_name().unwrap_or_default().to_string_lossy();
    let tally = quarantined.tally;
    format!("the database went to quarantine/{name}: {} failures salvaged, {} lost", tally.salvaged, tally.lost)
}

//! What comes back by a replay, and what has to wait for it.

use super::Model;
use crate::table::Table;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The replay of all that was delivered of an order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replayed {
    /// Their lines in the archive.
    pub(crate) lines: BTreeMap<i64, Value>,
    /// Not acknowledged: to be passed to the agent, perhaps for the second time.
    pub(crate) rest: BTreeSet<i64>,
    /// Not back, as far as the file shows.
    missing: BTreeSet<i64>,
    /// The failure that is held until the next part is back.
    pub(crate) after: Option<String>,
    /// Some of it is back.
    begun: bool,
}

impl Model {
    /// One that was delivered is to be sent again: under its number, its key and the same bytes, after all its tries.
    pub(crate) fn comes_back(&mut self, seq: i64) {
        let known = self.known.get_mut(&seq).expect("known");
        promise!(known.left && known.delivered, "durability", "{seq} comes back, and was not delivered: {known:?}");
        (known.left, known.delivered, known.critical, known.held) = (false, false, false, false);
        (known.unwanted, known.let_go, known.refused) = (false, false, false);
        (known.one_shot, known.second_chance) = (false, false);
        (known.retry_count, known.not_before, known.accepted_before) = (0, 0, None);
        let order = known.order.clone();
        self.orders.entry(order.clone()).or_default().insert(seq);
        self.replayed += 1;
        if let Some(replay) = self.replays.get_mut(&order) {
            replay.begun |= replay.missing.remove(&seq);
        }
    }

    /// A replay of these lines of an order begins; nothing else replays it meanwhile.
    pub(crate) fn replay_begins(&mut self, order: &str, lines: BTreeMap<i64, Value>) {
        let meant: BTreeSet<i64> = lines.keys().copied().collect();
        if !meant.is_empty() {
            let replay = Replayed { rest: meant.clone(), missing: meant, lines, ..Replayed::default() };
            self.replays.insert(order.to_owned(), replay);
        }
    }

    pub(crate) fn is_replayed(&self, order: &str) -> bool {
        self.replays.contains_key(order)
    }

    /// An operator has taken the replay of an order apart: nothing more is promised, and nothing more is sent.
    pub(crate) fn replay_is_given_up(&mut self, order: &str) {
        self.replays.remove(order);
    }

    pub(crate) fn part_is_back(&mut self, order: &str, seqs: &[i64], reply: &Value) {
        let Some(left) = self.replays.get_mut(order) else { return };
        for (seq, row) in seqs.iter().zip(reply["rows"].as_array().into_iter().flatten()) {
            if row["result"] != "later" {
                left.rest.remove(seq);
                left.missing.remove(seq);
            }
        }
        if reply["ok"] == true {
            left.after = reply["held"].as_str().map(str::to_owned);
        }
        if left.rest.is_empty() {
            self.replays.remove(order);
        }
    }

    /// What is missing of an order's replay, before this failure.
    pub(super) fn missing_before(&self, order: &str, seq: i64) -> Option<i64> {
        let replay = self.replays.get(order).filter(|replay| replay.begun)?;
        replay.missing.first().copied().filter(|first| *first < seq)
    }

    /// Which failures are held until the rest is back: only the file shows it.
    pub(crate) fn see_held_parts(&mut self, table: &Table) {
        let (known, replays) = (&mut self.known, &self.replays);
        for (seq, known) in known.iter_mut().filter(|(_, known)| !known.left) {
            if !known.awaits && !replays.contains_key(&known.order) {
                continue;
            }
            let Some(row) = table.row(*seq) else { continue };
            promise!(
                !row.awaits_replay || known.awaits || replays.contains_key(&known.order),
                "progress",
                "{seq} is held for a replay that is over: {known:?}"
            );
            if row.awaits_replay != known.awaits {
                (known.awaits, known.held) = (row.awaits_replay, row.awaits_replay);
            }
        }
    }
}

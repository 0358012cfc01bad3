//! Replays: the upstream has lost what it accepted, and an operator has it sent again, one by one or a whole order in parts.
//!
//! Between two parts of an order anything may happen: sales, kills, a full table, days. What was recorded after the order's
//! deliveries must not be sent before all of them are back, unless an operator gives that up.

use super::{HOUR, Happening, MINUTE, SECOND, World};
use crate::people::Wish;
use resyncd::wire::request::Socket;
use serde_json::{Value, json};

impl World {
    /// The upstream has lost some delivered failures.
    pub(crate) fn replay_something(&mut self) {
        if !self.is_file_open() {
            return;
        }
        let gone = self.model.known.iter().rev().filter(|(_, known)| known.delivered).take(40);
        let gone: Vec<(i64, String)> = gone.map(|(seq, known)| (*seq, known.order.clone())).collect();
        let Some((_, order)) = self.random.choice(&gone).cloned() else { return };
        if self.random.bool() && !self.model.is_replayed(&order) {
            let meant: Vec<i64> = self
                .model
                .known
                .iter()
                .filter(|(_, it)| it.order == order && it.delivered)
                .map(|(seq, _)| *seq)
                .collect();
            let lines = meant.into_iter().filter_map(|seq| Some((seq, self.line_of(seq)?))).collect();
            self.model.replay_begins(&order, lines);
            return self.replay_part(&order);
        }
        let count = self.random.usize(1..6);
        let one_by_one = gone.into_iter().filter(|(_, order)| !self.model.is_replayed(order)).map(|(seq, _)| seq);
        let mut meant = self.random.choose_multiple(one_by_one, count);
        meant.sort_unstable();
        for seq in meant {
            let Some(line) = self.line_of(seq) else { continue };
            for _ in 0..self.random.usize(1..3) {
                let request = json!({"op": "replay", "rows": [line], "reason": "a backup was restored"});
                self.wish(request, Socket::Admin, Wish::Replay { seq });
            }
        }
    }

    fn line_of(&mut self, seq: i64) -> Option<Value> {
        let known = &self.model.known[&seq];
        let (id, attempts) = (known.id.clone(), known.attempts);
        self.with_table(|_, table| table.delivered_line(&id, attempts))
    }

    /// The next part of the replay of an order.
    pub(crate) fn replay_part(&mut self, order: &str) {
        let Some(replay) = self.model.replays.get(order).cloned() else { return };
        // The replies to a part may be lost; it is then sent again, perhaps with more or less.
        let after = [2 * SECOND, 10 * MINUTE, 5 * HOUR];
        let after = self.random.choice(after).expect("a time");
        self.plan_within(after, Happening::ReplayGoesOn { order: order.to_owned() });
        if self.life.is_none() || !self.is_file_open() {
            return;
        }
        let count = self.random.usize(1..4);
        let seqs: Vec<i64> = replay.rest.iter().copied().take(count).collect();
        let rows: Vec<Value> = seqs.iter().filter_map(|seq| replay.lines.get(seq).cloned()).collect();
        let more = replay.rest.len() > seqs.len();
        let request = json!({"op": "replay", "rows": rows, "more": more, "after": replay.after,
            "reason": "a backup was restored"});
        self.wish(request, Socket::Admin, Wish::ReplayPart { order: order.to_owned(), seqs });
    }

    /// The reply to a replay of one failure.
    pub(crate) fn is_back(&self, seq: i64, row: &Value) {
        let code = row["error"]["code"].as_str().unwrap_or_default();
        let right = match row["result"].as_str().expect("a result") {
            "replayed" | "live" => row["seq"] == self.model.now(seq),
            // A later one of its order may be under way.
            "later" => ["busy", "full"].contains(&code),
            // It was discarded in a later life, or sent again meanwhile.
            _ => code == "conflict",
        };
        promise!(right, "same key", "{seq} has come back as {row}");
    }

    /// The reply to a part.
    pub(crate) fn part_is_back(&mut self, order: &str, seqs: &[i64], reply: &Value) {
        let code = reply["error"]["code"].as_str().unwrap_or_default();
        promise!(reply["ok"] == true || code == "shutting_down", "protocol", "{reply}");
        for (seq, row) in seqs.iter().zip(reply["rows"].as_array().into_iter().flatten()) {
            self.is_back(*seq, row);
        }
        self.model.part_is_back(order, seqs, reply);
    }
}

//! Failures that left undelivered, as read from the file: the audit names them, and the archive must contain them.
//!
//! Replies are not used: a reply to discard holds only a count, and may be lost. The audit's rows
//! belong to the same transactions as the removals, so they are read in their order.

use crate::model::Model;
use crate::table::Table;
use crate::world::World;
use std::collections::BTreeSet;

impl Model {
    /// An operator has requested that these be discarded.
    pub(crate) fn unwanted(&mut self, seqs: &[i64], let_followers: bool) {
        for seq in seqs {
            let known = self.known.get_mut(seq).expect("known");
            known.unwanted = true;
            known.let_go |= let_followers;
        }
    }

    /// Reads the audit lines that were added since the last call.
    pub(crate) fn read_audit(&mut self, table: &Table) {
        self.just_held.clear();
        let mut stranded = BTreeSet::new();
        for (line, operation, id, at) in table.audit_behind(self.audit_seen) {
            self.audit_seen = line;
            if operation == "import" {
                continue; // Its row is checked like that of a new record.
            }
            let found = self.known.iter().find(|(_, known)| known.id == id).map(|(seq, _)| self.now(*seq));
            let Some(seq) = found else { panic!("durability: {operation} of {id}, which no client recorded") };
            match operation.as_str() {
                "discard" | "cleanup" => {
                    promise!(
                        table.is_archived(&id, &at),
                        "durability",
                        "{seq} has left at {at} without its line in the archive"
                    );
                    let order = self.gone(seq, &operation);
                    if operation == "discard" && !self.known[&seq].let_go {
                        stranded.extend(order.clone());
                    }
                    self.bereaved.extend(order);
                }
                "hold" => {
                    let known = self.known.get_mut(&seq).expect("known");
                    promise!(!known.left && !known.critical, "durability", "{seq} is held: {known:?}");
                    promise!(
                        self.bereaved.contains(&known.order),
                        "order",
                        "{seq} is held, and no failure before it was discarded"
                    );
                    known.held = true;
                    let order = known.order.clone();
                    self.replay_is_given_up(&order);
                    self.just_held.insert(seq);
                }
                // It may have been delivered in the same round.
                "replay" if !self.known[&seq].left => drop(self.back_at_once.insert(seq)),
                "replay" => self.comes_back(seq),
                "edit" => {
                    let order = self.known[&seq].order.clone();
                    self.replay_is_given_up(&order);
                }
                "release" => {
                    let known = self.known.get_mut(&seq).expect("known");
                    (known.held, known.awaits, known.not_before) = (false, false, 0);
                    let order = known.order.clone();
                    self.replay_is_given_up(&order);
                    self.just_held.remove(&seq);
                }
                _ => {}
            }
        }
        self.see_held_parts(table);
        for order in stranded {
            let Some(next) = self.orders[&order].first().map(|seq| &self.known[seq]) else { continue };
            promise!(
                next.held || next.critical,
                "order",
                "what stood before {next:?} was given up, and it would be sent"
            );
        }
    }

    /// A failure has left. Returns its order if it was the head.
    fn gone(&mut self, seq: i64, operation: &str) -> Option<String> {
        let known = self.known.get_mut(&seq).expect("known");
        promise!(!known.left, "durability", "{seq} leaves twice: {known:?}");
        promise!(known.unwanted || operation != "discard", "durability", "no operator discarded {seq}: {known:?}");
        known.left = true;
        let order = known.order.clone();
        self.replay_is_given_up(&order);
        self.marked.remove(&seq);
        let all = self.orders.get_mut(&order).expect("its order");
        let head = all.first() == Some(&seq);
        all.remove(&seq);
        if operation == "cleanup" {
            let known = &self.known[&seq];
            // The failures behind it leave first, and it leaves only with all of them.
            promise!(!head || all.is_empty(), "order", "{seq} was cleaned up from before {all:?}");
            promise!(
                !head || known.critical || known.held,
                "durability",
                "{seq} was to be sent, and is cleaned up: {known:?}"
            );
        }
        head.then_some(order)
    }
}

impl World {
    /// Whether only the next clean-up is planned.
    pub(crate) fn only_cleans_up(&self) -> bool {
        let life = self.life.as_ref();
        self.queue.is_empty() && life.is_some_and(|life| life.agent.next_deadline() == Some(life.agent.next_clean_up()))
    }

    /// Reads the removals that happened since the last call.
    pub(crate) fn see_departures(&mut self) {
        let table = self.take_table();
        self.model.read_audit(&table);
        self.keep_table(table);
    }
}

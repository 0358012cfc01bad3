//! What left undelivered, as a stranger finds it: the audit says who, and the archive must have it.
//!
//! Nothing about it is learned from replies: who discards is told how many, and may never be told. The
//! audit's rows are of the same transactions as what they tell, so they are read as they come.

use crate::model::Model;
use crate::table::Table;
use crate::world::World;
use std::collections::BTreeSet;

impl Model {
    /// A person has asked for these to be given up.
    pub(crate) fn unwanted(&mut self, seqs: &[i64], let_followers: bool) {
        for seq in seqs {
            let known = self.known.get_mut(seq).expect("known");
            known.unwanted = true;
            known.let_go |= let_followers;
        }
    }

    /// What the audit has to tell since the last look (I1).
    pub(crate) fn read_audit(&mut self, table: &Table) {
        self.just_held.clear();
        let (mut bereaved, mut stranded) = (BTreeSet::new(), BTreeSet::new());
        for (line, operation, id, at) in table.audit_behind(self.audit_seen) {
            self.audit_seen = line;
            let found = self.known.iter().find(|(_, known)| known.id == id).map(|(seq, _)| self.now(*seq));
            let Some(seq) = found else { panic!("I1: {operation} of {id}, of which nobody was told") };
            match operation.as_str() {
                "discard" | "cleanup" => {
                    promise!(
                        table.is_archived(&id, &at),
                        "I1",
                        "{seq} has left at {at} without its line in the archive"
                    );
                    let order = self.gone(seq, &operation);
                    if operation == "discard" && !self.known[&seq].let_go {
                        stranded.extend(order.clone());
                    }
                    bereaved.extend(order);
                }
                "hold" => {
                    let known = self.known.get_mut(&seq).expect("known");
                    promise!(!known.left && !known.critical, "I1", "{seq} is held: {known:?}");
                    promise!(bereaved.contains(&known.order), "I3", "{seq} is held, and nobody before it was given up");
                    known.held = true;
                    self.just_held.insert(seq);
                }
                "release" => {
                    let known = self.known.get_mut(&seq).expect("known");
                    (known.held, known.not_before) = (false, 0);
                    self.just_held.remove(&seq);
                }
                _ => {}
            }
        }
        for order in stranded {
            let Some(next) = self.orders[&order].first().map(|seq| &self.known[seq]) else { continue };
            promise!(next.held || next.critical, "I3", "what stood before {next:?} was given up, and it would be sent");
        }
    }

    /// One has left; its order, when it was the head.
    fn gone(&mut self, seq: i64, operation: &str) -> Option<String> {
        let known = self.known.get_mut(&seq).expect("known");
        promise!(!known.left, "I1", "{seq} leaves twice: {known:?}");
        promise!(known.unwanted || operation != "discard", "I1", "nobody wanted {seq} given up: {known:?}");
        known.left = true;
        let order = known.order.clone();
        self.marked.remove(&seq);
        let all = self.orders.get_mut(&order).expect("its order");
        let head = all.first() == Some(&seq);
        all.remove(&seq);
        if operation == "cleanup" {
            let known = &self.known[&seq];
            // Those behind leave before it, and it leaves only with all of them.
            promise!(!head || all.is_empty(), "I3", "{seq} was cleaned up from before {all:?}");
            promise!(!head || known.critical || known.held, "I1", "{seq} was to be sent, and is cleaned up: {known:?}");
        }
        head.then_some(order)
    }
}

impl World {
    /// Nothing is planned but the next clean-up.
    pub(crate) fn only_cleans_up(&self) -> bool {
        let life = self.life.as_ref();
        self.queue.is_empty() && life.is_some_and(|life| life.agent.next_deadline() == Some(life.agent.next_clean_up()))
    }

    /// Who has left while nobody looked.
    pub(crate) fn see_departures(&mut self) {
        let table = self.take_table();
        self.model.read_audit(&table);
        self.keep_table(table);
    }
}

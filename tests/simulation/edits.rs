//! Edits in the simulation: what operators change, and how the model follows.
//!
//! Whether an edit was applied is read from the audit, which is written in the same transaction,
//! because the reply may never arrive. The world knows every requested edit, so an edit without a
//! request, or an acknowledged one that is missing, violates an invariant.

use crate::model::{Known, Model};
use crate::people::{Wish, name_of, some};
use crate::table::Table;
use fastrand::Rng;
use resyncd::wire::request::Socket;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the world knows of edits.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    asked: u32,
    /// The failure that each new payload was requested for.
    wished: BTreeMap<String, String>,
    /// The last audit line that was read.
    seen: i64,
    /// Edits applied and edits acknowledged, by failure.
    happened: BTreeMap<String, u32>,
    acknowledged: BTreeMap<String, u32>,
    /// The new sequence number of each failure whose number an edit replaced.
    moved: BTreeMap<i64, i64>,
}

/// An edited failure as stored in the table.
#[derive(Clone, Debug)]
pub(crate) struct Edited {
    pub(crate) seq: i64,
    pub(crate) payload: String,
    pub(crate) key: Option<String>,
    pub(crate) entity_id: String,
    pub(crate) order: String,
}

/// An operator corrects a failure: another payload, sometimes another entity.
pub(crate) fn edit(model: &Model, random: &mut Rng) -> Option<(Value, Socket, Wish)> {
    let seq = *some(model, 1, random).first()?;
    let payload = json!({"edit": model.edits.asked + 1});
    let name = name_of(model, seq, random);
    let mut line = json!({"op": "edit", "id": name, "payload": payload, "new_key": random.bool(), "reason": "wrong"});
    if random.bool() {
        let others: Vec<&String> = model.live().map(|(_, known)| &known.entity_id).collect();
        line["entity_id"] = json!(random.choice(others)?);
    }
    let id = model.known[&seq].id.clone();
    Some((line, Socket::Admin, Wish::Edit { id, payload: payload.to_string() }))
}

impl Model {
    /// An operator requests an edit.
    pub(crate) fn edit_wished(&mut self, id: &str, payload: &str) {
        self.edits.asked += 1;
        self.edits.wished.insert(payload.to_owned(), id.to_owned());
    }

    /// A reply says that an edit was applied.
    pub(crate) fn edit_acknowledged(&mut self, id: &str) {
        let acknowledged = self.edits.acknowledged.entry(id.to_owned()).or_default();
        *acknowledged += 1;
        let happened = self.edits.happened.get(id).copied().unwrap_or_default();
        promise!(happened >= *acknowledged, "durability", "an edit of {id} was acknowledged, and has not happened");
    }

    /// The current number of the failure that had this number.
    pub(crate) fn now(&self, mut seq: i64) -> i64 {
        while let Some(next) = self.edits.moved.get(&seq) {
            seq = *next;
        }
        seq
    }

    /// Reads the edits that were added to the audit since the last call.
    pub(crate) fn see_edits(&mut self, table: &Table) {
        let lines = table.edits_since(self.edits.seen);
        for (line, id) in &lines {
            self.edits.seen = self.edits.seen.max(*line);
            *self.edits.happened.entry(id.clone()).or_default() += 1;
        }
        let mut ids: Vec<&String> = lines.iter().map(|(_, id)| id).collect();
        ids.dedup();
        for id in ids {
            let Some(edited) = table.edited(id) else { panic!("durability: {id} was edited, and is not in the table") };
            self.edited(id, &edited);
        }
    }

    fn edited(&mut self, id: &str, edited: &Edited) {
        let wished = self.edits.wished.get(&edited.payload);
        promise!(
            wished.is_some_and(|wished| wished == id),
            "refused means absent",
            "no operator asked for {edited:?} of {id}"
        );
        let Some(old) = self.known.iter().find(|(_, known)| known.id == id).map(|(seq, _)| *seq) else {
            panic!("refused means absent: {id} was edited, and no reply said so");
        };
        promise!(!self.is_in_flight(old), "one key", "{old} was edited while it was in flight");
        let known = self.known.remove(&old).expect("it was found");
        let ours = known.key.as_ref() == edited.key.as_ref();
        let revised = edited.key.as_ref().is_some_and(|key| key.starts_with(&format!("{id}-r")));
        promise!(ours || revised, "one key", "{old} has the key {:?} after an edit: {known:?}", edited.key);
        let moves = edited.entity_id != known.entity_id;
        promise!(!moves || edited.seq > old, "order", "{old} is of another entity, and no new number: {edited:?}");
        self.forget(old, &known);
        if edited.seq != old {
            self.edits.moved.insert(old, edited.seq);
        }
        let order = self.orders.entry(edited.order.clone()).or_default();
        order.insert(edited.seq);
        let fresh = known.edited(&edited.order, &edited.payload, edited.key.as_deref(), &edited.entity_id);
        self.known.insert(edited.seq, fresh);
    }

    fn forget(&mut self, seq: i64, known: &Known) {
        self.orders.get_mut(&known.order).expect("its order").remove(&seq);
        self.marked.remove(&seq);
    }
}

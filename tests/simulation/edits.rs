//! Edits in the simulation: what people change of failures, and what the model makes of it.
//!
//! Whether an edit has happened is not taken from its answer, which may never come: the audit says it,
//! in the same transaction. What was asked for is known here, so an edit that nobody asked for, or one
//! that was acknowledged and is not there, breaks a promise.

use crate::model::{Known, Model};
use crate::people::{Wish, name_of, some};
use crate::table::Table;
use fastrand::Rng;
use resyncd::wire::request::Socket;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the world remembers of edits.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    asked: u32,
    /// The failure that each new payload was meant for.
    wished: BTreeMap<String, String>,
    /// The last line of the audit that was looked at.
    seen: i64,
    /// How many have happened, and were acknowledged, of each failure.
    happened: BTreeMap<String, u32>,
    acknowledged: BTreeMap<String, u32>,
    /// The number that a failure has instead of this one.
    moved: BTreeMap<i64, i64>,
}

/// An edited failure as it stands in the table.
#[derive(Clone, Debug)]
pub(crate) struct Edited {
    pub(crate) seq: i64,
    pub(crate) payload: String,
    pub(crate) key: Option<String>,
    pub(crate) entity_id: String,
    pub(crate) order: String,
}

/// Somebody puts a failure right: another payload, at times another entity.
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
    /// Somebody asks for an edit.
    pub(crate) fn edit_wished(&mut self, id: &str, payload: &str) {
        self.edits.asked += 1;
        self.edits.wished.insert(payload.to_owned(), id.to_owned());
    }

    /// Somebody was told that an edit has happened.
    pub(crate) fn edit_acknowledged(&mut self, id: &str) {
        let acknowledged = self.edits.acknowledged.entry(id.to_owned()).or_default();
        *acknowledged += 1;
        let happened = self.edits.happened.get(id).copied().unwrap_or_default();
        promise!(happened >= *acknowledged, "I1", "an edit of {id} was acknowledged, and has not happened");
    }

    /// The number that the failure has now which had this one.
    pub(crate) fn now(&self, mut seq: i64) -> i64 {
        while let Some(next) = self.edits.moved.get(&seq) {
            seq = *next;
        }
        seq
    }

    /// Takes over what the audit says of edits since the last look.
    pub(crate) fn see_edits(&mut self, table: &Table) {
        let lines = table.edits_since(self.edits.seen);
        for (line, id) in &lines {
            self.edits.seen = self.edits.seen.max(*line);
            *self.edits.happened.entry(id.clone()).or_default() += 1;
        }
        let mut ids: Vec<&String> = lines.iter().map(|(_, id)| id).collect();
        ids.dedup();
        for id in ids {
            let Some(edited) = table.edited(id) else { panic!("I1: {id} was edited, and is not in the table") };
            self.edited(id, &edited);
        }
    }

    fn edited(&mut self, id: &str, edited: &Edited) {
        let wished = self.edits.wished.get(&edited.payload);
        promise!(wished.is_some_and(|wished| wished == id), "I2", "nobody asked for {edited:?} of {id}");
        let Some(old) = self.known.iter().find(|(_, known)| known.id == id).map(|(seq, _)| *seq) else {
            panic!("I2: {id} was edited, and nobody knows it");
        };
        promise!(!self.is_in_flight(old), "I4", "{old} was edited while it was in flight");
        let known = self.known.remove(&old).expect("it was found");
        let ours = known.key.as_ref() == edited.key.as_ref();
        let revised = edited.key.as_ref().is_some_and(|key| key.starts_with(&format!("{id}-r")));
        promise!(ours || revised, "I4", "{old} has the key {:?} after an edit: {known:?}", edited.key);
        let moves = edited.entity_id != known.entity_id;
        promise!(!moves || edited.seq > old, "I3", "{old} is of another entity, and no new number: {edited:?}");
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

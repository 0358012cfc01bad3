//! The local applications of the simulation: what they record, how, and the replies they received.
//!
//! Each submission has a unique payload, so that a row found in the file after a crash can be
//! traced to its request.

use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What an application knows about a record that it has submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Unknown: there was no reply, the agent died, or the reply was `storage`.
    Nothing,
    /// It is recorded under this number.
    Recorded(i64),
    /// It is not recorded.
    Rejected,
}

/// One submitted record and its result.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub(crate) request: Value,
    pub(crate) uid: u32,
    pub(crate) key: Option<String>,
    pub(crate) entity_id: String,
    /// The order key, as one text.
    pub(crate) order: String,
    /// The payload as it must be stored in the table, and in the envelope.
    pub(crate) stored: String,
    pub(crate) raw: String,
    /// The error code with which it must be rejected.
    pub(crate) faulty: Option<&'static str>,
    pub(crate) told: Told,
}

/// All applications of the terminal.
#[derive(Debug)]
pub(crate) struct Tills {
    pub(crate) submissions: Vec<Submission>,
    /// Submissions by the payload that they leave in the table.
    by_payload: BTreeMap<String, usize>,
    entities: Vec<String>,
}

impl Tills {
    pub(crate) fn new(entities: &[String]) -> Self {
        Self { submissions: Vec::new(), by_payload: BTreeMap::new(), entities: entities.to_vec() }
    }

    /// The submission that a row of the table came from.
    pub(crate) fn by_payload(&self, payload: Option<&str>) -> Option<usize> {
        payload.and_then(|payload| self.by_payload.get(payload)).copied()
    }

    /// The agent died while this was being submitted: it may be recorded or not.
    pub(crate) fn lost(&mut self, n: usize) {
        let submission = &mut self.submissions[n];
        if submission.told == Told::Rejected && submission.faulty.is_none() {
            submission.told = Told::Nothing;
        }
    }

    /// The next submission: a new one, or an earlier one with the same key.
    pub(crate) fn next(&mut self, random: &mut Rng) -> usize {
        if random.u8(0..5) == 0 && !self.submissions.is_empty() {
            let newest = self.submissions.len();
            let old = random.usize(newest.saturating_sub(20)..newest);
            if self.submissions[old].key.is_some() && self.submissions[old].faulty.is_none() {
                return old;
            }
        }
        let made = self.make(random);
        self.by_payload.insert(made.stored.clone(), self.submissions.len());
        self.submissions.push(made);
        self.submissions.len() - 1
    }

    /// A submission that nothing blocks.
    pub(crate) fn last_sale(&mut self) -> usize {
        let n = self.submissions.len();
        let (entity_id, payload) = (format!("filler {n}"), format!("bye {n}"));
        let request = json!({"op": "record", "entity_type": "SALE", "entity_id": entity_id, "action": "CREATE",
            "error": "connection refused", "payload": payload});
        self.submissions.push(Submission {
            request,
            uid: 1000,
            key: None,
            order: format!("e:SALE/{entity_id}"),
            entity_id,
            raw: json!(payload).to_string(),
            stored: payload,
            faulty: None,
            told: Told::Nothing,
        });
        self.submissions.len() - 1
    }

    /// A submission imported from a dead terminal.
    fn imported(&self, n: usize, random: &mut Rng) -> Submission {
        let entity_id = random.choice(&self.entities).expect("entities").clone();
        let (id, stored) = (format!("imported-{n}"), format!("imported {n}"));
        let row = json!({"id": id, "entity_type": "RETURN", "entity_id": entity_id, "action": "CREATE",
            "error": "it died", "payload": stored});
        let (order, raw) = (format!("e:RETURN/{entity_id}"), json!(stored).to_string());
        let request = json!({"op": "import", "row": row});
        Submission { request, uid: 0, key: None, entity_id, order, stored, raw, faulty: None, told: Told::Nothing }
    }

    fn make(&self, random: &mut Rng) -> Submission {
        let n = self.submissions.len() + 1000;
        if random.u8(0..10) == 0 {
            return self.imported(n, random);
        }
        let entity_id = random.choice(&self.entities).expect("entities").clone();
        let kind = if entity_id.len().is_multiple_of(2) { "SALE" } else { "RETURN" };
        let action = random.choice(["CREATE", "UPDATE", "DELETE"]).expect("an action");
        let (payload, stored, raw) = payload(n, random);
        let mut request = json!({"op": "record", "entity_type": kind, "entity_id": entity_id, "action": action});
        let fields = request.as_object_mut().expect("an object");
        fields.insert("payload".into(), payload);
        let mut order = format!("e:{kind}/{entity_id}");
        if random.u8(0..4) == 0 {
            let key = format!("receipt {}", random.u8(0..3));
            order = format!("k:{key}");
            fields.insert("order_key".into(), key.into());
        }
        let mut key = None;
        if random.u8(0..5) < 2 {
            key = Some(format!("app-{n}"));
            fields.insert("idempotency_key".into(), key.clone().into());
        }
        client_attempt(fields, random);
        let faulty = make_faulty(fields, random);
        let uid = 1000 + random.u32(0..2);
        Submission { request, uid, key, entity_id, order, stored, raw, faulty, told: Told::Nothing }
    }
}

/// A unique payload: as submitted, stored, and sent.
fn payload(n: usize, random: &mut Rng) -> (Value, String, String) {
    let object = format!("{{\"n\":{n},\"total\":12.50}}");
    match random.u8(0..4) {
        0 => (json!(n), n.to_string(), n.to_string()),
        1 => (json!(object), object.clone(), object),
        2 => {
            let text = format!("<sale n='{n}'>\u{1b}[31m\n\"ä\"</sale>");
            (json!(text), text.clone(), json!(text).to_string())
        }
        _ => (json!({"n": n}), json!({"n": n}).to_string(), json!({"n": n}).to_string()),
    }
}

/// The result of the application's own attempt.
fn client_attempt(fields: &mut serde_json::Map<String, Value>, random: &mut Rng) {
    match random.u8(0..6) {
        0 => drop(fields.insert("retry".into(), "now".into())),
        1 => drop(fields.insert("error".into(), "HTTP 500: Internal Server Error".into())),
        2 => drop(fields.insert("error".into(), "connection refused".into())),
        _ => {
            let status = random.choice([0, 200, 404, 422, 429, 500, 503, 504]).expect("a status");
            fields.insert("error".into(), "failed".into());
            fields.insert("http_status".into(), status.into());
        }
    }
}

/// Some applications have bugs: their records must be rejected with this code.
fn make_faulty(fields: &mut serde_json::Map<String, Value>, random: &mut Rng) -> Option<&'static str> {
    match random.u8(0..40) {
        0 => drop(fields.remove("entity_id")),
        1 => drop(fields.insert("paylod".into(), 1.into())),
        2 => drop(fields.insert("entity_type".into(), "S A L E ".into())),
        3 => drop(fields.insert("entity_id".into(), "r\n7".into())),
        _ => return None,
    }
    Some("bad_request")
}

//! What the applications of the workload record, and what is known of it outside the agent.

use fastrand::Rng;
use resyncd::agent::ClientId;
use serde_json::json;

/// One failure that an application submits; each has a unique payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submission {
    pub(crate) line: String,
    pub(crate) uid: u32,
    pub(crate) entity: (&'static str, String),
    pub(crate) action: &'static str,
    pub(crate) error: String,
    pub(crate) order_key: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) payload: String,
}

impl Submission {
    pub(crate) fn draw(n: usize, random: &mut Rng) -> Self {
        let entity = (if random.bool() { "SALE" } else { "RETURN" }, format!("e-{}", random.u8(0..4)));
        let action = random.choice(["CREATE", "UPDATE"]).expect("two");
        let error = format!("refused {n}");
        let order_key = (random.u8(0..5) == 0).then(|| format!("receipt {}", random.u8(0..2)));
        let key = random.bool().then(|| format!("k-{n}"));
        // Most fit into a page; some need several.
        let padding = if random.u8(0..8) == 0 { random.usize(4000..12_000) } else { random.usize(0..400) };
        let payload = json!({"n": n, "pad": "x".repeat(padding)});
        let mut line = json!({"op": "record", "entity_type": entity.0, "entity_id": entity.1, "action": action,
            "error": error, "payload": payload, "retry": "now"});
        if let Some(order_key) = &order_key {
            line["order_key"] = json!(order_key);
        }
        if let Some(key) = &key {
            line["idempotency_key"] = json!(key);
        }
        let (line, payload) = (line.to_string(), payload.to_string());
        Self { line, uid: 1000 + random.u32(0..2), entity, action, error, order_key, key, payload }
    }

    /// The order to which it belongs.
    pub(crate) fn order(&self) -> (Option<&str>, &str, &str) {
        match &self.order_key {
            Some(key) => (Some(key), "", ""),
            None => (None, self.entity.0, &self.entity.1),
        }
    }
}

/// A fact known outside the agent from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It was submitted: it may be recorded from now on.
    Submitted(usize),
    /// `ok`, under this id and number.
    Acknowledged {
        n: usize,
        id: String,
        seq: i64,
    },
    /// An error other than `storage`: it is not recorded.
    Refused(usize),
    /// `storage`: it may be recorded.
    Doubtful(usize),
    /// It was sent, so it is on disk.
    Sent {
        n: usize,
        id: String,
        seq: i64,
    },
    /// The result of an attempt was handed in.
    Ended {
        n: usize,
        accepted: bool,
    },
    /// The agent reports that this result is on disk.
    Settled {
        n: usize,
        accepted: bool,
    },
    /// An operator requested a hold, release or other action on it.
    Touched(usize),
    /// The agent reports that it is held.
    Held(usize),
    /// An operator's action with this reason.
    Asked(String),
    Done(String),
    Denied(String),
    /// An operator requested that the upstream be paused or resumed.
    GateTouched,
    /// The agent reports whether it is paused.
    Paused(bool),
    /// The agent died: requests under way are in doubt.
    Died,
}

/// What a client waits for.
#[derive(Clone, Debug)]
pub(crate) enum Waits {
    Record(usize),
    Hold { n: usize, reason: String, held: bool },
    Gate { reason: String, paused: bool },
}

/// Clients that wait for the end of the round.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    next: u64,
    waiting: Vec<(ClientId, Waits)>,
}

impl Clients {
    pub(crate) fn wait(&mut self, waits: Waits) -> ClientId {
        self.next += 1;
        self.waiting.push((ClientId(self.next), waits));
        ClientId(self.next)
    }

    pub(crate) fn served(&mut self, client: ClientId) -> Waits {
        let place = self.waiting.iter().position(|(other, _)| *other == client).expect("a client gets one reply");
        self.waiting.swap_remove(place).1
    }

    pub(crate) fn leave(&mut self) {
        self.waiting.clear();
    }
}

//! What the applications of the workload record, and what is learned of it from outside.

use fastrand::Rng;
use resyncd::agent::ClientId;
use serde_json::json;

/// One failure that an application hands over; each has a payload of its own.
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

    /// What it shares its order with.
    pub(crate) fn order(&self) -> (Option<&str>, &str, &str) {
        match &self.order_key {
            Some(key) => (Some(key), "", ""),
            None => (None, self.entity.0, &self.entity.1),
        }
    }
}

/// Something that somebody outside of the agent knows from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It was handed over: it may be there from now on.
    Submitted(usize),
    /// `ok`, under this id and number.
    Acknowledged {
        n: usize,
        id: String,
        seq: i64,
    },
    /// An error other than `storage`: it is not there.
    Refused(usize),
    /// `storage`: it may be there.
    Doubtful(usize),
    /// It went out, so it is on disk.
    Sent {
        n: usize,
        id: String,
        seq: i64,
    },
    /// The end of a try was handed in.
    Ended {
        n: usize,
        accepted: bool,
    },
    /// The agent says that this end is on disk.
    Settled {
        n: usize,
        accepted: bool,
    },
    /// A person wants it held or released, or did something else to it.
    Touched(usize),
    /// It is held, the agent says.
    Held(usize),
    /// A person's deed under this reason.
    Asked(String),
    Done(String),
    Denied(String),
    /// A person wants the upstream paused or resumed.
    GateTouched,
    /// It is, the agent says.
    Paused(bool),
    /// The agent died: what was under way is in doubt.
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

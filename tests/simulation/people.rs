//! The operators of the simulation and their requests on the admin socket, and what applications
//! request besides recording.

use crate::edits::edit;
use crate::model::Model;
use fastrand::Rng;
use resyncd::wire::request::Socket;
use serde_json::{Value, json};

/// A request, and what its reply is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Retries these by number; a single failure in flight is a conflict.
    Retry {
        seqs: Vec<i64>,
        reset: bool,
    },
    /// The reader determines the failures.
    RetryMatching {
        reset: bool,
    },
    /// Discards these; the audit shows which were removed.
    Discard {
        seqs: Vec<i64>,
        let_followers: bool,
    },
    /// Discards all that need an operator; the audit shows which were removed.
    DiscardMatching,
    /// Releases all held failures.
    Release,
    Flush,
    Pause,
    Resume,
    Get {
        seq: i64,
    },
    /// The audit shows whether it was applied.
    Edit {
        id: String,
        payload: String,
    },
    /// This one was delivered, and is to be sent again; the audit will say whether it has come back.
    Replay {
        seq: i64,
    },
    /// A part of what was delivered of an order: these, with more to follow or not.
    ReplayPart {
        order: String,
        seqs: Vec<i64>,
    },
    Unsent,
    /// A reply with `ok` is enough.
    Look,
}

impl Wish {
    /// Whether the reader finds this operation's failures and the reply counts its audit lines.
    pub(crate) fn is_of_many(&self) -> bool {
        matches!(self, Self::RetryMatching { .. } | Self::DiscardMatching | Self::Release)
    }
}

/// The next request: its line, its socket, and its meaning.
pub(crate) fn wish(model: &Model, random: &mut Rng) -> (Value, Socket, Wish) {
    let admin = |line, wish| (line, Socket::Admin, wish);
    match random.u8(0..21) {
        20 => {
            let line = json!({"op": "discard", "filter": {"status": "critical"}, "reason": "they were nothing"});
            admin(line, Wish::DiscardMatching)
        }
        0 | 1 => {
            let count = random.usize(1..4);
            let mut seqs: Vec<i64> = some(model, count, random);
            seqs.sort_unstable();
            seqs.dedup();
            if seqs.is_empty() {
                return admin(json!({"op": "list"}), Wish::Look);
            }
            let names: Vec<Value> = seqs.iter().map(|seq| name_of(model, *seq, random)).collect();
            let reset = random.bool();
            admin(
                json!({"op": "retry", "ids": names, "reset": reset, "reason": "I asked"}),
                Wish::Retry { seqs, reset },
            )
        }
        2 => {
            let line = json!({"op": "retry", "filter": {"status": "critical"}});
            admin(line, Wish::RetryMatching { reset: false })
        }
        3 => admin(json!({"op": "retry", "all": true, "reset": true}), Wish::RetryMatching { reset: true }),
        4 => admin(json!({"op": "flush"}), Wish::Flush),
        5 => admin(json!({"op": "pause", "upstream": "hq"}), Wish::Pause),
        6 | 7 => admin(json!({"op": "resume"}), Wish::Resume),
        8 => admin(json!({"op": "list", "limit": 3, "payload": true}), Wish::Look),
        9 => match some(model, 1, random).first() {
            Some(seq) => admin(json!({"op": "history", "id": seq}), Wish::Look),
            None => (json!({"op": "hello"}), Socket::App, Wish::Look),
        },
        10 | 11 => match model.known.last_key_value() {
            Some((newest, _)) => {
                let seq = random.i64(1.max(newest - 30)..=*newest);
                if !model.known.contains_key(&seq) {
                    return (json!({"op": "hello"}), Socket::App, Wish::Look);
                }
                (json!({"op": "get", "id": model.known[&seq].id}), Socket::App, Wish::Get { seq })
            }
            None => (json!({"op": "health"}), Socket::App, Wish::Look),
        },
        12 => (json!({"op": "health"}), Socket::App, Wish::Look),
        14 | 15 => edit(model, random).unwrap_or((json!({"op": "stats"}), Socket::Admin, Wish::Look)),
        16 | 17 => {
            let count = random.usize(1..3);
            let seqs = some(model, count, random);
            let names: Vec<Value> = seqs.iter().map(|seq| name_of(model, *seq, random)).collect();
            let let_followers = random.u8(0..4) == 0;
            let line =
                json!({"op": "discard", "ids": names, "let_followers": let_followers, "reason": "it was nothing"});
            if seqs.is_empty() {
                admin(json!({"op": "list"}), Wish::Look)
            } else {
                admin(line, Wish::Discard { seqs, let_followers })
            }
        }
        18 => admin(json!({"op": "release", "filter": {"status": "held"}}), Wish::Release),
        _ => (json!({"op": "unsent"}), Socket::App, Wish::Unsent),
    }
}

/// Some live failures, preferably critical ones or those in flight.
pub(crate) fn some(model: &Model, count: usize, random: &mut Rng) -> Vec<i64> {
    if let Some(seq) = model.any_in_flight().filter(|_| random.u8(0..3) == 0) {
        return vec![seq];
    }
    let critical: Vec<i64> = model.live().filter(|(_, known)| known.critical).map(|(seq, _)| *seq).collect();
    let any: Vec<i64> = model.live().map(|(seq, _)| *seq).collect();
    let from = if critical.is_empty() || random.bool() { any } else { critical };
    random.choose_multiple(from.iter().copied(), count)
}

/// One of the ways in which an operator can name a failure.
pub(crate) fn name_of(model: &Model, seq: i64, random: &mut Rng) -> Value {
    match random.u8(0..3) {
        0 => json!(seq),
        1 => json!(format!("#{seq}")),
        _ => json!(model.known[&seq].id),
    }
}

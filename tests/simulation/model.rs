//! A plain model of what was promised: the failures that the world knows of, and what may be done
//! with them. It is the memory of somebody who watches the agent from outside.
//!
//! The invariants I1 to I6 of `spec/05` are checked here, as the run goes. What the model expects
//! follows from what clients were told and what the upstream meant; it never asks the product's
//! policy. A deed is *done* when it is handed to the agent and becomes true with its round
//! ([`Model::committed`]), so that a kill between the two leaves nothing behind.

use crate::table::Table;
use crate::upstream::{Fate, Meaning, Upstream, header};
use resyncd::agent::Dispatch;
use std::collections::{BTreeMap, BTreeSet};

const MINUTE: i64 = 60_000;
/// The wait after a counted try, by the count (`spec/03`, When).
const STEPS: [i64; 3] = [5 * MINUTE, 15 * MINUTE, 30 * MINUTE];
/// Counted tries after which a person has to act.
const BUDGET: u32 = 3;
/// The longest that an upstream is waited for because it asked so: `max_pause`.
const LONGEST_FLOOR: i64 = 60_000;

/// A failure that is on disk, as far as anybody outside can know.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: String,
    /// What it shares its order with, in one text.
    pub(crate) order: String,
    /// The payload as it must stand in the envelope.
    pub(crate) raw: String,
    pub(crate) key: Option<String>,
    pub(crate) entity_id: String,
    pub(crate) left: bool,
    pub(crate) critical: bool,
    pub(crate) retry_count: u32,
    attempts: u32,
    /// Of them counted, budgets of before included.
    counted: u32,
    one_shot: bool,
    /// Its step runs until then, in agent time.
    not_before: i64,
    /// Method, URL and body of its first try.
    request: Option<(&'static str, String, Vec<u8>)>,
}

impl Known {
    pub(crate) fn new(id: &str, order: &str, raw: &str, key: Option<&str>, entity_id: &str) -> Self {
        Self {
            id: id.to_owned(),
            order: order.to_owned(),
            raw: raw.to_owned(),
            key: key.map(str::to_owned),
            entity_id: entity_id.to_owned(),
            left: false,
            critical: false,
            retry_count: 0,
            attempts: 0,
            counted: 0,
            one_shot: false,
            not_before: 0,
            request: None,
        }
    }
}

/// What the open round is to make true.
#[derive(Clone, Debug)]
enum Deed {
    Outcome { seq: i64, meaning: Meaning, counts: bool, at: i64 },
    Retry { seqs: Vec<i64>, reset: bool },
    Flush { seqs: Vec<i64> },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) known: BTreeMap<i64, Known>,
    /// The live ones of each order key.
    orders: BTreeMap<String, BTreeSet<i64>>,
    in_flight: BTreeSet<i64>,
    round: Vec<Deed>,
    /// Nobody answered the last probe; and as it is on disk.
    offline: (bool, bool),
    /// The upstream asked not to be asked before; and as it is on disk.
    floor: (i64, i64),
    /// A person has stopped everything, and was told so.
    pub(crate) paused: bool,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
}

impl Model {
    // ---- what is learned

    /// A failure was acknowledged, or found in the file after a crash.
    pub(crate) fn learn(&mut self, seq: i64, known: Known) {
        if let Some((newest, _)) = self.known.last_key_value().filter(|(newest, _)| **newest >= seq) {
            panic!("I3: number {seq} was given after {newest}");
        }
        self.orders.entry(known.order.clone()).or_default().insert(seq);
        self.known.insert(seq, known);
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = (&i64, &Known)> {
        self.known.iter().filter(|(_, known)| !known.left)
    }

    // ---- what is done

    /// The end of a try is handed to the agent. What may count is decided here and now: never what
    /// the line is to blame for, nor a plain no while the upstream is offline (I5).
    pub(crate) fn tried(&mut self, seq: i64, fate: &Fate, now: i64) {
        let counts = match fate.meaning {
            Meaning::Refused => true,
            Meaning::Failed => !self.offline.0,
            Meaning::Accepted | Meaning::Line => false,
        };
        if let Some(seconds) = fate.retry_after {
            self.floor.0 = self.floor.0.max(now + (seconds * 1000).min(LONGEST_FLOOR));
        }
        self.round.push(Deed::Outcome { seq, meaning: fate.meaning, counts, at: now });
    }

    pub(crate) fn probed(&mut self, answered: bool) {
        self.offline.0 = !answered;
    }

    /// A person wants these sent; the agent skips those that are in flight.
    pub(crate) fn retried(&mut self, seqs: &[i64], reset: bool) {
        self.round.push(Deed::Retry { seqs: self.idle(seqs), reset });
    }

    pub(crate) fn flushed(&mut self, seqs: &[i64]) {
        self.round.push(Deed::Flush { seqs: self.idle(seqs) });
    }

    fn idle(&self, seqs: &[i64]) -> Vec<i64> {
        seqs.iter().copied().filter(|seq| !self.in_flight.contains(seq)).collect()
    }

    pub(crate) fn is_in_flight(&self, seq: i64) -> bool {
        self.in_flight.contains(&seq)
    }

    // ---- what has become true

    /// A round has ended; its commit failed when `broken`. An outcome that was not committed is
    /// written again by the agent until it is, anything else is void.
    pub(crate) fn committed(&mut self, table: &Table, upstream: &Upstream, broken: bool) {
        if !broken {
            (self.offline.1, self.floor.1) = (self.offline.0, self.floor.0);
        }
        for deed in std::mem::take(&mut self.round) {
            match deed {
                Deed::Outcome { seq, .. } if table.attempts(&self.known[&seq].id).0 == self.known[&seq].attempts => {
                    self.round.push(deed);
                }
                Deed::Outcome { seq, meaning, counts, at } => {
                    self.settle(seq, meaning, counts, at, upstream);
                    self.compare(seq, table);
                }
                Deed::Retry { .. } | Deed::Flush { .. } if broken => {}
                Deed::Retry { seqs, reset } => {
                    seqs.iter().for_each(|seq| self.retry(*seq, reset));
                    seqs.iter().for_each(|seq| self.compare(*seq, table));
                }
                Deed::Flush { seqs } => {
                    for seq in seqs {
                        self.known.get_mut(&seq).expect("known").not_before = 0;
                    }
                }
            }
        }
        self.round.retain(|deed| matches!(deed, Deed::Outcome { .. }));
    }

    /// Outcomes that the agent has and nobody finds in the file.
    pub(crate) fn unsettled(&self) -> usize {
        self.round.len()
    }

    fn settle(&mut self, seq: i64, meaning: Meaning, counts: bool, at: i64, upstream: &Upstream) {
        self.in_flight.remove(&seq);
        let known = self.known.get_mut(&seq).expect("known");
        known.attempts += 1;
        known.not_before = 0;
        if counts {
            known.counted += 1;
            known.retry_count += 1;
            known.critical = meaning == Meaning::Refused || known.retry_count >= BUDGET || known.one_shot;
            known.one_shot = false;
            known.not_before = at + STEPS[(known.retry_count as usize).min(STEPS.len() - 1)];
        }
        if meaning == Meaning::Accepted {
            known.left = true;
            self.delivered += 1;
            promise!(upstream.has(&known.id), "I1", "{seq} left without having been accepted");
            self.orders.get_mut(&known.order).expect("its order").remove(&seq);
        }
    }

    fn retry(&mut self, seq: i64, reset: bool) {
        let known = self.known.get_mut(&seq).expect("known");
        if known.left {
            return;
        }
        known.one_shot = !reset && (known.one_shot || known.critical);
        known.critical = false;
        known.not_before = 0;
        if reset {
            known.retry_count = 0;
        }
    }

    /// A kill: what the open round was to make true is void, what was in flight is pending again.
    pub(crate) fn killed(&mut self) {
        self.round.clear();
        self.in_flight.clear();
        self.offline.0 = self.offline.1;
        self.floor.0 = self.floor.1;
    }

    // ---- what is checked

    /// A failure goes out (I3, I4, and the gates).
    pub(crate) fn sends(&mut self, dispatch: &Dispatch, now: i64) {
        let seq = dispatch.seq.0;
        let Some(known) = self.known.get_mut(&seq) else { panic!("I1: {seq} is sent, and nobody was told of it") };
        promise!(!known.left, "I1", "{seq} is sent after it has left");
        promise!(!known.critical, "I5", "{seq} needs a person and is sent all the same");
        let older = self.orders[&known.order].first().copied();
        promise!(older == Some(seq), "I3", "{seq} is sent before {older:?} of {} has left", known.order);
        promise!(self.in_flight.insert(seq), "I3", "{seq} is sent twice at once");
        promise!(now >= known.not_before, "I5", "{seq} is sent {} ms before its step ends", known.not_before - now);
        promise!(!self.paused, "gate", "{seq} is sent though a person has paused the upstream");
        promise!(!self.offline.0, "gate", "{seq} is sent while the upstream is offline");
        promise!(now >= self.floor.0, "gate", "{seq} is sent {} ms before the Retry-After ends", self.floor.0 - now);
        let key = known.key.as_ref().unwrap_or(&known.id);
        promise!(header(dispatch, "Idempotency-Key") == *key, "I4", "{seq} goes out under another key than {key}");
        promise!(header(dispatch, "Resync-Id") == known.id, "I4", "{seq} goes out under another id");
        let attempt = (known.attempts + 1).to_string();
        promise!(header(dispatch, "Resync-Attempt") == attempt, "I4", "try {attempt} of {seq} has another number");
        let request = (dispatch.request.method, dispatch.request.url.clone(), dispatch.request.body.clone());
        let body = String::from_utf8_lossy(&request.2);
        let whole = format!("\"payload\":{},", known.raw);
        promise!(body.contains(&whole), "I4", "{seq} goes out as {body} without {whole}");
        match &known.request {
            None => known.request = Some(request),
            Some(first) => promise!(*first == request, "I4", "{seq} went out as {first:?} and now as {request:?}"),
        }
        self.sent += 1;
    }

    /// What the file says of one failure.
    fn compare(&self, seq: i64, table: &Table) {
        let known = &self.known[&seq];
        let Some(row) = table.row(seq) else {
            promise!(known.left, "I1", "{seq} ({}) is not in the table and was not accepted", known.id);
            return;
        };
        promise!(!known.left, "I1", "{seq} was accepted, and is in the table");
        let status = if known.critical { "critical" } else { "pending" };
        let (tries, counted) = table.attempts(&known.id);
        promise!(row.id == known.id, "I1", "{seq} is {}, it was {}", row.id, known.id);
        promise!(row.retry_count == known.retry_count, "I5", "{seq} has counted {}, not {known:?}", row.retry_count);
        promise!(counted == known.counted, "I5", "{seq} has {counted} counted attempts, not {known:?}");
        promise!(row.status == status, "I5", "{seq} is {}, not {status}: {known:?}", row.status);
        promise!(row.attempts == tries && tries == known.attempts, "I5", "{seq} was tried {tries} times: {row:?}");
    }

    /// The whole file against the whole model.
    pub(crate) fn compare_all(&self, table: &Table) {
        let wrong = table.wrong_heads();
        promise!(wrong.is_empty(), "I3", "not one head, the oldest: {wrong:?}");
        let rows = table.rows();
        promise!(table.live() == rows.len(), "I1", "the agent counts {} live, there are {}", table.live(), rows.len());
        if let Some(row) = rows.iter().find(|row| self.known.get(&row.seq).is_none_or(|known| known.left)) {
            panic!("I2: nobody was told of {row:?}, or it has left");
        }
        for (seq, _) in self.live().filter(|(seq, _)| !self.in_flight.contains(seq)) {
            self.compare(*seq, table);
        }
        let live = self.live().count();
        promise!(rows.len() == live, "I1", "{} failures are in the table, not {live}", rows.len());
    }

    /// After days with a good upstream (I6): what remains is critical, or behind a critical one.
    pub(crate) fn all_done(&self) {
        for (order, seqs) in self.orders.iter().filter(|(_, seqs)| !seqs.is_empty()) {
            let head = &self.known[seqs.first().expect("one")];
            promise!(head.critical, "I6", "nothing stops {order}, and it was not delivered: {seqs:?} {head:?}");
        }
    }

    /// After a fresh budget for everybody and days more: only what the upstream dislikes remains.
    pub(crate) fn only_poisoned_is_left(&self, upstream: &Upstream) {
        for (order, seqs) in self.orders.iter().filter(|(_, seqs)| !seqs.is_empty()) {
            let head = &self.known[seqs.first().expect("one")];
            let poisoned = upstream.is_poisoned(&head.entity_id);
            promise!(poisoned, "I6", "{order} was not delivered, though the upstream takes it: {head:?}");
        }
    }
}

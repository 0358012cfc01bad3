//! A plain model of what was promised: the failures that the world knows of, and what may be done
//! with them. It is the memory of somebody who watches the agent from outside.
//!
//! The invariants I1 to I6 of `spec/05` are checked here, as the run goes. What the model expects
//! follows from what clients were told and what the upstream meant; it never asks the product's
//! policy. A deed is *done* when it is handed to the agent and becomes true with its round
//! ([`Model::committed`]), so that a kill between the two leaves nothing behind.

use crate::edits::Edits;
use crate::table::Table;
use crate::upstream::{Fate, Meaning, Upstream};
use resyncd::ids::Seq;
use resyncd::policy::class::{Ending, LineFault};
use resyncd::wire::delivery::HttpRequest;
use std::collections::{BTreeMap, BTreeSet};

#[path = "checks.rs"]
mod checks;

const MINUTE: i64 = 60_000;
/// The wait after a counted try, by the count (`spec/03`, When).
const STEPS: [i64; 3] = [5 * MINUTE, 15 * MINUTE, 30 * MINUTE];
/// Counted tries after which a person has to act.
const BUDGET: u32 = 3;
/// Requests that may be under way at once: `concurrency`, as it is by itself.
const CONCURRENCY: usize = 4;
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
    pub(crate) not_before: i64,
    /// Method, URL and body of its first try.
    request: Option<HttpRequest>,
    /// How many the upstream had accepted at its previous try.
    accepted_before: Option<u64>,
    /// A person has stopped it, or given up what stood before it.
    pub(crate) held: bool,
    /// Somebody has asked for it to be given up.
    pub(crate) unwanted: bool,
    /// … and those behind it sent all the same.
    pub(crate) let_go: bool,
    /// It was refused: nothing makes it pending again but a person.
    refused: bool,
    /// It has used its budget up and goes once more: then it is critical again, whatever it counts.
    second_chance: bool,
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
            accepted_before: None,
            held: false,
            unwanted: false,
            let_go: false,
            refused: false,
            second_chance: false,
        }
    }

    /// With other content: a fresh start, after all its tries.
    pub(crate) fn edited(&self, order: &str, raw: &str, key: Option<&str>, entity_id: &str) -> Self {
        let same = Self::new(&self.id, order, raw, key, entity_id);
        let Self { attempts, counted, held, unwanted, let_go, .. } = *self;
        Self { attempts, counted, held, unwanted, let_go, ..same }
    }
}

/// What the open round is to make true.
#[derive(Clone, Debug)]
enum Deed {
    Outcome { seq: i64, meaning: Meaning, may_count: bool, at: i64, accepted: u64, floor: i64 },
    Retry { seqs: Vec<i64>, reset: bool },
    Flush { seqs: Vec<i64> },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) known: BTreeMap<i64, Known>,
    /// The live ones of each order key.
    pub(crate) orders: BTreeMap<String, BTreeSet<i64>>,
    in_flight: BTreeSet<i64>,
    /// Claimed, and not sent yet.
    held_ready: BTreeSet<i64>,
    /// Live ones that have counted tries or need a person: what may be given back.
    pub(crate) marked: BTreeSet<i64>,
    /// The newest number that was given to a record.
    newest: i64,
    pub(crate) edits: Edits,
    round: Vec<Deed>,
    /// Deeds of people in rounds whose commit failed: they may have happened.
    in_doubt: Vec<Deed>,
    /// Up to which line of the audit it is known who left, and who was held.
    pub(crate) audit_seen: i64,
    /// Who was held in this round, after what else people asked for in it.
    pub(crate) just_held: BTreeSet<i64>,
    /// What the upstream has accepted, as far as the agent has heard.
    accepted: u64,
    /// Nobody answered the last probe; and as it is on disk.
    offline: (bool, bool),
    /// Something was accepted while offline: the next probe tests whether probes can be believed.
    hearing_tested: bool,
    /// They cannot; and as it is on disk.
    deaf: (bool, bool),
    /// The upstream has answered a try since the probe under way began.
    answered_since_probe: bool,
    /// The upstream asked not to be asked before; and as it is on disk.
    floor: (i64, i64),
    /// A person has stopped everything, and was told so.
    pub(crate) paused: bool,
    /// A person has asked for that, and for its end not yet.
    pub(crate) maybe_paused: bool,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
}

impl Model {
    // ---- what is learned

    /// A failure was acknowledged, or found in the file after a crash.
    pub(crate) fn learn(&mut self, seq: i64, known: Known) {
        promise!(seq > self.newest, "I3", "number {seq} was given after {}", self.newest);
        self.newest = seq;
        self.orders.entry(known.order.clone()).or_default().insert(seq);
        self.known.insert(seq, known);
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = (&i64, &Known)> {
        self.known.iter().filter(|(_, known)| !known.left)
    }

    // ---- what is done

    /// The end of a try is handed to the agent. What may count is decided here and now (I5): an answer
    /// about the failure, unless the upstream is offline; anything else only by contrast, when others
    /// were accepted since its previous try; never what did not reach the upstream at all.
    pub(crate) fn tried(&mut self, seq: i64, fate: &Fate, now: i64) {
        // Who holds a certificate that is out of its time is the upstream.
        let out_of_time = matches!(fate.ending, Ending::NotSent(LineFault::CertificateTime, _));
        let unreached = matches!(fate.ending, Ending::NotSent(..)) && !out_of_time;
        let others = self.known[&seq].accepted_before.is_some_and(|before| before < self.accepted);
        let may_count = match fate.meaning {
            Meaning::Refused => true,
            Meaning::Failed => !self.offline.0,
            Meaning::Line => others && !unreached && !self.offline.0,
            Meaning::Accepted => false,
        };
        if fate.meaning == Meaning::Accepted {
            self.accepted += 1;
            self.hearing_tested |= self.offline.0;
        }
        // Offline ends with any answer, but those that a network gives in the upstream's place.
        if let Ending::Answered(answer) = &fate.ending {
            let page = fate.meaning == Meaning::Line && (answer.status < 400 || answer.status == 511);
            self.offline.0 &= page;
            self.answered_since_probe |= !page;
        }
        let floor = fate.retry_after.map_or(0, |seconds| now + (seconds * 1000).min(LONGEST_FLOOR));
        self.round.push(Deed::Outcome {
            seq,
            meaning: fate.meaning,
            may_count,
            at: now,
            accepted: self.accepted,
            floor,
        });
    }

    pub(crate) fn probe_begins(&mut self) {
        self.answered_since_probe = false;
    }

    /// A probe that goes unanswered means that nobody is there, unless the one that was to test
    /// whether probes can be believed went unanswered too, after an acceptance.
    pub(crate) fn probed(&mut self, answered: bool) {
        // What was answered after it began says more than its silence.
        if !answered && self.answered_since_probe {
            return; // And the one that tests is the next.
        }
        self.deaf.0 = !answered && (self.deaf.0 || self.hearing_tested);
        self.hearing_tested = false;
        self.offline.0 = !answered && !self.deaf.0;
    }

    /// A person wants these sent; the agent skips those that are in flight.
    pub(crate) fn retried(&mut self, seqs: &[i64], reset: bool) {
        self.round.push(Deed::Retry { seqs: self.idle(seqs), reset });
    }

    pub(crate) fn flushed(&mut self, seqs: &[i64]) {
        self.round.push(Deed::Flush { seqs: self.idle(seqs) });
    }

    /// (A number that an edit has taken away means nobody.)
    fn idle(&self, seqs: &[i64]) -> Vec<i64> {
        let idle = |seq: &i64| !self.is_in_flight(*seq) && self.known.contains_key(seq);
        seqs.iter().copied().filter(idle).collect()
    }

    pub(crate) fn is_in_flight(&self, seq: i64) -> bool {
        self.in_flight.contains(&seq) || self.held_ready.contains(&seq)
    }

    /// A sender holds its request ready: to people it is in flight.
    pub(crate) fn held_ready(&mut self, seq: i64) {
        promise!(!self.in_flight.contains(&seq), "I3", "{seq} is held ready while it is sent");
        promise!(self.held_ready.insert(seq), "I3", "{seq} is held ready twice");
    }

    /// Senders have given these back.
    pub(crate) fn given_up(&mut self, seqs: &[Seq]) {
        for seq in seqs {
            promise!(self.held_ready.remove(&seq.0), "I3", "{seq} is given back, and nobody held it");
        }
    }

    pub(crate) fn any_in_flight(&self) -> Option<i64> {
        self.in_flight.first().copied()
    }

    // ---- what has become true

    /// A round has ended; its commit failed when `broken`. An outcome that was not committed is
    /// written again by the agent until it is, anything else is void.
    pub(crate) fn committed(&mut self, table: &Table, upstream: &Upstream, broken: bool) {
        self.read_audit(table);
        for deed in std::mem::take(&mut self.round) {
            match deed {
                Deed::Outcome { seq, meaning, .. } if self.is_unwritten(seq, meaning, table) => {
                    self.round.push(deed);
                }
                Deed::Outcome { seq, meaning, may_count, at, accepted, floor } => {
                    let before = self.known[&seq].counted;
                    self.settle(seq, meaning, (may_count, at, accepted), table, upstream);
                    // What counts by contrast is about this failure, and binds nobody else.
                    let by_contrast = meaning == Meaning::Line && self.known[&seq].counted > before;
                    self.floor.0 = if by_contrast { self.floor.0 } else { self.floor.0.max(floor) };
                    self.compare(seq, table);
                }
                Deed::Retry { .. } | Deed::Flush { .. } if broken => self.in_doubt.push(deed),
                done => self.done(done, table),
            }
        }
        self.round.retain(|deed| matches!(deed, Deed::Outcome { .. }));
        self.given_back(table);
        if !broken {
            (self.offline.1, self.floor.1, self.deaf.1) = (self.offline.0, self.floor.0, self.deaf.0);
        }
    }

    /// Is the end of a try in nobody's file? When the disk is full for the second time, one that was
    /// accepted leaves without its line in the history.
    fn is_unwritten(&self, seq: i64, meaning: Meaning, table: &Table) -> bool {
        let known = &self.known[&seq];
        let gone = || meaning == Meaning::Accepted && table.row(seq).is_none();
        table.attempts(&known.id).0 == known.attempts && !gone()
    }

    /// A person's deed has happened.
    fn done(&mut self, deed: Deed, table: &Table) {
        match deed {
            // What was edited in the same round is due with a fresh budget, whichever came first.
            Deed::Retry { mut seqs, reset } => {
                seqs.retain(|seq| self.known.contains_key(seq));
                seqs.iter().for_each(|seq| self.retry(*seq, reset));
                seqs.iter().for_each(|seq| self.compare(*seq, table));
            }
            Deed::Flush { mut seqs } => {
                seqs.retain(|seq| self.known.contains_key(seq));
                seqs.iter().for_each(|seq| self.known.get_mut(seq).expect("known").not_before = 0);
            }
            Deed::Outcome { .. } => {}
        }
    }

    pub(crate) fn retry_in_doubt(&mut self, seqs: &[i64], reset: bool) {
        self.in_doubt.push(Deed::Retry { seqs: self.idle(seqs), reset });
    }

    /// Nothing of the round was written; outcomes will be.
    pub(crate) fn all_refused(&mut self) {
        self.round.retain(|deed| matches!(deed, Deed::Outcome { .. }));
    }

    pub(crate) fn doubts(&self) -> bool {
        !self.in_doubt.is_empty()
    }

    pub(crate) fn forget_doubts(&mut self) {
        self.in_doubt.clear();
    }

    /// The file is open again: what was in doubt has happened, or has not.
    /// `audited`: how many lines the audit had before.
    pub(crate) fn doubts_resolved(&mut self, audited: i64, table: &Table) {
        for deed in std::mem::take(&mut self.in_doubt) {
            let happened = match &deed {
                Deed::Retry { seqs, .. } => {
                    let known = seqs.first().and_then(|seq| self.known.get(seq));
                    known.is_some_and(|known| table.is_retried_since(audited, &known.id))
                }
                Deed::Flush { .. } | Deed::Outcome { .. } => table.audited() > audited,
            };
            if happened {
                self.done(deed, table);
            }
        }
    }

    /// Retries that were given back, and second chances, of failures that nothing was heard of in
    /// this round: a count may shrink, and what was critical by counting may be pending once more.
    fn given_back(&mut self, table: &Table) {
        let marked: Vec<i64> = self.marked.iter().copied().collect();
        for seq in marked {
            let known = self.known.get_mut(&seq).expect("known");
            let Some(row) = table.row(seq) else { continue };
            let critical = row.status == "critical";
            promise!(row.retry_count <= known.retry_count, "I5", "{seq} has counted {}: {known:?}", row.retry_count);
            promise!(!critical || known.critical, "I5", "{seq} is critical, and nothing was heard of it: {known:?}");
            promise!(critical || !known.refused, "I5", "{seq} was refused, and is pending again: {known:?}");
            if row.retry_count < known.retry_count || critical != known.critical {
                known.not_before = 0;
                known.second_chance = row.retry_count == known.retry_count;
            }
            (known.retry_count, known.critical) = (row.retry_count, critical);
            if known.left || (known.retry_count == 0 && !known.critical) {
                self.marked.remove(&seq);
            }
        }
    }

    /// Outcomes that the agent has and nobody finds in the file.
    pub(crate) fn unsettled(&self) -> usize {
        self.round.len()
    }

    fn settle(
        &mut self,
        seq: i64,
        meaning: Meaning,
        (may_count, at, accepted): (bool, i64, u64),
        table: &Table,
        upstream: &Upstream,
    ) {
        self.in_flight.remove(&seq);
        let counted = table.attempts(&self.known[&seq].id).1;
        let known = self.known.get_mut(&seq).expect("known");
        known.attempts += 1;
        known.not_before = 0;
        known.accepted_before = Some(accepted);
        if let Some(row) = table.row(seq) {
            let more = counted - known.counted;
            promise!(more == 0 || may_count, "I5", "{seq} was counted after {meaning:?}: {row:?} {known:?}");
            promise!(
                row.retry_count <= known.retry_count + more,
                "I5",
                "{seq} has counted too much: {row:?} {known:?}"
            );
            known.refused |= meaning == Meaning::Refused;
            let critical = row.status == "critical";
            let used_up = known.one_shot || row.retry_count >= BUDGET;
            let may_be = known.refused || used_up || known.second_chance;
            promise!(!critical || may_be, "I5", "{seq} is critical too early: {row:?} {known:?}");
            // (What a person asked for beyond a smaller count may have been given back unseen.)
            let last_try = known.second_chance && known.retry_count >= BUDGET;
            let within = more == 0 || known.refused || !last_try;
            promise!(within, "I5", "{seq} has used its budget up and is counted once more: {row:?} {known:?}");
            known.second_chance &= more == 0 && !critical;
            if more > 0 {
                known.second_chance = !critical && used_up && row.retry_count == known.retry_count + more;
                known.one_shot = false;
                known.not_before = at + STEPS[(row.retry_count as usize).min(STEPS.len() - 1)];
            }
            // It was given back, or got its second chance, in the same round.
            if row.retry_count < known.retry_count + more || used_up {
                known.not_before = 0;
            }
            (known.counted, known.retry_count, known.critical) = (counted, row.retry_count, critical);
            self.marked.insert(seq);
        }
        if meaning == Meaning::Accepted {
            known.left = true;
            self.delivered += 1;
            promise!(upstream.has(&known.id), "I1", "{seq} left without having been accepted");
            self.orders.get_mut(&known.order).expect("its order").remove(&seq);
            self.marked.remove(&seq);
        }
    }

    fn retry(&mut self, seq: i64, reset: bool) {
        let known = self.known.get_mut(&seq).expect("known");
        if known.left || (known.held && !self.just_held.contains(&seq)) {
            return;
        }
        known.one_shot = !reset && (known.one_shot || known.critical || known.second_chance);
        known.second_chance = false;
        known.critical = false;
        known.refused = false;
        known.not_before = 0;
        if reset {
            known.retry_count = 0;
        }
    }

    /// A kill: what the open round was to make true is void, what was in flight is pending again.
    pub(crate) fn killed(&mut self) {
        self.round.clear();
        self.in_flight.clear();
        self.held_ready.clear();
        (self.offline.0, self.floor.0, self.deaf.0) = (self.offline.1, self.floor.1, self.deaf.1);
        self.hearing_tested = false;
    }
}

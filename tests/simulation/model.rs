//! A plain model of what was promised: the failures that the world knows and the actions they
//! allow. It represents an observer outside the agent.
//!
//! The invariants (durability, refusal, order, one key, budget, progress) are checked here during the run.
//! The model's expectations follow from the replies to clients and the meaning of the upstream's responses;
//! it never consults the product's policy. A [`BulkAction`] is recorded when it is handed to the agent and takes
//! effect with its round ([`Model::committed`]), so that a kill between the two leaves nothing behind.

use crate::edits::Edits;
use crate::table::Table;
use crate::upstream::{Fate, Meaning, Upstream};
use resyncd::ids::Seq;
use resyncd::policy::ending::ConnectError;
use resyncd::policy::ending::Ending;
use resyncd::wire::delivery::HttpRequest;
use std::collections::{BTreeMap, BTreeSet};

#[path = "checks.rs"]
mod checks;
#[path = "returning.rs"]
mod returning;
pub(crate) use returning::Replayed;

const MINUTE: i64 = 60_000;
/// The backoff after a counted attempt, by the count.
const STEPS: [i64; 3] = [5 * MINUTE, 15 * MINUTE, 30 * MINUTE];
/// Counted attempts after which an operator has to act.
const BUDGET: u32 = 3;
/// Requests that may be in flight at once: the default `concurrency`.
const CONCURRENCY: usize = 4;
/// The longest `Retry-After` that is honoured: `max_pause`.
const LONGEST_FLOOR: i64 = 60_000;

/// A failure that is on disk, as far as can be known from outside.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: String,
    /// The order key, as one text.
    pub(crate) order: String,
    /// The payload as the envelope must contain it.
    pub(crate) raw: String,
    pub(crate) key: Option<String>,
    pub(crate) entity_id: String,
    pub(crate) left: bool,
    pub(crate) critical: bool,
    pub(crate) retry_count: u32,
    pub(crate) attempts: u32,
    /// How many of the attempts counted, including those of earlier budgets.
    counted: u32,
    one_shot: bool,
    /// When its backoff ends, in agent time.
    pub(crate) not_before: i64,
    /// Method, URL and body of its first attempt.
    request: Option<HttpRequest>,
    /// The upstream's acceptances at its previous attempt.
    accepted_before: Option<u64>,
    /// An operator has held it, or discarded a failure before it.
    pub(crate) held: bool,
    /// An operator has requested its discarding.
    pub(crate) unwanted: bool,
    /// … and that the failures behind it are sent regardless.
    pub(crate) let_go: bool,
    /// The upstream rejected it: only an operator can make it pending again.
    refused: bool,
    /// It is held until the rest of a replay is back.
    pub(crate) awaits: bool,
    /// It was delivered, and has not come back since.
    pub(crate) delivered: bool,
    /// Its budget is used up and it has an extra attempt, after which it is critical again, whatever counts.
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
            delivered: false,
            awaits: false,
        }
    }

    /// A fresh failure with other content that keeps its number of attempts.
    pub(crate) fn edited(&self, order: &str, raw: &str, key: Option<&str>, entity_id: &str) -> Self {
        let same = Self::new(&self.id, order, raw, key, entity_id);
        let Self { attempts, counted, held, unwanted, let_go, .. } = *self;
        Self { attempts, counted, held, unwanted, let_go, ..same }
    }
}

/// A change that takes effect when the open round is committed.
#[derive(Clone, Debug)]
enum BulkAction {
    Outcome { seq: i64, meaning: Meaning, may_count: bool, at: i64, accepted: u64, floor: i64 },
    Retry { seqs: Vec<i64>, reset: bool },
    Flush { seqs: Vec<i64> },
}

/// The expected state of the agent.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) known: BTreeMap<i64, Known>,
    /// The live failures of each order key.
    pub(crate) orders: BTreeMap<String, BTreeSet<i64>>,
    in_flight: BTreeSet<i64>,
    /// Claimed, and not sent yet.
    held_ready: BTreeSet<i64>,
    /// Live failures with counted attempts or in need of an operator, whose retries may be refunded.
    pub(crate) marked: BTreeSet<i64>,
    /// The newest sequence number given to a record.
    newest: i64,
    pub(crate) edits: Edits,
    round: Vec<BulkAction>,
    /// Operators' actions in rounds whose commit failed; they may have been applied.
    in_doubt: Vec<BulkAction>,
    /// The last audit line whose removals and holds are known.
    pub(crate) audit_seen: i64,
    /// Orders whose head was ever discarded: the followers are held in chunks.
    pub(crate) bereaved: BTreeSet<String>,
    /// Failures held in this round, after other requests of operators in it.
    pub(crate) just_held: BTreeSet<i64>,
    /// What the upstream has accepted, as far as the agent knows.
    accepted: u64,
    /// Whether the last probe was unanswered: current value, and the value on disk.
    offline: (bool, bool),
    /// A probe was unanswered while most attempts were accepted; then the policy decides whether it is offline.
    perhaps_offline: bool,
    /// Smoothed number of responses about failures themselves among the latest attempts, since the last start.
    answers: f64,
    /// Something was accepted while offline: the next probe tests whether probes are reliable.
    hearing_tested: bool,
    /// Whether probes are unreliable: current value, and the value on disk.
    deaf: (bool, bool),
    /// Whether the upstream has answered an attempt since the current probe began.
    answered_since_probe: bool,
    /// The end of the upstream's `Retry-After`: current value, and the value on disk.
    floor: (i64, i64),
    /// Whether an acknowledged pause of an operator is in force.
    pub(crate) paused: bool,
    /// Whether an operator has requested a pause and not its end.
    pub(crate) maybe_paused: bool,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Those that came back after they were delivered.
    pub(crate) replayed: u64,
    /// Came back in the round in which they were delivered.
    pub(crate) back_at_once: BTreeSet<i64>,
    /// The disk was full: the oldest history may have been given up.
    pub(crate) history_may_be_gone: bool,
    /// What is delivered has to be in the archive.
    pub(crate) archives: bool,
    /// Orders that are replayed in parts.
    pub(crate) replays: BTreeMap<String, Replayed>,
}

impl Model {
    // ---- observations

    /// A failure was acknowledged, or found in the file after a crash.
    pub(crate) fn learn(&mut self, seq: i64, known: Known) {
        promise!(seq > self.newest, "order", "number {seq} was given after {}", self.newest);
        self.newest = seq;
        self.orders.entry(known.order.clone()).or_default().insert(seq);
        self.known.insert(seq, known);
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = (&i64, &Known)> {
        self.known.iter().filter(|(_, known)| !known.left)
    }

    // ---- actions

    /// The result of an attempt is handed to the agent. Whether it may count is decided now: a response about
    /// the failure may, unless the upstream is offline; anything else only by contrast, when the upstream
    /// accepted others since the previous attempt; and never an attempt that did not reach the upstream at all.
    pub(crate) fn tried(&mut self, seq: i64, fate: &Fate, now: i64) {
        // An expired certificate comes from the upstream itself.
        let out_of_time = matches!(fate.ending, Ending::NotSent(ConnectError::CertificateTime, _));
        let unreached = matches!(fate.ending, Ending::NotSent(..)) && !out_of_time;
        let others = self.known[&seq].accepted_before.is_some_and(|before| before < self.accepted);
        let may_count = match fate.meaning {
            Meaning::Refused => true,
            Meaning::Failed => !self.offline.0,
            Meaning::Line => others && !unreached && !self.offline.0,
            Meaning::Accepted => false,
        };
        self.answers *= 15.0 / 16.0;
        if matches!(fate.meaning, Meaning::Accepted | Meaning::Refused | Meaning::Failed) {
            self.answers += 1.0;
        }
        if fate.meaning == Meaning::Accepted {
            self.accepted += 1;
            self.hearing_tested |= self.offline.0 || self.perhaps_offline;
        }
        // Any response ends offline, except those that a network sends in place of the upstream.
        if let Ending::Answered(answer) = &fate.ending {
            let page = fate.meaning == Meaning::Line && (answer.status < 400 || answer.status == 511);
            self.offline.0 &= page;
            self.perhaps_offline &= page;
            self.answered_since_probe |= !page;
        }
        let floor = fate.retry_after.map_or(0, |seconds| now + (seconds * 1000).min(LONGEST_FLOOR));
        self.round.push(BulkAction::Outcome {
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

    /// An unanswered probe means that the upstream is offline, unless it was the one that tests,
    /// after an acceptance, whether probes are reliable.
    pub(crate) fn probed(&mut self, answered: bool) {
        // A response after its start is better evidence than the unanswered probe.
        if !answered && self.answered_since_probe {
            return; // The next probe does the test.
        }
        self.deaf.0 = !answered && (self.deaf.0 || self.hearing_tested);
        self.hearing_tested = false;
        let gone = !answered && !self.deaf.0;
        // A share of errors explains consecutive unanswered attempts, so a failed probe need not end the sending.
        self.perhaps_offline = gone && self.answers >= 1.5;
        self.offline.0 = gone && !self.perhaps_offline;
    }

    /// An operator wants these sent; the agent skips those in flight.
    pub(crate) fn retried(&mut self, seqs: &[i64], reset: bool) {
        self.round.push(BulkAction::Retry { seqs: self.idle(seqs), reset });
    }

    pub(crate) fn flushed(&mut self, seqs: &[i64]) {
        self.round.push(BulkAction::Flush { seqs: self.idle(seqs) });
    }

    /// (A number that an edit replaced names no failure.)
    fn idle(&self, seqs: &[i64]) -> Vec<i64> {
        let idle = |seq: &i64| !self.is_in_flight(*seq) && self.known.contains_key(seq);
        seqs.iter().copied().filter(idle).collect()
    }

    pub(crate) fn is_in_flight(&self, seq: i64) -> bool {
        self.in_flight.contains(&seq) || self.held_ready.contains(&seq)
    }

    /// A sender prefetches the request: operators see the failure as in flight.
    pub(crate) fn held_ready(&mut self, seq: i64) {
        promise!(!self.in_flight.contains(&seq), "order", "{seq} is held ready while it is sent");
        promise!(self.held_ready.insert(seq), "order", "{seq} is held ready twice");
    }

    /// Senders have released these.
    pub(crate) fn given_up(&mut self, seqs: &[Seq]) {
        for seq in seqs {
            promise!(self.held_ready.remove(&seq.0), "order", "{seq} is given back without having been prefetched");
        }
    }

    pub(crate) fn any_in_flight(&self) -> Option<i64> {
        self.in_flight.first().copied()
    }

    // ---- results

    /// A round has ended; its commit failed when `broken`. The agent writes an uncommitted outcome
    /// again until it succeeds; any other change is void.
    pub(crate) fn committed(&mut self, table: &Table, upstream: &Upstream, broken: bool) {
        let audited = self.audit_seen;
        self.read_audit(table);
        for deed in std::mem::take(&mut self.round) {
            match deed {
                BulkAction::Outcome { seq, meaning, .. } if self.is_unwritten(seq, meaning, table) => {
                    self.round.push(deed);
                }
                BulkAction::Outcome { seq, meaning, may_count, at, accepted, floor } => {
                    let before = self.known[&seq].counted;
                    self.settle(seq, meaning, (may_count, at, accepted), table, upstream);
                    if self.back_at_once.remove(&seq) {
                        self.comes_back(seq);
                        self.see_held_parts(table);
                    }
                    // An outcome that counts by contrast concerns this failure only and delays no other.
                    let by_contrast = meaning == Meaning::Line && self.known[&seq].counted > before;
                    self.floor.0 = if by_contrast { self.floor.0 } else { self.floor.0.max(floor) };
                    self.compare(seq, table);
                }
                BulkAction::Retry { .. } | BulkAction::Flush { .. } if broken => self.in_doubt.push(deed),
                // On a full disk, a chunk of an operation may be refused although the round is committed.
                BulkAction::Retry { ref seqs, .. } if !self.any_retried(seqs, audited, table) => {}
                done => self.done(done, table),
            }
        }
        self.round.retain(|deed| matches!(deed, BulkAction::Outcome { .. }));
        self.given_back(table);
        if !broken {
            (self.offline.1, self.floor.1, self.deaf.1) = (self.offline.0, self.floor.0, self.deaf.0);
        }
    }

    /// Whether the outcome of an attempt is missing in the file. When the disk is full for the
    /// second time, a delivered failure leaves without its line in the history.
    fn is_unwritten(&self, seq: i64, meaning: Meaning, table: &Table) -> bool {
        let known = &self.known[&seq];
        let gone = || meaning == Meaning::Accepted && table.row(seq).is_none();
        let row = table.row(seq).filter(|_| self.history_may_be_gone);
        let tried = row.map_or_else(|| table.attempts(&known.id).0, |row| row.attempts);
        tried == known.attempts && !gone()
    }

    /// Whether the audit has a retry of one of these after this line.
    fn any_retried(&self, seqs: &[i64], line: i64, table: &Table) -> bool {
        let known = seqs.iter().filter_map(|seq| self.known.get(seq));
        known.into_iter().any(|known| table.is_retried_since(line, &known.id))
    }

    /// Applies an operator's action.
    fn done(&mut self, deed: BulkAction, table: &Table) {
        match deed {
            // A failure edited in the same round is due with a fresh budget, whichever action came first.
            BulkAction::Retry { mut seqs, reset } => {
                seqs.retain(|seq| self.known.contains_key(seq));
                seqs.iter().for_each(|seq| self.retry(*seq, reset));
                seqs.iter().for_each(|seq| self.compare(*seq, table));
            }
            BulkAction::Flush { mut seqs } => {
                seqs.retain(|seq| self.known.contains_key(seq));
                seqs.iter().for_each(|seq| self.known.get_mut(seq).expect("known").not_before = 0);
            }
            BulkAction::Outcome { .. } => {}
        }
    }

    pub(crate) fn retry_in_doubt(&mut self, seqs: &[i64], reset: bool) {
        self.in_doubt.push(BulkAction::Retry { seqs: self.idle(seqs), reset });
    }

    /// Nothing of the round was written; outcomes will be.
    pub(crate) fn all_refused(&mut self) {
        self.round.retain(|deed| matches!(deed, BulkAction::Outcome { .. }));
    }

    pub(crate) fn doubts(&self) -> bool {
        !self.in_doubt.is_empty()
    }

    pub(crate) fn forget_doubts(&mut self) {
        self.in_doubt.clear();
    }

    /// The file is open again: decides which doubtful changes were applied.
    /// `audited`: the number of audit lines before them.
    pub(crate) fn doubts_resolved(&mut self, audited: i64, table: &Table) {
        for deed in std::mem::take(&mut self.in_doubt) {
            let happened = match &deed {
                BulkAction::Retry { seqs, .. } => {
                    let known = seqs.first().and_then(|seq| self.known.get(seq));
                    known.is_some_and(|known| table.is_retried_since(audited, &known.id))
                }
                BulkAction::Flush { .. } | BulkAction::Outcome { .. } => table.audited() > audited,
            };
            if happened {
                self.done(deed, table);
            }
        }
    }

    /// Refunded retries and extra attempts of failures without an outcome in this round: a count
    /// may shrink, and a failure that was critical by its count may be pending again.
    fn given_back(&mut self, table: &Table) {
        let marked: Vec<i64> = self.marked.iter().copied().collect();
        for seq in marked {
            let known = self.known.get_mut(&seq).expect("known");
            let Some(row) = table.row(seq) else { continue };
            let critical = row.status == "critical";
            promise!(
                row.retry_count <= known.retry_count,
                "budget",
                "{seq} has counted {}: {known:?}",
                row.retry_count
            );
            promise!(
                !critical || known.critical,
                "budget",
                "{seq} is critical, and nothing was heard of it: {known:?}"
            );
            promise!(critical || !known.refused, "budget", "{seq} was refused, and is pending again: {known:?}");
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

    /// The number of outcomes that are not in the file yet.
    pub(crate) fn unwritten_outcomes(&self) -> usize {
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
        let (counted, lost) = (table.attempts(&self.known[&seq].id).1, self.history_may_be_gone);
        let known = self.known.get_mut(&seq).expect("known");
        known.attempts += 1;
        known.not_before = 0;
        known.accepted_before = Some(accepted);
        if let Some(row) = table.row(seq) {
            let told = row.retry_count.saturating_sub(known.retry_count);
            let more = counted.saturating_sub(known.counted).max(if lost { told } else { 0 });
            promise!(more == 0 || may_count, "budget", "{seq} was counted after {meaning:?}: {row:?} {known:?}");
            promise!(
                row.retry_count <= known.retry_count + more,
                "budget",
                "{seq} has counted too much: {row:?} {known:?}"
            );
            known.refused |= meaning == Meaning::Refused;
            let critical = row.status == "critical";
            let used_up = known.one_shot || row.retry_count >= BUDGET;
            let may_be = known.refused || used_up || known.second_chance;
            promise!(!critical || may_be, "budget", "{seq} is critical too early: {row:?} {known:?}");
            // (A larger request of an operator may have been refunded before it was seen.)
            let last_try = known.second_chance && known.retry_count >= BUDGET;
            let within = more == 0 || known.refused || !last_try;
            promise!(within, "budget", "{seq} has used its budget up and is counted once more: {row:?} {known:?}");
            known.second_chance &= more == 0 && !critical;
            if more > 0 {
                known.second_chance = !critical && used_up && row.retry_count == known.retry_count + more;
                known.one_shot = false;
                known.not_before = at + STEPS[(row.retry_count as usize).min(STEPS.len() - 1)];
            }
            // Its retry was refunded, or its extra attempt granted, in the same round.
            if row.retry_count < known.retry_count + more || used_up {
                known.not_before = 0;
            }
            (known.counted, known.retry_count, known.critical) = (counted, row.retry_count, critical);
            self.marked.insert(seq);
        }
        if meaning == Meaning::Accepted {
            (known.left, known.delivered) = (true, true);
            self.delivered += 1;
            let archived = || table.delivered_line(&known.id, known.attempts).is_some();
            promise!(!self.archives || archived(), "durability", "{seq} was delivered without its line in the archive");
            promise!(upstream.has(&known.id), "durability", "{seq} left without having been accepted");
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

    /// A kill: the changes of the open round are void, and failures in flight are pending again.
    pub(crate) fn killed(&mut self) {
        self.round.clear();
        self.in_flight.clear();
        self.held_ready.clear();
        (self.offline.0, self.floor.0, self.deaf.0) = (self.offline.1, self.floor.1, self.deaf.1);
        self.hearing_tested = false;
        (self.perhaps_offline, self.answers) = (false, 0.0);
    }
}

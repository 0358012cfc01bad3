//! What a power cut must preserve, derived from what was known outside at that time.

use crate::power_cut::contents::{Contents, Live};
use crate::power_cut::till::{Fact, Submission};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is known of one submission.
#[derive(Clone, Debug, Default)]
struct Known {
    submitted: bool,
    /// It was rejected, and no earlier submission of it is in doubt.
    refused: bool,
    in_doubt: bool,
    /// Its id and number, once it is certainly recorded.
    recorded: Option<(String, i64)>,
    /// The upstream has accepted it, so it may have left.
    accepted: bool,
    /// It has left for good.
    gone: bool,
    /// Attempts that have ended, and how many of them are certainly on disk.
    ended: usize,
    settled: usize,
    held: bool,
}

/// Everything that is known at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises<'a> {
    known: Vec<Known>,
    submissions: &'a [Submission],
    by_payload: HashMap<&'a str, usize>,
    asked: BTreeSet<&'a str>,
    done: BTreeSet<&'a str>,
    /// Whether the upstream is paused, when that is certain.
    paused: Option<bool>,
    /// Rows of the history may have been omitted.
    was_full: bool,
}

/// Returns an error with these words unless the condition holds.
macro_rules! hold {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

impl<'a> Promises<'a> {
    pub(crate) fn new(submissions: &'a [Submission], was_full: bool) -> Self {
        Self {
            known: vec![Known::default(); submissions.len()],
            by_payload: (0..).zip(submissions).map(|(n, submission)| (&submission.payload[..], n)).collect(),
            submissions,
            was_full,
            ..Self::default()
        }
    }

    /// Adds the next fact. A fact that contradicts earlier ones is itself a broken promise.
    pub(crate) fn learn(&mut self, fact: &'a Fact) -> Result<(), String> {
        match fact {
            Fact::Submitted(n) => {
                self.known[*n].submitted = true;
                self.known[*n].refused = false;
            }
            Fact::Acknowledged { n, id, seq } | Fact::Sent { n, id, seq } => return self.recorded(*n, id, *seq, fact),
            Fact::Refused(n) => {
                let known = &mut self.known[*n];
                known.refused = !known.in_doubt && known.recorded.is_none();
            }
            Fact::Doubtful(n) => self.known[*n].in_doubt = true,
            Fact::Ended { n, accepted } => {
                let known = &mut self.known[*n];
                known.ended += 1;
                known.accepted |= accepted;
                known.held = false;
            }
            Fact::Settled { n, accepted } => {
                let known = &mut self.known[*n];
                known.settled += 1;
                known.gone |= accepted;
            }
            Fact::Touched(n) => self.known[*n].held = false,
            Fact::Held(n) => self.known[*n].held = true,
            Fact::Asked(reason) => drop(self.asked.insert(reason)),
            Fact::Done(reason) => drop(self.done.insert(reason)),
            Fact::Denied(reason) => drop(self.asked.remove(&reason[..])),
            Fact::GateTouched => self.paused = None,
            Fact::Paused(paused) => self.paused = Some(*paused),
            Fact::Died => self.known.iter_mut().for_each(|known| {
                known.in_doubt |= known.submitted && !known.refused && known.recorded.is_none();
            }),
        }
        Ok(())
    }

    fn recorded(&mut self, n: usize, id: &str, seq: i64, fact: &Fact) -> Result<(), String> {
        let known = &mut self.known[n];
        hold!(known.submitted, "refused means absent: {fact:?} of what was never handed over");
        if let Some(before) = &known.recorded {
            hold!(*before == (id.to_owned(), seq), "durability: {fact:?}, it was {before:?} before");
        }
        if matches!(fact, Fact::Sent { .. }) {
            hold!(!known.gone, "{fact:?} after its leaving was committed");
            // Only pending failures are sent.
            known.held = false;
        }
        known.recorded = Some((id.to_owned(), seq));
        Ok(())
    }

    /// Checks that everything promised is there, and nothing else.
    pub(crate) fn check(&self, found: &Contents) -> Result<(), String> {
        let mut live: BTreeMap<usize, &Live> = BTreeMap::new();
        for row in &found.live {
            let n = self.whose(row)?;
            hold!(live.insert(n, row).is_none(), "refused means absent: submission {n} is there twice: {row:?}");
        }
        for (n, known) in self.known.iter().enumerate() {
            match live.get(&n) {
                Some(row) => check_live(n, known, row)?,
                None => self.check_gone(n, known, found)?,
            }
        }
        self.check_keys(found)?;
        self.check_history(found, &live)?;
        self.check_heads(found)?;
        self.check_persons(found)?;
        hold!(found.counted_live == found.live.len() as u64, "the agent counts {} live", found.counted_live);
        let newest = self.known.iter().filter_map(|known| known.recorded.as_ref()).map(|(_, seq)| *seq).max();
        let newest = newest.into_iter().chain(found.live.iter().map(|row| row.seq)).max().unwrap_or(0);
        hold!(found.next_seq > newest, "number {} would be given twice, {newest} is the newest", found.next_seq);
        Ok(())
    }

    /// The submission that a row came from; the row must be unchanged.
    fn whose(&self, row: &Live) -> Result<usize, String> {
        let Some(&n) = self.by_payload.get(&row.payload[..]) else {
            return Err(format!("refused means absent: no client has sent {row:?}"));
        };
        let submission = &self.submissions[n];
        let tried = self.known[n].ended > 0;
        let same = row.entity == (submission.entity.0.to_owned(), submission.entity.1.clone())
            && row.action == submission.action
            && (row.error == submission.error || tried)
            && row.order_key == submission.order_key
            && row.key == submission.key
            && row.uid == submission.uid;
        hold!(same, "durability: submission {n} has become {row:?}");
        Ok(n)
    }

    fn check_gone(&self, n: usize, known: &Known, found: &Contents) -> Result<(), String> {
        let Some((id, _)) = &known.recorded else {
            return Ok(());
        };
        hold!(known.accepted, "durability: submission {n} ({id}) was acknowledged or sent, and is lost");
        let delivered = found.tries.iter().any(|(failure, class)| failure == id && class == "delivered");
        hold!(delivered || self.was_full, "durability: submission {n} ({id}) has left without a history");
        Ok(())
    }

    fn check_keys(&self, found: &Contents) -> Result<(), String> {
        let live: HashMap<&str, &Live> = found.live.iter().map(|row| (&row.id[..], row)).collect();
        let keys: HashMap<(u32, &str), (&str, bool)> =
            found.keys.iter().map(|key| ((key.uid, &key.given[..]), (&key.id[..], key.outcome.is_some()))).collect();
        for key in &found.keys {
            let there = live.contains_key(&key.id[..]);
            hold!(there == key.outcome.is_none(), "a key does not say what its failure says: {key:?}");
        }
        for row in &found.live {
            if let Some(key) = &row.key {
                hold!(keys.get(&(row.uid, key)) == Some(&(&row.id, false)), "a failure without its key: {row:?}");
            }
        }
        for (known, submission) in self.known.iter().zip(self.submissions) {
            if let (Some((id, _)), Some(key)) = (&known.recorded, &submission.key) {
                let kept = keys.get(&(submission.uid, key));
                let right = kept.is_some_and(|(failure, left)| failure == id && (!known.gone || *left));
                hold!(right, "key {key} of {id} is {kept:?}: a repeat would be taken for a new one");
            }
        }
        Ok(())
    }

    fn check_history(&self, found: &Contents, live: &BTreeMap<usize, &Live>) -> Result<(), String> {
        let mut tries: HashMap<&str, usize> = HashMap::new();
        found.tries.iter().for_each(|(failure, _)| *tries.entry(failure).or_default() += 1);
        for (n, known) in self.known.iter().enumerate() {
            let id = live.get(&n).map(|row| &row.id).or(known.recorded.as_ref().map(|(id, _)| id));
            let kept = id.and_then(|id| tries.get(&id[..])).copied().unwrap_or(0);
            let enough = known.settled <= kept || self.was_full;
            hold!(enough && kept <= known.ended, "submission {n} has {kept} tries in its history: {known:?}");
        }
        Ok(())
    }

    /// Checks that the oldest failure of each order is its head, and no other.
    fn check_heads(&self, found: &Contents) -> Result<(), String> {
        let mut orders = BTreeSet::new();
        for row in &found.live {
            let order = self.submissions[self.by_payload[&row.payload[..]]].order();
            hold!(orders.insert(order) == row.head, "order: the wrong one is head of {order:?}: {row:?}");
        }
        Ok(())
    }

    fn check_persons(&self, found: &Contents) -> Result<(), String> {
        let kept = |reason: &str| found.audit.iter().any(|line| line.ends_with(reason));
        if let Some(reason) = self.done.iter().find(|reason| !kept(reason)) {
            return Err(format!("a person's deed is not in the audit: {reason}"));
        }
        let known = |line: &str| self.asked.iter().any(|reason| line.ends_with(*reason));
        if let Some(line) = found.audit.iter().find(|line| !known(line)) {
            return Err(format!(
                "refused means absent: the audit holds what was not asked for, or was refused: {line}"
            ));
        }
        hold!(self.paused.is_none_or(|paused| paused == found.paused), "paused is {}", found.paused);
        Ok(())
    }
}

/// Keyed submissions that were acknowledged: their lines, users, ids.
impl<'a> Promises<'a> {
    pub(crate) fn repeatable(&self) -> impl Iterator<Item = (&'a Submission, &str)> {
        let both = self.submissions.iter().zip(&self.known);
        both.filter_map(|(submission, known)| {
            let (id, _) = known.recorded.as_ref().filter(|_| submission.key.is_some())?;
            Some((submission, &id[..]))
        })
    }
}

fn check_live(n: usize, known: &Known, row: &Live) -> Result<(), String> {
    hold!(known.submitted, "refused means absent: submission {n} was not handed over yet: {row:?}");
    hold!(!known.refused, "refused means absent: submission {n} was refused, and is there: {row:?}");
    hold!(!known.gone, "submission {n} is there again after its leaving was committed: {row:?}");
    if let Some((id, seq)) = &known.recorded {
        hold!((id, seq) == (&row.id, &row.seq), "durability: submission {n} was {id} {seq} and is {row:?}");
    }
    let within = known.settled <= row.attempts && row.attempts <= known.ended;
    hold!(within, "submission {n} was tried {} times, {} of them settled: {row:?}", known.ended, known.settled);
    hold!(!known.held || row.status == "held", "submission {n} was held: {row:?}");
    Ok(())
}

//! What the model holds against what is seen: a request that goes out, and what the file says.

use super::{CONCURRENCY, Deed, Known, Model};
use crate::table::{Row, Table};
use crate::upstream::{Upstream, body, header};
use resyncd::agent::Dispatch;

impl Model {
    /// A failure goes out (I3, I4, and the gates).
    pub(crate) fn sends(&mut self, dispatch: &Dispatch, now: i64) {
        let seq = dispatch.seq.0;
        let Some(known) = self.known.get_mut(&seq) else { panic!("I1: {seq} is sent, and nobody was told of it") };
        promise!(!known.left, "I1", "{seq} is sent after it has left");
        promise!(!known.critical, "I5", "{seq} needs a person and is sent all the same");
        promise!(!known.held, "I5", "{seq} is held and is sent all the same");
        let older = self.orders[&known.order].first().copied();
        promise!(older == Some(seq), "I3", "{seq} is sent before {older:?} of {} has left", known.order);
        promise!(self.held_ready.remove(&seq) == dispatch.ahead, "I3", "{seq} is sent out of its turn");
        promise!(self.in_flight.insert(seq), "I3", "{seq} is sent twice at once");
        let ended = self.round.iter().filter(|deed| matches!(deed, Deed::Outcome { .. })).count();
        let under_way = self.in_flight.len() - ended;
        promise!(under_way <= CONCURRENCY, "gate", "{seq} is sent, and {under_way} are under way");
        // Only a canary goes before its step ends, and that goes alone.
        let alone = self.in_flight.len() == 1;
        let early = known.not_before - now;
        promise!(early <= 0 || alone, "I5", "{seq} is sent {early} ms before its step ends");
        promise!(!self.paused, "gate", "{seq} is sent though a person has paused the upstream");
        // While it is offline one at a time looks whether it still is.
        promise!(!self.offline.0 || alone, "gate", "{seq} is sent beside others while the upstream is offline");
        promise!(now >= self.floor.0, "gate", "{seq} is sent {} ms before the Retry-After ends", self.floor.0 - now);
        let key = known.key.as_ref().unwrap_or(&known.id);
        promise!(header(dispatch, "Idempotency-Key") == *key, "I4", "{seq} goes out under another key than {key}");
        promise!(header(dispatch, "Resync-Id") == known.id, "I4", "{seq} goes out under another id");
        let attempt = (known.attempts + 1).to_string();
        promise!(header(dispatch, "Resync-Attempt") == attempt, "I4", "try {attempt} of {seq} has another number");
        let mut request = dispatch.request.clone();
        request.headers.retain(|(name, _)| name != "Resync-Attempt");
        let body = body(&request);
        let whole = format!("\"payload\":{},", known.raw);
        promise!(body.contains(&whole), "I4", "{seq} goes out as {body} without {whole}");
        match &known.request {
            None => known.request = Some(request),
            Some(first) => promise!(*first == request, "I4", "{seq} went out as {first:?} and now as {request:?}"),
        }
        self.sent += 1;
    }

    /// What the file says of one failure.
    pub(super) fn compare(&self, seq: i64, table: &Table) {
        self.compare_row(seq, table.row(seq).as_ref(), table.attempts(&self.known[&seq].id));
    }

    fn compare_row(&self, seq: i64, row: Option<&Row>, (tries, counted): (u32, u32)) {
        let known = &self.known[&seq];
        let Some(row) = row else {
            promise!(known.left, "I1", "{seq} ({}) is not in the table and was not accepted", known.id);
            return;
        };
        promise!(!known.left, "I1", "{seq} was accepted, and is in the table");
        let status = if known.critical { "critical" } else { "pending" };
        let status = if known.held { "held" } else { status };
        promise!(row.id == known.id, "I1", "{seq} is {}, it was {}", row.id, known.id);
        promise!(row.retry_count == known.retry_count, "I5", "{seq} has counted {}, not {known:?}", row.retry_count);
        promise!(counted == known.counted, "I5", "{seq} has {counted} counted attempts, not {known:?}");
        promise!(row.retry_count <= counted, "I5", "{seq} has counted more than was counted: {row:?}");
        promise!(row.status == status, "I5", "{seq} is {}, not {status}: {known:?}", row.status);
        promise!(row.attempts == tries && tries == known.attempts, "I5", "{seq} was tried {tries} times: {row:?}");
    }

    /// The whole file against the whole model.
    pub(crate) fn compare_all(&self, table: &Table) {
        let wrong = table.wrong_heads();
        promise!(wrong.is_empty(), "I3", "not one head, the oldest: {wrong:?}");
        let (rows, tries) = (table.rows(), table.all_attempts());
        promise!(table.live() == rows.len(), "I1", "the agent counts {} live, there are {}", table.live(), rows.len());
        if let Some(row) = rows.iter().find(|row| self.known.get(&row.seq).is_none_or(|known| known.left)) {
            panic!("I2: nobody was told of {row:?}, or it has left");
        }
        for (seq, _) in self.live().filter(|(seq, _)| !self.in_flight.contains(seq)) {
            let row = rows.binary_search_by_key(seq, |row| row.seq).ok().map(|at| &rows[at]);
            self.compare_row(*seq, row, tries.get(&self.known[seq].id).copied().unwrap_or_default());
        }
        let live = self.live().count();
        promise!(rows.len() == live, "I1", "{} failures are in the table, not {live}", rows.len());
    }

    /// After days with a good upstream (I6): what remains is critical, or behind a critical one; or it
    /// is poisoned, and the upstream has accepted nothing since that would show it.
    pub(crate) fn all_done(&self, upstream: &Upstream) {
        for (order, seqs) in self.orders.iter().filter(|(_, seqs)| !seqs.is_empty()) {
            let head = &self.known[seqs.first().expect("one")];
            let right = head.critical || head.held || upstream.is_poisoned(&head.entity_id);
            promise!(right, "I6", "nothing stops {order}, and it was not delivered: {seqs:?} {head:?}");
        }
    }

    /// Is every head either critical or poisoned, and one at least poisoned?
    pub(crate) fn only_needs_persons(&self, upstream: &Upstream) -> bool {
        let heads = || self.orders.values().filter_map(|seqs| seqs.first()).map(|seq| &self.known[seq]);
        let poisoned = |head: &&Known| upstream.is_poisoned(&head.entity_id);
        heads().any(|head| poisoned(&head)) && heads().all(|head| head.critical || head.held || poisoned(&head))
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

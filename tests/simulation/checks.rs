//! Compares the model with each request that is sent and with the contents of the file.

use super::{BulkAction, CONCURRENCY, Known, Model};
use crate::table::{Row, Table};
use crate::upstream::{Upstream, body, header};
use resyncd::agent::Dispatch;

impl Model {
    /// Checks a dispatched failure: its order, its key, and the gates.
    pub(crate) fn sends(&mut self, dispatch: &Dispatch, now: i64) {
        let seq = dispatch.seq.0;
        let Some(known) = self.known.get_mut(&seq) else {
            panic!("durability: {seq} is sent, and no client got a reply for it")
        };
        promise!(!known.left, "durability", "{seq} is sent after it has left");
        promise!(!known.critical, "budget", "{seq} needs a person and is sent anyway");
        promise!(!known.held, "budget", "{seq} is held and is sent anyway");
        let sequence = known.order.clone();
        let missing = self.missing_before(&sequence, seq);
        promise!(missing.is_none(), "order", "{seq} is sent, and {missing:?} of its order is not back yet");
        let known = self.known.get_mut(&seq).expect("known");
        let oldest = self.orders[&known.order].first().copied();
        promise!(oldest == Some(seq), "order", "{seq} is sent before {oldest:?} of {} has left", known.order);
        promise!(self.held_ready.remove(&seq) == dispatch.ahead, "order", "{seq} is sent out of its turn");
        promise!(self.in_flight.insert(seq), "order", "{seq} is sent twice at once");
        let ended = self.round.iter().filter(|deed| matches!(deed, BulkAction::Outcome { .. })).count();
        let under_way = self.in_flight.len() - ended;
        promise!(under_way <= CONCURRENCY, "gate", "{seq} is sent, and {under_way} are under way");
        // Only a canary is sent before its backoff ends, and only while nothing else is in flight.
        let alone = self.in_flight.len() == 1;
        let early = known.not_before - now;
        promise!(early <= 0 || alone, "budget", "{seq} is sent {early} ms before its step ends");
        promise!(!self.paused, "gate", "{seq} is sent though a person has paused the upstream");
        // While the upstream is offline, one request at a time tests whether it still is.
        promise!(!self.offline.0 || alone, "gate", "{seq} is sent beside others while the upstream is offline");
        promise!(now >= self.floor.0, "gate", "{seq} is sent {} ms before the Retry-After ends", self.floor.0 - now);
        let key = known.key.as_ref().unwrap_or(&known.id);
        promise!(header(dispatch, "Idempotency-Key") == *key, "one key", "{seq} is sent under another key than {key}");
        promise!(header(dispatch, "Resync-Id") == known.id, "one key", "{seq} is sent under another id");
        let attempt = (known.attempts + 1).to_string();
        promise!(header(dispatch, "Resync-Attempt") == attempt, "one key", "try {attempt} of {seq} has another number");
        let mut request = dispatch.request.clone();
        request.headers.retain(|(name, _)| name != "Resync-Attempt");
        let body = body(&request);
        let whole = format!("\"payload\":{},", known.raw);
        promise!(body.contains(&whole), "one key", "{seq} is sent as {body} without {whole}");
        match &known.request {
            None => known.request = Some(request),
            Some(first) => promise!(*first == request, "one key", "{seq} was sent as {first:?} and now as {request:?}"),
        }
        self.sent += 1;
    }

    /// Compares one failure with its row.
    pub(super) fn compare(&self, seq: i64, table: &Table) {
        self.compare_row(seq, table.row(seq).as_ref(), table.attempts(&self.known[&seq].id));
    }

    fn compare_row(&self, seq: i64, row: Option<&Row>, (tries, counted): (u32, u32)) {
        let known = &self.known[&seq];
        let Some(row) = row else {
            promise!(known.left, "durability", "{seq} ({}) is not in the table and was not accepted", known.id);
            return;
        };
        promise!(!known.left, "durability", "{seq} was accepted, and is in the table");
        let status = if known.critical { "critical" } else { "pending" };
        let status = if known.held { "held" } else { status };
        promise!(row.id == known.id, "durability", "{seq} is {}, it was {}", row.id, known.id);
        promise!(
            row.retry_count == known.retry_count,
            "budget",
            "{seq} has counted {}, not {known:?}",
            row.retry_count
        );
        let same = |found: u32, right: u32| found == right || (self.history_may_be_gone && found < right);
        promise!(same(counted, known.counted), "budget", "{seq} has {counted} counted attempts, not {known:?}");
        let is_told = row.retry_count <= counted || self.history_may_be_gone;
        promise!(is_told, "budget", "{seq} has counted more than was counted: {row:?}");
        promise!(row.status == status, "budget", "{seq} is {}, not {status}: {known:?}", row.status);
        let right = row.attempts == known.attempts && same(tries, known.attempts);
        promise!(right, "budget", "{seq} was tried {tries} times: {row:?}");
    }

    /// Compares the whole file with the whole model.
    pub(crate) fn compare_all(&self, table: &Table) {
        let wrong = table.wrong_heads();
        promise!(wrong.is_empty(), "order", "not one head, the oldest: {wrong:?}");
        let (rows, tries) = (table.rows(), table.all_attempts());
        promise!(
            table.live() == rows.len(),
            "durability",
            "the agent counts {} live, there are {}",
            table.live(),
            rows.len()
        );
        if let Some(row) = rows.iter().find(|row| self.known.get(&row.seq).is_none_or(|known| known.left)) {
            panic!("refused means absent: no client got a reply for {row:?}, or it was removed");
        }
        for (seq, _) in self.live().filter(|(seq, _)| !self.in_flight.contains(seq)) {
            let row = rows.binary_search_by_key(seq, |row| row.seq).ok().map(|at| &rows[at]);
            self.compare_row(*seq, row, tries.get(&self.known[seq].id).copied().unwrap_or_default());
        }
        let live = self.live().count();
        promise!(rows.len() == live, "durability", "{} failures are in the table, not {live}", rows.len());
    }

    /// After days with a good upstream, every remaining head is critical, or it is poisoned and the
    /// upstream has accepted nothing since that would prove it.
    pub(crate) fn all_done(&self, upstream: &Upstream) {
        for (order, seqs) in self.orders.iter().filter(|(_, seqs)| !seqs.is_empty()) {
            let head = &self.known[seqs.first().expect("one")];
            let right = head.critical || head.held || upstream.is_poisoned(&head.entity_id);
            promise!(right, "progress", "nothing stops {order}, and it was not delivered: {seqs:?} {head:?}");
        }
    }

    /// Returns whether every head is critical, held or poisoned, and at least one is poisoned.
    pub(crate) fn only_needs_persons(&self, upstream: &Upstream) -> bool {
        let heads = || self.orders.values().filter_map(|seqs| seqs.first()).map(|seq| &self.known[seq]);
        let poisoned = |head: &&Known| upstream.is_poisoned(&head.entity_id);
        heads().any(|head| poisoned(&head)) && heads().all(|head| head.critical || head.held || poisoned(&head))
    }

    /// After all budgets are reset and more days pass, only entities that the upstream rejects remain.
    pub(crate) fn only_poisoned_is_left(&self, upstream: &Upstream) {
        for (order, seqs) in self.orders.iter().filter(|(_, seqs)| !seqs.is_empty()) {
            let head = &self.known[seqs.first().expect("one")];
            let poisoned = upstream.is_poisoned(&head.entity_id);
            promise!(poisoned, "progress", "{order} was not delivered, though the upstream takes it: {head:?}");
        }
    }
}

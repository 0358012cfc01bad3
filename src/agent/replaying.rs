//! Brings back delivered failures, because the upstream has lost them: it restored a backup.
//!
//! A failure gets the id, key and number that it had, and its attempts are counted on. The upstream sees the same key as
//! before, so it recognises a request that it has not lost. Numbers are the order of delivery, so a replayed failure is
//! sent before all failures of its order key that were recorded after it. It is unknown whether the upstream still has the
//! request, so the failure is treated like one whose last attempt was unsure: a route with `on_unsure = "verify"` asks
//! first, a route with `on_unsure = "hold"` holds it.
//!
//! - **Nothing newer in between.** The failures of an order key, or of an upstream with strict order, are a sequence. When a
//!   request brings back only a part of one, its last failure is held until the next part is back. So nothing that was
//!   recorded later is sent before the rest, however long that takes, and after a crash as well. What is before the held
//!   failure is sent meanwhile, which makes room for the rest. If the rest never comes, an operator releases it.
//!
//!   ```text
//!   1 2 3 (4)                       more of the sequence follows: 4 is held, 1 to 3 are sent
//!         4 5 6                     in one transaction: 5 and 6 are back, 4 is released
//!   ```
//!
//! - **Idempotent.** A failure that is live, by its id or its key, is left unchanged.
//! - **Only the last delivery counts.** A failure that was replayed and then discarded or cleaned up is not replayed again.
//!   Nor is one whose last delivery could not be archived, because an older line may have other content.
//! - **Not beside a later failure.** While a later failure of the same order key is being sent, the result is `later`: two
//!   requests of one order key are never in flight at once, and a request cannot be taken back.
//! - **Numbers of another database.** A database that replaces another one continues its numbers, so they are the order here
//!   too, unless the times of recording contradict that. If a number is taken or contradicted, the failure gets a new one,
//!   behind all others, and the reply says so.

use super::recording::digest;
use super::{Agent, Peer, Pending, actor, stored};
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::moment::Moment;
use crate::record::{Failure, OrderKey, Status};
use crate::store::StoreError;
use crate::store::importing::AWAITS_REPLAY;
use crate::wire::fields::{Code, Rejection};
use crate::wire::import::Imported;
use crate::wire::replay::{ImportOutcome, Replay, ReplayReply, Row, Why};
use crate::wire::reply;
use serde_json::value::RawValue;

/// Result for one row.
enum Back {
    /// It is live again; `behind`: under a new number, behind all others.
    Now { seq: Option<Seq>, status: Option<Status>, behind: bool },
    /// It was live already, by its id.
    Live(Box<Failure>),
    /// Another failure has its key and is live.
    LiveByKey(Seq),
    /// It cannot come back.
    Refused(Rejection),
    /// It cannot come back now, and nothing behind it may come before it.
    Later(Rejection),
}

/// State of the key that the failure was recorded under.
enum KeyState {
    /// There is no key, or it is no longer known.
    None,
    /// It is kept for this failure.
    Own,
    /// It is no longer kept.
    New,
    /// Another failure was recorded under it since, and has left the table.
    Free,
}

impl Agent {
    pub(super) fn replay(
        &mut self,
        now: Moment,
        peer: &Peer,
        replay: &Replay,
        reference: Option<&RawValue>,
    ) -> Pending {
        let done = if replay.dry_run {
            self.sequence(now, peer, replay).map_err(|error| self.unread(now, &error))
        } else {
            match self.why_nothing_changes().or_else(|| self.refusing()) {
                Some(refusal) => Err(refusal),
                None => self.write(|agent| agent.sequence(now, peer, replay)),
            }
        };
        match done {
            Ok(answer) => stored(reply::ok(&answer, reference), reference),
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// Brings back the rows in their order, up to the first one that has to wait.
    fn sequence(&mut self, now: Moment, peer: &Peer, replay: &Replay) -> Result<ReplayReply, StoreError> {
        let mut rows = Vec::with_capacity(replay.rows.len());
        let (mut last, mut waits, mut held) = (None, None, Vec::new());
        for row in &replay.rows {
            let (row, back) = match (row, &waits) {
                (Ok(row), None) => (Some(row), self.back(now, peer, replay, row)?),
                (Err(wrong), None) => (None, Back::Refused(wrong.clone())),
                (row, Some(why)) => (row.as_ref().ok(), Back::Later(Rejection::clone(why))),
            };
            match &back {
                Back::Now { seq, .. } => last = seq.or(last),
                Back::Live(failure) => {
                    last = Some(failure.seq);
                    held.extend(awaits(failure).then_some(failure.seq));
                }
                Back::Later(why) if waits.is_none() => waits = Some(why.clone()),
                Back::LiveByKey(_) | Back::Refused(_) | Back::Later(_) => {}
            }
            rows.push(told(row, back));
        }
        if replay.dry_run {
            return Ok(ReplayReply { rows, held: None });
        }
        let is_whole = !replay.more && waits.is_none();
        let before = replay.after.as_deref().map(|id| self.store.by_id(id)).transpose()?.flatten();
        held.extend(before.filter(awaits).map(|before| before.seq));
        let holds = if is_whole { None } else { self.hold_last(last)? };
        for row in rows.iter_mut().filter(|row| row.seq.is_some() && row.seq == holds.as_ref().map(|(seq, _)| *seq)) {
            row.status = Some(Status::Held.as_str());
        }
        // Without any progress the failure that was held before goes on holding the sequence.
        if is_whole || last.is_some() {
            for seq in held.into_iter().filter(|seq| Some(*seq) != holds.as_ref().map(|(seq, _)| *seq)) {
                self.store.replay_is_whole(seq, now)?;
            }
            self.reset_strict_head();
            return Ok(ReplayReply { rows, held: holds.map(|(_, id)| id) });
        }
        Ok(ReplayReply { rows, held: replay.after.clone() })
    }

    /// Holds the last failure that is back of a sequence until the rest is; one that is being sent, or that is not to be
    /// sent anyway, is not changed.
    fn hold_last(&mut self, last: Option<Seq>) -> Result<Option<(Seq, String)>, StoreError> {
        let Some(seq) = last.filter(|seq| !self.in_flight.contains_key(seq)) else { return Ok(None) };
        self.store.await_replay(seq)?;
        let failure = self.store.light_by_seq(seq)?.filter(awaits);
        Ok(failure.map(|failure| (seq, failure.id.as_str().to_owned())))
    }

    fn back(&mut self, now: Moment, peer: &Peer, replay: &Replay, line: &Row) -> Result<Back, StoreError> {
        let row = &line.row;
        if let Some(live) = self.store.by_id(row.id.as_str())? {
            return Ok(Back::Live(Box::new(live)));
        }
        if let Some(rejection) = self.outlived(line)? {
            return Ok(Back::Refused(rejection));
        }
        let uid = row.source.0.unwrap_or(peer.uid);
        let key = match self.recorded_under(uid, line)? {
            Ok(key) => key,
            Err(back) => return Ok(back),
        };
        if let Some(rejection) = self.sent_as_another(row, &digest(&row.new))? {
            return Ok(Back::Refused(rejection));
        }
        let order = order_of(row);
        let number = self.number_of(line, &order)?;
        if let (Some(number), false) = (number, self.goes_freely(row))
            && let Some(seq) = self.sent_behind(&order, number)
        {
            let message = format!(
                "a later failure of the same order, no. {seq}, is being sent; send this one again when that has ended"
            );
            return Ok(Back::Later(Rejection::new(Code::Busy, message)));
        }
        if replay.dry_run {
            return Ok(Back::Now { seq: number, status: None, behind: number.is_none() });
        }
        if let Some(rejection) = self.check_quota()? {
            return Ok(Back::Later(rejection));
        }
        let (seq, status, _) = self.bring(now, peer, uid, row, (number, false))?;
        self.store.give_attempts(seq, line.attempts, line.recorded_key.as_deref())?;
        if let Some(given) = line.recorded_key.as_deref().or(row.new.idempotency_key.as_deref()) {
            let digest = || digest(&row.new);
            match key {
                KeyState::None => {}
                KeyState::Own => self.store.key_lives_again(uid, given, &row.id)?,
                KeyState::New => self.store.keep_key(uid, given, &row.id, &digest())?,
                KeyState::Free => self.store.take_key_back(uid, given, &row.id, &digest())?,
            }
        }
        self.go_behind(&order, seq)?;
        self.reset_strict_head();
        self.watch.imported();
        let by = actor(peer, &replay.by);
        self.store.audit(now.wall, &by, "replay", Some(&row.id), replay.by.reason.as_deref())?;
        log::info!("event=replayed id={} seq={seq}", row.id);
        Ok(Back::Now { seq: Some(seq), status: Some(status), behind: number.is_none() })
    }

    /// Why this line does not describe the end of the failure.
    fn outlived(&self, replay: &Row) -> Result<Option<Rejection>, StoreError> {
        let id = &replay.row.id;
        let message = if self.store.is_given_up(id)? {
            "it came back after this delivery and was given up; import brings it back from the archive"
        } else if self.store.attempts_of(id)? > replay.attempts {
            "it was attempted again after this delivery, and its last delivery is not in the archive"
        } else {
            return Ok(None);
        };
        Ok(Some(Rejection::new(Code::Conflict, message)))
    }

    /// State of its key; or why it cannot be replayed.
    fn recorded_under(&self, uid: u32, replay: &Row) -> Result<Result<KeyState, Back>, StoreError> {
        let row = &replay.row;
        let edited = replay.recorded_key.as_deref();
        let Some(key) = edited.or(row.new.idempotency_key.as_deref()) else { return Ok(Ok(KeyState::None)) };
        let Some(seen) = self.store.key_seen(uid, key)? else {
            // The content that was recorded is not known after an edit.
            return Ok(Ok(if edited.is_some() { KeyState::None } else { KeyState::New }));
        };
        if seen.failure == row.id {
            return Ok(Ok(KeyState::Own));
        }
        if edited.is_some() {
            return Ok(Ok(KeyState::None));
        }
        if let (None, Some(live)) = (&seen.outcome, self.store.by_id(seen.failure.as_str())?) {
            return Ok(Err(Back::LiveByKey(live.seq)));
        }
        if seen.content != digest(&row.new) {
            let message = format!("its idempotency_key was used here for other content, as failure {}", seen.failure);
            let rejection = Rejection::new(Code::Conflict, message).about("idempotency_key");
            return Ok(Err(Back::Refused(rejection)));
        }
        Ok(Ok(KeyState::Free))
    }

    /// The number that it had, if that is its place here.
    fn number_of(&self, line: &Row, order: &OrderKey) -> Result<Option<Seq>, StoreError> {
        let seq = line.seq;
        if seq.0 > self.store.ledger().newest_seq() || self.store.light_by_seq(seq)?.is_some() {
            return Ok(None);
        }
        if line.instance.as_deref() == Some(self.store.instance()) {
            return Ok(Some(seq));
        }
        // The numbers of another database do not tell what was recorded here before this failure.
        let next = self.store.next_in_order(order, seq)?;
        let is_newer = |next: &Failure| line.row.created_at.is_none_or(|at| next.created_at >= at.sql());
        Ok(next.is_none_or(|next| is_newer(&next)).then_some(seq))
    }

    /// Does its upstream ignore the order?
    fn goes_freely(&self, row: &Imported) -> bool {
        let way = self.way(&row.new.entity_type, &row.new.action);
        let line = if let super::routing::Way::To(index) = way { self.upstreams.get(index) } else { None };
        line.is_some_and(|line| line.pace.ordering == Ordering::None)
    }

    /// A failure of this order key with a higher number that is in flight.
    fn sent_behind(&self, order: &OrderKey, number: Seq) -> Option<Seq> {
        let later = self.in_flight.range(Seq(number.0 + 1)..);
        later.map(|(seq, flight)| (seq, &flight.failure)).find(|(_, one)| one.order() == *order).map(|(seq, _)| *seq)
    }

    /// The failure that was first of its order key is no longer, if this one was recorded before it.
    fn go_behind(&mut self, order: &OrderKey, seq: Seq) -> Result<(), StoreError> {
        match self.store.next_in_order(order, seq)? {
            Some(next) if next.head && !self.is_free(&next) => self.store.step_back(next.seq),
            _ => Ok(()),
        }
    }
}

fn order_of(row: &Imported) -> OrderKey {
    match &row.new.order_key {
        Some(key) => OrderKey::Given(key.clone().into_owned()),
        None => OrderKey::Entity(row.new.entity_type.clone().into_owned(), row.new.entity_id.clone().into_owned()),
    }
}

/// Is it held until the rest of a replay is back?
fn awaits(failure: &Failure) -> bool {
    failure.status == Status::Held && failure.error_class.as_deref() == Some(AWAITS_REPLAY)
}

/// What the reply says of a row.
fn told(row: Option<&Row>, back: Back) -> ImportOutcome {
    let id = row.map(|row| row.row.id.as_str().to_owned());
    match back {
        Back::Now { seq, status, behind } => ImportOutcome {
            id,
            seq,
            status: status.map(Status::as_str),
            result: "replayed",
            behind: behind.then_some(true),
            error: None,
        },
        Back::Live(failure) => ImportOutcome { id, seq: Some(failure.seq), result: "live", ..ImportOutcome::default() },
        Back::LiveByKey(seq) => ImportOutcome { id, seq: Some(seq), result: "live", ..ImportOutcome::default() },
        Back::Refused(why) => {
            ImportOutcome { id, result: "refused", error: Some(Why::of(&why)), ..ImportOutcome::default() }
        }
        Back::Later(why) => {
            ImportOutcome { id, result: "later", error: Some(Why::of(&why)), ..ImportOutcome::default() }
        }
    }
}

//! Import of one failure from elsewhere: a dead terminal's export, an archive, the server-side table.
//!
//! It keeps its id and its key, so that an upstream that has seen an earlier attempt recognises it, and its counts and
//! times. It gets a number of its own, and an upstream by the local routes. Whether an earlier attempt has arrived is
//! unknown, so it is treated as if its last attempt were unsure.
//!
//! **Importing twice has no effect.** A failure that is live here by its id or its key, or whose last life here ended with
//! its delivery, is `present` and stays unchanged. One that was discarded or cleaned last is restored, even if it was
//! delivered in an earlier life: that is the archive's purpose. Its attempts are counted on. But a
//! line of our own archive without an audit row is *void*: the transaction that was to delete the failure was not
//! committed, and the line does not show what became of it later. It is refused unless the operator forces it.

use super::recording::{digest, key_taken};
use super::routing::{NO_ROUTE, Way};
use super::{Agent, Peer, Pending, actor, stored};
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment};
use crate::record::Status;
use crate::store::StoreError;
use crate::store::failures::InsertFields;
use crate::store::importing::Past;
use crate::store::keys::Digest;
use crate::wire::fields::{Code, Rejection};
use crate::wire::import::{Import, Imported};
use crate::wire::reply::{self, ImportReply};
use serde_json::value::RawValue;

/// The result for one row.
enum ImportOutcome {
    /// It was imported.
    In(Seq, Status),
    /// It is or was here; `None`: its number is no longer known.
    Present(Option<Seq>),
    /// It is finished at its origin.
    Finished,
    Refused(Rejection),
}

/// The state of the row's idempotency key.
#[derive(Clone, Copy)]
enum KeyState {
    /// The row has none.
    None,
    /// It is new here.
    New,
    /// The failure recorded under it was discarded or cleaned.
    Free,
}

impl Agent {
    pub(super) fn import(
        &mut self,
        now: Moment,
        peer: &Peer,
        import: &Import,
        reference: Option<&RawValue>,
    ) -> Pending {
        let done = match self.refusing().or_else(|| self.card_in(now, peer, &import.row.new)) {
            Some(rejection) => Err(rejection),
            None => self.write(|agent| agent.bring_in(now, peer, import)),
        };
        let (placed, result) = match done {
            Ok(ImportOutcome::In(seq, status)) => (Some((seq, Some(status))), "imported"),
            Ok(ImportOutcome::Present(seq)) => (seq.map(|seq| (seq, None)), "present"),
            Ok(ImportOutcome::Finished) => (None, "finished"),
            Ok(ImportOutcome::Refused(rejection)) => return stored(reply::error(&rejection, reference), reference),
            Err(rejection) => return Pending::Ready(reply::error(&rejection, reference)),
        };
        let was = import.row.finished.as_deref();
        let (seq, status) = (placed.map(|(seq, _)| seq), placed.and_then(|(_, status)| status).map(Status::as_str));
        let line = reply::ok(&ImportReply { id: import.row.id.as_str(), seq, status, result, was }, reference);
        stored(line, reference)
    }

    fn bring_in(&mut self, now: Moment, peer: &Peer, import: &Import) -> Result<ImportOutcome, StoreError> {
        let row = &import.row;
        if row.finished.is_some() {
            return Ok(ImportOutcome::Finished);
        }
        if let Some(live) = self.store.by_id(row.id.as_str())? {
            return Ok(ImportOutcome::Present(Some(live.seq)));
        }
        if let Some(seq) = self.store.seq_of_delivered(&row.id)? {
            return Ok(ImportOutcome::Present(Some(seq)));
        }
        let ours = row.terminal_id.as_ref() == Some(&self.terminal_id);
        if let (Some((how, at)), true, false) = (row.left, ours, import.force)
            && !self.store.has_removal_record(&row.id, how, at)?
        {
            let message = "this line of our own archive is void: the failure did not leave then, and may have been \
                delivered since; look at its history; to import it anyway: force";
            return Ok(ImportOutcome::Refused(Rejection::new(Code::Conflict, message)));
        }
        let uid = row.source.0.unwrap_or(peer.uid);
        let digest = digest(&row.new);
        let key = match self.key_of(uid, row, &digest)? {
            Ok(key) => key,
            Err(brought) => return Ok(brought),
        };
        if let Some(rejection) = self.sent_as_another(row, &digest)? {
            return Ok(ImportOutcome::Refused(rejection));
        }
        if let Some(rejection) = self.check_quota()? {
            return Ok(ImportOutcome::Refused(rejection));
        }
        let (seq, status) = self.place(now, peer, uid, import)?;
        match (&row.new.idempotency_key, key) {
            (Some(given), KeyState::New) => self.store.keep_key(uid, given, &row.id, &digest)?,
            (Some(given), KeyState::Free) => self.store.take_key_back(uid, given, &row.id, &digest)?,
            _ => {}
        }
        self.watch.imported();
        let by = actor(peer, &import.by);
        self.store.audit(now.wall, &by, "import", Some(&row.id), import.by.reason.as_deref())?;
        Ok(ImportOutcome::In(seq, status))
    }

    /// Checks whether the row may have its key here.
    fn key_of(&self, uid: u32, row: &Imported, digest: &Digest) -> Result<Result<KeyState, ImportOutcome>, StoreError> {
        let Some(key) = &row.new.idempotency_key else { return Ok(Ok(KeyState::None)) };
        let Some(seen) = self.store.key_seen(uid, key)? else { return Ok(Ok(KeyState::New)) };
        if seen.content != *digest {
            let message = format!("its idempotency_key was used here for other content, as failure {}", seen.failure);
            let rejection = Rejection::new(Code::Conflict, message).about("idempotency_key");
            return Ok(Err(ImportOutcome::Refused(rejection)));
        }
        Ok(match seen.outcome.as_deref() {
            // The key may be kept longer than the attempts, which have the failure's number.
            Some("delivered") => Err(ImportOutcome::Present(self.store.seq_from_history(&seen.failure)?)),
            Some(_) => Ok(KeyState::Free),
            None => match self.store.by_id(seen.failure.as_str())? {
                Some(live) => Err(ImportOutcome::Present(Some(live.seq))),
                None => Ok(KeyState::Free),
            },
        })
    }

    /// Why a failure that comes with its key, or whose id is its key, may not be sent under that. It may have arrived
    /// under it, so it cannot get another one.
    pub(super) fn sent_as_another(&self, row: &Imported, digest: &Digest) -> Result<Option<Rejection>, StoreError> {
        let (what, key) = match &row.new.idempotency_key {
            Some(key) => ("its idempotency_key", key.as_ref()),
            None => ("its id, which is its key,", row.id.as_str()),
        };
        let other = self.store.key_of_another(key, Some(digest), Some(&row.id))?;
        Ok(other.map(|other| key_taken(what, &other)))
    }

    fn place(&mut self, now: Moment, peer: &Peer, uid: u32, import: &Import) -> Result<(Seq, Status), StoreError> {
        let row = &import.row;
        let (seq, status, recorded_at) = self.bring(now, peer, uid, row, (None, import.keep_age))?;
        let earlier = self.store.attempts_of(&row.id)?;
        if earlier > 0 {
            self.store.give_attempts(seq, earlier, None)?;
        }
        self.watch.recorded(recorded_at, &row.new.entity_type, &row.new.entity_id);
        Ok((seq, status))
    }

    /// Gives a failure with a past its place: under this number, or the next one. Its age may count on. When it was
    /// recorded comes back too.
    pub(super) fn bring(
        &mut self,
        now: Moment,
        peer: &Peer,
        uid: u32,
        row: &Imported,
        (number, keep_age): (Option<Seq>, bool),
    ) -> Result<(Seq, Status, AgentTime), StoreError> {
        let way = self.way(&row.new.entity_type, &row.new.action);
        let used_up = row.retry_count >= self.config.retry.max_retries;
        let status = match (way, row.status) {
            (Way::NoRoute, _) => Status::Critical,
            (_, Some(status @ (Status::Critical | Status::Held))) => status,
            (_, None) if used_up => Status::Critical,
            _ if self.holds_unsure(&row.new.entity_type, &row.new.action) => Status::Held,
            _ => Status::Pending,
        };
        let is_due = status == Status::Pending;
        let line = match way {
            Way::To(index) => self.upstreams.get(index),
            Way::NoRoute | Way::NoUpstream => None,
        };
        let placed = InsertFields {
            id: &row.id,
            status,
            error_class: if way == Way::NoRoute { Some(NO_ROUTE) } else { row.error_class.as_deref() },
            unsure: true,
            free: line.is_some_and(|line| line.pace.ordering == Ordering::None),
            strict: line.is_some_and(|line| line.pace.ordering == Ordering::Strict),
            upstream: line.map(|line| line.config.name.as_str()),
            due_at: is_due.then_some(now.agent),
            next_retry_at: is_due.then_some(now.wall),
            source: (uid, row.source.1.unwrap_or(peer.pid)),
            terminal_id: row.terminal_id.as_deref().unwrap_or(&self.terminal_id),
            store_id: if row.terminal_id.is_some() { row.store_id.as_deref() } else { self.store_id.as_deref() },
            number,
        };
        let seq = self.store.insert(now, &row.new, &placed)?;
        self.counting.sampling.recorded(placed.upstream);
        let created_at = row.created_at.unwrap_or(now.wall);
        let age = now.wall.as_millis().saturating_sub(created_at.as_millis()).max(0);
        let recorded_at = AgentTime::from_millis(now.agent.as_millis().saturating_sub(age));
        self.store.set_history(
            seq,
            &Past {
                retry_count: row.retry_count,
                last_retry_at: row.last_retry_at,
                created_at,
                updated_at: row.updated_at.unwrap_or(now.wall),
                recorded_at,
                imported_at: (!keep_age).then_some(now.agent),
            },
        )?;
        Ok((seq, status, recorded_at))
    }
}

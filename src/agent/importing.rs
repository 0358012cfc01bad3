//! One failure that comes from elsewhere: a dead terminal's export, an archive, the server-side table.
//!
//! It keeps its id and its key, so whoever has seen a try of it before knows it again, and its counts
//! and times. It gets a number of its own, and an upstream by the routes that hold here. Nobody knows
//! whether a try of it has arrived, so it is treated like one whose last try was unsure.
//!
//! **Twice is once.** One that is live here by its id or its key, or was delivered from here, is
//! `present` and stays as it is. One that was discarded or cleaned comes back: that is what the archive
//! is for. But a line of our own archive that the audit knows nothing of is *void*: the transaction that
//! was to delete the failure failed, and what became of it later is not in that line. It is refused
//! unless the person insists.

use super::recording::digest;
use super::routing::{NO_ROUTE, Way};
use super::{Agent, Peer, Pending, actor};
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::moment::{AgentTime, Moment};
use crate::record::Status;
use crate::store::StoreError;
use crate::store::failures::Placement;
use crate::store::importing::Past;
use crate::store::keys::Digest;
use crate::wire::fields::{Code, Rejection};
use crate::wire::import::{Import, Imported};
use crate::wire::reply::{self, ImportReply};
use serde_json::value::RawValue;

/// What becomes of a row.
enum Brought {
    /// It is here now.
    In(Seq),
    /// It was here.
    Present(Seq),
    Refused(Rejection),
}

/// What is to be done with its key.
#[derive(Clone, Copy)]
enum KeyIs {
    /// It has none.
    None,
    /// It was not seen before.
    New,
    /// What was recorded under it has been discarded or cleaned.
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
        let (seq, result) = match done {
            Ok(Brought::In(seq)) => (seq, "imported"),
            Ok(Brought::Present(seq)) => (seq, "present"),
            Ok(Brought::Refused(rejection)) | Err(rejection) => {
                return Pending::Ready(reply::error(&rejection, reference));
            }
        };
        let line = reply::ok(&ImportReply { id: import.row.id.as_str(), seq, result }, reference);
        Pending::Stored { line, reference: reference.map(ToOwned::to_owned) }
    }

    fn bring_in(&mut self, now: Moment, peer: &Peer, import: &Import) -> Result<Brought, StoreError> {
        let row = &import.row;
        if let Some(live) = self.store.by_id(row.id.as_str())? {
            return Ok(Brought::Present(live.seq));
        }
        if let Some(seq) = self.store.seq_of_delivered(&row.id)? {
            return Ok(Brought::Present(seq));
        }
        let ours = row.terminal_id.as_ref() == Some(&self.terminal_id);
        if let (Some((how, at)), true, false) = (row.left, ours, import.force)
            && !self.store.left_so(&row.id, how, at)?
        {
            let message = "this line of our own archive is void: the failure did not leave then, and may have been \
                delivered since; look at its history, and take force to bring it back all the same";
            return Ok(Brought::Refused(Rejection::new(Code::Conflict, message)));
        }
        let uid = row.source.0.unwrap_or(peer.uid);
        let digest = digest(&row.new);
        let key = match self.key_of(uid, row, &digest)? {
            Ok(key) => key,
            Err(brought) => return Ok(brought),
        };
        if let Some(rejection) = self.lacks_quota()? {
            return Ok(Brought::Refused(rejection));
        }
        let seq = self.place(now, peer, uid, row)?;
        match (&row.new.idempotency_key, key) {
            (Some(given), KeyIs::New) => self.store.keep_key(uid, given, &row.id, &digest)?,
            (Some(given), KeyIs::Free) => self.store.take_key_back(uid, given, &row.id, &digest)?,
            _ => {}
        }
        self.watch.stir();
        let by = actor(peer, &import.by);
        self.store.audit(now.wall, &by, "import", Some(&row.id), import.by.reason.as_deref())?;
        Ok(Brought::In(seq))
    }

    /// May it have its key here?
    fn key_of(&self, uid: u32, row: &Imported, digest: &Digest) -> Result<Result<KeyIs, Brought>, StoreError> {
        let Some(key) = &row.new.idempotency_key else { return Ok(Ok(KeyIs::None)) };
        let Some(seen) = self.store.key_seen(uid, key)? else { return Ok(Ok(KeyIs::New)) };
        if seen.content != *digest {
            let message = format!("its idempotency_key was used here for other content, as failure {}", seen.failure);
            let rejection = Rejection::new(Code::Conflict, message).about("idempotency_key");
            return Ok(Err(Brought::Refused(rejection)));
        }
        let present = match seen.outcome.as_deref() {
            Some("delivered") => self.store.seq_of_gone(&seen.failure)?,
            Some(_) => None,
            None => self.store.by_id(seen.failure.as_str())?.map(|live| live.seq),
        };
        Ok(present.map_or(Ok(KeyIs::Free), |seq| Err(Brought::Present(seq))))
    }

    fn place(&mut self, now: Moment, peer: &Peer, uid: u32, row: &Imported) -> Result<Seq, StoreError> {
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
            Way::To(index) => self.lines.get(index),
            Way::NoRoute | Way::NoUpstream => None,
        };
        let placed = Placement {
            id: &row.id,
            status,
            error_class: if way == Way::NoRoute { Some(NO_ROUTE) } else { row.error_class.as_deref() },
            unsure: true,
            free: line.is_some_and(|line| line.pace.ordering == Ordering::None),
            upstream: line.map(|line| line.config.name.as_str()),
            due_at: is_due.then_some(now.agent),
            next_retry_at: is_due.then_some(now.wall),
            source: (uid, row.source.1.unwrap_or(peer.pid)),
            terminal_id: row.terminal_id.as_deref().unwrap_or(&self.terminal_id),
            store_id: if row.terminal_id.is_some() { row.store_id.as_deref() } else { self.store_id.as_deref() },
        };
        let seq = self.store.insert(now, &row.new, &placed)?;
        self.counting.sampling.recorded(placed.upstream);
        let created_at = row.created_at.unwrap_or(now.wall);
        let age = now.wall.as_millis().saturating_sub(created_at.as_millis()).max(0);
        self.store.give_past(
            seq,
            &Past {
                retry_count: row.retry_count,
                last_retry_at: row.last_retry_at,
                created_at,
                updated_at: row.updated_at.unwrap_or(now.wall),
                recorded_at: AgentTime::from_millis(now.agent.as_millis().saturating_sub(age)),
            },
        )?;
        Ok(seq)
    }
}

//! One record: from the request to its place in the table.
//!
//! Everything that can refuse it is asked before the first write, because an error in the middle
//! would take the whole round with it.

use super::routing::{NO_ROUTE, Way};
use super::{Agent, Peer, Pending};
use crate::config::route::{self, OnUnsure};
use crate::config::upstream::Ordering;
use crate::limits::{Limits, MAX_LOG, bytes};
use crate::moment::Moment;
use crate::policy::backoff::FirstWait;
use crate::record::{NewFailure, Status};
use crate::store::failures::Placement;
use crate::store::keys::{self, Digest};
use crate::store::{Room, StoreError};
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply::{self, Recorded};
use serde_json::value::RawValue;

/// What became of a record.
enum Taken {
    New(Recorded),
    Known(Recorded),
    Refused(Rejection),
}

impl Agent {
    pub(super) fn record(
        &mut self,
        now: Moment,
        peer: &Peer,
        new: &NewFailure,
        reference: Option<&RawValue>,
    ) -> Pending {
        let done = match self.refusing().or_else(|| self.card_in(now, peer, new)) {
            Some(rejection) => Err(rejection),
            None => self.write(|agent| agent.take(now, peer, new)),
        };
        match done {
            Ok(Taken::New(recorded) | Taken::Known(recorded)) => {
                self.counting.acknowledging += 1;
                Pending::Stored { line: reply::ok(&recorded, reference), reference: reference.map(ToOwned::to_owned) }
            }
            Ok(Taken::Refused(rejection)) | Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// What refuses every record.
    pub(super) fn refusing(&self) -> Option<Rejection> {
        if self.stopping {
            return Some(Rejection::new(Code::ShuttingDown, "the agent is stopping; send it again when it is back"));
        }
        let least = self.limits.min_free_disk;
        if let Some(free) = self.disk_free.filter(|free| *free < least) {
            let message = format!("{} are free on the disk, limits.min_free_disk is {}", bytes(free), bytes(least));
            return Some(Rejection::new(Code::DiskFull, message));
        }
        if self.settle.is_full() || self.store.lacks_room() {
            let message = "the disk is full; what room there is belongs to outcomes";
            return Some(Rejection::new(Code::DiskFull, message));
        }
        if self.log_size >= MAX_LOG {
            let size = self.log_size;
            let message =
                format!("the database's log has {}: another program reads without an end; end it", bytes(size));
            return Some(Rejection::new(Code::DiskFull, message));
        }
        self.settle.refusal()
    }

    fn take(&mut self, now: Moment, peer: &Peer, new: &NewFailure) -> Result<Taken, StoreError> {
        let digest = new.idempotency_key.is_some().then(|| digest(new));
        if let (Some(key), Some(digest)) = (&new.idempotency_key, &digest)
            && let Some(known) = self.known(peer.uid, key, digest)?
        {
            return Ok(known);
        }
        if let Some(rejection) = self.lacks_quota()? {
            return Ok(Taken::Refused(rejection));
        }
        let recorded = self.store_new(now, peer, new, digest.as_ref())?;
        self.counting.counters.recorded(&new.entity_type);
        Ok(Taken::New(recorded))
    }

    /// What the quota says to one more failure.
    pub(super) fn lacks_quota(&mut self) -> Result<Option<Rejection>, StoreError> {
        let room = match self.round.room {
            Some(Room::Enough) if self.store.ledger().live < self.limits.max_failures => Room::Enough,
            _ => self.store.room()?,
        };
        self.round.room = Some(room);
        Ok((room != Room::Enough).then(|| no_room(room, &self.limits)))
    }

    /// The same key again: the first one's answer, or a conflict.
    fn known(&self, uid: u32, key: &str, digest: &Digest) -> Result<Option<Taken>, StoreError> {
        let Some(seen) = self.store.key_seen(uid, key)? else { return Ok(None) };
        if seen.content != *digest {
            let message = format!("this idempotency_key was used for other content, as failure {}", seen.failure);
            let rejection = Rejection::new(Code::Conflict, message).about("idempotency_key");
            return Ok(Some(Taken::Refused(rejection)));
        }
        let (seq, status) = match seen.outcome {
            Some(outcome) => (self.store.seq_of_gone(&seen.failure)?, outcome),
            None => match self.store.by_id(seen.failure.as_str())? {
                Some(live) => (Some(live.seq), live.status.as_str().to_owned()),
                // A foreign hand deleted the row; nothing is kept that could be acknowledged.
                None => {
                    return Ok(Some(Taken::Refused(Rejection::new(
                        Code::Conflict,
                        format!(
                            "failure {} under this key has gone without the agent's doing; use a new key",
                            seen.failure
                        ),
                    ))));
                }
            },
        };
        let id = seen.failure.as_str().to_owned();
        Ok(Some(Taken::Known(Recorded { id, seq: seq.map(|seq| seq.0), status, duplicate: true })))
    }

    fn store_new(
        &mut self,
        now: Moment,
        peer: &Peer,
        new: &NewFailure,
        digest: Option<&Digest>,
    ) -> Result<Recorded, StoreError> {
        let id = self.ids.next(now.wall);
        let (mut due_at, mut next_retry_at) = match self.config.retry.first(new.own_try, &mut self.random) {
            FirstWait::Now => (Some(now.agent), Some(now.wall)),
            FirstWait::Step(wait) => (Some(now.agent.after(wait)), Some(now.wall.after(wait))),
            FirstWait::Line => (None, None),
        };
        let way = self.way(&new.entity_type, &new.action);
        let unsure = new.tried && new.http_status.unwrap_or(0) == 0;
        let status = match way {
            Way::NoRoute => Status::Critical,
            Way::To(_) if unsure && self.holds_unsure(&new.entity_type, &new.action) => Status::Held,
            Way::To(_) | Way::NoUpstream => Status::Pending,
        };
        if status != Status::Pending {
            (due_at, next_retry_at) = (None, None);
        }
        let line = match way {
            Way::To(index) => self.lines.get_mut(index),
            Way::NoRoute | Way::NoUpstream => None,
        };
        let placed = Placement {
            id: &id,
            status,
            error_class: (way == Way::NoRoute).then_some(NO_ROUTE),
            unsure,
            free: line.as_ref().is_some_and(|line| line.pace.ordering == Ordering::None),
            upstream: line.as_ref().map(|line| line.config.name.as_str()),
            due_at,
            next_retry_at,
            source: (peer.uid, peer.pid),
            terminal_id: &self.terminal_id,
            store_id: self.store_id.as_deref(),
        };
        let seq = self.store.insert(now, new, &placed)?;
        self.counting.sampling.recorded(placed.upstream);
        self.watch.recorded(now.agent, &new.entity_type, &new.entity_id);
        if status == Status::Critical {
            self.watch.stir();
        }
        if let (Some(key), Some(digest)) = (&new.idempotency_key, digest) {
            self.store.keep_key(peer.uid, key, &id, digest)?;
        }
        if let (Some(line), None, Status::Pending) = (line, due_at, status) {
            line.state.hint(now.agent);
        }
        let status = status.as_str().to_owned();
        Ok(Recorded { id: id.as_str().to_owned(), seq: Some(seq.0), status, duplicate: false })
    }

    /// Does the route of such a failure hold what may have arrived?
    pub(super) fn holds_unsure(&self, entity_type: &str, action: &str) -> bool {
        let route = route::first(&self.config.routes, entity_type, action);
        route.is_some_and(|route| route.on_unsure == OnUnsure::Hold)
    }
}

pub(super) fn no_room(room: Room, limits: &Limits) -> Rejection {
    let message = match room {
        Room::TooMany => format!("{} failures are waiting, limits.max_failures", limits.max_failures),
        _ => format!("the database has reached {}, limits.max_database", bytes(limits.max_database)),
    };
    Rejection::new(Code::Full, message)
}

/// What a record says, as its key remembers it.
pub(super) fn digest(new: &NewFailure) -> Digest {
    let payload = new.payload.as_ref().map(|(text, kind)| (text.as_ref(), *kind));
    keys::digest(&new.entity_type, &new.entity_id, &new.action, payload)
}

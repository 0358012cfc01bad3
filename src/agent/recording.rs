//! Recording of one failure, from the request to its row.
//!
//! All admission checks run before the first write, because an error in between would fail the whole round.

use super::routing::{NO_ROUTE, Way};
use super::{Agent, Peer, Pending, rejection_of, stored};
use crate::config::route::{self, OnUnsure};
use crate::config::upstream::Ordering;
use crate::ids::FailureId;
use crate::limits::{Limits, MAX_LOG, bytes};
use crate::moment::Moment;
use crate::policy::backoff::FirstWait;
use crate::policy::class::Forwarded;
use crate::record::{NewFailure, Status};
use crate::store::failures::InsertFields;
use crate::store::keys::{self, Digest};
use crate::store::{Room, StoreError};
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply::{self, Recorded};
use serde_json::value::RawValue;

/// The result of a record.
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
            None => self.write_new(|agent| agent.take(now, peer, new)),
        };
        match done {
            Ok(Taken::New(recorded) | Taken::Known(recorded)) => {
                self.counting.acknowledging += 1;
                stored(reply::ok(&recorded, reference), reference)
            }
            // The reason of the refusal may be in the open round, and would be lost with it.
            Ok(Taken::Refused(rejection)) => stored(reply::error(&rejection, reference), reference),
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// Why every record is currently refused.
    pub(super) fn refusing(&self) -> Option<Rejection> {
        if self.stopping {
            return Some(Rejection::new(Code::ShuttingDown, "the agent is stopping; send it again when it is back"));
        }
        let least = self.limits.min_free_disk;
        // A burst of large records may fill the disk before it is measured again.
        let free = self.disk_free.map(|free| free.saturating_sub(self.store.grown()));
        if let Some(free) = free.filter(|free| *free < least) {
            let message = format!("{} are free on the disk, limits.min_free_disk is {}", bytes(free), bytes(least));
            return Some(Rejection::new(Code::DiskFull, message));
        }
        if self.write_recovery.is_full() || self.store.is_reserved_for_outcomes() {
            let message = "the disk is full; the remaining space is reserved for delivery results";
            return Some(Rejection::new(Code::DiskFull, message));
        }
        if self.log_size >= MAX_LOG {
            let size = self.log_size;
            let message = format!(
                "the database's WAL has {}: another program keeps a read transaction open; end that program",
                bytes(size)
            );
            return Some(Rejection::new(Code::DiskFull, message));
        }
        self.write_recovery.refusal_of_records()
    }

    fn take(&mut self, now: Moment, peer: &Peer, new: &NewFailure) -> Result<Taken, StoreError> {
        let digest = new.idempotency_key.is_some().then(|| digest(new));
        if let (Some(key), Some(digest)) = (&new.idempotency_key, &digest) {
            if let Some(known) = self.known_or_mended(now, peer.uid, key, digest)? {
                return Ok(known);
            }
            if let Some(other) = self.store.key_of_another(key, Some(digest), None)? {
                return Ok(Taken::Refused(key_taken("this idempotency_key", &other)));
            }
        }
        if let Some(rejection) = self.check_quota()? {
            return Ok(Taken::Refused(rejection));
        }
        let recorded = self.store_new(now, peer, new, digest.as_ref())?;
        self.counting.counters.recorded(&new.entity_type);
        Ok(Taken::New(recorded))
    }

    /// Checks the quota for one more failure.
    pub(super) fn check_quota(&mut self) -> Result<Option<Rejection>, StoreError> {
        let room = match self.round.room {
            Some(Room::Enough) if self.store.ledger().live < self.limits.max_failures => Room::Enough,
            _ => self.store.room()?,
        };
        // History gives way to live failures. During a salvage, only new failures are written.
        let gives_way = room == Room::TooLarge && !self.store.is_beside() && self.shorten()?;
        let room = if gives_way { self.room_beside_history()? } else { room };
        self.round.room = Some(room);
        Ok((room != Room::Enough).then(|| no_room(room, &self.limits)))
    }

    /// History was deleted, so the quota is not full of live failures. More is deleted in chunks, which need not be
    /// finished before this failure is recorded.
    fn room_beside_history(&mut self) -> Result<Room, StoreError> {
        Ok(match self.store.room()? {
            Room::TooLarge if self.store.is_within_outcome_room()? => Room::Enough,
            room => room,
        })
    }

    /// Like `known`, but first repairs an unreadable row of the key.
    fn known_or_mended(
        &mut self,
        now: Moment,
        uid: u32,
        key: &str,
        digest: &Digest,
    ) -> Result<Option<Taken>, StoreError> {
        match self.known(uid, key, digest) {
            Err(StoreError::Odd { .. }) => {
                self.store.mend_key(now, uid, key)?;
                for out in self.store.take_told() {
                    self.tell_taken_out(now, &out);
                }
                // If its failure cannot be read either, that is moved out of the way after the round.
                match self.known(uid, key, digest) {
                    Err(error @ StoreError::Odd { .. }) => Ok(Some(Taken::Refused(rejection_of(&error)))),
                    known => known,
                }
            }
            known => known,
        }
    }

    /// For a repeated key: the reply to the first record, or a conflict.
    fn known(&self, uid: u32, key: &str, digest: &Digest) -> Result<Option<Taken>, StoreError> {
        let Some(seen) = self.store.key_seen(uid, key)? else { return Ok(None) };
        if seen.content != *digest {
            let message = format!("this idempotency_key was used for other content, as failure {}", seen.failure);
            let rejection = Rejection::new(Code::Conflict, message).about("idempotency_key");
            return Ok(Some(Taken::Refused(rejection)));
        }
        let (seq, status) = if let Some(outcome) = seen.outcome {
            (self.store.seq_from_history(&seen.failure)?, outcome)
        } else {
            let Some(live) = self.store.by_id(seen.failure.as_str())? else {
                // Another program deleted the row, so there is nothing to acknowledge.
                let gone = || {
                    let failure = &seen.failure;
                    let message =
                        format!("failure {failure} under this key was deleted by another program; use a new key");
                    Rejection::new(Code::Conflict, message)
                };
                // During a salvage the failure may still be restored.
                return Ok(Some(Taken::Refused(self.write_recovery.not_back_yet().unwrap_or_else(gone))));
            };
            (Some(live.seq), live.status.as_str().to_owned())
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
        let (mut due_at, mut next_retry_at) = match self.config.retry.first(new.client_attempt, &mut self.random) {
            FirstWait::Now => (Some(now.agent), Some(now.wall)),
            FirstWait::Step(wait) => (Some(now.agent.after(wait)), Some(now.wall.after(wait))),
            FirstWait::Line => (None, None),
        };
        let way = self.way(&new.entity_type, &new.action);
        let unsure = new.tried && self.may_have_arrived(new);
        let status = match way {
            Way::NoRoute => Status::Critical,
            Way::To(_) if unsure && self.holds_unsure(&new.entity_type, &new.action) => Status::Held,
            Way::To(_) | Way::NoUpstream => Status::Pending,
        };
        if status != Status::Pending {
            (due_at, next_retry_at) = (None, None);
        }
        let line = match way {
            Way::To(index) => self.upstreams.get_mut(index),
            Way::NoRoute | Way::NoUpstream => None,
        };
        let placed = InsertFields {
            id: &id,
            status,
            error_class: (way == Way::NoRoute).then_some(NO_ROUTE),
            unsure,
            free: line.as_ref().is_some_and(|line| line.pace.ordering == Ordering::None),
            strict: line.as_ref().is_some_and(|line| line.pace.ordering == Ordering::Strict),
            upstream: line.as_ref().map(|line| line.config.name.as_str()),
            due_at,
            next_retry_at,
            source: (peer.uid, peer.pid),
            terminal_id: &self.terminal_id,
            store_id: self.store_id.as_deref(),
            number: None,
        };
        let seq = self.store.insert(now, new, &placed)?;
        self.counting.sampling.recorded(placed.upstream);
        // A handed-over record counts as a failure only once its first attempt fails.
        if new.tried || new.http_status.is_some() {
            self.watch.recorded(now.agent, &new.entity_type, &new.entity_id);
        }
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

    /// Whether the application's own attempt may have arrived. A gateway's error leaves that open; only an attempt without
    /// a status is held for it.
    fn may_have_arrived(&self, new: &NewFailure) -> bool {
        let route = route::first(&self.config.routes, &new.entity_type, &new.action);
        let on_unsure = route.map_or(OnUnsure::Resend, |route| route.on_unsure);
        let forwarded = match (Forwarded::by(new.http_status), on_unsure) {
            (Forwarded::Unanswered, OnUnsure::Resend) => true,
            (forwarded, OnUnsure::Verify) => forwarded != Forwarded::Unknown,
            _ => false,
        };
        forwarded || new.http_status.unwrap_or(0) == 0
    }

    /// Returns whether the route of such a failure holds failures that may have arrived.
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

/// The refusal of a failure that would be sent under another one's key.
pub(super) fn key_taken(what: &str, other: &FailureId) -> Rejection {
    let message = format!(
        "{what} is already used by failure {other}; the upstream would take this failure for a repetition of that one \
         and drop it"
    );
    Rejection::new(Code::Conflict, message).about("idempotency_key")
}

/// The digest of a record's content, stored with its key.
pub(super) fn digest(new: &NewFailure) -> Digest {
    let payload = new.payload.as_ref().map(|(text, kind)| (text.as_ref(), *kind));
    keys::digest(&new.entity_type, &new.entity_id, &new.action, payload)
}

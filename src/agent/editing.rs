//! `edit`: an operator changes a failure's payload, entity or action.
//!
//! The failure starts over, due now; it waits for its turn and passes no gate. The effect on the order depends on what
//! changes:
//!
//! | changed | number | place |
//! |---|---|---|
//! | payload, action | stays | stays |
//! | entity type or id | a new one | behind all that were recorded before, of the order that it has now |
//!
//! The next failure of the order that it leaves becomes that order's head in the same round, so it is sent only when
//! the edit is on disk.
//!
//! **The key** is replaced, because other content is another request. But when an attempt may have arrived, the
//! upstream may know the failure under the old key, and a new one would create a duplicate. Then the old key is kept,
//! also after a later rejection, unless the operator asks for a new one or a query has shown that nothing had arrived.
//! The reply says so.

use super::named::found_one;
use super::routing::{NO_ROUTE, Way};
use super::{Agent, Peer, Pending, actor, retry_columns, stored};
use crate::config::route;
use crate::config::upstream::Ordering;
use crate::ids::{revised_key, revision_of};
use crate::moment::Moment;
use crate::policy::retry_state::{Cause, RetryState, Standing};
use crate::record::{Failure, Status};
use crate::store::StoreError;
use crate::store::editing::Edited;
use crate::wire::edit::Edit;
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply::{self, EditReply};
use serde_json::value::RawValue;
use serde_json::{Map, json};

/// The idempotency key of an edited failure.
#[derive(Debug)]
struct Key {
    /// The key in stored form.
    stored: Option<String>,
    /// The old key is kept because the failure may have arrived.
    kept: bool,
    /// The failure may have arrived under this key.
    unsure: bool,
}

impl Agent {
    pub(super) fn edit(&mut self, now: Moment, peer: &Peer, edit: &Edit, reference: Option<&RawValue>) -> Pending {
        if let Some(refusal) = self.why_nothing_changes() {
            return Pending::Ready(reply::error(&refusal, reference));
        }
        let done = found_one(&edit.name, self.store.look(&edit.name)).and_then(|looked| {
            let failure = looked.failure;
            if let Some(rejection) = self.edit_refusal(&failure, edit) {
                return Err(rejection);
            }
            let payload = edit.payload.as_ref().map(|(text, kind)| (text.as_ref(), *kind));
            if let Some(rejection) = self.card_refused(now, peer, &failure.entity_type, payload, "") {
                return Err(rejection);
            }
            self.write(|agent| agent.do_edit(now, peer, &failure, edit, reference))
        });
        stored(done.unwrap_or_else(|rejection| reply::error(&rejection, reference)), reference)
    }

    /// Why this edit of this failure is refused.
    fn edit_refusal(&self, failure: &Failure, edit: &Edit) -> Option<Rejection> {
        let conflict = |why: &str| Some(Rejection::new(Code::Conflict, format!("failure {} {why}", failure.seq)));
        if self.in_flight.contains_key(&failure.seq) {
            return conflict("is in flight; try again when its request has ended");
        }
        let (entity_type, action) = kind(failure, edit);
        let goes_by = [self.route(failure), route::first(&self.config.routes, entity_type, action)];
        if goes_by.into_iter().flatten().any(|route| !route.editable) {
            return conflict("has a route that does not allow changes (editable = false)");
        }
        let same = edit
            .payload
            .as_ref()
            .is_none_or(|(text, kind)| failure.payload.as_ref().is_some_and(|(old, was)| old == text && was == kind));
        let entity_id = edit.entity_id.as_deref().unwrap_or(&failure.entity_id);
        if same && (entity_type, entity_id, action) == entity_of(failure) && !edit.new_key {
            return Some(Rejection::field("payload", "nothing is different; to send it again: retry"));
        }
        None
    }

    /// Writes the edit and its audit row, and returns the reply.
    fn do_edit(
        &mut self,
        now: Moment,
        peer: &Peer,
        failure: &Failure,
        edit: &Edit,
        reference: Option<&RawValue>,
    ) -> Result<Vec<u8>, StoreError> {
        let (entity_type, action) = kind(failure, edit);
        let entity_id = edit.entity_id.as_deref().unwrap_or(&failure.entity_id);
        let key = self.key_after(failure, edit)?;
        let known = self.upstreams.iter().position(|line| Some(&line.config.name) == failure.upstream.as_ref());
        let stays = known.filter(|_| (entity_type, action) == (failure.entity_type.as_str(), failure.action.as_str()));
        let way = stays.map_or_else(|| self.way(entity_type, action), Way::To);
        let line = match way {
            Way::To(index) => Some(&self.upstreams[index]),
            Way::NoRoute | Way::NoUpstream => None,
        };
        let (upstream, ordering) = (line.map(|line| line.config.name.clone()), line.map(|line| line.pace.ordering));
        let lost = way == Way::NoRoute;
        let new = edit.payload.as_ref().map(|(text, kind)| (text.as_ref(), *kind));
        let edited = Edited {
            entity_type,
            entity_id,
            action,
            payload: new.or_else(|| failure.payload.as_ref().map(|(text, kind)| (text.as_str(), *kind))),
            key: key.stored.as_deref(),
            upstream: upstream.as_deref(),
            error_class: match failure.error_class.as_deref() {
                _ if lost => Some(NO_ROUTE),
                class => class.filter(|class| *class != NO_ROUTE),
            },
            unsure: key.unsure,
            new_seq: (entity_type, entity_id) != (failure.entity_type.as_str(), failure.entity_id.as_str()),
            free: ordering == Some(Ordering::None),
            strict: ordering == Some(Ordering::Strict),
        };
        let mut retry_state = RetryState::fresh();
        retry_state.standing = match failure.status {
            _ if lost => Standing::Critical(Cause::Hopeless),
            Status::Held => Standing::Held,
            Status::Pending | Status::Critical => Standing::Pending,
        };
        if !lost {
            retry_state.ask();
        }
        let changes = changes(failure, &edited);
        self.store.audit_edit(
            now.wall,
            &actor(peer, &edit.by),
            (failure, &edited),
            edit.by.reason.as_deref(),
            changes.as_deref(),
        )?;
        let (seq, next) = self.store.edit(failure, now, &retry_columns::retry_columns(&retry_state), &edited)?;
        self.watch.stir();
        self.promote(now, next)?;
        self.reset_strict_head();
        let fields = EditReply {
            id: failure.id.as_str(),
            seq,
            status: retry_state.standing.status().as_str(),
            idempotency_key: edited.key.unwrap_or(failure.id.as_str()),
            key_kept: key.kept,
        };
        Ok(reply::ok(&fields, reference))
    }

    /// A rejection does not prove that nothing had arrived: "exists already" is a rejection as well. It does only
    /// if no earlier request carried the key: the application's own attempt had none, all of ours got a response, and the
    /// failure has not come back by import or replay, whose earlier requests had the key.
    fn key_after(&self, failure: &Failure, edit: &Edit) -> Result<Key, StoreError> {
        let known = failure.idempotency_key.is_some() || self.is_announced(failure);
        let unsure = failure.unsure && (known || !self.store.all_were_answered(&failure.id)?);
        if unsure && !edit.new_key {
            return Ok(Key { stored: failure.idempotency_key.clone(), kept: true, unsure });
        }
        Ok(Key { stored: Some(self.next_key(failure)?), kept: false, unsure: false })
    }

    /// `<id>-r2`, and after that `-r3`, …, without those that an application has given to another failure.
    fn next_key(&self, failure: &Failure) -> Result<String, StoreError> {
        let mut revision = match revision_of(failure.key()) {
            Some((id, revision)) if id == failure.id.as_str() => u64::from(revision) + 1,
            _ => 2,
        };
        loop {
            let key = revised_key(&failure.id, revision);
            if self.store.key_of_another(&key, None, Some(&failure.id))?.is_none() {
                return Ok(key);
            }
            revision += 1;
        }
    }
}

/// Entity type and action after the edit; routes depend on them.
fn kind<'a>(failure: &'a Failure, edit: &'a Edit) -> (&'a str, &'a str) {
    (edit.entity_type.as_deref().unwrap_or(&failure.entity_type), edit.action.as_deref().unwrap_or(&failure.action))
}

fn entity_of(failure: &Failure) -> (&str, &str, &str) {
    (&failure.entity_type, &failure.entity_id, &failure.action)
}

/// The changes other than the payload, for the audit.
fn changes(failure: &Failure, edited: &Edited) -> Option<String> {
    let all = [
        ("entity_type", failure.entity_type.as_str(), edited.entity_type),
        ("entity_id", &failure.entity_id, edited.entity_id),
        ("action", &failure.action, edited.action),
        ("idempotency_key", failure.key(), edited.key.unwrap_or(failure.id.as_str())),
    ];
    let different = all.into_iter().filter(|(_, old, new)| old != new);
    let different: Map<_, _> = different.map(|(name, old, new)| (name.to_owned(), json!([old, new]))).collect();
    (!different.is_empty()).then(|| json!(different).to_string())
}

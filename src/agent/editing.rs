//! `edit`: a person changes what is sent, or what it is about.
//!
//! The failure starts afresh, due now; it waits its turn and passes no gate. What an edit does to the
//! order follows from what it changes (`spec/03`, Order):
//!
//! | changed | number | place |
//! |---|---|---|
//! | payload, action | stays | stays |
//! | entity type or id | a new one | behind all that were recorded before, of the order that it has now |
//!
//! Whoever is first in the order that it leaves becomes its head in the same round, so that it is sent
//! only when the edit is on disk.
//!
//! **The key** is a new one, for another content is another request. But when the last try may have
//! arrived, the upstream may know the failure under the old key, and a new one would post it twice; so
//! it stays, unless the person says that it is another one all the same.

use super::questions::found_one;
use super::routing::{NO_ROUTE, Way};
use super::{Agent, Peer, Pending, actor, filing};
use crate::config::route;
use crate::config::upstream::Ordering;
use crate::moment::Moment;
use crate::policy::dossier::{Cause, Dossier, Standing};
use crate::record::{Class, Failure, Status};
use crate::store::StoreError;
use crate::store::editing::Edited;
use crate::wire::edit::Edit;
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply::{self, EditReply};
use serde_json::value::RawValue;
use serde_json::{Map, json};

/// The key that an edited failure goes out under.
#[derive(Debug)]
struct Key {
    /// As it is stored.
    stored: Option<String>,
    /// It is the old one because the failure may have arrived.
    kept: bool,
    /// May it have arrived under this key?
    unsure: bool,
}

impl Agent {
    pub(super) fn edit(&mut self, now: Moment, peer: &Peer, edit: &Edit, reference: Option<&RawValue>) -> Pending {
        let done = found_one(&edit.name, self.store.look(&edit.name)).and_then(|looked| {
            let failure = looked.failure;
            if let Some(rejection) = self.uneditable(&failure, edit) {
                return Err(rejection);
            }
            let payload = edit.payload.as_ref().map(|(text, _)| text.as_ref());
            if let Some(rejection) = self.card_refused(now, peer, &failure.entity_type, payload, "") {
                return Err(rejection);
            }
            self.write(|agent| agent.do_edit(now, peer, &failure, edit, reference))
        });
        match done {
            Ok(line) => Pending::Stored { line, reference: reference.map(ToOwned::to_owned) },
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// Why this failure cannot be edited so.
    fn uneditable(&self, failure: &Failure, edit: &Edit) -> Option<Rejection> {
        let conflict = |why: &str| Some(Rejection::new(Code::Conflict, format!("failure {} {why}", failure.seq)));
        if self.in_flight.contains_key(&failure.seq) {
            return conflict("is in flight; ask again when its request has ended");
        }
        let (entity_type, action) = kind(failure, edit);
        let goes_by = [self.route(failure), route::first(&self.config.routes, entity_type, action)];
        if goes_by.into_iter().flatten().any(|route| !route.editable) {
            return conflict("goes by a route that lets nobody change what is sent (editable = false)");
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

    /// Writes the edit and its line in the audit; the reply comes back.
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
        let known = self.lines.iter().position(|line| Some(&line.config.name) == failure.upstream.as_ref());
        let stays = known.filter(|_| (entity_type, action) == (failure.entity_type.as_str(), failure.action.as_str()));
        let way = stays.map_or_else(|| self.way(entity_type, action), Way::To);
        let line = match way {
            Way::To(index) => Some(&self.lines[index]),
            Way::NoRoute | Way::NoUpstream => None,
        };
        let (upstream, free) = (line.map(|line| line.config.name.clone()), line.map(|line| line.pace.ordering));
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
            free: free == Some(Ordering::None),
        };
        let mut dossier = Dossier::fresh();
        dossier.standing = match failure.status {
            _ if lost => Standing::Critical(Cause::Hopeless),
            Status::Held => Standing::Held,
            Status::Pending | Status::Critical => Standing::Pending,
        };
        if !lost {
            dossier.ask();
        }
        let changes = changes(failure, &edited);
        self.store.audit_edit(
            now.wall,
            &actor(peer, &edit.by),
            (failure, &edited),
            edit.by.reason.as_deref(),
            changes.as_deref(),
        )?;
        let (seq, next) = self.store.edit(failure, now, &filing::filed(&dossier), &edited)?;
        self.watch.stir();
        self.promote(now, next)?;
        self.forget_front();
        let fields = EditReply {
            id: failure.id.as_str(),
            seq,
            status: dossier.standing.status().as_str(),
            idempotency_key: edited.key.unwrap_or(failure.id.as_str()),
            key_kept: key.kept,
        };
        Ok(reply::ok(&fields, reference))
    }

    fn key_after(&self, failure: &Failure, edit: &Edit) -> Result<Key, StoreError> {
        // An answer about the failure itself says that nothing of before had arrived.
        let unsure = failure.unsure
            && self.store.last_telling_class(&failure.id)?.is_none_or(|class| class == Class::Unsure.as_str());
        if unsure && !edit.new_key {
            return Ok(Key { stored: failure.idempotency_key.clone(), kept: true, unsure });
        }
        Ok(Key { stored: Some(next_key(failure)), kept: false, unsure: false })
    }
}

/// Entity type and action after the edit: what routes go by.
fn kind<'a>(failure: &'a Failure, edit: &'a Edit) -> (&'a str, &'a str) {
    (edit.entity_type.as_deref().unwrap_or(&failure.entity_type), edit.action.as_deref().unwrap_or(&failure.action))
}

fn entity_of(failure: &Failure) -> (&str, &str, &str) {
    (&failure.entity_type, &failure.entity_id, &failure.action)
}

/// `<id>-r2`, and after that `-r3`, …
fn next_key(failure: &Failure) -> String {
    let id = failure.id.as_str();
    let revision = failure.key().strip_prefix(id).and_then(|rest| rest.strip_prefix("-r")?.parse::<u32>().ok());
    format!("{id}-r{}", revision.map_or(2, |revision| revision.saturating_add(1)))
}

/// What differs beside the payload, for the audit.
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

//! What is only read: from the agent's own knowledge, and from the reader's side of the store.
//!
//! [`answer`] is the reader's whole work, a function of a connection, a question and the few facts
//! that are not stored. The daemon's reader thread calls it, and so does a command when there is no
//! daemon; so the two cannot differ.

use super::{Agent, Inquiry};
use crate::ids::{FailureId, FailureName, Seq};
use crate::limits::MAX_PAGE;
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::upstream::Upstream;
use crate::question::{Question, View};
use crate::record::{Failure, Status, wire_time};
use crate::store::StoreError;
use crate::store::reader::{Counts, Entry, Reader};
use crate::store::rows::{Found, Looked};
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply::{
    self, EntryView, FailureView, Got, Health, Hello, HistoryReply, Listed, TypeCount, UnsentReply, UpstreamView,
};
use crate::wire::request::{ADMIN_OPS, APP_OPS, Socket};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What only the agent knows: memory, not table.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When the question was asked, in agent time.
    pub now: Option<AgentTime>,
    /// Which failures are in flight.
    pub in_flight: Vec<Seq>,
    /// Up to which number each upstream's failures need not wait for the line.
    pub contact: BTreeMap<String, i64>,
    /// Where the upstreams stand.
    pub upstreams: Vec<UpstreamView>,
    /// When something was last accepted.
    pub last_delivery_at: Option<WallTime>,
    /// Free bytes of the file system.
    pub disk_free: Option<u64>,
    /// What an upstream's clock says more than ours.
    pub clock_skew_ms: Option<i64>,
    /// Why recording is refused at present.
    pub refusing: Option<String>,
    /// Quarantines of late: in words, and how many were lost.
    pub quarantines: Vec<(String, u64)>,
    /// Why a changed configuration is not in force.
    pub refused_reload: Option<String>,
}

impl Facts {
    /// What can be told without a running agent.
    pub fn without_agent(reader: &Reader, now: Moment) -> Result<Self, StoreError> {
        let stored = reader.upstreams()?;
        let last_delivery_at = stored.iter().filter_map(|(_, state)| state.last_delivery_at).max();
        Ok(Self {
            contact: stored.iter().map(|(name, state)| (name.clone(), state.contact_seq)).collect(),
            upstreams: stored.iter().map(|(name, state)| upstream_view(name, state, now)).collect(),
            last_delivery_at,
            ..Self::default()
        })
    }

    /// The derived state of `spec/07`.
    fn state(&self, failure: &Failure) -> &'static str {
        match failure.status {
            Status::Held => return "held",
            Status::Critical => return "critical",
            Status::Pending if !failure.head => return "blocked",
            Status::Pending => {}
        }
        let line_there = || {
            let newest = failure.upstream.as_ref().and_then(|name| self.contact.get(name));
            newest.is_some_and(|newest| failure.seq.0 <= *newest)
        };
        match (failure.due_at, self.now) {
            _ if self.in_flight.contains(&failure.seq) => "in_flight",
            (Some(at), Some(now)) if at > now => "scheduled",
            (None, _) if !line_there() => "scheduled",
            _ => "due",
        }
    }
}

fn upstream_view(name: &str, state: &Upstream, now: Moment) -> UpstreamView {
    UpstreamView {
        name: name.to_owned(),
        state: state.state(now.agent),
        since: state.since().rfc3339(),
        next_try_at: state.next_try_at(now).map(WallTime::rfc3339),
        conditions: state.conditions(now.agent).iter().map(|condition| condition.as_str()).collect(),
        reason: state.reason().map(str::to_owned),
        latency_ms: state.latency().map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    }
}

impl Agent {
    pub(super) fn hello(&self, socket: Socket, reference: Option<&RawValue>) -> Vec<u8> {
        let more: &[&str] = if socket == Socket::Admin { &ADMIN_OPS } else { &[] };
        let hello = Hello {
            name: "resyncd",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            terminal_id: &self.terminal_id,
            ops: [&APP_OPS[..], more].concat(),
        };
        reply::ok(&hello, reference)
    }

    pub(super) fn facts(&self, now: Moment) -> Facts {
        let states = || self.lines.iter().map(|line| (line.config.name.as_str(), &line.state));
        Facts {
            now: Some(now.agent),
            in_flight: self.in_flight.keys().copied().collect(),
            contact: states().map(|(name, state)| (name.to_owned(), state.contact_seq)).collect(),
            upstreams: states().map(|(name, state)| upstream_view(name, state, now)).collect(),
            last_delivery_at: states().filter_map(|(_, state)| state.last_delivery_at).max(),
            disk_free: self.disk_free,
            clock_skew_ms: states().find_map(|(_, state)| state.clock_skew_ms()),
            refusing: self.refusing().map(|rejection| rejection.message),
            quarantines: self.told_quarantines(now.agent),
            refused_reload: self.refused_reload.clone(),
        }
    }

    /// `get`, on the loop's own connection: one look-up.
    pub(super) fn get(
        &self,
        now: Moment,
        name: &FailureName,
        view: View,
        found: Result<Found, StoreError>,
        reference: Option<&RawValue>,
    ) -> Vec<u8> {
        got(&self.facts(now), view, name, found, reference)
    }
}

/// The reply to `get`.
fn got(
    facts: &Facts,
    view: View,
    name: &FailureName,
    found: Result<Found, StoreError>,
    reference: Option<&RawValue>,
) -> Vec<u8> {
    let looked = match found_one(name, found) {
        Ok(looked) => looked,
        Err(rejection) => return reply::error(&rejection, reference),
    };
    let mut shown = FailureView::new(&looked.failure, facts.state(&looked.failure), looked.head.as_ref(), view);
    if view == View::Admin {
        shown = shown.with_payload(&looked.failure);
        shown.response = Some(looked.response.as_deref());
    }
    reply::ok(&Got { failure: shown }, reference)
}

/// The one failure that a name means, or why it means none.
pub(super) fn found_one(name: &FailureName, found: Result<Found, StoreError>) -> Result<Looked, Rejection> {
    match found {
        Ok(Found::One(looked)) => Ok(*looked),
        Ok(Found::Nothing) => Err(Rejection::new(Code::NotFound, format!("no live failure {name}")).about("id")),
        Ok(Found::Several(ids)) => Err(several(name, &ids)),
        Err(error) => Err(super::rejection_of(&error)),
    }
}

fn several(name: &FailureName, ids: &[FailureId]) -> Rejection {
    let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    Rejection::field("id", format!("{name} is the beginning of several ids: {list}"))
}

/// What the reader found.
#[derive(Debug)]
pub enum Answer {
    /// The client's reply.
    Line(Vec<u8>),
    /// The next numbers of a bulk operation.
    Selected(Result<Vec<Seq>, StoreError>),
    /// The client's reply, and why the file must be opened anew.
    Damaged(Vec<u8>, StoreError),
}

/// Answers a question.
#[must_use]
pub fn answer(reader: &Reader, inquiry: &Inquiry) -> Answer {
    let reference = inquiry.reference.as_deref();
    let line = match &inquiry.question {
        Question::Select { filter, after, limit } => {
            return Answer::Selected(reader.select(filter, *after, *limit));
        }
        Question::List(query) => reader.list(query).map(|page| {
            let failures = page
                .failures
                .iter()
                .map(|(failure, head)| {
                    let shown = FailureView::new(failure, inquiry.facts.state(failure), head.as_ref(), inquiry.view);
                    if query.payload { shown.with_payload(failure) } else { shown }
                })
                .collect();
            reply::ok(&Listed { failures, total: page.total, next: page.next.map(|seq| seq.to_string()) }, reference)
        }),
        Question::Get(name) => {
            reader.look(name).map(|found| got(&inquiry.facts, inquiry.view, name, Ok(found), reference))
        }
        Question::Unsent => reader.unsent().map(|unsent| {
            let all: u64 = unsent.by_type.iter().map(|(_, count)| count).sum();
            let fields = UnsentReply {
                unsent: all,
                on_their_way: all.saturating_sub(unsent.needs_person),
                needs_person: unsent.needs_person,
                by_type: unsent
                    .by_type
                    .into_iter()
                    .map(|(entity_type, count)| TypeCount { entity_type, count })
                    .collect(),
                oldest_created_at: unsent.oldest_created_at.as_deref().map(wire_time),
            };
            reply::ok(&fields, reference)
        }),
        Question::Health => health(reader, &inquiry.facts).map(|fields| reply::ok(&fields, reference)),
        Question::History(name) => history(reader, name, reference),
    };
    let rejected = |error| reply::error(&super::rejection_of(error), reference);
    match line {
        Ok(line) => Answer::Line(line),
        Err(error @ StoreError::Damaged(_)) => Answer::Damaged(rejected(&error), error),
        Err(error) => Answer::Line(rejected(&error)),
    }
}

fn health(reader: &Reader, facts: &Facts) -> Result<Health, StoreError> {
    let Counts { pending, critical, held } = reader.counts()?;
    let mut reasons = Vec::new();
    if critical > 0 {
        reasons.push(format!("{critical} need a person"));
    }
    reasons.extend(facts.refusing.clone());
    let quarantines = |lossy: bool| facts.quarantines.iter().filter(move |(_, lost)| (*lost > 0) == lossy);
    reasons.extend(quarantines(true).map(|(words, _)| words.clone()));
    let grave = !reasons.is_empty();
    reasons.extend(quarantines(false).map(|(words, _)| words.clone()));
    if held > 0 {
        reasons.push(format!("{held} held"));
    }
    reasons.extend(facts.refused_reload.clone());
    let shut = |upstream: &&UpstreamView| matches!(upstream.state, "paused" | "offline" | "blocked" | "failing");
    reasons.extend(facts.upstreams.iter().filter(shut).map(|upstream| format!("{} {}", upstream.name, upstream.state)));
    let state = match (grave, reasons.is_empty()) {
        (true, _) => "critical",
        (false, false) => "degraded",
        (false, true) => "ok",
    };
    Ok(Health {
        state,
        reasons,
        upstreams: facts.upstreams.clone(),
        pending,
        critical,
        held,
        version: env!("CARGO_PKG_VERSION"),
        oldest_created_at: reader.oldest_created_at()?.as_deref().map(wire_time),
        last_delivery_at: facts.last_delivery_at.map(WallTime::rfc3339),
        database_bytes: reader.database_bytes()?,
        disk_free_bytes: facts.disk_free,
        clock_skew_ms: facts.clock_skew_ms,
        lost: Some(facts.quarantines.iter().map(|(_, lost)| lost).sum()).filter(|lost| *lost > 0),
    })
}

fn history(reader: &Reader, name: &FailureName, reference: Option<&RawValue>) -> Result<Vec<u8>, StoreError> {
    let ids = reader.named(name, 10)?;
    let rejection = match &ids[..] {
        [id] => return Ok(history_reply(&reader.history(id)?, reference)),
        [] => Rejection::new(Code::NotFound, format!("nothing is known of {name}")).about("id"),
        ids => several(name, ids),
    };
    Ok(reply::error(&rejection, reference))
}

fn history_reply(entries: &[Entry], reference: Option<&RawValue>) -> Vec<u8> {
    // A failure's own history is bounded by its tries; the last ones are what a person needs.
    let skipped = entries.len().saturating_sub(MAX_PAGE);
    let shown = entries[skipped..].iter().map(entry_view).collect();
    reply::ok(&HistoryReply { entries: shown, next: None }, reference)
}

fn entry_view(entry: &Entry) -> EntryView<'_> {
    match entry {
        Entry::Attempt(attempt) => EntryView::Attempt {
            at: wire_time(&attempt.at),
            failure_id: attempt.failure.as_str(),
            seq: attempt.seq.0,
            entity_type: &attempt.entity_type,
            entity_id: &attempt.entity_id,
            action: &attempt.action,
            attempt: attempt.attempt,
            trigger: &attempt.trigger,
            upstream: &attempt.upstream,
            duration_ms: attempt.duration_ms,
            http_status: attempt.http_status,
            class: &attempt.class,
            error: attempt.error.as_deref(),
            response: attempt.response.as_deref(),
            counted: attempt.counted,
            provisional: attempt.provisional,
            why: attempt.why.as_deref(),
        },
        Entry::Operation(operation) => EntryView::Operation {
            at: wire_time(&operation.at),
            failure_id: operation.failure.as_str(),
            seq: operation.seq.map(|seq| seq.0),
            entity_type: operation.entity_type.as_deref(),
            entity_id: operation.entity_id.as_deref(),
            action: operation.action.as_deref(),
            operation: &operation.operation,
            actor_uid: operation.actor_uid,
            actor_name: operation.actor_name.as_deref(),
            claimed_by: operation.claimed_by.as_deref(),
            reason: operation.reason.as_deref(),
        },
    }
}

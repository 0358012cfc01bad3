//! What is only read: from the agent's own knowledge, and from the reader's side of the store.
//!
//! [`answer`] is the reader's whole work, a function of a connection, a question and the few facts
//! that are not stored. The daemon's reader thread calls it, and so does a command when there is no
//! daemon; so the two cannot differ.

use super::{Agent, Inquiry, Line, accounts, measuring};
use crate::config::upstream::Ordering;
use crate::figures::series::Kept;
use crate::figures::{ByStatus, Known};
use crate::ids::{FailureId, FailureName, Seq};
use crate::moment::{AgentTime, Moment, WallTime};
use crate::policy::alert::{Alert, Kind};
use crate::policy::upstream::Upstream;
use crate::question::{Question, View};
use crate::record::{Failure, Status, wire_time};
use crate::store::StoreError;
use crate::store::reader::Reader;
use crate::store::rows::{Found, Looked};
use crate::wire::alerts::AlertsReply;
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply::{
    self, FailureView, Got, Health, Hello, Listed, MetricsReply, TypeCount, UnsentReply, UpstreamView,
};
use crate::wire::request::{ADMIN_OPS, APP_OPS, Socket};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What only the agent knows: memory, not table.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When the question was asked, in agent time.
    pub now: Option<AgentTime>,
    /// Which failures are in flight.
    pub in_flight: Vec<Seq>,
    /// Of upstreams with strict order: the oldest live failure, which goes before all others.
    pub fronts: BTreeMap<String, (Seq, FailureId)>,
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
    /// For the metrics alone; the other questions need none of it.
    pub known: Option<Box<Known>>,
    /// What people are told of.
    pub alerts: Arc<Vec<Alert>>,
    /// Why a changed configuration is not in force.
    pub refused_reload: Option<String>,
    /// For the series alone: when it was asked for, and what its table does not say yet.
    pub series: Option<(Moment, Vec<Kept>)>,
}

impl Facts {
    /// What can be told without a running agent.
    pub fn without_agent(reader: &Reader, now: Moment) -> Result<Self, StoreError> {
        let stored = reader.upstreams()?;
        let last_delivery_at = stored.iter().filter_map(|(_, state)| state.last_delivery_at).max();
        Ok(Self {
            fronts: reader.fronts()?,
            contact: stored.iter().map(|(name, state)| (name.clone(), state.contact_seq)).collect(),
            upstreams: stored.iter().map(|(name, state)| upstream_view(name, state, now)).collect(),
            last_delivery_at,
            known: Some(Box::new(measuring::known_without_agent(now.agent, &stored))),
            alerts: Arc::new(reader.alerts()?),
            series: Some((now, Vec::new())),
            ..Self::default()
        })
    }

    /// The derived state of `spec/07`.
    pub(super) fn state(&self, failure: &Failure) -> &'static str {
        match failure.status {
            Status::Held => return "held",
            Status::Critical => return "critical",
            Status::Pending if !failure.head || self.in_front_of(failure).is_some() => return "blocked",
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

impl Facts {
    /// What has to leave before this one: the head of its order key, or the front of a strict order.
    pub(super) fn blocked_by<'a>(&'a self, failure: &Failure, head: Option<&'a FailureId>) -> Option<&'a FailureId> {
        head.or_else(|| self.in_front_of(failure))
    }

    fn in_front_of(&self, failure: &Failure) -> Option<&FailureId> {
        let (seq, id) = self.fronts.get(failure.upstream.as_deref()?)?;
        (*seq < failure.seq).then_some(id)
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
        let more: &[&str] = if socket == Socket::Admin { ADMIN_OPS } else { &[] };
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
            fronts: self.fronts(),
            in_flight: self.in_flight.keys().copied().collect(),
            contact: states().map(|(name, state)| (name.to_owned(), state.contact_seq)).collect(),
            upstreams: states().map(|(name, state)| upstream_view(name, state, now)).collect(),
            last_delivery_at: states().filter_map(|(_, state)| state.last_delivery_at).max(),
            disk_free: self.disk_free,
            clock_skew_ms: states().find_map(|(_, state)| state.clock_skew_ms()),
            refusing: self.refusing().map(|rejection| rejection.message),
            alerts: self.watch.shown(),
            known: None,
            series: None,
            refused_reload: self.refused_reload.clone(),
        }
    }

    /// A file that cannot be read is told of by the look-up that comes behind.
    fn fronts(&self) -> BTreeMap<String, (Seq, FailureId)> {
        let strict = self.lines.iter().filter(|line| line.pace.ordering == Ordering::Strict);
        let front = |line: &Line| {
            let front = self.store.front(&line.config.name, line.front).ok()??;
            Some((line.config.name.clone(), (front.seq, front.id)))
        };
        strict.filter_map(front).collect()
    }

    pub(super) fn facts_for(&self, question: &Question, now: Moment) -> Facts {
        let known = (*question == Question::Metrics).then(|| Box::new(self.counted_so_far(now)));
        let series = matches!(question, Question::Series(_)).then(|| (now, self.unwritten_series(now)));
        Facts { known, series, ..self.facts(now) }
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
    let mut shown = FailureView::new(
        &looked.failure,
        facts.state(&looked.failure),
        facts.blocked_by(&looked.failure, looked.head.as_ref()),
        view,
    );
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

pub(super) fn several(name: &FailureName, ids: &[FailureId]) -> Rejection {
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
    /// How many counted tries live failures have on average.
    MeanRetries(f64),
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
        Question::SelectBefore { filter, before, limit } => {
            return Answer::Selected(reader.select_before(filter, *before, *limit));
        }
        Question::List(query) => reader.list(query).map(|page| {
            let failures = page
                .failures
                .iter()
                .map(|(failure, head)| {
                    let blocked_by = inquiry.facts.blocked_by(failure, head.as_ref());
                    let shown = FailureView::new(failure, inquiry.facts.state(failure), blocked_by, inquiry.view);
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
        Question::Metrics => {
            measuring::text(reader, &inquiry.facts).map(|text| reply::ok(&MetricsReply { text }, reference))
        }
        Question::Alerts => Ok(reply::ok(&AlertsReply::of(&inquiry.facts.alerts), reference)),
        Question::MeanRetries => match reader.mean_retries() {
            Ok(mean) => return Answer::MeanRetries(mean),
            Err(error) => Err(error),
        },
        Question::Health => health(reader, &inquiry.facts).map(|fields| reply::ok(&fields, reference)),
        Question::History(query) => accounts::history(reader, query, reference),
        Question::Digest(since) => reader.digest(*since).map(|fields| reply::ok(&fields, reference)),
        Question::Series(span) => {
            accounts::series(reader, *span, &inquiry.facts).map(|fields| reply::ok(&fields, reference))
        }
        Question::Statistics(since) => {
            reader.statistics(*since).map(|found| reply::ok(&accounts::statistics(found), reference))
        }
    };
    let rejected = |error| reply::error(&super::rejection_of(error), reference);
    match line {
        Ok(line) => Answer::Line(line),
        Err(error @ StoreError::Damaged(_)) => Answer::Damaged(rejected(&error), error),
        Err(error) => Answer::Line(rejected(&error)),
    }
}

fn health(reader: &Reader, facts: &Facts) -> Result<Health, StoreError> {
    let ByStatus { pending, critical, held } = reader.counts()?;
    let mut reasons = Vec::new();
    if critical > 0 {
        reasons.push(format!("{critical} {} a person", if critical == 1 { "needs" } else { "need" }));
    }
    reasons.extend(facts.refusing.clone());
    // Those that need a person stand there already, as they are now.
    let told = |alert: &&Alert| alert.active && alert.kind != Kind::CriticalFailures;
    let alerts = |grave: bool| facts.alerts.iter().filter(told).filter(move |alert| alert.kind.is_grave() == grave);
    let words = |alert: &Alert| format!("{}: {}", alert.kind.as_str(), alert.message);
    reasons.extend(alerts(true).map(words));
    let grave = !reasons.is_empty();
    reasons.extend(alerts(false).map(words));
    let lost = |alert: &&Alert| matches!(alert.kind, Kind::DatabaseCorrupt | Kind::DatabaseReplaced);
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
        lost: Some(alerts(true).filter(lost).map(|alert| alert.amount).sum()).filter(|lost| *lost > 0),
    })
}

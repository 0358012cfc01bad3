//! Read-only queries, answered from the agent's memory and the reader's connection to the store.
//!
//! [`answer`] does all of the reader's work, as a function of a connection, a query and the few facts that are not
//! stored. The daemon's reader thread and commands without a daemon both call it, so their answers cannot differ.

use super::facts::{Facts, upstream_view};
use super::named::found_one;
use super::{Agent, ReaderRequest, UpstreamEntry, accounts, counters};
use crate::config::upstream::Ordering;
use crate::figures::ByStatus;
use crate::ids::{FailureId, FailureName, Seq};
use crate::moment::{Moment, WallTime};
use crate::policy::alert::{Alert, Kind};
use crate::question::{Question, View};
use crate::record::wire_time;
use crate::store::StoreError;
use crate::store::reader::Reader;
use crate::store::rows::{FailureDetail, Found};
use crate::text::health as text;
use crate::wire::alerts::AlertsReply;
use crate::wire::reply::{
    self, FailureView, Got, Health, Hello, Listed, MetricsReply, RemovedView, TypeCount, UnsentReply, UpstreamView,
};
use crate::wire::request::{ADMIN_OPS, APP_OPS, Socket};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long `health` lists undelivered failures that were removed.
const REMOVED_TOLD: Duration = Duration::from_secs(30 * 24 * 3600);

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
        let states = || self.upstreams.iter().map(|line| (line.config.name.as_str(), &line.state));
        Facts {
            now: Some(now),
            wall: Some(now.wall),
            fronts: self.fronts(),
            in_flight: self.in_flight.keys().copied().collect(),
            contact: states().map(|(name, state)| (name.to_owned(), state.contact_seq)).collect(),
            upstreams: states().map(|(name, state)| upstream_view(name, state, now)).collect(),
            last_delivery_at: states().filter_map(|(_, state)| state.last_delivery_at).max(),
            disk_free: self.disk_free,
            clock_skew_ms: states().find_map(|(_, state)| state.clock_skew_ms()),
            refusing: self.refusing().map(|rejection| rejection.message),
            socket_trouble: self.socket_trouble.clone(),
            not_back_yet: self.write_recovery.not_back_yet().map(|rejection| rejection.message),
            alerts: self.watch.shown(),
            known: None,
            series: None,
            refused_reload: self.refused_reload.clone(),
        }
    }

    /// An unreadable file is reported by the query that follows.
    fn fronts(&self) -> BTreeMap<String, (Seq, FailureId)> {
        let strict = self.upstreams.iter().filter(|line| line.pace.ordering == Ordering::Strict);
        let front = |line: &UpstreamEntry| {
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

    /// `get`, as one lookup on the loop's own connection.
    pub(super) fn get(
        &self,
        now: Moment,
        name: &FailureName,
        view: View,
        found: Result<Found<Box<FailureDetail>>, StoreError>,
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
    found: Result<Found<Box<FailureDetail>>, StoreError>,
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
    shown.retry_after = facts.asked_to_wait(&looked.failure);
    if view == View::Admin {
        shown = shown.with_payload(&looked.failure);
        shown.response = Some(looked.response.as_deref());
    }
    reply::ok(&Got { failure: shown }, reference)
}

/// The reader's answer.
#[derive(Debug)]
pub enum Answer {
    /// The client's reply.
    Line(Vec<u8>),
    /// The next numbers of a bulk operation.
    Selected(Result<Vec<Seq>, StoreError>),
    /// The mean of counted attempts over live failures.
    MeanRetries(f64),
    /// The client's reply, and the damage for which the file must be reopened.
    Damaged(Vec<u8>, StoreError),
}

/// Answers a query.
#[must_use]
pub fn answer(reader: &Reader, inquiry: &ReaderRequest) -> Answer {
    let reference = inquiry.reference.as_deref();
    let line = match &inquiry.question {
        Question::Rest(seqs) => return Answer::Selected(Ok(seqs.clone())),
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
                    let mut shown = FailureView::new(failure, inquiry.facts.state(failure), blocked_by, inquiry.view);
                    shown.retry_after = inquiry.facts.asked_to_wait(failure);
                    if query.payload { shown.with_payload(failure) } else { shown }
                })
                .collect();
            reply::ok(&Listed { failures, total: page.total, next: page.next.map(|next| next.to_string()) }, reference)
        }),
        Question::Get(name) => {
            reader.look(name).map(|found| got(&inquiry.facts, inquiry.view, name, Ok(found), reference))
        }
        Question::Unsent => reader.unsent().map(|unsent| {
            let all = unsent.of_others + unsent.by_type.iter().map(|(_, count)| count).sum::<u64>();
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
            counters::text(reader, &inquiry.facts).map(|text| reply::ok(&MetricsReply { text }, reference))
        }
        Question::Alerts => Ok(reply::ok(&AlertsReply::of(&inquiry.facts.alerts), reference)),
        Question::MeanRetries => match reader.mean_retries() {
            Ok(mean) => return Answer::MeanRetries(mean),
            Err(error) => Err(error),
        },
        Question::Health => {
            health(reader, &inquiry.facts, inquiry.facts.wall).map(|fields| reply::ok(&fields, reference))
        }
        Question::History(query) => accounts::history(reader, query, reference),
        Question::Digest(since) => reader.digest(*since).map(|fields| reply::ok(&fields, reference)),
        Question::Series(span) => {
            accounts::series(reader, *span, &inquiry.facts).map(|fields| reply::ok(&fields, reference))
        }
        Question::Statistics(since) => {
            reader.statistics(*since).map(|found| reply::ok(&accounts::statistics(found), reference))
        }
    };
    told(reader, line, reference)
}

/// The client's reply, with damage reported to the agent.
fn told(reader: &Reader, line: Result<Vec<u8>, StoreError>, reference: Option<&RawValue>) -> Answer {
    let rejected = |error| reply::error(&super::rejection_of(error), reference);
    match line {
        Ok(line) => match reader.odd_rows() {
            Some(odd) => Answer::Damaged(line, odd),
            None => Answer::Line(line),
        },
        Err(StoreError::Odd { why, .. }) => {
            let error = reader.odd_rows().unwrap_or(StoreError::Odd { why, failures: Vec::new() });
            Answer::Damaged(rejected(&error), error)
        }
        Err(error @ StoreError::Damaged(_)) => Answer::Damaged(rejected(&error), error),
        Err(error) => Answer::Line(rejected(&error)),
    }
}

fn health(reader: &Reader, facts: &Facts, now: Option<WallTime>) -> Result<Health, StoreError> {
    let ByStatus { pending, critical, held } = reader.counts()?;
    let mut reasons = Vec::new();
    if critical > 0 {
        reasons.push(text::needs_a_person(critical));
    }
    reasons.extend(facts.socket_trouble.iter().cloned());
    reasons.extend(facts.refusing.iter().chain(&facts.not_back_yet).cloned());
    // Critical failures were counted above, from the current table.
    let told = |alert: &&Alert| alert.active && alert.kind != Kind::CriticalFailures;
    let alerts = |grave: bool| facts.alerts.iter().filter(told).filter(move |alert| alert.kind.is_grave() == grave);
    let words = |alert: &Alert| format!("{}: {}", alert.kind.as_str(), alert.message);
    reasons.extend(alerts(true).map(words));
    let grave = !reasons.is_empty();
    reasons.extend(alerts(false).map(words));
    let lost = |alert: &&Alert| {
        matches!(alert.kind, Kind::DatabaseCorrupt | Kind::DatabaseReplaced | Kind::DatabaseForeignWrite)
    };
    let full = |alert: &&Alert| alert.kind == Kind::DatabaseFull;
    if held > 0 {
        reasons.push(text::held(held));
    }
    reasons.extend(facts.refused_reload.clone());
    let shut = |upstream: &&UpstreamView| matches!(upstream.state, "paused" | "offline" | "blocked" | "failing");
    reasons.extend(facts.upstreams.iter().filter(shut).map(|upstream| text::upstream(upstream.state, &upstream.name)));
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
        refusing: facts.refusing.clone().or_else(|| alerts(true).find(full).map(|alert| alert.message.clone())),
        lost: Some(alerts(true).filter(lost).map(|alert| alert.amount).sum()).filter(|lost| *lost > 0),
        removed: match now {
            Some(now) => reader.removed(now.before(REMOVED_TOLD))?.map(|removed| RemovedView {
                count: removed.count,
                first_at: wire_time(&removed.first_at),
                last_at: wire_time(&removed.last_at),
            }),
            None => None,
        },
    })
}

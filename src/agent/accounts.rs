//! `history`, `stats` and `series`: the reader's results, shaped as replies.

use super::facts::Facts;
use super::named::several;
use crate::figures::series::{Bucket, Series};
use crate::figures::told::SeriesReply;
use crate::limits::{MAX_PAGE, quote};
use crate::question::{HistoryOf, HistoryQuery};
use crate::record::wire_time;
use crate::store::StoreError;
use crate::store::history::{Entry, HistoryScope, Part, What};
use crate::store::reader::Reader;
use crate::store::statistics::{Group, Statistics};
use crate::wire::fields::{Code, Rejection};
use crate::wire::history::{EntryView, GroupView, HistoryReply, StatisticsReply};
use crate::wire::reply;
use serde_json::value::RawValue;
use std::time::Duration;

/// Number of ids that an error names when a name is ambiguous.
const MOST_NAMED: usize = 10;

pub(super) fn history(
    reader: &Reader,
    query: &HistoryQuery,
    reference: Option<&RawValue>,
) -> Result<Vec<u8>, StoreError> {
    let whose = match &query.of {
        HistoryOf::All => HistoryScope::All,
        HistoryOf::Removed => HistoryScope::Removed,
        HistoryOf::Delivered => HistoryScope::Delivered,
        HistoryOf::EntityId(which) => HistoryScope::EntityId(which.clone()),
        HistoryOf::Entity(kind, which) => HistoryScope::Entity(kind.clone(), which.clone()),
        HistoryOf::Failure(name) => match &reader.named(name, MOST_NAMED)?[..] {
            [id] => HistoryScope::Failure(id.clone()),
            [] => {
                let rejection =
                    Rejection::new(Code::NotFound, format!("nothing is known of {}", quote(&name.to_string())))
                        .about("id");
                return Ok(reply::error(&rejection, reference));
            }
            ids => return Ok(reply::error(&several(name, ids), reference)),
        },
    };
    let part = Part {
        since: query.since,
        after: query.after.as_ref(),
        limit: query.limit.min(MAX_PAGE),
        direction: query.direction,
    };
    let found = reader.history(&whose, part)?;
    let fields = HistoryReply {
        entries: found.entries.iter().map(entry_view).collect(),
        next: found.next.map(|next| next.to_string()),
    };
    Ok(reply::ok(&fields, reference))
}

fn entry_view(entry: &Entry) -> EntryView<'_> {
    let at = wire_time(&entry.place.at);
    match &entry.what {
        What::Attempt(attempt) => EntryView::Attempt {
            at,
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
        What::Operation(operation) => EntryView::Operation {
            at,
            failure_id: operation.failure.as_ref().map(crate::ids::FailureId::as_str),
            seq: operation.seq.map(|seq| seq.0),
            entity_type: operation.entity_type.as_deref(),
            entity_id: operation.entity_id.as_deref(),
            action: operation.action.as_deref(),
            operation: &operation.operation,
            actor_uid: operation.actor_uid,
            actor_name: operation.actor_name.as_deref(),
            claimed_by: operation.claimed_by.as_deref(),
            reason: operation.reason.as_deref(),
            changes: operation.changes.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            sha256_before: operation.sha256_before.as_deref(),
            sha256_after: operation.sha256_after.as_deref(),
        },
    }
}

/// The rows of the table for the last `span`, plus what the agent has counted and not yet written.
pub(super) fn series(reader: &Reader, span: Duration, facts: &Facts) -> Result<SeriesReply, StoreError> {
    let (now, unwritten) = facts.series.as_ref().expect("a series request carries its time");
    let since = now.agent.before(span);
    let (before, mut kept) = reader.series(Bucket::of(since))?;
    for more in unwritten {
        let place = kept.partition_point(|kept| kept.bucket < more.bucket);
        match kept.get_mut(place).filter(|kept| kept.bucket == more.bucket) {
            Some(kept) => {
                kept.counted.add(&more.counted);
                kept.live = more.live;
            }
            None => kept.insert(place, more.clone()),
        }
    }
    Ok(SeriesReply::from(&Series::of(since, *now, before, &kept, reader.counts()?)))
}

pub(super) fn statistics(found: Statistics) -> StatisticsReply {
    StatisticsReply {
        since: found.since.rfc3339(),
        recorded: found.recorded,
        delivered: found.delivered,
        discarded: found.discarded,
        cleaned: found.cleaned,
        groups: found.groups.into_iter().map(group_view).collect(),
    }
}

fn group_view(group: Group) -> GroupView {
    #[expect(clippy::cast_precision_loss, reason = "an average for people, of counts far below 2^52")]
    let average = group.retries as f64 / group.total_failures as f64;
    GroupView {
        entity_type: group.entity_type,
        action: group.action,
        total_failures: group.total_failures,
        avg_retries: (average * 1000.0).round() / 1000.0,
        max_retries: group.max_retries,
    }
}

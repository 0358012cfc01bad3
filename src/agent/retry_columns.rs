//! Converts between a failure's retry state and its row: the policy's memory is stored as JSON, and the searchable part of
//! it in columns.

use crate::config::upstream::Ordering;
use crate::moment::AgentTime;
use crate::policy::order_tag::OrderTag;
use crate::policy::retry_state::{Cause, RetryState, Standing, UnconfirmedRetries};
use crate::record::{Failure, OrderKey, Status};
use crate::store::failures::RetryColumns;

/// The policy's memory of a failure. A row without a retry state has no attempt; a retry state that cannot be parsed (edited by
/// hand) is replaced by a fresh one with the counts of the row.
pub(super) fn retry_state(failure: &Failure) -> RetryState {
    let kept = failure.retry_state.as_ref().and_then(|text| {
        let read = serde_json::from_str(text);
        let told = |error: &serde_json::Error| {
            log::warn!("event=retry_state_unreadable seq={} error={:?}", failure.seq, error.to_string());
        };
        read.inspect_err(told).ok()
    });
    let mut retry_state: RetryState = kept.unwrap_or_else(RetryState::fresh);
    // Clients and other programs see the row, so it prevails where the two differ.
    retry_state.retry_count = failure.retry_count;
    if retry_state.standing.status() != failure.status {
        retry_state.standing = match failure.status {
            Status::Pending => Standing::Pending,
            Status::Held => Standing::Held,
            Status::Critical => Standing::Critical(Cause::Hopeless),
        };
    }
    retry_state
}

/// The retry state in stored form.
pub(super) fn retry_columns(retry_state: &RetryState) -> RetryColumns {
    let refundable_under = match retry_state.provisional {
        UnconfirmedRetries::Since { accepted, .. } => Some(accepted.0),
        UnconfirmedRetries::None => None,
    };
    let exhausted_at: Option<AgentTime> = match retry_state.standing {
        Standing::Critical(Cause::Counted { at }) => Some(at),
        _ => None,
    };
    RetryColumns {
        status: retry_state.standing.status(),
        retry_count: retry_state.retry_count,
        retry_state: serde_json::to_string(retry_state).expect("a struct of numbers and texts has its JSON"),
        refundable_under,
        exhausted_at,
        retry_after_until: retry_state.retry_after_until,
        last_sent_at: retry_state.last_sent_at,
    }
}

/// The failures that its upstream relates to this one.
pub(super) fn order_tag(failure: &Failure, ordering: Ordering) -> OrderTag {
    match (ordering, failure.order()) {
        (Ordering::None, _) => OrderTag::new(failure.id.as_str()),
        (_, OrderKey::Given(key)) => OrderTag::new(format!("key {key}")),
        // Neither part contains a control character.
        (_, OrderKey::Entity(kind, which)) => OrderTag::new(format!("entity {kind}\n{which}")),
    }
}

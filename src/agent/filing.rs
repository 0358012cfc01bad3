//! A failure's dossier and its row: the policy's memory as JSON, and of that what is looked for, in
//! columns.

use crate::config::upstream::Ordering;
use crate::moment::AgentTime;
use crate::policy::dossier::{Cause, Dossier, OrderTag, Provisional, Standing};
use crate::record::{Failure, OrderKey, Status};
use crate::store::failures::Filed;

/// What the policy remembers of a failure. A row without a dossier was never tried; one whose
/// dossier cannot be read (a hand's work) is judged anew, with the counts that its row shows.
pub(super) fn dossier(failure: &Failure) -> Dossier {
    let kept = failure.dossier.as_ref().and_then(|text| {
        let read = serde_json::from_str(text);
        let told = |error: &serde_json::Error| {
            log::warn!("event=dossier_unreadable seq={} error={:?}", failure.seq, error.to_string());
        };
        read.inspect_err(told).ok()
    });
    let mut dossier: Dossier = kept.unwrap_or_else(Dossier::fresh);
    // The row is what people and programs see, so it is right where the two differ.
    dossier.retry_count = failure.retry_count;
    if dossier.standing.status() != failure.status {
        dossier.standing = match failure.status {
            Status::Pending => Standing::Pending,
            Status::Held => Standing::Held,
            Status::Critical => Standing::Critical(Cause::Hopeless),
        };
    }
    dossier
}

/// As it is stored.
pub(super) fn filed(dossier: &Dossier) -> Filed {
    let counted_under = match dossier.provisional {
        Provisional::Since { accepted, .. } => Some(accepted.0),
        Provisional::None => None,
    };
    let counted_out_at: Option<AgentTime> = match dossier.standing {
        Standing::Critical(Cause::Counted { at }) => Some(at),
        _ => None,
    };
    Filed {
        status: dossier.standing.status(),
        retry_count: dossier.retry_count,
        dossier: serde_json::to_string(dossier).expect("a struct of numbers and texts has its JSON"),
        counted_under,
        counted_out_at,
        bound_until: dossier.bound_until,
        last_sent_at: dossier.last_sent_at,
    }
}

/// What ties a failure to others in its upstream's eyes.
pub(super) fn order_tag(failure: &Failure, ordering: Ordering) -> OrderTag {
    match (ordering, failure.order()) {
        (Ordering::None, _) => OrderTag::new(failure.id.as_str()),
        (_, OrderKey::Given(key)) => OrderTag::new(format!("key {key}")),
        // Neither part has a control character in it.
        (_, OrderKey::Entity(kind, which)) => OrderTag::new(format!("entity {kind}\n{which}")),
    }
}

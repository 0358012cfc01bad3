//! Card numbers in recorded, imported or edited data (`limits.card_numbers`): a warning or a rejection.
//!
//! Neither the reply nor the log ever contains the number: they name its place and what may be there instead. A till
//! that records thousands of them causes one log line a minute, with their count.

use super::{Agent, Peer};
use crate::limits::CardNumbers;
use crate::moment::{AgentTime, Moment};
use crate::record::{NewFailure, PayloadKind};
use crate::wire::card;
use crate::wire::fields::Rejection;
use std::time::Duration;

const TOLD_EVERY: Duration = Duration::from_secs(60);
const ADVICE: &str = "store a token, or at most the first six and last four digits";

/// Warnings that were not logged yet.
#[derive(Debug, Default)]
pub(super) struct CardWarnings {
    count: u64,
    told: Option<AgentTime>,
}

impl Agent {
    /// Like [`Self::card_refused`], for a record.
    pub(super) fn card_in(&mut self, now: Moment, peer: &Peer, new: &NewFailure) -> Option<Rejection> {
        let payload = new.payload.as_ref().map(|(text, kind)| (text.as_ref(), *kind));
        self.card_refused(now, peer, &new.entity_type, payload, &new.error)
    }

    /// Searches for a card number; returns the client's rejection where card numbers are refused.
    pub(super) fn card_refused(
        &mut self,
        now: Moment,
        peer: &Peer,
        entity_type: &str,
        payload: Option<(&str, PayloadKind)>,
        error: &str,
    ) -> Option<Rejection> {
        if self.limits.card_numbers == CardNumbers::Off {
            return None;
        }
        let field = match payload {
            Some((payload, kind)) if card::is_in(kind.bytes_of(payload)) => "payload",
            _ if card::is_in(error) => "error",
            _ => return None,
        };
        if self.limits.card_numbers == CardNumbers::Refuse {
            let message = format!("{field} holds what looks like a card number; {ADVICE} (limits.card_numbers)");
            return Some(Rejection::field(field, message));
        }
        let warnings = &mut self.card_warnings;
        warnings.count += 1;
        if warnings.told.is_none_or(|told| now.agent.since(told) >= TOLD_EVERY) {
            log::warn!(
                "event=card_number field={field} entity_type={:?} source_uid={} count={} message=\"{ADVICE}\"",
                entity_type,
                peer.uid,
                warnings.count
            );
            *warnings = CardWarnings { count: 0, told: Some(now.agent) };
        }
        None
    }
}

//! Why an attempt was or was not counted, for the history.
//!
//! The code ([`Why::as_str`]) is stored with the attempt; `text::why` has the sentence that `show` prints.
//! Names, times and numbers of the single case are in the row of the attempt.

/// Reason of a decision about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The upstream accepted it.
    Accepted,
    /// The same, for a failure that was handed over without an earlier attempt.
    HandedOver,
    /// A verification found that the upstream already has it.
    Found,
    /// A verification found that the upstream does not have it yet.
    NotThere,
    /// The upstream was not reached.
    Unreachable,
    /// The upstream rate-limited the request.
    Throttled,
    /// The upstream was temporarily unavailable.
    Busy,
    /// No response, or an inconclusive one.
    Unsure,
    /// The response has to be interpreted, but cannot be read.
    Unreadable,
    /// Credentials, address or clock are misconfigured.
    Misconfigured,
    /// The upstream was unavailable, or this attempt was a canary.
    Shut,
    /// A failure of a second order key failed as well.
    UpstreamFailing,
    /// The extra attempt after the last retry failed.
    LastChance,
    /// The upstream deferred only this failure.
    SingledOut,
    /// The upstream did not accept it.
    Failed,
    /// The same as `Failed`, with the last retry.
    LastRetry,
    /// The single attempt that an operator requested failed.
    OneShot,
    /// Others were accepted, and this one got inconclusive responses more often than chance explains.
    Contrast,
    /// The same as `Contrast`, with the last retry.
    LastByContrast,
    /// The upstream rejected it permanently.
    Refused,
    /// No valid request can be built from it.
    InvalidRequest,
}

impl Why {
    /// All reasons.
    pub const ALL: [Self; 21] = [
        Self::Accepted,
        Self::HandedOver,
        Self::Found,
        Self::NotThere,
        Self::Unreachable,
        Self::Throttled,
        Self::Busy,
        Self::Unsure,
        Self::Unreadable,
        Self::Misconfigured,
        Self::Shut,
        Self::UpstreamFailing,
        Self::LastChance,
        Self::SingledOut,
        Self::Failed,
        Self::LastRetry,
        Self::OneShot,
        Self::Contrast,
        Self::LastByContrast,
        Self::Refused,
        Self::InvalidRequest,
    ];

    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::HandedOver => "handed_over",
            Self::Found => "found",
            Self::NotThere => "not_there",
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Unsure => "unsure",
            Self::Unreadable => "unreadable",
            Self::Misconfigured => "misconfigured",
            Self::Shut => "shut",
            Self::UpstreamFailing => "upstream_failing",
            Self::LastChance => "last_chance",
            Self::SingledOut => "singled_out",
            Self::Failed => "failed",
            Self::LastRetry => "last_retry",
            Self::OneShot => "one_shot",
            Self::Contrast => "contrast",
            Self::LastByContrast => "last_by_contrast",
            Self::Refused => "refused",
            Self::InvalidRequest => "unbuildable",
        }
    }

    /// Parses what [`as_str`](Self::as_str) returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::Why;
    use crate::text::Language;
    use crate::text::why::last_attempt;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_a_code_and_a_sentence_of_its_own() {
        for language in [Language::English, Language::Spanish] {
            let sentences: HashSet<_> =
                Why::ALL.iter().map(|why| language.during(|| last_attempt(why.as_str(), "hq"))).collect();
            assert_eq!(sentences.len(), Why::ALL.len());
            assert!(!sentences.contains(""), "a reason without a sentence");
        }
        assert!(Why::ALL.iter().all(|why| Why::parse(why.as_str()) == Some(*why)));
    }
}

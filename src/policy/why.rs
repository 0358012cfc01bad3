//! Why a try was counted or not, for the history and for people.
//!
//! The code ([`Why::as_str`]) is stored with the attempt; the sentence ([`Why::words`]) is what
//! `show` says. Names, times and numbers of the single case stand beside it in the attempt's row.

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The upstream has it.
    Accepted,
    /// It was asked, and had it already.
    Found,
    /// It was asked, and did not have it yet.
    NotThere,
    /// Nobody was reached.
    Unreachable,
    /// The upstream asked for less.
    Throttled,
    /// The upstream could not just now.
    Busy,
    /// No answer, or none that proves anything.
    Unsure,
    /// Something between us is set up wrongly.
    Misconfigured,
    /// The upstream was shut, or this was the try that looked whether it still is.
    Shut,
    /// A second order key failed as well.
    UpstreamFailing,
    /// The one more try after the last brought nothing.
    LastChance,
    /// The upstream asked this one alone to wait.
    SingledOut,
    /// The upstream did not take it.
    Failed,
    /// The same as `Failed`, and it was the last.
    LastRetry,
    /// A person's one shot has failed.
    OneShot,
    /// Others got through, and this one was set aside more often than bad luck explains.
    Contrast,
    /// The same, and it was the last.
    LastByContrast,
    /// The upstream will never take it.
    Refused,
    /// No request can be made of it.
    Unbuildable,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Accepted,
        Self::Found,
        Self::NotThere,
        Self::Unreachable,
        Self::Throttled,
        Self::Busy,
        Self::Unsure,
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
        Self::Unbuildable,
    ];

    /// As it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Found => "found",
            Self::NotThere => "not_there",
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Unsure => "unsure",
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
            Self::Unbuildable => "unbuildable",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == text)
    }

    /// What a person is told.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Accepted => "the upstream has it",
            Self::Found => "an earlier try had arrived: the upstream has it already, and it is not sent again",
            Self::NotThere => "no earlier try had arrived, so it was sent again",
            Self::Unreachable => "the upstream was not reached: no fault of this failure, so it costs no retry",
            Self::Throttled => "the upstream asked for less: no fault of this failure, so it costs no retry",
            Self::Busy => "the upstream could not just now: no fault of this failure, so it costs no retry",
            Self::Unsure => {
                "no answer that proves anything: it costs no retry, and it is sent again under the same key"
            }
            Self::Misconfigured => {
                "the way to the upstream is set up wrongly (credentials, address or clock): it costs no retry"
            }
            Self::Shut => {
                "the upstream was taking nothing, so this try says nothing about the failure and costs no retry"
            }
            Self::UpstreamFailing => {
                "another failure failed as well and nothing was accepted in between: it is the upstream, and the retries \
                 of both are given back"
            }
            Self::LastChance => "its retries were used up; the one more try it had brought nothing either",
            Self::SingledOut => {
                "the upstream asks this failure to wait while it accepts others: it waits alone, and costs no retry \
                 until it is a day old"
            }
            Self::Failed => "the upstream answered, and did not take it: it costs a retry",
            Self::LastRetry => "the upstream answered, and did not take it; that was its last retry",
            Self::OneShot => "a person had asked for this try, and it failed",
            Self::Contrast => {
                "the upstream accepts others while this one gets no clear answer, more often than bad luck explains: \
                 it costs a retry"
            }
            Self::LastByContrast => {
                "the upstream accepts others while this one gets no clear answer, more often than bad luck explains; \
                 that was its last retry"
            }
            Self::Refused => "the upstream will not take it as it is, however often it is sent",
            Self::Unbuildable => "no request can be made of it as it is",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Why;
    use std::collections::HashSet;

    #[test]
    fn codes_and_words_are_told_apart_and_come_back() {
        let words: HashSet<_> = Why::ALL.iter().map(|why| why.words()).collect();
        assert_eq!(words.len(), Why::ALL.len());
        assert!(Why::ALL.iter().all(|why| Why::parse(why.as_str()) == Some(*why)));
    }
}

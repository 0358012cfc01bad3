//! The gaps between accepted requests; they distinguish a rate limit from sporadic errors.
//!
//! A rate limiter without `Retry-After` (nginx's `limit_req`) rejects a request that comes too soon after the last one
//! it accepted. Sporadic errors do not depend on that gap. So a rejection after a shorter gap than those of all recent
//! acceptances is explained by a limit: the next request has to come later, because one sent at once would be rejected
//! too. A rejection after a gap that was long enough for another request is not.
//!
//! The gaps are kept in memory only: a limit is found again within seconds.

use crate::moment::AgentTime;
use std::collections::VecDeque;
use std::time::Duration;

/// Number of acceptances whose gaps are compared, so that those of a burst which a limiter accepted are soon forgotten.
const RECENT: usize = 8;
/// With fewer gaps, chance explains that all of them were longer.
const LEAST: usize = 2;

/// The gaps of recent acceptances, each from the start of the last accepted request to the start of the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Spacing {
    last_accepted: Option<AgentTime>,
    /// At most [`RECENT`], the newest last.
    gaps: VecDeque<Duration>,
    /// The last rejection, if a limit explains it: when its request was sent, and after which gap.
    too_short: Option<(AgentTime, Duration)>,
}

impl Spacing {
    /// Records the acceptance of a request that was sent at this time.
    pub(super) fn accept(&mut self, sent_at: AgentTime) {
        if let Some(last) = self.last_accepted.replace(sent_at) {
            self.gaps.push_back(sent_at.since(last));
            if self.gaps.len() > RECENT {
                self.gaps.pop_front();
            }
        }
    }

    /// Records the rejection of a request that was sent at this time. Returns whether a rate limit explains it.
    pub(super) fn reject(&mut self, sent_at: AgentTime) -> bool {
        let gap = self.last_accepted.map(|last| sent_at.since(last)).filter(|_| self.gaps.len() >= LEAST);
        let gap = gap.filter(|gap| self.gaps.iter().all(|accepted| accepted > gap));
        self.too_short = gap.map(|gap| (sent_at, gap));
        self.too_short.is_some()
    }

    /// Returns whether the request that was sent at this time is the last one rejected because of a limit.
    pub(super) fn explains(&self, sent_at: AgentTime) -> bool {
        self.too_short.is_some_and(|(at, _)| at == sent_at)
    }

    /// The gap that was too short, while a limit is respected.
    pub(super) fn too_short(&self) -> Option<Duration> {
        self.too_short.map(|(_, gap)| gap)
    }

    /// The shortest gap of recent acceptances.
    pub(super) fn shortest_accepted(&self) -> Option<Duration> {
        self.gaps.iter().min().copied()
    }

    /// Records that no limit is respected any longer.
    pub(super) fn forget_limit(&mut self) {
        self.too_short = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> AgentTime {
        AgentTime::from_millis(ms)
    }

    fn accepted(times: &[i64]) -> Spacing {
        let mut spacing = Spacing::default();
        times.iter().for_each(|ms| spacing.accept(at(*ms)));
        spacing
    }

    #[test]
    fn a_rejection_after_a_shorter_gap_than_all_accepted_ones_is_a_limit() {
        let mut spacing = accepted(&[0, 1000, 1250]);
        assert!(spacing.reject(at(1450)));
        assert_eq!(
            (spacing.too_short(), spacing.shortest_accepted()),
            (Some(Duration::from_millis(200)), Some(Duration::from_millis(250)))
        );
        assert!(!spacing.reject(at(1500)), "another request was accepted after that gap");
        assert_eq!(spacing.too_short(), None);
    }

    #[test]
    fn a_limit_needs_two_gaps_and_a_burst_is_forgotten_after_eight() {
        assert!(!Spacing::default().reject(at(0)));
        assert!(!accepted(&[0, 1000]).reject(at(1001)));
        assert!(accepted(&[0, 1000, 2000]).reject(at(2001)));
        let mut spacing = accepted(&[0, 1]);
        for n in 1..=8 {
            assert!(!spacing.reject(at(1000 * n)), "after {n}");
            spacing.accept(at(1000 * n));
        }
        assert!(spacing.reject(at(8500)));
    }
}

//! The share of accepted attempts among recent ones; distinguishes sporadic errors from an overload.
//!
//! What protects an overloaded upstream is a bound on the ratio of offered to accepted requests. As long as most
//! attempts are accepted, slowing down for an occasional error protects no upstream, and costs a terminal nearly all
//! of its throughput: one bad node of seven behind a load balancer, or a proxy that drops one request in fifty, would
//! bring delivery to a crawl. So [`Pause`](super::pause::Pause) checks the ratio before the last response.
//!
//! The counts are smoothed, and kept in memory only: acceptances before a restart are no evidence about the state of
//! the upstream after it.

use std::time::Duration;

/// The factor by which each attempt reduces the counts.
const KEEP: f64 = 15.0 / 16.0;
/// Minimum number of acceptances, smoothed, for a meaningful ratio.
const LEAST_ACCEPTANCES: f64 = 1.5;
/// With fewer attempts, smoothed, a ratio says little.
const FEW: f64 = 6.0;
/// When a delay ends because most attempts are accepted again, earlier errors are limited to this ratio: they
/// have had their effect.
const FORGIVEN: f64 = 1.5;
/// Delay of a failure that waits alone, after its first error.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The share of errors explains a run of them if its probability is above this.
const LIKELY: f64 = 1e-3;

/// Smoothed counts of recent attempts and acceptances.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    attempts: f64,
    acceptances: f64,
    /// The share of errors at the last acceptance.
    errors: f64,
    /// Numbers of attempts and acceptances since errors were last forgiven.
    since_forgiven: (u32, u32),
}

impl Share {
    /// Records the end of an attempt, with or without a speed-up signal.
    pub(super) fn attempt(&mut self) {
        self.attempts = self.attempts * KEEP + 1.0;
        self.acceptances *= KEEP;
        self.since_forgiven.0 += 1;
    }

    /// Records that the last attempt was a speed-up signal.
    pub(super) fn accept(&mut self) {
        self.acceptances += 1.0;
        self.since_forgiven.1 += 1;
        self.errors = 1.0 - self.acceptances / self.attempts.max(1.0);
    }

    /// Returns whether there are enough acceptances to judge, and the ratio of attempts to acceptances is below
    /// `ratio`.
    pub(super) fn is_below(&self, ratio: f64) -> bool {
        self.acceptances >= LEAST_ACCEPTANCES && self.attempts < ratio * self.acceptances
    }

    /// Returns whether acceptances make up at least half of the maximum weight, so that a few lucky ones are
    /// not enough.
    pub(super) fn is_established(&self) -> bool {
        self.acceptances >= 0.5 / (1.0 - KEEP)
    }

    /// Returns whether something was accepted, and too few attempts have ended to know the ratio.
    pub(super) fn is_young(&self) -> bool {
        self.acceptances > 0.0 && self.attempts < FEW
    }

    /// Records that a delay ended because most attempts are accepted again. Errors are forgiven only while there were
    /// no more of them than acceptances since the last time: an upstream that limits the rate accepts again after every
    /// delay, and would get two requests for each that it accepts, and more.
    pub(super) fn forgive(&mut self) {
        let (attempts, acceptances) = self.since_forgiven;
        if attempts <= acceptances.saturating_mul(2) {
            self.attempts = self.attempts.min(self.acceptances * FORGIVEN);
            self.since_forgiven = (0, 0);
        }
    }

    /// Returns whether the share of errors explains so many in a row; never with few acceptances.
    pub(super) fn explains(&self, errors: u32) -> bool {
        self.acceptances >= LEAST_ACCEPTANCES && explains(self.errors, errors)
    }
}

/// Delay of a failure that waits alone after its `errors`-th error in a row: a second while the share of
/// failures with an error explains so many, then doubled each time. (That share excludes the later attempts of
/// each failure, so that one that always fails does not speed up its own retries.)
pub(super) fn own_wait(errors: u32, share: f64, longest: Duration, random: &mut fastrand::Rng) -> Duration {
    let beyond = (1..errors).filter(|before| !explains(share, *before)).count();
    let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(20)).min(longest);
    wait.mul_f64(0.5 + 0.5 * random.f64())
}

fn explains(share: f64, errors: u32) -> bool {
    share.powi(i32::try_from(errors).unwrap_or(i32::MAX)) > LIKELY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(signals: &[bool]) -> Share {
        let mut share = Share::default();
        for accepted in signals {
            share.attempt();
            if *accepted {
                share.accept();
            }
        }
        share
    }

    #[test]
    fn a_ratio_needs_two_acceptances_and_follows_the_last_sixteen_attempts() {
        assert!(!after(&[true]).is_below(2.0));
        assert!(after(&[true, true]).is_below(2.0));
        assert!(after(&[true, true, false]).is_below(2.0));
        assert!(!after(&[true, true, false, false]).is_below(2.0));
        let mut share = after(&[true; 200]);
        (0..10).for_each(|_| share.attempt());
        assert!(share.is_below(2.0), "0.524 of the weight is left");
        share.attempt();
        assert!(!share.is_below(2.0));
    }

    #[test]
    fn a_failure_waits_a_second_for_each_error_that_the_share_explains_and_longer_beyond() {
        let mut random = fastrand::Rng::with_seed(1);
        for (share, expected) in [(0.05, [1, 1, 1, 2, 4, 8, 16]), (0.3, [1, 1, 1, 1, 1, 1, 2])] {
            for (errors, seconds) in (1..).zip(expected) {
                let most = Duration::from_secs(seconds);
                let wait = own_wait(errors, share, Duration::from_mins(1), &mut random);
                assert!(wait <= most && wait >= most / 2, "{share}, {errors}: {wait:?}");
            }
        }
        let most = own_wait(1000, 0.05, Duration::from_mins(1), &mut random);
        assert!(most <= Duration::from_mins(1));
    }

    #[test]
    fn without_errors_none_in_a_row_is_explained() {
        assert!(!after(&[true; 20]).explains(1));
        let sometimes: Vec<bool> = (0..200).map(|n| n % 10 != 0).collect();
        let share = after(&sometimes);
        assert!(share.explains(2) && !share.explains(4));
    }
}

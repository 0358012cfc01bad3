//! When a failure is due: the first delay, and the steps after counted attempts.

use crate::config::Retry;
use crate::policy::class::of_status;
use crate::record::{Class, ClientAttempt};
use std::time::Duration;

/// When a failure is sent for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstWait {
    /// In its turn.
    Now,
    /// When a probe that started after the recording has been answered, at the earliest after [`CONTACT_GRACE`].
    Line,
    /// After the first backoff step.
    Step(Duration),
}

/// Minimum delay of a failure that waits for contact: the agent must not race with an application that retries
/// at once itself, or records a failure twice.
pub const CONTACT_GRACE: Duration = Duration::from_secs(2);

impl Retry {
    /// The delay before retry `counted + 1`, with jitter.
    pub fn wait(&self, counted: u32, random: &mut fastrand::Rng) -> Duration {
        let index = usize::try_from(counted).unwrap_or(usize::MAX).min(self.steps.len().saturating_sub(1));
        let step = self.steps.get(index).copied().unwrap_or_default();
        step.mul_f64(1.0 + self.jitter * random.f64())
    }

    /// The first delay, which depends on how the application's own attempt ended.
    pub fn first(&self, client_attempt: ClientAttempt, random: &mut fastrand::Rng) -> FirstWait {
        match client_attempt {
            ClientAttempt::None => FirstWait::Now,
            ClientAttempt::Inconclusive => FirstWait::Line,
            ClientAttempt::Answered => FirstWait::Step(self.wait(0, random)),
        }
    }

    /// Returns whether this number of counted attempts exhausts the retries.
    #[must_use]
    pub fn used_up(&self, counted: u32) -> bool {
        counted >= self.max_retries
    }
}

/// How the application's own attempt ended, by its status. No status, status 0, and the responses of a busy or
/// missing back end are inconclusive about the failure.
#[must_use]
pub fn client_attempt(status: Option<u16>) -> ClientAttempt {
    match status {
        None | Some(0) => ClientAttempt::Inconclusive,
        // Gateways and access controls send these; they are inconclusive about the failure.
        Some(status) => match of_status(status, false) {
            Some(Class::Busy | Class::Throttled | Class::Unsure | Class::Unreachable) => ClientAttempt::Inconclusive,
            _ => ClientAttempt::Answered,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_and_the_last_repeats_with_positive_jitter_only() {
        let backoff = Retry::default();
        let mut random = fastrand::Rng::with_seed(7);
        for (counted, minutes) in [(0, 5), (1, 15), (2, 30), (3, 30), (4_000_000_000, 30)] {
            for _ in 0..200 {
                let wait = backoff.wait(counted, &mut random).as_secs_f64();
                let step = f64::from(minutes * 60);
                assert!(wait >= step && wait <= step * 1.2, "{counted}: {wait}");
            }
        }
    }

    #[test]
    fn the_first_wait_follows_the_applications_own_try() {
        assert_eq!(
            (client_attempt(None), client_attempt(Some(0))),
            (ClientAttempt::Inconclusive, ClientAttempt::Inconclusive)
        );
        for status in [408, 425, 429, 502, 503, 504, 507, 509, 511, 520, 522, 524, 527, 529, 530, 598, 599] {
            assert_eq!(client_attempt(Some(status)), ClientAttempt::Inconclusive, "{status}");
        }
        for status in [200, 400, 401, 404, 407, 421, 422, 500, 501, 525, 526, 561] {
            assert_eq!(client_attempt(Some(status)), ClientAttempt::Answered, "{status}");
        }
    }
}

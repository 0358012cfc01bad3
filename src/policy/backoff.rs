//! When a failure is due: the first wait, and the steps after counted tries (`spec/03`, When).

use crate::config::Retry;
use crate::record::OwnTry;
use std::time::Duration;

/// When a failure goes for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstWait {
    /// As soon as its turn comes.
    Now,
    /// When a probe that began after the recording has been answered, at the earliest after
    /// [`LINE_WAIT`].
    Line,
    /// After the first step.
    Step(Duration),
}

/// The least wait of a failure that waits for the line: an application that retries at once by
/// itself, or records twice, is not raced.
pub const LINE_WAIT: Duration = Duration::from_secs(2);

impl Retry {
    /// The wait before retry `counted + 1`, with its jitter.
    pub fn wait(&self, counted: u32, random: &mut fastrand::Rng) -> Duration {
        let index = usize::try_from(counted).unwrap_or(usize::MAX).min(self.steps.len().saturating_sub(1));
        let step = self.steps.get(index).copied().unwrap_or_default();
        step.mul_f64(1.0 + self.jitter * random.f64())
    }

    /// The first wait, by what the application's own try got.
    pub fn first(&self, own_try: OwnTry, random: &mut fastrand::Rng) -> FirstWait {
        match own_try {
            OwnTry::None => FirstWait::Now,
            OwnTry::NoWord => FirstWait::Line,
            OwnTry::Answered => FirstWait::Step(self.wait(0, random)),
        }
    }

    /// Has a failure with so many counted tries used up its budget?
    #[must_use]
    pub fn used_up(&self, counted: u32) -> bool {
        counted >= self.max_retries
    }
}

/// What an application's try says when it got this status: 0 and no status say nothing about the
/// failure, nor do the answers that a busy or absent back end gives.
#[must_use]
pub fn own_try(status: Option<u16>) -> OwnTry {
    match status {
        None | Some(0 | 408 | 425 | 429 | 502 | 503 | 504) => OwnTry::NoWord,
        Some(_) => OwnTry::Answered,
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
        for status in [None, Some(0), Some(408), Some(425), Some(429), Some(502), Some(503), Some(504)] {
            assert_eq!(own_try(status), OwnTry::NoWord, "{status:?}");
        }
        for status in [200, 400, 401, 404, 422, 500, 501] {
            assert_eq!(own_try(Some(status)), OwnTry::Answered, "{status}");
        }
    }
}

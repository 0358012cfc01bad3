//! A histogram of durations with 64 steps per doubling: at most 1.6 % wide, and of constant size.

use std::time::Duration;

/// Steps per doubling, as a power of two.
const BITS: u32 = 6;

/// Counts of durations by step.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 64 << BITS], total: 0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, time: Duration, times: u64) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[step(nanos)] += times;
        self.total += times;
    }

    /// The duration that this share of all did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper(step));
            }
        }
        Duration::ZERO
    }
}

/// Below 64 ns each nanosecond has its step; above, the six bits after the highest one select it.
fn step(nanos: u64) -> usize {
    let shift = (64 - nanos.leading_zeros()).saturating_sub(BITS + 1);
    ((u64::from(shift) << BITS) + (nanos >> shift)) as usize
}

/// The longest duration of a step.
fn upper(step: usize) -> u64 {
    let (step, per_doubling) = (step as u64, 1 << BITS);
    if step < 2 * per_doubling {
        return step;
    }
    let shift = step / per_doubling - 1;
    ((step - shift * per_doubling + 1) << shift) - 1
}

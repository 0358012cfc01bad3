//! The result of a scenario over all its seeds, as numbers to compare with bounds.

use crate::scenario::{Build, crashes};
use crate::till::{Failure, Till};
use crate::world::{HOUR, Kind, MINUTE};
use resyncd::config::upstream::Ordering;
use resyncd::record::Status;

/// The worst of all seeds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measure {
    /// Healthy failures that left, or ended, with a retry counted.
    pub(crate) charged: usize,
    /// The most retries that a healthy failure was ever charged.
    pub(crate) charge: u32,
    /// Healthy failures that were ever critical.
    pub(crate) ever_critical: usize,
    /// Healthy failures that are critical at the end.
    pub(crate) end_critical: usize,
    /// Healthy failures that are pending at the end though no failure blocks them.
    pub(crate) stuck: usize,
    /// Poisoned failures that are not critical at the end.
    pub(crate) loose: usize,
    /// Attempts of a poisoned failure.
    pub(crate) poison_tries: u32,
    /// From recording to critical.
    pub(crate) poison_ms: u64,
    /// From the recovery of the upstream to the delivery of everything recorded before.
    pub(crate) recovery_ms: u64,
    /// From recording to delivery of failures recorded later.
    pub(crate) delay_ms: u64,
    pub(crate) bad_a_minute: usize,
    pub(crate) bad_an_hour: usize,
    pub(crate) probes_a_minute: usize,
    pub(crate) failing: u32,
    pub(crate) blocked: u32,
    pub(crate) violations: Vec<String>,
}

pub(crate) fn measure(build: &Build, seeds: u64, with_crashes: bool) -> Measure {
    let mut worst = Measure::default();
    for seed in 0..seeds {
        let mut plot = build(seed);
        if with_crashes {
            crashes(&mut plot, seed);
        }
        plot.till.trace = std::env::var("TRACE").is_ok_and(|wanted| wanted == seed.to_string());
        plot.till.run(plot.end_ms);
        let one = of(&plot.till, plot.well_ms);
        if std::env::var("SEEDED").is_ok() {
            println!("  seed {seed}: {one:?}");
        }
        worst.add(one);
    }
    worst
}

fn of(till: &Till, well_ms: u64) -> Measure {
    let mut found = Measure { violations: till.violations.clone(), ..Measure::default() };
    for (index, failure) in till.failures.iter().enumerate().filter(|(_, failure)| !failure.human) {
        if failure.kind == Kind::Good {
            found.healthy(till, index, failure, well_ms);
        } else if failure.retry_state.standing.status() == Status::Critical {
            found.poison_tries = found.poison_tries.max(failure.attempts);
            let critical_ms = failure.first_critical_ms.unwrap_or(0);
            found.poison_ms = found.poison_ms.max(critical_ms.saturating_sub(failure.recorded_ms));
        } else {
            found.loose += 1;
        }
    }
    found.bad_a_minute = most_within(&till.bad_requests, MINUTE);
    found.bad_an_hour = most_within(&till.bad_requests, HOUR);
    found.probes_a_minute = most_within(&till.probes, MINUTE);
    found.failing = till.lines.iter().map(|line| line.times_failing).max().unwrap_or(0);
    found.blocked = till.lines.iter().map(|line| line.times_blocked).max().unwrap_or(0);
    found
}

impl Measure {
    fn healthy(&mut self, till: &Till, index: usize, failure: &Failure, well_ms: u64) {
        self.charged += usize::from(failure.retry_state.retry_count > 0);
        self.charge = self.charge.max(failure.max_count);
        self.ever_critical += usize::from(failure.first_critical_ms.is_some());
        let critical = failure.gone_ms.is_none() && failure.retry_state.standing.status() == Status::Critical;
        self.end_critical += usize::from(critical);
        let strict = till.lines[failure.upstream].pace.ordering == Ordering::Strict;
        let behind = till.failures[..index].iter().any(|earlier| {
            let before = earlier.key == failure.key || (strict && earlier.upstream == failure.upstream);
            let critical = earlier.gone_ms.is_none() && earlier.retry_state.standing.status() == Status::Critical;
            before && (earlier.kind != Kind::Good || earlier.human || critical)
        });
        match failure.gone_ms {
            _ if behind => {}
            None if critical => {}
            None => self.stuck += 1,
            Some(gone_ms) if failure.recorded_ms < well_ms => {
                self.recovery_ms = self.recovery_ms.max(gone_ms.saturating_sub(well_ms));
            }
            Some(gone_ms) => self.delay_ms = self.delay_ms.max(gone_ms - failure.recorded_ms),
        }
    }

    fn add(&mut self, one: Self) {
        let Self { violations, .. } = one;
        self.violations.extend(violations);
        self.charged = self.charged.max(one.charged);
        self.charge = self.charge.max(one.charge);
        self.ever_critical = self.ever_critical.max(one.ever_critical);
        self.end_critical = self.end_critical.max(one.end_critical);
        self.stuck = self.stuck.max(one.stuck);
        self.loose = self.loose.max(one.loose);
        self.poison_tries = self.poison_tries.max(one.poison_tries);
        self.poison_ms = self.poison_ms.max(one.poison_ms);
        self.recovery_ms = self.recovery_ms.max(one.recovery_ms);
        self.delay_ms = self.delay_ms.max(one.delay_ms);
        self.bad_a_minute = self.bad_a_minute.max(one.bad_a_minute);
        self.bad_an_hour = self.bad_an_hour.max(one.bad_an_hour);
        self.probes_a_minute = self.probes_a_minute.max(one.probes_a_minute);
        self.failing = self.failing.max(one.failing);
        self.blocked = self.blocked.max(one.blocked);
    }

    pub(crate) fn row(&self, name: &str) -> String {
        let time = |ms: u64| match ms {
            0..100_000 => format!("{:.0}s", ms as f64 / 1e3),
            100_000..6_000_000 => format!("{:.0}m", ms as f64 / 6e4),
            _ => format!("{:.1}h", ms as f64 / 3.6e6),
        };
        format!(
            "{name:<40} {:>4} {:>3} {:>4} {:>4} {:>4} {:>5} {:>5} {:>6} {:>6} {:>6} {:>4} {:>5} {:>3} {:>3}/{:<3} {}",
            self.charged,
            self.charge,
            self.ever_critical,
            self.end_critical,
            self.stuck,
            self.loose,
            self.poison_tries,
            time(self.poison_ms),
            time(self.recovery_ms),
            time(self.delay_ms),
            self.bad_a_minute,
            self.bad_an_hour,
            self.probes_a_minute,
            self.failing,
            self.blocked,
            self.violations.len()
        )
    }
}

pub(crate) const HEADER: &str = "scenario                                 chrg max evcr crit stck loose tries   time  recov  delay bd/m  bd/h p/m  fail/block violations";

/// The most of these times within any interval of this length.
fn most_within(times: &[u64], length: u64) -> usize {
    let mut times = times.to_vec();
    times.sort_unstable();
    let (mut first, mut most) = (0, 0);
    for (last, at) in times.iter().enumerate() {
        while at - times[first] >= length {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

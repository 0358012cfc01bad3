//! Metrics for Prometheus: the text exposition format 0.0.4, base units.
//!
//! A family without a value is left out. Counters are left out if no agent is running, because they count since its
//! start.

use super::fields::Code;
use crate::figures::{Histogram, Known, TableFigures, UpstreamFigures};
use crate::moment::WallTime;
use std::fmt::{Display, Write as _};
use std::time::Duration;

/// All states of an upstream.
const STATES: [&str; 9] =
    ["online", "paused", "offline", "blocked", "failing", "throttled", "waiting", "logging_in", "unknown"];

/// The whole text.
#[must_use]
pub fn text(known: &Known, table: &TableFigures) -> String {
    let mut text = Exposition::default();
    let version = env!("CARGO_PKG_VERSION");
    text.gauge("resyncd_build_info", "The program's version; the value is 1.", [([("version", version)], 1)]);
    counters(&mut text, known);
    of_table(&mut text, known, table);
    of_upstreams(&mut text, &known.lines);
    let active = known.alerts.iter().map(|(kind, active)| ([("kind", *kind)], u8::from(*active)));
    text.gauge("resyncd_alert_active", "1 while an alert of this kind is active.", active);
    text.0
}

fn counters(text: &mut Exposition, known: &Known) {
    let Some(counters) = &known.counters else { return };
    let [recorded, discarded, cleaned] = counters.by_type();
    for (name, help, counts) in [
        ("resyncd_recorded_total", "Failures that were recorded.", recorded),
        ("resyncd_discarded_total", "Failures that a person discarded.", discarded),
        ("resyncd_cleaned_total", "Failures that the clean-up took away.", cleaned),
    ] {
        text.counter(name, help, counts.into_iter().map(|(entity_type, count)| ([("type", entity_type)], count)));
    }
    let rejected = Code::ALL.map(|code| {
        let count = counters.rejections().get(code.as_str()).copied().unwrap_or_default();
        ([("code", code.as_str())], count)
    });
    text.counter("resyncd_rejected_total", "Requests that were answered with an error.", rejected);
    let upstreams = || counters.upstreams().iter();
    let attempts = upstreams().flat_map(|(name, at)| {
        at.attempts().map(move |(class, count)| ([("upstream", name.as_str()), ("class", class.as_str())], count))
    });
    text.counter("resyncd_attempts_total", "Requests to an upstream, by what their end means.", attempts);
    let delivered = upstreams().map(|(name, at)| ([("upstream", name.as_str())], at.delivered));
    text.counter("resyncd_delivered_total", "Failures that an upstream has accepted.", delivered);
    let acknowledged = [([], counters.acknowledgements())];
    let help = "From the reading of a record to its acknowledgement, which is after it is on disk.";
    text.histogram("resyncd_ack_duration_seconds", help, acknowledged);
    let took = upstreams().map(|(name, at)| ([("upstream", name.as_str())], &at.took));
    let help = "From the beginning of a request to the end of its answer, where that was a delivery.";
    text.histogram("resyncd_delivery_duration_seconds", help, took);
}

fn of_table(text: &mut Exposition, known: &Known, table: &TableFigures) {
    let failures = table.failures.iter().flat_map(|(entity_type, count)| {
        let by_status = [("pending", count.pending), ("held", count.held), ("critical", count.critical)];
        by_status.map(|(status, count)| ([("status", status), ("type", entity_type.as_str())], count))
    });
    text.gauge("resyncd_failures", "Live failures.", failures);
    let oldest = seconds(table.oldest_age);
    text.gauge("resyncd_oldest_age_seconds", "Age of the oldest live failure, 0 without one.", [([], oldest)]);
    let help = "Entities (or order keys) in which a failure waits behind another.";
    text.gauge("resyncd_blocked_entities", help, [([], table.blocked)]);
    text.gauge("resyncd_retries_mean", "Mean of the live failures' counted retries.", [([], table.retries_mean)]);
    text.gauge("resyncd_database_bytes", "Pages of the database in use.", [([], table.database_bytes)]);
    let free = known.disk_free.map(|bytes| ([], bytes));
    text.gauge("resyncd_disk_free_bytes", "Free room of the database's file system.", free);
}

fn of_upstreams(text: &mut Exposition, lines: &[UpstreamFigures]) {
    let states = lines.iter().filter_map(|line| Some((line.upstream.as_str(), line.state?)));
    let states = states.flat_map(|(upstream, is)| {
        STATES.map(|state| ([("upstream", upstream), ("state", state)], u8::from(state == is)))
    });
    text.gauge("resyncd_upstream_state", "1 for the state that the upstream is in.", states);
    let of = |line: &'_ UpstreamFigures| line.upstream.clone();
    let last: Vec<_> = lines.iter().filter_map(|line| Some((of(line), since_1970(line.last_delivery_at?)))).collect();
    let last = last.iter().map(|(upstream, at)| ([("upstream", upstream.as_str())], *at));
    text.gauge("resyncd_last_delivery_timestamp_seconds", "When the upstream last accepted something.", last);
    let skews = lines.iter().filter_map(|line| {
        let ms = line.clock_skew_ms?;
        let size = seconds(Duration::from_millis(ms.unsigned_abs()));
        Some(([("upstream", line.upstream.as_str())], if ms < 0 { -size } else { size }))
    });
    text.gauge("resyncd_clock_skew_seconds", "What the upstream's clock says more than ours.", skews);
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn since_1970(at: WallTime) -> f64 {
    seconds(Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0)))
}

/// The text under construction.
#[derive(Default)]
struct Exposition(String);

type Labels<'a, const N: usize> = [(&'a str, &'a str); N];

impl Exposition {
    fn gauge<'a, const N: usize, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a, N>, V)>,
    ) {
        self.family(name, "gauge", help, samples);
    }

    fn counter<'a, const N: usize, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a, N>, V)>,
    ) {
        self.family(name, "counter", help, samples);
    }

    fn family<'a, const N: usize, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a, N>, V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.heading(name, kind, help);
            samples.for_each(|(labels, value)| self.sample(name, &labels, value));
        }
    }

    fn histogram<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a, N>, &'a Histogram)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.heading(name, "histogram", help);
        }
        for (labels, histogram) in samples {
            let bucket = format!("{name}_bucket");
            let limits = histogram.up_to().map(|(bound, count)| (bound.to_string(), count));
            for (bound, count) in limits.chain([("+Inf".to_owned(), histogram.count())]) {
                let mut labels = labels.to_vec();
                labels.push(("le", &bound));
                self.sample(&bucket, &labels, count);
            }
            self.sample(&format!("{name}_sum"), &labels, seconds(histogram.sum()));
            self.sample(&format!("{name}_count"), &labels, histogram.count());
        }
    }

    fn heading(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a String takes everything");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (n, (label, value)) in labels.iter().enumerate() {
            self.0.push(if n == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        writeln!(self.0, " {value}").expect("a String takes everything");
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;

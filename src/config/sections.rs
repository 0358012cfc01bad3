//! `[retention]`, `[alerts]`, `[heartbeat]` and `[metrics]`: how long data is kept, when and how operators are
//! notified, and what is written for other programs. These are only the settings.

use super::problem::Place;
use super::table::{Document, Table};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const SECOND_TO_DAY: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;
const SECOND_TO_MONTH: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
const NOTHING_TO_DECADE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3650 * 86_400);
const SECOND_TO_DECADE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);

/// The section `[retention]`: what is removed, by age in agent time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Failures with more counted retries than this are removed after `exhausted_age`.
    pub exhausted_retries: u32,
    /// Maximum age of failures with more than `exhausted_retries`, 1 s to 3650 days.
    pub exhausted_age: Duration,
    /// Maximum age of any critical or held failure, 1 s to 3650 days.
    pub max_age: Duration,
    /// How long attempts, operations and idempotency keys are kept, 1 s to 3650 days.
    pub history: Duration,
    /// How long the files of the archive are kept, 1 s to 3650 days.
    pub archive: Duration,
    /// How long delivered failures are kept in the archive, 0 to 3650 days. 0: they are not archived.
    pub delivered: Duration,
    /// Interval of automatic runs, 1 s to 30 days.
    pub interval: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            exhausted_retries: 5,
            exhausted_age: 7 * DAY,
            max_age: 30 * DAY,
            history: 30 * DAY,
            archive: 365 * DAY,
            delivered: Duration::ZERO,
            interval: HOUR,
        }
    }
}

/// The section `[alerts]`: when operators are notified, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Number of recorded failures in a period.
    pub many_failures: Threshold,
    /// Number of failures and counted attempts of one entity in a period.
    pub entity_failing: Threshold,
    /// Average `retry_count` of live failures, 0 to 1,000,000.
    pub high_retries: f64,
    /// How long an upstream may be offline, or attempted without an acceptance, 1 s to 30 days.
    pub upstream_offline: Duration,
    /// A program with an absolute path, and its arguments; it gets each notice as JSON on standard input. Empty:
    /// none.
    pub command: Vec<String>,
    /// The URL that the current state is posted to.
    pub url: Option<String>,
}

/// A number of events in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// An alert is raised above this number, 1 to 1,000,000.
    pub count: u64,
    /// The period, 1 s to 30 days.
    pub window: Duration,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            many_failures: Threshold { count: 10, window: HOUR },
            entity_failing: Threshold { count: 3, window: DAY },
            high_retries: 2.0,
            upstream_offline: Duration::from_secs(15 * 60),
            command: Vec::new(),
            url: None,
        }
    }
}

/// The section `[heartbeat]`: regular reports to the head office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The URL that `health` is posted to; `None`: no heartbeat.
    pub url: Option<String>,
    /// Interval, 1 s to 1 day.
    pub every: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { url: None, every: Duration::from_secs(300) }
    }
}

/// The section `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// The file that the metrics are written to; `None`: no file.
    pub textfile: Option<PathBuf>,
}

impl Document<'_> {
    pub(super) fn retention(&mut self, section: Option<Table>) -> Retention {
        let mut retention = Retention::default();
        let Some(mut section) = section else { return retention };
        if let Some(mut exhausted) = section.table("exhausted", self) {
            if let Some(retries) = exhausted.number("retries", 0..=1_000_000, self) {
                retention.exhausted_retries = u32::try_from(retries).unwrap_or(u32::MAX);
            }
            exhausted.duration_into("age", &mut retention.exhausted_age, &SECOND_TO_DECADE, self);
            exhausted.finish(self);
        }
        section.duration_into("max_age", &mut retention.max_age, &SECOND_TO_DECADE, self);
        section.duration_into("history", &mut retention.history, &SECOND_TO_DECADE, self);
        section.duration_into("archive", &mut retention.archive, &SECOND_TO_DECADE, self);
        section.duration_into("delivered", &mut retention.delivered, &NOTHING_TO_DECADE, self);
        section.duration_into("interval", &mut retention.interval, &SECOND_TO_MONTH, self);
        section.finish(self);
        retention
    }

    pub(super) fn alerts(&mut self, section: Option<Table>) -> Alerts {
        let mut alerts = Alerts::default();
        let Some(mut section) = section else { return alerts };
        self.threshold(&mut section, "many_failures", &mut alerts.many_failures);
        self.threshold(&mut section, "entity_failing", &mut alerts.entity_failing);
        if let Some(average) = section.decimal("high_retries", 0.0..=1_000_000.0, self) {
            alerts.high_retries = average;
        }
        section.duration_into("upstream_offline", &mut alerts.upstream_offline, &SECOND_TO_MONTH, self);
        alerts.command = self.command(&mut section);
        alerts.url = section.url("url", false, self);
        section.finish(self);
        alerts
    }

    fn threshold(&mut self, section: &mut Table, key: &str, threshold: &mut Threshold) {
        let Some(mut table) = section.table(key, self) else { return };
        if let Some(count) = table.number("count", 1..=1_000_000, self) {
            threshold.count = count;
        }
        table.duration_into("window", &mut threshold.window, &SECOND_TO_MONTH, self);
        table.finish(self);
    }

    /// The path has to be absolute, because the search path of a service is not under the integrator's control.
    fn command(&mut self, section: &mut Table) -> Vec<String> {
        let Some((words, span)) = section.words("command", self) else { return Vec::new() };
        if words.first().is_some_and(|program| !program.starts_with('/')) {
            let message = format!("command: expected an absolute path as the first word, found {:?}", words[0]);
            self.report(Place::Span(span), message);
        }
        words
    }

    pub(super) fn heartbeat(&mut self, section: Option<Table>) -> Heartbeat {
        let mut heartbeat = Heartbeat::default();
        let Some(mut section) = section else { return heartbeat };
        heartbeat.url = section.url("url", false, self);
        section.duration_into("every", &mut heartbeat.every, &SECOND_TO_DAY, self);
        section.finish(self);
        heartbeat
    }

    pub(super) fn metrics(&mut self, section: Option<Table>) -> Metrics {
        let Some(mut section) = section else { return Metrics::default() };
        let metrics = Metrics { textfile: section.path("textfile", self) };
        section.finish(self);
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, Overrides};
    use super::*;
    use crate::limits::CardNumbers;

    fn load(text: &str) -> Result<Config, Vec<String>> {
        Config::load(Some(("f", text)), &Overrides::default(), &Environment::default())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_sections_the_defaults_hold() {
        let config = load("").expect("nothing is required");
        assert_eq!(config.retention, Retention::default());
        assert_eq!(config.alerts, Alerts::default());
        assert_eq!(config.heartbeat, Heartbeat { url: None, every: Duration::from_secs(300) });
        assert_eq!(config.metrics.textfile, None);
        assert_eq!(config.limits.card_numbers, CardNumbers::Warn);
    }

    #[test]
    fn every_key_is_taken() {
        let text = r#"
            [retention]
            exhausted = { retries = 7, age = "1d" }
            max_age = "2d"
            history = "3d"
            archive = "4d"
            delivered = "5d"
            interval = "1s"
            [alerts]
            many_failures = { count = 20, window = "2h" }
            entity_failing = { count = 1 }
            high_retries = 1
            upstream_offline = "1m"
            command = ["/usr/bin/page", "someone"]
            url = "https://hq.example/alerts"
            [heartbeat]
            url = "http://localhost:1/beat"
            every = "1m"
            [limits]
            card_numbers = "refuse"
            [metrics]
            textfile = "/tmp/resyncd.prom"
        "#;
        let config = load(text).expect("a right file");
        let retention = Retention {
            exhausted_retries: 7,
            exhausted_age: DAY,
            max_age: 2 * DAY,
            history: 3 * DAY,
            archive: 4 * DAY,
            delivered: 5 * DAY,
            interval: Duration::from_secs(1),
        };
        let alerts = Alerts {
            many_failures: Threshold { count: 20, window: 2 * HOUR },
            entity_failing: Threshold { count: 1, window: DAY },
            high_retries: 1.0,
            upstream_offline: Duration::from_secs(60),
            command: vec!["/usr/bin/page".into(), "someone".into()],
            url: Some("https://hq.example/alerts".into()),
        };
        assert_eq!((config.retention, config.alerts), (retention, alerts));
        let beat = Heartbeat { url: Some("http://localhost:1/beat".into()), every: Duration::from_secs(60) };
        assert_eq!(config.heartbeat, beat);
        assert_eq!(config.limits.card_numbers, CardNumbers::Refuse);
        assert_eq!(config.metrics.textfile, Some(PathBuf::from("/tmp/resyncd.prom")));
    }

    #[test]
    fn each_wrong_value_is_told_with_its_place() {
        for (wrong, place, said) in [
            ("[retention]\ninterval = \"0s\"", "f:2:12:", "interval"),
            ("[retention]\nmax_age = \"4000d\"", "f:2:11:", "max_age"),
            ("[retention]\ndelivered = \"4000d\"", "f:2:13:", "delivered"),
            ("[retention]\nexhausted = { retries = -1 }", "f:2:25:", "from 0 to 1000000"),
            ("[retention]\nexhausted = { ages = \"1d\" }", "f:2:15:", "did you mean age?"),
            ("[alerts]\nmany_failures = 10", "f:2:17:", "expected a table"),
            ("[alerts]\nmany_failures = { count = 0 }", "f:2:27:", "count"),
            ("[alerts]\nhigh_retries = \"2\"", "f:2:16:", "expected a number from 0 to 1000000"),
            ("[alerts]\nhigh_retries = nan", "f:2:16:", "expected a number"),
            ("[alerts]\ncommand = \"/bin/page\"", "f:2:11:", "list of texts"),
            ("[alerts]\ncommand = [\"page\"]", "f:2:11:", "absolute path"),
            ("[alerts]\nurl = \"http://hq.example/\"", "f:2:7:", "plain http"),
            ("[heartbeat]\nevery = \"2d\"", "f:2:9:", "every"),
            ("[heartbeat]\nevry = \"1d\"", "f:2:1:", "did you mean every?"),
            ("[metrics]\ntextfile = \"here.prom\"", "f:2:12:", "absolute path"),
            ("[limits]\ncard_numbers = \"no\"", "f:2:16:", "\"warn\", \"refuse\", \"off\""),
        ] {
            let told = load(wrong).expect_err(wrong);
            assert_eq!(told.len(), 1, "{wrong}: {told:?}");
            assert!(told[0].starts_with(place) && told[0].contains(said), "{wrong}: {}", told[0]);
        }
    }
}

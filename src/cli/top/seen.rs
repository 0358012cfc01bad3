//! The data of the live screen: the replies of one round of queries, as plain values.

use crate::figures::snapshot::{Failure, Snapshot};
use crate::figures::told::{PointView, SeriesReply};
use crate::moment::WallTime;
use std::time::Duration;

/// A snapshot of the agent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Id of the terminal.
    pub(super) terminal: String,
    /// Health, the newest critical or held failure, and data that is not queried in every round: active alerts, the
    /// series of the last day, and from its digest the errors, newest first, and the failures that block others.
    pub(super) snapshot: Snapshot,
    /// The failures shown, critical and held ones first.
    pub(super) failures: Vec<Failure>,
    /// Number of matching failures, shown or not; `None` if it is unknown.
    pub(super) matching: Option<u64>,
}

/// The current rates per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) recorded: f64,
    pub(super) delivered: f64,
    /// Attempts that were not accepted, including rejected ones.
    pub(super) failed: f64,
    /// The period of these rates.
    pub(super) span: Duration,
}

impl Pace {
    /// Computes the rates from the last interval, which lasts until now, and the one before.
    pub(super) fn of(series: &SeriesReply, now: WallTime) -> Option<Self> {
        let last = &series.points[series.points.len().saturating_sub(2)..];
        let begun = WallTime::parse(&last.first()?.at)?;
        // After a clock change the span may have any length, for one interval.
        let step = Duration::from_secs(series.step_seconds);
        let span = now.since(begun).clamp(Duration::from_secs(60), step * 2);
        #[expect(clippy::cast_precision_loss, reason = "counts of minutes, for people")]
        let a_minute =
            |count: fn(&PointView) -> u64| last.iter().map(count).sum::<u64>() as f64 * 60.0 / span.as_secs_f64();
        Some(Self {
            recorded: a_minute(|point| point.all.recorded),
            delivered: a_minute(|point| point.all.delivered),
            failed: a_minute(|point| point.all.failed + point.all.refused),
            span,
        })
    }
}

/// The maximum backlog in each of up to `room` equal parts of the series.
pub(super) fn backlog(series: &SeriesReply, room: usize) -> Vec<u64> {
    let size = series.points.len().div_ceil(room.max(1)).max(1);
    // Parts end now, so only the first one may be shorter.
    let parts = series.points.rchunks(size).map(|part| part.iter().map(|point| point.pending).max().unwrap_or(0));
    let mut parts: Vec<u64> = parts.collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::told::TallyView;

    fn series(pending: &[u64]) -> SeriesReply {
        let point = |(n, pending): (usize, &u64)| PointView {
            at: format!("2026-11-24T06:{:02}:00.000Z", n * 5),
            pending: *pending,
            all: TallyView { recorded: 10, delivered: 5, failed: 2, refused: 3, ..TallyView::default() },
            ..PointView::default()
        };
        SeriesReply { step_seconds: 300, points: pending.iter().enumerate().map(point).collect() }
    }

    fn at(text: &str) -> WallTime {
        WallTime::parse(text).expect("a time")
    }

    #[test]
    fn a_minute_is_told_from_the_last_interval_and_the_one_before() {
        let told = Pace::of(&series(&[0, 0, 0, 0]), at("2026-11-24T06:18:00Z")).expect("there are points");
        assert_eq!(told, Pace { recorded: 2.5, delivered: 1.25, failed: 1.25, span: Duration::from_secs(480) });
        let begun = Pace::of(&series(&[0]), at("2026-11-24T06:00:01Z")).expect("there is a point");
        assert!((begun.recorded - 10.0).abs() < 1e-9, "a minute at least: {begun:?}");
        let set = Pace::of(&series(&[0, 0]), at("2036-11-24T06:00:00Z")).expect("there are points");
        assert!((set.recorded - 2.0).abs() < 1e-9, "a clock that was set: {set:?}");
        assert_eq!(Pace::of(&SeriesReply::default(), at("2026-11-24T06:00:00Z")), None);
    }

    #[test]
    fn the_backlog_fits_its_room_and_keeps_its_peaks() {
        let all = series(&[1, 9, 2, 3, 4, 5, 6]);
        assert_eq!(backlog(&all, 10), [1, 9, 2, 3, 4, 5, 6]);
        assert_eq!(backlog(&all, 4), [1, 9, 4, 6]);
        assert_eq!(backlog(&all, 3), [1, 9, 6]);
        assert_eq!((backlog(&all, 0), backlog(&SeriesReply::default(), 5)), (vec![9], vec![]));
    }
}

//! The series built from stored intervals.

use super::*;

fn at(minutes: i64) -> AgentTime {
    AgentTime::from_millis(minutes * 60_000)
}

fn now(minutes: i64) -> Moment {
    Moment { agent: at(minutes), wall: WallTime::from_millis(1_795_500_000_000 + minutes * 60_000) }
}

fn pending(pending: u64) -> ByStatus {
    ByStatus { pending, ..ByStatus::default() }
}

/// The interval that begins at this minute.
fn kept(minutes: i64, live: u64, offline_minutes: u64) -> Kept {
    let mut counted = Counted { recorded: 1, ..Counted::default() };
    counted.at("hq").offline_ms = offline_minutes * 60_000;
    Kept { bucket: Bucket::of(at(minutes)), wall: now(minutes).wall, live: pending(live), counted }
}

fn told(series: &Series) -> Vec<(u64, u64, u64)> {
    series.points.iter().map(|point| (point.recorded, point.live.pending, point.all().offline_ms / 60_000)).collect()
}

#[test]
fn an_interval_that_is_not_kept_is_one_in_which_nothing_happened() {
    let series = Series::of(at(0), now(21), Some(pending(7)), &[kept(5, 3, 0), kept(15, 4, 0)], pending(2));
    assert_eq!(told(&series), [(0, 7, 0), (1, 3, 0), (0, 3, 0), (1, 4, 0), (0, 2, 0)]);
    assert_eq!(series.points[1].at, now(5).wall);
    assert_eq!(series.step, INTERVAL);
}

#[test]
fn a_long_time_away_reaches_back_into_the_intervals_in_which_it_was() {
    let series = Series::of(at(0), now(20), Some(pending(0)), &[kept(5, 0, 2), kept(15, 0, 12)], pending(0));
    assert_eq!(told(&series).iter().map(|told| told.2).collect::<Vec<_>>(), [0, 4, 5, 5, 0]);
}

#[test]
fn it_begins_with_the_first_that_is_known() {
    let series = Series::of(at(0), now(31), None, &[kept(20, 3, 0)], pending(2));
    assert_eq!(told(&series), [(1, 3, 0), (0, 3, 0), (0, 2, 0)]);
    assert_eq!(told(&Series::of(at(0), now(31), None, &[], pending(2))), [(0, 2, 0)]);
}

#[test]
fn a_month_has_at_most_a_thousand_points_and_loses_no_count_and_no_peak() {
    let month = 30 * 24 * 60;
    let all: Vec<Kept> = (0..month / 5).map(|n| kept(n * 5, if n == 4001 { 900 } else { 1 }, 5)).collect();
    let series = Series::of(at(0), now(month), Some(pending(0)), &all, pending(0));
    assert_eq!((series.step.as_secs(), series.points.len()), (3600, 721));
    assert_eq!(series.points.iter().map(|point| point.recorded).sum::<u64>(), 8640);
    assert_eq!(series.points.iter().map(|point| point.live.pending).max(), Some(900));
    assert!(series.points[..720].iter().all(|point| point.all().offline_ms == 3_600_000), "an hour of each hour");
}

/// The wall clock was wrong when an interval was stored; its position is defined by agent time.
#[test]
fn a_wall_clock_that_jumped_moves_no_interval() {
    let wrong = Kept { wall: WallTime::from_millis(0), ..kept(5, 3, 0) };
    let series = Series::of(at(0), now(11), Some(pending(0)), &[wrong], pending(3));
    assert_eq!(series.points[1].at, now(5).wall);
}

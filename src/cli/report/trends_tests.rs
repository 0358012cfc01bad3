//! Tests of a series' presentation.

use super::*;
use crate::figures::told::{TallyView, UpstreamTallyView};

/// Points of an hour each, with these numbers of seconds offline.
fn series(offline: &[u64]) -> SeriesReply {
    let begin = WallTime::parse("2026-11-01T00:00:00Z").expect("a time");
    let point = |(n, seconds): (usize, &u64)| {
        let tally = TallyView { offline_seconds: *seconds, delivered: 1, failed: 2, ..TallyView::default() };
        let hours = u64::try_from(n).expect("few") * 3600;
        PointView {
            at: begin.after(Duration::from_secs(hours)).rfc3339(),
            all: tally.clone(),
            pending: *seconds,
            upstreams: vec![UpstreamTallyView { name: "hq".into(), tally }],
            ..PointView::default()
        }
    };
    SeriesReply { step_seconds: 3600, points: offline.iter().enumerate().map(point).collect() }
}

#[test]
fn outages_begin_within_a_step_and_end_with_a_gap() {
    let offline = Upstream { name: "hq".into(), state: "offline".into(), ..Upstream::default() };
    let later = WallTime::parse("2026-11-01T07:00:00Z").expect("a time");
    let told = outages(&series(&[0, 600, 3600, 1200, 0, 0, 60]), std::slice::from_ref(&offline), later);
    let at = |text: &str| WallTime::parse(text).expect("a time");
    let outage =
        |from: &str, seconds, still| Outage { upstream: "hq".into(), offline: true, from: at(from), seconds, still };
    assert_eq!(told, [outage("2026-11-01T01:50:00Z", 5400, false), outage("2026-11-01T06:59:00Z", 60, true)]);

    // Ten minutes after the beginning of the last step: nothing begins in the future, and what is over does not last.
    let now = at("2026-11-01T06:10:00Z");
    let told = outages(&series(&[0, 0, 0, 0, 0, 0, 60]), &[offline], now);
    assert_eq!(told, [outage("2026-11-01T06:09:00Z", 60, true)]);
    let online = Upstream { name: "hq".into(), state: "online".into(), ..Upstream::default() };
    let told = outages(&series(&[0, 0, 0, 0, 0, 0, 60]), &[online], now);
    assert_eq!(told, [outage("2026-11-01T06:09:00Z", 60, false)]);
}

#[test]
fn bands_that_touch_are_one_and_a_moment_is_none() {
    let told = bands(&series(&[0, 3600, 3600, 0, 10, 3600]));
    let shares: Vec<(f64, f64)> = told.iter().map(|band| (band.from * 6.0, band.to * 6.0)).collect();
    assert_eq!(shares.len(), 2, "{shares:?}");
    assert!((shares[0].0 - 1.0).abs() < 1e-9 && (shares[0].1 - 3.0).abs() < 1e-9, "{shares:?}");
}

#[test]
fn a_plot_says_in_words_and_rows_what_it_shows() {
    let plot = attempts(&series(&[0; 30]), Span::Month);
    assert_eq!(plot.words, "0 recorded, 30 delivered, 0 refused; 60 other attempts did not deliver.");
    assert_eq!(plot.table.rows.len(), 2, "two days");
    let backlog = backlog(&series(&[0, 7, 3]), Span::Day);
    assert!(backlog.words.starts_with("At most 7 were pending, at 2026-11-01 "), "{}", backlog.words);
    assert!(backlog.words.ends_with("Now: 3 pending, 0 critical, 0 held."), "{}", backlog.words);
}

#[test]
fn half_of_the_deliveries_is_told() {
    let digest =
        Digest { wait_seconds: vec![1, 60], waits: vec![2, 5, 1], longest_wait_seconds: 90, ..Digest::default() };
    let Block::Plots(plots) = &waits(&digest)[0] else { panic!("a plot") };
    assert_eq!(
        plots[0].words,
        "8 deliveries, from the recording to the upstream's acceptance. Half of them took up to 1 min. The longest took \
         1 min."
    );
}

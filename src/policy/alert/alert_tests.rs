//! Edges, grouped notices, state across a restart, bounds.

use super::window::{Entities, EntityTag, Recent};
use super::*;
use crate::limits::MAX_ENTITY_EVENTS;
use proptest::prelude::*;
use std::cell::Cell;
use std::time::Duration;

fn at(seconds: u64) -> Moment {
    let wait = Duration::from_secs(seconds);
    Moment { agent: AgentTime::ZERO.after(wait), wall: WallTime::from_millis(1_795_500_754_123).after(wait) }
}

fn fire(board: &mut AlertTable, seconds: u64, kind: Kind, subject: &str) {
    board.fire(at(seconds), kind, subject, false, || (format!("{subject} at {seconds}"), seconds));
}

fn told(board: &mut AlertTable, seconds: u64) -> Vec<(Kind, Vec<(String, bool)>)> {
    let notices = board.notices(at(seconds)).into_iter();
    let alerts = |notice: Notice| notice.alerts.into_iter().map(|alert| (alert.subject, alert.active)).collect();
    notices.map(|notice| (notice.kind, alerts(notice))).collect()
}

/// The board as restored from the store after a restart.
fn restarted(board: &AlertTable) -> AlertTable {
    let mut next = AlertTable::default();
    next.adopt(board.alerts().cloned().collect());
    next
}

#[test]
fn an_edge_is_told_once_and_its_end_within_the_hour_later() {
    let mut board = AlertTable::default();
    fire(&mut board, 0, Kind::DiskLow, "");
    assert_eq!(told(&mut board, 0), [(Kind::DiskLow, vec![(String::new(), true)])]);
    fire(&mut board, 60, Kind::DiskLow, "");
    assert_eq!(told(&mut board, 60), [], "it still holds, which is no news");
    board.clear(at(120), Kind::DiskLow, "");
    assert_eq!(told(&mut board, 120), [], "its kind has spoken less than an hour ago");
    assert_eq!(board.next_notice_at(at(120).agent), Some(at(3600).agent));
    assert_eq!(told(&mut board, 3600), [(Kind::DiskLow, vec![(String::new(), false)])]);
    assert_eq!(board.next_notice_at(at(3600).agent), None);
    fire(&mut board, 9000, Kind::DiskLow, "");
    assert_eq!(told(&mut board, 9000).len(), 1, "after an hour without a notification the next one is immediate");
}

#[test]
fn what_changes_within_the_hour_is_in_the_next_digest_as_it_stands_then() {
    let mut board = AlertTable::default();
    fire(&mut board, 0, Kind::UpstreamOffline, "hq");
    told(&mut board, 0);
    for subject in ["a", "b", "c"] {
        fire(&mut board, 10, Kind::UpstreamOffline, subject);
    }
    board.clear(at(20), Kind::UpstreamOffline, "b");
    board.clear(at(30), Kind::UpstreamOffline, "hq");
    fire(&mut board, 40, Kind::UpstreamOffline, "hq");
    fire(&mut board, 50, Kind::ClockWrong, "hq");
    assert_eq!(told(&mut board, 50), [(Kind::ClockWrong, vec![("hq".into(), true)])], "each kind by itself");
    let digest = [("a", true), ("b", false), ("c", true), ("hq", true)].map(|(name, is)| (name.to_owned(), is));
    assert_eq!(told(&mut board, 3600), [(Kind::UpstreamOffline, digest.to_vec())]);
}

#[test]
fn a_restart_neither_repeats_a_notice_nor_loses_one() {
    let mut board = AlertTable::default();
    fire(&mut board, 0, Kind::DiskLow, "");
    told(&mut board, 0);
    let mut board = restarted(&board);
    fire(&mut board, 60, Kind::DiskLow, "");
    assert_eq!(told(&mut board, 60), [], "it was active, and is");
    board.clear(at(70), Kind::DiskLow, "");
    let mut board = restarted(&board);
    assert_eq!(told(&mut board, 80), []);
    assert_eq!(told(&mut board, 3600).len(), 1, "its end was never told");
}

/// Found by the simulation: the agent was off for a day, reported the end at the next start, and removed it
/// together with the alert. So the same kind sent another notice within the hour.
#[test]
fn an_end_that_is_told_a_day_late_counts_as_spoken() {
    let mut board = AlertTable::default();
    fire(&mut board, 0, Kind::UpstreamOffline, "hq");
    told(&mut board, 0);
    board.clear(at(60), Kind::UpstreamOffline, "hq");
    let (mut board, start) = (restarted(&board), 2 * ALERT_RETENTION.as_secs());
    assert_eq!(told(&mut board, start).len(), 1);
    board.tidy(at(start + 60));
    fire(&mut board, start + 61, Kind::UpstreamOffline, "hq");
    assert_eq!(told(&mut board, start + 61), []);
    assert_eq!(told(&mut board, start + 3600).len(), 1);
}

#[test]
fn what_ended_is_shown_for_a_day_and_a_happening_stands_for_one() {
    let day = ALERT_RETENTION.as_secs();
    let mut board = AlertTable::default();
    board.happen(at(0), Kind::DatabaseCorrupt, "q", || ("lost".into(), 1));
    told(&mut board, 0);
    board.happen(at(100), Kind::DatabaseCorrupt, "q", || ("lost".into(), 1));
    board.tidy(at(day));
    assert!(board.is_active(Kind::DatabaseCorrupt, "q"), "it happened once more");
    board.tidy(at(day + 100));
    assert!(!board.is_active(Kind::DatabaseCorrupt, "q"));
    assert_eq!(told(&mut board, day + 100).len(), 1);
    board.saved();
    board.tidy(at(2 * day + 100));
    assert_eq!(board.alerts().count(), 0);
    assert_eq!(board.gone(), [(Kind::DatabaseCorrupt, "q".to_owned())]);
}

#[test]
fn words_are_asked_for_at_an_edge_or_when_they_may_have_changed() {
    let (mut board, asked) = (AlertTable::default(), Cell::new(0));
    // Where they have changed, once for people and once for the log.
    for (anew, message, calls) in [(false, "1", 2), (false, "2", 0), (true, "2", 2), (true, "2", 1)] {
        asked.set(0);
        board.fire(at(1), Kind::ManyFailures, "", anew, || {
            asked.set(asked.get() + 1);
            (message.to_owned(), 2)
        });
        assert_eq!(asked.get(), calls, "{anew} {message}");
    }
    board.saved();
    board.fire(at(2), Kind::ManyFailures, "", true, || ("2".into(), 2));
    assert_eq!(board.unsaved().count(), 0, "nothing has changed");
}

#[test]
fn an_alert_has_an_english_message_for_the_log() {
    let mut board = AlertTable::default();
    Language::Spanish.during(|| {
        board.happen(at(0), Kind::DatabaseForeignWrite, "", || (text::foreign_write().to_owned(), 0));
    });
    let message = &board.alerts().next().expect("it is on the board").message;
    assert!(message.starts_with("otro programa"), "{message}");
    assert_eq!(board.english(Kind::DatabaseForeignWrite, ""), Some(text::foreign_write()));
}

#[test]
fn a_flood_of_subjects_takes_the_places_of_what_ended_and_then_one_for_all() {
    let mut board = AlertTable::default();
    fire(&mut board, 0, Kind::EntityFailing, "ended");
    told(&mut board, 0);
    board.clear(at(1), Kind::EntityFailing, "ended");
    for n in 0..2 * ALERTS_OF_A_KIND {
        fire(&mut board, 2, Kind::EntityFailing, &format!("SALE s-{n}"));
    }
    assert_eq!(board.alerts().count(), ALERTS_OF_A_KIND + 1);
    assert!(board.is_active(Kind::EntityFailing, OTHERS) && !board.is_active(Kind::EntityFailing, "ended"));
    assert_eq!(told(&mut board, 3), [], "its kind has spoken, though the one that it spoke of has left");
    board.clear(at(4), Kind::EntityFailing, "SALE s-0");
    board.tidy(at(5));
    assert!(!board.is_active(Kind::EntityFailing, OTHERS), "there is a place again");
}

#[test]
fn recent_happenings_are_counted_to_one_above_the_threshold() {
    let (mut recent, hour) = (Recent::above(3), Duration::from_secs(3600));
    for seconds in [0, 10, 20, 30, 40] {
        recent.note(at(seconds).agent);
    }
    assert_eq!(recent.count(at(50).agent, hour), 4);
    assert_eq!(recent.under_at(2, hour), Some(at(3630).agent));
    assert_eq!(recent.under_at(5, hour), None, "there are fewer already");
    assert_eq!(recent.count(at(3629).agent, hour), 2);
    assert_eq!(recent.count(at(3630).agent, hour), 1);
    let late = recent.note(at(3000).agent);
    assert_eq!(recent.count(at(3631).agent, hour), 2);
    recent.undo(late);
    assert_eq!(recent.count(at(3631).agent, hour), 1);
}

#[test]
fn undoing_brings_back_what_had_to_go() {
    let (mut recent, hour) = (Recent::above(3), Duration::from_secs(3600));
    for seconds in [0, 10, 20, 30] {
        recent.note(at(seconds).agent);
    }
    let changes: Vec<_> = [25, 40, 5].into_iter().map(|seconds| recent.note(at(seconds).agent)).collect();
    changes.into_iter().rev().for_each(|change| recent.undo(change));
    assert_eq!(recent.count(at(50).agent, hour), 4);
    assert_eq!(recent.under_at(4, hour), Some(at(3600).agent));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Compared with counting everything; and no forgotten event is counted.
    #[test]
    fn entities_are_counted_as_if_all_were_remembered(
        happenings in proptest::collection::vec((0_u64..50, 0_u8..4, 0_usize..3), 0..200),
    ) {
        let window = Duration::from_secs(300);
        let (mut entities, mut all, mut now) = (Entities::default(), Vec::new(), 0);
        for (wait, entity, back) in happenings {
            now += wait;
            let tag = EntityTag::of("SALE", &entity.to_string());
            all.push((now, entity));
            let (counted, change) = entities.note(at(now).agent, tag, window);
            let expected = all.iter().filter(|(at, other)| *other == entity && now - at < 300).count();
            prop_assert_eq!(counted, expected as u64);
            if back == 2 {
                all.pop();
                entities.undo(change);
                let expected = all.iter().filter(|(at, other)| *other == entity && now - at < 300).count();
                prop_assert_eq!(entities.count(at(now).agent, tag, window), expected as u64);
            }
        }
    }

    /// For any sequence of starts and ends: a kind sends at most one notice an hour, no state is reported twice
    /// without a change in between, and the last notice is true once its hour is over.
    #[test]
    fn notices_keep_their_hour_and_end_with_the_truth(
        steps in proptest::collection::vec((0_u64..2000, 0_u8..3, any::<bool>(), any::<bool>()), 1..80),
    ) {
        let (mut board, mut now, mut spoke): (AlertTable, u64, Option<u64>) = (AlertTable::default(), 0, None);
        let mut believed = [false; 3];
        let mut truth = [false; 3];
        let end = [(4000, 0, false, false), (4000, 0, false, false)].into_iter();
        let last = steps.len();
        for (n, (wait, subject, holds, restart)) in steps.into_iter().chain(end).enumerate() {
            now += wait;
            if n < last {
                truth[usize::from(subject)] = holds;
                let name = subject.to_string();
                if holds {
                    fire(&mut board, now, Kind::UpstreamOffline, &name);
                } else {
                    board.clear(at(now), Kind::UpstreamOffline, &name);
                }
                if restart {
                    board = restarted(&board);
                }
            }
            board.tidy(at(now));
            for (_, alerts) in told(&mut board, now) {
                prop_assert!(spoke.is_none_or(|spoke| now - spoke >= 3600), "twice within an hour");
                spoke = Some(now);
                for (name, active) in alerts {
                    believed[name.parse::<usize>().expect("a number")] = active;
                }
            }
        }
        prop_assert_eq!(believed, truth);
    }
}

#[test]
fn a_flood_forgets_the_oldest() {
    let mut entities = Entities::default();
    let (first, window) = (EntityTag::of("SALE", "first"), Duration::from_secs(86_400));
    entities.note(at(0).agent, first, window);
    for n in 0..MAX_ENTITY_EVENTS {
        entities.note(at(1).agent, EntityTag::of("SALE", &n.to_string()), window);
    }
    assert_eq!(entities.count(at(2).agent, first, window), 0);
}

#[test]
fn names_are_read_back() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(Kind::parse("x"), None);
}

//! Keys on a made-up screen.

use super::*;
use crate::figures::snapshot::Snapshot;

const SIZE: (usize, usize) = (80, 24);

fn seen(failures: &[(&str, &str)]) -> Seen {
    let one = |(seq, (id, status)): (i64, &(&str, &str))| {
        let (id, status) = ((*id).to_owned(), (*status).to_owned());
        Failure { id, seq, status, ..Failure::default() }
    };
    Seen {
        terminal: "till-07".into(),
        snapshot: Snapshot { running: true, ..Snapshot::default() },
        failures: (1..).zip(failures).map(one).collect(),
        matching: Some(failures.len() as u64),
    }
}

fn watch() -> Watch {
    Watch::new(seen(&[("a", "critical"), ("b", "held"), ("c", "pending")]), Duration::ZERO)
}

fn presses(watch: &mut Watch, keys: &[Key]) -> Act {
    let acts: Vec<Act> = keys.iter().map(|key| watch.press(*key, SIZE)).collect();
    acts.into_iter().next_back().expect("a key at least")
}

fn typed(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

fn chosen(watch: &Watch) -> &str {
    watch.current().map(|one| one.id.as_str()).expect("one is chosen")
}

#[test]
fn the_chosen_one_stays_chosen_however_the_list_changes() {
    let mut watch = watch();
    presses(&mut watch, &[Key::Down, Key::Down, Key::Down]);
    assert_eq!(chosen(&watch), "c", "the last one is the end");
    watch.hears(
        News::Seen(Box::new(seen(&[("x", "critical"), ("c", "pending"), ("y", "pending")]))),
        Duration::ZERO,
        80,
    );
    assert_eq!(chosen(&watch), "c");
    watch.hears(News::Seen(Box::new(seen(&[("x", "critical"), ("y", "pending")]))), Duration::ZERO, 80);
    assert_eq!(chosen(&watch), "y", "the one in its place");
    watch.hears(News::Seen(Box::new(seen(&[]))), Duration::ZERO, 80);
    assert!(watch.current().is_none());
    assert!(matches!(presses(&mut watch, &[Key::Enter]), Act::Nothing));
    presses(&mut watch, &[Key::Char('r'), Key::Enter]);
    assert!(watch.line.is_none(), "nothing is chosen, nothing is done");
}

#[test]
fn a_deed_is_asked_about_and_stays_with_its_failure() {
    let mut watch = watch();
    assert!(matches!(presses(&mut watch, &[Key::Char('r')]), Act::Nothing), "it asks first");
    watch.hears(News::Seen(Box::new(seen(&[("x", "critical")]))), Duration::ZERO, 80);
    presses(&mut watch, &typed("new SKU "));
    match presses(&mut watch, &[Key::Enter]) {
        Act::Wish(Wish::BulkAction { id, what: Many::Retry { reset: false }, reason }) => {
            assert_eq!((id.as_str(), reason.as_deref()), ("a", Some("new SKU")));
        }
        other => panic!("{other:?}"),
    }
    presses(&mut watch, &[Key::Char('h'), Key::Escape]);
    assert!(watch.line.is_none(), "Escape does nothing");
    match presses(&mut watch, &[Key::Char('h'), Key::Enter]) {
        Act::Wish(Wish::BulkAction { id, what: Many::Hold, reason: None }) => assert_eq!(id, "x"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_held_is_released() {
    let mut watch = watch();
    let act = presses(&mut watch, &[Key::Down, Key::Char('h'), Key::Enter]);
    assert!(matches!(act, Act::Wish(Wish::BulkAction { what: Many::Release, .. })), "{act:?}");
}

#[test]
fn what_is_pasted_is_no_command_but_may_be_a_reason() {
    let mut watch = watch();
    assert!(matches!(presses(&mut watch, &[Key::Pasted('q'), Key::Pasted('r')]), Act::Nothing));
    assert!(watch.line.is_none());
    let act = presses(&mut watch, &[Key::Char('r'), Key::Pasted('q'), Key::Enter]);
    assert!(matches!(act, Act::Wish(Wish::BulkAction { reason: Some(reason), .. }) if reason == "q"));
}

#[test]
fn a_filter_is_typed_mended_and_taken_away() {
    let mut watch = watch();
    presses(&mut watch, &[Key::Char('/')]);
    presses(&mut watch, &typed("kind=SALE"));
    assert!(matches!(presses(&mut watch, &[Key::Enter]), Act::Nothing));
    assert!(watch.said.as_ref().is_some_and(|said| said.contains("type entity")), "{:?}", watch.said);
    presses(&mut watch, &[Key::Ctrl('u')]);
    presses(&mut watch, &typed("held"));
    assert!(matches!(presses(&mut watch, &[Key::Enter]), Act::Wish(Wish::See(sieve)) if sieve.typed == "held"));
    assert!(matches!(presses(&mut watch, &[Key::Escape]), Act::Wish(Wish::See(sieve)) if sieve.is_open()));
}

#[test]
fn q_is_a_letter_while_something_is_typed_and_ctrl_c_ends_always() {
    let mut watch = watch();
    assert!(matches!(presses(&mut watch, &[Key::Char('/'), Key::Char('q')]), Act::Nothing));
    assert!(matches!(presses(&mut watch, &[Key::Ctrl('c')]), Act::Quit));
    assert!(matches!(presses(&mut self::watch(), &[Key::Char('q')]), Act::Quit));
}

#[test]
fn a_page_is_opened_scrolled_and_kept_up_to_date() {
    let mut watch = watch();
    let act = presses(&mut watch, &[Key::Down, Key::Enter]);
    assert!(matches!(act, Act::Wish(Wish::Page { id, columns: 80 }) if id == "b"));
    let lines = ["one", "two", "three"].map(str::to_owned).to_vec();
    watch.hears(News::Page { id: "a".into(), lines: vec!["another one's".into()] }, Duration::ZERO, 80);
    watch.hears(News::Page { id: "b".into(), lines: lines.clone() }, Duration::ZERO, 80);
    presses(&mut watch, &[Key::Down, Key::End, Key::Down]);
    assert_eq!(watch.view, View::Page { id: "b".into(), lines, first: 2 });
    assert_eq!(watch.row, 1, "the list has not moved");
    let act = watch.hears(News::Said("1 of 1 released".into()), Duration::ZERO, 80);
    assert!(matches!(act, Act::Wish(Wish::Page { .. })), "a deed changes the page");
    let look = || News::Seen(Box::new(seen(&[("b", "held")])));
    let asked = (0..PAGE_EVERY).filter(|_| matches!(watch.hears(look(), Duration::ZERO, 80), Act::Wish(_))).count();
    assert_eq!(asked, 1, "once in so many looks");
    presses(&mut watch, &[Key::Escape]);
    assert_eq!(watch.view, View::List);
}

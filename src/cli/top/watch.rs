//! The state machine of the live screen: keys in, requests out. It neither draws nor queries.

use super::filter::RowFilter;
use super::keys::Key;
use super::poller::{News, Wish};
use super::seen::Seen;
use crate::cli::operate::Many;
use crate::figures::snapshot::Failure;
use crate::limits::MAX_REASON;
use crate::text::top as text;
use std::time::Duration;

/// An open page is requested again after this number of snapshots.
const PAGE_EVERY: u32 = 5;
/// Maximum characters of a filter.
const LONGEST_FILTER: usize = 200;

/// State of the live screen.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) seen: Seen,
    /// When that was, since boot.
    pub(super) seen_at: Duration,
    /// Why there is currently no answer.
    pub(super) silent: Option<String>,
    pub(super) sieve: RowFilter,
    /// The id of the selected failure; `None` until the operator selects one: the first.
    chosen: Option<String>,
    /// The row of the selected failure, which is kept when that one is removed.
    pub(super) row: usize,
    pub(super) view: View,
    /// The input in the last lines.
    pub(super) line: Option<Line>,
    /// The result of the last request.
    pub(super) said: Option<String>,
    looks: u32,
}

/// The current view.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum View {
    /// The state and the failures.
    List,
    /// The keys.
    Help,
    /// One failure; its unwrapped lines, and the first one that is visible.
    Page { id: String, lines: Vec<String>, first: usize },
}

/// The current input.
#[derive(Debug)]
pub(super) enum Line {
    /// A filter.
    Filter(String),
    /// The reason for an operation, which runs on Enter.
    BulkAction { failure: Box<Failure>, what: Many, reason: String },
}

/// An action for the caller.
#[derive(Debug)]
pub(super) enum Act {
    Nothing,
    Wish(Wish),
    /// Write the whole screen again.
    Redraw,
    Quit,
}

impl Watch {
    pub(super) fn new(seen: Seen, seen_at: Duration) -> Self {
        Self {
            seen,
            seen_at,
            silent: None,
            sieve: RowFilter::default(),
            chosen: None,
            row: 0,
            view: View::List,
            line: None,
            said: None,
            looks: 0,
        }
    }

    /// Handles a result of the thread.
    pub(super) fn hears(&mut self, news: News, now: Duration, columns: usize) -> Act {
        match news {
            News::Seen(seen) => {
                (self.seen, self.seen_at, self.silent) = (*seen, now, None);
                let place = |id: &String| self.seen.failures.iter().position(|one| one.id == **id);
                let row = self.chosen.as_ref().and_then(place).unwrap_or(self.row);
                self.row = row.min(self.seen.failures.len().saturating_sub(1));
                self.looks = self.looks.wrapping_add(1);
                if self.looks.is_multiple_of(PAGE_EVERY) { self.page_again(columns) } else { Act::Nothing }
            }
            News::Silent(why) => {
                self.silent = Some(why);
                Act::Nothing
            }
            News::Page { id, lines } => {
                match &mut self.view {
                    View::Page { id: shown, lines: before, .. } if *shown == id => *before = lines,
                    _ => {}
                }
                Act::Nothing
            }
            News::Said(what) => {
                self.said = Some(what);
                self.page_again(columns)
            }
        }
    }

    /// Requests the open page again, because it may have changed.
    pub(super) fn page_again(&self, columns: usize) -> Act {
        match &self.view {
            View::Page { id, .. } => Act::Wish(Wish::Page { id: id.clone(), columns }),
            _ => Act::Nothing,
        }
    }

    /// Handles a key, on a screen of this size.
    pub(super) fn press(&mut self, key: Key, (columns, rows): (usize, usize)) -> Act {
        self.said = None;
        match key {
            Key::Ctrl('c' | 'd') => return Act::Quit,
            Key::Ctrl('l') => return Act::Redraw,
            _ => {}
        }
        if let Some(line) = self.line.take() {
            return self.types(line, key);
        }
        match (&self.view, key) {
            (_, Key::Char('q')) => Act::Quit,
            (View::List, Key::Escape) if !self.sieve.is_open() => self.see(RowFilter::default()),
            (_, Key::Escape) | (View::Help, _) | (View::Page { .. }, Key::Enter | Key::Backspace) => self.back(),
            (_, Key::Char('?')) => {
                self.view = View::Help;
                Act::Nothing
            }
            (View::List, Key::Char('/')) => {
                self.line = Some(Line::Filter(self.sieve.typed.clone()));
                Act::Nothing
            }
            (_, Key::Char('r')) => self.begins(Many::Retry { reset: false }),
            (_, Key::Char('h')) if self.current().is_some_and(|one| one.status == "held") => self.begins(Many::Release),
            (_, Key::Char('h')) => self.begins(Many::Hold),
            (View::List, Key::Enter) => self.opens(columns),
            _ => {
                self.moves(key, rows);
                Act::Nothing
            }
        }
    }

    fn back(&mut self) -> Act {
        self.view = View::List;
        Act::Nothing
    }

    /// The failure that keys act on: the one whose page is open, otherwise the selected one.
    pub(super) fn current(&self) -> Option<&Failure> {
        match &self.view {
            View::Page { id, .. } => self.seen.failures.iter().find(|one| one.id == **id),
            _ => self.seen.failures.get(self.row),
        }
    }

    fn opens(&mut self, columns: usize) -> Act {
        let Some(id) = self.current().map(|one| one.id.clone()) else { return Act::Nothing };
        self.chosen = Some(id.clone());
        self.view = View::Page { id: id.clone(), lines: Vec::new(), first: 0 };
        Act::Wish(Wish::Page { id, columns })
    }

    /// Asks for the reason first; the failure stays the same even if the list changes meanwhile.
    fn begins(&mut self, what: Many) -> Act {
        match self.current().cloned() {
            Some(failure) => {
                self.line = Some(Line::BulkAction { failure: Box::new(failure), what, reason: String::new() });
            }
            None => self.said = Some(text::none_selected().into()),
        }
        Act::Nothing
    }

    fn see(&mut self, sieve: RowFilter) -> Act {
        (self.chosen, self.row) = (None, 0);
        self.sieve = sieve.clone();
        Act::Wish(Wish::See(sieve))
    }

    /// Handles a key during input.
    fn types(&mut self, line: Line, key: Key) -> Act {
        let longest = match &line {
            Line::Filter(_) => LONGEST_FILTER,
            Line::BulkAction { .. } => MAX_REASON,
        };
        match (key, line) {
            (Key::Escape, _) => return Act::Nothing,
            (Key::Enter, Line::Filter(typed)) => match RowFilter::parse(&typed) {
                Ok(sieve) => return self.see(sieve),
                Err(wrong) => {
                    self.said = Some(wrong);
                    self.line = Some(Line::Filter(typed));
                    return Act::Nothing;
                }
            },
            (Key::Enter, Line::BulkAction { failure, what, reason }) => {
                let reason = Some(reason.trim().to_owned()).filter(|reason| !reason.is_empty());
                return Act::Wish(Wish::BulkAction { id: failure.id, what, reason });
            }
            (key, mut line) => {
                let (Line::Filter(typed) | Line::BulkAction { reason: typed, .. }) = &mut line;
                match key {
                    Key::Char(c) | Key::Pasted(c) if typed.chars().count() < longest => typed.push(c),
                    Key::Backspace => drop(typed.pop()),
                    Key::Ctrl('u') => typed.clear(),
                    _ => {}
                }
                self.line = Some(line);
            }
        }
        Act::Nothing
    }

    fn moves(&mut self, key: Key, rows: usize) {
        let (place, last) = match &mut self.view {
            View::Page { lines, first, .. } => (first, lines.len().saturating_sub(1)),
            _ => (&mut self.row, self.seen.failures.len().saturating_sub(1)),
        };
        let page = rows / 2;
        *place = match key {
            Key::Up | Key::Char('k') => place.saturating_sub(1),
            Key::Down | Key::Char('j') => *place + 1,
            Key::PageUp => place.saturating_sub(page),
            Key::PageDown | Key::Char(' ') => *place + page,
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => last,
            _ => return,
        }
        .min(last);
        if self.view == View::List {
            self.chosen = self.seen.failures.get(self.row).map(|one| one.id.clone());
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;

//! The screen as cells, and the least that has to be written to turn one screen into the next.
//!
//! A slow line is the common one (a till behind a mobile router, seen over ssh), so a second in which
//! only a countdown moves costs some ten bytes. A grid knows nothing of the terminal that shows it,
//! nor of what is drawn; it is the one door to the screen, and makes foreign text harmless.

use crate::cli::render::{Tone, harmless, width};
use std::fmt::Write as _;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    tone: Tone,
    /// Dark on light: what is chosen.
    reversed: bool,
}

impl Look {
    /// As its tone says.
    pub(super) fn of(tone: Tone) -> Self {
        Self { tone, reversed: false }
    }

    /// What is chosen. A sign before it says the same to who sees no colours.
    pub(super) fn chosen() -> Self {
        Self { tone: Tone::Plain, reversed: true }
    }

    fn codes(self) -> String {
        let tone = self.tone.code().map_or_else(String::new, |code| format!(";{code}"));
        format!("\x1b[0{tone}{}m", if self.reversed { ";7" } else { "" })
    }
}

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ink {
    /// Colours, and what else changes the look.
    pub(super) colors: bool,
    /// More than ASCII.
    pub(super) unicode: bool,
}

/// A character's place. The right half of a wide character has none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    /// `None`: the right half of the one before.
    base: Option<char>,
    /// An accent upon it; more than one is more than a terminal can be trusted with.
    accent: Option<char>,
    look: Look,
}

const BLANK: Cell = Cell { base: Some(' '), accent: None, look: Look { tone: Tone::Plain, reversed: false } };

/// So many unchanged cells between two changes are written again: that is shorter than a jump.
const NOT_WORTH_A_JUMP: usize = 6;

/// A screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    width: usize,
    height: usize,
    cells: Vec<Cell>,
}

impl Grid {
    /// An empty screen.
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, cells: vec![BLANK; width * height] }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Writes from a place on, up to the end of the line; a text that is cut says so. Returns the
    /// column behind it.
    pub(super) fn put(&mut self, column: usize, row: usize, text: &str, look: Look) -> usize {
        self.put_within(column, row, self.width.saturating_sub(column), text, look)
    }

    /// The same, in so many columns.
    pub(super) fn put_within(&mut self, column: usize, row: usize, room: usize, text: &str, look: Look) -> usize {
        let room = room.min(self.width.saturating_sub(column));
        if row >= self.height || room == 0 {
            return column;
        }
        let text = harmless(text);
        let cut = text.chars().map(width).sum::<usize>() > room;
        let end = column + room - usize::from(cut);
        let line = row * self.width;
        let mut at = column;
        for c in text.chars() {
            match width(c) {
                0 if at > column => self.accent(line + at - 1, c),
                0 => {}
                wide if at + wide > end => break,
                wide => {
                    self.cells[line + at] = Cell { base: Some(c), accent: None, look };
                    for half in 1..wide {
                        self.cells[line + at + half] = Cell { base: None, accent: None, look };
                    }
                    at += wide;
                }
            }
        }
        if cut {
            self.cells[line + at] = Cell { base: Some('…'), accent: None, look };
            at += 1;
        }
        at
    }

    /// Whatever joins characters or chooses their form is left out: terminals disagree on its width.
    fn accent(&mut self, last: usize, c: char) {
        let joins = matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}');
        let owner = if self.cells[last].base.is_none() { last - 1 } else { last };
        if !joins && self.cells[owner].accent.is_none() {
            self.cells[owner].accent = Some(c);
        }
    }

    /// Gives the rest of a line a look.
    pub(super) fn fill(&mut self, column: usize, row: usize, look: Look) {
        for column in column..self.width {
            if row < self.height {
                self.cells[row * self.width + column] = Cell { look, ..BLANK };
            }
        }
    }

    fn row(&self, row: usize) -> &[Cell] {
        &self.cells[row * self.width..(row + 1) * self.width]
    }

    /// What has to be written where `before` is shown; without one, or with one of another size, the
    /// whole screen.
    pub(super) fn changes(&self, before: Option<&Self>, ink: Ink) -> String {
        let mut written = String::new();
        let same_size = |before: &&Self| before.width == self.width && before.height == self.height;
        let empty = Self::new(self.width, self.height);
        let before = before.filter(same_size).unwrap_or_else(|| {
            written.push_str("\x1b[0m\x1b[2J");
            &empty
        });
        let mut pen = Pen { ink, look: BLANK.look };
        for row in 0..self.height {
            pen.row(&mut written, row, self.row(row), before.row(row));
        }
        pen.takes(&mut written, BLANK.look);
        written
    }

    /// What stands there, line by line.
    #[cfg(test)]
    pub(super) fn text(&self) -> Vec<String> {
        let line = |row| self.row(row).iter().filter_map(|cell| cell.base).collect::<String>().trim_end().to_owned();
        (0..self.height).map(line).collect()
    }
}

/// What writes: it knows the look that the terminal has now.
struct Pen {
    ink: Ink,
    look: Look,
}

impl Pen {
    /// Writes what differs in a line.
    fn row(&mut self, out: &mut String, row: usize, now: &[Cell], before: &[Cell]) {
        let differs = |at: usize| now[at] != before[at];
        // Blanks up to the end of the line are one command.
        let text_ends = now.iter().rposition(|cell| *cell != BLANK).map_or(0, |last| last + 1);
        let mut at = 0;
        while let Some(first) = (at..now.len()).find(|at| differs(*at)) {
            if first >= text_ends {
                goes_to(out, row, first);
                self.takes(out, BLANK.look);
                out.push_str("\x1b[K");
                return;
            }
            // A change in the right half begins with the left one.
            let first = if now[first].base.is_none() { first - 1 } else { first };
            let mut last = first;
            while let Some(next) = (last + 1..text_ends.min(last + 1 + NOT_WORTH_A_JUMP)).find(|at| differs(*at)) {
                last = next;
            }
            goes_to(out, row, first);
            now[first..=last].iter().for_each(|cell| self.writes(out, *cell));
            at = last + 1;
        }
    }

    fn takes(&mut self, out: &mut String, look: Look) {
        if self.ink.colors && look != self.look {
            out.push_str(&look.codes());
            self.look = look;
        }
    }

    fn writes(&mut self, out: &mut String, cell: Cell) {
        let Some(base) = cell.base else { return };
        self.takes(out, cell.look);
        if self.ink.unicode {
            out.extend([base].into_iter().chain(cell.accent));
        } else {
            (0..width(base)).for_each(|_| out.push(in_ascii(base)));
        }
    }
}

fn goes_to(out: &mut String, row: usize, column: usize) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\x1b[{};{}H", row + 1, column + 1);
}

/// What stands for a character where only ASCII is known.
fn in_ascii(c: char) -> char {
    match c {
        ' '..='~' => c,
        '…' => '~',
        '▁' => '_',
        '▂' => '.',
        '▃' | '—' | '–' => '-',
        '▄' => '=',
        '▅' => '+',
        '▆' => '*',
        '▇' => '#',
        '█' => '@',
        '→' => '>',
        '×' => 'x',
        _ => '?',
    }
}

#[cfg(test)]
#[path = "grid_tests.rs"]
mod tests;

//! The screen as cells, and the fewest bytes that change one screen into the next.
//!
//! Slow connections are common (a till behind a mobile router, seen over ssh), so a second in which only a countdown
//! moves costs some ten bytes. A grid knows neither the terminal nor the content; all output goes through it, and it
//! sanitises foreign text.

use crate::cli::render::{Tone, sanitize, width};
use std::fmt::Write as _;

/// The attributes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    tone: Tone,
    /// Dark on light, for the selected row.
    reversed: bool,
}

impl Look {
    /// Attributes of a tone.
    pub(super) fn of(tone: Tone) -> Self {
        Self { tone, reversed: false }
    }

    /// Attributes of the selected row. A sign before it has the same meaning without colours.
    pub(super) fn chosen() -> Self {
        Self { tone: Tone::Plain, reversed: true }
    }

    fn codes(self) -> String {
        let tone = self.tone.code().map_or_else(String::new, |code| format!(";{code}"));
        format!("\x1b[0{tone}{}m", if self.reversed { ";7" } else { "" })
    }
}

/// Capabilities of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TerminalCaps {
    /// Colours and other attributes.
    pub(super) colors: bool,
    /// Characters beyond ASCII.
    pub(super) unicode: bool,
}

/// The cell of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    /// `None`: the right half of a wide character.
    base: Option<char>,
    /// A combining accent; terminals do not handle more than one reliably.
    accent: Option<char>,
    look: Look,
}

const BLANK: Cell = Cell { base: Some(' '), accent: None, look: Look { tone: Tone::Plain, reversed: false } };

/// Up to this number of unchanged cells is written again, because that is shorter than moving the cursor.
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

    /// Writes from a cell on, up to the end of the line; a truncated text gets a mark. Returns the column after it.
    pub(super) fn put(&mut self, column: usize, row: usize, text: &str, look: Look) -> usize {
        self.put_within(column, row, self.width.saturating_sub(column), text, look)
    }

    /// The same, within `room` columns.
    pub(super) fn put_within(&mut self, column: usize, row: usize, room: usize, text: &str, look: Look) -> usize {
        let room = room.min(self.width.saturating_sub(column));
        if row >= self.height || room == 0 {
            return column;
        }
        let text = sanitize(text);
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

    /// Skips characters that join others or select their form, because terminals disagree on their width.
    fn accent(&mut self, last: usize, c: char) {
        let joins = matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}');
        let owner = if self.cells[last].base.is_none() { last - 1 } else { last };
        if !joins && self.cells[owner].accent.is_none() {
            self.cells[owner].accent = Some(c);
        }
    }

    /// Sets the attributes of the rest of a line.
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

    /// The bytes that change the screen `before` into this one; without it, or with one of another size, the whole
    /// screen.
    pub(super) fn changes(&self, before: Option<&Self>, ink: TerminalCaps) -> String {
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

    /// The content, line by line.
    #[cfg(test)]
    pub(super) fn text(&self) -> Vec<String> {
        let line = |row| self.row(row).iter().filter_map(|cell| cell.base).collect::<String>().trim_end().to_owned();
        (0..self.height).map(line).collect()
    }
}

/// Generates the output, and tracks the current look of the terminal.
struct Pen {
    ink: TerminalCaps,
    look: Look,
}

impl Pen {
    /// Writes the differences of a line.
    fn row(&mut self, out: &mut String, row: usize, now: &[Cell], before: &[Cell]) {
        let differs = |at: usize| now[at] != before[at];
        // Blanks up to the end of the line need only one command.
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

/// The ASCII replacement of a character.
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

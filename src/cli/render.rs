//! Formats answers: tables that fit the terminal, times as local time and age, foreign text without control characters.

use super::args::{ColorWhen, Global};
use crate::moment::WallTime;
pub use crate::text::numbers::span;
use crate::text::{Count, phrases, times};
use serde_json::Value;
use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use time::{OffsetDateTime, UtcOffset};
use unicode_width::UnicodeWidthChar;

/// The output and its capabilities.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Columns of the terminal.
    width: usize,
    colors: bool,
    /// Lines that the last column of a table may take. What goes into a pipe has one line a row.
    lines: usize,
}

/// The meaning of a colour. Colour alone never carries information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Normal text.
    Plain,
    /// A heading.
    Strong,
    /// Everything is fine.
    Good,
    /// Needs attention.
    Warning,
    /// Requires action.
    Bad,
}

impl Tone {
    /// The terminal's colour code.
    pub(super) fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("31;1"),
        }
    }
}

/// Columns without a terminal or `$COLUMNS`: what a log, a mail or a ticket shows without breaking lines.
const PIPED: usize = 120;
/// Minimum width of a column.
const NARROWEST: usize = 8;
/// The last column says most; it is made narrower than this only when the others cannot be.
const NARROWEST_LAST: usize = 24;
/// Maximum number of lines of a cell; an error may have thousands of characters.
const MAX_WRAPPED: usize = 4;
/// Blanks between two columns.
const GAP: usize = 2;

impl Screen {
    /// Detects the properties of standard output.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        let terminal = io::stdout().is_terminal();
        let colors = match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let size = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = if terminal { size() } else { asked_width() };
        let width = width.filter(|columns| *columns > 0);
        let lines = if width.is_some() { MAX_WRAPPED } else { 1 };
        Self { width: width.unwrap_or(PIPED), colors, lines }
    }

    /// A screen of `width` columns for a caller that paints the lines itself. The last column of a table takes at most
    /// `lines` lines.
    pub(super) fn unpainted(width: usize, lines: usize) -> Self {
        Self { width, colors: false, lines: lines.clamp(1, MAX_WRAPPED) }
    }

    /// Returns whether colours are used.
    pub(super) fn colors(self) -> bool {
        self.colors
    }

    /// Colours a text.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match tone.code() {
            Some(code) if self.colors => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    /// A sentence in lines that fit. The first one follows `before` columns of its own line, and the others are indented
    /// by `indent`. Without a terminal it stays in one line, for programs that search it.
    #[must_use]
    pub fn folded(self, text: &str, before: usize, indent: usize) -> String {
        if self.lines == 1 { text.to_owned() } else { folded(text, self.width, before, indent) }
    }

    /// A table that fits: columns as wide as they need to be; see [`laid_out`](Self::laid_out).
    pub fn table(self, out: &mut impl Write, heading: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let rows: Vec<(Tone, &[String])> = rows.iter().map(|row| (Tone::Plain, &row[..])).collect();
        self.toned_table(out, heading, &[], &rows)
    }

    /// The same with a tone for each row, and with columns that may be left out where the table is too wide.
    pub fn toned_table(
        self,
        out: &mut impl Write,
        heading: &[&str],
        expendable: &[&str],
        rows: &[(Tone, &[String])],
    ) -> io::Result<()> {
        let cells: Vec<&[String]> = rows.iter().map(|(_, row)| *row).collect();
        let tones = std::iter::once(Tone::Strong).chain(rows.iter().map(|(tone, _)| *tone));
        for (tone, lines) in tones.zip(self.laid_out(heading, expendable, &cells)) {
            for line in lines {
                writeln!(out, "{}", self.paint(tone, &line))?;
            }
        }
        Ok(())
    }

    /// The lines of the heading and of each row. Where the table is too wide, columns in which no row has anything are
    /// left out, then the expendable ones, in their order, for as long as others would be narrowed. The last column gets
    /// the width that is left; where that does not suffice, the widest of the others are narrowed. What does not fit into
    /// its column wraps, or is cut where a row has one line.
    pub(super) fn laid_out(self, heading: &[&str], expendable: &[&str], rows: &[&[String]]) -> Vec<Vec<String>> {
        let heading_row: Vec<String> = heading.iter().map(ToString::to_string).collect();
        let all: Vec<&[String]> = std::iter::once(&heading_row[..]).chain(rows.iter().copied()).collect();
        let widest = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell)).max();
        let mut shown: Vec<usize> = (0..heading.len()).collect();
        let widths = |shown: &[usize]| shown.iter().map(|column| widest(*column).unwrap_or(0)).collect::<Vec<_>>();
        if !self.holds(&widths(&shown)) {
            let says_something = |column: usize| {
                rows.iter().any(|row| row.get(column).is_some_and(|cell| !matches!(cell.as_str(), "" | "-")))
            };
            let last = heading.len().saturating_sub(1);
            shown.retain(|column| *column == 0 || *column == last || says_something(*column));
        }
        for name in expendable {
            if self.holds_with_a_narrow_last(&widths(&shown)) {
                break;
            }
            shown.retain(|column| heading[*column] != *name);
        }
        let mut widths = widths(&shown);
        self.narrow(&mut widths);
        let cells = |row: &[String]| {
            shown.iter().map(|column| row.get(*column).cloned().unwrap_or_default()).collect::<Vec<_>>()
        };
        all.iter().map(|row| self.row(&cells(row), &widths)).collect()
    }

    fn room(self, number: usize) -> usize {
        self.width.saturating_sub(GAP * number.saturating_sub(1))
    }

    fn holds(self, widths: &[usize]) -> bool {
        widths.iter().sum::<usize>() <= self.room(widths.len())
    }

    /// Do the columns fit, if only the last one is made narrower?
    fn holds_with_a_narrow_last(self, widths: &[usize]) -> bool {
        let Some((last, others)) = widths.split_last() else { return true };
        others.iter().sum::<usize>() + (*last).min(NARROWEST_LAST) <= self.room(widths.len())
    }

    /// Takes from the last column, then from the widest of the others until all fit, or none can be narrower; and then
    /// from the last one again.
    fn narrow(self, widths: &mut [usize]) {
        let room = self.room(widths.len());
        let Some((last, others)) = widths.split_last_mut() else { return };
        let left = room.saturating_sub(others.iter().sum());
        *last = (*last).min(left.max(NARROWEST_LAST));
        while others.iter().sum::<usize>() + *last > room {
            match others.iter_mut().max().filter(|widest| **widest > NARROWEST) {
                Some(widest) => *widest -= 1,
                None if *last > NARROWEST => *last -= 1,
                None => return,
            }
        }
    }

    /// The lines of a row.
    fn row(self, cells: &[String], widths: &[usize]) -> Vec<String> {
        let wraps = |cell: &String, width: usize| match self.lines {
            1 => vec![shortened(cell, width)],
            most => wrapped(cell, width, most),
        };
        let pieces: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| wraps(cell, *width)).collect();
        let height = pieces.iter().map(Vec::len).max().unwrap_or(0);
        let line = |n: usize| {
            let mut line = String::new();
            for (pieces, width) in pieces.iter().zip(widths) {
                let piece = pieces.get(n).map_or("", String::as_str);
                line.push_str(piece);
                line.extend(std::iter::repeat_n(' ', (width + GAP).saturating_sub(columns(piece))));
            }
            self.fit(line.trim_end())
        };
        (0..height).map(line).collect()
    }

    /// A line, truncated at the screen's edge.
    #[must_use]
    pub fn fit(self, line: &str) -> String {
        shortened(line, self.width)
    }
}

/// A text in lines of at most `width` columns, broken between words: a longer word, such as a URL, gets a line of its
/// own, and a command stays in one line where that is possible, so that it can be copied.
pub(super) fn folded(text: &str, width: usize, before: usize, indent: usize) -> String {
    let (first, more) = text.split_once('\n').map_or((text, None), |(first, more)| (first, Some(more)));
    let mut lines = String::new();
    if before + columns(first) <= width {
        lines.push_str(first);
    } else {
        let (mut used, mut begins, mut rest) = (before, true, first);
        while !rest.is_empty() {
            let word = next_word(rest, width.saturating_sub(indent));
            if !begins && used + 1 + columns(word) > width && !word.is_empty() {
                lines.truncate(lines.trim_end().len());
                lines.push('\n');
                lines.extend(std::iter::repeat_n(' ', indent));
                used = indent;
            } else if !begins {
                lines.push(' ');
                used += 1;
            }
            lines.push_str(word);
            (used, begins) = (used + columns(word), false);
            rest = rest[word.len()..].strip_prefix(' ').unwrap_or_default();
        }
    }
    if let Some(more) = more {
        lines.push('\n');
        lines.push_str(&folded(more, width, 0, indent));
    }
    lines
}

/// The first word of a text, or the command that it begins with, if that fits into a line.
fn next_word(text: &str, room: usize) -> &str {
    const PROGRAMS: [&str; 5] = ["resyncd", "sudo", "systemctl", "chmod", "chown"];
    let end = |text: &str| text.find(' ').unwrap_or(text.len());
    let first = end(text);
    if !PROGRAMS.contains(&&text[..first]) {
        return &text[..first];
    }
    let mut whole = first;
    while whole < text.len() && !text[..whole].ends_with([',', ';', '.', ':', ')', '?']) {
        let next = end(&text[whole + 1..]);
        if next == 0 {
            break;
        }
        whole += 1 + next;
    }
    if columns(&text[..whole]) <= room { &text[..whole] } else { &text[..first] }
}

/// A text in lines of at most `room` columns, broken between words where that is possible. What takes more than `most`
/// lines is cut, and says so.
pub(super) fn wrapped(text: &str, room: usize, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word;
        loop {
            let line = lines.last_mut().expect("there is a first line, and none is taken away");
            let gap = usize::from(!line.is_empty());
            if columns(line) + gap + columns(word) <= room {
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(word);
                break;
            }
            if line.is_empty() {
                let mut used = 0;
                let fits = |&(_, c): &(usize, char)| {
                    used += width(c);
                    used <= room
                };
                let end = word.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8());
                let end = if end == 0 { word.chars().next().map_or(0, char::len_utf8) } else { end };
                line.push_str(&word[..end]);
                word = &word[end..];
                if word.is_empty() {
                    break;
                }
            }
            lines.push(String::new());
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        let last = lines.last_mut().expect("some are left");
        *last = shortened(&format!("{last}…"), room);
    }
    lines
}

/// Truncates a text to `room` columns, with a mark.
fn shortened(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += width(*c);
        used <= room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Columns of a character: two for a Chinese one, none for a combining accent.
pub(super) fn width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Columns of a text.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// Columns of what shows standard error, if they are known.
pub(super) fn width_of_errors() -> Option<usize> {
    let terminal = io::stderr().is_terminal();
    let size = || rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| usize::from(size.ws_col));
    let width = if terminal { size() } else { asked_width() };
    width.filter(|columns| *columns > 0)
}

fn asked_width() -> Option<usize> {
    env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok())
}

/// A text of a reply, sanitised; empty if it is missing.
#[must_use]
pub fn text(value: &Value, name: &str) -> String {
    sanitize(value[name].as_str().unwrap_or_default())
}

/// A time of a reply.
#[must_use]
pub fn time(value: &Value, name: &str) -> Option<WallTime> {
    value[name].as_str().and_then(WallTime::parse)
}

/// Sanitises foreign text and puts it on one line: control characters, line and paragraph separators, and characters
/// that change the writing direction, are shown as their code.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let hostile = c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c {
            '\n' | '\t' => safe.push(' '),
            '\r' => {}
            _ if hostile => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
            _ => safe.push(c),
        }
    }
    safe
}

/// The same for an error of an attempt: the agent's own words are shown in the reader's language.
#[must_use]
pub fn spoken(text: &str) -> String {
    sanitize(&phrases::of_attempt(text))
}

/// The same for what else the agent says.
#[must_use]
pub fn spoken_by_agent(text: &str) -> String {
    sanitize(&phrases::of_agent(text))
}

/// `06:12:34, 48 min ago`; with the date if it is not today.
#[must_use]
pub fn ago(at: WallTime, now: WallTime) -> String {
    if at > now {
        return times::future(&clock(at, now), &span(at.since(now)));
    }
    times::past(&clock(at, now), &span(now.since(at)))
}

/// A time by the local clock with the offset valid then: in July that of July.
#[must_use]
pub fn local(at: WallTime) -> OffsetDateTime {
    let at = at.calendar();
    at.to_offset(UtcOffset::local_offset_at(at).unwrap_or(UtcOffset::UTC))
}

/// The local date.
#[must_use]
pub fn date(at: WallTime) -> String {
    let at = local(at);
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}

/// The local time of day, with the date if it is not today.
#[must_use]
pub fn clock(at: WallTime, now: WallTime) -> String {
    let (then, today) = (local(at), local(now));
    let time = format!("{:02}:{:02}:{:02}", then.hour(), then.minute(), then.second());
    if then.date() == today.date() {
        return time;
    }
    format!("{} {time}", date(at))
}

/// `1,234,567`; in Spanish `1.234.567`.
#[must_use]
pub fn count(number: u64) -> String {
    Count(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_commands_nothing() {
        assert_eq!(sanitize("a\x1b[2Jb\nc\u{202e}d\u{2028}"), "a\\u{1b}[2Jb c\\u{202e}d\\u{2028}");
        assert_eq!(sanitize("añ — 日本"), "añ — 日本");
    }

    #[test]
    fn tables_fit_the_terminal() {
        let screen = Screen::unpainted(12, 1);
        let mut out = Vec::new();
        let rows = [vec!["1".to_owned(), "a long error text".to_owned()]];
        screen.table(&mut out, &["NR", "ERROR"], &rows).expect("a Vec takes all");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "NR  ERROR\n1   a long …\n");
    }

    #[test]
    fn tables_are_straight_with_characters_of_any_width() {
        let mut out = Vec::new();
        let rows =
            [["日本", "x"], ["n\u{303}o", "x"], ["a日本語日本語", "x"]].map(|row| row.map(str::to_owned).to_vec());
        Screen::unpainted(11, 1).table(&mut out, &["A", "B"], &rows).expect("a Vec takes all");
        let expected = "A         B\n日本      x\nn\u{303}o        x\na日本語…  x\n";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn the_widest_columns_are_cut_and_the_others_stay() {
        let screen = Screen::unpainted(40, 1);
        let mut out = Vec::new();
        let row = ["1042", "SALE an-entity-id-that-is-much-too-long", "CREATE", "an error text that is longer"];
        let rows = [row.map(str::to_owned).to_vec()];
        screen.table(&mut out, &["NR", "ENTITY", "ACTION", "ERROR"], &rows).expect("a Vec takes all");
        let table = String::from_utf8(out).expect("UTF-8");
        assert!(table.lines().all(|line| line.chars().count() <= 40), "{table}");
        assert!(table.contains("1042  SALE an…  CREATE  an error text t…"), "{table}");
        screen.table(&mut Vec::new(), &["A"; 30], &[vec!["x".repeat(50); 30]]).expect("it ends");
    }

    #[test]
    fn sentences_are_folded_between_words_and_around_commands() {
        for (text, before, expected) in [
            ("Si la central la perdió, vuelva a enviarla.", 0, "Si la central la\n  perdió, vuelva a\n  enviarla."),
            ("a b", 3, "a b"),
            ("see https://hq.example/a/long/path for it", 0, "see\n  https://hq.example/a/long/path\n  for it"),
            ("later, with: resyncd retry 7", 0, "later, with:\n  resyncd retry 7"),
            ("ab cd ef gh ij kl mn\nop qr st uv wx yz ab", 4, "ab cd ef gh ij\n  kl mn\nop qr st uv wx yz\n  ab"),
        ] {
            assert_eq!(folded(text, 18, before, 2), expected, "{text}");
        }
    }

    #[test]
    fn on_a_screen_the_last_column_wraps_and_nothing_of_it_is_cut() {
        let screen = Screen::unpainted(48, MAX_WRAPPED);
        let error = "HTTP 422: unknown SKU 4711 in line 3, and a-word-that-is-longer-than-the-column-is-wide";
        let rows =
            [vec!["1".into(), "RETURN r-17".into(), error.into()], vec!["2".into(), "SALE s".into(), "x".into()]];
        let mut out = Vec::new();
        screen.table(&mut out, &["NR", "ENTITY", "ERROR"], &rows).expect("a Vec takes all");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.lines().all(|line| columns(line) <= 48), "{text}");
        let told: String = text.lines().skip(1).take(4).map(|line| line.get(17..).unwrap_or_default()).collect();
        assert_eq!(told.replace(' ', ""), error.replace(' ', ""), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.starts_with("2   SALE s")), "{text}");
        assert_eq!(wrapped(&"x".repeat(1000), 24, MAX_WRAPPED).len(), MAX_WRAPPED);
    }

    #[test]
    fn what_says_nothing_gives_way_before_what_matters_is_cut() {
        let heading = ["NR", "ENTITY", "RETRIES", "AGE", "NEXT", "ERROR"];
        let text = |width: usize, next: &str| {
            let row = ["7", "RETURN r-2026-001", "1", "5 min", next, "HTTP 422: unknown SKU 4711 in line 3"];
            let row = row.map(str::to_owned);
            Screen::unpainted(width, 1).laid_out(&heading, &["AGE", "RETRIES"], &[&row]).concat()
        };
        assert_eq!(
            text(100, "-"),
            [
                "NR  ENTITY             RETRIES  AGE    NEXT  ERROR",
                "7   RETURN r-2026-001  1        5 min  -     HTTP 422: unknown SKU 4711 in line 3"
            ],
            "there is room for all"
        );
        assert_eq!(
            text(80, "-")[1],
            "7   RETURN r-2026-001  1        5 min  HTTP 422: unknown SKU 4711 in line 3",
            "a column without any content is left out first"
        );
        assert_eq!(
            text(72, "in 12 min")[1],
            "7   RETURN r-2026-001  1        in 12 min  HTTP 422: unknown SKU 4711 i…",
            "then the expendable ones"
        );
    }
}

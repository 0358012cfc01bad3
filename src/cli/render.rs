//! How answers look: tables that fit the terminal, times as local time and age, foreign text made
//! harmless.

use super::args::{ColorWhen, Global};
use crate::moment::WallTime;
use serde_json::Value;
use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use time::UtcOffset;
use unicode_width::UnicodeWidthChar;

/// Where answers go, and how.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Columns.
    width: usize,
    colors: bool,
}

/// What a colour says. Nothing is said by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Strong,
    /// All is well.
    Good,
    /// Somebody should look.
    Warning,
    /// Somebody has to act.
    Bad,
}

impl Tone {
    /// What a terminal calls it.
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

/// Columns where no terminal and no `$COLUMNS` say how many: what a log, a mail or a ticket shows without breaking.
const PIPED: usize = 120;
/// No column is made narrower than this.
const NARROWEST: usize = 8;
/// Blanks between two columns.
const GAP: usize = 2;

impl Screen {
    /// Standard output as it is.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        let terminal = io::stdout().is_terminal();
        let colors = match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let size = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let asked = || env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = if terminal { size() } else { asked() };
        Self { width: width.filter(|columns| *columns > 0).unwrap_or(PIPED), colors }
    }

    /// Lines of so many columns, for what paints them itself.
    pub(super) fn unpainted(width: usize) -> Self {
        Self { width, colors: false }
    }

    /// May it be painted?
    pub(super) fn colors(self) -> bool {
        self.colors
    }

    /// A text in its tone.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match tone.code() {
            Some(code) if self.colors => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    /// A table that fits: columns as wide as they need to be; where that is too wide, the widest ones
    /// are cut.
    pub fn table(self, out: &mut impl Write, heading: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let mut widths: Vec<usize> = heading.iter().map(|text| columns(text)).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(cell));
            }
        }
        self.narrow(&mut widths);
        let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
        writeln!(out, "{}", self.paint(Tone::Strong, &self.row(&heading, &widths)))?;
        rows.iter().try_for_each(|row| writeln!(out, "{}", self.row(row, &widths)))
    }

    /// Takes from the widest column until all fit, or none can be narrower.
    fn narrow(self, widths: &mut [usize]) {
        let room = self.width.saturating_sub(GAP * widths.len().saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else { return };
            *widest -= 1;
        }
    }

    fn row(self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let cell = shortened(cell, *width);
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', (width + GAP).saturating_sub(columns(&cell))));
        }
        self.fit(line.trim_end())
    }

    /// A line, cut where the screen ends.
    #[must_use]
    pub fn fit(self, line: &str) -> String {
        shortened(line, self.width)
    }
}

/// A text of at most so many columns; a cut one says so.
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

/// Columns that a character takes: a Chinese one two, an accent that stands upon another one none.
pub(super) fn width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Columns that a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// A text of a reply, made harmless; nothing where there is none.
#[must_use]
pub fn text(value: &Value, name: &str) -> String {
    harmless(value[name].as_str().unwrap_or_default())
}

/// A time of a reply.
#[must_use]
pub fn time(value: &Value, name: &str) -> Option<WallTime> {
    value[name].as_str().and_then(WallTime::parse)
}

/// Foreign text on one line that commands no terminal: control characters, line and paragraph
/// separators, and what turns the direction of writing, are shown as their code.
#[must_use]
pub fn harmless(text: &str) -> String {
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

/// `48 min`, `3 h`, `2 d`
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..5400 => format!("{} min", seconds / 60),
        5400..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `06:12:34, 48 min ago`; with the date when it is not today's.
#[must_use]
pub fn ago(at: WallTime, now: WallTime) -> String {
    if at > now {
        return format!("{}, in {}", clock(at, now), span(at.since(now)));
    }
    format!("{}, {} ago", clock(at, now), span(now.since(at)))
}

/// The local time of day, with the date when it is not today's.
#[must_use]
pub fn clock(at: WallTime, now: WallTime) -> String {
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let (then, today) = (at.calendar().to_offset(offset), now.calendar().to_offset(offset));
    let time = format!("{:02}:{:02}:{:02}", then.hour(), then.minute(), then.second());
    if then.date() == today.date() {
        return time;
    }
    format!("{:04}-{:02}-{:02} {time}", then.year(), u8::from(then.month()), then.day())
}

/// `1,234,567`
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_commands_nothing() {
        assert_eq!(harmless("a\x1b[2Jb\nc\u{202e}d\u{2028}"), "a\\u{1b}[2Jb c\\u{202e}d\\u{2028}");
        assert_eq!(harmless("añ — 日本"), "añ — 日本");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(span(Duration::from_secs(59)), "59 s");
        assert_eq!(span(Duration::from_secs(48 * 60)), "48 min");
        assert_eq!(span(Duration::from_secs(7200)), "2 h");
    }

    #[test]
    fn tables_fit_the_terminal() {
        let screen = Screen { width: 12, colors: false };
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
        Screen::unpainted(11).table(&mut out, &["A", "B"], &rows).expect("a Vec takes all");
        let expected = "A         B\n日本      x\nn\u{303}o        x\na日本語…  x\n";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn the_widest_columns_are_cut_and_the_others_stay() {
        let screen = Screen { width: 40, colors: false };
        let mut out = Vec::new();
        let row = ["1042", "SALE an-entity-id-that-is-much-too-long", "CREATE", "an error text that is longer"];
        let rows = [row.map(str::to_owned).to_vec()];
        screen.table(&mut out, &["NR", "ENTITY", "ACTION", "ERROR"], &rows).expect("a Vec takes all");
        let table = String::from_utf8(out).expect("UTF-8");
        assert!(table.lines().all(|line| line.chars().count() <= 40), "{table}");
        assert!(table.contains("1042  SALE an-ent…  CREATE  an error te…"), "{table}");
        screen.table(&mut Vec::new(), &["A"; 30], &[vec!["x".repeat(50); 30]]).expect("it ends");
    }
}

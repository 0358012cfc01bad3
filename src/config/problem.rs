//! What is wrong with a configuration, and where: file, line, column, the offending text, what was
//! expected, and for a near miss what was meant.

use std::fmt;
use std::ops::Range;

/// Where a wrong value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the file.
    Span(Range<usize>),
    /// A flag or a variable of the environment.
    Given(&'static str),
    /// A value in force, wherever it came from.
    Key(&'static str),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `resyncd.toml:3:1`, `--upstream`, `socket`.
    pub place: String,
    /// What is wrong, what was expected, what was meant.
    pub message: String,
    /// The line of the file, its number, and the columns that are meant (from 0).
    pub excerpt: Option<Excerpt>,
}

/// A line of the file and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// From 1.
    pub line: usize,
    /// The line's text.
    pub text: String,
    /// Characters of it, from 0.
    pub columns: Range<usize>,
}

impl Problem {
    pub(super) fn new(file: &str, text: &str, place: Place, message: String) -> Self {
        match place {
            Place::Given(name) | Place::Key(name) => Self { place: name.to_owned(), message, excerpt: None },
            Place::Span(span) => {
                let excerpt = Excerpt::of(text, span);
                let place = format!("{file}:{}:{}", excerpt.line, excerpt.columns.start + 1);
                Self { place, message, excerpt: Some(excerpt) }
            }
        }
    }
}

impl Excerpt {
    /// The line that these bytes stand in.
    pub(super) fn of(text: &str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let chars = |range: Range<usize>| text[range].chars().count();
        let first = chars(line_start..start);
        let width = chars(start..end.min(line_end)).max(1);
        Self {
            line: text[..line_start].matches('\n').count() + 1,
            text: text[line_start..line_end].trim_end().to_owned(),
            columns: first..first + width,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let number = excerpt.line.to_string();
            let (gap, before) = (" ".repeat(number.len()), " ".repeat(excerpt.columns.start));
            write!(f, "\n  {number} | {}\n  {gap} | {before}{}", excerpt.text, "^".repeat(excerpt.columns.len()))?;
        }
        Ok(())
    }
}

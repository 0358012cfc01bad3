//! Errors of a configuration with their location: file, line, column, the text concerned, what was expected, and
//! for a near miss a suggestion.

use std::fmt;
use std::ops::Range;

/// The source of an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A range of bytes of the file.
    Span(Range<usize>),
    /// A flag, an environment variable, or a default.
    Given(&'static str),
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `resyncd.toml:3:1`, `--upstream`.
    pub place: String,
    /// What is wrong, what was expected, and a suggestion.
    pub message: String,
    /// The line of the file with its number, and the columns concerned (from 0).
    pub excerpt: Option<Excerpt>,
}

/// A line of the file, and the part of it that is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Number of the line, from 1.
    pub line: usize,
    /// Text of the line.
    pub text: String,
    /// Range of characters in it, from 0.
    pub columns: Range<usize>,
}

impl Problem {
    pub(super) fn new(file: &str, text: &str, place: Place, message: String) -> Self {
        match place {
            Place::Given(name) => Self { place: name.to_owned(), message, excerpt: None },
            Place::Span(span) => {
                let excerpt = Excerpt::of(text, span);
                let place = format!("{file}:{}:{}", excerpt.line, excerpt.columns.start + 1);
                Self { place, message, excerpt: Some(excerpt) }
            }
        }
    }
}

impl Problem {
    /// Returns whether it is about this file.
    pub(super) fn is_in(&self, file: &str) -> bool {
        self.excerpt.is_some() && self.place.strip_prefix(file).is_some_and(|rest| rest.starts_with(':'))
    }
}

impl Excerpt {
    /// The line that contains these bytes.
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
            text: text[line_start..line_end].trim_end().replace(|c: char| c.is_control() && c != '\t', "\u{fffd}"),
            columns: first..first + width,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let number = excerpt.line.to_string();
            let gap = " ".repeat(number.len());
            // A tab is as wide in both lines.
            let before = excerpt.text.chars().chain(std::iter::repeat(' ')).take(excerpt.columns.start);
            let before: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
            write!(f, "\n  {number} | {}\n  {gap} | {before}{}", excerpt.text, "^".repeat(excerpt.columns.len()))?;
        }
        Ok(())
    }
}

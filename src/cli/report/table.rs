//! A table of a report, without its format.

/// Rows under headings.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A text, or a number, which is aligned to the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Text(String),
    Number(u64),
}

impl Table {
    pub(super) fn new<const COLUMNS: usize>(head: [&'static str; COLUMNS], rows: Vec<Vec<Cell>>) -> Self {
        Self { head: head.to_vec(), rows }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

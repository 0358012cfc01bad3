//! What a report says, apart from how it looks: sections of a few kinds of blocks. Whoever writes it out
//! ([`super::html`], [`super::plain`]) escapes every text; none in here is markup.

use super::plot::Plot;
use crate::cli::render::Tone;

/// The whole of it.
#[derive(Debug)]
pub(super) struct Page {
    /// Whose report it is.
    pub(super) title: String,
    /// When and where from.
    pub(super) about: Vec<String>,
    /// What it comes to: how well, and in words; the first line is the verdict.
    pub(super) tone: Tone,
    pub(super) verdict: Vec<String>,
    pub(super) sections: Vec<Section>,
}

/// A part with a heading.
#[derive(Debug)]
pub(super) struct Section {
    /// As it is linked to within the page.
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

impl Section {
    pub(super) fn new(id: &'static str, title: &str, blocks: Vec<Block>) -> Self {
        Self { id, title: title.to_owned(), blocks }
    }
}

/// What a section is made of.
#[derive(Debug)]
pub(super) enum Block {
    /// A sentence.
    Words(String),
    /// Several of them.
    List(Vec<String>),
    /// A small heading.
    Heading(String),
    /// Figures with their names; a tone where somebody has to act.
    Figures(Vec<Figure>),
    Table(Table),
    Plots(Vec<Plot>),
    /// A command, a payload, a file: as it is.
    Verbatim(String),
    /// Long, so that it opens when somebody wants it.
    Folded {
        title: String,
        blocks: Vec<Block>,
    },
}

/// A number that matters.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) tone: Tone,
}

/// Rows under headings.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A text, or a number, which stands to the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Text(String),
    Number(u64),
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

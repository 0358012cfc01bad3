//! A report's content without its format: sections of a few kinds of blocks. The writers ([`super::html`],
//! [`super::plain`]) escape every text; no text here is markup.

use super::plot::Plot;
use super::table::Table;
use crate::cli::render::Tone;
use crate::text::report as text;

/// A whole report.
#[derive(Debug)]
pub(super) struct Page {
    /// The terminal.
    pub(super) title: String,
    /// Time and source.
    pub(super) about: Vec<String>,
    /// The verdict: its tone, and its lines, of which the first is a summary.
    pub(super) tone: Tone,
    pub(super) verdict: Vec<String>,
    pub(super) sections: Vec<Section>,
}

/// A part with a heading.
#[derive(Debug)]
pub(super) struct Section {
    /// The target of links within the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
}

impl Section {
    pub(super) fn new(id: &'static str, blocks: Vec<Block>) -> Self {
        Self { id, title: text::section(id), blocks }
    }
}

/// A part of a section.
#[derive(Debug)]
pub(super) enum Block {
    /// A sentence.
    Words(String),
    /// A list of sentences.
    List(Vec<String>),
    /// A small heading.
    Heading(String),
    /// Figures with their names; a tone marks those that require action.
    Figures(Vec<Figure>),
    Table(Table),
    Plots(Vec<Plot>),
    /// A command, a payload or a file, unchanged.
    Verbatim(String),
    /// A long part that is collapsed at first.
    Folded {
        title: String,
        blocks: Vec<Block>,
    },
}

/// A figure with its name.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) tone: Tone,
}

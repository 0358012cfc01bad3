//! Writes a report as text: the same sections, for a mail, a terminal, a screen reader. Plots become sentences and
//! rows. Lines have at most 80 columns, and nothing is truncated for that: sentences and cells wrap. What is shown
//! verbatim keeps its lines.

use super::page::{Block, Page};
use super::plot::Plot;
use super::table::{Cell, Table};
use crate::cli::render::{columns, count, folded, sanitize, wrapped};
use std::io::{self, Write};

/// Columns of a line.
const WIDTH: usize = 80;
/// Blanks between two columns of a table.
const GAP: usize = 2;
/// Minimum width of a column that is narrowed.
const NARROWEST: usize = 6;
/// A column that is narrowed keeps its words whole, up to this many columns.
const LONG_WORD: usize = 12;

/// The whole page.
pub(super) fn page(out: &mut impl Write, page: &Page) -> io::Result<()> {
    writeln!(out, "{}", sentence(&page.title, 2))?;
    for line in page.about.iter().chain(&page.verdict) {
        writeln!(out, "{}", sentence(line, 2))?;
    }
    for section in &page.sections {
        let title = sanitize(section.title);
        writeln!(out, "\n{title}\n{}", "=".repeat(title.chars().count()))?;
        section.blocks.iter().try_for_each(|inner| block(out, inner))?;
    }
    Ok(())
}

fn block(out: &mut impl Write, block: &Block) -> io::Result<()> {
    match block {
        Block::Words(text) => writeln!(out, "{}", sentence(text, 0)),
        Block::List(texts) => texts.iter().try_for_each(|text| writeln!(out, "{}", sentence(&format!("- {text}"), 2))),
        Block::Heading(text) => writeln!(out, "\n{}", sentence(text, 2)),
        Block::Figures(figures) => {
            figures.iter().try_for_each(|figure| writeln!(out, "{:<15}{}", figure.name, sanitize(&figure.value)))
        }
        Block::Table(rows) => table(out, rows),
        Block::Plots(plots) => plots.iter().try_for_each(|one| plot(out, one)),
        Block::Verbatim(text) => text.lines().try_for_each(|line| writeln!(out, "    {}", sanitize(line))),
        Block::Folded { title, blocks } => {
            writeln!(out, "\n{}", sanitize(title))?;
            blocks.iter().try_for_each(|inner| self::block(out, inner))
        }
    }
}

/// A text in lines that fit.
fn sentence(text: &str, indent: usize) -> String {
    folded(&sanitize(text), WIDTH, 0, indent)
}

fn plot(out: &mut impl Write, plot: &Plot) -> io::Result<()> {
    writeln!(out, "\n{}\n{}", sanitize(plot.title), sentence(&plot.words, 0))?;
    let (head, rows) = (plot.table.head.clone(), plot.rows_of_text());
    table(out, &Table { head, rows })
}

/// Columns as wide as necessary; where the table is wider than a line, the widest ones are narrowed, and their cells
/// wrap.
fn table(out: &mut impl Write, table: &Table) -> io::Result<()> {
    if table.rows.is_empty() {
        return Ok(());
    }
    let written = |cell: &Cell| match cell {
        Cell::Text(text) => sanitize(text),
        Cell::Number(number) => count(*number),
    };
    let mut rows: Vec<Vec<String>> = vec![table.head.iter().map(|name| name.to_uppercase()).collect()];
    rows.extend(table.rows.iter().map(|row| row.iter().map(written).collect()));
    let number = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell)).max();
    let longest = |column: usize| {
        let words = rows.iter().filter_map(|row| row.get(column)).flat_map(|cell| cell.split(' ').map(columns));
        words.max().unwrap_or(0).clamp(NARROWEST, LONG_WORD)
    };
    let mut widths: Vec<usize> = (0..number).map(|column| widest(column).unwrap_or(0)).collect();
    let least: Vec<usize> = (0..number).map(longest).collect();
    while widths.iter().sum::<usize>() + GAP * number.saturating_sub(1) > WIDTH {
        let wide = widths.iter_mut().zip(&least).filter(|(width, least)| **width > **least);
        let Some((widest, _)) = wide.max_by_key(|(width, _)| **width) else { break };
        *widest -= 1;
    }
    rows.iter().try_for_each(|cells| row(out, cells, &widths))
}

/// A row, in as many lines as its longest cell takes.
fn row(out: &mut impl Write, cells: &[String], widths: &[usize]) -> io::Result<()> {
    let pieces: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| wrapped(cell, *width, usize::MAX)).collect();
    let height = pieces.iter().map(Vec::len).max().unwrap_or(0);
    for n in 0..height {
        let mut line = String::new();
        for (piece, width) in pieces.iter().map(|pieces| pieces.get(n).map_or("", String::as_str)).zip(widths) {
            line.push_str(piece);
            line.extend(std::iter::repeat_n(' ', (width + GAP).saturating_sub(columns(piece))));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

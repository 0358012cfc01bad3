//! Writes a report as text: the same sections, for a mail, a terminal, a screen reader. Plots become sentences and
//! rows. Nothing is truncated to fit a terminal.

use super::page::{Block, Cell, Page, Table};
use super::plot::Plot;
use crate::cli::render::{count, sanitize};
use std::io::{self, Write};

/// The whole page.
pub(super) fn page(out: &mut impl Write, page: &Page) -> io::Result<()> {
    writeln!(out, "{}", sanitize(&page.title))?;
    for line in page.about.iter().chain(&page.verdict) {
        writeln!(out, "{}", sanitize(line))?;
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
        Block::Words(text) => writeln!(out, "{}", sanitize(text)),
        Block::List(texts) => texts.iter().try_for_each(|text| writeln!(out, "- {}", sanitize(text))),
        Block::Heading(text) => writeln!(out, "\n{}", sanitize(text)),
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

fn plot(out: &mut impl Write, plot: &Plot) -> io::Result<()> {
    writeln!(out, "\n{}\n{}", sanitize(plot.title), sanitize(&plot.words))?;
    let (head, rows) = (plot.table.head.clone(), plot.rows_of_text());
    table(out, &Table { head, rows })
}

/// Columns as wide as necessary; the last one is not padded.
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
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0) + 2).collect();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

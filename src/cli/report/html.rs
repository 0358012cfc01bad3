//! Writes a report as one HTML page: no script, no external resources, light or dark like the reader's system.
//!
//! **Every text goes through [`escape`]**, here and nowhere else, because errors and ids are untrusted input. The
//! page's content security policy allows only its own style.

use super::page::{Block, Page};
use super::plot::Plot;
use super::table::{Cell, Table};
use crate::cli::render::{Tone, count, sanitize};
use crate::text::{Language, report as text};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn page(page: &Page) -> String {
    let (title, language) = (escape(&page.title), Language::current().as_str());
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{PATTERNS}<header>\n<h1>{title}</h1>\n"
    );
    for line in &page.about {
        element(&mut out, "p", "about", line);
    }
    out.push_str("</header>\n<main>\n");
    let (class, sign) = match page.tone {
        Tone::Good => ("good", "✓"),
        Tone::Warning => ("warning", "!"),
        Tone::Bad => ("bad", "✕"),
        Tone::Plain | Tone::Strong => ("plain", "i"),
    };
    put!(
        out,
        "<section class=\"verdict {class}\" aria-label=\"{}\">\n<span class=\"sign\" aria-hidden=\"true\">{sign}</span>\n<div>\n",
        escape(text::summary())
    );
    for (n, line) in page.verdict.iter().enumerate() {
        element(&mut out, "p", if n == 0 { "first" } else { "more" }, line);
    }
    put!(out, "</div>\n</section>\n<nav aria-label=\"{}\">\n<ul>\n", escape(text::sections()));
    for section in &page.sections {
        put!(out, "<li><a href=\"#{}\">{}</a></li>\n", section.id, escape(section.title));
    }
    out.push_str("</ul>\n</nav>\n");
    for section in &page.sections {
        put!(out, "<section id=\"{}\">\n", section.id);
        element(&mut out, "h2", "", section.title);
        section.blocks.iter().for_each(|one| block(&mut out, one));
        out.push_str("</section>\n");
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Hatchings, so that bands and bars differ without their colours.
const PATTERNS: &str = "<svg class=\"patterns\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\
<pattern id=\"hatch-offline\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"ground\" width=\"6\" height=\"6\"/><path class=\"stroke\" d=\"M0 0V6\"/></pattern>\
<pattern id=\"hatch-shut\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<rect class=\"ground\" width=\"6\" height=\"6\"/><circle class=\"dot\" cx=\"3\" cy=\"3\" r=\"1.2\"/></pattern>\
<pattern id=\"hatch-failed\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(-45)\">\
<rect class=\"ground\" width=\"4\" height=\"4\"/><path class=\"stroke\" d=\"M0 0V4\"/></pattern></defs></svg>\n";

/// Escapes a text for HTML, including attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in sanitize(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn element(out: &mut String, name: &str, class: &str, text: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    put!(out, "<{name}{class}>{}</{name}>\n", escape(text));
}

fn block(out: &mut String, block: &Block) {
    match block {
        Block::Words(text) => element(out, "p", "", text),
        Block::List(texts) => {
            out.push_str("<ul>\n");
            texts.iter().for_each(|text| element(out, "li", "", text));
            out.push_str("</ul>\n");
        }
        Block::Heading(text) => element(out, "h3", "", text),
        Block::Figures(figures) => {
            out.push_str("<dl class=\"figures\">\n");
            for figure in figures {
                let class = match figure.tone {
                    Tone::Bad => " class=\"bad\"",
                    Tone::Warning => " class=\"warning\"",
                    _ => "",
                };
                let (name, value) = (escape(figure.name), escape(&figure.value));
                put!(out, "<div{class}><dt>{name}</dt><dd>{value}</dd></div>\n");
            }
            out.push_str("</dl>\n");
        }
        Block::Table(rows) => table(out, rows),
        Block::Plots(plots) => {
            out.push_str("<div class=\"plots\">\n");
            plots.iter().for_each(|one| plot(out, one));
            out.push_str("</div>\n");
        }
        Block::Verbatim(text) => {
            let lines: Vec<String> = text.lines().map(escape).collect();
            put!(out, "<pre tabindex=\"0\">{}</pre>\n", lines.join("\n"));
        }
        Block::Folded { title, blocks } => {
            put!(out, "<details>\n<summary>{}</summary>\n", escape(title));
            blocks.iter().for_each(|inner| self::block(out, inner));
            out.push_str("</details>\n");
        }
    }
}

fn plot(out: &mut String, plot: &Plot) {
    out.push_str("<figure>\n");
    element(out, "figcaption", "", plot.title);
    out.push_str(&plot.svg(escape));
    let legend = plot.legend();
    if !legend.is_empty() {
        out.push_str("\n<ul class=\"legend\">\n");
        for (style, name) in legend {
            put!(out, "<li><span class=\"key {style}\" aria-hidden=\"true\"></span>{}</li>\n", escape(name));
        }
        out.push_str("</ul>");
    }
    out.push('\n');
    element(out, "p", "words", &plot.words);
    if !plot.table.rows.is_empty() {
        put!(out, "<details>\n<summary>{}</summary>\n", escape(text::as_a_table()));
        table(out, &plot.table);
        out.push_str("</details>\n");
    }
    out.push_str("</figure>\n");
}

fn table(out: &mut String, table: &Table) {
    let numbers = |column: usize| {
        !table.rows.is_empty() && table.rows.iter().all(|row| matches!(row.get(column), Some(Cell::Number(_))))
    };
    out.push_str("<div class=\"scroll\">\n<table>\n<thead><tr>");
    for (column, name) in table.head.iter().enumerate() {
        let class = if numbers(column) { " class=\"number\"" } else { "" };
        put!(out, "<th scope=\"col\"{class}>{}</th>", escape(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            match cell {
                Cell::Text(text) => put!(out, "<td>{}</td>", escape(text)),
                Cell::Number(number) => put!(out, "<td class=\"number\">{}</td>", count(*number)),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_text_is_markup() {
        let hostile = "<script>alert('1')</script>\" onload=\"x&\u{202e}\u{0}";
        let escaped = escape(hostile);
        assert!(!escaped.contains(['<', '>', '"', '\'', '\u{202e}', '\u{0}']), "{escaped}");
        assert!(escaped.starts_with("&lt;script&gt;alert(&#39;1&#39;)"), "{escaped}");
    }
}

//! A chart of the acknowledgements: bars for each cell, on a logarithmic scale, because the cells
//! are two powers of ten apart. One self-contained SVG, in the reader's own light or dark.

use crate::report::{Head, NAMES, Row, plain};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 92.0;
const BAR: f64 = 13.0;
const GROUP: f64 = NAMES.len() as f64 * BAR + 17.0;

/// `None` without any cell that could be drawn.
pub(crate) fn svg(head: &Head, rows: &[Row]) -> Option<String> {
    let cells: Vec<&Row> = rows.iter().filter(|row| row.key.starts_with("acks.")).collect();
    let quoted = || cells.iter().filter(|row| row.spoiled.is_none());
    let figures: Vec<f64> = quoted().flat_map(|row| (0..NAMES.len()).filter_map(|server| row.figure(server))).collect();
    let lowest = figures.iter().copied().reduce(f64::min)?.log10().floor();
    let highest = figures.iter().copied().reduce(f64::max)?.log10().ceil().max(lowest + 1.0);
    let x = |figure: f64| LEFT + (WIDTH - LEFT - RIGHT) * (figure.log10() - lowest) / (highest - lowest);
    let bottom = TOP + GROUP * cells.len() as f64;
    let mut out = opening(head, bottom + 40.0, &cells);
    for power in lowest as i32..=highest as i32 {
        let figure = 10_f64.powi(power);
        let (at, below) = (x(figure), bottom + 18.0);
        let text = if power >= 3 { format!("{} k", 10_u64.pow(power.unsigned_abs() - 3)) } else { plain(figure) };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "<path class='grid' d='M{at:.1} {TOP}V{bottom}'/>");
        let _ = writeln!(out, "<text x='{at:.1}' y='{below}' text-anchor='middle'>{text}</text>");
    }
    for (place, row) in cells.iter().enumerate() {
        group(&mut out, row, TOP + 8.0 + place as f64 * GROUP, &x);
    }
    out.push_str("</svg>\n");
    Some(out)
}

/// The bars of one cell, each with its figure at the end, so that a reader does not depend on the colours.
fn group(out: &mut String, row: &Row, top: f64, x: &dyn Fn(f64) -> f64) {
    let name = row.title.split_once(", ").map_or(row.title.as_str(), |(_, name)| name);
    let (label, middle) = (LEFT - 10.0, top + NAMES.len() as f64 / 2.0 * BAR + 4.0);
    let _ = writeln!(out, "<text x='{label}' y='{middle}' text-anchor='end'>{name}</text>");
    if row.spoiled.is_some() {
        let _ = writeln!(out, "<text x='{}' y='{middle}'>not quoted</text>", LEFT + 8.0);
        return;
    }
    for server in 0..NAMES.len() {
        let Some(figure) = row.figure(server) else { continue };
        let (y, wide) = (top + BAR * server as f64, x(figure) - LEFT);
        let (text, base) = (LEFT + wide + 5.0, y + BAR - 3.0);
        let _ =
            writeln!(out, "<rect class='s{server}' x='{LEFT}' y='{y}' width='{wide:.1}' height='{:.0}'/>", BAR - 1.0);
        let _ = writeln!(out, "<text class='small' x='{text:.1}' y='{base:.1}'>{}</text>", plain(figure));
    }
}

fn opening(head: &Head, height: f64, cells: &[&Row]) -> String {
    let title = "Acknowledged a second, each after an fsync";
    let said = |row: &&Row| {
        let each: Vec<String> =
            NAMES.iter().zip(0..).filter_map(|(name, at)| Some(format!("{name} {}", plain(row.figure(at)?)))).collect();
        let said = if row.spoiled.is_some() { "not quoted".to_owned() } else { each.join(", ") };
        format!("{}: {said}", row.title.trim_start_matches("acknowledged a second, "))
    };
    let about: Vec<String> = cells.iter().map(said).collect();
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img' aria-labelledby='t d' \
         font-family='DejaVu Sans, Verdana, sans-serif' font-size='13'>\n<title id='t'>{title}</title>\n\
         <desc id='d'>{}.</desc>\n<style>\n\
         svg {{ background: #fff; }} text {{ fill: #1a1a1a; }} .small {{ font-size: 11px; }} .grid {{ stroke: #ddd; }}\n\
         .s0 {{ fill: #1d4f91; }} .s1 {{ fill: #c2571a; }} .s2 {{ fill: #7a7a7a; }} .s3 {{ fill: #2f855a; }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         svg {{ background: #14171a; }} text {{ fill: #e8e8e8; }} .grid {{ stroke: #383d42; }}\n\
         .s0 {{ fill: #6ea8ff; }} .s1 {{ fill: #f0925a; }} .s2 {{ fill: #9a9a9a; }} .s3 {{ fill: #7bd0a0; }}\n}}\n</style>\n\
         <text x='20' y='28' font-size='17' font-weight='bold'>{title}</text>\n\
         <text class='small' x='20' y='48'>{}, {}</text>\n",
        about.join("; "),
        head.date,
        head.machine,
    );
    for (server, name) in NAMES.iter().enumerate() {
        let at = LEFT + 130.0 * server as f64;
        let _ = writeln!(out, "<rect class='s{server}' x='{at}' y='62' width='12' height='12'/>");
        let _ = writeln!(out, "<text x='{}' y='73'>{name}</text>", at + 18.0);
    }
    out
}

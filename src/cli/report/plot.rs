//! Plots as SVG: lines, bars up and down, a distribution. Each has its title and description, and its data in words and
//! as a table, for readers who cannot see it.
//!
//! Colour alone never carries information: lines differ in their dashes, areas in their hatching, and all of them are
//! named beside the plot.

use super::table::{Cell, Table};
use crate::text::report as text;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// A plot with its descriptions.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// The target of links within the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// A description in one sentence.
    pub(super) words: String,
    pub(super) shape: Shape,
    /// The data as a table.
    pub(super) table: Table,
}

/// The kinds of plots.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Over time: lines through the points, and bands behind them.
    Lines { lines: Vec<Line>, bands: Vec<Band>, ticks: Vec<Tick> },
    /// Over time: a bar up and a bar down for each point.
    Bars { up: Line, down: Line, bands: Vec<Band>, ticks: Vec<Tick> },
    /// A distribution: counts with their labels.
    Spread(Vec<(String, u64)>),
}

/// Values at equal distances.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    /// A class of the page's style.
    pub(super) style: &'static str,
    pub(super) values: Vec<u64>,
}

/// A span of time, from and to as shares of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    /// The upstream was unreachable; otherwise it was blocked, failing or paused.
    pub(super) offline: bool,
}

/// A mark of the time axis, at a share of the whole.
#[derive(Clone, Debug)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

impl Plot {
    /// The entries of the legend: style and name.
    pub(super) fn legend(&self) -> Vec<(&'static str, &'static str)> {
        let (lines, bands) = match &self.shape {
            Shape::Lines { lines, bands, .. } => (lines.iter().collect(), bands.as_slice()),
            Shape::Bars { up, down, bands, .. } => (vec![up, down], bands.as_slice()),
            Shape::Spread(_) => (Vec::new(), &[][..]),
        };
        let mut legend: Vec<_> = lines.iter().map(|line| (line.style, line.name)).collect();
        for (offline, style, name) in [(true, "offline", text::no_connection()), (false, "shut", text::shut())] {
            if bands.iter().any(|band| band.offline == offline) {
                legend.push((style, name));
            }
        }
        legend
    }

    /// The SVG; `escape` escapes a text for the page.
    pub(super) fn svg(&self, escape: fn(&str) -> String) -> String {
        let height = match &self.shape {
            Shape::Spread(rows) => 22.0 * count(rows.len()) + 8.0,
            _ => HEIGHT,
        };
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            escape(self.title),
            escape(&self.words),
            id = self.id
        );
        match &self.shape {
            Shape::Lines { lines, bands, ticks } => {
                let most = lines.iter().flat_map(|line| &line.values).copied().max().unwrap_or(0);
                let scale = Scale::new(most, 0);
                draw_bands(&mut out, bands);
                scale.draw(&mut out);
                lines.iter().for_each(|line| scale.draw_line(&mut out, line));
                draw_ticks(&mut out, ticks, escape);
            }
            Shape::Bars { up, down, bands, ticks } => {
                let most = |line: &Line| line.values.iter().copied().max().unwrap_or(0);
                let scale = Scale::new(most(up), most(down));
                draw_bands(&mut out, bands);
                scale.draw(&mut out);
                scale.draw_bars(&mut out, up, down);
                draw_ticks(&mut out, ticks, escape);
            }
            Shape::Spread(rows) => draw_spread(&mut out, rows, escape),
        }
        out.push_str("</svg>");
        out
    }

    /// The data as rows of text.
    pub(super) fn rows_of_text(&self) -> Vec<Vec<Cell>> {
        let Shape::Spread(rows) = &self.shape else { return self.table.rows.clone() };
        let most = rows.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
        let bar = |value: u64| "#".repeat(usize::try_from(value.saturating_mul(40).div_ceil(most)).unwrap_or(0));
        rows.iter().map(|(label, value)| vec![label.as_str().into(), (*value).into(), bar(*value).into()]).collect()
    }
}

/// Converts values to heights.
struct Scale {
    /// The highest values above and below, rounded up to a step.
    up: u64,
    down: u64,
    step: u64,
}

impl Scale {
    fn new(up: u64, down: u64) -> Self {
        let step = step(up + down);
        let whole = |value: u64| value.div_ceil(step) * step;
        Self { up: whole(up).max(step), down: whole(down), step }
    }

    fn y(&self, value: f64) -> f64 {
        let room = HEIGHT - TOP - BOTTOM;
        TOP + room * (number(self.up) - value) / number(self.up + self.down)
    }

    fn draw(&self, out: &mut String) {
        let marks = (0..=self.up / self.step).map(|n| (number(n * self.step), n * self.step));
        let below = (1..=self.down / self.step).map(|n| (-number(n * self.step), n * self.step));
        for (at, label) in marks.chain(below) {
            let (y, right) = (self.y(at), WIDTH - RIGHT);
            let class = if label == 0 { "zero" } else { "grid" };
            put!(out, "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            put!(out, "<text x=\"{:.0}\" y=\"{:.1}\" class=\"end\">{}</text>", LEFT - 5.0, y + 3.5, short(label));
        }
    }

    fn draw_line(&self, out: &mut String, line: &Line) {
        // The only interval of a young agent is drawn as a level, because a point would not be visible.
        let values = if let [only] = line.values[..] { vec![only, only] } else { line.values.clone() };
        let line = &Line { name: line.name, style: line.style, values };
        let last = count(line.values.len().saturating_sub(1)).max(1.0);
        let x = |n: usize| LEFT + (WIDTH - LEFT - RIGHT) * count(n) / last;
        let mut path = String::new();
        let mut drawn = None;
        for (n, value) in line.values.iter().enumerate() {
            // A horizontal part is drawn from its first point to its last.
            let level = n > 0 && line.values[n - 1] == *value && line.values.get(n + 1) == Some(value);
            if level {
                continue;
            }
            let command = if drawn.is_none() { 'M' } else { 'L' };
            put!(path, "{command}{:.1} {:.1}", x(n), self.y(number(*value)));
            drawn = Some(n);
        }
        let (style, floor) = (line.style, self.y(0.0));
        if style == "pending" {
            put!(out, "<path class=\"area\" d=\"{path}V{floor:.1}H{LEFT}Z\"/>");
        }
        put!(out, "<path class=\"line {style}\" d=\"{path}\"/>");
    }

    fn draw_bars(&self, out: &mut String, up: &Line, down: &Line) {
        let room = (WIDTH - LEFT - RIGHT) / count(up.values.len().max(1));
        let width = (room * 0.7).max(1.0);
        for (line, sign) in [(up, 1.0), (down, -1.0)] {
            for (n, value) in line.values.iter().enumerate().filter(|(_, value)| **value > 0) {
                let x = LEFT + room * count(n) + (room - width) / 2.0;
                let (from, to) = (self.y(0.0), self.y(sign * number(*value)));
                let (top, height) = (from.min(to), (from - to).abs().max(0.8));
                put!(
                    out,
                    "<rect class=\"bar {}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>",
                    line.style
                );
            }
        }
    }
}

fn draw_bands(out: &mut String, bands: &[Band]) {
    let room = WIDTH - LEFT - RIGHT;
    for Band { from, to, offline } in bands {
        let class = if *offline { "offline" } else { "shut" };
        put!(
            out,
            "<rect class=\"band {class}\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            LEFT + room * from,
            (room * (to - from)).max(1.0),
            HEIGHT - TOP - BOTTOM
        );
    }
}

fn draw_ticks(out: &mut String, ticks: &[Tick], escape: fn(&str) -> String) {
    let room = WIDTH - LEFT - RIGHT;
    for Tick { at, label } in ticks {
        let (x, y) = (LEFT + room * at, HEIGHT - BOTTOM);
        put!(out, "<path class=\"tick\" d=\"M{x:.1} {y}v4\"/>");
        put!(out, "<text x=\"{x:.1}\" y=\"{:.0}\" class=\"mid\">{}</text>", y + 16.0, escape(label));
    }
}

fn draw_spread(out: &mut String, rows: &[(String, u64)], escape: fn(&str) -> String) {
    const LABEL: f64 = 110.0;
    let most = number(rows.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1));
    for (n, (label, value)) in rows.iter().enumerate() {
        let y = 4.0 + 22.0 * count(n);
        let width = (WIDTH - LABEL - 60.0) * number(*value) / most;
        put!(out, "<text x=\"{:.0}\" y=\"{:.0}\" class=\"end\">{}</text>", LABEL - 8.0, y + 13.0, escape(label));
        if *value > 0 {
            let width = width.max(1.5);
            put!(
                out,
                "<rect class=\"bar delivered\" x=\"{LABEL}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"16\" rx=\"2\"/>"
            );
        }
        let beside = LABEL + width + 6.0;
        put!(out, "<text x=\"{beside:.0}\" y=\"{:.0}\">{value}</text>", y + 13.0);
    }
}

/// A round step that fits at most about five times.
fn step(most: u64) -> u64 {
    let fits = |step: &u64| step.saturating_mul(5) >= most;
    let decades = std::iter::successors(Some(1_u64), |decade| decade.checked_mul(10));
    let mut steps = decades.flat_map(|decade| [decade, decade.saturating_mul(2), decade.saturating_mul(5)]);
    steps.find(fits).unwrap_or(u64::MAX)
}

/// `12k`, `3M`: the labels of an axis.
fn short(value: u64) -> String {
    match value {
        0..10_000 => value.to_string(),
        10_000..10_000_000 => format!("{}k", value / 1000),
        _ => format!("{}M", value / 1_000_000),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture of counts far below 2^52")]
fn number(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "a picture of at most a thousand points")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_at_most_five_or_six() {
        let told = [0, 1, 4, 6, 11, 27, 99, 4711, 1_000_000].map(step);
        assert_eq!(told, [1, 1, 1, 2, 5, 10, 20, 1000, 200_000]);
    }

    fn plot(shape: Shape) -> Plot {
        Plot { id: "p", title: "<Title>", words: "w".into(), shape, table: Table::default() }
    }

    #[test]
    fn a_plot_bears_its_title_and_description_escaped() {
        let svg = plot(Shape::Spread(vec![("<b>".into(), 3)])).svg(|text| text.replace('<', "&lt;"));
        assert!(svg.contains("<title id=\"p-t\">&lt;Title></title><desc id=\"p-d\">w</desc>"), "{svg}");
        assert!(svg.contains(">&lt;b></text>"), "{svg}");
    }

    #[test]
    fn nothing_at_all_and_the_highest_number_are_drawn_too() {
        for values in [vec![], vec![0], vec![0, 0], vec![u64::MAX / 4, 1]] {
            let line = Line { name: "pending", style: "pending", values };
            let lines = Shape::Lines { lines: vec![line.clone()], bands: Vec::new(), ticks: Vec::new() };
            let bars = Shape::Bars { up: line.clone(), down: line, bands: Vec::new(), ticks: Vec::new() };
            for svg in [plot(lines).svg(str::to_owned), plot(bars).svg(str::to_owned)] {
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}

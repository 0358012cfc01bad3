//! Plots two runs as one self-contained SVG.

use crate::Chain;
use crate::figures::Trace;
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 900.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 24.0;
/// The first panel's top edge, a panel's height, and from one top edge to the next.
const TOP: f64 = 150.0;
const TALL: f64 = 180.0;
const STEP: f64 = 250.0;
/// Seconds per bin.
const BIN: usize = 10;

/// The style of the lines: the shipped policy's, and the naive one's.
const LOOKS: [&str; 2] =
    ["stroke='#1d4f91' stroke-width='3.5'", "stroke='#b5440b' stroke-width='1.8' stroke-dasharray='7 5'"];
const NAMES: [&str; 2] = ["shipped policy (solid)", "naive: retries 1 s after each no (dashed)"];

struct Panel {
    title: &'static str,
    /// Values of each bin: shipped, naive.
    lines: [Vec<f64>; 2],
    /// The capacity, if the panel shows it.
    capacity: Option<f64>,
    /// The unit after a number at the axis, and the factor applied to it.
    unit: &'static str,
    scale: f64,
}

pub(crate) fn svg(chain: &Chain, shipped: &Trace, naive: &Trace) -> String {
    let bins = shipped.good.len().max(naive.good.len()).div_ceil(BIN) + 6;
    let both = |of: &dyn Fn(&Trace) -> Vec<f64>| [of(shipped), of(naive)];
    let seconds = BIN as f64;
    let terminals = chain.terminals as f64;
    let panels = [
        Panel {
            title: "Offered load: requests in each 10 s, as a multiple of the capacity",
            lines: both(&|trace| binned(&trace.offered, bins, seconds * chain.capacity)),
            capacity: Some(1.0),
            unit: "×",
            scale: 1.0,
        },
        Panel {
            title: "Goodput: accepted each second",
            lines: both(&|trace| binned(&trace.good, bins, seconds)),
            capacity: Some(chain.capacity),
            unit: "/s",
            scale: 1.0,
        },
        Panel {
            title: "Terminals that have delivered their whole backlog",
            lines: both(&|trace| running(binned(&trace.done, bins, terminals))),
            capacity: None,
            unit: " %",
            scale: 100.0,
        },
    ];
    let mut out = head(chain);
    for (place, panel) in panels.iter().enumerate() {
        draw(&mut out, panel, TOP + place as f64 * STEP, bins);
    }
    let (x, y) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 18.0);
    writeln!(out, "<text x='{x}' y='{y}' text-anchor='middle'>minutes after the line is back</text>\n</svg>").unwrap();
    out
}

fn binned(seconds: &[u32], bins: usize, by: f64) -> Vec<f64> {
    let mut values = vec![0.0; bins];
    for (value, bin) in values.iter_mut().zip(seconds.chunks(BIN)) {
        *value = bin.iter().map(|n| f64::from(*n)).sum::<f64>() / by;
    }
    values
}

fn running(mut values: Vec<f64>) -> Vec<f64> {
    for place in 1..values.len() {
        values[place] += values[place - 1];
    }
    values
}

/// Title, description, and legend.
fn head(chain: &Chain) -> String {
    let Chain { terminals, backlog, capacity, outage_s, .. } = chain;
    let hours = outage_s / 3600.0;
    let title = format!("{terminals} terminals come back at once");
    let about = format!(
        "{backlog} failures each after {hours} h without a line; the office serves {capacity} requests a second; \
         the rest get a 503, which costs it nothing."
    );
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' \
         role='img' aria-labelledby='t d' font-family='DejaVu Sans, Verdana, sans-serif' font-size='14' \
         fill='#1a1a1a'>\n<title id='t'>{title}</title>\n<desc id='d'>{about} Three panels over time, each with the \
         shipped policy as a solid line and terminals that retry a second after each no as a dashed one: offered \
         load, goodput, terminals that are done.</desc>\n<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>\n\
         <text x='{LEFT}' y='34' font-size='20' font-weight='bold'>{title}</text>\n\
         <text x='{LEFT}' y='58' font-size='13'>{about}</text>\n"
    );
    let mut x = LEFT;
    for (name, look) in NAMES.iter().zip(LOOKS) {
        let (to, text) = (x + 50.0, x + 60.0);
        writeln!(out, "<path d='M{x} 85H{to}' {look}/><text x='{text}' y='90'>{name}</text>").unwrap();
        x += 290.0;
    }
    let (x, text) = (LEFT + 660.0, LEFT + 720.0);
    let to = x + 50.0;
    writeln!(out, "<path d='M{x} 85H{to}' {CAPACITY}/><text x='{text}' y='90'>capacity (dotted)</text>").unwrap();
    out
}

const CAPACITY: &str = "stroke='#333' stroke-width='1.5' stroke-dasharray='1.5 4'";

fn draw(out: &mut String, panel: &Panel, top: f64, bins: usize) {
    let bottom = top + TALL;
    let right = WIDTH - RIGHT;
    let values = panel.lines.iter().flatten().chain(&panel.capacity);
    let highest = values.copied().fold(0.0, f64::max) * panel.scale;
    let step = nice(highest / 6.0);
    let highest = (highest / step - 1e-6).ceil() * step;
    let y = |value: f64| bottom - TALL * value * panel.scale / highest;
    let x = |bin: f64| LEFT + (right - LEFT) * bin / bins as f64;

    writeln!(out, "<text x='{LEFT}' y='{:.0}' font-weight='bold'>{}</text>", top - 14.0, panel.title).unwrap();
    for tick in 0..=(highest / step).round() as u32 {
        let value = f64::from(tick) * step;
        let (at, unit) = (y(value / panel.scale), panel.unit);
        writeln!(out, "<path d='M{LEFT} {at:.1}H{right}' stroke='#ddd'/>").unwrap();
        let (x, at) = (LEFT - 8.0, at + 5.0);
        writeln!(out, "<text x='{x}' y='{at:.1}' text-anchor='end'>{value}{unit}</text>").unwrap();
    }
    let minutes = (bins * BIN) as f64 / 60.0;
    let step = nice(minutes / 8.0).max(1.0);
    for tick in 0..=(minutes / step) as u32 {
        let minute = f64::from(tick) * step;
        let (at, below, text) = (x(minute * 60.0 / BIN as f64), bottom + 5.0, bottom + 20.0);
        writeln!(out, "<path d='M{at:.1} {bottom}V{below}' stroke='#333'/>").unwrap();
        writeln!(out, "<text x='{at:.1}' y='{text}' text-anchor='middle'>{minute}</text>").unwrap();
    }
    writeln!(out, "<path d='M{LEFT} {top}V{bottom}H{right}' stroke='#333' fill='none'/>").unwrap();
    for (values, look) in panel.lines.iter().zip(LOOKS) {
        let points =
            values.iter().enumerate().map(|(bin, value)| format!("{:.1},{:.1} ", x(bin as f64 + 0.5), y(*value)));
        let points: String = points.collect();
        writeln!(out, "<polyline fill='none' {look} points='{}'/>", points.trim_end()).unwrap();
    }
    if let Some(capacity) = panel.capacity {
        writeln!(out, "<path d='M{LEFT} {:.1}H{right}' {CAPACITY}/>", y(capacity)).unwrap();
    }
}

/// The smallest of 1, 2, 5, 10, 20, … that is large enough.
fn nice(least: f64) -> f64 {
    let ten = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|times| times * ten).find(|step| *step >= least).unwrap_or(10.0 * ten)
}

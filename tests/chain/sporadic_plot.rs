//! Plots deliveries over time at four shares of errors, as one self-contained SVG.

use crate::sporadic::{Course, Error, Upstream, former, plain, shipped};
use std::fmt::Write as _;

const COUNT: usize = 3000;
/// The time axis is logarithmic, between these two times in seconds.
const FROM_S: f64 = 1.0;
const TO_S: f64 = 10_000.0;
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 760.0;
const LEFT: [f64; 2] = [60.0, 540.0];
const TOP: [f64; 2] = [130.0, 440.0];
const WIDE: f64 = 390.0;
const TALL: f64 = 240.0;

const LOOKS: [(&str, &str); 3] = [
    ("shipped policy (solid)", "stroke='#1d4f91' stroke-width='3.5'"),
    ("plain sender (dashed)", "stroke='#b5440b' stroke-width='1.8' stroke-dasharray='7 5'"),
    ("former policy (dotted)", "stroke='#333' stroke-width='1.8' stroke-dasharray='1.5 4'"),
];

pub(crate) fn svg() -> String {
    let title = "An upstream that answers a share of its requests with 503";
    let about = "3,000 failures, 4 connections, 50 ms for each request; the plain sender retries after a second.";
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' \
         role='img' aria-labelledby='t d' font-family='DejaVu Sans, Verdana, sans-serif' font-size='14' \
         fill='#1a1a1a'>\n<title id='t'>{title}</title>\n<desc id='d'>{about} Four panels with the number of \
         deliveries over time, on a logarithmic axis, at 1, 5, 14 and 30 percent of errors.</desc>\n\
         <rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>\n\
         <text x='60' y='34' font-size='20' font-weight='bold'>{title}</text>\n\
         <text x='60' y='58' font-size='13'>{about}</text>\n"
    );
    for (place, (name, look)) in LOOKS.iter().enumerate() {
        let x = 60.0 + 290.0 * place as f64;
        let (to, text) = (x + 50.0, x + 60.0);
        writeln!(out, "<path d='M{x} 85H{to}' {look}/><text x='{text}' y='90'>{name}</text>").unwrap();
    }
    for (place, share) in [0.01, 0.05, 0.14, 0.3].into_iter().enumerate() {
        panel(&mut out, share, LEFT[place % 2], TOP[place / 2]);
    }
    writeln!(out, "<text x='480' y='740' text-anchor='middle'>seconds</text>\n</svg>").unwrap();
    out
}

fn panel(out: &mut String, share: f64, left: f64, top: f64) {
    let upstream = Upstream { error: Error::Status(503), share, takes_s: 0.05, concurrency: 4, seed: 1 };
    let courses =
        [shipped(&upstream, &vec![0.0; COUNT], TO_S), plain(&upstream, COUNT), former(&upstream, COUNT, TO_S)];
    let (bottom, right) = (top + TALL, left + WIDE);
    let x = |at_s: f64| left + WIDE * (at_s.max(FROM_S) / FROM_S).log10() / (TO_S / FROM_S).log10();
    let y = |delivered: usize| bottom - TALL * delivered as f64 / COUNT as f64;
    let (head, percent) = (top - 12.0, share * 100.0);
    writeln!(out, "<text x='{left}' y='{head}' font-weight='bold'>{percent:.0} % errors</text>").unwrap();
    for delivered in [0, 1000, 2000, 3000] {
        let (at, beside) = (y(delivered), left - 8.0);
        writeln!(out, "<path d='M{left} {at:.1}H{right}' stroke='#ddd'/>").unwrap();
        writeln!(out, "<text x='{beside}' y='{:.1}' text-anchor='end'>{delivered}</text>", at + 5.0).unwrap();
    }
    for power in 0..=4 {
        let at_s = 10_f64.powi(power);
        let (at, below) = (x(at_s), bottom + 20.0);
        writeln!(out, "<path d='M{at:.1} {bottom}V{:.1}' stroke='#333'/>", bottom + 5.0).unwrap();
        writeln!(out, "<text x='{at:.1}' y='{below}' text-anchor='middle'>{at_s}</text>").unwrap();
    }
    for (course, (_, look)) in courses.iter().zip(LOOKS) {
        writeln!(out, "<polyline fill='none' {look} points='{}'/>", points(course, x, y)).unwrap();
    }
    writeln!(out, "<path d='M{left} {top}V{bottom}H{right}' stroke='#333' fill='none'/>").unwrap();
}

fn points(course: &Course, x: impl Fn(f64) -> f64, y: impl Fn(usize) -> f64) -> String {
    let mut points = format!("{:.1},{:.1}", x(FROM_S), y(course.delivered_s.iter().filter(|s| **s < FROM_S).count()));
    for step in 0..=160 {
        let at_s = FROM_S * (TO_S / FROM_S).powf(f64::from(step) / 160.0);
        let delivered = course.delivered_s.partition_point(|delivered_s| *delivered_s <= at_s);
        write!(points, " {:.1},{:.1}", x(at_s), y(delivered)).unwrap();
        if delivered == COUNT {
            break;
        }
    }
    points
}

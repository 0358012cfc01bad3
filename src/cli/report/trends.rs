//! Events over time: backlog, attempts and outages of a day and a month, and how long deliveries took.

use super::page::Block;
use super::plot::{Band, Line, Plot, Shape, Tick};
use super::table::{Cell, Table};
use crate::cli::render::{self, span};
use crate::figures::digest::Digest;
use crate::figures::snapshot::Upstream;
use crate::figures::told::{PointView, SeriesReply};
use crate::moment::WallTime;
use crate::text::{Count, report as text};
use std::time::Duration;
use time::OffsetDateTime;

/// Number of outages listed, the newest ones.
const OUTAGES: usize = 20;
/// Bands closer together than this share of a plot are merged.
const NEAR: f64 = 1.0 / 300.0;

/// One of the two spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Day,
    Month,
}

impl Span {
    /// The hour or the day to which a time belongs.
    fn group(self, at: OffsetDateTime) -> String {
        match self {
            Self::Day => format!("{:02}:00", at.hour()),
            Self::Month => date(at),
        }
    }
}

/// A time by the terminal's local clock.
pub(super) fn local(at: WallTime) -> OffsetDateTime {
    render::local(at)
}

fn date(at: OffsetDateTime) -> String {
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}

/// `2026-11-24 06:12`
pub(super) fn stamp(at: WallTime) -> String {
    let at = local(at);
    format!("{} {:02}:{:02}", date(at), at.hour(), at.minute())
}

/// All plots of both spans.
pub(super) fn plots(day: &SeriesReply, month: &SeriesReply) -> Vec<Block> {
    let all = |series, span| vec![backlog(series, span), attempts(series, span)];
    vec![Block::Plots([all(day, Span::Day), all(month, Span::Month)].concat())]
}

/// An hour or a day.
#[derive(Debug, Default)]
struct Group {
    label: String,
    all: crate::figures::told::TallyView,
    pending: u64,
    critical: u64,
    held: u64,
}

fn groups(series: &SeriesReply, span: Span) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for point in &series.points {
        let label = span.group(local(at(point)));
        if groups.last().is_none_or(|last| last.label != label) {
            groups.push(Group { label, ..Group::default() });
        }
        let group = groups.last_mut().expect("one was just put there");
        group.all.recorded += point.all.recorded;
        group.all.delivered += point.all.delivered;
        group.all.failed += point.all.failed;
        group.all.refused += point.all.refused;
        group.all.offline_seconds += point.all.offline_seconds;
        group.all.shut_seconds += point.all.shut_seconds;
        group.pending = group.pending.max(point.pending);
        group.critical = group.critical.max(point.critical);
        group.held = group.held.max(point.held);
    }
    groups
}

fn at(point: &PointView) -> WallTime {
    WallTime::parse(&point.at).unwrap_or(WallTime::from_millis(0))
}

fn backlog(series: &SeriesReply, span: Span) -> Plot {
    let values = |of: fn(&PointView) -> u64| series.points.iter().map(of).collect::<Vec<_>>();
    let pending = values(|point| point.pending);
    let most = pending.iter().copied().max().unwrap_or(0);
    let when = series.points.iter().find(|point| point.pending == most).map(|point| stamp(at(point)));
    let last = series.points.last().map_or((0, 0, 0), |point| (point.pending, point.critical, point.held));
    let peak = match when {
        Some(when) if most > 0 => text::peak(most, &when),
        _ => text::no_backlog().to_owned(),
    };
    let words = format!("{peak} {}", text::backlog_now(Count(last.0), Count(last.1), Count(last.2)));
    let [name, critical, held] = text::backlog_lines();
    let lines = vec![
        Line { name, style: "pending", values: pending },
        Line { name: critical, style: "critical", values: values(|point| point.critical) },
        Line { name: held, style: "held", values: values(|point| point.held) },
    ];
    let rows = groups(series, span)
        .into_iter()
        .map(|group| vec![group.label.into(), group.pending.into(), group.critical.into(), group.held.into()]);
    let id = if span == Span::Day { "backlog-day" } else { "backlog-month" };
    Plot {
        id,
        title: text::plot(id),
        words,
        table: Table::new(text::backlog_headings(), rows.collect()),
        shape: Shape::Lines { lines, bands: bands(series), ticks: ticks(series, span) },
    }
}

fn attempts(series: &SeriesReply, span: Span) -> Plot {
    let groups = groups(series, span);
    let sum = |of: fn(&Group) -> u64| groups.iter().map(of).sum::<u64>();
    let (recorded, delivered) = (sum(|group| group.all.recorded), sum(|group| group.all.delivered));
    let (failed, refused) = (sum(|group| group.all.failed), sum(|group| group.all.refused));
    let words = text::attempts(Count(recorded), Count(delivered), Count(refused), Count(failed));
    let line = |name, style, of: fn(&Group) -> u64| Line { name, style, values: groups.iter().map(of).collect() };
    let minutes = |seconds: u64| Cell::Number(seconds / 60);
    let rows = groups.iter().map(|group| {
        let all = &group.all;
        let mut row = vec![Cell::Text(group.label.clone())];
        row.extend([all.recorded, all.delivered, all.failed, all.refused].map(Cell::Number));
        row.extend([minutes(all.offline_seconds), minutes(all.shut_seconds)]);
        row
    });
    let id = if span == Span::Day { "attempts-day" } else { "attempts-month" };
    Plot {
        id,
        title: text::plot(id),
        words,
        table: Table::new(text::attempt_headings(), rows.collect()),
        shape: Shape::Bars {
            up: line(text::delivered(), "delivered", |group| group.all.delivered),
            down: line(text::failed_attempts(), "failed", |group| group.all.failed + group.all.refused),
            bands: bands(series),
            ticks: ticks(series, span),
        },
    }
}

/// Spans in which an upstream was unavailable, over all upstreams.
fn bands(series: &SeriesReply) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    #[expect(clippy::cast_precision_loss, reason = "at most a thousand points")]
    let share = |n: usize| n as f64 / series.points.len().max(1) as f64;
    for offline in [true, false] {
        let mut of_kind: Vec<Band> = Vec::new();
        for (n, point) in series.points.iter().enumerate() {
            let away = if offline { point.all.offline_seconds } else { point.all.shut_seconds };
            // Less than a twentieth of a step would be narrower than a line.
            if away * 20 < series.step_seconds.max(1) {
                continue;
            }
            match of_kind.last_mut().filter(|last| share(n) - last.to < NEAR) {
                Some(last) => last.to = share(n + 1),
                None => of_kind.push(Band { from: share(n), to: share(n + 1), offline }),
            }
        }
        bands.extend(of_kind);
    }
    bands
}

/// Marks at every fourth hour, or every fifth day.
fn ticks(series: &SeriesReply, span: Span) -> Vec<Tick> {
    let mut ticks = Vec::new();
    let length = series.points.len();
    for (n, pair) in series.points.windows(2).enumerate() {
        let (before, here) = (local(at(&pair[0])), local(at(&pair[1])));
        let (marked, label) = match span {
            Span::Day => (before.hour() != here.hour() && here.hour() % 4 == 0, format!("{:02}:00", here.hour())),
            Span::Month => (before.date() != here.date() && here.date().ordinal() % 5 == 0, date(here)[5..].to_owned()),
        };
        if marked {
            #[expect(clippy::cast_precision_loss, reason = "at most a thousand points")]
            let share = (n + 1) as f64 / length.max(1) as f64;
            ticks.push(Tick { at: share, label });
        }
    }
    // A label at the edge would be cut off.
    ticks.retain(|tick| (0.03..0.97).contains(&tick.at));
    ticks
}

/// A time in which an upstream accepted nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outage {
    upstream: String,
    offline: bool,
    from: WallTime,
    seconds: u64,
    /// It has not ended.
    still: bool,
}

/// The outages of a series, oldest first. Their beginning is exact to a step where they began within one. The last step
/// is not over, so what lasts in it began before `now` and not before its end.
fn outages(series: &SeriesReply, upstreams: &[Upstream], now: WallTime) -> Vec<Outage> {
    let mut found: Vec<Outage> = Vec::new();
    let step = series.step_seconds;
    for (n, point) in series.points.iter().enumerate() {
        let last = n + 1 == series.points.len();
        for line in &point.upstreams {
            for (offline, seconds) in [(true, line.tally.offline_seconds), (false, line.tally.shut_seconds)] {
                if seconds == 0 {
                    continue;
                }
                let goes_on = n > 0 && {
                    let before = series.points[n - 1].upstreams.iter().find(|before| before.name == line.name);
                    before.is_some_and(|before| {
                        if offline { before.tally.offline_seconds > 0 } else { before.tally.shut_seconds > 0 }
                    })
                };
                let known = |outage: &&mut Outage| outage.upstream == line.name && outage.offline == offline;
                if let Some(outage) = found.iter_mut().rev().find(known).filter(|_| goes_on) {
                    outage.seconds += seconds;
                    outage.still = last;
                } else {
                    // An outage that lasts to the next point began that long before its end.
                    let from = at(point).after(Duration::from_secs(step.saturating_sub(seconds)));
                    let from = from.min(now.before(Duration::from_secs(seconds)));
                    let upstream = line.name.clone();
                    found.push(Outage { upstream, offline, from, seconds, still: last });
                }
            }
        }
    }
    for outage in found.iter_mut().filter(|outage| outage.still) {
        let away = |one: &Upstream| match one.state.as_str() {
            "offline" => outage.offline,
            "blocked" | "failing" | "paused" => !outage.offline,
            _ => false,
        };
        outage.still = upstreams.iter().any(|one| one.name == outage.upstream && away(one));
    }
    found.sort_by_key(|outage| outage.from);
    found
}

/// Lists when upstreams were unreachable, and when they were blocked, failing or paused.
pub(super) fn outage_blocks(month: &SeriesReply, upstreams: &[Upstream], now: WallTime) -> Vec<Block> {
    let found = outages(month, upstreams, now);
    if found.is_empty() {
        return vec![Block::Words(text::no_outage().to_owned())];
    }
    let total: u64 = found.iter().map(|outage| outage.seconds).sum();
    let [total, step] = [total, month.step_seconds].map(|seconds| span(Duration::from_secs(seconds)));
    let words = text::outages(found.len() as u64, &total, &step);
    let rows = found.iter().rev().take(OUTAGES).map(|outage| {
        let what = if outage.offline { text::no_connection() } else { text::shut() };
        let lasted = span(Duration::from_secs(outage.seconds));
        let lasted = if outage.still { text::until_now(&lasted) } else { lasted };
        vec![stamp(outage.from).into(), outage.upstream.as_str().into(), what.into(), lasted.into()]
    });
    let table = Table::new(text::outage_headings(), rows.collect());
    let mut blocks = vec![Block::Words(words), Block::Table(table)];
    if found.len() > OUTAGES {
        blocks.insert(1, Block::Words(text::newest_outages(OUTAGES)));
    }
    blocks
}

/// Distribution of the time from recording to delivery.
pub(super) fn waits(digest: &Digest) -> Vec<Block> {
    let all: u64 = digest.waits.iter().sum();
    if all == 0 {
        return vec![Block::Words(text::no_delivery().to_owned())];
    }
    let longest_bound = || exact(digest.wait_seconds.last().copied().unwrap_or(0));
    let label = |n: usize| match (digest.wait_seconds.get(n), n) {
        (Some(bound), 0) => text::up_to(&exact(*bound)),
        (Some(bound), _) => text::to(&exact(*bound)),
        (None, _) => text::over(&longest_bound()),
    };
    let rows: Vec<(String, u64)> = digest.waits.iter().enumerate().map(|(n, count)| (label(n), *count)).collect();
    let mut sum = 0;
    let half = digest.waits.iter().position(|count| {
        sum += count;
        sum * 2 >= all
    });
    let half = match half.map(|n| digest.wait_seconds.get(n)) {
        Some(Some(bound)) => text::half_up_to(&exact(*bound)),
        _ => text::half_over(&longest_bound()),
    };
    let longest = text::longest(&span(Duration::from_secs(digest.longest_wait_seconds)));
    let words = format!("{} {half} {longest}", text::deliveries(all));
    let cells = rows.iter().map(|(label, count)| vec![label.as_str().into(), (*count).into()]).collect();
    let table = Table::new(text::wait_headings(), cells);
    let id = "waits";
    vec![Block::Plots(vec![Plot { id, title: text::plot(id), words, shape: Shape::Spread(rows), table }])]
}

/// A bound of the distribution: `5 min`, `4 h`, `3 d`.
fn exact(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
#[path = "trends_tests.rs"]
mod tests;

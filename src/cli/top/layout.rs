//! The layout of the live screen, from a terminal of 80 × 24 on; on a smaller one the lower parts are missing, on a
//! larger one there is more of each. The words are those of `status` and `list`.

use super::grid::{Grid, Look};
use super::seen::{Pace, Seen, backlog};
use super::spark::sparkline;
use super::watch::{Line, View, Watch};
use crate::cli::list::{expendable, row};
use crate::cli::operate::Many;
use crate::cli::render::{Screen, Tone, ago, clock, columns, count, sanitize, span, spoken, width};
use crate::cli::status::{next, verdict};
use crate::cli::words;
use crate::figures::digest::{Alike, Blocking};
use crate::figures::snapshot::{Failure, Upstream};
use crate::moment::WallTime;
use crate::text::list::headings;
use crate::text::numbers::decimal;
use crate::text::phrases::{of_alert, of_attempt};
use crate::text::{Count, moments, times, top as text};
use std::time::Duration;

/// Columns of the label before a line.
const LABEL: usize = 11;
/// Age from which data is marked as old.
const OLD: Duration = Duration::from_secs(4);
/// Minimum number of rows of the list of failures, unless the screen is tiny.
const LEAST_ROWS: usize = 5;

/// Lines that the chosen failure takes at most.
const LINES_OF_THE_CHOSEN: usize = 3;

/// A line of the screen.
type Written = (Tone, String);

/// The current screen; `boot` is the time since the machine started.
pub(super) fn draw(watch: &Watch, now: WallTime, boot: Duration, (width, height): (usize, usize)) -> Grid {
    let mut grid = Grid::new(width, height);
    title(&mut grid, watch, now, boot);
    match &watch.view {
        View::List => list(&mut grid, watch, now),
        View::Help => paragraphs(&mut grid, &text::help().lines().map(str::to_owned).collect::<Vec<_>>(), 0),
        View::Page { lines, first, .. } => paragraphs(&mut grid, lines, *first),
    }
    footer(&mut grid, watch);
    grid
}

fn title(grid: &mut Grid, watch: &Watch, now: WallTime, boot: Duration) {
    let right = clock(now, now);
    let age = boot.saturating_sub(watch.seen_at);
    let (tone, state) = match &watch.silent {
        Some(why) => (Tone::Bad, text::no_answer(&span(age), why)),
        None if age >= OLD => (Tone::Warning, text::as_it_was(&span(age))),
        None => (Tone::Plain, String::new()),
    };
    let left = format!("resyncd top   {}   ", watch.seen.terminal);
    let at = grid.put(0, 0, &left, Look::of(Tone::Strong));
    let room = grid.width().saturating_sub(at + columns(&right) + 1);
    grid.put_within(at, 0, room, &state, Look::of(tone));
    grid.put(grid.width().saturating_sub(columns(&right)), 0, &right, Look::of(Tone::Plain));
}

/// Draws the state, and the failures below.
fn list(grid: &mut Grid, watch: &Watch, now: WallTime) {
    let seen = &watch.seen;
    let mut top = vec![verdict(&seen.snapshot, now), (Tone::Plain, next(&seen.snapshot, now)), blank()];
    top.extend(upstreams(seen, now, grid.width(), grid.height() / 6));
    top.push(blank());
    top.extend(figures(seen, watch.sieve.is_open(), now));
    top.extend(lately(seen, grid.width(), now));
    let sections = [alerts(seen, now), blocking(seen), errors(seen, now)];
    // The title, the last line, the part above the list, and its heading.
    let room = grid.height().saturating_sub(top.len() + 4);
    let rows = LEAST_ROWS.max(room / 2).min(room.saturating_sub(sections.len()));
    for (section, lines) in sections.iter().zip(shares(sections.each_ref().map(Vec::len), room - rows.min(room))) {
        top.extend(section.iter().take(lines).cloned());
    }
    let mut at = 1;
    for (tone, line) in top {
        grid.put(0, at, &line, Look::of(tone));
        at += 1;
    }
    let last = grid.height().saturating_sub(1);
    failures(grid, watch, now, at, last);
}

fn blank() -> Written {
    (Tone::Plain, String::new())
}

/// Distributes lines to sections: at least one each, and the rest by turns to those that have more.
fn shares<const N: usize>(wanted: [usize; N], room: usize) -> [usize; N] {
    let mut given = [0; N];
    for _ in 0..room {
        let Some(least) = (0..N).filter(|at| given[*at] < wanted[*at]).min_by_key(|at| given[*at]) else { break };
        given[least] += 1;
    }
    given
}

/// Unavailable upstreams come first.
fn upstreams(seen: &Seen, now: WallTime, width: usize, most: usize) -> Vec<Written> {
    if !seen.snapshot.running {
        return vec![(Tone::Bad, words::not_running().to_owned())];
    }
    let mut all: Vec<&Upstream> = seen.snapshot.health.upstreams.iter().collect();
    if all.is_empty() {
        return vec![(Tone::Warning, words::no_upstream().to_owned())];
    }
    all.sort_by_key(|upstream| upstream.state == "online");
    let cells = |upstream: &&Upstream| {
        let since = upstream.since.map_or_else(|| "-".to_owned(), |at| ago(at, now));
        let next = upstream.next_try_at.filter(|at| *at > now);
        let why = upstream.latency_ms.filter(|_| upstream.state == "online").map(|ms| format!("{ms} ms"));
        vec![
            sanitize(&upstream.name),
            words::upstream(&upstream.state).to_owned(),
            since,
            next.map_or_else(|| "-".to_owned(), |at| countdown(at.since(now))),
            why.or_else(|| upstream.paused_by.clone())
                .unwrap_or_else(|| spoken(upstream.reason.as_deref().unwrap_or_default())),
        ]
    };
    let most = most.max(1);
    let rows: Vec<Vec<String>> = all.iter().take(most).map(cells).collect();
    let tone = |at: usize| match all.get(at).map(|upstream| upstream.state == "online") {
        Some(false) => Tone::Warning,
        _ => Tone::Plain,
    };
    let mut lines = table(width, &text::upstream_headings(), &rows, tone);
    if all.len() > most {
        lines.push((Tone::Plain, text::more_upstreams(all.len() - most)));
    }
    lines
}

/// A heading and rows, as lines; the last cell of a row takes two of them at most.
fn table(width: usize, heading: &[&str], rows: &[Vec<String>], tone: impl Fn(usize) -> Tone) -> Vec<Written> {
    let cells: Vec<&[String]> = rows.iter().map(Vec::as_slice).collect();
    let laid_out = Screen::unpainted(width, 2).laid_out(heading, &[], &cells);
    let tones = std::iter::once(Tone::Strong).chain((0..).map(tone));
    tones.zip(laid_out).flat_map(|(tone, lines)| lines.into_iter().map(move |line| (tone, line))).collect()
}

/// The time until the next attempt, in seconds if that is short.
fn countdown(left: Duration) -> String {
    let left = left + Duration::from_millis(999);
    match left.as_secs() {
        seconds @ 0..600 => text::countdown(&format!("{}:{:02}", seconds / 60, seconds % 60)),
        _ => text::countdown(&span(left)),
    }
}

/// The counts under their words, the oldest pending failure, when something was last sent.
fn figures(seen: &Seen, all_are_shown: bool, now: WallTime) -> Vec<Written> {
    let health = &seen.snapshot.health;
    let counts =
        health.live.named().map(|(name, number)| format!("{} {}", words::status_name(name), count(number))).join("   ");
    let delivered = health.last_delivery_at.map_or_else(|| "-".to_owned(), |at| times::ago(&span(now.since(at))));
    let mut lines = vec![labelled(text::label("now"), &text::figures(&counts, &delivered))];
    let waits = |failure: &&Failure| failure.status == "pending";
    let recorded = |failure: &&Failure| (failure.created_at.is_none(), failure.created_at);
    let oldest = seen.failures.iter().filter(waits).min_by_key(recorded).filter(|_| all_are_shown);
    let oldest = oldest.map(|failure| {
        let age = failure.created_at.map_or_else(String::new, |at| span(now.since(at)));
        text::waits(&age, failure.seq, &name(failure))
    });
    let old = || health.oldest_created_at.map(|at| span(now.since(at)));
    lines.push(labelled(text::label("oldest"), &oldest.or_else(old).unwrap_or_else(|| "-".into())));
    lines
}

/// The backlog of the last hours, and the current rates per minute.
fn lately(seen: &Seen, width: usize, now: WallTime) -> Vec<Written> {
    let series = &seen.snapshot.day;
    let span_of = |points: usize| Duration::from_secs(series.step_seconds * points as u64);
    let most = series.points.iter().map(|point| point.pending).max().unwrap_or(0);
    let words = text::most(Count(most), &span(span_of(series.points.len())));
    let bars = backlog(series, width.saturating_sub(LABEL + columns(&words)));
    let pace = Pace::of(series, now).map_or_else(
        || "-".to_owned(),
        |pace| {
            let [recorded, delivered, failed] =
                [pace.recorded, pace.delivered, pace.failed].map(|rate| decimal(rate, 1));
            text::rates(&recorded, &delivered, &failed, &span(pace.span))
        },
    );
    vec![labelled(text::label("pending"), &(sparkline(&bars) + &words)), labelled(text::label("a minute"), &pace)]
}

fn labelled(label: &str, line: &str) -> Written {
    (Tone::Plain, format!("{label:<LABEL$}{line}"))
}

/// A section's lines; the first one has its name and number of entries.
fn section<T>(label: &str, tone: Tone, all: &[T], line: impl Fn(&T) -> String) -> Vec<Written> {
    if all.is_empty() {
        return vec![labelled(label, text::none())];
    }
    let head = format!("{label} {}", all.len());
    let label = |at: usize| if at == 0 { head.as_str() } else { "" };
    all.iter().enumerate().map(|(at, one)| (tone, labelled(label(at), &line(one)).1)).collect()
}

fn alerts(seen: &Seen, now: WallTime) -> Vec<Written> {
    section(text::section("alerts"), Tone::Warning, &seen.snapshot.alerts.alerts, |alert| {
        let since = alert.since.map_or_else(String::new, |at| moments::since(&clock(at, now)));
        let of = alert.subject.as_ref().map_or_else(String::new, |subject| format!(" {}", sanitize(subject)));
        text::alert(&sanitize(&alert.kind), &of, &since, &sanitize(&of_alert(&alert.message)))
    })
}

fn blocking(seen: &Seen) -> Vec<Written> {
    section(text::section("blocks"), Tone::Plain, &seen.snapshot.digest.blocking, |blocking| {
        let Blocking { seq, entity_type, entity_id, status, waiting, .. } = blocking;
        let what = sanitize(&format!("{entity_type} {entity_id}, {}", words::state_name(status)));
        text::blocks(*waiting, *seq, &what)
    })
}

fn errors(seen: &Seen, now: WallTime) -> Vec<Written> {
    section(
        text::section("errors"),
        Tone::Plain,
        &seen.snapshot.digest.errors,
        |Alike { tries, class, error, last_at, seq, .. }| {
            let last = WallTime::parse(last_at).map_or_else(String::new, |at| span(now.since(at)));
            let class = if class.is_empty() { text::others() } else { class.as_str() };
            sanitize(&text::alike(Count(*tries), class, &last, *seq, &of_attempt(error)))
        },
    )
}

fn name(failure: &Failure) -> String {
    sanitize(&[&*failure.entity_type, &failure.entity_id, &failure.action].join(" "))
}

/// Draws the failures from this line up to `to`.
fn failures(grid: &mut Grid, watch: &Watch, now: WallTime, from: usize, to: usize) {
    let all = &watch.seen.failures;
    grid.put(0, from, &caption(watch), Look::of(Tone::Plain));
    if all.is_empty() {
        return;
    }
    // Two columns before the list are for the sign of the selected row.
    let rows: Vec<Vec<String>> = all.iter().map(|failure| row(failure, now)).collect();
    let tone = |at: usize| match all.get(at).map(|failure| failure.status.as_str()) {
        Some("critical") => Tone::Bad,
        Some("held") => Tone::Warning,
        _ => Tone::Plain,
    };
    let cells: Vec<&[String]> = rows.iter().map(Vec::as_slice).collect();
    let laid_out = |lines: usize| {
        Screen::unpainted(grid.width().saturating_sub(2), lines).laid_out(&headings(), &expendable(), &cells)
    };
    let lines = laid_out(1);
    let Some(room) = to.checked_sub(from + 2).filter(|room| *room > 0) else { return };
    // The error of the chosen one is shown in full, as far as it fits.
    let mut chosen = laid_out(LINES_OF_THE_CHOSEN).get(watch.row + 1).cloned().unwrap_or_default();
    chosen.truncate(room);
    let others = room - chosen.len().saturating_sub(1).min(room - 1);
    grid.put(2, from + 1, &lines[0].concat(), Look::of(Tone::Strong));
    // The selected row is always visible, and in the middle of a long list.
    let first = watch.row.saturating_sub(others / 2).min(all.len().saturating_sub(others));
    let mut at = from + 2;
    for (place, line) in lines[1..].iter().enumerate().skip(first).take(others) {
        if place == watch.row {
            for (n, line) in chosen.iter().enumerate() {
                grid.fill(0, at, Look::chosen());
                grid.put(0, at, if n == 0 { ">" } else { " " }, Look::chosen());
                grid.put(2, at, line, Look::chosen());
                at += 1;
            }
        } else {
            grid.put(2, at, &line.concat(), Look::of(tone(place)));
            at += 1;
        }
    }
}

/// The number of failures shown, and the filter.
fn caption(watch: &Watch) -> String {
    let (shown, matching) = (watch.seen.failures.len() as u64, watch.seen.matching);
    let number = match matching {
        Some(0) => text::no_failures().to_owned(),
        Some(all) if all > shown => text::first_failures(Count(shown), Count(all)),
        Some(all) => text::failures(all),
        None => text::failures_found(shown),
    };
    let filter = match watch.sieve.typed.as_str() {
        "" => String::new(),
        typed => text::filter(typed),
    };
    format!("{number}{filter}")
}

/// Draws lines that may be longer than the screen is wide, from the first visible one on.
fn paragraphs(grid: &mut Grid, lines: &[String], first: usize) {
    let room = grid.height().saturating_sub(3);
    // No further than to the end.
    let first = first.min(lines.len().saturating_sub(1));
    let shown = lines[first.min(lines.len())..].iter().flat_map(|line| wrapped(line, grid.width()));
    let shown: Vec<String> = shown.take(room).collect();
    for (at, line) in shown.iter().enumerate() {
        grid.put(0, at + 2, line, Look::of(Tone::Plain));
    }
}

/// Breaks a line into pieces of at most `room` columns, at blanks if possible.
fn wrapped(line: &str, room: usize) -> Vec<String> {
    let line = sanitize(line);
    let (mut pieces, mut piece, mut used, mut blank) = (Vec::new(), String::new(), 0, None);
    for c in line.chars() {
        if used + width(c) > room && !piece.is_empty() {
            let rest = blank.map_or_else(String::new, |at| piece.split_off(at));
            pieces.push(std::mem::replace(&mut piece, rest.trim_start().to_owned()));
            (used, blank) = (columns(&piece), None);
        }
        piece.push(c);
        used += width(c);
        if c == ' ' {
            blank = Some(piece.len());
        }
    }
    pieces.push(piece);
    pieces
}

/// The last line: the input, the last message, or the keys. The input for an operation takes one line more.
fn footer(grid: &mut Grid, watch: &Watch) {
    let last = grid.height().saturating_sub(1);
    let mut put = |row: usize, line: &str, tone: Tone| {
        grid.fill(0, row, Look::of(Tone::Plain));
        grid.put(0, row, line, Look::of(tone));
    };
    match (&watch.line, &watch.said) {
        (line, Some(said)) => {
            put(last, said, Tone::Strong);
            if let Some(Line::Filter(typed)) = line {
                put(last.saturating_sub(1), &format!("/{typed}_"), Tone::Strong);
            }
        }
        (Some(Line::Filter(typed)), None) => put(last, &format!("/{typed}_"), Tone::Strong),
        (Some(Line::BulkAction { failure, what, reason }), None) => {
            let asked = text::ask(deed(*what), failure.seq, &name(failure));
            put(last.saturating_sub(1), &asked, Tone::Strong);
            put(last, &text::reason(reason), Tone::Plain);
        }
        (None, None) => put(last, keys(watch), Tone::Plain),
    }
}

/// The name of an operation in the catalogue.
fn deed(what: Many) -> &'static str {
    match what {
        Many::Retry { .. } => "retry",
        Many::Hold => "hold",
        Many::Release => "release",
        Many::Discard { .. } => "discard",
    }
}

fn keys(watch: &Watch) -> &'static str {
    match watch.view {
        View::List => text::keys(),
        View::Help => text::help_keys(),
        View::Page { .. } => text::page_keys(),
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;

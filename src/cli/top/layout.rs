//! Where what stands on the live screen, from a terminal of 80 × 24 on; on a smaller one the lower
//! parts are missing, on a larger one there is more of each. The words are those of `status` and `list`.

use super::grid::{Grid, Look};
use super::seen::{Pace, Seen, backlog};
use super::spark::sparkline;
use super::watch::{Line, View, Watch};
use crate::cli::list::{HEADING, row};
use crate::cli::operate::Many;
use crate::cli::render::{Screen, Tone, ago, clock, columns, count, harmless, span, width};
use crate::cli::status::{next, verdict};
use crate::cli::words;
use crate::figures::digest::{Alike, Blocking};
use crate::figures::snapshot::{Failure, Upstream};
use crate::moment::WallTime;
use std::time::Duration;

/// Columns of what stands before a line and says what it is.
const LABEL: usize = 11;
/// What is seen is called old from then on.
const OLD: Duration = Duration::from_secs(4);
/// The list of failures has at least so many rows where the screen is not tiny.
const LEAST_ROWS: usize = 5;

/// A line of the screen.
type Written = (Tone, String);

/// The screen as it is now: `boot` is the time since the machine started.
pub(super) fn draw(watch: &Watch, now: WallTime, boot: Duration, (width, height): (usize, usize)) -> Grid {
    let mut grid = Grid::new(width, height);
    title(&mut grid, watch, now, boot);
    match &watch.view {
        View::List => list(&mut grid, watch, now),
        View::Help => paragraphs(&mut grid, &words::TOP_HELP.lines().map(str::to_owned).collect::<Vec<_>>(), 0),
        View::Page { lines, first, .. } => paragraphs(&mut grid, lines, *first),
    }
    footer(&mut grid, watch);
    grid
}

fn title(grid: &mut Grid, watch: &Watch, now: WallTime, boot: Duration) {
    let right = clock(now, now);
    let age = boot.saturating_sub(watch.seen_at);
    let (tone, state) = match &watch.silent {
        Some(why) => (Tone::Bad, format!("NO ANSWER since {}: {why}", span(age))),
        None if age >= OLD => (Tone::Warning, format!("as it was {} ago", span(age))),
        None => (Tone::Plain, String::new()),
    };
    let left = format!("resyncd top   {}   ", watch.seen.terminal);
    let at = grid.put(0, 0, &left, Look::of(Tone::Strong));
    let room = grid.width().saturating_sub(at + columns(&right) + 1);
    grid.put_within(at, 0, room, &state, Look::of(tone));
    grid.put(grid.width().saturating_sub(columns(&right)), 0, &right, Look::of(Tone::Plain));
}

/// How it stands, and the failures below.
fn list(grid: &mut Grid, watch: &Watch, now: WallTime) {
    let seen = &watch.seen;
    let mut top = vec![verdict(&seen.snapshot, now), (Tone::Plain, next(&seen.snapshot)), blank()];
    top.extend(upstreams(seen, now, grid.width(), grid.height() / 6));
    top.push(blank());
    top.extend(figures(seen, watch.sieve.is_open(), now));
    top.extend(lately(seen, grid.width(), now));
    let sections = [alerts(seen, now), blocking(seen), errors(seen, now)];
    // The title and the last line, what stands above the list, and its heading.
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

/// How many lines each section gets: one at least, and the rest by turns to those that have more.
fn shares<const N: usize>(wanted: [usize; N], room: usize) -> [usize; N] {
    let mut given = [0; N];
    for _ in 0..room {
        let Some(least) = (0..N).filter(|at| given[*at] < wanted[*at]).min_by_key(|at| given[*at]) else { break };
        given[least] += 1;
    }
    given
}

/// Those that are shut stand first.
fn upstreams(seen: &Seen, now: WallTime, width: usize, most: usize) -> Vec<Written> {
    if !seen.snapshot.running {
        return vec![(Tone::Bad, words::NOT_RUNNING.to_owned())];
    }
    let mut all: Vec<&Upstream> = seen.snapshot.health.upstreams.iter().collect();
    if all.is_empty() {
        return vec![(Tone::Warning, words::NO_UPSTREAM.to_owned())];
    }
    all.sort_by_key(|upstream| upstream.state == "online");
    let cells = |upstream: &&Upstream| {
        let since = upstream.since.map_or_else(|| "-".to_owned(), |at| ago(at, now));
        let next = upstream.next_try_at.filter(|at| *at > now);
        let why = upstream.latency_ms.filter(|_| upstream.state == "online").map(|ms| format!("{ms} ms"));
        vec![
            harmless(&upstream.name),
            words::upstream(&upstream.state).to_owned(),
            since,
            next.map_or_else(|| "-".to_owned(), |at| countdown(at.since(now))),
            why.unwrap_or_else(|| harmless(upstream.reason.as_deref().unwrap_or_default())),
        ]
    };
    let most = most.max(1);
    let rows: Vec<Vec<String>> = all.iter().take(most).map(cells).collect();
    let tone = |at: usize| match all.get(at).map(|upstream| upstream.state == "online") {
        Some(false) => Tone::Warning,
        _ => Tone::Plain,
    };
    let mut lines = table(width, &["UPSTREAM", "STATE", "SINCE", "NEXT TRY", "WHY"], &rows, tone);
    if all.len() > most {
        lines.push((Tone::Plain, format!("and {} more: resyncd status", all.len() - most)));
    }
    lines
}

/// A heading and rows, as lines.
fn table(width: usize, heading: &[&str], rows: &[Vec<String>], tone: impl Fn(usize) -> Tone) -> Vec<Written> {
    let mut text = Vec::new();
    let written = Screen::unpainted(width).table(&mut text, heading, rows);
    debug_assert!(written.is_ok(), "a Vec takes everything");
    let text = String::from_utf8_lossy(&text).into_owned();
    let tones = std::iter::once(Tone::Strong).chain((0..).map(tone));
    tones.zip(text.lines().map(str::to_owned)).collect()
}

/// Until the next try, in seconds where they can be counted with.
fn countdown(left: Duration) -> String {
    let left = left + Duration::from_millis(999);
    match left.as_secs() {
        seconds @ 0..600 => format!("in {}:{:02}", seconds / 60, seconds % 60),
        _ => format!("in {}", span(left)),
    }
}

/// The counts under their words, the oldest that waits, when something was last sent.
fn figures(seen: &Seen, all_are_shown: bool, now: WallTime) -> Vec<Written> {
    let health = &seen.snapshot.health;
    let counts = health.live.named().map(|(name, number)| format!("{name} {}", count(number))).join("   ");
    let delivered = health.last_delivery_at.map_or_else(|| "-".to_owned(), |at| format!("{} ago", span(now.since(at))));
    let mut lines = vec![labelled("now", &format!("{counts}   last delivery {delivered}"))];
    let waits = |failure: &&Failure| failure.status == "pending";
    let oldest = seen.failures.iter().find(waits).filter(|_| all_are_shown);
    let oldest = oldest.map(|failure| {
        let age = failure.created_at.map_or_else(String::new, |at| span(now.since(at)));
        format!("waits {age}: no. {} {}", failure.seq, name(failure))
    });
    let old = || health.oldest_created_at.map(|at| span(now.since(at)));
    lines.push(labelled("oldest", &oldest.or_else(old).unwrap_or_else(|| "-".into())));
    lines
}

/// The backlog of the last hours, and what happens in a minute at present.
fn lately(seen: &Seen, width: usize, now: WallTime) -> Vec<Written> {
    let series = &seen.snapshot.day;
    let span_of = |points: usize| Duration::from_secs(series.step_seconds * points as u64);
    let most = series.points.iter().map(|point| point.pending).max().unwrap_or(0);
    let words = format!("   most {} in {}", count(most), span(span_of(series.points.len())));
    let bars = backlog(series, width.saturating_sub(LABEL + columns(&words)));
    let pace = Pace::of(series, now).map_or_else(
        || "-".to_owned(),
        |pace| {
            let Pace { recorded, delivered, failed, span: over } = pace;
            format!("recorded {recorded:.1}   delivered {delivered:.1}   failed {failed:.1}   (of {})", span(over))
        },
    );
    vec![labelled("pending", &(sparkline(&bars) + &words)), labelled("a minute", &pace)]
}

fn labelled(label: &str, line: &str) -> Written {
    (Tone::Plain, format!("{label:<LABEL$}{line}"))
}

/// A section's lines; the first one bears its name and how many there are.
fn section<T>(label: &str, tone: Tone, all: &[T], line: impl Fn(&T) -> String) -> Vec<Written> {
    if all.is_empty() {
        return vec![labelled(label, "none")];
    }
    let head = format!("{label} {}", all.len());
    let label = |at: usize| if at == 0 { head.as_str() } else { "" };
    all.iter().enumerate().map(|(at, one)| (tone, labelled(label(at), &line(one)).1)).collect()
}

fn alerts(seen: &Seen, now: WallTime) -> Vec<Written> {
    section("alerts", Tone::Warning, &seen.snapshot.alerts.alerts, |alert| {
        let since = alert.since.map_or_else(String::new, |at| format!(" since {}", clock(at, now)));
        let of = alert.subject.as_ref().map_or_else(String::new, |subject| format!(" {}", harmless(subject)));
        format!("{}{of}{since}: {}", harmless(&alert.kind), harmless(&alert.message))
    })
}

fn blocking(seen: &Seen) -> Vec<Written> {
    section("blocks", Tone::Plain, &seen.snapshot.digest.blocking, |blocking| {
        let Blocking { seq, entity_type, entity_id, status, waiting, .. } = blocking;
        let verb = if *waiting == 1 { "waits" } else { "wait" };
        let what = harmless(&format!("{entity_type} {entity_id}, {status}"));
        format!("no. {seq} {what}: {} {verb} behind it", count(*waiting))
    })
}

fn errors(seen: &Seen, now: WallTime) -> Vec<Written> {
    section(
        "errors",
        Tone::Plain,
        &seen.snapshot.digest.errors,
        |Alike { tries, class, error, last_at, seq, .. }| {
            let last =
                WallTime::parse(last_at).map_or_else(String::new, |at| format!(", last {} ago", span(now.since(at))));
            let class = if class.is_empty() { "others" } else { class.as_str() };
            harmless(&format!("{} × {class}{last} (no. {seq}) {error}", count(*tries)))
        },
    )
}

fn name(failure: &Failure) -> String {
    harmless(&[&*failure.entity_type, &failure.entity_id, &failure.action].join(" "))
}

/// The failures, from this line on up to the last but these.
fn failures(grid: &mut Grid, watch: &Watch, now: WallTime, from: usize, to: usize) {
    let all = &watch.seen.failures;
    grid.put(0, from, &caption(watch), Look::of(Tone::Plain));
    if all.is_empty() {
        return;
    }
    // Two columns stand before the list, for the sign of the chosen one.
    let rows: Vec<Vec<String>> = all.iter().map(|failure| row(failure, now)).collect();
    let tone = |at: usize| match all.get(at).map(|failure| failure.status.as_str()) {
        Some("critical") => Tone::Bad,
        Some("held") => Tone::Warning,
        _ => Tone::Plain,
    };
    let lines = table(grid.width().saturating_sub(2), &HEADING, &rows, tone);
    let Some(room) = to.checked_sub(from + 2).filter(|room| *room > 0) else { return };
    grid.put(2, from + 1, &lines[0].1, Look::of(lines[0].0));
    // The chosen one is always shown, and stays in the middle of a long list.
    let first = watch.row.saturating_sub(room / 2).min(all.len().saturating_sub(room));
    for (place, (tone, line)) in lines[1..].iter().enumerate().skip(first).take(room) {
        let at = from + 2 + place - first;
        let chosen = place == watch.row;
        let look = if chosen { Look::chosen() } else { Look::of(*tone) };
        if chosen {
            grid.fill(0, at, look);
            grid.put(0, at, ">", look);
        }
        grid.put(2, at, line, look);
    }
}

/// Which failures these are.
fn caption(watch: &Watch) -> String {
    let (shown, matching) = (watch.seen.failures.len() as u64, watch.seen.matching);
    let number = match matching {
        Some(0) => "no failures".to_owned(),
        Some(1) => "1 failure".to_owned(),
        Some(all) if all > shown => format!("the first {} of {} failures", count(shown), count(all)),
        Some(all) => format!("{} failures", count(all)),
        None if shown == 1 => "1 failure found".to_owned(),
        None => format!("{} failures found", count(shown)),
    };
    let filter = match watch.sieve.typed.as_str() {
        "" => String::new(),
        typed => format!("   filter: {typed}   (Esc shows all)"),
    };
    format!("{number}{filter}")
}

/// Lines that may be longer than the screen is wide, from the first one that is asked for on.
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

/// A line in pieces of at most so many columns, broken at blanks where there are any.
fn wrapped(line: &str, room: usize) -> Vec<String> {
    let line = harmless(line);
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

/// The last line: what is typed, what was said, or the keys. What is typed for a deed has one line more.
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
        (Some(Line::Deed { failure, what, reason }), None) => {
            let asked = format!("{} no. {} {}? Enter does it, Esc does not.", deed(*what), failure.seq, name(failure));
            put(last.saturating_sub(1), &asked, Tone::Strong);
            put(last, &format!("Why, for the audit: {reason}_"), Tone::Plain);
        }
        (None, None) => put(last, keys(watch), Tone::Plain),
    }
}

fn deed(what: Many) -> &'static str {
    match what {
        Many::Retry { .. } => "Send again now",
        Many::Hold => "Hold",
        Many::Release => "Release",
        Many::Discard { .. } => "Discard",
    }
}

fn keys(watch: &Watch) -> &'static str {
    match watch.view {
        View::List => words::TOP_KEYS,
        View::Help => "any key: back",
        View::Page { .. } => words::TOP_PAGE_KEYS,
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;

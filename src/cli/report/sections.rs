//! Converts the collected data to the sections of a report.

use super::gather::{ENTRIES, FailureStory, ReportData};
use super::html;
use super::page::{Block, Figure, Page, Section};
use super::table::{Cell, Table};
use super::trends::{self, stamp};
use crate::cli::render::{Tone, ago, count, span};
use crate::cli::{status, words};
use crate::figures::digest::{Alike, BulkAction};
use crate::figures::snapshot::{self, Failure};
use crate::moment::WallTime;
use crate::text::numbers::size;
use crate::text::phrases::{of_agent, of_alert, of_attempt};
use crate::text::{Count, deeds, history, moments, report as text, show};
use serde_json::Value;
use std::collections::BTreeMap;
use time::UtcOffset;

/// Maximum bytes of a foreign text on the page, after escaping.
const TEXT: usize = 240;
/// The same for a payload or a response.
const CONTENTS: usize = 4096;
/// The same for the configuration.
const CONFIGURATION: usize = 48 << 10;
/// Maximum number of errors, groups, actions and alerts listed.
const ROWS: usize = 30;

/// The whole page.
pub(super) fn page(gathered: &ReportData) -> Page {
    let (tone, first) = status::verdict(&gathered.snapshot, gathered.now);
    let mut verdict = vec![first];
    verdict.extend(status::upstreams(&gathered.snapshot, gathered.now));
    verdict.push(status::next(&gathered.snapshot, gathered.now));
    let title = match &gathered.store {
        Some(store) => text::title_with_store(&gathered.terminal, store),
        None => text::title(&gathered.terminal),
    };
    let snapshot = &gathered.snapshot;
    let section = Section::new;
    Page {
        title: clip(&title, TEXT),
        about: vec![text::about(&stamp(gathered.now), &offset(gathered.now))],
        tone,
        verdict: verdict.iter().map(|line| clip(line, 2 * TEXT)).collect(),
        sections: vec![
            section("numbers", numbers(gathered)),
            section("trends", trends::plots(&snapshot.day, &snapshot.month)),
            section("outages", trends::outage_blocks(&snapshot.month, &snapshot.health.upstreams, gathered.now)),
            section("waits", with_extent(gathered, trends::waits(&snapshot.digest))),
            section("person", stories(gathered)),
            section("blocked", blocked(gathered)),
            section("errors", with_extent(gathered, errors(gathered))),
            section("kinds", with_extent(gathered, kinds(snapshot))),
            section("alerts", alerts(gathered)),
            section("deeds", deeds(&snapshot.digest.deeds)),
            section("configuration", configuration(gathered)),
            section("versions", versions(gathered)),
        ],
    }
}

fn offset(now: WallTime) -> String {
    let minutes = i64::from(trends::local(now).offset().whole_minutes());
    match UtcOffset::current_local_offset() {
        Ok(_) if minutes == 0 => String::new(),
        _ => format!("{}{:02}:{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60),
    }
}

/// Truncates a text to `most` bytes of the escaped page, with a mark.
fn clip(text: &str, most: usize) -> String {
    let (mut used, mut end) = (0, 0);
    for (at, c) in text.char_indices() {
        used += html::escape(c.encode_utf8(&mut [0; 4])).len();
        if used > most {
            return format!("{}…", &text[..end]);
        }
        end = at + c.len_utf8();
    }
    text.to_owned()
}

/// A foreign text, or words of the agent.
fn cell(text: &str) -> Cell {
    Cell::Text(clip(&of_attempt(text), TEXT))
}

fn words_of(text: &str) -> Block {
    Block::Words(text.to_owned())
}

fn when(at: Option<WallTime>, now: WallTime) -> String {
    at.map_or_else(|| "-".to_owned(), |at| ago(at, now))
}

fn stamped(time: &str) -> Cell {
    Cell::Text(WallTime::parse(time).map_or_else(String::new, stamp))
}

fn numbers(gathered: &ReportData) -> Vec<Block> {
    let ReportData { snapshot, now, .. } = gathered;
    let health = &snapshot.health;
    let age = |at: Option<WallTime>| at.map_or_else(|| "-".to_owned(), |at| text::ago(&span(now.since(at))));
    let grave = |number: u64, tone| if number > 0 { tone } else { Tone::Plain };
    let plain = |value: String| (value, Tone::Plain);
    let figures = |names: &[&'static str], values: Vec<(String, Tone)>| {
        let named = names.iter().zip(values).map(|(name, (value, tone))| Figure { name, value, tone });
        Block::Figures(named.collect())
    };
    let live = &health.live;
    let now_figures = vec![
        plain(count(live.pending)),
        (count(live.critical), grave(live.critical, Tone::Bad)),
        (count(live.held), grave(live.held, Tone::Warning)),
        plain(age(health.oldest_created_at)),
        plain(age(health.last_delivery_at)),
        plain(size(health.database_bytes)),
        plain(health.disk_free_bytes.map_or_else(|| text::unknown().to_owned(), size)),
        plain(status::skew(health.clock_skew_ms)),
    ];
    let day = &snapshot.statistics;
    let day_figures = [day.recorded, day.delivered, day.discarded, day.cleaned].map(|number| plain(count(number)));
    let mut blocks = vec![figures(&text::figures(), now_figures)];
    if !health.reasons.is_empty() {
        let reasons = health.reasons.iter().take(ROWS).map(|reason| clip(&of_agent(reason), TEXT)).collect();
        blocks.extend([words_of(text::health(&health.state)), Block::List(reasons)]);
    }
    let day_figures = figures(&text::figures_of_the_day(), day_figures.to_vec());
    blocks.extend([Block::Heading(text::in_the_last_day().to_owned()), day_figures]);
    blocks
}

/// Adds how much of the month was read, if that is not all.
fn with_extent(gathered: &ReportData, mut blocks: Vec<Block>) -> Vec<Block> {
    let digest = &gathered.snapshot.digest;
    let words = if digest.whole {
        text::over_the_month().to_owned()
    } else {
        let since = WallTime::parse(&digest.since).map_or_else(String::new, stamp);
        text::over_the_newest(digest.tries, &since)
    };
    blocks.insert(0, Block::Words(words));
    blocks
}

// ---- critical and held failures

fn stories(gathered: &ReportData) -> Vec<Block> {
    let ReportData { snapshot, stories, now, .. } = gathered;
    let (critical, held) = (&snapshot.critical, &snapshot.held);
    let mut blocks = Vec::new();
    if critical.failures.is_empty() && held.failures.is_empty() {
        return vec![words_of(text::no_failure())];
    }
    for story in stories {
        tell(&mut blocks, story, *now);
    }
    let rest = critical.failures.iter().skip(stories.len()).collect::<Vec<_>>();
    rows_of(&mut blocks, text::more_critical(), &rest);
    let all = critical.total.unwrap_or(0);
    let told = critical.failures.len() as u64;
    if all > told {
        blocks.insert(0, Block::Words(text::newest_critical(all, told)));
    }
    rows_of(&mut blocks, text::on_hold(), &held.failures.iter().collect::<Vec<_>>());
    blocks
}

fn named(entity_type: &str, entity_id: &str, action: &str) -> String {
    clip(&format!("{entity_type} {entity_id} {action}"), TEXT)
}

fn tell(blocks: &mut Vec<Block>, story: &FailureStory, now: WallTime) {
    let Failure { seq, entity_type, entity_id, action, error, error_class, retry_count, attempts, .. } = &story.failure;
    blocks.push(Block::Heading(format!("{seq}: {}", named(entity_type, entity_id, action))));
    let error = words::error(error, *attempts);
    let told = error_class.as_ref().map_or_else(|| error.to_string(), |class| format!("{class}: {error}"));
    blocks.push(Block::Words(clip(&told, 2 * TEXT)));
    let payload = match (&story.failure.payload_kind, &story.contents) {
        (None, _) => text::no_payload().to_owned(),
        (Some(kind), None) => text::payload_left_out(kind),
        (Some(kind), Some(_)) => text::payload(kind),
    };
    let recorded = when(story.failure.created_at, now);
    let upstream = story.failure.upstream.as_deref().unwrap_or(text::no_upstream());
    let retries = text::retries(u64::from(*retry_count));
    let retries =
        if *attempts > u64::from(*retry_count) { format!("{retries}, {}", show::attempts(*attempts)) } else { retries };
    let known = text::recorded(&recorded, &retries, upstream, &payload);
    blocks.push(Block::Words(clip(&known, 2 * TEXT)));
    blocks.push(Block::Words(words::next_step(error_class.as_deref()).to_owned()));
    blocks.push(Block::Verbatim(format!("resyncd show {seq}\nresyncd retry {seq}")));
    if !story.entries.is_empty() {
        if story.more {
            blocks.push(Block::Words(text::last_entries(ENTRIES, *seq)));
        }
        let rows = story.entries.iter().map(entry).collect();
        blocks.push(Block::Table(Table::new(text::history_headings(), rows)));
    }
    let Some((payload, response)) = &story.contents else { return };
    for (title, contents) in [(text::payload_title(), payload), (text::response_title(), response)] {
        if let Some(contents) = contents {
            let inside = vec![Block::Verbatim(clip(contents, CONTENTS))];
            blocks.push(Block::Folded { title: title.to_owned(), blocks: inside });
        }
    }
}

fn entry(entry: &Value) -> Vec<Cell> {
    let part = |name: &str| entry[name].as_str().unwrap_or_default();
    let at = stamped(part("at"));
    if entry["kind"] == "operation" {
        let who = who(entry["actor_name"].as_str(), entry["actor_uid"].as_u64(), entry["claimed_by"].as_str());
        let did = text::operation(words::operation(part("operation")), &who);
        return vec![at, cell(&did), "".into(), "".into(), "".into(), cell(part("reason"))];
    }
    let status = entry["http_status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
    let [number, ms] = ["attempt", "duration_ms"].map(|name| entry[name].to_string());
    let tried = history::attempt(&number, words::trigger(part("trigger")), &ms);
    vec![at, tried.into(), status.into(), cell(part("class")), words::counted(entry).into(), cell(part("error"))]
}

fn who(name: Option<&str>, uid: Option<u64>, claimed: Option<&str>) -> String {
    let name = match (name, uid) {
        (Some(name), _) => name.to_owned(),
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => deeds::unknown_user().to_owned(),
    };
    claimed.map_or_else(|| name.clone(), |claimed| text::claims(&name, claimed))
}

fn rows_of(blocks: &mut Vec<Block>, title: &str, failures: &[&Failure]) {
    if failures.is_empty() {
        return;
    }
    let row = |failure: &&Failure| {
        vec![
            Cell::Text(failure.seq.to_string()),
            named(&failure.entity_type, &failure.entity_id, &failure.action).into(),
            cell(failure.error_class.as_deref().unwrap_or("-")),
            cell(&words::error(&failure.error, failure.attempts)),
        ]
    };
    blocks.push(Block::Heading(title.to_owned()));
    blocks.push(Block::Table(Table::new(text::failure_headings(), failures.iter().map(row).collect())));
}

fn blocked(gathered: &ReportData) -> Vec<Block> {
    let digest = &gathered.snapshot.digest;
    let (heads, waiting) = digest.blocked;
    if heads == 0 {
        return vec![words_of(text::nothing_blocked())];
    }
    let words = text::blocked(waiting, Count(heads));
    let rows = digest.blocking.iter().map(|one| {
        vec![
            Cell::Text(one.seq.to_string()),
            named(&one.entity_type, &one.entity_id, &one.action).into(),
            cell(words::state_name(&one.status)),
            stamped(&one.created_at),
            one.waiting.into(),
        ]
    });
    vec![Block::Words(words), Block::Table(Table::new(text::blocked_headings(), rows.collect()))]
}

// ---- attempts

fn errors(gathered: &ReportData) -> Vec<Block> {
    let errors = &gathered.snapshot.digest.errors;
    if errors.is_empty() {
        return vec![words_of(text::no_error())];
    }
    let row = |alike: &Alike| {
        if alike.class.is_empty() {
            return vec![
                text::others().into(),
                "".into(),
                alike.tries.into(),
                alike.counted.into(),
                "".into(),
                "".into(),
            ];
        }
        vec![
            cell(&alike.class),
            cell(&alike.error),
            alike.tries.into(),
            alike.counted.into(),
            stamped(&alike.last_at),
            cell(&alike.upstream),
        ]
    };
    let table = Table::new(text::error_headings(), errors.iter().take(ROWS).map(row).collect());
    let mut classes: Vec<&str> = errors.iter().map(|alike| alike.class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    let steps = classes.iter().filter(|class| !words::advice(class).is_empty());
    let steps = steps.map(|class| vec![Cell::from(*class), words::advice(class).into()]);
    let steps = Table::new(text::class_headings(), steps.collect());
    vec![Block::Table(table), Block::Heading(text::classes().to_owned()), Block::Table(steps)]
}

fn kinds(snapshot: &snapshot::Snapshot) -> Vec<Block> {
    /// Delivered, failed and rejected attempts; live failures of a day.
    type Counts = ([u64; 3], u64);
    let mut rows: BTreeMap<(&str, &str), Counts> = BTreeMap::new();
    for kind in snapshot.digest.kinds.iter().take(ROWS) {
        let counts = [kind.delivered, kind.failed, kind.refused];
        rows.insert((&kind.entity_type, &kind.action), (counts, 0));
    }
    for group in snapshot.statistics.groups.iter().take(ROWS) {
        rows.entry((&group.entity_type, &group.action)).or_default().1 = group.total_failures;
    }
    if rows.is_empty() {
        return vec![words_of(text::no_attempt())];
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, ([_, failed, refused], live))| std::cmp::Reverse((failed + refused, *live)));
    let row = |((kind, action), ([delivered, failed, refused], live)): ((&str, &str), Counts)| {
        let kind = if kind.is_empty() { text::others().into() } else { cell(kind) };
        vec![kind, cell(action), failed.into(), refused.into(), delivered.into(), live.into()]
    };
    vec![Block::Table(Table::new(text::kind_headings(), rows.into_iter().map(row).collect()))]
}

// ---- other sections

fn alerts(gathered: &ReportData) -> Vec<Block> {
    let alerts = &gathered.snapshot.alerts.alerts;
    if alerts.is_empty() {
        return vec![words_of(text::no_alert())];
    }
    let row = |alert: &snapshot::Alert| {
        let state = if alert.active {
            moments::since(&when(alert.since, gathered.now))
        } else {
            text::ended(&when(alert.cleared_at, gathered.now))
        };
        let subject = alert.subject.as_deref().unwrap_or(text::this_terminal());
        vec![cell(&alert.kind), cell(subject), state.into(), Cell::Text(clip(&of_alert(&alert.message), TEXT))]
    };
    vec![Block::Table(Table::new(text::alert_headings(), alerts.iter().take(ROWS).map(row).collect()))]
}

fn deeds(deeds: &[BulkAction]) -> Vec<Block> {
    if deeds.is_empty() {
        return vec![words_of(text::no_operation())];
    }
    let row = |deed: &BulkAction| {
        let one = match (&deed.entity_type, &deed.entity_id) {
            (Some(kind), Some(which)) => named(kind, which, ""),
            _ => String::new(),
        };
        let what = match (deed.times, deed.seq) {
            (1, Some(seq)) => format!("{seq}: {}", one.trim_end()),
            (1, None) => one,
            (times, _) => text::failures(times),
        };
        let who = who(deed.actor.as_deref(), deed.actor_uid.map(u64::from), deed.claimed_by.as_deref());
        let reason = deed.reason.as_deref().unwrap_or_default();
        vec![stamped(&deed.at), cell(words::operation(&deed.operation)), cell(&who), cell(&what), cell(reason)]
    };
    let rows = deeds.iter().take(2 * ROWS).map(row).collect();
    let mut blocks = vec![Block::Table(Table::new(text::operation_headings(), rows))];
    if deeds.len() > 2 * ROWS {
        blocks.insert(0, Block::Words(text::newest_operations(2 * ROWS)));
    }
    blocks
}

fn configuration(gathered: &ReportData) -> Vec<Block> {
    let files = clip(&gathered.configuration, CONFIGURATION);
    let title = text::whole_configuration().to_owned();
    vec![words_of(text::configuration()), Block::Folded { title, blocks: vec![Block::Verbatim(files)] }]
}

fn versions(gathered: &ReportData) -> Vec<Block> {
    let mut rows: Vec<Vec<Cell>> =
        gathered.versions.iter().map(|(name, version)| vec![Cell::from(*name), cell(version)]).collect();
    if gathered.snapshot.running {
        rows.insert(1, vec![text::running_agent().into(), cell(&gathered.snapshot.health.version)]);
    }
    vec![Block::Table(Table::new(text::version_headings(), rows))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_no_more_of_the_page_than_it_may_whatever_is_in_it() {
        assert_eq!(clip("short", 10), "short");
        for hostile in ["\"".repeat(5000), "\u{202e}".repeat(5000), "ä".repeat(5000), "<".repeat(5000)] {
            let clipped = clip(&hostile, TEXT);
            let escaped = html::escape(&clipped).len();
            assert!((TEXT - 8..=TEXT + 3).contains(&escaped), "{escaped}");
        }
    }
}

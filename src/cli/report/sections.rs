//! What a report says, section by section, of what was gathered.

use super::gather::{ENTRIES, Gathered, Story};
use super::html;
use super::page::{Block, Cell, Figure, Page, Section, Table};
use super::trends::{self, stamp};
use crate::cli::render::{Tone, ago, count, span};
use crate::cli::{status, words};
use crate::figures::digest::{Alike, Deed};
use crate::figures::snapshot::{self, Failure};
use crate::limits::bytes;
use crate::moment::WallTime;
use serde_json::Value;
use std::collections::BTreeMap;
use time::UtcOffset;

/// What a text from elsewhere may take of the page, as it is written there.
const TEXT: usize = 240;
/// … a payload, or an answer, …
const CONTENTS: usize = 4096;
/// … and the configuration.
const CONFIGURATION: usize = 48 << 10;
/// Errors, kinds, deeds and alerts that are told.
const ROWS: usize = 30;

/// All of it.
pub(super) fn page(gathered: &Gathered) -> Page {
    let (tone, first) = status::verdict(&gathered.snapshot, gathered.now);
    let mut verdict = vec![first];
    verdict.extend(status::upstreams(&gathered.snapshot, gathered.now));
    verdict.push(status::next(&gathered.snapshot));
    let store = gathered.store.as_ref().map_or_else(String::new, |store| format!(", store {store}"));
    let snapshot = &gathered.snapshot;
    let section = Section::new;
    Page {
        title: clip(&format!("resyncd on {}{store}", gathered.terminal), TEXT),
        about: vec![format!("{}. Times are the terminal's, UTC{}.", stamp(gathered.now), offset(gathered.now))],
        tone,
        verdict: verdict.iter().map(|line| clip(line, 2 * TEXT)).collect(),
        sections: vec![
            section("numbers", "Numbers", numbers(gathered)),
            section("trends", "Backlog and deliveries", trends::plots(&snapshot.day, &snapshot.month)),
            section("outages", "Outages", trends::outage_blocks(&snapshot.month)),
            section("waits", "Time to delivery", with_extent(gathered, trends::waits(&snapshot.digest))),
            section("person", "Needs a person", stories(gathered)),
            section("blocked", "Blocked entities", blocked(gathered)),
            section("errors", "Errors and what to do", with_extent(gathered, errors(gathered))),
            section("kinds", "By type and action", with_extent(gathered, kinds(snapshot))),
            section("alerts", "Alerts", alerts(gathered)),
            section("deeds", "What people did", deeds(&snapshot.digest.deeds)),
            section("configuration", "Configuration", configuration(gathered)),
            section("versions", "Versions", versions(gathered)),
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

/// A text that takes at most so many bytes of the page, whatever is in it; a cut one says so.
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

fn text(text: &str) -> Cell {
    Cell::Text(clip(text, TEXT))
}

fn when(at: Option<WallTime>, now: WallTime) -> String {
    at.map_or_else(|| "-".to_owned(), |at| ago(at, now))
}

fn stamped(time: &str) -> Cell {
    Cell::Text(WallTime::parse(time).map_or_else(String::new, stamp))
}

fn numbers(gathered: &Gathered) -> Vec<Block> {
    let Gathered { snapshot, now, .. } = gathered;
    let health = &snapshot.health;
    let figure = |name, value: String| Figure { name, value, tone: Tone::Plain };
    let grave = |name, number: u64, tone| Figure {
        name,
        value: count(number),
        tone: if number > 0 { tone } else { Tone::Plain },
    };
    let age = |at: Option<WallTime>| at.map_or_else(|| "-".to_owned(), |at| format!("{} ago", span(now.since(at))));
    let free = health.disk_free_bytes.map_or_else(|| "unknown".to_owned(), bytes);
    let now_figures = vec![
        figure("pending", count(health.live.pending)),
        grave("critical", health.live.critical, Tone::Bad),
        grave("held", health.live.held, Tone::Warning),
        figure("oldest", age(health.oldest_created_at)),
        figure("last delivery", age(health.last_delivery_at)),
        figure("database", bytes(health.database_bytes)),
        figure("disk free", free),
        figure("clock", status::skew(health.clock_skew_ms)),
    ];
    let day = &snapshot.statistics;
    let day_figures = [
        ("recorded", day.recorded),
        ("delivered", day.delivered),
        ("discarded", day.discarded),
        ("cleaned up", day.cleaned),
    ];
    let day_figures = day_figures.into_iter().map(|(name, number)| figure(name, count(number))).collect();
    let mut blocks = vec![Block::Figures(now_figures)];
    if !health.reasons.is_empty() {
        let reasons = health.reasons.iter().take(ROWS).map(|reason| clip(reason, TEXT)).collect();
        blocks.extend([Block::Words(format!("Health is {}:", health.state)), Block::List(reasons)]);
    }
    blocks.extend([Block::Heading("In the last 24 hours".to_owned()), Block::Figures(day_figures)]);
    blocks
}

/// How much of the month was looked at, where that is not all.
fn with_extent(gathered: &Gathered, mut blocks: Vec<Block>) -> Vec<Block> {
    let digest = &gathered.snapshot.digest;
    let words = if digest.whole {
        "Over the last 30 days.".to_owned()
    } else {
        let since = WallTime::parse(&digest.since).map_or_else(String::new, stamp);
        format!("Over the newest {} tries, since {since}.", count(digest.tries))
    };
    blocks.insert(0, Block::Words(words));
    blocks
}

// ---- what needs a person

fn stories(gathered: &Gathered) -> Vec<Block> {
    let Gathered { snapshot, stories, now, .. } = gathered;
    let (critical, held) = (&snapshot.critical, &snapshot.held);
    let mut blocks = Vec::new();
    if critical.failures.is_empty() && held.failures.is_empty() {
        return vec![Block::Words("Nothing.".to_owned())];
    }
    for story in stories {
        tell(&mut blocks, story, *now);
    }
    let rest = critical.failures.iter().skip(stories.len()).collect::<Vec<_>>();
    rows_of(&mut blocks, "More that are critical", &rest);
    let all = critical.total.unwrap_or(0);
    let told = critical.failures.len() as u64;
    if all > told {
        let words = format!("{} are critical; these are the newest {told}. All: resyncd critical", count(all));
        blocks.insert(0, Block::Words(words));
    }
    rows_of(&mut blocks, "Held by a person", &held.failures.iter().collect::<Vec<_>>());
    blocks
}

fn named(entity_type: &str, entity_id: &str, action: &str) -> String {
    clip(&format!("{entity_type} {entity_id} {action}"), TEXT)
}

fn tell(blocks: &mut Vec<Block>, story: &Story, now: WallTime) {
    let Failure { seq, entity_type, entity_id, action, error, error_class, retry_count, .. } = &story.failure;
    blocks.push(Block::Heading(format!("{seq}: {}", named(entity_type, entity_id, action))));
    let class = error_class.as_deref().unwrap_or("not tried");
    blocks.push(Block::Words(clip(&format!("{class}: {error}"), 2 * TEXT)));
    let payload = match (&story.failure.payload_kind, &story.contents) {
        (None, _) => "no payload".to_owned(),
        (Some(kind), None) => format!("payload: {kind}, left out of this report"),
        (Some(kind), Some(_)) => format!("payload: {kind}"),
    };
    let recorded = when(story.failure.created_at, now);
    let retries = if *retry_count == 1 { "1 retry".to_owned() } else { format!("{retry_count} retries") };
    let upstream = story.failure.upstream.as_deref().unwrap_or("no upstream");
    blocks
        .push(Block::Words(clip(&format!("Recorded {recorded}; {retries} counted; {upstream}; {payload}."), 2 * TEXT)));
    blocks.push(Block::Words(words::next_step(error_class.as_deref()).to_owned()));
    blocks.push(Block::Verbatim(format!("resyncd show {seq}\nresyncd retry {seq}")));
    if !story.entries.is_empty() {
        if story.more {
            blocks
                .push(Block::Words(format!("The last {ENTRIES} entries of its time line; all: resyncd history {seq}")));
        }
        let head = vec!["when", "what", "status", "class", "counted", "answer or reason"];
        blocks.push(Block::Table(Table { head, rows: story.entries.iter().map(entry).collect() }));
    }
    let Some((payload, response)) = &story.contents else { return };
    for (title, contents) in [("Payload", payload), ("The last answer", response)] {
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
        let did = format!("{} by {who}", part("operation"));
        return vec![at, text(&did), "".into(), "".into(), "".into(), text(part("reason"))];
    }
    let status = entry["http_status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
    let tried = format!("try {} ({}), {} ms", entry["attempt"], part("trigger"), entry["duration_ms"]);
    vec![at, tried.into(), status.into(), text(part("class")), words::counted(entry).into(), text(part("error"))]
}

fn who(name: Option<&str>, uid: Option<u64>, claimed: Option<&str>) -> String {
    let name = match (name, uid) {
        (Some(name), _) => name.to_owned(),
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => "somebody".to_owned(),
    };
    claimed.map_or_else(|| name.clone(), |claimed| format!("{name} (says: {claimed})"))
}

fn rows_of(blocks: &mut Vec<Block>, title: &str, failures: &[&Failure]) {
    if failures.is_empty() {
        return;
    }
    let row = |failure: &&Failure| {
        vec![
            Cell::Text(failure.seq.to_string()),
            named(&failure.entity_type, &failure.entity_id, &failure.action).into(),
            text(failure.error_class.as_deref().unwrap_or("-")),
            text(&failure.error),
        ]
    };
    blocks.push(Block::Heading(title.to_owned()));
    let head = vec!["no.", "what", "class", "error"];
    blocks.push(Block::Table(Table { head, rows: failures.iter().map(row).collect() }));
}

fn blocked(gathered: &Gathered) -> Vec<Block> {
    let digest = &gathered.snapshot.digest;
    let (heads, waiting) = digest.blocked;
    if heads == 0 {
        return vec![Block::Words("Nothing waits behind what needs a person.".to_owned())];
    }
    let words = format!(
        "{} wait behind {} of those that need a person, keep their order, and go when the first has left.",
        count(waiting),
        count(heads)
    );
    let rows = digest.blocking.iter().map(|one| {
        vec![
            Cell::Text(one.seq.to_string()),
            named(&one.entity_type, &one.entity_id, &one.action).into(),
            text(&one.status),
            stamped(&one.created_at),
            one.waiting.into(),
        ]
    });
    let head = vec!["no.", "what", "status", "recorded", "wait behind it"];
    vec![Block::Words(words), Block::Table(Table { head, rows: rows.collect() })]
}

// ---- what the tries say

fn errors(gathered: &Gathered) -> Vec<Block> {
    let errors = &gathered.snapshot.digest.errors;
    if errors.is_empty() {
        return vec![Block::Words("No try has failed.".to_owned())];
    }
    let row = |alike: &Alike| {
        if alike.class.is_empty() {
            return vec!["others".into(), "".into(), alike.tries.into(), alike.counted.into(), "".into(), "".into()];
        }
        vec![
            text(&alike.class),
            text(&alike.error),
            alike.tries.into(),
            alike.counted.into(),
            stamped(&alike.last_at),
            text(&alike.upstream),
        ]
    };
    let head = vec!["class", "error, its numbers as in the newest", "tries", "counted", "last", "upstream"];
    let table = Table { head, rows: errors.iter().take(ROWS).map(row).collect() };
    let mut classes: Vec<&str> = errors.iter().map(|alike| alike.class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    let steps = classes.iter().filter(|class| !words::advice(class).is_empty());
    let steps = steps.map(|class| vec![Cell::from(*class), words::advice(class).into()]);
    let steps = Table { head: vec!["class", "what it is, and what to do"], rows: steps.collect() };
    vec![Block::Table(table), Block::Heading("The classes".to_owned()), Block::Table(steps)]
}

fn kinds(snapshot: &snapshot::Snapshot) -> Vec<Block> {
    /// Tries that delivered, failed, were refused; what is live of a day.
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
        return vec![Block::Words("Nothing was tried.".to_owned())];
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, ([_, failed, refused], live))| std::cmp::Reverse((failed + refused, *live)));
    let row = |((kind, action), ([delivered, failed, refused], live)): ((&str, &str), Counts)| {
        let kind = if kind.is_empty() { "others".into() } else { text(kind) };
        vec![kind, text(action), failed.into(), refused.into(), delivered.into(), live.into()]
    };
    let head = vec!["type", "action", "tries that failed", "refused", "delivered", "live, of the last 24 h"];
    vec![Block::Table(Table { head, rows: rows.into_iter().map(row).collect() })]
}

// ---- the rest

fn alerts(gathered: &Gathered) -> Vec<Block> {
    let alerts = &gathered.snapshot.alerts.alerts;
    if alerts.is_empty() {
        return vec![Block::Words("None, now or in the last 24 hours.".to_owned())];
    }
    let row = |alert: &snapshot::Alert| {
        let state = if alert.active {
            format!("since {}", when(alert.since, gathered.now))
        } else {
            format!("ended {}", when(alert.cleared_at, gathered.now))
        };
        let subject = alert.subject.as_deref().unwrap_or("this terminal");
        vec![text(&alert.kind), text(subject), state.into(), text(&alert.message)]
    };
    let head = vec!["alert", "of", "state", "what"];
    vec![Block::Table(Table { head, rows: alerts.iter().take(ROWS).map(row).collect() })]
}

fn deeds(deeds: &[Deed]) -> Vec<Block> {
    if deeds.is_empty() {
        return vec![Block::Words("Nothing in the last 30 days.".to_owned())];
    }
    let row = |deed: &Deed| {
        let one = match (&deed.entity_type, &deed.entity_id) {
            (Some(kind), Some(which)) => named(kind, which, ""),
            _ => String::new(),
        };
        let what = match (deed.times, deed.seq) {
            (1, Some(seq)) => format!("{seq}: {}", one.trim_end()),
            (1, None) => one,
            (times, _) => format!("{} failures", count(times)),
        };
        let who = who(deed.actor.as_deref(), deed.actor_uid.map(u64::from), deed.claimed_by.as_deref());
        let reason = deed.reason.as_deref().unwrap_or_default();
        vec![stamped(&deed.at), text(&deed.operation), text(&who), text(&what), text(reason)]
    };
    let head = vec!["when", "what", "who", "to what", "reason"];
    let rows = deeds.iter().take(2 * ROWS).map(row).collect();
    let mut blocks = vec![Block::Table(Table { head, rows })];
    if deeds.len() > 2 * ROWS {
        blocks.insert(0, Block::Words(format!("The newest {}.", 2 * ROWS)));
    }
    blocks
}

fn configuration(gathered: &Gathered) -> Vec<Block> {
    let text = clip(&gathered.configuration, CONFIGURATION);
    let folded = Block::Folded { title: "All of it".to_owned(), blocks: vec![Block::Verbatim(text)] };
    vec![Block::Words("Every value in force and where it comes from. Secrets are masked.".to_owned()), folded]
}

fn versions(gathered: &Gathered) -> Vec<Block> {
    let mut rows: Vec<Vec<Cell>> =
        gathered.versions.iter().map(|(name, version)| vec![Cell::from(*name), text(version)]).collect();
    if gathered.snapshot.running {
        rows.insert(1, vec!["the running agent".into(), text(&gathered.snapshot.health.version)]);
    }
    vec![Block::Table(Table { head: vec!["of", "version"], rows })]
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

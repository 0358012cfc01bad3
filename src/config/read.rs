//! Walks the TOML file: takes what it knows, and reports everything else with its place.
//!
//! Reading goes on after a problem, so that a person sees all of them at once; a value that could
//! not be read keeps its default until [`Document::finish`] refuses the whole.

use super::problem::{Place, Problem};
use super::value::{duration, size, url};
use super::{Agent, Config, ProbeMethod, Retry, Surroundings, Upstream};
use crate::limits::Limits;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file that is being read, and what is wrong with it so far.
#[derive(Debug)]
pub struct Document<'t> {
    file: &'t str,
    text: &'t str,
    root: DeTable<'t>,
    problems: Vec<Problem>,
}

const SECONDS_TO_WEEK: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(7 * 86_400);

impl<'t> Document<'t> {
    /// Parses the text; what is no TOML is reported.
    pub(super) fn parse(file: &'t str, text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Self { file, text, root: root.into_inner(), problems: Vec::new() };
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            document.report(Place::Span(span), error.message().to_owned());
        }
        document
    }

    pub(super) fn report(&mut self, place: Place, message: String) {
        self.problems.push(Problem::new(self.file, self.text, place, message));
    }

    /// The configuration, or all that is wrong with it.
    pub(super) fn finish(self, config: Config) -> Result<Config, Vec<Problem>> {
        if self.problems.is_empty() { Ok(config) } else { Err(self.problems) }
    }

    /// Reads everything.
    pub(super) fn config(&mut self, around: &Surroundings) -> Config {
        let mut root = Table { name: String::new(), entries: std::mem::take(&mut self.root), known: Vec::new() };
        let [agent, retry, upstream, limits] =
            ["agent", "retry", "upstream", "limits"].map(|key| root.table(key, self));
        let config = Config {
            agent: self.agent(agent, around),
            retry: self.retry(retry),
            upstream: self.upstream(upstream),
            limits: self.limits(limits),
        };
        root.finish(self);
        config
    }

    fn agent(&mut self, section: Option<Table>, around: &Surroundings) -> Agent {
        let Some(mut section) = section else { return Agent::default_for(around, None) };
        let state_dir = section.path("state_dir", self);
        let mut agent = Agent::default_for(around, state_dir);
        if let Some(id) = section.name_text("terminal_id", self) {
            agent.terminal_id = id;
        }
        agent.store_id = section.name_text("store_id", self);
        if let Some((log, _)) = section.text("log", self) {
            agent.log = log;
        }
        if let Some(socket) = section.path("socket", self) {
            agent.socket = socket;
        }
        if let Some(socket) = section.path("admin_socket", self) {
            agent.admin_socket = socket;
        }
        section.finish(self);
        agent
    }

    fn retry(&mut self, section: Option<Table>) -> Retry {
        let mut retry = Retry::default();
        let Some(mut section) = section else { return retry };
        if let Some(steps) = section.durations("backoff", 1..=20, &SECONDS_TO_WEEK, self) {
            retry.steps = steps;
        }
        if let Some(most) = section.number("max_retries", 1..=1_000_000, self) {
            retry.max_retries = u32::try_from(most).unwrap_or(u32::MAX);
        }
        if let Some(jitter) = section.share("jitter", self) {
            retry.jitter = jitter;
        }
        if let Some(batch) = section.number("batch", 1..=1000, self) {
            retry.batch = usize::try_from(batch).unwrap_or(1000);
        }
        section.finish(self);
        retry
    }

    fn upstream(&mut self, section: Option<Table>) -> Option<Upstream> {
        let mut all = section?;
        let mut found: Option<Upstream> = None;
        for (name, span) in all.names() {
            let Some(table) = all.table(&name, self) else { continue };
            let upstream = self.one_upstream(&name, &span, table);
            if found.is_some() {
                self.report(
                    Place::Span(span),
                    format!("a second upstream, {name}, needs routes that choose between them; this version has none"),
                );
            }
            found = found.or(Some(upstream));
        }
        found
    }

    fn one_upstream(&mut self, name: &str, span: &Range<usize>, mut section: Table) -> Upstream {
        let insecure = section.truth("insecure", self).unwrap_or(false);
        let mut upstream = Upstream::with_url(name, "");
        upstream.insecure = insecure;
        match section.url("url", insecure, self) {
            Some(url) => upstream.url = url,
            None if !section.known_here("url") => {
                self.report(
                    Place::Span(span.clone()),
                    format!("upstream {name} needs a url, such as url = \"https://hq.example/sync\""),
                );
            }
            None => {}
        }
        upstream.probe_url = section.url("probe_url", insecure, self).unwrap_or_else(|| upstream.url.clone());
        let second = Duration::from_secs(1);
        let short = Duration::from_millis(100)..=Duration::from_secs(600);
        if let Some(timeout) = section.duration("timeout", &short, self) {
            upstream.timeout = timeout;
        }
        if let Some(timeout) = section.duration("connect_timeout", &short, self) {
            upstream.connect_timeout = timeout;
        }
        if let Some(pause) = section.duration("max_pause", &(second..=Duration::from_secs(3600)), self) {
            upstream.max_pause = pause;
        }
        if let Some(most) = section.number("concurrency", 1..=64, self) {
            upstream.concurrency = usize::try_from(most).unwrap_or(64);
        }
        if let Some((method, span)) = section.text("probe_method", self) {
            match method.as_str() {
                "HEAD" => upstream.probe_method = ProbeMethod::Head,
                "GET" => upstream.probe_method = ProbeMethod::Get,
                "OPTIONS" => upstream.probe_method = ProbeMethod::Options,
                _ => self
                    .report(Place::Span(span), format!("expected \"HEAD\", \"GET\" or \"OPTIONS\", found {method:?}")),
            }
        }
        section.finish(self);
        upstream
    }

    fn limits(&mut self, section: Option<Table>) -> Limits {
        let mut limits = Limits::default();
        let Some(mut section) = section else { return limits };
        let in_memory = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Some(most) = section.number("max_connections", 1..=100_000, self) {
            limits.max_connections = in_memory(most);
        }
        if let Some(bytes) = section.size("max_line", (1 << 10)..=(8 << 20), self) {
            limits.max_line = in_memory(bytes);
        }
        if let Some(bytes) = section.size("max_payload", 0..=(8 << 20), self) {
            limits.max_payload = in_memory(bytes);
        }
        if let Some(most) = section.number("max_failures", 1..=1_000_000_000, self) {
            limits.max_failures = most;
        }
        if let Some(bytes) = section.size("max_database", (1 << 20)..=(1 << 43), self) {
            limits.max_database = bytes;
        }
        if let Some(bytes) = section.size("min_free_disk", 0..=(1 << 43), self) {
            limits.min_free_disk = bytes;
        }
        section.finish(self);
        limits
    }
}

/// One table of the file, of which entries are taken one by one.
struct Table<'t> {
    /// As it is written: `upstream.hq`; empty for the root.
    name: String,
    entries: DeTable<'t>,
    /// The keys that were asked for.
    known: Vec<String>,
}

impl<'t> Table<'t> {
    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key.to_owned());
        self.entries.remove(key)
    }

    /// Was the key there, whatever its value?
    fn known_here(&self, key: &str) -> bool {
        self.known.iter().any(|known| known == &format!("{key}!"))
    }

    /// The keys that are left, in the order of the file, and where they stand.
    fn names(&self) -> Vec<(String, Range<usize>)> {
        let mut names: Vec<_> = self.entries.keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
        names.sort_by_key(|(_, span)| span.start);
        names
    }

    fn table(&mut self, key: &str, document: &mut Document) -> Option<Table<'t>> {
        let value = self.take(key)?;
        let span = value.span();
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        match value.into_inner() {
            DeValue::Table(entries) => Some(Table { name, entries, known: Vec::new() }),
            other => {
                document.report(Place::Span(span), format!("expected a table [{name}], found {}", kind(&other)));
                None
            }
        }
    }

    /// A text and where it stands.
    fn text(&mut self, key: &str, document: &mut Document) -> Option<(String, Range<usize>)> {
        let value = self.take(key)?;
        self.known.push(format!("{key}!"));
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some((text.into_owned(), span)),
            other => {
                document.report(Place::Span(span), format!("{key}: expected a text in quotes, found {}", kind(&other)));
                None
            }
        }
    }

    /// A text that names this terminal or store: short, one line.
    fn name_text(&mut self, key: &str, document: &mut Document) -> Option<String> {
        let (text, span) = self.text(key, document)?;
        if (1..=128).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Some(text);
        }
        document.report(Place::Span(span), format!("{key}: expected 1 to 128 bytes without control characters"));
        None
    }

    fn path(&mut self, key: &str, document: &mut Document) -> Option<PathBuf> {
        let (text, span) = self.text(key, document)?;
        if text.starts_with('/') {
            return Some(PathBuf::from(text));
        }
        document.report(Place::Span(span), format!("{key}: expected an absolute path, found {text:?}"));
        None
    }

    /// A text that a function reads; what it says of a wrong one is reported.
    fn read<T>(
        &mut self,
        key: &str,
        document: &mut Document,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<(T, Range<usize>)> {
        let (text, span) = self.text(key, document)?;
        match read(&text) {
            Ok(value) => Some((value, span)),
            Err(wrong) => {
                document.report(Place::Span(span), format!("{key}: {wrong}"));
                None
            }
        }
    }

    fn url(&mut self, key: &str, insecure: bool, document: &mut Document) -> Option<String> {
        let read = |text: &str| url(text, insecure).map(|()| text.to_owned());
        self.read(key, document, read).map(|(url, _)| url)
    }

    fn duration(&mut self, key: &str, bounds: &RangeInclusive<Duration>, document: &mut Document) -> Option<Duration> {
        let (value, span) = self.read(key, document, duration)?;
        within(key, value, bounds, span, document)
    }

    fn size(&mut self, key: &str, bounds: RangeInclusive<u64>, document: &mut Document) -> Option<u64> {
        let (value, span) = self.read(key, document, size)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        document.report(
            Place::Span(span),
            format!("{key}: expected {} to {} bytes, found {value}", bounds.start(), bounds.end()),
        );
        None
    }

    fn durations(
        &mut self,
        key: &str,
        count: RangeInclusive<usize>,
        bounds: &RangeInclusive<Duration>,
        document: &mut Document,
    ) -> Option<Vec<Duration>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            document.report(Place::Span(span), format!("{key}: expected a list such as [\"5m\", \"15m\", \"30m\"]"));
            return None;
        };
        if !count.contains(&items.len()) {
            document.report(
                Place::Span(span),
                format!("{key}: expected {} to {} steps, found {}", count.start(), count.end(), items.len()),
            );
            return None;
        }
        let mut steps = Vec::new();
        for item in items {
            let span = item.span();
            let read = item
                .get_ref()
                .as_str()
                .ok_or_else(|| format!("expected a duration in quotes, found {}", kind(item.get_ref())));
            match read.and_then(duration) {
                Ok(step) => steps.push(within(key, step, bounds, span, document)?),
                Err(wrong) => document.report(Place::Span(span), format!("{key}: {wrong}")),
            }
        }
        Some(steps)
    }

    fn number(&mut self, key: &str, bounds: RangeInclusive<u64>, document: &mut Document) -> Option<u64> {
        let value = self.take(key)?;
        let number =
            value.get_ref().as_integer().and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => {
                let expected = format!("{key}: expected a whole number from {} to {}", bounds.start(), bounds.end());
                document.report(Place::Span(value.span()), expected);
                None
            }
        }
    }

    /// A number from 0 to 1.
    fn share(&mut self, key: &str, document: &mut Document) -> Option<f64> {
        let value = self.take(key)?;
        let number: Option<f64> = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        match number {
            Some(share) if (0.0..=1.0).contains(&share) => Some(share),
            _ => {
                document.report(Place::Span(value.span()), format!("{key}: expected a number from 0 to 1"));
                None
            }
        }
    }

    fn truth(&mut self, key: &str, document: &mut Document) -> Option<bool> {
        let value = self.take(key)?;
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            document.report(
                Place::Span(value.span()),
                format!("{key}: expected true or false, found {}", kind(value.get_ref())),
            );
        }
        truth
    }

    /// Whatever is left is unknown.
    fn finish(self, document: &mut Document) {
        let known: Vec<&String> = self.known.iter().filter(|key| !key.ends_with('!')).collect();
        for (key, span) in self.names() {
            let near = known.iter().map(|known| (strsim::damerau_levenshtein(&key, known), known)).min();
            let hint = match near {
                Some((distance, known)) if distance <= 2 => format!("; did you mean {known}?"),
                _ => format!("; known here: {}", known.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ")),
            };
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            document.report(Place::Span(span), format!("unknown key {key}{place}{hint}"));
        }
    }
}

fn within(
    key: &str,
    value: Duration,
    bounds: &RangeInclusive<Duration>,
    span: Range<usize>,
    document: &mut Document,
) -> Option<Duration> {
    if bounds.contains(&value) {
        return Some(value);
    }
    document.report(
        Place::Span(span),
        format!("{key}: expected {:?} to {:?}, found {value:?}", bounds.start(), bounds.end()),
    );
    None
}

fn kind(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

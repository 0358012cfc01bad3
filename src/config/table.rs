//! Reads TOML entry by entry, each with its location, so that every invalid or unknown entry can be reported.
//!
//! Reading continues after an error, so that all of them are reported at once; an invalid value keeps its default
//! until `Config::load` rejects the whole.

use super::EXAMPLE;
use super::problem::{Place, Problem};
use super::source::Source;
use super::value::{base_url, duration, shown_duration, shown_size, size, url};
use crate::limits::quote;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The files that are being read, and the errors found so far.
#[derive(Debug, Default)]
pub(super) struct Document<'t> {
    pub(super) sources: Vec<Source<'t>>,
    pub(super) root: DeTable<'t>,
    pub(super) problems: Vec<Problem>,
    /// The lines that could not be read: `resyncd.toml:3`. What is missing may stand there.
    pub(super) unreadable: BTreeSet<String>,
    /// The location of each value, by its whole name: `agent.socket`, `route[0].path`.
    pub(super) spans: BTreeMap<String, Range<usize>>,
}

impl<'t> Document<'t> {
    /// The merged files as a table.
    pub(super) fn root(&mut self) -> Table<'t> {
        Table::new(String::new(), 0..0, std::mem::take(&mut self.root))
    }
}

/// A table whose entries are taken one by one.
pub(super) struct Table<'t> {
    /// The name as written: `upstream.hq`; empty for the root.
    name: String,
    /// Its header, or all of it if it is written in braces.
    span: Range<usize>,
    entries: DeTable<'t>,
    /// The keys that were requested, with the locations of the values of those that are present.
    known: Vec<(String, Option<Range<usize>>)>,
}

impl<'t> Table<'t> {
    fn new(name: String, span: Range<usize>, entries: DeTable<'t>) -> Self {
        Self { name, span, entries, known: Vec::new() }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        let value = self.entries.remove(key);
        self.known.push((key.to_owned(), value.as_ref().map(Spanned::span)));
        value
    }

    /// Returns whether a requested key was present, with any value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.known.iter().any(|(known, at)| known == key && at.is_some())
    }

    /// Where to report a mistake about a requested key: its value, or the table if it is absent.
    pub(super) fn at(&self, key: &str) -> Place {
        let found = self.known.iter().filter(|(known, _)| known == key).find_map(|(_, at)| at.clone());
        Place::Span(found.unwrap_or_else(|| self.span.clone()))
    }

    /// The remaining keys with their locations, in the order of the file.
    pub(super) fn names(&self) -> Vec<(String, Range<usize>)> {
        let mut names: Vec<_> = self.entries.keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
        names.sort_by_key(|(_, span)| span.start);
        names
    }

    /// The first entry that is no table.
    pub(super) fn stray(&self) -> Option<(String, Range<usize>)> {
        let is_table = |key: &String| self.entries.get(key.as_str()).is_some_and(|value| value.get_ref().is_table());
        self.names().into_iter().find(|(key, _)| !is_table(key))
    }

    pub(super) fn table(&mut self, key: &str, document: &mut Document) -> Option<Table<'t>> {
        let value = self.take(key)?;
        let span = value.span();
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        match value.into_inner() {
            DeValue::Table(entries) => Some(Table::new(name, span, entries)),
            other => {
                let example = example_of(key).map(|example| format!("; write it as in {example}")).unwrap_or_default();
                let message = format!("expected a table [{name}], found {}{example}", found(&other));
                document.report(Place::Span(span), message);
                None
            }
        }
    }

    /// A text and its location.
    pub(super) fn text(&mut self, key: &str, document: &mut Document) -> Option<(String, Range<usize>)> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some((text.into_owned(), span)),
            other => {
                let quoted = unquoted(&other).map(|text| format!("; write {key} = {text:?}")).unwrap_or_default();
                let message = format!("{key}: expected a text in quotes, found {}{quoted}", found(&other));
                document.report(Place::Span(span), message);
                None
            }
        }
    }

    /// A text that identifies this terminal or store: short, on one line.
    pub(super) fn name_text(&mut self, key: &str, document: &mut Document) -> Option<String> {
        let (text, span) = self.text(key, document)?;
        if (1..=128).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Some(text);
        }
        document.report(Place::Span(span), format!("{key}: expected 1 to 128 bytes without control characters"));
        None
    }

    pub(super) fn path(&mut self, key: &str, document: &mut Document) -> Option<PathBuf> {
        let (text, span) = self.text(key, document)?;
        if text.starts_with('/') {
            return Some(PathBuf::from(text));
        }
        document.report(Place::Span(span), format!("{key}: expected an absolute path, found {text:?}"));
        None
    }

    /// A file with a secret: an absolute path, or the bare name of a credential that the service manager passes on,
    /// which is resolved when it is read.
    pub(super) fn secret_file(&mut self, key: &str, document: &mut Document) -> Option<PathBuf> {
        let (text, span) = self.text(key, document)?;
        let name = !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\0']);
        if name || text.starts_with('/') {
            return Some(PathBuf::from(text));
        }
        let expected = "expected an absolute path, or the name of a credential that systemd passes on";
        document.report(Place::Span(span), format!("{key}: {expected}, found {text:?}"));
        None
    }

    /// A text parsed by a function, whose error is reported.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        document: &mut Document,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<(T, Range<usize>)> {
        let value = self.take(key)?;
        let span = value.span();
        match in_quotes(value.get_ref(), read) {
            Ok(value) => Some((value, span)),
            Err(wrong) => {
                document.report(Place::Span(span), format!("{key}: {wrong}"));
                None
            }
        }
    }

    pub(super) fn url(&mut self, key: &str, insecure: bool, document: &mut Document) -> Option<String> {
        let read = |text: &str| url(text, insecure).map(|()| text.to_owned());
        self.read(key, document, read).map(|(url, _)| url)
    }

    /// A URL that paths are appended to.
    pub(super) fn base_url(&mut self, key: &str, insecure: bool, document: &mut Document) -> Option<String> {
        let read = |text: &str| base_url(text, insecure).map(|()| text.to_owned());
        self.read(key, document, read).map(|(url, _)| url)
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        bounds: &RangeInclusive<Duration>,
        document: &mut Document,
    ) -> Option<Duration> {
        let (value, span) = self.read(key, document, duration)?;
        within(key, value, bounds, span, document)
    }

    /// A duration that replaces a default.
    pub(super) fn duration_into(
        &mut self,
        key: &str,
        place: &mut Duration,
        bounds: &RangeInclusive<Duration>,
        document: &mut Document,
    ) {
        if let Some(value) = self.duration(key, bounds, document) {
            *place = value;
        }
    }

    pub(super) fn size(&mut self, key: &str, bounds: RangeInclusive<u64>, document: &mut Document) -> Option<u64> {
        let (value, span) = self.read(key, document, size)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        document.report(
            Place::Span(span),
            format!(
                "{key}: expected {} to {}, found {}",
                shown_size(*bounds.start()),
                shown_size(*bounds.end()),
                shown_size(value)
            ),
        );
        None
    }

    pub(super) fn durations(
        &mut self,
        key: &str,
        count: RangeInclusive<usize>,
        bounds: &RangeInclusive<Duration>,
        document: &mut Document,
    ) -> Option<Vec<Duration>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            let message = format!("{key}: expected a list such as [\"5m\", \"15m\", \"30m\"]; write it in brackets");
            document.report(Place::Span(span), message);
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
            match in_quotes(item.get_ref(), duration) {
                Ok(step) => steps.push(within(key, step, bounds, span, document)?),
                Err(wrong) => document.report(Place::Span(span), format!("{key}: {wrong}")),
            }
        }
        Some(steps)
    }

    pub(super) fn number(&mut self, key: &str, bounds: RangeInclusive<u64>, document: &mut Document) -> Option<u64> {
        let value = self.take(key)?;
        let number =
            value.get_ref().as_integer().and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => {
                let (start, end, found) = (bounds.start(), bounds.end(), found(value.get_ref()));
                let hint = without_quotes(key, value.get_ref(), |text| text.parse().is_ok_and(|n| bounds.contains(&n)));
                let expected = format!("{key}: expected a whole number from {start} to {end}, found {found}{hint}");
                document.report(Place::Span(value.span()), expected);
                None
            }
        }
    }

    /// A number from 0 to 1.
    pub(super) fn share(&mut self, key: &str, document: &mut Document) -> Option<f64> {
        self.decimal(key, 0.0..=1.0, document)
    }

    /// A number, possibly with decimals.
    pub(super) fn decimal(&mut self, key: &str, bounds: RangeInclusive<f64>, document: &mut Document) -> Option<f64> {
        let value = self.take(key)?;
        let number: Option<f64> = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => {
                let (start, end, found) = (bounds.start(), bounds.end(), found(value.get_ref()));
                let hint = without_quotes(key, value.get_ref(), |text| text.parse().is_ok_and(|n| bounds.contains(&n)));
                let expected = format!("{key}: expected a number from {start} to {end}, found {found}{hint}");
                document.report(Place::Span(value.span()), expected);
                None
            }
        }
    }

    pub(super) fn truth(&mut self, key: &str, document: &mut Document) -> Option<bool> {
        let value = self.take(key)?;
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            let hint = without_quotes(key, value.get_ref(), |text| text.parse::<bool>().is_ok());
            let message = format!("{key}: expected true or false, found {}{hint}", found(value.get_ref()));
            document.report(Place::Span(value.span()), message);
        }
        truth
    }

    /// A list of tables, `[[key]]`.
    pub(super) fn tables(&mut self, key: &str, document: &mut Document) -> Vec<Table<'t>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        let DeValue::Array(items) = value.into_inner() else {
            let message = format!("expected a list of tables: write its header as [[{name}]], in double brackets");
            document.report(Place::Span(span), message);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(entries) => tables.push(Table::new(name.clone(), span, entries)),
                other => {
                    document.report(Place::Span(span), format!("expected a table [[{name}]], found {}", found(&other)));
                }
            }
        }
        tables
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], document: &mut Document) -> Option<T> {
        let (word, span) = self.text(key, document)?;
        let chosen = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        if chosen.is_none() {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            let near = nearest(choices.iter().map(|(name, _)| *name), &word);
            let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            let message = format!("{key}: expected one of {}, found {:?}{hint}", names.join(", "), quote(&word));
            document.report(Place::Span(span), message);
        }
        chosen
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &str, document: &mut Document) -> Option<Vec<String>> {
        self.words(key, document).map(|(texts, _)| texts)
    }

    /// A list of texts and its location.
    pub(super) fn words(&mut self, key: &str, document: &mut Document) -> Option<(Vec<String>, Range<usize>)> {
        let value = self.take(key)?;
        let texts = value.get_ref().as_array().and_then(|items| {
            items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            let hint = value.get_ref().as_str().map(|text| format!("; write {key} = [{text:?}]")).unwrap_or_default();
            let message = format!("{key}: expected a list of texts in quotes, found {}{hint}", found(value.get_ref()));
            document.report(Place::Span(value.span()), message);
        }
        texts.map(|texts| (texts, value.span()))
    }

    /// A list of HTTP statuses; empty if absent.
    pub(super) fn statuses(&mut self, key: &str, document: &mut Document) -> Vec<u16> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let read = |item: &Spanned<DeValue>| {
            let number = item.get_ref().as_integer()?;
            u16::from_str_radix(number.as_str(), number.radix()).ok().filter(|status| (100..1000).contains(status))
        };
        let statuses = value.get_ref().as_array().and_then(|items| items.iter().map(read).collect::<Option<Vec<_>>>());
        statuses.unwrap_or_else(|| {
            let hint = unquoted(value.get_ref()).map(|text| format!("; write {key} = [{text}]")).unwrap_or_default();
            let message = format!("{key}: expected a list of HTTP statuses such as [200, 409]{hint}");
            document.report(Place::Span(value.span()), message);
            Vec::new()
        })
    }

    /// A table of JSON pointers and the values that they must lead to.
    pub(super) fn values(&mut self, key: &str, document: &mut Document) -> Vec<(String, serde_json::Value)> {
        let Some(table) = self.table(key, document) else { return Vec::new() };
        let mut values = Vec::new();
        for (pointer, span) in table.names() {
            let value = table.entries.get(pointer.as_str()).and_then(|value| plain(value.get_ref()));
            match value {
                Some(value) if pointer.starts_with('/') => values.push((pointer, value)),
                _ => document.report(
                    Place::Span(span),
                    format!("{key}: expected a JSON pointer and a text, number or truth value, such as {{ \"/status\" = \"ok\" }}"),
                ),
            }
        }
        values
    }

    /// Reports remaining entries as unknown.
    pub(super) fn finish(self, document: &mut Document) {
        let known = || self.known.iter().map(|(key, _)| key.as_str());
        for (key, span) in self.names() {
            // `token` for `token_file`.
            let longer: Vec<&str> = known().filter(|known| begins(known, &key)).collect();
            let elsewhere = tables_with(&key);
            let is_table = self.entries.get(key.as_str()).is_some_and(|value| value.get_ref().is_table());
            let hint = match nearest(known(), &key) {
                _ if !longer.is_empty() => format!("; did you mean {}?", longer.join(" or ")),
                Some(near) if self.name.is_empty() => format!("; did you mean {}?", header(near)),
                _ if elsewhere.len() > 1 => format!("; it belongs in one of {}", elsewhere.join(", ")),
                _ if !elsewhere.is_empty() => format!("; it belongs in {}", elsewhere.concat()),
                Some(near) => format!("; did you mean {near}?"),
                None if self.name.is_empty() => {
                    format!("; the tables are {}", known().map(header).collect::<Vec<_>>().join(", "))
                }
                None => format!("; known here: {}", known().collect::<Vec<_>>().join(", ")),
            };
            let key = quote(&key);
            let unknown = match (self.name.as_str(), is_table) {
                ("", true) => format!("unknown table [{key}]"),
                ("", false) => format!("unknown key {key}"),
                (name, _) => format!("unknown key {key} in [{name}]"),
            };
            document.report(Place::Span(span), unknown + &hint);
        }
    }
}

/// How a table of the root is written.
fn header(name: &str) -> String {
    match name {
        "upstream" => "[upstream.NAME]".to_owned(),
        "route" => "[[route]]".to_owned(),
        name => format!("[{name}]"),
    }
}

/// The known word that was probably meant, whatever its case is.
pub(super) fn nearest<'w>(known: impl Iterator<Item = &'w str>, word: &str) -> Option<&'w str> {
    /// A longer word is no misspelt key, and comparing it takes long.
    const MAX_LENGTH: usize = 64;
    /// Words that begin with the same letters are the same word with another ending: `retries`.
    const STEM: usize = 4;
    if word.len() > MAX_LENGTH {
        return None;
    }
    let plain = |word: &str| word.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    let far = |known: &str| {
        let known = plain(known);
        let stem = known.chars().zip(word.chars()).take_while(|(one, other)| one == other).count();
        (strsim::damerau_levenshtein(&known, &word) - usize::from(stem >= STEM && known != word), usize::MAX - stem)
    };
    // Half of a short word is another word.
    let near = known.min_by_key(|known| far(known));
    near.filter(|near| far(near).0 <= 2.min(near.len() / 2))
}

/// Is the key the first word or words of a known one?
fn begins(known: &str, key: &str) -> bool {
    known.strip_prefix(key).is_some_and(|rest| rest.starts_with('_'))
}

/// A setting of this key as the packaged file shows it.
fn example_of(key: &str) -> Option<&'static str> {
    let shown = |line: &'static str| line.strip_prefix('#').filter(|line| line.starts_with(&format!("{key} = ")));
    EXAMPLE.lines().find_map(shown)
}

/// The tables that have a key of this name, as the packaged file shows them.
fn tables_with(key: &str) -> Vec<&'static str> {
    let (mut table, mut found) = ("", Vec::new());
    for line in EXAMPLE.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            table = line;
        } else if line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = ")) && !found.contains(&table) {
            found.push(table);
        }
    }
    found
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
    let [start, end, found] = [*bounds.start(), *bounds.end(), value].map(shown_duration);
    document.report(Place::Span(span), format!("{key}: expected {start} to {end}, found {found}"));
    None
}

/// Reads a text. A number without quotes is an error, and read too, in case its reader knows what was meant: `"30s"`.
fn in_quotes<T>(value: &DeValue, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    match (value, unquoted(value)) {
        (DeValue::String(text), _) => read(text),
        (other, Some(text)) => Err(match read(&text) {
            Ok(_) => format!("expected a text in quotes; write {:?}", quote(&text)),
            Err(wrong) if wrong.contains("did you mean") => wrong,
            Err(_) => format!("expected a text in quotes, found {}", found(other)),
        }),
        (other, None) => Err(format!("expected a text in quotes, found {}", found(other))),
    }
}

/// What a text holds that stands in quotes and should not.
fn without_quotes(key: &str, value: &DeValue, expected: impl Fn(&str) -> bool) -> String {
    let meant = value.as_str().map(str::trim).filter(|text| expected(text));
    meant.map(|text| format!("; write {key} = {text}")).unwrap_or_default()
}

/// What was found instead of what was expected.
fn found(value: &DeValue) -> String {
    match value {
        DeValue::String(text) => format!("the text {:?}", quote(text)),
        DeValue::Integer(_) | DeValue::Float(_) => {
            format!("the number {}", quote(&unquoted(value).unwrap_or_default()))
        }
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A number, truth value or date as it is written.
fn unquoted(value: &DeValue) -> Option<String> {
    match value {
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(date) => Some(date.to_string()),
        DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// A scalar TOML value as JSON.
fn plain(value: &DeValue) -> Option<serde_json::Value> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Boolean(truth) => Some((*truth).into()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Into::into),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Into::into),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

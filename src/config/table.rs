//! Reads TOML entry by entry, each with its location, so that every invalid or unknown entry can be reported.
//!
//! Reading continues after an error, so that all of them are reported at once; an invalid value keeps its default
//! until `Config::load` rejects the whole.

use super::document::Source;
use super::problem::{Place, Problem};
use super::value::{base_url, duration, size, url};
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
}

impl<'t> Document<'t> {
    /// The merged files as a table.
    pub(super) fn root(&mut self) -> Table<'t> {
        Table { name: String::new(), entries: std::mem::take(&mut self.root), known: Vec::new() }
    }
}

/// A table whose entries are taken one by one.
pub(super) struct Table<'t> {
    /// The name as written: `upstream.hq`; empty for the root.
    name: String,
    entries: DeTable<'t>,
    /// The keys that were requested.
    known: Vec<String>,
}

impl<'t> Table<'t> {
    pub(super) fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key.to_owned());
        self.entries.remove(key)
    }

    /// Returns whether the key was present, with any value.
    pub(super) fn known_here(&self, key: &str) -> bool {
        self.known.iter().any(|known| known == &format!("{key}!"))
    }

    /// The remaining keys with their locations, in the order of the file.
    pub(super) fn names(&self) -> Vec<(String, Range<usize>)> {
        let mut names: Vec<_> = self.entries.keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
        names.sort_by_key(|(_, span)| span.start);
        names
    }

    pub(super) fn table(&mut self, key: &str, document: &mut Document) -> Option<Table<'t>> {
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

    /// A text and its location.
    pub(super) fn text(&mut self, key: &str, document: &mut Document) -> Option<(String, Range<usize>)> {
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
        let (text, span) = self.text(key, document)?;
        match read(&text) {
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
            format!("{key}: expected {} to {} bytes, found {value}", bounds.start(), bounds.end()),
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

    pub(super) fn number(&mut self, key: &str, bounds: RangeInclusive<u64>, document: &mut Document) -> Option<u64> {
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
                let expected = format!("{key}: expected a number from {} to {}", bounds.start(), bounds.end());
                document.report(Place::Span(value.span()), expected);
                None
            }
        }
    }

    pub(super) fn truth(&mut self, key: &str, document: &mut Document) -> Option<bool> {
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

    /// A list of tables, `[[key]]`.
    pub(super) fn tables(&mut self, key: &str, document: &mut Document) -> Vec<Table<'t>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        let DeValue::Array(items) = value.into_inner() else {
            document.report(Place::Span(span), format!("expected tables [[{name}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(entries) => tables.push(Table { name: name.clone(), entries, known: Vec::new() }),
                other => {
                    document.report(Place::Span(span), format!("expected a table [[{name}]], found {}", kind(&other)));
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
            document.report(Place::Span(span), format!("{key}: expected one of {}, found {word:?}", names.join(", ")));
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
            document.report(Place::Span(value.span()), format!("{key}: expected a list of texts in quotes"));
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
            document.report(
                Place::Span(value.span()),
                format!("{key}: expected a list of HTTP statuses such as [200, 409]"),
            );
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
        let known: Vec<&String> = self.known.iter().filter(|key| !key.ends_with('!')).collect();
        for (key, span) in self.names() {
            let near = known.iter().map(|known| (strsim::damerau_levenshtein(&key, known), known)).min();
            // `token` for `token_file`.
            let longer: Vec<&str> =
                known.iter().map(|known| known.as_str()).filter(|known| begins(known, &key)).collect();
            let hint = match near {
                _ if !longer.is_empty() => format!("; did you mean {}?", longer.join(" or ")),
                Some((distance, known)) if distance <= 2 => format!("; did you mean {known}?"),
                _ => format!("; known here: {}", known.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ")),
            };
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            document.report(Place::Span(span), format!("unknown key {key}{place}{hint}"));
        }
    }
}

/// Is the key the first word or words of a known one?
fn begins(known: &str, key: &str) -> bool {
    known.strip_prefix(key).is_some_and(|rest| rest.starts_with('_'))
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

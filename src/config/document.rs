//! The configuration's files as one document: the main file and the fragments of `resyncd.d`, in the given order.
//!
//! The spans of each file are shifted behind those of the files before it, so that a span is unique among all of
//! them. Tables of several files are merged, and lists of tables (`[[route]]`) are concatenated. A fragment
//! overrides the main file. A key that two fragments set is an error with both locations, because neither takes
//! precedence.

use super::problem::{Excerpt, Place, Problem};
use super::source::Source;
use super::syntax;
use super::table::Document;
use super::value::bare;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The origin of each value that a file sets: `retry.backoff` → `resyncd.toml:7`. A table in a list has an index
/// from 0: `route[0].path`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, String>);

impl Origins {
    /// File and line that set this key.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// File and line of the first value whose key begins like this.
    #[must_use]
    pub fn beginning(&self, prefix: &str) -> Option<&str> {
        self.0
            .range(prefix.to_owned()..)
            .next()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(_, place)| place.as_str())
    }

    /// All keys that files set.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<'t> Document<'t> {
    /// Parses the files, each given by a name for messages and its text; syntax errors are reported.
    pub(super) fn parse(files: &[(&'t str, &'t str)]) -> Self {
        let mut document = Self::default();
        let mut lines = BTreeSet::new();
        for &(name, text) in files {
            let base = document.sources.last().map_or(0, |last| last.base + last.text.len() + 1);
            document.sources.push(Source { name, text, base });
            let (root, errors) = DeTable::parse_recoverable(text);
            let root = moved_table(root.into_inner(), base);
            for error in errors {
                let span = error.span().unwrap_or(0..0);
                let key = text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
                let message = match key {
                    _ if error.message().starts_with("duplicate key") => document.twice(&root, key, span.start + base),
                    found => syntax::explain(error.message(), found, text, span.start),
                };
                let line = document.place(span.start + base);
                // What follows in a line that could not be read is a consequence.
                if lines.insert(line) {
                    document.report(Place::Span(moved(span, base)), message);
                }
            }
            let mut all = std::mem::take(&mut document.root);
            document.join(&mut all, root);
            document.root = all;
        }
        document.unreadable = lines;
        document
    }

    /// The message about a key that stands twice in a file.
    fn twice(&self, root: &DeTable, key: &str, at: usize) -> String {
        if let Some(first) = last_before(root, key, at) {
            return format!("{key} is already set at {}", self.place(first));
        }
        // A table is known by its last header only: look for the same line before.
        let Some(source) = self.source_of(at) else { return format!("{key} is already set") };
        let header = Excerpt::of(source.text, at - source.base..at - source.base);
        let mut lines = source.text.lines().map(str::trim).zip(1..);
        match lines.find(|(line, number)| *line == header.text.trim() && *number < header.line) {
            Some((line, number)) => format!("{line} is already there at {}:{number}; keep one of them", source.name),
            None => format!("{key} is already set"),
        }
    }

    /// Merges the table of a file into that of the files before it.
    fn join(&mut self, all: &mut DeTable<'t>, more: DeTable<'t>) {
        for (key, value) in more {
            let Some((first, before)) = all.get_key_value(key.get_ref().as_ref()) else {
                all.insert(key, value);
                continue;
            };
            let first = first.span().start;
            let open = self.is_open(before) && self.is_open(&value);
            let value_span = value.span();
            let before = all.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut);
            match (before, value.into_inner()) {
                (Some(DeValue::Table(before)), DeValue::Table(more)) if open => self.join(before, more),
                (Some(DeValue::Array(before)), DeValue::Array(more)) if open => {
                    more.into_iter().for_each(|item| before.push(item));
                }
                (_, value) if self.is_main(first) && !self.is_main(key.span().start) => {
                    let span = value_span;
                    all.remove(key.get_ref().as_ref());
                    all.insert(key, Spanned::new(span, value));
                }
                _ => {
                    let message = format!("{} is already set at {}", key.get_ref(), self.place(first));
                    self.report(Place::Span(key.span()), message);
                }
            }
        }
    }

    /// Returns whether another file may add to a value. A table under a header and a list of such tables can be
    /// extended, a value in braces or brackets cannot.
    fn is_open(&self, value: &Spanned<DeValue>) -> bool {
        let braced = |span: Range<usize>| {
            self.source_of(span.start).is_none_or(|s| s.text[span.start - s.base..].starts_with('{'))
        };
        match value.get_ref() {
            DeValue::Table(_) => !braced(value.span()),
            DeValue::Array(items) => items.iter().all(|item| item.get_ref().is_table() && !braced(item.span())),
            _ => false,
        }
    }

    /// Returns whether this position is in the main file, which is first.
    fn is_main(&self, at: usize) -> bool {
        self.sources.get(1).is_none_or(|second| at < second.base)
    }

    fn source_of(&self, at: usize) -> Option<&Source<'t>> {
        self.sources.iter().rev().find(|source| source.base <= at)
    }

    /// `resyncd.toml:7`
    fn place(&self, at: usize) -> String {
        let Some(source) = self.source_of(at) else { return String::new() };
        format!("{}:{}", source.name, Excerpt::of(source.text, at - source.base..at - source.base).line)
    }

    pub(super) fn report(&mut self, place: Place, message: String) {
        let problem = match &place {
            Place::Span(span) if let Some(source) = self.source_of(span.start) => {
                let inside = span.start - source.base..span.end.saturating_sub(source.base);
                Problem::new(source.name, source.text, Place::Span(inside), message)
            }
            _ => Problem::new("", "", place, message),
        };
        self.problems.push(problem);
    }

    /// The origins of all values; their locations are noted for later messages.
    pub(super) fn origins(&mut self) -> Origins {
        let mut spans = BTreeMap::new();
        note(&self.root, "", &mut spans);
        let origins = spans.iter().map(|(key, span)| (key.clone(), self.place(span.start))).collect();
        self.spans = spans;
        Origins(origins)
    }

    /// The errors in the order of the files and lines.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        let mut seen = BTreeSet::new();
        // Of a line that could not be read only the first message is of use.
        problems.retain(|problem| {
            let line = problem.place.rsplit_once(':').map_or("", |(line, _)| line).to_owned();
            !self.unreadable.contains(&line) || seen.insert(line)
        });
        let order = |problem: &Problem| self.sources.iter().position(|source| problem.is_in(source.name));
        problems.sort_by_key(|problem| {
            let excerpt = problem.excerpt.as_ref();
            (order(problem).is_none(), order(problem), excerpt.map(|at| (at.line, at.columns.start)))
        });
        problems
    }
}

/// Notes the locations of the values in a table.
fn note(table: &DeTable, path: &str, spans: &mut BTreeMap<String, Range<usize>>) {
    for (key, value) in table {
        let key = bare(key.get_ref());
        let key = if path.is_empty() { key } else { format!("{path}.{key}") };
        match value.get_ref() {
            DeValue::Table(inner) => note(inner, &key, spans),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                for (n, item) in items.iter().enumerate() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        note(inner, &format!("{key}[{n}]"), spans);
                    }
                }
            }
            _ => _ = spans.insert(key, value.span()),
        }
    }
}

fn moved(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn moved_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let entry =
        |(key, value): (Spanned<_>, _)| (Spanned::new(moved(key.span(), by), key.into_inner()), moved_value(value, by));
    table.into_iter().map(entry).collect()
}

fn moved_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = moved(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(moved_table(table, by)),
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| moved_value(item, by)).collect()),
        single => single,
    };
    Spanned::new(span, value)
}

/// The last position before `at` of a key with this name, in any table.
fn last_before(table: &DeTable, key: &str, at: usize) -> Option<usize> {
    fn inside(value: &DeValue, key: &str, at: usize) -> Option<usize> {
        match value {
            DeValue::Table(table) => last_before(table, key, at),
            DeValue::Array(items) => items.iter().filter_map(|item| inside(item.get_ref(), key, at)).max(),
            _ => None,
        }
    }
    let here = table.iter().filter(|(name, _)| name.get_ref() == key && name.span().start < at);
    let here = here.map(|(name, _)| name.span().start).max();
    here.max(table.values().filter_map(|value| inside(value.get_ref(), key, at)).max())
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, Overrides};
    use std::time::Duration;

    fn load(files: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        Config::load_files(files, &Overrides::default(), &Environment::default())
            .map(|(config, _)| config)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    const MAIN: &str = "[upstream.hq]\nurl = \"https://hq.example/\"\n[retry]\nmax_retries = 4\n";

    #[test]
    fn pieces_add_to_the_tables_of_the_main_file() {
        let piece = "[upstream.hq]\ntimeout = \"7s\"\n[retry]\njitter = 0\n";
        let config = load(&[("a.toml", MAIN), ("d/10.toml", piece)]).expect("they go together");
        assert_eq!(config.upstreams[0].timeout, Duration::from_secs(7));
        assert_eq!((config.retry.max_retries, config.retry.jitter.to_bits()), (4, 0));
    }

    #[test]
    fn routes_of_several_files_go_one_behind_the_other() {
        let route = |kind: &str| format!("[[route]]\nentity_type = \"{kind}\"\n");
        let (first, second) = (format!("{MAIN}{}", route("A")), route("B") + &route("C"));
        let config = load(&[("a", &first), ("b", &second)]).expect("they go together");
        let kinds: Vec<_> = config.routes.iter().filter_map(|route| route.entity_type.as_deref()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
    }

    #[test]
    fn a_key_that_two_pieces_set_names_both_places() {
        for (piece, told) in [
            (
                "\n[retry]\n max_retries = 4",
                "d/1:3:2: max_retries is already set at a:4\n  3 |  max_retries = 4\n    |  ^^^^^^^^^^^",
            ),
            ("[upstream]\nhq = {}", "d/1:2:1: hq is already set at a:1\n  2 | hq = {}\n    | ^^"),
            ("upstream = 1", "d/1:1:1: upstream is already set at a:1\n  1 | upstream = 1\n    | ^^^^^^^^"),
        ] {
            assert_eq!(load(&[("main", ""), ("a", MAIN), ("d/1", piece)]).expect_err(piece), [told]);
        }
        let whole = "[upstream.hq]\nheaders = { A = \"1\" }\n";
        let twice = load(&[("a", MAIN), ("b", whole), ("c", "[upstream.hq.headers]\nB = \"2\"\n")]);
        assert!(twice.expect_err("twice")[0].starts_with("c:1:14: headers is already set at b:2"));
    }

    #[test]
    fn a_piece_overrides_the_main_file() {
        let piece = "[retry]\nmax_retries = 7\n[upstream.hq]\nurl = \"https://other.example/\"\n";
        let files = [("a", MAIN), ("d/1", piece)];
        let (config, origins) =
            Config::load_files(&files, &Overrides::default(), &Environment::default()).expect("the piece wins");
        assert_eq!((config.retry.max_retries, config.upstreams[0].url.as_str()), (7, "https://other.example/"));
        assert_eq!(origins.of("retry.max_retries"), Some("d/1:2"));
        let told = load(&[("a", MAIN), ("d/1", "[retry]\nmax_retries = 0\n")]).expect_err("out of bounds");
        assert!(told[0].starts_with("d/1:2:"), "the problem is in the piece: {told:?}");
    }

    #[test]
    fn a_key_that_one_file_sets_twice_names_both_places() {
        let told = load(&[("a", ""), ("b", "[retry]\njitter = 0\nbatch = 5\njitter = 1\n")]).expect_err("twice");
        assert!(told[0].starts_with("b:4:1: jitter is already set at b:2"), "{told:?}");
    }

    #[test]
    fn problems_stand_in_their_own_file() {
        let told = load(&[("a", "\u{feff}[retry]\nbach = 1\n"), ("ü", "[alerts]\nurl = 5\n"), ("c", "x\n")]);
        let told = told.expect_err("all wrong");
        assert!(told.iter().any(|told| told.starts_with("a:2:1: unknown key bach")), "{told:?}");
        assert!(told.iter().any(|told| told.starts_with("ü:2:7: url: expected a text")), "{told:?}");
        assert!(told.iter().any(|told| told.starts_with("c:1:")), "{told:?}");
    }

    #[test]
    fn origins_name_file_and_line() {
        let routes = "[[route]]\npath = \"/a\"\n[[route]]\npath = \"/b\"\n[alerts]\nmany_failures = { count = 3 }\n";
        let (_, origins) =
            Config::load_files(&[("a", MAIN), ("b", routes)], &Overrides::default(), &Environment::default())
                .expect("they go together");
        for (key, place) in [
            ("upstream.hq.url", Some("a:2")),
            ("retry.max_retries", Some("a:4")),
            ("route[1].path", Some("b:4")),
            ("alerts.many_failures.count", Some("b:6")),
            ("retry.jitter", None),
        ] {
            assert_eq!(origins.of(key), place, "{key}");
        }
    }
}

//! Sentences that arrive in one language and are shown in another: what the agent says on its socket, what its log and
//! its database hold, and what is wrong with a configuration is English, and alerts are in the agent's language.
//! Programs read these unchanged. A command shows them in its reader's language.
//!
//! Each phrase is a template in both languages, as in [`texts!`](crate::texts). A text that fits the one is written
//! with the other, its values unchanged; every other text, such as a head office's own words, stays unchanged. A place
//! called `why`, `what`, `reason` or `parts` may hold a phrase itself, and one called `known` must.

mod configuration;
mod network;
mod protocol;
mod system;

use super::{Language, alerts, health};
use std::borrow::Cow;

/// Maximum number of prefixes, each with its colon, that a phrase is looked for behind.
const MOST_PREFIXES: usize = 4;

/// A template in English and in Spanish.
pub(crate) type Phrase = (&'static str, &'static str);

/// Texts, as [`texts!`](crate::texts), that are also phrases: the list has all of them.
#[doc(hidden)]
#[macro_export]
macro_rules! phrases {
    ($list:ident; $($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:tt)*) => {
        $crate::texts! { $($(#[$meta])* $vis fn $name($($arg: $type),*) $body)* }
        /// The templates of these texts.
        pub(super) const $list: &[&[$crate::text::phrases::Phrase]] = &[$($crate::__pairs!($body)),*];
    };
}

/// The templates of one entry.
#[doc(hidden)]
#[macro_export]
macro_rules! __pairs {
    ({ en: $en:literal, es: $es:literal $(,)? }) => { &[($en, $es)] };
    ({ en: $en_one:literal | $en:literal, es: $es_one:literal | $es:literal $(,)? }) => {
        &[($en_one, $es_one), ($en, $es)]
    };
    ({ $($pattern:pat => { en: $en:literal, es: $es:literal $(,)? } $(,)?)+ }) => { &[$(($en, $es)),+] };
}

/// Where a text comes from, which decides the phrases that it may be: what a head office wrote must stay unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// An attempt: its error, or the reason of an upstream's state.
    Attempt,
    /// An alert.
    Alert,
    /// Everything else that the agent or a configuration says.
    Agent,
}

impl Source {
    /// Its phrases in the order in which they are tried, each list with the source of the parts in it.
    fn phrases(self) -> Vec<(&'static [Phrase], Self)> {
        let attempts = [(network::PHRASES, Self::Attempt), (system::OTHERS, Self::Attempt)];
        let alerts = [alerts::CONDITIONS, alerts::EVENTS].into_iter().flatten().map(|list| (*list, Self::Attempt));
        let own = [protocol::PHRASES, configuration::PHRASES, configuration::TOML, system::PHRASES];
        let own = own.into_iter().chain(health::REASONS.iter().copied()).map(|list| (list, Self::Agent));
        match self {
            Self::Attempt => attempts.into(),
            Self::Alert => alerts.chain(attempts).collect(),
            Self::Agent => alerts.chain(own).chain(attempts).collect(),
        }
    }

    /// Phrases that occur in others only.
    fn parts(self) -> &'static [&'static [Phrase]] {
        static ALL: [&[Phrase]; 6] = [
            network::PARTS,
            protocol::PARTS,
            configuration::PARTS,
            configuration::HINTS,
            configuration::TOML_PARTS,
            system::PARTS,
        ];
        if self == Self::Agent { &ALL } else { &ALL[..1] }
    }

    /// The text in the language of the process, line by line, as far as its phrases are known.
    fn translated(self, text: &str) -> Cow<'_, str> {
        let lines: Vec<Cow<str>> = text.split('\n').map(|line| self.line(line)).collect();
        if lines.iter().all(|line| matches!(line, Cow::Borrowed(_))) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(lines.join("\n"))
    }

    fn line(self, text: &str) -> Cow<'_, str> {
        // A file's name and line, a key, a status or the kind of an alert may come before it; a long text has many
        // colons, and is not searched at each.
        let behind = text.match_indices(": ").take(MOST_PREFIXES).map(|(at, colon)| at + colon.len());
        let from = |at: usize| Some(text[..at].to_owned() + &self.whole(&text[at..])?);
        let shown = [0].into_iter().chain(behind).find_map(from).map_or(Cow::Borrowed(text), Cow::Owned);
        match Language::current() {
            Language::English => shown,
            Language::Spanish => errors(shown),
        }
    }

    /// The other language's version of a whole text.
    fn whole(self, text: &str) -> Option<String> {
        let one = |(phrases, inner): (&[Phrase], Self)| phrases.iter().find_map(|phrase| inner.rendered(phrase, text));
        error(text).or_else(|| self.hinted(text)).or_else(|| self.phrases().into_iter().find_map(one))
    }

    /// A problem of a configuration that ends with what to write instead.
    fn hinted(self, text: &str) -> Option<String> {
        let hint = |text: &str| configuration::HINTS.iter().find_map(|phrase| self.rendered(phrase, text));
        let both = |at: usize| {
            let hint = hint(&text[at + 2..])?;
            Some(format!("{}; {hint}", self.whole(&text[..at])?))
        };
        // A text in quotes may have semicolons too, and a hint has both quotation marks or none.
        let is_outside = |at: &usize| text[*at..].replace("\\\"", "").matches('"').count().is_multiple_of(2);
        let last = text.rmatch_indices("; ").take(MOST_PREFIXES).map(|(at, _)| at);
        if self == Self::Agent { last.filter(is_outside).find_map(both) } else { None }
    }

    fn part(self, text: &str) -> Option<String> {
        // A line may have a prefix, a part that must be known has none.
        self.listed(text).or_else(|| match self.line(text) {
            Cow::Owned(shown) => Some(shown),
            Cow::Borrowed(_) => None,
        })
    }

    /// A part, or several, each of them a whole phrase.
    fn listed(self, text: &str) -> Option<String> {
        let part = |text: &str| self.parts().iter().copied().flatten().find_map(|phrase| self.rendered(phrase, text));
        let one = |text: &str| part(text).or_else(|| self.whole(text));
        let several = || {
            let each: Vec<&str> = text.split("; ").collect();
            let found: Vec<String> = each.iter().filter_map(|text| one(text)).collect();
            (each.len() > 1 && each.len() == found.len()).then(|| found.join("; "))
        };
        one(text).or_else(several)
    }

    /// Writes the text with the template of the other language, if it fits this one.
    fn rendered(self, (english, spanish): &Phrase, text: &str) -> Option<String> {
        let (from, to) = match Language::current() {
            Language::English => (spanish, english),
            Language::Spanish => (english, spanish),
        };
        // Most templates are ruled out by their first words.
        if !text.starts_with(from.split('{').next().unwrap_or_default()) {
            return None;
        }
        let values = values(&pieces(from), text)?;
        let mut shown = String::new();
        for piece in pieces(to) {
            match piece {
                Piece::Literal(literal) => shown.push_str(literal),
                Piece::Place(name) => {
                    let (_, value) = values.iter().find(|(known, _)| *known == name)?;
                    match name {
                        "known" => shown.push_str(&self.listed(value)?),
                        "why" | "what" | "reason" | "parts" => {
                            shown.push_str(&self.part(value).unwrap_or_else(|| (*value).to_owned()));
                        }
                        _ => shown.push_str(&number(value)),
                    }
                }
            }
        }
        Some(shown)
    }
}

/// An error of an attempt, or the reason of an upstream's state, in the language of the process.
#[must_use]
pub(crate) fn of_attempt(text: &str) -> Cow<'_, str> {
    Source::Attempt.translated(text)
}

/// The message of an alert.
#[must_use]
pub(crate) fn of_alert(text: &str) -> Cow<'_, str> {
    Source::Alert.translated(text)
}

/// Anything else that the agent says, or what is wrong with a configuration.
#[must_use]
pub(crate) fn of_agent(text: &str) -> Cow<'_, str> {
    Source::Agent.translated(text)
}

/// The errors of the operating system within a text.
fn errors(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(" (os error ") {
        return text;
    }
    let mut text = text.into_owned();
    for (english, number, spanish) in system::ERRORS {
        text = text.replace(&format!("{english} (os error {number})"), spanish);
    }
    Cow::Owned(text)
}

/// An error of the operating system, with or without its number.
fn error(text: &str) -> Option<String> {
    let (bare, spanish) = (text.split(" (os error ").next()?, Language::current() == Language::Spanish);
    let known = system::ERRORS.iter().find(|(english, number, _)| {
        *english == bare && (text == bare || text[bare.len()..] == format!(" (os error {number})"))
    });
    known.filter(|_| spanish).map(|(.., text)| (*text).to_owned())
}

/// A number as the language writes it, if this is one.
fn number(text: &str) -> Cow<'_, str> {
    let (from, to) = match Language::current() {
        Language::English => ('.', ","),
        Language::Spanish => (',', "."),
    };
    let mut groups = text.split(from);
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && digits(first));
    let rest = groups.all(|group| group.len() == 3 && digits(group));
    if first && rest && text.len() > 3 { Cow::Owned(text.replace(from, to)) } else { Cow::Borrowed(text) }
}

/// A part of a template.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    /// Text without placeholders.
    Literal(&'t str),
    /// The name of a placeholder.
    Place(&'t str),
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut rest, mut from) = (template, 0);
    // A brace that begins no name is one of an example.
    while let Some(open) = rest[from..].find('{').map(|at| from + at) {
        let place = rest[open + 1..].split_once('}');
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let Some((place, after)) = place.filter(|(place, _)| place.split(':').next().is_some_and(is_name)) else {
            from = open + 1;
            continue;
        };
        if open > 0 {
            pieces.push(Piece::Literal(&rest[..open]));
        }
        pieces.push(Piece::Place(place.split(':').next().unwrap_or_default()));
        (rest, from) = (after, 0);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    pieces
}

/// What the text has in each place of the template, if it fits; the shortest that does. No place is empty, and a name
/// has no blank.
fn values<'t>(template: &[Piece<'t>], text: &'t str) -> Option<Vec<(&'t str, &'t str)>> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let (mut rest, mut open) = (text, None);
    for (n, piece) in template.iter().enumerate() {
        match (piece, open.take()) {
            (Piece::Place(name), None) => open = Some(*name),
            (Piece::Place(_), Some(_)) => return None,
            (Piece::Literal(literal), None) => rest = rest.strip_prefix(*literal)?,
            (Piece::Literal(literal), Some(name)) => {
                let last = n + 1 == template.len();
                let at = if last { rest.strip_suffix(*literal)?.len() } else { rest.find(*literal)? };
                found.push((name, &rest[..at]));
                rest = &rest[at + literal.len()..];
            }
        }
    }
    match open {
        Some(name) => found.push((name, rest)),
        None if !rest.is_empty() => return None,
        None => {}
    }
    let same = |(name, value): &(&str, &str)| found.iter().all(|(other, same)| other != name || same == value);
    let fits = |(name, value): &(&str, &str)| !value.is_empty() && (*name != "name" || !value.contains(' '));
    found.iter().all(|pair| fits(pair) && same(pair)).then_some(found)
}

#[cfg(test)]
mod tests;

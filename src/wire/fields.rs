//! One request line as named fields, each still the text that the client wrote.
//!
//! UTF-8, JSON, depth, duplicate names and two spellings of one name are checked here, so that later code only asks
//! for the fields that it knows. Values stay raw JSON until they are requested, because a payload must be preserved
//! byte for byte.

use crate::limits::{MAX_DEPTH, MAX_HINTED, MAX_NAMES, MAX_QUOTE, quote};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// An error reply: one of the protocol's codes, a message, and the field concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The code.
    pub code: Code,
    /// What is wrong, and where useful, what to do.
    pub message: String,
    /// The field concerned.
    pub field: Option<String>,
}

/// The error codes of replies; `packaging/doc/protocol.md` explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    BadJson,
    BadRequest,
    LineTooLong,
    UnknownOp,
    Forbidden,
    NotFound,
    Conflict,
    Busy,
    Full,
    DiskFull,
    Storage,
    ShuttingDown,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 12] = [
        Self::BadJson,
        Self::BadRequest,
        Self::LineTooLong,
        Self::UnknownOp,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::Busy,
        Self::Full,
        Self::DiskFull,
        Self::Storage,
        Self::ShuttingDown,
    ];

    /// The name that is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadRequest => "bad_request",
            Self::LineTooLong => "line_too_long",
            Self::UnknownOp => "unknown_op",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::DiskFull => "disk_full",
            Self::Storage => "storage",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

impl Rejection {
    /// A rejection without a field.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// A rejection because of a field.
    #[must_use]
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message).about(field)
    }

    /// The same for this field, whose name may come from the client.
    #[must_use]
    pub fn about(self, field: &str) -> Self {
        Self { field: Some(quote(field).into_owned()), ..self }
    }
}

/// The fields of a request that have not been taken yet.
#[derive(Debug)]
pub struct Fields<'a> {
    entries: Vec<Entry<'a>>,
}

/// One field.
#[derive(Debug)]
struct Entry<'a> {
    /// The name as written by the client.
    given: Cow<'a, str>,
    /// The name in `snake_case`, if it differs.
    canonical: Option<String>,
    value: &'a RawValue,
}

impl Entry<'_> {
    fn name(&self) -> &str {
        self.canonical.as_deref().unwrap_or(&self.given)
    }
}

impl<'a> Fields<'a> {
    /// Parses a line without its end.
    pub fn parse(line: &'a [u8]) -> Result<Self, Rejection> {
        let fields = Self::read(line)?;
        fields.judge_names()?;
        Ok(fields)
    }

    /// Parses a line whose names are [checked](Self::judge_names) later.
    pub(super) fn read(line: &'a [u8]) -> Result<Self, Rejection> {
        let bad = |message: String| Rejection::new(Code::BadJson, message);
        let text =
            std::str::from_utf8(line).map_err(|error| bad(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
        if depth_exceeds(line, MAX_DEPTH) {
            return Err(bad(format!("nested deeper than {MAX_DEPTH}")));
        }
        let entries = serde_json::from_str::<Entries>(text)
            .map_err(|error| bad(format!("not a JSON object: {}", told(&error))))?
            .0;
        Ok(Self { entries })
    }

    /// The fields of an object within a request.
    pub(super) fn nested(name: &str, value: &'a RawValue) -> Result<Self, Rejection> {
        let entries: Entries = serde_json::from_str(value.get())
            .map_err(|_| Rejection::field(name, format!("{name} must be an object")))?;
        let fields = Self { entries: entries.0 };
        fields.judge_names()?;
        Ok(fields)
    }

    /// Rejects a name that is given twice, in one spelling or two.
    pub(super) fn judge_names(&self) -> Result<(), Rejection> {
        if self.entries.len() > MAX_NAMES {
            let message = format!("an object of a request has at most {MAX_NAMES} names");
            return Err(Rejection::new(Code::BadRequest, message));
        }
        for (n, entry) in self.entries.iter().enumerate() {
            let name = entry.name();
            if self.entries[..n].iter().any(|earlier| earlier.name() == name) {
                return Err(Rejection::field(name, format!("{} is given twice", quote(name))));
            }
        }
        Ok(())
    }

    /// Takes a field's raw text; `null` counts as absent.
    pub fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        self.present(name).filter(|value| value.get() != "null")
    }

    /// Takes a field's raw text, which may be `null`.
    pub fn present(&mut self, name: &str) -> Option<&'a RawValue> {
        let index = self.entries.iter().position(|entry| entry.name() == name)?;
        Some(self.entries.swap_remove(index).value)
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
        self.raw(name)
            .map(|value| string(value).ok_or_else(|| Rejection::field(name, format!("{name} must be a string"))))
            .transpose()
    }

    /// Takes a text for display: invalid Unicode in it becomes U+FFFD.
    pub fn lossy_text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
        self.raw(name)
            .map(|value| lossy_string(value).ok_or_else(|| Rejection::field(name, format!("{name} must be a string"))))
            .transpose()
    }

    /// Takes a text, or the digits of an integer: many tables have integers as keys.
    pub fn text_or_integer(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let digits = value.get().strip_prefix('-').unwrap_or(value.get());
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Some(Cow::Borrowed(value.get())));
        }
        let wrong = || Rejection::field(name, format!("{name} must be a string or an integer"));
        string(value).map(Some).ok_or_else(wrong)
    }

    /// Takes a text that is required.
    pub fn required_text(&mut self, name: &str) -> Result<Cow<'a, str>, Rejection> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// Takes a boolean; false if absent.
    pub fn flag(&mut self, name: &str) -> Result<bool, Rejection> {
        self.flag_or(name, false)
    }

    /// Takes a boolean with this default.
    pub fn flag_or(&mut self, name: &str, absent: bool) -> Result<bool, Rejection> {
        match self.raw(name).map(RawValue::get) {
            None => Ok(absent),
            Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Rejection::field(name, format!("{name} must be true or false"))),
        }
    }

    /// Takes a whole number between two bounds.
    pub fn number(&mut self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Rejection> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        match value.get().parse::<u64>() {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => Err(Rejection::field(
                name,
                format!("{name} must be a whole number from {} to {}", bounds.start(), bounds.end()),
            )),
        }
    }

    /// Takes a list with the raw text of each entry.
    pub fn list(&mut self, name: &str, most: usize) -> Result<Option<Vec<&'a RawValue>>, Rejection> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let mut list = serde_json::Deserializer::from_str(value.get());
        let entries = Bounded { most }.deserialize(&mut list);
        match entries.map_err(|_| Rejection::field(name, format!("{name} must be a list")))? {
            Some(entries) => Ok(Some(entries)),
            None => Err(Rejection::field(name, format!("{name} names more than {most}; send several requests"))),
        }
    }

    /// Takes an object.
    pub fn object(&mut self, name: &str) -> Result<Option<Fields<'a>>, Rejection> {
        self.raw(name).map(|value| Fields::nested(name, value)).transpose()
    }

    /// Rejects fields that are left: a misspelt name must never lose its value.
    pub fn finish(self, known: &[&str]) -> Result<(), Rejection> {
        let Some(Entry { given: name, .. }) = self.entries.first() else { return Ok(()) };
        let shown = quote(name);
        let hint = similar(name, known).map_or_else(String::new, |known| format!("; did you mean {known}?"));
        Err(Rejection::field(name, format!("unknown field {shown}{hint}")))
    }
}

/// The known name that an unknown one most likely misspells. Only names of nearly the same length are compared,
/// because the time of a comparison is proportional to the product of both lengths.
fn similar<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    const MOST: usize = 2;
    if name.len() > MAX_HINTED {
        return None;
    }
    let length = name.chars().count();
    let alike = known.iter().filter(|known| known.len().abs_diff(length) <= MOST);
    let near = alike.map(|known| (strsim::damerau_levenshtein(name, known), *known)).min()?;
    (near.0 <= MOST).then_some(near.1)
}

/// The parser's message, without the content of a long string in place of an object.
fn told(error: &serde_json::Error) -> String {
    const STRING: &str = "invalid type: string ";
    let text = error.to_string();
    match text.char_indices().nth(STRING.len() + MAX_QUOTE) {
        Some((end, _)) if text.starts_with(STRING) => format!("{}…", &text[..end]),
        _ => text,
    }
}

/// The rejection for a required field that is missing.
#[must_use]
pub fn missing(name: &str) -> Rejection {
    Rejection::field(name, format!("{name} is missing"))
}

/// The value of a JSON string, borrowed if it contains no escapes.
#[must_use]
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The same, with U+FFFD for each unpaired surrogate. `JSON.stringify` writes these, for instance for a text that
/// was cut within an emoji.
fn lossy_string(value: &RawValue) -> Option<Cow<'_, str>> {
    struct Bytes(Vec<u8>);
    impl<'de> serde::Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Collect;
            impl Visitor<'_> for Collect {
                type Value = Vec<u8>;

                fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                    f.write_str("a string")
                }

                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                    Ok(bytes.to_owned())
                }
            }
            deserializer.deserialize_bytes(Collect).map(Bytes)
        }
    }
    if let Some(text) = string(value) {
        return Some(text);
    }
    if !value.get().starts_with('"') {
        return None;
    }
    // Surrogates are delivered in the three bytes that UTF-8 would use for them.
    let mut bytes = serde_json::from_str::<Bytes>(value.get()).ok()?.0;
    let mut at = 0;
    while at + 2 < bytes.len() {
        if bytes[at] == 0xed && bytes[at + 1] >= 0xa0 {
            bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
            at += 2;
        }
        at += 1;
    }
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Replaces invalid UTF-8 in the values of `error`, also in that of `row`, by U+FFFD. An error can come from any
/// source, and a sale must not be rejected for the encoding of its error. Elsewhere invalid bytes stay, and the
/// line is rejected.
#[must_use]
pub fn legible(line: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(line).is_ok() {
        return Cow::Borrowed(line);
    }
    let mut mended = Vec::with_capacity(line.len() + 64);
    let mut done = 0;
    for span in errors_in(line) {
        mended.extend_from_slice(&line[done..span.start]);
        mended.extend_from_slice(String::from_utf8_lossy(&line[span.clone()]).as_bytes());
        done = span.end;
    }
    mended.extend_from_slice(&line[done..]);
    Cow::Owned(mended)
}

/// The ranges of the values of `error`, in the object itself and in its `row`.
fn errors_in(line: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut depth, mut at) = (0_usize, 0);
    // The last name on each of the two levels.
    let mut names: [&[u8]; 2] = [b"", b""];
    while at < line.len() {
        match line[at] {
            b'"' => {
                let inside = at + 1..end_of_string(line, at + 1);
                at = inside.end;
                let behind = line.get(at + 1..).unwrap_or_default().trim_ascii_start();
                let in_row = depth == 2 && names[0] == b"row";
                match depth.checked_sub(1).and_then(|level| names.get_mut(level)) {
                    Some(name) if behind.starts_with(b":") => *name = &line[inside],
                    Some(name) if *name == b"error" && (depth == 1 || in_row) => found.push(inside),
                    _ => {}
                }
            }
            b'{' | b'[' => {
                depth += 1;
                if let Some(name) = names.get_mut(depth - 1) {
                    *name = b"";
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    found
}

/// The position of the quotation mark that ends a string, or the end of the line.
fn end_of_string(line: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < line.len() && line[at] != b'"' {
        at += if line[at] == b'\\' { 2 } else { 1 };
    }
    at.min(line.len())
}

/// Converts `entityType` to `entity_type`; `None` if the name is in that form already.
fn snake_case(name: &str) -> Option<String> {
    if !name.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut snake = String::with_capacity(name.len() + 4);
    for (n, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && n > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    Some(snake)
}

/// Returns whether JSON text is nested deeper than this. Brackets within strings do not count. The text need not be
/// valid JSON.
fn depth_exceeds(text: &[u8], most: usize) -> bool {
    // Few requests have this many brackets at all, including those in strings.
    if memchr::memchr2_iter(b'{', b'[', text).nth(most).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A list; `None` if it has more than `most` entries, which are not kept.
struct Bounded {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = Option<Vec<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Bounded {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element::<&RawValue>()? {
            if entries.len() == self.most {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            entries.push(entry);
        }
        Ok(Some(entries))
    }
}

/// An object's entries in their order, including duplicates; at most one more than the limit.
struct Entries<'a>(Vec<Entry<'a>>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<Entry<'de>>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(12);
                while entries.len() <= MAX_NAMES {
                    let Some(Name(given)) = map.next_key()? else { return Ok(entries) };
                    let canonical = snake_case(&given);
                    entries.push(Entry { given, canonical, value: map.next_value()? });
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Collect).map(Entries)
    }
}

/// A name, borrowed if it contains no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> Code {
        Fields::parse(line.as_bytes()).expect_err(line).code
    }

    #[test]
    fn what_is_no_json_object() {
        for line in ["", "x", "[]", "7", "\"a\"", "{\"a\":1", "{\"a\":1} {}", "{\"a\":01}", "{\"a\" 1}"] {
            assert_eq!(code(line), Code::BadJson, "{line}");
        }
        assert_eq!(Fields::parse(b"{\"a\":\"\xff\"}").expect_err("UTF-8").code, Code::BadJson);
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(Fields::parse(nested(63).as_bytes()).is_ok());
        assert_eq!(code(&nested(64)), Code::BadJson);
        let quoted = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100));
        assert!(Fields::parse(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn names_given_twice_in_either_spelling() {
        assert_eq!(code(r#"{"a":1,"a":1}"#), Code::BadRequest);
        assert_eq!(code(r#"{"entityId":"1","entity_id":"1"}"#), Code::BadRequest);
        assert_eq!(code(r#"{"\u0061":1,"a":1}"#), Code::BadRequest);
    }

    #[test]
    fn an_object_of_the_protocol_has_at_most_64_names() {
        let names = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("\"n{n}\":{n}")).collect();
            format!("{{{}}}", names.join(","))
        };
        assert!(Fields::parse(names(64).as_bytes()).is_ok());
        assert_eq!(code(&names(65)), Code::BadRequest);
        assert_eq!(code(&names(20_000)), Code::BadRequest);
        assert_eq!(code(&names(200).replace('}', ",")), Code::BadJson, "what follows is still read");
        let payload = format!("{{\"payload\":{}}}", names(1000));
        assert!(Fields::parse(payload.as_bytes()).is_ok(), "a payload may have any number of names");
        let filter = format!("{{\"filter\":{}}}", names(65));
        let mut fields = Fields::parse(filter.as_bytes()).expect("one name");
        assert_eq!(fields.object("filter").expect_err("65 names").code, Code::BadRequest);
    }

    #[test]
    fn a_long_name_gets_no_hint_and_is_not_repeated() {
        let hint = |name: &str| {
            let line = format!("{{\"{name}\":1}}");
            Fields::parse(line.as_bytes()).expect("an object").finish(&["payload", "entity_type"]).expect_err("unknown")
        };
        assert_eq!(hint("entiti_typ").message, "unknown field entiti_typ; did you mean entity_type?");
        let long = format!("payload{}", "x".repeat(100_000));
        let rejection = hint(&long);
        assert_eq!(rejection.message, format!("unknown field {}…", &long[..64]));
        assert_eq!(rejection.field, Some(format!("{}…", &long[..64])));
        let twice = Fields::parse(format!("{{\"{long}\":1,\"{long}\":1}}").as_bytes()).expect_err("twice");
        assert_eq!(twice.message, format!("{}… is given twice", &long[..64]));
        let no_object = Fields::parse(format!("\"{long}\"").as_bytes()).expect_err("a string");
        assert!(no_object.message.chars().count() < 120, "{}", no_object.message);
    }

    #[test]
    fn more_entries_than_allowed_are_not_kept() {
        let entries = |count: usize| {
            let line = format!("{{\"ids\":[{}]}}", vec!["\"\""; count].join(","));
            Fields::parse(line.as_bytes())
                .expect("an object")
                .list("ids", 3)
                .map(|entries| entries.map(|entries| entries.len()))
        };
        assert_eq!(entries(3), Ok(Some(3)));
        assert!(entries(4).expect_err("too many").message.contains("more than 3"));
    }

    #[test]
    fn both_spellings_are_found_and_what_is_left_is_named() {
        let mut fields = Fields::parse(br#"{"entityType":"SALE","paylod":1}"#).expect("an object");
        assert_eq!(fields.text("entity_type").expect("a text").as_deref(), Some("SALE"));
        let left = fields.finish(&["payload", "action"]).expect_err("a field is left");
        assert_eq!(left.field.as_deref(), Some("paylod"));
        assert_eq!(left.message, "unknown field paylod; did you mean payload?");
    }

    #[test]
    fn an_error_that_is_not_unicode_is_made_legible_and_nothing_else_is() {
        let made = |line: &[u8]| legible(line).into_owned();
        let row = "{\"row\":{\"a\":{\"error\":\"?\"},\"error\":\"!\\\"!\"},\"error\":[\"?\"],\"payload\":\"?\",\"x\":\"error\"}";
        let given: Vec<u8> = row.bytes().map(|b| if b"?!".contains(&b) { 0xe9 } else { b }).collect();
        let expected = row.replace('!', "\u{fffd}");
        let expected: Vec<u8> = expected.bytes().map(|b| if b == b'?' { 0xe9 } else { b }).collect();
        assert_eq!(made(&given), expected);
        let latin = b"{\"error\" : \"caf\xe9 \xe2\x82\",\"entity_id\":\"1\"}";
        assert_eq!(made(latin), "{\"error\" : \"caf\u{fffd} \u{fffd}\",\"entity_id\":\"1\"}".as_bytes());
        for other in
            [&b"{\"erro\":\"\xe9\"}"[..], b"\xff\xfe{", b"{\"error\":\"\xe9", b"\"error\":\"\xe9\"", b"}\"\\\xe9"]
        {
            assert_eq!(made(other).len() > other.len(), other.starts_with(b"{\"error"), "{other:?}");
        }
    }

    #[test]
    fn half_a_surrogate_in_a_lossy_text_is_one_replacement() {
        let mut fields =
            Fields::parse(br#"{"a":"x\ud83d y","b":"\ud83d\ude00\n","c":"\ude00\ud83d","d":7}"#).expect("an object");
        let mut text = |name| fields.lossy_text(name).map(|text| text.map(Cow::into_owned));
        assert_eq!(text("a"), Ok(Some("x\u{fffd} y".into())));
        assert_eq!(text("b"), Ok(Some("\u{1f600}\n".into())));
        assert_eq!(text("c"), Ok(Some("\u{fffd}\u{fffd}".into())));
        assert!(text("d").is_err());
    }

    #[test]
    fn strings_are_unescaped() {
        let mut fields = Fields::parse(br#"{"a":"x\ny","b":"\ud800"}"#).expect("an object");
        assert_eq!(fields.text("a").expect("a text").as_deref(), Some("x\ny"));
        assert!(fields.text("b").is_err(), "half a surrogate is no text");
    }
}

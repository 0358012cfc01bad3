//! One request line as named fields, each still the text that the client wrote.
//!
//! This is the door: UTF-8, JSON, depth, names given twice, both spellings of one name are judged
//! here, so that what comes behind only asks for the fields it knows. Values stay raw JSON until
//! they are asked for, because a payload must survive byte for byte.

use crate::limits::MAX_DEPTH;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An error reply: one of the protocol's codes, in words, and the field it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The code.
    pub code: Code,
    /// What is wrong, and where it helps what to do.
    pub message: String,
    /// Which field.
    pub field: Option<String>,
}

/// The codes of `spec/02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "spec/02 has their meaning")]
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
    /// All of them.
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

    /// As it is sent.
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
    /// A rejection that is about no field.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// A field is wrong.
    #[must_use]
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message).about(field)
    }

    /// The same, about this field.
    #[must_use]
    pub fn about(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }
}

/// The fields of a request that nobody asked for yet.
#[derive(Debug)]
pub struct Fields<'a> {
    entries: Vec<Entry<'a>>,
}

/// One of them.
#[derive(Debug)]
struct Entry<'a> {
    /// As the client wrote it.
    given: Cow<'a, str>,
    /// The same in `snake_case`, when that is another one.
    canonical: Option<String>,
    value: &'a RawValue,
}

impl Entry<'_> {
    fn name(&self) -> &str {
        self.canonical.as_deref().unwrap_or(&self.given)
    }
}

impl<'a> Fields<'a> {
    /// Reads a line without its end.
    pub fn parse(line: &'a [u8]) -> Result<Self, Rejection> {
        let bad = |message: String| Rejection::new(Code::BadJson, message);
        let text =
            std::str::from_utf8(line).map_err(|error| bad(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
        if depth_exceeds(line, MAX_DEPTH) {
            return Err(bad(format!("nested deeper than {MAX_DEPTH}")));
        }
        let entries =
            serde_json::from_str::<Entries>(text).map_err(|error| bad(format!("not a JSON object: {error}")))?.0;
        let fields = Self { entries };
        fields.judge_names()?;
        Ok(fields)
    }

    /// The fields of an object within a request.
    fn nested(name: &str, value: &'a RawValue) -> Result<Self, Rejection> {
        let entries: Entries = serde_json::from_str(value.get())
            .map_err(|_| Rejection::field(name, format!("{name} must be an object")))?;
        let fields = Self { entries: entries.0 };
        fields.judge_names()?;
        Ok(fields)
    }

    fn judge_names(&self) -> Result<(), Rejection> {
        for (n, entry) in self.entries.iter().enumerate() {
            let name = entry.name();
            if self.entries[..n].iter().any(|earlier| earlier.name() == name) {
                return Err(Rejection::field(name, format!("{name} is given twice")));
            }
        }
        Ok(())
    }

    /// Takes a field's raw text; `null` is as good as absent.
    pub fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        self.present(name).filter(|value| value.get() != "null")
    }

    /// Takes a field's raw text, also when it is `null`.
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

    /// Takes a text that must be there.
    pub fn required_text(&mut self, name: &str) -> Result<Cow<'a, str>, Rejection> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// Takes a truth value; absent is false.
    pub fn flag(&mut self, name: &str) -> Result<bool, Rejection> {
        self.flag_or(name, false)
    }

    /// The same, of one that need not be false when it is left out.
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

    /// Takes a list of texts.
    pub fn texts(&mut self, name: &str, most: usize) -> Result<Option<Vec<String>>, Rejection> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let texts: Vec<String> = serde_json::from_str(value.get())
            .map_err(|_| Rejection::field(name, format!("{name} must be a list of strings")))?;
        if texts.len() > most {
            return Err(Rejection::field(name, format!("{name} names more than {most}; send several requests")));
        }
        Ok(Some(texts))
    }

    /// Takes an object.
    pub fn object(&mut self, name: &str) -> Result<Option<Fields<'a>>, Rejection> {
        self.raw(name).map(|value| Fields::nested(name, value)).transpose()
    }

    /// Nothing may be left: a misspelt name must never lose what stands behind it.
    pub fn finish(self, known: &[&str]) -> Result<(), Rejection> {
        let Some(Entry { given: name, .. }) = self.entries.first() else { return Ok(()) };
        let near = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
        let hint = match near {
            Some((distance, known)) if distance <= 2 => format!("; did you mean {known}?"),
            _ => String::new(),
        };
        let shown = crate::limits::cut(name, 100);
        Err(Rejection::field(&shown, format!("unknown field {shown}{hint}")))
    }
}

/// What is said of a field that must be there.
#[must_use]
pub fn missing(name: &str) -> Rejection {
    Rejection::field(name, format!("{name} is missing"))
}

/// The string that a JSON text is, borrowed when nothing in it is escaped.
#[must_use]
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// `entityType` is `entity_type`; `None`: the name is written so already.
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

/// Does JSON text nest deeper than this? Brackets within strings do not count. Whether the text is
/// JSON at all is not asked here.
fn depth_exceeds(text: &[u8], most: usize) -> bool {
    // Hardly any request has so many brackets at all, also in its strings.
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

/// An object's entries in their order, also those given twice.
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
                while let Some(Name(given)) = map.next_key()? {
                    let canonical = snake_case(&given);
                    entries.push(Entry { given, canonical, value: map.next_value()? });
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Collect).map(Entries)
    }
}

/// A name, borrowed when nothing in it is escaped.
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
    fn both_spellings_are_found_and_what_is_left_is_named() {
        let mut fields = Fields::parse(br#"{"entityType":"SALE","paylod":1}"#).expect("an object");
        assert_eq!(fields.text("entity_type").expect("a text").as_deref(), Some("SALE"));
        let left = fields.finish(&["payload", "action"]).expect_err("a field is left");
        assert_eq!(left.field.as_deref(), Some("paylod"));
        assert_eq!(left.message, "unknown field paylod; did you mean payload?");
    }

    #[test]
    fn strings_are_unescaped() {
        let mut fields = Fields::parse(br#"{"a":"x\ny","b":"\ud800"}"#).expect("an object");
        assert_eq!(fields.text("a").expect("a text").as_deref(), Some("x\ny"));
        assert!(fields.text("b").is_err(), "half a surrogate is no text");
    }
}

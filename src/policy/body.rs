//! The body of a response: is it a web page, and what does it contain as JSON?
//!
//! Both questions are answered by the bytes. A content type is often wrong: PHP labels every response
//! `text/html`, and a captive portal may send its page without a type. The content of a body that cannot be
//! read is never guessed; [`Body::json`] returns why it cannot be read.

use crate::limits::{bytes, cut};
use crate::policy::ending::Answer;
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;

/// The body of one response. It is parsed at most once, on first use.
#[derive(Debug)]
pub struct Body<'a> {
    answer: &'a Answer,
    json: OnceCell<Result<Value, String>>,
}

impl<'a> Body<'a> {
    /// The body of this response.
    #[must_use]
    pub fn of(answer: &'a Answer) -> Self {
        Self { answer, json: OnceCell::new() }
    }

    /// The response that contains the body.
    #[must_use]
    pub fn answer(&self) -> &'a Answer {
        self.answer
    }

    /// The body as JSON, or why it cannot be read as JSON.
    pub fn json(&self) -> Result<&Value, &str> {
        self.json.get_or_init(|| parse(self.answer)).as_ref().map_err(String::as_str)
    }

    /// The body as text; invalid bytes are replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        match text(self.answer) {
            Ok(text) => text,
            Err(_) => String::from_utf8_lossy(&self.answer.body),
        }
    }

    /// Returns whether the body is a web page, judged like in browsers by its beginning.
    ///
    /// The content type decides only where the bytes cannot: when they are compressed.
    #[must_use]
    pub fn is_web_page(&self) -> bool {
        if self.answer.body.is_empty() {
            return false;
        }
        if coding(self.answer).is_some() {
            return is_typed_html(self.answer);
        }
        let xml = media_type(self.answer).is_some_and(|kind| {
            (kind.ends_with("/xml") || kind.ends_with("+xml")) && !kind.eq_ignore_ascii_case("application/xhtml+xml")
        });
        begins_like_html(&self.text(), xml)
    }
}

impl Body<'_> {
    /// Returns whether PHP reports that the script has died. With `display_errors` it does so under status 200, where it
    /// would send 500 otherwise. Its warnings and notices are no such reports.
    #[must_use]
    pub fn is_php_crash(&self) -> bool {
        if coding(self.answer).is_some() || self.json().is_ok() {
            return false;
        }
        let text = self.text();
        let report = |kind: &str| {
            // As HTML or, with `html_errors = Off`, as a line of text.
            let html = format!("<b>{kind}</b>:");
            let line = format!("{kind}: ");
            let begins = |at: usize| text[..at].trim_end_matches("PHP ").chars().next_back().is_none_or(|c| c == '\n');
            let at = text.find(&html).or_else(|| text.match_indices(&line).map(|(at, _)| at).find(|at| begins(*at)));
            at.is_some_and(|at| text[at..].contains(" on line "))
        };
        ["Fatal error", "Parse error"].into_iter().any(report)
    }
}

/// Returns whether the content type is that of a web page. For responses without a body, such as those to `HEAD`.
#[must_use]
pub fn is_typed_html(answer: &Answer) -> bool {
    media_type(answer)
        .is_some_and(|kind| ["text/html", "application/xhtml+xml"].iter().any(|html| kind.eq_ignore_ascii_case(html)))
}

/// All values that match a JSON pointer. A token `*` matches every member of an array.
#[must_use]
pub fn pointed<'v>(json: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let mut found = vec![json];
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        found = found
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(items) if token == "*" => items.iter().collect(),
                Value::Array(items) => position(token).and_then(|n| items.get(n)).into_iter().collect::<Vec<_>>(),
                Value::Object(fields) => fields.get(&name).into_iter().collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    found
}

/// Parses an array index as in RFC 6901: digits without a leading zero.
fn position(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| plain)
}

fn media_type(answer: &Answer) -> Option<&str> {
    let kind = answer.content_type.as_deref()?.split(';').next()?.trim();
    (!kind.is_empty()).then_some(kind)
}

/// `charset` of the content type, in lower case.
pub(super) fn charset(answer: &Answer) -> Option<String> {
    let parameters = answer.content_type.as_deref()?.split(';').skip(1);
    let charset = parameters.filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
        let value = value.trim().trim_matches(['"', '\'']);
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then_some(value)
    });
    charset.map(str::to_ascii_lowercase)
}

fn parse(answer: &Answer) -> Result<Value, String> {
    let text = text(answer)?;
    if text.trim().is_empty() {
        return Err("its body is empty".to_owned());
    }
    match serde_json::from_str(&text) {
        Ok(json) => Ok(json),
        Err(_) if answer.cut_off => {
            Err(format!("its body is larger than the {} that are read", bytes(answer.body.len() as u64)))
        }
        Err(error) => {
            let start: String =
                text.trim_start().chars().take(32).map(|c| if c.is_control() { ' ' } else { c }).collect();
            Err(format!("its body is not JSON ({error}); it begins with {start:?}"))
        }
    }
}

/// How the body is compressed. Some servers, and proxies that drop headers, send gzip without naming it.
pub(super) fn coding(answer: &Answer) -> Option<&str> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    answer.encoding.as_deref().or_else(|| answer.body.starts_with(GZIP).then_some("gzip"))
}

/// The body as text: by its byte order mark, else by the charset of its content type, else as UTF-8.
pub(super) fn text(answer: &Answer) -> Result<Cow<'_, str>, String> {
    if let Some(encoding) = coding(answer) {
        return Err(format!("its body is compressed ({}), which the request did not ask for", cut(encoding, 40)));
    }
    let body = answer.body.as_slice();
    match body {
        [0xef, 0xbb, 0xbf, rest @ ..] => return utf8(rest, answer.cut_off),
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        _ => {}
    }
    match charset(answer).as_deref() {
        None | Some("utf-8" | "utf8") => utf8(body, answer.cut_off),
        Some("us-ascii" | "ascii" | "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "latin1" | "latin-1" | "l1") => {
            Ok(windows_1252(body))
        }
        Some("windows-1252" | "cp1252" | "x-cp1252") => Ok(windows_1252(body)),
        Some("utf-16le") => utf16(body, u16::from_le_bytes),
        Some("utf-16be" | "utf-16") => utf16(body, u16::from_be_bytes),
        Some(other) => Err(format!("its charset is {:?}, which the agent cannot read", cut(other, 40))),
    }
}

fn utf8(body: &[u8], cut_off: bool) -> Result<Cow<'_, str>, String> {
    match std::str::from_utf8(body) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        // The last character is incomplete.
        Err(error) if cut_off && error.error_len().is_none() => {
            Ok(String::from_utf8_lossy(&body[..error.valid_up_to()]))
        }
        Err(error) => Err(format!("its body is not UTF-8 (byte {})", error.valid_up_to() + 1)),
    }
}

fn utf16(body: &[u8], read: fn([u8; 2]) -> u16) -> Result<Cow<'_, str>, String> {
    let (pairs, _) = body.as_chunks::<2>();
    let text = String::from_utf16(&pairs.iter().map(|pair| read(*pair)).collect::<Vec<_>>());
    text.map(Cow::Owned).map_err(|_| "its body is not UTF-16".to_owned())
}

/// Browsers read Latin-1 as windows-1252 too: the two differ only in control characters that no text uses.
pub(super) fn windows_1252(body: &[u8]) -> Cow<'_, str> {
    const FROM_0X80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let decoded = |byte: &u8| match byte {
        0x80..=0x9f => FROM_0X80[usize::from(byte - 0x80)],
        other => char::from(*other),
    };
    Cow::Owned(body.iter().map(decoded).collect())
}

/// First elements by which browsers recognize a page (WHATWG, MIME Sniffing), and others that begin the pages
/// of captive portals.
const FIRST_ELEMENTS: [&str; 31] = [
    "html", "head", "body", "script", "title", "style", "meta", "link", "base", "iframe", "frameset", "noscript", "h1",
    "h2", "h3", "div", "font", "table", "a", "b", "p", "br", "form", "center", "img", "span", "main", "header",
    "section", "hr", "ul",
];
/// Those of them that begin no other kind of XML document.
const OF_HTML_ALONE: [&str; 5] = ["html", "head", "body", "script", "frameset"];

fn begins_like_html(text: &str, xml: bool) -> bool {
    let mut rest = text.trim_start_matches(['\u{feff}', ' ', '\t', '\n', '\r', '\u{c}']);
    if is_php_message(rest) {
        return false;
    }
    let mut commented = false;
    loop {
        rest = rest.trim_start();
        let end = if rest.starts_with("<!--") {
            commented = true;
            "-->"
        } else if rest.starts_with("<?") {
            "?>"
        } else {
            break;
        };
        match rest.split_once(end) {
            Some((_, behind)) => rest = behind,
            // The comment does not end within the bytes that were read.
            None => return commented && !xml,
        }
    }
    let Some(tag) = rest.strip_prefix('<') else { return commented && rest.is_empty() && !xml };
    let doctype = tag.get(.."!doctype".len()).is_some_and(|begin| begin.eq_ignore_ascii_case("!doctype"));
    if doctype {
        let name = tag["!doctype".len()..].trim_start();
        return name.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("html"));
    }
    let name = &tag[..tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len())];
    let behind = &tag[name.len()..];
    let ended = behind.is_empty() || behind.starts_with([' ', '>', '/', '\t', '\n', '\r', '\u{c}']);
    let elements: &[&str] = if xml { &OF_HTML_ALONE } else { &FIRST_ELEMENTS };
    ended && elements.iter().any(|element| element.eq_ignore_ascii_case(name))
}

/// Returns whether it is one of PHP's own messages, which it writes as HTML before the output of the script.
/// They are not a web page.
fn is_php_message(text: &str) -> bool {
    const KINDS: [&str; 6] = ["Warning", "Notice", "Deprecated", "Fatal error", "Parse error", "Strict Standards"];
    let Some(behind) = text.strip_prefix("<br />").or_else(|| text.strip_prefix("<br>")) else { return false };
    let kind = behind.trim_start().strip_prefix("<b>").unwrap_or_default();
    KINDS.iter().any(|known| kind.starts_with(known))
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;

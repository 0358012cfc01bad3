//! The TOML parser's messages in words for people who do not know the format: what is wrong in the line, and what to
//! write instead.

use crate::limits::quote;

/// Explains a syntax error. `found` is the text that it is about, and `at` its position in the file's `text`.
pub(super) fn explain(message: &str, found: &str, text: &str, at: usize) -> String {
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default().trim();
    let before = text[line_start..at].trim();
    let rest = text[at..].lines().next().unwrap_or_default();
    if text.trim_start().starts_with('{') {
        return "this seems to be JSON; the file is TOML, with tables such as [retry] and lines such as batch = 10"
            .into();
    }
    if line.starts_with([';', '/']) {
        return "a comment begins with #".to_owned();
    }
    if message.starts_with("string values must be quoted") {
        return unquoted(found);
    }
    // A word that begins like true, false, inf or nan: `info`.
    let is_word = rest.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_word && (message.starts_with("invalid boolean") || message.starts_with("invalid float")) {
        return unquoted(rest.split('#').next().unwrap_or_default());
    }
    if message.starts_with("invalid unquoted key") || message.starts_with("key with no value") {
        return match line.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, "")) if is_key(key) => format!("a table begins with its name in brackets: write [{key}]"),
            Some((key, _)) if is_key(key) => format!("an equals sign stands between key and value: write {key} = …"),
            _ => "expected key = value, with a key of letters, digits, - and _".to_owned(),
        };
    }
    if message.starts_with("unclosed table") {
        return "the bracket that closes the name of the table is missing".to_owned();
    }
    if message.starts_with("unexpected leading zero") {
        return format!("a number does not begin with 0; write a text in quotes: {:?}", quote(word(rest)));
    }
    if message.starts_with("unexpected key or value") {
        let decimal = rest.starts_with(',') && before.ends_with(|c: char| c.is_ascii_digit());
        let hint = if decimal { "decimals have a point, as in 0.2" } else { "a comment begins with #" };
        return format!("unexpected text after the value; {hint}");
    }
    if message.starts_with("invalid basic string") || message.starts_with("invalid literal string") {
        return "the closing quotation mark is missing, or a backslash in the text is not doubled".to_owned();
    }
    if message.starts_with("carriage return") {
        return "the lines of this file end with a carriage return alone; save it with Unix line ends".to_owned();
    }
    message.to_owned()
}

/// A value that is not a number, a truth value, a date, a list or a table.
fn unquoted(found: &str) -> String {
    let bare =
        found.trim().trim_matches(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}', '\u{bb}']);
    match bare.to_ascii_lowercase().as_str() {
        "" => "a value is missing after the equals sign; to keep the default, remove the line".to_owned(),
        "yes" | "on" | "true" => "expected a value; write true".to_owned(),
        "no" | "off" | "false" => "expected a value; write false".to_owned(),
        _ if bare.len() < found.trim().len() => {
            format!("a text stands in straight quotation marks: {:?}", quote(bare))
        }
        _ => format!("a text stands in quotation marks: {:?}", quote(bare)),
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn word(text: &str) -> &str {
    text.split([' ', '\t', '#', ',', ']', '}']).next().unwrap_or_default()
}

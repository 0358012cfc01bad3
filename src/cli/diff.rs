//! The line-by-line difference of two texts, for display. JSON is indented first, with every number and string
//! unchanged, so that the changes in a one-line payload are visible.

use super::render::sanitize;
use crate::text::edit as text;
use serde::de::IgnoredAny;
use std::fmt::Write as _;

/// Number of lines shown around a change.
const AROUND: usize = 2;
/// Maximum product of line counts that is compared line by line; larger texts are shown as removed and added.
const MOST_COMPARED: usize = 4_000_000;

/// A line of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The lines that differ, with `-` and `+`, and some around them.
#[must_use]
pub(super) fn difference(old: &str, new: &str) -> String {
    let laid_out = (indented(old), indented(new));
    let (a, b) = match &laid_out {
        (Some(a), Some(b)) if a != b => (a.as_str(), b.as_str()),
        _ => (old, new),
    };
    let lines = compared(&a.lines().collect::<Vec<_>>(), &b.lines().collect::<Vec<_>>());
    let changed = |n: usize| !matches!(lines[n], Line::Same(_));
    let near = |n: usize| (n.saturating_sub(AROUND)..(n + AROUND + 1).min(lines.len())).any(changed);
    let mut shown = String::new();
    let mut left_out = false;
    for (n, line) in lines.iter().enumerate() {
        if !near(n) {
            left_out = true;
            continue;
        }
        if std::mem::take(&mut left_out) {
            shown.push_str("  …\n");
        }
        let (sign, text) = match line {
            Line::Same(text) => (' ', text),
            Line::Old(text) => ('-', text),
            Line::New(text) => ('+', text),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(shown, "{sign} {}", sanitize(text));
    }
    if left_out && !shown.is_empty() {
        shown.push_str("  …\n");
    }
    if shown.is_empty() && old != new {
        let _ = writeln!(shown, "  {}", text::only_blanks());
    }
    shown
}

/// The longest common subsequence, after the common beginning and end.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_mid, new_mid) = (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
    let mut lines: Vec<Line> = old[..start].iter().map(|text| Line::Same(text)).collect();
    lines.extend(between(old_mid, new_mid));
    lines.extend(old_rest[old_rest.len() - end..].iter().map(|text| Line::Same(text)));
    lines
}

fn between<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let all_of_both = || old.iter().map(|text| Line::Old(text)).chain(new.iter().map(|text| Line::New(text)));
    if old.len().saturating_mul(new.len()) > MOST_COMPARED {
        return all_of_both().collect();
    }
    // common[i][j]: how many lines old[i..] and new[j..] have in common, in order.
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            lines.push(Line::Old(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
    lines
}

/// Indents JSON with one name or element per line; literals are unchanged. `None` if the text is not valid JSON.
#[must_use]
pub(super) fn indented(text: &str) -> Option<String> {
    laid_out(text, true)
}

/// Removes insignificant whitespace from JSON. `None` if the text is not valid JSON.
#[must_use]
pub(super) fn compact(text: &str) -> Option<String> {
    laid_out(text, false)
}

fn laid_out(text: &str, lines: bool) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        if lines {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    let mut opened = false;
    for c in text.chars() {
        if in_string {
            in_string = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            out.push(c);
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if c.is_ascii_whitespace() {
            continue;
        }
        if std::mem::take(&mut opened) && !closes {
            line(&mut out, depth);
        } else if closes && !out.ends_with(['{', '[']) {
            line(&mut out, depth.saturating_sub(1));
        }
        out.push(c);
        match c {
            '"' => in_string = true,
            '{' | '[' => (depth, opened) = (depth + 1, true),
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' => line(&mut out, depth),
            ':' if lines => out.push(' '),
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_and_its_literals_stay() {
        let text = r#"{"a":[1.50,"x, {\"y\\"],"b":{},"c":[],"d":{"e":null}}"#;
        let laid = indented(text).expect("JSON");
        let expected = "{\n  \"a\": [\n    1.50,\n    \"x, {\\\"y\\\\\"\n  ],\n  \"b\": {},\n  \"c\": [],\n  \"d\": {\n    \"e\": null\n  }\n}";
        assert_eq!(laid, expected);
        assert_eq!(compact(&laid).as_deref(), Some(text));
        assert_eq!(indented("{not json"), None);
    }

    #[test]
    fn a_change_in_one_long_line_is_found() {
        let shown = difference(
            r#"{"sku":4711,"price":12.50,"a":1,"b":2,"c":3}"#,
            r#"{"sku":4712,"price":12.50,"a":1,"b":2,"c":3}"#,
        );
        assert_eq!(shown, "  {\n-   \"sku\": 4711,\n+   \"sku\": 4712,\n    \"price\": 12.50,\n    \"a\": 1,\n  …\n");
    }

    #[test]
    fn lines_that_move_or_come_are_told_and_foreign_text_commands_nothing() {
        assert_eq!(difference("a\nb\nc", "a\nx\nc\nd\x1b"), "  a\n- b\n+ x\n  c\n+ d\\u{1b}\n");
        assert_eq!(difference("", "new"), "+ new\n");
        assert_eq!(difference("{\"a\":1}", "{\"a\": 1}"), "- {\"a\":1}\n+ {\"a\": 1}\n");
        assert_eq!(difference("a\n", "a"), "  (only line ends or blanks differ)\n");
        assert_eq!(difference("a", "a"), "");
    }
}

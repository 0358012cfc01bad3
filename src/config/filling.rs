//! The value of a header that is filled from the response of a login: `Bearer {/access_token}`, `{cookie:csrftoken}`,
//! `Session {base64:till:{/result/0}:{/result/1}}`. Parsed once, so that a brace that is never closed is a
//! problem of the configuration and not of every request.

use super::value::pointer;
use std::fmt;

/// A header's value, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filling(pub Vec<Part>);

/// A part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that is copied.
    Literal(String),
    /// `{/access_token}`: the string, number or boolean at this JSON pointer of the response.
    Pointer(String),
    /// `{cookie:csrftoken}`: the value of a cookie that the response sets.
    Cookie(String),
    /// `{base64:…}`: its content in base64.
    Base64(Filling),
}

impl Filling {
    /// Reads one. A brace that opens none of the three is literal text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (filling, rest) = Self::read(text, false)?;
        debug_assert!(rest.is_empty(), "only what is inside braces ends before the text does");
        Ok(filling)
    }

    /// Parses up to the end, or inside `{base64:` up to the closing brace. Returns what follows it, too.
    fn read(text: &str, inside: bool) -> Result<(Self, &str), String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        let whole = |mut parts: Vec<Part>, literal: String| {
            parts.extend((!literal.is_empty()).then_some(Part::Literal(literal)));
            Self(parts)
        };
        while let Some(c) = rest.chars().next() {
            if inside && c == '}' {
                return Ok((whole(parts, literal), &rest[1..]));
            }
            let Some((part, behind)) = Self::place(rest)? else {
                literal.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
            rest = behind;
        }
        if inside { Err("{base64: is never closed".to_owned()) } else { Ok((whole(parts, literal), rest)) }
    }

    /// The placeholder at the beginning of a text, if there is one, and what follows it.
    fn place(text: &str) -> Result<Option<(Part, &str)>, String> {
        if let Some(inner) = text.strip_prefix("{base64:") {
            let (filling, behind) = Self::read(inner, true)?;
            return Ok(Some((Part::Base64(filling), behind)));
        }
        let (cookie, inner) = match (text.strip_prefix("{cookie:"), text.strip_prefix('{')) {
            (Some(inner), _) => (true, inner),
            (None, Some(inner)) if inner.starts_with('/') => (false, inner),
            _ => return Ok(None),
        };
        let (name, behind) = inner.split_once('}').ok_or("a brace is never closed")?;
        if !cookie {
            return Ok(Some((Part::Pointer(pointer(name)?), behind)));
        }
        if name.is_empty() || name.bytes().any(|b| b <= b' ' || b == b'=' || b == b';' || b > b'~') {
            return Err(format!("{name:?} is not a cookie's name"));
        }
        Ok(Some((Part::Cookie(name.to_owned()), behind)))
    }
}

impl fmt::Display for Filling {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Pointer(pointer) => write!(f, "{{{pointer}}}"),
            Part::Cookie(name) => write!(f, "{{cookie:{name}}}"),
            Part::Base64(inner) => write!(f, "{{base64:{inner}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_written_alike() {
        let literal = |text: &str| Part::Literal(text.to_owned());
        let inner = Filling(vec![
            literal("till:"),
            Part::Pointer("/result/0".to_owned()),
            literal(":"),
            Part::Pointer("/result/1".to_owned()),
        ]);
        let cases = [
            ("Bearer {/access_token}", vec![literal("Bearer "), Part::Pointer("/access_token".to_owned())]),
            ("{cookie:csrftoken}", vec![Part::Cookie("csrftoken".to_owned())]),
            (
                "Session {base64:till:{/result/0}:{/result/1}}.",
                vec![literal("Session "), Part::Base64(inner), literal(".")],
            ),
            ("{a}{} }", vec![literal("{a}{} }")]),
        ];
        for (text, parts) in cases {
            let read = Filling::parse(text).expect("it is sound");
            assert_eq!(read, Filling(parts));
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_is_never_closed_is_an_error() {
        for text in ["{/a", "{cookie:a", "{base64:a", "{base64:{/a}", "{cookie:}", "{cookie:a b}"] {
            assert!(Filling::parse(text).is_err(), "{text}");
        }
    }
}

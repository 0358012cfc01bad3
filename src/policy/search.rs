//! Does the body of a response contain a text? For the condition `contains` of an answer rule.
//!
//! The same words are sent in many ways: in the charset of the content type or in another one, with `\u00e1` by PHP's
//! `json_encode`, with `&aacute;` or `&#225;` in a page. A text that is found in one of these readings is there. It is
//! missing only if the charset is certain; otherwise the condition cannot be evaluated.

use crate::policy::body::{self, Body};
use std::borrow::Cow;

/// Charsets that the agent cannot decode, and in which ASCII is written as in ASCII.
const LIKE_ASCII: [&str; 10] =
    ["iso-8859-", "iso8859-", "iso_8859-", "windows-", "cp125", "koi8-", "euc-", "shift_jis", "gb", "big5"];

/// Returns whether the body contains the text, or why this is not known.
pub(super) fn contains(body: &Body, wanted: &str) -> Result<bool, String> {
    let answer = body.answer();
    if readings(body).iter().any(|text| text.contains(wanted) || unescaped(text).contains(wanted)) {
        return Ok(true);
    }
    // A missing text may be in the part of the body that was not read.
    if body::coding(answer).is_some() || answer.cut_off {
        return Err("the whole text of its body was not read".to_owned());
    }
    match body::text(answer) {
        Ok(text) if !wanted.is_ascii() && text.chars().any(is_combining) => {
            Err("its body has letters and accents as separate characters".to_owned())
        }
        Ok(_) => Ok(false),
        Err(_) if wanted.is_ascii() && is_like_ascii(body) => Ok(false),
        Err(why) => Err(why),
    }
}

/// The body in each charset that it may have.
fn readings<'b>(body: &'b Body) -> Vec<Cow<'b, str>> {
    let bytes = body.answer().body.as_slice();
    let mut readings: Vec<Cow<str>> = body::text(body.answer()).into_iter().collect();
    readings.extend(std::str::from_utf8(bytes).map(Cow::Borrowed));
    if bytes.contains(&0) {
        let (pairs, _) = bytes.as_chunks::<2>();
        for read in [u16::from_le_bytes, u16::from_be_bytes] {
            let units: Vec<u16> = pairs.iter().map(|pair| read(*pair)).collect();
            readings.push(Cow::Owned(String::from_utf16_lossy(&units)));
        }
    } else {
        readings.push(body::windows_1252(bytes));
    }
    readings
}

/// Returns whether ASCII is found in the bytes of the body, whatever else is in it.
fn is_like_ascii(body: &Body) -> bool {
    let answer = body.answer();
    let known = match body::charset(answer).as_deref() {
        None | Some("utf-8" | "utf8") => true,
        Some(charset) => LIKE_ASCII.iter().any(|known| charset.starts_with(known)),
    };
    known && !answer.body.contains(&0)
}

fn is_combining(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// The text with the escapes of JSON strings and the references of HTML and XML replaced.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '&']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (read, length) = if rest.starts_with('\\') { escape(rest) } else { reference(rest) }.unwrap_or_else(|| {
            let first = rest.chars().next().unwrap_or_default();
            (first, first.len_utf8())
        });
        out.push(read);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character of a JSON escape at the beginning, and the length of the escape.
fn escape(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let plain = match text[1..].chars().next()? {
        'u' => {
            let first = unit(0)?;
            let pair = unit(6).and_then(|second| char::decode_utf16([first, second]).next()?.ok());
            let alone = char::decode_utf16([first]).next()?.ok();
            return alone.map(|c| (c, 6)).or(pair.map(|c| (c, 12)));
        }
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        same @ ('"' | '\\' | '/') => same,
        _ => return None,
    };
    Some((plain, 2))
}

/// The character of an HTML or XML reference at the beginning, and the length of the reference.
fn reference(text: &str) -> Option<(char, usize)> {
    /// The references of U+00A0 to U+00FF, in their order.
    const LATIN: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 \
        sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml \
        Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml \
        times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil \
        egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash \
        ugrave uacute ucirc uuml yacute thorn yuml";
    const LONGEST: usize = 10;
    let name = text.get(1..)?.split_once(';').map(|(name, _)| name).filter(|name| name.len() <= LONGEST)?;
    let number = |text: &str, radix| u32::from_str_radix(text, radix).ok().and_then(char::from_u32);
    let read = match (name, name.strip_prefix('#')) {
        (_, Some(code)) => match code.strip_prefix(['x', 'X']) {
            Some(hex) => number(hex, 16),
            None => number(code, 10),
        },
        ("amp", _) => Some('&'),
        ("lt", _) => Some('<'),
        ("gt", _) => Some('>'),
        ("quot", _) => Some('"'),
        ("apos", _) => Some('\''),
        ("euro", _) => Some('€'),
        (name, None) => LATIN.split(' ').zip('\u{a0}'..='\u{ff}').find(|(known, _)| *known == name).map(|(_, c)| c),
    };
    Some((read?, name.len() + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ending::Answer;

    fn answer(kind: &str, body: &[u8]) -> Answer {
        let content_type = (!kind.is_empty()).then(|| kind.to_owned());
        Answer { status: 200, content_type, body: body.to_vec(), ..Answer::default() }
    }

    fn sought(kind: &str, body: &[u8], wanted: &str) -> Result<bool, String> {
        contains(&Body::of(&answer(kind, body)), wanted)
    }

    fn utf16(text: &str, write: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(write).collect()
    }

    #[test]
    fn a_text_is_found_in_every_charset_and_way_of_writing() {
        let refused = "no está autorizado: año 2026 €";
        let latin = b"no est\xe1 autorizado: a\xf1o 2026 \x80";
        let (little, big) = (utf16(refused, u16::to_le_bytes), utf16(refused, u16::to_be_bytes));
        let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(little.iter().copied()).collect();
        let bodies: [&[u8]; 8] = [
            refused.as_bytes(),
            latin,
            &little,
            &big,
            &marked,
            br#"{"error":"no est\u00e1 autorizado: a\u00F1o 2026 \u20ac"}"#,
            b"<b>no est&aacute; autorizado: a&ntilde;o 2026 &euro;</b>",
            b"<b>no est&#225; autorizado: a&#xF1;o 2026 &#8364;</b>",
        ];
        for body in bodies {
            // Many servers name a charset that they do not use.
            for kind in
                ["", "text/html", "text/plain; charset=utf-8", "text/plain; charset=iso-8859-1", "a/b; charset=x"]
            {
                for wanted in ["está", "año 2026 €", "autorizado", refused] {
                    assert_eq!(
                        sought(kind, body, wanted),
                        Ok(true),
                        "{kind} {wanted} {}",
                        String::from_utf8_lossy(body)
                    );
                }
            }
        }
        assert_eq!(
            sought("", br#"{"u":"https:\/\/hq\/sales","e":"\ud83d\ude00 \"x\""}"#, "https://hq/sales"),
            Ok(true)
        );
        assert_eq!(sought("", br#"{"e":"\ud83d\ude00 \"x\""}"#, "😀 \"x\""), Ok(true));
    }

    #[test]
    fn a_text_is_missing_only_where_the_charset_is_certain() {
        for (kind, body) in [
            ("", &b"OK"[..]),
            ("", "añadido".as_bytes()),
            ("text/plain; charset=iso-8859-1", b"a\xf1adido"),
            ("text/plain; charset=utf-16le", &utf16("añadido", u16::to_le_bytes)),
        ] {
            assert_eq!(sought(kind, body, "está"), Ok(false), "{kind}");
            assert_eq!(sought(kind, body, "error"), Ok(false), "{kind}");
        }
        // ASCII is certain in bytes of many charsets, another text is not.
        for (kind, body) in [
            ("", &b"a\xa4adido"[..]),
            ("text/plain; charset=iso-8859-2", b"a\xf1"),
            ("a/b; charset=shift_jis", b"\x83"),
        ] {
            assert_eq!(sought(kind, body, "error"), Ok(false), "{kind}");
            assert!(sought(kind, body, "está").is_err(), "{kind}");
        }
        for (kind, body) in
            [("a/b; charset=utf-7", &b"OK"[..]), ("a/b; charset=cp037", b"\xd6\xd2"), ("", b"\0\xd8\xff")]
        {
            assert!(sought(kind, body, "error").is_err(), "{kind}");
        }
        assert!(sought("", "an\u{303}o".as_bytes(), "año").is_err(), "an accent of its own");
        for kind in ["", "text/html; charset=iso-8859-1"] {
            assert!(sought(kind, b"\x1f\x8b\x08\x08zipped", "error").is_err(), "gzip that is not named: {kind}");
        }
        let cut = Answer { cut_off: true, ..answer("", b"begin") };
        assert!(contains(&Body::of(&cut), "error").is_err());
    }

    #[test]
    fn odd_escapes_stay_as_they_are() {
        for odd in ["\\", "\\u00", "\\ud800", "&", "&;", "&#;", "&#x110000;", "&nothing;", "\\u+0e1", "é\\é"] {
            assert_eq!(unescaped(odd), odd);
        }
        assert_eq!(unescaped("a\\n&amp;\\u00e9&yuml;&nbsp;"), "a\n&éÿ\u{a0}");
    }
}

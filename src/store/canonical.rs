//! The canonical form of a JSON value, so that two texts of the same value have the same digest: whitespace, the order
//! of an object's members, escapes in strings and the notation of numbers do not matter. Numbers are compared as
//! decimals of any length, because as floating point two different amounts could become equal.
//!
//! The form is used for digests only. The original text is what is stored and sent.

use serde::de::IgnoredAny;

/// The canonical form of a JSON text; `None` if it is not valid JSON.
pub(super) fn canonical(text: &str) -> Option<Vec<u8>> {
    // This limits the depth as well.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    let mut form = Vec::with_capacity(text.len());
    reader.value(&mut form);
    Some(form)
}

/// Reads a text that is known to be valid JSON.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> u8 {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied().unwrap_or_default()
    }

    fn value(&mut self, form: &mut Vec<u8>) {
        match self.peek() {
            b'{' => self.object(form),
            b'[' => self.array(form),
            b'"' => form.extend(self.string()),
            _ => self.scalar(form),
        }
    }

    /// Members sorted by name; those of the same name keep their order.
    fn object(&mut self, form: &mut Vec<u8>) {
        let mut members = Vec::new();
        self.at += 1;
        while self.peek() == b'"' {
            let name = self.string();
            self.peek();
            self.at += 1; // Skips the colon.
            let mut value = Vec::new();
            self.value(&mut value);
            members.push((name, value));
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        members.sort_by(|a, b| a.0.cmp(&b.0));
        form.push(b'{');
        members.into_iter().for_each(|(name, value)| form.extend(name.into_iter().chain(value)));
        form.push(b'}');
    }

    fn array(&mut self, form: &mut Vec<u8>) {
        form.push(b'[');
        self.at += 1;
        while self.peek() != b']' {
            self.value(form);
            if self.peek() == b',' {
                self.at += 1;
                form.push(b',');
            }
        }
        self.at += 1;
        form.push(b']');
    }

    /// A string as its length in bytes and its UTF-8; an unpaired surrogate becomes the three bytes that UTF-8 would
    /// have for it.
    fn string(&mut self) -> Vec<u8> {
        let mut units: Vec<u8> = Vec::new();
        self.at += 1;
        loop {
            match self.next() {
                b'"' => break,
                b'\\' => self.escape(&mut units),
                byte => units.push(byte),
            }
        }
        let mut form = format!("\"{}:", units.len()).into_bytes();
        form.append(&mut units);
        form
    }

    fn next(&mut self) -> u8 {
        self.at += 1;
        self.text.get(self.at - 1).copied().unwrap_or(b'"')
    }

    fn escape(&mut self, units: &mut Vec<u8>) {
        let code = match self.next() {
            b'u' => self.surrogates(),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            other => u32::from(other),
        };
        if let Some(c) = char::from_u32(code) {
            units.extend(c.encode_utf8(&mut [0; 4]).bytes());
        } else {
            let low = |shift: u32| u8::try_from((code >> shift) & 0x3f).unwrap_or_default() | 0x80;
            units.extend([0xe0 | u8::try_from(code >> 12).unwrap_or_default(), low(6), low(0)]);
        }
    }

    /// The code after `\u`, combined with the second half of its pair if there is one.
    fn surrogates(&mut self) -> u32 {
        let first = self.hex();
        let rest = self.text.get(self.at..self.at + 2);
        if !(0xd800..0xdc00).contains(&first) || rest != Some(b"\\u") {
            return first;
        }
        let back = self.at;
        self.at += 2;
        let second = self.hex();
        if (0xdc00..0xe000).contains(&second) {
            return 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        }
        self.at = back;
        first
    }

    fn hex(&mut self) -> u32 {
        let digits = self.text.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        self.at += 4;
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default()
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self, form: &mut Vec<u8>) {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b"+-.".contains(b))).unwrap_or(rest.len());
        self.at += end.max(1);
        let word = &rest[..end];
        match std::str::from_utf8(word).ok().filter(|word| !word.starts_with(char::is_alphabetic)).and_then(number) {
            Some(number) => form.extend(number.bytes()),
            None => form.extend(word),
        }
    }
}

/// A number as its digits without leading and trailing zeros, and its exponent; `None` if the exponent overflows.
fn number(text: &str) -> Option<String> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let exponent =
        exponent.parse::<i64>().ok()?.checked_add(zeros)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    Some(format!("{sign}{significant}e{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_one_value_have_one_form() {
        for (a, b) in [
            (r#"{"a":1,"b":[1,2]}"#, "{ \"b\" : [1 ,2],\n\"a\":1 }"),
            ("12.50", "12.5"),
            ("1e2", "100"),
            ("-0.0", "0"),
            ("0.0120E1", "12e-2"),
            (r#""\u00e9\/\ud83d\ude00\n""#, "\"é/😀\\u000a\""),
            (r#"{"a":{},"b":[]}"#, r#"{"b":[ ],"a":{ }}"#),
        ] {
            assert_eq!(canonical(a), canonical(b), "{a} {b}");
            assert!(canonical(a).is_some());
        }
    }

    #[test]
    fn different_values_have_different_forms() {
        let values = [
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "12.5",
            "1.25",
            "0.30000000000000004",
            "0.3",
            "9007199254740993",
            "9007199254740992",
            "1e999999999999999999999",
            "\"\"",
            "\"1\"",
            "\"null\"",
            r#""\ud800""#,
            r#""\ud801""#,
            r#""\udc00\ud800""#,
            "\"\u{fffd}\"",
            "[]",
            "{}",
            "[[]]",
            "[1,2]",
            "[2,1]",
            "[12]",
            "[\"1\",2]",
            r#"{"a":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":[{"b":1}]}"#,
            r#"{"a":"b"}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a1":"","b":2}"#,
        ];
        let forms: std::collections::BTreeSet<_> = values.iter().map(|text| canonical(text).expect(text)).collect();
        assert_eq!(forms.len(), values.len());
        for wrong in ["", "{", "[1,]", "01", "{\"a\":1} x", &"[".repeat(5000)] {
            assert_eq!(canonical(wrong), None, "{}", &wrong[..wrong.len().min(20)]);
        }
    }
}

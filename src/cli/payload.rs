//! Reads a payload from a file, detects its type, and adds it to a request.
//!
//! The type is detected from the content, unless `--payload-type` sets it. Invalid JSON would otherwise be stored as
//! text, and rejected by the head office much later; so it is an error here.

use super::Failure;
use crate::record::PayloadKind;
use crate::text::payload::{self as text, Unfit};
use clap::ValueEnum;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// What a payload's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PayloadType {
    /// JSON, sent byte for byte.
    Json,
    /// A text in UTF-8.
    Text,
    /// Any bytes, sent unchanged.
    Bytes,
}

/// A payload in memory.
pub type Payload = (String, PayloadKind);

/// Reads a payload from a file; `-` is standard input.
pub fn read(file: &Path, given: Option<PayloadType>) -> Result<Payload, Failure> {
    let reading = |error: io::Error| Failure::Usage(text::reading(file.display(), error));
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(reading)?;
        bytes
    } else {
        fs::read(file).map_err(reading)?
    };
    judged(bytes, given).map_err(|why| Failure::Usage(text::unfit(&why, file.display())))
}

/// Detects the type, or returns why the content is invalid for the given type.
fn judged(bytes: Vec<u8>, given: Option<PayloadType>) -> Result<Payload, Unfit> {
    if given == Some(PayloadType::Bytes) {
        let (encoded, kind) = PayloadKind::of_bytes(&bytes);
        return Ok((encoded.into_owned(), kind));
    }
    let text = String::from_utf8(bytes).map_err(|error| Unfit::NotUtf8(error.utf8_error().valid_up_to()))?;
    if given == Some(PayloadType::Text) {
        return Ok((text, PayloadKind::Text));
    }
    let Err(error) = serde_json::from_str::<IgnoredAny>(&text) else { return Ok((text, PayloadKind::Json)) };
    let unmarked = text.trim_start_matches('\u{feff}');
    if given == Some(PayloadType::Json) {
        return Err(Unfit::NotJson(error.to_string()));
    }
    if unmarked.trim().is_empty() {
        return Err(Unfit::Empty);
    }
    if unmarked.trim_start().starts_with(['{', '[']) {
        let marked = unmarked.len() < text.len();
        return Err(if marked { Unfit::ByteOrderMark } else { Unfit::BrokenJson(error.to_string()) });
    }
    Ok((text, PayloadKind::Text))
}

/// Adds the payload to a request. JSON is sent as a string too, because a protocol line cannot contain its newlines.
pub fn put_into(request: &mut Map<String, Value>, (kept, kind): &Payload) {
    let name = if *kind == PayloadKind::Bytes { "payload_base64" } else { "payload" };
    request.insert(name.to_owned(), json!(kept));
    request.insert("payload_kind".to_owned(), json!(kind.as_str()));
}

/// The payload of the failure in a reply.
#[must_use]
pub fn of(failure: &Value) -> Option<Payload> {
    let kind = PayloadKind::parse(failure["payload_kind"].as_str()?)?;
    let name = if kind == PayloadKind::Bytes { "payload_base64" } else { "payload" };
    Some((failure[name].as_str()?.to_owned(), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_contents_are() {
        let kind = |bytes: &[u8]| judged(bytes.to_vec(), None).map(|(_, kind)| kind);
        for json in ["{\"a\": 1}\n", "[]", "12.50", "null", "\"x\""] {
            assert_eq!(kind(json.as_bytes()), Ok(PayloadKind::Json), "{json}");
        }
        for text in ["<a/>", "\u{feff}<a/>", "ISA*00", "hello"] {
            assert_eq!(kind(text.as_bytes()), Ok(PayloadKind::Text), "{text}");
        }
        for (wrong, said) in [
            (&b"{\"sku\":\"A2\",}"[..], "line 1 column 13"),
            (b"", "empty"),
            (b" \n", "empty"),
            (b"\xef\xbb\xbf", "empty"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (b"<a>\xe9</a>", "--payload-type bytes"),
            (b"\xff\xfe{\0}\0", "--payload-type bytes"),
        ] {
            let why = text::unfit(&kind(wrong).expect_err("it is refused"), "FILE");
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn what_is_said_of_it_counts() {
        let read = |bytes: &[u8], given| judged(bytes.to_vec(), Some(given)).ok();
        assert_eq!(read(b"{,}", PayloadType::Text), Some(("{,}".into(), PayloadKind::Text)));
        assert_eq!(read(b"", PayloadType::Text), Some((String::new(), PayloadKind::Text)));
        assert_eq!(read(b"\xe9", PayloadType::Bytes), Some(("6Q==".into(), PayloadKind::Bytes)));
        assert_eq!(read(b"{,}", PayloadType::Json), None);
        assert_eq!(read(b"\xe9", PayloadType::Text), None);
    }
}

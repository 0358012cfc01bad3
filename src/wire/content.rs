//! The fields that describe a failure's content, wherever they occur: names, keys and the payload.

use super::fields::{Fields, Rejection, string};
use crate::limits::{MAX_IDEMPOTENCY_KEY, MAX_KEY, MAX_NAME};
use crate::record::PayloadKind;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// An entity type or an action.
pub(super) fn name<'a>(fields: &mut Fields<'a>, field: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    if (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control) && text.trim() == text {
        return Ok(Some(text));
    }
    Err(Rejection::field(
        field,
        format!(
            "{field} must be 1 to {MAX_NAME} characters, none of them a control character, with no blank at either end"
        ),
    ))
}

/// An entity id or an order key.
pub(super) fn key<'a>(fields: &mut Fields<'a>, field: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let text = if field == "entity_id" { fields.text_or_integer(field)? } else { fields.text(field)? };
    let Some(text) = text else { return Ok(None) };
    let length = text.chars().take(MAX_KEY + 1).count();
    if (1..=MAX_KEY).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(Some(text));
    }
    Err(Rejection::field(field, format!("{field} must be 1 to {MAX_KEY} characters, none of them a control character")))
}

pub(super) fn idempotency_key<'a>(fields: &mut Fields<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
    const FIELD: &str = "idempotency_key";
    let Some(text) = fields.text(FIELD)? else { return Ok(None) };
    if (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Some(text));
    }
    Err(Rejection::field(FIELD, format!("{FIELD} must be 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters")))
}

/// A payload in any form, and its kind: a string is kept as its contents, unless `payload_kind` declares them to be
/// JSON; any other value is kept as its text, byte for byte; `payload_base64` holds arbitrary bytes.
pub(super) fn payload<'a>(
    fields: &mut Fields<'a>,
    most: usize,
) -> Result<Option<(Cow<'a, str>, PayloadKind)>, Rejection> {
    let unknown = || Rejection::field("payload_kind", "payload_kind must be json, text or bytes");
    let kind = fields.text("payload_kind")?.map(|kind| PayloadKind::parse(&kind).ok_or_else(unknown)).transpose()?;
    let encoded = fields.text("payload_base64")?;
    let plain = plain_payload(fields)?;
    let (payload, bytes) = match (plain, encoded, kind) {
        (None, None, _) => return Ok(None),
        (Some(_), Some(_), _) => {
            return Err(Rejection::field("payload_base64", "payload and payload_base64 exclude each other"));
        }
        (None, Some(encoded), None | Some(PayloadKind::Bytes)) => {
            let wrong = || Rejection::field("payload_base64", "payload_base64 is not base64");
            let bytes = decoded(&encoded).ok_or_else(wrong)?;
            (PayloadKind::of_bytes(&bytes), bytes.len())
        }
        (None, Some(_), Some(_)) => {
            return Err(Rejection::field("payload_kind", "what payload_base64 stands for is of the kind bytes"));
        }
        (Some(_), None, Some(PayloadKind::Bytes)) => {
            return Err(Rejection::field("payload_kind", "a payload of the kind bytes belongs in payload_base64"));
        }
        (Some((text, PayloadKind::Text)), None, Some(PayloadKind::Json)) => {
            if serde_json::from_str::<IgnoredAny>(&text).is_err() {
                return Err(Rejection::field("payload", "payload is not valid JSON, although payload_kind says so"));
            }
            let bytes = text.len();
            ((text, PayloadKind::Json), bytes)
        }
        (Some((text, kind)), None, _) => {
            let bytes = text.len();
            ((text, kind), bytes)
        }
    };
    if bytes > most {
        return Err(Rejection::field("payload", format!("payload has {bytes} bytes; limits.max_payload is {most}")));
    }
    Ok(Some(payload))
}

fn plain_payload<'a>(fields: &mut Fields<'a>) -> Result<Option<(Cow<'a, str>, PayloadKind)>, Rejection> {
    let Some(value) = fields.raw("payload") else { return Ok(None) };
    if !value.get().starts_with('"') {
        return Ok(Some((Cow::Borrowed(value.get()), PayloadKind::Json)));
    }
    let wrong = "payload is not valid Unicode text; other bytes belong in payload_base64";
    let text = string(value).ok_or_else(|| Rejection::field("payload", wrong))?;
    Ok(Some((text, PayloadKind::Text)))
}

/// The bytes of a base64 text, with or without padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    ENGINE.decode(text).ok()
}

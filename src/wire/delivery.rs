//! The request for a failure: method, URL, headers and body as configured by its route. The body is the same on
//! every attempt; anything that changes is in headers.
//!
//! Secrets are not included: the request names the file of each, and the sender inserts its current content.

use super::envelope::{USER_AGENT, envelope, quoted};
use crate::config::route::{Body, OnUnsure, Route, Verify};
use crate::config::template::{Form, Language, Piece, Template, Value};
use crate::config::upstream::{Authorization, Upstream};
use crate::config::value::same_server;
use crate::record::{Failure, PayloadKind, wire_time};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::fmt::Write;
use std::path::PathBuf;

/// A request that is complete except for its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `POST`, …
    pub method: &'static str,
    /// The absolute URL.
    pub url: String,
    /// In this order; texts are visible ASCII.
    pub headers: Vec<(String, HeaderValue)>,
    /// The body in parts.
    pub body: Vec<BodyPart>,
    /// Whether it may use an open connection. Such a connection may end just as the request is written, and then it
    /// is unknown whether the request arrived.
    pub reuse: bool,
    /// Whether the response's body is read completely, not only its beginning.
    pub reads_body: bool,
}

impl HttpRequest {
    /// A request without a body and without the agent's headers, such as a probe.
    #[must_use]
    pub fn bare(method: &'static str, url: &str) -> Self {
        Self { method, url: url.to_owned(), headers: Vec::new(), body: Vec::new(), reuse: true, reads_body: false }
    }
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// This text.
    Text(String),
    /// The content of this file.
    File(PathBuf),
    /// `Bearer` and the content of this file.
    Bearer(PathBuf),
    /// `Basic` and the content of this file in base64.
    Basic(PathBuf),
}

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The content of the credential with this name.
    Secret(String),
}

/// The request that delivers a failure, or why it cannot be built.
pub fn request(failure: &Failure, upstream: &Upstream, route: Option<&Route>) -> Result<HttpRequest, String> {
    let (method, url, body, content_type) = match route {
        None => ("POST", upstream.url.clone(), whole(envelope(failure)), Some("application/json")),
        Some(route) => {
            let (body, has_body) = match &route.body {
                Body::Envelope => (whole(envelope(failure)), true),
                Body::Payload => (whole(payload_bytes(failure).into_owned()), true),
                Body::Template(template) => (filled(failure, template, &route.content_type)?, true),
                Body::None => (Vec::new(), false),
            };
            let content_type = has_body.then_some(route.content_type.as_str());
            (route.method.as_str(), address(failure, upstream, &route.path)?, body, content_type)
        }
    };
    let mut headers = Vec::new();
    let mut put = |name: &str, value: HeaderValue| headers.push((name.to_owned(), value));
    if let Some(content_type) = content_type {
        put("Content-Type", HeaderValue::Text(content_type.to_owned()));
    }
    if let Some(name) = &upstream.idempotency_header {
        // A key is visible ASCII, and is sent as the application gave it, percent signs included.
        put(name, HeaderValue::Text(encoded(failure.key(), |byte| byte.is_ascii_graphic())));
    }
    put("Resync-Id", text(failure.id.as_str()));
    put("Resync-Entity-Type", text(&failure.entity_type));
    put("Resync-Entity-Id", text(&failure.entity_id));
    put("Resync-Action", text(&failure.action));
    put("Resync-Attempt", HeaderValue::Text((failure.attempts + 1).to_string()));
    put("Resync-Terminal", text(&failure.terminal_id));
    if let Some(store) = &failure.store_id {
        put("Resync-Store", text(store));
    }
    headers.extend(credentials(upstream));
    let own = route.map(|route| route.headers.as_slice()).unwrap_or_default();
    headers.extend(own.iter().map(|(name, value)| (name.clone(), HeaderValue::Text(value.clone()))));
    // If an unsure attempt requires verification or an operator, there must be as few of them as possible.
    let reuse = route.is_none_or(|route| route.on_unsure == OnUnsure::Resend);
    Ok(HttpRequest { method, url, headers, body, reuse, reads_body: upstream.reads_bodies() })
}

/// The request that verifies whether a failure has arrived.
pub fn verification(
    failure: &Failure,
    upstream: &Upstream,
    route: &Route,
    verify: &Verify,
) -> Result<HttpRequest, String> {
    let url = address(failure, upstream, &verify.path)?;
    let mut headers = credentials(upstream);
    let body = match &verify.template {
        Some(template) => filled(failure, template, &route.content_type)?,
        None => Vec::new(),
    };
    if !body.is_empty() {
        headers.push(("Content-Type".to_owned(), HeaderValue::Text(route.content_type.clone())));
    }
    Ok(HttpRequest { method: verify.method.as_str(), url, headers, body, reuse: false, reads_body: true })
}

/// The headers of every request to an upstream.
#[must_use]
pub fn credentials(upstream: &Upstream) -> Vec<(String, HeaderValue)> {
    let mut headers = vec![("User-Agent".to_owned(), HeaderValue::Text(USER_AGENT.to_owned()))];
    match &upstream.credentials.authorization {
        Authorization::None => {}
        Authorization::Token(file) => headers.push(("Authorization".to_owned(), HeaderValue::Bearer(file.clone()))),
        Authorization::Basic(file) => headers.push(("Authorization".to_owned(), HeaderValue::Basic(file.clone()))),
    }
    let plain = upstream.credentials.headers.iter();
    headers.extend(plain.map(|(name, value)| (name.clone(), HeaderValue::Text(value.clone()))));
    let files = upstream.credentials.header_files.iter();
    headers.extend(files.map(|(name, file)| (name.clone(), HeaderValue::File(file.clone()))));
    headers
}

fn whole(bytes: Vec<u8>) -> Vec<BodyPart> {
    vec![BodyPart::Bytes(bytes)]
}

/// The original payload, in any encoding.
fn payload_bytes(failure: &Failure) -> Cow<'_, [u8]> {
    failure.payload.as_ref().map_or_else(Cow::default, |(kept, kind)| kind.bytes_of(kept))
}

fn payload(failure: &Failure) -> Option<Cow<'_, str>> {
    failure.payload.as_ref().map(|(text, _)| Cow::Borrowed(text.as_str()))
}

/// The value of a placeholder; `None` if the failure has none.
fn value(failure: &Failure, value: Value) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Payload => return payload(failure),
        Value::EntityType => Cow::Borrowed(failure.entity_type.as_str()),
        Value::EntityId => Cow::Borrowed(failure.entity_id.as_str()),
        Value::Action => Cow::Borrowed(failure.action.as_str()),
        Value::Id => Cow::Borrowed(failure.id.as_str()),
        Value::Key => Cow::Borrowed(failure.key()),
        Value::CreatedAt => Cow::Owned(wire_time(&failure.created_at)),
        Value::TerminalId => Cow::Borrowed(failure.terminal_id.as_str()),
        Value::StoreId => return failure.store_id.as_deref().map(Cow::Borrowed),
    })
}

fn filled(failure: &Failure, template: &Template, content_type: &str) -> Result<Vec<BodyPart>, String> {
    let language = template.language(content_type);
    let alone = template.0.len() == 1;
    let (mut parts, mut bytes) = (Vec::new(), Vec::new());
    for piece in &template.0 {
        match piece {
            Piece::Literal(text) => bytes.extend_from_slice(text.as_bytes()),
            Piece::Secret(name) => {
                parts.push(BodyPart::Bytes(std::mem::take(&mut bytes)));
                parts.push(BodyPart::Secret(name.clone()));
            }
            Piece::Value(Value::Payload, form) if *form != Form::Base64 && is_bytes(failure) => {
                if *form != Form::Raw || (language == Language::Json && !alone) {
                    return Err("the payload is bytes: the route's template needs {payload:base64}".to_owned());
                }
                bytes.extend_from_slice(&payload_bytes(failure));
            }
            Piece::Value(of, form) => {
                let whole = alone || language != Language::Json;
                let text = put_in(failure, (*of, *form), language, whole)?;
                // A payload as it is, of a form, is the whole form.
                let is_form = (*of, *form) == (Value::Payload, Form::Raw);
                let text = if language == Language::Urlencoded && !is_form { url_encoded(&text) } else { text };
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
    parts.push(BodyPart::Bytes(bytes));
    Ok(parts)
}

fn is_bytes(failure: &Failure) -> bool {
    matches!(failure.payload, Some((_, PayloadKind::Bytes)))
}

/// Formats a value. Only a raw payload could end the string or element that contains it; it has to be valid JSON
/// inside JSON, unless it is the `whole` body.
fn put_in(
    failure: &Failure,
    (of, form): (Value, Form),
    language: Language,
    whole: bool,
) -> Result<Cow<'_, str>, String> {
    let text = value(failure, of);
    Ok(match (text, form) {
        // A missing value is null where JSON is required, and empty elsewhere.
        (None, Form::JsonString) => Cow::Borrowed("null"),
        (None, Form::Raw) if of == Value::Payload => Cow::Borrowed("null"),
        (text, Form::Members) => Cow::Owned(members(text.as_deref().unwrap_or_default())?.to_owned()),
        (None, _) => Cow::Borrowed(""),
        (Some(text), Form::Raw) if of == Value::Payload => {
            if !whole && serde_json::from_str::<IgnoredAny>(&text).is_err() {
                return Err("the payload is not valid JSON: the route's template needs {payload:string}".to_owned());
            }
            text
        }
        (Some(text), Form::Raw) => escaped(text, language),
        (Some(text), Form::Lower) => escaped(Cow::Owned(text.to_lowercase()), language),
        (Some(text), Form::JsonString) if language == Language::Xml => Cow::Owned(xml(&quoted(&text))),
        (Some(text), Form::JsonString) => Cow::Owned(quoted(&text)),
        (Some(text), Form::Xml) if language == Language::Json => escaped(Cow::Owned(xml(&text)), language),
        (Some(text), Form::Xml) => Cow::Owned(xml(&text)),
        // The language encodes all of its values in this way.
        (Some(text), Form::Url) if language == Language::Urlencoded => text,
        (Some(text), Form::Url) => url_encoded(&text).into_owned().into(),
        (Some(text), Form::Base64) if of == Value::Payload && is_bytes(failure) => text,
        (Some(text), Form::Base64) => Cow::Owned(BASE64_STANDARD.encode(text.as_bytes())),
    })
}

fn url_encoded(text: &str) -> Cow<'_, str> {
    Cow::Owned(encoded(text, unreserved))
}

/// A text within a string or an element.
fn escaped(text: Cow<'_, str>, language: Language) -> Cow<'_, str> {
    match language {
        Language::Json => {
            let quoted = quoted(&text);
            Cow::Owned(quoted[1..quoted.len() - 1].to_owned())
        }
        Language::Xml => Cow::Owned(xml(&text)),
        Language::Urlencoded | Language::Other => text,
    }
}

/// The text between the braces of a JSON object, verbatim.
fn members(text: &str) -> Result<&str, String> {
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).map(str::trim);
    match inner {
        // Without members the adjacent comma would be left over.
        Some(inner) if !inner.is_empty() && serde_json::from_str::<IgnoredAny>(text).is_ok() => Ok(inner),
        _ => Err("the payload is not a JSON object with members, as the route's template asks for".to_owned()),
    }
}

fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\t' | '\n' | '\r' => safe.push(c),
            // These are not valid in XML, not even as references.
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ => safe.push(c),
        }
    }
    safe
}

/// The upstream's URL and the path, joined by one slash.
fn address(failure: &Failure, upstream: &Upstream, path: &Template) -> Result<String, String> {
    if path.0.is_empty() {
        return Ok(upstream.url.clone());
    }
    let mut url = upstream.url.trim_end_matches('/').to_owned();
    for piece in &path.0 {
        match piece {
            Piece::Literal(text) => url.push_str(&encoded(text, allowed_in_template)),
            Piece::Secret(_) => return Err("a path has no secrets".to_owned()),
            Piece::Value(of, form) => {
                let text = value(failure, *of).unwrap_or_default();
                let text = if *form == Form::Lower { Cow::Owned(text.to_lowercase()) } else { text };
                judge_in_path(&text)?;
                url.push_str(&encoded(&text, unreserved));
            }
        }
    }
    // The configuration guarantees this. It is checked again, because credentials are sent with the request.
    if !same_server(&upstream.url, &url) {
        return Err(format!("{url:?} is not an address of the upstream {}", upstream.name));
    }
    Ok(url)
}

/// A value must not be able to leave its place in the path, even if a back end decodes it too early.
fn judge_in_path(text: &str) -> Result<(), String> {
    let climbs = text.split(['/', '\\']).any(|part| part == "..");
    if text.is_empty() || text == "." || climbs {
        return Err(format!("{text:?} cannot be used in a path"));
    }
    Ok(())
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Keeps the template's own characters, except those that are not allowed in a URL.
fn allowed_in_template(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn encoded(text: &str, stays: fn(u8) -> bool) -> String {
    if text.bytes().all(stays) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A header's value: characters other than visible ASCII are percent-encoded, so that none can end the line; the
/// percent sign itself is, too, so that decoding restores the value.
fn text(value: &str) -> HeaderValue {
    HeaderValue::Text(encoded(value, |byte| (0x21..=0x7e).contains(&byte) && byte != b'%'))
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "delivery_properties.rs"]
mod properties;

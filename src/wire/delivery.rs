//! The request for a failure: method, URL, headers and body by its route, the same bytes on every
//! try; what changes stands in headers (`spec/03`, The request).
//!
//! Secrets are not here: where one belongs, the request names its file, and the sender puts in what
//! the file holds at that moment.

use super::envelope::{USER_AGENT, envelope, quoted};
use crate::config::route::{Body, Route, Verify};
use crate::config::template::{Form, Piece, Template, Value};
use crate::config::upstream::{Authorization, Upstream};
use crate::record::{Failure, wire_time};
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::fmt::Write;
use std::path::PathBuf;

/// A request, ready to be sent but for its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `POST`, …
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// In order; texts are visible ASCII.
    pub headers: Vec<(String, HeaderValue)>,
    /// The body, part by part.
    pub body: Vec<BodyPart>,
}

/// What a header holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// This.
    Text(String),
    /// The contents of this file,
    File(PathBuf),
    /// behind `Bearer`,
    Bearer(PathBuf),
    /// or in base64 behind `Basic`.
    Basic(PathBuf),
}

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The contents of the credential of this name.
    Secret(String),
}

/// The request that delivers a failure, or why it cannot be built from it.
pub fn request(failure: &Failure, upstream: &Upstream, route: Option<&Route>) -> Result<HttpRequest, String> {
    let (method, url, body, content_type) = match route {
        None => ("POST", upstream.url.clone(), whole(envelope(failure)), Some("application/json")),
        Some(route) => {
            let (body, has_body) = match &route.body {
                Body::Envelope => (whole(envelope(failure)), true),
                Body::Payload => (whole(payload(failure).unwrap_or_default().into_owned()), true),
                Body::Template(template) => (filled(failure, template)?, true),
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
        put(name, text(failure.key()));
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
    Ok(HttpRequest { method, url, headers, body })
}

/// The request that asks whether a failure has arrived already.
pub fn verification(
    failure: &Failure,
    upstream: &Upstream,
    route: &Route,
    verify: &Verify,
) -> Result<HttpRequest, String> {
    let url = address(failure, upstream, &verify.path)?;
    let mut headers = credentials(upstream);
    let body = match &verify.template {
        Some(template) => filled(failure, template)?,
        None => Vec::new(),
    };
    if !body.is_empty() {
        headers.push(("Content-Type".to_owned(), HeaderValue::Text(route.content_type.clone())));
    }
    Ok(HttpRequest { method: verify.method.as_str(), url, headers, body })
}

/// What goes with every request to an upstream.
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

fn whole(text: String) -> Vec<BodyPart> {
    vec![BodyPart::Bytes(text.into_bytes())]
}

fn payload(failure: &Failure) -> Option<Cow<'_, str>> {
    failure.payload.as_ref().map(|(text, _)| Cow::Borrowed(text.as_str()))
}

/// What stands for a placeholder; `None` where the failure has none.
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

fn filled(failure: &Failure, template: &Template) -> Result<Vec<BodyPart>, String> {
    let mut parts = Vec::new();
    let mut bytes = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Literal(text) => bytes.push_str(text),
            Piece::Secret(name) => {
                parts.push(BodyPart::Bytes(std::mem::take(&mut bytes).into_bytes()));
                parts.push(BodyPart::Secret(name.clone()));
            }
            Piece::Value(of, form) => match (value(failure, *of), form) {
                // What is not there is JSON's null where JSON is asked for, and nothing elsewhere.
                (None, Form::JsonString) => bytes.push_str("null"),
                (text, Form::Members) => bytes.push_str(members(text.as_deref().unwrap_or_default())?),
                (None, Form::Raw) if *of == Value::Payload => bytes.push_str("null"),
                (None, _) => {}
                (Some(text), Form::Raw) => bytes.push_str(&text),
                (Some(text), Form::Lower) => bytes.push_str(&text.to_lowercase()),
                (Some(text), Form::JsonString) => bytes.push_str(&quoted(&text)),
                (Some(text), Form::Xml) => bytes.push_str(&xml(&text)),
            },
        }
    }
    parts.push(BodyPart::Bytes(bytes.into_bytes()));
    Ok(parts)
}

/// What stands between the braces of a JSON object, as it is.
fn members(text: &str) -> Result<&str, String> {
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).map(str::trim);
    match inner {
        // Without a member the comma beside it would be left over.
        Some(inner) if !inner.is_empty() && serde_json::from_str::<IgnoredAny>(text).is_ok() => Ok(inner),
        _ => Err("the payload is no JSON object with members, as the route's template asks for".to_owned()),
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
            _ => safe.push(c),
        }
    }
    safe
}

/// The upstream's URL and the path behind it.
fn address(failure: &Failure, upstream: &Upstream, path: &Template) -> Result<String, String> {
    let mut url = upstream.url.clone();
    if url.ends_with('/') && matches!(path.0.first(), Some(Piece::Literal(text)) if text.starts_with('/')) {
        url.pop();
    }
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
    Ok(url)
}

/// A value must not be able to leave its place in the path, not even with a back end that decodes
/// it too early.
fn judge_in_path(text: &str) -> Result<(), String> {
    let climbs = text.split(['/', '\\']).any(|part| part == "..");
    if text.is_empty() || text == "." || climbs {
        return Err(format!("{text:?} cannot stand in a path"));
    }
    Ok(())
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What the integrator wrote stays, but for what no URL allows.
fn allowed_in_template(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn encoded(text: &str, stays: fn(u8) -> bool) -> String {
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

/// A header's value: what is no visible ASCII is percent-encoded, so that nothing can end the line.
fn text(value: &str) -> HeaderValue {
    HeaderValue::Text(encoded(value, |byte| (0x21..=0x7e).contains(&byte)))
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;

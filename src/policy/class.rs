//! What the end of a try says: was it the record or the line?
//!
//! [`classify`] is the table of `spec/03`, first match first, over values that the sender filled in;
//! what an upstream's configuration says of its answers comes before it ([`super::reading`]).
//! The classes are a closed type: everything that handles one handles all of them.
//!
//! It does not decide what follows; that depends on what else happened at the upstream.

use crate::limits::{MAX_ERROR, MAX_RETRY_AFTER, cut};
use crate::moment::WallTime;
use crate::policy::reading::Reading;
pub use crate::record::Class;
use std::time::Duration;
use ureq::http::StatusCode;

/// How a try ended, as the sender saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With an answer.
    Answered(Answer),
    /// Before the request was sent.
    NotSent(LineFault, String),
    /// After the request was sent, or part of it.
    Broken(BreakFault, String),
    /// The request could not be built from this failure.
    Unbuildable(String),
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// The name was not found.
    Lookup,
    /// Refused, no route, TLS broken off: an answer of the network, at once.
    NoConnection,
    /// Nobody answered in time.
    ConnectTimeout,
    /// The certificate is not the upstream's.
    Certificate,
    /// The certificate is expired or not yet valid: one of the two clocks is wrong.
    CertificateTime,
    /// What the request needs was not to be had here: a file could not be read, a login was refused.
    Credentials,
}

/// How a sent request ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakFault {
    /// No answer in time.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Reset,
}

/// An HTTP answer, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `Retry-After`, as it stands.
    pub retry_after: Option<String>,
    /// `Date`.
    pub date: Option<WallTime>,
    /// `Set-Cookie`, each.
    pub cookies: Vec<String>,
    /// `Resync-Outcome`, an adapter's word.
    pub outcome: Option<String>,
    /// `Resync-Error`, its words.
    pub outcome_error: Option<String>,
    /// The body's first 64 KiB.
    pub body: Vec<u8>,
}

/// Where the request went, as far as the table asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Was it TLS?
    pub https: bool,
    /// The host name, in lower case.
    pub host: String,
}

impl Target {
    /// The target of a URL that the configuration has checked.
    #[must_use]
    pub fn of(url: &str) -> Self {
        Self { https: url.starts_with("https:"), host: host_of(url).unwrap_or_default() }
    }
}

/// A try's end, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What it says.
    pub class: Class,
    /// In words, for `error` (`spec/07`); nothing when it was accepted.
    pub error: String,
    /// How long the upstream asked to wait, at most an hour.
    pub retry_after: Option<Duration>,
    /// How much it says about the line.
    pub contact: Contact,
}

/// What a try's end says about the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// The upstream answered.
    Answered,
    /// Nobody answered, or somebody else: only a probe can tell.
    Doubtful,
    /// Silence: a probe is worth it when it repeats.
    Silent,
    /// Nothing was tried.
    None,
}

/// What a try's end says: an upstream's own word first, then the table of `spec/03`.
#[must_use]
pub fn classify(ending: &Ending, target: &Target, reading: &Reading, wall: WallTime) -> Verdict {
    match ending {
        Ending::Answered(answer) => classify_answer(answer, target, reading, wall),
        Ending::NotSent(LineFault::ConnectTimeout, error) => plain(Class::Unreachable, error, Contact::Silent),
        Ending::NotSent(LineFault::CertificateTime, error) => {
            plain(Class::Misconfigured, &with_clock(error, wall), Contact::Doubtful)
        }
        Ending::NotSent(LineFault::Lookup | LineFault::NoConnection | LineFault::Certificate, error) => {
            plain(Class::Unreachable, error, Contact::Doubtful)
        }
        Ending::NotSent(LineFault::Credentials, error) => plain(Class::Misconfigured, error, Contact::None),
        Ending::Broken(_, error) => plain(Class::Unsure, error, Contact::Silent),
        Ending::Unbuildable(error) => plain(Class::Refused, error, Contact::None),
    }
}

/// One of two clocks is wrong: here is ours.
pub(super) fn with_clock(error: &str, wall: WallTime) -> String {
    format!("{error}; this terminal's clock says {}", wall.rfc3339())
}

fn plain(class: Class, error: &str, contact: Contact) -> Verdict {
    Verdict { class, error: cut(error, MAX_ERROR), retry_after: None, contact }
}

fn classify_answer(answer: &Answer, target: &Target, reading: &Reading, wall: WallTime) -> Verdict {
    let retry_after = answer.retry_after.as_deref().and_then(|text| retry_after(text, answer.date.unwrap_or(wall)));
    let (class, words) = match reading.own_word(answer) {
        Some(own) => (own.class, own.message),
        None => by_table(answer, target, reading, retry_after.is_some()),
    };
    let class = if class == Class::Refused && reading.refusal_is_retried() { Class::Failed } else { class };
    let error = match words {
        // What was accepted has no error, and a body may be long.
        None if class == Class::Delivered => String::new(),
        // An adapter's words stand by themselves.
        Some(words) if reading.upstream.adapter => words,
        Some(words) => format!("HTTP {}: {words}", answer.status),
        None => error_text(answer),
    };
    let contact = if class == Class::Unreachable { Contact::Doubtful } else { Contact::Answered };
    Verdict { class, error: cut(&error, MAX_ERROR), retry_after, contact }
}

/// The table; words only where the answer's own would mislead.
fn by_table(answer: &Answer, target: &Target, reading: &Reading, asked_to_wait: bool) -> (Class, Option<String>) {
    if reading.accepts(answer.status) {
        return (Class::Delivered, None);
    }
    let page = || Some("a web page instead of an answer (a login page of the network?)".to_owned());
    match answer.status {
        200..=299 if is_page(answer) && !reading.takes_html() => {
            (if target.https { Class::Misconfigured } else { Class::Unreachable }, page())
        }
        200..=299 => match reading.lacks_proof(answer) {
            Some(lack) => (Class::Unsure, Some(lack)),
            None => (Class::Delivered, None),
        },
        511 => (Class::Unreachable, None),
        300..=399 if answer.leads_elsewhere(target) => (Class::Unreachable, None),
        300..=399 | 401 | 407 => (Class::Misconfigured, None),
        400 if is_about_tls(answer) => (Class::Misconfigured, None),
        429 => (Class::Throttled, None),
        503 if asked_to_wait => (Class::Throttled, None),
        502..=504 => (Class::Busy, None),
        400 | 411 | 413..=415 | 422 | 431 => (Class::Refused, None),
        _ => (Class::Failed, None),
    }
}

/// Is it a web page that somebody could read? Flask and Django call an empty answer HTML too. An
/// empty 200 stays in doubt: a captive portal may give it, but none creates (201) or says that
/// there is nothing to say (204).
fn is_page(answer: &Answer) -> bool {
    is_html(answer) && (answer.status == 200 || !answer.body.trim_ascii().is_empty())
}

/// nginx's own page for a client certificate that is missing (its 496) or does not hold (495), and
/// for plain http at its https port (497): it sends them all as 400, and passes nothing on.
fn is_about_tls(answer: &Answer) -> bool {
    const WORDS: [&str; 3] = ["No required SSL certificate", "The SSL certificate error", "sent to HTTPS port"];
    let says_so = |page: &str| WORDS.iter().any(|words| page.contains(words));
    is_html(answer) && says_so(&String::from_utf8_lossy(&answer.body))
}

/// Is the body a web page, by its type or, without one, by how it begins?
pub(super) fn is_html(answer: &Answer) -> bool {
    if let Some(given) = &answer.content_type {
        let kind = given.split(';').next().unwrap_or_default().trim();
        return ["text/html", "application/xhtml+xml"].iter().any(|html| kind.eq_ignore_ascii_case(html));
    }
    let start = answer.body.trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag)))
}

impl Answer {
    /// Does it redirect to another host?
    #[must_use]
    pub fn leads_elsewhere(&self, target: &Target) -> bool {
        self.location.as_deref().and_then(host_of).is_some_and(|host| host != target.host)
    }
}

/// The host of an absolute or scheme-relative URL, in lower case, without user and port.
fn host_of(url: &str) -> Option<String> {
    let rest = url.split_once("//")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_port = authority.rsplit('@').next()?;
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host_port.split(':').next()?,
    };
    Some(host.to_ascii_lowercase())
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3), at most [`MAX_RETRY_AFTER`]. The date
/// is held against the answer's own `Date`, so that a wrong clock here does not matter.
#[must_use]
pub fn retry_after(text: &str, now: WallTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        WallTime::parse_http_date(text)?.since(now)
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// `HTTP <status>: ` and the answer's own words (`spec/07`).
fn error_text(answer: &Answer) -> String {
    /// Of a body without a message, so much is shown.
    const START: usize = 500;
    let words = json_message(&answer.body).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&answer.body);
        cut(text.trim(), START)
    });
    let words = if words.is_empty() {
        let known = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
        known.unwrap_or("no text").to_owned()
    } else {
        words
    };
    format!("HTTP {}: {words}", answer.status)
}

fn json_message(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    ["/message", "/detail", "/error/message", "/error"].iter().find_map(|pointer| {
        let text = json.pointer(pointer)?.as_str()?;
        (!text.trim().is_empty()).then(|| text.to_owned())
    })
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;

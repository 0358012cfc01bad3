//! Classifies the end of an attempt: was it the record or the connection?
//!
//! [`classify`] is the table of results, first match first, over values that the sender filled in. The answer
//! rules of an upstream's configuration take precedence ([`super::answer_rules`]). Classes are a closed type, so
//! that code which handles one has to handle all.
//!
//! It does not decide what follows; that depends on the other attempts at the upstream.

use crate::config::upstream::Meaning;
use crate::limits::{MAX_ERROR, MAX_RETRY_AFTER, cut};
use crate::moment::WallTime;
use crate::policy::answer_rules::{AttemptSummary, Lack, Reading};
use crate::policy::body::{Body, coding};
use crate::policy::ending::{Answer, ConnectError, Contact, Ending, InterruptKind, LoginEnd, Target};
pub use crate::record::Class;
use std::time::Duration;
use ureq::http::StatusCode;

/// Classification of an attempt's end.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The class.
    pub class: Class,
    /// Error message; empty if the failure was accepted.
    pub error: String,
    /// The delay that the upstream requested, at most an hour.
    pub retry_after: Option<Duration>,
    /// What it shows about reachability.
    pub contact: Contact,
    /// A proof or an answer rule needed a body that cannot be read.
    pub unreadable: bool,
    /// The body was too large for the link and the timeout.
    pub stalled: bool,
}

/// Classifies the end of an attempt: first by the upstream's own answer rules, then by status.
#[must_use]
pub fn classify(ending: &Ending, target: &Target, reading: &Reading, wall: WallTime) -> Verdict {
    match ending {
        Ending::Answered(answer) => classify_answer(answer, target, reading, wall),
        Ending::NotSent(ConnectError::ConnectTimeout, error) => plain(Class::Unreachable, error, Contact::Silent),
        Ending::NotSent(ConnectError::CertificateTime, error) => {
            plain(Class::Misconfigured, &with_clock(error, wall), Contact::Doubtful)
        }
        Ending::NotSent(
            ConnectError::Lookup | ConnectError::NoConnection | ConnectError::Certificate | ConnectError::Tls,
            error,
        ) => plain(Class::Unreachable, error, Contact::Doubtful),
        Ending::NotSent(ConnectError::Credentials | ConnectError::Bug, error) => {
            plain(Class::Misconfigured, error, Contact::None)
        }
        Ending::Broken(fault, error) => {
            let stalled = *fault == InterruptKind::Upload;
            Verdict { stalled, ..plain(Class::Unsure, error, Contact::Silent) }
        }
        Ending::InvalidRequest(error) => plain(Class::Refused, error, Contact::None),
        Ending::LoginError(LoginEnd { class, error, retry_after, contact }) => {
            Verdict { retry_after: *retry_after, ..plain(*class, error, *contact) }
        }
    }
}

/// Appends the terminal's time, because one of the two clocks is wrong.
pub(super) fn with_clock(error: &str, wall: WallTime) -> String {
    format!("{error}; this terminal's clock says {}", wall.rfc3339())
}

fn plain(class: Class, error: &str, contact: Contact) -> Verdict {
    Verdict { class, error: cut(error, MAX_ERROR), retry_after: None, contact, unreadable: false, stalled: false }
}

fn classify_answer(answer: &Answer, target: &Target, reading: &Reading, wall: WallTime) -> Verdict {
    let retry_after = answer.retry_after.as_deref().and_then(|text| retry_after(text, answer.date.unwrap_or(wall)));
    let body = Body::of(answer);
    let heard = reading.hear(&body);
    let mut unreadable = false;
    let overruled = is_overruled(&heard, &body, target, reading);
    let own = heard.word.filter(|_| !overruled);
    let (class, words) = match own {
        Some(own) => (own.class, own.message),
        None => match by_table(&body, target, reading, retry_after.is_some()) {
            Ok(found) => found,
            Err(lack) => {
                unreadable = lack.unreadable;
                (Class::Unsure, Some(lack.words))
            }
        },
    };
    let (class, words) = match heard.unread.first() {
        // The rule could have decided otherwise.
        Some(unread) if !is_from_in_front(&body, class) => {
            // Errors of a gateway end by themselves; what the upstream itself answers stays unreadable.
            unreadable |= !matches!(class, Class::Busy | Class::Throttled | Class::Unsure);
            (Class::Unsure, Some(unread.to_string()))
        }
        _ => (class, words),
    };
    let class = if class == Class::Refused && reading.refusal_is_retried() { Class::Failed } else { class };
    let error = match words {
        // An accepted failure has no error, and a body may be long.
        None if class == Class::Delivered => String::new(),
        // An adapter's message is used verbatim.
        Some(words) if reading.upstream.adapter => words,
        Some(words) => format!("HTTP {}: {words}", answer.status),
        None => error_text(&body),
    };
    let contact = if class == Class::Unreachable { Contact::Doubtful } else { Contact::Answered };
    Verdict { class, error: cut(&error, MAX_ERROR), retry_after, contact, unreadable, stalled: false }
}

/// Returns whether a rule has matched a response that is not the upstream's own: it would blame the failure for the page
/// of a portal or of a gateway that happens to contain the rule's text, or take that page for a delivery. A rule that
/// names the status of a gateway's error is meant for it.
#[must_use]
pub fn is_overruled(heard: &AttemptSummary, body: &Body, target: &Target, reading: &Reading) -> bool {
    let Some(rule) = heard.rule.and_then(|n| reading.upstream.answers.get(n)) else { return false };
    if !matches!(rule.is, Meaning::Is(Class::Delivered | Class::Refused | Class::Failed)) {
        return false;
    }
    let Ok((by_table, _)) = by_table(body, target, reading, false) else { return false };
    match by_table {
        Class::Unreachable => true,
        other => rule.status.is_empty() && body.answer().status / 100 != 2 && is_from_in_front(body, other),
    }
}

type Row = (Class, Option<String>);

/// The default table; it sets a message only where the response's own would mislead. A 2xx without the required
/// proof is an error.
fn by_table(body: &Body, target: &Target, reading: &Reading, asked_to_wait: bool) -> Result<Row, Lack> {
    let answer = body.answer();
    // A server that answers over TLS holds the upstream's certificate, so the network did not intercept the request.
    let elsewhere = if target.https { Class::Misconfigured } else { Class::Unreachable };
    let row = match answer.status {
        200..=299 if body.is_web_page() && !reading.accepts_html() => {
            (elsewhere, Some("a web page instead of an answer (a login page of the network?)".to_owned()))
        }
        // No upstream has accepted anything by sending the request to another host.
        status if reading.accepts(status) && !(status / 100 == 3 && answer.leads_elsewhere(target)) => {
            (Class::Delivered, None)
        }
        200..=299 => match reading.proof_error(body) {
            Some(lack) => return Err(lack),
            // The script has accepted nothing.
            None if body.is_php_crash() => (Class::Failed, None),
            None => (Class::Delivered, None),
        },
        300..=399 if answer.leads_elsewhere(target) => (elsewhere, answer.redirect()),
        300..=399 => (Class::Misconfigured, answer.redirect()),
        400 if is_about_tls(body) => (Class::Misconfigured, None),
        400 | 411 | 413..=415 | 422 | 431 => (Class::Refused, None),
        407 => (Class::Misconfigured, Some(PROXY_WANTS_CREDENTIALS.to_owned())),
        status => (of_status(status, asked_to_wait).unwrap_or(Class::Failed), None),
    };
    Ok(row)
}

/// A 407 from a proxy, in any phase.
pub const PROXY_WANTS_CREDENTIALS: &str = "the proxy asks for a user and a password: set proxy_auth_file";

/// The class of a status that is inconclusive about the failure at every upstream: gateways, load balancers and
/// proxies in front of it send them.
#[must_use]
pub fn of_status(status: u16, asked_to_wait: bool) -> Option<Class> {
    Some(match status {
        511 => Class::Unreachable,
        429 | 509 | 529 => Class::Throttled,
        503 if asked_to_wait => Class::Throttled,
        408 | 425 | 502..=504 | 507 | 520..=524 | 527 | 530 => Class::Busy,
        598 | 599 => Class::Unsure,
        401 | 407 | 421 | 525 | 526 | 561 => Class::Misconfigured,
        _ => return None,
    })
}

/// What a gateway's error says about the request that it had received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Nothing, or that it was not passed on.
    Unknown,
    /// It may have been passed on before the connection behind the gateway ended.
    Perhaps,
    /// It was passed on, and no response came in time.
    Unanswered,
}

impl Forwarded {
    /// By the status. 504 and 524 are the gateway's own time-out, 502 and 520 also a connection that ended before a
    /// response.
    #[must_use]
    pub fn by(status: Option<u16>) -> Self {
        match status {
            Some(504 | 524) => Self::Unanswered,
            Some(502 | 520) => Self::Perhaps,
            _ => Self::Unknown,
        }
    }
}

/// Returns whether the network, a proxy or a gateway sent this in place of the upstream: a redirect, or a page with a
/// status that is inconclusive about the failure. Answer rules are about what the upstream itself answers.
fn is_from_in_front(body: &Body, class: Class) -> bool {
    let conclusive = matches!(class, Class::Delivered | Class::Refused | Class::Failed);
    let redirect = matches!(body.answer().status, 300..=399);
    class == Class::Unreachable || (!conclusive && (redirect || body.is_web_page()))
}

/// nginx's own page for a client certificate that is missing (its 496) or invalid (495), and for plain http on
/// its https port (497): it sends all of them as 400 and forwards nothing.
fn is_about_tls(body: &Body) -> bool {
    const WORDS: [&str; 3] = ["No required SSL certificate", "The SSL certificate error", "sent to HTTPS port"];
    let text = body.text();
    body.is_web_page() && WORDS.iter().any(|words| text.contains(words))
}

/// Parses `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3), at most [`MAX_RETRY_AFTER`]. The date is
/// compared with the response's own `Date`, so that a wrong local clock does not matter. Some servers send
/// fractions of a second; they are rounded up.
#[must_use]
pub fn retry_after(text: &str, now: WallTime) -> Option<Duration> {
    let text = text.trim();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let wait = if digits(whole) && digits(fraction) {
        let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
        whole.parse().map_or(MAX_RETRY_AFTER, |seconds: u64| Duration::from_secs(seconds.saturating_add(more)))
    } else {
        WallTime::parse_http_date(text)?.since(now)
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// `HTTP <status>: ` and the message of the response.
pub fn error_text(body: &Body) -> String {
    /// Maximum bytes shown of a body without a message.
    const START: usize = 500;
    let answer = body.answer();
    let words = json_message(body).unwrap_or_else(|| match coding(answer) {
        Some(encoding) => format!("a body in {}, which cannot be shown", cut(encoding, 40)),
        None => cut(body.text().trim(), START),
    });
    let words = if words.is_empty() {
        let known = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
        known.unwrap_or("no text").to_owned()
    } else {
        words
    };
    format!("HTTP {}: {words}", answer.status)
}

fn json_message(body: &Body) -> Option<String> {
    let json = body.json().ok()?;
    ["/message", "/detail", "/error/message", "/error"].iter().find_map(|pointer| {
        let text = json.pointer(pointer)?.as_str()?;
        (!text.trim().is_empty()).then(|| text.to_owned())
    })
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;

//! How an attempt ended, as the sender saw it: a response, or why there is none.

use crate::limits::cut;
use crate::moment::WallTime;
use crate::record::Class;
use std::time::Duration;

/// How an attempt ended, as seen by the sender.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With a response.
    Answered(Answer),
    /// Before the request was sent.
    NotSent(ConnectError, String),
    /// After the request, or part of it, was sent.
    Broken(InterruptKind, String),
    /// No request can be built from this failure.
    InvalidRequest(String),
    /// Before the request was sent, because login failed.
    LoginError(LoginEnd),
}

/// How a login failed. It is no evidence about any failure.
#[derive(Clone, Debug, PartialEq)]
pub struct LoginEnd {
    /// Unreachable, busy, throttled or misconfigured.
    pub class: Class,
    /// Error message.
    pub error: String,
    /// The delay that the login server requested.
    pub retry_after: Option<Duration>,
    /// A response of the login server is little evidence about the upstream, but nothing else was contacted.
    pub contact: Contact,
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// DNS found no such name.
    Lookup,
    /// Connection refused, no route, or TLS aborted: the network responds at once.
    NoConnection,
    /// No connection within the timeout.
    ConnectTimeout,
    /// The certificate does not match the upstream.
    Certificate,
    /// The certificate has expired or is not yet valid: one of the two clocks is wrong.
    CertificateTime,
    /// The server does not speak TLS, or no common version or cipher exists.
    Tls,
    /// A local input of the request is missing: a file could not be read, or a header value is invalid.
    Credentials,
    /// A bug in the agent itself.
    Bug,
}

/// How a sent request ended without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptKind {
    /// No response within the timeout.
    Timeout,
    /// A large body got no response within the timeout, or could not be sent within it.
    Upload,
    /// The connection broke, or the response was not HTTP.
    Reset,
}

/// The parts of an HTTP response that are used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`, unless it is `identity`.
    pub encoding: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `Retry-After`, verbatim.
    pub retry_after: Option<String>,
    /// `Date`.
    pub date: Option<WallTime>,
    /// Every `Set-Cookie`.
    pub cookies: Vec<String>,
    /// `Resync-Outcome`: the result that an adapter reports.
    pub outcome: Option<String>,
    /// `Resync-Error`: the error that an adapter reports.
    pub outcome_error: Option<String>,
    /// `Content-Length`; in a response to `HEAD`, that of the body which is not sent.
    pub length: Option<u64>,
    /// The beginning of the body, as far as it was read.
    pub body: Vec<u8>,
    /// The body is longer than `body`.
    pub cut_off: bool,
}

/// The parts of the request's URL that the table depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether the scheme is https.
    pub https: bool,
    /// The host name, in lower case.
    pub host: String,
}

impl Target {
    /// The target of a URL that has passed configuration checks.
    #[must_use]
    pub fn of(url: &str) -> Self {
        Self { https: url.starts_with("https:"), host: host_of(url).unwrap_or_default() }
    }
}

/// What the end of an attempt shows about reachability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// The upstream answered.
    Answered,
    /// No response, or one from another server: only a probe can decide.
    Doubtful,
    /// A timeout: only repeated ones start a probe.
    Silent,
    /// The upstream was not contacted.
    None,
}

impl Answer {
    /// Returns whether the response redirects to another host.
    #[must_use]
    pub fn leads_elsewhere(&self, target: &Target) -> bool {
        self.location.as_deref().and_then(host_of).is_some_and(|host| host != target.host)
    }

    /// The target of a redirect, cut to 300 bytes; `None` if this is not a redirect, or names no target.
    #[must_use]
    pub fn redirect_target(&self) -> Option<String> {
        let location = self.location.as_deref().map(str::trim).filter(|location| !location.is_empty())?;
        (self.status / 100 == 3).then(|| cut(location, 300))
    }

    /// The redirect's target, as a message.
    #[must_use]
    pub fn redirect(&self) -> Option<String> {
        self.redirect_target().map(|target| format!("redirects to {target}"))
    }
}

/// The host of an absolute or scheme-relative URL, in lower case, without user and port.
fn host_of(url: &str) -> Option<String> {
    let url = url.trim();
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        // Without a scheme, only a leading `//` introduces a host.
        _ => url.strip_prefix("//")?,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_port = authority.rsplit('@').next()?;
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host_port.split(':').next()?,
    };
    Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

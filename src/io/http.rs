//! One HTTP exchange, and what its end was.
//!
//! The client's errors do not tell whether anything was sent, and that is what everything hangs on:
//! was it the line, or may the upstream have it? So two markers in the chain of connectors note how
//! far a request has come ([`Stage`]).

use super::resolve::{CachingResolver, LookupFailed};
use super::secrets::{Secrets, Stamp, stamp};
use super::tls;
use crate::config::Upstream;
use crate::limits::{MAX_BODY, MAX_HEADERS};
use crate::moment::WallTime;
use crate::policy::class::{Answer, BreakFault, Ending, LineFault};
use crate::wire::delivery::{BodyPart, HeaderValue, HttpRequest};
use crate::wire::envelope::USER_AGENT;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::cell::Cell;
use std::error::Error as _;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ureq::http::{HeaderMap, Request, Response};
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector, Transport};
use ureq::{Agent, Body, Error, Timeout};

/// How far the request of this thread has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// An open connection may be in use.
    Begun,
    /// A connection is being made.
    Connecting,
    /// It is made.
    Connected,
}

thread_local! {
    static STAGE: Cell<Stage> = const { Cell::new(Stage::Begun) };
}

/// Notes that a connection is being made.
#[derive(Debug)]
struct Before;

impl Connector<()> for Before {
    type Out = ();

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<()>, Error> {
        STAGE.set(Stage::Connecting);
        Ok(None)
    }
}

/// Notes that it is made, TLS included.
#[derive(Debug)]
struct After;

impl<T: Transport> Connector<T> for After {
    type Out = T;

    fn connect(&self, _: &ConnectionDetails, made: Option<T>) -> Result<Option<T>, Error> {
        STAGE.set(Stage::Connected);
        Ok(made)
    }
}

/// A client for one upstream: makes exchanges, with what the configuration's files hold now.
#[derive(Debug)]
pub struct Exchange {
    upstream: Upstream,
    /// Outlives the clients that are made, so that their look-ups do not add up.
    resolver: CachingResolver,
    /// Where most of its requests go; decides about the proxy.
    url: String,
    timeout: Duration,
    /// Connections that are kept for the next request.
    kept: usize,
    /// Made when it is needed, and anew when a certificate's file has changed.
    made: Mutex<Option<(Vec<Option<Stamp>>, Agent)>>,
}

impl Exchange {
    /// A client that keeps connections for the next request.
    #[must_use]
    pub fn for_deliveries(upstream: &Upstream, resolver: CachingResolver) -> Self {
        Self::new(upstream, resolver, &upstream.url, upstream.timeout, upstream.concurrency)
    }

    /// A client whose every request makes a connection, so that it finds a dead line.
    #[must_use]
    pub fn for_probes(upstream: &Upstream, resolver: CachingResolver) -> Self {
        /// A probe has nothing to send and little to read.
        const PROBE: Duration = Duration::from_secs(10);
        Self::new(upstream, resolver, &upstream.probe.url, upstream.timeout.min(PROBE), 0)
    }

    fn new(upstream: &Upstream, resolver: CachingResolver, url: &str, timeout: Duration, kept: usize) -> Self {
        Self { upstream: upstream.clone(), resolver, url: url.to_owned(), timeout, kept, made: Mutex::new(None) }
    }

    /// The HTTP client, or why it cannot be made.
    fn agent(&self) -> Result<Agent, String> {
        let connection = &self.upstream.connection;
        let own = connection.client_cert.iter().flat_map(|(cert, key)| [cert, key]);
        let now: Vec<Option<Stamp>> = connection.ca_file.iter().chain(own).map(|file| stamp(file).ok()).collect();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((before, agent)) if *before == now => Ok(agent.clone()),
            _ => {
                let agent = self.make()?;
                *made = Some((now, agent.clone()));
                Ok(agent)
            }
        }
    }

    fn make(&self) -> Result<Agent, String> {
        /// Under the shortest time for which servers commonly keep an idle connection (5 s): a
        /// request must not meet one that is just being closed.
        const IDLE: Duration = Duration::from_secs(4);
        let connection = &self.upstream.connection;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(tls::proxy(connection, &self.url)?)
            .timeout_global(Some(self.timeout))
            .timeout_connect(Some(self.upstream.connect_timeout))
            .timeout_resolve(Some(self.upstream.connect_timeout))
            .max_response_header_size(MAX_HEADERS)
            .max_idle_connections(self.kept)
            .max_idle_connections_per_host(self.kept)
            .max_idle_age(IDLE)
            .user_agent(USER_AGENT)
            .tls_config(tls::config(connection)?)
            .build();
        let connector = Before.chain(DefaultConnector::new()).chain(After);
        Ok(Agent::with_parts(config, connector, self.resolver.clone()))
    }

    /// Sends a request, with further headers, and reads its answer.
    #[must_use]
    pub fn send(&self, request: &HttpRequest, secrets: &Secrets, more: &[(String, HeaderValue)]) -> Ending {
        let agent = match self.agent() {
            Ok(agent) => agent,
            Err(why) => return Ending::NotSent(LineFault::Credentials, why),
        };
        let mut builder = Request::builder().method(request.method).uri(&request.url);
        for (name, value) in request.headers.iter().chain(more) {
            match header(value, secrets) {
                Ok(value) => builder = builder.header(name, value),
                Err(why) => return Ending::NotSent(LineFault::Credentials, why),
            }
        }
        let body = match body(&request.body, secrets) {
            Ok(body) => body,
            Err(why) => return Ending::NotSent(LineFault::Credentials, why),
        };
        STAGE.set(Stage::Begun);
        let sent = if body.is_empty() && !expects_body(request.method) {
            builder.body(()).map_err(Error::from).and_then(|built| agent.run(built))
        } else {
            let built = builder.body(body).map_err(Error::from);
            built.and_then(|built| agent.run(agent.configure_request(built).allow_non_standard_methods(true).build()))
        };
        match sent.and_then(read) {
            Ok(answer) => Ending::Answered(answer),
            Err(error) => ending(&error, STAGE.get()),
        }
    }
}

/// Methods whose request has a body, be it empty (RFC 9110).
fn expects_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

fn header(value: &HeaderValue, secrets: &Secrets) -> Result<String, String> {
    match value {
        HeaderValue::Text(text) => Ok(text.clone()),
        HeaderValue::File(file) => one_line(file, secrets),
        HeaderValue::Bearer(file) => one_line(file, secrets).map(|token| format!("Bearer {token}")),
        HeaderValue::Basic(file) => secrets.file(file).map(|pair| format!("Basic {}", BASE64_STANDARD.encode(pair))),
    }
}

/// A file's text, when it can stand in a header. What is wrong with it is not shown.
fn one_line(file: &Path, secrets: &Secrets) -> Result<String, String> {
    let text = secrets.file(file)?;
    if text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Ok(text);
    }
    Err(format!("{} cannot stand in a header: it has more than one line, or is not visible ASCII", file.display()))
}

fn body(parts: &[BodyPart], secrets: &Secrets) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            BodyPart::Bytes(part) => bytes.extend_from_slice(part),
            BodyPart::Secret(name) => bytes.extend_from_slice(secrets.file(Path::new(name))?.as_bytes()),
        }
    }
    Ok(bytes)
}

/// Reads the answer as far as it is wanted. A body that breaks off within that breaks the answer.
fn read(response: Response<Body>) -> Result<Answer, Error> {
    let (head, body) = response.into_parts();
    let mut start = Vec::new();
    body.into_reader().take(MAX_BODY as u64).read_to_end(&mut start)?;
    let header = |name: &str| text(&head.headers, name);
    Ok(Answer {
        status: head.status.as_u16(),
        content_type: header("content-type"),
        location: header("location"),
        retry_after: header("retry-after"),
        date: header("date").and_then(|date| WallTime::parse_http_date(&date)),
        cookies: all(&head.headers, "set-cookie"),
        outcome: header("resync-outcome"),
        outcome_error: header("resync-error"),
        body: start,
    })
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned())
}

/// What an error says about the request.
fn ending(error: &Error, stage: Stage) -> Ending {
    let words = words(error);
    match error {
        Error::HostNotFound | Error::Timeout(Timeout::Resolve) => {
            Ending::NotSent(LineFault::Lookup, format!("name lookup fails: {words}"))
        }
        Error::Other(other) if other.is::<LookupFailed>() => {
            Ending::NotSent(LineFault::Lookup, format!("name lookup fails: {words}"))
        }
        // The proxy's word, before anything was sent.
        Error::ConnectProxyFailed(_) if words.contains("407") => Ending::NotSent(LineFault::Credentials, words),
        Error::ConnectProxyFailed(_) => Ending::NotSent(LineFault::NoConnection, words),
        Error::Timeout(Timeout::Connect) => Ending::NotSent(LineFault::ConnectTimeout, "no connection in time".into()),
        Error::Timeout(_) if stage == Stage::Connecting => {
            Ending::NotSent(LineFault::ConnectTimeout, "no connection in time".into())
        }
        Error::Timeout(_) => Ending::Broken(BreakFault::Timeout, "no answer in time".into()),
        Error::Http(_) | Error::BadUri(_) | Error::BodyExceedsLimit(_) => {
            Ending::Unbuildable(format!("the request cannot be built: {words}"))
        }
        Error::Io(io) if is_timeout(io) && stage != Stage::Connecting => {
            Ending::Broken(BreakFault::Timeout, "no answer in time".into())
        }
        _ if stage == Stage::Connecting => Ending::NotSent(connect_fault(&words), words),
        // Under TLS 1.3 the client is through before the server has judged its certificate; a
        // server that refuses it has read nothing of the request.
        _ if refuses_our_certificate(&words) => Ending::NotSent(LineFault::Certificate, words),
        _ => Ending::Broken(BreakFault::Reset, words),
    }
}

/// A certificate's fault stands in the error's words only: the TLS library wraps it in an IO error.
fn connect_fault(words: &str) -> LineFault {
    let has = |part: &str| words.contains(part);
    if !has("certificate") {
        LineFault::NoConnection
    } else if has("expired") || has("not valid yet") || has("not yet valid") {
        LineFault::CertificateTime
    } else {
        LineFault::Certificate
    }
}

fn refuses_our_certificate(words: &str) -> bool {
    let alert = words.split_once("received fatal alert: ").map_or("", |(_, alert)| alert);
    ["CertificateRequired", "BadCertificate", "UnsupportedCertificate", "CertificateRevoked", "CertificateExpired"]
        .iter()
        .chain(&["CertificateUnknown", "UnknownCA", "AccessDenied"])
        .any(|name| alert.starts_with(name))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// The error in words: the innermost cause says what was wrong.
fn words(error: &Error) -> String {
    let mut text = match error {
        Error::Io(io) => io.to_string(),
        other => other.to_string(),
    };
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    // The system's number says nothing that its words do not.
    match text.find(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

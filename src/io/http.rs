//! One HTTP exchange, and what its end was.
//!
//! The client's errors do not tell whether anything was sent, and that is what everything hangs on:
//! was it the line, or may the upstream have it? So two markers in the chain of connectors note how
//! far a request has come ([`Stage`]).

use super::resolve::{CachingResolver, LookupFailed};
use crate::config::Upstream;
use crate::limits::{MAX_BODY, MAX_HEADERS};
use crate::moment::WallTime;
use crate::policy::class::{Answer, BreakFault, Ending, LineFault};
use crate::wire::envelope::{HttpRequest, USER_AGENT};
use std::cell::Cell;
use std::error::Error as _;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;
use ureq::http::{HeaderMap, Request, Response};
use ureq::tls::{RootCerts, TlsConfig};
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

/// A client for one upstream; its clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
}

impl Client {
    /// A client that keeps connections for the next request.
    #[must_use]
    pub fn for_deliveries(upstream: &Upstream) -> Self {
        Self::new(upstream, upstream.timeout, upstream.concurrency)
    }

    /// A client whose every request makes a connection, so that it finds a dead line.
    #[must_use]
    pub fn for_probes(upstream: &Upstream) -> Self {
        /// A probe has nothing to send and little to read.
        const PROBE: Duration = Duration::from_secs(10);
        Self::new(upstream, upstream.timeout.min(PROBE), 0)
    }

    fn new(upstream: &Upstream, timeout: Duration, kept: usize) -> Self {
        /// Under the shortest time for which servers commonly keep an idle connection (5 s): a
        /// request must not meet one that is just being closed.
        const IDLE: Duration = Duration::from_secs(4);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(upstream.connect_timeout))
            .timeout_resolve(Some(upstream.connect_timeout))
            .max_response_header_size(MAX_HEADERS)
            .max_idle_connections(kept)
            .max_idle_connections_per_host(kept)
            .max_idle_age(IDLE)
            .user_agent(USER_AGENT)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build();
        let connector = Before.chain(DefaultConnector::new()).chain(After);
        Self { agent: Agent::with_parts(config, connector, CachingResolver::default()) }
    }

    /// Sends a request and reads its answer.
    #[must_use]
    pub fn send(&self, request: HttpRequest) -> Ending {
        let mut builder = Request::builder().method(request.method).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let built = match builder.body(request.body) {
            Ok(built) => built,
            Err(error) => return Ending::Unbuildable(format!("the request cannot be built: {error}")),
        };
        STAGE.set(Stage::Begun);
        match self.agent.run(built).and_then(read) {
            Ok(answer) => Ending::Answered(answer),
            Err(error) => ending(&error, STAGE.get()),
        }
    }

    /// Asks without a body.
    #[must_use]
    pub fn ask(&self, method: &'static str, url: &str) -> Ending {
        let mut builder = Request::builder().method(method).uri(url);
        builder = builder.header("User-Agent", USER_AGENT);
        match builder.body(()) {
            Err(error) => Ending::Unbuildable(error.to_string()),
            Ok(built) => {
                STAGE.set(Stage::Begun);
                match self.agent.run(built).and_then(read) {
                    Ok(answer) => Ending::Answered(answer),
                    Err(error) => ending(&error, STAGE.get()),
                }
            }
        }
    }
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
        body: start,
    })
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

//! One HTTP exchange, and how it ended.
//!
//! Everything depends on one question: may the upstream have the request? The HTTP client's errors do not answer
//! it; what the layers of the connection have recorded does ([`course`]).

use super::connect::TcpConnect;
use super::course::{self, Course};
use super::resolve::{CachingResolver, LookupFailed};
use super::secrets::{FileVersion, Secrets, stamp};
use super::tls::{self, Way};
use super::transport::{Before, Outermost};
use crate::config::Upstream;
use crate::limits::{MAX_BODY, MAX_HEADERS, MAX_READ_BODY, bytes, cut};
use crate::moment::WallTime;
use crate::policy::class::PROXY_WANTS_CREDENTIALS;
use crate::policy::ending::Answer;
use crate::policy::ending::ConnectError;
use crate::policy::ending::Ending;
use crate::policy::ending::InterruptKind;
use crate::wire::delivery::{BodyPart, HeaderValue, HttpRequest};
use crate::wire::envelope::USER_AGENT;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::error::Error as _;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ureq::http::{HeaderMap, Request, Response};
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};
use ureq::{Agent, Body, Error, Timeout};

/// A body of at least this size may have been too large for the timeout.
const LARGE_BODY: u64 = 64 << 10;
/// Size of each of the client's buffers. The head of a response has to fit.
const BUFFER: usize = 32 << 10;

/// A client for one upstream: performs exchanges, with the current contents of the configured files.
#[derive(Debug)]
pub struct Exchange {
    upstream: Upstream,
    /// Outlives the HTTP clients that are created, so that their lookups do not add up.
    resolver: CachingResolver,
    /// Maximum time without progress.
    timeout: Duration,
    /// Maximum time in total.
    total: Duration,
    /// Maximum connections kept for later requests.
    kept: usize,
    made: Mutex<Option<Made>>,
}

/// HTTP clients, created on demand, and again when one of their files has changed.
#[derive(Debug)]
struct Made {
    stamps: Vec<Option<FileVersion>>,
    tls: TlsConfig,
    agents: Vec<(Way, Keeps, Agent)>,
}

/// Whether a client keeps its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    Open,
    None,
}

impl Exchange {
    /// A client that keeps connections for later requests.
    #[must_use]
    pub fn for_deliveries(upstream: &Upstream, resolver: CachingResolver) -> Self {
        Self::new(upstream, resolver, (upstream.timeout, upstream.total_timeout), upstream.concurrency)
    }

    /// A client that opens a connection for every request, so that it detects an unreachable upstream.
    #[must_use]
    pub fn for_probes(upstream: &Upstream, resolver: CachingResolver) -> Self {
        /// A probe sends nothing and reads little.
        const PROBE: Duration = Duration::from_secs(10);
        let time = upstream.timeout.min(PROBE);
        Self::new(upstream, resolver, (time, time), 0)
    }

    fn new(
        upstream: &Upstream,
        resolver: CachingResolver,
        (timeout, total): (Duration, Duration),
        kept: usize,
    ) -> Self {
        Self { upstream: upstream.clone(), resolver, timeout, total, kept, made: Mutex::new(None) }
    }

    /// The versions of the files that a connection depends on.
    pub(super) fn stamps(&self) -> Vec<Option<FileVersion>> {
        let connection = &self.upstream.connection;
        let own = connection.client_cert.iter().flat_map(|(cert, key)| [cert, key]);
        let all = connection.ca_file.iter().chain(own).chain(&connection.proxy_auth);
        all.map(|file| stamp(file).ok()).collect()
    }

    /// The HTTP client, or why it cannot be created.
    fn agent(&self, way: Way, keeps: Keeps, secrets: &Secrets) -> Result<Agent, String> {
        let stamps = self.stamps();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match made.as_mut() {
            Some(before) if before.stamps == stamps => before,
            _ => made.insert(Made { stamps, tls: tls::config(&self.upstream.connection)?, agents: Vec::new() }),
        };
        if let Some((.., agent)) = made.agents.iter().find(|(of, open, _)| (*of, *open) == (way, keeps)) {
            return Ok(agent.clone());
        }
        let agent = self.make(way, keeps, made.tls.clone(), secrets)?;
        made.agents.push((way, keeps, agent.clone()));
        Ok(agent)
    }

    fn make(&self, way: Way, keeps: Keeps, tls: TlsConfig, secrets: &Secrets) -> Result<Agent, String> {
        /// Below the shortest time for which servers commonly keep an idle connection (5 s): a request must not
        /// meet one that is just being closed.
        const IDLE: Duration = Duration::from_secs(4);
        let connection = &self.upstream.connection;
        let kept = if keeps == Keeps::Open { self.kept } else { 0 };
        let proxy = if way == Way::Tunnel { tls::tunnel(connection, secrets)? } else { None };
        let (resolver, absolute) = match (way, &connection.proxy) {
            (Way::Absolute, Some(proxy)) => {
                let uri = proxy.parse().map_err(|error| format!("the proxy {proxy} cannot be used: {error}"))?;
                (self.resolver.by_way_of(uri), Some(tls::authorization(connection, secrets)?))
            }
            _ => (self.resolver.clone(), None),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .timeout_global(Some(self.total))
            .timeout_connect(Some(self.upstream.connect_timeout))
            .timeout_resolve(Some(self.upstream.connect_timeout))
            .max_response_header_size(MAX_HEADERS)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(kept)
            .max_idle_connections_per_host(kept)
            .max_idle_age(IDLE)
            .user_agent(USER_AGENT)
            // Without this header, a server may encode the body in any way.
            .accept_encoding("identity")
            .tls_config(tls)
            .build();
        let tcp = TcpConnect { idle: self.timeout, proven: self.resolver.proven() };
        let connector = Before
            .chain(ConnectProxyConnector::default())
            .chain(tcp)
            .chain(RustlsConnector::default())
            .chain(Outermost { tunnelled: way == Way::Tunnel, absolute });
        Ok(Agent::with_parts(config, connector, resolver))
    }

    /// Sends a request, with additional headers, and reads the response.
    ///
    /// An open connection may end just as the request is written. If it ends before a byte of the response, nothing
    /// was learned, and the request is sent once more on a new connection.
    #[must_use]
    pub fn send(&self, request: &HttpRequest, secrets: &Secrets, more: &[(String, HeaderValue)]) -> Ending {
        let keeps = if request.reuse { Keeps::Open } else { Keeps::None };
        let ending = self.once(request, secrets, more, keeps);
        let course = course::now();
        let ended = match &ending {
            Ending::Broken(InterruptKind::Reset, _) | Ending::NotSent(ConnectError::NoConnection, _) => {
                !course.answered
            }
            // Servers send this on an idle connection before they close it.
            Ending::Answered(answer) => answer.status == 408,
            _ => false,
        };
        if !(request.reuse && course.reused() && ended) {
            return ending;
        }
        match (ending, self.once(request, secrets, more, Keeps::None)) {
            // It may have arrived through the first connection.
            (first @ Ending::Broken(..), Ending::NotSent(..)) => first,
            (_, again) => again,
        }
    }

    fn once(&self, request: &HttpRequest, secrets: &Secrets, more: &[(String, HeaderValue)], keeps: Keeps) -> Ending {
        course::begin();
        let unsent = |why| Ending::NotSent(ConnectError::Credentials, why);
        let way = tls::way(&self.upstream.connection, &request.url);
        let agent = match self.agent(way, keeps, secrets) {
            Ok(agent) => agent,
            Err(why) => return unsent(why),
        };
        let mut builder = Request::builder().method(request.method).uri(&request.url);
        for (name, value) in request.headers.iter().chain(more) {
            match header(value, secrets) {
                Ok(value) => builder = builder.header(name, value),
                Err(why) => return unsent(why),
            }
        }
        let body = match body(&request.body, secrets) {
            Ok(body) => body,
            Err(why) => return unsent(why),
        };
        let size = body.len() as u64;
        let sent = if body.is_empty() && !expects_body(request.method) {
            builder.body(()).map_err(Error::from).and_then(|built| agent.run(built))
        } else {
            let built = builder.body(body).map_err(Error::from);
            built.and_then(|built| agent.run(agent.configure_request(built).allow_non_standard_methods(true).build()))
        };
        let most = if request.reads_body { MAX_READ_BODY } else { MAX_BODY };
        match sent.and_then(|response| read(response, most)) {
            // Nobody accepts what they have not read.
            Ok(answer) if course::now().cut_short && answer.status / 100 == 2 => {
                let words =
                    format!("HTTP {} before the whole request was sent, and the end of the connection", answer.status);
                Ending::Broken(InterruptKind::Reset, words)
            }
            Ok(answer) => Ending::Answered(answer),
            Err(error) => {
                let ending = self.ending(&error, course::now(), size);
                if matches!(ending, Ending::NotSent(ConnectError::NoConnection | ConnectError::ConnectTimeout, _)) {
                    self.resolver.doubt();
                }
                ending
            }
        }
    }

    /// Classifies an error; `size` is that of the request's body.
    fn ending(&self, error: &Error, course: Course, size: u64) -> Ending {
        match error {
            Error::Timeout(Timeout::Resolve) => {}
            Error::Timeout(_) if course.written == 0 => {
                return Ending::NotSent(ConnectError::ConnectTimeout, "no connection in time".into());
            }
            Error::Timeout(reason) => return self.timed_out(*reason, course, size),
            _ => {}
        }
        not_in_time(error, course)
    }

    /// Classifies a timeout during the request.
    fn timed_out(&self, reason: Timeout, course: Course, size: u64) -> Ending {
        if size < LARGE_BODY || course.answered {
            return Ending::Broken(InterruptKind::Timeout, "no answer in time".into());
        }
        let (key, limit) = match reason {
            Timeout::PerRead | Timeout::PerWrite => ("timeout", self.timeout),
            _ => ("total_timeout", self.total),
        };
        let took = course.writing_for();
        let written = course.written.min(size);
        let rate = (u128::from(course.written) * 1000 / took.as_millis().max(1)).try_into().unwrap_or(u64::MAX);
        let words = format!(
            "a body of {} was not answered in time: {} were sent in {} s ({} a second); {key} is {} s",
            bytes(size),
            bytes(written),
            took.as_secs(),
            bytes(rate),
            limit.as_secs_f32()
        );
        Ending::Broken(InterruptKind::Upload, words)
    }
}

/// Methods whose requests have a body, even an empty one (RFC 9110).
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

/// The text of a file that is a valid header value. Error messages do not contain it.
fn one_line(file: &Path, secrets: &Secrets) -> Result<String, String> {
    let text = secrets.file(file)?;
    if text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Ok(text);
    }
    Err(format!("{} cannot be used in a header: it has more than one line, or is not visible ASCII", file.display()))
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

/// Reads the response, and at most `most` bytes of its body. An error within these bytes fails the response.
fn read(response: Response<Body>, most: usize) -> Result<Answer, Error> {
    let (head, body) = response.into_parts();
    let mut start = Vec::new();
    // One more byte shows whether the body is longer.
    body.into_reader().take(most as u64 + 1).read_to_end(&mut start)?;
    let cut_off = start.len() > most;
    start.truncate(most);
    let header = |name: &str| text(&head.headers, name);
    let coded = |coding: &String| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity");
    Ok(Answer {
        status: head.status.as_u16(),
        content_type: header("content-type"),
        encoding: header("content-encoding").map(|coding| coding.trim().to_owned()).filter(coded),
        location: header("location"),
        retry_after: header("retry-after"),
        date: header("date").and_then(|date| WallTime::parse_http_date(&date)),
        cookies: all(&head.headers, "set-cookie"),
        outcome: header("resync-outcome"),
        outcome_error: header("resync-error"),
        length: header("content-length").and_then(|length| length.trim().parse().ok()),
        body: start,
        cut_off,
    })
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned())
}

/// Classifies an error other than a timeout.
fn not_in_time(error: &Error, course: Course) -> Ending {
    if let Some(fault) = tls_error(error) {
        let (kind, words) = tls::told(fault);
        // Under TLS 1.3 the client's handshake ends before the server has checked its certificate; a server that
        // rejects it has read nothing of the request.
        let refused = kind == ConnectError::Certificate && matches!(fault, rustls::Error::AlertReceived(_));
        return if course.written == 0 || refused {
            Ending::NotSent(kind, words)
        } else {
            Ending::Broken(InterruptKind::Reset, words)
        };
    }
    let words = words(error);
    match error {
        Error::HostNotFound | Error::Timeout(Timeout::Resolve) => {
            Ending::NotSent(ConnectError::Lookup, format!("name lookup fails: {words}"))
        }
        Error::Other(other) if other.is::<LookupFailed>() => {
            Ending::NotSent(ConnectError::Lookup, format!("name lookup fails: {other}"))
        }
        Error::ConnectProxyFailed(said) => by_the_proxy(said),
        // Caused by a header from the configuration, a file or a login, or by a URL from the configuration: parts
        // that come from the failure are encoded.
        Error::Http(_) | Error::BadUri(_) | Error::BodyExceedsLimit(_) => Ending::NotSent(
            ConnectError::Credentials,
            format!("the request cannot be sent as it is configured: {words}"),
        ),
        _ if course.written == 0 => Ending::NotSent(ConnectError::NoConnection, words),
        _ => Ending::Broken(InterruptKind::Reset, words),
    }
}

/// The proxy's response before anything was sent: `proxy server responded 407/407`.
fn by_the_proxy(said: &str) -> Ending {
    let status =
        said.rsplit('/').next().filter(|status| status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit()));
    match status {
        Some("407") => Ending::NotSent(ConnectError::Credentials, format!("HTTP 407: {PROXY_WANTS_CREDENTIALS}")),
        Some(status) => Ending::NotSent(
            ConnectError::NoConnection,
            format!("the proxy makes no connection to the upstream: HTTP {status}"),
        ),
        None => {
            Ending::NotSent(ConnectError::NoConnection, format!("the proxy makes no connection: {}", cut(said, 160)))
        }
    }
}

/// The TLS library's error, which the client may have wrapped in an IO error.
fn tls_error(error: &Error) -> Option<&rustls::Error> {
    match error {
        Error::Io(io) => io.get_ref()?.downcast_ref(),
        Error::Rustls(fault) => Some(fault),
        _ => None,
    }
}

/// The error message: the innermost cause is the most specific.
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
    // The system's error number adds nothing to the message.
    match text.find(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

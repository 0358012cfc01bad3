//! `[upstream.NAME]`: the destination of failures, how to connect to it, and how to interpret its responses.

use super::filling::Filling;
use super::problem::Place;
use super::table::{Document, Table, nearest};
use super::value::{self, pointer};
use crate::limits::{MAX_NAME, quote};
use crate::record::Class;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// One upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name, which is stored with each failure.
    pub name: String,
    /// Base URL of requests; a route's path is appended to it.
    pub url: String,
    /// Timeout of a request without progress.
    pub timeout: Duration,
    /// Timeout of a whole request, from the connection to the end of the response.
    pub total_timeout: Duration,
    /// Timeout of name lookup and connection.
    pub connect_timeout: Duration,
    /// Maximum requests in flight.
    pub concurrency: usize,
    /// Maximum rate of requests.
    pub max_rate: Option<Rate>,
    /// Maximum pacing delay, and maximum gap between probes. For a chain at least the number of terminals divided
    /// by the requests a second that the head office can process.
    pub max_pause: Duration,
    /// What is delivered in order.
    pub ordering: Ordering,
    /// The form of a probe.
    pub probe: Probe,
    /// What proves a delivery.
    pub expect: Expect,
    /// JSON pointer in the response that leads to the failure's id or key.
    pub expect_id: Option<String>,
    /// How connections are established.
    pub connection: Connection,
    /// Credentials of requests.
    pub credentials: Credentials,
    /// Name of the header with the key; `None`: it is not sent.
    pub idempotency_header: Option<String>,
    /// The response headers `Resync-Outcome` and `Resync-Error` decide the result.
    pub adapter: bool,
    /// Rules for responses, which precede the default table.
    pub answers: Vec<AnswerRule>,
}

/// A maximum rate of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Minimum time between two requests.
    pub gap: Duration,
}

/// What is delivered in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// Failures with the same order key.
    #[default]
    Key,
    /// All failures, one at a time.
    Strict,
    /// Nothing.
    None,
}

/// The form of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The URL.
    pub url: String,
    /// The method.
    pub method: ProbeMethod,
    /// Interval while available and idle; `None`: no probes then.
    pub idle: Option<Duration>,
}

/// The method of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMethod {
    /// Cheapest for the upstream.
    Head,
    /// For servers without HEAD.
    Get,
    /// For servers without HEAD.
    Options,
}

impl ProbeMethod {
    /// The name that is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "HEAD",
            Self::Get => "GET",
            Self::Options => "OPTIONS",
        }
    }
}

/// What proves a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Any 2xx that is not HTML.
    #[default]
    Any,
    /// Any 2xx, including HTML.
    Html,
    /// A 2xx with a JSON body.
    Json,
}

/// How connections are established.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Allow plain http to another machine.
    pub insecure: bool,
    /// A certificate authority in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate and its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// The proxy.
    pub proxy: Option<String>,
    /// File with the proxy's `user:password`.
    pub proxy_auth: Option<PathBuf>,
    /// Whether requests are tunnelled.
    pub proxy_tunnel: Tunnel,
    /// Hosts and networks that are contacted without the proxy.
    pub no_proxy: Vec<String>,
}

/// How a request uses a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tunnel {
    /// With CONNECT for https, with an absolute URL for http.
    #[default]
    Auto,
    /// Always with CONNECT.
    Always,
    /// Never with CONNECT: then only plain http uses the proxy.
    Never,
}

impl Tunnel {
    const ALL: [(&'static str, Self); 3] = [("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, tunnel)| *tunnel == self).map_or("auto", |(name, _)| name)
    }
}

/// Credentials of requests. Secrets are in files, never in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `Authorization`.
    pub authorization: Authorization,
    /// Literal headers.
    pub headers: Vec<(String, String)>,
    /// Headers whose values are read from files.
    pub header_files: Vec<(String, PathBuf)>,
    /// A session or an access token that has to be fetched.
    pub login: Option<Login>,
}

/// `Authorization`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// None.
    #[default]
    None,
    /// `Bearer` and the content of the file.
    Token(PathBuf),
    /// `Basic` and the file's `user:password`.
    Basic(PathBuf),
}

/// `[upstream.NAME.login]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// URL of the POST.
    pub url: String,
    /// Its body.
    pub body_file: PathBuf,
    /// Its content type.
    pub content_type: String,
    /// Cookies of the response that are sent with every request.
    pub cookies: Vec<String>,
    /// A header for every request, filled from the answer: `Authorization: Bearer {/access_token}`.
    pub header: Option<(String, Filling)>,
    /// How long it holds.
    pub max_age: MaxAge,
}

/// How long a login is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// Until the upstream rejects it.
    Unknown,
    /// For this period.
    Fixed(Duration),
    /// For the seconds at this pointer of the response.
    Pointer(String),
}

/// `[[upstream.NAME.answer]]`: all conditions must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRule {
    /// The status is one of these; empty: any.
    pub status: Vec<u16>,
    /// These pointers lead to these values.
    pub json: Vec<(String, serde_json::Value)>,
    /// This pointer leads to a value, possibly null.
    pub present: Option<String>,
    /// This pointer leads to a text, list or object that is not empty.
    pub nonempty: Option<String>,
    /// The body contains this text.
    pub contains: Option<String>,
    /// The meaning of the response.
    pub is: Meaning,
    /// Pointer to the error message.
    pub message: Option<String>,
}

impl AnswerRule {
    /// Returns whether it needs the body as JSON.
    #[must_use]
    pub fn needs_json(&self) -> bool {
        !self.json.is_empty() || self.present.is_some() || self.nonempty.is_some()
    }
}

/// The meaning that an answer rule assigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// This class.
    Is(Class),
    /// The session has ended.
    Login,
}

impl Meaning {
    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Is(class) => class.as_str(),
            Self::Login => "login",
        }
    }

    fn all() -> Vec<(&'static str, Self)> {
        let classes = Class::ALL.into_iter().map(|class| (class.as_str(), Self::Is(class)));
        classes.chain([("login", Self::Login)]).collect()
    }
}

impl Upstream {
    /// Returns whether a proof or an answer rule needs the body.
    #[must_use]
    pub fn reads_bodies(&self) -> bool {
        let rules = || self.answers.iter().any(|rule| rule.needs_json() || rule.contains.is_some());
        self.expect == Expect::Json || self.expect_id.is_some() || rules()
    }

    /// An upstream with this URL and defaults for everything else.
    #[must_use]
    pub fn with_url(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(5),
            concurrency: 4,
            max_rate: None,
            max_pause: Duration::from_secs(60),
            ordering: Ordering::default(),
            probe: Probe { url: url.to_owned(), method: ProbeMethod::Head, idle: None },
            expect: Expect::default(),
            expect_id: None,
            connection: Connection::default(),
            credentials: Credentials::default(),
            idempotency_header: Some("Idempotency-Key".to_owned()),
            adapter: false,
            answers: Vec::new(),
        }
    }
}

/// Headers of the agent or of the protocol, which the configuration cannot replace.
const RESERVED: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Returns whether a header with this name belongs to the agent or the protocol.
fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    RESERVED.contains(&lower.as_str()) || lower.starts_with("resync-")
}

impl Document<'_> {
    /// All upstreams, in the order of the file.
    pub(super) fn upstreams(&mut self, section: Option<Table>) -> Vec<Upstream> {
        let Some(mut all) = section else { return Vec::new() };
        let mut found = Vec::new();
        if let Some((key, span)) = all.stray() {
            let message = format!("an upstream has a name: write [upstream.hq] above {key}, instead of [upstream]");
            self.report(Place::Span(span), message);
            return found;
        }
        let names: Vec<String> = all.names().into_iter().map(|(name, _)| name).collect();
        for (name, span) in all.names() {
            // The name is used for a thread, in the table, in logs and in replies.
            if !(1..=MAX_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
                let message =
                    format!("{name:?}: an upstream's name has 1 to {MAX_NAME} characters and no control character");
                self.report(Place::Span(span.clone()), message);
            }
            if let Some(table) = all.table(&name, self) {
                found.push(self.one_upstream(&name, &names, &span, table));
            }
        }
        found
    }

    fn one_upstream(&mut self, name: &str, others: &[String], span: &Range<usize>, mut section: Table) -> Upstream {
        let mut upstream = Upstream::with_url(name, "");
        upstream.connection = self.connection(&mut section);
        let insecure = upstream.connection.insecure;
        match section.base_url("url", insecure, self) {
            Some(url) => upstream.url = url,
            None if !section.has("url") && self.unreadable.is_empty() => {
                let others = others.iter().map(String::as_str).filter(|other| *other != name);
                let near = nearest(others, name).map(|near| format!("; did you mean [upstream.{near}]?"));
                let message = format!(
                    "upstream {name} needs a url, such as url = \"https://hq.example/sync\"{}",
                    near.unwrap_or_default()
                );
                self.report(Place::Span(span.clone()), message);
            }
            None => {}
        }
        upstream.probe = self.probe(&mut section, &upstream.url, insecure);
        self.pace(&mut section, &mut upstream);
        self.proof(&mut section, &mut upstream);
        upstream.credentials = self.credentials(&mut section, insecure);
        upstream.answers =
            section.tables("answer", self).into_iter().filter_map(|rule| self.answer_rule(rule)).collect();
        section.finish(self);
        upstream
    }

    fn connection(&mut self, section: &mut Table) -> Connection {
        let cert = section.secret_file("client_cert", self);
        let key = section.secret_file("client_key", self);
        if section.has("client_cert") != section.has("client_key") {
            let there = if section.has("client_cert") { "client_cert" } else { "client_key" };
            self.report(section.at(there), "client_cert and client_key go together: set both".to_owned());
        }
        let proxy = section.read("proxy", self, |text| {
            if !text.contains("://") {
                return Err(format!("expected a URL such as \"http://proxy:3128\", found {:?}", quote(text)));
            }
            value::url(text, true).map(|()| text.to_owned())
        });
        let (proxy, auth) = (proxy.map(|(url, _)| url), section.secret_file("proxy_auth_file", self));
        if auth.is_some() && !section.has("proxy") {
            let message = "proxy_auth_file needs proxy, such as proxy = \"http://proxy:3128\"".to_owned();
            self.report(section.at("proxy_auth_file"), message);
        }
        Connection {
            insecure: section.truth("insecure", self).unwrap_or(false),
            ca_file: section.secret_file("ca_file", self),
            client_cert: cert.zip(key),
            proxy,
            proxy_auth: auth,
            proxy_tunnel: section.choice("proxy_tunnel", &Tunnel::ALL, self).unwrap_or_default(),
            no_proxy: self.no_proxy(section),
        }
    }

    fn no_proxy(&mut self, section: &mut Table) -> Vec<String> {
        let Some((entries, span)) = section.words("no_proxy", self) else { return Vec::new() };
        for entry in &entries {
            if Exception::parse(entry).is_none() {
                let expected = "a host, a domain such as .example.com, an address or a network, with or without a port";
                self.report(Place::Span(span.clone()), format!("no_proxy: expected {expected}, found {entry:?}"));
            }
        }
        entries
    }

    fn probe(&mut self, section: &mut Table, url: &str, insecure: bool) -> Probe {
        let methods = [("HEAD", ProbeMethod::Head), ("GET", ProbeMethod::Get), ("OPTIONS", ProbeMethod::Options)];
        let idle = section.duration("probe_idle", &(Duration::ZERO..=Duration::from_secs(86_400)), self);
        Probe {
            url: section.url("probe_url", insecure, self).unwrap_or_else(|| url.to_owned()),
            method: section.choice("probe_method", &methods, self).unwrap_or(ProbeMethod::Head),
            idle: idle.filter(|every| !every.is_zero()),
        }
    }

    fn pace(&mut self, section: &mut Table, upstream: &mut Upstream) {
        let short = Duration::from_millis(100)..=Duration::from_secs(600);
        let orders = [("key", Ordering::Key), ("strict", Ordering::Strict), ("none", Ordering::None)];
        if let Some(timeout) = section.duration("timeout", &short, self) {
            upstream.timeout = timeout;
        }
        let long = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
        if let Some(timeout) = section.duration("total_timeout", &long, self) {
            upstream.total_timeout = timeout;
        }
        if let Some(timeout) = section.duration("connect_timeout", &short, self) {
            upstream.connect_timeout = timeout;
        }
        if let Some(pause) = section.duration("max_pause", &(Duration::from_secs(1)..=Duration::from_secs(3600)), self)
        {
            upstream.max_pause = pause;
        }
        if let Some(most) = section.number("concurrency", 1..=64, self) {
            upstream.concurrency = usize::try_from(most).unwrap_or(64);
        }
        upstream.max_rate = section.read("max_rate", self, rate).map(|(rate, _)| rate);
        upstream.ordering = section.choice("ordering", &orders, self).unwrap_or_default();
    }

    fn proof(&mut self, section: &mut Table, upstream: &mut Upstream) {
        let expects = [("any", Expect::Any), ("html", Expect::Html), ("json", Expect::Json)];
        upstream.expect = section.choice("expect", &expects, self).unwrap_or_default();
        upstream.expect_id = section.read("expect_id", self, pointer).map(|(pointer, _)| pointer);
        upstream.adapter = section.truth("adapter", self).unwrap_or(false);
        if let Some((name, span)) = section.text("idempotency_header", self) {
            // An empty name disables the header.
            upstream.idempotency_header = (!name.is_empty()).then_some(name);
            match &upstream.idempotency_header {
                Some(name) if !is_header_name(name) => {
                    self.report(Place::Span(span), "idempotency_header: not a header's name".to_owned());
                }
                Some(name) if name.eq_ignore_ascii_case("idempotency-key") => {}
                Some(name) if is_reserved(name) || name.eq_ignore_ascii_case("authorization") => {
                    let message =
                        format!("idempotency_header: {name} has a meaning of its own and cannot carry the key");
                    self.report(Place::Span(span), message);
                }
                _ => {}
            }
        }
    }

    fn credentials(&mut self, section: &mut Table, insecure: bool) -> Credentials {
        let token = section.secret_file("token_file", self);
        let basic = section.secret_file("basic_file", self);
        if token.is_some() && basic.is_some() {
            self.report(section.at("basic_file"), "token_file and basic_file exclude each other".to_owned());
        }
        let authorization = match (token, basic) {
            (Some(file), _) => Authorization::Token(file),
            (None, Some(file)) => Authorization::Basic(file),
            (None, None) => Authorization::None,
        };
        Credentials {
            authorization,
            headers: self.headers(section, "headers"),
            header_files: self.header_files(section),
            login: section.table("login", self).and_then(|login| self.login(login, insecure)),
        }
    }

    /// Literal headers, which must not be the agent's own.
    pub(super) fn headers(&mut self, section: &mut Table, key: &str) -> Vec<(String, String)> {
        let Some(mut table) = section.table(key, self) else { return Vec::new() };
        let mut headers = Vec::new();
        for (name, span) in table.names() {
            let Some((text, _)) = table.text(&name, self) else { continue };
            self.judge_header(&name, &span);
            if text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
                headers.push((name, text));
            } else {
                self.report(
                    Place::Span(span),
                    format!("{name}: expected visible ASCII, because a header carries nothing else"),
                );
            }
        }
        headers
    }

    fn header_files(&mut self, section: &mut Table) -> Vec<(String, PathBuf)> {
        let Some(mut table) = section.table("header_files", self) else { return Vec::new() };
        let mut headers = Vec::new();
        for (name, span) in table.names() {
            self.judge_header(&name, &span);
            headers.extend(table.secret_file(&name, self).map(|file| (name, file)));
        }
        headers
    }

    fn judge_header(&mut self, name: &str, span: &Range<usize>) {
        if !is_header_name(name) {
            self.report(Place::Span(span.clone()), format!("{name}: not a header's name"));
        } else if is_reserved(name) {
            self.report(Place::Span(span.clone()), format!("{name} is set by the agent itself and cannot be replaced"));
        }
    }

    /// `content_type`: a header's value.
    pub(super) fn content_type(&mut self, section: &mut Table) -> String {
        let read = section.read("content_type", self, |text| {
            let sendable = !text.trim().is_empty() && text.bytes().all(|b| (0x20..=0x7e).contains(&b));
            if sendable { Ok(text.to_owned()) } else { Err("expected visible ASCII on one line".to_owned()) }
        });
        read.map_or_else(|| "application/json".to_owned(), |(text, _)| text)
    }

    fn login(&mut self, mut section: Table, insecure: bool) -> Option<Login> {
        let url = section.url("url", insecure, self);
        let body_file = section.secret_file("body_file", self);
        let header = section.read("header", self, |text| {
            let (name, value) =
                text.split_once(':').ok_or("expected \"Name: value\", with {/pointer} from the answer")?;
            let (name, value) = (name.trim(), value.trim());
            if !is_header_name(name) {
                return Err(format!("{name:?} is not a header's name"));
            }
            if is_reserved(name) && !name.eq_ignore_ascii_case("cookie") {
                return Err(format!("{name} is set by the agent itself and cannot be replaced"));
            }
            if !value.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
                return Err("expected visible ASCII on one line".to_owned());
            }
            Ok((name.to_owned(), Filling::parse(value)?))
        });
        let login = Login {
            url: url.clone().unwrap_or_default(),
            body_file: body_file.clone().unwrap_or_default(),
            content_type: self.content_type(&mut section),
            cookies: section.texts("cookies", self).unwrap_or_default(),
            header: header.map(|(header, _)| header),
            max_age: section.read("max_age", self, max_age).map_or(MaxAge::Unknown, |(age, _)| age),
        };
        let proof = section.has("cookies") || section.has("header");
        if !(section.has("url") && section.has("body_file") && proof) {
            self.report(section.at(""), "a login needs url, body_file, and cookies or a header".to_owned());
        }
        section.finish(self);
        (url.is_some() && body_file.is_some()).then_some(login)
    }

    fn answer_rule(&mut self, mut section: Table) -> Option<AnswerRule> {
        let mut pointer_of =
            |key: &str, document: &mut Self| section.read(key, document, pointer).map(|(pointer, _)| pointer);
        let (present, nonempty, message) =
            (pointer_of("present", self), pointer_of("nonempty", self), pointer_of("message", self));
        let is = section.choice("is", &Meaning::all(), self);
        if is.is_none() && !section.has("is") {
            let words: Vec<&str> = Meaning::all().into_iter().map(|(word, _)| word).collect();
            self.report(section.at("is"), format!("an answer rule needs is = one of: {}", words.join(", ")));
        }
        let rule = AnswerRule {
            status: section.statuses("status", self),
            json: section.values("json", self),
            present,
            nonempty,
            contains: section.text("contains", self).map(|(text, _)| text),
            is: is?,
            message,
        };
        section.finish(self);
        Some(rule)
    }
}

/// An entry of `no_proxy`: a host or network, optionally limited to one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// In lower case, without brackets.
    pub host: String,
    /// `None`: every port.
    pub port: Option<u16>,
}

impl Exception {
    /// Parses an entry; `None` if it is invalid.
    #[must_use]
    pub fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
        let (host, port) = if let Some(v6) = entry.strip_prefix('[') {
            let (host, behind) = v6.split_once(']')?;
            (host, if behind.is_empty() { None } else { Some(port(behind.strip_prefix(':')?)?) })
        } else {
            match entry.split_once(':') {
                // More than one colon: an IPv6 address without brackets, and therefore without a port.
                Some((host, text)) if !text.contains(':') => (host, Some(port(text)?)),
                _ => (entry.as_str(), None),
            }
        };
        let (network, bits) = host.split_once('/').map_or((host, None), |(network, bits)| (network, Some(bits)));
        let sound = match (bits, network.parse::<IpAddr>()) {
            (Some(bits), Ok(IpAddr::V4(_))) => bits.parse::<u8>().is_ok_and(|bits| bits <= 32),
            (Some(bits), Ok(IpAddr::V6(_))) => bits.parse::<u8>().is_ok_and(|bits| bits <= 128),
            (Some(_), Err(_)) => false,
            (None, Ok(_)) => true,
            (None, Err(_)) => {
                let name = network.strip_prefix("*.").unwrap_or(network);
                network == "*"
                    || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)))
            }
        };
        sound.then(|| Self { host: host.to_owned(), port })
    }
}

/// `"10/s"`, `"30/m"`
fn rate(text: &str) -> Result<Rate, String> {
    let expected = || {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim().trim_start_matches('/').trim_start());
        let unit = match unit.to_ascii_lowercase().as_str() {
            "" | "s" | "sec" | "second" => Some("s"),
            "m" | "min" | "minute" => Some("m"),
            "h" | "hour" => Some("h"),
            _ => None,
        };
        let meant = unit.filter(|_| number.parse::<u32>().is_ok_and(|number| number > 0));
        let meant = meant.map(|unit| format!("; did you mean \"{number}/{unit}\"?")).unwrap_or_default();
        format!("expected a rate such as \"10/s\" or \"30/m\", found {:?}{meant}", quote(text))
    };
    let (number, unit) = text.split_once('/').ok_or_else(expected)?;
    let number: u32 = number.parse().map_err(|_| expected())?;
    let time = match unit {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return Err(expected()),
    };
    if number == 0 { Err(expected()) } else { Ok(Rate { gap: time / number }) }
}

/// `"25m"`, or `"{/expires_in}"`: seconds in the login's response.
fn max_age(text: &str) -> Result<MaxAge, String> {
    match text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
        Some(inner) => pointer(inner).map(MaxAge::Pointer),
        None => value::duration(text).map(MaxAge::Fixed),
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

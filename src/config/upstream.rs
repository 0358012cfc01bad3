//! `[upstream.NAME]`: where failures go, how that is reached, and how its answers are understood.

use super::problem::Place;
use super::table::{Document, Table};
use super::value;
use crate::record::Class;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// One upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name, as it is stored with each failure.
    pub name: String,
    /// Where requests go; a route's path is appended to it.
    pub url: String,
    /// A request, from the connection to the end of the answer.
    pub timeout: Duration,
    /// Name look-up and connection.
    pub connect_timeout: Duration,
    /// Requests in flight at once.
    pub concurrency: usize,
    /// The least time between two requests.
    pub max_rate: Option<Rate>,
    /// The longest pause after a no, and between probes. For a chain at least the number of
    /// terminals divided by the requests a second that the head office serves.
    pub max_pause: Duration,
    /// What is delivered in order.
    pub ordering: Ordering,
    /// How a probe asks.
    pub probe: Probe,
    /// What proves a delivery.
    pub expect: Expect,
    /// This JSON pointer of the answer holds the failure's id or key.
    pub expect_id: Option<String>,
    /// How the connection is made.
    pub connection: Connection,
    /// Whose word it is sent on.
    pub credentials: Credentials,
    /// The name of the header with the key; `None`: it is not sent.
    pub idempotency_header: Option<String>,
    /// The answer's headers `Resync-Outcome` and `Resync-Error` decide.
    pub adapter: bool,
    /// How answers are understood, before the table.
    pub answers: Vec<AnswerRule>,
}

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time between two of them.
    pub gap: Duration,
}

/// What an upstream gets in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// What has the same order key.
    #[default]
    Key,
    /// Everything, one at a time.
    Strict,
    /// Nothing.
    None,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// For what.
    pub url: String,
    /// With which method.
    pub method: ProbeMethod,
    /// While open and idle, this often; `None`: not at all.
    pub idle: Option<Duration>,
}

/// How a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMethod {
    /// Costs the upstream least.
    Head,
    /// For those that do not know HEAD.
    Get,
    /// The same.
    Options,
}

impl ProbeMethod {
    /// As it is sent.
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
    /// HTML as well.
    Html,
    /// A JSON body.
    Json,
}

/// How a connection is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Plain http to another machine is allowed.
    pub insecure: bool,
    /// A certificate authority beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Through this proxy,
    pub proxy: Option<String>,
    /// but not to these hosts and networks.
    pub no_proxy: Vec<String>,
}

/// Whose word requests are sent on. Secrets are in files, never in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `Authorization`.
    pub authorization: Authorization,
    /// Headers as they stand.
    pub headers: Vec<(String, String)>,
    /// Headers whose values are in files.
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
    /// `Bearer` and the file's contents.
    Token(PathBuf),
    /// `Basic` and the file's `user:password`.
    Basic(PathBuf),
}

/// `[upstream.NAME.login]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Where the POST goes.
    pub url: String,
    /// Its body.
    pub body_file: PathBuf,
    /// Its content type.
    pub content_type: String,
    /// Cookies of the answer that go with every request.
    pub cookies: Vec<String>,
    /// A header for every request, filled from the answer: `Authorization: Bearer {/access_token}`.
    pub header: Option<(String, String)>,
    /// How long it holds.
    pub max_age: MaxAge,
}

/// How long a login holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// Until the upstream says no.
    Unknown,
    /// So long.
    Fixed(Duration),
    /// Seconds at this pointer of its answer.
    Pointer(String),
}

/// `[[upstream.NAME.answer]]`: all conditions must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRule {
    /// One of these statuses; empty: any.
    pub status: Vec<u16>,
    /// This pointer holds this value.
    pub json: Vec<(String, serde_json::Value)>,
    /// This pointer leads to something, be it null.
    pub present: Option<String>,
    /// This pointer leads to a text, list or object that is not empty.
    pub nonempty: Option<String>,
    /// The body contains this text.
    pub contains: Option<String>,
    /// What it says.
    pub is: Meaning,
    /// The pointer to its words.
    pub message: Option<String>,
}

/// What an answer rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// What this class says.
    Is(Class),
    /// The session has ended.
    Login,
}

impl Meaning {
    /// As it is written.
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
    /// An upstream with this URL and everything else by default.
    #[must_use]
    pub fn with_url(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            timeout: Duration::from_secs(30),
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

/// Headers that are the agent's own; configured ones cannot replace them (`spec/03`).
const RESERVED: [&str; 8] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "idempotency-key",
    "user-agent",
    "cookie",
];

impl Document<'_> {
    /// All upstreams, in the order of the file.
    pub(super) fn upstreams(&mut self, section: Option<Table>) -> Vec<Upstream> {
        let Some(mut all) = section else { return Vec::new() };
        let mut found = Vec::new();
        for (name, span) in all.names() {
            if let Some(table) = all.table(&name, self) {
                found.push(self.one_upstream(&name, &span, table));
            }
        }
        found
    }

    fn one_upstream(&mut self, name: &str, span: &Range<usize>, mut section: Table) -> Upstream {
        let mut upstream = Upstream::with_url(name, "");
        upstream.connection = self.connection(&mut section);
        let insecure = upstream.connection.insecure;
        match section.url("url", insecure, self) {
            Some(url) => upstream.url = url,
            None if !section.known_here("url") => {
                let message = format!("upstream {name} needs a url, such as url = \"https://hq.example/sync\"");
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
        if cert.is_some() != key.is_some() {
            self.report(Place::Key("client_cert"), "client_cert and client_key go together".to_owned());
        }
        Connection {
            insecure: section.truth("insecure", self).unwrap_or(false),
            ca_file: section.secret_file("ca_file", self),
            client_cert: cert.zip(key),
            proxy: section.url("proxy", true, self),
            no_proxy: section.texts("no_proxy", self).unwrap_or_default(),
        }
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
            // An empty name switches it off.
            upstream.idempotency_header = (!name.is_empty()).then_some(name);
            if upstream.idempotency_header.as_ref().is_some_and(|name| !is_header_name(name)) {
                self.report(Place::Span(span), "idempotency_header: not a header's name".to_owned());
            }
        }
    }

    fn credentials(&mut self, section: &mut Table, insecure: bool) -> Credentials {
        let token = section.secret_file("token_file", self);
        let basic = section.secret_file("basic_file", self);
        if token.is_some() && basic.is_some() {
            self.report(Place::Key("token_file"), "token_file and basic_file exclude each other".to_owned());
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

    /// Headers as they stand, without the agent's own.
    pub(super) fn headers(&mut self, section: &mut Table, key: &str) -> Vec<(String, String)> {
        let Some(mut table) = section.table(key, self) else { return Vec::new() };
        let mut headers = Vec::new();
        for (name, span) in table.names() {
            let Some((text, _)) = table.text(&name, self) else { continue };
            self.judge_header(&name, &span);
            if text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
                headers.push((name, text));
            } else {
                self.report(Place::Span(span), format!("{name}: expected visible ASCII"));
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
        let lower = name.to_ascii_lowercase();
        if !is_header_name(name) {
            self.report(Place::Span(span.clone()), format!("{name}: not a header's name"));
        } else if RESERVED.contains(&lower.as_str()) || lower.starts_with("resync-") {
            self.report(Place::Span(span.clone()), format!("{name} is the agent's own header and cannot be replaced"));
        }
    }

    fn login(&mut self, mut section: Table, insecure: bool) -> Option<Login> {
        let url = section.url("url", insecure, self);
        let body_file = section.secret_file("body_file", self);
        let header = section.read("header", self, |text| {
            let (name, value) =
                text.split_once(':').ok_or("expected \"Name: value\", with {/pointer} from the answer")?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        let login = Login {
            url: url.clone().unwrap_or_default(),
            body_file: body_file.clone().unwrap_or_default(),
            content_type: section
                .text("content_type", self)
                .map_or_else(|| "application/json".to_owned(), |(text, _)| text),
            cookies: section.texts("cookies", self).unwrap_or_default(),
            header: header.map(|(header, _)| header),
            max_age: section.read("max_age", self, max_age).map_or(MaxAge::Unknown, |(age, _)| age),
        };
        if url.is_none() || body_file.is_none() || (login.cookies.is_empty() && login.header.is_none()) {
            self.report(Place::Key("login"), "a login needs url, body_file, and cookies or a header".to_owned());
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
        if is.is_none() && !section.known_here("is") {
            self.report(Place::Key("answer"), "an answer rule needs is = one of the classes, or \"login\"".to_owned());
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

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("expected a JSON pointer such as \"/error/message\", found {text:?}"))
    }
}

/// `"10/s"`, `"30/m"`
fn rate(text: &str) -> Result<Rate, String> {
    let expected = || format!("expected a rate such as \"10/s\" or \"30/m\", found {text:?}");
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

/// `"25m"`, or `"{/expires_in}"`: seconds in the login's answer.
fn max_age(text: &str) -> Result<MaxAge, String> {
    match text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
        Some(inner) => pointer(inner).map(MaxAge::Pointer),
        None => value::duration(text).map(MaxAge::Fixed),
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

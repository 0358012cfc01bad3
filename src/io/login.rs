//! A session or an access token: fetched with a POST, used until it ends, then fetched again.
//!
//! There is one login at a time, whichever requests need it. After a rejected one the next waits 1 min × 2ⁿ, at
//! most 1 h, because back ends lock accounts. A changed credential ends that delay, and so does an operator's
//! `resume`. Another response at the login's URL (a portal, a redirect, a page that is not found) is not a
//! rejection, and causes no delay.
//!
//! However a login ends, it is no evidence about the failure that it was needed for.
#![expect(clippy::disallowed_methods, reason = "a session's age has no other use")]

use super::clock::wall;
use super::http::Exchange;
use super::secrets::{FileVersion, Secrets};
use crate::config::filling::{Filling, Part};
use crate::config::upstream::{Login, MaxAge};
use crate::policy::body::Body;
use crate::policy::class::{Class, of_status, retry_after};
use crate::policy::ending::Answer;
use crate::policy::ending::ConnectError;
use crate::policy::ending::Contact;
use crate::policy::ending::Ending;
use crate::policy::ending::LoginEnd;
use crate::policy::ending::Target;
use crate::wire::delivery::{BodyPart, HeaderValue, HttpRequest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The session of one upstream.
#[derive(Debug)]
pub struct Session {
    login: Login,
    state: Mutex<State>,
    /// An operator requested another login, regardless of earlier rejections.
    again: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Headers of every request, and their expiry.
    current: Option<Current>,
    refused: Option<Refused>,
    /// Number of logins, so that two requests which found the same session ended cause one login.
    generation: u64,
}

/// The last logins were rejected.
#[derive(Debug)]
struct Refused {
    /// How many in a row.
    times: u32,
    /// Earliest time of the next login.
    next: Instant,
    why: String,
    /// Fingerprint of the credentials that were used, to detect a change.
    with: u64,
}

#[derive(Clone)]
struct Current {
    headers: Vec<(String, HeaderValue)>,
    until: Option<Instant>,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current")
    }
}

/// A session's headers, and the login that they are from.
pub struct SessionHeaders {
    /// Headers of every request.
    pub headers: Vec<(String, HeaderValue)>,
    /// To be passed back when the upstream reports that the session has ended.
    pub generation: u64,
}

/// Why a login did not yield a session.
enum LoginError {
    /// Any reason other than a rejection by the login server.
    Line(Box<Ending>),
    /// It was rejected, or the response has no session.
    Refused(String),
}

const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// A session is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(5);

/// A login is in progress while this lives, even if it ends by a panic.
struct LoginGuard<'a>(&'a dyn Fn(bool));

impl<'a> LoginGuard<'a> {
    fn begin(tell: &'a dyn Fn(bool)) -> Self {
        tell(true);
        Self(tell)
    }
}

impl Drop for LoginGuard<'_> {
    fn drop(&mut self) {
        (self.0)(false);
    }
}

impl Session {
    /// A session that has to be fetched first.
    #[must_use]
    pub fn new(login: Login) -> Self {
        Self { login, state: Mutex::default(), again: AtomicBool::new(false) }
    }

    /// Makes the next request that needs a session log in, regardless of earlier rejections.
    pub fn try_again(&self) {
        self.again.store(true, Ordering::SeqCst);
    }

    /// The session's headers, or how the exchange ends without them. `ended` is the ticket that the upstream
    /// rejected, and `logging_in` is called when a login begins and when it has ended.
    pub fn ticket(
        &self,
        exchange: &Exchange,
        secrets: &Secrets,
        ended: Option<u64>,
        logging_in: &dyn Fn(bool),
    ) -> Result<SessionHeaders, Box<Ending>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if ended == Some(state.generation) {
            state.current = None;
        }
        let now = Instant::now();
        if let Some(current) = state.current.as_ref().filter(|current| current.until.is_none_or(|until| now < until)) {
            return Ok(SessionHeaders { headers: current.headers.clone(), generation: state.generation });
        }
        let body = secrets.file(&self.login.body_file).map_err(|why| Box::new(refused(&why)))?;
        let with = print_of(&body, &exchange.stamps());
        if self.again.swap(false, Ordering::SeqCst)
            || state.refused.as_ref().is_some_and(|refused| refused.with != with)
        {
            state.refused = None;
        }
        if let Some(Refused { next, why, .. }) = state.refused.as_ref().filter(|refused| now < refused.next) {
            let wait = next.saturating_duration_since(now).as_secs() + 1;
            return Err(Box::new(refused(&format!("{why}; the next login is in {wait} s, or after: resyncd resume"))));
        }
        let login = LoginGuard::begin(logging_in);
        let fetched = self.fetch(exchange, secrets, body);
        drop(login);
        match fetched {
            Ok(current) => {
                state.refused = None;
                state.generation += 1;
                let ticket = SessionHeaders { headers: current.headers.clone(), generation: state.generation };
                state.current = Some(current);
                Ok(ticket)
            }
            Err(LoginError::Refused(why)) => {
                let times = state.refused.as_ref().map_or(0, |refused| refused.times);
                let wait = FIRST_WAIT.saturating_mul(1 << times.min(10)).min(LONGEST_WAIT);
                let end = refused(&why);
                state.refused = Some(Refused { times: times + 1, next: now + wait, why, with });
                Err(Box::new(end))
            }
            Err(LoginError::Line(ending)) => Err(ending),
        }
    }

    fn fetch(&self, exchange: &Exchange, secrets: &Secrets, body: String) -> Result<Current, LoginError> {
        let login = &self.login;
        let request = HttpRequest {
            headers: vec![("Content-Type".to_owned(), HeaderValue::Text(login.content_type.clone()))],
            body: vec![BodyPart::Bytes(body.into_bytes())],
            ..HttpRequest::bare("POST", &login.url)
        };
        match exchange.send(&request, secrets, &[]) {
            Ending::Answered(answer) => match away(&answer, &Target::of(&login.url)) {
                Some(end) => Err(LoginError::Line(Box::new(Ending::LoginError(end)))),
                None if answer.status / 100 == 2 => self.understood(&answer),
                None => Err(LoginError::Refused(format!("the login was refused: HTTP {}", answer.status))),
            },
            // The login request may have arrived. The failure's request was not sent.
            Ending::Broken(_, why) => {
                let error = format!("the login got no answer: {why}");
                let (class, contact) = (Class::Unreachable, Contact::Silent);
                let end = LoginEnd { class, error, retry_after: None, contact };
                Err(LoginError::Line(Box::new(Ending::LoginError(end))))
            }
            Ending::InvalidRequest(why) => {
                Err(LoginError::Line(Box::new(Ending::NotSent(ConnectError::Credentials, why))))
            }
            unsent => Err(LoginError::Line(Box::new(unsent))),
        }
    }

    /// Extracts the session from the login's response.
    fn understood(&self, answer: &Answer) -> Result<Current, LoginError> {
        let body = Body::of(answer);
        let at = |pointer: &str| body.json().ok().and_then(|json| json.pointer(pointer));
        let mut headers = Vec::new();
        let cookies: Vec<String> = answer
            .cookies
            .iter()
            .filter_map(|cookie| cookie.split(';').next())
            .filter(|pair| {
                pair.split_once('=')
                    .is_some_and(|(name, _)| self.login.cookies.iter().any(|wanted| wanted == name.trim()))
            })
            .map(str::to_owned)
            .collect();
        if !cookies.is_empty() {
            headers.push(("Cookie".to_owned(), HeaderValue::Text(cookies.join("; "))));
        }
        if let Some((name, template)) = &self.login.header {
            let value = filled(template, &at, &|name| cookie(answer, name)).ok_or_else(|| {
                let why = body.json().err().map(|why| format!(": {why}")).unwrap_or_default();
                LoginError::Refused(format!("the login's answer does not hold what {name} needs{why}"))
            })?;
            headers.push((name.clone(), HeaderValue::Text(value)));
        }
        if headers.is_empty() {
            return Err(LoginError::Refused(format!(
                "the login set none of the cookies {}",
                self.login.cookies.join(", ")
            )));
        }
        if let Some(name) = headers.iter().find_map(|(name, value)| (!can_be_sent(value)).then_some(name)) {
            let error = format!("the login's answer holds for {name} what no header can hold (a line end?)");
            return Err(LoginError::Line(Box::new(Ending::NotSent(ConnectError::Credentials, error))));
        }
        let age = match &self.login.max_age {
            MaxAge::Unknown => None,
            MaxAge::Fixed(age) => Some(*age),
            MaxAge::Pointer(pointer) => at(pointer).and_then(Value::as_u64).map(Duration::from_secs),
        };
        let until = age.and_then(|age| Instant::now().checked_add(age.saturating_sub(MARGIN).max(age / 2)));
        Ok(Current { headers, until })
    }
}

/// How the request that needed a rejected login ends.
fn refused(why: &str) -> Ending {
    Ending::NotSent(ConnectError::Credentials, why.to_owned())
}

/// How a response at the login's URL is classified, if it is neither a rejection by the login server nor a session.
fn away(answer: &Answer, target: &Target) -> Option<LoginEnd> {
    let wait = answer.retry_after.as_deref().and_then(|text| retry_after(text, answer.date.unwrap_or_else(wall)));
    let elsewhere = if target.https { Class::Misconfigured } else { Class::Unreachable };
    let (class, what) = match answer.status {
        200..=299 if Body::of(answer).is_web_page() => {
            (elsewhere, "a web page instead of an answer (a login page of the network?)".to_owned())
        }
        200..=299 => return None,
        300..=399 => {
            let class = if answer.leads_elsewhere(target) { elsewhere } else { Class::Misconfigured };
            (class, answer.redirect().unwrap_or_else(|| "a redirect".to_owned()))
        }
        404 | 405 | 410 => (Class::Misconfigured, "there is nothing to log in to at this URL".to_owned()),
        status => match of_status(status, wait.is_some()) {
            Some(Class::Misconfigured) if status == 401 => return None,
            Some(Class::Unsure) | None if status >= 500 => (Class::Busy, "its server could not answer".to_owned()),
            Some(class) => (class, "its server could not answer".to_owned()),
            None => return None,
        },
    };
    let contact = if class == Class::Unreachable { Contact::Doubtful } else { Contact::Answered };
    Some(LoginEnd { class, error: format!("the login got HTTP {}: {what}", answer.status), retry_after: wait, contact })
}

/// Fingerprint of a credential. It is kept in memory only.
fn print_of(body: &str, files: &[Option<FileVersion>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (body, files).hash(&mut hasher);
    hasher.finish()
}

fn can_be_sent(value: &HeaderValue) -> bool {
    matches!(value, HeaderValue::Text(text) if text.bytes().all(|b| (0x20..=0x7e).contains(&b)))
}

/// The value of a header, filled from the response; `None` when the response lacks a part of it.
fn filled<'v>(
    template: &Filling,
    at: &impl Fn(&str) -> Option<&'v Value>,
    cookie: &impl Fn(&str) -> Option<&'v str>,
) -> Option<String> {
    let mut value = String::new();
    for part in &template.0 {
        match part {
            Part::Literal(text) => value.push_str(text),
            Part::Pointer(pointer) => match at(pointer)? {
                Value::String(text) => value.push_str(text),
                // Some systems return the id of a user or of a session as a number.
                plain @ (Value::Number(_) | Value::Bool(_)) => value.push_str(&plain.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            },
            Part::Cookie(name) => value.push_str(cookie(name)?),
            Part::Base64(inner) => value.push_str(&BASE64_STANDARD.encode(filled(inner, at, cookie)?)),
        }
    }
    Some(value)
}

/// The value of a cookie that the response sets.
fn cookie<'a>(answer: &'a Answer, wanted: &str) -> Option<&'a str> {
    let pairs = answer.cookies.iter().filter_map(|cookie| cookie.split(';').next()?.split_once('='));
    pairs.filter(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim()).next_back()
}

//! A session or an access token: fetched with a POST, used until it ends, fetched again.
//!
//! One login at a time, whoever needs it; a refused one waits 1 min × 2ⁿ, at most 1 h, because back
//! ends lock accounts (`spec/03`).
#![expect(clippy::disallowed_methods, reason = "a session's age has no other use")]

use super::http::Exchange;
use super::secrets::Secrets;
use crate::config::upstream::{Login, MaxAge};
use crate::policy::class::{Answer, Ending};
use crate::wire::delivery::{BodyPart, HeaderValue, HttpRequest};
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub struct Session {
    login: Login,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What goes with every request, and until when.
    current: Option<Current>,
    /// How often it was refused in a row, and when it may be tried again.
    refused: Option<(u32, Instant, String)>,
    /// Counts logins, so that two requests that found the same session ended make one login.
    generation: u64,
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

/// A session's headers, and which login they are from.
pub struct Ticket {
    /// For every request.
    pub headers: Vec<(String, HeaderValue)>,
    /// To be handed back when the upstream says that the session has ended.
    pub generation: u64,
}

/// Why there is no session.
pub enum NoSession {
    /// The line: nothing is said about the login.
    Line(Box<Ending>),
    /// The login was refused, or brought nothing to send on.
    Refused(String),
}

const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// A session is renewed a little before it ends.
const MARGIN: Duration = Duration::from_secs(5);

/// A login is under way as long as this lives, also when it ends by a panic.
struct UnderWay<'a>(&'a dyn Fn(bool));

impl<'a> UnderWay<'a> {
    fn begin(tell: &'a dyn Fn(bool)) -> Self {
        tell(true);
        Self(tell)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        (self.0)(false);
    }
}

impl Session {
    /// A session that has to be fetched first.
    #[must_use]
    pub fn new(login: Login) -> Self {
        Self { login, state: Mutex::default() }
    }

    /// The session's headers; `ended` is the ticket that the upstream did not take any more, and
    /// `logging_in` is told when a login begins and has ended.
    pub fn ticket(
        &self,
        exchange: &Exchange,
        secrets: &Secrets,
        ended: Option<u64>,
        logging_in: &dyn Fn(bool),
    ) -> Result<Ticket, NoSession> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if ended == Some(state.generation) {
            state.current = None;
        }
        let now = Instant::now();
        if let Some(current) = state.current.as_ref().filter(|current| current.until.is_none_or(|until| now < until)) {
            return Ok(Ticket { headers: current.headers.clone(), generation: state.generation });
        }
        if let Some((_, next, why)) = state.refused.as_ref().filter(|(_, next, _)| now < *next) {
            let wait = next.saturating_duration_since(now).as_secs() + 1;
            return Err(NoSession::Refused(format!("{why}; the next login is in {wait} s")));
        }
        let login = UnderWay::begin(logging_in);
        let fetched = self.fetch(exchange, secrets);
        drop(login);
        match fetched {
            Ok(current) => {
                state.refused = None;
                state.generation += 1;
                let ticket = Ticket { headers: current.headers.clone(), generation: state.generation };
                state.current = Some(current);
                Ok(ticket)
            }
            Err(NoSession::Refused(why)) => {
                let times = state.refused.as_ref().map_or(0, |(times, _, _)| *times);
                let wait = FIRST_WAIT.saturating_mul(1 << times.min(10)).min(LONGEST_WAIT);
                state.refused = Some((times + 1, now + wait, why.clone()));
                Err(NoSession::Refused(why))
            }
            Err(line) => Err(line),
        }
    }

    fn fetch(&self, exchange: &Exchange, secrets: &Secrets) -> Result<Current, NoSession> {
        let login = &self.login;
        let body = secrets.file(&login.body_file).map_err(NoSession::Refused)?;
        let request = HttpRequest {
            method: "POST",
            url: login.url.clone(),
            headers: vec![("Content-Type".to_owned(), HeaderValue::Text(login.content_type.clone()))],
            body: vec![BodyPart::Bytes(body.into_bytes())],
        };
        let answer = match exchange.send(&request, secrets, &[]) {
            Ending::Answered(answer) => answer,
            Ending::Unbuildable(why) => return Err(NoSession::Refused(why)),
            line => return Err(NoSession::Line(Box::new(line))),
        };
        match answer.status {
            200..=299 => self.understood(&answer),
            // The back end is busy or away: that is no word about the login.
            429 | 500..=599 => Err(NoSession::Line(Box::new(Ending::Answered(answer)))),
            status => Err(NoSession::Refused(format!("the login was refused: HTTP {status}"))),
        }
    }

    /// What the login's answer brings for the requests behind it.
    fn understood(&self, answer: &Answer) -> Result<Current, NoSession> {
        let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let at = |pointer: &str| json.as_ref().and_then(|json| json.pointer(pointer));
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
            let value = filled(template, &at)
                .ok_or_else(|| NoSession::Refused(format!("the login's answer does not hold what {name} needs")))?;
            headers.push((name.clone(), HeaderValue::Text(value)));
        }
        if headers.is_empty() {
            return Err(NoSession::Refused(format!(
                "the login set none of the cookies {}",
                self.login.cookies.join(", ")
            )));
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

/// `Bearer {/access_token}` with what the answer has there.
fn filled<'v>(template: &str, at: &impl Fn(&str) -> Option<&'v Value>) -> Option<String> {
    let mut value = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{/") {
        let (pointer, after) = behind.split_once('}')?;
        value.push_str(before);
        value.push_str(at(&format!("/{pointer}"))?.as_str()?);
        rest = after;
    }
    value.push_str(rest);
    Some(value)
}

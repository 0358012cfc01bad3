//! Applies the configuration of one upstream to its responses: answer rules, the adapter's result, the required
//! proof, the statuses that a route accepts. Whatever these leave open is decided by the default table (`class`).

use crate::config::Route;
use crate::config::route::OnRefused;
use crate::config::upstream::{AnswerRule, Expect, Meaning, Upstream};
use crate::policy::body::{Body, pointed};
use crate::policy::ending::Answer;
use crate::policy::search;
use crate::record::Class;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// The configuration that applies to the response of one request.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The upstream that responded.
    pub upstream: &'a Upstream,
    /// The route by which the request was made.
    pub route: Option<&'a Route>,
    /// The failure's id,
    pub id: &'a str,
    /// and its key: a response with one of them proves that it refers to this failure.
    pub key: &'a str,
}

/// The result that an adapter or an answer rule assigns to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnWord {
    /// The assigned class.
    pub class: Class,
    /// The message, if there is one.
    pub message: Option<String>,
    /// The session has ended: a login is needed.
    pub login: bool,
}

/// The result of evaluating all answer rules on a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptSummary {
    /// The result of the adapter, or of the first rule whose conditions all hold.
    pub word: Option<OwnWord>,
    /// Index of that rule, from 0.
    pub rule: Option<usize>,
    /// Rules before it that could not be evaluated. One of them may be the right one, so a response with such a
    /// rule does not count as a delivery.
    pub unread: Vec<Unread>,
}

/// A rule that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Index of the rule, from 0.
    pub rule: usize,
    /// The reason.
    pub why: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer rule {} cannot be evaluated: {}", self.rule + 1, self.why)
    }
}

/// Why a 2xx does not prove the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Error message.
    pub words: String,
    /// The body that has to prove it cannot be read.
    pub unreadable: bool,
}

impl Reading<'_> {
    /// Evaluates the adapter's result or the answer rules.
    #[must_use]
    pub fn hear(&self, body: &Body) -> AttemptSummary {
        let answer = body.answer();
        if let (true, Some(outcome)) = (self.upstream.adapter, &answer.outcome) {
            let word = adapter_word(outcome, answer.outcome_error.as_deref());
            return AttemptSummary { word: Some(word), ..AttemptSummary::default() };
        }
        let mut heard = AttemptSummary::default();
        for (n, rule) in self.upstream.answers.iter().enumerate() {
            match holds(rule, body) {
                Ok(false) => {}
                Ok(true) => {
                    (heard.rule, heard.word) = (Some(n), Some(word_of(rule, body)));
                    break;
                }
                Err(why) => heard.unread.push(Unread { rule: n, why }),
            }
        }
        heard
    }

    /// The adapter's result, or that of the first answer rule whose conditions all hold.
    #[must_use]
    pub fn own_word(&self, answer: &Answer) -> Option<OwnWord> {
        self.hear(&Body::of(answer)).word
    }

    /// Returns whether the response shows that the session has ended.
    #[must_use]
    pub fn login_ended(&self, answer: &Answer) -> bool {
        self.own_word(answer).map_or(answer.status == 401, |own| own.login)
    }

    /// Returns whether the route accepts this status in place of a 2xx.
    #[must_use]
    pub fn accepts(&self, status: u16) -> bool {
        self.route.is_some_and(|route| route.accept_statuses.contains(&status))
    }

    /// Returns whether the route treats a rejection as an ordinary error.
    #[must_use]
    pub fn refusal_is_retried(&self) -> bool {
        self.route.is_some_and(|route| route.on_refused == OnRefused::Retry)
    }

    /// Returns whether a web page can be a valid response.
    #[must_use]
    pub fn accepts_html(&self) -> bool {
        self.upstream.expect == Expect::Html
    }

    /// Why a 2xx does not prove the delivery; `None` if it does.
    #[must_use]
    pub fn proof_error(&self, body: &Body) -> Option<Lack> {
        let pointer = self.upstream.expect_id.as_deref();
        if self.upstream.expect != Expect::Json && pointer.is_none() {
            return None;
        }
        let json = match body.json() {
            Ok(json) => json,
            Err(why) => {
                return Some(Lack { words: format!("the answer cannot prove the delivery: {why}"), unreadable: true });
            }
        };
        let pointer = pointer?;
        let named = pointed(json, pointer);
        if named.iter().any(|value| *text_of(value) == *self.id || *text_of(value) == *self.key) {
            return None;
        }
        let words = if named.is_empty() {
            format!("the answer has no {pointer}")
        } else {
            format!("{pointer} of the answer is neither this failure's id nor its key")
        };
        Some(Lack { words, unreadable: false })
    }
}

fn text_of(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed)
}

fn word_of(rule: &AnswerRule, body: &Body) -> OwnWord {
    let pointed = rule.message.as_ref().and_then(|pointer| pointed(body.json().ok()?, pointer).first().copied());
    let message = pointed.map(|value| text_of(value).into_owned());
    let (class, login) = match rule.is {
        Meaning::Is(class) => (class, false),
        Meaning::Login => (Class::Misconfigured, true),
    };
    OwnWord { class, message, login }
}

fn adapter_word(outcome: &str, error: Option<&str>) -> OwnWord {
    let message = error.map(str::to_owned);
    match Class::parse(outcome.trim()) {
        Some(class) if class != Class::Busy => OwnWord { class, message, login: false },
        _ => OwnWord {
            class: Class::Misconfigured,
            message: Some(format!("the adapter's Resync-Outcome is {outcome:?}, which is none of the outcomes")),
            login: false,
        },
    }
}

/// Returns whether all conditions hold; an error if that depends on a body that cannot be read.
fn holds(rule: &AnswerRule, body: &Body) -> Result<bool, String> {
    let answer = body.answer();
    // Conditions without JSON come first: if one of them does not hold, the body need not be read.
    if !(rule.status.is_empty() || rule.status.contains(&answer.status)) {
        return Ok(false);
    }
    if let Some(text) = &rule.contains
        && !search::contains(body, text)?
    {
        return Ok(false);
    }
    if !rule.needs_json() {
        return Ok(true);
    }
    // These have no body by definition, so nothing is unreadable.
    if matches!(answer.status, 204 | 205) && answer.body.is_empty() {
        return Ok(false);
    }
    let json = body.json()?;
    let full = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    let any = |pointer: &str, is: &dyn Fn(&Value) -> bool| pointed(json, pointer).into_iter().any(is);
    Ok(rule.json.iter().all(|(pointer, value)| any(pointer, &|found| alike(found, value)))
        && rule.present.as_ref().is_none_or(|pointer| any(pointer, &|_| true))
        && rule.nonempty.as_ref().is_none_or(|pointer| any(pointer, &full)))
}

/// Numbers are compared as numbers: a rule's `1` matches `1.0`.
fn alike(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => (found - wanted).abs() < f64::EPSILON * found.abs().max(1.0),
        _ => found == wanted,
    }
}

#[cfg(test)]
#[path = "answer_rules_tests.rs"]
mod tests;

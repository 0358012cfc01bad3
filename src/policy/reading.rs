//! How one upstream's answers are read: its own rules, its adapter's word, the proof that it asks
//! for, the statuses that a route accepts. What none of these decides is the table's (`class`).

use crate::config::Route;
use crate::config::route::OnRefused;
use crate::config::upstream::{AnswerRule, Expect, Meaning, Upstream};
use crate::policy::class::{Answer, Class};
use serde_json::Value;

/// What the configuration says about the answer to one request.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The upstream that answered.
    pub upstream: &'a Upstream,
    /// The route by which the request was made.
    pub route: Option<&'a Route>,
    /// The failure's id,
    pub id: &'a str,
    /// and its key: an answer that names one of them proves that it was meant.
    pub key: &'a str,
}

/// What an upstream's own word makes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnWord {
    /// The class that it names.
    pub class: Class,
    /// Its words, where it has some.
    pub message: Option<String>,
    /// The session has ended: a login is needed.
    pub login: bool,
}

impl Reading<'_> {
    /// The adapter's word, else the first answer rule whose conditions all hold.
    #[must_use]
    pub fn own_word(&self, answer: &Answer) -> Option<OwnWord> {
        if let (true, Some(outcome)) = (self.upstream.adapter, &answer.outcome) {
            return Some(adapter_word(outcome, answer.outcome_error.as_deref()));
        }
        if self.upstream.answers.is_empty() {
            return None;
        }
        let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let rule = self.upstream.answers.iter().find(|rule| holds(rule, answer, json.as_ref()))?;
        let pointed = rule.message.as_ref().and_then(|pointer| json.as_ref()?.pointer(pointer));
        let message = pointed.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let (class, login) = match rule.is {
            Meaning::Is(class) => (class, false),
            Meaning::Login => (Class::Misconfigured, true),
        };
        Some(OwnWord { class, message, login })
    }

    /// Does the answer say that the session has ended?
    #[must_use]
    pub fn login_ended(&self, answer: &Answer) -> bool {
        self.own_word(answer).map_or(answer.status == 401, |own| own.login)
    }

    /// Is a status that is no 2xx as good as one?
    #[must_use]
    pub fn accepts(&self, status: u16) -> bool {
        self.route.is_some_and(|route| route.accept_statuses.contains(&status))
    }

    /// Is a refusal only one more answer?
    #[must_use]
    pub fn refusal_is_retried(&self) -> bool {
        self.route.is_some_and(|route| route.on_refused == OnRefused::Retry)
    }

    /// May a page be the answer?
    #[must_use]
    pub fn takes_html(&self) -> bool {
        self.upstream.expect == Expect::Html
    }

    /// Why a 2xx does not prove the delivery, if so.
    #[must_use]
    pub fn lacks_proof(&self, answer: &Answer) -> Option<String> {
        let pointer = self.upstream.expect_id.as_deref();
        if self.upstream.expect != Expect::Json && pointer.is_none() {
            return None;
        }
        let Ok(json) = serde_json::from_slice::<Value>(&answer.body) else {
            return Some("the answer is not the JSON that is expected".to_owned());
        };
        let pointer = pointer?;
        let named = json.pointer(pointer).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        match named {
            Some(name) if name == self.id || name == self.key => None,
            Some(_) => Some(format!("{pointer} of the answer is neither this failure's id nor its key")),
            None => Some(format!("the answer has no {pointer}")),
        }
    }
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

fn holds(rule: &AnswerRule, answer: &Answer, json: Option<&Value>) -> bool {
    let at = |pointer: &String| json.and_then(|json| json.pointer(pointer));
    let full = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    (rule.status.is_empty() || rule.status.contains(&answer.status))
        && rule.json.iter().all(|(pointer, value)| at(pointer).is_some_and(|found| alike(found, value)))
        && rule.present.as_ref().is_none_or(|pointer| at(pointer).is_some())
        && rule.nonempty.as_ref().is_none_or(|pointer| at(pointer).is_some_and(full))
        && rule.contains.as_ref().is_none_or(|text| String::from_utf8_lossy(&answer.body).contains(text.as_str()))
}

/// Numbers are compared as numbers: a rule's `1` is an answer's `1.0`.
fn alike(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => (found - wanted).abs() < f64::EPSILON * found.abs().max(1.0),
        _ => found == wanted,
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;

//! `retry`, `hold`, `release`, `discard`, `flush`, `pause`, `resume`: what people do, with who and why.

use super::Failure;
use super::args::{BulkArgs, Global, UpstreamArgs};
use super::choose::{Choice, confirm, sign};
use super::render::{count, harmless};
use super::session::Session;
use crate::ids::FailureName;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// An operation on many failures, and how it is told.
#[derive(Clone, Copy, Debug)]
pub enum Many {
    /// `retry`
    Retry {
        /// With a fresh budget.
        reset: bool,
    },
    /// `hold`
    Hold,
    /// `release`
    Release,
    /// `discard`
    Discard {
        /// Those behind go out without it.
        let_followers: bool,
    },
}

impl Many {
    fn op(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Discard { .. } => "discard",
        }
    }

    /// What is done to an upstream instead.
    fn for_an_upstream(self) -> &'static str {
        match self {
            Self::Retry { .. } => "flush",
            Self::Hold | Self::Discard { .. } => "pause",
            Self::Release => "resume",
        }
    }

    /// The request, without whom it is about.
    fn request(self, reason: Option<&str>, by: Option<&str>) -> Map<String, Value> {
        let mut request = Map::new();
        request.insert("op".into(), json!(self.op()));
        if let Self::Retry { reset } = self {
            request.insert("reset".into(), json!(reset));
        }
        if let Self::Discard { let_followers } = self {
            request.insert("let_followers".into(), json!(let_followers));
        }
        sign(&mut request, reason, by);
        request
    }

    /// What came of it.
    fn said(self, reply: &Value) -> String {
        let tally = |name: &str| count(reply[name].as_u64().unwrap_or_default());
        let skipped = match reply["skipped"].as_u64() {
            None | Some(0) => String::new(),
            Some(_) => {
                format!(" {} left alone (in flight, or in a state that does not allow it).", tally("skipped"))
            }
        };
        let followers = super::discard::followers(reply);
        format!("{} of {} {}.{skipped}{followers}", tally("changed"), tally("matched"), self.done())
    }

    /// What happens to them.
    fn done(self) -> &'static str {
        match self {
            Self::Retry { .. } => "sent again when their turn comes",
            Self::Hold => "held; undo: resyncd release",
            Self::Release => "released; sent when their turn comes",
            Self::Discard { .. } => "given up for good, and kept in the archive",
        }
    }
}

/// `retry`, `hold`, `release`
pub fn many(global: &Global, args: &BulkArgs, what: Many) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let choice = Choice::of(&session, args, what.for_an_upstream())?;
    let mut request = what.request(args.reason.as_deref(), args.by.as_deref());
    if args.dry_run {
        request.insert("dry_run".into(), json!(true));
        let matched = in_parts(&session, &request, &choice)?;
        let shown = choice.shown(&session)?;
        return answer(&session, &matched, &format!("{shown}Nothing was changed."));
    }
    if let (Choice::Matching(_), false) = (&choice, args.yes) {
        let shown = choice.shown(&session)?;
        confirm(false, &format!("{shown}They are {}.", what.done()))?;
    }
    let reply = in_parts(&session, &request, &choice)?;
    answer(&session, &reply, &what.said(&reply))
}

/// The same on one failure, by its id; what came of it, in words.
pub(super) fn one(session: &Session, what: Many, id: &str, reason: Option<&str>) -> Result<String, Failure> {
    let choice = Choice::Named(vec![id.to_owned()]);
    Ok(what.said(&in_parts(session, &what.request(reason, None), &choice)?))
}

/// As many at once as a request may name; the reply is what all of them come to.
fn in_parts(session: &Session, request: &Map<String, Value>, choice: &Choice) -> Result<Value, Failure> {
    let mut whole = Value::Null;
    for part in choice.parts() {
        let mut request = request.clone();
        part.put_into(&mut request);
        let reply = session.order(&Value::Object(request))?.value;
        match (&mut whole, reply) {
            (Value::Object(whole), Value::Object(reply)) => reply.into_iter().for_each(|(name, more)| {
                let sum = match (whole.get(&name), more) {
                    (Some(Value::Number(some)), Value::Number(more)) => {
                        json!(some.as_u64().unwrap_or_default() + more.as_u64().unwrap_or_default())
                    }
                    (Some(Value::Array(some)), Value::Array(more)) => json!([&some[..], &more[..]].concat()),
                    (_, more) => more,
                };
                whole.insert(name, sum);
            }),
            (whole, reply) => *whole = reply,
        }
    }
    Ok(whole)
}

/// `flush`
pub fn flush(global: &Global, args: &UpstreamArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if let Some(name) = a_failure(&session, args) {
        return Err(Failure::Usage(format!(
            "flush takes an upstream. To send one failure again: resyncd retry {name}"
        )));
    }
    let reply = upstream_order(&session, "flush", args)?;
    let tally = |name: &str| count(reply[name].as_u64().unwrap_or_default());
    answer(&session, &reply, &format!("{} pending, {} of them made due now.", tally("matched"), tally("changed")))
}

/// `pause` and `resume`
pub fn gate(global: &Global, args: &UpstreamArgs, op: &str) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if let Some(name) = a_failure(&session, args) {
        let right = if op == "pause" { "hold" } else { "release" };
        return Err(Failure::Usage(format!("{op} takes an upstream. For one failure: resyncd {right} {name}")));
    }
    let reply = upstream_order(&session, op, args)?;
    let names: Vec<String> =
        reply["upstreams"].as_array().into_iter().flatten().filter_map(Value::as_str).map(harmless).collect();
    let said = match (op, names.is_empty()) {
        (_, true) => "No upstream is configured.".to_owned(),
        ("pause", _) => format!("Paused: {}. Recording goes on. Undo: resyncd resume", names.join(", ")),
        _ => format!("Resumed: {}.", names.join(", ")),
    };
    answer(&session, &reply, &said)
}

fn upstream_order(session: &Session, op: &str, args: &UpstreamArgs) -> Result<Value, Failure> {
    let mut request = Map::new();
    request.insert("op".into(), json!(op));
    if let Some(upstream) = &args.upstream {
        request.insert("upstream".into(), json!(upstream));
    }
    sign(&mut request, args.reason.as_deref(), args.by.as_deref());
    Ok(session.order(&Value::Object(request))?.value)
}

/// A failure that was named where an upstream belongs.
fn a_failure<'a>(session: &Session, args: &'a UpstreamArgs) -> Option<&'a str> {
    let name = args.upstream.as_deref()?;
    let configured = session.config.upstreams.iter().any(|upstream| upstream.name == name);
    let is_number = || matches!(FailureName::parse(name), FailureName::Number(_));
    let is_live = || session.quietly(&json!({"op": "get", "id": name})).is_ok();
    (!configured && (is_number() || is_live())).then_some(name)
}

pub(super) fn answer(session: &Session, reply: &Value, said: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{reply}")?;
    } else if !session.quiet {
        writeln!(out, "{said}")?;
    }
    Ok(())
}

//! `retry`, `hold`, `release`, `discard`, `flush`, `pause`, `resume`: operator actions, audited with user and reason.

use super::Failure;
use super::args::{BulkArgs, Global, UpstreamArgs};
use super::choose::{Choice, confirm, object, sign};
use super::render::{clock, sanitize};
use super::session::Session;
use super::status::upstreams_that_stop;
use crate::ids::FailureName;
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::text::session::changed_before;
use crate::text::{Count, choose, operate as words};
use serde_json::{Map, Value, json};
use std::io::{self, IsTerminal, Write};

/// An operation on many failures, with its messages.
#[derive(Clone, Copy, Debug)]
pub enum Many {
    /// `retry`
    Retry {
        /// Whether the retry count is reset.
        reset: bool,
    },
    /// `hold`
    Hold,
    /// `release`
    Release,
    /// `discard`
    Discard {
        /// Whether followers are sent without it.
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

    /// The corresponding operation on an upstream.
    fn for_an_upstream(self) -> &'static str {
        match self {
            Self::Retry { .. } => "flush",
            Self::Hold | Self::Discard { .. } => "pause",
            Self::Release => "resume",
        }
    }

    /// The request, without the selection.
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

    /// The result in words; `object` names a single failure.
    fn said(self, object: Option<&str>, reply: &Value) -> String {
        let tally = |name: &str| reply[name].as_u64().unwrap_or_default();
        match (object, tally("changed"), tally("skipped")) {
            (Some(object), 1, _) => words::done(self.op(), object),
            (_, changed, skipped) => {
                let said = words::all_done(self.op(), Count(changed), Count(tally("matched")));
                if skipped == 0 { said } else { said + " " + &words::skipped(skipped) }
            }
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
        let shown = choice.shown(&session, what.op(), &matched)?;
        return answer(&session, &matched, &(shown + choose::nothing_changed()));
    }
    let one = choice.only(&session);
    // Named failures were chosen deliberately; only discarding them needs confirmation, because it is final.
    let asks = match &choice {
        Choice::Matching(_) => true,
        Choice::Named(_) => matches!(what, Many::Discard { .. }) && io::stdin().is_terminal(),
    };
    if asks && !args.yes {
        let mut dry = request.clone();
        dry.insert("dry_run".into(), json!(true));
        let would = in_parts(&session, &dry, &choice)?;
        let (matched, skipped) = (would["matched"].as_u64(), would["skipped"].as_u64());
        if matched == Some(0) {
            return answer(&session, &would, words::none_matches());
        }
        if matched == skipped {
            return answer(&session, &would, &words::none_applies(what.op(), matched.unwrap_or_default()));
        }
        confirm(false, &asked(&session, what, &choice, one.as_ref(), &would)?)?;
    }
    let reply = in_parts(&session, &request, &choice).map_err(|failure| instead(&session, what, &choice, failure))?;
    if reply["matched"] == 0 {
        return answer(&session, &reply, words::none_matches());
    }
    let followers = super::followers::held(&session, &reply);
    let mut said = what.said(one.as_ref().map(object).as_deref(), &reply) + &followers;
    if matches!(what, Many::Retry { .. } | Many::Release) && !session.json && !session.quiet {
        said.push_str(&still_in_the_way(&session, what, &choice, one.as_ref()));
        let upstreams = choice.upstreams(&session);
        stopped(&session, &mut said, &|name| upstreams.as_ref().is_none_or(|all| all.iter().any(|one| one == name)));
    }
    answer(&session, &reply, &said)
}

/// What a person is asked to confirm. `would` is the reply to a dry run.
fn asked(
    session: &Session,
    what: Many,
    choice: &Choice,
    one: Option<&Value>,
    would: &Value,
) -> Result<String, Failure> {
    let behind = match what {
        Many::Discard { let_followers } => super::followers::left_behind(session, choice, let_followers),
        _ => String::new(),
    };
    Ok(match one {
        Some(failure) => behind + &words::discard_it(&object(failure)),
        None => words::question(what.op(), &(choice.shown(session, what.op(), would)? + &behind)),
    })
}

/// What still blocks failures that were released or queued: an earlier one that goes first and is not sent,
/// or the answer that a failure got before.
fn still_in_the_way(session: &Session, what: Many, choice: &Choice, one: Option<&Value>) -> String {
    let mut said = String::new();
    for (waiting, head) in choice.behind_others(session) {
        let status = head["status"].as_str().unwrap_or_default();
        if matches!(status, "held" | "critical") {
            said = said + "\n" + &words::goes_after(status, &waiting["seq"], &head["seq"]);
        }
    }
    let refused = one.filter(|one| one["status"] == "critical" && one["error_class"] == "refused");
    if let (Many::Retry { .. } | Many::Release, Some(failure)) = (what, refused) {
        let error = failure["error"].as_str().map(sanitize).unwrap_or_default();
        said = said + "\n" + &words::refused_before(&error, &failure["seq"]);
    }
    said
}

/// Adds why nothing is sent to these upstreams now, and what to do.
fn stopped(session: &Session, said: &mut String, among: &dyn Fn(&str) -> bool) {
    for line in upstreams_that_stop(session, among) {
        said.push('\n');
        said.push_str(&line);
    }
}

/// What a person should ask for instead: a failure that waits behind a held one cannot be released itself.
fn instead(session: &Session, what: Many, choice: &Choice, failure: Failure) -> Failure {
    let (Many::Release | Many::Retry { .. }, Choice::Named(ids), Failure::Failed(told)) = (what, choice, &failure)
    else {
        return failure;
    };
    let [id] = &ids[..] else { return failure };
    let get = |id: &Value| {
        let mut reply = session.quietly(&json!({"op": "get", "id": id})).ok()?.value;
        Some(reply["failure"].take())
    };
    let Some(head) = get(&json!(id)).and_then(|meant| get(&meant["blocked_by"])) else { return failure };
    Failure::Failed(words::behind(head["status"].as_str().unwrap_or_default(), told, &head["seq"]))
}

/// Runs the operation on one failure, by its id; returns the result in words.
pub(super) fn one(session: &Session, what: Many, id: &str, reason: Option<&str>) -> Result<String, Failure> {
    let choice = Choice::Named(vec![id.to_owned()]);
    let failure = choice.only(session);
    let reply = in_parts(session, &what.request(reason, None), &choice)?;
    let said = what.said(failure.as_ref().map(object).as_deref(), &reply);
    Ok(said + &super::followers::held(session, &reply) + &still_in_the_way(session, what, &choice, failure.as_ref()))
}

/// Sends as many failures at once as a request may name; returns the sum of the replies.
fn in_parts(session: &Session, request: &Map<String, Value>, choice: &Choice) -> Result<Value, Failure> {
    let mut whole = Value::Null;
    for part in choice.parts() {
        let mut request = request.clone();
        part.put_into(&mut request);
        let before = whole["changed"].as_u64().filter(|changed| *changed > 0);
        let reply = session.order(&Value::Object(request)).map_err(|failure| match (failure, before) {
            (Failure::Failed(text), Some(before)) => Failure::Failed(changed_before(before, &text)),
            (failure, _) => failure,
        })?;
        let reply = reply.value;
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
        return Err(Failure::Usage(words::flush_is_for_upstreams(name)));
    }
    let reply = upstream_order(&session, "flush", args)?;
    let tally = |name: &str| Count(reply[name].as_u64().unwrap_or_default());
    let mut said = words::flushed(tally("matched"), tally("changed"));
    let asked = &reply["asked_to_wait"];
    if let Some(failures) = asked["failures"].as_u64() {
        said = said + " " + &words::left_waiting(failures, &retry_after(asked));
    }
    if reply["matched"] != 0 && !session.json && !session.quiet {
        stopped(&session, &mut said, &|name| args.upstream.as_deref().is_none_or(|only| only == name));
    }
    answer(&session, &reply, &said)
}

/// `hq asked for that until 14:05:00 (HTTP 429: slow down)`
pub(super) fn retry_after(asked: &Value) -> String {
    let text = |name: &str| asked[name].as_str().map(sanitize).unwrap_or_default();
    let until = asked["until"].as_str().and_then(WallTime::parse).map(|at| clock(at, wall())).unwrap_or_default();
    words::retry_after(&text("upstream"), &until, &text("words"))
}

/// `pause` and `resume`
pub fn gate(global: &Global, args: &UpstreamArgs, op: &str) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if let Some(name) = a_failure(&session, args) {
        let right = if op == "pause" { "hold" } else { "release" };
        return Err(Failure::Usage(words::gate_is_for_upstreams(op, right, name)));
    }
    let before = session.quietly(&json!({"op": "health"})).map(|reply| reply.value).unwrap_or_default();
    let was_paused = |name: &str| {
        let mut all = before["upstreams"].as_array().into_iter().flatten();
        all.any(|one| one["name"] == name && one["state"] == "paused")
    };
    let reply = upstream_order(&session, op, args)?;
    let names: Vec<String> =
        reply["upstreams"].as_array().into_iter().flatten().filter_map(Value::as_str).map(sanitize).collect();
    let said = match (op, names.is_empty()) {
        (_, true) => words::no_upstream().to_owned(),
        ("pause", _) => words::paused(&names.join(", ")),
        _ => {
            let (paused, others): (Vec<String>, Vec<String>) = names.iter().cloned().partition(|name| was_paused(name));
            let resumed = (!paused.is_empty()).then(|| words::resumed(&paused.join(", ")));
            let tried = (!others.is_empty()).then(|| words::not_paused(&others.join(", ")));
            resumed.into_iter().chain(tried).collect::<Vec<_>>().join(" ")
        }
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

/// Returns a failure's name that was given instead of an upstream's.
fn a_failure<'a>(session: &Session, args: &'a UpstreamArgs) -> Option<&'a str> {
    let name = args.upstream.as_deref()?;
    let configured = session.config.upstreams.iter().any(|upstream| upstream.name == name);
    let is_number = || FailureName::typed(name).or_else(|| FailureName::numbered(name)).is_some();
    let is_live = || session.quietly(&json!({"op": "get", "id": name, "prefix": true})).is_ok();
    (!configured && (is_number() || is_live())).then_some(name)
}

pub(super) fn answer(session: &Session, reply: &Value, said: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{reply}")?;
    } else if !session.quiet {
        writeln!(out, "{}", session.screen.folded(said, 0, 2))?;
    }
    Ok(())
}

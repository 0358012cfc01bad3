//! `try`, for integrators: shows the request that would be sent for a failure, and with `--send` the upstream's
//! response and its classification. Stores nothing.

use super::args::{Global, TryArgs};
use super::render::{Tone, sanitize, spoken};
use super::session::Session;
use super::{Failure, payload};
use crate::config::{Route, Upstream, route};
use crate::ids::{IdSource, Seq};
use crate::io::clock::wall;
use crate::io::{sender, system};
use crate::moment::AgentTime;
use crate::policy::answer_rules::{AttemptSummary, Reading};
use crate::policy::body::Body;
use crate::policy::class::{Class, Verdict, classify, is_overruled};
use crate::policy::ending::Ending;
use crate::policy::ending::Target;
use crate::record::{self, Content, Status};
use crate::text::phrases::of_attempt;
use crate::text::trial as text;
use crate::wire::delivery::{BodyPart, HeaderValue, HttpRequest, request};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;

/// Runs the command.
pub fn run(global: &Global, args: &TryArgs) -> Result<(), Failure> {
    let session = Session::strict(global)?;
    let failure = imagined(&session, args)?;
    let (upstream, route) = way(&session, &failure)?;
    let built =
        request(&failure, upstream, route).map_err(|why| Failure::Failed(text::unbuildable(&of_attempt(&why))))?;
    let mut out = io::stdout().lock();
    if args.curl {
        writeln!(out, "{}", curl(&built))?;
    } else if !session.json {
        tell_request(&session, &mut out, upstream, route, &built)?;
    }
    if !args.send {
        if session.json {
            writeln!(out, "{}", json!({"upstream": upstream.name, "method": built.method, "url": built.url}))?;
        }
        return Ok(());
    }
    let ending = sender::send_once(upstream, &built);
    let reading = Reading { upstream, route, id: failure.id.as_str(), key: failure.key() };
    let verdict = classify(&ending, &Target::of(&upstream.url), &reading, wall());
    if session.json {
        let status = if let Ending::Answered(answer) = &ending { Some(answer.status) } else { None };
        let class = verdict.class.as_str();
        let (heard, overruled) = heard(&ending, &reading);
        let rule = heard.rule.filter(|_| !overruled).map(|n| n + 1);
        let unread: Vec<_> = heard.unread.iter().map(|one| json!({"rule": one.rule + 1, "why": one.why})).collect();
        let said = json!({
            "upstream": upstream.name, "http_status": status, "class": class, "error": verdict.error,
            "rule": rule, "rules_not_evaluated": unread,
        });
        writeln!(out, "{said}")?;
    } else {
        tell_answer(&session, &mut out, &ending, &verdict)?;
        tell_rules(&mut out, &ending, &reading)?;
    }
    match verdict.class {
        Class::Delivered => Ok(()),
        class => Err(Failure::Failed(text::delivery_failed(class.as_str()))),
    }
}

/// A failure as it would be recorded now.
fn imagined(session: &Session, args: &TryArgs) -> Result<record::Failure, Failure> {
    let now = wall();
    let payload = args.payload_file.as_deref().map(|file| payload::read(file, args.payload_type)).transpose()?;
    Ok(record::Failure {
        id: IdSource::new(system::seed()?).next(now),
        seq: Seq(0),
        entity_type: args.entity_type.clone(),
        entity_id: args.entity.clone(),
        action: args.action.clone(),
        error: String::new(),
        payload,
        retry_count: 0,
        last_retry_at: None,
        created_at: now.sql(),
        updated_at: now.sql(),
        status: Status::Pending,
        next_retry_at: None,
        due_at: None,
        recorded_at: AgentTime::ZERO,
        content: Content::Sound,
        upstream: None,
        order_key: None,
        idempotency_key: args.key.clone(),
        http_status: None,
        error_class: None,
        source_uid: None,
        source_pid: None,
        terminal_id: session.config.agent.terminal_id.clone(),
        store_id: session.config.agent.store_id.clone(),
        head: true,
        uncounted: true,
        attempts: 0,
        unsure: false,
        retry_state: None,
    })
}

fn way<'s>(session: &'s Session, failure: &record::Failure) -> Result<(&'s Upstream, Option<&'s Route>), Failure> {
    let config = &session.config;
    let (kind, action) = (&failure.entity_type, &failure.action);
    let route = route::first(&config.routes, kind, action);
    let upstream = match (route, config.routes.is_empty()) {
        (Some(route), _) => config.upstreams.iter().find(|upstream| upstream.name == route.upstream),
        (None, true) => config.upstreams.first(),
        (None, false) => return Err(Failure::Failed(text::no_route(kind, action))),
    };
    let none = || Failure::Failed(text::no_upstream().to_owned());
    Ok((upstream.ok_or_else(none)?, route))
}

fn tell_request(
    session: &Session,
    out: &mut impl Write,
    upstream: &Upstream,
    route: Option<&Route>,
    built: &HttpRequest,
) -> io::Result<()> {
    let to = if route.is_none() { text::to_as_envelope } else { text::to_by_route };
    writeln!(out, "{}\n", to(&upstream.name))?;
    writeln!(out, "{}", session.screen.paint(Tone::Strong, &format!("{} {}", built.method, built.url)))?;
    for (name, value) in &built.headers {
        writeln!(out, "{name}: {}", shown(value))?;
    }
    if upstream.credentials.login.is_some() {
        writeln!(out, "{}", text::login_adds())?;
    }
    writeln!(out, "\n{}", body(built).lines().map(sanitize).collect::<Vec<_>>().join("\n"))
}

/// A secret is shown as the name of its file.
fn shown(value: &HeaderValue) -> String {
    let secret = |file: &Path| text::secret_of(&file.display().to_string());
    match value {
        HeaderValue::Text(plain) => sanitize(plain),
        HeaderValue::File(file) => secret(file),
        HeaderValue::Bearer(file) => format!("Bearer {}", secret(file)),
        HeaderValue::Basic(file) => format!("Basic {}", secret(file)),
    }
}

/// The body as text, with the names of secrets.
fn body(built: &HttpRequest) -> String {
    let part = |part: &BodyPart| match part {
        BodyPart::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        BodyPart::Secret(name) => format!("***{name}***"),
    };
    built.body.iter().map(part).collect()
}

/// The request for curl; the shell reads secrets from their files.
fn curl(built: &HttpRequest) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    let mut line = format!("curl -i -X {} {}", built.method, quoted(&built.url));
    for (name, value) in &built.headers {
        let header = match value {
            HeaderValue::Text(plain) => quoted(&format!("{name}: {plain}")),
            HeaderValue::File(file) => format!("\"{name}: $(cat {})\"", file.display()),
            HeaderValue::Bearer(file) => format!("\"{name}: Bearer $(cat {})\"", file.display()),
            HeaderValue::Basic(file) => format!("\"{name}: Basic $(base64 -w0 < {})\"", file.display()),
        };
        line = format!("{line} \\\n  -H {header}");
    }
    let body = body(built);
    if let [BodyPart::Bytes(bytes)] = &built.body[..]
        && std::str::from_utf8(bytes).is_err()
    {
        return format!("echo {} | base64 -d | {line} \\\n  --data-binary @-", BASE64_STANDARD.encode(bytes));
    }
    if body.is_empty() { line } else { format!("{line} \\\n  --data-binary {}", quoted(&body)) }
}

fn tell_answer(session: &Session, out: &mut impl Write, ending: &Ending, verdict: &Verdict) -> io::Result<()> {
    writeln!(out)?;
    match ending {
        Ending::Answered(answer) => {
            let kind = answer.content_type.as_deref().map(sanitize);
            let size = answer.body.len();
            writeln!(out, "{}", text::response(answer.status, kind.as_deref(), size, answer.cut_off))?;
            if let Some(target) = answer.redirect_target() {
                writeln!(out, "{}", text::redirects_to(&sanitize(&target)))?;
            }
        }
        Ending::NotSent(..) | Ending::LoginError(_) => writeln!(out, "{}", text::nothing_sent())?,
        Ending::Broken(..) => writeln!(out, "{}", text::no_response())?,
        Ending::InvalidRequest(_) => {}
    }
    let tone = if verdict.class == Class::Delivered { Tone::Good } else { Tone::Bad };
    let class = session.screen.paint(tone, verdict.class.as_str());
    writeln!(out, "{}", text::class(&class, text::meaning(verdict.class)))?;
    if verdict.class != Class::Delivered {
        writeln!(out, "{}", text::why(&spoken(&verdict.error)))?;
    }
    Ok(())
}

/// The result of the answer rules, and whether the table overrules it because the response is not the upstream's own.
fn heard(ending: &Ending, reading: &Reading) -> (AttemptSummary, bool) {
    let Ending::Answered(answer) = ending else { return (AttemptSummary::default(), false) };
    let body = Body::of(answer);
    let heard = reading.hear(&body);
    let overruled = is_overruled(&heard, &body, &Target::of(&reading.upstream.url), reading);
    (heard, overruled)
}

/// Prints which answer rule matched, and which could not be evaluated.
fn tell_rules(out: &mut impl Write, ending: &Ending, reading: &Reading) -> io::Result<()> {
    let rules = &reading.upstream.answers;
    if rules.is_empty() || !matches!(ending, Ending::Answered(_)) {
        return Ok(());
    }
    let (heard, overruled) = heard(ending, reading);
    let said = match heard.rule {
        Some(n) if overruled => text::rule_overruled(n + 1, rules.len(), rules[n].is.as_str()),
        Some(n) => text::rule_matched(n + 1, rules.len(), rules[n].is.as_str()),
        None => text::no_rule_matched(rules.len()),
    };
    writeln!(out, "{said}")?;
    for unread in &heard.unread {
        writeln!(out, "{}", text::rule_unread(unread.rule + 1, &spoken(&unread.why)))?;
    }
    Ok(())
}

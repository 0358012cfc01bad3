//! `try`: what would be sent for such a failure, and with `--send` what the upstream answers and how
//! that is understood. Stores nothing. The integrator's tool.

use super::Failure;
use super::args::{Global, TryArgs};
use super::record::payload;
use super::render::{Tone, harmless};
use super::session::Session;
use crate::config::{Route, Upstream, route};
use crate::ids::{IdSource, Seq};
use crate::io::clock::wall;
use crate::io::{sender, system};
use crate::moment::AgentTime;
use crate::policy::class::{Class, Ending, Target, Verdict, classify};
use crate::policy::reading::Reading;
use crate::record::{self, PayloadKind, Status};
use crate::wire::delivery::{BodyPart, HeaderValue, HttpRequest, request};
use serde_json::json;
use std::io::{self, Write};

/// Runs the command.
pub fn run(global: &Global, args: &TryArgs) -> Result<(), Failure> {
    let session = Session::strict(global)?;
    let failure = imagined(&session, args)?;
    let (upstream, route) = way(&session, &failure)?;
    let built = request(&failure, upstream, route)
        .map_err(|why| Failure::Failed(format!("refused before it is sent: {why}")))?;
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
        writeln!(
            out,
            "{}",
            json!({"upstream": upstream.name, "http_status": status, "class": class, "error": verdict.error})
        )?;
    } else {
        tell_answer(&session, &mut out, &ending, &verdict)?;
    }
    match verdict.class {
        Class::Delivered => Ok(()),
        class => Err(Failure::Failed(format!("it would not be delivered: {}", class.as_str()))),
    }
}

/// A failure as it would be recorded now.
fn imagined(session: &Session, args: &TryArgs) -> Result<record::Failure, Failure> {
    let now = wall();
    let payload = args.payload_file.as_deref().map(payload).transpose()?;
    Ok(record::Failure {
        id: IdSource::new(system::seed()?).next(now),
        seq: Seq(0),
        entity_type: args.entity_type.clone(),
        entity_id: args.entity.clone(),
        action: args.action.clone(),
        error: String::new(),
        payload: payload.map(|text| (text, PayloadKind::Text)),
        retry_count: 0,
        last_retry_at: None,
        created_at: now.sql(),
        updated_at: now.sql(),
        status: Status::Pending,
        next_retry_at: None,
        due_at: None,
        recorded_at: AgentTime::ZERO,
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
        dossier: None,
    })
}

fn way<'s>(session: &'s Session, failure: &record::Failure) -> Result<(&'s Upstream, Option<&'s Route>), Failure> {
    let config = &session.config;
    let (kind, action) = (&failure.entity_type, &failure.action);
    let route = route::first(&config.routes, kind, action);
    let upstream = match (route, config.routes.is_empty()) {
        (Some(route), _) => config.upstreams.iter().find(|upstream| upstream.name == route.upstream),
        (None, true) => config.upstreams.first(),
        (None, false) => {
            return Err(Failure::Failed(format!(
                "no route is for {kind} {action}: it would be kept, and need a person"
            )));
        }
    };
    let none = || Failure::Failed("no upstream is configured: it would be kept until there is one".to_owned());
    Ok((upstream.ok_or_else(none)?, route))
}

fn tell_request(
    session: &Session,
    out: &mut impl Write,
    upstream: &Upstream,
    route: Option<&Route>,
    built: &HttpRequest,
) -> io::Result<()> {
    let by = match route {
        None => "no routes: the envelope",
        Some(_) => "by the first route that matches",
    };
    writeln!(out, "To {}, {by}:\n", upstream.name)?;
    writeln!(out, "{}", session.screen.paint(Tone::Strong, &format!("{} {}", built.method, built.url)))?;
    for (name, value) in &built.headers {
        writeln!(out, "{name}: {}", shown(value))?;
    }
    if upstream.credentials.login.is_some() {
        writeln!(out, "(and what the login brings)")?;
    }
    writeln!(out, "\n{}", body(built).lines().map(harmless).collect::<Vec<_>>().join("\n"))
}

/// A secret is named by its file and not shown.
fn shown(value: &HeaderValue) -> String {
    match value {
        HeaderValue::Text(text) => harmless(text),
        HeaderValue::File(file) => format!("*** from {}", file.display()),
        HeaderValue::Bearer(file) => format!("Bearer *** from {}", file.display()),
        HeaderValue::Basic(file) => format!("Basic *** from {}", file.display()),
    }
}

/// The body as text; a secret is named.
fn body(built: &HttpRequest) -> String {
    let part = |part: &BodyPart| match part {
        BodyPart::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        BodyPart::Secret(name) => format!("***{name}***"),
    };
    built.body.iter().map(part).collect()
}

/// The same for curl; where a secret belongs, the shell reads its file.
fn curl(built: &HttpRequest) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut line = format!("curl -i -X {} {}", built.method, quoted(&built.url));
    for (name, value) in &built.headers {
        let header = match value {
            HeaderValue::Text(text) => quoted(&format!("{name}: {text}")),
            HeaderValue::File(file) => format!("\"{name}: $(cat {})\"", file.display()),
            HeaderValue::Bearer(file) => format!("\"{name}: Bearer $(cat {})\"", file.display()),
            HeaderValue::Basic(file) => format!("\"{name}: Basic $(base64 -w0 < {})\"", file.display()),
        };
        line = format!("{line} \\\n  -H {header}");
    }
    let body = body(built);
    if body.is_empty() { line } else { format!("{line} \\\n  --data-binary {}", quoted(&body)) }
}

fn tell_answer(session: &Session, out: &mut impl Write, ending: &Ending, verdict: &Verdict) -> io::Result<()> {
    writeln!(out)?;
    match ending {
        Ending::Answered(answer) => {
            let kind = answer.content_type.as_deref().map_or_else(String::new, |kind| format!(", {}", harmless(kind)));
            writeln!(out, "Answer: HTTP {}{kind}, {} bytes of body", answer.status, answer.body.len())?;
        }
        Ending::NotSent(..) => writeln!(out, "Nothing was sent.")?,
        Ending::Broken(..) => writeln!(out, "It was sent, and no answer came.")?,
        Ending::Unbuildable(_) => {}
    }
    let tone = if verdict.class == Class::Delivered { Tone::Good } else { Tone::Bad };
    let class = session.screen.paint(tone, verdict.class.as_str());
    writeln!(out, "Class:  {class}: {}", meaning(verdict.class))?;
    if verdict.class != Class::Delivered {
        writeln!(out, "Why:    {}", harmless(&verdict.error))?;
    }
    Ok(())
}

fn meaning(class: Class) -> &'static str {
    match class {
        Class::Delivered => "it would leave",
        Class::Unreachable => "the line's fault; it would cost no retry",
        Class::Throttled | Class::Busy => {
            "the upstream's load; it would cost no retry, unless others get through and this one never"
        }
        Class::Unsure => "it may have arrived; it would be sent again under the same key",
        Class::Misconfigured => "the way to the upstream is set up wrongly; nothing would be sent until that is mended",
        Class::Refused => "it would need a person at once",
        Class::Failed => "it would cost a retry",
    }
}

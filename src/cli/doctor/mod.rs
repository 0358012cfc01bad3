//! `doctor`: checks the installation as a technician would, and reports for each item that it is fine or what to do
//! about it.
//!
//! It changes nothing and sends no failure: an upstream gets a probe, and one more with our credentials. It runs with
//! the caller's permissions; as root it also detects what the agent's own user may not read.

mod access;
mod delivery;
mod files;
mod machine;

use super::args::Global;
use super::render::{self, Tone, spoken_by_agent};
use super::session::Session;
use super::status::asks_for_something;
use super::{Failure, deeds};
use crate::policy::alert::Kind;
use crate::text::doctor as text;
use crate::text::doctor::Check;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Columns of a check's name.
const NAME: usize = 12;

/// The result of one check.
#[derive(Debug)]
struct Finding {
    /// What was checked.
    check: Check,
    /// Whether the check passed.
    ok: bool,
    /// The state; for a failed check, also what to do.
    message: String,
}

impl Finding {
    fn well(check: Check, message: impl Into<String>) -> Self {
        Self { check, ok: true, message: message.into() }
    }

    fn ill(check: Check, message: impl Into<String>) -> Self {
        Self { check, ok: false, message: message.into() }
    }
}

/// Runs the command.
pub fn run(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let agent = access::agent(&session.config);
    let looks: [&dyn Fn() -> Vec<Finding>; 8] = [
        &|| machine::state(&session.config, &agent),
        &|| access::sockets(&session.config, &agent),
        &|| access::group(&session.config),
        &|| machine::terminal(&session.config, &agent),
        &|| files::named(&session.config, &agent),
        &|| delivery::upstreams(&session),
        &|| held(&session),
        &|| alerts(&session),
    ];
    let (mut ill, mut all) = (0_u64, 0_u64);
    let mut out = io::stdout().lock();
    for finding in looks.iter().flat_map(|look| look()) {
        all += 1;
        ill += u64::from(!finding.ok);
        // One by one, because an upstream that does not answer takes time.
        tell(&session, &mut out, &finding)?;
        out.flush()?;
    }
    match ill {
        0 => Ok(()),
        ill => Err(Failure::Failed(text::failed(ill, all))),
    }
}

/// What the agent itself has found, where no other check looks at it.
fn alerts(session: &Session) -> Vec<Finding> {
    let Ok(reply) = session.quietly(&json!({"op": "health"})) else { return Vec::new() };
    let reasons = reply.value["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    let dir = session.config.agent.state_dir.display().to_string();
    let finding = |reason: &str| {
        let kind = reason.split_once(": ").and_then(|(kind, _)| Kind::parse(kind));
        match kind {
            // The disk and the clock have checks of their own.
            Some(Kind::DiskLow | Kind::ClockWrong) => None,
            // Its message says what to do.
            Some(Kind::UploadTimeout) => Some(Finding::ill(Check::Alert, reason)),
            Some(kind) => {
                Some(Finding::ill(Check::Alert, format!("{reason}. {}", text::alert_remedy(kind.as_str(), &dir))))
            }
            // The configuration that was not taken over.
            None => Some(Finding::ill(Check::Settings, reason)),
        }
    };
    reasons.iter().filter_map(Value::as_str).filter(|reason| asks_for_something(reason)).filter_map(finding).collect()
}

/// Failures that an operator has put on hold. A hold is not a fault, but it may have been forgotten.
fn held(session: &Session) -> Vec<Finding> {
    let Ok(reply) = session.quietly(&json!({"op": "list", "status": "held", "limit": 1})) else { return Vec::new() };
    let Some(oldest) = reply.value["failures"].get(0) else { return Vec::new() };
    let total = reply.value["total"].as_u64().unwrap_or(1);
    let [kind, entity] = ["entity_type", "entity_id"].map(|name| render::text(oldest, name));
    let (seq, entity) = (oldest["seq"].to_string(), format!("{kind} {entity}"));
    let message = match deeds::hold(session, &render::text(oldest, "id")) {
        Some(by) => text::on_hold_by(total, &seq, &entity, &by),
        None => text::on_hold(total, &seq, &entity),
    };
    vec![Finding::well(Check::OnHold, message)]
}

fn tell(session: &Session, out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let Finding { check, ok, message } = finding;
    let check = text::check(*check);
    if session.json {
        return writeln!(out, "{}", json!({"check": check, "ok": ok, "message": message}));
    }
    let (tone, word) = if *ok { (Tone::Good, text::well()) } else { (Tone::Bad, text::ill()) };
    let before = word.chars().count() + NAME + 1;
    let message = session.screen.folded(&spoken_by_agent(message), before, before);
    writeln!(out, "{}{check:<NAME$} {message}", session.screen.paint(tone, word))
}

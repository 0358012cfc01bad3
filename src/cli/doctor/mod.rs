//! `doctor`: looks at the installation as a technician would, and says for each thing that it is well
//! or what to do about it.
//!
//! It changes nothing and sends no failure: an upstream is asked with a probe, and once more with our
//! credentials. It looks with the eyes of whoever runs it; as root it also sees what the agent's own
//! user may not read.

mod access;
mod line;
mod machine;

use super::Failure;
use super::args::Global;
use super::render::{Tone, harmless};
use super::session::Session;
use serde_json::json;
use std::io::{self, Write};

/// What was found about one thing.
#[derive(Debug)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    /// Is it well?
    ok: bool,
    /// How it is; when it is not well, also what to do.
    message: String,
}

impl Finding {
    fn well(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, ok: true, message: message.into() }
    }

    fn ill(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, ok: false, message: message.into() }
    }
}

/// Runs the command.
pub fn run(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let agent = access::agent(&session.config);
    let looks: [&dyn Fn() -> Vec<Finding>; 5] = [
        &|| machine::state(&session.config, &agent),
        &|| access::sockets(&session.config, &agent),
        &|| access::group(&session.config),
        &|| machine::terminal(&session.config, &agent),
        &|| line::upstreams(&session.config, &agent),
    ];
    let (mut ill, mut all) = (0, 0);
    let mut out = io::stdout().lock();
    for finding in looks.iter().flat_map(|look| look()) {
        all += 1;
        ill += usize::from(!finding.ok);
        // One by one, because an upstream that does not answer takes its time.
        tell(&session, &mut out, &finding)?;
        out.flush()?;
    }
    match ill {
        0 => Ok(()),
        1 => Err(Failure::Failed(format!("one of {all} is not well"))),
        ill => Err(Failure::Failed(format!("{ill} of {all} are not well"))),
    }
}

fn tell(session: &Session, out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let Finding { check, ok, message } = finding;
    if session.json {
        return writeln!(out, "{}", json!({"check": check, "ok": ok, "message": message}));
    }
    let (tone, word) = if *ok { (Tone::Good, "ok  ") } else { (Tone::Bad, "FIX ") };
    writeln!(out, "{}{check:<12} {}", session.screen.paint(tone, word), harmless(message))
}

//! `metrics`: figures for a monitoring system, in the text form that Prometheus reads.

use super::Failure;
use super::args::Global;
use super::session::Session;
use serde_json::json;
use std::io::{self, Write};

/// Runs the command. Without the agent it prints the figures of the table; counters exist only in an agent.
pub fn run(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let reply = session.ask(&json!({"op": "metrics"}))?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", reply.value)?;
    } else {
        out.write_all(reply.value["text"].as_str().unwrap_or_default().as_bytes())?;
    }
    Ok(())
}

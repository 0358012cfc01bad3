//! `reload`: makes the agent read its configuration again, and reports which changes are in force.

use super::Failure;
use super::args::Global;
use super::client::Client;
use super::render::sanitize;
use super::session::{Session, claimed};
use crate::text::{reload as text, session};
use crate::wire::request::Socket;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// `reload`
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who, for the audit
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: &ReloadArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = Map::new();
    request.insert("op".into(), json!("reload"));
    if let Some(reason) = &args.reason {
        request.insert("reason".into(), json!(reason));
    }
    if let Some(by) = claimed(args.by.as_deref()) {
        request.insert("by".into(), json!(by));
    }
    let mut client = Client::connect(&session.config.agent.admin_socket, Socket::Admin)?;
    let line = client.call_long(Value::Object(request).to_string().as_bytes())?;
    let reply: Value = serde_json::from_slice(&line).map_err(|error| Failure::Failed(session::not_json(error)))?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", String::from_utf8_lossy(&line))?;
    }
    if reply["ok"] != true {
        // One error per line, as the agent reported them.
        let told = reply["error"]["message"].as_str().unwrap_or(session::no_reason());
        let told: Vec<String> = told.lines().map(sanitize).collect();
        return Err(Failure::Usage(text::refused(&told.join("\n"))));
    }
    if !session.json && !session.quiet {
        for line in said(&names(&reply["changed"]), &names(&reply["needs_restart"])) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(sanitize).collect()
}

fn said(changed: &[String], needs_restart: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    match (changed, needs_restart) {
        ([], []) => lines.push(text::no_change().to_owned()),
        ([], _) => {}
        (changed, _) => lines.push(text::in_force(&changed.join(", "))),
    }
    if !needs_restart.is_empty() {
        lines.push(text::needs_restart(&needs_restart.join(", ")));
    }
    lines
}

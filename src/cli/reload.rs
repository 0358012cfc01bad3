//! `reload`: has the agent read its configuration again, and says what of it is in force.

use super::Failure;
use super::args::Global;
use super::client::{Client, Door};
use super::render::harmless;
use super::session::{Session, claimed};
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

/// See the file's head.
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
    let mut client = Client::connect(&session.config.agent.admin_socket, Door::Admin)?;
    let line = client.call(&Value::Object(request))?;
    let reply: Value = serde_json::from_slice(&line)
        .map_err(|error| Failure::Failed(format!("the agent's answer is no JSON: {error}")))?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", String::from_utf8_lossy(&line))?;
    }
    if reply["ok"] != true {
        // One error a line, as the agent saw the files.
        let told = reply["error"]["message"].as_str().unwrap_or("it gave no reason");
        let told: Vec<String> = told.lines().map(harmless).collect();
        return Err(Failure::Usage(format!("the old configuration stays in force.\n{}", told.join("\n"))));
    }
    if !session.json && !session.quiet {
        for line in said(&names(&reply["changed"]), &names(&reply["needs_restart"])) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(harmless).collect()
}

fn said(changed: &[String], needs_restart: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    match (changed, needs_restart) {
        ([], []) => lines.push("Nothing has changed.".to_owned()),
        ([], _) => {}
        (changed, _) => lines.push(format!("In force now: {}.", changed.join(", "))),
    }
    if !needs_restart.is_empty() {
        let sections = needs_restart.join(", ");
        lines.push(format!("Needs a restart: {sections}. Then: systemctl restart resyncd"));
    }
    lines
}

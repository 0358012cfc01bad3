//! How a command gets its answers: from the agent, or without one from the store itself.

use super::args::{Global, RunArgs};
use super::client::{Client, Door, NoAgent};
use super::render::{Screen, harmless};
use super::{Failure, direct, setup};
use crate::config::Config;
use serde_json::{Value, json};
use std::io::{self, Write};

/// What every command has at hand.
#[derive(Debug)]
pub struct Session {
    /// The configuration in force.
    pub config: Config,
    /// Standard output.
    pub screen: Screen,
    /// Answers as the agent gives them.
    pub json: bool,
    /// Only answers and errors.
    pub quiet: bool,
}

/// A reply of the agent, parsed, and as it came.
#[derive(Debug)]
pub struct Reply {
    /// Parsed.
    pub value: Value,
    /// As it came.
    pub line: Vec<u8>,
}

impl Session {
    /// Reads the configuration. A wrong one may be good enough to ask the running agent, in which an
    /// earlier one is in force; standard error says so.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let wrong = match Self::strict(global) {
            Err(Failure::Usage(wrong)) => wrong,
            other => return other,
        };
        let there = |config: &Config| {
            let tried = [(&config.agent.admin_socket, Door::Admin), (&config.agent.socket, Door::App)];
            tried.iter().any(|(path, door)| !matches!(Client::connect(path, *door), Err(NoAgent::NotRunning(_))))
        };
        let Some(config) = setup::readable(global).filter(there) else {
            return Err(Failure::Usage(wrong));
        };
        let said = "the configuration is wrong (see: resyncd config check); the agent goes on with an earlier one";
        // Standard error may be closed; there is nowhere left to say so.
        let _ = writeln!(io::stderr(), "resyncd: {said}");
        Ok(Self { config, screen: Screen::new(global), json: global.json, quiet: global.quiet })
    }

    /// Reads the configuration, which has to be right.
    pub fn strict(global: &Global) -> Result<Self, Failure> {
        let config = setup::config(global, &RunArgs::default())?;
        Ok(Self { config, screen: Screen::new(global), json: global.json, quiet: global.quiet })
    }

    /// Asks what only reads; without an agent the store is opened.
    pub fn ask(&self, request: &Value) -> Result<Reply, Failure> {
        match Client::connect(&self.config.agent.admin_socket, Door::Admin) {
            Ok(mut client) => self.judge(client.call(request)?),
            Err(NoAgent::NotRunning(told)) if direct::exists(&self.config) => {
                match direct::ask(&self.config, request.to_string().as_bytes())? {
                    Some(line) => self.judge(line),
                    None => Err(Failure::Unreachable(told)),
                }
            }
            Err(no) => Err(no.into()),
        }
    }

    /// Asks what changes something; only the agent does that.
    pub fn order(&self, request: &Value) -> Result<Reply, Failure> {
        self.judge(Client::connect(&self.config.agent.admin_socket, Door::Admin)?.call(request)?)
    }

    /// An error reply becomes the command's failure; with `--json` it is printed first.
    fn judge(&self, line: Vec<u8>) -> Result<Reply, Failure> {
        let value: Value = serde_json::from_slice(&line)
            .map_err(|error| Failure::Failed(format!("the agent's answer is no JSON: {error}")))?;
        if value["ok"] == true {
            return Ok(Reply { value, line });
        }
        if self.json {
            let mut out = std::io::stdout().lock();
            out.write_all(&line)?;
            if !line.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
        }
        let error = &value["error"];
        let text = harmless(error["message"].as_str().unwrap_or("it gave no reason"));
        match error["code"].as_str() {
            Some("not_found") => Err(Failure::NotFound(text)),
            Some("bad_request" | "bad_json" | "unknown_op") => Err(Failure::Rejected(text)),
            _ => Err(Failure::Failed(text)),
        }
    }

    /// The whole id of the one failure that a person means.
    pub fn resolve(&self, name: &str) -> Result<String, Failure> {
        match self.ask(&json!({"op": "get", "id": name})) {
            Ok(reply) => Ok(reply.value["failure"]["id"].as_str().unwrap_or_default().to_owned()),
            Err(Failure::NotFound(told)) => {
                let found = self.ask(&json!({"op": "list", "entity_id": name, "limit": 10}))?;
                let failures = found.value["failures"].as_array().map(Vec::as_slice).unwrap_or_default();
                match failures {
                    [] => Err(Failure::NotFound(format!("{told}, and no entity of this id has one"))),
                    [one] => Ok(one["id"].as_str().unwrap_or_default().to_owned()),
                    several => Err(Failure::Failed(format!(
                        "{name} has several live failures, name one:\n{}",
                        several.iter().map(one_line).collect::<Vec<_>>().join("\n")
                    ))),
                }
            }
            Err(other) => Err(other),
        }
    }
}

fn one_line(failure: &Value) -> String {
    let text = |name: &str| harmless(failure[name].as_str().unwrap_or_default());
    format!("  {}  {}  {} {} {}", failure["seq"], text("id"), text("entity_type"), text("entity_id"), text("action"))
}

/// Whom the command acts for, by its own word or sudo's: claimed, not proven.
#[must_use]
pub fn claimed(by: Option<&str>) -> Option<String> {
    by.map(str::to_owned).or_else(|| std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty()))
}

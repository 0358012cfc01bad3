//! How a command gets its answers: from the agent, or without one from the store itself.

use super::args::{Global, RunArgs};
use super::choose::one_line;
use super::client::{Client, Door, NoAgent};
use super::render::{Screen, harmless};
use super::{Failure, direct, setup};
use crate::config::Config;
use crate::figures::snapshot::{Part, Snapshot};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{self, Write};
use std::time::Duration;

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
    /// How long an answer may take; `None`: as long as it takes.
    pub patience: Option<Duration>,
    /// Where questions go.
    asking: RefCell<Option<Client>>,
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
        Ok(Self::with(config, global))
    }

    /// Reads the configuration, which has to be right.
    pub fn strict(global: &Global) -> Result<Self, Failure> {
        let config = setup::config(global, &RunArgs::default())?;
        Ok(Self::with(config, global))
    }

    fn with(config: Config, global: &Global) -> Self {
        Self {
            config,
            screen: Screen::new(global),
            json: global.json,
            quiet: global.quiet,
            patience: None,
            asking: RefCell::new(None),
        }
    }

    fn connect(&self) -> Result<Client, NoAgent> {
        let client = Client::connect(&self.config.agent.admin_socket, Door::Admin)?;
        match self.patience.map(|time| client.patience(time)) {
            Some(Err(failure)) => Err(NoAgent::NotRunning(failure.to_string())),
            _ => Ok(client),
        }
    }

    /// Asks for a part of a snapshot.
    pub(super) fn fill(&self, snapshot: &mut Snapshot, part: Part, question: &Value) -> Result<(), Failure> {
        let reply = self.quietly(question)?.value;
        // Did the agent itself answer, and not the store in its place?
        snapshot.running = self.asking.borrow().is_some();
        snapshot.take(part, reply).map_err(Failure::Failed)
    }

    /// Asks what only reads; without an agent the store is opened.
    pub fn ask(&self, request: &Value) -> Result<Reply, Failure> {
        Self::judge(self.answer(request)?, self.json)
    }

    /// As [`ask`](Self::ask), where a no is not the last word.
    pub fn quietly(&self, request: &Value) -> Result<Reply, Failure> {
        Self::judge(self.answer(request)?, false)
    }

    /// A reply line. Questions share a connection, for a name takes one each.
    fn answer(&self, request: &Value) -> Result<Vec<u8>, Failure> {
        let mut asking = self.asking.borrow_mut();
        if asking.is_none() {
            match self.connect() {
                Ok(client) => *asking = Some(client),
                Err(NoAgent::NotRunning(told)) if direct::exists(&self.config) => {
                    let line = direct::ask(&self.config, request.to_string().as_bytes())?;
                    return line.ok_or(Failure::Unreachable(told));
                }
                Err(no) => return Err(no.into()),
            }
        }
        let line = asking.as_mut().expect("there is one, or we have returned").call(request);
        if line.is_err() {
            *asking = None;
        }
        line
    }

    /// Asks what changes something; only the agent does that.
    pub fn order(&self, request: &Value) -> Result<Reply, Failure> {
        self.order_line(request.to_string().as_bytes())
    }

    /// The same with the request's own text. On a connection of its own, for a person may have thought
    /// for long since the last question.
    pub fn order_line(&self, line: &[u8]) -> Result<Reply, Failure> {
        let mut client = self.connect()?;
        client.send(line)?;
        Self::judge(client.receive()?, self.json)
    }

    /// An error reply becomes the command's failure; with `--json` it is printed first.
    pub(super) fn judge(line: Vec<u8>, json: bool) -> Result<Reply, Failure> {
        let value: Value = serde_json::from_slice(&line)
            .map_err(|error| Failure::Failed(format!("the agent's answer is no JSON: {error}")))?;
        if value["ok"] == true {
            return Ok(Reply { value, line });
        }
        if json {
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
        match self.quietly(&json!({"op": "get", "id": name})) {
            Ok(reply) => Ok(reply.value["failure"]["id"].as_str().unwrap_or_default().to_owned()),
            Err(Failure::Rejected(told)) => Err(self.begun(name, told)),
            Err(Failure::NotFound(told)) => {
                let found = self.ask(&json!({"op": "list", "entity_id": name, "limit": MOST_NAMED}))?;
                match found.value["failures"].as_array().map(Vec::as_slice).unwrap_or_default() {
                    [] => Err(Failure::NotFound(format!("{told}, and no entity of this id has one"))),
                    [one] => Ok(one["id"].as_str().unwrap_or_default().to_owned()),
                    several => Err(ambiguous(&format!("{name} has several live failures"), several)),
                }
            }
            Err(other) => Err(other),
        }
    }

    /// A name that begins several ids: which they are.
    fn begun(&self, name: &str, told: String) -> Failure {
        let Some((_, ids)) = told.split_once("several ids: ") else { return Failure::Rejected(told) };
        let looked = ids.split(' ').filter_map(|id| self.quietly(&json!({"op": "get", "id": id})).ok());
        let several: Vec<Value> = looked.map(|reply| reply.value["failure"].clone()).collect();
        ambiguous(&format!("{name} is the beginning of several ids"), &several)
    }
}

/// So many are listed when a name means several.
const MOST_NAMED: usize = 10;

fn ambiguous(what: &str, several: &[Value]) -> Failure {
    let lines: Vec<String> = several.iter().map(one_line).collect();
    Failure::Failed(format!("{what}, name one:\n{}", lines.join("\n")))
}

/// Whom the command acts for, by its own word or sudo's: claimed, not proven.
#[must_use]
pub fn claimed(by: Option<&str>) -> Option<String> {
    by.map(str::to_owned).or_else(|| std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty()))
}

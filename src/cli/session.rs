//! Sends a command's requests to the agent, or without one answers them from the store.

use super::args::{Global, RunArgs};
use super::client::{Client, NoAgent};
use super::render::{Screen, sanitize, spoken_by_agent};
use super::{Failure, load_config, offline, words};
use crate::config::Config;
use crate::figures::snapshot::{Part, Snapshot};
use crate::ids::{FailureName, Seq};
use crate::text::session as text;
use crate::wire::request::Socket;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::Write;

/// The context of a command.
#[derive(Debug)]
pub struct Session {
    /// The configuration in force.
    pub config: Config,
    /// Standard output.
    pub screen: Screen,
    /// Print replies unchanged.
    pub json: bool,
    /// Print only answers and errors.
    pub quiet: bool,
    /// The connection for queries.
    asking: RefCell<Option<Client>>,
}

/// A reply of the agent, parsed and unchanged.
#[derive(Debug)]
pub struct Reply {
    /// The parsed reply.
    pub value: Value,
    /// The unchanged line.
    pub line: Vec<u8>,
}

impl Session {
    /// Reads the configuration. An invalid one may suffice to query a running agent, which uses an earlier one;
    /// standard error says so.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let wrong = match Self::strict(global) {
            Err(Failure::Usage(wrong)) => wrong,
            other => return other,
        };
        let there = |config: &Config| {
            let tried = [(&config.agent.admin_socket, Socket::Admin), (&config.agent.socket, Socket::App)];
            tried
                .iter()
                .any(|(path, socket)| matches!(Client::connect(path, *socket), Ok(_) | Err(NoAgent::Forbidden(_))))
        };
        let Some(config) = load_config::readable(global).filter(there) else {
            return Err(Failure::Usage(wrong));
        };
        super::note(text::invalid_configuration());
        Ok(Self::with(config, global))
    }

    /// Reads the configuration, which must be valid.
    pub fn strict(global: &Global) -> Result<Self, Failure> {
        let config = load_config::config(global, &RunArgs::default())?;
        Ok(Self::with(config, global))
    }

    fn with(config: Config, global: &Global) -> Self {
        Self { config, screen: Screen::new(global), json: global.json, quiet: global.quiet, asking: RefCell::new(None) }
    }

    fn connect(&self) -> Result<Client, NoAgent> {
        Client::connect(&self.config.agent.admin_socket, Socket::Admin)
    }

    /// Queries a part of a snapshot.
    pub(super) fn fill(&self, snapshot: &mut Snapshot, part: Part, question: &Value) -> Result<(), Failure> {
        let reply = self.quietly(question)?.value;
        // Whether the agent answered, and not the store in its place.
        snapshot.running = self.asking.borrow().is_some();
        snapshot.take(part, reply).map_err(Failure::Failed)
    }

    /// Sends a read-only query; without an agent the store is read.
    pub fn ask(&self, request: &Value) -> Result<Reply, Failure> {
        Self::judge(self.answer(request)?, self.json)
    }

    /// Like [`ask`](Self::ask), for callers that handle an error themselves.
    pub fn quietly(&self, request: &Value) -> Result<Reply, Failure> {
        Self::judge(self.answer(request)?, false)
    }

    /// Sends a query and returns its reply line. Queries share a connection, because resolving each name takes one.
    fn answer(&self, request: &Value) -> Result<Vec<u8>, Failure> {
        let mut asking = self.asking.borrow_mut();
        if asking.is_none() {
            match self.connect() {
                Ok(client) => *asking = Some(client),
                Err(NoAgent::NotRunning(told)) if offline::exists(&self.config) => {
                    let line = offline::ask(&self.config, request.to_string().as_bytes())?;
                    return line.ok_or(Failure::Unreachable(told));
                }
                Err(NoAgent::Silent(told)) if offline::exists(&self.config) => {
                    super::note(&told);
                    super::note(text::from_the_database());
                    let line = offline::ask(&self.config, request.to_string().as_bytes()).ok().flatten();
                    return line.ok_or(Failure::Unreachable(told));
                }
                Err(no) => return Err(no.into()),
            }
        }
        let request = request.to_string();
        let line = asking.as_mut().expect("there is one, or we have returned").call_long(request.as_bytes());
        if line.is_err() {
            *asking = None;
        }
        line
    }

    /// Sends a request that changes data; only the agent accepts it.
    pub fn order(&self, request: &Value) -> Result<Reply, Failure> {
        self.order_line(request.to_string().as_bytes())
    }

    /// Like [`order`](Self::order), with the request's own text. It uses a new connection, because a confirmation may
    /// have taken long since the last query.
    pub fn order_line(&self, line: &[u8]) -> Result<Reply, Failure> {
        let mut client = self.connect()?;
        Self::judge(client.call_long(line)?, self.json)
    }

    /// Converts an error reply to the command's failure; with `--json` it is printed first.
    pub(super) fn judge(line: Vec<u8>, json: bool) -> Result<Reply, Failure> {
        let value: Value = serde_json::from_slice(&line).map_err(|error| Failure::Failed(text::not_json(error)))?;
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
        let mut told = spoken_by_agent(error["message"].as_str().unwrap_or(text::no_reason()));
        if let Some(changed) = error["changed"].as_u64().filter(|changed| *changed > 0) {
            told = text::changed_before(changed, &told);
        }
        match error["code"].as_str() {
            Some("not_found") => Err(Failure::NotFound(told)),
            Some("bad_request" | "bad_json" | "unknown_op") => Err(Failure::Rejected(told)),
            _ => Err(Failure::Failed(told)),
        }
    }

    /// The complete id of the live failure that an operator names.
    pub fn resolve(&self, name: &str) -> Result<String, Failure> {
        if let Some(seq) = FailureName::typed(name) {
            return match self.numbered(name, seq)? {
                Some(failure) => Ok(id_of(&failure)),
                None => Err(self.not_a_number_of_any(name)),
            };
        }
        match self.quietly(&get(&meanings(name)[0])) {
            Ok(reply) => Ok(id_of(&reply.value["failure"])),
            Err(Failure::Rejected(told)) => Err(self.begun(name, told)),
            Err(Failure::NotFound(_)) if is_exact(name) => Err(Failure::NotFound(text::none_live(&sanitize(name)))),
            Err(Failure::NotFound(_)) => match &self.of_entity(name)?[..] {
                [] => Err(Failure::NotFound(text::none_live_nor_entity(&sanitize(name)))),
                [one] => Ok(id_of(one)),
                several => Err(Failure::Failed(text::several_of_entity(&sanitize(name), &lines(several)))),
            },
            Err(other) => Err(other),
        }
    }

    /// The complete id of the live failure whose id is exactly this text.
    pub fn with_id(&self, id: &str) -> Result<String, Failure> {
        match self.ask(&get(&json!({"id": id}))) {
            Err(Failure::NotFound(_)) => Err(Failure::NotFound(text::none_live(&sanitize(id)))),
            found => Ok(id_of(&found?.value["failure"])),
        }
    }

    /// The live failure with the number that an operator typed. Imported ids may be digits too: if a live failure has
    /// exactly that id, the name is ambiguous, and both are listed.
    pub fn numbered(&self, typed: &str, seq: Seq) -> Result<Option<Value>, Failure> {
        let live = |meaning: &Value| match self.quietly(&get(meaning)) {
            Ok(mut reply) => Ok(Some(reply.value["failure"].take())),
            Err(Failure::NotFound(_)) => Ok(None),
            Err(other) => Err(other),
        };
        let by_number = live(&json!({"id": seq}))?;
        let by_id = live(&json!({"id": typed}))?;
        match (&by_number, by_id) {
            (_, None) => Ok(by_number),
            (Some(one), Some(other)) if one["id"] == other["id"] => Ok(by_number),
            (_, Some(other)) => {
                let both: Vec<Value> = by_number.into_iter().chain([other]).collect();
                Err(Failure::Failed(text::number_or_id(typed, &lines(&both))))
            }
        }
    }

    /// The error for a number that no live failure has. An entity may have it as its id, but acting on that one could
    /// be a mistake: the failure with this number may just have been delivered.
    fn not_a_number_of_any(&self, typed: &str) -> Failure {
        match self.of_entity(typed) {
            Ok(failures) if !failures.is_empty() => Failure::NotFound(text::is_an_entity(typed, &lines(&failures))),
            _ => Failure::NotFound(text::none_live(typed)),
        }
    }

    /// The live failures of an entity id, up to a limit.
    fn of_entity(&self, name: &str) -> Result<Vec<Value>, Failure> {
        let mut found = self.ask(&json!({"op": "list", "entity_id": name, "limit": MOST_NAMED}))?;
        Ok(found.value["failures"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The error for a prefix of several ids, with these ids.
    fn begun(&self, name: &str, told: String) -> Failure {
        let Some((_, ids)) = told.split_once("several ids: ") else { return Failure::Rejected(told) };
        let looked = ids.split(' ').filter_map(|id| self.quietly(&json!({"op": "get", "id": id})).ok());
        let several: Vec<Value> = looked.map(|reply| reply.value["failure"].clone()).collect();
        Failure::Failed(text::several_ids(name, &lines(&several)))
    }
}

/// Maximum number of failures listed for an ambiguous name.
const MOST_NAMED: usize = 10;

/// The possible meanings of a failure's name, as fields of a request; the first that identifies a failure is used.
pub(super) fn meanings(name: &str) -> Vec<Value> {
    if FailureName::numbered(name).is_some() {
        vec![json!({"id": name})]
    } else if let Some(id) = name.strip_prefix(EXACTLY) {
        vec![json!({"id": id})]
    } else if let Some(seq) = FailureName::typed(name) {
        vec![json!({"id": seq}), json!({"id": name})]
    } else {
        vec![json!({"id": name, "prefix": true})]
    }
}

/// Prefix of an id that could be mistaken for another kind of name.
const EXACTLY: &str = "id:";

fn is_exact(name: &str) -> bool {
    name.starts_with(EXACTLY) || FailureName::numbered(name).is_some()
}

fn get(meaning: &Value) -> Value {
    let mut request = meaning.clone();
    request["op"] = json!("get");
    request
}

fn id_of(failure: &Value) -> String {
    failure["id"].as_str().unwrap_or_default().to_owned()
}

/// A line for each failure.
fn lines(failures: &[Value]) -> String {
    failures.iter().map(words::one_line).collect::<Vec<_>>().join("\n")
}

/// The person whom the command acts for, from `--by` or sudo: claimed, not proven.
#[must_use]
pub fn claimed(by: Option<&str>) -> Option<String> {
    by.map(str::to_owned).or_else(|| std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty()))
}

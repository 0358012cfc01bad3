//! Selects failures for an operation: by name, by numbers from standard input, by filters, or all; and confirms the
//! selection.

use super::Failure;
use super::args::{BulkArgs, Filters};
use super::render::text;
use super::session::{Session, claimed};
use super::times::{Edge, instant};
use super::words::{error_of, state_name};
use crate::limits::{MAX_IDS, cut};
use crate::text::{Count, choose as words};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::io::{self, BufRead, IsTerminal, Write};

/// Number of matching failures that are shown before the confirmation.
const SHOWN: usize = 5;

/// Failures of a long selection that are looked at.
const MAX_LOOKED_AT: usize = 20;

/// The failures of an operation.
#[derive(Debug)]
pub enum Choice {
    /// Failures by their complete ids.
    Named(Vec<String>),
    /// All that match; an empty filter matches all.
    Matching(Map<String, Value>),
}

impl Choice {
    /// Reads the command line; an error about a named upstream suggests the command `instead`.
    pub fn of(session: &Session, args: &BulkArgs, instead: &str) -> Result<Self, Failure> {
        let filter = filter(&args.filters)?;
        match (args.ids.is_empty(), filter.is_empty(), args.all) {
            (false, true, false) => named(session, &args.ids, instead).map(Self::Named),
            (true, false, false) => Ok(Self::Matching(filter)),
            (true, true, true) => Ok(Self::Matching(Map::new())),
            (true, true, false) => Err(Failure::Usage(words::say_which().into())),
            _ => Err(Failure::Usage(words::in_one_way().into())),
        }
    }

    /// The selection in parts, each small enough for one request.
    #[must_use]
    pub fn parts(&self) -> Vec<Self> {
        match self {
            Self::Named(ids) => ids.chunks(MAX_IDS).map(|ids| Self::Named(ids.to_vec())).collect(),
            Self::Matching(filter) => vec![Self::Matching(filter.clone())],
        }
    }

    /// Adds the selection to a request.
    pub fn put_into(&self, request: &mut Map<String, Value>) {
        match self {
            Self::Named(ids) => drop(request.insert("ids".into(), json!(ids))),
            Self::Matching(filter) if filter.is_empty() => drop(request.insert("all".into(), json!(true))),
            Self::Matching(filter) => drop(request.insert("filter".into(), Value::Object(filter.clone()))),
        }
    }

    /// The only selected failure, as it is now. `None` if there may be more than one.
    pub fn only(&self, session: &Session) -> Option<Value> {
        let Self::Named(ids) = self else { return None };
        let [id] = &ids[..] else { return None };
        get(session, id)
    }

    /// Those that are named and wait for another failure, each with that one. Of a long list of names the first.
    pub fn behind_others(&self, session: &Session) -> Vec<(Value, Value)> {
        let Self::Named(ids) = self else { return Vec::new() };
        let mut heads: Vec<Value> = Vec::new();
        let mut found = Vec::new();
        for failure in ids.iter().take(MAX_LOOKED_AT).filter_map(|id| get(session, id)) {
            let Some(blocked_by) = failure["blocked_by"].as_str() else { continue };
            let known = heads.iter().find(|head| head["id"] == blocked_by).cloned();
            let Some(head) = known.or_else(|| get(session, blocked_by)) else { continue };
            heads.push(head.clone());
            found.push((failure, head));
        }
        found
    }

    /// The failures themselves, of a long selection the first.
    pub fn some(&self, session: &Session) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Named(ids) => {
                let read =
                    |id| session.ask(&json!({"op": "get", "id": id})).map(|reply| reply.value["failure"].clone());
                ids.iter().take(MAX_LOOKED_AT).map(read).collect()
            }
            Self::Matching(filter) => {
                let mut request = filter.clone();
                request.insert("op".into(), json!("list"));
                request.insert("limit".into(), json!(MAX_LOOKED_AT));
                let mut reply = session.ask(&Value::Object(request))?.value;
                Ok(reply["failures"].as_array_mut().map(std::mem::take).unwrap_or_default())
            }
        }
    }

    /// The upstreams of those that are named; `None` where a filter names them.
    pub fn upstreams(&self, session: &Session) -> Option<Vec<String>> {
        let Self::Named(ids) = self else { return None };
        let upstream = |id: &String| {
            let found = session.quietly(&json!({"op": "get", "id": id})).ok()?.value;
            found["failure"]["upstream"].as_str().map(str::to_owned)
        };
        // Where many are named, their upstreams are the same few.
        Some(ids.iter().take(MAX_LOOKED_AT).filter_map(upstream).collect())
    }

    /// How many failures an operation would change, and some of them. `would` is the reply to a dry run.
    pub fn shown(&self, session: &Session, op: &str, would: &Value) -> Result<String, Failure> {
        let tally = |name: &str| would[name].as_u64().unwrap_or_default();
        let (matched, skipped) = (tally("matched"), tally("skipped"));
        let mut shown =
            if skipped == 0 { words::matches(matched) } else { words::matches_but(matched, Count(skipped)) };
        shown.push('\n');
        let some = self.some(session)?;
        let some: Vec<&Value> = some.iter().filter(|failure| applies(op, failure)).take(SHOWN).collect();
        for failure in &some {
            let [kind, entity, action, state] =
                ["entity_type", "entity_id", "action", "state"].map(|name| text(failure, name));
            let (state, error) = (state_name(&state), error_of(failure));
            let line = format!("  {}  {kind} {entity} {action}  {state}  {error}", failure["seq"]);
            shown.push_str(&session.screen.fit(&line));
            shown.push('\n');
        }
        let others = (matched - skipped).saturating_sub(some.len() as u64);
        if others > 0 {
            shown = shown + "  " + &words::and_more(others) + "\n";
        }
        Ok(shown)
    }
}

/// Does an operation change failures in this state? The agent decides; this is for those that are shown.
fn applies(op: &str, failure: &Value) -> bool {
    match (op, failure["status"].as_str()) {
        _ if failure["state"] == "in_flight" => false,
        ("hold", status) => status == Some("pending"),
        ("release", status) => status != Some("pending"),
        ("retry", status) => status != Some("held"),
        _ => true,
    }
}

fn get(session: &Session, id: &str) -> Option<Value> {
    Some(session.quietly(&json!({"op": "get", "id": id})).ok()?.value["failure"].take())
}

/// A failure as an operator knows it: `RETURN r-17 CREATE, no. 26`.
#[must_use]
pub fn object(failure: &Value) -> String {
    let [kind, entity, action] = ["entity_type", "entity_id", "action"].map(|name| text(failure, name));
    words::object(&kind, &entity, &action, &failure["seq"])
}

/// Converts filters to the protocol's names.
pub fn filter(filters: &Filters) -> Result<Map<String, Value>, Failure> {
    let gone = |status: &&str| matches!(*status, "delivered" | "sent" | "discarded" | "archived" | "removed");
    match filters.status.as_deref().filter(gone) {
        Some(status @ ("delivered" | "sent")) => {
            return Err(Failure::Usage(words::delivered_are_gone(status)));
        }
        Some(status) => return Err(Failure::Usage(words::removed_are_gone(status))),
        None => {}
    }
    let named = [
        ("status", &filters.status),
        ("entity_type", &filters.which.entity_type),
        ("entity_id", &filters.which.entity),
        ("action", &filters.which.action),
        ("upstream", &filters.which.upstream),
        ("error_class", &filters.error_class),
    ];
    let mut all: Map<String, Value> =
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))).collect();
    for (name, given, edge) in [("since", &filters.since, Edge::Start), ("until", &filters.until, Edge::End)] {
        if let Some(given) = given {
            all.insert(name.to_owned(), json!(instant(name, given, edge)?));
        }
    }
    Ok(all)
}

/// The name of a failure.
enum Named {
    /// As an operator types it.
    Typed(String),
    /// A complete id, from a line of JSON.
    Id(String),
}

/// Resolves ids from the command line, or line by line from standard input.
fn named(session: &Session, given: &[String], instead: &str) -> Result<Vec<String>, Failure> {
    let names: Vec<Named> = if given == ["-"] {
        let lines = io::stdin().lock().lines().collect::<Result<Vec<_>, _>>()?;
        let said = lines.iter().filter(|line| !line.trim().is_empty());
        said.map(|line| name_in(line)).collect::<Result<_, _>>()?
    } else {
        given.iter().cloned().map(Named::Typed).collect()
    };
    if names.is_empty() {
        return Err(Failure::Usage(words::no_id_on_standard_input().into()));
    }
    let mut ids = Vec::with_capacity(names.len());
    let mut seen = HashSet::new();
    for name in &names {
        let id = match name {
            Named::Typed(name) if session.config.upstreams.iter().any(|upstream| upstream.name == *name) => {
                return Err(Failure::Usage(words::is_an_upstream(name, instead)));
            }
            Named::Typed(name) => session.live(name)?,
            Named::Id(id) => session.with_id(id)?,
        };
        if seen.insert(id.clone()) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Parses a line: a name as an operator types it, or a failure as `list --json` prints it. The `id` of the latter is
/// always an exact id.
fn name_in(line: &str) -> Result<Named, Failure> {
    let line = line.trim();
    if !line.starts_with('{') {
        return Ok(Named::Typed(line.to_owned()));
    }
    let read = serde_json::from_str::<Value>(line);
    let id = match read.as_ref().map(|value| &value["id"]) {
        Ok(Value::String(id)) => Some(id.clone()),
        Ok(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    let wrong = || Failure::Usage(words::not_a_failure(&cut(line, 100)));
    id.map(Named::Id).ok_or_else(wrong)
}

/// Adds operator and reason for the audit.
pub fn sign(request: &mut Map<String, Value>, reason: Option<&str>, by: Option<&str>) {
    if let Some(reason) = reason {
        request.insert("reason".into(), json!(reason));
    }
    if let Some(by) = claimed(by) {
        request.insert("by".into(), json!(by));
    }
}

/// Asks for confirmation, unless `--yes` was given; fails without a terminal.
pub fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(words::cannot_ask(what)));
    }
    eprint!("{}", words::go_on(what));
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if words::confirms(line.trim()) { Ok(()) } else { Err(Failure::Failed(words::not_confirmed().into())) }
}

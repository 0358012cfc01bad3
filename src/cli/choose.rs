//! Which failures a person means: names, numbers from standard input, filters, all; and whether that
//! is really meant.

use super::Failure;
use super::args::{BulkArgs, Filters};
use super::render::{count, text};
use super::session::{Session, claimed};
use super::times::{Edge, instant};
use crate::limits::MAX_IDS;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

/// How many of those that match are shown before somebody is asked.
const SHOWN: u64 = 5;

/// What an operation on many failures is about.
#[derive(Debug)]
pub enum Choice {
    /// These, by their whole ids.
    Named(Vec<String>),
    /// All that match; the empty filter is all.
    Matching(Map<String, Value>),
}

impl Choice {
    /// What the command line says; `instead` is the command for an upstream, should one be named.
    pub fn of(session: &Session, args: &BulkArgs, instead: &str) -> Result<Self, Failure> {
        let filter = filter(&args.filters)?;
        match (args.ids.is_empty(), filter.is_empty(), args.all) {
            (false, true, false) => named(session, &args.ids, instead).map(Self::Named),
            (true, false, false) => Ok(Self::Matching(filter)),
            (true, true, true) => Ok(Self::Matching(Map::new())),
            (true, true, false) => {
                Err(Failure::Usage("say which: ids, or filters such as --status critical, or --all".into()))
            }
            _ => Err(Failure::Usage("say which in one way: ids, or filters, or --all".into())),
        }
    }

    /// The same in parts, each of which a request may name.
    #[must_use]
    pub fn parts(&self) -> Vec<Self> {
        match self {
            Self::Named(ids) => ids.chunks(MAX_IDS).map(|ids| Self::Named(ids.to_vec())).collect(),
            Self::Matching(filter) => vec![Self::Matching(filter.clone())],
        }
    }

    /// The part of a request that says it.
    pub fn put_into(&self, request: &mut Map<String, Value>) {
        match self {
            Self::Named(ids) => drop(request.insert("ids".into(), json!(ids))),
            Self::Matching(filter) if filter.is_empty() => drop(request.insert("all".into(), json!(true))),
            Self::Matching(filter) => drop(request.insert("filter".into(), Value::Object(filter.clone()))),
        }
    }

    /// How many they are, and some of them.
    pub fn shown(&self, session: &Session) -> Result<String, Failure> {
        let (total, some) = match self {
            Self::Named(ids) => {
                let looked = ids
                    .iter()
                    .take(usize::try_from(SHOWN).unwrap_or(usize::MAX))
                    .map(|id| session.ask(&json!({"op": "get", "id": id})).map(|reply| reply.value["failure"].clone()));
                (ids.len() as u64, looked.collect::<Result<Vec<_>, _>>()?)
            }
            Self::Matching(filter) => {
                let mut request = filter.clone();
                request.insert("op".into(), json!("list"));
                request.insert("limit".into(), json!(SHOWN));
                let mut reply = session.ask(&Value::Object(request))?.value;
                let some = reply["failures"].as_array_mut().map(std::mem::take).unwrap_or_default();
                (reply["total"].as_u64().unwrap_or_default(), some)
            }
        };
        let mut shown =
            format!("{} {}\n", count(total), if total == 1 { "failure matches." } else { "failures match." });
        for failure in &some {
            shown.push_str(&session.screen.fit(&one_line(failure)));
            shown.push('\n');
        }
        if total > some.len() as u64 {
            // Writing to a String cannot fail.
            let _ = writeln!(shown, "  and {} more", count(total - some.len() as u64));
        }
        Ok(shown)
    }
}

/// A failure in a line.
#[must_use]
pub fn one_line(failure: &Value) -> String {
    let [id, kind, entity, action, state, error] =
        ["id", "entity_type", "entity_id", "action", "state", "error"].map(|name| text(failure, name));
    format!("  {}  {id}  {kind} {entity} {action}  {state}  {error}", failure["seq"])
}

/// Filters as the protocol names them.
pub fn filter(filters: &Filters) -> Result<Map<String, Value>, Failure> {
    let named = [
        ("status", &filters.status),
        ("entity_type", &filters.entity_type),
        ("entity_id", &filters.entity),
        ("action", &filters.action),
        ("upstream", &filters.upstream),
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

/// The ids as they were given, or line by line from standard input; each looked up.
fn named(session: &Session, given: &[String], instead: &str) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = if given == ["-"] {
        let lines = io::stdin().lock().lines().collect::<Result<Vec<_>, _>>()?;
        lines.iter().map(|line| name_in(line)).filter(|name| !name.is_empty()).collect()
    } else {
        given.to_vec()
    };
    if names.is_empty() {
        return Err(Failure::Usage("no id came on standard input".into()));
    }
    let upstream = |name: &&String| session.config.upstreams.iter().any(|upstream| upstream.name == **name);
    if let Some(name) = names.iter().find(upstream) {
        return Err(Failure::Usage(format!("{name} is an upstream; you want: resyncd {instead} {name}")));
    }
    let mut ids = Vec::with_capacity(names.len());
    for name in &names {
        let id = session.resolve(name)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// A line is a name, or a failure as `list --json` prints it.
fn name_in(line: &str) -> String {
    let id = serde_json::from_str::<Value>(line).ok().and_then(|value| Some(value.get("id")?.as_str()?.to_owned()));
    id.unwrap_or_else(|| line.trim().to_owned())
}

/// Who and why, for the audit.
pub fn sign(request: &mut Map<String, Value>, reason: Option<&str>, by: Option<&str>) {
    if let Some(reason) = reason {
        request.insert("reason".into(), json!(reason));
    }
    if let Some(by) = claimed(by) {
        request.insert("by".into(), json!(by));
    }
}

/// Asks, unless that was answered with `--yes`; without a terminal nobody can answer.
pub fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{what} Nobody is there to confirm it: add --yes, or --dry-run to look first"
        )));
    }
    eprint!("{what} Go on? [y/N] ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::Failed("nothing was changed".into())) }
}

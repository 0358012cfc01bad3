//! `history`: what was tried and done, in one time line; and how `show` tells the same of one failure.

use super::args::Global;
use super::render::{clock, harmless, text, time};
use super::session::Session;
use super::times::{Edge, instant};
use super::{Failure, words};
use crate::io::clock::wall;
use crate::moment::WallTime;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// `history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Number, id or its beginning, live or gone
    pub id: Option<String>,
    /// Entity type; with --entity
    #[arg(long = "type", value_name = "TYPE", requires = "entity", conflicts_with = "id")]
    pub entity_type: Option<String>,
    /// Entity id: over all its failures; with --type
    #[arg(long, value_name = "ID", requires = "entity_type")]
    pub entity: Option<String>,
    /// From then on: 24h (ago), 06:12, 2026-11-24 [default without an id and an entity: 24h]
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: &HistoryArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = Map::from_iter([("op".to_owned(), json!("history"))]);
    let everybody = args.id.is_none() && args.entity.is_none();
    let since = args.since.as_deref().or(everybody.then_some("24h"));
    if let Some(since) = since {
        request.insert("since".into(), json!(instant("since", since, Edge::Start)?));
    }
    if let (Some(kind), Some(which)) = (&args.entity_type, &args.entity) {
        request.insert("entity_type".into(), json!(kind));
        request.insert("entity_id".into(), json!(which));
    }
    if let Some(id) = &args.id {
        request.insert("id".into(), json!(id));
    }
    let mut out = io::stdout().lock();
    let (mut any, mut after) = (false, Value::Null);
    loop {
        if !after.is_null() {
            request.insert("after".into(), after);
        }
        let reply = match session.quietly(&Value::Object(request.clone())) {
            // An entity's id may be meant.
            Err(Failure::NotFound(_)) if args.id.is_some() && !any => {
                request.insert("id".into(), json!(session.resolve(args.id.as_deref().unwrap_or_default())?));
                session.ask(&Value::Object(request.clone()))?
            }
            Err(Failure::Rejected(_)) => session.ask(&Value::Object(request.clone()))?,
            reply => reply?,
        };
        let entries = reply.value["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        if session.json {
            entries.iter().try_for_each(|entry| writeln!(out, "{entry}"))?;
        } else if !entries.is_empty() {
            table(&session, &mut out, entries, args.id.is_none())?;
        }
        any |= !entries.is_empty();
        after = reply.value["next"].clone();
        if after.is_null() {
            break;
        }
    }
    if !any && !session.json {
        writeln!(out, "Nothing was tried or done.")?;
    }
    Ok(())
}

/// Entries as a table; with what they are about, where that is not the same for all.
pub(super) fn table(session: &Session, out: &mut impl Write, entries: &[Value], with_entity: bool) -> io::Result<()> {
    let now = wall();
    let mut heading = vec!["WHEN", "WHAT", "STATUS", "CLASS", "COUNTED", "ANSWER"];
    if with_entity {
        heading.splice(1..1, ["NR", "ENTITY"]);
    }
    let rows: Vec<Vec<String>> = entries.iter().map(|entry| row(entry, now, with_entity)).collect();
    session.screen.table(out, &heading, &rows)
}

fn row(entry: &Value, now: WallTime, with_entity: bool) -> Vec<String> {
    let mut cells = vec![time(entry, "at").map_or_else(String::new, |at| clock(at, now))];
    if with_entity {
        cells.push(entry["seq"].as_i64().map_or_else(|| "-".to_owned(), |seq| seq.to_string()));
        let entity = ["entity_type", "entity_id", "action"].map(|name| text(entry, name)).join(" ");
        cells.push(entity.trim().to_owned());
    }
    if entry["kind"] == "operation" {
        let who = entry["actor_name"].as_str().map_or_else(|| format!("uid {}", entry["actor_uid"]), harmless);
        let claimed = entry["claimed_by"].as_str().map_or_else(String::new, |by| format!(" (says: {})", harmless(by)));
        let nothing = String::new;
        let why = [text(entry, "reason"), changed(entry)].into_iter().filter(|part| !part.is_empty());
        let why = why.collect::<Vec<_>>().join("; ");
        cells.extend([format!("{} by {who}{claimed}", text(entry, "operation")), nothing(), nothing(), nothing(), why]);
        return cells;
    }
    let status = entry["http_status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
    cells.extend([
        format!("try {} ({}), {} ms", entry["attempt"], text(entry, "trigger"), entry["duration_ms"]),
        status,
        text(entry, "class"),
        words::counted(entry).to_owned(),
        text(entry, "error"),
    ]);
    cells
}

/// What an edit changed, `entity_id s-1 → s-2`.
fn changed(entry: &Value) -> String {
    let part = |(name, pair): (&String, &Value)| {
        let side = |n: usize| harmless(pair[n].as_str().unwrap_or_default());
        format!("{name} {} → {}", side(0), side(1))
    };
    let mut parts: Vec<String> = entry["changes"].as_object().into_iter().flatten().map(part).collect();
    if entry["sha256_before"] != entry["sha256_after"] {
        parts.insert(0, "payload changed".to_owned());
    }
    parts.join(", ")
}

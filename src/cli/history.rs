//! `history`: attempts and operator actions on one time line; `show` uses it for one failure.

use super::archived::{Archived, Meant};
use super::args::Global;
use super::render::{Tone, clock, sanitize, spoken, text as field, time};
use super::session::{Session, meanings};
use super::times::{Edge, instant};
use super::{Failure, words};
use crate::ids::FailureName;
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::text::history as text;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::time::Duration;

/// `history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Number, id or its beginning, live or gone
    pub id: Option<String>,
    /// Entity type
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "id")]
    pub entity_type: Option<String>,
    /// Entity id: over all its failures; with --type
    #[arg(long, value_name = "ID", requires = "entity_type")]
    pub entity: Option<String>,
    /// From then on: 24h (ago), 06:12, 2026-11-24 [default without an id and an entity: 24h]
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Undelivered failures that were discarded or removed by retention and not restored [default: the last 30 days]
    #[arg(long, conflicts_with_all = ["id", "entity"])]
    pub removed: bool,
    /// What was delivered, and to which upstream [default: the last 24 hours]
    #[arg(long, conflicts_with_all = ["id", "entity", "removed"])]
    pub delivered: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: &HistoryArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = Map::from_iter([("op".to_owned(), json!("history"))]);
    let everybody = args.id.is_none() && args.entity.is_none();
    let since = args.since.as_deref().or(everybody.then_some(if args.removed { "30d" } else { "24h" }));
    for (name, _) in [("removed", args.removed), ("delivered", args.delivered)].iter().filter(|(_, asked)| *asked) {
        request.insert((*name).to_owned(), json!(true));
    }
    if let Some(since) = since {
        request.insert("since".into(), json!(instant("since", since, Edge::Start)?));
    }
    if let (Some(kind), Some(which)) = (&args.entity_type, &args.entity) {
        request.insert("entity_type".into(), json!(kind));
        request.insert("entity_id".into(), json!(which));
    }
    if let Some(name) = &args.id {
        request.extend(known(&session, name)?);
    }
    let mut out = io::stdout().lock();
    let (mut any, mut after) = (false, Value::Null);
    let mut older = args.delivered;
    loop {
        if !after.is_null() {
            request.insert("after".into(), after);
        }
        let reply = session.ask(&Value::Object(request.clone()))?;
        let of_type = |entry: &&Value| args.entity_type.as_ref().is_none_or(|kind| entry["entity_type"] == **kind);
        let mut entries: Vec<Value> =
            reply.value["entries"].as_array().into_iter().flatten().filter(of_type).cloned().collect();
        if std::mem::take(&mut older) {
            let told = reply.value["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
            entries.splice(0..0, archived_before(&session, args, &request, told)?);
        }
        if session.json {
            entries.iter().try_for_each(|entry| writeln!(out, "{entry}"))?;
        } else if !entries.is_empty() && args.delivered {
            deliveries(&session, &mut out, &entries)?;
        } else if !entries.is_empty() {
            table(&session, &mut out, &entries, args.id.is_none())?;
        }
        any |= !entries.is_empty();
        after = reply.value["next"].clone();
        if after.is_null() {
            break;
        }
    }
    if !any && !session.json {
        let nothing = match (args.removed, args.delivered) {
            (true, _) => text::nothing_removed(),
            (_, true) => text::nothing_delivered(),
            _ => text::nothing(),
        };
        writeln!(out, "{nothing}")?;
    }
    Ok(())
}

/// Deliveries that the archive still has and the history, which is shorter or was shortened, does not; `told` is the first
/// page of the history.
fn archived_before(
    session: &Session,
    args: &HistoryArgs,
    request: &Map<String, Value>,
    told: &[Value],
) -> Result<Vec<Value>, Failure> {
    let meant = Meant {
        since: request.get("since").and_then(Value::as_str).and_then(WallTime::parse),
        // Attempts are deleted oldest first.
        until: told.first().and_then(|entry| time(entry, "at")),
        entity_type: args.entity_type.clone(),
        ..Meant::default()
    };
    let archived = match Archived::look(&session.config, &meant) {
        Ok(archived) => archived,
        Err(failure) => {
            // Standard error may be closed; there is nowhere left to say so.
            let _ = writeln!(io::stderr(), "resyncd: {}", text::no_older_deliveries(&failure));
            return Ok(Vec::new());
        }
    };
    let mut places: Vec<_> = archived.found.iter().collect();
    places.sort_by_key(|place| place.left_at);
    places.into_iter().map(|place| archived.entry(place)).collect()
}

/// The fields that identify the failure that an operator names, live or removed; otherwise an entity's only live one.
fn known(session: &Session, name: &str) -> Result<Map<String, Value>, Failure> {
    if let Some(seq) = FailureName::typed(name) {
        session.numbered(name, seq)?;
    }
    for meaning in meanings(name) {
        let mut question = meaning.clone();
        (question["op"], question["limit"]) = (json!("history"), json!(1));
        match (session.quietly(&question), meaning) {
            (Ok(_), Value::Object(fields)) => return Ok(fields),
            (Err(Failure::NotFound(_) | Failure::Rejected(_)) | Ok(_), _) => {}
            (Err(other), _) => return Err(other),
        }
    }
    Ok(Map::from_iter([("id".to_owned(), json!(session.resolve(name)?))]))
}

/// Entries as a table; with their entities, if these differ.
pub(super) fn table(session: &Session, out: &mut impl Write, entries: &[Value], with_entity: bool) -> io::Result<()> {
    let now = wall();
    let mut heading = text::headings().to_vec();
    let [_, _, status, _, counted, _] = text::headings();
    if with_entity {
        heading.splice(1..1, text::headings_of_failures());
    }
    let rows: Vec<Vec<String>> = entries.iter().map(|entry| row(entry, now, with_entity)).collect();
    let rows: Vec<(Tone, &[String])> = rows.iter().map(|row| (Tone::Plain, &row[..])).collect();
    // The answer begins with the status, and `show` says in a sentence what was counted.
    session.screen.toned_table(out, &heading, &[status, counted], &rows)
}

/// Deliveries as a table.
fn deliveries(session: &Session, out: &mut impl Write, entries: &[Value]) -> io::Result<()> {
    let now = wall();
    let row = |entry: &Value| {
        let at =
            time(entry, "at").map(|at| at.after(Duration::from_millis(entry["duration_ms"].as_u64().unwrap_or(0))));
        let status = entry["http_status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
        let entity = ["entity_type", "entity_id", "action"].map(|name| field(entry, name)).join(" ");
        let at = at.map_or_else(String::new, |at| clock(at, now));
        vec![at, entry["seq"].to_string(), field(entry, "upstream"), status, entry["attempt"].to_string(), entity]
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    session.screen.table(out, &text::headings_of_deliveries(), &rows)
}

fn row(entry: &Value, now: WallTime, with_entity: bool) -> Vec<String> {
    let mut cells = vec![time(entry, "at").map_or_else(String::new, |at| clock(at, now))];
    if with_entity {
        cells.push(entry["seq"].as_i64().map_or_else(|| "-".to_owned(), |seq| seq.to_string()));
        let entity = ["entity_type", "entity_id", "action"].map(|name| field(entry, name)).join(" ");
        cells.push(entity.trim().to_owned());
    }
    if entry["kind"] == "operation" {
        let who = entry["actor_name"].as_str().map_or_else(|| format!("uid {}", entry["actor_uid"]), sanitize);
        let nothing = String::new;
        let reason = spoken(entry["reason"].as_str().unwrap_or_default());
        let why = [reason, changed(entry)].into_iter().filter(|part| !part.is_empty());
        let why = why.collect::<Vec<_>>().join("; ");
        let operation = field(entry, "operation");
        let deed = match entry["claimed_by"].as_str() {
            Some(claimed) => text::operation_claimed(words::operation(&operation), &who, &sanitize(claimed)),
            None => text::operation(words::operation(&operation), &who),
        };
        cells.extend([deed, nothing(), nothing(), nothing(), why]);
        return cells;
    }
    let status = entry["http_status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
    cells.extend([
        text::attempt(
            &entry["attempt"].to_string(),
            words::trigger(&field(entry, "trigger")),
            &entry["duration_ms"].to_string(),
        ),
        status,
        field(entry, "class"),
        words::counted(entry).to_owned(),
        spoken(entry["error"].as_str().unwrap_or_default()),
    ]);
    cells
}

/// The changes of an edit, `entity_id s-1 → s-2`.
fn changed(entry: &Value) -> String {
    let part = |(name, pair): (&String, &Value)| {
        let side = |n: usize| sanitize(pair[n].as_str().unwrap_or_default());
        format!("{name} {} → {}", side(0), side(1))
    };
    let mut parts: Vec<String> = entry["changes"].as_object().into_iter().flatten().map(part).collect();
    if entry["sha256_before"] != entry["sha256_after"] {
        parts.insert(0, text::payload_changed().to_owned());
    }
    parts.join(", ")
}

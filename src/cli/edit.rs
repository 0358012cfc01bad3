//! `edit`: corrects one failure. The changes are shown before they are made.

use super::args::Global;
use super::choose::{confirm, sign};
use super::diff::{compact, difference, indented};
use super::payload::{Payload, PayloadType};
use super::render::{sanitize, text};
use super::session::Session;
use super::{Failure, editor, payload};
use crate::record::PayloadKind;
use crate::text::{choose, edit as words};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

/// `edit`
#[derive(Debug, Args)]
pub struct EditArgs {
    /// Number, id, its beginning, or an entity id with one live failure
    pub id: String,
    /// The new payload; `-` is standard input. Without any change $EDITOR opens the old one
    #[arg(long, value_name = "FILE")]
    pub payload_file: Option<PathBuf>,
    /// What the file holds [default: json if it is JSON, text if it is UTF-8]
    #[arg(long, value_name = "TYPE", requires = "payload_file")]
    pub payload_type: Option<PayloadType>,
    /// Another entity type
    #[arg(long, value_name = "TYPE")]
    pub set_type: Option<String>,
    /// Another entity id: it goes behind all that were recorded before
    #[arg(long, value_name = "ID")]
    pub set_entity: Option<String>,
    /// Another action
    #[arg(long, value_name = "ACTION")]
    pub set_action: Option<String>,
    /// Use a new key, although an earlier attempt may have arrived
    #[arg(long)]
    pub new_key: bool,
    /// Only show what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who, for the audit
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: &EditArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let id = session.live(&args.id)?;
    let failure = session.ask(&json!({"op": "get", "id": id}))?.value["failure"].clone();
    let new = new_payload(args, &failure)?;
    let shown = told_changes(args, &failure, new.as_ref());
    if shown.is_empty() && !args.new_key {
        return Err(Failure::Failed(words::no_difference(&failure["seq"])));
    }
    if args.dry_run {
        writeln!(io::stdout().lock(), "{shown}{}", choose::nothing_changed())?;
        return Ok(());
    }
    if !session.quiet {
        // Standard error may be closed; there is nowhere left to show it.
        let _ = write!(io::stderr(), "{shown}");
    }
    confirm(args.yes, &words::will(&failure["seq"]))?;
    let reply = session.order(&request(args, &id, new.as_ref()))?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", reply.value)?;
    } else if !session.quiet {
        writeln!(out, "{}", session.screen.folded(&told(&reply.value, &failure), 0, 2))?;
    }
    Ok(())
}

/// The payload given or typed; `None` if it stays unchanged.
fn new_payload(args: &EditArgs, failure: &Value) -> Result<Option<Payload>, Failure> {
    let old = payload::of(failure);
    let others = args.set_type.is_some() || args.set_entity.is_some() || args.set_action.is_some() || args.new_key;
    let new = match &args.payload_file {
        Some(file) => payload::read(file, args.payload_type)?,
        None if others => return Ok(None),
        None => typed(failure, old.as_ref())?,
    };
    let was = old.as_ref().map(|(_, kind)| *kind);
    if was == Some(PayloadKind::Json) && new.1 != PayloadKind::Json && args.payload_type.is_none() {
        return Err(Failure::Usage(words::no_longer_json().to_owned()));
    }
    Ok(Some(new).filter(|new| old.as_ref() != Some(new)))
}

/// Opens the old payload in an editor. JSON is indented for it, and keeps its previous format when it is stored.
fn typed(failure: &Value, old: Option<&Payload>) -> Result<Payload, Failure> {
    let (old, kind) = old.map_or(("", PayloadKind::Text), |(kept, kind)| (kept.as_str(), *kind));
    if kind == PayloadKind::Bytes {
        return Err(Failure::Usage(words::is_bytes().to_owned()));
    }
    let new = |text: String| (text, kind);
    typed_text(failure, old).map(new)
}

fn typed_text(failure: &Value, old: &str) -> Result<String, Failure> {
    let laid_out = indented(old).filter(|_| !old.trim_end().contains('\n'));
    let name = format!("resyncd-{}.{}", failure["seq"], if indented(old).is_some() { "json" } else { "txt" });
    let mut new = editor::edit(&name, laid_out.as_deref().unwrap_or(old))?;
    // Editors add a final newline; the payload had none.
    if !old.ends_with('\n') && new.ends_with('\n') {
        new.pop();
    }
    if indented(old).is_none() {
        return Ok(new);
    }
    let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&new) else {
        let untouched = laid_out.as_deref().is_some_and(|before| before == new);
        return Ok(match laid_out {
            _ if untouched => old.to_owned(),
            Some(_) => compact(&new).unwrap_or(new),
            None => new,
        });
    };
    Err(Failure::Failed(words::broken_json(error)))
}

/// The changes, line by line.
fn told_changes(args: &EditArgs, failure: &Value, new: Option<&Payload>) -> String {
    let mut shown = String::new();
    let fields = [("entity_type", &args.set_type), ("entity_id", &args.set_entity), ("action", &args.set_action)];
    for (name, wanted) in fields {
        let old = text(failure, name);
        if let Some(wanted) = wanted.as_ref().filter(|wanted| failure[name] != wanted.as_str()) {
            // Writing to a String cannot fail.
            let _ = writeln!(shown, "- {name}: {old}\n+ {name}: {}", sanitize(wanted));
        }
    }
    if let Some((new, kind)) = new {
        let (old, was) = payload::of(failure).unwrap_or((String::new(), *kind));
        if [*kind, was].contains(&PayloadKind::Bytes) {
            let _ = write!(shown, "- payload: {}\n+ payload: {}\n", summary(&old, was), summary(new, *kind));
        } else {
            shown.push_str(&difference(&old, new));
        }
        if was != *kind {
            let _ = writeln!(shown, "{}", words::other_kind(was.as_str(), kind.as_str()));
        }
    }
    shown
}

/// Summarises binary content by its length and first bytes.
fn summary(kept: &str, kind: PayloadKind) -> String {
    let bytes = kind.bytes_of(kept);
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    words::bytes(bytes.len() as u64, &sanitize(&start))
}

/// The request of the edit.
fn request(args: &EditArgs, id: &str, new: Option<&Payload>) -> Value {
    let mut request = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            request.insert(name.to_owned(), value);
        }
    };
    put("op", Some(json!("edit")));
    put("id", Some(json!(id)));
    put("entity_type", args.set_type.clone().map(Value::from));
    put("entity_id", args.set_entity.clone().map(Value::from));
    put("action", args.set_action.clone().map(Value::from));
    put("new_key", args.new_key.then_some(Value::Bool(true)));
    if let Some(new) = new {
        payload::put_into(&mut request, new);
    }
    sign(&mut request, Some(&args.reason), args.by.as_deref());
    Value::Object(request)
}

/// The result, and what happens next.
fn told(reply: &Value, failure: &Value) -> String {
    let (seq, was) = (&reply["seq"], &failure["seq"]);
    let renumbered = (seq != was).then(|| words::renumbered(seq));
    let next = words::next(reply["status"].as_str().unwrap_or_default(), seq);
    let said: Vec<String> = [words::done(was)].into_iter().chain(renumbered).chain([next]).collect();
    let key = text(reply, "idempotency_key");
    let key = if reply["key_kept"] == true { words::same_key(&key, seq) } else { words::new_key(&key) };
    format!("{}\n{key}", said.join(" "))
}

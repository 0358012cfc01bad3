//! `edit`: one failure is put right. What changes is shown before it is done.

use super::args::Global;
use super::choose::{confirm, sign};
use super::diff::{compact, difference, indented};
use super::record::payload;
use super::render::{harmless, text};
use super::session::Session;
use super::{Failure, editor};
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
    /// Another entity type
    #[arg(long, value_name = "TYPE")]
    pub set_type: Option<String>,
    /// Another entity id: it goes behind all that were recorded before
    #[arg(long, value_name = "ID")]
    pub set_entity: Option<String>,
    /// Another action
    #[arg(long, value_name = "ACTION")]
    pub set_action: Option<String>,
    /// Send it under a new key, though an earlier try may have arrived
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
    let id = session.resolve(&args.id)?;
    let failure = session.ask(&json!({"op": "get", "id": id}))?.value["failure"].clone();
    let new = new_payload(args, &failure)?;
    let shown = told_changes(args, &failure, new.as_deref());
    if shown.is_empty() && !args.new_key {
        return Err(Failure::Failed(format!(
            "nothing is different. To send it again as it is: resyncd retry {}",
            failure["seq"]
        )));
    }
    if args.dry_run {
        writeln!(io::stdout().lock(), "{shown}Nothing was changed.")?;
        return Ok(());
    }
    if !args.yes {
        eprint!("{shown}");
    }
    confirm(args.yes, &format!("Failure {} is changed so, and due now.", failure["seq"]))?;
    let reply = session.order_line(&request(args, &id, &failure, new.as_deref()))?;
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{}", reply.value)?;
    } else if !session.quiet {
        writeln!(out, "{}", told(&reply.value, &failure))?;
    }
    Ok(())
}

/// The payload that was given or typed; `None` when it stays as it is.
fn new_payload(args: &EditArgs, failure: &Value) -> Result<Option<String>, Failure> {
    let old = failure["payload"].as_str();
    let others = args.set_type.is_some() || args.set_entity.is_some() || args.set_action.is_some() || args.new_key;
    let new = match &args.payload_file {
        Some(file) => payload(file)?,
        None if others => return Ok(None),
        None => typed(failure, old.unwrap_or_default())?,
    };
    Ok(Some(new).filter(|new| old != Some(new.as_str())))
}

/// What a person makes of the old payload in an editor. JSON is laid out for them, and goes back as it
/// was laid out before.
fn typed(failure: &Value, old: &str) -> Result<String, Failure> {
    let laid_out = indented(old).filter(|_| !old.trim_end().contains('\n'));
    let name = format!("resyncd-{}.{}", failure["seq"], if indented(old).is_some() { "json" } else { "txt" });
    let mut new = editor::edit(&name, laid_out.as_deref().unwrap_or(old))?;
    // Editors end the last line; the payload did not.
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
    Err(Failure::Failed(format!("what you wrote is no JSON any more ({error}); nothing was changed")))
}

/// What would change, line by line.
fn told_changes(args: &EditArgs, failure: &Value, new: Option<&str>) -> String {
    let mut shown = String::new();
    let fields = [("entity_type", &args.set_type), ("entity_id", &args.set_entity), ("action", &args.set_action)];
    for (name, wanted) in fields {
        let old = text(failure, name);
        if let Some(wanted) = wanted.as_ref().filter(|wanted| failure[name] != wanted.as_str()) {
            // Writing to a String cannot fail.
            let _ = writeln!(shown, "- {name}: {old}\n+ {name}: {}", harmless(wanted));
        }
    }
    if let Some(new) = new {
        shown.push_str(&difference(failure["payload"].as_str().unwrap_or_default(), new));
        if failure["payload"].as_str().and_then(indented).is_some() && indented(new).is_none() {
            shown.push_str("Note: the old payload is JSON, the new one is not.\n");
        }
    }
    shown
}

/// The request line. A payload that came as JSON stays JSON, byte for byte; so the line is put together
/// by hand.
fn request(args: &EditArgs, id: &str, failure: &Value, new: Option<&str>) -> Vec<u8> {
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
    let json = |text: &&str| {
        failure["payload_kind"] == "json" && !text.trim_start().starts_with('"') && compact(text).is_some()
    };
    let raw = new.filter(json).filter(|text| !text.contains('\n') && text.trim() == *text && *text != "null");
    if raw.is_none() {
        put("payload", new.map(Value::from));
    }
    sign(&mut request, Some(&args.reason), args.by.as_deref());
    let mut line = Value::Object(request).to_string();
    if let Some(raw) = raw {
        line.pop();
        let _ = write!(line, ",\"payload\":{raw}}}");
    }
    line.into_bytes()
}

/// What became of it, and what happens next.
fn told(reply: &Value, failure: &Value) -> String {
    let (seq, was) = (&reply["seq"], &failure["seq"]);
    let mut said = format!("Failure {was} is changed.");
    if seq != was {
        let _ = write!(said, " It is number {seq} now, behind all that were recorded before.");
    }
    let _ = match reply["status"].as_str() {
        Some("held") => write!(said, " It stays held; when it may be sent: resyncd release {seq}"),
        Some("critical") => write!(said, " No route of the configuration is for it, so it still needs a person."),
        _ => write!(said, " It is due now, and goes when its turn comes."),
    };
    let key = text(reply, "idempotency_key");
    let _ = if reply["key_kept"] == true {
        write!(
            said,
            "\nAn earlier try may have arrived, so it keeps its key {key}: an upstream that has it already will not post it twice.\n\
             If it surely has not arrived: resyncd edit {seq} --new-key --reason …"
        )
    } else {
        write!(said, "\nIt goes out under a new key: {key}")
    };
    said
}

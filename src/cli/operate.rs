//! `retry`, `hold`, `release`, `discard`, `flush`, `pause`, `resume`: what people do, with who and why.

use super::Failure;
use super::args::{BulkArgs, Global, UpstreamArgs};
use super::list::filter;
use super::render::{count, harmless};
use super::session::{Session, claimed};
use serde_json::{Map, Value, json};
use std::io::{self, BufRead, IsTerminal, Write};

/// An operation on many failures, and how it is told.
#[derive(Clone, Copy, Debug)]
pub enum Many {
    /// `retry`
    Retry {
        /// With a fresh budget.
        reset: bool,
    },
    /// `hold`
    Hold,
    /// `release`
    Release,
    /// `discard`
    Discard {
        /// Those behind go out without it.
        let_followers: bool,
    },
}

impl Many {
    fn op(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Discard { .. } => "discard",
        }
    }

    /// What happens to them.
    fn done(self) -> &'static str {
        match self {
            Self::Retry { .. } => "sent again when their turn comes",
            Self::Hold => "held; undo: resyncd release",
            Self::Release => "released; sent when their turn comes",
            Self::Discard { .. } => "given up for good, and kept in the archive",
        }
    }
}

/// `retry`, `hold`, `release`
pub fn many(global: &Global, args: &BulkArgs, what: Many) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = Map::new();
    request.insert("op".into(), json!(what.op()));
    if let Many::Retry { reset } = what {
        request.insert("reset".into(), json!(reset));
    }
    if let Many::Discard { let_followers } = what {
        request.insert("let_followers".into(), json!(let_followers));
    }
    sign(&mut request, args.reason.as_deref(), args.by.as_deref());
    let filter = filter(&args.filters);
    match (args.ids.is_empty(), filter.is_empty(), args.all) {
        (false, true, false) => drop(request.insert("ids".into(), json!(ids(&session, &args.ids, what)?))),
        (true, false, false) => drop(request.insert("filter".into(), Value::Object(filter))),
        (true, true, true) => drop(request.insert("all".into(), json!(true))),
        _ => return Err(Failure::Usage("say which: ids, or filters such as --status critical, or --all".into())),
    }
    if args.dry_run || args.ids.is_empty() {
        request.insert("dry_run".into(), json!(true));
        let matched = session.order(&Value::Object(request.clone()))?;
        let number = count(matched.value["matched"].as_u64().unwrap_or_default());
        if args.dry_run {
            return answer(&session, &matched.value, &format!("{number} match; nothing was changed."));
        }
        confirm(args.yes, &format!("{number} failures: {}.", what.done()))?;
        request.insert("dry_run".into(), json!(false));
    }
    let reply = session.order(&Value::Object(request))?.value;
    let tally = |name: &str| count(reply[name].as_u64().unwrap_or_default());
    let skipped = match reply["skipped"].as_u64() {
        None | Some(0) => String::new(),
        Some(_) => format!(" {} left alone (in flight, or in a state that does not allow it).", tally("skipped")),
    };
    let followers = super::discard::followers(&reply);
    let said = format!("{} of {} {}.{skipped}{followers}", tally("changed"), tally("matched"), what.done());
    answer(&session, &reply, &said)
}

/// `flush`
pub fn flush(global: &Global, args: &UpstreamArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if let Some(name) = args.upstream.as_deref().filter(|name| name.starts_with('#') || name.parse::<u64>().is_ok()) {
        return Err(Failure::Usage(format!(
            "flush takes an upstream. To send one failure again: resyncd retry {name}"
        )));
    }
    let reply = upstream_order(&session, "flush", args)?;
    let tally = |name: &str| count(reply[name].as_u64().unwrap_or_default());
    answer(&session, &reply, &format!("{} pending, {} of them made due now.", tally("matched"), tally("changed")))
}

/// `pause` and `resume`
pub fn gate(global: &Global, args: &UpstreamArgs, op: &str) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if let Some(name) = args.upstream.as_deref().filter(|name| name.starts_with('#') || name.parse::<u64>().is_ok()) {
        let right = if op == "pause" { "hold" } else { "release" };
        return Err(Failure::Usage(format!("{op} takes an upstream. For one failure: resyncd {right} {name}")));
    }
    let reply = upstream_order(&session, op, args)?;
    let names: Vec<String> =
        reply["upstreams"].as_array().into_iter().flatten().filter_map(Value::as_str).map(harmless).collect();
    let said = match (op, names.is_empty()) {
        (_, true) => "No upstream is configured.".to_owned(),
        ("pause", _) => format!("Paused: {}. Recording goes on. Undo: resyncd resume", names.join(", ")),
        _ => format!("Resumed: {}.", names.join(", ")),
    };
    answer(&session, &reply, &said)
}

fn upstream_order(session: &Session, op: &str, args: &UpstreamArgs) -> Result<Value, Failure> {
    let mut request = Map::new();
    request.insert("op".into(), json!(op));
    if let Some(upstream) = &args.upstream {
        request.insert("upstream".into(), json!(upstream));
    }
    sign(&mut request, args.reason.as_deref(), args.by.as_deref());
    Ok(session.order(&Value::Object(request))?.value)
}

pub(super) fn sign(request: &mut Map<String, Value>, reason: Option<&str>, by: Option<&str>) {
    if let Some(reason) = reason {
        request.insert("reason".into(), json!(reason));
    }
    if let Some(by) = claimed(by) {
        request.insert("by".into(), json!(by));
    }
}

/// The ids as they were given, or line by line from standard input; each looked up.
fn ids(session: &Session, given: &[String], what: Many) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = if given == ["-"] {
        let lines = io::stdin().lock().lines().collect::<Result<Vec<_>, _>>()?;
        lines.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    } else {
        given.to_vec()
    };
    let upstream = |name: &String| session.config.upstreams.iter().any(|upstream| upstream.name == *name);
    if let Some(name) = names.iter().find(|name| upstream(name)) {
        let right = if matches!(what, Many::Hold) { "pause" } else { "flush" };
        return Err(Failure::Usage(format!("{name} is an upstream; you want: resyncd {right} {name}")));
    }
    names.iter().map(|name| session.resolve(name)).collect()
}

/// Asks, unless that was answered with `--yes`; without a terminal nobody can answer.
pub(super) fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{what} Nobody is there to confirm it: add --yes, or --dry-run to look first"
        )));
    }
    eprint!("{what} Go on? [y/N] ");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::Failed("nothing was changed".into())) }
}

pub(super) fn answer(session: &Session, reply: &Value, said: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{reply}")?;
    } else if !session.quiet {
        writeln!(out, "{said}")?;
    }
    Ok(())
}

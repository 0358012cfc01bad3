//! `cleanup`: the rules of retention, now instead of within the hour. Without the daemon it is done on
//! the store itself, under its lock.

use super::args::Global;
use super::choose::{confirm, sign};
use super::client::{Client, Door, NoAgent};
use super::operate::answer;
use super::render::count;
use super::session::Session;
use super::{Failure, direct};
use clap::Args;
use serde_json::{Map, Value, json};

/// `cleanup`
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Only say how many would leave
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who, for the audit
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: &CleanupArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let mut request = Map::new();
    request.insert("op".into(), json!("cleanup"));
    request.insert("dry_run".into(), json!(true));
    sign(&mut request, args.reason.as_deref(), args.by.as_deref());
    let look = order(&session, &request)?;
    let old = look["matched"].as_u64().unwrap_or_default();
    let number = count(old);
    if args.dry_run {
        return answer(&session, &look, &format!("{number} are old enough; nothing was changed."));
    }
    if old > 0 {
        confirm(args.yes, &format!("{number} old failures that need a person: given up, and kept in the archive."))?;
    }
    request.insert("dry_run".into(), json!(false));
    let done = order(&session, &request)?;
    let number = count(done["changed"].as_u64().unwrap_or_default());
    answer(&session, &done, &format!("{number} old failures have left for the archive; old history is forgotten."))
}

/// Through the agent, or without one on the store.
fn order(session: &Session, request: &Map<String, Value>) -> Result<Value, Failure> {
    let request = Value::Object(request.clone());
    match Client::connect(&session.config.agent.admin_socket, Door::Admin) {
        Ok(mut client) => Ok(Session::judge(client.call(&request)?, session.json)?.value),
        Err(NoAgent::NotRunning(told)) if direct::exists(&session.config) => {
            match direct::order(&session.config, request.to_string().as_bytes())? {
                Some(line) => Ok(Session::judge(line, session.json)?.value),
                None => Err(Failure::Unreachable(told)),
            }
        }
        Err(no) => Err(no.into()),
    }
}

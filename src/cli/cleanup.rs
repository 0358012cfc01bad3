//! `cleanup`: runs retention now instead of within the hour. Without the daemon it works on the store itself, under its
//! lock.

use super::args::Global;
use super::choose::{confirm, sign};
use super::client::{Client, NoAgent};
use super::operate::answer;
use super::session::Session;
use super::{Failure, offline};
use crate::text::cleanup as text;
use crate::wire::request::Socket;
use clap::Args;
use serde_json::{Map, Value, json};

/// `cleanup`
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Only show how many would be removed
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
    if args.dry_run {
        return answer(&session, &look, &text::would(old));
    }
    if old > 0 {
        confirm(args.yes, &text::will(old))?;
    }
    request.insert("dry_run".into(), json!(false));
    let done = order(&session, &request)?;
    answer(&session, &done, &text::done(done["changed"].as_u64().unwrap_or_default()))
}

/// Sends the request to the agent, or without one runs it on the store.
fn order(session: &Session, request: &Map<String, Value>) -> Result<Value, Failure> {
    let request = Value::Object(request.clone());
    match Client::connect(&session.config.agent.admin_socket, Socket::Admin) {
        Ok(mut client) => Ok(Session::judge(client.call_long(request.to_string().as_bytes())?, session.json)?.value),
        Err(NoAgent::NotRunning(told)) if offline::exists(&session.config) => {
            match offline::order(&session.config, request.to_string().as_bytes())? {
                Some(line) => Ok(Session::judge(line, session.json)?.value),
                None => Err(Failure::Unreachable(told)),
            }
        }
        Err(no) => Err(no.into()),
    }
}

//! What both forms of `check` ask the agent, through the socket that this user may use.

use super::Failure;
use super::client::{Client, NoAgent};
use super::render::spoken_by_agent;
use super::session::Session;
use crate::figures::snapshot::Removed;
use crate::text::check as text;
use crate::text::session as replies;
use crate::wire::request::Socket;
use serde_json::Value;

/// Exit status of a plugin: all is well.
pub(super) const OK: u8 = 0;

/// Connects to the socket that this user may use; also returns which one that is.
pub(super) fn connect(session: &Session) -> Result<(Client, Socket), Failure> {
    let agent = &session.config.agent;
    Ok(match Client::connect(&agent.admin_socket, Socket::Admin) {
        Ok(client) => (client, Socket::Admin),
        // Waiting for one socket that does not answer is enough.
        Err(silent @ NoAgent::Silent(_)) => return Err(silent.into()),
        Err(_) => (Client::connect(&agent.socket, Socket::App)?, Socket::App),
    })
}

/// Sends a request; an error reply is an error.
pub(super) fn call(client: &mut Client, request: &Value) -> Result<Value, Failure> {
    let line = client.call(request)?;
    let reply: Value =
        serde_json::from_slice(&line).map_err(|error| Failure::Failed(text::no_json(&error.to_string())))?;
    if reply["ok"] == true {
        return Ok(reply);
    }
    Err(Failure::Failed(
        reply["error"]["message"].as_str().map_or_else(|| replies::no_reason().to_owned(), spoken_by_agent),
    ))
}

/// The part of `health` about undelivered failures that were removed.
pub(super) fn removed_in(health: &Value) -> Option<Removed> {
    serde_json::from_value(health["removed"].clone()).ok()
}

//! Without the daemon: the same questions and the same recording, on the store itself.
//!
//! Reading opens the file read-only. Recording takes the store's lock for one batch of lines and
//! goes through the same agent that the daemon runs, so that nothing about a record can differ.

use super::Failure;
use crate::agent::questions::{Answer, Facts, answer};
use crate::agent::{Agent, ClientId, Effect, Event, Inquiry, Peer};
use crate::config::Config;
use crate::io::clock::{Clock, wall};
use crate::io::system;
use crate::moment::Moment;
use crate::question::{Question, View};
use crate::store::open::OpenError;
use crate::store::reader::Reader;
use crate::store::{Store, StoreSettings};
use crate::wire::request::{self, Request, Socket};

/// Is there a store to look into?
#[must_use]
pub fn exists(config: &Config) -> bool {
    StoreSettings::of(config).file().exists()
}

/// Answers a request that only reads; `None` when it is not one of those.
pub fn ask(config: &Config, line: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let fails = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let settings = StoreSettings::of(config);
    let question = match request::parse(line, Socket::Admin, &config.limits).request {
        Ok(Request::List(query)) => Question::List(query),
        Ok(Request::History(name)) => Question::History(name),
        Ok(Request::Get(name)) => Question::Get(name),
        Ok(Request::Health) => Question::Health,
        Ok(Request::Unsent) => Question::Unsent,
        Ok(_) => return Ok(None),
        Err(rejection) => return Ok(Some(crate::wire::reply::error(&rejection, None))),
    };
    let reader = Reader::open(&settings).map_err(|error| fails(&error))?;
    let ledger = reader.ledger().map_err(|error| fails(&error))?;
    let wall = wall();
    let now = Moment { agent: ledger.resumed(wall), wall };
    let mut facts = Facts::without_agent(&reader, now).map_err(|error| fails(&error))?;
    facts.disk_free = system::disk_free(&settings.dir).ok();
    let inquiry = Inquiry { client: ClientId(0), question, view: View::Admin, reference: None, facts };
    match answer(&reader, &inquiry) {
        Answer::Line(line) | Answer::Damaged(line, _) => Ok(Some(line)),
        Answer::Selected(_) => Ok(None),
    }
}

/// Records a batch of request lines, one reply line each; `None` while somebody else has the store:
/// another command for a moment, or an agent that is just starting.
pub fn record(config: &Config, lines: &[Vec<u8>]) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let fails = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let store = match Store::open(StoreSettings::of(config), wall()) {
        Err(OpenError::Held { .. }) => return Ok(None),
        opened => opened.map_err(|error| fails(&error))?,
    };
    let clock = Clock::starting_at(store.ledger().resumed(wall()));
    let mut agent = Agent::start(store, config, system::seed()?, clock.now()).map_err(|error| fails(&error))?;
    let free = system::disk_free(&config.agent.state_dir)?;
    agent.handle(clock.now(), Event::DiskFree(free));
    let uid = rustix::process::getuid().as_raw();
    let peer = Peer { uid, pid: std::process::id(), name: system::user_name(uid) };
    for line in lines {
        agent.handle(clock.now(), Event::Line { client: ClientId(0), socket: Socket::App, peer: &peer, line });
    }
    let effects = agent.finish_round(clock.now());
    let replies = effects.into_iter().filter_map(|effect| match effect {
        Effect::Reply { line, .. } => Some(line),
        // Nothing is sent: the upstream is not met before a probe, and this process makes none.
        Effect::Ask(_) | Effect::Send(_) | Effect::Probe { .. } | Effect::Reread(_) | Effect::Reconfigured { .. } => {
            None
        }
    });
    let replies = replies.collect();
    agent.close().map_err(|error| fails(&error))?;
    Ok(Some(replies))
}

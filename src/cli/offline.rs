//! Works on the store without the daemon: the same queries and the same recording.
//!
//! Queries open the file read-only. Recording and importing takes the store's lock for one batch of lines, a clean-up
//! for its whole duration; both run the same agent as the daemon, so that the results cannot differ.

use super::Failure;
use crate::agent::facts::Facts;
use crate::agent::questions::{Answer, answer};
use crate::agent::{Agent, ClientId, Effect, Event, Peer, ReaderRequest};
use crate::config::Config;
use crate::io::clock::{Clock, wall};
use crate::io::owner::AsOwner;
use crate::io::system;
use crate::moment::Moment;
use crate::question::{Question, View};
use crate::store::open_error::OpenError;
use crate::store::reader::Reader;
use crate::store::{Store, StoreSettings};
use crate::text::session;
use crate::wire::request::{self, Request, Socket};
use rustix::fs::{Access, AtFlags};

/// Returns whether there is a store to read.
#[must_use]
pub fn exists(config: &Config) -> bool {
    StoreSettings::of(config).file().exists()
}

/// Returns whether this user may create or change files in the state directory, or create the directory itself.
#[must_use]
pub fn may_write(config: &Config) -> bool {
    let dir = &config.agent.state_dir;
    let nearest = dir.ancestors().find(|part| part.exists()).unwrap_or(dir);
    rustix::fs::accessat(rustix::fs::CWD, nearest, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// Answers a read-only request; `None` if it is not one.
pub fn ask(config: &Config, line: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let _as_owner = as_owner(config)?;
    let settings = StoreSettings::of(config);
    let question = match request::parse(line, Socket::Admin, &config.limits).request {
        Ok(Request::List(query)) => Question::List(query),
        Ok(Request::History(query)) => Question::History(query),
        Ok(Request::Stats { since }) => Question::statistics(since, wall()),
        Ok(Request::Series { since }) => Question::series(since, wall()),
        Ok(Request::Digest { since }) => Question::digest(since, wall()),
        Ok(Request::Get(name)) => Question::Get(name),
        Ok(Request::Alerts) => Question::Alerts,
        Ok(Request::Health) => Question::Health,
        Ok(Request::Metrics) => Question::Metrics,
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
    let inquiry = ReaderRequest { client: ClientId(0), question, view: View::Admin, reference: None, facts };
    match answer(&reader, &inquiry) {
        Answer::Line(line) | Answer::Damaged(line, _) => Ok(Some(line)),
        Answer::Selected(_) | Answer::MeanRetries(_) => Ok(None),
    }
}

/// Runs a batch of lines that record or import; one reply line each. `None` while the lock is held, by another command
/// for a moment or by an agent that is just starting.
pub fn carry_out(config: &Config, socket: Socket, lines: &[Vec<u8>]) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let _as_owner = as_owner(config)?;
    let Some((mut agent, clock)) = agent(config)? else { return Ok(None) };
    let peer = peer();
    for line in lines {
        agent.handle(clock.now(), Event::Line { client: ClientId(0), socket, peer: &peer, line });
    }
    let replies = replies(&mut agent, clock.now());
    agent.close().map_err(|error| fails(&error))?;
    Ok(Some(replies))
}

/// Runs an admin request that takes many rounds without a query to the reader; returns its reply, or `None` while
/// another process holds the lock.
pub fn order(config: &Config, line: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let _as_owner = as_owner(config)?;
    let Some((mut agent, clock)) = agent(config)? else { return Ok(None) };
    let peer = peer();
    agent.handle(clock.now(), Event::Line { client: ClientId(0), socket: Socket::Admin, peer: &peer, line });
    let reply = loop {
        agent.tick(clock.now());
        if let Some(reply) = replies(&mut agent, clock.now()).pop() {
            break reply;
        }
    };
    agent.close().map_err(|error| fails(&error))?;
    Ok(Some(reply))
}

/// Root acts as the directory's owner in another user's state directory.
pub(super) fn as_owner(config: &Config) -> Result<AsOwner, Failure> {
    let dir = &config.agent.state_dir;
    AsOwner::of(dir).map_err(|error| Failure::Failed(session::acting_as_owner(dir.display(), error)))
}

/// Starts the agent on the store and takes its lock; `None` while another process holds it.
fn agent(config: &Config) -> Result<Option<(Agent, Clock)>, Failure> {
    let store = match Store::open(StoreSettings::of(config), wall()) {
        Err(OpenError::Held { .. }) => return Ok(None),
        opened => opened.map_err(|error| fails(&error))?,
    };
    let clock = Clock::starting_at(store.ledger().resumed(wall()));
    let mut agent = Agent::start(store, config, system::seed()?, clock.now()).map_err(|error| fails(&error))?;
    let free = system::disk_free(&config.agent.state_dir)?;
    agent.handle(clock.now(), Event::DiskFree(free));
    Ok(Some((agent, clock)))
}

fn peer() -> Peer {
    let uid = rustix::process::getuid().as_raw();
    Peer { uid, pid: std::process::id(), name: system::user_name(uid) }
}

/// Ends the round; returns its reply lines.
fn replies(agent: &mut Agent, now: Moment) -> Vec<Vec<u8>> {
    let replies = agent.finish_round(now).into_iter().filter_map(|effect| match effect {
        Effect::Reply { line, .. } => Some(line),
        // Nothing is sent: an upstream is not contacted before a probe, and this process makes none.
        Effect::Ask(_)
        | Effect::Tell(_)
        | Effect::Send(_)
        | Effect::Advance { .. }
        | Effect::Recall { .. }
        | Effect::Probe { .. }
        | Effect::LogInAgain { .. }
        | Effect::Reread(_)
        | Effect::Reconfigured { .. } => None,
    });
    replies.collect()
}

fn fails(error: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

//! Without the daemon: the same questions and the same recording, on the store itself.
//!
//! Reading opens the file read-only. Recording and importing takes the store's lock for one batch of
//! lines, a clean-up for its own time; both go through the same agent that the daemon runs, so that
//! nothing can differ.

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
    let inquiry = Inquiry { client: ClientId(0), question, view: View::Admin, reference: None, facts };
    match answer(&reader, &inquiry) {
        Answer::Line(line) | Answer::Damaged(line, _) => Ok(Some(line)),
        Answer::Selected(_) | Answer::MeanRetries(_) => Ok(None),
    }
}

/// Carries out a batch of request lines that record or import, one reply line each; `None` while somebody else has the store:
/// another command for a moment, or an agent that is just starting.
pub fn carry_out(config: &Config, socket: Socket, lines: &[Vec<u8>]) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let Some((mut agent, clock)) = agent(config)? else { return Ok(None) };
    let peer = peer();
    for line in lines {
        agent.handle(clock.now(), Event::Line { client: ClientId(0), socket, peer: &peer, line });
    }
    let replies = replies(&mut agent, clock.now());
    agent.close().map_err(|error| fails(&error))?;
    Ok(Some(replies))
}

/// Has an admin's request done that goes on over many rounds without a question to the reader; its reply,
/// or `None` while somebody else has the store.
pub fn order(config: &Config, line: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
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

/// The agent itself, over the store whose lock it takes; `None` while somebody else has that.
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

/// Ends the round; the reply lines of it.
fn replies(agent: &mut Agent, now: Moment) -> Vec<Vec<u8>> {
    let replies = agent.finish_round(now).into_iter().filter_map(|effect| match effect {
        Effect::Reply { line, .. } => Some(line),
        // Nothing is sent: the upstream is not met before a probe, and this process makes none.
        Effect::Ask(_)
        | Effect::Tell(_)
        | Effect::Send(_)
        | Effect::Advance { .. }
        | Effect::Recall { .. }
        | Effect::Probe { .. }
        | Effect::Reread(_)
        | Effect::Reconfigured { .. } => None,
    });
    replies.collect()
}

fn fails(error: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

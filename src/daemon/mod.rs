//! Floor 6: the daemon. [`run`] puts the parts together, [`serve`] is the loop, [`crowd`] the
//! clients.
//!
//! The order of a start: lock and open the store, bind the sockets, start the threads, serve. Nobody
//! is accepted before the store is sure. The order of a stop is the reverse: nothing more is claimed
//! or accepted, requests in flight may end, what is committed is answered, the readers leave, the store is closed, our
//! own sockets are removed.

mod crowd;
mod serve;

use crate::agent::Agent;
use crate::config::Config;
use crate::config::problem::Problem;
use crate::io::clock::{Clock, since_boot, wall};
use crate::io::listen::{ListenError, Listener};
use crate::io::passed::Passed;
use crate::io::sender::HELD_READY;
use crate::io::{system, textfile};
use crate::limits::{LOCK_ASK_AGAIN, LOCK_PATIENCE, READERS_LEAVE};
use crate::store::door::{Door, Shut};
use crate::store::open::OpenError;
use crate::store::{Store, StoreError, StoreSettings};
use crate::wire::request::Socket;
use serve::{Server, Signals};
use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

/// Why the daemon could not start or had to stop.
#[derive(Debug)]
pub enum DaemonError {
    /// The state directory.
    Open(OpenError),
    /// A socket.
    Listen(ListenError),
    /// The database, at start or at the end.
    Store(StoreError),
    /// The system refused something that the loop needs.
    System(&'static str, io::Error),
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::System(doing, error) => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for DaemonError {}

/// Reads the configuration again, from where it was read at the start.
pub type ReadConfig = Box<dyn Fn() -> Result<Config, Vec<Problem>>>;

/// Runs until a signal ends it.
pub fn run(config: &Config, read_again: ReadConfig) -> Result<(), DaemonError> {
    let system = |doing| move |error| DaemonError::System(doing, error);
    system::raise_descriptors();
    let mut passed = Passed::from_environment();
    let signals = Signals {
        stop: system::stop_signals().map_err(system("registering signals"))?,
        reload: system::reload_signal().map_err(system("registering signals"))?,
    };
    let store = open_store(config)?;
    let clock = Clock::starting_at(store.ledger().resumed(wall()));
    let mut bind = |path, socket| match passed.take(socket, path) {
        Some(listener) => Ok(listener),
        None => Listener::bind(path, socket).map_err(DaemonError::Listen),
    };
    let app = bind(&config.agent.socket, Socket::App)?;
    let admin = bind(&config.agent.admin_socket, Socket::Admin).inspect_err(|_| app.unlink())?;
    let listeners = [app, admin];
    let (reading, door) = (store.settings().clone(), store.door());
    let leaving = door.clone();
    let seed = system::seed().map_err(system("reading random bytes"))?;
    let mut agent = Agent::start(store, config, seed, clock.now()).map_err(DaemonError::Store)?;
    agent.keep_watch(clock.now());
    agent.sends_ahead(HELD_READY);
    announce(config);
    let mut server =
        Server::new(agent, clock, reading, door, config, signals, read_again).map_err(system("starting the loop"))?;
    if let Some(file) = &config.metrics.textfile {
        textfile::start(&config.agent.admin_socket, file).map_err(system("starting a thread"))?;
    }
    let ended = server.serve(&listeners).map_err(system("waiting for clients"));
    let alone = shut(&leaving, READERS_LEAVE);
    let closed = server.close().map_err(DaemonError::Store);
    drop(alone);
    for listener in &listeners {
        listener.unlink();
    }
    log::info!("event=stopped");
    ended.and(closed)
}

/// Sees the readers out: the last one to close the file puts its log away, and should be the store.
fn shut(door: &Door, patience: Duration) -> Option<Shut<'_>> {
    let begun = since_boot();
    loop {
        match door.shut() {
            None if since_boot().saturating_sub(begun) < patience => thread::sleep(LOCK_ASK_AGAIN),
            shut => return shut,
        }
    }
}

fn open_store(config: &Config) -> Result<Store, DaemonError> {
    let settings = StoreSettings::of(config);
    let begun = since_boot();
    loop {
        match Store::open(settings.clone(), wall()) {
            Err(OpenError::Held { .. }) if since_boot().saturating_sub(begun) < LOCK_PATIENCE => {
                thread::sleep(LOCK_ASK_AGAIN);
            }
            other => return other.map_err(DaemonError::Open),
        }
    }
}

fn announce(config: &Config) {
    let (state, socket) = (&config.agent.state_dir, &config.agent.socket);
    log::info!(
        "event=started version={} pid={} terminal_id={:?} state_dir={state:?} socket={socket:?}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        config.agent.terminal_id
    );
    for upstream in &config.upstreams {
        log::info!("event=upstream_configured upstream={} url={:?}", upstream.name, upstream.url);
    }
    if config.upstreams.is_empty() {
        log::warn!("event=no_upstream message=\"failures are recorded, nothing is delivered; configure an upstream\"");
    }
}

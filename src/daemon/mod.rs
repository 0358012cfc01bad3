//! Layer 6: the daemon. [`run`] connects the parts, [`serve`] is the loop, [`clients`] the clients.
//!
//! The order of a start: lock and open the store, bind the sockets, start the threads, serve. No client is accepted
//! before the store is ready. A stop reverses it: nothing more is claimed or accepted, requests in flight may end,
//! committed work is answered, the readers end, the store is closed, the agent's own sockets are removed.

mod clients;
mod intake;
mod quiet;
mod serve;
mod sockets;
mod tokens;

use crate::agent::Agent;
use crate::config::Config;
use crate::config::problem::Problem;
use crate::io::clock::{Clock, since_boot, wall};
use crate::io::listen::{self, ListenError, Listener};
use crate::io::log_queue::LogThread;
use crate::io::owner::AsOwner;
use crate::io::sender::MAX_PREFETCH_PER_SLOT;
use crate::io::socket_activation::Passed;
use crate::io::{sd_notify, system, textfile, tls};
use crate::limits::{LOCK_RETRY_INTERVAL, LOCK_TIMEOUT, READER_SHUTDOWN_TIMEOUT};
use crate::store::open_error::OpenError;
use crate::store::reader_gate::{Door, Shut};
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
    /// The state directory cannot be used.
    Open(OpenError),
    /// A socket cannot be opened.
    Listen(ListenError),
    /// The database failed at the start or the end.
    Store(StoreError),
    /// The system rejected something that the loop needs.
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

/// Reads the configuration again, from its original sources.
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
    let store = open_store(config, passed.is_empty())?;
    let clock = Clock::starting_at(store.ledger().resumed(wall()));
    let mut bind = |path, socket| match passed.take(socket, path) {
        Some(listener) => Ok(listener),
        None => Listener::bind(path, socket).map_err(DaemonError::Listen),
    };
    let app = bind(&config.agent.socket, Socket::App)?;
    let admin = bind(&config.agent.admin_socket, Socket::Admin).inspect_err(|_| app.unlink())?;
    let mut listeners = [app, admin];
    // From here on there are threads, and only the log thread waits for the log.
    let _log = LogThread::start().map_err(system("starting a thread"))?;
    let (reading, door) = (store.settings().clone(), store.door());
    let leaving = door.clone();
    let seed = system::seed().map_err(system("reading random bytes"))?;
    let mut agent = Agent::start(store, config, seed, clock.now()).map_err(DaemonError::Store)?;
    agent.keep_watch(clock.now());
    agent.set_prefetch(MAX_PREFETCH_PER_SLOT);
    announce(config);
    let mut server =
        Server::new(agent, clock, reading, door, config, signals, read_again).map_err(system("starting the loop"))?;
    if let Some(file) = &config.metrics.textfile {
        textfile::start(&config.agent.admin_socket, file).map_err(system("starting a thread"))?;
    }
    let ended = server.serve(&mut listeners).map_err(system("waiting for clients"));
    let alone = shut(&leaving, READER_SHUTDOWN_TIMEOUT);
    let closed = server.close().map_err(DaemonError::Store);
    drop(alone);
    for listener in &listeners {
        listener.unlink();
    }
    log::info!("event=stopped");
    ended.and(closed)
}

/// Waits for readers to end: the last connection to close checkpoints the WAL, and that should be the store.
fn shut(door: &Door, patience: Duration) -> Option<Shut<'_>> {
    let begun = since_boot();
    loop {
        match door.shut() {
            None if since_boot().saturating_sub(begun) < patience => thread::sleep(LOCK_RETRY_INTERVAL),
            shut => return shut,
        }
    }
}

/// Opens the store. An agent that is stopping, or a command that records, releases the lock within seconds; one that
/// answers its clients does not, and this one exits. `own_sockets`: the service manager has passed none, so whoever
/// answers at their paths is another process.
fn open_store(config: &Config, own_sockets: bool) -> Result<Store, DaemonError> {
    /// An agent that answers after this time is not one that was just told to stop.
    const STOP_IS_SEEN: Duration = Duration::from_secs(1);
    // In another user's directory root acts only with that user's rights. Threads start later and inherit this.
    let dir = &config.agent.state_dir;
    AsOwner::of(dir).map_err(|why| DaemonError::System("acting as the state directory's owner", why))?.keep();
    let mut settings = StoreSettings::of(config);
    (settings.disk.at_length, settings.disk.aside) = (sd_notify::at_length, sd_notify::aside);
    let is_served = || own_sockets && listen::is_served(&config.agent.admin_socket);
    let (begun, mut wait) = (since_boot(), None);
    loop {
        let mut opened = None;
        sd_notify::at_length(&mut || opened = Some(Store::open_at_once(settings.clone(), wall())));
        let held = match opened {
            Some(Err(held @ OpenError::Held { .. })) => held,
            Some(other) => return other.map_err(DaemonError::Open),
            None => continue,
        };
        let waited = since_boot().saturating_sub(begun);
        let wait = *wait.get_or_insert_with(|| {
            let wait = if is_served() { STOP_IS_SEEN } else { LOCK_TIMEOUT };
            log::warn!("event=lock_held wait_s={} message={:?}", wait.as_secs(), held.to_string());
            wait
        });
        if waited >= LOCK_TIMEOUT || (waited >= wait && is_served()) {
            return Err(DaemonError::Open(held));
        }
        thread::sleep(LOCK_RETRY_INTERVAL);
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
    tls::report(&config.upstreams);
    if config.upstreams.is_empty() {
        log::warn!("event=no_upstream message=\"failures are recorded, nothing is delivered; configure an upstream\"");
    }
}

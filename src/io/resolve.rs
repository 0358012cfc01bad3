//! A cache for name lookups, with a limit on their time.
//!
//! The HTTP client asks for addresses before every request, even on an open connection, and its own resolver starts
//! a thread each time. This one answers from its cache while an entry is fresh, and looks up on one thread at a
//! time: a lookup cannot be cancelled, so an unresponsive name server must not accumulate threads.

#![expect(clippy::disallowed_methods, reason = "its patience and its memory have no other use")]

use super::connect::Proven;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

/// How long an address is used without another lookup.
const FRESH: Duration = Duration::from_secs(30);
/// How long an address is still used if the lookup fails: a temporary outage of the name server must not stop
/// deliveries to a reachable host.
const STALE: Duration = Duration::from_secs(600);

/// Maximum number of addresses that the client accepts.
const MOST: usize = 16;

/// The resolver of one upstream, which has one or two hosts. Clones share its cache and its thread, so that probes
/// and deliveries have the same results and never look up in parallel.
#[derive(Clone, Debug, Default)]
pub struct CachingResolver {
    shared: Arc<Shared>,
    /// The addresses that worked.
    proven: Proven,
    /// All requests go to this host, a proxy, which looks up other names itself.
    instead: Option<Uri>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    known: Vec<Known>,
    /// The name that the thread is looking up.
    looking_up: Option<String>,
}

#[derive(Debug)]
struct Known {
    name: String,
    addresses: Vec<SocketAddr>,
    at: Instant,
    /// Why the last lookup failed.
    failure: Option<String>,
    /// None of its addresses responded to the last request.
    doubted: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements, so a panic does not corrupt it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, name: String, found: io::Result<Vec<SocketAddr>>) {
        let mut state = self.lock();
        state.looking_up = None;
        let before = state.known.iter().position(|known| known.name == name).map(|at| state.known.swap_remove(at));
        let known = match (found, before) {
            (Ok(addresses), _) => Known { name, addresses, at: Instant::now(), failure: None, doubted: false },
            (Err(error), Some(before)) => Known { failure: Some(error.to_string()), ..before },
            (Err(error), None) => Known {
                name,
                addresses: Vec::new(),
                at: Instant::now(),
                failure: Some(error.to_string()),
                doubted: false,
            },
        };
        state.known.push(known);
        drop(state);
        self.news.notify_all();
    }
}

impl CachingResolver {
    /// A resolver with the same cache, for requests that all go to a proxy.
    #[must_use]
    pub fn by_way_of(&self, proxy: Uri) -> Self {
        Self { instead: Some(proxy), ..self.clone() }
    }

    /// The addresses that worked, shared with the code that connects.
    #[must_use]
    pub fn proven(&self) -> Proven {
        self.proven.clone()
    }

    /// None of the cached addresses responded: the next request starts a lookup. The cached ones are still used if
    /// that fails.
    pub fn doubt(&self) {
        for known in &mut self.shared.lock().known {
            known.doubted = true;
        }
    }

    fn addresses(&self, name: &str, patience: Duration) -> Result<Vec<SocketAddr>, Error> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        if let Some(known) = state.known.iter().find(|known| known.name == name)
            && known.failure.is_none()
            && !known.doubted
            && known.at.elapsed() < FRESH
        {
            return Ok(known.addresses.clone());
        }
        // An earlier error is not the result of this lookup.
        for known in state.known.iter_mut().filter(|known| known.name == name) {
            known.failure = None;
        }
        let asked = Instant::now();
        loop {
            if let Some(known) = state.known.iter().find(|known| known.name == name) {
                if known.failure.is_some() {
                    return or_stale(known, || lookup_error(known.failure.as_deref()));
                }
                if known.at >= asked {
                    return Ok(known.addresses.clone());
                }
            }
            if state.looking_up.is_none() {
                self.start(name, &mut state)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let known = state.known.iter().find(|known| known.name == name);
                return known.map_or(Err(Error::Timeout(Timeout::Resolve)), |known| {
                    or_stale(known, || Error::Timeout(Timeout::Resolve))
                });
            }
            state = self.shared.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn start(&self, name: &str, state: &mut State) -> Result<(), Error> {
        let (shared, looked_up) = (Arc::clone(&self.shared), name.to_owned());
        let thread = thread::Builder::new().name("lookup".into());
        thread.spawn(move || {
            let found = looked_up.to_socket_addrs().map(Iterator::collect);
            shared.learn(looked_up, found);
        })?;
        state.looking_up = Some(name.to_owned());
        Ok(())
    }
}

fn or_stale(known: &Known, error: impl FnOnce() -> Error) -> Result<Vec<SocketAddr>, Error> {
    if !known.addresses.is_empty() && known.at.elapsed() < STALE { Ok(known.addresses.clone()) } else { Err(error()) }
}

/// The system's lookup error, or that the name does not exist.
fn lookup_error(failure: Option<&str>) -> Error {
    failure.map_or(Error::HostNotFound, |text| Error::Other(LookupFailed(text.to_owned()).into()))
}

/// A lookup error as reported by the system.
#[derive(Debug)]
pub struct LookupFailed(String);

impl std::fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The beginning says nothing that the one who shows it does not say.
        f.write_str(self.0.trim_start_matches("failed to lookup address information: "))
    }
}

impl std::error::Error for LookupFailed {}

impl Resolver for CachingResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let uri = self.instead.as_ref().unwrap_or(uri);
        let name = uri
            .scheme()
            .zip(uri.authority())
            .and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority))
            .ok_or_else(|| Error::BadUri(uri.to_string()))?;
        let addresses = match name.parse::<SocketAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self.addresses(&name, *timeout.after)?,
        };
        let mut found = self.empty();
        for address in config.ip_family().keep_wanted(addresses.into_iter()).take(MOST) {
            found.push(address);
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

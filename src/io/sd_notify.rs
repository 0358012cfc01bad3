//! Notifies the service manager: ready, stopping, and that the loop is alive (the protocol of `sd_notify`: one
//! datagram to the socket in `NOTIFY_SOCKET`).
//!
//! The loop itself feeds the watchdog, in each pass and at least twice in the period of `WATCHDOG_USEC`. So a loop
//! that hangs, for whatever reason, is killed and restarted; a separate thread would feed it for ever. Only work
//! that cannot be divided ([`at_length`]) has such a thread, for a bounded time.

use crate::moment::AgentTime;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Interval of notifications during long work.
const LONG_TELL: Duration = Duration::from_secs(5);
/// Work that takes longer is considered to hang.
const LONGEST_WORK: Duration = Duration::from_secs(3600);

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The interval at which the watchdog is fed, and the next time.
    watchdog: Option<(Duration, AgentTime)>,
}

impl Manager {
    /// The manager that started this process. If it cannot be reached, that is logged and it is ignored.
    #[must_use]
    pub fn from_environment(now: AgentTime) -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Self::default() };
        let opened = address(&name).and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        let socket = opened
            .inspect_err(|error| log::warn!("event=no_service_manager socket={name:?} error={:?}", error.to_string()))
            .ok();
        Self { socket, watchdog: watchdog().map(|every| (every, now)) }
    }

    /// Reports that clients are served.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Reports that clients are no longer served.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Feeds the watchdog if that is due; called in each pass of the loop.
    pub fn alive(&mut self, now: AgentTime) {
        if let Some((every, next)) = self.watchdog.filter(|(_, next)| *next <= now) {
            self.watchdog = Some((every, next.max(now).after(every)));
            self.tell("WATCHDOG=1");
        }
    }

    /// The time by which the loop has to call [`alive`](Self::alive).
    #[must_use]
    pub fn deadline(&self) -> Option<AgentTime> {
        self.watchdog.map(|(_, next)| next)
    }

    /// Reports progress: restarts the timeout of the start, and feeds the watchdog.
    fn busy(&self) {
        let next = LONG_TELL.saturating_mul(6).as_micros();
        let watchdog = if self.watchdog.is_some() { "\nWATCHDOG=1" } else { "" };
        self.tell(&format!("EXTEND_TIMEOUT_USEC={next}{watchdog}"));
    }

    fn tell(&self, what: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            log::warn!("event=sd_notify_failed what={what} error={:?}", error.to_string());
        }
    }
}

/// Runs work that the loop waits for and that cannot be divided, such as opening a large database on a slow disk,
/// and reports progress to the service manager meanwhile, for at most [`LONGEST_WORK`].
pub fn at_length(work: &mut dyn FnMut()) {
    announced(&Manager::from_environment(AgentTime::ZERO), LONG_TELL, work);
}

/// Does such work on a thread of its own, so that the loop goes on; where the system has none to spare, at once. The work
/// has the only copy, so it is never dropped.
pub fn aside(work: Box<dyn FnOnce() + Send>) {
    type Work = Mutex<Option<Box<dyn FnOnce() + Send>>>;
    fn run(work: &Work) {
        let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.into_iter().for_each(|work| work());
    }
    let work: Arc<Work> = Arc::new(Mutex::new(Some(work)));
    let theirs = Arc::clone(&work);
    if let Err(error) = thread::Builder::new().name("aside".into()).spawn(move || run(&theirs)) {
        log::warn!("event=no_thread error={:?}", error.to_string());
        at_length(&mut || run(&work));
    }
}

fn announced(manager: &Manager, every: Duration, work: &mut dyn FnMut()) {
    let (ended, ends) = channel::<()>();
    thread::scope(|scope| {
        if manager.socket.is_some() {
            scope.spawn(move || {
                for _ in 0..LONGEST_WORK.as_secs() / LONG_TELL.as_secs() {
                    if ends.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    manager.busy();
                }
            });
        }
        work();
        drop(ended);
    });
}

/// A path, or an abstract name after `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
}

/// Half of the watchdog's period; `None` if there is no watchdog.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let most = number("WATCHDOG_USEC").filter(|most| *most > 0 && ours)?;
    Some(Duration::from_micros(most / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_aside_is_done_once() {
        let (did, done) = channel();
        aside(Box::new(move || did.send(thread::current().id()).expect("the test waits")));
        assert_ne!(done.recv().expect("it is done"), thread::current().id());
        assert!(done.recv().is_err(), "and not again");
    }

    #[test]
    fn long_work_is_announced_and_short_work_is_not() {
        let name = format!("@resyncd-test-{}", std::process::id());
        let place = address(OsStr::new(&name)).expect("a name");
        let service_manager = UnixDatagram::bind_addr(&place).expect("a socket");
        let own = UnixDatagram::unbound().expect("a socket");
        let watchdog = Some((Duration::from_secs(30), AgentTime::ZERO));
        let manager = Manager { socket: Some((own, place)), watchdog };
        announced(&manager, Duration::from_secs(3600), &mut || ());
        let mut said = [0; 64];
        announced(&manager, Duration::from_millis(1), &mut || {
            let length = service_manager.recv(&mut said).expect("a datagram");
            assert_eq!(&said[..length], b"EXTEND_TIMEOUT_USEC=30000000\nWATCHDOG=1");
        });
    }
}

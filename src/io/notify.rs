//! What the service manager is told: ready, stopping, and that the loop still turns (`sd_notify`'s
//! protocol: one datagram to the socket that `NOTIFY_SOCKET` names).
//!
//! The watchdog is fed by the loop itself, once a pass and at least twice in the time that
//! `WATCHDOG_USEC` allows. So a loop that hangs, in whatever it waits for, is killed and started
//! again; a thread of its own would feed it for ever.

use crate::moment::AgentTime;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often the watchdog is fed, and when next.
    watchdog: Option<(Duration, AgentTime)>,
}

impl Manager {
    /// The one that started this process. A manager that cannot be reached is none; the log says so.
    #[must_use]
    pub fn from_environment(now: AgentTime) -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Self::default() };
        let opened = address(&name).and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        let socket = opened
            .inspect_err(|error| log::warn!("event=no_service_manager socket={name:?} error={:?}", error.to_string()))
            .ok();
        Self { socket, watchdog: watchdog().map(|every| (every, now)) }
    }

    /// Clients are served.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// No more of them.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The loop has come round.
    pub fn alive(&mut self, now: AgentTime) {
        if let Some((every, next)) = self.watchdog.filter(|(_, next)| *next <= now) {
            self.watchdog = Some((every, next.max(now).after(every)));
            self.tell("WATCHDOG=1");
        }
    }

    /// When the loop has to come round, whatever else there is to do.
    #[must_use]
    pub fn deadline(&self) -> Option<AgentTime> {
        self.watchdog.map(|(_, next)| next)
    }

    fn tell(&self, what: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            log::warn!("event=service_manager_not_told what={what} error={:?}", error.to_string());
        }
    }
}

/// A path, or a name without a file behind `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
}

/// Half of the time after which this process is taken for dead; `None`: it is not watched.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let most = number("WATCHDOG_USEC").filter(|most| *most > 0 && ours)?;
    Some(Duration::from_micros(most / 2))
}

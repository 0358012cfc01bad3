//! The files of the listening sockets: without them no client can connect, although the agent listens.
//!
//! The kernel reports when one is removed or moved, so an idle agent sleeps. Changes that it does not report (a
//! mount over the directory) are detected when the agent is awake anyway.

use super::clients::Clients;
use super::tokens::{ADMIN, APP};
use crate::io::listen::Listener;
use crate::io::poller::{Interest, Poller};
use crate::io::watch::FileWatch;
use crate::moment::AgentTime;
use crate::text::health as text;
use crate::text::phrases::of_agent;
use crate::wire::request::Socket;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Minimum interval of checks while other events wake the agent.
const LOOK: Duration = Duration::from_secs(1);
/// Interval of attempts to recreate a socket, and of checks if the kernel does not report changes.
const AGAIN: Duration = Duration::from_secs(15);
/// Number of passes that accept the pending clients of the old socket.
const PASSES: usize = 16;

/// Watches the socket files and recreates them.
pub(super) struct SocketFiles {
    /// `None` if the kernel does not report changes.
    watch: Option<FileWatch>,
    looked: Option<AgentTime>,
    again_at: Option<AgentTime>,
    trouble: Vec<Trouble>,
}

/// A socket that accepts no connections.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    path: PathBuf,
    /// The reason, for the log.
    error: String,
    /// The reason, and what to do, for people.
    says: String,
}

impl SocketFiles {
    pub(super) fn new() -> Self {
        let refused = |error: &io::Error| log::info!("event=no_file_events error={:?}", error.to_string());
        let watch = FileWatch::new().inspect_err(refused).ok();
        Self { watch, looked: None, again_at: None, trouble: Vec::new() }
    }

    /// Starts watching; `token` identifies the events in the poller.
    pub(super) fn watch(&mut self, listeners: &[Listener; 2], poller: &Poller, token: u64) -> io::Result<()> {
        if let Some(watch) = &self.watch {
            poller.add(watch, token, Interest { read: true, write: false })?;
        }
        listeners.iter().for_each(|listener| self.watch_one(listener));
        Ok(())
    }

    fn watch_one(&mut self, listener: &Listener) {
        let Some(watch) = &self.watch else { return };
        if let Err(error) = watch.add(listener.path()) {
            log::info!("event=no_file_events path={:?} error={:?}", listener.path(), error.to_string());
            self.watch = None;
        }
    }

    /// The kernel has reported a change.
    pub(super) fn told(&mut self) {
        if let Some(watch) = &self.watch {
            watch.clear();
        }
        self.looked = None;
    }

    /// The time of the next check without events.
    pub(super) fn deadline(&self) -> Option<AgentTime> {
        let unwatched = self.looked.filter(|_| self.watch.is_none()).map(|looked| looked.after(AGAIN));
        self.again_at.into_iter().chain(unwatched).min()
    }

    /// Recreates deleted sockets; returns what prevents clients from connecting, if that has changed.
    pub(super) fn look(
        &mut self,
        listeners: &mut [Listener; 2],
        clients: &mut Clients,
        poller: &Poller,
        now: AgentTime,
    ) -> io::Result<Option<Vec<String>>> {
        let soon = self.looked.is_some_and(|looked| now.since(looked) < LOOK);
        if soon {
            return Ok(None);
        }
        self.looked = Some(now);
        let mut trouble = Vec::new();
        let due = self.again_at.is_none_or(|at| at <= now);
        for (listener, token) in listeners.iter_mut().zip([APP, ADMIN]) {
            if listener.is_there() {
                continue;
            }
            if listener.is_passed() {
                trouble.push(Trouble::of_systemd(listener));
                continue;
            }
            if !due {
                return Ok(None);
            }
            for _ in 0..PASSES {
                clients.accept(listener, token, poller, now)?;
            }
            match listener.renew() {
                Ok(old) => {
                    poller.remove(old)?;
                    poller.add(&*listener, token, Interest { read: true, write: false })?;
                    log::warn!("event=socket_made_again path={:?}", listener.path());
                    self.watch_one(listener);
                }
                Err(error) => trouble.push(Trouble::of(listener, &error.to_string())),
            }
        }
        self.again_at = (!trouble.is_empty()).then(|| now.after(AGAIN));
        if trouble == self.trouble {
            return Ok(None);
        }
        for Trouble { path, error, .. } in &trouble {
            log::error!("event=socket_gone path={path:?} error={error:?}");
        }
        self.trouble = trouble;
        Ok(Some(self.trouble.iter().map(|trouble| trouble.says.clone()).collect()))
    }
}

impl Trouble {
    /// It could not be created again.
    fn of(listener: &Listener, error: &str) -> Self {
        let path = listener.path().to_owned();
        Self { says: text::socket_fails(&path.display().to_string(), &of_agent(error)), error: error.to_owned(), path }
    }

    /// The service manager has to create it again.
    fn of_systemd(listener: &Listener) -> Self {
        let unit = match listener.socket() {
            Socket::App => "resyncd.socket",
            Socket::Admin => "resyncd-admin.socket",
        };
        let path = listener.path().to_owned();
        let error = format!("removed, and {unit} has to be restarted");
        Self { says: text::socket_removed(&path.display().to_string(), unit), error, path }
    }
}

//! Listening sockets that the service manager has made and passed on (`LISTEN_FDS`, systemd's protocol).
//!
//! They are its own: they were there before this process and stay when it ends, so a client that comes
//! during a restart or an upgrade waits in the kernel's queue and is not refused. They are told apart by
//! name (`FileDescriptorName=` of the socket unit): `app`, `admin`. What has another name is closed, and
//! the log says so; a socket that was not passed is bound as ever.

use super::listen::Listener;
use crate::wire::request::Socket;
use listenfd::ListenFd;
use std::env;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// What was passed and has not been taken yet.
#[derive(Debug, Default)]
pub struct Passed {
    sockets: Vec<(String, UnixListener)>,
}

impl Passed {
    /// What stands in the environment. That is changed by it, so that nobody else takes the sockets: it
    /// must happen before there are threads.
    #[must_use]
    pub fn from_environment() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut descriptors = ListenFd::from_env();
        let mut names = names.split(':');
        let mut passed = Self::default();
        for index in 0..descriptors.len() {
            let name = names.next().unwrap_or_default();
            match descriptors.take_unix_listener(index) {
                Ok(Some(socket)) if ["app", "admin"].contains(&name) && !passed.has(name) => {
                    passed.sockets.push((name.to_owned(), socket));
                }
                Ok(_) => log::warn!("event=passed_socket_unused name={name:?} expected=\"app or admin, each once\""),
                Err(error) => log::warn!("event=passed_socket_unused name={name:?} error={:?}", error.to_string()),
            }
        }
        passed
    }

    fn has(&self, name: &str) -> bool {
        self.sockets.iter().any(|(known, _)| known == name)
    }

    /// The one for these clients, if it was passed. Where it listens is the manager's business; that
    /// commands look for it at `path` is the configuration's, and if the two differ the log says so.
    pub fn take(&mut self, socket: Socket, path: &Path) -> Option<Listener> {
        let name = match socket {
            Socket::App => "app",
            Socket::Admin => "admin",
        };
        let index = self.sockets.iter().position(|(known, _)| known == name)?;
        let (_, listener) = self.sockets.swap_remove(index);
        let there = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        if there.as_deref() != Some(path) {
            log::warn!("event=passed_socket_elsewhere name={name} listens={there:?} configured={path:?}");
        }
        if let Err(error) = listener.set_nonblocking(true) {
            log::warn!("event=passed_socket_unused name={name} error={:?}", error.to_string());
            return None;
        }
        log::info!("event=passed_socket_used name={name}");
        Some(Listener::passed(listener.into(), path))
    }
}

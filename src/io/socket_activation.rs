//! Listening sockets that the service manager has created and passed on (`LISTEN_FDS`, systemd's protocol).
//!
//! They belong to the manager: they exist before this process and after it, so a client that connects during a
//! restart or an upgrade waits in the kernel's queue and is not rejected. They are identified by name
//! (`FileDescriptorName=` of the socket unit): `app`, `admin`. A socket with another name is closed, and that is
//! logged; a socket that was not passed is bound as usual.

use super::listen::Listener;
use crate::wire::request::Socket;
use listenfd::ListenFd;
use std::env;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Sockets that were passed and have not been taken yet.
#[derive(Debug, Default)]
pub struct Passed {
    sockets: Vec<(String, UnixListener)>,
}

impl Passed {
    /// Reads the sockets from the environment, and removes the variables, so that no child process takes them. Has
    /// to be called before any thread is started.
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
                Ok(_) => {
                    log::warn!("event=activation_socket_unused name={name:?} expected=\"app or admin, each once\"");
                }
                Err(error) => log::warn!("event=activation_socket_unused name={name:?} error={:?}", error.to_string()),
            }
        }
        passed
    }

    /// Returns whether none was passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    fn has(&self, name: &str) -> bool {
        self.sockets.iter().any(|(known, _)| known == name)
    }

    /// Takes the socket for these clients, if it was passed. The manager decides where it listens; commands expect
    /// it at `path`, from the configuration, and a difference is logged.
    pub fn take(&mut self, socket: Socket, path: &Path) -> Option<Listener> {
        let name = match socket {
            Socket::App => "app",
            Socket::Admin => "admin",
        };
        let index = self.sockets.iter().position(|(known, _)| known == name)?;
        let (_, listener) = self.sockets.swap_remove(index);
        let there = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        if there.as_deref() != Some(path) {
            log::warn!("event=activation_socket_mismatch name={name} listens={there:?} configured={path:?}");
        }
        if let Err(error) = listener.set_nonblocking(true) {
            log::warn!("event=activation_socket_unused name={name} error={:?}", error.to_string());
            return None;
        }
        log::info!("event=activation_socket_used name={name}");
        Some(Listener::passed(listener.into(), socket, there.as_deref().unwrap_or(path)))
    }
}

//! The numbers by which the poller's events name their source.

/// The socket of applications.
pub(super) const APP: u64 = 0;
/// The socket of administrators.
pub(super) const ADMIN: u64 = 1;
/// Messages of other threads.
pub(super) const INBOX: u64 = 2;
/// The signals that stop the agent.
pub(super) const STOP: u64 = 3;
/// Changes of the network's links.
pub(super) const LINK: u64 = 4;
/// The signal that reloads the configuration.
pub(super) const RELOAD: u64 = 5;
/// Changes of the sockets' files.
pub(super) const FILES: u64 = 6;
/// Clients get the numbers from this one on.
pub(super) const FIRST_CLIENT: u64 = 16;

//! Layer 5: everything that blocks, waits or calls the system. Each module is thin: it turns something outside into
//! an event, or an effect into an action; none of them makes decisions.
//!
//! - [`clock`]: the only place where the clocks are read.
//! - [`poller`], [`listen`], [`socket_activation`], [`conn`]: sockets and clients of the loop; [`pieces`]: what of theirs waits in
//!   memory; [`watch`]: that their files are gone.
//! - [`inbox`]: how threads answer the loop.
//! - [`http`], [`resolve`], [`connect`], [`tls`], [`transport`], [`mend`], [`course`], [`secrets`], [`login`]: one
//!   HTTP exchange; [`sender`]: requests and probes to an upstream, on threads; [`queue`]: the work of these
//!   threads.
//! - [`reader`]: long queries, on a thread; [`integrity_check`]: the integrity check, on another.
//! - [`textfile`]: the metrics as a file, on a thread.
//! - [`notifier`]: alert notifications and heartbeats, on threads; [`command`]: runs the alert command.
//! - [`netlink`]: changes of the network, reported by the kernel.
//! - [`log_queue`]: the log, on a thread.
//! - [`system`]: signals, disk, limits, users; [`sd_notify`]: the service manager.

pub mod clock;
pub mod command;
pub mod conn;
pub mod connect;
pub mod course;
pub mod http;
pub mod inbox;
pub mod integrity_check;
pub mod listen;
pub mod log_queue;
pub mod login;
pub mod mend;
pub mod netlink;
pub mod notifier;
pub mod owner;
pub mod pieces;
pub mod poller;
pub mod queue;
pub mod reader;
pub mod resolve;
pub mod sd_notify;
pub mod secrets;
pub mod sender;
pub mod socket_activation;
pub mod system;
pub mod textfile;
pub mod tls;
pub mod transport;
pub mod watch;

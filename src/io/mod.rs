//! Floor 5: everything that blocks, waits or asks the system. Thin: each part turns something of
//! the outside into an event, or an effect into something outside; none decides.
//!
//! - [`clock`]: the only place where the clocks are read.
//! - [`poller`], [`listen`], [`passed`], [`conn`]: sockets and clients of the loop.
//! - [`inbox`]: how threads answer the loop.
//! - [`http`], [`resolve`], [`tls`], [`secrets`], [`login`]: one HTTP exchange; [`sender`]: requests
//!   and probes to an upstream, on threads; [`queue`]: what these are to send.
//! - [`reader`]: long questions, on a thread; [`checker`]: a look for damage, on another.
//! - [`textfile`]: the metrics as a file, on a thread.
//! - [`herald`]: tells of alerts and gives signs of life, on threads; [`program`]: runs the program that
//!   is told.
//! - [`link`]: the kernel's word that the line has changed.
//! - [`system`]: signals, disk, limits, users; [`notify`]: the service manager.

pub mod checker;
pub mod clock;
pub mod conn;
pub mod herald;
pub mod http;
pub mod inbox;
pub mod link;
pub mod listen;
pub mod login;
pub mod notify;
pub mod passed;
pub mod poller;
pub mod program;
pub mod queue;
pub mod reader;
pub mod resolve;
pub mod secrets;
pub mod sender;
pub mod system;
pub mod textfile;
pub mod tls;

//! resyncd keeps failed synchronisations of a store terminal on disk and delivers them when the
//! line is back.
//!
//! # The tour
//!
//! A local application tells the agent through a Unix socket what it could not send. The agent
//! answers when that is safe on disk, and sends it again over HTTP, in order for each entity, until
//! the upstream has accepted it or a person has to act.
//!
//! ## Three ideas
//!
//! 1. **A pure core that decides, thin shells that do.** [`agent::Agent`] is a state machine:
//!    `handle(now, event)`, `tick(now)`, `finish_round(now) → effects`, `next_deadline()`. It reads
//!    no clock and no randomness, opens no socket and starts no thread. So a simulation runs
//!    the whole agent through days in milliseconds, with the same code (`tests/simulation.rs`).
//! 2. **One loop.** One thread owns the sockets, the clients, the writing connection and the agent
//!    ([`daemon`]): wait, read from everyone, decide, one COMMIT, answer everyone. Group commit
//!    falls out of it. Beside it only what must block: senders, probes, a reader for long questions,
//!    a look for damage ([`io`]); they answer through one inbox.
//! 3. **Once down, once back.** client → agent → store → sender → outcome → store. No layer calls
//!    up, there are no callbacks and no shared state behind a lock.
//!
//! ## The way of a record
//!
//! `daemon::serve` reads a line → [`wire::request`] checks every field of it → [`agent::recording`]
//! asks everything that can refuse it, then inserts it with [`store::failures`] → the round commits
//! → the reply goes out. [`policy::backoff`] has said when it is first due.
//!
//! ## The way of a delivery
//!
//! After a commit, `agent::claiming` claims what is due: heads of their order keys only, out of one
//! index, as many as [`policy::upstream`] lets pass. [`io::sender`] sends; [`policy::class`] says
//! what the end of it means; `agent::outcomes` decides once with [`policy::judge`], and writes that
//! until a commit succeeds. Only then is the next of its order a head.
//!
//! ## Floors
//!
//! Imports point down only, and rooms of one floor do not import each other (`tests/tidy.rs`).
//!
//! | floor | rooms | |
//! |---|---|---|
//! | 8 | `main`, `lib` | parse, run, print the error, exit status |
//! | 7 | [`cli`] | commands, client, what people read |
//! | 6 | [`daemon`] | the loop, its clients, start and stop |
//! | 5 | [`io`] | clocks, sockets, HTTP, threads, the system |
//! | 4 | [`agent`] | the state machine that ties policy to store |
//! | 3 | [`store`], [`wire`] | SQLite; requests and replies as text |
//! | 2 | [`policy`] | what is decided: pure functions, small state machines |
//! | 1 | [`record`], [`question`], [`config`], [`limits`], [`moment`], [`ids`], [`access`], [`figures`] | values |
//!
//! The proposal had daemon and io on one floor. They are two here, because the loop uses every part
//! of io and no part of io knows the loop; so the test can hold that too.
//!
//! ## What is where on disk
//!
//! `<state_dir>/sync_failures.db` (the table of the same name, the history of tries, the audit, the
//! keys, where the upstreams stand, a time series of thirty days, the agent's own row), `lock`, `ballast` (room held back for a full
//! disk), `quarantine/` (a directory for each damaged database; [`store::quarantine`]), `archive/` (a file
//! a month of what left undelivered; [`store::archive`]), `alert.json` (what people are told of).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

pub mod access;
pub mod agent;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod figures;
pub mod ids;
pub mod io;
pub mod limits;
pub mod moment;
pub mod policy;
pub mod question;
pub mod record;
pub mod store;
pub mod wire;

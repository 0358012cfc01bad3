//! resyncd stores failed synchronizations of a store terminal on disk and delivers them once the upstream is
//! reachable again.
//!
//! # The tour
//!
//! A local application reports to the agent, through a Unix socket, what it could not send. The agent replies once
//! the record is on disk, and sends it again over HTTP, in order for each entity, until the upstream has accepted
//! it or an operator has to act.
//!
//! ## Three ideas
//!
//! 1. **A pure core that decides, thin shells that act.** [`agent::Agent`] is a state machine:
//!    `handle(now, event)`, `tick(now)`, `finish_round(now) → effects`, `next_deadline()`. It reads no clock and no
//!    randomness, opens no socket and starts no thread. So a simulation runs the whole agent through days in
//!    milliseconds, with the same code (`tests/simulation.rs`).
//! 2. **One loop.** One thread owns the sockets, the clients, the writing connection and the agent ([`daemon`]).
//!    Each round polls, reads all ready sockets, lets the agent decide, commits once, and then replies; group
//!    commit is a consequence. Only blocking work runs on other threads: senders, probes, a reader for long
//!    queries, an integrity check ([`io`]); all of them report through one inbox.
//! 3. **Once down, once back.** client → agent → store → sender → outcome → store. No layer calls up, there are no
//!    callbacks and no shared state behind a lock.
//!
//! ## The three ideas as code
//!
//! A failure is recorded, and its round is finished. The reply is an effect of the commit:
//!
//! ```
//! use resyncd::agent::{Agent, ClientId, Effect, Event, Peer};
//! use resyncd::config::{Config, Environment, Overrides};
//! use resyncd::limits::Limits;
//! use resyncd::moment::{AgentTime, Moment, WallTime};
//! use resyncd::store::{Store, StoreSettings};
//! use resyncd::wire::request::Socket;
//!
//! let dir = tempfile::tempdir().expect("a directory");
//! let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(1_795_500_000_000) };
//! let store = Store::open(StoreSettings::new(dir.path(), &Limits::default()), now.wall).expect("a store");
//! let toml = "[upstream.hq]\nurl = \"https://hq.example/\"\n";
//! let config = Config::load(Some(("resyncd.toml", toml)), &Overrides::default(), &Environment::default());
//! let mut agent = Agent::start(store, &config.expect("a right configuration"), 1, now).expect("it starts");
//!
//! let line = br#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"HTTP 503"}"#;
//! agent.handle(now, Event::Line { client: ClientId(1), socket: Socket::App, peer: &Peer::default(), line });
//! let replies = agent.finish_round(now).into_iter().filter_map(|effect| match effect {
//!     Effect::Reply { line, .. } => Some(String::from_utf8(line).expect("JSON")),
//!     _ => None,
//! });
//! assert!(replies.last().expect("a reply").starts_with(r#"{"ok":true"#));
//! ```
//!
//! An attempt is judged, without a clock or a connection. A rejection needs an operator:
//!
//! ```
//! use resyncd::config::Retry;
//! use resyncd::config::upstream::Ordering;
//! use resyncd::moment::{AgentTime, Moment, WallTime};
//! use resyncd::policy::canary::Route;
//! use resyncd::policy::class::Verdict;
//! use resyncd::policy::ending::Contact;
//! use resyncd::policy::judge::{Decision, Rules, Try, judge};
//! use resyncd::policy::order_tag::OrderTag;
//! use resyncd::policy::retry_state::RetryState;
//! use resyncd::policy::pace::Pace;
//! use resyncd::policy::upstream::Upstream;
//! use resyncd::record::Class;
//! use std::time::Duration;
//!
//! let now = Moment { agent: AgentTime::ZERO, wall: WallTime::from_millis(0) };
//! let (max_pause, min_gap) = (Duration::from_secs(60), Duration::ZERO);
//! let pace = Pace { concurrency: 4, max_pause, min_gap, probe_idle: None, ordering: Ordering::Key };
//! let (mut upstream, mut random) = (Upstream::new(now), fastrand::Rng::with_seed(1));
//! upstream.start(now);
//! let route = Route { entity_type: "SALE".into(), action: "CREATE".into() };
//! let (class, error, contact) = (Class::Refused, "HTTP 422".to_owned(), Contact::Answered);
//! let end = Try {
//!     retry_state: &RetryState::fresh(),
//!     order: &OrderTag::new("s-1"),
//!     recorded_at: now.agent,
//!     attempt: 1,
//!     sent_at: now.agent,
//!     dispatch_kind: upstream.sent(now.agent, false, &route, pace),
//!     verdict: &Verdict { class, error, retry_after: None, contact, unreadable: false, stalled: false },
//!     newest: 1,
//! };
//! let rules = Rules { retry: &Retry::default(), pace };
//! let judgement = judge(&end, &mut upstream, rules, now, &mut random);
//! assert!(matches!(judgement.decision, Decision::NeedsPerson { .. }));
//! ```
//!
//! A request is parsed before the agent sees it, and a wrong one names the field:
//!
//! ```
//! use resyncd::limits::Limits;
//! use resyncd::wire::request::{Socket, parse};
//!
//! let line = parse(br#"{"op":"record","entity_type":"SALE"}"#, Socket::App, &Limits::default());
//! let rejection = line.request.expect_err("it has no entity_id");
//! assert_eq!(rejection.field.as_deref(), Some("entity_id"));
//! ```
//!
//! ## How a record is stored
//!
//! `daemon::serve` reads a line → [`wire::request`] validates every field → `agent::recording` runs all admission
//! checks and inserts the row with [`store::failures`] → the round commits → the reply is sent. [`policy::backoff`]
//! has set the first due time.
//!
//! ## How a delivery works
//!
//! After a commit, `agent::dispatch` claims what is due: only heads of their order keys, from one index, as many as
//! [`policy::upstream`] allows. [`io::sender`] sends; [`policy::class`] classifies the result; `agent::outcomes`
//! decides once with [`policy::judge`], and writes the decision until a commit succeeds. Only after that commit
//! does the next failure of the order key become its head.
//!
//! ## Layers
//!
//! Imports point down only, and modules of one layer do not import each other (`tests/tidy.rs`).
//!
//! | layer | modules | |
//! |---|---|---|
//! | 8 | `main`, `lib` | parse, run, print the error, exit status |
//! | 7 | [`cli`] | commands, client, output for operators |
//! | 6 | [`daemon`] | the loop, its clients, start and stop |
//! | 5 | [`io`] | clocks, sockets, HTTP, threads, the system |
//! | 4 | [`agent`] | the state machine that connects policy and store |
//! | 3 | [`store`], [`wire`] | SQLite; requests and replies as text |
//! | 2 | [`policy`] | decisions: pure functions, small state machines |
//! | 1 | [`record`], [`question`], [`config`], [`limits`], [`moment`], [`ids`], [`access`], [`figures`],
//! [`text`] | values; what people read |
//!
//! `daemon` is above `io`, because the loop uses all of io and io must not depend on the loop.
//!
//! ## Files on disk
//!
//! `<state_dir>/sync_failures.db` (the table of the same name, the history of attempts, the audit, the keys, the
//! upstream state, a time series of thirty days, the agent's own row), `lock`, `instance` (identifies the database
//! in case it vanishes; [`store::instance`]), `ballast` (space reserved for a full disk), `quarantine/` (a
//! directory for each damaged database; [`store::quarantine`]), `archive/` (a file per month of failures removed
//! undelivered; [`store::archive`]), `alert.json` (alerts, for external hooks).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]
// The documentation is built with private items: its readers are the developers.
#![allow(rustdoc::private_intra_doc_links)]

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
pub mod text;
pub mod wire;

//! Layer 2: decisions, as pure functions and small state machines.
//!
//! Nothing here reads a clock, a file or a socket: times are arguments, randomness is a generator that the
//! caller passes in, and actions are returned as values. `packaging/doc/delivery.md` explains the rules.
//!
//! - [`class`] classifies the end of an attempt. [`answer_rules`] applies the answer rules of one upstream; [`body`]
//!   examines a response's body, and [`search`] looks for a text in it.
//! - [`judge`]: was it the record or the upstream, and what becomes of the failure? [`why`] lists the reasons,
//!   [`retry_state`] is the state kept for a failure, [`evidence`] that for an upstream.
//! - [`backoff`] decides when a failure is due, [`retention`] when it may be removed.
//! - [`upstream`] decides whether something may be sent now and whether a probe is due. It combines [`pause`]
//!   and [`throttle`] (how fast; [`share`], [`spacing`] and [`latency`] distinguish an overload from sporadic
//!   errors, a rate limit or a slow system), [`probe`] and [`canary`] (when to test for recovery); [`condition`]
//!   names its states, [`transient`] marks state that is not stored.
//! - [`alert`] decides when operators are notified of what, [`heartbeat`] when the next heartbeat is due.

pub mod alert;
pub mod answer_rules;
pub mod backoff;
pub mod body;
pub mod canary;
pub mod class;
pub mod condition;
pub mod ending;
pub mod evidence;
pub mod heartbeat;
pub mod judge;
pub mod latency;
pub mod order_tag;
pub mod pace;
pub mod pause;
pub mod probe;
pub mod retention;
pub mod retry_state;
mod search;
mod share;
mod spacing;
pub mod throttle;
mod transient;
pub mod upstream;
pub mod why;

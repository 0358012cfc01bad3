//! Floor 2: what is decided, as pure functions and small state machines.
//!
//! Nothing here reads a clock, a file or a socket: times come in as arguments, chance comes in as a
//! generator, and what is to be done goes out as values. `spec/03` is the text that it follows.
//!
//! - [`class`]: what does the end of a try say by itself? [`reading`]: how one upstream's answers
//!   are read.
//! - [`judge`]: was it the record or the line, and what becomes of the failure? [`why`] has the
//!   reasons in words, [`dossier`] what is remembered of a failure for it, [`evidence`] what is
//!   remembered of an upstream.
//! - [`backoff`]: when is a failure due? [`retention`]: when may it be cleaned up?
//! - [`upstream`]: may anything be sent now, and is it time to probe? It joins [`pause`] and
//!   [`throttle`] (how fast), [`probe`] and [`canary`] (when to look); [`condition`] names what it shows,
//!   [`passing`] marks what of it is not stored.
//! - [`alert`]: what are people told of, and when? [`heartbeat`]: when is the next sign of life?

pub mod alert;
pub mod backoff;
pub mod canary;
pub mod class;
pub mod condition;
pub mod dossier;
pub mod evidence;
pub mod heartbeat;
pub mod judge;
mod passing;
pub mod pause;
pub mod probe;
pub mod reading;
pub mod retention;
pub mod throttle;
pub mod upstream;
pub mod why;

//! Floor 2: what is decided, as pure functions and small state machines.
//!
//! Nothing here reads a clock, a file or a socket: times come in as arguments, chance comes in as a
//! generator, and what is to be done goes out as values. `spec/03` is the text that it follows.
//!
//! - [`class`]: what does the end of a try say? (Was it the record or the line?)
//! - [`backoff`]: when is a failure due?
//! - [`upstream`]: may anything be sent now, and is it time to probe? With its [`condition`]s by
//!   name, and what a [`probe`] brought.

pub mod backoff;
pub mod class;
pub mod condition;
pub mod probe;
pub mod upstream;

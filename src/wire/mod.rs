//! What goes over the wire, as text: request lines and replies of the socket, requests to an
//! upstream. No IO; whoever reads or writes the bytes is above.
//!
//! Everything that comes from outside is parsed here once, into types that cannot be wrong inside.

pub mod card;
pub mod delivery;
pub mod envelope;
pub mod fields;
pub mod operation;
pub mod reply;
pub mod request;

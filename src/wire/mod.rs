//! What goes over the wire, as text: request lines and replies of the socket, requests to an
//! upstream. No IO; whoever reads or writes the bytes is above.
//!
//! Everything that comes from outside is parsed here once, into types that cannot be wrong inside.

pub mod alerts;
pub mod card;
pub mod delivery;
pub mod edit;
pub mod envelope;
pub mod fields;
pub mod history;
pub mod import;
pub mod leaving;
pub mod metrics;
pub mod operation;
pub mod portable;
pub mod reply;
pub mod request;

//! Wire formats as text: request lines and replies of the socket, requests to an upstream. No IO: the layers above
//! read and write the bytes.
//!
//! All external input is parsed here once, into types that cannot hold invalid values.

pub mod alerts;
pub mod card;
mod content;
pub mod delivery;
pub mod edit;
pub mod envelope;
pub mod fields;
pub mod history;
pub mod import;
pub mod metrics;
pub mod operation;
pub mod portable;
pub mod removal;
pub mod replay;
pub mod reply;
pub mod request;

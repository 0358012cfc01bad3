#![forbid(unsafe_code)]
//! tour
pub mod agent;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod ids;
pub mod io;
pub mod limits;
pub mod moment;
pub mod policy;
pub mod question;
pub mod record;
pub mod store;
pub mod wire;

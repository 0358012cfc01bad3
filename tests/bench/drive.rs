//! Sends a fixed number of records to a server that is already running, for counts that do not
//! depend on time: `drive SOCKET RECORDS IN_FLIGHT [now]`.

use crate::load::{Load, Until, drive};
use crate::protocol::{Body, Kind, Requests};
use std::path::Path;

/// The command's name.
pub(crate) const NAME: &str = "drive";

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let usage = || format!("usage: {NAME} SOCKET RECORDS IN_FLIGHT [now]");
    let (socket, records, in_flight, body) = match arguments {
        [socket, records, in_flight] => (socket, records, in_flight, Body::OwnEntity),
        [socket, records, in_flight, now] if now == "now" => (socket, records, in_flight, Body::Now),
        _ => return Err(usage()),
    };
    let records = records.parse().map_err(|_| usage())?;
    let in_flight = in_flight.parse().map_err(|_| usage())?;
    let load = Load { clients: 1, in_flight };
    let mut number = 0;
    drive(Path::new(socket), &Requests::new(Kind::Agent, body), load, Until::Records(records), &mut number)?;
    Ok(())
}

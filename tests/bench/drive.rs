//! Sends a fixed number of records to a server that is already running, and prints how many a second it acknowledged:
//! `drive SOCKET RECORDS IN_FLIGHT [now] [clients=N] [each=N]`. `clients` send them together (1); `each` is how many
//! records in a row belong to one entity (1).

use crate::load::{Load, Until, drive};
use crate::protocol::{Body, Kind, Requests};
use std::path::Path;

/// The command's name.
pub(crate) const NAME: &str = "drive";

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let usage = || format!("usage: {NAME} SOCKET RECORDS IN_FLIGHT [now] [clients=N] [each=N]");
    let [socket, records, in_flight, options @ ..] = arguments else { return Err(usage()) };
    let records = records.parse().map_err(|_| usage())?;
    let in_flight = in_flight.parse().map_err(|_| usage())?;
    let (mut body, mut clients, mut each) = (Body::OwnEntity, 1, 1);
    for option in options {
        match option.split_once('=') {
            None if option == "now" => body = Body::Now,
            Some(("clients", number)) => clients = number.parse().map_err(|_| usage())?,
            Some(("each", number)) => each = number.parse().map_err(|_| usage())?,
            _ => return Err(usage()),
        }
    }
    let requests = Requests::new(Kind::Agent, body).each(each);
    let driven = drive(Path::new(socket), &requests, Load { clients, in_flight }, Until::Records(records), &mut 0)?;
    println!("{:.1}", driven.rate());
    Ok(())
}

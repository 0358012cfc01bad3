//! The real binary across a real network: the agent in its own network namespace, its upstream in
//! another, a virtual cable between them, and faults made with `ip` and `nft`.
//!
//! The tests need Linux, root, and the commands `ip` (iproute2) and `nft` (nftables). Where one is
//! missing they print that and pass, unless `RESYNCD_NEED_NETWORK=1` is set: then they fail. Lines
//! that begin with `network:` report durations for readers; no test asserts them.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the house, on its clock's side")]

#[expect(dead_code, reason = "made for the black-box tests, which use all of it")]
mod support;

#[path = "network/flapping.rs"]
mod flapping;
#[path = "network/hole.rs"]
mod hole;
#[path = "network/line.rs"]
mod line;
#[path = "network/link.rs"]
mod link;
#[path = "network/loss.rs"]
mod loss;
#[path = "network/names.rs"]
mod names;
#[path = "network/nameserver.rs"]
mod nameserver;
#[path = "network/outage.rs"]
mod outage;
#[path = "network/reset.rs"]
mod reset;
#[path = "network/sales.rs"]
mod sales;

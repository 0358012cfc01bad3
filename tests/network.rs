//! The real binary across a real network: the agent in a network namespace of its own, its upstream
//! in another, a virtual cable between them, and faults made with `ip` and `nft`.
//!
//! They need Linux, root, and the commands `ip` (iproute2) and `nft` (nftables). Where something of
//! it is missing they say so and pass, unless `RESYNCD_NEED_NETWORK=1` is set: then they fail. Lines
//! that begin with `network:` tell people how long something took; nothing is asserted on them.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the house, on its clock's side")]

#[expect(dead_code, reason = "made for the black-box tests, which use all of it")]
mod support;

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

//! Changes of links, addresses and routes, as the kernel reports them (rtnetlink): a reason to probe the upstream.
//! What has changed is not read.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::io;

/// Groups of rtnetlink(7): link, IPv4 address, IPv4 route, IPv6 address, IPv6 route.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// A descriptor that is readable when something has changed.
pub fn watch() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?; // protocol 0: NETLINK_ROUTE
    bind(&fd, &SocketAddrNetlink::new(0, GROUPS))?;
    Ok(fd)
}

/// Reads all pending events; returns whether there were any. An overflow of the kernel's queue counts as one.
#[must_use]
pub fn changed(fd: &OwnedFd) -> bool {
    let (mut any, mut buffer) = (false, [0_u8; 4096]);
    loop {
        match recv(fd, &mut buffer, RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::AGAIN) => return any,
            Ok(_) | Err(Errno::NOBUFS) => any = true,
            Err(Errno::INTR) => {}
            Err(_) => return any,
        }
    }
}

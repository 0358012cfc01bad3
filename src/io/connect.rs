//! TCP for the HTTP client: the order of addresses, and timeouts without progress.
//!
//! A host may have an address that does not work here (commonly IPv6 without a route). So the address that worked
//! last is tried first, and the next one is started after a moment instead of after the whole timeout. The first
//! connection that is established is used.
//!
//! During a request the timeout does not limit the whole of it, because a payload that takes a minute on a slow
//! link must not be cut off after half of it, repeatedly. It limits the time without progress.

#![expect(clippy::disallowed_methods, reason = "time-outs of one exchange have no other use")]

use super::course;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, connect, recv, socket_with, sockopt};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

/// Delay before the next address is tried in parallel (RFC 8305 recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);
/// The same after an address that has worked before: on a slow link, a second connection would only cost.
const HEAD_START_OF_THE_PROVEN: Duration = Duration::from_secs(1);
/// Sent bytes may still be in the buffers of the system, a modem or a proxy, where no progress is visible. They are
/// given time as if the link carried this many bytes a second, unless it was measured to be slower.
const SLOW_LINE: f64 = 4096.0;

/// The addresses that worked. Bounded by the few hosts of one upstream.
#[derive(Clone, Debug, Default)]
pub struct Proven(Arc<Mutex<Vec<SocketAddr>>>);

impl Proven {
    /// The order in which addresses are tried; true if the first of them has worked before.
    pub fn order(&self, addresses: &[SocketAddr]) -> (Vec<SocketAddr>, bool) {
        let proven = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut first, rest): (Vec<SocketAddr>, Vec<SocketAddr>) =
            addresses.iter().partition(|address| proven.contains(address));
        let known = !first.is_empty();
        first.extend(interleaved(&rest));
        (first, known)
    }

    fn worked(&self, address: SocketAddr, beside: &[SocketAddr]) {
        let mut proven = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !proven.contains(&address) {
            proven.retain(|known| !beside.contains(known));
            proven.push(address);
        }
    }

    fn failed(&self, addresses: &[SocketAddr]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| !addresses.contains(known));
    }
}

/// Alternates between address families, because usually a whole family does not work.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (same, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == first.is_ipv6());
    let mut turns = Vec::new();
    for n in 0..same.len().max(other.len()) {
        turns.extend(same.get(n).into_iter().chain(other.get(n)));
    }
    turns
}

/// Establishes TCP connections.
#[derive(Debug)]
pub struct TcpConnect {
    /// Maximum time without progress.
    pub idle: Duration,
    /// Addresses that have worked.
    pub proven: Proven,
}

impl<In: Transport> Connector<In> for TcpConnect {
    type Out = Either<In, Tcp>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(made) = chained {
            return Ok(Some(Either::A(made)));
        }
        let addresses: Vec<SocketAddr> = details.addrs.iter().copied().collect();
        let (order, known) = self.proven.order(&addresses);
        let (stream, address) = match race(&order, known, *details.timeout.after) {
            Ok(made) => made,
            Err(error) => {
                self.proven.failed(&addresses);
                return Err(error.map_or(Error::Timeout(details.timeout.reason), Error::Io));
            }
        };
        self.proven.worked(address, &addresses);
        // Requests are written in one piece; a segment must not wait for an acknowledgement.
        stream.set_nodelay(true)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Tcp::new(stream, buffers, self.idle))))
    }
}

/// The first connection that is established; or the error of the last address, `None` if the time is over.
fn race(order: &[SocketAddr], known: bool, within: Duration) -> Result<(TcpStream, SocketAddr), Option<io::Error>> {
    let begun = Instant::now();
    let mut waiting = order.iter().copied();
    let mut racing: Vec<(OwnedFd, SocketAddr)> = Vec::new();
    let mut failure: Option<io::Error> = None;
    let mut head_start = if known { HEAD_START_OF_THE_PROVEN } else { HEAD_START };
    loop {
        match waiting.next() {
            None if racing.is_empty() => return Err(failure),
            None => {}
            Some(address) => match begin(address) {
                Ok(socket) => racing.push((socket, address)),
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            },
        }
        let last = waiting.len() == 0;
        let step = Instant::now();
        loop {
            let left = within.saturating_sub(begun.elapsed());
            let patience = if last { left } else { left.min(head_start.saturating_sub(step.elapsed())) };
            if left.is_zero() {
                return Err(None);
            }
            if patience.is_zero() {
                break; // Start the next one in parallel.
            }
            match first_ready(&mut racing, patience).map_err(Some)? {
                None => {}
                Some((socket, address, None)) => return Ok((blocking(socket).map_err(Some)?, address)),
                Some((.., Some(error))) => {
                    failure = Some(error);
                    break; // Start the next one at once.
                }
            }
        }
        head_start = HEAD_START;
    }
}

/// Starts a connection without waiting for it.
fn begin(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

type Ready = (OwnedFd, SocketAddr, Option<io::Error>);

/// The first socket whose connection has succeeded or failed, removed from the race.
fn first_ready(racing: &mut Vec<(OwnedFd, SocketAddr)>, patience: Duration) -> io::Result<Option<Ready>> {
    let mut polled: Vec<PollFd> = racing.iter().map(|(socket, _)| PollFd::new(socket, PollFlags::OUT)).collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let Some(n) = polled.iter().position(|one| !one.revents().is_empty()) else { return Ok(None) };
    let (socket, address) = racing.swap_remove(n);
    let error = sockopt::socket_error(&socket)?.err();
    Ok(Some((socket, address, error.map(Into::into))))
}

fn blocking(socket: OwnedFd) -> io::Result<TcpStream> {
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A TCP connection.
pub struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    idle: Duration,
    /// The current timeouts of the socket.
    timeouts: (Option<Duration>, Option<Duration>),
    /// Bytes sent since something was last received, and since when.
    sent: u64,
    sending_since: Option<Instant>,
    sending_took: Duration,
}

impl Tcp {
    fn new(stream: TcpStream, buffers: LazyBuffers, idle: Duration) -> Self {
        Self {
            stream,
            buffers,
            idle,
            timeouts: (None, None),
            sent: 0,
            sending_since: None,
            sending_took: Duration::ZERO,
        }
    }

    /// Additional time for bytes that may still be in buffers on the way.
    fn allowance(&self) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "bytes of a payload")]
        let sent = self.sent as f64;
        let took = self.sending_took.as_secs_f64();
        let seen = if took > 1.0 { sent / took } else { f64::INFINITY };
        Duration::from_secs_f64((sent / seen.clamp(1.0, SLOW_LINE)).min(3600.0))
    }
}

/// How long to wait now, and which timeout expires then.
fn patience(
    timeout: NextTimeout,
    begun: Instant,
    idle: Duration,
    of_idle: Timeout,
) -> Result<(Duration, Timeout), Error> {
    let left = timeout.after.saturating_sub(begun.elapsed());
    if left.is_zero() {
        return Err(Error::Timeout(timeout.reason));
    }
    Ok(if idle < left { (idle, of_idle) } else { (left, timeout.reason) })
}

fn is_over(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let begun = Instant::now();
        let since = *self.sending_since.get_or_insert(begun);
        let mut at = 0;
        while at < amount {
            let (wait, reason) = patience(timeout, begun, self.idle, Timeout::PerWrite)?;
            if self.timeouts.0 != Some(wait) {
                self.stream.set_write_timeout(Some(wait))?;
                self.timeouts.0 = Some(wait);
            }
            match self.stream.write(&self.buffers.output()[at..amount]) {
                Ok(0) => return Err(Error::Io(ErrorKind::WriteZero.into())),
                Ok(count) => {
                    at += count;
                    self.sent += count as u64;
                    self.sending_took = since.elapsed();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_over(&error) => return Err(Error::Timeout(reason)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let begun = Instant::now();
        let idle = self.idle + self.allowance();
        let input = self.buffers.input_append_buf();
        let count = loop {
            if course::is_only_looking() {
                break recv(&self.stream, &mut *input, RecvFlags::DONTWAIT).map_err(io::Error::from)?.0;
            }
            let (wait, reason) = patience(timeout, begun, idle.saturating_sub(begun.elapsed()), Timeout::PerRead)?;
            if wait.is_zero() {
                return Err(Error::Timeout(reason));
            }
            if self.timeouts.1 != Some(wait) {
                self.stream.set_read_timeout(Some(wait))?;
                self.timeouts.1 = Some(wait);
            }
            match self.stream.read(input) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_over(&error) => return Err(Error::Timeout(reason)),
                Err(error) => return Err(error.into()),
            }
        };
        self.buffers.input_appended(count);
        if count > 0 {
            (self.sent, self.sending_since, self.sending_took) = (0, None, Duration::ZERO);
        }
        Ok(count > 0)
    }

    /// Returns whether nothing has arrived, not even the end of the connection.
    fn is_open(&mut self) -> bool {
        let looked = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.buffers.input().is_empty() && matches!(looked, Err(Errno::AGAIN))
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").field("peer", &self.stream.peer_addr().ok()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_has_worked_is_tried_first_and_families_take_turns() {
        let (a6, b6, c6) = (address("[fd00::1]:1"), address("[fd00::2]:1"), address("[fd00::3]:1"));
        let (a4, b4) = (address("10.0.0.1:1"), address("10.0.0.2:1"));
        let all = [a6, b6, c6, a4, b4];
        let proven = Proven::default();
        assert_eq!(proven.order(&all), (vec![a6, a4, b6, b4, c6], false));
        proven.worked(b4, &all);
        assert_eq!(proven.order(&all), (vec![b4, a6, a4, b6, c6], true));
        proven.worked(a4, &all);
        assert_eq!(proven.order(&all).0[0], a4);
        proven.failed(&all);
        assert_eq!(proven.order(&all).0[0], a6);
    }

    /// An address that does not respond delays no connection to a working one; here the connection queue of the
    /// first is full.
    #[test]
    fn a_dead_address_costs_a_moment_and_not_the_time_out() {
        let dead = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
        rustix::net::bind(&dead, &address("127.0.0.1:0")).expect("a port");
        rustix::net::listen(&dead, 0).expect("it listens");
        let silent: SocketAddr =
            TcpListener::from(dead.try_clone().expect("a descriptor")).local_addr().expect("bound");
        let _filling: Vec<OwnedFd> = (0..8).map(|_| begin(silent).expect("a connection begins")).collect();
        let alive = TcpListener::bind("127.0.0.1:0").expect("a port");
        let alive_at = alive.local_addr().expect("bound");
        let (_, found) = race(&[silent, alive_at], false, Duration::from_secs(60)).expect("one works");
        assert_eq!(found, alive_at);
    }

    #[test]
    fn a_refusal_is_told_when_no_address_is_left() {
        let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let error = race(&[gone], true, Duration::from_secs(60)).expect_err("no listener").expect("a reason");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

//! The load: one thread with epoll, `clients` connections with `in_flight` requests each. A client
//! sends the next request when a reply has arrived (a closed loop), so a server never gets more
//! than the cell says.
//!
//! The sockets block on writes: the requests in flight fit into them, and no server here waits for the client.

use crate::histogram::Histogram;
use crate::protocol::{Replies, Requests};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A server that sends nothing for this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The size of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Clients that send.
    pub(crate) clients: usize,
    /// Requests in flight per client.
    pub(crate) in_flight: usize,
}

/// When it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After this time; replies to requests in flight are still awaited.
    Elapsed(Duration),
    /// After this many records.
    Records(u64),
}

/// The result of a load.
#[derive(Clone, Default)]
pub(crate) struct Driven {
    /// Acknowledgements.
    pub(crate) acked: u64,
    /// From the first request to the last reply.
    pub(crate) took: Duration,
    /// From a request to its reply.
    pub(crate) latency: Histogram,
}

impl Driven {
    pub(crate) fn rate(&self) -> f64 {
        self.acked as f64 / self.took.as_secs_f64()
    }
}

struct Client {
    stream: UnixStream,
    replies: Replies,
    /// When requests in flight were sent, and how many at that moment.
    sent: VecDeque<(Instant, u64)>,
}

/// Numbers of records continue from `next`.
pub(crate) fn drive(
    socket: &Path,
    requests: &Requests,
    load: Load,
    until: Until,
    next: &mut u64,
) -> Result<Driven, String> {
    let fails = |doing: &str, error: &dyn std::fmt::Display| format!("{doing} {}: {error}", socket.display());
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| fails("epoll for", &error))?;
    let mut clients = Vec::with_capacity(load.clients);
    for token in 0..load.clients {
        let stream = UnixStream::connect(socket).map_err(|error| fails("connecting to", &error))?;
        let data = epoll::EventData::new_u64(token as u64);
        epoll::add(&epoll, &stream, data, epoll::EventFlags::IN).map_err(|error| fails("watching", &error))?;
        clients.push(Client { stream, replies: requests.replies(), sent: VecDeque::new() });
    }
    let mut run =
        Run { requests, until, begun: Instant::now(), given: 0, next, out: Vec::new(), done: Driven::default() };
    for client in &mut clients {
        let now = Instant::now();
        run.send(client, load.in_flight as u64, now).map_err(|error| fails("sending to", &error))?;
    }
    let mut buffer = vec![0; 256 << 10];
    let mut events = Vec::with_capacity(256);
    while run.done.acked < run.given {
        wait(&epoll, &mut events).map_err(|error| fails("waiting for", &error))?;
        for event in &events {
            // The kernel's struct is packed; its field is copied out.
            let data = event.data;
            let client = &mut clients[usize::try_from(data.u64()).expect("a token is a client's place")];
            run.take(client, &mut buffer)?;
        }
    }
    run.done.took = run.begun.elapsed();
    Ok(run.done)
}

fn wait(epoll: &OwnedFd, events: &mut Vec<epoll::Event>) -> Result<(), String> {
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    events.clear();
    loop {
        match epoll::wait(epoll, spare_capacity(events), Some(&patience)) {
            // The process was stopped for a moment.
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
            Ok(_) => break,
        }
    }
    if events.is_empty() { Err(format!("no answer for {PATIENCE:?}")) } else { Ok(()) }
}

struct Run<'a> {
    requests: &'a Requests,
    until: Until,
    begun: Instant,
    /// Requests sent.
    given: u64,
    next: &'a mut u64,
    out: Vec<u8>,
    done: Driven,
}

impl Run<'_> {
    /// Sends `count` requests, fewer where the end is near.
    fn send(&mut self, client: &mut Client, count: u64, now: Instant) -> std::io::Result<()> {
        let count = match self.until {
            Until::Elapsed(time) if now - self.begun >= time => 0,
            Until::Elapsed(_) => count,
            Until::Records(records) => count.min(records - self.given),
        };
        if count == 0 {
            return Ok(());
        }
        self.out.clear();
        for _ in 0..count {
            self.requests.put(&mut self.out, *self.next);
            *self.next += 1;
        }
        self.given += count;
        client.sent.push_back((now, count));
        client.stream.write_all(&self.out)
    }

    /// Reads the data that arrived for a client, and sends as many requests as there were replies.
    fn take(&mut self, client: &mut Client, buffer: &mut [u8]) -> Result<(), String> {
        let read = client.stream.read(buffer).map_err(|error| format!("reading: {error}"))?;
        if read == 0 {
            return Err("the server closed the connection".to_owned());
        }
        let answers = client.replies.count(&buffer[..read])? as u64;
        let now = Instant::now();
        let mut left = answers;
        while left > 0 {
            let (at, count) = client.sent.front_mut().ok_or("more answers than requests")?;
            let these = left.min(*count);
            self.done.latency.add(now - *at, these);
            *count -= these;
            left -= these;
            if *count == 0 {
                client.sent.pop_front();
            }
        }
        self.done.acked += answers;
        self.send(client, answers, now).map_err(|error| format!("sending: {error}"))
    }
}

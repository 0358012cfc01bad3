//! The client side of the protocol: one connection, request lines out, reply lines back.
//!
//! No command waits forever. A connection begins with `hello`, because systemd accepts connections for an agent that
//! cannot start. The reply to it may take [`RESTART_TIMEOUT`] where failures are recorded, because the agent may just be
//! restarting ([`Client::connect_patiently`]). Other replies may take [`REPLY_TIMEOUT`]; a request that can take longer ([`Client::call_long`]) waits as
//! long as the agent answers `hello` on a second connection.
//!
//! An agent that stops closes its connections, perhaps between `hello` and the request. A request that it has certainly not
//! read is sent once more on a new connection; others are sent again only by commands that know that this is safe.

use super::{Failure, unreachable};
use crate::io::clock::since_boot;
use crate::limits::{REPLY_TIMEOUT, RESTART_TIMEOUT};
use crate::text::connection as text;
use crate::wire::request::Socket;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Time limit for the kernel to accept a connection: the listener's backlog can be full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The request that each connection begins with.
const HELLO: &[u8] = b"{\"op\":\"hello\"}";

/// A connection to one of the agent's sockets.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    socket: Socket,
    stream: BufReader<UnixStream>,
    /// Time limit for the reply to `hello`, also on a new connection.
    patience: Duration,
    ending: Option<Ending>,
}

/// How the agent's side of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was closed with unread data: the last line was not read whole, so it was not carried out.
    Unread,
    /// It was closed after everything was read: the last line may have been carried out.
    Closed,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NoAgent {
    /// No process listens: the agent is not running.
    NotRunning(String),
    /// This user may not use the socket.
    Forbidden(String),
    /// The socket accepts connections, but no agent answers.
    Silent(String),
}

impl NoAgent {
    /// The reason and the remedy.
    #[must_use]
    pub fn into_text(self) -> String {
        match self {
            Self::NotRunning(text) | Self::Forbidden(text) | Self::Silent(text) => text,
        }
    }
}

impl From<NoAgent> for Failure {
    fn from(no: NoAgent) -> Self {
        Self::Unreachable(no.into_text())
    }
}

impl Client {
    /// Connects, and checks that an agent answers.
    pub fn connect(path: &Path, socket: Socket) -> Result<Self, NoAgent> {
        Self::connect_within(REPLY_TIMEOUT, path, socket)
    }

    /// The same, but waits for an agent that is restarting.
    pub fn connect_patiently(path: &Path, socket: Socket) -> Result<Self, NoAgent> {
        Self::connect_within(RESTART_TIMEOUT, path, socket)
    }

    fn connect_within(patience: Duration, path: &Path, socket: Socket) -> Result<Self, NoAgent> {
        let mut client = Self::open(patience, path, socket)?;
        client.greet()?;
        Ok(client)
    }

    /// Connects only.
    fn open(patience: Duration, path: &Path, socket: Socket) -> Result<Self, NoAgent> {
        match stream(path) {
            Ok(stream) => {
                let (path, stream) = (path.to_owned(), BufReader::new(stream));
                let client = Self { path, socket, stream, patience, ending: None };
                client.limit(patience).map_err(|failure| NoAgent::NotRunning(failure.to_string()))?;
                Ok(client)
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(NoAgent::Forbidden(unreachable::forbidden(path, socket)))
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                Err(NoAgent::Silent(unreachable::silent(path, CONNECT_TIMEOUT)))
            }
            Err(error) => Err(NoAgent::NotRunning(unreachable::not_running(path, &error))),
        }
    }

    /// Checks that the listener is resyncd.
    fn greet(&mut self) -> Result<(), NoAgent> {
        let (path, waited) = (self.path.clone(), self.patience);
        let silent = |_| NoAgent::Silent(unreachable::silent(&path, waited));
        let line = self.send(HELLO).and_then(|()| self.receive()).map_err(silent)?;
        let reply: Value = serde_json::from_slice(&line).unwrap_or_default();
        // An agent without a free connection answers with an error instead of `hello`.
        if reply["name"] == "resyncd" || reply["error"]["code"].is_string() {
            return self.limit(REPLY_TIMEOUT).map_err(|failure| NoAgent::NotRunning(failure.to_string()));
        }
        Err(NoAgent::NotRunning(text::another_program(path.display())))
    }

    /// Sets the time limit for a reply.
    fn limit(&self, time: Duration) -> Result<(), Failure> {
        let stream = self.stream.get_ref();
        let set = stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time)));
        set.map_err(|error| self.lost(&error.to_string()))
    }

    /// Sends a request line.
    pub fn send(&mut self, line: &[u8]) -> Result<(), Failure> {
        let stream = self.stream.get_mut();
        let sent = stream.write_all(line).and_then(|()| stream.write_all(b"\n"));
        sent.map_err(|error| self.broken(&error))
    }

    /// How the agent has ended the connection; `None`: it has not, as far as is known.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Sends many requests without waiting.
    pub fn send_all(&mut self, lines: &[Vec<u8>]) -> Result<(), Failure> {
        let mut all = Vec::new();
        for line in lines {
            all.extend_from_slice(line);
            all.push(b'\n');
        }
        self.stream.get_mut().write_all(&all).map_err(|error| self.broken(&error))
    }

    /// Receives a reply line, without its newline.
    pub fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        self.receive_into(&mut line)?
            .map_or_else(|| Err(self.lost(&text::no_reply_within(REPLY_TIMEOUT.as_secs()))), |()| Ok(line))
    }

    /// Reads the rest of a line; `None` if it did not come within the time limit.
    fn receive_into(&mut self, line: &mut Vec<u8>) -> Result<Option<()>, Failure> {
        match self.stream.read_until(b'\n', line) {
            Ok(0) => {
                self.ending = Some(Ending::Closed);
                Err(self.lost(text::closed()))
            }
            Ok(_) => {
                line.truncate(line.trim_ascii_end().len());
                Ok(Some(()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Sends one request and receives its reply.
    pub fn call(&mut self, request: &Value) -> Result<Vec<u8>, Failure> {
        let request = request.to_string();
        self.again_if_unread(|client| {
            client.send(request.as_bytes())?;
            client.receive()
        })
    }

    /// Does this once more on a new connection if the agent has certainly not read its request.
    fn again_if_unread<T>(&mut self, work: impl Fn(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        let done = work(self);
        if done.is_ok() || self.ending != Some(Ending::Unread) {
            return done;
        }
        *self = Self::connect_within(self.patience, &self.path, self.socket)?;
        work(self)
    }

    /// Like [`call`](Self::call), for a request that may take longer than a reply may: waits as long as the agent
    /// answers other requests, and shows progress on a terminal.
    pub fn call_long(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        self.again_if_unread(|client| client.wait_long(request))
    }

    fn wait_long(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let begun = since_boot();
        self.send(request)?;
        let (mut line, mut told) = (Vec::new(), false);
        loop {
            if self.receive_into(&mut line)?.is_some() {
                if told {
                    eprintln!();
                }
                return Ok(line);
            }
            drop(Self::connect(&self.path, self.socket)?);
            if io::stderr().is_terminal() {
                eprint!("\r{}", text::working(since_boot().saturating_sub(begun).as_secs()));
                told = true;
            }
        }
    }

    fn broken(&mut self, error: &io::Error) -> Failure {
        if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
            self.ending = Some(Ending::Unread);
        }
        self.lost(&error.to_string())
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::Unreachable(text::did_not_answer(self.path.display(), why))
    }
}

/// Connects a stream. With a full backlog, a plain `connect` would wait without limit.
fn stream(path: &Path) -> io::Result<UnixStream> {
    /// Delay before the next attempt with a full backlog.
    const RETRY: Duration = Duration::from_millis(20);
    let begun = since_boot();
    let address = SocketAddrUnix::new(path)?;
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(Errno::AGAIN) if since_boot().saturating_sub(begun) < CONNECT_TIMEOUT => thread::sleep(RETRY),
            Err(Errno::AGAIN) => return Err(io::Error::from(ErrorKind::TimedOut)),
            Err(error) => return Err(error.into()),
        }
    }
}

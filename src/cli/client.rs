//! Speaks to the agent: one connection, request lines out, reply lines back.

use super::Failure;
use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A connection to one of the agent's sockets.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NoAgent {
    /// Nobody listens: it does not run.
    NotRunning(String),
    /// It may be there, but not for this user.
    Forbidden(String),
}

impl From<NoAgent> for Failure {
    fn from(no: NoAgent) -> Self {
        match no {
            NoAgent::NotRunning(text) | NoAgent::Forbidden(text) => Self::Unreachable(text),
        }
    }
}

/// Which socket, for the remedy when it is closed to this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// For applications.
    App,
    /// For root and the agent's user.
    Admin,
}

impl Client {
    /// Connects.
    pub fn connect(path: &Path, door: Door) -> Result<Self, NoAgent> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) }),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let remedy = match door {
                    Door::App => "add your user to the socket's group (usermod -aG resyncd NAME) and log in again",
                    Door::Admin => "use sudo",
                };
                Err(NoAgent::Forbidden(format!("no permission for {}: {remedy}", path.display())))
            }
            Err(error) => Err(NoAgent::NotRunning(format!(
                "no agent answers at {} ({error}). Start it: systemctl start resyncd, or: resyncd run",
                path.display()
            ))),
        }
    }

    /// How long to wait for it; without this, as long as it takes.
    pub fn patience(&self, time: Duration) -> Result<(), Failure> {
        let stream = self.stream.get_ref();
        let set = stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time)));
        set.map_err(|error| self.lost(&error.to_string()))
    }

    /// Sends a request.
    pub fn send(&mut self, line: &[u8]) -> Result<(), Failure> {
        let stream = self.stream.get_mut();
        let sent = stream.write_all(line).and_then(|()| stream.write_all(b"\n"));
        sent.map_err(|error| self.lost(&error.to_string()))
    }

    /// Sends many requests without waiting.
    pub fn send_all(&mut self, lines: &[Vec<u8>]) -> Result<(), Failure> {
        let mut all = Vec::new();
        for line in lines {
            all.extend_from_slice(line);
            all.push(b'\n');
        }
        self.stream.get_mut().write_all(&all).map_err(|error| self.lost(&error.to_string()))
    }

    /// Receives a reply line, without its end.
    pub fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => Err(self.lost("it closed the connection")),
            Ok(_) => {
                line.truncate(line.trim_ascii_end().len());
                Ok(line)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(self.lost("no answer came in time")),
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    /// One request, one reply.
    pub fn call(&mut self, request: &Value) -> Result<Vec<u8>, Failure> {
        self.send(request.to_string().as_bytes())?;
        self.receive()
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::Unreachable(format!("the agent at {} did not answer: {why}", self.path.display()))
    }
}

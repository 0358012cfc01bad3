//! A client of the socket protocol, as an application in any language would write it; it can also
//! misbehave.

use super::PATIENCE;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    replies: BufReader<UnixStream>,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(path: PathBuf) -> Self {
        Self::try_connect(path).expect("the agent's socket takes a connection")
    }

    /// `None` when no process listens.
    pub(crate) fn try_connect(path: PathBuf) -> Option<Self> {
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out is set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out is set");
        let replies = BufReader::new(stream.try_clone().expect("a descriptor"));
        Some(Self { stream, replies })
    }

    /// Sends bytes unchanged.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the agent reads");
    }

    /// Sends bytes; the agent may close the connection before it has read them all.
    pub(crate) fn send_what_it_takes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes that the agent does not read fail after this time.
    pub(crate) fn write_timeout(&self, time: Duration) {
        self.stream.set_write_timeout(Some(time)).expect("a time-out is set");
    }

    /// Sends one line.
    #[track_caller]
    pub(crate) fn line(&mut self, line: &str) {
        self.send(format!("{line}\n"));
    }

    /// Closes the sending direction; replies can still be read.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// The next reply's text without its line end; `None` at the end of the connection.
    #[track_caller]
    pub(crate) fn text(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.replies.read_line(&mut line) {
            Ok(0) => None,
            // Closed with unread data: the end, too.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("reading a reply: {error}"),
            Ok(_) => Some(line.strip_suffix('\n').expect("a reply is a whole line").to_owned()),
        }
    }

    /// The next reply.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Value {
        let text = self.text().expect("a reply, not the end of the connection");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("a reply is JSON: {error}: {text}"))
    }

    /// Whether a reply has arrived.
    pub(crate) fn has_reply(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a mode is set");
        let come = self.replies.fill_buf().is_ok();
        self.stream.set_nonblocking(false).expect("a mode is set");
        come
    }

    /// All replies until the end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.text())
            .map(|text| serde_json::from_str(&text).unwrap_or_else(|error| panic!("a reply is JSON: {error}: {text}")))
            .collect()
    }

    /// Reads until the agent has closed the connection.
    #[track_caller]
    pub(crate) fn rest_until_closed(&mut self) {
        match io::copy(&mut self.replies, &mut io::sink()) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("reading to the end: {error}"),
            _ => {}
        }
    }

    /// Sends a request and reads its reply.
    #[track_caller]
    pub(crate) fn call(&mut self, request: &Value) -> Value {
        self.line(&request.to_string());
        self.reply()
    }

    /// As [`call`](Self::call), but the agent may die meanwhile: `None` then.
    pub(crate) fn try_call(&mut self, request: &Value) -> Option<Value> {
        self.stream.write_all(format!("{request}\n").as_bytes()).ok()?;
        let mut line = String::new();
        self.replies.read_line(&mut line).ok()?;
        serde_json::from_str(line.strip_suffix('\n')?).ok()
    }
}

//! One client: what it has sent and was not handed on, what it has to get and has not read.
//!
//! Framing is here: lines end at byte 0x0A, and only there. What a line says is not asked.

use crate::agent::Peer;
use crate::io::poller::Interest;
use crate::limits::MAX_UNREAD;
use crate::moment::AgentTime;
use crate::wire::request::Socket;
use memchr::memchr;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::ops::Range;

/// See the module.
#[derive(Debug)]
pub struct Conn {
    fd: OwnedFd,
    /// Which socket it came through.
    pub socket: Socket,
    /// Who it is.
    pub peer: Peer,
    input: Vec<u8>,
    /// So much of the input has no line end in it.
    scanned: usize,
    output: Vec<u8>,
    written: usize,
    /// When the line began that is not complete.
    pub line_since: Option<AgentTime>,
    /// What the poller waits for.
    pub interest: Interest,
    /// Since when it has too much unread.
    pub unread_since: Option<AgentTime>,
    /// When it last sent something.
    pub last_heard: AgentTime,
    /// Lines of it that were handed on and are not answered yet.
    pub owed: usize,
    /// The last of them is a question for the reader, or a long operation: the next line has to wait
    /// until all are answered.
    pub waiting: bool,
    /// It will send nothing more.
    pub ended: bool,
    /// What it gets last; then it is closed.
    pub farewell: Option<Vec<u8>>,
    /// It is closed when it has read everything.
    pub closing: bool,
    /// Nothing can be sent or read any more.
    pub broken: bool,
}

/// What one reading brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes.
    Bytes(usize),
    /// The end.
    End,
    /// Nothing just now.
    Nothing,
}

impl Conn {
    /// A client that has just connected.
    #[must_use]
    pub fn new(fd: OwnedFd, socket: Socket, peer: Peer, now: AgentTime) -> Self {
        Self {
            fd,
            socket,
            peer,
            input: Vec::new(),
            scanned: 0,
            output: Vec::new(),
            written: 0,
            line_since: None,
            interest: Interest { read: true, write: false },
            unread_since: None,
            last_heard: now,
            owed: 0,
            waiting: false,
            ended: false,
            farewell: None,
            closing: false,
            broken: false,
        }
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> impl AsFd + '_ {
        self.fd.as_fd()
    }

    /// Bytes that it holds in memory.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.len() + self.output.len() - self.written
    }

    /// Bytes of an incomplete line, and of lines that wait.
    #[must_use]
    pub fn unhandled(&self) -> usize {
        self.input.len()
    }

    /// Bytes that it has not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.output.len() - self.written
    }

    /// May more be read from it now?
    #[must_use]
    pub fn reads(&self) -> bool {
        !self.ended && !self.waiting && !self.closing && self.unread() <= MAX_UNREAD
    }

    /// Is nothing of it under way?
    #[must_use]
    pub fn idle(&self) -> bool {
        self.owed == 0 && self.input.is_empty() && self.unread() == 0
    }

    /// Reads what is there, at most `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Got {
        match recv(&self.fd, buffer, RecvFlags::empty()) {
            Ok((0, _)) => {
                self.ended = true;
                Got::End
            }
            Ok((count, _)) => Got::Bytes(count),
            Err(Errno::AGAIN | Errno::INTR) => Got::Nothing,
            Err(_) => {
                self.broken = true;
                Got::End
            }
        }
    }

    /// Takes the input out, and how much of it has no line end in it.
    pub fn take_input(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.input), std::mem::take(&mut self.scanned))
    }

    /// Keeps what was not handed on; `lines_wait` when there are complete lines in it.
    pub fn keep_input(&mut self, input: Vec<u8>, lines_wait: bool) {
        self.scanned = if lines_wait { 0 } else { input.len() };
        // A buffer that one long line made large is not kept.
        self.input = if input.is_empty() { Vec::new() } else { input };
    }

    /// Adds a reply.
    pub fn reply(&mut self, line: &[u8]) {
        if !self.broken {
            self.output.extend_from_slice(line);
        }
    }

    /// Sends what the client takes.
    pub fn flush(&mut self) {
        while self.written < self.output.len() && !self.broken {
            match send(&self.fd, &self.output[self.written..], SendFlags::NOSIGNAL) {
                Ok(count) => self.written += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => self.broken = true,
            }
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
            if self.output.capacity() > 64 << 10 {
                self.output = Vec::new();
            }
        }
    }
}

/// The next line in `input[from..]`, looked for from `scan` on: the line without its end, and where
/// the one behind it begins.
#[must_use]
pub fn next_line(input: &[u8], from: usize, scan: usize) -> Option<(Range<usize>, usize)> {
    let start = scan.max(from);
    let end = start + memchr(b'\n', &input[start..])?;
    let text_end = if end > from && input[end - 1] == b'\r' { end - 1 } else { end };
    Some((from..text_end, end + 1))
}

#[cfg(test)]
mod tests {
    use super::next_line;

    #[test]
    fn lines_end_at_line_feeds_only() {
        let input = b"one\r\ntwo\rx\n\nrest";
        let mut lines = Vec::new();
        let mut from = 0;
        while let Some((line, next)) = next_line(input, from, 0) {
            lines.push(std::str::from_utf8(&input[line]).expect("ASCII"));
            from = next;
        }
        assert_eq!(lines, ["one", "two\rx", ""]);
        assert_eq!(&input[from..], b"rest");
    }
}

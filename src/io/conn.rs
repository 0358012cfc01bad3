//! One client: received bytes that are not processed yet, and replies that it has not read yet.
//!
//! This is where lines are framed: a line ends at byte 0x0A, and only there. Its content is not interpreted.

use super::pieces::Pieces;
use crate::agent::Peer;
use crate::io::poller::Interest;
use crate::limits::{CLOSING_PATIENCE, LINE_TIMEOUT, MAX_UNREAD, UNREAD_TIMEOUT};
use crate::moment::AgentTime;
use crate::wire::request::Socket;
use memchr::memchr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use std::ops::Range;

/// See the module.
#[derive(Debug)]
pub struct Conn {
    fd: OwnedFd,
    /// The socket that it is connected to.
    pub socket: Socket,
    /// The process at the other end.
    pub peer: Peer,
    input: Pieces,
    /// Length of the input that was searched for a line end.
    scanned: usize,
    output: Pieces,
    /// When the line began that is not complete.
    pub line_since: Option<AgentTime>,
    /// What the poller waits for.
    pub interest: Interest,
    /// Since when more than [`MAX_UNREAD`] bytes are unread.
    pub unread_since: Option<AgentTime>,
    /// Since when replies are unread without progress.
    pub stuck_since: Option<AgentTime>,
    /// When it last sent data.
    pub last_heard: AgentTime,
    /// Lines that were processed but not answered yet.
    pub owed: usize,
    /// The last of them is a query for the reader, or a long operation: the next line has to wait until all are
    /// answered.
    pub waiting: bool,
    /// Length of the line whose reply it waits for, counted as memory because up to this much is kept until then.
    pub asked: usize,
    /// What was last counted of its memory.
    pub counted: usize,
    /// It waits for its turn: to be read, or with lines that were read already.
    pub in_turn: bool,
    /// The input contains complete lines.
    pub lines_wait: bool,
    /// It will send nothing more.
    pub ended: bool,
    /// The last reply; then it is closed.
    pub farewell: Option<Vec<u8>>,
    /// Since when it is kept only to read the remaining replies.
    pub closing_since: Option<AgentTime>,
    /// It no longer reads replies; lines that it has sent are still processed.
    deaf: bool,
    /// Nothing can be sent or received any more.
    pub broken: bool,
    /// The deadline under which it is registered; at most its own, possibly earlier.
    pub retry_columns: Option<AgentTime>,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// Number of bytes read.
    Bytes(usize),
    /// The end of the stream.
    End,
    /// No data yet.
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
            input: Pieces::default(),
            scanned: 0,
            output: Pieces::default(),
            line_since: None,
            interest: Interest { read: true, write: false },
            unread_since: None,
            stuck_since: None,
            last_heard: now,
            owed: 0,
            waiting: false,
            asked: 0,
            counted: 0,
            in_turn: false,
            lines_wait: false,
            ended: false,
            farewell: None,
            closing_since: None,
            deaf: false,
            broken: false,
            retry_columns: None,
        }
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Bytes of memory in use: the capacity of its buffers, not their contents.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.capacity() + self.output.capacity() + self.asked
    }

    /// Bytes of an incomplete line, and of lines that wait.
    #[must_use]
    pub fn unhandled(&self) -> usize {
        self.input.len()
    }

    /// Bytes that it has not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.output.len()
    }

    /// Returns whether more may be read from it now.
    #[must_use]
    pub fn reads(&self) -> bool {
        !self.ended && !self.waiting && !self.in_turn && self.closing_since.is_none() && self.unread() <= MAX_UNREAD
    }

    /// Returns whether lines that were read already may be processed now.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        let closes = self.broken || self.farewell.is_some() || self.closing_since.is_some();
        !self.waiting && !closes && self.unread() <= MAX_UNREAD
    }

    /// Returns whether nothing is in progress.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.owed == 0 && self.input.is_empty() && self.unread() == 0
    }

    /// Reads available bytes, at most the length of `buffer`.
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

    /// The earliest of its timeouts.
    #[must_use]
    pub fn deadline(&self) -> Option<AgentTime> {
        let line = self.line_since.map(|since| since.after(LINE_TIMEOUT));
        let unread = self.unread_since.map(|since| since.after(UNREAD_TIMEOUT));
        let closing = self.closing_since.map(|since| since.after(CLOSING_PATIENCE));
        line.into_iter().chain(unread).chain(closing).min()
    }

    /// Keeps bytes that were not handed on.
    pub fn keep_input(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// Bytes of the input that were handed on. Are there complete lines behind them?
    pub fn handed_on(&mut self, used: usize) -> bool {
        self.input.consume(used);
        self.scanned = self.scanned.saturating_sub(used);
        self.lines_wait = self.first_line().is_some();
        self.lines_wait
    }

    /// Bytes of the first line that waits, with its end.
    fn first_line(&mut self) -> Option<usize> {
        let end = self.input.find(b'\n', self.scanned);
        self.scanned = end.unwrap_or(self.input.len());
        Some(end? + 1)
    }

    /// Copies the input as far as its first line goes, or `most` bytes where that is more. Nothing is copied where no
    /// line is complete.
    pub fn first_lines(&mut self, most: usize, into: &mut Vec<u8>) {
        if let Some(line) = self.first_line() {
            self.input.copy_to(line.max(most), into);
        }
    }

    /// Gives up what it has sent.
    pub fn forget_input(&mut self) {
        self.input.clear();
        (self.scanned, self.lines_wait) = (0, false);
    }

    /// What it has not read takes no more memory than it has to.
    pub fn shrink_output(&mut self) {
        self.output.shrink();
    }

    /// Discards unprocessed input and unread replies.
    pub fn forget(&mut self) {
        self.forget_input();
        self.output.clear();
    }

    /// Queues a reply.
    pub fn reply(&mut self, line: &[u8]) {
        if !self.broken && !self.deaf {
            self.output.push(line);
        }
    }

    /// Sends as much as the client accepts.
    pub fn flush(&mut self, now: AgentTime) {
        let before = self.unread();
        while !self.output.is_empty() {
            let sent = if let Some(bytes) = self.output.whole() {
                send(&self.fd, bytes, SendFlags::NOSIGNAL)
            } else {
                let (slices, mut nothing) = (self.output.slices(), SendAncillaryBuffer::default());
                sendmsg(&self.fd, &slices, &mut nothing, SendFlags::NOSIGNAL)
            };
            match sent {
                Ok(count) => self.output.consume(count),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.deaf = true;
                    self.output.clear();
                }
            }
        }
        if self.unread() == 0 {
            self.stuck_since = None;
        } else if self.unread() < before || self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
    }
}

/// The next line in `input[from..]`: the line without its end, and where the one behind it begins.
#[must_use]
pub fn next_line(input: &[u8], from: usize) -> Option<(Range<usize>, usize)> {
    let end = from + memchr(b'\n', &input[from..])?;
    let text_end = if end > from && input[end - 1] == b'\r' { end - 1 } else { end };
    Some((from..text_end, end + 1))
}

#[cfg(test)]
mod tests {
    use super::{Conn, next_line};
    use crate::agent::Peer;
    use crate::moment::AgentTime;
    use crate::wire::request::Socket;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn connected() -> (Conn, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a mode is set");
        (Conn::new(ours.into(), Socket::App, Peer::default(), AgentTime::ZERO), theirs)
    }

    /// A client that reads slightly more slowly than replies arrive never lets the output run empty.
    #[test]
    fn what_was_sent_is_given_back_although_something_is_always_left() {
        let (mut conn, mut client) = connected();
        let reply = [b'x'; 4096];
        let mut read = vec![0; 64 << 10];
        while conn.unread() < 128 << 10 {
            conn.reply(&reply);
            conn.flush(AgentTime::ZERO);
        }
        for _ in 0..2000 {
            let count = client.read(&mut read).expect("replies are there");
            (0..count.div_ceil(reply.len())).for_each(|_| conn.reply(&reply));
            conn.flush(AgentTime::ZERO);
            assert!(conn.unread() > 0, "the test must never let it run empty");
            let (held, unread) = (conn.buffered(), conn.unread());
            assert!(held <= 4 * unread + (64 << 10), "{held} bytes are held for {unread}");
        }
    }

    #[test]
    fn a_byte_of_input_does_not_keep_a_long_lines_buffer() {
        let (mut conn, _client) = connected();
        let mut line = vec![b'x'; 1 << 20];
        line.extend(b"\n{");
        line.chunks(60 << 10).for_each(|bytes| conn.keep_input(bytes));
        assert!(conn.buffered() <= line.len() + (32 << 10), "{}", conn.buffered());
        assert!(!conn.handed_on(line.len() - 1));
        assert!(conn.buffered() <= 16 << 10, "{} bytes for one", conn.buffered());
    }

    #[test]
    fn lines_that_wait_come_out_whole() {
        let (mut conn, _client) = connected();
        let mut lines = Vec::new();
        conn.keep_input(&vec![b'x'; 70_000]);
        conn.first_lines(10, &mut lines);
        assert!(lines.is_empty(), "no line is complete");
        conn.keep_input(b"\nsecond\nthi");
        conn.first_lines(10, &mut lines);
        assert_eq!((lines.len(), lines.last()), (70_001, Some(&b'\n')));
        assert!(conn.handed_on(lines.len()), "the second one is complete");
        lines.clear();
        conn.first_lines(100, &mut lines);
        assert_eq!(lines, b"second\nthi");
        assert!(!conn.handed_on(7));
        assert_eq!(conn.unhandled(), 3);
    }

    #[test]
    fn nobody_who_reads_is_stuck() {
        let (mut conn, mut client) = connected();
        let at = AgentTime::from_millis;
        while conn.unread() == 0 {
            conn.reply(&[b'x'; 1 << 12]);
            conn.flush(at(5));
        }
        assert_eq!(conn.stuck_since, Some(at(5)));
        conn.flush(at(9));
        assert_eq!(conn.stuck_since, Some(at(5)), "it has read nothing");
        let mut read = vec![0; 1 << 20];
        while conn.unread() > 0 {
            let _ = client.read(&mut read).expect("replies are there");
            conn.flush(at(12));
        }
        assert_eq!(conn.stuck_since, None);
    }

    #[test]
    fn lines_end_at_line_feeds_only() {
        let input = b"one\r\ntwo\rx\n\nrest";
        let mut lines = Vec::new();
        let mut from = 0;
        while let Some((line, next)) = next_line(input, from) {
            lines.push(std::str::from_utf8(&input[line]).expect("ASCII"));
            from = next;
        }
        assert_eq!(lines, ["one", "two\rx", ""]);
        assert_eq!(&input[from..], b"rest");
    }
}

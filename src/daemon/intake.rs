//! What one round accepts: a number of lines and bytes and a period, shared among all clients in turn.
//!
//! A round ends with one commit, and every client with a line in the round waits for it. Without a bound, four
//! clients that send without a pause would fill a round with a quarter of a million records, and the fifth would
//! wait for all of them. So each client gets a share of the round that shrinks with the number of clients, and the
//! rest comes first in the next round.

use super::clients::Consumed;
use crate::agent::{Agent, ClientId, Event, Flow};
use crate::io::clock::since_boot;
use crate::io::conn::{Conn, next_line};
use crate::limits::{LINES_OF_A_TURN, READ_AT_ONCE, ROUND_BYTES, ROUND_LINES, ROUND_TIME, SHORT_LINE};
use crate::moment::Moment;
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply;
use crate::wire::request::Socket;
use std::time::Duration;

/// Bytes of a round that reading a row for a reply counts as, in addition to the line of the request.
const ROW: usize = 16 << 10;
/// The same for a query that is passed on to the reader.
const QUESTION: usize = 4 << 10;
/// The same for an administrator's query, whose reply may contain a whole payload.
const ADMINISTRATORS: usize = 64 << 10;
/// Number of lines between two checks of the clock.
const LINES_A_LOOK: usize = 8;

/// The remaining capacity of a round.
#[derive(Debug)]
pub(super) struct Intake {
    lines: usize,
    bytes: usize,
    /// Its end, since the boot.
    until: Duration,
    /// The share of each client.
    turn: Part,
}

/// An amount of lines and bytes.
#[derive(Clone, Copy, Debug)]
struct Part {
    lines: usize,
    bytes: usize,
}

impl Intake {
    /// Begins a round for this number of clients.
    pub(super) fn begin(clients: usize) -> Self {
        let (most, least) = READ_AT_ONCE;
        let clients = clients.max(1);
        let turn = Part {
            lines: (ROUND_LINES / clients).clamp(1, LINES_OF_A_TURN),
            bytes: (ROUND_BYTES / clients).clamp(least, most),
        };
        Self { lines: ROUND_LINES, bytes: ROUND_BYTES, until: since_boot().saturating_add(ROUND_TIME), turn }
    }

    /// Returns whether the round is full.
    pub(super) fn is_spent(&self) -> bool {
        self.lines == 0 || self.bytes == 0
    }

    /// How much is read from a client at once, where its socket's clients may still have `room` bytes of memory and
    /// so many bytes of a line have come. What does not fit into its turn would only wait in memory.
    ///
    /// Where memory is short, long lines come in slowly, and the client that holds most is closed. A line of usual length is
    /// still read to its end: otherwise all lines would grow alike, and it might be the one that holds most.
    pub(super) fn read_at_once(&self, room: usize, line: usize) -> usize {
        let (most, least) = READ_AT_ONCE;
        match line {
            0 => self.turn.bytes.min(room / 64).clamp(least, most),
            1..SHORT_LINE => most,
            _ => most.min(room / 64).clamp(least, most),
        }
    }

    /// Bytes that a client may have handed on at once.
    pub(super) fn turn_bytes(&self) -> usize {
        self.turn.bytes
    }

    fn took(&mut self, bytes: usize, socket: Socket, flow: Flow) {
        let beside = match (flow, socket) {
            (Flow::Go, _) => 0,
            (Flow::Look, _) => ROW,
            (Flow::Wait, Socket::App) => QUESTION,
            (Flow::Wait, Socket::Admin) => ADMINISTRATORS,
        };
        self.bytes = self.bytes.saturating_sub(bytes + beside);
        self.lines = self.lines.saturating_sub(1);
        if (self.lines.is_multiple_of(LINES_A_LOOK) || bytes >= READ_AT_ONCE.1) && since_boot() >= self.until {
            self.lines = 0;
        }
    }

    /// Hands on the complete lines of `bytes`. What is behind them is a line's beginning.
    pub(super) fn hand_lines(
        &mut self,
        agent: &mut Agent,
        conn: &mut Conn,
        now: Moment,
        client: ClientId,
        bytes: &[u8],
        max_line: usize,
    ) -> Consumed {
        let mut handed = Consumed::default();
        for count in 0.. {
            let Some((line, next)) = next_line(bytes, handed.used) else { break };
            // What it is owed it has had in this round already.
            let turn_is_over = conn.owed.max(count) >= self.turn.lines || handed.used >= self.turn.bytes;
            if turn_is_over || self.is_spent() || handed.wait.is_some() {
                handed.more = true;
                return handed;
            }
            if line.len() > max_line {
                conn.farewell = Some(too_long(max_line));
                return handed;
            }
            handed.used = next;
            let mut flow = Flow::Go;
            if !bytes[line.clone()].trim_ascii().is_empty() {
                conn.owed += 1;
                let event = Event::Line { client, socket: conn.socket, peer: &conn.peer, line: &bytes[line.clone()] };
                flow = agent.handle(now, event);
                handed.wait = (flow == Flow::Wait).then_some(line.len());
            }
            self.took(line.len(), conn.socket, flow);
        }
        handed
    }
}

/// The last reply to a client that is closed for a line that is too long.
pub(super) fn too_long(max_line: usize) -> Vec<u8> {
    reply::error(
        &Rejection::new(Code::LineTooLong, format!("a line has more than {max_line} bytes; the connection is closed")),
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_part_is_the_smaller_the_more_there_are() {
        let part = |clients| Intake::begin(clients).turn;
        assert_eq!((part(0).lines, part(1).lines, part(4).lines), (512, 512, 500));
        assert_eq!((part(500).lines, part(500).bytes), (4, 4096));
        assert_eq!(part(100_000).lines, 1);
    }

    #[test]
    fn a_round_is_spent_by_lines_bytes_or_questions() {
        let mut intake = Intake::begin(1);
        (0..ROUND_LINES).for_each(|_| intake.took(1, Socket::App, Flow::Go));
        assert!(intake.is_spent());
        let mut intake = Intake::begin(1);
        intake.took(ROUND_BYTES, Socket::App, Flow::Go);
        assert!(intake.is_spent());
        let mut intake = Intake::begin(1);
        (0..ROUND_BYTES / ADMINISTRATORS).for_each(|_| intake.took(10, Socket::Admin, Flow::Wait));
        assert!(intake.is_spent());
    }

    #[test]
    fn little_is_read_where_memory_is_short() {
        let intake = Intake::begin(1);
        assert_eq!(intake.read_at_once(16 << 20, 0), 64 << 10);
        assert_eq!(intake.read_at_once(1 << 20, 200 << 10), 16 << 10);
        assert_eq!(intake.read_at_once(0, 200 << 10), 4 << 10);
        assert_eq!(intake.read_at_once(0, 0), 4 << 10);
        assert_eq!(intake.read_at_once(0, 4 << 10), 64 << 10, "a line of usual length is not kept waiting");
    }
}

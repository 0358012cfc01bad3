//! The table of client connections: who is connected, whose turn it is, which are closed.
//!
//! It enforces the limits on clients: number, memory, time for a line, time with unread replies. Only the client
//! that violates a limit is disconnected. The two sockets have separate connections and memory, so that no
//! application can keep an administrator out.

mod admission;

use super::quiet::Quiet;
use super::tokens::FIRST_CLIENT;
use crate::agent::ClientId;
use crate::io::conn::{Conn, Got};
use crate::io::poller::{Interest, Poller};
use crate::limits::{ADMIN_CONNECTIONS, LINGERING, Limits, MAX_ADMIN_BUFFERS, MAX_BUFFERS, MAX_UNREAD, UNREAD_TIMEOUT};
use crate::moment::AgentTime;
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply;
use crate::wire::request::Socket;
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// A client with at most this many bytes of unread replies is still sent the reason for closing.
const LITTLE: usize = 4 << 10;

/// What happened to the bytes that a client had sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Consumed {
    /// Number of bytes in lines that were processed.
    pub(super) used: usize,
    /// Complete lines remain.
    pub(super) more: bool,
    /// The remaining lines wait for a reply to a request of this many bytes.
    pub(super) wait: Option<usize>,
}

/// Usage and limits of the clients of one socket.
#[derive(Debug)]
struct Share {
    connections: usize,
    max_connections: usize,
    buffered: usize,
    max_buffered: usize,
}

/// The table of client connections.
pub(super) struct Clients {
    conns: HashMap<ClientId, Conn>,
    next: u64,
    app: Share,
    admin: Share,
    /// The earliest timeout of each client: at most one entry per client.
    deadlines: BTreeSet<(AgentTime, ClientId)>,
    /// Clients waiting for their turn, in that order; some of them may have been removed.
    turns: VecDeque<ClientId>,
    /// Error replies by code since the last `take_rejected`.
    rejected: BTreeMap<Code, u64>,
    /// Clients with activity in this round.
    touched: BTreeSet<ClientId>,
    /// Until when no connection is accepted, because the system lacks resources for one.
    accepts_at: Option<AgentTime>,
    /// New clients that wait until those have been closed who have gone.
    newcomers: Vec<(OwnedFd, Socket)>,
    /// No client could be closed for a new one at the last attempt.
    none_to_spare: Option<(Socket, AgentTime)>,
    cut_offs: Quiet,
    refusals: Quiet,
}

impl Clients {
    /// Allows as many clients as configured, within the system's limit of descriptors.
    pub(super) fn new(limits: &Limits, descriptors: usize) -> Self {
        let max_connections = admission::applications(limits.max_connections, descriptors);
        let share =
            |max_connections, max_buffered| Share { connections: 0, max_connections, buffered: 0, max_buffered };
        Self {
            conns: HashMap::new(),
            next: FIRST_CLIENT,
            app: share(max_connections, MAX_BUFFERS),
            admin: share(ADMIN_CONNECTIONS, MAX_ADMIN_BUFFERS),
            deadlines: BTreeSet::new(),
            turns: VecDeque::new(),
            rejected: BTreeMap::new(),
            touched: BTreeSet::new(),
            accepts_at: None,
            newcomers: Vec::new(),
            none_to_spare: None,
            cut_offs: Quiet::of("client_cut_off"),
            refusals: Quiet::of("accept_failed"),
        }
    }

    pub(super) fn get_mut(&mut self, client: ClientId) -> Option<&mut Conn> {
        self.conns.get_mut(&client)
    }

    fn share(&mut self, socket: Socket) -> &mut Share {
        match socket {
            Socket::App => &mut self.app,
            Socket::Admin => &mut self.admin,
        }
    }

    /// A client's buffers may have changed. Each knows what was counted of it, so that nothing is counted twice.
    fn count(&mut self, client: ClientId) {
        let Some(conn) = self.conns.get_mut(&client) else { return };
        let (socket, now) = (conn.socket, conn.buffered());
        let counted = std::mem::replace(&mut conn.counted, now);
        let share = self.share(socket);
        share.buffered = share.buffered - counted + now;
    }

    /// Reads from a client into `buffer`, at most its length; the caller processes the bytes.
    pub(super) fn read(&mut self, client: ClientId, buffer: &mut [u8], now: AgentTime) -> usize {
        let Some(conn) = self.conns.get_mut(&client) else { return 0 };
        self.touched.insert(client);
        if !conn.reads() {
            return 0;
        }
        match conn.read(buffer) {
            Got::Bytes(count) => {
                conn.last_heard = now;
                count
            }
            Got::End | Got::Nothing => 0,
        }
    }

    /// Free bytes of the memory for a socket's clients.
    pub(super) fn room(&mut self, socket: Socket) -> usize {
        let share = self.share(socket);
        share.max_buffered.saturating_sub(share.buffered)
    }

    /// Lines were handed on, which has changed what the client holds.
    pub(super) fn account(&mut self, client: ClientId, now: AgentTime, handed: Consumed) {
        let Some(conn) = self.conns.get_mut(&client) else { return };
        (conn.waiting, conn.asked) = (handed.wait.is_some(), handed.wait.unwrap_or(0));
        if handed.more && handed.wait.is_none() {
            self.turns.extend(queued(conn, client));
        }
        if handed.used > 0 {
            conn.line_since = None; // The remaining line began now.
        }
        let incomplete = conn.unhandled() > 0 && !handed.more;
        if incomplete && conn.line_since.is_none() {
            conn.line_since = Some(now);
        }
        let socket = conn.socket;
        self.touched.insert(client);
        self.count(client);
        self.relieve(socket, now);
    }

    /// While too much memory is taken up: closes clients that have not read for long, then the client with the largest buffers.
    /// Among these the ones who do not read go first: their memory is of no use to anybody. Then come those who hold
    /// more than their part for a line that takes long: beside many long lines that never end, the client with the largest buffer may
    /// be the one whose line is about to end.
    fn relieve(&mut self, socket: Socket, now: AgentTime) {
        const NOT_READING: Duration = Duration::from_secs(1);
        let is_over = |clients: &mut Self| clients.room(socket) == 0;
        if !is_over(self) {
            return;
        }
        let stuck = |conn: &Conn, time| conn.stuck_since.is_some_and(|since| now.since(since) >= time);
        let long = self.conns.iter().filter(|(_, conn)| conn.socket == socket && stuck(conn, UNREAD_TIMEOUT));
        for client in long.map(|(client, _)| *client).collect::<Vec<_>>() {
            self.give_up(client, now, "replies stayed unread");
        }
        let part = self.share(socket).max_buffered / self.share(socket).connections.max(1);
        let lingers =
            |conn: &Conn| conn.buffered() > part && conn.line_since.is_some_and(|since| now.since(since) >= LINGERING);
        while is_over(self) {
            // A client that is being closed keeps a small buffer until its last reply is sent.
            let holds = |conn: &Conn| conn.socket == socket && conn.buffered() > 0 && conn.farewell.is_none();
            let holders = self.conns.iter().filter(|(_, conn)| holds(conn));
            let most = holders
                .max_by_key(|(client, conn)| (stuck(conn, NOT_READING), lingers(conn), conn.buffered(), **client));
            let Some((client, _)) = most else { return };
            self.give_up(*client, now, "it held most of the memory for clients");
        }
    }

    /// Frees a client's memory and closes it, with a last reply if it has read the previous ones.
    fn give_up(&mut self, client: ClientId, now: AgentTime, why: &str) {
        let Some(conn) = self.conns.get_mut(&client) else { return };
        if conn.unread() > LITTLE || conn.closing_since.is_some() {
            self.cut_off(client, now, why);
        } else {
            conn.forget_input();
            conn.shrink_output();
            conn.asked = 0;
            conn.farewell = Some(busy("too much is under way; send it again shortly"));
            self.touched.insert(client);
        }
        self.count(client);
    }

    /// Queues a reply of the agent; false if the client has disconnected.
    pub(super) fn reply(&mut self, client: ClientId, line: &[u8], now: AgentTime) -> bool {
        let Some(conn) = self.conns.get_mut(&client) else { return false };
        count_error(&mut self.rejected, line);
        conn.reply(line);
        conn.owed = conn.owed.saturating_sub(1);
        if conn.waiting && conn.owed == 0 {
            (conn.waiting, conn.asked) = (false, 0);
            if conn.unhandled() > 0 {
                self.turns.extend(queued(conn, client));
            }
        }
        let socket = conn.socket;
        self.touched.insert(client);
        self.count(client);
        self.relieve(socket, now);
        true
    }

    /// Number of error replies by code since the last call.
    pub(super) fn take_rejected(&mut self) -> BTreeMap<Code, u64> {
        std::mem::take(&mut self.rejected)
    }

    /// A client has sent data; it is read in its turn.
    pub(super) fn readable(&mut self, client: ClientId) {
        self.touched.insert(client);
        if let Some(conn) = self.conns.get_mut(&client).filter(|conn| conn.reads()) {
            self.turns.extend(queued(conn, client));
        }
    }

    /// The client no longer reads; the requests that it sent before are still processed.
    pub(super) fn hung_up(&mut self, client: ClientId) {
        self.touched.insert(client);
        if let Some(conn) = self.conns.get_mut(&client).filter(|conn| !conn.reads() && !conn.in_turn) {
            conn.broken = true;
        }
    }

    /// Clients that wait for their turn.
    pub(super) fn waiting_turns(&self) -> usize {
        self.turns.len()
    }

    /// Removes the next client from the queue of turns.
    pub(super) fn next_turn(&mut self) -> Option<ClientId> {
        loop {
            let client = self.turns.pop_front()?;
            if let Some(conn) = self.conns.get_mut(&client) {
                conn.in_turn = false;
                self.touched.insert(client);
                return Some(client);
            }
        }
    }

    pub(super) fn touch(&mut self, client: ClientId) {
        self.touched.insert(client);
    }

    /// Sends queued replies and closes finished clients; returns the closed ones.
    pub(super) fn settle(&mut self, poller: &Poller, now: AgentTime) -> Vec<ClientId> {
        let mut closed = Vec::new();
        for client in std::mem::take(&mut self.touched) {
            if !self.settle_one(client, poller, now) {
                self.close(client, poller);
                closed.push(client);
            }
        }
        closed
    }

    /// Returns false if the client is finished or cannot be served any longer.
    fn settle_one(&mut self, client: ClientId, poller: &Poller, now: AgentTime) -> bool {
        let Some(conn) = self.conns.get_mut(&client) else { return true };
        if let Some(line) = conn.farewell.take() {
            count_error(&mut self.rejected, &line);
            conn.reply(&line);
            conn.closing_since = Some(now);
        }
        conn.flush(now);
        if conn.lines_wait && conn.goes_on() {
            self.turns.extend(queued(conn, client));
        }
        let at_end = conn.ended && conn.owed == 0 && !conn.in_turn && !conn.lines_wait;
        let done = conn.unread() == 0 && (conn.closing_since.is_some() || at_end);
        if conn.broken || done {
            return false;
        }
        match conn.unread_since {
            _ if conn.unread() <= MAX_UNREAD => conn.unread_since = None,
            None => conn.unread_since = Some(now),
            Some(_) => {}
        }
        let interest = Interest { read: conn.reads(), write: conn.unread() > 0 };
        let waits_for = std::mem::replace(&mut conn.interest, interest);
        let changed = waits_for == interest || poller.change(conn.fd(), client.0, interest).is_ok();
        if let Some(at) = conn.deadline()
            && conn.retry_columns.is_none_or(|retry_columns| at < retry_columns)
        {
            if let Some(retry_columns) = conn.retry_columns.replace(at) {
                self.deadlines.remove(&(retry_columns, client));
            }
            self.deadlines.insert((at, client));
        }
        self.count(client);
        changed
    }

    /// Cuts off clients that exceed a timeout; they are closed by the next [`settle`](Self::settle).
    pub(super) fn expire(&mut self, now: AgentTime) {
        while let Some(&(at, client)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, client));
            let Some(conn) = self.conns.get_mut(&client) else { continue };
            conn.retry_columns = None;
            let why = match conn.deadline() {
                Some(own) if own <= now && conn.line_since.is_some() => "a line took longer than 30 s",
                Some(own) if own <= now => "replies stayed unread",
                Some(own) => {
                    // It has made progress since, so its timeout is later.
                    conn.retry_columns = Some(own);
                    self.deadlines.insert((own, client));
                    continue;
                }
                None => continue,
            };
            self.cut_off(client, now, why);
        }
        self.cut_offs.tell_rest(now);
        self.refusals.tell_rest(now);
    }

    fn cut_off(&mut self, client: ClientId, now: AgentTime, why: &str) {
        let Some(conn) = self.conns.get_mut(&client) else { return };
        if !conn.broken && self.cut_offs.admits(now) {
            log::info!("event=client_cut_off pid={} uid={} why={why:?}", conn.peer.pid, conn.peer.uid);
        }
        conn.broken = true;
        conn.asked = 0;
        conn.forget();
        self.touched.insert(client);
        self.count(client);
    }

    /// The earliest time at which work is due without an event on a descriptor.
    pub(super) fn deadline(&self) -> Option<AgentTime> {
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(self.accepts_at).min()
    }

    fn close(&mut self, client: ClientId, poller: &Poller) {
        let Some(conn) = self.conns.remove(&client) else { return };
        let share = self.share(conn.socket);
        share.buffered -= conn.counted;
        share.connections -= 1;
        if let Some(retry_columns) = conn.retry_columns {
            self.deadlines.remove(&(retry_columns, client));
        }
        if self.accepts_at.is_some() {
            self.accepts_at = Some(AgentTime::ZERO); // Its descriptor is free for another client.
        }
        // Closing the descriptor is enough, so an error here can be ignored.
        let _ = poller.remove(conn.fd());
    }
}

/// Queues the client, unless it is queued already.
fn queued(conn: &mut Conn, client: ClientId) -> Option<ClientId> {
    (!std::mem::replace(&mut conn.in_turn, true)).then_some(client)
}

fn count_error(rejected: &mut BTreeMap<Code, u64>, line: &[u8]) {
    if let Some(code) = reply::code_of(line) {
        *rejected.entry(code).or_default() += 1;
    }
}

fn busy(why: &str) -> Vec<u8> {
    reply::error(&Rejection::new(Code::Busy, why), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// Clients that read nothing, and others that send long lines, are given up again and again: what is counted is
    /// what is held, and never more than is allowed.
    #[test]
    fn what_is_counted_is_what_is_held() {
        let mut clients = Clients::new(&Limits::default(), 4096);
        let poller = Poller::new().expect("a poller");
        let mut random = fastrand::Rng::with_seed(5);
        let mut others = Vec::new();
        let mut now = AgentTime::ZERO;
        for _ in 0..200 {
            now = now.after(Duration::from_millis(100));
            while clients.conns.len() < 60 {
                let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
                ours.set_nonblocking(true).expect("a mode is set");
                let socket = if random.u8(..4) == 0 { Socket::Admin } else { Socket::App };
                clients.let_in(ours.into(), socket, &poller, now);
                others.push(theirs);
            }
            for client in clients.conns.keys().copied().collect::<Vec<_>>() {
                let bytes = vec![b'x'; random.usize(..200_000)];
                if random.bool() {
                    clients.reply(client, &bytes, now);
                } else if let Some(conn) = clients.get_mut(client).filter(|conn| conn.goes_on()) {
                    conn.keep_input(&bytes);
                    clients.account(
                        client,
                        now,
                        Consumed { wait: random.bool().then_some(70_000), ..Consumed::default() },
                    );
                }
            }
            clients.expire(now);
            clients.settle(&poller, now);
            for socket in [Socket::App, Socket::Admin] {
                let held =
                    clients.conns.values().filter(|conn| conn.socket == socket).map(Conn::buffered).sum::<usize>();
                let share = clients.share(socket);
                assert_eq!(share.buffered, held);
                assert!(held <= share.max_buffered + 2 * LITTLE * 60, "{held} bytes");
            }
        }
    }
}

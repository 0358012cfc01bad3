//! The clients of the loop, all together: who is connected, who is read, who is cut off.
//!
//! What bounds them is here: how many, how much memory, how long a line may take, how long replies
//! may stay unread. Whoever breaks a bound is the one who goes; the others notice nothing.

use crate::agent::ClientId;
use crate::io::conn::{Conn, Got};
use crate::io::listen::Listener;
use crate::io::poller::{Interest, Poller};
use crate::io::system;
use crate::limits::{LINE_PATIENCE, Limits, MAX_BUFFERS, MAX_UNREAD, UNREAD_PATIENCE};
use crate::moment::AgentTime;
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply;
use crate::wire::request::Socket;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Numbers below are the loop's own descriptors.
pub(super) const FIRST_CLIENT: u64 = 16;

/// What became of the bytes that a client had sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    /// So many were lines that were handed on.
    pub(super) used: usize,
    /// There are complete lines behind them.
    pub(super) more: bool,
    /// They have to wait for an answer.
    pub(super) wait: bool,
}

/// See the module.
pub(super) struct Crowd {
    conns: HashMap<ClientId, Conn>,
    next: u64,
    buffered: usize,
    max_connections: usize,
    /// Lines that have begun and are not complete, oldest first.
    lines: VecDeque<(AgentTime, ClientId)>,
    /// Clients that do not read, longest first.
    unread: VecDeque<(AgentTime, ClientId)>,
    /// Clients whose input has lines that wait for their turn.
    more: BTreeSet<ClientId>,
    /// Replies that were errors, since that was asked last.
    rejected: BTreeMap<Code, u64>,
    /// Clients that something happened to in this round.
    touched: BTreeSet<ClientId>,
}

impl Crowd {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            conns: HashMap::new(),
            next: FIRST_CLIENT,
            buffered: 0,
            max_connections: limits.max_connections,
            lines: VecDeque::new(),
            unread: VecDeque::new(),
            more: BTreeSet::new(),
            rejected: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    pub(super) fn get_mut(&mut self, client: ClientId) -> Option<&mut Conn> {
        self.conns.get_mut(&client)
    }

    /// Lets clients in, until none waits.
    pub(super) fn accept(&mut self, listener: &Listener, socket: Socket, poller: &Poller, now: AgentTime) {
        loop {
            let fd = match listener.accept() {
                Ok(fd) => fd,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::MFILE | Errno::NFILE) if self.close_idlest(poller) => continue,
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    log::warn!("event=not_accepted error={:?}", error.to_string());
                    return;
                }
            };
            // The audit asks for names, and applications do nothing that it keeps.
            let peer = match system::peer(&fd, socket == Socket::Admin) {
                Ok(peer) => peer,
                Err(error) => {
                    log::warn!("event=unknown_peer error={:?}", error.to_string());
                    continue;
                }
            };
            let mut conn = Conn::new(fd, socket, peer, now);
            if self.conns.len() >= self.max_connections && !self.close_idlest(poller) {
                let line = busy("all connections are in use");
                count_error(&mut self.rejected, &line);
                conn.reply(&line);
                conn.flush();
                continue;
            }
            let client = ClientId(self.next);
            self.next += 1;
            match poller.add(conn.fd(), client.0, conn.interest) {
                Ok(()) => drop(self.conns.insert(client, conn)),
                Err(error) => log::warn!("event=not_accepted error={:?}", error.to_string()),
            }
        }
    }

    /// Closes the client that has been idle longest; false when none is.
    fn close_idlest(&mut self, poller: &Poller) -> bool {
        let idle = self.conns.iter().filter(|(_, conn)| conn.idle());
        let Some((client, _)) = idle.min_by_key(|(client, conn)| (conn.last_heard, **client)) else { return false };
        let client = *client;
        self.close(client, poller);
        true
    }

    /// Reads from a client into its input; the bytes in `buffer` are to be handed on. None of a client whose
    /// lines wait for their turn.
    pub(super) fn read(&mut self, client: ClientId, buffer: &mut [u8], now: AgentTime) -> usize {
        let Some(conn) = self.conns.get_mut(&client) else { return 0 };
        self.touched.insert(client);
        if !conn.reads() || self.more.contains(&client) {
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

    /// Lines were handed on, which has changed what the client holds; `before` is what it held.
    pub(super) fn account(&mut self, client: ClientId, before: usize, now: AgentTime, handed: Handed) {
        let Some(conn) = self.conns.get_mut(&client) else { return };
        self.buffered = (self.buffered + conn.buffered()).saturating_sub(before);
        if handed.more && !handed.wait {
            self.more.insert(client);
        }
        if handed.used > 0 {
            conn.line_since = None; // Whatever is left began now.
        }
        let incomplete = conn.unhandled() > 0 && !handed.more;
        if incomplete && conn.line_since.is_none() {
            conn.line_since = Some(now);
            self.lines.push_back((now, client));
        }
        if self.buffered > MAX_BUFFERS {
            self.relieve();
        }
    }

    /// Too much is held in memory: whoever holds most of it gives it up.
    fn relieve(&mut self) {
        let Some((client, conn)) = self.conns.iter_mut().max_by_key(|(_, conn)| conn.unhandled()) else { return };
        let before = conn.buffered();
        conn.keep_input(Vec::new(), false);
        conn.farewell = Some(busy("too much is under way; send it again shortly"));
        self.buffered = (self.buffered + conn.buffered()).saturating_sub(before);
        self.more.remove(client);
        self.touched.insert(*client);
    }

    /// Adds a reply of the agent; false when the client has gone.
    pub(super) fn reply(&mut self, client: ClientId, line: &[u8]) -> bool {
        let Some(conn) = self.conns.get_mut(&client) else { return false };
        self.buffered += line.len();
        count_error(&mut self.rejected, line);
        conn.reply(line);
        conn.owed = conn.owed.saturating_sub(1);
        if conn.waiting && conn.owed == 0 {
            conn.waiting = false;
            if conn.unhandled() > 0 {
                self.more.insert(client);
            }
        }
        self.touched.insert(client);
        true
    }

    /// How many replies were errors, by their codes, since this was asked last.
    pub(super) fn take_rejected(&mut self) -> BTreeMap<Code, u64> {
        std::mem::take(&mut self.rejected)
    }

    /// Clients whose next lines can be handed on now.
    pub(super) fn take_more(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.more).into_iter().collect()
    }

    pub(super) fn has_more(&self) -> bool {
        !self.more.is_empty()
    }

    pub(super) fn touch(&mut self, client: ClientId) {
        self.touched.insert(client);
    }

    /// Sends what there is to send, and closes who is done; the closed ones come back.
    pub(super) fn settle(&mut self, poller: &Poller, now: AgentTime) -> Vec<ClientId> {
        let mut closed = Vec::new();
        for client in std::mem::take(&mut self.touched) {
            let Some(conn) = self.conns.get_mut(&client) else { continue };
            if let Some(line) = conn.farewell.take() {
                self.buffered += line.len();
                count_error(&mut self.rejected, &line);
                conn.reply(&line);
                conn.closing = true;
            }
            let before = conn.buffered();
            conn.flush();
            self.buffered = (self.buffered + conn.buffered()).saturating_sub(before);
            let done =
                conn.unread() == 0 && (conn.closing || (conn.ended && conn.owed == 0 && !self.more.contains(&client)));
            if conn.broken || done {
                self.close(client, poller);
                closed.push(client);
                continue;
            }
            if conn.unread() <= MAX_UNREAD {
                conn.unread_since = None;
            } else if conn.unread_since.is_none() {
                conn.unread_since = Some(now);
                self.unread.push_back((now, client));
            }
            let interest = Interest { read: conn.reads() && !self.more.contains(&client), write: conn.unread() > 0 };
            let before = std::mem::replace(&mut conn.interest, interest);
            if before != interest && poller.change(conn.fd(), client.0, interest).is_err() {
                self.close(client, poller);
                closed.push(client);
            }
        }
        closed
    }

    /// Cuts off whoever takes too long; they are closed with the next [`settle`](Self::settle).
    pub(super) fn expire(&mut self, now: AgentTime) {
        while let Some(&(since, client)) = self.lines.front().filter(|(since, _)| since.after(LINE_PATIENCE) <= now) {
            self.lines.pop_front();
            if self.conns.get_mut(&client).is_some_and(|conn| conn.line_since == Some(since)) {
                self.cut_off(client, "a line took longer than 30 s");
            }
        }
        while let Some(&(since, client)) = self.unread.front().filter(|(since, _)| since.after(UNREAD_PATIENCE) <= now)
        {
            self.unread.pop_front();
            if self.conns.get_mut(&client).is_some_and(|conn| conn.unread_since == Some(since)) {
                self.cut_off(client, "replies stayed unread");
            }
        }
    }

    fn cut_off(&mut self, client: ClientId, why: &str) {
        if let Some(conn) = self.conns.get_mut(&client) {
            log::info!("event=client_cut_off pid={} uid={} why={why:?}", conn.peer.pid, conn.peer.uid);
            conn.broken = true;
            self.touched.insert(client);
        }
    }

    /// When somebody's patience ends.
    pub(super) fn deadline(&self) -> Option<AgentTime> {
        let line = self.lines.front().map(|(since, _)| since.after(LINE_PATIENCE));
        let unread = self.unread.front().map(|(since, _)| since.after(UNREAD_PATIENCE));
        line.into_iter().chain(unread).min()
    }

    fn close(&mut self, client: ClientId, poller: &Poller) {
        if let Some(conn) = self.conns.remove(&client) {
            self.buffered = self.buffered.saturating_sub(conn.buffered());
            self.more.remove(&client);
            // Closing the descriptor would do; a failure here has nothing left to fail at.
            let _ = poller.remove(conn.fd());
        }
    }
}

fn count_error(rejected: &mut BTreeMap<Code, u64>, line: &[u8]) {
    if let Some(code) = reply::code_of(line) {
        *rejected.entry(code).or_default() += 1;
    }
}

fn busy(why: &str) -> Vec<u8> {
    reply::error(&Rejection::new(Code::Busy, why), None)
}

//! Accepts clients, and closes others for them if necessary.

use super::{Clients, busy, count_error};
use crate::agent::ClientId;
use crate::io::conn::Conn;
use crate::io::listen::Listener;
use crate::io::poller::{Interest, Poller, hung_up, is_readable};
use crate::io::system;
use crate::limits::{
    ACCEPT_AGAIN, ACCEPTED_AT_ONCE, ACTIVE, ADMIN_CONNECTIONS, HESITATING, OWN_DESCRIPTORS, UNREAD_TIMEOUT,
};
use crate::moment::AgentTime;
use crate::wire::request::Socket;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;

/// Maximum number of connected applications: the configured one, if there are enough descriptors besides those for
/// administrators, files and senders.
pub(super) fn applications(configured: usize, descriptors: usize) -> usize {
    let most = descriptors.saturating_sub(ADMIN_CONNECTIONS + OWN_DESCRIPTORS).max(1);
    if most < configured {
        log::warn!(
            "event=fewer_connections configured={configured} possible={most} message=\"the limit of open files is \
             {descriptors}; raise LimitNOFILE or ulimit -n, or lower limits.max_connections\""
        );
    }
    configured.min(most)
}

impl Clients {
    /// Accepts clients, a limited number at a time, because other clients have to be served as well.
    pub(in crate::daemon) fn accept(
        &mut self,
        listener: &Listener,
        token: u64,
        poller: &Poller,
        now: AgentTime,
    ) -> io::Result<()> {
        let socket = listener.socket();
        for _ in 0..ACCEPTED_AT_ONCE {
            if self.newcomers.iter().any(|(_, waits_for)| *waits_for == socket) {
                return Ok(()); // Others are not let in before.
            }
            match listener.accept() {
                Ok(fd) => self.let_in(fd, socket, poller, now),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return Ok(()),
                // Without a free descriptor the kernel does not say whether a client is pending; none is closed for
                // nobody.
                Err(Errno::MFILE | Errno::NFILE) if !is_readable(listener.as_fd()).unwrap_or(true) => return Ok(()),
                Err(Errno::MFILE | Errno::NFILE) if self.close_one(socket, poller, now) => {}
                Err(error) => {
                    // The poller reports the same pending client again at once.
                    if self.refusals.admits(now) {
                        log::warn!("event=accept_failed error={:?}", error.to_string());
                    }
                    self.accepts_at = Some(now.after(ACCEPT_AGAIN));
                    return poller.change(listener, token, Interest { read: false, write: false });
                }
            }
        }
        Ok(())
    }

    /// Returns whether connections are to be accepted again.
    pub(in crate::daemon) fn accepts_again(&mut self, now: AgentTime) -> bool {
        let again = self.accepts_at.is_some_and(|at| at <= now);
        if again {
            self.accepts_at = None;
        }
        again
    }

    /// Lets those in who had to wait for the end of the round, in which those were closed who had gone.
    pub(in crate::daemon) fn let_newcomers_in(&mut self, poller: &Poller, now: AgentTime) {
        for (fd, socket) in std::mem::take(&mut self.newcomers) {
            self.let_in(fd, socket, poller, now);
        }
    }

    /// Has a client of this socket gone, and is not closed yet? It is in this round, or in the next ones if there is
    /// still something of it to hand on.
    fn one_has_gone(&mut self, socket: Socket) -> bool {
        let own: Vec<ClientId> =
            self.conns.iter().filter(|(_, conn)| conn.socket == socket).map(|(client, _)| *client).collect();
        let gone = match hung_up(own.iter().map(|client| self.conns[client].fd())) {
            Ok(gone) => gone,
            Err(error) => {
                log::debug!("event=not_looked error={:?}", error.to_string());
                return false;
            }
        };
        for &place in &gone {
            self.hung_up(own[place]);
            self.readable(own[place]);
        }
        !gone.is_empty()
    }

    pub(super) fn let_in(&mut self, fd: OwnedFd, socket: Socket, poller: &Poller, now: AgentTime) {
        // The audit asks for names, and applications do nothing that it keeps.
        let peer = match system::peer(&fd, socket == Socket::Admin) {
            Ok(peer) => peer,
            Err(error) => {
                if self.refusals.admits(now) {
                    log::warn!("event=unknown_peer error={:?}", error.to_string());
                }
                return;
            }
        };
        let share = self.share(socket);
        let is_full = share.connections >= share.max_connections;
        if is_full && self.one_has_gone(socket) {
            self.newcomers.push((fd, socket));
            return;
        }
        let mut conn = Conn::new(fd, socket, peer, now);
        if is_full && !self.close_one(socket, poller, now) {
            let line = busy("all connections are in use");
            count_error(&mut self.rejected, &line);
            conn.reply(&line);
            conn.flush(now);
            return;
        }
        let client = ClientId(self.next);
        self.next += 1;
        match poller.add(conn.fd(), client.0, conn.interest) {
            Ok(()) => {
                self.share(socket).connections += 1;
                self.conns.insert(client, conn);
            }
            Err(error) if self.refusals.admits(now) => {
                log::warn!("event=accept_failed error={:?}", error.to_string());
            }
            Err(_) => {}
        }
    }

    /// Closes the client of this socket that is needed least; false if there is none. A client that waits for a
    /// reply or was active recently is never closed. Users with many connections lose them first.
    fn close_one(&mut self, socket: Socket, poller: &Poller, now: AgentTime) -> bool {
        if self.none_to_spare == Some((socket, now)) {
            return false;
        }
        let mut connections: BTreeMap<u32, usize> = BTreeMap::new();
        let own = || self.conns.iter().filter(|(_, conn)| conn.socket == socket);
        own().for_each(|(_, conn)| *connections.entry(conn.peer.uid).or_default() += 1);
        let spare = own().filter(|(_, conn)| can_be_spared(conn, now));
        let least = spare.min_by_key(|(client, conn)| {
            (Reverse(connections[&conn.peer.uid]), !conn.idle(), conn.last_heard, **client)
        });
        let Some((&client, _)) = least else {
            self.none_to_spare = Some((socket, now));
            return false;
        };
        self.close(client, poller);
        true
    }
}

/// Returns whether it has nothing in progress, or is too slow.
fn can_be_spared(conn: &Conn, now: AgentTime) -> bool {
    let quiet = now.since(conn.last_heard);
    let stuck = conn.stuck_since.map(|since| now.since(since));
    match (conn.idle(), conn.owed, stuck) {
        (true, ..) => quiet >= ACTIVE,
        (false, 0, None) => quiet >= HESITATING,
        (false, 0, Some(stuck)) => stuck >= UNREAD_TIMEOUT,
        (false, ..) => false,
    }
}

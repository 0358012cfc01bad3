//! The loop: wait → read all ready sockets → decide → one COMMIT → reply.
//!
//! Group commit is a consequence: input that arrives while a round is being synced joins the next one, and input
//! that arrives while a round is being filled joins the current one. There is no timer, lock or queue between a
//! client and the disk.

use super::ReadConfig;
use super::clients::Clients;
use super::intake::{Intake, too_long};
use super::sockets::SocketFiles;
use super::tokens::{ADMIN, APP, FILES, FIRST_CLIENT, INBOX, LINK, RELOAD, STOP};
use crate::agent::questions::Answer;
use crate::agent::{Agent, Asker, ClientId, Effect, Event};
use crate::config::Config;
use crate::io::clock::{Clock, since_boot};
use crate::io::inbox::{Inbox, Outbox, inbox};
use crate::io::integrity_check;
use crate::io::listen::Listener;
use crate::io::netlink;
use crate::io::notifier::Notifier;
use crate::io::poller::{Interest, Poller, Ready};
use crate::io::reader::{ReaderThread, Reply};
use crate::io::sd_notify::Manager;
use crate::io::sender::{Report, SenderPool};
use crate::io::system::{descriptors, disk_free, file_size};
use crate::io::tls;
use crate::limits::{READ_AT_ONCE, STOP_TIMEOUT};
use crate::moment::{AgentTime, Moment};
use crate::store::reader_gate::Door;
use crate::store::{StoreError, StoreSettings};
use rustix::fd::OwnedFd;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How often the disk is checked while records arrive, and while idle.
const DISK_LOOK: Duration = Duration::from_secs(1);
const IDLE_DISK_LOOK: Duration = Duration::from_secs(30);

/// What threads send to the loop.
enum Message {
    Report(Report),
    Answer(Reply),
    Checked(integrity_check::Found),
}

/// The loop and everything that it owns.
pub(super) struct Server {
    agent: Agent,
    clock: Clock,
    poller: Poller,
    clients: Clients,
    intake: Intake,
    inbox: Inbox<Message>,
    senders: Vec<SenderPool<Message>>,
    /// Number of sender pools created so far.
    serial: u64,
    outbox: Outbox<Message>,
    reader: ReaderThread,
    notifier: Notifier,
    signals: Signals,
    read_again: ReadConfig,
    /// `None` if the system does not report link changes; then only probes detect them.
    link: Option<OwnedFd>,
    /// Last observed wall time minus agent time; detects steps of the clock.
    drift_ms: i64,
    manager: Manager,
    stopping_since: Option<AgentTime>,
    buffer: Vec<u8>,
    /// Lines that came in several readings, while they are handed on.
    lines: Vec<u8>,
    max_line: usize,
    disk: Watched,
    files: SocketFiles,
}

/// Streams that become readable after a signal.
pub(super) struct Signals {
    pub(super) stop: UnixStream,
    pub(super) reload: UnixStream,
}

/// The disk usage to check, and the time of the last check.
struct Watched {
    dir: PathBuf,
    log_file: PathBuf,
    looked: Option<AgentTime>,
}

impl Server {
    pub(super) fn new(
        agent: Agent,
        clock: Clock,
        settings: StoreSettings,
        door: Door,
        config: &Config,
        signals: Signals,
        read_again: ReadConfig,
    ) -> io::Result<Self> {
        let (outbox, inbox): (Outbox<Message>, _) = inbox()?;
        let refused = |error: &io::Error| log::info!("event=no_link_events error={:?}", error.to_string());
        let link = netlink::watch().inspect_err(refused).ok();
        integrity_check::start(settings.clone(), door.clone(), outbox.clone(), Message::Checked)?;
        let mut server = Self {
            senders: Vec::new(),
            serial: 0,
            outbox: outbox.clone(),
            disk: Watched { dir: settings.dir.clone(), log_file: settings.log_file(), looked: None },
            reader: ReaderThread::start(settings, door, outbox, Message::Answer)?,
            notifier: Notifier::new(config),
            agent,
            clock,
            poller: Poller::new()?,
            clients: Clients::new(&config.limits, descriptors()),
            intake: Intake::begin(1),
            inbox,
            signals,
            read_again,
            link,
            drift_ms: drift(clock.now()),
            manager: Manager::from_environment(clock.now().agent),
            stopping_since: None,
            buffer: vec![0; READ_AT_ONCE.0],
            lines: Vec::new(),
            max_line: config.limits.max_line,
            files: SocketFiles::new(),
        };
        server.renew_senders(config, &[]);
        Ok(server)
    }

    /// Runs until a stop signal has arrived and requests in flight have ended or timed out.
    pub(super) fn serve(&mut self, listeners: &mut [Listener; 2]) -> io::Result<()> {
        let read = Interest { read: true, write: false };
        self.poller.add(&listeners[0], APP, read)?;
        self.poller.add(&listeners[1], ADMIN, read)?;
        self.poller.add(self.inbox.bell(), INBOX, read)?;
        self.poller.add(&self.signals.stop, STOP, read)?;
        self.poller.add(&self.signals.reload, RELOAD, read)?;
        if let Some(link) = &self.link {
            self.poller.add(link, LINK, read)?;
        }
        self.files.watch(listeners, &self.poller, FILES)?;
        self.manager.ready();
        while !self.stopped() {
            let ready = self.poller.wait(self.patience())?;
            let (ready, messages) = self.gather(ready)?;
            let (now, begun) = (self.clock.now(), since_boot());
            self.clients.expire(now.agent);
            self.look_at_disk(now, !ready.is_empty());
            self.look_at_clock(now);
            let readable = ready.iter().filter(|event| event.read && event.token >= FIRST_CLIENT).count();
            self.intake = Intake::begin(readable + self.clients.waiting_turns());
            self.take_messages(messages, now);
            self.accept_again(now, listeners)?;
            for event in &ready {
                self.take(event, now, listeners)?;
            }
            self.look_at_sockets(now, listeners)?;
            self.take_turns(now);
            self.take_in(now, listeners)?;
            self.round();
            let (took, rejected) = (since_boot().saturating_sub(begun), self.clients.take_rejected());
            self.agent.handle(now, Event::Answered { took, rejected });
            self.manager.alive(now.agent);
        }
        Ok(())
    }

    /// Closes the agent and its store.
    pub(super) fn close(self) -> Result<(), StoreError> {
        self.agent.close()
    }

    fn stopped(&self) -> bool {
        let Some(since) = self.stopping_since else { return false };
        let done = self.agent.in_flight() == 0 && self.agent.unwritten_outcomes() == 0;
        done || self.clock.now().agent.since(since) >= STOP_TIMEOUT
    }

    /// Timeout of the next poll.
    fn patience(&self) -> Option<Duration> {
        if self.clients.waiting_turns() > 0 {
            return Some(Duration::ZERO);
        }
        let stop = self.stopping_since.map(|since| since.after(STOP_TIMEOUT));
        let look = self.disk.looked.map(|last| last.after(IDLE_DISK_LOOK));
        let others = self.clients.deadline().into_iter().chain(self.manager.deadline()).chain(stop);
        let others = others.chain(look).chain(self.files.deadline());
        let deadline = self.agent.next_deadline().into_iter().chain(others).min()?;
        Some(deadline.since(self.clock.now().agent))
    }

    /// Processes ready input, and polls again before the commit: clients whose replies were sent together send
    /// their next requests one after the other, and the first would otherwise get a commit of its own.
    fn take_in(&mut self, now: Moment, listeners: &[Listener; 2]) -> io::Result<()> {
        /// Upper bound on polls per round.
        const TIMES: usize = 3;
        for _ in 0..TIMES {
            if !self.agent.is_in_round() || self.intake.is_spent() {
                break;
            }
            let come = self.poller.wait(Some(Duration::ZERO))?;
            if come.is_empty() {
                break;
            }
            for event in &come {
                self.take(event, now, listeners)?;
            }
            self.take_turns(now);
        }
        Ok(())
    }

    fn take(&mut self, event: &Ready, now: Moment, listeners: &[Listener; 2]) -> io::Result<()> {
        match event.token {
            APP => self.clients.accept(&listeners[0], APP, &self.poller, now.agent)?,
            ADMIN => self.clients.accept(&listeners[1], ADMIN, &self.poller, now.agent)?,
            INBOX => {
                let messages = self.inbox.take();
                self.take_messages(messages, now);
            }
            STOP => self.begin_stop(now, listeners)?,
            RELOAD => {
                let _ = self.signals.reload.read(&mut [0; 16]);
                self.reread(now, None);
            }
            FILES => self.files.told(),
            LINK => {
                if self.link.as_ref().is_some_and(netlink::changed) {
                    self.agent.handle(now, Event::LinkChanged);
                }
            }
            token => {
                let client = ClientId(token);
                debug_assert!(token >= FIRST_CLIENT, "every other number is a client's");
                self.clients.touch(client);
                if event.hangup {
                    self.clients.hung_up(client);
                }
                if event.read {
                    self.clients.readable(client);
                }
            }
        }
        Ok(())
    }

    /// Serves the clients in turn, as many as fit into the round. Clients that were not reached, or have lines
    /// beyond their share, come first in the next one.
    fn take_turns(&mut self, now: Moment) {
        for _ in 0..self.clients.waiting_turns() {
            if self.intake.is_spent() {
                break;
            }
            let Some(client) = self.clients.next_turn() else { break };
            match self.clients.get_mut(client) {
                Some(conn) if conn.lines_wait => self.hand_on(client, now, 0),
                _ => self.read(client, now),
            }
        }
    }

    /// Reads from a client and processes its lines.
    fn read(&mut self, client: ClientId, now: Moment) {
        let Some(conn) = self.clients.get_mut(client) else { return };
        let (socket, line) = (conn.socket, conn.unhandled());
        let most = self.intake.read_at_once(self.clients.room(socket), line);
        let mut buffer = std::mem::take(&mut self.buffer);
        let count = self.clients.read(client, &mut buffer[..most], now.agent);
        self.buffer = buffer;
        if count > 0 {
            self.hand_on(client, now, count);
        }
    }

    /// Passes a client's lines to the agent: kept ones, and `fresh` bytes of the buffer.
    fn hand_on(&mut self, client: ClientId, now: Moment, fresh: usize) {
        let Some(conn) = self.clients.get_mut(client).filter(|conn| conn.goes_on()) else { return };
        let fresh = &self.buffer[..fresh];
        // Without a beginning that waits, lines are read where they came in.
        let mut handed = if conn.unhandled() == 0 {
            let handed = self.intake.hand_lines(&mut self.agent, conn, now, client, fresh, self.max_line);
            conn.keep_input(&fresh[handed.used..]);
            conn.handed_on(0);
            handed
        } else {
            conn.keep_input(fresh);
            conn.first_lines(self.intake.turn_bytes(), &mut self.lines);
            let handed = self.intake.hand_lines(&mut self.agent, conn, now, client, &self.lines, self.max_line);
            conn.handed_on(handed.used);
            self.lines.clear();
            self.lines.shrink_to(READ_AT_ONCE.0);
            handed
        };
        handed.more = conn.lines_wait;
        if !handed.more && conn.unhandled() > self.max_line {
            conn.farewell = Some(too_long(self.max_line));
        }
        if conn.farewell.is_some() {
            (handed.used, handed.more) = (handed.used + conn.unhandled(), false);
            conn.forget_input();
        }
        self.clients.account(client, now.agent, handed);
    }

    /// Accepts new clients again, after the system had no descriptor or memory for one.
    fn accept_again(&mut self, now: Moment, listeners: &[Listener; 2]) -> io::Result<()> {
        if !self.clients.accepts_again(now.agent) || self.stopping_since.is_some() {
            return Ok(());
        }
        let read = Interest { read: true, write: false };
        self.poller.change(&listeners[0], APP, read)?;
        self.poller.change(&listeners[1], ADMIN, read)
    }

    /// Delays the commit briefly while only delivery results arrive and senders still have prefetched work, so that
    /// more results share one commit. Returns what is ready, and the messages received.
    fn gather(&mut self, mut ready: Vec<Ready>) -> io::Result<(Vec<Ready>, Vec<Message>)> {
        /// A fraction of a commit on a slow disk, and as long as twenty requests on a local network.
        const MOST: Duration = Duration::from_millis(2);
        let (begun, mut messages) = (since_boot(), Vec::new());
        while let [Ready { token: INBOX, .. }] = ready[..] {
            messages.append(&mut self.inbox.take());
            ready.clear();
            let left = MOST.saturating_sub(since_boot().saturating_sub(begun));
            match followed_ends(&messages) {
                Some(ends) if 2 * ends < self.agent.held_ready() && !left.is_zero() => {}
                _ => break,
            }
            ready = self.poller.wait(Some(left))?;
        }
        Ok((ready, messages))
    }

    fn take_messages(&mut self, messages: Vec<Message>, now: Moment) {
        for message in messages {
            match message {
                // A probe that was sent under another configuration is not evidence.
                Message::Report(report) if !self.senders.get(report.upstream).is_some_and(|now| now.sent(&report)) => {}
                Message::Report(report) => {
                    self.senders[report.upstream].heard(&report.event);
                    self.agent.handle(now, report.event);
                }
                Message::Checked(integrity_check::Found::Damage(error)) => {
                    self.agent.handle(now, Event::Damaged(error));
                }
                Message::Checked(integrity_check::Found::Miscount) => {
                    self.agent.handle(now, Event::Miscounted);
                }
                Message::Answer((inquiry, Answer::Line(line))) if inquiry.client == ClientId::HEARTBEAT => {
                    self.notifier.beat(&line);
                }
                Message::Answer((_, Answer::MeanRetries(mean))) => {
                    self.agent.handle(now, Event::MeanRetries(mean));
                }
                Message::Answer((inquiry, Answer::Line(line))) => {
                    self.clients.reply(inquiry.client, &line, now.agent);
                }
                Message::Answer((inquiry, Answer::Damaged(line, error))) => {
                    if inquiry.client == ClientId::HEARTBEAT {
                        self.notifier.beat(&line);
                    } else {
                        self.clients.reply(inquiry.client, &line, now.agent);
                    }
                    self.agent.handle(now, Event::Damaged(error));
                }
                Message::Answer((inquiry, Answer::Selected(found))) => {
                    self.agent.handle(now, Event::Selected { client: inquiry.client, found });
                }
            }
        }
    }

    fn begin_stop(&mut self, now: Moment, listeners: &[Listener; 2]) -> io::Result<()> {
        // The content of the byte is irrelevant.
        let _ = self.signals.stop.read(&mut [0; 16]);
        if self.stopping_since.is_none() {
            log::info!("event=stopping in_flight={}", self.agent.in_flight());
            self.manager.stopping();
            self.stopping_since = Some(now.agent);
            self.agent.handle(now, Event::Stop);
            for listener in listeners {
                self.poller.remove(listener)?;
            }
        }
        Ok(())
    }

    /// Commits the round, performs its effects, and repeats while effects produce new events.
    fn round(&mut self) {
        loop {
            let askers = self.one_round();
            if askers.is_empty() {
                return;
            }
            let now = self.clock.now();
            askers.into_iter().for_each(|asker| self.reread(now, Some(asker)));
        }
    }

    /// Runs one round; returns the clients that requested a reload of the configuration.
    fn one_round(&mut self) -> Vec<Asker> {
        let now = self.clock.now();
        let mut rereads = Vec::new();
        self.agent.tick(now);
        for effect in self.agent.finish_round(now) {
            match effect {
                Effect::Reply { client, line } => {
                    self.clients.reply(client, &line, now.agent);
                }
                Effect::Send(dispatch) => self.senders[dispatch.upstream].send(*dispatch),
                Effect::Advance { upstream, most } => {
                    let at = now.agent;
                    for seq in self.senders[upstream].advance(most) {
                        self.agent.handle(now, Event::Begun { seq, at });
                    }
                }
                Effect::Recall { upstream } => {
                    let back = self.senders[upstream].recall();
                    self.agent.handle(now, Event::Unsent(back));
                }
                Effect::Tell(telling) => self.notifier.tell(*telling),
                Effect::Probe { upstream } => self.senders[upstream].probe(),
                Effect::LogInAgain { upstream } => self.senders[upstream].log_in_again(),
                Effect::Reread(asker) => rereads.push(asker),
                Effect::Reconfigured { config, renewed } => {
                    tls::report(&config.upstreams);
                    self.renew_senders(&config, &renewed);
                    self.notifier.renew(&config);
                }
                Effect::Ask(inquiry) => self.reader.ask(inquiry),
            }
        }
        for client in self.clients.settle(&self.poller, now.agent) {
            self.reader.forget(client);
            self.agent.client_disconnected(client);
        }
        self.clients.let_newcomers_in(&self.poller, now.agent);
        rereads
    }

    /// Reads the configuration files again. They are small, and on a local disk.
    fn reread(&mut self, now: Moment, asker: Option<Asker>) {
        let found = (self.read_again)().map(Box::new);
        self.agent.handle(now, Event::Reread { asker, found });
    }

    /// Creates senders for all upstreams; unchanged ones keep theirs, with connections and sessions.
    fn renew_senders(&mut self, config: &Config, renewed: &[usize]) {
        let mut before: Vec<Option<SenderPool<Message>>> =
            std::mem::take(&mut self.senders).into_iter().map(Some).collect();
        for (index, upstream) in config.upstreams.iter().enumerate() {
            let kept = before.get_mut(index).and_then(Option::take).filter(|_| !renewed.contains(&index));
            if let Some(kept) = &kept {
                kept.log_in_again();
            }
            self.serial += 1;
            let senders = kept.unwrap_or_else(|| {
                SenderPool::new(index, self.serial, upstream, self.clock, (self.outbox.clone(), Message::Report))
            });
            self.senders.push(senders);
        }
    }

    /// Recreates sockets whose files were deleted, or reports the problem to `health`.
    fn look_at_sockets(&mut self, now: Moment, listeners: &mut [Listener; 2]) -> io::Result<()> {
        if self.stopping_since.is_some() {
            return Ok(());
        }
        if let Some(trouble) = self.files.look(listeners, &mut self.clients, &self.poller, now.agent)? {
            self.agent.handle(now, Event::Sockets(trouble));
        }
        Ok(())
    }

    /// Detects steps of the wall clock, which may have made a certificate valid.
    fn look_at_clock(&mut self, now: Moment) {
        /// More than the clock can be slewed between two rounds.
        const STEP_MS: i64 = 5_000;
        let before = std::mem::replace(&mut self.drift_ms, drift(now));
        let step = self.drift_ms.saturating_sub(before);
        if step.abs() >= STEP_MS {
            log::warn!("event=clock_stepped ms={step}");
            self.agent.handle(now, Event::ClockStepped);
        }
    }

    fn look_at_disk(&mut self, now: Moment, something_came: bool) {
        let Watched { dir, log_file, looked } = &mut self.disk;
        let gap = if something_came { DISK_LOOK } else { IDLE_DISK_LOOK };
        if looked.is_some_and(|last| now.agent.since(last) < gap) {
            return;
        }
        *looked = Some(now.agent);
        for seen in [disk_free(dir).map(Event::DiskFree), file_size(log_file).map(Event::LogSize)] {
            match seen {
                Ok(event) => _ = self.agent.handle(now, event),
                Err(error) => log::warn!("event=disk_usage_failed path={dir:?} error={:?}", error.to_string()),
            }
        }
    }
}

/// Number of requests that have ended; `None` unless each was followed by another and there are no other messages.
fn followed_ends(messages: &[Message]) -> Option<usize> {
    let (mut ends, mut follows) = (0, 0);
    for message in messages {
        match message {
            Message::Report(Report { event: Event::AttemptEnded { .. }, .. }) => ends += 1,
            Message::Report(Report { event: Event::Begun { .. }, .. }) => follows += 1,
            _ => return None,
        }
    }
    (ends == follows).then_some(ends)
}

/// Wall time minus agent time: constant except for steps of the wall clock.
fn drift(now: Moment) -> i64 {
    now.wall.as_millis().saturating_sub(now.agent.as_millis())
}

//! The loop: wait → read what is there from everyone → decide → one COMMIT → answer everyone.
//!
//! Group commit falls out of it: whatever has come while the last round was being synced is in the
//! next one; and whatever comes while a round is filled is in that one. There is no timer, no lock and no
//! queue between a client and the disk.

use super::ReadConfig;
use super::crowd::{Crowd, FIRST_CLIENT, Handed};
use crate::agent::questions::Answer;
use crate::agent::{Agent, Asker, ClientId, Effect, Event, Flow};
use crate::config::Config;
use crate::io::checker;
use crate::io::clock::{Clock, since_boot};
use crate::io::conn::{Conn, next_line};
use crate::io::herald::Herald;
use crate::io::inbox::{Inbox, Outbox, inbox};
use crate::io::link;
use crate::io::listen::Listener;
use crate::io::notify::Manager;
use crate::io::poller::{Interest, Poller, Ready};
use crate::io::reader::{ReaderThread, Reply};
use crate::io::sender::{Report, Senders};
use crate::io::system::{disk_free, file_size};
use crate::limits::STOP_PATIENCE;
use crate::moment::{AgentTime, Moment};
use crate::store::door::Door;
use crate::store::{StoreError, StoreSettings};
use crate::wire::fields::{Code, Rejection};
use crate::wire::reply;
use crate::wire::request::Socket;
use rustix::fd::OwnedFd;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

const APP: u64 = 0;
const ADMIN: u64 = 1;
const INBOX: u64 = 2;
const STOP: u64 = 3;
const LINK: u64 = 4;
const RELOAD: u64 = 5;

/// Lines of one client that a round takes at most, so that a flood shares the round with others.
const LINES_A_ROUND: usize = 512;
/// How often the free space is looked at while records come.
const DISK_LOOK: Duration = Duration::from_secs(1);

/// What threads send to the loop.
enum Message {
    Report(Report),
    Answer(Reply),
    Damaged(StoreError),
}

/// See the module.
pub(super) struct Server {
    agent: Agent,
    clock: Clock,
    poller: Poller,
    crowd: Crowd,
    inbox: Inbox<Message>,
    senders: Vec<Senders<Message>>,
    /// How many senders there ever were.
    serial: u64,
    outbox: Outbox<Message>,
    reader: ReaderThread,
    herald: Herald,
    signals: Signals,
    read_again: ReadConfig,
    /// `None` where the system does not tell of links; probes find out by themselves then.
    link: Option<OwnedFd>,
    /// Wall time less agent time, as it was last seen.
    drift_ms: i64,
    manager: Manager,
    stopping_since: Option<AgentTime>,
    buffer: Vec<u8>,
    max_line: usize,
    disk: Watched,
}

/// Streams that become readable when a signal has come.
pub(super) struct Signals {
    pub(super) stop: UnixStream,
    pub(super) reload: UnixStream,
}

/// What is looked at on the disk, and when it was last looked at.
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
        let link = link::watch().inspect_err(refused).ok();
        checker::start(settings.clone(), door.clone(), outbox.clone(), Message::Damaged)?;
        let mut server = Self {
            senders: Vec::new(),
            serial: 0,
            outbox: outbox.clone(),
            disk: Watched { dir: settings.dir.clone(), log_file: settings.log_file(), looked: None },
            reader: ReaderThread::start(settings, door, outbox, Message::Answer)?,
            herald: Herald::new(config),
            agent,
            clock,
            poller: Poller::new()?,
            crowd: Crowd::new(&config.limits),
            inbox,
            signals,
            read_again,
            link,
            drift_ms: drift(clock.now()),
            manager: Manager::from_environment(clock.now().agent),
            stopping_since: None,
            buffer: vec![0; 64 << 10],
            max_line: config.limits.max_line,
        };
        server.renew_senders(config, &[]);
        Ok(server)
    }

    /// Serves until a signal and the end of what was under way.
    pub(super) fn serve(&mut self, listeners: &[Listener; 2]) -> io::Result<()> {
        let read = Interest { read: true, write: false };
        self.poller.add(&listeners[0], APP, read)?;
        self.poller.add(&listeners[1], ADMIN, read)?;
        self.poller.add(self.inbox.bell(), INBOX, read)?;
        self.poller.add(&self.signals.stop, STOP, read)?;
        self.poller.add(&self.signals.reload, RELOAD, read)?;
        if let Some(link) = &self.link {
            self.poller.add(link, LINK, read)?;
        }
        self.manager.ready();
        while !self.stopped() {
            let ready = self.poller.wait(self.patience())?;
            let (ready, messages) = self.gather(ready)?;
            let (now, begun) = (self.clock.now(), since_boot());
            self.crowd.expire(now.agent);
            self.look_at_disk(now, !ready.is_empty());
            self.look_at_clock(now);
            for client in self.crowd.take_more() {
                self.hand_on(client, now, 0);
            }
            self.take_messages(messages, now);
            for event in &ready {
                self.take(event, now, listeners)?;
            }
            self.take_in(now, listeners)?;
            self.round();
            let (took, rejected) = (since_boot().saturating_sub(begun), self.crowd.take_rejected());
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
        let done = self.agent.in_flight() == 0 && self.agent.unsettled() == 0;
        done || self.clock.now().agent.since(since) >= STOP_PATIENCE
    }

    /// How long to wait for something to happen.
    fn patience(&self) -> Option<Duration> {
        if self.crowd.has_more() {
            return Some(Duration::ZERO);
        }
        let stop = self.stopping_since.map(|since| since.after(STOP_PATIENCE));
        let others = self.crowd.deadline().into_iter().chain(self.manager.deadline()).chain(stop);
        let deadline = self.agent.next_deadline().into_iter().chain(others).min()?;
        Some(deadline.since(self.clock.now().agent))
    }

    /// What has come while a round was filled goes into the same commit: clients that are answered together send
    /// their next requests one after the other, and the first would else have a commit of its own.
    fn take_in(&mut self, now: Moment, listeners: &[Listener; 2]) -> io::Result<()> {
        /// Who comes later is in the next round.
        const TIMES: usize = 3;
        for _ in 0..TIMES {
            if !self.agent.is_in_round() {
                break;
            }
            let come = self.poller.wait(Some(Duration::ZERO))?;
            if come.is_empty() {
                break;
            }
            for event in &come {
                self.take(event, now, listeners)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: &Ready, now: Moment, listeners: &[Listener; 2]) -> io::Result<()> {
        match event.token {
            APP => self.crowd.accept(&listeners[0], Socket::App, &self.poller, now.agent),
            ADMIN => self.crowd.accept(&listeners[1], Socket::Admin, &self.poller, now.agent),
            INBOX => {
                let messages = self.inbox.take();
                self.take_messages(messages, now);
            }
            STOP => self.begin_stop(now, listeners)?,
            RELOAD => {
                let _ = self.signals.reload.read(&mut [0; 16]);
                self.reread(now, None);
            }
            LINK => {
                if self.link.as_ref().is_some_and(link::changed) {
                    self.agent.handle(now, Event::LinkChanged);
                }
            }
            token => {
                let client = ClientId(token);
                debug_assert!(token >= FIRST_CLIENT, "every other number is a client's");
                self.crowd.touch(client);
                if event.hangup {
                    // Nobody is there to read a reply; what was sent before is still handed on.
                    if let Some(conn) = self.crowd.get_mut(client).filter(|conn| !conn.reads()) {
                        conn.broken = true;
                    }
                }
                if event.read {
                    let mut buffer = std::mem::take(&mut self.buffer);
                    let count = self.crowd.read(client, &mut buffer, now.agent);
                    self.buffer = buffer;
                    if count > 0 {
                        self.hand_on(client, now, count);
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands a client's lines to the agent: those that wait, and `fresh` bytes of the buffer.
    fn hand_on(&mut self, client: ClientId, now: Moment, fresh: usize) {
        let Some(conn) = self.crowd.get_mut(client).filter(|conn| !conn.closing && !conn.waiting) else { return };
        let before = conn.buffered();
        let (mut input, scanned) = conn.take_input();
        // Without a beginning that waits, lines are read where they came in.
        let handed = if input.is_empty() {
            let fresh = &self.buffer[..fresh];
            let handed = hand_lines(&mut self.agent, conn, now, client, (fresh, 0), self.max_line);
            conn.keep_input(fresh[handed.used..].to_vec(), handed.more);
            handed
        } else {
            input.extend_from_slice(&self.buffer[..fresh]);
            let handed = hand_lines(&mut self.agent, conn, now, client, (&input, scanned), self.max_line);
            input.drain(..handed.used);
            conn.keep_input(input, handed.more);
            handed
        };
        conn.waiting = handed.wait;
        self.crowd.account(client, before, now.agent, handed);
    }

    /// While nobody else wants anything, and senders go on with what they hold ready, ends of requests wait for
    /// more of their kind: the more share a commit, the less is written for each. What has come meanwhile,
    /// and what is ready.
    fn gather(&mut self, mut ready: Vec<Ready>) -> io::Result<(Vec<Ready>, Vec<Message>)> {
        /// A fraction of what a commit takes on a cheap disk, and as long as twenty requests on a local network.
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
                // The end of a probe that was sent under another configuration says nothing.
                Message::Report(report) if !self.senders.get(report.upstream).is_some_and(|now| now.sent(&report)) => {}
                Message::Report(report) => {
                    self.senders[report.upstream].heard(&report.event);
                    self.agent.handle(now, report.event);
                }
                Message::Damaged(error) => drop(self.agent.handle(now, Event::Damaged(error))),
                Message::Answer((inquiry, Answer::Line(line))) if inquiry.client == ClientId::HEARTBEAT => {
                    self.herald.beat(&line);
                }
                Message::Answer((_, Answer::MeanRetries(mean))) => {
                    self.agent.handle(now, Event::MeanRetries(mean));
                }
                Message::Answer((inquiry, Answer::Line(line))) => {
                    self.crowd.reply(inquiry.client, &line);
                }
                Message::Answer((inquiry, Answer::Damaged(line, error))) => {
                    self.crowd.reply(inquiry.client, &line);
                    self.agent.handle(now, Event::Damaged(error));
                }
                Message::Answer((inquiry, Answer::Selected(found))) => {
                    self.agent.handle(now, Event::Selected { client: inquiry.client, found });
                }
            }
        }
    }

    fn begin_stop(&mut self, now: Moment, listeners: &[Listener; 2]) -> io::Result<()> {
        // The signal's byte says nothing more than that it came.
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

    /// Commits what has come, and carries out what follows; what that brings is another round.
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

    /// One round; who wants the configuration to be read again.
    fn one_round(&mut self) -> Vec<Asker> {
        let now = self.clock.now();
        let mut rereads = Vec::new();
        self.agent.tick(now);
        for effect in self.agent.finish_round(now) {
            match effect {
                Effect::Reply { client, line } => {
                    self.crowd.reply(client, &line);
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
                Effect::Tell(telling) => self.herald.tell(*telling),
                Effect::Probe { upstream } => self.senders[upstream].probe(),
                Effect::Reread(asker) => rereads.push(asker),
                Effect::Reconfigured { config, renewed } => {
                    self.renew_senders(&config, &renewed);
                    self.herald = Herald::new(&config);
                }
                Effect::Ask(inquiry) => {
                    if let Err(back) = self.reader.ask(inquiry) {
                        let rejection = Rejection::new(Code::Busy, "too many questions at once; ask again shortly");
                        self.agent.client_gone(back.client);
                        self.crowd.reply(back.client, &reply::error(&rejection, back.reference.as_deref()));
                    }
                }
            }
        }
        for client in self.crowd.settle(&self.poller, now.agent) {
            self.agent.client_gone(client);
        }
        rereads
    }

    /// Reads the configuration's files again. They are small, and on a local disk.
    fn reread(&mut self, now: Moment, asker: Option<Asker>) {
        let found = (self.read_again)().map(Box::new);
        self.agent.handle(now, Event::Reread { asker, found });
    }

    /// Senders for all upstreams; those that are not renewed keep theirs, with connections and sessions.
    fn renew_senders(&mut self, config: &Config, renewed: &[usize]) {
        let mut before: Vec<Option<Senders<Message>>> =
            std::mem::take(&mut self.senders).into_iter().map(Some).collect();
        for (index, upstream) in config.upstreams.iter().enumerate() {
            let kept = before.get_mut(index).and_then(Option::take).filter(|_| !renewed.contains(&index));
            self.serial += 1;
            let senders = kept.unwrap_or_else(|| {
                Senders::new(index, self.serial, upstream, self.clock, (self.outbox.clone(), Message::Report))
            });
            self.senders.push(senders);
        }
    }

    /// A wall clock that was set may have made a certificate right.
    fn look_at_clock(&mut self, now: Moment) {
        /// What a clock that is only slewed does not do between two rounds.
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
        if looked.is_some_and(|last| !something_came || now.agent.since(last) < DISK_LOOK) {
            return;
        }
        *looked = Some(now.agent);
        for seen in [disk_free(dir).map(Event::DiskFree), file_size(log_file).map(Event::LogSize)] {
            match seen {
                Ok(event) => _ = self.agent.handle(now, event),
                Err(error) => log::warn!("event=disk_not_seen path={dir:?} error={:?}", error.to_string()),
            }
        }
    }
}

/// How many requests have ended, where each has been followed by another and nothing else has come.
fn followed_ends(messages: &[Message]) -> Option<usize> {
    let (mut ends, mut follows) = (0, 0);
    for message in messages {
        match message {
            Message::Report(Report { event: Event::Tried { .. }, .. }) => ends += 1,
            Message::Report(Report { event: Event::Begun { .. }, .. }) => follows += 1,
            _ => return None,
        }
    }
    (ends == follows).then_some(ends)
}

/// Hands on the complete lines of `bytes`, of which the first `scanned` have no line end.
fn hand_lines(
    agent: &mut Agent,
    conn: &mut Conn,
    now: Moment,
    client: ClientId,
    (bytes, scanned): (&[u8], usize),
    max_line: usize,
) -> Handed {
    let mut handed = Handed { used: 0, more: false, wait: false };
    let mut scan = scanned;
    for count in 0.. {
        let Some((line, next)) = next_line(bytes, handed.used, scan) else { break };
        // What it is owed it has had in this round already.
        if conn.owed.max(count) >= LINES_A_ROUND || handed.wait {
            handed.more = true;
            return handed;
        }
        if line.len() > max_line {
            conn.farewell = Some(too_long(max_line));
            return Handed { used: bytes.len(), ..handed };
        }
        (handed.used, scan) = (next, next);
        if !bytes[line.clone()].trim_ascii().is_empty() {
            conn.owed += 1;
            let event = Event::Line { client, socket: conn.socket, peer: &conn.peer, line: &bytes[line] };
            handed.wait = agent.handle(now, event) == Flow::Wait;
        }
    }
    if bytes.len() - handed.used > max_line {
        conn.farewell = Some(too_long(max_line));
        handed.used = bytes.len();
    }
    handed
}

/// Wall time less agent time: constant but for steps of the wall clock.
fn drift(now: Moment) -> i64 {
    now.wall.as_millis().saturating_sub(now.agent.as_millis())
}

fn too_long(max_line: usize) -> Vec<u8> {
    reply::error(
        &Rejection::new(Code::LineTooLong, format!("a line has more than {max_line} bytes; the connection is closed")),
        None,
    )
}

//! Many request lines to the agent and as many reply lines back, also where there is no agent.

use super::client::{Client, Door, NoAgent};
use super::session::Session;
use super::{Failure, direct};
use crate::io::clock::since_boot;
use crate::limits::{LOCK_ASK_AGAIN, LOCK_PATIENCE};
use crate::wire::request::Socket;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::thread;

/// Requests from lines, as many at once as are there, one reply line each, in order; a refused one
/// ends nothing. `request` makes a line a request; `tell` is given each reply and writes what is to be
/// said of it. The error counts those that were refused.
pub fn stream(
    session: &Session,
    door: Door,
    input: &mut dyn Read,
    request: impl Fn(&[u8]) -> Vec<u8>,
    mut tell: impl FnMut(&mut dyn Write, &[u8]) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut input = BufReader::with_capacity(1 << 20, input);
    let mut courier = Courier::new(session, door);
    let progress = !session.quiet && io::stderr().is_terminal() && !io::stdout().is_terminal();
    let (mut done, mut refused) = (0_u64, 0_u64);
    loop {
        let batch = batch(&mut input, &request)?;
        if batch.is_empty() {
            break;
        }
        let mut out = io::stdout().lock();
        for reply in courier.deliver(&batch)? {
            done += 1;
            refused += u64::from(!reply.starts_with(b"{\"ok\":true"));
            tell(&mut out, &reply)?;
        }
        out.flush()?;
        if progress {
            eprint!("\r{done} lines, {refused} refused");
        }
    }
    if progress && done > 0 {
        eprintln!();
    }
    if refused > 0 { Err(Failure::Failed(format!("{refused} of {done} lines were refused"))) } else { Ok(()) }
}

/// The next line, and those behind it that have come already.
fn batch(input: &mut BufReader<impl Read>, request: &dyn Fn(&[u8]) -> Vec<u8>) -> Result<Vec<Vec<u8>>, Failure> {
    /// As many as the agent takes from one client in a round.
    const MOST: usize = 256;
    let mut lines = Vec::new();
    while lines.is_empty() || (lines.len() < MOST && input.buffer().contains(&b'\n')) {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            lines.push(request(text));
        }
    }
    Ok(lines)
}

/// Hands requests over through the agent, or without one to the store itself.
#[derive(Debug)]
pub struct Courier<'s> {
    session: &'s Session,
    door: Door,
    client: Option<Client>,
}

impl<'s> Courier<'s> {
    /// Connects when there is something to hand over.
    #[must_use]
    pub fn new(session: &'s Session, door: Door) -> Self {
        Self { session, door, client: None }
    }

    /// One reply line for each request line.
    pub fn deliver(&mut self, lines: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Failure> {
        let begun = since_boot();
        while self.client.is_none() {
            let agent = &self.session.config.agent;
            let (path, socket) = match self.door {
                Door::App => (&agent.socket, Socket::App),
                Door::Admin => (&agent.admin_socket, Socket::Admin),
            };
            match Client::connect(path, self.door) {
                Ok(client) => self.client = Some(client),
                Err(NoAgent::NotRunning(told)) => match direct::carry_out(&self.session.config, socket, lines)? {
                    Some(replies) => return Ok(replies),
                    None if since_boot().saturating_sub(begun) < LOCK_PATIENCE => thread::sleep(LOCK_ASK_AGAIN),
                    None => return Err(Failure::Unreachable(told)),
                },
                Err(no) => return Err(no.into()),
            }
        }
        Ok(self.send(lines))
    }

    /// Through the connection; what was not answered may be recorded or not, and saying so keeps one
    /// reply for each line.
    fn send(&mut self, lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut replies = Vec::with_capacity(lines.len());
        if let Some(client) = &mut self.client {
            let sent = client.send_all(lines);
            while replies.len() < lines.len() {
                match client.receive() {
                    Ok(mut reply) => {
                        reply.push(b'\n');
                        replies.push(reply);
                    }
                    Err(_) => break,
                }
            }
            if sent.is_err() || replies.len() < lines.len() {
                self.client = None;
            }
        }
        let lost =
            b"{\"ok\":false,\"error\":{\"code\":\"storage\",\"message\":\"the agent went away before it answered; \
            send it again with the same idempotency_key\"}}\n";
        replies.resize(lines.len(), lost.to_vec());
        replies
    }
}

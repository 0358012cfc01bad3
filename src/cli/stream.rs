//! Sends many request lines to the agent, or without one to the store, and returns as many reply lines.

use super::client::{Client, Ending, NoAgent};
use super::session::Session;
use super::{Failure, offline};
use crate::io::clock::since_boot;
use crate::limits::{LOCK_RETRY_INTERVAL, LOCK_TIMEOUT};
use crate::text::{Count, record as text};
use crate::wire::fields::{Fields, legible};
use crate::wire::request::Socket;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::thread;

/// Reads request lines, sends as many at once as are available, and gets one reply line each, in order; a rejection
/// does not end the stream. `request` converts a line to a request; `tell` gets each reply and prints its result. The
/// error contains the number of rejections.
pub fn stream(
    session: &Session,
    socket: Socket,
    input: &mut dyn Read,
    request: impl Fn(&[u8]) -> Vec<u8>,
    mut tell: impl FnMut(&mut dyn Write, &[u8]) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut input = BufReader::with_capacity(1 << 20, input);
    let mut courier = RequestStream::new(session, socket);
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
            eprint!("\r{}", text::progress(Count(done), Count(refused)));
        }
    }
    if progress && done > 0 {
        eprintln!();
    }
    match (courier.lost, refused) {
        (Some(why), _) => Err(why),
        (None, 0) => Ok(()),
        (None, refused) => Err(Failure::Failed(text::some_refused(Count(done), Count(refused)))),
    }
}

/// The next line, and all further lines that are available already.
fn batch(input: &mut BufReader<impl Read>, request: &dyn Fn(&[u8]) -> Vec<u8>) -> Result<Vec<Vec<u8>>, Failure> {
    /// Number of requests that the agent reads from one client in a round.
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

/// Sends requests to the agent, or without one runs them on the store.
#[derive(Debug)]
pub struct RequestStream<'s> {
    session: &'s Session,
    socket: Socket,
    client: Option<Client>,
    /// How the last connection ended.
    ending: Option<Ending>,
    /// Why the agent did not answer.
    pub lost: Option<Failure>,
}

impl<'s> RequestStream<'s> {
    /// Connects only when there is something to send.
    #[must_use]
    pub fn new(session: &'s Session, socket: Socket) -> Self {
        Self { session, socket, client: None, ending: None, lost: None }
    }

    /// Returns one reply line for each request line. When the agent closes the connection before all are answered, those that
    /// it has certainly not read, or that may be repeated, are sent once more on a new connection.
    pub fn deliver(&mut self, lines: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut replies = match self.reach(lines)? {
            Some(replies) => return Ok(replies),
            None => self.send(lines),
        };
        let left = &lines[replies.len()..];
        if !left.is_empty() && self.may_repeat(left) {
            match self.reach(left) {
                Ok(Some(others)) => {
                    self.lost = None;
                    replies.extend(others);
                }
                Ok(None) => {
                    self.lost = None;
                    replies.extend(self.send(left));
                }
                // The replies that came are still told.
                Err(why) => self.lost = Some(why),
            }
        }
        // A line without a reply may be recorded or not; it gets an error, so that there is one reply for each line.
        let lost =
            b"{\"ok\":false,\"error\":{\"code\":\"storage\",\"message\":\"the agent went away before it answered; \
            send it again with the same idempotency_key\"}}\n";
        replies.resize(lines.len(), lost.to_vec());
        Ok(replies)
    }

    /// Connects; without an agent, runs the lines on the store and returns the replies.
    fn reach(&mut self, lines: &[Vec<u8>]) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let begun = since_boot();
        while self.client.is_none() {
            let agent = &self.session.config.agent;
            let path = match self.socket {
                Socket::App => &agent.socket,
                Socket::Admin => &agent.admin_socket,
            };
            match Client::connect_patiently(path, self.socket) {
                Ok(client) => self.client = Some(client),
                Err(NoAgent::NotRunning(told)) if !offline::may_write(&self.session.config) => {
                    return Err(Failure::Unreachable(told));
                }
                Err(NoAgent::NotRunning(told)) => match offline::carry_out(&self.session.config, self.socket, lines)? {
                    Some(replies) => return Ok(Some(replies)),
                    None if since_boot().saturating_sub(begun) < LOCK_TIMEOUT => thread::sleep(LOCK_RETRY_INTERVAL),
                    None => return Err(Failure::Unreachable(told)),
                },
                Err(no) => return Err(no.into()),
            }
        }
        Ok(None)
    }

    /// Sends lines over the connection; returns the replies that came.
    fn send(&mut self, lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut replies = Vec::with_capacity(lines.len());
        let Some(client) = &mut self.client else { return replies };
        let mut went = client.send_all(lines);
        // Replies sent before the connection broke can still be read.
        while replies.len() < lines.len() {
            match client.receive() {
                Ok(mut reply) => {
                    reply.push(b'\n');
                    replies.push(reply);
                }
                Err(why) => {
                    went = went.and(Err(why));
                    break;
                }
            }
        }
        if let Err(why) = went {
            self.ending = client.ending();
            self.client = None;
            self.lost = Some(why);
        }
        replies
    }

    /// May these lines, whose connection has ended, be sent once more?
    fn may_repeat(&self, lines: &[Vec<u8>]) -> bool {
        match self.ending {
            None => false,
            // Of several lines, the first ones may have been read.
            Some(Ending::Unread) if lines.len() == 1 => true,
            Some(_) => lines.iter().all(|line| is_repeatable(line)),
        }
    }
}

/// Does a request change nothing when it is carried out for the second time?
fn is_repeatable(line: &[u8]) -> bool {
    let line = legible(line);
    let Ok(mut fields) = Fields::parse(&line) else { return true };
    match fields.text("op") {
        Ok(Some(op)) if op == "record" => fields.raw("idempotency_key").is_some(),
        Ok(Some(op)) => matches!(&*op, "import" | "replay" | "hello" | "get" | "unsent" | "health"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::is_repeatable;

    #[test]
    fn a_record_is_repeated_only_under_its_key() {
        for (line, may) in [
            (r#"{"op":"record","idempotency_key":"k","entity_id":"1"}"#, true),
            (r#"{"op":"record","entity_id":"1"}"#, false),
            (r#"{"op":"record","idempotency_key":null}"#, false),
            (r#"{"op":"replay","rows":[]}"#, true),
            (r#"{"op":"discard","ids":["1"]}"#, false),
            ("{broken", true),
        ] {
            assert_eq!(is_repeatable(line.as_bytes()), may, "{line}");
        }
    }
}

//! `record`: one failure, or a stream of them.

use super::args::{Global, RecordArgs};
use super::client::{Client, Door, NoAgent};
use super::session::Session;
use super::{Failure, direct};
use crate::io::clock::since_boot;
use crate::limits::{LOCK_ASK_AGAIN, LOCK_PATIENCE};
use crate::wire::fields::Fields;
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::thread;

/// Runs the command.
pub fn run(global: &Global, args: &RecordArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if args.stream.is_some() { stream(&session) } else { one(&session, args) }
}

fn one(session: &Session, args: &RecordArgs) -> Result<(), Failure> {
    let mut request = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            request.insert(name.to_owned(), value);
        }
    };
    put("op", Some(json!("record")));
    put("entity_type", args.entity_type.clone().map(Value::from));
    put("entity_id", args.entity.clone().map(Value::from));
    put("action", args.action.clone().map(Value::from));
    put("error", args.error.clone().map(Value::from));
    put("http_status", args.http_status.map(Value::from));
    put("idempotency_key", args.key.clone().map(Value::from));
    put("order_key", args.order_key.clone().map(Value::from));
    put("retry", args.now.then(|| json!("now")));
    put("payload", args.payload_file.as_deref().map(payload).transpose()?.map(Value::from));
    let line = Value::Object(request).to_string().into_bytes();
    let mut line_to = Recorder::new(session);
    let replies = line_to.record(&[line])?;
    let reply: Value = replies.first().and_then(|line| serde_json::from_slice(line).ok()).unwrap_or(Value::Null);
    let mut out = io::stdout().lock();
    match (&reply["id"], session.json) {
        (_, true) => out.write_all(&replies[0])?,
        (Value::String(id), false) => writeln!(out, "{id}")?,
        _ => {}
    }
    if reply["ok"] == true {
        return Ok(());
    }
    let error = &reply["error"];
    let text = super::render::harmless(error["message"].as_str().unwrap_or("no answer"));
    match error["code"].as_str() {
        Some("bad_request") => Err(Failure::Usage(text)),
        Some(code) => Err(Failure::Failed(format!("not recorded ({code}): {text}"))),
        None => Err(Failure::Failed(text)),
    }
}

/// The file's contents, to be kept byte for byte.
pub(super) fn payload(file: &Path) -> Result<String, Failure> {
    let reading = |error: io::Error| Failure::Usage(format!("reading the payload {}: {error}", file.display()));
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(reading)?;
        bytes
    } else {
        fs::read(file).map_err(reading)?
    };
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("the payload {} is not UTF-8", file.display())))
}

/// Requests from standard input, as many at once as are there, one reply line each, in order.
fn stream(session: &Session) -> Result<(), Failure> {
    let mut input = BufReader::with_capacity(1 << 20, io::stdin().lock());
    let mut recorder = Recorder::new(session);
    let progress = !session.quiet && io::stderr().is_terminal() && !io::stdout().is_terminal();
    let (mut done, mut refused) = (0_u64, 0_u64);
    loop {
        let batch = batch(&mut input)?;
        if batch.is_empty() {
            break;
        }
        let mut out = io::stdout().lock();
        for reply in recorder.record(&batch)? {
            done += 1;
            refused += u64::from(!reply.starts_with(b"{\"ok\":true"));
            out.write_all(&reply)?;
        }
        out.flush()?;
        if progress {
            eprint!("\r{done} lines, {refused} refused");
        }
    }
    if progress && done > 0 {
        eprintln!();
    }
    if refused > 0 { Err(Failure::Failed(format!("{refused} of {done} lines were not recorded"))) } else { Ok(()) }
}

/// The next line, and those behind it that have come already.
fn batch(input: &mut BufReader<impl Read>) -> Result<Vec<Vec<u8>>, Failure> {
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
            lines.push(with_op(text));
        }
    }
    Ok(lines)
}

/// A request whose `op` was left out is a `record`.
fn with_op(line: &[u8]) -> Vec<u8> {
    let has_op = Fields::parse(line).map(|mut fields| fields.present("op").is_some());
    match (has_op, line) {
        (Ok(false), [b'{', rest @ ..]) => {
            let comma: &[u8] = if rest.trim_ascii_start().starts_with(b"}") { b"" } else { b"," };
            [b"{\"op\":\"record\"", comma, rest].concat()
        }
        // The agent says what is wrong with it.
        _ => line.to_vec(),
    }
}

/// Records through the agent, or without one in the store itself.
struct Recorder<'s> {
    session: &'s Session,
    client: Option<Client>,
}

impl<'s> Recorder<'s> {
    fn new(session: &'s Session) -> Self {
        Self { session, client: None }
    }

    /// One reply line for each request line.
    fn record(&mut self, lines: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Failure> {
        let begun = since_boot();
        while self.client.is_none() {
            match Client::connect(&self.session.config.agent.socket, Door::App) {
                Ok(client) => self.client = Some(client),
                Err(NoAgent::NotRunning(told)) => match direct::record(&self.session.config, lines)? {
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

#[cfg(test)]
mod tests {
    use super::with_op;

    #[test]
    fn an_op_that_was_left_out_is_record() {
        let with = |line: &str| String::from_utf8(with_op(line.as_bytes())).expect("UTF-8");
        assert_eq!(with(r#"{"entity_id":"1"}"#), r#"{"op":"record","entity_id":"1"}"#);
        assert_eq!(with("{}"), r#"{"op":"record"}"#);
        assert_eq!(with(r#"{"op":"hello"}"#), r#"{"op":"hello"}"#);
        assert_eq!(with("{broken"), "{broken");
        assert_eq!(with("[]"), "[]");
    }
}

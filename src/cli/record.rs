//! `record`: one failure, or a stream of them.

use super::args::{Global, RecordArgs};
use super::session::Session;
use super::stream::{RequestStream, stream};
use super::{Failure, payload};
use crate::text::record as words;
use crate::wire::fields::{Fields, legible};
use crate::wire::request::Socket;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Runs the command.
pub fn run(global: &Global, args: &RecordArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if args.stream.is_some() {
        return stream(&session, Socket::App, &mut io::stdin().lock(), with_op, |out, reply| out.write_all(reply));
    }
    one(&session, args)
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
    // An error message may have any encoding.
    put("error", args.error.as_ref().map(|error| Value::from(error.to_string_lossy())));
    put("http_status", args.http_status.map(Value::from));
    put("idempotency_key", args.key.clone().map(Value::from));
    put("order_key", args.order_key.clone().map(Value::from));
    put("retry", args.now.then(|| json!("now")));
    if let Some(file) = &args.payload_file {
        payload::put_into(&mut request, &payload::read(file, args.payload_type)?);
    }
    let line = Value::Object(request).to_string().into_bytes();
    let mut courier = RequestStream::new(session, Socket::App);
    let replies = courier.deliver(&[line])?;
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
    if let Some(silent) = courier.lost {
        return Err(silent);
    }
    let error = &reply["error"];
    let text = super::render::spoken_by_agent(error["message"].as_str().unwrap_or(words::no_answer()));
    match error["code"].as_str() {
        Some("bad_request") => Err(Failure::Usage(text)),
        Some(code) => Err(Failure::Failed(words::not_recorded(code, &text))),
        None => Err(Failure::Failed(text)),
    }
}

/// Adds `record` to a request without `op`.
fn with_op(line: &[u8]) -> Vec<u8> {
    let line = legible(line);
    let has_op = Fields::parse(&line).map(|mut fields| fields.present("op").is_some());
    match (has_op, &*line) {
        (Ok(false), [b'{', rest @ ..]) => {
            let comma: &[u8] = if rest.trim_ascii_start().starts_with(b"}") { b"" } else { b"," };
            [b"{\"op\":\"record\"", comma, rest].concat()
        }
        // The agent reports what is wrong with it.
        _ => line.to_vec(),
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

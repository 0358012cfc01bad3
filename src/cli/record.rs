//! `record`: one failure, or a stream of them.

use super::Failure;
use super::args::{Global, RecordArgs};
use super::client::Door;
use super::session::Session;
use super::stream::{Courier, stream};
use crate::wire::fields::Fields;
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

/// Runs the command.
pub fn run(global: &Global, args: &RecordArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    if args.stream.is_some() {
        return stream(&session, Door::App, &mut io::stdin().lock(), with_op, |out, reply| out.write_all(reply));
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
    put("error", args.error.clone().map(Value::from));
    put("http_status", args.http_status.map(Value::from));
    put("idempotency_key", args.key.clone().map(Value::from));
    put("order_key", args.order_key.clone().map(Value::from));
    put("retry", args.now.then(|| json!("now")));
    put("payload", args.payload_file.as_deref().map(payload).transpose()?.map(Value::from));
    let line = Value::Object(request).to_string().into_bytes();
    let replies = Courier::new(session, Door::App).deliver(&[line])?;
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

//! A request line: every input is a request within its bounds, or an error reply of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resyncd::limits::{Limits, MAX_ERROR, MAX_IDEMPOTENCY_KEY, MAX_KEY, MAX_NAME};
use resyncd::wire::reply;
use resyncd::wire::request::{Request, Socket, parse};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

fuzz_target!(|line: &[u8]| {
    if line.contains(&b'\n') {
        return; // A line never contains its terminator.
    }
    let limits = Limits { max_payload: 1 << 10, ..Limits::default() };
    for socket in [Socket::App, Socket::Admin] {
        let parsed = parse(line, socket, &limits);
        match &parsed.request {
            Ok(Request::Record(new)) => {
                let within = |text: &str, most| !text.is_empty() && text.chars().count() <= most;
                assert!(within(&new.entity_type, MAX_NAME) && within(&new.action, MAX_NAME));
                assert!(within(&new.entity_id, MAX_KEY));
                assert!(new.order_key.as_ref().is_none_or(|key| within(key, MAX_KEY)));
                assert!(new.idempotency_key.as_ref().is_none_or(|key| within(key, MAX_IDEMPOTENCY_KEY)));
                assert!(new.error.len() <= MAX_ERROR);
                assert!(new.payload.as_ref().is_none_or(|(text, kind)| kind.bytes_of(text).len() <= limits.max_payload));
            }
            Ok(Request::Bulk(_) | Request::Pause { .. } | Request::Resume { .. }) => {
                assert!(socket == Socket::Admin, "an operation of people on the applications' socket");
            }
            Ok(_) => {}
            Err(rejection) => {
                let reply = reply::error(rejection, parsed.reference);
                let (end, text) = reply.split_last().expect("a reply is not empty");
                assert!(*end == b'\n' && !text.contains(&b'\n'), "more than one line");
                // Raw, because a `ref` is returned unchanged, and may be a number that no type holds.
                let reply: BTreeMap<&str, &RawValue> = serde_json::from_slice(text).expect("a reply is JSON");
                assert_eq!(reply["ok"].get(), "false");
            }
        }
    }
});

//! A line to import: every input is a failure within its bounds, or an error of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resyncd::limits::{Limits, MAX_ERROR, MAX_ID, MAX_IDEMPOTENCY_KEY, MAX_KEY, MAX_NAME};
use resyncd::record::{Disposition, PayloadKind};
use resyncd::wire::import::parse;
use serde_json::value::RawValue;

fuzz_target!(|line: &[u8]| {
    let limits = Limits { max_payload: 1 << 10, ..Limits::default() };
    match parse(line, &limits) {
        Ok(row) => {
            let within = |text: &str, most| !text.is_empty() && text.chars().count() <= most;
            assert!(within(row.id.as_str(), MAX_ID));
            assert!(within(&row.new.entity_type, MAX_NAME) && within(&row.new.action, MAX_NAME));
            assert!(within(&row.new.entity_id, MAX_KEY));
            assert!(row.new.idempotency_key.as_ref().is_none_or(|key| within(key, MAX_IDEMPOTENCY_KEY)));
            assert!(row.new.error.len() <= MAX_ERROR);
            assert!(row.left.is_none_or(|(how, _)| how != Disposition::Delivered));
            if let Some((text, kind)) = &row.new.payload {
                assert!(kind.bytes_of(text).len() <= limits.max_payload);
                assert!(*kind != PayloadKind::Json || serde_json::from_str::<&RawValue>(text).is_ok(), "no JSON: {text:?}");
            }
        }
        Err(rejection) => assert!(!rejection.message.is_empty()),
    }
});

//! An upstream's response: every response has a class, and only a reason makes it a delivery.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resyncd::config::{Config, Overrides, Environment};
use resyncd::limits::{MAX_ERROR, MAX_RETRY_AFTER};
use resyncd::moment::WallTime;
use resyncd::policy::class::{Class, classify};
use resyncd::policy::ending::Target;
use resyncd::policy::ending::Answer;
use resyncd::policy::ending::Ending;
use resyncd::policy::answer_rules::Reading;
use std::sync::LazyLock;

/// Upstreams with different answer rules.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = r#"
        [upstream.plain]
        url = "http://127.0.0.1:1/x"
        [upstream.proof]
        url = "https://hq.example/x"
        expect = "json"
        expect_id = "/id"
        [upstream.adapter]
        url = "http://127.0.0.1:2/x"
        adapter = true
        [upstream.rules]
        url = "https://odoo.example/x"
        [[upstream.rules.answer]]
        status = [200]
        present = "/error"
        is = "refused"
        message = "/error/data/message"
        [[upstream.rules.answer]]
        nonempty = "/errors"
        contains = "busy"
        is = "busy"
        [[upstream.rules.answer]]
        json = { "/code" = 100 }
        is = "login"
        [[route]]
        upstream = "plain"
    "#;
    Config::load(Some(("fuzz", text)), &Overrides::default(), &Environment::default()).expect("a right configuration")
});

/// Status, then lines of headers by their first letter, then the body after an empty line.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let (status, rest) = bytes.split_at_checked(2)?;
    let mut answer = Answer { status: 100 + u16::from_le_bytes(status.try_into().ok()?) % 500, ..Answer::default() };
    let mut rest = rest;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, behind) = (&rest[..end], &rest[end + 1..]);
        rest = behind;
        let Some((kind, text)) = line.split_first() else { break };
        let text = Some(String::from_utf8_lossy(text).into_owned());
        match kind {
            b't' => answer.content_type = text,
            b'l' => answer.location = text,
            b'r' => answer.retry_after = text,
            b'd' => answer.date = text.as_deref().and_then(WallTime::parse_http_date),
            b'o' => answer.outcome = text,
            b'e' => answer.outcome_error = text,
            _ => {}
        }
    }
    answer.body = rest.to_vec();
    Some(answer)
}

fuzz_target!(|bytes: &[u8]| {
    let Some(answer) = answer(bytes) else { return };
    let status = answer.status;
    let adapters_word = answer.outcome.is_some();
    let ending = Ending::Answered(answer);
    for upstream in &CONFIG.upstreams {
        let reading = Reading { upstream, route: None, id: "0198-id", key: "key-1" };
        let verdict = classify(&ending, &Target::of(&upstream.url), &reading, WallTime::from_millis(1_795_500_754_123));
        assert!(verdict.error.len() <= MAX_ERROR);
        assert!(verdict.retry_after.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        if verdict.class == Class::Delivered {
            let said = upstream.adapter && adapters_word;
            assert!((200..300).contains(&status) || said, "{}: {status} is not a delivery", upstream.name);
        }
    }
});

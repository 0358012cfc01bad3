//! Lines, half-close, order of replies, and input that is not a JSON object.

use crate::support::{Agent, Plan, code, lines, record};
use serde_json::{Value, json};

/// One JSON object a line, ended by LF or CRLF, split at 0x0A only; a blank line is ignored.
#[test]
fn lines_end_with_lf_or_crlf_and_blank_ones_are_nothing() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    app.send("\n\r\n  \n{\"op\":\"hello\",\"ref\":1}\r\n\n{\"op\":\"hello\",\"ref\":2}\n\t\r\n{\"op\":\"hello\",\r\"ref\":3}\n");
    let seen: Vec<Value> = (0..3).map(|_| app.reply()["ref"].clone()).collect();
    assert_eq!(json!(seen), json!([1, 2, 3]));
    app.half_close();
    assert_eq!(app.rest(), Vec::<Value>::new(), "blank lines have no replies");
}

/// A line may come in any number of pieces.
#[test]
fn a_line_may_come_byte_by_byte() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    let line = format!("{}\r\n{}\n", record("s-1", &json!({"ref": "a"})), json!({"op": "hello", "ref": "b"}));
    for byte in line.bytes() {
        app.send([byte]);
    }
    assert_eq!((app.reply()["ref"].clone(), app.reply()["ref"].clone()), (json!("a"), json!("b")));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 1);
}

/// Many requests without waiting: each gets exactly one reply line, in request order; half-close is
/// honoured.
#[test]
fn pipelined_requests_are_answered_in_order_after_a_half_close() {
    const MANY: usize = 2000;
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    let all = lines((0..MANY).map(|n| record(&format!("s-{n}"), &json!({"ref": n}))));
    // Less than what the agent leaves unread of a client that does not read.
    app.send(&all);
    app.half_close();
    let replies = app.rest();
    assert_eq!(replies.len(), MANY);
    let mut seq = 0;
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!((&reply["ok"], &reply["ref"]), (&json!(true), &json!(n)), "{reply}");
        let next = reply["seq"].as_i64().expect("a number");
        assert!(next > seq, "recorded in order");
        seq = next;
    }
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), MANY);
}

/// A question that takes the reader's way is not overtaken by one that does not.
#[test]
fn slow_and_quick_questions_are_answered_in_order() {
    let agent = Agent::start(&Plan::default());
    let mut admin = agent.admin();
    let ops =
        ["list", "hello", "health", "unsent", "hello", "list", "pause", "flush", "resume", "hello", "nonsense", "list"];
    let many = 20 * ops.len();
    admin.send(lines((0..many).map(|n| json!({"op": ops[n % ops.len()], "ref": n}))));
    for n in 0..many {
        assert_eq!(admin.reply()["ref"], json!(n), "a later question was answered first");
    }
}

/// As above, with a half-close behind the last one: every reply comes, then the end.
#[test]
fn slow_questions_are_answered_after_a_half_close() {
    let agent = Agent::start(&Plan::default());
    let mut admin = agent.admin();
    let ops = ["list", "health", "unsent", "flush"];
    admin.send(lines((0..60).map(|n| json!({"op": ops[n % 4], "ref": n}))));
    admin.half_close();
    let seen: Vec<Value> = admin.rest().iter().map(|reply| reply["ref"].clone()).collect();
    assert_eq!(json!(seen), json!((0..60).collect::<Vec<_>>()));
}

/// A record and a question behind it in one write: the question sees the record.
#[test]
fn a_question_sees_what_was_recorded_before_it() {
    let agent = Agent::start(&Plan::default());
    let mut admin = agent.admin();
    admin.send(format!("{}\n{}\n{}\n", record("s-1", &json!({})), json!({"op": "unsent"}), json!({"op": "list"})));
    let id = admin.reply()["id"].clone();
    assert_eq!(admin.reply()["unsent"], 1);
    assert_eq!(admin.reply()["failures"][0]["id"], id);
}

/// `ref`, any JSON value, comes back as it was, also with errors.
#[test]
fn a_ref_comes_back_as_it_was() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    for reference in ["null", "0", "-1.50e+10", "12345678901234567890123", "\"\\u00e9\\/\"", "[1, {\"a\" :2}]", "false"]
    {
        for request in
            ["\"op\":\"hello\"", "\"op\":\"get\",\"id\":\"unknown\"", "\"op\":\"nonsense\"", "\"op\":\"record\""]
        {
            app.line(&format!("{{{request},\"ref\":{reference}}}"));
            let text = app.text().expect("a reply");
            assert!(text.ends_with(&format!(",\"ref\":{reference}}}")), "{request} {reference}: {text}");
        }
    }
    assert!(app.call(&json!({"op": "hello"})).get("ref").is_none(), "without one there is none");
}

/// Invalid UTF-8 or JSON gets `bad_json`, and the connection goes on with the next line.
#[test]
fn what_is_no_json_object_is_bad_json_and_the_connection_goes_on() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    let lines: [&[u8]; 12] = [
        b"nonsense",
        b"[]",
        b"\"hello\"",
        b"7",
        b"null",
        b"{",
        b"{\"op\":\"hello\"} {\"op\":\"hello\"}",
        b"{\"op\":\"hel\xfflo\"}",
        b"{\"op\":\"hello\",\"ref\":\"\xc3\"}",
        b"\x00\x01\x02\x7f\xff\xfe",
        b"{\"op\":\"hello\",}",
        b"{'op':'hello'}",
    ];
    for line in lines {
        app.send([line, b"\n"].concat());
        let reply = app.reply();
        assert_eq!(code(&reply), "bad_json", "{:?}: {reply}", String::from_utf8_lossy(line));
        assert_eq!(app.call(&json!({"op": "hello"}))["ok"], true);
    }
}

/// Nesting deeper than 64 is `bad_json`; 64 is not.
#[test]
fn nesting_is_bounded() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    // The request itself is the first level.
    let nested = |n: usize| format!("{{\"op\":\"hello\",\"ref\":{}{}}}", "[".repeat(n - 1), "]".repeat(n - 1));
    app.line(&nested(64));
    assert_eq!(app.reply()["ok"], true);
    for depth in [65, 66, 500_000] {
        app.line(&nested(depth));
        assert_eq!(code(&app.reply()), "bad_json", "{depth}");
    }
    let payload = |n: usize| "{\"a\":".repeat(n) + "1" + &"}".repeat(n);
    let start =
        "{\"op\":\"record\",\"entity_type\":\"A\",\"entity_id\":\"1\",\"action\":\"B\",\"error\":\"x\",\"payload\":";
    app.line(&format!("{start}{}}}", payload(63)));
    assert_eq!(app.reply()["ok"], true);
    app.line(&format!("{start}{}}}", payload(64)));
    assert_eq!(code(&app.reply()), "bad_json");
    // Brackets within a string are none.
    app.line(&format!("{start}\"{}\"}}", "[{".repeat(1000)));
    assert_eq!(app.reply()["ok"], true);
}

/// A line of up to 1 MiB is read; a longer one gets `line_too_long`, and the connection is closed.
#[test]
fn a_line_too_long_is_said_so_and_closes_the_connection() {
    const MAX: usize = 1 << 20;
    let agent = Agent::start(&Plan::default());
    let line = |bytes: usize| {
        let frame = "{\"op\":\"hello\",\"ref\":\"\"}".len();
        format!("{{\"op\":\"hello\",\"ref\":\"{}\"}}", "x".repeat(bytes - frame))
    };
    let mut app = agent.app();
    app.line(&line(MAX));
    assert_eq!(app.reply()["ref"].as_str().map(str::len), Some(MAX - 23));
    app.line(&line(MAX + 1));
    assert_eq!(code(&app.reply()), "line_too_long");
    assert_eq!(app.text(), None, "the connection is closed");

    // An endless line is noticed while it arrives; the requests before it are answered.
    let mut endless = agent.app();
    endless.line(&json!({"op": "hello"}).to_string());
    // The agent may close before it has read everything.
    let _ = endless.send_what_it_takes(&vec![b'a'; 3 * MAX]);
    assert_eq!(endless.reply()["ok"], true);
    assert_eq!(code(&endless.reply()), "line_too_long");
    assert_eq!(endless.text(), None);
    assert_eq!(agent.call(&json!({"op": "hello"}))["ok"], true);
}

//! What each answer means, and that no answer,
//! however broken, gets a sender stuck, counts against a record, or is taken for a delivery.

use crate::support::{Agent, Answer, Plan, Upstream, id_of, record_now};
use serde_json::{Value, json};
use std::time::Duration;

/// A record whose first attempt gets this answer, and every later one 200.
struct Case {
    agent: Agent,
    upstream: Upstream,
    id: String,
}

impl Case {
    fn of(first: Answer) -> Self {
        let upstream = Upstream::start(move |request| match request.nth {
            1 => first.clone(),
            _ => Answer::status(200),
        });
        let agent = Agent::start(&Plan {
            upstream: "timeout = \"2s\"\ntotal_timeout = \"2s\"",
            ..Plan::impatient(upstream.url())
        });
        let id = id_of(&agent.call(&record_now("s-1")));
        Self { agent, upstream, id }
    }

    /// The attempts of a delivered failure: class, and whether it counted.
    fn tries(&self) -> Value {
        self.agent.wait_gone(&self.id);
        json!(self.agent.rows("SELECT class, counted FROM sync_attempts ORDER BY id"))
    }
}

/// Every 2xx that is not HTML is a delivery (`expect = "any"`), with a body or without.
#[test]
fn any_2xx_that_is_no_web_page_is_a_delivery() {
    let upstream = Upstream::start(|request| {
        let status = request.entity().parse().expect("a status");
        let body = if status == 204 { String::new() } else { "accepted".to_owned() };
        Answer::Reply { status, headers: vec![("Content-Type", "text/plain".to_owned())], body }
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let ids = [200, 201, 202, 204, 226, 299].map(|status: u16| id_of(&agent.call(&record_now(&status.to_string()))));
    for id in &ids {
        agent.wait_gone(id);
    }
    assert_eq!(upstream.deliveries().len(), ids.len());
}

/// The answers that say something of the line, of a load, or of the set-up: none of them counts.
#[test]
fn what_is_the_lines_fault_is_classed_and_not_counted() {
    let cases = [
        (Answer::status(511), "unreachable"),
        (Answer::status(429), "throttled"),
        (Answer::status(529), "throttled"),
        (Answer::status(408), "busy"),
        (Answer::status(425), "busy"),
        (Answer::status(502), "busy"),
        (Answer::status(503), "busy"),
        (Answer::status(504), "busy"),
        (Answer::status(522), "busy"),
        (Answer::status(599), "unsure"),
        (Answer::status(421), "misconfigured"),
        (Answer::status(526), "misconfigured"),
        (Answer::status(401), "misconfigured"),
        (Answer::status(407), "misconfigured"),
        (Answer::status(302).with("Location", "/elsewhere"), "misconfigured"),
    ];
    let started = cases.map(|(answer, class)| (Case::of(answer), class));
    for (case, class) in &started {
        assert_eq!(case.tries(), json!([[class, 0], ["delivered", 0]]));
    }
}

/// "Every other status" is about the failure: it counts, and waits its step.
#[test]
fn every_other_status_counts() {
    let started = [403, 404, 405, 409, 410, 418, 500, 501, 505, 600].map(|status| Case::of(Answer::status(status)));
    for case in &started {
        assert_eq!(case.tries(), json!([["failed", 1], ["delivered", 0]]));
    }
}

/// Garbage, an answer that breaks off in its head or body: `unsure`, as the request was sent.
#[test]
fn a_broken_answer_is_no_delivery() {
    let broken: [&[u8]; 6] = [
        b"",
        b"HTTP/1.1 200 O",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00\xff\x00\xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"id\":",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ];
    let started = broken.map(|bytes| (Case::of(Answer::Raw(bytes.to_vec())), String::from_utf8_lossy(bytes)));
    for (case, answer) in &started {
        assert_eq!(case.tries(), json!([["unsure", 0], ["delivered", 0]]), "{answer:?}");
        let tries = case.upstream.deliveries();
        assert!(tries[0].body == tries[1].body && tries[0].key() == tries[1].key());
    }
}

/// Slow-loris and endless headers hold a sender no longer than its time-out.
#[test]
fn an_answer_without_end_is_given_up_after_the_time_out() {
    let slow = Duration::from_millis(100);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let started = [
        Answer::Endless { start: "HTTP/1.1 20", again: "0".into(), pause: slow },
        Answer::Endless { start: head, again: "X-More: 1\r\n".into(), pause: slow },
        Answer::Endless { start: head, again: format!("X-More: {}\r\n", "x".repeat(4000)), pause: Duration::ZERO },
        Answer::Endless { start: "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", again: "x".into(), pause: slow },
    ]
    .map(Case::of);
    for (n, case) in started.iter().enumerate() {
        assert_eq!(case.tries(), json!([["unsure", 0], ["delivered", 0]]), "case {n}");
    }
}

/// At most 64 KiB of a body are read; more is ignored, also when it never ends.
#[test]
fn a_huge_body_is_a_delivery_all_the_same() {
    let huge = Case::of(Answer::json(200, &format!("[\"{}\"]", "x".repeat(5 << 20))));
    let endless = Case::of(Answer::Endless {
        start: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
        again: "x".repeat(16 << 10),
        pause: Duration::ZERO,
    });
    for case in [&huge, &endless] {
        assert_eq!(case.tries(), json!([["delivered", 0]]));
        assert!(case.agent.cell("SELECT LENGTH(CAST(response AS BLOB)) FROM sync_attempts").as_i64() <= Some(2 << 10));
    }
}

/// `error` of an answered attempt: the status and the text of the response.
#[test]
fn an_error_is_the_answers_own_words() {
    let upstream = Upstream::start(|request| match request.entity() {
        "message" => Answer::json(422, r#"{"code":7,"message":"no such SKU","detail":"x"}"#),
        "detail" => Answer::json(422, r#"{"detail":"no such till"}"#),
        "nested" => Answer::json(422, r#"{"error":{"message":"no such store"}}"#),
        "error" => Answer::json(422, r#"{"error":"no such day"}"#),
        "text" => Answer::Reply { status: 422, headers: Vec::new(), body: "  plain words\r\n".into() },
        _ => Answer::Reply { status: 422, headers: Vec::new(), body: "\u{1b}[31m<b>\u{202e}".into() },
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let cases = [
        ("message", "HTTP 422: no such SKU"),
        ("detail", "HTTP 422: no such till"),
        ("nested", "HTTP 422: no such store"),
        ("error", "HTTP 422: no such day"),
        ("text", "HTTP 422: plain words"),
        ("hostile", "HTTP 422: \u{1b}[31m<b>\u{202e}"),
    ];
    for (entity, words) in cases {
        let id = id_of(&agent.call(&record_now(entity)));
        assert_eq!(agent.wait_critical(&id)["error"], words);
    }
    assert!(!agent.log().contains('\u{1b}'), "no log line commands a terminal");
}

//! The classification table, row by row.

use super::*;
use crate::config::{Config, Environment, Overrides};

fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

/// An upstream without answer rules.
fn upstream() -> crate::config::Upstream {
    let text = "[upstream.hq]\nurl = \"https://hq.example/sync\"";
    let config = Config::load(Some(("f", text)), &Overrides::default(), &Environment::default());
    config.expect("a right configuration").upstreams.remove(0)
}

fn understood(ending: &Ending, url: &str, wall: WallTime) -> Verdict {
    let upstream = upstream();
    let reading = Reading { upstream: &upstream, route: None, id: "the-id", key: "the-key" };
    classify(ending, &Target::of(url), &reading, wall)
}

fn verdict(answer: Answer, url: &str) -> Verdict {
    understood(&Ending::Answered(answer), url, WallTime::from_millis(0))
}

fn class(answer: Answer) -> Class {
    verdict(answer, "http://hq.example/sync").class
}

#[test]
fn statuses() {
    use Class::*;
    let rows: [(&[u16], Class); 8] = [
        (&[200, 201, 202, 204], Delivered),
        (&[511], Unreachable),
        (&[429, 509, 529], Throttled),
        (&[408, 425, 502, 503, 504, 507, 520, 521, 522, 523, 524, 527, 530], Busy),
        (&[598, 599], Unsure),
        (&[401, 407, 421, 301, 302, 304, 308, 525, 526, 561], Misconfigured),
        (&[400, 411, 413, 414, 415, 422, 431], Refused),
        (&[101, 402, 403, 404, 405, 409, 410, 418, 451, 500, 501, 505, 508, 510, 519, 531, 600, 999], Failed),
    ];
    for (statuses, expected) in rows {
        for &status in statuses {
            assert_eq!(class(answer(status)), expected, "{status}");
        }
    }
}

#[test]
fn a_503_that_asks_to_wait_is_throttling_and_garbage_is_not_asking() {
    let waiting = |text: &str| verdict(Answer { retry_after: Some(text.into()), ..answer(503) }, "http://hq/");
    assert_eq!(waiting("7").class, Class::Throttled);
    assert_eq!(waiting("7").retry_after, Some(Duration::from_secs(7)));
    assert_eq!(waiting("1.5").retry_after, Some(Duration::from_secs(2)));
    assert_eq!(waiting("3.000").retry_after, Some(Duration::from_secs(3)));
    for garbage in ["soon", "-5", "", "1.5.2", ".5", "5.", "1e3", "0x10"] {
        assert_eq!(waiting(garbage).class, Class::Busy, "{garbage}");
    }
}

#[test]
fn retry_after_is_bounded_and_its_date_is_held_against_the_answers() {
    let now = WallTime::parse("2026-11-24T06:00:00Z").expect("a time");
    assert_eq!(retry_after("99999999999999999999999", now), Some(MAX_RETRY_AFTER));
    assert_eq!(retry_after("0", now), Some(Duration::ZERO));
    for form in ["Tue, 24 Nov 2026 06:01:30 GMT", "Tuesday, 24-Nov-26 06:01:30 GMT", "Tue Nov 24 06:01:30 2026"] {
        assert_eq!(retry_after(form, now), Some(Duration::from_secs(90)), "{form}");
    }
    assert_eq!(retry_after("Tue, 24 Nov 2026 05:00:00 GMT", now), Some(Duration::ZERO), "in the past");
    let dated = Answer { retry_after: Some("Tue, 24 Nov 2026 06:00:10 GMT".into()), date: Some(now), ..answer(429) };
    let wrong_clock = WallTime::parse("2016-01-01").expect("a time");
    let verdict = understood(&Ending::Answered(dated), "http://hq/", wrong_clock);
    assert_eq!(verdict.retry_after, Some(Duration::from_secs(10)));
}

#[test]
fn a_captive_portals_page_is_no_delivery() {
    let body = b"\n <!DOCTYPE HTML><title>Welcome".to_vec();
    for kind in [None, Some(""), Some("text/html; charset=utf-8"), Some("application/json"), Some("text/plain")] {
        let page = Answer { content_type: kind.map(str::to_owned), body: body.clone(), ..answer(200) };
        assert_eq!(verdict(page.clone(), "http://hq/").class, Class::Unreachable, "{kind:?}");
        assert_eq!(verdict(page.clone(), "http://hq/").contact, Contact::Doubtful, "{kind:?}");
        assert_eq!(verdict(page, "https://hq/").class, Class::Misconfigured, "{kind:?}");
    }
}

#[test]
fn what_a_script_says_is_no_page_whatever_its_type() {
    for body in ["", "OK", "1", "{}", "[1]", "\u{feff}{\"id\":7}", " \n"] {
        let said = |kind: &str| class(Answer { content_type: Some(kind.into()), body: body.into(), ..answer(200) });
        assert_eq!(
            (said("text/html"), said("application/xhtml+xml")),
            (Class::Delivered, Class::Delivered),
            "{body:?}"
        );
    }
}

/// PHP reports its own end under status 200 where it displays errors. A warning before the answer is no end.
#[test]
fn a_script_that_has_died_has_accepted_nothing() {
    let said = |kind: &str, body: &str| {
        let answer = Answer { content_type: Some(kind.into()), body: body.into(), ..answer(200) };
        (class(answer.clone()), verdict(answer, "http://hq/").error)
    };
    let trace = "Uncaught Error: no such table in /srv/sync.php:7\nStack trace:\n#0 {main}\n  thrown in";
    for body in [
        format!("<br />\n<b>Fatal error</b>:  {trace} <b>/srv/sync.php</b> on line <b>7</b><br />\n"),
        format!("{{\"id\":7,<br />\n<b>Fatal error</b>:  {trace} <b>/srv/sync.php</b> on line <b>7</b><br />\n"),
        "<br />\n<b>Parse error</b>:  syntax error in <b>/srv/x.php</b> on line <b>3</b><br />\n".to_owned(),
        format!("PHP Fatal error:  {trace} /srv/sync.php on line 7\n"),
        "OK\nFatal error: Allowed memory size exhausted in /srv/sync.php on line 7\n".to_owned(),
    ] {
        let (class, error) = said("text/html; charset=UTF-8", &body);
        assert_eq!(class, Class::Failed, "{body}");
        assert!(error.contains("error") && error.contains("HTTP 200: "), "{error}");
    }
    for body in [
        "<br />\n<b>Warning</b>:  Undefined variable in <b>/srv/x.php</b> on line <b>3</b><br />\nOK",
        "<br />\n<b>Notice</b>:  x in <b>/srv/x.php</b> on line <b>3</b><br />\n{\"id\":7}",
        "{\"log\":\"Fatal error: x in /a.php on line 3\"}",
        "saved; last Fatal error: none on line 3",
        "Fatal error: 0",
    ] {
        assert_eq!(said("text/html", body).0, Class::Delivered, "{body}");
    }
}

#[test]
fn a_refused_client_certificate_is_no_fault_of_the_record() {
    let page = |words: &str| {
        let body = format!("<html><head><title>400 {words}</title></head></html>").into_bytes();
        class(Answer { content_type: Some("text/html".into()), body, ..answer(400) })
    };
    assert_eq!(page("No required SSL certificate was sent"), Class::Misconfigured);
    assert_eq!(page("The SSL certificate error"), Class::Misconfigured);
    assert_eq!(page("The plain HTTP request was sent to HTTPS port"), Class::Misconfigured);
    assert_eq!(page("Bad Request"), Class::Refused);
}

#[test]
fn redirects() {
    let to = |location: &str| class(Answer { location: Some(location.into()), ..answer(302) });
    assert_eq!(to("http://portal.example/login"), Class::Unreachable);
    assert_eq!(to("//portal.example/"), Class::Unreachable);
    assert_eq!(to("https://HQ.example/sync"), Class::Misconfigured, "the same host by TLS");
    assert_eq!(to("https://user@hq.example:8443/x"), Class::Misconfigured);
    for relative in ["/login", "/login?next=https://other.example/x", "/a//b", "login?u=//other.example", "", "?x=//y"]
    {
        assert_eq!(to(relative), Class::Misconfigured, "{relative}");
    }
    assert_eq!(to("HTTP://Portal.example./"), Class::Unreachable);
    assert_eq!(to("http://hq.example./sync"), Class::Misconfigured, "the same host, written in full");
    let by_tls =
        verdict(Answer { location: Some("https://portal.example/".into()), ..answer(302) }, "https://hq.example/");
    assert_eq!(by_tls.class, Class::Misconfigured, "who redirects holds the upstream's certificate");
    assert_eq!(by_tls.error, "HTTP 302: redirects to https://portal.example/");
}

#[test]
fn ends_without_an_answer() {
    let end = |ending| {
        let verdict = understood(&ending, "https://hq/", WallTime::from_millis(0));
        (verdict.class, verdict.contact)
    };
    let text = || "x".to_owned();
    assert_eq!(end(Ending::NotSent(ConnectError::Lookup, text())), (Class::Unreachable, Contact::Doubtful));
    assert_eq!(end(Ending::NotSent(ConnectError::NoConnection, text())), (Class::Unreachable, Contact::Doubtful));
    assert_eq!(end(Ending::NotSent(ConnectError::Certificate, text())), (Class::Unreachable, Contact::Doubtful));
    assert_eq!(end(Ending::NotSent(ConnectError::ConnectTimeout, text())), (Class::Unreachable, Contact::Silent));
    assert_eq!(end(Ending::NotSent(ConnectError::CertificateTime, text())).0, Class::Misconfigured);
    assert_eq!(end(Ending::Broken(InterruptKind::Timeout, text())), (Class::Unsure, Contact::Silent));
    assert_eq!(end(Ending::Broken(InterruptKind::Reset, text())), (Class::Unsure, Contact::Silent));
    assert_eq!(end(Ending::InvalidRequest(text())), (Class::Refused, Contact::None));
}

#[test]
fn the_answers_own_words_become_the_error() {
    let error = |body: &str| verdict(Answer { body: body.into(), ..answer(422) }, "http://hq/").error;
    assert_eq!(error(r#"{"message":"unknown SKU 4711"}"#), "HTTP 422: unknown SKU 4711");
    assert_eq!(error(r#"{"detail":"no"}"#), "HTTP 422: no");
    assert_eq!(error(r#"{"error":{"message":"deep"}}"#), "HTTP 422: deep");
    assert_eq!(error(r#"{"error":"plain"}"#), "HTTP 422: plain");
    assert_eq!(error("just text\n"), "HTTP 422: just text");
    assert_eq!(error(""), "HTTP 422: Unprocessable Entity");
    assert_eq!(error(r#"{"error":{"code":7}}"#), r#"HTTP 422: {"error":{"code":7}}"#);
}

#[test]
fn names_of_classes_are_read_back() {
    for class in Class::ALL {
        assert_eq!(Class::parse(class.as_str()), Some(class));
    }
    assert_eq!(Class::parse("odd"), None);
}

/// Kinds of bodies, with their content types.
const BODIES: [(&str, Option<&str>, &[u8]); 9] = [
    ("none", None, b""),
    ("json", Some("application/json"), b"{\"id\":\"the-id\"}"),
    ("json as html", Some("text/html"), b"{\"id\":\"the-id\"}"),
    ("another id", Some("application/json"), b"{\"id\":\"other\"}"),
    ("text", Some("text/plain"), b"OK"),
    ("text as html", Some("text/html"), b"OK"),
    ("page", Some("text/html"), b"<!doctype html><html>"),
    ("page as json", Some("application/json"), b"<html>"),
    ("garbage", Some("application/json"), b"\xff\xfe{"),
];

/// The specified class of a status alone, written independently of the code.
fn by_status(status: u16) -> Class {
    match status {
        s if s / 100 == 2 => Class::Delivered,
        s if s / 100 == 3 => Class::Misconfigured,
        401 | 407 | 421 | 525 | 526 | 561 => Class::Misconfigured,
        400 | 411 | 413 | 414 | 415 | 422 | 431 => Class::Refused,
        408 | 425 | 502 | 503 | 504 | 507 | 520 | 521 | 522 | 523 | 524 | 527 | 530 => Class::Busy,
        429 | 509 | 529 => Class::Throttled,
        511 => Class::Unreachable,
        598 | 599 => Class::Unsure,
        _ => Class::Failed,
    }
}

/// Every status with every kind of body, over both schemes and with every kind of proof.
#[test]
fn the_whole_table() {
    let config = |more: &str| {
        let text = format!("[upstream.hq]\nurl = \"https://hq.example/sync\"\n{more}");
        let config = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
        config.unwrap_or_else(|problems| panic!("{}", problems[0])).upstreams.remove(0)
    };
    let rule = "[[upstream.hq.answer]]\npresent = \"/error\"\nis = \"refused\"";
    let upstreams = [
        ("any", config("")),
        ("html", config("expect = \"html\"")),
        ("json", config("expect = \"json\"")),
        ("id", config("expect_id = \"/id\"")),
        ("rule", config(rule)),
    ];
    for status in 100..=999 {
        for (kind, content_type, body) in BODIES {
            let given = Answer { content_type: content_type.map(str::to_owned), body: body.to_vec(), ..answer(status) };
            for (proof, upstream) in &upstreams {
                for https in [true, false] {
                    let url = if https { "https://hq.example/" } else { "http://hq.example/" };
                    let reading = Reading { upstream, route: None, id: "the-id", key: "the-key" };
                    let ending = Ending::Answered(given.clone());
                    let found = classify(&ending, &Target::of(url), &reading, WallTime::from_millis(0));
                    let is_json = kind.contains("json") && kind != "page as json" || kind == "another id";
                    let plain = by_status(status);
                    let conclusive = matches!(plain, Class::Refused | Class::Failed);
                    let in_front = status / 100 == 3 || plain == Class::Unreachable || kind.starts_with("page");
                    let expected = match *proof {
                        "rule" if status / 100 != 2 && !is_json && (conclusive || !in_front) => Class::Unsure,
                        _ if status / 100 != 2 => plain,
                        proof if kind.starts_with("page") && proof != "html" => {
                            if https {
                                Class::Misconfigured
                            } else {
                                Class::Unreachable
                            }
                        }
                        "rule" if matches!(status, 204 | 205) && kind == "none" => Class::Delivered,
                        "json" | "rule" if !is_json => Class::Unsure,
                        "id" if !is_json || kind == "another id" => Class::Unsure,
                        _ => Class::Delivered,
                    };
                    assert_eq!(found.class, expected, "HTTP {status}, {kind}, expect {proof}, https {https}");
                    let passing = matches!(plain, Class::Busy | Class::Throttled | Class::Unsure);
                    let unreadable = expected == Class::Unsure && !is_json && !passing;
                    assert_eq!(found.unreadable, unreadable, "HTTP {status}, {kind}, expect {proof}");
                }
            }
        }
    }
}

/// Every end without a response, over both schemes: a request that was not sent is never unsure, and one that
/// was sent is never certain.
#[test]
fn the_whole_table_of_ends_without_an_answer() {
    use ConnectError::*;
    let class = |ending: &Ending| understood(ending, "https://hq/", WallTime::from_millis(0)).class;
    let unsent = [Lookup, NoConnection, ConnectTimeout, Certificate, CertificateTime, Tls, Credentials, Bug];
    for fault in unsent {
        let expected = match fault {
            Lookup | NoConnection | ConnectTimeout | Certificate | Tls => Class::Unreachable,
            CertificateTime | Credentials | Bug => Class::Misconfigured,
        };
        assert_eq!(class(&Ending::NotSent(fault, "x".into())), expected, "{fault:?}");
    }
    for fault in [InterruptKind::Timeout, InterruptKind::Upload, InterruptKind::Reset] {
        assert_eq!(class(&Ending::Broken(fault, "x".into())), Class::Unsure, "{fault:?}");
    }
}

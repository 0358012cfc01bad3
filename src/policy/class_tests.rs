//! The classification table, row by row.

use super::*;
use crate::config::{Config, Overrides, Surroundings};

fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

/// An upstream that says nothing of its own.
fn upstream() -> crate::config::Upstream {
    let text = "[upstream.hq]\nurl = \"https://hq.example/sync\"";
    let config = Config::load(Some(("f", text)), &Overrides::default(), &Surroundings::default());
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
    let rows: [(&[u16], Class); 7] = [
        (&[200, 201, 202, 204], Delivered),
        (&[511], Unreachable),
        (&[429], Throttled),
        (&[502, 503, 504], Busy),
        (&[401, 407, 301, 302, 304, 308], Misconfigured),
        (&[400, 411, 413, 414, 415, 422, 431], Refused),
        (&[402, 403, 404, 405, 408, 409, 410, 418, 425, 451, 500, 501, 505, 599], Failed),
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
    for garbage in ["soon", "-5", "", "1.5", "0x10"] {
        assert_eq!(waiting(garbage).class, Class::Busy, "{garbage}");
    }
}

#[test]
fn retry_after_is_bounded_and_its_date_is_held_against_the_answers() {
    let now = WallTime::parse("2026-11-24T06:00:00Z").expect("a time");
    assert_eq!(retry_after("99999999999999999999999", now), Some(MAX_RETRY_AFTER));
    assert_eq!(retry_after("0", now), Some(Duration::ZERO));
    assert_eq!(retry_after("Tue, 24 Nov 2026 06:01:30 GMT", now), Some(Duration::from_secs(90)));
    assert_eq!(retry_after("Tue, 24 Nov 2026 05:00:00 GMT", now), Some(Duration::ZERO), "in the past");
    let dated = Answer { retry_after: Some("Tue, 24 Nov 2026 06:00:10 GMT".into()), date: Some(now), ..answer(429) };
    let wrong_clock = WallTime::parse("2016-01-01").expect("a time");
    let verdict = understood(&Ending::Answered(dated), "http://hq/", wrong_clock);
    assert_eq!(verdict.retry_after, Some(Duration::from_secs(10)));
}

#[test]
fn a_captive_portals_page_is_no_delivery() {
    let page = Answer { content_type: Some("text/html; charset=utf-8".into()), ..answer(200) };
    assert_eq!(verdict(page.clone(), "http://hq/").class, Class::Unreachable);
    assert_eq!(verdict(page.clone(), "http://hq/").contact, Contact::Doubtful);
    assert_eq!(verdict(page, "https://hq/").class, Class::Misconfigured);
    let untyped = Answer { body: b"\n <!DOCTYPE HTML><title>Welcome".to_vec(), ..answer(200) };
    assert_eq!(class(untyped), Class::Unreachable);
    let json = Answer { content_type: Some("application/json".into()), body: b"<html".to_vec(), ..answer(200) };
    assert_eq!(class(json), Class::Delivered);
}

#[test]
fn an_empty_answer_is_no_page_whatever_its_type_unless_a_portal_could_have_given_it() {
    let empty = |status| class(Answer { content_type: Some("text/html".into()), ..answer(status) });
    for status in [201, 202, 204, 206] {
        assert_eq!(empty(status), Class::Delivered, "{status}");
    }
    assert_eq!(empty(200), Class::Unreachable);
    let created = Answer { content_type: Some("text/html".into()), body: b"<p>hello".to_vec(), ..answer(201) };
    assert_eq!(class(created), Class::Unreachable);
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
    assert_eq!(to("/login"), Class::Misconfigured);
}

#[test]
fn ends_without_an_answer() {
    let end = |ending| {
        let verdict = understood(&ending, "https://hq/", WallTime::from_millis(0));
        (verdict.class, verdict.contact)
    };
    let text = || "x".to_owned();
    assert_eq!(end(Ending::NotSent(LineFault::Lookup, text())), (Class::Unreachable, Contact::Doubtful));
    assert_eq!(end(Ending::NotSent(LineFault::NoConnection, text())), (Class::Unreachable, Contact::Doubtful));
    assert_eq!(end(Ending::NotSent(LineFault::Certificate, text())), (Class::Unreachable, Contact::Doubtful));
    assert_eq!(end(Ending::NotSent(LineFault::ConnectTimeout, text())), (Class::Unreachable, Contact::Silent));
    assert_eq!(end(Ending::NotSent(LineFault::CertificateTime, text())).0, Class::Misconfigured);
    assert_eq!(end(Ending::Broken(BreakFault::Timeout, text())), (Class::Unsure, Contact::Silent));
    assert_eq!(end(Ending::Broken(BreakFault::Reset, text())), (Class::Unsure, Contact::Silent));
    assert_eq!(end(Ending::Unbuildable(text())), (Class::Refused, Contact::None));
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

//! Responses of back ends that report errors in their own way.

use super::*;
use crate::config::{Config, Environment, Overrides};
use crate::moment::WallTime;
use crate::policy::class::{Verdict, classify};
use crate::policy::ending::Ending;
use crate::policy::ending::Target;

fn with<T>(config: &str, ask: impl FnOnce(&Reading) -> T) -> T {
    let text = format!("[upstream.hq]\nurl = \"https://hq.example/sync\"\n{config}");
    let config = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
    let config = config.unwrap_or_else(|problems| panic!("{}", problems[0]));
    let (upstream, route) = (&config.upstreams[0], config.routes.first());
    ask(&Reading { upstream, route, id: "the-id", key: "the-key" })
}

fn read(config: &str, answer: Answer) -> Verdict {
    with(config, |reading| {
        classify(&Ending::Answered(answer), &Target::of(&reading.upstream.url), reading, WallTime::from_millis(0))
    })
}

fn json(status: u16, body: &str) -> Answer {
    Answer { status, content_type: Some("application/json".into()), body: body.into(), ..Answer::default() }
}

const ODOO: &str = r#"
[[upstream.hq.answer]]
status = [200]
json = { "/error/code" = 100 }
is = "login"
[[upstream.hq.answer]]
status  = [200]
present = "/error"
is      = "refused"
message = "/error/data/message"
"#;

#[test]
fn an_api_that_says_no_with_200() {
    let no = read(ODOO, json(200, r#"{"error":{"code":200,"data":{"message":"no such product"}}}"#));
    assert_eq!((no.class, no.error.as_str()), (Class::Refused, "HTTP 200: no such product"));
    let ended = json(200, r#"{"error":{"code":100}}"#);
    assert_eq!(read(ODOO, ended.clone()).class, Class::Misconfigured);
    assert!(with(ODOO, |reading| reading.login_ended(&ended)));
    assert!(!with(ODOO, |reading| reading.login_ended(&json(200, r#"{"error":{}}"#))));
    assert!(with("", |reading| reading.login_ended(&json(401, "{}"))));
    assert_eq!(read(ODOO, json(200, r#"{"result":7}"#)).class, Class::Delivered);
    assert_eq!(read(ODOO, json(500, r#"{"error":{}}"#)).class, Class::Failed, "all conditions must hold");
}

#[test]
fn conditions_of_a_rule() {
    let rule = |conditions: &str| format!("[[upstream.hq.answer]]\n{conditions}\nis = \"failed\"");
    let class = |conditions: &str, body: &str| read(&rule(conditions), json(200, body)).class;
    assert_eq!(class("nonempty = \"/errors\"", r#"{"errors":[]}"#), Class::Delivered);
    assert_eq!(class("nonempty = \"/errors\"", r#"{"errors":["x"]}"#), Class::Failed);
    assert_eq!(class("present = \"/a\"", r#"{"a":null}"#), Class::Failed);
    assert_eq!(class("contains = \"ORA-\"", "\"ORA-00001\""), Class::Failed);
    assert_eq!(class("json = { \"/ok\" = false }", r#"{"ok":false}"#), Class::Failed);
    assert_eq!(class("json = { \"/n\" = 1 }", r#"{"n":1.0}"#), Class::Failed);
    assert_eq!(class("json = { \"/n\" = 1 }", "not json"), Class::Unsure, "nobody knows what it would have said");
    assert_eq!(class("status = [202]\njson = { \"/n\" = 1 }", "not json"), Class::Delivered, "another status decides");
    let rows = r#"{"rows":[{"state":"ok"},{"state":"bad","why":null}]}"#;
    assert_eq!(class("json = { \"/rows/*/state\" = \"bad\" }", rows), Class::Failed);
    assert_eq!(class("json = { \"/rows/*/state\" = \"worse\" }", rows), Class::Delivered);
    assert_eq!(class("present = \"/rows/*/why\"", rows), Class::Failed);
    assert_eq!(class("nonempty = \"/rows/*/why\"", rows), Class::Delivered);
    assert_eq!(class("present = \"/*/state\"", rows), Class::Delivered, "an object's member is named");
}

/// Bodies that a rule about JSON cannot read, with part of the reported reason.
#[test]
fn a_rule_that_cannot_be_evaluated_never_ends_in_a_delivery() {
    let refused = r#"{"error":{"data":{"message":"no such product"}}}"#;
    let plain = json(200, refused);
    assert_eq!(read(ODOO, plain.clone()).class, Class::Refused);
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(refused.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let understood = [
        Answer { body: [b"\xef\xbb\xbf", refused.as_bytes()].concat(), ..plain.clone() },
        Answer { body: utf16, ..plain.clone() },
        Answer {
            content_type: Some("application/json; charset=\"ISO-8859-1\"".into()),
            body: b"{\"error\":{\"data\":{\"message\":\"caf\xe9\"}}}".to_vec(),
            ..plain.clone()
        },
    ];
    for answer in understood {
        assert_eq!(read(ODOO, answer.clone()).class, Class::Refused, "{answer:?}");
    }
    let with_body = |body: &[u8]| Answer { body: body.to_vec(), ..plain.clone() };
    let deep = "[".repeat(400) + &"]".repeat(400);
    let unreadable = [
        (with_body(b"\nWarning: Undefined variable $x in /srv/sync.php on line 3\n{\"error\":{}}"), "not JSON"),
        (with_body(b"<br />\n<b>Warning</b>:  Undefined variable\n{\"error\":{}}"), "not JSON"),
        (with_body(b"callback({\"error\":{}})"), "not JSON"),
        (with_body(b"{\"error\":{}} <!-- 12 ms -->"), "not JSON"),
        (with_body(b"{\"error\":NaN}"), "not JSON"),
        (with_body(b"{\"error\":1e400}"), "not JSON"),
        (with_body(b"{\"error\":\"\\ud800\"}"), "not JSON"),
        (with_body(deep.as_bytes()), "not JSON"),
        (with_body(b"{\"error\":\"caf\xe9\"}"), "not UTF-8"),
        (with_body(b""), "empty"),
        (Answer { encoding: Some("gzip".into()), ..with_body(b"\x1f\x8b\x08") }, "compressed (gzip)"),
        (Answer { cut_off: true, ..with_body(b"{\"result\":\"xxxx") }, "larger than"),
        (Answer { content_type: Some("text/json; charset=shift_jis".into()), ..plain.clone() }, "shift_jis"),
    ];
    for (answer, why) in unreadable {
        for config in [ODOO, "expect = \"json\"", "expect_id = \"/id\""] {
            let verdict = read(config, answer.clone());
            assert_eq!((verdict.class, verdict.unreadable), (Class::Unsure, true), "{config} {answer:?}");
            assert!(verdict.error.contains(why), "{}", verdict.error);
        }
        let verdict = read("", answer.clone());
        assert_eq!(verdict.class, Class::Delivered, "without a rule nothing has to be read: {answer:?}");
    }
    let accepted =
        format!("[[route]]\nupstream = \"hq\"\naccept_statuses = [409]\n{}", ODOO.replace("status  = [200]", ""));
    assert_eq!(read(&accepted, json(409, "<duplicate/>")).class, Class::Unsure, "a status that is as good as 2xx");
    let later = "[[upstream.hq.answer]]\npresent = \"/error\"\nis = \"refused\"\n\
                 [[upstream.hq.answer]]\ncontains = \"OK\"\nis = \"delivered\"";
    assert_eq!(read(later, json(200, "OK")).class, Class::Unsure, "a rule before it may have said no");
}

/// A text outside of ASCII is found in other charsets and escapes; where its absence is not certain, the rule could be
/// the one that says no.
#[test]
fn a_rule_about_a_text_is_never_passed_over_for_its_charset() {
    let rule = "[[upstream.hq.answer]]\ncontains = \"no está\"\nis = \"refused\"";
    let with_body =
        |kind: &str, body: &[u8]| Answer { content_type: Some(kind.into()), body: body.to_vec(), ..json(200, "") };
    let utf16: Vec<u8> = "no está".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (kind, body) in [
        ("text/html", &b"no est\xe1"[..]),
        ("text/html; charset=iso-8859-1", "no está".as_bytes()),
        ("text/plain; charset=utf-16le", &utf16),
        ("text/plain", &utf16),
        ("application/json", br#"{"error":"no est\u00e1"}"#),
    ] {
        assert_eq!(read(rule, with_body(kind, body)).class, Class::Refused, "{kind}");
    }
    for (kind, body) in [("text/html", &b"\xe9xito"[..]), ("text/plain; charset=iso-8859-2", b"OK")] {
        let answer = with_body(kind, body);
        let verdict = read(rule, answer.clone());
        assert_eq!((verdict.class, verdict.unreadable), (Class::Unsure, true), "{kind}");
        assert!(verdict.error.contains("answer rule 1 cannot be evaluated"), "{}", verdict.error);
        assert_eq!(with(rule, |reading| reading.hear(&Body::of(&answer)).unread[0].rule), 0);
    }
    assert_eq!(read(rule, with_body("text/html; charset=iso-8859-1", b"\xe9xito")).class, Class::Delivered);
}

/// A response that cannot be read is not attributed to the failure, whatever its status; only what something in front of
/// the upstream sent in its place keeps the class of its status.
#[test]
fn a_rule_that_cannot_be_evaluated_is_passed_over_at_no_status() {
    let rule = "[[upstream.hq.answer]]\npresent = \"/error\"\nis = \"refused\"";
    let bad = |status: u16, body: &str| {
        let verdict = read(rule, json(status, body));
        (verdict.class, verdict.unreadable)
    };
    for status in [400, 404, 409, 410, 413, 422, 500, 501] {
        for body in ["", "{\"error\":", "Warning: x\n{}", "<html><title>Error</title>"] {
            assert_eq!(bad(status, body), (Class::Unsure, true), "HTTP {status} {body:?}");
        }
        let cut = Answer { cut_off: true, ..json(status, "{\"error\":\"x") };
        assert_eq!(read(rule, cut).class, Class::Unsure, "HTTP {status}");
    }
    for body in ["", "{\"error\":", "upstream connect error"] {
        assert_eq!(bad(401, body), (Class::Unsure, true), "{body:?}: an operator has to look");
        for status in [429, 502, 503, 504] {
            assert_eq!(
                bad(status, body),
                (Class::Unsure, false),
                "HTTP {status} {body:?}: it ends without the operator"
            );
        }
    }
    let page = "<html><head><title>502 Bad Gateway</title></head></html>";
    let of_page = [(401, Class::Misconfigured), (429, Class::Throttled), (502, Class::Busy), (511, Class::Unreachable)];
    for (status, class) in of_page {
        assert_eq!(bad(status, page), (class, false), "HTTP {status}");
    }
    assert_eq!(bad(302, page).0, Class::Misconfigured);
    let asked = Answer { retry_after: Some("7".into()), ..json(503, "later") };
    assert_eq!(read(rule, asked).retry_after, Some(std::time::Duration::from_secs(7)), "it is obeyed anyway");
    let of_200 = rule.replace("present", "status = [200]\npresent");
    assert_eq!(read(&of_200, json(422, "x")).class, Class::Refused, "the rule is about another status");
    assert_eq!(bad(422, "{}"), (Class::Refused, false), "it was evaluated");
}

#[test]
fn proof_of_a_delivery() {
    let class = |expect: &str, answer: Answer| read(expect, answer).class;
    assert_eq!(class("expect = \"json\"", json(200, "ok")), Class::Unsure);
    assert_eq!(class("expect = \"json\"", json(200, "{}")), Class::Delivered);
    let id = "expect_id = \"/id\"";
    assert_eq!(class(id, json(200, r#"{"id":"the-id"}"#)), Class::Delivered);
    assert_eq!(class(id, json(200, r#"{"id":"the-key"}"#)), Class::Delivered);
    assert_eq!(class(id, json(200, r#"{"id":"another"}"#)), Class::Unsure);
    assert_eq!(class(id, json(200, "{}")), Class::Unsure);
    let page = || Answer { content_type: Some("text/html".into()), ..json(200, "<html>") };
    assert_eq!(class("expect = \"html\"", page()), Class::Delivered);
    assert_eq!(class("expect = \"any\"", page()), Class::Misconfigured);
}

#[test]
fn a_route_may_see_it_differently() {
    let route = |more: &str| format!("[[route]]\nupstream = \"hq\"\n{more}");
    assert_eq!(read(&route("accept_statuses = [409]"), json(409, "{}")).class, Class::Delivered);
    assert_eq!(read(&route(""), json(409, "{}")).class, Class::Failed);
    assert_eq!(read(&route("on_refused = \"retry\""), json(422, "{}")).class, Class::Failed);
}

#[test]
fn an_adapters_word_decides() {
    let said = |outcome: &str, error: Option<&str>| {
        let answer = Answer { outcome: Some(outcome.into()), outcome_error: error.map(Into::into), ..json(200, "{}") };
        read("adapter = true", answer)
    };
    for (word, class) in [
        ("delivered", Class::Delivered),
        ("refused", Class::Refused),
        ("failed", Class::Failed),
        ("unreachable", Class::Unreachable),
        ("throttled", Class::Throttled),
        ("misconfigured", Class::Misconfigured),
        ("unsure", Class::Unsure),
        ("perhaps", Class::Misconfigured),
    ] {
        assert_eq!(said(word, None).class, class, "{word}");
    }
    assert_eq!(said("refused", Some("no such SKU")).error, "no such SKU");
    let silent = read("adapter = true", json(500, "{}"));
    assert_eq!(silent.class, Class::Failed, "without its word the table decides");
    let stranger = Answer { outcome: Some("delivered".into()), ..json(500, "{}") };
    assert_eq!(read("", stranger).class, Class::Failed, "only an adapter can set a class");
}

/// A deletion is often answered with 204, to which a rule about the JSON of errors does not apply.
#[test]
fn a_status_without_a_body_leaves_no_rule_unread() {
    let rule = "[[upstream.hq.answer]]\njson = { \"/error/code\" = 7 }\nis = \"failed\"";
    for status in [204, 205] {
        assert_eq!(read(rule, Answer { status, ..Answer::default() }).class, Class::Delivered, "HTTP {status}");
    }
    assert_eq!(read(rule, json(200, "")).class, Class::Unsure, "it should have had one");
    let proof = format!("expect = \"json\"\n{rule}");
    assert_eq!(read(&proof, Answer { status: 204, ..Answer::default() }).class, Class::Unsure, "a proof is asked for");
}

/// A rule is about what the upstream answers. A page of a portal, a gateway or a CDN that happens to contain the rule's
/// text neither blames the failure nor accepts it.
#[test]
fn a_rule_does_not_judge_what_something_in_front_has_sent() {
    let page = |status: u16| Answer {
        content_type: Some("text/html".into()),
        ..json(status, "<html><script>onerror=error</script>Welcome, OK</html>")
    };
    let over = |url: &str, rule: &str, answer: Answer| {
        let text = format!("[upstream.hq]\nurl = {url:?}\ninsecure = true\n[[upstream.hq.answer]]\n{rule}");
        let config = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
        let config = config.unwrap_or_else(|problems| panic!("{}", problems[0]));
        let reading = Reading { upstream: &config.upstreams[0], route: None, id: "the-id", key: "the-key" };
        classify(&Ending::Answered(answer), &Target::of(url), &reading, WallTime::from_millis(0)).class
    };
    let (plain, tls) = ("http://hq.example/sync", "https://hq.example/sync");
    for rule in ["contains = \"error\"\nis = \"refused\"", "contains = \"OK\"\nis = \"delivered\""] {
        for (status, class) in
            [(502, Class::Busy), (520, Class::Busy), (429, Class::Throttled), (401, Class::Misconfigured)]
        {
            assert_eq!(over(tls, rule, page(status)), class, "{status}: {rule}");
        }
        for status in [200, 511] {
            assert_eq!(over(plain, rule, page(status)), Class::Unreachable, "{status}: {rule}");
        }
        let away = Answer { location: Some("http://portal.example/login?error=OK".into()), ..page(302) };
        assert_eq!(over(plain, rule, away), Class::Unreachable, "{rule}");
    }
    let no = "contains = \"error\"\nis = \"refused\"";
    assert_eq!(over(tls, no, page(200)), Class::Refused, "over TLS nobody else answers");
    assert_eq!(over(tls, no, page(500)), Class::Refused, "an error of the upstream itself");
    assert_eq!(over(plain, no, json(502, "{\"error\":1}")), Class::Refused, "no page");
    assert_eq!(over(tls, &format!("status = [502]\n{no}"), page(502)), Class::Refused, "it names the status");
}

/// A status that a route accepts is as good as 2xx, unless it sends the request elsewhere, as portals do.
#[test]
fn a_redirect_to_another_host_is_no_acceptance_although_its_status_is_accepted() {
    let to = |location: &str| {
        let answer = Answer { location: Some(location.into()), ..json(302, "") };
        read("[[route]]\nupstream = \"hq\"\naccept_statuses = [302, 303, 409]", answer).class
    };
    assert_eq!(to("/orders/7"), Class::Delivered);
    assert_eq!(to("https://hq.example/orders/7"), Class::Delivered);
    assert_eq!(to("http://portal.example/login"), Class::Misconfigured);
}

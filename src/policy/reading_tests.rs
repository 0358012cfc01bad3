//! Answers of back ends that have their own way of saying no.

use super::*;
use crate::config::{Config, Overrides, Surroundings};
use crate::moment::WallTime;
use crate::policy::class::{Ending, Target, Verdict, classify};

fn with<T>(config: &str, ask: impl FnOnce(&Reading) -> T) -> T {
    let text = format!("[upstream.hq]\nurl = \"https://hq.example/sync\"\n{config}");
    let config = Config::load(Some(("f", &text)), &Overrides::default(), &Surroundings::default());
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
    assert_eq!(class("json = { \"/n\" = 1 }", "not json"), Class::Delivered);
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
    assert_eq!(read("", stranger).class, Class::Failed, "only an adapter has a word");
}

//! Which route is taken, what
//! is sent by it, what its answers mean, and what no route takes.

use crate::support::upstream::Request;
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now, stays};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// Starts an agent with these routes, records one failure, and returns the request that delivered it.
fn sent_by(routes: &str, more: &Value) -> Request {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), routes));
    let mut failure = record_now("r-17");
    for (name, value) in more.as_object().expect("fields") {
        failure[name] = value.clone();
    }
    let id = id_of(&agent.call(&failure));
    agent.wait_gone(&id);
    upstream.deliveries().swap_remove(0)
}

/// Method, path, body, type, headers.
#[test]
fn a_route_makes_the_request_that_an_api_knows() {
    let route = "[[route]]\nmethod = \"PUT\"\npath = \"/{entity_type:lower}s/{entity_id}?a={action}&k={key}\"\n\
                 body = \"payload\"\ncontent_type = \"application/xml\"\n\
                 headers = { Prefer = \"return=minimal\", X-Version = \"2\" }\n";
    let payload = "<sale n=\"1\">ü \u{1f6d2}</sale>\r\n";
    let sent = sent_by(route, &json!({"entity_type": "RETURN", "payload": payload, "idempotency_key": "pos-1"}));
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("PUT", "/sync/returns/r-17?a=CREATE&k=pos-1"));
    assert_eq!(sent.text(), payload, "the payload, verbatim");
    assert_eq!(sent.header("Content-Type"), Some("application/xml"));
    assert_eq!((sent.header("Prefer"), sent.header("X-Version")), (Some("return=minimal"), Some("2")));
    assert_eq!((sent.key(), sent.entity(), sent.attempt()), ("pos-1", "r-17", 1));
}

/// A payload that was JSON goes as it was written, not as it was understood.
#[test]
fn a_json_payload_is_sent_byte_for_byte() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), "[[route]]\nbody = \"payload\"\n"));
    let mut app = agent.app();
    app.line(
        r#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","retry":"now","payload":{ "b":1.50,  "a":1e2, "a":2 }}"#,
    );
    agent.wait_gone(&id_of(&app.reply()));
    assert_eq!(upstream.deliveries()[0].text(), r#"{ "b":1.50,  "a":1e2, "a":2 }"#);
}

/// `body = "none"`: nothing, and no type of it.
#[test]
fn a_route_without_a_body_sends_none() {
    let sent = sent_by("[[route]]\nmethod = \"DELETE\"\npath = \"/x/{id}\"\nbody = \"none\"\n", &json!({}));
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("DELETE", format!("/sync/x/{}", sent.id()).as_str()));
    assert_eq!((sent.text(), sent.header("Content-Type")), ("", None));
}

/// `body = "envelope"` is what is sent without routes.
#[test]
fn a_route_without_more_sends_the_envelope() {
    let sent = sent_by("[[route]]\nentity_type = \"*\"\naction = \"*\"\n", &json!({}));
    let body: Value = serde_json::from_slice(&sent.body).expect("an envelope is JSON");
    assert_eq!((&body["entity_id"], &body["payload"]["total"]), (&json!("r-17"), &json!(12.5)));
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/sync"));
}

/// `body = "template"`: each form of a value, and a secret from a file.
#[test]
fn a_template_is_filled_in_each_form() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let secret = dir.path().join("odoo");
    fs::write(&secret, "s3cret-of-odoo\n").expect("a file is written");
    let route = format!(
        "[[route]]\nbody = \"template\"\ncontent_type = \"text/plain\"\ntemplate = '''\
         {{\"raw\":{{payload}},\"text\":{{payload:string}},\"e\":{{entity_id:string}},\"k\":{{key:string}},\
         \"x\":\"<a>{{entity_id:xml}}</a>\",\"s\":\"{{secret:{}}}\",\"plain\":{{\"y\":1}}}}'''\n",
        secret.display()
    );
    let sent = sent_by(&route, &json!({"entity_id": "a\"b<&>'c", "payload": {"q": "\""}, "idempotency_key": "k-1"}));
    assert_eq!(
        sent.text(),
        r#"{"raw":{"q":"\""},"text":"{\"q\":\"\\\"\"}","e":"a\"b<&>'c","k":"k-1","x":"<a>a&quot;b&lt;&amp;&gt;&apos;c</a>","s":"s3cret-of-odoo","plain":{"y":1}}"#
    );
    assert_eq!(sent.header("Content-Type"), Some("text/plain"));
}

/// The same bytes on every attempt, also through a route.
#[test]
fn a_routes_request_is_the_same_on_every_try() {
    let upstream = Upstream::start(|request| if request.nth == 1 { Answer::Lost } else { Answer::status(201) });
    let route = "[[route]]\nmethod = \"PATCH\"\npath = \"/a/{key}\"\nbody = \"template\"\n\
                 template = '{\"at\":\"{created_at}\",\"p\":{payload}}'\n";
    let mut agent = Agent::start(&Plan::with(upstream.url(), route));
    agent.ask(&json!({"op": "pause"}));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.restart_after_kill();
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    let tries = upstream.deliveries();
    assert_eq!(tries.len(), 2);
    assert_eq!(
        (&tries[0].method, &tries[0].path, tries[0].text()),
        (&tries[1].method, &tries[1].path, tries[1].text())
    );
    assert_eq!(tries[0].key(), tries[1].key());
}

/// The first match wins; `*` matches any, and so does what is left out.
#[test]
fn the_first_route_that_matches_is_taken() {
    let upstream = Upstream::willing();
    let routes = "[[route]]\nentity_type = \"SALE\"\naction = \"CREATE\"\npath = \"/1\"\n\
                  [[route]]\nentity_type = \"SALE\"\npath = \"/2\"\n\
                  [[route]]\nentity_type = \"*\"\naction = \"DELETE\"\npath = \"/3\"\n\
                  [[route]]\nentity_type = \"SALE\"\naction = \"DELETE\"\npath = \"/never\"\n\
                  [[route]]\nentity_type = \"*\"\naction = \"*\"\npath = \"/4\"\n";
    let agent = Agent::start(&Plan::with(upstream.url(), routes));
    let cases = [
        ("SALE", "CREATE", "/sync/1"),
        ("SALE", "DELETE", "/sync/2"),
        ("STOCK", "DELETE", "/sync/3"),
        ("sale", "CREATE", "/sync/4"),
    ];
    for (n, (kind, action, path)) in cases.into_iter().enumerate() {
        let more = json!({"entity_type": kind, "action": action, "retry": "now"});
        let id = id_of(&agent.call(&record(&format!("e-{n}"), &more)));
        agent.wait_gone(&id);
        let sent = upstream.deliveries().pop().expect("it was delivered");
        assert_eq!((sent.id(), sent.path.as_str()), (id.as_str(), path), "{kind} {action}");
    }
}

/// Without a matching route it is kept as critical with that reason; `error_class` is
/// `no_route`. What has its order key waits behind it, others do not.
#[test]
fn what_no_route_takes_is_kept_and_needs_a_person() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), "[[route]]\nentity_type = \"SALE\"\n"));
    let reply = agent.call(&record("r-1", &json!({"entity_type": "RETURN", "retry": "now", "order_key": "receipt-9"})));
    let id = id_of(&reply);
    assert_eq!(reply["status"], "critical", "{reply}");
    let shown = agent.wait_critical(&id);
    assert_eq!((&shown["error_class"], &shown["upstream"]), (&json!("no_route"), &Value::Null), "{shown}");
    assert_eq!((&shown["retry_count"], &shown["error"]), (&json!(0), &json!("connect ETIMEDOUT")), "{shown}");
    assert_eq!(agent.cell("SELECT upstream IS NULL AND error_class = 'no_route' FROM sync_failures"), 1);

    let follower = id_of(&agent.call(&record("s-9", &json!({"retry": "now", "order_key": "receipt-9"}))));
    let other = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&other);
    assert_eq!(agent.failure(&follower).expect("it waits")["blocked_by"], json!(id));
    assert_eq!(upstream.deliveries().len(), 1);
    assert_eq!(agent.call(&json!({"op": "health"}))["state"], "critical");
}

/// A person's `retry` finds no route either: nothing is sent, and it does not vanish.
#[test]
fn a_retry_of_what_has_no_route_sends_nothing() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), "[[route]]\nentity_type = \"SALE\"\n"));
    let id = id_of(&agent.call(&record("r-1", &json!({"entity_type": "RETURN", "retry": "now"}))));
    agent.ask(&json!({"op": "retry", "ids": [id]}));
    stays("it needs a person", Duration::from_millis(500), || {
        agent.failure(&id).is_some_and(|shown| shown["status"] == "critical" && shown["error_class"] == "no_route")
    });
    assert_eq!(upstream.deliveries().len(), 0);
}

/// Values are percent-encoded in a path, the template's own characters where a URL forbids them, and
/// values in headers outside 0x21–0x7E, and the percent sign.
#[test]
fn values_are_encoded_where_they_stand() {
    let route = "[[route]]\npath = \"/Orders('{entity_id}')?$filter=U_Key eq '{key}'\"\n";
    let sent = sent_by(route, &json!({"entity_id": "ä/b c?#%'"}));
    let path = format!("/sync/Orders('%C3%A4%2Fb%20c%3F%23%25%27')?$filter=U_Key%20eq%20'{}'", sent.id());
    assert_eq!(sent.path, path);
    assert_eq!(sent.entity(), "%C3%A4/b%20c?#%25'");
}

/// A value that a path cannot hold makes the request impossible: refused without a request, and inconclusive about the
/// upstream.
#[test]
fn a_path_that_cannot_be_built_is_refused_unsent() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), "[[route]]\npath = \"/x/{entity_id}\"\n"));
    let wrong = [".", "..", "a/../b", "../a", "a\\..\\b", "a/.."];
    let ids = wrong.map(|entity| (entity, id_of(&agent.call(&record_now(entity)))));
    for (entity, id) in &ids {
        let shown = agent.wait_critical(id);
        assert_eq!(shown["error_class"], "refused", "{entity}: {shown}");
        assert!(shown["error"].as_str().is_some_and(|error| error.contains("path")), "{shown}");
    }
    assert_eq!(upstream.deliveries().len(), 0);
    for fine in ["...", "a..b", "..a"] {
        agent.wait_gone(&id_of(&agent.call(&record_now(fine))));
    }
    agent.wait_upstream("online");
}

/// `accept_statuses`: "it is there already" is a delivery.
#[test]
fn an_accepted_status_is_a_delivery() {
    let upstream = Upstream::start(|_| Answer::status(409));
    let routes = "[[route]]\nentity_type = \"SALE\"\naccept_statuses = [409, 302]\n[[route]]\n";
    let agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::with(upstream.url(), routes) });
    let sale = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&sale);
    let stock = id_of(&agent.call(&record("k-1", &json!({"entity_type": "STOCK", "retry": "now"}))));
    let shown = agent.wait_for_failure(&stock, "a counted try", |shown| shown["retry_count"] == 1);
    assert_eq!((&shown["error_class"], &shown["http_status"]), (&json!("failed"), &json!(409)), "{shown}");
}

/// `on_refused = "retry"`: a refusal is an answer like others, and ends after three.
#[test]
fn a_refusal_that_is_retried_costs_one_retry_each() {
    let upstream = Upstream::start(|request| Answer::status(if request.nth == 4 { 200 } else { 422 }));
    let agent = Agent::start(&Plan::with(upstream.url(), "[[route]]\non_refused = \"retry\"\n"));
    let id = id_of(&agent.call(&record_now("s-1")));
    let shown = agent.wait_critical(&id);
    assert_eq!((&shown["retry_count"], &shown["error_class"]), (&json!(3), &json!("failed")), "{shown}");
    assert_eq!(upstream.deliveries().len(), 3);
}

/// The key's header has another name, or none.
#[test]
fn the_keys_header_can_be_renamed_and_switched_off() {
    for (line, name) in
        [("idempotency_header = \"X-Request-Id\"", Some("X-Request-Id")), ("idempotency_header = \"\"", None)]
    {
        let upstream = Upstream::willing();
        let agent = Agent::start(&Plan { upstream: line, ..Plan::impatient(upstream.url()) });
        let id = id_of(&agent.call(&record_now("s-1")));
        agent.wait_gone(&id);
        let sent = &upstream.deliveries()[0];
        assert_eq!(sent.header("Idempotency-Key"), None);
        assert_eq!(name.and_then(|name| sent.header(name)), name.map(|_| id.as_str()));
    }
}

/// What cannot be meant is refused at start: exit 2, with file and line, all at once.
#[test]
fn wrong_routes_are_refused_at_start() {
    let routes = "[[route]]\nupstream = \"hg\"\n[[route]]\npath = \"/{entity}\"\n[[route]]\nheaders = { User-Agent = \"x\" }\n\
                  [[route]]\nheaders = { Resync-Id = \"x\" }\n[[route]]\nbody = \"template\"\n[[route]]\non_unsure = \"verify\"\n\
                  [[route]]\nacept_statuses = [1]\n";
    let mut agent = Agent::prepare(&Plan::with("http://127.0.0.1:9/".into(), routes));
    let (exit, said) = agent.run_to_its_end(&[]);
    assert_eq!(exit, Some(2), "{said}");
    for part in ["\"hg\"", "{entity}", "User-Agent", "Resync-Id", "template", "verify", "accept_statuses"] {
        assert!(said.contains(part), "{part} is not named:\n{said}");
    }
}

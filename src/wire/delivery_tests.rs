//! Requests built by routes.

use super::*;
use crate::config::{Config, Environment, Overrides};
use crate::record::PayloadKind;
use crate::wire::envelope::tests::failure;

fn config(text: &str) -> Config {
    let text = format!("[upstream.hq]\nurl = \"https://hq.example/api\"\n{text}");
    let config = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
    config.unwrap_or_else(|problems| panic!("{}", problems[0]))
}

fn built(text: &str, failure: &Failure) -> Result<HttpRequest, String> {
    let config = config(text);
    request(failure, &config.upstreams[0], config.routes.first())
}

fn sale(entity_id: &str) -> Failure {
    Failure { entity_id: entity_id.into(), ..failure(Some(("{\"total\": 12.50}", PayloadKind::Json))) }
}

fn body(request: &HttpRequest) -> String {
    let bytes = request.body.iter().map(|part| match part {
        BodyPart::Bytes(bytes) => String::from_utf8(bytes.clone()).expect("UTF-8"),
        BodyPart::Secret(name) => format!("<{name}>"),
    });
    bytes.collect()
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r HeaderValue> {
    request.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value)
}

#[test]
fn without_routes_the_envelope_is_posted() {
    let request = built("", &sale("s-1")).expect("a request");
    assert_eq!((request.method, request.url.as_str()), ("POST", "https://hq.example/api"));
    assert!(body(&request).contains("\"payload\":{\"total\": 12.50}"));
    assert_eq!(header(&request, "Resync-Attempt"), Some(&HeaderValue::Text("3".into())));
    assert_eq!(header(&request, "Resync-Store"), None);
}

#[test]
fn no_value_forges_a_header() {
    let request = built("", &sale("s 1\r\nX: y")).expect("a request");
    assert_eq!(header(&request, "Resync-Entity-Id"), Some(&HeaderValue::Text("s%201%0D%0AX:%20y".into())));
}

#[test]
fn a_percent_sign_in_a_header_is_encoded_too_and_the_key_goes_out_as_it_is() {
    let url = |entity: &str| {
        let request = built("", &Failure { idempotency_key: Some("50%25".into()), ..sale(entity) }).expect("a request");
        assert_eq!(header(&request, "Idempotency-Key"), Some(&HeaderValue::Text("50%25".into())));
        header(&request, "Resync-Entity-Id").cloned()
    };
    assert_eq!(url("a b"), Some(HeaderValue::Text("a%20b".into())));
    assert_eq!(url("a%20b"), Some(HeaderValue::Text("a%2520b".into())));
}

#[test]
fn bytes_are_sent_as_they_are_or_in_base64() {
    let latin = || Failure { payload: Some(("PGE+6Twv".into(), PayloadKind::Bytes)), ..sale("1") };
    let bytes = |route: &str| {
        built(route, &latin()).map(|request| {
            let parts = request.body.into_iter().map(|part| match part {
                BodyPart::Bytes(bytes) => bytes,
                BodyPart::Secret(name) => panic!("{name}"),
            });
            parts.collect::<Vec<_>>().concat()
        })
    };
    let template = |text: &str| bytes(&format!("[[route]]\nbody = \"template\"\ntemplate = '{text}'"));
    assert_eq!(bytes("[[route]]\nbody = \"payload\"").as_deref(), Ok(&b"<a>\xe9</"[..]));
    assert_eq!(template(r#"{"p":"{payload:base64}"}"#).as_deref(), Ok(&br#"{"p":"PGE+6Twv"}"#[..]));
    assert_eq!(template("<x>{payload}</x>").as_deref(), Ok(&b"<x><a>\xe9</</x>"[..]));
    for wrong in [r#"{"p":{payload}}"#, r#"{"p":{payload:string}}"#, "<x>{payload:xml}</x>", "{payload:members}"] {
        assert!(template(wrong).is_err_and(|why| why.contains("base64")), "{wrong}");
    }
    let key =
        built("[[route]]\nbody = \"template\"\ntemplate = '{\"k\":\"{key:base64}\"}'", &sale("1")).expect("a request");
    assert_eq!(body(&key), r#"{"k":"c2FsZS0x"}"#);
}

#[test]
fn a_path_is_joined_by_one_slash() {
    for url in ["https://hq.example/api", "https://hq.example/api/"] {
        let text = format!("[upstream.hq]\nurl = \"{url}\"\n[[route]]\npath = \"/sales\"\n");
        let config = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
        let config = config.unwrap_or_else(|problems| panic!("{}", problems[0]));
        let request = request(&sale("1"), &config.upstreams[0], config.routes.first()).expect("a request");
        assert_eq!(request.url, "https://hq.example/api/sales");
    }
}

#[test]
fn a_route_makes_the_request_that_an_api_wants() {
    let route = "[[route]]\nmethod = \"PUT\"\npath = \"/{entity_type:lower}s/{entity_id}\"\nbody = \"payload\"\n\
                 content_type = \"text/plain\"\nheaders = { Prefer = \"return=minimal\" }";
    let request = built(route, &sale("s/1 ä")).expect("a request");
    assert_eq!((request.method, request.url.as_str()), ("PUT", "https://hq.example/api/sales/s%2F1%20%C3%A4"));
    assert_eq!(body(&request), "{\"total\": 12.50}");
    assert_eq!(header(&request, "Content-Type"), Some(&HeaderValue::Text("text/plain".into())));
    assert_eq!(header(&request, "Prefer"), Some(&HeaderValue::Text("return=minimal".into())));
    let none = built("[[route]]\nmethod = \"DELETE\"\nbody = \"none\"", &sale("1")).expect("a request");
    assert_eq!((body(&none).as_str(), header(&none, "Content-Type")), ("", None));
}

#[test]
fn templates_are_filled() {
    let template = r#"[[route]]
        body = "template"
        template = '{"order":{payload},"key":{key:string},"p":{payload:string},"k":"{secret:odoo}","x":"{entity_id:xml}"}'"#;
    let filled = body(&built(template, &sale("a<b")).expect("a request"));
    assert_eq!(
        filled,
        r#"{"order":{"total": 12.50},"key":"sale-1","p":"{\"total\": 12.50}","k":"<odoo>","x":"a&lt;b"}"#
    );
    let nothing = body(&built(template, &Failure { payload: None, ..sale("1") }).expect("a request"));
    assert!(nothing.starts_with(r#"{"order":null,"key":"sale-1","p":null"#), "{nothing}");
}

#[test]
fn what_would_leave_its_place_in_a_path_is_not_built() {
    let route = "[[route]]\npath = \"/returns/{entity_id}\"";
    for hostile in ["", ".", "..", "../x", "a/../b", "a\\..\\b", "/.."] {
        assert!(built(route, &sale(hostile)).is_err(), "{hostile}");
    }
    for right in ["...", "a..b", "..a", "x/y"] {
        assert!(built(route, &sale(right)).is_ok(), "{right}");
    }
}

#[test]
fn a_verification_asks_by_the_key() {
    let config = config("[[route]]\nverify = { path = \"/Orders?$filter=U_Key eq '{key}'\", found = \"/value/0\" }");
    let verify = config.routes[0].verify.as_ref().expect("a verification");
    let request = verification(&sale("1"), &config.upstreams[0], &config.routes[0], verify).expect("a request");
    assert_eq!(request.url, "https://hq.example/api/Orders?$filter=U_Key%20eq%20'sale-1'");
    assert_eq!((request.method, body(&request).as_str(), header(&request, "Content-Type")), ("GET", "", None));
}

#[test]
fn a_verification_may_have_a_body() {
    let config = config(
        r#"[[route]]
        content_type = "application/graphql+json"
        verify = { method = "POST", path = "/ask", template = '{"key":{key:string}}', found = "/data" }"#,
    );
    let verify = config.routes[0].verify.as_ref().expect("a verification");
    let request = verification(&sale("1"), &config.upstreams[0], &config.routes[0], verify).expect("a request");
    assert_eq!((request.method, body(&request).as_str()), ("POST", r#"{"key":"sale-1"}"#));
    let content_type = HeaderValue::Text("application/graphql+json".into());
    assert_eq!(header(&request, "Content-Type"), Some(&content_type));
}

#[test]
fn a_payloads_members_stand_among_others() {
    let template = r#"[[route]]
        body = "template"
        template = '{"ref":{key:string},{payload:members}}'"#;
    let filled = |payload: Option<&str>| {
        let payload = payload.map(|text| (text.to_owned(), PayloadKind::Json));
        built(template, &Failure { payload, ..sale("1") }).map(|request| body(&request))
    };
    assert_eq!(body(&built(template, &sale("1")).expect("a request")), r#"{"ref":"sale-1","total": 12.50}"#);
    assert_eq!(filled(Some(r#" { "a": {} } "#)), Ok(r#"{"ref":"sale-1","a": {}}"#.to_owned()));
    for no_object in [None, Some("{}"), Some("[1]"), Some("{x}"), Some("7"), Some(r#"{"a":1}{"b":2}"#)] {
        assert!(filled(no_object).is_err(), "{no_object:?}");
    }
}

#[test]
fn secrets_are_named_and_not_read() {
    let request =
        built("token_file = \"/etc/t\"\nheader_files = { X-Api-Key = \"/etc/k\" }", &sale("1")).expect("a request");
    assert_eq!(header(&request, "Authorization"), Some(&HeaderValue::Bearer("/etc/t".into())));
    assert_eq!(header(&request, "X-Api-Key"), Some(&HeaderValue::File("/etc/k".into())));
}

#[test]
fn the_keys_header_may_have_another_name_or_none() {
    let named = built("idempotency_header = \"X-Request-Key\"", &sale("1")).expect("a request");
    assert_eq!(header(&named, "X-Request-Key"), Some(&HeaderValue::Text("sale-1".into())));
    let without = built("idempotency_header = \"\"", &sale("1")).expect("a request");
    assert!(!without.headers.iter().any(|(name, _)| name.contains("Key")));
}

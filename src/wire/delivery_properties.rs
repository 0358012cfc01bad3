//! For all configurations and values: none changes scheme, host or port, and none breaks out of its string or
//! element.

use super::*;
use crate::config::{Config, Environment, Overrides};
use crate::wire::envelope::tests::failure;
use proptest::prelude::*;
use ureq::http::Uri;

fn config(route: &str) -> Option<Config> {
    let text = format!("[upstream.hq]\nurl = \"https://hq.example:8443/api\"\n[[route]]\n{route}");
    Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default()).ok()
}

/// Hostile texts.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "\\",
        "'",
        "<",
        ">",
        "&",
        "]]>",
        "<!--",
        "-->",
        "{",
        "}",
        "\u{0}",
        "\u{1}",
        "\n",
        "\r\n",
        "\t",
        "/",
        "//",
        "@",
        ":",
        "#",
        "?",
        "%",
        "%2f",
        "..",
        ".",
        "0.evil.example",
        ":1",
        "@evil.example",
        "\\u0022",
        "é",
        "😀",
        "\u{2028}",
        "\u{feff}",
        "a",
        " ",
        "{payload}",
        "{key}",
        "\",\"x\":\"",
        "</a><b>",
        "&#0;",
        "\u{ffff}",
    ]);
    prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

fn value_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "entity_type",
        "entity_id",
        "action",
        "id",
        "key",
        "created_at",
        "terminal_id",
        "store_id",
    ])
}

fn form() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", ":lower", ":string", ":xml", ":base64", ":url"])
}

/// A failure in which every text is hostile.
fn any_failure() -> impl Strategy<Value = Failure> {
    (prop::collection::vec(hostile(), 7), any::<bool>()).prop_map(|(texts, has_store)| {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        let (payload, kind) = (next(), PayloadKind::Text);
        Failure {
            entity_type: next(),
            entity_id: next(),
            action: next(),
            idempotency_key: Some(next()),
            terminal_id: next(),
            store_id: Some(next()).filter(|_| has_store),
            payload: Some((payload, kind)),
            ..failure(None)
        }
    })
}

fn body_of(request: &HttpRequest) -> String {
    let bytes = request.body.iter().map(|part| match part {
        BodyPart::Bytes(bytes) => String::from_utf8(bytes.clone()).expect("UTF-8"),
        BodyPart::Secret(name) => panic!("no secret was asked for: {name}"),
    });
    bytes.collect()
}

/// The start and end tags in their order; panics on anything that is not a tag.
fn tags(xml: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(open) = rest.find('<') {
        let end = rest[open..].find('>').map_or(rest.len(), |end| open + end + 1);
        found.push(&rest[open..end]);
        rest = &rest[end..];
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_request_goes_to_its_upstream(
        url in "https://hq\\.example(:[0-9]{1,6})?(/[a-z/]{0,4})?[?#@]?",
        start in prop::sample::select(vec!["", "/", "//", ".", ":1", "@evil.example/", "?", "https://evil.example/", "\\\\"]),
        name in value_name(),
        literal in hostile(),
        failure in any_failure(),
    ) {
        let path = format!("{start}{literal}{{{name}}}");
        let quoted = |text: &str| toml_string(text);
        let text = format!("[upstream.hq]\nurl = {}\n[[route]]\npath = {}\n", quoted(&url), quoted(&path));
        let config = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
        let Ok(config) = config else { return Ok(()) };
        let Ok(request) = request(&failure, &config.upstreams[0], config.routes.first()) else { return Ok(()) };
        let (base, uri): (Uri, Uri) = (url.parse().expect("a URL"), request.url.parse().expect("a URL"));
        prop_assert_eq!(uri.scheme_str(), Some("https"));
        prop_assert_eq!(uri.authority(), base.authority());
        prop_assert_eq!(uri.host(), Some("hq.example"));
        prop_assert!(uri.path().starts_with(base.path().trim_end_matches('/')));
        prop_assert!(!request.url["https://".len()..].starts_with('/'));
    }

    #[test]
    fn nothing_leaves_its_json_string(name in value_name(), form in form(), failure in any_failure()) {
        let value = format!("{{{name}{form}}}");
        let (before, behind) = if form == ":string" { ("", "") } else { ("\"a ", " b\"") };
        let template = format!("{{\"first\":1,\"v\":{before}{value}{behind},\"last\":2}}");
        let Some(config) = config(&format!("body = \"template\"\ntemplate = '{template}'")) else {
            prop_assert!(form.is_empty());
            return Ok(());
        };
        let request = request(&failure, &config.upstreams[0], config.routes.first()).expect("a request");
        let body: serde_json::Value = serde_json::from_str(&body_of(&request)).expect("JSON");
        let names: Vec<&String> = body.as_object().expect("an object").keys().collect();
        prop_assert_eq!(names, ["first", "last", "v"]);
        prop_assert!(body["v"].is_string() || body["v"].is_null());
        if form == ":string" && name == "entity_id" {
            prop_assert_eq!(body["v"].as_str(), Some(failure.entity_id.as_str()));
        }
    }

    #[test]
    fn nothing_leaves_its_xml_element(
        name in prop_oneof![value_name(), Just("payload")],
        form in form(),
        failure in any_failure(),
    ) {
        prop_assume!(!(name == "payload" && matches!(form, "" | ":lower")));
        let template = format!("<a><b>{{{name}{form}}}</b><c/></a>");
        let Some(config) = config(&format!("body = \"template\"\ntemplate = '{template}'")) else {
            prop_assert!(form.is_empty());
            return Ok(());
        };
        let request = request(&failure, &config.upstreams[0], config.routes.first()).expect("a request");
        let body = body_of(&request);
        prop_assert_eq!(tags(&body), ["<a>", "<b>", "</b>", "<c/>", "</a>"], "{}", body);
        prop_assert!(!body.chars().any(|c| c < ' ' && !"\t\r\n".contains(c)), "{}", body);
    }

    #[test]
    fn nothing_leaves_its_field_of_a_form(
        name in prop_oneof![value_name(), Just("payload")],
        form in form(),
        failure in any_failure(),
    ) {
        prop_assume!(!(name == "payload" && form == ":lower"));
        let route = format!(
            "body = \"template\"\ncontent_type = \"application/x-www-form-urlencoded\"\n\
             template = 'first=1&v={{{name}{form}}}&last=2'"
        );
        let Some(config) = config(&route) else {
            prop_assert_eq!((name, form), ("payload", ""));
            return Ok(());
        };
        prop_assert!(name != "payload" || !form.is_empty());
        let request = request(&failure, &config.upstreams[0], config.routes.first()).expect("a request");
        let body = body_of(&request);
        let fields: Vec<(&str, &str)> = body.split(['&', ';']).filter_map(|field| field.split_once('=')).collect();
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        prop_assert_eq!(names, ["first", "v", "last"], "{}", body);
        prop_assert!(fields[1].1.bytes().all(|byte| byte == b'%' || unreserved(byte)), "{}", body);
        match (name, form) {
            ("entity_id", "" | ":url") => prop_assert_eq!(decoded(fields[1].1), failure.entity_id),
            ("entity_id", ":string") => prop_assert_eq!(decoded(fields[1].1), quoted(&failure.entity_id)),
            _ => {}
        }
    }

    #[test]
    fn nothing_leaves_its_place_in_a_body_of_an_unknown_language(
        content_type in prop::sample::select(vec!["text/plain", "text/csv", "application/edifact", "x/y"]),
        name in value_name(),
        form in form(),
        failure in any_failure(),
    ) {
        let template = format!("first;{{{name}{form}}};last");
        let route = format!("body = \"template\"\ncontent_type = \"{content_type}\"\ntemplate = '{template}'");
        let is_raw = matches!(form, "" | ":lower");
        let Some(config) = config(&route) else {
            prop_assert!(is_raw, "{}", route);
            return Ok(());
        };
        prop_assert!(!is_raw || name == "created_at", "{}", route);
        let request = request(&failure, &config.upstreams[0], config.routes.first()).expect("a request");
        let body = body_of(&request);
        let value = body.strip_prefix("first;").and_then(|body| body.strip_suffix(";last")).expect("its surroundings");
        match form {
            ":string" => prop_assert!(serde_json::from_str::<Option<String>>(value).is_ok(), "{}", body),
            ":xml" => prop_assert!(!value.contains(['<', '>', '"', '\'']), "{}", body),
            ":url" => prop_assert!(value.bytes().all(|byte| byte == b'%' || unreserved(byte)), "{}", body),
            _ => {}
        }
    }

    #[test]
    fn base64_gives_back_every_value_in_every_language(
        name in prop_oneof![value_name(), Just("payload")],
        (kind, before, behind) in prop::sample::select(vec![
            ("application/json", "{\"v\":\"", "\"}"),
            ("text/xml", "<a>", "</a>"),
            ("application/json", "", ""),
            ("text/plain", "v=", "&w"),
        ]),
        bytes in any::<bool>(),
        failure in any_failure(),
    ) {
        let mut failure = failure;
        let (payload, _) = failure.payload.clone().expect("a payload");
        if bytes {
            failure.payload = Some((BASE64_STANDARD.encode(&payload), PayloadKind::Bytes));
        }
        let template = format!("{before}{{{name}:base64}}{behind}");
        let route = format!("body = \"template\"\ncontent_type = \"{kind}\"\ntemplate = '{template}'");
        let config = config(&route).expect("a configuration");
        let request = request(&failure, &config.upstreams[0], config.routes.first()).expect("a request");
        let body = body_of(&request);
        let encoded = body.strip_prefix(before).and_then(|body| body.strip_suffix(behind)).expect("its surroundings");
        let wanted = match name {
            "payload" => payload,
            "entity_type" => failure.entity_type.clone(),
            "entity_id" => failure.entity_id.clone(),
            "action" => failure.action.clone(),
            "id" => failure.id.as_str().to_owned(),
            "key" => failure.key().to_owned(),
            "created_at" => wire_time(&failure.created_at),
            "terminal_id" => failure.terminal_id.clone(),
            _ => failure.store_id.clone().unwrap_or_default(),
        };
        prop_assert_eq!(BASE64_STANDARD.decode(encoded).expect("base64"), wanted.into_bytes());
    }

    #[test]
    fn headers_are_visible_and_reversible(failure in any_failure()) {
        let config = config("").expect("a configuration");
        let request = request(&failure, &config.upstreams[0], None).expect("a request");
        let given = [("Resync-Entity-Type", &failure.entity_type), ("Resync-Entity-Id", &failure.entity_id)];
        for (name, value) in given {
            let header = request.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value);
            let Some(HeaderValue::Text(text)) = header else { panic!("{name} is missing") };
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(&decoded(text), value);
        }
    }
}

fn toml_string(text: &str) -> String {
    let inner: String = text.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
    format!("\"{inner}\"")
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex =
            |at: usize| std::str::from_utf8(&behind[at..at + 2]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match first {
            b'%' => {
                bytes.push(hex(0).expect("two digits"));
                rest = &behind[2..];
            }
            other => {
                bytes.push(*other);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

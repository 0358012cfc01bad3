//! The recipes for engines (`packaging/recipes`), as far as that needs no engine: each is a right
//! configuration, the alert rules name what the agent prints, Kafka's answers are understood as its
//! documentation means them. The engines themselves run in `tests/recipes/engines.sh`.

use crate::command_line::resyncd;
use crate::support::{Agent, Answer, Plan, Upstream, id_of, lines, record, record_now, wait_until};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ENGINES: [&str; 7] = ["couchdb", "etcd", "kafka", "nginx", "prometheus", "rabbitmq", "receiver"];

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/recipes")
}

fn file(name: &str) -> String {
    fs::read_to_string(recipes().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_engines_recipe_is_a_right_configuration_and_stands_in_the_index() {
    let (index, agent) = (file("README.md"), Agent::prepare(&Plan::default()));
    for name in ENGINES {
        let path = recipes().join(name).join("resyncd.toml");
        let checked =
            resyncd(&agent, &["--config", path.to_str().expect("a path in UTF-8"), "config", "check", "--syntax"]);
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
        assert!(index.contains(&format!("| [{name}]({name}/)")), "the index has no row for {name}");
        assert!(file(&format!("{name}/README.md")).contains("resyncd.toml"), "its page names the configuration");
    }
}

/// Metrics and, for each, the values that each of its labels has.
type Printed = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What the agent prints once there was a delivery, a refusal, and an unfit request.
fn printed() -> Printed {
    let upstream = Upstream::start(|request| match request.entity() {
        "bad" => Answer::status(422),
        _ => Answer::status(200).with("Date", "Tue, 24 Nov 2026 06:12:34 GMT"),
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let [good, bad] = ["good", "bad"].map(|entity| id_of(&agent.call(&record_now(entity))));
    agent.wait_gone(&good);
    agent.wait_critical(&bad);
    let reply = agent.ask(&json!({"op": "metrics"}));
    let mut printed = Printed::new();
    let text = reply["text"].as_str().expect("a text");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a series and its value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of = printed.entry(name.to_owned()).or_default();
        for (label, value) in labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\"")) {
            of.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    printed
}

/// What a rule names that the agent does not print.
fn unknown(rules: &str, printed: &Printed) -> Vec<String> {
    let mut wrong = Vec::new();
    for rest in rules.split("resyncd_").skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = format!("resyncd_{}", &rest[..end]);
        let Some(labels) = printed.get(&name) else {
            wrong.push(name);
            continue;
        };
        let Some(matchers) = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()) else { continue };
        for (label, values) in matchers.split("\",").filter_map(|one| one.trim_end_matches('"').split_once('=')) {
            let values = values.trim_start_matches(['~', '"']).split('|');
            let known = |value: &str| labels.get(label).is_some_and(|known| known.contains(value));
            wrong.extend(values.filter(|value| !known(value)).map(|value| format!("{name}{{{label}={value:?}}}")));
        }
    }
    wrong
}

#[test]
fn the_alert_rules_name_nothing_that_the_agent_does_not_print() {
    let (rules, printed) = (file("prometheus/alerts.yml"), printed());
    assert!(rules.matches("resyncd_").count() >= 10, "the rules are found");
    assert_eq!(unknown(&rules, &printed), Vec::<String>::new());
    // A check that cannot fail is none.
    let wrong =
        r#"resyncd_failure{status="critical"} resyncd_failures{status=~"held|stuck"} resyncd_failures{state="held"}"#;
    assert_eq!(
        unknown(wrong, &printed),
        ["resyncd_failure", r#"resyncd_failures{status="stuck"}"#, r#"resyncd_failures{state="held"}"#]
    );
}

/// One alert a kind is shown, of however many entities or upstreams: node-exporter throws a file away
/// in which a series stands twice, and the terminal would fall silent when it has most to tell.
#[test]
fn two_alerts_of_one_kind_are_one_series_and_every_kind_is_there() {
    let upstream = Upstream::start(|_| Answer::status(401));
    let two = ["a", "b"].map(|name| {
        format!(
            "[upstream.{name}]\nurl = {:?}\n[[route]]\nentity_type = \"{name}\"\nupstream = \"{name}\"\npath = \"/\"\n",
            upstream.url()
        )
    });
    let agent = Agent::start(&Plan::of(two.concat()));
    for name in ["a", "b"] {
        agent.call(&record("s-1", &json!({"retry": "now", "entity_type": name})));
    }
    wait_until("both being blocked, and told", || {
        let alerts = agent.ask(&json!({"op": "alerts"}))["alerts"].clone();
        let of = |alert: &&Value| alert["kind"] == "upstream_blocked" && alert["active"] == true;
        alerts.as_array().expect("a list").iter().filter(of).count() == 2
    });
    let reply = agent.ask(&json!({"op": "metrics"}));
    let lines = reply["text"].as_str().expect("a text").lines();
    let active: Vec<_> = lines.filter(|line| line.starts_with("resyncd_alert_active{")).collect();
    let blocked: Vec<_> = active.iter().filter(|line| line.contains("upstream_blocked")).collect();
    assert_eq!(blocked, [&r#"resyncd_alert_active{kind="upstream_blocked"} 1"#]);
    assert!(active.contains(&r#"resyncd_alert_active{kind="database_corrupt"} 0"#), "{active:?}");
}

/// The stub answers as the page on the REST Proxy's API v3 says: 200, and the word in the body.
#[test]
fn a_200_of_the_kafka_proxy_is_a_delivery_only_with_its_word_in_the_body() {
    let upstream = Upstream::start(|request| match (request.entity(), request.attempt()) {
        ("s-2", 1) => Answer::json(200, r#"{"error_code":50003,"message":"the broker is busy"}"#),
        ("s-3", 1) => Answer::json(200, r#"{"welcome":"to the network of this hotel"}"#),
        _ => Answer::json(
            200,
            r#"{"error_code":200,"cluster_id":"c","topic_name":"resyncd","partition_id":0,"offset":7}"#,
        ),
    });
    let recipe = file("kafka/resyncd.toml")
        .replace("https://kafka-rest.example:8082", &upstream.url())
        .replace("basic_file = ", "#")
        .replace("max_pause = \"60s\"", "max_pause = \"1s\"");
    let agent = Agent::start(&Plan::of(recipe));
    let entities = ["s-1", "s-2", "s-3"];
    let requests =
        entities.map(|entity| record(entity, &json!({"retry": "now", "payload": {"note": "a \"quoted\" ö"}})));
    agent.app().send(lines(requests));
    wait_until("all being delivered", || agent.call(&json!({"op": "unsent"}))["unsent"] == 0);
    for entity in entities {
        let of = upstream.deliveries_of(entity);
        let last = of.last().expect("it was sent");
        assert!(last.path.ends_with("/v3/clusters/CLUSTER_ID/topics/resyncd/records"), "{}", last.path);
        let body: Value = serde_json::from_str(last.text()).expect("a record is JSON");
        assert_eq!(body["key"], json!({"type": "STRING", "data": entity}));
        assert_eq!(body["value"]["type"], "JSON");
        assert_eq!(body["value"]["data"], json!({"note": "a \"quoted\" ö"}));
        let headers = body["headers"].as_array().expect("headers").iter().map(|header| {
            let value = BASE64_STANDARD.decode(header["value"].as_str().expect("a text")).expect("base64");
            (header["name"].as_str().expect("a name"), String::from_utf8(value).expect("UTF-8"))
        });
        let headers: BTreeMap<&str, String> = headers.collect();
        assert_eq!(headers["idempotency_key"], last.key());
        assert_eq!((&*headers["entity_type"], &*headers["entity_id"]), ("SALE", entity));
        assert_eq!(headers.len(), 6);
    }
    let classes = agent.rows("SELECT DISTINCT class FROM sync_attempts WHERE class <> 'delivered' ORDER BY class");
    assert_eq!(json!(classes), json!([["failed"], ["unsure"]]));
}

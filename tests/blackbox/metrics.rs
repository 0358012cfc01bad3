//! The metrics: names, types and labels as a Prometheus reads them, counted right, by the
//! socket, the command and the text file.

use crate::command_line::{out, resyncd};
use crate::support::{Agent, Answer, Plan, Upstream, code, lines, record, record_now, wait_for, wait_until};
use openmetrics_parser::prometheus::parse_prometheus;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The metrics, which a parser that is not ours has read without a fault.
fn metrics(agent: &Agent) -> String {
    let reply = agent.ask(&json!({"op": "metrics"}));
    let text = reply["text"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned();
    parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    text
}

/// The value of a series, written as in the text.
fn value(text: &str, series: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.parse().expect("a number"))
}

#[track_caller]
fn assert_values(text: &str, expected: &[(&str, f64)]) {
    for (series, expected) in expected {
        let found = value(text, series);
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{series} is {found:?} in\n{text}");
    }
}

#[test]
fn what_has_happened_is_counted_by_type_upstream_class_and_code() {
    let upstream = Upstream::start(|request| match request.entity() {
        "bad" => Answer::status(422),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let bad = agent.call(&record("bad", &json!({"retry": "now", "entity_type": "RETURN"})));
    for n in 0..3 {
        agent.call(&record_now(&format!("s-{n}")));
    }
    agent.call(&record("bad", &json!({"retry": "now", "entity_type": "RETURN", "action": "UPDATE"})));
    agent.wait_critical(bad["id"].as_str().expect("an id"));
    wait_until("the deliveries being counted", || {
        value(&metrics(&agent), r#"resyncd_delivered_total{upstream="hq"}"#) == Some(3.0)
    });
    assert_eq!(agent.ask(&json!({"op": "flush"}))["ok"], true, "which acknowledges no record");
    assert_eq!(code(&agent.call(&json!({"op": "record"}))), "bad_request");
    assert_eq!(code(&agent.call(&json!({"op": "metrics"}))), "forbidden");
    let mut client = agent.app();
    client.line("nonsense");
    assert_eq!(code(&client.reply()), "bad_json");
    let text = wait_for("the last error being counted", || {
        let text = metrics(&agent);
        (value(&text, r#"resyncd_rejected_total{code="bad_json"}"#) == Some(1.0)).then_some(text)
    });
    assert_values(
        &text,
        &[
            (r#"resyncd_recorded_total{type="SALE"}"#, 3.0),
            (r#"resyncd_recorded_total{type="RETURN"}"#, 2.0),
            (r#"resyncd_rejected_total{code="bad_request"}"#, 1.0),
            (r#"resyncd_rejected_total{code="forbidden"}"#, 1.0),
            (r#"resyncd_rejected_total{code="full"}"#, 0.0),
            (r#"resyncd_attempts_total{upstream="hq",class="delivered"}"#, 3.0),
            (r#"resyncd_attempts_total{upstream="hq",class="refused"}"#, 1.0),
            (r#"resyncd_failures{status="critical",type="RETURN"}"#, 1.0),
            (r#"resyncd_failures{status="pending",type="RETURN"}"#, 1.0),
            (r#"resyncd_failures{status="pending",type="SALE"}"#, 0.0),
            ("resyncd_blocked_entities", 1.0),
            (r#"resyncd_upstream_state{upstream="hq",state="online"}"#, 1.0),
            (r#"resyncd_upstream_state{upstream="hq",state="offline"}"#, 0.0),
            ("resyncd_ack_duration_seconds_count", 5.0),
            (r#"resyncd_ack_duration_seconds_bucket{le="+Inf"}"#, 5.0),
            (r#"resyncd_delivery_duration_seconds_count{upstream="hq"}"#, 3.0),
        ],
    );
    for present in ["resyncd_oldest_age_seconds", "resyncd_database_bytes", "resyncd_disk_free_bytes"] {
        assert!(value(&text, present).is_some_and(|value| value > 0.0), "{present} in\n{text}");
    }
    assert!(value(&text, "resyncd_ack_duration_seconds_sum").is_some_and(|sum| sum > 0.0), "{text}");
    assert!(text.contains(&format!("resyncd_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(value(&text, r#"resyncd_last_delivery_timestamp_seconds{upstream="hq"}"#).is_some(), "{text}");
}

/// Counters begin with the process; what the table says goes on.
#[test]
fn counters_begin_anew_with_the_agent_and_gauges_do_not() {
    let mut agent = Agent::start(&Plan::default());
    agent.call(&record("s-1", &json!({})));
    assert_values(&metrics(&agent), &[(r#"resyncd_recorded_total{type="SALE"}"#, 1.0)]);
    agent.restart_after_kill();
    let text = metrics(&agent);
    assert_eq!(value(&text, r#"resyncd_recorded_total{type="SALE"}"#), None);
    assert_values(&text, &[(r#"resyncd_failures{status="pending",type="SALE"}"#, 1.0)]);
}

/// An application that invents types must not fill a monitoring system with them.
#[test]
fn types_beyond_fifty_are_other() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    app.send(lines((0..60).map(|n| record("e", &json!({"entity_type": format!("T{n:02}")})))));
    for _ in 0..60 {
        assert_eq!(app.reply()["ok"], true);
    }
    let text = metrics(&agent);
    for name in ["resyncd_recorded_total{", "resyncd_failures{status=\"pending\","] {
        assert_eq!(text.lines().filter(|line| line.starts_with(name)).count(), 51, "{name} in\n{text}");
    }
    let expected = [
        (r#"resyncd_recorded_total{type="other"}"#, 10.0),
        (r#"resyncd_failures{status="pending",type="other"}"#, 10.0),
        (r#"resyncd_failures{status="pending",type="T00"}"#, 1.0),
    ];
    assert_values(&text, &expected);
}

/// Several of one entity wait behind each other, but not where nothing is ordered.
#[test]
fn blocked_entities_are_counted_where_there_is_an_order() {
    for (more, blocked) in [("", 2.0), ("ordering = \"none\"\n", 0.0)] {
        let plan = Plan { upstream: more, ..Plan::to("http://127.0.0.1:9/".into()) };
        let agent = Agent::start(&plan);
        for (entity, key) in [("a", None), ("a", None), ("a", None), ("b", None), ("c", Some("k")), ("d", Some("k"))] {
            agent.call(&record(entity, &json!({"order_key": key})));
        }
        assert_values(&metrics(&agent), &[("resyncd_blocked_entities", blocked)]);
    }
}

/// Reads work without the daemon. Counters have no meaning then.
#[test]
fn the_command_prints_the_same_and_without_an_agent_what_the_table_says() {
    let mut agent = Agent::start(&Plan::default());
    agent.call(&record("s-1", &json!({})));
    let there = out(&resyncd(&agent, &["metrics"]));
    assert_values(&there, &[(r#"resyncd_recorded_total{type="SALE"}"#, 1.0)]);
    agent.stop();
    let gone = resyncd(&agent, &["metrics"]);
    assert_eq!(gone.status.code(), Some(0));
    let gone = out(&gone);
    assert!(parse_prometheus(&gone).is_ok() && !gone.contains("_total"), "{gone}");
    assert_values(&gone, &[(r#"resyncd_failures{status="pending",type="SALE"}"#, 1.0)]);
}

/// `[metrics] textfile`: whole, readable by another user, and an error is said once.
#[test]
fn the_text_file_appears_whole_and_readable() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("resyncd.prom");
    let more = format!("[metrics]\ntextfile = {:?}\n", file.display().to_string());
    let _agent = Agent::start(&Plan { more, ..Plan::default() });
    wait_until("the file", || file.exists());
    let text = fs::read_to_string(&file).expect("a text");
    assert!(parse_prometheus(&text).is_ok_and(|parsed| parsed.families.contains_key("resyncd_build_info")), "{text}");
    assert_eq!(fs::metadata(&file).expect("its mode").permissions().mode() & 0o777, 0o644);
    let names = fs::read_dir(dir.path()).expect("the directory");
    let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["resyncd.prom"], "nothing else stays there");
}

#[test]
fn a_text_file_that_cannot_be_written_is_said_with_the_reason_and_the_agent_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let more = format!("[metrics]\ntextfile = \"{}/missing/resyncd.prom\"\n", dir.path().display());
    let agent = Agent::start(&Plan { more, ..Plan::default() });
    wait_until("the error in the log", || agent.log().contains("event=metrics_not_written"));
    assert!(agent.log().contains("missing/resyncd.prom"), "{}", agent.log());
    assert_eq!(agent.call(&record("s-1", &json!({})))["ok"], true);
}

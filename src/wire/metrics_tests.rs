//! The metrics as parsed by Prometheus, including hostile names.

use super::*;
use crate::figures::{ByStatus, Counters};
use crate::moment::AgentTime;
use crate::record::Class;
use openmetrics_parser::prometheus::parse_prometheus;

/// All characters that can break the format.
const HOSTILE: &str = "a\"b\\c\nd} 1\n# TYPE x gauge\u{7}\\n,é\u{202e}";

fn known() -> Known {
    let mut counters = Counters::default();
    counters.recorded("SALE");
    counters.cleaned("RETURN");
    counters.round_ended(true);
    counters.rejected(Code::Full.as_str(), 3);
    counters.acknowledged(Duration::from_micros(700), 4);
    let at = counters.at(HOSTILE);
    at.tried(Class::Busy);
    at.delivered = 1;
    at.took.observe(Duration::from_millis(40), 1);
    let line = UpstreamFigures {
        upstream: HOSTILE.to_owned(),
        state: Some("offline"),
        last_delivery_at: Some(WallTime::from_millis(1_795_500_754_123)),
        clock_skew_ms: Some(-1500),
    };
    let alerts = vec![("clock_wrong", true), ("disk_low", false)];
    Known { now: AgentTime::ZERO, counters: Some(counters), lines: vec![line], alerts, disk_free: Some(7) }
}

fn table() -> TableFigures {
    TableFigures {
        failures: vec![(HOSTILE.to_owned(), ByStatus { pending: 2, held: 0, critical: 1 })],
        oldest_age: Duration::from_millis(90_500),
        blocked: 1,
        retries_mean: 0.5,
        database_bytes: 4096,
    }
}

/// A value, read by an independent parser.
fn value(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned)
}

#[test]
fn a_parser_reads_all_of_it_with_its_names_types_and_labels() {
    let text = text(&known(), &table());
    let parsed = parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    for (name, labels) in [
        ("resyncd_build_info", &["version"][..]),
        ("resyncd_recorded_total", &["type"]),
        ("resyncd_rejected_total", &["code"]),
        ("resyncd_attempts_total", &["upstream", "class"]),
        ("resyncd_delivered_total", &["upstream"]),
        ("resyncd_cleaned_total", &["type"]),
        ("resyncd_failures", &["status", "type"]),
        ("resyncd_oldest_age_seconds", &[]),
        ("resyncd_blocked_entities", &[]),
        ("resyncd_retries_mean", &[]),
        ("resyncd_upstream_state", &["upstream", "state"]),
        ("resyncd_last_delivery_timestamp_seconds", &["upstream"]),
        ("resyncd_clock_skew_seconds", &["upstream"]),
        ("resyncd_alert_active", &["kind"]),
        ("resyncd_database_bytes", &[]),
        ("resyncd_disk_free_bytes", &[]),
        ("resyncd_ack_duration_seconds", &[]),
        ("resyncd_delivery_duration_seconds", &["upstream"]),
    ] {
        let family = parsed.families.get(name).unwrap_or_else(|| panic!("{name} is missing in\n{text}"));
        let mut found = family.get_label_names().to_vec();
        let mut wanted: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{name}");
        assert!(!family.help.is_empty(), "{name}");
    }
    assert_eq!(parsed.families.len(), 18, "nothing else came in through a label:\n{text}");
}

#[test]
fn values_are_in_base_units() {
    let text = text(&known(), &table());
    for (name, expected) in [
        ("resyncd_recorded_total{type=\"SALE\"}", "1"),
        ("resyncd_rejected_total{code=\"full\"}", "3"),
        ("resyncd_rejected_total{code=\"busy\"}", "0"),
        ("resyncd_oldest_age_seconds", "90.5"),
        ("resyncd_alert_active{kind=\"clock_wrong\"}", "1"),
        ("resyncd_alert_active{kind=\"disk_low\"}", "0"),
        ("resyncd_ack_duration_seconds_bucket{le=\"0.0005\"}", "0"),
        ("resyncd_ack_duration_seconds_bucket{le=\"0.001\"}", "4"),
        ("resyncd_ack_duration_seconds_bucket{le=\"+Inf\"}", "4"),
        ("resyncd_ack_duration_seconds_sum", "0.0028"),
        ("resyncd_ack_duration_seconds_count", "4"),
    ] {
        assert_eq!(value(&text, name).as_deref(), Some(expected), "{name} in\n{text}");
    }
    assert!(text.contains("} 1795500754.123\n") && text.contains("} -1.5\n"), "{text}");
}

#[test]
fn a_name_in_a_label_stays_in_its_label() {
    let text = text(&known(), &table());
    let escaped = "upstream=\"a\\\"b\\\\c\\nd} 1\\n# TYPE x gauge\u{7}\\\\n,é\u{202e}\"";
    assert!(text.contains(&format!("resyncd_delivered_total{{{escaped}}} 1\n")), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("# TYPE x")), "{text}");
}

#[test]
fn without_an_agent_there_are_no_counters() {
    let gone = UpstreamFigures { upstream: "hq".into(), ..UpstreamFigures::default() };
    let known = Known { counters: None, lines: vec![gone], alerts: Vec::new(), disk_free: None, ..known() };
    let text = text(&known, &table());
    assert!(!text.contains("_total") && !text.contains("upstream_state"), "{text}");
    assert!(parse_prometheus(&text).is_ok_and(|parsed| parsed.families.contains_key("resyncd_failures")), "{text}");
}

//! What people ask for on the admin socket, and what applications may ask about.

use crate::support::{Agent, Answer, Plan, Upstream, code, id_of, record, record_now, stays};
use serde_json::{Value, json};
use std::time::Duration;

/// Paused by a person, nothing is sent, also not by `flush`; `resume` sends at once.
#[test]
fn a_pause_holds_everything_until_resume() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    agent.wait_upstream("online");
    assert_eq!(agent.ask(&json!({"op": "pause", "reason": "stock-taking"})), json!({"ok": true, "upstreams": ["hq"]}));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("paused");
    agent.ask(&json!({"op": "flush"}));
    stays("nothing is sent while paused", Duration::from_millis(500), || upstream.deliveries().is_empty());
    // It survives a restart.
    agent.restart_after_kill();
    assert_eq!(agent.wait_upstream("paused")["conditions"][0], "paused");
    assert!(upstream.deliveries().is_empty() && agent.failure(&id).is_some());
    assert_eq!(agent.ask(&json!({"op": "resume", "upstream": "hq"})), json!({"ok": true, "upstreams": ["hq"]}));
    agent.wait_gone(&id);
    assert_eq!(code(&agent.ask(&json!({"op": "pause", "upstream": "nobody"}))), "not_found");
    let audit = agent.rows("SELECT operation, actor_uid FROM audit_log ORDER BY id");
    let uid = rustix::process::geteuid().as_raw();
    for operation in ["pause", "resume"] {
        assert!(audit.contains(&vec![json!(operation), json!(uid)]), "{operation} is audited: {audit:?}");
    }
}

/// `flush`: what is pending is tried now, whatever its step.
#[test]
fn flush_sends_what_waits_for_its_step() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let ids = ["s-1", "s-2", "s-3"].map(|entity| id_of(&app.call(&record(entity, &json!({"error": "HTTP 500: x"})))));
    let reply = agent.ask(&json!({"op": "flush"}));
    assert_eq!((&reply["matched"], &reply["changed"]), (&json!(3), &json!(3)), "{reply}");
    for id in &ids {
        agent.wait_gone(id);
    }
    assert_eq!(upstream.deliveries().len(), 3);
}

/// `retry` by ids, by filter, all; `dry_run` only counts; exactly one of the three.
#[test]
fn retry_takes_ids_a_filter_or_all() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let sale = id_of(&app.call(&record_now("s-1")));
    let back = id_of(&app.call(&record("r-1", &json!({"entity_type": "RETURN", "retry": "now"}))));
    agent.wait_critical(&sale);
    agent.wait_critical(&back);
    let tally = |reply: &Value| json!([reply["matched"], reply["changed"], reply["skipped"]]);
    let dry = agent.ask(&json!({"op": "retry", "all": true, "dry_run": true}));
    assert_eq!(tally(&dry), json!([2, 0, 0]));
    assert_eq!(upstream.deliveries().len(), 2);
    assert_eq!(code(&agent.ask(&json!({"op": "retry"}))), "bad_request");
    assert_eq!(code(&agent.ask(&json!({"op": "retry", "all": true, "ids": [sale]}))), "bad_request");
    assert_eq!(code(&agent.ask(&json!({"op": "retry", "ids": ["unknown-id"]}))), "not_found");
    upstream.on_delivery(|_| Answer::status(200));
    let one = agent.ask(&json!({"op": "retry", "filter": {"entity_type": "RETURN", "status": "critical"}}));
    assert_eq!(tally(&one), json!([1, 1, 0]));
    agent.wait_gone(&back);
    assert!(agent.failure(&sale).is_some());
    assert_eq!(tally(&agent.ask(&json!({"op": "retry", "all": true}))), json!([1, 1, 0]));
    agent.wait_gone(&sale);
}

/// While a failure is in flight, `retry` answers `conflict`, in bulk `skipped`.
#[test]
fn what_is_in_flight_is_not_retried() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_for_failure(&id, "the failure being in flight", |failure| failure["state"] == "in_flight");
    assert_eq!(code(&agent.ask(&json!({"op": "retry", "ids": [id]}))), "conflict");
    let reply = agent.ask(&json!({"op": "retry", "all": true}));
    assert_eq!(json!([reply["matched"], reply["changed"], reply["skipped"]]), json!([1, 0, 1]));
    assert_eq!(upstream.wait_deliveries(1).len(), 1);
}

/// An agent with eight failures that stay: a critical head with two followers, and five others.
fn a_mixed_agent(upstream: &Upstream) -> (Agent, Vec<String>) {
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut app = agent.app();
    let mut ids = vec![id_of(&app.call(&record_now("bad")))];
    agent.wait_critical(&ids[0]);
    agent.ask(&json!({"op": "pause"}));
    for action in ["UPDATE", "DELETE"] {
        ids.push(id_of(&app.call(&record("bad", &json!({"action": action})))));
    }
    for n in 0..3 {
        ids.push(id_of(&app.call(&record(&format!("s-{n}"), &json!({"order_key": "o"})))));
    }
    for n in 0..2 {
        ids.push(id_of(&app.call(&record(&format!("r-{n}"), &json!({"entity_type": "RETURN"})))));
    }
    (agent, ids)
}

fn refusing() -> Upstream {
    Upstream::start(|_| Answer::status(422))
}

fn ids_of(reply: &Value) -> Vec<String> {
    let failures = reply["failures"].as_array().unwrap_or_else(|| panic!("a list was expected: {reply}"));
    failures.iter().map(|failure| failure["id"].as_str().expect("an id").to_owned()).collect()
}

/// `list` and its filters; `total` is what matches, whatever the page.
#[test]
fn list_shows_what_its_filters_let_through() {
    let upstream = refusing();
    let (agent, ids) = a_mixed_agent(&upstream);
    let pick = |wanted: &[usize]| wanted.iter().map(|n| ids[*n].clone()).collect::<Vec<_>>();
    for (filter, wanted) in [
        (json!({}), &[0, 1, 2, 3, 4, 5, 6, 7][..]),
        (json!({"status": "critical"}), &[0]),
        (json!({"status": "pending"}), &[1, 2, 3, 4, 5, 6, 7]),
        (json!({"status": "held"}), &[]),
        (json!({"entity_type": "RETURN"}), &[6, 7]),
        (json!({"entity_id": "bad"}), &[0, 1, 2]),
        (json!({"entityId": "bad", "action": "UPDATE"}), &[1]),
        (json!({"order_key": "o"}), &[3, 4, 5]),
        (json!({"error_class": "refused"}), &[0]),
        (json!({"upstream": "hq", "entity_type": "SALE", "status": "pending"}), &[1, 2, 3, 4, 5]),
        (json!({"upstream": "other"}), &[]),
        (json!({"since": "2020-01-01T00:00:00Z", "until": "2100-01-01"}), &[0, 1, 2, 3, 4, 5, 6, 7]),
        (json!({"until": "2020-01-01"}), &[]),
        (json!({"order": "desc", "entity_id": "bad"}), &[2, 1, 0]),
    ] {
        let mut request = filter.clone();
        request["op"] = json!("list");
        let reply = agent.ask(&request);
        assert_eq!(ids_of(&reply), pick(wanted), "{filter}");
        assert_eq!((&reply["total"], &reply["next"]), (&json!(wanted.len()), &Value::Null), "{filter}");
    }
    for wrong in [
        json!({"status": "lost"}),
        json!({"limit": 0}),
        json!({"limit": 1001}),
        json!({"order": "up"}),
        json!({"since": "x"}),
    ] {
        let mut request = wrong.clone();
        request["op"] = json!("list");
        assert_eq!(code(&agent.ask(&request)), "bad_request", "{wrong}");
    }
}

/// Pages with `limit` and `after`, both ways; each failure once. Payloads only when asked for.
#[test]
fn list_turns_pages() {
    let upstream = refusing();
    let (agent, ids) = a_mixed_agent(&upstream);
    for order in ["asc", "desc"] {
        let (mut seen, mut after) = (Vec::new(), Value::Null);
        for page in 0.. {
            assert!(page < 9, "the pages do not end");
            let reply = agent.ask(&json!({"op": "list", "limit": 3, "after": after, "order": order}));
            assert_eq!(reply["total"], 8);
            seen.extend(ids_of(&reply));
            after = reply["next"].clone();
            if after.is_null() {
                break;
            }
            assert_eq!(ids_of(&reply).len(), 3);
        }
        if order == "desc" {
            seen.reverse();
        }
        assert_eq!(seen, ids, "{order}");
    }
    let plain = agent.ask(&json!({"op": "list", "limit": 1}));
    assert!(plain["failures"][0].get("payload").is_none(), "{plain}");
    assert_eq!(plain["failures"][0]["payload_kind"], "json");
    let whole = agent.ask(&json!({"op": "list", "limit": 1, "payload": true}));
    assert_eq!(whole["failures"][0]["payload"], "{\"total\":12.5}");
}

/// A page also ends at 1 MiB, and goes on behind.
#[test]
fn a_page_ends_at_1_mib() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    let ids: Vec<String> = (0..12)
        .map(|n| id_of(&app.call(&record(&format!("s-{n}"), &json!({"payload": "x".repeat(200_000)})))))
        .collect();
    let (mut seen, mut after, mut admin) = (Vec::new(), Value::Null, agent.admin());
    loop {
        admin.line(&json!({"op": "list", "payload": true, "after": after}).to_string());
        let text = admin.text().expect("a reply");
        assert!(text.len() < 1_300_000, "a page has {} bytes", text.len());
        let reply: Value = serde_json::from_str(&text).expect("JSON");
        seen.extend(ids_of(&reply));
        after = reply["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(seen, ids);
}

/// `unsent`: those that need a person are the critical one and all behind it.
#[test]
fn unsent_counts_those_behind_a_critical_head_as_needing_a_person() {
    let upstream = refusing();
    let (agent, _) = a_mixed_agent(&upstream);
    let reply = agent.call(&json!({"op": "unsent"}));
    assert_eq!(json!([reply["unsent"], reply["needs_person"], reply["on_their_way"]]), json!([8, 3, 5]), "{reply}");
    let mut by_type = reply["by_type"].as_array().expect("a list").clone();
    by_type.sort_by_key(|entry| entry["entity_type"].to_string());
    assert_eq!(json!(by_type), json!([{"entity_type": "RETURN", "count": 2}, {"entity_type": "SALE", "count": 6}]));
    let oldest = agent.cell("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', MIN(created_at)) FROM sync_failures");
    assert_eq!(reply["oldest_created_at"], oldest);
}

/// `health.state` is ok, degraded by a pause, critical by a critical failure, and says why.
#[test]
fn health_follows_what_is_wrong() {
    let upstream = refusing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.wait_upstream("online");
    let health = || agent.call(&json!({"op": "health"}));
    let well = health();
    assert_eq!((&well["state"], &well["reasons"]), (&json!("ok"), &json!([])), "{well}");
    assert_eq!(json!([well["pending"], well["critical"], well["held"]]), json!([0, 0, 0]));
    assert_eq!((&well["oldest_created_at"], &well["last_delivery_at"]), (&Value::Null, &Value::Null));
    assert!(well["database_bytes"].as_u64() > Some(0) && well["disk_free_bytes"].as_u64() > Some(0), "{well}");
    assert_eq!(well["upstreams"][0]["name"], "hq");
    agent.ask(&json!({"op": "pause"}));
    let paused = health();
    assert_eq!(
        (&paused["state"], &paused["upstreams"][0]["state"]),
        (&json!("degraded"), &json!("paused")),
        "{paused}"
    );
    assert_eq!(paused["reasons"].as_array().map(Vec::len), Some(1), "{paused}");
    agent.ask(&json!({"op": "resume"}));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_critical(&id);
    let grave = health();
    assert_eq!((&grave["state"], &grave["critical"]), (&json!("critical"), &json!(1)), "{grave}");
    assert!(grave["oldest_created_at"].is_string() && !grave["reasons"].as_array().expect("a list").is_empty());
}

/// `history` has the attempts and the operators' actions on one time line, also after the failure left.
#[test]
fn history_is_one_time_line_that_outlives_the_failure() {
    let upstream = Upstream::start(|request| match request.nth {
        1 => Answer::json(422, r#"{"message":"no"}"#),
        _ => Answer::status(200),
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_critical(&id);
    agent.ask(&json!({"op": "retry", "ids": [id], "reason": "fixed", "by": "ada"}));
    agent.wait_gone(&id);
    let reply = agent.ask(&json!({"op": "history", "id": id}));
    let entries = reply["entries"].as_array().expect("a list");
    let kinds: Vec<&Value> = entries.iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(json!(kinds), json!(["attempt", "operation", "attempt"]), "{reply}");
    let first = &entries[0];
    assert_eq!(
        json!([first["attempt"], first["class"], first["counted"], first["http_status"]]),
        json!([1, "refused", true, 422])
    );
    assert_eq!(json!([first["error"], first["response"]]), json!(["HTTP 422: no", "{\"message\":\"no\"}"]));
    assert_eq!(
        json!([entries[1]["operation"], entries[1]["reason"], entries[1]["claimed_by"]]),
        json!(["retry", "fixed", "ada"])
    );
    let last = &entries[2];
    assert_eq!(
        json!([last["attempt"], last["class"], last["counted"], last["trigger"]]),
        json!([2, "delivered", false, "manual"])
    );
    for entry in entries {
        let common = ["at", "failure_id", "seq", "entity_type", "entity_id", "action"];
        assert!(common.iter().all(|name| entry.get(*name).is_some()), "07 promises {common:?}: {entry}");
    }
}

//! What a technician reads and does on the command line: history, statistics, what
//! needs an operator, repairing, and how failures are named.

use crate::command_line::{out, resyncd, resyncd_reading, told};
use crate::support::{Agent, Answer, Plan, Upstream, code, id_of, lines, record, record_now, wait_until};
use serde_json::{Value, json};
use std::process::{Command, Output, Stdio};

/// The JSON lines that a command prints.
#[track_caller]
fn json_lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", told(output));
    out(output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Runs a command with this editor.
fn with_editor(agent: &Agent, editor: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
    command.env("LC_ALL", "C.UTF-8").env_remove("RESYNCD_LANG");
    command.env("RESYNCD_CONFIG", agent.state_dir().with_file_name("resyncd.toml"));
    command.env("EDITOR", editor).env_remove("VISUAL").args(args).stdin(Stdio::null());
    command.output().expect("the binary starts")
}

/// An upstream that refuses whatever has the word `bad` in its payload.
fn picky() -> Upstream {
    Upstream::start(|request| {
        if request.text().contains("\"bad\"") {
            Answer::json(422, r#"{"message":"unknown SKU 4711"}"#)
        } else {
            Answer::status(201)
        }
    })
}

/// An agent with a refused CREATE of s-1 and an UPDATE behind it.
fn with_a_refused_one(upstream: &Upstream) -> (Agent, String) {
    let agent = Agent::start(&Plan::to(upstream.url()));
    let more = json!({"retry": "now", "payload": {"sku": "bad", "price": 12.5}});
    let id = id_of(&agent.call(&record("s-1", &more)));
    agent.wait_critical(&id);
    agent.call(&record("s-1", &json!({"retry": "now", "action": "UPDATE"})));
    (agent, id)
}

/// The whole story of an entity, over its failures, with what people did, after all were delivered.
#[test]
fn the_history_of_an_entity_goes_on_after_delivery() {
    let upstream = picky();
    let (agent, id) = with_a_refused_one(&upstream);
    let file = agent.state_dir().join("new.json");
    std::fs::write(&file, r#"{"sku":4712,"price":12.50}"#).expect("a file");
    let path = file.to_str().expect("UTF-8");
    let edited =
        resyncd(&agent, &["edit", "1", "--payload-file", path, "--reason", "wrong SKU", "--by", "anna", "--yes"]);
    assert_eq!(edited.status.code(), Some(0), "{}", told(&edited));
    wait_until("all is sent", || agent.ask(&json!({"op": "unsent"}))["unsent"] == 0);
    let entries = json_lines(&resyncd(&agent, &["history", "--type", "SALE", "--entity", "s-1", "--json"]));
    let story: Vec<Value> =
        entries.iter().map(|e| json!([e["kind"], e["action"], e["class"], e["operation"], e["reason"]])).collect();
    let n = Value::Null;
    assert_eq!(
        json!(story),
        json!([
            ["attempt", "CREATE", "refused", n, n],
            ["operation", "CREATE", n, "edit", "wrong SKU"],
            ["attempt", "CREATE", "delivered", n, n],
            ["attempt", "UPDATE", "delivered", n, n],
        ])
    );
    assert_eq!(entries[1]["claimed_by"], "anna");
    assert_ne!(entries[1]["sha256_before"], entries[1]["sha256_after"]);
    // By its number, its id, its beginning; and everything of the last day.
    for args in [&["history", "1"][..], &["history", &id], &["history", "--since", "1h"], &["history"]] {
        let shown = out(&resyncd(&agent, args));
        assert!(shown.contains("edit by") && shown.contains("wrong SKU; payload changed"), "{args:?}: {shown}");
        assert!(!shown.contains("4712") && !shown.contains("\"price\""), "a payload is shown: {shown}");
    }
    assert_eq!(
        out(&resyncd(&agent, &["history", "--type", "SALE", "--entity", "nobody"])),
        "No attempts and no actions.\n"
    );
    assert!(out(&resyncd(&agent, &["history", "--type", "SALE"])).contains("wrong SKU; payload changed"));
    assert_eq!(out(&resyncd(&agent, &["history", "--type", "RETURN"])), "No attempts and no actions.\n");
}

/// Pages neither skip nor repeat an entry, in both directions.
#[test]
fn a_history_is_read_page_by_page() {
    let upstream = picky();
    let (agent, _) = with_a_refused_one(&upstream);
    for n in 0..5 {
        agent.ask(&json!({"op": "retry", "ids": [1], "reason": n.to_string()}));
        wait_until("it was tried", || agent.cell("SELECT COUNT(*) FROM sync_attempts") == n + 2);
    }
    let all = agent.ask(&json!({"op": "history", "id": 1}));
    assert_eq!((all["entries"].as_array().map(Vec::len), &all["next"]), (Some(11), &Value::Null), "{all}");
    let paged = |order: &str| {
        let (mut entries, mut request) = (Vec::new(), json!({"op": "history", "id": 1, "limit": 3, "order": order}));
        loop {
            let page = agent.ask(&request);
            let found = page["entries"].as_array().unwrap_or_else(|| panic!("{page}"));
            assert!(found.len() <= 3);
            entries.extend(found.clone());
            if page["next"].is_null() {
                return entries;
            }
            request["after"] = page["next"].clone();
        }
    };
    assert_eq!(json!(paged("asc")), all["entries"]);
    let mut backwards = paged("desc");
    backwards.reverse();
    assert_eq!(json!(backwards), all["entries"]);
    for wrong in
        [json!({}), json!({"entity_type": "SALE"}), json!({"id": "1", "after": "x"}), json!({"id": "1", "since": "x"})]
    {
        let mut request = wrong;
        request["op"] = json!("history");
        assert_eq!(code(&agent.ask(&request)), "bad_request", "{request}");
    }
}

/// By type and action, most first; and what became of the rest.
#[test]
fn statistics_count_what_is_here_and_what_has_left() {
    let upstream = picky();
    let (agent, _) = with_a_refused_one(&upstream);
    agent.wait_gone(&id_of(&agent.call(&record_now("s-2"))));
    let lines = json_lines(&resyncd(&agent, &["stats", "--json"]));
    let group = |action: &str, total: u64, avg: f64, max: u64| json!({"entity_type": "SALE", "action": action, "total_failures": total, "avg_retries": avg, "max_retries": max});
    agent.ask(&json!({"op": "pause"}));
    for n in 0..2 {
        agent.call(&record(&format!("u-{n}"), &json!({"action": "UPDATE"})));
    }
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[..2], [group("CREATE", 1, 1.0, 1), group("UPDATE", 1, 0.0, 0)]);
    let totals = &lines[2];
    assert_eq!(
        json!([totals["recorded"], totals["delivered"], totals["discarded"], totals["cleaned"]]),
        json!([3, 1, 0, 0])
    );
    let reply = agent.ask(&json!({"op": "stats"}));
    assert_eq!(reply["groups"], json!([group("UPDATE", 3, 0.0, 0), group("CREATE", 1, 1.0, 1)]), "most first");
    assert_eq!(reply["recorded"], 5);
    let later = agent.ask(&json!({"op": "stats", "since": "2100-01-01"}));
    assert_eq!(json!([later["recorded"], later["delivered"], later["groups"]]), json!([0, 0, []]));
    let shown = out(&resyncd(&agent, &["stats", "--since", "7d"]));
    assert!(shown.contains("recorded   5") && shown.contains("SALE"), "{shown}");
}

#[test]
fn what_needs_a_person_is_listed_newest_first() {
    let upstream = Upstream::willing();
    // Without a route they need a person from the start.
    let agent = Agent::start(&Plan::with(upstream.url(), "[[route]]\nentity_type = \"RETURN\"\n"));
    assert_eq!(out(&resyncd(&agent, &["critical"])), "Nothing needs a person.\n");
    for n in 0..22 {
        agent.call(&record_now(&format!("s-{n}")));
    }
    let numbers: Vec<Value> =
        json_lines(&resyncd(&agent, &["critical", "--json"])).iter().map(|failure| failure["seq"].clone()).collect();
    assert_eq!(json!(numbers), json!((3..=22).rev().collect::<Vec<_>>()));
    assert!(out(&resyncd(&agent, &["critical"])).contains("20 of 22"));
}

/// Without any change the editor opens; the change is shown before it is made.
#[test]
fn a_failure_is_put_right_in_an_editor() {
    let upstream = picky();
    let (agent, id) = with_a_refused_one(&upstream);
    let edit = |editor: &str, more: &[&str]| {
        with_editor(&agent, editor, &[&["edit", "s-1", "--reason", "wrong SKU"], more].concat())
    };
    // s-1 has two failures: which one?
    let ambiguous = edit("true", &[]);
    assert_eq!(ambiguous.status.code(), Some(1), "{}", told(&ambiguous));
    assert!(told(&ambiguous).contains("several live failures") && told(&ambiguous).contains(&id));
    let edit = |editor: &str, more: &[&str]| {
        with_editor(&agent, editor, &[&["edit", "#1", "--reason", "wrong SKU"], more].concat())
    };
    let nothing = edit("true", &["--yes"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(told(&nothing).contains("nothing is different") && told(&nothing).contains("resyncd retry 1"));
    let broken = edit("sed -i s/}//", &["--yes"]);
    assert!(told(&broken).contains("not valid JSON any more"), "{}", told(&broken));
    assert_eq!(edit("false", &["--yes"]).status.code(), Some(1));
    let dry = edit("sed -i s/bad/4712/", &["--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{}", told(&dry));
    assert!(out(&dry).contains("-   \"sku\": \"bad\"") && out(&dry).contains("+   \"sku\": \"4712\""), "{}", out(&dry));
    assert_eq!(edit("sed -i s/bad/4712/", &[]).status.code(), Some(2), "nobody is there to confirm it");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM audit_log"), 0, "nothing was changed so far");
    let done = edit("sed -i s/bad/4712/", &["--yes"]);
    assert_eq!(done.status.code(), Some(0), "{}", told(&done));
    assert!(out(&done).contains(&format!("new key: {id}-r2")), "{}", out(&done));
    agent.wait_gone(&id);
    // The editor saw it laid out; it goes as it came, in one line, every literal as it was.
    assert!(upstream.deliveries()[1].text().contains(r#""payload":{"price":12.5,"sku":"4712"}"#));
    assert_eq!(resyncd(&agent, &["edit", "1", "--set-action", "X"]).status.code(), Some(2), "without a reason");
    assert_eq!(agent.cell("SELECT reason FROM audit_log"), "wrong SKU");
}

/// A failure that came as JSON stays that, also a bare number.
#[test]
fn json_stays_json() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    let id = id_of(&agent.call(&record("s-1", &json!({"payload": 12}))));
    let args = ["edit", "1", "--payload-file", "-", "--reason", "r", "--yes"];
    assert_eq!(resyncd_reading(&agent, &args, "12.50").status.code(), Some(0));
    let shown = agent.failure(&id).expect("it is live");
    assert_eq!((&shown["payload"], &shown["payload_kind"]), (&json!("12.50"), &json!("json")));
    let moved = resyncd(&agent, &["edit", "s-1", "--set-entity", "s-9", "--reason", "r", "--yes"]);
    assert!(out(&moved).contains("It is number 2 now"), "{}", out(&moved));
    assert!(out(&moved).contains("keeps its key"), "{}", out(&moved));
    // Who still has the old number finds it.
    assert!(out(&resyncd(&agent, &["history", "--type", "SALE", "--entity", "s-9"])).contains("entity_id s-1 → s-9"));
    assert!(out(&resyncd(&agent, &["show", "1"])).contains("no. 2"), "{}", out(&resyncd(&agent, &["show", "1"])));
}

/// Numbers, ids, their beginnings, entities; one a line from standard input, or as `list --json`
/// prints them; what means several is listed.
#[test]
fn failures_are_named_in_many_ways() {
    let agent = Agent::start(&Plan::default());
    let ids: Vec<String> = (0..4).map(|n| id_of(&agent.call(&record(&format!("s-{n}"), &json!({}))))).collect();
    let held = || agent.ask(&json!({"op": "list", "status": "held"}))["total"].clone();
    for (name, n) in [("#1", 1), (&ids[1][..], 2), ("s-2", 3)] {
        let output = resyncd(&agent, &["hold", name]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", told(&output));
        assert_eq!(held(), n, "{name}");
    }
    let shared = &ids[0][..8];
    let several = resyncd(&agent, &["release", shared]);
    assert_eq!(several.status.code(), Some(1));
    assert!(ids.iter().all(|id| told(&several).contains(id.as_str())), "{}", told(&several));
    let all = out(&resyncd(&agent, &["list", "--json", "--status", "held"]));
    assert_eq!(resyncd_reading(&agent, &["release", "-"], &all).status.code(), Some(0));
    assert_eq!(held(), 0);
    let plain = format!("{}\n\n 2 \n2\n", ids[0]);
    assert!(out(&resyncd_reading(&agent, &["hold", "-"], &plain)).starts_with("2 of 2 put on hold"));
    assert_eq!(resyncd_reading(&agent, &["hold", "-"], "\n").status.code(), Some(2));
    assert_eq!(resyncd(&agent, &["hold", "nobody"]).status.code(), Some(1));
}

/// A bulk operation shows how many failures match and some of them, and asks; without a terminal it exits with 2.
#[test]
fn many_at_once_are_shown_before_anything_is_done() {
    let agent = Agent::start(&Plan::default());
    for n in 0..7 {
        agent.call(&record(&format!("s-{n}"), &json!({"error": "HTTP 500: \u{1b}[2Jx"})));
    }
    agent.call(&record("r-1", &json!({"entity_type": "RETURN"})));
    let unconfirmed = resyncd(&agent, &["hold", "--type", "SALE"]);
    assert_eq!(unconfirmed.status.code(), Some(2));
    let shown = told(&unconfirmed);
    for part in ["7 failures match.", "SALE s-0 CREATE", "and 2 more", "--yes", "\\u{1b}"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let dry = resyncd(&agent, &["hold", "--all", "--dry-run"]);
    assert!(out(&dry).contains("8 failures match.") && out(&dry).contains("Nothing was changed."), "{}", out(&dry));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM audit_log"), 0);
    let done = resyncd(&agent, &["hold", "--type", "SALE", "--since", "1h", "--until", "1m", "--yes"]);
    assert!(out(&done).starts_with("No failure matches"), "they are younger than a minute: {}", out(&done));
    let done = resyncd(&agent, &["hold", "--type", "SALE", "--since", "1h", "--yes", "--reason", "r", "--by", "anna"]);
    assert!(out(&done).starts_with("7 of 7 put on hold"), "{}", out(&done));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM audit_log WHERE reason = 'r' AND claimed_by = 'anna'"), 7);
    for wrong in [
        &["hold"][..],
        &["hold", "1", "--all"],
        &["hold", "--all", "--type", "SALE"],
        &["hold", "--all", "--since", "soon"],
    ] {
        assert_eq!(resyncd(&agent, wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// A wrong one of `hold`/`pause`, `retry`/`flush` is answered with the right one.
#[test]
fn the_right_command_is_named() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    let id = id_of(&agent.call(&record_now("s-1")));
    for (args, right) in [
        (&["hold", "hq"][..], "resyncd pause hq"),
        (&["retry", "hq"], "resyncd flush hq"),
        (&["release", "hq"], "resyncd resume hq"),
        (&["pause", "1"], "resyncd hold 1"),
        (&["pause", &id], &format!("resyncd hold {id}")),
        (&["flush", "#1"], "resyncd retry #1"),
        (&["resume", "1"], "resyncd release 1"),
    ] {
        let output = resyncd(&agent, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", told(&output));
        assert!(told(&output).contains(right), "{args:?}: {}", told(&output));
    }
}

/// Tables fit; foreign text commands nothing; payloads only where they are asked for.
#[test]
fn tables_fit_and_payloads_stay_where_they_are() {
    let agent = Agent::start(&Plan::default());
    let entity = "e".repeat(200);
    agent.call(&record(&entity, &json!({"error": "x".repeat(500), "order_key": "o", "payload": {"secret": 1}})));
    let listed = out(&resyncd(&agent, &["list"]));
    assert!(listed.lines().all(|line| line.chars().count() <= 120), "{listed}");
    assert!(listed.contains("on reconnection"), "no column is lost: {listed}");
    assert!(!listed.contains("secret"));
    assert_eq!(resyncd(&agent, &["list", "--payload"]).status.code(), Some(2));
    assert!(out(&resyncd(&agent, &["list", "--json", "--payload", "--order-key", "o"])).contains("secret"));
    assert!(out(&resyncd(&agent, &["list", "--order-key", "other"])).starts_with("Nothing waiting matches."));
    assert!(!out(&resyncd(&agent, &["show", "1"])).contains("secret"));
    assert!(out(&resyncd(&agent, &["show", "1", "--payload"])).contains("secret"));
}

/// `show`: why it is where it is, what it blocks and what blocks it, and what happens next.
#[test]
fn show_tells_what_blocks_what() {
    let upstream = picky();
    let (agent, id) = with_a_refused_one(&upstream);
    let head = out(&resyncd(&agent, &["show", "1"]));
    for part in [
        "Blocks     2",
        "resyncd retry 1",
        "resyncd edit 1 --reason",
        "refused",
        "yes",
        "Last attempt: hq rejects it as it is; sending it again will not help.",
    ] {
        assert!(head.contains(part), "{part} in {head}");
    }
    let behind = out(&resyncd(&agent, &["show", "2"]));
    assert!(behind.contains("after no. 1, which needs a person: resyncd show 1"), "{behind}");
    assert!(behind.contains("It has not been attempted yet."), "{behind}");
    let shown = json_lines(&resyncd(&agent, &["show", "1", "--json"]));
    assert_eq!((&shown[0]["failure"]["id"], shown[0]["history"].as_array().map(Vec::len)), (&json!(id), Some(1)));
    assert!(shown[0]["failure"].get("payload").is_none());
}

/// More than one request may name.
#[test]
fn thousands_of_ids_may_come_on_standard_input() {
    let agent = Agent::start(&Plan::default());
    let mut app = agent.app();
    app.send(lines((0..2300).map(|n| record(&format!("s-{n}"), &json!({})))));
    app.half_close();
    let ids: Vec<String> = app.rest().iter().map(|reply| reply["id"].as_str().expect("an id").to_owned()).collect();
    let held = resyncd_reading(&agent, &["hold", "-"], &ids.join("\n"));
    assert!(out(&held).starts_with("2,300 of 2,300 put on hold"), "{}", out(&held));
    let released: Value =
        serde_json::from_str(&out(&resyncd_reading(&agent, &["release", "-", "--json"], &ids.join("\n"))))
            .expect("JSON");
    assert_eq!((&released["matched"], &released["changed"]), (&json!(2300), &json!(2300)), "{released}");
}

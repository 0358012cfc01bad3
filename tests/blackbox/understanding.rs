//! How answers are understood: the upstream's answer rules, the proof that it requires,
//! an adapter's verdict, and what follows an attempt of unknown outcome.

use crate::command_line::{out, resyncd};
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now, wait_until};
use serde_json::{Value, json};

/// An agent over an upstream that gives this answer first and 200 with `good` after it; the class and
/// the count of each attempt when it has been delivered or needs an operator.
struct Case {
    agent: Agent,
    _upstream: Upstream,
    id: String,
}

impl Case {
    fn of(plan: impl Fn(String) -> Plan, first: Answer, good: &'static str) -> Self {
        let upstream = Upstream::start(move |request| match request.nth {
            1 => first.clone(),
            _ => Answer::json(200, good),
        });
        let agent = Agent::start(&plan(upstream.url()));
        let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "idempotency_key": "pos-1"}))));
        Self { agent, _upstream: upstream, id }
    }

    /// Class, counted and error of the first attempt.
    #[track_caller]
    fn first(&self) -> Value {
        let sql = "SELECT class, counted, error FROM sync_attempts ORDER BY id LIMIT 1";
        wait_until("the first attempt's end", || !self.agent.rows(sql).is_empty());
        json!(self.agent.rows(sql)[0])
    }
}

/// Tries of all failures: trigger, class, counted.
fn tries(agent: &Agent) -> Value {
    json!(agent.rows("SELECT trigger, class, counted FROM sync_attempts ORDER BY id"))
}

/// A captive portal's page contains all kinds of words. A rule that looks for one of them is not about the portal, and `try`
/// says so.
#[test]
fn a_portals_page_is_judged_by_no_rule() {
    let upstream = Upstream::start(|request| match request.nth {
        1 | 2 => Answer::json(200, "<html><script>window.onerror = login</script>Welcome</html>"),
        _ => Answer::json(200, "{}"),
    });
    let rules = "[[upstream.hq.answer]]\ncontains = \"error\"\nis = \"refused\"\n";
    let agent = Agent::start(&Plan::with(upstream.url(), rules));
    let tried = resyncd(&agent, &["try", "--type", "SALE", "--entity", "s-1", "--action", "CREATE", "--send"]);
    assert!(out(&tried).contains("1 of 1 matched (is = \"refused\"), but the response is not"), "{}", out(&tried));
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    let classes = agent.rows("SELECT class, counted FROM sync_attempts ORDER BY id");
    assert_eq!(json!(classes), json!([["unreachable", 0], ["delivered", 0]]));
}

/// The rule of the specification: an API that says no with 200, in its own words.
#[test]
fn an_answer_rule_hears_the_no_in_a_200() {
    let upstream = Upstream::start(|request| match request.entity() {
        "bad" => Answer::json(200, r#"{"error":{"code":200,"data":{"message":"no such partner"}}}"#),
        "null" => Answer::json(200, r#"{"error":null}"#),
        _ => Answer::json(200, r#"{"result":7}"#),
    });
    let rules = "[[upstream.hq.answer]]\nstatus = [200]\npresent = \"/error\"\nis = \"refused\"\n\
                 message = \"/error/data/message\"\n";
    let agent = Agent::start(&Plan::with(upstream.url(), rules));
    let bad = id_of(&agent.call(&record_now("bad")));
    let good = id_of(&agent.call(&record_now("good")));
    let shown = agent.wait_critical(&bad);
    assert_eq!((&shown["error_class"], &shown["error"]), (&json!("refused"), &json!("HTTP 200: no such partner")));
    assert_eq!((&shown["http_status"], &shown["retry_count"]), (&json!(200), &json!(1)), "{shown}");
    agent.wait_gone(&good);
    // `present` asks whether it is there, be it null.
    agent.wait_critical(&id_of(&agent.call(&record_now("null"))));
}

/// Every class can be named, whatever the table would have said of the status.
#[test]
fn a_rule_can_name_any_class_and_comes_before_the_table() {
    let classes = [
        ("unreachable", 0),
        ("throttled", 0),
        ("busy", 0),
        ("unsure", 0),
        ("misconfigured", 0),
        ("refused", 1),
        ("failed", 1),
        ("delivered", 0),
    ];
    let started = classes.map(|(class, counted)| {
        let rules = format!("[[upstream.hq.answer]]\nstatus = [200, 500]\ncontains = \"NO!\"\nis = \"{class}\"\n");
        let status = if class == "delivered" { 500 } else { 200 };
        let case = Case::of(|url| Plan::with(url, rules.clone()), Answer::json(status, r#"{"say":"NO!"}"#), "{}");
        (case, class, counted)
    });
    for (case, class, counted) in &started {
        let first = case.first();
        assert_eq!((&first[0], &first[1]), (&json!(class), &json!(counted)), "{class}");
        match *class {
            "refused" => drop(case.agent.wait_critical(&case.id)),
            _ => case.agent.wait_gone(&case.id),
        }
    }
}

/// All conditions of a rule must hold; the first rule that holds is taken.
#[test]
fn all_conditions_of_a_rule_must_hold_and_the_first_rule_wins() {
    let rules = "[[upstream.hq.answer]]\nstatus = [200]\njson = { \"/ok\" = false, \"/code\" = 7 }\nis = \"refused\"\n\
                 [[upstream.hq.answer]]\njson = { \"/ok\" = false }\nnonempty = \"/errors\"\nis = \"failed\"\n\
                 [[upstream.hq.answer]]\njson = { \"/ok\" = false }\nis = \"busy\"\n";
    let cases = [
        (Answer::json(200, r#"{"ok":false,"code":7,"errors":["x"]}"#), "refused"),
        (Answer::json(200, r#"{"ok":false,"code":7.0}"#), "refused"),
        (Answer::json(201, r#"{"ok":false,"code":7,"errors":["x"]}"#), "failed"),
        (Answer::json(200, r#"{"ok":false,"code":8,"errors":{"a":1}}"#), "failed"),
        (Answer::json(200, r#"{"ok":false,"errors":[]}"#), "busy"),
        (Answer::json(200, r#"{"ok":false,"errors":""}"#), "busy"),
        (Answer::json(200, r#"{"ok":true,"code":7,"errors":["x"]}"#), "delivered"),
        (Answer::json(500, "no JSON"), "unsure"),
        (Answer::json(503, r#"{"ok":"false"}"#), "busy"),
    ];
    let started = cases.map(|(answer, class)| (Case::of(|url| Plan::with(url, rules), answer, "{}"), class));
    for (n, (case, class)) in started.iter().enumerate() {
        assert_eq!(case.first()[0], *class, "case {n}");
    }
}

/// `expect = "json"`: anything else may be anybody's; `"html"` takes a page as well.
#[test]
fn the_proof_asked_for_is_demanded() {
    let plain = |body: &str| Answer::Reply {
        status: 200,
        headers: vec![("Content-Type", "text/plain".into())],
        body: body.into(),
    };
    let json = |url| Plan { upstream: "expect = \"json\"", ..Plan::impatient(url) };
    let html = |url| Plan { upstream: "expect = \"html\"", ..Plan::impatient(url) };
    let cases = [
        (Case::of(json, plain("OK"), "{}"), "unsure"),
        (Case::of(json, plain(""), "{}"), "unsure"),
        (Case::of(json, Answer::html(200), "{}"), "unreachable"),
        (Case::of(json, plain(r#"{"id":1}"#), "{}"), "delivered"),
        (Case::of(html, Answer::html(200), "{}"), "delivered"),
    ];
    for (n, (case, class)) in cases.iter().enumerate() {
        let first = case.first();
        assert_eq!((&first[0], &first[1]), (&json!(class), &json!(0)), "case {n}");
        case.agent.wait_gone(&case.id);
    }
}

/// `expect_id`: the pointer holds the failure's id or key.
#[test]
fn an_answer_has_to_name_what_it_took() {
    let plan = |url| Plan { upstream: "expect_id = \"/stored/id\"", ..Plan::impatient(url) };
    let good = r#"{"stored":{"id":"pos-1"}}"#;
    for answer in [r#"{"stored":{"id":"another"}}"#, r#"{"stored":{}}"#, "{}", "[]", "null", "OK", ""] {
        let case = Case::of(plan, Answer::json(200, answer), good);
        assert_eq!(case.first()[0], "unsure", "{answer}");
        case.agent.wait_gone(&case.id);
        assert_eq!(tries(&case.agent)[1], json!(["auto", "delivered", 0]), "{answer}");
    }
    let upstream =
        Upstream::start(|request| Answer::json(200, &format!(r#"{{"stored":{{"id":"{}"}}}}"#, request.id())));
    let agent = Agent::start(&plan(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "idempotency_key": "pos-1"}))));
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries().len(), 1);
}

/// An adapter's header decides, whatever its status; its error is `Resync-Error`.
#[test]
fn an_adapters_word_decides() {
    let plan = |url| Plan { upstream: "adapter = true", ..Plan::impatient(url) };
    let said = |outcome: &str| {
        Answer::status(if outcome == "delivered" { 500 } else { 200 })
            .with("Resync-Outcome", outcome)
            .with("Resync-Error", "the printer says no")
    };
    let outcomes = ["refused", "failed", "unreachable", "throttled", "misconfigured", "unsure", "delivered"];
    let started = outcomes.map(|outcome| (Case::of(plan, said(outcome), "{}"), outcome));
    for (case, outcome) in &started {
        let counted = i32::from(["refused", "failed"].contains(outcome));
        let error = if *outcome == "delivered" { Value::Null } else { json!("the printer says no") };
        assert_eq!(case.first(), json!([outcome, counted, error]), "{outcome}");
    }
    // Without the header the table decides; a word that is none is the set-up's fault.
    assert_eq!(Case::of(plan, Answer::status(422), "{}").first()[0], "refused");
    let odd = Case::of(plan, said("perhaps"), "{}").first();
    assert_eq!((&odd[0], &odd[1]), (&json!("misconfigured"), &json!(0)), "{odd}");
    // Who is no adapter has no word.
    assert_eq!(Case::of(Plan::impatient, said("refused"), "{}").first()[0], "delivered");
}

/// `on_unsure = "hold"`: after a lost answer it waits for a person, and its entity with it.
#[test]
fn what_may_have_arrived_is_held_where_the_route_says_so() {
    let upstream = Upstream::start(|request| if request.nth == 1 { Answer::Lost } else { Answer::status(200) });
    let agent = Agent::start(&Plan::with(upstream.url(), HELD));
    let [id, follower] = ["s-1", "s-1"].map(|entity| id_of(&agent.call(&record(entity, &answered()))));
    let shown = agent.wait_for_failure(&id, "the failure being held", |shown| shown["status"] == "held");
    assert_eq!((&shown["retry_count"], &shown["next_retry_at"]), (&json!(0), &Value::Null), "{shown}");
    agent.wait_gone(&id_of(&agent.call(&record("s-2", &answered()))));
    assert_eq!(agent.failure(&follower).expect("it waits")["blocked_by"], json!(id));
    assert_eq!(upstream.deliveries_of("s-1").len(), 1);
    assert_eq!(agent.call(&json!({"op": "health"}))["state"], "degraded");
}

/// … also after the application's own attempt, when it got no status; with a status it is sent.
#[test]
fn an_own_try_without_a_status_is_held_at_once_where_the_route_says_so() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), HELD));
    let reply = agent.call(&record("s-1", &json!({"error": "read ECONNRESET"})));
    let id = id_of(&reply);
    assert_eq!(reply["status"], "held", "{reply}");
    assert_eq!(agent.failure(&id).expect("it is kept")["status"], "held");
    agent.wait_gone(&id_of(&agent.call(&record("s-2", &json!({"error": "HTTP 503: busy"})))));
    assert_eq!(upstream.deliveries().len(), 1, "what is held is not sent");
}

/// A person's `release` sends what is held.
#[test]
fn a_release_sends_what_was_held_as_unsure() {
    let upstream = Upstream::start(|request| if request.nth == 1 { Answer::Lost } else { Answer::status(200) });
    let agent = Agent::start(&Plan::with(upstream.url(), HELD));
    let id = id_of(&agent.call(&record("s-1", &answered())));
    agent.wait_for_failure(&id, "the failure being held", |shown| shown["status"] == "held");
    let reply = agent.ask(&json!({"op": "release", "ids": [id]}));
    assert_eq!(reply["changed"], 1, "{reply}");
    agent.wait_gone(&id);
    assert_eq!(upstream.deliveries().len(), 2);
}

const HELD: &str = "[[route]]\non_unsure = \"hold\"\n";

const VERIFIED: &str = "[[route]]\non_unsure = \"verify\"\n\
    verify = { method = \"GET\", path = \"/Orders?$filter=U_Key eq '{key}'\", found = \"/value/0\" }\n";

/// An upstream that answers questions with `found`, and the first delivery with `first`.
fn questioned(found: &'static str, first: Answer) -> Upstream {
    Upstream::start(move |request| match request.method.as_str() {
        "GET" => Answer::json(200, found),
        _ if request.nth == 1 => first.clone(),
        _ => Answer::status(200),
    })
}

/// Sent at once; the application's own attempt was answered, so it is certain that it did not arrive.
fn answered() -> Value {
    json!({"retry": "now", "error": "HTTP 503: busy"})
}

/// `verify`: found is delivered, and nothing is sent again.
#[test]
fn what_is_found_is_not_sent_again() {
    let upstream = questioned(r#"{"value":[{"DocEntry":1}]}"#, Answer::Lost);
    let agent = Agent::start(&Plan::with(upstream.url(), VERIFIED));
    let mut failure = record("s-1", &answered());
    failure["idempotency_key"] = json!("pos'1");
    let id = id_of(&agent.call(&failure));
    agent.wait_gone(&id);
    let seen = upstream.deliveries();
    let methods: Vec<&str> = seen.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["POST", "GET"]);
    assert_eq!(seen[1].path, "/sync/Orders?$filter=U_Key%20eq%20'pos%271'");
    assert_eq!(tries(&agent), json!([["auto", "unsure", 0], ["verify", "delivered", 0]]));
    let entry = &agent.ask(&json!({"op": "history", "id": id}))["entries"][1];
    assert_eq!(
        (&entry["trigger"], &entry["class"], &entry["http_status"]),
        (&json!("verify"), &json!("delivered"), &json!(200))
    );
}

/// `verify`: not found is sent again, under the same key, with the same bytes.
#[test]
fn what_is_not_found_is_sent_again() {
    for found in [r#"{"value":[]}"#, r#"{"value":[null]}"#] {
        let upstream = questioned(found, Answer::Lost);
        let agent = Agent::start(&Plan::with(upstream.url(), VERIFIED));
        let id = id_of(&agent.call(&record("s-1", &answered())));
        agent.wait_gone(&id);
        let seen = upstream.deliveries();
        assert_eq!(seen.iter().map(|request| request.method.as_str()).collect::<Vec<_>>(), ["POST", "GET", "POST"]);
        assert!(seen[0].key() == seen[2].key() && seen[0].body == seen[2].body);
        let trail = tries(&agent);
        assert_eq!((&trail[1][0], &trail[2]), (&json!("verify"), &json!(["auto", "delivered", 0])), "{trail}");
    }
}

/// The application's own attempt got no status: the upstream is asked before the first request.
#[test]
fn an_own_try_without_a_status_is_asked_about_first() {
    let upstream = questioned(r#"{"value":[{"DocEntry":1}]}"#, Answer::status(500));
    let agent = Agent::start(&Plan::with(upstream.url(), VERIFIED));
    agent.wait_gone(&id_of(&agent.call(&record("s-1", &json!({})))));
    let seen = upstream.deliveries();
    assert_eq!(seen.iter().map(|request| request.method.as_str()).collect::<Vec<_>>(), ["GET"]);
}

/// While it cannot be asked, it is not sent, and that costs nothing.
#[test]
fn what_cannot_be_asked_about_is_not_sent() {
    let started = [500, 503, 400, 401].map(|status| {
        let upstream = Upstream::start(move |_| Answer::status(status));
        let agent = Agent::start(&Plan::with(upstream.url(), VERIFIED));
        let id = id_of(&agent.call(&record("s-1", &json!({}))));
        (upstream, agent, id, status)
    });
    for (upstream, agent, id, status) in &started {
        upstream.wait_deliveries(2);
        let shown = agent.failure(id).expect("it is kept");
        assert_eq!((&shown["status"], &shown["retry_count"]), (&json!("pending"), &json!(0)), "{status}: {shown}");
        upstream.on_delivery(|_| Answer::json(200, r#"{"value":[1]}"#));
        agent.ask(&json!({"op": "resume"}));
        agent.wait_gone(id);
        assert!(upstream.deliveries().iter().all(|request| request.method == "GET"), "{status}");
    }
}

/// An API that refuses with status 200 does so for a question too: that is inconclusive about the failure, and
/// sending it again on the strength of it would post it twice.
#[test]
fn a_no_in_a_200_is_not_a_not_there() {
    let upstream = Upstream::start(|request| match (request.method.as_str(), request.nth) {
        ("GET", 2..4) => Answer::json(200, r#"{"errors":[{"code":"THROTTLED","message":"slowly"}]}"#),
        ("GET", _) => Answer::json(200, r#"{"value":[{"DocEntry":1}]}"#),
        _ => Answer::Lost,
    });
    let rules = "[[upstream.hq.answer]]\nnonempty = \"/errors\"\nis = \"throttled\"\nmessage = \"/errors/0/message\"\n";
    let agent = Agent::start(&Plan::with(upstream.url(), format!("{rules}{VERIFIED}")));
    agent.wait_gone(&id_of(&agent.call(&record("s-1", &answered()))));
    let seen = upstream.deliveries();
    let methods: Vec<&str> = seen.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["POST", "GET", "GET", "GET"], "it was posted once");
    let words = agent.rows("SELECT class, error FROM sync_attempts ORDER BY id LIMIT 1 OFFSET 1");
    assert_eq!(json!(words), json!([["throttled", "HTTP 200: slowly"]]));
}

/// A request that was cut off is a try, although nothing of it is in the history.
#[test]
fn a_try_that_was_cut_off_is_not_said_not_to_have_been() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let mut agent = Agent::start(&Plan::with(upstream.url(), HELD));
    let id = id_of(&agent.call(&record("s-1", &answered())));
    upstream.wait_deliveries(1);
    agent.restart_after_kill();
    agent.wait_for_failure(&id, "the failure being held", |shown| shown["status"] == "held");
    let shown = out(&resyncd(&agent, &["show", &id]));
    assert!(shown.contains("may have arrived") && shown.contains("Its only attempt was cut off"), "{shown}");
    assert!(!shown.contains("has not been attempted"), "{shown}");
}

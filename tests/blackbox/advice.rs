//! Each piece of advice that a command prints is carried out here as it is printed, and has to help: what waited is
//! delivered. And "Nothing to do." is printed only where that is so.

use crate::command_line::{out, resyncd, resyncd_with, told};
use crate::support::{Agent, Answer, Gate, Plan, Upstream, id_of, record, record_now, wait_until};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything that a person reads of a command.
fn says(agent: &Agent, args: &[&str]) -> String {
    let output = resyncd(agent, args);
    out(&output) + &told(&output)
}

/// The command that a text recommends, as it is printed: `resyncd resume hq` for `resume`.
#[track_caller]
fn printed(text: &str, command: &str) -> Vec<String> {
    let start = format!("resyncd {command}");
    let at = text.find(&start).unwrap_or_else(|| panic!("no {start} in:\n{text}"));
    let rest = &text[at + "resyncd ".len()..];
    let ends = rest.find([';', '\n', ',', '(']).unwrap_or(rest.len());
    let line = rest[..ends].split(". ").next().unwrap_or_default().split("   ").next().unwrap_or_default();
    line.trim_end_matches('.').split_whitespace().map(str::to_owned).collect()
}

/// Does what the text recommends.
#[track_caller]
fn obey(agent: &Agent, text: &str, command: &str) -> String {
    let words = printed(text, command);
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = resyncd(agent, &args);
    assert_eq!(output.status.code(), Some(0), "{args:?} of the advice fails: {}{}", out(&output), told(&output));
    out(&output)
}

#[track_caller]
fn all_is_sent(agent: &Agent) {
    wait_until("all is sent", || agent.ask(&json!({"op": "unsent"}))["unsent"] == 0);
}

/// `Next:` of the status, which names `doctor` for what only a person can mend; and what `doctor` says.
#[track_caller]
fn doctor_is_named(agent: &Agent) -> String {
    wait_until("the status names doctor", || says(agent, &[]).contains("resyncd doctor"));
    let shown = says(agent, &["show", "1"]);
    assert!(shown.contains("resyncd doctor"), "{shown}");
    says(agent, &["doctor"])
}

/// How a cause is removed, once the advice has named it.
type Mend = fn(&Scene);

struct Scene {
    agent: Agent,
    upstream: Upstream,
    cured: Arc<AtomicBool>,
    dir: tempfile::TempDir,
}

impl Scene {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn settings(&self, path: &str, more: &str) -> Plan {
        let url = self.upstream.url().replace("/sync", path);
        Plan::of(format!("[upstream.hq]\nurl = {url:?}\n{more}\n"))
    }
}

struct Cause {
    name: &'static str,
    /// What the upstream answers until the cause is removed.
    answer: fn() -> Answer,
    /// Lines of `[upstream.hq]`; `DIR` is a directory for its files.
    settings: &'static str,
    /// What the advice of `doctor` has to name.
    advice: &'static str,
    mend: Mend,
    /// The command with which the advice ends.
    command: &'static str,
}

fn head_office_mends(scene: &Scene) {
    scene.cured.store(true, Ordering::SeqCst);
}

/// Each cause for which an upstream accepts nothing: `doctor` names it, and its advice brings everything through.
const CAUSES: [Cause; 8] = [
    Cause {
        name: "no credentials",
        answer: || Answer::json(401, r#"{"message":"who are you"}"#),
        settings: "",
        advice: "set token_file or basic_file in [upstream.hq]",
        mend: |scene| {
            fs::write(scene.file("hq.token"), "good\n").expect("a token");
            let line = format!("token_file = {:?}", scene.file("hq.token").display().to_string());
            scene.agent.configure(&scene.settings("/sync", &line));
            head_office_mends(scene);
        },
        command: "reload",
    },
    Cause {
        name: "credentials that are not accepted",
        answer: || Answer::json(401, r#"{"message":"expired"}"#),
        settings: "token_file = \"DIR/hq.token\"",
        advice: "Replace the credentials in DIR/hq.token",
        mend: |scene| {
            fs::write(scene.file("hq.token"), "renewed\n").expect("a token");
            head_office_mends(scene);
        },
        command: "resume",
    },
    Cause {
        name: "an address that is not admitted",
        answer: || Answer::json(403, r#"{"message":"not from this address"}"#),
        settings: "",
        advice: "whether it admits this terminal's address",
        mend: head_office_mends,
        command: "resume",
    },
    Cause {
        name: "a wrong path",
        answer: || Answer::status(404),
        settings: "",
        advice: "Correct url in [upstream.hq]",
        mend: |scene| {
            scene.agent.configure(&scene.settings("/right", ""));
            head_office_mends(scene);
        },
        command: "reload",
    },
    Cause {
        name: "a redirect",
        answer: || Answer::status(308).with("Location", "/right"),
        settings: "",
        advice: "set url in [upstream.hq]",
        mend: |scene| {
            scene.agent.configure(&scene.settings("/right", ""));
            head_office_mends(scene);
        },
        command: "reload",
    },
    Cause {
        name: "a proxy that wants credentials",
        answer: || Answer::status(407),
        settings: "",
        advice: "set proxy_auth_file in [upstream.hq]",
        mend: |scene| {
            fs::write(scene.file("proxy.auth"), "till:secret\n").expect("a file");
            let line = format!("proxy_auth_file = {:?}", scene.file("proxy.auth").display().to_string());
            let proxied =
                scene.settings("/sync", &format!("{line}\nproxy = \"http://127.0.0.1:9\"\nno_proxy = [\"127.0.0.1\"]"));
            scene.agent.configure(&proxied);
            head_office_mends(scene);
        },
        command: "reload",
    },
    Cause {
        name: "a fault of the head office",
        answer: || Answer::json(500, r#"{"message":"no such table"}"#),
        settings: "",
        advice: "Tell the head office",
        mend: head_office_mends,
        command: "resume",
    },
    Cause {
        name: "a page of the head office where the path is wrong",
        answer: || Answer::status(405),
        settings: "",
        advice: "path in [[route]]",
        mend: |scene| {
            scene.agent.configure(&scene.settings("/right", ""));
            head_office_mends(scene);
        },
        command: "reload",
    },
];

fn play(cause: &Cause) {
    let cured = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&cured);
    let answer = cause.answer;
    let upstream = Upstream::start(move |_| if seen.load(Ordering::SeqCst) { Answer::status(200) } else { answer() });
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().display().to_string();
    fs::write(dir.path().join("hq.token"), "old\n").expect("a token");
    fs::set_permissions(dir.path().join("hq.token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("its mode");
    let settings = cause.settings.replace("DIR", &place);
    // A long pause: without the advice nothing goes out while the test looks.
    let text = format!("[upstream.hq]\nurl = {:?}\nmax_pause = \"1h\"\n{settings}\n", upstream.url());
    let agent = Agent::start(&Plan::of(text));
    let scene = Scene { agent, upstream, cured, dir };
    for n in 0..12 {
        scene.agent.call(&record_now(&format!("s-{n}")));
    }
    wait_until("the upstream accepts nothing", || {
        let health = scene.agent.ask(&json!({"op": "health"}));
        matches!(health["upstreams"][0]["state"].as_str(), Some("blocked" | "failing"))
    });
    let told = doctor_is_named(&scene.agent);
    let line =
        told.lines().find(|line| line.starts_with("FIX delivery")).unwrap_or_else(|| panic!("{}: {told}", cause.name));
    assert!(line.contains(&cause.advice.replace("DIR", &place)), "{}: {line}", cause.name);
    (cause.mend)(&scene);
    obey(&scene.agent, line, cause.command);
    all_is_sent(&scene.agent);
    let after = says(&scene.agent, &[]);
    assert!(after.starts_with("ALL SENT.") && after.contains("Nothing to do."), "{}: {after}", cause.name);
    assert!(!says(&scene.agent, &["doctor"]).contains("FIX delivery"), "{}", cause.name);
}

#[test]
fn what_doctor_says_about_an_upstream_that_accepts_nothing_helps() {
    std::thread::scope(|scope| {
        let played: Vec<_> = CAUSES.iter().map(|cause| (cause.name, scope.spawn(|| play(cause)))).collect();
        let failed: Vec<&str> =
            played.into_iter().filter_map(|(name, run)| run.join().is_err().then_some(name)).collect();
        assert!(failed.is_empty(), "the advice does not help against: {failed:?}");
    });
}

/// A pause tells who, when and why, and how it ends, wherever a person may look.
#[test]
fn a_forgotten_pause_is_explained_and_ended() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let reason = ["--reason", "Central en mantenimiento", "--by", "anna"];
    assert_eq!(resyncd(&agent, &[&["pause", "hq"][..], &reason].concat()).status.code(), Some(0));
    agent.call(&record_now("s-1"));
    for args in [&[][..], &["status"], &["list"], &["show", "1"], &["doctor"], &["flush"], &["retry", "1"]] {
        let text = says(&agent, args);
        assert!(text.contains("by anna") && text.contains("Central en mantenimiento"), "{args:?}: {text}");
        assert_eq!(printed(&text, "resume"), ["resume", "hq"], "{args:?}: {text}");
    }
    assert_eq!(obey(&agent, &says(&agent, &[]), "resume"), "Resumed: hq.\n");
    all_is_sent(&agent);
    assert_eq!(
        out(&resyncd(&agent, &["resume"])),
        "Not paused: hq. What waits is sent now, unless the upstream set a later time.\n"
    );
}

/// A hold likewise; and a person who asks for what waits behind it is told what to ask for.
#[test]
fn a_forgotten_hold_is_explained_and_ended() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    agent.call(&record_now("s-1"));
    agent.call(&record("s-1", &json!({"action": "UPDATE", "retry": "now"})));
    agent.ask(&json!({"op": "hold", "ids": [1], "reason": "the price is wrong", "by": "anna"}));
    agent.ask(&json!({"op": "resume"}));
    for args in [&["list"][..], &["show", "1"], &["doctor"]] {
        let text = resyncd_with(&agent, args, "", &[("COLUMNS", "200")]);
        let text = out(&text) + &told(&text);
        assert!(text.contains("by anna") && text.contains("the price is wrong"), "{args:?}: {text}");
    }
    assert!(says(&agent, &[]).contains("resyncd release"), "{}", says(&agent, &[]));
    let behind = says(&agent, &["show", "2"]);
    assert_eq!(printed(&behind, "release"), ["release", "1"], "{behind}");
    let refused = says(&agent, &["release", "2"]);
    assert!(refused.contains("waits behind no. 1, which is on hold"), "{refused}");
    obey(&agent, &refused, "release");
    all_is_sent(&agent);
}

/// The head office's own words are shown while it asks to wait, and how one failure is sent all the same.
#[test]
fn a_head_office_that_asks_to_wait_is_quoted() {
    let cured = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&cured);
    let upstream = Upstream::start(move |_| {
        if seen.load(Ordering::SeqCst) {
            return Answer::status(200);
        }
        Answer::json(503, r#"{"message":"Mantenimiento hasta las 08:00"}"#).with("Retry-After", "3600")
    });
    // The upstream's own pause is short; what binds is the hour that was asked of this failure.
    let agent = Agent::start(&Plan { upstream: "max_pause = \"1s\"", ..Plan::impatient(upstream.url()) });
    agent.call(&record_now("s-1"));
    upstream.wait_deliveries(1);
    wait_until("its words are shown", || says(&agent, &[]).contains("Mantenimiento hasta las 08:00"));
    for args in [&["status"][..], &["show", "1"], &["flush"], &["doctor"]] {
        assert!(says(&agent, args).contains("Mantenimiento hasta las 08:00"), "{args:?}: {}", says(&agent, args));
    }
    cured.store(true, Ordering::SeqCst);
    obey(&agent, &says(&agent, &["show", "1"]), "retry");
    all_is_sent(&agent);
}

/// What needs a person: the oldest is named, and the advice of `show` brings it through.
#[test]
fn the_oldest_case_is_named_first_and_its_advice_helps() {
    let cured = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&cured);
    let upstream = Upstream::start(move |request| {
        if request.text().contains("\"bad\"") && !seen.load(Ordering::SeqCst) {
            return Answer::json(422, r#"{"message":"unknown SKU"}"#);
        }
        Answer::status(200)
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    for entity in ["s-1", "s-2", "s-3"] {
        agent.call(&record(entity, &json!({"retry": "now", "payload": {"sku": "bad"}})));
    }
    wait_until("they need a person", || agent.ask(&json!({"op": "health"}))["critical"] == 3);
    let brief = says(&agent, &[]);
    assert!(brief.contains("Next: resyncd show 1   SALE s-1, refused"), "{brief}");
    let shown = obey(&agent, &brief, "show");
    cured.store(true, Ordering::SeqCst);
    obey(&agent, &shown, "retry");
    wait_until("it is gone", || agent.ask(&json!({"op": "health"}))["critical"] == 2);
    assert!(says(&agent, &[]).contains("resyncd show 2"), "{}", says(&agent, &[]));
    let gone = says(&agent, &["retry", "1"]);
    assert!(gone.contains("was delivered to hq at"), "{gone}");
    assert!(obey(&agent, &gone, "history").contains("delivered"));
}

/// What no route takes, and what no upstream is configured for.
#[test]
fn a_missing_route_and_a_missing_upstream_are_added_as_the_advice_says() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::with(upstream.url(), "[[route]]\nentity_type = \"RETURN\"\n"));
    agent.call(&record_now("s-1"));
    let shown = says(&agent, &["show", "1"]);
    assert!(shown.contains("add a route for it to the configuration"), "{shown}");
    agent.configure(&Plan::with(upstream.url(), "[[route]]\n"));
    obey(&agent, &shown, "reload");
    all_is_sent(&agent);

    let agent = Agent::start(&Plan::default());
    agent.call(&record_now("s-2"));
    let brief = says(&agent, &[]);
    assert!(!brief.contains("ALL SENT") && brief.contains("set url in [upstream.hq]"), "{brief}");
    for args in [&["show", "1"][..], &["doctor"]] {
        assert_eq!(printed(&says(&agent, args), "reload"), ["reload"], "{args:?}");
    }
    agent.configure(&Plan::impatient(upstream.url()));
    obey(&agent, &brief, "reload");
    all_is_sent(&agent);
}

/// Where waiting is enough, nothing is to do, and that is so.
#[test]
fn nothing_to_do_means_that_waiting_is_enough() {
    let mut upstream = Upstream::willing();
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    assert!(says(&agent, &[]).starts_with("Nothing to send yet."), "{}", says(&agent, &[]));
    upstream.down();
    agent.call(&record_now("s-1"));
    agent.wait_upstream("offline");
    assert!(says(&agent, &[]).ends_with("Nothing to do.\n"), "{}", says(&agent, &[]));
    upstream.up();
    all_is_sent(&agent);
}

/// What is gone is not in the list; the refusal says where to look, and that is a command.
#[test]
fn what_was_delivered_is_found_in_the_history() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.call(&record_now("s-1"));
    agent.call(&record("r-1", &json!({"entity_type": "RETURN", "retry": "now"})));
    all_is_sent(&agent);
    let told = says(&agent, &["list", "--status", "delivered"]);
    assert!(obey(&agent, &told, "history").contains("SALE s-1 CREATE"), "{told}");
    let sales = says(&agent, &["history", "--type", "SALE"]);
    assert!(sales.contains("s-1") && !sales.contains("r-1"), "{sales}");
    assert!(says(&agent, &["list", "--status", "discarded"]).contains("resyncd history --removed"));
}

/// An upstream that refuses whatever has the word `bad` in its payload, and everything with 401 while it is closed.
fn picky(closed: &Arc<AtomicBool>) -> Upstream {
    let closed = Arc::clone(closed);
    Upstream::start(move |request| match request.text().contains("\"bad\"") {
        _ if closed.load(Ordering::SeqCst) => Answer::json(401, r#"{"message":"token expired"}"#),
        true => Answer::json(422, r#"{"message":"unknown SKU"}"#),
        false => Answer::status(200),
    })
}

/// While nothing gets through, the cause comes before a single failure, which could not be delivered either.
#[test]
fn what_keeps_everything_back_comes_before_a_single_failure() {
    let closed = Arc::new(AtomicBool::new(false));
    let upstream = picky(&closed);
    let token = tempfile::NamedTempFile::new().expect("a file of mode 0600");
    fs::write(token.path(), "old\n").expect("a token");
    let settings = format!("max_pause = \"1h\"\ntoken_file = {:?}", token.path().display().to_string());
    let agent = Agent::start(&Plan::of(format!("[upstream.hq]\nurl = {:?}\n{settings}\n", upstream.url())));
    agent.call(&record("s-0", &json!({"retry": "now", "payload": {"sku": "bad"}})));
    wait_until("it needs a person", || agent.ask(&json!({"op": "health"}))["critical"] == 1);
    assert_eq!(printed(&says(&agent, &[]), "show"), ["show", "1"]);
    closed.store(true, Ordering::SeqCst);
    (1..12).for_each(|n| drop(agent.call(&record_now(&format!("s-{n}")))));
    wait_until("the upstream accepts nothing", || {
        let health = agent.ask(&json!({"op": "health"}));
        matches!(health["upstreams"][0]["state"].as_str(), Some("blocked" | "failing"))
    });
    let brief = says(&agent, &[]);
    assert!(brief.starts_with("1 NEEDS A PERSON") && !brief.contains("resyncd show"), "{brief}");
    let told = obey_failing(&agent, &brief, "doctor");
    let line = told.lines().find(|line| line.starts_with("FIX delivery")).unwrap_or_else(|| panic!("{told}"));
    closed.store(false, Ordering::SeqCst);
    obey(&agent, line, "resume");
    wait_until("the others are sent", || agent.ask(&json!({"op": "unsent"}))["unsent"] == 1);
    assert_eq!(printed(&says(&agent, &[]), "show"), ["show", "1"], "now it is the failure's turn");
}

/// Does what the text recommends, where the command ends with 1 because it has found something.
#[track_caller]
fn obey_failing(agent: &Agent, text: &str, command: &str) -> String {
    let words = printed(text, command);
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = resyncd(agent, &args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}{}", out(&output), told(&output));
    out(&output) + &told(&output)
}

#[test]
fn a_failure_in_its_first_attempt_is_not_called_unattempted() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| {
        held.pass();
        Answer::status(200)
    });
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_for_failure(&id, "it is being sent", |failure| failure["state"] == "in_flight");
    let shown = says(&agent, &["show", "1"]);
    assert!(shown.contains("being sent right now") && shown.contains("first attempt is under way"), "{shown}");
    assert!(!shown.contains("not been attempted"), "{shown}");
    gate.open();
    all_is_sent(&agent);
}

/// A retry of a failure that was refused says so, and its other advice, to correct it, brings it through.
#[test]
fn a_retry_of_a_refused_failure_names_the_refusal_and_the_way_out() {
    let upstream = picky(&Arc::default());
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.call(&record("s-1", &json!({"retry": "now", "payload": {"sku": "bad"}})));
    wait_until("it needs a person", || agent.ask(&json!({"op": "health"}))["critical"] == 1);
    let said = says(&agent, &["retry", "1"]);
    assert!(said.contains("was refused before: HTTP 422: unknown SKU"), "{said}");
    wait_until("it needs a person again", || agent.ask(&json!({"op": "health"}))["critical"] == 1);
    let mut words = printed(&said, "edit");
    assert_eq!(words, ["edit", "1", "--reason", "…"]);
    words.push("--yes".to_owned());
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let edited = resyncd_with(&agent, &args, "", &[("EDITOR", "sed -i s/bad/good/")]);
    assert_eq!(edited.status.code(), Some(0), "{}{}", out(&edited), told(&edited));
    all_is_sent(&agent);
    // One that was not refused has no such line.
    agent.ask(&json!({"op": "pause"}));
    agent.call(&record_now("s-2"));
    let said = says(&agent, &["retry", "2"]);
    assert!(!said.contains("refused before"), "{said}");
}

/// Released, and still behind an earlier one that is on hold or needs a person: the reply names it.
#[test]
fn a_released_failure_that_stays_behind_another_says_which() {
    let upstream = picky(&Arc::default());
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    agent.call(&record_now("s-1"));
    agent.call(&record("s-1", &json!({"action": "UPDATE", "retry": "now"})));
    agent.ask(&json!({"op": "hold", "ids": [1, 2]}));
    agent.ask(&json!({"op": "resume"}));
    let said = says(&agent, &["release", "2"]);
    assert!(said.contains("No. 2 goes after no. 1, which is on hold"), "{said}");
    let released = said.split_once("goes after").expect("the line").1;
    obey(&agent, released, "release");
    all_is_sent(&agent);
    agent.call(&record("s-3", &json!({"retry": "now", "payload": {"sku": "bad"}})));
    wait_until("it needs a person", || agent.ask(&json!({"op": "health"}))["critical"] == 1);
    agent.call(&record("s-3", &json!({"action": "UPDATE", "retry": "now"})));
    let said = says(&agent, &["retry", "4"]);
    assert_eq!(printed(&said, "show"), ["show", "3"], "{said}");
}

/// What a bulk command asks to confirm counts what it changes, and it asks nothing where it changes nothing.
#[test]
fn a_bulk_command_counts_what_it_will_change() {
    let upstream = picky(&Arc::default());
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.call(&record("s-0", &json!({"retry": "now", "payload": {"sku": "bad"}})));
    wait_until("it needs a person", || agent.ask(&json!({"op": "health"}))["critical"] == 1);
    agent.ask(&json!({"op": "pause"}));
    for n in 1..5 {
        agent.call(&record_now(&format!("s-{n}")));
    }
    agent.ask(&json!({"op": "hold", "ids": [2]}));
    for (args, total, left, listed) in [
        (&["hold", "--all"][..], 5, 2, &["  3  ", "  4  ", "  5  "][..]),
        (&["release", "--all"], 5, 3, &["  1  ", "  2  "]),
        (&["retry", "--all"], 5, 1, &["  1  ", "  3  ", "  4  ", "  5  "]),
    ] {
        let output = resyncd(&agent, args);
        let text = told(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(&format!("{total} failures match; {left} of them stay as they are")), "{args:?}: {text}");
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
        assert_eq!(rows.len(), listed.len(), "{args:?}: {text}");
        assert!(listed.iter().zip(&rows).all(|(start, row)| row.starts_with(start)), "{args:?}: {text}");
        let dry = out(&resyncd(&agent, &[args, &["--dry-run"]].concat()));
        assert!(dry.contains(&format!("{left} of them stay as they are")), "{dry}");
    }
    for (args, said) in [
        (&["hold", "--status", "critical"][..], "none of them waits to be sent"),
        (&["release", "--entity", "s-3", "--type", "SALE"], "none of them is held"),
        (&["retry", "--status", "held"], "resyncd release"),
    ] {
        let output = resyncd(&agent, args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", told(&output));
        assert!(out(&output).contains(said), "{args:?}: {}", out(&output));
    }
}

/// What becomes of the failures behind a discarded one is said before it is confirmed.
#[test]
fn the_question_of_discard_says_what_becomes_of_those_behind() {
    let upstream = picky(&Arc::default());
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.ask(&json!({"op": "pause"}));
    for action in ["CREATE", "UPDATE", "CLOSE"] {
        agent.call(&record("s-1", &json!({"action": action, "retry": "now"})));
    }
    agent.call(&record_now("s-2"));
    let asked = |args: &[&str]| {
        let output =
            resyncd(&agent, &[&["discard", "--reason", "test", "--entity", "s-1", "--type", "SALE"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        told(&output)
    };
    let text = asked(&["--action", "CREATE"]);
    assert!(text.contains("put on hold then: no. 2, 3."), "{text}");
    let text = asked(&["--action", "CREATE", "--let-followers"]);
    assert!(text.contains("sent without it: no. 2, 3."), "{text}");
    let text = asked(&["--action", "UPDATE"]);
    assert!(text.contains("sent without it: no. 3.") && !text.contains("put on hold"), "{text}");
    let text = asked(&[]);
    assert!(!text.contains("Behind it"), "all of them leave: {text}");
    // What is announced is what happens.
    let args = ["discard", "--reason", "test", "--entity", "s-1", "--type", "SALE", "--action", "UPDATE", "--yes"];
    assert_eq!(resyncd(&agent, &args).status.code(), Some(0));
    let state = |seq: i64| agent.ask(&json!({"op": "get", "id": seq}))["failure"]["status"].clone();
    assert_eq!((state(1), state(3)), (json!("pending"), json!("pending")));
    assert_eq!(resyncd(&agent, &["discard", "1", "--reason", "test", "--yes"]).status.code(), Some(0));
    assert_eq!((state(3), state(4)), (json!("held"), json!("pending")));
}

/// A reload that was refused: the screen does not say that nothing is to do, and what it says helps.
#[test]
fn a_refused_reload_is_something_to_do() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.configure(&Plan { retry: "max_retries = 0", ..Plan::impatient(upstream.url()) });
    assert_eq!(resyncd(&agent, &["reload"]).status.code(), Some(2));
    let brief = says(&agent, &[]);
    assert!(!brief.contains("Nothing to do"), "{brief}");
    let checked = resyncd(&agent, &["config", "check"]);
    assert_eq!(printed(&brief, "config"), ["config", "check"]);
    assert!(told(&checked).contains("max_retries"), "{}", told(&checked));
    agent.configure(&Plan::impatient(upstream.url()));
    obey(&agent, &brief, "reload");
    assert!(says(&agent, &[]).contains("Nothing to do."), "{}", says(&agent, &[]));
}

/// A terminal that refuses every record says that first, and `doctor` says what to do.
#[test]
fn that_nothing_is_recorded_is_the_first_sentence() {
    let upstream = Upstream::willing();
    let plan = Plan::impatient(upstream.url());
    let mut agent = Agent::start(&Plan { limits: "min_free_disk = \"8192GiB\"", ..plan });
    wait_until("records are refused", || agent.call(&record_now("s-1"))["ok"] == false);
    let brief = says(&agent, &[]);
    assert!(brief.starts_with("NOT RECORDING: ") && !brief.contains("Nothing to do"), "{brief}");
    let told = obey_failing(&agent, &brief, "doctor");
    assert!(told.contains("FIX disk"), "{told}");
    agent.configure(&Plan::impatient(upstream.url()));
    assert!(agent.stop().success());
    agent.up();
    assert_eq!(agent.call(&record_now("s-1"))["ok"], true);
    all_is_sent(&agent);
    assert!(says(&agent, &[]).starts_with("ALL SENT."), "{}", says(&agent, &[]));
}

/// What was lost with a database is named by `status`, and explained by `doctor`, to which it leads.
#[test]
fn what_was_lost_is_explained_by_doctor() {
    let mut agent = Agent::start(&Plan::default());
    (0..3).for_each(|n| drop(agent.call(&record_now(&format!("s-{n}")))));
    assert!(agent.stop().success());
    fs::remove_file(agent.database()).expect("it was there");
    agent.up();
    let brief = says(&agent, &[]);
    assert!(brief.contains("3 LOST"), "{brief}");
    let told = obey_failing(&agent, &brief, "doctor");
    assert!(told.contains("FIX alert") && told.contains("Compare with the tills' own records"), "{told}");
}

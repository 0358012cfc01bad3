//! Each piece of advice that a command prints is carried out here as it is printed, and has to help: what waited is
//! delivered. And "Nothing to do." is printed only where that is so.

use crate::command_line::{out, resyncd, resyncd_with, told};
use crate::support::{Agent, Answer, Plan, Upstream, record, record_now, wait_until};
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
        if request.text().contains("bad") && !seen.load(Ordering::SeqCst) {
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

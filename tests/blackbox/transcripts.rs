//! Golden transcripts of the protocol, kept to be read in `tests/blackbox/transcripts/`: every operation
//! and every error code, over a real agent's sockets. What differs from run to run is replaced
//! by `"…"`.
//!
//! `RESYNCD_KEEP_TRANSCRIPTS=1 cargo test --test blackbox transcripts::` rewrites the replies; then read
//! what has changed. `schema.rs` holds the protocol's JSON Schema against the same conversations.

use super::clients::holding_a_place;
use crate::support::{Agent, Answer, Client, Gate, Plan, Upstream, code, id_of, record, record_now, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

/// A conversation's requests and replies, as they went over the socket.
pub(super) struct Spoken {
    /// `None`: the agent spoke first.
    pub(super) request: Option<String>,
    pub(super) reply: String,
}

/// An agent in the state that a transcript begins with, and connections to it.
struct Stage {
    agent: Agent,
    app: Client,
    admin: Option<Client>,
    /// What keeps it in that state.
    _props: (Option<Upstream>, Vec<Client>, Option<Opener>),
}

/// Lets the upstream answer when the transcript is over, so that the agent can end.
struct Opener(Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn stage(name: &str) -> Stage {
    let limited = |limits| Plan { limits, ..Plan::default() };
    let mut props = (None, Vec::new(), None);
    let mut upstream = |answer: fn() -> Answer| props.0.insert(Upstream::start(move |_| answer())).url();
    let agent = match name {
        "history" | "looking-back" => {
            let picky = Upstream::start(|request| {
                if request.text().contains("4711") {
                    Answer::json(422, r#"{"message":"unknown SKU"}"#)
                } else {
                    Answer::json(200, "{}")
                }
            });
            let url = picky.url();
            props.0 = Some(picky);
            Agent::start(&Plan::to(url))
        }
        "upstreams" => Agent::start(&Plan::to(upstream(|| Answer::status(200)))),
        "asked-to-wait" => {
            let asks = || Answer::json(429, r#"{"message":"closed until 08:00"}"#).with("Retry-After", "3600");
            Agent::start(&Plan::to(upstream(asks)))
        }
        "full" => Agent::start(&limited("max_failures = 1")),
        "disk-full" => Agent::start(&limited("min_free_disk = \"8000GiB\"")),
        "busy" => Agent::start(&limited("max_connections = 2")),
        "shutting-down" => return stopping(),
        _ => Agent::start(&Plan::default()),
    };
    match name {
        "disk-full" => {
            wait_until("the disk being looked at", || code(&agent.call(&record("s-0", &json!({})))) == "disk_full");
        }
        "storage" => {
            for part in ["", "-wal", "-shm"] {
                fs::remove_file(agent.state_dir().join(format!("sync_failures.db{part}"))).expect("it is deleted");
            }
        }
        "busy" => {
            props.1 = (0..2).map(|_| holding_a_place(&agent)).collect();
        }
        _ => {}
    }
    let admin = (name != "busy").then(|| agent.admin());
    Stage { app: agent.app(), admin, agent, _props: props }
}

/// One that ends as soon as its request has, which it does not yet.
fn stopping() -> Stage {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| {
        shut.pass();
        Answer::status(200)
    });
    let agent = Agent::start(&Plan::to(upstream.url()));
    let (mut app, admin) = (agent.app(), agent.admin());
    id_of(&app.call(&record_now("s-0")));
    upstream.wait_deliveries(1);
    agent.signal(Signal::TERM);
    wait_until("records being refused", || app.call(&record("s-9", &json!({"idempotency_key": "k-9"})))["ok"] == false);
    Stage { agent, app, admin: Some(admin), _props: (Some(upstream), Vec::new(), Some(Opener(gate))) }
}

impl Stage {
    fn waits(&self, what: &str) {
        let failure = |seq: &str| self.agent.ask(&json!({"op": "get", "id": format!("#{seq}")}));
        match what.split(' ').collect::<Vec<_>>()[..] {
            [id, "is", "critical"] => wait_until(what, || failure(id)["failure"]["status"] == "critical"),
            [id, "is", "asked", "to", "wait"] => {
                wait_until(what, || !failure(id)["failure"]["retry_after"].is_null());
            }
            [id, "is", "gone"] => wait_until(what, || failure(id)["error"]["code"] == "not_found"),
            ["alert", kind] => {
                wait_until(what, || self.agent.ask(&json!({"op": "alerts"})).to_string().contains(kind));
            }
            _ => panic!("nobody knows how to wait for: {what}"),
        }
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox/transcripts")
}

/// The names of all transcripts.
pub(super) fn names() -> Vec<String> {
    let entries = fs::read_dir(directory()).expect("the transcripts");
    let name = |entry: fs::DirEntry| entry.path().file_stem().expect("a name").to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

/// Plays a transcript and returns the conversation and the file as it should be.
pub(super) fn play(name: &str) -> (Vec<Spoken>, String, String) {
    let expected = fs::read_to_string(directory().join(format!("{name}.txt"))).expect("a transcript");
    let mut stage = stage(name);
    let place = stage.agent.state_dir().display().to_string();
    let (mut spoken, mut found, mut at_admin) = (Vec::new(), String::new(), false);
    for line in expected.lines().filter(|line| !line.starts_with('←')) {
        found.push_str(line);
        found.push('\n');
        let request = match line.split_once(' ') {
            Some(("→", "(more than limits.max_line)")) => Some("x".repeat((1 << 20) + 1)),
            Some(("→", request)) => Some(request.to_owned()),
            Some(("@", socket)) => {
                at_admin = socket == "admin";
                if name != "busy" {
                    continue;
                }
                None
            }
            Some(("~", what)) => {
                stage.waits(what);
                continue;
            }
            _ => continue,
        };
        let client = if at_admin { stage.admin.as_mut().expect("a connection") } else { &mut stage.app };
        if let Some(request) = &request {
            client.line(request);
        }
        let reply = client.text().expect("a reply");
        writeln!(found, "← {}", masked(&reply).replace(&place, "DIR")).expect("a String takes everything");
        spoken.push(Spoken { request, reply });
    }
    (spoken, expected, found)
}

const VOLATILE: [&str; 24] = [
    "until",
    "id",
    "first_at",
    "last_at",
    "failure_id",
    "blocked_by",
    "at",
    "since",
    "cleared_at",
    "next_try_at",
    "created_at",
    "updated_at",
    "last_retry_at",
    "next_retry_at",
    "oldest_created_at",
    "last_delivery_at",
    "duration_ms",
    "latency_ms",
    "database_bytes",
    "disk_free_bytes",
    "clock_skew_ms",
    "version",
    "text",
    "next",
];
const WHOSE: [&str; 4] = ["source_uid", "source_pid", "actor_uid", "actor_name"];

/// With `"…"` for what differs from run to run; a `null` stays.
fn masked(reply: &str) -> String {
    let mut text = reply.to_owned();
    for name in VOLATILE.iter().chain(&WHOSE) {
        let sign = format!("\"{name}\":");
        let mut from = 0;
        while let Some(at) = text[from..].find(&sign).map(|at| from + at + sign.len()) {
            let value = &text[at..];
            let length = match value.as_bytes()[0] {
                b'"' => 2 + value[1..].replace("\\\\", "__").replace("\\\"", "__").find('"').expect("its end"),
                b'-' | b'0'..=b'9' => value.find([',', '}']).expect("its end"),
                // It may not have been measured yet.
                b'n' if *name == "latency_ms" => "null".len(),
                _ => 0,
            };
            if length > 0 {
                text.replace_range(at..at + length, "\"…\"");
            }
            from = at;
        }
    }
    without_ids(&text)
}

/// Ids within what is left: in messages, keys that were made of them, followers; and the room on the disk.
fn without_ids(text: &str) -> String {
    const ROOM: &str = " are free on the disk";
    let hexadecimal = |part: &str| part.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let is_id = |part: &&str| hexadecimal(part) && part.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let (mut masked, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if rest.get(..36).as_ref().is_some_and(is_id) { 36 } else { first.len_utf8() };
        masked.push_str(if length == 36 { "…" } else { &rest[..length] });
        rest = &rest[length..];
    }
    // What stands before it is a number and its unit.
    let number = |before: &str| {
        let number = before.rsplit_once(' ').map_or(before, |(number, _)| number);
        format!("{}…", number.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
    };
    let mut parts = masked.split(ROOM).peekable();
    let mut shown = String::new();
    while let Some(part) = parts.next() {
        shown += &if parts.peek().is_some() { number(part) + ROOM } else { part.to_owned() };
    }
    shown
}

#[test]
fn every_transcript_is_what_the_agent_says() {
    for name in names() {
        let (_, expected, found) = play(&name);
        if env::var_os("RESYNCD_KEEP_TRANSCRIPTS").is_some() {
            fs::write(directory().join(format!("{name}.txt")), &found).expect("the transcript is kept");
        } else {
            for (expected, found) in expected.lines().zip(found.lines()) {
                assert_eq!(expected, found, "{name}");
            }
            assert_eq!(expected, found, "{name}");
        }
    }
}

#[test]
fn what_differs_from_run_to_run_is_masked() {
    let reply = r#"{"id":"0","a":"id","ids":["01909090-aaaa-7bbb-8ccc-0123456789ab-r2"],"text":"a \"b\" \\","at":null,"version":7}"#;
    assert_eq!(masked(reply), r#"{"id":"…","a":"id","ids":["…-r2"],"text":"…","at":null,"version":"…"}"#);
    assert!(serde_json::from_str::<Value>(&masked(reply)).is_ok());
}

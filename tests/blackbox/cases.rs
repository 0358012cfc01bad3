//! Ten calls of a support line, each as the commands that a technician types, and what they print.
//!
//! The output is kept in `tests/blackbox/cases/`, one file per case, for people to read. Placeholders
//! replace ids, times, sizes and addresses. `RESYNCD_KEEP_CASES=1 cargo test --test blackbox cases::`
//! rewrites the files; then read what has changed.

use super::command_line::{resyncd_reading, resyncd_with};
use super::doctor::http_date_in;
use crate::support::upstream::Request;
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now, wait_until};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// A call, as it goes on.
struct Case<'a> {
    agent: &'a Agent,
    transcript: String,
    ids: Vec<String>,
}

impl<'a> Case<'a> {
    fn of(agent: &'a Agent) -> Self {
        Self { agent, transcript: String::new(), ids: Vec::new() }
    }

    /// Types a command.
    fn types(&mut self, args: &[&str]) {
        self.types_with(args, "");
    }

    /// Types a command that reads something.
    fn types_with(&mut self, args: &[&str], input: &str) {
        let quoted = |arg: &&str| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() };
        let command: Vec<String> = ["resyncd"].iter().chain(args).map(quoted).collect();
        let output = resyncd_with(self.agent, args, input, &[("COLUMNS", "250")]);
        let mut text = format!("$ {}\n", command.join(" "));
        text += &String::from_utf8(output.stdout).expect("UTF-8");
        text += &String::from_utf8(output.stderr).expect("UTF-8");
        match output.status.code() {
            Some(0) => text.push('\n'),
            status => writeln!(text, "(exit status {})\n", status.expect("it ended by itself")).expect("a String"),
        }
        let dir = self.agent.state_dir();
        let dir = dir.parent().expect("a directory above").display().to_string();
        let text = text.replace(&dir, "DIR");
        let lines: Vec<String> = text.lines().map(|line| self.signs(line)).collect();
        self.transcript += &lines.join("\n");
        self.transcript.push('\n');
    }

    /// What differs from run to run, as signs.
    fn signs(&mut self, line: &str) -> String {
        let mut words: Vec<String> = Vec::new();
        for word in line.split(' ') {
            let is_number = |text: &str| text.chars().any(|c| c.is_ascii_digit()) && text.parse::<f64>().is_ok();
            let unit = word.trim_end_matches([',', '.', ')', ';']);
            let before = words.last().map(|number| number.trim_start_matches('(').to_owned());
            if ["ms", "s", "min", "KiB", "MiB", "GiB", "TiB"].contains(&unit)
                && before.is_some_and(|number| is_number(&number))
            {
                let number = words.pop().expect("a number");
                words.push(format!("{}N", if number.starts_with('(') { "(" } else { "" }));
            }
            let is_somebody = words.last().is_some_and(|by| by == "by") && !["a", "an", "the"].contains(&word);
            words.push(if is_somebody { "NAME".to_owned() } else { self.sign(word) });
        }
        // Columns are as wide as their contents.
        let mut line = words.join(" ");
        while line.contains("   ") {
            line = line.replace("   ", "  ");
        }
        line
    }

    fn sign(&mut self, word: &str) -> String {
        let mut signed = String::new();
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            if let Some(id) = like(rest, "xxxxxxxx-xxxx-7xxx-xxxx-xxxxxxxxxxxx") {
                let known = self.ids.iter().position(|known| known == id).unwrap_or_else(|| {
                    self.ids.push(id.to_owned());
                    self.ids.len() - 1
                });
                write!(signed, "ID-{}", known + 1).expect("a String");
                rest = &rest[id.len()..];
            } else if let Some(time) = like(rest, "dd:dd:dd").or(like(rest, "dddd-dd-dd")) {
                signed += if time.len() == 8 { "hh:mm:ss" } else { "yyyy-mm-dd" };
                rest = &rest[time.len()..];
            } else if let Some(port) = rest.strip_prefix("127.0.0.1:") {
                signed += "HOST:PORT";
                rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
            } else {
                signed.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        signed
    }

    /// Is it what was kept?
    #[track_caller]
    fn ends_as(self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox/cases").join(format!("{name}.txt"));
        if env::var_os("RESYNCD_KEEP_CASES").is_some() {
            fs::write(&file, &self.transcript).expect("the file is written");
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        for (found, kept) in self.transcript.lines().zip(kept.lines()) {
            assert_eq!(found, kept, "{name} goes another way:\n{}", self.transcript);
        }
        assert_eq!(self.transcript.lines().count(), kept.lines().count(), "{name}:\n{}", self.transcript);
    }
}

/// The beginning of a text that looks so: `x` a hexadecimal digit, `d` a decimal one.
fn like<'a>(text: &'a str, shape: &str) -> Option<&'a str> {
    let head = text.get(..shape.len())?;
    let fits = |(c, sign): (char, char)| match sign {
        'x' => c.is_ascii_hexdigit(),
        'd' => c.is_ascii_digit(),
        sign => c == sign,
    };
    head.chars().zip(shape.chars()).all(fits).then_some(head)
}

fn refusing_bad_ones(request: &Request) -> Answer {
    if request.text().contains("4711") {
        Answer::json(422, r#"{"message":"unknown SKU 4711"}"#)
    } else {
        Answer::status(200)
    }
}

#[test]
fn the_payload_is_wrong() {
    let upstream = Upstream::start(refusing_bad_ones);
    let agent = Agent::start(&Plan::to(upstream.url()));
    let sale = |action: &str, sku: u32| json!({"action": action, "payload": {"sku": sku}, "retry": "now", "idempotency_key": format!("k-{action}")});
    let id = id_of(&agent.call(&record("s-1", &sale("CREATE", 4711))));
    let follower = id_of(&agent.call(&record("s-1", &sale("UPDATE", 4712))));
    agent.wait_critical(&id);
    let mut case = Case::of(&agent);
    case.types(&[]);
    case.types(&["status"]);
    case.types(&["show", "1", "--payload"]);
    case.types_with(
        &["edit", "1", "--payload-file", "-", "--reason", "SKU of the old catalogue", "--yes"],
        r#"{"sku":4712}"#,
    );
    agent.wait_gone(&follower);
    case.types(&["history", "1"]);
    case.types(&[]);
    case.ends_as("wrong-payload");
}

#[test]
fn the_head_office_is_down() {
    let mut upstream = Upstream::willing();
    upstream.down();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({}))));
    agent.wait_upstream("offline");
    let mut case = Case::of(&agent);
    case.types(&[]);
    case.types(&["status"]);
    case.types(&["list"]);
    case.types(&["show", "s-1"]);
    upstream.up();
    case.types(&["resume"]);
    agent.wait_gone(&id);
    case.types(&[]);
    case.ends_as("upstream-down");
}

#[test]
fn the_token_has_expired() {
    let upstream = Upstream::start(|_| Answer::json(401, r#"{"message":"token expired"}"#));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("blocked");
    let mut case = Case::of(&agent);
    case.types(&[]);
    case.types(&["show", "1"]);
    upstream.on_delivery(|_| Answer::status(200));
    case.types(&["resume", "hq", "--reason", "a new token is in place"]);
    agent.wait_gone(&id);
    case.types(&[]);
    case.ends_as("token-expired");
}

#[test]
fn a_login_page_stands_before_the_line() {
    let upstream = Upstream::start(|_| Answer::html(200));
    upstream.on_probe(|_| Answer::html(200));
    let agent = Agent::start(&Plan { upstream: "expect = \"json\"", ..Plan::to(upstream.url()) });
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("offline");
    let mut case = Case::of(&agent);
    case.types(&[]);
    case.types(&["show", "1"]);
    upstream.on_delivery(|_| Answer::status(200));
    upstream.on_probe(|_| Answer::status(200));
    case.types(&["resume"]);
    agent.wait_gone(&id);
    case.types(&["history", "1"]);
    case.ends_as("captive-portal");
}

#[test]
fn one_sale_blocks_what_comes_behind_it() {
    let upstream = Upstream::start(refusing_bad_ones);
    let agent = Agent::start(&Plan::to(upstream.url()));
    let first = id_of(&agent.call(&record("s-1", &json!({"payload": {"sku": 4711}, "retry": "now"}))));
    let second = id_of(&agent.call(&record("s-1", &json!({"action": "UPDATE", "retry": "now"}))));
    agent.wait_critical(&first);
    let mut case = Case::of(&agent);
    case.types(&["list"]);
    case.types(&["show", "2"]);
    case.types(&["discard", "1", "--reason", "cancelled at the counter"]);
    case.types(&["list"]);
    case.types(&["release", "2", "--reason", "the head office wants it all the same"]);
    agent.wait_gone(&second);
    case.types(&["history", "--type", "SALE", "--entity", "s-1"]);
    case.ends_as("blocked-chain");
}

#[test]
fn the_disk_is_full() {
    let mut agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("s-1", &json!({}))));
    agent.stop();
    agent.configure(&Plan { limits: "min_free_disk = \"8000GiB\"", ..Plan::default() });
    agent.up();
    wait_until("the disk being looked at", || agent.call(&record("s-2", &json!({})))["error"]["code"] == "disk_full");
    let mut case = Case::of(&agent);
    case.types(&["record", "--type", "SALE", "--entity", "s-2", "--action", "CREATE", "--error", "connect ETIMEDOUT"]);
    case.types(&[]);
    case.types(&["alerts"]);
    case.ends_as("disk-full");
}

#[test]
fn the_clock_is_wrong() {
    // Half a day more, so that it is the same number of days when the test is slow.
    let late = || Answer::status(200).with("Date", &http_date_in((3286 * 24 + 12) * 60));
    let upstream = Upstream::start(move |_| late());
    upstream.on_probe(move |_| late());
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_gone(&id);
    wait_until("the alert", || agent.ask(&json!({"op": "alerts"})).to_string().contains("clock_wrong"));
    let alerts = agent.ask(&json!({"op": "alerts"}));
    assert_eq!(alerts["alerts"].as_array().map(Vec::len), Some(1), "{alerts}");
    let mut case = Case::of(&agent);
    case.types(&[]);
    case.types(&["history", "1"]);
    case.ends_as("clock-wrong");
}

#[test]
fn the_terminal_is_replaced() {
    let dead = Agent::start(&Plan::default());
    id_of(&dead.call(&record("s-1", &json!({"payload": {"total": 12.5}, "idempotency_key": "till-07-1"}))));
    id_of(&dead.call(&record("s-1", &json!({"action": "UPDATE", "payload": {"total": 13}}))));
    let stick = resyncd_reading(&dead, &["export"], "");
    let stick = String::from_utf8(stick.stdout).expect("UTF-8");
    drop(dead);
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let mut case = Case::of(&agent);
    case.types_with(&["import", "-", "--dry-run"], &stick);
    case.types_with(&["import", "-", "--yes", "--reason", "till 07 is dead"], &stick);
    wait_until("both being sent", || agent.cell("SELECT COUNT(*) FROM sync_failures") == 0);
    case.types_with(&["import", "-", "--yes"], &stick);
    case.types(&["history", "--type", "SALE", "--entity", "s-1"]);
    case.ends_as("terminal-replaced");
}

#[test]
fn was_it_sent() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let id = id_of(&agent.call(&record("s-1", &json!({"idempotency_key": "till-07-1", "retry": "now"}))));
    agent.wait_gone(&id);
    let mut case = Case::of(&agent);
    case.types(&["show", "1"]);
    case.types(&["history", "--type", "SALE", "--entity", "s-1"]);
    case.types(&["stats"]);
    case.ends_as("was-it-sent");
}

#[test]
fn the_till_is_to_be_closed() {
    let mut upstream = Upstream::willing();
    upstream.down();
    let agent = Agent::start(&Plan::to(upstream.url()));
    id_of(&agent.call(&record("s-1", &json!({}))));
    agent.wait_upstream("offline");
    let mut case = Case::of(&agent);
    case.types(&["check", "--closing"]);
    upstream.up();
    case.types(&["check", "--closing", "--wait", "60s"]);
    case.types(&["check", "--closing"]);
    case.ends_as("end-of-day");
}

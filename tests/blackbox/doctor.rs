//! `doctor`: what is well is said to be, and each thing that is not is found, with what to
//! do about it.

use crate::command_line::{out, resyncd, resyncd_with, told};
use crate::support::{Agent, Answer, Plan, Upstream, record};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The exit status, and what was found: the check, whether it is well, the message.
#[track_caller]
fn doctor(agent: &Agent) -> (Option<i32>, Vec<(String, bool, String)>) {
    let output = resyncd(agent, &["doctor", "--json"]);
    let finding = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("one JSON object a line");
        let text = |name: &str| value[name].as_str().expect("a text").to_owned();
        (text("check"), value["ok"].as_bool().expect("a flag"), text("message"))
    };
    (output.status.code(), out(&output).lines().map(finding).collect())
}

/// Exactly these are not well; their messages in one text.
#[track_caller]
fn ill(agent: &Agent, expected: &[&str]) -> String {
    let (status, found) = doctor(agent);
    let ill: Vec<_> = found.iter().filter(|(_, ok, _)| !ok).collect();
    let names: Vec<&str> = ill.iter().map(|(check, ..)| check.as_str()).collect();
    assert_eq!((names.as_slice(), status), (expected, Some(i32::from(!expected.is_empty()))), "{found:#?}");
    ill.iter().map(|(_, _, message)| message.as_str()).collect::<Vec<_>>().join("\n")
}

/// An upstream whose probes are answered like this.
fn answering(probe: &Answer) -> Upstream {
    let (upstream, probe) = (Upstream::willing(), probe.clone());
    upstream.on_probe(move |_| probe.clone());
    upstream
}

#[test]
fn a_sound_installation_is_well_in_everything_and_nothing_is_sent() {
    let upstream = answering(&Answer::status(200).with("Date", &http_date_in(0)));
    let agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::to(upstream.url()) });
    agent.call(&record("s-1", &json!({"error": "HTTP 500: x"})));
    assert_eq!(ill(&agent, &[]), "");
    let (_, found) = doctor(&agent);
    let looked: Vec<&str> = found.iter().map(|(check, ..)| check.as_str()).collect();
    let all =
        ["state", "disk", "app socket", "admin socket", "group", "terminal_id", "descriptors", "upstream", "clock"];
    assert_eq!(looked, all);
    let text = out(&resyncd(&agent, &["doctor"]));
    assert!(text.lines().count() == all.len() && text.lines().all(|line| line.starts_with("ok  ")), "{text}");
    assert_eq!(upstream.deliveries().len(), 0);
}

/// The time `minutes` from now, as HTTP writes it.
pub(crate) fn http_date_in(minutes: i64) -> String {
    let at = time::OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
    let (day, month) = (&at.weekday().to_string()[..3], &at.month().to_string()[..3]);
    format!("{day}, {:02} {month} {} {:02}:{:02}:{:02} GMT", at.day(), at.year(), at.hour(), at.minute(), at.second())
}

#[test]
fn an_agent_that_does_not_run_is_found_at_both_sockets() {
    let upstream = Upstream::willing();
    let mut agent = Agent::start(&Plan::to(upstream.url()));
    agent.stop();
    let told = ill(&agent, &["app socket", "admin socket"]);
    assert!(told.contains("systemctl start resyncd"), "{told}");
    agent.up();
    agent.kill9();
    assert!(ill(&agent, &["app socket", "admin socket"]).contains("no agent answers"));
}

#[test]
fn doors_that_stand_open_are_found() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    for path in [agent.state_dir(), agent.app_path(), agent.admin_path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("its mode");
    }
    let told = ill(&agent, &["state", "app socket", "admin socket"]);
    for remedy in ["chmod 700 ", "chmod 660 ", "chmod 600 "] {
        assert!(told.contains(remedy), "{remedy} in {told}");
    }
}

/// A directory that others use as well keeps its mode and owner.
#[test]
fn a_state_directory_of_others_is_not_to_be_changed() {
    let agent = Agent::prepare(&Plan::default());
    fs::create_dir(agent.state_dir()).expect("a directory");
    fs::write(agent.state_dir().join("of-another-program"), "").expect("a file");
    fs::set_permissions(agent.state_dir(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let told = out(&resyncd(&agent, &["doctor"]));
    let line = told.lines().find(|line| line.contains("FIX state")).expect(&told);
    assert!(line.contains("state_dir") && !told.contains("chmod 700") && !told.contains("chown"), "{told}");
}

#[test]
fn an_upstream_that_cannot_be_reached_is_found_with_the_reason() {
    let mut upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    upstream.down();
    let told = ill(&agent, &["upstream"]);
    assert!(told.contains("refused") && told.contains("Is the cable connected?"), "{told}");
    agent.configure(&Plan::to("https://no-such-host.invalid/sync".into()));
    let lookup = ill(&agent, &["upstream"]);
    assert!(lookup.contains("name lookup fails: ") && !lookup.contains("failed to lookup"), "{lookup}");
    agent.configure(&Plan::default());
    assert!(ill(&agent, &["upstream"]).contains("none is configured"));
}

#[test]
fn a_login_page_in_the_networks_way_is_found() {
    let upstream = answering(&Answer::html(200));
    // The type of a response to HEAD may be mere habit; the body of the page decides.
    upstream.on_delivery(|_| Answer::html(200));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let told = ill(&agent, &["upstream"]);
    assert!(told.contains("web page") && told.contains("log in"), "{told}");
}

#[test]
fn a_redirect_is_shown_with_where_it_leads() {
    let to = "https://new.example/sync";
    let upstream = answering(&Answer::status(308).with("Location", to));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let told = ill(&agent, &["upstream"]);
    assert!(told.contains("308") && told.contains(to), "{told}");
}

#[test]
fn credentials_that_are_not_taken_or_not_there_are_found() {
    let upstream = Upstream::willing();
    upstream.on_probe(|request| match request.header("Authorization") {
        Some("Bearer good") | None => Answer::status(200),
        Some(_) => Answer::status(401),
    });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let token = dir.path().join("hq.token");
    let more = format!("[upstream.hq]\nurl = {:?}\ntoken_file = {:?}\n", upstream.url(), token.display().to_string());
    fs::write(&token, "good\n").expect("a token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("its mode");
    let agent = Agent::start(&Plan::of(more));
    assert_eq!(ill(&agent, &[]), "");
    fs::write(&token, "expired-and-longer\n").expect("a token");
    let told = ill(&agent, &["credentials"]);
    assert!(told.contains("HTTP 401") && told.contains("hq.token") && !told.contains("expired"), "{told}");
    fs::remove_file(&token).expect("the token goes");
    assert!(ill(&agent, &["files", "credentials"]).contains("hq.token"));
}

#[test]
fn a_clock_that_is_wrong_is_found() {
    let upstream = answering(&Answer::status(200).with("Date", &http_date_in(60)));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let told = ill(&agent, &["clock"]);
    assert!(told.contains("behind that of hq") && told.contains("timedatectl"), "{told}");
}

#[test]
fn too_little_room_is_found() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan { limits: "min_free_disk = \"4096GiB\"", ..Plan::to(upstream.url()) });
    assert!(ill(&agent, &["disk"]).contains("nothing is recorded"));
}

/// The names of the checks are Spanish for people, and English in JSON.
#[test]
fn a_technician_reads_spanish_and_a_program_english() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan::to(upstream.url()));
    let spoken = |args: &[&str]| resyncd_with(&agent, args, "", &[("RESYNCD_LANG", "es")]);
    let text = out(&spoken(&["doctor"]));
    assert!(text.lines().all(|line| line.starts_with("ok      ")), "{text}");
    for said in ["estado ", "socket app ", " responde, versión ", " responde en ", "pertenece a "] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let json = out(&spoken(&["doctor", "--json"]));
    assert!(json.contains("\"check\":\"app socket\"") && json.contains(" answers, version "), "{json}");

    fs::set_permissions(agent.state_dir(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let ill = spoken(&["doctor"]);
    assert!(out(&ill).contains("REVISAR estado ") && out(&ill).contains("chmod 700 "), "{}", out(&ill));
    let all = out(&ill).lines().count();
    let verdict = format!("resyncd: 1 de {all} comprobaciones ha fallado\n");
    assert_eq!((ill.status.code(), told(&ill)), (Some(1), verdict));
}

//! `config check` and `doctor` open what the configuration names, and say what about it would not work.

use crate::command_line::{out, resyncd, told};
use crate::support::{Agent, Plan, Upstream};
use rustix::process::geteuid;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

fn check(agent: &Agent) -> (Option<i32>, String) {
    let output = resyncd(agent, &["config", "check"]);
    (output.status.code(), out(&output) + &told(&output))
}

/// A file beside an agent's configuration that only its owner reads.
fn put(agent: &Agent, name: &str, text: &str) -> String {
    let path = agent.state_dir().with_file_name(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("its mode");
    path.display().to_string()
}

/// Each line, what is in the file that it names, and what is said; `FILE` is that file.
#[test]
fn a_file_that_would_not_work_is_told_with_its_key_and_path() {
    let upstream = Upstream::willing();
    let cases: [(&str, Option<&str>, &str); 16] = [
        ("token_file = \"FILE\"", None, "[upstream.hq] token_file: FILE does not exist"),
        ("token_file = \"FILE\"", Some(""), "[upstream.hq] token_file: FILE is empty"),
        ("token_file = \"FILE\"", Some("Bearer abc\n"), "begins with \"Bearer \""),
        ("token_file = \"FILE\"", Some("\"abc\"\n"), "quotation marks"),
        ("token_file = \"FILE\"", Some("a\nb\n"), "more than one line"),
        ("token_file = \"FILE\"", Some("\u{feff}abc\r\n"), "without a byte order mark"),
        ("header_files = { X-Key = \"FILE\" }", Some("caf\u{e9}\n"), "characters that a header cannot carry"),
        ("basic_file = \"FILE\"", Some("anna\n"), "[upstream.hq] basic_file: FILE does not hold user:password"),
        ("header_files = { X-Key = \"FILE\" }", Some("\n"), "[upstream.hq] header_files.X-Key: FILE is empty"),
        ("ca_file = \"FILE\"", None, "[upstream.hq] ca_file: FILE does not exist"),
        ("ca_file = \"FILE\"", Some("not a certificate\n"), "FILE holds no certificate"),
        ("client_cert = \"FILE\"\nclient_key = \"FILE\"", Some("x\n"), "FILE holds no certificate"),
        (
            "[[route]]\nupstream = \"hq\"\npath = \"/\"\nbody = \"template\"\n\
             template = '{\"k\":\"{secret:FILE}\",\"p\":{payload}}'",
            None,
            "[[route]] template: {secret:…}: FILE does not exist",
        ),
        ("[alerts]\ncommand = [\"FILE\"]", Some("#!/bin/sh\n"), "[alerts] command: FILE is not a program"),
        ("[metrics]\ntextfile = \"/tmp\"", None, "[metrics] textfile: /tmp is a directory"),
        ("[metrics]\ntextfile = \"FILE/no/m.prom\"", None, "[metrics] textfile: FILE/no: "),
    ];
    for (line, contents, said) in cases {
        let agent = Agent::prepare(&Plan::default());
        let file = agent.state_dir().with_file_name("named").display().to_string();
        if let Some(contents) = contents {
            put(&agent, "named", contents);
        }
        agent.configure(&Plan::of(format!(
            "[upstream.hq]\nurl = {:?}\n{}\n",
            upstream.url(),
            line.replace("FILE", &file)
        )));
        let (status, text) = check(&agent);
        assert_eq!(status, Some(1), "{line} {contents:?}: {text}");
        assert!(text.contains(&said.replace("FILE", &file)), "{line} {contents:?}: {text}");
        // With the line that names the file; a template may name several.
        let config = agent.state_dir().with_file_name("resyncd.toml").display().to_string();
        assert!(text.contains(&format!("{config}:")) || line.contains("template"), "{line} {contents:?}: {text}");
        let doctor = out(&resyncd(&agent, &["doctor"]));
        assert!(doctor.contains(&said.replace("FILE", &file)), "{line} {contents:?}: {doctor}");
        let syntax = resyncd(&agent, &["config", "check", "--syntax"]);
        assert_eq!(syntax.status.code(), Some(0), "the text itself is right: {}", told(&syntax));
    }
}

#[test]
fn files_as_they_should_be_are_well() {
    let upstream = Upstream::willing();
    let agent = Agent::prepare(&Plan::default());
    let token = put(&agent, "hq.token", "abc\n");
    agent.configure(&Plan::of(format!("[upstream.hq]\nurl = {:?}\ntoken_file = {token:?}\n", upstream.url())));
    let (status, text) = check(&agent);
    assert!(status == Some(0) && text.starts_with("The configuration is valid."), "{text}");
    fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).expect("its mode");
    let dir = agent.state_dir().parent().expect("a directory").to_owned();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).expect("its mode");
    assert_eq!(check(&agent).0, Some(0), "its directory is closed to others");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o711)).expect("its mode");
    let (status, text) = check(&agent);
    assert!(status == Some(1) && text.contains("every user") && text.contains("chmod 640"), "{text}");
}

/// Root can read everything; what counts is whether the agent's user can, and its group may do.
#[test]
fn root_looks_with_the_eyes_of_the_agents_user() {
    const AGENTS: u32 = 64_999;
    if !geteuid().is_root() {
        return;
    }
    let upstream = Upstream::willing();
    let agent = Agent::prepare(&Plan::default());
    let token = put(&agent, "hq.token", "abc\n");
    agent.configure(&Plan::of(format!("[upstream.hq]\nurl = {:?}\ntoken_file = {token:?}\n", upstream.url())));
    fs::create_dir(agent.state_dir()).expect("a state directory");
    let home = agent.state_dir().parent().expect("a directory").to_owned();
    fs::set_permissions(home, PermissionsExt::from_mode(0o711)).expect("its mode");
    assert_eq!(check(&agent).0, Some(0), "root's own agent");
    chown(agent.state_dir(), Some(AGENTS), Some(AGENTS)).expect("it is given away");
    let (status, text) = check(&agent);
    assert!(status == Some(1) && text.contains("uid 64999 cannot read") && text.contains("chmod 640"), "{text}");
    // As the advice says.
    chown(&token, None, Some(AGENTS)).expect("its group");
    fs::set_permissions(&token, PermissionsExt::from_mode(0o640)).expect("its mode");
    assert_eq!(check(&agent).0, Some(0), "{}", check(&agent).1);
}

/// The metrics' file is made beside its name and renamed, so the agent's user has to be able to write to its directory.
#[test]
fn the_directory_of_the_metrics_has_to_be_writable_by_the_agents_user() {
    const AGENTS: u32 = 64_999;
    if !geteuid().is_root() {
        return;
    }
    let agent = Agent::prepare(&Plan::default());
    let dir = agent.state_dir().with_file_name("metrics");
    let file = dir.join("resyncd.prom");
    agent.configure(&Plan::of(format!("[metrics]\ntextfile = {:?}\n", file.display().to_string())));
    fs::create_dir(&dir).expect("a directory");
    fs::create_dir(agent.state_dir()).expect("a state directory");
    let home = agent.state_dir().parent().expect("a directory").to_owned();
    fs::set_permissions(home, PermissionsExt::from_mode(0o711)).expect("its mode");
    assert_eq!(check(&agent).0, Some(0), "root's own agent");
    chown(agent.state_dir(), Some(AGENTS), Some(AGENTS)).expect("it is given away");
    let refused = |part: &str| {
        let (status, text) = check(&agent);
        assert!(status == Some(1) && text.contains("[metrics] textfile: the agent's user uid 64999"), "{text}");
        assert!(text.contains(part), "{text}");
    };
    refused("Permission denied");
    // Every user may make files there, but nobody may replace those of others.
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o1777)).expect("its mode");
    assert_eq!(check(&agent).0, Some(0), "{}", check(&agent).1);
    fs::write(&file, "").expect("a file of root");
    refused("another user's file");
    fs::remove_file(&file).expect("it goes");
    fs::create_dir(&file).expect("a directory");
    assert!(check(&agent).1.contains("resyncd.prom is a directory"), "{}", check(&agent).1);
    fs::remove_dir(&file).expect("it goes");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).expect("its mode");
    chown(&dir, None, Some(AGENTS)).expect("its group");
    refused("Permission denied");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o775)).expect("its mode");
    assert_eq!(check(&agent).0, Some(0), "{}", check(&agent).1);
    assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 0, "nothing was left there");
}

#[test]
fn files_that_are_not_read_are_named() {
    let agent = Agent::prepare(&Plan::default());
    let dir = agent.state_dir().with_file_name("resyncd.d");
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("receiver.conf"), "nonsense").expect("a file");
    fs::write(dir.join("10-right.toml"), "[retry]\nbatch = 5\n").expect("a file");
    let (status, text) = check(&agent);
    assert!(status == Some(0) && text.contains("receiver.conf is not read: only files named *.toml are"), "{text}");
    assert!(!text.contains("10-right.toml"), "{text}");
}

#[test]
fn settings_that_work_against_each_other_are_told() {
    let limits = "max_payload = \"2MiB\"\nmax_line = \"1MiB\"";
    let agent = Agent::prepare(&Plan { limits, ..Plan::default() });
    let (status, text) = check(&agent);
    assert!(status == Some(1) && text.contains("max_payload") && text.contains("max_line"), "{text}");
    let in_memory = "/dev/shm/resyncd-test";
    fs::write(agent.state_dir().with_file_name("resyncd.toml"), format!("[agent]\nstate_dir = {in_memory:?}\n"))
        .expect("a file");
    let (status, text) = check(&agent);
    assert!(status == Some(1) && text.contains("in memory"), "{text}");
}

#[test]
fn a_file_in_another_encoding_is_told_with_its_line() {
    let agent = Agent::prepare(&Plan::default());
    let path = agent.state_dir().with_file_name("resyncd.toml");
    fs::write(&path, b"[agent]\n# tienda de Malag\xe1\n").expect("a file");
    let (status, text) = check(&agent);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("resyncd.toml:2: is not UTF-8; it seems to be Latin-1") && text.contains("Save"), "{text}");
    fs::write(&path, b"\xff\xfe[\0a\0").expect("a file");
    assert!(check(&agent).1.contains("UTF-16"), "{}", check(&agent).1);
}

/// The line of the key, and paths of the agent's own that cannot be.
#[test]
fn a_path_that_cannot_be_is_told_with_the_line_of_its_key() {
    let agent = Agent::prepare(&Plan::default());
    let config = agent.state_dir().with_file_name("resyncd.toml").display().to_string();
    let line = |key: &str| {
        let text = fs::read_to_string(&config).expect("the configuration");
        let at = text.lines().position(|line| line.starts_with(&format!("{key} = ")));
        at.expect("the key is in the file") + 1
    };
    fs::write(agent.state_dir(), "in the way").expect("a file");
    let (status, text) = check(&agent);
    assert_eq!(status, Some(1), "{text}");
    let place = format!("{config}:{}: [agent] state_dir: ", line("state_dir"));
    assert!(text.contains(&place) && text.contains("is not a directory"), "{text}");
    fs::remove_file(agent.state_dir()).expect("it was there");
    agent.configure(&Plan::of("[upstream.hq]\nurl = \"https://hq.example/\"\ntoken_file = \"/no/hq.token\"\n"));
    let (_, text) = check(&agent);
    let place = format!("{config}:{}: [upstream.hq] token_file: /no/hq.token does not exist", line("token_file"));
    assert!(text.contains(&place), "{text}");
}

/// A route behind one that takes everything: the agent runs with it, and `config check` says so.
#[test]
fn a_route_that_is_never_used_is_told() {
    let agent = Agent::prepare(&Plan::default());
    let route = |more: &str| format!("[[route]]\npath = \"/x\"\n{more}");
    let with = |routes: &[&str]| {
        let routes: String = routes.iter().map(|more| route(more)).collect();
        agent.configure(&Plan::of(format!("[upstream.hq]\nurl = \"https://hq.example/\"\n{routes}")));
        check(&agent)
    };
    let sale = "entity_type = \"SALE\"\n";
    let created = "entity_type = \"SALE\"\naction = \"CREATE\"\n";
    for (routes, hidden) in [
        (&["", sale][..], true),
        (&[sale, created], true),
        (&[created, sale, ""], false),
        (&[sale, "action = \"CREATE\"\n"], false),
    ] {
        let (status, text) = with(routes);
        assert_eq!(status, Some(0), "{text}");
        assert_eq!(text.contains("this route is never used"), hidden, "{routes:?}: {text}");
    }
}

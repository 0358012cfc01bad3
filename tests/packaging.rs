//! What is packaged agrees with what is built: the manual knows every key of the configuration, the
//! examples and units are where the documents say. Needs no tool; the packages themselves are tested by
//! `packaging/build.sh --check` and `packaging/boot-test.sh`.

use std::fs;
use std::path::{Path, PathBuf};

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(packaging(name)).unwrap_or_else(|error| panic!("reading packaging/{name}: {error}"))
}

/// Keys of the packaged configuration, also those in comments, and its sections.
fn keys(configuration: &str) -> Vec<String> {
    let line = |line: &str| {
        let line = line.trim_start_matches('#');
        if let Some(section) = line.strip_prefix('[') {
            return Some(format!("[{}]", section.trim_matches(['[', ']'])));
        }
        let (key, _) = line.split_once(" = ")?;
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        plain.then(|| key.to_owned())
    };
    configuration.lines().filter_map(line).collect()
}

/// The keys that a manual does not name. Upstreams have names of their own in the example.
fn unknown_to(manual: &str, configuration: &str) -> Vec<String> {
    let words: Vec<&str> = manual.split(|c: char| !c.is_ascii_lowercase() && c != '_').collect();
    let known = |key: &String| match key.strip_prefix('[') {
        Some(section) if section.starts_with("upstream.") => manual.contains("[upstream.NAME"),
        Some(_) => manual.contains(key.as_str()),
        None => words.contains(&key.as_str()),
    };
    keys(configuration).into_iter().filter(|key| !known(key)).collect()
}

#[test]
fn the_manual_knows_every_key_of_the_configuration() {
    let (manual, configuration) = (text("man/resyncd.toml.5"), text("resyncd.toml"));
    assert!(keys(&configuration).len() > 60, "{:?}", keys(&configuration));
    assert_eq!(unknown_to(&manual, &configuration), Vec::<String>::new());
    assert_eq!(unknown_to(&manual, "#new_key = 1\n[other]\n"), ["new_key", "[other]"], "it can fail");
}

/// A path below the documents' directory that a page or a unit names is there to be installed.
#[test]
fn examples_that_are_named_are_there() {
    let mut named = 0;
    for page in
        ["man/resyncd.toml.5", "systemd/resyncd-alert.service", "examples/credentials.conf", "examples/metrics.conf"]
    {
        for rest in text(page).split("/usr/share/doc/resyncd/").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/-_.".contains(c)).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches('.');
            assert!(packaging(path).is_file(), "{page} names {path}");
            named += 1;
        }
    }
    assert!(named >= 5, "{named}");
}

/// The sockets have the names that the agent knows them by, and nothing deletes them when it stops.
#[test]
fn the_units_pass_on_what_the_agent_takes() {
    for (unit, name, mode) in [("resyncd.socket", "app", "0660"), ("resyncd-admin.socket", "admin", "0600")] {
        let unit = text(&format!("systemd/{unit}"));
        assert!(
            unit.contains(&format!("FileDescriptorName={name}\n")) && unit.contains(&format!("SocketMode={mode}\n"))
        );
    }
    let service = text("systemd/resyncd.service");
    let set = |key: &str| service.lines().any(|line| line.starts_with(key));
    assert!(set("Type=notify") && set("WatchdogSec="));
    for trap in ["RuntimeDirectory=", "PrivateUsers=yes", "ProcSubset=pid"] {
        assert!(!set(trap), "{trap}");
    }
}

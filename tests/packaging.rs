//! The packages agree with the build: the manual covers every configuration key, and the examples
//! and units are where the documents say. Needs no tools; the packages themselves are tested by
//! `packaging/build.sh --check` and `packaging/boot-test.sh`.

use resyncd::policy::alert::Kind;
use resyncd::record::Class;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The keys that a manual does not mention. Upstreams have their own names in the example.
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

/// Paths below the documentation directory that a page or a unit names must be installed.
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

/// The sockets have the names that the agent expects, and stopping the units does not delete them.
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

fn pages(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
}

/// The relative links of a page.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://") && !target.contains(' '))
}

/// The packages install README.md, SECURITY.md, doc, examples and recipes; a link out of these is dead there.
#[test]
fn every_link_leads_to_something_that_is_installed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("the project");
    let mut found = vec![root.join("README.md"), packaging("SECURITY.md")];
    ["doc", "recipes"].iter().for_each(|dir| pages(&packaging(dir), &mut found));
    let installed = ["README.md", "packaging/SECURITY.md", "packaging/doc", "packaging/examples", "packaging/recipes"];
    let mut seen = 0;
    for page in found {
        let text = fs::read_to_string(&page).expect("a page");
        for link in links(&text) {
            let target = page.parent().expect("a directory").join(link).canonicalize();
            let target = target.unwrap_or_else(|_| panic!("{} links to {link}, which is not there", page.display()));
            let ships = installed.iter().any(|place| target.starts_with(root.join(place)));
            assert!(ships, "{} links to {link}, which no package has", page.display());
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

/// A new alert or a new class of answers is not complete before the pages know it.
#[test]
fn every_alert_and_every_class_is_described() {
    let (manual, schema) = (text("man/resyncd.toml.5"), text("doc/protocol.schema.json"));
    let delivery = text("doc/delivery.md");
    let missing = |name: &str, pages: &[(&'static str, &str)]| -> Vec<String> {
        pages.iter().filter(|(_, page)| !page.contains(name)).map(|(title, _)| format!("{name}: {title}")).collect()
    };
    let alerts = Kind::ALL.iter().flat_map(|kind| missing(kind.as_str(), &[("man/resyncd.toml.5", &manual)]));
    let classes = Class::ALL.iter().flat_map(|class| {
        missing(class.as_str(), &[("doc/protocol.schema.json", &schema), ("doc/delivery.md", &delivery)])
    });
    let absent: Vec<String> = alerts.chain(classes).collect();
    assert!(absent.is_empty(), "{absent:?}");
    assert_eq!(missing("maintenance_mode", &[("a page", &manual)]).len(), 1, "it can fail");
}

/// A purge removes the state directory. What was never delivered is in the archive too: discarded, or cleaned up.
#[test]
fn a_purge_keeps_what_was_not_delivered() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("lib/archive")).expect("a directory");
    fs::create_dir_all(at("lib/quarantine/2026")).expect("a directory");
    fs::create_dir_all(at("backups/resyncd")).expect("a directory");
    fs::create_dir_all(at("bin")).expect("a directory");
    for (path, text) in [
        ("lib/sync_failures.db", "db"),
        ("lib/archive/2026-10.jsonl", "{}\n{}\n"),
        ("lib/archive/2026-11.jsonl", "{}\n"),
        ("lib/archive/delivered-2026-11-24.jsonl", "{}\n{}\n"),
        ("backups/resyncd/undelivered-at-removal.jsonl", "{}\n"),
        ("secret", "root alone reads it\n"),
        ("bin/deb-systemd-helper", "#!/bin/sh\n"),
    ] {
        fs::write(at(path), text).expect("a file");
    }
    std::os::unix::fs::symlink(at("secret"), at("lib/archive/2026-12.jsonl")).expect("a link");
    let here = |text: &str, from: &str, to: &str| text.replace(from, at(to).to_str().expect("a path"));
    let mut script = text("deb/postrm");
    for (from, to) in
        [("/var/lib/resyncd", "lib"), ("/var/backups", "backups"), ("/run/", "run/"), ("/etc/resyncd", "etc")]
    {
        script = here(&script, from, to);
    }
    let path = format!("{}:/usr/bin:/bin", at("bin").display());
    fs::set_permissions(at("bin/deb-systemd-helper"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let done = Command::new("sh").args(["-c", &script, "postrm", "purge"]).env("PATH", path).output().expect("a shell");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    assert!(!at("lib").exists());
    let kept = fs::read_dir(at("backups")).expect("a directory").next().expect("one").expect("an entry").path();
    let mut names: Vec<String> = fs::read_dir(&kept)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["2026-10.jsonl", "2026-11.jsonl", "quarantine", "undelivered-at-removal.jsonl"], "{told}");
    assert!(told.contains("1 failures were never delivered"), "{told}");
    assert!(told.contains("3 failures were discarded or cleaned up"), "{told}");
}

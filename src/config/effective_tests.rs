//! The output for a configuration, and the defaults in the packaged file.

use super::super::{EXAMPLE, Environment};
use super::*;
use std::fmt::Write as _;

fn around() -> Environment {
    Environment { host_name: "till-9".into(), root: true, ..Environment::default() }
}

fn shown(text: &str, overrides: &Overrides) -> Vec<Setting> {
    let (config, origins) = Config::load_files(&[("f", text)], overrides, &around()).expect("a right file");
    settings(&config, &origins, overrides)
}

fn one(settings: &[Setting], path: &str) -> (Option<String>, String) {
    let found = settings.iter().find(|setting| setting.path == path);
    let found = found.unwrap_or_else(|| panic!("no {path}"));
    (found.value.clone(), found.origin.clone())
}

/// The example with every line that begins with `#name` uncommented.
fn whole_example() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

fn as_toml(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut table = String::new();
    for Setting { header, path, key, value, .. } in settings {
        let now = path.strip_suffix(key.as_str()).unwrap_or_default().to_owned();
        if now != table {
            writeln!(text, "{header}").expect("a String takes everything");
            table = now;
        }
        if let Some(value) = value {
            writeln!(text, "{key} = {value}").expect("a String takes everything");
        }
    }
    text
}

#[test]
fn the_packaged_file_says_the_defaults() {
    let told = Config::load(Some(("example", EXAMPLE)), &Overrides::default(), &around());
    let defaults = Config::load(None, &Overrides::default(), &around());
    assert_eq!(told, defaults);
    let packaged = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/resyncd.toml"));
    assert_eq!(packaged.expect("it is there"), EXAMPLE);
}

/// A commented key outside of upstreams and routes shows its default, except for these, which have none.
#[test]
fn the_packaged_file_shows_the_defaults() {
    const EXAMPLES: [&str; 7] =
        ["terminal_id", "store_id", "state_dir", "socket", "admin_socket", "command", "textfile"];
    let mut text = String::new();
    let mut shows_defaults = false;
    for line in EXAMPLE.lines() {
        if let Some(section) = line.trim_start_matches('#').strip_prefix('[') {
            shows_defaults = !section.starts_with(['u', '[']);
            text.push_str(if shows_defaults { line } else { "" });
        } else if let Some(setting) = line.strip_prefix('#').filter(|rest| shows_defaults && !rest.starts_with(' ')) {
            let key = setting.split(' ').next().unwrap_or_default();
            text.push_str(if EXAMPLES.contains(&key) || key == "url" { "" } else { setting });
        }
        text.push('\n');
    }
    assert!(text.contains("backoff = ") && text.contains("every = ") && text.contains("max_line = "), "{text}");
    let told = Config::load(Some(("example", &text)), &Overrides::default(), &around());
    assert_eq!(told, Config::load(None, &Overrides::default(), &around()));
}

/// Every field of the structs is shown, and the example contains all of them.
#[test]
fn the_example_knows_every_key() {
    let text = whole_example();
    let (config, origins) =
        Config::load_files(&[("example", &text)], &Overrides::default(), &around()).expect("the examples are right");
    let settings = settings(&config, &origins, &Overrides::default());
    let set: Vec<String> = origins.keys().map(generic).collect();
    let missing: Vec<&str> = settings.iter().map(|setting| setting.path.as_str()).collect();
    let missing: Vec<&str> = missing.into_iter().filter(|path| !set.contains(&generic(path))).collect();
    assert_eq!(missing, Vec::<&str>::new(), "shown, and not in the example");
    let shown: Vec<&str> = settings.iter().map(|setting| setting.path.as_str()).collect();
    let hidden: Vec<&str> = origins.keys().filter(|key| !shown.contains(key)).collect();
    assert_eq!(hidden, Vec::<&str>::new(), "in the example, and not shown");
}

/// Replaces the upstream's name and the route's number.
fn generic(path: &str) -> String {
    let path: String = path.chars().filter(|c| !c.is_ascii_digit()).collect();
    path.replace("upstream.sap.", "upstream.hq.")
}

#[test]
fn what_is_shown_can_be_read_again() {
    let text = whole_example();
    let config = Config::load(Some(("example", &text)), &Overrides::default(), &around()).expect("right");
    let again = as_toml(&shown(&text, &Overrides::default()));
    let read = Config::load(Some(("shown", &again)), &Overrides::default(), &around());
    assert!(read == Ok(config), "{read:#?}\n{again}");
}

#[test]
fn each_value_says_where_it_came_from() {
    let text = "[agent]\nlog = \"debug\"\nsocket = \"/tmp/a\"\n[retry]\nmax_retries = 4\n[upstream.hq]\nurl = \"https://hq/\"\n";
    let overrides = Overrides {
        socket: Some(("/tmp/b".into(), "RESYNCD_SOCKET")),
        log: Some(("warn".into(), "--log")),
        ..Overrides::default()
    };
    let settings = shown(text, &overrides);
    for (path, value, origin) in [
        ("agent.log", Some("\"warn\""), "--log"),
        ("agent.socket", Some("\"/tmp/b\""), "RESYNCD_SOCKET"),
        ("agent.terminal_id", Some("\"till-9\""), "default"),
        ("agent.store_id", None, "default"),
        ("retry.max_retries", Some("4"), "f:5"),
        ("retry.backoff", Some("[\"5m\", \"15m\", \"30m\"]"), "default"),
        ("upstream.hq.url", Some("\"https://hq/\""), "f:7"),
        ("limits.max_line", Some("\"1MiB\""), "default"),
    ] {
        assert_eq!(one(&settings, path), (value.map(str::to_owned), origin.to_owned()), "{path}");
    }
    let flag = Overrides { upstream: Some(("https://other/".into(), "--upstream")), ..Overrides::default() };
    let settings = shown(text, &flag);
    assert_eq!(one(&settings, "upstream.default.url"), (Some("\"https://other/\"".into()), "--upstream".into()));
    assert!(!settings.iter().any(|setting| setting.path.starts_with("upstream.hq")));
}

#[test]
fn secrets_are_masked_and_placeholders_are_not() {
    let text = r#"
        [upstream.hq]
        url = "https://hq.example/sync"
        probe_url = "https://hq.example/sync?api_key=s3cr3t&x=1"
        headers = { Authorization = "Bearer s3cr3t", X-Api-Key = "s3cr3t", X-Tenant = "acme" }
        [[route]]
        path = "/r?token=s3cr3t&k={key}"
        body = "template"
        template = '{"password": "s3cr3t","key":{key:string},"pwd":"a s3cr3t phrase","x":"<Passwort>s3cr3t</Passwort>"}'
        headers = { Cookie2 = "s3cr3t" }
        [alerts]
        command = ["/bin/page", "--token", "s3cr3t", "--key=s3cr3t", "PASSWORD=s3cr3t", "someone"]
        url = "https://hooks.example/services/T0000S3CR3T/s3cr3ts3cr3t?a=s3cr3t"
        [heartbeat]
        url = "https://hc.example/ping/s3cr3t-1111-2222"
    "#;
    let settings = shown(text, &Overrides::default());
    let all = as_toml(&settings);
    assert!(!all.to_lowercase().contains("s3cr3t"), "{all}");
    for kept in [
        "https://hq.example/sync?api_key=***&x=1",
        "acme",
        "k={key}",
        "\\\"key\\\":{key:string}",
        "someone",
        "hooks.example/services",
    ] {
        assert!(all.contains(kept), "{kept} is no secret: {all}");
    }
}

/// Five lists of the same keys: what the reader takes (and suggests), what is shown, the example, the manual page. A key
/// that is added to one of them is missed in the others here.
#[test]
fn reader_example_display_and_manual_know_the_same_keys() {
    const MANUAL: &str = include_str!("../../packaging/man/resyncd.toml.5");
    let manual: Vec<&str> = MANUAL.split(|c: char| !c.is_ascii_lowercase() && c != '_').collect();
    // Tables by the name that the reader gives them; whatever is under these has names of its own.
    let free = ["headers", "header_files", "json"];
    let mut shown: std::collections::BTreeMap<String, std::collections::BTreeSet<String>> =
        std::collections::BTreeMap::new();
    for setting in shown_all() {
        let path: String = setting.path.chars().filter(|c| !matches!(c, '0'..='9' | '[' | ']')).collect();
        let path = path.replace("upstream.sap.", "upstream.hq.");
        let mut parts: Vec<&str> = path.split('.').collect();
        if let Some(at) = parts.iter().position(|part| free.contains(part)) {
            parts.truncate(at + 1);
        }
        let key = parts.pop().expect("a path has a name").to_owned();
        shown.entry(parts.join(".")).or_default().insert(key);
        // A table within a table is a key of the outer one.
        while let Some(inner) = parts.pop() {
            if !parts.is_empty() && parts.join(".") != "upstream" {
                shown.entry(parts.join(".")).or_default().insert(inner.to_owned());
            }
        }
    }
    assert!(shown.len() >= 12, "{shown:#?}");
    for (table, keys) in &shown {
        let header = match table.as_str() {
            "route" => "[[route]]".to_owned(),
            "upstream.hq.answer" => {
                "[upstream.hq]\nurl = \"https://hq/\"\n[[upstream.hq.answer]]\nis = \"refused\"".to_owned()
            }
            "route.verify" => "[[route]]\n[route.verify]".to_owned(),
            table => format!("[{table}]"),
        };
        let text = format!("{header}\nqqqqqqqqqqqq = 1\n");
        let told = Config::load(Some(("f", &text)), &Overrides::default(), &around()).expect_err("an unknown key");
        let told = told.iter().find(|problem| problem.message.starts_with("unknown key qqq")).expect("it is told");
        let (_, known) = told.message.split_once("known here: ").expect("what is known");
        let known: std::collections::BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
        assert_eq!(&known, keys, "[{table}]: what the reader takes, and what is shown");
        let unexplained: Vec<&String> = keys.iter().filter(|key| !manual.contains(&key.as_str())).collect();
        assert!(unexplained.is_empty(), "[{table}]: the manual page does not know {unexplained:?}");
    }
}

/// Everything that can be set, as the command prints it.
fn shown_all() -> Vec<Setting> {
    shown(&whole_example(), &Overrides::default())
}

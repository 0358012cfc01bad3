//! What is shown of a configuration, and that the packaged file says the defaults.

use super::super::{EXAMPLE, Surroundings};
use super::*;
use std::fmt::Write as _;

fn around() -> Surroundings {
    Surroundings { host_name: "till-9".into(), root: true, ..Surroundings::default() }
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

/// The example with everything that begins with `#name` uncommented.
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

/// What is shown is everything that there is, by the structs; and all of it stands in the example.
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

/// Whatever the upstream's name and the route's number.
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
        url = "https://hq.example/sync?api_key=s3cr3t&x=1"
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

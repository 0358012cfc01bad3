//! The layers of the configuration, and the errors of invalid ones.

use super::*;

fn around() -> Environment {
    Environment { host_name: "till-9".into(), home: Some("/home/ana".into()), ..Environment::default() }
}

fn load(text: &str) -> Result<Config, Vec<Problem>> {
    Config::load(Some(("resyncd.toml", text)), &Overrides::default(), &around())
}

fn problems(text: &str) -> Vec<String> {
    load(text).expect_err("a wrong configuration").iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_is_required() {
    let config = Config::load(None, &Overrides::default(), &around()).expect("the defaults");
    assert_eq!(config.agent.terminal_id, "till-9");
    assert_eq!(config.agent.state_dir, PathBuf::from("/home/ana/.local/state/resyncd"));
    assert_eq!(config.agent.socket, PathBuf::from("/home/ana/.local/state/resyncd/resyncd.sock"));
    assert_eq!(config.upstreams, []);
    let root =
        Config::load(None, &Overrides::default(), &Environment { root: true, ..around() }).expect("the defaults");
    assert_eq!(root.agent.admin_socket, PathBuf::from("/run/resyncd/admin.sock"));
    assert_eq!(root.agent.state_dir, PathBuf::from("/var/lib/resyncd"));
}

#[test]
fn every_user_means_the_installed_agent() {
    let installed = Environment { installed: true, runtime_dir: Some("/run/user/7".into()), ..around() };
    let config = Config::load(None, &Overrides::default(), &installed).expect("the defaults");
    assert_eq!(config.agent.state_dir, PathBuf::from("/var/lib/resyncd"));
    assert_eq!(config.agent.socket, PathBuf::from("/run/resyncd/resyncd.sock"));
    assert_eq!(config.agent.admin_socket, PathBuf::from("/run/resyncd/admin.sock"));
}

#[test]
fn a_service_lives_where_its_manager_says_whatever_the_file_lacks() {
    let service = Environment {
        home: Some("/var/lib/resyncd".into()),
        service_state: Some("/srv/state".into()),
        service_runtime: Some("/srv/run".into()),
        ..around()
    };
    let config = Config::load(Some(("f", "[agent]\nlog = \"warn\"\n")), &Overrides::default(), &service);
    let agent = config.expect("a right file").agent;
    assert_eq!((agent.state_dir, agent.socket), ("/srv/state".into(), "/srv/run/resyncd.sock".into()));
}

#[test]
fn a_whole_file() {
    let config = load(
        r#"
        [agent]
        terminal_id = "till-07"
        store_id = "0042"
        state_dir = "/tmp/state"
        [retry]
        backoff = ["0s", "250ms"]
        jitter = 0
        [upstream.hq]
        url = "https://hq.example/sync"
        timeout = "10s"
        probe_method = "GET"
        [limits]
        max_payload = "1KiB"
        max_failures = 10
        "#,
    )
    .expect("a right file");
    let upstream = config.upstreams.first().expect("an upstream");
    assert_eq!((upstream.name.as_str(), upstream.probe.url.as_str()), ("hq", "https://hq.example/sync"));
    assert_eq!((upstream.timeout, upstream.probe.method), (Duration::from_secs(10), upstream::ProbeMethod::Get));
    assert_eq!(config.retry.steps, [Duration::ZERO, Duration::from_millis(250)]);
    assert_eq!((config.limits.max_payload, config.limits.max_failures), (1024, 10));
    assert_eq!(config.agent.socket, PathBuf::from("/tmp/state/resyncd.sock"));
}

#[test]
fn a_flag_goes_before_the_file() {
    let overrides = Overrides {
        upstream: Some(("https://other.example/".into(), "--upstream")),
        socket: Some(("/tmp/a.sock".into(), "--socket")),
        ..Overrides::default()
    };
    let text = "[upstream.hq]\nurl = \"https://hq.example/\"\n[agent]\nsocket = \"/tmp/b.sock\"";
    let config = Config::load(Some(("f", text)), &overrides, &around()).expect("a right file");
    let upstream = config.upstreams.first().expect("an upstream");
    assert_eq!((upstream.name.as_str(), upstream.url.as_str()), (DEFAULT_UPSTREAM, "https://other.example/"));
    assert_eq!(config.agent.socket, PathBuf::from("/tmp/a.sock"));
}

#[test]
fn an_unknown_key_is_shown_with_its_place_and_what_was_meant() {
    let all = problems("[upstream.hq]\nurl = \"https://hq.example/\"\n  timout = \"5s\"\n");
    assert_eq!(
        all,
        [
            "resyncd.toml:3:3: unknown key timout in [upstream.hq]; did you mean timeout?\n  3 |   timout = \"5s\"\n    |   ^^^^^^"
        ]
    );
    let far = problems("[limits]\nwhatever = 1\n");
    assert!(far[0].contains("known here: max_connections, max_line"), "{}", far[0]);
}

#[test]
fn a_key_without_its_last_word_and_a_url_without_its_scheme_are_understood() {
    let told = problems("[upstream.hq]\nurl = \"https://hq.example/\"\ntoken = \"abc\"\n");
    assert!(told[0].contains("unknown key token in [upstream.hq]; did you mean token_file?"), "{told:?}");
    let told = problems("[upstream.hq]\nurl = \"https://hq.example/\"\nclient = \"abc\"\n");
    assert!(told[0].contains("did you mean client_cert or client_key?"), "{told:?}");
    for url in ["hq.example/sync", "", "hq.example:8080"] {
        let told = problems(&format!("[upstream.hq]\nurl = {url:?}\n"));
        assert!(told[0].contains("begins with https://"), "{told:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let all = problems(
        "[retry]\nbackoff = [\"5 min\", 7]\njitter = 2\nmax_retries = 0\n[agent]\nsocket = \"relative\"\nlog = 3\n[upstream]\nhq = 1\n[other]\n",
    );
    assert_eq!(all.len(), 8, "{all:#?}");
}

#[test]
fn urls_are_judged_by_who_can_read_them() {
    let told = problems("[upstream.hq]\nurl = \"http://hq.example/\"\n");
    assert!(told[0].contains("insecure = true"), "{}", told[0]);
    assert!(load("[upstream.hq]\nurl = \"http://hq.example/\"\ninsecure = true\n").is_ok());
    let missing = problems("[upstream.hq]\ntimeout = \"5s\"\n");
    assert!(missing[0].contains("needs a url"), "{}", missing[0]);
}

#[test]
fn a_secret_has_an_absolute_path_or_the_name_of_a_credential() {
    let with = |file: &str| format!("[upstream.hq]\nurl = \"https://hq.example/\"\ntoken_file = {file:?}\n");
    for right in ["/etc/resyncd/hq.token", "hq.token"] {
        assert!(load(&with(right)).is_ok(), "{right}");
    }
    for wrong in ["", "secrets/hq.token", "../hq.token", ".hq"] {
        let told = problems(&with(wrong));
        assert!(told[0].contains("absolute path, or the name of a credential"), "{wrong}: {told:?}");
    }
}

#[test]
fn sockets_that_cannot_be() {
    let long = format!("[agent]\nsocket = \"/tmp/{}\"\n", "x".repeat(120));
    assert!(problems(&long)[0].contains("107"), "{:?}", problems(&long));
    assert!(problems("[agent]\nsocket = \"/tmp/a\"\nadmin_socket = \"/tmp/a\"\n")[0].contains("same path"));
}

#[test]
fn what_is_no_toml_is_shown_with_its_place() {
    let told = problems("[agent]\nterminal_id = \n");
    assert!(told[0].starts_with("resyncd.toml:2:"), "{}", told[0]);
}

#[test]
fn a_question_with_a_body_needs_a_method_that_has_one() {
    let text = |method: &str| {
        format!(
            "[upstream.hq]\nurl = \"https://hq.example\"\n[[route]]\n[route.verify]\n{method}path = \"/ask\"\ntemplate = '{{key:string}}'\nfound = \"/0\"\n"
        )
    };
    let told = problems(&text(""));
    assert!(told.len() == 1 && told[0].contains("verify with a template needs a method"), "{told:?}");
    let config = load(&text("method = \"POST\"\n")).expect("a right file");
    assert!(config.routes[0].verify.as_ref().is_some_and(|verify| verify.template.is_some()));
}

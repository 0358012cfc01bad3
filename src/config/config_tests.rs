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

/// A mistake of an integrator: what the file holds, where the message points, and what it says.
type Mistake = (&'static str, &'static str, &'static str);

const HQ: &str = "[upstream.hq]\nurl = \"https://hq.example/sync\"\n";

/// Mistakes in a file of their own.
const MISTAKES: [Mistake; 38] = [
    ("[retries]\nbatch = 1\n", "f:1:2", "unknown table [retries]; did you mean [retry]?"),
    ("[upstreams.hq]\nurl = \"https://hq/\"\n", "f:1:2", "did you mean [upstream.NAME]?"),
    ("[upstream]\nurl = \"https://hq/\"\n", "f:2:1", "write [upstream.hq] above url"),
    ("timeout = \"5s\"\n", "f:1:1", "it belongs in [upstream.hq]"),
    ("[agent]\nmax_retries = 5\n", "f:2:1", "unknown key max_retries in [agent]; it belongs in [retry]"),
    ("[retry]\nmaxRetries = 5\n", "f:2:1", "did you mean max_retries?"),
    ("[retry]\nmax-retries = 5\n", "f:2:1", "did you mean max_retries?"),
    ("[retry]\nmax_retries = \"3\"\n", "f:2:15", "write max_retries = 3"),
    ("[retry]\nmax_retries = -1\n", "f:2:15", "from 1 to 1000000, found the number -1"),
    ("[retry]\njitter = 0,2\n", "f:2:11", "decimals have a point"),
    ("[retry]\nbackoff = \"5m\"\n", "f:2:11", "write it in brackets"),
    ("[retry]\nbackoff = [300]\n", "f:2:12", "did you mean \"300s\"?"),
    ("[retry]\nbackoff = []\n", "f:2:11", "1 to 20 steps, found 0"),
    ("[retry]\nbatch =\n", "f:2:8", "a value is missing"),
    ("[retry]\nbatch: 1\n", "f:2:", "write batch = …"),
    ("retry:\n", "f:1:", "write [retry]"),
    ("; a comment\n", "f:1:", "a comment begins with #"),
    ("{\"retry\": {}}", "f:1:1", "seems to be JSON"),
    ("[retry\n", "f:1:7", "the bracket that closes the name of the table is missing"),
    ("[retry]\rbatch = 1\r", "f:1:", "save it with Unix line ends"),
    ("\u{feff}[retry]\r\nbach = 1\r\n", "f:2:1", "did you mean batch?"),
    ("[retry]\n\tbach = 1\n", "f:2:2", "  2 | \tbach = 1\n    | \t^^^^"),
    ("[limits]\nmax_line = \"1MB\"\n", "f:2:12", "did you mean \"1MiB\"?"),
    ("[limits]\nmax_payload = \"64MiB\"\n", "f:2:15", "expected \"0B\" to \"8MiB\", found \"64MiB\""),
    ("[heartbeat]\nevery = \"2d\"\n", "f:2:9", "expected \"1s\" to \"1d\", found \"2d\""),
    ("[alerts]\ncommand = \"/bin/page\"\n", "f:2:11", "write command = [\"/bin/page\"]"),
    ("[alerts]\nmany_failures = 20\n", "f:2:17", "as in many_failures = { count = 10, window = \"1h\" }"),
    ("[agent]\nterminal_id = 7\n", "f:2:15", "write terminal_id = \"7\""),
    ("[agent]\nstore_id = 0042\n", "f:2:12", "write a text in quotes: \"0042\""),
    ("[agent]\nlog = \"verbose\"\n", "f:2:7", "\"info\", \"debug\" or \"trace\""),
    ("[agent]\nlanguage = \"de\"\n", "f:2:12", "\"auto\", \"en\", \"es\""),
    ("[agent]\nsocket = \"/tmp/a\"\nadmin_socket = \"/tmp/a\"\n", "f:3:16", "the same path as socket, /tmp/a"),
    ("[upstream.hq]\nurl = https://hq.example/\n", "f:2:7", "in quotation marks: \"https://hq.example/\""),
    ("[upstream.hq]\nurl = \u{201c}https://hq/\u{201d}\n", "f:2:7", "straight quotation marks: \"https://hq/\""),
    ("[upstream.hq]\nurl = \"https://hq/\n", "f:2:19", "the closing quotation mark is missing"),
    ("[upstream.hq]\nurl = \"https://a/\"\n[upstream.hq]\n", "f:3:11", "[upstream.hq] is already there at f:1"),
    (
        "[upstream.hq]\nurl = \"https://a/\"\n[upstream.sap]\nurl = \"https://b/\"\n",
        "f:4:7",
        "add [[route]] tables, each with upstream = \"hq\" or \"sap\"",
    ),
    ("[[route]]\nupstream = \"hq\"\n", "f:2:12", "define it: [upstream.hq] with a url"),
];

/// Mistakes in the tables of an upstream and its routes, below [`HQ`].
const BELOW_HQ: [Mistake; 21] = [
    ("timeout = 30\n", "f:3:11", "did you mean \"30s\"?"),
    ("timeout = \"2h\"\n", "f:3:11", "expected \"100ms\" to \"10m\", found \"2h\""),
    ("insecure = \"true\"\n", "f:3:12", "write insecure = true"),
    ("insecure = yes\n", "f:3:12", "write true"),
    ("ordering = \"Strict\"\n", "f:3:12", "did you mean \"strict\"?"),
    ("max_rate = 10\n", "f:3:12", "did you mean \"10/s\"?"),
    ("no_proxy = \"localhost\"\n", "f:3:12", "write no_proxy = [\"localhost\"]"),
    ("proxy = \"proxy:3128\"\n", "f:3:9", "such as \"http://proxy:3128\""),
    ("headers = [\"X-A: b\"]\n", "f:3:11", "as in headers = { X-Tenant = \"acme\" }"),
    ("client_cert = \"/x\"\n", "f:3:15", "go together: set both"),
    ("proxy_auth_file = \"/x\"\n", "f:3:19", "proxy_auth_file needs proxy"),
    ("token_file = \"/x\"\nbasic_file = \"/y\"\n", "f:4:14", "exclude each other"),
    ("[upstream.hq.login]\nurl = \"https://hq/login\"\n", "f:3:1", "a login needs url, body_file"),
    ("[[upstream.hq.answer]]\nstatus = [200]\n", "f:3:1", "needs is = one of: delivered"),
    ("[route]\npath = \"/x\"\n", "f:3:1", "[[route]], in double brackets"),
    ("[[route]]\nmethod = \"post\"\n", "f:4:10", "did you mean \"POST\"?"),
    ("[[route]]\naccept_statuses = 409\n", "f:4:19", "write accept_statuses = [409]"),
    ("[[route]]\non_unsure = \"verify\"\n", "f:4:13", "needs verify = "),
    ("[[route]]\ntemplate = \"x\"\n", "f:4:12", "template goes with body"),
    ("[[route]]\nverify = { path = \"/x\" }\n", "f:4:10", "verify needs path and found"),
    ("[[route]]\nupstream = \"hp\"\n", "f:4:12", "there is no upstream \"hp\"; did you mean \"hq\"?"),
];

/// Each mistake is told once, with file, line and column, the key, what is wrong, and what to write instead.
#[test]
fn a_mistake_is_told_with_its_place_and_what_to_write() {
    let below = BELOW_HQ.map(|(text, place, said)| (HQ.to_owned() + text, place, said));
    for (text, place, said) in
        MISTAKES.map(|(text, place, said)| (text.to_owned(), place, said)).into_iter().chain(below)
    {
        let told = Config::load(Some(("f", &text)), &Overrides::default(), &around()).expect_err(&text);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with(place) && told[0].contains(said), "{text}\n{}", told.join("\n"));
        let line = told[0].split(':').nth(1);
        let consequences: Vec<_> = told[1..].iter().filter(|other| other.split(':').nth(1) == line).collect();
        assert!(consequences.is_empty(), "{text}\n{consequences:?}");
    }
}

#[test]
fn a_fragment_for_a_misspelt_upstream_is_understood() {
    let files = [("f", HQ), ("d/a", "[upstream.hqq]\ntimeout = \"5s\"\n")];
    let told = Config::load_files(&files, &Overrides::default(), &around()).expect_err("no url");
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].starts_with("d/a:1:11: upstream hqq needs a url"), "{told:#?}");
    assert!(told[0].contains("did you mean [upstream.hq]?"), "{told:#?}");
}

/// Every message has the line that it is about, whatever the order in which the tables are read.
#[test]
fn messages_are_in_the_order_of_the_lines() {
    let told = problems("[upstreams.hq]\nurl = 5\n[[route]]\nupstream = \"hq\"\n[agent]\nlog = 5\n");
    let lines: Vec<&str> = told.iter().filter_map(|told| told.split(':').nth(1)).collect();
    assert_eq!(lines, ["1", "4", "6"], "{told:#?}");
}

#[test]
fn a_socket_of_a_flag_is_told_by_its_name() {
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
    let overrides = Overrides { socket: Some((long.clone(), "RESYNCD_SOCKET")), ..Overrides::default() };
    let told = Config::load(Some(("f", "")), &overrides, &around()).expect_err("too long");
    assert!(told[0].to_string().starts_with("RESYNCD_SOCKET: socket: /tmp/xxx"), "{}", told[0]);
    let overrides = Overrides { log: Some(("loud".into(), "--log")), ..Overrides::default() };
    let told = Config::load(Some(("f", "")), &overrides, &around()).expect_err("no level");
    assert!(told[0].to_string().starts_with("--log: expected \"error\""), "{}", told[0]);
    let state = format!("[agent]\nstate_dir = \"{}\"\n", long.display());
    let told = problems(&state);
    assert!(told.iter().all(|told| told.contains(":2:13: ")), "{told:#?}");
}
/// Threads are named after upstreams, and no thread can have a NUL in its name.
#[test]
fn the_name_of_an_upstream_has_no_control_character() {
    for name in ["a\\u0000b", "a\\nb", "", "\\u001b[31m"] {
        let text = format!("[upstream.\"{name}\"]\nurl = \"https://hq.example/sync\"\n");
        let problems = Config::load(Some(("f", &text)), &Overrides::default(), &Environment::default());
        let told = problems.expect_err(name)[0].to_string();
        assert!(told.contains("no control character"), "{told}");
    }
}

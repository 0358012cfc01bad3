//! What a request is sent on, from files that are read again when they
//! change; sessions and access tokens that are fetched first; the way through a proxy. No
//! secret is ever shown.

use crate::support::upstream::Request;
use crate::support::{Agent, Answer, Gate, Plan, Upstream, id_of, record, record_now, wait_for, wait_until};
use serde_json::json;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

/// Files with secrets.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// Writes one, as an editor does, and returns its path.
    fn put(&self, name: &str, text: &str) -> String {
        let (path, new) = (self.0.path().join(name), self.0.path().join("new"));
        fs::write(&new, format!("{text}\n")).expect("a file is written");
        fs::rename(&new, &path).expect("a file is renamed");
        path.display().to_string()
    }
}

/// `[upstream.hq]` with these lines.
fn hq(url: &str, lines: &str) -> Plan {
    Plan::of(format!("[upstream.hq]\nurl = {url:?}\n{lines}\n"))
}

/// Takes what has this header, and answers 401 to the rest.
fn demanding(header: &'static str, value: impl Into<String>) -> Upstream {
    let value = value.into();
    Upstream::start(move |request| Answer::status(if request.header(header) == Some(&value) { 200 } else { 401 }))
}

fn text_of(path: &Path, found: &mut Vec<u8>) {
    for entry in fs::read_dir(path).expect("the state directory is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text_of(&path, found);
        } else {
            found.extend(fs::read(&path).expect("a file of the state directory"));
        }
    }
}

/// A secret stands neither in the log, nor in an answer, nor on disk.
#[track_caller]
fn assert_nowhere(agent: &Agent, secrets: &[&str]) {
    let mut all = agent.log().into_bytes();
    for op in ["list", "health", "history", "alerts", "stats", "metrics", "hello"] {
        all.extend(agent.ask(&json!({"op": op})).to_string().into_bytes());
    }
    text_of(&agent.state_dir(), &mut all);
    for secret in secrets {
        let found = all.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "{secret} is shown somewhere");
    }
}

/// A bearer token; changed behind the agent's back, it is read again.
#[test]
fn a_bearer_token_is_sent_and_read_again_when_it_changes() {
    let files = Files::new();
    let token = files.put("token", "tok-0001-secret");
    let upstream = demanding("Authorization", "Bearer tok-0001-secret");
    let agent = Agent::start(&hq(&upstream.url(), &format!("token_file = {token:?}")));
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));

    upstream.on_delivery(|request| match request.header("Authorization") {
        Some("Bearer tok-0002-secret") => Answer::status(200),
        _ => Answer::status(401),
    });
    let id = id_of(&agent.call(&record_now("s-2")));
    agent.wait_upstream("blocked");
    assert_eq!(agent.failure(&id).expect("it waits")["retry_count"], 0);
    files.put("token", "tok-0002-secret");
    agent.wait_gone(&id);
    assert_nowhere(&agent, &["tok-0001-secret", "tok-0002-secret"]);
}

/// A bare name is a credential that systemd passes on, in a directory that only the service can read.
#[test]
fn a_bare_name_is_a_credential_of_the_service_manager() {
    let files = Files::new();
    files.put("hq.token", "tok-passed-on");
    let upstream = demanding("Authorization", "Bearer tok-passed-on");
    let mut agent = Agent::prepare(&hq(&upstream.url(), "token_file = \"hq.token\""));
    agent.up_with(&[("CREDENTIALS_DIRECTORY", files.0.path().to_str().expect("UTF-8"))]);
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    assert_nowhere(&agent, &["tok-passed-on"]);
}

/// Basic: the file holds `user:password`.
#[test]
fn basic_credentials_are_sent_in_base64() {
    let files = Files::new();
    let basic = files.put("basic", "till:pässw:rd");
    let upstream = demanding("Authorization", "Basic dGlsbDpww6Rzc3c6cmQ=");
    let agent = Agent::start(&hq(&upstream.url(), &format!("basic_file = {basic:?}")));
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    assert_nowhere(&agent, &["pässw:rd", "dGlsbDpww6Rzc3c6cmQ="]);
}

/// Literal headers, and headers with values from files.
#[test]
fn headers_go_with_every_request_and_their_files_are_read_again() {
    let files = Files::new();
    let key = files.put("key", "key-0001-secret");
    let upstream = Upstream::willing();
    let lines = format!("headers = {{ X-Tenant = \"acme\" }}\nheader_files = {{ X-Api-Key = {key:?} }}");
    let agent = Agent::start(&hq(&upstream.url(), &lines));
    for (n, secret) in ["key-0001-secret", "key-0002-longer-secret"].into_iter().enumerate() {
        files.put("key", secret);
        agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
        let sent = &upstream.deliveries()[n];
        assert_eq!((sent.header("X-Tenant"), sent.header("X-Api-Key")), (Some("acme"), Some(secret)));
    }
    assert_nowhere(&agent, &["key-0001-secret", "key-0002-longer-secret"]);
}

/// A file that is not there is the set-up's fault: named, uncounted, and mended without a restart.
#[test]
fn a_missing_file_is_named_and_costs_nothing() {
    let files = Files::new();
    let path = files.0.path().join("token");
    let upstream = Upstream::willing();
    let agent = Agent::start(&hq(&upstream.url(), &format!("token_file = {path:?}")));
    let id = id_of(&agent.call(&record_now("s-1")));
    let shown = agent.wait_upstream("blocked");
    assert!(shown["reason"].as_str().is_some_and(|why| why.contains(path.to_str().expect("UTF-8"))), "{shown}");
    assert_eq!(upstream.deliveries().len(), 0);
    files.put("token", "tok-0001-secret");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_eq!(agent.cell("SELECT SUM(counted) FROM sync_attempts"), 0);
    assert_eq!(upstream.deliveries()[0].header("Authorization"), Some("Bearer tok-0001-secret"));
}

/// A file that holds what no header can hold is the set-up's fault as well, not the record's.
#[test]
fn a_file_that_is_no_header_is_not_the_records_fault() {
    let files = Files::new();
    let token = files.put("token", "two\nlines-of-secret");
    let upstream = Upstream::willing();
    let agent = Agent::start(&hq(&upstream.url(), &format!("token_file = {token:?}")));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("blocked");
    let shown = agent.failure(&id).expect("it is kept");
    assert_eq!((&shown["status"], &shown["retry_count"]), (&json!("pending"), &json!(0)), "{shown}");
    files.put("token", "tok-0001-secret");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_nowhere(&agent, &["lines-of-secret"]);
}

/// STUB: a Service Layer. Logins count up; only the newest session is taken.
struct ServiceLayer {
    /// Takes deliveries.
    api: Upstream,
    /// Takes logins.
    door: Upstream,
    /// The session that is taken.
    valid: Arc<Mutex<String>>,
}

impl ServiceLayer {
    fn start() -> Self {
        let valid = Arc::new(Mutex::new(String::new()));
        let (new, current) = (Arc::clone(&valid), Arc::clone(&valid));
        let door = Upstream::start(move |request| {
            let session = format!("sess-{:04}-secret", request.nth);
            *new.lock().expect("no holder panics") = session.clone();
            Answer::json(200, r#"{"SessionId":"of no use"}"#)
                .with("Set-Cookie", &format!("B1SESSION={session}; HttpOnly; Path=/b1s"))
                .with("Set-Cookie", "TRACKER=x; Path=/")
                .with("Set-Cookie", "ROUTEID=.node1; path=/")
        });
        let api = Upstream::start(move |request| {
            let wanted = format!("B1SESSION={}; ROUTEID=.node1", current.lock().expect("no holder panics"));
            Answer::status(if request.header("Cookie") == Some(&wanted) { 204 } else { 401 })
        });
        Self { api, door, valid }
    }

    /// The back end forgets its session.
    fn forget(&self) {
        *self.valid.lock().expect("no holder panics") = "none".to_owned();
    }

    fn plan(&self, files: &Files, more: &str) -> Plan {
        let body = files.put("login.json", r#"{"UserName":"till","Password":"pw-0001-secret"}"#);
        let url = self.door.url().replace("/sync", "/b1s/v1/Login");
        let login = format!(
            "[upstream.hq.login]\nurl = {url:?}\nbody_file = {body:?}\ncookies = [\"B1SESSION\", \"ROUTEID\"]\n{more}\n"
        );
        hq(&self.api.url(), &login)
    }
}

/// One login for many; when the session has ended, one more, and the same request again, uncounted.
#[test]
fn a_session_is_fetched_once_and_again_when_it_has_ended() {
    let (files, sap) = (Files::new(), ServiceLayer::start());
    let agent = Agent::start(&sap.plan(&files, "max_age = \"25m\""));
    for n in 0..5 {
        agent.wait_gone(&id_of(&agent.call(&record_now(&format!("s-{n}")))));
    }
    let logins = sap.door.deliveries();
    assert_eq!(logins.len(), 1);
    assert_eq!((logins[0].method.as_str(), logins[0].path.as_str()), ("POST", "/b1s/v1/Login"));
    assert_eq!(logins[0].text().trim_end(), r#"{"UserName":"till","Password":"pw-0001-secret"}"#);
    assert_eq!(logins[0].header("Content-Type"), Some("application/json"));
    assert!(logins[0].header("Idempotency-Key").is_none() && logins[0].header("Resync-Id").is_none());

    sap.forget();
    let id = id_of(&agent.call(&record_now("s-9")));
    agent.wait_gone(&id);
    assert_eq!((sap.door.deliveries().len(), sap.api.deliveries_of("s-9").len()), (2, 2));
    let again = sap.api.deliveries_of("s-9");
    assert!(again[0].body == again[1].body && again[0].key() == again[1].key());
    let rows = agent.rows(&format!("SELECT class, counted FROM sync_attempts WHERE failure_id = '{id}'"));
    assert_eq!(json!(rows), json!([["delivered", 0]]));
    agent.wait_upstream("online");
    assert_nowhere(&agent, &["pw-0001-secret", "sess-0001-secret", "sess-0002-secret"]);
}

/// Many at once find the session ended: one login.
#[test]
fn many_that_find_the_session_ended_make_one_login() {
    let (files, sap) = (Files::new(), ServiceLayer::start());
    let agent = Agent::start(&sap.plan(&files, ""));
    let mut app = agent.app();
    let mut all = |count| (0..count).map(|n| id_of(&app.call(&record_now(&format!("s-{n}"))))).collect::<Vec<_>>();
    all(8).iter().for_each(|id| agent.wait_gone(id));
    sap.forget();
    all(20).iter().for_each(|id| agent.wait_gone(id));
    assert_eq!(sap.door.deliveries().len(), 2);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class <> 'delivered'"), 0);
}

/// A login under way is a condition of its own: it is shown, and nothing else starts meanwhile, also
/// at full speed.
#[test]
fn nothing_else_is_sent_while_a_login_is_under_way() {
    let (files, sap, gate) = (Files::new(), ServiceLayer::start(), Arc::new(Gate::default()));
    let agent = Agent::start(&sap.plan(&files, ""));
    let mut app = agent.app();
    let mut send = |name: &str| id_of(&app.call(&record_now(name)));
    (0..8).map(|n| send(&format!("s-{n}"))).collect::<Vec<_>>().iter().for_each(|id| agent.wait_gone(id));

    sap.forget();
    let (valid, shut) = (Arc::clone(&sap.valid), Arc::clone(&gate));
    sap.door.on_delivery(move |_| {
        shut.pass();
        *valid.lock().expect("no holder panics") = "new".to_owned();
        Answer::status(200).with("Set-Cookie", "B1SESSION=new").with("Set-Cookie", "ROUTEID=.node1")
    });
    let first = send("r-1");
    let shown = agent.wait_upstream("logging_in");
    assert_eq!(shown["conditions"], json!(["logging_in"]), "{shown}");
    let second = send("r-2");
    let state = |id| agent.failure(id).expect("it waits")["state"].clone();
    assert_eq!((state(&first), state(&second)), (json!("in_flight"), json!("due")));
    gate.open();
    [first, second].iter().for_each(|id| agent.wait_gone(id));
    agent.wait_upstream("online");
}

/// `is = "login"`: an API that says with 200 that the session has ended.
#[test]
fn a_rule_says_that_the_session_has_ended() {
    let (files, sap) = (Files::new(), ServiceLayer::start());
    let valid = Arc::clone(&sap.valid);
    sap.api.on_delivery(move |request| {
        let session = valid.lock().expect("no holder panics").clone();
        let known = request.header("Cookie").is_some_and(|cookie| cookie.contains(&session));
        Answer::json(200, if known { "{}" } else { r#"{"error":{"code":100}}"# })
    });
    let rule = "[[upstream.hq.answer]]\njson = { \"/error/code\" = 100 }\nis = \"login\"\n";
    let agent = Agent::start(&sap.plan(&files, rule));
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    sap.forget();
    agent.wait_gone(&id_of(&agent.call(&record_now("s-2"))));
    assert_eq!((sap.door.deliveries().len(), sap.api.deliveries().len()), (2, 3));
}

/// A 401 behind a fresh login is not asked again and again: blocked.
#[test]
fn a_401_behind_a_fresh_login_blocks() {
    let (files, sap) = (Files::new(), ServiceLayer::start());
    sap.api.on_delivery(|_| Answer::status(401));
    let agent = Agent::start(&sap.plan(&files, ""));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("blocked");
    assert_eq!(agent.failure(&id).expect("it waits")["retry_count"], 0);
    assert_eq!((sap.door.deliveries().len(), sap.api.deliveries().len()), (2, 2));
}

/// A refused login waits a minute, because back ends lock accounts. A person's `resume` ends that wait, and so
/// does a changed credential.
#[test]
fn a_refused_login_is_not_repeated_soon() {
    let (files, sap) = (Files::new(), ServiceLayer::start());
    sap.door.on_delivery(|_| Answer::json(401, r#"{"error":{"message":"wrong password"}}"#));
    let agent = Agent::start(&sap.plan(&files, ""));
    let id = id_of(&agent.call(&record_now("s-1")));
    let shown = agent.wait_upstream("blocked");
    assert!(shown["reason"].as_str().is_some_and(|reason| reason.contains("login")), "{shown}");
    let attempts = || agent.cell("SELECT COUNT(*) FROM sync_attempts").as_i64();
    wait_until("a canary that makes no login", || attempts() >= Some(2));
    assert_eq!((sap.door.deliveries().len(), sap.api.deliveries().len()), (1, 0));

    let before = attempts();
    agent.ask(&json!({"op": "resume"}));
    wait_until("the attempt of the resume", || attempts() > before);
    assert_eq!((sap.door.deliveries().len(), sap.api.deliveries().len()), (2, 0));
    let shown = agent.failure(&id).expect("it waits");
    assert_eq!((&shown["retry_count"], &shown["status"]), (&json!(0), &json!("pending")), "{shown}");

    let valid = Arc::clone(&sap.valid);
    sap.door.on_delivery(move |_| {
        *valid.lock().expect("no holder panics") = "right".to_owned();
        Answer::status(200).with("Set-Cookie", "B1SESSION=right").with("Set-Cookie", "ROUTEID=.node1")
    });
    files.put("login.json", r#"{"UserName":"till","Password":"pw-0002-secret"}"#);
    // The canaries come by themselves.
    agent.wait_gone(&id);
    assert_nowhere(&agent, &["pw-0001-secret", "pw-0002-secret"]);
}

/// A login server that is unavailable is inconclusive about the login: it is asked again soon.
#[test]
fn a_busy_login_server_is_asked_again() {
    let (files, sap) = (Files::new(), ServiceLayer::start());
    sap.door.on_delivery(|_| Answer::status(503));
    let agent = Agent::start(&sap.plan(&files, ""));
    let id = id_of(&agent.call(&record_now("s-1")));
    sap.door.wait_deliveries(2);
    let valid = Arc::clone(&sap.valid);
    sap.door.on_delivery(move |_| {
        *valid.lock().expect("no holder panics") = "x".to_owned();
        Answer::status(200).with("Set-Cookie", "B1SESSION=x").with("Set-Cookie", "ROUTEID=.node1")
    });
    agent.wait_gone(&id);
    assert_eq!(agent.cell("SELECT SUM(counted) FROM sync_attempts"), 0);
}

/// STUB: an OAuth2 token endpoint. Client credentials as a form; the token in a header; fetched again
/// when `expires_in` is over, before the upstream has to say so.
#[test]
fn an_access_token_is_fetched_and_renewed_in_time() {
    let files = Files::new();
    let body = files.put("oauth", "grant_type=client_credentials&client_id=till&client_secret=cs-0001-secret");
    let door = Upstream::start(|request| {
        let token = format!("at-{:04}-secret", request.nth);
        Answer::json(200, &json!({"access_token": token, "token_type": "Bearer", "expires_in": 2}).to_string())
    });
    let api = Upstream::start(|request| match request.header("Authorization") {
        Some(token) if token.starts_with("Bearer at-") => Answer::status(200),
        _ => Answer::status(401),
    });
    let url = door.url().replace("/sync", "/oauth/token");
    let login = format!(
        "[upstream.hq.login]\nurl = {url:?}\nbody_file = {body:?}\ncontent_type = \"application/x-www-form-urlencoded\"\n\
         header = \"Authorization: Bearer {{/access_token}}\"\nmax_age = \"{{/expires_in}}\"\n"
    );
    let agent = Agent::start(&hq(&api.url(), &login));
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    let first = &door.deliveries()[0];
    assert_eq!(first.header("Content-Type"), Some("application/x-www-form-urlencoded"));
    assert!(first.text().starts_with("grant_type=client_credentials&client_id=till"), "{}", first.text());
    let renewed = wait_for("a second token", || {
        agent.wait_gone(&id_of(&agent.call(&record_now("s-2"))));
        api.deliveries().into_iter().find(|sent| sent.header("Authorization") == Some("Bearer at-0002-secret"))
    });
    assert_eq!(renewed.entity(), "s-2");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class <> 'delivered'"), 0);
    assert_nowhere(&agent, &["cs-0001-secret", "at-0001-secret", "at-0002-secret"]);
}

/// A login's answer does not always hold the header as it stands: its parts may be numbers and be wanted in base64
/// (Tryton), or a cookie has to come back as a header too (Django).
#[test]
fn a_header_is_made_of_parts_of_the_logins_answer() {
    let cases = [
        ("Authorization: Session {base64:till:{/result/0}:{/result/1}}", "Authorization", "Session dGlsbDo3OmFmZmU="),
        ("X-CSRFToken: {cookie:csrftoken}", "X-CSRFToken", "c-0001"),
    ];
    let files = Files::new();
    let body = files.put("login", "{}");
    for (header, name, value) in cases {
        let door = Upstream::start(|_| {
            let answer = Answer::json(200, r#"{"id":0,"result":[7,"affe"]}"#);
            answer.with("Set-Cookie", "csrftoken=c-0001; Path=/").with("Set-Cookie", "sid=s-0001")
        });
        let api = Upstream::willing();
        let login = format!(
            "[upstream.hq.login]\nurl = {:?}\nbody_file = {body:?}\ncookies = [\"sid\", \"csrftoken\"]\nheader = {header:?}\n",
            door.url()
        );
        let agent = Agent::start(&hq(&api.url(), &login));
        agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
        let sent = &api.deliveries()[0];
        assert_eq!((sent.header(name), sent.header("Cookie")), (Some(value), Some("csrftoken=c-0001; sid=s-0001")));
    }
}

/// A secret in a template, and one that cannot be had.
#[test]
fn a_templates_secret_is_read_again_and_never_shown() {
    let files = Files::new();
    let secret = files.put("pw", "odoo-0001-secret");
    let upstream = Upstream::willing();
    let routes = format!("[[route]]\nbody = \"template\"\ntemplate = '[\"{{secret:{secret}}}\",{{payload}}]'\n");
    let agent = Agent::start(&Plan::with(upstream.url(), routes));
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    files.put("pw", "odoo-0002-longer-secret");
    agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
    let bodies: Vec<String> = upstream.deliveries().iter().map(|sent| sent.text().to_owned()).collect();
    assert_eq!(bodies, [r#"["odoo-0001-secret",{"total":12.5}]"#, r#"["odoo-0002-longer-secret",{"total":12.5}]"#]);
    fs::remove_file(&secret).expect("a file is removed");
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("blocked");
    assert_eq!(agent.failure(&id).expect("it waits")["retry_count"], 0);
    assert_nowhere(&agent, &["odoo-0001-secret", "odoo-0002-longer-secret"]);
}

/// STUB: a proxy that leads every CONNECT to one address, or answers everything with 407.
#[derive(Clone, Default)]
pub(crate) struct Proxy {
    refuses: Arc<AtomicBool>,
    /// First lines of requests.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Its URL, and the proxy.
    pub(crate) fn start(to: u16) -> (String, Self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let proxy = Self::default();
        let shared = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                // Either side may go at any time.
                thread::spawn(move || drop(shared.tunnel(client, to)));
            }
        });
        (url, proxy)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no holder panics").clone()
    }

    fn tunnel(&self, mut client: TcpStream, to: u16) -> io::Result<u64> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        let connect = first.starts_with("CONNECT ");
        self.seen.lock().expect("no holder panics").push(first);
        if self.refuses.load(Ordering::SeqCst) {
            client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(0);
        }
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
        if connect {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        } else {
            server.write_all(&head)?;
        }
        let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || io::copy(&mut up, &mut down));
        io::copy(&mut server, &mut client)
    }
}

/// Through the proxy, which alone knows the upstream's name; probes as well.
#[test]
fn a_proxy_is_the_only_way_out() {
    let upstream = Upstream::willing();
    let (url, proxy) = Proxy::start(upstream.port());
    let agent = Agent::start(&hq("http://hq.invalid:8080/sync", &format!("insecure = true\nproxy = {url:?}")));
    agent.wait_gone(&id_of(&agent.call(&record("s-1", &json!({})))));
    let seen = proxy.seen();
    assert!(!seen.is_empty() && seen.iter().all(|head| head.contains("hq.invalid:8080")), "{seen:?}");
    let sent: &Request = &upstream.deliveries()[0];
    assert_eq!((sent.method.as_str(), sent.header("Host")), ("POST", Some("hq.invalid:8080")));
}

/// `no_proxy`: straight there, although there is a proxy.
#[test]
fn who_is_spared_the_proxy_is_reached_without_it() {
    for except in ["127.0.0.1", "127.0.0.0/8", "*"] {
        let upstream = Upstream::willing();
        let (url, proxy) = Proxy::start(upstream.port());
        let lines = format!("proxy = {url:?}\nno_proxy = [{except:?}]");
        let agent = Agent::start(&hq(&upstream.url(), &lines));
        agent.wait_gone(&id_of(&agent.call(&record_now("s-1"))));
        assert!(proxy.seen().is_empty(), "{except}: {:?}", proxy.seen());
    }
}

/// The table: 407 is `misconfigured`, which blocks and costs nothing.
#[test]
fn a_proxy_that_wants_a_password_is_a_fault_of_the_setup() {
    let upstream = Upstream::willing();
    let (url, proxy) = Proxy::start(upstream.port());
    let agent = Agent::start(&hq("http://hq.invalid:8080/sync", &format!("insecure = true\nproxy = {url:?}")));
    agent.wait_upstream("online");
    proxy.refuses.store(true, Ordering::SeqCst);
    let id = id_of(&agent.call(&record_now("s-1")));
    let sql = "SELECT class, counted FROM sync_attempts";
    wait_until("a try", || !agent.rows(sql).is_empty());
    assert_eq!(agent.failure(&id).expect("it waits")["retry_count"], 0);
    assert_eq!(json!(agent.rows(sql)[0]), json!(["misconfigured", 0]));
    proxy.refuses.store(false, Ordering::SeqCst);
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
}

//! One exchange with an upstream, in all the ways in which it may end: connections that end early, responses that
//! are odd or cannot be read, logins that bring no session, proxies, TLS, time-outs.

use super::command_line::{out, resyncd, told};
use super::credentials::Proxy;
use crate::support::{Agent, Answer, Plan, Upstream, id_of, record, record_now, wait_for, wait_until};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

// ---- a server that is written byte by byte

/// A request as a raw server saw it.
#[derive(Clone, Debug)]
struct Seen {
    /// On which connection, from 1,
    connection: usize,
    /// and as which of its requests, from 1.
    nth: usize,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn is_probe(&self) -> bool {
        self.head.starts_with("HEAD ")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self
            .head
            .lines()
            .find(|line| line.split_once(':').is_some_and(|(given, _)| given.eq_ignore_ascii_case(name)))?;
        Some(line.split_once(':')?.1.trim())
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// Bytes to write, and whether the connection ends behind them.
type Reply = (Vec<u8>, bool);

#[derive(Clone)]
struct Wire {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Wire {
    fn start(decide: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::over("http", |stream| Box::new(stream) as Box<dyn Stream>, decide)
    }

    fn over(
        scheme: &str,
        wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static,
        decide: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let wire = Self { url: format!("{scheme}://127.0.0.1:{port}/sync"), seen: Arc::default() };
        let (seen, decide) = (Arc::clone(&wire.seen), Arc::new(decide));
        thread::spawn(move || {
            for (n, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (seen, decide) = (Arc::clone(&seen), Arc::clone(&decide));
                let stream = wrap(stream);
                // Either side may end the connection at any time.
                thread::spawn(move || drop(serve(stream, n + 1, &seen, &*decide)));
            }
        });
        wire
    }

    fn deliveries(&self) -> Vec<Seen> {
        self.seen.lock().expect("no holder panics").iter().filter(|seen| !seen.is_probe()).cloned().collect()
    }
}

fn serve(
    mut stream: Box<dyn Stream>,
    connection: usize,
    all: &Mutex<Vec<Seen>>,
    decide: &dyn Fn(&Seen) -> Reply,
) -> std::io::Result<()> {
    let mut held = Vec::new();
    for nth in 1.. {
        let end = loop {
            if let Some(at) = held.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            read_some(&mut stream, &mut held)?;
        };
        let text = String::from_utf8_lossy(&held[..end]).into_owned();
        let mut seen = Seen { connection, nth, head: text, body: Vec::new() };
        let length: usize = seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        while held.len() < end + length {
            read_some(&mut stream, &mut held)?;
        }
        seen.body = held[end..end + length].to_vec();
        held.drain(..end + length);
        all.lock().expect("no holder panics").push(seen.clone());
        let (bytes, ends) = if seen.is_probe() {
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), true)
        } else {
            decide(&seen)
        };
        stream.write_all(&bytes)?;
        stream.flush()?;
        if ends {
            return Ok(());
        }
    }
    Ok(())
}

fn read_some(stream: &mut Box<dyn Stream>, held: &mut Vec<u8>) -> std::io::Result<()> {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece)?;
    if count == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    held.extend_from_slice(&piece[..count]);
    Ok(())
}

/// Class and counted of every attempt, in order.
fn attempts(agent: &Agent) -> Value {
    json!(agent.rows("SELECT class, counted FROM sync_attempts ORDER BY id"))
}

/// One after the other; each on the connection that the one before has left.
fn deliver(agent: &Agent, count: usize) -> Vec<String> {
    // The application's own attempt was answered: nothing is in doubt, also where that is held or verified.
    let answered = |n| record(&format!("s-{n}"), &json!({"retry": "now", "http_status": 500}));
    let ids: Vec<String> = (0..count).map(|n| id_of(&agent.call(&answered(n)))).collect();
    ids.iter().for_each(|id| agent.wait_gone(id));
    ids
}

fn delivered(count: usize) -> Value {
    json!(vec![json!(["delivered", 0]); count])
}

// ---- connections that end early

/// A server closes an idle connection without a word, just as the next request is written. Nothing was learnt, and
/// the request is sent again at once: one attempt, one key.
#[test]
fn a_reused_connection_that_ends_before_an_answer_costs_no_attempt() {
    let server = Wire::start(|seen| if seen.nth == 1 { (OK.to_vec(), false) } else { (Vec::new(), true) });
    let agent = Agent::start(&Plan::impatient(server.url.clone()));
    deliver(&agent, 8);
    assert_eq!(attempts(&agent), delivered(8));
    let mut keys: BTreeMap<String, usize> = BTreeMap::new();
    for seen in server.deliveries() {
        assert_eq!(seen.header("resync-attempt"), Some("1"));
        *keys.entry(seen.header("idempotency-key").expect("a key").to_owned()).or_default() += 1;
    }
    assert!(keys.len() == 8 && keys.values().all(|times| *times <= 2), "{keys:?}");
    assert!(keys.values().any(|times| *times == 2), "some connection was used again: {keys:?}");
}

/// A new connection that ends before an answer is another matter: the request may have arrived.
#[test]
fn a_new_connection_that_ends_before_an_answer_is_unsure() {
    let server = Wire::start(|seen| if seen.connection <= 2 { (Vec::new(), true) } else { (OK.to_vec(), true) });
    let agent = Agent::start(&Plan::impatient(server.url.clone()));
    deliver(&agent, 1);
    assert!(server.deliveries().len() >= 2);
    assert_eq!(attempts(&agent)[0], json!(["unsure", 0]));
}

/// Many servers refuse a large body without reading it and end the connection, which resets it: their answer counts, and
/// not the reset. An acceptance of what was not read is none.
#[test]
fn an_answer_before_the_whole_request_is_an_answer() {
    let cases = [("413 Content Too Large", "refused"), ("503 Service Unavailable", "busy"), ("200 OK", "unsure")];
    for (status, class) in cases {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        // So small that the request does not fit in the buffers of the two sides.
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4096).expect("a size");
        let url = format!("http://{}/sync", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
                // What it has not read makes the end of the connection a reset.
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        let agent =
            Agent::start(&Plan { limits: "max_payload = \"4MiB\"\nmax_line = \"5MiB\"", ..Plan::impatient(url) });
        let large = record("s-1", &json!({"retry": "now", "payload": {"image": "x".repeat(3 << 20)}}));
        id_of(&agent.call(&large));
        wait_until("an attempt", || !attempts(&agent).as_array().is_some_and(Vec::is_empty));
        assert_eq!(attempts(&agent)[0][0], class, "{status}: {:?}", agent.rows("SELECT error FROM sync_attempts"));
    }
}

/// Where an attempt that may have arrived is held, as few of them as possible: no connection is used twice.
#[test]
fn routes_that_hold_or_verify_use_no_connection_again() {
    for unsure in ["on_unsure = \"hold\"", "on_unsure = \"verify\"\nverify = { path = \"/q\", found = \"/0\" }"] {
        let server = Wire::start(|seen| if seen.nth == 1 { (OK.to_vec(), false) } else { (Vec::new(), true) });
        let agent = Agent::start(&Plan::with(server.url.clone(), format!("[[route]]\n{unsure}\n")));
        deliver(&agent, 6);
        assert_eq!(attempts(&agent), delivered(6));
        assert!(server.deliveries().iter().all(|seen| seen.nth == 1));
    }
}

/// What a server says before it is asked is not the answer to the next request.
#[test]
fn bytes_that_nobody_asked_for_are_no_answer() {
    const CLOSING: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const REFUSAL: &[u8] = b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n";
    for unasked in [CLOSING, REFUSAL] {
        let decide = move |_: &Seen| ([OK, unasked].concat(), false);
        for server in [Wire::start(decide), Wire::over("https", tls_server("server.crt"), decide)] {
            let agent = Agent::start(&Plan::of(trusting(&server.url, "")));
            deliver(&agent, 8);
            assert_eq!(attempts(&agent), delivered(8), "{}", server.url);
            assert_eq!(server.deliveries().len(), 8, "each once");
        }
    }
}

/// Some servers announce that they close an idle connection, when the next request is on its way already.
#[test]
fn a_408_on_a_reused_connection_is_about_the_connection() {
    let server = Wire::start(|seen| match seen.nth {
        1 => (OK.to_vec(), false),
        _ => (b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec(), true),
    });
    let agent = Agent::start(&Plan::impatient(server.url.clone()));
    deliver(&agent, 8);
    assert_eq!(attempts(&agent), delivered(8));
}

/// A server that speaks first is none: nothing was sent to it, so nothing is unsure.
#[test]
fn what_speaks_before_it_is_asked_gets_no_request() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let url = format!("http://{}/sync", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // The other side may have gone.
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
            thread::spawn(move || stream.read(&mut [0; 64]));
        }
    });
    let agent = Agent::start(&Plan::impatient(url));
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("offline");
    assert_eq!(agent.failure(&id).expect("it waits")["retry_count"], 0);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class = 'unsure'"), 0);
}

// ---- odd responses

/// Responses that every other client takes.
#[test]
fn odd_responses_are_taken() {
    let many: String = (0..300).map(|n| format!("X-{n}: 1\r\n")).collect();
    let odd: [Vec<u8>; 8] = [
        b"HTTP/1.1 200 OK\r\nX-Note: folded\r\n  over two lines\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Type : application/json\r\nContent-Length : 2\r\n\r\n{}".to_vec(),
        b"HTTP/1.1 200 OK\r\nthis is no header\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        b"HTTP/1.1 200 OK\r\nX-Gr\xfc\xdfe: 1\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;an=\"extension that is rather long\"\r\n{}\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 2\n\n{}".to_vec(),
        format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\n{{}}").into_bytes(),
    ];
    let count = odd.len();
    let next = Mutex::new(odd.into_iter());
    let server =
        Wire::start(move |_| (next.lock().expect("no holder panics").next().unwrap_or_else(|| OK.to_vec()), false));
    let agent = Agent::start(&Plan { upstream: "expect = \"json\"", ..Plan::impatient(server.url.clone()) });
    deliver(&agent, count);
    assert_eq!(attempts(&agent), delivered(count));
    assert!(server.deliveries().iter().all(|seen| seen.header("accept-encoding") == Some("identity")));
    assert!(server.deliveries().iter().any(|seen| seen.nth > 1), "connections are still good after them");
}

/// Up to 1 MiB is read where a proof has to be found in it.
#[test]
fn a_proof_in_a_large_answer_is_found() {
    let upstream = Upstream::start(|request| {
        let answer = json!({"lines": "x".repeat(600 << 10), "id": request.id()});
        Answer::json(200, &answer.to_string())
    });
    let agent = Agent::start(&Plan { upstream: "expect_id = \"/id\"", ..Plan::impatient(upstream.url()) });
    deliver(&agent, 2);
    assert_eq!(attempts(&agent), delivered(2));
}

/// A rule that cannot be evaluated never leads to a delivery; operators are alerted after three such answers.
#[test]
fn answers_that_cannot_be_read_are_unsure_and_block() {
    let upstream = Upstream::start(|_| {
        let body = "\nWarning: Undefined variable $tax in /srv/sync.php on line 7\n{\"error\":\"no such SKU\"}";
        Answer::Reply { status: 200, headers: vec![("Content-Type", "text/html".to_owned())], body: body.to_owned() }
    });
    let rule = "[[upstream.hq.answer]]\nstatus = [200]\npresent = \"/error\"\nis = \"refused\"\nmessage = \"/error\"\n";
    let agent = Agent::start(&Plan::with(upstream.url(), rule));
    let ids = ["s-1", "s-2"].map(|entity| id_of(&agent.call(&record_now(entity))));
    let shown = agent.wait_upstream("blocked");
    let reason = shown["reason"].as_str().expect("a reason");
    assert!(reason.contains("rule 1") && reason.contains("not JSON") && reason.contains("Warning"), "{reason}");
    wait_until("the alert", || agent.ask(&json!({"op": "alerts"})).to_string().contains("upstream_blocked"));
    for id in &ids {
        let failure = agent.failure(id).expect("it is kept");
        assert_eq!((&failure["status"], &failure["retry_count"]), (&json!("pending"), &json!(0)), "{failure}");
    }
    let classes = agent.column("SELECT DISTINCT class FROM sync_attempts");
    assert_eq!(json!(classes), json!(["unsure"]));
    assert_eq!(agent.cell("SELECT SUM(counted) FROM sync_attempts"), 0);

    let tried = resyncd(&agent, &["try", "--type", "SALE", "--entity", "s-9", "--action", "CREATE", "--send"]);
    let text = out(&tried);
    assert!(text.contains("none of 1 matched") && text.contains("rule 1 cannot be evaluated"), "{text}");

    upstream.on_delivery(|_| Answer::json(200, "{\"error\":\"no such SKU\"}"));
    let tried = resyncd(&agent, &["try", "--type", "SALE", "--entity", "s-9", "--action", "CREATE", "--send"]);
    assert!(out(&tried).contains("1 of 1 matched (is = \"refused\")"), "{}", out(&tried));
    upstream.on_delivery(|_| Answer::json(200, "{\"result\":1}"));
    agent.ask(&json!({"op": "resume"}));
    ids.iter().for_each(|id| agent.wait_gone(id));
}

#[test]
fn try_speaks_spanish() {
    let upstream = Upstream::start(|_| Answer::status(422));
    let agent = Agent::start(&Plan::to(upstream.url()));
    let args = ["try", "--type", "SALE", "--entity", "s-9", "--action", "CREATE", "--send", "--lang", "es"];
    let tried = resyncd(&agent, &args);
    for said in
        ["Destino: hq, en el formato envelope (no hay rutas):", "Respuesta: HTTP 422", "Clase:     refused: requeriría"]
    {
        assert!(out(&tried).contains(said), "{said} in {}", out(&tried));
    }
    assert_eq!(told(&tried), "resyncd: no se entregaría: refused\n");
}

/// One key alone may be an odd record: it takes ten.
#[test]
fn one_keys_unreadable_answers_block_after_ten() {
    let upstream = Upstream::start(|_| Answer::Reply { status: 200, headers: Vec::new(), body: "done".to_owned() });
    let config = "expect = \"json\"\nmax_pause = \"1s\"";
    let agent = Agent::start(&Plan { upstream: config, ..Plan::impatient(upstream.url()) });
    let id = id_of(&agent.call(&record_now("s-1")));
    agent.wait_upstream("blocked");
    assert!(upstream.deliveries().len() >= 10, "{}", upstream.deliveries().len());
    assert_eq!(agent.failure(&id).expect("it is kept")["retry_count"], 0);
}

/// PHP calls whatever a script says a web page. Over plain http that delays nothing.
#[test]
fn a_scripts_habit_of_text_html_is_no_portal() {
    let said = |body: &str| {
        let headers = vec![("Content-Type", "text/html; charset=UTF-8".to_owned())];
        Answer::Reply { status: 200, headers, body: body.to_owned() }
    };
    let bodies = ["OK", "1", "", "{\"id\":7}", "\u{feff}[]"];
    let upstream = Upstream::start(move |request| match request.method.as_str() {
        "GET" => said("OK"),
        _ => said(bodies[request.entity().trim_start_matches("s-").parse::<usize>().expect("a number")]),
    });
    upstream.on_probe(move |_| said(""));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.wait_upstream("online");
    deliver(&agent, bodies.len());
    assert_eq!(attempts(&agent), delivered(bodies.len()));
}

/// A captive portal that names no type is found by what it says.
#[test]
fn a_portal_without_a_type_is_found_by_a_probe() {
    let untyped = |body: &str| Answer::Raw(format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes());
    let upstream = Upstream::start(move |_| untyped("<!-- gate --><html><body>Log in</body></html>"));
    upstream.on_probe(move |_| untyped(""));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    agent.wait_upstream("offline");
    let id = id_of(&agent.call(&record_now("s-1")));
    upstream.on_delivery(|_| Answer::status(200));
    upstream.on_probe(|_| Answer::status(200));
    agent.wait_gone(&id);
    assert_eq!(attempts(&agent), delivered(1));
}

/// A redirect's target is in the error.
#[test]
fn a_redirect_shows_where_it_leads() {
    let upstream = Upstream::start(|_| Answer::status(307).with("Location", "/login?next=https://other.example/x"));
    let agent = Agent::start(&Plan::impatient(upstream.url()));
    id_of(&agent.call(&record_now("s-1")));
    let shown = agent.wait_upstream("blocked");
    let reason = shown["reason"].as_str().expect("a reason");
    assert_eq!(reason, "HTTP 307: redirects to /login?next=https://other.example/x");
}

// ---- logins

/// However a login ends, it never counts against the failure: neither a rule that refuses a status nor a route that
/// holds unsure failures applies.
#[test]
fn however_a_login_ends_it_says_nothing_about_the_failure() {
    let ends: Vec<(Answer, &str)> = vec![
        (Answer::status(500), "busy"),
        (Answer::status(503), "busy"),
        (Answer::status(429), "throttled"),
        (Answer::status(511), "unreachable"),
        (Answer::status(598), "busy"),
        (Answer::status(404), "misconfigured"),
        (Answer::status(401), "misconfigured"),
        (Answer::status(302).with("Location", "http://portal.example/"), "unreachable"),
        (Answer::status(302).with("Location", "/elsewhere"), "misconfigured"),
        (Answer::html(200), "unreachable"),
        (Answer::json(200, "{\"t\":\"two\\nlines\"}"), "misconfigured"),
        (Answer::json(200, "{}"), "misconfigured"),
        (Answer::Lost, "unreachable"),
        (Answer::Silence, "unreachable"),
    ];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let body = dir.path().join("login.json");
    fs::write(&body, "{}").expect("a file is written");
    let started: Vec<_> = ends
        .into_iter()
        .map(|(end, class)| {
            let door = Upstream::start(move |_| end.clone());
            let api = Upstream::willing();
            let more = format!(
                "[upstream.hq]\nurl = {:?}\ntimeout = \"1s\"\n[[upstream.hq.answer]]\nstatus = [500, 404, 302, 200]\nis = \"refused\"\n\
                 [upstream.hq.login]\nurl = {:?}\nbody_file = {:?}\nheader = \"Authorization: Bearer {{/t}}\"\n\
                 [[route]]\non_unsure = \"hold\"\n",
                api.url(),
                door.url(),
                body.display().to_string()
            );
            let agent = Agent::start(&Plan::of(more));
            let id = id_of(&agent.call(&record("s-1", &json!({"retry": "now", "http_status": 500}))));
            (agent, api, door, id, class)
        })
        .collect();
    for (agent, api, door, id, class) in &started {
        wait_until("an attempt", || agent.cell("SELECT COUNT(*) FROM sync_attempts").as_i64() > Some(0));
        let first = agent.rows("SELECT class, counted, http_status FROM sync_attempts ORDER BY id LIMIT 1").remove(0);
        let login = door.deliveries().len();
        assert_eq!(json!(first), json!([class, 0, null]), "{login} logins; {}", agent.log());
        let failure = agent.failure(id).expect("it waits");
        assert_eq!((&failure["status"], &failure["retry_count"]), (&json!("pending"), &json!(0)), "{failure}");
        assert_eq!(api.deliveries().len(), 0, "nothing was sent");
    }
}

/// What answers in a login's place for a moment costs a moment, and no minute.
#[test]
fn a_portal_or_a_missing_page_at_the_logins_url_makes_nobody_wait() {
    for end in [Answer::html(200), Answer::status(404), Answer::status(302).with("Location", "/x")] {
        let door = Upstream::start(move |request| match request.nth {
            1 => end.clone(),
            _ => Answer::json(200, "{\"t\":\"x\"}"),
        });
        let api = Upstream::willing();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let body = dir.path().join("login.json");
        fs::write(&body, "{}").expect("a file is written");
        let more = format!(
            "[upstream.hq]\nurl = {:?}\n[upstream.hq.login]\nurl = {:?}\nbody_file = {:?}\n\
             header = \"Authorization: Bearer {{/t}}\"\n",
            api.url(),
            door.url(),
            body.display().to_string()
        );
        let agent = Agent::start(&Plan::of(more));
        let id = id_of(&agent.call(&record_now("s-1")));
        // Well within the minute that a refused login would wait.
        agent.wait_gone(&id);
        assert_eq!(door.deliveries().len(), 2);
    }
}

// ---- time-outs

/// The time-out is for the time without progress; a large body may still be on its way when all of it was written.
#[test]
fn a_large_body_is_given_the_time_it_needs_on_a_slow_line() {
    let upstream = Upstream::start(|_| {
        // As long as a slow line would be busy with what the system has taken at once.
        thread::sleep(Duration::from_secs(3));
        Answer::status(200)
    });
    let agent = Agent::start(&Plan { upstream: "timeout = \"1s\"", ..Plan::impatient(upstream.url()) });
    let large = record("s-1", &json!({"retry": "now", "payload": {"image": "x".repeat(200 << 10)}}));
    agent.wait_gone(&id_of(&agent.call(&large)));
    assert_eq!(attempts(&agent), delivered(1));
    // A small one is given up as configured.
    let small = id_of(&agent.call(&record_now("s-2")));
    wait_until("an attempt", || attempts(&agent).as_array().is_some_and(|all| all.len() > 1));
    assert_eq!(attempts(&agent)[1], json!(["unsure", 0]));
    upstream.on_delivery(|_| Answer::status(200));
    agent.wait_gone(&small);
}

/// A body that is too large for the time-out is sent again and again: alert, `status` and `doctor` name the key to
/// change. Small ones that are delivered meanwhile do not hide it.
#[test]
fn bodies_that_never_get_through_in_time_are_told() {
    let upstream =
        Upstream::start(|request| if request.body.len() > 100 << 10 { Answer::Silence } else { Answer::status(200) });
    let config = "timeout = \"500ms\"\ntotal_timeout = \"500ms\"\nmax_pause = \"1s\"";
    let agent = Agent::start(&Plan { upstream: config, ..Plan::impatient(upstream.url()) });
    let large = record("s-1", &json!({"retry": "now", "payload": {"image": "x".repeat(200 << 10)}}));
    let id = id_of(&agent.call(&large));
    let mut small = 0;
    let alert = wait_for("the alert", || {
        small += 1;
        let id = id_of(&agent.call(&record_now(&format!("small-{small}"))));
        agent.wait_gone(&id);
        let alerts = agent.ask(&json!({"op": "alerts"}));
        alerts["alerts"].as_array()?.iter().find(|alert| alert["kind"] == "upload_timeout").cloned()
    });
    let words = alert["message"].as_str().expect("words");
    assert!(words.contains("200.") && words.contains("KiB") && words.contains("total_timeout"), "{words}");
    let status = out(&resyncd(&agent, &["status"]));
    assert!(status.contains("Next: ") && status.contains("total_timeout"), "{status}");
    let found = out(&resyncd(&agent, &["doctor"]));
    assert!(found.lines().any(|line| line.starts_with("FIX delivery") && line.contains("total_timeout")), "{found}");
    assert_eq!(agent.failure(&id).expect("it waits")["retry_count"], 0);
    upstream.on_delivery(|_| Answer::status(200));
    agent.wait_gone(&id);
    wait_until("the end of the alert", || {
        let alerts = agent.ask(&json!({"op": "alerts"}));
        let active = |alert: &Value| alert["kind"] == "upload_timeout" && alert["active"] == true;
        !alerts["alerts"].as_array().is_some_and(|all| all.iter().any(active))
    });
}

// ---- proxies

/// STUB: a proxy that wants credentials, and answers requests by whole address itself.
fn guarded_proxy() -> Wire {
    Wire::start(|seen| {
        if seen.header("proxy-authorization") != Some("Basic dGlsbDpwOnfDpA==") {
            return (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n".to_vec(), true);
        }
        if seen.head.starts_with("CONNECT ") {
            return (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec(), true);
        }
        (OK.to_vec(), false)
    })
}

/// Plain http uses the absolute URI, with the credentials of a file; without them operators are alerted.
#[test]
fn a_proxy_gets_credentials_and_the_whole_address() {
    let proxy = guarded_proxy();
    let proxy_url = proxy.url.trim_end_matches("/sync").to_owned();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let auth = dir.path().join("proxy.auth");
    let plan = |more: &str| {
        Plan::of(format!(
            "[upstream.hq]\nurl = \"http://hq.invalid:8080/sync\"\ninsecure = true\nproxy = {proxy_url:?}\n{more}\n"
        ))
    };
    let agent = Agent::start(&plan(""));
    id_of(&agent.call(&record_now("s-1")));
    let shown = agent.wait_upstream("blocked");
    assert!(
        shown["reason"].as_str().is_some_and(|why| why.contains("407") && why.contains("proxy_auth_file")),
        "{shown}"
    );

    fs::write(&auth, "till:p:wä\n").expect("a file is written");
    let auth_line = format!("proxy_auth_file = {:?}", auth.display().to_string());
    let agent = Agent::start(&plan(&auth_line));
    let ids = deliver(&agent, 3);
    assert_eq!(attempts(&agent), delivered(3));
    let sent = proxy.deliveries();
    let sent = sent.iter().filter(|seen| ids.iter().any(|id| seen.header("resync-id") == Some(id))).collect::<Vec<_>>();
    assert_eq!(sent.len(), 3);
    for seen in sent {
        assert!(seen.head.starts_with("POST http://hq.invalid:8080/sync HTTP/1.1\r\n"), "{}", seen.head);
        assert_eq!(seen.header("host"), Some("hq.invalid:8080"));
        assert!(!seen.body.is_empty());
    }

    let agent = Agent::start(&plan(&format!("{auth_line}\nproxy_tunnel = \"always\"")));
    let id = id_of(&agent.call(&record_now("s-1")));
    wait_until("an attempt or a probe", || {
        agent.call(&json!({"op": "health"}))["upstreams"][0]["reason"].as_str().is_some_and(|why| why.contains("403"))
    });
    assert_eq!(agent.failure(&id).expect("it waits")["retry_count"], 0);
}

// ---- TLS

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// A server's side of TLS, with this certificate.
fn tls_server(certificate: &str) -> impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static {
    tls_server_with(certificate, "server.key")
}

fn tls_server_with(certificate: &str, key: &str) -> impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static {
    let chain = CertificateDer::pem_file_iter(pem(certificate)).expect("a file").map(|one| one.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_file(pem(key)).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let config = Arc::new(config);
    move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        Box::new(StreamOwned::new(connection, stream))
    }
}

/// An upstream at this URL, whose authority is the tests' own.
fn trusting(url: &str, more: &str) -> String {
    format!("[upstream.hq]\nurl = {url:?}\nca_file = {:?}\n{more}\n", pem("ca.crt").display().to_string())
}

/// TLS's own messages, such as session tickets, are no reason to give up a connection.
#[test]
fn connections_are_used_again_over_tls() {
    let server = Wire::over("https", tls_server("server.crt"), |_| (OK.to_vec(), false));
    let agent = Agent::start(&Plan::of(trusting(&server.url, "concurrency = 1")));
    deliver(&agent, 6);
    assert_eq!(attempts(&agent), delivered(6));
    assert!(server.deliveries().iter().any(|seen| seen.nth >= 3), "{:?}", server.deliveries());
}

/// Through a proxy's tunnel as well, where TLS begins only behind the proxy's answer.
#[test]
fn tls_goes_through_a_proxys_tunnel_and_the_connection_is_used_again() {
    let server = Wire::over("https", tls_server("server.crt"), |_| (OK.to_vec(), false));
    let port = server.url.trim_end_matches("/sync").rsplit(':').next().and_then(|port| port.parse().ok());
    let (proxy_url, proxy) = Proxy::start(port.expect("a port"));
    let agent = Agent::start(&Plan::of(trusting(&server.url, &format!("concurrency = 1\nproxy = {proxy_url:?}"))));
    deliver(&agent, 5);
    assert_eq!(attempts(&agent), delivered(5));
    assert!(server.deliveries().iter().any(|seen| seen.nth >= 3), "{:?}", server.deliveries());
    assert!(proxy.seen().iter().all(|head| head.starts_with("CONNECT 127.0.0.1:")), "{:?}", proxy.seen());
}

/// The certificate of an authority in a server's place, which its own `ca_file` does not mend.
#[test]
fn a_self_signed_certificate_is_told_in_plain_words() {
    let server = Wire::over("https", tls_server_with("self.crt", "self.key"), |_| (OK.to_vec(), false));
    let ca = pem("self.crt").display().to_string();
    let agent = Agent::start(&Plan::of(format!("[upstream.hq]\nurl = {:?}\nca_file = {ca:?}\n", server.url)));
    let shown = agent.wait_upstream("offline");
    assert!(shown["reason"].as_str().is_some_and(|why| why.contains("self-signed, CA:TRUE")), "{shown}");
    let doctor = out(&resyncd(&agent, &["doctor"]));
    assert!(doctor.contains("a certificate of its own (CA:FALSE)"), "{doctor}");
}

/// An expired certificate is reported with its date.
#[test]
fn an_expired_certificate_is_told_with_its_date() {
    let server = Wire::over("https", tls_server("expired.crt"), |_| (OK.to_vec(), false));
    let agent = Agent::start(&Plan::of(trusting(&server.url, "")));
    id_of(&agent.call(&record_now("s-1")));
    let shown = wait_for("a reason", || {
        let upstream = agent.call(&json!({"op": "health"}))["upstreams"][0].clone();
        upstream["reason"].is_string().then_some(upstream)
    });
    let reason = shown["reason"].as_str().expect("a reason");
    assert!(reason.contains("expired on 2020-02-01") && reason.contains("clock says"), "{reason}");
}

/// https to a port that speaks plain http is reported as exactly that.
#[test]
fn tls_to_a_plain_port_is_told_as_that() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let url = format!("https://{}/sync", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // As web servers answer what they cannot read; the other side may have gone.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    let agent = Agent::start(&Plan::of(trusting(&url, "")));
    let shown = agent.wait_upstream("offline");
    assert!(shown["reason"].as_str().is_some_and(|why| why.contains("does not speak TLS")), "{shown}");
    let doctor = resyncd(&agent, &["doctor"]);
    assert!(!out(&doctor).contains("cable"), "{}", out(&doctor));
}

/// A client certificate and a key that do not belong together: a renewal that was caught half-way.
#[test]
fn a_key_that_does_not_match_its_certificate_is_said_and_nothing_is_unsure() {
    let server = Wire::over("https", tls_server("server.crt"), |_| (OK.to_vec(), false));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let key = dir.path().join("till.key");
    fs::copy(pem("other.key"), &key).expect("a key");
    let pair = format!(
        "client_cert = {:?}\nclient_key = {:?}",
        pem("server.crt").display().to_string(),
        key.display().to_string()
    );
    let agent = Agent::start(&Plan::of(trusting(&server.url, &pair)));
    let checked = resyncd(&agent, &["config", "check"]);
    assert_eq!(checked.status.code(), Some(1), "{}", out(&checked));
    assert!(told(&checked).contains("does not belong to the certificate"), "{}", told(&checked));
    assert!(agent.log().contains("event=certificate_unusable"), "{}", agent.log());
    let id = id_of(&agent.call(&record_now("s-1")));
    wait_until("an attempt or a probe", || {
        let health = agent.call(&json!({"op": "health"}));
        health["upstreams"][0]["reason"].as_str().is_some_and(|why| why.contains("does not belong"))
    });
    let doctor = resyncd(&agent, &["doctor"]);
    assert!(out(&doctor).contains("does not belong") && !told(&doctor).contains("panicked"), "{}", told(&doctor));
    fs::copy(pem("server.key"), &key).expect("the other half of the renewal");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class = 'unsure' OR counted"), 0);
}

// ---- configuration

/// A header that cannot be sent is found before the first failure meets it.
#[test]
fn headers_that_cannot_be_sent_are_errors_of_the_configuration() {
    let wrong = [
        "idempotency_header = \"Host\"",
        "idempotency_header = \"content-length\"",
        "idempotency_header = \"Transfer-Encoding\"",
        "idempotency_header = \"Connection\"",
        "idempotency_header = \"Authorization\"",
        "idempotency_header = \"X Key\"",
        "headers = { Host = \"x\" }",
        "headers = { TE = \"x\" }",
        "headers = { Upgrade = \"x\" }",
        "headers = { X-A = \"a\\nb\" }",
        "header_files = { Expect = \"/x\" }",
        "no_proxy = [\"hq:99999\"]",
        "no_proxy = [\"http://hq\"]",
        "proxy_auth_file = \"/x\"",
        "[upstream.hq.login]\nurl = \"http://127.0.0.1/\"\nbody_file = \"/x\"\nheader = \"X Token: {/t}\"",
        "[upstream.hq.login]\nurl = \"http://127.0.0.1/\"\nbody_file = \"/x\"\nheader = \"Host: {/t}\"",
        "[upstream.hq.login]\nurl = \"http://127.0.0.1/\"\nbody_file = \"/x\"\nheader = \"X-T: {/t}\"\ncontent_type = \"a\\nb\"",
        "[[route]]\ncontent_type = \"application/json\\n\"",
        "[[route]]\nheaders = { Connection = \"x\" }",
    ];
    let agent = Agent::prepare(&Plan::default());
    for lines in wrong {
        agent.configure(&Plan::of(format!("[upstream.hq]\nurl = \"http://127.0.0.1:9/\"\n{lines}\n")));
        let checked = resyncd(&agent, &["config", "check"]);
        assert_eq!(checked.status.code(), Some(2), "{lines}: {}{}", out(&checked), told(&checked));
    }
    for lines in
        ["idempotency_header = \"X-Key\"", "no_proxy = [\"hq:8080\", \"[::1]:80\", \".x.example\", \"10.0.0.0/8\"]"]
    {
        agent.configure(&Plan::of(format!("[upstream.hq]\nurl = \"http://127.0.0.1:9/\"\n{lines}\n")));
        let checked = resyncd(&agent, &["config", "check"]);
        assert_eq!(checked.status.code(), Some(0), "{lines}: {}{}", out(&checked), told(&checked));
    }
}

//! The time that the loop spends on one line must grow no faster than the line: every operation of
//! both sockets is given the worst possible lines, of one size and of four times that size.
//!
//! The tests measure the processor time of the thread that handles the line instead of the elapsed
//! time, and use the shortest of several runs. Four times the bytes take four times as long where the
//! work is linear, and sixteen times as long where it is quadratic; the limit lies between, at nine.

use resyncd::agent::{Agent, ClientId, Effect, Event, Peer};
use resyncd::config::{Config, Environment, Overrides};
use resyncd::limits::Limits;
use resyncd::moment::{AgentTime, Moment, WallTime};
use resyncd::store::{Store, StoreSettings};
use resyncd::wire::request::{ADMIN_OPS, APP_OPS, Socket};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const SMALL: usize = 48 << 10;
const TIMES_AS_LARGE: usize = 4;
const MOST_TIMES_AS_LONG: u32 = 9;
/// Shorter work is too imprecise to compare, and delays no client: another client may wait 100 ms
/// for a line of a megabyte, and this is an unoptimised build.
const AT_ONCE: Duration = Duration::from_millis(12);
const RUNS: usize = 4;

/// A function that produces about this many bytes of a line.
type Filling = fn(usize) -> String;

/// Values of a field, as JSON, each of them bad in its own way.
const VALUES: [(&str, Filling); 16] = [
    ("a long string", |size| format!("\"{}\"", "x".repeat(size))),
    ("a string of escapes", |size| format!("\"{}\"", "\\u0041".repeat(size / 6))),
    ("a string of wide characters", |size| format!("\"{}\"", "\u{1f600}".repeat(size / 4))),
    ("a string of blanks", |size| format!("\"{}\"", " ".repeat(size))),
    ("a string of digits", |size| format!("\"{}\"", "4".repeat(size))),
    ("a string of groups of digits", |size| format!("\"{}\"", "4111 1111 1111 111 ".repeat(size / 19))),
    ("a string of single digits", |size| format!("\"{}\"", "4 ".repeat(size / 2))),
    ("a string of cards that are none", |size| format!("\"{}\"", "4111111111111112 ".repeat(size / 17))),
    ("a string of brackets", |size| format!("\"{}\"", "[{".repeat(size / 2))),
    ("a long number", |size| "7".repeat(size)),
    ("a long fraction", |size| format!("0.{}", "4".repeat(size))),
    ("an object of many names", |size| object((0..size / 16).map(|n| (format!("n{n:07}"), "1")))),
    ("an object of one name given often", |size| object((0..size / 8).map(|_| ("n".to_owned(), "1")))),
    ("an object of a long name", |size| object([("n".repeat(size), "1")])),
    ("a list of strings", |size| format!("[{}]", vec!["\"4111111\""; size / 10].join(","))),
    ("a list as deep as is allowed, often", |size| {
        format!("[{}]", vec![format!("{}{}", "[".repeat(60), "]".repeat(60)); size / 121].join(","))
    }),
];

/// Lines that are not valid requests, and one whose names are bad.
const LINES: [(&str, Filling); 13] = [
    ("nothing but blanks", |size| " ".repeat(size)),
    ("rubbish", |size| "x".repeat(size)),
    ("a string", |size| format!("\"{}\"", "x".repeat(size))),
    ("a string that does not end", |size| format!("{{\"op\":\"{}", "\\\\".repeat(size / 2))),
    ("brackets", |size| "[".repeat(size)),
    ("brackets that close again", |size| "[]{}".repeat(size / 4)),
    ("many names", |size| object((0..size / 16).map(|n| (format!("n{n:07}"), "1")))),
    ("many names in camel case", |size| object((0..size / 16).map(|n| (format!("nN{n:06}"), "1")))),
    ("as many names as are allowed, alike", |size| {
        object((0..63).map(|n| (format!("{}{n}", "n".repeat(size / 64)), "1")))
    }),
    ("a long name", |size| object([("op".to_owned(), "\"hello\""), ("n".repeat(size), "1")])),
    ("a long name in capitals", |size| object([("op".to_owned(), "\"hello\""), ("N".repeat(size), "1")])),
    ("a long operation", |size| object([("op".to_owned(), &*format!("\"{}\"", "x".repeat(size)))])),
    ("one name given often", |size| object((0..size / 8).map(|_| ("n".to_owned(), "1")))),
];

/// A request for each operation, in which every field but `op` is replaced by every bad value in turn.
const REQUESTS: &[&str] = &[
    r#"{"op":"hello","ref":1}"#,
    r#"{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","payload":1,"http_status":500,"idempotency_key":"k","order_key":"o","retry":"auto"}"#,
    r#"{"op":"get","id":"01a22c03"}"#,
    r#"{"op":"unsent","more":1}"#,
    r#"{"op":"health","ref":1}"#,
    r#"{"op":"alerts","ref":1}"#,
    r#"{"op":"list","entity_id":"s-1","filter":1,"after":"7","since":"2026-11-24","limit":5,"status":"held"}"#,
    r#"{"op":"history","id":"01a22c03","since":"2026-11-24","after":"x"}"#,
    r#"{"op":"stats","since":"2026-11-24"}"#,
    r#"{"op":"series","since":"2026-11-24"}"#,
    r#"{"op":"digest","since":"2026-11-24"}"#,
    r#"{"op":"metrics","ref":1}"#,
    r#"{"op":"retry","ids":["7"],"reset":true,"reason":"x","by":"ana"}"#,
    r#"{"op":"hold","filter":{"entity_id":"s-1"},"reason":"x"}"#,
    r#"{"op":"release","ids":["7"]}"#,
    r#"{"op":"discard","ids":["7"],"reason":"x","let_followers":true}"#,
    r#"{"op":"edit","id":"7","payload":1,"entity_id":"s-1","action":"CREATE","new_key":true}"#,
    r#"{"op":"flush","upstream":"hq","reason":"x"}"#,
    r#"{"op":"pause","upstream":"other","reason":"x"}"#,
    r#"{"op":"resume","upstream":"other"}"#,
    r#"{"op":"cleanup","dry_run":true,"reason":"x"}"#,
    r#"{"op":"import","row":{},"force":true,"by":"ana"}"#,
    r#"{"op":"replay","rows":[],"more":true,"after":"1","dry_run":true,"reason":"x","by":"ana"}"#,
    r#"{"op":"reload","reason":"x"}"#,
];

/// The row of an `import` or a `replay`.
const ROW: &str = r#"{"id":"1","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","payload":1,"payload_kind":"json","created_at":"2026-11-24","response":1}"#;

fn object<T: AsRef<str>>(entries: impl IntoIterator<Item = (String, T)>) -> String {
    let entries: Vec<String> =
        entries.into_iter().map(|(name, value)| format!("\"{name}\":{}", value.as_ref())).collect();
    format!("{{{}}}", entries.join(","))
}

/// The same request with another value of one field, as text: the value need not be JSON that anything else reads.
fn with(request: &str, field: &str, value: &str) -> String {
    let fields: Value = serde_json::from_str(request).expect("a request");
    let fields = fields.as_object().expect("an object");
    object(fields.iter().map(|(name, old)| {
        let text = if name == field { value.to_owned() } else { old.to_string() };
        (name.clone(), text)
    }))
}

fn fields_of(request: &str) -> Vec<String> {
    let fields: Value = serde_json::from_str(request).expect("a request");
    fields.as_object().expect("an object").keys().filter(|name| *name != "op").cloned().collect()
}

struct Loop {
    agent: Agent,
    at_ms: i64,
}

impl Loop {
    fn new(dir: &Path) -> Self {
        let overrides =
            Overrides { upstream: Some(("http://127.0.0.1:9/sync".into(), "a test")), ..Overrides::default() };
        let mut config = Config::load(None, &overrides, &Environment::default()).expect("the defaults");
        config.limits.max_payload = 1 << 20;
        let settings = StoreSettings::new(dir, &Limits::default());
        let store = Store::open(settings, WallTime::from_millis(0)).unwrap_or_else(|error| panic!("{error}"));
        let agent = Agent::start(store, &config, 1, moment(0)).unwrap_or_else(|error| panic!("{error}"));
        Self { agent, at_ms: 0 }
    }

    /// Hands in a line and ends its round. Returns the processor time used, and the reply, if there is one already.
    fn takes(&mut self, socket: Socket, line: &[u8]) -> (Duration, Option<Vec<u8>>) {
        self.at_ms += 1;
        let (now, client) = (moment(self.at_ms), ClientId(16));
        let peer = Peer { uid: 0, pid: 1, name: None };
        let begun = processor_time();
        self.agent.handle(now, Event::Line { client, socket, peer: &peer, line });
        self.agent.tick(now);
        let effects = self.agent.finish_round(now);
        let took = processor_time().saturating_sub(begun);
        // Queries for the reader are not answered here.
        self.agent.client_disconnected(client);
        let reply = effects.into_iter().find_map(|effect| match effect {
            Effect::Reply { line, .. } => Some(line),
            _ => None,
        });
        (took, reply)
    }

    fn shortest(&mut self, socket: Socket, line: &str) -> Duration {
        let runs = (0..RUNS).map(|_| self.takes(socket, line.as_bytes()).0);
        runs.min().expect("it ran")
    }

    /// Compares both sizes of a line.
    fn compare(&mut self, socket: Socket, what: &str, line: impl Fn(usize) -> String) {
        let large = line(SMALL * TIMES_AS_LARGE);
        let (first, reply) = self.takes(socket, large.as_bytes());
        if let Some(reply) = reply {
            short_message(what, &reply);
        }
        if first <= AT_ONCE {
            return;
        }
        let (small, large) = (self.shortest(socket, &line(SMALL)), self.shortest(socket, &large));
        assert!(
            large <= AT_ONCE || large < small * MOST_TIMES_AS_LONG,
            "{what}: {SMALL} bytes take {small:?}, {TIMES_AS_LARGE} times as many take {large:?}"
        );
    }
}

/// A message repeats little of the client's text.
fn short_message(what: &str, reply: &[u8]) {
    #[derive(Deserialize)]
    struct Reply {
        error: Option<Value>,
    }
    let reply: Reply = serde_json::from_slice(reply).expect("a reply");
    for part in reply.error.iter().flat_map(|error| [&error["message"], &error["field"]]) {
        let length = part.as_str().unwrap_or_default().chars().count();
        assert!(length < 600, "{what}: a text of the reply has {length} characters");
    }
}

fn moment(ms: i64) -> Moment {
    Moment { agent: AgentTime::from_millis(ms), wall: WallTime::from_millis(1_795_500_000_000 + ms) }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

fn compare_all(socket: Socket) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut agent = Loop::new(dir.path());
    for (what, line) in LINES {
        agent.compare(socket, what, line);
    }
    for request in REQUESTS {
        for field in fields_of(request) {
            for (what, value) in VALUES {
                agent.compare(socket, &format!("{what} as {field} of {request}"), |size| {
                    with(request, &field, &value(size))
                });
            }
        }
    }
}

#[test]
fn a_line_of_an_application_takes_time_in_proportion_to_its_length() {
    compare_all(Socket::App);
}

#[test]
fn a_line_of_an_administrator_takes_time_in_proportion_to_its_length() {
    compare_all(Socket::Admin);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut agent = Loop::new(dir.path());
    for field in fields_of(ROW) {
        for (what, value) in VALUES {
            let row = |size| with(ROW, &field, &value(size));
            agent.compare(Socket::Admin, &format!("{what} as {field} of a row of import"), |size| {
                with(r#"{"op":"import","row":{}}"#, "row", &row(size))
            });
            agent.compare(Socket::Admin, &format!("{what} as {field} of a row of replay"), |size| {
                with(r#"{"op":"replay","rows":[],"reason":"x"}"#, "rows", &format!("[{}]", row(size)))
            });
        }
    }
}

/// An operation that is added later must be covered as well.
#[test]
fn every_operation_is_fed() {
    let op = |request: &&str| -> String {
        let request: Value = serde_json::from_str(request).expect("a request");
        request["op"].as_str().expect("an operation").to_owned()
    };
    let fed: BTreeSet<String> = REQUESTS.iter().map(op).collect();
    let all: BTreeSet<String> = APP_OPS.iter().chain(ADMIN_OPS).map(|op| (*op).to_owned()).collect();
    assert_eq!(fed, all);
}

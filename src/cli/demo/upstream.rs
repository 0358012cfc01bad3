//! The demo's head office: a small HTTP server on this machine that can be unreachable, lose a response, and reject
//! requests. It records the requests so that the demo can check its story.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// One received request for a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// `Idempotency-Key`
    pub(super) key: String,
    /// `Resync-Entity-Type` and `Resync-Entity-Id`
    pub(super) entity: String,
    /// `Resync-Action`
    pub(super) action: String,
    /// The body.
    pub(super) body: String,
    /// The result.
    pub(super) end: End,
}

/// What the head office did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Accepted, with a response.
    Accepted,
    /// Accepted, but the response was lost.
    AnswerLost,
    /// Answered as a duplicate of a known key.
    KnownKey,
    /// Rejected with 422.
    Refused,
}

/// The head office's next behaviour.
#[derive(Debug, Default)]
struct Mood {
    /// Number of acceptances after which it becomes unreachable.
    closes_after: Option<usize>,
    /// The response for this entity is lost, once.
    loses_answer_of: Option<String>,
    /// Requests that contain this text are rejected.
    refuses: Option<String>,
    taken: BTreeSet<String>,
    seen: Vec<Seen>,
}

/// The running server and its record of requests.
#[derive(Debug)]
pub(super) struct FakeUpstream {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    open: Arc<AtomicBool>,
}

impl FakeUpstream {
    /// Reserves an address that does not answer yet.
    pub(super) fn away() -> io::Result<Self> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        Ok(Self { address, mood: Arc::default(), open: Arc::default() })
    }

    /// The URL of the server, valid before it is opened.
    #[must_use]
    pub(super) fn url(&self) -> String {
        format!("http://{}/sync", self.address)
    }

    /// Rejects requests that contain this text.
    pub(super) fn refuses(&self, text: &str) {
        self.mood().refuses = Some(text.to_owned());
    }

    /// Loses the response to the next request about this entity.
    pub(super) fn loses_answer_of(&self, entity: &str) {
        self.mood().loses_answer_of = Some(entity.to_owned());
    }

    /// Accepts connections; with a number, until it has accepted that many more requests.
    pub(super) fn open(&self, closes_after: Option<usize>) -> io::Result<()> {
        self.mood().closes_after = closes_after;
        let listener = TcpListener::bind(self.address)?;
        self.open.store(true, Ordering::SeqCst);
        let (mood, open) = (Arc::clone(&self.mood), Arc::clone(&self.open));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if !open.load(Ordering::SeqCst) {
                    return;
                }
                let (mood, open) = (Arc::clone(&mood), Arc::clone(&open));
                let Ok(stream) = stream else { continue };
                thread::spawn(move || talk(&stream, &mood, &open));
            }
        });
        Ok(())
    }

    /// Returns whether it is unreachable again.
    #[must_use]
    pub(super) fn is_away(&self) -> bool {
        !self.open.load(Ordering::SeqCst)
    }

    /// The requests received so far.
    #[must_use]
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.mood().seen.clone()
    }

    fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of a request that the server uses.
struct Request {
    method: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// Serves one connection, until it ends or the head office becomes unreachable.
fn talk(stream: &TcpStream, mood: &Mutex<Mood>, open: &AtomicBool) {
    let mut reading = BufReader::new(stream);
    while let Ok(Some(request)) = read(&mut reading) {
        if !open.load(Ordering::SeqCst) {
            return;
        }
        let answer = if request.method == "HEAD" {
            Some("200 OK\r\nContent-Length: 0\r\n\r\n".to_owned())
        } else {
            judge(&request, &mut mood.lock().unwrap_or_else(PoisonError::into_inner), open, stream)
        };
        let Some(answer) = answer else { return };
        let mut writing = stream;
        if writing.write_all(format!("HTTP/1.1 {answer}").as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reading: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reading.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reading.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let mut request = Request { method, headers, body: String::new() };
    let length = request.header("Content-Length").parse().unwrap_or(0);
    reading.take(length).read_to_string(&mut request.body)?;
    Ok(Some(request))
}

/// The response to a request; `None`: the connection is closed.
fn judge(request: &Request, mood: &mut Mood, open: &AtomicBool, stream: &TcpStream) -> Option<String> {
    let entity = format!("{} {}", request.header("Resync-Entity-Type"), request.header("Resync-Entity-Id"));
    let key = request.header("Idempotency-Key");
    let (end, answer) = if mood.refuses.as_ref().is_some_and(|text| request.body.contains(text)) {
        let body = r#"{"message":"unknown SKU 4711"}"#;
        let head = "422 Unprocessable Content\r\nContent-Type: application/json";
        (End::Refused, Some(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())))
    } else {
        let taken = || Some("201 Created\r\nContent-Length: 0\r\n\r\n".to_owned());
        match (mood.taken.insert(key.clone()), mood.loses_answer_of.take_if(|lost| *lost == entity)) {
            (true, Some(_)) => (End::AnswerLost, None),
            (true, None) => (End::Accepted, taken()),
            (false, _) => (End::KnownKey, taken()),
        }
    };
    mood.seen.push(Seen { key, entity, action: request.header("Resync-Action"), body: request.body.clone(), end });
    if let Some(left) = mood.closes_after.as_mut().filter(|_| end == End::Accepted) {
        *left = left.saturating_sub(1);
        if *left == 0 {
            mood.closes_after = None;
            open.store(false, Ordering::SeqCst);
            // Wakes the accepting thread, so that it closes its socket.
            if let Ok(local) = stream.local_addr() {
                drop(TcpStream::connect_timeout(&local, Duration::from_secs(1)));
            }
        }
    }
    answer
}

//! An upstream: a small HTTP/1.1 server that computes every response by a closure, keeps every
//! request in order, and can stop and restart on the same port.

use super::{PATIENCE, wait_for};
use rustix::net::shutdown;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// When it had been read.
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// 1 for the first delivery, and so on; probes are counted separately.
    pub(crate) nth: usize,
}

impl Request {
    /// A header's value; the case of the name does not matter.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `Idempotency-Key`
    #[track_caller]
    pub(crate) fn key(&self) -> &str {
        self.header("Idempotency-Key").expect("every delivery has a key")
    }

    /// `Resync-Id`
    #[track_caller]
    pub(crate) fn id(&self) -> &str {
        self.header("Resync-Id").expect("every delivery has an id")
    }

    /// `Resync-Entity-Id`
    #[track_caller]
    pub(crate) fn entity(&self) -> &str {
        self.header("Resync-Entity-Id").expect("every delivery has an entity")
    }

    /// `Resync-Attempt`
    #[track_caller]
    pub(crate) fn attempt(&self) -> u32 {
        self.header("Resync-Attempt").and_then(|text| text.parse().ok()).expect("every delivery has its number")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("bodies are UTF-8")
    }
}

/// The upstream's treatment of a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A response.
    Reply { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The request was read, the connection is closed.
    Lost,
    /// The request was read, and nothing is sent.
    Silence,
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// A beginning, and then the same text repeatedly for as long as the other side reads, each
    /// time after a pause.
    Endless { start: &'static str, again: String, pause: Duration },
}

impl Answer {
    /// This status, with a JSON body.
    pub(crate) fn status(status: u16) -> Self {
        Self::json(status, "{}")
    }

    pub(crate) fn json(status: u16, body: &str) -> Self {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Self::Reply { status, headers, body: body.to_owned() }
    }

    pub(crate) fn html(status: u16) -> Self {
        let headers = vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
        Self::Reply { status, headers, body: "<html><body>Please accept our terms</body></html>".to_owned() }
    }

    /// With one more header.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Decide = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// The server, which stops when the value is dropped.
pub(crate) struct Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<Accepting>,
}

/// The thread that waits for connections, and its socket.
struct Accepting {
    listener: TcpListener,
    thread: JoinHandle<()>,
}

struct Shared {
    on_delivery: Mutex<Decide>,
    on_probe: Mutex<Decide>,
    requests: Mutex<Vec<Request>>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Upstream {
    /// A server whose deliveries are answered by the closure, and whose probes get 200.
    pub(crate) fn start(decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::behind(free_port(), decide)
    }

    /// As `start`, on this listener.
    pub(crate) fn behind(listener: TcpListener, decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            on_delivery: Mutex::new(Arc::new(decide)),
            on_probe: Mutex::new(Arc::new(|_: &Request| Answer::status(200))),
            requests: Mutex::default(),
            streams: Mutex::default(),
        });
        let mut upstream = Self { shared, address, accepting: None };
        upstream.listen(listener);
        upstream
    }

    /// A server that accepts everything.
    pub(crate) fn willing() -> Self {
        Self::start(|_| Answer::status(200))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/sync", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers deliveries by another closure from now on.
    pub(crate) fn on_delivery(&self, decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        *self.shared.on_delivery.lock().expect("no holder panics") = Arc::new(decide);
    }

    /// Answers probes by another closure from now on.
    pub(crate) fn on_probe(&self, decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        *self.shared.on_probe.lock().expect("no holder panics") = Arc::new(decide);
    }

    /// All requests so far, including probes, in the order of their arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("no holder panics").clone()
    }

    /// The deliveries so far.
    pub(crate) fn deliveries(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| !is_probe(request)).collect()
    }

    /// The deliveries of one entity so far.
    pub(crate) fn deliveries_of(&self, entity: &str) -> Vec<Request> {
        self.deliveries().into_iter().filter(|request| request.entity() == entity).collect()
    }

    /// Waits for `count` deliveries, and returns them.
    #[track_caller]
    pub(crate) fn wait_deliveries(&self, count: usize) -> Vec<Request> {
        wait_for(&format!("{count} deliveries"), || Some(self.deliveries()).filter(|found| found.len() >= count))
    }

    /// Stops: connections are refused, open ones are closed.
    pub(crate) fn down(&mut self) {
        let Some(Accepting { listener, thread }) = self.accepting.take() else { return };
        // Wakes the thread that waits for a connection, even if this thread cannot connect to it.
        shutdown(&listener, rustix::net::Shutdown::Both).expect("a listening socket can be shut down");
        thread.join().expect("the accepting thread does not panic");
        drop(listener);
        for stream in self.shared.streams.lock().expect("no holder panics").drain(..) {
            // The other side closed most of them long ago.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Restarts on the same port.
    pub(crate) fn up(&mut self) {
        assert!(self.accepting.is_none(), "it is up");
        let address = self.address;
        let listener = wait_for("the upstream's port being free again", || TcpListener::bind(address).ok());
        self.listen(listener);
    }

    fn listen(&mut self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let accepts = listener.try_clone().expect("a descriptor");
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = accepts.accept() {
                let kept = stream.try_clone().expect("a descriptor");
                shared.streams.lock().expect("no holder panics").push(kept);
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(&stream));
            }
        });
        self.accepting = Some(Accepting { listener, thread });
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.down();
    }
}

/// A port outside the range from which the system assigns ports, so that no other process gets it
/// while the upstream is down.
fn free_port() -> TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 180).expect("under 180") * 100;
    for _ in 0..20_000 {
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener;
        }
    }
    panic!("no port is free");
}

fn is_probe(request: &Request) -> bool {
    request.method == "HEAD"
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        stream.set_read_timeout(Some(PATIENCE * 2)).expect("a time-out is set");
        let mut reader = BufReader::new(stream);
        while let Some(mut request) = read_request(&mut reader) {
            let probe = is_probe(&request);
            {
                let mut requests = self.requests.lock().expect("no holder panics");
                request.nth = requests.iter().filter(|earlier| is_probe(earlier) == probe).count() + 1;
                request.at = Instant::now();
                requests.push(request.clone());
            }
            let decide = if probe { &self.on_probe } else { &self.on_delivery };
            let decide = Arc::clone(&decide.lock().expect("no holder panics"));
            match decide(&request) {
                Answer::Reply { status, headers, body } => {
                    let body = if probe { String::new() } else { body };
                    if !reply(stream, status, &headers, &body) {
                        return;
                    }
                }
                Answer::Lost => {
                    // The other side may have closed it first.
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Answer::Silence => {
                    // Until the other side closes the connection.
                    let _ = reader.read(&mut [0; 1]);
                    return;
                }
                Answer::Raw(bytes) => {
                    // The other side may close the connection before the end.
                    let _ = reader.get_mut().write_all(&bytes);
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Answer::Endless { start, again, pause } => {
                    drip(stream, start, &again, pause);
                    return;
                }
            }
        }
    }
}

/// Sends for as long as the other side reads, or patience lasts.
fn drip(mut stream: &TcpStream, start: &str, again: &str, pause: Duration) {
    let begun = Instant::now();
    // Waiting for the other side's end is the pause between two pieces.
    stream.set_read_timeout(Some(pause.max(Duration::from_micros(1)))).expect("a time-out is set");
    let mut on = stream.write_all(start.as_bytes()).is_ok();
    while on && begun.elapsed() < PATIENCE {
        on = stream.write_all(again.as_bytes()).is_ok() && stream.read(&mut [0; 1]).is_err();
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn reply(mut stream: &TcpStream, status: u16, headers: &[(&'static str, String)], body: &str) -> bool {
    let mut text = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    stream.write_all(text.as_bytes()).is_ok()
}

/// `None` at the end of the connection.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    let mut next = |reader: &mut BufReader<&TcpStream>| {
        line.clear();
        let count = reader.read_line(&mut line).ok()?;
        (count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    };
    let first = next(reader)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = next(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { at: Instant::now(), method, path, headers, body: Vec::new(), nth: 0 };
    let length = request.header("Content-Length").and_then(|text| text.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

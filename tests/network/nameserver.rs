//! A name server that knows one name, and can stop responding.

use crate::line::{FAR, Line, NEAR};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The name that it knows.
pub(crate) const NAME: &str = "office.test";

/// It listens on the office's end of the cable, and stops when dropped.
#[derive(Debug)]
pub(crate) struct Nameserver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    speaks: AtomicBool,
    asked: AtomicUsize,
    stopped: AtomicBool,
}

impl Nameserver {
    /// Receives the queries of programs started at the till, and does not respond.
    pub(crate) fn silent(line: &Line) -> Self {
        line.till.configure("resolv.conf", &format!("nameserver {NEAR}\noptions timeout:2 attempts:2\n"));
        line.till.configure("nsswitch.conf", "hosts: files dns\n");
        let socket = line.office.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53))).expect("the office's port 53");
        // How soon it notices that it should stop.
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out is set");
        let shared = Arc::new(Shared::default());
        let serves = Arc::clone(&shared);
        Self { shared, thread: Some(thread::spawn(move || serves.serve(&socket))) }
    }

    /// Starts or stops responding to queries.
    pub(crate) fn speaks(&self, speaks: bool) {
        self.shared.speaks.store(speaks, Ordering::SeqCst);
    }

    /// Number of queries received.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let ended = self.thread.take().expect("it stops once").join();
        assert!(ended.is_ok() || thread::panicking(), "the name server's thread panicked");
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut question = [0; 512];
        while !self.stopped.load(Ordering::SeqCst) {
            let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.speaks.load(Ordering::SeqCst)
                && let Some(answer) = answer(&question[..length])
            {
                // The client may have closed its socket.
                let _ = socket.send_to(&answer, from);
            }
        }
    }
}

/// RFC 1035: repeats the question, and adds an address when it asked for one (type 1) of the name.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let labels: Vec<u8> =
        NAME.split('.').flat_map(|label| [&[label_length(label)], label.as_bytes()].concat()).collect();
    let name = [&labels[..], &[0]].concat();
    let asked = question.get(HEADER..HEADER + name.len() + 4)?;
    let (known, kind) = (asked.starts_with(&name), &asked[name.len()..name.len() + 2]);
    let address: Ipv4Addr = FAR.parse().expect("an address");
    let found = known && kind == [0, 1];
    let (code, count) = (if known { 0 } else { 3 }, u8::from(found));
    let mut answer = [&question[..2], &[0x85, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0], asked].concat();
    if found {
        // The name as in the question, type A, class IN, 60 s, 4 bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

fn label_length(label: &str) -> u8 {
    u8::try_from(label.len()).expect("a label is short")
}

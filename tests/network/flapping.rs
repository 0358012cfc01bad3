//! A flapping line that loses packets: the agent with the shipped policy beside a plain sender with
//! as many connections, on the same line in the same run.

use crate::line::{FAR, Line, Place, ROUTE, figure};
use crate::sales::{Sales, assert_untouched};
use crate::support::{Agent, Answer};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The faults of the line.
#[derive(Clone, Copy, Debug)]
struct Weather {
    up_s: u64,
    down_s: u64,
    /// Percentage of packets lost, each way.
    loss: u32,
}

const CONNECTIONS: usize = 4;

/// A plain sender: each of its connections retries a failed request after a second.
struct Plain {
    delivered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Plain {
    fn start(place: &Place) -> Self {
        let plain = Self { delivered: Arc::default(), stop: Arc::default() };
        place.inside(|| {
            for _ in 0..CONNECTIONS {
                let (delivered, stop) = (Arc::clone(&plain.delivered), Arc::clone(&plain.stop));
                // A thread stays in the namespace where it was started.
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if post().is_some() {
                            delivered.fetch_add(1, Ordering::Relaxed);
                        } else {
                            thread::sleep(Duration::from_secs(1));
                        }
                    }
                });
            }
        });
        plain
    }

    fn end(&self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.delivered.load(Ordering::Relaxed)
    }
}

/// Sends one request with the time-outs of the shipped configuration. Returns `Some` if it was accepted.
fn post() -> Option<()> {
    let office = SocketAddr::new(FAR.parse().ok()?, 8080);
    let mut stream = TcpStream::connect_timeout(&office, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.set_nodelay(true).ok()?;
    let request = "POST /plain HTTP/1.1\r\nHost: office\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream.write_all(request.as_bytes()).ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    start.ends_with(b"200").then_some(())
}

/// Runs both for this time. Returns how many each has delivered.
fn race(weather: Weather, lasts: Duration) -> Option<(usize, usize)> {
    let line = Line::lay()?;
    let _upstream = line.upstream(|_| {
        thread::sleep(Duration::from_millis(50));
        Answer::status(200)
    });
    let agent = Agent::start(&line.plan(FAR, "insecure = true"));
    agent.wait_upstream("online");
    let count = usize::try_from(lasts.as_secs()).expect("a number") * 100;
    let _sales = Sales::record_now(&agent, count, count);
    let before = agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class = 'delivered'");
    if weather.loss > 0 {
        let loss = format!("numgen random mod 100 < {} drop", weather.loss);
        line.till.filter(&loss, &loss);
    }
    let (plain, begun) = (Plain::start(&line.till), Instant::now());
    while begun.elapsed() < lasts {
        thread::sleep(Duration::from_secs(weather.up_s));
        if weather.down_s > 0 {
            line.till.ip("link set line down");
            thread::sleep(Duration::from_secs(weather.down_s));
            line.till.ip("link set line up");
            line.till.ip(ROUTE);
        }
    }
    let plainly = plain.end();
    let delivered = agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE class = 'delivered'");
    assert_untouched(&agent);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_attempts WHERE counted <> 0"), json!(0), "the line cost a retry");
    let number = |value: &serde_json::Value| usize::try_from(value.as_u64().expect("a count")).expect("a number");
    let shipped = number(&delivered) - number(&before);
    figure(&format!("{weather:?}: {shipped} delivered, by the plain sender {plainly}, in"), begun.elapsed());
    Some((shipped, plainly))
}

/// The short form: where packets are lost the difference is large.
#[test]
fn a_flapping_lossy_line_delivers_as_much_as_a_plain_sender() {
    let weather = Weather { up_s: 3, down_s: 3, loss: 10 };
    let Some((shipped, plainly)) = race(weather, Duration::from_secs(18)) else { return };
    assert!(shipped >= plainly, "{shipped}, and {plainly} by the plain sender");
}

/// The long form: `FLAPPING=300 cargo test --test network -- --ignored --nocapture a_plain_sender`, in seconds.
#[test]
#[ignore = "minutes; its command is here"]
fn a_lossy_line_delivers_as_much_as_a_plain_sender() {
    let lasts = Duration::from_secs(std::env::var("FLAPPING").map_or(300, |text| text.parse().expect("seconds")));
    let cases = [(3, 3, 0), (3, 3, 10), (3, 3, 30), (3, 0, 30), (3, 27, 0)];
    let raced: Vec<_> = cases
        .into_iter()
        .filter_map(|(up_s, down_s, loss)| {
            let weather = Weather { up_s, down_s, loss };
            race(weather, lasts).map(|(shipped, plainly)| (weather, shipped, plainly))
        })
        .collect();
    // Without packet loss, both send whenever the connection is up; the agent probes first.
    let less: Vec<_> = raced.iter().filter(|(_, shipped, plainly)| *shipped < *plainly * 19 / 20).collect();
    assert!(less.is_empty(), "fewer than the plain sender: {less:?}");
}

//! How fast a backlog is delivered, and the cost of one failure: recorded while its upstream was
//! paused, delivered to a local nginx after the resume.

use crate::load::{Load, Until, drive};
use crate::machine::{self, Watch};
use crate::nginx::Nginx;
use crate::protocol::{Body, Kind, Requests};
use crate::report::{Against, Goal, Row};
use crate::rounds::{Bench, Spoiled};
use crate::server::{Server, Start, upstream};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A backlog that takes longer than this will never be delivered.
const PATIENCE: Duration = Duration::from_secs(900);

/// A backlog: its size, the load that records it, and the concurrency that sends it.
#[derive(Clone, Copy)]
struct Backlog {
    records: u64,
    load: Load,
    senders: usize,
}

/// The figures of a delivered backlog.
struct Drained {
    rate: f64,
    /// Seconds of CPU while it was delivered.
    cpu: f64,
    /// Bytes written while it was recorded, and while it was delivered.
    written: [u64; 2],
    /// Requests per second of as many clients that do nothing else.
    bare: f64,
}

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Row>, String> {
    let size = |records: u64| if bench.quick { records / 100 } else { records };
    let at_a_time = |in_flight| Load { clients: 1, in_flight };
    let drains = [1, 4].map(|senders| Backlog { records: size(20_000), load: at_a_time(100), senders });
    let one = Backlog { records: size(5_000), load: at_a_time(1), senders: 1 };
    let many = Backlog { records: size(64_000), load: at_a_time(64), senders: 64 };
    let mut rows = Vec::new();
    for (backlog, goal) in drains.into_iter().zip([22_500.0, 30_600.0]) {
        let senders = format!("{} sender{}", backlog.senders, if backlog.senders == 1 { "" } else { "s" });
        let what = format!("delivered a second, {senders}");
        let (found, spoiled) = measure(bench, &what, backlog)?;
        let key = format!("drain.{}", backlog.senders);
        let row = Row::new(&key, what, "/s").of_agent(found.iter().map(|it| it.rate).collect());
        let row = row.goal(Goal::AtLeast(Against::Figure(goal))).spoiled(spoiled.as_ref().map(ToString::to_string));
        Bench::show(&row);
        rows.push(row);
        let bare = found.iter().map(|it| it.rate / it.bare).collect();
        let title = format!("delivered by {senders}, × bare clients");
        let row = Row::new(format!("bare.{key}"), title, "").of_agent(bare);
        rows.push(row.spoiled(spoiled.as_ref().map(ToString::to_string)));
        let cpu = found.iter().map(|it| it.cpu * 1e6 / backlog.records as f64).collect();
        let row = Row::new(format!("cpu.{key}"), format!("CPU a delivery, {senders}"), "µs").of_agent(cpu);
        rows.push(row.spoiled(spoiled.map(|it| it.to_string())));
    }
    for (backlog, name, most) in [(one, "1", 25.0), (many, "64", 9.0)] {
        let what = format!("written for a failure recorded and delivered, {name} at a time");
        let (found, _) = measure(bench, &what, backlog)?;
        let each = |bytes: &dyn Fn(&Drained) -> u64| -> Vec<f64> {
            found.iter().map(|it| bytes(it) as f64 / 1000.0 / backlog.records as f64).collect()
        };
        // The bytes do not depend on how busy the machine is.
        let quick = bench.quick.then(|| "a quick run".to_owned());
        let both = Row::new(format!("bytes.{name}"), what, "KB").of_agent(each(&|it| it.written[0] + it.written[1]));
        let both = both.goal(Goal::AtMost(Against::Figure(most))).spoiled(quick.clone());
        Bench::show(&both);
        rows.push(both);
        let recorded = Row::new(format!("bytes.recorded.{name}"), format!("of it recording, {name} at a time"), "KB");
        rows.push(recorded.of_agent(each(&|it| it.written[0])).spoiled(quick));
    }
    Ok(rows)
}

fn measure(bench: &mut Bench, what: &str, backlog: Backlog) -> Result<(Vec<Drained>, Option<Spoiled>), String> {
    let rounds = if bench.quick { 1 } else { 3 };
    bench.undisturbed(what, rounds, |bench| drain(bench, backlog))
}

fn drain(bench: &mut Bench, backlog: Backlog) -> Result<(Drained, f64), String> {
    let nginx = Nginx::start(&bench.dir.join("nginx"))?;
    let dir = bench.fresh(Kind::Agent);
    let start = Start { config: upstream(&nginx.url(), backlog.senders), ..Start::default() };
    let server = Server::start(&bench.programs, Kind::Agent, &dir, &start)?;
    let admin = dir.join("admin");
    let written = || machine::written(server.pid());
    ask(&admin, r#"{"op":"pause"}"#)?;
    let requests = Requests::new(Kind::Agent, Body::Now);
    let (before, mut number) = (written(), 0);
    drive(&server.socket, &requests, backlog.load, Until::Records(backlog.records), &mut number)?;
    let recorded = written();
    let ours = [server.pid(), nginx.pid()];
    let (watch, cpu) = (Watch::begin(&ours), machine::cpu(server.pid()));
    let (asked_before, begun) = (nginx.requests()?, Instant::now());
    ask(&admin, r#"{"op":"resume"}"#)?;
    let mut questions = 0;
    loop {
        sleep(Duration::from_millis(10));
        questions += 1;
        if nginx.requests()? - asked_before - questions >= backlog.records {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err("the backlog does not leave".to_owned());
        }
    }
    let took = begun.elapsed();
    let others = watch.cores_of_others(&ours);
    let cpu = machine::cpu(server.pid()).saturating_sub(cpu).as_secs_f64();
    // The last outcomes are still being written.
    while !ask(&admin, r#"{"op":"unsent"}"#)?.contains(r#""unsent":0,"#) {
        if begun.elapsed() > PATIENCE {
            return Err("outcomes are missing".to_owned());
        }
        sleep(Duration::from_millis(5));
    }
    let drained = Drained {
        rate: backlog.records as f64 / took.as_secs_f64(),
        cpu,
        written: [recorded - before, written() - recorded],
        bare: nginx.rate_of_bare_clients(backlog.senders, backlog.records.min(20_000))?,
    };
    server.stop()?;
    Ok((drained, others))
}

/// One request, and its reply.
fn ask(socket: &Path, line: &str) -> Result<String, String> {
    let fails = |error: std::io::Error| format!("asking {line}: {error}");
    let mut stream = UnixStream::connect(socket).map_err(fails)?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(fails)?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).map_err(fails)?;
    if reply.starts_with(r#"{"ok":true"#) { Ok(reply) } else { Err(format!("{line} was answered {reply}")) }
}

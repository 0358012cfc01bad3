//! The cost of large amounts: memory and the first reply with a million records, inserting with
//! three millions; and the cost of a thousand idle connections.

use crate::load::{Load, Until, drive};
use crate::machine::{self, Memory, Watch};
use crate::protocol::{Body, Kind, Requests};
use crate::report::{Against, Goal, Row};
use crate::rounds::{Bench, Spoiled};
use crate::server::{Server, Start};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// How the databases are filled.
const FILL: Load = Load { clients: 8, in_flight: 50 };
const SIXTY_FOUR: Load = Load { clients: 1, in_flight: 64 };

/// A server with a number of records.
struct Stored {
    /// At the end of its filling.
    memory: Memory,
    /// After a start with all records.
    after_start: Memory,
    /// One per start, in milliseconds.
    first_answers: Vec<f64>,
    /// Concerns the starts only: memory is the same on a busy machine.
    spoiled: Option<Spoiled>,
}

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Row>, String> {
    let million = if bench.quick { 2_000 } else { 1_000_000 };
    let mut of_each: Vec<[Stored; 2]> = Vec::new();
    for kind in Kind::ALL {
        Bench::say(&format!("{}, empty and with {million} records", kind.name()));
        of_each.push([stored(bench, kind, 0)?, stored(bench, kind, million)?]);
    }
    let quick = bench.quick.then(|| "a quick run".to_owned());
    let row = |key: &str, title: &str, unit, of: &dyn Fn(&[Stored; 2]) -> Vec<f64>| {
        let mut row = Row::new(key, title, unit).spoiled(quick.clone());
        for (figures, server) in row.figures.iter_mut().zip(&of_each) {
            *figures = of(server);
        }
        row
    };
    let megabytes = |bytes: u64| vec![bytes as f64 / 1e6];
    let most = |figure| Goal::AtMost(Against::Figure(figure));
    let mut rows = vec![
        row("memory.0", "memory, idle", "MB", &|it| megabytes(it[0].after_start.resident)).goal(most(7.0)),
        row("memory.1m", "memory, 1 M stored", "MB", &|it| megabytes(it[1].memory.resident)).goal(most(16.0)),
        row("anonymous.1m", "of it in no file", "MB", &|it| megabytes(it[1].memory.anonymous)),
        row("memory.1m.start", "memory after a start with 1 M", "MB", &|it| megabytes(it[1].after_start.resident)),
        row("first.0", "first answer, empty", "ms", &|it| it[0].first_answers.clone()).goal(most(10.0)),
        row("first.1m", "first answer, 1 M stored", "ms", &|it| it[1].first_answers.clone()).goal(most(30.0)),
    ];
    for row in rows.iter_mut().filter(|row| row.key.starts_with("first.")) {
        let size = usize::from(row.key == "first.1m");
        row.spoiled = of_each.iter().find_map(|server| server[size].spoiled.as_ref()).map(ToString::to_string);
    }
    rows.iter().for_each(Bench::show);
    rows.push(inserting(bench)?);
    rows.push(idle_clients(bench)?);
    Ok(rows)
}

/// Fills a server, and starts it again with the data.
fn stored(bench: &mut Bench, kind: Kind, records: u64) -> Result<Stored, String> {
    let dir = bench.fresh(kind);
    // A peer's durability during the filling does not affect what it stores.
    let filling = Start { synced: false, ..Start::default() };
    let server = Server::start(&bench.programs, kind, &dir, &filling)?;
    drive(&server.socket, &Requests::new(kind, Body::OwnEntity), FILL, Until::Records(records), &mut 0)?;
    let memory = machine::memory(server.pid());
    server.stop()?;
    let what = format!("starting {} with {records} records", kind.name());
    let (starts, spoiled) = bench.undisturbed(&what, bench.rounds(), |bench| {
        let dir = if records == 0 { bench.fresh(kind) } else { dir.clone() };
        let watch = Watch::begin(&[]);
        let server = Server::start(&bench.programs, kind, &dir, &Start::default())?;
        sleep(Duration::from_millis(500));
        let others = watch.cores_of_others(&[server.pid()]);
        let start = (server.first_answer.as_secs_f64() * 1000.0, machine::memory(server.pid()));
        server.stop()?;
        Ok((start, others))
    })?;
    let first_answers = starts.iter().map(|(answer, _)| *answer).collect();
    let after_start = starts.first().map_or(memory, |(_, memory)| *memory);
    Ok(Stored { memory, after_start, first_answers, spoiled })
}

/// 64 at a time, with three millions and with ten thousand stored, in turns.
fn inserting(bench: &mut Bench) -> Result<Row, String> {
    let (many, few, part) = if bench.quick { (4_000, 200, 640) } else { (3_000_000, 10_000, 64_000) };
    let what = "inserting 64 at a time with 3 M stored, × with 10 k";
    Bench::say(&format!("filling with {many}"));
    let dir = bench.fresh(Kind::Agent);
    let requests = Requests::new(Kind::Agent, Body::OwnEntity);
    let full = Server::start(&bench.programs, Kind::Agent, &dir, &Start::default())?;
    let mut number = 0;
    drive(&full.socket, &requests, FILL, Until::Records(many), &mut number)?;
    let (ratios, spoiled) = bench.undisturbed(what, bench.rounds(), |bench| {
        let other = bench.dir.join("few");
        // It may not exist.
        let _ = std::fs::remove_dir_all(&other);
        let small = Server::start(&bench.programs, Kind::Agent, &other, &Start::default())?;
        drive(&small.socket, &requests, FILL, Until::Records(few), &mut 0)?;
        let watch = Watch::begin(&[small.pid(), full.pid()]);
        let mut after = few;
        let rate = |socket: &Path, number: &mut u64| {
            drive(socket, &requests, SIXTY_FOUR, Until::Records(part), number).map(|driven| driven.rate())
        };
        let ratio = rate(&full.socket, &mut number)? / rate(&small.socket, &mut after)?;
        let others = watch.cores_of_others(&[small.pid(), full.pid()]);
        small.stop()?;
        Ok((ratio, others))
    })?;
    full.stop()?;
    let row = Row::new("insert.3m", what, "").of_agent(ratios).goal(Goal::AtLeast(Against::Figure(0.85)));
    let row = row.spoiled(spoiled.map(|it| it.to_string()));
    Bench::show(&row);
    Ok(row)
}

/// Eight clients alone, and beside a thousand idle ones, in turns on one agent.
fn idle_clients(bench: &mut Bench) -> Result<Row, String> {
    let what = "8 clients beside 1,000 idle ones, × alone";
    let dir = bench.fresh(Kind::Agent);
    let server = Server::start(&bench.programs, Kind::Agent, &dir, &Start::default())?;
    let requests = Requests::new(Kind::Agent, Body::OwnEntity);
    let eight = Load { clients: 8, in_flight: 1 };
    let mut number = 0;
    drive(&server.socket, &requests, eight, Until::Elapsed(bench.warm_up()), &mut number)?;
    let (ratios, spoiled) = bench.undisturbed(what, bench.rounds(), |bench| {
        let watch = Watch::begin(&[server.pid()]);
        let mut sent = |until| drive(&server.socket, &requests, eight, until, &mut number);
        let alone = sent(Until::Elapsed(bench.span()))?.rate();
        let connect = |_| UnixStream::connect(&server.socket).map_err(|error| format!("an idle client: {error}"));
        let idle: Vec<UnixStream> = (0..1000).map(connect).collect::<Result<_, _>>()?;
        // A reply proves that all clients before it are connected: the measurement covers their presence, not
        // their arrival.
        sent(Until::Records(8))?;
        let beside = sent(Until::Elapsed(bench.span()))?.rate();
        let others = watch.cores_of_others(&[server.pid()]);
        drop(idle);
        Ok((beside / alone, others))
    })?;
    server.stop()?;
    let row = Row::new("idle_clients", what, "").of_agent(ratios).goal(Goal::AtLeast(Against::Figure(0.95)));
    let row = row.spoiled(spoiled.map(|it| it.to_string()));
    Bench::show(&row);
    Ok(row)
}

//! Acknowledged records per second and their latency, beside the peers; the CPU time and the bytes
//! written for each.

use crate::load::{Driven, Load, Until, drive};
use crate::machine::{self, Watch};
use crate::postgres::Cluster;
use crate::protocol::{Body, Kind, Requests};
use crate::report::{Against, Goal, NAMES, POSTGRES, Row};
use crate::rounds::{Bench, Spoiled};
use crate::server::{Server, Start};
use std::time::Duration;

/// What one server did in one round.
pub(crate) struct Turn {
    pub(crate) driven: Driven,
    pub(crate) cpu: Duration,
    pub(crate) written: u64,
}

/// A cell: its load and its goals.
struct Cell {
    key: &'static str,
    title: &'static str,
    load: Load,
    goals: Vec<Goal>,
}

fn cells() -> Vec<Cell> {
    let load = |clients, in_flight| Load { clients, in_flight };
    let redis = |times| Goal::AtLeast(Against::Redis(times));
    let beanstalkd = |times| Goal::AtLeast(Against::Beanstalkd(times));
    let postgres = |times| Goal::AtLeast(Against::Postgres(times));
    vec![
        Cell { key: "1", title: "1 client", load: load(1, 1), goals: vec![redis(0.95), postgres(1.1)] },
        Cell {
            key: "8",
            title: "8 clients",
            load: load(8, 1),
            goals: vec![redis(1.0), beanstalkd(2.5), postgres(1.5)],
        },
        Cell {
            key: "64",
            title: "64 clients",
            load: load(64, 1),
            goals: vec![redis(0.9), beanstalkd(6.0), postgres(2.5)],
        },
        Cell { key: "1x100", title: "1 × 100 in flight", load: load(1, 100), goals: vec![redis(1.1)] },
        Cell { key: "8x50", title: "8 × 50 in flight", load: load(8, 50), goals: vec![redis(0.65)] },
    ]
}

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Row>, String> {
    let cluster = Cluster::make(&bench.programs.postgres, &bench.dir.join("postgres"))?;
    let mut rows = Vec::new();
    for cell in cells() {
        let what = format!("acknowledgements, {}", cell.title);
        // pgbench keeps one request of each client in flight.
        let servers = if cell.load.in_flight == 1 { NAMES.len() } else { Kind::ALL.len() };
        let (rounds, spoiled) = bench.in_turns(&what, servers, |bench, server| match Kind::ALL.get(server) {
            Some(kind) => turn(bench, *kind, cell.load),
            None => cluster.turn(cell.load.clients, bench.warm_up(), bench.span()),
        })?;
        let found = rows_of(&cell, &rounds, spoiled.as_ref());
        Bench::show(&found[0]);
        rows.extend(found);
    }
    rows.sort_by_key(|row| !row.key.starts_with("acks"));
    Ok(rows)
}

/// Starts an empty server, so that no cell measures the data of another.
fn turn(bench: &mut Bench, kind: Kind, load: Load) -> Result<(Turn, f64), String> {
    let dir = bench.fresh(kind);
    let server = Server::start(&bench.programs, kind, &dir, &Start::default())?;
    let requests = Requests::new(kind, Body::OwnEntity);
    let mut number = 0;
    drive(&server.socket, &requests, load, Until::Elapsed(bench.warm_up()), &mut number)?;
    let watch = Watch::begin(&[server.pid()]);
    let (cpu, written) = (machine::cpu(server.pid()), machine::written(server.pid()));
    let driven = drive(&server.socket, &requests, load, Until::Elapsed(bench.span()), &mut number)?;
    let others = watch.cores_of_others(&[server.pid()]);
    let turn = Turn {
        driven,
        cpu: machine::cpu(server.pid()).saturating_sub(cpu),
        written: machine::written(server.pid()) - written,
    };
    server.stop()?;
    Ok((turn, others))
}

fn rows_of(cell: &Cell, rounds: &[Vec<Turn>], spoiled: Option<&Spoiled>) -> Vec<Row> {
    let why = || spoiled.map(ToString::to_string);
    let row = |key: &str, title: &str, unit: &'static str, of: &dyn Fn(&Turn) -> f64| {
        let mut row = Row::new(format!("{key}.{}", cell.key), format!("{title}, {}", cell.title), unit).spoiled(why());
        for round in rounds {
            for (figures, turn) in row.figures.iter_mut().zip(round) {
                figures.push(of(turn));
            }
        }
        row
    };
    let time = |share: f64| move |turn: &Turn| turn.driven.latency.quantile(share).as_secs_f64() * 1000.0;
    let each = |turn: &Turn, all: f64| all / turn.driven.acked as f64;
    let mut acks = row("acks", "acknowledged a second", "/s", &|turn| turn.driven.rate());
    acks.goals.clone_from(&cell.goals);
    let mut p99 = row("p99", "p99", "ms", &time(0.99));
    if cell.key == "64" {
        p99.goals.push(Goal::AtMost(Against::Redis(2.5)));
    }
    let mut written = row("written", "written a record", "KB", &|turn| each(turn, turn.written as f64 / 1000.0));
    // Its checkpoint, minutes later, writes every page again, so that the figure of two seconds says little.
    written.figures[POSTGRES].clear();
    vec![
        acks,
        row("p50", "p50", "ms", &time(0.5)),
        p99,
        row("p999", "p99.9", "ms", &time(0.999)),
        row("cpu", "CPU a record", "µs", &|turn| each(turn, turn.cpu.as_secs_f64() * 1e6)),
        written,
    ]
}

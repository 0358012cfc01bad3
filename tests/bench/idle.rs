//! The cost of an idle agent: wake-ups, and the size of its binary.

use crate::machine;
use crate::protocol::Kind;
use crate::report::{Against, Goal, Row};
use crate::rounds::Bench;
use crate::server::{Server, Start};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// The first alerts, probes, disk checks, the integrity check and the first clean-up (after a
/// minute) are over by then.
const SETTLES: Duration = Duration::from_secs(65);

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Row>, String> {
    Bench::say("an idle agent");
    let dir = bench.fresh(Kind::Agent);
    // Without an upstream nothing is probed; only the agent's own work remains.
    let start = Start { config: String::new(), ..Start::default() };
    let server = Server::start(&bench.programs, Kind::Agent, &dir, &start)?;
    let (settles, watched) =
        if bench.quick { (Duration::from_secs(1), Duration::from_secs(2)) } else { (SETTLES, Duration::from_secs(60)) };
    sleep(settles);
    let before = machine::sleeps(server.pid());
    sleep(watched);
    // A thread that has ended meanwhile takes its count with it.
    let wake_ups = machine::sleeps(server.pid()).saturating_sub(before) as f64 * 60.0 / watched.as_secs_f64();
    server.stop()?;
    let size = fs::metadata(&bench.programs.agent).map_err(|error| error.to_string())?.len() as f64 / 1e6;
    let most = |figure| Goal::AtMost(Against::Figure(figure));
    let mut rows = vec![
        Row::new("wake_ups", "wake-ups a minute, idle", "").of_agent(vec![wake_ups]).goal(most(6.0)),
        Row::new("binary", "binary", "MB").of_agent(vec![size]).goal(most(5.5)),
    ];
    if let Some(packages) = bench.packages {
        rows.push(Row::new("packages", "packages", "").of_agent(vec![f64::from(packages)]).goal(most(130.0)));
    }
    Ok(rows)
}

//! Adds the results of `shapes` to the table. `shapes` measures the agent's store without a socket,
//! as a separate program because it is built together with the whole agent.

use crate::report::{Against, Goal, Row};
use crate::rounds::{Bench, TOLERATED};
use std::process::{Command, Stdio};

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Row>, String> {
    let Some(program) = &bench.programs.shapes else {
        Bench::say("claiming and delivering against the backlog: left out, BENCH_SHAPES says no program");
        return Ok(Vec::new());
    };
    Bench::say("claiming and delivering against the backlog");
    let sizes: &[&str] = if bench.quick { &["1000"] } else { &["10000", "100000", "1000000", "3000000"] };
    let output = Command::new(program).args(sizes).env("BENCH_DIR", &bench.dir).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("starting {}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", program.display(), output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Option<Vec<Row>> = text.lines().map(|line| row(line, bench.quick)).collect();
    let rows = rows.ok_or_else(|| format!("{} said {text}", program.display()))?;
    rows.iter().for_each(Bench::show);
    Ok(rows)
}

/// A line of its output: key, title, unit, figure, goal, cores used by others.
fn row(line: &str, quick: bool) -> Option<Row> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [key, title, _, figure, goal, others] = fields[..] else { return None };
    let others: f64 = others.parse().ok()?;
    let most: Option<f64> = if goal.is_empty() { None } else { Some(goal.strip_prefix("≤ ")?.parse().ok()?) };
    let disturbed = (others > TOLERATED).then(|| format!("others used {others:.2} cores"));
    let spoiled = if quick { Some("a quick run".to_owned()) } else { disturbed };
    let row = Row::new(key, title, "µs").of_agent(vec![figure.parse().ok()?]).spoiled(spoiled);
    Some(match most {
        Some(most) => row.goal(Goal::AtMost(Against::Figure(most))),
        None => row,
    })
}

//! The results as rows: each with its figures, its goals, and whether it may be quoted at all.
//! Formatted as a table for people and as JSON for programs.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// What a figure is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Against {
    /// redis in the same round, times this.
    Redis(f64),
    /// beanstalkd in the same round, times this.
    Beanstalkd(f64),
    /// PostgreSQL in the same round, times this.
    Postgres(f64),
    /// This figure.
    Figure(f64),
}

/// The required range of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    AtLeast(Against),
    AtMost(Against),
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its name for programs.
    pub(crate) key: String,
    /// Its name for people.
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// Figures of each server, one per round, in the order of `NAMES`; empty where there is none.
    pub(crate) figures: [Vec<f64>; NAMES.len()],
    pub(crate) goals: Vec<Goal>,
    /// Why it must not be quoted, if so.
    pub(crate) spoiled: Option<String>,
}

impl Row {
    pub(crate) fn new(key: impl Into<String>, title: impl Into<String>, unit: &'static str) -> Self {
        Self {
            key: key.into(),
            title: title.into(),
            unit,
            figures: Default::default(),
            goals: Vec::new(),
            spoiled: None,
        }
    }

    /// A row of the agent alone.
    pub(crate) fn of_agent(mut self, figures: Vec<f64>) -> Self {
        self.figures[0] = figures;
        self
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    pub(crate) fn spoiled(mut self, why: Option<String>) -> Self {
        self.spoiled = why;
        self
    }

    /// The median of a server's rounds.
    pub(crate) fn figure(&self, server: usize) -> Option<f64> {
        median(&self.figures[server])
    }

    /// The median over the rounds of the agent's figure divided by another server's.
    pub(crate) fn ratio(&self, server: usize) -> Option<f64> {
        let ratios: Vec<f64> =
            self.figures[0].iter().zip(&self.figures[server]).map(|(ours, theirs)| ours / theirs).collect();
        median(&ratios)
    }

    /// A goal as text, and whether it is reached.
    fn judged(&self, goal: Goal) -> (String, Option<bool>) {
        let (at_least, against) = match goal {
            Goal::AtLeast(against) => (true, against),
            Goal::AtMost(against) => (false, against),
        };
        let (found, bound, what) = match against {
            Against::Redis(times) => (self.ratio(1), times, " × redis"),
            Against::Beanstalkd(times) => (self.ratio(2), times, " × beanstalkd"),
            Against::Postgres(times) => (self.ratio(POSTGRES), times, " × PostgreSQL"),
            Against::Figure(figure) => (self.figure(0), figure, ""),
        };
        let sign = if at_least { "≥" } else { "≤" };
        let reached = found.map(|found| if at_least { found >= bound } else { found <= bound });
        (format!("{sign} {}{what}", plain(bound)), reached)
    }

    /// Whether all its goals are reached. `None` where it may not be quoted, or has none.
    pub(crate) fn reached(&self) -> Option<bool> {
        if self.spoiled.is_some() || self.goals.is_empty() {
            return None;
        }
        self.goals
            .iter()
            .map(|goal| self.judged(*goal).1)
            .collect::<Option<Vec<bool>>>()
            .map(|all| !all.contains(&false))
    }

    fn json(&self) -> Value {
        let servers: serde_json::Map<String, Value> = NAMES
            .iter()
            .zip(&self.figures)
            .filter(|(_, rounds)| !rounds.is_empty())
            .map(|(name, rounds)| ((*name).to_owned(), json!({"median": median(rounds), "rounds": rounds})))
            .collect();
        let goals: Vec<Value> = self
            .goals
            .iter()
            .map(|goal| {
                let (text, reached) = self.judged(*goal);
                json!({"goal": text, "reached": reached})
            })
            .collect();
        json!({
            "key": self.key, "title": self.title, "unit": self.unit, "servers": servers,
            "ratio_redis": self.ratio(1), "ratio_beanstalkd": self.ratio(2), "ratio_postgresql": self.ratio(POSTGRES),
            "goals": goals,
            "quoted": self.spoiled.is_none(), "spoiled": self.spoiled,
        })
    }
}

/// The servers, in the order of the table.
pub(crate) const NAMES: [&str; 4] = ["resyncd", "redis", "beanstalkd", "PostgreSQL"];
/// The place of PostgreSQL in it.
pub(crate) const POSTGRES: usize = 3;

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// A number with three significant digits.
pub(crate) fn plain(number: f64) -> String {
    let size = number.abs();
    match size {
        _ if size >= 10_000.0 => format!("{:.1} k", number / 1000.0).replace(".0 k", " k"),
        _ if size >= 100.0 || number.fract() == 0.0 => format!("{number:.0}"),
        _ if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// The heading of the table.
pub(crate) struct Head {
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) how: String,
}

/// The table, as Markdown.
pub(crate) fn table(head: &Head, rows: &[Row]) -> String {
    let mut out = format!("{}, {}. {}\n\n", head.date, head.machine, head.how);
    out.push_str(
        "| | resyncd | redis | beanstalkd | PostgreSQL | × redis | × beanstalkd | × PostgreSQL | goal | |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let figure = |server| row.figure(server).map_or(String::new(), |it| format!("{} {}", plain(it), row.unit));
        let ratio = |server| row.ratio(server).map_or(String::new(), |it| format!("{it:.2}"));
        let goals: Vec<String> = row.goals.iter().map(|goal| row.judged(*goal).0).collect();
        let verdict = match (&row.spoiled, row.reached()) {
            (Some(why), _) => format!("not quoted: {why}"),
            (None, Some(true)) => "reached".to_owned(),
            (None, Some(false)) => "missed".to_owned(),
            (None, None) => String::new(),
        };
        // A spoiled figure is only in the JSON, for those who look for the reason; it must not be quoted.
        let cells = if row.spoiled.is_some() {
            Vec::new()
        } else {
            (0..NAMES.len()).map(figure).chain((1..NAMES.len()).map(ratio)).collect()
        };
        let mut cells: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
        cells.resize(2 * NAMES.len() - 1, "");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} | {} | {} | {verdict} |", row.title, cells.join(" | "), goals.join(", "));
    }
    out
}

/// The figures for programs.
pub(crate) fn figures(head: &Head, rows: &[Row]) -> String {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    let all = json!({"date": head.date, "machine": head.machine, "how": head.how, "rows": rows});
    format!("{all:#}\n")
}

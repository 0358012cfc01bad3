//! `alerts`: active alerts and recent ones.

use super::Failure;
use super::args::Global;
use super::render::{Tone, ago, sanitize};
use super::session::Session;
use crate::io::clock::wall;
use crate::moment::WallTime;
use crate::text::phrases::of_alert;
use crate::text::{alert_list as words, moments};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Runs the command.
pub fn run(global: &Global) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let reply = session.ask(&json!({"op": "alerts"}))?.value;
    let alerts = reply["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = io::stdout().lock();
    if session.json {
        return Ok(alerts.iter().try_for_each(|alert| writeln!(out, "{alert}"))?);
    }
    let active = alerts.iter().filter(|alert| alert["active"] == true).count();
    if active == 0 {
        let text = if alerts.is_empty() { words::none_at_all() } else { words::none_active() };
        writeln!(out, "{}", session.screen.paint(Tone::Good, text))?;
    }
    if alerts.is_empty() {
        return Ok(());
    }
    let now = wall();
    let rows: Vec<Vec<String>> = alerts.iter().map(|alert| row(alert, now)).collect();
    session.screen.table(&mut out, &words::headings(), &rows)?;
    Ok(())
}

fn row(alert: &Value, now: WallTime) -> Vec<String> {
    let text = |name: &str| sanitize(alert[name].as_str().unwrap_or_default());
    let time = |name: &str| alert[name].as_str().and_then(WallTime::parse).map(|at| ago(at, now)).unwrap_or_default();
    let state =
        if alert["active"] == true { moments::since(&time("since")) } else { words::ended(&time("cleared_at")) };
    let subject = if alert["subject"].is_null() { words::this_terminal().to_owned() } else { text("subject") };
    vec![text("kind"), subject, state, sanitize(&of_alert(alert["message"].as_str().unwrap_or_default()))]
}

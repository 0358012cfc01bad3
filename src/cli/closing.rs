//! `check --closing`: may the till be closed? What a cashier reads in the evening.
//!
//! It sends what waits, watches for a while, and says one of three things: all is sent; some still go
//! out, leave it on; some need support, and waiting will not help. Whatever it is, switching off
//! loses nothing, and it says so. It ends when nothing is on its way any more: a sale that was just
//! made should not stay behind because another one needs a person since the morning.

use super::check::{OK, call, connect};
use super::client::Door;
use super::session::{Session, claimed};
use super::{Failure, words};
use crate::io::clock::since_boot;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

const GOING_OUT: u8 = 1;
const NEEDS_SUPPORT: u8 = 2;
/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);

/// Asks, and watches for so long; the exit status.
pub(super) fn run(session: &Session, wait: Duration) -> Result<u8, Failure> {
    let begun = since_boot();
    let (mut client, door) = connect(session)?;
    // Who may only use the applications' socket cannot hurry anything; what waits goes when it is due.
    if door == Door::Admin {
        let mut flush = json!({"op": "flush", "reason": "check --closing"});
        if let Some(by) = claimed(None) {
            flush["by"] = by.into();
        }
        call(&mut client, &flush)?;
    }
    let unsent = loop {
        let unsent = call(&mut client, &json!({"op": "unsent"}))?;
        let waited = since_boot().saturating_sub(begun);
        if number(&unsent, "on_their_way") == 0 || waited >= wait {
            break unsent;
        }
        thread::sleep(LOOK.min(wait.saturating_sub(waited)));
    };
    let upstreams = call(&mut client, &json!({"op": "health"}))?["upstreams"].take();
    let (status, text) = verdict(&unsent, &upstreams);
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{unsent}")?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(status)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

/// What it comes to, in the words of `words`.
fn verdict(unsent: &Value, upstreams: &Value) -> (u8, String) {
    let going = match (number(unsent, "on_their_way"), unsent["by_type"].as_array().map(Vec::as_slice)) {
        (0, _) => None,
        (count, Some([only])) => Some(words::things(count, only["entity_type"].as_str())),
        (count, _) => Some(words::things(count, None)),
    };
    let shut =
        |upstream: &&Value| matches!(upstream["state"].as_str(), Some("paused" | "offline" | "blocked" | "failing"));
    let shut: Vec<(&str, &str)> = upstreams
        .as_array()
        .into_iter()
        .flatten()
        .filter(shut)
        .filter_map(|upstream| Some((upstream["name"].as_str()?, upstream["state"].as_str()?)))
        .collect();
    match (number(unsent, "needs_person"), going) {
        (0, None) => (OK, words::ALL_SENT.to_owned()),
        (0, Some(going)) => (GOING_OUT, words::still_going_out(&going, &shut)),
        (stuck, going) => (NEEDS_SUPPORT, words::needs_support(stuck, going.as_deref(), &shut)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(way: u64, person: u64, types: &Value, state: &str) -> (u8, String) {
        let unsent = json!({"unsent": way + person, "on_their_way": way, "needs_person": person, "by_type": types});
        verdict(&unsent, &json!([{"name": "hq", "state": state}]))
    }

    #[test]
    fn a_cashier_reads_one_of_three_answers() {
        let sales = json!([{"entity_type": "SALE", "count": 2}]);
        let several = json!([{"entity_type": "SALE", "count": 2}, {"entity_type": "RETURN", "count": 1}]);
        let kept = "Switching off loses nothing: it is all kept, and goes out when the till is on again.";
        for (answer, status, text) in [
            (said(0, 0, &json!([]), "online"), 0, "ALL SENT. You can switch off; nothing is lost.".to_owned()),
            (said(2, 0, &sales, "online"), 1, format!("2 sales still going out, leave it on. {kept}")),
            (
                said(1, 0, &sales, "offline"),
                1,
                format!("1 sale still going out, leave it on. There is no line at present (hq). {kept}"),
            ),
            (said(3, 0, &several, "online"), 1, format!("3 entries still going out, leave it on. {kept}")),
            (said(0, 1, &sales, "online"), 2, format!("1 needs support, waiting will not help. {kept}")),
            (
                said(2, 3, &several, "paused"),
                2,
                format!(
                    "3 need support, waiting will not help. 2 entries still going out. \
                     Sending was paused by a person (hq). {kept}"
                ),
            ),
        ] {
            assert_eq!(answer, (status, text));
        }
    }
}

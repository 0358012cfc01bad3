//! `check --closing`: whether the till may be closed, for a cashier in the evening.
//!
//! It sends pending failures, watches for a while, and reports one of three results: all is sent; some are still being
//! sent, so leave the till on; some need support, and waiting will not help. In each case it says that switching off
//! loses nothing. It ends when nothing more is on its way: a sale that was just made should not stay behind because
//! another failure has been critical since the morning.

use super::check_agent::{OK, call, connect, removed_in};
use super::session::{Session, claimed};
use super::{Failure, words};
use crate::io::clock::since_boot;
use crate::wire::request::Socket;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

const GOING_OUT: u8 = 1;
const NEEDS_SUPPORT: u8 = 2;
/// Polling interval.
const LOOK: Duration = Duration::from_millis(200);

/// Sends, and watches for up to `wait`; returns the exit status.
pub(super) fn run(session: &Session, wait: Duration) -> Result<u8, Failure> {
    let begun = since_boot();
    let (mut client, door) = connect(session)?;
    // With only the applications' socket nothing can be sped up; failures are sent when they are due.
    if door == Socket::Admin {
        let mut flush = json!({"op": "flush", "reason": "check --closing"});
        if let Some(by) = claimed(None) {
            flush["by"] = by.into();
        }
        // A refusal, on a full disk for example, leaves the failures their own times and does not change the verdict.
        client.call_long(flush.to_string().as_bytes())?;
    }
    let unsent = loop {
        let unsent = call(&mut client, &json!({"op": "unsent"}))?;
        let waited = since_boot().saturating_sub(begun);
        if number(&unsent, "on_their_way") == 0 || waited >= wait {
            break unsent;
        }
        thread::sleep(LOOK.min(wait.saturating_sub(waited)));
    };
    let health = call(&mut client, &json!({"op": "health"}))?;
    let (status, text) = verdict(&unsent, &health);
    let mut out = io::stdout().lock();
    if session.json {
        writeln!(out, "{unsent}")?;
    } else {
        writeln!(out, "{}", session.screen.folded(&text, 0, 0))?;
    }
    Ok(status)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

/// The result, in the words of `words`.
fn verdict(unsent: &Value, health: &Value) -> (u8, String) {
    let going = match (number(unsent, "on_their_way"), unsent["by_type"].as_array().map(Vec::as_slice)) {
        (0, _) => None,
        (count, Some([only])) => Some(words::things(count, only["entity_type"].as_str())),
        (count, _) => Some(words::things(count, None)),
    };
    let shut =
        |upstream: &&Value| matches!(upstream["state"].as_str(), Some("paused" | "offline" | "blocked" | "failing"));
    let shut: Vec<(&str, &str)> = health["upstreams"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(shut)
        .filter_map(|upstream| Some((upstream["name"].as_str()?, upstream["state"].as_str()?)))
        .collect();
    match (number(unsent, "needs_person"), going) {
        (0, None) => (OK, words::all_sent(removed_in(health).as_ref())),
        (0, Some(going)) => (GOING_OUT, words::still_going_out(&going, &shut)),
        (stuck, going) => {
            // The status counts the ones that need a person; those behind them go by themselves afterwards.
            let heads = number(health, "critical") + number(health, "held");
            let heads = if heads == 0 { stuck } else { heads.min(stuck) };
            (NEEDS_SUPPORT, words::needs_support(heads, stuck - heads, going.as_deref(), &shut))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(way: u64, person: u64, types: &Value, state: &str) -> (u8, String) {
        let unsent = json!({"unsent": way + person, "on_their_way": way, "needs_person": person, "by_type": types});
        verdict(&unsent, &json!({"upstreams": [{"name": "hq", "state": state}]}))
    }

    #[test]
    fn a_cashier_reads_one_of_three_answers() {
        let sales = json!([{"entity_type": "SALE", "count": 2}]);
        let several = json!([{"entity_type": "SALE", "count": 2}, {"entity_type": "RETURN", "count": 1}]);
        let kept = "Switching off loses nothing: everything is kept, and sent when the till is on again.";
        for (answer, status, text) in [
            (said(0, 0, &json!([]), "online"), 0, "ALL SENT. You can switch off; nothing is lost.".to_owned()),
            (said(2, 0, &sales, "online"), 1, format!("2 sales still to be sent; leave the till on. {kept}")),
            (
                said(1, 0, &sales, "offline"),
                1,
                format!("1 sale still to be sent; leave the till on. There is no connection to hq. {kept}"),
            ),
            (said(3, 0, &several, "online"), 1, format!("3 entries still to be sent; leave the till on. {kept}")),
            (said(0, 1, &sales, "online"), 2, format!("1 entry needs support; waiting will not help. {kept}")),
            (
                said(2, 3, &several, "paused"),
                2,
                format!(
                    "3 entries need support; waiting will not help. 2 entries still to be sent. \
                     Sending to hq is paused. {kept}"
                ),
            ),
        ] {
            assert_eq!(answer, (status, text));
        }
    }

    #[test]
    fn what_waits_behind_a_case_is_no_case_of_its_own() {
        let unsent = json!({"unsent": 3, "on_their_way": 0, "needs_person": 3, "by_type": []});
        let health = json!({"critical": 1, "held": 0, "upstreams": []});
        let (status, text) = verdict(&unsent, &health);
        assert!(
            status == 2 && text.starts_with("1 entry needs support; waiting will not help. 2 more wait behind."),
            "{text}"
        );
    }
}

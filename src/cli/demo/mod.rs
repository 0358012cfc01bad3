//! `demo`: a self-contained demonstration in about 15 seconds.
//!
//! It runs a real agent in a temporary directory, a small head office on this machine, and the real commands that an
//! operator would type, each printed before its output. [`check`] compares the requests that the head office received
//! with the story, and the exit status is 0 only if all of it happened.

mod stage;
mod upstream;

use super::Failure;
use super::args::DemoArgs;
use crate::text::demo as text;
use stage::Stage;
use std::io;
use upstream::{End, FakeUpstream, Seen};

/// The failure that the head office rejects until it is corrected, and the wrong part of it.
const REFUSED: &str = "RETURN r-17";
const WRONG: &str = "\"sku\":4711";
/// The failure whose first response is lost.
const LOST: &str = "SALE s-104";

/// Nine failures during an outage, as a program records them.
const BACKLOG: &str = r#"{"entity_type":"SALE","entity_id":"s-101","action":"UPDATE","error":"connect ECONNREFUSED","payload":{"total":12.50,"paid":true}}
{"entity_type":"SALE","entity_id":"s-102","action":"CREATE","error":"connect ECONNREFUSED","payload":{"total":3.20}}
{"entity_type":"RETURN","entity_id":"r-17","action":"CREATE","error":"connect ETIMEDOUT","payload":{"sku":4711,"amount":-9.90}}
{"entity_type":"RETURN","entity_id":"r-17","action":"UPDATE","error":"connect ETIMEDOUT","payload":{"reason":"damaged"}}
{"entity_type":"SALE","entity_id":"s-103","action":"CREATE","error":"connect ETIMEDOUT","payload":{"total":47.00},"idempotency_key":"till-07-0103"}
{"entity_type":"SALE","entity_id":"s-104","action":"CREATE","error":"connect ETIMEDOUT","payload":{"total":8.75},"idempotency_key":"till-07-0104"}
{"entity_type":"SALE","entity_id":"s-104","action":"UPDATE","error":"connect ETIMEDOUT","payload":{"total":8.75,"paid":true}}
{"entity_type":"SALE","entity_id":"s-105","action":"CREATE","error":"read ECONNRESET","payload":{"total":1.10}}
{"entity_type":"SALE","entity_id":"s-105","action":"DELETE","error":"read ECONNRESET"}
"#;
/// Number of all failures, including the one recorded separately.
const ALL: u64 = 10;

/// Runs the command.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let office = FakeUpstream::away()?;
    let mut stage = Stage::set(&office.url())?;
    let told = tell(&mut stage, &office);
    if let (Err(_), Some(log)) = (&told, stage.log()) {
        stage.say(&text::log(&log))?;
    }
    told?;
    if args.keep { stage.keep() } else { stage.clear() }
}

fn tell(stage: &mut Stage, office: &FakeUpstream) -> Result<(), Failure> {
    office.refuses(WRONG);
    office.loses_answer_of(LOST);

    stage.chapter(text::unreachable())?;
    stage.start_agent()?;
    stage.file("sale.json", "{\"total\":12.50}")?;
    stage.file("backlog.jsonl", BACKLOG)?;
    let record = [
        "record",
        "--type",
        "SALE",
        "--entity",
        "s-101",
        "--action",
        "CREATE",
        "--error",
        "connect ECONNREFUSED",
        "--payload-file",
        "sale.json",
    ];
    stage.resyncd(&record)?;
    stage.resyncd_from("backlog.jsonl", &["record", "-"])?;
    stage.until(text::head_office_is_away(), |health| health["upstreams"][0]["state"] == "offline")?;
    stage.resyncd(&["status"])?;

    stage.chapter(text::power_fails())?;
    stage.kill_agent()?;
    stage.start_agent()?;
    stage.resyncd(&["list"])?;
    stage.expect(text::all_ten_are_there(), |health| health["pending"] == ALL)?;

    stage.chapter(text::connection_breaks())?;
    office.open(Some(3))?;
    stage.until(text::connection_has_broken(), |health| {
        office.is_away() && health["upstreams"][0]["state"] == "offline"
    })?;
    stage.resyncd(&[])?;

    stage.chapter(text::connection_stays())?;
    office.open(None)?;
    stage.until(text::only_the_stuck_one_is_left(), |health| health["critical"] == 1 && health["pending"] == 1)?;
    stage.resyncd(&[])?;
    lost_answer(stage, office)?;

    stage.chapter(text::a_person_corrects())?;
    stage.resyncd(&["list"])?;
    stage.resyncd(&["show", "4"])?;
    stage.file("return.json", "{\"sku\":4712,\"amount\":-9.90}")?;
    // A request of it may have been cut off; the rejection shows that it has not arrived.
    let edit = ["edit", "4", "--payload-file", "return.json", "--new-key", "--reason", text::reason()];
    stage.resyncd(&[&edit[..], &["--dry-run"]].concat())?;
    stage.resyncd(&[&edit[..], &["--yes"]].concat())?;
    stage.until(text::everything_is_sent(), |health| health["pending"] == 0 && health["critical"] == 0)?;
    stage.resyncd(&["show", "4"])?;
    stage.resyncd(&[])?;

    stage.chapter(text::received())?;
    stage.say(&seen_as_table(&office.seen()))?;
    check(&office.seen()).map_err(Failure::Failed)?;
    stage.say(text::result())?;
    Ok(())
}

fn lost_answer(stage: &mut Stage, office: &FakeUpstream) -> io::Result<()> {
    let seen = office.seen();
    let of_lost = seen.iter().filter(|seen| seen.entity == LOST && seen.action == "CREATE");
    for seen in of_lost {
        let says = if seen.end == End::AnswerLost { text::response_lost } else { text::known_by_key };
        stage.say(&says(&seen.entity, &seen.action, &seen.key))?;
    }
    Ok(())
}

fn seen_as_table(seen: &[Seen]) -> String {
    let row = |(n, seen): (usize, &Seen)| {
        let end = match seen.end {
            End::Accepted => "201",
            End::AnswerLost => text::lost_on_the_way(),
            End::KnownKey => text::known_already(),
            End::Refused => "422 unknown SKU 4711",
        };
        format!("  {:>2}  {:<12} {:<7} {:<22} {}", n + 1, seen.entity, seen.action, end, seen.key)
    };
    seen.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
}

/// Checks the story against the requests that the head office received.
fn check(seen: &[Seen]) -> Result<(), String> {
    let taken: Vec<&Seen> = seen.iter().filter(|seen| matches!(seen.end, End::Accepted | End::AnswerLost)).collect();
    if taken.len() as u64 != ALL {
        return Err(text::accepted_of(taken.len(), ALL));
    }
    let story = [
        ("SALE s-101", &["CREATE", "UPDATE"][..]),
        ("SALE s-102", &["CREATE"]),
        (REFUSED, &["CREATE", "UPDATE"]),
        ("SALE s-103", &["CREATE"]),
        (LOST, &["CREATE", "UPDATE"]),
        ("SALE s-105", &["CREATE", "DELETE"]),
    ];
    for (entity, expected) in story {
        let actions: Vec<&str> =
            taken.iter().filter(|seen| seen.entity == entity).map(|seen| seen.action.as_str()).collect();
        if actions != expected {
            return Err(text::arrived_as(entity, &actions.join(", "), &expected.join(", ")));
        }
    }
    let lost: Vec<&Seen> = seen.iter().filter(|seen| seen.entity == LOST && seen.action == "CREATE").collect();
    match &lost[..] {
        [first, again] if first.end == End::AnswerLost && first.key == again.key && first.body == again.body => {}
        _ => return Err(text::not_repeated_once(&format!("{lost:?}"))),
    }
    let put_right: Vec<&Seen> = seen.iter().filter(|seen| seen.entity == REFUSED && seen.action == "CREATE").collect();
    match &put_right[..] {
        [first, again] if first.end == End::Refused && first.key != again.key && again.body.contains("4712") => Ok(()),
        _ => Err(text::not_corrected_once(&format!("{put_right:?}"))),
    }
}

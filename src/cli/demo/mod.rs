//! `demo`: the whole story without any set-up, in about 15 seconds.
//!
//! A real agent in a temporary directory, a small head office on this machine, and the very commands
//! that a person would type, each printed before its output. Nothing is staged: [`check`] holds what
//! the head office saw against the story, and the exit status is 0 only if all of it happened.

mod stage;
mod upstream;

use super::Failure;
use super::args::DemoArgs;
use stage::Stage;
use std::io;
use upstream::{End, HeadOffice, Seen};

/// The failure that the head office refuses until it is put right, and what is wrong with it.
const REFUSED: &str = "RETURN r-17";
const WRONG: &str = "\"sku\":4711";
/// The failure whose first answer is lost.
const LOST: &str = "SALE s-104";

/// Nine things that could not be sent while the line was down, as a program hands them over.
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
/// With the one that is recorded by itself.
const ALL: u64 = 10;

/// Runs the command.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let office = HeadOffice::away()?;
    let mut stage = Stage::set(&office.url())?;
    let told = tell(&mut stage, &office);
    if let (Err(_), Some(log)) = (&told, stage.log()) {
        stage.say(&format!("The agent's log:\n{log}"))?;
    }
    told?;
    if args.keep { stage.keep() } else { stage.clear() }
}

fn tell(stage: &mut Stage, office: &HeadOffice) -> Result<(), Failure> {
    office.refuses(WRONG);
    office.loses_answer_of(LOST);

    stage.chapter("1. The head office cannot be reached. Ten synchronisations fail and are recorded.")?;
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
    stage.until("the agent sees that nobody answers", |health| health["upstreams"][0]["state"] == "offline")?;
    stage.resyncd(&["status"])?;

    stage.chapter("2. The power goes: the agent is killed with -9, and started again.")?;
    stage.kill_agent()?;
    stage.start_agent()?;
    stage.resyncd(&["list"])?;
    stage.expect("all ten are still there", |health| health["pending"] == ALL)?;

    stage.chapter("3. The line comes back, and breaks again in mid-sync.")?;
    office.open(Some(3))?;
    stage.until("the line has broken again", |health| {
        office.is_away() && health["upstreams"][0]["state"] == "offline"
    })?;
    stage.resyncd(&[])?;

    stage.chapter("4. The line is back for good. One answer is lost on the way; one failure is refused.")?;
    office.open(None)?;
    stage.until("only what is stuck is left", |health| health["critical"] == 1 && health["pending"] == 1)?;
    stage.resyncd(&[])?;
    lost_answer(stage, office)?;

    stage.chapter("5. A person looks at what is stuck, and puts it right.")?;
    stage.resyncd(&["list"])?;
    stage.resyncd(&["show", "4"])?;
    stage.file("return.json", "{\"sku\":4712,\"amount\":-9.90}")?;
    let edit = ["edit", "4", "--payload-file", "return.json", "--reason", "it was SKU 4712"];
    stage.resyncd(&[&edit[..], &["--dry-run"]].concat())?;
    stage.resyncd(&[&edit[..], &["--yes"]].concat())?;
    stage.until("everything has been sent", |health| health["pending"] == 0 && health["critical"] == 0)?;
    stage.resyncd(&["show", "4"])?;
    stage.resyncd(&[])?;

    stage.chapter("What the head office saw")?;
    stage.say(&seen_as_table(&office.seen()))?;
    check(&office.seen()).map_err(Failure::Failed)?;
    stage.say(
        "Each one arrived once in effect, in order for each entity, under one key on every try; what a person put right \
         went out under a new one.",
    )?;
    Ok(())
}

fn lost_answer(stage: &mut Stage, office: &HeadOffice) -> io::Result<()> {
    let seen = office.seen();
    let of_lost = seen.iter().filter(|seen| seen.entity == LOST && seen.action == "CREATE");
    for seen in of_lost {
        let end = if seen.end == End::AnswerLost {
            "taken, the answer was lost"
        } else {
            "known by its key: nothing is done twice"
        };
        stage.say(&format!("(Head office: {} {} under {} — {end}.)", seen.entity, seen.action, seen.key))?;
    }
    Ok(())
}

fn seen_as_table(seen: &[Seen]) -> String {
    let row = |(n, seen): (usize, &Seen)| {
        let end = match seen.end {
            End::Accepted => "201",
            End::AnswerLost => "201, lost on the way",
            End::KnownKey => "201, known already",
            End::Refused => "422 unknown SKU 4711",
        };
        format!("  {:>2}  {:<12} {:<7} {:<22} {}", n + 1, seen.entity, seen.action, end, seen.key)
    };
    seen.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
}

/// Is the story true, by what the head office saw?
fn check(seen: &[Seen]) -> Result<(), String> {
    let taken: Vec<&Seen> = seen.iter().filter(|seen| matches!(seen.end, End::Accepted | End::AnswerLost)).collect();
    if taken.len() as u64 != ALL {
        return Err(format!("the head office took {} of {ALL}", taken.len()));
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
            return Err(format!("{entity} arrived as {actions:?}, not as {expected:?}"));
        }
    }
    let lost: Vec<&Seen> = seen.iter().filter(|seen| seen.entity == LOST && seen.action == "CREATE").collect();
    match &lost[..] {
        [first, again] if first.end == End::AnswerLost && first.key == again.key && first.body == again.body => {}
        _ => return Err(format!("the lost answer was not followed by the same key once: {lost:?}")),
    }
    let put_right: Vec<&Seen> = seen.iter().filter(|seen| seen.entity == REFUSED && seen.action == "CREATE").collect();
    match &put_right[..] {
        [first, again] if first.end == End::Refused && first.key != again.key && again.body.contains("4712") => Ok(()),
        _ => Err(format!("what was refused was not put right once, under a new key: {put_right:?}")),
    }
}

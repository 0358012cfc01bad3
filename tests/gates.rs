//! What holds a failure back and what releases it, in virtual time: resume and release,
//! `Retry-After`, interrupted requests, canaries, clean-up, and alerts.

// Tests may unwrap and sleep on no clock.
#![allow(clippy::unwrap_used)]

#[path = "gates/till.rs"]
mod till;

use serde_json::{Value, json};
use std::time::Duration;
use till::{HOUR, MINUTE, SECOND, Sent, Till, later, lost, refused_connection, status};

const ORDERINGS: [&str; 3] = ["key", "strict", "none"];

fn ordered(ordering: &str, more: &str) -> Till {
    Till::hq(&format!("ordering = \"{ordering}\"\n{more}"))
}

const HELD: &str = "[[route]]\non_unsure = \"hold\"\n";
const VERIFIED: &str = "[[route]]\non_unsure = \"verify\"\n\
                        verify = { method = \"GET\", path = \"/q?key={key}\", found = \"/value/0\" }\n";

// ---- resume

/// `resume` makes failures due that wait for the pacing delay, however long it is; the backoff
/// after a counted attempt continues.
#[test]
fn resume_makes_due_what_waits_for_the_pacing_delay() {
    for ordering in ORDERINGS {
        let mut till = ordered(ordering, "max_pause = \"1h\"\n");
        till.answers(|_| Some(status(503)));
        let seq = till.record("s-1", &json!({}));
        till.pass(4 * HOUR);
        let before = till.sent.len();
        let due: i64 = till.cell("SELECT due_at FROM sync_failures");
        assert!(due > till.now.agent.as_millis() + 60_000, "{ordering}: it waits for long");
        till.answers(|_| Some(status(200)));
        till.ask(&json!({"op": "resume"}));
        assert_eq!(till.sent.len(), before + 1, "{ordering}: it is sent at once");
        assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0, "{ordering}: {seq}");
    }
}

#[test]
fn resume_shortens_neither_a_step_nor_a_retry_after() {
    let mut till = Till::hq("");
    let counted = till.record("s-1", &json!({"error": "HTTP 500: x", "retry": "auto"}));
    till.answers(move |sent| Some(if sent.seq == counted { status(500) } else { later(429, 600) }));
    let bound = till.record("s-2", &json!({}));
    till.pass(6 * MINUTE + SECOND);
    let before = till.sent.clone();
    assert!(before.iter().any(|sent| sent.seq == counted) && before.iter().any(|sent| sent.seq == bound));
    till.ask(&json!({"op": "resume"}));
    till.pass(SECOND);
    assert_eq!(till.sent.len(), before.len(), "both wait on");
}

/// A failure recorded after the upstream recovered, with a response to its own attempt, waits for its backoff.
#[test]
fn an_opening_sweeps_what_was_recorded_before_it_and_nothing_else() {
    let mut till = Till::hq("");
    till.probe = None;
    till.answers(|_| Some(refused_connection()));
    till.record("s-1", &json!({}));
    assert_eq!(till.state(), "offline");
    let before: Vec<i64> =
        (0..40).map(|n| till.record(&format!("b-{n}"), &json!({"error": "HTTP 500: x", "retry": "auto"}))).collect();
    till.probe = Some(200);
    till.answers(|_| Some(status(200)));
    till.ask(&json!({"op": "resume"}));
    let behind: Vec<i64> =
        (0..40).map(|n| till.record(&format!("a-{n}"), &json!({"error": "HTTP 500: x", "retry": "auto"}))).collect();
    till.pass(4 * MINUTE);
    let seqs = till.seqs();
    assert!(before.iter().all(|seq| seqs.contains(seq)), "what was there when it opened is due");
    assert!(!behind.iter().any(|seq| seqs.contains(seq)), "the followers wait five minutes");
    till.pass(3 * MINUTE);
    assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0);
}

// ---- release

/// A failure without a matching route needs an operator; it does not count as on its way.
#[test]
fn a_release_without_a_route_makes_it_critical() {
    let two = "[upstream.pos]\nurl = \"https://pos.example/\"\n[upstream.back]\nurl = \"https://back.example/\"\n";
    let sale = "[[route]]\nentity_type = \"SALE\"\nupstream = \"pos\"\n";
    let other = "[[route]]\nentity_type = \"RETURN\"\nupstream = \"back\"\n";
    let mut till = Till::new(&format!("{two}{sale}{other}"));
    till.answers(|_| None);
    till.ask(&json!({"op": "pause"}));
    let seqs = [till.record("s-1", &json!({})), till.record("s-2", &json!({}))];
    till.ask(&json!({"op": "hold", "all": true}));
    till.kill_and_configure(&format!("{two}{other}"));
    assert_eq!(till.failure(seqs[0])["upstream"], Value::Null);
    let one = till.ask(&json!({"op": "release", "ids": [seqs[0]]}));
    assert_eq!((&one["ok"], &one["changed"]), (&json!(true), &json!(1)), "{one}");
    let all = till.ask(&json!({"op": "release", "filter": {"status": "held"}}));
    assert_eq!(all["changed"], 1, "{all}");
    for seq in seqs {
        let shown = till.failure(seq);
        assert_eq!((&shown["status"], &shown["error_class"]), (&json!("critical"), &json!("no_route")), "{shown}");
        assert_eq!(shown["next_retry_at"], Value::Null, "{shown}");
    }
    let unsent = till.ask(&json!({"op": "unsent"}));
    assert_eq!((&unsent["on_their_way"], &unsent["needs_person"]), (&json!(0), &json!(2)), "{unsent}");
    till.answers(|_| Some(status(200)));
    till.kill_and_configure(&format!("{two}{sale}{other}"));
    till.ask(&json!({"op": "resume"}));
    till.pass(MINUTE);
    assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0, "with a route it is sent automatically");
}

// ---- Retry-After

/// Neither `flush`, nor a canary, nor an operator's hold and release, nor a recovery shortens a failure's
/// own Retry-After, under any ordering; `show` and the reply say when it ends and what the upstream said.
#[test]
fn a_retry_after_binds_its_failure_whatever_else_happens() {
    for ordering in ORDERINGS {
        let mut till = ordered(ordering, "max_pause = \"1s\"\n");
        till.answers(|sent| Some(if sent.nth == 0 { status(401) } else { later(503, 600) }));
        let seq = till.record("s-1", &json!({}));
        till.pass(10 * SECOND);
        let bound = till.sent.iter().map(|sent| sent.at).next_back().expect("it was sent");
        let sent = till.sent.len();
        assert_eq!(sent, 2, "{ordering}: the block, and a canary that is asked to wait");
        let shown = till.failure(seq);
        assert_eq!(shown["retry_after"]["upstream"], "hq", "{ordering}: {shown}");
        assert_eq!(shown["retry_after"]["words"], "HTTP 503: closed until 08:00", "{ordering}: {shown}");
        assert!(shown["retry_after"]["until"].is_string() && shown["next_retry_at"].is_string(), "{ordering}: {shown}");
        let flushed = till.ask(&json!({"op": "flush"}));
        assert_eq!((&flushed["changed"], &flushed["skipped"]), (&json!(0), &json!(1)), "{ordering}: {flushed}");
        assert_eq!(flushed["asked_to_wait"]["words"], "HTTP 503: closed until 08:00", "{ordering}: {flushed}");
        till.pass(MINUTE);
        till.ask(&json!({"op": "hold", "all": true}));
        till.ask(&json!({"op": "release", "all": true}));
        till.ask(&json!({"op": "resume"}));
        till.pass(MINUTE);
        till.kill(SECOND);
        till.pass(MINUTE);
        assert_eq!(till.sent.len(), sent, "{ordering}: it is not sent before its time");
        till.answers(|_| Some(status(200)));
        till.pass(10 * MINUTE);
        assert_eq!(
            till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"),
            0,
            "{ordering}: it goes when its time has come"
        );
        assert!(till.sent[sent].at >= bound.after(600 * SECOND), "{ordering}");
    }
}

/// An operator may override it for one failure.
#[test]
fn a_retry_passes_a_failures_own_retry_after() {
    let mut till = Till::hq("max_pause = \"1s\"\n");
    till.answers(|sent| Some(if sent.nth == 0 { later(429, 600) } else { status(200) }));
    let seq = till.record("s-1", &json!({}));
    till.pass(10 * SECOND);
    till.ask(&json!({"op": "retry", "ids": [seq]}));
    till.pass(3 * SECOND);
    assert_eq!(till.sent.len(), 2);
}

/// After an uncounted attempt, the time of the next one is known.
#[test]
fn an_uncounted_attempt_has_a_next_one() {
    let mut till = Till::hq("");
    till.answers(|_| Some(status(503)));
    let seq = till.record("s-1", &json!({}));
    assert!(till.failure(seq)["next_retry_at"].is_string());
}

// ---- unsent

fn unsent(till: &mut Till) -> (i64, i64) {
    let reply = till.ask(&json!({"op": "unsent"}));
    let number = |name: &str| reply[name].as_i64().unwrap_or_else(|| panic!("{reply}"));
    (number("on_their_way"), number("needs_person"))
}

/// Under strict order all failures behind the first that needs an operator wait for it, under `key`
/// those of its key, without order none.
#[test]
fn unsent_knows_who_waits_for_a_person() {
    for (ordering, expected) in [("key", (1, 2)), ("strict", (0, 3)), ("none", (2, 1))] {
        let mut till = ordered(ordering, "");
        let bad = till.record("s-1", &json!({"action": "BAD", "retry": "auto"}));
        till.answers(move |sent| (sent.seq == bad).then(|| status(422)));
        till.pass(10 * SECOND);
        assert_eq!(till.failure(bad)["status"], "critical", "{ordering}");
        till.record("s-1", &json!({"action": "UPDATE"}));
        till.record("s-2", &json!({}));
        assert_eq!(unsent(&mut till), expected, "{ordering}");
        let listed = till.ask(&json!({"op": "list"}));
        let blocked = listed["failures"].as_array().unwrap().iter().filter(|one| !one["blocked_by"].is_null()).count();
        assert_eq!(i64::try_from(blocked).unwrap(), expected.1 - 1, "{ordering}: {listed}");
    }
}

/// Order keys connect upstreams: behind a critical RETURN waits a SALE of the same receipt, which is at
/// the front of a strict order, in which another SALE waits, whose receipt has one more RETURN.
#[test]
fn unsent_follows_order_keys_over_upstreams() {
    let text = "[upstream.pos]\nurl = \"https://pos.example/\"\nordering = \"strict\"\n\
                [upstream.back]\nurl = \"https://back.example/\"\n\
                [upstream.free]\nurl = \"https://free.example/\"\nordering = \"none\"\n\
                [[route]]\nentity_type = \"SALE\"\nupstream = \"pos\"\n\
                [[route]]\nentity_type = \"NOTE\"\nupstream = \"free\"\n[[route]]\nupstream = \"back\"\n";
    let mut till = Till::new(text);
    till.answers(|sent| (sent.seq == 1).then(|| status(422)));
    let under = |kind: &str, key: &str| json!({"entity_type": kind, "order_key": key});
    till.record("x", &under("RETURN", "a"));
    till.record("x", &under("SALE", "a"));
    till.record("x", &under("SALE", "b"));
    till.record("x", &under("RETURN", "b"));
    till.record("x", &under("NOTE", "b"));
    till.record("x", &under("RETURN", "c"));
    assert_eq!(unsent(&mut till), (2, 4), "the note waits for no other failure, and receipt c is another one");
    till.kill(SECOND);
    assert_eq!(unsent(&mut till), (2, 4), "also from the file");
}

// ---- interrupted requests

/// Before a request on such a route is sent, the file marks that it may have arrived. After a kill
/// it is verified first, or held, under any ordering; on other routes it is sent again.
#[test]
fn what_was_cut_off_by_a_kill_is_verified_or_held() {
    for ordering in ORDERINGS {
        for (route, held, asks) in [(HELD, true, false), (VERIFIED, false, true), ("", false, false)] {
            let mut till = ordered(ordering, route);
            till.answers(|_| None);
            let seq = till.record("s-1", &json!({"idempotency_key": "pos-1"}));
            assert_eq!(till.sent.len(), 1);
            let marked: bool = till.cell("SELECT unsure FROM sync_failures");
            assert_eq!(marked, held || asks, "{ordering} {route}");
            till.kill(SECOND);
            till.pass(MINUTE);
            let what = format!("{ordering} {route}");
            let state: String = till.cell("SELECT status FROM sync_failures");
            assert_eq!(state == "held", held, "{what}");
            assert_eq!(till.sent.len(), if held { 1 } else { 2 }, "{what}");
            assert!(held || till.sent[1].asks == asks, "{what}");
            if held {
                let edited = till.ask(&json!({"op": "edit", "id": seq, "payload": "b", "reason": "x"}));
                assert_eq!(
                    (&edited["key_kept"], &edited["idempotency_key"]),
                    (&json!(true), &json!("pos-1")),
                    "{edited}"
                );
                till.answers(|_| Some(status(200)));
                till.ask(&json!({"op": "release", "ids": [seq]}));
                till.pass(MINUTE);
                assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0, "{what}: a person has decided");
                assert!(till.sent.iter().all(|sent| sent.key == "pos-1"), "{what}");
            }
        }
    }
}

/// A response removes the mark; a released failure that is interrupted again is held again.
#[test]
fn a_mark_lasts_as_long_as_its_request() {
    let mut till = Till::hq(HELD);
    till.answers(|sent| Some(if sent.nth == 0 { status(503) } else { status(500) }));
    let seq = till.record("s-1", &json!({}));
    assert!(!till.cell::<bool>("SELECT unsure FROM sync_failures"), "an answer of 503 is an answer");
    till.kill(SECOND);
    till.pass(5 * SECOND);
    assert_eq!(till.failure(seq)["status"], "pending", "it was not under way");
    till.answers(|_| None);
    till.ask(&json!({"op": "retry", "ids": [seq]}));
    till.pass(MINUTE);
    for _ in 0..2 {
        till.kill(SECOND);
        assert_eq!(till.failure(seq)["status"], "held");
        till.ask(&json!({"op": "release", "ids": [seq]}));
        till.pass(MINUTE);
        assert_eq!(till.failure(seq)["state"], "in_flight");
    }
}

/// A gateway's error leaves open whether the request was passed on: before it is sent again the upstream is asked, and what
/// was passed on and not answered in time is held. Elsewhere it is sent again under the same key.
#[test]
fn what_a_gateway_may_have_passed_on_is_verified_or_held() {
    for code in [502, 504, 520, 524, 503] {
        for (route, verifies) in [(HELD, false), (VERIFIED, true), ("", false)] {
            let mut till = Till::hq(route);
            till.answers(move |sent| Some(if sent.nth == 0 { status(code) } else { status(200) }));
            let seq = till.record("s-1", &json!({"http_status": 500, "retry": "now"}));
            till.pass(SECOND / 10);
            let held = route == HELD && matches!(code, 504 | 524);
            assert_eq!(till.failure(seq)["status"] == "held", held, "{code} {route}");
            assert_eq!(till.failure(seq)["retry_count"], 0, "{code} {route}");
            till.pass(MINUTE);
            assert_eq!(till.sent.len(), if held { 1 } else { 2 }, "{code} {route}");
            assert!(held || till.sent[1].asks == (verifies && code != 503), "{code} {route}");
            // The application's own attempt as well.
            let before = till.sent.len();
            till.record("s-2", &json!({"http_status": code, "error": "no"}));
            till.pass(MINUTE);
            assert_eq!(till.sent.len(), before + 1, "{code} {route}");
            assert_eq!(till.sent[before].asks, verifies && code != 503, "{code} {route}");
        }
    }
}

/// A correction under a new key would be booked beside what a gateway passed on and did not see answered; also when the
/// upstream refuses the failure afterwards, perhaps because it exists.
#[test]
fn an_edit_after_a_gateways_time_out_keeps_the_key() {
    for (code, then) in [(504, 504), (524, 422), (503, 503), (503, 422)] {
        for key in [Value::Null, json!("pos-1")] {
            let mut till = Till::hq("[retry]\nbackoff = [\"1h\"]\n");
            till.answers(move |sent| Some(status(if sent.nth == 0 { code } else { then })));
            let seq = till.record("s-1", &json!({"http_status": 500, "idempotency_key": key}));
            till.pass(MINUTE);
            let edited = till.ask(&json!({"op": "edit", "id": seq, "payload": "b", "reason": "x"}));
            assert_eq!(edited["key_kept"], code != 503, "{code}, {then}, {key}: {edited}");
            // The application's own attempt as well.
            let mut till = Till::hq("");
            till.answers(|_| None);
            let before = till.record("s-2", &json!({"http_status": code, "retry": "auto", "idempotency_key": "pos-2"}));
            let edited = till.ask(&json!({"op": "edit", "id": before, "payload": "b", "reason": "x"}));
            assert_eq!(edited["key_kept"], code != 503, "{code}: {edited}");
        }
    }
}

/// … also where the configuration has changed meanwhile.
#[test]
fn what_was_cut_off_is_held_although_its_upstream_has_another_name() {
    let mut till = Till::hq(HELD);
    till.answers(|_| None);
    till.record("s-1", &json!({}));
    till.kill_and_configure(&format!("[upstream.office]\nurl = \"https://hq.example/sync\"\n{HELD}"));
    till.pass(MINUTE);
    assert_eq!(till.cell::<String>("SELECT status FROM sync_failures"), "held");
    assert_eq!(till.sent.len(), 1);
}

/// Another program has marked a follower as a head meanwhile: that is put right after it, and neither waits for the other.
#[test]
fn what_was_cut_off_is_held_although_marks_of_heads_are_wrong() {
    let mut till = Till::hq(HELD);
    till.answers(|_| None);
    till.record("s-1", &json!({}));
    till.record("s-1", &json!({"action": "UPDATE"}));
    till.change("UPDATE sync_failures SET head = 1");
    till.kill_and_configure(&format!("[upstream.hq]\nurl = \"https://hq.example/sync\"\n{HELD}"));
    till.pass(MINUTE);
    assert_eq!(till.cell::<String>("SELECT status FROM sync_failures WHERE seq = 1"), "held");
    assert_eq!(till.cell::<i64>("SELECT head FROM sync_failures WHERE seq = 2"), 0);
    assert_eq!(till.sent.len(), 1);
}

/// When the commit before the request fails, nothing is sent.
#[test]
fn without_its_mark_on_disk_nothing_is_sent() {
    let mut till = Till::hq(HELD);
    till.change(
        "CREATE TRIGGER fault BEFORE UPDATE OF unsure ON sync_failures WHEN NEW.unsure = 1 AND OLD.unsure = 0 \
                 BEGIN SELECT RAISE(ABORT, 'fault'); END",
    );
    till.pass(SECOND);
    till.record("s-1", &json!({}));
    till.pass(MINUTE);
    assert!(till.sent.is_empty(), "{:?}", till.sent);
    till.change("DROP TRIGGER fault");
    till.pass(MINUTE);
    assert_eq!(till.sent.len(), 1);
    assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0);
}

/// An inconclusive extra attempt is held as well.
#[test]
fn an_unsure_second_chance_is_held() {
    for shut in [false, true] {
        let mut till = Till::hq(&format!("[retry]\nbackoff = [\"1s\"]\n{HELD}"));
        till.answers(|_| Some(status(500)));
        let seq = till.record("s-1", &json!({}));
        till.pass(HOUR);
        assert_eq!(till.failure(seq)["status"], "critical");
        till.answers(|_| None);
        till.pass(4 * HOUR);
        assert_eq!(till.failure(seq)["state"], "in_flight", "its extra attempt");
        if shut {
            till.ask(&json!({"op": "pause"}));
        }
        till.ends(seq, lost());
        till.settle();
        assert_eq!(till.failure(seq)["status"], "held");
    }
}

// ---- canaries

/// Where every route holds, no failure may test whether a block has ended; a probe does. It does
/// not do so every two seconds when the probe is answered well and failures are not.
#[test]
fn where_every_route_holds_a_probe_ends_a_block() {
    for ordering in ORDERINGS {
        let mut till = ordered(ordering, HELD);
        till.answers(|sent| Some(if sent.nth == 0 { status(401) } else { status(200) }));
        till.probe = Some(401);
        let seq = till.record("s-1", &json!({}));
        till.pass(20 * MINUTE);
        assert_eq!((till.state().as_str(), till.sent.len()), ("blocked", 1), "{ordering}: the probe still gets 401");
        till.probe = Some(405);
        till.pass(3 * MINUTE);
        assert_eq!(till.sent.len(), 2, "{ordering}");
        assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0, "{ordering}: {seq}");

        let mut till = ordered(ordering, HELD);
        till.answers(|_| Some(status(401)));
        till.record("s-1", &json!({}));
        till.pass(HOUR);
        assert!((2..50).contains(&till.sent.len()), "{ordering}: {} requests in an hour", till.sent.len());
    }
}

/// Under strict order as well, a failure whose route holds is not sent as a canary; a failing upstream waits.
#[test]
fn a_front_whose_route_holds_is_no_canary() {
    let mut till = ordered("strict", HELD);
    till.answers(|_| Some(status(500)));
    let seqs = [till.record("s-1", &json!({})), till.record("s-2", &json!({}))];
    till.pass(2 * HOUR);
    assert_eq!(till.state(), "failing");
    let sent = till.sent.len();
    till.pass(HOUR);
    assert_eq!(till.sent.len(), sent, "{seqs:?}");
    till.answers(|_| Some(status(200)));
    till.ask(&json!({"op": "resume"}));
    till.pass(MINUTE);
    assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0);
}

/// However many routes there are, each gets its turn: the only one that works is found.
#[test]
fn among_hundreds_of_routes_each_has_its_canary() {
    for routes in [3_u32, 66, 300] {
        let mut till = Till::hq("");
        let good = i64::from(routes / 2) + 1;
        till.answers(|_| Some(status(401)));
        for n in 0..routes {
            till.record(&format!("s-{n}"), &json!({"entity_type": format!("T{n:03}")}));
        }
        assert_eq!(till.state(), "blocked");
        till.answers(move |sent: &Sent| Some(if sent.seq == good { status(200) } else { status(401) }));
        till.pass(3 * MINUTE * (routes + 3));
        assert!(till.seqs().contains(&good), "{routes}: route {good} was never tried");
        let mut tried: Vec<i64> = till.seqs();
        tried.sort_unstable();
        tried.dedup();
        assert!(tried.len() > routes as usize / 3, "{routes}: {}", tried.len());
    }
}

/// A canary with a `Retry-After` is sent when that ends, not a minute later.
#[test]
fn a_canary_that_was_asked_to_wait_goes_when_its_wait_ends() {
    let mut till = Till::hq("max_pause = \"1s\"\n");
    till.answers(|sent| Some(if sent.nth == 0 { status(401) } else { later(503, 600) }));
    till.record("s-1", &json!({}));
    till.pass(10 * SECOND);
    assert_eq!(till.sent.len(), 2);
    till.answers(|_| Some(status(200)));
    till.pass(602 * SECOND);
    let wait = till.sent[2].at.since(till.sent[1].at);
    assert!((600..603).contains(&wait.as_secs()), "{wait:?}");
}

/// While the pacing delay runs, failures that were never attempted are sent before all others that are due.
#[test]
fn what_was_never_attempted_goes_before_hundreds_that_were() {
    let mut till = Till::hq("max_pause = \"20s\"\n");
    till.ask(&json!({"op": "pause"}));
    for n in 0..200 {
        till.record(&format!("s-{n}"), &json!({}));
    }
    // As after an uncounted attempt; another program must not write while the agent runs.
    till.change("UPDATE sync_failures SET attempts = 1, last_sent_at = 1");
    till.kill(SECOND);
    till.answers(|_| Some(status(503)));
    till.ask(&json!({"op": "resume"}));
    till.pass(30 * SECOND);
    assert!(!till.sent.is_empty());
    let fresh = till.record("fresh", &json!({}));
    let before = till.sent.len();
    till.pass(2 * MINUTE);
    assert_eq!(till.sent[before].seq, fresh, "{:?}", &till.seqs()[before..]);
}

// ---- rerouting

/// Counters of the old upstream have no meaning for the new one.
#[test]
fn a_failure_that_moves_leaves_the_old_upstreams_numbers_behind() {
    let both = |name: &str| {
        format!(
            "[upstream.old]\nurl = \"https://old.example/\"\n[upstream.new]\nurl = \"https://new.example/\"\n\
             [[route]]\nentity_type = \"SALE\"\nupstream = \"{name}\"\n[[route]]\nupstream = \"old\"\n\
             [retry]\nbackoff = [\"1s\"]\n"
        )
    };
    let mut till = Till::new(&both("old"));
    till.answers(|_| Some(status(200)));
    for n in 0..20 {
        till.record(&format!("r-{n}"), &json!({"entity_type": "RETURN"}));
    }
    till.answers(|_| Some(status(500)));
    let seq = till.record("s-1", &json!({}));
    till.pass(HOUR);
    assert_eq!(till.failure(seq)["status"], "critical");
    let only = "[upstream.new]\nurl = \"https://new.example/\"\n[retry]\nbackoff = [\"1s\"]\n";
    till.kill_and_configure(only);
    let retry_state: String = till.cell("SELECT retry_state FROM sync_failures");
    let retry_state: Value = serde_json::from_str(&retry_state).unwrap();
    assert_eq!((&retry_state["seen"], &retry_state["provisional"]), (&Value::Null, &json!("None")), "{retry_state}");
    assert_eq!(till.cell::<Option<i64>>("SELECT refundable_under FROM sync_failures"), None);
    till.answers(|_| Some(status(200)));
    till.record("s-2", &json!({}));
    till.pass(MINUTE);
    assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0, "it has its extra attempt there");
}

// ---- clean-up

/// A terminal that runs for only some hours between days of rest still cleans up.
#[test]
fn a_terminal_that_is_off_for_days_cleans_up() {
    let mut till = Till::hq("[retention]\nhistory = \"2d\"\n");
    for n in 0..10 {
        till.record(&format!("s-{n}"), &json!({}));
    }
    let old = "SELECT COUNT(*) FROM sync_attempts WHERE entity_id LIKE 's-%'";
    assert_eq!(till.cell::<i64>(old), 10);
    for _ in 0..20 {
        till.kill(Duration::from_hours(24 * 4));
        till.pass(10 * HOUR);
    }
    assert_eq!(till.cell::<i64>(old), 0, "its history grows for ever");
}

/// An old failure that needs an operator is also removed from behind a pending head, unless another
/// pending failure waits behind it.
#[test]
fn an_old_one_behind_a_pending_head_is_cleaned_up() {
    let mut till = Till::hq("[retention]\nmax_age = \"1h\"\n");
    till.ask(&json!({"op": "pause"}));
    let head = till.record("s-1", &json!({}));
    let follower = till.record("s-1", &json!({"action": "UPDATE"}));
    let [other, middle, last] =
        ["CREATE", "UPDATE", "DELETE"].map(|action| till.record("s-2", &json!({"action": action})));
    till.ask(&json!({"op": "hold", "ids": [follower, middle]}));
    till.pass(3 * HOUR);
    let live: Vec<bool> =
        [head, follower, other, middle, last].map(|seq| till.failure(seq)["seq"] == json!(seq)).to_vec();
    assert_eq!(live, [true, false, true, true, true]);
    let archived = "SELECT COUNT(*) FROM audit_log WHERE operation = 'cleanup' AND failure_id IS NOT NULL";
    assert_eq!(till.cell::<i64>(archived), 1);
}

// ---- alerts

fn hand_over(till: &mut Till, n: u32) -> i64 {
    till.record(&format!("s-{}", n % 5), &json!({"error": null, "action": format!("A{n}")}))
}

/// A hand-over is not a failure before its attempt, after a successful one, or after a restart; it
/// becomes one when its first attempt was not accepted.
#[test]
fn a_hand_over_is_a_failure_when_its_first_attempt_is_one() {
    let mut till = Till::hq("");
    for n in 0..30 {
        hand_over(&mut till, n);
    }
    till.ask(&json!({"op": "pause"}));
    for n in 30..60 {
        hand_over(&mut till, n);
    }
    for _ in 0..2 {
        assert!(!till.is_told("many_failures") && !till.is_told("entity_failing"));
        till.kill(SECOND);
    }
    assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_attempts WHERE why = 'handed_over'"), 30);

    let mut till = Till::hq("");
    till.answers(|_| Some(status(422)));
    for n in 0..11 {
        till.record(&format!("s-{n}"), &json!({"error": null}));
    }
    assert!(!till.is_told("many_failures"), "after ten the upstream is failing");
    till.pass(MINUTE);
    assert!(till.is_told("many_failures"), "eleven that were refused");
    let mut till = Till::hq("");
    for n in 0..11 {
        till.record(&format!("s-{n}"), &json!({}));
    }
    assert!(till.is_told("many_failures"), "eleven of which the application says that they have failed");
    till.kill(SECOND);
    assert!(till.is_told("many_failures"));
}

fn imported(till: &mut Till, id: u32, retries: u32, minutes_ago: u64) {
    let created = till.now.wall.before(MINUTE * u32::try_from(minutes_ago).unwrap()).rfc3339();
    let row = json!({"id": format!("dead-till-{id}"), "entity_type": "SALE", "entity_id": format!("i-{id}"),
        "action": "CREATE", "error": "HTTP 500: x", "retry_count": retries, "created_at": created});
    let reply = till.ask(&json!({"op": "import", "row": row}));
    assert_eq!(reply["result"], "imported", "{reply}");
}

/// `many_failures` counts by `created_at`, imported ones too.
#[test]
fn many_failures_counts_what_was_created_within_the_hour() {
    let mut till = Till::hq("");
    till.answers(|_| None);
    (0..30).for_each(|n| imported(&mut till, n, 0, 90));
    assert!(!till.is_told("many_failures"), "they are older");
    (30..41).for_each(|n| imported(&mut till, n, 0, 50));
    assert!(till.is_told("many_failures"));
    till.pass(30 * MINUTE);
    till.pass(40 * MINUTE);
    assert!(!till.is_told("many_failures"), "an hour after their creation");
}

/// `high_retries` is evaluated when the mean rises by an import, and when others are delivered.
#[test]
fn high_retries_is_evaluated_whenever_the_mean_may_have_changed() {
    let mut till = Till::hq("");
    till.ask(&json!({"op": "pause"}));
    till.pass(MINUTE);
    (0..2).for_each(|n| imported(&mut till, n, 5, 90));
    till.pass(MINUTE);
    assert!(till.is_told("high_retries"), "by an import");
    for n in 0..8 {
        till.record(&format!("s-{n}"), &json!({"error": "HTTP 503: x"}));
    }
    till.pass(5 * MINUTE);
    assert!(!till.is_told("high_retries"));
    till.ask(&json!({"op": "resume"}));
    till.pass(MINUTE);
    assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 2);
    assert!(till.is_told("high_retries"), "by deliveries");
}

/// A pause with failures waiting is reported after an hour, also across restarts, and the alert ends with it.
#[test]
fn a_long_pause_with_something_waiting_is_told() {
    let mut till = Till::hq("");
    till.ask(&json!({"op": "pause"}));
    till.pass(2 * HOUR);
    assert!(!till.is_told("upstream_paused"), "nothing waits");
    till.record("s-1", &json!({}));
    assert!(till.is_told("upstream_paused"));
    till.ask(&json!({"op": "resume"}));
    till.pass(MINUTE);
    assert!(!till.is_told("upstream_paused"));
    till.ask(&json!({"op": "pause"}));
    till.record("s-2", &json!({}));
    till.pass(50 * MINUTE);
    assert!(!till.is_told("upstream_paused"));
    till.kill(SECOND);
    till.pass(11 * MINUTE);
    assert!(till.is_told("upstream_paused"));
}

/// A round that was not committed counts nothing, and loses nothing that was counted before.
#[test]
fn what_was_not_committed_is_not_told() {
    let mut till = Till::hq("");
    till.ask(&json!({"op": "pause"}));
    for n in 0..10 {
        till.record(&format!("s-{n}"), &json!({}));
    }
    for n in 0..3 {
        till.record("e", &json!({"action": format!("A{n}"), "order_key": "x"}));
    }
    till.pass(61 * MINUTE);
    assert!(!till.is_told("many_failures") && !till.is_told("entity_failing"));
    till.change("CREATE TRIGGER fault BEFORE INSERT ON sync_failures BEGIN SELECT RAISE(ABORT, 'fault'); END");
    for n in 0..12 {
        let request =
            json!({"op": "record", "entity_type": "SALE", "entity_id": "e", "action": format!("B{n}"), "error": "x"});
        let reply = till.ask(&request);
        assert_eq!(reply["ok"], false, "{reply}");
        till.pass(SECOND);
        assert!(!till.is_told("many_failures") && !till.is_told("entity_failing"), "{n}");
    }
    till.change("DROP TRIGGER fault");
    till.pass(MINUTE);
    till.record("e", &json!({"action": "C", "order_key": "x"}));
    assert!(till.is_told("entity_failing"), "the fourth");
}

/// Deliveries stand for the failures that were recorded before the agent was started again; they count from the
/// recording, not from the delivery.
#[test]
fn a_backlog_that_was_delivered_is_no_news_after_a_restart() {
    let mut till = Till::hq("");
    till.probe = None;
    till.answers(|_| Some(refused_connection()));
    for n in 0..12 {
        till.record(&format!("s-{n}"), &json!({}));
        till.record("e", &json!({"order_key": format!("o-{n}")}));
    }
    till.pass(25 * HOUR);
    assert!(!till.is_told("many_failures") && !till.is_told("entity_failing"), "they are a day old");
    till.probe = Some(200);
    till.answers(|_| Some(status(200)));
    till.pass(20 * MINUTE);
    assert_eq!(till.cell::<i64>("SELECT COUNT(*) FROM sync_failures"), 0);
    till.kill(SECOND);
    till.pass(MINUTE);
    assert!(!till.is_told("many_failures") && !till.is_told("entity_failing"));
}

/// The disk is looked at once a second. In between, what is recorded counts against what was free.
#[test]
fn a_burst_of_large_records_stops_at_the_least_free_room() {
    const LEAST: u64 = 64 << 20;
    const ROOM: u64 = 8 << 20;
    let mut till = Till::hq("[limits]\nmin_free_disk = \"64MiB\"\n");
    till.ask(&json!({"op": "pause"}));
    till.disk_has(LEAST + ROOM);
    let payload = "x".repeat(200 << 10);
    for looks in 0..2 {
        let mut taken = 0;
        let refused = loop {
            let request = json!({"op": "record", "entity_type": "SALE", "entity_id": "s", "action": "CREATE",
                "error": "x", "payload": payload});
            let reply = till.ask(&request);
            if reply["ok"] != true {
                break reply;
            }
            taken += 1;
            // The log has room of its own for 4 MiB.
            assert!(taken <= 80, "{looks}: {taken} records of 200 KiB where 8 MiB are free");
        };
        assert_eq!(refused["error"]["code"], "disk_full", "{refused}");
        assert!(taken >= 20, "{looks}: {taken} records of 200 KiB where 8 MiB are free");
        till.disk_has(LEAST + ROOM);
    }
}

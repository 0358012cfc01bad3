//! Bounds on what clients hold and do; one of them never hurts the others.

use crate::support::{
    Agent, Client, Plan, Upstream, code, id_of, lines, record, record_now, stays, wait_until, wait_up_to,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

fn hello(client: &mut Client) -> Value {
    client.call(&json!({"op": "hello"}))
}

/// `full` when `limits.max_failures` is reached; nothing was recorded, a duplicate is still
/// answered, and what leaves makes room.
#[test]
fn a_full_agent_says_so_and_takes_more_when_there_is_room() {
    let upstream = Upstream::willing();
    let agent = Agent::start(&Plan { limits: "max_failures = 3", ..Plan::to(upstream.url()) });
    agent.ask(&json!({"op": "pause"}));
    let mut app = agent.app();
    let keyed = record("s-0", &json!({"retry": "now", "idempotency_key": "k-0"}));
    let first = id_of(&app.call(&keyed));
    // All in one write: the bound holds within a round, too.
    app.send(lines((1..=5).map(|n| record_now(&format!("s-{n}")))));
    let replies: Vec<Value> = (1..=5).map(|_| app.reply()).collect();
    assert_eq!(replies.iter().filter(|reply| reply["ok"] == true).count(), 2, "{replies:?}");
    assert!(replies[2..].iter().all(|reply| code(reply) == "full"), "{replies:?}");
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 3);
    let again = app.call(&keyed);
    assert_eq!((&again["id"], &again["duplicate"]), (&json!(first), &json!(true)), "{again}");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&first);
    wait_until("room for one more", || app.call(&record_now("s-9"))["ok"] == true);
}

/// One connection more than `limits.max_connections` closes the one that has been idle longest.
#[test]
fn one_connection_too_many_closes_the_idlest() {
    let agent = Agent::start(&Plan { limits: "max_connections = 3", ..Plan::default() });
    let mut clients = [agent.app(), agent.app(), agent.app()];
    // The first one speaks once more, so the second is the idlest. The agent counts milliseconds, and spares
    // whoever was active within the last second.
    for n in [0, 1, 2, 0] {
        assert_eq!(hello(&mut clients[n])["ok"], true);
        let spoke = Instant::now();
        wait_until("the clock moving on", || spoke.elapsed() > Duration::from_millis(5));
    }
    let spoke = Instant::now();
    wait_until("nobody having been active just now", || spoke.elapsed() > Duration::from_millis(1200));
    let mut fourth = agent.app();
    assert_eq!(hello(&mut fourth)["ok"], true);
    assert_eq!(clients[1].text(), None, "the idlest is closed");
    for n in [0, 2] {
        assert_eq!(hello(&mut clients[n])["ok"], true, "client {n} stays");
    }
}

/// A newcomer never closes a connection that was active within the last second: it gets `busy` instead.
#[test]
fn a_newcomer_closes_nobody_who_was_active_just_now() {
    let agent = Agent::start(&Plan { limits: "max_connections = 2", ..Plan::default() });
    let mut clients = [agent.app(), agent.app()];
    let begun = Instant::now();
    let mut turned_away = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        for client in &mut clients {
            assert_eq!(hello(client)["ok"], true);
        }
        let spoke = Instant::now();
        let mut newcomer = agent.app();
        let text = newcomer.text();
        if spoke.elapsed() < Duration::from_millis(900) {
            let reply: Value = serde_json::from_str(&text.expect("a reply")).expect("JSON");
            assert_eq!(code(&reply), "busy");
            turned_away += 1;
        }
    }
    assert!(turned_away > 0, "this machine is too slow for this test");
}

/// Who has closed its connection is no longer connected, whether the agent has noticed that or not: the next one gets its
/// place at once, although all were active just now.
#[test]
fn a_newcomer_gets_the_place_of_one_that_has_just_closed() {
    let agent = Agent::start(&Plan { limits: "max_connections = 2", ..Plan::default() });
    let mut stays = agent.app();
    for n in 0..500 {
        assert_eq!(hello(&mut stays)["ok"], true);
        let mut goes = agent.app();
        // Some of them leave something behind.
        let last = record(&format!("s-{n}"), &json!({}));
        if n % 3 == 0 {
            goes.line(&last.to_string());
        } else {
            assert_eq!(hello(&mut goes)["ok"], true, "client {n}");
        }
        drop(goes);
        let mut next = agent.app();
        assert_eq!(hello(&mut next)["ok"], true, "the one after client {n}");
        drop(next);
    }
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 167);
}

/// The number that the agent's next descriptor gets: the lowest one that is free.
fn next_descriptor(agent: &Agent) -> u64 {
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("its descriptors");
    let open: Vec<String> = open.map(|one| one.expect("one").file_name().to_string_lossy().into_owned()).collect();
    (0..1 << 20).find(|number: &u64| !open.contains(&number.to_string())).expect("one is free")
}

fn allow_descriptors(agent: &Agent, most: u64) {
    let pid = i32::try_from(agent.pid()).ok().and_then(Pid::from_raw).expect("a process");
    let limit = Rlimit { current: Some(most), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Some(pid), Resource::Nofile, limit).expect("the limit of a child can be set");
}

/// A client gets the last descriptor. Nobody else is waiting, so none of the idle clients is closed.
#[test]
fn the_last_descriptor_costs_nobody_a_connection() {
    let agent = Agent::start(&Plan::default());
    wait_until("the look for damage being over", || agent.log().contains("event=checked"));
    let mut idle: Vec<Client> = (0..5).map(|_| agent.app()).collect();
    idle.iter_mut().for_each(|client| assert_eq!(hello(client)["ok"], true));
    // Clients that were active within a second are never closed.
    stays("they are connected", Duration::from_millis(1200), || idle.iter_mut().all(|client| !client.has_reply()));
    allow_descriptors(&agent, next_descriptor(&agent) + 1);
    let mut last = agent.app();
    assert_eq!(hello(&mut last)["ok"], true);
    idle.iter_mut().for_each(|client| assert_eq!(hello(client)["ok"], true));
}

/// At the system's limit of descriptors the agent lets nobody in for a while instead of trying without a pause; those
/// who are connected are served, and who waits is let in when there is a descriptor again.
#[test]
fn at_the_limit_of_descriptors_newcomers_wait_and_the_agent_does_not_spin() {
    let agent = Agent::start(&Plan::default());
    let next = || next_descriptor(&agent);
    let mut clients: Vec<Client> = (0..10).map(|_| agent.app()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(hello(client)["ok"], true));
    let allow = |most: u64| allow_descriptors(&agent, most);
    allow(next());
    let mut waiting: Vec<Client> = (0..3).map(|_| agent.app()).collect();
    waiting.iter_mut().for_each(|client| client.line("{\"op\":\"hello\"}"));
    let mut refused = 0;
    // Nobody who was active just now is closed for them.
    wait_until("the listener's pause", || {
        clients.iter_mut().for_each(|client| assert_eq!(hello(client)["ok"], true));
        refused = agent.log().matches("event=accept_failed").count();
        refused > 0
    });
    let spent = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).expect("it runs");
        let behind = stat.rsplit_once(')').expect("its name").1;
        let numbers: Vec<i64> = behind.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // utime and stime, the 14th and 15th of all fields, in hundredths of a second.
        numbers[10] + numbers[11]
    };
    let before = spent();
    stays("those who are connected are served", Duration::from_millis(800), || {
        clients.iter_mut().all(|client| hello(client)["ok"] == true)
    });
    let used = spent() - before;
    assert!(used < 40, "{used} hundredths of a second of computing in 80");
    assert!(waiting.iter_mut().all(|client| !client.has_reply()));
    allow(next() + 10);
    for client in &mut waiting {
        assert_eq!(client.reply()["ok"], true, "it was let in");
    }
}

/// Administrators have connections of their own: however many applications are connected, their questions are
/// answered.
#[test]
fn applications_take_no_administrators_connection() {
    let agent = Agent::start(&Plan { limits: "max_connections = 2", ..Plan::default() });
    let mut clients = [agent.app(), agent.app()];
    for client in &mut clients {
        client.send("{\"op\":\"hello\"}\n{\"op\":");
        assert_eq!(client.reply()["ok"], true);
    }
    for _ in 0..5 {
        assert_eq!(agent.ask(&json!({"op": "list"}))["ok"], true);
    }
    for client in &mut clients {
        client.send("\"hello\"}\n");
        assert_eq!(client.reply()["ok"], true);
    }
}

/// Only one with nothing in flight is closed for a newcomer: who is closed without a reply, of
/// that one nothing was taken either.
#[test]
fn a_newcomer_closes_nobody_who_waits_for_an_answer() {
    let agent = Agent::start(&Plan { limits: "max_connections = 1", ..Plan::default() });
    for n in 0..200 {
        let entity = format!("s-{n}");
        let mut first = agent.app();
        // Whether both are there before the agent's next pass or not, the promise holds.
        // It may have been refused already.
        let _ = first.send_what_it_takes(format!("{}\n", record(&entity, &json!({}))).as_bytes());
        let mut newcomer = agent.app();
        let answered = first.text().is_some_and(|reply| reply.starts_with("{\"ok\":true"));
        drop(first);
        // Its answer, or its being turned away, shows that the agent has been through both.
        let _ = newcomer.send_what_it_takes(b"{\"op\":\"hello\"}\n");
        let _ = newcomer.text();
        let recorded = agent.cell(&format!("SELECT COUNT(*) FROM sync_failures WHERE entity_id = '{entity}'")) == 1;
        assert_eq!(answered, recorded, "record {n}: answered or closed, and recorded or not");
    }
}

/// If none is idle the newcomer gets `busy` and is closed.
#[test]
fn one_connection_too_many_is_busy_when_none_is_idle() {
    let agent = Agent::start(&Plan { limits: "max_connections = 2", ..Plan::default() });
    let mut clients = [agent.app(), agent.app()];
    for client in &mut clients {
        // The reply shows that the half line behind it was read with it.
        client.send("{\"op\":\"hello\"}\n{\"op\":");
        assert_eq!(client.reply()["ok"], true);
    }
    let mut third = agent.app();
    assert_eq!(code(&third.reply()), "busy");
    assert_eq!(third.text(), None);
    for client in &mut clients {
        client.send("\"hello\"}\n");
        assert_eq!(client.reply()["ok"], true, "those that were there stay");
    }
}

/// A client with more than 256 KiB of unread replies is no longer read, and cut off after 10 s,
/// without hurting others; what it recorded stays recorded.
#[test]
fn a_client_that_never_reads_is_cut_off_and_hurts_nobody() {
    let agent = Agent::start(&Plan::default());
    let mut deaf = agent.app();
    deaf.line(&record("s-1", &json!({})).to_string());
    deaf.write_timeout(Duration::from_millis(300));
    let line = format!("{}\n", json!({"op": "hello", "ref": "x".repeat(3000)}));
    // Until the agent does not read any more.
    let begun = Instant::now();
    let flood = line.repeat(64);
    while deaf.send_what_it_takes(flood.as_bytes()).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it reads without end");
    }
    let mut other = agent.app();
    for n in 0..50 {
        let begun = Instant::now();
        id_of(&other.call(&record(&format!("o-{n}"), &json!({}))));
        assert!(begun.elapsed() < Duration::from_secs(2), "another client waited {:?}", begun.elapsed());
    }
    wait_until("the deaf client being cut off", || agent.log().contains("client_cut_off"));
    deaf.rest_until_closed();
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 51);
    assert_eq!(hello(&mut other)["ok"], true);
}

/// A line not complete 30 s after its first byte closes the connection, whether the client hangs
/// or sends a byte now and then; one that has sent nothing may stay.
#[test]
#[ignore = "takes 30 s; run it with --include-ignored"]
fn a_line_that_takes_longer_than_30_s_closes_the_connection() {
    let agent = Agent::start(&Plan::default());
    let (mut idle, mut hanging, mut slow) = (agent.app(), agent.app(), agent.app());
    let begun = Instant::now();
    hanging.send("{\"op\":");
    wait_up_to(Duration::from_secs(60), "the slow client being cut off", || slow.send_what_it_takes(b" ").err());
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(29_900), "cut off after {took:?}");
    assert_eq!(hanging.text(), None);
    assert_eq!(hello(&mut idle)["ok"], true);
}

/// Many clients with half a line each, and lines of a megabyte, do not delay others.
#[test]
fn half_lines_and_long_lines_do_not_delay_others() {
    let agent = Agent::start(&Plan::default());
    let mut hanging: Vec<Client> = (0..200).map(|_| agent.app()).collect();
    for client in &mut hanging {
        client.send("{\"op\":\"record\",\"entity_type\":\"SALE\"");
    }
    let mut long: Vec<Client> = (0..10).map(|_| agent.app()).collect();
    for client in &mut long {
        client.send("{\"op\":\"hello\",\"ref\":\"".to_owned() + &"x".repeat(900 << 10));
    }
    let mut other = agent.app();
    for n in 0..50 {
        let begun = Instant::now();
        id_of(&other.call(&record(&format!("o-{n}"), &json!({}))));
        assert!(begun.elapsed() < Duration::from_secs(2), "another client waited {:?}", begun.elapsed());
    }
    for client in &mut hanging {
        client.send(",\"entity_id\":\"h-1\",\"action\":\"CREATE\",\"error\":\"x\"}\n");
    }
    assert!(hanging.iter_mut().all(|client| client.reply()["ok"] == true));
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 250);
}

/// 02: all buffers together stay under 24 MiB; beyond it `busy`. 05: others keep being served.
#[test]
fn buffers_are_bounded_over_all_clients() {
    let agent = Agent::start(&Plan::default());
    let part = "{\"op\":\"hello\",\"ref\":\"".to_owned() + &"x".repeat(1000 << 10);
    let mut clients: Vec<Client> = (0..36).map(|_| agent.app()).collect();
    for client in &mut clients {
        // One that was given up already does not read any more.
        let _ = client.send_what_it_takes(part.as_bytes());
    }
    let mut other = agent.app();
    assert_eq!(other.call(&record("s-1", &json!({})))["ok"], true);
    let (mut served, mut busy) = (0, 0);
    for client in &mut clients {
        let _ = client.send_what_it_takes(b"\"}\n");
        let reply = client.reply();
        if reply["ok"] == true {
            served += 1;
        } else {
            assert_eq!(code(&reply), "busy");
            busy += 1;
        }
    }
    assert!(busy >= 36 - 24, "36 MiB were held at once: {served} served, {busy} busy");
    assert!(served >= 18, "more were given up than needed: {served} served, {busy} busy");
}

/// Binary rubbish on both sockets, and clients that come and go, leave the agent as it was.
#[test]
fn rubbish_leaves_the_agent_as_it_was() {
    let agent = Agent::start(&Plan::default());
    let rubbish: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for path in [agent.app_path(), agent.admin_path()] {
        for _ in 0..20 {
            let mut client = Client::connect(path.clone());
            // The client does not read the replies.
            let _ = client.send_what_it_takes(&rubbish);
        }
    }
    assert_eq!(agent.call(&json!({"op": "hello"}))["ok"], true);
    assert_eq!(agent.cell("SELECT COUNT(*) FROM sync_failures"), 0);
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}

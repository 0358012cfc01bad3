//! Which failure is meant: imported ids may be digits, and numbers are digits too.

use super::command_line::{out, resyncd, resyncd_reading, told};
use crate::support::{Agent, Plan, code, id_of, record};
use serde_json::{Value, json};

/// Sales no. 1 to 3, and imported returns with the ids 1 to 3, which are no. 4 to 6.
fn mixed() -> Agent {
    let agent = Agent::start(&Plan::default());
    for n in 1..=3 {
        id_of(&agent.call(&record(&format!("s-{n}"), &json!({}))));
    }
    for n in 1..=3 {
        let row =
            json!({"id": n, "entity_type": "RETURN", "entity_id": format!("r-{n}"), "action": "CREATE", "error": "x"});
        assert_eq!(agent.ask(&json!({"op": "import", "row": row}))["seq"], 3 + n);
    }
    agent
}

fn live(agent: &Agent) -> Value {
    agent.cell("SELECT group_concat(entity_type || seq, ' ') FROM (SELECT * FROM sync_failures ORDER BY seq)")
}

/// The output of `list --json` is a list of ids, whatever they look like.
#[test]
fn lines_of_json_are_read_by_their_ids() {
    let agent = mixed();
    let returns = out(&resyncd(&agent, &["list", "--type", "RETURN", "--json"]));
    let done = resyncd_reading(&agent, &["discard", "-", "--reason", "x", "--yes"], &returns);
    assert!(done.status.success(), "{}", told(&done));
    assert_eq!(live(&agent), "SALE1 SALE2 SALE3");
    let wrong = resyncd_reading(&agent, &["discard", "-", "--reason", "x", "--yes"], "{\"seq\":1}\n");
    assert_eq!(wrong.status.code(), Some(2), "{}", told(&wrong));
    assert_eq!(live(&agent), "SALE1 SALE2 SALE3");
}

/// Digits are a number, unless a live failure has exactly that id: then a person has to say which.
#[test]
fn digits_that_may_mean_two_failures_mean_none() {
    let agent = mixed();
    let shown = out(&resyncd(&agent, &["show", "5"]));
    assert!(shown.starts_with("RETURN r-2 CREATE   no. 5"), "{shown}");
    for command in [&["show", "2"][..], &["hold", "2"], &["discard", "2", "--reason", "x", "--yes"], &["history", "2"]]
    {
        let asked = resyncd(&agent, command);
        assert_eq!(asked.status.code(), Some(1), "{command:?}");
        let said = told(&asked);
        assert!(said.contains("SALE s-2") && said.contains("RETURN r-2") && said.contains("id:2"), "{said}");
    }
    assert_eq!(live(&agent), "SALE1 SALE2 SALE3 RETURN4 RETURN5 RETURN6");
    assert!(resyncd(&agent, &["discard", "#2", "--reason", "x", "--yes"]).status.success());
    assert!(resyncd(&agent, &["discard", "id:1", "--reason", "x", "--yes"]).status.success());
    assert_eq!(live(&agent), "SALE1 SALE3 RETURN5 RETURN6");
    // The number no longer exists; the id of another failure does not take its place.
    let asked = resyncd(&agent, &["discard", "2", "--reason", "x", "--yes"]);
    assert_eq!((asked.status.code(), live(&agent)), (Some(1), json!("SALE1 SALE3 RETURN5 RETURN6")));
}

/// A number that has left is not the entity of the same name.
#[test]
fn a_number_is_never_an_entity() {
    let agent = Agent::start(&Plan::default());
    id_of(&agent.call(&record("1", &json!({}))));
    id_of(&agent.call(&record("1", &json!({}))));
    assert!(resyncd(&agent, &["discard", "1", "--reason", "x", "--yes", "--let-followers"]).status.success());
    let asked = resyncd(&agent, &["discard", "1", "--reason", "x", "--yes"]);
    assert_eq!(asked.status.code(), Some(1), "{}", told(&asked));
    assert!(told(&asked).contains("an entity has this id"), "{}", told(&asked));
    assert_eq!(live(&agent), "SALE2");
}

/// Numbers have no leading zeros, and ids of version 7 begin with one.
#[test]
fn digits_with_a_leading_zero_begin_an_id() {
    let agent = Agent::start(&Plan::default());
    for (id, entity) in [("01951234-aaaa", "s-1"), ("0007", "s-2")] {
        let row = json!({"id": id, "entity_type": "SALE", "entity_id": entity, "action": "CREATE", "error": "x"});
        agent.ask(&json!({"op": "import", "row": row}));
    }
    for (name, entity) in [("01951234", "SALE s-1"), ("0007", "SALE s-2")] {
        let shown = out(&resyncd(&agent, &["show", name]));
        assert!(shown.starts_with(entity), "{name}: {shown}");
    }
}

/// On the wire a string is an id and a number is a number; what is neither is refused.
#[test]
fn the_type_of_a_name_says_what_it_is() {
    let agent = mixed();
    let seq = |name: Value| agent.ask(&json!({"op": "get", "id": name}))["failure"]["seq"].clone();
    assert_eq!([seq(json!("2")), seq(json!(2)), seq(json!("#2"))], [json!(5), json!(2), json!(2)]);
    let hold = |ids: Value| agent.ask(&json!({"op": "hold", "ids": ids}));
    assert_eq!(hold(json!(["1", 1, "#2"]))["changed"], 3);
    assert_eq!(agent.cell("SELECT group_concat(seq) FROM sync_failures WHERE status = 'held'"), "1,2,4");
    assert_eq!(code(&hold(json!([1, true]))), "bad_request");
    assert_eq!(code(&hold(json!(["4"]))), "not_found", "no id");
    assert_eq!(code(&hold(json!(["01"]))), "not_found");
}

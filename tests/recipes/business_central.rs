//! STUB: Business Central's API v2.0 and Microsoft Entra's token endpoint, as documented on learn.microsoft.com
//! (salesOrders, error codes, rate limits; as of 2026). A sale needs a `customerNumber`.

use crate::kitchen::{
    Books, Recipe, asked_for, blocks, delivers, json_of, key_of, looks_before_it_sends_again, refuses, sale, tries,
    waits,
};
use crate::support::upstream::Request;
use crate::support::{Answer, Upstream, id_of, wait_until};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const COMPANY: &str = "/v2.0/TENANT/production/api/v2.0/companies(COMPANY)";
const CLIENT: &str = "grant_type=client_credentials&client_id=till&client_secret=cs-0001\
                      &scope=https%3A%2F%2Fapi.businesscentral.dynamics.com%2F.default";

fn payload() -> Value {
    json!({"orderDate": "2026-11-24", "customerNumber": "10000"})
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"error": {"code": code, "message": message}}).to_string())
}

struct Central {
    recipe: Recipe,
    api: Upstream,
    door: Upstream,
    books: Books,
    token: Arc<Mutex<String>>,
}

/// An existing customer, by its id, and its tag.
fn customer(request: &Request) -> Answer {
    match (request.header("If-Match"), request.entity()) {
        (None, _) => error(
            400,
            "BadRequest_InvalidToken",
            "Could not validate the client concurrency token required by the service.",
        ),
        (Some(_), "changed") if request.attempt() == 1 => {
            error(409, "Request_EntityChanged", "Another user has already changed the record.")
        }
        (Some("*"), "gone") => error(404, "Internal_RecordNotFound", "The Customer does not exist."),
        (Some(_), _) if request.method == "DELETE" => {
            Answer::Reply { status: 204, headers: Vec::new(), body: String::new() }
        }
        (Some(_), _) => Answer::json(200, r#"{"id":"c-1"}"#),
    }
}

fn central() -> Central {
    let (books, token) = (Books::default(), Arc::<Mutex<String>>::default());
    let (kept, valid, made) = (books.clone(), Arc::clone(&token), Arc::clone(&token));
    let door = Upstream::start(move |request| {
        assert_eq!(request.path, "/TENANT/oauth2/v2.0/token");
        assert_eq!(request.header("Content-Type"), Some("application/x-www-form-urlencoded"));
        if request.text() != CLIENT {
            return Answer::json(401, r#"{"error":"invalid_client","error_description":"AADSTS7000215: …"}"#);
        }
        let mut token = made.lock().expect("no holder panics");
        *token = format!("at-{}", request.nth);
        Answer::json(200, &json!({"token_type": "Bearer", "expires_in": 3599, "access_token": *token}).to_string())
    });
    let api = Upstream::start(move |request| {
        let wanted = format!("Bearer {}", valid.lock().expect("no holder panics"));
        if request.header("Authorization") != Some(&wanted) {
            return error(401, "Authentication_InvalidCredentials", "The server has rejected the client credentials.");
        }
        let path = request.path.strip_prefix(COMPANY).expect("the company's path");
        let asked = "/salesOrders?$select=id&$top=1&$filter=externalDocumentNumber%20eq%20'";
        if let Some(key) = asked_for(path, asked, "'") {
            let found = if kept.has(&key) { json!([{"id": "o-1"}]) } else { json!([]) };
            return Answer::json(200, &json!({"value": found}).to_string());
        }
        if path.starts_with("/customers(") {
            return customer(request);
        }
        assert_eq!((request.method.as_str(), path), ("POST", "/salesOrders"));
        match (request.entity(), request.attempt()) {
            ("slow", 1) => return error(429, "Application_TooManyRequests", "Too many requests reached."),
            ("away", 1) => return error(400, "Internal_TenantUnavailable", "The tenant is not accessible."),
            ("database", 1) => return error(400, "Internal_ServerError", "Cannot establish a connection."),
            _ => {}
        }
        let order = json_of(request);
        if !order["customerNumber"].is_string() {
            return error(400, "Application_DialogException", "A customerNumber or a customerID must be provided.");
        }
        let key = order["externalDocumentNumber"].as_str().expect("a key");
        assert!(key.len() <= 35, "Business Central takes no longer one: {key}");
        kept.take(request, key, Answer::json(201, r#"{"id":"o-1","number":"101005"}"#))
    });
    let recipe = Recipe::read("business-central/resyncd.toml")
        .host("https://api.businesscentral.example", api.port())
        .host("https://login.microsoftonline.example", door.port())
        .secret("bc-client.form", CLIENT);
    Central { recipe, api, door, books, token }
}

#[test]
fn business_central_takes_a_sale() {
    let central = central();
    delivers(&central.recipe.serve(), &central.books, &payload());
}

#[test]
fn business_central_refuses_in_its_own_words() {
    let central = central();
    let words = "HTTP 400: A customerNumber or a customerID must be provided.";
    refuses(&central.recipe.serve(), &central.books, &json!({"orderDate": "2026-11-24"}), words);
}

#[test]
fn business_central_is_asked_before_a_sale_is_sent_again() {
    let central = central();
    looks_before_it_sends_again(&central.recipe.serve(), &central.books, &payload());
}

#[test]
fn business_central_throttles_and_the_sale_waits() {
    let central = central();
    let words = "HTTP 429: Too many requests reached.";
    waits(&central.recipe.serve(), &central.books, "slow", &payload(), "throttled", words);
}

#[test]
fn business_centrals_tenant_is_away_and_the_sale_waits() {
    let central = central();
    let words = "HTTP 400: The tenant is not accessible.";
    waits(&central.recipe.serve(), &central.books, "away", &payload(), "busy", words);
}

#[test]
fn business_centrals_own_fault_costs_one_try() {
    let central = central();
    let agent = central.recipe.serve();
    agent.wait_gone(&id_of(&agent.call(&sale("database", &payload()))));
    assert_eq!(tries(&agent), json!([["failed", 1], ["delivered", 0]]));
    assert_eq!(central.books.all(), [key_of("database")]);
}

#[test]
fn business_centrals_token_is_taken_back_and_fetched_again() {
    let central = central();
    let agent = central.recipe.serve();
    delivers(&agent, &central.books, &payload());
    "revoked".clone_into(&mut central.token.lock().expect("no holder panics"));
    agent.wait_gone(&id_of(&agent.call(&sale("s-2", &payload()))));
    assert_eq!(central.books.all(), ["s-1", "s-2"].map(key_of));
    assert_eq!(central.door.deliveries().len(), 2);
    assert_eq!(tries(&agent), json!([["delivered", 0], ["delivered", 0]]));
}

#[test]
fn business_central_with_a_wrong_secret_blocks_and_does_not_insist() {
    let central = central();
    central.recipe.put("bc-client.form", "grant_type=client_credentials&client_secret=cs-0000");
    let agent = central.recipe.serve();
    blocks(&agent, &payload());
    assert_eq!((central.door.deliveries().len(), central.api.deliveries().len()), (1, 0));
    // An operator's resume ends the wait, once.
    agent.ask(&json!({"op": "resume"}));
    wait_until("a second try", || tries(&agent).as_array().is_some_and(|tries| tries.len() > 1));
    assert_eq!((central.door.deliveries().len(), central.api.deliveries().len()), (2, 0));
}

/// Changes and deletions name a tag; a conflicting change uses a retry, and a missing record counts as deleted.
#[test]
fn business_centrals_records_are_changed_and_deleted() {
    let central = central();
    let agent = central.recipe.serve();
    let change = |entity: &str, action: &str| {
        let payload = if action == "DELETE" { Value::Null } else { json!({"phoneNumber": "1"}) };
        id_of(&agent.call(&json!({
            "op": "record", "entity_type": "CUSTOMER", "entity_id": entity, "action": action, "retry": "now",
            "error": "HTTP 503: busy", "payload": payload,
        })))
    };
    for (entity, action) in [("c-1", "UPDATE"), ("c-1", "DELETE"), ("gone", "DELETE"), ("changed", "UPDATE")] {
        agent.wait_gone(&change(entity, action));
    }
    let seen: Vec<String> =
        central.api.deliveries().iter().map(|sent| format!("{} {}", sent.method, sent.path)).collect();
    let at = |method: &str, id: &str| format!("{method} {COMPANY}/customers({id})");
    let wanted = [("PATCH", "c-1"), ("DELETE", "c-1"), ("DELETE", "gone"), ("PATCH", "changed"), ("PATCH", "changed")];
    assert_eq!(seen, wanted.map(|(method, id)| at(method, id)));
    assert_eq!(agent.cell("SELECT SUM(counted) FROM sync_attempts"), 1);
}

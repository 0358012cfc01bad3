//! STUB: Shopify's GraphQL Admin API 2026-10, as its pages on `orderCreate`, `orderByIdentifier`, custom
//! ids, error codes and rate limits say. It reads no GraphQL: that the requests are Shopify's schema was
//! held against the reference by eye.

use crate::kitchen::{
    Books, Recipe, blocks, delivers, json_of, key_of, looks_before_it_sends_again, refuses, sale, tries, waits,
};
use crate::support::{Answer, Upstream, id_of};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn payload() -> Value {
    json!({"currency": "EUR", "lineItems": [{"variantId": "gid://shopify/ProductVariant/1", "quantity": 2}]})
}

fn answer(body: &Value) -> Answer {
    Answer::json(200, &body.to_string())
}

fn error(code: &str, message: &str) -> Answer {
    answer(&json!({"errors": [{"message": message, "extensions": {"code": code}}]}))
}

fn throttled() -> Answer {
    let status = json!({"maximumAvailable": 1000.0, "currentlyAvailable": 2, "restoreRate": 50.0});
    answer(&json!({
        "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
        "extensions": {"cost": {"requestedQueryCost": 10, "actualQueryCost": null, "throttleStatus": status}},
    }))
}

struct Shop {
    recipe: Recipe,
    server: Upstream,
    books: Books,
    /// The next query is throttled.
    busy: Arc<AtomicBool>,
}

fn shop() -> Shop {
    let (books, busy) = (Books::default(), Arc::<AtomicBool>::default());
    let (kept, refuses) = (books.clone(), Arc::clone(&busy));
    let server = Upstream::start(move |request| {
        assert_eq!(request.path, "/admin/api/2026-10/graphql.json");
        if request.header("X-Shopify-Access-Token") != Some("shpat_1") {
            return Answer::json(
                401,
                r#"{"errors":"[API] Invalid API key or access token (unrecognized login or wrong password)"}"#,
            );
        }
        let asked = json_of(request);
        let query = asked["query"].as_str().expect("a query");
        assert_eq!(query.matches('{').count(), query.matches('}').count(), "{query}");
        let variables = &asked["variables"];
        if query.contains(
            "orderByIdentifier(identifier: { customId: { namespace: \"resyncd\", key: \"key\", value: $key } })",
        ) {
            if refuses.swap(false, Ordering::SeqCst) {
                return throttled();
            }
            let there = kept.has(variables["key"].as_str().expect("a key"));
            let order = if there { json!({"id": "gid://shopify/Order/1"}) } else { Value::Null };
            return answer(&json!({"data": {"orderByIdentifier": order}}));
        }
        assert!(
            query.starts_with("mutation ($order: OrderCreateOrderInput!) { orderCreate(order: $order) "),
            "{query}"
        );
        let order = &variables["order"];
        let field = &order["metafields"][0];
        assert_eq!(
            (&field["namespace"], &field["key"], &field["type"]),
            (&json!("resyncd"), &json!("key"), &json!("id"))
        );
        match (request.entity(), request.attempt()) {
            ("slow", 1) => return throttled(),
            ("denied", 1) => return error("ACCESS_DENIED", "Access denied for orderCreate field."),
            ("broken", 1) => return error("INTERNAL_SERVER_ERROR", "Internal error."),
            _ => {}
        }
        let made = |order: &Value, errors: &Value| {
            answer(&json!({"data": {"orderCreate": {"order": order, "userErrors": errors}}}))
        };
        if !order["lineItems"].is_array() {
            let no =
                json!([{"field": ["order", "lineItems"], "message": "Line items must have at least one line item"}]);
            return made(&Value::Null, &no);
        }
        let key = field["value"].as_str().expect("a key");
        kept.take(request, key, made(&json!({"id": "gid://shopify/Order/1"}), &json!([])))
    });
    let recipe = Recipe::read("shopify/resyncd.toml")
        .host("https://shop.example", server.port())
        .secret("shopify.token", "shpat_1");
    Shop { recipe, server, books, busy }
}

#[test]
fn shopify_takes_a_sale() {
    let shop = shop();
    delivers(&shop.recipe.serve(), &shop.books, &payload());
}

#[test]
fn shopify_refuses_in_its_own_words() {
    let shop = shop();
    let words = "HTTP 200: Line items must have at least one line item";
    refuses(&shop.recipe.serve(), &shop.books, &json!({"currency": "EUR"}), words);
}

#[test]
fn shopify_is_asked_before_a_sale_is_sent_again() {
    let shop = shop();
    looks_before_it_sends_again(&shop.recipe.serve(), &shop.books, &payload());
}

#[test]
fn shopify_throttles_and_the_sale_waits() {
    let shop = shop();
    waits(&shop.recipe.serve(), &shop.books, "slow", &payload(), "throttled", "HTTP 200: Throttled");
}

/// The query is throttled, with 200 and without data: that does not mean "not there".
#[test]
fn shopify_throttles_a_question_and_the_sale_is_not_sent_twice() {
    let shop = shop();
    shop.busy.store(true, Ordering::SeqCst);
    let agent = shop.recipe.serve();
    agent.wait_gone(&id_of(&agent.call(&sale("lost-after", &payload()))));
    assert_eq!(tries(&agent), json!([["unsure", 0], ["throttled", 0], ["delivered", 0]]));
    assert_eq!((shop.books.all(), shop.server.deliveries().len()), (vec![key_of("lost-after")], 3));
}

#[test]
fn shopify_denies_and_the_way_is_blocked_not_the_sale() {
    let shop = shop();
    waits(
        &shop.recipe.serve(),
        &shop.books,
        "denied",
        &payload(),
        "misconfigured",
        "HTTP 200: Access denied for orderCreate field.",
    );
}

#[test]
fn shopifys_own_error_costs_one_try() {
    let shop = shop();
    let agent = shop.recipe.serve();
    agent.wait_gone(&id_of(&agent.call(&sale("broken", &payload()))));
    assert_eq!(tries(&agent), json!([["failed", 1], ["delivered", 0]]));
    assert_eq!(shop.books.all(), [key_of("broken")]);
}

#[test]
fn shopify_with_a_wrong_token_blocks_until_it_is_right() {
    let shop = shop();
    shop.recipe.put("shopify.token", "shpat_0");
    let agent = shop.recipe.serve();
    let id = blocks(&agent, &payload());
    shop.recipe.put("shopify.token", "shpat_1");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_eq!(shop.books.all(), [key_of("s-1")]);
}

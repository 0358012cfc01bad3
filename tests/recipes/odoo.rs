//! STUBS: Odoo, according to "External API" of the documentation of 18.0 and 19.0, with the errors
//! of `odoo/http.py` of 18.0. A sale needs a `partner_id`.

use crate::kitchen::{
    Books, Recipe, blocks, delivers, json_of, key_of, looks_before_it_sends_again, refuses, sale, tries, waits,
};
use crate::support::upstream::Request;
use crate::support::{Agent, Answer, Upstream, id_of, wait_until};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

fn payload() -> Value {
    json!({"partner_id": 7, "order_line": [[0, 0, {"product_id": 3, "product_uom_qty": 2}]]})
}

fn result(value: &Value) -> Answer {
    Answer::json(200, &json!({"jsonrpc": "2.0", "id": 1, "result": value}).to_string())
}

/// An exception as `odoo/http.py` writes it: status 200, code 200.
fn exception(name: &str, message: &str) -> Answer {
    let data = json!({"name": name, "message": message, "arguments": [message], "context": {}, "debug": "Traceback …"});
    let error = json!({"code": 200, "message": "Odoo Server Error", "data": data});
    Answer::json(200, &json!({"jsonrpc": "2.0", "id": 1, "error": error}).to_string())
}

/// `sale.order`, `create` or `search`, with these arguments.
fn model(request: &Request, books: &Books, method: &Value, args: &Value) -> Answer {
    let found = |key: &str| if books.has(key) { json!([1]) } else { json!([]) };
    if method == "search" {
        assert_eq!((&args[0][0][0], &args[0][0][1]), (&json!("client_order_ref"), &json!("=")), "{args}");
        return result(&found(args[0][0][2].as_str().expect("a key")));
    }
    assert_eq!(method, "create");
    let order = &args[0];
    if request.entity() == "locked" && request.attempt() == 1 {
        return exception("psycopg2.errors.SerializationFailure", "could not serialize access");
    }
    if !order["partner_id"].is_number() {
        return exception("odoo.exceptions.ValidationError", "Missing required value for the field 'Customer'.");
    }
    books.take(request, order["client_order_ref"].as_str().expect("a key"), result(&json!(1)))
}

/// `/jsonrpc`
fn with_key() -> (Recipe, Upstream, Books) {
    let books = Books::default();
    let kept = books.clone();
    let odoo = Upstream::start(move |request| {
        assert_eq!(request.path, "/jsonrpc");
        let call = json_of(request);
        let params = &call["params"];
        assert_eq!((&params["service"], &params["method"]), (&json!("object"), &json!("execute_kw")));
        let args = params["args"].as_array().expect("a list");
        if args[..3] != [json!("chain"), json!(7), json!("key-0001")] {
            return exception("odoo.exceptions.AccessDenied", "Access Denied");
        }
        assert_eq!(args[3], "sale.order");
        model(request, &kept, &args[4], &args[5])
    });
    let recipe =
        Recipe::read("odoo/resyncd.toml").host("https://odoo.example", odoo.port()).secret("odoo.key", "key-0001");
    (recipe, odoo, books)
}

#[test]
fn odoo_until_18_takes_a_sale() {
    let (recipe, _odoo, books) = with_key();
    delivers(&recipe.serve(), &books, &payload());
}

#[test]
fn odoo_until_18_refuses_in_its_own_words() {
    let (recipe, _odoo, books) = with_key();
    let words = "HTTP 200: Missing required value for the field 'Customer'.";
    refuses(&recipe.serve(), &books, &json!({"order_line": []}), words);
}

#[test]
fn odoo_until_18_is_asked_before_a_sale_is_sent_again() {
    let (recipe, _odoo, books) = with_key();
    looks_before_it_sends_again(&recipe.serve(), &books, &payload());
}

/// A lock uses a retry and does not lose the sale.
#[test]
fn odoo_until_18_is_locked_and_the_sale_is_sent_again() {
    let (recipe, _odoo, books) = with_key();
    let agent = recipe.serve();
    agent.wait_gone(&id_of(&agent.call(&sale("locked", &payload()))));
    assert_eq!(tries(&agent), json!([["failed", 1], ["delivered", 0]]));
    assert_eq!(books.all(), [key_of("locked")]);
}

#[test]
fn odoo_until_18_with_a_wrong_key_blocks_until_the_key_is_right() {
    let (recipe, _odoo, books) = with_key();
    recipe.put("odoo.key", "key-0000");
    let agent = recipe.serve();
    let id = blocks(&agent, &payload());
    recipe.put("odoo.key", "key-0001");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_eq!(books.all(), [key_of("s-1")]);
}

/// Web sessions. A rejected login also gets a session, but without a user, as in some versions.
struct Sessions {
    recipe: Recipe,
    odoo: Upstream,
    books: Books,
    valid: Arc<Mutex<String>>,
}

impl Sessions {
    fn open() -> Self {
        let (books, valid) = (Books::default(), Arc::<Mutex<String>>::default());
        let (kept, session) = (books.clone(), Arc::clone(&valid));
        let odoo = Upstream::start(move |request| {
            let params = &json_of(request)["params"];
            let mut session = session.lock().expect("no holder panics");
            if request.path == "/web/session/authenticate" {
                let wanted = json!({"db": "chain", "login": "till", "password": "pw-0001"});
                if *params != wanted {
                    return exception("odoo.exceptions.AccessDenied", "Access Denied")
                        .with("Set-Cookie", "session_id=nobody; HttpOnly; Path=/");
                }
                *session = format!("session-{}", request.nth);
                let cookie = format!("session_id={session}; HttpOnly; Path=/");
                return result(&json!({"uid": 7, "username": "till"})).with("Set-Cookie", &cookie);
            }
            assert_eq!(request.path, "/web/dataset/call_kw");
            if request.header("Cookie") != Some(&format!("session_id={session}")) {
                let error = json!({"code": 100, "message": "Odoo Session Expired", "data": {}});
                return Answer::json(200, &json!({"jsonrpc": "2.0", "id": 1, "error": error}).to_string());
            }
            assert_eq!(params["model"], "sale.order");
            model(request, &kept, &params["method"], &params["args"])
        });
        let login = json!({"jsonrpc": "2.0", "params": {"db": "chain", "login": "till", "password": "pw-0001"}});
        let recipe = Recipe::read("odoo/session.toml")
            .host("https://odoo.example", odoo.port())
            .secret("odoo-login.json", &login.to_string());
        Self { recipe, odoo, books, valid }
    }

    fn logins(&self) -> usize {
        self.odoo.deliveries().iter().filter(|request| request.path == "/web/session/authenticate").count()
    }

    fn expire(&self) {
        "ended".clone_into(&mut self.valid.lock().expect("no holder panics"));
    }
}

#[test]
fn an_odoo_session_that_has_ended_costs_one_login() {
    let sessions = Sessions::open();
    let agent: Agent = sessions.recipe.serve();
    delivers(&agent, &sessions.books, &payload());
    sessions.expire();
    agent.wait_gone(&id_of(&agent.call(&sale("s-2", &payload()))));
    assert_eq!(sessions.books.all(), ["s-1", "s-2"].map(key_of));
    assert_eq!((sessions.logins(), tries(&agent)), (2, json!([["delivered", 0], ["delivered", 0]])));
}

/// The session ends just before the agent verifies the sale.
#[test]
fn an_odoo_session_may_end_before_a_question() {
    let sessions = Sessions::open();
    let agent = sessions.recipe.serve();
    let id = id_of(&agent.call(&sale("lost-after", &payload())));
    wait_until("the sale being booked", || sessions.books.has(&key_of("lost-after")));
    sessions.expire();
    agent.wait_gone(&id);
    assert_eq!(sessions.books.all(), [key_of("lost-after")]);
    assert_eq!((sessions.logins(), tries(&agent)), (2, json!([["unsure", 0], ["delivered", 0]])));
}

/// Odoo rejects a login with status 200; repeated attempts could lock the account.
#[test]
fn an_odoo_login_that_is_refused_blocks_and_is_not_repeated() {
    let sessions = Sessions::open();
    sessions.recipe.put("odoo-login.json", r#"{"params":{"db":"chain","login":"till","password":"pw-0000"}}"#);
    let agent = sessions.recipe.serve();
    blocks(&agent, &payload());
    assert_eq!((sessions.logins(), sessions.books.all().len()), (1, 0));
    // An operator's resume ends the wait, once.
    agent.ask(&json!({"op": "resume"}));
    wait_until("a second try", || tries(&agent).as_array().is_some_and(|tries| tries.len() > 1));
    assert_eq!((sessions.logins(), sessions.books.all().len()), (2, 0));
}

/// `/json/2`: statuses, and an error object.
fn json_2() -> (Recipe, Upstream, Books) {
    let books = Books::default();
    let kept = books.clone();
    let error = |status: u16, name: &str, message: &str| {
        let body = json!({"name": name, "message": message, "arguments": [message], "context": {}, "debug": "…"});
        Answer::json(status, &body.to_string())
    };
    let odoo = Upstream::start(move |request| {
        if request.header("Authorization") != Some("Bearer key-0001") {
            return error(401, "werkzeug.exceptions.Unauthorized", "Invalid apikey");
        }
        assert_eq!(request.header("X-Odoo-Database"), Some("chain"));
        let body = json_of(request);
        if request.path == "/json/2/sale.order/search" {
            let key = body["domain"][0][2].as_str().expect("a key");
            return Answer::json(200, if kept.has(key) { "[1]" } else { "[]" });
        }
        assert_eq!(request.path, "/json/2/sale.order/create");
        if request.entity() == "slow" && request.attempt() == 1 {
            return error(429, "werkzeug.exceptions.TooManyRequests", "Too many requests").with("Retry-After", "1");
        }
        let order = &body["vals_list"][0];
        if !order["partner_id"].is_number() {
            return error(422, "odoo.exceptions.ValidationError", "Missing required value for the field 'Customer'.");
        }
        kept.take(request, order["client_order_ref"].as_str().expect("a key"), Answer::json(200, "[1]"))
    });
    let recipe =
        Recipe::read("odoo-19/resyncd.toml").host("https://odoo.example", odoo.port()).secret("odoo.key", "key-0001");
    (recipe, odoo, books)
}

#[test]
fn odoo_from_19_takes_a_sale() {
    let (recipe, _odoo, books) = json_2();
    delivers(&recipe.serve(), &books, &payload());
}

#[test]
fn odoo_from_19_refuses_in_its_own_words() {
    let (recipe, _odoo, books) = json_2();
    let words = "HTTP 422: Missing required value for the field 'Customer'.";
    refuses(&recipe.serve(), &books, &json!({"order_line": []}), words);
}

#[test]
fn odoo_from_19_is_asked_before_a_sale_is_sent_again() {
    let (recipe, _odoo, books) = json_2();
    looks_before_it_sends_again(&recipe.serve(), &books, &payload());
}

#[test]
fn odoo_from_19_asks_for_less_and_gets_it() {
    let (recipe, _odoo, books) = json_2();
    waits(&recipe.serve(), &books, "slow", &payload(), "throttled", "HTTP 429: Too many requests");
}

#[test]
fn odoo_from_19_with_an_expired_key_blocks_until_there_is_a_new_one() {
    let (recipe, _odoo, books) = json_2();
    recipe.put("odoo.key", "key-0000");
    let agent = recipe.serve();
    let id = blocks(&agent, &payload());
    recipe.put("odoo.key", "key-0001");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_eq!(books.all(), [key_of("s-1")]);
}

//! STUB: SAP Business One's Service Layer v2, according to SAP's learning journey "Logging In and
//! Logging Out Using Service Layer API" and responses of version 10.0 in the forum: the login sets
//! two cookies, and code 301 with status 401 means an expired session. An order needs a `CardCode`.

use crate::kitchen::{
    Books, Recipe, asked_for, blocks, delivers, json_of, key_of, looks_before_it_sends_again, refuses, sale, tries,
};
use crate::support::{Answer, Upstream, id_of, wait_until};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn payload() -> Value {
    json!({"CardCode": "C20000", "DocDueDate": "2026-11-24", "DocumentLines": [{"ItemCode": "A1", "Quantity": 2}]})
}

struct ServiceLayer {
    recipe: Recipe,
    _server: Upstream,
    books: Books,
    session: Arc<Mutex<String>>,
    logins: Arc<AtomicUsize>,
    wrapped: Arc<Mutex<bool>>,
}

impl ServiceLayer {
    fn open() -> Self {
        let (books, session, logins) =
            (Books::default(), Arc::<Mutex<String>>::default(), Arc::<AtomicUsize>::default());
        let wrapped = Arc::<Mutex<bool>>::default();
        let (kept, valid, counted, wraps) =
            (books.clone(), Arc::clone(&session), Arc::clone(&logins), Arc::clone(&wrapped));
        let error = move |status: u16, code: i32, message: &str| {
            let body = if *wraps.lock().expect("no holder panics") {
                json!({"error": {"code": code, "message": {"lang": "en-us", "value": message}}})
            } else {
                json!({"error": {"code": code.to_string(), "message": message}})
            };
            Answer::json(status, &body.to_string())
        };
        let server = Upstream::start(move |request| {
            let mut valid = valid.lock().expect("no holder panics");
            if request.path == "/b1s/v2/Login" {
                let login = json_of(request);
                let nth = counted.fetch_add(1, Ordering::SeqCst) + 1;
                if login != json!({"CompanyDB": "CHAIN", "UserName": "till", "Password": "pw-0001"}) {
                    return error(401, -304, "Fail to get DB Credentials from SLD");
                }
                *valid = format!("B1SESSION=session-{nth}; ROUTEID=.node1");
                return Answer::json(200, r#"{"SessionId":"…","Version":"1000290","SessionTimeout":30}"#)
                    .with("Set-Cookie", &format!("B1SESSION=session-{nth};HttpOnly;"))
                    .with("Set-Cookie", "ROUTEID=.node1; path=/b1s");
            }
            if request.header("Cookie") != Some(valid.as_str()) {
                return error(401, 301, "Invalid session or session already timeout.");
            }
            let asked = "/b1s/v2/Orders?$select=DocEntry&$filter=U_ResyncKey%20eq%20'";
            if let Some(key) = asked_for(&request.path, asked, "'") {
                let found = if kept.has(&key) { json!([{"DocEntry": 1}]) } else { json!([]) };
                return Answer::json(200, &json!({"value": found}).to_string());
            }
            assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/b1s/v2/Orders"));
            let order = json_of(request);
            if !order["CardCode"].is_string() {
                return error(400, -5002, "10001154 - Specify a valid customer/vendor code");
            }
            kept.take(request, order["U_ResyncKey"].as_str().expect("a key"), Answer::json(201, r#"{"DocEntry":1}"#))
        });
        let recipe = Recipe::read("sap-business-one/resyncd.toml")
            .host("https://sap.example:50000", server.port())
            .secret("sap-login.json", r#"{"CompanyDB":"CHAIN","UserName":"till","Password":"pw-0001"}"#);
        Self { recipe, _server: server, books, session, logins, wrapped }
    }

    fn expire(&self) {
        "ended".clone_into(&mut self.session.lock().expect("no holder panics"));
    }
}

#[test]
fn sap_takes_a_sale() {
    let sap = ServiceLayer::open();
    delivers(&sap.recipe.serve(), &sap.books, &payload());
}

/// In both forms of errors that its versions use.
#[test]
fn sap_refuses_in_its_own_words() {
    for wrapped in [false, true] {
        let sap = ServiceLayer::open();
        *sap.wrapped.lock().expect("no holder panics") = wrapped;
        let words = "HTTP 400: 10001154 - Specify a valid customer/vendor code";
        refuses(&sap.recipe.serve(), &sap.books, &json!({"DocumentLines": []}), words);
    }
}

#[test]
fn sap_is_asked_before_a_sale_is_sent_again() {
    let sap = ServiceLayer::open();
    looks_before_it_sends_again(&sap.recipe.serve(), &sap.books, &payload());
}

#[test]
fn a_sap_session_that_has_ended_costs_one_login() {
    let sap = ServiceLayer::open();
    let agent = sap.recipe.serve();
    delivers(&agent, &sap.books, &payload());
    sap.expire();
    agent.wait_gone(&id_of(&agent.call(&sale("s-2", &payload()))));
    assert_eq!(sap.books.all(), ["s-1", "s-2"].map(key_of));
    assert_eq!(sap.logins.load(Ordering::SeqCst), 2);
    assert_eq!(tries(&agent), json!([["delivered", 0], ["delivered", 0]]));
}

#[test]
fn a_sap_login_that_is_refused_blocks_and_is_not_repeated() {
    let sap = ServiceLayer::open();
    sap.recipe.put("sap-login.json", r#"{"CompanyDB":"CHAIN","UserName":"till","Password":"pw-0000"}"#);
    let agent = sap.recipe.serve();
    blocks(&agent, &payload());
    assert_eq!((sap.logins.load(Ordering::SeqCst), sap.books.all().len()), (1, 0));
    // An operator's resume ends the wait, once.
    agent.ask(&json!({"op": "resume"}));
    wait_until("a second try", || tries(&agent).as_array().is_some_and(|tries| tries.len() > 1));
    assert_eq!((sap.logins.load(Ordering::SeqCst), sap.books.all().len()), (2, 0));
}

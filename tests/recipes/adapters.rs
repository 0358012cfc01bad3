//! The recipes with an adapter: an unchanged `adapter.py` between a real agent and a stub of its
//! server. STUBS: a SOAP service according to SOAP 1.1 (W3C Note of 8 May 2000); a
//! fiskaltrust.Middleware according to its source code of 1.3 (`SignProcessor`: the flag
//! 0x0000800000000000 of ftReceiptCase returns what was signed under the reference, or null).

use crate::kitchen::{
    Books, Recipe, delivers, folder, json_of, key_of, quiet_port, refuses, sale, tries, wait_gone_in_a_hurry,
};
use crate::support::{Agent, Answer, Upstream, id_of, wait_until};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A running `adapter.py`; it ends with the test.
pub(crate) struct Adapter {
    child: Child,
    pub(crate) port: u16,
}

impl Adapter {
    /// `None` where Python is missing and not required.
    pub(crate) fn start(recipe: &str, env: &[(&str, &str)]) -> Option<Self> {
        let port = quiet_port();
        let program = folder().join(recipe).join("adapter.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(program).env("PORT", port.to_string()).envs(env.iter().copied());
        let child = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => {
                let needed = std::env::var_os("RESYNCD_NEED_PYTHON").is_some_and(|value| value == "1");
                assert!(!needed, "python3 does not start: {error}");
                eprintln!("python3 does not start ({error}): the adapter was not run");
                return None;
            }
        };
        let adapter = Self { child, port };
        wait_until("the adapter listening", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(adapter)
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // It may have exited already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn soap(status: u16, body: &str) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{body}</s:Body></s:Envelope>"
    );
    Answer::Reply { status, headers: vec![("Content-Type", "text/xml; charset=utf-8".into())], body: text }
}

/// SOAP's faults have status 500 (6.2).
fn fault(code: &str, words: &str) -> Answer {
    soap(500, &format!("<s:Fault><faultcode>s:{code}</faultcode><faultstring>{words}</faultstring></s:Fault>"))
}

/// The text between these tags.
fn inside<'t>(text: &'t str, tag: &str) -> Option<&'t str> {
    text.split_once(&format!("<{tag}>"))?.1.split_once(&format!("</{tag}>")).map(|(inside, _)| inside)
}

struct Service {
    agent: Agent,
    upstream: Upstream,
    books: Books,
    _adapter: Adapter,
}

/// The entity is part of the key, because SOAP carries none of the agent's headers.
fn service() -> Option<Service> {
    let books = Books::default();
    let kept = books.clone();
    let upstream = Upstream::start(move |request| {
        let text = request.text();
        let key = inside(text, "ExternalReference").expect("a key");
        assert!(text.contains("xmlns=\"urn:chain:sales\""), "{text}");
        if request.header("SOAPAction") == Some("\"urn:chain:sales/FindSale\"") {
            return match (key, request.nth) {
                ("till-07/lost-and-asked", 2) => fault("Server", "the index is being built"),
                _ if kept.has(key) => {
                    soap(200, "<FindSaleResponse xmlns=\"urn:chain:sales\"><Id>1</Id></FindSaleResponse>")
                }
                ("till-07/lost-before", _) => soap(200, "<FindSaleResponse xmlns=\"urn:chain:sales\"/>"),
                _ => {
                    soap(200, "<FindSaleResponse xmlns=\"urn:chain:sales\">\n<Found>false</Found>\n</FindSaleResponse>")
                }
            };
        }
        assert_eq!(request.header("SOAPAction"), Some("\"urn:chain:sales/RecordSale\""));
        match (key, request.nth) {
            ("till-07/broken", 1) => return fault("Server", "out of memory"),
            ("till-07/broken-late", _) if !kept.has(key) => {
                kept.book(key);
                return fault("Server", "out of memory");
            }
            ("till-07/slow", 1) => return Answer::html(503),
            ("till-07/old", 1) => return fault("VersionMismatch", "SOAP 1.2 only"),
            ("till-07/stranger", 1) => return fault("Client.Authentication", "who are you?"),
            ("till-07/modern", 1) => return Answer::html(415),
            ("till-07/lost-before", _) if !kept.has("tried") => {
                kept.book("tried");
                return Answer::Lost;
            }
            _ => {}
        }
        if key == "till-07/lines" {
            let lines = "<line><sku>TEA</sku><price>2.50</price></line><line><sku>CUP</sku></line><paid>true</paid><note></note>";
            assert!(text.contains(lines), "{text}");
        } else if inside(text, "Total") != Some("12.5 &lt;EUR&gt;") {
            return fault("Client", "Total is missing");
        }
        let first = !kept.has(key);
        kept.book(key);
        if key.starts_with("till-07/lost-a") && first {
            return Answer::Lost;
        }
        soap(200, "<RecordSaleResponse xmlns=\"urn:chain:sales\"><Id>1</Id></RecordSaleResponse>")
    });
    let url = upstream.url();
    let adapter = Adapter::start("soap", &[("SOAP_URL", &url), ("SOAP_NS", "urn:chain:sales")])?;
    let agent = Recipe::read("soap/resyncd.toml").host("http://127.0.0.1:9001", adapter.port).serve();
    Some(Service { agent, upstream, books, _adapter: adapter })
}

fn total() -> Value {
    json!({"Total": "12.5 <EUR>"})
}

#[test]
fn a_soap_service_takes_a_sale() {
    let Some(soap) = service() else { return };
    delivers(&soap.agent, &soap.books, &total());
}

/// A client fault is a rejection; only the adapter's message is shown, not the status of its response.
#[test]
fn a_soap_fault_of_the_clients_is_a_refusal() {
    let Some(soap) = service() else { return };
    refuses(&soap.agent, &soap.books, &json!({"Amount": 1}), "Total is missing");
}

/// A server fault says nothing about whether the sale was booked: it is looked up.
#[test]
fn a_soap_fault_of_the_servers_leaves_in_doubt() {
    let Some(soap) = service() else { return };
    for entity in ["broken", "broken-late"] {
        wait_gone_in_a_hurry(&soap.agent, &id_of(&soap.agent.call(&sale(entity, &total()))));
    }
    assert_eq!(soap.books.all(), ["broken", "broken-late"].map(key_of), "each is there once");
    let shown = soap
        .agent
        .column("SELECT class || ' ' || error FROM sync_attempts WHERE entity_id = 'broken' ORDER BY id LIMIT 1");
    assert_eq!(shown, [json!("unsure out of memory")]);
    assert_eq!(soap.agent.cell("SELECT SUM(counted) FROM sync_attempts"), 0);
}

/// SOAP 1.1 (4.4.1) gives these codes to messages whose contents are not at fault, and HTTP has its own for a
/// service that speaks only SOAP 1.2.
#[test]
fn a_soap_service_that_is_set_up_otherwise_blocks() {
    for (entity, words) in [("old", "SOAP 1.2 only"), ("stranger", "who are you?"), ("modern", "HTTP 415")] {
        let Some(soap) = service() else { return };
        soap.agent.wait_gone(&id_of(&soap.agent.call(&sale(entity, &total()))));
        assert_eq!(tries(&soap.agent), json!([["misconfigured", 0], ["delivered", 0]]), "{entity}");
        let errors = soap.agent.column("SELECT error FROM sync_attempts ORDER BY id LIMIT 1");
        assert!(errors[0].as_str().is_some_and(|error| error.contains(words)), "{errors:?}");
    }
}

#[test]
fn a_soap_sale_has_members_and_lists_as_elements() {
    let Some(soap) = service() else { return };
    let payload = r#"{"line":[{"sku":"TEA","price":2.50},{"sku":"CUP"}],"paid":true,"note":null}"#;
    let mut app = soap.agent.app();
    app.line(&sale("lines", &json!("PAYLOAD")).to_string().replace("\"PAYLOAD\"", payload));
    soap.agent.wait_gone(&id_of(&app.reply()));
    assert_eq!(soap.books.all(), [key_of("lines")]);
}

#[test]
fn a_soap_sale_without_members_is_refused() {
    let Some(soap) = service() else { return };
    refuses(&soap.agent, &soap.books, &Value::Null, "the payload is not a JSON object");
}

#[test]
fn a_soap_service_that_is_busy_costs_nothing() {
    let Some(soap) = service() else { return };
    soap.agent.wait_gone(&id_of(&soap.agent.call(&sale("slow", &total()))));
    assert_eq!(tries(&soap.agent), json!([["throttled", 0], ["delivered", 0]]));
}

/// The adapter is reachable, the service is not: that is an outage, and uses no retry.
#[test]
fn a_soap_service_that_is_away_costs_nothing() {
    let Some(mut soap) = service() else { return };
    soap.upstream.down();
    let id = id_of(&soap.agent.call(&sale("s-1", &total())));
    wait_until("a try", || tries(&soap.agent)[0] == json!(["unreachable", 0]));
    soap.upstream.up();
    soap.agent.wait_gone(&id);
    assert_eq!(soap.books.all(), [key_of("s-1")]);
}

#[test]
fn a_soap_service_is_asked_before_a_sale_is_sent_again() {
    let Some(soap) = service() else { return };
    for entity in ["lost-after", "lost-before"] {
        wait_gone_in_a_hurry(&soap.agent, &id_of(&soap.agent.call(&sale(entity, &total()))));
    }
    assert_eq!(soap.books.all(), ["till-07/lost-after", "tried", "till-07/lost-before"]);
}

/// A verification request that gets a fault is repeated.
#[test]
fn a_soap_fault_to_a_question_is_no_not_there() {
    let Some(soap) = service() else { return };
    wait_gone_in_a_hurry(&soap.agent, &id_of(&soap.agent.call(&sale("lost-and-asked", &total()))));
    assert_eq!(tries(&soap.agent), json!([["unsure", 0], ["unsure", 0], ["delivered", 0]]));
    assert_eq!(soap.books.all(), [key_of("lost-and-asked")]);
}

const LOOK: i64 = 0x0000_8000_0000_0000;
/// Germany, a receipt of a till, implicit flow.
const CASE: i64 = 0x4445_0001_0000_0001;

struct Middleware {
    agent: Agent,
    _upstream: Upstream,
    journal: Books,
    _adapter: Adapter,
}

/// Signs receipts one after the other. The first response to `lost-after` is lost, the first
/// request of `lost-before`; the device is unavailable for the first verification of `asked`.
fn middleware() -> Option<Middleware> {
    let journal = Books::default();
    let kept = journal.clone();
    let upstream = Upstream::start(move |request| {
        assert_eq!(request.header("cashboxid"), Some("box-1"));
        let receipt = json_of(request);
        let reference = receipt["cbReceiptReference"].as_str().expect("a reference");
        let signed = |state: i64, words: &str| {
            let signatures = json!([{"Caption": "", "Data": words}]);
            let body = json!({"ftReceiptIdentification": format!("ft{reference}#"), "ftState": state, "ftSignatures": signatures});
            Answer::json(200, &body.to_string())
        };
        let case = receipt["ftReceiptCase"].as_i64().expect("a case");
        assert_eq!(case & !LOOK, CASE);
        let seen = kept.all().iter().filter(|entry| *entry == &format!("tried {reference}")).count();
        if case & LOOK != 0 {
            return match reference {
                "asked" if seen == 1 => {
                    kept.book("tried asked");
                    Answer::json(500, "\"the device is away\"")
                }
                "unsigned" => signed(0x4445_0000_EEEE_EEEE, "the device has no certificate"),
                _ if kept.has(reference) => signed(0x4445_0000_0000_0000, "signature"),
                _ => Answer::json(200, "null"),
            };
        }
        kept.book(&format!("tried {reference}"));
        match (reference, seen) {
            ("bad", _) => return Answer::json(400, "\"cbTerminalID is missing\""),
            ("failing", 0) => return signed(0x4445_0000_EEEE_EEEE, "the device has no certificate"),
            ("lost-before" | "unsigned", 0) => return Answer::Lost,
            _ => kept.book(reference),
        }
        if ["lost-after", "asked"].contains(&reference) {
            Answer::Lost
        } else {
            signed(0x4445_0000_0000_0000, "signature")
        }
    });
    let headers = r#"{"cashboxid":"box-1"}"#;
    let adapter = Adapter::start("fiscal-chain", &[("FT_URL", &upstream.url()), ("FT_HEADERS", headers)])?;
    let agent = Recipe::read("fiscal-chain/resyncd.toml").host("http://127.0.0.1:9002", adapter.port).serve();
    Some(Middleware { agent, _upstream: upstream, journal, _adapter: adapter })
}

impl Middleware {
    fn record(&self, reference: &str) -> String {
        id_of(&self.agent.call(&json!({
            "op": "record", "entity_type": "RECEIPT", "entity_id": reference, "action": "SIGN", "retry": "now",
            "error": "HTTP 503: busy",
            "payload": {"ftCashBoxID": "box-1", "cbTerminalID": "07", "cbReceiptReference": reference, "ftReceiptCase": CASE},
        })))
    }

    /// What was signed, in order.
    fn chain(&self) -> Vec<String> {
        self.journal.all().into_iter().filter(|entry| !entry.starts_with("tried ")).collect()
    }
}

/// Five receipts of which one response and one request are lost: a chain without a gap and without
/// a double link, in the order of the till.
#[test]
fn a_fiscal_chain_has_each_receipt_once_and_in_order() {
    let Some(fiscal) = middleware() else { return };
    let references = ["r-1", "lost-after", "r-2", "lost-before", "r-3"];
    let ids = references.map(|reference| fiscal.record(reference));
    ids.iter().for_each(|id| wait_gone_in_a_hurry(&fiscal.agent, id));
    assert_eq!(fiscal.chain(), references);
    assert_eq!(fiscal.agent.cell("SELECT SUM(counted) FROM sync_attempts"), 0);
}

/// A failed verification does not mean "not signed".
#[test]
fn a_fiscal_device_that_does_not_say_is_asked_again() {
    let Some(fiscal) = middleware() else { return };
    wait_gone_in_a_hurry(&fiscal.agent, &fiscal.record("asked"));
    assert_eq!(tries(&fiscal.agent), json!([["unsure", 0], ["unsure", 0], ["delivered", 0]]));
    assert_eq!(fiscal.chain(), ["asked"]);
}

/// The middleware has the receipt, but its device could not sign it: it is not in the chain.
#[test]
fn a_fiscal_receipt_that_came_in_and_was_not_signed_is_signed() {
    let Some(fiscal) = middleware() else { return };
    wait_gone_in_a_hurry(&fiscal.agent, &fiscal.record("unsigned"));
    assert_eq!(tries(&fiscal.agent), json!([["unsure", 0], ["unsure", 0], ["delivered", 0]]));
    let triggers = fiscal.agent.column("SELECT \"trigger\" FROM sync_attempts ORDER BY id");
    assert_eq!((triggers[1].clone(), fiscal.chain()), (json!("verify"), vec!["unsigned".to_owned()]));
}

/// A rejected receipt holds back all later ones until an operator decides.
#[test]
fn a_fiscal_chain_stops_at_a_receipt_that_is_refused() {
    let Some(fiscal) = middleware() else { return };
    let [bad, next] = ["bad", "r-2"].map(|reference| fiscal.record(reference));
    let shown = fiscal.agent.wait_critical(&bad);
    assert_eq!(shown["error"], "HTTP 400: \"cbTerminalID is missing\"", "{shown}");
    fiscal.agent.ask(&json!({"op": "discard", "ids": [bad], "reason": "was never a receipt", "let_followers": true}));
    fiscal.agent.wait_gone(&next);
    assert_eq!(fiscal.chain(), ["r-2"]);
    let sql = "SELECT (SELECT MIN(started_at) FROM sync_attempts WHERE entity_id = 'r-2')
               >= (SELECT at FROM audit_log WHERE operation = 'discard')";
    assert_eq!(fiscal.agent.cell(sql), 1, "it went before the person had decided");
}

/// It would otherwise be in doubt for ever, and all later ones would wait for it.
#[test]
fn a_fiscal_receipt_that_is_none_is_refused() {
    for payload in [Value::Null, json!("text"), json!({"cbReceiptReference": "r-1"})] {
        let Some(fiscal) = middleware() else { return };
        let failure = json!({"op": "record", "entity_type": "RECEIPT", "entity_id": "r-1", "action": "SIGN", "retry": "now",
            "error": "HTTP 503: busy", "payload": payload});
        let shown = fiscal.agent.wait_critical(&id_of(&fiscal.agent.call(&failure)));
        assert!(shown["error"].as_str().is_some_and(|error| error.starts_with("not a ReceiptRequest: ")), "{shown}");
    }
}

/// A response whose state says that nothing was signed does not deliver the receipt, whatever its status.
#[test]
fn a_fiscal_device_that_cannot_sign_has_not_signed() {
    let Some(fiscal) = middleware() else { return };
    fiscal.agent.wait_gone(&fiscal.record("failing"));
    assert_eq!(tries(&fiscal.agent), json!([["failed", 1], ["delivered", 0]]));
    let words = fiscal.agent.column("SELECT error FROM sync_attempts ORDER BY id LIMIT 1");
    assert_eq!((words, fiscal.chain()), (vec![json!("the device has no certificate")], vec!["failing".to_owned()]));
}

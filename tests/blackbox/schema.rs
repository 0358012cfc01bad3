//! `packaging/doc/protocol.schema.json` against the real agent, both ways: every message is valid, every
//! `bad_request` is not, every name in the schema is accepted or sent, and every name
//! that the agent accepts or sends is in the schema.

use super::documents::blocks;
use super::transcripts::{Spoken, names, play};
use crate::support::{Agent, Client, Plan};
use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> Value {
    let text = fs::read_to_string(root().join("packaging/doc/protocol.schema.json")).expect("the schema");
    serde_json::from_str(&text).expect("the schema is JSON")
}

/// The schema, ready to judge by; replies must not have a name that it does not know.
struct Judge {
    schemas: Schemas,
    by_name: BTreeMap<String, SchemaIndex>,
}

impl Judge {
    fn new() -> Self {
        const PLACE: &str = "http://localhost/protocol.schema.json";
        let mut strict = document();
        let definitions = strict["$defs"].as_object_mut().expect("definitions");
        for definition in definitions.values_mut() {
            if definition["properties"].is_object() {
                definition["additionalProperties"] = json!(false);
            }
        }
        let names: Vec<String> = definitions.keys().cloned().collect();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource(PLACE, strict).expect("it can be read");
        let mut compile = |at: String| compiler.compile(&at, &mut schemas).expect("it is a schema");
        let mut by_name: BTreeMap<String, SchemaIndex> =
            names.into_iter().map(|name| (name.clone(), compile(format!("{PLACE}#/$defs/{name}")))).collect();
        by_name.insert("request".to_owned(), compile(PLACE.to_owned()));
        Self { schemas, by_name }
    }

    /// What is wrong with a value, if anything.
    fn fault(&self, schema: &str, value: &Value) -> Option<String> {
        let index = self.by_name.get(schema).unwrap_or_else(|| panic!("the schema has no {schema}"));
        self.schemas.validate(value, *index).err().map(|fault| format!("{value}\n{fault:#}"))
    }
}

/// Everything that the transcripts say.
fn conversations() -> Vec<Spoken> {
    names().iter().flat_map(|name| play(name).0).collect()
}

/// Names of a request in the spelling of the schema.
fn in_snake_case(request: &Value) -> Value {
    let snake = |name: &String| {
        let part =
            |c: char| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.to_string() };
        name.chars().map(part).collect::<String>()
    };
    let fields = request.as_object().expect("a request is an object");
    Value::Object(fields.iter().map(|(name, value)| (snake(name), value.clone())).collect())
}

/// Every property below a value, as the path of names to it.
fn properties(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}/{name}");
                properties(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| properties(value, path, found)),
        _ => {}
    }
}

/// The same of a reply's schema.
fn promised(document: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(place) = schema["$ref"].as_str() {
        let named = document.pointer(&place[1..]).expect("what is referred to is there");
        return promised(document, named, path, found);
    }
    for (name, inner) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        let path = format!("{path}/{name}");
        promised(document, inner, &path, found);
        found.insert(path);
    }
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    choices.chain(schema.get("items")).for_each(|inner| promised(document, inner, path, found));
}

#[test]
fn what_is_said_is_what_the_schema_says() {
    let (judge, document) = (Judge::new(), document());
    let (mut sent, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for Spoken { request, reply } in conversations() {
        let reply: Value = serde_json::from_str(&reply).expect("a reply is JSON");
        let request: Option<Value> = request.and_then(|line| serde_json::from_str(&line).ok());
        let request = request.filter(Value::is_object).map(|request| in_snake_case(&request));
        let code = reply["error"]["code"].as_str();
        let fault = request.as_ref().and_then(|request| judge.fault("request", request));
        match (code, &request) {
            (Some("bad_request" | "unknown_op"), Some(request)) => {
                assert!(fault.is_some(), "the agent refuses it, the schema does not: {request}\n{reply}");
            }
            _ => assert_eq!(fault, None),
        }
        let op = request.as_ref().and_then(|request| request["op"].as_str()).unwrap_or("error");
        let schema = if code.is_some() { "reply-error".to_owned() } else { format!("reply-{op}") };
        assert_eq!(judge.fault(&schema, &reply), None, "{op}");
        properties(&reply, &schema, &mut sent);
        codes.extend(code.map(str::to_owned));
    }
    // The reverse: what the schema promises has been seen, of every operation and every code.
    let known: BTreeSet<String> = codes_of(&document);
    assert_eq!(codes, known, "every code has a transcript");
    let mut all = BTreeSet::new();
    for (name, schema) in document["$defs"].as_object().expect("definitions") {
        if name.starts_with("reply-") {
            promised(&document, schema, name, &mut all);
        }
    }
    // What a quarantine did not give back takes a damaged file: `damage.rs` has it. What an operation had changed
    // before it failed takes a disk that fails: `replies.rs` has it. `ref` is seen twice.
    let shown_elsewhere = |path: &&String| ["/lost", "error/changed", "/ref"].iter().any(|end| path.ends_with(end));
    let shown_by_get = ["payload", "response"].map(|name| format!("reply-list/failures/{name}"));
    let never: Vec<&String> =
        all.difference(&sent).filter(|path| !shown_elsewhere(path) && !shown_by_get.contains(path)).collect();
    assert!(never.is_empty(), "the schema promises what no transcript shows: {never:?}");
}

fn codes_of(document: &Value) -> BTreeSet<String> {
    let codes = document["$defs"]["error"]["properties"]["code"]["enum"].as_array().expect("codes");
    codes.iter().map(|code| code.as_str().expect("a text").to_owned()).collect()
}

/// The metrics count every code from the beginning, so they know them all; so does the page.
#[test]
fn the_codes_are_the_agents() {
    let known = codes_of(&document());
    let text =
        Agent::start(&Plan::default()).ask(&json!({"op": "metrics"}))["text"].as_str().expect("a text").to_owned();
    let counted: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("resyncd_rejected_total{code=\""))
        .map(|rest| rest.split('"').next().expect("a code").to_owned())
        .collect();
    assert_eq!(counted, known);
    let page = fs::read_to_string(root().join("packaging/doc/protocol.md")).expect("the page");
    let table = page.split("## Error codes").nth(1).expect("its table");
    let told: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|rest| rest.split('`').next().expect("a code").to_owned())
        .collect();
    assert_eq!(told, known);
}

/// The page's own examples are requests of the schema, too.
#[test]
fn the_pages_requests_are_the_schemas() {
    let judge = Judge::new();
    let mut count = 0;
    for block in blocks("packaging/doc/protocol.md").iter().filter(|block| block.kind.starts_with("transcript")) {
        for (n, line) in block.lines.iter().enumerate() {
            let Some(Ok(request)) = line.strip_prefix("→ ").map(serde_json::from_str::<Value>) else { continue };
            let refused = block.lines[n + 1].contains("\"bad_request\"");
            let fault = judge.fault("request", &in_snake_case(&request));
            assert_eq!(fault.is_some(), refused, "{line}\n{fault:?}");
            count += 1;
        }
    }
    assert!(count > 15, "the page's requests are found");
}

/// Names that a request might have: those of the schema, and every word of the sources that read them.
fn candidates(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for definition in document["$defs"].as_object().expect("definitions").values() {
        found.extend(definition["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    }
    for entry in fs::read_dir(root().join("src/wire")).expect("the sources") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        let is_name = |word: &&str| {
            (2..30).contains(&word.len())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        found.extend(text.split('"').filter(is_name).map(str::to_owned));
    }
    found
}

/// Those of the candidates that the agent takes in a request, or in the object of this name within it.
fn accepted(admin: &mut Client, base: &Value, within: Option<&str>, candidates: &BTreeSet<String>) -> BTreeSet<String> {
    let mut takes = |name: &&String| {
        let mut request = base.clone();
        let fields = match within {
            Some("rows") => &mut request["rows"][0],
            Some(inner) => &mut request[inner],
            None => &mut request,
        };
        let fields = fields.as_object_mut().expect("an object");
        // `null` is as good as left out, of a name that is known.
        fields.entry((*name).clone()).or_insert(Value::Null);
        let reply = admin.call(&request);
        let error = [&reply["error"], &reply["rows"][0]["error"]].into_iter().find(|error| error.is_object());
        let message = error.and_then(|error| error["message"].as_str()).unwrap_or_default();
        !message.starts_with(&format!("unknown field {name}"))
    };
    candidates.iter().filter(&mut takes).cloned().collect()
}

fn names_of(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().expect("properties").keys().cloned().collect()
}

/// The operations are those of `hello`; the names of each are those that the agent takes, no more and
/// no less. Each request's example in the schema is one that the agent understands.
#[test]
fn the_agent_takes_the_names_of_the_schema_and_no_others() {
    let (judge, document) = (Judge::new(), document());
    let agent = Agent::start(&Plan::default());
    let mut admin = agent.admin();
    let ops = admin.call(&json!({"op": "hello"}))["ops"].clone();
    let ops: BTreeSet<String> = serde_json::from_value(ops).expect("operations");
    let definitions = document["$defs"].as_object().expect("definitions");
    let known = definitions.keys().filter_map(|name| name.strip_prefix("request-")).map(str::to_owned).collect();
    assert_eq!(ops, known);
    let candidates = candidates(&document);
    assert!(candidates.len() > 100, "the words of the sources are found");
    for op in &ops {
        let schema = &definitions[&format!("request-{op}")];
        let base = &schema["examples"][0];
        assert_eq!(judge.fault("request", base), None);
        assert_ne!(admin.call(base)["error"]["code"], "bad_request", "{base}");
        assert_eq!(accepted(&mut admin, base, None, &candidates), names_of(schema), "{op}");
    }
    let filter = json!({"op": "retry", "filter": {"entity_type": "NONE"}, "dry_run": true});
    assert_eq!(accepted(&mut admin, &filter, Some("filter"), &candidates), names_of(&definitions["filter"]));
    let row = &definitions["request-import"]["examples"][0];
    assert_eq!(accepted(&mut admin, row, Some("row"), &candidates), names_of(&definitions["row"]));
    let line = &definitions["request-replay"]["examples"][0];
    assert_eq!(accepted(&mut admin, line, Some("rows"), &candidates), names_of(&definitions["delivered_row"]));
}

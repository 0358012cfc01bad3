//! `packaging/examples/resyncd.d.ts` agrees with the agent: every request of the JSON Schema and every real reply is a
//! value of its types, and what is none is refused by the compiler.
//!
//! Needs npm and a registry for the compiler. Without npm it says so and passes, unless `RESYNCD_NEED_CLIENTS=1`.

use crate::support::{Agent, Answer, Plan, Upstream, record, record_now};
use serde_json::{Value, json};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

const COMPILER: &str = "typescript@5.6.3";
const NODE_TYPES: &str = "@types/node@20.17.6";

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples").join(name)
}

/// The compiler's verdict about the files of a directory.
fn compile(dir: &Path, files: &[&str]) -> (bool, String) {
    let options = "--strict --noEmit --exactOptionalPropertyTypes --target es2022 --module nodenext --types node";
    let line = format!("timeout 300 node node_modules/typescript/bin/tsc {options} {}", files.join(" "));
    let output = Command::new("sh").args(["-c", &line]).current_dir(dir).output().expect("a shell");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A request of each operation, and the real reply to it.
fn exchange(agent: &Agent) -> Vec<(Value, Value)> {
    let row = json!({"id": "4711", "entity_type": "SALE", "entity_id": "s-9", "action": "CREATE", "error": "x"});
    let requests = [
        json!({"op": "hello", "ref": {"n": [1, null]}}),
        record("s-1", &json!({"payload": {"total": 12.5, "lines": [{"sku": null}]}})),
        record_now("s-2"),
        json!({"op": "record", "entity_type": "SALE", "entity_id": 7, "action": "CREATE", "error": "x",
               "payload_base64": "AP8=", "retry_count": 0, "last_retry_at": null}),
        json!({"op": "get", "id": 1}),
        json!({"op": "get", "id": "nobody"}),
        json!({"op": "unsent"}),
        json!({"op": "health"}),
        json!({"op": "list", "status": "pending", "payload": true}),
        json!({"op": "hold", "ids": [1], "reason": "the price is wrong"}),
        json!({"op": "release", "filter": {"status": "held"}}),
        json!({"op": "edit", "id": 1, "payload": {"total": 13}, "reason": "wrong"}),
        json!({"op": "retry", "all": true, "dry_run": true}),
        json!({"op": "discard", "ids": [1], "reason": "entered twice"}),
        json!({"op": "history", "since": "2026-01-01"}),
        json!({"op": "history", "removed": true}),
        json!({"op": "stats"}),
        json!({"op": "series"}),
        json!({"op": "digest"}),
        json!({"op": "alerts"}),
        json!({"op": "metrics"}),
        json!({"op": "flush"}),
        json!({"op": "pause", "upstream": "hq", "by": "ana"}),
        json!({"op": "resume"}),
        json!({"op": "cleanup", "dry_run": true}),
        json!({"op": "import", "row": row}),
        json!({"op": "reload"}),
    ];
    requests
        .into_iter()
        .map(|request| {
            let reply = agent.ask(&request);
            (request, reply)
        })
        .collect()
}

/// What the compiler has to refuse.
const WRONG: [&str; 9] = [
    r#"const a: RecordRequest = { op: "record", entity_type: "SALE", entity_id: "s", action: "C" };"#,
    r#"const b: RecordRequest = { op: "record", entity_type: "S", entity_id: "s", action: "C", error: "x", paylod: {} };"#,
    r#"const c: RecordRequest = { op: "record", entity_type: "S", entity_id: "s", action: "C", error: "x", payload: 1, payload_base64: "AA==" };"#,
    r#"const d: Request = { op: "nothing" };"#,
    r#"const e: AppRequest = { op: "list" };"#,
    r#"const f: Reply<"record"> = { ok: true, id: "x", seq: 1, status: "lost", duplicate: false };"#,
    r#"const g: Reply<"record"> = { ok: false, error: { code: "no_such_code", message: "x" } };"#,
    r#"declare const h: Reply<"record">; const i: string = h.id;"#,
    r#"const j: Request = { op: "retry", ids: [1], filter: {}, all: 7 };"#,
];

const USE: &str = r#"import type { AppRequest, RecordRequest, Reply, Request } from "./resyncd";
declare const line: string;
const reply: Reply<"record"> = JSON.parse(line);
export const told: string = reply.ok ? `${reply.id} ${reply.duplicate}` : `${reply.error.code} ${reply.error.message}`;
export const now: RecordRequest =
  { op: "record", entity_type: "SALE", entity_id: 7, action: "CREATE", retry: "now" };
export type { AppRequest, Request };
"#;

#[test]
fn the_types_are_those_of_the_protocol() {
    if !Command::new("npm").arg("--version").output().is_ok_and(|output| output.status.success()) {
        assert!(env::var_os("RESYNCD_NEED_CLIENTS").is_none(), "the types were NOT checked: npm is missing");
        writeln!(io::stderr(), "\nthe types were NOT checked: npm is missing").expect("standard error takes a line");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path();
    fs::write(place.join("package.json"), r#"{"private":true,"type":"module"}"#).expect("a file");
    let install = format!("timeout 300 npm install --silent --no-audit --no-fund {COMPILER} {NODE_TYPES}");
    let installed = Command::new("sh").args(["-c", &install]).current_dir(place).output().expect("a shell");
    if !installed.status.success() {
        let why = String::from_utf8_lossy(&installed.stderr);
        assert!(env::var_os("RESYNCD_NEED_CLIENTS").is_none(), "the types were NOT checked: {why}");
        writeln!(io::stderr(), "\nthe types were NOT checked: npm cannot install the compiler: {why}")
            .expect("standard error");
        return;
    }
    fs::copy(example("resyncd.d.ts"), place.join("resyncd.d.ts")).expect("the types");

    let upstream = Upstream::start(|_| Answer::status(503));
    let agent = Agent::start(&Plan { backoff: &["1h"], ..Plan::to(upstream.url()) });
    let imports = "import type { AppRequest, RecordRequest, Reply, Request } from \"./resyncd.d.ts\";\n";
    let mut right = imports.to_owned();
    for (n, (request, reply)) in exchange(&agent).into_iter().enumerate() {
        let op = request["op"].as_str().expect("an operation");
        writeln!(right, "export const q{n}: Request = {request};\nexport const r{n}: Reply<{op:?}> = {reply};")
            .expect("a String takes everything");
    }
    fs::write(place.join("right.ts"), right).expect("a file");
    fs::write(place.join("use.ts"), USE.replace("./resyncd\"", "./resyncd.d.ts\"")).expect("a file");
    let (ok, told) = compile(place, &["right.ts", "use.ts", "resyncd.d.ts"]);
    assert!(ok, "the types refuse what the agent says or takes:\n{told}");
    let wrong: String =
        std::iter::once(imports.trim_end()).chain(WRONG).fold(String::new(), |all, line| all + line + "\n");
    fs::write(place.join("wrong.ts"), wrong + "export {};\n").expect("a file");
    let (ok, told) = compile(place, &["wrong.ts"]);
    assert!(!ok);
    for (n, line) in WRONG.iter().enumerate() {
        assert!(told.contains(&format!("wrong.ts({},", n + 2)), "the types take: {line}\n{told}");
    }
}

//! Every example of the README and of the protocol page is run, in the order of the page, against
//! the real binary. `…` in an expected line stands for anything, `"…"` in an expected reply for any
//! value.

use crate::support::{Agent, Client, Plan, record, wait_for};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A fenced block of a page.
pub(super) struct Block {
    /// The info string of the fence: `console`, `transcript app`, …
    pub(super) kind: String,
    pub(super) lines: Vec<String>,
}

pub(super) fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page is there");
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => open = Some(Block { kind: kind.to_owned(), lines: Vec::new() }),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    found
}

/// Does a reply look as expected?
fn alike(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(any), _) if any == "…" => true,
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected.iter().all(|(name, value)| found.get(name).is_some_and(|found| alike(value, found)))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(expected, found)| alike(expected, found))
        }
        _ => expected == found,
    }
}

#[test]
fn the_protocol_page_tells_the_truth() {
    run_transcripts("packaging/doc/protocol.md", 5);
}

#[test]
fn the_offline_first_guide_tells_the_truth() {
    run_transcripts("packaging/doc/offline-first.md", 2);
}

/// Each transcript of a page, on an agent of its own.
fn run_transcripts(page: &str, least: usize) {
    let transcripts: Vec<Block> =
        blocks(page).into_iter().filter(|block| block.kind.starts_with("transcript")).collect();
    assert!(transcripts.len() >= least, "the page's transcripts are found");
    for block in transcripts {
        let agent = Agent::start(&Plan::default());
        let mut client = if block.kind.ends_with("admin") { agent.admin() } else { agent.app() };
        for line in &block.lines {
            if let Some(request) = line.strip_prefix("→ ") {
                client.line(request);
            } else if let Some(expected) = line.strip_prefix("← ") {
                let found = client.reply();
                let expected: Value = serde_json::from_str(expected).expect("an expected reply is JSON");
                assert!(alike(&expected, &found), "expected {expected}\n   found {found}");
            }
        }
    }
}

/// The names of operations and error codes on the page are the agent's.
#[test]
fn the_protocol_page_names_every_operation() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/doc/protocol.md")).expect("the page");
    let agent = Agent::start(&Plan::default());
    let hello = agent.ask(&serde_json::json!({"op": "hello"}));
    for op in hello["ops"].as_array().expect("a list") {
        let op = op.as_str().expect("a name");
        assert!(page.contains(&format!("`{op}`")), "{op} is not on the page");
    }
}

/// Where the README's commands run: a directory, and an agent that they start.
struct Terminal {
    dir: tempfile::TempDir,
    locale: &'static str,
    agents: Vec<Child>,
}

impl Terminal {
    fn new(locale: &'static str) -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory"), locale, agents: Vec::new() }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("app.sock")
    }

    fn command(&self, program: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_resyncd"));
        let programs = format!(
            "{}:{}",
            binary.parent().expect("a directory").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env("PATH", programs).env_remove("RESYNCD_CONFIG").stdin(Stdio::null());
        command
            .env_remove("SUDO_USER")
            .env_remove("RESYNCD_UPSTREAM")
            .env_remove("RESYNCD_LANG")
            .env("LC_ALL", self.locale)
            .env("RESYNCD_STATE_DIR", self.dir.path().join("state"));
        command.env("RESYNCD_SOCKET", self.socket()).env("RESYNCD_ADMIN_SOCKET", self.dir.path().join("admin.sock"));
        command
    }

    /// Runs a line as a user would type it, and returns its output.
    fn run(&mut self, line: &str) -> Vec<String> {
        if let Some(background) = line.strip_suffix('&') {
            let mut command = self.command("sh");
            command.args(["-c", &format!("exec {background}")]).stdout(Stdio::null()).stderr(Stdio::null());
            self.agents.push(command.spawn().expect("a shell"));
            let socket = self.socket();
            wait_for("the agent's socket", || Client::try_connect(socket.clone()).map(drop));
            return Vec::new();
        }
        let output = self.command("sh").args(["-c", line]).output().expect("a shell");
        assert!(output.status.success(), "{line}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// Does a line match, `…` standing for anything and any run of blanks for one?
fn matches(expected: &str, found: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (expected, found) = (squeeze(expected), squeeze(found));
    let parts: Vec<&str> = expected.split('…').collect();
    let [first, .., last] = &parts[..] else { return expected == found };
    let Some(mut rest) = found.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    for part in &parts[1..parts.len() - 1] {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// A console block: commands behind `$`, and what they print.
fn run_console(terminal: &mut Terminal, block: &Block) {
    let mut lines = block.lines.iter().peekable();
    while let Some(line) = lines.next() {
        let command =
            line.strip_prefix("$ ").unwrap_or_else(|| panic!("a console block begins with a command: {line}"));
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            expected.push(line.as_str());
        }
        let fits =
            |found: &[String]| found.len() == expected.len() && expected.iter().zip(found).all(|(e, f)| matches(e, f));
        let mut found = terminal.run(command);
        // What is only looked at may take a moment to become so.
        if ["resyncd", "resyncd status", "resyncd list"].contains(&command) && !fits(&found) {
            found = wait_for(&format!("`{command}` to print {expected:#?}"), || {
                Some(terminal.run(command)).filter(|found| fits(found))
            });
        }
        assert!(fits(&found), "{command}\nexpected {expected:#?}\nfound {found:#?}");
    }
}

/// The Python example; where there is no Python, the same record by the command line, so that the
/// story goes on.
fn run_python(terminal: &mut Terminal, block: &Block) {
    let code = block.lines.join("\n").replace("/run/resyncd/resyncd.sock", &terminal.socket().display().to_string());
    match terminal.command("python3").args(["-c", &code]).output() {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(printed.contains("\"ok\":true"), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => {
            eprintln!("the README's Python example was NOT run: {error}");
            terminal.run("resyncd record --type SALE --entity s-2 --action CREATE --error 'connect ETIMEDOUT'");
        }
    }
}

#[test]
fn the_readme_tells_the_truth() {
    run_readme("README.md", "C.UTF-8", "The configuration is valid.");
}

/// Its screens are those that a Spanish reader sees.
#[test]
fn the_spanish_readme_tells_the_truth() {
    run_readme("packaging/doc/README.es.md", "es_ES.UTF-8", "La configuración es válida.");
}

fn run_readme(page: &str, locale: &'static str, valid: &str) {
    let mut terminal = Terminal::new(locale);
    let (mut ran, mut later) = (0, Vec::new());
    for block in blocks(page) {
        match block.kind.as_str() {
            "console" => run_console(&mut terminal, &block),
            // The screen at the top shows what the page does further below.
            "console later" => later.push(block),
            "python" => {
                run_python(&mut terminal, &block);
                later.drain(..).for_each(|block| run_console(&mut terminal, &block));
            }
            // Run as root, in a machine of its own.
            "sh boot" => look_over(&terminal, &block),
            "toml" => {
                fs::write(terminal.dir.path().join("checked.toml"), block.lines.join("\n")).expect("a file");
                let told = terminal.run("resyncd config check --syntax --config checked.toml");
                assert_eq!(told[0], valid);
            }
            // The two commands of the beginning are what runs this test, and the demo's own test.
            "sh" => {}
            other => panic!("a block of the README is not run: {other}"),
        }
        ran += 1;
    }
    assert!(ran >= 9 && later.is_empty(), "the README's blocks are found, and run");
}

/// What a person types as root: a command of the system, or one that the binary knows; of packages that
/// the build makes.
fn look_over(terminal: &Terminal, block: &Block) {
    for line in &block.lines {
        let words: Vec<&str> = line.split(" #").next().unwrap_or_default().split_whitespace().collect();
        match words[..] {
            ["sudo", "resyncd", command, ..] => {
                let known = terminal.command("resyncd").args([command, "--help"]).output().expect("the binary");
                assert!(known.status.success(), "{line}: no such command");
            }
            ["sudo", "apt", "remove" | "purge", package] | ["sudo", "systemctl", "restart", package] => {
                assert_eq!(package, "resyncd", "{line}");
            }
            ["sudo", "apt", "install", package] => assert_eq!(package, "./resyncd_*.deb", "{line}"),
            ["sudo", "usermod", "-aG", group, _user] => assert_eq!(group, "resyncd", "{line}"),
            ["sudoedit", file] => assert_eq!(file, "/etc/resyncd/resyncd.toml", "{line}"),
            _ => panic!("nobody has looked over: {line}"),
        }
    }
}

/// What must be the same on a page and its translation: headings by their depth, what is typed, and
/// every command and configuration key that is named.
fn skeleton(page: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page is there");
    let mut found: Vec<String> = Vec::new();
    let mut inside: Option<&str> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(kind), None) => inside = Some(kind),
            (Some(_), Some(_)) => inside = None,
            // What is printed is in the page's language, and another test runs it.
            (None, Some(kind)) if kind.starts_with("console") => {
                found.extend(line.starts_with("$ ").then(|| format!("{kind}: {line}")));
            }
            (None, Some(kind)) => {
                let typed = line.split('#').next().unwrap_or_default().trim_end();
                found.extend(Some(format!("{kind}: {typed}")).filter(|_| !typed.is_empty()));
            }
            (None, None) if line.starts_with('#') => {
                found.push(line.chars().take_while(|c| *c == '#').collect());
            }
            (None, None) if line.starts_with("| ") => {
                let commands = line.split('`').skip(1).step_by(2).filter(|word| word.starts_with("resyncd"));
                found.extend(commands.map(|command| command.split('\'').next().unwrap_or_default().to_owned()));
            }
            (None, None) => {}
        }
    }
    found
}

#[test]
fn the_spanish_readme_keeps_step() {
    let (english, spanish) = (skeleton("README.md"), skeleton("packaging/doc/README.es.md"));
    for (english, spanish) in english.iter().zip(&spanish) {
        assert_eq!(english, spanish);
    }
    assert_eq!(english.len(), spanish.len(), "one of them is longer");
    assert!(english.len() > 100, "the page's skeleton is found");
}

/// What the page on payloads says of `card_numbers`, with a number that passes Luhn's check.
#[test]
fn the_page_on_payloads_names_what_card_numbers_does() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/doc/payloads.md"));
    let page = page.expect("the page");
    let values: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `\"")).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(values, ["warn", "refuse", "off"]);
    for (limits, recorded, warned) in [
        ("card_numbers = \"warn\"", true, true),
        ("card_numbers = \"refuse\"", false, false),
        ("card_numbers = \"off\"", true, false),
    ] {
        let agent = Agent::start(&Plan { limits, ..Plan::default() });
        let card = serde_json::json!({"payload": {"card": "4111 1111 1111 1111"}});
        let reply = agent.call(&record("s-1", &card));
        assert_eq!(reply["ok"], recorded, "{limits}: {reply}");
        assert_eq!(agent.log().contains("event=card_number"), warned, "{limits}");
        assert!(!reply.to_string().contains("1111") && !agent.log().contains("1111 1111"), "{limits}");
        // What it does not find: encoded, and in an id.
        let hidden = serde_json::json!({"payload": "NDExMTExMTExMTExMTExMQ==", "order_key": "4111111111111111"});
        assert_eq!(agent.call(&record("s-2", &hidden))["ok"], true, "{limits}");
    }
}

/// Every link of a page that is no address of the net leads to a file.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    let entries = fs::read_dir(root.join("packaging/doc")).expect("the pages");
    pages.extend(entries.map(|entry| entry.expect("an entry").path()));
    let mut count = 0;
    for page in pages.iter().filter(|page| page.extension().is_some_and(|ending| ending == "md")) {
        let text = fs::read_to_string(page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || link.contains("://") {
                continue;
            }
            let there = page.parent().expect("a directory").join(file).exists();
            assert!(there, "{} leads to {link}, which is not there", page.display());
            count += 1;
        }
    }
    assert!(count > 8, "links are found");
}

#[test]
fn lines_are_compared_as_told() {
    assert!(matches("a … c", "a  b  c"));
    assert!(matches("…", "whatever"));
    assert!(!matches("a … c", "a b d"));
    assert!(!matches("a", "b"));
    assert!(alike(&serde_json::json!({"a": "…"}), &serde_json::json!({"a": 7})));
    assert!(!alike(&serde_json::json!({"a": "…"}), &serde_json::json!({"a": 7, "b": 1})));
}

/// Every test that the page on reliability names exists.
#[test]
fn the_reliability_page_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("packaging/doc/reliability.md")).expect("the page");
    let sources = sources_below(&root.join("tests")) + &sources_below(&root.join("src"));
    let is_there = |name: &str| match name.strip_prefix("hardship ") {
        Some(check) => root.join(format!("tests/hardship/{check}.py")).exists(),
        None => sources.contains(&format!("fn {name}(")),
    };
    let section =
        page.split("## Fault by fault").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("its table");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 18, "a row for each fault, not {}", rows.len());
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().expect("a last column");
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test in {row}");
        for name in names {
            assert!(is_there(name), "{name} is not there");
        }
    }
    assert!(!is_there("a_test_that_nobody_wrote"));
}

fn sources_below(dir: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all += &sources_below(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all += &fs::read_to_string(&path).expect("a source");
        }
    }
    all
}

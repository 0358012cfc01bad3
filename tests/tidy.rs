//! Project rules that a change could break by mistake: the direction of imports, no clock, thread
//! or randomness in the core, the length of functions, a header that says what a file is for, no
//! paths of a developer's machine.
//!
//! It reads the sources as text. For each check a counterpart shows it failing on a bad source,
//! because a check that cannot fail proves nothing.

#[path = "tidy/circles.rs"]
mod circles;

use circles::{Module, circles, module_of};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer, from the lowest up; `src/lib.rs` gives the reasons.
const FLOORS: [(u8, &[&str]); 8] = [
    (1, &["record", "question", "config", "limits", "moment", "ids", "access", "figures", "text"]),
    (2, &["policy"]),
    (3, &["store", "wire"]),
    (4, &["agent"]),
    (5, &["io"]),
    (6, &["daemon"]),
    (7, &["cli"]),
    (8, &["lib", "main"]),
];
const MOST_LINES_OF_A_FUNCTION: usize = 70;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The module: the first part of the path below `src`.
    fn room(&self) -> String {
        let inside = self.path.strip_prefix(root().join("src")).expect("a source file");
        let first = inside.components().next().expect("a file has a name").as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The source without the tests at its end, to which other rules apply.
    fn product(&self) -> &str {
        self.text.split("#[cfg(test)]").next().unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        self.path.to_string_lossy().ends_with("_tests.rs")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("reading {}: {error}", dir.display()));
    for entry in entries {
        let path = entry.expect("a directory's entry").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources(dir: &str) -> Vec<Source> {
    let mut found = Vec::new();
    files(&root().join(dir), ".rs", &mut found);
    found.sort();
    assert!(!found.is_empty(), "no sources in {dir}");
    let read = |path: PathBuf| Source { text: fs::read_to_string(&path).expect("a source is text"), path };
    found.into_iter().map(read).collect()
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// The modules that a text names as `crate::module`. Exported macros are at the crate's root and in no module.
fn imports(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let after = code.flat_map(|line| line.split("crate::").skip(1));
    let end = |rest: &str| rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    after
        .map(|rest| rest.split_at(end(rest)))
        .filter(|(_, rest)| !rest.starts_with('!'))
        .map(|(name, _)| name)
        .collect()
}

/// The first wrong import of a module, if there is one.
fn wrong_import(room: &str, text: &str) -> Option<String> {
    let own = floor(room).unwrap_or_else(|| panic!("{room} has no layer; give it one in tests/tidy.rs"));
    let up = |other: &&str| {
        let theirs = floor(other).unwrap_or_else(|| panic!("{room} imports {other}, which has no layer"));
        *other != room && own != 8 && (theirs > own || (theirs == own && own > 1))
    };
    imports(text).into_iter().filter(|other| !other.is_empty()).find(up).map(|other| format!("{room} imports {other}"))
}

#[test]
fn imports_point_down() {
    for source in sources("src") {
        let wrong = wrong_import(&source.room(), &source.text);
        assert_eq!(wrong, None, "in {}", source.path.display());
    }
    assert!(wrong_import("policy", "use crate::store::Store;").is_some(), "up");
    assert!(wrong_import("store", "use crate::wire::reply;").is_some(), "across");
    assert!(wrong_import("agent", "use crate::store::Store;").is_none(), "down");
}

/// No file imports another that imports it, directly or over others: each can be read after those that it imports.
#[test]
fn no_files_import_each_other() {
    let product: Vec<Source> = sources("src").into_iter().filter(|source| !source.is_test()).collect();
    let below = |source: &Source| module_of(source.path.strip_prefix(root().join("src")).expect("a source file"));
    let texts: BTreeMap<Module, String> =
        product.iter().map(|source| (below(source), source.product().to_owned())).collect();
    let shown: Vec<String> = circles(&texts)
        .iter()
        .map(|circle| circle.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(shown, Vec::<String>::new());

    let module = |name: &str| module_of(Path::new(name));
    let sample = [
        ("a/mod.rs", "use b::C;"),
        ("a/b.rs", "use super::{Face, c::{self, d::E as F}};"),
        ("a/c.rs", "use crate::g;"),
    ];
    let closed = [("g.rs", "fn g() { crate::a::b::f() }")];
    let of = |files: &[(&str, &str)]| files.iter().map(|(file, text)| (module(file), (*text).to_owned())).collect();
    assert_eq!(circles(&of(&sample)).len(), 0);
    assert_eq!(
        circles(&of(&[&sample[..], &closed[..]].concat())),
        [vec![module("a/b.rs"), module("a/c.rs"), module("g.rs")]]
    );
}

/// What the core must not touch: clocks, threads, randomness, sockets, the process.
const OUTSIDE: [&str; 12] = [
    "SystemTime",
    "Instant",
    "std::thread",
    "thread::",
    "getrandom",
    "RandomState",
    "Rng::new()",
    "std::net",
    "std::process::exit",
    "UnixStream",
    "TcpStream",
    "std::env",
];

fn touches_outside(text: &str) -> Option<&'static str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    OUTSIDE.into_iter().find(|word| code.contains(word))
}

#[test]
fn the_core_has_no_clock_thread_or_randomness() {
    for source in sources("src").iter().filter(|source| floor(&source.room()).is_some_and(|floor| floor < 5)) {
        // A URL's host is read with the standard library's address type.
        let text = source.product().replace("use std::net::IpAddr;", "");
        assert_eq!(touches_outside(&text), None, "in {}", source.path.display());
    }
    assert_eq!(touches_outside("let now = Instant::now();"), Some("Instant"));
    assert_eq!(touches_outside("// never calls Instant::now"), None);
}

#[test]
fn only_main_ends_the_process() {
    for source in sources("src") {
        assert!(!source.text.contains("process::exit"), "in {}", source.path.display());
    }
}

/// Functions that are too long: their names and lengths.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut long = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let begins = ["fn ", "pub fn ", "pub(super) fn ", "pub(crate) fn ", "const fn ", "pub const fn "];
        let Some(start) = begins.iter().find(|begin| words.starts_with(**begin)) else { continue };
        let close = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[n..].iter().position(|line| *line == close) {
            let name = words[start.len()..].split(['(', '<']).next().unwrap_or_default();
            if length + 1 > MOST_LINES_OF_A_FUNCTION {
                long.push((name.to_owned(), length + 1));
            }
        }
    }
    long
}

#[test]
fn functions_are_short() {
    // An entry of the catalogue may be a table of texts, and looks like a function.
    let sources = sources("src").into_iter().filter(|source| source.room() != "text").chain(sources("tests"));
    for source in sources {
        assert_eq!(long_functions(&source.text), [], "in {}", source.path.display());
    }
    let long = format!("    pub fn long(&self) {{\n{}    }}\n", "        x();\n".repeat(70));
    assert_eq!(long_functions(&long), [("long".to_owned(), 72)]);
}

#[test]
fn every_file_says_what_it_is_for() {
    for source in sources("src").into_iter().chain(sources("tests")) {
        assert!(source.text.starts_with("//! "), "{} has no beginning", source.path.display());
    }
}

#[test]
fn the_product_does_not_unwrap() {
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        for word in [".unwrap()", "todo!", "unimplemented!", "dbg!"] {
            assert!(!source.product().contains(word), "{word} in {}", source.path.display());
        }
    }
}

/// Paths and tools of a developer's machine.
#[test]
fn the_project_speaks_of_itself_alone() {
    let mut found = Vec::new();
    for (dir, endings) in
        [("src", &[".rs"][..]), ("tests", &[".rs"]), ("migrations", &[".sql"]), ("packaging", &[".md", ".sh"])]
    {
        for ending in endings {
            files(&root().join(dir), ending, &mut found);
        }
    }
    found.extend([root().join("README.md"), root().join("Cargo.toml"), root().join(".ci/run")]);
    // Assembled here, so that this file does not contain them.
    let words = [["/wo", "rk/"], ["../sh", "ared"], ["farm-", "studio"], ["cra", "tes.io"], ["sp", "ec/0"]]
        .map(|parts| parts.concat());
    for file in found {
        let text = fs::read_to_string(&file).expect("a text");
        for word in &words {
            assert!(!text.contains(word.as_str()), "{word} in {}", file.display());
        }
    }
}

/// Every entry of the top level is a known one.
#[test]
fn the_top_level_is_what_it_should_be() {
    let known =
        ["Cargo.toml", "Cargo.lock", "src", "migrations", "tests", "packaging", "README.md", "LICENSE", "target"];
    for entry in fs::read_dir(root()).expect("the project") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || known.contains(&name.as_str()), "{name} has no place at the top level");
    }
}

/// The line above every dependency gives its reason.
#[test]
fn every_dependency_has_its_reason() {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let lines: Vec<&str> = text.lines().collect();
    let mut inside = false;
    for (n, line) in lines.iter().enumerate() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && line.contains(" = ") {
            assert!(lines[n - 1].starts_with("# "), "no reason for {line}");
        }
    }
}

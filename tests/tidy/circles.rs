//! Which file imports which, read from the paths that begin with `crate`, `super` or `self`, and the circles in that.
//!
//! A module's own file (`store/mod.rs`) is the face of its files, and each may use the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file's place in the crate: `["store", "rows"]`.
pub(crate) type Module = Vec<String>;

/// The module of a file below `src`.
pub(crate) fn module_of(below_src: &Path) -> Module {
    let mut parts: Module =
        below_src.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// Groups of files that import each other, each sorted. `texts` are the sources by module, without tests.
pub(crate) fn circles(texts: &BTreeMap<Module, String>) -> Vec<Vec<Module>> {
    let imports: BTreeMap<&Module, BTreeSet<&Module>> =
        texts.iter().map(|(module, text)| (module, imported(module, text, texts))).collect();
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        imports.keys().map(|module| (*module, reach(module, &imports))).collect();
    let mut found = BTreeSet::new();
    for (module, there) in &reached {
        let circle: Vec<Module> =
            there.iter().filter(|other| reached[**other].contains(*module)).map(|other| (*other).clone()).collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn reach<'t>(from: &Module, imports: &BTreeMap<&'t Module, BTreeSet<&'t Module>>) -> BTreeSet<&'t Module> {
    let (mut there, mut next) = (BTreeSet::new(), imports[from].iter().copied().collect::<Vec<_>>());
    while let Some(module) = next.pop() {
        if there.insert(module) {
            next.extend(&imports[module]);
        }
    }
    there
}

/// The files that a text names, without its own module's faces.
fn imported<'t>(module: &Module, text: &str, all: &'t BTreeMap<Module, String>) -> BTreeSet<&'t Module> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let word = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let start = before.len() - word.len();
        if code[..start].ends_with("::") || !matches!(word, "crate" | "super" | "self") {
            continue;
        }
        let base = match word {
            "crate" => Module::new(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            _ => module.clone(),
        };
        let mut paths = Vec::new();
        tree(&code[at + 2..], base, &mut paths);
        found.extend(paths.iter().filter_map(|path| file_of(path, all)));
    }
    found.retain(|other| !module.starts_with(other) && !other.starts_with(module));
    found
}

/// Reads a tree of paths (`a::{b, c::d}`) below `base`; returns what follows it.
fn tree<'c>(mut code: &'c str, mut base: Module, paths: &mut Vec<Module>) -> &'c str {
    loop {
        code = code.trim_start();
        if let Some(mut list) = code.strip_prefix('{') {
            loop {
                list = tree(list, base.clone(), paths).trim_start();
                match list.strip_prefix(',') {
                    Some(rest) => list = rest,
                    None => return list.strip_prefix('}').unwrap_or(list),
                }
            }
        }
        let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
        let (name, rest) = code.split_at(end);
        match name {
            "super" => drop(base.pop()),
            "" | "self" => {}
            name => base.push(name.to_owned()),
        }
        let Some(below) = rest.strip_prefix("::") else {
            paths.push(base);
            let alias = rest.trim_start().strip_prefix("as ");
            return alias.map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'));
        };
        code = below;
    }
}

/// The file that defines a path: the longest beginning of it that is a module.
fn file_of<'t>(path: &[String], all: &'t BTreeMap<Module, String>) -> Option<&'t Module> {
    (1..=path.len()).rev().find_map(|length| all.get_key_value(&path[..length].to_vec())).map(|(module, _)| module)
}

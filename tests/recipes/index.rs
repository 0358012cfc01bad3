//! The recipes as a whole: the index lists each of them, and each is a valid configuration.

use crate::kitchen::folder;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The folders of `packaging/recipes`.
fn recipes() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the recipes are there").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_dir()).collect()
}

#[test]
fn every_recipe_is_explained_and_stands_in_the_index() {
    let index = fs::read_to_string(folder().join("README.md")).expect("there is an index");
    for recipe in recipes() {
        let name = recipe.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(recipe.join("README.md").is_file(), "{name} explains nothing");
        let rows = index.lines().filter(|line| line.starts_with(&format!("| [{name}]({name}/)"))).count();
        assert_eq!(rows, 1, "the index has {rows} rows for {name}");
    }
    for line in index.lines().filter(|line| line.starts_with("| [")) {
        let name = line.split(['[', ']']).nth(1).expect("a name");
        assert!(folder().join(name).is_dir(), "the index knows {name}, which is not there");
    }
}

/// Checked unchanged, with the paths that they contain.
#[test]
fn every_recipe_is_a_configuration_without_a_mistake() {
    let files = recipes().into_iter().flat_map(|recipe| fs::read_dir(recipe).expect("a folder"));
    let files: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    let tomls = files.iter().filter(|path| path.extension().is_some_and(|is| is == "toml"));
    let mut checked = 0;
    for file in tomls {
        let output = Command::new(env!("CARGO_BIN_EXE_resyncd"))
            .args(["config", "check", "--syntax", "--config"])
            .arg(file)
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}", file.display());
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} were found");
}

/// An operator reads an adapter before trusting it, so it must be short.
#[test]
fn adapters_have_at_most_forty_lines() {
    for recipe in recipes() {
        let Ok(text) = fs::read_to_string(recipe.join("adapter.py")) else { continue };
        assert!(text.lines().count() <= 40, "{} has {} lines", recipe.display(), text.lines().count());
    }
}

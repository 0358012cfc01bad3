//! What a report is made of: the snapshot, the time lines of what needs a person, the configuration with
//! its secrets masked, versions.

use crate::cli::Failure;
use crate::cli::args::{Global, RunArgs};
use crate::cli::config;
use crate::cli::session::Session;
use crate::cli::setup;
use crate::figures::snapshot::{self, Part, Snapshot};
use crate::io::clock::wall;
use crate::io::system;
use crate::moment::WallTime;
use serde_json::{Value, json};

/// So many that need a person have their time lines in it, with so many entries each.
const STORIES: usize = 10;
pub(super) const ENTRIES: usize = 12;

/// See the module.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) now: WallTime,
    pub(super) terminal: String,
    pub(super) store: Option<String>,
    pub(super) snapshot: Snapshot,
    pub(super) stories: Vec<Story>,
    /// As a file, or why it cannot be read.
    pub(super) configuration: String,
    pub(super) versions: Vec<(&'static str, String)>,
}

/// One that needs a person.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) failure: snapshot::Failure,
    /// Its history's newest entries, oldest first.
    pub(super) entries: Vec<Value>,
    /// There were more.
    pub(super) more: bool,
    /// Payload and last answer, where they are wanted.
    pub(super) contents: Option<(Option<String>, Option<String>)>,
}

pub(super) fn gather(session: &Session, global: &Global, payloads: bool) -> Result<Gathered, Failure> {
    let now = wall();
    let mut snapshot = Snapshot::default();
    for part in Part::ALL {
        session.fill(&mut snapshot, part, &part.question(now))?;
    }
    let wanted: Vec<snapshot::Failure> = snapshot.critical.failures.iter().take(STORIES).cloned().collect();
    let stories = wanted.into_iter().map(|failure| story(session, failure, payloads)).collect::<Result<_, _>>()?;
    let agent = &session.config.agent;
    Ok(Gathered {
        now,
        terminal: agent.terminal_id.clone(),
        store: agent.store_id.clone(),
        snapshot,
        stories,
        configuration: configuration(global),
        versions: versions(),
    })
}

fn story(session: &Session, failure: snapshot::Failure, payloads: bool) -> Result<Story, Failure> {
    let history = json!({"op": "history", "id": failure.id, "order": "desc", "limit": ENTRIES});
    let mut page = match session.quietly(&history) {
        Ok(page) => page.value,
        // Nothing was tried or done with it yet.
        Err(Failure::NotFound(_)) => Value::Null,
        Err(other) => return Err(other),
    };
    let mut entries = page["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
    entries.reverse();
    let mut contents = None;
    if payloads {
        let found = session.quietly(&json!({"op": "get", "id": failure.id}));
        let text = |value: &Value, name: &str| value["failure"][name].as_str().map(str::to_owned);
        // It may have left since.
        contents = found.ok().map(|found| (text(&found.value, "payload"), text(&found.value, "response")));
    }
    Ok(Story { failure, entries, more: !page["next"].is_null(), contents })
}

fn configuration(global: &Global) -> String {
    let run = RunArgs::default();
    match setup::config_and_origins(global, &run) {
        Ok((config, origins)) => config::as_file(&config, &origins, &setup::overrides(global, &run)),
        Err(failure) => format!("The files are wrong, an earlier configuration is in force:\n{failure}"),
    }
}

fn versions() -> Vec<(&'static str, String)> {
    vec![
        ("resyncd", env!("CARGO_PKG_VERSION").to_owned()),
        ("SQLite", rusqlite::version().to_owned()),
        ("schema", crate::store::open::newest_version().to_string()),
        ("system", system::release()),
    ]
}

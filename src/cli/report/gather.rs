//! Collects the data of a report: the snapshot, the time lines of critical and held failures, the configuration with
//! its secrets masked, versions.

use crate::cli::Failure;
use crate::cli::args::{Global, RunArgs};
use crate::cli::config;
use crate::cli::load_config;
use crate::cli::session::Session;
use crate::figures::snapshot::{self, Part, Snapshot};
use crate::io::clock::wall;
use crate::io::system;
use crate::moment::WallTime;
use crate::text::phrases::of_agent;
use crate::text::report as text;
use serde_json::{Value, json};

/// Maximum numbers of failures with time lines, and of entries in each.
const STORIES: usize = 10;
pub(super) const ENTRIES: usize = 12;

/// The data of a report.
#[derive(Debug)]
pub(super) struct ReportData {
    pub(super) now: WallTime,
    pub(super) terminal: String,
    pub(super) store: Option<String>,
    pub(super) snapshot: Snapshot,
    pub(super) stories: Vec<FailureStory>,
    /// The configuration file, or why it cannot be read.
    pub(super) configuration: String,
    pub(super) versions: Vec<(&'static str, String)>,
}

/// A critical or held failure.
#[derive(Debug)]
pub(super) struct FailureStory {
    pub(super) failure: snapshot::Failure,
    /// The newest entries of its history, oldest first.
    pub(super) entries: Vec<Value>,
    /// There were more.
    pub(super) more: bool,
    /// Payload and last response, if requested.
    pub(super) contents: Option<(Option<String>, Option<String>)>,
}

pub(super) fn gather(session: &Session, global: &Global, payloads: bool) -> Result<ReportData, Failure> {
    let now = wall();
    let mut snapshot = Snapshot::default();
    for part in Part::ALL {
        session.fill(&mut snapshot, part, &part.question(now))?;
    }
    let wanted: Vec<snapshot::Failure> = snapshot.critical.failures.iter().take(STORIES).cloned().collect();
    let stories = wanted.into_iter().map(|failure| story(session, failure, payloads)).collect::<Result<_, _>>()?;
    let agent = &session.config.agent;
    Ok(ReportData {
        now,
        terminal: agent.terminal_id.clone(),
        store: agent.store_id.clone(),
        snapshot,
        stories,
        configuration: configuration(global),
        versions: versions(),
    })
}

fn story(session: &Session, failure: snapshot::Failure, payloads: bool) -> Result<FailureStory, Failure> {
    let history = json!({"op": "history", "id": failure.id, "order": "desc", "limit": ENTRIES});
    let mut page = match session.quietly(&history) {
        Ok(page) => page.value,
        // It has no attempt or action yet.
        Err(Failure::NotFound(_)) => Value::Null,
        Err(other) => return Err(other),
    };
    let mut entries = page["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
    entries.reverse();
    let mut contents = None;
    if payloads {
        let found = session.quietly(&json!({"op": "get", "id": failure.id}));
        let part = |value: &Value, name: &str| value["failure"][name].as_str().map(str::to_owned);
        // It may have been removed since.
        contents = found.ok().map(|found| (part(&found.value, "payload"), part(&found.value, "response")));
    }
    Ok(FailureStory { failure, entries, more: !page["next"].is_null(), contents })
}

fn configuration(global: &Global) -> String {
    let run = RunArgs::default();
    match load_config::config_and_origins(global, &run) {
        Ok((config, origins)) => config::as_file(&config, &origins, &load_config::overrides(global, &run)),
        Err(failure) => text::configuration_wrong(&of_agent(&failure.to_string())),
    }
}

fn versions() -> Vec<(&'static str, String)> {
    let newest = crate::store::open::newest_version().to_string();
    let versions = [env!("CARGO_PKG_VERSION").to_owned(), rusqlite::version().to_owned(), newest, system::release()];
    text::version_names().into_iter().zip(versions).collect()
}

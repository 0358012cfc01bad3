//! The contents of an image: opened with the shipped `Store::open`, then read as another program would.

use crate::vfs::machine::{Machine, on};
use crate::vfs::medium::Image;
use resyncd::moment::{AgentTime, WallTime};
use resyncd::store::{Store, StoreSettings};
use rusqlite::{Connection, OpenFlags, Row};

/// A live failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Live {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) entity: (String, String),
    pub(crate) action: String,
    pub(crate) error: String,
    pub(crate) payload: String,
    pub(crate) status: String,
    pub(crate) order_key: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) uid: u32,
    pub(crate) head: bool,
    pub(crate) attempts: usize,
}

/// A stored idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) uid: u32,
    pub(crate) given: String,
    pub(crate) id: String,
    pub(crate) outcome: Option<String>,
}

/// Everything that the agent promises to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Contents {
    pub(crate) live: Vec<Live>,
    pub(crate) keys: Vec<Key>,
    /// Failure and class of each attempt.
    pub(crate) tries: Vec<(String, String)>,
    /// Reasons of operators' actions.
    pub(crate) audit: Vec<String>,
    pub(crate) next_seq: i64,
    pub(crate) counted_live: u64,
    pub(crate) paused: bool,
}

/// Boots the machine with an image and opens the store there. The machine derives nothing.
pub(crate) fn wake(image: &Image, settings: &StoreSettings, wall: WallTime) -> Result<Store, String> {
    on(|machine| {
        machine.unwatched = true;
        machine.boot(image);
    });
    Store::open(settings.clone(), wall).map_err(|error| format!("integrity: the store does not open: {error}"))
}

/// Reads the contents of an image.
pub(crate) fn look(image: &Image, settings: &StoreSettings, wall: WallTime) -> Result<Contents, String> {
    let store = wake(image, settings, wall)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let stranger = Connection::open_with_flags(settings.file(), flags);
    let found = stranger.and_then(|stranger| {
        let found = read(&stranger, &store);
        on(Machine::kill); // An orderly end is not needed.
        found
    });
    found.map_err(|error| format!("integrity: the file cannot be read: {error}"))?
}

fn read(stranger: &Connection, store: &Store) -> rusqlite::Result<Result<Contents, String>> {
    let verdict: String = stranger.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(Err(format!("integrity: PRAGMA integrity_check says {verdict}")));
    }
    let upstream = store.upstream("hq").map_err(|error| format!("integrity: the upstream's state: {error}"));
    let live = "SELECT seq, id, entity_type, entity_id, action, error, payload, status, order_key, idempotency_key, \
                source_uid, head, attempts FROM sync_failures ORDER BY seq";
    let keys = "SELECT source_uid, key, failure_id, outcome FROM idempotency_keys";
    Ok(upstream.and_then(|upstream| {
        let contents = || -> rusqlite::Result<Contents> {
            Ok(Contents {
                live: all(stranger, live, live_failure)?,
                keys: all(stranger, keys, |row| {
                    Ok(Key { uid: row.get(0)?, given: row.get(1)?, id: row.get(2)?, outcome: row.get(3)? })
                })?,
                tries: all(stranger, "SELECT failure_id, class FROM sync_attempts ORDER BY id", |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?,
                audit: all(stranger, "SELECT reason FROM audit_log ORDER BY id", |row| row.get(0))?,
                next_seq: store.ledger().next_seq,
                counted_live: store.ledger().live,
                paused: upstream.is_some_and(|upstream| upstream.state(AgentTime::ZERO) == "paused"),
            })
        };
        contents().map_err(|error| format!("integrity: a table cannot be read: {error}"))
    }))
}

fn live_failure(row: &Row) -> rusqlite::Result<Live> {
    Ok(Live {
        seq: row.get(0)?,
        id: row.get(1)?,
        entity: (row.get(2)?, row.get(3)?),
        action: row.get(4)?,
        error: row.get(5)?,
        payload: row.get(6)?,
        status: row.get(7)?,
        order_key: row.get(8)?,
        key: row.get(9)?,
        uid: row.get(10)?,
        head: row.get(11)?,
        attempts: row.get(12)?,
    })
}

fn all<T>(stranger: &Connection, sql: &str, read: impl Fn(&Row) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
    stranger.prepare(sql)?.query_map([], |row| read(row))?.collect()
}

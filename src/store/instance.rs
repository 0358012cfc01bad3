//! The file `instance` beside the lock, in which the state directory remembers its database.
//!
//! Without it an empty, missing or exchanged database would look like a first start: everything sent, numbers from 1
//! again. The file contains the database's id (the `instance` of its `agent` row), its next number, and its number of
//! live failures. It is written at each start and each stop, and while the agent runs:
//!
//! | | |
//! |---|---|
//! | at a start, at a stop, and every 10,000 numbers | synced |
//! | at most once a second, after commits | not synced: it survives a kill, and costs one system call |
//!
//! It is always written after the database, so the database is never behind it. After a power cut it may be behind by
//! [`UNSYNCED`] numbers, which are skipped if the database is missing.
//!
//! At a stop it also describes the file, so that the next start detects whether another program has written to it
//! since.

use super::{Ledger, Store, StoreSettings};
use crate::moment::{AgentTime, Moment, WallTime};
use rusqlite::Connection;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// Maximum count of numbers used since the file was last synced.
const UNSYNCED: i64 = 10_000;
/// Interval between updates while the agent runs.
const EVERY: Duration = Duration::from_secs(1);
/// The file is overwritten in place, within one sector, so that a full disk does not matter and no state of it is mixed
/// from two.
const LENGTH: usize = 256;

/// What is known of a database without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its instance id.
    pub(super) id: String,
    /// The next number.
    pub(super) next_seq: i64,
    /// Number of live failures.
    pub(super) live: u64,
    /// Agent time at the last commit, and the wall time of that.
    pub(super) at: Moment,
    /// The file's mark at the last stop; `None` while an agent runs, and after a kill.
    stopped: Option<Mark>,
}

/// Metadata that stays the same as long as no program writes to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

/// The remembered database was replaced or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// Number of failures that were live in it.
    pub live: u64,
    /// Number of live failures in the present database, if that is an older copy of it.
    pub older_copy: Option<u64>,
}

/// Keeps the file up to date.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// The last written content.
    written: Option<Known>,
    synced_seq: i64,
    written_at: Option<AgentTime>,
    /// A later commit is not written yet.
    stale: bool,
    /// A database is missing and the alert is not stored yet. Until then the file stays unchanged, so that the loss is
    /// still detected after a kill.
    vanished: Option<Vanished>,
    untold: bool,
}

impl Known {
    pub(super) fn of(id: &str, ledger: &Ledger) -> Self {
        Self { id: id.to_owned(), next_seq: ledger.next_seq, live: ledger.live, at: ledger.at, stopped: None }
    }

    /// The file's content; `None` if it is missing or cannot be parsed.
    pub(super) fn read(settings: &StoreSettings) -> Option<Self> {
        let path = file(settings);
        let text = match (settings.disk.recall)(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes?).into_owned(),
            Err(error) => {
                log::warn!("event=instance_not_read path={path:?} error={:?}", error.to_string());
                return None;
            }
        };
        let known = Self::parse(&text);
        if known.is_none() {
            log::warn!("event=instance_not_read path={path:?} error=\"it is not complete\"");
        }
        known
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let mark = |text: &str| {
            let numbers: Vec<i64> = text.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
            let [inode, length, seconds, nanos] = numbers[..] else { return None };
            Some(Mark { inode: inode.cast_unsigned(), length: length.cast_unsigned(), changed: (seconds, nanos) })
        };
        let id = value("instance").filter(|id| !id.is_empty())?.to_owned();
        let (next_seq, live) = (value("next_seq")?.parse().ok()?, value("live")?.parse().ok()?);
        let agent = AgentTime::from_millis(value("agent_time")?.parse().ok()?);
        let at = Moment { agent, wall: WallTime::from_millis(value("wall_time")?.parse().ok()?) };
        // The last line; it is missing if the file was truncated.
        let stopped = value("stopped")?;
        Some(Self { id, next_seq, live, at, stopped: mark(stopped) })
    }

    fn text(&self) -> String {
        let Self { id, next_seq, live, at, .. } = self;
        let (agent, wall) = (at.agent.as_millis(), at.wall.as_millis());
        let mut text =
            format!("instance={id}\nnext_seq={next_seq}\nlive={live}\nagent_time={agent}\nwall_time={wall}\nstopped=");
        let written = match self.stopped {
            Some(Mark { inode, length, changed: (seconds, nanos) }) => {
                writeln!(text, "{}:{}:{seconds}:{nanos}", inode.cast_signed(), length.cast_signed())
            }
            None => writeln!(text, "no"),
        };
        written.expect("a String takes everything");
        let padding = LENGTH.saturating_sub(text.len() + 1);
        text.extend(std::iter::repeat_n(' ', padding));
        text.push('\n');
        text
    }

    /// Makes the ledger of a replacement continue after the numbers of this database.
    pub(super) fn precede(&self, ledger: &mut Ledger) {
        let unseen = if self.stopped.is_some() { 0 } else { 2 * UNSYNCED };
        ledger.next_seq = ledger.next_seq.max(self.next_seq.saturating_add(unseen));
        if self.at.agent > ledger.at.agent {
            ledger.at = self.at;
        }
    }

    /// Returns what is missing if this database is another one, or an older state of the same.
    pub(super) fn misses(&self, id: &str, ledger: &Ledger) -> Option<Vanished> {
        let older = self.id == id && ledger.next_seq < self.next_seq;
        let older_copy = older.then_some(ledger.live);
        (older || self.id != id).then_some(Vanished { live: self.live, older_copy })
    }

    /// Returns whether the file was written to since the stop described here.
    pub(super) fn was_changed(&self, settings: &StoreSettings) -> bool {
        self.stopped.is_some_and(|mark| Mark::of(settings) != Some(mark))
    }
}

impl Mark {
    /// The mark of a file whose WAL is empty.
    fn of(settings: &StoreSettings) -> Option<Self> {
        let log = fs::metadata(settings.log_file()).map_or(0, |meta| meta.len());
        let meta = fs::metadata(settings.file()).ok().filter(|_| log == 0)?;
        Some(Self { inode: meta.ino(), length: meta.len(), changed: (meta.mtime(), meta.mtime_nsec()) })
    }
}

/// The id of a database whose own id cell is damaged: the one that the state directory remembers, else a new one.
///
/// One damaged cell is not evidence of another database, so the database does not count as replaced. An older copy is
/// still detected by its next number.
pub(super) fn restored(connection: &Connection, settings: &StoreSettings) -> rusqlite::Result<String> {
    let remembered = Known::read(settings).map(|known| known.id);
    let id = Ledger::name_instance(connection, remembered.as_deref())?;
    log::warn!("event=instance_restored instance={id:?} remembered={}", remembered.is_some());
    Ok(id)
}

/// Gives a new database, into which a quarantined one is salvaged, the id that the state directory remembers; `None`
/// without such an id.
pub(super) fn continued(connection: &Connection, settings: &StoreSettings) -> rusqlite::Result<Option<String>> {
    let remembered = Known::read(settings).map(|known| known.id).filter(|id| Ledger::is_instance(id));
    remembered.map(|id| Ledger::name_instance(connection, Some(&id))).transpose()
}

fn file(settings: &StoreSettings) -> PathBuf {
    settings.dir.join("instance")
}

impl Keeper {
    /// Notes that the database is not the remembered one.
    pub(super) fn misses(&mut self, vanished: Vanished) {
        let Vanished { live, older_copy } = vanished;
        log::error!("event=database_vanished live={live} older_copy={older_copy:?}");
        (self.vanished, self.untold) = (Some(vanished), true);
    }

    /// Updates the file after a commit, if it is due.
    pub(super) fn committed(&mut self, settings: &StoreSettings, id: &str, ledger: &Ledger) {
        let (now, known) = (ledger.at.agent, Known::of(id, ledger));
        let first = self.written.as_ref().is_none_or(|written| written.id != known.id);
        let far = known.next_seq >= self.synced_seq.saturating_add(UNSYNCED);
        let due = self.written_at.is_none_or(|last| last.after(EVERY) <= now);
        let same = |written: &Known| Known { at: known.at, ..written.clone() } == known;
        self.stale = !self.untold && !self.written.as_ref().is_some_and(same);
        if self.stale && (first || far || due) {
            (self.written_at, self.stale) = (Some(now), false);
            self.write(settings, known, first || far);
        }
    }

    /// At a start: removes the mark, so that a kill leaves the file without one.
    pub(super) fn begin(&mut self, settings: &StoreSettings, id: &str, ledger: &Ledger) {
        if !self.untold {
            self.write(settings, Known::of(id, ledger), true);
        }
    }

    /// Writes the mark after the database was closed.
    pub(super) fn end(&mut self, settings: &StoreSettings, id: &str, ledger: &Ledger) {
        if !self.untold {
            let known = Known { stopped: Mark::of(settings), ..Known::of(id, ledger) };
            self.write(settings, known, true);
        }
    }

    fn write(&mut self, settings: &StoreSettings, known: Known, sync: bool) {
        let path = file(settings);
        match (settings.disk.remember)(&path, known.text().as_bytes(), sync) {
            Ok(()) if sync => (self.synced_seq, self.written) = (known.next_seq, Some(known)),
            Ok(()) => self.written = Some(known),
            // The database has all the data; only its own loss would go undetected.
            Err(error) => log::warn!("event=instance_not_written path={path:?} error={:?}", error.to_string()),
        }
    }
}

impl Store {
    /// When [`remember`](Self::remember) has work to do.
    #[must_use]
    pub fn remembers_at(&self) -> Option<AgentTime> {
        self.keeper.written_at.filter(|_| self.keeper.stale).map(|last| last.after(EVERY))
    }

    /// Writes the changes of commits that came within the same second.
    pub fn remember(&mut self, now: AgentTime) {
        if self.before.is_none() && self.remembers_at().is_some_and(|at| at <= now) {
            let ledger = Ledger { at: Moment { agent: now, ..self.ledger.at }, ..self.ledger.clone() };
            self.keeper.committed(&self.settings, &self.instance, &ledger);
        }
    }

    /// The missing database, to be reported; unresolved until [`told_of_vanished`](Self::told_of_vanished).
    pub fn take_vanished(&mut self) -> Option<Vanished> {
        self.keeper.vanished.take()
    }

    /// The alert about the missing database is stored.
    pub fn told_of_vanished(&mut self) {
        if self.keeper.vanished.is_none() {
            self.keeper.untold = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_half_of_it_is_not() {
        let mark = Mark { inode: 7, length: 4096, changed: (1_795_500_754, 12) };
        let at = Moment { agent: AgentTime::from_millis(77_000), wall: WallTime::from_millis(1_795_500_754_123) };
        for stopped in [Some(mark), None] {
            let known = Known { id: "0a1b".into(), next_seq: i64::MAX, live: 40, at, stopped };
            let text = known.text();
            assert_eq!(text.len(), LENGTH);
            assert_eq!(Known::parse(&text), Some(known));
            assert_eq!(Known::parse(&text[..40]), None);
        }
        assert_eq!(Known::parse(""), None);
    }
}

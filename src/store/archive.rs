//! The archive: failures that left the table, as lines of JSON.
//!
//! | file | content |
//! |---|---|
//! | `archive/YYYY-MM.jsonl` | failures that were discarded or cleaned up, by UTC month |
//! | `archive/delivered-YYYY-MM-DD.jsonl` | failures that were delivered, by UTC day; only with `retention.delivered` |
//!
//! A line is synced to disk before the transaction that deletes its failure and writes its audit row. So no failure is
//! removed without its line; and a line whose transaction failed is **void**: its failure is still live, or was removed
//! later with another line. The audit distinguishes the two ([`Store::has_removal_record`]).
//!
//! The line of a delivered failure is on disk before that transaction as well. When the transaction fails, the failure is
//! still live, and may get a second line when it is deleted later. Of several lines with the same id, the one with the most
//! attempts counts; of equal ones, the last. A delivery never fails because its line cannot be written: the agent reports
//! the failure as not archived.
//!
//! A full disk or a power cut may leave an incomplete last line. It had no transaction, and is cut off before the next line
//! is added to its file (in the files of undelivered failures also at a start). Readers skip it.

use super::files::give_to_owner;
use super::open_error::OpenError;
use super::own;
use super::{Store, StoreError, StoreSettings};
use crate::access::standing;
use crate::ids::FailureId;
use crate::moment::{AgentTime, WallTime};
use crate::record::Disposition;
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Lines could not be added. Undelivered failures are not deleted then.
#[derive(Debug)]
pub struct ArchiveError {
    part: Part,
    path: PathBuf,
    why: io::Error,
}

impl ArchiveError {
    /// Returns whether the cause is lack of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, why) = (&self.path, &self.why);
        write!(f, "adding to the archive {}: {why}{}", path.display(), standing(path, why.kind()))?;
        match self.part {
            Part::Undelivered => f.write_str("; nothing was deleted"),
            Part::Delivered => Ok(()),
        }
    }
}

impl std::error::Error for ArchiveError {}

impl StoreSettings {
    fn archive(&self) -> PathBuf {
        self.dir.join("archive")
    }
}

/// A part of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Failures that were discarded or cleaned up: one file a month.
    Undelivered,
    /// Failures that were delivered: one file a day.
    Delivered,
}

impl Part {
    /// The file of a time.
    fn name_of(self, at: WallTime) -> String {
        let day = at.calendar();
        let month = format!("{:04}-{:02}", day.year(), u8::from(day.month()));
        match self {
            Self::Undelivered => format!("{month}.jsonl"),
            Self::Delivered => format!("delivered-{month}-{:02}.jsonl", day.day()),
        }
    }

    /// Is this the name of one of its files?
    fn has(self, name: &str) -> bool {
        let shape: String = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        match self {
            Self::Undelivered => shape == "0000-00.jsonl",
            Self::Delivered => shape == "delivered-0000-00-00.jsonl",
        }
    }
}

/// The file of deliveries that was written last, and its length afterwards. While it has that length, its last line is
/// complete and its directory entry is on disk.
#[derive(Debug, Default)]
pub(super) struct Appended(Option<(PathBuf, u64)>);

impl Store {
    /// Appends the lines of failures that are to be removed; `Ok` means that they are on disk, synced.
    pub fn archive(&self, at: WallTime, lines: &[u8]) -> Result<(), ArchiveError> {
        let dir = self.settings.archive();
        let path = dir.join(Part::Undelivered.name_of(at));
        self.add(&dir, &path, lines).map_err(|why| ArchiveError { part: Part::Undelivered, path, why })
    }

    /// Adds complete lines of delivered failures. `Ok` means that they are on disk, synced with one sync for all of them.
    /// The end of the file and its directory entry are checked only when the file is not as this function left it.
    pub fn archive_delivered(&mut self, at: WallTime, lines: &[u8]) -> Result<(), ArchiveError> {
        let dir = self.settings.archive();
        let path = dir.join(Part::Delivered.name_of(at));
        let known = self.delivered.0.take();
        let is_known = known.is_some_and(|(file, length)| file == path && length_of(&path) == Some(length));
        let done = if is_known { (self.settings.disk.append)(&path, lines) } else { self.add(&dir, &path, lines) };
        if done.is_ok() {
            self.delivered.0 = length_of(&path).map(|length| (path.clone(), length));
        }
        done.map_err(|why| ArchiveError { part: Part::Delivered, path, why })
    }

    fn add(&self, dir: &Path, path: &Path, lines: &[u8]) -> io::Result<()> {
        let disk = &self.settings.disk;
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            give_to_owner(dir, &self.settings.dir).map_err(io::Error::other)?;
        }
        // The process that created the directory may have died before the name was on disk.
        (disk.sync_dir)(&self.settings.dir)?;
        if path.exists() {
            cut_torn_end(path)?;
        } else {
            own::open(path, OpenOptions::new().write(true).create(true).truncate(false))?;
            give_to_owner(path, dir).map_err(io::Error::other)?;
        }
        (disk.append)(path, lines)?;
        (disk.sync_dir)(dir)
    }

    /// Remembers, in the open round, that the file of this time was written now.
    pub fn keep_archived(&mut self, part: Part, at: WallTime, now: AgentTime) -> Result<(), StoreError> {
        let sql = "INSERT INTO archive_files (name, written_at) VALUES (?1, ?2) \
                   ON CONFLICT (name) DO UPDATE SET written_at = ?2";
        self.connection.prepare_cached(sql)?.execute(params![part.name_of(at), now.as_millis()])?;
        Ok(())
    }

    /// Returns whether this failure was removed then, in this way. A line of our own archive without its audit row is
    /// void.
    pub fn has_removal_record(&self, failure: &FailureId, how: Disposition, at: WallTime) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM audit_log WHERE failure_id = ?1 AND operation = ?2 AND at = ?3)",
        )?;
        Ok(statement.query_row(params![failure.as_str(), how.operation(), at.sql()], |row| row.get(0))?)
    }

    /// Deletes the files of a part of the archive whose last line is from before `before`. One that no command has
    /// told of, after damage for instance, ages from now on.
    pub fn forget_archive(&mut self, part: Part, before: AgentTime, now: AgentTime) -> Result<(), StoreError> {
        let mut left = BTreeSet::new();
        for path in files(&self.settings.archive(), part).unwrap_or_default() {
            let name = name_of(&path);
            let written: Option<i64> = self
                .connection
                .prepare_cached("SELECT written_at FROM archive_files WHERE name = ?1")?
                .query_row([&name], |row| self.odd.read_elsewhere(row.get(0)))
                .optional()?
                .flatten();
            match written.map(AgentTime::from_millis) {
                None => {
                    let sql = "INSERT INTO archive_files (name, written_at) VALUES (?1, ?2)";
                    self.connection.prepare_cached(sql)?.execute(params![name, now.as_millis()])?;
                }
                Some(written) if written >= before => {}
                Some(_) => match fs::remove_file(&path) {
                    Ok(()) => {
                        log::info!("event=archive_expired path={path:?}");
                        continue;
                    }
                    Err(error) => {
                        log::warn!("event=archive_not_forgotten path={path:?} error={:?}", error.to_string());
                    }
                },
            }
            left.insert(name);
        }
        // Also what a full disk has cost, and what an operator has deleted.
        for name in self.archived_names()?.into_iter().filter(|name| part.has(name) && !left.contains(name)) {
            self.connection.prepare_cached("DELETE FROM archive_files WHERE name = ?1")?.execute([&name])?;
        }
        Ok(())
    }

    fn archived_names(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT name FROM archive_files")?;
        let names = statement.query_map([], |row| self.odd.read_elsewhere(row.get(0)))?;
        Ok(names.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Deletes the oldest file of delivered failures, whatever its age, and returns its name; `None` if there is none.
    /// Writes nothing, so it also works on a full disk.
    pub fn give_up_delivered(&self) -> io::Result<Option<String>> {
        let all = files(&self.settings.archive(), Part::Delivered)?;
        let Some(oldest) = all.first() else { return Ok(None) };
        fs::remove_file(oldest)?;
        Ok(Some(name_of(oldest)))
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Cuts off incomplete lines that the last run may have left.
pub(super) fn mend(settings: &StoreSettings) -> Result<(), OpenError> {
    let dir = settings.archive();
    let all = files(&dir, Part::Undelivered).map_err(|why| OpenError::io("reading", &dir, why))?;
    all.iter().try_for_each(|path| cut_torn_end(path).map_err(|why| OpenError::io("mending", path, why)))
}

/// The files of a part of the archive, oldest first; none without an archive.
fn files(dir: &Path, part: Part) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if part.has(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// How long a file is; `None`: there is none, or it is something else.
fn length_of(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|meta| meta.len())
}

/// The files of deliveries in a state directory from this UTC day on, oldest first.
pub fn delivered_files(dir: &Path, since: Option<WallTime>) -> io::Result<Vec<PathBuf>> {
    let first = since.map(|since| Part::Delivered.name_of(since));
    let mut all = files(&dir.join("archive"), Part::Delivered)?;
    let is_old = |path: &PathBuf| first.as_deref().is_some_and(|first| path.file_name() < Some(first.as_ref()));
    all.retain(|path| !is_old(path));
    Ok(all)
}

/// Opens such a file to read it.
pub fn open_delivered(path: &Path) -> io::Result<File> {
    own::open(path, OpenOptions::new().read(true))
}

/// Cuts off everything after the last newline.
fn cut_torn_end(path: &Path) -> io::Result<()> {
    /// Bytes per read, from the end.
    const PIECE: u64 = 64 << 10;
    let mut file = own::open(path, OpenOptions::new().read(true))?;
    let length = file.metadata()?.len();
    let (mut end, mut piece) = (length, Vec::new());
    let whole = loop {
        let start = end.saturating_sub(PIECE);
        piece.clear();
        file.seek(SeekFrom::Start(start))?;
        (&mut file).take(end - start).read_to_end(&mut piece)?;
        match memchr::memrchr(b'\n', &piece) {
            Some(at) => break start + at as u64 + 1,
            None if start == 0 => break 0,
            None => end = start,
        }
    };
    if whole < length {
        log::warn!("event=archive_tail_truncated path={path:?} bytes={}", length - whole);
        let file = own::open(path, OpenOptions::new().write(true))?;
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;

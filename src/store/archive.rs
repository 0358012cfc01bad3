//! The archive: what left undelivered, as lines in `archive/YYYY-MM.jsonl`, by the UTC month of its
//! leaving.
//!
//! A line is on disk, synced, before the transaction that deletes its failure and writes its audit row.
//! So nothing is ever gone without its line; and a line whose transaction failed is **void**: its
//! failure is still live, or left later with another line. The audit tells ([`Store::left_so`]).
//!
//! A line that a full disk or a power cut has torn is cut off, at a start and before the next one is
//! added: it had no transaction.

use super::open::{OpenError, give_to_owner};
use super::{Store, StoreError, StoreSettings};
use crate::access::standing;
use crate::ids::FailureId;
use crate::moment::{AgentTime, WallTime};
use crate::record::Leaving;
use rusqlite::{OptionalExtension, params};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Lines could not be added: nothing may be deleted.
#[derive(Debug)]
pub struct ArchiveError {
    path: PathBuf,
    why: io::Error,
}

impl ArchiveError {
    /// Is there no room?
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, why) = (&self.path, &self.why);
        write!(f, "adding to the archive {}: {why}{}; nothing was deleted", path.display(), standing(path, why.kind()))
    }
}

impl std::error::Error for ArchiveError {}

impl StoreSettings {
    fn archive(&self) -> PathBuf {
        self.dir.join("archive")
    }
}

/// The file of a month.
fn name_of(at: WallTime) -> String {
    let day = at.calendar();
    format!("{:04}-{:02}.jsonl", day.year(), u8::from(day.month()))
}

/// Is this the name of a month's file?
fn is_month(name: &str) -> bool {
    let shape: String = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00.jsonl"
}

impl Store {
    /// Adds whole lines of failures that leave now; `Ok` means that they are on disk, synced.
    pub fn archive(&self, at: WallTime, lines: &[u8]) -> Result<(), ArchiveError> {
        let dir = self.settings.archive();
        let path = dir.join(name_of(at));
        self.add(&dir, &path, lines).map_err(|why| ArchiveError { path, why })
    }

    fn add(&self, dir: &Path, path: &Path, lines: &[u8]) -> io::Result<()> {
        let disk = &self.settings.disk;
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            give_to_owner(dir, &self.settings.dir).map_err(io::Error::other)?;
        }
        // Whoever made it may have died before its name was on disk.
        (disk.sync_dir)(&self.settings.dir)?;
        if path.exists() {
            cut_torn_end(path)?;
        } else {
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
            give_to_owner(path, dir).map_err(io::Error::other)?;
        }
        (disk.append)(path, lines)?;
        (disk.sync_dir)(dir)
    }

    /// Remembers, in the open round, that this month's file was written now.
    pub fn keep_archived(&mut self, at: WallTime, now: AgentTime) -> Result<(), StoreError> {
        let sql = "INSERT INTO archive_files (name, written_at) VALUES (?1, ?2) \
                   ON CONFLICT (name) DO UPDATE SET written_at = ?2";
        self.connection.prepare_cached(sql)?.execute(params![name_of(at), now.as_millis()])?;
        Ok(())
    }

    /// Did this failure leave then, in this way? An archive line of ours without its audit row is void.
    pub fn left_so(&self, failure: &FailureId, how: Leaving, at: WallTime) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM audit_log WHERE failure_id = ?1 AND operation = ?2 AND at = ?3)",
        )?;
        Ok(statement.query_row(params![failure.as_str(), how.operation(), at.sql()], |row| row.get(0))?)
    }

    /// Deletes the files of the archive whose last line is from before `before`. One that nobody has
    /// told of, after damage for instance, ages from now on.
    pub fn forget_archive(&mut self, before: AgentTime, now: AgentTime) -> Result<(), StoreError> {
        for path in months(&self.settings.archive()).unwrap_or_default() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let written: Option<i64> = self
                .connection
                .prepare_cached("SELECT written_at FROM archive_files WHERE name = ?1")?
                .query_row([&name], |row| row.get(0))
                .optional()?;
            match written.map(AgentTime::from_millis) {
                None => {
                    let sql = "INSERT INTO archive_files (name, written_at) VALUES (?1, ?2)";
                    self.connection.prepare_cached(sql)?.execute(params![name, now.as_millis()])?;
                }
                Some(written) if written >= before => {}
                Some(_) => match fs::remove_file(&path) {
                    Ok(()) => {
                        log::info!("event=archive_forgotten path={path:?}");
                        let sql = "DELETE FROM archive_files WHERE name = ?1";
                        self.connection.prepare_cached(sql)?.execute([&name])?;
                    }
                    Err(error) => {
                        log::warn!("event=archive_not_forgotten path={path:?} error={:?}", error.to_string());
                    }
                },
            }
        }
        Ok(())
    }
}

/// Cuts the torn ends that the last run may have left.
pub(super) fn mend(settings: &StoreSettings) -> Result<(), OpenError> {
    let dir = settings.archive();
    let all = months(&dir).map_err(|why| OpenError::io("reading", &dir, why))?;
    all.iter().try_for_each(|path| cut_torn_end(path).map_err(|why| OpenError::io("mending", path, why)))
}

/// The archive's files; none without an archive.
fn months(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_month(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Cuts what stands behind the last line end.
fn cut_torn_end(path: &Path) -> io::Result<()> {
    /// So much is looked at in one read, from the end.
    const PIECE: u64 = 64 << 10;
    let mut file = File::open(path)?;
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
        log::warn!("event=archive_cut path={path:?} bytes={}", length - whole);
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;

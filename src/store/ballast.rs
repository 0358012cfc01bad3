//! Room that is held back for the time when the disk is full: a file that takes it, and is given up
//! so that outcomes can be written and what was delivered can leave (`spec/05`).
//!
//! It takes what it says: allocated, not a hole. Deleting a failure needs room too, in SQLite's log;
//! without the ballast a full disk would keep a delivered failure for ever, and send it again.
//!
//! It reads neither clock nor disk space: how much is free comes in.

use super::open::give_to_owner;
use crate::limits::{BALLAST, LEAST_BALLAST};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub struct Ballast {
    file: PathBuf,
    /// Its bytes; 0 when there is none.
    held: u64,
    /// What was given up last: with less it is not made again, so that the room that it has left is
    /// not taken back at once.
    least: u64,
    missing: bool,
}

impl Ballast {
    /// As the last run left it.
    #[must_use]
    pub(super) fn of(dir: &Path) -> Self {
        let file = dir.join("ballast");
        let held = fs::metadata(&file).map_or(0, |meta| meta.len());
        Self { file, held, least: LEAST_BALLAST, missing: false }
    }

    /// There is none, for want of room: what room there is belongs to outcomes.
    #[must_use]
    pub(super) fn is_missing(&self) -> bool {
        self.missing
    }

    /// Gives it up; false when there was none.
    pub(super) fn give_up(&mut self) -> bool {
        if self.held == 0 {
            return false;
        }
        if let Err(error) = fs::remove_file(&self.file) {
            log::error!("event=ballast_not_given_up path={:?} error={:?}", self.file, error.to_string());
            return false;
        }
        log::warn!("event=ballast_given_up bytes={}", self.held);
        (self.least, self.held, self.missing) = (self.held, 0, true);
        true
    }

    /// Makes it, or makes it larger, when this many bytes are free.
    pub(super) fn keep(&mut self, free: u64) {
        let wanted = (free / 16).min(BALLAST);
        // Twice as large, or whole: not a little more at every look.
        let worth_it = wanted >= self.held.saturating_mul(2) || (wanted == BALLAST && self.held < BALLAST);
        if wanted < self.least || !worth_it {
            self.missing |= self.held == 0;
            return;
        }
        match self.make(wanted) {
            Ok(()) => {
                log::info!("event=ballast_made bytes={wanted}");
                (self.held, self.missing) = (wanted, false);
            }
            Err(error) => {
                log::warn!("event=ballast_not_made path={:?} error={:?}", self.file, error.to_string());
                // What is there of it holds nothing back, if it is there at all.
                let _ = fs::remove_file(&self.file);
                (self.held, self.missing) = (0, error.kind() == io::ErrorKind::StorageFull);
            }
        }
    }

    fn make(&self, bytes: u64) -> io::Result<()> {
        let mut open = OpenOptions::new();
        let file = open.write(true).create(true).truncate(false).mode(0o600).open(&self.file)?;
        give_to_owner(&self.file, self.file.parent().unwrap_or(&self.file)).map_err(io::Error::other)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => write_out(file, bytes),
            made => Ok(made?),
        }
    }
}

/// For file systems that cannot allocate without writing.
fn write_out(mut file: File, bytes: u64) -> io::Result<()> {
    const PIECE: [u8; 4096] = [0; 4096];
    for _ in 0..bytes / PIECE.len() as u64 {
        file.write_all(&PIECE)?;
    }
    file.write_all_at(&[0], bytes - 1)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn taken(dir: &Path) -> u64 {
        fs::metadata(dir.join("ballast")).map_or(0, |meta| meta.blocks() * 512)
    }

    #[test]
    fn it_takes_its_room_and_gives_it_back() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut ballast = Ballast::of(dir.path());
        assert!(!ballast.give_up(), "there is none yet");
        ballast.keep(1 << 40);
        assert!(taken(dir.path()) >= BALLAST && !ballast.is_missing());
        assert!(ballast.give_up() && ballast.is_missing());
        assert_eq!(taken(dir.path()), 0);
        ballast.keep(BALLAST * 16 - 1);
        assert!(ballast.is_missing(), "there is not as much room as before");
        ballast.keep(BALLAST * 16);
        assert!(taken(dir.path()) >= BALLAST && !ballast.is_missing());
    }

    #[test]
    fn it_takes_a_sixteenth_of_a_small_disk_and_grows_with_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut ballast = Ballast::of(dir.path());
        ballast.keep(LEAST_BALLAST * 16 - 1);
        assert!(ballast.is_missing() && taken(dir.path()) == 0, "too little to be of use");
        ballast.keep(4 << 20);
        assert_eq!(fs::metadata(dir.path().join("ballast")).expect("a file").len(), 256 << 10);
        ballast.keep(5 << 20);
        assert_eq!(ballast.held, 256 << 10, "a little more is not worth it");
        ballast.keep(1 << 30);
        assert_eq!(ballast.held, BALLAST);
    }

    #[test]
    fn the_next_run_finds_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Ballast::of(dir.path()).keep(1 << 40);
        let mut next = Ballast::of(dir.path());
        next.keep(0);
        assert!(!next.is_missing());
        assert!(next.give_up());
    }
}

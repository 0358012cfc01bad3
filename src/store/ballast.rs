//! The ballast: a preallocated file that is deleted when the disk is full, so that outcomes can be written and
//! delivered failures removed.
//!
//! Its blocks are allocated; it is not sparse. Deleting a failure needs space too, in SQLite's WAL: without the ballast
//! a full disk would keep a delivered failure for ever, and send it again.
//!
//! It reads neither clock nor disk space; the caller passes the free bytes.

use super::files::give_to_owner;
use super::own;
use crate::limits::{BALLAST, LEAST_BALLAST};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// State of the ballast file.
#[derive(Debug)]
pub struct Ballast {
    file: PathBuf,
    /// Bytes of the file; 0 if there is none.
    held: u64,
    /// Bytes that were given up last.
    given_up: u64,
    missing: bool,
}

/// How large something that is held back, of which there are `held` bytes, is made when so many bytes of the disk are
/// free; `None`: it is not changed.
///
/// It is made again only when three times as much as was given up is free beside that: otherwise it would take back
/// at once the room that it left to outcomes.
pub(super) fn size(free: u64, held: u64, given_up: u64, most: u64) -> Option<u64> {
    const PARTS: u64 = 4;
    let wanted = (free / 16).min(most);
    // Twice as large, or whole: not a little more at every look.
    let worth_it = wanted >= held.saturating_mul(2) || (wanted == most && held < most);
    (wanted >= LEAST_BALLAST && free / PARTS >= given_up && worth_it).then_some(wanted)
}

impl Ballast {
    /// The state that the last run left.
    #[must_use]
    pub(super) fn of(dir: &Path) -> Self {
        let file = dir.join("ballast");
        let held = fs::symlink_metadata(&file).map_or(0, |meta| meta.len());
        Self { file, held, given_up: 0, missing: false }
    }

    /// Returns whether the ballast could not be created for lack of space, so that outcomes need what remains.
    #[must_use]
    pub(super) fn is_missing(&self) -> bool {
        self.missing
    }

    /// Deletes the ballast; false if there was none.
    pub(super) fn give_up(&mut self) -> bool {
        if self.held == 0 {
            return false;
        }
        if let Err(error) = fs::remove_file(&self.file) {
            log::error!("event=ballast_release_failed path={:?} error={:?}", self.file, error.to_string());
            return false;
        }
        log::warn!("event=ballast_released bytes={}", self.held);
        (self.given_up, self.held, self.missing) = (self.held, 0, true);
        true
    }

    /// Creates or enlarges the ballast, given this many free bytes.
    pub(super) fn keep(&mut self, free: u64) {
        let Some(wanted) = size(free, self.held, self.given_up, BALLAST) else {
            self.missing |= self.held == 0;
            return;
        };
        match self.make(wanted) {
            Ok(()) => {
                log::info!("event=ballast_made bytes={wanted}");
                (self.held, self.missing) = (wanted, false);
            }
            Err(error) => {
                log::warn!("event=ballast_not_made path={:?} error={:?}", self.file, error.to_string());
                // A partial file reserves too little; it may also not exist.
                let _ = fs::remove_file(&self.file);
                (self.held, self.missing) = (0, error.kind() == io::ErrorKind::StorageFull);
            }
        }
    }

    fn make(&self, bytes: u64) -> io::Result<()> {
        let mut open = OpenOptions::new();
        let file = own::open(&self.file, open.write(true).create(true).truncate(false))?;
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
        ballast.keep(BALLAST * 4 - 1);
        assert!(ballast.is_missing(), "most of what is free is what it has left");
        ballast.keep(BALLAST * 4);
        assert_eq!((ballast.held, ballast.is_missing()), (BALLAST / 4, false));
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

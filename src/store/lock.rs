//! One agent for each state directory: a lock on the directory itself, and the file `lock` in it, which contains the id
//! of the process that holds it.
//!
//! The kernel releases both with the process, however it ends, so a lock is never stale. The lock on the directory is
//! decisive: a file can be removed and created again, and then two processes would each hold a lock on a file of their
//! own. The file is locked too, for file systems that cannot lock directories, and created again if it is missing.

use super::disk::private;
use super::own;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The lock, held as long as the value lives.
#[derive(Debug)]
pub struct Lock {
    dir: File,
    file: File,
}

/// Why the lock could not be taken.
#[derive(Debug)]
pub enum LockError {
    /// Another agent holds it; with its process id, if the file contains one.
    Held(Option<u32>),
    /// The file could not be opened or written.
    Io(io::Error),
}

impl Lock {
    /// Takes the lock of a state directory, or reports its holder.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let open = File::open(dir).map_err(LockError::Io)?;
        match open.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let named = private().read(true).open(dir.join("lock")).ok();
                return Err(LockError::Held(named.and_then(|mut file| holder(&mut file))));
            }
            Err(TryLockError::Error(error)) => {
                log::debug!("event=directory_not_locked path={dir:?} error={:?}", error.to_string());
            }
        }
        Ok(Self { dir: open, file: take_file(&dir.join("lock"))? })
    }

    /// Returns whether this is the lock of the directory that is at this path now.
    pub(super) fn is_of(&self, dir: &Path) -> bool {
        is_same(self.dir.metadata(), fs::metadata(dir))
    }

    /// Creates the file again if it was removed.
    pub(super) fn keep_file(&mut self, dir: &Path) -> Result<(), LockError> {
        let path = dir.join("lock");
        if !is_same(self.file.metadata(), fs::symlink_metadata(&path)) {
            log::warn!("event=lock_made_again path={path:?} message=\"another program has removed it\"");
            self.file = take_file(&path)?;
        }
        Ok(())
    }
}

fn is_same(one: io::Result<Metadata>, other: io::Result<Metadata>) -> bool {
    one.is_ok_and(|one| other.is_ok_and(|other| (one.dev(), one.ino()) == (other.dev(), other.ino())))
}

fn take_file(path: &Path) -> Result<File, LockError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = own::open(path, &mut options).map_err(LockError::Io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
        Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    // The process id is informational; a full disk must not prevent a start.
    if let Err(error) = write(&mut file) {
        log::warn!("event=lock_pid_not_written path={path:?} error={:?}", error.to_string());
    }
    Ok(file)
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

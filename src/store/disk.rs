//! What SQLite does not do for us on the way to the disk: putting a file there, forgetting what the
//! kernel holds of it, and adding to a file that is not SQLite's.

use rustix::fs::{Advice, fadvise};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The disk under a store. SQLite reaches it through its VFS; a test that replaces that one, to
/// model what a power cut leaves, replaces these as well.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// Puts what the kernel holds of a file on disk, and forgets it: what is read next comes from
    /// the disk. A file that is missing needs neither. SQLite must not have the file open in this
    /// process; closing a second descriptor would drop its locks.
    pub evict: fn(&Path) -> io::Result<()>,
    /// Puts a directory's names on disk.
    pub sync_dir: fn(&Path) -> io::Result<()>,
    /// Adds to the end of a file, which is made when it is missing, readable by its owner alone; `Ok`
    /// means that all of it is on disk, but for the name of a new file. After an error some of it may
    /// be there.
    pub append: fn(&Path, &[u8]) -> io::Result<()>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { evict, sync_dir, append }
    }
}

fn evict(file: &Path) -> io::Result<()> {
    match File::open(file) {
        Ok(open) => {
            open.sync_all()?;
            Ok(fadvise(&open, 0, None, Advice::DontNeed)?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn append(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut open = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    open.write_all(bytes)?;
    open.sync_all()
}

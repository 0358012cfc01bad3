//! File operations that SQLite does not do for us: syncing a file, evicting it from the page cache, and appending to
//! files that are not SQLite's.

use super::own;
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// The disk under a store. SQLite reaches it through its VFS; a test that replaces the VFS, to model what a power cut
/// leaves, replaces these functions as well.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// Syncs a file and evicts it from the page cache, so that the next read comes from the disk. A missing file is no
    /// error. SQLite must not have the file open in this process, because closing a second descriptor would drop its
    /// locks.
    pub evict: fn(&Path) -> io::Result<()>,
    /// Syncs the names in a directory.
    pub sync_dir: fn(&Path) -> io::Result<()>,
    /// Appends to a file, creating it if necessary, readable by its owner alone; `Ok` means that all bytes are on disk,
    /// except for the name of a new file. After an error some of them may have been written.
    pub append: fn(&Path, &[u8]) -> io::Result<()>,
    /// Overwrites a small file in place, creating it if necessary, readable by its owner alone; with `true`, `Ok` means
    /// that it is on disk.
    pub remember: fn(&Path, &[u8], bool) -> io::Result<()>,
    /// The content of such a file; `None` if it does not exist.
    pub recall: fn(&Path) -> io::Result<Option<Vec<u8>>>,
    /// Bytes of a file; `None` if it does not exist.
    pub length: fn(&Path) -> Option<u64>,
    /// Extends an existing file to at least this length with zeros whose blocks are allocated, so that a later write to
    /// them needs no space. `false`: this file system cannot allocate blocks in advance.
    ///
    /// The opened descriptor stays in the last argument: closing one of the database's file would drop the POSIX locks
    /// that SQLite holds on it, and another program's SQLite would then remove the WAL.
    pub reserve: fn(&Path, u64, &mut Option<File>) -> io::Result<bool>,
    /// Runs work that may take minutes and cannot be divided, and keeps reporting to the service manager that the
    /// process is alive.
    pub at_length: fn(&mut dyn FnMut()),
    /// Runs such work while others are served, where that is possible.
    pub aside: fn(Box<dyn FnOnce() + Send>),
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            evict,
            sync_dir,
            append,
            remember,
            recall,
            length,
            reserve,
            at_length: |work| work(),
            aside: |work| work(),
        }
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

fn length(file: &Path) -> Option<u64> {
    fs::metadata(file).ok().map(|meta| meta.len())
}

fn reserve(file: &Path, bytes: u64, kept: &mut Option<File>) -> io::Result<bool> {
    let open = match kept {
        Some(open) => open,
        None => kept.insert(private().write(true).open(file)?),
    };
    match fallocate(&*open, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        reserved => Ok(reserved.map(|()| true)?),
    }
}

/// Links are not followed, because root may run this in another user's directory.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    // A pipe in the place of the file must not make the agent wait; a regular file ignores NONBLOCK.
    options.mode(0o600).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

fn remember(file: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let open = match private().write(true).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = private().write(true).create_new(true).open(file)?;
            if rustix::process::geteuid().is_root() {
                let owner = fs::metadata(file.parent().unwrap_or(file))?;
                fchown(&made, Some(owner.uid()), Some(owner.gid()))?;
            }
            made
        }
        opened => opened?,
    };
    open.write_all_at(bytes, 0)?;
    if !sync {
        return Ok(());
    }
    open.set_len(bytes.len() as u64)?;
    open.sync_all()?;
    sync_dir(file.parent().unwrap_or(file))
}

fn recall(file: &Path) -> io::Result<Option<Vec<u8>>> {
    /// More bytes than any of our files has.
    const MOST: u64 = 64 << 10;
    match private().read(true).open(file) {
        Ok(open) => {
            let mut bytes = Vec::new();
            open.take(MOST).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn append(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut open = own::open(file, OpenOptions::new().append(true).create(true))?;
    open.write_all(bytes)?;
    open.sync_all()
}

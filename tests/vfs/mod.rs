//! A machine in memory under SQLite: its page cache, its medium, its faults, its death.
//!
//! [`install`] makes it SQLite's default VFS in this process, so that `Store::open` runs over it
//! unchanged. What the store does past SQLite goes through [`under`], its two functions for the same
//! machine. Each thread has a machine of its own.
//!
//! - [`medium`]: what is on the disk for certain, and what was written since and not synced.
//! - [`image`]: what a power cut may leave of that, drawn at random.
//! - `log`: how much of a log SQLite takes, so that images that are alike are recognised.
//! - [`machine`]: what the running system sees, handles and locks. [`fault`]: what goes wrong.
//! - `sqlite`: the same as SQLite calls it; all of the unsafe code.
//!
//! Only the database and its log live here. The lock file, and the empty private file that the store
//! makes before SQLite opens it, stay in a real directory: an empty real file counts as created.

pub(crate) mod fault;
pub(crate) mod image;
mod log;
pub(crate) mod machine;
pub(crate) mod medium;
pub(crate) mod sqlite;

use machine::on;
use resyncd::store::disk::Disk;
use std::io;
use std::path::Path;
use std::sync::Once;

/// From now on SQLite writes to the calling thread's machine.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(sqlite::register);
}

/// The store's disk on this machine.
pub(crate) fn under() -> Disk {
    Disk { evict: |file: &Path| on(|machine| machine.evict(&name_of(file))), sync_dir, append }
}

/// The archive is a real file; what goes wrong with it is this machine's.
fn append(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let (taken, error) = on(|machine| machine.append(bytes.len()));
    let mut open = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    std::io::Write::write_all(&mut open, &bytes[..taken])?;
    error.map_or(Ok(()), Err)
}

fn sync_dir(_: &Path) -> io::Result<()> {
    on(machine::Machine::sync_names)
}

/// A file's name in its directory; there is one directory.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

//! A machine in memory under SQLite: its page cache, its medium, its faults, its death.
//!
//! [`install`] makes it SQLite's default VFS in this process, so that `Store::open` runs over it
//! unchanged. The store's own file operations use [`under`], the functions for the same machine.
//! Each thread has its own machine.
//!
//! - [`medium`]: what is certainly on the disk, and what was written since and not synced.
//! - [`image`]: what a power cut may leave of that, drawn at random.
//! - `log`: how much of a log SQLite reads, so that equivalent images are recognised.
//! - [`machine`]: what the running system sees, handles and locks. [`fault`]: the faults.
//! - `sqlite`: the interface to SQLite; all of the unsafe code.
//!
//! Only the database and its log are here. The lock file, and the empty private file that the store
//! creates before SQLite opens it, are in a real directory: an empty real file counts as created.

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
    Disk {
        evict: |file: &Path| on(|machine| machine.evict(&name_of(file))),
        sync_dir,
        append,
        // The machine returns to earlier images, but only the database returns with it, so nothing is kept beside it.
        remember: |_, _, _| Ok(()),
        recall: |_| Ok(None),
        length: |file: &Path| on(|machine| machine.length_of(&name_of(file)).map(|length| length as u64)),
        reserve: |file: &Path, bytes: u64, _: &mut Option<std::fs::File>| {
            let length = usize::try_from(bytes).expect("a small file");
            on(|machine| machine.reserve(&name_of(file), length))
        },
        ..Disk::default()
    }
}

/// The archive is a real file; its faults come from this machine.
fn append(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let (taken, error) = on(|machine| machine.append(bytes.len()));
    let mut open = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    std::io::Write::write_all(&mut open, &bytes[..taken])?;
    error.map_or(Ok(()), Err)
}

fn sync_dir(_: &Path) -> io::Result<()> {
    on(machine::Machine::sync_names)
}

/// A file's name in its directory; there is only one directory.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

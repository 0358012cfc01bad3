//! Opens files of the state directory without following links. Rejects special files, and hard links as root.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file; if it is created, only its owner can read it.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK);
    let flags = i32::try_from(no_follow.bits()).unwrap_or_default();
    let file = options.mode(0o600).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    let why = match (meta.is_file(), meta.nlink()) {
        (false, _) => "it is no regular file",
        // Otherwise root could be made to write to a file of another user through a hard link.
        (true, 2..) if rustix::process::geteuid().is_root() => "it has several names (hard links)",
        _ => return Ok(file),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

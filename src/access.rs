//! Why a path could not be used, for the person who has to mend that: owner, mode, who we are, and
//! what to do.

use rustix::fs::StatVfsMountFlags;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What goes behind an error about a path: how the nearest part of it that exists stands, and the
/// remedy where there is one. Empty when nothing of the path can be seen.
#[must_use]
pub fn standing(path: &Path, why: io::ErrorKind) -> String {
    let Some((part, meta)) = path.ancestors().find_map(|part| Some((part, fs::metadata(part).ok()?))) else {
        return String::new();
    };
    let we = rustix::process::geteuid().as_raw();
    let shown = part.display();
    let mut text = format!(
        " ({shown} belongs to uid {}, gid {}, mode {:04o}; this process runs as uid {we})",
        meta.uid(),
        meta.gid(),
        meta.permissions().mode() & 0o7777,
    );
    let disk = rustix::fs::statvfs(part).ok();
    let read_only = disk.as_ref().is_some_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY));
    // SQLite calls a full disk by many names; the disk itself has one.
    let full =
        why == io::ErrorKind::StorageFull || disk.as_ref().is_some_and(|disk| disk.f_blocks > 0 && disk.f_bavail == 0);
    let written = match why {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied if read_only => write!(
            text,
            ". Its file system is mounted read-only: the kernel's log says why (dmesg); then mount -o remount,rw"
        ),
        io::ErrorKind::PermissionDenied if meta.uid() == we => {
            write!(text, ". Let its owner in: chmod u+rwX {shown}")
        }
        io::ErrorKind::PermissionDenied => {
            write!(text, ". Run as its owner, or give it to this user: chown {we} {shown}")
        }
        _ if full => write!(text, ". Its file system is full: df {shown}"),
        _ => Ok(()),
    };
    written.expect("a String takes everything");
    text
}

//! Explains to an operator why a path cannot be used: its owner and mode, the current user, and a remedy.

use rustix::fs::StatVfsMountFlags;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The remedy for a path of another user. It never suggests changing the owner of a directory, because its contents
/// cannot be seen: it may be that user's home, or the state directory of a running service. The same holds for a single
/// file in another user's directory.
fn remedy(part: &Path, meta: &fs::Metadata, we: u32) -> String {
    let shown = part.display();
    let parent = part.parent().and_then(|parent| Some((parent, fs::metadata(parent).ok()?)));
    match parent {
        // Left behind by a command that root ran.
        Some((dir, owner)) if owner.uid() == we && meta.is_file() => {
            format!("Give it to the owner of its directory, as root: chown --reference={} {shown}", dir.display())
        }
        _ if meta.uid() == 0 => {
            format!(
                "Run this as root (sudo), or name a directory of this user's own: install -d -o {we} -m 0700 DIRECTORY"
            )
        }
        _ => format!("Run this as its owner (sudo -u '#{}'), or as root", meta.uid()),
    }
}

/// Returns whether a path's directory belongs to this user, who then writes to the files in it.
fn is_in_our_directory(part: &Path, we: u32) -> bool {
    part.parent().and_then(|dir| fs::metadata(dir).ok()).is_some_and(|dir| dir.uid() == we)
}

/// Text to append to an error about a path: the state of its nearest existing part, and the remedy if there is one.
/// Empty if no part of the path is visible.
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
    // SQLite reports a full disk with many codes, so the file system itself is checked.
    let full =
        why == io::ErrorKind::StorageFull || disk.as_ref().is_some_and(|disk| disk.f_blocks > 0 && disk.f_bavail == 0);
    let written = match why {
        io::ErrorKind::ReadOnlyFilesystem => write!(
            text,
            ". Its file system is mounted read-only: the kernel's log says why (dmesg); then mount -o remount,rw"
        ),
        // A sandbox makes most of the file system read-only for a service, so a file that is unreadable there does
        // not show that the file system is read-only.
        io::ErrorKind::PermissionDenied if meta.is_file() && meta.uid() != we && !is_in_our_directory(part, we) => {
            write!(
                text,
                ". Let this process read it: chgrp to its group and chmod 0640, or chmod 0644 if it holds no secret"
            )
        }
        io::ErrorKind::PermissionDenied if read_only && meta.uid() == we => write!(
            text,
            ". Its file system is mounted read-only: the kernel's log says why (dmesg); then mount -o remount,rw"
        ),
        io::ErrorKind::PermissionDenied if meta.uid() == we => {
            write!(text, ". Let its owner in: chmod u+rwX {shown}")
        }
        io::ErrorKind::PermissionDenied => write!(text, ". {}", remedy(part, &meta, we)),
        _ if full => write!(text, ". Its file system is full: df {shown}"),
        _ => Ok(()),
    };
    written.expect("a String takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::chown;

    const NOBODY: u32 = 65_534;

    /// A directory that only its owner can enter may be a home or the state directory of a service: taking it away from
    /// its owner would break both.
    #[test]
    fn no_directory_is_taken_from_its_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let meta = |path: &Path| fs::metadata(path).expect("it is there");
        let we = meta(dir.path()).uid();
        for mode in [0o700, 0o750, 0o755] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("ours");
            let told = remedy(dir.path(), &meta(dir.path()), NOBODY);
            assert!(!told.contains("chown") && told.contains("Run this as"), "{mode:o}: {told}");
        }
        let file = dir.path().join("lock");
        fs::write(&file, "").expect("a file");
        if we == 0 {
            chown(&file, Some(NOBODY), None).expect("root may give away");
            let told = remedy(&file, &meta(&file), we);
            assert!(told.contains("chown --reference="), "{told}");
        }
    }
}

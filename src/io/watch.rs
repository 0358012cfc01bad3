//! Detects that a file may have been removed from its path (inotify), so that no polling is needed.
//!
//! The file itself is watched, not other changes in its directory: a removal changes its link count. A directory
//! that is moved takes the file with it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// Watches files for removal.
#[derive(Debug)]
pub struct FileWatch {
    inotify: OwnedFd,
}

impl FileWatch {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self { inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? })
    }

    /// Watches the current file at this path.
    pub fn add(&self, path: &Path) -> io::Result<()> {
        let file = WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::DONT_FOLLOW;
        inotify::add_watch(&self.inotify, path, file)?;
        if let Some(dir) = path.parent() {
            inotify::add_watch(&self.inotify, dir, WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF)?;
        }
        Ok(())
    }

    /// Reads and discards pending events: only their existence matters.
    pub fn clear(&self) {
        let mut buffer = [0; 4096];
        while let Ok(1..) | Err(Errno::INTR) = rustix::io::read(&self.inotify, &mut buffer) {}
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::poller::{Interest, Poller};
    use std::fs;
    use std::time::Duration;

    #[test]
    fn a_removal_is_told_and_what_else_happens_beside_is_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("file");
        let mut poller = Poller::new().expect("a poller");
        let watch = FileWatch::new().expect("inotify");
        poller.add(&watch, 7, Interest { read: true, write: false }).expect("it can be waited for");
        let mut told = |most| !poller.wait(Some(Duration::from_millis(most))).expect("it waits").is_empty();
        fs::write(&path, "").expect("a file");
        watch.add(&path).expect("it is watched");
        fs::write(dir.path().join("other"), "").expect("a file");
        fs::remove_file(dir.path().join("other")).expect("it goes");
        assert!(!told(50));
        // As with a socket, a process still has the file open.
        let open = fs::File::open(&path).expect("it is there");
        fs::remove_file(&path).expect("it goes");
        assert!(told(5000));
        watch.clear();
        drop(open);
        assert!(told(5000), "the directory was removed");
        watch.clear();
        assert!(!told(50));
    }
}

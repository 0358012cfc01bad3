//! The files of a database: where they are, whether they are still the ones that are open, and who owns them.

use super::open_error::OpenError;
use super::pragma::LOG_ROOM;
use super::{StoreSettings, own};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

pub(super) fn make_dir(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|why| OpenError::io("making the state directory", dir, why))
}

/// Where SQLite's three files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    file: PathBuf,
    log: PathBuf,
    index: PathBuf,
}

impl Files {
    pub(super) fn of(settings: &StoreSettings) -> Self {
        let dir = settings.dir.clone();
        Self { dir, file: settings.file(), log: settings.log_file(), index: settings.index_file() }
    }

    /// How long the file and its log are.
    pub(super) fn lengths(&self) -> Lengths {
        let length = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        Lengths { file: length(&self.file), log: length(&self.log) }
    }

    /// Looks at each of them once. Fails where the directory does not let the agent look: a file that cannot be
    /// seen is not gone.
    pub(super) fn look(&self) -> Result<(Identity, Lengths), OpenError> {
        let file = match fs::metadata(&self.file) {
            Ok(meta) => Some(meta),
            Err(why) if why.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(OpenError::io("looking into", &self.dir, why)),
        };
        let inode = |meta: &Option<fs::Metadata>| meta.as_ref().map(|meta| (meta.dev(), meta.ino()));
        let length = |meta: &Option<fs::Metadata>| meta.as_ref().map_or(0, fs::Metadata::len);
        let (log, index) = (fs::metadata(&self.log).ok(), fs::metadata(&self.index).ok());
        let identity = Identity { file: inode(&file), log: inode(&log), index: inode(&index) };
        Ok((identity, Lengths { file: length(&file), log: length(&log) }))
    }
}

/// Identifies the open files, because a path may lead to others later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Device and inode of the database.
    pub(super) file: Option<(u64, u64)>,
    /// Device and inode of the WAL.
    pub(super) log: Option<(u64, u64)>,
    /// Device and inode of the WAL's index, which also holds the locks.
    pub(super) index: Option<(u64, u64)>,
}

/// Lengths of the files. Only the agent's own checkpoints shorten them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) file: u64,
    log: u64,
}

impl Lengths {
    /// Without blocks allocated beyond the file's pages, which any checkpoint may cut off.
    pub(super) fn within(self, extent: u64) -> Self {
        Self { file: self.file.min(extent), ..self }
    }

    /// Bytes of both files.
    pub(super) fn total(self) -> u64 {
        self.file + self.log
    }

    /// Returns whether another program has shortened one of the files since.
    pub(super) fn are_cut(self, now: Self) -> bool {
        now.file < self.file || now.log < self.log
    }

    /// The same across a commit. The first commit after a complete checkpoint cuts a long WAL to its usual length.
    pub(super) fn are_cut_by_another(self, now: Self) -> bool {
        Self { log: self.log.min(LOG_ROOM), ..self }.are_cut(now)
    }

    /// Returns whether the WAL is shorter now. A checkpoint that does not truncate leaves its length.
    pub(super) fn is_log_cut(self, now: Self) -> bool {
        now.log < self.log
    }
}

impl Identity {
    /// The files that are at the paths now; see [`Files::look`].
    pub(super) fn seen(settings: &StoreSettings) -> Result<Self, OpenError> {
        Files::of(settings).look().map(|(identity, _)| identity)
    }
}

/// Device and inode of a path.
pub(super) fn inode_of(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Creates an empty file readable by its owner alone, before SQLite creates one with the umask.
pub(super) fn make_private(file: &Path, dir: &Path) -> Result<(), OpenError> {
    let made = own::open(file, fs::OpenOptions::new().write(true).create(true).truncate(false));
    made.map_err(|why| OpenError::io("making", file, why))?;
    give_to_owner(file, dir)
}

/// If root records without the daemon, files must not be left that the daemon cannot open.
pub(super) fn give_to_owner(file: &Path, dir: &Path) -> Result<(), OpenError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let meta = fs::metadata(dir).map_err(|why| OpenError::io("reading", dir, why))?;
    lchown(file, Some(meta.uid()), Some(meta.gid())).map_err(|why| OpenError::io("giving away", file, why))
}

//! `backup FILE`: a consistent copy of the live database, with or without the agent.
//!
//! The copy gets its name when it is complete, checked and on disk; until then it is `FILE.part`. It contains payloads,
//! so only its owner may read it, if the file system supports owners.

use super::args::Global;
use super::session::Session;
use super::{Failure, offline};
use crate::access::standing;
use crate::store::StoreSettings;
use crate::store::backup::examine;
use crate::store::reader::Reader;
use crate::text::backup as text;
use crate::text::numbers::size as sized;
use clap::Args;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::json;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{self, Path, PathBuf};

/// `backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The copy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: &BackupArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let settings = StoreSettings::of(&session.config);
    if !settings.file().exists() {
        return Err(Failure::Failed(text::no_database(settings.file().display())));
    }
    let file = path::absolute(&args.file)?;
    refuse_what_is_there(&file, &settings.file(), args.force)?;
    let part = Part::make(&file)?;
    let as_owner = offline::as_owner(&session.config)?;
    let reader = Reader::open(&settings).map_err(|error| Failure::Failed(error.to_string()))?;
    // All of the database's files are open after this.
    reader.ledger().map_err(|error| Failure::Failed(error.to_string()))?;
    drop(as_owner);
    reader.copy_into(&part.path).map_err(|error| Failure::Failed(text::copying(part.path.display(), error)))?;
    drop(reader);
    let failures = examine(&part.path).map_err(|error| Failure::Failed(text::examining(part.path.display(), error)))?;
    let size = fs::metadata(&part.path)?.len();
    part.finish(&file, args.force)?;
    let mut out = io::stdout().lock();
    if session.json {
        let path = file.display().to_string();
        writeln!(out, "{}", json!({"ok": true, "file": path, "bytes": size, "failures": failures}))?;
    } else if !session.quiet {
        writeln!(out, "{}", text::done(failures, file.display(), &sized(size)))?;
    }
    Ok(())
}

/// Refuses to overwrite a file without `force`, and never overwrites the database.
fn refuse_what_is_there(file: &Path, database: &Path, force: bool) -> Result<(), Failure> {
    let own = fs::canonicalize(database)?;
    match fs::symlink_metadata(file) {
        Err(_) => Ok(()),
        Ok(_) if fs::canonicalize(file).is_ok_and(|there| there == own) => {
            Err(Failure::Usage(text::is_the_database(file.display())))
        }
        Ok(there) if force && there.is_file() => Ok(()),
        Ok(there) if there.is_file() => Err(taken(file)),
        Ok(_) => Err(Failure::Failed(text::not_a_file(file.display()))),
    }
}

fn taken(file: &Path) -> Failure {
    Failure::Failed(text::exists(file.display()))
}

/// The copy before it gets its name. Dropping it removes the file, unless it was finished.
struct Part {
    path: PathBuf,
    finished: bool,
}

impl Part {
    fn make(file: &Path) -> Result<Self, Failure> {
        let mut name = OsString::from(file);
        name.push(".part");
        let path = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => Ok(Self { path, finished: false }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Failure::Failed(text::unfinished(path.display())))
            }
            Err(error) => {
                let how = standing(&path, error.kind());
                Err(Failure::Failed(text::creating(path.display(), error, &how)))
            }
        }
    }

    /// Syncs the copy, then renames it.
    fn finish(mut self, file: &Path, force: bool) -> Result<(), Failure> {
        let fails = |error: io::Error| Failure::Failed(text::syncing(file.display(), error));
        File::open(&self.path).and_then(|part| part.sync_all()).map_err(fails)?;
        let named = if force { fs::rename(&self.path, file) } else { rename_to_new(&self.path, file) };
        match named {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(taken(file)),
            named => named.map_err(fails)?,
        }
        self.finished = true;
        let dir = file.parent().unwrap_or(Path::new("/"));
        match File::open(dir).and_then(|dir| dir.sync_all()) {
            // Some file systems cannot sync a directory.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            synced => synced.map_err(fails),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            // The next attempt's error names a file that could not be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Renames a file, unless the new name exists.
fn rename_to_new(part: &Path, file: &Path) -> io::Result<()> {
    match renameat_with(CWD, part, CWD, file, RenameFlags::NOREPLACE) {
        // This file system cannot rename exclusively, so the name is checked before.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !file.exists() => fs::rename(part, file),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(ErrorKind::AlreadyExists.into()),
        renamed => Ok(renamed?),
    }
}

//! `backup FILE`: a consistent copy of the live database, with or without the agent.
//!
//! The copy gets its name when it is whole, examined and on disk; until then it stands beside it as
//! `FILE.part`. Payloads are in it: nobody but its owner may read it, where the file system knows of
//! owners.

use super::Failure;
use super::args::Global;
use super::render::count;
use super::session::Session;
use crate::access::standing;
use crate::limits::bytes;
use crate::store::StoreSettings;
use crate::store::backup::examine;
use crate::store::reader::Reader;
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
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: &BackupArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    let settings = StoreSettings::of(&session.config);
    if !settings.file().exists() {
        return Err(Failure::Failed(format!("there is no database at {} yet", settings.file().display())));
    }
    let file = path::absolute(&args.file)?;
    refuse_what_is_there(&file, &settings.file(), args.force)?;
    let part = Part::make(&file)?;
    let fails = |doing: &str, why: String| Failure::Failed(format!("{doing} {}: {why}", part.path.display()));
    let reader = Reader::open(&settings).map_err(|error| Failure::Failed(error.to_string()))?;
    reader.copy_into(&part.path).map_err(|error| fails("copying to", error.to_string()))?;
    drop(reader);
    let failures = examine(&part.path).map_err(|error| fails("examining", error.to_string()))?;
    let size = fs::metadata(&part.path)?.len();
    part.finish(&file, args.force)?;
    let mut out = io::stdout().lock();
    if session.json {
        let path = file.display().to_string();
        writeln!(out, "{}", json!({"ok": true, "file": path, "bytes": size, "failures": failures}))?;
    } else if !session.quiet {
        let live = if failures == 1 { "failure" } else { "failures" };
        let (count, size) = (count(failures), bytes(size));
        writeln!(out, "{}: {count} live {live}, {size}, examined. It holds payloads: keep it safe.", file.display())?;
    }
    Ok(())
}

/// Nothing is written over by mistake, and the database not at all.
fn refuse_what_is_there(file: &Path, database: &Path, force: bool) -> Result<(), Failure> {
    let own = fs::canonicalize(database)?;
    match fs::symlink_metadata(file) {
        Err(_) => Ok(()),
        Ok(_) if fs::canonicalize(file).is_ok_and(|there| there == own) => {
            Err(Failure::Usage(format!("{} is the database itself", file.display())))
        }
        Ok(there) if force && there.is_file() => Ok(()),
        Ok(there) if there.is_file() => Err(taken(file)),
        Ok(_) => Err(Failure::Failed(format!("{} is there and is no plain file; choose another name", file.display()))),
    }
}

fn taken(file: &Path) -> Failure {
    Failure::Failed(format!("{} is there already; choose another name, or --force to replace it", file.display()))
}

/// The copy before it has its name. Goes away with the value, unless it was finished.
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
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::Failed(format!(
                "{} is there: another backup runs, or one was broken off; then remove it",
                path.display()
            ))),
            Err(error) => {
                let how = standing(&path, error.kind());
                Err(Failure::Failed(format!("making {}: {error}{how}", path.display())))
            }
        }
    }

    /// Puts it on disk, then gives it its name.
    fn finish(mut self, file: &Path, force: bool) -> Result<(), Failure> {
        let fails = |error: io::Error| Failure::Failed(format!("putting {} on disk: {error}", file.display()));
        File::open(&self.path).and_then(|part| part.sync_all()).map_err(fails)?;
        let named = if force { fs::rename(&self.path, file) } else { rename_to_new(&self.path, file) };
        match named {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(taken(file)),
            named => named.map_err(fails)?,
        }
        self.finished = true;
        let dir = file.parent().unwrap_or(Path::new("/"));
        match File::open(dir).and_then(|dir| dir.sync_all()) {
            // Some file systems have no such thing; their names are as safe as they get.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            synced => synced.map_err(fails),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            // What is left of it is named in the next attempt's error.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives a file a name that nobody has.
fn rename_to_new(part: &Path, file: &Path) -> io::Result<()> {
    match renameat_with(CWD, part, CWD, file, RenameFlags::NOREPLACE) {
        // A file system that cannot make sure: then it is looked at before.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !file.exists() => fs::rename(part, file),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(ErrorKind::AlreadyExists.into()),
        renamed => Ok(renamed?),
    }
}

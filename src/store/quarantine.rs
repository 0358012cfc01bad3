//! The quarantine: where a damaged database goes, and what is left of one that was taken away.
//!
//! ```text
//! sync_failures.db ──→ quarantine/T.moving/ ──┐
//!  (and its log)                              ├──→ quarantine/T/ ──salvage──→ quarantine/T/salvaged
//! an open file   ────→ quarantine/T.copying/ ─┘                               (says what came of it)
//!  that was deleted
//! ```
//!
//! Every step is one rename or one file, synced before the next, so that a start finds one of these
//! states and goes on from it ([`resume`]): what moves is moved to the end; a copy that was cut short
//! is salvaged as far as it goes; what has no `salvaged` in it is salvaged (again). That comes before
//! SQLite sees anything, for it would throw away a log whose file has moved already.
//!
//! What stands here is never deleted by the agent. Others decide what is damaged (`open`) and read it
//! (`salvage`).

use super::StoreSettings;
use super::open::{OpenError, give_to_owner, make_private};
use super::salvage::{Salvage, SalvageError, Tally, Terms};
use crate::moment::WallTime;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const FILE: &str = "sync_failures.db";
/// What moves, in this order.
const PARTS: [&str; 3] = ["sync_failures.db-journal", "sync_failures.db-wal", FILE];
/// Says of a quarantine that its rows are in the present file, and how many.
const DONE: &str = "salvaged";
/// Says of a quarantine that its file was sound, and taken away by somebody else.
const REPLACED: &str = "replaced";

/// A quarantine whose readable rows are live again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its directory.
    pub path: PathBuf,
    /// What came of it.
    pub tally: Tally,
    /// The file was not damaged: somebody deleted or replaced it.
    pub replaced: bool,
}

/// Moves the database away, with everything that belongs to it. No connection of this process has it
/// open.
pub(super) fn take_away(settings: &StoreSettings, now: WallTime) -> Result<(), OpenError> {
    for part in [settings.file(), settings.log_file()] {
        (settings.disk.evict)(&part).map_err(|why| OpenError::io("syncing", &part, why))?;
    }
    move_all(settings, &make(settings, now, "moving")?)
}

/// Copies what an open connection still holds of a file that is no longer there.
pub(super) fn copy(settings: &StoreSettings, connection: &Connection, now: WallTime) -> Result<(), OpenError> {
    let place = make(settings, now, "copying")?;
    let file = place.join(FILE);
    let copied = make_private(&file, &settings.dir).and_then(|()| {
        let into = file.to_string_lossy();
        let copied = connection.execute("VACUUM INTO ?1", [&into]);
        copied.map_err(|why| OpenError::sqlite("copying what was deleted to", &file, why))?;
        let said = place.join(REPLACED);
        fs::write(&said, "").map_err(|why| OpenError::io("writing", &said, why))?;
        (settings.disk.evict)(&file).map_err(|why| OpenError::io("syncing", &file, why))
    });
    if let Err(error) = copied {
        // The connection still has everything; half a copy would only take its place on the disk.
        fs::remove_dir_all(&place).map_err(|why| OpenError::io("removing", &place, why))?;
        return Err(error);
    }
    arrive(settings, &place)
}

/// Goes on with what was cut short.
pub(super) fn resume(settings: &StoreSettings) -> Result<(), OpenError> {
    for place in places(settings)? {
        match place.extension().and_then(|ending| ending.to_str()) {
            Some("moving") => move_all(settings, &place)?,
            Some("copying") => arrive(settings, &place)?,
            _ => {}
        }
    }
    // A log whose file is gone or empty holds rows that SQLite would throw away.
    let length = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    if length(&settings.file()) == 0 && length(&settings.log_file()) > 0 {
        return Err(OpenError::Damaged {
            path: settings.file(),
            why: "it is missing or empty, and its log is not".into(),
        });
    }
    Ok(())
}

/// Quarantines that were not salvaged yet, brought back one after the other, step by step.
#[derive(Default)]
pub(super) struct Recovery {
    waiting: VecDeque<PathBuf>,
    under_way: Option<(PathBuf, Salvage)>,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Recovery {
    /// Of all that is there and not salvaged.
    pub(super) fn plan(settings: &StoreSettings) -> Result<Self, OpenError> {
        let waiting = places(settings)?.into_iter().filter(|path| !path.join(DONE).exists());
        Ok(Self { waiting: waiting.collect(), under_way: None })
    }

    /// Is everything back?
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// One step; a quarantine whose last one it was comes back.
    pub(super) fn step(
        &mut self,
        settings: &StoreSettings,
        into: &Connection,
        now: WallTime,
    ) -> Result<Option<Quarantined>, OpenError> {
        if self.under_way.is_none() {
            let Some(path) = self.waiting.pop_front() else { return Ok(None) };
            let (file, log) = (path.join(FILE), path.join("sync_failures.db-wal"));
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let terms = Terms { name, now, routes: settings.routes.clone() };
            let begun = Salvage::begin(&file, &log, into, terms).map_err(|error| cannot(settings, &file, error))?;
            self.under_way = Some((path, begun));
        }
        let Some((path, salvage)) = &mut self.under_way else { return Ok(None) };
        let tally = salvage.step(into).map_err(|error| cannot(settings, path, error))?;
        let Some(tally) = tally else { return Ok(None) };
        let path = path.clone();
        self.under_way = None;
        say_done(settings, &path, tally)?;
        let replaced = path.join(REPLACED).exists();
        Ok(Some(Quarantined { path, tally, replaced }))
    }
}

fn cannot(settings: &StoreSettings, path: &Path, error: SalvageError) -> OpenError {
    match error {
        SalvageError::Read(why) => OpenError::io("salvaging", path, why),
        SalvageError::Write(why) => OpenError::sqlite("salvaging a quarantine into", &settings.file(), why),
    }
}

fn say_done(settings: &StoreSettings, path: &Path, tally: Tally) -> Result<(), OpenError> {
    let Tally { salvaged, lost } = tally;
    let said = path.join(DONE);
    fs::write(&said, format!("salvaged={salvaged} lost={lost}\n"))
        .and_then(|()| (settings.disk.evict)(&said))
        .and_then(|()| (settings.disk.sync_dir)(path))
        .map_err(|why| OpenError::io("writing", &said, why))?;
    log::error!("event=quarantined path={path:?} salvaged={salvaged} lost={lost}");
    Ok(())
}

fn root(settings: &StoreSettings) -> PathBuf {
    settings.dir.join("quarantine")
}

/// All quarantines, oldest first, also those that are not whole.
fn places(settings: &StoreSettings) -> Result<Vec<PathBuf>, OpenError> {
    let root = root(settings);
    let listed = match fs::read_dir(&root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(|entries| {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            paths.filter(|path| path.as_ref().map_or(true, |path| path.is_dir())).collect::<io::Result<Vec<_>>>()
        }),
    };
    let mut places = listed.map_err(|why| OpenError::io("reading", &root, why))?;
    places.sort();
    Ok(places)
}

/// Makes the directory of a new quarantine, under a name that says that it is not whole.
fn make(settings: &StoreSettings, now: WallTime, doing: &str) -> Result<PathBuf, OpenError> {
    let root = root(settings);
    make_dir(&root, settings)?;
    sync(settings, &settings.dir)?;
    let time = now.rfc3339().replace(':', "-");
    let names = (1..).map(|n| if n == 1 { time.clone() } else { format!("{time}-{n}") });
    let taken = places(settings)?;
    let is_free = |name: &String| !taken.iter().any(|path| path.file_name().is_some_and(|is| stem(is) == *name));
    let name = names.into_iter().find(is_free).unwrap_or(time);
    let place = root.join(format!("{name}.{doing}"));
    make_dir(&place, settings)?;
    sync(settings, &root)?;
    Ok(place)
}

/// A quarantine's name, whole or not.
fn stem(name: &std::ffi::OsStr) -> String {
    let name = name.to_string_lossy();
    name.trim_end_matches(".moving").trim_end_matches(".copying").to_owned()
}

/// Moves what is still in the state directory, and calls the quarantine whole.
fn move_all(settings: &StoreSettings, place: &Path) -> Result<(), OpenError> {
    let index = settings.dir.join("sync_failures.db-shm");
    remove(&index).map_err(|why| OpenError::io("removing", &index, why))?;
    for part in PARTS {
        let from = settings.dir.join(part);
        match fs::rename(&from, place.join(part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            moved => moved.map_err(|why| OpenError::io("moving to the quarantine", &from, why))?,
        }
        sync(settings, place)?;
        sync(settings, &settings.dir)?;
    }
    arrive(settings, place)
}

/// Calls a quarantine whole.
fn arrive(settings: &StoreSettings, place: &Path) -> Result<(), OpenError> {
    sync(settings, place)?;
    let whole = place.with_file_name(stem(place.file_name().unwrap_or_default()));
    fs::rename(place, &whole).map_err(|why| OpenError::io("renaming", place, why))?;
    sync(settings, &root(settings))
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn make_dir(dir: &Path, settings: &StoreSettings) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|why| OpenError::io("making", dir, why))?;
    give_to_owner(dir, &settings.dir)
}

fn sync(settings: &StoreSettings, dir: &Path) -> Result<(), OpenError> {
    (settings.disk.sync_dir)(dir).map_err(|why| OpenError::io("syncing", dir, why))
}

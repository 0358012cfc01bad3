//! The quarantine: a directory for damaged databases, and for the content of databases that were deleted.
//!
//! ```text
//! sync_failures.db ──→ quarantine/T.moving/ ──┐
//!  (and its log)                              ├──→ quarantine/T/ ──salvage──→ quarantine/T/salvaged
//! an open file   ────→ quarantine/T.copying/ ─┘                               (contains the result)
//!  that was deleted
//! ```
//!
//! Every step is one rename or one file, synced before the next, so that a start finds one of these states and
//! continues from it ([`resume`]). An interrupted move is completed; an interrupted copy is salvaged as far as it goes;
//! a quarantine without `salvaged` is salvaged (again). This happens before SQLite opens anything, because SQLite would
//! delete a WAL whose file has moved already.
//!
//! The agent never deletes a quarantine. Other modules decide what is damaged (`open`) and read it (`salvage`).

use super::StoreSettings;
use super::agent_row::Ledger;
use super::files::{Identity, give_to_owner, inode_of, make_private};
use super::instance::Known;
use super::open_error::OpenError;
use super::salvage::{Salvage, SalvageError, Tally, Terms};
use crate::moment::WallTime;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

const FILE: &str = "sync_failures.db";
/// The files to move, in this order.
const PARTS: [&str; 3] = ["sync_failures.db-journal", "sync_failures.db-wal", FILE];
/// Marks a quarantine whose rows are in the present file; contains their number.
const DONE: &str = "salvaged";
/// Says of a quarantine that people were not told of it yet: a kill between its end and the alert hides nothing.
const UNTOLD: &str = "untold";
/// Marks a quarantine that is salvaged while failures are recorded; contains the first number of those.
const BESIDE: &str = "beside";
/// Marks a quarantine whose file was sound, but deleted or replaced by another program.
const REPLACED: &str = "replaced";

/// A quarantine whose readable rows are live again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its directory.
    pub path: PathBuf,
    /// The result of its salvage.
    pub tally: Tally,
    /// The file was not damaged, but deleted or replaced.
    pub replaced: bool,
}

/// Moves the database and its other files to the quarantine. No connection of this process has it open.
pub(super) fn move_files(settings: &StoreSettings, now: WallTime) -> Result<(), OpenError> {
    for part in [settings.file(), settings.log_file()] {
        (settings.disk.evict)(&part).map_err(|why| OpenError::io("syncing", &part, why))?;
    }
    move_all(settings, &make(settings, now, "moving")?)
}

/// A copy of what an open connection still holds of a file that is no longer there. It is made on a thread where there
/// is one, so that no client waits for it; the connection is there as long as that takes.
pub(super) struct Copy {
    place: PathBuf,
    done: Receiver<Copied>,
}

/// The connection that was copied from, and the result of the copy.
pub(super) type Copied = (Connection, Result<(), OpenError>);

impl fmt::Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copy").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Copy {
    /// Begins it. After an error the connection comes back.
    pub(super) fn begin(
        settings: &StoreSettings,
        connection: Connection,
        now: WallTime,
    ) -> Result<Self, Box<(Connection, OpenError)>> {
        let made = make(settings, now, "copying").and_then(|place| {
            make_private(&place.join(FILE), &settings.dir)?;
            Ok(place)
        });
        let place = match made {
            Ok(place) => place,
            Err(error) => return Err(Box::new((connection, error))),
        };
        let (end, done) = sync_channel(1);
        let (settings, into) = (settings.clone(), place.clone());
        (settings.disk.aside)(Box::new(move || {
            let copied = write_copy(&settings, &connection, &into);
            // The waiting thread ends only with the process.
            let _ = end.send((connection, copied));
        }));
        Ok(Self { place, done })
    }

    /// The connection, and the result of the copy; `None`: it is not done. `Err`: the connection is lost.
    pub(super) fn ended(&self) -> Option<Result<Copied, OpenError>> {
        match self.done.try_recv() {
            Ok(ended) => Some(Ok(ended)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(OpenError::io("copying what was deleted to", &self.place, io::ErrorKind::Other.into())))
            }
        }
    }

    /// Waits for it.
    pub(super) fn wait(&self) -> Result<Copied, OpenError> {
        let lost = |_| OpenError::io("copying what was deleted to", &self.place, io::ErrorKind::Other.into());
        self.done.recv().map_err(lost)
    }

    /// Takes away what was left of the file: SQLite would read its log into whatever database is there next. The copy
    /// is a quarantine then; one that failed is removed.
    pub(super) fn arrive(
        self,
        settings: &StoreSettings,
        open: &Identity,
        copied: Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let place = self.place;
        if let Err(error) = copied {
            // The connection still has everything; half a copy would only take its place on the disk.
            fs::remove_dir_all(&place).map_err(|why| OpenError::io("removing", &place, why))?;
            return Err(error);
        }
        if open.file != inode_of(&settings.file()) {
            take_rest_away(settings, open, &place)?;
        }
        arrive(settings, &place)
    }
}

fn write_copy(settings: &StoreSettings, connection: &Connection, place: &Path) -> Result<(), OpenError> {
    let file = place.join(FILE);
    let copied = connection.execute("VACUUM INTO ?1", [file.to_string_lossy()]);
    copied.map_err(|why| OpenError::sqlite("copying what was deleted to", &file, why))?;
    let said = place.join(REPLACED);
    fs::write(&said, "").map_err(|why| OpenError::io("writing", &said, why))?;
    (settings.disk.evict)(&file).map_err(|why| OpenError::io("syncing", &file, why))
}

/// Moves the WAL and its index, if they are still those that were open. Their content is in the copy.
fn take_rest_away(settings: &StoreSettings, open: &Identity, place: &Path) -> Result<(), OpenError> {
    let log = settings.log_file();
    if open.log.is_some() && open.log == inode_of(&log) {
        let moved = fs::rename(&log, place.join("left.db-wal"));
        moved.map_err(|why| OpenError::io("moving to the quarantine", &log, why))?;
    }
    let index = settings.index_file();
    if open.index.is_some() && open.index == inode_of(&index) {
        remove(&index).map_err(|why| OpenError::io("removing", &index, why))?;
    }
    sync(settings, &settings.dir)
}

/// Completes interrupted steps.
pub(super) fn resume(settings: &StoreSettings) -> Result<(), OpenError> {
    for place in places(settings)? {
        match place.extension().and_then(|ending| ending.to_str()) {
            Some("moving") => move_all(settings, &place)?,
            Some("copying") => arrive(settings, &place)?,
            _ => {}
        }
    }
    // A WAL whose file is missing or empty contains rows that SQLite would delete.
    let length = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    if length(&settings.file()) == 0 && length(&settings.log_file()) > 0 {
        return Err(OpenError::Damaged {
            path: settings.file(),
            why: "it is missing or empty, and its log is not".into(),
        });
    }
    Ok(())
}

/// Quarantines that were not salvaged yet, restored one after the other, step by step.
#[derive(Default)]
pub(super) struct Recovery {
    waiting: VecDeque<PathBuf>,
    under_way: Option<(PathBuf, Salvage)>,
    /// Failures are recorded meanwhile, with numbers from this one on.
    floor: Option<i64>,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Recovery {
    /// Plans the salvage of all quarantines that need it.
    pub(super) fn plan(settings: &StoreSettings) -> Result<Self, OpenError> {
        let waiting = places(settings)?.into_iter().filter(|path| !path.join(DONE).exists());
        let waiting: VecDeque<PathBuf> = waiting.collect();
        // Written by an earlier run, which may have restored a part already.
        let floor = |path: &PathBuf| fs::read_to_string(path.join(BESIDE)).ok()?.trim().parse().ok();
        Ok(Self { floor: waiting.iter().find_map(floor), waiting, under_way: None })
    }

    /// Returns whether failures may be recorded meanwhile, with numbers from `floor` on, which must exceed all numbers
    /// ever used. The present table must be empty, so that no row can conflict with a salvaged one.
    pub(super) fn go_on_beside(
        &mut self,
        settings: &StoreSettings,
        into: &Connection,
        floor: i64,
    ) -> Result<bool, OpenError> {
        if self.is_over() {
            return Ok(false);
        }
        let opened = |why| OpenError::sqlite("reading", &settings.file(), why);
        let empty = "SELECT NOT EXISTS (SELECT 1 FROM sync_failures)";
        if into.query_row(empty, [], |row| row.get(0)).map_err(opened)? {
            for path in &self.waiting {
                let said = path.join(BESIDE);
                let written = fs::write(&said, format!("{floor}\n")).and_then(|()| (settings.disk.evict)(&said));
                written.map_err(|why| OpenError::io("writing", &said, why))?;
                sync(settings, path)?;
            }
            self.floor = Some(floor);
        }
        Ok(self.is_beside())
    }

    /// Returns whether failures are recorded meanwhile.
    pub(super) fn is_beside(&self) -> bool {
        self.floor.is_some() && !self.is_over()
    }

    /// Returns whether a salvage is ahead of which nothing was done or recorded yet.
    pub(super) fn is_untouched(&self) -> bool {
        !self.is_over() && self.floor.is_none()
    }

    /// Returns whether all quarantines are restored.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// Does one step; returns a quarantine when it is complete. After an error its salvage starts over.
    pub(super) fn step(
        &mut self,
        settings: &StoreSettings,
        into: &Connection,
        ledger: &mut Ledger,
        now: WallTime,
    ) -> Result<Option<Quarantined>, OpenError> {
        let done = self.try_step(settings, into, ledger, now);
        if let (Err(_), Some((path, _))) = (&done, self.under_way.take_if(|_| done.is_err())) {
            self.waiting.push_front(path);
        }
        done
    }

    fn try_step(
        &mut self,
        settings: &StoreSettings,
        into: &Connection,
        ledger: &mut Ledger,
        now: WallTime,
    ) -> Result<Option<Quarantined>, OpenError> {
        if self.under_way.is_none() {
            let Some(path) = self.waiting.front().cloned() else { return Ok(None) };
            let (file, log) = (path.join(FILE), path.join("sync_failures.db-wal"));
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_nameless = Known::read(settings).is_none();
            let terms = Terms { name, now, routes: settings.routes.clone(), floor: self.floor, is_nameless };
            let begun = Salvage::begin(&file, &log, into, terms).map_err(|error| cannot(settings, &file, error))?;
            self.waiting.pop_front();
            self.under_way = Some((path, begun));
        }
        let Some((path, salvage)) = &mut self.under_way else { return Ok(None) };
        let tally = salvage.step(into, ledger).map_err(|error| cannot(settings, path, error))?;
        let Some(tally) = tally else { return Ok(None) };
        let path = path.clone();
        say_done(settings, &path, tally)?;
        self.under_way = None;
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
    for (name, text) in [(UNTOLD, String::new()), (DONE, format!("salvaged={salvaged} lost={lost}\n"))] {
        let said = path.join(name);
        fs::write(&said, text)
            .and_then(|()| (settings.disk.evict)(&said))
            .and_then(|()| (settings.disk.sync_dir)(path))
            .map_err(|why| OpenError::io("writing", &said, why))?;
    }
    log_done(path, tally);
    Ok(())
}

fn log_done(path: &Path, Tally { salvaged, lost }: Tally) {
    log::error!("event=quarantined path={path:?} salvaged={salvaged} lost={lost}");
}

/// Quarantines that an earlier run has salvaged, or a command without an agent, and that were not reported.
pub(super) fn untold(settings: &StoreSettings) -> Result<Vec<Quarantined>, OpenError> {
    let mut found = Vec::new();
    for path in places(settings)?.into_iter().filter(|path| path.join(UNTOLD).exists()) {
        // Without that file it is salvaged again.
        let Ok(said) = fs::read_to_string(path.join(DONE)) else { continue };
        let number = |name: &str| said.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
        let tally =
            Tally { salvaged: number("salvaged=").unwrap_or_default(), lost: number("lost=").unwrap_or_default() };
        log_done(&path, tally);
        let replaced = path.join(REPLACED).exists();
        found.push(Quarantined { path, tally, replaced });
    }
    Ok(found)
}

/// It was reported, or an alert in the database says so.
pub(super) fn told(path: &Path) {
    let file = path.join(UNTOLD);
    if let Err(error) = remove(&file) {
        log::warn!("event=not_removed path={file:?} error={:?}", error.to_string());
    }
}

fn root(settings: &StoreSettings) -> PathBuf {
    settings.dir.join("quarantine")
}

/// All quarantines, oldest first, including incomplete ones.
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

/// Creates the directory of a new quarantine, under a name that marks it as incomplete.
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

/// A quarantine's name without the mark of an incomplete one.
fn stem(name: &std::ffi::OsStr) -> String {
    let name = name.to_string_lossy();
    name.trim_end_matches(".moving").trim_end_matches(".copying").to_owned()
}

/// Moves the files that are still in the state directory, and marks the quarantine as complete.
fn move_all(settings: &StoreSettings, place: &Path) -> Result<(), OpenError> {
    let index = settings.index_file();
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

/// Marks a quarantine as complete.
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

#[cfg(test)]
mod tests {
    use super::super::{Store, StoreError};
    use super::*;
    use crate::limits::Limits;
    use std::sync::{Mutex, PoisonError};

    type Work = Box<dyn FnOnce() + Send>;

    /// What is to be done aside waits here until the test does it.
    static ASIDE: Mutex<Vec<Work>> = Mutex::new(Vec::new());

    fn work() -> Vec<Work> {
        std::mem::take(&mut ASIDE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The copy of a deleted file may take minutes. Until it is done the store says at once that it is not.
    #[test]
    fn nobody_waits_for_the_copy_of_a_deleted_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = StoreSettings::new(dir.path(), &Limits::default());
        settings.disk.aside = |work| ASIDE.lock().unwrap_or_else(PoisonError::into_inner).push(work);
        let now = WallTime::from_millis(1_795_500_754_123);
        let mut store = Store::open(settings.clone(), now).expect("a store");
        fs::remove_file(settings.file()).expect("it is removed");
        assert!(matches!(store.look_at_place(), Err(StoreError::Replaced)));
        for _ in 0..3 {
            assert!(!store.reopen(now, false).expect("the copy begins once"));
            assert!(store.is_copying());
        }
        let waiting = work();
        assert_eq!(waiting.len(), 1);
        waiting.into_iter().for_each(|work| work());
        assert!(store.reopen(now, false).expect("it is done") && !store.is_copying());
        while !store.recover(now).expect("it comes back") {}
        let found = store.take_quarantined();
        assert!(matches!(&found[..], [one] if one.replaced), "{found:?}");
    }
}

//! Turns a file into a store: lock, evict, connect, migrate, verify.
//!
//! Each step is here because without it tests lost acknowledged records:
//!
//! - The files are fsynced and their cached pages dropped before SQLite opens them ([`Disk`](super::disk::Disk)). After
//!   a kill between write and fsync, a row is visible that is not on disk, and a repeated `record`
//!   would be answered as a duplicate. After a failed fsync the kernel reports such pages as clean.
//! - Every PRAGMA is stepped to its end ([`drain`]): `journal_mode=WAL` reports an error of its own
//!   commit only on the second step.
//! - `synchronous=EXTRA`, so that a journal in another mode than requested is durable too.
//! - A file of a newer version is refused before any of it is written.
//! - A damaged file is moved to the quarantine, and its readable rows are salvaged into a new one
//!   before any client can use that.

use super::agent_row::Ledger;
use super::archive;
use super::ballast::Ballast;
use super::cells::OddRows;
use super::disk::private;
use super::foreign_writes::ForeignWrites;
use super::instance::{self, Keeper, Known};
use super::lock::{Lock, LockError};
use super::migrations;
pub use super::migrations::newest_version;
use super::odd::{self, Search, TakenOut};
use super::own;
use super::quarantine::{self, Recovery};
use super::reader_gate::Door;
use super::reserve::Reserve;
use super::written::Written;
use super::{Deletions, Store, StoreError, StoreSettings, damaged, hard_limit, numbers};
use crate::access::standing;
use crate::limits::BUSY_TIMEOUT;
use crate::moment::WallTime;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

/// Page size of a new file, in bytes. A record changes a few places in as many pages, and each page is written
/// completely. 1024 was slower.
pub const PAGE_SIZE: u32 = 2048;
/// Bytes of pages in the WAL that trigger a checkpoint. Small, so that a full disk leaves space to reuse and clients
/// wait only briefly; large enough that a frequently changed page is written once. Twice this size writes 2 % less, but
/// doubles the wait.
const CHECKPOINT_BYTES: u32 = 2_048_000;
/// The same while the disk may be full before it is next checked: what the WAL holds beyond the file must fit into half
/// of the ballast.
const CAREFUL_CHECKPOINT_BYTES: u32 = 512 << 10;
/// Bytes that the WAL keeps after a checkpoint; a WAL that grew during a long read is truncated to this length.
pub(super) const LOG_ROOM: u64 = 2 * CHECKPOINT_BYTES as u64;
/// Value of `PRAGMA auto_vacuum` for incremental vacuuming.
const INCREMENTAL: i64 = 2;

/// Why a state directory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another agent holds its lock.
    Held {
        /// The state directory.
        dir: PathBuf,
        /// Process id of the other agent, if known.
        pid: Option<u32>,
    },
    /// The file was written by a newer resyncd.
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file has several names (hard links). An agent at another one would not see this one's lock and log.
    Linked {
        /// The file.
        file: PathBuf,
        /// Number of names.
        names: u64,
    },
    /// A query is reading the file; reopening will soon be possible.
    Read,
    /// The file is damaged or not a database.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The evidence.
        why: String,
    },
    /// A file operation failed.
    Io {
        /// The operation.
        doing: &'static str,
        /// Its file or directory.
        path: PathBuf,
        /// The error.
        why: io::Error,
    },
    /// An SQLite call failed.
    Sqlite {
        /// The operation.
        doing: &'static str,
        /// Its file.
        path: PathBuf,
        /// SQLite's message.
        why: String,
        /// The corresponding file system error.
        kind: io::ErrorKind,
    },
}

impl OpenError {
    pub(super) fn io(doing: &'static str, path: &Path, why: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), why }
    }

    /// Returns whether the disk or the database is full.
    #[must_use]
    pub fn is_for_want_of_room(&self) -> bool {
        match self {
            Self::Io { why, .. } => why.kind() == io::ErrorKind::StorageFull,
            Self::Sqlite { kind, .. } => *kind == io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
    pub(super) fn sqlite(doing: &'static str, path: &Path, why: rusqlite::Error) -> Self {
        let (path, text) = (path.to_owned(), why.to_string());
        let kind = match why.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                io::ErrorKind::PermissionDenied
            }
            Some(ErrorCode::DiskFull) => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        if damaged(&why) { Self::Damaged { path, why: text } } else { Self::Sqlite { doing, path, why: text, kind } }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { dir, pid: Some(pid) } => write!(
                f,
                "another resyncd (pid {pid}) holds {}; a directory has one agent. To stop that one: systemctl stop \
                 resyncd, or: kill {pid}",
                dir.display()
            ),
            Self::Held { dir, pid: None } => {
                write!(f, "another resyncd holds {}; a directory has one agent", dir.display())
            }
            Self::Newer { file, found, known } => write!(
                f,
                "{} was written by a newer resyncd (schema {found}, this one knows {known}); it is left untouched. \
                 Install that version again, or move the file away to start with an empty one",
                file.display()
            ),
            Self::Linked { file, names } => write!(
                f,
                "{0} has {names} names (hard links): another agent may use it under another name, and the two would \
                 damage it. Remove the other names (find them: find / -samefile {0}), or make this one a file of \
                 its own: cp -p {0} {0}.copy && mv {0}.copy {0}",
                file.display()
            ),
            Self::Read => f.write_str("a question is being answered from the file"),
            Self::Damaged { path, why } => {
                write!(
                    f,
                    "{} is damaged ({why}); the daemon moves it away and salvages what can be read",
                    path.display()
                )
            }
            Self::Io { doing, path, why } => {
                write!(f, "{doing} {}: {why}{}", path.display(), standing(path, why.kind()))
            }
            Self::Sqlite { doing, path, why, kind } => {
                write!(f, "{doing} {}: {why}{}", path.display(), standing(path, *kind))
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// Converts to the error of a statement that needed the open file.
impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        let words = error.to_string();
        if matches!(error, OpenError::Damaged { .. }) {
            return Self::damaged(&words);
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        Self::Failed(rusqlite::Error::SqliteFailure(code, Some(words)))
    }
}

impl Store {
    /// Opens the state directory for writing, creating it if necessary. Quarantined data is restored first.
    pub fn open(settings: StoreSettings, now: WallTime) -> Result<Self, OpenError> {
        let mut store = Self::open_at_once(settings, now)?;
        while !store.recover(now)? {}
        Ok(store)
    }

    /// Like [`open`](Self::open), but if possible, quarantined data is restored later ([`is_beside`](Self::is_beside)).
    pub fn open_at_once(settings: StoreSettings, now: WallTime) -> Result<Self, OpenError> {
        make_dir(&settings.dir)?;
        let lock = take_lock(&settings)?;
        let mut ballast = Ballast::of(&settings.dir);
        may_write(&settings)?;
        let opened = match connect(&settings, now) {
            // Even opening needs some space.
            Err(OpenError::Sqlite { .. } | OpenError::Io { .. }) if ballast.give_up() => connect(&settings, now)?,
            opened => opened?,
        };
        let Opened { connection, mut ledger, identity, instance, page_size, reserve, mut recovery, doubtful, told } =
            opened;
        let (known, mut keeper) = (Known::read(&settings), Keeper::default());
        let vanished = known.as_ref().and_then(|known| known.misses(&instance, &ledger));
        if let Some(known) = known.as_ref().filter(|_| vanished.is_some()) {
            known.precede(&mut ledger);
        }
        // Without that file the numbers used so far are unknown.
        let beside = known.is_some() && recovery.go_on_beside(&settings, &connection, ledger.next_seq)?;
        let changed = vanished.is_none() && known.is_some_and(|known| known.was_changed(&settings));
        if let Some(vanished) = vanished.filter(|_| recovery.is_over()) {
            keeper.misses(vanished);
        }
        let mut store = Self {
            connection,
            files: Files::of(&settings),
            quarantined: quarantine::untold(&settings)?,
            settings,
            lock,
            door: Door::default(),
            ledger,
            instance,
            keeper,
            before: None,
            rewritten: 0,
            ballast,
            reserve,
            growth: None,
            lengths: Lengths::default(),
            measured: 0,
            bytes: 0,
            extent: u64::MAX,
            written: Written::default(),
            deletions: Deletions::default(),
            identity,
            page_size,
            spare: 0,
            unweighed: u64::MAX,
            careful: false,
            trouble: None,
            condemned: false,
            copying: None,
            recovery,
            untold: Vec::new(),
            strangers: ForeignWrites::at_start(doubtful || changed),
            odd: OddRows::default(),
            search: Search::default(),
            told,
            delivered: super::archive::Appended::default(),
        };
        store.reserve_log();
        archive::mend(&store.settings)?;
        while !beside && !store.recover(now)? {}
        store.measure();
        store.keeper.begin(&store.settings, &store.instance, &store.ledger);
        if store.is_reserved_for_outcomes() {
            store.checkpoint_passive();
        }
        Ok(store)
    }
}

/// Takes the lock of the state directory.
pub(super) fn take_lock(settings: &StoreSettings) -> Result<Lock, OpenError> {
    let lock = Lock::take(&settings.dir).map_err(|error| not_locked(settings, error))?;
    give_to_owner(&settings.dir.join("lock"), &settings.dir)?;
    Ok(lock)
}

pub(super) fn not_locked(settings: &StoreSettings, error: LockError) -> OpenError {
    match error {
        LockError::Held(pid) => OpenError::Held { dir: settings.dir.clone(), pid },
        LockError::Io(why) => OpenError::io("opening", &settings.dir.join("lock"), why),
    }
}

/// Checks that this process may write to all necessary files, and that no other can have the database open under another
/// name. SQLite silently opens a file without write permission for reading; an agent started like that would refuse every
/// record.
pub fn may_write(settings: &StoreSettings) -> Result<(), OpenError> {
    let (file, log) = (settings.file(), settings.log_file());
    let index = settings.dir.join("sync_failures.db-shm");
    let others = ["ballast", "archive", "quarantine"].map(|name| settings.dir.join(name));
    for path in [settings.dir.clone(), file, log, index].iter().chain(&others) {
        let Ok(meta) = fs::symlink_metadata(path) else { continue };
        let wanted =
            if meta.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK | Access::READ_OK };
        accessat(CWD, path, wanted, AtFlags::EACCESS).map_err(|why| OpenError::io("writing to", path, why.into()))?;
    }
    // The lock of the directory does not protect another directory's files.
    match fs::symlink_metadata(settings.file()).map_or(1, |meta| meta.nlink()) {
        0 | 1 => Ok(()),
        names => Err(OpenError::Linked { file: settings.file(), names }),
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|why| OpenError::io("making the state directory", dir, why))
}

/// A verified open file; quarantined data may still have to be restored.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) ledger: Ledger,
    pub(super) identity: Identity,
    /// The id of the database.
    pub(super) instance: String,
    /// Another program has written to it, so numbers were repaired.
    pub(super) doubtful: bool,
    /// Bytes of a page.
    pub(super) page_size: u32,
    pub(super) reserve: Reserve,
    pub(super) recovery: Recovery,
    /// Rows repaired while opening.
    pub(super) told: Vec<TakenOut>,
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

/// All steps after the lock, also used to reopen a store.
pub(super) fn connect(settings: &StoreSettings, now: WallTime) -> Result<Opened, OpenError> {
    make_dir(&settings.dir)?;
    refuse_other_kinds(settings)?;
    let mut opened = match quarantine::resume(settings).and_then(|()| connect_file(settings, now)) {
        Err(OpenError::Damaged { path, why }) => {
            log::error!("event=database_corrupt path={path:?} error={why:?}");
            quarantine::move_files(settings, now)?;
            connect_file(settings, now)?
        }
        connected => connected?,
    };
    (settings.disk.sync_dir)(&settings.dir).map_err(|why| OpenError::io("syncing", &settings.dir, why))?;
    (opened.identity, opened.recovery) = (Identity::seen(settings)?, Recovery::plan(settings)?);
    // A new file that takes the place of a quarantined one continues its numbers, and so it is the same database.
    if opened.recovery.is_untouched() && opened.ledger.next_seq == 1 && opened.ledger.live == 0 {
        let named = instance::continued(&opened.connection, settings);
        opened.instance =
            named.map_err(|why| OpenError::sqlite("naming", &settings.file(), why))?.unwrap_or(opened.instance);
    }
    Ok(opened)
}

/// Loads the agent's own row of an open file, which is the agent's memory and must exist. Also returns what had to be
/// repaired in it.
pub(super) fn load(
    connection: &Connection,
    settings: &StoreSettings,
    now: WallTime,
) -> Result<(Ledger, Option<TakenOut>), OpenError> {
    let (mut ledger, before) = Ledger::load_or_mend(connection).map_err(|why| match why {
        rusqlite::Error::QueryReturnedNoRows => {
            OpenError::Damaged { path: settings.file(), why: "the agent's own row is missing".into() }
        }
        why => OpenError::sqlite("opening", &settings.file(), why),
    })?;
    if ledger.at.wall.as_millis() == 0 {
        ledger.at.wall = now; // Agent time of a new file begins now.
    }
    let Some(before) = before else { return Ok((ledger, None)) };
    let file = odd::keep_row(settings, now, "agent", &before)?;
    ledger.save_mended(connection).map_err(|why| OpenError::sqlite("mending", &settings.file(), why))?;
    Ok((ledger, Some(TakenOut { file, others: 1, ..TakenOut::default() })))
}

/// Fails where another kind of file has the path of one of the database's. To open a pipe would wait for ever.
fn refuse_other_kinds(settings: &StoreSettings) -> Result<(), OpenError> {
    for path in [settings.file(), settings.log_file(), settings.index_file()] {
        if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            return Err(OpenError::io("opening", &path, io::Error::other("it is no regular file")));
        }
    }
    Ok(())
}

fn connect_file(settings: &StoreSettings, now: WallTime) -> Result<Opened, OpenError> {
    let file = settings.file();
    if file.exists() {
        for part in [&file, &settings.log_file()] {
            (settings.disk.evict)(part).map_err(|why| OpenError::io("syncing", part, why))?;
        }
        mend_mode(&file);
        refuse_newer(&file)?;
    } else {
        make_private(&file, &settings.dir)?;
    }
    let opened = |why| OpenError::sqlite("opening", &file, why);
    let mut connection =
        Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(opened)?;
    if connection.is_readonly("main").map_err(opened)? {
        return Err(OpenError::io("writing to", &file, io::ErrorKind::PermissionDenied.into()));
    }
    let page_size = prepare(&connection, settings).map_err(opened)?;
    let mut told: Vec<TakenOut> = migrations::mend(&connection, settings, now)?.into_iter().collect();
    migrations::runner().run(&mut connection).map_err(|why| migrating(&file, &why))?;
    let (mut ledger, mended) = {
        if let Some(why) = migrations::schema_damage(&connection).map_err(opened)? {
            return Err(OpenError::Damaged { path: file, why });
        }
        load(&connection, settings, now)?
    };
    told.extend(mended);
    let instance = match Ledger::instance(&connection).map_err(opened)? {
        Some(instance) => instance,
        None => instance::restored(&connection, settings).map_err(opened)?,
    };
    let mut doubtful = false;
    if !numbers::agree(&connection).map_err(opened)? {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(opened)?;
        numbers::put_right(&change, &mut ledger.next_seq).map_err(opened)?;
        change.commit().map_err(opened)?;
        doubtful = true;
    }
    // The agent writes a row and the next number in one transaction.
    let newest = "SELECT coalesce(max(rowid), 0) FROM sync_failures";
    let newest: i64 = connection.query_row(newest, [], |row| row.get(0)).map_err(opened)?;
    if newest >= ledger.next_seq {
        (ledger.next_seq, doubtful) = (newest.saturating_add(1), true);
    }
    ledger.pass_all(&connection).map_err(opened)?;
    let (identity, recovery) = (Identity::seen(settings)?, Recovery::default());
    let reserve = Reserve::of(&connection).map_err(opened)?;
    Ok(Opened { connection, ledger, identity, instance, doubtful, page_size, reserve, recovery, told })
}

fn migrating(file: &Path, error: &refinery::Error) -> OpenError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<rusqlite::Error>().is_some_and(damaged) {
            return OpenError::Damaged { path: file.to_owned(), why: error.to_string() };
        }
        cause = error.source();
    }
    let doing = "bringing the schema up to date in";
    OpenError::Sqlite { doing, path: file.to_owned(), why: error.to_string(), kind: io::ErrorKind::Other }
}

/// Refuses a schema that this program does not know.
fn refuse_newer(file: &Path) -> Result<(), OpenError> {
    let found = match version_of(file, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        // Power failed during the first start, before the file had its WAL. The next reader rolls the unfinished
        // changes back, for which it needs write access.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
            version_of(file, OpenFlags::SQLITE_OPEN_READ_WRITE)
        }
        found => found,
    };
    let known = newest_version();
    match found.map_err(|why| OpenError::sqlite("reading", file, why))? {
        Some(found) if found > known => Err(OpenError::Newer { file: file.to_owned(), found, known }),
        _ => Ok(()),
    }
}

/// The schema's version; `None`: it has none yet.
fn version_of(file: &Path, how: OpenFlags) -> rusqlite::Result<Option<i64>> {
    let reading = Connection::open_with_flags(file, how)?;
    reading.busy_timeout(BUSY_TIMEOUT)?;
    let exists: bool = reading.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history')",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(None);
    }
    // A newer program's file has all migrations that are known here. If one of them is missing, the version number is
    // damaged and is repaired.
    let known = "SELECT MAX(version) FROM refinery_schema_history WHERE typeof(version) = 'integer' \
                 AND EXISTS (SELECT 1 FROM refinery_schema_history WHERE version = ?1)";
    reading.query_row(known, [newest_version()], |row| row.get(0))
}

/// A database that was copied here, perhaps from a backup, may be readable by others; it contains customers' data.
fn mend_mode(file: &Path) {
    let mode = fs::symlink_metadata(file).map_or(0, |meta| meta.mode());
    let for_others = mode & 0o077;
    if for_others == 0 {
        return;
    }
    let open = private().read(true).open(file);
    match open.and_then(|open| open.set_permissions(fs::Permissions::from_mode(0o600))) {
        Ok(()) => log::warn!("event=mode_mended path={file:?} was={:o} is=600", mode & 0o7777),
        Err(error) => log::warn!("event=mode_not_mended path={file:?} error={:?}", error.to_string()),
    }
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

/// Configures a connection; returns the page size in bytes.
fn prepare(connection: &Connection, settings: &StoreSettings) -> rusqlite::Result<u32> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Otherwise a statement with `LIMIT ?` is compiled again each time that a number is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // auto_vacuum and page_size only take effect before the first table.
    drain(connection, &format!("PRAGMA page_size = {PAGE_SIZE}"))?;
    // Setting it again would write, and on a full disk the agent could not start.
    if connection.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0))? != INCREMENTAL {
        drain(connection, "PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    drain(connection, "PRAGMA synchronous = EXTRA")?;
    drain(connection, "PRAGMA journal_mode = WAL")?;
    let page_size = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    // For migrations and for salvage; afterwards the store runs the checkpoints itself.
    drain(connection, &format!("PRAGMA wal_autocheckpoint = {}", checkpoint_pages(page_size, false)))?;
    drain(connection, &format!("PRAGMA journal_size_limit = {LOG_ROOM}"))?;
    // The hard quota: inserts fail at it, deletions work.
    let pages = hard_limit(&settings.limits) / u64::from(page_size);
    drain(connection, &format!("PRAGMA max_page_count = {}", pages.min(u64::from(u32::MAX - 1))))?;
    // No temporary files on a disk that may be full.
    drain(connection, "PRAGMA temp_store = MEMORY")?;
    drain(connection, "PRAGMA cache_size = -4000")?;
    // A damaged or hostile file must not run code, and damage should be detected early.
    drain(connection, "PRAGMA trusted_schema = OFF")?;
    // Our types enforce the columns' values here; the schema's checks are for other programs. SQLite would build a
    // table of the words for each row that it checks.
    drain(connection, "PRAGMA ignore_check_constraints = ON")?;
    drain(connection, "PRAGMA cell_size_check = ON")?;
    Ok(page_size)
}

/// Number of WAL pages that trigger a checkpoint: fewer if `careful`.
pub(super) fn checkpoint_pages(page_size: u32, careful: bool) -> u32 {
    let bytes = if careful { CAREFUL_CHECKPOINT_BYTES } else { CHECKPOINT_BYTES };
    bytes / page_size
}

/// Runs a PRAGMA and steps it to its end, because only the last step reports whether it worked.
pub(super) fn drain(connection: &Connection, pragma: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(pragma)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use rusqlite::StatementStatus;

    #[test]
    fn numbers_are_bound_without_compiling_a_statement_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::new(dir.path(), &Limits::default());
        let open = connect(&settings, WallTime::from_millis(1_795_500_000_000)).expect("a store");
        let sql = "SELECT rowid FROM sync_failures WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";
        let mut statement = open.connection.prepare_cached(sql).expect("SQL");
        for limit in [10, 20, 30] {
            let found = statement.query_map([0, limit], |row| row.get::<_, i64>(0)).expect("rows");
            assert_eq!(found.count(), 0);
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}

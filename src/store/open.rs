//! How a file becomes a store: lock, evict, connect, migrate, and be sure of it.
//!
//! Each step is here because its absence lost acknowledged records in tests:
//!
//! - The files are fsynced and their cached pages dropped before SQLite sees them ([`Disk`](super::disk::Disk)): after
//!   a kill between write and fsync a row is visible that is not on disk, and a repeated `record`
//!   would be answered "already there". After a failed fsync the kernel calls such pages clean.
//! - Every PRAGMA is stepped to its end ([`drain`]): `journal_mode=WAL` reports an error of its own
//!   commit only on the second step.
//! - `synchronous=EXTRA`, so that even a journal that is not the one we asked for is durable.
//! - A file of a newer version is refused before anything of it is written.
//! - A damaged file is moved to the quarantine, and what can be read of it is salvaged into a new one
//!   before anybody sees that.

use super::archive;
use super::ballast::Ballast;
use super::door::Door;
use super::ledger::Ledger;
use super::lock::{Lock, LockError};
use super::quarantine::{self, Recovery};
use super::steps;
pub use super::steps::newest_version;
use super::strangers::Strangers;
use super::{Store, StoreSettings, damaged, hard_limit, numbers};
use crate::access::standing;
use crate::limits::BUSY_PATIENCE;
use crate::moment::WallTime;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

/// Bytes of a page of a new file: a record changes a few places in as many pages, and each page is
/// written whole. 1024 was slower. A file that is there keeps its own, 4096 before schema 4.
pub const PAGE_SIZE: u32 = 2048;
/// Bytes of pages in the log after which it goes into the file: small, so that a full disk leaves
/// something to reuse and nobody waits long for it, and large enough that a page changed often is written once.
/// Twice as many write 2 % less, and whoever comes meanwhile waits twice as long.
const CHECKPOINT_BYTES: u32 = 2_048_000;
/// The same while the disk may be full before the next look at it: what the log holds more than the file must
/// find room in half of the ballast.
const CAREFUL_CHECKPOINT_BYTES: u32 = 512 << 10;
/// What `PRAGMA auto_vacuum` says when pages are given back step by step.
const INCREMENTAL: i64 = 2;

/// Why a state directory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another agent has it.
    Held {
        /// The state directory.
        dir: PathBuf,
        /// The other's process, when it said so.
        pid: Option<u32>,
    },
    /// The file was written by a newer resyncd.
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// A question is being answered from the file; it is opened again in a moment.
    Read,
    /// It is no database, or a damaged one.
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// The file system said no.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What it said.
        why: io::Error,
    },
    /// SQLite said no.
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What it said.
        why: String,
        /// What that is to a file system.
        kind: io::ErrorKind,
    },
}

impl OpenError {
    pub(super) fn io(doing: &'static str, path: &Path, why: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), why }
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
            Self::Held { dir, pid: Some(pid) } => write!(f, "another resyncd (pid {pid}) holds {}", dir.display()),
            Self::Held { dir, pid: None } => write!(f, "another resyncd holds {}", dir.display()),
            Self::Newer { file, found, known } => write!(
                f,
                "{} was written by a newer resyncd (schema {found}, this one knows {known}); it is left untouched. \
                 Install that version again, or move the file away to start with an empty one",
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

impl Store {
    /// Opens the state directory for writing; makes it when it is missing.
    pub fn open(settings: StoreSettings, now: WallTime) -> Result<Self, OpenError> {
        make_dir(&settings.dir)?;
        let lock_file = settings.dir.join("lock");
        let lock = Lock::take(&lock_file).map_err(|error| match error {
            LockError::Held(pid) => OpenError::Held { dir: settings.dir.clone(), pid },
            LockError::Io(why) => OpenError::io("opening", &lock_file, why),
        })?;
        give_to_owner(&lock_file, &settings.dir)?;
        let mut ballast = Ballast::of(&settings.dir);
        let opened = match connect(&settings, now) {
            // Even opening needs some room.
            Err(OpenError::Sqlite { .. } | OpenError::Io { .. }) if ballast.give_up() => connect(&settings, now)?,
            opened => opened?,
        };
        let Opened { connection, ledger, identity, page_size, recovery } = opened;
        let mut store = Self {
            connection,
            settings,
            lock,
            door: Door::default(),
            ledger,
            before: None,
            ballast,
            identity,
            page_size,
            spare: 0,
            careful: false,
            condemned: false,
            recovery,
            quarantined: Vec::new(),
            strangers: Strangers::default(),
        };
        archive::mend(&store.settings)?;
        while !store.recover(now)? {}
        if store.lacks_room() {
            store.put_log_away();
        }
        Ok(store)
    }
}

fn make_dir(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|why| OpenError::io("making the state directory", dir, why))
}

/// A file that is open, and sure; what was quarantined before may have to be brought back.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) ledger: Ledger,
    pub(super) identity: Identity,
    /// Bytes of a page.
    pub(super) page_size: u32,
    pub(super) recovery: Recovery,
}

/// Which files are open: a path may lead to others one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Device and inode of the database.
    pub(super) file: Option<(u64, u64)>,
    /// The same of its log.
    pub(super) log: Option<(u64, u64)>,
}

impl Identity {
    /// What is there now.
    pub(super) fn of(settings: &StoreSettings) -> Self {
        let look = |path: PathBuf| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        Self { file: look(settings.file()), log: look(settings.log_file()) }
    }
}

/// Everything after the lock, also for a store that is opened again.
pub(super) fn connect(settings: &StoreSettings, now: WallTime) -> Result<Opened, OpenError> {
    make_dir(&settings.dir)?;
    let (connection, ledger, page_size) = match quarantine::resume(settings).and_then(|()| connect_file(settings, now))
    {
        Err(OpenError::Damaged { path, why }) => {
            log::error!("event=database_corrupt path={path:?} error={why:?}");
            quarantine::take_away(settings, now)?;
            connect_file(settings, now)?
        }
        connected => connected?,
    };
    (settings.disk.sync_dir)(&settings.dir).map_err(|why| OpenError::io("syncing", &settings.dir, why))?;
    let (identity, recovery) = (Identity::of(settings), Recovery::plan(settings)?);
    Ok(Opened { connection, ledger, identity, page_size, recovery })
}

/// The agent's own row of an open file. It is the agent's memory; a file without one has lost it.
pub(super) fn load(connection: &Connection, settings: &StoreSettings, now: WallTime) -> Result<Ledger, OpenError> {
    let mut ledger = Ledger::load(connection).map_err(|why| match why {
        rusqlite::Error::QueryReturnedNoRows => {
            OpenError::Damaged { path: settings.file(), why: "the agent's own row is missing".into() }
        }
        why => OpenError::sqlite("opening", &settings.file(), why),
    })?;
    if ledger.at.wall.as_millis() == 0 {
        ledger.at.wall = now; // A new file: its life begins now.
    }
    Ok(ledger)
}

fn connect_file(settings: &StoreSettings, now: WallTime) -> Result<(Connection, Ledger, u32), OpenError> {
    let file = settings.file();
    let mut found = None;
    if file.exists() {
        for part in [&file, &settings.log_file()] {
            (settings.disk.evict)(part).map_err(|why| OpenError::io("syncing", part, why))?;
        }
        found = refuse_newer(&file)?;
    } else {
        make_private(&file, &settings.dir)?;
    }
    let opened = |why| OpenError::sqlite("opening", &file, why);
    let mut connection =
        Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(opened)?;
    let page_size = prepare(&connection, settings).map_err(opened)?;
    if let Some(from) = found.filter(|found| *found < newest_version()) {
        // With a million failures it takes half a minute.
        log::info!("event=schema_update from={from} to={}", newest_version());
    }
    steps::runner().run(&mut connection).map_err(|why| migrating(&file, &why))?;
    let mut ledger = load(&connection, settings, now)?;
    if !numbers::agree(&connection).map_err(opened)? {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(opened)?;
        numbers::put_right(&change, &mut ledger.next_seq).map_err(opened)?;
        change.commit().map_err(opened)?;
    }
    Ok((connection, ledger, page_size))
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

/// The schema's version, which is one that is known here; `None`: it has none yet.
fn refuse_newer(file: &Path) -> Result<Option<i64>, OpenError> {
    let found = match version_of(file, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        // The power went in the first start, before the file had its log: what was half done there is
        // rolled back by whoever reads it next, and that takes a hand that may write.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
            version_of(file, OpenFlags::SQLITE_OPEN_READ_WRITE)
        }
        found => found,
    };
    let known = newest_version();
    match found.map_err(|why| OpenError::sqlite("reading", file, why))? {
        Some(found) if found > known => Err(OpenError::Newer { file: file.to_owned(), found, known }),
        found => Ok(found),
    }
}

/// The schema's version; `None`: it has none yet.
fn version_of(file: &Path, how: OpenFlags) -> rusqlite::Result<Option<i64>> {
    let reading = Connection::open_with_flags(file, how)?;
    reading.busy_timeout(BUSY_PATIENCE)?;
    let exists: bool = reading.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history')",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(None);
    }
    reading.query_row("SELECT MAX(version) FROM refinery_schema_history", [], |row| row.get(0))
}

/// Makes an empty file that only its owner reads, before SQLite makes one by the umask.
pub(super) fn make_private(file: &Path, dir: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file);
    made.map_err(|why| OpenError::io("making", file, why))?;
    give_to_owner(file, dir)
}

/// A root who records without the daemon must not leave files that the daemon cannot open.
pub(super) fn give_to_owner(file: &Path, dir: &Path) -> Result<(), OpenError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let meta = fs::metadata(dir).map_err(|why| OpenError::io("reading", dir, why))?;
    chown(file, Some(meta.uid()), Some(meta.gid())).map_err(|why| OpenError::io("giving away", file, why))
}

/// Says to a connection all that it must know; the bytes of a page come back.
fn prepare(connection: &Connection, settings: &StoreSettings) -> rusqlite::Result<u32> {
    connection.busy_timeout(BUSY_PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Else a statement with `LIMIT ?` is compiled anew each time that a number is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // auto_vacuum and page_size only take effect before the first table.
    drain(connection, &format!("PRAGMA page_size = {PAGE_SIZE}"))?;
    // Setting it again would write, and a full disk would keep an agent from its start.
    if connection.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0))? != INCREMENTAL {
        drain(connection, "PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    drain(connection, "PRAGMA synchronous = EXTRA")?;
    drain(connection, "PRAGMA journal_mode = WAL")?;
    let page_size = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    checkpoint_after(connection, page_size, false)?;
    // A log that a long reader made large shrinks again.
    drain(connection, &format!("PRAGMA journal_size_limit = {}", 2 * CHECKPOINT_BYTES))?;
    // The hard quota: inserts fail at it, deletions work.
    let pages = hard_limit(&settings.limits) / u64::from(page_size);
    drain(connection, &format!("PRAGMA max_page_count = {}", pages.min(u64::from(u32::MAX - 1))))?;
    // No temporary files on a disk that may be full.
    drain(connection, "PRAGMA temp_store = MEMORY")?;
    drain(connection, "PRAGMA cache_size = -4000")?;
    // A damaged or hostile file runs nothing of its own, and damage is seen early.
    drain(connection, "PRAGMA trusted_schema = OFF")?;
    // What a column may hold is held by our types here; against others the schema holds it. SQLite builds a
    // table of the words anew for each row that it checks.
    drain(connection, "PRAGMA ignore_check_constraints = ON")?;
    drain(connection, "PRAGMA cell_size_check = ON")?;
    Ok(page_size)
}

/// When the log goes into the file: the sooner, the more `careful`.
pub(super) fn checkpoint_after(connection: &Connection, page_size: u32, careful: bool) -> rusqlite::Result<()> {
    let bytes = if careful { CAREFUL_CHECKPOINT_BYTES } else { CHECKPOINT_BYTES };
    drain(connection, &format!("PRAGMA wal_autocheckpoint = {}", bytes / page_size))
}

/// Runs a PRAGMA and steps it until no row is left; only the last step tells whether it worked.
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

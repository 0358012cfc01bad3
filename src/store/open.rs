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
use super::files::{Files, Identity, Lengths, give_to_owner, make_dir, make_private};
use super::foreign_objects;
use super::foreign_writes::ForeignWrites;
use super::instance::{self, Keeper, Known};
use super::lock::{Lock, LockError};
use super::migrations;
pub use super::migrations::newest_version;
use super::odd::{self, Search, TakenOut};
use super::open_error::OpenError;
use super::pragma::{LOG_ROOM, PAGE_SIZE, checkpoint_pages, drain};
use super::quarantine::{self, Recovery};
use super::reader_gate::Door;
use super::reserve::Reserve;
use super::wal;
use super::written::Written;
use super::{Deletions, Store, StoreSettings, damaged, hard_limit, numbers};
use crate::limits::BUSY_TIMEOUT;
use crate::moment::WallTime;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Value of `PRAGMA auto_vacuum` for incremental vacuuming.
const INCREMENTAL: i64 = 2;

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
        let log = settings.log_file();
        if wal::has_lost_its_header(&log) {
            return Err(OpenError::Damaged { path: log, why: "its header is damaged".to_owned() });
        }
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
    let mut doubtful = foreign_objects::remove(&connection, settings).map_err(opened)?;
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
    // Nor may a table of another program that refers to ours keep a delivered failure from being removed.
    drain(connection, "PRAGMA foreign_keys = OFF")?;
    // Our types enforce the columns' values here; the schema's checks are for other programs. SQLite would build a
    // table of the words for each row that it checks.
    drain(connection, "PRAGMA ignore_check_constraints = ON")?;
    drain(connection, "PRAGMA cell_size_check = ON")?;
    Ok(page_size)
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

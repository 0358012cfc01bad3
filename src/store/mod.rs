//! The SQLite file: the one place where a failure is kept.
//!
//! A [`Store`] is the writing side. Everything that changes happens between [`Store::begin`] and
//! [`Store::commit`]; a `commit` that returns `Ok` means that it is on disk, synced. What a round
//! read before its commit must not be acted on in the outside world before that.
//!
//! Each file here holds one table's statements beside the one function that runs each:
//! [`failures`], [`attempts`], [`keys`], [`audit`], [`upstreams`], [`alerts`], [`series`], [`ledger`] (the agent's own row);
//! [`retention`] is what the clean-up asks and takes away, [`archive`] where it goes;
//! [`open`] is how a file becomes a store, [`numbers`] keeps rows under their failures' numbers,
//! [`quarantine`] is where a damaged file goes, [`reader`] the read-only side for questions that may take
//! long.
//!
//! It decides nothing about delivery and knows no clock: `now` comes in.

pub mod alerts;
pub mod archive;
pub mod attempts;
pub mod audit;
pub mod backup;
pub mod ballast;
pub mod check;
pub mod digest;
pub mod disk;
pub mod door;
pub mod editing;
pub mod failures;
pub mod filter;
pub mod history;
pub mod importing;
pub mod keys;
pub mod ledger;
pub mod lock;
pub mod measure;
pub mod numbers;
pub mod open;
pub mod quarantine;
pub mod reader;
pub mod retention;
pub mod rows;
pub mod salvage;
pub mod series;
pub mod statistics;
mod steps;
pub mod strangers;
pub mod upstreams;

use crate::config::{Config, Route};
use crate::limits::{BUSY_PATIENCE, Limits, OUTCOME_ROOM, SCARCE_DISK, SUDDEN_DISK};
use crate::moment::{Moment, WallTime};
use ballast::Ballast;
use disk::Disk;
use door::Door;
use ledger::Ledger;
use lock::Lock;
use open::{Identity, OpenError, Opened};
use quarantine::{Quarantined, Recovery};
use rusqlite::{Connection, ErrorCode};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use strangers::Strangers;

/// Where the file is and how large it may get.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The state directory.
    pub dir: PathBuf,
    /// Bounds of the database and of the disk.
    pub limits: Limits,
    /// What is under it.
    pub disk: Disk,
    /// Which failures are held when they may have arrived; salvaged ones may.
    pub routes: Vec<Route>,
}

impl StoreSettings {
    /// On the machine's own disk.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, limits: &Limits) -> Self {
        Self { dir: dir.into(), limits: limits.clone(), disk: Disk::default(), routes: Vec::new() }
    }

    /// As the configuration says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { routes: config.routes.clone(), ..Self::new(&config.agent.state_dir, &config.limits) }
    }

    /// The database file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.join("sync_failures.db")
    }

    /// SQLite's log of what is not yet in the file.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("sync_failures.db-wal")
    }
}

/// A statement, or the commit, did not succeed: nothing of the round is certain to be stored.
#[derive(Debug)]
pub enum StoreError {
    /// No room: the disk is full or the file is at its hard limit. Nothing was stored.
    Full(rusqlite::Error),
    /// Somebody else holds the write lock for longer than a second. Nothing was stored.
    Locked(rusqlite::Error),
    /// The file is damaged: it goes to the quarantine when it is opened again.
    Damaged(rusqlite::Error),
    /// The file that is open is no longer the one at its path: what was written went into the void.
    Replaced,
    /// Anything else; a commit that failed may have reached the disk all the same.
    Failed(rusqlite::Error),
}

/// Does SQLite say that the file is damaged, or no database at all?
fn damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if damaged(&error) => Self::Damaged(error),
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(error),
            _ => Self::Failed(error),
        }
    }
}

impl StoreError {
    /// Damage that shows in another way than by an error of SQLite.
    #[must_use]
    pub fn damaged(how: &str) -> Self {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Self::Damaged(rusqlite::Error::SqliteFailure(code, Some(how.to_owned())))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => write!(f, "no room for the database: {error}"),
            Self::Locked(error) => write!(f, "another program holds the database's write lock: {error}"),
            Self::Damaged(error) => write!(f, "the database is damaged: {error}"),
            Self::Replaced => f.write_str("the database was deleted or replaced by another program"),
            Self::Failed(error) => write!(f, "the database could not be written: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The open database of a running agent.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    settings: StoreSettings,
    lock: Lock,
    door: Door,
    ledger: Ledger,
    /// The ledger as it was at the last commit, while a round is open.
    before: Option<Ledger>,
    ballast: Ballast,
    /// Which files are open.
    identity: Identity,
    /// Bytes of a page of the file.
    page_size: u32,
    /// Bytes that records and their history may take before the quota is looked at again.
    spare: u64,
    /// The disk may be full before the next look at it, so the log goes into the file early.
    careful: bool,
    /// The file was found damaged, and closed, and is still at its path.
    condemned: bool,
    /// What is still to be brought back.
    recovery: Recovery,
    /// Quarantines that were salvaged and not told of yet.
    quarantined: Vec<Quarantined>,
    strangers: Strangers,
}

/// What the quota says to one more failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Enough,
    /// `limits.max_failures` are live.
    TooMany,
    /// The pages in use reach `limits.max_database`.
    TooLarge,
}

impl Store {
    /// Opens a round, unless one is open. Takes the write lock, so that nothing fails later for
    /// want of it.
    pub fn begin(&mut self) -> Result<(), StoreError> {
        while self.before.is_none() {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.before = Some(self.ledger.clone());
            self.look_for_strangers()?;
            if self.take_stock()? {
                self.before = Some(self.ledger.clone());
            } else {
                numbers::put_right(&self.connection, &mut self.ledger.next_seq)?;
                // For itself, so that it stays whatever becomes of the round.
                self.connection.prepare_cached("COMMIT")?.execute([])?;
                self.before = None;
            }
        }
        Ok(())
    }

    /// What is read until [`end_look`](Self::end_look) is read at once: the file is locked for it one time, and not
    /// by every statement. No round is open.
    pub fn begin_look(&self) -> Result<(), StoreError> {
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(())
    }

    /// Ends what [`begin_look`](Self::begin_look) began; after an error SQLite may have done so already.
    pub fn end_look(&self) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Is a round open?
    #[must_use]
    pub fn is_in_round(&self) -> bool {
        self.before.is_some()
    }

    /// Ends the round: `Ok` means that all of it is on disk, synced. Without an open round there
    /// is nothing to do. After an error the round is undone here, and perhaps not on disk.
    pub fn commit(&mut self, now: Moment) -> Result<(), StoreError> {
        if self.before.is_none() {
            return Ok(());
        }
        let done = self.write_and_commit(now);
        match done {
            Ok(()) => self.before = None,
            Err(_) => self.rollback(),
        }
        done
    }

    fn write_and_commit(&mut self, now: Moment) -> Result<(), StoreError> {
        self.ledger.advance(now);
        self.ledger.save(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        if Identity::of(&self.settings) == self.identity { Ok(()) } else { Err(StoreError::Replaced) }
    }

    /// Undoes the open round.
    pub fn rollback(&mut self) {
        if let Some(ledger) = self.before.take() {
            self.ledger = ledger;
            if !self.connection.is_autocommit() {
                // SQLite may have rolled back by itself already; a connection that cannot roll
                // back is unusable, and the next `begin` says so.
                if let Err(error) = self.connection.execute_batch("ROLLBACK") {
                    log::error!("event=rollback_failed error={:?}", error.to_string());
                }
            }
        }
    }

    /// Closes the file and opens it anew after it failed: what the kernel only seems to have
    /// written is put away first ([`Disk`]). A damaged file goes to the quarantine. What is open and
    /// no longer at its path is copied there first, for nobody else can read it. The lock is kept.
    /// [`recover`](Self::recover) does the rest.
    pub fn reopen(&mut self, now: WallTime, damaged: bool) -> Result<(), OpenError> {
        self.rollback();
        let door = self.door.clone();
        let _shut = door.shut().ok_or(OpenError::Read)?;
        if self.is_open() {
            let there = Identity::of(&self.settings);
            let replaced = there.file != self.identity.file;
            if replaced || (there.log != self.identity.log && !self.checkpoint()) {
                self.save_what_is_open(now)?;
            }
            self.condemned = damaged && !replaced;
            self.close_file()?;
        }
        if self.condemned {
            quarantine::take_away(&self.settings, now)?;
            self.condemned = false;
        }
        let Opened { connection, ledger, identity, page_size, recovery } = open::connect(&self.settings, now)?;
        (self.connection, self.identity, self.recovery) = (connection, identity, recovery);
        (self.page_size, self.spare, self.careful) = (page_size, 0, false);
        self.strangers = Strangers::default();
        self.go_on_from(&ledger);
        Ok(())
    }

    /// Brings back a part of what was quarantined; `true`: that was all. Until then nothing may be
    /// written; after an error it is to be opened anew.
    pub fn recover(&mut self, now: WallTime) -> Result<bool, OpenError> {
        if self.recovery.is_over() {
            return Ok(true);
        }
        if let Some(done) = self.recovery.step(&self.settings, &self.connection, now)? {
            self.quarantined.push(done);
            self.go_on_from(&open::load(&self.connection, &self.settings, now)?);
        }
        Ok(self.recovery.is_over())
    }

    /// Takes the ledger of the file; what was lost of it is still known here.
    fn go_on_from(&mut self, ledger: &Ledger) {
        let agent = self.ledger.at.agent.max(ledger.at.agent);
        let next_seq = self.ledger.next_seq.max(ledger.next_seq);
        self.ledger = Ledger { at: Moment { agent, wall: ledger.at.wall }, next_seq, live: ledger.live };
    }

    fn is_open(&self) -> bool {
        self.connection.path().is_some_and(|path| !path.is_empty())
    }

    /// Puts all of the log into the file; `false` where that did not succeed.
    fn checkpoint(&self) -> bool {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = self.connection.query_row(sql, [], |row| row.get::<_, bool>(0));
        busy.is_ok_and(|busy| !busy)
    }

    fn close_file(&mut self) -> Result<(), OpenError> {
        let placeholder =
            Connection::open_in_memory().map_err(|why| OpenError::sqlite("reopening", &self.settings.file(), why))?;
        drop(std::mem::replace(&mut self.connection, placeholder));
        Ok(())
    }

    fn save_what_is_open(&self, now: WallTime) -> Result<(), OpenError> {
        log::error!("event=database_replaced path={:?}", self.settings.file());
        match quarantine::copy(&self.settings, &self.connection, now) {
            // What is deleted and damaged as well cannot be read by anybody.
            Err(OpenError::Damaged { path, why }) => {
                log::error!("event=database_lost path={path:?} error={why:?}");
                Ok(())
            }
            copied => copied,
        }
    }

    /// Quarantines that were salvaged since this was asked last.
    pub fn take_quarantined(&mut self) -> Vec<Quarantined> {
        std::mem::take(&mut self.quarantined)
    }

    /// Is there room for one more failure? Pages are counted anew when what was written since may have filled
    /// what was free, or 4 MiB: SQLite compiles the question each time that it is asked.
    pub fn room(&mut self) -> Result<Room, StoreError> {
        const MOST_SPARE: u64 = 4 << 20;
        if self.ledger.live >= self.settings.limits.max_failures {
            return Ok(Room::TooMany);
        }
        if self.spare == 0 {
            let pages = self.number("PRAGMA page_count")? - self.number("PRAGMA freelist_count")?;
            let bytes = u64::try_from(pages).unwrap_or(0) * u64::from(self.page_size);
            self.spare = self.settings.limits.max_database.saturating_sub(bytes).min(MOST_SPARE);
        }
        Ok(if self.spare == 0 { Room::TooLarge } else { Room::Enough })
    }

    /// A row with so many bytes takes no more than this: a page of each of its b-trees may part in two, and their
    /// parents.
    fn spend(&mut self, bytes: usize) {
        self.spare = self.spare.saturating_sub(2 * bytes as u64 + 16 * u64::from(self.page_size));
    }

    /// Gives pages that deletions left free back to the file system, a few at a time, inside the
    /// open round: the file shrinks again, and no round is long.
    pub fn shrink(&mut self) -> Result<(), StoreError> {
        /// Free bytes that are kept for the next records.
        const KEPT: i64 = 1 << 20;
        const AT_ONCE: i64 = 512 << 10;
        let (free, all) = (self.number("PRAGMA freelist_count")?, self.number("PRAGMA page_count")?);
        let page = i64::from(self.page_size);
        if free > KEPT / page && free > all / 4 {
            open::drain(&self.connection, &format!("PRAGMA incremental_vacuum({})", AT_ONCE / page))?;
        }
        Ok(())
    }

    fn number(&self, sql: &str) -> Result<i64, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// So many bytes are free on the disk. While they are few the log goes into the file, which may be
    /// unable to grow later.
    pub fn disk_has(&mut self, free: u64) {
        self.ballast.keep(free);
        let careful = free < SUDDEN_DISK;
        if careful != self.careful && self.before.is_none() {
            match open::checkpoint_after(&self.connection, self.page_size, careful) {
                Ok(()) => self.careful = careful,
                Err(error) => log::warn!("event=checkpoint_not_set error={:?}", error.to_string()),
            }
        }
        if free < SCARCE_DISK.max(self.settings.limits.min_free_disk) && self.before.is_none() {
            self.put_log_away();
        }
    }

    /// The disk is full and outcomes cannot be written: gives up the ballast, and puts the log into the
    /// file, so that the log begins anew in the room that it has. Is there more room than before?
    pub fn make_room(&mut self) -> bool {
        self.rollback();
        let given_up = self.ballast.give_up();
        self.put_log_away();
        given_up
    }

    /// Must what room there is be left to outcomes?
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.ballast.is_missing()
    }

    /// As far as readers let it, and without waiting for them.
    fn put_log_away(&self) {
        if let Err(error) = open::drain(&self.connection, "PRAGMA wal_checkpoint(PASSIVE)") {
            log::warn!("event=log_not_put_away error={:?}", error.to_string());
        }
    }

    /// Makes the log's file empty; false while somebody reads from it. Waits for nobody.
    pub fn empty_log(&mut self) -> Result<bool, StoreError> {
        if self.before.is_some() {
            return Ok(false);
        }
        self.connection.busy_timeout(Duration::ZERO)?;
        let busy = self.number("PRAGMA wal_checkpoint(TRUNCATE)");
        self.connection.busy_timeout(BUSY_PATIENCE)?;
        match busy {
            Err(StoreError::Locked(_)) => Ok(false),
            busy => Ok(busy? == 0),
        }
    }

    /// Readers in this process go through it.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// The agent's own row.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where it is.
    #[must_use]
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Ends the work with the file: what is in the log goes into the file, so that a copy of it is
    /// whole. The lock goes last.
    /// Where the file is no longer at its path, what it holds is copied, for the next start.
    pub fn close(self) -> Result<(), StoreError> {
        if self.is_open() && Identity::of(&self.settings).file != self.identity.file {
            let fails = |error: OpenError| log::error!("event=database_lost error={:?}", error.to_string());
            self.save_what_is_open(self.ledger.at.wall).unwrap_or_else(fails);
        }
        let Self { connection, lock, .. } = self;
        match open::drain(&connection, "PRAGMA wal_checkpoint(TRUNCATE)").map_err(StoreError::from) {
            // What is in the log is as safe there, and the next start finds it.
            Err(error @ StoreError::Full(_)) => log::warn!("event=log_not_put_away error={:?}", error.to_string()),
            emptied => emptied?,
        }
        connection.close().map_err(|(_, error)| error)?;
        drop(lock);
        Ok(())
    }
}

/// Bytes at which the file refuses to grow: the soft quota and room for outcomes.
#[must_use]
pub fn hard_limit(limits: &Limits) -> u64 {
    limits.max_database.saturating_add(OUTCOME_ROOM)
}

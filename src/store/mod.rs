//! The SQLite file: the only place where failures are stored.
//!
//! A [`Store`] is the writer. All changes happen between [`Store::begin`] and [`Store::commit`]; if `commit` returns
//! `Ok`, they are on disk, synced. Data that a round has read must have no external effect before its commit.
//!
//! Each file here contains one table's statements, each beside the one function that runs it: [`failures`],
//! [`attempts`], [`keys`], [`audit`], [`upstreams`], [`alerts`], [`series`], [`agent_row`] (the agent's own row).
//! `reserve` keeps space for outcomes; [`retention`] has the queries of the retention, [`archive`] its files; [`open`]
//! turns a file into a store; [`numbers`] keeps rows under their failures' numbers; [`quarantine`] is for damaged
//! files; [`reader`] is the read-only side for long queries.
//!
//! The store makes no decision about delivery and reads no clock: the caller passes `now`.

pub mod agent_row;
pub mod alerts;
pub mod archive;
pub mod attempts;
pub mod audit;
pub mod backup;
pub mod ballast;
mod canonical;
mod cells;
pub mod check;
pub mod checksum;
pub mod digest;
pub mod disk;
pub mod editing;
pub mod failures;
mod files;
pub mod filter;
mod foreign_objects;
pub mod foreign_writes;
pub mod history;
pub mod importing;
pub mod instance;
pub mod keys;
pub mod lock;
pub mod measure;
mod migrations;
pub mod numbers;
pub mod odd;
pub mod open;
pub mod open_error;
mod own;
mod pragma;
pub mod quarantine;
pub mod reader;
pub mod reader_gate;
mod reserve;
pub mod retention;
pub mod rows;
pub mod salvage;
pub mod series;
mod shape;
pub mod statistics;
pub mod upstreams;
mod wal;
mod written;

use crate::config::{Config, Route};
use crate::limits::{
    BUSY_TIMEOUT, CHECKPOINT_EARLY_BELOW, DISK_CHECK_MARGIN, HISTORY_GAP, Limits, OUTCOME_ROOM, ROUND_PAYLOADS,
};
use crate::moment::{AgentTime, Moment, WallTime};
use agent_row::Ledger;
use ballast::Ballast;
use cells::{OddRows, is_odd};
use disk::Disk;
use files::{Files, Identity, Lengths};
use foreign_writes::ForeignWrites;
use instance::{Keeper, Known};
use lock::Lock;
use odd::{Search, TakenOut};
use open::Opened;
use open_error::OpenError;
use quarantine::{Copied, Copy, Quarantined, Recovery};
use reader_gate::Door;
use reserve::Reserve;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;
use written::{FRAME_HEADER, Written};

/// Place and limits of the store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The state directory.
    pub dir: PathBuf,
    /// Limits of the database and of the disk.
    pub limits: Limits,
    /// The file operations under the store.
    pub disk: Disk,
    /// Routes decide which salvaged failures are held, because all of them may have arrived.
    pub routes: Vec<Route>,
    /// Triggers of other programs stay. Only tests set this, which make statements fail by a trigger.
    pub keep_triggers: bool,
}

impl StoreSettings {
    /// Settings for the machine's own disk.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, limits: &Limits) -> Self {
        Self {
            dir: dir.into(),
            limits: limits.clone(),
            disk: Disk::default(),
            routes: Vec::new(),
            keep_triggers: false,
        }
    }

    /// Settings from the configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { routes: config.routes.clone(), ..Self::new(&config.agent.state_dir, &config.limits) }
    }

    /// The database file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.join("sync_failures.db")
    }

    /// SQLite's WAL file.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("sync_failures.db-wal")
    }

    /// The index of the WAL (`-shm`).
    #[must_use]
    pub fn index_file(&self) -> PathBuf {
        self.dir.join("sync_failures.db-shm")
    }
}

/// A statement or the commit failed: the round may not be stored.
#[derive(Debug)]
pub enum StoreError {
    /// The disk is full or the file is at its hard limit. Nothing was stored.
    Full(rusqlite::Error),
    /// Another process held the write lock for longer than a second. Nothing was stored.
    Locked(rusqlite::Error),
    /// The file is damaged; reopening moves it to the quarantine.
    Damaged(rusqlite::Error),
    /// The open file is no longer the one at its path: writes since then are not in the current file.
    Replaced,
    /// A row contains values that the agent never wrote. The file is sound: the row is moved out of the way ([`odd`]),
    /// and everything else continues.
    Odd {
        /// The value that could not be read.
        why: String,
        /// Rowids of failures; empty if the row is unknown.
        failures: Vec<i64>,
    },
    /// Such a row could not be copied to the quarantine, so it stays in place. Nothing was stored.
    NotKept(Box<OpenError>),
    /// Any other error; a failed commit may have reached the disk anyway.
    Failed(rusqlite::Error),
}

/// Returns whether SQLite reports that the file is damaged or not a database.
fn damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Returns whether a table, a column or an index is missing: another program has changed the schema. SQLite has no code
/// of its own for this.
fn lacks_schema(error: &rusqlite::Error) -> bool {
    let text = match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text,
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        _ => return false,
    };
    ["no such table", "no such column", "no such index"].iter().any(|lacks| text.starts_with(lacks))
        || text.contains(" has no column named ")
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if damaged(&error) || lacks_schema(&error) => Self::Damaged(error),
            _ if is_odd(&error) => Self::Odd { why: error.to_string(), failures: Vec::new() },
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(error),
            _ => Self::Failed(error),
        }
    }
}

impl StoreError {
    /// Damage that SQLite does not report as an error.
    #[must_use]
    pub fn damaged(how: &str) -> Self {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Self::Damaged(rusqlite::Error::SqliteFailure(code, Some(how.to_owned())))
    }

    /// A failure that does not come from SQLite.
    #[must_use]
    pub fn failed(how: &str) -> Self {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR);
        Self::Failed(rusqlite::Error::SqliteFailure(code, Some(how.to_owned())))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => write!(f, "no room for the database: {error}"),
            Self::Locked(error) => write!(f, "another program holds the database's write lock: {error}"),
            Self::Damaged(error) => write!(f, "the database is damaged: {error}"),
            Self::Replaced => f.write_str("the database was deleted or replaced by another program"),
            Self::Odd { why, .. } => {
                write!(f, "a row of the database is damaged ({why}) and is being moved to the quarantine")
            }
            Self::NotKept(error) => write!(f, "a damaged row could not be moved to the quarantine: {error}"),
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
    /// The id of the database.
    instance: String,
    keeper: Keeper,
    /// The ledger at the last commit, while a round is open.
    before: Option<Ledger>,
    /// Bytes of the payloads of rows that bulk work has changed in the open round.
    rewritten: usize,
    ballast: Ballast,
    reserve: Reserve,
    /// A descriptor of the database's file for allocating space; never closed before the connection.
    growth: Option<File>,
    files: Files,
    /// Identity of the open files.
    identity: Identity,
    /// Their lengths after the last write.
    lengths: Lengths,
    /// Bytes of both when the disk was last measured, and now.
    measured: u64,
    bytes: u64,
    /// Bytes of the file's pages at the last commit; blocks allocated beyond them may be cut off.
    extent: u64,
    written: Written,
    deletions: Deletions,
    /// Bytes of a page of the file.
    page_size: u32,
    /// Bytes that can be written before free pages must be recounted.
    spare: u64,
    /// Bytes written since the last check whether history has to be deleted.
    unweighed: u64,
    /// The disk may be full before it is next checked, so checkpoints come earlier.
    careful: bool,
    /// The error of the last checkpoint, if the file must be reopened.
    trouble: Option<StoreError>,
    /// The file was found damaged and was closed, and is still at its path.
    condemned: bool,
    /// The open file is no longer at its path and is being copied; the copy has the connection meanwhile.
    copying: Option<Copy>,
    /// Quarantines still to be restored.
    recovery: Recovery,
    /// Salvaged quarantines that were not reported yet.
    quarantined: Vec<Quarantined>,
    /// Quarantines that people were not told of yet.
    untold: Vec<PathBuf>,
    strangers: ForeignWrites,
    /// Rows that could not be read.
    odd: OddRows,
    search: Search,
    /// Rows moved out of the way that were not reported yet.
    told: Vec<TakenOut>,
    /// Where the archive of delivered failures ends, and what the open round has appended to it.
    delivered: archive::Appended,
}

/// Rounds with deletions since it was last asked whether the file can shrink, and when that was; `None`: the next one
/// asks.
#[derive(Clone, Copy, Debug, Default)]
struct Deletions {
    rounds: u32,
    looked: Option<AgentTime>,
}

/// Result of a quota check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// One more failure fits.
    Enough,
    /// The number of live failures has reached `limits.max_failures`.
    TooMany,
    /// The pages in use have reached `limits.max_database`.
    TooLarge,
}

impl Store {
    /// Opens a round, unless one is open. Takes the write lock, so that no later statement fails for lack of it.
    pub fn begin(&mut self) -> Result<(), StoreError> {
        while self.before.is_none() {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.before = Some(self.ledger.clone());
            self.rewritten = 0;
            self.written.begin(self.connection.total_changes());
            self.check_foreign_writes()?;
            if self.reload_counters()? {
                self.before = Some(self.ledger.clone());
            } else {
                self.repair()?;
                // In a transaction of its own, so that it persists if the round fails.
                self.connection.prepare_cached("COMMIT")?.execute([])?;
                self.before = None;
            }
        }
        Ok(())
    }

    /// Opens a read transaction until [`end_read`](Self::end_read), so that the file is locked once and not by every
    /// statement. No round is open.
    pub fn begin_read(&self) -> Result<(), StoreError> {
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(())
    }

    /// Ends the transaction of [`begin_read`](Self::begin_read), which SQLite may have ended already after an error.
    pub fn end_read(&self) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Returns whether a round is open.
    #[must_use]
    pub fn is_in_round(&self) -> bool {
        self.before.is_some()
    }

    /// Ends the round: `Ok` means that all of it is on disk, synced. Does nothing without an open round. After an error
    /// the round is undone in memory, and may or may not be on disk.
    pub fn commit(&mut self, now: Moment) -> Result<(), StoreError> {
        if self.before.is_none() {
            return Ok(());
        }
        let done = self.write_and_commit(now);
        match done {
            Ok(()) => {
                self.before = None;
                self.keeper.committed(&self.settings, &self.instance, &self.ledger);
                self.look_after_log();
            }
            Err(_) => self.rollback(),
        }
        done
    }

    /// Checkpoints a long WAL. SQLite's own checkpoint drops errors. A checkpoint beside a reader writes pages to the
    /// file without a sync; the next complete checkpoint syncs them, and SQLite does not write them a second time. If
    /// that sync fails, the kernel marks the pages clean although they are not on disk, and the WAL is their only copy.
    /// So the WAL must not be reset before the file is reopened.
    fn look_after_log(&mut self) {
        if !self.recovery.is_over() {
            return; // SQLite still runs automatic checkpoints.
        }
        let page = u64::from(self.page_size);
        let most = u64::from(pragma::checkpoint_pages(self.page_size, self.careful));
        if self.written.log_at_most(0).is_some_and(|bytes| bytes < most * page) {
            return;
        }
        let pages = |row: &rusqlite::Row| Ok((row.get::<_, u64>(1)?, row.get::<_, u64>(2)?));
        let noop = "PRAGMA wal_checkpoint(NOOP)";
        let seen = self.connection.prepare_cached(noop).and_then(|mut look| look.query_row([], pages));
        self.written.log_is(seen.as_ref().ok().map(|(log, _)| log * (page + FRAME_HEADER)));
        if seen.is_ok_and(|(log, in_file)| log >= most && log > in_file) {
            self.checkpoint_passive();
        }
    }

    /// Takes the error of a checkpoint after which the file must be reopened; all commits are on disk.
    pub fn take_trouble(&mut self) -> Option<StoreError> {
        self.trouble.take()
    }

    fn write_and_commit(&mut self, now: Moment) -> Result<(), StoreError> {
        self.ledger.advance(now);
        self.ledger.save(&self.connection)?;
        self.wrote(1, 0);
        let most = self.written.bytes_at_most(self.connection.total_changes());
        if self.lengths.are_cut(self.files.lengths()) {
            self.files.look()?; // Or they cannot be seen.
            return Err(StoreError::Replaced);
        }
        self.reserve_growth(most)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.written.commits(most);
        let (identity, lengths) = self.files.look()?;
        self.written.allocated_at_most(lengths.file);
        self.bytes = lengths.total();
        // The sync of a commit takes long enough for another program to cut a file off meanwhile.
        let whole = !self.lengths.are_cut_by_another(lengths);
        self.lengths = lengths.within(self.extent);
        if whole && identity == self.identity { Ok(()) } else { Err(StoreError::Replaced) }
    }

    /// Returns whether bulk work has changed as many bytes as one round may: the rest belongs to the next round.
    #[must_use]
    pub fn is_round_full(&self) -> bool {
        self.rewritten >= ROUND_PAYLOADS
    }

    /// Runs a statement that returns the length of the payload of each row it changes.
    fn rewrite(&mut self, statement: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(statement)?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            self.rewritten += row.get::<_, Option<usize>>(0)?.unwrap_or(0);
        }
        Ok(())
    }

    /// Notes that rows with `texts` bytes of text were written in the open round.
    fn wrote(&mut self, rows: usize, texts: usize) {
        self.written.rows(rows, texts, self.page_size);
    }

    /// Notes the current lengths of the files.
    fn measure(&mut self) {
        // A checkpoint gives back what was allocated beyond the file's pages.
        self.written = Written::default();
        let lengths = self.files.lengths();
        (self.lengths, self.bytes) = (lengths.within(self.extent), lengths.total());
    }

    /// Checks whether directory, lock and database are still those that were opened, also while nothing is written.
    pub fn look_at_place(&mut self) -> Result<(), StoreError> {
        if self.before.is_some() || !self.is_open() {
            return Ok(());
        }
        let (identity, lengths) = self.files.look()?;
        if identity != self.identity {
            return Err(StoreError::Replaced);
        }
        if let Err(error) = self.lock.keep_file(&self.settings.dir) {
            log::warn!("event=lock_not_made error={error:?}");
        }
        let same = self.lock.is_of(&self.settings.dir);
        let whole = !self.lengths.are_cut(lengths);
        if same && whole { Ok(()) } else { Err(StoreError::Replaced) }
    }

    /// Undoes the open round.
    pub fn rollback(&mut self) {
        if let Some(ledger) = self.before.take() {
            self.ledger = ledger;
            if !self.connection.is_autocommit() {
                // SQLite may have rolled back already. A connection that cannot roll back is unusable, and the next
                // `begin` reports that.
                if let Err(error) = self.connection.execute_batch("ROLLBACK") {
                    log::error!("event=rollback_failed error={:?}", error.to_string());
                }
            }
        }
    }

    /// Closes the file and opens it again after it failed: what the kernel only seems to have
    /// written is dropped from the page cache first ([`Disk`]). A damaged file goes to the quarantine. What is open and
    /// no longer at its path is copied there first, because no other process can read it. The lock is kept.
    /// [`recover`](Self::recover) does the rest. `false`: the copy is not done, so this has to be called again.
    pub fn reopen(&mut self, now: WallTime, damaged: bool) -> Result<bool, OpenError> {
        self.reopen_or_wait(now, damaged, false)
    }

    /// The same, at a start, when no client is served: waits for the copy.
    pub fn reopen_at_length(&mut self, now: WallTime, damaged: bool) -> Result<(), OpenError> {
        self.reopen_or_wait(now, damaged, true).map(drop)
    }

    fn reopen_or_wait(&mut self, now: WallTime, damaged: bool, waits: bool) -> Result<bool, OpenError> {
        self.rollback();
        let door = self.door.clone();
        let _shut = door.shut().ok_or(OpenError::Read)?;
        if self.copying.is_none() && self.is_open() {
            let there = Identity::seen(&self.settings)?;
            let replaced = there.file != self.identity.file;
            if replaced || (there.log != self.identity.log && !self.checkpoint()) {
                self.save_what_is_open(now)?;
            }
            self.condemned = damaged && !replaced;
        }
        if let Some(copying) = self.copying.take() {
            let ended = if waits { Some(copying.wait()) } else { copying.ended() };
            let Some(ended) = ended else {
                self.copying = Some(copying);
                return Ok(false);
            };
            self.is_saved(copying, ended)?;
        }
        if self.is_open() {
            self.close_file()?;
        }
        files::make_dir(&self.settings.dir)?;
        if !self.lock.is_of(&self.settings.dir) {
            // The directory was replaced, and another agent may hold it.
            self.lock = open::take_lock(&self.settings)?;
        }
        if self.condemned {
            quarantine::move_files(&self.settings, now)?;
            self.condemned = false;
        }
        let Opened { connection, ledger, identity, instance, page_size, reserve, recovery, doubtful, told } =
            open::connect(&self.settings, now)?;
        self.told.extend(told);
        self.odd = OddRows::default();
        (self.connection, self.identity, self.recovery) = (connection, identity, recovery);
        (self.page_size, self.spare, self.careful) = (page_size, 0, false);
        (self.unweighed, self.trouble, self.extent) = (u64::MAX, None, u64::MAX);
        self.reserve = reserve;
        self.reserve_log();
        self.strangers = self.strangers.reopened(doubtful);
        // The file is never behind the last commit. Data that a quarantine will restore is not lost.
        let missed = Known::of(&self.instance, &self.ledger).misses(&instance, &ledger);
        if let Some(vanished) = missed.filter(|_| self.recovery.is_over()) {
            self.keeper.misses(vanished);
        }
        self.instance = instance;
        self.measure();
        self.restore_counters(&ledger);
        self.recovery.go_on_beside(&self.settings, &self.connection, self.ledger.next_seq)?;
        Ok(true)
    }

    /// Is what is open, and no longer at its path, being copied? Nothing can be read or written meanwhile.
    #[must_use]
    pub fn is_copying(&self) -> bool {
        self.copying.is_some()
    }

    /// Returns whether quarantined data is being restored while failures are recorded.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        self.recovery.is_beside()
    }

    /// Restores a part of the quarantined data, between two rounds; `true`: that is complete. Until then only new
    /// failures may be written, and those only [beside](Self::is_beside) it.
    pub fn recover(&mut self, now: WallTime) -> Result<bool, OpenError> {
        if self.recovery.is_over() {
            return self.takes_the_log().map(|()| true);
        }
        if let Some(done) = self.recovery.step(&self.settings, &self.connection, &mut self.ledger, now)? {
            self.quarantined.push(done);
            self.spare = 0;
            let (ledger, mended) = open::load(&self.connection, &self.settings, now)?;
            self.told.extend(mended);
            self.restore_counters(&ledger);
            if let Some(instance) = Ledger::instance(&self.connection)
                .map_err(|why| OpenError::sqlite("reading", &self.settings.file(), why))?
            {
                self.instance = instance;
            }
        }
        if self.recovery.is_over() {
            self.takes_the_log()?;
        }
        self.measure();
        Ok(self.recovery.is_over())
    }

    /// Turns SQLite's automatic checkpoints off; the store decides from now on.
    fn takes_the_log(&self) -> Result<(), OpenError> {
        let set = pragma::drain(&self.connection, "PRAGMA wal_autocheckpoint = 0");
        set.map_err(|why| OpenError::sqlite("opening", &self.settings.file(), why))
    }

    /// Takes over the file's ledger, without going back behind the one in memory.
    fn restore_counters(&mut self, ledger: &Ledger) {
        let agent = self.ledger.at.agent.max(ledger.at.agent);
        let next_seq = self.ledger.next_seq.max(ledger.next_seq);
        self.ledger = Ledger { at: Moment { agent, wall: ledger.at.wall }, next_seq, live: ledger.live };
    }

    fn is_open(&self) -> bool {
        self.connection.path().is_some_and(|path| !path.is_empty())
    }

    /// Checkpoints the whole WAL; `false` if that failed.
    fn checkpoint(&self) -> bool {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = self.connection.query_row(sql, [], |row| row.get::<_, bool>(0));
        busy.is_ok_and(|busy| !busy)
    }

    fn close_file(&mut self) -> Result<(), OpenError> {
        let there = Identity::seen(&self.settings)?;
        if (there.file, there.log) == (self.identity.file, self.identity.log) {
            // No checkpoint on close: the WAL may hold the only copy of pages that a failed sync has lost. If the WAL
            // belongs to another file it must not stay, so SQLite removes it.
            let kept = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            kept.map_err(|why| OpenError::sqlite("reopening", &self.settings.file(), why))?;
        }
        let nothing = self.nothing()?;
        drop(std::mem::replace(&mut self.connection, nothing));
        self.growth = None;
        Ok(())
    }

    fn save_what_is_open(&mut self, now: WallTime) -> Result<(), OpenError> {
        log::error!("event=database_replaced path={:?}", self.settings.file());
        let nothing = self.nothing()?;
        let connection = std::mem::replace(&mut self.connection, nothing);
        match Copy::begin(&self.settings, connection, now) {
            Ok(copying) => self.copying = Some(copying),
            Err(lost) => {
                let (connection, error) = *lost;
                self.connection = connection;
                return Err(error);
            }
        }
        Ok(())
    }

    /// What is open has been copied, or not.
    fn is_saved(&mut self, copying: Copy, ended: Result<Copied, OpenError>) -> Result<(), OpenError> {
        let (connection, copied) = ended?;
        self.connection = connection;
        match copying.arrive(&self.settings, &self.identity, copied) {
            // A deleted file that is damaged as well cannot be read by any process.
            Err(OpenError::Damaged { path, why }) => {
                log::error!("event=database_lost path={path:?} error={why:?}");
                Ok(())
            }
            arrived => arrived,
        }
    }

    /// In the place of a connection that is closed, or elsewhere.
    fn nothing(&self) -> Result<Connection, OpenError> {
        Connection::open_in_memory().map_err(|why| OpenError::sqlite("reopening", &self.settings.file(), why))
    }

    /// Takes the quarantines salvaged since the last call.
    pub fn take_quarantined(&mut self) -> Vec<Quarantined> {
        let quarantined = std::mem::take(&mut self.quarantined);
        self.untold.extend(quarantined.iter().map(|one| one.path.clone()));
        quarantined
    }

    /// The alerts of those that were taken are stored.
    pub fn told_of_quarantined(&mut self) {
        self.untold.drain(..).for_each(|path| quarantine::told(&path));
    }

    /// Checks the quota. Free pages are recounted only after writes that may have filled them, or after 4 MiB, because
    /// SQLite compiles the query each time.
    pub fn room(&mut self) -> Result<Room, StoreError> {
        const MOST_SPARE: u64 = 4 << 20;
        if self.ledger.live >= self.settings.limits.max_failures {
            return Ok(Room::TooMany);
        }
        if self.spare == 0 {
            self.spare = self.settings.limits.max_database.saturating_sub(self.used()?).min(MOST_SPARE);
        }
        Ok(if self.spare == 0 { Room::TooLarge } else { Room::Enough })
    }

    /// Bytes of the pages in use, without the reserve.
    fn used(&self) -> Result<u64, StoreError> {
        let pages = self.number("PRAGMA page_count")? - self.number("PRAGMA freelist_count")?;
        let bytes = u64::try_from(pages).unwrap_or(0) * u64::from(self.page_size);
        Ok(bytes.saturating_sub(self.reserve.bytes()))
    }

    /// Returns whether more than half of the space above the soft limit is free; that space is for outcomes.
    pub fn is_within_outcome_room(&self) -> Result<bool, StoreError> {
        Ok(self.used()? < self.settings.limits.max_database.saturating_add(OUTCOME_ROOM / 2))
    }

    /// Returns whether enough was written since the last [`is_crowded`](Self::is_crowded) to change its result.
    #[must_use]
    pub fn may_be_crowded(&self) -> bool {
        self.unweighed >= (self.settings.limits.max_database / 64).min(1 << 20)
    }

    /// Returns whether history must be deleted to leave space to live failures.
    pub fn is_crowded(&mut self) -> Result<bool, StoreError> {
        self.unweighed = 0;
        let most = self.settings.limits.max_database;
        Ok(self.used()? >= most - (most / 16).min(HISTORY_GAP))
    }

    /// Accounts for a row of this many bytes in the worst case: a page of each of its b-trees may split, and their
    /// parents.
    fn spend(&mut self, bytes: usize) {
        let most = 2 * bytes as u64 + 16 * u64::from(self.page_size);
        self.spare = self.spare.saturating_sub(most);
        self.unweighed = self.unweighed.saturating_add(most);
    }

    /// Returns pages that deletions left free to the file system, a few at a time, inside the open round, so that the
    /// file shrinks without a long round. Returns whether there are more of them.
    pub fn shrink(&mut self, now: AgentTime) -> Result<bool, StoreError> {
        const AT_ONCE: i64 = 512 << 10;
        /// SQLite compiles the questions each time, so not every round asks them.
        const ROUNDS: u32 = 16;
        const GAP: Duration = Duration::from_secs(1);
        self.deletions.rounds += 1;
        if self.deletions.rounds < ROUNDS && self.deletions.looked.is_some_and(|last| now.since(last) < GAP) {
            return Ok(false);
        }
        let shrinks = self.may_shrink()?;
        // While there is something to return, the next round checks it again.
        self.deletions = Deletions { rounds: 0, looked: (!shrinks).then_some(now) };
        if shrinks {
            pragma::drain(
                &self.connection,
                &format!("PRAGMA incremental_vacuum({})", AT_ONCE / i64::from(self.page_size)),
            )?;
            self.written.unknown();
        }
        Ok(shrinks)
    }

    /// Returns whether the file has more free pages than it needs.
    pub fn may_shrink(&self) -> Result<bool, StoreError> {
        /// Free bytes kept for the next records.
        const KEPT: i64 = 1 << 20;
        /// The same on a full disk, where other programs take what is returned, and outcomes need it.
        const KEPT_WHEN_FULL: i64 = 4 << 20;
        let (free, all) = (self.number("PRAGMA freelist_count")?, self.number("PRAGMA page_count")?);
        let kept = if self.is_reserved_for_outcomes() { KEPT_WHEN_FULL } else { KEPT };
        Ok(free > kept / i64::from(self.page_size) && free > all / 4)
    }

    fn number(&self, sql: &str) -> Result<i64, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Updates the free bytes of the disk. While they are few, the WAL is checkpointed, because the file may be unable
    /// to grow later.
    pub fn disk_has(&mut self, free: u64) {
        self.bytes = self.files.lengths().total();
        self.measured = self.bytes;
        self.ballast.keep(free);
        self.keep_reserve(free);
        let careful = free < DISK_CHECK_MARGIN;
        if careful != self.careful && self.before.is_none() {
            self.careful = careful;
        }
        if free < CHECKPOINT_EARLY_BELOW.max(self.settings.limits.min_free_disk) && self.before.is_none() {
            self.checkpoint_passive();
        }
    }

    /// Bytes by which the files have grown since the last [`disk_has`](Self::disk_has).
    #[must_use]
    pub fn grown(&self) -> u64 {
        self.bytes.saturating_sub(self.measured)
    }

    /// Makes space on a full disk so that outcomes can be written: checkpoints the WAL, so that it is overwritten from
    /// its beginning, and gives up the reserve and the ballast, and after them the oldest history. Returns whether
    /// space was freed.
    pub fn make_room(&mut self) -> bool {
        self.rollback();
        self.checkpoint_passive();
        let given_up = self.give_up_reserve() | self.ballast.give_up();
        self.checkpoint_passive();
        given_up
    }

    /// Returns whether the remaining space must be left to outcomes.
    #[must_use]
    pub fn is_reserved_for_outcomes(&self) -> bool {
        self.ballast.is_missing() || self.reserve.is_missing()
    }

    /// Checkpoints as far as readers allow, without waiting for them.
    fn checkpoint_passive(&mut self) {
        match pragma::drain(&self.connection, "PRAGMA wal_checkpoint(PASSIVE)").map_err(StoreError::from) {
            Ok(()) | Err(StoreError::Locked(_)) => {}
            Err(error) => {
                log::warn!("event=checkpoint_failed error={:?}", error.to_string());
                if !matches!(error, StoreError::Full(_)) {
                    self.trouble = Some(error);
                }
            }
        }
        let before = self.lengths;
        self.measure();
        if before.is_log_cut(self.lengths) {
            self.trouble = Some(StoreError::Replaced);
        }
    }

    /// Truncates the WAL; false while a reader uses it. Does not wait.
    pub fn truncate_wal(&mut self) -> Result<bool, StoreError> {
        if self.before.is_some() {
            return Ok(false);
        }
        self.connection.busy_timeout(Duration::ZERO)?;
        let busy = self.number("PRAGMA wal_checkpoint(TRUNCATE)");
        self.measure();
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        let emptied = match busy {
            Err(StoreError::Locked(_)) => false,
            busy => busy? == 0,
        };
        if emptied {
            self.reserve_log();
        }
        Ok(emptied)
    }

    /// The lock that readers in this process use.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// The agent's own row.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The id of the database: numbers that it has given are given by no other.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Place and limits of the store.
    #[must_use]
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Closes the store: checkpoints the WAL, so that a copy of the file is complete. The lock is released last. If the
    /// file is no longer at its path, its content is copied for the next start.
    pub fn close(mut self) -> Result<(), StoreError> {
        let fails = |error: OpenError| log::error!("event=database_lost error={:?}", error.to_string());
        if self.is_open() && Identity::seen(&self.settings).is_ok_and(|there| there.file != self.identity.file) {
            self.save_what_is_open(self.ledger.at.wall).unwrap_or_else(fails);
        }
        if let Some(copying) = self.copying.take() {
            let mut ended = None;
            (self.settings.disk.at_length)(&mut || ended = Some(copying.wait()));
            let saved = ended.map_or(Ok(()), |ended| self.is_saved(copying, ended));
            saved.unwrap_or_else(fails);
        }
        let Self { connection, lock, settings, instance, mut keeper, ledger, growth, .. } = self;
        match pragma::drain(&connection, "PRAGMA wal_checkpoint(TRUNCATE)").map_err(StoreError::from) {
            // The WAL is just as durable, and the next start reads it.
            Err(error @ StoreError::Full(_)) => log::warn!("event=checkpoint_failed error={:?}", error.to_string()),
            emptied => emptied?,
        }
        connection.close().map_err(|(_, error)| error)?;
        drop(growth);
        keeper.end(&settings, &instance, &ledger);
        drop(lock);
        Ok(())
    }
}

/// Bytes at which the file refuses to grow: the soft quota and the space for outcomes.
#[must_use]
pub fn hard_limit(limits: &Limits) -> u64 {
    limits.max_database.saturating_add(OUTCOME_ROOM)
}

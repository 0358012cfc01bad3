//! The running machine: the files as its programs see them, their handles and locks, and the
//! faults.
//!
//! A file's content is what the page cache shows; the [`Medium`] beside it says what a power cut
//! leaves of that. A *kill* ends the program between two operations: its handles are dead, the
//! cache remains. *Evicting* a file syncs it and shows the medium's content from then on.

use crate::vfs::fault::{BulkAction, Failure, Fault, Plan};
use crate::vfs::medium::{Image, Inode, Medium, Op};
use fastrand::Rng;
use std::cell::{RefCell, UnsafeCell};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

/// The log's index, shared by all that have a file open. It lives as long as one of them holds it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    regions: RefCell<Vec<Box<[UnsafeCell<u64>]>>>,
}

impl Shared {
    /// Bytes of a region; SQLite uses no other size.
    pub(crate) const REGION: usize = 32_768;

    /// The beginning of a region, which is created when `extend` is set.
    pub(crate) fn region(&self, n: usize, extend: bool) -> Option<*mut u64> {
        let mut regions = self.regions.borrow_mut();
        while extend && regions.len() <= n {
            regions.push((0..Self::REGION / 8).map(|_| UnsafeCell::new(0)).collect());
        }
        regions.get(n).map(|region| UnsafeCell::raw_get(region.as_ptr()))
    }
}

/// One opening of a file.
#[derive(Debug)]
struct Handle {
    inode: Inode,
    /// The program that opened it; a life other than the current one was killed.
    life: u64,
    /// A log or journal that was created here: its first sync also makes its name durable.
    syncs_name: bool,
    /// A temporary file, which is not on the medium.
    temporary: bool,
    read_only: bool,
    /// SQLite's lock level.
    level: i32,
    shared: Option<Rc<Shared>>,
    /// The locks held on the log's index, one bit each.
    shared_locks: u8,
    exclusive_locks: u8,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) create: bool,
    pub(crate) temporary: bool,
    pub(crate) read_only: bool,
    /// A journal or log.
    pub(crate) log: bool,
}

/// A machine in memory with one directory.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    names: BTreeMap<String, Inode>,
    contents: BTreeMap<Inode, Vec<u8>>,
    next_inode: Inode,
    handles: BTreeMap<u64, Handle>,
    next_handle: u64,
    indexes: BTreeMap<Inode, Rc<Shared>>,
    life: u64,
    dead: bool,
    pub(crate) medium: Medium,
    /// Nothing is derived from the operations now, so the medium need not follow.
    pub(crate) unwatched: bool,
    /// Every operation, when a trace is wanted.
    pub(crate) trace: Option<Vec<Op>>,
    /// Operations so far.
    pub(crate) operations: u64,
    pub(crate) plan: Option<Plan>,
    /// Whether space can be reserved inside files. (Images of long files are slow.)
    pub(crate) reserves: bool,
    /// Another program has filled the disk: no file can be created or grow, but existing bytes can be overwritten.
    pub(crate) full: bool,
    /// How many files were evicted.
    pub(crate) evictions: u64,
    /// Faults that have occurred.
    pub(crate) struck: u64,
    /// The program dies at this operation.
    pub(crate) dies_at: Option<u64>,
    pub(crate) random: Option<Rng>,
    pub(crate) time_ms: i64,
    /// The real directory.
    pub(crate) dir: PathBuf,
}

thread_local! {
    static MACHINE: RefCell<Machine> = RefCell::new(Machine::default());
}

/// Runs `work` on the calling thread's machine.
pub(crate) fn on<T>(work: impl FnOnce(&mut Machine) -> T) -> T {
    MACHINE.with_borrow_mut(work)
}

impl Machine {
    // ---- control

    /// An empty machine beside this real directory.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, ..Self::default() }
    }

    /// Boots the machine with these files. Every program that ran on it is dead.
    pub(crate) fn boot(&mut self, image: &Image) {
        self.kill();
        self.dead = false;
        self.names.clear();
        self.contents.clear();
        for (inode, (name, bytes)) in (0..).zip(&image.files) {
            self.names.insert(name.clone(), inode);
            self.contents.insert(inode, bytes.clone());
            self.next_inode = self.next_inode.max(inode + 1);
        }
        (self.plan, self.dies_at) = (None, None);
        self.match_real_files();
    }

    /// The program ends now; its later operations have no effect.
    pub(crate) fn kill(&mut self) {
        self.life += 1;
        self.dead = true;
        self.dies_at = None;
        self.indexes.clear();
    }

    /// Another program may start.
    pub(crate) fn revive(&mut self) {
        self.dead = false;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    /// The files as programs see them.
    pub(crate) fn whole(&self) -> Image {
        let files = self.names.iter().map(|(name, inode)| (name.clone(), self.contents[inode].clone()));
        Image { files: files.collect() }
    }

    /// Whether a living program has this file open.
    pub(crate) fn is_open(&self, name: &str) -> bool {
        let inode = self.names.get(name);
        self.handles.values().any(|handle| Some(&handle.inode) == inode && handle.life == self.life)
    }

    /// Adds a remark to the trace.
    pub(crate) fn mark(&mut self, known: usize) {
        self.happens(Op::Mark(known));
    }

    pub(crate) fn happens(&mut self, op: Op) {
        if self.unwatched {
            return;
        }
        self.medium.step(&op);
        if let Some(trace) = &mut self.trace {
            trace.push(op);
        }
    }

    /// Mirrors the database's existence in the real directory, where the store checks for its file.
    fn match_real_files(&self) {
        if self.dir.as_os_str().is_empty() {
            return;
        }
        let real = self.dir.join("sync_failures.db");
        if self.names.contains_key("sync_failures.db") {
            std::fs::write(&real, []).expect("an empty file can be made");
        } else if let Err(error) = std::fs::remove_file(&real) {
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        }
    }

    /// The fault that this operation meets, if any.
    fn fault(&mut self, deed: BulkAction) -> Result<Option<Fault>, Failure> {
        self.operations += 1;
        if self.dies_at.is_some_and(|at| self.operations >= at) {
            self.kill();
        }
        if self.dead {
            return Err(Failure::Io);
        }
        let Some(plan) = &mut self.plan else { return Ok(None) };
        if self.operations < plan.from || plan.times == 0 || !plan.fault.strikes(deed) {
            return Ok(None);
        }
        plan.times -= 1;
        self.struck += 1;
        Ok(Some(plan.fault))
    }

    // ---- bypassing SQLite

    pub(crate) fn evict(&mut self, name: &str) -> io::Result<()> {
        let Some(&inode) = self.names.get(name) else { return Ok(()) };
        self.sync_file(inode).map_err(|_| io::Error::other("injected: fsync failed"))?;
        if let Some(stored) = self.medium.files.get(&inode).filter(|_| !self.unwatched) {
            self.contents.insert(inode, stored.durable.bytes.clone());
        }
        self.evictions += 1;
        Ok(())
    }

    pub(crate) fn sync_names(&mut self) -> io::Result<()> {
        match self.fault(BulkAction::SyncNames) {
            Ok(None) => {
                self.happens(Op::SyncNames);
                Ok(())
            }
            _ => Err(io::Error::other("injected: fsync of the directory failed")),
        }
    }

    /// Appends this many bytes to a file beside SQLite's, and syncs them. Returns how many are
    /// durable, and the error. What a later power cut would leave of a failed, unsynced append is
    /// decided immediately.
    pub(crate) fn append(&mut self, length: usize) -> (usize, Option<io::Error>) {
        if self.full {
            return (0, Some(io::Error::from(io::ErrorKind::StorageFull)));
        }
        let failed = || Some(io::Error::other("injected: the archive's disk failed"));
        let full = || Some(io::Error::from(io::ErrorKind::StorageFull));
        match self.fault(BulkAction::Write) {
            Ok(None) => {}
            Ok(Some(Fault::Full)) => return (0, full()),
            Ok(Some(Fault::Short)) => return (length / 2, full()),
            _ => return (self.some_of(length), failed()),
        }
        match self.fault(BulkAction::Sync) {
            Ok(None) => (length, None),
            Ok(Some(Fault::SyncReached)) => (length, failed()),
            _ => (self.some_of(length), failed()),
        }
    }

    /// Extends a file by zeros whose space is reserved on the disk; they are durable only after a sync.
    pub(crate) fn reserve(&mut self, name: &str, length: usize) -> io::Result<bool> {
        let Some(&inode) = self.names.get(name) else { return Err(io::ErrorKind::NotFound.into()) };
        if !self.reserves {
            return Ok(false);
        }
        if self.contents[&inode].len() >= length {
            return Ok(true);
        }
        if self.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match self.fault(BulkAction::Write) {
            Ok(None) => {}
            Ok(Some(Fault::Full | Fault::Short)) => return Err(io::ErrorKind::StorageFull.into()),
            _ => return Err(io::Error::other("injected: no blocks could be reserved")),
        }
        self.contents.get_mut(&inode).expect("a named file has a content").resize(length, 0);
        self.happens(Op::Truncate { inode, size: length });
        Ok(true)
    }

    fn some_of(&mut self, length: usize) -> usize {
        self.random.as_mut().map_or(length / 2, |random| random.usize(0..=length))
    }

    fn sync_file(&mut self, inode: Inode) -> Result<(), Failure> {
        let Some(fault) = self.fault(BulkAction::Sync)? else {
            self.happens(Op::Sync { inode });
            return Ok(());
        };
        match fault {
            Fault::SyncLost => self.happens(Op::SyncLost { inode, some: None }),
            Fault::SyncPartly => self.happens(Op::SyncLost { inode, some: Some(self.operations) }),
            Fault::SyncReached => self.happens(Op::Sync { inode }),
            Fault::Io | Fault::Full | Fault::Short => {}
        }
        Err(Failure::Io)
    }

    // ---- files, as SQLite sees them

    pub(crate) fn open(&mut self, name: Option<&str>, how: Opening) -> Result<u64, Failure> {
        if self.dead {
            return Err(Failure::Io);
        }
        let known = name.and_then(|name| self.names.get(name)).copied();
        let inode = match known {
            Some(inode) => inode,
            None if how.create || name.is_some_and(|name| self.dir.join(name).exists()) => self.create(name, how)?,
            None => return Err(Failure::Missing),
        };
        let handle = Handle {
            inode,
            life: self.life,
            syncs_name: known.is_none() && how.log,
            temporary: how.temporary,
            read_only: how.read_only,
            level: 0,
            shared: None,
            shared_locks: 0,
            exclusive_locks: 0,
        };
        self.next_handle += 1;
        self.handles.insert(self.next_handle, handle);
        Ok(self.next_handle)
    }

    fn create(&mut self, name: Option<&str>, how: Opening) -> Result<Inode, Failure> {
        let inode = self.next_inode;
        if let Some(name) = name.filter(|_| !how.temporary) {
            match self.fault(BulkAction::Create)? {
                None if self.full => return Err(Failure::Full),
                None => {}
                Some(Fault::Full) => return Err(Failure::Full),
                Some(_) => return Err(Failure::Io),
            }
            self.names.insert(name.to_owned(), inode);
            self.happens(Op::Create { inode, name: name.to_owned() });
        }
        self.next_inode += 1;
        self.contents.insert(inode, Vec::new());
        Ok(inode)
    }

    pub(crate) fn close(&mut self, number: u64) {
        let Some(handle) = self.handles.remove(&number) else { return };
        let named = self.names.values().any(|inode| *inode == handle.inode);
        let held = self.handles.values().any(|other| other.inode == handle.inode);
        if !named && !held && handle.life == self.life {
            self.contents.remove(&handle.inode);
        }
    }

    /// The handle, if its program is alive.
    fn handle(&mut self, number: u64) -> Result<&mut Handle, Failure> {
        let life = self.life;
        self.handles.get_mut(&number).filter(|handle| handle.life == life).ok_or(Failure::Io)
    }

    /// Fills a part of the buffer. Returns the number of bytes read.
    pub(crate) fn read(&mut self, number: u64, offset: usize, into: &mut [u8]) -> Result<usize, Failure> {
        let inode = self.handle(number)?.inode;
        let there = self.contents[&inode].get(offset..).unwrap_or_default();
        let length = there.len().min(into.len());
        into[..length].copy_from_slice(&there[..length]);
        into[length..].fill(0);
        Ok(length)
    }

    pub(crate) fn write(&mut self, number: u64, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        let Handle { inode, temporary, .. } = *self.handle(number)?;
        let fault = if temporary { None } else { self.fault(BulkAction::Write)? };
        if self.full && !temporary && offset + bytes.len() > self.contents[&inode].len() {
            return Err(Failure::Full);
        }
        let (bytes, done) = match fault {
            None => (bytes, Ok(())),
            Some(Fault::Short) => (&bytes[..bytes.len() / 2], Err(Failure::Full)),
            Some(Fault::Full) => return Err(Failure::Full),
            Some(_) => return Err(Failure::Io),
        };
        let content = self.contents.get_mut(&inode).expect("an open file has a content");
        let end = offset + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset..end].copy_from_slice(bytes);
        if !temporary && !self.unwatched {
            self.happens(Op::Write { inode, offset, bytes: bytes.into() });
        }
        done
    }

    pub(crate) fn truncate(&mut self, number: u64, size: usize) -> Result<(), Failure> {
        let Handle { inode, temporary, .. } = *self.handle(number)?;
        if !temporary {
            if self.fault(BulkAction::Truncate)?.is_some() {
                return Err(Failure::Io);
            }
            self.happens(Op::Truncate { inode, size });
        }
        self.contents.get_mut(&inode).expect("an open file has a content").resize(size, 0);
        Ok(())
    }

    pub(crate) fn sync(&mut self, number: u64) -> Result<(), Failure> {
        let Handle { inode, temporary, syncs_name, .. } = *self.handle(number)?;
        if temporary {
            return Ok(());
        }
        self.sync_file(inode)?;
        if syncs_name {
            self.sync_names().map_err(|_| Failure::Io)?;
            self.handle(number)?.syncs_name = false;
        }
        Ok(())
    }

    pub(crate) fn size(&mut self, number: u64) -> Result<usize, Failure> {
        let inode = self.handle(number)?.inode;
        Ok(self.contents[&inode].len())
    }

    pub(crate) fn delete(&mut self, name: &str, and_sync: bool) -> Result<(), Failure> {
        if self.dead {
            return Err(Failure::Io);
        }
        let Some(&inode) = self.names.get(name) else { return Err(Failure::Missing) };
        if self.fault(BulkAction::Delete)?.is_some() {
            return Err(Failure::Io);
        }
        self.names.remove(name);
        if !self.handles.values().any(|handle| handle.inode == inode) {
            self.contents.remove(&inode);
        }
        self.happens(Op::Delete { name: name.to_owned() });
        if and_sync { self.sync_names().map_err(|_| Failure::Io) } else { Ok(()) }
    }

    /// The length of the file of this name, if it exists.
    pub(crate) fn length_of(&self, name: &str) -> Option<usize> {
        self.names.get(name).map(|inode| self.contents[inode].len())
    }

    // ---- locks

    fn others(&self, number: u64, inode: Inode) -> impl Iterator<Item = &Handle> {
        let same = move |(other, handle): &(&u64, &Handle)| {
            **other != number && handle.inode == inode && handle.life == self.life
        };
        self.handles.iter().filter(same).map(|(_, handle)| handle)
    }

    /// SQLite's five levels: 1 shared, 2 reserved, 3 pending, 4 exclusive.
    pub(crate) fn lock(&mut self, number: u64, level: i32) -> Result<(), Failure> {
        let Handle { inode, read_only, .. } = *self.handle(number)?;
        if read_only && level > 1 {
            return Err(Failure::Io); // As in the kernel; so a read-only connection that closes last leaves the log.
        }
        let highest = self.others(number, inode).map(|other| other.level).max().unwrap_or(0);
        let (now, done) = match level {
            1 if highest >= 3 => (None, Err(Failure::Busy)),
            2 | 4 if highest >= 2 => (None, Err(Failure::Busy)),
            4 if highest == 1 => (Some(3), Err(Failure::Busy)),
            level => (Some(level), Ok(())),
        };
        let handle = self.handle(number)?;
        handle.level = now.map_or(handle.level, |now| handle.level.max(now));
        done
    }

    pub(crate) fn unlock(&mut self, number: u64, level: i32) {
        if let Ok(handle) = self.handle(number) {
            handle.level = handle.level.min(level);
        }
    }

    pub(crate) fn is_reserved(&mut self, number: u64) -> Result<bool, Failure> {
        let inode = self.handle(number)?.inode;
        Ok(self.handles.values().any(|handle| handle.inode == inode && handle.life == self.life && handle.level >= 2))
    }

    /// The log's index, shared with all that have the file open.
    pub(crate) fn index(&mut self, number: u64) -> Result<Rc<Shared>, Failure> {
        let inode = self.handle(number)?.inode;
        let index = self.indexes.entry(inode).or_default().clone();
        self.handle(number)?.shared = Some(index.clone());
        Ok(index)
    }

    pub(crate) fn leave_index(&mut self, number: u64) {
        let Some(handle) = self.handles.get_mut(&number) else { return };
        (handle.shared_locks, handle.exclusive_locks) = (0, 0);
        let (inode, alive) = (handle.inode, handle.life == self.life);
        // A dead program's index is released with its handle, because the program may still read it.
        if alive {
            handle.shared = None;
            if !self.others(number, inode).any(|other| other.shared.is_some()) {
                self.indexes.remove(&inode);
            }
        }
    }

    /// Acquires the index's locks in a mask.
    pub(crate) fn lock_index(&mut self, number: u64, mask: u8, exclusive: bool) -> Result<(), Failure> {
        let inode = self.handle(number)?.inode;
        let held = |other: &Handle| other.exclusive_locks | if exclusive { other.shared_locks } else { 0 };
        if self.others(number, inode).any(|other| held(other) & mask != 0) {
            return Err(Failure::Busy);
        }
        let handle = self.handle(number)?;
        if exclusive {
            handle.exclusive_locks |= mask;
        } else {
            handle.shared_locks |= mask;
        }
        Ok(())
    }

    pub(crate) fn unlock_index(&mut self, number: u64, mask: u8) {
        if let Ok(handle) = self.handle(number) {
            handle.shared_locks &= !mask;
            handle.exclusive_locks &= !mask;
        }
    }
}

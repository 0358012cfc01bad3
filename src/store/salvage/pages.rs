//! Reads the pages of a database file as SQLite would see them, without SQLite: the file, overlaid by the committed
//! pages of its WAL.
//!
//! SQLite refuses a file if it meets one damaged page; here every page is read independently. The formats are those of
//! <https://sqlite.org/fileformat2.html>. Nothing is written.

use crate::store::pragma::PAGE_SIZE;
use crate::store::wal::{Wal, number};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: &[u8] = b"SQLite format 3\0";

/// A database file and its WAL.
pub(super) struct Pages {
    file: Option<File>,
    log: Option<(File, Wal)>,
    size: usize,
    count: u32,
    /// The file has a map that states the use of each page (auto-vacuum).
    mapped: bool,
    /// The list of free pages; the map contains the same, and either may be damaged.
    free: HashSet<u32>,
}

impl Pages {
    /// Opens a file and its WAL; a missing one counts as empty.
    pub(super) fn open(file: &Path, log: &Path) -> io::Result<Self> {
        let (file, log) = (present(file)?, present(log)?);
        let log = log.and_then(|open| Wal::read(&open).map(|read| (open, read)));
        let mut head = [0; 100];
        let known = file.as_ref().is_some_and(|file| file.read_exact_at(&mut head, 0).is_ok());
        let size = match (&log, &file) {
            (Some((_, log)), _) => log.page_size,
            // All our files have one page size, which is assumed if page 1 is unreadable.
            (None, Some(_)) if known => stated_size(&head).unwrap_or(PAGE_SIZE as usize),
            (None, _) => PAGE_SIZE as usize,
        };
        let length = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|meta| meta.len()))?;
        let in_file = u32::try_from(length.div_ceil(size as u64)).unwrap_or(u32::MAX);
        let count = log.as_ref().and_then(|(_, log)| log.count).unwrap_or(in_file);
        let mut pages = Self { file, log, size, count, mapped: true, free: HashSet::new() };
        // All our files have the map, which is assumed if page 1 is unreadable.
        if let Some(first) = pages.read(1).filter(|first| first.starts_with(MAGIC)) {
            pages.mapped = number(&first, 52) != 0;
            pages.free = pages.list_of_free(number(&first, 32));
        }
        Ok(pages)
    }

    fn list_of_free(&self, first: u32) -> HashSet<u32> {
        let (mut free, mut trunk) = (HashSet::new(), first);
        while let Some(bytes) = self.read(trunk).filter(|_| !free.contains(&trunk)) {
            free.insert(trunk);
            let leaves = (number(&bytes, 4) as usize).min(self.size / 4 - 2);
            free.extend((0..leaves).map(|n| number(&bytes, 8 + 4 * n)));
            trunk = number(&bytes, 0);
        }
        free
    }

    /// Number of pages according to the header or WAL; the last ones are missing in a truncated file.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// A page; `None` if it is missing or cannot be read. Truncated parts are filled with zeros.
    pub(super) fn read(&self, page: u32) -> Option<Vec<u8>> {
        if page == 0 || page > self.count {
            return None;
        }
        let mut bytes = vec![0; self.size];
        if let Some((log, at)) = self.log.as_ref().and_then(|(file, log)| Some((file, *log.images.get(&page)?))) {
            log.read_exact_at(&mut bytes, at).ok()?;
            return Some(bytes);
        }
        let at = u64::from(page - 1) * self.size as u64;
        let read = read_up_to(self.file.as_ref()?, &mut bytes, at).ok()?;
        (read > 0).then_some(bytes)
    }

    /// The use of a page according to the map and the free list.
    pub(super) fn purpose(&self, page: u32) -> Purpose {
        const ENTRY: u32 = 5;
        if self.free.contains(&page) {
            return Purpose::NoRecords;
        }
        if !self.mapped || page < 3 {
            return Purpose::Unknown;
        }
        let entries = u32::try_from(self.size).unwrap_or(PAGE_SIZE) / ENTRY;
        let map = page - (page - 2) % (entries + 1);
        if map == page {
            return Purpose::NoRecords;
        }
        let Some(bytes) = self.read(map) else { return Purpose::Unknown };
        let described = entries.min(self.count.saturating_sub(map)) as usize;
        let mut kinds = bytes.chunks_exact(ENTRY as usize).take(described).map(|entry| entry[0]);
        // One invalid entry makes the whole map unreliable.
        if !kinds.clone().all(|kind| (1..=5).contains(&kind)) {
            return Purpose::Unknown;
        }
        match kinds.nth((page - map - 1) as usize) {
            Some(1 | 5) => Purpose::Records,
            // A free page, whose content was deleted, or the rest of a long record.
            Some(_) => Purpose::NoRecords,
            None => Purpose::Unknown,
        }
    }
}

/// The use of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A page of a b-tree.
    Records,
    /// Free, the rest of a long record, or the map itself.
    NoRecords,
    /// The map has no entry.
    Unknown,
}

fn present(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64)? {
            0 => break,
            more => done += more,
        }
    }
    Ok(done)
}

/// The page size in a header, if it is valid.
fn stated_size(head: &[u8]) -> Option<usize> {
    let stated = usize::from(u16::from_be_bytes([head[16], head[17]]));
    let size = if stated == 1 { 65_536 } else { stated };
    (head.starts_with(MAGIC) && size.is_power_of_two() && size >= 512).then_some(size)
}

//! The possible states after a power cut: drawn from a medium, without copying what is certain.
//!
//! A [`Draft`] holds only the sectors that differ. It knows the checksum of the part that SQLite
//! reads, so that an image seen before is recognised, and only a new one is built into files.

use crate::vfs::log::Walked;
use crate::vfs::medium::{Change, Content, Image, Medium, SECTOR, mix, sector, sector_sum, sum_of};
use fastrand::Rng;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Which pending writes have reached the medium.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Nothing,
    Everything,
    /// Everything before a moment; the write of that moment is torn.
    UpTo(u64),
    /// Any of the writes, each complete.
    SomeWrites,
    /// Any of the sectors.
    SomeSectors,
    /// Any of the sectors, some of them torn.
    TornSectors,
}

impl Manner {
    fn draw(medium: &Medium, random: &mut Rng) -> Self {
        match random.u8(0..16) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2..8 => {
                let writes = medium.files.values().filter_map(|file| file.pending.first()).map(|(at, _)| *at);
                let names = medium.pending_names.first().map(|(at, ..)| *at);
                let first = writes.chain(names).min().unwrap_or(medium.steps);
                Self::UpTo(random.u64(first..=medium.steps))
            }
            8..10 => Self::SomeWrites,
            10..13 => Self::SomeSectors,
            _ => Self::TornSectors,
        }
    }
}

/// One possible state of a file.
#[derive(Debug)]
struct Sheet<'a> {
    certain: &'a Content,
    /// How many of the certain bytes remain.
    kept: usize,
    length: usize,
    changed: BTreeMap<usize, [u8; SECTOR]>,
}

impl<'a> Sheet<'a> {
    fn new(certain: &'a Content) -> Self {
        let length = certain.bytes.len();
        Self { certain, kept: length, length, changed: BTreeMap::new() }
    }

    fn certain_sector(&self, n: usize) -> [u8; SECTOR] {
        sector(&self.certain.bytes[..self.kept], n)
    }

    /// Writes bytes that lie in one sector.
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        let (n, within) = (offset / SECTOR, offset % SECTOR);
        let before = self.certain_sector(n);
        let sector = self.changed.entry(n).or_insert(before);
        sector[within..within + bytes.len()].copy_from_slice(bytes);
        self.length = self.length.max(offset + bytes.len());
    }

    fn cut(&mut self, size: usize) {
        (self.kept, self.length) = (self.kept.min(size), size);
        self.changed.retain(|n, _| n * SECTOR < size);
        if let Some(last) = self.changed.get_mut(&(size / SECTOR)) {
            last[size % SECTOR..].fill(0);
        }
    }

    fn apply(&mut self, at: u64, change: &Change, manner: Manner, random: &mut Rng) {
        match (change, manner) {
            (_, Manner::Nothing) => {}
            (_, Manner::UpTo(moment)) if at > moment => {}
            (Change::Truncate(size), Manner::Everything | Manner::UpTo(_)) => self.cut(*size),
            (Change::Truncate(size), _) => {
                if random.bool() {
                    self.cut(*size);
                }
            }
            (Change::Write { offset, bytes }, Manner::UpTo(moment)) if at == moment => {
                self.write(*offset, &bytes[..random.usize(0..=bytes.len())], |piece| piece);
            }
            (Change::Write { offset, bytes }, Manner::Everything | Manner::UpTo(_)) => {
                self.write(*offset, bytes, |piece| piece);
            }
            (Change::Write { offset, bytes }, Manner::SomeWrites) => {
                if random.bool() {
                    self.write(*offset, bytes, |piece| piece);
                }
            }
            (Change::Write { offset, bytes }, Manner::SomeSectors) => {
                self.write(*offset, bytes, |piece| if random.bool() { piece } else { &[] });
            }
            (Change::Write { offset, bytes }, Manner::TornSectors) => {
                self.write(*offset, bytes, |piece| match random.u8(0..4) {
                    0 => &[],
                    1 => &piece[..random.usize(0..piece.len())],
                    _ => piece,
                });
            }
        }
    }

    /// Writes the part of each sector's piece that `arrives` returns.
    fn write<'b>(&mut self, offset: usize, bytes: &'b [u8], mut arrives: impl FnMut(&'b [u8]) -> &'b [u8]) {
        let mut from = 0;
        while from < bytes.len() {
            let to = bytes.len().min(from + SECTOR - (offset + from) % SECTOR);
            let piece = arrives(&bytes[from..to]);
            if !piece.is_empty() {
                self.put(offset + from, piece);
            }
            from = to;
        }
    }

    fn sum(&self) -> u64 {
        let whole = self.kept == self.certain.bytes.len();
        let certain = if whole { self.certain.sum } else { sum_of(&self.certain.bytes[..self.kept]) };
        let changes = self
            .changed
            .iter()
            .fold(0, |sum, (n, new)| sum ^ sector_sum(*n, new) ^ sector_sum(*n, &self.certain_sector(*n)));
        mix(certain ^ changes ^ mix(self.length as u64))
    }

    /// The checksum of the part of a log that SQLite reads.
    fn log_sum(&self, walks: &mut Walks) -> u64 {
        let first = self.changed.first_key_value().map_or(usize::MAX, |(n, _)| n * SECTOR);
        if first == 0 || self.kept < self.certain.bytes.len() {
            let bytes = self.build();
            let taken = Walked::new(&bytes).taken();
            return mix(sum_of(&bytes[..taken]) ^ mix(taken as u64) ^ u64::from(bytes.is_empty()));
        }
        let walked = walks.of(self.certain);
        let taken = walked.taken_of(first, self.length, |from, to| self.part(from, to));
        let whole = taken / SECTOR;
        let changes = self
            .changed
            .range(..whole)
            .fold(0, |sum, (n, new)| sum ^ sector_sum(*n, new) ^ sector_sum(*n, &self.certain_sector(*n)));
        let rest = sector_sum(whole, &sector(&self.part(whole * SECTOR, taken), 0));
        mix(walked.sum(whole) ^ changes ^ rest ^ mix(taken as u64) ^ u64::from(self.length == 0))
    }

    fn part(&self, from: usize, to: usize) -> Vec<u8> {
        let mut bytes = self.certain.bytes.get(from..to.min(self.kept)).unwrap_or_default().to_vec();
        bytes.resize(to - from, 0);
        for (n, sector) in self.changed.range(from / SECTOR..to.div_ceil(SECTOR)) {
            let (begin, end) = (from.max(n * SECTOR), to.min((n + 1) * SECTOR));
            bytes[begin - from..end - from].copy_from_slice(&sector[begin - n * SECTOR..end - n * SECTOR]);
        }
        bytes
    }

    fn build(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length + SECTOR);
        bytes.extend_from_slice(&self.certain.bytes[..self.kept]);
        bytes.resize(self.length.div_ceil(SECTOR) * SECTOR, 0);
        for (n, sector) in &self.changed {
            bytes[n * SECTOR..(n + 1) * SECTOR].copy_from_slice(sector);
        }
        bytes.truncate(self.length);
        bytes
    }
}

/// Scanned logs, by their checksums.
#[derive(Debug, Default)]
pub(crate) struct Walks(HashMap<u64, Rc<Walked>>);

impl Walks {
    fn of(&mut self, log: &Content) -> Rc<Walked> {
        /// A few are enough: the same log is needed many times, and then never again.
        const KEPT: usize = 8;
        if self.0.len() > KEPT {
            self.0.clear();
        }
        self.0.entry(mix(log.sum ^ log.bytes.len() as u64)).or_insert_with(|| Rc::new(Walked::new(&log.bytes))).clone()
    }
}

/// A possible image after a power cut.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    sheets: BTreeMap<&'a str, Sheet<'a>>,
}

impl<'a> Draft<'a> {
    /// Draws one of the states that a power cut may leave now.
    pub(crate) fn draw(medium: &'a Medium, random: &mut Rng) -> Self {
        let manner = Manner::draw(medium, random);
        let mut names: BTreeMap<&str, u32> = medium.names.iter().map(|(name, inode)| (&name[..], *inode)).collect();
        let known = match manner {
            Manner::UpTo(moment) => medium.pending_names.iter().filter(|(at, ..)| *at <= moment).count(),
            Manner::Everything => medium.pending_names.len(),
            _ => random.usize(0..=medium.pending_names.len()),
        };
        for (_, name, inode) in &medium.pending_names[..known] {
            match inode {
                Some(inode) => names.insert(name, *inode),
                None => names.remove(&name[..]),
            };
        }
        let sheets = names.into_iter().map(|(name, inode)| {
            let file = &medium.files[&inode];
            let mut sheet = Sheet::new(&file.durable);
            for (at, change) in &file.pending {
                sheet.apply(*at, change, manner, random);
            }
            (name, sheet)
        });
        Self { sheets: sheets.collect() }
    }

    /// Two drafts with the same sum contain the same for SQLite.
    pub(crate) fn sum(&self, walks: &mut Walks) -> u64 {
        let name_sum = |name: &str| name.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
        self.sheets.iter().fold(0, |sum, (name, sheet)| {
            let own = if name.ends_with("-wal") { sheet.log_sum(walks) } else { sheet.sum() };
            mix(sum ^ name_sum(name) ^ own)
        })
    }

    pub(crate) fn build(&self) -> Image {
        let files = self.sheets.iter().map(|(name, sheet)| ((*name).to_owned(), sheet.build()));
        Image { files: files.collect() }
    }
}

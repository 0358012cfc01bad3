//! The medium: what is certainly on it, and what a power cut may or may not leave.
//!
//! A write is pending until its file is synced, a name until the directory is. Both carry their
//! order, so that an image can keep everything before a moment.

use fastrand::Rng;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The unit that a disk usually writes completely or not at all.
pub(crate) const SECTOR: usize = 512;

/// A file, whatever its name.
pub(crate) type Inode = u32;

/// One operation that reached the disk, or a remark of the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create {
        inode: Inode,
        name: String,
    },
    Write {
        inode: Inode,
        offset: usize,
        bytes: Rc<[u8]>,
    },
    Truncate {
        inode: Inode,
        size: usize,
    },
    Sync {
        inode: Inode,
    },
    /// The kernel marks as clean what it could not write, so it never writes it. With a seed, some
    /// of it was written.
    SyncLost {
        inode: Inode,
        some: Option<u64>,
    },
    Delete {
        name: String,
    },
    SyncNames,
    /// The power failed and returned; this image was left.
    PowerCut(Rc<Image>),
    /// The number of facts known by now.
    Mark(usize),
}

impl Op {
    /// The file, offset and length of the operation, without the written bytes.
    pub(crate) fn place(&self) -> (Option<Inode>, usize, usize) {
        match self {
            Self::Write { inode, offset, bytes } => (Some(*inode), *offset, bytes.len()),
            Self::Create { inode, .. } | Self::Sync { inode } | Self::SyncLost { inode, .. } => (Some(*inode), 0, 0),
            Self::Truncate { inode, size } => (Some(*inode), *size, 0),
            Self::Mark(known) => (None, *known, 0),
            Self::Delete { .. } | Self::SyncNames | Self::PowerCut(_) => (None, 0, 0),
        }
    }
}

/// Files by name, as found when the machine boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// Bytes with a checksum that follows every change; different contents have different checksums.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sum: u64,
}

impl Content {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let sum = sum_of(&bytes);
        Self { bytes, sum }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, bytes } => {
                let end = offset + bytes.len();
                let sectors = offset / SECTOR..end.div_ceil(SECTOR);
                self.sum ^= sectors.clone().fold(0, |sum, n| sum ^ sector_sum(n, &sector(&self.bytes, n)));
                if self.bytes.len() < end {
                    self.bytes.resize(end, 0);
                }
                self.bytes[*offset..end].copy_from_slice(bytes);
                self.sum ^= sectors.fold(0, |sum, n| sum ^ sector_sum(n, &sector(&self.bytes, n)));
            }
            Change::Truncate(size) => {
                self.bytes.resize(*size, 0);
                self.sum = sum_of(&self.bytes);
            }
        }
    }
}

/// The checksum of a whole content.
pub(crate) fn sum_of(bytes: &[u8]) -> u64 {
    (0..bytes.len().div_ceil(SECTOR)).fold(0, |sum, n| sum ^ sector_sum(n, &sector(bytes, n)))
}

/// A sector, padded with zeros after the end of the file.
pub(crate) fn sector(bytes: &[u8], n: usize) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    let there = bytes.get(n * SECTOR..).unwrap_or_default();
    let length = there.len().min(SECTOR);
    sector[..length].copy_from_slice(&there[..length]);
    sector
}

/// A sector's part of the checksum; zero for zeros, which a hole consists of.
pub(crate) fn sector_sum(n: usize, sector: &[u8; SECTOR]) -> u64 {
    let (words, _) = sector.as_chunks::<8>();
    let mut all = 0;
    let mut lanes = [0x9E37_79B9_7F4A_7C15_u64, 0xBF58_476D_1CE4_E5B9];
    for pair in words.chunks_exact(2) {
        for (lane, word) in lanes.iter_mut().zip(pair) {
            let word = u64::from_le_bytes(*word);
            all |= word;
            *lane = (lane.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
        }
    }
    if all == 0 { 0 } else { mix(lanes[0] ^ mix(lanes[1] ^ n as u64)) }
}

/// Spreads a number's bits.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A change of a file.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { offset: usize, bytes: Rc<[u8]> },
    Truncate(usize),
}

/// A file on the medium.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) durable: Content,
    /// Unsynced changes, each with its position in the order of all operations.
    pub(crate) pending: Vec<(u64, Change)>,
}

impl Stored {
    fn sync(&mut self) {
        for (_, change) in std::mem::take(&mut self.pending) {
            self.durable.apply(&change);
        }
    }
}

/// The disk without the page cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Medium {
    pub(crate) files: BTreeMap<Inode, Stored>,
    pub(crate) names: BTreeMap<String, Inode>,
    /// Names that were added or removed and not synced.
    pub(crate) pending_names: Vec<(u64, String, Option<Inode>)>,
    /// Number of operations so far.
    pub(crate) steps: u64,
}

impl Medium {
    /// A medium that holds only this image; files are numbered in the order of their names.
    pub(crate) fn of(image: &Image) -> Self {
        let mut medium = Self::default();
        for (inode, (name, bytes)) in (0..).zip(&image.files) {
            medium.names.insert(name.clone(), inode);
            let stored = Stored { durable: Content::new(bytes.clone()), pending: Vec::new() };
            medium.files.insert(inode, stored);
        }
        medium
    }

    pub(crate) fn step(&mut self, op: &Op) {
        self.steps += 1;
        match op {
            Op::Create { inode, name } => {
                self.files.insert(*inode, Stored::default());
                self.pending_names.push((self.steps, name.clone(), Some(*inode)));
            }
            Op::Write { inode, offset, bytes } => {
                self.change(*inode, Change::Write { offset: *offset, bytes: bytes.clone() });
            }
            Op::Truncate { inode, size } => self.change(*inode, Change::Truncate(*size)),
            Op::Sync { inode } => {
                if let Some(file) = self.files.get_mut(inode) {
                    file.sync();
                }
            }
            Op::SyncLost { inode, some } => self.lose(*inode, *some),
            Op::Delete { name } => self.pending_names.push((self.steps, name.clone(), None)),
            Op::SyncNames => self.sync_names(),
            Op::PowerCut(image) => *self = Self { steps: self.steps, ..Self::of(image) },
            Op::Mark(_) => {}
        }
    }

    fn change(&mut self, inode: Inode, change: Change) {
        // A file whose last name was removed cannot be found again.
        if let Some(file) = self.files.get_mut(&inode) {
            file.pending.push((self.steps, change));
        }
    }

    fn lose(&mut self, inode: Inode, some: Option<u64>) {
        let Some(file) = self.files.get_mut(&inode) else { return };
        let mut random = some.map(Rng::with_seed);
        for (_, change) in std::mem::take(&mut file.pending) {
            if random.as_mut().is_some_and(Rng::bool) {
                file.durable.apply(&change);
            }
        }
    }

    fn sync_names(&mut self) {
        for (_, name, inode) in std::mem::take(&mut self.pending_names) {
            match inode {
                Some(inode) => self.names.insert(name, inode),
                None => self.names.remove(&name),
            };
        }
        let named: Vec<Inode> = self.names.values().copied().collect();
        self.files.retain(|inode, _| named.contains(inode));
    }
}

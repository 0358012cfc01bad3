//! Computes how much of a write-ahead log SQLite reads after a crash: everything up to the last
//! frame that ends a transaction, as long as each frame's checksum follows from the one before.
//!
//! Later bytes are never read. So two images that differ only there are the same to SQLite, and
//! most torn commits are. The explorer opens a sample of them anyway.

use crate::vfs::medium::{SECTOR, sector, sector_sum};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// A log's checksum up to a frame, and whether a transaction ends there.
#[derive(Clone, Copy, Debug)]
struct Place {
    checksum: (u32, u32),
    ends: bool,
}

/// The header of a log.
#[derive(Clone, Copy, Debug)]
struct Head {
    salts: [u8; 8],
    frame: usize,
    checksum: (u32, u32),
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        /// The checksums are of little-endian words, as all processors here write them.
        const MAGIC: u32 = 0x377f_0682;
        let bytes = bytes.get(..HEADER)?;
        let checksum = follow((0, 0), &bytes[..24]);
        let whole = word(bytes, 0) == MAGIC && (word(bytes, 24), word(bytes, 28)) == checksum;
        let salts = bytes[16..24].try_into().expect("eight bytes");
        whole.then(|| Self { salts, frame: FRAME_HEADER + word(bytes, 8) as usize, checksum })
    }

    /// The place after this frame, if the frame is valid.
    fn next(&self, before: (u32, u32), frame: &[u8]) -> Option<Place> {
        let checksum = follow(follow(before, &frame[..8]), &frame[FRAME_HEADER..]);
        let whole = word(frame, 0) != 0 && frame[8..16] == self.salts;
        let whole = whole && (word(frame, 16), word(frame, 20)) == checksum;
        whole.then(|| Place { checksum, ends: word(frame, 4) != 0 })
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn follow(before: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let (mut one, mut two) = before;
    let (pairs, _) = bytes.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in pairs {
        one = one.wrapping_add(u32::from_le_bytes([*a, *b, *c, *d])).wrapping_add(two);
        two = two.wrapping_add(u32::from_le_bytes([*e, *f, *g, *h])).wrapping_add(one);
    }
    (one, two)
}

/// A scanned log, so that other logs with the same beginning need not be scanned.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    head: Option<Head>,
    places: Vec<Place>,
    /// Checksums of the first `n` sectors, by `n`.
    sums: Vec<u64>,
}

impl Walked {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let head = Head::of(bytes);
        let mut walked = Self { head, places: Vec::new(), sums: vec![0] };
        walked.places = walked.from(0, bytes.len(), |from, to| bytes[from..to].to_vec());
        for n in 0..bytes.len().div_ceil(SECTOR) {
            walked.sums.push(walked.sums[n] ^ sector_sum(n, &sector(bytes, n)));
        }
        walked
    }

    /// The places after this many frames.
    fn from(&self, known: usize, length: usize, read: impl Fn(usize, usize) -> Vec<u8>) -> Vec<Place> {
        let Some(head) = self.head else { return Vec::new() };
        let mut checksum = known.checked_sub(1).map_or(head.checksum, |last| self.places[last].checksum);
        let mut places = Vec::new();
        let mut from = HEADER + known * head.frame;
        while from + head.frame <= length {
            let Some(place) = head.next(checksum, &read(from, from + head.frame)) else { break };
            places.push(place);
            (checksum, from) = (place.checksum, from + head.frame);
        }
        places
    }

    /// How many bytes of this log SQLite reads.
    pub(crate) fn taken(&self) -> usize {
        self.up_to_an_end(&self.places, 0)
    }

    /// The same for a log that equals this one before `same` and is `length` bytes long.
    pub(crate) fn taken_of(&self, same: usize, length: usize, read: impl Fn(usize, usize) -> Vec<u8>) -> usize {
        let Some(head) = self.head else { return 0 };
        let known = self.places.len().min((same.saturating_sub(HEADER)) / head.frame);
        let more = self.from(known, length, read);
        match self.up_to_an_end(&more, known) {
            0 => self.up_to_an_end(&self.places[..known], 0),
            taken => taken,
        }
    }

    fn up_to_an_end(&self, places: &[Place], known: usize) -> usize {
        let frame = self.head.map_or(0, |head| head.frame);
        places.iter().rposition(|place| place.ends).map_or(0, |last| HEADER + (known + last + 1) * frame)
    }

    /// The checksum of this many first sectors.
    pub(crate) fn sum(&self, sectors: usize) -> u64 {
        self.sums[sectors.min(self.sums.len() - 1)]
    }
}

//! SQLite's WAL, read without SQLite: which committed image of each page it holds, and whether it has lost its header.
//!
//! SQLite takes a WAL without a valid header for an empty one, and overwrites it. So a damaged first sector would cost
//! every commit since the last checkpoint, without a word. The format is that of
//! <https://sqlite.org/fileformat2.html#the_write_ahead_log>.

use super::pragma::PAGE_SIZE;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Number of frames among which the first intact one is looked for, when the header is damaged.
const SEARCHED: u64 = 64;

/// The content of a WAL: the newest committed image of each page.
pub(super) struct Wal {
    pub(super) page_size: usize,
    /// Offset of each page in the WAL.
    pub(super) images: HashMap<u32, u64>,
    /// Pages of the database after the last commit; `None`: nothing was committed.
    pub(super) count: Option<u32>,
}

/// Where the frames begin, and what verifies the next one.
struct Start {
    page_size: usize,
    big_endian: bool,
    salts: [u8; 8],
    sum: (u32, u32),
    at: u64,
    /// A frame before it that nothing verifies but that the next one follows.
    unverified: Option<(u32, u64)>,
}

impl Wal {
    /// Reads frames up to the first incomplete one, as SQLite does after a crash: later frames may belong to a
    /// transaction that never ended. Without a header, reading begins at the first frame that another one continues.
    pub(super) fn read(file: &File) -> Option<Self> {
        let Start { page_size, big_endian, salts, mut sum, mut at, unverified } =
            Start::by_header(file).or_else(|| Start::without_header(file))?;
        let mut wal = Self { page_size, images: HashMap::new(), count: None };
        let mut frame = vec![0; FRAME_HEADER + page_size];
        let mut open: Vec<(u32, u64)> = unverified.into_iter().collect();
        while file.read_exact_at(&mut frame, at).is_ok() {
            sum = frame_sum(sum, &frame, big_endian);
            if frame[8..16] != salts || sum != stored_sum(&frame) {
                break;
            }
            open.push((number(&frame, 0), at + FRAME_HEADER as u64));
            let pages_after_commit = number(&frame, 4);
            if pages_after_commit != 0 {
                wal.images.extend(open.drain(..));
                wal.count = Some(pages_after_commit);
            }
            at += frame.len() as u64;
        }
        Some(wal)
    }
}

/// Returns whether this WAL holds commits that SQLite would not see, because its header is damaged.
pub(super) fn has_lost_its_header(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    Start::by_header(&file).is_none() && Wal::read(&file).is_some_and(|wal| wal.count.is_some())
}

impl Start {
    fn by_header(file: &File) -> Option<Self> {
        let mut head = [0; HEADER];
        file.read_exact_at(&mut head, 0).ok()?;
        let page_size = number(&head, 8) as usize;
        let big_endian = match number(&head, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let sum = checksum((0, 0), &head[..24], big_endian);
        let sound = page_size.is_power_of_two() && (512..=65_536).contains(&page_size);
        let salts = head[16..24].try_into().ok()?;
        let start = Self { page_size, big_endian, salts, sum, at: HEADER as u64, unverified: None };
        (sound && sum == (number(&head, 24), number(&head, 28))).then_some(start)
    }

    /// All our files have one page size, and the byte order of the machine that wrote them.
    fn without_header(file: &File) -> Option<Self> {
        let length = FRAME_HEADER + PAGE_SIZE as usize;
        let (mut one, mut next) = (vec![0; length], vec![0; length]);
        for n in 0..SEARCHED {
            let at = HEADER as u64 + n * length as u64;
            file.read_exact_at(&mut one, at).ok()?;
            file.read_exact_at(&mut next, at + length as u64).ok()?;
            let same = one[8..16] == next[8..16] && number(&one, 0) != 0 && number(&next, 0) != 0;
            let continues = |big_endian: &bool| frame_sum(stored_sum(&one), &next, *big_endian) == stored_sum(&next);
            if let (true, Some(big_endian)) = (same, [false, true].into_iter().find(continues)) {
                let unverified = Some((number(&one, 0), at + FRAME_HEADER as u64));
                let (salts, sum) = (one[8..16].try_into().ok()?, stored_sum(&one));
                return Some(Self {
                    page_size: PAGE_SIZE as usize,
                    big_endian,
                    salts,
                    sum,
                    at: at + length as u64,
                    unverified,
                });
            }
        }
        None
    }
}

/// The checksum of a frame, from that of the frame before it.
fn frame_sum(before: (u32, u32), frame: &[u8], big_endian: bool) -> (u32, u32) {
    checksum(checksum(before, &frame[..8], big_endian), &frame[FRAME_HEADER..], big_endian)
}

/// The checksum that a frame states.
fn stored_sum(frame: &[u8]) -> (u32, u32) {
    (number(frame, 16), number(frame, 20))
}

/// Continues the WAL's checksum over these bytes.
fn checksum((mut first, mut second): (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(word(pair)).wrapping_add(second);
        second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
    }
    (first, second)
}

/// The big-endian number at this offset.
pub(super) fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

//! How large the pages of a file are whose first page cannot say.
//!
//! A page of a b-tree is filled from its end: the last of its cells, or of the free pieces between them,
//! ends where the page does. Read at another size hardly a page looks so. Pages are looked at, and not
//! the map of pages, for that stands right behind the first page and may have gone with it.

use super::records::{here, varint};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What files of ours have had, the newer first.
const SIZES: [usize; 2] = [2048, 4096];
/// The larger one of them is read at once.
const BLOCK: usize = 4096;
/// So many are enough to tell.
const BLOCKS: u64 = 4096;

/// The size at which more of the file are pages of b-trees; of none the newer.
pub(super) fn guess(file: &File) -> usize {
    let mut sound = [0; SIZES.len()];
    let mut block = [0; BLOCK];
    for n in 0..BLOCKS {
        if file.read_exact_at(&mut block, n * BLOCK as u64).is_err() {
            break;
        }
        for (size, sound) in SIZES.iter().zip(&mut sound) {
            *sound += size * block.chunks_exact(*size).filter(|page| is_filled(page)).count();
        }
    }
    if sound[1] > sound[0] { SIZES[1] } else { SIZES[0] }
}

/// Is it a page of a b-tree that has records, and ends where they do?
fn is_filled(page: &[u8]) -> bool {
    let (inner, table) = match page[0] {
        2 => (true, false),
        5 => (true, true),
        10 => (false, false),
        13 => (false, true),
        _ => return false,
    };
    let short = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    let (first, count) = (if inner { 12 } else { 8 }, short(3));
    let cells = first + 2 * count;
    if count == 0 || cells > page.len() {
        return false;
    }
    let mut end = 0;
    for n in 0..count {
        let at = short(first + 2 * n);
        match page.get(at..).filter(|_| at >= cells).and_then(|cell| length(cell, page.len(), inner, table)) {
            Some(length) => end = end.max(at + length),
            None => return false,
        }
    }
    let mut piece = short(1);
    while (cells..page.len() - 4).contains(&piece) {
        end = end.max(piece + short(piece + 2));
        let next = short(piece);
        // They stand in their order, so this ends.
        piece = if next > piece { next } else { 0 };
    }
    // A piece of up to three bytes is in no list.
    (page.len() - 3..=page.len()).contains(&end)
}

/// Bytes of a cell in a page of this size.
fn length(cell: &[u8], size: usize, inner: bool, table: bool) -> Option<usize> {
    let mut rest = cell.get(if inner { 4 } else { 0 }..)?;
    let length = if inner && table { 0 } else { usize::try_from(varint(&mut rest)?).ok()? };
    if table {
        varint(&mut rest)?;
    }
    let here = if length == 0 { 0 } else { here(size, length, table) };
    let further = if here < length { 4 } else { 0 };
    Some((cell.len() - rest.len() + here + further).max(4))
}

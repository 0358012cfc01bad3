//! Bytes that wait in memory, in pieces of bounded size.
//!
//! What clients have sent or have not read lives from a microsecond to minutes, and has from one byte to a megabyte. In
//! one allocation each, such buffers leave the allocator holes that fit nothing else: sixteen megabytes of them took up a
//! hundred and forty. Pieces of one size fit wherever another one was, so the memory that is taken up stays near what is
//! counted, and what has been sent or read is given back piece by piece, without moving the rest.

use memchr::memchr;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes of a piece. Only the last one may be shorter, and grows to this.
const PIECE: usize = 16 << 10;
/// Bytes that stay allocated although there is nothing in them.
const KEPT: usize = 4 << 10;
/// The last piece has at least so many bytes.
const LEAST: usize = 256;

/// A byte queue in pieces of one size, so that freed memory fits the next use.
#[derive(Debug, Default)]
pub struct Pieces {
    queue: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that were consumed.
    gone: usize,
    length: usize,
    capacity: usize,
}

impl Pieces {
    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Do none wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes of memory that they take up.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            if self.queue.back().is_none_or(|last| last.len() == PIECE) {
                self.queue.push_back(Vec::new());
            }
            let Some(last) = self.queue.back_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - last.len()));
            let (needed, before) = (last.len() + now.len(), last.capacity());
            if needed > before {
                let target = needed.next_power_of_two().clamp(LEAST, PIECE);
                last.reserve_exact(target - last.len());
                self.capacity += last.capacity() - before;
            }
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// The first `count` bytes are done with.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.length);
        (self.length, self.gone) = (self.length - count, self.gone + count);
        while let Some(first) = self.queue.front() {
            let is_last = self.queue.len() == 1;
            if is_last && self.length == 0 && first.capacity() <= KEPT {
                self.queue[0].clear();
                self.gone = 0;
                return;
            }
            if first.len() > self.gone {
                return;
            }
            self.gone -= first.len();
            self.capacity -= first.capacity();
            self.queue.pop_front();
        }
    }

    /// Moves them where they take up the least.
    pub fn shrink(&mut self) {
        let mut all = Vec::new();
        self.copy_to(self.length, &mut all);
        self.clear();
        self.push(&all);
    }

    /// Gives all of it up, and its memory.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Where such a byte stands, looked for from `from` on.
    #[must_use]
    pub fn find(&self, byte: u8, from: usize) -> Option<usize> {
        let mut start = 0;
        for part in self.parts() {
            let end = start + part.len();
            if end > from {
                let skipped = from.saturating_sub(start);
                if let Some(at) = memchr(byte, &part[skipped..]) {
                    return Some(start + skipped + at);
                }
            }
            start = end;
        }
        None
    }

    /// Copies the first `count` bytes.
    pub fn copy_to(&self, count: usize, into: &mut Vec<u8>) {
        let mut left = count.min(self.length);
        into.reserve_exact(left);
        for part in self.parts() {
            let now = left.min(part.len());
            into.extend_from_slice(&part[..now]);
            left -= now;
        }
    }

    /// All of them, where they are in one piece.
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        let mut parts = self.parts();
        parts.next().filter(|_| self.queue.len() == 1)
    }

    /// The first bytes, which one call sends.
    #[must_use]
    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        /// A quarter of a megabyte is more than a socket takes.
        const MOST: usize = 16;
        self.parts().take(MOST).map(IoSlice::new).collect()
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.queue.iter().enumerate().map(|(n, piece)| if n == 0 { &piece[self.gone..] } else { &piece[..] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_what_went_in() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let (mut pieces, mut expected) = (Pieces::default(), Vec::new());
            for _ in 0..200 {
                if random.u8(..3) > 0 {
                    let more: Vec<u8> = (0..random.usize(..9000)).map(|_| random.u8(..)).collect();
                    pieces.push(&more);
                    expected.extend(more);
                } else {
                    let count = random.usize(..=expected.len() + 5).min(expected.len());
                    pieces.consume(count);
                    expected.drain(..count);
                }
                assert_eq!((pieces.len(), pieces.is_empty()), (expected.len(), expected.is_empty()));
                let taken: usize = pieces.queue.iter().map(Vec::capacity).sum();
                assert_eq!(pieces.capacity(), taken);
                let count = random.usize(..=expected.len());
                let mut copy = Vec::new();
                pieces.copy_to(count, &mut copy);
                assert_eq!(copy, expected[..count]);
                let from = random.usize(..=expected.len());
                let found = expected[from..].iter().position(|byte| *byte == b'\n').map(|at| from + at);
                assert_eq!(pieces.find(b'\n', from), found);
                let sent: Vec<u8> = pieces.slices().iter().flat_map(|slice| slice.to_vec()).collect();
                assert!(expected.starts_with(&sent) && sent.is_empty() == expected.is_empty());
            }
        }
    }

    #[test]
    fn little_takes_little_and_none_takes_next_to_nothing() {
        let mut pieces = Pieces::default();
        pieces.push(b"{");
        assert_eq!(pieces.capacity(), LEAST);
        (0..10_000).for_each(|_| pieces.push(&[b'x'; 100]));
        assert!(pieces.capacity() < 1_000_001 + 2 * PIECE, "{}", pieces.capacity());
        pieces.consume(1_000_000);
        assert!(pieces.capacity() <= PIECE, "{}", pieces.capacity());
        pieces.shrink();
        assert_eq!((pieces.len(), pieces.capacity()), (1, LEAST));
        pieces.consume(1);
        assert!(pieces.capacity() <= KEPT, "{}", pieces.capacity());
    }
}

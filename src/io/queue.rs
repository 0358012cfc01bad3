//! The work of one upstream's threads: requests in their turn, and prefetched ones.
//!
//! Idle senders take requests in their turn. A prefetched request may start only in place of a request that was
//! just accepted, on the same sender: so the number of requests in flight is unchanged, and no sender waits for a
//! commit. At the first end that is not an acceptance, all prefetched requests are returned.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The order of the queued requests; when senders take them is decided elsewhere.
#[derive(Debug)]
pub struct Waiting<T> {
    turn: VecDeque<T>,
    ready: VecDeque<T>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { turn: VecDeque::new(), ready: VecDeque::new() }
    }
}

/// What follows the end of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Following<T> {
    /// A request in its turn.
    Turn(T),
    /// A prefetched request.
    Ready(T),
    /// Nothing.
    Nothing,
}

impl<T> Waiting<T> {
    /// Queues a request in its turn.
    pub fn push(&mut self, one: T) {
        self.turn.push_back(one);
    }

    /// Queues a prefetched request.
    pub fn hold(&mut self, one: T) {
        self.ready.push_back(one);
    }

    /// The next request in its turn.
    pub fn take(&mut self) -> Option<T> {
        self.turn.pop_front()
    }

    /// The request that follows an accepted one, on the same sender.
    pub fn follow(&mut self) -> Following<T> {
        match self.turn.pop_front() {
            Some(one) => Following::Turn(one),
            None => self.ready.pop_front().map_or(Following::Nothing, Following::Ready),
        }
    }

    /// Moves at most `most` prefetched requests to the regular queue; calls `tell` for each.
    pub fn advance(&mut self, most: usize, mut tell: impl FnMut(&T)) {
        for one in self.ready.drain(..most.min(self.ready.len())) {
            tell(&one);
            self.turn.push_back(one);
        }
    }

    /// Takes back all prefetched requests.
    pub fn recall(&mut self) -> Vec<T> {
        self.ready.drain(..).collect()
    }
}

/// The queue, shared by threads.
#[derive(Debug)]
pub(super) struct Queue<T> {
    inside: Mutex<Inside<T>>,
    bell: Condvar,
}

#[derive(Debug)]
struct Inside<T> {
    waiting: Waiting<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { inside: Mutex::new(Inside { waiting: Waiting::default(), closed: false }), bell: Condvar::new() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside<T>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the queue, and wakes idle senders for new requests.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Waiting<T>) -> R) -> R {
        let mut inside = self.inside();
        let result = work(&mut inside.waiting);
        let many = inside.waiting.turn.len();
        drop(inside);
        match many {
            0 => {}
            1 => self.bell.notify_one(),
            _ => self.bell.notify_all(),
        }
        result
    }

    /// Waits for the next request; `None` if the queue is closed.
    pub(super) fn take(&self) -> Option<T> {
        let mut inside = self.inside();
        loop {
            if let Some(one) = inside.waiting.take() {
                return Some(one);
            }
            if inside.closed {
                return None;
            }
            inside = self.bell.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Closes the queue; waiting threads end.
    pub(super) fn close(&self) {
        self.inside().closed = true;
        self.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_ready_goes_only_behind_an_acceptance_or_when_it_is_told_to() {
        let mut waiting = Waiting::default();
        (1..=3).for_each(|one| waiting.hold(one));
        assert_eq!(waiting.take(), None, "no free thread takes it");
        waiting.push(10);
        assert_eq!(waiting.follow(), Following::Turn(10));
        assert_eq!(waiting.follow(), Following::Ready(1));
        let mut told = Vec::new();
        waiting.advance(1, |one| told.push(*one));
        assert_eq!((told, waiting.take()), (vec![2], Some(2)));
        assert_eq!(waiting.recall(), [3]);
        assert_eq!(waiting.follow(), Following::Nothing);
    }

    #[test]
    fn a_closed_queue_is_emptied_before_its_threads_go() {
        let queue = Queue::new();
        queue.with(|waiting| waiting.push(1));
        queue.close();
        assert_eq!((queue.take(), queue.take()), (Some(1), None));
    }
}

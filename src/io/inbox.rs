//! How threads answer the loop: a queue, and a descriptor that wakes it.
//!
//! The queue needs no bound of its own: each sender has one request, each probe one answer, the
//! reader at most as many questions as its own queue holds.

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The loop's end.
#[derive(Debug)]
pub struct Inbox<T> {
    messages: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// A thread's end.
#[derive(Debug)]
pub struct Outbox<T> {
    messages: Sender<T>,
    bell: Arc<OwnedFd>,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self { messages: self.messages.clone(), bell: Arc::clone(&self.bell) }
    }
}

/// Both ends of a new queue.
pub fn inbox<T>() -> io::Result<(Outbox<T>, Inbox<T>)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (to, from) = channel();
    Ok((Outbox { messages: to, bell: Arc::clone(&bell) }, Inbox { messages: from, bell }))
}

impl<T> Outbox<T> {
    /// Puts a message in and wakes the loop. When the loop has gone there is nobody to tell.
    pub fn send(&self, message: T) {
        self.send_all([message]);
    }

    /// Puts messages in, in this order, and wakes the loop once.
    pub fn send_all(&self, messages: impl IntoIterator<Item = T>) {
        if messages.into_iter().all(|message| self.messages.send(message).is_ok()) {
            // The bell only fails to ring when it is ringing already.
            let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
        }
    }
}

impl<T> Inbox<T> {
    /// What wakes the loop.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// All that has come. Silences the bell first, so that nothing is slept over.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        let _ = rustix::io::read(&*self.bell, &mut [0_u8; 8]);
        self.messages.try_iter().collect()
    }
}

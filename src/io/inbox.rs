//! How threads report to the loop: a queue, and a descriptor that wakes it.
//!
//! The queue needs no bound of its own: each sender has one request, each probe one result, and the reader at most
//! as many queries as its own queue holds.

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

/// Creates a queue and returns both ends.
pub fn inbox<T>() -> io::Result<(Outbox<T>, Inbox<T>)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (to, from) = channel();
    Ok((Outbox { messages: to, bell: Arc::clone(&bell) }, Inbox { messages: from, bell }))
}

impl<T> Outbox<T> {
    /// Queues a message and wakes the loop. If the loop has ended, the message is dropped.
    pub fn send(&self, message: T) {
        self.send_all([message]);
    }

    /// Queues messages in this order, and wakes the loop once.
    pub fn send_all(&self, messages: impl IntoIterator<Item = T>) {
        if messages.into_iter().all(|message| self.messages.send(message).is_ok()) {
            // Writing only fails if the loop is being woken already.
            let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
        }
    }
}

impl<T> Inbox<T> {
    /// The descriptor that wakes the loop.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Takes all messages. The wake-up is cleared first, so that none is missed.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        let _ = rustix::io::read(&*self.bell, &mut [0_u8; 8]);
        self.messages.try_iter().collect()
    }
}

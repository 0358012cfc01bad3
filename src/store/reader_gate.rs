//! Coordinates the readers of the file with the writer.
//!
//! Closing any descriptor of a file drops all locks that the process holds on it (POSIX), SQLite's included. So before
//! the writer syncs and evicts the file, every reader must have closed it.

use rusqlite::InterruptHandle;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// Lets readers use the file concurrently, and lets the writer exclude them while it reopens the file.
#[derive(Clone, Default)]
pub struct Door {
    readers: Arc<RwLock<()>>,
    /// Interrupts a reader with a long query.
    interrupt: Arc<Mutex<Option<InterruptHandle>>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// Guard of a reader.
#[derive(Debug)]
pub struct Inside<'a> {
    _guard: RwLockReadGuard<'a, ()>,
}

/// Guard of the writer, which excludes readers.
#[derive(Debug)]
pub struct Shut<'a> {
    _guard: RwLockWriteGuard<'a, ()>,
}

impl Door {
    /// Admits a reader; waits some milliseconds while the writer excludes readers.
    #[must_use]
    pub fn enter(&self) -> Inside<'_> {
        // A panic of another reader cannot leave partial state behind this lock.
        Inside { _guard: self.readers.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Registers the handle of a reader with long queries, which is interrupted when the writer needs the file.
    pub fn may_interrupt(&self, handle: InterruptHandle) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    /// Excludes readers, if there is none now. Otherwise interrupts the registered reader, so that it soon succeeds.
    #[must_use]
    pub fn shut(&self) -> Option<Shut<'_>> {
        match self.readers.try_write() {
            Ok(guard) => Some(Shut { _guard: guard }),
            Err(TryLockError::Poisoned(poisoned)) => Some(Shut { _guard: poisoned.into_inner() }),
            Err(TryLockError::WouldBlock) => {
                if let Some(handle) = &*self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) {
                    handle.interrupt();
                }
                None
            }
        }
    }
}

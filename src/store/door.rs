//! Who has the file open besides the writer.
//!
//! Closing any descriptor of a file drops all locks that the process holds on it (POSIX), SQLite's
//! included. So before the writer syncs and evicts the file, every reader must have left.

use rusqlite::InterruptHandle;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// Readers go in and out; the writer shuts it while it opens the file anew.
#[derive(Clone, Default)]
pub struct Door {
    readers: Arc<RwLock<()>>,
    /// Ends the work of one who stays long.
    interrupt: Arc<Mutex<Option<InterruptHandle>>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// A reader is inside as long as this lives.
#[derive(Debug)]
pub struct Inside<'a> {
    _guard: RwLockReadGuard<'a, ()>,
}

/// The door is shut as long as this lives.
#[derive(Debug)]
pub struct Shut<'a> {
    _guard: RwLockWriteGuard<'a, ()>,
}

impl Door {
    /// Goes in; waits while the door is shut, which is a matter of milliseconds.
    #[must_use]
    pub fn enter(&self) -> Inside<'_> {
        // A panic of another reader leaves nothing half done behind this lock.
        Inside { _guard: self.readers.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// One who is inside may stay long, and is interrupted when the door must be shut.
    pub fn may_interrupt(&self, handle: InterruptHandle) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    /// Shuts the door, if nobody is inside. Who may be interrupted is, so that it can be shut soon.
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

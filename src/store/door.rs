//! Who has the file open besides the writer.
//!
//! Closing any descriptor of a file drops all locks that the process holds on it (POSIX), SQLite's
//! included. So before the writer syncs and evicts the file, every reader must have left.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// Readers go in and out; the writer shuts it while it opens the file anew.
#[derive(Clone, Debug, Default)]
pub struct Door(Arc<RwLock<()>>);

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
        Inside { _guard: self.0.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Shuts the door, if nobody is inside.
    #[must_use]
    pub fn shut(&self) -> Option<Shut<'_>> {
        match self.0.try_write() {
            Ok(guard) => Some(Shut { _guard: guard }),
            Err(TryLockError::Poisoned(poisoned)) => Some(Shut { _guard: poisoned.into_inner() }),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

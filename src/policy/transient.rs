//! State that is not stored. States are compared to see whether they have to be written again, and this part
//! must not affect the comparison.

use std::ops::{Deref, DerefMut};

/// A value that compares equal to every other of its type.
#[derive(Clone, Debug, Default)]
pub(super) struct Passing<T>(T);

impl<T> PartialEq for Passing<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Deref for Passing<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Passing<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

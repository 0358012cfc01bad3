//! Which failures belong together, as far as the policy has to know.

use serde::{Deserialize, Serialize};

/// An order key, compared only for equality. Under `ordering = "none"` each failure has its own (its id),
/// because nothing ties failures together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderTag(String);

impl OrderTag {
    /// Any text that is the same for equal order keys.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

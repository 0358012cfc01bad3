//! Identifiers: failure ids, sequence numbers, and the generator of new ids.
//!
//! A failure's id is a UUID of version 7: it begins with the time, so that consecutive ids are adjacent in their
//! index (random ids reduce inserts to a third). Imported failures keep their original id in any format.
//!
//! No randomness is read here: the caller seeds an [`IdSource`].

use crate::moment::WallTime;
use std::fmt;
use uuid::{Builder, Uuid, Version};

/// A failure's id: a UUID of 36 characters, or the id of an imported failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureId(String);

impl FailureId {
    /// An existing id.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the id was generated, which is when the failure was recorded; `None`: it is no UUID of version 7, so it was
    /// imported.
    #[must_use]
    pub fn made_at(&self) -> Option<WallTime> {
        let id = Uuid::try_parse(&self.0).ok().filter(|id| id.get_version() == Some(Version::SortRand))?;
        let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
        let milliseconds = i64::try_from(seconds).ok()?.checked_mul(1000)? + i64::from(nanoseconds / 1_000_000);
        Some(WallTime::from_millis(milliseconds))
    }
}

/// The idempotency key of a failure's content after an edit. Revision 2 is that of the first edit.
#[must_use]
pub fn revised_key(id: &FailureId, revision: u64) -> String {
    format!("{id}-r{revision}")
}

/// The id and the revision in a key that [`revised_key`] may have formed.
#[must_use]
pub fn revision_of(key: &str) -> Option<(&str, u32)> {
    let (id, revision) = key.rsplit_once("-r")?;
    Some((id, revision.parse().ok()?))
}

impl fmt::Display for FailureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The sequence number of a failure: assigned by the agent, persisted, never reused. It defines the order within an
/// order key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a request names a failure. Number and id are never guessed from the characters, because imported ids may
/// consist of digits: on the wire a JSON string is an id, and a JSON number is a sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureName {
    /// The sequence number.
    Number(Seq),
    /// Exactly this id.
    Id(String),
    /// This id, or the only one with this prefix, which has at least [`SHORTEST_PREFIX`](Self::SHORTEST_PREFIX)
    /// characters.
    Beginning(String),
}

impl FailureName {
    /// Minimum length of an id's prefix.
    pub const SHORTEST_PREFIX: usize = 6;

    /// Parses `#` followed by digits; `None` for every other text.
    #[must_use]
    pub fn numbered(text: &str) -> Option<Seq> {
        text.strip_prefix('#').and_then(number)
    }

    /// Parses digits alone, as an operator types a sequence number. Sequence numbers begin at 1 and have no leading
    /// zeros, so `01951234` is a prefix of an id.
    #[must_use]
    pub fn typed(text: &str) -> Option<Seq> {
        number(text).filter(|_| !text.starts_with('0'))
    }
}

impl fmt::Display for FailureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(seq) => seq.fmt(f),
            Self::Id(text) | Self::Beginning(text) => f.write_str(text),
        }
    }
}

/// Parses text that consists of digits only.
fn number(digits: &str) -> Option<Seq> {
    let only_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| only_digits).map(Seq)
}

/// Generates ids that increase while the clock does.
#[derive(Debug)]
pub struct IdSource {
    random: fastrand::Rng,
    last_ms: u64,
    count: u16,
}

impl IdSource {
    /// Two sources with the same seed generate the same ids, so the daemon seeds it from the system.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), last_ms: 0, count: 0 }
    }

    /// The next id. Within a millisecond a counter in the first random bits preserves the order.
    pub fn next(&mut self, wall: WallTime) -> FailureId {
        let ms = u64::try_from(wall.as_millis()).unwrap_or(0);
        self.count = if ms == self.last_ms { self.count.wrapping_add(1) } else { 0 };
        self.last_ms = ms;
        let [high, low] = self.count.to_be_bytes();
        let mut rest = [0_u8; 10];
        // The version is the upper half of the first byte; the counter uses the 12 bits after it.
        rest[0] = high & 0x0f;
        rest[1] = low;
        rest[2..].copy_from_slice(&self.random.u64(..).to_be_bytes());
        let id = Builder::from_unix_timestamp_millis(ms, &rest).into_uuid();
        FailureId(id.hyphenated().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_within_a_millisecond_and_from_one_to_the_next() {
        let mut ids = IdSource::new(1);
        let mut last = String::new();
        for n in 0..5000_i64 {
            let id = ids.next(WallTime::from_millis(1_800_000_000_000 + n / 2500));
            assert!(id.as_str() > last.as_str(), "{id} after {last}");
            assert_eq!((id.as_str().len(), &id.as_str()[14..15]), (36, "7"));
            last = id.as_str().to_owned();
        }
    }

    #[test]
    fn a_clock_before_1970_still_gives_ids() {
        let mut ids = IdSource::new(1);
        let (a, b) = (ids.next(WallTime::from_millis(-5)), ids.next(WallTime::from_millis(-5)));
        assert_ne!(a, b);
    }

    #[test]
    fn names_of_failures() {
        assert_eq!(FailureName::typed("1042"), Some(Seq(1042)));
        assert_eq!(FailureName::numbered("#7"), Some(Seq(7)));
        for text in ["019af", "+7", "#7", "", "99999999999999999999", "01951234", "0"] {
            assert_eq!(FailureName::typed(text), None, "{text}");
        }
        for text in ["7", "#", "#x", "#+7", "# 7", "#99999999999999999999"] {
            assert_eq!(FailureName::numbered(text), None, "{text}");
        }
    }
}

//! Names of things: failures, their insertion numbers, and the source of new ones.
//!
//! A failure's id is a UUID of version 7: it begins with the time, so that ids made one after the
//! other lie side by side in their index (random ids cut inserts to a third). Imported failures
//! keep the id they came with, whatever its form.
//!
//! No randomness is read here: an [`IdSource`] is seeded by whoever makes it.

use crate::moment::WallTime;
use std::fmt;
use uuid::Builder;

/// A failure's id: 36 characters of a UUID, or what an import brought.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureId(String);

impl FailureId {
    /// An id as it is stored or was given.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FailureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number under which a failure was inserted: given by the agent, persisted, never used twice.
/// Order within an order key is the order of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A failure as a person names it (`spec/02`): digits alone, or `#` and digits, are an insertion
/// number; anything else is an id or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureName {
    /// `1042` or `#1042`.
    Number(Seq),
    /// A full id, or a prefix of six characters or more that only one id has.
    Text(String),
}

impl FailureName {
    /// The shortest prefix that is taken for an id.
    pub const SHORTEST_PREFIX: usize = 6;

    /// Reads a name; any text is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let digits = text.strip_prefix('#').unwrap_or(text);
        match digits.parse() {
            Ok(number) if digits.bytes().all(|b| b.is_ascii_digit()) => Self::Number(Seq(number)),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for FailureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(seq) => seq.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Makes ids that grow while the clock does.
#[derive(Debug)]
pub struct IdSource {
    random: fastrand::Rng,
    last_ms: u64,
    count: u16,
}

impl IdSource {
    /// Two sources with the same seed make the same ids, so the daemon seeds it from the system.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), last_ms: 0, count: 0 }
    }

    /// The next id. Within a millisecond a counter in the first random bits keeps the order.
    pub fn next(&mut self, wall: WallTime) -> FailureId {
        let ms = u64::try_from(wall.as_millis()).unwrap_or(0);
        self.count = if ms == self.last_ms { self.count.wrapping_add(1) } else { 0 };
        self.last_ms = ms;
        let [high, low] = self.count.to_be_bytes();
        let mut rest = [0_u8; 10];
        // The version takes the upper half of the first byte; the counter has the 12 bits behind it.
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
        assert_eq!(FailureName::parse("1042"), FailureName::Number(Seq(1042)));
        assert_eq!(FailureName::parse("#7"), FailureName::Number(Seq(7)));
        for text in ["019af", "+7", "#x", "", "99999999999999999999"] {
            assert_eq!(FailureName::parse(text), FailureName::Text(text.into()), "{text}");
        }
    }
}
